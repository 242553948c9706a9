// LLM and tool calls across sessions, in any order or in groups.  Filters and order are in the address.

import { ask, byId, data, hintOf, make, notice, searchKey, watch } from "./base.js";
import { CallFilters } from "./call_filters.js";
import { columns, GROUPINGS, row, sums } from "./call_rows.js";
import { count, many } from "./formats.js";
import { keyed, patchChildren } from "./keyed.js";
import { wastedIn } from "./loops.js";
import { mark } from "./marks.js";
import { choice, closing, menu } from "./menus.js";
import { address, changed, filtersOf, first, listed, misordered, parsed, refusal } from "./query.js";
import { shownPrompt } from "./prompt.js";
import { below, Rows } from "./rows.js";
import { ViewsMenu } from "./views_menu.js";

// Rows of a page and of one request at most, and rows after which another page begins.
const PAGE = 50,
  MOST = 500,
  SHOWN = 1_000;

let shown = data.calls || data.lines || [],
  next = data.next || null,
  more = Boolean(data.more),
  isPart = false,
  // The last answer of the server, for its hint.
  answered = data,
  asking = null,
  again = 0;

// Columns that many calls have no value for, and their classes.
const SPARE = [
  ["first_token", "first"],
  ["tokens", "tokens"],
  ["cost", "cost"],
];
const CELLS = new Map(columns("").map(([name, , , cell]) => [name, cell]));
// Whether a call has a first token that is not loaded yet.
let isTimed = false;

const by = () => {
  const name = first(parsed(), "by");
  return Object.hasOwn(GROUPINGS, name) ? name : "";
};

// The address

function go(query) {
  history.pushState(null, "", address(query, "calls"));
  refresh();
}

addEventListener("popstate", () => refresh());

/** Return what the table is sorted by, and the order; groups have only the greatest first. */
function sorting() {
  const query = parsed();
  const usual = { "": "began", model: "cost", prompt: "cost", tool: "failed" }[by()] || "calls";
  return { sort: first(query, "sort") || usual, order: (!by() && first(query, "order")) || "desc" };
}

function turn(name) {
  const { sort, order } = sorting();
  const isReversed = !by() && name === sort && order === "desc";
  go(changed(parsed(), { sort: name, order: isReversed ? "asc" : "", after: "" }));
}

/** Return the address of another grouping, with the same filters. */
const grouping = (name) => changed(filtersOf(parsed()), { by: name });

// Requests

const filters = new CallFilters(byId("filters"), { go });
const list = new Rows(byId("rows"), { link: "a", one: "row", more: append, bar: filters });
const views = new ViewsMenu((query) => go({ ...filtersOf(query), ...(query.by && { by: query.by }) }));
// For narrow windows, which show no heads of columns, or not all of them.
const sortMenu = menu("Sort");
sortMenu.element.classList.add("sorting");
byId("filters").append(sortMenu.element, views.element);

/** Fetch rows from the beginning of the table; `limit` calls, or as many groups as fit one request. */
async function fetched(limit, options = {}) {
  const query = { ...parsed(), limit: by() ? Math.max(limit, 2 * PAGE) : limit };
  return ask(by() ? "calls/groups" : "calls", query, options);
}

const fetchSums = (options = {}) => ask("calls/groups", filtersOf(parsed()), options);

function take(reply) {
  answered = reply;
  shown = reply.calls || reply.lines;
  next = reply.next || null;
  more = Boolean(reply.more);
  drawUnread(reply);
}

async function refresh() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  list.stale(true);
  drawHead();
  filters.draw();
  views.draw();
  // The values in menus depend on the other filters.
  filters.counted({});
  try {
    const figures = fetchSums({ signal });
    figures.catch(() => {});
    const reply = await fetched(PAGE, { signal });
    await list.still;
    if (signal.aborted) return;
    take(reply);
    list.current = "";
    drawRows();
    list.stale(false);
    drawSums(await figures);
    await Promise.all([findFirstToken({ signal }), drawCommon()]);
  } catch (error) {
    if (error.name === "AbortError") return;
    problem(error);
    list.failed();
  }
}

