"""`localops sessions`: the list, its filters and its pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import Config, LLMEvent, ToolEvent
from tests import programs

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


def _begun(**options: Any) -> localops.Session:
    session = localops.start_session(**options)
    assert session is not None
    return session


def _session(name: str, state: str = "Success", **options: Any) -> localops.Session:
    session = localops.start_session(name=name, **options)
    assert session is not None
    session.create_agent(f"agent of {name}")
    session.record(LLMEvent(prompt=f"words of {name}", model=f"model-{name}", tags=["own-" + name]))
    session.end_session(state)
    return session


@pytest.fixture
def three() -> list[localops.Session]:
    """Three sessions, oldest first; the last in a project of its own."""
    return [
        _session("one", tags=["red"]),
        _session("two", "Failure", tags=["red", "blue"]),
        _session("three", "Indeterminate", config=Config(project="other")),
    ]


def _names(document: dict[str, Any]) -> list[str]:
    return [session["name"] for session in document["sessions"]]


def test_every_project_is_listed_newest_first(three: list[localops.Session], as_json: AsJson) -> None:
    """Without --project all projects of the home are merged by time."""
    assert _names(as_json("sessions")) == ["three", "two", "one"]
    assert _names(as_json("sessions", "--project", "other")) == ["three"]


@pytest.mark.parametrize("options", [("--reverse",), ("--sort", "began", "--reverse")])
def test_the_oldest_can_come_first(
    three: list[localops.Session], options: tuple[str, ...], as_json: AsJson, command: Command
) -> None:
    """With --reverse; such a list has no next page."""
    assert _names(as_json("sessions", *options)) == ["one", "two", "three"]
    document = as_json("sessions", *options, "-n", "1")
    assert (_names(document), document["next_before"]) == (["one"], None)
    assert "more: add --limit" in command("sessions", *options, "-n", "1")[1]
    assert "leave out --reverse" in command("sessions", *options, "--before", "last")[2]


_FILTERS: list[tuple[tuple[str, ...], list[str]]] = [
    (("--tag", "red"), ["two", "one"]),
    (("--tag", "own-three"), ["three"]),
    (("--tag", "blue", "--tag", "red"), ["two", "one"]),
    (("--all-tag", "blue", "--all-tag", "red"), ["two"]),
    (("--all-tag", "red", "--tag", "own-one", "--tag", "own-three"), ["one"]),
    (("--state", "failure"), ["two"]),
    (("--state", "Indeterminate"), ["three"]),
    (("--state", "running"), []),
    (("--model", "model-one"), ["one"]),
    (("--agent", "agent of two"), ["two"]),
    (("--text", "Words TWO"), ["two"]),
    (("--text", "words"), ["three", "two", "one"]),
    (("--since", "2h"), ["three", "two", "one"]),
    (("--until", "2020-01-01"), []),
    (("--tool", "hammer"), []),
    (("--errors",), []),
    (("--min-cost", "$0.01"), []),
    (("--min-cost", "0"), ["three", "two", "one"]),
    (("--min-took", "5m"), []),
    (("--tag", "red", "--state", "SUCCESS", "--model", "model-one", "--text", "words"), ["one"]),
    (("--tag", "red", "--model", "model-three"), []),
]


def test_filters_can_be_combined(three: list[localops.Session], as_json: AsJson) -> None:
    """Each filter works alone and with others, where documented in any letter case."""
    for filters, names in _FILTERS:
        assert _names(as_json("sessions", *filters)) == names, filters


def test_a_running_session_is_running(as_json: AsJson) -> None:
    """A session that is not ended and is still recorded is `Running`, and the filter finds it."""
    session = localops.start_session(name="now")
    assert session is not None
    assert [one["state"] for one in as_json("sessions", "--state", "Running")["sessions"]] == ["Running"]
    session.end_session("Success")
    assert _names(as_json("sessions", "--state", "Running")) == []


def test_pages_follow_each_other_without_gap_or_repeat(three: list[localops.Session], as_json: AsJson) -> None:
    """`next_before` leads from page to page through all projects to the end."""
    seen: list[str] = []
    before: tuple[str, ...] = ()
    for _ in range(3):
        page = as_json("sessions", "-n", "1", *before)
        seen += _names(page)
        before = ("--before", page["next_before"] or "")
    assert seen == ["three", "two", "one"]
    assert page["next_before"] is None


def test_a_table_fits_the_terminal(
    three: list[localops.Session], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is wider than the terminal, and the ids stay whole."""
    monkeypatch.setenv("COLUMNS", "72")
    _, out, _ = command("sessions")
    assert max(map(len, out.splitlines())) <= 72
    assert str(three[0].session_id)[:13] in out


