"""Streams of groq are followed to their end, by an instrumentor that ends their spans when they begin.

The instrumentor and the client here are stand-ins with the names of theirs; `scripts/clients groq` has the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace

import localops
from localops.instrument import groq_streams
from localops.otel import private_provider

USAGE = SimpleNamespace(prompt_tokens=15, completion_tokens=5)


def part(index: int = 0, reason: str | None = None, usage: Any = None, **delta: Any) -> SimpleNamespace:
    """Return a part of a stream as groq's client gives it."""
    choice = SimpleNamespace(index=index, finish_reason=reason, delta=SimpleNamespace(**delta))
    return SimpleNamespace(id="c-1", model="llama", choices=[choice], x_groq=usage and SimpleNamespace(usage=usage))


def call(id: str | None, name: str | None, arguments: str) -> SimpleNamespace:
    """Return a piece of a tool call."""
    return SimpleNamespace(index=0, id=id, function=SimpleNamespace(name=name, arguments=arguments))


PARTS = [
    part(role="assistant", content=""),
    part(content="You wrote: ", tool_calls=[call("t-1", "weather", '{"city":')]),
    part(content="hello", reasoning="a greeting", tool_calls=[call(None, None, '"Brest"}')]),
    part(reason="stop", usage=USAGE),
]


class Stream:
    """A stream of the client: it is looped over, asked for its next part, or closed."""

    def __init__(self, parts: list[Any]) -> None:
        self._iterator = self._parts(parts)

    def _parts(self, parts: list[Any]) -> Iterator[Any]:
        for one in parts:
            if isinstance(one, Exception):
                raise one
            yield one

    def __iter__(self) -> Iterator[Any]:
        yield from self._iterator

    def close(self) -> None:
        """Close the connection."""


class AsyncStream:
    """The same, asynchronously."""

    def __init__(self, parts: list[Any]) -> None:
        self._iterator = self._parts(parts)

    async def _parts(self, parts: list[Any]) -> AsyncIterator[Any]:
        for one in parts:
            yield one

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for one in self._iterator:
            yield one

    async def close(self) -> None:
        """Close the connection."""


class Span:
    """What the instrumentor knows of a span."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[dict[str, Any]] = []

    def add_event(self, name: str) -> None:
        """Note an event."""
        self.notes.append(name)

    def record_exception(self, error: BaseException) -> None:
        """Note an exception."""
        self.notes.append(type(error).__name__)


def _finish(*, with_span: Span, status: Any, attributes: Any, extra_attributes: Any) -> None:
    if not with_span.ended:
        with_span.ended.append({"status": status, **dict(attributes), **dict(extra_attributes)})


class _WithTracer:
    """What the instrumentor does around a call: it ends the span for exceptions only."""

    @contextmanager
    def _start_as_current_span(self, call: Any) -> Iterator[Any]:
        yield call


class _WithSpan:
    """The instrumentor's wrapper around a span."""

    def __init__(self, span: trace.Span) -> None:
        self.record_exception, self._span = span.record_exception, span

    def finish_tracing(self, status: Any) -> None:
        """End it."""
        self._span.set_status(status)
        self._span.end()


class _Extractor:
    def get_attributes(self, response: Any) -> Iterator[tuple[str, Any]]:
        yield "output", response

    def get_extra_attributes(self, response: Any, request_parameters: Any) -> Iterator[tuple[str, Any]]:
        yield "request", request_parameters
        yield "usage", getattr(response, "usage", None)
        for choice in getattr(response, "choices", ()):
            yield f"message {choice.index}", choice.message


@pytest.fixture
def instrumentor() -> Any:
    """A module with the names of the instrumentor's, completed twice, as by two sessions."""
    module: Any = ModuleType("_wrappers")
    module._finish_tracing, module.trace_api = _finish, trace
    module._ResponseAttributesExtractor = type("_Extractor", (_Extractor,), dict(vars(_Extractor)))
    module._WithTracer = type("_WithTracer", (), dict(vars(_WithTracer)))
    groq_streams.complete(module)
    groq_streams.complete(module)
    return module


