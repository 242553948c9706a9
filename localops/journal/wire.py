"""Rows as text: one of them as one line of JSON, or many column by column.

A spill file and an export of a session hold lines.  Between machines rows travel by columns: one line of JSON holds a
list for each column that any of the rows fills; then each row's body follows on a line of its own, as it is stored.
The receiver looks at a whole column at once, which is quick, and similar values side by side compress better.
"""

from __future__ import annotations

import re
from contextlib import suppress

from localops.encoding import encode
from localops.journal import rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.journal.stored import Stored

_HEADS = rows.COLUMNS[:-1]  # all but the body
_SUM = rows.COLUMNS.index("sum")
_BODY = rows.COLUMNS.index("body")
_BINARY = frozenset("id session parent agent".split())
_TEXT = frozenset("kind name model tags".split())
_NEEDED = frozenset("id phase session kind at_ns format sum".split())
_WIDE = 1 << 63
_LARGE = 1 << 20  # bytes of a body that is looked at before it is read
_MOST_LISTS = 500_000  # of a body, and as many objects: some 40 MB when they are read
_QUOTED = rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"'
_NONE = type(None)


def from_rows(found: Sequence[Stored]) -> bytes:
    """Return the line of columns, and the lines of the bodies; stored JSON is spliced in, never parsed."""
    told: dict[str, Sequence[object]] = {"seq": [row.seq for row in found]}
    _, *columns, bodies = zip(*found, strict=True) if found else [()] * (1 + len(rows.COLUMNS))
    for name, column in zip(_HEADS, columns, strict=True):
        if column.count(None) < len(column):
            told[name] = [value and value.hex() for value in column] if name in _BINARY else column
    lines = ["null" if body is None else body for body in bodies]
    text = "\n".join([*lines, ""])
    if text.count("\n") > len(lines):  # no recorder of ours wrote that: it fails its checksum there, and no other row
        text = "\n".join([*(line.replace("\n", " ") for line in lines), ""])
    return encode.dumps(told) + b"\n" + text.encode()


def to_rows(head: bytes, bodies: Sequence[bytes]) -> tuple[list[Stored], dict[int, str]]:
    """Return the rows, and why the others cannot be read, by seq.

    Raise ValueError when these are no columns for these bodies.
    """
    from localops.journal.stored import named  # no recorder takes rows in

    told = _columns(head, len(bodies))
    costly = {at for at, body in enumerate(bodies) if len(body) > _LARGE and _has_many_lists(body)}
    if not costly:
        with suppress(ValueError):
            return named(zip(told["seq"], *taken(told, bodies), strict=True)), {}
    found: list[Stored] = []
    refused = {}
    for at, seq in enumerate(told["seq"]):  # one of them is none: which?
        if at in costly:
            refused[seq] = f"the body holds more than {_MOST_LISTS:,} lists or objects"
            continue
        try:
            alone = taken({name: column[at : at + 1] for name, column in told.items()}, bodies[at : at + 1])
        except ValueError as error:
            refused[seq] = str(error)
        else:
            found += named(zip([seq], *alone, strict=True))
    return found, refused


def is_costly(text: bytes, lists: int, objects: int, values: int, quoted: int = 0) -> bool:
    """Whether JSON holds more lists, objects or values than that: read, each takes up to thirty times its text.

    What stands within texts is counted as well at first, which is quick, and left out only when that is too much;
    `quoted`: how many more there may be in texts without a closer look.
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
        raise ValueError("there is more in the columns than lists of plain values")
    told = encode.loads(head)
    if not isinstance(told, dict) or any(not isinstance(each, list) or len(each) != count for each in told.values()):
        raise ValueError("the columns are not as long as there are bodies")
    if set(map(type, told.get("seq", [None]))) - {int}:
        raise ValueError("seq is not a number")
    return told


def taken(told: Mapping[str, Sequence[Any]], bodies: Sequence[bytes]) -> list[Sequence[Any]]:
    """Return the columns of a row, all of them, from those that are named and the bodies.

    Raise ValueError when a row is torn, foreign or fails its checksum.  What the journal's own columns would refuse
    is refused: rows may come from anybody.
    """
    absent = (None,) * len(bodies)
    columns = [_checked(name, told.get(name, absent)) if name in told or name in _NEEDED else absent for name in _HEADS]
    encode.check(bodies)
    columns.append([None if body == "null" else body for body in map(bytes.decode, bodies)])
    if rows.checksums(columns) != list(columns[_SUM]):
        raise ValueError("the row fails its checksum")
    return columns


def _checked(name: str, column: Sequence[Any]) -> Sequence[Any]:
    """A column of what it has to be, ids as bytes."""
    kind: type = int
    if name in _BINARY:
        kind = bytes
        try:
            column = [value and bytes.fromhex(value) for value in column]
        except TypeError as error:
            raise ValueError(f"{name} is not what it has to be") from error
    elif name in _TEXT:
        kind = str
    types = set(map(type, column))
    if types - {kind, _NONE} or (_NONE in types and name in _NEEDED):
        raise ValueError(f"{name} is not what it has to be")
    filled = [value for value in column if value is not None] if _NONE in types else column
    if kind is bytes and set(map(len, filled)) - {16}:
        raise ValueError("an id is not 16 bytes long")
    if kind is int and filled and (max(filled) >= _WIDE or min(filled) < -_WIDE):
        raise ValueError("a number does not fit into 64 bits")
    return column


def from_row(row: Row) -> bytes:
    """One row as one line of JSON; the body is spliced in as it is stored."""
    plain = {
        name: value.hex() if name in _BINARY else value
        for name, value in zip(_HEADS, row[:_BODY], strict=True)
        if value is not None
    }
    head, body = encode.dumps(plain), row[_BODY]
    # Not through orjson, which does not survive it when memory ends in the middle of a large text.
    return head + b"\n" if body is None else head[:-1] + b',"body":' + body.encode() + b"}\n"


def to_row(line: bytes) -> Row:
    """The row a line holds; ValueError when it is torn, foreign or fails its checksum."""
    plain, body = _parts(line)
    (row,) = zip(*taken({name: (value,) for name, value in plain.items()}, (body,)), strict=True)
    return row


def _parts(line: bytes) -> tuple[dict[str, object], bytes]:
    """The columns, and the body's text as it was spliced in: it comes last, and the checksum covers its very bytes."""
    head, found, rest = line.partition(b'"body":')
    plain = encode.loads(head.removesuffix(b",") + b"}" if found else line)
    if not isinstance(plain, dict) or "body" in plain:
        raise ValueError("a row's line is a JSON object, and its body is the last key")
    text = rest.rstrip(b"\r\n")
    if not found:
        return plain, b"null"
    if not text.endswith(b"}"):
        raise ValueError("the line breaks off")
    return plain, text[:-1]
