"""The JSON of a session, its totals, a part and an event, in commands, pages and exports.

Only the common keys are here; callers add their own.
"""

from __future__ import annotations

from localops import output
from localops.clock import iso
from localops.journal import rows
from localops.reading import analytics, given_scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localops.journal.stored import Stored
    from localops.reading.analytics import Later, Line, Part, Report, Totals
    from localops.reading.home import Listed
    from localops.reading.lower_bounds import Bounds
    from localops.reading.snapshot import Budget, Snapshot

    Facts = dict[str, Any]

full_id = rows.id_text


# Found in a traceback with more than one exception.
_OF_SEVERAL = ("\nThe above exception was", "\nDuring handling of the above", "Exception Group Traceback")


def cost(nano: int, *, at_least: bool) -> Facts:
    """Return the total cost of calls, and whether it is a lower bound, as a call has no price or never ended."""
    return {**money(nano), "cost_at_least": at_least}


def money(nano: int | None) -> Facts:
    """Return a cost, in dollars for reading and in nano-dollars for calculating."""
    return {"cost_usd": dollars(nano), "cost_nano": nano}


def dollars(nano: int | None) -> float | None:
    """Return nano-dollars as US dollars."""
    return None if nano is None else nano / 1e9


def span(first_ns: int, last_ns: int, until_ns: int, **between: object) -> Facts:
    """Return the times of a session's first and last row, and the seconds until it ended, or until now."""
    return {"began": iso(first_ns), "last": iso(last_ns), **between, "seconds": (until_ns - first_ns) / 1e9}


def listed(one: Listed) -> Facts:
    """Return a session in a list."""
    return {
        "session_id": full_id(one.session),
        "project": one.project.name,
        "name": one.name,
        "state": one.state,
        **span(one.first_ns, one.last_ns, until_ns(one)),
        "at_least": one.project.is_cut_off(one),
        **_counts(one),
        "failed": one.failed,
        **{name: getattr(one, name) for name in rows.TOKENS},
        **cost(one.cost, at_least=one.project.cost_at_least(one)),
        "unpriced": one.unpriced,
        "tags": one.project.tags(one.session),
        "scores": [given_scores.facts(each) for each in one.project.scores(one.session)],
    }


def _counts(figures: Listed | Totals) -> Facts:
    return {
        "events": figures.events,
        "actions": figures.actions,
        "llm_calls": figures.llms,
        "tool_calls": figures.tools,
        "errors": figures.errors,
    }


def totals(figures: Totals, *, at_least: bool = False) -> Facts:
    """Return totals of one or many sessions; `at_least`: some of their calls never ended, or are lost."""
    return {
        **_counts(figures),
        "failed": figures.failed,
        "error_rate": analytics.error_rate(figures),
        **{name: getattr(figures, name) for name in rows.TOKENS},
        **cost(figures.cost, at_least=figures.unpriced > 0 or at_least),
        "unpriced": figures.unpriced,
    }


def success(states: Mapping[str, int]) -> Facts:
    """Return how many sessions are in each state, and the share of Success among those with Success or Failure.

    >>> success({"Success": 3, "Failure": 1, "Running": 2})["success_rate"]
    0.75
    """
    good, bad = states.get("Success", 0), states.get("Failure", 0)
    return {"states": dict(sorted(states.items())), "success_rate": good / (good + bad) if good + bad else None}


def neither(states: Mapping[str, int]) -> str:
    """Return how many sessions are over that ended neither as Success nor as Failure, in words."""
    undecided, unknown = states.get("Indeterminate", 0), states.get("Unknown", 0)
    which = "Indeterminate or Unknown" if unknown else "Indeterminate"
    return f"{output.count(undecided + unknown)} {which}" if undecided or unknown else ""


def session(project: str, seen: Snapshot, report: Report) -> Facts:
    """Return a session: its state and all its figures."""
    figures, ended_ns = seen.totals, seen.standing.ended_ns
    ended = None if ended_ns is None else iso(ended_ns)
    return {
        "session_id": full_id(seen.id),
        "project": project,
        "name": seen.story.name,
        "state": seen.standing.state,
        "reason": seen.standing.reason,
        "cause": cause_of(seen.standing.reason),
        **span(figures.first_ns, figures.last_ns, seen.until_ns, ended=ended),
        "at_least": seen.is_cut_off,  # it may have lasted longer than its rows show
        "missing_rows": seen.missing_rows,
        "tags": seen.story.tags,
        "metadata_only": seen.story.metadata_only,
        "budget": budget(seen),
        "analytics": report.contract,
        **totals(report.totals, at_least=seen.cost_at_least),
        **beyond_totals(report),
        "running_calls": _running_calls(seen),
        **given_scores.together(seen.scores),
    }


