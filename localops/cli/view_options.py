"""The options of a command that correspond to a saved view."""

from __future__ import annotations

import re

import click

from localops.cli import common
from localops.errors import ConfigError
from localops.upkeep import views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.upkeep.views import View

# Parameters of the API by names of options, where these differ: a duration is in seconds there.
PARAMETERS = {"min_took": "min_seconds", "max_took": "max_seconds", "part": "in"}
_OPTIONS = {parameter: option for option, parameter in PARAMETERS.items()}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def defaults(command: click.Command, name: str, home: str | None, project: str | None) -> dict[str, object]:
    """Return the values of a command's options in a saved view; raise ConfigError for a filter without an option."""
    view = views.lookup(*common.place(home, project), name)
    options = {option.name: option for option in command.params}
    values: dict[str, object] = {}
    for parameter, texts in view.filters.items():
        if parameter in ("sort", "order"):
            continue
        option = options.get(_OPTIONS.get(parameter, parameter))
        if option is None or option.name is None:
            raise ConfigError(f"view {name!r} has the filter {parameter}, which is only on the pages")
        if len(texts) > 1 and not option.multiple:
            raise ConfigError(f"view {name!r} has several values of {parameter}, which is only on the pages")
        read = [f"{text}T00:00" if parameter == "until" and _DAY.fullmatch(text) else text for text in texts]
        values[option.name] = read if option.multiple else read[0]
    if view.project is not None and "project" in options:
        values["project"] = view.project
    return {**values, **_order(view, options.get("sort"))}


def _order(view: View, option: click.Parameter | None) -> dict[str, object]:
    """Return the order of a view as options; an empty dict for an order that only the pages have."""
    sort, order = (view.filters.get(name, [""])[0] for name in ("sort", "order"))
    sort = "took" if sort == "seconds" else sort
    if option is None or sort in ("", "began"):
        return {}
    try:
        option.type.convert(sort, option, None)
    except click.BadParameter:
        return {}
    return {"sort": sort, "reverse": order == "asc"}
