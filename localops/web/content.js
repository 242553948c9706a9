// The content of one event as a turn of a conversation.

import { ask, make } from "./base.js";
import { at } from "./exact.js";
import { media, mediaOf, otherFiles, picture } from "./media.js";
import { callsOf, clipped, conversation, isConversation, parsed, shown } from "./values.js";

/**
 * Return elements for the content of an event: on the left its input, on the right its result.  `error` is the error
 * inside it, which is shown if the event has none of its own.
 */
export function content(event, error = null) {
  const sides = [[], []];
  const add = (side, label, value) => {
    const inside = parsed(value);
    if (inside === undefined || inside === null || inside === "") return;
    const isOutput = isTool(event) && label !== "error";
    // Messages say who speaks.
    const element = isConversation(inside)
      ? conversation(inside, clipped, { isLate: true })
      : make(
          "div",
          { class: `message ${label}` },
          make("div", { class: "role" }, label),
          clipped(shown(value, { isOutput })),
        );
    sides[side].push(element);
  };
  if (event.kind === "llm") {
    add(0, "user", at(event, "prompt"));
    add(1, "assistant", at(event, "completion"));
    sides[1].push(...callsOutside(event));
    if (typeof event.empty === "string") sides[1] = [empty(event.empty, sides[1][0])];
    add(1, "error", event.error || event.message);
  } else
    for (const [side, key, label] of [
      [0, "params", "arguments"],
      [0, "input", "input"],
      [1, "returns", "result"],
      [1, "result", "result"],
      [1, "output", "output"],
      [1, "message", "error"],
      [1, "error", "error"],
      [1, "details", "error"],
    ])
      add(side, label, at(event, key));
  if (error && !event.error && !event.message) add(1, "error", wordsOf(error));
  const screenshot = mediaOf(event.screenshot);
  if (screenshot) sides[1].push(media(screenshot));
  for (const file of otherFiles(event))
    if (file.bytes !== null && file.url && file.kind.startsWith("image/"))
      sides[1].push(picture(file.url, "Screenshot", { kind: "shown" }));
  const parts = sides.filter((side) => side.length).map((side) => make("div", { class: "side" }, side));
  return parts.length ? [make("div", { class: "beside" }, parts)] : [make("span", { class: "faint" }, "no content")];
}

/** Return whether an event's input and result are those of a tool, and not texts by a person or a model. */
export const isTool = ({ kind }) => kind === "tool" || kind === "action";

/** Return the name and the message of an error. */
function wordsOf({ name, details }) {
  return typeof details === "string" && details ? `${name}: ${details}` : name;
}

/** Return an element for the content of an event of a session, which is fetched. */
export function event(session, seq) {
  const box = make("div", { class: "text" }, "…");
  ask(`sessions/${encodeURIComponent(session)}/events/${seq}`).then(
    (one) => box.replaceChildren(...content(one)),
    (error) => box.replaceChildren(error.message),
  );
  return box;
}

/** Return the tools that a model calls beside its answer; those of most libraries are in the answer. */
function callsOutside({ completion, tool_calls: calls }) {
  const answer = JSON.stringify(completion ?? "");
  const isInside = ({ name, function: target }) => answer.includes(JSON.stringify(String(target?.name ?? name)));
  return Array.isArray(calls)
    ? callsOf(
        calls.filter((call) => call && !isInside(call)),
        clipped,
      )
    : [];
}

/** Return the message of an empty answer, which may hold what a model thought, and say that it is empty, and why. */
function empty(why, given) {
  const box = given ?? make("div", { class: "message assistant" }, make("div", { class: "role" }, "assistant"));
  const message = [...box.querySelectorAll(".message")].at(-1) ?? box;
  message.append(make("p", { class: "faint" }, why ? `empty: ${why}` : "empty"));
  return box;
}
