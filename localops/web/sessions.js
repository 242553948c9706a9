// The list of sessions.  Filters and order are in the address, so that they can be shared and kept in the history.

import { ask, byId, data, make, notice, shortcut, watch } from "./base.js";
import { cost, count, duration, elapsed, many } from "./formats.js";
import { keyed, patchChildren } from "./keyed.js";
import { markLoops } from "./loops.js";
import { day, midnight, moment, sinceDay, when, zone } from "./times.js";
import { url } from "./url.js";

const STATES = ["Running", "Success", "Failure", "Indeterminate", "Unknown"];
const FACETS = {
  state: "State",
  tag: "Tag",
  model: "Model",
  agent: "Agent",
  tool: "Tool",
  user: "User",
  conversation: "Conversation",
  project: "Project",
};
const OTHERS = {
  text: "Text",
  meta: "Metadata",
  since: "Since",
  until: "Until",
  min_cost: "Cost from $",
  max_cost: "Cost to $",
  min_seconds: "Seconds from",
  max_seconds: "Seconds to",
  errors: "With errors",
};
const COLUMNS = [
  ["name", "Name"],
  ["state", "State"],
  ["began", zone === "UTC" ? "Started (UTC)" : "Started"],
  ["seconds", "Duration", "num"],
  ["llm_calls", "LLM", "num"],
  ["tool_calls", "Tools", "num"],
  ["actions", "Actions", "num"],
  ["errors", "Errors", "num"],
  ["tokens", "Tokens", "num"],
  ["cost", "Cost", "num"],
  ["agents", "Agents"],
  ["models", "Models"],
  ["host", "Host"],
];
// Orders that are ascending by default.
const WORDS = new Set(["name", "host", "tags", "agents", "models"]);
// Rows of a page, and of one request at most.
const PAGE = 50,
  MOST = 500;
// Sessions chosen for comparison: id → name.
const picked = new Map();
let shown = data.sessions || [],
  next = data.next_before,
  current = -1,
  asking = null;

const queryNow = () => Object.fromEntries(new URLSearchParams(location.search));
// Events that are not searched yet; unknown at first, and 1 means at least one.
let unsearched = queryNow().text ? 1 : 0;
const filtersOf = (query) =>
  Object.keys(query).filter((key) => Object.hasOwn(FACETS, key) || Object.hasOwn(OTHERS, key));

// The address

function go(changes) {
  const query = { ...queryNow(), ...changes };
  const params = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null));
  history.pushState(null, "", url(params.size ? `?${params}` : ""));
  refresh();
}

addEventListener("popstate", () => refresh());

/** Return the column that the list is sorted by, and the order. */
function sorting() {
  const { sort = "began", order } = queryNow();
  return { sort, order: order || (WORDS.has(sort) ? "asc" : "desc") };
}

/** Sort by another column, or reverse the order. */
function turn(name) {
  const { sort, order } = sorting();
  const asc = name === sort ? order === "desc" : WORDS.has(name);
  go({ sort: name, order: asc ? "asc" : "desc", before: "" });
}

async function refresh() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  clearTimeout(again);
  byId("sessions").classList.add("stale");
  drawFilters();
  try {
    const [page, facets] = await fetched(PAGE, { signal });
    shown = page.sessions;
    next = page.next_before;
    current = -1;
    unsearched = facets?.unsearched || 0;
    drawRows();
    drawFacets(facets || (await ask("facets", queryNow(), { signal })));
  } catch (error) {
    if (error.name === "AbortError") return;
    problem(error);
  } finally {
    if (!signal.aborted) byId("sessions").classList.remove("stale");
  }
}

/** Fetch the list, and for a search its facets first: rows that the facets count as searched are then in the list. */
async function fetched(limit, options = {}) {
  const query = queryNow();
  const facets = query.text ? await ask("facets", query, options) : null;
  return [await ask("sessions", { limit, ...query }, options), facets];
}

