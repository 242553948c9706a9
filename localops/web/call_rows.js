// The rows of the page of calls: a call, or a group of calls.

import { kindSign, make } from "./base.js";
import { cost, count, duration, eventCost, many, money, percent, short } from "./formats.js";
import { address, changed, filtersOf, first, parsed, search } from "./query.js";
import { day, stamp, when, zone } from "./times.js";
import { url } from "./url.js";

/** What calls can be grouped by: the label of the view, and of its first column. */
export const GROUPINGS = {
  "": ["All calls", "Call"],
  tool: ["Tools", "Tool"],
  arguments: ["Arguments", "Tool and arguments"],
  repeat: ["Repeats", "Same call in one session"],
  error: ["Errors", "Error"],
  model: ["Models", "Model"],
  prompt: ["Prompts", "Prompt"],
  message: ["Error messages", "Error message"],
};
const OF_LLMS = new Set(["model", "prompt"]);
// Groups that show since when there are such calls, and until when.
const LASTING = new Set(["tool", "error", "message", "prompt"]);
// Groups of calls that failed.
const OF_FAILED = new Set(["error", "message"]);
// Groups whose calls all have the same arguments.
const OF_ARGUMENTS = new Set(["arguments", "repeat"]);

const START = zone === "UTC" ? "Started (UTC)" : "Started";

/** The columns of a view: the order it sorts by, its label, its class, and its cell. */
export function columns(by) {
  return by ? groupColumns(by) : CALLS;
}

const CALLS = [
  ["", "Call", "what", what],
  ["", "Session", "session", (one) => sessionLink(one)],
  ["began", START, "began", (one) => make("time", { datetime: one.began }, when(one.began))],
  ["seconds", "Duration", "num took", (one) => (one.finished ? duration(one.seconds) : pending(one))],
  ["first_token", "First token", "num first", (one) => (one.time_to_first_token === null ? "" : firstToken(one))],
  ["tokens", "Tokens", "num tokens", tokens],
  ["cost", "Cost", "num cost", (one) => eventCost(one)],
];

const firstToken = (one) => duration(one.time_to_first_token);
const pending = (one) => make("span", { class: "pending" }, one.running ? "running" : "not ended");

/** Return the address of a call: its event on the page of its session, where what was searched is marked, too. */
const place = (one) =>
  url(`s/${one.session_id}${search(changed({ event: [String(one.seq)] }, { text: first(parsed(), "text") }))}`);

const sessionLink = (one, part = "") =>
  make("a", { href: url(`s/${one.session_id}${part}`), title: one.session_name }, one.session_name || "unnamed");

const called = (one) => (one.kind === "tool" ? one.tool || "unnamed tool" : one.model || "unknown model");

/** Return what was called and given; of a failed call first how it failed. */
function what(one) {
  // An error that was searched for is shown as what was found.
  const why = one.failed && one.match?.in !== "error" ? reason(one) : "";
  const stopped = one.stopped ? `stopped: ${one.stopped}` : "";
  return make(
    "div",
    { class: "line", title: [why, stopped, ...bothOf(one)].filter(Boolean).join("\n") },
    kindSign(one.kind),
    make("a", { class: "name", href: place(one) }, called(one)),
    why && make("span", { class: "failed" }, one.error ? [only("error", one.error), rest(one)] : why),
    stopped && make("span", { class: "faint" }, stopped),
    one.match ? passage(one.match) : make("span", { class: "preview" }, textOf(one)),
  );
}

/** Return the line of a call: the answer of a model, or else what was given, marked as such. */
export const textOf = ({ answer, input }) => answer || givenTo({ answer, input });

/** Return what was given; of a model call, whose line is its answer elsewhere, marked as such. */
const givenTo = ({ answer, input }) => (input && typeof answer === "string" ? `given: ${input}` : input || "");
const bothOf = (one) => [one.answer, givenTo(one)];

/** Return where the words of a search are. */
const passage = (match) =>
  make(
    "span",
    { class: "preview found", title: match.text },
    make("span", { class: "faint" }, `${match.in}: `),
    match.text,
  );

