// The list of sessions.  Filters and order are in the address, so that they can be shared and kept in the history.

import { ask, byId, copyButton, data, hintOf, make, say, searchKey, shortcut, watch } from "./base.js";
import * as columns from "./columns.js";
import { FilterBar } from "./filters.js";
import { duration, elapsed, many, quiet } from "./formats.js";
import { keyed, patchChildren } from "./keyed.js";
import { markLoops } from "./loops.js";
import { mark } from "./marks.js";
import { choice, closing, menu } from "./menus.js";
import { fit } from "./more_tags.js";
import {
  address,
  asPrefix,
  changed,
  filtersOf,
  first,
  isFilter,
  listed,
  misordered,
  parsed,
  plain,
  search,
} from "./query.js";
import { row } from "./row.js";
import { below, Rows } from "./rows.js";
import { summarize } from "./summary.js";
import { when } from "./times.js";
import { url } from "./url.js";
import { ViewsMenu } from "./views_menu.js";

// Rows of a page, and of one request at most; and how often it is asked again where a search was found.
const PAGE = 50,
  MOST = 500,
  AGAIN = 20,
  // Milliseconds for which rows wait for where a search was found, so that they are drawn once.
  WAIT = 700;
const SORTS = [
  ["name", "Name"],
  ["state", "State"],
  ["began", "Started"],
  ["seconds", "Duration"],
  ["llm_calls", "LLM"],
  ["tool_calls", "Tools"],
  ["actions", "Actions"],
  ["errors", "Errors"],
  ["failed", "Failed"],
  ["events", "Events"],
  ["tokens", "Tokens"],
  ["cost", "Cost"],
  ["agents", "Agents"],
  ["models", "Models"],
  ["tags", "Tags"],
  ["host", "Host"],
];
// Files of the listed sessions: the label, the format and its table.
const EXPORTS = [
  ["CSV of sessions", "csv", "sessions"],
  ["CSV of events", "csv", ""],
  ["JSONL", "jsonl", ""],
  ["JSON", "json", ""],
];
// Sessions that the bar of a comparison names.
const LETTERS = 4;
// Sessions of a list that one link compares.
const FEW = 12;
// Columns that cannot be sorted by: a project is a filter only.
const UNSORTED = new Set(["project"]);
// Sessions chosen for comparison, by id.
const picked = new Map();
let lastPicked = null;
// Where a search was found, by session.
const places = { text: "", by: new Map(), asked: new Set(), finding: Promise.resolve([]) };
let shown = data.sessions || [],
  next = data.next_before,
  // The last answer of the server, for its hint.
  answered = data,
  // How long sessions have been quiet, as the rows say.
  silences = "",
  asking = null,
  // The requests for the list that is shown next, and for where its search was found.
  refreshed = Promise.resolve(),
  located = Promise.resolve(),
  again = 0;
// Events that are not searched yet; unknown at first, and 1 means at least one.
let unsearched = first(parsed(), "text") ? 1 : 0;

// The address

function go(query) {
  history.pushState(null, "", address(query));
  refreshed = refresh();
}

addEventListener("popstate", () => (refreshed = refresh()));

/** Open the session that a search found if it is the only one. */
async function openOnly() {
  await refreshed;
  await located;
  const text = first(parsed(), "text");
  // A text that cannot be searched for leaves the list as it is.
  if (!text || text !== asPrefix(bar.search.value) || shown.length !== 1 || unsearched) return;
  byId("rows").querySelector(".title").click();
}

/** Return the column that the list is sorted by, and the order. */
function sorting() {
  const query = parsed();
  const sort = first(query, "sort") || "began";
  return { sort, order: first(query, "order") || (columns.ASCENDING.has(sort) ? "asc" : "desc") };
}

/** Sort by another column, or reverse the order. */
function turn(name) {
  const { sort, order } = sorting();
  const asc = name === sort ? order === "desc" : columns.ASCENDING.has(name);
  go(changed(parsed(), { sort: name, order: asc ? "asc" : "desc", before: "" }));
}

async function refresh() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  clearTimeout(again);
  list.stale(true);
  bar.draw();
  views.draw();
  drawSorts();
  try {
    const [page, facets] = await fetched(PAGE, { signal });
    await Promise.race([find(first(parsed(), "text"), page.sessions), new Promise((done) => setTimeout(done, WAIT))]);
    await list.still;
    if (signal.aborted) return;
    shown = page.sessions;
    next = page.next_before;
    answered = page;
    list.current = "";
    unsearched = facets?.unsearched || 0;
    drawRows();
    summarize();
    list.stale(false);
    drawFacets(facets || (await ask("facets", parsed(), { signal })));
  } catch (error) {
    if (error.name === "AbortError") return;
    bar.fail(error);
    list.failed();
  } finally {
    if (!signal.aborted) byId("sessions").classList.remove("searched");
  }
}

