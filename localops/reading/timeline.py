"""A session's events in columns, compact enough to send and draw a hundred thousand events.

An event is identified by the seq of its first row, which never changes and is smaller than that of each event inside.
Pages follow the order of rows; if an operation ends on a later page, that page has it again, with the same seq.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.sql import statements
from localops.reading import analytics, event_processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot

    Row = tuple[Any, ...]

# Kinds of rows that a timeline does not show.
_HIDDEN = frozenset((*rows.BOOKS, "agent"))
_COLUMNS = "seq id phase kind name parent agent at start end model given made cost failed other unbilled".split()
_SEQ, _ID, _PHASE, _KIND, _NAME, _PARENT, _AGENT, _COST, _FAILED, _OTHER, _UNBILLED = map(
    _COLUMNS.index, "seq id phase kind name parent agent cost failed other unbilled".split()
)


def page(reader: Reader, session: Snapshot, *, after: int, limit: int) -> Facts:
    """Return the events of rows after a seq, and the seq to continue after.

    `later` has the amounts that later prices add to calls, `later_failed` the events that failed after they were
    recorded, `unbilled` the LLM calls that the provider did not bill, `pauses` the times between two runs,
    `process` the places of events' processes among those of the session.
    """
    page_rows = ask(reader, "timeline", session=session.id, after=after, many=limit)
    fresh = _Fresh(reader, session.id)
    events = _events(reader, [row for row in page_rows if row[_KIND] not in _HIDDEN], after, fresh)
    events = _with_shown_parents(reader, fresh, events, {row[_ID]: row[_PARENT] for row in page_rows if _is_agent(row)})
    later = [(row[_PARENT], row[_COST]) for row in page_rows if row[_KIND] == "price" and row[_PARENT]]
    failed = [row[_PARENT] for row in page_rows if row[_KIND] == "error" and row[_FAILED] and row[_PARENT]]
    unbilled = [
        row[_PARENT] for row in page_rows if row[_KIND] == "price" and row[_NAME] == rows.UNBILLED and row[_PARENT]
    ]
    began = _Beginnings(
        reader, fresh, {row[_PARENT] for _, row in events if row[_PARENT]} | {call for call, _ in later}
    )
    t0 = session.totals.first_ns
    return {
        "t0_ns": t0,
        **_columns(reader, events, began, t0),
        "process": event_processes.places(session, [row[_ID] for _, row in events]),
        "later": [[began.of(call), cost] for call, cost in later if began.of(call)],
        "unbilled": [seq for seq, row in events if row[_UNBILLED]] + [began.of(call) for call in unbilled],
        "later_failed": [began.of(call) for call in failed if began.of(call)],
        "pauses": [[(at_ns - t0) // 1000 for at_ns in pause] for pause in session.pauses],
        "next": page_rows[-1][_SEQ] if len(page_rows) == limit else None,
        "seen": page_rows[-1][_SEQ] if page_rows else after,
    }


def _events(reader: Reader, page_rows: list[Row], after: int, fresh: _Fresh) -> list[tuple[int, Row]]:
    """Return each event once, with its first seq, and its last row, which has most facts."""
    by_seq = {row[_SEQ]: row for row in page_rows}
    others = [row[_OTHER] or fresh.seq(row[_ID], 1 - row[_PHASE]) for row in page_rows] if fresh else None
    pairs = list(zip(page_rows, others or [row[_OTHER] for row in page_rows], strict=True))
    missing = [other for row, other in pairs if other and row[_PHASE] == rows.OPEN and other not in by_seq]
    if missing:
        by_seq.update((row[_SEQ], row) for row in ask(reader, "ends_of", seqs=encode.dumps(missing).decode()))
    events = []
    for row, other in pairs:
        # An import or the spill file may store the closing row first.
        first = min(row[_SEQ], other or row[_SEQ])
        # If the other row is on this page, too, it is already in the list, at its first row.
        if after < first < row[_SEQ]:
            continue
        is_open = row[_PHASE] == rows.OPEN and other
        events.append((first, by_seq.get(other, row) if is_open else row))
    return events


def _is_agent(row: Row) -> bool:
    return bool(row[_KIND] == "agent")


def _with_shown_parents(
    reader: Reader, fresh: _Fresh, events: list[tuple[int, Row]], above: dict[bytes, bytes | None]
) -> list[tuple[int, Row]]:
    """Replace agents as parents by the nearest event with a line; `above` has the parents of agents on this page."""
    wanted = {row[_PARENT] for _, row in events if row[_PARENT] and row[_PARENT] == row[_AGENT]} - above.keys()
    while wanted:  # agents that began on an earlier page
        began = _Beginnings(reader, fresh, wanted)
        beginnings = [row_at(reader, began.of(id)) for id in wanted]
        agents = [agent for agent in beginnings if agent is not None and agent.kind == "agent"]
        above.update((agent.id, agent.parent) for agent in agents)
        wanted = {agent.parent for agent in agents if agent.parent and agent.parent == agent.agent} - above.keys()
    if not above:
        return events
    moved = []
    for seq, row in events:
        parent, steps = row[_PARENT], 0
        while parent in above and steps <= len(above):  # imported rows may be their own ancestors
            parent, steps = above[parent], steps + 1
        moved.append((seq, (*row[:_PARENT], parent, *row[_PARENT + 1 :])))
    return moved


def _columns(reader: Reader, events: list[tuple[int, Row]], began: _Beginnings, t0: int) -> Facts:
    """Return the columns of events; names are listed once and referred to by index."""
    firsts = [seq for seq, _ in events]
    by_column: Any = list(zip(*(row for _, row in events), strict=True)) or [()] * len(_COLUMNS)
    column_of = dict(zip(_COLUMNS, by_column, strict=True))
    at, agent = column_of["at"], column_of["agent"]
    starts = [at_ns if start_ns is None else start_ns for at_ns, start_ns in zip(at, column_of["start"], strict=True)]
    ends = [at_ns if end_ns is None else end_ns for at_ns, end_ns in zip(at, column_of["end"], strict=True)]
    agents = analytics.agent_names(reader, [id.hex() for id in set(agent) if id])
    columns: dict[str, list[int]] = {
        "seq": firsts,
        "start_us": [(start_ns - t0) // 1000 for start_ns in starts],
        "dur_us": [
            -1 if opened else max(0, end_ns - start_ns) // 1000
            for opened, start_ns, end_ns in zip(column_of["phase"], starts, ends, strict=True)
        ],
        "parent": began.of_all(column_of["parent"]),
        "failed": [
            1 if failed and kind != "error" else 0
            for failed, kind in zip(column_of["failed"], column_of["kind"], strict=True)
        ],
        "tokens": [(one or 0) + (other or 0) for one, other in zip(column_of["given"], column_of["made"], strict=True)],
        "cost": list(column_of["cost"]),
    }
    named: Facts = {}
    for column, plural, values in (
        ("kind", "kinds", column_of["kind"]),
        ("name", "names", column_of["name"]),
        ("agent", "agents", [id and agents[id.hex()] for id in agent]),
        ("model", "models", column_of["model"]),
    ):
        named[plural], columns[column] = _indexed(values)
    return {**named, **columns}


def _indexed(values: Sequence[str | None]) -> tuple[list[str], list[int]]:
    """Return the distinct names, and the index of each value's name; -1 for None."""
    names = [name for name in dict.fromkeys(values) if name is not None]
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    numbers[None] = -1
    return names, [numbers[value] for value in values]


