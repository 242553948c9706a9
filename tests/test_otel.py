"""Spans of OpenTelemetry's SDK are recorded as they start and end."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags

import localops
from localops import ActionEvent, BudgetExceeded, Session, api, decorators
from localops.otel import LocalopsSpanProcessor, install, private_provider, processor

from . import programs

CALL: dict[str, Any] = {"openinference.span.kind": "LLM", "llm.system": "openai"}
ASKED: dict[str, Any] = {
    **CALL,
    "input.value": json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "how high is the tide?"}]}),
    "input.mime_type": "application/json",
}
ANSWERED: dict[str, Any] = {"llm.token_count.prompt": 120, "llm.token_count.completion": 15}


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    return localops.start_session()


@pytest.fixture
def tracer() -> trace.Tracer:
    """Return a tracer whose spans are recorded."""
    return private_provider().get_tracer("tests")


def events(session: Session) -> dict[str | None, dict[str, Any]]:
    """Return the events of a session by their names."""
    return {event["name"]: event for event in session.events}


def parents(session: Session) -> dict[str | None, str | None]:
    """Return the name of what each event of a session happened in."""
    names = {event["id"]: event["name"] for event in session.events}
    return {event["name"]: names.get(event["parent"]) for event in session.events}


def opened(session: Session) -> list[dict[str, Any]]:
    """Return the bodies of the rows that operations opened with."""
    execute = session.recorder.journal._file.execute
    rows = execute("select body from event where session = ? and phase = 1", (session._id,)).fetchall()
    return [json.loads(body) if body else {} for (body,) in rows]


def test_spans_and_operations_belong_to_each_other(session: Session, tracer: trace.Tracer) -> None:
    """A span in an operation in a span, with events in each, all belong where the code was."""
    with tracer.start_as_current_span("outer span"):
        session.record(ActionEvent(action_type="in outer span"))
        with session.operation("operation"):
            session.record(ActionEvent(action_type="in operation"))
            with tracer.start_as_current_span("inner span"):
                session.record(ActionEvent(action_type="in inner span"))
            session.record(ActionEvent(action_type="in operation again"))
        session.record(ActionEvent(action_type="in outer span again"))
    session.record(ActionEvent(action_type="after"))
    assert parents(session) == {
        "in outer span": "outer span",
        "in operation": "operation",
        "in inner span": "inner span",
        "inner span": "operation",
        "in operation again": "operation",
        "operation": "outer span",
        "in outer span again": "outer span",
        "outer span": None,
        "after": None,
    }


def test_decorated_functions_and_spans_belong_to_each_other(session: Session, tracer: trace.Tracer) -> None:
    """A decorated function called in a span is in it, and a span in a decorated function."""

    @decorators.tool
    def look(place: str) -> str:
        with tracer.start_as_current_span("request"):
            return place

    @decorators.agent
    class Guide:
        def go(self) -> None:
            look("Brest")

    guide = Guide()
    with tracer.start_as_current_span("step"):
        guide.go()
    assert parents(session)["look"] == "step"
    assert parents(session)["request"] == "look"
    assert events(session)["look"]["agent"] == events(session)["request"]["agent"] is not None


def test_an_agents_span_is_the_agent_of_what_happens_in_it(session: Session, tracer: trace.Tracer) -> None:
    """Events in an agent's span belong to it as their agent."""
    about = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "guide"}
    with tracer.start_as_current_span("invoke_agent guide", attributes=about), tracer.start_as_current_span("step"):
        session.record(ActionEvent(action_type="look"))
    recorded = events(session)
    assert recorded["look"]["agent"] == recorded["guide"]["id"] == recorded["step"]["agent"]