function problem(error) {
  byId("facets").replaceChildren(notice(error.message, "problem"));
}

// Rows

function row(one) {
  const cell = (label, text, kind = "num") => make("td", { class: kind, "data-label": label }, text);
  const names = (list) => make("td", { class: "list", title: (list || []).join(", ") }, (list || []).join(", "));
  const element = make(
    "tr",
    { "data-id": one.session_id },
    make(
      "td",
      { class: "pick" },
      make("input", {
        type: "checkbox",
        "aria-label": `Compare ${one.name || "unnamed"}`,
        onchange: (event) => pick(one, event.target),
      }),
    ),
    make(
      "td",
      { class: "name" },
      make(
        "div",
        { class: "titled" },
        make("a", { href: url(`s/${one.session_id}`), title: one.name }, one.name || "unnamed"),
        make(
          "div",
          { class: "tags" },
          one.tags.map((tag) =>
            make(
              "button",
              { type: "button", class: "tag", title: `Only sessions with ${tag}`, onclick: () => go({ tag }) },
              tag,
            ),
          ),
        ),
      ),
      one.reason && one.state !== "Success" ? make("div", { class: "because", title: one.reason }, one.reason) : null,
    ),
    make(
      "td",
      { class: "state-cell" },
      make(
        "span",
        { class: `state ${STATES.includes(one.state) ? one.state : ""}`, title: one.reason || null },
        one.state,
      ),
    ),
    make("td", { class: "began" }, make("time", { datetime: one.began }, when(one.began))),
    cell("took", (one.at_least ? "≥" : "") + duration(elapsed(one))),
    cell("LLM", count(one.llm_calls)),
    cell("tools", count(one.tool_calls)),
    cell("actions", count(one.actions)),
    cell("errors", count(one.errors), one.errors ? "num errors-some" : "num errors-none"),
    cell("tokens", count(one.tokens_in + one.tokens_out)),
    cell("cost", cost(one)),
    names(one.agents),
    names(one.models),
    make("td", { class: "list host", title: one.host || "" }, one.host || ""),
  );
  element.querySelector(".pick input").checked = picked.has(one.session_id);
  return element;
}

function drawHead() {
  const { sort, order } = sorting();
  const head = make(
    "tr",
    {},
    make("th", { class: "pick", scope: "col" }, make("span", { class: "visually-hidden" }, "Compare")),
    COLUMNS.map(([name, label, kind]) => {
      const on = name && name === sort;
      return make(
        "th",
        { scope: "col", class: kind, "aria-sort": on ? (order === "asc" ? "ascending" : "descending") : null },
        name ? make("button", { type: "button", onclick: () => turn(name) }, label) : label,
      );
    }),
  );
  patchChildren(byId("sessions").querySelector("thead"), [head]);
}

function drawRows() {
  drawHead();
  const focused = shown[current]?.session_id;
  keyed(byId("rows"), shown.map(row));
  current = shown.findIndex((one) => one.session_id === focused);
  mark(false);
  byId("empty")?.remove();
  byId("sessions").hidden = !shown.length;
  byId("sessions").parentElement.hidden = !shown.length;
  if (!shown.length) byId("more").before(emptiness());
  drawMore();
  marked();
}

/** Mark the sessions with loops; a list without marks is whole. */
const marked = () => markLoops(shown, byId("rows")).catch(() => {});

function emptiness() {
  if (filtersOf(queryNow()).length) {
    return make(
      "div",
      { class: "empty", id: "empty" },
      make("p", {}, unsearched ? "No match so far." : "No session matches these filters."),
      make("button", { type: "button", onclick: clear }, "Show all sessions"),
    );
  }
  return make(
    "div",
    { class: "empty", id: "empty" },
    make("p", {}, "No sessions yet. Record one with ", make("code", {}, "localops demo"), ", or in your own program:"),
    make("p", {}, make("code", {}, "import localops; localops.init()")),
  );
}

