"""`localops views`: save filters of the list of sessions under names."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal

import click

from localops import clock, output
from localops.cli import common, filters
from localops.cli.common import Dollars, Moment, Span
from localops.cli.sessions import Order
from localops.cli.view_options import PARAMETERS
from localops.errors import NotFound
from localops.reading import session_state
from localops.upkeep import views as saved_views
from localops.upkeep.views import View, Views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _AsText(common.Word):
    """Wraps another type, and returns the text to save: it means the same in the API, and when it is used later."""

    def __init__(self, type: click.ParamType[Any]) -> None:
        self._type = type
        self.name = type.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail if the other type does."""
        read = self._type.convert(value, param, ctx)
        if isinstance(self._type, Moment):
            return value if clock.ago(value) is not None else clock.iso(read)
        if isinstance(self._type, Span | Dollars):
            return f"{Decimal(read) / 10**9:f}"
        return str(read)


@click.group(cls=common.Group)
def views() -> None:
    """Save filters of the list of sessions under names.

    They are for `localops sessions --view NAME` and for the pages. A view belongs to the whole home; with --project, or
    on a hub, to one project.
    """


@views.command("list")
@common.place_options
@common.json_option
def list_views(home: str | None, project: str | None, as_json: bool) -> None:
    """List the saved views."""
    folder, name = common.place(home, project)
    saved = saved_views.every(folder) if name is None else Views(folder, name).all()
    if as_json:
        common.print_json({"views": [vars(view) for view in saved]})
    elif saved:
        rows = [
            [view.name, _filters_text(view), view.project, view.by, view.saved and view.saved[:10]] for view in saved
        ]
        headers = ["name", "filters", "project", "by", "saved"]
        common.print_table(rows, headers, soft=("name", "filters"), spare=("by", "saved"))
    else:
        output.say("no saved views: `localops views save NAME` saves one, with the filters of `localops sessions`")


@views.command("save")
@click.argument("view", metavar="NAME")  # "name" is a filter
@filters.options
@click.option("--sort", type=Order(), help="The order, as for `localops sessions`.")
@click.option("--reverse", is_flag=True, help="With --sort: the least first.")
@common.place_options
@common.json_option
def save(
    view: str, sort: str | None, reverse: bool, home: str | None, project: str | None, as_json: bool, **given: Any
) -> None:
    """Save these filters as the view NAME; it replaces an earlier one of that name.

    A time such as 7d is saved as it is: it counts back from when the view is used.
    """
    texts = {PARAMETERS.get(option, option): _texts(value) for option, value in given.items() if value}
    if sort is not None:
        texts["sort"] = ["seconds" if sort == "took" else sort]
    if reverse:
        texts["order"] = ["asc"]
    new = replace(saved_views.checked(view, texts), saved=clock.iso(clock.now_ns()))
    folder, of = common.place(home, project)
    if of is None and os.path.exists(os.path.join(folder, session_state.HUB)):
        raise click.UsageError("a hub has views of its projects only: choose one with --project")
    saved = Views(folder, of).save(replace(new, project=of))
    if as_json:
        common.print_json({**vars(saved.view), "replaced": saved.replaced, "redacted": saved.redacted})
    else:
        done = "replaced" if saved.replaced else "saved"
        output.say(f"view {output.clean(saved.view.name)} {done}: {_filters_text(saved.view)}")
        if saved.redacted:
            output.say(f"{saved_views.replaced_secrets(saved.redacted)}: see `localops help privacy`")


@views.command("delete")
@click.argument("name")
@common.place_options
@common.json_option
def delete(name: str, home: str | None, project: str | None, as_json: bool) -> None:
    """Delete the view NAME."""
    folder, of = common.place(home, project)
    try:
        Views(folder, of).delete(name)
    except NotFound:
        others = [view.project for view in saved_views.every(folder) if view.name == name and view.project]
        if of is not None or not others:
            raise
        raise NotFound(
            f"the home has no saved view {name!r}, but project {others[0]} has: --project {others[0]}"
        ) from None
    if as_json:
        common.print_json({"deleted": name})
    else:
        output.say(f"view {output.clean(name)} deleted")


# The command gets the texts of these options, not times and amounts.
for _option in save.params:
    if isinstance(_option.type, Moment | Span | Dollars):
        _option.type = _AsText(_option.type)


def _texts(value: Any) -> list[str]:
    if value is True:
        return ["1"]
    return list(value) if isinstance(value, tuple) else [str(value)]


def _filters_text(view: View) -> str:
    shown = [f"{name}={output.clean(text)}" for name, texts in view.filters.items() for text in texts]
    return ", ".join(shown) or "every session"
