"""The calls that users write, for the type checker alone: this file is never run."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import localops
from localops import ActionEvent, Config, ErrorEvent, Event, LLMEvent, Session, ToolEvent
from localops.decorators import agent, guardrail, operation, session, task, tool, trace, workflow

# init and sessions

assert_type(localops.init(api_key="KEY", tags=["production"]), Session)
assert_type(localops.init(auto_start_session=bool(localops.get_api_key())), Session | None)
localops.init("KEY", tags="one", auto_start_session=False, max_wait_time=1000, log_level="INFO")
localops.init(project="p", home=".", durability="power", strict=True, redact=[r"\d+"], budget_usd=5, signals=False)
localops.init(redact=str.upper, on_budget=lambda run, spent, budget: print(run, spent, budget))
localops.init(inherited_session_id=uuid.uuid4())

run = localops.start_session(["a"], name="crawl", config=Config(budget_usd=1.0))
assert run is not None
assert_type(run.session_id, uuid.UUID)
assert_type(run.tags, list[str])
assert_type(run.end_session("Success", "done", "https://example.org/run.mp4"), str | None)
assert_type(run.get_analytics(), dict[str, int | str])
assert_type(run.events, Iterator[dict[str, Any]])
assert_type(run.env(), dict[str, str])
run.video = "run.mp4"
with run as same:
    assert_type(same, Session)

localops.add_tags(("a", "b"))
localops.set_tags(tag for tag in "ab")
assert_type(localops.get_session("id"), Session | None)
assert_type(localops.end_session("Fail", end_state_reason="bad"), str | None)
assert_type(localops.create_agent("planner", agent_id="p1"), str | None)
traced = localops.start_trace("run", tags={"env": "test"})
localops.end_trace(traced, "Success")

# Events

localops.record(ActionEvent("llms"))
localops.record(ActionEvent(action_type="plan", params={"goal": 1}, screenshot="page.png", tags=["a"]))
localops.record(LLMEvent(prompt=[{"role": "user", "content": "hi"}], model="gpt-4o", cached_tokens=5, cost=0.01))
call = ToolEvent(name="search", init_timestamp=1.5, end_timestamp="2026-01-01T00:00:00Z", cost=0.002)
localops.record(ErrorEvent(trigger_event=call, exception=ValueError("bad"), code=500))
localops.record(Event("checkpoint", name="saved"))
assert_type(call.id, uuid.UUID)

# Decorators leave signatures as they are


@operation
def plain(a: int, *, b: str = "x") -> float:
    """Bare."""
    return a + len(b)


assert_type(plain(1, b="y"), float)


@tool(name="web_search", cost=0.002, capture_response=False)
async def search(query: str) -> list[str]:
    """With options, on a coroutine."""
    return [query]


@task("named")
def named() -> None:
    """Named by position."""


@workflow
def stream(n: int) -> Iterator[int]:
    """On a generator."""
    yield from range(n)


@guardrail(spec="input")
async def checks(text: str) -> AsyncIterator[bool]:
    """On an async generator."""
    yield bool(text)


@agent(name="researcher")
class Researcher:
    """A class stays a class."""

    @operation
    def think(self, about: str) -> str:
        """Methods keep their types too."""
        return about

    @classmethod
    @operation
    def make(cls) -> Researcher:
        """And class methods theirs."""
        return cls()


assert_type(Researcher().think("x"), str)
assert_type(Researcher.make(), Researcher)


@session
def process(customer: int) -> str:
    """A session of its own."""
    return str(customer)


@trace(name="main", tags=["nightly"])
async def main() -> None:
    """Everything at once."""
    assert_type(process(7), str)
    assert_type(await search("x"), list[str])
    assert_type(list(stream(3)), list[int])
    async for passed in checks("x"):
        assert_type(passed, bool)


@localops.record_action("step")
def step(x: int) -> int:
    """AgentOps' older names."""
    return x


@localops.record_tool()
def use(x: int) -> int:
    """A tool."""
    return step(x)


@localops.track_agent(name="old")
class Old:
    """An agent."""


assert_type(use(1), int)
assert_type(Old(), Old)
assert_type(localops.carry(use)(1), int)
assert_type(run.patch(use)(1), int)