def test_the_request_is_on_disk_while_the_call_runs(session: Session, tracer: trace.Tracer) -> None:
    """The opening row has the whole request; the closing one the answer and the tokens, and not the request again."""
    span = tracer.start_span("ChatCompletion", attributes=ASKED)
    (row,) = opened(session)
    assert row["prompt"] == [{"role": "user", "content": "how high is the tide?"}]
    assert row["scope"] == "tests"
    assert row["span_id"] == f"{span.get_span_context().span_id:016x}"
    span.set_attributes({**ANSWERED, "output.value": '{"choices": [{"message": {"content": "4 m"}}], "id": "r-1"}'})
    span.end()
    call = events(session)["ChatCompletion"]
    assert (call["kind"], call["model"], call["tokens_in"], call["tokens_out"]) == ("llm", "gpt-4o", 120, 15)
    assert call["cost"] == 120 * 2500 + 15 * 10_000
    assert (call["completion"], call["response_id"]) == ({"content": "4 m"}, "r-1")
    (closing,) = session.recorder.journal._file.execute(
        "select body from event where session = ? and kind = 'llm' and phase = 0", (session._id,)
    ).fetchall()
    assert "how high" not in closing[0]
    assert "trace_id" not in closing[0]


def test_a_process_that_dies_in_a_call_leaves_its_request() -> None:
    """Killed between start and end of a span: the call is listed as unfinished, with what was asked."""
    code = f"""
import os, localops, localops.otel
session = localops.init(env_data_opt_out=True)
tracer = localops.otel.private_provider().get_tracer("x")
tracer.start_span("ChatCompletion", attributes={ASKED!r})
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (9, "")
    with programs.reader() as journal:
        (body,) = journal.ask("select body from event where kind = 'llm' and phase = 1")[0]
    assert json.loads(body)["prompt"] == [{"role": "user", "content": "how high is the tide?"}]
    with localops.start_session():  # who begins one finds those that died
        reason = programs.standing(programs.sessions()[0]).reason
        assert reason is not None
        assert reason.startswith("process died inside llm 'ChatCompletion'")  # how long it was in there may follow


def test_one_exception_is_one_error(session: Session, tracer: trace.Tracer) -> None:
    """It passes through two spans and two operations, and is recorded where it was raised."""

    @decorators.task
    def inner() -> None:
        with tracer.start_as_current_span("deepest"):
            raise ValueError("no tide")

    @decorators.task
    def outer() -> None:
        with tracer.start_as_current_span("middle"):
            inner()

    with pytest.raises(ValueError, match="no tide"), tracer.start_as_current_span("outermost"):
        outer()
    recorded = list(session.events)
    (error,) = (event for event in recorded if event["kind"] == "error")
    assert (error["name"], error["details"], parents(session)["ValueError"]) == ("ValueError", "no tide", "deepest")
    assert "raise ValueError" in error["logs"]
    assert {event["name"] for event in recorded if event["failed"]} == {
        "deepest",
        "inner",
        "middle",
        "outer",
        "outermost",
    }


def test_an_error_that_only_spans_report_is_one_error(session: Session, tracer: trace.Tracer) -> None:
    """If no exception is there any more when spans end, the same message is the same error."""
    outer = tracer.start_span("outer")
    inner = tracer.start_span("inner", context=trace.set_span_in_context(outer))
    for span in (inner, outer):
        span.add_event(
            "exception", {"exception.type": "x.Broken", "exception.message": "no", "exception.stacktrace": "s"}
        )
        span.set_status(Status(StatusCode.ERROR, "Broken: no"))
        span.end()
    (error,) = (event for event in session.events if event["kind"] == "error")
    assert (error["name"], error["details"], error["logs"]) == ("Broken", "no", "s")
    assert parents(session)["Broken"] == "inner"


def test_an_error_without_an_exception_is_recorded(session: Session, tracer: trace.Tracer) -> None:
    """The official instrumentors set error.type and a status, without an event."""
    with tracer.start_as_current_span("execute_tool t", attributes={"gen_ai.operation.name": "execute_tool"}) as span:
        span.set_attribute("error.type", "openai.RateLimitError")
        span.set_status(Status(StatusCode.ERROR, "too many"))
    (error,) = (event for event in session.events if event["kind"] == "error")
    assert (error["name"], error["details"]) == ("RateLimitError", "too many")


def test_another_exception_that_is_being_handled_is_not_taken_for_it(session: Session, tracer: trace.Tracer) -> None:
    """A span may fail inside of an `except` block."""
    try:
        raise KeyError("earlier")
    except KeyError:
        span = tracer.start_span("retry")
        span.set_status(Status(StatusCode.ERROR, "Timeout: too late"))
        span.set_attribute("error.type", "Timeout")
        span.end()
    (error,) = (event for event in session.events if event["kind"] == "error")
    assert error["name"] == "Timeout"


def test_an_exception_that_was_handled_is_no_error(session: Session, tracer: trace.Tracer) -> None:
    """A span that records one and continues has it as one of its events."""
    with tracer.start_as_current_span("retried") as span:
        span.record_exception(ValueError("first try"))
    (event,) = session.events
    assert (event["kind"], event["failed"]) == ("operation", False)
    assert event["events"][0]["exception.message"] == "first try"


def test_a_failed_call_that_is_traced_twice_has_one_error(session: Session, tracer: trace.Tracer) -> None:
    """The SDK of a provider raises its own class for the error of its client."""

    @tracer.start_as_current_span("chat", attributes=ASKED)
    def call() -> None:
        with tracer.start_as_current_span("of its client", attributes=ASKED) as inner:
            inner.set_attribute("error.type", "connection_refused")
            inner.set_status(Status(StatusCode.ERROR))
        raise ConnectionError("refused")

    with pytest.raises(ConnectionError):
        call()
    (error,) = (event for event in session.events if event["kind"] == "error")
    assert (error["name"], parents(session)["ConnectionError"]) == ("ConnectionError", "chat")
    inside = events(session)["of its client"]
    assert (inside["failed"], inside["error"]["type"]) == (True, "connection_refused")


def test_the_error_of_a_framework_is_that_of_its_client(session: Session, tracer: trace.Tracer) -> None:
    """One call has failed, though the framework raises an exception of its own; that of the program is another one."""

    def asked() -> None:
        try:
            with tracer.start_as_current_span("ChatCompletion", attributes=ASKED):
                raise ValueError("turned down")
        except ValueError as error:
            raise LookupError("no answer") from error

    def step() -> None:
        try:
            with tracer.start_as_current_span("chat gpt-4o", attributes=ASKED):
                asked()
        except LookupError as error:
            raise RuntimeError("no forecast") from error

    with pytest.raises(RuntimeError), tracer.start_as_current_span("step"):
        step()
    errors = [event["name"] for event in session.events if event["kind"] == "error"]
    assert errors == ["ValueError", "RuntimeError"]


def test_an_error_of_a_derived_class_is_that_of_the_client(session: Session, tracer: trace.Tracer) -> None:
    """LiteLLM raises one while it handles the client's, without naming it as the cause; others are new errors."""

    class Own(ValueError):
        pass

    @tracer.start_as_current_span("ChatCompletion", attributes=ASKED)
    def client() -> None:
        raise ValueError("turned down")

    @tracer.start_as_current_span("completion", attributes=ASKED)
    def framework(kind: type[Exception]) -> None:
        try:
            client()
        except ValueError:
            raise kind("no answer")  # noqa: B904

    for kind in (Own, KeyError):
        with pytest.raises(kind):
            framework(kind)
    errors = [event["name"] for event in session.events if event["kind"] == "error"]
    assert errors == ["ValueError", "ValueError", "KeyError"]


