"""The content of OpenTelemetry's spans: six generations of instrumentors, and anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops import LLMEvent
from localops.encoding.pricing import Prices
from localops.otel import mapping, names, plans
from localops.otel.mapping import Reading, read
from localops.recording import usage

# Each line is a span as an instrumentor sent it to a SpanProcessor, its calls answered by a server on the loopback
# address; `at_start` are the attributes that it had when it started.
_LINES = (Path(__file__).parent / "fixtures" / "otel_spans.jsonl").read_text(encoding="utf-8").splitlines()
SPANS: list[dict[str, Any]] = [json.loads(line) for line in _LINES]

SYSTEM, USER = {"role": "system", "content": "be brief"}, {"role": "user", "content": "how high is the tide?"}
PARTS = [
    {"role": "system", "parts": [{"content": "be brief", "type": "text"}]},
    {"role": "user", "parts": [{"content": "how high is the tide?", "type": "text"}]},
]
TOOL = {"type": "object", "properties": {"place": {"type": "string"}}}


def reading(span: dict[str, Any], attributes: dict[str, Any] | None = None, **more: Any) -> Reading:
    """Read a span of the fixture as at its end, or with other attributes."""
    return read(
        span["name"],
        span["attributes"] if attributes is None else attributes,
        scope=span["scope"],
        events=[(event["name"], 3_000_000_000, event["attributes"]) for event in span["events"]],
        status=span["status"],
        message=span["message"],
        start_ns=1_000_000_000,
        **more,
    )


def of(by: str, case: str, name: str | None = None) -> Reading:
    """Read the span that an instrumentor sent of a case: the one of that name, or the first."""
    spans = [span for span in SPANS if (span["by"], span["case"]) == (by, case) and name in (None, span["name"])]
    return reading(spans[0])


@pytest.mark.parametrize("by", ["openinference", "genai", "v2", "traceloop", "traceloop 0.40"])
def test_a_chat_call_is_read_the_same_of_each_convention(by: str) -> None:
    """Kind, model, provider, tokens, messages, parameters and answer, whatever the names of the attributes."""
    call = of(by, "openai chat")
    assert (call.kind, call.figures["model"], call.figures["provider"]) == ("llm", "gpt-4o", "openai")
    assert (call.figures["prompt_tokens"], call.figures["completion_tokens"]) == (120, 15)
    assert call.fields["prompt"] in ([SYSTEM, USER], PARTS)
    assert "four metres" in json.dumps(call.fields["completion"])
    assert call.fields["params"].items() >= {"temperature": 0.1, "max_tokens": 64}.items()
    assert (call.fields["finish_reason"], call.fields["response_model"]) == ("stop", "gpt-4o-2024-08-06")
    assert call.fields["response_id"].startswith("chatcmpl-")
    assert not call.failed


@pytest.mark.parametrize("by", ["openinference", "genai", "traceloop", "traceloop 0.40"])
def test_tools_of_a_call_are_read(by: str) -> None:
    """The tools that a model was offered, and those that it asked for, with id, name and arguments as values."""
    call = of(by, "openai tools")
    assert call.fields["tool_calls"] == [{"id": "call_1", "name": "tides", "arguments": {"place": "Brest"}}]
    (tool,) = call.fields["tool_definitions"]
    assert tool.get("function", tool)["name"] == "tides"
    assert tool.get("function", tool)["parameters"] == TOOL
    assert call.fields["finish_reason"] in ("tool_calls", "tool_call")


def test_cached_and_reasoning_tokens_are_read() -> None:
    """Each convention has its own names for them."""
    figures = {by: of(by, "openai chat").figures for by in ("openinference", "genai", "traceloop", "traceloop 0.40")}
    assert {by: found["cached_tokens"] for by, found in figures.items()} == dict.fromkeys(figures, 100)
    assert {by: found.get("reasoning_tokens") for by, found in figures.items()} == {
        "openinference": 7,
        "genai": 7,
        "traceloop": 7,
        "traceloop 0.40": None,
    }


@pytest.mark.parametrize("by", ["openinference", "genai", "traceloop", "traceloop 0.40"])
def test_a_prompt_counts_its_cached_tokens_once(by: str) -> None:
    """The conventions count them into the prompt, events of Anthropic beside it; the row has 20 + 100 + 30."""
    call = of(by, "anthropic tools")
    assert (call.figures["prompt_tokens"], call.figures["cached_tokens"]) == (20, 100)
    assert call.figures["cache_write_tokens"] == 30
    event = LLMEvent(**call.figures)
    _, tokens_in, tokens_out, *_, cost = usage.of_llm(event, 1_700_000_000 * 10**9, lambda text, _: str(text), Prices)
    assert (tokens_in, tokens_out) == (150, 15)
    assert cost == 20 * 3_000 + 100 * 300 + 30 * 3_750 + 15 * 15_000


def test_a_whole_request_is_kept_as_it_was_sent() -> None:
    """OpenInference's input.value is what the client sent: its flattened messages only repeat it."""
    (span,) = (each for each in SPANS if (each["by"], each["case"]) == ("openinference", "openai image"))
    call = reading(span)
    assert call.fields["prompt"][0]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "https://example.org/a.png"},
    }
    assert "attributes" not in call.fields
    alone = {name: value for name, value in span["attributes"].items() if name not in ("input.value", "output.value")}
    again = reading(span, alone)
    assert again.fields["prompt"] == call.fields["prompt"]
    assert again.fields["completion"] == [{"role": "assistant", "content": "four metres"}]


