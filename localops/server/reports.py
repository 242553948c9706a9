"""Figures across the sessions that pass filters, and their export, for the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import ExitStack, contextmanager
from itertools import chain
from operator import add

from localops import dialects
from localops.reading import (
    analytics,
    call_query,
    call_speeds,
    facts,
    given_scores,
    group_diff,
    lower_bounds,
    runs_table,
)
from localops.reading.call_query import Source
from localops.reading.filters import Filters
from localops.reading.group_diff import Group
from localops.server import charts, compare, session_facets
from localops.server.known_speeds import KnownSpeeds
from localops.server.request import TooMany

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, BinaryIO

    from localops.reading.analytics import Chosen, Line
    from localops.reading.call_speeds import Speeds
    from localops.reading.call_table import CallTable
    from localops.reading.facts import Facts
    from localops.reading.given_scores import Counted
    from localops.reading.home import Home, Project
    from localops.server.session_index import SessionIndex

# Columns of the session index by names of figures, where these differ.
_COLUMNS = {"cost_usd": "cost", "llm_calls": "llms", "tool_calls": "tools"}
# The most events that a comparison of several sessions reads, of all of them.
_MOST_STEPS = 30_000
# Seconds of CPU time to search the sessions that pass filters for a text: for figures beside a list, and for others.
_SOON_SECONDS, _SEARCH_SECONDS = 0.5, 10.0


class Reports(ABC):
    """Reads of many sessions; a subclass opens the home and keeps the session indexes."""

    def __init__(self) -> None:
        self._known_speeds = KnownSpeeds()

    @abstractmethod
    def _home(self, project: str | None) -> AbstractContextManager[Home]:
        """Yield the home, or one project of it, to one thread at a time."""

    @abstractmethod
    def _following(self, project: Project) -> AbstractContextManager[SessionIndex]:
        """Lock, update and yield the session index of a project."""

    @abstractmethod
    def _table_of(self, project: Project) -> AbstractContextManager[tuple[CallTable, int]]:
        """Lock and yield the table of a project's calls, and how many rows are not in it yet."""

    def summary(self, project: str | None, filters: Filters, previous: Filters | None) -> Facts:
        """Return the figures of the sessions that pass filters together, and those of the period before."""
        with self._home(project) as home:
            return {
                "now": self._summed(home, filters),
                "before": None if previous is None else self._summed(home, previous),
            }

    def _summed(self, home: Home, filters: Filters) -> Facts:
        total, states, exact = analytics.NOTHING, Counter[str](), True
        named = session_facets.named(home, filters.text)
        for each in home.projects:
            id = None if named is None else named.listed.session
            with self._passing(each, filters, id, seconds=_SOON_SECONDS) as (index, rows, is_exact):
                exact = exact and is_exact
                states.update(index.states(each, rows))
                total = analytics.Totals(*map(add, total, charts.sums(index, rows)))
        return {"sessions": total.rows, **facts.success(states), "exact": exact, **facts.totals(total)}

    def daily(self, project: str | None, chosen: Chosen, tz: str | None) -> Facts:
        """Return figures by the day on which sessions started."""
        days = charts.Days(tz)
        with self._home(project) as home:
            for each in home.projects:
                with self._passing(each, _filters_of(chosen)) as (index, rows, _):
                    days.add(index, each, rows)
                days.add_models(each.reader, self._in_project(each, chosen))
        return days.facts()

    def averages(self, project: str | None, chosen: Chosen) -> Facts:
        """Return the averages of scores across sessions."""
        with self._home(project) as home:
            given = chain.from_iterable(
                given_scores.counted(each.reader, self._in_project(each, chosen)) for each in home.projects
            )
            return {"lines": [given_scores.average_facts(line) for line in given_scores.averages(given)]}

    def distributions(self, project: str | None, chosen: Chosen) -> Facts:
        """Return histograms of the duration and the cost of sessions."""
        took: list[int] = []
        cost: list[int] = []
        unpriced = 0
        with self._home(project) as home:
            for each in home.projects:
                with self._passing(each, _filters_of(chosen)) as (index, rows, _):
                    took += index.values("seconds", rows)
                    priced = charts.priced(*(index.values(name, rows) for name in charts.OF_COST))
                    cost += priced
                    unpriced += len(rows) - len(priced)
        return charts.distributions(took, cost, unpriced)

    def analytics(self, project: str | None, by: str | None, chosen: Chosen, *, limit: int) -> Facts:
        """Return figures across sessions."""
        with self._home(project) as home:
            if by is None:
                total, states = analytics.NOTHING, Counter[str]()
                for each in home.projects:
                    with self._passing(each, _filters_of(chosen)) as (index, rows, _):
                        total = analytics.Totals(*map(add, total, charts.sums(index, rows)))
                        states.update(index.states(each, rows))
                mine = [(each, self._in_project(each, chosen)) for each in home.projects]
                at_least = any(each.has_open_calls(of_it) or each.lacking(of_it) for each, of_it in mine)
                return {
                    "sessions": total.rows,
                    **facts.success(states),
                    **facts.totals(total, at_least=at_least),
                }
            lines: list[Line] = []
            cost: set[Any] = set()
            time: set[Any] = set()
            for each in home.projects:
                own = self._in_project(each, chosen)
                lines += analytics.across(each.reader, by, own, running=each.running())
                of_lower_bounds = lower_bounds.across([each], by, own)
                cost.update(of_lower_bounds.cost)
                time.update(of_lower_bounds.time)
            merged = analytics.together(by, lines)
            bounds = lower_bounds.Bounds(cost, time)
            table: Facts = {"by": by, "count": len(merged)}
            listed = [facts.line(by, line, bounds) for line in merged[:limit]]
            if by not in call_speeds.BY:
                return {**table, "lines": listed}
            speeds, unread = self._speeds(home, chosen)
            lines_of_calls = [{**facts_of_line, **speeds.facts(by, facts_of_line[by])} for facts_of_line in listed]
            return {**table, "lines": lines_of_calls, "unread": unread}

    def speeds(self, project: str | None, chosen: Chosen) -> Facts:
        """Return how fast the LLM calls and the tool calls of sessions were."""
        with self._home(project) as home:
            speeds, unread = self._speeds(home, chosen)
            return {**{kind: speeds.facts("kind", kind) for kind in call_query.KINDS}, "unread": unread}

    def _speeds(self, home: Home, chosen: Chosen) -> tuple[Speeds, int]:
        """Return how fast calls were, and how many rows are not read yet."""
        missing = 0
        with ExitStack() as tables:
            sources = []
            for each in home.projects:
                table, unread = tables.enter_context(self._table_of(each))
                missing += unread
                sessions = None
                if chosen != analytics.Chosen():
                    with self._passing(each, _filters_of(chosen)) as (index, rows, _):
                        sessions = index.ids(rows)
                sources.append(Source(each, table, sessions, lambda _: False))
            # The tables are locked, so of requests that come together only the first reads them.
            return self._known_speeds.of(sources), missing

    def compare_groups(self, a: tuple[str | None, Filters], b: tuple[str | None, Filters]) -> Facts:
        """Compare two groups of sessions, each of a project, or of all, and filters."""
        return group_diff.facts(self._group(*a), self._group(*b))

    def compare_runs(self, project: str | None, sessions: Sequence[bytes]) -> Facts | None:
        """Compare several sessions in one table; None if one does not exist."""
        heads, runs = [], []
        most = min(compare.MOST, _MOST_STEPS // len(sessions))
        with self._home(project) as home:
            for session in sessions:
                both = ((each, each.snapshot(session)) for each in home.projects)
                where, seen = next(((each, seen) for each, seen in both if seen.totals.rows), (None, None))
                if where is None or seen is None:
                    return None
                heads.append(facts.session(where.name, seen, seen.report()))
                runs.append(runs_table.Run.read(where.reader, session, seen.standing.state, most))
            return {"sessions": heads, **runs_table.table_facts(runs_table.RunsTable(runs))}

    def _group(self, project: str | None, filters: Filters) -> Group:
        group = Group()
        given: list[Counted] = []
        chosen = analytics.Chosen(filters=filters)
        with self._home(project) as home:
            for each in home.projects:
                with self._passing(each, filters) as (index, rows, _):
                    columns = {name: index.values(_COLUMNS.get(name, name), rows) for name in group_diff.FIGURES}
                    group.add(columns, index.states(each, rows), index.values("unpriced", rows))
                given += given_scores.counted(each.reader, self._in_project(each, chosen))
        group.scores = given_scores.averages(given)
        return group

    def write_all(
        self, project: str | None, filters: Filters, form: str, file: BinaryIO, *, most: int, table: str | None = None
    ) -> str:
        """Write the sessions that pass filters to a file, newest first, and return its name without an ending."""
        chosen: list[tuple[int, Project, bytes]] = []
        events = 0
        with self._home(project) as home:
            one = session_facets.named(home, filters.text)
            for each in home.projects:
                with self._passing(each, filters, None if one is None else one.listed.session) as (index, matches, _):
                    events += sum(index.values("events", matches))
                    began = index.values("began", matches)
                    chosen += [(at, each, id) for at, id in zip(began, index.ids(matches), strict=True)]
            if events > most and table != "sessions":
                raise TooMany(f"these sessions have {events} events, and at most {most} are exported: filter more")
            chosen.sort(key=lambda one: one[0], reverse=True)
            from localops.reading import export

            runs = (export.Run(where.name, where.folder, where.reader, id) for _, where, id in chosen)
            dialects.write(form, runs, file, table=table)
        return dialects.SEVERAL

    @contextmanager
    def _passing(
        self, project: Project, filters: Filters, session: bytes | None = None, *, seconds: float | None = None
    ) -> Iterator[tuple[SessionIndex, Sequence[int], bool]]:
        """Yield the session index of a project, locked, the rows that pass filters, and whether these are exact.

        They are inexact only with `seconds`, if it takes longer to search the sessions for a text; without, that is
        TooMany.  They are searched without the lock.
        """
        with self._following(project) as index:
            rows, check = index.matches(project, filters, session)
            if not check:
                yield index, rows, True
                return
            candidates = index.ids(rows)
        limit = _SEARCH_SECONDS if seconds is None else seconds
        matches, exact = session_facets.with_text(project, filters.text or "", candidates, limit)
        if not exact and seconds is None:
            raise TooMany(f"these words are in {len(candidates)} sessions or less: add filters, or search for one word")
        with self._following(project) as index:
            yield index, index.rows_of(matches), exact

    def _in_project(self, project: Project, chosen: Chosen) -> Chosen:
        """Return the choice of a project's sessions, as report.sql knows it."""
        if chosen.filters is None:
            return chosen
        with self._passing(project, chosen.filters) as (index, rows, _):
            matches = index.ids(rows)
        return analytics.Chosen(sessions=analytics.array(matches))


def _filters_of(chosen: Chosen) -> Filters:
    """Return a choice of sessions as the filters of a list."""
    if chosen.filters is not None:
        return chosen.filters
    everything = analytics.Chosen()
    since = None if chosen.since == everything.since else chosen.since
    until = None if chosen.until == everything.until else chosen.until
    return Filters(tag=chosen.tag, since=since, until=until)