class _Fresh:
    """The rows of a session that the derived tables do not have yet."""

    def __init__(self, reader: Reader, session: bytes) -> None:
        self._seqs = {(id, phase): seq for id, phase, seq in ask(reader, "fresh_rows", session=session)}

    def __bool__(self) -> bool:
        return bool(self._seqs)

    def seq(self, id: bytes, phase: int) -> int | None:
        """Return the seq of a row, or None."""
        return self._seqs.get((id, phase))


class _Beginnings:
    """The first seqs of events, by id."""

    def __init__(self, reader: Reader, fresh: _Fresh, ids: set[bytes]) -> None:
        as_json = encode.dumps([id.hex() for id in ids]).decode()
        self._seqs: dict[bytes | None, int] = dict(ask(reader, "first_seqs", ids=as_json)) if ids else {}
        for id in ids - self._seqs.keys():
            seqs = [seq for phase in (rows.OPEN, rows.DONE) if (seq := fresh.seq(id, phase))]
            if seqs:
                self._seqs[id] = min(seqs)

        self._seqs[None] = 0

    def of(self, id: bytes) -> int:
        """Return the first seq of an event; 0 if it is unknown."""
        return self._seqs.get(id, 0)

    def of_all(self, ids: Iterable[bytes | None]) -> list[int]:
        """Return the first seqs of events; 0 for unknown ones and None."""
        get = self._seqs.get
        return [get(id, 0) for id in ids]


def row_at(reader: Reader, seq: int) -> Stored | None:
    """Return the row at a seq; None without one."""
    page = stored.named(ask(reader, "row_at", seq=seq))
    return page[0] if page else None


def ask(reader: Reader, name: str, **values: object) -> list[Row]:
    """Run a statement in pages.sql; return its rows."""
    return reader.ask(statements("pages.sql")[name], values)
