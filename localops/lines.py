"""A row as one line of JSON: the form it has in a spill file, a bundle, and an export of a session."""

from __future__ import annotations

import re
from operator import itemgetter

from localops import encode, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.rows import Row

    Look = Callable[[Row], tuple[Any, ...]]

_BINARY = {rows.COLUMNS.index(name) for name in ("id", "session", "parent", "agent")}
_BODY = rows.COLUMNS.index("body")
_NONE = type(None)
_TEXT = frozenset("kind name model tags body".split())
_TYPES = [bytes if index in _BINARY else str if name in _TEXT else int for index, name in enumerate(rows.COLUMNS)]
_NEEDED = frozenset("id phase session kind at_ns format sum".split())
_WIDE = 1 << 63
_SEQ = rb'\{"seq":(\d{1,18})\b'
_seen: dict[tuple[type, ...], tuple[Look, Look]] = {}  # by columns that are filled together: there are a few dozen


def from_row(row: Row, seq: int | None = None) -> bytes:
    """One row as one line of JSON, its place in the journal first; the body is spliced in as it is stored."""
    plain: dict[str, object] = {} if seq is None else {"seq": seq}
    for index, (name, value) in enumerate(zip(rows.COLUMNS, row, strict=True)):
        if value is None:
            continue
        if index in _BINARY:
            value = value.hex()
        elif index == _BODY:
            value = encode.Fragment(value)
        plain[name] = value
    return encode.dumps(plain) + b"\n"


def to_row(line: bytes) -> Row:
    """The row a line holds; ValueError when it is torn, foreign or fails its checksum."""
    return to_numbered(line)[1]


def to_numbered(line: bytes) -> tuple[int, Row]:
    """The row a line holds and its place in the journal it comes from (0: not told); ValueError as above."""
    plain, body = _parts(line)
    values: list[object] = [plain.get(name) for name in rows.COLUMNS]
    for index in _BINARY:
        value = values[index]
        values[index] = bytes.fromhex(value) if isinstance(value, str) else value
    values[_BODY] = body
    row = tuple(values)
    _check_types(row)
    if not rows.intact(row):
        raise ValueError("the line fails its checksum")
    seq = plain.get("seq", 0)
    if type(seq) is not int:
        raise ValueError("seq is not a number")
    return seq, row


def seq_of(line: bytes) -> int:
    """The place of a row whose line cannot be read otherwise; 0 when not even that can be told."""
    try:
        seq = encode.loads(line).get("seq", 0)
    except (ValueError, AttributeError):
        seq = int(found[1]) if (found := re.match(_SEQ, line)) else 0
    return seq if type(seq) is int else 0


def _check_types(row: Row) -> None:
    """Refuse what the journal's columns would refuse: a line may come from anybody."""
    types = tuple(map(type, row))
    look = _seen.get(types) or _seen.setdefault(types, _looks(types))
    ids, numbers = look[0](row), look[1](row)
    if set(map(len, ids)) != {16}:
        raise ValueError("an id is not 16 bytes long")
    if max(numbers) >= _WIDE or min(numbers) < -_WIDE:
        raise ValueError("a number does not fit into 64 bits")


def _looks(types: tuple[type, ...]) -> tuple[Look, Look]:
    """How to get at the ids and the numbers of a row with columns of these types; ValueError if none is so."""
    for name, kind, found in zip(rows.COLUMNS, _TYPES, types, strict=True):
        if found is not kind and (found is not _NONE or name in _NEEDED):
            raise ValueError(f"{name} is not what it has to be")
    return tuple(  # type: ignore[return-value]
        itemgetter(*[index for index, found in enumerate(types) if found is kind]) for kind in (bytes, int)
    )


def _parts(line: bytes) -> tuple[dict[str, object], str | None]:
    """The columns, and the body's text as it was spliced in: it comes last, and the checksum covers its very bytes."""
    head, found, rest = line.partition(b'"body":')
    plain = encode.loads(head.removesuffix(b",") + b"}" if found else line)
    if not isinstance(plain, dict) or "body" in plain:
        raise ValueError("a row's line is a JSON object, and its body is the last key")
    text = rest.rstrip(b"\r\n")
    if not found or text == b"null}":
        return plain, None
    if not text.endswith(b"}"):
        raise ValueError("the line breaks off")
    encode.loads(text[:-1])  # what is behind a body, or inside one, must not be taken for JSON when it is none
    return plain, text[:-1].decode()
