"""A remote that refuses everything parks nothing; a row that is refused is parked alone."""

from __future__ import annotations

import os
from typing import Any

import pytest

import localops
from localops.transfer.remotes import Remote
from localops_sync import exit_codes, worker
from localops_sync.budget import PassBudget
from localops_sync.sink import Blocked
from tests.sync.otlp_collector import (
    KEY,
    PROTOBUF,
    TAKEN,
    Answer,
    Collector,
    Sending,
    decoded,
    is_check,
    record_finished,
)


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


# Each answer once in each protocol.
@pytest.mark.parametrize(
    ("answer", "takes_empty", "protocol"),
    [
        (answer, takes_empty, ("protobuf", "json")[(number + takes_empty) % 2])
        for number, answer in enumerate(_FORBIDDEN)
        for takes_empty in (True, False)
    ],
)
def test_a_remote_that_refuses_every_span_parks_none(
    collector: Collector, answer: Answer, takes_empty: bool, protocol: str
) -> None:
    """A wrong path, protocol or header needs a person, after a few requests; afterwards everything arrives."""
    _steps(*(f"step {number}" for number in range(30)))

    def refuse(path: str, headers: dict[str, str], body: bytes) -> Answer:
        return TAKEN if takes_empty and not decoded(headers, body).resource_spans else answer

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
    assert not any(is_check(headers, body) for _, headers, body in collector.requests)


@pytest.mark.parametrize("poison", [0, 1, 6, 11])
@pytest.mark.parametrize("takes_empty", [True, False])
@pytest.mark.parametrize("status", [400, 422])
def test_one_row_that_is_refused_is_parked_alone(
    collector: Collector, poison: int, takes_empty: bool, status: int
) -> None:
    """At any position: spans that are accepted in the same pass, or a plain span, show that the row is the reason."""
    _steps(*(f"step {number:02}" for number in range(12)))

    def answer(path: str, headers: dict[str, str], body: bytes) -> Answer:
        bad = f"step {poison:02}".encode() in body
        empty = not decoded(headers, body).resource_spans
        return (status, "text/plain", b"no") if bad or (empty and not takes_empty) else TAKEN

    collector.answer = answer
    outcome = _pass(collector)
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0)
    sent = {span.name for span in collector.spans() if span.name.startswith("step")} - {f"step {poison:02}"}
    assert len(sent) == 11
    assert sum(is_check(headers, body) for _, headers, body in collector.requests) <= 1


def test_a_refused_row_that_is_alone_is_parked_too(collector: Collector) -> None:
    """With nothing else to send, a plain span tells that the back end takes spans."""
    record_finished()
    refused: Answer = (400, "text/plain", b"no")
    collector.answer = lambda path, headers, body: TAKEN if is_check(headers, body) else refused
    assert (_pass(collector).code, _pass(collector).code) == (exit_codes.PARKED, exit_codes.DONE)


@pytest.mark.parametrize(
    ("takes_spans", "step", "ok"),
    [(True, "key", True), (False, "answer", False)],
)
def test_remote_test_does_not_hide_a_refusal(collector: Collector, takes_spans: bool, step: str, ok: bool) -> None:
    """A back end that refuses the empty request gets a plain span, and its answer to that counts."""
    from localops_sync import remote_test

    record_finished()
    no: Answer = (422, "application/json", b'{"detail":"x-experiment-id is required"}')
    collector.answer = lambda path, headers, body: TAKEN if takes_spans and is_check(headers, body) else no
    with Sending(collector) as sending:
        findings = {each.step: each for each in remote_test.run(sending.remote, sending.reader, sending.folder)}
    assert findings[step].ok is ok
    assert ("x-experiment-id is required" in findings[step].message) is not ok
    assert [span.name for span in collector.spans()] == ["localops check"]


@pytest.mark.parametrize(("status", "kind"), [(200, PROTOBUF), (400, "text/plain")])
def test_a_check_sends_no_span(collector: Collector, status: int, kind: str) -> None:
    """The check sends an empty request, which some back ends refuse as such: they are there all the same."""
    record_finished()
    collector.answer = lambda *_: (status, kind, b"")
    with Sending(collector) as sending:
        assert sending.sink.check() == f"OTLP/HTTP in protobuf at {collector.url[7:]}"
    assert collector.spans() == []
    assert len(collector.requests) == 1


def test_a_check_finds_a_wrong_key(collector: Collector) -> None:
    """A problem that needs a person is reported before anything is sent."""
    record_finished()
    collector.answer = lambda *_: (401, "application/json", b"{}")
    with Sending(collector) as sending, pytest.raises(Blocked):
        sending.sink.check()
