// The filters of the page of calls: those of calls, and those of the sessions that they are in.

import { ask, byId, make, notice } from "./base.js";
import { count } from "./formats.js";
import { keyed, patchChildren } from "./keyed.js";
import { FACETS, isFilter, OTHERS, words } from "./query.js";
import { day, midnight } from "./times.js";

// Filters that take several values, with a menu of the values that there are.
const MENUS = { model: "Model", tool: "Tool", error: "Error" };
const KINDS = { llm: "LLM calls", tool: "Tool calls" };
const STATES = ["Running", "Success", "Failure", "Indeterminate", "Unknown"];
// Filters of sessions that are typed.
const TYPED = {
  tag: "Tag",
  agent: "Agent",
  user: "User",
  conversation: "Conversation",
  name: "Name of the session",
  host: "Host",
  meta: "Metadata, as NAME=VALUE",
  score: "Score, as NAME<0.5",
  text: "Words in the session",
  project: "Project",
};
const BOUNDS = {
  min_cost: "Session costs at least $",
  max_cost: "Session costs at most $",
  min_seconds: "Session took at least, seconds",
  max_seconds: "Session took at most, seconds",
};
// As on the command line and on the other pages: so long before now.
const AGES = { "Last 24 hours": "24h", "Last 7 days": "7d", "Last 30 days": "30d" };
// Filters of calls alone; the others are those of sessions.
const OWN = {
  kind: "Kind",
  error: "Error",
  argument: "Arguments",
  failed: "Failed",
  same: "The same call",
  prompt: "The same prompt",
  session: "One session",
};
// Their values say nothing to a reader.
const BARE = new Set(["failed", "same", "prompt", "session"]);
const LISTED = 30;
const SESSIONS = [...Object.keys(FACETS), ...Object.keys(OTHERS)]
  .filter((name) => !Object.hasOwn(MENUS, name) && name !== "since" && name !== "until")
  .flatMap((name) => [name, `not_${name}`]);

export const paramsNow = () => new URLSearchParams(location.search);

const isOne = (name) => Object.hasOwn(OWN, name) || isFilter(name);

/** Return whether the address names a filter. */
export const isFiltered = () => [...paramsNow().keys()].some(isOne);

/** Return whether a click on a value asks for the calls without it, as on the other pages. */
const asksWithout = (event) => event.shiftKey || event.altKey;

