"""Sessions become traces with OpenTelemetry's conventions, the same each time."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from pathlib import Path

import pytest

import localops
from localops import clock, decorators
from localops.journal import rows
from localops.otlp import json_request, semconv
from localops.otlp.openinference import OpenInference
from localops.otlp.translation import span_id
from localops_sync.sinks.otlp import OPTIONS
from localops_sync.sinks.otlp_agentops import AgentOps
from tests.sync.otlp_collector import (
    PROTOBUF,
    Collector,
    Sending,
    attributes,
    decoded,
    open_journal,
    record_run,
    token_or_taken,
)


def test_a_session_is_a_trace(collector: Collector) -> None:
    """The session's id is the trace's, its end sends the root, and each span is below the one it happened in."""
    session = record_run()
    with Sending(collector) as sending:
        sending.all()
    spans = collector.spans()
    assert {span.trace_id for span in spans} == {session.session_id.bytes}
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    [root] = [span for span in spans if not span.parent_span_id]
    below = {span.name: by_id[span.parent_span_id].name for span in spans if span.parent_span_id}
    assert root.name == session.name
    assert Counter(span.name for span in spans) == {
        root.name: 1,
        "invoke_workflow plan": 1,
        "create_agent Researcher": 1,
        "execute_tool search": 2,
        "chat gpt-4o-mini": 1,
        "LookupError": 1,
        "click": 1,
        "thing": 1,
    }
    assert below["execute_tool search"] == below["chat gpt-4o-mini"] == "invoke_workflow plan"
    assert below["LookupError"] == "execute_tool search"
    assert below["invoke_workflow plan"] == below["click"] == below["thing"] == root.name


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("gpt-4o-mini", None, "openai"),
        ("o3-mini", None, "openai"),
        ("claude-sonnet-4-5", None, "anthropic"),
        ("Gemini-2.5-pro", None, "gcp.gen_ai"),
        ("grok-4", None, "x_ai"),
        ("gpt-4o", "azure.ai.openai", "azure.ai.openai"),
        ("gpt-oss-120b", None, None),
        ("anthropic.claude-sonnet-4-5", None, None),
        ("openai/gpt-4o", None, None),
        ("llama-3.3-70b", None, None),
        (None, None, None),
    ],
)
def test_a_provider_that_was_not_given_is_the_models_maker(
    collector: Collector, model: str | None, provider: str | None, expected: str | None
) -> None:
    """A maker that keeps its weights is the provider; a model that anyone may run has none."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.LLMEvent(model=model, provider=provider, prompt="x"))
    with Sending(collector) as sending:
        sending.all()
    [call] = [span for span in collector.spans() if span.name.startswith("chat")]
    assert attributes(call).get("gen_ai.provider.name") == expected


def test_an_llm_call_follows_the_conventions(collector: Collector) -> None:
    """Model, provider, tokens, cost and messages have their names; a call is a client span."""
    record_run()
    with Sending(collector) as sending:
        sending.all()
    span = collector.span("chat gpt-4o-mini")
    actual = attributes(span)
    assert span.kind == semconv.CLIENT
    assert json.loads(actual.pop("gen_ai.input.messages")) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Cats?"}]},
    ]
    assert json.loads(actual.pop("gen_ai.output.messages")) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Yes."}], "finish_reason": "unknown"}
    ]
    for name in "localops.event.id localops.event.parent localops.event.agent gen_ai.agent.id session.id".split():
        uuid.UUID(actual.pop(name))
    assert json.loads(actual.pop("localops.exact")) == {
        "set": {
            "body.prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Cats?"}],
            "body.completion": "Yes.",
            "body.thread_id": "t-1",
        }
    }
    assert actual == {
        "agentops.span.kind": "llm",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.agent.name": "Researcher",
        "gen_ai.conversation.id": "t-1",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "gen_ai.usage.total_cost": 0.000123,
        "llm.cost.total": 0.000123,
        "llm.token_count.completion_details.reasoning": 1,
        "localops.event.kind": "llm",
    }