function drawMore() {
  byId("more").replaceChildren(
    ...(next
      ? [make("button", { type: "button", onclick: more }, "Show more")]
      : shown.length
        ? [many(shown.length, "session")]
        : []),
  );
  // An observer calls again only for an element that it begins to observe.
  seer.disconnect();
  if (next) seer.observe(byId("more"));
}

async function more() {
  if (!next || byId("more").ariaBusy === "true") return;
  byId("more").ariaBusy = "true";
  try {
    const page = await ask("sessions", { limit: PAGE, ...queryNow(), before: next });
    shown.push(...page.sessions);
    next = page.next_before;
    byId("rows").append(...page.sessions.map(row));
    drawMore();
    marked();
  } catch (error) {
    problem(error);
  } finally {
    byId("more").ariaBusy = "false";
  }
}

const seer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && scrollY > 0 && more(), {
  rootMargin: "400px",
});

// Filters

const form = byId("filters");
// Some browsers report Esc and the clear button as "search", not "input".
const search = make("input", {
  type: "search",
  name: "text",
  placeholder: "Names and content  ( / )",
  "aria-label": "Search names and content",
  oninput: () => type(),
  onsearch: () => type(),
});
const menus = Object.fromEntries(Object.entries(FACETS).map(([name, label]) => [name, menu(label)]));
const whenMenu = menu("When"),
  rangeMenu = menu("More"),
  sortMenu = menu("Sort");
let typing, again;

function menu(label) {
  const box = make("div", {});
  const element = make("details", { class: "menu" }, make("summary", {}, label), box);
  element.addEventListener(
    "toggle",
    () =>
      element.open &&
      document.querySelectorAll(".menu[open]").forEach((other) => other !== element && (other.open = false)),
  );
  return { element, box, label };
}
addEventListener("click", (event) =>
  document.querySelectorAll(".menu[open]").forEach((open) => open.contains(event.target) || (open.open = false)),
);
addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector(".menu[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

function type() {
  clearTimeout(typing);
  typing = setTimeout(seek, 250);
}

/** Apply the search text, which needs a letter or a digit. */
function seek() {
  const text = search.value.trim();
  if (text && !/[\p{L}\p{N}]/u.test(text))
    return void byId("facets").replaceChildren(notice("Type at least one letter or digit.", "faint"));
  if (text === (queryNow().text || "")) return;
  go({ text });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  seek();
});
form.append(
  search,
  ...Object.values(menus).map((each) => each.element),
  whenMenu.element,
  rangeMenu.element,
  sortMenu.element,
);

function choice(label, amount, on, run) {
  return make(
    "button",
    { type: "button", class: "choice", "data-id": label, "aria-pressed": String(on), onclick: run },
    make("span", {}, label),
    amount === null ? "" : make("span", { class: "faint num" }, count(amount)),
  );
}

const ago = (hours) => `${new Date(Date.now() - hours * 3.6e6).toISOString().slice(0, 19)}Z`;
const AGES = {
  "Last hour": () => ago(1),
  "Last 24 hours": () => ago(24),
  "Last 7 days": () => sinceDay(7),
  "Last 30 days": () => sinceDay(30),
};

