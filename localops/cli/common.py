"""Options that commands share, and the functions of `printing.py`."""

from __future__ import annotations

import re

import click
from click.core import ParameterSource

from localops import config
from localops.cli import looking
from localops.cli.looking import waiting_rows as waiting_rows
from localops.cli.printing import NAMELESS as NAMELESS
from localops.cli.printing import SCHEMA_VERSION as SCHEMA_VERSION
from localops.cli.printing import at_least as at_least
from localops.cli.printing import bold as bold
from localops.cli.printing import bytes_text as bytes_text
from localops.cli.printing import dim as dim
from localops.cli.printing import errors as errors
from localops.cli.printing import print_heading as print_heading
from localops.cli.printing import print_json as print_json
from localops.cli.printing import print_json_line as print_json_line
from localops.cli.printing import print_pairs as print_pairs
from localops.cli.printing import print_table as print_table
from localops.cli.printing import short_id as short_id
from localops.cli.printing import state as state
from localops.cli.printing import styled as styled
from localops.cli.printing import title as title
from localops.cli.printing import width as width
from localops.errors import ConfigError
from localops.reading import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from localops.reading.home import Home

    F = TypeVar("F", bound=Callable[..., Any])
    Choice = click.Choice[str]
    WholeNumber = click.ParamType[int]
    Word = click.ParamType[str]
else:
    # In older releases of click, these classes have no type parameter.
    Choice = click.Choice
    WholeNumber = Word = click.ParamType


class Group(click.Group):
    """A group of commands that suggests a similar name for an unknown one."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command to run, or fail with a suggestion."""
        name = arguments[0]
        if self.get_command(context, name) is None and not context.resilient_parsing and name[:1] != "-":
            context.fail(f"unknown command {name!r}{self.hint(context, name)}")
        return super().resolve_command(context, arguments)

    def hint(self, context: click.Context, name: str) -> str:
        """Return a suggestion for an unknown command, as the end of a message."""
        from difflib import get_close_matches

        close = get_close_matches(name, self.list_commands(context), cutoff=0.7)
        return f": did you mean {' or '.join(map(repr, close))}?" if close else ""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with its first sentence."""
        with formatter.section("Commands"):
            self.describe(context, formatter, self.list_commands(context))

    def describe(self, context: click.Context, formatter: click.HelpFormatter, names: Iterable[str]) -> None:
        """Write these commands, each with its first sentence, which is never cut off."""
        pairs = ((name, self.get_command(context, name)) for name in names)
        formatter.write_dl([(name, command.get_short_help_str(100)) for name, command in pairs if command])


def shown_and_done(*names: str, help: str, text: Callable[[click.Context], str]) -> Callable[[F], F]:
    """Return an option that prints a text and exits.

    Click's own ones translate their help with gettext, and importing its `locale` module takes 2 ms of every start.
    """

    def show(context: click.Context, _: click.Parameter, is_set: bool) -> None:
        if is_set and not context.resilient_parsing:
            click.echo(text(context), color=context.color)
            context.exit()

    return click.option(*names, is_flag=True, expose_value=False, is_eager=True, help=help, callback=show)


def with_help(command: click.Command) -> click.Command:
    """Add our `-h, --help` to a command, in place of click's; its subcommands keep click's."""
    if not any("--help" in parameter.opts for parameter in command.params):
        shown_and_done("-h", "--help", help="Show this message and exit.", text=click.Context.get_help)(command)
    return command


def place_options(command: F) -> F:
    """Add --home and --project, which choose the journals that a command works on."""
    command = click.option("--project", metavar="NAME", help="Only this project; otherwise every project of the home.")(
        command
    )
    return click.option("--home", metavar="FOLDER", help="The home [default: $LOCALOPS_HOME, else your data folder].")(
        command
    )


def json_option(command: F) -> F:
    """Add --json, which prints the same facts for programs."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys.")(command)


