"""Where requests go and with which key, and which answers count as a receipt."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

import localops
from localops.errors import ConfigError
from localops.transfer import bundle
from localops.transfer.remotes import Remote
from localops_sync import exit_codes, worker
from localops_sync.sink import Blocked, Offline, Refused, TooLarge
from tests.sync.otlp_collector import (
    KEY,
    PROTOBUF,
    TAKEN,
    Answer,
    Collector,
    Sending,
    is_check,
    partial_reply,
    record_finished,
)


@pytest.mark.parametrize("path", ["", "/", "/otel", "/v1/traces", "/otel/v1/traces/"])
def test_the_path_is_added_where_it_is_missing(collector: Collector, path: str) -> None:
    """The address of a back end, and that of its traces, are both accepted."""
    record_finished()
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
    record_finished()
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
    record_finished()
    with pytest.raises(ConfigError):
        Sending(collector, options=options)


def test_a_missing_extra_is_reported_and_json_works_without_it(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protobuf needs a package: an error names it, and the option that does without."""
    record_finished()
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.trace.v1", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    with Sending(collector) as sending, pytest.raises(Blocked, match=r"localops\[otel\].*protocol=json"):
        sending.all()
    with Sending(collector, options={"protocol": "json"}) as sending:
        sending.all()
    assert len(collector.requests) == 1


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
        (200, PROTOBUF, partial_reply(0)),
    ],
)
def test_an_answer_of_otlp_is_an_ack(collector: Collector, answer: Answer) -> None:
    """Also one without a byte, which is what a message without fields looks like."""
    record_finished()
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
    record_finished()
    collector.answer = lambda *_: answer
    with Sending(collector) as sending, pytest.raises(Offline) as raised:
        sending.all()
    assert not raised.value.answered


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (PROTOBUF, partial_reply(1, f"span has no soul, {KEY}")),
        (
            "application/json",
            json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": f"span has no soul, {KEY}"}}).encode(),
        ),
    ],
)
def test_a_rejected_span_refuses_the_batch(collector: Collector, kind: str, reply: bytes) -> None:
    """The reply does not name it: the worker finds it by bisection; a key in the reply is not shown."""
    record_finished()
    collector.answer = lambda path, headers, body: TAKEN if is_check(headers, body) else (200, kind, reply)
    with (
        Sending(collector) as sending,
        pytest.raises(Refused, match=r"rejected 1 of 1 spans: span has no soul, \*\*\*"),
    ):
        sending.all()


def test_the_rejected_span_is_found_by_halves(collector: Collector) -> None:
    """Bisection leaves one row that is refused; all others are accepted."""
    localops.init()
    for number in range(20):
        localops.record(localops.ActionEvent(action_type=f"step {number}"))
    localops.end_session("Success")

    def answer(path: str, headers: dict[str, str], body: bytes) -> Answer:
        return (200, PROTOBUF, partial_reply(1)) if b"step 13" in body else TAKEN

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
    record_finished()
    collector.answer = lambda *_: (200, PROTOBUF, partial_reply(0, f"slow down\x1b[31m {KEY}"))
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
    collector.answer = lambda path, headers, body: (
        200,
        PROTOBUF,
        partial_reply(int(b"poison" in body), "mind the gap"),
    )
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
    record_finished()
    no = (status, "application/json", b'{"message":"no"}')
    collector.answer = lambda path, headers, body: TAKEN if is_check(headers, body) else no
    with Sending(collector) as sending, pytest.raises(trouble):
        sending.all()
