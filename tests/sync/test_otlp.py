"""Sessions become traces with OpenTelemetry's conventions, the same each time, and false answers do not count."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

import localops
from localops import clock, decorators
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.otel import messages as otlp_messages
from localops.otlp import json_request, semconv
from localops.otlp.openinference import OpenInference
from localops.otlp.translation import span_id
from localops.transfer import bundle, delivery
from localops.transfer.bundle import Ack, Batch
from localops.transfer.remotes import Remote
from localops_sync import exit_codes, worker
from localops_sync.budget import OutOfBudget, PassBudget
from localops_sync.sink import Blocked, Offline, Refused, TooLarge
from localops_sync.sinks import open_sink, otlp_wire
from localops_sync.sinks.otlp import OPTIONS, Otlp
from localops_sync.sinks.otlp_agentops import AgentOps
from localops_sync.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.otlp.semconv import Names

KEY = "11111111-1111-4111-8111-111111111111"
PROTOBUF = "application/x-protobuf"
Answer = tuple[int, str | None, bytes]
TAKEN: Answer = (200, PROTOBUF, b"")


class Collector:
    """A back end on loopback: keeps what comes, and answers as the test wants."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[str, dict[str, str], bytes], Answer] = lambda path, headers, body: TAKEN
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep the request, and answer it."""
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
                collector.requests.append((self.path, headers, body))
                status, kind, reply = collector.answer(self.path, headers, body)
                self.send_response(status)
                if kind is not None:
                    self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self) -> list[Any]:
        """Every span that came, in order."""
        return [
            span
            for path, headers, body in self.requests
            if path.endswith("/v1/traces")
            for resource in _decoded(headers, body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self, name: str) -> Any:
        """Return the only span of that name."""
        [span] = [span for span in self.spans() if span.name == name]
        return span


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Start a back end."""
    collector = Collector()
    yield collector
    collector.close()


class Sending:
    """A sink on the journal of this test, and its batches."""

    def __init__(self, collector: Collector, budget: PassBudget | None = None, **remote: Any) -> None:
        self.folder = os.path.join(os.environ["LOCALOPS_HOME"], "default")
        self.reader = Reader(os.path.join(self.folder, "journal.db"))
        self.remote = Remote("far", remote.pop("url", collector.url), kind="otlp", **{"key": KEY, **remote})
        sink = open_sink(self.remote, self.reader, self.folder, Transport(self.remote, budget=budget))
        assert isinstance(sink, Otlp)
        self.sink = sink

    def batches(self, **limits: Any) -> Iterator[Batch]:
        """Return the rows that the remote lacks, which are all."""
        chosen = delivery.Limits(metadata_only=self.remote.metadata_only, **limits)
        return delivery.Ledger(self.reader, self.folder, "far").batches(chosen)

    def all(self, **limits: Any) -> None:
        """Send it."""
        for batch in self.batches(**limits):
            assert self.sink.send(batch) == Ack()

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *failure: object) -> None:
        self.sink.close()
        self.reader.close()


def _decoded(headers: dict[str, str], body: bytes) -> Any:
    request = ExportTraceServiceRequest()
    if headers["content-type"] == PROTOBUF:
        request.ParseFromString(body)
        return request
    plain = json.loads(body)
    for span in (s for r in plain["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"]):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return json_format.ParseDict(plain, request)


def _attributes(of: Any) -> dict[str, Any]:
    def value(actual: Any) -> Any:
        which = actual.WhichOneof("value")
        return [value(each) for each in actual.array_value.values] if which == "array_value" else getattr(actual, which)

    assert len({pair.key for pair in of.attributes}) == len(of.attributes), "an attribute is there twice"
    return {pair.key: value(pair.value) for pair in of.attributes}


def _record() -> localops.Session:
    """Record a run with rows of each kind."""
    session = localops.init(default_tags=["nightly"])
    assert session is not None

    @decorators.tool(cost=0.25)
    def search(query: str) -> list[str]:
        if query == "nothing":
            raise LookupError("no such thing")
        return [query, "found"]

    @decorators.agent
    class Researcher:
        def work(self) -> None:
            search("cats")
            localops.record(
                localops.LLMEvent(
                    prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Cats?"}],
                    completion="Yes.",
                    model="gpt-4o-mini",
                    provider="openai",
                    prompt_tokens=12,
                    completion_tokens=3,
                    cached_tokens=4,
                    reasoning_tokens=1,
                    cost=0.000123,
                    thread_id="t-1",
                )
            )

    @decorators.workflow
    def plan(goal: str) -> str:
        Researcher().work()
        with pytest.raises(LookupError):
            search("nothing")
        return "done"

    plan("learn")
    localops.record(localops.ActionEvent("actions", {"a": 1}, {"b": 2}, action_type="click", logs="log"))
    localops.record(localops.Event("odd", name="thing"))
    session.update_metadata({"build": 7, "fine": True, "large": 1 << 63})
    localops.end_session("Success", "all went well")
    return session


# What is sent


def test_a_session_is_a_trace(collector: Collector) -> None:
    """The session's id is the trace's, its end sends the root, and each span is below the one it happened in."""
    session = _record()
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
    assert _attributes(call).get("gen_ai.provider.name") == expected


def test_an_llm_call_follows_the_conventions(collector: Collector) -> None:
    """Model, provider, tokens, cost and messages have their names; a call is a client span."""
    _record()
    with Sending(collector) as sending:
        sending.all()
    span = collector.span("chat gpt-4o-mini")
    actual = _attributes(span)
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
    _record()
    for rows_at_once in (2_000, 1):
        collector.requests.clear()
        with Sending(collector) as sending:
            sending.all(rows=rows_at_once)
        good, bad = (span for span in collector.spans() if span.name == "execute_tool search")
        actual = _attributes(good)
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
    with _journal() as journal:
        opened = rows.make("tool", session, id=id, at_ns=began, phase=1, name="web", body='{"params":{"u":1}}')
        journal.add([opened, rows.make("tool", session, id=id, at_ns=began + took_ns, start_ns=began, name="web")])
    with Sending(collector) as sending:
        sending.all(rows=1)
    assert _attributes(collector.span("execute_tool web"))["gen_ai.tool.call.arguments"] == '{"u":1}'


