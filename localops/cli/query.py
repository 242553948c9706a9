"""`localops query`: run a read-only SQL statement on journals."""

from __future__ import annotations

import re
import sys
from math import isinf

import click

from localops import config, output
from localops.cli import common
from localops.errors import NotFound
from localops.journal.reader import numbered
from localops.journal.rows import id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.journal.reader import Table
    from localops.reading.home import Home, Project


# Columns with ids as text, and columns with ids as 16 bytes: SQLite never finds the two equal.
_TEXT_IDS = {
    "session": "session_id",
    "post_mortem": "session_id first_id ending_id",
    "once_step": "session_id id",
    "tool_loop": "session_id first_id last_id",
    "tool_failure": "session_id last_id",
    "event_detail": "id session parent agent",
    "event_tag": "id session",
    "score": "id session event",
    "note": "id session event",
}
_BYTE_IDS = {
    "event": "id session parent agent",
    "unfinished_operation": "id session parent agent",
    "story": "id session participant",
    "score_row": "id session target",
    "scored": "id target",
    "milestone": "id session participant",
    "id_of": "id",
    "unfinished": "id",
    **dict.fromkeys(("total", "session_total", "session_row", "session_tag", "facet_part", "tail", "gone"), "session"),
}
_KINDS = {
    (table, column): kind
    for kind, tables in (("text", _TEXT_IDS), ("bytes", _BYTE_IDS))
    for table, columns in tables.items()
    for column in columns.split()
}
_MADE = re.compile(r"\b(post_mortem|once_step|tool_\w+)\b", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_TABLE = re.compile(r"(?:\bfrom|\bjoin|,)\s+(\w+)(?:\s+(?:as\s+)?(\w+))?", re.IGNORECASE)
_COLUMN = r"\b(?:(\w+)\.)?(\w+)"
_EQUAL = re.compile(rf"(?<![.\w]){_COLUMN}\s*(?:={{1,2}}|<>|!=|\bis\b)\s*{_COLUMN}\b(?!\s*[.(])", re.IGNORECASE)
_IN = re.compile(
    rf"(?<![.\w]){_COLUMN}\s+(?:not\s+)?in\s*\(\s*select\s+(?:distinct\s+)?{_COLUMN}\s+from\s+(\w+)", re.IGNORECASE
)
_USING = re.compile(r"\busing\s*\(([^)]*)\)", re.IGNORECASE)
_OVER_ALL = re.compile(r"\b(limit|(order|group)\s+by|distinct|(count|sum|avg|min|max|total)\s*\()", re.IGNORECASE)
# Width that text is cut to before rows are printed as blocks instead of a table.
_LEAST = 24


@click.command()
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, safe to open in a spreadsheet.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Time limit.")
@common.place_options
@common.json_option
def query(sql: str, as_csv: bool, seconds: float, home: str | None, project: str | None, as_json: bool) -> None:
    """Run an SQL statement on the journal; `-` reads it from stdin.

    It may only read. Views to begin with: session, event_detail, session_total, unfinished_operation. Tables that are
    calculated for statements that name them: post_mortem, once_step, tool_loop, tool_failure. `localops help journal`
    lists every table and column. In a home with several projects, the statement runs on each of them separately, LIMIT
    and ORDER BY included, and the first column is `project`; --project chooses one.
    """
    common.at_most_one(csv=as_csv, json=as_json)
    statement = sys.stdin.read() if sql == "-" else sql
    if not statement.strip():
        raise click.UsageError("the statement is empty")
    with common.look(home, project) as opened:
        names, rows = _ask(opened, statement, seconds)
        many = len(opened.projects)
        # A sum over no rows is one row with 0 or null, which is no answer either.
        _say_what_surprises(statement, many, any_values=any(any(row[many > 1 :]) for row in rows))
    if as_json:
        keys = numbered(names)
        common.print_json({"columns": names, "rows": [dict(zip(keys, map(_plain, row), strict=True)) for row in rows]})
    elif as_csv:
        _print_csv(names, rows)
    elif names:
        whole = _print_rows(names, [[_plain(value) for value in row] for row in rows])
        _print_count(len(rows), whole=whole)


def _ask(opened: Home, statement: str, seconds: float) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return column names and rows from every project; with several projects, the first column is the project."""
    # Without a journal there is nothing to run the statement on, and no columns to print.
    if not opened.projects:
        raise NotFound(opened.nothing_yet())
    answers = [
        (each.name, *each.reader.console(statement, seconds=seconds, tables=_tables(opened, each, statement, seconds)))
        for each in opened.projects
    ]
    if len(answers) == 1:
        return answers[0][1:]
    names = next((names for _, names, _ in answers if names), [])
    if not names:
        return [], []
    return ["project", *names], [(name, *row) for name, _, rows in answers for row in rows]


def _tables(opened: Home, project: Project, statement: str, seconds: float) -> dict[str, Table]:
    """Return the tables that a statement names and that are calculated for it."""
    if not _MADE.search(statement):
        return {}
    from localops.reading import made_tables  # it loads more than most statements need

    return made_tables.tables(project, statement, config.polling(opened.folder), seconds=seconds)


def _say_what_surprises(statement: str, projects: int, *, any_values: bool) -> None:
    """Explain surprising answers: ids that cannot match, projects that are queried one by one."""
    if not any_values and _compares_text_with_bytes(statement):
        output.say(
            "ids are text in session_id, event_detail, event_tag, post_mortem, once_step, tool_loop and tool_failure, "
            "bytes in the others: to join the two write unhex(replace(session_id, '-', ''))"
        )
    if projects > 1 and _OVER_ALL.search(statement):
        output.say(
            f"each of the {projects} projects was queried separately: limit, order and sums are per project; "
            "--project chooses one"
        )


def _compares_text_with_bytes(statement: str) -> bool:
    """Return whether a statement seems to compare ids that are text with ids that are bytes."""
    words = _QUOTED.sub("''", statement).lower()
    tables: dict[str, str] = {}
    for table, alias in _TABLE.findall(words):
        tables |= {table: table, alias or table: table}

    def kinds(name: str, column: str, *only: str) -> set[str]:
        """Return whether a column is text or bytes; both if it is not known which one is meant."""
        among = [tables.get(name, name)] if name else only or tables.values()
        return {kind for table in among if (kind := _KINDS.get((table, column))) is not None}

    pairs = [(kinds(*match[:2]), kinds(*match[2:])) for match in _EQUAL.findall(words)]
    for *outer, name, column, table in _IN.findall(words):
        others = [each for each in tables.values() if each != table]
        pairs.append((kinds(*outer, *others), kinds(name, column, table)))
    differ = any(len(left) == len(right) == 1 and left != right for left, right in pairs)
    joined = (column.strip() for columns in _USING.findall(words) for column in columns.split(","))
    return differ or any(len(kinds("", column)) > 1 for column in joined)


def _plain(value: Any) -> Any:
    """Return a value of SQLite for JSON and people: an id with dashes, other bytes as hex, infinity as text."""
    if isinstance(value, bytes):
        # In every column, 16 bytes are an id.
        return id_text(value) if len(value) == 16 else value.hex()
    # JSON has no infinity, which SQLite returns for 9e999.
    return str(value) if isinstance(value, float) and isinf(value) else value


def _print_rows(names: list[str], rows: list[list[Any]]) -> bool:
    """Print a table if the terminal has room, else a block for each row; return whether every value is complete."""
    room = common.width()
    columns = [[row[column] for row in rows] for column in range(len(names))]
    needs = [
        max(output.cells_wide(str(cell)) for cell in (name, *column))
        for name, column in zip(names, columns, strict=True)
    ]
    worded = [any(isinstance(value, str) for value in column) for column in columns]
    least = [min(need, _LEAST) if text else need for need, text in zip(needs, worded, strict=True)]
    gaps = 2 * (len(names) - 1)
    if room is not None and sum(least) + gaps > room:
        _print_blocks(names, rows)
        return True
    soft = [name for name, text in zip(names, worded, strict=True) if text]
    common.print_table(rows, names, align="".join("l" if text else "r" for text in worded), soft=soft)
    return room is None or sum(needs) + gaps <= room


def _print_blocks(names: list[str], rows: list[list[Any]]) -> None:
    for number, row in enumerate(rows, 1):
        print(common.dim(f"── row {output.count(number)} "))
        common.print_pairs(
            [(output.clean(name), "–" if value is None else value) for name, value in zip(names, row, strict=True)]
        )


def _print_count(many: int, *, whole: bool) -> None:
    text = output.counted(many, "row") + (
        "" if whole else "; text ending in … is complete with --csv, --json or in a pipe"
    )
    # On a terminal, the pager shows the rows when the command ends: a line on stderr would come before them.
    if sys.stdout.isatty():
        print(common.dim(text))
    else:
        output.say(text)


def _print_csv(names: list[str], rows: list[tuple[Any, ...]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        plain = (_plain(value) for value in row)
        writer.writerow([output.csv_cell(value) if isinstance(value, str) else value for value in plain])
