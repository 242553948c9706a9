"""What localops sends as spans, it reads again: rows go out through the sink and come back by the mapping."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localops import LLMEvent
from localops.encoding import encode
from localops.encoding.pricing import Prices
from localops.journal import rows
from localops.journal.stored import Stored
from localops.otel import mapping
from localops.otel.mapping import Reading
from localops.recording import usage
from localops.transfer.bundle import Batch
from localops_sync.sinks import otlp_semconv
from localops_sync.sinks.otlp_messages import completion_messages, in_parts, prompt_messages
from localops_sync.sinks.otlp_spans import Span, Translation

from .test_otlp import _Nothing

_STATUS = {otlp_semconv.ERROR: "ERROR", otlp_semconv.OK: "OK", otlp_semconv.UNSET: "UNSET"}


def sent(kind: str, body: dict[str, Any], **columns: Any) -> Span:
    """Return the span that a row becomes."""
    row = rows.make(kind, b"s" * 16, id=b"i" * 16, at_ns=5, body=encode.dumps(body).decode(), **columns)
    batch = Batch("00", (), [Stored(1, *row)], [(1, 1)])
    translation = Translation(batch, _Nothing(), "/nowhere/default", otlp_semconv.GenAI(), metadata_only=False)
    [(_, [span])] = translation.groups()
    return span


def read(span: Span) -> Reading:
    """Return what a span says."""
    about = {name: tuple(value) if isinstance(value, list) else value for name, value in span.attributes.items()}
    return mapping.read(span.name, about, scope="localops", status=_STATUS[span.status], message=span.message)


_WORD = st.text("abc é", min_size=1, max_size=8)
_VALUE = st.integers(0, 9) | _WORD | st.lists(_WORD, min_size=1, max_size=2) | st.dictionaries(_WORD, _WORD, min_size=1)
_DICT = st.dictionaries(_WORD, _VALUE, min_size=1, max_size=3)
_MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": _WORD})
_TOOL = st.fixed_dictionaries({"type": st.just("function"), "name": _WORD, "parameters": _DICT})
_CALL = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.lists(_MESSAGE, min_size=1, max_size=3),
        "completion": _MESSAGE.map(lambda message: {**message, "role": "assistant"}),
        "params": _DICT,
        "system_instructions": _WORD,
        "tool_definitions": st.lists(_TOOL, min_size=1, max_size=2),
        "tool_calls": st.lists(_TOOL, min_size=1, max_size=2),
        "response_id": _WORD,
        "response_model": _WORD,
        "stream": st.booleans(),
        "time_to_first_token": st.floats(0, 10),
        "thread_id": _WORD,
        "finish_reason": st.sampled_from(["stop", "length"]),
        "cache_write_tokens": st.integers(1, 99),
        "input_audio_tokens": st.integers(1, 99),
    },
)
_BESIDE = ("attributes", "session_id", "agent_id")  # which session and agent it was is on every span
_COUNT = st.none() | st.integers(0, 10**6)


@given(
    body=_CALL,
    provider=st.sampled_from(["openai", "anthropic", "gcp.gen_ai", None]),
    tokens=st.tuples(st.integers(200, 10**6), _COUNT, st.none() | st.integers(0, 100), _COUNT),
    tags=st.lists(_WORD, unique=True, max_size=3),
    name=_WORD,
)
def test_an_llm_call_comes_back(
    body: dict[str, Any], provider: str | None, tokens: tuple[int | None, ...], tags: list[str], name: str
) -> None:
    """Messages come back in the conventions' parts, everything else as it was, the tokens as the row has them."""
    whole = {**body, **({"provider": provider} if provider else {})}
    columns = {"tags": encode.dumps(tags).decode() if tags else None, "model": "gpt-4o"}
    call = read(sent("llm", whole, name=name, tokens=tokens, **columns))
    assert (call.kind, call.figures["model"], call.tags or []) == ("llm", "gpt-4o", tags)
    event = LLMEvent(**call.figures)
    assert usage.of_llm(event, 5, lambda text, _: str(text), Prices)[1:5] == tokens
    assert event.provider == (provider or "openai")  # whose model it is
    parts = [in_parts(message) for message in prompt_messages(body.get("prompt"))]
    assert call.fields.pop("prompt", []) == parts
    answer = call.fields.pop("completion", None)
    assert ([] if answer is None else answer[0]["parts"]) == [
        part for message in completion_messages(body.get("completion")) for part in in_parts(message)["parts"]
    ]
    figures = {"cache_write_tokens", "input_audio_tokens"}
    assert {name: getattr(event, name) for name in figures} == {name: body.get(name) for name in figures}
    rest = {name: value for name, value in body.items() if name not in {"prompt", "completion", *figures}}
    assert {name: value for name, value in call.fields.items() if name not in _BESIDE} == rest


@given(
    kind=st.sampled_from("tool agent workflow task operation action guardrail".split()),
    body=st.fixed_dictionaries({}, optional={"params": _VALUE, "returns": _VALUE, "version": _WORD, "call_id": _WORD}),
    name=_WORD,
)
def test_an_operation_comes_back(kind: str, body: dict[str, Any], name: str) -> None:
    """Kind, name, what went in and what came out."""
    found = read(sent(kind, body, name=name))
    assert (found.kind, found.name) == (kind, name)
    assert {key: value for key, value in found.fields.items() if key not in _BESIDE} == {
        key: str(value) if type(value) is int else value for key, value in body.items()
    }  # a number that stands alone is sent as its text


def test_what_failed_comes_back() -> None:
    """A failed call is failed, with as much of its error as its span says."""
    call = read(sent("tool", {}, name="t", failed=1))
    assert call.failed
    error = read(sent("error", {"details": "no tide", "logs": "Traceback"}, name="ValueError"))
    assert (error.kind, error.errors[0].type, error.errors[0].message) == ("error", "ValueError", "no tide")
