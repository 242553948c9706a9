"""Export sessions: as AgentOps' JSON, as rows, as a spreadsheet, as an SQLite file for Datasette.

Only this module imports sqlite-utils, and only for the file that it writes; journals are read by their reader.  The
caller chooses the sessions and the files.
"""

from __future__ import annotations

import errno
import os
import uuid

from localops import config, output
from localops.clock import iso
from localops.encoding import encode
from localops.journal import rows, stored, wire
from localops.journal.reader import Reader
from localops.reading import analytics, given_scores, made_tables, rows_in_tables
from localops.reading.facts import dollars
from localops.reading.snapshot import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, BinaryIO

    from localops.reading.analytics import Totals
    from localops.reading.given_scores import Given

_ACTIONS = ("action", "operation", "task", "workflow")
_GROUPS = {
    **dict.fromkeys(_ACTIONS, "actions"),
    "llm": "llms",
    "tool": "tools",
    "error": "errors",
    "agent": "agents",
}


class Run(Snapshot):
    """A session to export, and the name of its project."""

    def __init__(self, project: str, folder: str, reader: Reader, id: bytes, *, totals: Totals | None = None) -> None:
        super().__init__(reader, folder, id, totals=totals)
        self.project, self.reader = project, reader


# One session as AgentOps exports it


def document(run: Run) -> dict[str, Any]:
    """Return a session with the keys of AgentOps' export, and those that its documentation promises in addition.

    `session`, `actions`, `llms`, `tools` and `errors` have all of AgentOps' own keys; its export lacks `agents`,
    `stats`, `tags`, `duration` and `end_state`. Events of a program's own kinds are among the `actions`, and once more
    in `events`, under their kind.  AgentOps has no state for a session that runs: there it is Indeterminate.
    """
    standing, figures = run.standing, run.totals
    groups: dict[str, list[dict[str, Any]]] = {name: [] for name in ("actions", "llms", "tools", "errors", "agents")}
    others = []
    for event in analytics.events(run.reader, run.id):
        # AgentOps' server, too, puts unknown kinds among the actions.
        group = _GROUPS.get(event["kind"], "actions")
        groups[group].append(_SHAPES[group](event))
        if event["kind"] not in _GROUPS:
            others.append(_common(event))
    return {
        "session": _session(run),
        **groups,
        "events": others,
        "stats": _stats(run),
        "tags": run.story.tags,
        **given_scores.together(run.scores),
        "duration": (run.until_ns - figures.first_ns) / 1e9,
        "duration_at_least": run.is_cut_off,
        "end_state": standing.state,
    }


def _session(run: Run) -> dict[str, Any]:
    story, standing, figures = run.story, run.standing, run.totals
    ended = standing.state in ("Success", "Failure", "Indeterminate")
    return {
        "id": _dashed(run.id),
        "project_id": run.project,
        "project_id_secondary": None,
        "init_timestamp": iso(figures.first_ns),
        "end_timestamp": iso(figures.last_ns) if ended else None,
        "tags": encode.dumps(story.tags).decode() if story.tags else None,
        "end_state": standing.state if ended else "Indeterminate",
        "end_state_reason": standing.reason,
        "video": story.video,
        "host_env": story.host_env,
        "name": story.name,
        "metadata": story.metadata,
    }


# AgentOps' style of names: `cached_tokens` for `tokens_cached`.
_AGENTOPS_STYLE = {name: f"{name.removeprefix('tokens_')}_tokens" for name in output.PARTS_OF_TOKENS}


def _stats(run: Run) -> dict[str, Any]:
    figures = run.totals
    return {
        **analytics.contract(figures, running=run.is_running, until=run.until_ns),
        "prompt_tokens": figures.tokens_in,
        "completion_tokens": figures.tokens_out,
        **{_AGENTOPS_STYLE[name]: getattr(figures, name) for name in output.PARTS_OF_TOKENS},
        "total_tokens": figures.tokens_in + figures.tokens_out,
        "cost_nano": figures.cost,
        "unpriced": figures.unpriced,
        "cost_at_least": run.cost_at_least,
        "failed": figures.failed,
        "unfinished": len(run.unfinished),
        "events": figures.events,
    }


