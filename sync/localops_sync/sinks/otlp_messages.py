"""Messages: what a program gave as prompt and completion, in the form of any maker, as the conventions have them.

A message has a role and parts, and each part a type: text, reasoning, tool_call, tool_call_response, server_tool_call,
server_tool_call_response, blob, uri, file.  What comes in may be plain text, OpenAI's chat and Responses, Anthropic's
content blocks, Gemini's parts, Bedrock's Converse, or the conventions' own; what is none of these is kept as JSON text.
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
    """A value as the text of an attribute: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else encode.dumps(value).decode()


# Which messages there are


_ROLES = {"model": "assistant", "ai": "assistant", "human": "user", "developer": "system", "function": "tool"}
_SPEAKERS = {*_ROLES, "system", "user", "assistant", "tool"} - {"function"}  # what a message may have as its type
_LISTS = ("messages", "contents", "input")  # of a request, where its messages are
_SYSTEMS = ("system", "instructions", "system_instruction", "systemInstruction")
_BODIES = frozenset(("content", "parts", "tool_calls", "function_call"))
_REASONS = ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason")


def asked(prompt: object) -> list[Message]:
    """Return the messages of a prompt."""
    if isinstance(prompt, dict):
        given = next((prompt[key] for key in _LISTS if isinstance(prompt.get(key), list)), None)
        if given is not None:
            system = next((prompt[key] for key in _SYSTEMS if prompt.get(key)), None)
            first = [] if system is None else [{**_message(system, "system"), "role": "system"}]
            return [*first, *_messages(given, "user")]
    return _messages(prompt, "user")


def answered(completion: object) -> list[Message]:
    """Return the messages of a completion, one for each answer that a model was asked for."""
    if not isinstance(completion, dict):
        return _messages(completion, "assistant")
    for key in ("choices", "candidates"):
        if isinstance(completion.get(key), list):
            return [_answer(each) for each in completion[key]]
    if isinstance(completion.get("output"), list):
        return [_of_items(completion)]
    return [_answer(completion)]


def reasons(messages: list[Message]) -> list[str]:
    """Return why a model stopped, answer by answer; nothing if that is not known of each."""
    found = [message.get("finish_reason") for message in messages]
    return [text(reason) for reason in found] if None not in found else []


def _answer(found: object) -> Message:
    """An answer with the reason why it ended, which stands beside the message or in it."""
    if not isinstance(found, dict):
        return _message(found, "assistant")
    output = found.get("output")
    places = (output.get("message") if isinstance(output, dict) else None, found.get("message"), found.get("content"))
    inner = next((each for each in places if isinstance(each, dict) and not _BODIES.isdisjoint(each)), found)
    reason = next((found[key] for key in _REASONS if found.get(key)), None)
    message = _message(inner, "assistant")
    message = {key: value for key, value in message.items() if key not in _REASONS}
    return message if reason is None else {**message, "finish_reason": text(reason)}


def _of_items(response: Message) -> Message:
    """OpenAI's Responses: an answer comes as items, of which messages are one kind."""
    content: list[object] = []
    for item in response["output"]:
        inner = item.get("content") if isinstance(item, dict) and item.get("type") == "message" else None
        content += inner if isinstance(inner, list) else [item]
    incomplete = response.get("incomplete_details")
    reason = (incomplete.get("reason") if isinstance(incomplete, dict) else None) or response.get("status")
    message = {"role": "assistant", "content": content}
    return {**message, "finish_reason": text(reason)} if reason else message


def _messages(given: object, role: str) -> list[Message]:
    if given is None:
        return []
    if not isinstance(given, list):
        return [_message(given, role)]
    found: list[Message] = []
    alone = False  # the last message is made of parts that came without one
    for each in given:
        if each is None:
            continue
        message = _message(each, role)
        is_part = isinstance(each, dict) and _is_part(each)
        if is_part and alone and found[-1]["role"] == message["role"]:
            found[-1]["content"] += message["content"]
        else:
            found.append(message)
        alone = is_part
    return found


def _message(found: object, role: str) -> Message:
    if isinstance(found, dict):
        if _is_part(found):
            return {"role": _role_of(_part(found), role), "content": [found]}
        if not _BODIES.isdisjoint(found):
            kind = found.get("type")
            named = text(found.get("role") or (kind if isinstance(kind, str) and kind in _SPEAKERS else None) or role)
            return {**found, "role": _ROLES.get(named, named)}
    if isinstance(found, list):  # of a system prompt, say
        return {"role": role, "content": found}
    return {"role": role, "content": text(found)}


def _is_part(found: Message) -> bool:
    """Whether this is a part of a message that came without the message."""
    if "role" in found:
        return False
    kind = found.get("type")
    if isinstance(kind, str):
        return _how(kind) is not None
    return not _KEYED.keys().isdisjoint(found) and found.keys() <= _PART