function drawFilters() {
  const query = queryNow();
  if (document.activeElement !== search) search.value = query.text || "";
  for (const [name, each] of Object.entries(menus)) {
    each.element.classList.toggle("chosen", Boolean(query[name]));
    each.element.querySelector("summary").textContent = each.label;
  }
  whenMenu.element.classList.toggle("chosen", Boolean(query.since || query.until));
  rangeMenu.element.classList.toggle(
    "chosen",
    ["min_cost", "max_cost", "min_seconds", "max_seconds", "errors"].some((name) => query[name]),
  );
  const date = (name, label) =>
    make(
      "label",
      {},
      label,
      make("input", {
        type: "date",
        value: day(query[name]),
        onchange: (event) => go({ [name]: midnight(event.target.value) }),
      }),
    );
  whenMenu.box.replaceChildren(
    ...Object.entries(AGES).map(([label, since]) =>
      choice(label, null, false, () => go({ since: since(), until: "" })),
    ),
    date("since", "From"),
    date("until", "Before"),
  );
  const number = (name) =>
    make(
      "label",
      {},
      OTHERS[name],
      make("input", {
        type: "number",
        min: 0,
        step: "any",
        value: query[name] || "",
        onchange: (event) => go({ [name]: event.target.value }),
      }),
    );
  const errors = make("input", {
    type: "checkbox",
    onchange: (event) => go({ errors: event.target.checked ? 1 : "" }),
  });
  errors.checked = Boolean(query.errors);
  rangeMenu.box.replaceChildren(
    make("label", { class: "check" }, errors, "Only with errors"),
    ...["min_cost", "max_cost", "min_seconds", "max_seconds"].map(number),
  );
  drawSorts();
  drawChosen(query);
}

/** Draw the sort menu, for narrow screens without table heads and for orders without a column. */
function drawSorts() {
  const { sort, order } = sorting();
  const sorts = [...COLUMNS.filter(([name]) => name), ["failed", "Failed"], ["events", "Events"], ["tags", "Tags"]];
  const arrow = order === "asc" ? "↑" : "↓";
  sortMenu.box.replaceChildren(
    ...sorts.map(([name, label]) =>
      choice(name === sort ? `${label} ${arrow}` : label, null, name === sort, () => turn(name)),
    ),
  );
}

function drawChosen(query) {
  const value = (name) => (name === "since" || name === "until" ? moment(query[name]) : query[name]);
  const chips = filtersOf(query).map((name) =>
    make(
      "button",
      {
        type: "button",
        class: "chip",
        onclick: () => go({ [name]: "" }),
        "aria-label": `Remove the filter ${FACETS[name] || OTHERS[name]}`,
      },
      name === "errors" ? OTHERS.errors : `${FACETS[name] || OTHERS[name]}: ${value(name)}`,
      " ×",
    ),
  );
  const box =
    document.querySelector(".chosen-filters") ||
    form.parentElement.insertBefore(make("div", { class: "chosen-filters" }), byId("facets"));
  patchChildren(box, [
    ...chips,
    ...(chips.length > 1
      ? [make("button", { type: "button", class: "quiet small", onclick: clear }, "Clear all")]
      : []),
  ]);
}

const clear = () => {
  const { sort, order } = queryNow();
  history.pushState(null, "", url(sort ? `?${new URLSearchParams({ sort, order: order || "desc" })}` : ""));
  refresh();
};

function drawFacets(facets) {
  const query = queryNow();
  byId("facets").replaceChildren(
    ...(unsearched
      ? [make("p", { class: "faint", role: "status" }, `${many(unsearched, "event")} not searched yet.`)]
      : []),
  );
  clearTimeout(again);
  if (unsearched) again = setTimeout(() => news().catch(problem), 1_000);
  for (const [name, each] of Object.entries(menus)) {
    const values = facets[name] || [];
    each.element.hidden = !values.length && !query[name];
    if (name === "project" && values.length < 2 && !query[name]) each.element.hidden = true;
    const flip = (value) => go({ [name]: value === queryNow()[name] ? "" : value });
    keyed(each.box, [
      ...(query[name] ? [choice("Any", null, false, () => go({ [name]: "" }))] : []),
      ...values.map(([value, amount]) => choice(value, amount, value === query[name], () => flip(value))),
      ...(facets.cut?.includes(name) ? [other(name)] : []),
      ...(facets.exact === false
        ? [make("p", { class: "faint small", "data-id": " newest" }, "Counted over the newest sessions.")]
        : []),
    ]);
  }
}

