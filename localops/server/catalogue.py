"""All sessions of a project in columns, in memory: any filter, any order and the counts of every value at once.

It is made from the journal's derived tables and then follows the journal: each question first takes in the sessions
that have new rows.  Some 400 bytes a session; a walk along an index cannot count, and has one order for each index.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, replace

from localops import analytics, encode, ends
from localops.home import STATES, Listed
from localops.server.timeline import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from localops.home import Filters, Project
    from localops.reader import Reader

    Part = tuple[str, str]
    Place = tuple[Any, int, int, int]  # the value sorted by, when it began, of which project, which row

DIMS = ("state", "tag", "model", "agent", "tool")
SORTS = ("began", "seconds", "cost", "tokens", "errors", "llm_calls", "tool_calls", "actions", "name", "state")
_SUMS = "events actions llms tools errors failed tokens_in tokens_out cost unpriced".split()
_OF = {"llm_calls": "llms", "tool_calls": "tools"}  # what a list calls them, and what the journal does
_TOO_MANY_CHANGED = 50_000  # rows, after which it is made anew
_STALE = 1.0  # seconds after which it is looked again whether an open session still runs
_LOOKED_AT = 100  # open sessions, in one question
_CHECKED = 500  # sessions in which a text is looked for in one question, at most
_PATIENCE = 0.015  # seconds of computing, after which the rest is left to the next page
_ALIKE = 4  # times as many as are wanted may have the same value, before it is looked which are the newest
_FEW = 5_000  # passages with a text that are gathered for a list; where there are more, a walk soon finds some
_CANDIDATES = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """What a list shows beyond what Filters say, and in which order."""

    filters: Filters
    min_cost: int | None = None  # nano-dollars
    max_cost: int | None = None
    min_ns: int | None = None
    max_ns: int | None = None
    errors: bool = False  # only with errors
    tool: str | None = None  # only with a call of it
    sort: str = "began"
    ascending: bool = False

    def without(self, dim: str) -> Wanted:
        """The same without the filter of a dimension."""
        if dim == "tool":
            return replace(self, tool=None)
        return replace(self, filters=self.filters._replace(**{dim: None}))

    def value(self, dim: str) -> str | None:
        """What a dimension must have; None for anything."""
        found = self.tool if dim == "tool" else getattr(self.filters, dim)
        return None if found is None else str(found)


@dataclass(frozen=True)
class Page:
    """A piece of a list."""

    lines: list[tuple[Place, Listed]]
    reached: tuple[Place, Listed] | None  # the last that was looked at, when the search for a text stopped there


class Catalogue:
    """The sessions of one project."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_ready = False
        self._forget()

    def _forget(self) -> None:
        self._journal: object = None
        self._seen = 0
        self._rows: dict[bytes, int] = {}
        self._ids: list[bytes] = []
        self._began, self._last = array("q"), array("q")
        self._sums = {name: array("q") for name in _SUMS}
        self._names: list[str | None] = []
        self._states: list[str] = []  # as they stand; of those that are open as they stood at `_looked`
        self._unfolded: set[bytes] = set()  # sessions that may not be in the derived tables yet
        self._looked: dict[int, float] = {}  # open sessions, and when they were looked at
        self._parts: list[tuple[Part, ...]] = []
        self._with: dict[Part, set[int]] = {}

    # Following the journal

    def follow(self, project: Project) -> None:
        """Take in what is new."""
        reader = project.reader
        journal = reader.ask("select value from meta where key = 'journal'")
        newest = int(project.ask("last_seq")[0][0])
        if journal != self._journal or not 0 <= newest - self._seen <= _TOO_MANY_CHANGED:
            self._load(project)
        if self._take_changed(project, newest) or self._has_lost(reader):  # prune has been there
            self._load(project)
            self._take_changed(project, newest)
        self._look_at_open(project)
        self.is_ready = True

    def _has_lost(self, reader: Reader) -> bool:
        return int(ask(reader, "how_many_sessions")[0][0]) < len(self._ids) - len(self._unfolded)

    def _load(self, project: Project) -> None:
        """All that is folded."""
        self._forget()
        reader = project.reader
        self._journal = reader.ask("select value from meta where key = 'journal'")
        self._seen = int(ask(reader, "mark")[0][0])
        lines = ask(reader, "catalogue")
        if not lines:
            return
        keys, ids, began, last, names, states, *sums = zip(*lines, strict=True)
        self._ids, self._names, self._states = list(ids), list(names), list(states)
        self._rows = {session: row for row, session in enumerate(ids)}
        self._began, self._last = array("q", began), array("q", last)
        self._sums = {name: array("q", values) for name, values in zip(_SUMS, sums, strict=True)}
        self._looked = {row: 0.0 for row, state in enumerate(states) if state == "open"}
        row_of = {key: row for row, key in enumerate(keys)}
        parts: list[list[Part]] = [[] for _ in ids]
        for dim, value, holders in ask(reader, "catalogue_parts"):
            rows = {row_of[key] for key in map(int, holders.split(",")) if key in row_of}
            self._with[dim, value] = rows
            for row in rows:
                parts[row].append((dim, value))
        self._parts = list(map(tuple, parts))

    def _take_changed(self, project: Project, newest: int) -> bool:
        """The sessions with new rows; whether one of them has gone."""
        if newest <= self._seen:
            return False
        reader = project.reader
        changed: dict[bytes, int] = dict(ask(reader, "changed", after=self._seen))
        ids = encode.dumps([session.hex() for session in changed]).decode()
        lines = {line[0]: line for line in ask(reader, "catalogue_of", ids=ids)}
        fresh = [session for session, is_fresh in changed.items() if is_fresh]
        gone = any(session in self._rows for session in changed.keys() - lines.keys() - set(fresh))
        for session in fresh:
            lines[session] = _line(project, session)
        for line in lines.values():
            self._put(line)
        parts = ask(reader, "catalogue_parts_of", ids=ids)
        if fresh:
            parts += ask(reader, "fresh_parts")
            parts += [(session, "tag", tag) for session in fresh for tag in project.tags(session)]
        self._put_parts(parts, anew=changed)
        self._unfolded = set(fresh)
        self._seen = newest
        return gone

    def _put(self, line: Sequence[Any]) -> None:
        """A line, in the place it has or at the end."""
        session, began, last, name, state, *sums = line
        row = self._rows.setdefault(session, len(self._ids))
        if row == len(self._ids):
            self._ids.append(session)
            self._began.append(began)
            self._last.append(last)
            self._names.append(name)
            self._states.append(state)
            self._parts.append(())
            for column, value in zip(self._sums.values(), sums, strict=True):
                column.append(value)
        else:
            self._began[row], self._last[row], self._names[row], self._states[row] = began, last, name, state
            for column, value in zip(self._sums.values(), sums, strict=True):
                column[row] = value
        self._looked.pop(row, None)
        if state == "open":
            self._looked[row] = 0.0

    def _put_parts(self, found: Iterable[tuple[bytes, str, str]], anew: Iterable[bytes] = ()) -> None:
        """What sessions can be found by; those of `anew` by nothing else."""
        gathered: dict[int, set[Part]] = {self._rows[session]: set() for session in anew if session in self._rows}
        known: dict[Part, Part] = {part: part for part in self._with}
        for session, dim, value in found:
            row = self._rows.get(session)
            if row is not None:
                part = (dim, value)
                gathered.setdefault(row, set()).add(known.setdefault(part, part))
        for row, parts in gathered.items():
            for part in set(self._parts[row]) - parts:
                self._with[part].discard(row)
            for part in parts.difference(self._parts[row]):
                self._with.setdefault(part, set()).add(row)
            self._parts[row] = tuple(parts)

    def _look_at_open(self, project: Project) -> None:
        """How those stand that nobody has ended; of many only some at a time, the longest unseen first."""
        now = time.monotonic()
        hub = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(project.folder)), ends.HUB))
        due = [row for row, at in self._looked.items() if not at or (not hub and at < now - _STALE)]
        for row in heapq.nsmallest(_LOOKED_AT, due, key=lambda row: (self._looked[row], -self._began[row])):
            self._states[row] = project.standing(self._ids[row]).state
            self._looked[row] = now

    # Answering

    def page(self, project: Project, wanted: Wanted, before: Place | None, many: int) -> Page:
        """The first lines after a place."""
        holders, check = self._with_text(project, wanted, most=_FEW)
        column = self._column(wanted.sort)
        chosen = self._chosen(wanted, holders)
        if before is not None:
            chosen = self._after(chosen, column, before, project.rank, ascending=wanted.ascending)
        if not check:
            rows = self._first(chosen, column, many, ascending=wanted.ascending)
            return Page([self._told(project, column, row) for row in rows], None)
        rows = self._first(chosen, column, _CHECKED, ascending=wanted.ascending)
        found, reached = self._checked(project, wanted.filters.text or "", rows, many)
        stopped = reached < len(chosen) and len(found) < many
        return Page(
            [self._told(project, column, row) for row in found],
            self._told(project, column, rows[reached - 1]) if stopped else None,
        )

    def _checked(self, project: Project, text: str, rows: Sequence[int], many: int) -> tuple[list[int], int]:
        """Those of some rows in which a text is found, and how many were looked at before the time was over."""
        until = time.thread_time() + _PATIENCE
        found: list[int] = []
        for number, row in enumerate(rows):
            if len(found) == many or (number and time.thread_time() > until):
                return found, number
            if project.index().has(self._ids[row], text):
                found.append(row)
        return found, len(rows)

    def place(self, project: Project, session: bytes, sort: str) -> Place | None:
        """Where a session stands in an order."""
        row = self._rows.get(session)
        return None if row is None else (self._column(sort)[row], self._began[row], -project.rank, row)

    def counts(self, project: Project, wanted: Wanted) -> tuple[dict[str, Counter[str]], int, bool]:
        """How many sessions each value has under the other filters, how many pass all, and whether exactly."""
        holders, check = self._with_text(project, wanted, most=_CANDIDATES)
        whole = self._chosen(wanted, holders)
        free = [dim for dim in DIMS if wanted.value(dim) is None]
        found = self._count(whole, free)
        for dim in DIMS:
            if dim not in free:
                found |= self._count(self._chosen(wanted.without(dim), holders), [dim])
        return found, len(whole), not check

    def _chosen(self, wanted: Wanted, holders: set[int] | None) -> Sequence[int]:
        """The rows that pass every filter; `holders`: those that have the words of the text."""
        filters = wanted.filters
        sets = [self._with.get((dim, value), set()) for dim in DIMS[1:] if (value := wanted.value(dim)) is not None]
        sets += [] if holders is None else [holders]
        chosen: Sequence[int] = range(len(self._ids))
        if sets:
            first, *others = sorted(sets, key=len)
            chosen = sorted(first.intersection(*others))
        if filters.state is not None:
            states = self._states
            chosen = [row for row in chosen if states[row] == filters.state]
        for column, least, most in (
            (self._began, filters.since, None if filters.until is None else filters.until - 1),
            (self._sums["cost"], wanted.min_cost, wanted.max_cost),
            (self._sums["errors"], 1 if wanted.errors else None, None),
        ):
            chosen = _between(chosen, column, least, most)
        if wanted.min_ns is not None or wanted.max_ns is not None:
            chosen = _between(chosen, self._column("seconds"), wanted.min_ns, wanted.max_ns)
        return chosen

    def _with_text(self, project: Project, wanted: Wanted, *, most: int) -> tuple[set[int] | None, bool]:
        """Those with all words of the text somewhere (None: too many), and whether it must be looked where exactly."""
        if wanted.filters.text is None:
            return None, False
        found, exact = project.index().candidates(wanted.filters.text, most)
        if found is None:
            return None, True
        return {self._rows[session] for session in found if session in self._rows}, not exact

    def _count(self, rows: Sequence[int], dims: Sequence[str]) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {dim: Counter() for dim in dims}
        chosen = None if len(rows) == len(self._ids) else set(rows)
        for (dim, value), holders in self._with.items():
            if dim in found and (many := len(holders if chosen is None else holders & chosen)):
                found[dim][value] = many
        if "state" in found:
            found["state"].update(map(self._states.__getitem__, rows))
        return found

    def _column(self, sort: str) -> Sequence[Any]:
        if sort == "began":
            return self._began
        if sort == "name":
            return [(name or "").casefold() for name in self._names]
        if sort == "state":
            return self._states
        if sort == "seconds":
            return [last - began for last, began in zip(self._last, self._began, strict=True)]
        if sort == "tokens":
            return [given + made for given, made in zip(self._sums["tokens_in"], self._sums["tokens_out"], strict=True)]
        return self._sums[_OF.get(sort, sort)]

    def _after(
        self, rows: Sequence[int], column: Sequence[Any], before: Place, rank: int, *, ascending: bool
    ) -> list[int]:
        """The rows that come after a place."""
        value, own, began = before[0], -rank, self._began
        later = [row for row in rows if column[row] == value and (began[row], own, row) < before[1:]]
        if ascending:
            return later + [row for row in rows if column[row] > value]
        return later + [row for row in rows if column[row] < value]

    def _first(self, rows: Sequence[int], column: Sequence[Any], many: int, *, ascending: bool) -> list[int]:
        """The first rows of an order; among equals the newest session comes first."""
        if not rows:
            return []
        values = column if isinstance(rows, range) else [column[row] for row in rows]
        pick = heapq.nsmallest if ascending else heapq.nlargest
        # Rows are in the order in which they began, mostly: the heap has less to do when the best come first.
        edge = pick(many, values if ascending else reversed(values))[-1]
        if ascending:
            found = [row for row, value in zip(rows, values, strict=True) if value <= edge]
        else:
            found = [row for row, value in zip(rows, values, strict=True) if value >= edge]
        began = self._began
        if len(found) > _ALIKE * many:  # most of them lie on the edge: only the newest of these are wanted
            newest = heapq.nlargest(many, [began[row] for row in reversed(found) if column[row] == edge])[-1]
            found = [row for row in found if began[row] >= newest or column[row] != edge]
        found.sort(key=lambda row: (began[row], row), reverse=True)
        found.sort(key=column.__getitem__, reverse=not ascending)
        return found[:many]

    def _told(self, project: Project, column: Sequence[Any], row: int) -> tuple[Place, Listed]:
        sums = (self._sums[name][row] for name in _SUMS)
        place = (column[row], self._began[row], -project.rank, row)
        listed = Listed(
            project, self._ids[row], row, self._began[row], self._last[row], self._names[row], self._states[row], *sums
        )
        return place, listed