/** Return a link to the calls that have a value; with Shift, to those that do not. */
const only = (facet, value) =>
  make(
    "a",
    {
      class: "failed",
      href: address(changed(parsed(), { [facet]: value, after: "" }), "calls"),
      "data-facet": facet,
      "data-value": value,
      title: `Only calls with ${value}; with Shift: without`,
    },
    value,
  );

const rest = (one) => (one.message ? `: ${one.message}` : "");

const reason = (one) =>
  [one.error || (one.failed ? "failed" : "no input"), messageOf(one)]
    .filter(Boolean)
    .join(isExample(one) ? ", " : ": ");

/** Return whether others of these calls may have other numbers and ids in their message. */
const isExample = ({ message, message_varies, calls }) => Boolean(message && message_varies && calls > 1);
const messageOf = (one) => (isExample(one) ? `such as ${one.message}` : one.message);

function tokens(one) {
  if (one.tokens_in === null && one.tokens_out === null) return "";
  const title = `${count(one.tokens_in)} in, ${count(one.tokens_out)} out`;
  return make("span", { title }, count((one.tokens_in || 0) + (one.tokens_out || 0)));
}

function groupColumns(by) {
  const calls = (one) => [one.calls || !one.unfinished ? count(one.calls) : "", openCalls(one)];
  return [
    ["", GROUPINGS[by][1], "what", (one) => common(by, one)],
    ["calls", "Calls", "num", calls],
    ...(OF_FAILED.has(by) ? [] : FAILURES),
    ["seconds", "Time", "num total", (one) => (one.calls ? duration(one.seconds) : "–")],
    ["median", "Median", "num median", (one) => duration(one.median)],
    ["p95", "p95", "num p95", (one) => duration(one.p95)],
    ...(OF_LLMS.has(by) ? [["tokens", "Tokens", "num tokens", (one) => short(one.tokens_in + one.tokens_out)]] : []),
    ["cost", "Cost", "num cost", (one) => (one.cost_nano || one.llm_calls ? cost(one) : "")],
    ...(LASTING.has(by) ? [seen("first"), seen("last")] : []),
    OF_ARGUMENTS.has(by)
      ? ["", "Failed with", "examples", (one) => (one.failed ? examples(one, reason) : "")]
      : [
          "",
          OF_FAILED.has(by) ? "Examples" : "Examples, failed ones first",
          "examples",
          (one) => examples(one, (each) => textOf(each) || reason(each)),
        ],
  ];
}

const seen = (name) => [
  name,
  name === "first" ? "First seen" : "Last seen",
  `seen ${name}-seen`,
  (one) => one[name] && make("time", { datetime: one[name], title: stamp(one[name]) }, day(one[name])),
];

/** Return how many calls of a group have not ended, which its figures do not count. */
function openCalls({ calls, unfinished }) {
  if (!unfinished) return "";
  const title = `${many(unfinished, "call")} not ended`;
  return make("small", { title }, calls ? ` + ${count(unfinished)}` : `${count(unfinished)} not ended`);
}

/** Return how many calls of a group failed, as a link to them. */
function failures(one) {
  if (!one.failed) return "0";
  const href = address(changed(filtersOf(parsed()), { ...one.filter, failed: 1 }), "calls");
  return make("a", { class: "failed", href, title: "The calls that failed" }, count(one.failed));
}
const FAILURES = [
  ["failed", "Failed", "num", failures],
  ["share", "Share", "num share-of", (one) => (one.failed ? percent(one.failed_share) : "")],
];

