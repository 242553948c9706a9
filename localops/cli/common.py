"""What commands share: their common options, how they print, and what `--json` promises.

JSON is one document with `schema_version`; costs stand in it twice, as `cost_usd` (a number) and as
`cost_nano` (exact). Times are ISO 8601 in UTC, durations are seconds, ids are written in full.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager

import click

from localops import clock, config, output
from localops.journal.rows import id_text
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from localops.reading.home import Home
    from localops.reading.snapshot import Snapshot

    F = TypeVar("F", bound=Callable[..., Any])

_UNSAFE = r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
_SOFT = 18  # columns that a soft column keeps before others go
_MISSING = "localops.missing"  # where a command's context keeps what is in no figure
SCHEMA_VERSION = 1  # of every --json; grows when a key changes its meaning or goes


class Group(click.Group):
    """Commands below a command; for one that there is not it has a guess at what was meant."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant."""
        name = arguments[0]
        if self.get_command(context, name) is None and not context.resilient_parsing and name[:1] != "-":
            from difflib import get_close_matches

            close = get_close_matches(name, self.list_commands(context), cutoff=0.7)
            guess = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
            context.fail(f"there is no command {name!r}{guess}")
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, each with its first sentence."""
        with formatter.section("Commands"):
            self.describe(context, formatter, self.list_commands(context))

    def describe(self, context: click.Context, formatter: click.HelpFormatter, names: Iterable[str]) -> None:
        """These commands, each with its first sentence, which is never cut off."""
        found = ((name, self.get_command(context, name)) for name in names)
        formatter.write_dl([(name, command.get_short_help_str(100)) for name, command in found if command])


def shown_and_done(*names: str, help: str, text: Callable[[click.Context], str]) -> Callable[[F], F]:
    """An option that prints a text and ends the program.

    Click's own ones ask gettext for their help, and the `locale` module that it imports takes 2 ms of every start.
    """

    def show(context: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked and not context.resilient_parsing:
            click.echo(text(context), color=context.color)
            context.exit()

    return click.option(*names, is_flag=True, expose_value=False, is_eager=True, help=help, callback=show)


def with_help(command: click.Command) -> click.Command:
    """The command, with our `-h, --help` in place of click's; those below it keep click's."""
    if not any("--help" in parameter.opts for parameter in command.params):
        shown_and_done("-h", "--help", help="Show this message and exit.", text=click.Context.get_help)(command)
    return command


def place_options(command: F) -> F:
    """--home and --project: which journals a command works on."""
    command = click.option("--project", metavar="NAME", help="Only this project; otherwise every project of the home.")(
        command
    )
    return click.option("--home", metavar="FOLDER", help="The home [default: $LOCALOPS_HOME, else your data folder].")(
        command
    )


def json_option(command: F) -> F:
    """--json: the same facts for a program."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys.")(command)


def session_argument(command: F) -> F:
    """Which session: the first characters of its id, or `last`, which nothing at all means too."""
    return click.argument("session", default="last", metavar="[ID|last]")(command)


def check_home(home: str | None) -> None:
    """Refuse a --home that is not there: an empty answer would look like an empty home."""
    folder = config.home(home)
    if home is not None and not os.path.isdir(folder):
        what = "is no folder" if os.path.lexists(folder) else "is not there: there is no such folder"
        raise click.BadParameter(f"{folder} {what}", param_hint="--home")
    say_missing_home(home)


def say_missing_home(home: str | None) -> None:
    """Say that LOCALOPS_HOME leads nowhere, and no more than that: a program may be about to make the folder."""
    folder = config.home(home)
    if home is None and os.environ.get("LOCALOPS_HOME") and not os.path.lexists(folder):
        output.say(f"there is no such folder as {folder}, which LOCALOPS_HOME names: nothing is recorded there")


def chosen_projects(home: str | None, project: str | None) -> tuple[str, list[str]]:
    """Return the home's folder and its projects, or the one that is asked for; NotFound where there is no such one."""
    from localops.errors import NotFound
    from localops.reading.home import known

    check_home(home)
    folder, only = place(home, project)
    config.check_home(folder)
    there = known(folder)
    if only is not None and only not in there:
        raise NotFound(f"no project {only!r} in {folder}; there is: {', '.join(there) or 'none yet'}")
    return folder, there if only is None else [only]


