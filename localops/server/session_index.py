"""The sessions of a project as columns in memory, for any filter, any order and counts of every value.

It is loaded from the journal's derived tables and then follows the journal: each request first updates the sessions
with new rows.  It takes about 1,200 bytes a session.  An SQL index has one order only, and cannot count quickly.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass
from itertools import chain, compress, islice
from typing import Any, NamedTuple

from localops import clock
from localops.encoding import encode
from localops.journal.rows import LISTED, TOTALS
from localops.reading import analytics, session_state
from localops.reading import filters as filtering
from localops.reading.filters import STATES, Filters
from localops.reading.home import NO_SCORE, Listed
from localops.reading.timeline import ask
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.reading.home import Project

    Part = tuple[str, str]
    # The value of the order, the start, the rank of the project, the row.
    Place = tuple[Any, int, int, int]

DIMS = ("state", "tag", "model", "agent", "tool")
# Dimensions that are counted only where they are asked for: their values are not in memory from the start.
LATE_DIMS = ("name", "host", "error")
# Tags as users, conversations and metadata are counted by them: under all filters, those of tags too.
ALL_TAGS = "all tags"
# Orders by all the values that a session has, as the list shows them.
_LISTS = {"agents": "agent", "models": "model"}
# Orders that are ascending by default.
WORDS = ("name", "host", "tags", *_LISTS)
_FIGURES = ("seconds", "cost", "tokens", "errors", "failed", "events", "llm_calls", "tool_calls", "actions")
BY_SCORE = "score:"  # before the name of a score; sessions without it are last of the greatest first
SORTS = ("began", *_FIGURES, "state", *WORDS)
_SUMS = TOTALS[1:]
# Names of orders in a list → names of columns in the journal.
_OF = {"llm_calls": "llms", "tool_calls": "tools"}
# With more new rows than this, loading everything is quicker than following.
_TOO_MANY_CHANGED = 50_000
# Seconds after which an open session is checked again for a live process.
_STALE = 1.0
# Open sessions that one request checks.
_CHECKED_OPEN = 100
# The same where states are counted, of sessions that were never checked.
_COUNTED_OPEN = 2_000
# Sessions that one request searches for a text.
_SEARCHED = 500
# Seconds of CPU time for that search; the rest is left to the next page.
_SEARCH_SECONDS = 0.015
# If more than this many times the page size have the same value, only the newest of them are sorted.
_ALIKE = 4
# The most matches of a text to collect for a list; with more, a walk over the list finds some quickly.
_FEW = 5_000
_CANDIDATES = 1_000_000
# The most recent texts whose matching rows are cached.
_TEXTS = 4
# Values that fewer than one in this many sessions have are counted one by one.
_RARE = 64
# If at least one in this many rows is chosen, sums use a mask.
_MANY = 3
# Translates a mask of bytes 0 and 1 into digits.
_DIGITS = b"01" + bytes(254)


@dataclass(frozen=True)
class Wanted:
    """The filters and the order of a list."""

    filters: Filters
    sort: str = "began"
    ascending: bool = False
    session: bytes | None = None  # only this one


@dataclass(frozen=True)
class Page:
    """A page of a list."""

    lines: list[tuple[Place, Listed]]
    # The last session that was searched, if the search for a text stopped before the end.
    reached: tuple[Place, Listed] | None


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
        # The state of each session; of an open one as of `_looked`.
        self._states: list[str] = []
        # Sessions that may not be in the derived tables yet.
        self._unfolded: set[bytes] = set()
        # Open sessions, and when they were checked.
        self._looked: dict[int, float] = {}
        self._parts: list[tuple[Part, ...]] = []
        self._with: dict[Part, set[int]] = {}
        # Caches: sort keys, hosts and classes of errors of sessions, and the larger sets of `_with` as bits.
        self._joined: dict[str, list[str]] = {}
        self._hosts: dict[bytes, str] = {}
        self._classes: dict[bytes, tuple[str, ...]] = {}
        self._tags: dict[bytes, str] = {}
        self._bits: dict[Part, int] = {}
        # Cached results of texts: each further filter repeats the search.
        self._texts: dict[tuple[str, int, int, int], tuple[set[int] | None, bool]] = {}

    # Following the journal

    def follow(self, project: Project) -> None:
        """Update the index with the new rows of the journal."""
        reader = project.reader
        journal = reader.ask("select value from meta where key in ('journal', 'scrubbed')")
        newest = int(project.ask("last_seq")[0][0])
        if journal != self._journal or not 0 <= newest - self._seen <= _TOO_MANY_CHANGED:
            self._load(project)
        # A missing session was pruned: rows of the index cannot be removed, so load everything again.
        if self._take_changed(project, newest) or self._has_lost(reader):
            self._load(project)
            self._take_changed(project, newest)
        self._check_open(project)
        self.is_ready = True

    def _has_lost(self, reader: Reader) -> bool:
        return int(ask(reader, "how_many_sessions")[0][0]) < len(self._ids) - len(self._unfolded)

    def _load(self, project: Project) -> None:
        """Load every session of the derived tables."""
        self._forget()
        reader = project.reader
        self._journal = reader.ask("select value from meta where key in ('journal', 'scrubbed')")
        self._seen = int(ask(reader, "mark")[0][0])
        lines = ask(reader, "catalogue")
        if not lines:
            return
        named = dict(zip(LISTED, zip(*lines, strict=True), strict=True))
        ids, states = named["session"], named["state"]
        self._ids, self._names, self._states = list(ids), list(named["name"]), list(states)
        self._rows = {session: row for row, session in enumerate(ids)}
        self._began, self._last = array("q", named["first_ns"]), array("q", named["last_ns"])
        self._sums = {name: array("q", named[name]) for name in _SUMS}
        self._looked = {row: 0.0 for row, state in enumerate(states) if state == "open"}
        for row, state in enumerate(states):
            self._with.setdefault(("state", state), set()).add(row)
        row_of = {key: row for row, key in enumerate(named["key"])}
        parts: list[list[Part]] = [[] for _ in ids]
        for dim, value, holders in ask(reader, "catalogue_parts"):
            rows = {row_of[key] for key in map(int, holders.split(",")) if key in row_of}
            self._with[dim, value] = rows
            for row in rows:
                parts[row].append((dim, value))
        # A call that never ended is in no facet.
        for session, dim, value in ask(reader, "open_models"):
            begun = self._rows.get(session)
            if begun is not None and begun not in self._with.setdefault((dim, value), set()):
                self._with[dim, value].add(begun)
                parts[begun].append((dim, value))
        self._parts = list(map(tuple, parts))

    def _take_changed(self, project: Project, newest: int) -> bool:
        """Update the sessions with new rows; return whether one of them was pruned."""
        if newest <= self._seen:
            return False
        self._joined.clear()
        reader = project.reader
        changed: dict[bytes, int] = dict(ask(reader, "changed", after=self._seen))
        for session in changed:
            self._classes.pop(session, None)
            if self._hosts.get(session) == "":  # its host may have become known
                del self._hosts[session]
            self._tags.pop(session, None)
        ids = encode.dumps([session.hex() for session in changed]).decode()
        entries = [Listed(project, *line) for line in ask(reader, "catalogue_of", ids=ids)]
        lines = {entry.session: entry for entry in entries}
        fresh = [session for session, is_fresh in changed.items() if is_fresh]
        gone = any(session in self._rows for session in changed.keys() - lines.keys() - set(fresh))
        for session in fresh:
            lines[session] = _entry(project, session)
        for entry in lines.values():
            self._put_session(entry)
        parts = ask(reader, "catalogue_parts_of", ids=ids)
        parts += [part for part in ask(reader, "open_models") if part[0] in changed]
        if fresh:
            parts += ask(reader, "fresh_parts")
            parts += [(session, "tag", tag) for session in fresh for tag in project.tags(session)]
        self._put_parts(parts, replaced=changed)
        self._unfolded = set(fresh)
        self._seen = newest
        return gone

    def _put_session(self, entry: Listed) -> None:
        """Update a session, or append a new one."""
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
            self._set_state(row, entry.state)
            for name, column in self._sums.items():
                column[row] = getattr(entry, name)
        self._looked.pop(row, None)
        if entry.state == "open":
            self._looked[row] = 0.0

    def _put_parts(self, parts_of: Iterable[tuple[bytes, str, str]], replaced: Iterable[bytes] = ()) -> None:
        """Add values that sessions can be filtered by; those of `replaced` sessions replace the old ones."""
        gathered: dict[int, set[Part]] = {self._rows[session]: set() for session in replaced if session in self._rows}
        known: dict[Part, Part] = {part: part for part in self._with}
        for session, dim, value in parts_of:
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

    def _set_state(self, row: int, state: str) -> None:
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

    def _check_open(self, project: Project) -> None:
        """Check the state of sessions without an end; of many only some, those not checked for longest first."""
        now = time.monotonic()
        hub = os.path.exists(os.path.join(os.path.dirname(os.path.abspath(project.folder)), session_state.HUB))
        due = [row for row, at in self._looked.items() if not at or (not hub and at < now - _STALE)]
        self._check(
            project, heapq.nsmallest(_CHECKED_OPEN, due, key=lambda row: (self._looked[row], -self._began[row]))
        )

    def _check(self, project: Project, rows: Iterable[int]) -> None:
        for row in rows:
            self._set_state(row, project.standing(self._ids[row]).state)
            self._looked[row] = time.monotonic()

    # Answering

    def page(self, project: Project, wanted: Wanted, before: Place | None, many: int) -> Page:
        """Return the first sessions after a place."""
        holders, check = self._with_text(project, wanted, most=_FEW)
        column = self._column(project, wanted.sort)
        chosen = self._matching_rows(project, wanted, holders)
        if before is not None:
            chosen = self._after(chosen, column, before, project.rank, ascending=wanted.ascending)
        if not check:
            rows = self._first_rows(chosen, column, many, ascending=wanted.ascending)
            return Page([self._line(project, column, row) for row in rows], None)
        rows = self._first_rows(chosen, column, _SEARCHED, ascending=wanted.ascending)
        matches, reached = self._search(project, wanted.filters.text or "", rows, many)
        stopped = reached < len(chosen) and len(matches) < many
        return Page(
            [self._line(project, column, row) for row in matches],
            self._line(project, column, rows[reached - 1]) if stopped else None,
        )

    def _search(self, project: Project, text: str, rows: Sequence[int], many: int) -> tuple[list[int], int]:
        """Return the rows whose sessions contain a text, and how many were searched in the time limit."""
        until = time.thread_time() + _SEARCH_SECONDS
        matches: list[int] = []
        each = project.index().each([self._ids[row] for row in rows], text)
        for number, row in enumerate(rows):
            if len(matches) == many or (number and time.thread_time() > until):
                return matches, number
            if next(each):
                matches.append(row)
        return matches, len(rows)

    def matching(self, project: Project, wanted: Wanted) -> tuple[list[bytes], bool]:
        """Return the sessions that match every filter, and whether that is exact: for very common words it is not."""
        holders, check = self._with_text(project, wanted, most=_CANDIDATES)
        return list(map(self._ids.__getitem__, self._matching_rows(project, wanted, holders))), not check

    def state_of(self, session: bytes) -> str | None:
        """Return the state of a session."""
        row = self._rows.get(session)
        return None if row is None else self._states[row]

    def name_of(self, session: bytes) -> str | None:
        """Return the name of a session."""
        row = self._rows.get(session)
        return None if row is None else self._names[row]

    def place(self, project: Project, session: bytes, sort: str) -> Place | None:
        """Return the place of a session in an order."""
        row = self._rows.get(session)
        return None if row is None else (self._column(project, sort)[row], self._began[row], -project.rank, row)

    def matches(self, project: Project, filters: Filters, session: bytes | None = None) -> tuple[Sequence[int], bool]:
        """Return the rows of the sessions that pass filters, and whether each has to be searched for the text yet.

        `session`: only this one, whose id is the text.
        """
        wanted = Wanted(filters, session=session)
        holders, check = self._with_text(project, wanted, most=_CANDIDATES)
        return self._matching_rows(project, wanted, holders), check

    def ids(self, rows: Iterable[int]) -> list[bytes]:
        """Return the ids of the sessions in some rows."""
        return list(map(self._ids.__getitem__, rows))

    def rows_of(self, ids: Iterable[bytes]) -> list[int]:
        """Return the rows of sessions that are here."""
        return sorted(row for id in ids if (row := self._rows.get(id)) is not None)

    def values(self, name: str, rows: Sequence[int]) -> Sequence[Any]:
        """Return rows of a column: `began`, `seconds` (in nanoseconds) or one of the sums."""
        column = self._plain(name) if name in ("began", "seconds") else self._sums[name]
        return column if isinstance(rows, range) else list(map(column.__getitem__, rows))

    def sums(self, names: Iterable[str], rows: Sequence[int]) -> list[int]:
        """Return the sums of columns of the journal in some rows."""
        columns = (self._sums[name] for name in names)
        if isinstance(rows, range):
            return list(map(sum, columns))
        # One pass over the whole column is quicker than looking up this many rows.
        if len(rows) * _MANY > len(self._ids):
            mask = _mask(rows, len(self._ids))
            return [sum(compress(column, mask)) for column in columns]
        return [sum(map(column.__getitem__, rows)) for column in columns]

    def states(self, project: Project, rows: Sequence[int]) -> list[str]:
        """Return the states of the sessions in some rows."""
        unseen = (row for row, at in self._looked.items() if not at)
        self._check(project, list(islice(unseen, _COUNTED_OPEN)))
        return list(map(self._states.__getitem__, rows))

    def counts(
        self, project: Project, wanted: Wanted, dims: Sequence[str] = DIMS
    ) -> tuple[dict[str, Counter[str]], Sequence[int], bool]:
        """Count each value under the other filters; return the matches of all, and whether this is exact, too.

        Excluded values of a facet are not in its own counts, either. The facets `user`, `conversation` and `meta`, and
        ALL_TAGS, are counted as tags.
        """
        holders, check = self._with_text(project, wanted, most=_CANDIDATES)
        whole = self._matching_rows(project, wanted, holders)
        stored = {dim: dim if dim in (*DIMS, *LATE_DIMS) else "tag" for dim in dims}
        free = [dim for dim in dims if not getattr(wanted.filters, dim, ())]
        of_whole = self._count(project, whole, list({stored[dim] for dim in free}))
        counts = {dim: of_whole[stored[dim]] for dim in free}
        for dim in dims:
            if dim == "meta" and dim not in counts:
                counts[dim] = self._count_meta(project, wanted, whole, holders)
            elif dim not in counts:
                rows = self._matching_rows(project, wanted, holders, but=dim)
                counts[dim] = self._count(project, rows, [stored[dim]])[stored[dim]]
        return counts, whole, not check

    def _count_meta(
        self, project: Project, wanted: Wanted, whole: Sequence[int], holders: set[int] | None
    ) -> Counter[str]:
        """Count metadata under chosen metadata: the values of each name ignore the choice for that name."""
        counts = self._count(project, whole, ["tag"])["tag"]
        for name in set(map(filtering.meta_name, wanted.filters.meta)):
            rows = self._matching_rows(project, wanted, holders, but=f"meta:{name}")
            alone = self._count(project, rows, ["tag"])["tag"]
            counts |= Counter({tag: many for tag, many in alone.items() if filtering.meta_name(tag) == name})
        return counts

    def _matching_rows(
        self, project: Project, wanted: Wanted, holders: set[int] | None, *, but: str | None = None
    ) -> Sequence[int]:
        """Return the rows that match every filter; `holders`: those that match the text; `but`: as in `clauses`."""
        filters = wanted.filters
        sets = [] if holders is None else [holders]
        without: list[set[int]] = []
        if (states := filtering.states(filters, but=but)) is not None:
            sets.append(self._in_states(states))
        for clause in filtering.clauses(filters, but=but):
            (without if clause.excluded else sets).append(self._holders(project, clause))
        chosen: Sequence[int] = range(len(self._ids))
        if sets:
            first, *others = sorted(sets, key=len)
            chosen = sorted(first.intersection(*others).difference(*without))
        elif without:
            excluded = set().union(*without)
            chosen = [row for row in chosen if row not in excluded]
        for column, least, most in (
            (self._began, filters.since, None if filters.until is None else filters.until - 1),
            (self._sums["cost"], filters.min_cost, filters.max_cost),
            (self._sums["errors"], 1 if filters.errors else None, None),
        ):
            chosen = _between(chosen, column, least, most)
        if filters.min_took is not None or filters.max_took is not None:
            chosen = _between(chosen, self._plain("seconds"), filters.min_took, filters.max_took)
        return chosen

    def _in_states(self, states: Sequence[str]) -> set[int]:
        return set().union(*(self._with.get(("state", state), ()) for state in states))

    def _holders(self, project: Project, clause: filtering.Clause) -> set[int]:
        """Return the rows that have one of the values of a clause."""
        if clause.dim in LATE_DIMS:
            having = self._late_values(project, clause.dim)
            return {row for row, values in enumerate(having) if any(map(clause.fits, values))}
        if clause.is_exact:
            held = [self._with.get((clause.dim, value), set()) for value in clause.values]
        else:
            held = [rows for (dim, value), rows in self._with.items() if dim == clause.dim and clause.fits(value)]
        return held[0] if len(held) == 1 else set().union(*held)

    def _late_values(self, project: Project, dim: str) -> list[tuple[str, ...]]:
        """Return the names, the host or the classes of errors of each session."""
        if dim == "name":
            return [(name,) if name else () for name in self._names]
        if dim == "host":
            self._learn_hosts(project)
            return [(host,) if (host := self._hosts[session]) else () for session in self._ids]
        self._learn_classes(project)
        return [self._classes.get(session, ()) for session in self._ids]

    def _with_text(self, project: Project, wanted: Wanted, *, most: int) -> tuple[set[int] | None, bool]:
        """Return the rows that may match the text (None: too many) and the scores, and whether to search each."""
        scored = self._scored(project, wanted.filters.score)
        if wanted.session is not None:
            one = {row} if (row := self._rows.get(wanted.session)) is not None else set()
            return one if scored is None else one & scored, False
        if wanted.filters.text is None:
            return scored, False
        rows, exact = self._rows_with_text(project, wanted.filters.text, most)
        if rows is None:
            return scored, True
        return rows if scored is None else rows & scored, not exact

    def _rows_with_text(self, project: Project, text: str, most: int) -> tuple[set[int] | None, bool]:
        """Return the rows that may match a text, and whether that is exact; the last answers are kept."""
        index = project.index()
        key = (text, most, index.upto, self._seen)
        if (known := self._texts.pop(key, None)) is None:
            candidates, exact = index.candidates(text, most)
            rows: set[Any] | None = None if candidates is None else set(map(self._rows.get, candidates))
            if rows is not None:
                # Sessions that were pruned after they were indexed.
                rows.discard(None)
            known = rows, exact
        self._texts[key] = known
        if len(self._texts) > _TEXTS:
            del self._texts[next(iter(self._texts))]
        return known

    def _scored(self, project: Project, filters: Sequence[str]) -> set[int] | None:
        """Return the rows that have every requested score; None if no score is requested."""
        if not filters:
            return None
        asked = [encode.dumps(scores.asked([scores.condition(each)])).decode() for each in filters]
        chosen = [
            {
                row
                for (session,) in project.ask("sessions_as_asked", scores=each)
                if (row := self._rows.get(session)) is not None
            }
            for each in asked
        ]
        return set.intersection(*chosen)

    def _count(self, project: Project, rows: Sequence[int], dims: Sequence[str]) -> dict[str, Counter[str]]:
        counts: dict[str, Counter[str]] = {dim: Counter() for dim in dims if dim not in LATE_DIMS}
        late = {dim: self._late_values(project, dim) for dim in dims if dim in LATE_DIMS}
        if not counts:
            return {dim: Counter(chain.from_iterable(map(having.__getitem__, rows))) for dim, having in late.items()}
        is_whole = len(rows) == len(self._ids)
        mask = _mask(() if is_whole else rows, len(self._ids))
        bits = _bits(mask)
        for part, holders in self._with.items():
            if part[0] not in counts:
                continue
            if is_whole:
                many = len(holders)
            elif len(holders) * _RARE < len(mask):
                many = sum(map(mask.__getitem__, holders))
            else:
                many = (self._bits_of(part, holders) & bits).bit_count()
            if many:
                counts[part[0]][part[1]] = many
        return counts | {
            dim: Counter(chain.from_iterable(map(having.__getitem__, rows))) for dim, having in late.items()
        }

    def _bits_of(self, part: Part, holders: set[int]) -> int:
        bits = self._bits.get(part)
        if bits is None:
            bits = self._bits[part] = _bits(_mask(holders, len(self._ids)))
        return bits

    def _column(self, project: Project, sort: str) -> Sequence[Any]:
        if sort.startswith(BY_SCORE):
            values = project.score_values(sort.removeprefix(BY_SCORE))
            return [values.get(session, NO_SCORE) for session in self._ids]
        if sort == "name":
            return [(name or "").casefold() for name in self._names]
        if sort == "state":
            return self._states
        if sort == "host":
            self._learn_hosts(project)
            return [self._hosts[session].casefold() for session in self._ids]
        if sort == "tags":
            self._learn_tags(project)
            return list(map(self._tags.__getitem__, self._ids))
        if sort in _LISTS:
            return self._joined_values(_LISTS[sort])
        return self._plain(sort)

    def _plain(self, name: str) -> Sequence[int]:
        if name == "began":
            return self._began
        if name == "seconds":
            took = [last - began for last, began in zip(self._last, self._began, strict=True)]
            now = clock.now_ns()
            for row in self._with.get(("state", "Running"), ()):
                took[row] = max(took[row], now - self._began[row])
            return took
        if name == "tokens":
            return [given + made for given, made in zip(self._sums["tokens_in"], self._sums["tokens_out"], strict=True)]
        return self._sums[_OF.get(name, name)]

    def _learn_hosts(self, project: Project) -> None:
        """Look up the hosts of sessions that are not known; a session never moves."""
        if len(self._hosts) == len(self._ids):
            return
        unknown = [session for session in self._ids if session not in self._hosts]
        hosts = project.hosts(unknown)
        self._hosts.update((session, hosts.get(session, "")) for session in unknown)

    def _learn_classes(self, project: Project) -> None:
        """Look up the classes of errors of the sessions with new rows."""
        errors = self._sums["errors"]
        unknown = [session for session, row in self._rows.items() if errors[row] and session not in self._classes]
        if unknown:
            classes = project.error_classes(unknown)
            self._classes.update((session, tuple(classes.get(session, ()))) for session in unknown)

    def _learn_tags(self, project: Project) -> None:
        """Look up the tags, as the list shows them, of the sessions with new rows."""
        unknown = [session for session in self._ids if session not in self._tags]
        tags: dict[bytes, list[str]] = {}
        for session, tag in ask(project.reader, "tags_of", ids=analytics.array(unknown)) if unknown else ():
            tags.setdefault(session, []).append(tag)
        for session in self._unfolded.intersection(unknown):
            tags[session] = project.tags(session)
        self._tags.update((session, ", ".join(tags.get(session, ())).casefold()) for session in unknown)

    def _joined_values(self, dim: str) -> list[str]:
        """Return each session's values of a dimension as the list shows them: all, in alphabetical order."""
        joined = self._joined.get(dim)
        if joined is None:
            values: list[list[str]] = [[] for _ in self._ids]
            for word, rows in sorted((part[1].casefold(), part) for part in self._with if part[0] == dim):
                for row in self._with[rows]:
                    values[row].append(word)
            joined = self._joined[dim] = list(map(", ".join, values))
        return joined

    def _after(
        self, rows: Sequence[int], column: Sequence[Any], before: Place, rank: int, *, ascending: bool
    ) -> list[int]:
        """Return the rows that come after a place."""
        value, own, began = before[0], -rank, self._began
        later = [row for row in rows if column[row] == value and (began[row], own, row) < before[1:]]
        if ascending:
            return later + [row for row in rows if column[row] > value]
        return later + [row for row in rows if column[row] < value]

    def _first_rows(self, rows: Sequence[int], column: Sequence[Any], many: int, *, ascending: bool) -> list[int]:
        """Return the first rows of an order; of equal values, the newest session comes first."""
        if not rows:
            return []
        values = column if isinstance(rows, range) else [column[row] for row in rows]
        pick = heapq.nsmallest if ascending else heapq.nlargest
        # Rows are mostly in the order of their start, and a heap is quicker if the best values come first.
        edge = pick(many, values if ascending else reversed(values))[-1]
        if ascending:
            chosen = [row for row, value in zip(rows, values, strict=True) if value <= edge]
        else:
            chosen = [row for row, value in zip(rows, values, strict=True) if value >= edge]
        began = self._began
        # Most of them have the same last value: keep only the newest of these.
        if len(chosen) > _ALIKE * many:
            newest = heapq.nlargest(many, [began[row] for row in reversed(chosen) if column[row] == edge])[-1]
            chosen = [row for row in chosen if began[row] >= newest or column[row] != edge]
        chosen.sort(key=lambda row: (began[row], row), reverse=True)
        chosen.sort(key=column.__getitem__, reverse=not ascending)
        return chosen[:many]

    def _line(self, project: Project, column: Sequence[Any], row: int) -> tuple[Place, Listed]:
        sums = (column[row] for column in self._sums.values())
        place = (column[row], self._began[row], -project.rank, row)
        listed = Listed(
            project, self._ids[row], row, self._began[row], self._last[row], self._names[row], self._states[row], *sums
        )
        return place, listed


