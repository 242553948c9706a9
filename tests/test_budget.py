"""A budget is one for all processes of a session, and no operation opens once it is spent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ActionEvent, BudgetExceeded, ErrorEvent, LLMEvent, Session, ToolEvent
from localops.decorators import operation, tool
from tests import warm


def begun(**options: Any) -> Session:
    """Start a session with a budget of one dollar."""
    session: Session = localops.init(budget_usd=1.0, **options)
    return session


def test_it_warns_at_eighty_percent(capsys: pytest.CaptureFixture[str]) -> None:
    """Below 80 % there is no warning; above it there is one."""
    session = begun()
    session.record(ToolEvent(cost=0.79))
    assert capsys.readouterr().err == ""
    session.record(ToolEvent(cost=0.02))
    session.record(ToolEvent(cost=0.02))
    assert capsys.readouterr().err.count("81% of its budget of $1.000000") == 1


def test_recording_raises_after_the_row_is_written() -> None:
    """The event that reaches the budget is kept, as are later ones; an event without cost never raises."""
    session = begun()
    with pytest.raises(BudgetExceeded, match=r"spent \$1\.000000 of its budget"):
        session.record(LLMEvent(cost=1.0))
    with pytest.raises(BudgetExceeded):
        localops.record(LLMEvent(cost=0.5))
    session.record(ActionEvent())
    assert session.end_session("Failure") == "1.500000"


def test_the_error_of_a_dear_call_is_recorded_too() -> None:
    """An error whose trigger spends the rest of the budget is written before it is raised."""
    session = begun()
    with pytest.raises(BudgetExceeded):
        session.record(ErrorEvent(trigger_event=LLMEvent(cost=2.0), exception=ValueError()))
    assert session.get_analytics()["Errors"] == 1


def test_an_operation_does_not_open_with_a_spent_budget() -> None:
    """The call that spends the rest ends normally; the next one is not made."""
    calls = []

    @tool(cost=1.0)
    def dear() -> str:
        calls.append(1)
        return "bought"

    @operation
    def plan() -> None:
        assert dear() == "bought"
        dear()

    session = begun()
    with pytest.raises(BudgetExceeded):
        plan()
    assert len(calls) == 1
    assert session.get_analytics()["Tool calls"] == 1


def test_a_hook_decides() -> None:
    """With on_budget nothing is raised but what the hook raises."""
    heard: list[tuple[object, float, float]] = []

    def hook(session: Session, spent: float, budget: float) -> None:
        heard.append((session, spent, budget))
        if spent > 2:
            raise InterruptedError("enough")

    session = begun(on_budget=hook)
    session.record(LLMEvent(cost=1.5))
    assert heard == [(session, 1.5, 1.0)]
    with pytest.raises(InterruptedError):
        localops.record(LLMEvent(cost=1.5))
    assert session._journal.counts["dropped"] == 0


def test_a_call_without_a_price_prints_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A call that cannot be counted prints one warning at once."""
    session = begun()
    for _ in range(2):
        session.record(LLMEvent(model="home-grown", prompt_tokens=10))
    assert capsys.readouterr().err.count("has no known price") == 1


def test_all_processes_spend_the_same_money() -> None:
    """What a subprocess spends counts for its parent."""
    session = begun()
    code = "import localops; localops.init(); localops.record(localops.ToolEvent(cost=0.6))"
    env = {**session.env(), "PYTHONPATH": str(Path(localops.__file__).parent.parent)}
    warm.run([sys.executable, "-c", code], env=env, check=True)
    with pytest.raises(BudgetExceeded):
        session.record(ToolEvent(cost=0.6))


def test_a_process_that_joins_has_the_budget_of_the_session() -> None:
    """A subprocess without its own budget has that of the session."""
    session = begun()
    code = """
import sys, localops
session = localops.init(inherited_session_id=sys.argv[1])
try:
    for _ in range(9):
        session.record(localops.LLMEvent(cost=0.3))
except localops.BudgetExceeded:
    print(session.get_analytics()["LLM calls"])
"""
    env = {**session.env(), "PYTHONPATH": str(Path(localops.__file__).parent.parent)}
    del env["LOCALOPS_SESSION_ID"]
    command = [sys.executable, "-c", code, str(session.session_id)]
    done = warm.run(command, env=env, check=True, capture_output=True)
    assert done.stdout == "4\n"
    assert "90% of its budget" in done.stderr


def test_one_session_may_have_a_budget_of_its_own() -> None:
    """The budget of a Config applies to that session alone."""
    free = localops.init()
    poor = localops.start_session(config=localops.Config(budget_usd=0.01))
    assert free is not None
    assert poor is not None
    with pytest.raises(BudgetExceeded):
        poor.record(LLMEvent(cost=0.02))
    free.record(LLMEvent(cost=5))


def reached(session: Session) -> list[tuple[float, float, str | None]]:
    """Return the session's facts about its budget: limit, cost, and the operation in which it was reached."""
    names = {event["id"]: event["name"] for event in session.events}
    notes = [event for event in session.events if event["kind"] == "guardrail"]
    return [(note["params"]["budget_usd"], note["params"]["spent_usd"], names.get(note["parent"])) for note in notes]


def test_a_budget_that_was_reached_is_in_the_session() -> None:
    """Once, at the cost and in the operation that reached it, though the program catches what is raised."""

    @operation
    def plan() -> None:
        for _ in range(2):
            with pytest.raises(BudgetExceeded):
                localops.record(LLMEvent(cost=1.5))

    session = begun()
    plan()
    session.end_session("Success")
    assert reached(session) == [(1.0, 1.5, "plan")]


def test_a_hook_leaves_the_same_trace() -> None:
    """A hook that raises nothing leaves the same trace."""
    session = begun(on_budget=lambda *_: None)
    session.record(ToolEvent(cost=0.5))
    assert reached(session) == []
    for _ in range(2):
        session.record(ToolEvent(cost=0.75))
    assert reached(session) == [(1.0, 1.25, None)]


def test_processes_that_share_a_budget_write_that_it_was_reached_once() -> None:
    """The first one to find out does."""
    session = begun()
    with pytest.raises(BudgetExceeded):
        session.record(ToolEvent(cost=2.0))
    code = "import localops; localops.init(on_budget=lambda *_: None); localops.record(localops.ToolEvent(cost=0.6))"
    env = {**session.env(), "PYTHONPATH": str(Path(localops.__file__).parent.parent)}
    warm.run([sys.executable, "-c", code], env=env, check=True)
    assert reached(session) == [(1.0, 2.0, None)]
    assert session.get_analytics()["Tool calls"] == 2
