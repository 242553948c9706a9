"""What commands share: their common options, how they print, and what `--json` promises.

JSON is one document with `schema_version`; costs stand in it twice, as `cost_usd` (a number) and as
`cost_nano` (exact). Times are ISO 8601 in UTC, durations are seconds, ids are written in full.
"""

from __future__ import annotations

import sys
import uuid

import click

from localops import config, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

_UNSAFE = (
    r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)
SCHEMA_VERSION = 1  # of every --json; grows when a key changes its meaning or goes


def place_options(command: F) -> F:
    """--home and --project: which journals a command works on."""
    command = click.option(
        "--project", metavar="NAME", help="Only this project; otherwise every project of the home."
    )(command)
    return click.option(
        "--home", metavar="FOLDER", help="The home [default: $LOCALOPS_HOME, else your data folder]."
    )(command)


def json_option(command: F) -> F:
    """--json: the same facts for a program."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys.")(
        command
    )


def session_argument(command: F) -> F:
    """Which session: the first characters of its id, or `last`, which nothing at all means too."""
    return click.argument("session", default="last", metavar="[ID|last]")(command)


def place(home: str | None, project: str | None) -> tuple[str, str | None]:
    """The home's folder and the one project meant, both checked."""
    return config.home(home), config.check_project(project) if project is not None else None


def print_json(facts: dict[str, Any]) -> None:
    """One JSON document on stdout, its schema version first; what could steer a terminal is escaped."""
    import json

    print(_escaped(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, indent=2, ensure_ascii=False)))


def print_json_line(facts: dict[str, Any]) -> None:
    """One JSON document on one line, for output that has no end."""
    import json

    print(_escaped(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, ensure_ascii=False)), flush=True)


def _escaped(text: str) -> str:
    import re

    return re.sub(_UNSAFE, lambda found: "".join(f"\\u{unit:04x}" for unit in _units(found[0])), text)


def _units(character: str) -> Iterable[int]:
    data = character.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def print_table(rows: Sequence[Sequence[object]], headers: Sequence[str], *, align: str = "") -> None:
    """A table that fits the terminal; into a file or a pipe, whole and plain."""
    lines = output.table(rows, headers, align=align, width=width()).splitlines()
    for line in lines[:2]:
        print(dim(line))
    for line in lines[2:]:
        print(line)


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


def full_id(id: bytes) -> str:
    """An id as users give and get it: a dashed UUID."""
    return str(uuid.UUID(bytes=id))


def short_id(id: bytes) -> str:
    """An id for a table, long enough to be typed back: its first 13 characters are a time in milliseconds."""
    return full_id(id)[:13]


def money_keys(nano: int | None, name: str = "cost") -> dict[str, float | int | None]:
    """A cost in JSON: dollars to read, nano-dollars to count with."""
    return {f"{name}_usd": None if nano is None else nano / 1e9, f"{name}_nano": nano}
