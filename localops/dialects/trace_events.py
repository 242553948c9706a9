"""`perfetto`: sessions in the Trace Event Format, which Perfetto and chrome://tracing open.

A session is a process, and each of its agents has lanes, which are threads.  In a lane an event lies inside of the one
it happened in, or beside others: what ran at the same time has a lane of its own, and an arrow leads to it.  Times are
microseconds since the first session began.
"""

from __future__ import annotations

import heapq
from array import array
from collections import namedtuple
from itertools import count, islice

from localops.clock import iso
from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.sql import statements
from localops.otel.messages import text
from localops.reading import analytics, facts, pauses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO, NamedTuple

    from localops.journal.stored import Stored
    from localops.reading.export import Run

    Fields = dict[str, Any]

    class _Open(NamedTuple):
        """An event that is under way in a lane."""

        id: str
        end_ns: int

    class _Place(NamedTuple):
        """The lane of an event, and when it ends."""

        tid: int
        end_ns: int
else:
    _Open = namedtuple("_Open", "id end_ns")
    _Place = namedtuple("_Place", "tid end_ns")

_AT_ONCE = 500  # rows that are read together
_SORTED = 50_000  # rows that are sorted together
_MOST_TEXT = 2_000  # characters of a value: viewers hold all of them in memory
_CONTENT = "params prompt completion returns details logs".split()
_FIGURES = ("model", *rows.TOKENS)
_END_OF_TIME = (1 << 63) - 1


