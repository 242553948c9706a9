// Three and more runs: which of them differs from the others, their figures, and all events in one table.

import { ask, kindSign, make } from "./base.js";
import { change, costChange } from "./changes.js";
import { comparedEvents } from "./compared_rows.js";
import { comparedTexts } from "./compared_texts.js";
import { event } from "./content.js";
import { cost, count, duration, eventCost, many, money } from "./formats.js";
import { line, table } from "./table.js";
import { stamp, when } from "./times.js";
import { url } from "./url.js";
import { prose } from "./values.js";

// Groups of runs that are shown of an event at the head.
const GROUPS = 5;
// Entries at the head of two runs, and the share of the cost of the more expensive one that a change of it exceeds.
const ENTRIES = 6,
  NOTABLE = 0.1;
export const MOST = 26;
export const letterOf = (number) => String.fromCharCode(65 + (number % MOST));
const letters = (runs) => runs.map(letterOf).join(", ");

export const FIGURES = [
  // Of a run whose process died, a lower bound, as everywhere.
  ["Duration", (one) => one.seconds, (value, one) => (one?.at_least ? "at least " : "") + duration(value)],
  ["Cost", (one) => one.cost_nano, (value, one) => (one ? cost(one) : money(value))],
  // Neither more nor fewer of them are better.
  ["LLM calls", (one) => one.llm_calls, count, true],
  ["Tool calls", (one) => one.tool_calls, count, true],
  ["Actions", (one) => one.actions, count, true],
  ["Errors", (one) => one.errors, count],
  ["Tokens in", (one) => one.tokens_in, count],
  ["Tokens out", (one) => one.tokens_out, count],
];

/** Return elements for the runs with these ids. */
export async function runs(ids) {
  const compared = await ask("compare/runs", { sessions: ids.join(",") });
  return [summary(compared), figures(compared.sessions, compared.odd), events(compared)];
}

const kindOf = (row) => [kindSign(row.kind), " ", row.name];
const linkTo = (session, cell, text) =>
  make("a", { href: url(`s/${session.session_id}?event=${cell.seq}#tree`) }, text);

const costOf = (cell) => cell?.cost_nano ?? 0;
/** Return by how much more a row of two runs cost in the second one. */
const costBy = ({ cells: [one, other] }) => costOf(other) - costOf(one);
const byCost = (by) => make("span", { class: by > 0 ? "more" : "less" }, `${by < 0 ? "−" : "+"}${money(Math.abs(by))}`);

/**
 * Return the rows that changed the cost of two runs notably, the largest change first, as `{rows, by}`: those of one
 * name that only one of the runs has are together.
 */
function costly(rows) {
  const groups = new Map();
  for (const row of rows.filter((one) => differs(one) && costBy(one))) {
    const place = row.cells.findIndex(Boolean);
    const key = row.cells.every(Boolean) ? row : `${row.kind} ${row.name} ${place}`;
    const group = groups.get(key) ?? { rows: [], by: 0 };
    group.rows.push(row);
    group.by += costBy(row);
    groups.set(key, group);
  }
  const spent = Math.max(...[0, 1].map((run) => rows.reduce((sum, { cells }) => sum + costOf(cells[run]), 0)));
  return [...groups.values()]
    .filter(({ by }) => Math.abs(by) > spent * NOTABLE)
    .sort((one, next) => Math.abs(next.by) - Math.abs(one.by));
}

