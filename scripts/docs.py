#!/usr/bin/env python3
"""Write what is made from the code: commands into cli.md, SQL into journal.md, AgentOps' names, the README's topics.

Only the part between the two marks of a page is generated; the rest is written by hand. With `--check` nothing is
written, and a page that differs from the code is a failure.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from textwrap import fill

import apsw
import click

TOP = Path(__file__).resolve().parent.parent
PAGES = TOP / "localops" / "docs"
BEGIN, END = "<!-- made by scripts/docs.py -->\n", "<!-- end -->\n"
WIDTH = 78  # of a command's help and of a paragraph: it fits a page, and a terminal that shows one

sys.path[:0] = [str(TOP), str(TOP / "sync")]

from localops.journal import sql  # noqa: E402  the repository's own, installed or not


def main() -> int:
    """Bring every page up to date, or print which are not."""
    pages = {
        PAGES / "cli.md": commands,
        PAGES / "journal.md": schema,
        PAGES / "agentops-names.md": agentops_names,
        TOP / "README.md": topics,
    }
    stale = [path.stem for path, made in pages.items() if not _bring(path, made())]
    if stale and "--check" in sys.argv[1:]:
        print(f"out of date: {', '.join(stale)}; run scripts/fix")
        return 1
    return 0


def _bring(path: Path, lines: Iterator[str]) -> bool:
    """Put the lines into their page, unless with --check; return True if the page was up to date."""
    page = path.read_text()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    made = before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after
    if made != page and "--check" not in sys.argv[1:]:
        path.write_text(made)
    return made == page


# The commands


def commands() -> Iterator[str]:
    """Yield the help of each command."""
    from localops.cli.group import commands as command

    yield from _all_help(command, "localops")


def _all_help(command: click.Command, name: str) -> Iterator[str]:
    """Yield the help of a command, and of those below it."""
    context = _context(command, name)
    yield from _help(command, context)
    if not isinstance(command, click.Group):
        return
    for below in command.list_commands(context):
        subcommand = command.get_command(context, below)
        assert subcommand is not None
        yield from _all_help(subcommand, f"{name} {below}")


def _context(command: click.Command, name: str) -> click.Context:
    return click.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from (f"## {context.info_name}", "", "```text", *command.get_help(context).splitlines(), "```", "")


# The pages by what a reader wants to do


def topics() -> Iterator[str]:
    """Yield a table of the pages, under headings."""
    from localops.cli.topics import TOPICS

    yield from ("| | |", "|---|---|")
    for heading, pages in TOPICS.items():
        yield f"| **{heading}** | |"
        for topic, text in pages.items():
            yield f"| [{topic}](localops/docs/{topic}.md) | {text} |"


# AgentOps' names


def agentops_names() -> Iterator[str]:
    """Each module of AgentOps, the names in it that work, and those that do nothing."""
    from localops import agentops
    from localops.dropin.names import MODULES, NOTHING

    yield from ("| module | works | warns once, does nothing |", "|---|---|---|")
    for module, by_source in MODULES.items():
        works = [name for source, names in by_source.items() if source != NOTHING for name in names.split()]
        works += agentops.__all__ if not module else []
        title = f"agentops.{module}" if module else "agentops"
        yield f"| `{title}` | {_listed(works)} | {_listed(by_source.get(NOTHING, '').split())} |"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(set(names)))


# The journal


def schema() -> Iterator[str]:
    """Yield each table, view and named query, with its comments in the SQL files."""
    text = sql.script("schema.sql")
    views = sql.script("views.sql")
    yield from ("## Tables", "")
    for name in re.findall(r"^create table (\w+)\(", text, re.MULTILINE):
        yield from (f"### {name}", "", *_about(text, f"create table {name}("), *_columns(text, name), "")
    yield from ("## Views", "")
    for name, columns in _views(text, views):
        yield from (
            f"### {name}",
            "",
            *_about(views, f"create view {name} "),
            _wrapped(f"Columns: {columns}."),
            "",
        )
    yield from ("## Tables for a statement", "", *_made_tables())
    yield from (
        "## Named queries",
        "",
        "What the library itself asks, by the file in `localops/journal/sql/` that it stands in.",
        "",
    )
    for file in ("queries", "lists", "search"):
        yield from (f"### {file}.sql", "", *_queries(f"{file}.sql"), "")


def _made_tables() -> Iterator[str]:
    """Yield the tables that `localops query` makes, with their columns."""
    from localops.reading.made_tables import ABOUT, COLUMNS

    yield _wrapped(
        "`localops query`, `query` of `localops mcp` and exports to SQLite have these tables. They are made of the "
        "rows when a statement names them; another tool that opens the journal does not have them. `session_id` joins "
        "them with the view `session`, ids with `event_detail`. `post_mortem` reads each session of the project: a few "
        "hundred in a second."
    )
    yield ""
    for table, columns in COLUMNS.items():
        yield from (f"### {table}", "", _wrapped(ABOUT[table]), "", "| column | type | what it is |", "|---|---|---|")
        yield from (f"| {name} | {_KINDS[kind]} | {text} |" for name, (kind, text) in columns.items())
        yield ""


_KINDS = {str: "text", int: "integer", float: "real"}


def _about(text: str, statement: str) -> list[str]:
    """Return the comment right above a statement, as one paragraph; a `--` line of its own kind ends it."""
    above = text[: text.index(statement)].splitlines()
    comment: list[str] = []
    while above and above[-1].startswith("-- "):
        comment.insert(0, above.pop()[3:])
    return [_wrapped(" ".join(comment)), ""] if comment else []


def _wrapped(text: str) -> str:
    return fill(" ".join(text.split()), WIDTH, break_on_hyphens=False)


def _columns(text: str, table: str) -> Iterator[str]:
    """Yield a table's columns with their types and comments."""
    body = text[text.index(f"create table {table}(") :].split("\n", 1)[1].split("\n)")[0]
    rows: list[list[str]] = []
    for line in body.splitlines():
        code, _, comment = line.partition("--")
        words = code.split()
        if words and words[0][:6] not in ("primar", "check("):
            nullable = " or null" if "not null" not in code and "primary key" not in code else ""
            rows.append([words[0], words[1].rstrip(",") + nullable, comment.strip()])
        elif comment and not words:
            rows[-1][2] += " " + comment.strip()
    yield from ("| column | type | what it is |", "|---|---|---|")
    yield from (f"| {name} | {kind} | {comment.replace('|', '/')} |" for name, kind, comment in rows)


def _views(tables: str, views: str) -> Iterator[tuple[str, str]]:
    """Yield the views and their columns, as SQLite has them."""
    connection = apsw.Connection(":memory:")
    connection.execute(tables + views).fetchall()
    for name in re.findall(r"^create view (\w+) as", views, re.MULTILINE):
        columns = connection.execute("select name from pragma_table_info(?)", (name,)).fetchall()
        yield name, ", ".join(f"`{column}`" for (column,) in columns)


def _queries(file: str) -> Iterator[str]:
    """Yield each named statement of a file, with the comment that it begins with."""
    for name, statement in sql.statements(file).items():
        comment = [line[3:] for line in takewhile(lambda line: line.startswith("-- "), statement.splitlines())]
        yield f"- `{name}`" + (f": {' '.join(comment)}" if comment else "")


if __name__ == "__main__":
    sys.exit(main())
