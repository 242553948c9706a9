// The head of a session's page: one line with its state, figures and reason, and a panel with all else about the run.

import { byId, copyButton, data, make, notice, say, sentence } from "./base.js";
import { isReport } from "./clock.js";
import { ago, cost, count, duration, elapsed, many, money, partsOfTokens, QUIET, reasonOf } from "./formats.js";
import { keyed } from "./keyed.js";
import { kindText } from "./kinds.js";
import { loops } from "./loops.js";
import { closing, menu } from "./menus.js";
import { toConversation } from "./query.js";
import { scores } from "./scores.js";
import { stuck } from "./stuck.js";
import { stamp } from "./times.js";
import { url } from "./url.js";
import { why } from "./why.js";

// A group with more facts than this is folded.
const LONG = 12;
const LABEL = "End reason: ",
  CAUSE_LABEL = "First error: ";
const TALK = "All sessions of this conversation, and their chat";
// Unfinished operations that have a sentence each.
const MOST_ENDS = 5;
// States whose reason is in the head; that of any other is in a line of its own.
const QUIET_STATES = new Set(["Success", "Running"]);

export class Head {
  constructor(page) {
    this.page = page;
    // It keeps its element, in the head or in a line of its own.
    this.reason = byId("reason");
    this.panel = byId("extras");
    this.places = make("div", { id: "places" });
    this.toggle = make(
      "button",
      {
        type: "button",
        class: "small",
        id: "about",
        "aria-expanded": "false",
        "aria-controls": "extras",
        onclick: () => this.open(this.panel.hidden),
      },
      "About",
    );
    const others = isReport ? [] : page.facts.tags.map(toConversation).filter(Boolean).slice(0, 1);
    const talk = others.map((href) => make("a", { class: "button small", href, title: TALK }, "Conversation"));
    byId("acts").append(...talk, this.toggle, ...(isReport ? [] : [exports(page)]));
    this.reason.addEventListener("click", () => this._toWhy());
    this.panel.append(this.places);
    // On a narrow screen the name scrolls away, and the line below it stays.
    const name = byId("head").querySelector("h1"),
      { style } = document.documentElement;
    new ResizeObserver(() => style.setProperty("--name", `${name.offsetHeight}px`)).observe(name);
  }

  /** Show or hide the panel; open one of its folds, known by its id. */
  open(isOpen, fold = "") {
    this.panel.hidden = !isOpen;
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    this.page.layOut();
    const box = fold && byId(fold);
    if (!box) return;
    box.open = true;
    box.scrollIntoView({ block: "nearest" });
  }

  /** Show how the session ended: in the card below a short timeline, or else in the panel. */
  _toWhy() {
    const story = this.page.story?.element;
    if (!story?.isConnected || !this.panel.hidden) return this.open(true, "why");
    story.scrollIntoView({ block: "nearest" });
    return story.focus();
  }

  draw() {
    const one = this.page.facts;
    const state = byId("state");
    state.textContent = one.state;
    this._drawFigures(one);
    this.panel.querySelector("time").textContent = stamp(one.began);
    this.drawNotices();
    this._drawReason();
  }

  _drawFigures(one) {
    const tokens = [`${count(one.tokens_in)} in, ${count(one.tokens_out)} out`, ...partsOfTokens(one)];
    const { llm, tool } = one.running_calls;
    const counted = (label, number, title = many(number, label.replace(/s$/, "")), running = 0) =>
      number + running > 0 &&
      figure(
        number === 1 ? label.replace(/s$/, "") : label,
        count(number),
        running ? `${title} that ended, as in the list, and ${count(running)} under way` : title,
        running ? ` + ${count(running)} running` : "",
      );
    keyed(
      byId("totals"),
      [
        figure("Duration", (one.at_least ? "at least " : "") + duration(elapsed(one)), stamp(one.began)),
        (one.llm_calls > 0 || one.cost_nano > 0 || one.cost_at_least) &&
          figure("Cost", cost(one), provenance(one).join(", ")),
        counted("LLM", one.llm_calls, many(one.llm_calls, "LLM call"), llm),
        counted("tools", one.tool_calls, many(one.tool_calls, "tool call"), tool),
        counted("actions", one.actions, many(one.actions, "action or operation", "actions and operations")),
        one.errors > 0 && this._errors(one),
        counted("tokens", one.tokens_in + one.tokens_out, tokens.join("; ")),
      ].filter(Boolean),
    );
  }

