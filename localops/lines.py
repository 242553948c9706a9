"""A row as one line of JSON: the form it has in a spill file, a bundle, and an export of a session."""

from __future__ import annotations

from localops import encode, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.rows import Row

_BINARY = {rows.COLUMNS.index(name) for name in ("id", "session", "parent", "agent")}
_BODY = rows.COLUMNS.index("body")


def from_row(row: Row) -> bytes:
    """One row as one line of JSON; the body is spliced in as it is stored."""
    plain = {}
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
    plain = encode.loads(line)
    if not isinstance(plain, dict):
        raise ValueError("a row's line is a JSON object")
    values: list[object] = [plain.get(name) for name in rows.COLUMNS]
    for index in _BINARY:
        value = values[index]
        values[index] = bytes.fromhex(value) if isinstance(value, str) else value
    if values[_BODY] is not None:
        values[_BODY] = _stored_body(line)
    row = tuple(values)
    if not rows.intact(row):
        raise ValueError("the line fails its checksum")
    return row


def _stored_body(line: bytes) -> str:
    """The body's text as it was spliced in: it is the last key, and the checksum covers its very bytes."""
    start = line.index(b'"body":') + len(b'"body":')
    return line[start:].rstrip(b"\r\n")[:-1].decode()
