// LLM calls as a conversation, with tool calls, actions and errors between them.
// The content of a turn is fetched when it becomes visible.

import { ask, make } from "./base.js";
import { content } from "./content.js";
import { count, duration, many } from "./formats.js";
import { took } from "./previews.js";

const SPOKEN = ["llm", "tool", "action", "error"];
const PAGE = 40;
// Turns that are kept in the page; those above are released.
const MOST = 400;
// Milliseconds for which a turn is visible before it is fetched, so that turns scrolled past are not.
const PAUSE = 100;

export class Chat {
  constructor(page) {
    this.page = page;
    this.agent = "";
    // Seq → the element of a turn.
    this.drawnTurns = new Map();
    this.choice = make("select", {
      "aria-label": "Agent",
      onchange: () => {
        this.agent = this.choice.value;
        this.changed(true);
      },
    });
    this.note = make("span", { class: "faint" });
    this.turns = make("div", { class: "chat coming" });
    this.end = make("div");
    this.earlier = make("button", { type: "button", class: "quiet", hidden: true, onclick: () => this._earlier() });
    this.scroll = make(
      "div",
      { class: "scroll talk", tabindex: 0, role: "region", "aria-label": "Conversation" },
      this.earlier,
      this.turns,
      this.end,
    );
    this.element = make("div", { class: "pane" }, make("div", { class: "bar" }, this.choice, this.note), this.scroll);
    // Visible turns, and the controllers of their requests.
    this.asking = new WeakMap();
    this.pending = new Set();
    this.seer = new IntersectionObserver((seen) => seen.forEach((each) => this._seen(each)), {
      root: this.scroll,
      rootMargin: "600px",
    });
    // Draws more when the end comes near, and releases turns far above it.
    this.foot = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && this._follow(), {
      root: this.scroll,
      rootMargin: "800px",
    });
  }

  changed(isReset = false) {
    const { run } = this.page;
    const agents = run.agents.map((name, index) =>
      make("option", { value: String(index), selected: this.agent === String(index) }, name),
    );
    this.choice.replaceChildren(make("option", { value: "" }, "all agents"), ...agents);
    this.choice.hidden = run.agents.length < 2;
    const key = [this.agent, [...this.page.kinds], this.page.text, this.page.hits?.size, this.page.exempt].join();
    const spoken = [...run.order].filter((at) => SPOKEN.includes(run.kindOf(at)));
    // A turn keeps its number, whatever the filter hides.
    this.numbers = new Map(spoken.map((at, index) => [at, index + 1]));
    this.shown = spoken.filter(
      (at) => this.page.matches(at) && (this.agent === "" || run.agent[at] === Number(this.agent)),
    );
    // Of a run that goes on, an event of another agent may come between.
    for (const [seq, turn] of this.drawnTurns)
      turn.querySelector(".number").textContent = this._numberOf(run.find(seq));
    this.note.textContent = many(this.shown.length, "turn");
    const isRedrawn = isReset || key !== this._key;
    if (isRedrawn) {
      this._key = key;
      this._begin(0);
    }
    if (!this.shown.length) {
      if (this.page.complete) this.turns.classList.remove("coming");
      this.turns.replaceChildren(
        make(
          "p",
          { class: "empty" },
          this.page.filtered ? "No call matches the filter" : "No LLM calls, tool calls or actions",
        ),
      );
      return;
    }
    if (!this.drawn) this.turns.replaceChildren();
    if (this.drawn === this.first) this._more();
    if (isRedrawn && this.page.selected) this.selected(this.page.selected);
    this._watchEnd();
  }

  _numberOf(at) {
    return `turn ${count(this.numbers.get(at))}`;
  }

  /** Show the newest turn. */
  toEnd() {
    if (this.shown && this.drawn < this.shown.length - PAGE) this._begin(this.shown.length - PAGE);
    while (this.shown && this.drawn < this.shown.length) this._more();
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  /** Ask the observer again whether the end is near: it only speaks when that changes. */
  _watchEnd() {
    this.foot.disconnect();
    if (this.drawn < this.shown.length) this.foot.observe(this.end);
  }

  _follow() {
    this._more();
    this._release();
    this._watchEnd();
  }

  /** Remove the first of many turns, out of sight above: they can be had back, and a long run would fill the memory. */
  _release() {
    const { scroll } = this;
    while (this.drawn - this.first > MOST && this.turns.children.length > PAGE) {
      const gone = [...this.turns.children].slice(0, PAGE),
        stays = this.turns.children[PAGE];
      const before = stays.getBoundingClientRect().top;
      if (gone.at(-1).getBoundingClientRect().bottom > scroll.getBoundingClientRect().top) break;
      for (const turn of gone) {
        this.seer.unobserve(turn);
        this.drawnTurns.delete(Number(turn.dataset.seq));
        turn.remove();
      }
      this.first += gone.length;
      this._offer();
      scroll.scrollTop += stays.getBoundingClientRect().top - before;
    }
  }

  selected(seq) {
    const index = (this.shown || []).indexOf(this.page.run.find(seq));
    if (index >= 0 && (index < this.first || index > this.drawn + PAGE)) this._begin(index);
    if (index >= this.drawn) this._more(index);
    this.turns.querySelector(".current")?.classList.remove("current");
    const turn = this.drawnTurns.get(seq);
    if (!turn) return;
    turn.classList.add("current");
    turn.scrollIntoView({ block: "nearest" });
  }

  move(key) {
    const { scroll } = this,
      page = scroll.clientHeight * 0.9;
    if (key === "Home" && this.first) this._begin(0);
    if (key === "End" && this.drawn < this.shown.length) this._begin(this.shown.length - PAGE);
    this._more();
    scroll.scrollTop = {
      Home: 0,
      End: scroll.scrollHeight,
      PageUp: scroll.scrollTop - page,
      PageDown: scroll.scrollTop + page,
    }[key];
    return true;
  }

  /** Draw turns from this one on: a turn far down does not wait for all turns above it. */
  _begin(first) {
    this.first = this.drawn = first;
    this.turns.replaceChildren();
    this.drawnTurns.clear();
    this.seer.disconnect();
    this._offer();
    if (first) this._more();
  }

  _offer() {
    this.earlier.hidden = !this.first;
    this.earlier.textContent = `${many(this.first, "earlier turn")}`;
  }

  _earlier() {
    const to = this.first,
      top = this.turns.firstChild,
      place = top.getBoundingClientRect().top;
    this.first = Math.max(0, to - PAGE);
    this.turns.prepend(...this.shown.slice(this.first, to).map((at) => this._drawTurn(at)));
    this._offer();
    this.scroll.scrollTop += top.getBoundingClientRect().top - place;
  }

  _more(upTo = 0) {
    if (!this.shown) return;
    const to = Math.min(this.shown.length, Math.max(upTo + 1, this.drawn + PAGE));
    for (; this.drawn < to; this.drawn += 1) {
      const at = this.shown[this.drawn];
      if (!this.drawnTurns.has(this.page.run.seq[at])) this.turns.append(this._drawTurn(at));
    }
  }

  _drawTurn(at) {
    const seq = this.page.run.seq[at],
      turn = this._turn(at, seq);
    this.drawnTurns.set(seq, turn);
    this.seer.observe(turn);
    return turn;
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

  /** Show the turns once those in sight are there: each that came later would move those below. */
  _settle(turn) {
    this.pending.delete(turn);
    if (!this.pending.size) this.turns.classList.remove("coming");
  }

  _turn(at, seq) {
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
      "article",
      { class: `turn ${kind}`, "data-seq": seq },
      make(
        "header",
        {},
        make("span", { class: `kind ${kind}` }, run.nameOf(at) || kind),
        run.failed[at] ? make("span", { class: "failed" }, "failed") : null,
        make("span", { class: "number" }, this._numberOf(at)),
        ...facts.filter(Boolean).map((fact) => make("span", {}, fact)),
        make(
          "button",
          { type: "button", class: "quiet small", onclick: () => this.page.select(seq, { from: "chat" }) },
          "Details",
        ),
      ),
      make("div", { class: "body faint" }, "…"),
    );
  }

  async _fetch(turn, signal) {
    const body = turn.querySelector(".body");
    try {
      const event = await ask(`sessions/${this.page.run.id}/events/${turn.dataset.seq}`, {}, { signal });
      if (signal.aborted) return;
      this.seer.unobserve(turn);
      body.classList.remove("faint");
      body.replaceChildren(...content(event));
      if (this.page.follows) this.scroll.scrollTop = this.scroll.scrollHeight;
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(error.message);
    }
  }
}
