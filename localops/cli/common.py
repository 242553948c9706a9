"""Options and printing that commands share, and the format of `--json`.

JSON is one document with `schema_version`. Each cost has two keys, `cost_usd` (a number) and `cost_nano` (exact).
Times are ISO 8601 in UTC, durations are seconds, ids are written in full.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager

import click
from click.core import ParameterSource

from localops import clock, config, output
from localops.journal.rows import id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from localops.reading.home import Home
    from localops.reading.snapshot import Snapshot

    F = TypeVar("F", bound=Callable[..., Any])
    Choice = click.Choice[str]
    WholeNumber = click.ParamType[int]
else:
    # In older releases of click they have no type parameter.
    Choice = click.Choice
    WholeNumber = click.ParamType

# Control, format and bidirectional characters, and lone surrogates: they could change what a terminal shows.
_UNSAFE = r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
# Columns that a soft column keeps before spare columns are dropped.
_SOFT = 18
# Columns that a soft column keeps where a terminal is too narrow for that.
_NARROWEST = 8
# Key of the click context under which a command keeps what its figures lack.
_MISSING = "localops.missing"
# Of every --json document; raised when a key is removed or changes its meaning.
SCHEMA_VERSION = 1


class Group(click.Group):
    """A group of commands that suggests a similar name for an unknown one."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command to run, or fail with a suggestion."""
        name = arguments[0]
        if self.get_command(context, name) is None and not context.resilient_parsing and name[:1] != "-":
            from difflib import get_close_matches

            close = get_close_matches(name, self.list_commands(context), cutoff=0.7)
            guess = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
            context.fail(f"unknown command {name!r}{guess}")
        return super().resolve_command(context, arguments)

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
    """Refuse options that exclude each other, instead of following one of them; each by its name, `_` for `-`."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"give only one of {' and '.join(names)}")


def check_period(since: int | None, until: int | None) -> None:
    """Refuse a period that ends before it begins, in which nothing can lie."""
    if since is not None and until is not None and since > until:
        raise click.UsageError("--since is later than --until: 3d is longer ago than 2h")


def is_given(name: str) -> bool:
    """Return whether an argument or option of the command was given, even with the value of its default."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def check_home(home: str | None) -> None:
    """Refuse a home that was named and does not exist: an empty result would look like an empty home.

    The default home may be missing: on a new machine there is nothing in it yet. A home that could not be made has
    its rows in the user's state folder.
    """
    folder = config.home(home)
    if not (home or os.environ.get("LOCALOPS_HOME")) or os.path.isdir(folder):
        return
    from localops.journal import spill

    if spill.strays(folder):
        return
    what = "is not a directory" if os.path.lexists(folder) else "does not exist"
    if home:
        raise click.BadParameter(f"{folder} {what}", param_hint="--home")
    raise click.UsageError(f"LOCALOPS_HOME names {folder}, which {what}: set it to the home, or make the folder")


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


@contextmanager
def look(home: str | None, project: str | None) -> Iterator[Home]:
    """Open the home for one command; what its figures lack is printed as a warning, and is part of its --json.

    A project that cannot be read does not stop the command from showing the others, but the exit code is 1.
    """
    from localops.reading.home import Home

    check_home(home)
    with Home(home, project, strict=False) as opened:
        unreadable = opened.unreadable
        if unreadable and not opened.projects:
            raise next(iter(unreadable.values()))
        for name, error in unreadable.items():
            output.say(f"skipping {name}: {error}")
        for name, many in opened.waiting.items():
            output.say(f"{name}: {waiting_rows(many)}, not counted in figures yet: run `localops doctor`")
        missing = {"spilled_waiting": sum(opened.waiting.values()), "unreadable": sorted(unreadable)}
        click.get_current_context().meta[_MISSING] = missing
        yield opened


def exit_code(context: click.Context) -> int:
    """Return the exit code of a finished command: 1 if it had to skip a project."""
    return 1 if context.meta.get(_MISSING, {}).get("unreadable") else 0


def waiting_rows(many: int) -> str:
    """Describe how many rows are in the spill file and not yet in the journal."""
    return f"{output.counted(many, 'row waits', 'rows wait')} in the spill file"


