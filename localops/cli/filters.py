"""The options that choose sessions: those of `localops sessions`, and of other commands that work on several."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common
from localops.errors import ConfigError
from localops.reading.home import STATES, Filters
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localops.cli.common import F
    from localops.reading.home import Home


def _check_pairs(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> tuple[str, ...]:
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
    return pairs


def _check_scores(_: click.Context, __: click.Parameter, filters: tuple[str, ...]) -> tuple[str, ...]:
    for each in filters:
        try:
            scores.condition(each)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from error
    return filters


_OPTIONS = (
    click.option("--tag", help="With this tag, or with an event that has it."),
    click.option("--state", type=common.State(STATES), help="In this state."),
    click.option("--since", type=common.Moment(), help="Started since: 2h, 3d, 2026-11-21, or an ISO time (UTC)."),
    click.option("--until", type=common.Moment(end=True), help="Started until then; a day includes its end."),
    click.option("--model", help="With a call of this model."),
    click.option("--agent", help="With an agent of this name."),
    click.option("--tool", help="With a call of this tool."),
    click.option("--user", help="Of this user, or with an event of theirs."),
    click.option("--conversation", metavar="ID", help="Of this conversation, or with an event of it."),
    click.option("--meta", multiple=True, metavar="NAME=VALUE", callback=_check_pairs, help="With this metadata."),
    click.option(
        "--score",
        multiple=True,
        metavar="FILTER",
        callback=_check_scores,
        help="With this score, of itself or of an event: correct, correct<0.5, kind=good, correct@ann>=1.",
    ),
    click.option("--text", help="With an event that contains these words."),
    click.option("--errors", is_flag=True, help="With at least one error."),
    click.option("--min-cost", type=common.Dollars(), metavar="USD", help="With at least this cost."),
    click.option("--min-took", type=common.Span(), metavar="TIME", help="With at least this duration: 90s, 5m, 2h."),
)


class WithView(click.Command):
    """A command with --view: options that are not given have the values of that saved view."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        if not ctx.resilient_parsing:
            given, *_ = self.make_parser(ctx).parse_args(args=list(args))
            if (name := given.get("view")) is not None:
                from localops.cli.view_options import defaults

                ctx.default_map = defaults(self, name, given.get("home"), given.get("project"))
        return super().parse_args(ctx, args)


def options(command: F) -> F:
    """Add the options; a session must pass every one that is given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(given: Mapping[str, Any]) -> Filters:
    """Return the filters of a command's options; refuse a period that ends before it begins."""
    common.check_period(given["since"], given["until"])
    return Filters(**given)


def prepare(opened: Home, wanted: Filters) -> None:
    """Index a few new rows for full-text search, if that is asked for; where there are many, warn of the others."""
    if wanted.text is None:
        return
    missing = sum(project.index().catch_up() for project in opened.projects)
    if missing:
        output.say(
            f"{output.counted(missing, 'row is', 'rows are')} not searched yet: run `localops search` to index them"
        )
