// The difference of two texts, word by word.

// Words of the differing parts; longer ones are shown as one piece each, since the table below grows by the square.
const MOST = 1_500;
// Each punctuation mark is a word of its own, because compact JSON has no blanks.
const WORD = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;

/** Return pieces `[kind, text]`; kind is "same", "del" (only in the first) or "ins" (only in the second). */
export function difference(a, b) {
  const one = a.match(WORD) || [],
    other = b.match(WORD) || [];
  let from = 0,
    back = 0;
  while (from < one.length && from < other.length && one[from] === other[from]) from += 1;
  while (back < one.length - from && back < other.length - from && one.at(-1 - back) === other.at(-1 - back)) back += 1;
  const middle = between(one.slice(from, one.length - back), other.slice(from, other.length - back));
  return grouped(
    merged([["same", one.slice(0, from).join("")], ...middle, ["same", back ? one.slice(-back).join("") : ""]]),
  );
}

function between(one, other) {
  if (one.length > MOST || other.length > MOST)
    return [
      ["del", one.join("")],
      ["ins", other.join("")],
    ];
  const wide = other.length + 1,
    longest = new Uint16Array((one.length + 1) * wide);
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = other.length - 1; j >= 0; j -= 1) {
      longest[i * wide + j] =
        one[i] === other[j]
          ? longest[(i + 1) * wide + j + 1] + 1
          : Math.max(longest[(i + 1) * wide + j], longest[i * wide + j + 1]);
    }
  }
  const pieces = [];
  let i = 0,
    j = 0;
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) {
      pieces.push(["same", one[i]]);
      i += 1;
      j += 1;
    } else if (j === other.length || (i < one.length && longest[(i + 1) * wide + j] >= longest[i * wide + j + 1]))
      pieces.push(["del", one[i++]]);
    else pieces.push(["ins", other[j++]]);
  }
  return pieces;
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

// The end of a sentence, or of a line.
const END = /[.!?][)"'’”]*\s+|\n/g;

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