def print_json(facts: dict[str, Any]) -> None:
    """Print one JSON document, its schema version first; characters that could control a terminal are escaped."""
    import json

    missing = click.get_current_context().meta.get(_MISSING, {})
    document = {"schema_version": SCHEMA_VERSION, **missing, **facts}
    print(_escaped(json.dumps(document, indent=2, ensure_ascii=False)))


def print_json_line(facts: dict[str, Any]) -> None:
    """Print one JSON document on one line, for output without an end."""
    import json

    print(_escaped(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, ensure_ascii=False)), flush=True)


def _escaped(text: str) -> str:
    return re.sub(_UNSAFE, lambda match: "".join(f"\\u{unit:04x}" for unit in _units(match[0])), text)


def _units(character: str) -> Iterable[int]:
    # JSON escapes are UTF-16: a character outside of the basic plane takes two.
    data = character.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def print_table(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    *,
    align: str = "",
    soft: Collection[str] = (),
    least: int = _SOFT,
    narrowest: int = _NARROWEST,
    spare: Sequence[str] = (),
    styles: Mapping[str, Callable[[str], str]] | None = None,
) -> None:
    """Print a table that fits the terminal; into a file or a pipe, whole and without colours.

    Where it is too wide, `spare` columns are dropped one after another until every `soft` one has room for its
    `least`; then the soft ones are cut, to `narrowest` at most. Where not even the others fit, each row is printed as
    a block: an id or a cost that is cut says nothing.
    """
    chosen = _fitting(rows, headers, dict.fromkeys(soft, least), narrowest, spare)
    if chosen is None:
        _print_blocks(rows, headers, styles or {})
        return
    titles = [headers[column] for column in chosen]
    text = output.table(
        [[row[column] for column in chosen] for row in rows],
        titles,
        align="".join(align[column] if column < len(align) else "l" for column in chosen),
        width=width(),
        firm=[index for index, title in enumerate(titles) if title not in soft],
    )
    lines = text.splitlines()
    spans = [match.span() for match in re.finditer("─+", lines[1])]
    wanted = [(spans[titles.index(title)], style) for title, style in (styles or {}).items() if title in titles]
    for line in lines[:2]:
        print(dim(line))
    for line in lines[2:]:
        print(_coloured(line, wanted))


def _fitting(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    least: Mapping[str, int],
    narrowest: int,
    spare: Sequence[str],
) -> list[int] | None:
    """Return the columns that fit when every soft one is cut to its least width; None if too few do."""
    chosen = list(range(len(headers)))
    room = width()
    if room is None:
        return chosen
    needs = [
        max(len(title), *(output.cells_wide(str(row[column])) for row in rows)) if rows else len(title)
        for column, title in enumerate(headers)
    ]
    # A soft column needs no more than its least width: it can be cut.
    widths = [min(need, least.get(headers[column], need)) for column, need in enumerate(needs)]
    for title in spare:
        if sum(widths[column] + 2 for column in chosen) - 2 <= room:
            break
        if title in headers:
            chosen.remove(headers.index(title))
    widths = [min(need, narrowest) if headers[column] in least else need for column, need in enumerate(needs)]
    return chosen if sum(widths[column] + 2 for column in chosen) - 2 <= room else None


def _print_blocks(
    rows: Sequence[Sequence[object]], headers: Sequence[str], styles: Mapping[str, Callable[[str], str]]
) -> None:
    """Print each row as lines of a name and a value, with an empty line between two rows."""
    for number, row in enumerate(rows):
        if number:
            print()
        cells = [(title, str(value)) for title, value in zip(headers, row, strict=True) if title]
        print_pairs([(title, text) for title, text in cells if text.strip()], styles)


def _coloured(line: str, wanted: Iterable[tuple[tuple[int, int], Callable[[str], str]]]) -> str:
    """Return a line with styles in some spans of its cells."""
    # From right to left: a style makes the line longer, and must not move the spans that are still to come.
    for (first, last), style in sorted(wanted, key=lambda part: part[0], reverse=True):
        start, end = _index_at(line, first), _index_at(line, last)
        line = line[:start] + style(line[start:end]) + line[end:]
    return line