/** Return the sentence that names the run that differs, and the events that show how; `name` names a run. */
export function summary({ odd: place, head, rows, sessions, counts }, name = letterOf) {
  const group = (row, { runs: some, text }) => {
    const [run] = some,
      cell = row.cells[run];
    return make(
      "p",
      { class: place === run && some.length === 1 ? "is-odd" : null },
      make("b", {}, some.map(name).join(", ")),
      " ",
      cell ? linkTo(sessions[run], cell, text) : make("span", { class: "faint" }, "not there"),
    );
  };
  const together = ([row, ...others]) => {
    const run = row.cells.findIndex(Boolean),
      what = many(others.length + 1, row.kind === "llm" ? "call" : "event");
    const text = `${what} of ${row.name} only in ${name(run)}`;
    return make("p", {}, make("b", {}, name(run)), " ", linkTo(sessions[run], row.cells[run], text));
  };
  const entry = ({ rows: [row, ...others], by }) =>
    make(
      "li",
      {},
      make("div", {}, kindOf(row), by !== 0 && [" ", byCost(by)]),
      make(
        "div",
        {},
        others.length ? together([row, ...others]) : foremost(row.texts, place).map((each) => group(row, each)),
        row.texts.length > GROUPS + 1 &&
          make("p", { class: "faint" }, `… the runs did ${count(row.texts.length)} different things`),
      ),
    );
  // What changed the cost most comes first.
  const first = sessions.length === 2 ? costly(rows) : [],
    known = new Set(first.flatMap((one) => one.rows));
  const byOf = (row) => (sessions.length === 2 && differs(row) ? costBy(row) : 0);
  const others = rows.filter((row) => row.key && !known.has(row)).map((row) => ({ rows: [row], by: byOf(row) }));
  const shown = [...first, ...others].slice(0, ENTRIES);
  const rest = counts.differing - shown.flatMap((one) => one.rows).length;
  return make(
    "section",
    { class: "chart odd-one" },
    // The server names the runs in their order.
    make("h2", {}, sessions.length === 2 ? head.replace(/\b[AB]\b/g, (letter) => name("AB".indexOf(letter))) : head),
    shown.length ? make("ul", {}, shown.map(entry)) : null,
    shown.length && rest > 0
      ? make(
          "p",
          { class: "faint" },
          `${many(rest, "more event")} ${rest === 1 ? "differs" : "differ"}: see Events below`,
        )
      : null,
  );
}

/** Return a few groups, including that of the run that differs most. */
const foremost = (groups, place) => {
  if (groups.length <= GROUPS + 1) return groups;
  return groups.filter(({ runs: some }, at) => at < GROUPS || some.includes(place));
};

/** Return the figures of the runs, each beside that of the first run; figures that are 0 in every run are left out. */
function figures(sessions, place) {
  const head = (one, number) => [
    [
      `${letterOf(number)}: `,
      make("a", { href: url(`s/${one.session_id}`), title: stamp(one.began) }, one.name || "unnamed"),
      " ",
      make("small", { class: "faint" }, when(one.began)),
    ],
    number === place ? "num is-odd" : "num",
  ];
  const cell =
    ([label, value, text, isNeutral]) =>
    (one, number) => {
      const by =
        label === "Cost" ? costChange(sessions[0], one) : change(value(sessions[0]), value(one), text, isNeutral);
      return [text(value(one), one), number ? [" ", make("small", {}, by)] : null];
    };
  const state = (one) =>
    make("span", { class: `state ${/^[A-Z][a-z]+$/.test(one.state) ? one.state : ""}` }, one.state);
  const rows = [
    line("State", sessions.map(state)),
    ...(sessions.some((one) => one.reason)
      ? [
          line(
            "Reason",
            sessions.map((one) => one.reason || "–"),
          ),
        ]
      : []),
    ...FIGURES.filter(([, value]) => sessions.some(value)).map((figure) => line(figure[0], sessions.map(cell(figure)))),
  ];
  return make(
    "section",
    { class: "chart several" },
    make("h2", {}, "Figures"),
    table([["Figure"], ...sessions.map(head)], rows, { tabindex: 0 }),
  );
}

const differs = (row) => row.texts.length > 0;

/** Return the number of the group that most runs belong to; null where there is no such. */
function usual(groups) {
  const sizes = new Map();
  for (const group of groups) sizes.set(group, (sizes.get(group) ?? 0) + 1);
  const [[first, most], [, second] = [null, 0]] = [...sizes].sort((a, b) => b[1] - a[1]);
  return most > second ? first : null;
}

