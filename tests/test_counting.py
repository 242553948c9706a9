"""Calls that record themselves, beside what programs do with them: each counts once, and none is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .model_server import ModelServer
from .warm import Warm

OPENAI = """
import json, localops, openai
session = localops.init()
client = openai.OpenAI(max_retries=0)
def ask(words, **more):
    message = {"role": "user", "content": words}
    return client.chat.completions.create(model="gpt-4o", messages=[message], **more)
def figures():
    return {**session.get_analytics(), "tokens": [session.figures().tokens_in, session.figures().tokens_out],
            "nano": session.figures().cost, "failed": session.figures().failed}
def tell():
    events = list(session.events)
    keys = ("kind", "finished", "cost", "ended_by", "tokens_in", "tokens_out")
    print(json.dumps([figures(), [[event.get(key) for key in keys] for event in events]]))
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A server that answers as model providers do."""
    with ModelServer() as running:
        yield running


def _figures(warm: Warm, server: ModelServer, code: str) -> list[Any]:
    """Return the figures that a program prints."""
    env = {
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": "x",
        "ANTHROPIC_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": "x",
    }
    done = warm.run(OPENAI + code, env)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_stream_that_is_still_held_counts_when_its_session_ends(warm: Warm, server: ModelServer) -> None:
    """As a call with an unknown cost; its usage is added if it ends later."""
    before, after = _figures(
        warm,
        server,
        """
stream = ask("one", stream=True, stream_options={"include_usage": True})
next(iter(stream))
session.end_session("Success")
tell()
for part in stream: pass
tell()
""",
    )
    assert (before[0]["LLM calls"], before[0]["Unpriced"], before[0]["Cost"]) == (1, 1, "0.00")
    assert before[1] == [["llm", True, None, "end of the session", None, None]]
    assert (after[0]["LLM calls"], after[0].get("Unpriced"), after[0]["tokens"]) == (1, None, [13, 5])
    # Four of the tokens come from the cache, for half the price.
    assert after[0]["nano"] == 13 * 2500 - 4 * 1250 + 5 * 10_000
    assert [event[:3] for event in after[1]] == [["llm", True, after[0]["nano"]], ["llm_copy", True, None]]


def test_calls_with_one_response_id_are_as_many_as_there_are(warm: Warm, server: ModelServer) -> None:
    """Mocks and caching proxies give one id to every answer: one after another, and at the same time."""
    (figures,) = _figures(
        warm,
        server,
        """