def session_argument(command: F) -> F:
    """Add the session argument: the first characters of an id, or `last`, which is the default."""
    return click.argument("session", default="last", metavar="[ID|last]")(command)


def at_most_one(**given: object) -> None:
    """Refuse options that exclude each other; each is named as a keyword, with `_` for `-`."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"give only one of {' and '.join(names)}")


def check_period(since: int | None, until: int | None) -> None:
    """Refuse a period that ends before it begins."""
    if since is not None and until is not None and since > until:
        raise click.UsageError("--since is later than --until: 3d is longer ago than 2h")


def is_given(name: str) -> bool:
    """Return whether an argument or option of the command was given, even with the value of its default."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def check_home(home: str | None) -> None:
    """Refuse a named home that does not exist: an empty result would look like an empty home."""
    fault = looking.fault(home)
    if fault is None:
        looking.refuse_cache(home)
        return
    folder = config.home(home)
    if home:
        raise click.BadParameter(f"{folder} {fault}", param_hint="--home")
    raise click.UsageError(f"LOCALOPS_HOME names {folder}, which {fault}: set it to the home, or make the folder")


def chosen_projects(home: str | None, project: str | None) -> tuple[str, list[str]]:
    """Return the home's folder and its projects, or the given one; NotFound if it does not exist."""
    from localops.errors import NotFound
    from localops.reading.home import known

    check_home(home)
    folder, only = place(home, project)
    config.check_home(folder)
    there = known(folder)
    if only is not None and only not in there:
        raise NotFound(f"no project {only!r} in {folder}; there is: {', '.join(there) or 'none yet'}")
    return folder, there if only is None else [only]


def place(home: str | None, project: str | None, *, may_be_new: bool = False) -> tuple[str, str | None]:
    """Return the home's folder and the chosen project, both checked; a command that only reads needs them to exist."""
    if not may_be_new:
        check_home(home)
    return config.home(home), config.check_project(project) if project is not None else None


def look(home: str | None, project: str | None) -> Home:
    """Open the home for one command; see `looking.look`."""
    check_home(home)
    return looking.look(home, project)


class Moment(WholeNumber):
    """A time on the command line: `2h` or `3d` ago, a day, or an ISO time (UTC unless it names a zone)."""

    name = "time"

    def __init__(self, *, end: bool = False) -> None:
        # For --until, a day means its end.
        self._end = end

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nanoseconds since 1970."""
        if isinstance(value, int):
            return value
        try:
            return filters.moment(value, end=self._end)
        except ConfigError as error:
            self.fail(str(error), parameter, context)


class Span(WholeNumber):
    """A duration on the command line: `90s`, `5m`, `2h`, `1y`; a plain number is seconds."""

    name = "time"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nanoseconds."""
        if isinstance(value, int):
            return value
        try:
            return filters.span(value)
        except ConfigError as error:
            self.fail(str(error), parameter, context)


class Size(WholeNumber):
    """A size on the command line: 500MB, 1.5GB, 2GiB."""

    name = "size"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(i?)B?", value.strip(), re.IGNORECASE)
        if not match:
            self.fail(f"invalid size {value!r}: use 500MB or 2GiB", parameter, context)
        number, unit, binary = match.groups()
        scale = _UNITS[unit.upper()]
        return round(float(number) * (1024 ** (len(str(scale)) // 3) if binary else scale))


class State(Choice):
    """A session's state on the command line, in any letter case; `Fail` is Failure, as in the API."""

    def __init__(self, states: Sequence[str]) -> None:
        super().__init__(states, case_sensitive=False)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Return the state by its usual name."""
        return super().convert("Failure" if str(value).lower() == "fail" else value, parameter, context)


class Dollars(WholeNumber):
    """An amount of US dollars on the command line: `0.25`, `$3`."""

    name = "usd"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nano-dollars."""
        if isinstance(value, int):
            return value
        try:
            return filters.dollars(value)
        except ConfigError as error:
            self.fail(str(error), parameter, context)


_UNITS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}
