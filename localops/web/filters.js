// The filters of a page: a search, a menu for each facet with its values and their counts, times and amounts, and a
// chip for each filter that is set.  The address has them all, so that pages lead to each other and can be shared.

import { ask, make, notice } from "./base.js";
import { DayField } from "./day_field.js";
import { keyed } from "./keyed.js";
import { folded } from "./marks.js";
import { choice, closing, menu } from "./menus.js";
import { carry } from "./page_links.js";
import {
  asPrefix,
  beginning,
  changed,
  FACETS,
  facetOf,
  filtersOf,
  first,
  isExcluding,
  isFilter,
  isOfAll,
  isTurnable,
  joinedBy,
  listed,
  OTHERS,
  own,
  parsed,
  plain,
  refusal,
  toggled,
  wantedOf,
  words,
} from "./query.js";
import { when } from "./times.js";
import { withFilters, written } from "./written.js";

// Facets with a menu of their own, and those in "More", whose values are counted when they are opened.
const OWN = ["state", "tag", "model", "agent", "tool", "user", "project"];
const MORE = ["error", "name", "host", "meta", "conversation"];
const NUMBERS = ["min_cost", "max_cost", "min_seconds", "max_seconds"];
const AGES = {
  "Last hour": "1h",
  "Last 24 hours": "24h",
  "Last 7 days": "7d",
  "Last 30 days": "30d",
  "Last 90 days": "90d",
};
const TYPING = 200,
  MINUTE = 60_000;
// A choice leads to the first page.
const FIRST = { before: "", after: "" };

/** Return when a period such as 7d begins: it is counted in hours from now, not in whole days. */
function since(value) {
  const begin = beginning(value);
  return begin === null ? "" : `, since ${when(begin).slice(0, 16)}`;
}

/** Return an element with the words of a filter, in which its name has an element of its own. */
function labelled(text) {
  const [, name, value] = /^([^:]+:)( .*)$/s.exec(text) || [];
  return make("span", {}, name && make("span", { class: "of" }, name), name ? value : text);
}

/** Return whether a click on a value asks for the sessions without it. */
export const asksWithout = (event) => event.shiftKey || event.altKey;

/** The values of a facet, with a field to find others. */
class FacetMenu {
  constructor(name, bar, kind) {
    Object.assign(this, menu(FACETS[name], kind));
    Object.assign(this, { name, bar, counts: [], cut: false, exact: true, asking: null, timer: 0, wasSeen: false });
    // What was typed for the values, and their order, which stays while the menu is open.
    Object.assign(this, { like: "", order: [] });
    const find = `Find ${FACETS[name].toLowerCase()}`;
    this.input = make("input", {
      type: "search",
      placeholder: find,
      "aria-label": find,
      oninput: () => this.seek(),
      onsearch: () => this.seek(),
      onkeydown: (event) => this.enter(event),
    });
    this.values = make("div", { class: "values", role: "group", "aria-label": FACETS[name] });
    this.note = make("p", { class: "faint small", hidden: true });
    // A few states need no field.
    this.input.hidden = name === "state";
    this.mode = make("div", { class: "faint any", hidden: true });
    this.box.append(this.input, this.mode, this.values, this.note);
    this.element.addEventListener("toggle", () => this.opened());
  }

  get isLate() {
    return this.bar.isLate(this.name);
  }

  opened() {
    if (!this.element.open) return;
    if (matchMedia("(pointer: fine)").matches && !this.input.hidden) this.input.focus();
    this.order = [];
    if (this.isLate) this.load();
    else this.draw();
  }

