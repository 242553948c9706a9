// An event as text to paste elsewhere: to read, or to run a call of a model again.  Plain data in, text out.

import { at, Digits, entriesOf, made, write } from "./exact.js";
import { kindText } from "./kinds.js";
import { messageOf, messagesOf, partsOf, targetOf, thoughtOf } from "./messages.js";

const isAnthropic = ({ provider, model }) =>
  /anthropic/i.test(provider || "") || /^(anthropic\/)?claude/i.test(model || "");
const isGoogle = ({ provider, model }) =>
  /google|gemini|vertex/i.test(provider || "") || /^([a-z]+\/)?gemini/i.test(model || "");
/** Return whether messages are those of OpenAI's newer API, which has items between them. */
const isOfResponses = (messages) =>
  messages.some((each) => !messageOf(each) || [each.content].flat().some((part) => NEWER.has(part?.type)));
const NEWER = new Set(["input_text", "input_image", "input_file", "output_text"]);

/** Return the messages of a prompt that is a text, a message or a list of messages, each with its role. */
function messagesIn(prompt) {
  const messages = messagesOf(prompt);
  if (messages) return messages.map(withRole);
  if (prompt && typeof prompt === "object") return [prompt].flat();
  return [{ role: "user", content: String(prompt ?? "") }];
}

/** Return a message of LangChain as one of OpenAI; any other one as it is. */
function withRole(value) {
  const one = messageOf(value);
  if (!one || one === value) return value;
  const { role, content, tool_calls: calls, tool_call_id: id } = one;
  const asked = (Array.isArray(calls) ? calls : []).map((call) => {
    const { name, input } = targetOf(call);
    return { id: call.id, type: "function", function: { name, arguments: write(input ?? {}) } };
  });
  return { role, content, ...(asked.length && { tool_calls: asked }), ...(id && { tool_call_id: id }) };
}

/** Return the request of a model call, as far as it was recorded. */
export function request(event) {
  const { params, prompt, system_instructions: system, tool_definitions: tools } = event;
  const given = params && typeof params === "object" && !Array.isArray(params) ? entriesOf(params) : [];
  const body = new Map([["model", event.model], ...given]);
  let messages = messagesIn(prompt);
  if (isGoogle(event)) return toGoogle(body, messages, event);
  messages = messages.map(withContent);
  if (isAnthropic(event)) {
    const systems = messages.filter((each) => each?.role === "system").map((each) => each.content);
    messages = messages.filter((each) => each?.role !== "system");
    if (system ?? systems.length) body.set("system", system ?? systems.join("\n\n"));
    if (!body.get("max_tokens")) body.set("max_tokens", 1024);
  } else if (system) messages = [{ role: "system", content: system }, ...messages];
  body.set(!isAnthropic(event) && isOfResponses(messages) ? "input" : "messages", messages);
  if (Array.isArray(tools) && tools.length) body.set("tools", tools);
  body.delete("stream");
  return made([...body]);
}

/** Return a message whose parts are those of OpenTelemetry or Google as one with content. */
function withContent(one) {
  if (!Array.isArray(one?.parts) || "content" in one) return one;
  const content = one.parts.map((part) => ({ type: "text", text: part?.text ?? part?.content ?? write(part) }));
  return { role: one.role === "model" ? "assistant" : one.role, content };
}

// Fields of a request to Google beside its configuration.
const BESIDE = new Set(["tools", "tool_config", "toolConfig", "safety_settings", "safetySettings", "cached_content"]);

