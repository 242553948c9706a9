// The tags of a row share one line: a button counts those that have no room there, names them, and shows them.

import { make } from "./base.js";

const WIDE = "(min-width: 44.01rem)";
// Pixels between the last tag and the button.
const GAP = 4;
// The sessions whose tags are all shown.
const unfolded = new Set();

/** Return the button of a session, which has no text until the row is in its place. */
export const moreTags = (id) =>
  make("button", {
    type: "button",
    class: "more-tags",
    "data-key": id,
    hidden: true,
    onclick: ({ currentTarget }) => {
      if (!unfolded.delete(id)) unfolded.add(id);
      fit(currentTarget.parentElement);
    },
  });

/** Count the tags that have no room in the first line.  All rows are measured before any is changed: one layout. */
export function fit(part) {
  const isWide = matchMedia(WIDE).matches;
  const buttons = [...part.querySelectorAll(".more-tags")];
  // Tags that are all shown have lines of their own, below the name.
  for (const { parentElement, dataset } of buttons) parentElement.classList.toggle("all", unfolded.has(dataset.key));
  const measured = buttons.map((button) => {
    const line = button.previousElementSibling,
      tags = [...line.children];
    const below = isWide ? tags.filter((tag) => tag.offsetTop > tags[0].offsetTop + GAP) : [];
    const last = tags[tags.length - below.length - 1];
    return { button, below, left: last ? line.offsetLeft + last.offsetLeft + last.offsetWidth + GAP : 0 };
  });
  for (const { button, below, left } of measured) {
    const isAll = unfolded.has(button.dataset.key),
      names = below.map((tag) => tag.textContent).join(", ");
    button.hidden = isAll ? !isWide : !below.length;
    button.textContent = isAll ? "−" : `+${below.length}`;
    button.title = isAll ? "Show one line of tags" : names;
    button.ariaLabel = isAll ? button.title : `${below.length} more: ${names}`;
    button.ariaExpanded = String(isAll);
    button.style.left = `${left}px`;
  }
}