def place(home: str | None, project: str | None) -> tuple[str, str | None]:
    """The home's folder and the one project meant, both checked."""
    return config.home(home), config.check_project(project) if project is not None else None


@contextmanager
def look(home: str | None, project: str | None) -> Iterator[Home]:
    """The home, opened for one command; what is in no figure of it is said, and told in its --json.

    A project that cannot be read hides no other, but the exit code is 1.
    """
    from localops.reading.home import Home

    check_home(home)
    with Home(home, project, strict=False) as opened:
        unreadable = opened.unreadable
        if unreadable and not opened.projects:
            raise next(iter(unreadable.values()))
        for name, error in unreadable.items():
            output.say(f"{name} is left out: {error}")
        for name, many in opened.waiting.items():
            output.say(f"{name}: {waiting_rows(many)}, in no figure yet: `localops doctor` knows more")
        missing = {"spilled_waiting": sum(opened.waiting.values()), "unreadable": sorted(unreadable)}
        click.get_current_context().meta[_MISSING] = missing
        yield opened


def exit_code(context: click.Context) -> int:
    """Of a command that has come to its end: 1 when a project had to be left out."""
    return 1 if context.meta.get(_MISSING, {}).get("unreadable") else 0


def waiting_rows(many: int) -> str:
    """How many rows are not in the journal yet, and where they are."""
    return f"{output.counted(many, 'row waits', 'rows wait')} in the spill file"


def print_json(facts: dict[str, Any]) -> None:
    """One JSON document on stdout, its schema version first; what could steer a terminal is escaped."""
    import json

    missing = click.get_current_context().meta.get(_MISSING, {})
    document = {"schema_version": SCHEMA_VERSION, **missing, **facts}
    print(_escaped(json.dumps(document, indent=2, ensure_ascii=False)))


def print_json_line(facts: dict[str, Any]) -> None:
    """One JSON document on one line, for output that has no end."""
    import json

    print(_escaped(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, ensure_ascii=False)), flush=True)


def _escaped(text: str) -> str:
    return re.sub(_UNSAFE, lambda found: "".join(f"\\u{unit:04x}" for unit in _units(found[0])), text)


def _units(character: str) -> Iterable[int]:
    data = character.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def print_table(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    *,
    align: str = "",
    soft: Collection[str] = (),
    least: int = _SOFT,
    spare: Sequence[str] = (),
    styles: Mapping[str, Callable[[str], str]] | None = None,
) -> None:
    """A table that fits the terminal; into a file or a pipe, whole and plain.

    Where it is too wide, the `spare` columns go, one after another, until the `soft` ones can have their
    `least`; then those are cut.
    """
    chosen = _fitting(rows, headers, dict.fromkeys(soft, least), spare)
    titles = [headers[column] for column in chosen]
    text = output.table(
        [[row[column] for column in chosen] for row in rows],
        titles,
        align="".join(align[column] if column < len(align) else "l" for column in chosen),
        width=width(),
        firm=[index for index, title in enumerate(titles) if title not in soft],
    )
    lines = text.splitlines()
    spans = [found.span() for found in re.finditer("─+", lines[1])]
    wanted = [(spans[titles.index(title)], style) for title, style in (styles or {}).items() if title in titles]
    for line in lines[:2]:
        print(dim(line))
    for line in lines[2:]:
        print(_coloured(line, wanted))


def _fitting(
    rows: Sequence[Sequence[object]], headers: Sequence[str], least: Mapping[str, int], spare: Sequence[str]
) -> list[int]:
    """The columns that there is room for, if a soft one has no more than its least."""
    chosen = list(range(len(headers)))
    room = width()
    if room is None:
        return chosen
    needs = [
        max(len(title), *(output.cells_wide(str(row[column])) for row in rows)) if rows else len(title)
        for column, title in enumerate(headers)
    ]
    needs = [min(need, least.get(headers[column], need)) for column, need in enumerate(needs)]
    for title in spare:
        if sum(needs[column] + 2 for column in chosen) - 2 <= room:
            break
        if title in headers:
            chosen.remove(headers.index(title))
    return chosen


def _coloured(line: str, wanted: Iterable[tuple[tuple[int, int], Callable[[str], str]]]) -> str:
    """Colours go in last, so that they take no room in the layout; from right to left."""
    for (first, last), style in sorted(wanted, key=lambda part: part[0], reverse=True):
        start, end = _index_at(line, first), _index_at(line, last)
        line = line[:start] + style(line[start:end]) + line[end:]
    return line


