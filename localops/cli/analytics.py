"""`localops analytics`: print the figures of one session or of many."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import click

from localops import host, output
from localops.cli import call_sources, common, filters, session_figures
from localops.encoding import facets
from localops.errors import LocalopsError
from localops.reading import analytics as figures
from localops.reading import call_query, call_speeds, exposition, facts, given_scores, lower_bounds
from localops.reading.filters import Filters
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localops.reading.analytics import Chosen, Line
    from localops.reading.call_speeds import Speeds
    from localops.reading.facts import Facts
    from localops.reading.given_scores import Average
    from localops.reading.home import Home, Project
    from localops.reading.lower_bounds import Bounds


_SCORE = "score"
_WORDS = f"{', '.join(figures.ACROSS)}, {_SCORE} or meta:NAME"
# Arguments and options that choose figures.
_CHOICES = ("session", "by", "tz", "percentiles", "limit")


def _check_zone(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """Refuse an unknown time zone before anything is read."""
    try:
        output.when(0, name)
    except (ValueError, LookupError) as error:
        raise click.BadParameter(f"unknown time zone {name!r}: use a name like Europe/Berlin, or local") from error
    return name


class _By(common.Word):
    """What the lines of a table are grouped by."""

    name = "word"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail."""
        if not figures.is_across(value) and value != _SCORE:
            self.fail(f"{value!r} is not one of {_WORDS}", param, ctx)
        return value


