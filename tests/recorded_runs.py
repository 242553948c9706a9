"""Runs of all kinds in the home of the test, for exports and imports: ended, killed, running, priced later."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from contextvars import copy_context

import localops
from localops.decorators import agent, operation, tool, workflow
from localops.encoding.pricing import Prices
from localops.journal.journal import Journal
from localops.reading.export import Run
from localops.reading.home import Home
from localops.upkeep.repricing import reprice
from tests import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

HOSTILE = "</script>\n```\n<img src=x onerror=alert(1)> | `x` \x1b[2J ‮ {{x}} \U0001f30a"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "tides",
            "description": "tide tables",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        },
    }
]
_ASKED = [
    {"role": "system", "content": "You know the sea."},
    {"role": "user", "content": "How high is the tide at Brest?"},
]


def asked(number: int, place: str) -> dict[str, Any]:
    """Return an answer that asks for a tool."""
    call = {"id": f"c{number}", "type": "function"}
    return {"role": "assistant", "content": None, "tool_calls": [{**call, "function": _tides(place)}]}


def _tides(place: str) -> dict[str, str]:
    return {"name": "tides", "arguments": f'{{"place":"{place}"}}'}


def llm(prompt: Any, completion: Any, **more: Any) -> localops.LLMEvent:
    """Return a call of a model with a price."""
    figures = {"model": "gpt-4o", "prompt_tokens": 20, "completion_tokens": 9, **more}
    return localops.LLMEvent(prompt=prompt, completion=completion, tool_definitions=TOOLS, **figures)


@tool
def tides(place: str) -> dict[str, float]:
    """Return the tide of a place."""
    return {"metres": 4.5}


def chat(session: Any, *, turns: int = 2) -> None:
    """Record a conversation of several calls, each with everything before it, and the tool calls between them."""
    messages: list[Any] = list(_ASKED)
    for number in range(turns - 1):
        answer = asked(number, f"Brest {number}")
        session.record(llm(list(messages), answer))
        tides(f"Brest {number}")
        result = {"role": "tool", "tool_call_id": f"c{number}", "content": '{"metres":4.5}'}
        messages += [answer, result]
    session.record(llm(messages, {"role": "assistant", "content": "4.5 m"}))


def _anthropic(session: Any) -> None:
    more: dict[str, Any] = {"model": "claude-sonnet-4-5", "system_instructions": "Swim."}
    first = [{"role": "user", "content": [{"type": "text", "text": "How high is it?"}]}]
    thought = {"type": "thinking", "thinking": "Look it up.", "signature": "x" * 40}
    use = {"type": "tool_use", "id": "toolu_1", "name": "tides", "input": {"place": "Brest"}}
    answer = {"role": "assistant", "content": [thought, {"type": "text", "text": "I look."}, use]}
    session.record(llm(first, {**answer, "stop_reason": "tool_use"}, **more))
    session.record(localops.ToolEvent(name="tides", params={"place": "Brest"}, returns=[4, 5], call_id="toolu_1"))
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "[4,5]"}]}
    prompt = [*first, answer, {"role": "user", "content": [result, {"type": "text", "text": "In feet?"}]}]
    last = {"role": "assistant", "content": [{"type": "text", "text": HOSTILE}]}
    session.record(llm(prompt, last, cache_write_tokens=7, cached_tokens=5, reasoning_tokens=3, **more))


@agent(name="Diver")
class _Diver:
    @operation
    def dive(self, session: Any) -> None:
        session.record(llm([{"role": "user", "content": "dive"}], "as deep as you like"))
        session.record(localops.ActionEvent(name="breathe", params={"n": 3}, returns="air"))


@workflow
def _research(session: Any) -> None:
    _Diver().dive(session)
    session.record(localops.ToolEvent(name="sonar", returns={"depth": 40}, cost=0.25))


def _threads(session: Any) -> None:
    barrier = threading.Barrier(3)

    def work(number: int) -> None:
        with session.operation(f"part {number}"):
            barrier.wait(timeout=30)
            session.record(localops.ToolEvent(name="sonar", params={"n": number}, returns=number))
            barrier.wait(timeout=30)

    with session.operation("together"):
        started = [threading.Thread(target=copy_context().run, args=(work, number)) for number in range(3)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()


def _failures(session: Any) -> None:
    @tool
    def sink() -> None:
        raise LookupError(HOSTILE)

    try:
        sink()
    except LookupError:
        pass
    session.record(localops.ErrorEvent(exception=ValueError("no tide"), trigger_event=localops.ToolEvent(name="tides")))
    session.record(llm("how?", None, model="of-my-own", prompt_tokens=None, completion_tokens=None))


def _odd(session: Any) -> None:
    session.record(localops.Event("guess", params={"n": 1}, returns=[HOSTILE]))
    session.record(localops.LLMEvent(prompt="hi", completion="ho", model="sea-1", prompt_tokens=9, completion_tokens=1))
    session.record(localops.ActionEvent(action_type="=HYPERLINK(1)", params="x" * 30_000, tags=["é", "b"]))


KINDS: dict[str, Callable[[Any], object]] = {
    "chat": chat,
    "anthropic": _anthropic,
    "agents": _research,
    "threads": _threads,
    "failures": _failures,
    "odd": _odd,
    "empty": lambda session: None,
}

_KILLED = """
import localops, os, signal
from localops.decorators import agent, operation, tool
from tests.recorded_runs import chat, llm
session = localops.init(trace_name="killed", tags=["tide"])
chat(session, turns=3)
@agent(name="Boatswain")
class Boatswain:
    @tool
    def whistle(self, tune):
        session.record(llm([{"role": "user", "content": "which tune?"}], "any"))
        os.kill(os.getpid(), signal.SIGKILL)
Boatswain().whistle("up")
"""


def record_all() -> None:
    """Record a run of each kind, a killed one and one that was priced later, in the default project."""
    for number, (name, make) in enumerate(KINDS.items()):
        session = localops.start_session(name=name, tags=["tide", f"n:{number}"])
        assert session is not None
        session.update_metadata({"boat": name})
        make(session)
        session.end_session(("Success", "Failure", "Indeterminate")[number % 3], f"was {name}")
    killed = programs.run(_KILLED)
    assert (killed.returncode, killed.stderr) == (-9, "")
    journal = Journal(programs.project())
    reprice(journal, "sea-1", Prices({"sea-1": {"input": 1, "output": 1}}), source="test")
    journal.close()


@contextmanager
def opened(home: str | os.PathLike[str] | None = None) -> Iterator[list[Run]]:
    """Open a home, and return its sessions, the oldest first."""
    with Home(os.fspath(home) if home is not None else None) as where:
        listed = [(one.project, one.session) for one in where.sessions()]
        yield [Run(project.name, project.folder, project.reader, session) for project, session in reversed(listed)]
