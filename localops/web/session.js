// The page of one session: its head, and several views with the same events, filter and selection.
// The view is the fragment of the address; the selected event and the filter are in its query.

import { ask, byId, data, kindSign, make, notice, say, searchKey, shortcut, watch } from "./base.js";
import { isReport, now } from "./clock.js";
import { Details } from "./details.js";
import { count, duration, many } from "./formats.js";
import { Head } from "./head.js";
import { KINDS } from "./kinds.js";
import { mark } from "./marks.js";
import { addFirst, collect, hasOrFailedWith, isNamed, matching } from "./matches.js";
import { asPrefix, plain } from "./query.js";
import { Run } from "./run.js";
import { Timeline } from "./timeline.js";
import { WhyCard } from "./why.js";

const VIEWS = {
  timeline: ["Timeline", async () => Timeline],
  tree: ["Tree", async () => (await import("./tree.js")).Tree],
  events: ["Events", async () => (await import("./events.js")).Events],
  chat: ["Chat", async () => (await import("./chat.js")).Chat],
  figures: ["Figures", async () => (await import("./figures.js")).Figures],
};
// Parts of the address that the views keep: of a report, the session; the lines of the timeline, and skipped times.
const KEPT = ["session", "lanes", "idle"];
const query = () => new URLSearchParams(location.search);
/** Return the event that an address names, by its seq or its id; 0 for none. */
const eventOf = (params) => {
  const named = params.get("event") || "";
  return /^\d*$/.test(named) ? Number(named) : named;
};
const filterOf = (params) => ({
  kinds: new Set((params.get("kind") || "").split(",").filter(Boolean)),
  text: plain(params.get("text") || ""),
});

/** The state that views share: events, filter, selection. */
class Page {
  constructor() {
    this.facts = data;
    this.run = new Run(data.session_id);
    this.selected = eventOf(query());
    Object.assign(this, filterOf(query()));
    // Seqs of events whose content contains the text, and whether all of them are known.
    this.hits = null;
    // Those of them that do not only repeat the messages of earlier calls, and whether the others are shown, too.
    this.fresh = null;
    this.showsRepeats = false;
    this.isSearched = !this.text;
    // The seq up to which rows have been searched, and whether those after it are being searched.
    this.searchedTo = 0;
    this.isSearchingNew = false;
    // Whether the text is from the address, as after a search in the list.
    this.isCarried = Boolean(this.text);
    // The event that a link led to although the filter would hide it; 0 for none.
    this.exempt = 0;
    this.views = {};
    this.details = new Details(this);
    this.complete = false;
    // Whether the view follows the newest events.
    this.follows = false;
    // Seq → how often the call at it was made again in a loop; 0 for those calls.
    this.repeats = new Map();
    this._matching = new Map();
  }

  get running() {
    return this.facts.state === "Running";
  }

  /** Whether new events can come: of a session that ran when a report was written, they do not. */
  get isLive() {
    return this.running && !isReport;
  }

  /** Return whether an event may be in progress: it has no end, and began in the run that is alive. */
  isUnderWay(at) {
    return this.running && this.run.took[at] < 0 && !this.run.pauseAfter(at);
  }

  /** The end of the recording, in microseconds. */
  get last() {
    return Math.max(this.run.last, (this.facts.seconds || 0) * 1e6);
  }

  /** The end of the time axis in microseconds; leaves room for an operation that the session died in. */
  get now() {
    const {
      tree: { ends },
      start,
    } = this.run;
    const { last } = this;
    if (this.running) return Math.max(last, (now() - this.run.t0) * 1e3);
    return ends.length ? Math.max(last, start[ends.at(-1)] + last * 0.06) : last;
  }

  /** Seconds since the last event of a running session. */
  get quiet() {
    const last = Math.max(this.run.n ? this.run.t0 + this.run.last / 1e3 : 0, Date.parse(this.facts.last) || 0);
    return (now() - last) / 1e3;
  }

  get filtered() {
    return this.kinds.size > 0 || this.text !== "";
  }

  /** Return whether an event matches the filter. */
  matches(at) {
    const { run } = this;
    if (this.exempt && run.seq[at] === this.exempt) return true;
    if (this.kinds.size && !this.kinds.has(run.kindOf(at))) return false;
    return !this.text || hasOrFailedWith(run, at, (each) => this._hasText(each));
  }

