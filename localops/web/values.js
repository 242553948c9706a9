// Recorded values as elements: messages as a conversation, Markdown, JSON that folds, pictures, files as links.
// All recorded text becomes text nodes; a value only decides which of our own elements it is put into.

import { make } from "./base.js";
import { at, Digits, entriesOf, write } from "./exact.js";
import { bytes, count } from "./formats.js";
import { json, parsed } from "./json.js";
import { defer, drawLate } from "./late.js";
import { drawn, isMarked, isShort, linked } from "./markdown.js";
import { media, mediaOf } from "./media.js";
import {
  callOf,
  callsBeside,
  messageOf,
  messagesOf,
  partsOf as itemsOf,
  resultOf,
  targetOf,
  thoughtIn,
  thoughtOf,
} from "./messages.js";
import { isDocument, lines } from "./output.js";
import { table } from "./table.js";

export { json, parsed };

// Characters that are shown before a click on "show all".
const LONGEST = 20_000;
const ROLES = new Set(["system", "user", "assistant", "tool", "developer"]);
// Columns of a list of records that is shown as a table.
const WIDEST = 8;

/** Return an element for any value; text that a tool was given or wrote is shown line by line. */
export function shown(value, { isOutput = false } = {}) {
  if (value === null || value === undefined) return make("span", { class: "faint" }, "nothing");
  const messages = messagesOf(value);
  if (messages)
    return make(
      "div",
      {},
      messages.map((one) => message(one)),
    );
  const medium = mediaOf(value);
  if (medium) return media(medium);
  if (isKept(value)) return kept(value, { isOutput });
  if (typeof value === "string") return isOutput ? output(value) : prose(value);
  if (value instanceof Digits) return json(value);
  if (isOutput && isContent(value))
    return make(
      "div",
      {},
      value.map((part) => outputPiece(part)),
    );
  if (isTable(value)) return records(value);
  return json(value);
}

/** Return an element for text as it is; long text is cut, with a button that shows all of it. */
export function text(value, kind = "text") {
  return cut(value, (part) => make("div", { class: kind }, part));
}

/** Return an element for a text by a person or a model, with Markdown or JSON drawn, and a switch to the raw text. */
export function prose(value) {
  const thought = thoughtIn(value);
  if (thought) return make("div", {}, thinking(thought[0]), thought[1] && prose(thought[1]));
  const draw = drawJson(value) ?? (isMarked(value.slice(0, LONGEST)) ? () => cut(value, drawn) : null);
  return draw ? switched(draw, () => text(value)) : text(value);
}

/** Return an element for the text of a tool: its lines as they are, unless it is JSON or surely Markdown. */
export function output(value) {
  const start = value.slice(0, LONGEST),
    raw = () => cut(value, lines),
    draw = drawJson(value) ?? (isDocument(start) ? () => cut(value, drawn) : null);
  if (draw) return switched(draw, raw);
  return isMarked(start) ? switched(raw, () => cut(value, drawn), ["Show as Markdown", "Show as recorded"]) : raw();
}

/** Return what draws a text that is JSON; null for any other text. */
function drawJson(value) {
  const inside = parsed(value);
  return inside === value ? null : () => (isTable(inside) ? records(inside, { isOwn: false }) : json(inside));
}

/** Return an element with a button that switches between two forms. */
function switched(first, second, labels = ["Show as recorded", "Show formatted"]) {
  const box = make("div", { class: "prose" });
  let isSecond = false;
  const show = () =>
    box.replaceChildren(
      make(
        "button",
        {
          type: "button",
          class: "small raw",
          onclick: () => {
            isSecond = !isSecond;
            show();
            box.querySelector(":scope > .raw").focus();
          },
        },
        labels[Number(isSecond)],
      ),
      isSecond ? second() : first(),
    );
  show();
  return box;
}

function cut(value, draw) {
  const box = draw(value.slice(0, LONGEST));
  if (value.length > LONGEST) {
    const more = make(
      "button",
      { type: "button", class: "quiet small" },
      `… show all ${count(value.length)} characters`,
    );
    more.addEventListener(
      "click",
      defer(more, value, () => box.replaceWith(draw(value))),
    );
    box.append(more);
  }
  return box;
}

// How many times as high as its limit an element is before its end is hidden: a click should show more than a line.
const HIGHER = 1.3;