def test_an_error_is_a_span_of_its_own_with_an_exception(collector: Collector) -> None:
    """The error is a span below the one that failed, with type, message and traceback."""
    _record()
    with Sending(collector) as sending:
        sending.all()
    span = collector.span("LookupError")
    [moment] = span.events
    actual = _attributes(moment)
    assert (span.status.code, span.status.message) == (semconv.ERROR, "no such thing")
    assert moment.name == "exception"
    assert actual.pop("exception.stacktrace").startswith("Traceback")
    assert actual == {"exception.type": "LookupError", "exception.message": "no such thing"}
    assert _attributes(span)["error.type"] == "LookupError"
    searches = [each for each in collector.spans() if each.name == "execute_tool search"]
    assert [_attributes(each).get("error.type") for each in searches] == [None, "LookupError"]


def test_the_root_has_the_end_of_the_session(collector: Collector) -> None:
    """The root has state, reason, current tags, metadata and exact totals."""
    session = _record()
    session.add_tags(["late"])
    with Sending(collector) as sending:
        sending.all()
    root = collector.span(str(session.name))
    actual = _attributes(root)
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
    first, second = (_attributes(each.resource) for each in _decoded(headers, body).resource_spans)
    assert first["service.name"] == second["service.name"] == "default"
    assert first["host.name"] == os.uname().nodename
    assert first["os.type"] == os.uname().sysname.lower()
    assert not {name for name in second if name.startswith(("host", "os"))}


def test_json_says_the_same_as_protobuf(collector: Collector) -> None:
    """Decoded, both forms are the same message; JSON needs no package of anybody's."""
    _record()
    with Sending(collector) as sending:
        sending.all()
    with Sending(collector, options={"protocol": "json"}) as sending:
        sending.all()
    one, other = collector.requests
    assert (one[1]["content-type"], other[1]["content-type"]) == (PROTOBUF, "application/json")
    assert _decoded(one[1], one[2]) == _decoded(other[1], other[2])
    first = json.loads(other[2])["resourceSpans"][0]["scopeSpans"][0]
    assert first["schemaUrl"] == semconv.SCHEMA
    assert len(first["spans"][0]["traceId"]) == 32