def test_what_a_span_has_at_its_start_is_not_repeated() -> None:
    """Start and end together have what the whole span has, and the end repeats neither request nor attributes."""
    for span in SPANS:
        names = span["at_start"]
        first = reading({**span, "events": [], "status": "UNSET"}, {name: span["attributes"][name] for name in names})
        rest = {name: value for name, value in span["attributes"].items() if name not in names}
        late, whole = reading(span, rest, before=first), reading(span)
        assert (late.kind, late.name, late.tags or first.tags) == (whole.kind, whole.name, whole.tags)
        assert late.figures == whole.figures, span["case"]
        beside = {**first.fields.get("attributes", {}), **late.fields.get("attributes", {})}
        together = {**first.fields, **late.fields, **({"attributes": beside} if beside else {})}
        assert together == whole.fields, (span["by"], span["case"])
        assert not first.fields.keys() & late.fields.keys() & {"prompt", "tool_definitions", "params"}
        assert not first.fields.get("attributes", {}).keys() & late.fields.get("attributes", {}).keys()


@pytest.mark.parametrize(
    ("by", "case", "name", "kind", "listed"),
    [
        ("openinference", "openai chat", None, "llm", "ChatCompletion"),
        ("openinference", "openai embeddings", None, "llm", "CreateEmbeddings"),
        ("openinference", "langchain chain", "RunnableSequence", "task", "RunnableSequence"),
        ("openinference", "langchain chain", "ChatPromptTemplate", "task", "ChatPromptTemplate"),
        ("openinference", "langchain tool", None, "tool", "tides"),
        ("openinference", "langchain retriever", None, "retriever", "R"),
        ("genai", "langchain chain", "invoke_workflow RunnableSequence", "workflow", "RunnableSequence"),
        ("genai", "langchain tool", None, "tool", "tides"),
        ("genai", "langchain retriever", None, "retriever", "retrieval"),
        ("genai", "openai embeddings", None, "llm", "embeddings text-embedding-3-small"),
        ("traceloop", "langchain chain", "RunnableSequence.workflow", "workflow", "RunnableSequence"),
        ("traceloop", "langchain tool", None, "tool", "tides"),
        ("agentops", "agentops", "run.session", "workflow", "run"),
        ("agentops", "agentops", "A.agent", "agent", "A"),
        ("agentops", "agentops", "step.task", "task", "step"),
        ("agentops", "agentops", "guard.guardrail", "guardrail", "guard"),
        ("agentops", "agentops", "tides.tool", "tool", "tides"),
        ("agentops", "agentops", "openai.chat.completion", "llm", "openai.chat.completion"),
    ],
)
def test_kinds_and_names(by: str, case: str, name: str | None, kind: str, listed: str) -> None:
    """Each convention's word for a kind, and the name of what a span does without what it does."""
    reading = of(by, case, name)
    assert (reading.kind, reading.name) == (kind, listed)


