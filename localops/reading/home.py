"""The projects of a home, opened for reading; all commands that read use this.

Opening a project first tidies it, if its folder can be written and there is something to do: collect spilled rows,
write the ends of dead sessions, fold new rows.  If that fails, the project is read as it is, with the same totals.
"""

from __future__ import annotations

import math
import os
from collections import namedtuple
from heapq import merge
from itertools import islice

from localops import config, host
from localops.encoding.lazy import lazy
from localops.errors import Ambiguous, ConfigError, EmptyJournal, JournalError, NotFound
from localops.journal import blobs, rows, spill
from localops.journal.reader import Reader, SQLiteError
from localops.journal.sql import statements
from localops.reading import analytics, filters, given_scores, session_state, waiting_rows
from localops.reading.filters import STATES as STATES
from localops.reading.filters import Filters as Filters
from localops.reading.snapshot import Snapshot
from localops.reading.story import UNATTRIBUTED
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Any

    from localops.reading.search import Index

    class Listed(rows.Counts):
        """A session in a list."""

        project: Project
        session: bytes
        key: int
        first_ns: int
        last_ns: int
        name: str | None
        state: str

else:
    Listed = namedtuple("Listed", ("project", *rows.LISTED))

NO_SCORE = (-math.inf, "")  # the sort key of a session without a score
_PAGE = 100
# Matches to list for an ambiguous id.
_FEW, _MANY = 5, 1_000
_LEAST = 4  # hex digits of an id
# If more sessions are open, we do not check each of them just to tidy.
_FEW_OPEN = 64
_LATEST_NS = (1 << 63) - 1
# Sorts a session that is not folded yet before others of the same nanosecond.
_FRESH_KEY = 1 << 62
# The facets in the derived table `facet`.
_STORED_DIMS = ("tag", "model", "agent", "tool")
# The matches of a filter are counted up to this number, to find the rarest filter.
_COUNTED = 2_000
# Sessions that are checked for a text at first, and then four times as many.
_CHECKED = 8


