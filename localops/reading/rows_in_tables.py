"""Rows of a journal in a table of an exported SQLite file, so that `localops open` shows runs as they were recorded.

Long values are already in other tables of the file, and are not stored twice: `record` leaves them out, `restored` puts
them back.
"""

from __future__ import annotations

import uuid

from localops.encoding import encode
from localops.journal import rows, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localops.journal.rows import Row
    from localops.journal.stored import Stored

COLUMNS: dict[str, tuple[type, str]] = {
    "session_id": (str, "the session"),
    "event_id": (str, "the event; null for a row of bookkeeping, such as the start of a session"),
    "row": (str, "the row of the journal as JSON; its body has null for values that the tables of events have"),
}
_IDS = ("id", "session", "parent", "agent")
_HEADS = rows.COLUMNS[: rows.COLUMNS.index("sum")]
# The values that other tables have as text, by the kind of event.
_OF_ALL = ("params", "returns")
_ELSEWHERE = {"llm": (*_OF_ALL, "prompt", "completion"), "error": (*_OF_ALL, "details", "logs")}
VALUES = tuple(dict.fromkeys(name for names in _ELSEWHERE.values() for name in names))


def record(row: Stored) -> dict[str, Any]:
    """Return a row as a record of the table."""
    is_event = row.kind not in rows.BOOKS
    head = {name: value for name in _HEADS if (value := getattr(row, name)) is not None}
    head |= {name: head[name].hex() for name in _IDS if name in head}
    body = None if row.body is None else encode.loads(row.body)
    if is_event and isinstance(body, dict):
        left_out = {
            name: "text" if isinstance(body[name], str) else "json"
            for name in _ELSEWHERE.get(row.kind, _OF_ALL)
            if body.get(name) is not None
        }
        body |= dict.fromkeys(left_out)
        if left_out:
            head["left_out"] = left_out
    return {
        "session_id": str(uuid.UUID(bytes=row.session)),
        "event_id": str(uuid.UUID(bytes=row.id)) if is_event else None,
        "row": encode.dumps({**head, "body": body}).decode(),
    }


def restored(text: str, values: Mapping[str, str | None]) -> Row:
    """Return the row of a record, given the values that were left out; raise ValueError if it is invalid."""
    head = encode.loads(text)
    if not isinstance(head, dict):
        raise ValueError("invalid row: expected a JSON object")
    body: Any = head.get("body")
    left_out = head.get("left_out", {})
    for name, form in left_out.items():
        value = values[name]
        body[name] = encode.loads(value) if form == "json" and value is not None else value
    ids = {name: bytes.fromhex(head[name]) for name in _IDS if name in head}
    columns = tuple(ids.get(name, head.get(name)) for name in _HEADS)
    row = rows.seal(columns, None if body is None else encode.dumps(body).decode())
    return wire.to_row(wire.from_row(row))  # which checks the type of each column
