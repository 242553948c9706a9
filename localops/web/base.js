// Shared by all pages: elements, requests, messages, the theme, keyboard shortcuts and live updates.
// Recorded text only ever becomes a text node: nothing in these files parses HTML.

import { isReport, now } from "./clock.js";
import { parse } from "./exact.js";
import { know } from "./files.js";
import { kindClass, kindText } from "./kinds.js";
import { listen } from "./news.js";
import { forget, remember } from "./recent.js";
import { hasChoice, switchZone, zone, zoneAt } from "./times.js";
import { url } from "./url.js";

export const data = JSON.parse(document.getElementById("data")?.textContent || "{}");
export const byId = (id) => document.getElementById(id);

/** Create an element; properties that begin with "on" are listeners, others attributes; children are nodes or text. */
export function make(name, facts = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(facts)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Return an element that names a kind of events in its colour. */
export const kindSign = (kind) => make("span", { class: `kind ${kindClass(kind)}` }, kindText(kind));

export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", "aria-hidden": "true", class: "icon" }))
    svg.setAttribute(key, value);
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5z",
  sun:
    "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1v2M8 13v2M1 8h2M13 8h2" +
    "M3 3l1.4 1.4M11.6 11.6 13 13M13 3l-1.4 1.4M4.4 11.6 3 13",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 5h7v8H6zM3 11V3h7",
  left: "M10 3 5 8l5 5",
  right: "M6 3l5 5-5 5",
  find: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3 14 14",
  leave: "M6 3H3v10h3M7 8h7M11 5l3 3-3 3",
};

// Requests

// The status of a request whose filters are invalid, and the milliseconds after which one that failed is sent again.
const REFUSED = 400,
  AGAIN = 5_000;
// The milliseconds after which a page looks although nothing was reported: a process that dies reports nothing, and a
// server that hangs does not, either.  A page that takes long to look does so more rarely: at most for this share of
// the time, but at least once in so many milliseconds.
const LOOK = 10_000,
  SHARE = 0.05,
  RARELY = 60_000;
// The milliseconds after which a page looks why its updates were interrupted, and those after which a look that has no
// answer is shown.
const SOON = 1_000,
  UNANSWERED = 10_000;
const SILENT = "The server does not answer. Is it still running?";

// The address of one event, whose recorded values keep their digits.
const EVENT = /\/events\/[^/]+$/;

class RequestError extends Error {
  constructor(text, status = 0) {
    super(text);
    this.status = status;
  }
}

/** Fetch JSON from an address below /api/1; throw an error with a sentence to show. A list is several parameters. */
export async function ask(path, query = {}, options = {}) {
  if (isReport) return (await import("./report.js")).answer(path, query);
  const pairs = Object.entries(query).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));
  const params = new URLSearchParams(
    pairs.filter(([, value]) => value !== null && value !== undefined && value !== ""),
  );
  const address = url(`api/1/${path}${params.size ? `?${params}` : ""}`);
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(SILENT);
  }
  const read = EVENT.test(path) ? async () => parse(await response.text()) : () => response.json();
  const reply = await read().catch((error) => {
    // An error may have no JSON; anything else was cut off, as by a page that is left.
    if (!response.ok) return {};
    throw error.name === "AbortError" ? error : new RequestError("The answer of the server is not complete.");
  });
  if (response.status === 401) throw new RequestError(`Your login has expired. ${loginAgain()}`);
  know(reply.attachments);
  if (!response.ok) throw new RequestError(reply.message || `The server answered ${response.status}.`, response.status);
  return reply;
}

/** Return how to log in again: a hub has a form for a key, the program on this machine prints a link. */
const loginAgain = () =>
  "leave" in byId("tools").dataset
    ? "Reload this page to log in again."
    : "Open the link that `localops ui` prints to log in again.";

/**
 * Call `changed(isNew)` when something is new, at most once in `pause` ms, and in any case from time to time. After an
 * error it is called again soon. A hidden page does not listen, and catches up when it is shown. Return a function that
 * stops.
 */
