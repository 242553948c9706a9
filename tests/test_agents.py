"""Agents that a program names in its events and has not created."""

from __future__ import annotations

import uuid

import pytest

import localops
from localops import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from localops.reading.home import Filters, Home
from tests import programs


def test_an_agent_that_was_not_created_has_the_word_that_it_is_called_by() -> None:
    """It has one row in the session, however often it is named; a UUID is not used as a name."""
    session = localops.init()
    for _ in range(2):
        session.record(ActionEvent(agent_id="planner"))
        session.record(LLMEvent(agent_id="planner"))
    session.create_agent("The Writer", "writer")
    session.record(ToolEvent(agent_id="writer"))
    with session.operation("plan", agent_id="critic"):
        pass
    session.record(ErrorEvent(agent_id=str(uuid.uuid4())))
    agents = [event for event in session.events if event["kind"] == "agent"]
    assert [event["name"] for event in agents] == ["planner", "The Writer", "critic"]
    names = {event["id"]: event["name"] for event in agents}
    of_events = [names.get(event["agent"]) for event in session.events if event["kind"] != "agent"]
    assert of_events == ["planner"] * 4 + ["The Writer", "critic", None]


def test_processes_that_name_the_same_agent_share_its_row() -> None:
    """Sessions can be found by its name."""
    code = "import localops; session = localops.init(); localops.record(localops.ToolEvent(agent_id='planner'))"
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}], env=session.env(), check=True)"
    programs.run(f"{code}; {child.format(code)}")
    with programs.reader() as journal:
        assert journal.ask("select count(*) from event where kind = 'agent'") == [(1,)]
        assert journal.ask("select count(distinct agent), count(agent) from event") == [(1, 2)]
    with Home() as home:
        assert len(list(home.sessions(Filters(agent="planner")))) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_word_is_redacted_like_any_text(strict: bool) -> None:
    """A secret that is given as an agent's id does not become its name."""
    session = localops.init(strict=strict)
    session.record(ActionEvent(agent_id="sk-ant-" + "a1B2" * 24))
    [agent] = [event for event in session.events if event["kind"] == "agent"]
    assert "a1B2a1B2" not in agent["name"]


def test_an_agent_has_one_row_however_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    """A second row with its id would be a copy: the first name stays, and a different one causes a warning."""
    session = localops.init()
    session.record(ToolEvent(name="x", agent_id="planner"))
    for name in ("planner", "The Planner", "The Planner"):
        assert session.create_agent(name, "planner") == "planner"
    session.create_agent("The Writer", "writer")
    session.create_agent("The Writer", "writer")
    assert capsys.readouterr().err.count("keeps its name 'planner'") == 1
    names = [event["name"] for event in session.events if event["kind"] == "agent"]
    assert names == ["planner", "The Writer"]
