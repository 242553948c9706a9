"""Log records that a hub takes: what a model call was about, and all others of a trace."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.server.hubs import RealHub, hub, wait_until
from tests.server.spans import (
    BOTH,
    CALL,
    T0,
    listed,
    log_request,
    new_trace,
    pairs,
    request,
    run_of,
    send,
    span,
    stored,
    taken,
)
from tests.test_otlp_import import attribute


def record(trace: str, id: int, name: str = "", *, at: int = 500, **more: Any) -> dict[str, Any]:
    """Return a log record of OTLP's JSON; `about` are its attributes, `body` its body."""
    body = {"body": _body(more.pop("body"))} if "body" in more else {}
    return {
        "traceId": trace,
        "spanId": f"{id:016x}",
        "timeUnixNano": str(T0 + at),
        **({"eventName": name} if name else {}),
        "attributes": pairs(more.pop("about", {})),
        **body,
        **more,
    }


def _body(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": _body(each)} for key, each in value.items()]}}
    return attribute(value)


def logged(there: RealHub, *log: dict[str, Any], kind: str) -> None:
    """Send log records that the hub takes all."""
    assert send(there, log_request(*log), kind)[:3] == (200, 0, "")


def _messages(trace: str, id: int) -> list[dict[str, Any]]:
    """Return the content of a call, as the conventions had it from 1.28 until 1.36."""
    answer = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "four metres"}}
    return [
        record(trace, id, "gen_ai.system.message", body={"content": "be brief"}),
        record(trace, id, about={"event.name": "gen_ai.user.message"}, body={"content": "how high is the tide?"}),
        record(trace, id, "gen_ai.choice", at=900, body=answer),
    ]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("first", ["logs", "spans"])
def test_the_content_of_a_call_joins_its_span(running: RealHub, kind: str, first: str) -> None:
    """Whichever arrives first while the trace waits: prompt and answer become those of the call."""
    trace = new_trace()
    spans = run_of(trace)
    if first == "spans":
        taken(running, *spans[:3], kind=kind)
    logged(running, *_messages(trace, 3), kind=kind)
    if first == "logs":
        taken(running, *spans[:3], kind=kind)
    taken(running, spans[3], kind=kind)
    made = stored(running, trace)
    assert sorted(row["kind"] for row in made) == ["agent", "error", "llm", "operation", "tool"]
    body = json.loads(next(row["body"] for row in made if row["kind"] == "llm"))
    assert [message["content"] for message in body["prompt"]] == ["be brief", "how high is the tide?"]
    assert "four metres" in json.dumps(body["completion"])


@pytest.mark.parametrize("kind", BOTH)
def test_the_newer_event_joins_as_well(running: RealHub, kind: str) -> None:
    """One record with all of it, from 1.37 on."""
    trace = new_trace()
    about = {
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "tide?"}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "ebb"}]}]),
    }
    logged(running, record(trace, 2, "gen_ai.client.inference.operation.details", about=about), kind=kind)
    taken(running, span(trace, 2, "chat gpt-4o", 1, about=CALL), span(trace, 1, "run"), kind=kind)
    [call] = [row for row in stored(running, trace) if row["kind"] == "llm"]
    body = json.loads(call["body"])
    assert body["prompt"][0]["parts"][0]["content"] == "tide?"
    assert body["completion"][0]["parts"][0]["content"] == "ebb"


@pytest.mark.parametrize("kind", BOTH)
def test_content_that_comes_late_is_an_event_in_its_span(tmp_path: Path, kind: str) -> None:
    """Stored rows do not change, so it has a row of its own there, once."""
    with hub(tmp_path) as there:
        trace = new_trace()
        taken(there, *run_of(trace), kind=kind)
        for _ in range(2):
            logged(there, *_messages(trace, 3), kind=kind)
        made = stored(there, trace)
        [call] = [row for row in made if row["kind"] == "llm"]
        late = [row for row in made if row["kind"] == "log"]
        assert sorted(row["name"] for row in late) == ["gen_ai.choice", "gen_ai.system.message", "gen_ai.user.message"]
        assert {row["parent"] for row in late} == {call["id"]}
        assert "how high is the tide?" in "".join(row["body"] for row in late)
        session = listed(there, trace)
        assert session is not None
        assert (session["llm_calls"], session["state"]) == (1, "Success")


