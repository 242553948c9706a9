"""Combine attributes with numbers in their names into lists."""

from __future__ import annotations

from localops.otel.span_values import parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


def wording(start: str) -> Callable[[Any], Any]:
    """Return the function that converts an item into the format of clients, by the prefix of its attributes."""
    return {
        "llm.input_messages.": _openinference_message,
        "llm.output_messages.": _openinference_message,
        "llm.tools.": _openinference_tool,
    }.get(start, _plain_item)


def in_order(plain: dict[str, Any], wording: Callable[[Any], Any]) -> Iterator[Any]:
    """Combine attributes into items, and yield these in the order of their numbers."""
    root: dict[str, Any] = {}
    for name, value in plain.items():
        at = root
        *path, last = name.split(".")
        for step in path:
            inner = at.get(step)
            if type(inner) is not dict:
                inner = at[step] = {} if inner is None else {"": inner}
            at = inner
        if type(at.get(last)) is dict:
            at[last][""] = value
        else:
            at[last] = value
    for number in sorted(root, key=int):
        yield wording(_in_lists(root[number]))


def _in_lists(value: Any) -> Any:
    """Return nested dicts with lists where all keys are numbers."""
    if type(value) is tuple:
        return list(value)
    if type(value) is not dict:
        return value
    if value and all(key.isdecimal() for key in value):
        return [_in_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _in_lists(each) for key, each in value.items()}


def _plain_item(item: Any) -> Any:
    """Convert a message, tool or document of OpenLLMetry or AgentOps."""
    if type(item) is not dict:
        return item
    if len(item) == 1 and type(inner := next(iter(item.values()))) is dict:  # document.content, embedding.vector
        item = inner
    return {
        key: parsed(value) if key in ("content", "arguments", "parameters", "metadata") else value
        for key, value in item.items()
    }


def _openinference_message(item: Any) -> Any:
    message = item.get("message") if type(item) is dict else None
    if type(message) is not dict:
        return item
    plain = {key: value for key, value in message.items() if key not in ("contents", "tool_calls")}
    if type(message.get("contents")) is list:
        plain["content"] = [_openinference_part(part) for part in message["contents"]]
    calls = message.get("tool_calls")
    if type(calls) is list:
        plain["tool_calls"] = [_openinference_call(call) for call in calls]
        if type(plain.get("content")) is list:  # newer ones have each call among the contents as well
            plain["content"] = [part for part in plain["content"] if part not in plain["tool_calls"]]
    return plain


def _openinference_part(part: Any) -> Any:
    inner = part.get("message_content") if type(part) is dict else None
    call = part.get("tool_call") if type(part) is dict else None
    if type(call) is dict:
        return _openinference_call(part)
    if type(inner) is not dict:
        return part
    image = inner.get("image")
    url = (
        image.get("image", image).get("url")
        if type(image) is dict and type(image.get("image", image)) is dict
        else None
    )
    if url is not None:
        return {"type": "image_url", "image_url": {"url": url}}
    return inner


def _openinference_call(call: Any) -> Any:
    inner = call.get("tool_call") if type(call) is dict else None
    return {"type": "function", **inner} if type(inner) is dict else call


def _openinference_tool(item: Any) -> Any:
    tool = item.get("tool") if type(item) is dict else None
    if type(tool) is not dict:
        return item
    return parsed(tool["json_schema"]) if len(tool) == 1 and "json_schema" in tool else tool
