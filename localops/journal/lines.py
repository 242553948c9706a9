"""A row as one line of JSON: the form it has in a spill file, and in an export of a session."""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import columns, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.rows import Row

_BINARY = {rows.COLUMNS.index(name) for name in ("id", "session", "parent", "agent")}
_BODY = rows.COLUMNS.index("body")


def from_row(row: Row) -> bytes:
    """One row as one line of JSON; the body is spliced in as it is stored."""
    plain = {
        name: value.hex() if index in _BINARY else value
        for index, (name, value) in enumerate(zip(rows.COLUMNS[:_BODY], row[:_BODY], strict=True))
        if value is not None
    }
    head, body = encode.dumps(plain), row[_BODY]
    # Not through orjson, which does not survive it when memory ends in the middle of a large text.
    return head + b"\n" if body is None else head[:-1] + b',"body":' + body.encode() + b"}\n"


def to_row(line: bytes) -> Row:
    """The row a line holds; ValueError when it is torn, foreign or fails its checksum."""
    plain, body = _parts(line)
    (row,) = zip(*columns.taken({name: (value,) for name, value in plain.items()}, (body,)), strict=True)
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
