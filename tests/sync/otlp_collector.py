"""A back end for traces on the loopback address, a sink that sends to it, and runs to send."""

from __future__ import annotations

import base64
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

import localops
from localops import clock, decorators
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer import delivery
from localops.transfer.bundle import Ack, Batch
from localops.transfer.remotes import Remote
from localops_sync.budget import PassBudget
from localops_sync.sinks import open_sink
from localops_sync.sinks.otlp import Otlp
from localops_sync.transport import Transport

KEY = "11111111-1111-4111-8111-111111111111"
PROTOBUF = "application/x-protobuf"
Answer = tuple[int, str | None, bytes]
TAKEN: Answer = (200, PROTOBUF, b"")


class Collector:
    """A back end on loopback: stores what it receives, and answers as the test requests."""

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
        """Every received span, in order."""
        return [
            span
            for path, headers, body in self.requests
            if path.endswith("/v1/traces")
            for resource in decoded(headers, body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self, name: str) -> Any:
        """Return the only span of that name."""
        [span] = [span for span in self.spans() if span.name == name]
        return span


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


def decoded(headers: dict[str, str], body: bytes) -> Any:
    """Return the request of a body in either form."""
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


def attributes(of: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource as Python values."""

    def value(actual: Any) -> Any:
        which = actual.WhichOneof("value")
        return [value(each) for each in actual.array_value.values] if which == "array_value" else getattr(actual, which)

    assert len({pair.key for pair in of.attributes}) == len(of.attributes), "an attribute is there twice"
    return {pair.key: value(pair.value) for pair in of.attributes}


def record_run() -> localops.Session:
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


def record_finished() -> None:
    """Record a session of one row that is a span."""
    session = clock.new_id()
    with open_journal() as journal:
        journal.add([rows.make("end", session, id=clock.new_id(), at_ns=clock.now_ns(), name="Success")])


def open_journal() -> Any:
    """Open the journal of this test, to be closed by `with`."""
    from contextlib import closing

    return closing(Journal(os.path.join(os.environ["LOCALOPS_HOME"], "default")))


class NoRows:
    """A journal without other rows."""

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return no rows."""
        return []

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        """Return no row."""
        return None


def partial_reply(rejected: int, message: str = "") -> bytes:
    """Return an answer that rejects so many spans."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


def is_check(headers: dict[str, str], body: bytes) -> bool:
    """Return whether a request is the span without a row, which tells bad rows from a wrong configuration."""
    [*spans] = [s for r in decoded(headers, body).resource_spans for scope in r.scope_spans for s in scope.spans]
    return [span.name for span in spans] == ["localops check"]


def token_or_taken(path: str, headers: dict[str, str], body: bytes) -> Answer:
    """Answer as AgentOps' cloud does that gives a token and takes every span."""
    return (200, "application/json", b'{"token":"t"}') if path == "/v3/auth/token" else TAKEN
