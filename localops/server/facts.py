"""What the journal knows, as the JSON that goes out: the same names as `localops … --json` has."""

from __future__ import annotations

import uuid

from localops import analytics, output, rows
from localops.events import iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.analytics import Later, Line, Part, Report, Totals
    from localops.ends import Standing
    from localops.home import Listed, Project

Facts = dict[str, object]


def full_id(id: bytes) -> str:
    """An id as users give and get it."""
    return str(uuid.UUID(bytes=id))


def money(nano: int | None) -> Facts:
    """A cost: dollars to read, nano-dollars to count with."""
    return {"cost_usd": None if nano is None else nano / 1e9, "cost_nano": nano}


def listed(one: Listed) -> Facts:
    """A session in a list."""
    return {
        "session_id": full_id(one.session),
        "project": one.project.name,
        "name": one.name,
        "state": one.state,
        "began": iso(one.first_ns),
        "last": iso(one.last_ns),
        "seconds": (one.last_ns - one.first_ns) / 1e9,
        "events": one.events,
        "actions": one.actions,
        "llm_calls": one.llms,
        "tool_calls": one.tools,
        "errors": one.errors,
        "failed": one.failed,
        "tokens_in": one.tokens_in,
        "tokens_out": one.tokens_out,
        **money(one.cost),
        "unpriced": one.unpriced,
        "tags": one.project.tags(one.session),
    }


def totals(found: Totals) -> Facts:
    """Figures."""
    return {
        "events": found.events,
        "actions": found.actions,
        "llm_calls": found.llms,
        "tool_calls": found.tools,
        "errors": found.errors,
        "failed": found.failed,
        "error_rate": analytics.error_rate(found),
        "tokens_in": found.tokens_in,
        "tokens_out": found.tokens_out,
        "tokens_cached": found.tokens_cached,
        "tokens_reasoning": found.tokens_reasoning,
        **money(found.cost),
        "unpriced": found.unpriced,
    }


def session(project: Project, id: bytes, stands: Standing, found: Report) -> Facts:
    """A session: how it stands, and all its figures."""
    return {
        "session_id": full_id(id),
        "project": project.name,
        "name": project.name_of(id),
        "state": stands.state,
        "reason": stands.reason,
        "began": iso(found.totals.first_ns),
        "last": iso(found.totals.last_ns),
        "ended": None if stands.ended_ns is None else iso(stands.ended_ns),
        "seconds": (found.totals.last_ns - found.totals.first_ns) / 1e9,
        "tags": project.tags(id),
        "analytics": found.contract,
        **totals(found.totals),
        "unfinished": found.unfinished,
        "late": found.late,
        "spilled": found.spilled,
        "dropped": found.dropped,
        "cut": found.cut,
        **{f"by_{dim}": [part(dim, one) for one in parts] for dim, parts in found.by.items()},
        "percentiles": _percentiles(found),
    }


def _percentiles(found: Report) -> dict[str, dict[str, float]] | None:
    if found.took is None:
        return None
    names = [f"p{share:.0%}".rstrip("%") for share in analytics.SHARES]
    return {
        kind: dict(zip(names, (value / 1e9 for value in values), strict=True)) for kind, values in found.took.items()
    }


def part(dim: str, one: Part | Line) -> Facts:
    """The figures of a part of a session, or of many."""
    facts = one._asdict()
    value = facts.pop("value")
    return {
        dim: full_id(value) if isinstance(value, bytes) else value,
        **{name: value for name, value in facts.items() if name not in ("cost", "took_ns")},
        **money(one.cost),
        "seconds": one.took_ns / 1e9,
    }


def stats(id: bytes, found: Totals, state: str) -> Facts:
    """AgentOps' six figures under its names and types, then what its documents promise beside them."""
    return {
        "session_id": full_id(id),
        "cost": None if found.unpriced and not found.cost else found.cost / 1e9,
        "events": found.events,
        "prompt_tokens": found.tokens_in,
        "completion_tokens": found.tokens_out,
        "errors": found.errors,
        "llms": found.llms,
        "tools": found.tools,
        "actions": found.actions,
        "duration": output.duration(found.last_ns - found.first_ns),
        "end_state": state,
        "cost_nano": found.cost,
        "unpriced": found.unpriced,
    }


_STORED = ("seq", *rows.COLUMNS)


def event(row: Sequence[Any], opened: Sequence[Any] | None, later: Later | None) -> Facts:
    """An event from the row it ended (or began) with, the one it began with, and what came later."""
    found = analytics.plain(_by_name(row), None if opened is None else _by_name(opened), later)
    cost = found.pop("cost")
    return {**found, **money(cost)}


def _by_name(row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(_STORED, row, strict=True))