/** Fetch the list, and for a search its facets first: rows that the facets count as searched are then in the list. */
async function fetched(limit, options = {}) {
  const query = parsed();
  const facets = query.text ? await ask("facets", query, options) : null;
  return [await ask("sessions", { limit, ...query }, options), facets];
}

// Rows

function drawHead(shownColumns) {
  const { sort, order } = sorting();
  const head = make(
    "tr",
    {},
    make("th", { class: "pick", scope: "col" }, make("span", { class: "visually-hidden" }, "Compare")),
    [columns.NAME, ...shownColumns].map(({ id, label, kind }) => {
      const on = id === sort;
      return make(
        "th",
        {
          scope: "col",
          class: kind || null,
          "data-col": id,
          title: columns.HINTS[id],
          "aria-sort": on ? (order === "asc" ? "ascending" : "descending") : null,
        },
        UNSORTED.has(id) ? label : make("button", { type: "button", "data-key": id, onclick: () => turn(id) }, label),
      );
    }),
  );
  patchChildren(byId("sessions").querySelector("thead"), [head]);
}

/** Return the rows of sessions as they are now. */
function rowsOf(sessions, shownColumns = columns.shown(shown)) {
  const query = parsed();
  return sessions.map((one) =>
    row(one, {
      query,
      columns: shownColumns,
      isPicked: picked.has(one.session_id),
      pick,
      star,
      place: query.text ? places.by.get(one.session_id) : null,
    }),
  );
}

function drawRows() {
  const shownColumns = columns.shown(shown);
  silences = shown.map(quiet).join();
  byId("sessions").classList.toggle("compact", columns.isCompact());
  byId("sessions").dataset.chosen = columns.chosen().join(" ");
  drawHead(shownColumns);
  list.replace(rowsOf(shown, shownColumns));
  byId("empty")?.remove();
  byId("sessions").hidden = !shown.length;
  byId("sessions").parentElement.hidden = !shown.length;
  document.body.classList.toggle("nothing", !shown.length && !listed(parsed()).length);
  if (!shown.length) byId("more").before(emptiness());
  fit(byId("rows"));
  drawMore();
  decorate();
}

/** Add what is asked for after the list: marks of loops, and where a search was found. */
function decorate() {
  showLoops();
  const text = first(parsed(), "text");
  mark(byId("rows"), text);
  located = text ? locate(text).catch(() => {}) : Promise.resolve();
}

/** Mark the loops of sessions, which take room from their tags. */
function showLoops() {
  markLoops(shown, byId("rows")).then(
    () => fit(byId("rows")),
    () => {},
  );
}

/** Ask where a search was found in the sessions that are shown. */
async function locate(text) {
  let ids = await find(text, shown);
  for (let time = 0; time < AGAIN; time += 1) {
    if (places.text !== text) return;
    await list.still;
    list.replace(rowsOf(shown));
    fit(byId("rows"));
    showLoops();
    if (!ids.length) return;
    ids = await found(text, ids);
  }
}

/** Ask where a search was found in sessions that were not asked about yet; return those without an answer so far. */
function find(text, sessions) {
  if (!text) return [];
  if (places.text !== text)
    Object.assign(places, { text, by: new Map(), asked: new Set(), finding: Promise.resolve([]) });
  const ids = sessions.map((one) => one.session_id).filter((id) => !places.asked.has(id));
  ids.forEach((id) => places.asked.add(id));
  const before = places.finding;
  if (ids.length) places.finding = found(text, ids).then(async (missing) => [...missing, ...(await before)]);
  return places.finding;
}

/** Ask where a search was found in sessions; return those without an answer so far. */
async function found(text, ids) {
  const { snippets, missing } = await ask("snippets", { text, sessions: ids.slice(0, MOST).join(",") });
  if (places.text === text) Object.entries(snippets).forEach(([id, place]) => places.by.set(id, place));
  return missing;
}

/** Return how words are looked for, if a search is among the filters. */
function hint() {
  const text = plain(first(parsed(), "text"));
  if (!text) return "";
  if (text.includes('"'))
    return "Words in quotes must match exactly, side by side. Without quotes, the beginning of a word is enough.";
  return /\s/.test(text)
    ? "All words must be in one event. The beginning of a word is enough, if it has three letters. Try fewer words."
    : "The beginning of a word is enough: try fewer letters.";
}

