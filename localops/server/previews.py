"""What events were given, each on one line: a row of a list says it beside the name, and nobody has to open it."""

from __future__ import annotations

from itertools import islice

from localops.encoding import encode
from localops.journal import rows, stored
from localops.server.timeline import row_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.reading.facts import Facts

LONGEST = 120  # characters of a line
_LOOKED_AT = 1_000  # characters of a text that a line is made of
_MOST = 8 << 20  # characters of bodies that are read for one answer, give or take one event
_DEPTH = 4  # levels of a message in which its words are looked for
_LONG_VALUE = 40  # characters that a text among others keeps, where not all of them fit

# Where it stands in a body, the first that says something; of kinds that have no words of their own, in `_OTHERS`.
_GIVEN = {
    "llm": ("prompt", "input", "params"),
    "error": ("details", "message", "error"),
    "agent": ("role", "task", "params", "input"),
}
_OTHERS = ("params", "input")


def of(reader: Reader, session: bytes, seqs: Iterable[int]) -> Facts:
    """The lines of a session's events, by any of their seqs; the last ones are missing where bodies are very large."""
    told: dict[str, str] = {}
    read = 0
    for seq in seqs:
        if read >= _MOST:
            break
        row = row_at(reader, seq)
        if row is None or row.session != session or row.kind in rows.BOOKS:
            continue
        text, size = _line_of(row), len(row.body or "")
        if not text and (other := stored.one(reader, row.id, 1 - row.phase)):
            text, size = _line_of(other), size + len(other.body or "")
        told[str(seq)] = text
        read += size
    return {"previews": told}


def _line_of(row: Stored) -> str:
    try:
        return line(row.kind, encode.loads(row.body or "{}"))
    except ValueError:  # a file that was damaged
        return ""


def line(kind: str, body: object) -> str:
    """What an event with this body was given, on a line of at most LONGEST characters; empty for nothing."""
    given = body if isinstance(body, dict) else {"params": body}
    for name in _GIVEN.get(kind, _OTHERS):
        value = _unpacked(given.get(name))
        text = "" if value is None else _last_words(value) if name == "prompt" else _shown(value)
        if text:
            return _cut(text)
    return ""


def _last_words(prompt: object) -> str:
    """What was said last: in a conversation the whole of it is sent each time."""
    if isinstance(prompt, dict):
        prompt = prompt.get("messages") or prompt
    return _spoken(prompt[-1] if isinstance(prompt, list) and prompt else prompt, _DEPTH)


def _spoken(message: object, depth: int) -> str:
    """The words of a message, or of a part of one; a part without any goes by its type."""
    if not depth:
        return ""
    if isinstance(message, list):
        return _folded(" ".join(_spoken(part, depth - 1) for part in islice(message, LONGEST)))
    if isinstance(message, dict):
        for name in ("content", "parts", "text"):
            if message.get(name):
                return _spoken(_whole(message[name]), depth - 1)
        if isinstance(message.get("type"), str):
            return f"[{_folded(message['type'])}]"
    return _shown(message)


def _shown(value: object) -> str:
    """Names and values of what has names, else the value."""
    if not isinstance(value, dict):
        return "" if value == [] else _text(value)
    pairs = [(_folded(name), _text(_whole(each))) for name, each in islice(value.items(), LONGEST)]
    whole = " ".join(f"{name}={text}" for name, text in pairs)
    return whole if len(whole) <= LONGEST else " ".join(f"{name}={_ends(text)}" for name, text in pairs)


def _text(value: object) -> str:
    """A text in full, anything else as compact JSON."""
    if not isinstance(value, str):
        try:
            value = encode.dumps(value).decode()
        except TypeError:  # nested deeper than JSON is written
            value = "…"
    return _folded(value)


def _unpacked(value: object) -> object:
    """JSON that was given as text is JSON."""
    value = _whole(value)
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return encode.loads(value)
        except ValueError:
            pass
    return value


def _whole(value: object) -> object:
    """Of a value that is too large for its row, what stayed there."""
    if isinstance(value, dict) and isinstance(value.get("head"), str) and any(name[:1] == "$" for name in value):
        return value["head"]
    return value


def _folded(text: str) -> str:
    return " ".join(text[:_LOOKED_AT].split())


def _ends(text: str) -> str:
    """Both ends of a text: addresses in a loop differ at their end."""
    half = _LONG_VALUE // 2
    return text if len(text) <= _LONG_VALUE else f"{text[:half]}…{text[-half:]}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
