"""Back ends find the kind, the session, the user, inputs, outputs and failures where they look for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import localops
from localops import decorators
from localops.otlp import semconv
from tests.sync.otlp_collector import Collector, Sending, attributes, record_run

_TELLING = {"chat": "LLM", "execute_tool": "TOOL", "invoke_agent": "AGENT", "create_agent": "AGENT"}


def _reader_kind(span: Any) -> str | None:
    """The kind that a reader of OpenInference gives a span, from its own word or the operation."""
    actual = attributes(span)
    assert not {"openinference.span.kind", "gen_ai.operation.name"} <= actual.keys() or "workflow" in span.name
    return actual.get("openinference.span.kind") or _TELLING.get(actual.get("gen_ai.operation.name", ""))


def test_every_span_has_a_kind_and_a_session(collector: Collector) -> None:
    """If the operation does not show the kind, the attribute of OpenInference does; each span has its session."""
    session = record_run()

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
    assert {attributes(span)["session.id"] for span in collector.spans()} == {
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
    spans = [(span.name, attributes(span)) for span in collector.spans()]
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
        actual = attributes(collector.span(name))
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
        assert attributes(span)["error.type"] == "LookupError"
        [moment] = span.events
        assert moment.name == "exception"
        assert attributes(moment)["exception.message"] == "nothing there"
    assert "exception.stacktrace" in attributes(failed.events[0])
    assert "exception.stacktrace" not in attributes(around.events[0])
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
