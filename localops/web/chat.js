// LLM calls as a conversation, with tool calls, actions and errors between them.
// The content of a turn is fetched when it becomes visible.

import { ask, make } from "./base.js";
import { content } from "./content.js";
import { reveal, scrollToHit } from "./found.js";
import { count, duration, many } from "./formats.js";
import { patch } from "./keyed.js";
import { took } from "./previews.js";
import { asPrefix } from "./query.js";
import { Turns } from "./turns.js";

const SPOKEN = ["llm", "tool", "action", "error"];
// Milliseconds for which a turn is visible before it is fetched, so that turns scrolled past are not.
const PAUSE = 100;

// With more turns than this, some are far outside the window, and have no content yet.
const IN_SIGHT = 8;
const HINT = "The browser's search finds only what was scrolled to: ";

export class Chat {
  constructor(page) {
    this.page = page;
    this.agent = "";
    this.choice = make("select", {
      "aria-label": "Agent",
      onchange: () => {
        this.agent = this.choice.value;
        this.changed(true);
      },
    });
    this.note = make("span", { class: "faint" });
    this.hint = make("span", { class: "hint", hidden: true }, HINT, this._toFilter());
    this.scroll = make("div", { class: "scroll talk", tabindex: 0, role: "region", "aria-label": "Conversation" });
    // Visible turns, and the controllers of their requests.
    this.asking = new WeakMap();
    this.pending = new Set();
    this.seer = new IntersectionObserver((seen) => seen.forEach((each) => this._seen(each)), {
      root: this.scroll,
      rootMargin: "600px",
    });
    this.turns = new Turns(this.scroll, {
      draw: (at) => this._draw(at),
      drop: (turn) => this._drop(turn),
      moved: () => this._moved(),
    });
    this.scroll.append(this.turns.box);
    // The selected turn is kept in sight while turns above it load, until the reader scrolls.
    this.sought = null;
    for (const type of ["wheel", "touchmove", "pointerdown", "keydown"])
      this.scroll.addEventListener(type, () => (this.sought = null), { passive: true });
    this.element = make(
      "div",
      { class: "pane" },
      make("div", { class: "bar" }, this.choice, this.hint, this.note),
      this.scroll,
    );
  }

  /** Return a button that leads to the field of the page that filters all turns. */
  _toFilter() {
    const lead = { type: "button", class: "link", onclick: () => this.page.field.focus() };
    return make("button", lead, "search all of it with the filter ( / )");
  }

  changed(isReset = false) {
    const { run } = this.page;
    const agents = run.agents.map((name, index) =>
      make("option", { value: String(index), selected: this.agent === String(index) }, name),
    );
    this.choice.replaceChildren(make("option", { value: "" }, "all agents"), ...agents);
    this.choice.hidden = run.agents.length < 2;
    const { kinds, text, fresh, showsRepeats, isSearched, exempt } = this.page;
    // New matches are added to the turns that are already shown.
    const key = [this.agent, [...kinds], text, showsRepeats, isSearched || fresh?.size, exempt].join();
    const spoken = [...run.order].filter((at) => SPOKEN.includes(run.kindOf(at)));
    // A turn keeps its number, whatever the filter hides.
    this.numbers = new Map(spoken.map((at, index) => [at, index + 1]));
    const shown = spoken.filter(
      (at) => this.page.matches(at) && (this.agent === "" || run.agent[at] === Number(this.agent)),
    );
    const isOther = (at) => !SPOKEN.includes(run.kindOf(at)) && this.page.matches(at);
    this.others = this.page.filtered ? [...run.order].filter(isOther).length : 0;
    const isRedrawn = isReset || key !== this._key;
    this._key = key;
    // When the filter is cleared, the turn in sight stays in sight.
    this.turns.stayed = null;
    this.turns.take(shown, isRedrawn, !this.page.filtered && !this.agent);
    this.sought = this.turns.stayed ?? this.sought;
    this._renew();
    if (!shown.length) this._empty();
    else if (isRedrawn && this.page.selected) this.selected(this.page.selected);
  }

  _empty() {
    if (this.page.complete) this.turns.box.classList.remove("coming");
    const text = !this.page.isSearched
      ? "Searching the content …"
      : this.page.filtered
        ? "No call matches the filter"
        : "No LLM calls, tool calls or actions";
    this.turns.box.replaceChildren(make("p", { class: "empty" }, text));
  }

  /** Update the heads of turns: in a running session, events are inserted and calls end. */
  _renew() {
    const { run } = this.page;
    for (const [at, turn] of this.turns.elements) {
      const number = turn.querySelector(".number"),
        text = this._numberOf(at);
      if (number.textContent !== text) number.textContent = text;
      if (!turn.hasAttribute("data-open") || run.took[at] < 0) continue;
      turn.removeAttribute("data-open");
      patch(turn.querySelector(":scope > header"), this._head(at));
      // Its answer is fetched, if it is in sight.
      this.seer.unobserve(turn);
      this.seer.observe(turn);
    }
  }

