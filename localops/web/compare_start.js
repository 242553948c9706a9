// The beginning of a comparison: two runs, each found by its name, its content or its id; or groups of runs.

import { ask, make, notice } from "./base.js";
import { duration } from "./formats.js";
import { keyed } from "./keyed.js";
import { choice, menu } from "./menus.js";
import { asPrefix } from "./query.js";
import { when } from "./times.js";
import { url } from "./url.js";

const LISTED = 30,
  TYPING = 200;

/** A menu in which one run is found; `chosen` is the run. */
class RunMenu {
  constructor(letter, chosen, changed) {
    Object.assign(this, menu(letter), { letter, chosen, changed, timer: 0, asking: null });
    this.element.classList.add("runs");
    this.input = make("input", {
      type: "search",
      placeholder: "Name, content or id",
      "aria-label": `Find run ${letter}`,
      oninput: () => this._seek(),
      onsearch: () => this._seek(),
      onkeydown: (event) => this._enter(event),
    });
    this.values = make("div", { class: "values", role: "group", "aria-label": `Run ${letter}` });
    this.note = make("p", { class: "faint small" });
    this.box.append(this.input, this.values, this.note);
    this.element.addEventListener("toggle", () => {
      if (!this.element.open) return;
      this.input.focus();
      this._load();
    });
    this._name();
  }

  _name() {
    const text = `${this.letter}: ${this.chosen ? label(this.chosen) : "choose a run"}`;
    this.summary.replaceChildren(make("span", {}, text));
  }

  _seek() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this._load(), TYPING);
  }

  async _enter(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    clearTimeout(this.timer);
    await this._load();
    this.values.querySelector("button")?.click();
  }

  async _load() {
    this.asking?.abort();
    this.asking = new AbortController();
    const typed = this.input.value.trim();
    const text = /[\p{L}\p{N}]/u.test(typed) ? asPrefix(typed) : "";
    // Runs of this name come before runs that only contain the word.
    const name = text
      ? `*${typed
          .split(/[\s*]+/)
          .filter(Boolean)
          .join("*")}*`
      : "";
    try {
      const replies = await Promise.all(
        (text ? [{ name }, { text }] : [{}]).map((query) =>
          ask("sessions", { limit: LISTED, ...query }, { signal: this.asking.signal }),
        ),
      );
      const all = new Map(replies.flatMap(({ sessions }) => sessions.map((one) => [one.session_id, one])));
      const isCut = replies.some((reply) => reply.next_before);
      this._draw([...all.values()].slice(0, LISTED), isCut);
    } catch (error) {
      if (error.name !== "AbortError") this.values.replaceChildren(notice(error.message, "faint"));
    }
  }

  _draw(sessions, isCut) {
    const entry = (one) => {
      const isOn = one.session_id === this.chosen?.session_id;
      return make(
        "div",
        { class: "entry", "data-id": one.session_id },
        choice(label(one), isOn, () => this._choose(one)),
      );
    };
    keyed(this.values, sessions.map(entry));
    this.note.textContent = !sessions.length
      ? "No matching run."
      : isCut
        ? "There are more: type a part of a name."
        : "";
  }

  _choose(one) {
    this.chosen = one;
    this._name();
    this.element.open = false;
    this.summary.focus();
    this.changed();
  }
}

const label = (one) => {
  const took = `${one.at_least ? "≥" : ""}${duration(one.seconds)}`;
  return `${one.name || "unnamed"} · ${one.state} · ${when(one.began).slice(0, 16)} · ${took}`;
};

/** Show the beginning; `known` are the ids of runs that are chosen already. */
export async function start(place, known) {
  const { sessions } = await ask("sessions", { limit: 2 });
  if (sessions.length < 2)
    return place.replaceChildren(
      notice(["Comparing needs two sessions. Record some with ", make("code", {}, "localops demo"), "."]),
    );
  const first = await Promise.all(known.map((id) => id && ask(`sessions/${encodeURIComponent(id)}`).catch(() => null)));
  const go = make("a", { class: "button main", id: "compare-them" }, "Compare");
  const same = make(
    "p",
    { class: "pending", role: "status", hidden: true },
    "A and B are the same run: choose another.",
  );
  const ready = () => {
    const [a, b] = runs.map((run) => run.chosen);
    const isReady = a && b && a.session_id !== b.session_id;
    for (const name of ["href", "aria-disabled"]) go.removeAttribute(name);
    if (isReady) go.href = url(`compare?a=${a.session_id}&b=${b.session_id}`);
    else go.ariaDisabled = "true";
    same.hidden = !a || !b || isReady;
  };
  // The newest one beside the one before it.
  const runs = ["A", "B"].map((letter, at) => new RunMenu(letter, first[at] || sessions[1 - at], ready));
  ready();
  return place.replaceChildren(
    make(
      "section",
      { class: "chart start" },
      make("h2", {}, "Two runs"),
      make(
        "div",
        { class: "bar" },
        runs.map((run) => run.element),
        go,
      ),
      same,
      make("p", { class: "faint small" }, "To compare more than two, tick them in the list of sessions."),
    ),
    make(
      "section",
      { class: "chart start" },
      make("h2", {}, "Two groups of runs"),
      make(
        "p",
        {},
        "Averages with confidence intervals: runs with one tag beside those with another, or any two filters.",
      ),
      make("p", {}, make("a", { class: "button", href: url("compare?group_a=&group_b=") }, "Choose groups")),
    ),
  );
}