export function watch(changed, { pause = 1_000 } = {}) {
  let seen = null,
    fresh = false,
    busy = false,
    timer = 0,
    every = LOOK,
    leave = null,
    failure = null;
  const wait = (time) => {
    clearTimeout(timer);
    if (leave && time) timer = setTimeout(run, time);
  };
  const run = async () => {
    if (busy) return;
    const isNew = fresh || failure !== null,
      began = performance.now();
    busy = true;
    fresh = false;
    const late = setTimeout(() => {
      failure = new RequestError(SILENT);
      if (leave) live(failure.message);
    }, UNANSWERED);
    // A refused filter stops nothing: the page shows what is wrong with it.
    failure = await changed(isNew).then(
      () => null,
      (error) => (error.status === REFUSED ? null : error),
    );
    clearTimeout(late);
    busy = false;
    every = Math.min(RARELY, Math.max(LOOK, (performance.now() - began) / SHARE));
    if (leave) live(failure?.message);
    wait(fresh ? pause : failure ? AGAIN : every);
  };
  const receive = (news) => {
    const isConnected = news !== null;
    if (isConnected && !failure) live();
    // The stream does not say why it was interrupted, but a request does; after one that failed another follows anyway.
    if (isConnected ? news === seen && !failure : failure) return;
    if (isConnected) seen = news;
    if (!fresh && !busy) wait(isConnected ? pause : SOON);
    fresh = true;
  };
  const turn = () => {
    if (document.hidden) stop();
    else leave ||= listen(receive);
    wait(every);
  };
  const stop = () => {
    leave?.();
    leave = null;
    // News that `changed` was not called for must count as new when the page listens again.
    if (fresh) seen = null;
    fresh = false;
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return () => {
    document.removeEventListener("visibilitychange", turn);
    stop();
    wait(0);
    byId("live").hidden = true;
  };
}

// Messages

let toastTimer;

/** Show a short message at the bottom of the page; screen readers read it aloud. */
export function say(text) {
  const box = byId("toast") || document.body.appendChild(make("div", { id: "toast", role: "status" }));
  box.textContent = text;
  box.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => box.classList.remove("shown"), 4000);
}

export const notice = (text, kind = "empty") =>
  make("p", { class: kind, role: kind === "problem" ? "alert" : null }, text);

/** Make a sentence of words of the server that begin with a small letter. */
export const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

/** Return the server's sentence about a filter that no session can pass, if there is one. */
export const hintOf = ({ hint }) => hint && make("p", {}, sentence(hint));

/** Put text on the clipboard, and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not allow copying: select the text instead");
  }
}

/** Return a button that copies a text, or calls a function that does. */
export const copyButton = (label, copied) =>
  make(
    "button",
    { type: "button", class: "quiet small", onclick: () => (typeof copied === "function" ? copied() : copy(copied)) },
    icon(ICONS.copy),
    label,
  );

// The frame: time zone, theme, shortcuts, logout

const shortcuts = [];

/** Add a keyboard shortcut with its label in the help; `run` may return false to leave the key to the browser. */
export function shortcut(keys, label, run) {
  shortcuts.push({ keys: [keys].flat(), label, run });
}

const isTyping = (target) =>
  target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // Keys typed into an open menu are for its field: focus it, and pass this key on.
  const menu = event.target.closest?.(".menu[open]");
  if (menu && event.key.length === 1) {
    if (event.key !== " ") menu.querySelector(".box > input[type=search]:not([hidden])")?.focus();
    return;
  }
  const match = shortcuts.find((each) => each.keys.includes(event.key));
  if (match && match.run(event) !== false) event.preventDefault();
});

// What is typed for a field that has no focus yet, with a line break for Enter: for a search, or for the palette while
// it is loaded; null at other times.
let typed = null;
// Milliseconds for which a field may be late, and between two tries.
const LATE = 10_000,
  TRY = 20;