/** Return a request to Google's API: its messages have parts, and its settings are in one field. */
function toGoogle(body, messages, { model, system_instructions: system, tool_definitions: tools }) {
  const settings = new Map();
  for (const [name, value] of body)
    if (name === "config" && value && typeof value === "object")
      for (const [inner, each] of entriesOf(value)) settings.set(inner, each);
    else if (!["model", "stream", "contents"].includes(name)) settings.set(name, value);
  const systems = messages.filter((each) => each?.role === "system").flatMap((each) => partsOfGoogle(each));
  const instruction = system ? [{ text: typeof system === "string" ? system : write(system) }] : systems;
  const fields = [["contents", messages.filter((each) => each?.role !== "system").map(contentOfGoogle)]];
  if (instruction.length && !settings.has("system_instruction"))
    fields.push(["system_instruction", { parts: instruction }]);
  if (Array.isArray(tools) && tools.length) settings.set("tools", tools);
  const isBeside = ([name]) => BESIDE.has(name) || name === "system_instruction";
  fields.push(...[...settings].filter(isBeside));
  const rest = [...settings].filter((entry) => !isBeside(entry));
  if (rest.length) fields.push(["generationConfig", made(rest)]);
  return made([["model", String(model ?? "").replace(/^(models|google|gemini)\//, "")], ...fields]);
}

const contentOfGoogle = (one) => ({
  role: one?.role === "assistant" || one?.role === "model" ? "model" : "user",
  parts: partsOfGoogle(one),
});

function partsOfGoogle(one) {
  if (Array.isArray(one?.parts)) return one.parts;
  return [one?.content ?? one].flat().map((part) => {
    if (typeof part === "string") return { text: part };
    const [, type, data] = /^data:([^;,]+);base64,(.*)$/s.exec(part?.image_url?.url ?? part?.image_url ?? "") ?? [];
    if (data) return { inline_data: { mime_type: type, data } };
    return typeof part?.text === "string" ? { text: part.text } : part;
  });
}

/** Return a command that makes the call again; keys come from the environment. */
export function curl(event) {
  const body = new Map(entriesOf(request(event)));
  let lines = [
    `curl "\${OPENAI_BASE_URL:-https://api.openai.com/v1}/${body.has("input") ? "responses" : "chat/completions"}"`,
    '-H "Authorization: Bearer $OPENAI_API_KEY"',
  ];
  if (isGoogle(event)) {
    const model = encodeURIComponent(body.get("model"));
    body.delete("model");
    lines = [
      `curl 'https://generativelanguage.googleapis.com/v1beta/models/${model}:generateContent'`,
      '-H "x-goog-api-key: $GEMINI_API_KEY"',
    ];
  } else if (isAnthropic(event))
    lines = [
      "curl https://api.anthropic.com/v1/messages",
      '-H "x-api-key: $ANTHROPIC_API_KEY"',
      "-H 'anthropic-version: 2023-06-01'",
    ];
  // On its input: an argument of a command cannot be as long as a picture.  No line of JSON is this word alone.
  lines.push("-H 'Content-Type: application/json'", `--data-binary @- <<'JSON'\n${write(made([...body]))}\nJSON\n`);
  return lines.join(" \\\n  ");
}

/** Return a Python program that makes the call again. */
export function python(event) {
  const given = entriesOf(request(event));
  const [start, client, call] = isAnthropic(event)
    ? ["import anthropic", "anthropic.Anthropic()", "messages.create"]
    : isGoogle(event)
      ? ["from google import genai", "genai.Client()", "models.generate_content"]
      : ["import openai", "openai.OpenAI()", given.some(([name]) => name === "input") ? RESPONSES : COMPLETIONS];
  const body = (isGoogle(event) ? withConfig(given) : given).map(([name, value]) =>
    /^[A-Za-z_]\w*$/.test(name)
      ? `    ${name}=${literal(value, 4)},`
      : `    **{${literal(name)}: ${literal(value, 4)}},`,
  );
  return [start, "", `client = ${client}`, `response = client.${call}(`, ...body, ")", "print(response)", ""].join(
    "\n",
  );
}

const RESPONSES = "responses.create",
  COMPLETIONS = "chat.completions.create";

/** Return the arguments of Google's library: all but the model and the messages are in its configuration. */
function withConfig(given) {
  const isOwn = ([name]) => name === "model" || name === "contents";
  const config = given.filter((entry) => !isOwn(entry));
  const inside = config.flatMap(([name, value]) => (name === "generationConfig" ? entriesOf(value) : [[name, value]]));
  return [...given.filter(isOwn), ...(inside.length ? [["config", made(inside)]] : [])];
}

/** Return a value of JSON as Python writes it. */
function literal(value, indent = 0) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  // A JSON string is a valid Python string, except for lone surrogates, which recorded text never has.
  if (value instanceof Digits) return value.text;
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = " ".repeat(indent + 4),
    isList = Array.isArray(value);
  const items = isList
    ? entriesOf(value).map(([, each]) => `${inner}${literal(each, indent + 4)},`)
    : entriesOf(value).map(([name, each]) => `${inner}${JSON.stringify(name)}: ${literal(each, indent + 4)},`);
  const [open, close] = isList ? "[]" : "{}";
  return items.length ? `${open}\n${items.join("\n")}\n${" ".repeat(indent)}${close}` : open + close;
}

const plain = (value) => (typeof value === "string" ? value : write(value));

/** Return a message as text: who speaks, and what. */
function spoken(value) {
  const one = messageOf(value) ?? value,
    content = one?.content ?? one?.parts;
  const parts = (Array.isArray(content) ? content : [content]).filter((part) => part !== null && part !== undefined);
  const words = parts.map((part) => (typeof part === "string" ? part : (part.text ?? plain(part))));
  const calls = (Array.isArray(one?.tool_calls) ? one.tool_calls : []).map((call) => plain(call.function ?? call));
  return [`${one?.role ?? "user"}:`, ...words, ...calls].join("\n");
}

/** Return the words of an answer, without the marks of JSON; an answer without words, or another value, as JSON. */
export function answer(value) {
  if (typeof value === "string") return value;
  const parts = (messagesOf(value) ?? []).map(messageOf).filter(Boolean).flatMap(partsOf);
  const words = parts
    .filter((part) => typeof part === "string" || thoughtOf(part) === null)
    .map((part) => (typeof part === "string" ? part : (part.text ?? part.content ?? part.refusal)))
    .filter((each) => typeof each === "string");
  return words.length ? words.join("\n\n") : write(value);
}

/** Return an event as text for a person. */
export function prose(event) {
  const parts = [[kindText(event.kind), event.name ?? event.model].filter(Boolean).join(" ")];
  const add = (label, value) => {
    if (value === undefined || value === null || value === "") return;
    const messages = messagesOf(value);
    if (messages?.every(messageOf)) parts.push(...messages.map(spoken));
    else parts.push(`${label}:\n${plain(value)}`);
  };
  add("prompt", event.prompt);
  add("completion", event.completion);
  add("arguments", at(event, "params"));
  add("input", at(event, "input"));
  add("result", at(event, "returns") ?? at(event, "result"));
  add("output", at(event, "output"));
  add(
    "error",
    [event.error_type, event.message, typeof event.error === "string" ? event.error : null].filter(Boolean).join(": "),
  );
  add("details", event.details);
  return `${parts.join("\n\n")}\n`;
}
