// Two calls of one run side by side: inputs and results, word by word.

import { ask, make, notice } from "./base.js";
import { textOf } from "./call_rows.js";
import { change } from "./changes.js";
import { comparedTexts } from "./compared_texts.js";
import { choice, menu } from "./menus.js";
import { count, duration, eventCost, money } from "./formats.js";
import { keyed } from "./keyed.js";
import { line, table } from "./table.js";
import { when } from "./times.js";
import { url } from "./url.js";

const FIGURES = [
  ["Duration", (one) => (one.finished ? (one.end_ns - one.start_ns) / 1e9 : null), duration],
  ["Cost", (one) => one.cost_nano, money],
  ["Tokens in", (one) => one.tokens_in, count],
  ["Tokens out", (one) => one.tokens_out, count],
];
const LISTED = 500;

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
    ...(a && b ? [figures(run, a, b), ...comparedTexts(a, b)] : [notice("Choose two calls.", "faint")]),
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
