// Two calls of one run side by side: inputs and results, word by word.

import { ask, make, notice } from "./base.js";
import { textOf } from "./call_rows.js";
import { change, marked } from "./changes.js";
import { at, entriesOf, made, parse, write } from "./exact.js";
import { choice, menu } from "./menus.js";
import { count, duration, eventCost, money } from "./formats.js";
import { keyed } from "./keyed.js";
import { line, table } from "./table.js";
import { when } from "./times.js";
import { url } from "./url.js";

const TEXTS = [
  ["prompt", "Prompt"],
  ["system_instructions", "System instructions"],
  ["params", "Arguments"],
  ["completion", "Answer"],
  ["tool_calls", "Tool calls"],
  ["returns", "Result"],
];
const FIGURES = [
  ["Duration", (one) => (one.finished ? (one.end_ns - one.start_ns) / 1e9 : null), duration],
  ["Cost", (one) => one.cost_nano, money],
  ["Tokens in", (one) => one.tokens_in, count],
  ["Tokens out", (one) => one.tokens_out, count],
];
const LISTED = 500;

/** Return a value as text with lines: a conversation message by message, other data as JSON. */
export function readable(value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") {
    const isJson = /^\s*[[{]/.test(value);
    try {
      return isJson ? readable(parse(value)) : value;
    } catch {
      return value;
    }
  }
  const messages = Array.isArray(value) ? value : value.messages;
  if (Array.isArray(messages) && messages.length && messages.every((one) => one && typeof one === "object" && one.role))
    return messages.map((one) => `${one.role}:\n${content(one)}`).join("\n\n");
  return write(value).replace(/\\n/g, "\n").replace(/\\t/g, "\t");
}

function content(message) {
  const { content: inner } = message,
    rest = entriesOf(message).filter(([key]) => key !== "role" && key !== "content");
  const parts = Array.isArray(inner) ? inner : [inner];
  const texts = parts
    .filter((part) => part !== undefined && part !== null)
    .map((part) => (typeof part === "string" ? part : typeof part.text === "string" ? part.text : readable(part)));
  if (rest.length) texts.push(readable(made(rest)));
  return texts.join("\n");
}

/** Show the calls of the address: `session`, `call` and `with`. */
export async function calls(place) {
  const params = new URLSearchParams(location.search);
  const session = params.get("session"),
    seqs = [params.get("call"), params.get("with")];
  place.replaceChildren(notice("Comparing …"));
  const path = `sessions/${encodeURIComponent(session)}`;
  const [run, ...both] = await Promise.all([
    ask(path),
    ...seqs.map((seq) => (seq ? ask(`${path}/events/${encodeURIComponent(seq)}`) : null)),
  ]);
  const [a, b] = both;
  const go = (at, seq) => {
    params.set(["call", "with"][at], seq);
    location.assign(url(`compare?${params}`));
  };
  const swapped = new URLSearchParams({ session, call: seqs[1] || "", with: seqs[0] || "" });
  place.replaceChildren(
    make(
      "div",
      { class: "bar" },
      make("b", {}, "Two calls of "),
      make("a", { href: url(`s/${run.session_id}`) }, run.name || "unnamed"),
      ["A", "B"].map((letter, at) => chooser(letter, session, both[at], (seq) => go(at, seq))),
      make("a", { class: "button", href: url(`compare?${swapped}`) }, "Swap A and B"),
    ),
    ...(a && b ? [figures(run, a, b), ...texts(a, b)] : [notice("Choose two calls.", "faint")]),
  );
}

const nameOf = (one) => one.name || one.model || one.tool || one.kind;

/** Return a menu of the calls of the run, which are found by words in them. */
function chooser(letter, session, chosen, go) {
  const { element, box } = menu(`${letter}: ${chosen ? `${nameOf(chosen)} #${chosen.seq}` : "choose a call"}`);
  const input = make("input", {
    type: "search",
    placeholder: "Words in the call",
    "aria-label": `Find call ${letter}`,
  });
  const values = make("div", { class: "values", role: "group", "aria-label": `Call ${letter}` });
  box.append(input, values);
  let listed = null;
  const draw = () => {
    const wanted = input.value.trim().toLowerCase();
    const fits = (text) => wanted.split(/\s+/).every((word) => text.toLowerCase().includes(word));
    const entries = (listed || [])
      .map((one) => [one, `${when(one.began).slice(11)} ${nameOf(one)} ${textOf(one)}`])
      .filter(([, text]) => fits(text));
    keyed(
      values,
      entries.map(([one, text]) =>
        make(
          "div",
          { class: "entry", "data-id": one.id },
          choice(text, one.seq === chosen?.seq, () => go(one.seq)),
        ),
      ),
    );
    if (listed && !entries.length) values.replaceChildren(notice("No matching call.", "faint small"));
  };
  input.addEventListener("input", draw);
  element.addEventListener("toggle", async () => {
    if (!element.open) return;
    input.focus();
    try {
      listed ||= (await ask("calls", { session, sort: "began", order: "asc", limit: LISTED })).calls;
      draw();
    } catch (error) {
      values.replaceChildren(notice(error.message, "problem"));
    }
  });
  return element;
}

function figures(run, a, b) {
  const head = (letter, one) => [
    [`${letter}: `, make("a", { href: url(`s/${run.session_id}?event=${one.entry || one.seq}`) }, nameOf(one))],
    "num",
  ];
  const rows = FIGURES.map(([label, value, text]) =>
    line(label, [...[a, b].map((one) => shown(label, one, value(one), text)), change(value(a), value(b), text)]),
  );
  return make(
    "section",
    { class: "chart sums" },
    table([["Figure"], head("A", a), head("B", b), ["Difference", "num"]], rows),
  );
}

const shown = (label, one, value, text) =>
  label === "Cost" ? eventCost(one) : value === null || value === undefined ? "–" : text(value);

function texts(a, b) {
  return TEXTS.map(([key, label]) => [label, readable(at(a, key)), readable(at(b, key))])
    .filter(([, one, other]) => one || other)
    .map(([label, one, other]) =>
      make(
        "section",
        { class: "chart text" },
        make("h2", {}, label, one === other && make("small", { class: "faint" }, " the same in both")),
        one === other
          ? make("details", {}, make("summary", {}, "Show it"), make("pre", { tabindex: 0 }, one))
          : marked({ texts: [one, other], same_before: 0, is_cut: false }),
      ),
    );
}
