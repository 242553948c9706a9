"""Read a SQLite file that `localops export` wrote as rows again.

Its table `rows` has them as they were recorded.  In a file without it, as earlier releases wrote, they are made from
the tables of sessions and events: less than a journal (the end as the only bookkeeping, times in microseconds).
"""

from __future__ import annotations

import datetime
import uuid

from localops.encoding import encode
from localops.journal import rows
from localops.journal.stored import Stored
from localops.reading import rows_in_tables
from localops.recording import scores
from localops.transfer import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.journal.rows import Row

    Record = dict[str, Any]

_TABLES = frozenset(("sessions", "events", "llm_calls", "tool_calls", "errors", "tags"))
_EVENTS = """
select e.*, l.model, {tokens}, coalesce(l.cost_usd, t.cost_usd) as cost_usd, l.prompt, l.completion, x.details,
  x.logs, x.error_type, x.trigger_event_id, g.kind as trigger_kind, g.name as trigger_name
from events e
left join llm_calls l on l.event_id = e.id
left join tool_calls t on t.event_id = e.id
left join errors x on x.event_id = e.id
left join events g on g.id = x.trigger_event_id
where e.session_id = ?
order by e.rowid
"""
_ROWS = f"""
select r.rowid, r.row, {", ".join(rows_in_tables.VALUES)}
from rows r
left join events e on e.id = r.event_id
left join llm_calls l on l.event_id = r.event_id
left join errors x on x.event_id = r.event_id
where r.session_id = ?
order by r.rowid
"""  # noqa: S608
_AT_ONCE = 500
_SCORES = "select * from scores where session_id = ? order by rowid"
_TAGS = "select tag from tags where session_id = ? order by rowid"
_AT = rows.COLUMNS.index("at_ns")
_ENDED = ("Success", "Failure", "Indeterminate")


def is_one(path: str) -> bool:
    """Return whether a SQLite file has the tables of an export."""
    database = _open_database(path)
    try:
        return set(database.table_names()) >= _TABLES
    except _errors():
        return False
    finally:
        database.close()


