// Boxes of different heights in columns without holes: each covers as many low grid rows as its height needs.

// Pixels of a row of the grid, as in the style sheet, and between two boxes.
const ROW = 4,
  GAP = 14;

/** Have an element take the rows that it needs; those below move before the page is painted. */
export const fit = (element, height = element.offsetHeight) =>
  element.style.setProperty("--rows", Math.ceil((height + GAP) / ROW));

const watcher = new ResizeObserver((changes) =>
  changes.forEach(({ target, borderBoxSize }) => fit(target, borderBoxSize[0].blockSize)),
);

/** Have an element, which keeps its style when its content is drawn again, follow its height. */
export function packed(element) {
  watcher.observe(element);
  return element;
}
