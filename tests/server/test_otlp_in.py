"""Spans that programs and collectors send to a hub: each finds its place, and is stored once."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import threading
import time
import uuid
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from localops.coding.recording import Project
from localops.config import Config
from localops.otlp.importing import take
from tests.server import hubs
from tests.server.hubs import RealHub, hub, wait_until
from tests.server.spans import (
    BOTH,
    CALL,
    JSON,
    PROTOBUF,
    T0,
    listed,
    new_trace,
    request,
    run_of,
    send,
    span,
    stored,
    taken,
)


@pytest.mark.parametrize("kind", BOTH)
def test_an_exporter_needs_the_address_and_the_key(running: RealHub, kind: str, monkeypatch: Any) -> None:
    """The SDK's own processor and exporter, in protobuf; what it sends becomes a session while the program runs."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    packed = {PROTOBUF: Compression.Gzip, JSON: Compression.NoCompression}[kind]
    provider = TracerProvider(resource=Resource({"service.name": "harbour", "host.name": "pilot"}))
    exporter = OTLPSpanExporter(
        endpoint=f"{running.url}/v1/traces", headers={"Authorization": f"Bearer {running.key}"}, compression=packed
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("openinference.instrumentation.openai", "1.2")
    call_of: dict[str, Any] = CALL
    agent_of = {"gen_ai.operation.name": "invoke_agent"}
    with tracer.start_as_current_span("a day at sea") as root:
        with (
            tracer.start_as_current_span("invoke_agent Pilot", attributes=agent_of),
            tracer.start_as_current_span("chat gpt-4o", attributes=call_of),
        ):
            pass
        provider.force_flush()
    provider.shutdown()
    trace = f"{root.get_span_context().trace_id:032x}"
    session = listed(running, trace)
    assert session is not None
    assert (session["name"], session["state"], session["llm_calls"]) == ("a day at sea", "Indeterminate", 1)
    assert (session["cost_nano"], session["tags"], session["host"]) == (3_000_000, ["service=harbour"], "pilot")
    call, agent, whole = (
        next(r for r in stored(running, trace) if r["kind"] == k) for k in ("llm", "agent", "operation")
    )
    assert (call["parent"], call["agent"], agent["parent"]) == (agent["id"], agent["id"], whole["id"])
    assert json.loads(whole["body"])["scope_version"] == "1.2"


@pytest.mark.parametrize("kind", BOTH)
def test_whatever_the_order_it_is_what_an_import_of_a_file_makes(running: RealHub, kind: str, tmp_path: Path) -> None:
    """Each span is in its own request; if the root arrives last, rows are identical, otherwise except for the agent."""
    trace = new_trace()
    file = tmp_path / "traces.json"
    file.write_text(json.dumps(request(*run_of(trace))))
    project = Project(Config(home=str(tmp_path / "home")))
    take(project, str(file))
    names = "id, phase, session, kind, name, parent, agent, at_ns, start_ns, model, tokens_in, cost, failed, tags, body"
    ask = f"select {names} from event where kind not in ('end', 'journal')"
    whole = {row[0]: row for row in project.journal._file.ask(ask, {})}
    project.journal.close()
    for order in itertools.permutations(range(4)):
        other = new_trace()
        spans = run_of(other)
        for number in order:
            taken(running, spans[number], kind=kind)
        made = stored(running, other)
        assert sorted(row["kind"] for row in made) == ["agent", "error", "llm", "operation", "tool"]
        work = {row["kind"]: row for row in made}
        assert work["llm"]["parent"] == work["tool"]["parent"] == work["agent"]["id"]
        assert work["error"]["parent"] == work["tool"]["id"]
        assert work["agent"]["parent"] == work["operation"]["id"]
        if order[-1] == 3:
            assert work["llm"]["agent"] == work["tool"]["agent"] == work["agent"]["id"]
        session = listed(running, other)
        assert session is not None
        assert (session["name"], session["state"], session["cost_nano"]) == ("a day at sea", "Success", 3_000_000)
    taken(running, *run_of(trace), kind=kind)
    columns = [name.strip() for name in names.split(",")]
    here = {
        row["id"]: tuple(row[name] for name in columns)
        for row in stored(running, trace, books=True)
        if row["kind"] != "end"
    }
    assert here == whole


@pytest.mark.parametrize("kind", BOTH)
def test_traces_of_one_session_are_one_whichever_span_says_so(running: RealHub, kind: str) -> None:
    """By session.id of the root, which arrives last, or by the conversation of a call; later spans need neither."""
    name = f"s-{uuid.uuid4()}"
    first, second, third = new_trace(), new_trace(), new_trace()
    taken(running, *run_of(first)[:3], kind=kind)
    assert stored(running, first) == []
    taken(running, span(first, 1, "first turn", took=5_000, about={"session.id": name}), kind=kind)
    taken(running, span(second, 1, "second turn", start=9_000, about={"session.id": name}), kind=kind)
    taken(running, span(second, 7, "late", 1, start=9_100), kind=kind)
    taken(running, span(third, 1, "alone"), kind=kind)
    session = {row["session"] for row in stored(running) if f"conversation={name}" in (row["tags"] or "")}
    assert len(session) == 1
    [together] = session
    rows = stored(running, together.hex())
    assert sorted(row["name"] for row in rows if row["kind"] == "operation") == ["first turn", "late", "second turn"]
    facts = listed(running, together.hex())
    assert facts is not None
    assert (facts["name"], facts["llm_calls"], facts["tool_calls"]) == ("first turn", 1, 1)
    assert stored(running, first) == stored(running, second) == []
    assert [row["name"] for row in stored(running, third)] == ["alone"]


def test_the_same_span_id_in_two_traces_is_two(running: RealHub) -> None:
    """Ids of spans are unique within their trace only."""
    one, other = new_trace(), new_trace()
    taken(running, span(one, 1), span(other, 1))
    assert len(stored(running, one)) == len(stored(running, other)) == 1


@pytest.mark.parametrize("kind", BOTH)
def test_a_span_that_comes_again_is_stored_once(tmp_path: Path, kind: str) -> None:
    """In the same request, another one, eight at the same time, and after a restart; while it waits and after."""
    with hub(tmp_path) as there:
        trace = new_trace()
        spans = run_of(trace)
        taken(there, *spans[:2], *spans[:2], kind=kind)
        taken(there, *spans[1:3], kind=kind)
        there.stop()
        there.start()
        taken(there, *spans[:3], kind=kind)
        replies: list[int] = []

        def again() -> None:
            replies.append(send(there, request(*spans), kind).status)

        threads = [threading.Thread(target=again) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(replies) <= {200, 429}
        taken(there, *spans, kind=kind)
        there.kill()
        there.start()
        taken(there, *spans, kind=kind)
        taken(there, *reversed(spans), kind=kind)
        assert sorted(row["kind"] for row in stored(there, trace)) == ["agent", "error", "llm", "operation", "tool"]
        assert [row["kind"] for row in stored(there, trace, books=True)].count("end") == 1


@pytest.mark.parametrize("kind", BOTH)
def test_of_two_spans_with_one_identity_the_first_stays(running: RealHub, kind: str) -> None:
    """The other is refused, and the answer says so: while the trace waits, and when it is stored."""
    trace = new_trace()
    taken(running, span(trace, 2, "first", 1, about={"x": 1}), kind=kind)
    reply = send(running, request(span(trace, 2, "other", 1), span(trace, 1, "run")), kind)
    assert (reply.status, reply.refused) == (200, 1)
    assert "another span is stored here" in reply.message
    for other in (span(trace, 2, "other", 1, about={"x": 1}), span(trace, 2, "first", 1, about={"x": 2})):
        reply = send(running, request(other), kind)
        assert (reply.status, reply.refused) == (200, 1)
    taken(running, span(trace, 2, "first", 1, about={"x": 1}), kind=kind)
    assert sorted(row["name"] for row in stored(running, trace)) == ["first", "run"]


def test_a_root_that_never_comes(tmp_path: Path) -> None:
    """After the wait its spans become a session; if the root arrives later, it names and ends that."""
    with hub(tmp_path, trace_wait=0.5) as there:
        trace = new_trace()
        spans = run_of(trace)
        taken(there, spans[0])
        wait_until(lambda: listed(there, trace))
        session = listed(there, trace)
        assert session is not None
        assert (session["name"], session["state"], session["llm_calls"]) == ("harbour", "Unknown", 1)
        assert os.listdir(there.folder / "waiting") == []
        there.stop()
        there.start()
        # The span around a call that counts already, in the words of a framework, and its error.
        outer = {**CALL, "gen_ai.response.id": "another"}
        taken(there, span(trace, 2, "ChatOpenAI", 1, about=outer), spans[1], spans[3])
        session = listed(there, trace)
        assert session is not None
        assert (session["name"], session["state"]) == ("a day at sea", "Success")
        assert (session["llm_calls"], session["tool_calls"], session["errors"]) == (1, 1, 1)
        assert session["cost_nano"] == 3_000_000


def test_what_waits_outlives_a_kill(tmp_path: Path) -> None:
    """A span that was acknowledged is kept, also where its trace is not complete, and later ones find it."""
    with hub(tmp_path) as there:
        trace = new_trace()
        spans = run_of(trace)
        taken(there, *spans[:2])
        assert stored(there, trace) == []
        there.kill()
        there.start()
        taken(there, *spans[2:])
        assert sorted(row["kind"] for row in stored(there, trace)) == ["agent", "error", "llm", "operation", "tool"]
        work = {row["kind"]: row for row in stored(there, trace)}
        assert work["llm"]["agent"] == work["agent"]["id"]
        assert os.listdir(there.folder / "waiting") == []


def test_a_kill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Senders repeat what was not acknowledged, while the hub is killed and started again and again."""
    with hub(tmp_path, "default", "--rate", "100000") as there:
        traces = [new_trace() for _ in range(36)]
        threads = [threading.Thread(target=_deliver, args=(there, traces[number::3])) for number in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            time.sleep(0.4)
            there.kill()
            there.start()
        for thread in threads:
            thread.join()
        kinds = ["agent", "error", "llm", "operation", "tool"]
        for trace in traces:
            assert sorted(row["kind"] for row in stored(there, trace)) == kinds
            session = listed(there, trace)
            assert session is not None
            assert (session["state"], session["cost_nano"]) == ("Success", 3_000_000)


def _deliver(there: RealHub, traces: list[str]) -> None:
    """Send the spans of traces in two parts each, until the hub acknowledges them."""
    for trace in traces:
        spans = run_of(trace)
        for part in (spans[:2], spans[2:]):
            while not _is_taken(there, part):
                time.sleep(0.02)


def _is_taken(there: RealHub, spans: list[dict[str, Any]]) -> bool:
    try:
        return send(there, request(*spans)).status == 200
    except (OSError, HTTPException):
        return False


def test_keys_do_not_see_each_others_spans(running: RealHub) -> None:
    """The same trace in two projects is two sessions; a key for one has nothing of the other."""
    other = running.new_key("other")
    trace = new_trace()
    spans = run_of(trace)
    taken(running, *spans[:3])
    taken(running, *spans, key=other)
    assert listed(running, trace) is None
    assert listed(running, trace, key=other) is not None
    assert stored(running, trace) == []
    taken(running, spans[3])
    assert len(stored(running, trace)) == len(stored(running, trace, project="other")) == 5
    assert send(running, request(*spans), key="8d7a9f6e-2f54-4d0b-9f0c-6c1f2a1d7e55").status == 401


def test_a_session_that_was_deleted_stays_away(tmp_path: Path) -> None:
    """Its spans are taken and not stored, as its rows are."""
    from localops.server.home_store import HomeStore

    with hub(tmp_path) as there:
        trace = new_trace()
        taken(there, *run_of(trace))
        store = HomeStore(str(there.data))
        assert store.delete(there.project, bytes.fromhex(trace))
        store.close()
        taken(there, *run_of(trace))
        taken(there, span(trace, 9, "late", 1))
        assert listed(there, trace) is None
        assert stored(there, trace) == []


def test_secrets_are_not_stored(running: RealHub) -> None:
    """Programs that send spans know nothing of our redaction."""
    trace = new_trace()
    secret = "sk-proj-" + "a1B2c3D4" * 6
    messages = json.dumps([{"role": "user", "content": f"use {secret}"}])
    about = {**CALL, "gen_ai.input.messages": messages, "api_key": "hunter22hunter22"}
    taken(running, span(trace, 2, "chat gpt-4o", 1, about=about))
    reply = send(running, request(span(trace, 1, "run", about={"note": secret}), resource={"note": secret}))
    assert (reply.status, reply.refused) == (200, 0)
    every = stored(running, trace, books=True)
    assert len(every) == 4
    assert not any(text in str(row) for row in every for text in (secret, "hunter22hunter22"))


def test_what_waits_is_redacted_and_read_again(tmp_path: Path) -> None:
    """The file of a trace that waits has no secret, and is enough after a restart."""
    with hub(tmp_path) as there:
        trace = new_trace()
        secret = "sk-proj-" + "a1B2c3D4" * 6
        spans = run_of(trace)
        spans[0]["attributes"] += [{"key": "note", "value": {"stringValue": f"it is {secret}"}}]
        taken(there, *spans[:3])
        [path] = (there.folder / "waiting").glob("*.jsonl")
        assert secret.encode() not in path.read_bytes()
        assert os.stat(path).st_mode & 0o077 == 0
        there.kill()
        there.start()
        taken(there, spans[3])
        work = {row["kind"]: row for row in stored(there, trace)}
        assert sorted(work) == ["agent", "error", "llm", "operation", "tool"]
        assert secret not in work["llm"]["body"]
        assert "it is" in work["llm"]["body"]


def test_a_large_value_becomes_a_file(running: RealHub) -> None:
    """As any other value over 1 MiB."""
    trace = new_trace()
    text = "tide " * 500_000
    body = gzip.compress(json.dumps(request(span(trace, 1, "run", about={"big": text}))).encode())
    reply = send(running, body, JSON, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.refused) == (200, 0)
    [row] = stored(running, trace)
    value = json.loads(row["body"])["attributes"]["big"]
    assert (running.folder / "blobs" / value["$blob"][:2] / value["$blob"]).exists()


def test_without_opentelemetry_a_hub_takes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And answers protobuf with what to install."""
    package = tmp_path / "none" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setattr(hubs, "PATH", f"{package.parent}{os.pathsep}{hubs.PATH}")
    with RealHub(tmp_path, whole=True) as there:
        reply = send(there, request(span(new_trace(), 1)), PROTOBUF)
        assert (reply.status, reply.refused) == (415, 3)
        assert "pip install 'localops[ui]'" in reply.message
        trace = new_trace()
        taken(there, span(trace, 1), kind=JSON)
        assert len(stored(there, trace)) == 1


def test_a_failed_run_says_why(running: RealHub) -> None:
    """The end of a session is what its root states, with its message."""
    trace = new_trace()
    taken(running, span(trace, 1, "run", status={"code": 2, "message": "no tide"}))
    session = listed(running, trace)
    assert session is not None
    assert (session["state"], session["reason"]) == ("Failure", "no tide")
    [end] = [row for row in stored(running, trace, books=True) if row["kind"] == "end"]
    assert end["at_ns"] == T0 + 1_000
