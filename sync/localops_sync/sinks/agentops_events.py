"""Rows as events of AgentOps' REST interface: the table of each, and the values of its columns.

Almost every column there is text, and one value of another type makes the service fail on a whole request.  So every
value is converted to its column's type.  `agentops.py` sends the events.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass

from localops.encoding import encode
from localops.journal import rows
from localops.reading import analytics
from localops.recording.events import iso, to_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    from localops.journal.stored import Stored

# Actions last: the service is known to have failed on every request that held one.
TABLES = ("llms", "tools", "errors", "actions")
_TABLE_OF = {"llm": "llms", "tool": "tools", "error": "errors"}


@dataclass(frozen=True)
class Outgoing:
    """An event to be sent."""

    seq: int
    id: bytes
    table: str
    body: bytes
    signature: Hashable  # of an error, which has no id of ours there: what it is recognised by


def is_event(row: Stored) -> bool:
    """Return whether a row becomes an event there: work that has ended, but not the announcement of an agent."""
    return row.phase == rows.DONE and row.kind not in rows.BOOKS and (row.kind != "agent" or row.start_ns is not None)


def outgoing(row: Stored, opened: Stored | None) -> Outgoing:
    """Return the event that a row becomes; `opened` is the row its operation began with, which holds the input."""
    event = analytics.plain(row, opened)
    table = _table(event["kind"])
    fields = storable(_SHAPES[table](event))
    signature = error_signature(fields) if table == "errors" else None
    return Outgoing(row.seq, row.id, table, encode.dumps(fields), signature)


def error_signature(error: dict[str, Any]) -> Hashable:
    """Return the fields by which an error is recognised, sent or read back: the service gives it an id of its own."""
    at_ns = to_ns(error.get("timestamp") or "")
    trigger = error.get("trigger_event_id")
    return (
        None if at_ns is None else at_ns // 1000,
        error.get("error_type"),
        error.get("details"),
        str(trigger).lower() if trigger else None,
    )


def dashed(id: bytes | str | None) -> str | None:
    """Return an id as the service writes it."""
    if not id:
        return None
    return str(uuid.UUID(bytes=id) if isinstance(id, bytes) else uuid.UUID(id))


def storable(value: Any) -> Any:
    """Return the value without NUL, which text in PostgreSQL cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list) else value


def _table(kind: str) -> str:
    return _TABLE_OF.get(kind, "actions")


def _common(event: dict[str, Any], table: str) -> dict[str, Any]:
    return {
        "id": dashed(event["id"]),
        "event_type": table,
        "session_id": dashed(event["session"]),
        "agent_id": dashed(event["agent"]),
        "init_timestamp": iso(event["start_ns"]),
        "end_timestamp": iso(event["end_ns"]),
        "params": _text(event.get("params")),
        "returns": _text(event.get("returns")),
    }


def _action(event: dict[str, Any]) -> dict[str, Any]:
    return {
        **_common(event, "actions"),
        "action_type": _action_type(event),
        "logs": _text(event.get("logs")),
        "screenshot": _picture(event.get("screenshot")),
    }


def _action_type(event: dict[str, Any]) -> str:
    """Return the name of an action; `name.kind`, as in the service's later spans, for kinds without a table there."""
    kind, name = event["kind"], event["name"]
    if kind == "action":
        return _text(event.get("action_type")) or name or "action"
    return f"{name}.{kind}" if name else kind


def _llm(event: dict[str, Any]) -> dict[str, Any]:
    return {
        **_common(event, "llms"),
        "thread_id": None,
        "model": event["model"],
        "prompt": _messages(event.get("prompt")),
        "prompt_tokens": event["tokens_in"],
        "completion": _messages(event.get("completion")),
        "completion_tokens": event["tokens_out"],
        "cost": None if event["cost"] is None else event["cost"] / 1e9,
    }


def _tool(event: dict[str, Any]) -> dict[str, Any]:
    return {**_common(event, "tools"), "name": event["name"] or "tool", "logs": _text(event.get("logs"))}


def _error(event: dict[str, Any]) -> dict[str, Any]:
    trigger: dict[str, Any] = event.get("trigger") or {}
    kind = trigger.get("kind")
    return {
        **_common(event, "errors"),
        "timestamp": iso(event["start_ns"]),
        "trigger_event_id": dashed(trigger.get("id")),
        "trigger_event_type": _table(kind) if kind and kind != "error" else None,
        "error_type": event["name"],
        "code": _text(event.get("code")),
        "details": _text(event.get("details")),
        "logs": _text(event.get("logs")),
    }


_SHAPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "actions": _action,
    "llms": _llm,
    "tools": _tool,
    "errors": _error,
}


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else encode.dumps(value).decode()


def _messages(value: object) -> object:
    """Return messages of a chat as they are, and everything else as text."""
    if isinstance(value, dict) and "role" in value:
        return _message(value)
    if isinstance(value, list) and value and all(isinstance(each, dict) and "role" in each for each in value):
        return [_message(each) for each in value]
    return _text(value)


def _message(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "role": _text(value["role"]) or "", "content": _text(value.get("content")) or ""}


def _picture(value: object) -> str | None:
    """Return an address or base64, which the service takes; None for a file beside the journal, which is not sent."""
    if not isinstance(value, str) or value.startswith(("http://", "https://")):
        return value if isinstance(value, str) else None
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value