  _hasText(at) {
    const { run } = this;
    return (
      this._has("name", at, run.names) ||
      this._has("model", at, run.models) ||
      this._has("agent", at, run.agents) ||
      Boolean((this.showsRepeats ? this.hits : this.fresh)?.has(run.seq[at]))
    );
  }

  /** Return whether an event is hidden because its prompt only repeats the text of earlier calls. */
  isRepeat(at) {
    const isOfKind = !this.kinds.size || this.kinds.has(this.run.kindOf(at));
    return isOfKind && Boolean(this.hits?.has(this.run.seq[at])) && !this.matches(at);
  }

  _has(column, at, values) {
    const number = this.run[column][at];
    if (number < 0) return false;
    const known = `${column}${number}`;
    if (!this._matching.has(known)) {
      this._matching.set(known, isNamed(values[number], this.text));
    }
    return this._matching.get(known);
  }

  /** Select an event, 0 for none; the back button undoes that if it `isStep`, as by a click, or opens or closes one. */
  select(seq, { from = "", isStep = false } = {}) {
    const isAnother = seq !== this.selected,
      isChange = Boolean(seq) !== Boolean(this.selected);
    this.selected = seq;
    this._address(isChange || (isStep && isAnother));
    // Who goes to an event stays there.
    if (seq && isAnother) this.follow(false);
    this._show(seq, from);
  }

  _show(seq, from = "") {
    const isInDetails = byId("details").contains(document.activeElement);
    this.selected = seq;
    this._exempt(seq);
    this.details.show(seq);
    Object.entries(this.views).forEach(([name, view]) => view.selected?.(seq, name === from));
    if (!seq && isInDetails) focusView();
  }

  /** Show what the address names after a step back or forward: the view, the event and the filter. */
  restore() {
    const [{ kinds, text }, seq] = [filterOf(query()), eventOf(query())];
    if (seq !== this.selected) this._show(seq);
    if (text !== this.text || [...kinds].join() !== [...this.kinds].join()) {
      search.value = text;
      this.seek(kinds, text);
      drawKinds();
    }
    this.turn(chosenView());
  }

  /** Show the row of an event that is selected, also if the filter would hide it. */
  _exempt(seq) {
    const at = this.filtered ? this.run.find(seq) : -1;
    if (at < 0 || this.matches(at)) return;
    this.exempt = seq;
    this.changed();
  }

  /** Select the next event that matches the filter, or the one before. */
  step(by) {
    const { order, place } = this.run.tree;
    const here = this.run.find(this.selected);
    let index = here < 0 ? (by > 0 ? -1 : order.length) : place[here];
    for (index += by; index >= 0 && index < order.length; index += by)
      if (this.matches(order[index])) return this.select(this.run.seq[order[index]]);
    return say(by > 0 ? "No later event" : "No earlier event");
  }

  async seek(kinds, text) {
    this.kinds = kinds;
    this.isCarried = false;
    this.exempt = 0;
    this._address();
    if (text !== this.text || (text && !this.hits)) {
      this.text = text;
      this.hits = null;
      this.fresh = null;
      this.showsRepeats = false;
      this.isSearched = !text;
      this._matching.clear();
      this._address();
      this.search(text);
    }
    this.changed();
  }

  /** Search the content of events on the server, the newest first and part by part; names are searched here. */
  async search(text) {
    mark(byId("session"), asPrefix(text));
    if (!text) return;
    const hits = new Set(),
      fresh = new Set();
    await this._search({ hits, fresh }, (isWhole, isExact) => {
      if (isWhole) addFirst({ hits, fresh });
      this.hits = hits;
      this.fresh = fresh;
      this.isSearched = isWhole;
      this.changed();
      if (isWhole) this._showAllWithoutMatch();
      if (isWhole && !isExact) say(`${many(hits.size, "event")} found; not all are searched yet`);
    });
  }

  /** Search the events that arrived after the search. */
  async searchNew() {
    if (!this.text || !this.isSearched || !this.hits || this.isSearchingNew) return;
    this.isSearchingNew = true;
    const before = this.hits.size;
    await this._search(this, () => this.hits?.size !== before && this.changed(), this.searchedTo);
    this.isSearchingNew = false;
  }

  /** Add the events with the text in rows after a seq to the hits; call `onPart` after each part. */
  async _search(both, onPart, after = 0) {
    const { text } = this,
      { seen } = this.run,
      search = (this.current = {});
    let upto = null;
    try {
      for await (const reply of matching(this.run.id, text, after)) {
        if (search !== this.current || text !== this.text) return;
        collect(reply, both);
        upto ??= Math.min(seen, reply.upto);
        const isWhole = reply.next_before === null;
        if (isWhole) this.searchedTo = upto;
        onPart(isWhole, !reply.unread);
      }
    } catch (error) {
      say(error.message);
    }
  }