def test_a_tool_call_has_its_input_from_the_row_it_opened_with(collector: Collector) -> None:
    """The closing row of an operation does not repeat its input: it is looked up, in the batch or in the journal."""
    record_run()
    for rows_at_once in (2_000, 1):
        collector.requests.clear()
        with Sending(collector) as sending:
            sending.all(rows=rows_at_once)
        good, bad = (span for span in collector.spans() if span.name == "execute_tool search")
        actual = attributes(good)
        assert actual["gen_ai.tool.name"] == "search"
        assert actual["gen_ai.tool.call.arguments"] == '{"query":"cats"}'
        assert actual["gen_ai.tool.call.result"] == '["cats","found"]'
        assert actual["gen_ai.usage.total_cost"] == 0.25
        assert (good.status.code, bad.status.code) == (semconv.UNSET, semconv.ERROR)


@pytest.mark.parametrize("took_ns", [0, 1_000, 5_000_000_000])
@pytest.mark.parametrize("version", [7, 4])
def test_an_operation_finds_its_input_however_long_it_took(collector: Collector, took_ns: int, version: int) -> None:
    """Times show whether a row was opened by another; ids that are not ours do not."""
    began = 1_700_000_000_000_000_000
    session, id = clock.new_id(), clock.new_id(began if version == 7 else began + took_ns)
    id = id[:6] + bytes([version << 4 | id[6] & 15]) + id[7:]
    with open_journal() as journal:
        opened = rows.make("tool", session, id=id, at_ns=began, phase=1, name="web", body='{"params":{"u":1}}')
        journal.add([opened, rows.make("tool", session, id=id, at_ns=began + took_ns, start_ns=began, name="web")])
    with Sending(collector) as sending:
        sending.all(rows=1)
    assert attributes(collector.span("execute_tool web"))["gen_ai.tool.call.arguments"] == '{"u":1}'


def test_an_error_is_a_span_of_its_own_with_an_exception(collector: Collector) -> None:
    """The error is a span below the one that failed, with type, message and traceback."""
    record_run()
    with Sending(collector) as sending:
        sending.all()
    span = collector.span("LookupError")
    [moment] = span.events
    actual = attributes(moment)
    assert (span.status.code, span.status.message) == (semconv.ERROR, "no such thing")
    assert moment.name == "exception"
    assert actual.pop("exception.stacktrace").startswith("Traceback")
    assert actual == {"exception.type": "LookupError", "exception.message": "no such thing"}
    assert attributes(span)["error.type"] == "LookupError"
    searches = [each for each in collector.spans() if each.name == "execute_tool search"]
    assert [attributes(each).get("error.type") for each in searches] == [None, "LookupError"]


def test_the_root_has_the_end_of_the_session(collector: Collector) -> None:
    """The root has state, reason, current tags, metadata and exact totals."""
    session = record_run()
    session.add_tags(["late"])
    with Sending(collector) as sending:
        sending.all()
    root = collector.span(str(session.name))
    actual = attributes(root)
    assert (root.kind, root.status.code) == (semconv.INTERNAL, semconv.OK)
    assert actual["agentops.session.end_state"] == "Success"
    assert actual["agentops.session.end_state_reason"] == "all went well"
    assert actual["agentops.tags"] == ["nightly", "late"]
    assert (actual["trace.metadata.build"], actual["trace.metadata.fine"]) == (7, True)
    assert actual["trace.metadata.large"] == str(1 << 63)  # no attribute holds such a number
    assert (actual["localops.session.llms"], actual["localops.session.tools"]) == (1, 2)
    assert actual["localops.session.cost_usd"] == pytest.approx(0.500123)


