"""What loops of tool calls cost, which failed, and what is left out of the comparison."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ErrorEvent, Loop, ToolEvent, output
from localops.journal import stored
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import loops, waste, waste_page
from localops.reading.home import Home
from localops.reading.waste import Waste
from tests import made
from tests.loop_calls import read
from tests.sessions import begun


def test_what_repeats_cost() -> None:
    """The first round is not wasted, and an LLM call belongs to the tool call that follows it."""
    session = localops.start_session(name="spender")
    for _ in range(4):
        session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=100, completion_tokens=10, cost=0.25))
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[], cost=0.5))
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=7, completion_tokens=7, cost=1))
    document = read(session)
    [loop] = document["loops"]
    assert (loop["kind"], loop["tools"], loop["calls"], loop["input"]) == ("repeat", ["search"], 4, "q=tides")
    assert loop["wasted"] == document["wasted"]
    wasted = {"calls": 3, "llm_calls": 3, "tokens_in": 300, "tokens_out": 30, "cost_usd": 2.25}
    assert {name: document["wasted"][name] for name in wasted} == wasted
    assert not document["wasted"]["cost_at_least"]


def test_an_llm_call_inside_of_a_repeated_call_was_wasted_too() -> None:
    """A tool that asks a model itself."""
    session = localops.start_session()
    for cost in (1, 2, 4):
        with session.operation("summarise", kind="tool", params={"text": "long"}) as tool:
            session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=50, completion_tokens=5, cost=cost))
            tool.returns("short")
    wasted = read()["wasted"]
    assert (wasted["llm_calls"], wasted["cost_usd"]) == (2, 6)


def test_a_call_without_a_price_makes_a_lower_bound() -> None:
    """What it cost is not known."""
    session = localops.start_session()
    for _ in range(3):
        session.record(localops.LLMEvent(model="of our own", prompt_tokens=1_000_000, completion_tokens=0))
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    document = read()
    wasted = {"cost_nano": 0, "cost_at_least": True, "unpriced": 2}
    assert {name: document["wasted"][name] for name in wasted} == wasted


def test_the_sum_of_sessions_has_grouped_digits() -> None:
    """As in the sentences above it, also if the output is no terminal."""
    session = localops.start_session()
    for _ in range(3):
        session.record(ToolEvent(name="read", params={"path": "a"}, returns="x"))
    one = read()
    one["wasted_in_loops"] = {**one["wasted_in_loops"], "calls": 1_200}
    before = output.separate_digits("")
    try:
        assert waste_page.total([one], 1_000, 0) == "1,000 sessions checked: 1 with loops, wasted 1,200 tool calls"
    finally:
        output.separate_digits(before)


def test_failures_by_tool_error_and_arguments() -> None:
    """An error that was recorded later counts, and calls of other shapes are lines of their own."""
    session = localops.start_session()
    for path in ("a", "b"):
        event = ToolEvent(name="read", params={"path": path, "limit": 3})
        session.record(ErrorEvent(trigger_event=event, exception=FileNotFoundError(f"no {path}")))
    late = ToolEvent(name="read", params={"all": True})
    session.record(late)
    session.record(ErrorEvent(trigger_event=late, exception=PermissionError("not yours")))
    session.record(ToolEvent(name="read", params={"path": "c", "limit": 3}, returns="x"))
    first, second = read()["failures"]
    assert (first["tool"], first["error"]) == ("read", "FileNotFoundError")
    assert first["arguments"] == "limit: number, path: text"
    assert (first["failures"], first["calls"], first["message"]) == (2, 4, "no b")
    assert (second["error"], second["arguments"], second["failures"]) == ("PermissionError", "all: truth", 1)


def test_marks_of_polling() -> None:
    """The decorator, the event, the operation and the setting say that a tool polls."""

    @localops.tool(polling=True)
    def wait(job: str) -> str:
        return "pending"

    session = localops.init(polling=["watch", "look"])
    for _ in range(loops.OFTEN):
        wait("j1")
        session.record(ToolEvent(name="poll", params={"job": 1}, returns="pending", polling=True))
        with session.operation("ask", kind="tool", params={"job": 1}, polling=True) as operation:
            operation.returns("pending")
        session.record(ToolEvent(name="watch", params={"job": 1}, returns="pending"))
        with session.operation("look", kind="tool", params={"job": 1}) as operation:
            operation.returns("pending")
    assert read()["loops"] == []


def test_a_name_may_be_anything() -> None:
    """It is compared only if it is a text."""

    class Hostile:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not with me")

    name: Any = Hostile()
    session = localops.init(polling=["watch"], on_loop=lambda *given: None)
    session.record(ToolEvent(name=name, params={"n": 1}))
    with session.operation(name, kind="tool"):
        pass
    assert session.get_analytics()["Tool calls"] == 2


def test_names_from_outside_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is given names of tools, by `--polling` and the settings of the home."""
    session = localops.start_session()
    for _ in range(3):
        session.record(ToolEvent(name="watch", params={"job": 1}, returns="pending"))
    with Home() as home:
        [project] = home.projects
        seen = project.snapshot(home.find("last")[1])
        assert waste.of("default", seen, project.reader)["alarming"] == 1
        assert waste.of("default", seen, project.reader, polling=["watch"])["loops"] == []