function emptiness() {
  if (listed(parsed()).length) {
    return make(
      "div",
      { class: "empty", id: "empty" },
      make(
        "p",
        {},
        misordered(parsed()) || (unsearched || next ? "No match so far." : "No session matches these filters."),
      ),
      hintOf(answered),
      make("p", { class: "faint small" }, hint() || "Remove a filter above, or show all sessions."),
      make("button", { type: "button", onclick: () => bar.clear() }, "Show all sessions"),
    );
  }
  const program = "import localops\n\nlocalops.init()";
  return make(
    "div",
    { class: "empty start", id: "empty" },
    make("h2", {}, "No sessions yet"),
    make("p", {}, "They appear here while a program records them. Two lines are enough:"),
    make("pre", {}, program),
    make("p", {}, copyButton("Copy", program)),
    make("p", {}, "Or look around first, with ", make("code", {}, "localops demo"), "."),
  );
}

const showMore = () => make("button", { type: "button", onclick: more }, "Show more");

function drawMore() {
  const isSearching = next && !shown.length;
  byId("more").replaceChildren(
    ...(next
      ? [isSearching ? make("span", { class: "faint", role: "status" }, "Searching older sessions …") : showMore()]
      : shown.length
        ? [many(shown.length, "session"), ...allCompared()]
        : []),
  );
  // An observer calls again only for an element that it begins to observe.
  seer.disconnect();
  if (next) seer.observe(byId("more"));
  if (isSearching) more();
}

/** Return a link to the comparison of a few sessions that filters have left. */
function allCompared() {
  const isChosen = Object.keys(parsed()).some(isFilter);
  if (!isChosen || shown.length < 2 || shown.length > FEW) return [];
  return [" · ", make("a", { href: comparison(oldestFirst(shown)) }, `Compare ${shown.length > 2 ? "all" : "both"}`)];
}

async function more() {
  if (!next || byId("more").ariaBusy === "true") return;
  byId("more").ariaBusy = "true";
  const asked = location.search;
  try {
    let page = null;
    // A search that took long stops before its end, also without a match: it goes on from there.
    do {
      // oxlint-disable-next-line no-await-in-loop
      page = await ask("sessions", { limit: PAGE, ...parsed(), before: next });
      // The filters changed while the response was on its way.
      if (location.search !== asked) return void setTimeout(drawMore);
      next = page.next_before;
    } while (!page.sessions.length && next);
    const wasEmpty = !shown.length;
    shown.push(...page.sessions);
    if (wasEmpty) return void drawRows();
    byId("rows").append(...rowsOf(page.sessions));
    fit(byId("rows"));
    drawMore();
    decorate();
  } catch (error) {
    bar.fail(error);
    byId("more").replaceChildren(showMore());
  } finally {
    byId("more").ariaBusy = "false";
  }
}

const seer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && scrollY > 0 && more(), {
  rootMargin: "400px",
});

/** Star a session, or take its star away: a score of that name, which filters find. */
async function star(one, on) {
  const body = JSON.stringify({ name: "star", value: on || null });
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  try {
    await ask(`sessions/${one.session_id}/scores`, {}, options);
    const others = (one.scores || []).filter((each) => each.name !== "star");
    one.scores = on ? [...others, { name: "star", value: true }] : others;
    drawRows();
  } catch (error) {
    say(error.message);
  }
}

// Menus

const bar = new FilterBar(byId("filters"), { go, searched: "Names and content  ( / )", entered: openOnly });
const list = new Rows(byId("rows"), { link: ".title", one: "session", more, bar });
const sortMenu = menu("Sort"),
  display = menu("Display"),
  views = new ViewsMenu((query) => go(known(query)));
byId("filters").append(sortMenu.element, views.element, display.element);
display.element.addEventListener("toggle", () => display.element.open && drawDisplay());

/** Return what the list knows of a saved view, which can be one of calls. */
function known(query) {
  const [sort = ""] = query.sort || [];
  const isKnown = sort.startsWith("score:") || SORTS.some(([name]) => name === sort);
  return changed(filtersOf(query), isKnown ? { sort, order: query.order || "" } : {});
}

/** Draw the sort menu, for narrow screens without table heads and for orders without a column. */
function drawSorts() {
  const { sort, order } = sorting();
  const arrow = order === "asc" ? "↑" : "↓";
  keyed(
    sortMenu.box,
    SORTS.map(([name, label]) =>
      choice(
        name === sort ? `${label} ${arrow}` : label,
        name === sort,
        closing(() => turn(name)),
      ),
    ),
  );
}

function drawDisplay() {
  columns.draw(display.box, shown, drawRows);
  const file = (format, table) => url(`api/1/export${search(changed(filtersOf(parsed()), { format, table }))}`);
  display.box.append(
    make(
      "fieldset",
      {},
      make("legend", {}, "Export these sessions"),
      EXPORTS.map(([label, format, table]) =>
        make("a", { class: "choice", href: file(format, table), download: "" }, label),
      ),
    ),
  );
}

