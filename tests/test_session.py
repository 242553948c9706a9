"""A session records events, reports its figures, and ends in the given state."""

from __future__ import annotations

import copy
import datetime
import enum
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

import localops.recording.client
from localops import ActionEvent, Config, ErrorEvent, Event, LLMEvent, Session, ToolEvent
from localops.errors import ConfigError, JournalError, UnknownEndState
from localops.journal import rows
from tests.sessions import begun, only

KEY = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    return begun()


# What it is


def test_a_session_knows_what_it_is() -> None:
    """Id, project, name, tags and times are there from the start; how it ended is not."""
    session = begun(tags=["b", "a", "b"], name="crawl")
    assert isinstance(session.session_id, uuid.UUID)
    assert (session.project_id, session.name, session.tags) == ("default", "crawl", ["b", "a"])
    assert datetime.datetime.fromisoformat(session.init_timestamp).tzinfo is not None
    assert (session.end_timestamp, session.end_state, session.end_state_reason) == (
        None,
        "Indeterminate",
        None,
    )
    assert session.is_running
    assert "'crawl'" in repr(session)
    assert "running" in repr(session)


def test_an_unnamed_session_is_called_after_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name of its own a session bears that of the program."""
    monkeypatch.setattr("sys.argv", ["/somewhere/crawler.py"])
    assert begun().name == "crawler.py"


# Recording


def test_what_is_recorded_is_read_back(session: Session) -> None:
    """An event is read back with its fields, and its object notes that it was recorded."""
    event = ToolEvent(params={"q": "x"}, returns=["y"], name="search", logs="fast", cost=0.002, tags="slow")
    session.record(event)
    event_row = only(session)
    assert (event_row["id"], event_row["kind"], event_row["name"]) == (str(event.id), "tool", "search")
    assert (event_row["params"], event_row["returns"], event_row["logs"]) == ({"q": "x"}, ["y"], "fast")
    assert (event_row["cost"], event_row["tags"]) == (2_000_000, ["slow"])
    assert event.recorded
    assert event.end_timestamp is not None


def test_an_event_recorded_twice_is_two_events(session: Session) -> None:
    """The same object recorded again is written under a new id."""
    event = ActionEvent(action_type="plan")
    session.record(event)
    first = event.id
    session.record(event)
    assert [row["id"] for row in session.events] == [str(first), str(event.id)]
    assert first != event.id


def test_a_repeated_id_loses_nothing(session: Session) -> None:
    """The second of two events with one id is kept under another, with its original id in a field."""
    given = uuid.uuid4()
    session.record(ActionEvent(id=given, action_type="first"))
    session.record(ActionEvent(id=given, action_type="second"))
    first, second = session.events
    assert first["id"] == str(given) != second["id"]
    assert second["given_id"] == str(given)


def test_an_id_that_is_no_uuid_is_kept_beside(session: Session) -> None:
    """Any text may be an id: the row gets a UUID made from it, and the text itself."""
    session.record(ActionEvent(id="step-1"))
    assert only(session)["given_id"] == "step-1"


@pytest.mark.parametrize("word", sorted(rows.BOOKS))
def test_an_event_cannot_keep_the_books(session: Session, word: str) -> None:
    """An event named like a bookkeeping row does not end, tag or price anything."""
    session.record(Event(word, params={"tags": ["x"]}, name="Failure"))
    assert session.tags == []
    assert only(session)["kind"] == f"user:{word}"
    assert session.get_analytics()["Errors"] == 0


def test_what_agentops_calls_them(session: Session) -> None:
    """AgentOps' attributes are there: counts by its kinds, the cost as text, and no URL."""
    for event_type in ("llms", "tools", "actions", "apis", "apis", "another"):
        session.record(localops.Event(event_type))
    session.record(LLMEvent(cost=0.25))
    assert session.event_counts == {"llms": 2, "tools": 1, "actions": 1, "errors": 0, "apis": 2}
    assert (session.token_cost, session.session_url) == ("0.250000", None)


