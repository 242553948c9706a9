// JSON as elements: short values with colours, longer ones as a tree that folds.

import { make } from "./base.js";
import { Digits, entriesOf, parse, write } from "./exact.js";
import { count, many } from "./formats.js";
import { defer } from "./late.js";
import { linked } from "./markdown.js";
import { media, mediaOf } from "./media.js";
import { pieces } from "./output.js";

// Characters of a value up to which it is shown whole, and of a string in a tree before a click on "show all".
const SMALL = 2_000,
  LONG = 1_000;
// Entries of an object or an array that are drawn at first, and how deep a tree is open at first.
const MANY = 100,
  OPEN = 3;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

/** Parse a text that is JSON of an object or an array; return any other value as it is. */
export function parsed(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return parse(value);
  } catch {
    return value;
  }
}

/** Return an element for any value as JSON. */
export function json(value) {
  const isFlat = !value || typeof value !== "object" || !Object.values(value).some(hasMore);
  const text = isFlat ? write(value) : "";
  return isFlat && text.length <= SMALL ? coloured(text) : tree(value);
}

const isContainer = (value) =>
  value !== null && typeof value === "object" && !(value instanceof Digits) && Object.keys(value).length > 0;
/** Return whether a value is bytes, or stored in a file, and can be drawn. */
const isBinary = (value) => Boolean(value && (value.$bytes || value.$blob) && mediaOf(value));
/** Return whether a value gets a fold of its own, or is shown in another form than JSON. */
const hasMore = (value) =>
  isContainer(value) ||
  (typeof value === "string" &&
    (value.length > LONG || value.includes("\n") || isContainer(parsed(value)) || mediaOf(value)));

function coloured(text) {
  const box = make("pre", { class: "json", tabindex: 0 });
  let from = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [all, string, colon, number] = match;
    box.append(
      text.slice(from, match.index),
      make(
        "span",
        { class: colon ? "key" : string ? "string" : number ? "number" : "word" },
        string && !colon ? quoted(string) : (string ?? all),
      ),
    );
    if (colon) box.append(colon);
    from = match.index + all.length;
  }
  box.append(text.slice(from));
  return box;
}

/** Return a string of JSON with its quotes; an address in it is a link. */
const quoted = (string) => (/^"https?:/i.test(string) ? ['"', linked(JSON.parse(string)), '"'] : string);

function tree(value) {
  return make("div", { class: "json tree-of-json", tabindex: 0 }, isContainer(value) ? entries(value, 0) : leaf(value));
}

/** Return the entries of an object or an array; of many the first ones, and a button for the next. */
function entries(value, depth) {
  const all = entriesOf(value),
    isList = Array.isArray(value);
  const draw = (from) => {
    const some = all.slice(from, from + MANY).map(([key, each]) => entry(isList ? null : key, each, depth));
    const left = all.length - from - MANY;
    if (left > 0) {
      const label = `… ${many(left, "more entry", "more entries")}`,
        more = make("button", { type: "button", class: "quiet small" }, label);
      const rest = all.slice(from + MANY).map(([key, each]) => (isList ? each : [key, each]));
      more.addEventListener(
        "click",
        defer(more, rest, () => more.replaceWith(...draw(from + MANY))),
      );
      some.push(more);
    }
    return some;
  };
  return draw(0);
}

function entry(key, value, depth) {
  const name =
    key === null
      ? make("span", { class: "dash", "aria-hidden": "true" }, "–")
      : make("span", { class: "key" }, JSON.stringify(key), ":");
  const inside = typeof value === "string" ? parsed(value) : value;
  if (isBinary(inside)) return make("div", { class: "entry" }, name, " ", media(mediaOf(inside)));
  if (!isContainer(inside)) return make("div", { class: "entry" }, name, " ", leaf(value));
  const about = Array.isArray(inside)
    ? many(inside.length, "entry", "entries")
    : `{${Object.keys(inside).slice(0, 4).join(", ")}${Object.keys(inside).length > 4 ? ", …" : ""}}`;
  const box = make("div", { class: "inside" });
  const fill = () => box.append(...entries(inside, depth + 1));
  const isOpen = depth + 1 < OPEN;
  const fold = make(
    "details",
    { class: "entry", open: isOpen },
    make(
      "summary",
      {},
      name,
      " ",
      make("span", { class: "faint" }, inside === value ? about : `${about}, JSON in a text`),
    ),
    box,
  );
  if (isOpen) fill();
  // Drawn when it is opened for the first time.
  else fold.addEventListener("toggle", defer(fold, inside, fill));
  return fold;
}

function leaf(value) {
  if (typeof value !== "string")
    return make(
      "span",
      { class: typeof value === "number" || value instanceof Digits ? "number" : "word" },
      write(value),
    );
  const seen = mediaOf(value);
  if (seen) return media(seen);
  // Line breaks are shown as such: a program or a letter in a field is to be read.
  const isBlock = value.includes("\n");
  const box = make("span", { class: isBlock ? "string block" : "string" });
  if (isBlock) box.append(...pieces(value.slice(0, LONG)).map(([part]) => part));
  else box.append(...[quoted(JSON.stringify(value.slice(0, LONG)))].flat(2));
  if (value.length > LONG) {
    const more = make(
      "button",
      { type: "button", class: "quiet small" },
      `… show all ${count(value.length)} characters`,
    );
    const showAll = () => box.replaceChildren(isBlock ? value : JSON.stringify(value));
    more.addEventListener("click", defer(more, value, showAll));
    box.append(more);
  }
  return box;
}