def test_tool_calls_have_arguments_result_and_id() -> None:
    """Input and output of a tool are values, beside the model's definition of it."""
    genai, agentops = of("genai", "langchain tool").fields, of("agentops", "agentops", "tides.tool")
    assert (genai["params"], genai["returns"]) == ({"place": "Brest"}, "4 m at Brest")
    assert genai["definition"] == {"description": "tide tables", "type": "function"}
    assert agentops.fields["params"] == {"args": ["Brest"], "kwargs": {}}
    assert agentops.figures["cost"] == 0.01
    asked = of("agentops", "agentops", "tool_call.tides").fields
    assert (asked["call_id"], asked["params"]) == ("call_1", {"place": "Brest"})


def test_a_tool_call_of_an_mcp_client_is_one() -> None:
    """The spans of the SDK's client have the method and the tool; its other requests are not tool calls."""
    call = read("MCP send tools/call tides", {"mcp.method.name": "tools/call"}, scope="mcp-python-sdk")
    assert (call.kind, call.name, call.fields["mcp_method"]) == ("tool", "tides", "tools/call")
    ended = read("MCP send tools/call tides", {}, scope="mcp-python-sdk", status="ERROR", before=call)
    assert (ended.kind, ended.name) == ("tool", "tides")
    listing = read("MCP send tools/list", {"mcp.method.name": "tools/list"}, scope="mcp-python-sdk")
    assert (listing.kind, listing.name) == ("operation", "MCP send tools/list")


def test_what_llama_index_does_before_a_call_is_no_call() -> None:
    """Its instrumentor gives each method of a model the kind LLM, also those that only prepare a request."""
    about: dict[str, Any] = {"openinference.span.kind": "LLM"}
    kinds = {
        name: read(name, about, scope="openinference.instrumentation.llama_index").kind
        for name in ("OpenAI._prepare_chat_with_tools", "OpenAI.chat")
    }
    assert kinds == {"OpenAI._prepare_chat_with_tools": "operation", "OpenAI.chat": "llm"}


def test_a_request_tells_that_a_span_is_a_call() -> None:
    """An instrumentor may give the kind only at the end, which then counts; parameters alone may be of anything."""
    request = {"llm.invocation_parameters": '{"model": "llama"}', "llm.input_messages.0.message.role": "user"}
    begun = read("Completions", request, scope="openinference.instrumentation.groq")
    assert (begun.kind, begun.has_kind) == ("llm", False)
    ended = read("Completions", {"openinference.span.kind": "CHAIN"}, before=begun)
    assert ended.kind == "task"
    assert read("step", {"llm.invocation_parameters": "{}"}).kind == "operation"


@pytest.mark.parametrize("key", ["function_call", "functionCall"])
def test_tools_that_gemini_asks_for_are_read(key: str) -> None:
    """An answer of Gemini has its calls in the parts of its candidates, as its library or its API writes them."""
    candidate = {"content": {"role": "model", "parts": [{key: {"name": "tides", "args": {"place": "Brest"}}}]}}
    attributes = {"openinference.span.kind": "LLM", "output.value": json.dumps({"candidates": [candidate]})}
    call = read("GenerateContent", attributes)
    assert call.fields["tool_calls"] == [{"name": "tides", "arguments": {"place": "Brest"}}]
    assert call.fields["completion"] == [candidate]


def test_who_and_where_are_read() -> None:
    """Session, user, metadata and tags of OpenInference."""
    call = of("openinference", "openinference attributes")
    assert (call.fields["session_id"], call.fields["user_id"]) == ("s-1", "u-1")
    assert (call.fields["metadata"], call.tags) == ({"team": "sea"}, ["x", "y"])


def test_first_tokens_are_read_of_attributes_and_events() -> None:
    """The time to the first token, in seconds; empty events of parts are counted and not kept."""
    assert of("openinference", "openai stream usage").fields["time_to_first_token"] == 2.0
    assert 0 < of("genai", "openai stream usage").fields["time_to_first_token"] < 1
    traceloop = of("traceloop", "openai stream usage").fields
    assert (traceloop["time_to_first_token"], traceloop["chunks"]) == (2.0, 5)
    assert traceloop["stream"] is True
    assert "events" not in traceloop