export class Filters {
  /** `go` is called with the parameters of the address that a choice leads to. */
  constructor(go) {
    this.go = go;
    this.form = byId("filters");
    this.typing = 0;
    this.search = make("input", {
      type: "search",
      name: "argument",
      placeholder: "Text in arguments  ( / )",
      "aria-label": "Text in the arguments of tools",
      oninput: () => this._type(),
      // Some browsers report Esc and the clear button as "search", not "input".
      onsearch: () => this._type(),
    });
    this.kind = this._menu("Kind", () => this._drawKinds());
    this.menus = Object.entries(MENUS).map(([name, label]) => [
      name,
      this._menu(label, (menu) => this._ask(name, menu)),
    ]);
    this.failed = make(
      "button",
      { type: "button", "aria-pressed": "false", class: "toggle", onclick: () => this._flip("failed", "1") },
      "Failed only",
    );
    this.when = this._menu("When", () => this._drawWhen());
    this.sessions = this._menu("Sessions", () => this._drawSessions());
    this.form.append(
      this.search,
      this.kind.element,
      ...this.menus.map(([, menu]) => menu.element),
      this.failed,
      this.when.element,
      this.sessions.element,
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._seek();
    });
    addEventListener("click", (event) => this._close((open) => !open.contains(event.target)));
    addEventListener("keydown", (event) => this._escape(event));
  }

  /** Show what the address names. */
  draw() {
    const params = paramsNow();
    if (document.activeElement !== this.search) this.search.value = params.get("argument") || "";
    this.failed.setAttribute("aria-pressed", String(params.has("failed")));
    const mark = (menu, names) =>
      menu.element.classList.toggle(
        "chosen",
        names.some((name) => params.has(name)),
      );
    mark(this.kind, ["kind"]);
    this.menus.forEach(([name, menu]) => mark(menu, [name, `not_${name}`]));
    mark(this.when, ["since", "until"]);
    mark(this.sessions, SESSIONS);
    this._drawChosen(params);
  }

  _drawChosen(params) {
    const chips = [...params]
      .filter(([name]) => isOne(name))
      .map(([name, value]) =>
        make(
          "button",
          {
            type: "button",
            class: "chip",
            "data-key": `${name} ${value}`,
            onclick: () => this._without(name, value),
            "aria-label": `Remove the filter ${shown(name, value)}`,
          },
          `${shown(name, value)} ×`,
        ),
      );
    const all = make("button", { type: "button", class: "quiet small", onclick: () => this._clear() }, "Clear all");
    patchChildren(byId("chosen"), chips.length > 1 ? [...chips, all] : chips);
  }

  // The address

  _change(change) {
    const params = paramsNow();
    params.delete("after");
    change(params);
    this.go(params);
  }

  _set(values) {
    this._change((params) =>
      Object.entries(values).forEach(([name, value]) => (value ? params.set(name, value) : params.delete(name))),
    );
  }

  _flip(name, value) {
    const opposite = name.startsWith("not_") ? name.slice(4) : `not_${name}`;
    this._change((params) => {
      params.delete(opposite, value);
      if (params.has(name, value)) params.delete(name, value);
      else params.append(name, value);
    });
  }

  _without(name, value) {
    this._change((params) => params.delete(name, value));
  }

  _clear() {
    this._change((params) => [...params.keys()].filter(isOne).forEach((name) => params.delete(name)));
  }

  _type() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this._seek(), 250);
  }

  _seek() {
    clearTimeout(this.typing);
    const text = this.search.value.trim();
    if (text !== (paramsNow().get("argument") || "")) this._set({ argument: text });
  }

  // Menus

  _menu(label, fill) {
    const box = make("div", {});
    const summary = make("summary", {}, label);
    const menu = { element: make("details", { class: "menu" }, summary, box), box };
    // Before it opens, so that Tab leads into it at once; a key that opens it is a click, too.
    summary.addEventListener("click", () => {
      if (menu.element.open) return;
      this._close(() => true);
      fill(menu);
    });
    return menu;
  }

  _close(which) {
    this.form.querySelectorAll(".menu[open]").forEach((open) => which(open) && (open.open = false));
  }

  _escape(event) {
    const open = event.key === "Escape" && this.form.querySelector(".menu[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  }

  _choice(label, amount, on, run) {
    const press = (event) => {
      run(event);
      this._redraw();
    };
    return make(
      "button",
      { type: "button", class: "choice", "data-id": label, "aria-pressed": String(on), onclick: press },
      make("span", {}, label),
      amount === null ? "" : make("span", { class: "faint num" }, count(amount)),
    );
  }

  /** Show a choice in the menu that is open. */
  _redraw() {
    const params = paramsNow();
    const chosen = (name, value) => String(params.has(name, value));
    for (const [name, menu] of [["kind", this.kind], ...this.menus, ["state", this.sessions]])
      menu.box.querySelectorAll("[data-value]").forEach((button) => {
        button.setAttribute("aria-pressed", chosen(name, button.dataset.value));
      });
  }

  _valued(name, label, value, amount) {
    const flip = (event) => {
      if (name === "kind") this._set({ kind: paramsNow().has(name, value) ? "" : value });
      else this._flip(asksWithout(event) ? `not_${name}` : name, value);
    };
    const button = this._choice(label, amount, paramsNow().has(name, value), flip);
    if (name !== "kind") button.title = `Shift and click: without ${value}`;
    button.dataset.value = value;
    return button;
  }

  _drawKinds() {
    keyed(
      this.kind.box,
      Object.entries(KINDS).map(([value, label]) => this._valued("kind", label, value, null)),
    );
  }

  /** Fill a menu with the values that there are under the other filters, the most frequent first. */
  async _ask(name, menu) {
    const params = paramsNow();
    [name, "order", "after"].forEach((each) => params.delete(each));
    Object.entries({ by: name, sort: "calls", limit: LISTED }).forEach(([key, value]) => params.set(key, value));
    const own = paramsNow().getAll(name);
    let reply;
    try {
      reply = await ask(`calls/groups?${params}`);
    } catch (error) {
      menu.box.replaceChildren(notice(error.message, "problem"));
      return;
    }
    const { lines, more } = reply;
    const named = lines.filter((line) => line[name]);
    const rest = own.filter((value) => !named.some((line) => line[name] === value));
    keyed(menu.box, [
      ...rest.map((value) => this._valued(name, value, value, null)),
      ...named.map((line) => this._valued(name, line[name], line[name], line.calls)),
      ...(more ? [this._field(`Another ${MENUS[name].toLowerCase()}`, (text) => this._flip(name, text))] : []),
      ...(named.length || rest.length ? [] : [make("p", { class: "faint", "data-id": " none" }, "None here")]),
    ]);
  }

  _field(label, take, value = "", facts = {}) {
    const input = make("input", {
      type: "text",
      value,
      onchange: () => take(input.value.trim()),
      ...facts,
    });
    return make("label", { "data-id": label }, label, input);
  }

  _drawWhen() {
    const params = paramsNow();
    const date = (name, label) =>
      this._field(label, (text) => this._set({ [name]: midnight(text) }), day(params.get(name)), { type: "date" });
    keyed(this.when.box, [
      make("p", { class: "faint small", "data-id": " note" }, "When the session started"),
      ...Object.entries(AGES).map(([label, since]) =>
        this._choice(label, null, params.get("since") === since && !params.has("until"), () =>
          this._set({ since, until: "" }),
        ),
      ),
      date("since", "From"),
      date("until", "Before"),
    ]);
  }

  _drawSessions() {
    const params = paramsNow();
    const fields = (names, facts) =>
      Object.entries(names).map(([name, label]) =>
        this._field(label, (text) => this._set({ [name]: text }), params.get(name) || "", facts),
      );
    const errors = this._choice("With errors", null, params.has("errors"), () => this._flip("errors", "1"));
    keyed(this.sessions.box, [
      ...STATES.map((state) => this._valued("state", state, state, null)),
      errors,
      ...fields(TYPED, {}),
      ...fields(BOUNDS, { type: "number", min: 0, step: "any" }),
    ]);
  }
}

/** Return a filter as a person reads it. */
function shown(name, value) {
  if (!Object.hasOwn(OWN, name)) return name === "not_error" ? `not Error: ${value}` : words(name, value);
  if (BARE.has(name)) return OWN[name];
  return `${OWN[name]}: ${name === "kind" ? KINDS[value] || value : value}`;
}