def write(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write the events of sessions as one trace."""
    origin_ns: int | None = None
    file.write(b'{"displayTimeUnit":"ms","traceEvents":[')
    before = b"\n"
    for pid, run in enumerate(runs, 1):
        if origin_ns is None:
            origin_ns = run.totals.first_ns
        for fields in _Process(run, pid, origin_ns).events():
            file.write(before + encode.dumps(fields))
            before = b",\n"
    about = {"made by": "localops", "began": iso(origin_ns or 0), "began_unix_ns": str(origin_ns or 0)}
    file.write(b'\n],"otherData":' + encode.dumps(about) + b"}\n")


class _Process:
    """The events of one session."""

    def __init__(self, run: Run, pid: int, origin_ns: int) -> None:
        self._run, self._pid, self._origin_ns = run, pid, origin_ns
        self._lanes: dict[str | None, _Lanes] = {}
        self._threads = count(1)
        self._arrows = count(1)
        self._where: dict[str, _Place] = {}  # of each event that is under way
        self._cost = 0

    def events(self) -> Iterator[Fields]:
        """Yield the events of the trace, then the names of its lanes."""
        story = self._run.story
        yield self._meta("process_name", {"name": f"{story.name or 'session'} {facts.full_id(self._run.id)[:8]}"})
        yield self._meta("process_labels", {"labels": ", ".join([self._run.standing.state, *story.tags])})
        yield self._meta("process_sort_index", {"sort_index": self._pid})
        for event in _in_order(self._run):
            yield from self._of_event(event)
        names = analytics.agent_names(self._run.reader, [agent for agent in self._lanes if agent is not None])
        for agent, lanes in self._lanes.items():
            for number, tid in enumerate(lanes.threads, 1):
                title = "session" if agent is None else names[agent]
                yield self._meta("thread_name", {"name": title if number == 1 else f"{title} ({number})"}, tid)
                yield self._meta("thread_sort_index", {"sort_index": tid}, tid)

    def _meta(self, name: str, args: Fields, tid: int = 0) -> Fields:
        return {"ph": "M", "pid": self._pid, "tid": tid, "name": name, "args": args}

    def _of_event(self, event: Fields) -> Iterator[Fields]:
        start, end = event["start_ns"], event["end_ns"]
        if end is None and pauses.after(self._run.pauses, start) is not None:
            end = self._run.ran_until(start)  # the rest of the trace is of later runs
        lanes = self._lanes.get(event["agent"])
        if lanes is None:
            lanes = self._lanes[event["agent"]] = _Lanes(self._threads, self._where)
        head = {
            "pid": self._pid,
            "ts": self._us(start),
            "name": event["name"] or event["model"] or event["kind"],
            "cat": event["kind"] + (",failed" if event["failed"] else ""),
            "args": _args(event),
        }
        if event["kind"] in ("error", "agent") and (end is None or end <= start):
            yield {"ph": "i", "s": "t", **head, "tid": lanes.of_moment(event["parent"])}
            return
        around = self._where.get(event["parent"])
        tid = lanes.place(event["id"], event["parent"], start, _END_OF_TIME if end is None else max(start, end))
        if end is None:  # viewers draw it to the end of the trace
            yield {"ph": "B", **head, "tid": tid}
        else:
            yield {"ph": "X", **head, "tid": tid, "dur": round(max(0, end - start) / 1e3, 3)}
        if around is not None and around.tid != tid and around.end_ns > start:
            arrow = {"cat": "inside", "name": "inside", "id": next(self._arrows), "pid": self._pid, "ts": head["ts"]}
            yield {"ph": "s", **arrow, "tid": around.tid}
            yield {"ph": "f", "bp": "e", **arrow, "tid": tid}
        if event["cost"] and end is not None:
            self._cost += event["cost"]
            usd = {"usd": self._cost / 1e9}
            yield {"ph": "C", "pid": self._pid, "tid": 0, "ts": self._us(end), "name": "cost", "args": usd}

    def _us(self, at_ns: int) -> float:
        return round((at_ns - self._origin_ns) / 1e3, 3)


class _Lanes:
    """The lanes of one agent: each holds a stack of events that are under way, one inside of the other."""

    def __init__(self, numbers: Iterator[int], where: dict[str, _Place]) -> None:
        self._numbers, self._where = numbers, where
        self.threads: list[int] = []
        self._stacks: dict[int, list[_Open]] = {}
        self._free: list[int] = []
        self._busy: list[tuple[int, int]] = []  # until when each other lane is taken

    def place(self, id: str, parent: str | None, start_ns: int, end_ns: int) -> int:
        """Return the lane of an event, which begins no earlier than those that were placed before."""
        tid = self._around(parent)
        stack = [] if tid is None else self._ended(tid, start_ns)
        if tid is None or not stack or stack[-1].id != parent or stack[-1].end_ns < end_ns:
            tid = self._any_free(start_ns)
            heapq.heappush(self._busy, (end_ns, tid))
        self._stacks[tid].append(_Open(id, end_ns))
        self._where[id] = _Place(tid, end_ns)
        return tid

    def of_moment(self, parent: str | None) -> int:
        """Return the lane of something without duration: that of what it happened in."""
        tid = self._around(parent)
        if tid is not None:
            return tid
        return self.threads[0] if self.threads else self._new(free=True)

    def _around(self, parent: str | None) -> int | None:
        """Return the lane of what something happened in, if that is one of these."""
        place = self._where.get(parent) if parent is not None else None
        return place.tid if place is not None and place.tid in self._stacks else None

    def _any_free(self, start_ns: int) -> int:
        while self._busy and self._busy[0][0] <= start_ns:
            tid = heapq.heappop(self._busy)[1]
            self._ended(tid, start_ns)
            heapq.heappush(self._free, tid)
        return heapq.heappop(self._free) if self._free else self._new()

    def _new(self, *, free: bool = False) -> int:
        tid = next(self._numbers)
        self.threads.append(tid)
        self._stacks[tid] = []
        if free:
            heapq.heappush(self._free, tid)
        return tid

    def _ended(self, tid: int, start_ns: int) -> list[_Open]:
        """Return a lane's stack without the events that have ended by then."""
        stack = self._stacks[tid]
        while stack and stack[-1].end_ns <= start_ns:
            self._where.pop(stack.pop().id, None)
        return stack


def _args(event: Fields) -> Fields:
    """Return what a viewer shows of an event."""
    args: Fields = {"id": event["id"]}
    args |= {name: event[name] for name in _FIGURES if event.get(name) is not None}
    if event["cost"] is not None:
        args["cost_usd"] = event["cost"] / 1e9
    if event["tags"]:
        args["tags"] = ", ".join(map(text, event["tags"]))
    args |= {flag: True for flag in ("failed",) if event[flag]}
    if not event["finished"]:
        args["finished"] = False
    return args | {name: _short(event[name]) for name in _CONTENT if event.get(name) is not None}


def _short(value: object) -> str:
    whole = text(value)
    return whole if len(whole) <= _MOST_TEXT else f"{whole[:_MOST_TEXT]}… ({len(whole):,} characters)"


# The events in the order they began


def _in_order(run: Run) -> Iterator[Fields]:
    """Yield a session's events in the order they began, those around others first."""
    later = analytics.afterwards(run.reader, run.id)
    query = statements("export.sql")["of_seqs"]
    seqs = (seq for _, _, seq in heapq.merge(*_sorted_parts(run)))
    while some := list(islice(seqs, _AT_ONCE)):
        by_seq = {row.seq: row for row in stored.named(run.reader.ask(query, {"seqs": encode.dumps(some).decode()}))}
        for row in (by_seq[seq] for seq in some):
            opened = _opened(run, row)
            yield analytics.plain(row, opened, later.get(row.id) if row.phase == rows.DONE else None)


def _opened(run: Run, row: Stored) -> Stored | None:
    return None if row.phase == rows.OPEN or row.start_ns is None else stored.one(run.reader, row.id, rows.OPEN)


def _sorted_parts(run: Run) -> list[Iterator[tuple[int, int, int]]]:
    """Return when each event began and (negative) ended, and the seq of its last row: sorted, in parts."""
    open_ids = {one.id for one in run.unfinished}
    parts: list[Iterator[tuple[int, int, int]]] = []
    places = _places(run, open_ids)
    while some := sorted(islice(places, _SORTED)):
        # As numbers without objects: of a million events they take 24 MB.
        columns = [array("q", column) for column in zip(*some, strict=True)]
        parts.append(zip(*columns, strict=True))
    return parts


def _places(run: Run, open_ids: set[bytes]) -> Iterator[tuple[int, int, int]]:
    query = statements("export.sql")["places"]
    after = 0
    while page := run.reader.ask(query, {"session": run.id, "after": after, "many": _SORTED}):
        for after, id, phase, start_ns, end_ns in page:
            if phase == rows.DONE or id in open_ids:
                yield start_ns, -(end_ns if phase == rows.DONE else _END_OF_TIME), after
