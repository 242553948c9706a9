// The difference of two texts, word by word.

// Changes up to which the shortest list of them is found: the work grows by their square. After a part of them, the
// way that came furthest is kept, and the search goes on from its end.
const MOST = 600,
  PART = 150;
// Each punctuation mark is a word of its own, because compact JSON has no blanks.
const WORD = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;
// The end of a sentence, or of a line.
const END = /[.!?][)"'’”]*\s+|\n/g;

/** Return pieces `[kind, text]`; kind is "same", "del" (only in the first) or "ins" (only in the second). */
export function difference(a, b) {
  return grouped(merged(shortest(wordsOf(a), wordsOf(b)) ?? bySentences(a, b)));
}

/** Return the difference of texts with many changes: first by sentences, then by words in those that differ. */
function bySentences(a, b) {
  const result = [];
  let run = { del: "", ins: "" };
  const end = () => {
    const words = [run.del, run.ins].map(wordsOf);
    result.push(...(shortest(...words) ?? between(...words, PART)));
    run = { del: "", ins: "" };
  };
  for (const [kind, text] of between(sentencesOf(a), sentencesOf(b), MOST)) {
    if (kind !== "same") run[kind] += text;
    else {
      end();
      result.push([kind, text]);
    }
  }
  end();
  return result;
}

const wordsOf = (text) => text.match(WORD) || [];

function sentencesOf(text) {
  const ends = [...text.matchAll(END)].map((end) => end.index + end[0].length);
  return [0, ...ends].map((from, at) => text.slice(from, ends[at])).filter(Boolean);
}

/** Return the shortest pieces of two lists of texts; null where there are too many changes. */
const shortest = (one, other) => between(one, other, MOST, true);

/** Return the pieces of two lists of texts, found part by part after so many changes; null if only one part may be. */
function between(one, other, most, isOnePart = false) {
  const numbers = new Map();
  const [a, b] = [one, other].map((texts) =>
    Int32Array.from(texts, (text) => numbers.get(text) ?? numbers.set(text, numbers.size).size - 1),
  );
  let back = 0;
  while (back < Math.min(a.length, b.length) && a.at(-1 - back) === b.at(-1 - back)) back += 1;
  const until = [a.length - back, b.length - back];
  const pieces = [];
  let [x, y] = [0, 0];
  while (x < until[0] || y < until[1]) {
    if (pieces.length && isOnePart) return null;
    for (const [kind, length] of furthest(a.subarray(x, until[0]), b.subarray(y, until[1]), most)) {
      pieces.push([kind, kind === "ins" ? joined(other, y, length) : joined(one, x, length)]);
      if (kind !== "ins") x += length;
      if (kind !== "del") y += length;
    }
  }
  if (back) pieces.push(["same", joined(one, x, back)]);
  return pieces;
}

const joined = (texts, from, length) => texts.slice(from, from + length).join("");

/**
 * Return the shortest changes as `[kind, length]`, by Myers' algorithm; where there are too many, those that come
 * furthest. A diagonal is the number of removed items minus that of added ones.
 */
function furthest(a, b, most) {
  // For each number of changes, how far into the first list each diagonal comes.
  const reached = [];
  for (let changes = 0; ; changes += 1) {
    const now = new Int32Array(2 * changes + 1),
      before = reached.at(-1);
    let best = 0,
      bestSum = -1;
    for (let at = 0; at <= 2 * changes; at += 2) {
      const diagonal = at - changes;
      let x = before ? startOf(before, at, changes) : 0;
      while (x < a.length && x - diagonal < b.length && a[x] === b[x - diagonal]) x += 1;
      now[at] = x;
      const isInside = x <= a.length && x - diagonal <= b.length;
      if (isInside && 2 * x - diagonal > bestSum) {
        best = at;
        bestSum = 2 * x - diagonal;
      }
    }
    reached.push(now);
    if (bestSum === a.length + b.length || changes === most) return traced(reached, best);
  }
}

/** Return where a diagonal begins after one more change: below the one above, or beside the one to its left. */
function startOf(before, at, changes) {
  const removed = at > 0 ? before[at - 2] + 1 : -1,
    added = at < 2 * changes ? before[at] : -1;
  return Math.max(removed, added);
}

/** Return the changes that lead to a diagonal, from the beginning. */
function traced(reached, last) {
  const result = [];
  for (let changes = reached.length - 1, at = last; changes >= 0; changes -= 1) {
    const x = reached[changes][at];
    const from = changes ? startOf(reached[changes - 1], at, changes) : 0;
    if (x > from) result.push(["same", x - from]);
    if (!changes) break;
    const isRemoved = at > 0 && reached[changes - 1][at - 2] + 1 === from;
    result.push([isRemoved ? "del" : "ins", 1]);
    if (isRemoved) at -= 2;
  }
  return result.reverse();
}

/**
 * Return the pieces with runs of changes together: what is removed, then what is added. Two rewritten sentences share
 * a blank or an "of" here and there; a short equal piece between longer changes only scatters them.
 */
function grouped(pieces) {
  const result = [];
  let run = { del: "", ins: "" };
  const end = () => {
    result.push(["del", run.del], ["ins", run.ins]);
    run = { del: "", ins: "" };
  };
  pieces.forEach(([kind, text], at) => {
    if (kind !== "same") run[kind] += text;
    else if (!text.includes("\n") && text.length <= Math.min(longer(run), longer(upcoming(pieces, at + 1)))) {
      run.del += text;
      run.ins += text;
    } else {
      end();
      result.push([kind, text]);
    }
  });
  end();
  return merged(result);
}

const longer = ({ del, ins }) => Math.max(del.length, ins.length);

/** Return the changes from a place on, up to the next equal piece. */
function upcoming(pieces, from) {
  const run = { del: "", ins: "" };
  for (let at = from; at < pieces.length && pieces[at][0] !== "same"; at += 1) run[pieces[at][0]] += pieces[at][1];
  return run;
}

function merged(pieces) {
  const result = [];
  for (const [kind, text] of pieces) {
    if (!text) continue;
    if (result.at(-1)?.[0] === kind) result.at(-1)[1] += text;
    else result.push([kind, text]);
  }
  return result;
}

/** Return the sentences that differ, each as its pieces: the words before and after a change, up to its ends. */
export function sentences(pieces) {
  const result = [];
  let open = null,
    before = "";
  for (const [kind, text] of pieces) {
    if (kind !== "same") {
      open ||= before ? [["same", before]] : [];
      open.push([kind, text]);
      continue;
    }
    const ends = [...text.matchAll(END)];
    const [first] = ends,
      last = ends.at(-1);
    before = last ? text.slice(last.index + last[0].length) : open ? "" : before + text;
    if (!open) continue;
    const rest = first ? text.slice(0, first.index + first[0].length) : text;
    open.push(["same", rest]);
    if (!first) continue;
    result.push(open);
    open = null;
  }
  if (open) result.push(open);
  return result;
}
