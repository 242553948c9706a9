"""Prompts and completions, in the format of any model vendor, as messages of the semantic conventions.

A message has a role and parts, and each part a type: text, reasoning, tool_call, tool_call_response, server_tool_call,
server_tool_call_response, blob, uri, file.  The input may be plain text, OpenAI's chat and Responses, Anthropic's
content blocks, Gemini's parts, Bedrock's Converse, or the conventions' own; anything else is kept as JSON text.
"""

from __future__ import annotations

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Message = dict[str, Any]
    Part = dict[str, Any]


def text(value: object) -> str:
    """Return a value as the text of an attribute: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else encode.dumps(value).decode()


# The messages of a value


_ROLES = {"model": "assistant", "ai": "assistant", "human": "user", "developer": "system", "function": "tool"}
_SPEAKERS = {*_ROLES, "system", "user", "assistant", "tool"} - {"function"}  # roles that a message may have as its type
_LISTS = ("messages", "contents", "input")  # the keys of a request that may hold its messages
_SYSTEMS = ("system", "instructions", "system_instruction", "systemInstruction")
_BODIES = frozenset(("content", "parts", "tool_calls", "function_call"))
_REASONS = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")


def prompt_messages(prompt: object) -> list[Message]:
    """Return the messages of a prompt."""
    if isinstance(prompt, dict):
        items = next((prompt[key] for key in _LISTS if isinstance(prompt.get(key), list)), None)
        if items is not None:
            system = next((prompt[key] for key in _SYSTEMS if prompt.get(key)), None)
            first = [] if system is None else [{**_message(system, "system"), "role": "system"}]
            return [*first, *_messages(items, "user")]
    return _messages(prompt, "user")


def completion_messages(completion: object) -> list[Message]:
    """Return the messages of a completion, one for each choice."""
    if not isinstance(completion, dict):
        return _messages(completion, "assistant")
    for key in ("choices", "candidates"):
        if isinstance(completion.get(key), list):
            return [_answer(choice) for choice in completion[key]]
    if isinstance(completion.get("output"), list):
        return [_of_items(completion)]
    return [_answer(completion)]


def with_calls(messages: list[Message], tool_calls: object) -> list[Message]:
    """Return the messages of a completion, with the separately recorded tool calls if it has none."""
    if not isinstance(tool_calls, list) or not tool_calls:
        return messages
    parts = [part for message in messages for part in in_parts(message)["parts"]]
    if any(part["type"] == "tool_call" for part in parts):
        return messages
    last = messages[-1] if messages else {"role": "assistant"}
    return [*messages[:-1], {**last, "tool_calls": tool_calls}]


def reasons(messages: list[Message]) -> list[str]:
    """Return the finish reason of each message; an empty list unless all have one."""
    stopped = [message.get("finish_reason") for message in messages]
    return [text(reason) for reason in stopped] if None not in stopped else []


def _answer(choice: object) -> Message:
    """Return the message of a choice with its finish reason, which may be in the message or beside it."""
    if not isinstance(choice, dict):
        return _message(choice, "assistant")
    output = choice.get("output")
    places = (output.get("message") if isinstance(output, dict) else None, choice.get("message"), choice.get("content"))
    inner = next((each for each in places if isinstance(each, dict) and not _BODIES.isdisjoint(each)), choice)
    reason = next((choice[key] for key in _REASONS if choice.get(key)), None)
    message = _message(inner, "assistant")
    message = {key: value for key, value in message.items() if key not in _REASONS}
    return message if reason is None else {**message, "finish_reason": text(reason)}


def _of_items(response: Message) -> Message:
    """Return the message of an answer in OpenAI's Responses format: a list of items, some of which are messages."""
    content: list[object] = []
    for item in response["output"]:
        inner = item.get("content") if isinstance(item, dict) and item.get("type") == "message" else None
        content += inner if isinstance(inner, list) else [item]
    incomplete = response.get("incomplete_details")
    reason = (incomplete.get("reason") if isinstance(incomplete, dict) else None) or response.get("status")
    message = {"role": "assistant", "content": content}
    return {**message, "finish_reason": text(reason)} if reason else message


