// A row of the list of sessions.  Its values are links to the sessions that have the same value.

import { make } from "./base.js";
import { began, scoreOf } from "./columns.js";
import { quiet, reasonOf } from "./formats.js";
import { places, terms } from "./marks.js";
import { moreTags } from "./more_tags.js";
import { address, changed, first, narrowing, toConversation, wantedOf } from "./query.js";
import { url } from "./url.js";

const STATES = ["Running", "Success", "Failure", "Indeterminate", "Unknown"];

/** Return a tag of a session as a link to the others that have it; that of a conversation leads to all of it. */
function tagged(query, tag) {
  const to = toConversation(tag);
  if (!to) return only(query, "tag", tag, "tag");
  const title = "The sessions of this conversation, and their chat";
  return make("a", { class: "tag", href: to, title }, tag);
}

/** Return a link to the sessions that have a value; with Shift, to those that do not. */
function only(query, facet, value, kind = "word") {
  const next = changed(query, { ...narrowing(query, facet, value), before: "" });
  return make(
    "a",
    {
      class: kind,
      href: address(next),
      "data-facet": facet,
      "data-value": value,
      title: `Only sessions with ${value}; with Shift: without`,
    },
    value,
  );
}

const between = (links) => links.flatMap((link, number) => (number ? [", ", link] : [link]));

function listCell(query, facet, values) {
  const links = between(values.map((value) => only(query, facet, value)));
  return make(
    "td",
    { class: facet === "host" ? "list host" : "list" },
    make("div", { class: "values", title: values.join(", ") }, links),
  );
}

const CELLS = {
  state: (one, query) =>
    make(
      "td",
      { class: "state-cell" },
      only(
        query,
        "state",
        one.state,
        `state ${STATES.includes(one.state) ? one.state : ""}${quiet(one) ? " quiet" : ""}`,
      ),
    ),
  began: (one) => make("td", { class: "began" }, began(one)),
  agents: (one, query) => listCell(query, "agent", one.agents || []),
  models: (one, query) => listCell(query, "model", one.models || []),
  host: (one, query) => listCell(query, "host", one.host ? [one.host] : []),
  project: (one, query) => listCell(query, "project", [one.project]),
};

function cell(one, query, { id, kind, cell: made, label }) {
  if (CELLS[id]) return CELLS[id](one, query);
  const { text, kind: more = "" } = made(one);
  return make("td", { class: `${kind} ${more}`.trim(), "data-label": label }, text);
}

function named(td, id) {
  td.dataset.col = id;
  return td;
}

const filter = (query) => `text=${encodeURIComponent(first(query, "text"))}`;

/** Return whether the name of a session has all words of the search. */
const isNamed = (one, query) => terms(first(query, "text")).every((term) => places(one.name || "", [term]).length > 0);

/** Return the tags of a row: as not all may fit, those filtered by or searched for are first, then a conversation. */
function tagsOf(one, query) {
  const wanted = terms(first(query, "text"));
  const isFound = (tag) => wantedOf(query, "tag").some((value) => isLike(tag, value)) || places(tag, wanted).length > 0;
  const isFirst = (tag) => Number(isFound(tag)) || (toConversation(tag) ? 0.5 : 0);
  return one.tags.toSorted((a, b) => isFirst(b) - isFirst(a));
}

/** Return whether a tag is a value of a filter, in which `*` stands for anything. */
function isLike(tag, value) {
  const [begin, ...parts] = value.split("*");
  if (!parts.length || !tag.startsWith(begin)) return tag === value;
  return tag.endsWith(parts.at(-1));
}

// Rows about a session as a whole, by their kind.
const BOOKS = new Map([
  ["session", () => "session"],
  ["tags", () => "tags"],
  ["scored", ({ name }) => (name ? `score ${name}` : "note")],
]);

/** Return what a passage is of and its text; null if the row shows all of it. */
function labelled(one, wanted, place) {
  const label = BOOKS.get(place.kind)?.(place) ?? `${place.kind} ${place.name || ""}`.trim();
  if (place.kind !== "session") return place.text.trim() === one.name ? null : [label, place.text];
  const isIn = (texts) => (term) => texts.some((text) => places(text || "", [term]).length > 0);
  const unseen = wanted.filter((term) => !isIn([one.name, ...one.tags])(term));
  if (!unseen.length) return null;
  return unseen.every(isIn([one.host])) ? ["host", one.host] : [label, place.text];
}

/** Where a search was found, as a link to the event. */
function passage(one, query, place) {
  const shown = place && labelled(one, terms(first(query, "text")), place);
  if (!shown) return null;
  const [label, text] = shown;
  const to = `s/${one.session_id}${place.seq === null ? "" : `?event=${place.seq}&${filter(query)}`}`;
  return make(
    "a",
    { class: "found", href: url(to) },
    make("span", { class: "faint" }, `${label}: `),
    make("span", { class: "passage" }, text),
  );
}

/** Return the row of a session; `star` and `pick` are called by its controls, `place` is where a search was found. */
export function row(one, { query, columns, isPicked, pick, star, place }) {
  const name = one.name || "unnamed",
    isStarred = scoreOf(one, "star") === true,
    silence = quiet(one),
    because = one.state === "Success" ? "" : reasonOf(one).join("");
  // A search for its name means the run: as its filter, it would hide most or all of the events.
  const isInEvent = place && place.seq !== null && !isNamed(one, query);
  const to = url(`s/${one.session_id}${isInEvent ? `?${filter(query)}` : ""}`);
  const box = make("input", {
    type: "checkbox",
    "aria-label": `Compare ${name}`,
    onclick: (event) => pick(one, event.target, event.shiftKey),
  });
  box.checked = isPicked;
  return make(
    "tr",
    { "data-id": one.session_id, class: one.state === "Failure" ? "failure" : null },
    make("td", { class: "pick" }, box),
    make(
      "td",
      { class: "name" },
      make(
        "div",
        { class: "lines" },
        make(
          "div",
          { class: "titled" },
          make("a", { class: "title", href: to, title: one.name }, name),
          make(
            "div",
            { class: "tags", title: one.tags.join(", ") || null },
            tagsOf(one, query).map((tag) => tagged(query, tag)),
          ),
          one.tags.length > 1 && moreTags(one.session_id),
        ),
        because ? make("div", { class: "because", title: one.reason }, because) : null,
        silence ? make("div", { class: "because quiet" }, silence) : null,
        passage(one, query, place),
      ),
      make(
        "button",
        {
          type: "button",
          class: "star",
          "data-key": `${one.session_id} ${isStarred}`,
          "aria-pressed": String(isStarred),
          "aria-label": `Star ${name}`,
          onclick: () => star(one, !isStarred),
        },
        isStarred ? "★" : "☆",
      ),
    ),
    columns.map((column) => named(cell(one, query, column), column.id)),
  );
}
