// The page of one session: its head, and several views with the same events, filter and selection.
// The view is the fragment of the address; the selected event and the filter are in its query.

import { ask, byId, copyButton, data, make, notice, say, shortcut, watch } from "./base.js";
import { cost, count, duration, elapsed, many, money } from "./formats.js";
import { stamp } from "./times.js";
import { Details } from "./details.js";
import { loops } from "./loops.js";
import { Run } from "./run.js";
import { scores } from "./scores.js";
import { Timeline } from "./timeline.js";
import { url } from "./url.js";
import { why } from "./why.js";

const VIEWS = {
  timeline: ["Timeline", async () => Timeline],
  tree: ["Tree", async () => (await import("./tree.js")).Tree],
  events: ["Events", async () => (await import("./events.js")).Events],
  chat: ["Chat", async () => (await import("./chat.js")).Chat],
  figures: ["Figures", async () => (await import("./figures.js")).Figures],
};
const KINDS = ["llm", "tool", "agent", "action", "error"];
// A group with more facts than this is folded.
const LONG = 12;

/** The state that views share: events, filter, selection. */
class Page {
  constructor() {
    this.facts = data;
    this.run = new Run(data.session_id);
    this.selected = Number(new URLSearchParams(location.search).get("event")) || 0;
    this.kinds = new Set((new URLSearchParams(location.search).get("kind") || "").split(",").filter(Boolean));
    this.text = new URLSearchParams(location.search).get("text") || "";
    // Seqs of events whose content contains the text.
    this.hits = null;
    this.views = {};
    this.details = new Details(this);
    this.complete = false;
    this._matching = new Map();
  }

  get running() {
    return this.facts.state === "Running";
  }

  /** Return whether an event may still go on: it has no end, and began in the run that is alive. */
  isUnderWay(at) {
    return this.running && this.run.took[at] < 0 && !this.run.pauseAfter(at);
  }

  /** The end of the time axis in microseconds; leaves room for an operation that the session died in. */
  get now() {
    const {
      tree: { ends },
      start,
    } = this.run;
    const last = Math.max(this.run.last, (this.facts.seconds || 0) * 1e6);
    if (this.running) return Math.max(last, (Date.now() - this.run.t0) * 1e3);
    return ends.length ? Math.max(last, start[ends.at(-1)] + last * 0.06) : last;
  }

  get filtered() {
    return this.kinds.size > 0 || this.text !== "";
  }

  /** Return whether an event matches the filter. */
  matches(at) {
    const { run } = this;
    if (this.kinds.size && !this.kinds.has(run.kindOf(at))) return false;
    if (!this.text) return true;
    return (
      this._has("name", at, run.names) ||
      this._has("model", at, run.models) ||
      this._has("agent", at, run.agents) ||
      Boolean(this.hits?.has(run.seq[at]))
    );
  }

  _has(column, at, values) {
    const number = this.run[column][at];
    if (number < 0) return false;
    const known = `${column}${number}`;
    if (!this._matching.has(known))
      this._matching.set(known, values[number].toLowerCase().includes(this.text.toLowerCase()));
    return this._matching.get(known);
  }

  select(seq, { from = "" } = {}) {
    this.selected = seq;
    this._address();
    this.details.show(seq);
    Object.entries(this.views).forEach(([name, view]) => view.selected?.(seq, name === from));
  }

  async seek(kinds, text) {
    this.kinds = kinds;
    this._address();
    if (text !== this.text || (text && !this.hits)) {
      this.text = text;
      this.hits = null;
      this._matching.clear();
      this._address();
      this._search(text);
    }
    this.changed();
  }

  /** Search the content of events on the server, page by page; names are searched here. */
  async _search(text) {
    if (!text) return;
    const hits = new Set();
    try {
      for (let after = 0; after !== null;) {
        const reply = await ask(`sessions/${this.run.id}/events`, { text, after, limit: 1_000 });
        if (text !== this.text) return;
        reply.events.forEach((event) => hits.add(event.entry));
        this.hits = hits;
        this.changed();
        after = reply.next_after;
        if (after === null && reply.exact === false) say(`More than these ${count(hits.size)} events may match`);
      }
    } catch (error) {
      say(error.message);
    }
  }

