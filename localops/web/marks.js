// Mark the words of a search on a page.  Highlights of the browser leave the elements as they are, so that lists and
// selections are not disturbed; a browser without them shows no marks.

const NAME = "match";
// Characters of a page that are searched, and milliseconds to wait for further changes.
const MOST = 400_000,
  PAUSE = 120;
const SINGLE = "\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff";
// A word as in the server's index: scripts without blanks are indexed character by character.
const WORD = new RegExp(`[${SINGLE}]|(?:(?![${SINGLE}])[\\p{L}\\p{N}]\\p{M}*)+`, "gu");
const TERM = /"[^"]*(?:"\*?|$)|\S+/g;

/** Return a text as words are compared: in small letters, without accents. */
export const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** Return the terms of a search: adjacent words, of which the last may be only the beginning of a word. */
export const terms = (query) =>
  (query.match(TERM) || [])
    .map((term) => ({ words: (term.match(WORD) || []).map(folded), isPrefix: term.endsWith("*") }))
    .filter(({ words }) => words.length);

/** Return where the terms of a search are in a text: `[begin, end]` of each. */
export function places(text, wanted) {
  const words = [...text.matchAll(WORD)].map((match) => [folded(match[0]), match.index, match.index + match[0].length]);
  const matches = [];
  for (const { words: term, isPrefix } of wanted) {
    for (let at = 0; term.length && at + term.length <= words.length; at += 1) {
      const fits = term.every((word, number) => {
        const [read] = words[at + number];
        return isPrefix && number === term.length - 1 ? read.startsWith(word) : read === word;
      });
      if (fits) matches.push([words[at][1], words[at + term.length - 1][2]]);
    }
  }
  return matches.sort((a, b) => a[0] - b[0]);
}

// The fewest letters of a word that is marked beside others, and words that are in nearly every text.
const FEWEST = 3;
const COMMON = new Set(
  `all and any are but can did for from had has have her his how its not our she that the they this was what when with
  you`.split(/\s+/),
);

/** Return whether a term is worth a mark beside others: several words, or one that is not in nearly every text. */
const isTelling = ({ words: [word, ...others] }) =>
  others.length > 0 || (!COMMON.has(word) && (word.length >= FEWEST || new RegExp(`[${SINGLE}]`).test(word)));

/** Return all words of a search as one term. */
export const phrase = (wanted) => ({
  words: wanted.flatMap(({ words }) => words),
  isPrefix: wanted.length > 0 && wanted.at(-1).isPrefix,
});

/** Return where a text has a search exactly as typed, if that has signs between blanks, such as `g =`. */
export function typed(text, query) {
  const parts = query.match(TERM) || [];
  if (parts.every((part) => part.match(WORD))) return [];
  const signs = parts.map((part) => part.replace(/^"|"?\*?$/g, "").replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const places = text.matchAll(new RegExp(`(?<![\\p{L}\\p{N}])${signs.join("\\s*")}`, "giu"));
  return Array.from(places, (match) => [match.index, match.index + match[0].length]);
}

// What the page writes itself: heads, figures, times, ids, buttons, notes.
const OWN = [
  ".columns",
  "button:not(.link)",
  "time",
  "dt",
  ".num",
  ".began",
  ".id",
  ".number",
  ".own",
  "#totals",
  "#hidden-events",
  ".bar",
].join();

const marked = new Map();

/** Mark a search in an element, now and when it changes; an empty search ends that. */
export function mark(root, query) {
  if (!("highlights" in CSS)) return;
  marked.get(root)?.disconnect();
  marked.delete(root);
  if (!terms(query || "").length) return draw();
  let timer = 0;
  const observer = new MutationObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(draw, PAUSE);
  });
  observer.query = query;
  observer.observe(root, { childList: true, subtree: true, characterData: true });
  marked.set(root, observer);
  return draw();
}

/** Return what is marked of a search: its words where they are adjacent, and each that is not in nearly every text. */
function hits(root, query) {
  const nodes = texts(root),
    wanted = terms(query),
    telling = wanted.filter(isTelling);
  const look = (those) => rangesIn(nodes, (text) => outermost(places(text, those)));
  const exact = rangesIn(nodes, (text) => typed(text, query));
  if (exact.length) return exact;
  const ranges = look([phrase(wanted), ...telling]);
  return ranges.length || telling.length ? ranges : look(wanted);
}

/** Return places without those that are within another one; of two with one beginning, the first is the longer one. */
const outermost = (places) => {
  let to = 0;
  return places.filter(([begin, end]) => begin >= to && (to = end));
};

/** Return the first place of a search in an element: where its words are adjacent, or else of one of them. */
export function firstHit(root, query, isWanted = () => true) {
  const whole = phrase(terms(query));
  return rangesIn(texts(root), (text) => places(text, [whole])).find(isWanted) ?? hits(root, query).find(isWanted);
}

function draw() {
  const ranges = [...marked].flatMap(([root, { query }]) => hits(root, query));
  if (ranges.length) CSS.highlights.set(NAME, new Highlight(...ranges));
  else CSS.highlights.delete(NAME);
}

function texts(root) {
  const { SHOW_TEXT, SHOW_ELEMENT, FILTER_ACCEPT, FILTER_REJECT, FILTER_SKIP } = NodeFilter;
  const walker = document.createTreeWalker(root, SHOW_TEXT | SHOW_ELEMENT, (node) =>
    node.nodeType === Node.TEXT_NODE ? FILTER_ACCEPT : node.matches(OWN) ? FILTER_REJECT : FILTER_SKIP,
  );
  const nodes = [];
  let left = MOST;
  for (let node = walker.nextNode(); node && left > 0; node = walker.nextNode()) {
    left -= node.data.length;
    nodes.push(node);
  }
  return nodes;
}

/** Return the ranges of what `look` finds in texts. */
export const rangesIn = (nodes, look) =>
  nodes.flatMap((node) =>
    look(node.data).map(([begin, end]) => {
      const range = new Range();
      range.setStart(node, begin);
      range.setEnd(node, end);
      return range;
    }),
  );
