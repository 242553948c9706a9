"""Clients of AgentOps 0.4 on a hub: tokens, printed text, and reads of traces."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from typing import Any

import pytest

from localops.server.intake import tokens
from localops.server.keys import Keys
from tests.server.agentops_clients import Client
from tests.server.hubs import RealHub


def _post(running: RealHub, path: str, body: object, token: str = "", **headers: str) -> tuple[int, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return running.ask("POST", path, data, key=token, headers={"Content-Type": "application/json", **sent})


def _token(running: RealHub) -> str:
    status, reply = _post(running, "/v3/auth/token", {"api_key": running.key})
    assert status == 200, reply
    return str(reply["token"])


def test_a_key_gets_a_token_for_its_project(running: RealHub) -> None:
    """Clients print an offer unless the plan is pro."""
    status, reply = _post(running, "/v3/auth/token", {"api_key": running.key.upper()})
    assert (status, reply["project_id"], reply["project_prem_status"]) == (200, "default", "pro")
    status, reply = running.ask("GET", "/v3/auth/token", key=reply["token"])
    assert (status, reply["payload"]["aud"]) == (200, "authenticated")
    assert reply["expires_at"].startswith("20")
    assert running.ask("GET", "/v3/auth/token")[0] == 401


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v3/auth/token", {"api_key": "x"}, 400, "Invalid API key format"),
        ("/v3/auth/token", {"api_key": 5}, 400, "Invalid API key format"),
        ("/v3/auth/token", {"api_key": "1b1269e5-3c5a-4931-aaa2-b2a418525259"}, 403, "Invalid API Key"),
        ("/v3/auth/token", {}, 422, "invalid body"),
        ("/v3/auth/token", b"{", 400, "invalid body"),
        ("/v3/auth/token", {"api_key": "x" * 5_000}, 413, "the body is too large"),
        ("/public/v1/auth/access_token", {"api_key": "1b1269e5-3c5a-4931-aaa2-b2a418525259"}, 404, "Invalid API Key"),
    ],
)
def test_no_other_key_gets_one(running: RealHub, path: str, body: object, status: int, message: str) -> None:
    """The error is where clients look for it."""
    answered, reply = _post(running, path, body)
    assert (answered, reply["error"].startswith(message)) == (status, True)


def test_what_a_program_printed_is_stored_with_its_trace(running: RealHub) -> None:
    """Under the session with the id of the trace, which the client sends as a decimal number; once."""
    trace, text = uuid.uuid4(), "2026-11-29 12:00:00,000 - INFO - hello\n"
    for _ in range(2):
        status, reply = _post(running, "/v4/logs/upload/", {"body": text}, _token(running), Trace_Id=str(trace.int))
        assert (status, reply["size"]) == (200, len(text))
        assert reply["url"] == f"{running.url}/s/{trace}"
    (event,) = running.ask("GET", f"/api/1/sessions/{trace}/events")[1]["events"]
    assert (event["kind"], event["name"], event["logs"]) == ("agentops", "logs", text)


def test_an_object_is_kept(running: RealHub) -> None:
    """A text that the program keeps is beside the log of its session; once."""
    trace = uuid.uuid4()
    for address in ("logs", "objects", "objects"):
        reply = _post(running, f"/v4/{address}/upload/", {"body": "x"}, _token(running), Trace_Id=str(trace.int))
        assert reply == (200, {"url": f"{running.url}/s/{trace}", "size": 1})
    events = running.ask("GET", f"/api/1/sessions/{trace}/events")[1]["events"]
    assert sorted((each["name"], each.get("object")) for each in events) == [("logs", None), ("object", "x")]


def test_a_long_text_becomes_a_blob(running: RealHub) -> None:
    """More than a megabyte is kept in a file, and up to 25 are taken."""
    trace, text = uuid.uuid4(), "x" * (9 << 20)
    status, reply = _post(running, "/v4/logs/upload/", {"body": text}, _token(running), Trace_Id=str(trace.int))
    assert (status, reply["size"]) == (200, len(text))
    (event,) = running.ask("GET", f"/api/1/sessions/{trace}/events")[1]["events"]
    assert event["logs"]["$len"] == len(text)
    status, reply = _post(running, "/v4/logs/upload/", {"body": "x" * (26 << 20)}, _token(running), Trace_Id="7")
    assert (status, "too large" in reply["error"]) == (413, True)


@pytest.mark.parametrize("trace", ["", "x", "0", "-1", "9" * 39, "9" * 400])
def test_a_text_needs_a_trace(running: RealHub, trace: str) -> None:
    """Without one it has no session."""
    assert _post(running, "/v4/logs/upload/", {"body": "x"}, _token(running), Trace_Id=trace)[0] == 400
    assert _post(running, "/v4/logs/upload/", {"body": 5}, _token(running), Trace_Id="7")[0] == 400
    assert _post(running, "/v4/logs/upload/", {"body": "x"}, Trace_Id="7")[0] == 401


def test_metrics_are_dropped(running: RealHub) -> None:
    """With or without a token, as the client sends them before it has one."""
    for media, body in (("application/x-protobuf", b""), ("application/json", b"{}")):
        request = urllib.request.Request(running.url + "/v1/metrics", b"\x0a\x00", {"Content-Type": media})
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert (reply.status, reply.read(), reply.headers["Content-Type"]) == (200, body, media)


def test_a_session_is_read_as_a_trace(running: RealHub) -> None:
    """Its spans and its figures, as validate_trace_spans looks for them."""
    client = Client(running, tags=("a",)).begin()
    tool = client.tool()
    client.events(client.call(), tool, client.error())
    status, reply = _post(running, "/public/v1/auth/access_token", {"api_key": running.key})
    assert status == 200
    bearer, trace = reply["bearer"], client.session.replace("-", "")
    status, reply = running.ask("GET", f"/public/v1/traces/{trace}", key=bearer)
    assert (status, reply["trace_id"], reply["tags"]) == (200, trace, ["a"])
    kinds = {each["span_name"]: each["span_attributes"]["agentops"]["span"]["kind"] for each in reply["spans"]}
    assert kinds == {"gpt-4o": "llm", "search": "tool", "ValueError": "error"}
    assert reply["spans"][0]["duration"] == 500_000_000
    status, reply = running.ask("GET", f"/public/v1/traces/{trace}/metrics", key=bearer)
    assert (reply["span_count"], reply["total_tokens"], reply["total_cost"]) == (3, 2000, "0.0125000")
    assert running.ask("GET", "/public/v1/project", key=bearer)[1]["name"] == "default"
    assert running.ask("GET", f"/public/v1/traces/{uuid.uuid4().hex}", key=bearer)[0] == 404
    assert running.ask("GET", "/public/v1/traces/x", key=bearer)[0] == 404


def test_a_token_of_a_project_lasts_a_month(running: RealHub) -> None:
    """Clients get one when they start, and never another."""
    key = Keys(str(running.data)).find(running.key)
    assert key is not None
    for days, status in ((29, 200), (31, 401)):
        token = tokens.issue(key, time.time() - days * 86_400, tokens.PROJECT_LIFE, project_id="default")
        assert running.ask("GET", "/public/v1/project", key=token)[0] == status


def test_a_token_has_the_scopes_of_its_key(running: RealHub) -> None:
    """One that only reads does not send, and the reverse."""
    keys = Keys(str(running.data))
    reader, sender = keys.create("default", scopes=["read"]), keys.create("default", scopes=["send"])
    for secret, read, send in ((reader, 200, 403), (sender, 403, 200)):
        token = _post(running, "/v3/auth/token", {"api_key": secret})[1]["token"]
        assert running.ask("GET", "/public/v1/project", key=token)[0] == read
        assert _post(running, "/v4/logs/upload/", {"body": "x"}, token, Trace_Id="7")[0] == send


def _span(trace: uuid.UUID, id: str, name: str, parent: str, attributes: dict[str, Any]) -> dict[str, Any]:
    values = {
        key: {"arrayValue": {"values": [{"stringValue": each} for each in value]}}
        if isinstance(value, list)
        else {"stringValue": value}
        for key, value in attributes.items()
    }
    began = 1_790_000_000_000_000_000 + 1_000_000 * int(id)
    return {
        "traceId": trace.hex,
        "spanId": id * 16,
        "parentSpanId": parent * 16,
        "name": name,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + 9_000_000),
        "attributes": [{"key": key, "value": value} for key, value in values.items()],
    }


def _spans(trace: uuid.UUID, *spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "agentops.project.id", "value": {"stringValue": "temporary"}}]}
    scoped = {"scope": {"name": "agentops"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scoped]}]}


@pytest.mark.parametrize("root_is_late", [False, True])
def test_its_spans_are_taken_with_the_token(running: RealHub, root_is_late: bool) -> None:
    """A trace is a session, whose tags and end are those of its root; the project is that of the token."""
    trace = uuid.uuid4()
    of_root = {"agentops.span.kind": "session", "agentops.tags": ["a", "b"], "agentops.session.end_state": "Fail"}
    root = _span(trace, "1", "run.session", "", of_root)
    task = _span(trace, "2", "work.task", "1", {"agentops.span.kind": "task"})
    for part in ([task], [root]) if root_is_late else ([task, root],):
        for _ in range(2):
            assert _post(running, "/v1/traces", _spans(trace, *part), _token(running))[0] == 200
    assert _post(running, "/v1/traces", _spans(trace, root))[0] == 401
    _post(running, "/v4/logs/upload/", {"body": "printed"}, _token(running), Trace_Id=str(trace.int))
    stored = running.ask("GET", f"/api/1/sessions/{trace}")[1]
    assert (stored["project"], stored["name"], stored["state"]) == ("default", "run.session", "Failure")
    assert (stored["tags"], stored["events"]) == (["a", "b"], 3)
    spans = running.ask("GET", f"/public/v1/traces/{trace.hex}", key=_token(running))[1]["spans"]
    assert {each["span_id"] for each in spans} >= {"1" * 16, "2" * 16}