def test_times_are_those_of_the_rows(collector: Collector) -> None:
    """Nanoseconds since 1970, as recorded; a time that a span cannot have is moved as little as possible."""
    localops.init()
    localops.record(localops.ActionEvent(action_type="given", init_timestamp=1000.5, end_timestamp=1002.25))
    localops.record(localops.ActionEvent(action_type="backwards", init_timestamp=2000, end_timestamp=1000))
    localops.record(localops.ActionEvent(action_type="ancient", init_timestamp=-5, end_timestamp=-1))
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all()

    def times(name: str) -> tuple[int, int]:
        return collector.span(name).start_time_unix_nano, collector.span(name).end_time_unix_nano

    assert times("given") == (1_000_500_000_000, 1_002_250_000_000)
    assert times("backwards") == (2_000_000_000_000, 2_000_000_000_000)
    assert times("ancient") == (0, 0)


def test_the_resource_is_project_and_machine(collector: Collector) -> None:
    """The project is the service; the machine is named unless the program opted out."""
    localops.init()
    localops.end_session("Success")
    localops.init(env_data_opt_out=True)
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all()
    [(_, headers, body)] = collector.requests
    first, second = (attributes(each.resource) for each in decoded(headers, body).resource_spans)
    assert first["service.name"] == second["service.name"] == "default"
    assert first["host.name"] == os.uname().nodename
    assert first["os.type"] == os.uname().sysname.lower()
    assert not {name for name in second if name.startswith(("host", "os"))}


def test_json_says_the_same_as_protobuf(collector: Collector) -> None:
    """Decoded, both forms are the same message; JSON needs no package of anybody's."""
    record_run()
    with Sending(collector) as sending:
        sending.all()
    with Sending(collector, options={"protocol": "json"}) as sending:
        sending.all()
    one, other = collector.requests
    assert (one[1]["content-type"], other[1]["content-type"]) == (PROTOBUF, "application/json")
    assert decoded(one[1], one[2]) == decoded(other[1], other[2])
    first = json.loads(other[2])["resourceSpans"][0]["scopeSpans"][0]
    assert first["schemaUrl"] == semconv.SCHEMA
    assert len(first["spans"][0]["traceId"]) == 32


def test_a_second_sending_is_the_same(collector: Collector) -> None:
    """A second sending has the same bytes, and batches of other sizes have the same spans."""
    record_run()
    for many in (2_000, 2_000, 3):
        with Sending(collector) as sending:
            sending.all(rows=many)
    first, second, *rest = (body for _, _, body in collector.requests)
    assert first == second
    assert len(rest) > 1
    whole = {
        span.span_id: span for span in decoded({"content-type": PROTOBUF}, first).resource_spans[0].scope_spans[0].spans
    }
    assert {span.span_id: span for span in collector.spans()} == whole


def test_ids_of_any_kind_become_different_span_ids() -> None:
    """Ids of a program may all end alike, or be almost zero: the ids of their spans still differ."""
    ends_alike = [uuid.UUID(int=(number << 64) | 7).bytes for number in range(500)]
    counted = [uuid.UUID(int=number).bytes for number in range(500)]
    actual = [span_id(id) for id in [*ends_alike, *counted[8:]]]
    assert len(set(actual)) == len(actual)
    assert all(len(id) == 8 and any(id) for id in actual)


def test_a_session_that_went_on_sends_its_root_again(collector: Collector) -> None:
    """Ended, continued and ended again: the same span with the newer end; both ends in one batch are one span."""
    first = localops.init()
    assert first is not None
    localops.end_session("Failure", "too early")
    with Sending(collector) as sending:
        sending.all()
    localops.init(inherited_session_id=first.session_id)
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all()
    early, late = collector.spans()
    assert early.span_id == late.span_id
    assert (early.status.code, early.status.message) == (semconv.ERROR, "too early")
    assert late.status.code == semconv.OK
    assert late.start_time_unix_nano == early.start_time_unix_nano < early.end_time_unix_nano < late.end_time_unix_nano