def test_a_ten_megabyte_prompt_goes_beside_the_journal(session: Session) -> None:
    """A huge value is kept whole as a blob, and its beginning in the event."""
    prompt = "All of it. " * 1_000_000
    session.record(LLMEvent(model="gpt-4o", prompt=prompt))
    kept = only(session)["prompt"]
    path = Path(session._journal.folder, "blobs", kept["$blob"][:2], kept["$blob"])
    assert path.read_text() == prompt
    assert kept["head"] == prompt[: len(kept["head"])]


def test_what_comes_after_the_end_is_kept(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """Events of an ended session are late rows of it, with one warning."""
    session.end_session("Success")
    for _ in range(3):
        session.record(ActionEvent())
    assert session.get_analytics()["Actions"] == 3
    assert capsys.readouterr().err.count("has ended") == 1


# Errors


def test_an_error_brings_its_trigger(session: Session) -> None:
    """A trigger that is not recorded yet is written first, as failed, and the error points to it."""
    call = ToolEvent(name="search")
    session.record(ErrorEvent(trigger_event=call, exception=TimeoutError("30 s")))
    tool, error = session.events
    assert (tool["id"], tool["failed"]) == (str(call.id), True)
    assert (error["parent"], error["trigger"]["name"], error["name"]) == (
        str(call.id),
        "search",
        "TimeoutError",
    )


def test_an_event_fails_once(session: Session) -> None:
    """Two errors of one event, recorded before or not, make one failed event."""
    call = ToolEvent(name="search")
    session.record(call)
    for _ in range(2):
        session.record(ErrorEvent(trigger_event=call, exception=TimeoutError()))
    (totals,) = session._journal.all("totals", session=session._id)
    assert totals[6] == 1
    assert session.get_analytics()["Errors"] == 2


# Tags


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc", ["abc"]),
        (["a", "b", "a"], ["a", "b"]),
        (("a", 5), ["a", "5"]),
        ((tag for tag in "xy"), ["x", "y"]),
        ({"k": 1}, ["k"]),
        (None, []),
        (7, ["7"]),
        (b"x", ["x"]),
    ],
)
def test_tags_of_any_kind_become_texts(given: Any, kept: list[str]) -> None:
    """One string is one tag; each is kept once, in order, and other values become strings."""
    assert begun(tags=given).tags == kept


def test_tags_are_added_and_set(session: Session) -> None:
    """`add_tags` adds what is new, `set_tags` leaves no others."""
    session.add_tags(["a", "b"])
    session.add_tags("c")
    assert session.tags == ["a", "b", "c"]
    session.set_tags(["z", "a"])
    assert session.tags == ["z", "a"]
    session.set_tags([])
    assert session.tags == []


def test_a_hundred_thousand_tags_are_tags(session: Session) -> None:
    """There is no number of tags that a session cannot have."""
    session.add_tags(f"tag {n}" for n in range(100_000))
    assert session.tags == [f"tag {n}" for n in range(100_000)]


# Agents, metadata, video


def test_agents_are_known_by_their_ids(session: Session) -> None:
    """`create_agent` returns the id that it was given, or a new one; events that name it belong to it."""
    new, own = session.create_agent("planner"), session.create_agent("writer", "the-writer")
    assert uuid.UUID(new).version == 7
    assert own == "the-writer"
    for agent_id in (new, own):
        session.record(ActionEvent(agent_id=agent_id))
    names = {event["id"]: event["name"] for event in session.events if event["kind"] == "agent"}
    assert [names[event["agent"]] for event in session.events if event["agent"]] == ["planner", "writer"]


def test_two_sessions_may_call_their_agents_the_same() -> None:
    """One agent id in two sessions makes two rows with different ids, so neither hides the other on a hub."""
    first, second = begun(), begun()
    for session in (first, second):
        session.create_agent("planner", "00000000-0000-4000-8000-000000000001")
    assert only(first)["id"] != only(second)["id"]


def test_a_video_file_is_copied_and_a_url_kept(session: Session, tmp_path: Path) -> None:
    """A recording is copied into the project under its digest, and survives its file."""
    film = tmp_path / "run.mp4"
    film.write_bytes(b"moving pictures")
    session.set_video(film)
    film.unlink()
    digest = str(session.video).removeprefix("blob:")
    assert Path(session._journal.folder, "blobs", digest[:2], digest).read_bytes() == b"moving pictures"
    session.video = "https://example.org/run.mp4"
    assert session.video == "https://example.org/run.mp4"