def _index_at(line: str, cell: int) -> int:
    """Where in the text the character stands that is shown in that cell."""
    if line.isascii():
        return cell
    index = seen = 0
    while index < len(line) and seen < cell:
        seen += output.cells_wide(line[index])
        index += 1
    return index


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Names and what they stand for, one below the other; what is too long goes on below itself."""
    longest = max((output.cells_wide(name) for name, _ in pairs), default=0)
    room = width()
    for name, value in pairs:
        text = output.clean(str(value), newlines=room is not None)
        first, *more = output.wrap(text, max(room - longest - 2, 20)) if room else [text]
        print(f"{dim(name + ' ' * (longest - output.cells_wide(name)))}  {first}")
        for line in more:
            print(" " * (longest + 2) + line)


def print_heading(session: Snapshot) -> None:
    """Print which session it is about."""
    print(f"{bold(title(session.story.name))}  {state(session.standing.state)}  {dim(id_text(session.id))}")
    print()


def title(name: str | None) -> str:
    """Return what a session is called, safe for a terminal."""
    return output.clean(name) if name else "unnamed"


def width() -> int | None:
    """The columns of the terminal we print to; None when it is none."""
    return output.terminal_width(sys.stdout)


def styled(text: str, style: str) -> str:
    """Clean text in a style, where stdout is a terminal that wants it."""
    return output.colour(text, style, sys.stdout)


def bold(text: str) -> str:
    """A heading."""
    return styled(text, "bold")


def dim(text: str) -> str:
    """What is there to be overlooked."""
    return styled(text, "dim")


def state(text: str) -> str:
    """How a session stands, in its colour."""
    colours = {"Success": "green", "Failure": "red", "Running": "cyan", "Indeterminate": "yellow"}
    return styled(text, colours.get(text.strip(), "dim"))


def errors(text: str) -> str:
    """A number of errors, hard to overlook if there are any."""
    return text if text.strip() == "0" else styled(text, "red")


def short_id(id: bytes) -> str:
    """An id for a table, long enough to be typed back: its first 13 characters are a time in milliseconds."""
    return id_text(id)[:13]


def money(nano: int, unpriced: int, calls: int) -> str:
    """A cost that admits what it does not know: `unpriced` if no call has a price, `+ ?` if not all do."""
    if unpriced and unpriced >= calls and not nano:
        return "unpriced"
    return output.money(nano) + (" + ?" if unpriced else "")


class Moment(click.ParamType[int]):
    """A time as people give it: `2h` or `3d` ago, a day, or an ISO time, in UTC unless it names a zone."""

    name = "time"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end  # a day stands for its end, not its beginning

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Nanoseconds since 1970."""
        if isinstance(value, int):
            return value
        text = value.strip()
        if found := re.fullmatch(r"(\d+(?:\.\d+)?) *([smhdw])", text):
            return clock.now_ns() - round(float(found[1]) * _SECONDS[found[2]] * 1e9)
        at = events.to_ns(text)
        if at is None:
            self.fail(f"invalid time {value!r}: use 2h, 3d, 2026-11-21 or 2026-11-21T08:30", parameter, context)
        return at + _SECONDS["d"] * 1_000_000_000 if self._end and re.fullmatch(r"\d{4}-\d\d-\d\d", text) else at


class Span(click.ParamType[int]):
    """A length of time as people give it: `90s`, `5m`, `2h`; a plain number is seconds."""

    name = "time"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nanoseconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *(ms|[smhdw])?", value.strip())
        if not match:
            self.fail(f"invalid length of time {value!r}: use 250ms, 90s, 5m or 2h", parameter, context)
        return round(float(match[1]) * {"ms": 0.001, **_SECONDS}[match[2] or "s"] * 1e9)


class Dollars(click.ParamType[int]):
    """A sum in US dollars as people give it: `0.25`, `$3`."""

    name = "usd"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Return nano-dollars."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\$?(\d+(?:\.\d+)?|\.\d+)", value.strip())
        if not match:
            self.fail(f"invalid sum {value!r}: use US dollars such as 0.25", parameter, context)
        return round(float(match[1]) * 1e9)


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def bytes_text(size: int) -> str:
    """A size for a person: `812 B`, `4.1 MB`."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
