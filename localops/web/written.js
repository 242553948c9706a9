// Filters that are written in a search: `tag:vip`, `-tool:"look up"`, `cost>0.1`.

import { changed, facetOf, isExcluding, isTurnable } from "./query.js";

const NOT = "not_";
// Filters of calls alone, the other words for them, and the values that some of them have.
const OF_CALLS = new Set(["argument", "kind", "in"]);
const ALIASES = new Map([
  ["arguments", "argument"],
  ["duration", "seconds"],
  ["metadata", "meta"],
]);
const VALUES = new Map([
  ["kind", ["llm", "tool"]],
  ["in", ["answer", "result", "error", "arguments", "prompt"]],
  ["state", ["Success", "Failure", "Indeterminate", "Running", "Unknown"]],
]);
// Other filters that have one value, and cannot exclude.
const SINGLE = new Set([...OF_CALLS, "project", "since", "until"]);
const TERM = /(?<!\S)(-?)([a-z]+)(?::(?!\/\/)|([<>])=?\$?)("[^"]+"|[^\s"]+)(?!\S)/g;
const EXAMPLES = "tag:vip, -tool:search, cost>0.1 or seconds<60";

/** Return the filter of a term, or a sentence that says why it is not a filter. */
function read(minus, given, sign, quoted, ofCalls) {
  const name = ALIASES.get(given) || given,
    value = quoted.replaceAll('"', "");
  if (name === "cost" || name === "seconds") {
    if (sign && !minus && /^\d+(?:\.\d+)?$/.test(value)) return [`${sign === ">" ? "min" : "max"}_${name}`, value];
    return `Invalid ${given}: expected a number, such as ${given}>0.1.`;
  }
  if (sign) return `Only cost and seconds can be compared, not ${given}.`;
  if (OF_CALLS.has(name) && !ofCalls) return `${given} is a filter of Calls.`;
  if (!isTurnable(name) && !SINGLE.has(name)) return `${given} is not a filter. Filters are written like ${EXAMPLES}.`;
  if (minus && SINGLE.has(name)) return `${given} cannot exclude: leave out the minus.`;
  if (name === "meta" && !value.includes("=")) return `Invalid ${given}: expected NAME=VALUE, got ${value}.`;
  const values = VALUES.get(name),
    wanted = value.toLowerCase().replace(/^fail$/, "failure"),
    known = values?.find((one) => one.toLowerCase() === wanted);
  if (values && !known) return `Invalid ${given}: expected one of ${values.join(", ")}, got ${value}.`;
  return [`${minus && NOT}${name}`, known || value];
}

/**
 * Return the filters that are written in a search, as pairs of name and value, the rest of it, and why terms that look
 * like filters are not; `ofCalls`: with the filters that only calls have.
 */
export function written(text, { ofCalls = false } = {}) {
  const filters = [],
    problems = [];
  const rest = text.replace(TERM, (term, minus, name, sign, value) => {
    const one = read(minus, name, sign, value, ofCalls);
    (typeof one === "string" ? problems : filters).push(one);
    return typeof one === "string" ? term : "";
  });
  return { filters, problems, rest: rest.replace(/\s+/g, " ").trim() };
}

/** Return whether only calls have one of these filters. */
export const areOfCalls = (filters) => filters.some(([name]) => OF_CALLS.has(name));

/** Return a query with further filters: values of a facet are added, others replaced. */
export function withFilters(query, filters) {
  let next = query;
  for (const [name, value] of filters) {
    const isAdded = isExcluding(name) || (isTurnable(facetOf(name)) && !SINGLE.has(name));
    next = changed(next, { [name]: isAdded ? [...new Set([...(next[name] || []), value])] : value });
  }
  return next;
}