def test_an_error_passes_through_a_span_that_says_nothing_of_it(session: Session, tracer: trace.Tracer) -> None:
    """For example through a turn of the OpenAI Agents SDK."""
    with (
        pytest.raises(ValueError, match="turned down"),
        tracer.start_as_current_span("agent"),
        tracer.start_as_current_span("turn", record_exception=False, set_status_on_exception=False),
        tracer.start_as_current_span("ChatCompletion", attributes=ASKED),
    ):
        raise ValueError("turned down")
    assert [event["kind"] for event in session.events].count("error") == 1
    assert not events(session)["turn"]["failed"]


def test_being_cancelled_is_no_error(session: Session, tracer: trace.Tracer) -> None:
    """A cancelled span did not succeed, but nothing is counted as an error."""

    async def work() -> None:
        with tracer.start_as_current_span("cancelled"):
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (span,) = session.events
    assert (span["name"], span.get("ended_by"), span["kind"]) == ("cancelled", "CancelledError", "operation")
    assert span["failed"]


def test_a_span_in_the_cleanup_of_a_cancelled_task_ends_well(session: Session, tracer: trace.Tracer) -> None:
    """An exception that was being handled before it started did not interrupt it."""
    try:
        raise asyncio.CancelledError
    except asyncio.CancelledError:
        with tracer.start_as_current_span("clean up"):
            pass
    (span,) = session.events
    assert (span["name"], span["failed"]) == ("clean up", False)