  /** Drop the text in the address if no event has it, as it would hide every event. */
  _showAllWithoutMatch() {
    if (!this.isCarried) return;
    this.isCarried = false;
    const { text, run } = this;
    for (let at = 0; at < run.n; at += 1) if (this.matches(at)) return;
    search.value = "";
    this.seek(this.kinds, "");
    say(`“${text}” is in no event: all are shown`);
  }

  /** Mark the calls of loops: the first with the number of rounds, and those that repeat it. */
  mark(loops) {
    this.loops = loops;
    this.repeat();
    this.changed();
  }

  repeat() {
    const { run } = this;
    this.repeats.clear();
    for (const { tools, first_seq: first, last_seq: last, rounds } of this.loops || []) {
      const names = new Set(tools);
      for (let at = Math.max(0, run.find(first)); at < run.n && run.seq[at] <= last; at += 1)
        if (run.kindOf(at) === "tool" && names.has(run.nameOf(at))) this.repeats.set(run.seq[at], 0);
      this.repeats.set(first, rounds);
    }
  }

  changed() {
    drawHidden();
    const view = this.views[this.view];
    if (!view) return;
    const shown = this.complete && !this.run.n ? nothing(this.running) : view.element;
    const before = byId("view").firstChild,
      hadFocus = byId("view").contains(document.activeElement);
    if (before !== shown) {
      Object.values(this.views)
        .find((each) => each.element === before)
        ?.left?.();
      byId("view").replaceChildren(shown);
    }
    view.changed();
    if (before !== shown) view.returned?.();
    if (before !== shown && hadFocus) focusView();
    if (this.follows) view.toEnd?.();
    this._useRoom(view);
  }

  /** Show the post-mortem in the room that a short timeline leaves: of a running session, as far as it is. */
  async _useRoom(view) {
    // Pictures make it longer.
    await view.shown;
    if (this.view !== "timeline" || this.views.timeline !== view) return;
    const room = byId("view").clientHeight - view.element.offsetHeight;
    if (!this.complete || !this.run.n || room < ROOM) {
      this.story?.element.remove();
      return;
    }
    this.story ||= new WhyCard(this, (seq) => this.select(seq, { isStep: true }));
    if (this.story.element.isConnected) return;
    byId("view").append(this.story.element);
    this.renewStory(!this.story.reading || this.running);
  }

  /** Read the post-mortem again, if it is shown. */
  renewStory(isNeeded) {
    if (this.story?.element.isConnected) this.story.renew(isNeeded);
  }

  /** Follow the newest events, or stop. */
  follow(follows) {
    if (follows === this.follows) return;
    this.follows = follows;
    follower.setAttribute("aria-pressed", String(follows));
    if (follows) this.views[this.view]?.toEnd?.();
  }

  /** Fit the view into the window, unless something above it is open, or it is as long as it is. */
  layOut() {
    byId("session").classList.toggle("long", !byId("extras").hidden || this.view === "figures");
  }

  /** Keep a choice of a view in the address; null forgets it. */
  keep(name, value) {
    const params = query();
    if (value === null) params.delete(name);
    else params.set(name, value);
    history.replaceState(null, "", `${location.pathname}${params.size ? `?${params}` : ""}${location.hash}`);
  }

  _address(isStep = false) {
    const params = new URLSearchParams();
    for (const name of KEPT) if (query().has(name)) params.set(name, query().get(name));
    if (this.selected) params.set("event", this.selected);
    if (this.kinds.size) params.set("kind", [...this.kinds].join(","));
    if (this.text) params.set("text", this.text);
    const address = `${location.pathname}${params.size ? `?${params}` : ""}${location.hash}`;
    if (isStep) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
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
    this.layOut();
    if (!this.views[known]) this.views[known] = new (await VIEWS[known][1]())(this);
    if (this.view !== known) return;
    byId("choose").classList.toggle("off", known === "figures");
    this._exempt(this.selected);
    this.changed();
    if (this.selected) this.views[known].selected?.(this.selected);
  }
}

// Pixels below a timeline that a few sentences need.
const ROOM = 200;

/** Focus what keys move in the view: a list, or the canvas of the timeline; the tab of a view that has none. */
function focusView() {
  const place = byId("view").querySelector("[tabindex='0']") ?? byId(`tab-${page.view}`);
  place.focus({ preventScroll: true });
}