def test_a_missing_video_file_prints_a_warning(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped path is kept as it is, with a warning."""
    session.set_video("flim.mp4")
    assert session.video == "flim.mp4"
    assert "there is no file 'flim.mp4'" in capsys.readouterr().err


def test_a_screenshot_is_copied(session: Session, tmp_path: Path) -> None:
    """A screenshot file that an action names is copied; a missing one stays a name."""
    picture = tmp_path / "page.png"
    picture.write_bytes(b"pixels")
    session.record(ActionEvent(screenshot=str(picture)))
    session.record(ActionEvent(screenshot="nowhere.png"))
    assert [event["screenshot"][:11] for event in session.events] == [only_blob(b"pixels"), "nowhere.png"]


def only_blob(data: bytes) -> str:
    """Return the beginning of the name of the only blob."""
    import hashlib

    return f"blob:{hashlib.sha256(data).hexdigest()}"[:11]


# Ending


class Ends(enum.Enum):
    """End states as AgentOps 0.3 has them."""

    FAIL = "Fail"


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ("Success", "Success"),
        ("failure", "Failure"),
        ("FAIL", "Failure"),
        ("indeterminate", "Indeterminate"),
        (Ends.FAIL, "Failure"),
    ],
)
def test_a_session_ends_in_the_given_state(session: Session, given: Any, state: str) -> None:
    """Success, Failure (or Fail) and Indeterminate are accepted in any letter case; the cost is returned as text."""
    session.record(LLMEvent(cost=0.012346))
    assert session.end_session(given, "because") == "0.012346"
    assert (session.end_state, session.end_state_reason, session.is_running) == (state, "because", False)
    assert session.end_timestamp is not None
    assert session.end_session("Success") is None
    assert session.end_state == state


@pytest.mark.parametrize("given", ["Nonsense", "", None, 5])
def test_an_unknown_end_is_refused(session: Session, given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown end state prints a warning, and the session stays open."""
    assert session.end_session(given) is None
    assert session.is_running
    assert "it stays open" in capsys.readouterr().err


def test_a_with_block_ends_its_session() -> None:
    """Success when it is left, Failure with the exception when that leaves it."""
    with begun() as fine:
        pass
    with pytest.raises(ValueError, match="bad"), begun() as failed:
        raise ValueError("bad")
    assert (fine.end_state, failed.end_state) == ("Success", "Failure")
    assert str(failed.end_state_reason).startswith("ValueError: bad\nTraceback")


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (SystemExit(0), "Success", None),
        (SystemExit(3), "Failure", "exit code 3"),
        (SystemExit("no luck"), "Failure", "exit code 1: no luck"),
        (KeyboardInterrupt("q"), "Failure", "KeyboardInterrupt: q\nTraceback"),
    ],
)
def test_leaving_the_program_is_not_failing(error: BaseException, state: str, reason: str | None) -> None:
    """sys.exit() out of a block is a success, with a code or a KeyboardInterrupt of the program a failure."""
    with pytest.raises(type(error)), begun() as session:
        raise error
    assert session.end_state == state
    assert str(session.end_state_reason).startswith(str(reason))


def test_a_with_block_makes_its_session_current() -> None:
    """A `with` block makes its session current; afterwards the earlier one is current again."""
    first = begun()
    second = begun()
    with first:
        localops.record(ActionEvent())
    localops.record(ActionEvent())
    assert (first.get_analytics()["Actions"], second.get_analytics()["Actions"]) == (1, 1)


def test_a_process_that_only_joined_leaves() -> None:
    """A `with` block in a process that joined does not end the session: an exception is only an error of it."""
    session = begun()
    joiner = localops.recording.client.Client(session.config)
    with pytest.raises(ValueError, match="bad"), joiner.start(None, session.session_id):
        raise ValueError("bad")
    story = [row[2] for row in session._journal.all("story", session=session._id)]
    kinds = [kind for kind in story if kind != "host"]  # which a slow machine has written by now
    assert (kinds, session.get_analytics()["Errors"]) == (["session", "join", "leave"], 1)
    assert session.is_running


