"""`localops status`: each project of the home in a line: how much there is, what runs, what waits."""

from __future__ import annotations

import os

import click

from localops import clock, events, output, spill
from localops.cli import common
from localops.home import Filters, Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.home import Project


@click.command()
@common.place_options
@common.json_option
def status(home: str | None, project: str | None, as_json: bool) -> None:
    """Show what the home holds, project by project."""
    with Home(home, project) as opened:
        found = [_facts(each) for each in opened.projects]
        if as_json:
            common.print_json({"home": opened.folder, "projects": found})
        elif found:
            print(f"{common.dim('home')}  {output.clean(opened.folder)}")
            print()
            _print(found)
        else:
            output.say(opened.nothing_yet())


def _facts(project: Project) -> dict[str, Any]:
    sessions, work, last_ns, dropped = project.ask("standing_of_journal")[0]
    return {
        "project": project.name,
        "sessions": sessions,
        "running": sum(1 for _ in project.sessions(Filters(state="Running"))),
        "events": work or 0,
        "journal_bytes": _size(project.path),
        "wal_bytes": _size(project.path + "-wal"),
        "spilled_waiting": spill.count(project.folder),
        "dropped": dropped or 0,
        "last_event": None if last_ns is None else events.iso(last_ns),
        "last_event_ns": last_ns,
    }


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _print(found: list[dict[str, Any]]) -> None:
    now = clock.now_ns()
    table = [
        [
            facts["project"],
            output.count(facts["sessions"]),
            output.count(facts["running"]),
            output.count(facts["events"]),
            common.bytes_text(facts["journal_bytes"] + facts["wal_bytes"]),
            output.count(facts["spilled_waiting"]),
            output.count(facts["dropped"]),
            output.ago(now - facts["last_event_ns"]) if facts["last_event_ns"] is not None else None,
        ]
        for facts in found
    ]
    headers = ("project", "sessions", "running", "events", "size", "spilled", "dropped", "last row")
    common.print_table(table, headers, align="lrrrrrrl", soft=("project",), spare=("dropped", "spilled"))
