"""The figures of one session, as `localops analytics ID` prints them."""

from __future__ import annotations

from localops import output
from localops.cli import printing
from localops.reading import analytics as figures
from localops.reading import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from localops.reading.analytics import Part, Report, Totals
    from localops.reading.home import Project
    from localops.reading.snapshot import Snapshot


def show(project: Project, id: bytes, *, percentiles: bool = False, as_json: bool = False) -> None:
    """Print the figures of a session."""
    session = project.snapshot(id)
    report = session.report(percentiles=percentiles)
    if as_json:
        printing.print_json(_facts(project.name, session, report))
    else:
        _print_report(session, report)


def _print_report(session: Snapshot, report: Report) -> None:
    printing.print_heading(session)
    totals = report.totals
    figures_shown = {**report.contract, "Cost": cost(totals, at_least=session.cost_at_least)}
    if session.budget is not None:
        figures_shown["Budget"] = facts.budget_text(session.budget)
    if session.is_cut_off:
        # Rounded as everywhere else: AgentOps' tenths of a second could exceed the bound.
        took = output.short_duration(session.until_ns - totals.first_ns)
        figures_shown["Duration"] = printing.at_least(took, session)
    # Printed below, with the models that have no price.
    figures_shown.pop("Unpriced", None)
    printing.print_pairs(list(figures_shown.items()))
    print()
    printing.print_pairs(_further(session, report, session.reported_tokens))
    for dim, parts in report.by.items():
        if parts:
            print()
            _print_parts(dim, parts, report.lost.get(dim, frozenset()))
    print()
    _print_percentiles(report)


def unpriced(many: int, *, never_ended: int | bool) -> str:
    """Return how many calls have no price, and how many of them never ended, or True if that number is unknown."""
    parts = [calls(many)] if many else []
    if never_ended is True:
        parts.append("calls that never ended")
    elif never_ended:
        parts.append(f"{calls(never_ended)} that never ended")
    return ", ".join(parts) or "none"


def _share(name: str, tokens_in: int, cached_input: tuple[int, int]) -> str:
    percent = output.cached_percent(*cached_input) if name == "tokens_cached" else ""
    of = "the input" if cached_input[1] == tokens_in else "the input of calls that report it"
    return f" ({percent} of {of})" if percent else ""


def _further(session: Snapshot, report: Report, reported: Collection[str]) -> list[tuple[str, object]]:
    """Return the figures after the first six; parts of tokens that calls reported, and counts of problems if not 0."""
    totals = report.totals
    pairs: list[tuple[str, object]] = [
        ("Tokens", f"{output.count(totals.tokens_in)} in, {output.count(totals.tokens_out)} out"),
        *(
            (f"  {output.TOKENS[name][0]}", output.count(many) + _share(name, totals.tokens_in, session.cached_input))
            for name in output.PARTS_OF_TOKENS
            if (many := getattr(totals, name)) or name in reported
        ),
        ("Failed", failures(totals)),
        ("Unpriced", unpriced(totals.unpriced, never_ended=session.open_calls)),
    ]
    notes = {
        "Unfinished": report.unfinished,
        "Late": report.late,
        "Spilled": report.spilled,
        "Dropped": report.dropped,
        "May be lost": report.damaged,
        "Cut values": report.cut,
    }
    return pairs + [(name, output.count(value)) for name, value in notes.items() if value]


def failures(totals: Totals) -> str:
    """Return how many calls and operations failed, which errors are not, and their share of all events."""
    rate = figures.error_rate(totals)
    if rate is None:
        return "–"
    failed = output.counted(totals.failed, "call or operation", "calls and operations")
    return f"{failed} ({output.percent(rate)} of {output.counted(totals.events, 'event')})"


def calls(many: int) -> str:
    """Return a number of calls in words."""
    return output.counted(many, "call")


def _print_parts(dim: str, parts: list[Part], lost: frozenset[str]) -> None:
    if dim == "tool":
        rows = [_timed(part, output.count(part.events), output.count(part.failed)) for part in parts]
        printing.print_table(rows, ("tool", "calls", "failed", "time", "mean"), align="lrrrr", soft=("tool",))
        return
    named = [(part.value, part) for part in parts] if dim != "agent" else _by_name(parts)
    rows = [
        _timed(
            part,
            output.count(part.events),
            output.count(part.failed),
            output.count(part.tokens_in),
            output.count(part.tokens_out),
            output.money_of(
                part.cost, part.unpriced, part.events if dim == "model" else part.unpriced, at_least=name in lost
            ),
        )
        for name, part in named
    ]
    headers = [dim, "events" if dim == "agent" else "calls", "failed", "tokens in", "out", "cost", "time", "mean"]
    # No mean for an agent: its time is that of its LLM and tool calls, but it has other events, too.
    if dim == "agent":
        rows, headers = [row[:-1] for row in rows], headers[:-1]
    printing.print_table(rows, headers, align="lrrrrrrr", soft=(dim,), spare=("mean", "time", "failed"))


def _by_name(agents: list[Part]) -> list[tuple[str, Part]]:
    """Add up agents of the same name, and show their number in it; return each with the bare name."""
    named: dict[str, list[Part]] = {}
    for agent in agents:
        named.setdefault(agent.value, []).append(agent)
    whole = []
    for name, same in named.items():
        _, *columns = zip(*same, strict=True)
        shown = name if len(same) == 1 else f"{name} ({len(same)} agents)"
        whole.append((name, figures.Part(shown, *map(sum, columns))))
    return whole


def _timed(part: Part, *cells: str) -> list[object]:
    mean = output.short_duration(part.took_ns // part.events) if part.events else None
    return [part.value or printing.NAMELESS, *cells, output.short_duration(part.took_ns), mean]


def _print_percentiles(report: Report) -> None:
    if report.took is None:
        print(
            printing.dim(
                f"percentiles: {output.counted(report.totals.events, 'event')}; add --percentiles to compute them"
            )
        )
    elif report.took:
        rows = [[kind, *map(output.short_duration, values)] for kind, values in report.took.items()]
        printing.print_table(rows, ("duration", "median", "p90", "p99"), align="lrrr")


def _facts(project: str, session: Snapshot, report: Report) -> dict[str, Any]:
    return {
        "session_id": facts.full_id(session.id),
        "project": project,
        "name": session.story.name,
        "state": session.standing.state,
        "analytics": report.contract,
        **totals_facts(report.totals, at_least=session.cost_at_least),
        "budget": facts.budget(session),
        "seconds": (session.until_ns - report.totals.first_ns) / 1e9,
        "at_least": session.is_cut_off,
        **facts.beyond_totals(report),
    }


def cost(totals: Totals, *, at_least: bool) -> str:
    """Return a cost, marked if it is not the complete one."""
    return output.money_of(totals.cost, totals.unpriced, totals.llms, at_least=at_least)


def totals_facts(totals: Totals, *, at_least: bool) -> dict[str, Any]:
    """Return the figures as JSON, in the order that scripts know: calls before actions."""
    figures_by_name = facts.totals(totals, at_least=at_least)
    return {name: figures_by_name[name] for name in ("events", "llm_calls", "tool_calls")} | figures_by_name