function problem(error) {
  byId("notes").replaceChildren(notice(refusal(error.message), "problem"));
}

/** Show how many rows are missing from the answer, and request it again soon. */
function drawUnread({ unread, searching }) {
  clearTimeout(again);
  const why = unread ? `${many(unread, "row")} not read yet` : searching ? "still searching older calls" : "";
  const note = why && `Not complete yet: ${why} …`;
  isPart = Boolean(note);
  byId("notes").replaceChildren(...(note ? [make("p", { class: "faint", role: "status" }, note)] : []));
  if (note) again = setTimeout(() => news().catch(problem), 1_000);
}

// The table

// Messages are a finer view of errors: each leads to the other from the head of its column.
const FINER = { error: ["message", "by message"], message: ["error", "by class"] };

/** Return a link to another grouping. */
function toGrouping(name, label, facts) {
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    // The link stays when the grouping changes: use its current address.
    go(parsed(event.currentTarget.search));
  };
  return make("a", { ...facts, href: address(grouping(name), "calls"), onclick: open }, label);
}

function drawHead() {
  const { sort, order } = sorting();
  const links = Object.entries(GROUPINGS)
    .filter(([name]) => name !== "message")
    .map(([name, [label]]) => {
      const isShown = name === (by() === "message" ? "error" : by());
      return toGrouping(name, label, { "data-id": `view ${name}`, "aria-current": isShown ? "true" : null });
    });
  keyed(byId("groupings"), links);
  const heads = columns(by()).map(([name, label, kind]) => {
    const on = name && name === sort;
    return make(
      "th",
      { scope: "col", class: kind, "aria-sort": on ? (order === "asc" ? "ascending" : "descending") : null },
      name ? make("button", { type: "button", "data-key": name, onclick: () => turn(name) }, label) : label,
      kind === "what" && Object.hasOwn(FINER, by()) && toGrouping(...FINER[by()], { class: "finer" }),
    );
  });
  byId("calls").dataset.by = by();
  patchChildren(byId("calls").querySelector("thead"), [make("tr", {}, heads)]);
  drawSorts();
}

function drawSorts() {
  const { sort, order } = sorting(),
    arrow = order === "asc" ? "↑" : "↓";
  keyed(
    sortMenu.box,
    columns(by())
      .filter(([name]) => name)
      .map(([name, label]) =>
        choice(
          name === sort ? `${label} ${arrow}` : label,
          name === sort,
          closing(() => turn(name)),
        ),
      ),
  );
}

/** Look whether a call has a first token that is not loaded yet: the table can be sorted by it then. */
async function findFirstToken(options = {}) {
  const hasOne = (calls) => calls.some((one) => one.time_to_first_token !== null);
  const query = { ...filtersOf(parsed()), sort: "first_token", limit: 1 };
  isTimed = !by() && next !== null && !hasOne(shown) && hasOne((await ask("calls", query, options)).calls);
  drawSpare();
}

/** Hide columns without a value, which leave their room to others; one that is sorted by stays. */
function drawSpare() {
  const { sort } = sorting();
  const isKept = (name) => name === sort || (name === "first_token" && isTimed);
  const cells = by() ? new Map(columns(by()).map(([name, , , cell]) => [name, cell])) : CELLS;
  for (const [name, kind] of SPARE) {
    const isEmpty = cells.has(name) && !isKept(name) && !shown.some((one) => cells.get(name)(one));
    byId("calls").classList.toggle(`no-${kind}`, isEmpty);
  }
  byId("calls").classList.toggle("no-share", !shown.some((one) => one.failed));
}

function drawRows() {
  drawHead();
  drawSpare();
  list.replace(shown.map((one) => row(by(), one)));
  byId("empty")?.remove();
  byId("calls").parentElement.hidden = !shown.length;
  if (!shown.length) byId("more").before(emptiness());
  mark(byId("rows"), first(parsed(), "text"));
  drawMore();
}

