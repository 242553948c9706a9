// Scores and notes of a session and of its events: what was given, and a form to give more.

import { ask, make } from "./base.js";
import { isReport } from "./clock.js";
import { stamp } from "./times.js";

// Of the session. Made once: the page is drawn again while somebody writes.
let own = null;

/** Return the fold of a session's page with its scores. */
export function scores(one) {
  if (isReport && !one.scores?.length && !one.notes?.length) return null;
  if (!own) {
    own = new Judged(one.session_id);
    own.box = make(
      "details",
      { id: "scores" },
      own.head,
      make("div", { class: "inside" }, own.list, isReport ? null : own.form()),
    );
  }
  own.draw(one);
  return own.box;
}

/** Return the scores of one event, for its details; they are read later. A report has only those of the session. */
export function scoresOfEvent(session, event) {
  if (isReport) return null;
  const judged = new Judged(session, event);
  judged.head.textContent = "Add a score or a note";
  judged.read();
  return make("div", { class: "judged" }, judged.list, make("details", {}, judged.head, judged.form()));
}

const shown = ({ value }) => (value === null ? "none" : String(value));

const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** The scores and notes of a session, or of one of its events. */
class Judged {
  constructor(session, event = null) {
    Object.assign(this, { session, event, known: { scores: [], notes: [] } });
    this.list = make("div");
    this.head = make("summary", {}, "Scores and notes");
    this.problem = make("p", { role: "alert", class: "failed" });
  }

  /** Show what was given; of a session that of its events, too. */
  draw({ scores: given, notes }) {
    const isOwn = (each) => !this.event || each.event === this.event;
    this.known = { scores: (given || []).filter(isOwn), notes: (notes || []).filter(isOwn) };
    const counting = this.known.scores.filter((each) => each.counts);
    if (!this.event)
      this.head.textContent = counting.length
        ? `Scores and notes: ${counting.map((each) => `${each.name} ${shown(each)}`).join(", ")}`
        : "Scores and notes";
    this.list.replaceChildren(...[...this.known.scores, ...this.known.notes].map((each) => this._line(each)));
  }

  async read() {
    try {
      this.draw(await ask(`sessions/${this.session}/scores`));
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }

  _line(each) {
    return make(
      "p",
      { class: each.counts === false ? "faint" : undefined },
      make("strong", {}, each.name ? `${each.name} ${shown(each)}` : "Note"),
      ` by ${each.by}, ${stamp(each.given)}`,
      each.event && !this.event ? " on an event" : "",
      each.counts === false ? ", no longer counts" : "",
      each.comment || each.text ? make("span", {}, `: ${words(each.comment ?? each.text)}`) : null,
    );
  }

  form() {
    const field = (name, label, placeholder) => make("label", {}, label, make("input", { name, placeholder }));
    const fields = make(
      "form",
      {
        class: "scores",
        onsubmit: async (event) => {
          event.preventDefault();
          const { name, value, comment } = Object.fromEntries(new FormData(fields));
          if (await this._give(name.trim(), valueOf(value), comment)) fields.reset();
        },
      },
      field("name", "Score", "such as correct"),
      field("value", "Value", "0.8, true, good; empty: none"),
      field("comment", "Comment", "without a score, a note"),
      make("button", {}, "Add"),
      this.event ? null : make("button", { type: "button", onclick: () => this._star() }, "Star"),
    );
    return [fields, this.problem];
  }

  _counts(name) {
    return this.known.scores.find((each) => each.counts && each.name === name && (each.event || null) === this.event);
  }

  _star() {
    return this._send({ name: "star", value: this._counts("star")?.value === true ? null : true });
  }

  async _give(name, value, comment) {
    if (!name) return this._send({ note: comment });
    if (value === null && !this._counts(name)) {
      this.problem.textContent = `Enter a value: there is no score ${name} to take back.`;
      return false;
    }
    return this._send({ name, value, comment: comment || undefined });
  }

  async _send(given) {
    this.problem.textContent = "";
    const body = JSON.stringify(this.event ? { ...given, event: this.event } : given);
    const headers = { "Content-Type": "application/json" };
    try {
      await ask(`sessions/${this.session}/scores`, {}, { method: "POST", headers, body });
    } catch (error) {
      this.problem.textContent = error.message;
      return false;
    }
    await this.read();
    if (own && own !== this) own.read();
    return true;
  }
}

/** The value of an input: true, false, a number, else a category; an empty one withdraws an earlier score. */
function valueOf(text) {
  const clean = text.trim();
  if (clean === "") return null;
  if (clean.toLowerCase() === "true" || clean.toLowerCase() === "false") return clean.toLowerCase() === "true";
  const number = Number(clean);
  return Number.isFinite(number) ? number : clean;
}
