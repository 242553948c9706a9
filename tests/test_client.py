"""A client finds the session that is meant, and keeps what its sessions share."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import localops
from localops import ActionEvent, Config, LLMEvent
from localops.errors import NoSession
from localops.recording.client import Client, script_name


@pytest.fixture
def client() -> Iterator[Client]:
    """A client beside the one of the process."""
    client = Client(Config(project="own", signals=False))
    yield client
    client.close()


def test_the_current_session_is_the_newest_of_this_context(client: Client) -> None:
    """Starting makes current; ending gives the place back to the one before, as long as that is open."""
    first = client.start()
    second = client.start()
    assert client.current() is second
    second.end_session()
    assert client.current() is first
    first.end_session()
    assert client.current() is None


def test_sessions_may_end_in_any_order(client: Client) -> None:
    """The one that was begun first may be ended first."""
    first, second, third = client.start(), client.start(), client.start()
    first.end_session()
    assert client.current() is third
    third.end_session()
    assert client.current() is second
    second.end_session()
    assert client.open_sessions() == []


def test_several_sessions_and_none_current_is_named(client: Client) -> None:
    """The error names the sessions that are open."""
    sessions = [client.start(), client.start()]
    raised: list[NoSession] = []

    def ask() -> None:
        try:
            client.need("add_tags")
        except NoSession as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    (error,) = raised
    for session in sessions:
        assert str(session.session_id)[:13] in str(error)


def test_joining_what_is_open_here_is_no_second_session(client: Client) -> None:
    """The id of a session of this process returns that session, with the new tags added."""
    session = client.start(["a"])
    assert client.start(["b"], session.session_id) is session
    assert session.tags == ["a", "b"]


def test_a_joined_session_keeps_its_name_and_tags(client: Client) -> None:
    """Another client, as in another process, finds the session with its name, tags and figures."""
    session = client.start(["a"], name="crawl")
    session.record(ActionEvent())
    joined = Client(Config(project="another")).start(["b"], str(session.session_id))
    assert (joined.name, joined.tags, joined.project_id) == ("crawl", ["a", "b"], "own")
    assert joined.get_analytics()["Actions"] == 1
    assert not joined.owned()


def test_a_session_from_elsewhere_has_a_name(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not known here is begun under its id, and called after the script."""
    monkeypatch.setattr("sys.argv", ["worker.py"])
    given = uuid.uuid4()
    session = client.start(None, given)
    assert (session.session_id, session.name, session.owned()) == (given, "worker.py", False)


@pytest.mark.foreign_open  # it makes the files that are no journals
@pytest.mark.parametrize("content", [b"SQLite format 3\0" + bytes(84), b"hello" * 1000], ids=["damaged", "foreign"])
def test_an_unreadable_journal_nearby_does_not_prevent_a_session(
    client: Client, content: bytes, tmp_path: Path
) -> None:
    """Looking for a session skips what is not a journal."""
    other = tmp_path / "home" / "other"
    other.mkdir(parents=True)
    (other / "journal.db").write_bytes(content)
    assert client.start(None, uuid.uuid4()).is_running


@pytest.mark.parametrize("hint", ["zz" * 16, "", "x", "00" * 16])
def test_an_invalid_parent_is_ignored(client: Client, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid variable does not prevent a session."""
    given = uuid.uuid4()
    monkeypatch.setenv("LOCALOPS_SESSION_ID", str(given))
    monkeypatch.setenv("LOCALOPS_PARENT", hint)
    session = client.start(None, given)
    session.record(ActionEvent())
    assert session.get_analytics()["Actions"] == 1


def test_sessions_of_one_project_share_a_journal(client: Client) -> None:
    """One connection serves them all; another durability has its own."""
    first, second = client.start(), client.start()
    power = client.start(config=Config(project="own", durability="power", signals=False))
    assert first._journal is second._journal
    assert power._journal._file.power
    power.record(ActionEvent())
    assert first._journal is not power._journal


def test_each_config_has_its_own_redaction(client: Client) -> None:
    """Patterns of one session do not apply to the next, even when configurations alternate."""
    for word in ("apple", "pear", "plum"):
        session = client.start(config=Config(project="own", redact=[word]))
        session.record(ActionEvent(params="apple pear plum"))
        (event,) = session.events
        assert event["params"] == "apple pear plum".replace(word, "[redacted:pattern]")
        session.end_session()


def test_the_redaction_of_an_ended_session_is_not_used_again(client: Client) -> None:
    """A list of patterns may get the id of one that was thrown away: it is used all the same."""
    for n in range(15):
        session = client.start(config=Config(project="own", redact=[f"word {n}"]))
        session.record(ActionEvent(action_type="a", params=f"a word {n}"))
        (event,) = session.events
        assert event["params"] == "a [redacted:pattern]"
        session.end_session()
        del session


def test_redaction_may_be_a_function_or_off(client: Client) -> None:
    """A callable has the last word on every text; False writes everything as it is."""
    loud = client.start(config=Config(project="own", redact=str.upper))
    plain = client.start(config=Config(project="own", redact=False))
    for session in (loud, plain):
        session.record(ActionEvent(params={"password": "hunter22", "text": "quiet"}))
    assert next(loud.events)["params"]["text"] == "QUIET"
    assert next(plain.events)["params"] == {"password": "hunter22", "text": "quiet"}


@pytest.mark.parametrize(
    ("argv", "name"), [(["/a/run.py"], "run.py"), (["-c"], "python"), ([""], "python"), ([], "python")]
)
def test_a_script_has_a_name(argv: list[str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script without its folder; without a script, Python itself."""
    monkeypatch.setattr("sys.argv", argv)
    assert script_name() == name


def test_a_session_says_its_defaults() -> None:
    """Default tags are first, and each tag is listed once."""
    client = Client(Config(default_tags=["team", "x"], signals=False))
    assert client.start(["x", "y"]).tags == ["team", "x", "y"]
    assert localops.Config().default_tags == []


def test_a_config_that_cannot_be_read_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options and prices stand in the same file; what is wrong with it as a whole needs no second line."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text("[oops\n")
    client = Client(Config.usable(home=str(tmp_path / "home"), signals=False))
    session = client.start(None)
    session.record(LLMEvent(model="gpt-4o", prompt_tokens=3, completion_tokens=2))
    assert session.get_analytics()["LLM calls"] == 1
    client.close()
    assert capsys.readouterr().err.count("config.toml cannot be read") == 1