/** Return a field for a value that is not among the most frequent ones. */
function other(name) {
  const input = make("input", {
    type: "text",
    placeholder: `Another ${FACETS[name].toLowerCase()}`,
    "aria-label": `Another ${FACETS[name].toLowerCase()}`,
    onkeydown: (event) => {
      if (event.key === "Enter" && input.value.trim()) go({ [name]: input.value.trim() });
    },
  });
  return make("label", { "data-id": " other" }, input);
}

// Comparing

function pick(one, box) {
  if (box.checked) picked.set(one.session_id, one.name || "unnamed");
  else picked.delete(one.session_id);
  const [a, b] = picked.keys();
  byId("compare-bar")?.remove();
  if (!picked.size) return;
  byId("more").after(
    make(
      "div",
      { id: "compare-bar", role: "status" },
      picked.size === 2
        ? [...picked.values()].join(" and ")
        : picked.size === 1
          ? "Choose one more to compare"
          : "Choose only two to compare",
      picked.size === 2 && make("a", { class: "button main", href: url(`compare?a=${a}&b=${b}`) }, "Compare"),
    ),
  );
}

// Keys

function mark(scroll = true) {
  [...byId("rows").children].forEach((element, index) => element.classList.toggle("current", index === current));
  const element = byId("rows").children[current];
  if (!element || !scroll) return;
  element.querySelector(".name a").focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}
function move(by) {
  if (!shown.length) return;
  current = Math.min(shown.length - 1, Math.max(0, current + by));
  if (current > shown.length - 5) more();
  mark();
}
shortcut("/", "Search", () => search.focus());
shortcut(["j", "ArrowDown"], "Next session", (event) => (event.key === "ArrowDown" && current < 0 ? false : move(1)));
shortcut(["k", "ArrowUp"], "Previous session", (event) => (event.key === "ArrowUp" && current < 0 ? false : move(-1)));
shortcut("Enter", "Open it", () => {
  if (document.activeElement?.matches("a, button, summary") || current < 0) return false;
  location.assign(url(`s/${shown[current].session_id}`));
});
shortcut("x", "Choose it for comparison", () => byId("rows").children[current]?.querySelector(".pick input").click());

// Live updates

/** Return the rows below a refreshed page, which are not fetched again. */
function below(sessions) {
  const last = shown.findIndex((one) => one.session_id === sessions.at(-1)?.session_id);
  if (shown.length <= sessions.length || last < 0) return [];
  const fresh = new Set(sessions.map((one) => one.session_id));
  return shown.slice(last + 1).filter((one) => !fresh.has(one.session_id));
}

async function news() {
  const address = location.search,
    searching = unsearched;
  const [page, facets] = await fetched(Math.min(MOST, Math.max(PAGE, shown.length)));
  // The filters changed while the response was on its way.
  if (location.search !== address) return;
  unsearched = facets?.unsearched || 0;
  const rest = below(page.sessions);
  const sessions = [...page.sessions, ...rest];
  const same = JSON.stringify(sessions) === JSON.stringify(shown);
  // Without changes nothing is drawn again, which would disturb a selection or an open menu.
  if (same && !(facets && searching)) return;
  if (same && shown.length) return void drawFacets(facets);
  const before = new Set(shown.map((one) => one.session_id));
  shown = sessions;
  if (!rest.length) next = page.next_before;
  drawRows();
  shown.forEach((one, index) => before.has(one.session_id) || byId("rows").children[index].classList.add("fresh"));
  drawFacets(facets || (await ask("facets", queryNow())));
}

drawFilters();
drawRows();
if (unsearched) refresh();
else ask("facets", queryNow()).then(drawFacets, problem);
watch(news, { every: 10_000 });
setInterval(
  () =>
    shown.forEach((one, index) => {
      if (one.state === "Running")
        byId("rows").children[index].querySelector("[data-label=took]").textContent = duration(elapsed(one));
    }),
  1_000,
);
