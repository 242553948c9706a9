"""`localops analytics`: print the figures of one session or of many."""

from __future__ import annotations

from itertools import chain

import click

from localops import facets, host, output
from localops.cli import common
from localops.errors import LocalopsError
from localops.reading import analytics as figures
from localops.reading import facts, lower_bounds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.reading.analytics import Chosen, Line, Part, Report, Totals
    from localops.reading.home import Home, Project
    from localops.reading.lower_bounds import Bounds
    from localops.reading.snapshot import Snapshot


# Arguments and options that choose figures.
_CHOICES = ("session", "by", "since", "until", "tag", "tz", "percentiles", "limit")


def _check_zone(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Refuse an unknown time zone before anything is read."""
    try:
        output.when(0, name)
    except (ValueError, LookupError) as error:
        raise click.BadParameter(f"unknown time zone {name!r}: use a name like Europe/Berlin, or local") from error
    return name


class _By(click.ParamType[str]):
    """What a table is by."""

    name = "word"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail."""
        if not figures.is_across(value):
            self.fail(f"{value!r} is not one of {', '.join(figures.ACROSS)} or meta:NAME", param, ctx)
        return value


@click.command()
@click.argument("session", required=False, metavar="[ID|last]")
@click.option("--by", type=_By(), metavar="WORD", help=f"A table by {', '.join(figures.ACROSS)} or meta:NAME.")
@click.option("--since", type=common.Moment(), help="Sessions started since: 2h, 3d, 2026-11-21, or an ISO time.")
@click.option("--until", type=common.Moment(end=True), help="Sessions started until then; a day includes its end.")
@click.option("--tag", help="Sessions with this tag, or with an event that has it.")
@click.option(
    "--tz",
    callback=_check_zone,
    metavar="ZONE",
    help="Time zone of days, such as Europe/Berlin or local [default: UTC].",
)
@click.option("--percentiles", is_flag=True, help="Compute p50, p90 and p99, also in a large session.")
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many lines."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "openmetrics"]),
    default="text",
    show_default=True,
    help="openmetrics: all figures by project and model, for Prometheus.",
)
@click.option("-o", "--output", "path", metavar="FILE", help="With openmetrics: replace this file, in one step.")
@common.place_options
@common.json_option
def analytics(
    session: str | None,
    by: str | None,
    since: int | None,
    until: int | None,
    tag: str | None,
    tz: str | None,
    percentiles: bool,
    limit: int,
    form: str,
    path: str | None,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Show the figures of one session, or of all.

    With an ID (or `last`), the figures of that session; without, the sums over all sessions of the home. A session
    counts for the day on which it started, in UTC unless --tz names a zone. The time of a tag, a user or a conversation
    is that of the sessions that have it; of one that only single events have, it is not known.
    """
    if form == "openmetrics" or path is not None:
        _expose(form, home, project, path, as_json=as_json)
        return
    if session is not None and (since or until or tag):
        raise click.UsageError("--since, --until and --tag choose sessions: with an ID, leave them out")
    common.check_period(since, until)
    if tz is not None and by != "day":
        raise click.UsageError("--tz is for days: add --by day")
    if percentiles and (session is None or by is not None):
        raise click.UsageError("--percentiles are those of one session: give an ID or `last`, and no --by")
    if by is None and common.is_given("limit"):
        raise click.UsageError("--limit is for the lines of a table: add --by")
    with common.look(home, project) as opened:
        if session is not None:
            where, id = opened.find(session)
            if by is None:
                _one(where, id, percentiles=percentiles, as_json=as_json)
            else:
                lines = _lines_of_one(where, id, by)
                _print_lines(by, lines, limit, lower_bounds.of_one(where, id, by), as_json=as_json, each_one=True)
            return
        if not opened.projects and not as_json:
            output.say(opened.nothing_yet())
            return
        everything = figures.Chosen()
        chosen = figures.Chosen(
            everything.since if since is None else since, everything.until if until is None else until, tag
        )
        if by is None:
            _all(opened, chosen, as_json=as_json)
        else:
            lines = _lines(opened, by, chosen, tz)
            bounds = lower_bounds.across(opened.projects, by, chosen, tz=tz)
            each_one = by == "session"
            named = _names(opened, lines[:limit]) if each_one and not as_json else {}
            _print_lines(by, lines, limit, bounds, as_json=as_json, each_one=each_one, named=named)


# Metrics


def _expose(form: str, home: str | None, project: str | None, path: str | None, *, as_json: bool) -> None:
    """Print all figures as metrics, or replace a file by them."""
    from localops.encoding import openmetrics
    from localops.reading import exposition

    if form != "openmetrics":
        raise click.UsageError("--output is for metrics: add --format openmetrics")
    if as_json or any(map(common.is_given, _CHOICES)):
        raise click.UsageError("--format openmetrics is for all sessions: add only --home, --project or --output")
    with common.look(home, project) as opened:
        text = openmetrics.text(exposition.families(opened))
    if path is None:
        print(text.decode(), end="")
        return
    try:
        host.write_whole(path, text)
    except OSError as error:
        raise LocalopsError(f"cannot write {path}: {error.strerror}; the file is as it was") from error


# One session


def _one(project: Project, id: bytes, *, percentiles: bool, as_json: bool) -> None:
    session = project.snapshot(id)
    report = session.report(percentiles=percentiles)
    if as_json:
        common.print_json(_facts(project.name, session, report))
    else:
        _print_report(session, report)


def _print_report(session: Snapshot, report: Report) -> None:
    common.print_heading(session)
    totals = report.totals
    figures_shown = {**report.contract, "Cost": _cost(totals, at_least=session.cost_at_least)}
    if session.budget is not None:
        figures_shown["Budget"] = facts.budget_text(session.budget)
    if session.is_cut_off:
        # In the digits of every other place: AgentOps' tenths of a second can be above the bound.
        took = output.short_duration(session.until_ns - totals.first_ns)
        figures_shown["Duration"] = common.at_least(took, session)
    # Printed below, beside the models without a price.
    figures_shown.pop("Unpriced", None)
    common.print_pairs(list(figures_shown.items()))
    print()
    common.print_pairs(_further(report))
    for dim, parts in report.by.items():
        if parts:
            print()
            _print_parts(dim, parts, report.lost.get(dim, frozenset()))
    print()
    _print_percentiles(report)


def _further(report: Report) -> list[tuple[str, object]]:
    """Return the figures beyond the first six; counts of problems only if they are not 0."""
    totals = report.totals
    pairs: list[tuple[str, object]] = [
        ("Tokens", f"{output.count(totals.tokens_in)} in, {output.count(totals.tokens_out)} out"),
        *((f"  {output.TOKENS[name][0]}", output.count(getattr(totals, name))) for name in output.PARTS_OF_TOKENS),
        ("Failed", _failures(totals)),
        ("Unpriced", _calls(totals.unpriced) if totals.unpriced else "none"),
    ]
    notes = {
        "Unfinished": report.unfinished,
        "Late": report.late,
        "Spilled": report.spilled,
        "Dropped": report.dropped,
        "Cut values": report.cut,
    }
    return pairs + [(name, output.count(value)) for name, value in notes.items() if value]


def _failures(totals: Totals) -> str:
    rate = figures.error_rate(totals)
    return (
        "–" if rate is None else f"{output.count(totals.failed)} ({rate:.1%} of {output.count(totals.events)} events)"
    )


def _calls(many: int) -> str:
    return output.counted(many, "call")


def _print_parts(dim: str, parts: list[Part], lost: frozenset[str]) -> None:
    if dim == "tool":
        rows = [_timed(part, output.count(part.events), output.count(part.failed)) for part in parts]
        common.print_table(rows, ("tool", "calls", "failed", "time", "mean"), align="lrrrr", soft=("tool",))
        return
    named = [(part.value, part) for part in parts] if dim != "agent" else _by_name(parts)
    rows = [
        _timed(
            part,
            output.count(part.events),
            output.count(part.failed),
            output.count(part.tokens_in),
            output.count(part.tokens_out),
            output.money_of(part.cost, part.unpriced, part.events, at_least=name in lost),
        )
        for name, part in named
    ]
    headers = [dim, "events" if dim == "agent" else "calls", "failed", "tokens in", "out", "cost", "time", "mean"]
    # No mean for an agent: its time is that of its LLM and tool calls, but its events include others.
    if dim == "agent":
        rows, headers = [row[:-1] for row in rows], headers[:-1]
    common.print_table(rows, headers, align="lrrrrrrr", soft=(dim,), spare=("mean", "time", "failed"))


def _by_name(agents: list[Part]) -> list[tuple[str, Part]]:
    """Add up agents of the same name, and add their number to it; return each with the name alone."""
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
    return [part.value or common.NAMELESS, *cells, output.short_duration(part.took_ns), mean]


def _print_percentiles(report: Report) -> None:
    if report.took is None:
        print(
            common.dim(
                f"percentiles: {output.counted(report.totals.events, 'event')}; add --percentiles to compute them"
            )
        )
    elif report.took:
        rows = [[kind, *map(output.short_duration, values)] for kind, values in report.took.items()]
        common.print_table(rows, ("duration", "p50", "p90", "p99"), align="lrrr")


def _facts(project: str, session: Snapshot, report: Report) -> dict[str, Any]:
    return {
        "session_id": facts.full_id(session.id),
        "project": project,
        "state": session.standing.state,
        "analytics": report.contract,
        **_totals_facts(report.totals, open_calls=session.open_calls > 0),
        "budget": facts.budget(session),
        "seconds": (session.until_ns - report.totals.first_ns) / 1e9,
        "at_least": session.is_cut_off,
        **facts.beyond_totals(report),
    }


def _cost(totals: Totals, *, at_least: bool) -> str:
    return output.money_of(totals.cost, totals.unpriced, totals.llms, at_least=at_least)


def _totals_facts(totals: Totals, *, open_calls: bool) -> dict[str, Any]:
    """Return the figures as JSON, in the order that scripts know: calls before actions."""
    figures_by_name = facts.totals(totals, open_calls=open_calls)
    return {name: figures_by_name[name] for name in ("events", "llm_calls", "tool_calls")} | figures_by_name


# Many sessions


def _all(opened: Home, chosen: Chosen, *, as_json: bool) -> None:
    parts = [figures.overall(project.reader, chosen) for project in opened.projects]
    totals = figures.Totals(*map(sum, zip(figures.NOTHING, *parts, strict=True)))
    open_calls = any(project.has_open_calls(chosen) for project in opened.projects)
    if as_json:
        common.print_json({"sessions": totals.rows, **_totals_facts(totals, open_calls=open_calls)})
        return
    common.print_pairs(
        [
            ("Sessions", output.count(totals.rows)),
            ("LLM calls", output.count(totals.llms)),
            ("Tool calls", output.count(totals.tools)),
            ("Actions", output.count(totals.actions)),
            ("Errors", output.count(totals.errors)),
            ("Failed", _failures(totals)),
            ("Tokens", f"{output.count(totals.tokens_in)} in, {output.count(totals.tokens_out)} out"),
            ("Cost", _cost(totals, at_least=open_calls)),
            ("Unpriced", _calls(totals.unpriced) if totals.unpriced else "none"),
        ]
    )
    print()
    print(common.dim(f"more: --by {', '.join(figures.ACROSS)} or meta:NAME; or an ID, or `last`"))


def _lines(opened: Home, by: str, chosen: Chosen, tz: str | None) -> list[Line]:
    """Return the lines of all projects."""
    parts = (
        figures.across(project.reader, by, chosen, tz=tz, running=project.running()) for project in opened.projects
    )
    return figures.together(by, chain.from_iterable(parts))


def _lines_of_one(project: Project, id: bytes, by: str) -> list[Line]:
    if by == "kind":
        return figures.by_kind(project.reader, id)
    if by in ("day", "session"):
        raise click.UsageError(f"--by {by} needs several sessions: leave out the ID")
    if by == "tag" or facets.prefix(by) is not None:
        parts = figures.of_facet(by, figures.tags(project.reader, id, until=project.snapshot(id).until_ns))
    else:
        parts = figures.agents(project.reader, id) if by == "agent" else figures.parts(project.reader, id, by)
    return [figures.Line(sessions=1, **part._asdict()) for part in parts]


def _names(opened: Home, lines: list[Line]) -> dict[bytes, str]:
    """Return the short id and the name of each line's session."""
    named = {}
    for line in lines:
        project, id = opened.find(facts.full_id(line.value))
        named[line.value] = f"{common.short_id(id)}  {common.title(project.name_of(id))}"
    return named


def _print_lines(
    by: str,
    lines: list[Line],
    limit: int,
    bounds: Bounds,
    *,
    as_json: bool,
    each_one: bool = False,
    named: dict[bytes, str] | None = None,
) -> None:
    """Print lines as a table or JSON; `each_one`: each is one session; `named`: what these are called."""
    if as_json:
        common.print_json({"by": by, "lines": [facts.line(by, line, bounds) for line in lines]})
        return
    if not lines:
        output.say(f"nothing recorded by {by}")
        return
    most = max(line.cost for line in lines)
    table = [
        _cells(by, line, (named or {}).get(line.value) or line.value or common.NAMELESS, bounds, most)
        for line in lines[:limit]
    ]
    headers = (by, "sessions", "calls" if by in ("model", "tool") else "events", *_FIGURES)
    # In a file, bars say nothing that the costs do not.
    bars = [""] if common.width() is None else []
    idle = (*bars, *(["tokens in", "out"] if by == "tool" else []), *(["sessions"] if each_one else []))
    columns = [column for column, title in enumerate(headers) if title not in idle]
    common.print_table(
        [[row[column] for column in columns] for row in table],
        [headers[column] for column in columns],
        align="".join("lrrrrrrlr"[column] for column in columns),
        soft=(by,),
        least=32 if by == "session" else 24,
        # Its short id, if the label begins with one.
        narrowest=13,
        spare=("time", "", "sessions", "out", "tokens in"),
        styles={"failed": common.errors},
    )
    if len(lines) > limit:
        print(common.dim(f"{output.count(len(lines) - limit)} more: -n {len(lines)}"))


_FIGURES = ("failed", "tokens in", "out", "cost", "", "time")


def _cells(by: str, line: Line, label: str, bounds: Bounds, most: int) -> list[object]:
    took = f"{'≥' if line.value in bounds.time else ''}{output.short_duration(line.took_ns)}"
    # Single events have no time that could be added up: one may be inside another.
    is_of_events = not line.took_ns and (by == "tag" or facets.prefix(by) is not None)
    return [
        label,
        output.count(line.sessions),
        output.count(line.events),
        output.count(line.failed),
        output.count(line.tokens_in),
        output.count(line.tokens_out),
        output.money_of(line.cost, line.unpriced, line.events, at_least=line.value in bounds.cost),
        output.bar(line.cost / most, 12) if most > 0 else "",
        "–" if is_of_events else took,
    ]
