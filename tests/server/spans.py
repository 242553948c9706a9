"""Spans and log records for a hub: requests of OTLP in both encodings, and what became of them."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from localops.journal import rows
from localops.journal.reader import Reader
from tests.server.hubs import RealHub
from tests.test_otlp_import import attribute

PROTOBUF, JSON = "application/x-protobuf", "application/json"
BOTH = (PROTOBUF, JSON)
T0 = 1_790_000_000_000_000_000
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 50,
}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Pilot"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "tides"}
_IDS = {"traceId", "spanId", "parentSpanId"}


def new_trace() -> str:
    """Return the id of a trace, in hex."""
    return uuid.uuid4().hex


def span(
    trace: str, id: int, name: str = "step", parent: int = 0, *, start: int = 0, took: int = 1_000, **more: Any
) -> dict[str, Any]:
    """Return a span of OTLP's JSON; `about` are its attributes."""
    about = more.pop("about", {})
    return {
        "traceId": trace,
        "spanId": f"{id:016x}",
        **({"parentSpanId": f"{parent:016x}"} if parent else {}),
        "name": name,
        "startTimeUnixNano": str(T0 + start),
        "endTimeUnixNano": str(T0 + start + took),
        "attributes": pairs(about),
        **more,
    }


def pairs(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP's JSON has them."""
    return [{"key": key, "value": attribute(value)} for key, value in about.items()]


def run_of(trace: str, *, root: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the spans of an agent's run, in the order in which they end; `root` are attributes of the last one."""
    return [
        span(trace, 3, "chat gpt-4o", 2, start=200, about={**CALL, "gen_ai.response.id": f"r-{trace}"}),
        span(trace, 4, "execute_tool tides", 2, start=1_500, took=10, about=TOOL, status={"code": 2, "message": "ebb"}),
        span(trace, 2, "invoke_agent Pilot", 1, start=100, took=2_000, about=AGENT),
        span(trace, 1, "a day at sea", took=5_000, status={"code": 1}, about=root or {}),
    ]


def request(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a request with these spans."""
    scope = {"name": "openinference.instrumentation.openai"}
    about = {"attributes": pairs({"service.name": "harbour", **(resource or {})})}
    return {"resourceSpans": [{"resource": about, "scopeSpans": [{"scope": scope, "spans": list(spans)}]}]}


def log_request(*log: dict[str, Any]) -> dict[str, Any]:
    """Return a request with these log records."""
    about = {"attributes": pairs({"service.name": "harbour"})}
    return {"resourceLogs": [{"resource": about, "scopeLogs": [{"scope": {"name": "s"}, "logRecords": list(log)}]}]}


def encoded(document: dict[str, Any], kind: str) -> bytes:
    """Return a request as the body that a client sends."""
    if kind == JSON:
        return json.dumps(document).encode()
    is_log = "resourceLogs" in document
    message: Any = (
        logs_service_pb2.ExportLogsServiceRequest() if is_log else trace_service_pb2.ExportTraceServiceRequest()
    )
    return bytes(ParseDict(_in_base64(document), message).SerializeToString())


def _in_base64(value: Any) -> Any:
    """Return a document with its ids as the JSON of protobuf has them, which is not how OTLP writes them."""
    if isinstance(value, list):
        return [_in_base64(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode() if key in _IDS else _in_base64(each)
        for key, each in value.items()
    }


class Reply(NamedTuple):
    """The answer of a hub."""

    status: int
    refused: int  # or the code of an error
    message: str
    headers: dict[str, str]


def send(
    hub: RealHub,
    body: bytes | dict[str, Any],
    kind: str = PROTOBUF,
    *,
    path: str = "",
    key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send a request, and return what the hub answers, which has the encoding of the request."""
    signal = "logs" if isinstance(body, dict) and "resourceLogs" in body else "traces"
    data = encoded(body, kind) if isinstance(body, dict) else body
    sent = {"Authorization": f"Bearer {hub.key if key is None else key}", "Content-Type": kind, **(headers or {})}
    asked = urllib.request.Request(hub.url + (path or f"/v1/{signal}"), data, sent, method="POST")
    try:
        with urllib.request.urlopen(asked, timeout=60) as reply:
            status, answer, about = reply.status, reply.read(), dict(reply.headers)
    except urllib.error.HTTPError as error:
        with error:
            status, answer, about = error.code, error.read(), dict(error.headers)
    about = {name.lower(): value for name, value in about.items()}
    if about["content-type"] == JSON:
        facts = json.loads(answer)
        part = facts.get("partialSuccess", {}) if status == 200 else facts
        names = ("rejectedSpans", "rejectedLogRecords", "code")
        return Reply(
            status,
            int(next((part[name] for name in names if name in part), 0)),
            part.get("errorMessage", part.get("message", "")),
            about,
        )
    assert about["content-type"] == PROTOBUF
    if status == 200:
        partial = trace_service_pb2.ExportTraceServiceResponse.FromString(answer).partial_success
    else:
        # google.rpc.Status begins with the same two fields.
        partial = trace_service_pb2.ExportTracePartialSuccess.FromString(answer)
    return Reply(status, partial.rejected_spans, partial.error_message, about)


def taken(hub: RealHub, *spans: dict[str, Any], kind: str = PROTOBUF, **options: Any) -> None:
    """Send spans that the hub takes all."""
    reply = send(hub, request(*spans), kind, **options)
    assert (reply.status, reply.refused, reply.message) == (200, 0, "")


def stored(hub: RealHub, *traces: str, project: str | None = None, books: bool = False) -> list[dict[str, Any]]:
    """Return the rows of traces' sessions (of all without any), in the order of their times."""
    path = hub.data / (project or hub.project) / "journal.db"
    with Reader(str(path)) as reader:
        every = reader.ask(f"select {', '.join(rows.COLUMNS)} from event order by at_ns, seq")
    named = [dict(zip(rows.COLUMNS, row, strict=True)) for row in every]
    sessions = {bytes.fromhex(trace) for trace in traces}
    return [
        row for row in named if (not traces or row["session"] in sessions) and (books or row["kind"] not in rows.BOOKS)
    ]


def listed(hub: RealHub, session: str, **options: Any) -> dict[str, Any] | None:
    """Return a session as the hub lists it."""
    status, facts = hub.ask("GET", f"/api/1/sessions/{uuid.UUID(session)}", **options)
    assert status in (200, 404)
    return dict(facts) if status == 200 else None
