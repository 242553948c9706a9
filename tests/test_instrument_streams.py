"""Streams of anthropic that a program does not read in a loop to their end: they work, and have their cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .model_server import ModelServer
from .warm import Warm

START = """
import anthropic, asyncio, json, localops
session = localops.init()
claude = anthropic.Anthropic(max_retries=0)
REQUEST = dict(model="claude-3-5-haiku-latest", max_tokens=99, messages=[{"role": "user", "content": "hello"}])
def tell():
    keys = ("kind", "tokens_in", "tokens_out", "cost", "finish_reason", "failed")
    print(json.dumps([{key: event.get(key) for key in keys} for event in session.events]))
"""
WHOLE = {"kind": "llm", "tokens_in": 22, "tokens_out": 5, "cost": 35_320, "finish_reason": "end_turn", "failed": False}
HALF = {"kind": "llm", "tokens_in": 22, "tokens_out": None, "cost": None, "finish_reason": None, "failed": False}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server that answers as model providers do."""
    with ModelServer() as running:
        yield running


def _told(warm: Warm, server: ModelServer, code: str) -> list[dict[str, Any]]:
    """Return the events that a program tells of at its end; what it prints before is in the way."""
    env = {"ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "x"}
    done = warm.run(f"{START}{code}\ntell()", env)
    assert done.returncode == 0, done.stderr
    events: list[dict[str, Any]] = json.loads(done.stdout)
    return events


def test_a_stream_that_is_left_has_no_known_cost(warm: Warm, server: ModelServer) -> None:
    """The tokens before its end are a placeholder: for a stream that is left, closed, or used with the helper."""
    events = _told(
        warm,
        server,
        """
for part in claude.messages.create(stream=True, **REQUEST): break
del part
stream = claude.messages.create(stream=True, **REQUEST)
next(iter(stream))
stream.close()
with claude.messages.stream(**REQUEST) as stream:
    for text in stream.text_stream: break
""",
    )
    assert events == [HALF] * 3


def test_next_works_as_without_the_instrumentor(warm: Warm, server: ModelServer) -> None:
    """To the end, in part and then in a loop, and asynchronously: each is one call with all its tokens."""
    events = _told(
        warm,
        server,
        """
def rest(stream):
    while True:
        try: next(stream)
        except StopIteration: return
rest(claude.messages.create(stream=True, **REQUEST))
stream = claude.messages.create(stream=True, **REQUEST)
assert next(stream).type == "message_start"
assert [event.type for event in stream][-1] == "message_stop"
async def main():
    stream = await anthropic.AsyncAnthropic(max_retries=0).messages.create(stream=True, **REQUEST)
    assert (await anext(stream)).type == "message_start"
    try:
        while True: await anext(stream)
    except StopAsyncIteration: pass
asyncio.run(main())
""",
    )
    assert events == [WHOLE] * 3


def test_an_error_of_next_is_the_programs_and_recorded(warm: Warm, server: ModelServer) -> None:
    """A stream whose connection was closed: the exception of the client reaches the program, and is one error."""
    events = _told(
        warm,
        server,
        """
import httpx
stream = claude.messages.create(stream=True, **REQUEST)
next(stream)
def broken(): raise httpx.ReadError("gone")
stream.__wrapped__._iterator = (broken() for _ in range(1))
try: next(stream)
except httpx.ReadError: pass
else: raise SystemExit("no error")
""",
    )
    assert [(event["kind"], event["failed"], event["cost"]) for event in events] == [
        ("llm", True, None),
        ("error", False, None),
    ]


def test_the_first_token_has_its_time(warm: Warm, server: ModelServer) -> None:
    """In every way to read a stream; one that is left before its answer begins has none."""
    events = _told(
        warm,
        server,
        """
def tell(): print(json.dumps([event.get("time_to_first_token") for event in session.events]))
for part in claude.messages.create(stream=True, **REQUEST): pass
with claude.messages.stream(**REQUEST) as stream:
    for text in stream.text_stream: pass
stream = claude.messages.create(stream=True, **REQUEST)
while next(stream, None): pass
async def main():
    other = anthropic.AsyncAnthropic(max_retries=0)
    async for part in await other.messages.create(stream=True, **REQUEST): pass
    async with other.messages.stream(**REQUEST) as stream:
        async for text in stream.text_stream: pass
asyncio.run(main())
stream = claude.messages.create(stream=True, **REQUEST)
assert next(stream).type == "message_start"
stream.close()
""",
    )
    assert [isinstance(seconds, float) for seconds in events] == [True] * 5 + [False]
