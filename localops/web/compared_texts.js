// The inputs and results of two events side by side: texts word by word, pictures and sounds beside each other.

import { ask, make } from "./base.js";
import { marked } from "./changes.js";
import { at, entriesOf, made, write } from "./exact.js";
import { bytes, many } from "./formats.js";
import { media, mediaOf } from "./media.js";
import { messageOf, messagesOf } from "./messages.js";
import { clipped, conversation, parsed } from "./values.js";

const TEXTS = [
  ["prompt", "Prompt"],
  ["system_instructions", "System instructions"],
  ["params", "Arguments"],
  ["completion", "Answer"],
  ["tool_calls", "Tool calls"],
  ["returns", "Result"],
];
// Data in base64, which only a machine reads, with the type before it if it is an address.
const DATA = /data:([\w.+-]+\/[\w.+-]+)[\w=;.+-]*;base64,([\w+/-]{16,}={0,2})|([\w+/-]{256,}={0,2})/g;
// Characters of the fields around data in a part of a message.
const FIELDS = 200;
const isEncoded = (data) => [/[A-Z]/, /[a-z]/, /\d/].every((one) => one.test(data));

/** Return sections for what two events were given and returned; `letters` are those of the two. */
export function comparedTexts(a, b, letters = ["A", "B"]) {
  return TEXTS.map(([key, label]) => [label, at(a, key), at(b, key)])
    .filter(([, ...values]) => values.some(readable))
    .map(([label, ...values]) => section(label, values, letters));
}

function section(label, values, letters) {
  const named = namingData(),
    texts = values.map((value) => named(readable(value)));
  const isSame = texts[0] === texts[1];
  const whole = () => conversation(parsed(values[0]), clipped, { isLate: true });
  const fold = make(
    "details",
    { ontoggle: () => fold.children.length > 1 || fold.append(whole()) },
    make("summary", {}, "Show it"),
  );
  const [own, letter] = letters;
  return make(
    "section",
    { class: "chart text" },
    make("h2", {}, label, isSame && make("small", { class: "faint" }, ` the same in ${own} and ${letter}`)),
    isSame ? fold : [marked({ texts, same_before: 0, is_cut: false }, letter, own), comparedMedia(values, letters)],
  );
}

/** Return a value as text with lines: a conversation message by message, other data as JSON. */
export function readable(value) {
  const inside = parsed(value);
  if (inside === undefined || inside === null) return "";
  if (typeof inside === "string") return inside;
  const messages = messagesOf(inside.messages ?? inside)?.map(messageOf);
  if (messages?.every(Boolean)) return messages.map((one) => `${one.role}:\n${content(one)}`).join("\n\n");
  return write(inside).replace(/\\n/g, "\n").replace(/\\t/g, "\t");
}

// Keys of a message that are shown by themselves, or say what its role says.
const OWN = new Set(["role", "content", "parts", "type"]);
const isEmpty = (value) => value === null || (typeof value === "object" && !Object.keys(value).length);

function content(message) {
  const rest = entriesOf(message).filter(([key, value]) => !OWN.has(key) && !isEmpty(value));
  const texts = [message.content ?? message.parts]
    .flat()
    .filter((part) => part !== undefined && part !== null)
    .map((part) => (typeof part.text === "string" ? part.text : dataOf(readable(part))));
  if (rest.length) texts.push(readable(made(rest)));
  return texts.join("\n");
}

/** Return the encoded data in the JSON of a part of a message, without the few fields around it. */
function dataOf(text) {
  const [data] = text.match(DATA) || [];
  return data && text.length - data.length < FIELDS ? data : text;
}

/** Return a function that replaces encoded data in texts by its type and size; equal data has the same number. */
function namingData() {
  const numbers = new Map();
  const name = (all, kind, inAddress, alone) => {
    const data = inAddress ?? alone;
    if (!kind && !isEncoded(data)) return all;
    if (!numbers.has(data)) numbers.set(data, numbers.size + 1);
    return `[data ${numbers.get(data)}: ${kind ?? "base64"}, ${bytes(Math.floor((data.length * 3) / 4))}]`;
  };
  return (text) => text.replace(DATA, name);
}

/** Return the pictures and sounds that only one of two values has, beside each other; null without any. */
export function comparedMedia(values, letters) {
  const [one, other] = values.map((value) => new Map(mediaIn(value).map((each) => [JSON.stringify(each), each])));
  const own = [one, other].map((several, at) => [...several].filter(([key]) => ![other, one][at].has(key)));
  const same = one.size - own[0].length;
  if (!own.some((some) => some.length)) return null;
  const side = (some, at) =>
    make(
      "div",
      {},
      make("h3", {}, letters[at]),
      some.length ? some.map(([, each]) => media(each)) : make("p", { class: "faint" }, "none"),
    );
  return [
    make("div", { class: "two media-beside" }, own.map(side)),
    same
      ? make("p", { class: "faint" }, `${many(same, "more picture or sound", "more pictures or sounds")} in both`)
      : null,
  ];
}

function mediaIn(value) {
  const inside = parsed(value);
  const medium = inside && mediaOf(inside);
  if (medium) return [medium];
  return inside && typeof inside === "object" ? Object.values(inside).flatMap(mediaIn) : [];
}

const SIDES = { input: ["params", "prompt"], output: ["returns", "completion"] };

/** Return an element for the pictures and sounds that differ in two events, which are fetched. */
export function fetchedMedia(what, events, letters) {
  const box = make("div");
  Promise.all(events.map(([session, seq]) => ask(`sessions/${encodeURIComponent(session)}/events/${seq}`))).then(
    (both) => {
      const values = both.map((event) => SIDES[what].map((key) => at(event, key)));
      box.append(...[comparedMedia(values, letters)].flat().filter(Boolean));
    },
    (error) => box.append(error.message),
  );
  return box;
}
