"""Find which lines of a table are lower bounds, as calls never ended, or sessions were cut off or lack rows."""

from __future__ import annotations

from collections import namedtuple

from localops import output
from localops.encoding import facets
from localops.reading import analytics, session_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any, NamedTuple

    from localops.reading.analytics import Chosen, Unfinished
    from localops.reading.home import Project

    class Bounds(NamedTuple):
        """The values of the lines whose cost, and of those whose time, is a lower bound."""

        cost: Collection[Any]
        time: Collection[Any]

else:
    Bounds = namedtuple("Bounds", "cost time")


def across(projects: Iterable[Project], by: str, chosen: Chosen, *, tz: str | None = None) -> Bounds:
    """Return which lines of `analytics.across` are lower bounds, apart from those with unpriced calls."""
    cost: set[Any] = set()
    time: set[Any] = set()
    for project in projects:
        begun = project.never_ended(chosen)
        calls = [one for one in begun if one.kind == "llm"]
        lacking = analytics.chosen_by(project.reader, "lacking", chosen)
        if by in _OF_CALLS:
            cost.update(_values(project, by, calls))
            cost.update(_costs_of(project, by, lacking))
            time.update(_values(project, by, begun))
        else:
            cost.update(_lines(project, by, {one.session: one.first_ns for one in calls} | lacking, tz))
            time.update(_lines(project, by, dict(cut_off(project, chosen)), tz))
    return Bounds(cost, time)


def of_one(project: Project, session: bytes, by: str) -> Bounds:
    """Return the same for the lines of one session."""
    seen = project.snapshot(session)
    if by in _OF_CALLS:
        begun = [one for one in project.never_ended(analytics.Chosen()) if one.session == session]
        calls = [one for one in begun if one.kind == "llm"]
        lacking = [session] if seen.story.lacks_rows else []
        cost = {*_values(project, by, calls), *_costs_of(project, by, lacking)}
        return Bounds(cost, set(_values(project, by, begun)))
    own = set(_of_facet(by, seen.story.tags))
    return Bounds(own if seen.open_calls or seen.story.lacks_rows else (), own if seen.is_cut_off else ())


def cut_off(project: Project, chosen: Chosen) -> Iterator[tuple[bytes, int]]:
    """Yield the chosen sessions that may have continued after their last row, and when they began."""
    for session, first_ns in analytics.chosen_by(project.reader, "died", chosen).items():
        # Its end may be in a spill file.
        if not project.waiting or project.snapshot(session).is_cut_off:
            yield session, first_ns
    unknown = session_state.is_of_hub(project.folder) and not project.ask("behind")[0][0]
    for session, first_ns in analytics.chosen_by(project.reader, "undecided", chosen).items():
        if unknown or project.snapshot(session).is_cut_off:
            yield session, first_ns


# In tables by these, time is that of calls; in others, that of sessions.
_OF_CALLS = ("model", "tool", "agent", "kind")


def _values(project: Project, by: str, begun: list[Unfinished]) -> Iterable[str]:
    """Return the values of the lines that operations belong to."""
    if by == "kind":
        return (one.kind for one in begun)
    if by == "agent":
        ids = {one.agent for one in begun if one.agent and one.kind in ("llm", "tool")}
        return analytics.agent_names(project.reader, sorted(ids)).values()
    named = ((one.model if one.kind == "llm" else None) if by == "model" else one.tool for one in begun)
    return (value for value in named if value is not None)


def _costs_of(project: Project, by: str, sessions: Collection[bytes]) -> Iterable[str]:
    """Return the values of the lines with costs of sessions: calls of each may be among the rows that are missing."""
    if not sessions:
        return ()
    lines = analytics.across(project.reader, by, analytics.Chosen(sessions=analytics.array(sessions)))
    return (line.value for line in lines if line.cost or by in ("model", "agent") or line.value == "llm")


def _lines(project: Project, by: str, began: dict[bytes, int], tz: str | None) -> Iterable[Any]:
    """Return the values of the lines that sessions belong to."""
    if not began or by == "session":
        return began
    if by == "day":
        return (output.when(first_ns, tz)[:10] for first_ns in began.values())
    tags = analytics.query_report(project.reader, "whole_tags", analytics.Chosen(), ids=analytics.array(began))
    return _of_facet(by, (tag for _, tag in tags))


def _of_facet(by: str, tags: Iterable[str]) -> Iterable[str]:
    begin = facets.prefix(by) or ""
    return (tag.removeprefix(begin) for tag in tags if tag.startswith(begin))