/** Return all events in one table, a column for each run. */
function events({ rows, counts, sessions, cut }) {
  const note = counts.differing
    ? `${count(counts.differing)} of ${many(rows.length, "event")} ${counts.differing === 1 ? "differs" : "differ"}`
    : "All events are the same in all runs";
  const columns = (body) => {
    const made = table([["Event"], ...sessions.map((_, at) => [letterOf(at)])], body, { tabindex: 0 });
    made.style.setProperty("--runs", sessions.length);
    return made;
  };
  return comparedEvents(rows, differs, (row) => pair(row, sessions), {
    note,
    cut: cut && "Only the first events of each run are compared",
    columns,
    kind: "all-runs",
  });
}

/** Return an event in a row, and a row below it for its content. */
function pair(row, sessions) {
  const common = usual(row.groups);
  const texts = new Map(row.texts.flatMap(({ runs: some, text }) => some.map((run) => [run, text])));
  const cell = (one, run) => {
    // Where no group is the largest, all cells differ.
    const isOdd = differs(row) && (common === null || row.groups[run] !== common);
    const inside = one
      ? [
          linkTo(sessions[run], one, one.finished ? duration(one.seconds) : "unfinished"),
          " ",
          make("span", { class: "faint" }, eventCost({ kind: row.kind, ...one })),
          one.failed ? make("span", { class: "tag only-a" }, "failed") : null,
          texts.get(run) ? make("div", { class: "what-differs" }, texts.get(run)) : null,
        ]
      : make("span", { class: "faint", title: "This run has no such event" }, "–");
    return make("td", { class: isOdd ? "differs" : null, "data-label": letterOf(run) }, inside);
  };
  const below = make("tr", { hidden: true });
  const open = () => {
    if (!below.firstChild)
      below.append(
        make("td", { colspan: sessions.length + 1 }, make("div", { class: "runs-beside" }, whole(row, sessions))),
      );
    below.hidden = !below.hidden;
    button.setAttribute("aria-expanded", String(!below.hidden));
  };
  const button = make(
    "button",
    { type: "button", class: "link", "aria-expanded": "false", onclick: open },
    kindOf(row),
  );
  const inputs = new Set(row.cells.filter(Boolean).map((one) => one.input));
  const [input] = inputs;
  const what = make(
    "td",
    { class: "what" },
    button,
    inputs.size === 1 && input ? make("div", { class: "preview", title: input }, input) : null,
  );
  what.style.paddingLeft = `${0.4 + Math.min(16, row.depth) * 1.1}rem`;
  return [make("tr", {}, what, row.cells.map(cell)), below];
}

/** Return the content of an event: of most runs, and beside it how that of the others differs. */
function whole(row, sessions) {
  const placed = (row.texts.length ? row.texts : [{ runs: sessions.map((_, at) => at) }])
    .map(({ runs: some }) => some)
    .filter(([run]) => row.cells[run])
    .sort((one, other) => other.length - one.length);
  const [first, ...others] = placed;
  const box = (some, ...inside) => make("div", { class: "of-run text" }, make("h3", {}, some), inside);
  const pathOf = ([run]) => `sessions/${encodeURIComponent(sessions[run].session_id)}/events/${row.cells[run].seq}`;
  if (!others.length) return [box(letters(first), event(sessions[first[0]].session_id, row.cells[first[0]].seq))];
  const fetched = placed.map((some) => ask(pathOf(some)));
  return others.map((some, at) => {
    const inside = make("div", {}, "…");
    Promise.all([fetched[0], fetched[at + 1]]).then(
      ([one, other]) => inside.replaceChildren(...compared(one, other, [letters(first), letters(some)])),
      (error) => inside.replaceChildren(error.message),
    );
    return box(`${letters(some)} beside ${letters(first)}`, inside);
  });
}

/** Return what two events were given and returned, and the errors of those that failed. */
function compared(one, other, names) {
  const errors = [one, other].map(({ error, message }) => error || message);
  return [
    ...comparedTexts(one, other, names),
    ...errors
      .map((text, at) => text && make("div", {}, make("h3", {}, `error in ${names[at]}`), prose(String(text))))
      .filter(Boolean),
  ];
}
