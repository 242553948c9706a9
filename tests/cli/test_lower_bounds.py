"""A session whose process was killed inside of an LLM call: what it took and cost is a lower bound, at every door."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.journal import rows, wire
from localops.journal.journal import Journal
from localops.reading.filters import Filters
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


_TABLES = ("day", "tag", "user", "meta:team", "model", "kind", "agent", "session")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a session with one call of each of two models, and one that died in an agent's call of a third one."""
    home = tmp_path_factory.mktemp("recorded") / "home"
    for end, tags, user in (("session.end_session('Success')", "['whole']", "ada"), (_LOST_CALL, "['cut']", "bob")):
        programs.run(_OF_AN_AGENT.format(end=end, tags=tags, user=user), env={"LOCALOPS_HOME": str(home)})
    return home


@pytest.fixture(params=["folded", "not folded"])
def lost(request: pytest.FixtureRequest, recorded: Path) -> None:
    """Copy the home with the two sessions, which have not been looked at yet."""
    subprocess.run(["cp", "-r", recorded, os.environ["LOCALOPS_HOME"]], check=True)
    if request.param == "folded":
        journal = Journal(programs.project())
        journal.fold()
        journal.close()


_OF_AN_AGENT = """
import os, signal, localops
session = localops.start_session(tags={tags}, user="{user}", metadata={{"team": "{user}"}})
for model in ("gpt-4o", "gpt-4o-mini"):
    session.record(localops.LLMEvent(model=model, prompt_tokens=1000, completion_tokens=0))
@localops.agent
class Planner:
    def plan(self):
        with session.operation("ask", kind="llm", model="o3"):
            os.kill(os.getpid(), signal.SIGKILL)
{end}
"""
_LOST_CALL = "Planner().plan()"
_WITH_LOST = {
    "tag": {"cut", "user=bob", "team=bob"},
    "user": {"bob"},
    "meta:team": {"bob"},
    "model": {"o3"},
    "kind": {"llm"},
    "agent": {"Planner"},
}


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("by", _TABLES)
def test_each_line_with_a_lost_call_says_so(command: Command, as_json: AsJson, by: str) -> None:
    """A line is a lower bound if it has the call, or a session with it; the other lines are exact."""
    lines = as_json("analytics", "--by", by)["lines"]
    marked = {line[by] for line in lines if line["cost_at_least"]}
    assert marked == _WITH_LOST.get(by, {lines[0][by]} if by == "day" else {as_json("show")["session_id"]})
    assert {line[by] for line in lines if line["at_least"]} == marked
    text = command("analytics", "--by", by)[1]
    assert len(re.findall(r"\+ \?|unpriced", text)) == len(marked)
    assert text.count("≥") == len(marked)


@pytest.mark.usefixtures("lost")
def test_the_lines_of_the_pages_say_so(as_json: AsJson) -> None:
    """The pages have the same lines."""
    with Home() as home, RealPages(Path(home.folder)) as pages:
        for by in _TABLES:
            lines = as_json("analytics", "--by", by)["lines"]
            assert pages.get(f"/api/1/analytics?by={by}").json["lines"] == lines


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("by", ["tag", "user", "model", "kind", "agent"])
def test_the_lines_of_the_session_say_so(as_json: AsJson, by: str) -> None:
    """With an ID, the same lines are lower bounds, here of the one session."""
    lines = as_json("analytics", "last", "--by", by)["lines"]
    assert {line[by] for line in lines if line["cost_at_least"]} == _WITH_LOST[by]
    assert {line[by] for line in lines if line["at_least"]} == _WITH_LOST[by]


@pytest.mark.usefixtures("lost")
def test_a_model_that_was_only_begun_is_counted_once_a_session(as_json: AsJson) -> None:
    """Its line has the session, and no call; the lines of other models do not change."""
    lines = {line["model"]: line for line in as_json("analytics", "--by", "model")["lines"]}
    assert {model: (line["sessions"], line["events"]) for model, line in lines.items()} == {
        "gpt-4o": (2, 2),
        "gpt-4o-mini": (2, 2),
        "o3": (1, 0),
    }


@pytest.mark.usefixtures("lost")
def test_the_figures_of_the_session_mark_its_parts(command: Command, as_json: AsJson) -> None:
    """The tables by model and by agent, in text and as JSON."""
    document = as_json("analytics", "last")
    assert {one["model"]: one["cost_at_least"] for one in document["by_model"]} == {
        "gpt-4o": False,
        "gpt-4o-mini": False,
        "o3": True,
    }
    assert {one["agent"]: one["cost_at_least"] for one in document["by_agent"]} == {"Planner": True}
    assert re.search(r"o3 +0 +.*\$0\.00 \+ \?", command("analytics", "last")[1])


@pytest.mark.usefixtures("lost")
def test_show_has_the_figures(as_json: AsJson) -> None:
    """As `analytics ID --json`, in one object."""
    figures = as_json("show")["figures"]
    document = as_json("analytics", "last")
    assert figures == {name: document[name] for name in figures}
    assert {"llm_calls", "cost_nano", "cost_at_least", "tokens_in", "by_model", "percentiles"} <= set(figures)


@pytest.mark.usefixtures("lost")
def test_metrics_count_lost_calls(command: Command) -> None:
    """By project, and by model with zeros for the others."""
    text = command("analytics", "--format", "openmetrics")[1]
    assert 'localops_unfinished_llm_calls{project="default"} 1' in text
    assert 'localops_model_unfinished_calls{project="default",model="o3"} 1' in text
    assert 'localops_model_unfinished_calls{project="default",model="gpt-4o"} 0' in text


