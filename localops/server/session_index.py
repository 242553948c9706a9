"""All sessions of a project in columns, in memory: any filter, any order and the counts of every value at once.

It is made from the journal's derived tables and then follows the journal: each question first takes in the sessions
that have new rows.  Some 1,200 bytes a session; a walk along an index cannot count, and has one order for each index.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from localops.encoding import encode
from localops.reading import analytics, session_state
from localops.reading.home import STATES, Filters, Listed
from localops.server.timeline import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.reading.analytics import Chosen
    from localops.reading.home import Project

    Part = tuple[str, str]
    Place = tuple[Any, int, int, int]  # the value sorted by, when it began, of which project, which row

DIMS = ("state", "tag", "model", "agent", "tool")
_LEAST = {"tags": "tag", "agents": "agent", "models": "model"}  # by the first that a session has, in the alphabet
WORDS = ("name", "host", *_LEAST)  # orders that begin with A
SORTS = ("began", "seconds", "cost", "tokens", "errors", "llm_calls", "tool_calls", "actions", "state", *WORDS)
_LISTED = "events actions llms tools errors failed tokens_in tokens_out cost unpriced".split()
_SUMS = (*_LISTED, "tokens_cached", "tokens_reasoning")
_OF = {"llm_calls": "llms", "tool_calls": "tools"}  # what a list calls them, and what the journal does
_TOO_MANY_CHANGED = 50_000  # rows, after which it is made anew
_STALE = 1.0  # seconds after which it is looked again whether an open session still runs
_LOOKED_AT = 100  # open sessions, in one question
_COUNTED_OPEN = 2_000  # the same where it is counted how sessions stand, of those that nobody has looked at yet
_CHECKED = 500  # sessions in which a text is looked for in one question, at most
_PATIENCE = 0.015  # seconds of computing, after which the rest is left to the next page
_ALIKE = 4  # times as many as are wanted may have the same value, before it is looked which are the newest
_FEW = 5_000  # passages with a text that are gathered for a list; where there are more, a walk soon finds some
_CANDIDATES = 1_000_000
_RARE = 64  # a value that not one session in so many has is counted one by one
_DIGITS = b"01" + bytes(254)  # of a mask, to be read as a number


class _Entry(NamedTuple):
    """What is kept of a session, as the statements `catalogue` and `catalogue_of` give it."""

    session: bytes
    first_ns: int
    last_ns: int
    name: str | None
    state: str
    events: int
    actions: int
    llms: int
    tools: int
    errors: int
    failed: int
    tokens_in: int
    tokens_out: int
    cost: int
    unpriced: int
    tokens_cached: int
    tokens_reasoning: int


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
        cleared: dict[str, Any] = {dim: None}
        return replace(self, filters=self.filters._replace(**cleared))

    def value(self, dim: str) -> str | None:
        """What a dimension must have; None for anything."""
        found = self.tool if dim == "tool" else getattr(self.filters, dim)
        return None if found is None else str(found)


@dataclass(frozen=True)
class Page:
    """A piece of a list."""

    lines: list[tuple[Place, Listed]]
    reached: tuple[Place, Listed] | None  # the last that was looked at, when the search for a text stopped there


class SessionIndex:
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
        self._leasts: dict[str, list[str]] = {}  # for the orders that were asked for
        self._hosts: dict[bytes, str] = {}  # where sessions began, of those that this was asked of
        self._bits: dict[Part, int] = {}  # the larger of these sets, as they were last counted

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
        keys, *columns = zip(*lines, strict=True)
        named = dict(zip(_Entry._fields, columns, strict=True))
        ids, states = named["session"], named["state"]
        self._ids, self._names, self._states = list(ids), list(named["name"]), list(states)
        self._rows = {session: row for row, session in enumerate(ids)}
        self._began, self._last = array("q", named["first_ns"]), array("q", named["last_ns"])
        self._sums = {name: array("q", named[name]) for name in _SUMS}
        self._looked = {row: 0.0 for row, state in enumerate(states) if state == "open"}
        for row, state in enumerate(states):
            self._with.setdefault(("state", state), set()).add(row)
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
        self._leasts.clear()
        reader = project.reader
        changed: dict[bytes, int] = dict(ask(reader, "changed", after=self._seen))
        ids = encode.dumps([session.hex() for session in changed]).decode()
        lines = {entry.session: entry for entry in map(_Entry._make, ask(reader, "catalogue_of", ids=ids))}
        fresh = [session for session, is_fresh in changed.items() if is_fresh]
        gone = any(session in self._rows for session in changed.keys() - lines.keys() - set(fresh))
        for session in fresh:
            lines[session] = _entry(project, session)
        for entry in lines.values():
            self._put(entry)
        parts = ask(reader, "catalogue_parts_of", ids=ids)
        if fresh:
            parts += ask(reader, "fresh_parts")
            parts += [(session, "tag", tag) for session in fresh for tag in project.tags(session)]
        self._put_parts(parts, anew=changed)
        self._unfolded = set(fresh)
        self._seen = newest
        return gone

    def _put(self, entry: _Entry) -> None:
        """Put a session in the place it has, or at the end."""
        row = self._rows.setdefault(entry.session, len(self._ids))
        if row == len(self._ids):
            self._ids.append(entry.session)
            self._began.append(entry.first_ns)
            self._last.append(entry.last_ns)
            self._names.append(entry.name)
            self._states.append(entry.state)
            self._hold(("state", entry.state), row)
            self._parts.append(())
            for name, column in self._sums.items():
                column.append(getattr(entry, name))
        else:
            self._began[row], self._last[row], self._names[row] = entry.first_ns, entry.last_ns, entry.name
            self._stand(row, entry.state)
            for name, column in self._sums.items():
                column[row] = getattr(entry, name)
        self._looked.pop(row, None)
        if entry.state == "open":
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
                self._release(part, row)
            for part in parts.difference(self._parts[row]):
                self._hold(part, row)
            self._parts[row] = tuple(parts)

    def _stand(self, row: int, state: str) -> None:
        if state != self._states[row]:
            self._release(("state", self._states[row]), row)
            self._hold(("state", state), row)
            self._states[row] = state

    def _hold(self, part: Part, row: int) -> None:
        self._with.setdefault(part, set()).add(row)
        if part in self._bits:
            self._bits[part] |= 1 << row

    def _release(self, part: Part, row: int) -> None:
        self._with[part].discard(row)
        if part in self._bits:
            self._bits[part] &= ~(1 << row)

    def _look_at_open(self, project: Project) -> None:
        """How those stand that nobody has ended; of many only some at a time, the longest unseen first."""
        now = time.monotonic()
        hub = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(project.folder)), session_state.HUB))
        due = [row for row, at in self._looked.items() if not at or (not hub and at < now - _STALE)]
        self._look_at(project, heapq.nsmallest(_LOOKED_AT, due, key=lambda row: (self._looked[row], -self._began[row])))

    def _look_at(self, project: Project, rows: Iterable[int]) -> None:
        for row in rows:
            self._stand(row, project.standing(self._ids[row]).state)
            self._looked[row] = time.monotonic()

    # Answering

    def page(self, project: Project, wanted: Wanted, before: Place | None, many: int) -> Page:
        """The first lines after a place."""
        holders, check = self._with_text(project, wanted, most=_FEW)
        column = self._column(project, wanted.sort)
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
        return None if row is None else (self._column(project, sort)[row], self._began[row], -project.rank, row)

    def chosen(self, chosen: Chosen) -> Sequence[int]:
        """The rows of the sessions that figures are about, as report.sql chooses them."""
        everything = analytics.Chosen()
        since = None if chosen.since == everything.since else chosen.since
        until = None if chosen.until == everything.until else chosen.until
        return self._chosen(Wanted(Filters(tag=chosen.tag, since=since, until=until)), None)

    def values(self, name: str, rows: Sequence[int]) -> Sequence[Any]:
        """What stands in some rows of a column: `began`, `seconds` (in nanoseconds) or one of the sums."""
        column = self._plain(name) if name in ("began", "seconds") else self._sums[name]
        return column if isinstance(rows, range) else list(map(column.__getitem__, rows))

    def states(self, project: Project, rows: Sequence[int]) -> list[str]:
        """How the sessions of some rows stand."""
        unseen = (row for row, at in self._looked.items() if not at)
        self._look_at(project, list(islice(unseen, _COUNTED_OPEN)))
        return list(map(self._states.__getitem__, rows))

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
        sets = [self._with.get((dim, value), set()) for dim in DIMS if (value := wanted.value(dim)) is not None]
        sets += [] if holders is None else [holders]
        chosen: Sequence[int] = range(len(self._ids))
        if sets:
            first, *others = sorted(sets, key=len)
            chosen = sorted(first.intersection(*others))
        for column, least, most in (
            (self._began, filters.since, None if filters.until is None else filters.until - 1),
            (self._sums["cost"], wanted.min_cost, wanted.max_cost),
            (self._sums["errors"], 1 if wanted.errors else None, None),
        ):
            chosen = _between(chosen, column, least, most)
        if wanted.min_ns is not None or wanted.max_ns is not None:
            chosen = _between(chosen, self._plain("seconds"), wanted.min_ns, wanted.max_ns)
        return chosen

    def _with_text(self, project: Project, wanted: Wanted, *, most: int) -> tuple[set[int] | None, bool]:
        """Those with all words of the text somewhere (None: too many), and whether it must be looked where exactly."""
        if wanted.filters.text is None:
            return None, False
        found, exact = project.index().candidates(wanted.filters.text, most)
        if found is None:
            return None, True
        rows: set[Any] = set(map(self._rows.get, found))
        rows.discard(None)  # of sessions that are not here any more
        return rows, not exact

    def _count(self, rows: Sequence[int], dims: Sequence[str]) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {dim: Counter() for dim in dims}
        is_whole = len(rows) == len(self._ids)
        mask = _mask(() if is_whole else rows, len(self._ids))
        bits = _bits(mask)
        for part, holders in self._with.items():
            if part[0] not in found:
                continue
            if is_whole:
                many = len(holders)
            elif len(holders) * _RARE < len(mask):
                many = sum(map(mask.__getitem__, holders))
            else:
                many = (self._bits_of(part, holders) & bits).bit_count()
            if many:
                found[part[0]][part[1]] = many
        return found

    def _bits_of(self, part: Part, holders: set[int]) -> int:
        found = self._bits.get(part)
        if found is None:
            found = self._bits[part] = _bits(_mask(holders, len(self._ids)))
        return found

    def _column(self, project: Project, sort: str) -> Sequence[Any]:
        if sort == "name":
            return [(name or "").casefold() for name in self._names]
        if sort == "state":
            return self._states
        if sort == "host":
            self._learn_hosts(project)
            return list(map(self._hosts.__getitem__, self._ids))
        if sort in _LEAST:
            return self._least(_LEAST[sort])
        return self._plain(sort)

    def _plain(self, name: str) -> Sequence[int]:
        if name == "began":
            return self._began
        if name == "seconds":
            return [last - began for last, began in zip(self._last, self._began, strict=True)]
        if name == "tokens":
            return [given + made for given, made in zip(self._sums["tokens_in"], self._sums["tokens_out"], strict=True)]
        return self._sums[_OF.get(name, name)]

    def _learn_hosts(self, project: Project) -> None:
        """A session stays where it began: each is asked once."""
        if len(self._hosts) == len(self._ids):
            return
        unknown = [session for session in self._ids if session not in self._hosts]
        found = ask(project.reader, "hosts", ids=encode.dumps([session.hex() for session in unknown]).decode())
        self._hosts.update(dict.fromkeys(unknown, ""))
        self._hosts.update((session, str(host or "").casefold()) for session, host in found if session in self._rows)

    def _least(self, dim: str) -> list[str]:
        """Of each session's values of a dimension the first in the alphabet."""
        found = self._leasts.get(dim)
        if found is None:
            found = self._leasts[dim] = [""] * len(self._ids)
            named = sorted(((part[1].casefold(), part) for part in self._with if part[0] == dim), reverse=True)
            for word, part in named:
                for row in self._with[part]:
                    found[row] = word
        return found

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
        sums = (self._sums[name][row] for name in _LISTED)
        place = (column[row], self._began[row], -project.rank, row)
        listed = Listed(
            project, self._ids[row], row, self._began[row], self._last[row], self._names[row], self._states[row], *sums
        )
        return place, listed