@click.command()
@click.argument("session", required=False, metavar="[ID|last]")
@click.option("--by", type=_By(), metavar="WORD", help=f"A table by {_WORDS}.")
@filters.options
@click.option(
    "--tz",
    callback=_check_zone,
    metavar="ZONE",
    help="Time zone of days, such as Europe/Berlin or local [default: UTC].",
)
@click.option("--percentiles", is_flag=True, help="Compute the median, p90 and p99, also in a large session.")
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
    tz: str | None,
    percentiles: bool,
    limit: int,
    form: str,
    path: str | None,
    home: str | None,
    project: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the figures of one session, or of all.

    With an ID (or `last`), the figures of that session; without, the sums over all sessions of the home, or over those
    that pass the filters of `localops sessions`. A session
    counts for the day on which it started, in UTC unless --tz names a zone. The time of a tag, a user or a conversation
    is that of the sessions that have it; of one that only single events have, it is not known.
    """
    if form == "openmetrics" or path is not None:
        _expose(form, home, project, path, is_chosen=any(map(common.is_given, [*_CHOICES, *given])), as_json=as_json)
        return
    wanted = filters.chosen(given)
    if session is not None and wanted != Filters():
        raise click.UsageError("filters such as --tag choose sessions: with an ID, leave them out")
    if tz is not None and by != "day":
        raise click.UsageError("--tz is for days: add --by day")
    if percentiles and (session is None or by is not None):
        raise click.UsageError("--percentiles are those of one session: give an ID or `last`, and no --by")
    if by is None and common.is_given("limit"):
        raise click.UsageError("--limit is for the lines of a table: add --by")
    with common.look(home, project) as opened:
        if session is not None:
            where, id = opened.find(session)
            if by == _SCORE:
                raise click.UsageError(f"--by {by} needs several sessions: `localops score ID` lists those of one")
            if by is None:
                session_figures.show(where, id, percentiles=percentiles, as_json=as_json)
            else:
                lines = _lines_of_one(where, id, by)
                _print_lines(by, lines, limit, lower_bounds.of_one(where, id, by), as_json=as_json, each_one=True)
            return
        if not opened.projects and not as_json:
            output.say(opened.nothing_yet())
            return
        _many(opened, by, _choice(opened, wanted), tz, limit, as_json=as_json)


def _choice(opened: Home, wanted: Filters) -> Chosen:
    """Return the choice of sessions by filters; for a tag and times alone, sessions are not listed."""
    times = {name: at for name in ("since", "until") if (at := getattr(wanted, name)) is not None}
    tag = wanted.tag[0] if len(wanted.tag) == 1 and "*" not in wanted.tag[0] else None
    if wanted == Filters(tag=tag, **times):
        return figures.Chosen(tag=tag, **times)
    filters.prepare(opened, wanted)
    filters.say_hint(opened, wanted)
    return figures.Chosen(sessions=figures.array(listed.session for listed in opened.sessions(wanted)))


# Metrics


def _expose(
    form: str, home: str | None, project: str | None, path: str | None, *, is_chosen: bool, as_json: bool
) -> None:
    """Print all figures as metrics, or replace a file by them."""
    from localops.encoding import openmetrics

    if form != "openmetrics":
        raise click.UsageError("--output is for metrics: add --format openmetrics")
    if as_json or is_chosen:
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


# Many sessions


def _many(opened: Home, by: str | None, chosen: Chosen, tz: str | None, limit: int, *, as_json: bool) -> None:
    if by is None:
        _print_totals(opened, chosen, as_json=as_json)
        return
    if by == _SCORE:
        _print_scores(opened, chosen, limit, as_json=as_json)
        return
    lines = _lines(opened, by, chosen, tz)
    bounds = lower_bounds.across(opened.projects, by, chosen, tz=tz)
    each_one = by == "session"
    named = _names(opened, lines[:limit]) if each_one and not as_json else {}
    speeds = call_sources.speeds(opened, chosen) if by in call_speeds.BY else None
    _print_lines(by, lines, limit, bounds, as_json=as_json, each_one=each_one, named=named, speeds=speeds)


def _print_totals(opened: Home, chosen: Chosen, *, as_json: bool) -> None:
    parts = [figures.overall(project.reader, chosen) for project in opened.projects]
    totals = figures.Totals(*map(sum, zip(figures.NOTHING, *parts, strict=True)))
    open_calls = any(project.has_open_calls(chosen) for project in opened.projects)
    lacking = sum(project.lacking(chosen) for project in opened.projects)
    at_least = open_calls or lacking > 0
    states = facts.success(sum((exposition.states_of(project, chosen) for project in opened.projects), Counter()))
    speeds = call_sources.speeds(opened, chosen)
    of_kinds = {kind: speeds.facts("kind", kind) for kind in call_query.KINDS}
    if as_json:
        sums = session_figures.totals_facts(totals, at_least=at_least)
        common.print_json({"sessions": totals.rows, **states, **sums, "speeds": of_kinds})
        return
    common.print_pairs(
        [
            ("Sessions", output.count(totals.rows)),
            ("Success", _success(states)),
            ("LLM calls", output.count(totals.llms)),
            ("Tool calls", output.count(totals.tools)),
            ("Actions", output.count(totals.actions)),
            ("Errors", output.count(totals.errors)),
            ("Failed", session_figures.failures(totals)),
            ("Tokens", f"{output.count(totals.tokens_in)} in, {output.count(totals.tokens_out)} out"),
            ("Cost", session_figures.cost(totals, at_least=at_least)),
            ("Unpriced", session_figures.unpriced(totals.unpriced, never_ended=open_calls)),
            *([("Lack rows", output.counted(lacking, "session"))] if lacking else []),
            ("LLM call", _percentiles(of_kinds["llm"]["percentiles"])),
            ("First token", _percentiles(of_kinds["llm"]["first_token"])),
            ("Tokens/s", _rate(of_kinds["llm"]["tokens_per_second"])),
            ("Cached", _share(of_kinds["llm"]["cache_hit_rate"])),
            ("Tool call", _percentiles(of_kinds["tool"]["percentiles"])),
        ]
    )
    print()
    print(common.dim(f"more: --by {_WORDS}; or an ID, or `last`"))


def _success(given: Facts) -> str:
    """Return the share of success, of how many sessions, and how many ended as neither."""
    states, share = given["states"], given["success_rate"]
    ended = states.get("Success", 0) + states.get("Failure", 0)
    of = (
        "none ended as success or failure"
        if share is None
        else f"{output.percent(share)} of {output.count(ended)} that ended as success or failure"
    )
    return f"{of}, {left}" if (left := facts.neither(states)) else of


def _percentiles(given: Mapping[str, float] | None) -> str:
    if given is None:
        return "–"
    return ", ".join(f"{name} {_seconds(value)}" for name, value in given.items())


def _seconds(value: float | None) -> str:
    return "" if value is None else output.short_duration(round(value * 1e9))


def _share(value: float | None) -> str:
    return "–" if value is None else output.percent(value)


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


_INTERVALS = {"t": "Student's t", "wilson": "Wilson"}


def _print_scores(opened: Home, chosen: Chosen, limit: int, *, as_json: bool) -> None:
    """Print the averages of scores, each with its 95% interval."""
    given = chain.from_iterable(given_scores.counted(project.reader, chosen) for project in opened.projects)
    lines = given_scores.averages(given)
    if as_json:
        common.print_json({"by": _SCORE, "lines": [given_scores.average_facts(line) for line in lines]})
        return
    if not lines:
        is_any = bool(filters.score_names(opened))
        here = "no session that matches these filters has a score"
        output.say(here if is_any else "no scores: give one with `localops score ID NAME VALUE`")
        return
    table = [
        [
            line.name if line.label is None else f"{line.name} = {scores.cut(line.label)}",
            line.of,
            line.author,
            output.count(line.many),
            output.count(line.sessions),
            _mean(line, line.mean),
            "–" if line.low is None or line.high is None else f"{_mean(line, line.low)} … {_mean(line, line.high)}",
            _INTERVALS.get(line.interval, line.interval),
        ]
        for line in lines[:limit]
    ]
    headers = ("score", "of", "by", "scores", "sessions", "mean", "95% interval", "interval")
    common.print_table(table, headers, align="lllrrrrl", soft=("score", "by"), spare=("interval", "sessions", "of"))
    if len(lines) > limit:
        print(common.dim(f"{output.count(len(lines) - limit)} more: -n {len(lines)}"))


def _mean(line: Average, value: float) -> str:
    return scores.shown(value) if line.type == "number" else output.percent(value)


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
    speeds: Speeds | None = None,
) -> None:
    """Print lines as a table or JSON; `each_one`: each is one session; `named`: what these are called."""
    if as_json:
        listed = [
            {**facts.line(by, one, bounds), **({} if speeds is None else speeds.facts(by, one.value))} for one in lines
        ]
        common.print_json({"by": by, "lines": listed})
        return
    if not lines:
        output.say(f"nothing recorded by {by}")
        return
    most = max(line.cost for line in lines)
    table = [
        [
            *_cells(by, line, (named or {}).get(line.value) or line.value or common.NAMELESS, bounds, most),
            *([""] * len(_SPEEDS) if speeds is None else _speed_cells(speeds.facts(by, line.value))),
        ]
        for line in lines[:limit]
    ]
    headers = (by, "sessions", "calls" if by in ("model", "tool") else "events", *_FIGURES, *_SPEEDS)
    # In a file, bars only repeat the costs.
    bars = [""] if common.width() is None else []
    idle = (*bars, *(["tokens in", "out"] if by == "tool" else []), *(["sessions"] if each_one else []))
    idle += _SPEEDS if speeds is None else _OF_MODELS if by == "tool" else ()
    columns = [column for column, title in enumerate(headers) if title not in idle]
    common.print_table(
        [[row[column] for column in columns] for row in table],
        [headers[column] for column in columns],
        align="".join("lrrrrrrlrrrrrrr"[column] for column in columns),
        soft=(by,),
        least=32 if by == "session" else 24,
        # Its short id, if the label begins with one.
        narrowest=13,
        spare=("cached", "first token", "", "time", "median", "tokens/s", "sessions", "out", "tokens in", "p99", "p90"),
        styles={"failed": common.errors},
    )
    if len(lines) > limit:
        print(common.dim(f"{output.count(len(lines) - limit)} more: -n {len(lines)}"))


# Of models and tools.
_SPEEDS = ("median", "p90", "p99", "first token", "tokens/s", "cached")
_OF_MODELS = ("first token", "tokens/s", "cached")
_FIGURES = ("failed", "tokens in", "out", "cost", "", "time")


def _speed_cells(given: Facts) -> list[str]:
    took, first = given["percentiles"] or {}, given["first_token"] or {}
    rate, share = given["tokens_per_second"], given["cache_hit_rate"]
    return [
        *(_seconds(took.get(name)) for name in ("p50", "p90", "p99")),
        _seconds(first.get("p50")),
        "" if rate is None else _rate(rate),
        "" if share is None else _share(share),
    ]


def _cells(by: str, line: Line, label: str, bounds: Bounds, most: int) -> list[object]:
    took = f"{'≥' if line.value in bounds.time else ''}{output.short_duration(line.took_ns)}"
    # The durations of single events cannot be added up: one may be inside another.
    is_of_events = not line.took_ns and (by == "tag" or facets.prefix(by) is not None)
    return [
        label,
        output.count(line.sessions),
        output.count(line.events),
        output.count(line.failed),
        output.count(line.tokens_in),
        output.count(line.tokens_out),
        # Of a model, the events are its calls; others have more events than those that can have a price.
        output.money_of(
            line.cost,
            line.unpriced,
            line.events if by == "model" else line.unpriced,
            at_least=line.value in bounds.cost,
        ),
        output.bar(line.cost / most, 12) if most > 0 else "",
        "–" if is_of_events else took,
    ]
