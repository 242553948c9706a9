// Numbers, durations and money as text, in the same form as on the command line.

import { now } from "./clock.js";

const GROUP = ",";
const DAY = 86_400;

export const count = (value) =>
  value === null || value === undefined ? "–" : String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, GROUP);

/** Return the tokens that are part of those in or out: 5 cached, 7 written to cache, …; the server names the kinds. */
export const partsOfTokens = (one) =>
  Object.keys(one)
    .filter((key) => /^tokens_(?!in$|out$|per_)/.test(key) && one[key])
    .map((key) => `${count(one[key])} ${PARTS[key] || key.slice("tokens_".length).replaceAll("_", " ")}`);
const PARTS = { tokens_cache_write: "written to cache" };

/** Return 12,345,678 as 12.3M, for narrow places. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size < 10_000) return count(value);
  const [by, sign] = size < 1e6 ? [1e3, "k"] : size < 1e9 ? [1e6, "M"] : [1e9, "G"];
  return `${(value / by).toFixed(size / by < 100 ? 1 : 0)}${sign}`;
}

/** Return seconds as short text: 340ms, 3.2s, 2m 05s, 3h 12m, 2d 03h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 0.0005) return "<1ms";
  const two = (number) => String(number).padStart(2, "0");
  const milliseconds = Math.round(seconds * 1e3);
  if (milliseconds < 1000) return `${milliseconds}ms`;
  const tenths = Math.round(seconds * 10);
  if (tenths < 600) return `${Math.floor(tenths / 10)}.${tenths % 10}s`;
  const full = Math.round(seconds);
  if (full < 3600) return `${Math.floor(full / 60)}m ${two(full % 60)}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

/**
 * Return a time since the start as exactly as one `gap` seconds away needs it to differ: 1h 21m, 1h 21m 03s,
 * 1h 21m 03.2s.
 */
export function since(seconds, gap) {
  if (seconds < 0) return `-${since(-seconds, gap)}`;
  if (seconds < 0.0005) return "0s";
  const digits = Math.min(3, Math.max(0, Math.ceil(-Math.log10(Math.max(gap, 1e-9)))));
  if (seconds < 0.9995 || gap >= 60 || (seconds < 60 && digits < 2)) return duration(seconds);
  const unit = 10 ** digits,
    parts = Math.round(seconds * unit),
    full = Math.floor(parts / unit),
    rest = digits ? `.${String(parts % unit).padStart(digits, "0")}` : "";
  const two = (number) => String(number).padStart(2, "0");
  if (full < 60) return `${full}${rest}s`;
  const minutes = Math.floor(full / 60) % 60,
    hours = Math.floor(full / 3600) % 24,
    days = Math.floor(full / DAY);
  return [
    days && `${days}d`,
    full >= 3600 && `${days ? two(hours) : hours}h`,
    `${full >= 3600 ? two(minutes) : minutes}m`,
    `${two(full % 60)}${rest}s`,
  ]
    .filter(Boolean)
    .join(" ");
}

/** Return the duration of a session in seconds; of a running one, until now. */
export const elapsed = (one) =>
  one.state === "Running" ? Math.max(one.seconds, (now() - Date.parse(one.began)) / 1e3) : one.seconds;

// Seconds without an event after which a running session is shown as quiet.
export const QUIET = 60;

/** Return seconds as text that changes once a second. */
export const ago = (seconds) => (seconds < 60 ? `${Math.max(0, Math.floor(seconds))}s` : duration(Math.floor(seconds)));

/** Return how long ago the last event of a quiet session was, and what it is in; nothing for any other session. */
export function quiet(one) {
  const seconds = one.state === "Running" ? (now() - Date.parse(one.last)) / 1e3 : 0;
  if (!(seconds > QUIET)) return "";
  const inside = one.inside ? `, inside ${one.inside}` : "";
  return `last event ${seconds < 3_600 ? `${Math.floor(seconds / 60)}m` : duration(seconds)} ago${inside}`;
}

/** Steps of an axis of seconds: 1, 2 and 5, or common fractions of hours and days. */
export const STEPS = [
  ...[-6, -5, -4, -3, -2, -1, 0].flatMap((power) => [1, 2, 5].map((factor) => +`${factor}e${power}`)),
  10,
  20,
  30,
  60,
  120,
  300,
  600,
  1_800,
  3_600,
  7_200,
  21_600,
  43_200,
  ...[1, 2, 7, 14, 28, 91, 182, 365].map((days) => days * DAY),
];