def _role_of(part: Part, role: str) -> str:
    """Who says this: a model asks for tools and thinks, and a tool answers."""
    said_by = {"tool_call": "assistant", "reasoning": "assistant", "server_tool_call": "assistant"}
    return "tool" if part["type"] == "tool_call_response" else said_by.get(part["type"], role)


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
    """A message as the conventions have it; what they do not know is kept beside."""
    rest = {key: value for key, value in message.items() if key not in _OURS}
    if rest.get("name") is not None:
        rest["name"] = text(rest["name"])
    if "finish_reason" in rest:
        reason = text(rest["finish_reason"]).lower()
        rest["finish_reason"] = _FINISHED.get(reason, reason)
    content = message.get("content", message.get("parts"))
    parts = [_part(each) for each in (content if isinstance(content, list) else [content]) if each is not None]
    if message["role"] == "tool" and not any(part["type"] == "tool_call_response" for part in parts):
        id = message.get("tool_call_id")
        return {**rest, "parts": [_response(content, id)]}
    thought, refusal = message.get("reasoning_content"), message.get("refusal")
    before = [{"type": "reasoning", "content": text(thought)}] if thought else []
    after = [{"type": "text", "content": text(refusal)}] if refusal else []
    return {**rest, "parts": before + parts + after + [{"type": "tool_call", **call} for call in calls(message)]}


def calls(message: Message) -> list[Part]:
    """Return the tools that a message asks for, where they stand beside its content."""
    found = message.get("tool_calls")
    one = message.get("function_call")
    many = found if isinstance(found, list) else [one] if isinstance(one, dict) else []
    return [_call_of(each) for each in many]


def _call_of(found: object) -> Part:
    call = found if isinstance(found, dict) else {"arguments": found}
    inner = call.get("function")
    function = inner if isinstance(inner, dict) else call
    arguments = function.get("arguments", function.get("args"))
    return {"id": _id(call.get("id")), "name": text(function.get("name") or ""), "arguments": arguments}


def _id(value: object) -> str | None:
    return None if value is None else text(value)


# A part, by its type or by the key that it has instead of one


def _part(found: object) -> Part:
    if not isinstance(found, dict):
        return {"type": "text", "content": text(found)}
    kind = found.get("type")
    if isinstance(kind, str):
        how = _how(kind)
        part = how(found) if how is not None else None
        if part is None and "text" in found:
            part = {"type": "text", "content": text(found["text"])}
        return part or found
    key = next((key for key in _KEYED if key in found), None)
    part = _KEYED[key](found) if key is not None else None
    return part or {"type": "text", "content": text(found)}


def _how(kind: object) -> Callable[[Part], Part | None] | None:
    if not isinstance(kind, str):
        return None
    if kind in _TYPED:
        return _TYPED[kind]
    if kind.endswith("_tool_result"):
        return _server_response
    return _server_call if kind.endswith("_call") else None


def _said(found: Part) -> Part:
    said = next((found[key] for key in ("text", "content", "refusal") if found.get(key) is not None), "")
    return {"type": "reasoning" if found.get("thought") is True else "text", "content": text(said)}


def _reasoning(found: Part) -> Part:
    """What a model thought, with the makers' several words for it."""
    inner = found.get("reasoningContent", found)
    inner = inner.get("reasoningText", inner) if isinstance(inner, dict) else {"text": inner}
    inner = inner if isinstance(inner, dict) else {"text": inner}
    keys = ("thinking", "content", "text", "summary")
    thought = next((inner[key] for key in keys if inner.get(key)), None)
    if thought is None:  # encrypted
        return {"type": "reasoning", "content": ""}
    if isinstance(thought, list):
        said = [each.get("text", each) if isinstance(each, dict) else each for each in thought]
        thought = "\n".join(text(each) for each in said)
    return {"type": "reasoning", "content": text(thought)}


_CALLS = ("functionCall", "function_call", "toolUse", "function")
_IDS = ("call_id", "tool_use_id", "toolUseId", "tool_call_id", "toolCallId", "id")
_INPUTS = ("arguments", "input", "args")
_ANSWERS = ("response", "output", "content", "result")


def _first(found: Part, keys: tuple[str, ...]) -> Any:
    return next((found[key] for key in keys if found.get(key) is not None), None)


def _call(found: Part) -> Part:
    inner: Part = next((found[key] for key in _CALLS if isinstance(found.get(key), dict)), {})
    facts = {**found, **inner}
    name = text(_first(facts, ("name", "toolName")) or "")
    return {"type": "tool_call", "id": _id(_first(facts, _IDS)), "name": name, "arguments": _first(facts, _INPUTS)}


def _responded(found: Part) -> Part:
    keys = ("functionResponse", "function_response", "toolResult")
    inner: Part = next((found[key] for key in keys if isinstance(found.get(key), dict)), {})
    facts = {**found, **inner}
    part = _response(_first(facts, _ANSWERS), _first(facts, _IDS))
    kept = {key: facts[key] for key in ("name", "is_error", "status") if facts.get(key) is not None}
    return {**kept, **part}


def _response(answer: object, id: object) -> Part:
    return {"type": "tool_call_response", "id": _id(id), "response": answer}


