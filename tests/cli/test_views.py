"""`localops views`, and `localops sessions --view`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock, config
from localops.reading.session_state import HUB
from localops.upkeep.views import FILE

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]

_HOUR_NS = 3_600_000_000_000


@pytest.fixture
def home() -> Path:
    """Return the home of this test."""
    return Path(config.home(None))


@pytest.fixture
def names(as_json: AsJson) -> Callable[..., list[str]]:
    """Return the names of the sessions that `localops sessions` lists with some options."""
    for name, state, tags in (("one", "Success", ["a"]), ("two", "Failure", ["a"]), ("three", "Failure", ["b"])):
        session = localops.start_session(name=name, tags=tags)
        session.record(localops.ActionEvent(action_type="plan"))
        session.end_session(state)
    return lambda *options: [each["name"] for each in as_json("sessions", *options)["sessions"]]


def test_a_view_stands_for_its_filters(names: Callable[..., list[str]], command: Command) -> None:
    """All of them, in its order; what is given beside it replaces that filter alone."""
    assert command("views", "save", "failures", "--state", "fail", "--tag", "a")[0] == 0
    assert names("--view", "failures") == names("--state", "Failure", "--tag", "a") == ["two"]
    assert names("--view", "failures", "--tag", "b") == ["three"]
    assert names("--view=failures", "--state", "success") == ["one"]
    command("views", "save", "failures", "--state", "fail", "--sort", "took", "--reverse")
    assert names("--view", "failures") == names("--state", "fail", "--sort", "took", "--reverse")


def test_times_and_amounts_mean_the_same_later(names: Callable[..., list[str]], as_json: AsJson) -> None:
    """A time of the form 2h counts back from when the view is used; others, and amounts, are the API's."""
    options = ("--since", "2h", "--until", "2091-01-02", "--min-took", "1.5m", "--min-cost", "$0.25", "--errors")
    kept = as_json("views", "save", "recent", *options)["filters"]
    assert kept == {
        "since": ["2h"],
        "until": ["2091-01-03T00:00:00.000000+00:00"],
        "min_seconds": ["90"],
        "min_cost": ["0.25"],
        "errors": ["1"],
    }
    assert names("--view", "recent") == []
    assert len(names("--view", "recent", "--min-took", "0", "--min-cost", "0")) == 0
    as_json("views", "save", "recent", "--since", "2h", "--until", "2091-01-02")
    assert len(names("--view", "recent")) == 3
    as_json("views", "save", "old", "--until", "2h")
    assert names("--view", "old") == []
    assert abs((clock.ago("2h") or 0) + 2 * _HOUR_NS - clock.now_ns()) < _HOUR_NS