def test_a_second_sending_is_the_same(collector: Collector) -> None:
    """A second sending has the same bytes, and batches of other sizes have the same spans."""
    _record()
    for many in (2_000, 2_000, 3):
        with Sending(collector) as sending:
            sending.all(rows=many)
    first, second, *rest = (body for _, _, body in collector.requests)
    assert first == second
    assert len(rest) > 1
    whole = {
        span.span_id: span
        for span in _decoded({"content-type": PROTOBUF}, first).resource_spans[0].scope_spans[0].spans
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
    with _journal() as journal:
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
    assert _attributes(died)["gen_ai.tool.call.arguments"] == '{"u":1}'
    assert _attributes(died)["error.type"] == "_OTHER"


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
    assert _attributes(deep)["gen_ai.agent.name"] == _attributes(within)["gen_ai.agent.name"] == "inner"
    assert _attributes(around)["gen_ai.agent.name"] == "outer"


def test_metadata_only_says_nothing_of_what_was_said(collector: Collector) -> None:
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
    assert [_attributes(s)["gen_ai.usage.input_tokens"] for s in collector.spans() if s.name == "chat m"] == [5, 5]


def test_a_huge_value_goes_as_its_head_and_digest(collector: Collector) -> None:
    """A value beside the journal stays there: the span has its length, digest and beginning."""
    localops.init()
    localops.record(localops.ActionEvent(params={"page": "ab" * (2 << 20)}, action_type="huge"))
    localops.record(localops.ActionEvent(params={"page": "ab" * (256 << 10)}, action_type="large"))
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all()
    huge = json.loads(_attributes(collector.span("huge"))["input.value"])["page"]
    assert (huge["$len"], len(huge["$blob"]), len(huge["head"])) == (4 << 20, 64, 1000)
    large = json.loads(_attributes(collector.span("large"))["input.value"])["page"]
    assert large == "ab" * (256 << 10)


HOSTILE = ["\0", "\ud800", "<script>", "‮", "𝄞" * 300, "\x1b[31m", "a.b.0.c", "", "{", "\u2028"]


def test_hostile_text_arrives_as_it_was_recorded(collector: Collector) -> None:
    """Names, tags, keys and values of any characters are text in both forms, and no row is held up by them."""
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
        collector.answer = _token_or_taken
        with Sending(collector, options=options) as sending:
            sending.all()
    assert len(collector.spans()) == 3 * (4 * len(HOSTILE) + 1)
    results = {_attributes(span).get("gen_ai.tool.call.result") for span in collector.spans()}
    assert results >= {text for text in HOSTILE if text != "\ud800"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "tool_calls", "choices", "message", "function", "type", "text"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_prompt_and_completion_can_be_said(value: Any) -> None:
    """Programs give messages in every form; any JSON becomes attributes."""
    for names in (semconv.GenAI(), AgentOps()):
        actual = {
            **names.prompt(otlp_messages.prompt_messages(value)),
            **names.completion(otlp_messages.completion_messages(value)),
        }
        assert all(isinstance(text, str | list) for text in actual.values())
        for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
            _check_messages(json.loads(str(actual.get(name, "[]"))))


# What each type of part needs, as the JSON schemas of the conventions have it; other types may be anything
_PARTS: dict[str, dict[str, tuple[type, ...]]] = {
    "text": {"content": (str,)},
    "reasoning": {"content": (str,)},
    "tool_call": {"id": (str, type(None)), "name": (str,), "arguments": (object,)},
    "tool_call_response": {"id": (str, type(None)), "response": (object,)},
    "server_tool_call": {"id": (str, type(None)), "name": (str,), "server_tool_call": (dict,)},
    "server_tool_call_response": {"id": (str, type(None)), "server_tool_call_response": (dict,)},
    "blob": {"mime_type": (str, type(None)), "modality": (str,), "content": (str,)},
    "uri": {"mime_type": (str, type(None)), "modality": (str,), "uri": (str,)},
    "file": {"mime_type": (str, type(None)), "modality": (str,), "file_id": (str,)},
}


def _check_messages(messages: list[Any], *, strictly: bool = False) -> None:
    """Compare messages with the schemas; strictly: every part is of a type that the conventions have."""
    for message in messages:
        assert isinstance(message["role"], str)
        assert isinstance(message.get("name"), str | None)
        assert isinstance(message.get("finish_reason"), str | None)
        for part in message["parts"]:
            assert isinstance(part["type"], str)
            assert not strictly or part["type"] in _PARTS
            for key, kinds in _PARTS.get(part["type"], {}).items() if strictly else ():
                assert isinstance(part[key], kinds)


_IMAGE = "iVBORw0KGgo="
_WEATHER = {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Oslo"}}
_RAIN = {"type": "tool_call_response", "id": "c1", "response": {"sky": "rain"}}


def _text(words: str) -> dict[str, str]:
    return {"type": "text", "content": words}


def _blob(content: str = _IMAGE, mime_type: str = "image/png") -> dict[str, str]:
    return {"type": "blob", "mime_type": mime_type, "modality": mime_type.partition("/")[0], "content": content}


_PROMPTS: dict[str, tuple[Any, list[tuple[str, list[dict[str, Any]]]]]] = {
    "text": ("hi", [("user", [_text("hi")])]),
    "nothing": (None, []),
    "texts": (["a", None, "b"], [("user", [_text("a")]), ("user", [_text("b")])]),
    "an object of a program's own": ({"question": 7}, [("user", [_text('{"question":7}')])]),
    "and one that has a text": ({"text": "x", "score": 7}, [("user", [_text('{"text":"x","score":7}')])]),
    "no content": (
        [{"role": "assistant", "content": None}, {"role": "user", "content": []}],
        [("assistant", []), ("user", [])],
    ),
    "gemini": (
        [
            {"role": "user", "parts": [{"text": "hi"}, {"inline_data": {"mime_type": "image/png", "data": _IMAGE}}]},
            {"role": "model", "parts": [{"text": "hm", "thought": True}]},
            {"role": "model", "parts": [{"function_call": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}}}]},
            {"role": "user", "parts": [{"function_response": {"id": "c1", "response": {"sky": "rain"}}}]},
        ],
        [
            ("user", [_text("hi"), _blob()]),
            ("assistant", [{"type": "reasoning", "content": "hm"}]),
            ("assistant", [_WEATHER]),
            ("user", [_RAIN]),
        ],
    ),
    "gemini's request, in its other spelling": (
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": ["hi", {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v"}}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
            ],
        },
        [
            ("system", [_text("Be brief.")]),
            ("user", [_text("hi"), {"type": "uri", "mime_type": "video/mp4", "modality": "video", "uri": "gs://b/v"}]),
            ("assistant", [{"type": "tool_call", "id": None, "name": "weather", "arguments": {}}]),
        ],
    ),
    "gemini's code": (
        [{"role": "model", "parts": [{"executable_code": {"code": "1"}}, {"code_execution_result": {"output": "1"}}]}],
        [
            (
                "assistant",
                [
                    {
                        "type": "server_tool_call",
                        "id": None,
                        "name": "code_execution",
                        "server_tool_call": {"type": "code_execution", "code": {"code": "1"}},
                    },
                    {
                        "type": "server_tool_call_response",
                        "id": None,
                        "server_tool_call_response": {"type": "code_execution", "result": {"output": "1"}},
                    },
                ],
            )
        ],
    ),
    "anthropic": (
        {
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _IMAGE}},
                        {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}},
                        {"type": "document", "source": {"type": "file", "file_id": "f1"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "x"},
                        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c1", "content": {"sky": "rain"}}],
                },
            ],
        },
        [
            ("system", [_text("Be brief.")]),
            (
                "user",
                [
                    _blob(),
                    {"type": "uri", "mime_type": None, "modality": "image", "uri": "https://e.org/a.png"},
                    {"type": "file", "mime_type": None, "modality": "document", "file_id": "f1"},
                ],
            ),
            ("assistant", [{"type": "reasoning", "content": "hm"}, _WEATHER]),
            ("user", [_RAIN]),
        ],
    ),
    "openai chat": (
        [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_IMAGE}"}},
                    {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "f1"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": {"sky": "rain"}},
        ],
        [
            ("system", [_text("Be brief.")]),
            (
                "user",
                [
                    _text("hi"),
                    _blob(),
                    {"type": "uri", "mime_type": None, "modality": "image", "uri": "https://e.org/a.png"},
                    _blob("AAAA", "audio/wav"),
                    {"type": "file", "mime_type": None, "modality": "document", "file_id": "f1"},
                ],
            ),
            ("assistant", [_WEATHER]),
            ("tool", [_RAIN]),
        ],
    ),
    "openai responses": (
        {
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": {"city": "Oslo"}},
                {"type": "function_call_output", "call_id": "c1", "output": {"sky": "rain"}},
            ],
        },
        [
            ("system", [_text("Be brief.")]),
            ("user", [_text("hi")]),
            ("assistant", [{"type": "reasoning", "content": "hm"}, _WEATHER]),
            ("tool", [_RAIN]),
        ],
    ),
    "bedrock": (
        {
            "system": [{"text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": _IMAGE}}}],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "x"}}},
                        {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Oslo"}}},
                    ],
                },
                {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": {"sky": "rain"}}}]},
            ],
        },
        [
            ("system", [_text("Be brief.")]),
            ("user", [_text("hi"), _blob()]),
            ("assistant", [{"type": "reasoning", "content": "hm"}, _WEATHER]),
            ("user", [_RAIN]),
        ],
    ),
    "the conventions": (
        [{"role": "user", "parts": [_text("hi"), _WEATHER, _RAIN, _blob(), {"type": "reasoning", "content": "hm"}]}],
        [("user", [_text("hi"), _WEATHER, _RAIN, _blob(), {"type": "reasoning", "content": "hm"}])],
    ),
    "langchain": (
        [{"type": "system", "content": "Be brief."}, {"type": "human", "content": "hi"}],
        [("system", [_text("Be brief.")]), ("user", [_text("hi")])],
    ),
    "parts without a message": (
        [
            {"type": "text", "text": "hi"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_IMAGE}"}},
        ],
        [("user", [_text("hi"), _blob()])],
    ),
}


@pytest.mark.parametrize("form", _PROMPTS)
def test_prompts_of_every_maker_become_parts(form: str) -> None:
    """Gemini's parts, Anthropic's blocks, OpenAI's and Bedrock's forms become the parts of the conventions."""
    prompt, expected = _PROMPTS[form]
    actual = semconv.GenAI().prompt(otlp_messages.prompt_messages(prompt))
    messages = json.loads(str(actual.get("gen_ai.input.messages", "[]")))
    assert [(message["role"], message["parts"]) for message in messages] == expected
    _check_messages(messages, strictly=True)