/** Return the label of a tick on an axis with ticks every `step` seconds. */
export function tick(seconds, step) {
  if (seconds === 0) return "0";
  if (seconds >= 60) return since(seconds, step);
  // More digits where microseconds are visible.
  const more = step < 1e-3 ? 3 : 0;
  if (step < 1) return seconds < 1 ? `${+(seconds * 1e3).toFixed(more)}ms` : `${+seconds.toFixed(3 + more)}s`;
  return `${Math.round(seconds)}s`;
}

/** Return nano-dollars as text: $12.35, $0.0123, $0.000042. */
export function money(nano) {
  if (nano === null || nano === undefined || Number.isNaN(nano)) return "unpriced";
  const amount = Math.abs(nano),
    sign = nano < 0 ? "-" : "";
  if (amount > 0 && amount < 500) return `${sign}<$0.000001`;
  const places = amount === 0 || amount >= 1e9 ? 2 : amount >= 1e7 ? 4 : 6;
  // Rounds half up, as the commands do.
  const unit = 10 ** (9 - places),
    parts = Math.floor((amount + unit / 2) / unit);
  return `${sign}$${count(Math.floor(parts / 10 ** places))}.${String(parts % 10 ** places).padStart(places, "0")}`;
}

/** Return the text of a round number without the zeros behind its point: $5.00 is $5. */
export const trimmed = (text) => text.replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");

/** Return what a bar of a histogram counts: 1s–2s, or under 1ms. */
export function range(from, to, text) {
  const edge = (value) => trimmed(text(value));
  return from > 0 ? `${edge(from)}–${edge(to)}` : `under ${edge(to)}`;
}

/** Return the cost of several calls: with `+ ?` if it is not the whole cost, and `unpriced` if no price is known. */
export function cost({ cost_nano, unpriced, llm_calls, cost_at_least }) {
  const partial = unpriced || cost_at_least;
  if (unpriced && !cost_nano && unpriced >= llm_calls) return "unpriced";
  return money(cost_nano) + (partial ? " + ?" : "");
}

/** Return the cost of one event: an LLM call has a price, none, or was not billed; others rarely cost anything. */
export function eventCost({ kind, cost_nano, billed, finished = true }) {
  if (billed === false) return "not billed";
  if (kind !== "llm") return cost_nano ? money(cost_nano) : "";
  // The cost of a call is known at its end.
  return finished || cost_nano ? money(cost_nano) : "";
}

export function bytes(size) {
  if (size === null || size === undefined) return "missing";
  if (size < 1024) return `${size} B`;
  return size < 1048576 ? `${(size / 1024).toFixed(1)} kB` : `${(size / 1048576).toFixed(1)} MB`;
}

/** Return a share with a decimal below 10% and above 99%, never rounded to 0% or 100%. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share > 0 && share < 0.0005) return "<0.1%";
  if (share >= 0.9995 && share < 1) return ">99.9%";
  const digits = (share > 0 && share < 0.1) || (share > 0.99 && share < 1) ? 1 : 0,
    scale = 10 ** digits;
  return `${(Math.round(share * 100 * scale) / scale).toFixed(digits)}%`;
}

/** Return the share of successful sessions, of how many it is the share, and how many ended in another way. */
export function success({ states }) {
  const { Success: good = 0, Failure: bad = 0, Indeterminate: open = 0, Unknown: unknown = 0 } = states;
  const ended = good + bad;
  const share = ended ? good / ended : null,
    left = open + unknown;
  const of = ended
    ? `${percent(share)} of ${count(ended)} that ended as success or failure`
    : "None ended as success or failure";
  return {
    share,
    title: left ? `${of}; ${count(open)} Indeterminate and ${count(unknown)} Unknown are left out` : of,
    note: left
      ? `${ended ? `of ${count(ended)}; ` : ""}${count(left)} ${unknown ? "Indeterminate or Unknown" : "Indeterminate"}`
      : "",
  };
}
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** Return why a session ended: the first cause, and what it led to; of a traceback the most useful line. */
export function reasonOf({ reason, cause }) {
  const lines = (reason || "")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const line = lines[0]?.startsWith("Traceback") ? lines.at(-1) : lines[0];
  return cause && line ? [cause, ` — led to ${line}`] : [line || "", ""];
}