  changed() {
    const view = this.views[this.view];
    if (!view) return;
    const shown = this.complete && !this.run.n ? nothing(this.running) : view.element;
    if (byId("view").firstChild !== shown) byId("view").replaceChildren(shown);
    view.changed();
  }

  _address() {
    const params = new URLSearchParams();
    if (this.selected) params.set("event", this.selected);
    if (this.kinds.size) params.set("kind", [...this.kinds].join(","));
    if (this.text) params.set("text", this.text);
    history.replaceState(null, "", `${location.pathname}${params.size ? `?${params}` : ""}${location.hash}`);
  }

  async turn(name) {
    const known = Object.hasOwn(VIEWS, name) ? name : "timeline";
    this.view = known;
    for (const tab of byId("views").children) {
      const on = tab.dataset.view === known;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
    }
    byId("view").setAttribute("aria-labelledby", `tab-${known}`);
    if (!this.views[known]) this.views[known] = new (await VIEWS[known][1]())(this);
    if (this.view !== known) return;
    byId("choose").hidden = known === "figures";
    this.changed();
    if (this.selected) this.views[known].selected?.(this.selected);
  }
}

const nothing = (running) =>
  notice(running ? "No events yet. New ones appear here by themselves." : "Nothing was recorded in this session.");
const page = new Page();

// Tabs

byId("views").append(
  ...Object.entries(VIEWS).map(([name, [label]]) =>
    make(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "data-view": name,
        "aria-controls": "view",
        onclick: () => show(name),
      },
      label,
    ),
  ),
);
byId("view").setAttribute("role", "tabpanel");
byId("views").addEventListener("keydown", (event) => {
  const names = Object.keys(VIEWS),
    by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  show(names[(names.indexOf(page.view) + by + names.length) % names.length]);
  byId(`tab-${page.view}`).focus();
});

function show(name) {
  if (location.hash !== `#${name}`) history.pushState(null, "", `${location.pathname}${location.search}#${name}`);
  page.turn(name);
}
addEventListener("popstate", () => {
  page.turn(location.hash.slice(1));
  const seq = Number(new URLSearchParams(location.search).get("event")) || 0;
  if (seq !== page.selected) page.select(seq);
});

// The filter

const search = make("input", {
  type: "search",
  value: page.text,
  placeholder: "Filter by name or content  ( / )",
  "aria-label": "Filter events",
});
const chips = make("div", { class: "bar", role: "group", "aria-label": "Kinds" });
let typing;
for (const type of ["input", "search"]) {
  // Some browsers report Esc and the clear button as "search", not "input".
  search.addEventListener(type, () => {
    clearTimeout(typing);
    typing = setTimeout(() => page.seek(page.kinds, search.value.trim()), 200);
  });
}
byId("views").after(make("div", { id: "choose", class: "bar" }, search, chips));

function drawKinds() {
  const kinds_ = [
    ...KINDS.filter((kind) => page.run.kinds.includes(kind)),
    ...page.run.kinds.filter((kind) => !KINDS.includes(kind)).sort(),
  ];
  chips.replaceChildren(
    ...kinds_.map((kind) =>
      make(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": String(page.kinds.has(kind)),
          onclick: () => {
            const kinds = new Set(page.kinds);
            if (!kinds.delete(kind)) kinds.add(kind);
            page.seek(kinds, page.text);
            drawKinds();
          },
        },
        make("span", { class: `kind ${KINDS.includes(kind) ? kind : ""}` }, kind),
      ),
    ),
  );
}

// The head

function figure(label, value, { note = "", bad = false } = {}) {
  return make(
    "div",
    {},
    make("dt", {}, label),
    make("dd", { class: bad ? "failed" : null }, value, note && make("small", { title: note }, note)),
  );
}

