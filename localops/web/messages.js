// Messages and their parts in the forms of OpenAI, Anthropic, Google, Bedrock, LangChain, Vercel and OpenTelemetry, as
// plain data of one form.  This module knows no elements.

const ROLES = { human: "user", ai: "assistant", AIMessageChunk: "assistant", HumanMessageChunk: "user" };
// Types of LangChain's messages that other records may have, too; those have other keys as well.
const COMMON = new Set(["system", "tool", "function"]);
const KEYS = new Set(
  `type content name id tool_call_id tool_calls status artifact example additional_kwargs response_metadata`.split(" "),
);
const HOLDERS = ["content", "tool_calls", "parts", "audio"];
// The items of OpenAI's Responses API between messages.
const ITEMS = new Set(["function_call", "function_call_output", "reasoning", "image_generation_call"]);
const CALLS = new Set(["tool_use", "server_tool_use", "function_call", "tool_call", "tool-call"]);

const isObject = (value) => Boolean(value) && typeof value === "object" && !Array.isArray(value);

/** Return a message as {role, …} with the keys of OpenAI or Google; null for any other value. */
export function messageOf(value) {
  if (!isObject(value)) return null;
  // What LangChain writes of an object: its class and its arguments.
  if (value.lc === 1 && isObject(value.kwargs)) {
    const name = String(value.id?.at?.(-1) ?? "");
    return messageOf({ type: /^(.*)Message(?:Chunk)?$/.exec(name)?.[1].toLowerCase(), ...value.kwargs });
  }
  const { role, type, data } = value;
  if (typeof role === "string") return HOLDERS.some((key) => key in value) ? value : null;
  const known = Object.hasOwn(ROLES, type) ? ROLES[type] : COMMON.has(type) ? type : null;
  if (!known) return null;
  if (isObject(data) && "content" in data) return { ...data, role: known };
  const isOwn = !COMMON.has(type) || Object.keys(value).every((key) => KEYS.has(key));
  return isOwn && "content" in value ? { ...value, role: known } : null;
}

const isItem = (value) => messageOf(value) !== null || (isObject(value) && ITEMS.has(value.type));

/** Return the messages of a prompt or an answer: a list, a list of lists or one message; null for any other value. */
export function messagesOf(value) {
  const all = Array.isArray(value) && value.length > 0 && value.every(Array.isArray) ? value.flat() : [value].flat();
  return all.some((each) => messageOf(each) !== null) && all.every(isItem) ? all : null;
}

/** Return the parts of a message, what a model thought first; a part is a text, an element's value or {kind, …}. */
export function partsOf(one) {
  const content = one.content ?? one.parts;
  const thought = one.thinking || one.reasoning_content || one.additional_kwargs?.reasoning_content || one.reasoning;
  const parts = [
    typeof thought === "string" && { type: "thinking", thinking: thought },
    ...(Array.isArray(content) ? content : [content]),
    one.audio?.data && { audio: one.audio },
    one.audio?.transcript,
    ...(Array.isArray(one.images) ? one.images.map((image) => ({ type: "image", image })) : []),
    typeof one.refusal === "string" && { type: "refusal", refusal: one.refusal },
  ];
  return parts.filter((part) => part !== undefined && part !== null && part !== "" && part !== false);
}

/** Return the calls of a message beside its parts; some libraries have each call in both. */
export function callsBeside(one) {
  const calls = Array.isArray(one.tool_calls) ? one.tool_calls : [];
  const ids = new Set([one.content].flat().map((part) => part?.id));
  return calls.filter((call) => !(call?.id && ids.has(call.id)));
}

/** Return {name, input} of a part or an item that calls a tool; null for any other. */
export function callOf(part) {
  if (!isObject(part)) return null;
  const inside = part.functionCall ?? part.function_call ?? part.toolUse;
  return isObject(inside) || CALLS.has(part.type) ? targetOf(part) : null;
}

/** Return {name, input} of a call that is known to be one. */
export function targetOf(call) {
  const target = call?.function ?? call?.functionCall ?? call?.function_call ?? call?.toolUse ?? call ?? {};
  return {
    name: String(target.name ?? target.toolName ?? "tool"),
    input: target.arguments ?? target.args ?? target.input,
  };
}

const RESULTS = new Set([
  "tool_result",
  "mcp_tool_result",
  "tool-result",
  "function_call_output",
  "tool_call_response",
]);

/** Return {of, value, isError} of a part with the result of a tool; null for any other. */
export function resultOf(part) {
  if (!isObject(part)) return null;
  const answer = part.functionResponse ?? part.function_response;
  if (isObject(answer)) return { of: answer.name, value: answer.response, isError: false };
  const { toolResult } = part;
  if (isObject(toolResult)) {
    const value = (toolResult.content ?? []).map?.((each) => each?.json ?? each?.text ?? each) ?? toolResult.content;
    const isSingle = Array.isArray(value) && value.length === 1;
    return { of: toolResult.toolUseId, value: isSingle ? value[0] : value, isError: toolResult.status === "error" };
  }
  if (!RESULTS.has(part.type)) return null;
  const value = part.content ?? part.output ?? part.response ?? part.result;
  return {
    of: part.toolName ?? part.tool_use_id ?? part.call_id ?? part.id,
    // Vercel's results say whether they are text or JSON.
    value: isObject(value) && "value" in value && "type" in value ? value.value : value,
    isError: Boolean(part.is_error ?? part.isError),
  };
}

/** Return what a model thought, as a text, "" if it is not readable; null for a part of another kind. */
export function thoughtOf(part) {
  if (!isObject(part)) return null;
  const bedrock = part.reasoningContent;
  if (isObject(bedrock)) return textOf(bedrock.reasoningText?.text ?? bedrock.reasoningText);
  if (part.thought === true) return textOf(part.text);
  if (part.type === "redacted_thinking") return "";
  if (part.type !== "thinking" && part.type !== "reasoning") return null;
  return textOf(part.thinking ?? part.text ?? part.content ?? part.summary ?? part.reasoning);
}

function textOf(value) {
  const text = Array.isArray(value) ? value.map((each) => each?.text ?? each).join("\n\n") : value;
  return typeof text === "string" ? text : "";
}

const TAGS = /^\s*<(think|thinking|reasoning)>([\s\S]*?)<\/\1>\s*/;

/** Return [what a model thought, its answer] of a text that begins with tags around the first; null for any other. */
export function thoughtIn(text) {
  const tags = TAGS.exec(text);
  return tags && [tags[2].trim(), text.slice(tags[0].length)];
}