const nothing = (running) =>
  notice(running && !isReport ? "No events yet. New ones appear here." : "Nothing was recorded in this session.");
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

/** Return the view that the address names, or a report was exported from. */
const chosenView = () => location.hash.slice(1) || document.documentElement.dataset.view || "timeline";

function show(name) {
  if (chosenView() !== name) history.pushState(null, "", `${location.pathname}${location.search}#${name}`);
  page.turn(name);
}
addEventListener("popstate", () => page.restore());

// The filter

const search = make("input", {
  type: "search",
  value: page.text,
  placeholder: "Filter  ( / )",
  title: "By name or content",
  "aria-label": "Filter events",
});
page.field = search;
const chips = make("div", { class: "chips", role: "group", "aria-label": "Kinds", tabindex: 0 });
const follower = make(
  "button",
  {
    type: "button",
    class: "small",
    id: "follow",
    "aria-pressed": "false",
    title: "Keep the newest event in view ( f )",
    hidden: !page.isLive,
    onclick: () => page.follow(!page.follows),
  },
  "Follow",
);
let typing;
for (const type of ["input", "search"]) {
  // Some browsers report Esc and the clear button as "search", not "input".
  search.addEventListener(type, () => {
    clearTimeout(typing);
    typing = setTimeout(() => page.seek(page.kinds, search.value.trim()), 200);
  });
}
byId("choose").append(follower, search, chips);
// To scroll back is to read: the view stays there.
const BACK = new Set(["ArrowUp", "ArrowLeft", "Home", "PageUp"]);
const stay = (isBack) => isBack && page.follow(false);
byId("view").addEventListener("wheel", (event) => stay(event.deltaY < 0), { passive: true });
byId("view").addEventListener("touchmove", () => stay(true), { passive: true });
byId("view").addEventListener("keydown", (event) => stay(BACK.has(event.key)), { capture: true });
// The bar of a list lies beside what it shows.
byId("view").addEventListener("pointerdown", ({ target, offsetX }) =>
  stay(target.matches(".scroll") && offsetX >= target.clientWidth),
);

// It is there from the beginning if the address has a filter.
const hidden = byId("hidden-events") || make("div", { id: "hidden-events", role: "status", hidden: true });
byId("view").parentElement.before(hidden);

/** Show how many events the filter hides, with a button that clears it: a view may be empty. */
function drawHidden() {
  const { run } = page,
    isFiltered = page.filtered && page.view !== "figures";
  let hides = 0,
    repeats = 0;
  if (isFiltered && page.complete)
    for (let at = 0; at < run.n; at += 1) {
      hides += page.matches(at) ? 0 : 1;
      repeats += page.isSearched && page.isRepeat(at) ? 1 : 0;
    }
  // A filter that hides nothing has its line, too, as nothing may move when that turns out.
  const all = run.n && hides === run.n ? "all" : hides ? `${count(hides)} of` : "none of";
  const verb = page.view === "timeline" ? "dims" : "hides";
  const text = !isFiltered
    ? ""
    : !page.complete
      ? "Loading …"
      : !page.isSearched
        ? `Searching the content: ${many(run.n - hides, "event")} so far …`
        : `The filter ${verb} ${all} ${many(run.n, "event")}.`;
  const only =
    repeats === 1
      ? " 1 of them only repeats words of an earlier call in its prompt."
      : ` ${count(repeats)} of them only repeat words of earlier calls in their prompts.`;
  const words = text + (repeats ? only : "");
  hidden.hidden = !text;
  if (hidden.firstChild?.textContent === words) return;
  const button = (label, onclick) => make("button", { type: "button", class: "small", onclick }, label);
  hidden.replaceChildren(
    ...(text
      ? [
          make("span", {}, words),
          repeats ? button(repeats === 1 ? "Show it" : "Show them", showRepeats) : "",
          button("Clear the filter", clearFilter),
        ]
      : []),
  );
}

function showRepeats() {
  page.showsRepeats = true;
  page.changed();
  // The button is gone.
  byId(`tab-${page.view}`).focus();
}

function clearFilter() {
  clearTimeout(typing);
  search.value = "";
  page.seek(new Set(), "");
  drawKinds();
  // The button is gone.
  byId(`tab-${page.view}`).focus();
}

