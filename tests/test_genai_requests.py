"""Requests of google-genai's automatic function calling are one call, with the tokens of all of them.

The instrumentor and the client here are stand-ins with the names of theirs; `scripts/clients google-genai` has the real
ones.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode, use_span

import localops
from localops.instrument import genai_requests
from localops.otel import private_provider

CALL: dict[str, Any] = {"openinference.span.kind": "LLM", "llm.system": "google", "llm.model_name": "gemini-2.5-flash"}
PROMPT, ANSWER = "llm.token_count.prompt", "llm.token_count.completion"


class Usage:
    """The usage of an answer."""

    def __init__(self, prompt: int, answer: int, thoughts: int | None = None) -> None:
        self.prompt, self.answer, self.thoughts = prompt, answer, thoughts

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Return it as the client's class does."""
        counts = {"prompt_token_count": self.prompt, "candidates_token_count": self.answer}
        return counts | {"thoughts_token_count": self.thoughts, "cached_content_token_count": None}


def part(*usage: int) -> Any:
    """Return an answer, or a part of one."""
    return SimpleNamespace(usage_metadata=Usage(*usage) if usage else None)


class Models:
    """A client that asks twice for one call."""

    def _generate_content(self, usage: tuple[int, ...] | None) -> Any:
        if usage is None:
            raise OSError("gone")
        return part(*usage)

    def generate_content(self, *answers: tuple[int, ...] | None) -> Any:
        """Ask until there is an answer."""
        return [self._generate_content(usage) for usage in answers][-1]

    def _generate_content_stream(self, *usage: int) -> Iterator[Any]:
        yield part()
        yield part(usage[0], 1)
        yield part(*usage)

    def generate_content_stream(self) -> Iterator[Any]:
        """Stream two answers."""
        yield from self._generate_content_stream(10, 4, 6)
        yield from self._generate_content_stream(30, 5)


class AsyncModels:
    """The same, asynchronously."""

    async def _generate_content(self, usage: tuple[int, ...]) -> Any:
        return part(*usage)

    async def generate_content(self, *answers: tuple[int, ...]) -> Any:
        """Ask until there is an answer."""
        return [await self._generate_content(usage) for usage in answers][-1]

    async def _generate_content_stream(self, *usage: int) -> Any:
        async def parts() -> AsyncIterator[Any]:
            yield part(usage[0], 1)
            yield part(*usage)

        return parts()

    async def generate_content_stream(self) -> AsyncIterator[Any]:
        """Stream two answers."""
        for usage in ((10, 4, 6), (30, 5)):
            async for one in await self._generate_content_stream(*usage):
                yield one


class Accumulator:
    """What the instrumentor knows of a stream: the usage of its last part."""

    def process_chunk(self, chunk: Any) -> None:
        """Take the next part."""
        self.usage = chunk.usage_metadata


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client and its instrumentor, completed twice, as by two sessions."""
    module: Any = ModuleType("google.genai.models")
    module.Models, module.AsyncModels = (type(one.__name__, (), dict(vars(one))) for one in (Models, AsyncModels))
    monkeypatch.setitem(sys.modules, "google.genai.models", module)

    def made(self: Any, span: Any) -> None:
        self._with_span, self._response_accumulator = span, Accumulator()

    stream: Any = ModuleType("_stream")
    stream.trace_api = trace
    stream._Stream = module.stream = type("_Stream", (), {"__init__": made})
    genai_requests.complete(stream)
    genai_requests.complete(stream)
    return module


def _finish(span: Any, usage: Usage | None) -> None:
    if usage is not None:
        span.set_attributes({PROMPT: usage.prompt, ANSWER: usage.answer + (usage.thoughts or 0)})
    else:
        span.set_status(Status(StatusCode.ERROR, "OSError: gone"))
    span.end()


def _span(name: str) -> Any:
    return private_provider().get_tracer("openinference.google_genai").start_span(name, attributes=CALL)


def _figures(session: localops.Session) -> list[tuple[Any, ...]]:
    return [
        (event["tokens_in"], event["tokens_out"], event["tokens_reasoning"])
        for event in session.events
        if event["kind"] == "llm"
    ]


def _ask(client: Any, *answers: tuple[int, ...] | None) -> None:
    span = _span("GenerateContent")
    with use_span(span):
        try:
            usage = client.Models().generate_content(*answers).usage_metadata
        except OSError:
            usage = None
    _finish(span, usage)


def test_all_requests_of_a_call_are_counted(client: Any) -> None:
    """Those that succeeded, if a later one fails, too; a call of one request is as the instrumentor sees it."""
    session = localops.start_session()
    _ask(client, (10, 4, 6), (30, 5))
    _ask(client, (10, 4, 6), None)
    _ask(client, (7, 8))

    async def main() -> None:
        span = _span("AsyncGenerateContent")
        with use_span(span):
            answer = await client.AsyncModels().generate_content((10, 4, 6), (20, 3), (30, 5))
        _finish(span, answer.usage_metadata)

    asyncio.run(main())
    assert _figures(session) == [(40, 15, 6), (10, 10, 6), (7, 8, None), (60, 18, 6)]


def test_all_requests_of_a_stream_are_counted(client: Any) -> None:
    """The last usage of each: earlier parts of an answer have a smaller one."""
    session = localops.start_session()
    spans = [_span("GenerateContentStream"), _span("AsyncGenerateContentStream")]
    looped, awaited = map(client.stream, spans)
    for one in client.Models().generate_content_stream():
        looped._response_accumulator.process_chunk(one)

    async def main() -> None:
        async for one in client.AsyncModels().generate_content_stream():
            awaited._response_accumulator.process_chunk(one)

    asyncio.run(main())
    for span, stream in zip(spans, (looped, awaited), strict=True):
        _finish(span, stream._response_accumulator.usage)
    assert _figures(session) == [(40, 15, 6)] * 2
    assert "all_usage" not in str(list(session.events))
