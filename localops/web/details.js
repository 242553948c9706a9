// The details of one event: input, output, errors, cost, and the row as it is stored.

import { ask, byId, copy, copyButton, icon, ICONS, kindSign, make, notice, say } from "./base.js";
import { bytes, count, duration, eventCost, many, partsOfTokens } from "./formats.js";
import { reveal, scrollToHit } from "./found.js";
import { at as valueAt, entriesOf, made, write } from "./exact.js";
import { isTool } from "./content.js";
import { otherFiles, picture } from "./media.js";
import { scoresOfEvent } from "./scores.js";
import { stamp } from "./times.js";
import { answer, curl, prose, python } from "./copies.js";
import { whole } from "./stored_texts.js";
import { took } from "./previews.js";
import { asPrefix } from "./query.js";
import { Handle } from "./handle.js";
import { patch } from "./keyed.js";
import { kindText } from "./kinds.js";
import { closing, menu } from "./menus.js";
import { url } from "./url.js";
import { clipped, conversation, isConversation, json, parsed, shown, traceback } from "./values.js";

// Keys that are shown first, under a title; other keys follow as JSON.  The answer of a model is what one looks for.
const TEXTS = [
  ["completion", "Completion"],
  ["prompt", "Prompt"],
  ["params", "Arguments"],
  ["input", "Input"],
  ["output", "Output"],
  ["returns", "Result"],
  ["result", "Result"],
  ["details", "Details"],
  ["logs", "Logs"],
];
/** Whether a count of a body is among the tokens, under the name of its column. */
const isCounted = (event, key) => key.endsWith("_tokens") && `tokens_${key.slice(0, -"_tokens".length)}` in event;
const KNOWN = new Set([
  ...TEXTS.map(([key]) => key),
  "id",
  "session",
  "kind",
  "name",
  "parent",
  "agent",
  "start_ns",
  "end_ns",
  "finished",
  "failed",
  "model",
  "cost_usd",
  "cost_nano",
  "tags",
  "seq",
  "entry",
  "raw",
  "attachments",
  "project",
  "agent_name",
  "parent_entry",
  "trigger_entry",
  "trigger",
  "billed",
  "time_to_first_token",
  "error",
  "message",
  "traceback",
  "error_type",
  "screenshot",
  "schema_version",
  "localops",
  "hub",
]);

export class Details {
  constructor(page) {
    this.page = page;
    this.box = byId("details");
    // Focusable by a click, so that keys scroll it.
    this.box.tabIndex = -1;
    this.seq = 0;
    this.raw = false;
    // Whether the shown event was in progress when it was requested.
    this.isUnderWay = false;
    // Section → what it shows, as text.
    this.texts = new WeakMap();
    this.handle = new Handle(this.box);
  }

  async show(seq) {
    this.seq = seq;
    this.isUnderWay = false;
    this.box.hidden = this.handle.element.hidden = !seq;
    this.box.parentElement.classList.toggle("open", Boolean(seq));
    if (!seq) return this.box.replaceChildren();
    const late = setTimeout(() => this._replace(this._head({ kind: "", name: "…" })), 150);
    const isUnderWay = this._goesOn();
    try {
      const event = await ask(`sessions/${this.page.run.id}/events/${seq}`);
      if (this.seq !== seq) return undefined;
      // An event is named by its first row.
      if (event.entry && event.entry !== seq) return this.page.select(event.entry);
      this.event = event;
      this._draw();
      this.isUnderWay = isUnderWay;
      this.renew();
    } catch (error) {
      if (this.seq === seq) this._replace(this._head({ kind: "", name: "Event" }), notice(error.message, "problem"));
    } finally {
      clearTimeout(late);
    }
    return undefined;
  }

  /** Show other content, of which the panel has the focus if the former had it. */
  _replace(...content) {
    const hadFocus = this.box.contains(document.activeElement);
    this.box.replaceChildren(...content);
    if (hadFocus) this.box.focus({ preventScroll: true });
  }

  _goesOn() {
    return this.page.isUnderWay(this.page.run.find(this.seq));
  }

