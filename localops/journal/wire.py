"""Rows as text: a single row as one line of JSON, or many rows column by column.

Spill files and exports of a session have one line for each row.  Between machines, rows are sent by columns: one line
of JSON with a list for each column that is not empty, followed by the bodies as they are stored, one per line.  The
receiver checks whole columns at once, which is faster, and similar values side by side compress better.
"""

from __future__ import annotations

import re

from localops.encoding import encode
from localops.journal import rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.journal.stored import Stored, Unread

# Keys in the first line of a session in a file: the number of its lines there, whether another session follows, and
# the numbers of its rows that are no bookkeeping (`transfer/stated_rows.py`).
SESSION_ROWS, MORE_SESSIONS, WORK_ROWS = "session_rows", "more_sessions", "work_rows"

_HEADS = rows.COLUMNS[:-1]  # all but the body
_SUM = rows.COLUMNS.index("sum")
_BODY = rows.COLUMNS.index("body")
_BINARY = frozenset("id session parent agent".split())
_TEXT = frozenset("kind name model tags".split())
_NEEDED = frozenset("id phase session kind at_ns format sum".split())
_WIDE = 1 << 63
_LARGE = 1 << 20  # the lists in a body of more bytes are counted before it is parsed
_MOST_LISTS = 500_000  # lists in a body, and as many objects: about 40 MB when parsed
_QUOTED = rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"'
_NONE = type(None)


def from_rows(stored_rows: Sequence[Stored]) -> bytes:
    """Return the line of columns and the lines of bodies; stored JSON is copied, not parsed."""
    head: dict[str, Sequence[object]] = {"seq": [row.seq for row in stored_rows]}
    _, *columns, bodies = zip(*stored_rows, strict=True) if stored_rows else [()] * (1 + len(rows.COLUMNS))
    for name, column in zip(_HEADS, columns, strict=True):
        if column.count(None) < len(column):
            head[name] = [value and value.hex() for value in column] if name in _BINARY else column
    lines = ["null" if body is None else body for body in bodies]
    text = "\n".join([*lines, ""])
    # Our recorders write no line breaks in bodies.  Replacing one makes only the checksum of its own row fail.
    if text.count("\n") > len(lines):
        text = "\n".join([*(line.replace("\n", " ") for line in lines), ""])
    return encode.dumps(head) + b"\n" + text.encode()


def to_rows(head: bytes, bodies: Sequence[bytes]) -> tuple[list[Stored], dict[int, str]]:
    """Return the valid rows, and by seq the reasons why others are invalid.

    Raise ValueError if the columns are invalid, or do not match the bodies.
    """
    # Imported here, as no recorder decodes rows.
    from localops.journal.stored import of_columns

    columns = _columns(head, len(bodies))
    costly = {at for at, body in enumerate(bodies) if len(body) > _LARGE and _has_many_lists(body)}
    if not costly:
        try:
            return of_columns(columns["seq"], *decoded(columns, bodies)), {}
        except ValueError:
            # At least one row is invalid: try them one by one.
            pass
    valid: list[Stored] = []
    refused = {}
    for at, seq in enumerate(columns["seq"]):
        if at in costly:
            refused[seq] = f"the body holds more than {_MOST_LISTS:,} lists or objects"
            continue
        try:
            alone = decoded({name: column[at : at + 1] for name, column in columns.items()}, bodies[at : at + 1])
        except ValueError as error:
            refused[seq] = str(error)
        else:
            valid += of_columns([seq], *alone)
    return valid, refused


def identities(head: bytes, seqs: Collection[int]) -> dict[int, Unread]:
    """Return what a valid line of columns states of rows that cannot be read, by seq."""
    from localops.journal.stored import Unread

    columns = encode.loads(head)
    sessions, ids, phases = (columns.get(name) or {} for name in ("session", "id", "phase"))
    places = {seq: at for at, seq in enumerate(columns["seq"]) if seq in seqs}
    return {
        seq: Unread(
            _id(sessions[at]) if sessions else None,
            _id(ids[at]) if ids else None,
            rows.OPEN if phases and phases[at] == rows.OPEN else rows.DONE,
        )
        for seq, at in places.items()
    }


def _id(text: object) -> bytes | None:
    try:
        id = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return id if len(id) == 16 else None


def is_costly(text: bytes, lists: int, objects: int, values: int, quoted: int = 0) -> bool:
    """Return whether JSON has more lists, objects or values than allowed; parsed, each takes up to 30 times its text.

    `quoted` is how many brackets more are allowed before quoted text is removed to count exactly, which is slower.
    """
    if not _exceeds(text, lists + quoted, objects + quoted, values):
        return False
    return _exceeds(re.sub(_QUOTED, b"", text), lists, objects, values)


