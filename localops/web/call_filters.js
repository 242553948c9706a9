// The filters of the page of calls: those of calls, and behind one menu those of the sessions that they are in.

import { ask, make } from "./base.js";
import { FilterBar } from "./filters.js";
import { keyed } from "./keyed.js";
import { choice, closing, menu } from "./menus.js";
import { filtersOf, first, own, parsed } from "./query.js";

const KINDS = { llm: "LLM calls", tool: "Tool calls" };
const PARTS = { answer: "Answers", result: "Results", error: "Errors", arguments: "Arguments", prompt: "Prompts" };
// Filters of calls alone.
Object.assign(own, {
  kind: (value) => `Kind: ${KINDS[value] || value}`,
  failed: () => "Failed",
  in: (value) => `Found in: ${(PARTS[value] || value).toLowerCase()}`,
  argument: (value) => `Arguments: ${value}`,
  same: () => "The same call",
  prompt: () => "The same prompt",
  message: () => "The same error message",
  session: () => "One session",
});
// Facets of a call here, and of a session elsewhere.
const FACETS = ["model", "tool", "error"];
const LISTED = 30;

export class CallFilters extends FilterBar {
  constructor(form, { go }) {
    const label = "Search what calls were given, what came back, and errors";
    super(form, { go, searched: "Text of calls  ( / )", label, facets: FACETS, more: "Sessions" });
    this.part = menu("Found in");
    this.kind = menu("Kind");
    this.failed = make(
      "button",
      { type: "button", class: "toggle", onclick: () => this.set({ failed: parsed().failed ? "" : 1 }) },
      "Failed only",
    );
    this.argument = menu("Arguments");
    this.given = make("input", {
      type: "search",
      placeholder: "Text in arguments",
      "aria-label": "Text in arguments",
      title: "Only calls of tools with this text in their arguments",
      onchange: () => this.give(),
      onsearch: () => this.give(),
    });
    this.argument.box.append(this.given);
    this.argument.element.addEventListener("toggle", () => {
      if (this.argument.element.open && matchMedia("(pointer: fine)").matches) this.given.focus();
    });
    this.search.after(this.part.element, this.kind.element);
    this.menus.tool.element.after(this.argument.element);
    this.when.element.before(this.failed);
  }

  /** Filter by the text that arguments have. */
  give() {
    const argument = this.given.value.trim();
    if (argument !== first(parsed(), "argument")) this.set({ argument });
  }

  isLate() {
    return true;
  }

  /** Return the values of a facet: with the calls that each has, or of those of sessions, with the sessions. */
  async values(name, like, options) {
    const query = filtersOf(parsed());
    if (!FACETS.includes(name)) {
      const ofSessions = Object.entries(query).filter(([each]) => !Object.hasOwn(own, each));
      return ask("facets", { ...Object.fromEntries(ofSessions), of: name, like }, options);
    }
    delete query[name];
    delete query[`not_${name}`];
    const { lines, more } = await ask(
      "calls/groups",
      { ...query, by: name, sort: "calls", limit: LISTED, like },
      options,
    );
    const counts = lines.filter((line) => line[name]).map((line) => [line[name], line.calls + line.unfinished]);
    return { [name]: counts, cut: more ? [name] : [] };
  }

  draw() {
    super.draw();
    const query = parsed();
    this.failed.setAttribute("aria-pressed", String(Boolean(query.failed)));
    const choices = (one, name, labels) => {
      const chosen = first(query, name);
      one.element.classList.toggle("chosen", Boolean(chosen));
      keyed(
        one.box,
        Object.entries(labels).map(([value, label]) =>
          choice(
            label,
            value === chosen,
            closing(() => this.set({ [name]: value === chosen ? "" : value })),
          ),
        ),
      );
    };
    this.argument.element.classList.toggle("chosen", Boolean(query.argument));
    if (document.activeElement !== this.given) this.given.value = first(query, "argument");
    choices(this.kind, "kind", KINDS);
    choices(this.part, "in", PARTS);
    this.part.element.hidden = !query.text;
  }
}
