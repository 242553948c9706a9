// Columns as wide as their longest text: rows of a long list are laid out each alone, and most are not there.

import { make } from "./base.js";
import { count } from "./formats.js";

/** Set the width of columns of a list, as `--NAME` in pixels, to that of the longest of their texts. */
export function fitColumns(list, columns) {
  const texts = JSON.stringify(columns);
  if (list.dataset.fitted === texts) return;
  list.dataset.fitted = texts;
  const probe = make(
    "div",
    { class: "probe", "aria-hidden": "true" },
    Object.values(columns).map((each) =>
      make(
        "span",
        { class: "num" },
        each.map((text) => make("span", {}, text)),
      ),
    ),
  );
  list.append(probe);
  const widths = [...probe.children].map((each) => Math.ceil(each.getBoundingClientRect().width));
  probe.remove();
  Object.keys(columns).forEach((name, at) => list.style.setProperty(`--${name}`, `${widths[at]}px`));
}

/** Return texts of when the events of a run began, among them the longest. */
export function starts(run) {
  const { order } = run;
  // The later, the longer; but 999ms is longer than 1s.
  const early = order.findLastIndex((at) => run.start[at] - run.begin < 1e6);
  return [early, order.length - 1].filter((place) => place >= 0).map((place) => run.begins(order[place]));
}

/** Return texts of what the events of a run cost, as `text` makes them of `amounts`, among them the longest. */
export function costs(run, amounts, text) {
  const { calls, unpriced } = run.tree,
    texts = new Map();
  for (let at = 0; at < run.n; at += 1) {
    const size = amounts[at] ? Math.floor(Math.log10(Math.abs(amounts[at]))) : -1,
      missing = unpriced[at] ? 1 + (unpriced[at] >= calls[at]) : 0;
    // A number for each combination: a text would take longer than all else here.
    const sort =
      (((size + 2) * run.kinds.length + run.kind[at]) * 2 + (run.took[at] < 0)) * 6 + run.unbilled[at] * 3 + missing;
    // Amounts of one size and sort have texts of one length.
    if (!texts.has(sort)) texts.set(sort, text(at));
  }
  return [...new Set(texts.values())];
}

/** Return the text of the greatest of some counts. */
export const greatest = (counts) => [count(counts.reduce((most, each) => Math.max(most, each), 0))];
