"""`localops hub quota`: how much each project may store."""

from __future__ import annotations

import click

from localops import config, output
from localops.cli.common import Group, Size, WholeNumber, bytes_text, json_option, print_json, print_table
from localops.cli.hub.common import data_option, keys_of, note, owned, project_option, store_of, warn_if_unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.server.policy import Rules

# The rules that are quotas, each with the name of its option.
_QUOTAS = ("rows", "bytes", "rows_per_day", "bytes_per_day", "rate")
_OFF = "none"


class _Rows(WholeNumber):
    """A number of rows on the command line, or `none`."""

    name = "rows"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number; `none` as it is."""
        return value if value == _OFF else click.IntRange(min=1).convert(value, parameter, context)


class _Bytes(Size):
    """A size on the command line, or `none`."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return bytes; `none` as it is."""
        if value == _OFF:
            return value
        size = super().convert(value, parameter, context)
        if size < 1:
            self.fail(f"invalid size {value!r}: expected at least 1 byte, or {_OFF} for no quota", parameter, context)
        return size


class _Rate(WholeNumber):
    """Requests a second on the command line, or `none`."""

    name = "rate"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number; `none` as it is."""
        return value if value == _OFF else click.FloatRange(min=0.01).convert(value, parameter, context)


@click.group(cls=Group)
def quota() -> None:
    """Limit how much projects store on a hub, so that none takes the space of others."""


@quota.command("set")
@data_option
@project_option
@click.option("--rows", type=_Rows(), metavar="N", help="Rows in total.")
@click.option("--bytes", type=_Bytes(), metavar="SIZE", help="Bytes on disk in total, with files: 20GB.")
@click.option("--rows-per-day", type=_Rows(), metavar="N", help="Rows that are stored on one day (UTC).")
@click.option("--bytes-per-day", type=_Bytes(), metavar="SIZE", help="Bytes that are stored on one day (UTC): 500MB.")
@click.option("--rate", type=_Rate(), metavar="N", help="Requests a second, for all keys of the project together.")
def set_quota(data: str, project: str, **given: Any) -> None:
    """Set quotas of a project; `none` removes one, and those that are not named stay. They work at once."""
    from localops.server.policy import Policy

    changes = {name: None if value == _OFF else value for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("choose what to limit: --rows, --bytes, --rows-per-day, --bytes-per-day or --rate")
    folder = keys_of(data).folder
    with owned(folder):
        rules = Policy(folder).change(project, **changes)
        note(
            folder,
            "quota.set",
            project=project,
            **{name: _OFF if now is None else now for name, now in changes.items()},
        )
    output.say(f"project {project}: {_text(rules)}")
    warn_if_unknown(folder, project)


def _text(rules: Rules) -> str:
    limits = {name: getattr(rules, name) for name in _QUOTAS}
    return (
        ", ".join(f"{name.replace('_', ' ')}: {_amount(name, most)}" for name, most in limits.items() if most)
        or "no quota"
    )


def _amount(name: str, amount: float | None) -> str:
    if amount is None:
        return "–"
    if name.startswith("bytes"):
        return bytes_text(int(amount))
    return f"{amount:g}" if name == "rate" else output.count(int(amount))


@quota.command("list")
@data_option
@json_option
def list_quotas(data: str, as_json: bool) -> None:
    """List the quotas of projects, each with what is used of it; of a day, with the last batch that was stored."""
    from localops.server.policy import Policy
    from localops.server.usage import Usage

    folder = keys_of(data).folder
    usage = Usage(folder)
    known = config.projects(folder)
    lines: list[dict[str, Any]] = []
    with store_of(folder) as store:
        for project, rules in Policy(folder).all().items():
            if any(getattr(rules, name) is not None for name in _QUOTAS):
                # A project without a journal yet is not made by listing it.
                rows, size = store.stored(project) if project in known else (0, 0)
                rows_today, size_today = usage.today(project)
                used = dict(zip(_QUOTAS, (rows, size, rows_today, size_today, None), strict=True))
                quotas = {name: {"most": getattr(rules, name), "used": used[name]} for name in _QUOTAS}
                lines.append({"project": project, **quotas})
    if as_json:
        print_json({"quotas": lines})
    elif lines:
        headers = ("project", *(name.replace("_", " ") for name in _QUOTAS))
        print_table([_cells(line) for line in lines], headers, align="lrrrrr", soft=("project",))
    else:
        output.say("no project has a quota: `localops hub quota set` sets one")


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    return (line["project"], *(_cell(name, line[name]) for name in _QUOTAS))


def _cell(name: str, facts: dict[str, Any]) -> str:
    if facts["most"] is None:
        return "–"
    most = _amount(name, facts["most"])
    return most if facts["used"] is None else f"{_amount(name, facts['used'])} of {most}"
