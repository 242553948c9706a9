"""Prompts and completions in every form become parts of messages, and any row can be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from localops.encoding import encode
from localops.journal import rows
from localops.journal.stored import Stored
from localops.otel import messages as otlp_messages
from localops.otlp import json_request, semconv
from localops.transfer.bundle import Batch
from localops_sync.sinks import otlp_wire
from localops_sync.sinks.otlp_agentops import AgentOps
from tests.sync.otlp_collector import NoRows, decoded
from tests.sync.otlp_prompts import COMPLETIONS, PROMPTS

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "tool_calls", "choices", "message", "function", "type", "text"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_prompt_and_completion_can_be_sent(value: Any) -> None:
    """Programs give messages in every form; any JSON becomes attributes."""
    for names in (semconv.GenAI(), AgentOps()):
        actual = {
            **names.prompt(otlp_messages.prompt_messages(value)),
            **names.completion(otlp_messages.completion_messages(value)),
        }
        assert all(isinstance(text, str | list) for text in actual.values())
        for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
            _check_messages(json.loads(str(actual.get(name, "[]"))))


# What each type of part needs, as the JSON schemas of the conventions have it; other types may be anything
_PARTS: dict[str, dict[str, tuple[type, ...]]] = {
    "text": {"content": (str,)},
    "reasoning": {"content": (str,)},
    "tool_call": {"id": (str, type(None)), "name": (str,), "arguments": (object,)},
    "tool_call_response": {"id": (str, type(None)), "response": (object,)},
    "server_tool_call": {"id": (str, type(None)), "name": (str,), "server_tool_call": (dict,)},
    "server_tool_call_response": {"id": (str, type(None)), "server_tool_call_response": (dict,)},
    "blob": {"mime_type": (str, type(None)), "modality": (str,), "content": (str,)},
    "uri": {"mime_type": (str, type(None)), "modality": (str,), "uri": (str,)},
    "file": {"mime_type": (str, type(None)), "modality": (str,), "file_id": (str,)},
}


def _check_messages(messages: list[Any], *, strictly: bool = False) -> None:
    """Compare messages with the schemas; strictly: every part is of a type that the conventions have."""
    for message in messages:
        assert isinstance(message["role"], str)
        assert isinstance(message.get("name"), str | None)
        assert isinstance(message.get("finish_reason"), str | None)
        for part in message["parts"]:
            assert isinstance(part["type"], str)
            assert not strictly or part["type"] in _PARTS
            for key, kinds in _PARTS.get(part["type"], {}).items() if strictly else ():
                assert isinstance(part[key], kinds)


@pytest.mark.parametrize("form", PROMPTS)
def test_prompts_of_every_maker_become_parts(form: str) -> None:
    """Gemini's parts, Anthropic's blocks, OpenAI's and Bedrock's forms become the parts of the conventions."""
    prompt, expected = PROMPTS[form]
    actual = semconv.GenAI().prompt(otlp_messages.prompt_messages(prompt))
    messages = json.loads(str(actual.get("gen_ai.input.messages", "[]")))
    assert [(message["role"], message["parts"]) for message in messages] == expected
    _check_messages(messages, strictly=True)


@pytest.mark.parametrize("form", COMPLETIONS)
def test_completions_of_every_maker_become_parts(form: str) -> None:
    """An answer in any form is one message, with its finish reason in the conventions' words."""
    completion, expected, reasons = COMPLETIONS[form]
    actual = semconv.GenAI().completion(otlp_messages.completion_messages(completion))
    [message] = json.loads(str(actual["gen_ai.output.messages"]))
    assert (message["role"], message["parts"]) == ("assistant", expected)
    assert message["finish_reason"] in ("stop", "length", "unknown")
    assert actual.get("gen_ai.response.finish_reasons") == reasons
    _check_messages([message], strictly=True)


_COLUMNS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([*semconv.SHAPES, "error", "odd", "end", "tags", "price", "metadata", "video"]),
        "name": st.none() | st.text(max_size=3),
        "phase": st.sampled_from([0, 1]),
        "at_ns": st.integers(-(2**63), 2**63 - 1),
        "start_ns": st.none() | st.integers(-(2**63), 2**63 - 1),
        "end_ns": st.none() | st.integers(-(2**63), 2**63 - 1),
        "cost": st.none() | st.integers(-(2**63), 2**63 - 1),
        "tokens": st.tuples(*[st.none() | st.integers(-(2**63), 2**63 - 1)] * 4),
        "tags": st.none() | st.sampled_from(["[]", "{}", "nonsense", '[1,"a"]']),
    }
)
_KEYS = "params returns prompt completion provider thread_id cache_write_tokens details trigger spec metadata x".split()
_BODIES = st.none() | st.sampled_from(["", "nonsense", "[]", "7"]) | st.dictionaries(st.sampled_from(_KEYS), _JSON)


@given(_COLUMNS, _BODIES)
def test_any_row_can_be_sent(columns: dict[str, Any], body: Any) -> None:
    """Rows may be from any journal: whatever their columns and bodies contain, both forms can be written."""
    from localops.otlp.translation import Translation

    stored = body if body is None or isinstance(body, str) else encode.dumps(body).decode()
    row = rows.make(session=b"s" * 16, id=b"i" * 16, body=stored, **columns)
    for names in (semconv.GenAI(), AgentOps()):
        for metadata_only in (False, True):
            translation = Translation(
                Batch("00", (), [Stored(1, *row)], [(1, 1)]),
                NoRows(),
                "/nowhere/default",
                names,
                metadata_only=metadata_only,
            )
            groups = translation.groups()
            headers = {"content-type": "application/json"}
            request = ExportTraceServiceRequest.FromString(otlp_wire.as_protobuf(groups))
            assert decoded(headers, json_request.as_json(groups)) == request