/** Return what the calls of a group have in common, as a link to them. */
function common(by, one) {
  // Its own filters together with those of the page.
  const to = address(changed(filtersOf(parsed()), one.filter), "calls");
  if (OF_FAILED.has(by)) return failure(by, one, to);
  if (by === "arguments" || by === "repeat")
    return make(
      "div",
      { class: "line", title: one.arguments },
      make("a", { class: "name", href: to }, one.tool || "unnamed tool"),
      make("span", { class: "preview args" }, one.arguments || "no arguments"),
      by === "repeat" && make("span", { class: "in" }, "in ", sessionLink(one, "#loops")),
    );
  if (by === "prompt" && one.differs) return withDifference(one, to);
  if (by === "tool" && one.failed)
    return make(
      "div",
      { class: "line" },
      make("a", { class: "name", href: to }, one.tool || "unnamed tool"),
      errorOf(one),
    );
  // In quotes: a number at its beginning would be read as that of the row.
  const text = by === "prompt" ? one.prompt && `“${lineOf(one.prompt)}”` : one[by];
  return make("a", { class: by === "prompt" ? "preview" : "name", href: to, title: one[by] }, text || "unnamed");
}

/** Return what the calls of a group failed with, by its examples, as a link to their errors. */
function errorOf(one) {
  const failed = one.examples.filter((each) => each.failed && each.error);
  const errors = [...new Set(failed.map((each) => each.error))];
  if (!errors.length) return null;
  const text =
    errors.length > 1 ? errors.join(", ") : `${errors[0]}${failed[0].message ? `: ${failed[0].message}` : ""}`;
  const href = address(changed(filtersOf(parsed()), { ...one.filter, by: "error" }), "calls");
  return make(
    "a",
    { class: "failed", href, title: `${text}\nFirst failed ${stamp(one.first_failed)}\n\nThe errors of this tool` },
    text,
  );
}

/** Return when a tool first failed, before its examples: the days of the row are those of all its calls. */
const failedFirst = ({ first_failed: at }) =>
  make("time", { class: "faint", datetime: at, title: `First failed ${stamp(at)}` }, `since ${day(at)}`);

/** Return a class of errors with how many messages and tools it has, and the most frequent messages: all lead there. */
function failure(by, one, to) {
  const within = (query) => address(changed(filtersOf(parsed()), { ...one.filter, ...query }), "calls");
  const link = (label, query) => make("a", { class: "among", href: within(query) }, label);
  const messages = (by === "error" ? one.messages : [{ message: messageOf(one), calls: 1 }]).filter(
    (each) => each.message,
  );
  const hasSeveral = by === "error" && one.messages_count > 1;
  return make(
    "div",
    { class: "line failure", title: [...messages.map(withCount), ...among(one)].join("\n") },
    make("a", { class: "name", href: to }, one.error || "no error recorded"),
    hasSeveral && link(many(one.messages_count, "message"), { by: "message" }),
    one.called_count > 1 && link(several(one), { by: kindOf(one) }),
    one.called_count === 1 && make("span", { class: "faint" }, `in ${one.called[0].name || "unnamed"}`),
    messages.map((each) =>
      hasSeveral
        ? make("a", { class: "preview", href: within(each.filter) }, withCount(each))
        : make("span", { class: "preview" }, withCount(each)),
    ),
  );
}

const withCount = (one) => (one.calls > 1 ? `${messageOf(one)} ×${count(one.calls)}` : one.message);

// What calls of a kind are calls of, and what they can be grouped by.
const CALLED = { tool: "tool", llm: "model" };
const kindOf = ({ called }) => (called.every(({ kind }) => kind === called[0].kind) ? CALLED[called[0].kind] : "");
const several = (one) =>
  `in ${kindOf(one) ? many(one.called_count, kindOf(one)) : `${count(one.called_count)} tools and models`}`;
const among = (one) => one.called.map(({ name, calls }) => `in ${name || "unnamed"} ×${count(calls)}`);

/** Return the template of a prompt, which has line breaks as escapes, as one line. */
const lineOf = (prompt) => (prompt || "").replaceAll("\\n", " ");

// Characters that are shown of the beginning that prompts have in common.
const BEGIN = 24;

