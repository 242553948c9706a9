// A running session without an event for a while: what it is in, with which arguments, and what the last event brought.

import { ask, data, make } from "./base.js";
import { QUIET } from "./formats.js";
import { took } from "./previews.js";

const LONGEST = 240;

/** Return a line about what a quiet session is in, whose links `go` to events; null for one that is busy or over. */
export function stuck(page, go) {
  const { run } = page;
  if (!page.isLive || !page.complete || page.quiet <= QUIET || !run.tree.ends.length) return null;
  const at = run.tree.ends.at(-1);
  const last = newest(run);
  const key = `${run.seq[at]} ${run.seq[last]}`;
  // The head is drawn again and again, and what is fetched would come and go.
  if (known.key !== key) Object.assign(known, { key, line: drawn(page, at, last, go) });
  return known.line;
}

const known = { key: "", line: null };

function drawn(page, at, last, go) {
  const { run } = page;
  return make("p", { class: "stuck" }, [
    "Inside ",
    link(run, at, go),
    " for ",
    took(page, at),
    ", given ",
    fetched(run.seq[at]),
    ...(last === null ? [] : ["; last event: ", link(run, last, go), " ", fetched(run.seq[last])]),
  ]);
}

/** Return the event that ended last, or happened last; null if there is none. */
function newest(run) {
  let last = null;
  for (let at = 0; at < run.n; at += 1)
    if (run.took[at] >= 0 && (last === null || run.seq[at] > run.seq[last])) last = at;
  return last;
}

const link = (run, at, go) =>
  make(
    "button",
    { type: "button", class: "link", onclick: () => go(at) },
    `${run.kindOf(at)} ${run.nameOf(at)}`.trimEnd(),
  );

/** Return an element for what an event was given, and what came of it. */
function fetched(seq) {
  const element = make("span", { class: "preview" });
  ask(`sessions/${data.session_id}/events/${seq}`).then(
    (event) => {
      const given = line(event.params ?? event.input);
      const result = line(event.error ?? event.details ?? event.returns ?? event.completion);
      element.textContent = [given, result && `→ ${result}`].filter(Boolean).join(" ");
    },
    // The link leads there.
    () => {},
  );
  return element;
}

/** Return a value as one line: names and values of an object, anything else as text. */
function line(value) {
  if (value === undefined || value === null) return "";
  const isPlain = typeof value === "object" && !Array.isArray(value);
  const text = isPlain
    ? Object.entries(value)
        .map(([name, each]) => `${name}=${typeof each === "string" ? each : JSON.stringify(each)}`)
        .join(" ")
    : typeof value === "string"
      ? value
      : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}
