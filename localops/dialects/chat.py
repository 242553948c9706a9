"""The messages of LLM calls as those of OpenAI's chat, whatever vendor's format they were recorded in.

Text is a string, attachments are parts, tool calls have ids and their arguments are JSON in a text, and the result of a
tool is a message of its own.  `reasoning_content` has what a model thought aloud.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

from localops.encoding import encode
from localops.otel.messages import completion_messages, in_parts, prompt_messages, text, with_calls
from localops.otel.tool_definitions import tool_definitions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Message = dict[str, Any]
    Event = dict[str, Any]

_ROLES = frozenset(("system", "user", "assistant", "tool"))
# What compares two messages: clients send an answer again with other keys, and mostly without its reasoning.
_COMPARED = ("role", "content", "tool_calls", "tool_call_id")


def request(event: Event) -> list[Message]:
    """Return the messages that a call was given."""
    given = prompt_messages(event["prompt"]) if event.get("prompt") is not None else []
    system = event.get("system_instructions")
    if system is not None:
        given = [{"role": "system", "content": system}, *given]
    return _with_ids(message for each in given for message in _chat(in_parts(each)))


def answer(event: Event) -> Message | None:
    """Return the message that a call was answered with, the first of several choices; None without an answer."""
    answers = with_calls(completion_messages(event.get("completion")), event.get("tool_calls"))
    if not answers:
        return None
    made = _with_ids(_chat(in_parts({**answers[0], "role": "assistant"})))
    return made[0] if made and made[0]["role"] == "assistant" else None


def tools(event: Event) -> list[dict[str, Any]]:
    """Return the tools that a call was offered, as OpenAI's definitions of functions."""
    return [
        {"type": "function", "function": {key: value for key, value in definition.items() if key != "type"}}
        for definition in tool_definitions(event.get("tool_definitions"))
        if definition["type"] == "function"
    ]


def arguments(value: object) -> dict[str, Any]:
    """Return the arguments of a call as the object that formats want; anything else under `value`."""
    if isinstance(value, str):
        try:
            loaded = encode.loads(value)
        except ValueError:
            return {"value": value}
        return loaded if isinstance(loaded, dict) else {"value": value}
    return value if isinstance(value, dict) else {} if value is None else {"value": value}


def digests(messages: Iterable[Message], before: int = 0) -> Iterator[int]:
    """Yield a number for each beginning of a conversation: the same for the same messages in the same order."""
    for message in messages:
        compared = {key: message[key] for key in _COMPARED if message.get(key)}
        content = compared.get("content")
        if isinstance(content, str):
            compared["content"] = content.strip()
        if "tool_calls" in compared:
            calls = compared["tool_calls"]
            compared["tool_calls"] = [
                [call["id"], call["function"]["name"], arguments(call["function"]["arguments"])] for call in calls
            ]
        data = before.to_bytes(8, "big") + encode.sorted_dumps(compared)
        before = int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
        yield before


def plain_text(content: object) -> str:
    """Return the content of a message as one text; attachments as what they are."""
    if isinstance(content, str) or content is None:
        return content or ""
    parts: list[Message] = content if isinstance(content, list) else []
    return "\n".join(each["text"] if each["type"] == "text" else f"[{each['type']}]" for each in parts)


def _chat(message: Message) -> Iterator[Message]:
    """Yield the messages of one in parts: the results in it each by itself, before the rest."""
    parts = message["parts"]
    rest = [part for part in parts if part.get("type") != "tool_call_response"]
    for part in parts:
        if part.get("type") == "tool_call_response":
            yield {"role": "tool", "tool_call_id": part.get("id"), "content": _result(part.get("response"))}
    if not rest and len(parts) > 0:
        return
    role = message["role"] if message["role"] in _ROLES else "user"
    calls = [_call(part) for part in rest if part.get("type") == "tool_call"]
    thoughts = [text(part.get("content", "")) for part in rest if part.get("type") == "reasoning"]
    shown = [part for part in rest if part.get("type") not in ("tool_call", "reasoning")]
    content = _content(shown)
    plain: Message = {"role": role, "content": content if shown or not calls else None}
    if isinstance(message.get("name"), str):
        plain["name"] = message["name"]
    if role == "assistant":
        plain |= {"reasoning_content": "\n".join(thoughts)} if any(thoughts) else {}
        plain |= {"tool_calls": calls} if calls else {}
    yield plain


def _call(part: Message) -> Message:
    given = part.get("arguments")
    written = given if isinstance(given, str) else encode.dumps({} if given is None else given).decode()
    return {"id": part.get("id"), "type": "function", "function": {"name": text(part["name"]), "arguments": written}}


def _content(parts: list[Message]) -> object:
    """Return parts as a text, or as a list where something else is among them."""
    items = list(map(_item, parts))
    if all(item["type"] == "text" for item in items):
        return "\n".join(item["text"] for item in items)
    return items


def _item(part: Message) -> Message:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": text(part.get("content", ""))}
    mime, modality = part.get("mime_type"), part.get("modality")
    if kind in ("blob", "uri") and modality == "image":
        data = f"data:{mime or 'image/png'};base64,{part.get('content', '')}"
        return {"type": "image_url", "image_url": {"url": part.get("uri") or data}}
    if kind == "blob" and modality == "audio":
        audio = {"data": part.get("content", ""), "format": (mime or "audio/wav").partition("/")[2]}
        return {"type": "input_audio", "input_audio": audio}
    if kind == "file" or (kind == "blob" and modality == "document"):
        data = f"data:{mime or 'application/octet-stream'};base64,{part.get('content', '')}"
        return {"type": "file", "file": {"file_id": part["file_id"]} if "file_id" in part else {"file_data": data}}
    return {"type": "text", "text": text(part)}


def _result(value: object) -> str:
    """Return the result of a tool as text: of text parts, what they say."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        return "\n".join(text(each["text"]) for each in value)
    return "" if value is None else text(value)


def _with_ids(messages: Iterable[Message]) -> list[Message]:
    """Return messages in which each tool call has an id, and each result that of its call."""
    whole, waiting, number = [], deque[str](), 0
    for message in messages:
        for call in message.get("tool_calls", ()):
            if call["id"] is None:
                number += 1
                call["id"] = f"call_{number}"
            waiting.append(call["id"])
        if message["role"] == "tool":
            id = message["tool_call_id"]
            if id is None:
                id = message["tool_call_id"] = waiting[0] if waiting else "call_0"
            if id in waiting:
                waiting.remove(id)
        whole.append(message)
    return whole