def test_what_a_process_died_in_is_sent_with_the_derived_end(collector: Collector, tmp_path: Path) -> None:
    """The operation that never ended is a span that failed, so that spans inside it have a parent."""
    session, dead, inside = clock.new_id(), clock.new_id(), clock.new_id()
    with open_journal() as journal:
        card = '{"participant":"00","machine":"gone"}'
        journal.add([rows.make("session", session, id=session, at_ns=1_000, name="run", parent=b"p" * 16, body=card)])
        journal.add([rows.make("tool", session, id=dead, at_ns=2_000, phase=1, name="web", body='{"params":{"u":1}}')])
        journal.add([rows.make("action", session, id=inside, at_ns=3_000, name="step", parent=dead)])
        body = '{"reason":"process died inside tool","derived":1}'
        journal.add([rows.make("end", session, id=clock.new_id(), at_ns=3_000, name="Indeterminate", body=body)])
    with Sending(collector) as sending:
        sending.all()
    died, step = collector.span("execute_tool web"), collector.span("step")
    assert step.parent_span_id == died.span_id
    assert (died.start_time_unix_nano, died.end_time_unix_nano) == (2_000, 3_000)
    assert (died.status.code, died.status.message) == (semconv.ERROR, "its process died before it ended")
    assert attributes(died)["gen_ai.tool.call.arguments"] == '{"u":1}'
    assert attributes(died)["error.type"] == "_OTHER"


def test_rows_that_are_no_span_are_taken_without_a_request(collector: Collector) -> None:
    """A session that began, tags and an opening row make no request, and nothing is left to send."""
    session = localops.init()
    assert session is not None
    session.add_tags(["one"])
    assert session.begin("tool", "waiting") is not None
    with Sending(collector) as sending:
        sending.all()
    assert collector.requests == []


def test_nested_agents_are_distinguished(collector: Collector) -> None:
    """If an agent calls another, each span has its own agent, and is below the call it was made in."""
    localops.init()

    @decorators.agent(name="inner")
    def inner() -> int:
        localops.record(localops.ActionEvent(action_type="deep"))
        return 1

    @decorators.agent(name="outer")
    def outer() -> int:
        return inner()

    outer()
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all(rows=2)
    deep, within, around = (collector.span(name) for name in ("deep", "invoke_agent inner", "invoke_agent outer"))
    assert (deep.parent_span_id, within.parent_span_id) == (within.span_id, around.span_id)
    assert attributes(deep)["gen_ai.agent.name"] == attributes(within)["gen_ai.agent.name"] == "inner"
    assert attributes(around)["gen_ai.agent.name"] == "outer"


def test_metadata_only_sends_no_content(collector: Collector) -> None:
    """Figures, names and times go; no input, output, prompt, message, reason or traceback, wherever it is kept."""

    localops.init(auto_start_session=False)
    secret = "xyzzy-content"

    @decorators.tool
    def search(query: str) -> str:
        raise LookupError(query)

    @decorators.session
    def main(word: str) -> str:
        with pytest.raises(LookupError):
            search(word)
        llm = localops.LLMEvent(prompt=word, completion=word, model="m", prompt_tokens=5, completion_tokens=2)
        localops.record(llm)
        localops.record(localops.ActionEvent(params=word, returns=word, action_type="step", logs=word))
        return word

    @decorators.session
    def failing(word: str) -> None:
        raise ValueError(word)

    main(secret)
    with pytest.raises(ValueError, match=secret):
        failing(secret)
    for protocol in ("protobuf", "json"):
        with Sending(collector, metadata_only=True, options={"protocol": protocol}) as sending:
            assert not any(secret in str(row.body) for batch in sending.batches() for row in batch.rows)
            sending.all(rows=1)
    assert not any(secret.encode() in body for _, _, body in collector.requests)
    names = {span.name for span in collector.spans()}
    assert names >= {"main", "failing", "execute_tool search", "chat m", "step", "LookupError"}
    assert [attributes(s)["gen_ai.usage.input_tokens"] for s in collector.spans() if s.name == "chat m"] == [5, 5]