class Home:
    """The projects of a home, or one of them.

    A home that does not exist yet has no projects; one that cannot be read raises ConfigError.  A project that cannot
    be read raises its error; with `strict` false, the error is stored in `unreadable` instead.  `read` opens a journal,
    `index` the full-text index of a project.

    >>> with Home("/nowhere/at/all") as home:
    ...     home.projects
    []
    """

    def __init__(
        self,
        folder: str | None = None,
        project: str | None = None,
        *,
        strict: bool = True,
        read: Callable[[str], Reader] = Reader,
        index: Callable[[Project], Index] | None = None,
    ) -> None:
        self.folder = config.home(folder)
        self._open, self._index = read, index
        config.check_home(self.folder)
        self.unreadable: dict[str, Exception] = {}
        names = known(self.folder) if project is None else [config.check_project(project)]
        projects = list(self._open_projects(names, strict=strict or project is not None))
        self.projects = [one for one in projects if one.exists]
        self.waiting = {one.name: one.waiting for one in projects if one.waiting}
        if project is not None and not projects[0].exists and not projects[0].waiting:
            there = known(self.folder)
            # The folder has files of ours without rows, for example of a remote.
            if project in there:
                raise NotFound(f"no project {project!r} in {self.folder} has recorded anything yet")
            raise NotFound(f"no project {project!r} in {self.folder}; there is: {', '.join(there) or 'none yet'}")

    def _open_projects(self, names: list[str], *, strict: bool) -> Iterator[Project]:
        for rank, name in enumerate(names):
            try:
                yield Project(self.folder, name, rank, read=self._open, index=self._index)
            except (ConfigError, JournalError, SQLiteError) as error:
                if strict:
                    raise
                self.unreadable[name] = error

    def sessions(self, filters: Filters | None = None, *, before: str | None = None) -> Iterator[Listed]:
        """Yield sessions, newest first, page by page; with `before`, those that follow that session in the list."""
        limits = self._limits(before)
        streams = (
            each.sessions(filters or Filters(), limit) for each, limit in zip(self.projects, limits, strict=True)
        )
        return merge(*streams, key=_by_start)

    def _limits(self, before: str | None) -> list[tuple[int, int]]:
        """Return where the list continues in each project, after a session of any project."""
        if before is None:
            return [(_LATEST_NS, 0)] * len(self.projects)
        project, session = self.find(before)
        at, key = project.position(session)
        keys = (key if each is project else 0 if each.rank < project.rank else _LATEST_NS for each in self.projects)
        return [(at, key) for key in keys]

    def find(self, ident: str) -> tuple[Project, bytes]:
        """Return a session by `last`, an id or the beginning of one; raise NotFound or Ambiguous."""
        if ident.lower() == "last":
            newest = self._newest()
            if newest is None:
                raise NotFound(self.nothing_yet())
            return newest.project, newest.session
        self._must_hold_something()
        low, high = id_range(ident)
        matches = [(project, session) for project in self.projects for session in project.sessions_like(low, high)]
        return matches[_index_of_only(ident, "session", [(project.name, session) for project, session in matches])]

    def _newest(self) -> Listed | None:
        """Return the newest session; an unattributed one only if there is no other."""
        first = None
        for listed in self.sessions():
            if not listed.project.is_unattributed(listed):
                return listed
            first = first or listed
        return first

    def earlier(self, project: Project, session: bytes) -> tuple[Project, bytes]:
        """Return the previous run with the same name; raise NotFound without one."""
        name = project.name_of(session)
        for listed in self.sessions(before=rows.id_text(session)):
            if listed.name == name and not listed.project.is_unattributed(listed):
                return listed.project, listed.session
        named = f"named {name!r}" if name else "without a name"
        raise NotFound(f"no run {named} began before {rows.id_text(session)}: give the ids of two runs")

    def find_event(self, ident: str) -> tuple[Project, bytes, bytes]:
        """Return project, session and full id of the event with an id or its beginning; raise NotFound or Ambiguous."""
        self._must_hold_something()
        low, high = id_range(ident, "event")
        matches = [
            (project, session, id) for project in self.projects for id, session in project.events_like(low, high)
        ]
        if not matches:
            # `localops search` also lists bookkeeping rows.
            matches = [
                (project, session, id) for project in self.projects for id, session in project.notes_like(low, high)
            ]
        return matches[_index_of_only(ident, "event", [(project.name, id) for project, _, id in matches])]

    def _must_hold_something(self) -> None:
        if not self.projects:
            raise NotFound(self.nothing_yet())

    def nothing_yet(self) -> str:
        """Return the message for a home without sessions."""
        return nothing_yet(self.folder)

    def close(self) -> None:
        """Close the files."""
        for project in self.projects:
            project.close()

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


REMOTES = "remotes.json"  # in a project's folder: its remotes


def nothing_yet(home: str) -> str:
    """Return the message for a home without sessions."""
    if os.path.exists(os.path.join(home, session_state.HUB)):
        return f"no sessions yet in {home}, the folder of a hub: run `localops sync` on a machine that sends to it"
    return f"no sessions yet in {home}: record one with `localops demo`, or your own with init()"


def known(home: str) -> list[str]:
    """Return the names of a home's projects, including those with rows only in the user's state folder."""
    return sorted({*config.projects(home), *spill.strays(home)})


def used(home: str, names: Iterable[str]) -> list[str]:
    """Return the projects that have files of ours, as any folder in a home has the name of a project."""
    return [name for name in names if _is_used(config.project_folder(home, name))]


def _is_used(folder: str) -> bool:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        names = []
    except OSError:
        # The code that reads it reports the error.
        return True
    ours = (config.JOURNAL, REMOTES, "blobs", "spill")
    return any(name.startswith(ours) for name in names) or bool(spill.waiting(folder))


def sent_nowhere(home: str, names: Iterable[str], *, wanted: bool = False) -> tuple[list[str], list[str]]:
    """Return the projects with rows but no remote, and those with a remote but no rows.

    If no project has a remote, return none, as the user may not want to send anything, unless a remote is `wanted`.
    """
    remote = {name: _has_remote(config.project_folder(home, name)) for name in names}
    if not wanted and not any(remote.values()):
        return [], []
    rows = {name: os.path.exists(os.path.join(config.project_folder(home, name), config.JOURNAL)) for name in remote}
    lacking = [name for name in remote if rows[name] and not remote[name]]
    return lacking, [name for name in remote if remote[name] and not rows[name]]