def _server_call(found: Part) -> Part:
    """A tool that the maker of the model runs itself."""
    kind = text(found.get("name") or found["type"])
    details = {key: value for key, value in found.items() if key not in ("type", "id", "name")}
    call = {"type": kind, **details}
    return {"type": "server_tool_call", "id": _id(found.get("id")), "name": kind, "server_tool_call": call}


def _server_response(found: Part) -> Part:
    answer = {"type": found["type"], "content": found.get("content")}
    return {
        "type": "server_tool_call_response",
        "id": _id(_first(found, _IDS)),
        "server_tool_call_response": answer,
    }


def _ran_code(found: Part) -> Part:
    code = _first(found, ("executableCode", "executable_code"))
    call = {"type": "code_execution", "code": code}
    return {"type": "server_tool_call", "id": None, "name": "code_execution", "server_tool_call": call}


def _code_gave(found: Part) -> Part:
    answer = {"type": "code_execution", "result": _first(found, ("codeExecutionResult", "code_execution_result"))}
    return {"type": "server_tool_call_response", "id": None, "server_tool_call_response": answer}


# Pictures, sounds and files

_MODALITIES = ("image", "audio", "video")
_HOLDERS = (
    "source image_url input_audio file audio image video document inline_data inlineData file_data fileData s3Location"
).split()


def _media(found: Part) -> Part | None:
    """What is attached: its bytes, where it is, or what it is called there; None if it is none of these."""
    facts = _facts(found)
    data, uri = (
        _word(facts, "data", "bytes", "file_data"),
        _word(facts, "uri", "url", "file_uri", "fileUri", "file_url"),
    )
    uri = uri or _word(found, "image_url", "image")
    mime = _word(facts, "mime_type", "mimeType", "media_type", "mediaType")
    form = _word(facts, "format")
    if found.get("type") == "document" and facts.get("type") == "text" and data is not None:
        return {"type": "text", "content": data}
    inline = next((each for each in (uri, data) if each is not None and each.startswith("data:")), None)
    if inline is not None:
        head, _, data = inline.partition(",")
        mime, uri = head[len("data:") :].partition(";")[0] or mime, None
    modality = _modality(found, mime)
    about = {"mime_type": mime or (f"{modality}/{form}" if form else None), "modality": modality}
    if uri is not None:
        return {"type": "uri", **about, "uri": uri}
    if data is not None:
        return {"type": "blob", **about, "content": data}
    id = _word(facts, "file_id")
    return None if id is None else {"type": "file", **about, "file_id": id}


def _facts(found: Part) -> Part:
    """What is said of an attachment, at whatever depth."""
    facts, inner = dict(found), found
    for _ in range(3):
        inner = next((inner[key] for key in _HOLDERS if isinstance(inner.get(key), dict)), {})
        facts.update(inner)
    return facts


def _word(facts: Part, *keys: str) -> str | None:
    return next((facts[key] for key in keys if isinstance(facts.get(key), str) and facts[key]), None)


def _modality(found: Part, mime: str | None) -> str:
    told = (mime or "").partition("/")[0]
    if told in _MODALITIES:
        return told
    names = f"{found.get('type', '')} {' '.join(found)}" if mime is None else ""
    return next((each for each in _MODALITIES if each in names), "document")


def _as_it_is(found: Part) -> Part:
    return found


_TYPED: dict[str, Callable[[Part], Part | None]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "refusal"), _said),
    **dict.fromkeys(("reasoning", "thinking", "redacted_thinking", "reasoning_text"), _reasoning),
    **dict.fromkeys(("tool_call", "tool_use", "function_call", "custom_tool_call", "tool-call"), _call),
    **dict.fromkeys(("function",), _call),
    **dict.fromkeys(("tool_call_response", "tool_result", "function_call_output", "tool-result"), _responded),
    **dict.fromkeys(("custom_tool_call_output",), _responded),
    "server_tool_use": _server_call,
    **dict.fromkeys(("image", "image_url", "input_image", "document", "audio", "input_audio", "video"), _media),
    **dict.fromkeys(("file", "input_file", "media"), _media),
    **dict.fromkeys(("blob", "uri", "server_tool_call", "server_tool_call_response", "compaction"), _as_it_is),
}
_KEYED: dict[str, Callable[[Part], Part | None]] = {
    **dict.fromkeys(("functionCall", "function_call", "toolUse"), _call),
    **dict.fromkeys(("functionResponse", "function_response", "toolResult"), _responded),
    **dict.fromkeys(("inlineData", "inline_data", "fileData", "file_data"), _media),
    **dict.fromkeys(("executableCode", "executable_code"), _ran_code),
    **dict.fromkeys(("codeExecutionResult", "code_execution_result"), _code_gave),
    "reasoningContent": _reasoning,
    **dict.fromkeys(("image", "document", "video", "audio"), _media),
    "text": _said,
}
# What a part without a type may have beside that key; an object with anything else in it is a program's own.
_PART = {*_KEYED, *"thought thoughtSignature thought_signature videoMetadata video_metadata".split()} | {
    *"finish_reason index logprobs".split()
}
