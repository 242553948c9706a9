// The columns of the list of sessions, and which of them are shown, in which density.  The choice is kept for this
// browser.

import { make } from "./base.js";
import { cost, count, duration, elapsed } from "./formats.js";
import { when, zone } from "./times.js";

const KEY = "localops-list";
const SCORE = "score:";

const number = (value) => ({ text: value });
/** The columns beside the name: id, heading, class, and what a cell shows. */
const COLUMNS = [
  ["state", "State"],
  ["began", zone === "UTC" ? "Started (UTC)" : "Started"],
  ["seconds", "Duration", "num", (one) => number((one.at_least ? "≥" : "") + duration(elapsed(one)))],
  ["llm_calls", "LLM", "num", (one) => number(count(one.llm_calls))],
  ["tool_calls", "Tools", "num", (one) => number(count(one.tool_calls))],
  ["actions", "Actions", "num", (one) => number(count(one.actions))],
  ["errors", "Errors", "num", (one) => ({ text: count(one.errors), kind: one.errors ? "errors-some" : "errors-none" })],
  ["failed", "Failed", "num", (one) => number(count(one.failed))],
  ["events", "Events", "num", (one) => number(count(one.events))],
  ["tokens", "Tokens", "num", (one) => number(count(one.tokens_in + one.tokens_out))],
  ["cost", "Cost", "num", (one) => number(cost(one))],
  ["agents", "Agents"],
  ["models", "Models"],
  ["host", "Host"],
  ["project", "Project"],
].map(([id, label, kind = "", cell = null]) => ({ id, label, kind, cell }));
const HIDDEN = ["actions", "failed", "events", "host", "project"];
const OF_SOME = ["agents", "models"];
export const HINTS = {
  errors: "Errors that were raised or recorded, inside and outside of calls",
  failed: "Calls and operations that did not succeed",
};
export const NAME = { id: "name", label: "Name", kind: "" };
// Orders that are ascending by default.
export const ASCENDING = new Set(["name", "host", "tags", "agents", "models"]);

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    // Without storage, or with something else in it, the list is as it is by default.
    return {};
  }
}

let choice = stored();

function keep(changes) {
  choice = { ...choice, ...changes };
  try {
    localStorage.setItem(KEY, JSON.stringify(choice));
  } catch {
    // The choice lasts as long as this page.
  }
}

const isShown = (id) => (choice.shown || {})[id] ?? !(HIDDEN.includes(id) || id.startsWith(SCORE));
export const isCompact = () => choice.density === "compact";

/** Return a score that counts of a session. */
export const scoreOf = (one, name) => (one.scores || []).findLast((each) => each.name === name)?.value;

const text = (value) => (typeof value === "number" ? String(+value.toFixed(3)) : String(value ?? ""));

/** Return the scores of one name as text; where several judged, with their names. */
function judged(one, name) {
  const given = (one.scores || []).filter((each) => each.name === name);
  if (given.length < 2) return text(given[0]?.value);
  const judges = new Map();
  for (const { value, by } of given) judges.set(text(value), [...(judges.get(text(value)) || []), by]);
  return Array.from(judges, ([value, names]) => `${value} by ${names.join(" and ")}`).join(", ");
}

/** Return all columns for these sessions: each score that one of them has is one, too. */
function all(sessions) {
  const names = new Set(sessions.flatMap((one) => (one.scores || []).map((each) => each.name)));
  names.delete("star");
  const kept = Object.keys(choice.shown || {}).filter((id) => id.startsWith(SCORE) && choice.shown[id]);
  const scores = [...new Set([...[...names].map((name) => SCORE + name), ...kept])].sort();
  return [
    ...COLUMNS,
    ...scores.map((id) => ({
      id,
      label: id.slice(SCORE.length),
      kind: "num",
      cell: (one) => number(judged(one, id.slice(SCORE.length))),
    })),
  ];
}

/** Return the columns that are shown beside the name. */
export const shown = (sessions) => all(sessions).filter(({ id }) => isShown(id) && hasValues(id, sessions));

/** Return the ids of the columns that someone chose to see: a narrow window leaves out others first. */
export const chosen = () => Object.keys(choice.shown || {}).filter((id) => choice.shown[id]);

/** Return whether a column has something to show: agents and models are of some programs only. */
const hasValues = (id, sessions) =>
  !OF_SOME.includes(id) || (choice.shown || {})[id] || sessions.some((one) => one[id]?.length);

/** Draw the menu that chooses columns and density. */
export function draw(box, sessions, changed) {
  const check = (label, on, set) => {
    const input = make("input", {
      type: "checkbox",
      onchange: () => {
        set(input.checked);
        changed();
      },
    });
    input.checked = on;
    return make("label", { class: "check" }, input, label);
  };
  box.replaceChildren(
    check("Compact rows", isCompact(), (on) => keep({ density: on ? "compact" : "" })),
    make(
      "fieldset",
      {},
      make("legend", {}, "Columns"),
      all(sessions).map(({ id, label }) =>
        check(label, isShown(id), (on) => keep({ shown: { ...choice.shown, [id]: on } })),
      ),
    ),
  );
}

export const began = (one) => make("time", { datetime: one.began }, when(one.began));
