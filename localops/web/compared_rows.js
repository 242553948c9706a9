// The events of a comparison: page by page, all of them or only those that differ, which the address keeps.

import { make, shortcut } from "./base.js";
import { count } from "./formats.js";
import { url } from "./url.js";

const PAGE = 300;

/**
 * Return the section of events: `drawn` returns the elements of a line, `columns` the table around the body with all
 * of them; `cut` is a text if some events are not compared.
 */
export function comparedEvents(lines, differs, drawn, { note, cut, columns, kind = "" }) {
  const { body, more, only } = comparedRows(lines, differs, drawn);
  return make(
    "section",
    { class: `chart pairs ${kind}`.trim() },
    make("h2", {}, "Events"),
    make(
      "div",
      { class: "bar" },
      only,
      make("span", { class: "faint" }, note),
      cut ? make("span", { class: "pending" }, cut) : null,
    ),
    columns(body),
    more,
  );
}

/** Return the body of a table, the button for more rows, and the switch. */
function comparedRows(lines, differs, drawn) {
  const body = make("tbody"),
    more = make("div", { class: "bar" });
  const only = make("input", {
    type: "checkbox",
    checked: new URLSearchParams(location.search).get("only") === "differences",
    onchange: () => {
      const params = new URLSearchParams(location.search);
      if (only.checked) params.set("only", "differences");
      else params.delete("only");
      history.replaceState(null, "", url(`compare?${params}`));
      draw();
    },
  });
  let shown = [],
    until = 0;
  const extend = () => {
    body.append(...shown.slice(until, until + PAGE).flatMap(drawn));
    until = Math.min(shown.length, until + PAGE);
    more.replaceChildren(
      ...(until < shown.length
        ? [make("button", { type: "button", onclick: extend }, `Show more (${count(until)} of ${count(shown.length)})`)]
        : []),
    );
  };
  const draw = () => {
    shown = only.checked ? lines.filter(differs) : lines;
    until = 0;
    body.replaceChildren();
    extend();
  };
  shortcut("d", "Only differences", () => only.click());
  draw();
  return { body, more, only: make("label", {}, only, " Only differences") };
}