let drawnKinds = "";
function drawKinds() {
  const kinds = [
    ...KINDS.filter((kind) => page.run.kinds.includes(kind)),
    ...page.run.kinds.filter((kind) => !KINDS.includes(kind)).sort(),
  ];
  const key = JSON.stringify([kinds, [...page.kinds]]);
  if (key === drawnKinds) return;
  drawnKinds = key;
  const focused = document.activeElement?.dataset?.kind;
  chips.replaceChildren(
    ...kinds.map((kind) =>
      make(
        "button",
        {
          type: "button",
          class: "chip",
          "data-kind": kind,
          "aria-pressed": String(page.kinds.has(kind)),
          onclick: () => {
            const chosen = new Set(page.kinds);
            if (!chosen.delete(kind)) chosen.add(kind);
            page.seek(chosen, page.text);
            drawKinds();
          },
        },
        kindSign(kind),
      ),
    ),
  );
  if (focused) [...chips.children].find((chip) => chip.dataset.kind === focused)?.focus();
}

// Keys

// The figures are of all events: a filter is for the views of events.
searchKey("Filter", search, () => page.view === "figures" && show("events"));
/** Return whether a scroll key is for the view: the focus is not on a field, or on something that scrolls itself. */
function isFree() {
  const at = document.activeElement || document.body;
  return at.matches("body, main, button, a, summary, #view .scroll") && !at.closest("#details, .menu[open]");
}
shortcut(["Home", "End", "PageUp", "PageDown"], "First, last, a page up or down", ({ key }) => {
  if (!isFree()) return false;
  stay(BACK.has(key));
  return Boolean(page.views[page.view]?.move?.(key));
});
shortcut("j", "Next event", () => page.step(1));
shortcut("k", "Previous event", () => page.step(-1));
shortcut("e", "Next failure, where it began", () => {
  const { order } = page.run.tree;
  const here = order.indexOf(page.run.find(page.selected));
  const next = order.slice(here + 1).find((at) => page.run.isCause(at)) ?? order.find((at) => page.run.isCause(at));
  if (next === undefined) say("No errors");
  else page.select(page.run.seq[next]);
});
shortcut("f", "Follow a running session", () => (page.isLive ? page.follow(!page.follows) : false));
Object.entries(VIEWS).forEach(([name, [label]], index) => shortcut(String(index + 1), label, () => show(name)));
const zoom = (by) => () => (page.view === "timeline" ? page.views.timeline.zoom(by) : false);
shortcut(["+", "="], "Zoom in (timeline)", zoom(0.625));
shortcut("-", "Zoom out (timeline)", zoom(1.6));
shortcut("0", "Show everything (timeline)", () => (page.view === "timeline" ? page.views.timeline.fit() : false));
shortcut("Escape", "Close the event", () => {
  if (!page.selected) return false;
  page.select(0);
  return true;
});

// Start

const head = new Head(page);
head.draw();
head.drawPanel();
page.turn(chosenView());
let frame = 0;
const onPage = (whole) => {
  page.complete = whole;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    drawKinds();
    page.repeat();
    page.changed();
    performance.mark(whole ? "localops-whole" : "localops-interactive");
    if (whole) head.draw();
    if (whole && page.selected) page.select(page.selected);
  });
};
page.run
  .load(onPage)
  .then(() => {
    if (page.text) page.search(page.text);
  })
  .catch((error) => byId("view").prepend(notice(error.message, "problem")));

// Stops the live updates when the session ends.
let over = () => {};

async function news() {
  if (!page.complete) return;
  const before = page.run.seen;
  const [facts] = await Promise.all([ask(`sessions/${data.session_id}`), page.run.load(() => {})]);
  const turned = facts.state !== page.facts.state;
  page.facts = facts;
  head.draw();
  if (turned) head.drawPanel();
  if (!page.running) over();
  page.details.renew();
  if (turned || page.run.seen !== before) {
    drawKinds();
    page.changed();
    page.searchNew();
  }
  page.renewStory(turned);
}

/** Update what changes with the time in a running session, also while no events arrive. */
function tick() {
  head.tick();
  page.views[page.view]?.tick?.();
  // The durations so far of events in progress.
  for (const sign of document.querySelectorAll(":is(.split, #notices) [data-since]"))
    sign.textContent = duration((page.now - Number(sign.dataset.since)) / 1e6);
}

if (page.isLive) {
  const stop = watch(news);
  const ticking = setInterval(tick, 250);
  over = () => {
    stop();
    clearInterval(ticking);
    page.follow(false);
    follower.hidden = true;
  };
}
