"""Every format that sessions are exported in: its name, the endings of its files, and what writes it.

Those of other people are in this folder, a module each; ours are in `reading/export.py` and `reading/report.py`.  A
writer takes sessions one after another and holds none as a whole, and what it writes depends on their rows alone.
"""

from __future__ import annotations

import os
import re
import unicodedata
import uuid
from collections import namedtuple
from importlib import import_module

from localops import host
from localops.recording.events import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO, NamedTuple

    from localops.reading.export import Run

    class Format(NamedTuple):
        """A format of exports."""

        about: str
        endings: tuple[str, ...]  # of its files; one that several formats have means the first of them
        media_type: str
        writer: str  # module and function, which are imported when they are needed
else:
    Format = namedtuple("Format", "about endings media_type writer")

_OURS = "localops.reading.export"
_HERE = "localops.dialects"
# The name of a file of several sessions, without an ending, and characters of a session's name in that of its file.
SEVERAL, _LONGEST = "localops-sessions", 60
# Formats with a table of sessions, too, or one of events.
TABULAR = ("csv", "parquet")
# What a report can open on.
VIEWS = ("timeline", "tree", "events", "chat", "figures")
FORMATS = {
    "json": Format("the keys of AgentOps' export, and more", (".json",), "application/json", f"{_OURS}:write_json"),
    "jsonl": Format(
        "every row as stored, one JSON object a line; `localops import` reads it",
        (".jsonl", ".ndjson"),
        "application/x-ndjson",
        f"{_OURS}:write_jsonl",
    ),
    "csv": Format("one line an event, or a session", (".csv",), "text/csv; charset=utf-8", f"{_HERE}.sheets:write"),
    "sqlite": Format(
        "a file for Datasette, sqlite-utils or sqlite3", (".db", ".sqlite", ".sqlite3"), "application/vnd.sqlite3", ""
    ),
    "html": Format(
        "a report: one page that needs no network",
        (".html", ".htm"),
        "text/html; charset=utf-8",
        "localops.reading.report:write",
    ),
    "md": Format(
        "a transcript for a ticket or a model",
        (".md", ".markdown"),
        "text/markdown; charset=utf-8",
        f"{_HERE}.transcript:write",
    ),
    "atif": Format(
        "trajectories of the Agent Trajectory Interchange Format 1.8, one a line",
        (".json", ".jsonl", ".atif"),
        "application/x-ndjson",
        f"{_HERE}.atif:write",
    ),
    "sft": Format(
        "conversations with their tools as OpenAI's training data, one a line",
        (".jsonl", ".sft"),
        "application/x-ndjson",
        f"{_HERE}.conversations:write",
    ),
    "otlp": Format(
        "OpenTelemetry's spans as JSON, one request a line; `localops import --otlp` takes them back",
        (".jsonl", ".json", ".otlp"),
        "application/x-ndjson",
        f"{_HERE}.spans:write",
    ),
    "perfetto": Format(
        "a trace for ui.perfetto.dev or chrome://tracing",
        (".json", ".trace", ".perfetto"),
        "application/json",
        f"{_HERE}.trace_events:write",
    ),
    "parquet": Format(
        "the events as a table with typed columns; the extra [parquet]",
        (".parquet",),
        "application/vnd.apache.parquet",
        f"{_HERE}.tables:write",
    ),
    "openmetrics": Format(
        "the figures by project and model, for Prometheus",
        (".prom", ".txt"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        f"{_HERE}.figures:write",
    ),
}


def write(name: str, runs: Iterable[Run], file: BinaryIO, **options: str | None) -> None:
    """Write sessions in a format to an open file. SQLite needs a path: `write_sqlite`.

    Options are `table` of a format with tables, and `view` of a report, on which it opens.
    """
    module, _, function = FORMATS[name].writer.partition(":")
    getattr(import_module(module), function)(
        runs, file, **{key: value for key, value in options.items() if value is not None}
    )


def write_file(name: str, runs: Iterable[Run], path: str, **options: str | None) -> None:
    """Write sessions in a format to a file, which replaces an older one when it is complete.

    It is written beside its place and renamed, so that a reader never sees half a file; only its owner can read it, as
    the journal that it comes from.
    """
    with host.Replaced(path) as unfinished:
        if name == "sqlite":
            from localops.reading import export

            export.write_sqlite(runs, unfinished)
            return
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with open(os.open(unfinished, flags, 0o600), "wb") as file:
            write(name, runs, file, **options)
            file.flush()
            os.fsync(file.fileno())


def stem_of(run: Run) -> str:
    """Return the name of the file of a session, without an ending: its name and date, or its id if it has no name."""
    plain = unicodedata.normalize("NFKD", run.story.name or "").encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall(r"[a-z0-9]+", plain))[:_LONGEST].strip("-")
    return f"{words}-{iso(run.totals.first_ns)[:10]}" if words else f"localops-{uuid.UUID(bytes=run.id)}"


def file_name(stem: str, name: str) -> str:
    """Return the name of a file in a format; where its ending does not say which, the name of the format does."""
    ending = FORMATS[name].endings[0]
    return stem + ("" if named_by(ending) == name else f".{name}") + ending


def named_by(ending: str) -> str | None:
    """Return the format that the ending of a file means: the first one that has it."""
    return next((name for name, one in FORMATS.items() if ending in one.endings), None)