  /** Return the number of errors, which leads to the first of them. */
  _errors({ errors: number, failed }) {
    const steps = `${many(failed, "call or operation", "calls and operations")} failed`;
    const counts = `${many(number, "error")} raised or recorded; ${steps}`;
    const title = `${counts}. Click: the first; press e for the next failure`;
    const toFirst = { type: "button", class: "link", "data-key": "errors", onclick: () => this._toError() };
    return figure(number === 1 ? "error" : "errors", make("button", toFirst, count(number)), title);
  }

  _toError() {
    const { run, complete } = this.page;
    if (!complete) return;
    const places = Array.from(run.order);
    const at = places.find((each) => run.isCause(each)) ?? places.find((each) => run.kindOf(each) === "error");
    if (at !== undefined) this._go(at);
  }

  /** Show why the session ended, or what a running one is at; a quiet one does not look busy. */
  _drawReason() {
    const one = this.page.facts,
      button = this.reason;
    const [line, ledTo] = this.page.running ? ["", ""] : reasonOf(one),
      text = this.page.running ? this._at() : line || "How it ended",
      label = ledTo ? CAUSE_LABEL : line ? LABEL : "";
    const isQuiet = this.page.running && this.page.quiet > QUIET;
    byId("state").className = `state ${/^[A-Z][a-z]+$/.test(one.state) ? one.state : ""}${isQuiet ? " quiet" : ""}`;
    button.className = `reason ${one.state}${isQuiet ? " quiet" : ""}`;
    const faint = (words) => words && make("span", { class: "label" }, words);
    if (button.textContent !== label + text + ledTo) button.replaceChildren(faint(label), text, faint(ledTo));
    button.title = `${one.reason || text}\n\nClick: how it ended, and why`;
  }

  /** Return what a running session is at: how long ago its last event was, and what is under way. */
  _at() {
    const { run, quiet } = this.page;
    const inside = run.n ? run.tree.ends : [];
    const last = run.n ? `last event ${ago(quiet)} ago` : "waiting for the first event";
    // The line below the head names the operation.
    if (!inside.length || byId("notices").querySelector(".stuck")) return last;
    const at = inside.at(-1),
      more = inside.length > 1 ? ` and ${many(inside.length - 1, "other")}` : "";
    return `${last}, inside ${run.titleOf(at)}${more}`;
  }

  /** Update what changes by itself while nothing is recorded. */
  tick() {
    byId("totals").querySelector("dd").textContent = duration(elapsed(this.page.facts));
    this._drawReason();
    if (!this.wasQuiet && this.page.complete && this.page.running && this.page.quiet > QUIET) this.drawNotices();
  }

  drawNotices() {
    const one = this.page.facts;
    const notices = [
      one.dropped &&
        `${many(one.dropped, "event")} ${one.dropped === 1 ? "is" : "are"} missing: not written, or in a deleted file.`,
      one.missing_rows && sentence(one.missing_rows),
      one.unfinished &&
        !this.page.running && [
          `${many(one.unfinished, "operation")} did not finish.`,
          ...this._openEnds(one.open_ends || []),
        ],
      one.budget?.reached_at && spent(one.budget),
      one.late && `${many(one.late, "event")} recorded after the end of the session.`,
      one.spilled && `${many(one.spilled, "event")} came from a spill file.`,
    ].filter(Boolean);
    const isLoud = !QUIET_STATES.has(one.state);
    const rows = notices.map((text) => make("p", {}, text));
    const line = stuck(this.page, (at) => this._go(at));
    this.wasQuiet = this.page.complete && this.page.quiet > QUIET;
    if (line) rows.unshift(line);
    if (isLoud) rows.unshift(make("div", { class: "bad" }, this.reason, this._toFailures()));
    else if (!byId("head").contains(this.reason)) byId("totals").after(this.reason);
    byId("notices").replaceChildren(...rows);
  }

