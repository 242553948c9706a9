// What differs between two figures or two texts, for all comparisons.

import { make } from "./base.js";
import { many, money } from "./formats.js";
import { difference } from "./words.js";

// Characters that stay on each side of a change, and those that are worth folding away between.
const AROUND = 200,
  FOLDED = 300;

/** Return by how much the second is more than the first; for every figure here, less is better. */
export function change(a, b, text) {
  if (a === null || b === null || a === undefined || b === undefined || a === b)
    return make("span", { class: "faint" }, a === b ? "=" : "–");
  if (text(Math.abs(b - a)).startsWith("<") || (a && Math.abs(b - a) / a < 0.005))
    return make("span", { class: "faint" }, "≈");
  const share = a ? ` (${b > a ? "+" : "−"}${Math.abs(((b - a) / a) * 100).toFixed(0)} %)` : "";
  return make("span", { class: b > a ? "more" : "less" }, `${b > a ? "+" : "−"}${text(Math.abs(b - a))}${share}`);
}

/** Return the difference of two costs, if both are known. */
export function costChange(a, b) {
  if (!a.cost_at_least && !b.cost_at_least) return change(a.cost_nano, b.cost_nano, money);
  return make("span", { class: "faint", title: "The cost of some calls is not known" }, "?");
}

/** Return two texts with their differences marked, and notes about omitted parts. */
export function marked({ texts: [one, other], same_before, is_cut }) {
  const note = (text) => make("span", { class: "faint" }, text);
  const pieces = difference(one, other);
  return make(
    "pre",
    { tabindex: 0 },
    same_before ? note(`… ${many(same_before, "character")} before are the same\n`) : null,
    pieces.map(([kind, text], at) =>
      kind === "same" ? folded(text, at > 0, at < pieces.length - 1) : make(kind, {}, text),
    ),
    is_cut ? note("\n… the rest is not shown: open the events to see it") : null,
  );
}

/** Return a passage that both texts have: a long one with only what is next to a change, and the rest on demand. */
function folded(text, hasBefore, hasAfter) {
  const from = hasBefore ? text.slice(0, AROUND).search(/\s\S*$/) + 1 || AROUND : 0;
  const last = hasAfter ? text.length - AROUND : text.length;
  const to = hasAfter ? last + Math.max(0, text.slice(last).search(/\s/) + 1) : last;
  if (to - from < FOLDED) return text;
  const rest = text.slice(from, to);
  const open = make(
    "button",
    { type: "button", class: "link same", onclick: () => open.replaceWith(rest) },
    `… ${many(rest.length, "character")} are the same …`,
  );
  return [text.slice(0, from), open, text.slice(to)];
}
