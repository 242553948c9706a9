// Recorded values as elements: messages as a conversation, JSON with colours, files as links.
// All recorded text becomes text nodes; a value only decides which of our own elements it is put into.

import { make } from "./base.js";
import { bytes, count } from "./formats.js";

// Characters that are shown before a click on "show all".
const LONGEST = 20_000;
const ROLES = new Set(["system", "user", "assistant", "tool", "developer"]);

/** Return an element for any value. */
export function shown(value) {
  if (value === null || value === undefined) return make("span", { class: "faint" }, "nothing");
  if (isKept(value)) return kept(value);
  if (typeof value === "string") return text(value);
  if (isConversation(value)) return make("div", {}, [value].flat().map(message));
  return json(value);
}

/** Return an element for text; long text is cut, with a button that shows all of it. */
export function text(value, kind = "text") {
  const box = make("div", { class: kind }, value.slice(0, LONGEST));
  if (value.length > LONGEST) {
    box.append(
      make(
        "button",
        { type: "button", class: "quiet small", onclick: (event) => event.target.replaceWith(value.slice(LONGEST)) },
        `… show all ${count(value.length)} characters`,
      ),
    );
  }
  return box;
}

const isKept = (value) => typeof value === "object" && typeof value.$blob === "string";

/** Return an element for the beginning of a value that is stored in a blob. */
function kept(value) {
  const box = make("div", {}, text(String(value.head ?? ""), "text clip"));
  box.append(
    make(
      "p",
      { class: "faint" },
      `… ${bytes(value.$len)} in all, stored beside the journal as ${value.$blob.slice(0, 12)}…`,
    ),
  );
  return box;
}

const isMessage = (value) =>
  value &&
  typeof value === "object" &&
  typeof value.role === "string" &&
  ("content" in value || "tool_calls" in value || "parts" in value);
export const isConversation = (value) =>
  Array.isArray(value) ? value.length > 0 && value.every(isMessage) : isMessage(value);

export function message(one) {
  const box = make(
    "div",
    { class: `message ${ROLES.has(one.role) ? one.role : ""}` },
    make("div", { class: "role" }, one.name ? `${one.role} · ${one.name}` : one.role),
  );
  const content = one.content ?? one.parts;
  if (Array.isArray(content)) content.forEach((part) => box.append(piece(part)));
  else if (content !== null && content !== undefined && content !== "")
    box.append(typeof content === "string" ? text(content) : shown(content));
  for (const call of Array.isArray(one.tool_calls) ? one.tool_calls : []) box.append(toolCall(call));
  return box;
}

function piece(part) {
  if (typeof part === "string") return text(part);
  if (typeof part?.text === "string") return text(part.text);
  if (part?.type === "tool_use" || part?.type === "function_call")
    return toolCall({ function: { name: part.name, arguments: part.input ?? part.arguments } });
  return json(part);
}

function toolCall(call) {
  const target = call?.function ?? call ?? {};
  return make(
    "div",
    {},
    make("span", { class: "kind tool" }, String(target.name ?? "tool")),
    json(parsed(target.arguments)),
  );
}

/** Parse a text that is JSON; return any other value as it is. */
export function parsed(value) {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;

export function json(value) {
  if (typeof value === "string") return text(value);
  const whole = JSON.stringify(value, null, 2) ?? String(value);
  const box = make("pre", { class: "json", tabindex: 0 });
  const draw = (part) => {
    let from = 0;
    for (const match of part.matchAll(TOKEN)) {
      const [all, string, colon, number] = match;
      box.append(
        part.slice(from, match.index),
        make("span", { class: colon ? "key" : string ? "string" : number ? "number" : "word" }, string ?? all),
      );
      if (colon) box.append(colon);
      from = match.index + all.length;
    }
    box.append(part.slice(from));
  };
  draw(whole.slice(0, LONGEST));
  if (whole.length > LONGEST) {
    box.append(
      make(
        "button",
        { type: "button", class: "quiet small", onclick: (event) => event.target.replaceWith(whole.slice(LONGEST)) },
        `… show all ${count(whole.length)} characters`,
      ),
    );
  }
  return box;
}

/** Return an element for a traceback. */
export function traceback(value) {
  const box = text(String(value), "text");
  return make("pre", { class: "traceback", tabindex: 0 }, ...box.childNodes);
}