def _mask(rows: Iterable[int], many: int) -> bytearray:
    """A byte for each of so many rows: 1 for those that are meant."""
    mask = bytearray(many)
    for row in rows:
        mask[row] = 1
    return mask


def _bits(mask: bytearray) -> int:
    """The same as bits of one number, the first row the lowest: what two have in common is counted at once."""
    return int(mask[::-1].translate(_DIGITS) or b"0", 2)


def _between(rows: Sequence[int], column: Sequence[int], least: int | None, most: int | None) -> Sequence[int]:
    if least is None and most is None:
        return rows
    low = -(1 << 63) if least is None else least
    high = (1 << 63) - 1 if most is None else most
    return [row for row in rows if low <= column[row] <= high]


def _entry(project: Project, session: bytes) -> _Entry:
    """Return what is kept of a session with rows that are not folded yet."""
    seen = project.snapshot(session)
    figures, stands = seen.totals, seen.standing
    sums = {name: getattr(figures, name) for name in _SUMS}
    state = stands.state if stands.state in STATES[:3] and not stands.derived else "open"
    return _Entry(session, figures.first_ns, figures.last_ns, seen.story.name, state, **sums)


def merged(pages: Sequence[Page], *, ascending: bool) -> tuple[list[Listed], Listed | None]:
    """The lines of several projects in one order, as far as all of them were looked through; where that stopped."""
    lines = [_Line(*place, listed, is_end=False) for page in pages for place, listed in page.lines]
    lines += [_Line(*page.reached[0], page.reached[1], is_end=True) for page in pages if page.reached is not None]
    lines.sort(key=lambda line: (line.began_ns, line.rank, line.row, not line.is_end), reverse=True)
    lines.sort(key=lambda line: line.value, reverse=not ascending)
    for number, line in enumerate(lines):
        if line.is_end:
            return [each.listed for each in lines[:number]], line.listed
    return [line.listed for line in lines], None


class _Line(NamedTuple):
    """A line of one project's list, and where it stands; `is_end`: the search for a text stopped there."""

    value: Any
    began_ns: int
    rank: int
    row: int
    listed: Listed
    is_end: bool