  /** Show how the event ended, once it has, or that it never will: its run ended. */
  async renew() {
    if (!this.isUnderWay || this._goesOn()) return;
    this.isUnderWay = false;
    const { seq } = this;
    const event = await ask(`sessions/${this.page.run.id}/events/${seq}`).catch(() => null);
    if (this.seq !== seq) return;
    // Without an answer, the next news is another try.
    this.isUnderWay = !event;
    if (!event) return;
    this.event = event;
    this._draw({ isRenewed: true });
  }

  _draw({ isRenewed = false } = {}) {
    const { event } = this;
    const part = (title, content, copied) => {
      const section = make(
        "section",
        { "data-title": title },
        make(
          "h3",
          {},
          title,
          copied === undefined
            ? null
            : copyButton("Copy", () => copyWhole(copied, title === "Completion" ? answer : plain)),
        ),
        content,
      );
      if (copied !== undefined) this.texts.set(section, JSON.stringify(copied));
      return section;
    };
    const switch_ = make(
      "button",
      {
        type: "button",
        class: "quiet small",
        "aria-pressed": String(this.raw),
        "data-key": "raw",
        onclick: () => {
          this.raw = !this.raw;
          this.focus = "[data-key=raw]";
          this._draw();
        },
      },
      this.raw ? "Readable" : "Raw",
    );
    const inside =
      this.raw && event.raw
        ? event.raw.map((row, index) => part(index ? "Last row, as stored" : "Row, as stored", json(row), row))
        : this._parts(event, part);
    // A page in a file leads to no other, and has no rows.
    const more = event.raw ? [this._earlier(event), copies(event), switch_] : [copies(event)];
    const head = this._head(event, ...more);
    if (isRenewed) this._exchange(head, inside);
    else this._replace(head, ...inside);
    const words = asPrefix(this.page.text);
    if (words) reveal(this.box, words);
    if (!isRenewed) this.box.scrollTop = 0;
    if (!isRenewed && words) scrollToHit(this.box, words, this.box);
    if (this.focus) this.box.querySelector(this.focus)?.focus();
    this.focus = "";
  }

  /** Insert new content; a section with the same content keeps its folds, selection and focus. */
  _exchange(head, sections) {
    const [before, ...shown] = this.box.children;
    const label = (element) => element.getAttribute("aria-label") || element.textContent;
    const focused = before.contains(document.activeElement) ? label(document.activeElement) : null;
    before.replaceWith(head);
    if (focused !== null)
      [...head.querySelectorAll("button, a, summary")].find((one) => label(one) === focused)?.focus();
    const known = new Map(shown.map((section) => [section.dataset.title, section]));
    let last = head;
    for (const fresh of sections) {
      const old = known.get(fresh.dataset.title);
      if (old && this.texts.get(old) === this.texts.get(fresh)) {
        known.delete(fresh.dataset.title);
        // Facts have no text to compare.
        last = this.texts.has(old) ? old : patch(old, fresh);
      } else {
        last.after(fresh);
        last = fresh;
      }
    }
    for (const section of known.values()) section.remove();
  }

  /** Return a link to a comparison with the call of the same model or tool before this one. */
  _earlier({ kind, entry, seq }) {
    if (kind !== "llm" && kind !== "tool") return null;
    const { run } = this.page;
    const own = run.seq.indexOf(entry || seq);
    const isAlike = (at) =>
      run.kindOf(at) === kind && run.nameOf(at) === run.nameOf(own) && run.start[at] <= run.start[own];
    const before = own < 0 ? -1 : run.order.indexOf(own) - 1;
    for (let place = before; place >= 0; place -= 1) {
      const at = run.order[place];
      if (!isAlike(at)) continue;
      const query = new URLSearchParams({ session: run.id, call: run.seq[at], with: run.seq[own] });
      const title = "Compare it with the call before, word by word";
      return make("a", { class: "button quiet small", href: url(`compare?${query}`), title }, "Compare");
    }
    return null;
  }

  _head(event, ...tools) {
    return make(
      "header",
      {},
      make(
        "h2",
        {},
        kindSign(event.kind),
        " ",
        event.name || event.model || "",
        event.failed && make("span", { class: "failed" }, " failed"),
      ),
      tools,
      this._way("Previous event", "k", ICONS.left, -1),
      this._way("Next event", "j", ICONS.right, 1),
      make(
        "button",
        {
          type: "button",
          class: "quiet round",
          "aria-label": "Close the event",
          title: "Close (Esc)",
          onclick: () => this.page.select(0),
        },
        icon(ICONS.close),
      ),
    );
  }

