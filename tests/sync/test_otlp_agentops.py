"""Traces for AgentOps' cloud: its tokens, its hosts, and its own names."""

from __future__ import annotations

import json
import threading

import pytest

import localops
from localops.otlp import semconv
from localops.transfer.remotes import Remote
from localops_sync.budget import OutOfBudget, PassBudget
from localops_sync.sink import Blocked, Offline
from tests.sync.otlp_collector import (
    KEY,
    TAKEN,
    Answer,
    Collector,
    Sending,
    attributes,
    record_finished,
    record_run,
    token_or_taken,
)


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


def test_a_token_is_got_once_and_again_when_it_expires(collector: Collector) -> None:
    """The key is exchanged for a token, which every export sends; in the middle of a backlog it is renewed once."""
    record_run()
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
    record_finished()
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
    record_finished()
    collector.answer = lambda *_: answer
    with Sending(collector, options={"auth": "agentops"}) as sending, pytest.raises(trouble):
        sending.all()
    assert [path for path, _, _ in collector.requests] == ["/v3/auth/token"]


def test_a_token_is_waited_for_no_longer_than_the_pass(collector: Collector) -> None:
    """A token server that does not answer ends a pass with --max-seconds in time, not as an offline remote."""
    record_finished()
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
    """Only the cloud's own two hosts belong together; for others, tokens are requested where the spans are sent."""
    from localops_sync.sinks import otlp

    assert otlp._auth_url(Remote("far", url, kind="otlp", options={"auth": "agentops"})) == expected


def test_agentops_reads_its_own_names(collector: Collector) -> None:
    """Its cloud takes every span with gen_ai attributes for an LLM call, and knows kinds by the ends of names."""
    session = record_run()
    collector.answer = token_or_taken
    with Sending(collector, options={"auth": "agentops"}) as sending:
        sending.all()
    llm = attributes(collector.span("gpt-4o-mini.llm"))
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
    plan = attributes(collector.span("plan.workflow"))
    assert plan["agentops.workflow.input"] == '{"goal":"learn"}'
    assert plan["agentops.workflow.output"] == "done"
    tool = attributes(next(span for span in collector.spans() if span.name == "search.tool"))
    assert (tool["tool.name"], tool["agentops.tool.input"]) == ("search", '{"query":"cats"}')
    assert (attributes(collector.span(f"{session.name}.session")))["agentops.session.end_state"] == "Success"
    others = [span for span in collector.spans() if not span.name.endswith((".llm", ".tool"))]
    assert not [name for span in others for name in attributes(span) if name.startswith("gen_ai")]


def test_agentops_hears_fail_for_a_failure(collector: Collector) -> None:
    """It has another word for it; what did not fail counts as a success."""
    localops.init()
    localops.record(localops.ActionEvent(action_type="step"))
    localops.end_session("Failure")
    collector.answer = token_or_taken
    with Sending(collector, options={"auth": "agentops"}) as sending:
        sending.all()
    root, step = sorted(collector.spans(), key=lambda span: len(span.parent_span_id))
    assert attributes(root)["agentops.session.end_state"] == "Fail"
    assert (root.status.code, step.status.code) == (semconv.ERROR, semconv.OK)


def test_agentops_gets_its_own_words_alone(collector: Collector) -> None:
    """Its cloud depends on its vocabulary: nothing of OpenInference is added to it."""
    record_run()
    collector.answer = token_or_taken
    with Sending(collector, options={"auth": "agentops"}) as sending:
        sending.all()
    for span in collector.spans():
        assert not [
            key
            for key in attributes(span)
            if key.startswith(("openinference.", "input.", "output.")) or key == "session.id"
        ]