function drawHead() {
  const one = page.facts;
  const state = byId("state");
  state.textContent = one.state;
  state.className = `state ${/^[A-Z][a-z]+$/.test(one.state) ? one.state : ""}`;
  byId("head").querySelector(".meta time").textContent = stamp(one.began);
  drawReason(one);
  const cache = [
    one.tokens_cached && `${count(one.tokens_cached)} cached`,
    one.tokens_cache_write && `${count(one.tokens_cache_write)} written to cache`,
  ];
  const thought = one.tokens_reasoning ? `${count(one.tokens_reasoning)} reasoning` : "";
  byId("figures").replaceChildren(
    figure("Duration", (one.at_least ? "at least " : "") + duration(elapsed(one))),
    figure("Cost", cost(one), {
      note: [provenance(one), one.budget && `budget ${dollars(one.budget.limit_usd)}`].filter(Boolean).join(", "),
    }),
    figure("LLM calls", count(one.llm_calls)),
    figure("Tool calls", count(one.tool_calls)),
    figure("Actions", count(one.actions)),
    figure("Errors", count(one.errors), { bad: one.errors > 0 }),
    figure("Tokens in", count(one.tokens_in), { note: cache.filter(Boolean).join(", ") }),
    figure("Tokens out", count(one.tokens_out), { note: thought }),
  );
  drawNotices(one);
}

function drawReason(one) {
  byId("reason")?.remove();
  if (one.reason) byId("figures").before(make("p", { id: "reason", class: `reason ${one.state}` }, one.reason));
}

function provenance(one) {
  const from = one.provenance;
  if (!from) return "";
  // null: there are too many calls to check each.
  if (from.given === null) return `given, or by the table${from.unpriced ? `, ${count(from.unpriced)} unpriced` : ""}`;
  const parts = [
    from.given && `${count(from.given)} given`,
    from.priced &&
      `${count(from.priced)} by the table${from.table?.date ? ` of ${from.table.date.replaceAll("-", "\u2011")}` : ""}`,
    from.later && `${count(from.later)} priced later`,
    from.unbilled && `${count(from.unbilled)} not billed`,
    from.unpriced && `${count(from.unpriced)} unpriced`,
  ];
  return parts.filter(Boolean).join(", ");
}

const dollars = (amount) => money(Math.round(amount * 1e9));

function spent({ limit_usd, reached_usd }) {
  const at = reached_usd === null ? "" : `, at ${dollars(reached_usd)}`;
  return `The budget of ${dollars(limit_usd)} was reached${at}.`;
}

function drawNotices(one) {
  const notices = [
    one.dropped &&
      `${many(one.dropped, "event")} could not be written and ${one.dropped === 1 ? "is" : "are"} missing here.`,
    one.unfinished && !page.running && [`${many(one.unfinished, "operation")} did not finish. `, ...died()],
    one.budget?.reached_at && spent(one.budget),
    one.late && `${many(one.late, "event")} recorded after the end of the session.`,
    one.spilled && `${many(one.spilled, "event")} came through a spill file.`,
  ].filter(Boolean);
  byId("notices").replaceChildren(...notices.map((text) => make("p", {}, text)));
}

/** Return links to the innermost unfinished operations, in which a run of the session ended. */
function died() {
  const { run } = page,
    { ends, stops } = run.tree;
  if (!page.complete) return [];
  return [
    ...inside("It was resumed after it had ended inside ", stops),
    ends.length && stops.length ? " " : "",
    ...inside("It ended inside ", ends),
  ];
}

function inside(words, ends) {
  const { run } = page;
  const places = ends
    .slice(-5)
    .map((at) =>
      make(
        "button",
        { type: "button", class: "link", onclick: () => page.select(run.seq[at]) },
        `${run.kindOf(at)} ${run.nameOf(at)}`,
      ),
    );
  if (!places.length) return [];
  return [
    words,
    ...places.flatMap((each, i) => [i ? ", " : "", each]),
    ends.length > places.length ? ` and ${count(ends.length - places.length)} more.` : ".",
  ];
}

