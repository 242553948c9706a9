// The palette (Ctrl+K): go to a page, a session, a value of a filter or a saved view by typing a part of its name.

import { ask, byId, data, make } from "./base.js";
import { keyed } from "./keyed.js";
import { kindText } from "./kinds.js";
import { folded, mark, places, terms } from "./marks.js";
import { offers } from "./palette_offers.js";
import { address, asPrefix, changed, FACETS, isTurnable, parsed } from "./query.js";
import { recent } from "./recent.js";
import { when } from "./times.js";
import { url } from "./url.js";
import { written } from "./written.js";

const PAUSE = 150,
  NO_SUCH = 404;
// The most entries of each kind.
const MOST = 6;
// Characters of a passage before a match, of its part around the first ones, and of the parts around others: a row
// shows about 70.
const BEFORE = 16,
  AROUND = 48,
  AFTER = 20;
// A value of a facet, with its name: user=ivo, tag:vip.
const NAMED_VALUE = /^([a-z]+) ?[=:] ?(.+)$/i;
// The fewest hex digits of an id with which a search finds the session.
const NAMED = 8;
// The beginning of an id: at least eight hex digits, of which one is 0 to 9, as words have none.
const IDENT = /^(?=.*\d)[0-9a-f]{8}(?:-?[0-9a-f]+)*-?$/i;
// An id among other words: of a session or an event, whole or its beginning as commands print it.
const ID_INSIDE = /(?<![0-9a-z])[0-9a-f]{8}-[0-9a-f]{4}(?:-[0-9a-f]{4}-[0-9a-f]{4}(?:-[0-9a-f]{12})?)?(?![0-9a-z])/i;
// Facets that the server counts only on request.
const LATE = ["host", "error"];
// An event as pages name it.
const NUMBERED = /^event ([\d,]+)$/i;

let asking = null;

