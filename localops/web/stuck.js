// A running session without a new event: the operation it is in, its arguments, and the result of the last event.

import { ask, data, make } from "./base.js";
import { QUIET } from "./formats.js";
import { kindText } from "./kinds.js";
import { took } from "./previews.js";
import { when } from "./times.js";

// The most characters of a name, of arguments and of a result: the line must leave room for the events.
const NAME = 40,
  GIVEN = 90,
  RESULT = 140;

/** Return a line about a quiet session, with links that call `go` with an event; null if it is busy or has ended. */
export function stuck(page, go) {
  const { run } = page;
  if (!page.running || page.quiet <= QUIET) return null;
  // Its room, until the events are there.
  if (!page.complete) return page.facts.unfinished ? make("p", { class: "stuck" }) : null;
  if (!run.tree.ends.length) return null;
  const at = run.tree.ends.at(-1);
  const last = newest(run);
  const key = `${run.seq[at]} ${run.seq[last]}`;
  // The head is drawn often: a new line each time would be empty until its texts are fetched.
  if (known.key !== key) Object.assign(known, { key, line: drawn(page, at, last, go) });
  return known.line;
}

const known = { key: "", line: null };

function drawn(page, at, last, go) {
  const { run } = page;
  const texts = [];
  const part = (event, words, more) => {
    const { element, shown } = fetched(run.seq[event]);
    texts.push(shown);
    return make("span", {}, words, link(run, event, go), more, " ", element);
  };
  const line = make("p", { class: "stuck coming" }, [
    part(at, "Inside ", [" for ", took(page, at), ` (since ${when(run.clockOf(at)).slice(11)}):`]),
    ...(last === null ? [] : [" ", part(last, "last event: ", null)]),
  ]);
  // As a whole: its parts would move as their texts come.
  Promise.all(texts).then(() => line.classList.remove("coming"));
  return line;
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
    `${kindText(run.kindOf(at))} ${cut(run.nameOf(at), NAME)}`.trimEnd(),
  );

/** Return an element for the arguments and the result of an event, and a promise that they are in it. */
function fetched(seq) {
  const element = make("span", { class: "preview" });
  const shown = ask(`sessions/${data.session_id}/events/${seq}`).then(
    (event) => {
      const given = cut(line(event.params ?? event.input), GIVEN);
      const result = cut(line(event.error ?? event.details ?? event.returns ?? event.completion), RESULT);
      element.textContent = element.title = [given, result && `→ ${result}`].filter(Boolean).join(" ");
    },
    // The link leads there.
    () => {},
  );
  return { element, shown };
}

/** Return a value as one line: names and values of an object, anything else as text. */
function line(value) {
  if (value === undefined || value === null) return "";
  const isPlain = typeof value === "object" && !Array.isArray(value);
  return isPlain
    ? Object.entries(value)
        .map(([name, each]) => `${name}=${typeof each === "string" ? each : JSON.stringify(each)}`)
        .join(" ")
    : typeof value === "string"
      ? value
      : JSON.stringify(value);
}

const cut = (text, longest) => (text.length > longest ? `${text.slice(0, longest - 1)}…` : text);
