"""A session whose process was killed inside of an LLM call: what it took and cost is a lower bound, at every door."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localops.journal.journal import Journal
from localops.reading.home import Home
from localops.reading.session_html import shown
from tests import programs
from tests.server.uis import RealPages

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]

_KILLED = """
import os, signal, localops
session = localops.start_session(name="killed")
session.record(localops.LLMEvent(model="gpt-4o", prompt="hi", completion="ho", prompt_tokens=1000, completion_tokens=0))
with session.operation("think", kind="llm", model="gpt-4o"):
    {then}
"""
_DIES = _KILLED.format(then="os.kill(os.getpid(), signal.SIGKILL)")
_WAITS = _KILLED.format(then="print(session.session_id, flush=True); input()")
_COST = "$0.002500 + ?"


@pytest.fixture(params=["folded", "not folded"])
def killed(request: pytest.FixtureRequest) -> None:
    """Record a call of $0.0025, and die in the next one."""
    programs.run(_DIES)
    if request.param == "folded":
        journal = Journal(programs.project())
        journal.fold()
        journal.close()


@pytest.mark.usefixtures("killed")
def test_commands_say_so(command: Command) -> None:
    """The list, the session, its figures, and the figures of all sessions together and of each."""
    assert _COST in command("sessions")[1]
    assert re.search(rf"cost +{re.escape(_COST)}", command("show")[1])
    assert re.search(rf"Cost +{re.escape(_COST)}", command("analytics", "last")[1])
    assert re.search(rf"Cost +{re.escape(_COST)}", command("analytics")[1])
    assert _COST in command("analytics", "--by", "session")[1]


@pytest.mark.usefixtures("killed")
def test_documents_say_so(as_json: AsJson) -> None:
    """The cost that is known, the mark beside it, and no unpriced call, as the open one has not ended."""
    listed, one = as_json("sessions")["sessions"][0], as_json("analytics", "last")
    among = as_json("analytics", "--by", "session")["lines"][0]
    for document in (listed, one, as_json("analytics"), among):
        assert (document["cost_nano"], document["cost_at_least"], document["unpriced"]) == (2_500_000, True, 0)
    assert listed["at_least"] is one["at_least"] is as_json("show")["at_least"] is True


@pytest.mark.usefixtures("killed")
def test_exports_say_so(command: Command, tmp_path: Path) -> None:
    """JSON, SQLite and the page; the text that AgentOps has for a cost stays a number."""
    for name in ("one.json", "one.db", "one.html"):
        assert command("export", "last", "-o", str(tmp_path / name))[0] == 0
    stats = json.loads((tmp_path / "one.json").read_text())["stats"]
    assert (stats["Cost"], stats["cost_at_least"]) == ("0.002500", True)
    with closing(sqlite3.connect(tmp_path / "one.db")) as database:
        assert database.execute("select cost_usd, cost_at_least from sessions").fetchall() == [(0.0025, 1)]
    assert _COST in (tmp_path / "one.html").read_text()


@pytest.mark.usefixtures("killed")
def test_pages_say_so() -> None:
    """The list, the session and the sums, before any script has run, and what a notebook shows."""
    with Home() as home, RealPages(Path(home.folder)) as pages:
        [project] = home.projects
        assert f">{_COST}<" in pages.get("/").text
        assert ">≥" in pages.get("/").text
        assert f">{_COST}<" in pages.get(f"/s/{_id(pages)}").text
        assert f">{_COST}<" in pages.get("/analytics").text
        assert pages.get("/api/1/analytics").json["cost_at_least"] is True
        assert pages.get("/api/1/analytics?by=session").json["lines"][0]["cost_at_least"] is True
        html = shown(project.reader.path, home.find("last")[1])
        assert html is not None
        assert f">{_COST}<" in html


def _id(pages: RealPages) -> str:
    return str(pages.get("/api/1/sessions").json["sessions"][0]["session_id"])


def test_a_call_of_a_running_session_may_still_end(command: Command, as_json: AsJson) -> None:
    """What it cost so far is exact until then, at each door."""
    program = programs.start(_WAITS)
    try:
        programs.first_line(program)
        assert "$0.002500" in command("sessions")[1]
        for document in (as_json("sessions")["sessions"][0], as_json("analytics", "last"), as_json("analytics")):
            assert document["cost_at_least"] is False
        assert "+ ?" not in command("show")[1] + command("sessions")[1] + command("analytics", "--by", "session")[1]
    finally:
        programs.kill(program)