function drawExtras() {
  const one = page.facts;
  const sync = (one.sync || []).map((remote) =>
    make(
      "p",
      {},
      make("strong", {}, remote.remote),
      ": ",
      remote.waiting ? `${count(remote.waiting)} waiting` : "all delivered",
      remote.parked ? `, ${count(remote.parked)} set aside` : "",
      remote.receipt_at ? `, receipt of ${stamp(remote.receipt_at)}` : "",
    ),
  );
  const people = (one.participants || []).map((each) =>
    make(
      "p",
      {},
      `${each.host || "?"} · process ${each.pid ?? "?"}`,
      make(
        "span",
        { class: "faint" },
        each.last
          ? ` until ${stamp(each.last)}`
          : each.alive
            ? " still running"
            : each.alive === false
              ? " ended without leaving"
              : "",
      ),
    ),
  );
  const block = (title, ...inside) => make("div", {}, make("h3", {}, title), inside);
  const blocks = [
    people.length > 0 && block(people.length === 1 ? "Process" : "Processes", people),
    sync.length > 0 && block("Sync", sync),
    one.metadata_only && block("Content", make("p", {}, "Left out: it came through a metadata-only remote.")),
    Object.keys(one.host_env || {}).length > 0 && block("Environment", facts(one.host_env)),
    Object.keys(one.metadata || {}).length > 0 && block("Metadata", facts(one.metadata)),
    block(
      "Session",
      make(
        "dl",
        { class: "facts" },
        make("dt", {}, "Id"),
        make("dd", {}, make("code", {}, one.session_id), " ", copyButton("Copy", one.session_id)),
        make("dt", {}, "Started"),
        make("dd", {}, stamp(one.began)),
        make("dt", {}, "Last event"),
        make("dd", {}, stamp(one.last)),
        make("dt", {}, "Project"),
        make("dd", {}, one.project),
      ),
    ),
  ];
  const box = make(
    "details",
    {},
    make("summary", {}, "Environment, processes and sync"),
    make("div", { class: "inside" }, blocks),
  );
  byId("extras").replaceChildren(
    ...[video(one.video), scores(one), box, why(), one.tool_calls || one.failed ? loops(one) : null].filter(Boolean),
  );
}