def test_errors_are_the_last_columns_to_go(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no room for all columns, errors and cost stay, as they matter most."""
    session = localops.start_session(["nightly", "production"], name="a regression run with a long name")
    assert session is not None
    session.record(LLMEvent(model="m"))
    session.end_session("Indeterminate")
    for columns in ("60", "80", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        head, _, line = command("sessions")[1].splitlines()
        assert {"id", "name", "state", "errors", "cost"} <= set(head.split())
        assert "Indeterminate" in line


def test_hostile_names_cannot_steer_the_terminal(command: Command) -> None:
    """Control characters of a name are shown, not obeyed, as text and as JSON."""
    _session("evil\x1b[2J\u202e\x9b31m")
    for arguments in (("sessions",), ("sessions", "--json"), ("show",), ("analytics", "last")):
        _, out, _ = command(*arguments)
        assert not {"\x1b", "\u202e", "\x9b"} & set(out)


def test_an_empty_home_has_advice(command: Command, tmp_path: Path) -> None:
    """Without any recording it is no error: the message names the home and the first step."""
    (tmp_path / "home").mkdir()
    code, out, err = command("sessions")
    assert (code, out) == (0, "")
    assert "no sessions yet in" in err
    assert "localops demo" in err


def test_a_call_without_a_price_is_shown(command: Command) -> None:
    """A session that has calls of unknown cost never looks free."""
    _session("one")
    assert "unpriced" in command("sessions")[1]


@pytest.mark.parametrize("wrong", [("--state", "Odd"), ("--since", "soon"), ("-n", "0"), ("--project", "../x")])
def test_wrong_usage_is_2(command: Command, wrong: tuple[str, ...]) -> None:
    """Contradicting options are refused with code 2 and a reason."""
    code, _, err = command("sessions", *wrong)
    assert code == 2
    assert err


def test_an_events_own_cost_adds_up(as_json: AsJson) -> None:
    """Dollars and nano-dollars agree."""
    session = localops.start_session()
    assert session is not None
    session.record(ToolEvent(name="paid", cost=0.25))
    session.end_session("Success")
    (listed,) = as_json("sessions")["sessions"]
    assert (listed["cost_usd"], listed["cost_nano"]) == (0.25, 250_000_000)


def test_the_dearest_come_first(as_json: AsJson, command: Command) -> None:
    """--sort orders the whole list, not a page of it, and works with filters by size."""
    for name, dollars in (("cheap", 0.25), ("dear", 4.0), ("middle", 1.0)):
        with _begun(name=name) as session:
            session.record(ToolEvent(name=f"tool of {name}", cost=dollars))
            if name == "cheap":
                session.record(localops.ErrorEvent(error_type="Lost"))
    assert _names(as_json("sessions", "--sort", "cost", "-n", "2")) == ["dear", "middle"]
    assert _names(as_json("sessions", "--sort", "cost", "--min-cost", "0.3")) == ["dear", "middle"]
    assert _names(as_json("sessions", "--errors")) == ["cheap"]
    assert _names(as_json("sessions", "--tool", "tool of middle")) == ["middle"]
    assert command("sessions", "--sort", "cost", "--before", "last")[0] == 2


def test_a_pipe_gets_times_and_digits_that_a_program_reads(command: Command) -> None:
    """`2 min ago`, and separators between digits, are only for a terminal."""
    with _begun(name="large") as session:
        session.record(LLMEvent(model="gpt-4o", prompt_tokens=1_234_567, completion_tokens=0))
    titles, _, line = command("sessions")[1].splitlines()
    assert "began (UTC)" in titles
    assert re.search(r"  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line)
    assert "1234567" in line.split()


_DIES = """
import os, signal, localops
from localops import decorators

@decorators.tool(name="slow_query")
def slow_query():
    os.kill(os.getpid(), signal.SIGKILL)

localops.start_session(name="killed")
slow_query()
"""


@pytest.mark.parametrize("folded", [False, True])
def test_a_session_is_found_by_the_tool_it_died_in(command: Command, as_json: AsJson, folded: bool) -> None:
    """The call has not ended, so it counts nowhere; the tool belongs to the session all the same."""
    programs.run(_DIES)
    if folded:
        command("sessions")
    assert _names(as_json("sessions", "--tool", "slow_query")) == ["killed"]
    assert _names(as_json("sessions", "--tool", "slow")) == []
    figures = as_json("analytics", "last")
    assert figures["tool_calls"] == 0
    assert [(one["tool"], one["events"], one["seconds"]) for one in figures["by_tool"]] == [("slow_query", 0, 0.0)]
    assert "tools      slow_query" in command("show")[1]