/** Open the palette with a text in its field, unless it is open already. */
export function open(text = "") {
  const former = byId("palette");
  if (former?.open) return;
  // It was closed just now, and is removed a moment later.
  former?.remove();
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
    Object.assign(this, {
      dialog,
      input,
      list,
      at: 0,
      timer: 0,
      views: null,
      options: [],
      passages: {},
      finding: null,
    });
    input.addEventListener("input", () => this.show(input.value.trim()));
    dialog.addEventListener("keydown", (event) => this.press(event));
  }

  /** Show known entries at once, then those of the server. */
  async show(text) {
    this.at = 0;
    Object.assign(this, { text, passages: {}, finding: null });
    mark(this.list, asPrefix(text));
    this.draw([...this.pages(text), ...this.sessionsOf(text), ...this.sections(text), ...this.offers(text)]);
    clearTimeout(this.timer);
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    this.timer = setTimeout(() => this.ask(text, signal), PAUSE);
  }

  async ask(text, signal) {
    const isSearchable = /[\p{L}\p{N}]/u.test(text);
    const sessions = (query) => ask("sessions", { text: query, limit: MOST }, { signal });
    try {
      this.views ??= (await ask("views", {}, { signal })).views;
      const [id] = IDENT.exec(text) || ID_INSIDE.exec(text) || [];
      const [, facet, value] = NAMED_VALUE.exec(text) || [],
        of = facet && isTurnable(facet.toLowerCase()) ? facet.toLowerCase() : "";
      const [facets, page, known, named, numbered] = await Promise.all([
        text ? ask("facets", of ? { of, like: value } : { like: text }, { signal }) : {},
        isSearchable ? sessions(asPrefix(text)) : null,
        id ? sessions(id) : null,
        text ? this.named(text, signal) : [],
        this.numbered(text, signal),
      ]);
      const isNowhere = page && !page.sessions.length && (await this.isNowhere(text, signal));
      const matches = this.matches(page).map((option) => ({ ...option, isFound: !option.one.event })),
        byId = [...this.matches(known), ...matches.filter(({ to }) => isOf(to, text))],
        byName = this.matches({ sessions: named });
      const late = {};
      const draw = () =>
        this.draw([
          ...this.pages(text),
          ...this.viewsOf(text),
          ...numbered,
          ...byId,
          ...this.sections(text),
          ...(of ? this.valuesOf({ [of]: facets[of] }) : []),
          ...byName,
          ...this.sessionsOf(text),
          ...this.offers(text),
          ...this.valuesOf(facets),
          ...matches,
          ...this.valuesOf(late),
          ...(isNowhere ? [] : this.searches(text)),
        ]);
      draw();
      if (!text) return;
      const rest = matches.filter(({ one }) => !named.some((each) => each.session_id === one.session_id));
      this.finding = this.found(text, rest, signal);
      this.passages = await this.finding;
      draw();
      // They can take longer, and come below what can be chosen already.
      for (const of of LATE) late[of] = (await ask("facets", { of, like: text }, { signal }))[of];
      draw();
      if (!this.options.length) this.draw([{ kind: "", label: `Nothing matches ${quoted(text)}` }]);
    } catch (error) {
      if (error.name !== "AbortError") this.draw([...this.pages(text), { kind: "", label: error.message }]);
    }
  }

  /** Return whether no session has the words of a text, and none is still to be searched. */
  async isNowhere(text, signal) {
    const { sessions, unsearched } = await ask("facets", { text: asPrefix(text) }, { signal });
    return !sessions && !unsearched;
  }

  /** Return the event of the session of this page that a text names by its number. */
  async numbered(text, signal) {
    const [, digits = ""] = NUMBERED.exec(text) || [],
      seq = digits.replaceAll(",", ""),
      id = document.documentElement.dataset.page === "session" && data.session_id;
    if (!seq || !id) return [];
    try {
      const { kind, name } = await ask(`sessions/${id}/events/${seq}`, {}, { signal });
      const label = [`Event ${seq}`, name].filter(Boolean).join(": ");
      return [{ kind: `Event, ${kindText(kind)}`, label, to: url(`s/${id}?event=${seq}${location.hash}`) }];
    } catch (error) {
      if (error.status === NO_SUCH) return [];
      throw error;
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

  offers(text) {
    return offers(text, this.isList() ? parsed() : {});
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
        kind: event ? `Event, ${kindText(event.kind)}` : "Session",
        label: event ? `${event.name || kindText(event.kind)} in ${name || "unnamed"}` : name || "unnamed",
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
      passage && passage.kind !== "session"
        ? `${kindText(passage.kind)}: ${near(passage.text, this.text)}`
        : tags.join(" · ");
    return [one.state, what || one.session_id.slice(0, 13)].filter(Boolean).join(" · ");
  }

  /** Return the address of a session that a search found: at the event with the words, unless its name has them. */
  toFound({ session_id: id, name }) {
    const place = this.passages[id],
      text = asPrefix(this.text);
    const isNamed = terms(text).every((term) => places(name || "", [term]).length);
    const isEvent = place && place.seq !== null && !isNamed;
    return url(`s/${id}${isEvent ? `?event=${place.seq}&text=${encodeURIComponent(text)}` : ""}`);
  }

  /** Return searches for a text; filters in it are not searched for. */
  searches(text) {
    if (!/[\p{L}\p{N}]/u.test(text) || written(text, { ofCalls: true }).filters.length) return [];
    const query = { text: [asPrefix(text)] },
      shown = quoted(text);
    return [
      { kind: "Search", label: `Sessions with ${shown}`, to: address(query) },
      { kind: "Search", label: `Calls with ${shown}`, to: address(query, "calls") },
    ];
  }

  /** Show options, each target once; the chosen one stays chosen. */
  draw(options) {
    const seen = new Set(),
      chosen = this.at ? keyOf(this.options[this.at]) : null;
    this.options = options
      .filter((option) => !seen.has(keyOf(option)) && seen.add(keyOf(option)))
      .map((option) => (option.isFound ? { ...option, to: this.toFound(option.one) } : option));
    if (chosen) this.at = Math.max(0, [...seen].indexOf(chosen));
    keyed(
      this.list,
      this.options.map((option, number) => {
        const { kind, label, note } = option,
          distinction = this.distinction(option);
        return make(
          "div",
          {
            role: "option",
            class: kind ? null : "no-choice",
            id: `palette-${number}`,
            "data-id": keyOf(option),
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
      // A notice is no choice.
      option.setAttribute("aria-selected", String(number === at && Boolean(this.options[at].kind)));
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

  async choose(at) {
    // The place of the words may still be loading.
    const { finding } = this;
    if (this.options[at]?.isFound) await finding?.catch(() => {});
    if (finding !== this.finding) return;
    const option = this.options[at];
    if (!option?.to && !option?.run) return;
    this.dialog.close();
    if (option.run) option.run();
    else location.assign(option.to);
  }
}

/** Return a text in quotes, unless it has some of its own. */
const quoted = (text) => (text.includes('"') ? text : `“${text}”`);

const includes = (label, text) => label.toLowerCase().includes(text.toLowerCase());

/** Rank a name for a text: 0 equal, 1 begins with it, 2 has a word that begins with it, 3 anything else. */
function rank(name, text) {
  const [value, wanted] = [folded(name), folded(text)];
  if (value.startsWith(wanted)) return value === wanted ? 0 : 1;
  const parts = value.split(wanted).slice(0, -1);
  return parts.some((part) => !/[\p{L}\p{N}]$/u.test(part)) ? 2 : 3;
}

/** Return a key by which an option is recognised when it is drawn again: what it leads to. */
const keyOf = ({ kind, label, note, to, one }) =>
  one && !one.event ? `session ${one.session_id}` : to || `${kind} ${label} ${note}`;

/** Return the parts of a passage with the words: where most of them are, and a little around each of the others. */
function near(passage, text) {
  const wanted = terms(asPrefix(text)),
    first = (term) => places(passage, [term])[0];
  const within = (begin, place) => place[0] >= begin && place[1] <= begin + AROUND;
  const inside = (begin) => wanted.filter((term) => places(passage, [term]).some((place) => within(begin, place)));
  const starts = places(passage, wanted).map(([begin]) => begin);
  if (!starts.length) return passage;
  const best = starts.reduce((one, other) => (inside(other).length > inside(one).length ? other : one));
  const covered = inside(best),
    others = wanted.filter((term) => !covered.includes(term) && first(term));
  if (!others.length) return from(passage, best);
  const around = [[best, best + AROUND], ...others.map((term) => [first(term)[0], first(term)[1] + AFTER])];
  return around
    .toSorted(([a], [b]) => a - b)
    .map(([begin, end]) => from(passage.slice(0, end), begin))
    .join(" ");
}

/** Return a text from the word a little before a place. */
function from(text, place) {
  const begin = text.indexOf(" ", Math.max(0, place - BEFORE));
  return place > BEFORE && begin < place ? `…${text.slice(begin + 1)}` : text;
}

/** Return whether an address is of the session whose id begins with a text. */
const isOf = (to, text) => {
  const plain = text.replaceAll("-", "").toLowerCase();
  return plain.length >= NAMED && to.replaceAll("-", "").includes(`s/${plain}`);
};
