"""A running session lasts until now wherever its length is shown; a killed one at least to its last row."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localops import output
from localops.journal.journal import Journal
from localops.reading import facts
from localops.reading.home import Home
from localops.server.session_index import SessionIndex
from tests import programs

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]

_RUNS = """
import sys, localops
session = localops.start_session(name="long", tags=["red"])
session.record(localops.ActionEvent("step"))
print(session.session_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def long() -> Iterator[str]:
    """Start a session in a process that records nothing more; return its id."""
    program = programs.start(_RUNS)
    yield programs.first_line(program).strip()
    program.kill()
    program.communicate()


def _grows(read: Callable[[], float]) -> bool:
    """Return whether a duration is that until now: it grows with each call, although no row was added."""
    first = read()
    return read() > first > 0


@pytest.mark.usefixtures("long")
def test_every_document_counts_it_until_now(as_json: AsJson) -> None:
    """The list, one session, its figures, and breakdowns by session, day and tag; a document is consistent."""
    assert as_json("sessions")["sessions"][0]["state"] == "Running"
    assert _grows(lambda: as_json("sessions")["sessions"][0]["seconds"])
    assert _grows(lambda: as_json("show")["seconds"])
    assert _grows(lambda: as_json("analytics", "last")["seconds"])
    figures = as_json("analytics", "last")
    assert figures["analytics"]["Duration"] == output.duration(round(figures["seconds"] * 1e9))
    for by in ("session", "day", "tag"):
        assert _grows(lambda by=by: as_json("analytics", "--by", by)["lines"][0]["seconds"]), by  # type: ignore[misc]
    assert _grows(lambda: as_json("analytics", "last", "--by", "tag")["lines"][0]["seconds"])


@pytest.mark.usefixtures("long")
def test_a_breakdown_counts_it_until_now_once_it_is_folded(as_json: AsJson) -> None:
    """It does not matter where its rows are."""
    journal = Journal(programs.project())
    journal.fold()
    journal.close()
    for by in ("session", "day", "tag"):
        assert _grows(lambda by=by: as_json("analytics", "--by", by)["lines"][0]["seconds"]), by  # type: ignore[misc]


def test_an_export_counts_it_until_now(long: str, command: Command, tmp_path: Path) -> None:
    """In each format that has a length."""
    names = iter(range(9))

    def document() -> float:
        path = tmp_path / f"{next(names)}.json"
        assert command("export", long, "-o", str(path))[0] == 0
        return float(json.loads(path.read_text())["duration"])

    def table() -> float:
        path = tmp_path / f"{next(names)}.db"
        assert command("export", long, "-o", str(path))[0] == 0
        with closing(sqlite3.connect(path)) as database:
            return float(database.execute("select seconds from sessions").fetchone()[0])

    assert _grows(document)
    assert _grows(table)


@pytest.mark.usefixtures("long")
def test_pages_count_it_until_now() -> None:
    """Also where they sort and filter by length."""
    with Home() as home:
        [project] = home.projects
        assert len(project.running()) == 1
        index = SessionIndex()
        index.follow(project)
        index.states(project, range(1))
        assert _grows(lambda: index.values("seconds", [0])[0])


@pytest.mark.usefixtures("long")
def test_the_view_knows_rows_only(command: Command) -> None:
    """SQL cannot see the locks: there a session lasts until its last row, as the description says."""
    assert not _grows(lambda: float(command("query", "select seconds from session", "--csv")[1].splitlines()[1]))


_DIES = """
import os, signal, localops
from localops import decorators

@decorators.tool(name="slow_query")
def slow_query():
    os.kill(os.getpid(), signal.SIGKILL)

localops.start_session(name="killed")
slow_query()
"""


def test_a_killed_session_took_at_least_so_long(command: Command) -> None:
    """Rows do not show how long its process lived on: the list, the session, its figures and its page say so."""
    programs.run(_DIES)
    [line] = [line for line in command("sessions")[1].splitlines() if "killed" in line]
    assert " ≥" in line
    assert re.search(r"took +at least .*, to its last row", command("show")[1])
    assert re.search(r"Duration +at least .*, to its last row", command("analytics", "last")[1])
    with Home() as home:
        seen = home.projects[0].snapshot(home.find("last")[1])
        assert facts.session("default", seen, seen.report())["at_least"] is True


def test_a_session_that_was_left_lasts_until_that(command: Command) -> None:
    """A process that exits without ending its session writes when: no time is left open."""
    programs.run("import localops, os; s = localops.start_session(); s.leave(); os._exit(0)")
    shown = command("show")[1]
    assert "Indeterminate" in shown
    assert "at least" not in shown
