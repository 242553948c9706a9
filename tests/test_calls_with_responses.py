"""LLM calls that returned a response of a model library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest

from localops import LLMEvent, Session, start_session
from tests.library_responses import ASKED, CHAT, GENERATED, MESSAGE, Refuses, Stream, of_package


def recorded(session: Session) -> dict[str, Any]:
    """Return the newest event of a session."""
    *_, newest = session.events
    return newest


def test_a_call_is_filled_from_what_it_returned() -> None:
    """Model, tokens, cost, completion and the rest are read from the response, which is stored once."""
    with start_session() as session:
        session.record(LLMEvent(prompt="how high is the tide?", returns=MESSAGE))
        event = recorded(session)
    assert (event["model"], event["tokens_in"], event["tokens_out"]) == ("claude-sonnet-4-20250514", 2310, 50)
    assert (event["tokens_cached"], event["cache_write_tokens"], event["cache_write_1h_tokens"]) == (2000, 300, 200)
    # 10 at 3 $, 2,000 at 0.3 $, 100 at 3.75 $, 200 at 6 $, 50 at 15 $ a million
    assert event["cost"] == 10 * 3_000 + 2_000 * 300 + 100 * 3_750 + 200 * 6_000 + 50 * 15_000
    assert event["provider"] == "anthropic"
    assert event["finish_reason"] == "tool_use"
    assert event["response_id"] == MESSAGE["id"]
    assert event["completion"] == {"role": "assistant", "content": MESSAGE["content"]}
    assert event["tool_calls"] == [{"id": "toolu_1", "name": "tide"}]
    assert event["returns"] == {name: value for name, value in MESSAGE.items() if name != "content"}


def test_what_the_program_gives_wins() -> None:
    """At construction or as an attribute later; the model that answered is kept beside the one that was asked."""
    with start_session() as session:
        call = LLMEvent(returns=CHAT, model="gpt-4o", completion="a word of my own", prompt_tokens=5, cost=0.5)
        call.finish_reason = "because"
        session.record(call)
        event = recorded(session)
    assert (event["model"], event["response_model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (event["completion"], event["tokens_in"], event["tokens_out"]) == ("a word of my own", 1005, 80)
    assert (event["finish_reason"], event["cost"]) == ("because", 500_000_000)
    assert event["returns"] == CHAT
    assert event["tool_calls"] == [{"id": "call_1", **ASKED}]
    assert call.model == "gpt-4o"


@pytest.mark.parametrize(("given", "prompt"), [(None, 2310), (10, 2310), (2310, 2310), (11, 2311)])
def test_the_tokens_of_a_cache_are_counted_once(given: int | None, prompt: int) -> None:
    """The prompt may be given as the provider counts it, as a whole, or not at all."""
    with start_session() as session:
        session.record(LLMEvent(returns=MESSAGE, prompt_tokens=given))
        assert recorded(session)["tokens_in"] == prompt


def test_a_response_is_read_when_the_call_is_recorded() -> None:
    """Its result may be set later, and recording the object again reads the new one."""
    with start_session() as session:
        call = LLMEvent(prompt="p")
        call.returns = CHAT
        session.record(call)
        call.returns = GENERATED
        session.record(call)
        assert [event["model"] for event in session.events] == ["gpt-4o-2024-08-06", "llama3.2"]
    assert (call.model, call.completion, call.returns) == (None, None, GENERATED)


def test_an_object_is_kept_as_its_fields() -> None:
    """The row has the fields that are set, whether or not the completion is among them."""
    with start_session() as session:
        session.record(LLMEvent(returns=of_package("openai", {**CHAT, "service_tier": None})))
        taken = recorded(session)
        session.record(LLMEvent(returns=of_package("openai", {**CHAT, "service_tier": None}), completion="mine"))
        given = recorded(session)
    assert taken["returns"]["choices"] == [{"index": 0, "logprobs": None, "finish_reason": "tool_calls"}]
    assert given["returns"] == CHAT
    assert taken["completion"]["tool_calls"] == CHAT["choices"][0]["message"]["tool_calls"]  # type: ignore[index]


@pytest.mark.parametrize("make", [lambda: {"answer": 42}, MagicMock, Stream, Refuses, lambda: "text"])
def test_other_results_of_a_call_stay_as_they_are(make: Callable[[], object]) -> None:
    """A value that is not a response sets no field, and is kept like any other."""
    with start_session() as session:
        session.record(LLMEvent(returns=make(), model="gpt-4o", prompt_tokens=9, completion_tokens=2))
        event = recorded(session)
    assert (event["tokens_in"], event["tokens_out"], event.get("completion")) == (9, 2, None)
    assert event["returns"] is not None


def test_an_operation_is_filled_from_what_it_returned() -> None:
    """An LLM call that was opened by hand, too."""
    with start_session() as session:
        with session.operation("ask", kind="llm", prompt="p") as call:
            call.returns(CHAT)
        event = recorded(session)
    assert (event["model"], event["tokens_in"], event["finish_reason"]) == ("gpt-4o-2024-08-06", 1200, "tool_calls")
    assert event["completion"]["role"] == "assistant"


@pytest.mark.parametrize(("response", "is_copy"), [(CHAT, True), ({**CHAT, "id": "chatcmpl-10"}, False)])
@pytest.mark.parametrize("own", [{"returns": CHAT}, {"response_id": "chatcmpl-9", "completion_tokens": 80}])
def test_a_call_that_records_itself_is_identified_by_its_response(
    response: dict[str, Any], is_copy: bool, own: dict[str, object]
) -> None:
    """An event with the same response is the same call, and counts once."""
    with start_session() as session:
        call = LLMEvent(model="gpt-4o", prompt="p")
        rows = session.begin("llm", "by itself", call=call, by_itself="openinference")
        assert rows is not None
        for name, value in own.items():
            setattr(call, name, value)
        rows.finish({})
        session.record(LLMEvent(returns=response))
        assert recorded(session)["kind"] == ("llm_copy" if is_copy else "llm")
        assert session.get_analytics()["LLM calls"] == (1 if is_copy else 2)


def test_a_large_response_is_kept_once() -> None:
    """Ten megabytes of answer are in the row, or beside the journal, one time."""
    text = "".join(f"{number:07d} " for number in range(1_300_000))
    response = {**MESSAGE, "content": [{"type": "text", "text": text}]}
    with start_session() as session:
        session.record(LLMEvent(returns=response))
        event = recorded(session)
    assert event["completion"]["content"][0]["text"]["$len"] == len(text)
    assert "content" not in event["returns"]