def _messages(value: object, role: str) -> list[Message]:
    if value is None:
        return []
    if not isinstance(value, list):
        return [_message(value, role)]
    messages: list[Message] = []
    # Whether the last message was made from parts that were outside any message.
    alone = False
    for item in value:
        if item is None:
            continue
        message = _message(item, role)
        is_part = isinstance(item, dict) and _is_part(item)
        if is_part and alone and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] += message["content"]
        else:
            messages.append(message)
        alone = is_part
    return messages


def _message(value: object, role: str) -> Message:
    if isinstance(value, dict):
        if _is_part(value):
            return {"role": _role_of(_part(value), role), "content": [value]}
        if not _BODIES.isdisjoint(value):
            kind = value.get("type")
            named = text(value.get("role") or (kind if isinstance(kind, str) and kind in _SPEAKERS else None) or role)
            return {**value, "role": _ROLES.get(named, named)}
    # The parts of a system prompt, for example.
    if isinstance(value, list):
        return {"role": role, "content": value}
    return {"role": role, "content": text(value)}


def _is_part(value: Message) -> bool:
    """Return whether a value is a part of a message outside any message."""
    if "role" in value:
        return False
    kind = value.get("type")
    if isinstance(kind, str):
        return _how(kind) is not None
    return not _KEYED.keys().isdisjoint(value) and value.keys() <= _PART


def _role_of(part: Part, role: str) -> str:
    """Return the role for a part outside a message: the model's for tool calls and reasoning, a tool's for results."""
    roles = {"tool_call": "assistant", "reasoning": "assistant", "server_tool_call": "assistant"}
    return "tool" if part["type"] == "tool_call_response" else roles.get(part["type"], role)


# A message in parts

_OURS = frozenset("content parts tool_calls function_call tool_call_id reasoning_content refusal".split())
_FINISHED = {
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "completed": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "safety": "content_filter",
}


def in_parts(message: Message) -> Message:
    """Return a message in the form of the conventions; keep keys that they do not know."""
    rest = {key: value for key, value in message.items() if key not in _OURS}
    if rest.get("name") is not None:
        rest["name"] = text(rest["name"])
    if "finish_reason" in rest:
        reason = text(rest["finish_reason"]).lower()
        rest["finish_reason"] = _FINISHED.get(reason, reason)
    content = message.get("content", message.get("parts"))
    parts = [_part(item) for item in (content if isinstance(content, list) else [content]) if item is not None]
    if message["role"] == "tool" and not any(part["type"] == "tool_call_response" for part in parts):
        id = message.get("tool_call_id")
        return {**rest, "parts": [_response(content, id)]}
    thought, refusal = message.get("reasoning_content"), message.get("refusal")
    before = [{"type": "reasoning", "content": text(thought)}] if thought else []
    after = [{"type": "text", "content": text(refusal)}] if refusal else []
    return {**rest, "parts": before + parts + after + [{"type": "tool_call", **call} for call in calls(message)]}


def calls(message: Message) -> list[Part]:
    """Return the tool calls of a message that are beside its content."""
    listed = message.get("tool_calls")
    one = message.get("function_call")
    many = listed if isinstance(listed, list) else [one] if isinstance(one, dict) else []
    return [_call_of(item) for item in many]


def _call_of(value: object) -> Part:
    call = value if isinstance(value, dict) else {"arguments": value}
    inner = call.get("function")
    function = inner if isinstance(inner, dict) else call
    arguments = _object(function.get("arguments", function.get("args")))
    return {"id": _id(call.get("id")), "name": text(function.get("name") or ""), "arguments": arguments}


def _object(arguments: object) -> object:
    """Return arguments as an object, as the conventions require, if their text is one; otherwise unchanged."""
    if not isinstance(arguments, str) or arguments[:1] != "{":
        return arguments
    try:
        return encode.loads(arguments)
    except ValueError:
        return arguments


def _id(value: object) -> str | None:
    return None if value is None else text(value)


# Parts, by their type, or by the key that they have instead of one