def test_a_call_that_was_turned_down_costs_nothing(session: Session, tracer: trace.Tracer) -> None:
    """The error of a span is enough to know that the call was not billed."""
    span = tracer.start_span("chat", attributes=ASKED)
    span.add_event("exception", {"exception.type": "openai.AuthenticationError", "exception.message": "401"})
    span.set_status(Status(StatusCode.ERROR))
    span.end()
    assert events(session)["chat"]["cost"] == 0


def test_one_call_that_is_traced_twice_counts_once(session: Session, tracer: trace.Tracer) -> None:
    """A client is below an instrumentor, or an instrumentor below a framework that sets its kind only at the end."""
    with tracer.start_as_current_span("known", attributes=ASKED) as outer:
        with tracer.start_as_current_span("of its client", attributes={**ASKED, **ANSWERED}):
            pass
        outer.set_attribute("llm.finish_reason", "stop")
    with tracer.start_as_current_span("of a framework") as late:
        with tracer.start_as_current_span("client", attributes={**ASKED, **ANSWERED}):
            pass
        late.set_attributes({**ASKED, **ANSWERED})
    figures = session.get_analytics()
    assert (figures["LLM calls"], figures["Cost"]) == (2, "0.000900")
    recorded = events(session)
    assert {name: recorded[name]["kind"] for name in ("known", "of its client", "of a framework", "client")} == {
        "known": "llm",
        "of its client": "llm_copy",
        "of a framework": "llm_copy",
        "client": "llm",
    }
    assert recorded["known"]["tokens_in"] == 120  # from its client


def test_a_call_has_the_details_of_its_tokens_from_its_client(session: Session, tracer: trace.Tracer) -> None:
    """Frameworks read the totals only, and without the tokens of the cache the cost is too high."""
    details = {"llm.token_count.prompt_details.cache_read": 100, "llm.token_count.completion_details.reasoning": 5}
    for name, prompt in (("same", 120), ("other", 220)):
        with tracer.start_as_current_span(name, attributes=ASKED) as outer:
            tracer.start_span("client", attributes={**ASKED, **ANSWERED, **details}).end()
            outer.set_attributes({**ANSWERED, "llm.token_count.prompt": prompt})
    recorded = events(session)
    figures = ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning", "cost")
    assert [recorded["same"][figure] for figure in figures] == [120, 15, 100, 5, 325_000]
    assert [recorded["other"][figure] for figure in figures] == [220, 15, None, None, 700_000]


def test_one_answer_counts_once_wherever_it_is_traced(session: Session, tracer: trace.Tracer) -> None:
    """A framework's span need not be around that of the client: the answer has one id."""
    answer: dict[str, Any] = {
        "gen_ai.response.id": "chatcmpl-7",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 1,
    }
    framework = private_provider().get_tracer("framework")
    for by, name in ((tracer, "client"), (framework, "framework")):
        by.start_span(name, attributes={**ASKED, **answer}).end()
    assert session.get_analytics()["LLM calls"] == 1
    tracer.start_span("client", attributes={**ASKED, **answer}).end()
    assert session.get_analytics()["LLM calls"] == 2
    other = localops.start_session()
    tracer.start_span("client", attributes={**ASKED, **answer}).end()
    assert other.get_analytics()["LLM calls"] == 1


def test_a_span_in_an_llm_operation_gives_it_its_tokens(session: Session, tracer: trace.Tracer) -> None:
    """A decorated function that calls an instrumented client is one call, with the client's usage."""

    @decorators.llm
    def ask(prompt: str) -> str:
        for _ in range(2):
            tracer.start_span("chat", attributes={**ASKED, **ANSWERED}).end()
        return "4 m"

    ask("how high is the tide?")
    figures = session.get_analytics()
    assert figures["LLM calls"] == 1
    call = events(session)["ask"]
    assert (call["model"], call["tokens_in"], call["tokens_out"]) == ("gpt-4o", 240, 30)
    assert figures["Cost"] == "0.000900"