def started(instrumentor: Any, response: Any) -> Span:
    """Do what the instrumentor does with a response; return its span."""
    span, extractor = Span(), instrumentor._ResponseAttributesExtractor()
    instrumentor._finish_tracing(
        status="OK",
        with_span=span,
        attributes=extractor.get_attributes(response=response),
        extra_attributes=extractor.get_extra_attributes(response=response, request_parameters={"n": 1}),
    )
    return span


MESSAGE = {
    "role": "assistant",
    "content": "You wrote: hello",
    "reasoning": "a greeting",
    "tool_calls": [
        {"id": "t-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Brest"}'}},
    ],
}


def test_a_whole_answer_ends_its_span_at_once(instrumentor: Any) -> None:
    """The same as without localops."""
    span = started(instrumentor, SimpleNamespace(usage=USAGE))
    assert [(one["request"], one["usage"]) for one in span.ended] == [({"n": 1}, USAGE)]


@pytest.mark.parametrize("kind", [Stream, AsyncStream])
def test_a_stream_ends_its_span_when_it_is_read(instrumentor: Any, kind: Any) -> None:
    """With the parts put together, the tokens of its last one, and the time of its first."""
    stream = kind(PARTS)
    span = started(instrumentor, stream)
    assert span.ended == []

    async def read() -> list[Any]:
        return [one async for one in stream]

    assert (list(stream) if kind is Stream else asyncio.run(read())) == PARTS
    [ended] = span.ended
    assert (ended["usage"], ended["message 0"], ended["request"]) == (USAGE, MESSAGE, {"n": 1})
    assert ended["output"]["choices"] == [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]
    assert span.notes == ["First Token Stream Event"]


def test_a_stream_that_is_closed_or_fails_ends_its_span(instrumentor: Any) -> None:
    """With what was read by then; the error is the program's."""
    left, failing = Stream(PARTS), Stream([*PARTS[:2], OSError("gone")])
    of_left, of_failing = started(instrumentor, left), started(instrumentor, failing)
    assert next(iter(left)) is PARTS[0]
    left.close()
    assert [(one["usage"], one["message 0"]) for one in of_left.ended] == [(None, {"role": "assistant"})]
    with pytest.raises(OSError, match="gone"):
        list(failing)
    [ended] = of_failing.ended
    assert (ended["message 0"]["content"], ended["status"].description) == ("You wrote: ", "OSError: gone")
    assert of_failing.notes == ["First Token Stream Event", "OSError"]


def test_a_stream_of_another_release_ends_at_once(instrumentor: Any) -> None:
    """What cannot be followed is left to the instrumentor, and parts that cannot be read are passed on."""
    odd = type("Stream", (), {"_iterator": None})()
    assert len(started(instrumentor, odd).ended) == 1
    stream = Stream([object(), PARTS[1]])
    span = started(instrumentor, stream)
    assert len(list(stream)) == 2
    assert span.ended[0]["message 0"]["content"] == "You wrote: "


def test_a_call_that_is_cancelled_or_interrupted_ends(instrumentor: Any) -> None:
    """As failed, with what interrupted it; an exception is left to the instrumentor."""
    session = localops.start_session()
    calls = instrumentor._WithTracer()

    def started_span() -> _WithSpan:
        attributes = {"openinference.span.kind": "LLM", "llm.model_name": "llama"}
        return _WithSpan(private_provider().get_tracer("groq").start_span("Completions", attributes=attributes))

    async def ask() -> None:
        with calls._start_as_current_span(started_span()):
            await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(), 0.01)

    asyncio.run(main())
    with pytest.raises(KeyboardInterrupt), calls._start_as_current_span(started_span()):
        raise KeyboardInterrupt
    failing = started_span()
    with pytest.raises(OSError, match="gone"), calls._start_as_current_span(failing):
        raise OSError("gone")
    ended = [(event["ended_by"], event["failed"]) for event in session.events if "ended_by" in event]
    assert ended == [("CancelledError", True), ("KeyboardInterrupt", True)]
    assert failing._span.is_recording()
