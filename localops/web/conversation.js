// The page of a conversation: its sessions in the order in which they began, and their chat.

import { byId, data, make, notice } from "./base.js";
import { Chat } from "./chat.js";
import { duration, elapsed, many } from "./formats.js";
import { Joined } from "./joined.js";
import { Run } from "./run.js";
import { stamp } from "./times.js";
import { url } from "./url.js";

/** What the chat of a session asks its page, for several sessions: all is shown, and nothing is selected. */
class Page {
  constructor(sessions) {
    this.sessions = sessions;
    this.runs = [];
    this.run = new Joined([]);
    Object.assign(this, { kinds: new Set(), text: "", fresh: null, exempt: 0, selected: -1 });
    Object.assign(this, { complete: false, isSearched: true, filtered: false, follows: false });
  }

  matches() {
    return true;
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

  /** Return what stands above the first turn of a session; null for any other turn. */
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
  byId("talk").replaceChildren(chat.element);
  for (const one of page.sessions) {
    const run = new Run(one.session_id);
    // In their order: those below would be moved by one that comes later.
    // oxlint-disable-next-line no-await-in-loop
    await run.load();
    page.take(run);
    chat.changed();
  }
  if (data.more)
    chat.element.before(notice(`Only the first ${many(data.sessions.length, "session")} are shown.`, "faint"));
}

start().catch((error) => byId("talk").prepend(notice(error.message, "problem")));