function drawFacets(facets) {
  bar.note(unsearched ? `${many(unsearched, "event")} not searched yet.` : "");
  clearTimeout(again);
  if (unsearched) again = setTimeout(() => news().catch((error) => bar.fail(error)), 1_000);
  bar.counted(facets);
}

// Comparing

/** Choose a session or not; with Shift, also those between it and the last one that was clicked. */
function pick(one, box, isRange) {
  const ends = [one.session_id, isRange ? lastPicked : one.session_id].map((id) =>
    shown.findIndex((each) => each.session_id === id),
  );
  const range = ends.includes(-1) ? [one] : shown.slice(Math.min(...ends), Math.max(...ends) + 1);
  for (const each of range) {
    if (box.checked) picked.set(each.session_id, each);
    else picked.delete(each.session_id);
    byId("rows").querySelector(`tr[data-id="${each.session_id}"] .pick input`).checked = box.checked;
  }
  lastPicked = one.session_id;
  byId("compare-bar")?.remove();
  if (!picked.size) return;
  const chosen = oldestFirst([...picked.values()]);
  byId("more").after(
    make(
      "div",
      { id: "compare-bar", role: "status" },
      picked.size === 1
        ? "Choose one more to compare, or with Shift all up to it"
        : make(
            "ol",
            { class: "picked" },
            chosen.slice(0, LETTERS).map((each, at) => make("li", {}, pickedAs(each, at, chosen.length))),
            chosen.length > LETTERS && make("li", {}, `and ${many(chosen.length - LETTERS, "more", "more")}`),
          ),
      picked.size > 1 && make("a", { class: "button main", href: comparison(chosen) }, "Compare"),
      make("button", { type: "button", class: "quiet", onclick: unpick }, "Clear"),
    ),
  );
}

/** Return sessions in the order of their letters: the oldest is A, so that what differs is what has changed since. */
const oldestFirst = (sessions) => sessions.toSorted((a, b) => (a.began < b.began ? -1 : a.began > b.began ? 1 : 0));

/** Return the address of the comparison of sessions. */
function comparison(sessions) {
  const [a, b, ...others] = sessions.map(({ session_id: id }) => [id]);
  return url(`compare${search({ a, ...(b && { b }), ...(others.length && { also: others.flat() }) })}`);
}

/** Return the letter that a session has in the comparison, and what tells it from the others. */
const pickedAs = (one, at, of) => [
  make("b", {}, String.fromCharCode(65 + at)),
  " ",
  make("span", { class: "named", title: one.name || null }, one.name || "unnamed"),
  " ",
  make("span", { class: "faint" }, when(one.began), at ? "" : of > 2 ? ", the oldest" : ", the older"),
];

function unpick() {
  picked.clear();
  byId("compare-bar")?.remove();
  byId("rows")
    .querySelectorAll(".pick input")
    .forEach((box) => (box.checked = false));
}

// Keys

searchKey("Search", bar.search);
shortcut("x", "Choose it for comparison", () => list.element?.querySelector(".pick input").click());
shortcut("s", "Star it", () => list.element?.querySelector(".star").click());

// Live updates

async function news() {
  const asked = location.search,
    searching = unsearched;
  const [page, facets] = await fetched(Math.min(MOST, Math.max(PAGE, shown.length)));
  await list.still;
  // The filters changed while the response was on its way.
  if (location.search !== asked) return;
  if (list.isFormer) return void (refreshed = refresh());
  unsearched = facets?.unsearched || 0;
  const rest = below(shown, page.sessions, "session_id");
  const sessions = [...page.sessions, ...rest];
  const same = JSON.stringify(sessions) === JSON.stringify(shown);
  // Without changes nothing is drawn again, which would disturb a selection or an open menu.
  if (same && !(facets && searching)) return;
  if (same && shown.length) return void drawFacets(facets);
  const before = new Set(shown.map((one) => one.session_id));
  shown = sessions;
  answered = page;
  if (!rest.length) next = page.next_before;
  drawRows();
  summarize();
  shown.forEach((one, index) => before.has(one.session_id) || byId("rows").children[index].classList.add("fresh"));
  drawFacets(facets || (await ask("facets", parsed())));
}

bar.draw();
drawSorts();
drawRows();
if (unsearched) refreshed = refresh();
else {
  summarize();
  ask("facets", parsed()).then(drawFacets, (error) => bar.fail(error));
}
watch(news);
new ResizeObserver(() => fit(byId("rows"))).observe(byId("sessions"));
setInterval(() => {
  shown.forEach((one, index) => {
    const took = one.state === "Running" && byId("rows").children[index].querySelector("[data-col=seconds]");
    if (took) took.textContent = duration(elapsed(one));
  });
  if (shown.map(quiet).join() !== silences) list.still.then(drawRows);
}, 1_000);
