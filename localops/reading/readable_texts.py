"""Recorded values as texts for comparisons: a conversation message by message, JSON in lines, no encoded data."""

from __future__ import annotations

import json
import re

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# An escape of JSON, and the blanks that are shown in its place.
_ESCAPE = re.compile(r"\\(.)")
_BLANKS = {"n": "\n", "t": "\t"}
# Data in base64, which only a machine reads, with the type before it if it is an address.
_DATA = re.compile(
    r"data:([\w.+-]+/[\w.+-]+)[\w=;.+-]*;base64,([A-Za-z0-9+/_-]{16,}={0,2})|([A-Za-z0-9+/_-]{256,}={0,2})"
)
# Characters of the fields around data in a part of a message.
_FIELDS = 200
_TABLE_HEAD = re.compile(r"\|(?:\s*:?-{2,}:?\s*\|)+ ?")
_MESSAGE = ("content", "tool_calls", "parts")


def in_lines(text: str) -> str:
    """Return messages one below the other, other JSON with its line breaks; any other text unchanged."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return text
    try:
        return _lines(encode.loads(text))
    except (ValueError, RecursionError):
        return text


def on_a_line(text: str) -> str:
    r"""Return a text of JSON without line breaks inside, and without the second line of a Markdown table.

    >>> on_a_line('{"answer":"| a | b |\\n|---|---|\\n| 1 | 2 |"}')
    '{"answer":"| a | b | | 1 | 2 |"}'
    """
    line = _ESCAPE.sub(lambda escape: " " if escape[1] in _BLANKS else escape[0], text)
    return _TABLE_HEAD.sub("", line)


def _lines(value: Any) -> str:
    if isinstance(value, str):
        return value
    messages = value if isinstance(value, list) else [value]
    if messages and all(map(_is_message, messages)):
        return "\n\n".join(f"{message['role']}:\n{_content(message)}" for message in messages)
    return _ESCAPE.sub(
        lambda escape: _BLANKS.get(escape[1], escape[0]), json.dumps(value, indent=2, ensure_ascii=False)
    )


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and any(name in value for name in _MESSAGE)


def _content(message: dict[str, Any]) -> str:
    """Return the text of each part of a message, and what it has beside them."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [] if content is None else [content]
    texts = [part["text"] if _is_text(part) else _data_of(_lines(part)) for part in parts]
    rest = {name: value for name, value in message.items() if name not in ("role", "content") and value is not None}
    return "\n".join([*texts, *([_lines(rest)] if rest else [])])


def _data_of(text: str) -> str:
    """Return the encoded data in the JSON of a part of a message, without the few fields around it."""
    match = _DATA.search(text)
    return match[0] if match and len(text) - len(match[0]) < _FIELDS else text


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str) and set(part) <= {"type", "text"}


def naming_data() -> Callable[[str], str]:
    """Return a function that replaces encoded data in texts by its type and size; equal data has the same number."""
    numbers: dict[str, int] = {}

    def named(match: re.Match[str]) -> str:
        kind, data = match[1], match[2] or match[3]
        is_encoded = any(map(str.isupper, data)) and any(map(str.islower, data)) and any(map(str.isdigit, data))
        if kind is None and not is_encoded:
            return match[0]
        number = numbers.setdefault(data, len(numbers) + 1)
        return f"[data {number}: {kind or 'base64'}, {len(data) * 3 / 4 / 1024:,.1f} kB]"

    return lambda text: _DATA.sub(named, text)


def has_named_data(text: str) -> bool:
    """Return whether a text has data that is replaced by its type and size."""
    return "[data " in text