def _mask(rows: Iterable[int], many: int) -> bytearray:
    """Return a byte for each row: 1 for the chosen ones."""
    mask = bytearray(many)
    for row in rows:
        mask[row] = 1
    return mask


def _bits(mask: bytearray) -> int:
    """Return a mask as the bits of one number, so that common rows are counted by one `&`."""
    return int(mask[::-1].translate(_DIGITS) or b"0", 2)


def _between(rows: Sequence[int], column: Sequence[int], least: int | None, most: int | None) -> Sequence[int]:
    if least is None and most is None:
        return rows
    low = -(1 << 63) if least is None else least
    high = (1 << 63) - 1 if most is None else most
    return [row for row in rows if low <= column[row] <= high]


def _entry(project: Project, session: bytes) -> Listed:
    """Return the line of a session with rows that are not in the derived tables yet."""
    snapshot = project.snapshot(session)
    figures, standing = snapshot.totals, snapshot.standing
    sums = {name: getattr(figures, name) for name in _SUMS}
    state = standing.state if standing.state in STATES[:3] and not standing.derived else "open"
    return Listed(project, session, 0, figures.first_ns, figures.last_ns, snapshot.story.name, state, **sums)


def merged(pages: Sequence[Page], *, ascending: bool) -> tuple[list[Listed], Listed | None]:
    """Merge the pages of projects up to the first place where a search stopped; return that place, too."""
    lines = [_Line(*place, listed, is_end=False) for page in pages for place, listed in page.lines]
    lines += [_Line(*page.reached[0], page.reached[1], is_end=True) for page in pages if page.reached is not None]
    lines.sort(key=lambda line: (line.began_ns, line.rank, line.row, not line.is_end), reverse=True)
    lines.sort(key=lambda line: line.value, reverse=not ascending)
    for number, line in enumerate(lines):
        if line.is_end:
            return [each.listed for each in lines[:number]], line.listed
    return [line.listed for line in lines], None


class _Line(NamedTuple):
    """A line of one project's list and its place; `is_end`: the search for a text stopped there."""

    value: Any
    began_ns: int
    rank: int
    row: int
    listed: Listed
    is_end: bool
