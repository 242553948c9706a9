"""Calls of litellm are LLM calls from their start, by an instrumentor that adds the request to a span that runs.

The instrumentor and the library here are stand-ins with the names of theirs; `scripts/clients litellm` has the real
ones.
"""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest

import localops
from localops.instrument import litellm_requests
from localops.otel import private_provider

ASKED: dict[str, Any] = {
    "model": "anthropic/claude",
    "messages": [{"role": "user", "content": "how high is the tide?"}],
}


def _request(span: Any, kwargs: dict[str, Any]) -> None:
    span.set_attribute("openinference.span.kind", "LLM")
    span.set_attribute("llm.model_name", kwargs["model"])
    for number, message in enumerate(kwargs["messages"]):
        at = f"llm.input_messages.{number}.message"
        span.set_attributes({f"{at}.role": message["role"], f"{at}.content": message["content"]})


class LiteLLMInstrumentor:
    """What the instrumentor does with a call."""

    def __init__(self) -> None:
        self._tracer: Any = private_provider().get_tracer("openinference.litellm")
        self.open: list[Any] = []  # the opening rows, in the middle of a call
        self.session = localops.start_session()

    def _completion(self, **kwargs: Any) -> Any:
        with self._tracer.start_as_current_span(name="completion", attributes={}) as span:
            _request(span, kwargs)
            self._tracer.start_span(name="inside").end()
            self._look()
        return kwargs["messages"]

    async def _acompletion(self, **kwargs: Any) -> Any:
        span = self._tracer.start_span(name="acompletion", attributes={})
        _request(span, kwargs)
        await asyncio.sleep(0)
        self._look()
        span.end()
        return kwargs["messages"]

    def _look(self) -> None:
        session = self.session
        file = session.recorder.journal._file
        rows = "select kind, model, body from event where session = ? and phase = 1 and name <> 'inside'"
        self.open = file.execute(rows, (session._id,)).fetchall()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, recorded by the instrumentor, completed twice."""
    litellm, module = ModuleType("litellm"), ModuleType("openinference.instrumentation.litellm")
    instrumentor: Any = LiteLLMInstrumentor()
    known: Any = litellm
    known.completion, known.acompletion = instrumentor._completion, instrumentor._acompletion
    monkeypatch.setitem(sys.modules, "litellm", litellm)
    vars(module).update(LiteLLMInstrumentor=LiteLLMInstrumentor, _instrument_func_type_completion=_request)
    litellm_requests.complete(module)
    litellm_requests.complete(module)
    known.instrumentor = instrumentor
    return litellm


def test_a_call_has_its_request_when_it_begins(library: Any) -> None:
    """If the process dies in it, the journal has the model and the prompt."""
    session = library.instrumentor.session
    assert library.completion(**ASKED) == ASKED["messages"]
    [(kind, model, body)] = library.instrumentor.open
    assert (kind, model) == ("llm", "anthropic/claude")
    assert "how high is the tide?" in body
    assert asyncio.run(library.acompletion(**ASKED)) == ASKED["messages"]
    assert [row[:2] for row in library.instrumentor.open] == [("llm", "anthropic/claude")] * 2
    assert [event["kind"] for event in session.events] == ["operation", "llm", "llm"]


def test_a_request_that_cannot_be_read_breaks_nothing(library: Any) -> None:
    """Its span starts without it; the program gets what the library raises."""
    session = library.instrumentor.session
    with pytest.raises(KeyError):
        library.completion(model="claude")
    assert [event["kind"] for event in session.events if event["kind"] != "error"] == ["llm"]
