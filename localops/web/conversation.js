// The page of a conversation: its sessions in the order in which they began, and their chat.

import { byId, data, make, notice, say, searchKey, shortcut } from "./base.js";
import { Chat } from "./chat.js";
import { duration, elapsed, many } from "./formats.js";
import { Joined } from "./joined.js";
import { mark } from "./marks.js";
import { addFirst, collect, hasOrFailedWith, isNamed, matching } from "./matches.js";
import { asPrefix } from "./query.js";
import { Run } from "./run.js";
import { stamp } from "./times.js";
import { url } from "./url.js";

// Milliseconds from the last key to the search.
const TYPING = 200;

/** The page of the chat of several sessions, in place of the page of one session; no event is selected. */
class Page {
  constructor(sessions) {
    this.sessions = sessions;
    this.runs = [];
    this.run = new Joined([]);
    Object.assign(this, { kinds: new Set(), text: "", fresh: null, exempt: 0, selected: -1 });
    Object.assign(this, { complete: false, isSearched: true });
  }

  get filtered() {
    return this.text !== "";
  }

  matches(at) {
    const { run, text } = this;
    const names = (each) => [run.nameOf(each), run.modelOf(each), run.agentOf(each)];
    return (
      !text ||
      hasOrFailedWith(
        run,
        at,
        (each) => this.fresh?.has(each) || names(each).some((name) => name && isNamed(name, text)),
      )
    );
  }

  /** Search all sessions for a text; call `onResults` at the start and after each session. */
  async search(text, onResults) {
    Object.assign(this, { text, fresh: text ? new Set() : null, isSearched: !text });
    onResults();
    for (let index = 0; text && index < this.runs.length; index += 1) {
      const both = { hits: new Set(), fresh: new Set() };
      // oxlint-disable-next-line no-await-in-loop
      for await (const reply of matching(this.runs[index].id, text)) collect(reply, both);
      if (text !== this.text) return;
      addFirst(both);
      for (const seq of both.fresh) this.fresh.add(this.run.firsts[index] + this.runs[index].find(seq));
      this.isSearched = index + 1 === this.runs.length;
      onResults();
    }
  }

  isUnderWay(at) {
    const [index, own] = this.run.placeOf(at);
    return this.sessions[index].state === "Running" && this.runs[index].took[own] < 0;
  }

  /** Show an event with its details on the page of its session. */
  select(at) {
    const [index, own] = this.run.placeOf(at);
    location.assign(url(`s/${this.sessions[index].session_id}?event=${this.runs[index].seq[own]}#chat`));
  }

  /** Return the heading of a session above its first turn; null for any other turn. */
  above(at, turns) {
    const [index] = this.run.placeOf(at),
      before = turns[turns.indexOf(at) - 1];
    if (before !== undefined && this.run.placeOf(before)[0] === index) return null;
    const one = this.sessions[index];
    return make(
      "div",
      { class: "part" },
      make("a", { href: url(`s/${one.session_id}#chat`) }, one.name || "unnamed"),
      make("span", { class: `state ${one.state}` }, one.state),
      make("span", {}, stamp(one.began)),
      make("span", {}, duration(elapsed(one))),
      this.sessions.length > 1 && make("span", { class: "faint" }, `session ${index + 1} of ${this.sessions.length}`),
    );
  }

  /** Add the next run to those that are shown. */
  take(run) {
    this.runs.push(run);
    this.run = new Joined(this.runs);
    this.complete = this.runs.length === this.sessions.length;
  }
}

async function start() {
  const page = new Page(data.sessions),
    chat = new Chat(page);
  // The list of sessions scrolls together with the turns below it.
  chat.scroll.prepend(...byId("talk").children);
  byId("talk").replaceChildren(chat.element);
  const field = drawFilter(page, chat);
  for (const one of page.sessions) {
    const run = new Run(one.session_id);
    // One after another: a session that is inserted later would move those below it.
    // oxlint-disable-next-line no-await-in-loop
    await run.load();
    page.take(run);
    chat.changed();
  }
  if (field.value) field.dispatchEvent(new Event("input"));
  if (data.more)
    chat.element.before(notice(`Only the first ${many(data.sessions.length, "session")} are shown.`, "faint"));
}

/** Draw the field that filters the turns, and listen to the keys of a chat. */
function drawFilter(page, chat) {
  const field = make("input", {
    type: "search",
    placeholder: "Filter  ( / )",
    title: "By name or content",
    "aria-label": "Filter events",
  });
  let typing;
  for (const type of ["input", "search"])
    field.addEventListener(type, () => {
      clearTimeout(typing);
      typing = setTimeout(() => seek(field.value.trim()), TYPING);
    });
  const seek = (text) => {
    if (text === page.text || !page.complete) return;
    mark(byId("talk"), asPrefix(text));
    page.search(text, () => chat.changed()).catch((error) => say(error.message));
  };
  page.field = field;
  document.querySelector(".list-head").append(field);
  searchKey("Filter", field);
  shortcut(["Home", "End", "PageUp", "PageDown"], "First, last, a page up or down", ({ key }) => {
    const at = document.activeElement || document.body;
    return at.matches("body, main, button, a, summary, .talk") && chat.move(key);
  });
  return field;
}

start().catch((error) => byId("talk").prepend(notice(error.message, "problem")));