def _has_many_lists(body: bytes) -> bool:
    return is_costly(body, _MOST_LISTS, _MOST_LISTS, len(body))


def _exceeds(text: bytes, lists: int, objects: int, values: int) -> bool:
    return text.count(b"[") > lists or text.count(b"{") > objects or text.count(b",") > values


def _columns(head: bytes, count: int) -> dict[str, list[Any]]:
    if is_costly(head, len(rows.COLUMNS), 1, len(rows.COLUMNS) * (count + 1), count):
        raise ValueError("invalid columns: more than lists of plain values")
    columns = encode.loads(head)
    if not isinstance(columns, dict) or any(
        not isinstance(column, list) or len(column) != count for column in columns.values()
    ):
        raise ValueError("invalid columns: expected one value for each body")
    if set(map(type, columns.get("seq", [None]))) - {int}:
        raise ValueError("invalid seq: expected a number")
    return columns


def decoded(given: Mapping[str, Sequence[Any]], bodies: Sequence[bytes]) -> list[Sequence[Any]]:
    """Return all columns of rows, from the given columns and the bodies.

    Raise ValueError if a row is incomplete, has invalid values or a wrong checksum, or would violate a constraint of
    the journal's table: rows may come from any sender.
    """
    absent = (None,) * len(bodies)
    columns = [
        _checked(name, given.get(name, absent)) if name in given or name in _NEEDED else absent for name in _HEADS
    ]
    encode.check(bodies)
    texts: list[str | None] = list(map(bytes.decode, bodies))
    columns.append([None if text == "null" else text for text in texts] if "null" in texts else texts)
    if rows.checksums(columns) != list(columns[_SUM]):
        raise ValueError("the row fails its checksum")
    return columns


def _checked(name: str, column: Sequence[Any]) -> Sequence[Any]:
    """Return a column with ids as bytes; raise ValueError for values of another type."""
    kind: type = int
    if name in _BINARY:
        kind = bytes
        try:
            if name == "id":
                column = list(map(bytes.fromhex, column))
            else:
                # Convert each value once, as most of them repeat.
                ids = {value: value and bytes.fromhex(value) for value in set(column)}
                column = list(map(ids.__getitem__, column))
        except TypeError as error:
            raise ValueError(f"invalid {name}: expected hex digits") from error
    elif name in _TEXT:
        kind = str
    types = set(map(type, column))
    if types - {kind, _NONE} or (_NONE in types and name in _NEEDED):
        raise ValueError(f"invalid {name}: expected {kind.__name__}")
    filled = [value for value in column if value is not None] if _NONE in types else column
    if kind is bytes and set(map(len, filled)) - {16}:
        raise ValueError(f"invalid {name}: expected 16 bytes")
    if kind is int and filled and (max(filled) >= _WIDE or min(filled) < -_WIDE):
        raise ValueError(f"invalid {name}: expected a number of at most 64 bits")
    return column


def from_row(row: Row, more: Mapping[str, object] | None = None) -> bytes:
    """Return one row as a line of JSON, with the keys of `more`, if any; the body is copied as it is stored."""
    columns = {
        name: value.hex() if name in _BINARY else value
        for name, value in zip(_HEADS, row[:_BODY], strict=True)
        if value is not None
    }
    if more is not None:
        columns.update(more)
    head, body = encode.dumps(columns), row[_BODY]
    # Without orjson, which crashes if memory runs out in the middle of a large text.
    return head + b"\n" if body is None else head[:-1] + b',"body":' + body.encode() + b"}\n"


def to_row(line: bytes) -> Row:
    """Return the row of a line; raise ValueError if it is incomplete, invalid or has a wrong checksum."""
    columns, body = _parts(line)
    (row,) = zip(*decoded({name: (value,) for name, value in columns.items()}, (body,)), strict=True)
    return row


def more_of(line: bytes) -> dict[str, object]:
    """Return the keys of a valid line that are not columns, with their values."""
    columns, _ = _parts(line)
    return {name: value for name, value in columns.items() if name not in rows.COLUMNS}


def _parts(line: bytes) -> tuple[dict[str, object], bytes]:
    """Return the columns and the bytes of the body, which is the last key of a line, as the checksum needs them."""
    head, separator, rest = line.partition(b'"body":')
    columns = encode.loads(head.removesuffix(b",") + b"}" if separator else line)
    if not isinstance(columns, dict) or "body" in columns:
        raise ValueError("invalid line: expected a JSON object with the body as its last key")
    text = rest.rstrip(b"\r\n")
    if not separator:
        return columns, b"null"
    if not text.endswith(b"}"):
        raise ValueError("invalid line: it is incomplete")
    return columns, text[:-1]
