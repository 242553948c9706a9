"""`localops query`: SQL of your own on a journal, which it can read and nothing else."""

from __future__ import annotations

import sys
from math import isinf

import click

from localops import output
from localops.cli import common
from localops.errors import Ambiguous, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.home import Home, Project


_LEAST = 24  # columns that text is cut to before a table is given up for blocks


@click.command()
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, safe to open in a spreadsheet.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Time it may take.")
@common.place_options
@common.json_option
def query(sql: str, as_csv: bool, seconds: float, home: str | None, project: str | None, as_json: bool) -> None:
    """Ask the journal in SQL; `-` reads it from stdin.

    One statement, and none that writes. Views to begin with: session, event_detail, session_total,
    unfinished_operation. `localops help journal` lists every table and column.
    """
    statement = sys.stdin.read() if sql == "-" else sql
    if not statement.strip():
        raise click.UsageError("there is no statement to ask")
    with common.look(home, project) as opened:
        asked = _one(opened)
        names, found = asked.reader.console(statement, seconds=seconds)
        others = len(opened.projects) > 1
    if as_json:
        common.print_json({"columns": names, "rows": [[_plain(value) for value in row] for row in found]})
    elif as_csv:
        _print_csv(names, found)
    elif names:
        whole = _print_rows(names, [[_plain(value) for value in row] for row in found])
        output.say(_count(len(found)) + ("" if whole else "; what ends in … is whole with --csv, --json or in a pipe"))
    if others and not as_json:
        output.say(f"that was project {asked.name} alone; --project names another")


def _one(opened: Home) -> Project:
    """The project that is meant: the only one, else `default`."""
    if not opened.projects:
        raise NotFound(opened.nothing_yet())
    named = {each.name: each for each in opened.projects}
    if len(named) > 1 and "default" not in named:
        raise Ambiguous(f"which project? there are {', '.join(named)}: name one with --project")
    return named.get("default", opened.projects[0])


def _plain(value: Any) -> Any:
    """Return a value of SQLite for JSON and people: an id with dashes, other bytes as hex, infinity as text."""
    if isinstance(value, bytes):
        return common.full_id(value) if len(value) == 16 else value.hex()
    return str(value) if isinstance(value, float) and isinf(value) else value


def _print_rows(names: list[str], found: list[list[Any]]) -> bool:
    """A table where a terminal has room for one, else a block for each row; whether nothing had to be cut."""
    room = common.width()
    columns = [[row[column] for row in found] for column in range(len(names))]
    needs = [
        max(output.cells_wide(str(cell)) for cell in (name, *column))
        for name, column in zip(names, columns, strict=True)
    ]
    worded = [any(isinstance(value, str) for value in column) for column in columns]
    least = [min(need, _LEAST) if text else need for need, text in zip(needs, worded, strict=True)]
    gaps = 2 * (len(names) - 1)
    if room is not None and sum(least) + gaps > room:
        _print_blocks(names, found)
        return True
    soft = [name for name, text in zip(names, worded, strict=True) if text]
    common.print_table(found, names, align="".join("l" if text else "r" for text in worded), soft=soft)
    return room is None or sum(needs) + gaps <= room


def _print_blocks(names: list[str], found: list[list[Any]]) -> None:
    for number, row in enumerate(found, 1):
        print(common.dim(f"── row {output.count(number)} "))
        common.print_pairs(
            [(output.clean(name), "–" if value is None else value) for name, value in zip(names, row, strict=True)]
        )


def _count(many: int) -> str:
    return "1 row" if many == 1 else f"{output.count(many)} rows"


def _print_csv(names: list[str], found: list[tuple[Any, ...]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in found:
        plain = (_plain(value) for value in row)
        writer.writerow([output.csv_cell(value) if isinstance(value, str) else value for value in plain])