def _part(value: object) -> Part:
    if not isinstance(value, dict):
        return {"type": "text", "content": text(value)}
    kind = value.get("type")
    if isinstance(kind, str):
        how = _how(kind)
        part = how(value) if how is not None else None
        if part is None and "text" in value:
            part = {"type": "text", "content": text(value["text"])}
        return part or value
    key = next((key for key in _KEYED if key in value), None)
    part = _KEYED[key](value) if key is not None else None
    return part or {"type": "text", "content": text(value)}


def _how(kind: object) -> Callable[[Part], Part | None] | None:
    if not isinstance(kind, str):
        return None
    if kind in _TYPED:
        return _TYPED[kind]
    if kind.endswith("_tool_result"):
        return _server_response
    return _server_call if kind.endswith("_call") else None


def _text_part(part: Part) -> Part:
    content = next((part[key] for key in ("text", "content", "refusal") if part.get(key) is not None), "")
    return {"type": "reasoning" if part.get("thought") is True else "text", "content": text(content)}


def _reasoning(part: Part) -> Part:
    """Return a reasoning part, under any of the vendors' names for it."""
    inner = part.get("reasoningContent", part)
    inner = inner.get("reasoningText", inner) if isinstance(inner, dict) else {"text": inner}
    inner = inner if isinstance(inner, dict) else {"text": inner}
    keys = ("thinking", "content", "text", "summary")
    thought = next((inner[key] for key in keys if inner.get(key)), None)
    if thought is None:  # encrypted
        return {"type": "reasoning", "content": ""}
    if isinstance(thought, list):
        pieces = [piece.get("text", piece) if isinstance(piece, dict) else piece for piece in thought]
        thought = "\n".join(text(piece) for piece in pieces)
    return {"type": "reasoning", "content": text(thought)}


_CALLS = ("functionCall", "function_call", "toolUse", "function")
_IDS = ("call_id", "tool_use_id", "toolUseId", "tool_call_id", "toolCallId", "id")
_INPUTS = ("arguments", "input", "args")
_ANSWERS = ("response", "output", "content", "result")


def _first(part: Part, keys: tuple[str, ...]) -> Any:
    return next((part[key] for key in keys if part.get(key) is not None), None)


def _call(part: Part) -> Part:
    inner: Part = next((part[key] for key in _CALLS if isinstance(part.get(key), dict)), {})
    facts = {**part, **inner}
    name = text(_first(facts, ("name", "toolName")) or "")
    arguments = _object(_first(facts, _INPUTS))
    return {"type": "tool_call", "id": _id(_first(facts, _IDS)), "name": name, "arguments": arguments}


def _call_result(part: Part) -> Part:
    keys = ("functionResponse", "function_response", "toolResult")
    inner: Part = next((part[key] for key in keys if isinstance(part.get(key), dict)), {})
    facts = {**part, **inner}
    result = _response(_first(facts, _ANSWERS), _first(facts, _IDS))
    kept = {key: facts[key] for key in ("name", "is_error", "status") if facts.get(key) is not None}
    return {**kept, **result}


def _response(answer: object, id: object) -> Part:
    return {"type": "tool_call_response", "id": _id(id), "response": answer}


def _server_call(part: Part) -> Part:
    """Return the call of a tool that the vendor of the model runs."""
    kind = text(part.get("name") or part["type"])
    details = {key: value for key, value in part.items() if key not in ("type", "id", "name")}
    call = {"type": kind, **details}
    return {"type": "server_tool_call", "id": _id(part.get("id")), "name": kind, "server_tool_call": call}


def _server_response(part: Part) -> Part:
    answer = {"type": part["type"], "content": part.get("content")}
    return {
        "type": "server_tool_call_response",
        "id": _id(_first(part, _IDS)),
        "server_tool_call_response": answer,
    }


def _code_call(part: Part) -> Part:
    code = _first(part, ("executableCode", "executable_code"))
    call = {"type": "code_execution", "code": code}
    return {"type": "server_tool_call", "id": None, "name": "code_execution", "server_tool_call": call}


def _code_result(part: Part) -> Part:
    answer = {"type": "code_execution", "result": _first(part, ("codeExecutionResult", "code_execution_result"))}
    return {"type": "server_tool_call_response", "id": None, "server_tool_call_response": answer}