  /** Return buttons that lead to where the session first failed, and last. */
  _toFailures() {
    const { run } = this.page;
    // Its room, until the events are there.
    if (!this.page.complete) return this.page.facts.failed ? make("span", { class: "link" }, "\u00a0") : null;
    const causes = Array.from(run.order).filter((at) => run.isCause(at));
    const button = (label, at) =>
      make(
        "button",
        { type: "button", class: "link", title: `${label} at ${run.begins(at)} ( e )`, onclick: () => this._go(at) },
        `${label}: ${run.titleOf(at)}`,
      );
    if (causes.length < 2) return causes.map((at) => button("failure", at));
    return [button("first failure", causes[0]), button("last failure", causes.at(-1))];
  }

  _go(at) {
    this.page.select(this.page.run.seq[at], { isStep: true });
  }

  /** Return sentences about the innermost unfinished operations, with links to them; those of earlier runs first. */
  _openEnds(ends) {
    const shown = ends.slice(-MOST_ENDS);
    const more = ends.length - shown.length;
    return [
      ...shown.flatMap((one) => [
        ` ${one.before[0].toUpperCase()}${one.before.slice(1)}`,
        make(
          "button",
          {
            type: "button",
            class: "link",
            title: one.when.replace(/^, (which )?/, ""),
            onclick: () => this.page.select(one.seq, { isStep: true }),
          },
          `${kindText(one.kind)} ${one.name || ""}`,
        ),
        `${one.since}.`,
      ]),
      more > 0 ? ` And ${count(more)} before these.` : "",
    ];
  }

  /** Draw the panel: the post-mortem, scores, loops, and where the session ran. */
  drawPanel() {
    const one = this.page.facts;
    const hasCalls = one.tool_calls || one.failed;
    const folds = [
      why((seq) => this.page.select(seq, { isStep: true }), this.page.running),
      scores(one),
      hasCalls ? loops(one, { onKnown: (facts) => this.page.mark(facts), open: () => this.open(true, "loops") }) : null,
      ran(one),
    ];
    this.places.replaceChildren(...[film(one.video), ...folds].filter(Boolean));
  }
}

const figure = (label, value, title, note = "") =>
  make("div", { "data-id": label, title: title || null }, make("dt", {}, label, note), make("dd", {}, value));

const dollars = (amount) => money(Math.round(amount * 1e9));

/** Return where the cost of a session comes from. */
function provenance(one) {
  const from = one.provenance,
    budget = one.budget && `budget ${dollars(one.budget.limit_usd)}`;
  if (!from) return budget ? [budget] : [];
  const table = `table${from.table?.date ? ` ${from.table.date.replaceAll("-", "\u2011")}` : ""}`;
  // null: there are too many calls to check each.
  if (from.given === null)
    return [
      `given by the program, or priced from ${table}`,
      from.unpriced && `${count(from.unpriced)} unpriced`,
      budget,
    ].filter(Boolean);
  return [
    from.priced && `${many(from.priced, "call")} priced from ${table}`,
    from.given && `${many(from.given, "cost")} given by the program`,
    from.later && `${many(from.later, "call")} priced later`,
    from.unbilled && `${many(from.unbilled, "call")} not billed`,
    from.unpriced && `${many(from.unpriced, "call")} unpriced`,
    budget,
  ].filter(Boolean);
}

function spent({ limit_usd, reached_usd }) {
  const at = reached_usd === null ? "" : `, at ${dollars(reached_usd)}`;
  return `The budget of ${dollars(limit_usd)} was reached${at}.`;
}

