"""`localops score` and `localops note`."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

import localops
from localops import config
from localops.reading.filters import Filters
from localops.server.home_store import HomeStore

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def session() -> localops.Session:
    """One ended session with one event."""
    begun = localops.start_session(name="run")
    begun.record(localops.ActionEvent(action_type="plan"))
    begun.end_session("Success")
    return begun


def test_a_score_is_given_and_listed(session: localops.Session, command: Command, as_json: AsJson) -> None:
    """By `last` or the beginning of an id; the list says which no longer count."""
    assert command("score", "last", "correct", "0.5") == (
        0,
        "",
        f"localops: correct 0.5, by human: session {str(session.session_id)[:13]}\n",
    )
    event = next(session.events)["id"]
    options = ("--by", "ann", "--comment", "why not", "--version", "2", "--event", event[:18])
    given = as_json("score", str(session.session_id)[:18], "correct", "true", *options)
    assert (given["session_id"], given["event"], given["value"]) == (str(session.session_id), event, True)
    command("score", "last", "correct", "-0.25")
    listed = as_json("score", "last")
    assert [(each["name"], each["value"], each["by"], each["counts"]) for each in listed["scores"]] == [
        ("correct", 0.5, "human", False),
        ("correct", True, "ann", True),
        ("correct", -0.25, "human", True),
    ]
    assert listed["scores"][1]["comment"] == "why not"
    assert listed["scores"][1]["id"] == given["id"]
    out = command("score", "last")[1]
    assert out.count("no longer counts") == 1


def test_the_event_of_a_score_is_shown_so_that_it_is_found(command: Command) -> None:
    """Events of the same millisecond have the same first 13 characters."""
    session = localops.start_session()
    session.record(localops.ActionEvent(action_type="plan"))
    [first] = session.events
    at = uuid.UUID(first["id"]).int >> 80
    twins = [localops.ActionEvent(action_type=name) for name in ("a", "b")]
    for number, twin in enumerate(twins):
        twin.id = uuid.UUID(int=(at << 80) | (7 << 76) | ((number + 1) << 64) | (2 << 62) | number)
        session.record(twin)
    session.end_session("Success")
    assert command("score", "last", "good", "1", "--event", str(twins[0].id)[:13])[0] == 1
    text = command("score", "last", "good", "1", "--event", str(twins[0].id))[2]
    assert f"event {twins[0].id} of session" in text
    [shown] = re.findall(r"[0-9a-f]{8}-[0-9a-f-]+", command("score", "last")[1])
    assert shown == str(twins[0].id)[:18]
    assert command("score", "last", "good", "0", "--event", shown)[0] == 0


def test_a_score_is_taken_back(session: localops.Session, command: Command, as_json: AsJson) -> None:
    """The earlier score stays in the list."""
    command("score", "last", "correct", "good")
    command("score", "last", "correct", "--withdraw")
    assert [(each["value"], each["counts"]) for each in as_json("score", "last")["scores"]] == [
        ("good", False),
        (None, False),
    ]
    assert session.scores == []
    code, _, err = command("score", "last", "correct", "--withdraw")
    assert code == 1
    assert "no score 'correct' by 'human' to withdraw" in err
    assert len(as_json("score", "last")["scores"]) == 2


@pytest.mark.parametrize("options", [(), ("--by", "ann"), ("--event",)])
def test_only_a_score_that_counts_is_taken_back(
    options: tuple[str, ...], session: localops.Session, command: Command, as_json: AsJson
) -> None:
    """One of another name, author or event is not meant, and a score of nothing leaves no line."""
    if options == ("--event",):
        options = ("--event", next(session.events)["id"])
    name = "correct" if options else "ghost"
    command("score", "last", "correct", "true")
    code, out, err = command("score", "last", name, "--withdraw", *options)
    assert (code, out) == (1, "")
    assert f"no score '{name}'" in err
    session.score("ghost", None)
    assert [(each["name"], each["counts"]) for each in as_json("score", "last")["scores"]] == [("correct", True)]


def test_what_was_stored_is_printed(session: localops.Session, command: Command) -> None:
    """For a secret that was typed, the note that replaced it."""
    key = "sk-ant-api03-" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0" + "zA7a"
    for options in (("score", "last", "verdict", f"it has {key}"), ("note", "last", key, "--by", f"ann {key}")):
        for form in ((), ("--json",)):
            code, out, err = command(*options, *form)
            assert (code, key in out + err, "[redacted:anthropic]" in out + err) == (0, False, True)
    err = command("score", "last", key, "--withdraw")[2]
    assert (key in err, "no score '[redacted:anthropic]'" in err) == (False, True)
    assert session.scores[0]["value"] == "it has [redacted:anthropic]"


@pytest.mark.usefixtures("session")
def test_a_note_is_kept_and_listed(command: Command, as_json: AsJson) -> None:
    """With its author."""
    assert command("note", "last", "look \x1b[31magain", "--by", "ann")[0] == 0
    [note] = as_json("score", "last")["notes"]
    assert (note["text"], note["by"]) == ("look \x1b[31magain", "ann")
    out = command("score", "last")[1]
    assert "again" in out
    assert "\x1b[31m" not in out


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("arguments", "code", "about"),
    [
        (("score", "last", "correct", "nan"), 2, "finite"),
        (("score", "last", "correct", "inf"), 2, "finite"),
        (("score", "last", "correct", "1e999"), 2, "finite"),
        (("score", "last", "cor<rect", "1"), 2, "name"),
        (("score", "last", "correct", "1", "--by", " "), 2, "author"),
        (("score", "last", "correct", "None"), 2, "use --withdraw"),
        (("score", "last", "correct"), 2, "VALUE"),
        (("score", "last", "correct", "1", "--withdraw"), 2, "VALUE"),
        (("score", "last", "correct", "--comnent", "x"), 2, "--comnent"),
        (("score", "0000", "correct", "1"), 1, "no session"),
        (("score", "none", "correct", "1"), 1, "beginning of an id"),
        (("score", "last", "correct", "1", "--event", "0000"), 1, "no event"),
        (("score", "last", "correct", "1", "--project", "other"), 1, "no project"),
        (("note", "last", " "), 2, "note"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    arguments: tuple[str, ...], code: int, about: str, command: Command, as_json: AsJson
) -> None:
    """With the reason, and nothing is written."""
    ended, out, err = command(*arguments)
    assert (ended, out) == (code, "")
    assert about in err
    assert as_json("score", "last")["scores"] == []


@pytest.mark.usefixtures("session")
def test_a_session_without_scores_says_so(command: Command) -> None:
    """On stderr: stdout has results only."""
    code, out, err = command("score", "last")
    assert (code, out) == (0, "")
    assert "no scores" in err


@pytest.mark.usefixtures("session")
def test_a_value_for_json_is_exact(command: Command) -> None:
    """Whole numbers stay whole."""
    assert json.loads(command("score", "last", "stars", "5", "--json")[1])["value"] == 5


def test_lists_are_filtered_and_sorted_by_score(command: Command, as_json: AsJson) -> None:
    """The greatest first, or the least; sessions without the score are last."""
    for name, value in (("low", 0.25), ("none", None), ("high", 0.75)):
        begun = localops.start_session(name=name)
        if value is not None:
            begun.score("correct", value)
        begun.end_session("Success")

    def names(*options: str) -> list[str]:
        return [each["name"] for each in as_json("sessions", *options)["sessions"]]

    assert names("--score", "correct<0.5") == ["low"]
    assert names("--score", "correct", "--score", "correct>0.5") == ["high"]
    assert names("--sort", "score:correct") == ["high", "low", "none"]
    assert names("--sort", "score:correct", "--reverse") == ["low", "high", "none"]
    listed = as_json("sessions", "--score", "correct<0.5")["sessions"][0]["scores"]
    assert [(each["name"], each["value"]) for each in listed] == [("correct", 0.25)]
    assert "correct 0.25" in command("sessions")[1]
    assert "scores" not in command("sessions", "--tag", "nothing")[1]
    assert command("sessions", "--score", "correct<good")[0] == 2
    assert command("sessions", "--sort", "score:")[0] == 2


def test_a_sort_by_a_score_that_nothing_has_is_refused(command: Command) -> None:
    """It would list sessions in no order; the message names the scores that there are."""
    begun = localops.start_session()
    code, _, err = command("sessions", "--sort", "score:nope")
    assert (code, "got 'nope'; there are no scores" in err) == (2, True)
    begun.score("tidy", 1)
    begun.score("correct", 1)
    begun.score("withdrawn", 1)
    begun.score("withdrawn", None)
    begun.end_session()
    code, out, err = command("sessions", "--sort", "score:nope", "--json")
    assert (code, out) == (2, "")
    assert "invalid score: expected one that a session has, got 'nope'; existing scores: 'correct', 'tidy'\n" in err
    for command_of_list, what in (("sessions", "session"), ("calls", "call")):
        code, _, err = command(command_of_list, "--score", "nope>0.5")
        reason = "no session has the score 'nope'; existing scores: 'correct', 'tidy'"
        assert (code, err) == (0, f"localops: no {what} matches these filters: {reason}\n")
        assert command(command_of_list, "--score", "nope>0.5", "--json")[2] == f"localops: {reason}\n"
    for wanted, reason in {
        "tidy@ann": "no score 'tidy' is by 'ann'; there are some by 'code'",
        "tidy==3": "no score 'tidy' is = 3; existing values: 1",
        "tidy@code<0.5": "no score 'tidy' by 'code' is < 0.5; existing values: 1",
    }.items():
        err = command("sessions", "--score", wanted)[2]
        assert err == f"localops: no session matches these filters: {reason}\n"
        assert command("sessions", "--score", wanted, "--json")[2] == f"localops: {reason}\n"
    assert str(begun.session_id) in command("sessions", "--score", "tidy==1", "--json")[1]
    reason = "no session has the score 'nope'; existing scores: 'correct', 'tidy'"
    nothing = "no event of the sessions that pass the filters contains 'tidy'"
    assert command("search", "tidy", "--score", "nope")[2] == f"localops: {nothing}: {reason}\n"
    assert command("search", "tidy", "--score", "nope", "--json")[2] == f"localops: {reason}\n"
    for by in ((), ("--by", "score"), ("--by", "tool"), ("--json",)):
        assert f"localops: {reason}\n" in command("analytics", "--score", "nope", *by)[2]
    assert "no scores: give one" not in command("analytics", "--by", "score", "--score", "nope")[2]
    assert reason in command("export", "--score", "nope", "--format", "json")[2]


def test_lists_are_sorted_by_categories(command: Command, as_json: AsJson) -> None:
    """By their letters, after numbers, in the command and in the API; sessions without the score are last."""
    for name, value in (("b", "mild"), ("none", None), ("c", "Severe"), ("a", "low"), ("number", 1)):
        begun = localops.start_session(name=name)
        if value is not None:
            begun.score("harm", value)
        begun.end_session("Success")

    def names(*options: str) -> list[str]:
        return [each["name"] for each in as_json("sessions", "--sort", "score:harm", *options)["sessions"]]

    assert names() == ["number", "c", "b", "a", "none"]
    assert names("--reverse") == ["a", "b", "c", "number", "none"]
    store = HomeStore(config.home())
    listed, _ = store.sessions(None, Filters(), before=None, limit=3, sort="score:harm")
    rest, _ = store.sessions(None, Filters(), before=listed[-1]["session_id"], limit=3, sort="score:harm")
    store.close()
    assert [each["name"] for each in (*listed, *rest)] == ["number", "c", "b", "a", "none"]


def test_the_list_names_authors_where_there_are_several(command: Command) -> None:
    """A single score has no author; several scores of one name are listed with their authors."""
    for ann, judge in ((0.4, 0.7), (0.9, 0.9), (0.8, None)):
        begun = localops.start_session()
        begun.score("tidy", ann, by="ann")
        if judge is not None:
            begun.score("tidy", judge, by="judge")
        begun.end_session()
    out = command("sessions")[1]
    assert "  tidy 0.4 by ann, tidy 0.7 by judge" in out
    assert "  tidy 0.9 by ann and judge" in out
    assert "  tidy 0.8\n" in out.replace(" \n", "\n")


def test_a_score_that_was_asked_for_is_never_cut(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a separate column, even if there is no room for all other scores."""
    begun = localops.start_session(name="a nightly run with a long name that fills a line of the terminal")
    for name in ("brief", "correct", "polite", "tidy"):
        begun.score(name, 0.25, by="ann")
        begun.score(name, 0.75, by="judge")
    begun.end_session()
    monkeypatch.setenv("COLUMNS", "100")
    for options in (("--score", "tidy>0.1"), ("--sort", "score:tidy")):
        assert "tidy 0.25 by ann, tidy 0.75 by judge" in command("sessions", *options)[1]


