"""The options that choose sessions: those of `localops sessions`, and of other commands that work on several."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common
from localops.errors import ConfigError
from localops.reading import filters, score_hints
from localops.reading.filters import STATES, Filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from localops.cli.common import F
    from localops.reading.home import Home


class _Value(common.Word):
    """A value of a filter; it is checked by the parser of all filters."""

    name = "text"

    def __init__(self, name: str) -> None:
        self._filter = name

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value, or fail."""
        read = _READ.get(self._filter)
        try:
            return value if read is None else read(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


_READ = {"meta": filters.pair, "score": filters.score}
_FACETS = {
    "tag": ("TAG", "With this tag, or with an event that has it."),
    "state": ("STATE", "In this state."),
    "model": ("MODEL", "With a call of this model."),
    "agent": ("AGENT", "With an agent of this name."),
    "tool": ("TOOL", "With a call of this tool."),
    "user": ("USER", "Of this user, or with an event of theirs."),
    "conversation": ("ID", "Of this conversation, or with an event of it."),
    "meta": ("NAME=VALUE", "With this metadata."),
    "name": ("NAME", "Of this name."),
    "host": ("HOST", "Recorded on this host."),
    "error": ("CLASS", "With an error of this class."),
}


def _facet_options() -> Iterator[Callable[[F], F]]:
    for before, begin in (("--", ""), ("--not-", "Not ")):
        for name, (metavar, text) in _FACETS.items():
            of_states = name == "state"
            yield click.option(
                f"{before}{name}",
                multiple=True,
                type=common.State(STATES) if of_states else _Value(name),
                metavar=None if of_states else metavar,
                help=f"{begin}{text[0].lower()}{text[1:]}" if begin else text,
            )


_ALL_TAG = click.option(
    "--all-tag", multiple=True, type=_Value("tag"), metavar="TAG", help="With this tag, too: several must all match."
)
_TEXT = click.option("--text", help="With an event that contains these words.")
_OPTIONS = (
    *_facet_options(),
    _ALL_TAG,
    click.option("--since", type=common.Moment(), help="Started since: 2h, 3d, 2026-11-21, or an ISO time (UTC)."),
    click.option("--until", type=common.Moment(end=True), help="Started until then; a day includes its end."),
    click.option(
        "--score",
        multiple=True,
        metavar="FILTER",
        type=_Value("score"),
        help="With this score, of itself or of an event: correct, correct<0.5, kind=good, correct@ann>=1.",
    ),
    _TEXT,
    click.option("--errors", is_flag=True, help="With at least one error."),
    click.option("--min-cost", type=common.Dollars(), metavar="USD", help="With at least this cost."),
    click.option("--max-cost", type=common.Dollars(), metavar="USD", help="With at most this cost."),
    click.option("--min-took", type=common.Span(), metavar="TIME", help="With at least this duration: 90s, 5m, 2h."),
    click.option("--max-took", type=common.Span(), metavar="TIME", help="With at most this duration."),
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
    """Add the options; a session must pass each option, and match any of several values of one."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_but_text(command: F) -> F:
    """Add the options to a command that searches for words itself."""
    for option in reversed(_OPTIONS):
        if option is not _TEXT:
            command = option(command)
    return command


def option_for(word: str) -> str | None:
    """Return the option for a filter as the search of the pages has it, `tag:vip`; None for any other word."""
    name, colon, value = word.partition(":")
    option = f"--not-{name[1:]}" if name.startswith("-") else f"--{name}"
    return f"{option} {value}" if colon and value and name.removeprefix("-") in _FACETS else None


def chosen(given: Mapping[str, Any]) -> Filters:
    """Return the filters of a command's options; refuse a period that ends before it begins."""
    common.check_period(given["since"], given["until"])
    return Filters(**given)


def unknown_score(opened: Home, wanted: Filters) -> str:
    """Return the end of a message about an empty list if no session has a requested score."""
    hint = score_hints.hint(opened.projects, wanted.score)
    return "" if hint is None else f": {hint}"


def say_hint(opened: Home, wanted: Filters) -> None:
    """Print why no session passes a filter by a score, for commands that print figures or JSON in any case."""
    if hint := score_hints.hint(opened.projects, wanted.score):
        output.say(hint)


def score_names(opened: Home) -> set[str]:
    """Return the names of the scores that count."""
    return {name for project in opened.projects for name in project.score_names()}


def prepare(opened: Home, wanted: Filters) -> None:
    """Index new rows if a full-text search needs them; if there are too many, warn about the rest."""
    if wanted.text is None:
        return
    missing = sum(project.index().catch_up() for project in opened.projects)
    if missing:
        output.say(
            f"{output.counted(missing, 'row is', 'rows are')} not searched yet: run `localops search` to index them"
        )