  /** Mark the selected turn; show the number of turns, and which are loaded if not all are. */
  _moved() {
    const { all, first, end, elements } = this.turns,
      selected = this.page.run.find(this.page.selected);
    for (const [at, turn] of elements) turn.classList.toggle("current", at === selected);
    const part = end - first < all.length ? [all[first], all[end - 1]].map((at) => count(this.numbers.get(at))) : null;
    const searching = this.page.isSearched ? "" : " so far, searching …",
      loaded = part ? `, ${part.join(" to ")} loaded` : "";
    const others = this.others
      ? `; ${many(this.others, "other event")} ${this.others === 1 ? "matches" : "match"}`
      : "";
    this.note.textContent = `${many(all.length, "turn")}${searching}${loaded}${others}`;
    this.hint.hidden = all.length <= IN_SIGHT;
  }

  _numberOf(at) {
    return `turn ${count(this.numbers.get(at))}`;
  }

  /** Show the newest turn. */
  toEnd() {
    this.turns.toEnd();
  }

  /** Keep the reading position while another view is shown. */
  left() {
    this.sight = this.turns.inSight();
  }

  returned() {
    this.turns.restore(this.sight);
  }

  selected(seq) {
    const turn = this.turns.reach(this.turns.all.indexOf(this.page.run.find(seq)));
    this.turns.box.querySelector(".current")?.classList.remove("current");
    if (!turn) return;
    this.turns.isAtEnd = false;
    turn.classList.add("current");
    this._scrollTo(turn);
    this.sought = turn;
  }

  /** Scroll until a turn is in sight; one that is longer than the window, at the words of the filter. */
  _scrollTo(turn) {
    turn.scrollIntoView({ block: "nearest" });
    if (this.page.text) scrollToHit(turn, asPrefix(this.page.text), this.scroll);
  }

  move(key) {
    const { scroll } = this,
      page = scroll.clientHeight * 0.9;
    if (key === "Home" && this.turns.first) this.turns.begin(0);
    this.turns.isAtEnd = false;
    if (key === "End") this.turns.toEnd();
    else scroll.scrollTop = { Home: 0, PageUp: scroll.scrollTop - page, PageDown: scroll.scrollTop + page }[key];
    return true;
  }

  _draw(at) {
    const { run } = this.page,
      seq = run.seq[at];
    const turn = make(
      "article",
      { class: `turn ${run.kindOf(at)}`, "data-id": seq, "data-open": run.took[at] < 0 },
      this.page.above?.(at, this.turns.all),
      this._head(at),
      make("div", { class: "body faint" }, "…"),
    );
    this.seer.observe(turn);
    return turn;
  }

  _drop(turn) {
    this.seer.unobserve(turn);
    this.asking.get(turn)?.abort();
  }

  _seen({ target, isIntersecting }) {
    this.asking.get(target)?.abort();
    if (!isIntersecting) return;
    const asking = new AbortController(),
      { signal } = asking;
    this.asking.set(target, asking);
    this.pending.add(target);
    signal.addEventListener("abort", () => this._settle(target));
    setTimeout(() => signal.aborted || this._fetch(target, signal).then(() => this._settle(target)), PAUSE);
  }

  /** Show the turns once all visible ones are loaded: a later one would move those below it. */
  _settle(turn) {
    this.pending.delete(turn);
    if (this.pending.size) return;
    this.turns.box.classList.remove("coming");
    // Turns above the selected one have grown, and moved it.
    if (this.sought) this._scrollTo(this.sought);
    if (!this.sought?.querySelector(":scope > .body.faint")) this.sought = null;
  }

  _head(at) {
    const { run } = this.page,
      kind = run.kindOf(at);
    const facts = [
      run.agentOf(at),
      run.took[at] < 0
        ? this.page.isUnderWay(at)
          ? ["running for ", took(this.page, at)]
          : "did not finish"
        : duration(run.took[at] / 1e6),
      `at ${run.begins(at)}`,
      run.tokens[at] ? `${count(run.tokens[at])} tokens` : "",
      run.costOf(at),
    ];
    return make(
      "header",
      {},
      make("span", { class: `kind ${kind}` }, run.titleOf(at)),
      run.failed[at] ? make("span", { class: "failed" }, "failed") : null,
      make("span", { class: "number" }, this._numberOf(at)),
      ...facts.filter(Boolean).map((fact) => make("span", { class: "own" }, fact)),
      make(
        "button",
        {
          type: "button",
          class: "quiet small",
          onclick: () => this.page.select(run.seq[at], { from: "chat", isStep: true }),
        },
        "Details",
      ),
    );
  }

  async _fetch(turn, signal) {
    const body = turn.querySelector(".body");
    try {
      const { run } = this.page,
        at = run.find(Number(turn.dataset.id));
      const both = [at, run.failed[at] ? run.errorIn(at) : -1];
      const [event, error] = await Promise.all(
        both.map((each) => (each < 0 ? null : ask(run.addressOf(each), {}, { signal }))),
      );
      if (signal.aborted) return;
      this.seer.unobserve(turn);
      body.classList.remove("faint");
      body.replaceChildren(...content(event, error));
      this._reveal(turn);
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(error.message);
    }
  }

  /** Open what hides the words of the filter in a turn, or say that they are in what only its details show. */
  _reveal(turn) {
    const { text, exempt } = this.page,
      seq = Number(turn.dataset.id);
    if (!text || reveal(turn, asPrefix(text)) || seq === exempt || turn.querySelector(".elsewhere")) return;
    turn.querySelector(".number").after(make("span", { class: "elsewhere" }, "found in what is not shown here"));
  }
}
