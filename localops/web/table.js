// Tables of figures: a head, a body, and a box that scrolls where the window is too narrow.

import { make } from "./base.js";

/**
 * Return a table in its box. `heads` are `[content, class]`, `rows` elements; `facts` are attributes of the box.
 */
export const table = (heads, rows, facts = {}) =>
  make(
    "div",
    { class: "table-wrap", ...facts },
    make(
      "table",
      {},
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          heads.map(([inside, kind]) => make("th", { scope: "col", class: kind || null }, inside)),
        ),
      ),
      rows instanceof Element ? rows : make("tbody", {}, rows),
    ),
  );

/** Return the heads of a table: the first for a column of names, the others for columns of figures. */
export const heads = (labels) => labels.map((label, at) => [label, at ? "num" : ""]);

/** Return a row: its label, and a cell for each of the figures. */
export const line = (label, figures) =>
  make(
    "tr",
    {},
    make("th", { scope: "row" }, label),
    figures.map((figure) => make("td", { class: "num" }, figure)),
  );
