"""The figures of a session, what it cost, and why a cost is incomplete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import apsw
import pytest

from localops import ActionEvent, Config, ErrorEvent, Event, LLMEvent, Session, ToolEvent, decorators
from localops.errors import JournalError
from localops.journal import token_kinds
from tests.sessions import begun, only


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    return begun()


def test_the_figures_are_those_of_the_contract(session: Session) -> None:
    """`get_analytics` has the keys, the order and the formats that AgentOps' users know."""
    session.record(LLMEvent(cost=0))
    session.record(ToolEvent())
    session.record(Event("apis"))
    session.record(ErrorEvent())
    session.record(LLMEvent(cost=0.1))
    figures = session.get_analytics()
    assert list(figures) == ["LLM calls", "Tool calls", "Actions", "Errors", "Duration", "Cost"]
    assert list(figures.values())[:4] == [2, 1, 0, 1]
    assert re.fullmatch(r"\d+\.\ds", str(figures["Duration"]))
    assert figures["Cost"] == "0.100000"


def test_figures_do_not_freeze(session: Session) -> None:
    """Reading the figures changes nothing: later events are in them when they are read again."""
    assert session.get_analytics()["Actions"] == 0
    session.record(ActionEvent())
    session.end_session()
    assert session.get_analytics() == session.get_analytics()
    assert session.get_analytics()["Actions"] == 1


def test_costs_are_given_known_or_not_known(session: Session) -> None:
    """A given cost wins, a known model is priced, and an unknown one is unpriced, which is not free."""
    session.record(LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=1000, cost=0.5))
    session.record(LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=1000))
    session.record(LLMEvent(model="home-grown", prompt_tokens=1000, completion_tokens=1000))
    given, known, unknown = (event["cost"] for event in session.events)
    assert given == 500_000_000
    assert known > 0
    assert unknown is None


def test_an_unknown_price_shows(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    """Figures count the LLM calls that the cost leaves out, and one line on stderr names their model."""
    session.record(LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=1000))
    assert "Unpriced" not in session.get_analytics()
    session.record(LLMEvent(model="home-grown", prompt_tokens=1000, completion_tokens=1000))
    figures = session.get_analytics()
    assert (list(figures)[-1], figures["Unpriced"]) == ("Unpriced", 1)
    assert session.end_session() == figures["Cost"]
    assert capfd.readouterr().err.count("no price is known for home-grown") == 1


@pytest.mark.parametrize(
    ("given", "tokens_in", "dollars"),
    [
        # Anthropic counts what its cache gave and took beside the rest of the prompt.
        ({"model": "claude-3-5-sonnet-20241022", "cached_tokens": 4000, "cache_write_tokens": 1000}, 6000, 0.00795),
        ({"model": "claude-3-5-sonnet-20241022", "provider": "anthropic", "cached_tokens": 500}, 1500, 0.00315),
        # So does Bedrock, whose names say whose they are.
        ({"model": "us.anthropic.claude-sonnet-4-20250514-v1:0", "cached_tokens": 500}, 1500, 0.00315),
        ({"model": "us.amazon.nova-lite-v1:0", "provider": "aws.bedrock", "cached_tokens": 500}, 1500, 0.0000675),
        # Gateways report as OpenAI does: the prompt includes what was cached.
        ({"model": "bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0", "cached_tokens": 500}, 1000, 0.00165),
        ({"model": "gpt-4o", "cached_tokens": 400}, 1000, 0.002),
        # More from the cache than in the prompt can only have been counted beside it.
        ({"model": "gpt-4o", "cached_tokens": 4000}, 5000, 0.0075),
    ],
)
def test_both_ways_to_count_a_cache_are_understood(
    session: Session, given: dict[str, Any], tokens_in: int, dollars: float
) -> None:
    """The prompt of a row includes the tokens of its cache, whichever way the provider counts them."""
    session.record(LLMEvent(prompt_tokens=1000, completion_tokens=0, **given))
    event = only(session)
    assert (event["tokens_in"], event["cost"]) == (tokens_in, round(dollars * 1e9))


def test_invalid_figures_are_kept_as_given(session: Session) -> None:
    """An invalid cost or count stays in the event; sums are not affected."""
    session.record(LLMEvent(model="no-such-model", cost=[1], prompt_tokens="many", completion_tokens=1 << 62))  # type: ignore[arg-type]
    session.record(ToolEvent(name="dear", cost=9e9))
    session.record(ToolEvent(name="text", cost="0.5"))  # type: ignore[arg-type]
    session._journal.fold()
    call, dear, _ = session.events
    assert (call["given_cost"], call["given_prompt_tokens"], call["given_completion_tokens"]) == (
        [1],
        "many",
        1 << 62,
    )
    assert dear["given_cost"] == 9e9
    assert session.get_analytics()["Cost"] == "0.500000"