def test_a_call_that_the_program_records_as_well_counts_once(session: Session, tracer: trace.Tracer) -> None:
    """The answer has an id, which identifies the event of a program as the same call."""
    tracer.start_span("chat", attributes={**ASKED, **ANSWERED, "gen_ai.response.id": "r-9"}).end()
    session.record(
        localops.LLMEvent(model="gpt-4o", prompt_tokens=120, completion_tokens=15, completion="4 m", response_id="r-9")
    )
    assert session.get_analytics()["LLM calls"] == 1


def test_a_kind_that_is_known_only_at_the_end_counts(session: Session, tracer: trace.Tracer) -> None:
    """LangChain's instrumentor sets all attributes when a span ends."""
    span = tracer.start_span("tides")
    span.set_attributes(
        {"openinference.span.kind": "TOOL", "tool.name": "tides", "input.value": "Brest", "output.value": "4 m"}
    )
    span.update_name("tides of today")
    span.end()
    figures = session.get_analytics()
    assert (figures["Tool calls"], figures["Actions"]) == (1, 0)
    tool = events(session)["tides"]
    assert (tool["kind"], tool["params"], tool["returns"]) == ("tool", "Brest", "4 m")
    assert session.recorder.ask("row", id=uuid.UUID(tool["id"]).bytes, phase=1)


def test_given_times_are_kept(session: Session, tracer: trace.Tracer) -> None:
    """A span that is reported afterwards has the times that it was given."""
    began = time.time_ns() - 3_600 * 10**9
    tracer.start_span("given late", start_time=began).end(end_time=began + 5 * 10**9)
    tracer.start_span("now").end()
    rows = session.recorder.journal._file.execute(
        "select name, start_ns, end_ns, at_ns from event where session = ? and phase = 0 and name is not null"
        " and kind = 'operation' order by seq",
        (session._id,),
    ).fetchall()
    assert rows[0][:3] == ("given late", began, began + 5 * 10**9)
    assert rows[1][0] == "now"
    assert abs(rows[1][1] - rows[1][3]) < 60 * 10**9


def test_links_and_a_remote_parent_are_kept(session: Session, tracer: trace.Tracer) -> None:
    """Spans of other processes are named by their ids; what has a parent elsewhere hangs where the code is."""
    remote = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    with session.operation("here"):
        span = tracer.start_span(
            "served",
            context=trace.set_span_in_context(trace.NonRecordingSpan(remote)),
            links=[Link(SpanContext(1, 2, is_remote=True), {"why": "batch"})],
        )
        span.end()
    served = events(session)["served"]
    assert (served["trace_id"], served["parent_span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert served["links"] == [{"trace_id": f"{1:032x}", "span_id": f"{2:016x}", "attributes": {"why": "batch"}}]
    assert parents(session)["served"] == "here"


def test_a_span_with_an_explicit_parent_hangs_below_it(session: Session, tracer: trace.Tracer) -> None:
    """Frameworks set parents like this, without making their spans current, from any thread."""
    root = tracer.start_span("root")
    inside = trace.set_span_in_context(root)
    with session.operation("elsewhere"):
        tracer.start_span("child", context=inside).end()
    with ThreadPoolExecutor() as pool:
        pool.submit(lambda: tracer.start_span("in a thread", context=inside).end()).result()
    root.end()
    tracer.start_span("late", context=inside).end()
    assert {name: parent for name, parent in parents(session).items() if name != "elsewhere"} == {
        "child": "root",
        "in a thread": "root",
        "late": "root",
        "root": None,
    }


def test_a_span_that_is_not_current_contains_nothing(session: Session, tracer: trace.Tracer) -> None:
    """An answer is still streamed while the program does other things: they are not in it, and it ends elsewhere."""
    span = tracer.start_span("stream", attributes=ASKED)
    session.record(ActionEvent(action_type="meanwhile"))
    with session.operation("step"):
        pass
    thread = threading.Thread(target=span.end)
    thread.start()
    thread.join()
    outer = parents(session)
    assert (outer["meanwhile"], outer["step"], outer["stream"]) == (None, None, None)


def test_tasks_do_not_see_each_others_spans(session: Session, tracer: trace.Tracer) -> None:
    """Each task is in its own span, and the one that made them in none."""

    async def work(name: str) -> None:
        with tracer.start_as_current_span(name):
            await asyncio.sleep(0)
            session.record(ActionEvent(action_type=f"in {name}"))
            with session.operation(f"operation in {name}"):
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work(f"task {number}") for number in range(5)))
        session.record(ActionEvent(action_type="after"))

    asyncio.run(main())
    outer = parents(session)
    for number in range(5):
        assert outer[f"in task {number}"] == outer[f"operation in task {number}"] == f"task {number}"
        assert outer[f"task {number}"] is None
    assert outer["after"] is None