def test_a_forked_child_ends_nothing() -> None:
    """A child that reaches the end of its parent's block leaves; only the parent ends the session."""
    with begun() as session:
        child = os.fork()
        if not child:
            session.record(ActionEvent())
            session.finish()
            os._exit(0)
        os.waitpid(child, 0)
        # What is known of the machine only later has a row of its own, whenever that is.
        kinds = [row[2] for row in session._journal.all("story", session=session._id) if row[2] != "host"]
        assert kinds == ["session", "join", "leave"]
    assert session.end_state == "Success"


# Binding


def test_a_copy_of_what_holds_a_session_has_the_same_session(session: Session) -> None:
    """Frameworks copy the state of an agent, deeply or not, with the session in it."""
    state = {"session": session}
    copies = [copy.deepcopy(state)["session"], copy.copy(session)]
    assert all(each is session for each in copies)


def test_patch_gives_the_session_where_it_is_asked_for(session: Session) -> None:
    """A patched function records into the session; `session=` is passed only if it has that parameter."""
    other = begun()

    def plain(text: str) -> str:
        localops.record(ActionEvent(action_type=text))
        return text

    def asking(session: Session | None = None) -> Session | None:
        return session

    assert session.patch(plain)("patched") == "patched"
    assert session.patch(asking)() is session
    assert only(session)["name"] == "patched"
    assert list(other.events) == []


def test_patch_works_for_coroutines(session: Session) -> None:
    """A patched coroutine function records into the session while it is awaited."""
    import asyncio

    begun()

    async def later() -> None:
        await asyncio.sleep(0)
        localops.record(ActionEvent(action_type="later"))

    asyncio.run(session.patch(later)())
    assert only(session)["name"] == "later"


def test_the_environment_names_the_session(session: Session) -> None:
    """`env` holds all that another process needs to join."""
    env = session.env()
    assert env["LOCALOPS_SESSION_ID"] == str(session.session_id)
    assert env["LOCALOPS_PROJECT"] == "default"
    assert Path(env["LOCALOPS_HOME"], "default", "journal.db").exists()


# Strict


def test_strict_raises() -> None:
    """With strict=True warnings are exceptions."""
    session = begun(config=Config(strict=True))
    with pytest.raises(JournalError):
        session.record("no event")  # type: ignore[arg-type]
    with pytest.raises(UnknownEndState):
        session.end_session("Nonsense")
    assert session.is_running


# Secrets


def test_no_secret_reaches_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API key and the environment's secrets reach no file, wherever a program puts them."""
    hidden = "correct-horse-battery-staple"
    monkeypatch.setenv("EXAMPLE_API_TOKEN", hidden)
    localops.init(api_key=KEY, tags=[f"tag {KEY}"], trace_name=f"run {hidden}")
    for secret in (KEY, hidden):
        localops.record(LLMEvent(prompt=secret, completion={"k": [secret]}, model=f"m-{secret}", name=secret))
        localops.record(ErrorEvent(exception=ValueError(secret), code=secret.encode()))
        localops.record(ActionEvent(returns="x" * 2_000_000 + secret, action_type=secret, agent_id=secret, id=secret))
        localops.create_agent(secret, secret)
        localops.update_trace_metadata({secret: secret}, secret)
    localops.end_session("Failure", f"it was {KEY} and {hidden}")
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    written = subprocess.run(
        ["cat", *files], capture_output=True, check=True
    ).stdout  # reading here would free our locks
    assert b"it was [redacted" in written
    assert KEY.encode() not in written
    assert hidden.encode() not in written


def test_the_method_takes_what_the_function_takes(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    """An unknown option of `end_session` prints a warning and is kept as metadata; nothing is raised."""
    session.config.skip_auto_end_session = True
    assert session.end_session("Success", is_auto_end=True) is None
    assert session.is_running
    assert session.end_session("Success", foo=1) == "0.00"
    assert "end_session() has no option 'foo': kept as metadata" in capfd.readouterr().err
    (body,) = (row[7] for row in session._journal.all("story", session=session._id) if row[2] == "metadata")
    assert '"metadata":{"foo":1}' in body


def test_a_strict_session_refuses_an_unknown_option() -> None:
    """The session stays open."""
    session = begun(config=Config(strict=True))
    with pytest.raises(ConfigError, match="has no option 'foo'"):
        session.end_session("Success", foo=1)
    assert session.is_running
