// The palette (Ctrl+K): go to a page, a session, a value of a filter or a saved view by typing a part of its name.

import { ask, byId, make } from "./base.js";
import { keyed } from "./keyed.js";
import { folded, mark, places, terms } from "./marks.js";
import { address, asPrefix, changed, FACETS, parsed } from "./query.js";
import { recent } from "./recent.js";
import { when } from "./times.js";
import { url } from "./url.js";

const PAUSE = 150;
// The most entries of each kind.
const MOST = 6;
const ID = /^[0-9a-f][0-9a-f-]{3,35}$/i;
// Characters of a passage before its first match: a row shows about 60.
const BEFORE = 16;
// The fewest hex digits of an id with which a search finds the session.
const NAMED = 8;
// An id among other words: of a session or an event, whole or its beginning as commands print it.
const ID_INSIDE = /(?<![0-9a-z])[0-9a-f]{8}-[0-9a-f]{4}(?:-[0-9a-f]{4}-[0-9a-f]{4}(?:-[0-9a-f]{12})?)?(?![0-9a-z])/i;
// Facets that the server counts only on request.
const LATE = ["host", "error"];

let asking = null;

/** Open the palette with a text in its field, unless it is open already. */
export function open(text = "") {
  if (byId("palette")) return;
  const list = make("div", { id: "palette-list", role: "listbox", "aria-label": "Results" });
  const input = make("input", {
    type: "text",
    role: "combobox",
    "aria-expanded": "true",
    "aria-controls": "palette-list",
    "aria-autocomplete": "list",
    "aria-label": "Go to",
    placeholder: "Go to a session, page, filter or view",
    autocomplete: "off",
    spellcheck: "false",
  });
  const dialog = make("dialog", { id: "palette", "aria-label": "Go to" }, input, list);
  const palette = new Palette(dialog, input, list);
  dialog.addEventListener("close", () => {
    mark(list, "");
    dialog.remove();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  // The browser keeps the focus inside, and restores it at the end.
  dialog.showModal();
  input.value = text;
  palette.show(text.trim());
}

class Palette {
  constructor(dialog, input, list) {
    Object.assign(this, { dialog, input, list, at: 0, timer: 0, views: null, options: [], passages: {} });
    input.addEventListener("input", () => this.show(input.value.trim()));
    dialog.addEventListener("keydown", (event) => this.press(event));
  }

  /** Show known entries at once, then those of the server. */
  async show(text) {
    this.at = 0;
    Object.assign(this, { text, passages: {} });
    mark(this.list, asPrefix(text));
    this.draw([...this.pages(text), ...this.sessionsOf(text), ...this.sections(text)]);
    clearTimeout(this.timer);
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    this.timer = setTimeout(() => this.ask(text, signal), PAUSE);
  }

  async ask(text, signal) {
    const isSearchable = /[\p{L}\p{N}]/u.test(text),
      [id] = ID_INSIDE.exec(text) || [];
    const sessions = (query) => ask("sessions", { text: query, limit: MOST }, { signal });
    try {
      this.views ??= (await ask("views", {}, { signal })).views;
      const [facets, page, known, named] = await Promise.all([
        text ? ask("facets", { like: text }, { signal }) : {},
        isSearchable ? sessions(asPrefix(text)) : null,
        id && id !== text ? sessions(id) : null,
        text ? this.named(text, signal) : [],
      ]);
      const matches = this.matches(page),
        byId = [...this.matches(known), ...matches.filter(({ to }) => isOf(to, text))],
        byName = this.matches({ sessions: named });
      const late = {};
      const draw = () =>
        this.draw([
          ...this.pages(text),
          ...this.viewsOf(text),
          ...byId,
          ...this.sections(text),
          ...byName,
          ...this.sessionsOf(text),
          ...this.valuesOf(facets),
          ...matches,
          ...this.valuesOf(late),
          ...this.goTo(text),
          ...this.searches(text),
        ]);
      draw();
      if (!text) return;
      const rest = matches.filter(({ one }) => one && !named.some((each) => each.session_id === one.session_id));
      this.passages = await this.found(text, rest, signal);
      draw();
      // They can take longer, and come below what can be chosen already.
      for (const of of LATE) late[of] = (await ask("facets", { of, like: text }, { signal }))[of];
      draw();
    } catch (error) {
      if (error.name !== "AbortError") this.draw([...this.pages(text), { kind: "", label: error.message }]);
    }
  }

  /** Return the sessions whose names match a text best: equal, beginning with it, with it in them. */
  async named(text, signal) {
    const { name: names } = await ask("facets", { of: "name", like: text }, { signal });
    const sessions = [];
    for (const distance of [0, 1, 2, 3]) {
      const alike = names.map(([name]) => name).filter((name) => rank(name, text) === distance);
      const limit = MOST - sessions.length;
      // Of names that match equally well, the newest sessions come first.
      if (alike.length && limit) sessions.push(...(await ask("sessions", { name: alike, limit }, { signal })).sessions);
    }
    return sessions;
  }

  /** Return the passages with a text, by session. */
  async found(text, options, signal) {
    if (!options.length) return {};
    const sessions = options.map(({ one }) => one.session_id).join();
    return (await ask("snippets", { text: asPrefix(text), sessions }, { signal })).snippets;
  }

  /** Return the session whose id begins with a text, which a search would treat as a word. */
  goTo(text) {
    return ID.test(text) && text.replaceAll("-", "").length < 32
      ? [{ kind: "Session", label: `Go to ${text}`, to: url(`s/${text.toLowerCase()}`) }]
      : [];
  }

  pages(text) {
    const links = [...document.querySelectorAll(".top nav a")];
    return links
      .map((link) => ({ kind: "Page", label: link.textContent, to: link.href }))
      .filter(({ label }) => includes(label, text));
  }

  /** Return the views of the page of a session. */
  sections(text) {
    return [...document.querySelectorAll("[role=tab]")]
      .map((tab) => ({ kind: "View", label: tab.textContent, run: () => tab.click() }))
      .filter(({ label }) => includes(label, text));
  }

  viewsOf(text) {
    return this.views
      .map(({ name, filters }) => ({ kind: "Saved view", label: name, to: address(filters) }))
      .filter(({ label }) => includes(label, text))
      .slice(0, MOST);
  }

  sessionsOf(text) {
    return recent()
      .filter(({ id, name }) => includes(name || "unnamed", text) || includes(id.slice(0, 13), text))
      .map(({ id, name, began, tags = [] }) => ({
        kind: "Recent",
        label: name || "unnamed",
        note: began ? when(began) : "",
        to: url(`s/${id}`),
        one: { session_id: id, name, tags },
      }))
      .slice(0, MOST);
  }

  valuesOf(facets) {
    return Object.keys(FACETS).flatMap((name) =>
      (facets[name] || []).slice(0, name === "project" ? 0 : MOST).map(([value, many]) => ({
        kind: FACETS[name],
        label: value,
        note: String(many),
        to: address(changed(this.isList() ? parsed() : {}, { [name]: value, before: "" })),
      })),
    );
  }

  isList() {
    return document.documentElement.dataset.page === "sessions";
  }

  matches(page) {
    return (page?.sessions || []).map((one) => {
      const { session_id: id, name, began, event } = one;
      return {
        kind: event ? `Event, ${event.kind}` : "Session",
        label: event ? `${event.name || event.kind} in ${name || "unnamed"}` : name || "unnamed",
        note: when(began),
        to: url(`s/${id}${event ? `?event=${event.seq}` : ""}`),
        one,
      };
    });
  }

  /** Return a line that distinguishes a session from others in the list: the matching passage, its tags, or its id. */
  distinction({ one, label }) {
    if (!one) return "";
    const passage = this.passages[one.session_id];
    const others = this.options.filter((option) => option.one && option.one !== one && option.label === label),
      shared = (tag) => others.filter((option) => option.one.tags.includes(tag)).length;
    const tags = one.tags
      .filter((tag) => !others.length || shared(tag) < others.length)
      .toSorted((a, b) => shared(a) - shared(b));
    const what =
      passage && passage.kind !== "session" ? `${passage.kind}: ${near(passage.text, this.text)}` : tags.join(" · ");
    return [one.state, what || one.session_id.slice(0, 13)].filter(Boolean).join(" · ");
  }

  searches(text) {
    if (!/[\p{L}\p{N}]/u.test(text)) return [];
    const query = { text: [asPrefix(text)] };
    return [
      { kind: "Search", label: `Sessions with “${text}”`, to: address(query) },
      { kind: "Search", label: `Calls with “${text}”`, to: address(query, "calls") },
    ];
  }

  /** Show options, each target once; the chosen one stays chosen. */
  draw(options) {
    const seen = new Set(),
      keyOf = ({ kind, label, note, to }) => to || `${kind} ${label} ${note}`,
      chosen = this.at ? keyOf(this.options[this.at]) : null;
    this.options = options.filter((option) => !seen.has(keyOf(option)) && seen.add(keyOf(option)));
    if (chosen) this.at = Math.max(0, [...seen].indexOf(chosen));
    keyed(
      this.list,
      this.options.map((option, number) => {
        const { kind, label, note, to } = option,
          distinction = this.distinction(option);
        return make(
          "div",
          {
            role: "option",
            id: `palette-${number}`,
            "data-id": `${kind} ${to || label}`,
            onclick: (event) => this.choose([...this.list.children].indexOf(event.currentTarget)),
          },
          make("span", { class: "faint" }, kind),
          make("span", { class: "label" }, label),
          make("span", { class: "faint num" }, note || ""),
          distinction ? make("span", { class: "faint apart" }, distinction) : null,
        );
      }),
    );
    this.point(Math.min(this.at, Math.max(0, this.options.length - 1)));
  }

  point(at) {
    this.at = at;
    [...this.list.children].forEach((option, number) => {
      option.id = `palette-${number}`;
      option.setAttribute("aria-selected", String(number === at));
    });
    const option = this.list.children[at];
    if (option) this.input.setAttribute("aria-activedescendant", option.id);
    else this.input.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  }

  press(event) {
    const most = this.options.length - 1;
    const to = {
      ArrowDown: this.at === most ? 0 : this.at + 1,
      ArrowUp: this.at ? this.at - 1 : most,
      PageDown: Math.min(most, this.at + 8),
      PageUp: Math.max(0, this.at - 8),
    }[event.key];
    if (to !== undefined) this.point(Math.max(0, to));
    else if (event.key === "Enter") this.choose(this.at);
    else return;
    event.preventDefault();
  }

  choose(at) {
    const option = this.options[at];
    if (!option?.to && !option?.run) return;
    this.dialog.close();
    if (option.run) option.run();
    else location.assign(option.to);
  }
}

const includes = (label, text) => label.toLowerCase().includes(text.toLowerCase());

/** Rank a name for a text: 0 equal, 1 begins with it, 2 has a word that begins with it, 3 anything else. */
function rank(name, text) {
  const [value, wanted] = [folded(name), folded(text)];
  if (value.startsWith(wanted)) return value === wanted ? 0 : 1;
  const parts = value.split(wanted).slice(0, -1);
  return parts.some((part) => !/[\p{L}\p{N}]$/u.test(part)) ? 2 : 3;
}

/** Return a passage from a little before its first match. */
function near(passage, text) {
  const [[begin] = [0]] = places(passage, terms(asPrefix(text)));
  const from = passage.indexOf(" ", Math.max(0, begin - BEFORE));
  return begin > BEFORE && from < begin ? `…${passage.slice(from + 1)}` : passage;
}

/** Return whether an address is of the session whose id begins with a text. */
const isOf = (to, text) => {
  const plain = text.replaceAll("-", "").toLowerCase();
  return plain.length >= NAMED && to.replaceAll("-", "").includes(`s/${plain}`);
};