  _way(label, key, path, by) {
    const run = () => {
      this.page.step(by);
      // The panel is drawn again: focus the button again, so that the user can step on.
      this.focus = `[aria-label="${label}"]`;
    };
    return make(
      "button",
      { type: "button", class: "quiet round", "aria-label": label, title: `${label} (${key})`, onclick: run },
      icon(path),
    );
  }

  _parts(event, part) {
    const parts = [];
    const error = this._error(event);
    if (error.length)
      parts.push(part("Error", error, event.traceback || event.logs || event.message || event.error || event.details));
    const others = otherFiles(event);
    const files = event.attachments?.length
      ? part(
          "Files",
          event.attachments.map((each) => file(each, others.includes(each))),
        )
      : null;
    if (files && event.kind === "action") parts.push(files);
    const { screenshot } = event;
    if (screenshot && !String(screenshot).startsWith("blob:")) parts.push(part("Screenshot", shown(screenshot)));
    for (const [key, title] of TEXTS) {
      // Already shown as the error.
      if (event.kind === "error" && (key === "details" || key === "logs")) continue;
      const recorded = valueAt(event, key),
        value = parsed(recorded);
      if (value === undefined || value === null || value === "") continue;
      const isMessages = key === "prompt" || isConversation(value);
      parts.push(
        part(
          title,
          isMessages
            ? conversation(value, clipped)
            : clipped(shown(recorded, { isOutput: isTool(event) && key !== "details" })),
          recorded,
        ),
      );
    }
    if (files && event.kind !== "action") parts.push(files);
    const rest = made(
      entriesOf(event).filter(
        ([key, value]) =>
          !KNOWN.has(key) &&
          !key.startsWith("tokens_") &&
          !isCounted(event, key) &&
          value !== null &&
          value !== "" &&
          !(Array.isArray(value) && !value.length),
      ),
    );
    parts.push(part("Facts", this._facts(event)));
    const judged = event.id && scoresOfEvent(this.page.run.id, event.id);
    if (judged) {
      const section = part("Scores and notes", judged);
      // While somebody writes, the form must not be exchanged for a new one.
      this.texts.set(section, event.id);
      parts.push(section);
    }
    if (Object.keys(rest).length) parts.push(part("Other", json(rest), rest));
    return parts;
  }

  _error(event) {
    const parts = [];
    const error = event.error;
    const words = [event.error_type, event.message, typeof error === "string" ? error : null]
      .filter(Boolean)
      .join(": ");
    if (words) parts.push(make("p", {}, make("strong", {}, words)));
    if (error && typeof error === "object") parts.push(shown(error));
    if (event.kind === "error") {
      if (event.details) parts.push(shown(event.details));
      if (event.logs) parts.push(traceback(event.logs));
    }
    const { run } = this.page,
      at = run.find(this.seq);
    const errorOf = (one) => {
      const inside = run.errorIn(one);
      return inside < 0 ? one : inside;
    };
    const own = event.failed && at >= 0 ? errorOf(at) : at;
    if (own !== at) parts.push(this._errorLine(run.seq[own], run.nameOf(own) || "the error"));
    else if (event.failed && at >= 0)
      for (const cause of run.causesIn(at, 3))
        parts.push(
          this._errorLine(
            run.seq[errorOf(cause)],
            `${kindText(run.kindOf(cause))} ${run.nameOf(cause)}`,
            run.seq[cause],
          ),
        );
    if (event.traceback) parts.push(traceback(event.traceback));
    if (event.trigger_entry) parts.push(make("p", {}, this._link(event.trigger_entry, "Go to the failed event")));
    return parts;
  }

  /** Return a line for an error inside this event, with its message as soon as it is fetched. */
  _errorLine(seq, name, to = seq) {
    const line = make("p", {}, this._link(to, name));
    ask(`sessions/${this.page.run.id}/events/${seq}`).then(
      (error) => typeof error.details === "string" && line.append(`: ${error.details.slice(0, 1_000)}`),
      () => {},
    );
    return line;
  }