/** Return a long element with its end hidden, and a button that shows the whole of it. */
export function clipped(inside) {
  const box = make("div", { class: "clip" }, inside);
  const button = make(
    "button",
    {
      type: "button",
      class: "quiet small",
      hidden: true,
      onclick: () => {
        box.classList.add("whole");
        box.classList.remove("cut");
        button.remove();
        watch.disconnect();
      },
    },
    "Show all",
  );
  const watch = new ResizeObserver(() => {
    box.classList.remove("short");
    button.hidden = box.scrollHeight <= box.clientHeight * HIGHER;
    box.classList.toggle("cut", !button.hidden);
    box.classList.toggle("short", button.hidden);
  });
  watch.observe(inside);
  return make("div", {}, box, button);
}

// Messages of a prompt that are shown as they are; of a longer one the last message, and the others in a fold.
const FEW = 2;

/**
 * Return an element for a prompt: what is new in it comes first, and the messages before that are folded.  `wrap` puts
 * the text of each message into an element of its own, beside the tools that it calls.  If it `isLate`, the folded ones
 * are drawn when they are opened: each prompt of a long conversation repeats all of it.
 */
export function conversation(prompt, wrap = asItIs, { isLate = false } = {}) {
  const messages = messagesOf(prompt);
  if (!messages) return wrap(shown(prompt));
  const draw = (one) => message(one, wrap);
  if (messages.length <= FEW) return make("div", {}, messages.map(draw));
  const earlier = messages.slice(0, -1),
    roles = [...new Set(earlier.map((one) => messageOf(one)?.role ?? one.type))].join(", ");
  const fold = make(
    "details",
    { class: "earlier" },
    make("summary", { class: "faint" }, `${count(earlier.length)} earlier messages: ${roles}`),
  );
  const fill = () => fold.append(...earlier.map(draw));
  if (isLate) fold.addEventListener("toggle", defer(fold, earlier, fill));
  else fill();
  return make("div", {}, draw(messages.at(-1)), fold);
}

const isKept = (value) => typeof value?.$blob === "string";

/** Return an element for the beginning of a value that is stored in a blob. */
function kept(value, { isOutput = false } = {}) {
  const head = String(value.head ?? "");
  const box = make("div", {}, clipped(isOutput ? lines(head) : text(head)));
  box.append(
    make(
      "p",
      { class: "faint" },
      `… the beginning of ${bytes(value.$len)}, stored beside the journal as ${value.$blob.slice(0, 12)}…`,
    ),
  );
  return box;
}

// Tables

/** Return whether a value is a list of records with the same few fields, none of which holds more than a line. */
function isTable(value) {
  if (!Array.isArray(value) || value.length < 2) return false;
  const isRecord = (each) => each && typeof each === "object" && !Array.isArray(each) && !isKept(each);
  if (!value.every(isRecord)) return false;
  const names = new Set(value.flatMap(Object.keys));
  // A key that is there twice has no column.
  if (value.some((each) => entriesOf(each).length > Object.keys(each).length)) return false;
  const isLine = (each) =>
    each === null || (typeof each === "string" ? each.length <= 200 && !each.includes("\n") : typeof each !== "object");
  return (
    names.size > 1 &&
    names.size <= WIDEST &&
    value.every((each) => Object.keys(each).length * 2 > names.size && Object.values(each).every(isLine))
  );
}

/** Return a list of records as a table, with a switch to its JSON unless a text around it has one. */
function records(value, { isOwn = true } = {}) {
  const names = [...new Set(value.flatMap((each) => entriesOf(each).map(([name]) => name)))];
  const cell = (each, name) => (typeof each[name] === "number" ? write(at(each, name)) : String(each[name]));
  const isNumber = (name) => value.every((each) => typeof (each[name] ?? 0) === "number");
  const kinds = names.map((name) =>
    isNumber(name)
      ? "num"
      : isShort([name, ...value.map((each) => (name in each ? cell(each, name) : ""))])
        ? "short"
        : null,
  );
  const box = make("div", { class: "prose" });
  const lines = (from) => {
    const some = value.slice(from, from + 100).map((each) =>
      make(
        "tr",
        {},
        names.map((name, column) => make("td", { class: kinds[column] }, name in each ? linked(cell(each, name)) : "")),
      ),
    );
    return some;
  };
  const body = make("tbody", {}, lines(0));
  const more = make("button", { type: "button", class: "quiet small", hidden: value.length <= 100 });
  const offer = () => {
    const left = value.length - body.children.length;
    more.hidden = !left;
    more.textContent = `… ${count(left)} more`;
    if (!left) return;
    const next = () => {
      body.append(...lines(body.children.length));
      offer();
    };
    defer(more, value.slice(body.children.length), next);
  };
  more.addEventListener("click", () => drawLate(more));
  offer();
  box.append(
    isOwn
      ? make(
          "button",
          { type: "button", class: "small raw", onclick: () => box.replaceWith(json(value)) },
          "Show as recorded",
        )
      : "",
    table(
      names.map((name, column) => [name, kinds[column]]),
      body,
      { tabindex: 0 },
    ),
    more,
  );
  return box;
}

