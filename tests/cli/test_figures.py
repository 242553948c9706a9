"""`localops analytics`: one session's figures, and those of many."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ActionEvent, Config, LLMEvent, ToolEvent
from localops.reading import analytics

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


def _session(name: str, cost: float | None, **options: Any) -> localops.Session:
    session = localops.start_session(name=name, **options)
    assert session is not None
    session.record(LLMEvent(model="m", prompt_tokens=10, completion_tokens=5, cost=cost))
    session.record(ToolEvent(name="grep"))
    session.record(ActionEvent(action_type="plan"))
    session.end_session("Success")
    return session


def test_the_six_figures_come_first_and_agree(command: Command, as_json: AsJson) -> None:
    """The command has the figures of `get_analytics()`, in their order; as JSON also in their formats."""
    session = _session("one", 0.5)
    expected = session.get_analytics()
    assert as_json("analytics", "last")["analytics"] == expected
    lines = command("analytics", "last")[1].splitlines()
    assert [line.split("  ")[0].strip() for line in lines[2:8]] == list(expected)


def test_money_reads_the_same_in_every_command(command: Command, as_json: AsJson) -> None:
    """For people `$0.5000`; the string of the six figures is only in JSON, where programs expect it."""
    _session("one", 0.5)
    for words in (
        ["analytics", "last"],
        ["analytics"],
        ["analytics", "--by", "model"],
        ["show"],
        ["sessions"],
        ["tail"],
    ):
        _, out, _ = command(*words)
        assert "$0.5000" in out, words
        assert "0.500000" not in out, words
    assert as_json("analytics", "last")["analytics"]["Cost"] == "0.500000"


@pytest.mark.parametrize(
    ("model", "cached", "share"), [("gpt-4o", 600, "60%"), ("without-a-price", 900, "90%"), ("gpt-4o", 0, None)]
)
def test_the_share_from_a_cache_is_shown(command: Command, model: str, cached: int, share: str | None) -> None:
    """Also of a single call, and of one without a price; a count of 0 is one that was reported."""
    with localops.start_session(name="cached") as session:
        session.record(LLMEvent(model=model, prompt_tokens=1000, completion_tokens=10, cached_tokens=cached))
    of_input = "" if share is None else f" ({share} from a cache)"
    assert f"1,000 tokens in{of_input} and 10 out." in command("why")[1]
    assert f"tokens     1000 in{of_input}, 10 out" in command("show")[1]
    shown = command("analytics", "last")[1]
    assert f"  cached  {cached}{'' if share is None else f' ({share} of the input)'}\n" in shown


def test_the_share_from_a_cache_is_of_calls_that_report_it(command: Command) -> None:
    """One number for the same calls, with the input that it is a share of."""
    with localops.start_session(name="cached") as session:
        for cached in (400, None):
            session.record(LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=10, cached_tokens=cached))
        session.record(LLMEvent(model="small", prompt_tokens=500, completion_tokens=10))
    why = command("why")[1]
    assert "2,500 tokens in (40% of 1,000 from a cache)" in why
    assert "; 40% of 1,000 tokens in came from a cache." in why
    assert "tokens     2500 in (40% of 1000 from a cache)" in command("show")[1]
    assert "  cached  400 (40% of the input of calls that report it)\n" in command("analytics", "last")[1]
    assert "40%" in command("analytics")[1]


def test_a_count_that_no_call_reported_is_left_out(command: Command) -> None:
    """A 0 would say that nothing came from a cache."""
    _session("one", 0.5)
    assert "cached" not in command("analytics", "last")[1]


def test_the_hint_names_every_table(command: Command) -> None:
    """It has the same names as `--by` in the help."""
    _session("one", 0.5)
    hint = command("analytics")[1].splitlines()[-1]
    assert all(word in hint for word in (*analytics.ACROSS, "meta:NAME"))


def test_unknown_figures_are_reported(as_json: AsJson) -> None:
    """An unpriced call is counted as such, and percentiles are exact."""
    _session("one", None)
    document = as_json("analytics", "last")
    assert document["unpriced"] == 1
    assert set(document["percentiles"]) == {"llm", "tool"}
    assert document["by_model"][0]["model"] == "m"
    assert document["error_rate"] == 0


@pytest.mark.parametrize("by", ["model", "agent", "tool", "tag", "day", "kind", "session"])
def test_every_breakdown_is_there(command: Command, as_json: AsJson, by: str) -> None:
    """Each breakdown is a table and a document."""
    _session("one", 0.5, tags=["red"])
    session = localops.start_session(name="two")
    assert session is not None
    session.create_agent("Writer", "11111111-1111-4111-8111-111111111111")
    session.record(ActionEvent(agent_id="11111111-1111-4111-8111-111111111111"))
    session.end_session("Success")
    code, out, err = command("analytics", "--by", by)
    assert (code, err) == (0, "")
    assert by in out.splitlines()[0]
    assert as_json("analytics", "--by", by)["lines"]


def test_sums_across_projects_are_the_sums_of_the_sessions(as_json: AsJson) -> None:
    """Totals, days and sessions add up to the same, in any project."""
    _session("one", 0.5)
    _session("two", 0.25, config=Config(project="other"))
    whole = as_json("analytics")
    assert (whole["sessions"], whole["events"], whole["cost_nano"]) == (2, 6, 750_000_000)
    for by in ("day", "session"):
        lines = as_json("analytics", "--by", by)["lines"]
        assert sum(line["cost_nano"] for line in lines) == whole["cost_nano"]
        assert sum(line["events"] for line in lines) == whole["events"]


def test_a_session_has_the_same_figures_by_tag_alone_and_among_others(as_json: AsJson) -> None:
    """All events count for a tag that the session has in the end; for other tags, only their own events do."""
    session = localops.start_session(tags=["gone"])
    assert session is not None
    for tags in (["own"], ["whole"], None):
        session.record(LLMEvent(cost=0.5, tags=tags))
    session.set_tags(["whole"])
    session.end_session("Success")
    alone, among = (as_json("analytics", *words, "--by", "tag")["lines"] for words in (["last"], []))
    assert alone == among
    assert [(line["tag"], line["events"], line["cost_usd"]) for line in alone] == [("whole", 3, 1.5), ("own", 1, 0.5)]


def test_an_absurd_time_spoils_no_figure(as_json: AsJson) -> None:
    """A call took a day at most, in means, sums and percentiles alike, however few there are."""
    session = localops.start_session()
    assert session is not None
    for _ in range(3):
        session.record(ToolEvent(name="t", init_timestamp="1970-01-01T00:00:00Z", end_timestamp="2200-01-01T00:00:00Z"))
    session.end_session("Success")
    document = as_json("analytics", "last")
    assert set(document["percentiles"]["tool"].values()) == {86_400}
    assert document["by_tool"][0]["seconds"] == 3 * 86_400
    for words in ([], ["last"]):
        lines = as_json("analytics", *words, "--by", "kind")["lines"]
        assert [line["seconds"] for line in lines if line["kind"] == "tool"] == [3 * 86_400]


def test_sessions_are_chosen_by_tag_and_time(as_json: AsJson) -> None:
    """--tag and --until leave the others out, as do all filters of the list."""
    _session("one", 0.5, tags=["red"])
    _session("two", 0.25)
    assert as_json("analytics", "--tag", "red")["cost_nano"] == 500_000_000
    assert as_json("analytics", "--not-tag", "red")["cost_nano"] == 250_000_000
    assert as_json("analytics", "--tag", "r*", "--name", "one", "--name", "x")["cost_nano"] == 500_000_000
    assert as_json("analytics", "--not-name", "o*", "--by", "session")["lines"][0]["cost_nano"] == 250_000_000
    assert as_json("analytics", "--until", "2020-01-01")["sessions"] == 0


@pytest.mark.parametrize(
    "wrong",
    [("last", "--tag", "x"), ("--by", "day", "--tz", "No/Where"), ("last", "--by", "day"), ("--by", "moon")],
)
def test_wrong_usage_is_2(command: Command, wrong: tuple[str, ...]) -> None:
    """Contradicting options are refused with code 2."""
    _session("one", 0.5)
    assert command("analytics", *wrong)[0] == 2


def test_last_of_an_empty_home_is_not_found(command: Command, tmp_path: Path) -> None:
    """Code 1, and what to do first."""
    (tmp_path / "home").mkdir()
    code, _, err = command("analytics", "last")
    assert code == 1
    assert "localops demo" in err


def test_agents_of_one_name_are_one_line_for_people(command: Command, as_json: AsJson) -> None:
    """The table adds them up and shows their number; JSON has each of them."""
    session = localops.start_session()
    for number in range(3):
        agent = session.create_agent(name="researcher", agent_id=f"r{number}")
        session.record(ActionEvent(action_type="look", agent_id=agent))
    session.record(ActionEvent(action_type="look", agent_id=session.create_agent(name="writer")))
    session.end_session("Success")
    lines = [line.split() for line in command("analytics", "last")[1].splitlines()]
    assert [line[:4] for line in lines if line[:1] == ["researcher"]] == [["researcher", "(3", "agents)", "3"]]
    assert [line[:2] for line in lines if line[:1] == ["writer"]] == [["writer", "1"]]
    assert len(as_json("analytics", "last")["by_agent"]) == 4


def test_an_agent_without_a_name_has_the_same_id_everywhere(command: Command, as_json: AsJson) -> None:
    """In one session, across many, and in an event, it is a UUID with dashes."""
    session = localops.start_session()
    assert session is not None
    session.record(ActionEvent(action_type="look", agent_id=uuid.uuid4()))
    session.end_session("Success")
    [agent] = [line["agent"] for line in as_json("analytics", "--by", "agent")["lines"]]
    assert agent == str(uuid.UUID(agent))
    assert {event["agent"] for event in session.events if event["kind"] == "action"} == {agent}
    assert [line["agent"] for line in as_json("analytics", "last")["by_agent"]] == [agent]
    assert agent in command("analytics", "--by", "agent")[1]


def test_an_incomplete_cost_has_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Models without a price are distinguished from models whose calls have no token counts."""
    session = localops.start_session()
    session.record(LLMEvent(model="my-local", prompt_tokens=5, completion_tokens=5))
    session.record(LLMEvent(model="gpt-4o"))
    session.end_session("Success")
    warning = capsys.readouterr().err
    assert "2 LLM calls have no price (no price is known for my-local: `localops prices set` adds one; " in warning
    assert "calls of gpt-4o came without token counts)" in warning


