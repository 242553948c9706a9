"""Show the input or the result of an event on one line, for lists and reports."""

from __future__ import annotations

from itertools import islice

from localops import output
from localops.encoding import encode
from localops.encoding.lazy import late_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Characters of a line.
LONGEST = 120
# Characters of a text to read for a line.
_READ = 1_000
# Levels of a message to search for its text.
_DEPTH = 4
# Types of message parts that call a tool.
_TOOL_CALLS = frozenset(("tool_use", "function_call", "tool_call"))
# Characters of each value, if a line is too short for all values.
_LONG_VALUE = 40

# Markdown syntax to remove from a line: bold words, code blocks, headings, the header row of a table.
_BOLD = late_pattern(r"(?<![\w*])\*\*(?=[^\s*])(.+?)(?<=[^\s*])\*\*(?![\w*])")
_BLOCK_SYNTAX = late_pattern(r"```\w*\s*|^#{1,6} ")
_TABLE_HEAD = late_pattern(r"\|(?:\s*:?-+:?\s*\|)+")
_BARS = late_pattern(r"\s*\|[\s|]*")

# Keys of a body with the input, by kind; the first one that is not empty is shown. `_OTHERS` is for other kinds.
_INPUT = {
    "llm": ("prompt", "input", "params"),
    "error": ("details", "message", "error"),
    "agent": ("role", "task", "params", "input"),
}
_OTHERS = ("params", "input")
# Keys of a body with the result, by kind.
_RESULT = {"llm": ("completion", "tool_calls", "returns"), "error": ("details",)}


def line(kind: str, body: object) -> str:
    """Return the input in a body as a line of at most LONGEST characters; empty if there is no input."""
    return _first(body if isinstance(body, dict) else {"params": body}, _INPUT.get(kind, _OTHERS))


def result(kind: str, body: object) -> str:
    """Return the result in a body as a line of at most LONGEST characters; empty if there is no result."""
    return _first(body, _RESULT.get(kind, ("returns",))) if isinstance(body, dict) else ""


def cut_distinct(lines: Sequence[str], width: int) -> list[str]:
    """Cut lines to `width` terminal cells, so that lines with a long common beginning still differ.

    >>> cut_distinct(["folder=reports/2026 month=11", "folder=reports/2026 month=12"], 20)
    ['…26 month=11', '…26 month=12']
    """
    cut = [output.cut(line, width) for line in lines]
    if len(set(cut)) == len(set(lines)):
        return cut
    return [output.cut(_around_difference(line, lines, width), width) for line in lines]


def _around_difference(line: str, lines: Sequence[str], width: int) -> str:
    """Return the end of a line, from shortly before its difference to the lines with the longest common beginning."""
    start = max(_common_length(line, other) for other in lines if other != line) - width // 2
    return f"…{line[start:]}" if start > 0 else line


