// Tables of figures: sorted by a click on the head of a column, with as many rows as one wants to see.

import { make } from "./base.js";
import { box } from "./charts.js";
import { count } from "./formats.js";
import { patchChildren } from "./keyed.js";

// The tables that are shown, by title, with what was chosen in them: listeners of an element outlive a redraw.
const known = new Map();

/**
 * Return a table with bars of the size of `value` in the first column; `to(row)` is the target of a row. A column is
 * `{label, text, num, sort, isSpare}`; those with `sort(row)` can be sorted by it, and spare ones are not on phones. At
 * first `many` rows are shown; there are `total` of them, if not all are here.
 */
export function ranking(facts) {
  const table = { many: 10, value: null, to: null, empty: "Nothing to show", total: facts.rows.length, ...facts };
  known.set(table.title, { sort: null, isAscending: false, isOpen: false, ...known.get(table.title), table });
  return box(table.title, make("div", { class: "ranking" }, inside(table.title)));
}

function redraw(title, change) {
  const shown = known.get(title);
  Object.assign(shown, change);
  for (const section of document.querySelectorAll(".chart[data-id]"))
    if (section.dataset.id === title) patchChildren(section.querySelector(".ranking"), inside(title));
}

/** Return rows in the chosen order; those without a figure come last. */
function ordered({ table: { rows, columns }, sort, isAscending }) {
  const value = columns.find((column) => column.label === sort)?.sort;
  if (!value) return rows;
  const sign = isAscending ? 1 : -1;
  const isNone = (each) => each === null || each === undefined;
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (isNone(a) || isNone(b)) return isNone(a) - isNone(b);
    return typeof a === "string" ? sign * a.localeCompare(b) : sign * (a - b);
  });
}

function inside(title) {
  const shown = known.get(title);
  const { rows, columns, value, many, empty, total } = shown.table;
  if (!rows.length) return [make("p", { class: "faint" }, empty)];
  const most = value ? Math.max(...rows.map(value), 0) : 0;
  const few = ordered(shown).slice(0, shown.isOpen ? rows.length : many);
  const head = make(
    "tr",
    {},
    columns.map((column) => columnHead(title, column, shown)),
  );
  const body = few.map((row) =>
    make(
      "tr",
      { class: shown.table.to ? "leads" : null },
      columns.map((column, index) => cell(shown.table, column, row, index, most)),
    ),
  );
  return [
    make(
      "div",
      { class: "table-wrap", tabindex: columns.length > 6 ? 0 : null },
      make("table", {}, make("thead", {}, head), make("tbody", { onclick: follow }, body)),
    ),
    more(title, shown, few.length, total),
  ].filter(Boolean);
}

/** A click in a row that leads somewhere follows its link; one that selects text does not. */
function follow(event) {
  const target = event.target.closest("a, button, select")
    ? null
    : event.target.closest("tr.leads")?.querySelector("th :is(a, button)");
  if (!target || !getSelection().isCollapsed) return;
  if (target.href && (event.ctrlKey || event.metaKey)) open(target.href, "_blank", "noopener");
  else target.click();
}

function columnHead(title, { label, num, sort, hint, isSpare }, shown) {
  const isOn = shown.sort === label;
  // Figures begin with the greatest, names with the first letter.
  const isAscending = isOn ? !shown.isAscending : !num;
  const press = () => redraw(title, { sort: label, isAscending });
  return make(
    "th",
    {
      scope: "col",
      class: [num && "num", isSpare && "spare"].filter(Boolean).join(" ") || null,
      title: hint,
      "aria-sort": isOn ? (shown.isAscending ? "ascending" : "descending") : null,
    },
    sort ? make("button", { type: "button", "data-key": `${label} ${isAscending}`, onclick: press }, label) : label,
  );
}

function cell({ value, to }, column, row, index, most) {
  const text = column.text(row),
    target = index === 0 && to ? to(row) : null;
  const inner =
    typeof target === "string"
      ? make("a", { href: target, title: text }, text)
      : target
        ? // Its key makes it another button when it leads elsewhere under the same name.
          make("button", { type: "button", class: "link", title: text, "data-key": row, onclick: target }, text)
        : text;
  const share = index === 0 && value?.(row) > 0 ? make("span", { class: "share", "aria-hidden": "true" }) : null;
  if (share) share.style.width = `${(value(row) / most) * 100}%`;
  const kind = [column.num && "num", column.isSpare && "spare", column.kind?.(row)].filter(Boolean).join(" ");
  return make(index ? "td" : "th", { class: kind || null, scope: index ? null : "row" }, inner, share);
}

/** Say how many rows of how many are shown, and offer the others. */
function more(title, { isOpen, table: { rows, many } }, shown, total) {
  if (total <= many) return null;
  const label = isOpen ? "Show fewer" : `Show ${rows.length < total ? count(rows.length) : "all"}`;
  return make(
    "p",
    { class: "faint small shown" },
    `${count(shown)} of ${count(total)} `,
    rows.length > many &&
      make(
        "button",
        { type: "button", class: "link", "data-key": label, onclick: () => redraw(title, { isOpen: !isOpen }) },
        label,
      ),
  );
}