# Pictures, sounds and files

_MODALITIES = ("image", "audio", "video")
_HOLDERS = (
    "source image_url input_audio file audio image video document inline_data inlineData file_data fileData s3Location"
).split()


def _media(part: Part) -> Part | None:
    """Return an attachment by its bytes, its URI or its file id; None if it has none of these."""
    facts = _facts(part)
    data, uri = (
        _word(facts, "data", "bytes", "file_data"),
        _word(facts, "uri", "url", "file_uri", "fileUri", "file_url"),
    )
    uri = uri or _word(part, "image_url", "image")
    mime = _word(facts, "mime_type", "mimeType", "media_type", "mediaType")
    form = _word(facts, "format")
    if part.get("type") == "document" and facts.get("type") == "text" and data is not None:
        return {"type": "text", "content": data}
    inline = next((each for each in (uri, data) if each is not None and each.startswith("data:")), None)
    if inline is not None:
        head, _, data = inline.partition(",")
        mime, uri = head[len("data:") :].partition(";")[0] or mime, None
    modality = _modality(part, mime)
    about = {"mime_type": mime or (f"{modality}/{form}" if form else None), "modality": modality}
    if uri is not None:
        return {"type": "uri", **about, "uri": uri}
    if data is not None:
        return {"type": "blob", **about, "content": data}
    id = _word(facts, "file_id")
    return None if id is None else {"type": "file", **about, "file_id": id}


def _facts(part: Part) -> Part:
    """Return the fields of an attachment, which may be nested."""
    facts, inner = dict(part), part
    for _ in range(3):
        inner = next((inner[key] for key in _HOLDERS if isinstance(inner.get(key), dict)), {})
        facts.update(inner)
    return facts


def _word(facts: Part, *keys: str) -> str | None:
    return next((facts[key] for key in keys if isinstance(facts.get(key), str) and facts[key]), None)


def _modality(part: Part, mime: str | None) -> str:
    major = (mime or "").partition("/")[0]
    if major in _MODALITIES:
        return major
    names = f"{part.get('type', '')} {' '.join(part)}" if mime is None else ""
    return next((each for each in _MODALITIES if each in names), "document")


def _unchanged(part: Part) -> Part:
    return part


_TYPED: dict[str, Callable[[Part], Part | None]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "refusal"), _text_part),
    **dict.fromkeys(("reasoning", "thinking", "redacted_thinking", "reasoning_text"), _reasoning),
    **dict.fromkeys(("tool_call", "tool_use", "function_call", "custom_tool_call", "tool-call"), _call),
    **dict.fromkeys(("function",), _call),
    **dict.fromkeys(("tool_call_response", "tool_result", "function_call_output", "tool-result"), _call_result),
    **dict.fromkeys(("custom_tool_call_output",), _call_result),
    "server_tool_use": _server_call,
    **dict.fromkeys(("image", "image_url", "input_image", "document", "audio", "input_audio", "video"), _media),
    **dict.fromkeys(("file", "input_file", "media"), _media),
    **dict.fromkeys(("blob", "uri", "server_tool_call", "server_tool_call_response", "compaction"), _unchanged),
}
_KEYED: dict[str, Callable[[Part], Part | None]] = {
    **dict.fromkeys(("functionCall", "function_call", "toolUse"), _call),
    **dict.fromkeys(("functionResponse", "function_response", "toolResult"), _call_result),
    **dict.fromkeys(("inlineData", "inline_data", "fileData", "file_data"), _media),
    **dict.fromkeys(("executableCode", "executable_code"), _code_call),
    **dict.fromkeys(("codeExecutionResult", "code_execution_result"), _code_result),
    "reasoningContent": _reasoning,
    **dict.fromkeys(("image", "document", "video", "audio"), _media),
    "text": _text_part,
}
# The keys of a part without a type.  An object with any other key is a program's own data, and kept as JSON.
_PART = {*_KEYED, *"thought thoughtSignature thought_signature videoMetadata video_metadata".split()} | {
    *"finish_reason index logprobs".split()
}
