// Parts of a value that are drawn when somebody asks for them, such as the rest of a long text.  A search draws them,
// too.

import { Digits, entriesOf } from "./exact.js";

// Element → the value that it stands for, and what draws it.
const parts = new WeakMap();

/** Note what an element stands for; return a function that draws it, once. */
export function defer(element, value, draw) {
  const once = () => {
    if (!parts.delete(element)) return;
    delete element.dataset.late;
    draw();
  };
  parts.set(element, { value, draw: once });
  element.dataset.late = "";
  return once;
}

/** Draw what an element stands for, if it is not drawn yet. */
export const drawLate = (element) => parts.get(element)?.draw();

/** Return the parts of an element that are not drawn: the value of each, and what draws it. */
export const lateIn = (root) => [...root.querySelectorAll("[data-late]")].map((element) => parts.get(element));

/** Return all texts, numbers and keys in a value. */
export function strings(value) {
  if (typeof value === "string") return [value];
  if (typeof value === "number") return [String(value)];
  if (value instanceof Digits) return [value.text];
  if (Array.isArray(value)) return value.flatMap(strings);
  return value && typeof value === "object" ? entriesOf(value).flatMap(([key, one]) => [key, ...strings(one)]) : [];
}
