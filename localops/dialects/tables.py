"""`parquet`: sessions, or their events, as a table with typed columns.

A file has one table.  Only this module imports pyarrow, an extra; it writes a few thousand events at a time.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows
from localops.otel.messages import text
from localops.reading import analytics, facts, given_scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from localops.reading.export import Run

    Record = dict[str, Any]

# Each column with its type; those of content hold text, or JSON for anything else.
_TEXT, _MANY, _FLAG, _TIME, _REAL, _LIST = "text number flag time real texts".split()
_CONTENT = "params returns prompt completion system_instructions details logs".split()
_FIGURES = ("events", "actions", "llms", "tools", "errors", "failed", *rows.TOKENS)
_JUDGEMENTS = ("scores", "notes")
COLUMNS = {
    "events": {
        "session": _TEXT,
        "project": _TEXT,
        "id": _TEXT,
        "parent": _TEXT,
        "agent": _TEXT,
        "kind": _TEXT,
        "name": _TEXT,
        "model": _TEXT,
        "began": _TIME,
        "ended": _TIME,
        "began_ns": _MANY,
        "ended_ns": _MANY,
        "seconds": _REAL,
        "finished": _FLAG,
        "failed": _FLAG,
        **dict.fromkeys(rows.TOKENS, _MANY),
        "cost_nano": _MANY,
        "cost_usd": _REAL,
        "tags": _LIST,
        **dict.fromkeys(_CONTENT, _TEXT),
        "other": _TEXT,  # every other key of the event, as JSON
    },
    "sessions": {
        "session": _TEXT,
        "project": _TEXT,
        "name": _TEXT,
        "state": _TEXT,
        "reason": _TEXT,
        "began": _TIME,
        "last": _TIME,
        "began_ns": _MANY,
        "last_ns": _MANY,
        "seconds": _REAL,
        "at_least": _FLAG,
        **dict.fromkeys(_FIGURES, _MANY),
        "cost_nano": _MANY,
        "cost_usd": _REAL,
        "cost_at_least": _FLAG,
        "unpriced": _MANY,
        "unfinished": _MANY,
        "host": _TEXT,
        "tags": _LIST,
        "metadata": _TEXT,
        **dict.fromkeys(_JUDGEMENTS, _TEXT),  # of the session and its events, as JSON
    },
}
TABLES = tuple(COLUMNS)
_AT_ONCE = 5_000  # rows of a group
_MOST_SIZE = 16 << 20  # characters of their texts


def write(runs: Iterable[Run], file: BinaryIO, *, table: str = "events") -> None:
    """Write a table of sessions, or of their events; raise ConfigError where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(f"missing a package for Parquet: pip install 'localops[parquet]' ({error})") from error
    types = {
        _TEXT: pyarrow.string(),
        _MANY: pyarrow.int64(),
        _FLAG: pyarrow.bool_(),
        _TIME: pyarrow.timestamp("us", tz="UTC"),
        _REAL: pyarrow.float64(),
        _LIST: pyarrow.list_(pyarrow.string()),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS[table].items()])
    records = map(session, runs) if table == "sessions" else (one for run in runs for one in _events(run))
    with pyarrow.parquet.ParquetWriter(_Sink(file), schema, compression="zstd") as writer:
        for group in _groups(records):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


class _Sink:
    """A file for pyarrow, which asks where it is; a pipe cannot say, and stays open afterwards."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._written = file, 0

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        self._file.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def flush(self) -> None:
        """Leave it to the program that opened the file."""

    def close(self) -> None:
        """Leave it to the program that opened the file."""


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        group.append(record)
        size += sum(len(value) for value in record.values() if isinstance(value, str))
        if len(group) >= _AT_ONCE or size >= _MOST_SIZE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _events(run: Run) -> Iterator[Record]:
    for event in analytics.events(run.reader, run.id):
        start, end = event.pop("start_ns"), event.pop("end_ns")
        cost = event.pop("cost")
        event.pop("seq")
        known = {name: event.pop(name) for name in COLUMNS["events"] if name in event}
        known |= {name: _written(known.get(name)) for name in _CONTENT}
        yield {
            **known,
            "tags": list(map(text, known["tags"])),
            "project": run.project,
            "began": start // 1_000,
            "ended": None if end is None else end // 1_000,
            "began_ns": start,
            "ended_ns": end,
            "seconds": None if end is None else max(0, end - start) / 1e9,
            "cost_nano": cost,
            "cost_usd": facts.dollars(cost),
            "other": encode.dumps(event).decode() if event else None,
        }


def _written(value: object) -> str | None:
    return None if value is None else text(value)


def session(run: Run) -> Record:
    """Return a session as a record of its table."""
    figures, story = run.totals, run.story
    given = given_scores.together(run.scores)
    return {
        "session": facts.full_id(run.id),
        "project": run.project,
        "name": story.name,
        "state": run.standing.state,
        "reason": run.standing.reason,
        "began": figures.first_ns // 1_000,
        "last": figures.last_ns // 1_000,
        "began_ns": figures.first_ns,
        "last_ns": figures.last_ns,
        "seconds": (figures.last_ns - figures.first_ns) / 1e9,
        "at_least": run.is_cut_off,
        **{name: getattr(figures, name) for name in _FIGURES},
        "cost_nano": figures.cost,
        "cost_usd": facts.dollars(figures.cost),
        "cost_at_least": run.cost_at_least,
        "unpriced": figures.unpriced,
        "unfinished": len(run.unfinished),
        "host": story.host,
        "tags": story.tags,
        "metadata": encode.dumps(story.metadata).decode() if story.metadata else None,
        **{name: encode.dumps(given[name]).decode() if given[name] else None for name in _JUDGEMENTS},
    }