@pytest.mark.parametrize(
    ("by", "kind"),
    [
        ("openinference", "openai.AuthenticationError"),
        ("genai", "openai.AuthenticationError"),
        ("v2", "openai.AuthenticationError"),
        ("traceloop", "openai.AuthenticationError"),
    ],
)
def test_a_failure_is_read_of_events_and_of_attributes(by: str, kind: str) -> None:
    """The type and words of an exception stand in an event, in error.type or in the status."""
    call = of(by, "openai refused")
    assert call.failed
    (error,) = call.errors
    assert (error.type or "").endswith("AuthenticationError")
    assert "bad key" in (error.message or "")
    assert call.figures["model"] == "refuse"


def test_older_events_of_content_are_read() -> None:
    """Prompts and answers in events: of 1.26, of 1.28 until 1.36, and in one event for all."""
    asked, answered = json.dumps([USER]), json.dumps([{"role": "assistant", "content": "4 m"}])
    about = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"}
    first = read(
        "chat",
        about,
        events=[
            ("gen_ai.content.prompt", 1, {"gen_ai.prompt": asked}),
            ("gen_ai.content.completion", 2, {"gen_ai.completion": answered}),
        ],
    )
    second = read(
        "chat",
        about,
        events=[
            ("gen_ai.user.message", 1, {"gen_ai.system": "openai", "content": "how high is the tide?"}),
            ("gen_ai.choice", 2, {"index": 0, "finish_reason": "stop", "message": '{"content": "4 m"}'}),
        ],
    )
    third = read(
        "chat",
        about,
        events=[
            (
                "gen_ai.client.inference.operation.details",
                1,
                {"gen_ai.input.messages": asked, "gen_ai.output.messages": answered, "gen_ai.usage.input_tokens": 7},
            )
        ],
    )
    assert [call.fields["prompt"] for call in (first, second, third)] == [[USER]] * 3
    assert first.fields["completion"] == third.fields["completion"] == [{"role": "assistant", "content": "4 m"}]
    assert (second.fields["completion"][0]["content"], second.fields["finish_reason"]) == ("4 m", "stop")
    assert third.figures["prompt_tokens"] == 7
    assert not any("events" in call.fields for call in (first, second, third))


def test_unknown_attributes_are_kept_unchanged() -> None:
    """Attributes without a meaning here, a second and different value of a field, and foreign events are kept."""
    reading = read(
        "GET /",
        {"http.route": "/", "sizes": (1, 2), "gen_ai.request.model": "a", "llm.request.model_name": "b"},
        events=[("retry", 5, {"attempt": 2})],
    )
    assert reading.fields["attributes"] == {"http.route": "/", "sizes": [1, 2], "llm.request.model_name": "b"}
    assert reading.fields["events"] == [{"name": "retry", "at": 5, "attempt": 2}]


def test_every_name_of_the_tables_is_read() -> None:
    """No line of a table is dead: its attribute is not kept among the unknown ones."""
    for table in names.TABLES:
        for name in table:
            for kind in ("llm", "tool", "agent", "task"):
                reading = read("x", {"openinference.span.kind": kind, name: "some text"})
                assert name not in reading.fields.get("attributes", {}), (kind, name)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
_JSON = st.builds(
    lambda value: json.dumps(value, default=repr), st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("messages choices content role output tools model generations lc message type id".split()),
            inner,
            max_size=4,
        ),
        max_leaves=12,
    )
)  # fmt: skip
_KNOWN = sorted({name for table in names.TABLES for name in table})
_NUMBERED = st.builds(
    lambda start, rest: start + ".".join(rest),
    st.sampled_from(sorted(names.NUMBERED)),
    st.lists(st.sampled_from("0 1 2 message tool_calls tool tool_call contents content role x".split()), max_size=6),
)
_NAMES = st.sampled_from(_KNOWN) | _NUMBERED | st.text(max_size=20)


