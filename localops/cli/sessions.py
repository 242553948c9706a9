"""`localops sessions`: what was recorded, newest first."""

from __future__ import annotations

from heapq import nlargest
from itertools import islice

import click

from localops import clock, output
from localops.cli import common
from localops.reading import facts
from localops.reading.home import STATES, Filters
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.reading.home import Home, Listed

_HEADERS = ("id", "name", "state", "began", "took", "llm", "tools", "errors", "tokens", "cost", "tags")

# What --sort goes by, the greatest first.
_ORDERS: dict[str, Callable[[Listed], int]] = {
    "began": lambda listed: listed.first_ns,
    "cost": lambda listed: listed.cost,
    "took": lambda listed: listed.last_ns - listed.first_ns,
    "errors": lambda listed: listed.errors,
    "failed": lambda listed: listed.failed,
    "tokens": lambda listed: listed.tokens_in + listed.tokens_out,
    "events": lambda listed: listed.events,
}


@click.command()
@click.option("--tag", help="With this tag, or with an event that has it.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="How they stand.")
@click.option("--since", type=common.Moment(), help="Begun since: 2h, 3d, 2026-11-21, or an ISO time (UTC).")
@click.option("--until", type=common.Moment(end=True), help="Begun until then; a day is meant to its end.")
@click.option("--model", help="With a call of this model.")
@click.option("--agent", help="With an agent of this name.")
@click.option("--tool", help="With a call of this tool.")
@click.option("--text", help="With an event that has these words.")
@click.option("--errors", is_flag=True, help="With an error at least.")
@click.option("--min-cost", type=common.Dollars(), metavar="USD", help="That cost so much at least.")
@click.option("--min-took", type=common.Span(), metavar="TIME", help="That took so long at least: 90s, 5m, 2h.")
@click.option("--sort", type=click.Choice([*_ORDERS]), default="began", show_default=True, help="The greatest first.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--before", metavar="ID", help="Those after this one in the list: the next page.")
@common.place_options
@common.json_option
def sessions(
    home: str | None, project: str | None, limit: int, before: str | None, sort: str, as_json: bool, **filters: Any
) -> None:
    """List sessions, newest first unless --sort names another order; all filters given must hold."""
    if before is not None and sort != "began":
        raise click.UsageError("--before goes on in the list by time: leave out --sort, or raise --limit")
    with common.look(home, project) as opened:
        if filters["text"] is not None:
            _say_how_far(opened)
        wanted = Filters(**filters)
        listed = opened.sessions(wanted, before=before)
        found = list(islice(listed, limit + 1)) if sort == "began" else nlargest(limit + 1, listed, key=_ORDERS[sort])
        shown, more = found[:limit], len(found) > limit
        if as_json:
            _print_json(shown, more and sort == "began")
        elif shown:
            _print_table(shown, more, sort)
        else:
            output.say("no session passes these filters" if any(filters.values()) else opened.nothing_yet())


def _say_how_far(opened: Home) -> None:
    """The full-text index may lie behind: bring in what is soon brought in, and say what is missing."""
    missing = sum(project.index().catch_up() for project in opened.projects)
    if missing:
        output.say(f"{output.counted(missing, 'row is', 'rows are')} not searched yet: `localops search` takes them in")


def _print_table(shown: list[Listed], more: bool, sort: str) -> None:
    many = len({listed.project.name for listed in shown}) > 1
    now = clock.now_ns()
    on_terminal = common.width() is not None
    began = (lambda ns: output.ago(now - ns)) if on_terminal else events.iso
    rows = [_cells(listed, now, began) + ([listed.project.name] if many else []) for listed in shown]
    headers = (*_HEADERS, "project") if many else _HEADERS
    common.print_table(
        rows,
        headers,
        align="llllrrrrrr",
        soft=("name", "tags"),
        spare=("tokens", "tools", "llm", "project", "tags", "took", "began"),  # errors and cost stay
        styles={"state": common.state, "errors": common.errors},
    )
    if more:
        next_page = f"--before {common.short_id(shown[-1].session)}" if sort == "began" else "--limit"
        print(common.dim(f"more: add {next_page}"))


def _cells(listed: Listed, now: int, began: Callable[[int], str]) -> list[object]:
    end = now if listed.state == "Running" else listed.last_ns
    return [
        common.short_id(listed.session),
        listed.name,
        listed.state,
        began(listed.first_ns),
        output.short_duration(end - listed.first_ns),
        output.count(listed.llms),
        output.count(listed.tools),
        output.count(listed.errors),
        output.count(listed.tokens_in + listed.tokens_out),
        common.money(listed.cost, listed.unpriced, listed.llms),
        ", ".join(listed.project.tags(listed.session)),
    ]


def _print_json(shown: list[Listed], more: bool) -> None:
    common.print_json(
        {
            "sessions": list(map(facts.listed, shown)),
            "next_before": facts.full_id(shown[-1].session) if more else None,
        }
    )