def _index_at(line: str, cell: int) -> int:
    """Return the index of the character that a terminal shows in this cell."""
    if line.isascii():
        return cell
    index = seen = 0
    while index < len(line) and seen < cell:
        seen += output.cells_wide(line[index])
        index += 1
    return index


def print_pairs(pairs: Sequence[tuple[str, object]], styles: Mapping[str, Callable[[str], str]] | None = None) -> None:
    """Print names and values in two columns; a long value continues below itself."""
    longest = max((output.cells_wide(name) for name, _ in pairs), default=0)
    room = width()
    for name, value in pairs:
        text = output.clean(str(value), newlines=room is not None)
        # At least 20 columns, even on a terminal that is too narrow for them: it then breaks lines itself.
        first, *more = output.wrap(text, max(room - longest - 2, 20)) if room else [text]
        style = (styles or {}).get(name)
        first = style(first) if style else first
        print(f"{dim(name + ' ' * (longest - output.cells_wide(name)))}  {first}")
        for line in more:
            print(" " * (longest + 2) + line)


def print_heading(session: Snapshot) -> None:
    """Print a session's name, state and id."""
    print(f"{bold(title(session.story.name))}  {state(session.standing.state)}  {dim(id_text(session.id))}")
    print()


def title(name: str | None) -> str:
    """Return a session's name, safe for a terminal."""
    return output.clean(name) if name else "unnamed"


def width() -> int | None:
    """Return the width of the terminal that stdout is; None for a file or a pipe."""
    return output.terminal_width(sys.stdout)


def styled(text: str, style: str) -> str:
    """Return clean text in a style, if stdout is a terminal with colours."""
    return output.colour(text, style, sys.stdout)


def bold(text: str) -> str:
    """Return text as a heading."""
    return styled(text, "bold")


def dim(text: str) -> str:
    """Return text in the style of secondary information."""
    return styled(text, "dim")


def state(text: str) -> str:
    """Return a session's state in its colour."""
    colours = {"Success": "green", "Failure": "red", "Running": "cyan", "Indeterminate": "yellow"}
    return styled(text, colours.get(text.strip(), "dim"))


def errors(text: str) -> str:
    """Return a number of errors, in red unless it is 0."""
    return text if text.strip() == "0" else styled(text, "red")


def short_id(id: bytes) -> str:
    """Return the first 13 characters of an id, its time in milliseconds: enough to name a session in a command."""
    return id_text(id)[:13]


NAMELESS = "(nameless)"  # a tool that was called by no name


def at_least(text: str, seen: Snapshot) -> str:
    """Return how long a session took, marked where it may have been longer: its process died after the last row."""
    return f"at least {text}, to its last row" if seen.is_cut_off else text


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
        text = value.strip()
        if match := re.fullmatch(r"(\d+(?:\.\d+)?) *([smhdw])", text):
            return clock.now_ns() - round(float(match[1]) * _SECONDS[match[2]] * 1e9)
        from localops.recording import events  # most commands are given no time

        at = events.to_ns(text)
        if at is None:
            self.fail(f"invalid time {value!r}: use 2h, 3d, 2026-11-21 or 2026-11-21T08:30", parameter, context)
        return at + _SECONDS["d"] * 1_000_000_000 if self._end and re.fullmatch(r"\d{4}-\d\d-\d\d", text) else at


class Span(WholeNumber):
    """A duration on the command line: `90s`, `5m`, `2h`, `1y`; a plain number is seconds."""

    name = "time"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nanoseconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *(ms|[smhdwy])?", value.strip())
        if not match:
            self.fail(f"invalid duration {value!r}: use 250ms, 90s, 5m or 2h", parameter, context)
        return round(float(match[1]) * {"ms": 0.001, **_SECONDS}[match[2] or "s"] * 1e9)


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
        match = re.fullmatch(r"\$?(\d+(?:\.\d+)?|\.\d+)", value.strip())
        if not match:
            self.fail(f"invalid amount {value!r}: use US dollars such as 0.25", parameter, context)
        return round(float(match[1]) * 1e9)


_UNITS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def bytes_text(size: int) -> str:
    """Return a size for people: `812 B`, `4.1 MB`."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
