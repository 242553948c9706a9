"""Prompts that grow with each call: real sessions, and what `why` and `lint` say of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

import localops
from localops.reading import growing_prompts
from localops.reading.home import Home


def converse(calls: int, *, step: int = 5_000, cached: int = 0, is_same: bool = True, as_text: bool = False) -> None:
    """Record a session whose model reads a page with each call, and keeps what it has read if it is the same."""
    session = localops.start_session(name="trail")
    agent = session.create_agent("reader")
    for number in range(calls):
        first = 0 if is_same else number
        pages = [{"role": "user", "content": f"page {page}"} for page in range(first, number + 1)]
        tokens = 50 + step * number
        session.record(
            localops.LLMEvent(
                model="gpt-4.1",
                prompt=" ".join(page["content"] for page in pages) if as_text else pages,
                completion="next",
                prompt_tokens=tokens,
                completion_tokens=10,
                cached_tokens=min(cached, tokens) if cached else None,
                cost=tokens / 1e6,
                agent_id=agent,
            )
        )
    session.end_session("Success")


def grown() -> list[dict[str, Any]]:
    """Return the growing prompts of the newest session."""
    with Home() as home:
        project, id = home.find("last")
        facts = growing_prompts.of(project.snapshot(id), project.reader)
    json.dumps(facts)
    return facts


@pytest.mark.parametrize("as_text", [False, True])
def test_a_prompt_that_grows_is_named(as_text: bool) -> None:
    """With its first and its last tokens, and how much of all of them had been sent before."""
    converse(12, as_text=as_text)
    [one] = grown()
    assert (one["agent"], one["model"], one["calls"], one["compared"]) == ("reader", "gpt-4.1", 12, True)
    assert (one["first_tokens_in"], one["last_tokens_in"], one["tokens_in"]) == (50, 55_050, 330_600)
    assert one["sent_again"] == sum(50 + 5_000 * number for number in range(11))
    assert one["cost_usd"] == pytest.approx(one["sent_again"] / 1e6)
    assert one["half_call"] == 9


@pytest.mark.parametrize(
    "settings",
    [{"calls": 9}, {"step": 1_000}, {"cached": 50_000}, {"is_same": False}],
    ids=["short", "small", "from a cache", "other prompts"],
)
def test_what_is_no_growth(settings: dict[str, Any]) -> None:
    """A short or small run, what a cache gave, and prompts that are longer and have nothing of the one before."""
    converse(**{"calls": 12, **settings})
    assert grown() == []


def test_without_prompts_it_is_not_known_to_be_the_same() -> None:
    """The tokens say what may be."""
    session = localops.start_session(name="bare")
    for number in range(12):
        session.record(localops.LLMEvent(model="gpt-4.1", prompt_tokens=50 + 5_000 * number, completion_tokens=10))
    session.end_session("Success")
    [one] = grown()
    assert one["compared"] is False
    assert "may have been in the call before" in "".join(map(str, growing_prompts.sentence(one)))