/** Return the fold with the facts of a session: id, times, cost, processes, remotes, machine, metadata. */
function ran(one) {
  const remotes = (one.sync || []).map((remote) =>
    make(
      "p",
      {},
      make("strong", {}, remote.remote),
      ": ",
      remote.waiting ? `${count(remote.waiting)} waiting` : "all delivered",
      remote.parked ? `, ${count(remote.parked)} set aside` : "",
      remote.receipt_at ? `, receipt of ${stamp(remote.receipt_at)}` : "",
    ),
  );
  const processes = (one.participants || []).map((each) =>
    make(
      "p",
      {},
      `process ${each.pid ?? "?"} on ${each.host || "an unknown host"}`,
      make(
        "span",
        { class: "faint" },
        each.last
          ? ` until ${stamp(each.last)}`
          : each.alive
            ? " still running"
            : each.alive === false
              ? " died without an end"
              : "",
      ),
    ),
  );
  const from = provenance(one);
  const block = (title, ...inside) => make("div", {}, make("h3", {}, title), inside);
  const blocks = [
    block(
      "Session",
      make(
        "dl",
        { class: "facts" },
        make("dt", {}, "Id"),
        make("dd", { class: "id" }, make("code", {}, one.session_id), " ", copyButton("Copy", one.session_id)),
        make("dt", {}, "Started"),
        make("dd", { class: "own" }, stamp(one.began)),
        make("dt", {}, "Last event"),
        make("dd", { class: "own" }, stamp(one.last)),
        make("dt", {}, "Project"),
        make("dd", {}, one.project),
        from.length > 0 && [make("dt", {}, "Cost"), make("dd", {}, `${cost(one)}: ${from.join(", ")}`)],
      ),
    ),
    processes.length > 0 && block(processes.length === 1 ? "Process" : "Processes", processes),
    remotes.length > 0 && block("Sync", remotes),
    one.metadata_only &&
      block("Content", make("p", {}, "Not here: this session was sent without content (a metadata-only remote).")),
    Object.keys(one.metadata || {}).length > 0 && block("Metadata", facts(one.metadata)),
    Object.keys(one.host_env || {}).length > 0 && block("Environment", facts(environment(one))),
  ];
  return make(
    "details",
    { id: "ran" },
    make("summary", {}, "Where it ran"),
    make("div", { class: "inside" }, blocks.filter(Boolean)),
  );
}

/** Return the environment without the name of the machine, which is shown with the processes. */
function environment({ host_env: { OS: system, ...rest }, participants }) {
  if (!system || typeof system !== "object" || !participants?.some((each) => each.host))
    return { ...(system && { OS: system }), ...rest };
  const { Hostname: _, ...others } = system;
  return { OS: others, ...rest };
}

/** Return nested facts as a list of names and values. */
function facts(object, depth = 0) {
  return make(
    "dl",
    { class: "facts" },
    Object.entries(object).flatMap(([key, value]) => {
      if (!value || typeof value !== "object" || Array.isArray(value) || depth > 1)
        return [make("dt", {}, key), make("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value))];
      return depth && Object.keys(value).length > LONG
        ? [
            make(
              "dd",
              { class: "inner" },
              make(
                "details",
                {},
                make("summary", {}, `${key} (${count(Object.keys(value).length)})`),
                facts(value, depth + 1),
              ),
            ),
          ]
        : [make("dt", { class: "over" }, key), make("dd", { class: "inner" }, facts(value, depth + 1))];
    }),
  );
}

/** Return words about a video that the page cannot play; one that it can is beside the events. */
function film(one) {
  if (!one || (one.blob && one.bytes !== null && one.url)) return null;
  // A link, because loading from another site needs a click.
  if (/^https?:\/\//.test(one.url || "") && !one.blob)
    return make(
      "p",
      {},
      "Video: ",
      make("a", { href: one.url, rel: "noreferrer noopener", target: "_blank" }, one.url),
    );
  const lost = one.blob ? "is not in this report" : `is at ${one.url}`;
  return notice(`The video ${one.bytes === null ? "was not copied to this server" : lost}.`, "faint");
}

// Characters of a name in that of a file.
const LONGEST = 60;

/** Return the name of the file of a session without its ending, as the server gives it. */
function stem({ name, began, session_id: id }) {
  const words = (name || "")
    .normalize("NFKD")
    .replace(/\P{ASCII}/gu, "")
    .toLowerCase();
  const joined = (words.match(/[a-z0-9]+/g) || []).join("-").slice(0, LONGEST).replace(/-+$/, "");
  return joined ? `${joined}-${began.slice(0, 10)}` : `localops-${id}`;
}

/** Return the menu of exports. */
function exports(page) {
  const address = (format) => url(`api/1/sessions/${data.session_id}/export?format=${format}`);
  const entry = ([format, label]) =>
    make(
      "a",
      {
        class: "choice",
        href: address(format),
        download: true,
        onclick: closing(({ currentTarget }) => {
          // A report opens on what its writer looked at.
          if (format === "html") currentTarget.href = `${address(format)}&view=${page.view}`;
          say(`${stem(page.facts)}.${format} goes to your downloads`);
        }),
      },
      make("span", {}, label),
    );
  const forms = [
    ["json", "JSON"],
    ["html", "Report: one HTML file"],
    ["csv", "CSV"],
  ];
  const { element, box } = menu("Export");
  box.append(...forms.map(entry));
  return element;
}