def _between(rows: Sequence[int], column: Sequence[int], least: int | None, most: int | None) -> Sequence[int]:
    if least is None and most is None:
        return rows
    low = -(1 << 63) if least is None else least
    high = (1 << 63) - 1 if most is None else most
    return [row for row in rows if low <= column[row] <= high]


def _line(project: Project, session: bytes) -> tuple[Any, ...]:
    """The line of a session with rows that are not folded yet."""
    figures = analytics.totals(project.reader, session)
    sums = (getattr(figures, name) for name in _SUMS)
    stands = project.standing(session)
    state = stands.state if stands.state in STATES[:3] and not stands.derived else "open"
    return (session, figures.first_ns, figures.last_ns, project.name_of(session), state, *sums)


def merged(pages: Sequence[Page], *, ascending: bool) -> tuple[list[Listed], Listed | None]:
    """The lines of several projects in one order, as far as all of them were looked through; where that stopped."""
    lines = [(*line, False) for page in pages for line in page.lines]
    lines += [(*page.reached, True) for page in pages if page.reached is not None]
    lines.sort(key=lambda line: (line[0][1:], not line[2]), reverse=True)
    lines.sort(key=lambda line: line[0][0], reverse=not ascending)
    for number, (_, listed, is_end) in enumerate(lines):
        if is_end:
            return [line[1] for line in lines[:number]], listed
    return [line[1] for line in lines], None