_COMPLETIONS: dict[str, tuple[Any, list[dict[str, Any]], list[str] | None]] = {
    "text": ("hi", [_text("hi")], None),
    "openai chat": (
        {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]},
        [_text("hi")],
        ["stop"],
    ),
    "openai's older one": ({"choices": [{"text": "hi", "index": 0, "finish_reason": "stop"}]}, [_text("hi")], ["stop"]),
    "openai responses": (
        {
            "status": "completed",
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "web_search_call", "id": "w", "status": "completed"},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": {"city": "Oslo"}},
            ],
        },
        [
            {"type": "reasoning", "content": ""},
            {
                "type": "server_tool_call",
                "id": "w",
                "name": "web_search_call",
                "server_tool_call": {"type": "web_search_call", "status": "completed"},
            },
            _text("hi"),
            _WEATHER,
        ],
        ["completed"],
    ),
    "anthropic": (
        {"role": "assistant", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"},
        [_text("hi")],
        ["end_turn"],
    ),
    "gemini": (
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}]},
        [_text("hi")],
        ["STOP"],
    ),
    "bedrock": (
        {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "max_tokens"},
        [_text("hi")],
        ["max_tokens"],
    ),
    "ollama": (
        {"message": {"role": "assistant", "content": "hi"}, "done_reason": "stop"},
        [_text("hi")],
        ["stop"],
    ),
}


@pytest.mark.parametrize("form", _COMPLETIONS)
def test_completions_of_every_maker_become_parts(form: str) -> None:
    """An answer in any form is one message, with its finish reason in the conventions' words."""
    completion, expected, reasons = _COMPLETIONS[form]
    actual = semconv.GenAI().completion(otlp_messages.completion_messages(completion))
    [message] = json.loads(str(actual["gen_ai.output.messages"]))
    assert (message["role"], message["parts"]) == ("assistant", expected)
    assert message["finish_reason"] in ("stop", "length", "unknown")
    assert actual.get("gen_ai.response.finish_reasons") == reasons
    _check_messages([message], strictly=True)


_COLUMNS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([*semconv.SHAPES, "error", "odd", "end", "tags", "price", "metadata", "video"]),
        "name": st.none() | st.text(max_size=3),
        "phase": st.sampled_from([0, 1]),
        "at_ns": st.integers(-(2**63), 2**63 - 1),
        "start_ns": st.none() | st.integers(-(2**63), 2**63 - 1),
        "end_ns": st.none() | st.integers(-(2**63), 2**63 - 1),
        "cost": st.none() | st.integers(-(2**63), 2**63 - 1),
        "tokens": st.tuples(*[st.none() | st.integers(-(2**63), 2**63 - 1)] * 4),
        "tags": st.none() | st.sampled_from(["[]", "{}", "nonsense", '[1,"a"]']),
    }
)
_KEYS = "params returns prompt completion provider thread_id cache_write_tokens details trigger spec metadata x".split()
_BODIES = st.none() | st.sampled_from(["", "nonsense", "[]", "7"]) | st.dictionaries(st.sampled_from(_KEYS), _JSON)


@given(_COLUMNS, _BODIES)
def test_any_row_can_be_sent(columns: dict[str, Any], body: Any) -> None:
    """Rows may come from anybody's journal: whatever their columns and bodies hold, both forms can be written."""
    from localops.otlp.translation import Translation

    stored = body if body is None or isinstance(body, str) else encode.dumps(body).decode()
    row = rows.make(session=b"s" * 16, id=b"i" * 16, body=stored, **columns)
    for names in (semconv.GenAI(), AgentOps()):
        for metadata_only in (False, True):
            translation = Translation(
                Batch("00", (), [Stored(1, *row)], [(1, 1)]),
                _Nothing(),
                "/nowhere/default",
                names,
                metadata_only=metadata_only,
            )
            groups = translation.groups()
            headers = {"content-type": "application/json"}
            request = ExportTraceServiceRequest.FromString(otlp_wire.as_protobuf(groups))
            assert _decoded(headers, json_request.as_json(groups)) == request