  seek() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), TYPING);
  }

  /** Choose what was typed, in which `*` stands for anything, or the first value that contains it. */
  async enter(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const text = this.input.value.trim(),
      without = asksWithout(event);
    if (!text) return;
    clearTimeout(this.timer);
    await this.load();
    const known = this.counts.find(([value]) => value === text) || this.counts[0];
    if (text.includes("*") || known) this.bar.toggle(this.name, text.includes("*") ? text : known[0], without);
  }

  /** Ask the server for the values, by what was typed. */
  async load() {
    this.asking?.abort();
    this.asking = new AbortController();
    const like = this.input.value.trim();
    try {
      const facets = await this.bar.values(this.name, like, { signal: this.asking.signal });
      if (like !== this.like) this.order = [];
      this.like = like;
      this.take(facets);
    } catch (error) {
      if (error.name !== "AbortError") this.values.replaceChildren(notice(error.message, "faint"));
    }
  }

  /** Take the counts of a reply about all facets. */
  counted(facets) {
    if (this.isLate || this.input.value.trim()) return void (this.element.open && this.load());
    this.take(facets);
  }

  take(facets) {
    this.counts = facets[this.name] || [];
    this.cut = facets.cut?.includes(this.name) || false;
    this.exact = facets.exact !== false;
    this.draw();
  }

  draw() {
    const query = this.bar.query(),
      wanted = wantedOf(query, this.name),
      excluded = query[`not_${this.name}`] || [];
    const entries = this.entries([...wanted, ...excluded]);
    const isOne = this.name === "project" && entries.length < 2 && !wanted.length;
    // A menu keeps its place where it has no values, but for that of projects, which is there once there are two.
    this.wasSeen ||= this.name !== "project" || this.isLate || (entries.length > 0 && !isOne);
    this.element.hidden = !this.wasSeen;
    this.element.classList.toggle("chosen", wanted.length + excluded.length > 0);
    this.mode.hidden = entries.length < 2;
    this.drawMode(query, wanted);
    keyed(
      this.values,
      entries.map(([value, amount]) => this.entry(value, amount, wanted.includes(value), excluded.includes(value))),
    );
    const notes = [
      !entries.length && (this.input.value.trim() ? "No matching value." : "No matching session has one."),
      this.cut && "There are more: type a part of a value to find it.",
      !this.exact && "Counted in the newest sessions only.",
    ].filter(Boolean);
    this.note.hidden = !notes.length;
    this.note.textContent = notes.join(" ");
  }

  /** Show how several chosen values are joined; for tags, that can be changed. */
  drawMode(query, wanted) {
    const isAll = this.name === "tag" && isOfAll(query),
      canChange = this.name === "tag" && wanted.length > 0;
    this.mode.title = isAll
      ? "Sessions with each of the chosen values, and none with ≠. A value's number is for adding it."
      : "Sessions with any of the chosen values, and none with ≠. A value's number is for choosing that value alone.";
    const choose = (label, isOn, all) =>
      make(
        "button",
        {
          type: "button",
          class: "quiet small",
          "data-id": label,
          "data-key": label,
          "aria-pressed": String(isOn),
          onclick: () => this.bar.set(joinedBy(this.bar.query(), all)),
        },
        label,
      );
    keyed(
      this.mode,
      canChange
        ? [
            make("span", { "data-id": "with" }, "With"),
            choose("any", !isAll, false),
            choose("all", isAll, true),
            make("span", { "data-id": "of" }, " of them"),
          ]
        : [make("span", { "data-id": "with any" }, "With any of the chosen")],
    );
  }

  /**
   * Return the values and their counts, of the chosen ones first those that have what is typed; in an open menu none
   * moves away from the pointer.
   */
  entries(chosen) {
    const amounts = new Map(this.counts),
      like = folded(this.like);
    // What is typed finds values: a chosen one that does not have it would only be in their way.
    const fits = (value) => !like || amounts.has(value) || folded(value).includes(like);
    const values = [...new Set([...this.order, ...chosen.filter(fits), ...amounts.keys()])];
    if (this.element.open) this.order = values;
    // Of a list that is cut, a value without a count may have one.
    const none = (value) => (this.cut || chosen.includes(value) ? null : 0);
    return values.map((value) => [value, amounts.get(value) ?? none(value)]);
  }

  entry(value, amount, isWanted, isExcluded) {
    const without = (event) => this.bar.toggle(this.name, value, asksWithout(event));
    return make(
      "div",
      { class: "entry", "data-id": value },
      choice(value, isWanted, without, amount),
      this.name === "project"
        ? null
        : make(
            "button",
            {
              type: "button",
              class: "not",
              "data-key": value,
              "aria-pressed": String(isExcluded),
              "aria-label": `Without ${value}`,
              title: `Without ${value}`,
              onclick: () => this.bar.toggle(this.name, value, true),
            },
            "≠",
          ),
    );
  }
}

/**
 * The filters of a page. `go` is called with the next query, `entered` when Enter was pressed in the search; `searched`
 * is the placeholder of the search, `label` its name, `facets` have a menu of their own, and `more` is the label of the
 * menu of the others. `query()` returns the filters, by default those of the address; `id` is that of messages.
 */