@pytest.mark.usefixtures("lost")
def test_a_session_is_found_by_the_model_that_it_died_in(command: Command, as_json: AsJson) -> None:
    """Alone, with other filters, and page by page; each session once; `show` lists the model."""
    last = as_json("show")["session_id"]

    def ids(*options: str) -> list[str]:
        return [one["session_id"] for one in as_json("sessions", *options)["sessions"]]

    assert ids("--model", "o3") == ids("--model", "o3", "--tag", "cut") == [last]
    # In a copy of its home it cannot be seen that its process died.
    assert ids("--model", "o3", "--user", "bob", "--state", "Unknown") == [last]
    assert ids("--model", "o3", "--user", "ada") == ids("--model", "o3", "--state", "Success") == []
    assert ids("--model", "o3", "--before", last) == []
    assert len(ids("--model", "gpt-4o")) == 2
    assert re.search(r"models +gpt-4o, gpt-4o-mini, o3", command("show")[1])


@pytest.mark.usefixtures("killed")
def test_a_model_that_was_called_before_lists_the_session_once(as_json: AsJson) -> None:
    """A call of it ended, and another one did not."""
    assert len(as_json("sessions", "--model", "gpt-4o")["sessions"]) == 1
    [line] = as_json("analytics", "--by", "model")["lines"]
    assert (line["sessions"], line["events"], line["cost_at_least"]) == (1, 1, True)


def test_a_call_of_a_running_session_may_still_end(command: Command, as_json: AsJson) -> None:
    """Until then the cost so far is exact, in every view."""
    program = programs.start(_WAITS)
    try:
        programs.first_line(program)
        assert "$0.002500" in command("sessions")[1]
        for document in (as_json("sessions")["sessions"][0], as_json("analytics", "last"), as_json("analytics")):
            assert document["cost_at_least"] is False
        assert "+ ?" not in command("show")[1] + command("sessions")[1] + command("analytics", "--by", "session")[1]
    finally:
        programs.kill(program)


_NO_CALL = """
import localops
for end in ("lost", "whole"):
    with localops.start_session(name=end) as session:
        session.record(localops.ActionEvent(action_type="look"))
        if end == "whole":
            session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=0))
"""


@pytest.fixture
def lacking() -> str:
    """Record a session without a call, of which rows may be lost, and a whole one; return the id of the first."""
    programs.run(_NO_CALL)
    return _lose("lost")


def _named(name: str) -> str:
    with Home() as home:
        return rows.id_text(next(one.session for one in home.sessions(Filters()) if one.name == name))


def _lose(name: str) -> str:
    session = uuid.UUID(_named(name)).bytes
    journal = Journal(programs.project())
    journal.add([rows.make("loss", session, id=clock.new_id(), at_ns=clock.now_ns(), body='{"damaged":3}')])
    journal.close()
    return rows.id_text(session)


def test_a_session_without_calls_that_lost_rows_cost_at_least_nothing(
    lacking: str, command: Command, as_json: AsJson
) -> None:
    """It is not unpriced, as no call of it is known; the other session is exact."""
    texts = [command(*arguments, lacking)[1] for arguments in (["show"], ["analytics"], ["why"])]
    assert re.search(r"cost +\$0\.00 \+ \?\n", texts[0])
    assert re.search(r"Cost +\$0\.00 \+ \?\n", texts[1])
    assert "It cost at least $0.00, as LLM calls may be among the rows that are missing." in texts[2]
    listed = {one["name"]: one["cost_at_least"] for one in as_json("sessions")["sessions"]}
    assert listed == {"lost": True, "whole": False}
    assert not any("unpriced" in text for text in (*texts, command("sessions")[1]))
    assert re.search(r"Lack rows +1 session\n", command("analytics")[1])
    with Home() as home, RealPages(Path(home.folder)) as pages:
        assert ">$0.00 + ?<" in pages.get(f"/s/{lacking}").text
        assert pages.get("/").text.count(">$0.00 + ?<") == 1


def test_each_line_of_a_session_that_lost_rows_says_so(as_json: AsJson) -> None:
    """Calls of each of its models may be among them; a model that only other sessions have is exact."""
    programs.run(_NO_CALL + _NO_CALL.replace("gpt-4o", "o3").replace('"whole"', '"exact"'))
    lost, exact = _lose("whole"), _named("exact")
    for by, marked in (("model", {"gpt-4o"}), ("kind", {"llm"}), ("session", {lost})):
        lines = as_json("analytics", "--by", by)["lines"]
        assert {line[by] for line in lines if line["cost_at_least"]} == marked
    assert as_json("analytics", lost)["by_model"][0]["cost_at_least"]
    assert not as_json("analytics", exact)["by_model"][0]["cost_at_least"]
    assert as_json("analytics", lost, "--by", "model")["lines"][0]["cost_at_least"]


def test_a_session_without_its_first_row_cost_at_least_what_is_here(command: Command, tmp_path: Path) -> None:
    """Others may be missing, too."""
    programs.run(_NO_CALL)
    path = tmp_path / "part.jsonl"
    command("export", _named("whole"), "--format", "jsonl", "-o", str(path))
    part = [wire.from_row(wire.to_row(line)) for line in path.read_bytes().splitlines(keepends=True)[1:]]
    path.write_bytes(b"".join(part))
    home = str(tmp_path / "other")
    assert command("import", str(path), "--home", home)[0] == 0
    for arguments in (["sessions"], ["show"], ["analytics"], ["analytics", "--by", "model"], ["analytics", "last"]):
        assert _COST in command(*arguments, "--home", home)[1]