@pytest.mark.parametrize("kind", BOTH)
def test_a_call_without_content_waits_for_it_where_records_have_it(tmp_path: Path, kind: str) -> None:
    """Once a project sends content as log records; sent again, they are known as a part of the call."""
    with hub(tmp_path, trace_wait=240.0) as there:
        logged(there, *_messages(new_trace(), 3), kind=kind)
        trace = new_trace()
        taken(there, *run_of(trace), kind=kind)
        assert stored(there, trace) == []
        for _ in range(2):
            logged(there, *_messages(trace, 3), kind=kind)
        taken(there, *run_of(trace), kind=kind)
        made = stored(there, trace)
        assert sorted(row["kind"] for row in made) == ["agent", "error", "llm", "operation", "tool"]
        assert "how high is the tide?" in next(row["body"] for row in made if row["kind"] == "llm")


@pytest.mark.parametrize("kind", BOTH)
def test_other_records_are_events_of_their_trace(running: RealHub, kind: str) -> None:
    """In the span that they name, in the session of their trace, with severity and attributes, and once."""
    trace = new_trace()
    name = f"s-{uuid.uuid4()}"
    warning = record(trace, 2, body="the buoy is adrift", about={"buoy": 7}, severityNumber=13)
    taken(running, span(trace, 2, "step", 1, about={"session.id": name}), kind=kind)
    logged(running, warning, warning, kind=kind)
    taken(running, span(trace, 1, "run"), kind=kind)
    logged(running, warning, record(trace, 2, "buoy.found", body={"at": "Brest"}, severityText="INFO"), kind=kind)
    everything = stored(running)
    [session] = {row["session"] for row in everything if f"conversation={name}" in (row["tags"] or "")}
    made = {row["name"]: row for row in everything if row["session"] == session}
    assert sorted(made) == ["WARN", "buoy.found", "run", "step"]
    assert made["WARN"]["parent"] == made["buoy.found"]["parent"] == made["step"]["id"]
    body = json.loads(made["WARN"]["body"])
    assert (body["message"], body["severity"], body["attributes"]) == ("the buoy is adrift", "WARN", {"buoy": 7})
    assert json.loads(made["buoy.found"]["body"])["message"] == {"at": "Brest"}


@pytest.mark.parametrize("kind", BOTH)
def test_records_without_a_trace_are_refused(running: RealHub, kind: str) -> None:
    """They belong to no session: the answer says how many, and the others are taken."""
    trace = new_trace()
    loose = {name: value for name, value in record(trace, 1, "x").items() if name not in ("traceId", "spanId")}
    timeless = record(trace, 1, "y") | {"timeUnixNano": "0"}
    reply = send(running, log_request(loose, timeless, record(trace, 1, "z")), kind)
    assert (reply.status, reply.refused) == (200, 2)
    assert "only records of a trace" in reply.message
    taken(running, span(trace, 1, "run"), kind=kind)
    assert sorted(row["name"] for row in stored(running, trace)) == ["run", "z"]


@pytest.mark.parametrize("kind", BOTH)
def test_a_trace_of_records_alone(tmp_path: Path, kind: str) -> None:
    """If no span arrives, the records become a session; a kill in between changes nothing."""
    with hub(tmp_path, trace_wait=0.5) as there:
        trace = new_trace()
        logged(there, *_messages(trace, 3), record(trace, 3, body="plain"), kind=kind)
        there.kill()
        there.start()
        wait_until(lambda: listed(there, trace))
        assert [row["kind"] for row in stored(there, trace)] == ["log"] * 4
        taken(there, *run_of(trace), kind=kind)
        session = listed(there, trace)
        assert session is not None
        assert (session["name"], session["llm_calls"], session["state"]) == ("a day at sea", 1, "Success")
        other, named = new_trace(), uuid.uuid4()
        logged(there, record(other, 1, "x", about={"session.id": str(named)}), kind=kind)
        wait_until(lambda: listed(there, named.hex))


def test_secrets_in_records_are_not_stored(running: RealHub) -> None:
    """Neither of bodies nor of attributes."""
    trace = new_trace()
    secret = "sk-proj-" + "a1B2c3D4" * 6
    log = record(trace, 1, body=f"use {secret}", about={"api_key": "hunter22hunter22"})
    assert send(running, log_request(log)).status == 200
    assert send(running, request(span(trace, 1, "run"))).status == 200
    [row] = [row for row in stored(running, trace) if row["kind"] == "log"]
    assert secret not in row["body"]
    assert "hunter22hunter22" not in row["body"]