import threading
for number in range(4): ask(f"constant {number}")
stream = ask("constant stream", stream=True, stream_options={"include_usage": True})
ask("constant inside")
for part in stream: pass
threads = [threading.Thread(target=ask, args=(f"constant thread {number}",)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
tell()
""",
    )
    assert (len(server.log), figures[0]["LLM calls"], figures[0].get("Unpriced")) == (10, 10, None)
    assert figures[0]["tokens"] == [sum(one.tokens_in for one in server.log), 50]


def test_requests_that_are_free_are_no_llm_calls(warm: Warm, server: ModelServer) -> None:
    """Counting tokens and moderation cost nothing, so the cost of the run stays known."""
    (figures,) = _figures(
        warm,
        server,
        """
import anthropic
claude = anthropic.Anthropic(max_retries=0)
message = {"role": "user", "content": "hello"}
claude.messages.count_tokens(model="claude-3-5-haiku-latest", messages=[message])
claude.beta.messages.count_tokens(model="claude-3-5-haiku-latest", messages=[message])
client.moderations.create(model="omni-moderation-latest", input="hello")
ask("one")
tell()
""",
    )
    assert (figures[0]["LLM calls"], figures[0].get("Unpriced"), figures[0]["tokens"]) == (1, None, [13, 5])
    assert [event[:2] for event in figures[1]] == [["operation", True]] * 3 + [["llm", True]]


def test_only_what_is_open_is_closed_with_its_session(warm: Warm, server: ModelServer) -> None:
    """A call that has ended is not touched, and ending the session again closes nothing again."""
    (figures,) = _figures(
        warm,
        server,
        """
ask("one")
first = ask("two", stream=True)
second = ask("three", stream=True)
session.end_session("Success")
session.end_session("Success")
tell()
""",
    )
    assert (figures[0]["LLM calls"], figures[0]["Unpriced"]) == (3, 2)


def test_tokens_given_by_hand_are_those_of_the_call(warm: Warm, server: ModelServer) -> None:
    """A stream without usage has no tokens of its own; the program has counted them, and they count once."""
    figures, dear = _figures(
        warm,
        server,
        """
for part in ask("one", stream=True): pass
session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=100, completion_tokens=10, completion="You wrote: one"))
tell()
ask("two")
session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=13, completion_tokens=5, cost=0.5))
tell()
""",
    )
    assert (figures[0]["LLM calls"], figures[0].get("Unpriced"), figures[0]["tokens"]) == (1, None, [100, 10])
    assert figures[0]["nano"] == 100 * 2500 + 10 * 10_000
    assert [event[:3] for event in figures[1]] == [["llm", True, 350_000], ["llm_copy", True, None]]
    assert figures[1][0][4:] == [100, 10]
    # What a program says a call has cost wins over the price table.
    assert (dear[0]["LLM calls"], dear[0]["nano"], dear[0]["tokens"]) == (2, 500_350_000, [113, 15])


def test_a_cost_given_inside_an_open_call_is_that_of_the_call(warm: Warm, server: ModelServer) -> None:
    """Recorded by hand in the middle of a call that is counted further out."""
    (figures,) = _figures(
        warm,
        server,
        """
with session.operation("outer", kind="llm", model="gpt-4o") as call:
    session.record(localops.LLMEvent(model="gpt-4o", cost=0.25))
    call.usage(prompt_tokens=10, completion_tokens=1)
tell()
""",
    )
    assert (figures[0]["LLM calls"], figures[0]["nano"]) == (1, 250_000_000)


def test_anthropics_tokens_by_hand_are_known_again(warm: Warm, server: ModelServer) -> None:
    """Its `input_tokens` leave out those of the cache, which the call that recorded itself has counted."""
    (figures,) = _figures(
        warm,
        server,
        """
import anthropic
claude = anthropic.Anthropic(max_retries=0)
event = localops.LLMEvent(prompt="hello", model="claude-3-5-haiku-latest")
answer = claude.messages.create(model="claude-3-5-haiku-latest", max_tokens=9,
                                messages=[{"role": "user", "content": "hello"}])
event.prompt_tokens, event.completion_tokens = answer.usage.input_tokens, answer.usage.output_tokens
session.record(event)
tell()
""",
    )
    assert (figures[0]["LLM calls"], figures[0]["tokens"]) == (1, [22, 5])
    assert [event[0] for event in figures[1]] == ["llm", "llm_copy"]


@pytest.mark.parametrize("how", ["exception=error", "error_type=type(error).__name__, details=str(error)"])
def test_a_failed_call_that_is_recorded_by_hand_counts_once(warm: Warm, server: ModelServer, how: str) -> None:
    """So does its error, which is kept beside it; another error of the program's own is one more."""
    (figures,) = _figures(
        warm,
        server,
        f"""
event = localops.LLMEvent(prompt="fail 429", model="gpt-4o")
try:
    ask("fail 429")
except openai.RateLimitError as error:
    session.record(localops.ErrorEvent(trigger_event=event, {how}))
session.record(localops.ErrorEvent(error_type="Sad", details="no answer"))
tell()
""",
    )
    assert (figures[0]["LLM calls"], figures[0]["Errors"], figures[0]["failed"]) == (1, 2, 1)
    assert [event[0] for event in figures[1]] == ["llm", "error", "llm_copy", "error_copy", "error"]