def test_an_event_is_shown_with_its_scores(session: localops.Session, command: Command, as_json: AsJson) -> None:
    """Those that count and its notes, not those of the session."""
    event = next(session.events)["id"]
    for value in ("0.2", "0.9"):
        options = ("--by", "ann", "--version", "v2", "--comment", "why not", "--event", event)
        command("score", "last", "useful", value, *options)
    command("note", "last", "look again", "--event", event)
    command("score", "last", "whole", "1")
    _, out, _ = command("show", "--event", event)
    assert "useful 0.9 by ann (v2): why not" in out
    assert "look again" in out
    assert "useful 0.2" not in out
    assert "whole" not in out
    shown = as_json("show", "--event", event)
    assert [(one["value"], one["counts"]) for one in shown["scores"]] == [(0.2, False), (0.9, True)]
    assert [one["text"] for one in shown["notes"]] == ["look again"]


def test_averages_are_printed(command: Command, as_json: AsJson) -> None:
    """With the interval and how it was made."""
    for value in (True, True, False):
        begun = localops.start_session()
        begun.score("passed", value, by="ci")
        begun.score("loss", 0.5)
        begun.end_session()
    lines = as_json("analytics", "--by", "score")["lines"]
    assert [(each["name"], each["by"], each["count"], each["interval"]) for each in lines] == [
        ("loss", "code", 3, "t"),
        ("passed", "ci", 3, "wilson"),
    ]
    out = command("analytics", "--by", "score")[1]
    assert "67%" in out
    assert "21% … 94%" in out
    assert [line.split("  ")[-1].strip() for line in out.splitlines()[2:]] == ["Student's t", "Wilson"]
    assert command("analytics", "last", "--by", "score")[0] == 2


@pytest.mark.usefixtures("session")
def test_a_session_is_shown_with_its_scores(command: Command, as_json: AsJson) -> None:
    """In `show`, and in exports."""
    command("score", "last", "correct", "0.5", "--comment", "why not")
    command("note", "last", "look again")
    out = command("show", "last")[1]
    assert "correct 0.5" in out
    assert "look again" in out
    assert [each["comment"] for each in as_json("show", "last")["scores"]] == ["why not"]
    exported = json.loads(command("export", "last", "--format", "json")[1])
    assert [each["comment"] for each in exported["scores"]] == ["why not"]
    assert [each["text"] for each in exported["notes"]] == ["look again"]
