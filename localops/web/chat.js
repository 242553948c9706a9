// The LLM calls as a conversation, with the tool calls and errors between them.
// Bodies are fetched as they come into sight.

import { ask, make } from "./base.js";
import { count, duration, many, money } from "./formats.js";
import { isConversation, message, shown, unpacked } from "./values.js";

const SPOKEN = ["llm", "tool", "error"];
const PAGE = 40;
const PAUSE = 100; // milliseconds in sight after which a turn is fetched: not those that are only scrolled past

export class Chat {
  constructor(page) {
    this.page = page;
    this.agent = "";
    this.told = new Map(); // seq to the element of a turn
    this.choice = make("select", {
      "aria-label": "Agent",
      onchange: () => {
        this.agent = this.choice.value;
        this.changed(true);
      },
    });
    this.note = make("span", { class: "faint" });
    this.turns = make("div", { class: "chat" });
    this.end = make("div");
    this.earlier = make("button", { type: "button", class: "quiet", hidden: true, onclick: () => this._earlier() });
    this.scroll = make(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Conversation" },
      this.earlier,
      this.turns,
      this.end,
    );
    this.element = make("div", { class: "pane" }, make("div", { class: "bar" }, this.choice, this.note), this.scroll);
    this.asking = new WeakMap(); // turns in sight, and how to stop asking for them
    this.seer = new IntersectionObserver((seen) => seen.forEach((each) => this._seen(each)), {
      root: this.scroll,
      rootMargin: "600px",
    });
    new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && this._more(), {
      root: this.scroll,
      rootMargin: "800px",
    }).observe(this.end);
  }

  changed(anew = false) {
    const { run } = this.page;
    const agents = run.agents.map((name, index) =>
      make("option", { value: String(index), selected: this.agent === String(index) }, name),
    );
    this.choice.replaceChildren(make("option", { value: "" }, "all agents"), ...agents);
    this.choice.hidden = run.agents.length < 2;
    const key = [this.agent, [...this.page.kinds], this.page.text, this.page.hits?.size].join();
    this.shown = [...run.order].filter(
      (at) =>
        SPOKEN.includes(run.kindOf(at)) &&
        this.page.matches(at) &&
        (this.agent === "" || run.agent[at] === Number(this.agent)),
    );
    this.note.textContent = many(this.shown.length, "turn");
    if (anew || key !== this._key) {
      this._key = key;
      this._begin(0);
    }
    if (!this.shown.length) {
      this.turns.replaceChildren(
        make(
          "p",
          { class: "empty" },
          this.page.filtered ? "No call is like that" : "Nothing was said here: no LLM or tool calls",
        ),
      );
      return;
    }
    if (!this.drawn) this.turns.replaceChildren();
    this._more();
  }

  selected(seq) {
    const index = (this.shown || []).indexOf(this.page.run.find(seq));
    if (index >= 0 && (index < this.first || index > this.drawn + PAGE)) this._begin(index);
    if (index >= this.drawn) this._more(index);
    this.turns.querySelector(".current")?.classList.remove("current");
    const turn = this.told.get(seq);
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

  /** Turns are drawn from this one on: what is far down need not wait for all that is above it. */
  _begin(first) {
    this.first = this.drawn = first;
    this.turns.replaceChildren();
    this.told.clear();
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
    this.turns.prepend(...this.shown.slice(this.first, to).map((at) => this._made(at)));
    this._offer();
    this.scroll.scrollTop += top.getBoundingClientRect().top - place;
  }

  _more(upTo = 0) {
    if (!this.shown) return;
    const to = Math.min(this.shown.length, Math.max(upTo + 1, this.drawn + PAGE));
    for (; this.drawn < to; this.drawn += 1) {
      const at = this.shown[this.drawn];
      if (!this.told.has(this.page.run.seq[at])) this.turns.append(this._made(at));
    }
  }

  _made(at) {
    const seq = this.page.run.seq[at],
      turn = this._turn(at, seq);
    this.told.set(seq, turn);
    this.seer.observe(turn);
    return turn;
  }

  _seen({ target, isIntersecting }) {
    this.asking.get(target)?.abort();
    if (!isIntersecting) return;
    const asking = new AbortController(),
      { signal } = asking;
    this.asking.set(target, asking);
    setTimeout(() => signal.aborted || this._fetch(target, signal), PAUSE);
  }

  _turn(at, seq) {
    const { run } = this.page,
      kind = run.kindOf(at);
    const facts = [
      run.agentOf(at),
      run.took[at] < 0 ? (this.page.running ? "running" : "did not finish") : duration(run.took[at] / 1e6),
      run.tokens[at] ? `${count(run.tokens[at])} tokens` : "",
      run.cost[at] > 0 ? money(run.cost[at]) : "",
    ];
    return make(
      "article",
      { class: `turn ${kind}`, "data-seq": seq },
      make(
        "header",
        {},
        make("span", { class: `kind ${kind}` }, run.nameOf(at) || kind),
        run.failed[at] ? make("span", { class: "failed" }, "failed") : null,
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
      body.replaceChildren(...said(event));
    } catch (error) {
      if (!signal.aborted) body.replaceChildren(error.message);
    }
  }
}

/** What an event says: the last message of a prompt and the answer; what came before it on request. */
function said(event) {
  const parts = [],
    labelled = (label, value) =>
      parts.push(make("div", { class: "message" }, make("div", { class: "role" }, label), shown(value)));
  const prompt = unpacked(event.prompt),
    completion = unpacked(event.completion);
  if (Array.isArray(prompt) && isConversation(prompt)) {
    const earlier = prompt.slice(0, -1);
    if (earlier.length)
      parts.push(
        make(
          "details",
          {},
          make(
            "summary",
            { class: "faint" },
            earlier.length === 1 ? "1 earlier message" : `${earlier.length} earlier messages`,
          ),
          earlier.map(message),
        ),
      );
    parts.push(message(prompt.at(-1)));
  } else if (prompt !== undefined && prompt !== null) {
    if (isConversation(prompt)) parts.push(shown(prompt));
    else labelled("user", prompt);
  }
  if (completion !== undefined && completion !== null) {
    if (isConversation(completion)) parts.push(shown(completion));
    else
      parts.push(
        make("div", { class: "message assistant" }, make("div", { class: "role" }, "assistant"), shown(completion)),
      );
  }
  if (event.kind === "llm" && (event.error || event.message)) labelled("error", event.error || event.message);
  for (const [key, label] of event.kind === "llm"
    ? []
    : [
        ["params", "arguments"],
        ["input", "input"],
        ["returns", "result"],
        ["result", "result"],
        ["output", "output"],
        ["message", "error"],
        ["error", "error"],
        ["details", "error"],
      ]) {
    const value = unpacked(event[key]);
    if (value !== undefined && value !== null && value !== "") labelled(label, value);
  }
  return parts.length ? parts : [make("span", { class: "faint" }, "nothing noted")];
}