addEventListener(
  "keydown",
  (event) => {
    if (typed === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Backspace") typed = typed.slice(0, -1);
    else if (event.key.length === 1 || event.key === "Enter") typed += event.key === "Enter" ? "\n" : event.key;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  { capture: true },
);

/** Focus a field as soon as possible, and insert the keys that were typed until then. */
async function focus(field, early = "") {
  typed = early;
  for (const end = Date.now() + LATE; Date.now() < end;) {
    field.focus();
    if (document.activeElement === field) break;
    // oxlint-disable-next-line no-await-in-loop
    await new Promise((done) => setTimeout(done, TRY));
  }
  const [text, ...enter] = typed.split("\n");
  typed = null;
  if (text) {
    field.value += text;
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
  if (enter.length)
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
}

/** Add `/`, which leads to the field of a search: `reveal` shows the field where it is hidden. */
export function searchKey(label, field, reveal = () => {}) {
  const run = (early) => {
    reveal();
    focus(field, early);
  };
  shortcut("/", label, () => run(""));
  const early = takeEarly();
  if (early !== null) run(early);
}

/** Return what was typed after `/` before any module ran; null if it was not pressed. */
const takeEarly = () => window.takeEarlyKeys?.() ?? null;
// A page that has no search by the time that its modules ran does not get one.
setTimeout(takeEarly);

export function help() {
  const rows = shortcuts.map(({ keys, label }) =>
    make(
      "div",
      {},
      make(
        "dt",
        {},
        keys.map((key) => make("kbd", {}, NAMES[key] || key)),
      ),
      make("dd", {}, label),
    ),
  );
  const dialog = make(
    "dialog",
    { class: "sheet", "aria-labelledby": "help-title" },
    make(
      "form",
      { method: "dialog" },
      make("h2", { id: "help-title" }, "Keys"),
      make("button", { class: "quiet", "aria-label": "Close" }, icon(ICONS.close)),
    ),
    make("dl", { class: "keys" }, rows),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", " ": "Space" };

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";

const switchTheme = () => theme(isDark() ? "light" : "dark");

/** Show the pages in light or dark colours. */
export function theme(chosen) {
  document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem("localops-theme", chosen);
  } catch {
    // Without storage, the choice lasts as long as this page.
  }
  themed();
}

const listeners = new Set();
/** Call `listener` when colours change: a canvas must then be drawn again. Return a function that stops this. */
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
function themed() {
  const button = byId("theme");
  if (button) {
    button.replaceChildren(icon(isDark() ? ICONS.sun : ICONS.moon));
    button.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
  }
  listeners.forEach((listener) => listener());
}
dark.addEventListener("change", themed);

async function leave() {
  try {
    forget();
    await fetch(url("logout"), { method: "POST", headers: { "Content-Type": "application/json" } });
    location.assign(url("login"));
  } catch {
    say("The server does not answer: you are not logged out");
  }
}

/** Return a colour of the style sheet in the current theme, for drawing on a canvas. */
export function colour(name) {
  const probe = document.body.appendChild(make("i", { hidden: true }));
  probe.style.color = `var(--${name})`;
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

byId("tools").append(
  make("span", { id: "live", class: "live", hidden: true }, "live"),
  make(
    "button",
    {
      type: "button",
      class: "quiet round",
      id: "goto",
      hidden: isReport || document.documentElement.dataset.page === "login",
      onclick: goTo,
      "aria-label": "Go to",
      title: "Go to a session, page, filter or view (Ctrl+K)",
    },
    icon(ICONS.find),
  ),
  make(
    "button",
    {
      type: "button",
      class: "quiet",
      id: "zone",
      hidden: !hasChoice,
      onclick: switchZone,
      title: "UTC, or the time of this computer (z)",
      "aria-label": `Time zone ${zone}: change`,
    },
    zoneAt(now()),
  ),
  make(
    "button",
    { type: "button", class: "quiet round", id: "keys", onclick: help, "aria-label": "Keys", title: "Keys (?)" },
    "?",
  ),
  make("button", { type: "button", class: "quiet round", id: "theme", onclick: switchTheme, title: "Theme (t)" }),
);
if ("leave" in byId("tools").dataset)
  byId("tools").append(
    make(
      "button",
      { type: "button", class: "quiet round", onclick: leave, "aria-label": "Log out", title: "Log out" },
      icon(ICONS.leave),
    ),
  );
themed();
if (document.documentElement.dataset.page === "session" && !isReport) remember(data);

/** Open the palette, with what is typed until it is loaded. */
async function goTo() {
  typed = "";
  try {
    const { open } = await import("./palette.js");
    open(typed.trim());
  } catch {
    say(SILENT);
  } finally {
    typed = null;
  }
}

addEventListener(
  "keydown",
  (event) => {
    if (isReport || event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    if (event.altKey || event.shiftKey || typed !== null) return;
    if (document.documentElement.dataset.page === "login" || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    goTo();
  },
  { capture: true },
);
shortcut("?", "This help", help);
// For the help: this one is listened to everywhere, also in fields.
if (!isReport) shortcut("Ctrl+K", "Go to a session, page, filter or view", () => false);
shortcut("t", "Light or dark", switchTheme);
if (hasChoice) shortcut("z", "UTC, or the time of this computer", switchZone);

/** Show that live updates arrive, or what stopped them. */
function live(stopped = "") {
  const sign = byId("live");
  sign.hidden = false;
  const [sentence] = stopped.split(/\.(?: |$)/);
  sign.textContent = stopped ? `not updating: ${sentence[0].toLowerCase()}${sentence.slice(1)}` : "live";
  sign.title = stopped || "Updates live: new events appear by themselves";
  sign.classList.toggle("off", Boolean(stopped));
}