@pytest.mark.parametrize(
    ("budget", "shown", "reached"),
    [(None, None, None), (2, "$2.00", None), (0.25, "$0.2500, reached at $0.5000", 0.5)],
)
def test_a_budget_is_shown_and_that_it_was_reached(
    command: Command, as_json: AsJson, budget: float | None, shown: str | None, reached: float | None
) -> None:
    """In `show` and `analytics`, as text and as JSON; a session without a budget shows none."""
    session = localops.start_session(config=Config(budget_usd=budget))
    if reached:
        with pytest.raises(localops.BudgetExceeded):
            session.record(ToolEvent(cost=0.5))
    session.end_session("Success")
    for name in ("show", "analytics"):
        pairs = [line.split(None, 1) for line in command(name, "last")[1].splitlines() if "  " in line]
        assert [value for key, value in pairs if key.lower() == "budget"] == ([shown] if shown else [])
        document = as_json(name, "last")["budget"]
        assert (document and document["limit_usd"], document and document["reached_usd"]) == (budget, reached)


def test_the_time_of_single_events_is_not_known(command: Command) -> None:
    """A user has the time of their sessions; one of single events in other sessions has none, and it is not 0."""
    session = localops.start_session(user="ann")
    assert session is not None
    with session.operation("turn", kind="workflow"):
        session.record(ActionEvent(action_type="ask", user="bob"))
    session.end_session("Success")
    for words in ([], ["last"]):
        lines = {line.split()[0]: line.split() for line in command("analytics", *words, "--by", "user")[1].splitlines()}
        assert lines["bob"][-1] == "–"
        assert lines["ann"][-1].endswith("ms")
