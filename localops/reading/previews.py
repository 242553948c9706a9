"""The input or the result of an event on one line, for lists and reports."""

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
# Characters of a text that are read to make a line.
_READ = 1_000
# Levels of a message in which its text is looked for.
_DEPTH = 4
# Types of the parts of messages that call a tool.
_CALLS = frozenset(("tool_use", "function_call", "tool_call"))
# Characters of each value where a line has no room for all of them.
_LONG_VALUE = 40

# Signs of Markdown that are in the way on one line: of bold words, code blocks, headings, and the head of a table.
_BOLD = late_pattern(r"(?<![\w*])\*\*(?=[^\s*])(.+?)(?<=[^\s*])\*\*(?![\w*])")
_SIGNS = late_pattern(r"```\w*\s*|^#{1,6} ")
_TABLE_HEAD = late_pattern(r"\|(?:\s*:?-+:?\s*\|)+")
_BARS = late_pattern(r"\s*\|[\s|]*")

# Keys of a body that hold the input, by kind; the first that is not empty is shown. `_OTHERS` is for other kinds.
_INPUT = {
    "llm": ("prompt", "input", "params"),
    "error": ("details", "message", "error"),
    "agent": ("role", "task", "params", "input"),
}
_OTHERS = ("params", "input")
# Keys of a body that hold the result, by kind.
_RESULT = {"llm": ("completion", "tool_calls", "returns"), "error": ("details",)}


def line(kind: str, body: object) -> str:
    """Return the input in this body as a line of at most LONGEST characters; empty if it has none."""
    return _first(body if isinstance(body, dict) else {"params": body}, _INPUT.get(kind, _OTHERS))


def result(kind: str, body: object) -> str:
    """Return the result in this body as such a line; empty if it has none."""
    return _first(body, _RESULT.get(kind, ("returns",))) if isinstance(body, dict) else ""


def apart(lines: Sequence[str], width: int) -> list[str]:
    """Cut lines to so many terminal cells, in a way that those that differ only further on still differ.

    >>> apart(["folder=reports/2026 month=11", "folder=reports/2026 month=12"], 20)
    ['…26 month=11', '…26 month=12']
    """
    cut = [output.cut(line, width) for line in lines]
    if len(set(cut)) == len(set(lines)):
        return cut
    return [output.cut(_from_difference(line, lines, width), width) for line in lines]


def _from_difference(line: str, lines: Sequence[str], width: int) -> str:
    """Return the end of a line, from shortly before it differs from those that begin most like it."""
    start = max(_alike(line, other) for other in lines if other != line) - width // 2
    return f"…{line[start:]}" if start > 0 else line


def _alike(one: str, other: str) -> int:
    """Return at how many characters two lines begin alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def given(kind: str, body: dict[str, object]) -> object:
    """Return the complete input in this body; None if it has none."""
    return next((body[name] for name in _INPUT.get(kind, _OTHERS) if body.get(name)), None)


def is_empty_result(kind: str, body: dict[str, object]) -> bool:
    """Return whether a result is recorded and is an empty text, list or object."""
    results = [body[name] for name in _RESULT.get(kind, ("returns",)) if body.get(name) is not None]
    if kind == "llm" and results:
        return not result(kind, body)
    return bool(results) and not any(results) and not any(isinstance(value, int | float) for value in results)


def _first(values: dict[str, object], names: Sequence[str]) -> str:
    for name in names:
        value = parsed(values.get(name))
        text = "" if value is None else _last_message(value) if name in ("prompt", "completion") else _shown(value)
        text = _plain(text) if name == "completion" else text
        if text:
            return _cut(text)
    return ""


def _plain(text: str) -> str:
    """Return an answer on one line without the signs of Markdown.

    >>> _plain("| t | v | |---|---| | 1 | 9.81 | See **how** it grows?")
    't | v | 1 | 9.81 | See how it grows?'
    """
    if _TABLE_HEAD.search(text):
        text = _BARS.sub(" | ", _TABLE_HEAD.sub("|", text)).strip(" |")
    return _SIGNS.sub("", _BOLD.sub(r"\1", text)).strip()


def given_line(text: str) -> str:
    """Return the input of a model call, which stands where its answer would, as what it is."""
    return _cut(f"given: {text}") if text else ""


def _last_message(prompt: object) -> str:
    """Return the last message, as each call of a conversation sends all messages."""
    if isinstance(prompt, dict):
        prompt = prompt.get("messages") or prompt
    return _message_text(prompt[-1] if isinstance(prompt, list) and prompt else prompt, _DEPTH)


def _message_text(message: object, depth: int) -> str:
    """Return the text of a message or of a part of one; the type of a part without text."""
    if not depth:
        return ""
    if isinstance(message, list):
        return _folded(" ".join(_message_text(part, depth - 1) for part in islice(message, LONGEST)))
    if isinstance(message, dict):
        if call := _tool_call(message):
            return call
        for name in ("content", "parts", "text", "tool_calls"):
            if message.get(name):
                return _message_text(_whole(message[name]), depth - 1)
        if isinstance(message.get("type"), str):
            return f"[{_folded(message['type'])}]"
        if "role" in message:
            # An answer without a text may say something else, such as why it was refused.
            return _shown({name: value for name, value in message.items() if name != "role" and value})
    return _shown(message)


def _tool_call(part: dict[str, object]) -> str:
    """Return the tool that a part of a message calls, with its arguments; empty if it calls none."""
    for key in ("function", "functionCall", "function_call"):
        inner = part.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            part = {**inner, "type": "function_call"}
    name = part.get("name")
    if part.get("type") not in _CALLS or not isinstance(name, str):
        return ""
    given = next((part[key] for key in ("input", "arguments", "args") if part.get(key)), None)
    return f"→ {_folded(name)} {'' if given is None else _shown(parsed(given))}".rstrip()


def _shown(value: object) -> str:
    """Return a dict as names and values, anything else as text."""
    if not isinstance(value, dict):
        return "" if value == [] else _text(value)
    pairs = [(_folded(name), _text(_whole(item))) for name, item in islice(value.items(), LONGEST)]
    whole = " ".join(f"{name}={text}" for name, text in pairs)
    return whole if len(whole) <= LONGEST else " ".join(f"{name}={_ends(text)}" for name, text in pairs)


def _text(value: object) -> str:
    """Return a text as it is, anything else as compact JSON."""
    if not isinstance(value, str):
        try:
            value = encode.dumps(value).decode()
        # Nested more deeply than orjson allows.
        except TypeError:
            value = "…"
    return _folded(value)


def parsed(value: object) -> object:
    """Parse a text that is JSON; return any other value as it is."""
    value = _whole(value)
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return encode.loads(value)
        except ValueError:
            pass
    return value


def _whole(value: object) -> object:
    """Return the beginning of a value that is in a blob; any other value as it is."""
    if isinstance(value, dict) and isinstance(value.get("head"), str) and any(name[:1] == "$" for name in value):
        return value["head"]
    return value


def _folded(text: str) -> str:
    return " ".join(text[:_READ].split())


def _ends(text: str) -> str:
    """Return both ends of a long text: addresses in a loop often differ at their end only."""
    half = _LONG_VALUE // 2
    return text if len(text) <= _LONG_VALUE else f"{text[:half]}…{text[-half:]}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