def _running_calls(seen: Snapshot) -> dict[str, int]:
    """Count the LLM and tool calls that are under way; totals have those that ended."""
    kinds = [one.kind for one in seen.open_now] if seen.is_running else []
    return {kind: kinds.count(kind) for kind in ("llm", "tool")}


def cause_of(reason: str | None) -> str | None:
    """Return the first cause of the exception that is the reason of an end, as a line; None if it is not known."""
    if reason is None or not any(words in reason for words in _OF_SEVERAL):
        return None
    # Imported here, as it is rarely needed and its patterns take a millisecond to compile.
    from localops.reading import causes

    return causes.of_reason(reason)


def budget(seen: Snapshot) -> Facts | None:
    """Return a session's budget, and if it was reached, when and at what cost."""
    own = seen.budget
    if own is None:
        return None
    return {
        "limit_usd": own.limit_usd,
        "reached_usd": own.reached_usd,
        "reached_at": None if own.reached_ns is None else iso(own.reached_ns),
    }


def budget_text(own: Budget) -> str:
    """Return a session's budget as text, and if it was reached, at what cost."""
    limit, *reached = (output.money(round(usd * 1e9)) for usd in (own.limit_usd, own.reached_usd) if usd is not None)
    if own.reached_ns is None:
        return limit
    return f"{limit}, reached at {reached[0]}" if reached else f"{limit}, reached"


def cost_text(event: Facts) -> str:
    """Return an event's cost as text; empty if it cannot have one, or its call is still open."""
    if event.get("billed") is False:
        return "not billed"
    if event["kind"] != "llm":
        return output.money(event["cost"]) if event["cost"] else ""
    return "" if event["cost"] is None and not event["finished"] else output.money(event["cost"])


def beyond_totals(report: Report) -> Facts:
    """Return the figures of a report that are not totals."""
    return {
        "unfinished": report.unfinished,
        "late": report.late,
        "spilled": report.spilled,
        "dropped": report.dropped,
        "cut": report.cut,
        "damaged": report.damaged,
        **{
            f"by_{dim}": [
                {**part(dim, one), "cost_at_least": one.unpriced > 0 or one.value in report.lost.get(dim, ())}
                for one in parts
            ]
            for dim, parts in report.by.items()
        },
        "percentiles": _percentiles(report),
    }


def _percentiles(report: Report) -> dict[str, dict[str, float]] | None:
    if report.took is None:
        return None
    names = [f"p{share:.0%}".rstrip("%") for share in analytics.SHARES]
    return {
        kind: dict(zip(names, (value / 1e9 for value in values), strict=True)) for kind, values in report.took.items()
    }


def line(by: str, one: Line, bounds: Bounds) -> Facts:
    """Return a line of a table, and whether its seconds and its cost are lower bounds."""
    return {
        **part(by, one),
        "at_least": one.value in bounds.time,
        "cost_at_least": one.unpriced > 0 or one.value in bounds.cost,
    }


def part(dim: str, one: Part | Line) -> Facts:
    """Return the figures of a part of a session, or of many."""
    figures = one._asdict()
    value = figures.pop("value")
    return {
        dim: full_id(value) if isinstance(value, bytes) else value,
        **{name: figure for name, figure in figures.items() if name not in ("cost", "took_ns")},
        **money(one.cost),
        "seconds": one.took_ns / 1e9,
    }


def until_ns(one: Listed) -> int:
    """Return the end of the duration of a listed session: now, while it runs."""
    return analytics.until_ns(one.last_ns, running=one.state == "Running")


def stats(id: bytes, figures: Totals, state: str) -> Facts:
    """Return AgentOps' six figures with its names and types, and those that its documentation promises in addition."""
    return {
        "session_id": full_id(id),
        "cost": None if figures.unpriced and not figures.cost else figures.cost / 1e9,
        "events": figures.events,
        "prompt_tokens": figures.tokens_in,
        "completion_tokens": figures.tokens_out,
        "errors": figures.errors,
        "llms": figures.llms,
        "tools": figures.tools,
        "actions": figures.actions,
        "duration": output.duration(analytics.until_ns(figures.last_ns, running=state == "Running") - figures.first_ns),
        "end_state": state,
        "cost_nano": figures.cost,
        "unpriced": figures.unpriced,
    }


def event(row: Stored, opened: Stored | None, later: Later | None) -> Facts:
    """Return an event, from its last row, its opening row, and what later rows add."""
    plain = analytics.plain(row, opened, later)
    cost = plain.pop("cost")
    return {**plain, **money(cost)}


def dated(plain: Facts) -> Facts:
    """Return an event as commands print it: with the date when it began, and its seconds."""
    figures = dict(plain)
    start_ns, end_ns, cost = figures.pop("start_ns"), figures.pop("end_ns"), figures.pop("cost")
    return {
        **figures,
        "began": iso(start_ns),
        "seconds": None if end_ns is None else max(0, end_ns - start_ns) / 1e9,
        **money(cost),
    }