def _common(event: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that all events have: AgentOps', then ours."""
    return {
        "id": _dashed(event["id"]),
        "session_id": _dashed(event["session"]),
        "agent_id": _dashed(event["agent"]),
        "params": _text(event.get("params")),
        "returns": _text(event.get("returns")),
        "init_timestamp": iso(event["start_ns"]),
        "end_timestamp": iso(event["end_ns"]) if event["finished"] else None,
        "kind": event["kind"],
        "name": event["name"],
        "parent_id": _dashed(event["parent"]),
        "tags": event["tags"],
        "failed": event["failed"],
        "finished": event["finished"],
    }


def _action(event: dict[str, Any]) -> dict[str, Any]:
    own_kind = None if event["kind"] in _ACTIONS else event["kind"]
    return {
        **_common(event),
        "action_type": event.get("action_type", event["name"]) or own_kind,
        "logs": _text(event.get("logs")),
        "screenshot": event.get("screenshot"),
    }


def _llm(event: dict[str, Any]) -> dict[str, Any]:
    return {
        **_common(event),
        "thread_id": event.get("thread_id"),
        "prompt": _prompt(event.get("prompt")),
        "completion": event.get("completion"),
        "model": event["model"],
        "prompt_tokens": event["tokens_in"],
        "completion_tokens": event["tokens_out"],
        "cost": dollars(event["cost"]),
        "promptarmor_flag": None,
        **{_AGENTOPS_STYLE[name]: event[name] for name in output.PARTS_OF_TOKENS},
        "cost_nano": event["cost"],
        "billed": event.get("billed"),
        "provider": event.get("provider"),
    }


def _tool(event: dict[str, Any]) -> dict[str, Any]:
    return {
        **_common(event),
        "logs": _text(event.get("logs")),
        "cost": dollars(event["cost"]),
        "cost_nano": event["cost"],
    }


def _error(event: dict[str, Any]) -> dict[str, Any]:
    trigger: dict[str, Any] = event.get("trigger") or {}
    group = _GROUPS.get(trigger.get("kind", ""))
    return {
        "id": _dashed(event["id"]),
        "session_id": _dashed(event["session"]),
        "trigger_event_id": analytics.trigger_id(event),
        "trigger_event_type": group if group in ("actions", "llms", "tools") else None,
        "error_type": event["name"],
        "code": event.get("code"),
        "details": event.get("details"),
        "logs": _text(event.get("logs")),
        "timestamp": iso(event["start_ns"]),
        "agent_id": _dashed(event["agent"]),
        "parent_id": _dashed(event["parent"]),
    }


def _agent(event: dict[str, Any]) -> dict[str, Any]:
    return {"id": _dashed(event["id"]), "session_id": _dashed(event["session"]), "name": event["name"]}


_SHAPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "actions": _action,
    "llms": _llm,
    "tools": _tool,
    "errors": _error,
    "agents": _agent,
}


def _dashed(id: bytes | str | None) -> str | None:
    if not id:
        return None
    return str(uuid.UUID(bytes=id) if isinstance(id, bytes) else uuid.UUID(id))


def _text(value: object) -> str | None:
    """Return a value for AgentOps' text columns: a text unchanged, anything else as JSON."""
    return value if value is None or isinstance(value, str) else encode.dumps(value).decode()


def _prompt(value: object) -> dict[str, object] | None:
    if value is None:
        return None
    return {"type": "chatml", "messages": value} if isinstance(value, list) else {"type": "string", "string": value}


# Writing