def test_of_a_long_session_the_end_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document says that it is not complete."""
    monkeypatch.setattr(waste, "MOST_ROWS", 10)
    session = localops.start_session()
    for _ in range(20):
        session.record(ToolEvent(name="watch", params={"job": 1}, returns="pending"))
    document = read()
    assert (document["complete"], document["loops"][0]["calls"]) == (False, 10)


@pytest.mark.parametrize("where", ["arguments", "result", "generator", "step"])
def test_a_call_of_which_something_is_not_recorded_is_like_no_other(where: str) -> None:
    """Neither in a report nor for the alarm, as calls may differ in what was left out."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    @localops.tool(capture_request=False)
    def send(n: int) -> str:
        return "sent"

    @localops.tool(capture_response=False)
    def next_page(of: str) -> int:
        return len(list(session.events))

    @localops.tool
    def lines(path: str) -> Iterator[int]:
        yield len(list(session.events))

    @localops.tool(once=True, capture_response=False, name="pay for a call")
    def pay(to: str) -> int:
        return len(list(session.events))

    for n in range(4):
        if where == "generator":
            list(lines("a"))
        elif where == "step":
            pay("a")
        elif where == "result":
            next_page("a")
        else:
            send(n)
    session.record(ToolEvent(name="other", params={"n": 1}))
    assert alarms == []
    assert read(session)["loops"] == []


def test_what_is_recorded_of_such_calls_is_compared() -> None:
    """A call without arguments leaves none out, nor does one without a result; failures have both."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    @localops.tool(capture_request=False)
    def look() -> str:
        return "nothing"

    @localops.tool(capture_response=False)
    def save(n: int) -> None:
        if n == 2:
            raise ValueError(f"not now, at {session.session_id}")

    for call in (look, lambda: save(1), lambda: save(2)):
        for _ in range(3):
            with contextlib.suppress(ValueError):
                call()
    session.record(ToolEvent(name="other", params={"n": 1}))
    wanted = [("repeat", "look"), ("repeat", "save"), ("retry", "save")]
    assert [(loop.kind, loop.tools[0]) for loop in alarms] == wanted
    assert [(loop["kind"], loop["tools"][0]) for loop in read(session)["loops"]] == wanted


def test_calls_have_their_arguments_whatever_order_their_rows_were_stored_in(tmp_path: Path) -> None:
    """An import may store closing rows first; calls with different arguments are no loop."""
    session = begun()
    for number in range(6):
        for name in ("look", "turn"):
            with session.operation(name, kind="tool", params={"number": number}) as step:
                step.returns("ok")
    session.end_session("Success")
    with contextlib.closing(Journal(str(tmp_path))) as copy:
        with Reader(session._journal.path) as reader:
            copy.add(made.with_closings_first(row.bare for row in stored.of_session(reader, session._id)))
        copy.fold()
    with Reader(copy.path) as reader:
        seen = Waste(reader, session._id)
        assert (len(seen._calls), seen.loops) == (12, [])
        assert [seen._input(tool) for tool in seen.tools_of(seen._calls[:2])] == ["number=0", "number=0"]