def test_a_huge_value_goes_as_its_head_and_digest(collector: Collector) -> None:
    """A value beside the journal stays there: the span has its length, digest and beginning."""
    localops.init()
    localops.record(localops.ActionEvent(params={"page": "ab" * (2 << 20)}, action_type="huge"))
    localops.record(localops.ActionEvent(params={"page": "ab" * (256 << 10)}, action_type="large"))
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all()
    huge = json.loads(attributes(collector.span("huge"))["input.value"])["page"]
    assert (huge["$len"], len(huge["$blob"]), len(huge["head"])) == (4 << 20, 64, 1000)
    large = json.loads(attributes(collector.span("large"))["input.value"])["page"]
    assert large == "ab" * (256 << 10)


HOSTILE = ["\0", "\ud800", "<script>", "‮", "𝄞" * 300, "\x1b[31m", "a.b.0.c", "", "{", "\u2028"]


def test_hostile_text_arrives_as_it_was_recorded(collector: Collector) -> None:
    """semconv.Names, tags, keys and values of any characters are text in both forms, and no row is held up by them."""
    session = localops.init(default_tags=HOSTILE)
    assert session is not None
    for text in HOSTILE:
        localops.record(localops.ActionEvent({text: text}, returns=text, action_type=text))  # type: ignore[arg-type]
        localops.record(localops.ToolEvent(name=text, params={text: text}, returns=text))
        localops.record(localops.LLMEvent(prompt=[{"role": text, "content": text}], completion=text, model=text))
        localops.record(localops.ErrorEvent(error_type=text, details=text))
    session.update_metadata(dict.fromkeys(HOSTILE, "x"), prefix="\0")
    localops.end_session("Failure", "".join(HOSTILE))
    for options in ({}, {"protocol": "json"}, {"auth": "agentops"}):
        collector.answer = token_or_taken
        with Sending(collector, options=options) as sending:
            sending.all()
    assert len(collector.spans()) == 3 * (4 * len(HOSTILE) + 1)
    results = {attributes(span).get("gen_ai.tool.call.result") for span in collector.spans()}
    assert results >= {text for text in HOSTILE if text != "\ud800"}


@pytest.mark.parametrize(
    "names", [semconv.GenAI(), OpenInference(), AgentOps()], ids=["genai", "openinference", "agentops"]
)
def test_the_page_has_every_name(names: semconv.Names) -> None:
    """The page has every name of a back end, every option, and the version."""
    page = (Path(localops.__file__).parent / "docs" / "otlp.md").read_text()
    shapes = (*semconv.SHAPES.values(), semconv.CREATED)
    shown = {name for shape in shapes for name in (shape.operation, shape.title, shape.input, shape.output) if name}
    shown |= {value for choices in OPTIONS.values() for value in choices}
    shown |= {name for attributes in names.usage.values() for name in attributes}
    shown |= {*names.model("m", "p"), *names.agent, *OPTIONS, *semconv.SHAPES}
    body = {
        "response_id": "r",
        "response_model": "m",
        "finish_reason": "stop",
        "stream": True,
        "time_to_first_token": 0.1,
        "system_instructions": "x",
        "tool_definitions": ["x"],
        "call_id": "c",
        "definition": {"description": "d", "type": "function", "parameters": {}},
    }
    shown |= {name.replace(".0.", ".N.") for name in (*names.call(body)[0], *names.tool(body)[0])}
    assert {name for name in shown if f"`{name}`" not in page} == set()
    assert semconv.SCHEMA.rpartition("/")[2] in page


def test_a_sum_that_no_column_could_hold_is_sent_as_the_nearest_that_fits() -> None:
    """Tokens in and out may each fit 64 bits and their sum may not: it is no reason to refuse the row."""
    assert json_request._value(-(1 << 63) - 1) == {"intValue": str(-(1 << 63))}
    assert json_request._value(1 << 63) == {"intValue": str((1 << 63) - 1)}