class _Nothing:
    """A journal without other rows."""

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return no rows."""
        return []

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        """Return no row."""
        return None


@pytest.mark.parametrize(
    "names", [semconv.GenAI(), OpenInference(), AgentOps()], ids=["genai", "openinference", "agentops"]
)
def test_the_page_has_every_name(names: Names) -> None:
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


# What Phoenix and MLflow read


_TELLING = {"chat": "LLM", "execute_tool": "TOOL", "invoke_agent": "AGENT", "create_agent": "AGENT"}


def _reader_kind(span: Any) -> str | None:
    """The kind that a reader of OpenInference gives a span, from its own word or the operation."""
    actual = _attributes(span)
    assert not {"openinference.span.kind", "gen_ai.operation.name"} <= actual.keys() or "workflow" in span.name
    return actual.get("openinference.span.kind") or _TELLING.get(actual.get("gen_ai.operation.name", ""))


def test_every_span_has_a_kind_and_a_session(collector: Collector) -> None:
    """If the operation does not show the kind, the attribute of OpenInference does; each span has its session."""
    session = _record()

    @decorators.guardrail(spec="input")
    def careful(text: str) -> bool:
        return bool(text)

    @decorators.task
    def task(text: str) -> bool:
        return careful(text)

    again = localops.init()
    assert again is not None
    task("x")
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all()
    kinds = {span.name.replace(str(session.name), "root"): _reader_kind(span) for span in collector.spans()}
    expected = {
        "root": "CHAIN",
        "invoke_workflow plan": "CHAIN",
        "create_agent Researcher": "AGENT",
        "execute_tool search": "TOOL",
        "chat gpt-4o-mini": "LLM",
        "LookupError": "CHAIN",
        "click": "CHAIN",
        "thing": "CHAIN",
        "careful": "GUARDRAIL",
        "task": "CHAIN",
    }
    assert {name: kinds[name] for name in expected} == expected
    assert None not in kinds.values()
    assert {_attributes(span)["session.id"] for span in collector.spans()} == {
        str(session.session_id),
        str(again.session_id),
    }


def test_every_span_names_its_user_and_its_conversation(collector: Collector) -> None:
    """Those of the session, else its own: by user, back ends count across traces."""
    with localops.start_session(user="ann", conversation="c-1") as session:
        session.record(localops.ActionEvent(action_type="plain"))
        session.record(localops.ActionEvent(action_type="other", user="bob"))
    with Sending(collector) as sending:
        sending.all()
    spans = [(span.name, _attributes(span)) for span in collector.spans()]
    named = {name: (about["user.id"], about["gen_ai.conversation.id"]) for name, about in spans}
    assert named == {"plain": ("ann", "c-1"), "other": ("bob", "c-1"), str(session.name): ("ann", "c-1")}


def test_inputs_and_outputs_are_where_readers_look(collector: Collector) -> None:
    """Sessions, operations, agents and workflows have input.value and output.value with their form, and no other."""

    @decorators.operation
    def step(words: list[str]) -> str:
        return " ".join(words)

    @decorators.agent(name="helper")
    def helper(question: str) -> dict[str, str]:
        return {"answer": step([question])}

    @decorators.session
    def main(goal: str) -> dict[str, str]:
        return helper(goal)

    localops.init(auto_start_session=False)
    main("learn")
    with Sending(collector) as sending:
        sending.all()
    for name, taken, gave, form in (
        ("main", {"goal": "learn"}, {"answer": "learn"}, "application/json"),
        ("invoke_agent helper", {"question": "learn"}, {"answer": "learn"}, "application/json"),
        ("step", {"words": ["learn"]}, "learn", "text/plain"),
    ):
        actual = _attributes(collector.span(name))
        assert json.loads(actual["input.value"]) == taken
        assert (actual["output.value"] if form == "text/plain" else json.loads(actual["output.value"])) == gave
        assert (actual["input.mime_type"], actual["output.mime_type"]) == ("application/json", form)
        assert not [key for key in actual if key.startswith("agentops.") and key.endswith(("input", "output"))]


@pytest.mark.parametrize("rows_at_once", [2_000, 1])
def test_what_failed_says_why(collector: Collector, rows_at_once: int) -> None:
    """The failed operation and those around the error have its text; an interrupted one has the cause."""

    @decorators.tool
    def inner(query: str) -> None:
        raise LookupError(query)

    @decorators.operation
    def outer() -> None:
        localops.record(localops.ErrorEvent(error_type="Earlier", details="not this one"))
        inner("nothing there")

    @decorators.operation
    def stopped() -> None:
        raise KeyboardInterrupt

    localops.init()
    with pytest.raises(LookupError):
        outer()
    with pytest.raises(KeyboardInterrupt):
        stopped()
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all(rows=rows_at_once)
    failed, around = collector.span("execute_tool inner"), collector.span("outer")
    for span in (failed, around):
        assert (span.status.code, span.status.message) == (semconv.ERROR, "nothing there")
        assert _attributes(span)["error.type"] == "LookupError"
        [moment] = span.events
        assert moment.name == "exception"
        assert _attributes(moment)["exception.message"] == "nothing there"
    assert "exception.stacktrace" in _attributes(failed.events[0])
    assert "exception.stacktrace" not in _attributes(around.events[0])
    interrupted = collector.span("stopped")
    assert (interrupted.status.code, interrupted.status.message) == (semconv.ERROR, "KeyboardInterrupt")
    collector.requests.clear()
    with Sending(collector, metadata_only=True) as sending:
        sending.all(rows=rows_at_once)
    assert not any(b"nothing there" in body for _, _, body in collector.requests)


def test_what_an_agents_instance_does_is_below_its_span(collector: Collector) -> None:
    """Spans of an agent that is a class are below the agent's; other calls stay below their callers."""

    @decorators.agent(name="worker")
    class Worker:
        @decorators.operation
        def work(self) -> None:
            localops.record(localops.ActionEvent(action_type="deep"))

    @decorators.workflow
    def plan(worker: Worker) -> None:
        worker.work()

    localops.init()
    worker = Worker()
    worker.work()
    localops.end_session("Success")
    other = localops.init()
    assert other is not None
    plan(Worker())
    localops.end_session("Success")
    with Sending(collector) as sending:
        sending.all(rows=1)
    names = {(span.trace_id, span.span_id): span.name for span in collector.spans()}
    below = [
        (span.name, names[span.trace_id, span.parent_span_id]) for span in collector.spans() if span.parent_span_id
    ]
    assert below.count(("work", "create_agent worker")) == 1
    assert below.count(("work", "invoke_workflow plan")) == 1
    assert below.count(("deep", "work")) == 2


def test_agentops_gets_its_own_words_alone(collector: Collector) -> None:
    """Its cloud depends on its vocabulary: nothing of OpenInference is added to it."""
    _record()
    collector.answer = _token_or_taken
    with Sending(collector, options={"auth": "agentops"}) as sending:
        sending.all()
    for span in collector.spans():
        assert not [
            key
            for key in _attributes(span)
            if key.startswith(("openinference.", "input.", "output.")) or key == "session.id"
        ]


# How it is sent


@pytest.mark.parametrize("path", ["", "/", "/otel", "/v1/traces", "/otel/v1/traces/"])
def test_the_path_is_added_where_it_is_missing(collector: Collector, path: str) -> None:
    """The address of a back end, and that of its traces, are both accepted."""
    _finished()
    with Sending(collector, url=collector.url + path) as sending:
        sending.all()
    [(actual, _, _)] = collector.requests
    assert actual == (path.rstrip("/") if path.rstrip("/").endswith("/v1/traces") else path.rstrip("/") + "/v1/traces")


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        (KEY, {}, {"authorization": f"Bearer {KEY}"}),
        (KEY, {"header": "x-api-key"}, {"x-api-key": KEY}),
        (KEY, {"auth": "none"}, {}),
        (None, {}, {}),
    ],
)
def test_the_key_goes_as_it_is_wanted(
    collector: Collector, key: str | None, options: dict[str, str], expected: dict[str, str]
) -> None:
    """The key is sent as a bearer token, under a header of the back end's own, or not at all."""
    _finished()
    with Sending(collector, key=key, options=options, headers={"X-Tenant": "7"}) as sending:
        sending.all()
    [(_, headers, _)] = collector.requests
    assert {name: headers[name] for name in ("authorization", "x-api-key") if name in headers} == expected
    assert (headers["x-tenant"], headers["content-encoding"]) == ("7", "gzip")


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "grpc"},
        {"auth": "basic"},
        {"colour": "red"},
        {"header": "x-api-key", "auth": "none"},
        {"auth_url": "https://example.invalid"},
        {"auth": "agentops", "auth_url": "nonsense"},
    ],
)
def test_an_option_that_means_nothing_is_an_error(collector: Collector, options: dict[str, str]) -> None:
    """A typo in an option is reported before anything is sent."""
    _finished()
    with pytest.raises(ConfigError):
        Sending(collector, options=options)