def _has_remote(folder: str) -> bool:
    # Imported here, as most commands do not need it.
    import json

    try:
        with open(os.path.join(folder, REMOTES), "rb") as file:
            return bool(json.load(file) != {})
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        # The code that reads it reports the error.
        return True


class Project:
    """A project of a home, tidied and opened for reading; `waiting` rows could not be collected, and do not count."""

    def __init__(
        self,
        home: str,
        name: str,
        rank: int = 0,
        *,
        read: Callable[[str], Reader] = Reader,
        index: Callable[[Project], Index] | None = None,
    ) -> None:
        self.name = name
        self._open, self._make_index = read, index
        self.home = home
        # Its rank among the projects of the home, to sort sessions of the same nanosecond.
        self.rank = rank
        self.folder = config.project_folder(home, name)
        self.path = os.path.join(self.folder, config.JOURNAL)
        # Tidy only if needed: opening a journal for writing takes longer than most commands.
        reader = self._read()
        if _is_due(self.folder, reader):
            _tidy(self.folder)
            reader = reader or self._read()
        self._reader = reader
        self._index: Index | None = None
        self.waiting = spill.count(self.folder)
        self._waiting_rows: dict[bytes, list[rows.Row]] | None = None

    @property
    def exists(self) -> bool:
        """Return whether it has a journal; a folder alone is not a project yet."""
        return self._reader is not None

    @property
    def reader(self) -> Reader:
        """Return the reader of its journal."""
        assert self._reader is not None
        return self._reader

    def _read(self) -> Reader | None:
        try:
            return self._open(self.path)
        except (NotFound, EmptyJournal):
            return None

    def ask(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement of lists.sql."""
        return self.reader.ask(statements("lists.sql")[name], values)

    def snapshot(self, session: bytes) -> Snapshot:
        """Return a snapshot of a session, which reads everything at most once."""
        return Snapshot(self.reader, self.folder, session, waiting=self.waiting_of)

    def standing(self, session: bytes) -> session_state.Standing:
        """Return the current state of a session."""
        return self.snapshot(session).standing

    def running(self) -> list[bytes]:
        """Return the sessions in which a process takes part now."""
        open_sessions = self.reader.all("open_sessions", many=_COUNTED)
        return [session for (session,) in open_sessions if self.standing(session).state == "Running"]

    def waiting_of(self, session: bytes) -> list[rows.Row]:
        """Return the rows of a session that wait in spill files."""
        if not self.waiting:
            return []
        if self._waiting_rows is None:
            self._waiting_rows = waiting_rows.by_session(self.folder)
        return self._waiting_rows.get(session, [])

    def tags(self, session: bytes) -> list[str]:
        """Return the current tags of a session."""
        return [tag for (tag,) in self.reader.all("session_tags", session=session)]

    def scores(self, session: bytes) -> list[given_scores.Given]:
        """Return the scores that count for a session as a whole."""
        return [one for one in given_scores.of_session(self.reader, session) if one.counts and not one.target]

    def score_values(self, name: str) -> dict[bytes, tuple[float, str]]:
        """Return the sort key of each session with a score: the mean of its numbers, and its category."""
        return {
            session: (-math.inf if mean is None else mean, (label or "").casefold())
            for session, mean, label in self.ask("score_values", score=name)
        }

    def score_names(self) -> list[str]:
        """Return the names of all scores that count."""
        return [name for (name,) in self.ask("score_names")]

    def name_of(self, session: bytes) -> str | None:
        """Return the name of a session."""
        return self.snapshot(session).story.name

    def is_unattributed(self, listed: Listed) -> bool:
        """Return whether a listed session holds events without a session."""
        return listed.name == UNATTRIBUTED and self.snapshot(listed.session).story.is_unattributed

    def is_cut_off(self, listed: Listed) -> bool:
        """Return whether a listed session may have begun before its first row, or continued after its last one."""
        # The name is in the first row.
        is_doubtful = listed.state in ("Indeterminate", "Unknown") or listed.name is None
        return (is_doubtful or bool(self.waiting_of(listed.session))) and self.snapshot(listed.session).is_cut_off

    def cost_at_least(self, listed: Listed) -> bool:
        """Return whether the cost of a listed session is a lower bound, as `Snapshot.cost_at_least` does."""
        if listed.unpriced or self.reader.all("lacks_rows", session=listed.session):
            return True
        if waiting_rows.may_cost(self.waiting_of(listed.session)):
            return True
        unfinished = [] if listed.state == "Running" else self.snapshot(listed.session).unfinished
        return any(one.kind == "llm" for one in unfinished)

    def never_ended(self, chosen: analytics.Chosen) -> list[analytics.Unfinished]:
        """Return the operations of the chosen sessions that never ended, without those of running sessions."""
        begun = analytics.unfinished(self.reader, chosen)
        over = {one.session for one in begun}
        over = {session for session in over if self.standing(session).state != "Running"}
        return [one for one in begun if one.session in over]

    def has_open_calls(self, chosen: analytics.Chosen) -> bool:
        """Return whether an LLM call of the chosen sessions never ended: their cost is then a lower bound."""
        return any(one.kind == "llm" for one in self.never_ended(chosen))

    def lacking(self, chosen: analytics.Chosen) -> int:
        """Return of how many chosen sessions rows are missing or may be: their cost is then a lower bound."""
        return len(analytics.chosen_by(self.reader, "lacking", chosen))

    def sessions_like(self, low: bytes, high: bytes) -> list[bytes]:
        """Return up to a thousand sessions with ids from `low` to `high`."""
        return [session for (session,) in self.ask("sessions_like", low=low, high=high, many=_MANY)]

    def events_like(self, low: bytes, high: bytes) -> list[tuple[bytes, bytes]]:
        """Return up to a thousand events with ids from `low` to `high`, each with its session."""
        return [(id, session) for id, session in self.ask("events_like", low=low, high=high, many=_MANY)]

    def notes_like(self, low: bytes, high: bytes) -> list[tuple[bytes, bytes]]:
        """Return up to a few bookkeeping rows with ids from `low` to `high`, each with its session."""
        return [(id, session) for id, session in self.ask("notes_like", low=low, high=high, many=_FEW)]

    def index(self) -> Index:
        """Return its full-text index, which may lack the newest rows."""
        if self._index is None and self._make_index is not None:
            self._index = self._make_index(self)
        elif self._index is None:
            # Imported here, as its patterns take 3 ms to compile.
            from localops.reading.search import Index

            self._index = Index(self.folder, self.reader)
        return self._index

    def position(self, session: bytes) -> tuple[int, int]:
        """Return the position of a session in the list."""
        positions = self.ask("key_of", session=session)
        return positions[0] if positions else (analytics.totals(self.reader, session).first_ns, _FRESH_KEY)

    def listed(self, session: bytes) -> Listed | None:
        """Return one session as a line of the list."""
        return _Walk(self, Filters()).one(session)

    def sessions(self, filters: Filters, limit: tuple[int, int] = (_LATEST_NS, 0)) -> Iterator[Listed]:
        """Yield the sessions of this project that pass the filters, newest first, from a position."""
        if filters.until is not None and filters.until < limit[0]:
            limit = (filters.until, 0)
        walk = _Walk(self, filters)
        # One stream for each stored state, as the state of an `open` session is determined only when it is read.
        streams = [walk.folded(state, limit) for state in _stored_states(walk.states, self.waiting)]
        return merge(walk.fresh(limit), *streams, key=_by_start)

    def hosts(self, sessions: Iterable[bytes]) -> dict[bytes, str]:
        """Return the hosts of sessions."""
        hosts = self.ask("hosts", ids=analytics.array(sessions))
        return {session: host for session, host in hosts if isinstance(host, str)}

    def error_classes(self, sessions: Iterable[bytes]) -> dict[bytes, list[str]]:
        """Return the classes of errors in sessions."""
        classes: dict[bytes, list[str]] = {}
        for session, name in self.ask("error_classes", ids=analytics.array(sessions)):
            classes.setdefault(session, []).append(name)
        return classes

    def close(self) -> None:
        """Close the files."""
        for opened in (self._reader, self._index):
            if opened is not None:
                opened.close()


class _Walk:
    """The filtered list of one project's sessions."""

    def __init__(self, project: Project, chosen: Filters) -> None:
        self.project = project
        self.filters = chosen
        self.states = filters.states(chosen)
        clauses = filters.clauses(chosen)
        self.facets = [clause for clause in clauses if clause.dim in _STORED_DIMS]
        self.names = [clause for clause in clauses if clause.dim == "name"]
        self.others = [clause for clause in clauses if clause.dim in ("host", "error")]
        self.scores = list(map(scores.condition, chosen.score))
        self.index = project.index() if chosen.text is not None else None

    @lazy
    def fresh_ids(self) -> list[bytes]:
        """Return the sessions with rows that are not folded yet, which `fresh` lists.

        They are read once: as another process may write or fold rows in the meantime, a second read could differ, and a
        session be listed twice or not at all.
        """
        return [session for (session,) in self.project.ask("fresh")]

    def folded(self, state: str | None, limit: tuple[int, int]) -> Iterator[Listed]:
        """Yield the sessions in the derived tables."""
        shared = {
            "facets": _json([[number, *row] for number, row in self._rows_of_facets()]),
            "scores": _json(scores.asked(self.scores)),
            "fresh": _json([session.hex() for session in self.fresh_ids]),
            "since": self.filters.since if self.filters.since is not None else -_LATEST_NS,
            "many": _PAGE,
        }
        streams = [self._pages(name, {**shared, **values}, limit) for name, values in self._cheapest_queries(state)]
        return streams[0] if len(streams) == 1 else _deduplicated(merge(*streams, key=_by_start))

    def _rows_of_facets(self) -> Iterator[tuple[int, list[object]]]:
        """Yield the values of facets as parameters of SQL."""
        for number, clause in enumerate(self.facets):
            for value, is_glob in clause.globs():
                yield number, [clause.dim, value, is_glob, clause.excluded]

    def _pages(self, name: str, values: dict[str, object], limit: tuple[int, int]) -> Iterator[Listed]:
        """Yield the sessions of a query that pass the filters, page by page."""
        while page := self.project.ask(name, before_ns=limit[0], before_key=limit[1], **values):
            candidates = self._candidates(page)
            if self.others:
                some = [session for session, *_ in page] if candidates is None else list(candidates)
                candidates = self._with_others(some)
            passing = (
                listed
                for row in page
                if candidates is None or Listed(self.project, *row).session in candidates
                if (listed := self._line_if_passing(row)) is not None
            )
            yield from self._with_text(passing)
            last = Listed(self.project, *page[-1])
            limit = (last.first_ns, last.key)

    def _cheapest_queries(self, state: str | None) -> list[tuple[str, dict[str, object]]]:
        """Return the queries for the rarest filter, which read the fewest sessions, and their values."""
        if (ids := self._few_with_text()) is not None:
            return [("sessions_by_id", {"ids": _json([id.hex() for id in ids]), "state": state})]
        ways = [self._queries_of(clause, state) for clause in self.facets if clause.is_exact and not clause.excluded]
        has_facet = bool(ways)
        if state is not None:
            ways.append(
                (self._count("how_many_in_state", state=state), [("sessions_by_state", {"state": state})]),
            )
        ways += [
            (
                self._count("how_many_scored", score=one.name),
                [("sessions_by_score", {"score": one.name, "state": state})],
            )
            for one in self.scores
        ]
        # If no filter is rare, read in the order of the list, in which pages need not be sorted.
        if not ways or (not has_facet and state is None and min(many for many, _ in ways) >= _COUNTED):
            return [("sessions_by_start", {})]
        # All filters are checked for each session in any case, so the shortest list is the fastest.
        return min(ways, key=lambda way: way[0])[1]

    def _queries_of(self, clause: filters.Clause, state: str | None) -> tuple[int, list[tuple[str, dict[str, object]]]]:
        """Return how many sessions have one of the values, counted up to a limit, and the queries of these values."""
        each = [{"dim": clause.dim, "value": value} for value in clause.values]
        many = sum(self._count("how_many", **one) for one in each)
        queries = ["sessions_by_facet"]
        if clause.dim == "model":
            # A call that never ended is in no facet, so it needs a query of its own.
            queries.append("sessions_by_open_call")
        return many, [(query, {**one, "state": state}) for one in each for query in queries]

    def _few_with_text(self) -> list[bytes] | None:
        if self.index is None or self.filters.text is None:
            return None
        # The words may be in different rows: `_with_text` checks the sessions that are listed.
        candidates, _ = self.index.candidates(self.filters.text, most=_COUNTED)
        return None if candidates is None else list(dict.fromkeys(candidates))

    def _candidates(self, page: list[tuple[Any, ...]]) -> set[bytes] | None:
        """Return the sessions of a page that may have the text; None if each has to be checked."""
        if self.index is None or self.filters.text is None:
            return None
        return self.index.among([session for session, *_ in page], self.filters.text)

    def _has_text(self, session: bytes) -> bool:
        return self.index is None or self.filters.text is None or self.index.has(session, self.filters.text)

    def _with_text(self, passing: Iterator[Listed]) -> Iterator[Listed]:
        """Yield the lines of sessions that have the text."""
        if self.index is None or self.filters.text is None:
            yield from passing
            return
        # Few at first: the caller may need no more.
        many = _CHECKED
        while some := list(islice(passing, many)):
            each = self.index.each([listed.session for listed in some], self.filters.text)
            yield from (listed for listed, has_words in zip(some, each, strict=True) if has_words)
            many *= 4

    def _count(self, name: str, **values: object) -> int:
        return int(self.project.ask(name, most=_COUNTED, **values)[0][0])

    def _line_if_passing(self, row: tuple[Any, ...]) -> Listed | None:
        """Return a line of the list; None if state, name or figures of the session do not pass the filters."""
        listed = Listed(self.project, *row)
        if listed.state == "open":
            listed = listed._replace(state=self.project.standing(listed.session).state)
        fits = (
            (self.states is None or listed.state in self.states)
            and all(clause.passes([listed.name] if listed.name else []) for clause in self.names)
            and self._is_within(listed)
        )
        return listed if fits else None

    def _is_within(self, listed: Listed) -> bool:
        chosen = self.filters
        return (
            (not chosen.errors or listed.errors > 0)
            and (chosen.min_cost is None or listed.cost >= chosen.min_cost)
            and (chosen.max_cost is None or listed.cost <= chosen.max_cost)
            and (chosen.min_took is None or self._duration_ns(listed) >= chosen.min_took)
            and (chosen.max_took is None or self._duration_ns(listed) <= chosen.max_took)
        )

    def _with_others(self, sessions: list[bytes]) -> set[bytes]:
        """Return which of these sessions pass the filters by host and by class of error."""
        wanted = {clause.dim for clause in self.others}
        hosts = self.project.hosts(sessions) if "host" in wanted else {}
        classes = self.project.error_classes(sessions) if "error" in wanted else {}

        def having(session: bytes, dim: str) -> list[str]:
            if dim == "error":
                return classes.get(session, [])
            return [hosts[session]] if session in hosts else []

        return {
            session for session in sessions if all(clause.passes(having(session, clause.dim)) for clause in self.others)
        }

    def _duration_ns(self, listed: Listed) -> int:
        return analytics.until_ns(listed.last_ns, running=listed.state == "Running") - listed.first_ns

    def fresh(self, limit: tuple[int, int]) -> Iterator[Listed]:
        """Yield the sessions of `fresh_ids`: usually none, and never many."""
        listed_sessions = map(self.one, self.fresh_ids)
        passing = [listed for listed in listed_sessions if listed is not None and self._passes(listed, limit)]
        return iter(sorted(passing, key=_by_start))

    def one(self, session: bytes) -> Listed | None:
        """Return a session's line of the list, from its rows, folded or not; None if it does not pass."""
        seen = self.project.snapshot(session)
        figures = seen.totals
        row = (session, _FRESH_KEY, figures.first_ns, figures.last_ns, seen.story.name, seen.standing.state)
        return self._line_if_passing((*row, *(getattr(figures, figure) for figure in rows.TOTALS[1:])))

    def _passes(self, listed: Listed, limit: tuple[int, int]) -> bool:
        since = self.filters.since
        return (
            (listed.first_ns, listed.key) < limit
            and (since is None or listed.first_ns >= since)
            and all(clause.passes(self._values(listed.session, clause.dim)) for clause in self.facets)
            and (not self.others or bool(self._with_others([listed.session])))
            and self._is_scored(listed.session)
            and self._has_text(listed.session)
        )

    def _is_scored(self, session: bytes) -> bool:
        if not self.scores:
            return True
        given = given_scores.of_session(self.project.reader, session)
        return all(given_scores.match(given, wanted) for wanted in self.scores)

    def _values(self, session: bytes, dim: str) -> set[str]:
        values = {part.value for part in analytics.parts(self.project.reader, session, dim)}
        return values | set(self.project.tags(session)) if dim == "tag" else values


_WHERE_LISTED = {
    "session": "`localops sessions` lists what there is",
    "event": "`localops show ID --events` lists those of a session, `localops search` finds some by their words",
}


def id_range(ident: str, what: str = "session") -> tuple[bytes, bytes]:
    """Return the first and the last possible id that begin with `ident`; raise NotFound for an invalid one."""
    text = ident.strip().replace("-", "").lower()
    if not _LEAST <= len(text) <= 32 or not set(text) <= set("0123456789abcdef"):
        last = ", and not `last`" if what == "session" else ""
        raise NotFound(
            f"{ident!r} is not the beginning of an id ({_LEAST} hex digits at least){last}: {_WHERE_LISTED[what]}"
        )
    return bytes.fromhex(text.ljust(32, "0")), bytes.fromhex(text.ljust(32, "f"))


def _index_of_only(ident: str, what: str, matches: list[tuple[str, bytes]]) -> int:
    """Return 0, the index of the only match; raise NotFound or Ambiguous otherwise."""
    if not matches:
        raise NotFound(f"no {what} begins with {ident!r}: {_WHERE_LISTED[what]}")
    if len(matches) > 1:
        names = few([f"{rows.id_text(id)} in {project}" for project, id in matches])
        raise Ambiguous(f"more than one {what} begins with {ident!r}: {names}; give more of the id, or --project")
    return 0


def few(names: list[str]) -> str:
    """Return the first of many matches as a text, with how many more there are."""
    rest = len(names) - _FEW
    more = "many" if len(names) >= _MANY else str(rest)
    return ", ".join(names[:_FEW]) + (f" and {more} more" if rest > 0 else "")


def _by_start(listed: Listed) -> tuple[int, int, int]:
    return -listed.first_ns, listed.project.rank, -listed.key


def _deduplicated(listed_sessions: Iterable[Listed]) -> Iterator[Listed]:
    """Yield each session once; repeated ones are adjacent."""
    last = None
    for listed in listed_sessions:
        if last is None or listed.session != last.session:
            yield listed
        last = listed


def _stored_states(states: Collection[str] | None, waiting: int) -> list[str | None]:
    """Return the states as the journal stores them; `open` means running, dead, or with its end in a spill file."""
    if states is None:
        return [None]
    stored: list[str | None] = [state for state in states if state not in ("Running", "Unknown")]
    if states and (waiting or len(stored) < len(states) or "Indeterminate" in states):
        stored.append("open")
    return stored


def _json(values: list[Any]) -> str:
    # Importing orjson takes longer than the rest of `localops analytics last`.
    if not values:
        return "[]"
    from localops.encoding import encode

    return encode.dumps(values).decode()


def _is_due(folder: str, reader: Reader | None) -> bool:
    """Return whether there is something to tidy, for which the journal must be opened for writing."""
    if not os.access(folder if os.path.isdir(folder) else os.path.dirname(folder), os.W_OK):
        return False
    if reader is not None and _is_elsewhere(reader):
        return False
    if spill.waiting(folder) or blobs.waiting(folder) or os.path.isdir(os.path.join(folder, "parts")):
        return True
    if reader is None:
        return False
    if reader.is_of_older_schema or reader.ask(statements("lists.sql")["behind"])[0][0]:
        return True
    open_sessions = reader.all("open_sessions", many=_FEW_OPEN + 1)
    return len(open_sessions) <= _FEW_OPEN and any(
        session_state.standing(reader, folder, session).derived for (session,) in open_sessions
    )


def _is_elsewhere(reader: Reader) -> bool:
    """Return whether the journal was copied or moved here: opening it for writing would give it a new id."""
    places = reader.ask("select value from meta where key = 'place'")
    return bool(places) and places[0][0] != host.place_of(reader.path)


def _tidy(folder: str) -> None:
    """Collect waiting rows, write the ends of dead sessions, fold."""
    from localops.journal.journal import Journal

    try:
        journal = Journal(folder, wait=1.0, gather=True)
        try:
            journal.collect()
            # An end may be among rows that still wait.
            if not spill.waiting(folder):
                session_state.derive(journal)
            journal.fold()
        finally:
            journal.close()
    # The edge: a full disk, a lock or a newer journal must not prevent reading.
    except Exception:
        pass
