"""Streams of openai that a program reads from a raw response, as openai-agents does: with tokens and first token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from . import programs
from .model_server import ModelServer
from .warm import Warm

START = """
import asyncio, json, localops
session = localops.init()
import openai
client = openai.AsyncOpenAI(max_retries=0)
REQUEST = dict(model="gpt-4o", input="hello", stream=True)
def tell():
    print(json.dumps([event for event in session.events], default=str))
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server that answers as model providers do."""
    with ModelServer() as running:
        yield running


def _events(server: ModelServer, code: str, warm: Warm | None = None) -> list[dict[str, Any]]:
    """Return the events of a program that loads the library after localops, or in `warm` has it already."""
    env = {"OPENAI_BASE_URL": server.url + "/v1", "OPENAI_API_KEY": "x"}
    code = f"{START}{code}\ntell()"
    done = warm.run(code, env) if warm else programs.run(code, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "never awaited" not in done.stderr
    events: list[dict[str, Any]] = json.loads(done.stdout)
    return events


def test_a_stream_of_a_raw_response_is_read_whole(server: ModelServer) -> None:
    """Its span ends with the stream; parsing twice gives the same stream."""
    (event,) = _events(
        server,
        """
async def main():
    async with client.responses.with_streaming_response.create(**REQUEST) as response:
        stream = await response.parse()
        assert await response.parse() is stream
        async for part in stream: pass
asyncio.run(main())
""",
    )
    asked = server.log[-1]
    assert (event["kind"], event["finished"], event["failed"]) == ("llm", True, False)
    assert (event["tokens_in"], event["tokens_out"]) == (asked.tokens_in, asked.tokens_out)
    assert event["time_to_first_token"] > 0


def test_a_raw_response_that_is_left_ends_its_call(server: ModelServer, warm: Warm) -> None:
    """Closed before it was parsed, in the middle of its stream, and read as lines."""
    events = _events(
        server,
        """
async def main():
    async with client.responses.with_streaming_response.create(**REQUEST): pass
    async with client.responses.with_streaming_response.create(**REQUEST) as response:
        async for part in await response.parse(): break
    async with client.responses.with_streaming_response.create(**REQUEST) as response:
        assert [line async for line in response.iter_lines()]
asyncio.run(main())
""",
        warm,
    )
    assert [(event["kind"], event["finished"], event["failed"]) for event in events] == [("llm", True, False)] * 3