def test_a_missing_extra_is_said_and_json_goes_without(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protobuf needs a package: an error names it, and the option that does without."""
    _finished()
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.trace.v1", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    with Sending(collector) as sending, pytest.raises(Blocked, match=r"localops\[otel\].*protocol=json"):
        sending.all()
    with Sending(collector, options={"protocol": "json"}) as sending:
        sending.all()
    assert len(collector.requests) == 1


# What an answer is worth


def _partial(rejected: int, message: str = "") -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


@pytest.mark.parametrize(
    "answer",
    [
        (200, PROTOBUF, b""),
        (200, None, b""),
        (200, "application/json", b""),
        (200, "application/json; charset=utf-8", b"{}"),
        (200, "application/json", b'{"partialSuccess":{}}'),
        (200, "application/json", b'{"partialSuccess":null}'),
        (200, "application/json", b'{"partialSuccess":{"rejectedSpans":"0"}}'),
        (200, PROTOBUF, _partial(0)),
    ],
)
def test_an_answer_of_otlp_is_an_ack(collector: Collector, answer: Answer) -> None:
    """Also one without a byte, which is what a message without fields looks like."""
    _finished()
    collector.answer = lambda *_: answer
    with Sending(collector) as sending:
        sending.all()
        assert sending.sink.notes == []


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/html", b"<html>Welcome to the hotel</html>"),
        (200, "text/html", b""),
        (200, "text/plain", b""),
        (200, None, b"ok"),
        (200, "application/json", b"<html>"),
        (200, "application/json", b"[]"),
        (200, "application/json", b'{"error":"no such project"}'),
        (200, "application/json", b'{"error":{"code":5}}'),
        (200, "application/json", b'{"ok":null}'),
        (200, "application/json", b'{"partialSuccess":[1]}'),
        (200, "application/json", b'{"partialSuccess":{"rejectedSpans":"many"}}'),
        (200, "application/json", b'{"partialSuccess":{"rejectedSpans":[]}}'),
        (200, PROTOBUF, b"<html>Welcome to the hotel</html>"),
        (202, PROTOBUF, b""),
        (204, None, b""),
    ],
)
def test_any_other_answer_does_not_count(collector: Collector, answer: Answer) -> None:
    """A captive portal's page with a 200, or another program's answer: nothing counts as sent."""
    _finished()
    collector.answer = lambda *_: answer
    with Sending(collector) as sending, pytest.raises(Offline) as raised:
        sending.all()
    assert not raised.value.answered


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (PROTOBUF, _partial(1, f"span has no soul, {KEY}")),
        (
            "application/json",
            json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": f"span has no soul, {KEY}"}}).encode(),
        ),
    ],
)
def test_a_rejected_span_refuses_the_batch(collector: Collector, kind: str, reply: bytes) -> None:
    """The reply does not name it: the worker finds it by bisection; a key in the reply is not shown."""
    _finished()
    collector.answer = lambda path, headers, body: TAKEN if _is_check(headers, body) else (200, kind, reply)
    with (
        Sending(collector) as sending,
        pytest.raises(Refused, match=r"rejected 1 of 1 spans: span has no soul, \*\*\*"),
    ):
        sending.all()


def test_the_rejected_span_is_found_by_halves(collector: Collector) -> None:
    """Asking about ever less leaves one row that is refused; all others are taken."""
    localops.init()
    for number in range(20):
        localops.record(localops.ActionEvent(action_type=f"step {number}"))
    localops.end_session("Success")

    def answer(path: str, headers: dict[str, str], body: bytes) -> Answer:
        return (200, PROTOBUF, _partial(1)) if b"step 13" in body else TAKEN

    collector.answer = answer
    with Sending(collector) as sending:
        pending, refused = list(sending.batches()), list[Any]()
        while pending:
            batch = pending.pop()
            try:
                sending.sink.send(batch)
            except Refused:
                pending.extend(bundle.halves(batch)) if len(batch.rows) > 1 else refused.extend(batch.rows)
    [row] = refused
    assert row.name == "step 13"


def test_a_remark_without_a_rejection_is_only_a_note(collector: Collector) -> None:
    """Everything was taken, and the back end has something to say: it is kept for the person, safe for a terminal."""
    _finished()
    collector.answer = lambda *_: (200, PROTOBUF, _partial(0, f"slow down\x1b[31m {KEY}"))
    with Sending(collector) as sending:
        sending.all()
        [note] = sending.sink.notes
    assert note.endswith("says: slow down\\x1b[31m ***")


def test_a_pass_sends_what_there_is_and_passes_remarks_on(collector: Collector) -> None:
    """The worker delivers everything but the refused row, and reports the back end's message."""
    localops.init()
    for name in ("fine", "poison", "fine too"):
        localops.record(localops.ActionEvent(action_type=name))
    localops.end_session("Success")
    collector.answer = lambda path, headers, body: (200, PROTOBUF, _partial(int(b"poison" in body), "mind the gap"))
    home = os.environ["LOCALOPS_HOME"]
    outcome = worker.sync(home, "default", Remote("far", collector.url, kind="otlp", key=KEY))
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0)
    assert outcome.notes == [f"{collector.url[7:]} says: mind the gap"]
    assert {"fine", "fine too"} <= {span.name for span in collector.spans()}


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (400, Refused),
        (401, Blocked),
        (403, Blocked),
        (404, Blocked),
        (405, Blocked),
        (413, TooLarge),
        (415, Blocked),
        (422, Refused),
        (429, Offline),
        (500, Offline),
        (503, Offline),
        (302, Blocked),
    ],
)
def test_a_status_means_what_it_means_everywhere(collector: Collector, status: int, trouble: type[Exception]) -> None:
    """Refusals refuse the rows, a key or a form that is wrong stops everything, and the rest is for later."""
    _finished()
    no = (status, "application/json", b'{"message":"no"}')
    collector.answer = lambda path, headers, body: TAKEN if _is_check(headers, body) else no
    with Sending(collector) as sending, pytest.raises(trouble):
        sending.all()


# Who refuses everything


def _is_check(headers: dict[str, str], body: bytes) -> bool:
    """Return whether a request is the span without a row, which tells bad rows from a wrong configuration."""
    [*spans] = [s for r in _decoded(headers, body).resource_spans for scope in r.scope_spans for s in scope.spans]
    return [span.name for span in spans] == ["localops check"]