function emptiness() {
  if (isPart) return make("div", { class: "empty", id: "empty" }, make("p", {}, "No call found so far."));
  if (listed(parsed()).length)
    return make(
      "div",
      { class: "empty", id: "empty" },
      make("p", {}, misordered(parsed()) || "No call matches these filters."),
      hintOf(answered),
      make("button", { type: "button", onclick: () => go(changed({}, { by: by() })) }, "Show all calls"),
    );
  const text = by() === "repeat" ? "No tool was called twice with the same arguments in one session." : "No calls yet.";
  return make("div", { class: "empty", id: "empty" }, make("p", {}, text));
}

function drawSums(one) {
  const box = byId("sums");
  patchChildren(box, sums(one));
  // A narrow window hides the last figures.
  box.title = box.textContent;
}

function drawMore() {
  const onward = changed(parsed(), { after: next }),
    soFar = isPart ? " so far" : "";
  byId("more").replaceChildren(
    ...(by()
      ? [more ? `The first ${count(shown.length)} groups` : shown.length ? many(shown.length, "group") + soFar : ""]
      : next && shown.length >= SHOWN
        ? [make("a", { class: "button", href: address(onward, "calls") }, "Next calls")]
        : next
          ? [make("button", { type: "button", onclick: append }, "Show more")]
          : shown.length
            ? [many(shown.length, "call") + soFar]
            : []),
  );
  // An observer calls again only for an element that it begins to observe.
  seer.disconnect();
  if (next && shown.length < SHOWN) seer.observe(byId("more"));
}

async function append() {
  if (!next || by() || byId("more").ariaBusy === "true") return;
  byId("more").ariaBusy = "true";
  const requested = location.search;
  try {
    const page = await ask("calls", { ...parsed(), after: next, limit: PAGE });
    // The filters changed while the response was on its way.
    if (location.search !== requested) return;
    const known = new Set(shown.map((one) => one.id));
    const fresh = page.calls.filter((one) => !known.has(one.id));
    shown.push(...fresh);
    next = page.next;
    byId("rows").append(...fresh.map((one) => row("", one)));
    drawSpare();
    drawMore();
  } catch (error) {
    problem(error);
  } finally {
    byId("more").ariaBusy = "false";
  }
}

const seer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && scrollY > 0 && append(), {
  rootMargin: "400px",
});

// What the calls of a group that was opened have in common

let commonKey = "";

/** Show the whole prompt of these calls, or what the loops wasted in which a call repeats. */
async function drawCommon() {
  const query = parsed(),
    [prompt, same, session] = ["prompt", "same", "session"].map((name) => (by() ? "" : first(query, name))),
    key = prompt || (same && session);
  if (key === commonKey) return;
  commonKey = key;
  byId("prompt")?.remove();
  byId("wasted")?.remove();
  if (!key) return;
  const made = prompt ? await shownPrompt(filtersOf(query)) : { element: await wastedIn(session) };
  if (key !== commonKey || !made?.element) return;
  byId("notes").before(made.element);
  made.scroll?.();
}

// Keys

searchKey("Search", filters.search);
// Live updates

async function news() {
  const requested = location.search;
  const [reply, figures] = await Promise.all([fetched(Math.min(MOST, Math.max(PAGE, shown.length))), fetchSums()]);
  await list.still;
  if (location.search !== requested) return;
  if (list.isFormer) return void refresh();
  const before = JSON.stringify(shown),
    rest = reply.calls ? below(shown, reply.calls, "id") : [],
    following = next,
    wasPart = isPart;
  take(reply);
  if (rest.length) {
    shown = [...shown, ...rest];
    next = following;
  }
  drawSums(figures);
  // Without changes nothing is drawn again, which would disturb a selection.
  if (JSON.stringify(shown) === before && wasPart === isPart) return;
  drawRows();
  await findFirstToken();
}

filters.draw();
drawUnread(data);
drawRows();
fetchSums().then(drawSums, problem);
findFirstToken().catch(problem);
drawCommon().catch(problem);
watch(news, { pause: 3_000 });