def test_a_part_of_a_token_does_not_count(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    """1.5 tokens print a warning and are kept as given, not cut to one; a whole number of any class counts."""
    session.record(LLMEvent(model="gpt-4o", prompt_tokens=1.5, completion_tokens=2.0))  # type: ignore[arg-type]
    call = only(session)
    assert (call["tokens_in"], call["given_prompt_tokens"], call["tokens_out"]) == (None, 1.5, 2)
    assert "invalid prompt_tokens: expected a number of tokens, got 1.5" in capfd.readouterr().err


@pytest.mark.parametrize("name", token_kinds.ARGUMENTS)
@pytest.mark.parametrize("value", [-5, "many"])
def test_each_invalid_count_is_named(
    session: Session, name: str, value: object, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of every kind of tokens that a program can give."""
    session.record(LLMEvent(model="gpt-4o", **{name: value}))  # type: ignore[arg-type]
    assert only(session)[f"given_{name}"] == value
    assert f"invalid {name}: expected a number of tokens, got {value}; it does not count" in capfd.readouterr().err


def test_negative_figures_do_not_count(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """A negative or impossibly large cost or count warns once and counts as if it was not given."""
    for _ in range(2):
        session.record(LLMEvent(model="no-such-model", cost=-1, prompt_tokens=10**30, completion_tokens=-5))
        session.record(ToolEvent(name="refund", cost=-0.5))
    session.record(LLMEvent(model="gpt-4o-mini", cost=-1, prompt_tokens=1_000_000, completion_tokens=0))

    @decorators.tool(cost=-3)
    def refund() -> None: ...

    refund()
    warnings = capsys.readouterr().err.splitlines()
    names = ("cost", "prompt_tokens", "completion_tokens")
    assert [line.split(":")[1] for line in warnings] == [f" invalid {name}" for name in names]
    assert session.get_analytics()["Cost"] == "0.150000"
    assert [event.get("given_cost") for event in session.events] == [-1, -0.5, -1, -0.5, -1, None]


def test_a_cache_that_is_larger_than_its_prompt_is_reported(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cache larger than its prompt is counted separately, with one warning."""
    for _ in range(2):
        session.record(LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=0, cached_tokens=50))
    assert session.recorder.ask("totals", session=session.session_id.bytes)[0][7] == 120
    assert capsys.readouterr().err.count("prompt_tokens=10 is less than the 50 tokens of its cache") == 1


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"model": "gpt-4o", "provider": "nosuch", "prompt_tokens": 9, "completion_tokens": 1}, "'nosuch'"),
        ({"model": "made-up", "prompt_tokens": 9, "completion_tokens": 1}, "no price is known for made-up:"),
        ({"prompt_tokens": 9, "completion_tokens": 1}, "the calls name no model"),
        ({}, "neither model nor token counts were given"),
        ({"model": "gpt-4o"}, "calls of gpt-4o came without token counts"),
        ({"model": "gpt-4o", "completion_tokens": 3}, "gave only one of prompt_tokens and completion_tokens"),
        ({"model": "gpt-4o", "prompt_tokens": -1, "completion_tokens": 3}, "an invalid token count"),
        (
            {"model": "gpt-4o", "prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 0.5},
            "an invalid token count",
        ),
    ],
)
def test_an_incomplete_cost_says_why(
    session: Session, capsys: pytest.CaptureFixture[str], call: dict[str, Any], reason: str
) -> None:
    """The reason is that of the call: its provider, its model, or the counts that it lacks."""
    session.record(LLMEvent(**call))
    figures = session.get_analytics()
    assert (figures["Cost"], figures["Unpriced"]) == ("0.00", 1)
    assert reason in capsys.readouterr().err


def test_the_reason_of_an_incomplete_cost_names_no_secret(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in the model nor in the provider, of which the beginning is shown."""
    key = "ghp_" + "aB3dE6" * 6
    session.record(LLMEvent(model=f"m {key}", provider=f"p {key}", prompt_tokens=9, completion_tokens=1))
    session.get_analytics()
    err = capsys.readouterr().err
    assert "m [redacted:github] of provider 'p [redacted:github]'" in err
    assert "ghp_" not in err


def _take_the_home_away(tmp_path: Path, session: Session) -> None:
    session._journal.close()
    (tmp_path / "home").rename(tmp_path / "away")
    (tmp_path / "home").write_text("in the way")


def test_figures_that_cannot_be_read_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zeros are never returned without a warning; a strict session has an error instead."""
    session = begun()
    session.record(ToolEvent())
    _take_the_home_away(tmp_path, session)
    assert session.get_analytics()["Tool calls"] == 0
    assert "figures are 0" in capsys.readouterr().err


def test_strict_figures_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    """A journal that cannot be read, for any reason, is a JournalError for a strict session."""
    session = begun(config=Config(strict=True))
    _take_the_home_away(tmp_path, session)
    with pytest.raises(JournalError, match="cannot be read"):
        session.get_analytics()


def test_figures_without_rows_that_wait_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures without waiting rows print a warning."""
    session = begun()
    journal = session._journal
    journal._file.wait = journal._file.patience = 0.05
    other = apsw.Connection(journal.path)
    other.execute("begin immediate")
    session.record(ToolEvent())
    assert session.get_analytics()["Tool calls"] == 0
    other.execute("rollback")
    other.close()
    assert "1 row of the session waits in a spill file" in capsys.readouterr().err
    journal._file.look_at = 0.0
    session.record(ToolEvent())
    assert session.get_analytics()["Tool calls"] == 2