// Messages

/** Return whether a value is a message, or messages. */
export const isConversation = (value) => messagesOf(value) !== null;

const asItIs = (element) => element;
// Roles whose messages have a colour; other names of the same roles.
const COLOURS = { model: "assistant", function: "tool" };

/** Return an element for a message.  Its text is wrapped, so that a long text does not hide the tools it calls. */
export function message(value, wrap = asItIs) {
  const one = messageOf(value);
  if (!one) return make("div", { class: "message" }, partsOf([value], wrap));
  const { role, name } = one,
    kind = COLOURS[role] ?? role;
  const draw = kind === "tool" ? outputPiece : (part) => piece(part);
  return make(
    "div",
    { class: `message ${ROLES.has(kind) ? kind : ""}` },
    make("div", { class: "role" }, name ? `${role} · ${name}` : role),
    partsOf(itemsOf(one), wrap, draw),
    callsOf(callsBeside(one), wrap),
  );
}

/** Return elements for the parts of a message; the parts between two tool calls share one, which is wrapped. */
function partsOf(parts, wrap, draw = piece) {
  const elements = [],
    texts = [];
  for (const part of [...parts, null]) {
    const call = callOf(part);
    if ((part === null || call) && texts.length)
      elements.push(
        wrap(
          make(
            "div",
            {},
            texts.splice(0).map((each) => draw(each)),
          ),
        ),
      );
    if (call) elements.push(toolCall(call, wrap));
    else texts.push(part);
  }
  return elements;
}

/** Return elements for the tools that a model calls, as its answer or the event of its call has them. */
export const callsOf = (calls, wrap = asItIs) =>
  Array.isArray(calls) ? calls.map((call) => toolCall(targetOf(call), wrap)) : [];

/** Return an element for a part of a message, in the forms of `messages.js`; `draw` draws its text. */
function piece(part, draw = prose) {
  if (typeof part === "string") return draw(part);
  if (!part || typeof part !== "object") return json(part);
  const medium = mediaOf(part);
  if (medium) return media(medium);
  if (isKept(part)) return kept(part);
  if (isKept(part.text)) return kept(part.text);
  const call = callOf(part);
  if (call) return toolCall(call);
  const result = resultOf(part);
  if (result) return toolResult(result);
  const thought = thoughtOf(part);
  if (thought !== null) return thinking(thought);
  if (part.type === "refusal") return labelled("refused", draw(String(part.refusal ?? "")));
  if (typeof part.text === "string") return draw(part.text);
  if (part.type === "text" && typeof part.content === "string") return draw(part.content);
  return json(part);
}

const outputPiece = (part) => piece(part, output);

/** Return whether a value is a list of parts, as the Model Context Protocol returns them. */
const isContent = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((part) => typeof part?.type === "string" && (mediaOf(part) || typeof part.text === "string"));

const labelled = (label, ...inside) => make("div", {}, make("span", { class: "role" }, label), ...inside);

/** Return what a model thought before it answered, folded. */
function thinking(words) {
  if (!words) return make("p", { class: "faint" }, "thinking, not readable");
  return make(
    "details",
    { class: "thinking" },
    make("summary", { class: "faint" }, `Thinking, ${count(words.length)} characters`),
    prose(words),
  );
}

/** Return an element for the call of a tool. */
function toolCall({ name, input }, wrap = asItIs) {
  const given = argumentsOf(input);
  return make("div", { class: "call" }, make("span", { class: "kind tool" }, name), given && wrap(given));
}

function argumentsOf(value) {
  const inside = parsed(value);
  if (inside === undefined || inside === null || inside === "") return "";
  return typeof inside === "string" ? output(inside) : json(inside);
}

function toolResult({ of, value, isError }) {
  const label = isError ? "failed" : "result";
  const inside =
    Array.isArray(value) && value.every((part) => part && typeof part === "object" && part.type)
      ? value.map((part) => outputPiece(part))
      : [shown(value, { isOutput: true })];
  return labelled(of ? `${label} of ${of}` : label, ...inside);
}

/** Return an element for a traceback. */
export function traceback(value) {
  const box = text(String(value), "text");
  return make("pre", { class: "traceback", tabindex: 0 }, ...box.childNodes);
}
