// The filters in the address: several values of a name are alternatives, and `not_` before a name excludes.  Sessions
// must have each value of `all_tag`.

import { moment } from "./times.js";
import { url } from "./url.js";

export const FACETS = {
  state: "State",
  tag: "Tag",
  model: "Model",
  agent: "Agent",
  tool: "Tool",
  user: "User",
  conversation: "Conversation",
  meta: "Metadata",
  name: "Name",
  host: "Host",
  error: "Error class",
  project: "Project",
};
export const OTHERS = {
  text: "Text",
  since: "From",
  until: "Before",
  score: "Score",
  min_cost: "Cost from $",
  max_cost: "Cost to $",
  min_seconds: "Seconds from",
  max_seconds: "Seconds to",
  errors: "With errors",
};
const NOT = "not_";
const ALL_TAG = "all_tag";
// The days that a filter can have: the server counts nanoseconds from 1970 on, in 64 bits.
export const EARLIEST = "1970-01-01";
export const LATEST = "2261-12-31";
const UNITS = { m: "minute", h: "hour", d: "day", w: "week" };

const CONVERSATION = "conversation=";
/** Return the address of the conversation that a tag names; an empty text for any other tag. */
export const toConversation = (tag) =>
  tag.startsWith(CONVERSATION)
    ? url(`conversation?conversation=${encodeURIComponent(tag.slice(CONVERSATION.length))}`)
    : "";

/** Further filters of one page, and how each is read: its value, as words. */
export const own = {};

/** Return the name of a facet without the sign that excludes or requires all. */
export const facetOf = (name) => (name === ALL_TAG ? "tag" : name.startsWith(NOT) ? name.slice(NOT.length) : name);
const isFacet = (name) => Object.hasOwn(FACETS, facetOf(name));
export const isFilter = (name) => isFacet(name) || Object.hasOwn(OTHERS, name) || Object.hasOwn(own, name);
export const isExcluding = (name) => name.startsWith(NOT) && isFacet(name);
/** Return whether a filter can exclude: a request is for one project, or for all. */
export const isTurnable = (name) => isFacet(name) && name !== "project";

/** Return the names and values of an address: `{ tag: ["a", "b"], sort: ["cost"] }`. */
export function parsed(search = location.search) {
  const query = {};
  for (const [name, value] of new URLSearchParams(search)) if (value) (query[name] ||= []).push(value);
  return query;
}

