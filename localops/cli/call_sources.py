"""The tables of calls that commands query, brought up to date first."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click

from localops.reading import analytics
from localops.reading.call_query import Source
from localops.reading.call_speeds import Speeds
from localops.reading.call_table import CallTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.analytics import Chosen
    from localops.reading.home import Home, Project

# Up to this many rows, a table is made before a progress bar could be read.
_FEW = 20_000


def table_of(project: Project, tables: ExitStack) -> CallTable:
    """Return the table of a project with its new rows; on a terminal, with a progress bar if there are many."""
    table = CallTable(project.folder)
    tables.callback(table.close)
    missing = table.missing(project.reader)
    if missing < _FEW or not sys.stderr.isatty():
        table.extend(project.reader)
        return table
    with click.progressbar(length=missing, label=f"reading calls of {project.name}", file=sys.stderr) as bar:
        table.extend(project.reader, bar.update)
    return table


def speeds(opened: Home, chosen: Chosen) -> Speeds:
    """Return how fast the calls of the chosen sessions were."""
    with ExitStack() as tables:
        return Speeds([_source(each, chosen, tables) for each in opened.projects])


def _source(project: Project, chosen: Chosen, tables: ExitStack) -> Source:
    sessions = None
    if chosen != analytics.Chosen():
        lines = analytics.query_report(project.reader, "by_session", chosen, many=-1)
        sessions = [session for session, *_ in lines]
    return Source(project, table_of(project, tables), sessions, lambda _: False)