export class FilterBar {
  constructor(form, { go, searched, label = "Search names and content", entered, facets = OWN, more, query, id }) {
    this.form = form;
    this.query = query || parsed;
    this.go = go;
    this.facets = facets;
    this.late = [...OWN, ...MORE].filter((name) => !facets.includes(name));
    this.typing = 0;
    // A period begins later and later.
    setInterval(() => this.drawChips(this.query()), MINUTE);
    this.search = make("input", {
      type: "search",
      name: "text",
      placeholder: searched,
      "aria-label": label,
      title: 'Filters can be written, too: tag:vip -tool:"look up" cost>0.1',
      oninput: () => this.type(),
      // Some browsers report Esc and the clear button as "search", not "input".
      onsearch: () => this.type(),
    });
    this.menus = Object.fromEntries(facets.map((name) => [name, new FacetMenu(name, this, "menu")]));
    this.subs = Object.fromEntries(this.late.map((name) => [name, new FacetMenu(name, this, "sub")]));
    this.when = menu("When");
    this.days = Object.fromEntries(
      ["since", "until"].map((name) => [name, new DayField(name, OTHERS[name], (at) => this.set({ [name]: at }))]),
    );
    this.more = menu(more || "More");
    const early = form.nextElementSibling;
    this.chips = early?.matches(".chosen-filters") ? early : make("div", { class: "chosen-filters" });
    this.chips.inert = false;
    this.message = make("div", { id: id || "facets", role: "status" });
    this.fields = make("div", {});
    this.more.box.append(...Object.values(this.subs).map((one) => one.element), this.fields);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.typing);
      this.seek();
    });
    // A form with several fields and no button is not submitted by Enter.
    this.search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      clearTimeout(this.typing);
      if (this.take()) return;
      this.seek();
      entered?.();
    });
    // The placeholder had the same size.
    form.inert = false;
    form.replaceChildren(
      this.search,
      ...Object.values(this.menus).map((one) => one.element),
      this.when.element,
      this.more.element,
    );
    form.after(this.chips, this.message);
  }

  /** Return whether the values of a facet are counted when its menu is opened, and not with each list. */
  isLate(name) {
    return this.late.includes(name);
  }

  /** Return the values of a facet that contain a text, as the server's facets. */
  values(name, like, options) {
    return ask("facets", { ...filtersOf(this.query()), of: name, like }, options);
  }

  type() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.seek(), TYPING);
  }

  /** Return the filters that are written in the search, with those of this page alone. */
  written() {
    return written(this.search.value.trim(), { ofCalls: Object.hasOwn(own, "argument") });
  }

  /** Turn filters in the search text into filters, and keep the rest of the text; return whether there was any. */
  take() {
    const { filters, rest } = this.written();
    if (!filters.length) return false;
    this.search.value = rest;
    this.go(changed(withFilters(this.query(), filters), { text: rest && asPrefix(rest), ...FIRST }));
    return true;
  }

  /** Apply the search text, which needs a letter or a digit; filters in it are not searched as words. */
  seek() {
    const { rest: typed } = this.written();
    this.message.replaceChildren(...this.hint());
    if (typed && !/[\p{L}\p{N}]/u.test(typed))
      return void this.message.replaceChildren(notice("Type at least one letter or digit.", "faint"));
    const text = typed && asPrefix(typed),
      query = this.query();
    if (text !== first(query, "text")) this.go(changed(query, { text, ...FIRST }));
  }

  /** Say what Enter does with filters that are written in the search, and which are searched as text instead. */
  hint() {
    const { filters, problems } = this.written();
    return [
      ...problems.slice(0, 1).map((problem) => notice(`${problem} It is searched as text.`, "faint")),
      ...(filters.length ? [notice("Press Enter to filter by what is written.", "faint")] : []),
    ];
  }

  toggle(name, value, without = false) {
    this.go(changed(toggled(this.query(), name, value, without), FIRST));
  }

  set(changes) {
    this.go(changed(this.query(), { ...changes, ...FIRST }));
  }

  clear() {
    const rest = Object.entries(this.query()).filter(([name]) => !isFilter(name));
    this.go(changed(Object.fromEntries(rest), FIRST));
  }

  /** Draw what the address says. */
  draw() {
    const query = this.query();
    // A field with the focus keeps its value, because somebody may be typing.
    if (document.activeElement !== this.search) this.search.value = plain(first(query, "text"));
    for (const one of [...Object.values(this.menus), ...Object.values(this.subs)]) one.draw();
    this.drawWhen(query);
    this.drawMore(query);
    this.drawChips(query);
    // A bar with other filters than the address has them for a part of its page.
    if (this.query === parsed) carry(query);
  }

  /** Draw the chosen filters: a click on one opens its menu, and one on its × removes it. */
  drawChips(query) {
    const filters = listed(query);
    const chips = filters.map(([name, value], at) => {
      const chip = make(
        "button",
        {
          type: "button",
          class: `chip ${isExcluding(name) ? "excluding" : ""}`,
          "data-key": `${name}=${value}`,
          "aria-label": `Remove the filter ${words(name, value)}`,
          onclick: (event) => {
            // Without a pointer, no part of it was meant: it does what its name says.
            if (event.detail && !event.target.closest(".drop") && this.reveal(name)) return event.stopPropagation();
            return this.set({ [name]: (this.query()[name] || []).filter((one) => one !== value) });
          },
        },
        make(
          "span",
          {},
          labelled(`${words(name, value, filters[at - 1])}${name === "since" ? since(value) : ""}`),
          make("span", { class: "drop" }, " ×"),
        ),
      );
      return make("span", { class: "filter", "data-id": `${name}=${value}` }, this.turner(name, value), chip);
    });
    const all = { type: "button", class: "quiet small", "data-id": " all", onclick: () => this.clear() };
    keyed(this.chips, chips.length > 1 ? [...chips, make("button", all, "Clear all")] : chips);
  }

  /** Open the menu of a filter, or go to the search; return whether it has one. */
  reveal(name) {
    const facet = facetOf(name),
      sub = this.subs[facet];
    if (facet === "text") {
      this.search.focus();
      return true;
    }
    const [times, calls] = [
      { since: this.when, until: this.when },
      { kind: this.kind, in: this.part, argument: this.argument },
    ];
    const { element, summary } =
      { ...times, ...calls, ...this.menus }[facet] || (sub || Object.hasOwn(OTHERS, facet) ? this.more : {});
    if (!element || element.hidden) return false;
    summary.focus();
    for (const one of [element, sub?.element]) if (one) one.open = true;
    return true;
  }

  /** Return the button that turns a filter round, from sessions with a value to those without it. */
  turner(name, value) {
    if (!isTurnable(name)) return null;
    const isOut = isExcluding(name);
    const title = `${isOut ? "With" : "Without"} ${value}`;
    return make(
      "button",
      {
        type: "button",
        class: `turn ${isOut ? "excluding" : ""}`,
        "data-key": `turn ${name}=${value}`,
        title,
        "aria-label": title,
        onclick: (event) => {
          const { parentElement: chips } = event.currentTarget.parentElement,
            isOf = (id) => facetOf(id.split("=")[0]) === facetOf(name) && id.endsWith(`=${value}`);
          this.toggle(facetOf(name), value, !isOut);
          // Its chip has another name now: who turns it may turn it back.
          [...chips.children].find((one) => isOf(one.dataset.id))?.firstChild.focus();
        },
      },
      isOut ? "≠" : "=",
    );
  }

  drawWhen(query) {
    const since = first(query, "since"),
      until = first(query, "until");
    this.when.element.classList.toggle("chosen", Boolean(since || until));
    keyed(this.when.box, [
      ...Object.entries(AGES).map(([label, age]) =>
        choice(
          label,
          since === age && !until,
          closing(() => this.set({ since: age === since ? "" : age, until: "" })),
        ),
      ),
      ...Object.entries(this.days).map(([name, field]) => {
        field.draw(first(query, name));
        return field.element;
      }),
    ]);
  }

  drawMore(query) {
    const late = this.late.some((name) => wantedOf(query, name).length || query[`not_${name}`]);
    const names = [...NUMBERS, "errors", "score"];
    this.more.element.classList.toggle("chosen", late || names.some((name) => query[name]));
    const check = (label, on, set) => {
      const input = make("input", { type: "checkbox", onchange: (event) => set(event.target.checked) });
      input.checked = on;
      return make("label", { class: "check", "data-id": `${label} ${on}` }, input, label);
    };
    const starred = (query.score || []).includes("star");
    const scores = (query.score || []).filter((one) => one !== "star");
    keyed(this.fields, [
      check("Only with errors", Boolean(query.errors), (on) => this.set({ errors: on ? 1 : "" })),
      check("Only starred", starred, (on) => this.set({ score: on ? [...scores, "star"] : scores })),
      this.text("score", "Score, such as correct<0.5", scores[0] || "", (value) =>
        this.set({ score: [...(starred ? ["star"] : []), value] }),
      ),
      ...NUMBERS.map((name) =>
        this.text(name, OTHERS[name], first(query, name), (value) => this.set({ [name]: value }), {
          type: "number",
          min: 0,
          step: "any",
        }),
      ),
    ]);
  }

  text(name, label, value, set, more = {}) {
    const input = make("input", { type: "text", value, onchange: (event) => set(event.target.value.trim()), ...more });
    return make("label", { "data-id": `${name}=${value}` }, label, input);
  }

  /** Draw the counts of a reply of the server. */
  counted(facets) {
    for (const one of [...Object.values(this.menus), ...Object.values(this.subs)]) one.counted(facets);
  }

  fail(error) {
    this.message.replaceChildren(notice(refusal(error.message), "problem"));
  }

  note(text) {
    this.message.replaceChildren(...this.hint(), ...(text ? [make("p", { class: "faint" }, text)] : []));
  }
}