def _pass(collector: Collector, **remote: Any) -> exit_codes.Outcome:
    remote_hub = Remote("far", collector.url, kind="otlp", **{"key": KEY, **remote})
    return worker.sync(os.environ["LOCALOPS_HOME"], "default", remote_hub, budget=PassBudget(sleep=lambda _: None))


def _steps(*names: str) -> None:
    """Record a session with a step of each name."""
    localops.init()
    for name in names:
        localops.record(localops.ActionEvent(action_type=name))
    localops.end_session("Success")


_FORBIDDEN: list[Answer] = [
    (400, "application/json", b'{"error":"no experiment"}'),
    (404, "application/json", b'{"detail":"Not Found"}'),
    (405, "application/json", b'{"detail":"Method Not Allowed"}'),
    (409, "application/json", b"{}"),
    (413, "application/json", b"{}"),
    (415, "text/plain", b""),
    (422, "application/json", b'{"detail":"x-experiment-id is required"}'),
]


@pytest.mark.parametrize("protocol", ["protobuf", "json"])
@pytest.mark.parametrize("answer", _FORBIDDEN)
@pytest.mark.parametrize("takes_empty", [True, False])
def test_a_remote_that_refuses_every_span_parks_none(
    collector: Collector, answer: Answer, takes_empty: bool, protocol: str
) -> None:
    """A wrong path, protocol or header needs a person, after a few requests; afterwards everything arrives."""
    _steps(*(f"step {number}" for number in range(30)))

    def refuse(path: str, headers: dict[str, str], body: bytes) -> Answer:
        return TAKEN if takes_empty and not _decoded(headers, body).resource_spans else answer

    collector.answer = refuse
    for _ in range(2):
        collector.requests.clear()
        outcome = _pass(collector, options={"protocol": protocol})
        assert (outcome.code, outcome.parked) == (exit_codes.ACT, 0)
        assert outcome.left >= 31
        assert str(answer[0]) in outcome.message
        assert len(collector.requests) <= (9 if takes_empty else 3)
    collector.answer = lambda *_: TAKEN
    collector.requests.clear()
    outcome = _pass(collector)
    assert (outcome.code, outcome.left, outcome.parked) == (exit_codes.DONE, 0, 0)
    assert {f"step {number}" for number in range(30)} <= {span.name for span in collector.spans()}
    assert not any(_is_check(headers, body) for _, headers, body in collector.requests)


@pytest.mark.parametrize("poison", [0, 1, 6, 11])
@pytest.mark.parametrize("takes_empty", [True, False])
@pytest.mark.parametrize("status", [400, 422])
def test_one_row_that_is_refused_is_parked_alone(
    collector: Collector, poison: int, takes_empty: bool, status: int
) -> None:
    """Wherever it stands: what is taken in the same pass shows that it is the row, or else a plain span shows it."""
    _steps(*(f"step {number:02}" for number in range(12)))

    def answer(path: str, headers: dict[str, str], body: bytes) -> Answer:
        bad = f"step {poison:02}".encode() in body
        empty = not _decoded(headers, body).resource_spans
        return (status, "text/plain", b"no") if bad or (empty and not takes_empty) else TAKEN

    collector.answer = answer
    outcome = _pass(collector)
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0)
    sent = {span.name for span in collector.spans() if span.name.startswith("step")} - {f"step {poison:02}"}
    assert len(sent) == 11
    assert sum(_is_check(headers, body) for _, headers, body in collector.requests) <= 1


def test_a_refused_row_that_is_alone_is_parked_too(collector: Collector) -> None:
    """With nothing else to send, a plain span tells that the back end takes spans."""
    _finished()
    refused: Answer = (400, "text/plain", b"no")
    collector.answer = lambda path, headers, body: TAKEN if _is_check(headers, body) else refused
    assert (_pass(collector).code, _pass(collector).code) == (exit_codes.PARKED, exit_codes.DONE)


@pytest.mark.parametrize(
    ("takes_spans", "step", "ok"),
    [(True, "key", True), (False, "answer", False)],
)
def test_remote_test_does_not_hide_a_refusal(collector: Collector, takes_spans: bool, step: str, ok: bool) -> None:
    """A back end that refuses the empty request gets a plain span, and its answer to that counts."""
    from localops_sync import remote_test

    _finished()
    no: Answer = (422, "application/json", b'{"detail":"x-experiment-id is required"}')
    collector.answer = lambda path, headers, body: TAKEN if takes_spans and _is_check(headers, body) else no
    with Sending(collector) as sending:
        findings = {each.step: each for each in remote_test.run(sending.remote, sending.reader, sending.folder)}
    assert findings[step].ok is ok
    assert ("x-experiment-id is required" in findings[step].message) is not ok
    assert [span.name for span in collector.spans()] == ["localops check"]


@pytest.mark.parametrize(("status", "kind"), [(200, PROTOBUF), (400, "text/plain")])
def test_a_check_sends_no_span(collector: Collector, status: int, kind: str) -> None:
    """The check sends an empty request, which some back ends refuse as such: they are there all the same."""
    _finished()
    collector.answer = lambda *_: (status, kind, b"")
    with Sending(collector) as sending:
        assert sending.sink.check() == f"OTLP/HTTP in protobuf at {collector.url[7:]}"
    assert collector.spans() == []
    assert len(collector.requests) == 1


def test_a_check_finds_a_wrong_key(collector: Collector) -> None:
    """A problem that needs a person is reported before anything is sent."""
    _finished()
    collector.answer = lambda *_: (401, "application/json", b"{}")
    with Sending(collector) as sending, pytest.raises(Blocked):
        sending.sink.check()


# AgentOps' cloud


class _Cloud:
    """Gives out tokens, and takes spans only with the newest."""

    def __init__(self) -> None:
        self.given = 0
        self.accepted = 1  # the token that counts

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path == "/v3/auth/token":
            assert json.loads(body) == {"api_key": KEY}
            self.given += 1
            facts = {"token": f"token-{self.given}", "project_id": "p", "project_prem_status": "free"}
            return 200, "application/json", json.dumps(facts).encode()
        good = headers.get("authorization") == f"Bearer token-{self.accepted}"
        return TAKEN if good else (401, "application/json", b'{"message":"Expired Token"}')


def _token_or_taken(path: str, headers: dict[str, str], body: bytes) -> Answer:
    return (200, "application/json", b'{"token":"t"}') if path == "/v3/auth/token" else TAKEN