def test_a_day_of_the_pages_does_not_include_its_end(
    names: Callable[..., list[str]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the pages a view until a day ends where the day begins."""
    today = clock.iso(clock.now_ns())[:10]
    (home / FILE).write_text(json.dumps({"views": [{"name": "before", "filters": {"until": [today]}}]}))
    assert names("--view", "before") == []
    assert len(names("--until", today)) == 3


def test_secrets_are_replaced_as_they_are_in_what_is_recorded(command: Command, as_json: AsJson, home: Path) -> None:
    """By our rules and the home's own; the view finds the sessions with that tag, and the reply says what was done."""
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text("redact = ['tide-[0-9]+']\n")
    key = f"sk-ant-api03-{'k7' * 20}"
    session = localops.start_session(name="one", tags=[key])
    session.end_session("Success")
    code, _, err = command("views", "save", "of tide-77", "--tag", key, "--state", "Success")
    assert code == 0
    assert "2 secrets in the view were replaced, as in all that is recorded" in err
    kept = (home / FILE).read_text()
    assert (key in kept, "tide-77" in kept) == (False, False)
    assert [one["name"] for one in as_json("sessions", "--view", "of [redacted:pattern]")["sessions"]] == ["one"]
    reply = as_json("views", "save", "tagged", "--tag", key)
    assert (reply["redacted"], reply["filters"]["tag"]) == (1, ["[redacted:anthropic]"])
    assert as_json("views", "save", "plain", "--tag", "night")["redacted"] == 0


def test_views_are_listed_replaced_and_deleted(
    names: Callable[..., list[str]], command: Command, as_json: AsJson
) -> None:
    """By name; each is of the home, or of one project alone."""
    assert "no saved views" in command("views", "list")[2]
    assert as_json("views", "save", "b", "--tag", "x")["replaced"] is False
    assert as_json("views", "save", "b", "--tag", "y", "--score", "s>1", "--score", "t")["replaced"] is True
    as_json("views", "save", "A")
    assert [(each["name"], each["filters"]) for each in as_json("views", "list")["views"]] == [
        ("A", {}),
        ("b", {"tag": ["y"], "score": ["s>1", "t"]}),
    ]
    assert "tag=y, score=s>1, score=t" in command("views", "list")[1]
    as_json("views", "save", "A", "--state", "success", "--project", "default")
    assert [each["name"] for each in as_json("views", "list", "--project", "default")["views"]] == ["A"]
    assert names("--view", "A", "--project", "default") == ["one"]
    assert len(names("--view", "A")) == 3
    code, out, hint = command("sessions", "--view", "b", "--project", "default", "--json")
    assert (code, json.loads(out)["sessions"]) == (0, [])
    assert hint == "localops: no session has the score 's'; there are no scores\n"
    assert as_json("views", "delete", "A")["deleted"] == "A"
    assert command("views", "delete", "A")[0] == 1
    assert "--project default" in command("views", "delete", "A")[2]
    # That of a project is in the list of the home, and stands for sessions of that project.
    assert [(each["name"], each["project"]) for each in as_json("views", "list")["views"]] == [
        ("b", None),
        ("A", "default"),
    ]
    assert names("--view", "A") == ["one"]
    code, _, err = command("sessions", "--view", "C")
    assert code == 1
    assert "no saved view 'C'; there is: 'A', 'b'" in err


def test_a_hub_has_views_of_projects_alone(home: Path, command: Command) -> None:
    """In the folder of the hub itself no key and no page would find one."""
    home.mkdir(parents=True, exist_ok=True)
    (home / HUB).write_text("{}")
    code, _, err = command("views", "save", "x")
    assert (code, "--project" in err) == (2, True)
    assert command("views", "save", "x", "--project", "default")[0] == 0
    assert not (home / FILE).exists()


def test_a_filter_of_the_pages_alone_is_named(names: Callable[..., list[str]], home: Path, command: Command) -> None:
    """It is not left out: the list would be longer than that of the page. An order of the pages alone is."""
    views = [
        {"name": "dear", "filters": {"mood": ["good"]}},
        {"name": "two", "filters": {"min_cost": ["3", "4"]}},
        {"name": "tags", "filters": {"tag": ["a", "b"], "not_state": ["Success"]}},
        {"name": "sorted", "filters": {"sort": ["name"], "order": ["asc"]}, "colour": "of a later release"},
    ]
    (home / FILE).write_text(json.dumps({"views": views}))
    assert "mood, which is only on the pages" in command("sessions", "--view", "dear")[2]
    assert names("--view", "tags") == ["three", "two"]
    assert "several values of min_cost" in command("sessions", "--view", "two")[2]
    assert len(names("--view", "sorted")) == 3


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 81])
def test_a_name_is_refused_that_a_list_could_not_show(command: Command, home: Path, name: str) -> None:
    """Nothing is written."""
    code, _, err = command("views", "save", name)
    assert code == 2
    assert "invalid name of a view" in err
    assert not (home / FILE).exists()


def test_a_file_that_cannot_be_read_is_kept(command: Command, home: Path) -> None:
    """The error names it."""
    home.mkdir(exist_ok=True)
    (home / FILE).write_text("{")
    for arguments in (("list",), ("save", "a"), ("delete", "a")):
        code, _, err = command("views", *arguments)
        assert code == 1
        assert str(home / FILE) in err
    assert (home / FILE).read_text() == "{"