// A term of a search: words in quotes (the last quote may still be missing), or characters without blanks.
const TERM = /"[^"]*(?:"\*?|$)|\S+/g;
const ID = /^[0-9a-f-]{13,36}$/i;
// Letters from which on a word that others follow is the beginning of one: that of a shorter one is in nearly every
// text, and takes long to look up.
const SHORT = 3;

/** Return a search in which each word may be the beginning of one, unless it is in quotes. */
export function asPrefix(text) {
  const terms = text.match(TERM) || [];
  return terms
    .map((term, index) => {
      const [end = ""] = /[\p{L}\p{N}]+$/u.exec(term) || [];
      const isBeginning = end && !ID.test(term) && (index === terms.length - 1 || end.length >= SHORT);
      return isBeginning ? `${term}*` : term;
    })
    .join(" ");
}

/** Return a search as it was typed, without what `asPrefix` adds. */
export function plain(text) {
  const typed = (text.match(TERM) || []).map((term) => term.replace(/([\p{L}\p{N}])\*$/u, "$1")).join(" ");
  return asPrefix(typed) === asPrefix(text) ? typed : text;
}

/** Return the terms of a search as small letters without quotes. */
export const unquoted = (text) =>
  (text.match(TERM) || []).map((term) => term.replace(/^"|"?\*?$/g, "").toLowerCase()).filter(Boolean);

/** Return the first value of a name, or an empty text. */
export const first = (query, name) => query[name]?.[0] || "";

/** Return other names and values; one without a value is left out. */
export function changed(query, changes) {
  const next = { ...query };
  for (const [name, value] of Object.entries(changes)) {
    const values = [value].flat().filter((each) => each !== "" && each !== null && each !== undefined);
    if (values.length) next[name] = values.map(String);
    else delete next[name];
  }
  return next;
}

/** Return the names under which a facet has values: alternatives, excluded ones, and tags that must all match. */
const namesOf = (facet) => [facet, NOT + facet, ...(facet === "tag" ? [ALL_TAG] : [])];
/** Return the chosen values of a facet. */
export const wantedOf = (query, facet) =>
  namesOf(facet).flatMap((name) => (isExcluding(name) ? [] : query[name] || []));

/** Add a value of a facet, or remove it if it is chosen already; a value is never both chosen and excluded. */
export function toggled(query, facet, value, exclude = false) {
  const names = namesOf(facet);
  const without = Object.fromEntries(names.map((name) => [name, (query[name] || []).filter((each) => each !== value)]));
  const before = exclude ? query[NOT + facet] || [] : wantedOf(query, facet);
  if (before.includes(value)) return changed(query, without);
  const own = exclude ? NOT + facet : facet === "tag" && isOfAll(query) ? ALL_TAG : facet;
  // A request is for one project, or for all.
  return changed(query, { ...without, [own]: facet === "project" ? [value] : [...without[own], value] });
}

/** Return whether sessions must have each of the chosen tags. */
export const isOfAll = (query) => Boolean(query[ALL_TAG]) && !query.tag;

/** Return the filters to set for sessions with each of the chosen tags, or with any of them. */
export const joinedBy = (query, isAll) => ({
  tag: "",
  [ALL_TAG]: "",
  [isAll ? ALL_TAG : "tag"]: wantedOf(query, "tag"),
});

/** Return the filters to set so that only those with a value stay: a further tag is required beside the others. */
export function narrowing(query, facet, value) {
  const { tag = [], [ALL_TAG]: all = [] } = query;
  if (facet !== "tag" || tag.includes(value) || !wantedOf(query, "tag").length) return { [facet]: value };
  // Of several alternatives, each session may have another one.
  return tag.length === 1
    ? { tag: "", [ALL_TAG]: [...new Set([...tag, ...all, value])] }
    : { [ALL_TAG]: [...new Set([...all, value])] };
}

/** Return only what chooses sessions, or on the page of calls those and calls. */
export const filtersOf = (query) => Object.fromEntries(Object.entries(query).filter(([name]) => isFilter(name)));

/** Return each filter as `[name, value]`, in the order of the address. */
export const listed = (query) =>
  Object.entries(filtersOf(query)).flatMap(([name, values]) => values.map((value) => [name, value]));

/** Return the query as the end of an address. */
export function search(query) {
  const params = new URLSearchParams(
    Object.entries(query).flatMap(([name, values]) => values.map((one) => [name, one])),
  );
  return params.size ? `?${params}` : "";
}

/** Return the address of a page with these filters. */
export const address = (query, page = "") => url(page + search(query)) || url("");

/** Return a time of the address as words: "last 7 days", or a day. */
export function period(value) {
  const [, number, unit] = /^(\d+)([mhdw])$/.exec(value) || [];
  if (!number) return moment(value);
  return number === "1" ? `last ${UNITS[unit]}` : `last ${number} ${UNITS[unit]}s`;
}

const SECONDS = { m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** Return when a period of the address, such as 7d, began, in milliseconds; null for another time. */
export function beginning(value) {
  const [, number, unit] = /^(\d+)([mhdw])$/.exec(value) || [];
  return number ? Date.now() - number * SECONDS[unit] * 1e3 : null;
}

// What to enter in the field of a filter that the server refuses.
const EXPECTED = {
  since: `enter a day from ${EARLIEST} to ${LATEST}, or choose a period in When`,
  until: `enter a day from ${EARLIEST} to ${LATEST}`,
  min_cost: "enter US dollars, such as 0.25",
  max_cost: "enter US dollars, such as 0.25",
  min_seconds: "enter seconds, such as 90",
  max_seconds: "enter seconds, such as 90",
  score: "enter a name, or a comparison such as correct<0.5, grade=good or correct@ann>=1",
};

/** Return an error of the server about a filter in the words of the page: the field, its value, what to enter. */
export function refusal(message) {
  const [, name, value] = /^(\w+): invalid [^']*'(.*)': /.exec(message) || [];
  return Object.hasOwn(EXPECTED, name) ? `${OTHERS[name]}: ${value} is not valid; ${EXPECTED[name]}.` : message;
}

// Numbers of a filter, as a person reads them.
const LIMITS = {
  min_cost: (value) => `Cost ≥ $${value}`,
  max_cost: (value) => `Cost ≤ $${value}`,
  min_seconds: (value) => `Duration ≥ ${value} s`,
  max_seconds: (value) => `Duration ≤ ${value} s`,
};

/** Return why no session can match, where the period of a query ends before it begins; else an empty text. */
export function misordered(query) {
  const [since, until] = ["since", "until"].map((name) => first(query, name));
  const [begin, end] = [since, until].map((value) => beginning(value) ?? Date.parse(value));
  if (!(begin >= end)) return "";
  return `From (${moment(since)}) must be earlier than Before (${moment(until)}): change one of them in When.`;
}

/** Return a filter as a person reads it; `before`: the filter in front of it. */
export function words(name, value, before = null) {
  if (name === "errors") return OTHERS.errors;
  if (Object.hasOwn(own, name)) return own[name](value);
  if (name === "text") return `Text: ${plain(value)}`;
  if (name === "since" || name === "until")
    return /^\d+[mhdw]$/.test(value) ? `Started: ${period(value)}` : `${OTHERS[name]} ${period(value)}`;
  if (before?.[0] === name && name !== "meta" && isFacet(name))
    return `${isExcluding(name) ? "nor" : name === ALL_TAG ? "and" : "or"} ${value}`;
  if (isExcluding(name)) return `${FACETS[facetOf(name)]}: not ${value}`;
  if (Object.hasOwn(LIMITS, name)) return LIMITS[name](value);
  return `${FACETS[facetOf(name)] || OTHERS[name]}: ${value}`;
}