def test_a_token_is_got_once_and_again_when_it_expires(collector: Collector) -> None:
    """The key is exchanged for a token, which every export sends; in the middle of a backlog it is renewed once."""
    _record()
    cloud = _Cloud()
    collector.answer = cloud
    with Sending(collector, options={"auth": "agentops", "auth_url": collector.url}, headers={"X-T": "7"}) as sending:
        first, *later = sending.batches(rows=8)
        sending.sink.send(first)
        cloud.accepted = 2
        for batch in later:
            sending.sink.send(batch)
    paths = [path for path, _, _ in collector.requests]
    assert paths.count("/v3/auth/token") == 2
    assert paths.count("/v1/traces") == 2 + len(later)
    assert all(KEY not in str(headers) for _, headers, _ in collector.requests)
    assert [headers.get("x-t") for path, headers, _ in collector.requests if "auth" in path] == [None, None]


def test_a_token_that_is_always_refused_stops_the_pass(collector: Collector) -> None:
    """After one renewal a person must act; neither key nor token is in the message."""
    _finished()
    cloud = _Cloud()
    cloud.accepted = 99
    collector.answer = cloud
    with Sending(collector, options={"auth": "agentops"}) as sending, pytest.raises(Blocked) as raised:
        sending.all()
    assert cloud.given == 2
    assert "token-" not in str(raised.value)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ((400, "application/json", b'{"error":"Invalid API key format"}'), Blocked),
        ((403, "application/json", b'{"error":"Invalid API key"}'), Blocked),
        ((500, "application/json", b'{"error":"Authentication failed"}'), Offline),
        ((200, "text/html", b"<html>"), Offline),
        ((200, "application/json", b"[]"), Offline),
        ((200, "application/json", b'{"token":""}'), Offline),
        ((200, "application/json", b'{"token":"a\\r\\nX: y"}'), Offline),
    ],
)
def test_no_token_parks_no_row(collector: Collector, answer: Answer, trouble: type[Exception]) -> None:
    """Whatever goes wrong with the token, it is never the rows that are refused, and none goes without one."""
    _finished()
    collector.answer = lambda *_: answer
    with Sending(collector, options={"auth": "agentops"}) as sending, pytest.raises(trouble):
        sending.all()
    assert [path for path, _, _ in collector.requests] == ["/v3/auth/token"]


def test_a_token_is_waited_for_no_longer_than_the_pass(collector: Collector) -> None:
    """A token server that does not answer ends a pass with --max-seconds in time, not as an offline remote."""
    _finished()
    asked = threading.Event()
    answered = threading.Event()

    def keep_waiting(*_: object) -> Answer:
        asked.set()
        answered.wait(30)
        return TAKEN

    collector.answer = keep_waiting
    with Sending(collector, PassBudget(max_seconds=0.5), options={"auth": "agentops"}) as sending:
        with pytest.raises(OutOfBudget):
            sending.all()
        assert asked.is_set()
        answered.set()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://otlp.agentops.ai", "https://api.agentops.ai"),
        ("https://otlp.agentops.ai/v1/traces", "https://api.agentops.ai"),
        ("https://own.example:4318/v1/traces", "https://own.example:4318"),
    ],
)
def test_a_key_goes_to_the_hosts_that_were_named(url: str, expected: str) -> None:
    """Only the cloud's own two hosts belong together; anywhere else tokens come from where the spans go."""
    from localops_sync.sinks import otlp

    assert otlp._auth_url(Remote("far", url, kind="otlp", options={"auth": "agentops"})) == expected


def test_agentops_reads_its_own_names(collector: Collector) -> None:
    """Its cloud takes every span with gen_ai attributes for an LLM call, and knows kinds by the ends of names."""
    session = _record()
    collector.answer = _token_or_taken
    with Sending(collector, options={"auth": "agentops"}) as sending:
        sending.all()
    llm = _attributes(collector.span("gpt-4o-mini.llm"))
    expected = {
        "agentops.span.kind": "llm",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "Be brief.",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "Cats?",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": "Yes.",
        "gen_ai.usage.prompt_tokens": 12,
        "gen_ai.usage.completion_tokens": 3,
        "gen_ai.usage.cache_read_input_tokens": 4,
        "gen_ai.usage.reasoning_tokens": 1,
        "gen_ai.usage.total_tokens": 15,
        "gen_ai.usage.total_cost": 0.000123,
        "agent.name": "Researcher",
    }
    assert {name: llm.get(name) for name in expected} == expected
    plan = _attributes(collector.span("plan.workflow"))
    assert plan["agentops.workflow.input"] == '{"goal":"learn"}'
    assert plan["agentops.workflow.output"] == "done"
    tool = _attributes(next(span for span in collector.spans() if span.name == "search.tool"))
    assert (tool["tool.name"], tool["agentops.tool.input"]) == ("search", '{"query":"cats"}')
    assert (_attributes(collector.span(f"{session.name}.session")))["agentops.session.end_state"] == "Success"
    others = [span for span in collector.spans() if not span.name.endswith((".llm", ".tool"))]
    assert not [name for span in others for name in _attributes(span) if name.startswith("gen_ai")]


def test_agentops_hears_fail_for_a_failure(collector: Collector) -> None:
    """It has another word for it; what did not fail counts as a success."""
    localops.init()
    localops.record(localops.ActionEvent(action_type="step"))
    localops.end_session("Failure")
    collector.answer = _token_or_taken
    with Sending(collector, options={"auth": "agentops"}) as sending:
        sending.all()
    root, step = sorted(collector.spans(), key=lambda span: len(span.parent_span_id))
    assert _attributes(root)["agentops.session.end_state"] == "Fail"
    assert (root.status.code, step.status.code) == (semconv.ERROR, semconv.OK)


def _finished() -> None:
    """Record a session of one row that is a span."""
    session = clock.new_id()
    with _journal() as journal:
        journal.add([rows.make("end", session, id=clock.new_id(), at_ns=clock.now_ns(), name="Success")])


def _journal() -> Any:
    from contextlib import closing

    return closing(Journal(os.path.join(os.environ["LOCALOPS_HOME"], "default")))


def test_a_sum_that_no_column_could_hold_is_sent_as_the_nearest_that_fits() -> None:
    """Tokens in and out may each fit 64 bits and their sum may not: it is no reason to refuse the row."""
    assert json_request._value(-(1 << 63) - 1) == {"intValue": str(-(1 << 63))}
    assert json_request._value(1 << 63) == {"intValue": str((1 << 63) - 1)}