def test_a_forgotten_detach_leaves_no_trace(session: Session, tracer: trace.Tracer) -> None:
    """A span that stays current by mistake contains later events only as long as OpenTelemetry has it as current."""
    span = tracer.start_span("attached")
    token = otel_context.attach(trace.set_span_in_context(span))
    span.end()
    otel_context.detach(token)
    session.record(ActionEvent(action_type="after"))
    assert parents(session)["after"] is None


def test_spans_without_a_session_are_kept() -> None:
    """They are in the unattributed session of the process, with what is recorded in them."""
    tracer = private_provider().get_tracer("x")
    with tracer.start_as_current_span("early"):
        api.client().place("test").record(ActionEvent(action_type="in it"))
    session = api.client().open_unattributed()[0]
    assert parents(session) == {"in it": "early", "early": None}


def test_a_session_that_begins_in_a_span_has_what_follows(tracer: trace.Tracer) -> None:
    """The inner of the two counts: a session that was started inside of a span."""
    with tracer.start_as_current_span("before"):
        session = localops.start_session()
        with tracer.start_as_current_span("in it"):
            session.record(ActionEvent(action_type="deep"))
    assert parents(session) == {"deep": "in it", "in it": None}


def test_an_ended_session_takes_no_new_spans(tracer: trace.Tracer) -> None:
    """A span in a span of an ended session goes to the one that is open."""
    first = localops.start_session()
    with tracer.start_as_current_span("of the first"):
        first.end_session("Success")
        second = localops.start_session()
        with tracer.start_as_current_span("of the second"):
            pass
    assert set(parents(second)) == {"of the second"}


def test_what_is_sampled_out_is_not_recorded(session: Session) -> None:
    """A span that OpenTelemetry does not record has no row, and spans below it belong where the code is."""
    provider = TracerProvider(sampler=ALWAYS_OFF)
    install(provider)
    with provider.get_tracer("x").start_as_current_span("sampled out"):
        session.record(ActionEvent(action_type="in it"))
        with private_provider().get_tracer("y").start_as_current_span("recorded"):
            pass
    assert parents(session) == {"in it": None, "recorded": None}


def test_spans_that_are_never_ended_stay_open_and_take_no_memory(session: Session, tracer: trace.Tracer) -> None:
    """They are unfinished operations; nothing of them is kept when the program lets go of them."""
    gc.collect()
    before = len(processor._spans)
    for _ in range(50):
        tracer.start_span("dropped", attributes=ASKED)
    with tracer.start_as_current_span("ended"):
        pass
    gc.collect()
    assert len(processor._spans) == before
    assert len(opened(session)) == 51
    assert [event["finished"] for event in session.events if event["name"] == "dropped"] == [False] * 50


def test_a_span_is_ended_once(session: Session, tracer: trace.Tracer, caplog: pytest.LogCaptureFixture) -> None:
    """A second end writes nothing, whether the SDK stops it or it reaches the processor."""
    span = tracer.start_span("once")
    span.end()
    span.end()
    (ours,) = private_provider()._active_span_processor._span_processors
    ours.on_end(span)  # type: ignore[arg-type]
    assert [event["name"] for event in session.events] == ["once"]