def projects_and_rows(path: str, problems: list[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each session with its project, in several parts for a long session.

    Rows that cannot be read are left out, and added to `problems`.
    """
    database = _open_database(path)
    try:
        made = _recorded if database["rows"].exists() else _made_again
        yield from made(database, problems)
    finally:
        database.close()


def _recorded(database: Any, problems: list[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows as they were recorded."""
    for session in database.query("select id, project from sessions order by began, id"):
        some: list[Row] = []
        for record in database.query(_ROWS, [session["id"]]):
            try:
                row = rows_in_tables.restored(record["row"], record)
                validation.check_rows([Stored(record["rowid"], *row)])
            except (ValueError, TypeError) as error:
                problems.append(f"row {record['rowid']} of the table rows: {error}")
                continue
            some.append(row)
            if len(some) >= _AT_ONCE:
                yield session["project"], some
                some = []
        yield session["project"], some


def _made_again(database: Any, _: list[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield rows that are made from the tables of sessions and events, for files without the table `rows`."""
    has_scores = database["scores"].exists()  # earlier exports lack them
    known = {column.name for column in database["llm_calls"].columns}
    tokens = ", ".join(f"l.{name}" if name in known else f"null as {name}" for name in rows.TOKENS)
    events = _EVENTS.format(tokens=tokens)
    for session in database.query("select * from sessions order by began, id"):
        id = uuid.UUID(session["id"]).bytes
        tags = [each["tag"] for each in database.query(_TAGS, [session["id"]])]
        began = _ns(session["began"])
        body = encode.dumps({"imported": 1}).decode()
        start = {"name": session["name"], "tags": encode.dumps(tags).decode() if tags else None, "body": body}
        some = [rows.make("session", id, id=id, at_ns=began, **start)]
        for event in database.query(events, [session["id"]]):
            some.append(_row(id, event))
            if len(some) >= _AT_ONCE:
                yield session["project"], some
                some = []
        some.append(_end(id, session, began))
        if has_scores:
            some += [_score(id, each, some[-1]) for each in database.query(_SCORES, [session["id"]])]
        yield session["project"], some


def _open_database(path: str) -> Any:
    import sqlite_utils

    # Open it read-only, so that neither the file nor its folder is changed.
    utils: Any = sqlite_utils.utils
    connection = utils.sqlite3.connect(f"{_uri(path)}?mode=ro&immutable=1", uri=True)
    return sqlite_utils.Database(connection)


def _errors() -> tuple[type[Exception], ...]:
    import sqlite_utils

    utils: Any = sqlite_utils.utils
    return (utils.sqlite3.DatabaseError,)


def _uri(path: str) -> str:
    from pathlib import Path

    return Path(path).resolve().as_uri()


def _row(session: bytes, event: Record) -> Row:
    began = _ns(event["began"])
    ended = None if event["seconds"] is None else began + round(event["seconds"] * 1e9)
    body: Record = {}
    for name in ("params", "returns", "prompt", "completion", "details", "logs"):
        if event[name] is not None:
            body[name] = _value(event[name])
    body |= {key: event[name] for name, key in rows.COUNTS_IN_BODY.items() if event[name]}
    if event["trigger_event_id"] is not None and event["trigger_kind"] is not None:
        name = event["trigger_name"] or ""
        body["trigger"] = {"id": event["trigger_event_id"], "kind": event["trigger_kind"], "name": name}
    finished = bool(event["finished"])
    return rows.make(
        event["kind"],
        session,
        id=uuid.UUID(event["id"]).bytes,
        phase=rows.DONE if finished else rows.OPEN,
        at_ns=began if ended is None else ended,
        name=event["error_type"] if event["kind"] == "error" else event["name"],
        parent=_id(event["parent_id"]),
        agent=_id(event["agent_id"]),
        start_ns=began if ended is not None and ended != began else None,
        model=event["model"],
        tokens=[event[name] for name in rows.SENT_TOKENS],
        cost=None if event["cost_usd"] is None else round(event["cost_usd"] * 1e9),
        failed=1 if event["failed"] and finished else None,
        body=encode.dumps(body).decode() if body else None,
    )


def _end(session: bytes, record: Record, began: int) -> Row:
    state = record["state"] if record["state"] in _ENDED else "Indeterminate"
    reason = record["reason"] if state == record["state"] else "exported before it ended"
    at_ns = began + round((record["seconds"] or 0) * 1e9)
    body = encode.dumps({"reason": reason}).decode()
    id = uuid.uuid5(uuid.UUID(bytes=session), f"end at {at_ns}").bytes
    return rows.make("end", session, id=id, at_ns=at_ns, name=state, body=body)


def _score(session: bytes, record: Record, last: Row) -> Row:
    """Return the row of a score or a note, at a time that does not prolong the session."""
    value = record["label"] if record["type"] == "text" else record["number"]
    if record["type"] == "bool":
        value = bool(value)
    elif record["type"] == "number" and value.is_integer():
        value = int(value)
    body: Record = {"value": value, "by": record["author"]}
    body |= {name: record[name] for name in ("comment", "version") if record[name] is not None}
    return rows.make(
        scores.KIND,
        session,
        id=uuid.UUID(record["id"]).bytes,
        at_ns=last[_AT],
        name=record["name"],
        parent=_id(record["event_id"]),
        end_ns=_ns(record["given"]),
        body=encode.dumps(body).decode(),
    )


def _value(text: str) -> object:
    """Return the value of an exported text: an export has texts unchanged, other values as JSON."""
    if text[:1] not in '{["tfn-0123456789':
        return text
    try:
        return encode.loads(text)
    except ValueError:
        return text


def _id(text: str | None) -> bytes | None:
    return None if text is None else uuid.UUID(text).bytes


def _ns(text: str) -> int:
    """Convert an ISO 8601 time to nanoseconds, without a float's rounding error."""
    moment = datetime.datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1_000
