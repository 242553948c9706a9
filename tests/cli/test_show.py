"""`localops show`: a session in every view, and one event in full."""

from __future__ import annotations

import datetime
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ActionEvent, LLMEvent
from localops.decorators import agent, operation, tool
from tests.journal.looks import after_a_look

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


def _begun(**options: Any) -> localops.Session:
    session = localops.start_session(**options)
    assert session is not None
    return session


@tool(name="fetch")
def _fetch(url: str) -> str:
    raise TimeoutError(f"{url} took too long")


@agent(name="Researcher")
class _Researcher:
    @operation(name="research")
    def run(self) -> None:
        localops.record(LLMEvent(prompt=[{"role": "user", "content": "Why?"}], completion="So.", model="gpt-4o"))
        with pytest.raises(TimeoutError):
            _fetch("https://example.org")


@pytest.fixture
def session() -> localops.Session:
    """Return a session with an agent, nested work and a failure, ended by the program."""
    session = localops.start_session(["night"], name="nightly")
    assert session is not None
    _Researcher().run()
    session.end_session("Failure", "it was late")
    return session


def test_details_come_first(session: localops.Session, command: Command) -> None:
    """Name, state, reason, tags, agents, tools and figures stand above the tree."""
    code, out, err = command("show", str(session.session_id)[:13])
    assert (code, err) == (0, "")
    for expected in ("nightly  Failure", "it was late", "night", "Researcher", "fetch", "Errors 1", "gpt-4o"):
        assert expected in out


def test_the_tree_shows_nesting(session: localops.Session, command: Command) -> None:
    """Each event is below its parent; a failed one is marked and its error is below it."""
    _, out, _ = command("show", "--tree")
    begins = [
        "└─ operation research",
        "   ├─ llm gpt-4o",
        "   └─ ✗ tool fetch",
        "      └─ TimeoutError: https://example.org took too long",
    ]
    for line, begin in zip(out.splitlines()[2:], begins, strict=True):
        assert line.startswith(begin)