def test_a_forked_child_leaves_its_parents_spans_open() -> None:
    """A span that was open at the fork is ended by the parent; events of the child in it belong to it."""
    code = """
import os, sys, localops, localops.otel
session = localops.init()
tracer = localops.otel.private_provider().get_tracer("x")
with tracer.start_as_current_span("around"):
    child = os.fork()
    if not child:
        with tracer.start_as_current_span("in the child"):
            session.record(localops.ActionEvent(action_type="deep"))
    else:
        os.waitpid(child, 0)
        session.record(localops.ActionEvent(action_type="later"))
if not child:
    sys.exit()
names = {event["id"]: event["name"] for event in session.events}
print(sorted((event["name"], names.get(event["parent"]), event["finished"]) for event in session.events))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.strip() == str(
        [
            ("around", None, True),
            ("deep", "in the child", True),
            ("in the child", "around", True),
            ("later", "around", True),
        ]
    )


def test_a_spent_budget_stops_the_next_span() -> None:
    """`start_span` raises BudgetExceeded; nothing is recorded of a span that did not start."""
    session = localops.start_session(config=localops.Config(budget_usd=0.0001))
    tracer = private_provider().get_tracer("x")
    span = tracer.start_span("call", attributes=ASKED)
    span.set_attributes(ANSWERED)
    span.end()
    with pytest.raises(BudgetExceeded):
        tracer.start_span("one more", attributes=ASKED)
    assert [event["name"] for event in session.events] == ["call", "budget"]


def test_secrets_are_removed_from_spans(session: Session, tracer: trace.Tracer) -> None:
    """Attributes go through the same redaction as everything else."""
    secret = "sk-" + "proj-" + "a1B2" * 12
    tracer.start_span("call", attributes={"note": f"key {secret}"}).end()
    assert secret not in json.dumps(list(session.events))
    assert "key" in events(session)["call"]["attributes"]["note"]


def test_nothing_is_captured_where_that_is_turned_off() -> None:
    """capture=False leaves out input and output, and keeps the figures."""
    session = localops.start_session(config=localops.Config(capture=False))
    tracer = private_provider().get_tracer("x")
    span = tracer.start_span("call", attributes=ASKED)
    span.set_attributes({**ANSWERED, "output.value": '{"choices": [{"message": {"content": "4 metres"}}]}'})
    span.end()
    call = events(session)["call"]
    assert call["tokens_in"] == 120
    assert "tide" not in json.dumps(call)
    assert "metres" not in json.dumps(call)


def test_an_sdk_that_keeps_few_attributes_loses_no_kind(session: Session) -> None:
    """With its default of 128 the SDK drops the first attributes of a long conversation; those were written before."""
    provider = install(TracerProvider(span_limits=SpanLimits(max_span_attributes=8)))
    span = provider.get_tracer("x").start_span("call", attributes=ASKED)
    span.set_attributes({f"llm.input_messages.{number}.message.content": "x" for number in range(10)})
    span.set_attributes(ANSWERED)
    span.end()
    call = events(session)["call"]
    assert (call["kind"], call["model"], call["tokens_in"]) == ("llm", "gpt-4o", 120)
    assert call["prompt"][0]["content"] == "how high is the tide?"


def test_hostile_attributes_and_names_break_nothing(session: Session, tracer: trace.Tracer) -> None:
    """Any span is recorded, and the program continues."""
    with tracer.start_as_current_span("\0 name \ud800") as span:
        span.set_attribute("openinference.span.kind", "LLM")
        span.set_attribute("llm.input_messages.0", "no message")
        span.set_attribute("llm.input_messages.0.message.role", "user")
        span.set_attribute("llm.token_count.prompt", "many")
        span.set_attribute("input.value", "[" * 5000)
    assert len(list(session.events)) == 1


def test_install_is_idempotent_and_makes_one_global_provider() -> None:
    """Two calls make one provider, one processor, no exporter, and a row for each span."""
    code = """
import localops, localops.otel
from opentelemetry import trace
provider = localops.otel.install()
assert localops.otel.install() is provider is trace.get_tracer_provider()
session = localops.init()
with trace.get_tracer("x").start_as_current_span("step"):
    pass
