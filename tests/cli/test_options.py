"""Options of the commands that contradict each other, or that would be passed over: each is refused, or works."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

import localops
from localops import ActionEvent

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def session() -> localops.Session:
    """A failed session with two agents and three events."""
    session = localops.start_session(name="one")
    for name in ("planner", "writer"):
        session.create_agent(name)
    for name in ("a", "b", "c"):
        session.record(ActionEvent(action_type=name))
    session.end_session("Failure")
    return session


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("show --tree --timeline", "give only one of --tree and --timeline"),
        ("show --timeline --events", "give only one of --timeline and --events"),
        ("show --tree --event 1234", "give only one of --tree and --event"),
        ("show --event 1234 -n 3", "give only one of --event and --limit"),
        ("query 'select 1' --csv --json", "give only one of --csv and --json"),
        ("analytics last --tz Europe/Berlin", "--tz is for days: add --by day"),
        ("analytics --by model --tz Europe/Berlin", "--tz is for days: add --by day"),
        ("analytics --percentiles", "give an ID"),
        ("analytics last --by tool --percentiles", "no --by"),
        ("analytics last -n 50", "add --by"),
        ("analytics --since 2h --until 3d", "--since is later than --until"),
        ("sessions --since 2h --until 3d", "--since is later than --until"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused(command: Command, words: str, message: str) -> None:
    """The error says what to do instead, with the exit code of wrong usage."""
    code, out, err = command(*shlex.split(words))
    assert (code, out, message in err) == (2, "", True)


@pytest.mark.parametrize(
    "words",
    [
        "show --tree -n 3",
        "show --json -n 1",
        "show --events --json",
        "analytics --by day --tz Europe/Berlin",
        "analytics last --percentiles",
        "analytics last --by tool -n 2",
        "sessions --since 3d --until 2h",
    ],
)
def test_options_that_go_together_still_do(command: Command, words: str) -> None:
    """The neighbours of the refused ones."""
    assert command(*shlex.split(words))[0] == 0


@pytest.mark.parametrize("view", ["--events", "--timeline", "--tree"])
def test_a_limit_counts_the_lines_that_are_shown(command: Command, view: str) -> None:
    """Agents have no line, so they take none away."""
    out = command("show", view, "-n", "2")[1]
    assert [name for name in "abc" if f"action {name}" in out or f"action  {name}" in out] == ["a", "b"]
    assert "1 more event" in out


@pytest.mark.parametrize("state", ["Fail", "fail", "FAILURE"])
def test_a_state_is_named_as_in_the_api(command: Command, as_json: AsJson, state: str) -> None:
    """`end_session("Fail")` makes a Failure, which is found under both names."""
    assert len(as_json("sessions", "--state", state)["sessions"]) == 1
    assert command("prune", "--state", state, "--dry-run")[0] == 0


def test_a_name_of_an_order_is_the_same_on_the_pages(as_json: AsJson) -> None:
    """Each --sort of the list is a sort of the pages, too."""
    from localops.cli.sessions import _ORDERS
    from localops.server.session_index import SORTS

    assert set(_ORDERS) - {"took"} <= set(SORTS)
    assert as_json("sessions", "--sort", "failed")["sessions"]


def test_a_name_that_is_no_command_gets_a_hint(command: Command) -> None:
    """A similar command, or the function that is meant."""
    for name, hint in (
        ("scor", "did you mean 'score'?"),
        ("resume", "`localops.resume(ID)`; see `localops help resume`"),
    ):
        code, out, err = command(name, "last")
        assert (code, out) == (2, "")
        assert f"unknown command '{name}': " in err
        assert err.rstrip().endswith(hint)


def test_each_document_names_a_session_alike(session: localops.Session, as_json: AsJson) -> None:
    """By its id, project, name and state; other places have them in lists or in pairs."""
    other = localops.start_session(name="two")
    other.end_session("Success")
    runs = str(session.session_id), str(other.session_id)
    about = {"session_id": runs[0], "project": "default", "name": "one", "state": "Failure"}
    checked = ("check", "--max-errors", "9")
    documents = [
        *(as_json(command, runs[0]) for command in ("show", "why", "steps", "analytics")),
        as_json(*checked, runs[0]),
        as_json(*checked, *runs)["runs"][0],
        as_json("lint", runs[0])["sessions"][0],
        as_json("diff", *runs)["a"],
        as_json("sessions")["sessions"][1],
    ]
    assert [{name: document.get(name) for name in about} for document in documents] == [about] * len(documents)