@pytest.mark.parametrize("view", ["--tree", "--timeline", "--events"])
def test_every_view_fits_the_terminal(
    session: localops.Session, command: Command, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    """No line is wider than the terminal, and every event is there."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command("show", view)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "fetch" in out


def test_one_event_is_shown_in_full(session: localops.Session, command: Command, as_json: AsJson) -> None:
    """An error's traceback is readable text, and the beginning of an id is found in any project."""
    (error,) = [event for event in as_json("show")["events"] if event["kind"] == "error"]
    _, out, _ = command("show", "--event", error["id"][:20])
    assert "Traceback (most recent call last):\n" in out
    assert "nightly" in out
    assert as_json("show", "--event", error["id"])["event"] == error


def test_a_chat_is_shown_by_its_roles(session: localops.Session, command: Command, as_json: AsJson) -> None:
    """A prompt of messages is printed as a conversation."""
    (call,) = [event for event in as_json("show")["events"] if event["kind"] == "llm"]
    assert "user: Why?" in command("show", "--event", call["id"])[1]


def test_nothing_of_a_message_is_left_out(command: Command, as_json: AsJson) -> None:
    """Parts of a message beside its text, like tool calls, are printed below it."""
    session = localops.start_session()
    assert session is not None
    session.record(LLMEvent(completion={"role": "assistant", "content": None, "tool_calls": [{"name": "fetch"}]}))
    (call,) = as_json("show")["events"]
    out = command("show", "--event", call["id"])[1]
    assert "assistant:\n{" in out
    assert '"name": "fetch"' in out


def test_a_killed_session_shows_where_it_died(command: Command, as_json: AsJson) -> None:
    """The operation that was open when the process was killed is named, and marked in the tree."""
    code = (
        "import localops, os, signal\n"
        "s = localops.start_session(name='doomed')\n"
        "s.begin('tool', 'web_search')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    _, out, _ = command("show")
    assert "doomed  Indeterminate" in out
    assert "process died inside tool 'web_search'" in out
    assert "… tool web_search" in out
    assert [one["name"] for one in as_json("show")["unfinished"]] == ["web_search"]
    # Its duration is one lower bound, with the same digits everywhere.
    (bound,) = re.findall(r"^took +at least (\S+), to its last row", out, re.MULTILINE)
    assert f"at least {bound}, to its last row" in command("analytics", "last")[1]
    assert f"≥{bound}" in command("analytics", "--by", "session")[1]
    assert f"<dd>at least {bound}</dd>" in command("export", "last", "--format", "html")[1]


def test_a_child_that_died_in_a_session_that_went_on_is_a_notice(command: Command) -> None:
    """It names the process and the operation, and how long before the last row that began, as a whole sentence."""
    with localops.start_session() as session:
        code = (
            "import localops, os, signal\n"
            "localops.init().begin('tool', 'web_search')\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        environment = os.environ | {"LOCALOPS_SESSION_ID": str(session.session_id)}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        assert process.wait() == -signal.SIGKILL
    notice = next(line for line in command("show")[1].splitlines() if line.startswith("! "))
    assert re.fullmatch(
        rf"! process {process.pid} died inside tool 'web_search', which began \S+ before the last row", notice
    )


def test_a_limit_is_reported(command: Command) -> None:
    """Events that a limit leaves out are counted, not hidden."""
    session = localops.start_session()
    assert session is not None
    for number in range(10):
        session.record(ActionEvent(action_type=f"step {number}"))
    _, out, _ = command("show", "--tree", "-n", "4")
    assert "… 6 more events" in out
    assert "step 9" in command("show", "--tree", "-n", "0")[1]


def test_an_operation_that_ended_beyond_the_limit_is_finished(command: Command) -> None:
    """A limit never makes an operation look unfinished."""
    session = localops.start_session()
    assert session is not None
    outer = session.begin("operation", "outer")
    assert outer is not None
    for number in range(10):
        session.record(ActionEvent(action_type=f"step {number}"))
    outer.finish({})
    session.end_session("Success")
    assert "unfinished" not in command("show", "--tree", "-n", "3")[1]


@pytest.mark.parametrize("unknown", ["nosuchid", "abcdef12", "ab"])
def test_an_unknown_id_is_reported(session: localops.Session, command: Command, unknown: str) -> None:
    """Exit code 1, and the error says where to look."""
    code, out, err = command("show", unknown)
    assert (code, out) == (1, "")
    assert "localops sessions" in err


def test_an_ambiguous_id_names_its_matches(session: localops.Session, command: Command) -> None:
    """Code 1, with the ids that were meant."""
    other = localops.start_session()
    assert other is not None
    code, _, err = command("show", str(session.session_id)[:6])
    assert code == 1
    assert str(other.session_id) in err
    assert str(session.session_id) in err


def test_each_process_is_named_once(command: Command) -> None:
    """A process that ended the session and joined it again counts once; without a host it is shown as its number."""
    for opted_out in (False, True):
        config = localops.Config(env_data_opt_out=opted_out)
        first = localops.start_session(config=config)
        assert first is not None
        first.end_session()
        again = localops.start_session(inherited_session_id=first.session_id, config=config)
        assert again is not None
        again.end_session()
        line = next(line for line in command("show", "last")[1].splitlines() if line.startswith("processes"))
        assert line.split()[1:] == ([str(os.getpid())] if opted_out else [str(os.getpid()), "on", platform.node()])


@pytest.mark.parametrize(("limit", "more"), [("1", True), ("0", False), ("1000", False)])
def test_json_has_whether_there_is_more(session: localops.Session, as_json: AsJson, limit: str, more: bool) -> None:
    """A list that was cut is marked."""
    document = as_json("show", str(session.session_id), "-n", limit)
    assert document["more"] is more
    assert (len(document["events"]) == 1) is more


def test_the_tree_shows_the_input_of_calls(session: localops.Session, command: Command) -> None:
    """The input of a call is behind its name."""
    assert "fetch  url=https://example.org" in command("show", "--tree")[1]


def test_a_plain_show_takes_a_limit(command: Command) -> None:
    """Without one it shows the first lines of the tree; 0 is all of it."""
    with _begun() as session:
        for number in range(60):
            session.record(ActionEvent(action_type=f"step {number}"))
    assert "step 59" not in command("show")[1]
    assert "step 59" in command("show", "-n", "0")[1]
    assert "step 3" not in command("show", "-n", "3")[1]


def test_a_running_session_says_what_it_does(command: Command) -> None:
    """An open operation is no problem: there is no notice, and the tree has `running`."""
    with _begun():

        @tool(name="wait")
        def look() -> tuple[int, str, str]:
            return command("show")

        _, out, _ = look()
    assert "inside tool 'wait'" in out
    assert "running" in out
    assert "unfinished" not in out
    assert "\n! " not in out


def test_offsets_count_from_the_beginning_of_the_session(command: Command, as_json: AsJson) -> None:
    """Timeline and table count alike, and like the pages; an agent's row moves nothing."""
    session = _begun()
    began = as_json("show")["began"]
    session.create_agent("planner")
    at = datetime.datetime.fromisoformat(began)
    for name, minutes in (("later", 7), ("earlier", -2)):
        moment = at + datetime.timedelta(minutes=minutes)
        session.record(localops.ToolEvent(name=name, init_timestamp=moment, end_timestamp=moment))
    session.end_session("Success")
    for view in ("--timeline", "--events"):
        out = command("show", view)[1]
        assert "+7m 00s" in out, view
        assert "-2m 00s" in out, view
        assert "+-" not in out, view


def test_a_failed_event_has_its_error(command: Command, as_json: AsJson) -> None:
    """The linked error is shown with its traceback; one that happened inside is not."""

    @tool(name="caught")
    def caught() -> None:
        localops.record(localops.ErrorEvent(error_type="Warned", details="not mine"))

    session = _begun()
    caught()
    with pytest.raises(TimeoutError):
        _fetch("https://example.org")
    session.end_session("Failure")
    events = {event["name"]: event for event in as_json("show")["events"] if event["kind"] == "tool"}
    _, out, _ = command("show", "--event", events["fetch"]["id"])
    assert "TimeoutError: https://example.org took too long" in out
    assert "Traceback" in out
    [error] = as_json("show", "--event", events["fetch"]["id"])["errors"]
    assert error["details"] == "https://example.org took too long"
    assert "Warned" not in command("show", "--event", events["caught"]["id"])[1]
    assert as_json("show", "--event", events["caught"]["id"])["errors"] == []


def test_hits_of_a_search_can_be_opened(command: Command, as_json: AsJson) -> None:
    """The row that a session ended with can be opened, too."""
    session = _begun()
    session.record(localops.ToolEvent(name="fetch"))
    session.end_session("Failure", "the moon was full")
    [hit] = as_json("search", "moon")["hits"]
    code, out, _ = command("show", "--event", hit["event_id"])
    assert code == 0
    assert "the moon was full" in out


def test_an_event_of_another_session_is_reported(command: Command, as_json: AsJson) -> None:
    """It is shown, and stderr names its session; without a session in the command there is no message."""
    first = _begun()
    first.record(localops.ToolEvent(name="fetch"))
    first.end_session("Success")
    _begun().end_session("Success")
    [event] = as_json("show", str(first.session_id))["events"]
    code, out, err = command("show", "last", "--event", event["id"])
    assert (code, "fetch" in out) == (0, True)
    assert f"is not of session last, but of {first.session_id}" in err
    assert command("show", "--event", event["id"])[2] == ""
    assert command("show", str(first.session_id), "--event", event["id"])[2] == ""


def test_an_unknown_event_is_looked_for_among_events(session: localops.Session, command: Command) -> None:
    """Not among the sessions."""
    for unknown in ("zz", "ffffffff"):
        code, _, err = command("show", "--event", unknown)
        assert code == 1
        assert "--events" in err
        assert "localops sessions" not in err


def test_metadata_is_shown(command: Command, as_json: AsJson, tmp_path: Path) -> None:
    """Metadata of a session is with its details, in the document and in the report."""
    session = _begun()
    session.update_metadata({"dataset": "north", "rows": 3})
    session.end_session("Success")
    assert command("export", "last", "-o", str(tmp_path / "report.html"))[0] == 0
    assert '"metadata":{"dataset":"north","rows":3}' in (tmp_path / "report.html").read_text()
    assert "dataset=north, rows=3" in command("show")[1]
    assert as_json("show")["metadata"] == {"dataset": "north", "rows": 3}


def test_a_call_without_tokens_and_a_tool_without_a_name_are_shown_so(command: Command) -> None:
    """There are no zeros where nothing was counted, and no gaps between commas."""
    session = _begun()
    session.record(LLMEvent(model="gpt-4o"))
    session.record(localops.ToolEvent(name="t"))
    session.record(localops.ToolEvent())
    session.end_session("Success")
    out = command("show")[1]
    assert "0 → 0" not in out
    assert "t, (nameless)" in out or "(nameless), t" in out
    assert "(nameless)" in command("analytics", "last")[1]


def test_an_end_before_its_start_is_no_time(
    command: Command, as_json: AsJson, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints one warning when it is recorded, and no duration is below zero."""
    session = _begun()
    capsys.readouterr()
    for _ in range(2):
        session.record(localops.ToolEvent(name="back", init_timestamp=7_200, end_timestamp=3_600))
    assert capsys.readouterr().err.count("ends before it begins") == 1
    session.end_session("Success")
    for event in as_json("show")["events"]:
        assert event["seconds"] == 0
    assert "-1h" not in command("show", "--tree")[1]


@pytest.mark.parametrize("view", ["--tree", "--timeline", "--events"])
def test_a_session_without_events_says_so(command: Command, view: str) -> None:
    """A head alone would look as if something were missing."""
    localops.start_session(name="empty")
    assert command("show", view)[1].splitlines()[-1] == "no events"


def test_what_an_agent_does_stays_in_what_the_agent_is_in(command: Command) -> None:
    """An agent has no line of its own: its work is below the step that it works in."""
    session = _begun()
    with session.operation("crew", kind="workflow"), session.operation("planner", kind="agent"):
        with session.operation("writer", kind="agent"):
            localops.record(ActionEvent(action_type="write"))
        localops.record(ActionEvent(action_type="plan"))
    _, out, _ = command("show", "--tree")
    lines = [line.rpartition("  ")[0].strip() for line in out.splitlines()[2:]]
    assert lines == ["└─ workflow crew", "├─ action write  @writer", "└─ action plan  @planner"]


def test_the_cause_of_an_end_stands_above_its_reason(command: Command, as_json: AsJson) -> None:
    """If a program raises its own exception from another one, the original exception is shown first."""
    session = localops.start_session(name="chained")
    with suppress(RuntimeError), session:
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError("setup failed") from error
    lines = command("show")[1].splitlines()
    assert lines[2:4] == [
        "why        ValueError: invalid literal for int() with base 10: 'x'",
        "led to     RuntimeError: setup failed",
    ]
    assert as_json("show")["cause"] == "ValueError: invalid literal for int() with base 10: 'x'"


def test_events_lost_with_a_deleted_journal_are_a_notice(command: Command) -> None:
    """It has their number and the time, and does not say that they could not be written."""
    session = _begun()
    for name in ("lost", "kept", "later"):
        session.record(localops.ActionEvent(name))
        after_a_look(session._journal)
        if name == "kept":
            Path(session._journal.path).unlink()
    session.end_session("Success")
    localops.api.client().close()
    _, out, _ = command("show")
    assert "! at least 1 event was lost when the journal was deleted, the last time at " in out
    assert "could not be written" not in out
