"""`localops sessions`: list sessions, newest first or in another order."""

from __future__ import annotations

import math
from heapq import nlargest, nsmallest
from itertools import islice

import click

from localops import clock, output
from localops.cli import common, filters
from localops.reading import facts
from localops.reading.filters import unknown_score
from localops.reading.home import NO_SCORE, Filters
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from localops.reading.given_scores import Given
    from localops.reading.home import Home, Listed

_ASKED = "score"
_HEADERS = (
    "id",
    "name",
    "state",
    "began",
    "took",
    "llm",
    "tools",
    "errors",
    "tokens",
    "cost",
    _ASKED,
    "scores",
    "tags",
)

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


class Order(common.Word):
    """A word for --sort."""

    name = "word"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail."""
        if value not in _ORDERS and not (value.startswith(_BY_SCORE) and value != _BY_SCORE):
            self.fail(f"{value!r} is not one of {', '.join(_ORDERS)} or score:NAME", param, ctx)
        return value


@click.command(cls=filters.WithView)
@filters.options
@click.option(
    "--view", metavar="NAME", expose_value=False, help="With the filters of a saved view; others replace them."
)
@click.option(
    "--sort",
    type=Order(),
    default="began",
    show_default=True,
    help=f"The greatest first: {', '.join(_ORDERS)} or score:NAME (first numbers, then categories from z to a); "
    "sessions without that score come last.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order: oldest first, or with --sort the least first.")
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
    **given: Any,
) -> None:
    """List sessions, newest first unless --sort names another order; a session must pass every filter."""
    newest_first = sort == "began" and not reverse
    if before is not None and not newest_first:
        option = "--reverse" if sort == "began" else "--sort"
        raise click.UsageError(f"--before pages through the list, newest first: leave out {option}, or raise --limit")
    wanted = filters.chosen(given)
    with common.look(home, project) as opened:
        filters.prepare(opened, wanted)
        listed = opened.sessions(wanted, before=before)
        # One more than is shown, to know whether there is a next page.
        pick = nsmallest if reverse else nlargest
        key = _order(opened, sort, reverse=reverse)
        page = list(islice(listed, limit + 1)) if newest_first else pick(limit + 1, listed, key=key)
        shown, more = page[:limit], len(page) > limit
        if as_json:
            _print_json(shown, more and newest_first)
            filters.say_hint(opened, wanted)
        elif shown:
            _print_table(shown, more, newest_first=newest_first, asked=_requested_scores(wanted, sort))
        else:
            output.say(_nothing(opened, wanted))


def _order(opened: Home, sort: str, *, reverse: bool) -> Callable[[Listed], Any]:
    """Return the key that the list is sorted by; a session without the score comes last in both directions."""
    if sort in _ORDERS:
        return _ORDERS[sort]
    name = scores.name_of(sort.removeprefix(_BY_SCORE))
    values = {
        (project.name, session): value
        for project in opened.projects
        for session, value in project.score_values(name).items()
    }
    if not values and next(opened.sessions(), None) is not None:
        raise click.BadParameter(unknown_score(name, filters.score_names(opened)), param_hint="--sort")
    last = (math.inf, "") if reverse else NO_SCORE
    return lambda listed: values.get((listed.project.name, listed.session), last)


def _nothing(opened: Home, wanted: Filters) -> str:
    if wanted == Filters():
        return opened.nothing_yet()
    return f"no session matches these filters{filters.unknown_score(opened, wanted)}"


def _requested_scores(wanted: Filters, sort: str) -> frozenset[str]:
    """Return the names of the scores that a list is filtered or sorted by."""
    by = [scores.name_of(sort.removeprefix(_BY_SCORE))] if sort.startswith(_BY_SCORE) else []
    return frozenset([*by, *(scores.condition(text).name for text in wanted.score)])


def _print_table(shown: list[Listed], more: bool, *, newest_first: bool, asked: frozenset[str]) -> None:
    many = len({listed.project.name for listed in shown}) > 1
    now = clock.now_ns()
    on_terminal = common.width() is not None
    began = (lambda ns: output.ago(now - ns)) if on_terminal else output.when
    rows = [_cells(listed, began, asked) + ([listed.project.name] if many else []) for listed in shown]
    headers = [*_HEADERS, "project"] if many else [*_HEADERS]
    if not on_terminal:
        headers[headers.index("began")] = "began (UTC)"
    for title in (_ASKED, "scores"):
        column = headers.index(title)
        if not any(row[column] for row in rows):
            del headers[column]
            for row in rows:
                del row[column]
    common.print_table(
        rows,
        headers,
        align="llllrrrrrr",
        # The requested scores have columns of their own, which are never cut.
        soft=("name", "scores", "tags"),
        # Errors and cost are not in this list, as people look for these.
        spare=("tokens", "tools", "llm", "project", "tags", "scores", "took", "began"),
        styles={"state": common.state, "errors": common.errors},
    )
    if more:
        next_page = f"--before {common.short_id(shown[-1].session)}" if newest_first else "--limit"
        print(common.dim(f"more: add {next_page}"))


def _cells(listed: Listed, began: Callable[[int], str], asked: frozenset[str]) -> list[object]:
    given = listed.project.scores(listed.session)
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
        _scores(one for one in given if one.name in asked),
        _scores(one for one in given if one.name not in asked),
        ", ".join(listed.project.tags(listed.session)),
    ]


def _scores(given: Iterable[Given]) -> str:
    """Return the scores of a session; with their authors if several judges gave scores of one name."""
    by_name: dict[str, dict[str, list[str]]] = {}
    for one in given:
        by_name.setdefault(one.name, {}).setdefault(scores.cut(one.value), []).append(one.author)
    return ", ".join(
        f"{name} {value}" + (f" by {' and '.join(authors)}" if len(values) > 1 or len(authors) > 1 else "")
        for name, values in by_name.items()
        for value, authors in values.items()
    )


def _took(listed: Listed) -> str:
    """Return how long a session took; with `≥` if its process died, as it may have lasted longer."""
    took = output.short_duration(facts.until_ns(listed) - listed.first_ns)
    return f"≥{took}" if listed.project.is_cut_off(listed) else took


def _print_json(shown: list[Listed], more: bool) -> None:
    common.print_json(
        {
            "sessions": list(map(facts.listed, shown)),
            "next_before": facts.full_id(shown[-1].session) if more else None,
        }
    )