def _common_length(one: str, other: str) -> int:
    """Return the number of characters in the common beginning of two lines."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def given(kind: str, body: dict[str, object]) -> object:
    """Return the complete input in a body; None if there is no input."""
    return next((body[name] for name in _INPUT.get(kind, _OTHERS) if body.get(name)), None)


def is_empty_result(kind: str, body: dict[str, object]) -> bool:
    """Return whether there is a recorded result, and it is an empty text, list or object."""
    results = [body[name] for name in _RESULT.get(kind, ("returns",)) if body.get(name) is not None]
    if kind == "llm" and results:
        return not result(kind, body)
    return bool(results) and not any(results) and not any(isinstance(value, int | float) for value in results)


def asked_calls(body: dict[str, object]) -> list[tuple[str, str]]:
    """Return the name and a line of each tool call that an answer of a model asks for."""
    calls = parsed(body.get("tool_calls"))
    asked = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function", call) if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            asked.append((name, _cut(_tool_call(call).removeprefix("→ ") or name)))
    return asked


def _first(values: dict[str, object], names: Sequence[str]) -> str:
    for name in names:
        value = parsed(values.get(name))
        text = "" if value is None else _last_message(value) if name in ("prompt", "completion") else _shown(value)
        text = _without_markdown(text) if name == "completion" else text
        if text:
            return _cut(text)
    return ""


def _without_markdown(text: str) -> str:
    """Return an answer on one line without Markdown syntax.

    >>> _without_markdown("| t | v | |---|---| | 1 | 9.81 | See **how** it grows?")
    't | v | 1 | 9.81 | See how it grows?'
    """
    if _TABLE_HEAD.search(text):
        text = _BARS.sub(" | ", _TABLE_HEAD.sub("|", text)).strip(" |")
    return _BLOCK_SYNTAX.sub("", _BOLD.sub(r"\1", text)).strip()


def given_line(text: str) -> str:
    """Mark the input of an LLM call as an input, to show it in place of a missing answer."""
    return _cut(f"given: {text}") if text else ""


def _last_message(prompt: object) -> str:
    """Return the text of the last message, as each call of a conversation repeats all messages."""
    if isinstance(prompt, dict):
        prompt = prompt.get("messages") or prompt
    return _message_text(prompt[-1] if isinstance(prompt, list) and prompt else prompt, _DEPTH)


def _message_text(message: object, depth: int) -> str:
    """Return the text of a message or a part of one; for a part without text, its type."""
    if not depth:
        return ""
    if isinstance(message, list):
        return _on_one_line(" ".join(_message_text(part, depth - 1) for part in islice(message, LONGEST)))
    if isinstance(message, dict):
        if call := _tool_call(message):
            return call
        for name in ("content", "parts", "text", "tool_calls"):
            if message.get(name):
                return _message_text(_from_blob(message[name]), depth - 1)
        if isinstance(message.get("type"), str):
            return f"[{_on_one_line(message['type'])}]"
        if "role" in message:
            # An answer without a text may have other fields, such as a reason why the model refused.
            return _shown({name: value for name, value in message.items() if name != "role" and value})
    return _shown(message)


def _tool_call(part: dict[str, object]) -> str:
    """Return the tool that a message part calls, with its arguments; empty if it does not call a tool."""
    for key in ("function", "functionCall", "function_call"):
        inner = part.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            part = {**inner, "type": "function_call"}
    name = part.get("name")
    if part.get("type") not in _TOOL_CALLS or not isinstance(name, str):
        return ""
    given = next((part[key] for key in ("input", "arguments", "args") if part.get(key)), None)
    return f"→ {_on_one_line(name)} {'' if given is None else _shown(parsed(given))}".rstrip()


def _shown(value: object) -> str:
    """Return a dict as `name=value` pairs, other values as text."""
    if not isinstance(value, dict):
        return "" if value == [] else _text(value)
    pairs = [(_on_one_line(name), _text(_from_blob(item))) for name, item in islice(value.items(), LONGEST)]
    whole = " ".join(f"{name}={text}" for name, text in pairs)
    return whole if len(whole) <= LONGEST else " ".join(f"{name}={_both_ends(text)}" for name, text in pairs)


def _text(value: object) -> str:
    """Return a text unchanged, other values as compact JSON."""
    if not isinstance(value, str):
        try:
            value = encode.dumps(value).decode()
        # Nested more deeply than orjson allows.
        except TypeError:
            value = "…"
    return _on_one_line(value)


def parsed(value: object) -> object:
    """Parse a text that is JSON; return other values unchanged."""
    value = _from_blob(value)
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return encode.loads(value)
        except ValueError:
            pass
    return value


def _from_blob(value: object) -> object:
    """Return the beginning of a value that is stored in a blob; other values unchanged."""
    if isinstance(value, dict) and isinstance(value.get("head"), str) and any(name[:1] == "$" for name in value):
        return value["head"]
    return value


def _on_one_line(text: str) -> str:
    return " ".join(text[:_READ].split())


def _both_ends(text: str) -> str:
    """Return both ends of a long text, as URLs in a loop often differ only at the end."""
    half = _LONG_VALUE // 2
    return text if len(text) <= _LONG_VALUE else f"{text[:half]}…{text[-half:]}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
