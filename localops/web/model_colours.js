// The colour of each model on charts.  It goes by the name, not by the rank, which another filter changes; this browser
// remembers which one a name has.

const KEY = "localops-colours";
// Those of the style sheet: --model-0, --model-1 and so on.
const COLOURS = 10;
// Names that are remembered.
const MOST = 200;

function stored() {
  try {
    return Object.entries(JSON.parse(localStorage.getItem(KEY)) || {});
  } catch {
    // Without storage, or with something else in it, the colours are those of a new browser.
    return [];
  }
}

const known = new Map(stored().filter(([, number]) => Number.isInteger(number) && number >= 0 && number < COLOURS));

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries([...known].slice(-MOST))));
  } catch {
    // The colours last as long as this page.
  }
}

/** Return where the search for a free colour begins, which is the same in each browser. */
const begin = (name) => [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 1_000_003, 7) % COLOURS;

/** Return a colour for a new name: one that no name beside it has, and that few other names have. */
function chosen(name, beside) {
  const uses = (number, names) => names.filter((each) => known.get(each) === number).length;
  const all = [...known.keys()];
  const weight = (number) => uses(number, beside) * MOST + uses(number, all);
  const numbers = Array.from({ length: COLOURS }, (_, step) => (begin(name) + step) % COLOURS);
  return numbers.reduce((best, number) => (weight(number) < weight(best) ? number : best));
}

/** Return the colours of models that are shown together, as names of the style sheet. */
export function coloursOf(names) {
  const added = names.filter((name) => !known.has(name));
  for (const name of added) known.set(name, chosen(name, names));
  if (added.length) keep();
  return names.map((name) => `model-${known.get(name)}`);
}
