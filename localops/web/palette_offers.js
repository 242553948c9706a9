// What the palette offers without asking the server: periods and days, filters by common words, the colours.

import { help, theme } from "./base.js";
import { address, asPrefix, changed, words } from "./query.js";
import { day, midnight } from "./times.js";
import { areOfCalls, withFilters, written } from "./written.js";

// The fewest letters that find a word of an entry.
const FEWEST = 2;
const PERIODS = [
  ["Last hour", "1h"],
  ["Last 24 hours", "24h"],
  ["Last 7 days", "7d"],
  ["Last 30 days", "30d"],
  ["Last 90 days", "90d"],
];
const UNITS = { minute: "m", hour: "h", day: "d", week: "w" };
// Of each entry: its label, more words that find it, its filters, its page.
const FILTERS = [
  ["Sessions that failed", "failure", { state: "Failure" }, ""],
  ["Sessions with errors", "failed failures", { errors: 1 }, ""],
  ["Sessions that are running", "", { state: "Running" }, ""],
  ["Sessions with a star", "starred", { score: "star" }, ""],
  ["Calls that failed", "failures errors", { failed: 1 }, "calls"],
  ["Tool calls that were repeated", "loops repeats repeated", { by: "repeat" }, "calls"],
];
// The views of the page of calls: the label, more words that find it, what calls are grouped by.
const VIEWS = [
  ["Calls by tool", "tools", "tool"],
  ["Calls by arguments", "", "arguments"],
  ["Calls by class of error", "errors", "error"],
  ["Calls by error message", "messages", "message"],
  ["Calls by model", "models", "model"],
  ["Calls by prompt", "prompts", "prompt"],
];
const THEMES = ["dark", "light"];

/** Return what fits a text; `query` has the filters that a period is added to. */
export function offers(text, query) {
  const typed = text.toLowerCase().replace(/\s+/g, " ");
  const fits = (words) => ` ${words.toLowerCase()}`.includes(` ${typed}`);
  const dated = [...periods(typed), ...days(typed)].map(([label, times]) => ({
    kind: "When",
    label: `Sessions: ${label}`,
    to: address(changed(query, { since: "", until: "", ...times, before: "" })),
  }));
  if (typed.length < FEWEST) return dated;
  const finds = ([label, more]) => fits(label) || more.split(" ").some((word) => word && fits(word));
  return [
    ...dated,
    ...byFilters(text, query),
    ...FILTERS.filter(finds).map(([label, , filters, page]) => ({
      kind: "Filter",
      label,
      to: address(changed({}, filters), page),
    })),
    ...VIEWS.filter(finds).map(([label, , by]) => ({ kind: "Page", label, to: address({ by: [by] }, "calls") })),
    ...(fits("help") || fits("keys") || fits("shortcuts") ? [{ kind: "Help", label: "Keys", run: help }] : []),
    ...THEMES.filter((name) => fits(`${name} theme`)).map((name) => ({
      kind: "Theme",
      label: name === "dark" ? "Dark" : "Light",
      run: () => theme(name),
    })),
  ];
}

const capital = (name) => name[0].toUpperCase() + name.slice(1);

/** Return the sessions or calls with the filters that are written in a text, as in the search of a list. */
function byFilters(text, query) {
  const { filters, rest } = written(text, { ofCalls: true });
  if (!filters.length) return [];
  const isOfCalls = areOfCalls(filters),
    named = ([name, value]) => (areOfCalls([[name]]) ? `${capital(name)}: ${value}` : words(name, value));
  const names = filters.map((one) => named(one));
  const label = [...names, ...(rest ? [`“${rest}”`] : [])].join(", "),
    added = { ...(rest && { text: asPrefix(rest) }), before: "" };
  return [
    ...(isOfCalls
      ? []
      : [{ kind: "Filter", label: `Sessions: ${label}`, to: address(changed(withFilters(query, filters), added)) }]),
    { kind: "Filter", label: `Calls: ${label}`, to: address(changed(withFilters({}, filters), added), "calls") },
  ];
}

/** Return the periods that a text names, such as "last 7 d" or "3 weeks", with their filters. */
function periods(typed) {
  const [, number, unit] = /^(?:last )?(\d{1,4}) ?(minute|hour|day|week|m|h|d|w)s?$/.exec(typed) || [];
  const known = PERIODS.filter(([label]) => typed && label.toLowerCase().startsWith(typed));
  const since = number && `${number}${UNITS[unit] || unit}`;
  const own =
    since && !known.some(([, value]) => value === since) ? [[`last ${number} ${named(unit, number)}`, since]] : [];
  return [...known.map(([label, value]) => [label.toLowerCase(), value]), ...own].map(([label, value]) => [
    label,
    { since: value },
  ]);
}

const named = (unit, number) =>
  `${Object.keys(UNITS).find((name) => name === unit || UNITS[name] === unit)}${number === "1" ? "" : "s"}`;

/** Return a day that a text names, with the filters for it. */
function days(typed) {
  const back = { today: 0, yesterday: 1 }[typed];
  const begin = back === undefined ? /^\d{4}-\d\d-\d\d$/.exec(typed)?.[0] : day(Date.now() - back * 864e5);
  if (!begin || !Number.isFinite(Date.parse(begin))) return [];
  const next = new Date(Date.parse(begin) + 864e5).toISOString().slice(0, 10);
  return [[begin, { since: midnight(begin), until: midnight(next) }]];
}
