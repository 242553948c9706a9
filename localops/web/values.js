// What was recorded, made readable: messages as a conversation, JSON with its parts told apart, files as links.
// All of it is text nodes; what a value says of itself changes no more than which of our own boxes it stands in.

import { make } from "./base.js";
import { bytes, count } from "./formats.js";

const LONGEST = 20_000; // characters drawn before one has to ask for more
const ROLES = new Set(["system", "user", "assistant", "tool", "developer"]);

/** A value of any shape. */
export function shown(value) {
  if (value === null || value === undefined) return make("span", { class: "faint" }, "nothing");
  if (isKept(value)) return kept(value);
  if (typeof value === "string") return text(value);
  if (isConversation(value)) return make("div", {}, [value].flat().map(message));
  return json(value);
}

/** Long text begins, and goes on when asked. */
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

/** A value that was too long for its row lies beside it. */
function kept(value) {
  const box = make("div", {}, text(String(value.head ?? ""), "text clip"));
  box.append(
    make(
      "p",
      { class: "faint" },
      `… ${bytes(value.$len)} in all, kept beside the journal as ${value.$blob.slice(0, 12)}…`,
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
  const asked = call?.function ?? call ?? {};
  return make(
    "div",
    {},
    make("span", { class: "kind tool" }, String(asked.name ?? "tool")),
    json(unpacked(asked.arguments)),
  );
}

/** JSON that was kept as text is as readable as any. */
export function unpacked(value) {
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
    for (const found of part.matchAll(TOKEN)) {
      const [all, string, colon, number] = found;
      box.append(
        part.slice(from, found.index),
        make("span", { class: colon ? "key" : string ? "string" : number ? "number" : "word" }, string ?? all),
      );
      if (colon) box.append(colon);
      from = found.index + all.length;
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

/** The words of an error, and where it came from. */
export function traceback(value) {
  const box = text(String(value), "text");
  return make("pre", { class: "traceback", tabindex: 0 }, ...box.childNodes);
}
