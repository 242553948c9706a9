"""`localops sessions`: list sessions, newest first."""

from __future__ import annotations

import math
from heapq import nlargest, nsmallest
from itertools import islice

import click

from localops import clock, output, scores
from localops.cli import common
from localops.errors import ConfigError
from localops.reading import facts
from localops.reading.home import STATES, Filters
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.reading.home import Home, Listed

_HEADERS = ("id", "name", "state", "began", "took", "llm", "tools", "errors", "tokens", "cost", "scores", "tags")

# The values of --sort; the greatest comes first.
_ORDERS: dict[str, Callable[[Listed], int]] = {
    "began": lambda listed: listed.first_ns,
    "cost": lambda listed: listed.cost,
    "took": lambda listed: facts.until_ns(listed) - listed.first_ns,
    "errors": lambda listed: listed.errors,
    "failed": lambda listed: listed.failed,
    "tokens": lambda listed: listed.tokens_in + listed.tokens_out,
    "events": lambda listed: listed.events,
}
_BY_SCORE = "score:"  # before the name of a score, as a value of --sort


class _Order(click.ParamType[str]):
    """A word for --sort."""

    name = "word"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail."""
        if value not in _ORDERS and not (value.startswith(_BY_SCORE) and value != _BY_SCORE):
            self.fail(f"{value!r} is not one of {', '.join(_ORDERS)} or score:NAME", param, ctx)
        return value


def _check_scores(_: click.Context, __: click.Parameter, filters: tuple[str, ...]) -> tuple[str, ...]:
    for each in filters:
        try:
            scores.condition(each)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from error
    return filters


def _check_pairs(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> tuple[str, ...]:
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
    return pairs


@click.command()
@click.option("--tag", help="With this tag, or with an event that has it.")
@click.option("--state", type=common.State(STATES), help="In this state.")
@click.option("--since", type=common.Moment(), help="Started since: 2h, 3d, 2026-11-21, or an ISO time (UTC).")
@click.option("--until", type=common.Moment(end=True), help="Started until then; a day includes its end.")
@click.option("--model", help="With a call of this model.")
@click.option("--agent", help="With an agent of this name.")
@click.option("--tool", help="With a call of this tool.")
@click.option("--user", help="Of this user, or with an event of theirs.")
@click.option("--conversation", metavar="ID", help="Of this conversation, or with an event of it.")
@click.option("--meta", multiple=True, metavar="NAME=VALUE", callback=_check_pairs, help="With this metadata.")
@click.option(
    "--score",
    multiple=True,
    metavar="FILTER",
    callback=_check_scores,
    help="With this score, of itself or of an event: correct, correct<0.5, kind=good, correct@ann>=1.",
)
@click.option("--text", help="With an event that contains these words.")
@click.option("--errors", is_flag=True, help="With at least one error.")
@click.option("--min-cost", type=common.Dollars(), metavar="USD", help="With at least this cost.")
@click.option("--min-took", type=common.Span(), metavar="TIME", help="With at least this duration: 90s, 5m, 2h.")
@click.option(
    "--sort",
    type=_Order(),
    default="began",
    show_default=True,
    help=f"The greatest first: {', '.join(_ORDERS)} or score:NAME; sessions without that score come last.",
)
@click.option("--reverse", is_flag=True, help="With --sort: the least first.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="ID", help="The next page: sessions after this one in the list.")
@common.place_options
@common.json_option
def sessions(
    home: str | None,
    project: str | None,
    limit: int,
    before: str | None,
    sort: str,
    reverse: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """List sessions, newest first unless --sort names another order; a session must pass every filter."""
    if before is not None and sort != "began":
        raise click.UsageError("--before pages through the list by time: leave out --sort, or raise --limit")
    if reverse and sort == "began":
        raise click.UsageError("--reverse is for another order than that of time: add --sort")
    common.check_period(filters["since"], filters["until"])
    with common.look(home, project) as opened:
        if filters["text"] is not None:
            _catch_up_index(opened)
        wanted = Filters(**filters)
        listed = opened.sessions(wanted, before=before)
        # One more than is shown tells whether there is a next page.
        pick = nsmallest if reverse else nlargest
        key = _order(opened, sort, reverse=reverse)
        page = list(islice(listed, limit + 1)) if sort == "began" else pick(limit + 1, listed, key=key)
        shown, more = page[:limit], len(page) > limit
        if as_json:
            _print_json(shown, more and sort == "began")
        elif shown:
            _print_table(shown, more, sort)
        else:
            output.say("no session matches these filters" if any(filters.values()) else opened.nothing_yet())


def _order(opened: Home, sort: str, *, reverse: bool) -> Callable[[Listed], float]:
    """Return what a list is sorted by; a session that lacks the score comes last in either direction."""
    if sort in _ORDERS:
        return _ORDERS[sort]
    name = scores.name_of(sort.removeprefix(_BY_SCORE))
    means = {
        (project.name, session): mean
        for project in opened.projects
        for session, mean in project.score_means(name).items()
    }
    last = math.inf if reverse else -math.inf
    return lambda listed: means.get((listed.project.name, listed.session), last)


def _catch_up_index(opened: Home) -> None:
    """Index a few new rows for full-text search; where there are many, warn of those that are not searched."""
    missing = sum(project.index().catch_up() for project in opened.projects)
    if missing:
        output.say(
            f"{output.counted(missing, 'row is', 'rows are')} not searched yet: run `localops search` to index them"
        )


def _print_table(shown: list[Listed], more: bool, sort: str) -> None:
    many = len({listed.project.name for listed in shown}) > 1
    now = clock.now_ns()
    on_terminal = common.width() is not None
    began = (lambda ns: output.ago(now - ns)) if on_terminal else events.iso
    rows = [_cells(listed, began) + ([listed.project.name] if many else []) for listed in shown]
    headers = [*_HEADERS, "project"] if many else [*_HEADERS]
    scored = headers.index("scores")
    if not any(row[scored] for row in rows):
        del headers[scored]
        for row in rows:
            del row[scored]
    common.print_table(
        rows,
        headers,
        align="llllrrrrrr",
        soft=("name", "scores", "tags"),
        # Errors and cost are not in this list: they are what people look for.
        spare=("tokens", "tools", "llm", "project", "tags", "scores", "took", "began"),
        styles={"state": common.state, "errors": common.errors},
    )
    if more:
        next_page = f"--before {common.short_id(shown[-1].session)}" if sort == "began" else "--limit"
        print(common.dim(f"more: add {next_page}"))


def _cells(listed: Listed, began: Callable[[int], str]) -> list[object]:
    return [
        common.short_id(listed.session),
        listed.name,
        listed.state,
        began(listed.first_ns),
        _took(listed),
        output.count(listed.llms),
        output.count(listed.tools),
        output.count(listed.errors),
        output.count(listed.tokens_in + listed.tokens_out),
        output.money_of(listed.cost, listed.unpriced, listed.llms, at_least=listed.project.cost_at_least(listed)),
        ", ".join(f"{one.name} {scores.shown(one.value)}" for one in listed.project.scores(listed.session)),
        ", ".join(listed.project.tags(listed.session)),
    ]


def _took(listed: Listed) -> str:
    """Return how long a session took; `≥` where its process died, so it may have lasted longer."""
    took = output.short_duration(facts.until_ns(listed) - listed.first_ns)
    return f"≥{took}" if listed.project.is_cut_off(listed) else took


def _print_json(shown: list[Listed], more: bool) -> None:
    common.print_json(
        {
            "sessions": list(map(facts.listed, shown)),
            "next_before": facts.full_id(shown[-1].session) if more else None,
        }
    )