  _link(seq, label) {
    return make(
      "a",
      {
        href: `?event=${seq}${location.hash}`,
        onclick: (click) => {
          click.preventDefault();
          this.page.select(seq, { isStep: true });
        },
      },
      label,
    );
  }

  _facts(event) {
    const { run } = this.page,
      at = run.find(this.seq),
      start = Number(event.start_ns) / 1e6;
    const rows = [
      ["Started", at < 0 ? stamp(start) : `${stamp(start)}, ${run.begins(at)} in`],
      [
        "Duration",
        event.finished
          ? duration((Number(event.end_ns) - Number(event.start_ns)) / 1e9)
          : this.page.isUnderWay(at)
            ? ["running for ", took(this.page, at)]
            : "did not finish",
      ],
      ["First token", event.time_to_first_token >= 0 ? `after ${duration(Number(event.time_to_first_token))}` : null],
      ["Agent", event.agent_name],
      ["Model", event.model],
      [
        "Tokens",
        event.tokens_in || event.tokens_out
          ? [`${count(event.tokens_in || 0)} in`, `${count(event.tokens_out || 0)} out`, ...partsOfTokens(event)].join(
              ", ",
            )
          : null,
      ],
      ["Cost", eventCost(event)],
      ["Tags", event.tags?.length ? event.tags.join(", ") : null],
      [
        "Inside",
        event.parent_entry
          ? this._link(
              event.parent_entry,
              (at >= 0 && run.find(event.parent_entry) >= 0 && run.nameOf(run.find(event.parent_entry))) ||
                "the parent event",
            )
          : null,
      ],
      ["Id", make("span", { class: "id" }, make("code", {}, event.id), " ", copyButton("Copy", event.id))],
    ];
    return make(
      "dl",
      { class: "facts" },
      rows
        .filter(([, value]) => value)
        .flatMap(([name, value]) => [
          make("dt", {}, name),
          make("dd", { class: COUNTED.has(name) ? "own" : null }, value),
        ]),
    );
  }
}

// Facts that are measured: a search does not mark them.
const COUNTED = new Set(["Started", "Duration", "First token", "Tokens", "Cost"]);

/** Copy a value in a form, with what is stored in files, and report what is not there. */
async function copyWhole(value, form) {
  const [filled, missing] = await whole(value);
  await copy(form(filled));
  if (missing) say(`Copied without ${many(missing, "value")} stored in a file that is not here`);
}

/** Return a menu that copies an event in one of several forms. */
function copies(event) {
  const own = made(entriesOf(event).filter(([key]) => key !== "raw"));
  const forms = [
    ["Text", prose],
    ["JSON", (value) => write(value)],
    ...(event.kind === "llm"
      ? [
          ["cURL", curl],
          ["Python", python],
        ]
      : []),
  ];
  const { element, box } = menu("Copy as");
  box.append(
    ...forms.map(([label, form]) => {
      const copied = () => (label === "JSON" ? copy(form(own)) : copyWhole(own, form));
      return make("button", { type: "button", class: "choice", onclick: closing(copied) }, label);
    }),
  );
  return element;
}

const plain = (value) => (typeof value === "string" ? value : write(value));

/** Return a line for a file, with what it has unless that is drawn elsewhere. */
function file(one, isDrawn) {
  if (one.bytes === null) return make("p", { class: "faint" }, `${one.digest.slice(0, 12)}… is missing`);
  if (!one.url)
    return make(
      "p",
      { class: "faint" },
      `${one.digest.slice(0, 12)}… ${one.kind}, ${bytes(one.bytes)}: not in this report`,
    );
  const link = make("a", { href: one.url, download: one.digest }, `${one.digest.slice(0, 12)}…`);
  const box = make("p", {}, link, ` ${one.kind}, ${bytes(one.bytes)}`);
  if (!isDrawn) return box;
  if (one.kind.startsWith("image/")) return make("div", {}, picture(one.url, "Attached image"), box);
  if (one.kind.startsWith("video/"))
    return make(
      "div",
      {},
      make("video", { src: one.url, controls: true, preload: "metadata", "aria-label": "Attached video" }),
      box,
    );
  return box;
}