/** Return a link to a prompt that begins like others: a few words of the beginning, and the part that differs. */
const withDifference = ({ prompt, differs }, to) =>
  make(
    "a",
    { class: "preview apart", href: to, title: `${prompt}\n\nDiffers after ${many(differs.after, "character")}` },
    make("span", { class: "faint" }, `“${lineOf(prompt).slice(0, BEGIN)}…” differs in: ${differs.lead} `),
    make("b", {}, differs.text || "(ends here)"),
    ` ${differs.tail}`,
  );

// Characters of a word before the place where it differs from others.
const KEPT = 8;

/** Split texts before the first word that differs: return their common beginning and the rest of each. */
export function splitCommon(texts) {
  const [first, ...others] = texts;
  if (!others.length || others.every((each) => each === first)) return ["", texts];
  let at = 0;
  while (at < first.length && others.every((each) => each[at] === first[at])) at += 1;
  const begin = Math.max(...[" ", "=", "/"].map((mark) => first.lastIndexOf(mark, at - 1))) + 1;
  let skipped = at - begin > 2 * KEPT ? at - begin - KEPT : 0;
  // Not in the middle of a character of two units.
  if (skipped && /[\udc00-\udfff]/.test(first[begin + skipped])) skipped += 1;
  return [
    first.slice(0, begin),
    texts.map((each) => (skipped ? `…${each.slice(begin + skipped)}` : each.slice(begin)) || each),
  ];
}

/** Return the arguments of a call with their names set apart, as values have spaces, too. */
const apart = (text) =>
  text
    .split(/((?:^| )[A-Za-z_]\w*=)/)
    .map((part, index) => (index % 2 ? make("span", { class: "argument" }, part) : part));

/** Return links to examples of a group, each with a text, and how many calls are like it. */
function examples(one, text) {
  const [shared, rests] = splitCommon(one.examples.map(text));
  return make(
    "div",
    { class: "line" },
    one.filter.tool && one.failed ? failedFirst(one) : null,
    shared && make("span", { class: "shared faint" }, shared),
    one.examples.map((each, index) =>
      make(
        "a",
        {
          href: place(each),
          class: each.failed ? "failed" : "preview",
          title: [each.error, each.message, ...bothOf(each)].filter(Boolean).join("\n"),
        },
        apart(rests[index]),
        each.calls > 1 && ` ×${each.calls}`,
      ),
    ),
  );
}

/** Return the id of a row: it stays the same when its figures change. */
const rowId = (by, one) => (by ? Object.values(one.filter).join(" ") || one[by] || "nameless" : one.id);

/** Return a row of the table. */
export function row(by, one) {
  return make(
    "tr",
    { "data-id": rowId(by, one), class: one.failed && !by ? "bad" : null },
    columns(by).map(([, label, kind, cell]) => make("td", { class: kind, "data-label": label }, cell(one))),
  );
}

const FAILED =
  "LLM and tool calls that failed. Analytics also counts other operations that failed, and all events of errors.";

/** Return the figures of all calls, the most important first; while a search is running, they are marked. */
export function sums(one) {
  if (!one.calls && !one.unfinished) return [];
  const isPart = one.searching || one.unread > 0;
  // Tool calls usually have neither cost nor tokens.
  const [spent, tokens] = [one.cost_nano, one.tokens_in + one.tokens_out];
  const rest = one.unfinished ? ` + ${count(one.unfinished)} not ended` : "";
  const parts = [
    make("b", {}, `${count(one.calls)} ${one.calls === 1 ? "call" : "calls"}${rest}${isPart ? " so far" : ""}`),
    one.failed
      ? make("span", { class: "failed", title: FAILED }, `${count(one.failed)} failed (${percent(one.failed_share)})`)
      : "none failed",
    one.llm_calls ? cost(one) : spent && money(spent),
    (one.llm_calls || tokens) && `${short(tokens)} tokens`,
    make("span", { title: "The durations of all calls, added" }, `${duration(one.seconds)} in calls`),
  ].filter(Boolean);
  return parts.map((part, index) =>
    make("span", { class: "part" }, index > 0 && make("span", { class: "dot" }, " · "), part),
  );
}