def write_json(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write one session as a document; several as an array of documents, one per line."""
    before = b""
    waiting: bytes | None = None
    for run in runs:
        if waiting is not None:
            file.write((before or b"[\n") + waiting)
            before = b",\n"
        waiting = encode.dumps(document(run))
    if waiting is None:
        waiting = b"[]"
    file.write(before + waiting + (b"\n]\n" if before else b"\n"))


def write_jsonl(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write every row of the sessions as it is stored, one JSON object per line.

    The first line of a session also has the number of its lines and whether another session follows, so that a file
    that was cut between two lines is recognised.
    """
    waiting: Run | None = None
    for run in runs:
        if waiting is not None:
            _write_rows(waiting, file, is_last=False)
        waiting = run
    if waiting is not None:
        _write_rows(waiting, file, is_last=True)


def _write_rows(run: Run, file: BinaryIO, *, is_last: bool) -> None:
    # Counted before the rows are read: in the meantime a running session may get more rows, but never fewer.
    [(many, sums)] = run.reader.all("work_rows", session=run.id, upto=_EVERY_SEQ)
    count = analytics.totals(run.reader, run.id).rows
    more: dict[str, object] | None = {
        wire.SESSION_ROWS: count,
        wire.MORE_SESSIONS: not is_last,
        wire.WORK_ROWS: [many, sums],
    }
    for row in stored.of_session(run.reader, run.id):
        file.write(wire.from_row(row.bare, more))
        more = None


_EVERY_SEQ = (1 << 63) - 1
_SHEET = [
    *"project session id kind name parent agent began milliseconds model".split(),
    *rows.TOKENS,
    *"cost_usd failed finished tags params returns prompt completion details logs".split(),
]


def write_csv(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write every event as a row of a CSV file."""
    lines = ((_line(run, event), event) for run in runs for event in analytics.events(run.reader, run.id))
    write_lines(_SHEET, ([line.get(name, event.get(name)) for name in _SHEET] for line, event in lines), file)


def write_lines(names: Iterable[str], lines: Iterable[Iterable[object]], file: BinaryIO) -> None:
    """Write a CSV file; texts that a spreadsheet would run as formulas are escaped."""
    import csv
    import io

    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    sheet = csv.writer(text)
    sheet.writerow(names)
    for line in lines:
        sheet.writerow(map(_cell, line))
    text.detach()


def _line(run: Run, event: dict[str, Any]) -> dict[str, Any]:
    return {
        "project": run.project,
        **{name: _dashed(event[name]) for name in ("session", "id", "parent", "agent")},
        "began": iso(event["start_ns"]),
        "milliseconds": _seconds(event, 1e6),
        "cost_usd": dollars(event["cost"]),
        "failed": int(event["failed"]),
        "finished": int(event["finished"]),
        "tags": ", ".join(event["tags"]),
    }


def _cell(value: object) -> object:
    return value if value is None or isinstance(value, int | float) else output.csv_cell(_text(value) or "")


def _seconds(event: dict[str, Any], unit: float = 1e9) -> float | None:
    return max(0, event["end_ns"] - event["start_ns"]) / unit if event["finished"] else None


# An SQLite file

# The tables and columns with their descriptions, which the file has in its table `descriptions`.
TABLES: dict[str, dict[str, tuple[type, str]]] = {
    "sessions": {
        "id": (str, "UUID of the session"),
        "project": (str, "the project it was recorded in"),
        "name": (str, "what it is listed as"),
        "state": (str, "Success, Failure, Indeterminate, Running or Unknown"),
        "reason": (str, "why it ended so"),
        "began": (str, "ISO 8601, UTC"),
        "seconds": (float, "from its first row to its last, or to the export while it ran"),
        "llm_calls": (int, "how many LLM calls ended in it"),
        "tool_calls": (int, "how many tool calls ended in it"),
        "actions": (int, "how many actions, operations, tasks and workflows ended in it"),
        "errors": (int, "how many errors were recorded in it"),
        "failed": (int, "how many of its calls and operations failed"),
        "tokens_in": (int, "prompt tokens"),
        "tokens_out": (int, "completion tokens"),
        "cost_usd": (float, "what its LLM and tool calls cost, in US dollars"),
        "unpriced": (int, "LLM calls whose price is not known: they are not in cost_usd"),
        "cost_at_least": (int, "1: it may have cost more: a call has no price or never ended, or rows are missing"),
        "at_least": (int, "1: it took longer than seconds, as a process died in it"),
    },
    "agents": {
        "id": (str, "UUID of the agent"),
        "session_id": (str, "the session it took part in"),
        "name": (str, "its name"),
    },
    "events": {
        "id": (str, "UUID of the event"),
        "session_id": (str, "the session it belongs to"),
        "parent_id": (str, "the operation it happened in"),
        "agent_id": (str, "the agent it belongs to"),
        "kind": (
            str,
            "llm, tool, action, operation, workflow, task, guardrail, agent, error, or another",
        ),
        "name": (str, "of the tool, action, operation or agent; of an error its type"),
        "began": (str, "ISO 8601, UTC"),
        "seconds": (float, "how long it took; null while it is not finished"),
        "failed": (int, "1: it raised, or was recorded with an error"),
        "finished": (int, "0: it began and no end of it was recorded"),
        "params": (str, "what it was given, as JSON"),
        "returns": (str, "what it gave back, as JSON"),
    },
    "llm_calls": {
        "event_id": (str, "the event"),
        "session_id": (str, "the session"),
        "model": (str, "the model asked"),
        **{name: (int, text) for name, (_, text) in output.TOKENS.items()},
        "cost_usd": (float, "in US dollars; null when the price is not known, or the call is not finished"),
        "seconds": (float, "how long it took; null while it is not finished"),
        "failed": (int, "1: it raised, or was recorded with an error"),
        "finished": (int, "0: it began and no end of it was recorded; sessions.llm_calls does not count it"),
        "prompt": (str, "text, or messages as JSON"),
        "completion": (str, "text, or JSON"),
    },
    "tool_calls": {
        "event_id": (str, "the event"),
        "session_id": (str, "the session"),
        "name": (str, "of the tool"),
        "seconds": (float, "how long it took; null while it is not finished"),
        "failed": (int, "1: it raised"),
        "finished": (int, "0: it began and no end of it was recorded; sessions.tool_calls does not count it"),
        "cost_usd": (float, "what it cost, if it was recorded"),
        "params": (str, "what it was given, as JSON"),
        "returns": (str, "what it gave back, as JSON"),
    },
    "errors": {
        "event_id": (str, "the event"),
        "session_id": (str, "the session"),
        "trigger_event_id": (str, "the event it happened in"),
        "error_type": (str, "usually the exception's class"),
        "details": (str, "usually the exception's message"),
        "logs": (str, "usually the traceback"),
    },
    "tags": {
        "session_id": (str, "the session"),
        "tag": (str, "a tag of the session"),
    },
    "scores": {
        "id": (str, "of its row"),
        "session_id": (str, "the session"),
        "event_id": (str, "the event that is judged; null for the session as a whole"),
        "name": (str, "what is judged; null for a note"),
        "number": (float, "the value; of true and false 1 and 0"),
        "label": (str, "a value that is a text"),
        "type": (str, "number, bool or text; null for a note, and where an earlier score is withdrawn"),
        "author": (str, "who judged"),
        "version": (str, "of what judged"),
        "comment": (str, "why; of a note, its text"),
        "given": (str, "when, UTC"),
        "counts": (int, "1: the newest of its author for the same name and event"),
    },
    **made_tables.COLUMNS,
    "rows": rows_in_tables.COLUMNS,
}
_KEYS: dict[str, str | tuple[str, ...]] = {
    "sessions": "id",
    "agents": ("id", "session_id"),
    "events": "id",
    "llm_calls": "event_id",
    "tool_calls": "event_id",
    "errors": "event_id",
    "tags": ("session_id", "tag"),
    "scores": "id",
    "post_mortem": "session_id",
}
_LINKS = {
    "session_id": ("sessions", "id"),
    "event_id": ("events", "id"),
    "parent_id": ("events", "id"),
    "trigger_event_id": ("events", "id"),
}
_INDEXES = {
    "sessions": ["began", "state"],
    "events": ["session_id", "parent_id", "agent_id", "kind"],
    "llm_calls": ["session_id", "model"],
    "tool_calls": ["session_id", "name"],
    "errors": ["session_id", "error_type"],
    "tags": ["tag"],
    "scores": ["session_id", "name"],
    "once_step": ["session_id", "state"],
    "tool_loop": ["session_id", "tools"],
    "tool_failure": ["session_id", "tool"],
    "rows": ["session_id"],
}
_SEARCHED = {
    "events": ["name", "params", "returns"],
    "llm_calls": ["prompt", "completion"],
    "errors": ["details", "logs"],
}
_CHUNK = 500


def write_sqlite(runs: Iterable[Run], path: str) -> None:
    """Write a SQLite file at `path`, which must not exist, with links, indexes, full-text search and descriptions."""
    import sqlite_utils

    utils: Any = sqlite_utils.utils
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    database: Any = sqlite_utils.Database(path)
    try:
        # Not synced: after a crash, the incomplete file is useless anyway.
        database.execute("pragma synchronous = off")
        _make_tables(database)
        waiting: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for run in runs:
            _fill(database, waiting, run)
        _flush(database, waiting)
        for table, columns in _INDEXES.items():
            for column in columns:
                database[table].create_index([column])
        for table, columns in _SEARCHED.items():
            database[table].enable_fts(columns, tokenize="porter")
    except utils.sqlite3.Error as error:
        # Converted, as commands do not know the errors of this SQLite, which is not that of journals.
        code = errno.ENOSPC if "disk is full" in str(error) else errno.EIO
        raise OSError(code, str(error)) from error
    finally:
        database.close()


def _make_tables(database: Any) -> None:
    for table, columns in TABLES.items():
        links = [(column, *_LINKS[column]) for column in columns if column in _LINKS]
        kinds = {column: kind for column, (kind, _) in columns.items()}
        database[table].create(kinds, pk=_KEYS.get(table), foreign_keys=links)
    database["descriptions"].insert_all(
        (
            {"table_name": table, "column_name": column, "description": text}
            for table, columns in TABLES.items()
            for column, (_, text) in columns.items()
        ),
        pk=("table_name", "column_name"),
    )


def _fill(database: Any, waiting: dict[str, list[dict[str, Any]]], run: Run) -> None:
    """Add a session's rows to the waiting ones; write these when there are a few hundred."""
    waiting["sessions"].append(_session_row(run))
    waiting["tags"] += [{"session_id": _dashed(run.id), "tag": tag} for tag in run.story.tags]
    waiting["scores"] += [_score_row(run.id, one) for one in run.scores]
    polling = config.polling(os.path.dirname(run.folder))
    for table in made_tables.COLUMNS:
        waiting[table] += made_tables.records(table, run.project, run, run.reader, polling)
    for event in analytics.events(run.reader, run.id):
        for table, event_row in _table_rows(event):
            waiting[table].append(event_row)
        if len(waiting["events"]) >= _CHUNK:
            _flush(database, waiting)
    for row in stored.of_session(run.reader, run.id):
        waiting["rows"].append(rows_in_tables.record(row))
        if len(waiting["rows"]) >= _CHUNK:
            _flush(database, waiting)


def _score_row(session: bytes, one: Given) -> dict[str, Any]:
    return {
        "id": _dashed(one.id),
        "session_id": _dashed(session),
        "event_id": _dashed(one.target) if one.target else None,
        "name": one.name or None,
        "number": one.number,
        "label": one.label,
        "type": one.type,
        "author": one.author,
        "version": one.version,
        "comment": _text(one.body.get("comment")),
        "given": iso(one.given_ns),
        "counts": int(one.counts),
    }


def _flush(database: Any, waiting: dict[str, list[dict[str, Any]]]) -> None:
    for table, records in waiting.items():
        # Two events have the same id only if the program gave it twice: keep the first one.
        database[table].insert_all(records, pk=_KEYS.get(table), ignore=True)
        records.clear()


def _session_row(run: Run) -> dict[str, Any]:
    standing, figures = run.standing, run.totals
    return {
        "id": _dashed(run.id),
        "project": run.project,
        "name": run.story.name,
        "state": standing.state,
        "reason": standing.reason,
        "began": iso(figures.first_ns),
        "seconds": (run.until_ns - figures.first_ns) / 1e9,
        "llm_calls": figures.llms,
        "tool_calls": figures.tools,
        "actions": figures.actions,
        "errors": figures.errors,
        "failed": figures.failed,
        "tokens_in": figures.tokens_in,
        "tokens_out": figures.tokens_out,
        "cost_usd": dollars(figures.cost),
        "unpriced": figures.unpriced,
        "cost_at_least": int(run.cost_at_least),
        "at_least": int(run.is_cut_off),
    }


def _table_rows(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each table that an event belongs to, and its row in it."""
    facts = {
        **_common(event),
        "event_id": _dashed(event["id"]),
        "began": iso(event["start_ns"]),
        "seconds": _seconds(event),
        "cost_usd": dollars(event["cost"]),
        "failed": int(event["failed"]),
        "finished": int(event["finished"]),
        **{name: event[name] for name in ("model", *rows.TOKENS)},
        **{name: _text(event.get(name)) for name in ("prompt", "completion", "details", "logs")},
        "error_type": event["name"],
        "trigger_event_id": analytics.trigger_id(event),
    }
    own = {"llm": "llm_calls", "tool": "tool_calls", "error": "errors", "agent": "agents"}.get(event["kind"])
    for table in ("events", own):
        if table is not None:
            yield table, {column: facts[column] for column in TABLES[table]}