print([event["name"] for event in session.events], len(provider._active_span_processor._span_processors))
assert localops.otel.private_provider() is localops.otel.private_provider() is not provider
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stderr, done.stdout.strip()) == ("", "['step'] 1")


def test_install_adds_to_the_programs_own_provider(session: Session) -> None:
    """A provider that is passed gets one more processor, once, and keeps its own."""
    provider = TracerProvider()
    assert install(provider) is install(provider) is provider
    provider.get_tracer("x").start_span("step").end()
    assert [event["name"] for event in session.events] == ["step"]
    by_hand = TracerProvider()
    by_hand.add_span_processor(LocalopsSpanProcessor())
    install(by_hand)
    by_hand.add_span_processor(LocalopsSpanProcessor())  # even so
    by_hand.get_tracer("x").start_span("another").end()
    assert [event["name"] for event in session.events] == ["step", "another"]


def test_the_private_provider_is_not_the_global_one() -> None:
    """A program's own tracing stays as it is."""
    code = """
import localops.otel, sys
from opentelemetry import trace
localops.otel.private_provider()
assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_localops_alone_loads_nothing_of_it() -> None:
    """`import localops` and a whole run, the decorators and the way out: no OpenTelemetry."""
    code = (
        "import sys, localops\nwith localops.init() as session:\n    session.record(localops.ActionEvent())\n"
        "import localops.decorators, localops.otel.mapping\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_sdk_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "localops.otel.processor")
    with pytest.raises(localops.LocalopsError, match=r"localops\[otel\]"):
        install()


def test_an_error_on_its_way_out_is_recorded_once(session: Session, tracer: trace.Tracer) -> None:
    """Through spans beside each other, in the words of a framework; a second failure is a second error."""

    def fail(span: trace.Span, error: Exception) -> None:
        span.record_exception(error)
        span.set_status(trace.StatusCode.ERROR, str(error))

    with tracer.start_as_current_span("graph") as graph:
        for _ in range(2):
            node = tracer.start_span("node")
            with tracer.start_as_current_span("chain") as chain:
                with tracer.start_as_current_span("model") as model:
                    fail(model, ValueError("no answer"))
                fail(chain, TypeError("no answer"))
            fail(node, TypeError("no answer"))
            node.end()
        fail(graph, TypeError("no answer"))
    assert session.get_analytics()["Errors"] == 2
    assert [event["trigger"]["name"] for event in session.events if event["kind"] == "error"] == ["model"] * 2


def test_a_stream_that_is_left_is_no_error(session: Session, tracer: trace.Tracer) -> None:
    """After a loop that ends early, or a cancelled task, the call has ended, and counts once."""
    other = private_provider().get_tracer("a framework")
    for error in (GeneratorExit(), asyncio.CancelledError()):
        framework = other.start_span("framework", attributes=ASKED)
        tracer.start_span("client", attributes=ASKED).end()
        framework.record_exception(error)
        framework.set_status(trace.StatusCode.ERROR, str(error))
        framework.end()
    figures = session.get_analytics()
    assert (figures["LLM calls"], figures["Errors"]) == (2, 0)
    ended = [event.get("ended_by") for event in session.events if event["name"] == "framework"]
    assert ended == ["GeneratorExit", "CancelledError"]


def test_the_time_to_first_token_of_a_client_is_that_of_the_call_around_it(
    session: Session, tracer: trace.Tracer
) -> None:
    """Frameworks do not see the chunks of their client; it is measured from the start of the call that counts."""
    with tracer.start_as_current_span("framework", attributes=ASKED):
        time.sleep(0.05)
        with tracer.start_as_current_span("client", attributes=ASKED) as client:
            time.sleep(0.01)
            client.add_event("First Token Stream Event")
        time.sleep(0.02)
    outer, inner = events(session)["framework"], events(session)["client"]
    assert (outer["kind"], inner["kind"]) == ("llm", "llm_copy")
    between = (inner["start_ns"] - outer["start_ns"]) / 1e9
    assert outer["time_to_first_token"] == pytest.approx(between + inner["time_to_first_token"])
    assert 0.06 <= outer["time_to_first_token"] < (outer["end_ns"] - outer["start_ns"]) / 1e9
