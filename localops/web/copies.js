// An event as text to paste elsewhere: to read, or to run a call of a model again.  Plain data in, text out.

import { at, Digits, entriesOf, made, write } from "./exact.js";
import { kindText } from "./kinds.js";

const isAnthropic = ({ provider, model }) =>
  /anthropic/i.test(provider || "") || /^(anthropic\/)?claude/i.test(model || "");

/** Return the messages of a prompt that is a text, a message or a list of messages. */
const messagesOf = (prompt) =>
  Array.isArray(prompt)
    ? prompt
    : prompt && typeof prompt === "object"
      ? [prompt]
      : [{ role: "user", content: String(prompt ?? "") }];

/** Return the request of a model call, as far as it was recorded. */
export function request(event) {
  const { params, prompt, system_instructions: system, tool_definitions: tools } = event;
  const given = params && typeof params === "object" && !Array.isArray(params) ? entriesOf(params) : [];
  const body = new Map([["model", event.model], ...given]);
  let messages = messagesOf(prompt);
  if (isAnthropic(event)) {
    const systems = messages.filter((each) => each?.role === "system").map((each) => each.content);
    messages = messages.filter((each) => each?.role !== "system");
    if (system ?? systems.length) body.set("system", system ?? systems.join("\n\n"));
    if (!body.get("max_tokens")) body.set("max_tokens", 1024);
  } else if (system) messages = [{ role: "system", content: system }, ...messages];
  body.set("messages", messages);
  if (Array.isArray(tools) && tools.length) body.set("tools", tools);
  body.delete("stream");
  return made([...body]);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Return a command that makes the call again; keys come from the environment. */
export function curl(event) {
  const anthropic = isAnthropic(event);
  const lines = anthropic
    ? [
        "curl https://api.anthropic.com/v1/messages",
        '-H "x-api-key: $ANTHROPIC_API_KEY"',
        "-H 'anthropic-version: 2023-06-01'",
      ]
    : [
        'curl "${OPENAI_BASE_URL:-https://api.openai.com/v1}/chat/completions"',
        '-H "Authorization: Bearer $OPENAI_API_KEY"',
      ];
  lines.push("-H 'Content-Type: application/json'", `-d ${quoted(write(request(event)))}`);
  return lines.join(" \\\n  ");
}

/** Return a Python program that makes the call again. */
export function python(event) {
  const body = entriesOf(request(event)).map(([name, value]) =>
    /^[A-Za-z_]\w*$/.test(name)
      ? `    ${name}=${literal(value, 4)},`
      : `    **{${literal(name)}: ${literal(value, 4)}},`,
  );
  const [module, client, call] = isAnthropic(event)
    ? ["anthropic", "anthropic.Anthropic()", "messages.create"]
    : ["openai", "openai.OpenAI()", "chat.completions.create"];
  return [
    `import ${module}`,
    "",
    `client = ${client}`,
    `response = client.${call}(`,
    ...body,
    ")",
    "print(response)",
    "",
  ].join("\n");
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
function spoken(one) {
  const content = one?.content ?? one?.parts;
  const parts = (Array.isArray(content) ? content : [content]).filter((part) => part !== null && part !== undefined);
  const words = parts.map((part) => (typeof part === "string" ? part : (part.text ?? plain(part))));
  const calls = (Array.isArray(one?.tool_calls) ? one.tool_calls : []).map((call) => plain(call.function ?? call));
  return [`${one?.role ?? "user"}:`, ...words, ...calls].join("\n");
}

/** Return an event as text for a person. */
export function prose(event) {
  const parts = [[kindText(event.kind), event.name ?? event.model].filter(Boolean).join(" ")];
  const isSpoken = (value) =>
    [value].flat().every((each) => each && typeof each === "object" && typeof each.role === "string");
  const add = (label, value) => {
    if (value === undefined || value === null || value === "") return;
    if (typeof value === "object" && [value].flat().length && isSpoken(value))
      parts.push(...[value].flat().map(spoken));
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
