// Boxes of different heights in columns without holes: each takes as many low rows of the grid as it is high.

// Pixels of a row of the grid, as in the style sheet, and between two boxes.
const ROW = 4,
  GAP = 14;

const watcher = new ResizeObserver((changes) => {
  for (const { target, borderBoxSize } of changes)
    target.style.setProperty("--rows", Math.ceil((borderBoxSize[0].blockSize + GAP) / ROW));
});

/** Have an element, which keeps its style when its content is drawn again, take the rows that it needs. */
export function packed(element) {
  watcher.observe(element);
  return element;
}
