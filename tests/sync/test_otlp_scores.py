"""Scores as spans: what the conventions say of them, in every encoding, and the same rows when they are read back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import cli
from localops.errors import ConfigError
from localops.journal import stored
from localops.otlp import json_request
from localops.otlp.openinference import OpenInference
from localops.otlp.semconv import GenAI
from localops.otlp.translation import Span, Translation, span_id
from localops.reading import given_scores
from localops.reading.home import Home
from localops.transfer.bundle import Batch
from localops_sync.sinks import otlp_wire
from localops_sync.sinks.otlp_agentops import AgentOps

from .otlp_collector import Collector, Sending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.otlp.semconv import Names


def _recorded() -> tuple[localops.Session, localops.LLMEvent]:
    session = localops.start_session(name="run")
    call = localops.LLMEvent(prompt="hi", completion="ho", model="gpt-4o", prompt_tokens=1, completion_tokens=1)
    session.record(call)
    session.end_session("Success")
    session.score("correct", 0.25, by="human:ann", comment="one date is wrong", version="2")
    session.score("useful", True, event=call, by="llm:gpt-4o")
    session.score("kind", "good")
    session.score("kind", None)
    session.note("see the ticket", by="human")
    return session, call


def _groups(names: Names) -> list[Any]:
    with Home() as home:
        [one] = home.sessions()
        rows = list(stored.of_session(one.project.reader, one.session))
        batch = Batch("00", (), rows, [(1, rows[-1].seq)])
        return Translation(batch, one.project.reader, one.project.folder, names, metadata_only=False).groups()


def _spans(names: Names) -> list[Span]:
    return [span for _, spans in _groups(names) for span in spans if span.judged is not None]


def test_a_score_is_an_evaluation_result_below_what_it_judges() -> None:
    """With the names of both conventions, and a link to the span that is judged."""
    session, call = _recorded()
    correct, useful, kind, gone, note = _spans(GenAI())
    assert {correct.name, useful.name, note.name} == {"gen_ai.evaluation.result"}
    assert correct.judged == correct.parent == span_id(session.session_id.bytes)
    assert useful.judged == useful.parent == span_id(call.id.bytes)
    assert correct.result == {
        "gen_ai.evaluation.name": "correct",
        "gen_ai.evaluation.score.value": 0.25,
        "gen_ai.evaluation.explanation": "one date is wrong",
    }
    assert useful.result == {
        "gen_ai.evaluation.name": "useful",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "true",
    }
    assert kind.result == {"gen_ai.evaluation.name": "kind", "gen_ai.evaluation.score.label": "good"}
    assert gone.result == {"gen_ai.evaluation.name": "kind", "gen_ai.evaluation.explanation": "no score"}
    assert note.result == {"gen_ai.evaluation.name": "note", "gen_ai.evaluation.explanation": "see the ticket"}
    openinference = {name: value for name, value in correct.attributes.items() if name.startswith("evaluations.0.")}
    assert json.loads(str(openinference.pop("evaluations.0.evaluation.metadata"))) == {
        "author": "human:ann",
        "version": "2",
    }
    assert openinference == {
        "evaluations.0.evaluation.name": "correct",
        "evaluations.0.evaluation.score": 0.25,
        "evaluations.0.evaluation.explanation": "one date is wrong",
        "evaluations.0.evaluation.annotator_kind": "HUMAN",
        "evaluations.0.evaluation.identifier": "human:ann",
    }
    assert useful.attributes["evaluations.0.evaluation.annotator_kind"] == "LLM"
    assert kind.attributes["evaluations.0.evaluation.annotator_kind"] == "CODE"
    assert correct.attributes["openinference.span.kind"] == "EVALUATOR"


def test_each_vocabulary_has_its_own_names() -> None:
    """The conventions alone, OpenInference alone, and AgentOps' cloud, which would take a score for an LLM call."""
    _recorded()
    plain, own = _spans(GenAI(complemented=False)), _spans(OpenInference())
    assert not any(name.startswith("evaluations.") for span in plain for name in span.attributes)
    assert not any(name.startswith("gen_ai.") for span in own for name in span.attributes)
    assert [span.result for span in own] == [None] * 5
    assert _spans(AgentOps()) == []


def test_both_encodings_carry_the_event_and_the_link() -> None:
    """In JSON and in protobuf."""
    _, call = _recorded()
    groups = _groups(GenAI())
    document = json.loads(json_request.as_json(groups))
    spans = [span for each in document["resourceSpans"] for part in each["scopeSpans"] for span in part["spans"]]
    [useful] = [
        span for span in spans if "links" in span and span["links"][0]["spanId"] == span_id(call.id.bytes).hex()
    ]
    assert [event["name"] for event in useful["events"]] == ["gen_ai.evaluation.result"]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(otlp_wire.as_protobuf(groups))
    sent = [span for each in request.resource_spans for part in each.scope_spans for span in part.spans]
    [same] = [span for span in sent if span.links and span.links[0].span_id == span_id(call.id.bytes)]
    assert [event.name for event in same.events] == ["gen_ai.evaluation.result"]


@pytest.mark.parametrize("names", [GenAI(), GenAI(complemented=False), OpenInference()], ids=["both", "genai", "oi"])
def test_an_import_of_the_spans_gives_the_same_scores(names: Names, tmp_path: Path) -> None:
    """To the letter: authors, versions, times, and which of them count; imported twice, each is there once."""
    session, _ = _recorded()
    session.score("correct", True, by="human:ann")
    path = tmp_path / "spans.json"
    path.write_bytes(json_request.as_json(_groups(names)))
    there = str(tmp_path / "there")
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            cli.main(["import", "--otlp", str(path), "--home", there])
        assert ended.value.code == 0
    assert os.path.isdir(there)

    def given(home: str | None) -> list[dict[str, Any]]:
        with Home(home) as opened:
            [one] = opened.sessions()
            listed = given_scores.of_session(one.project.reader, one.session)
            return [given_scores.facts(each) for each in listed]

    here = given(None)
    assert len(here) == 6
    assert given(there) == here


def test_phoenix_gets_scores_as_annotations_too(collector: Collector) -> None:
    """Where the option says so, after the spans; one of an author and a span has always the same identity."""
    session, call = _recorded()
    with Sending(collector, options={"annotations": "phoenix"}) as sending:
        sending.all()
    assert [path for path, _, _ in collector.requests] == ["/v1/traces", "/v1/span_annotations?sync=false"]
    _, headers, body = collector.requests[-1]
    assert headers["authorization"].startswith("Bearer ")
    correct, useful, *_ = json.loads(body)["data"]
    assert correct == {
        "span_id": span_id(session.session_id.bytes).hex(),
        "name": "correct",
        "annotator_kind": "HUMAN",
        "identifier": "human:ann",
        "result": {"score": 0.25, "explanation": "one date is wrong"},
        "metadata": {"author": "human:ann", "version": "2"},
    }
    assert (useful["span_id"], useful["result"]) == (span_id(call.id.bytes).hex(), {"score": 1.0, "label": "true"})


def test_no_other_back_end_is_asked_for_annotations(collector: Collector) -> None:
    """By default nothing but spans is sent; options that cannot work together are refused."""
    _recorded()
    with Sending(collector) as sending:
        sending.all()
    assert {path for path, _, _ in collector.requests} == {"/v1/traces"}
    with pytest.raises(ConfigError, match="annotations=phoenix"):
        Sending(collector, options={"annotations": "phoenix", "semconv": "genai"})
    with pytest.raises(ConfigError, match="annotations=phoenix"):
        Sending(collector, url=f"{collector.url}/v1/traces", options={"annotations": "phoenix"})