/** Return nested facts as a list of names and values. */
function facts(object, depth = 0) {
  return make(
    "dl",
    { class: "facts" },
    Object.entries(object).flatMap(([key, value]) => {
      if (!value || typeof value !== "object" || Array.isArray(value) || depth > 1)
        return [make("dt", {}, key), make("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value))];
      return depth && Object.keys(value).length > LONG
        ? [
            make(
              "dd",
              { class: "inner" },
              make(
                "details",
                {},
                make("summary", {}, `${key} (${count(Object.keys(value).length)})`),
                facts(value, depth + 1),
              ),
            ),
          ]
        : [make("dt", { class: "over" }, key), make("dd", { class: "inner" }, facts(value, depth + 1))];
    }),
  );
}

function video(one) {
  if (!one) return null;
  if (one.blob && one.bytes !== null)
    return make("video", { controls: true, preload: "metadata", src: one.url, "aria-label": "Video of the session" });
  // A link, because loading from another site needs a click.
  if (/^https?:\/\//.test(one.url || "") && !one.blob)
    return make(
      "p",
      {},
      "Video: ",
      make("a", { href: one.url, rel: "noreferrer noopener", target: "_blank" }, one.url),
    );
  return notice(`The video${one.bytes === null ? " was not copied to this server" : ` is at ${one.url}`}.`, "faint");
}

function drawTools() {
  const line = make("div", { class: "head-line" });
  const title = byId("head").querySelector("h1");
  title.before(line);
  const export_ = (format) =>
    make(
      "a",
      { class: "choice", href: url(`api/1/sessions/${data.session_id}/export?format=${format[0]}`), download: true },
      make("span", {}, format[1]),
    );
  const menu = make(
    "details",
    { class: "menu right" },
    make("summary", {}, "Export"),
    make(
      "div",
      {},
      [
        ["json", "JSON"],
        ["html", "Report: one HTML file"],
        ["csv", "CSV"],
      ].map(export_),
    ),
  );
  addEventListener("click", (event) => menu.contains(event.target) || (menu.open = false));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  line.append(title, menu);
}

// Keys

function step(by) {
  const { order } = page.run.tree;
  const here = page.run.find(page.selected);
  let index = here < 0 ? (by > 0 ? -1 : order.length) : order.indexOf(here);
  for (index += by; index >= 0 && index < order.length; index += by) {
    if (page.matches(order[index])) return page.select(page.run.seq[order[index]]);
  }
  return say(by > 0 ? "No later event" : "No earlier event");
}
shortcut("/", "Filter", () => search.focus());
/** Return whether a scroll key is for the view: the focus is not on a field, or on something that scrolls itself. */
function isFree() {
  const at = document.activeElement || document.body;
  return at.matches("body, main, button, a, summary, #view .scroll") && !at.closest("#details, .menu[open]");
}
shortcut(
  ["Home", "End", "PageUp", "PageDown"],
  "First, last, a page up or down",
  (event) => isFree() && Boolean(page.views[page.view]?.move?.(event.key)),
);
shortcut("j", "Next event", () => step(1));
shortcut("k", "Previous event", () => step(-1));
shortcut("e", "Next failure, where it began", () => {
  const { order } = page.run.tree;
  const here = order.indexOf(page.run.find(page.selected));
  const next = order.slice(here + 1).find((at) => page.run.isCause(at)) ?? order.find((at) => page.run.isCause(at));
  if (next === undefined) say("No errors");
  else page.select(page.run.seq[next]);
});
Object.entries(VIEWS).forEach(([name, [label]], index) => shortcut(String(index + 1), label, () => show(name)));
const zoom = (by) => () => (page.view === "timeline" ? page.views.timeline.zoom(by) : false);
shortcut(["+", "="], "Zoom in (timeline)", zoom(0.625));
shortcut("-", "Zoom out (timeline)", zoom(1.6));
shortcut("0", "Show everything (timeline)", () => (page.view === "timeline" ? page.views.timeline.fit() : false));
shortcut("Escape", "Close the event", () => (page.selected ? page.select(0) : false));

// Start

drawTools();
drawHead();
drawExtras();
page.turn(location.hash.slice(1) || "timeline");
let frame = 0;
const came = (whole) => {
  page.complete = whole;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    drawKinds();
    page.changed();
    performance.mark(whole ? "localops-whole" : "localops-interactive");
    if (whole) drawNotices(page.facts);
    if (whole && page.selected) page.select(page.selected);
  });
};
page.run
  .load(came)
  .then(() => {
    if (page.text) page._search(page.text);
  })
  .catch((error) => byId("view").prepend(notice(error.message, "problem")));

// Stops the live updates when the session ends.
let over = () => {};

async function news() {
  if (!page.complete) return;
  const before = page.run.seen;
  const [facts_] = await Promise.all([ask(`sessions/${data.session_id}`), page.run.load(() => {})]);
  const turned = facts_.state !== page.facts.state;
  page.facts = facts_;
  drawHead();
  if (turned) drawExtras();
  if (!page.running) over();
  if (turned || page.run.seen !== before) {
    drawKinds();
    page.changed();
  }
}

/** Update the duration of a running session, also while no events arrive. */
function tick() {
  byId("figures").querySelector("dd").textContent = duration(elapsed(page.facts));
  if (page.view === "timeline") page.views.timeline?.tick();
}

if (page.running) {
  const stop = watch(news, { every: 5_000 });
  const ticking = setInterval(tick, 250);
  over = () => {
    stop();
    clearInterval(ticking);
  };
}