@given(
    attributes=st.dictionaries(_NAMES, _VALUES | _JSON, max_size=8),
    first=st.dictionaries(_NAMES, _VALUES | _JSON, max_size=6),
    events=st.lists(
        st.tuples(
            st.sampled_from([*names.CONTENT, *names.MESSAGES, *sorted(names.FIRST_TOKEN), "exception", "x"]),
            st.integers(min_value=0, max_value=1 << 62) | st.none(),
            st.dictionaries(_NAMES | st.sampled_from(["exception.type", "message", "content"]), _VALUES, max_size=3),
        ),
        max_size=3,
    ),
)
def test_no_attribute_breaks_it_and_none_is_lost(
    attributes: dict[str, Any], first: dict[str, Any], events: list[tuple[str, int | None, dict[str, Any]]]
) -> None:
    """Any values give a reading; attributes without a meaning here are in it unchanged."""
    before = read("a", first)
    earlier = before.fields.get("attributes", {}).keys()
    for known in (None, before):
        reading = Reading("a")
        mapping._Reader("openinference.x", known).read(
            reading, attributes, events, "no", 1
        )  # `read` hides what it raises
        unknown = {name for name in attributes if not name.startswith(names.STARTS) and name not in names.NAMES}
        assert unknown <= reading.fields.get("attributes", {}).keys() | (earlier if known else set())
    read("a", attributes, events=events, status="ERROR", message="no", before=before)


def _said(reading: Reading) -> list[str]:
    """Return all of a reading as text: 1, 1.0 and true differ, and so do fields in another order."""
    return [f"{name}={getattr(reading, name)!r}" for name in Reading.__slots__ if name not in ("status", "span_name")]


# Of each field that a plan reads, one or two names.
_OF_FIELDS = {field: name for name, (field, _) in names.FIELDS.items() if not name.startswith("localops")}
_OF_CALLS = st.sampled_from(sorted({*_OF_FIELDS.values(), "gen_ai.system", "gen_ai.request.model", "llm.model_name"}))
_ASKED = st.sampled_from([f"gen_ai.request.{name}" for name in ("temperature", "stream", "tools", "parameters", "x")])
_MESSAGES = st.sampled_from([json.dumps([{"role": "user", "finish_reason": why}]) for why in ("stop", None, "unknown")])
# Two values of one type: a plan is made of one span, and used for the next.
_PAIRS = st.one_of(
    *(
        st.tuples(each, each)
        for each in (
            st.none(),
            st.booleans(),
            st.integers(-1, 9),
            st.floats(),
            st.sampled_from(["", "x", "y", "900"]) | _JSON | _MESSAGES,
            st.lists(st.text(max_size=2), max_size=2).map(tuple),
            st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
        )
    )
)


@given(
    pairs=st.dictionaries(_OF_CALLS | _ASKED | st.text(max_size=5), _PAIRS, max_size=8),
    counts=st.dictionaries(st.sampled_from(names.TOKENS), st.tuples(st.integers(-1, 9), st.integers(-1, 9))),
    kind=st.sampled_from(["chat", "text_completion", "embeddings", "LLM"]),
    providers=st.tuples(*[st.sampled_from(["anthropic", "OpenAI", ""])] * 2),
    second=st.sampled_from(["gen_ai.system", "x"]),
    scope=st.sampled_from(["openinference.x", "agentops"]),
)
def test_a_plan_gives_the_reading_that_the_rules_give(
    pairs: dict[str, Any], counts: dict[str, Any], kind: str, providers: tuple[str, str], second: str, scope: str
) -> None:
    """From the second span of a shape on, its plan fills the reading."""
    pairs |= {_OF_FIELDS[field]: pair for field, pair in counts.items()}
    pairs |= {"gen_ai.operation.name": (kind, kind), "gen_ai.provider.name": providers, second: (providers[0], "x")}
    for which in (0, 0, 1):
        attributes = {name: pair[which] for name, pair in pairs.items()}
        by_rules = Reading("a")
        mapping._Reader(scope, None).read(by_rules, attributes, (), None, None)
        assert _said(read("a", attributes, scope=scope)) == _said(by_rules)


def test_most_calls_have_a_plan() -> None:
    """Those of the semantic conventions, with what no table has; not one with two names of a field."""
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "OpenAI",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 900,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.input.messages": json.dumps(PARTS),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": []}]),
        "server.port": 443,
    }
    for attributes, has_plan in ((call, True), ({**call, "gen_ai.system": "openai"}, False)):
        for _ in range(3):
            read("chat gpt-4o", attributes, scope="some.library")
        plan = plans.known("some.library", attributes, lambda: None)
        assert (plan is not None) == has_plan
