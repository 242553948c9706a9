"""Agents of pydantic-ai that record themselves: the real framework, against a server of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localops.reading import analytics

from . import programs
from .model_server import ModelServer

pytest.importorskip("pydantic_ai")

# One program, as loading the framework takes most of the time.
PROGRAM = """
import asyncio
import localops
localops.init()
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
agent = Agent(OpenAIChatModel("gpt-4o"), name="forecaster")
@agent.tool_plain
def weather(city: str) -> str:
    return "rain"
print(agent.run_sync("tool please").output)
async def stream():
    async with agent.run_stream("hello") as answer:
        return [part async for part in answer.stream_text()][-1]
print(asyncio.run(stream()))
try:
    agent.run_sync("fail 400")
except Exception:
    print("failed")
localops.end_session("Success")
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """Start a server that answers like a model provider."""
    with ModelServer() as running:
        yield running


def test_each_call_of_an_agent_counts_once(server: ModelServer) -> None:
    """With the tokens of the server's log, under the agent that made it, though the client's extra sees it as well."""
    models = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "x"}
    done = programs.run(PROGRAM, env=models, timeout=120)
    assert done.stdout.splitlines() == ["You wrote: rain", "You wrote: hello", "failed"]
    assert done.stderr == ""
    events = _events()
    calls = [event for event in events if event["kind"] == "llm"]
    log = server.log
    assert len(calls) == len(log) == 4
    tokens = [(call["tokens_in"], call["tokens_out"]) for call in calls[:3]]
    assert tokens == [(asked.tokens_in, asked.tokens_out) for asked in log[:3]]
    assert all(call["cost"] > 0 for call in calls[:3])
    assert [call["failed"] for call in calls] == [False, False, False, True]
    agents = {event["id"]: event["name"] for event in events if event["kind"] == "agent"}
    assert {agents[call["agent"]] for call in calls} == {"forecaster"}
    (tool,) = [event for event in events if event["kind"] == "tool"]
    assert (tool["name"], tool["params"], tool["returns"]) == ("weather", {"city": "Brest"}, "rain")
    assert [event["kind"] for event in events].count("error") == 1


def _events() -> list[dict[str, Any]]:
    with programs.reader() as journal:
        ((session,),) = journal.ask("select session from session_total")
        return list(analytics.events(journal, session))
