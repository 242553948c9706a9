"""What localops sends as spans can be read again: the sink writes rows, and the mapping reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops.encoding import encode
from localops.journal import rows
from localops.journal.stored import Stored
from localops.otel import exact, mapping, names
from localops.otel.mapping import Reading
from localops.otlp import semconv, step_rows
from localops.otlp.openinference import OpenInference
from localops.otlp.translation import Span, Translation
from localops.transfer.bundle import Batch

from .otlp_collector import NoRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.otlp.semconv import Names

_STATUS = {semconv.ERROR: "ERROR", semconv.OK: "OK", semconv.UNSET: "UNSET"}
VOCABULARIES: dict[str, Names] = {
    "both": semconv.GenAI(),
    "genai": semconv.GenAI(complemented=False),
    "openinference": OpenInference(),
}


def sent(kind: str, body: dict[str, Any], semconv: str = "both", **columns: Any) -> Span:
    """Return the span that a row becomes."""
    row = rows.make(kind, b"s" * 16, id=b"i" * 16, at_ns=5, body=encode.dumps(body).decode(), **columns)
    batch = Batch("00", (), [Stored(1, *row)], [(1, 1)])
    translation = Translation(batch, NoRows(), "/nowhere/default", VOCABULARIES[semconv], metadata_only=False)
    [(_, [span])] = translation.groups()
    return span


def read(span: Span) -> Reading:
    """Return what a span says."""
    about = {name: tuple(value) if isinstance(value, list) else value for name, value in span.attributes.items()}
    named = (("exception", span.exception), ("gen_ai.evaluation.result", span.result))
    events = [(name, span.end_ns, given) for name, given in named if given is not None]
    links = [{"trace_id": span.trace.hex(), "span_id": span.judged.hex()}] if span.judged is not None else []
    status = _STATUS[span.status]
    return mapping.read(
        span.name, about, scope="localops", events=events, status=status, message=span.message, links=links
    )


_TEXT = st.text('abc é"{}[]$1', max_size=30) | st.text(max_size=60)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_PART = st.sampled_from(
    [
        {"type": "text", "text": "a text that is long enough to be pointed at"},
        {"type": "thinking", "thinking": "the tide turns at nine, so leave at eight", "signature": "x" * 40},
        {"type": "redacted_thinking", "data": "y" * 40},
        {"type": "tool_use", "id": "c1", "name": "tides", "input": {"place": "Brest"}},
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "4 m"}], "is_error": False},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" * 4}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 4}},
        {"type": "output_text", "text": "four metres", "annotations": []},
    ]
)
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from("system user assistant tool developer".split())},
    optional={
        "content": st.none() | _TEXT | st.lists(_PART, max_size=3),
        "tool_call_id": st.just("c1"),
        "tool_calls": st.just(
            [{"id": "c1", "type": "function", "function": {"name": "tides", "arguments": '{"place":"Brest"}'}}]
        ),
        "finish_reason": st.sampled_from(["stop", "end_turn", "tool_calls"]),
    },
)
_ITEM = st.sampled_from(
    [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "four metres"}]},
        {"type": "function_call", "call_id": "c1", "name": "tides", "arguments": '{"place":"Brest"}', "id": "fc_1"},
        {"type": "function_call_output", "call_id": "c1", "output": "4 m"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "it rises"}]},
    ]
)
_MESSAGES = st.lists(_MESSAGE | _ITEM, max_size=3) | _MESSAGE | _TEXT | _VALUE
_KNOWN = sorted(
    {field for table in names.TABLES for field in table.values() if "." not in field}
    | set("params returns prompt completion tool_calls logs code details trigger embeddings attributes x".split())
)
_BODY = st.dictionaries(st.sampled_from(_KNOWN) | _TEXT.filter(bool), _VALUE, max_size=4)
_CALL = st.fixed_dictionaries(
    {},
    optional={
        "prompt": _MESSAGES,
        "completion": _MESSAGES,
        "params": st.dictionaries(st.sampled_from("temperature max_tokens stop n x".split()), _VALUE, max_size=3),
        "system_instructions": _TEXT | st.lists(_PART, max_size=2),
        "tool_definitions": st.lists(
            st.sampled_from(
                [
                    {"type": "function", "function": {"name": "tides", "parameters": {"type": "object"}}},
                    {"name": "tides", "description": "tide tables", "input_schema": {"type": "object"}},
                    {"type": "web_search"},
                ]
            ),
            max_size=2,
        ),
        "response_id": _TEXT,
        "response_model": _TEXT,
        "provider": st.sampled_from(["openai", "anthropic", "gcp.gen_ai", "Ollama", ""]),
        "finish_reason": st.sampled_from(["stop", ["stop", "length"]]),
        "stream": st.booleans(),
        "time_to_first_token": st.floats(0, 10),
        "cache_write_tokens": st.integers(0, 99),
        "input_audio_tokens": st.integers(0, 99) | st.just("many"),
        "operation": st.sampled_from(["chat", "embeddings", "text_completion"]),
    },
)
_COUNT = st.none() | st.integers(0, 10**12)


@pytest.mark.parametrize("semconv", VOCABULARIES)
@given(
    kind=st.sampled_from([*semconv.SHAPES, "error", "llm_copy", "user:odd"]).filter(lambda kind: kind != "session"),
    body=_CALL | _BODY | st.builds(lambda one, other: {**one, **other}, _CALL, _BODY),
    columns=st.fixed_dictionaries(
        {
            "name": st.none() | _TEXT,
            "model": st.sampled_from([None, "gpt-4o", "claude-sonnet-4", "llama3"]),
            "tokens": st.tuples(_COUNT, _COUNT, _COUNT, _COUNT),
            "cost": st.none() | st.integers(0, 10**15),
            "failed": st.sampled_from([None, None, 1]),
            "tags": st.none() | st.lists(_TEXT, min_size=1, max_size=2).map(lambda tags: encode.dumps(tags).decode()),
        }
    ),
)
def test_a_row_comes_back_as_it_was(semconv: str, kind: str, body: dict[str, Any], columns: dict[str, Any]) -> None:
    """Whatever a row holds, and in whichever words it is sent."""
    actual = read(sent(kind, body, semconv, **columns)).row
    tokens = dict(zip("tokens_in tokens_out tokens_cached tokens_reasoning".split(), columns["tokens"], strict=True))
    tags = encode.loads(columns["tags"]) if columns["tags"] else None
    plain = {"kind": kind, **{key: columns[key] for key in ("name", "model", "cost", "failed")}, **tokens, "tags": tags}
    expected = {key: value for key, value in plain.items() if value is not None}
    expected |= {f"body.{key}": value for key, value in body.items()}
    assert encode.dumps(dict(sorted((actual or {}).items()))) == encode.dumps(dict(sorted(expected.items())))


_MARK = {"args": "a1" * 16, "n": 1, "by": "b2" * 16}


@pytest.mark.parametrize("semconv", VOCABULARIES)
@given(kind=st.sampled_from(["tool", "llm", "task"]), opened=_BODY, closed=_BODY, kept=st.sampled_from([None, "exact"]))
def test_both_rows_of_a_step_come_back_as_they_were(
    semconv: str, kind: str, opened: dict[str, Any], closed: dict[str, Any], kept: str | None
) -> None:
    """Also where both have the same keys: a resumed run reads the step in one, and its result in the other."""
    opened, closed = {**opened, "once": _MARK}, {**closed, "once": {"kept": kept}}
    id = bytes.fromhex("01a22ce798247ec091bd7a5ff86e1590")
    both = [
        rows.make(kind, b"s" * 16, id=id, phase=rows.OPEN, at_ns=5, body=encode.dumps(opened).decode()),
        rows.make(kind, b"s" * 16, id=id, at_ns=9, start_ns=5, body=encode.dumps(closed).decode()),
    ]
    batch = Batch("00", (), [Stored(number, *row) for number, row in enumerate(both, 1)], [(1, 2)])
    translation = Translation(batch, NoRows(), "/nowhere/default", VOCABULARIES[semconv], metadata_only=False)
    [(_, [span])] = translation.groups()
    reading = read(span)
    body = {key.removeprefix("body."): value for key, value in (reading.row or {}).items() if key.startswith("body.")}
    closing, opening = step_rows.split(body, reading.ours["step"])
    assert opening is not None
    assert opening["at"] == [5, None, None]
    assert [encode.sorted_dumps(one) for one in (opening["body"], closing)] == [
        encode.sorted_dumps(one) for one in (opened, closed)
    ]


@pytest.mark.parametrize("semconv", VOCABULARIES)
def test_no_long_text_is_sent_twice(semconv: str) -> None:
    """What a prompt in the form of its vendor needs to be restored points at the texts of the messages."""
    question, thought, answer = (
        word * 50 for word in ("how high is the tide? ", "it turns at nine. ", "four metres. ")
    )
    body = {
        "prompt": [{"role": "user", "content": question}],
        "completion": {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": thought, "signature": "s" * 60},
                {"type": "text", "text": answer},
            ],
        },
        "system_instructions": [{"type": "text", "text": "Be brief. " * 20, "cache_control": {"type": "ephemeral"}}],
    }
    span = sent("llm", body, semconv, model="claude-sonnet-4")
    whole = "\n".join(str(value) for value in span.attributes.values())
    assert [whole.count(text) for text in (question, thought, answer, "Be brief. " * 20)] == [1] * 4


def test_a_plain_row_needs_nothing_beside_its_attributes() -> None:
    """The difference is for what the conventions cannot say."""
    parts = [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    for span in (
        sent("tool", {"params": {"place": "Brest"}, "returns": "4 m", "call_id": "c1"}, name="tides"),
        sent("task", {"params": {"place": "Brest"}, "returns": ["4 m"]}, name="plan", failed=1),
        sent("llm", {"prompt": parts, "provider": "openai"}, model="gpt-4o", tokens=(1000, 50, 100, 20), cost=5),
        sent("error", {"details": "no tide", "logs": "Traceback"}, name="ValueError"),
    ):
        assert "localops.exact" not in span.attributes


def test_a_difference_that_does_not_belong_to_its_span_changes_nothing() -> None:
    """A back end may cut attributes: then the row is what the others say."""
    span = sent("llm", {"prompt": "how high is the tide at Brest, today?"}, model="gpt-4o")
    for broken in ('{"set":{"body.prompt":{"$":99}}}', "{", "[]", '{"set":7}'):
        row = read_with(span, broken).row
        assert row is not None
        assert row["model"] == "gpt-4o"
    with pytest.raises(ValueError, match="invalid localops"):
        exact.applied({}, '{"set":{"x":{"$":99}}}')


def read_with(span: Span, change: str) -> Reading:
    """Return what a span says when its difference is another one."""
    span.attributes["localops.exact"] = change
    return read(span)


def test_what_failed_comes_back() -> None:
    """A failed call is failed, with as much of its error as its span says."""
    call = read(sent("tool", {}, name="t", failed=1))
    assert call.failed
    error = read(sent("error", {"details": "no tide", "logs": "Traceback"}, name="ValueError"))
    assert (error.kind, error.errors[0].type, error.errors[0].message) == ("error", "ValueError", "no tide")
