"""A session records events, reports its figures, and ends in the given state."""

from __future__ import annotations

import copy
import datetime
import enum
import itertools
import os
import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

import localops.recording.client
from localops import ActionEvent, Config, ErrorEvent, Event, LLMEvent, Session, ToolEvent, decorators
from localops.errors import ConfigError, JournalError, UnknownEndState
from localops.journal import rows

KEY = "11111111-1111-4111-8111-111111111111"


def begun(**options: Any) -> Session:
    """Return a session that was started."""
    session = localops.start_session(**options)
    assert session is not None
    return session


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    return begun()


def only(session: Session) -> dict[str, Any]:
    """Return the only event of a session."""
    (event,) = session.events
    return event


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


class Evil:
    """An object whose attributes all raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


@pytest.mark.parametrize("make", [str, dict, object, lambda: None, lambda: ActionEvent, Evil])
def test_what_is_no_event_is_said(
    session: Session, make: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Recording something else says so and goes on; that is no event lost."""
    from localops import output

    output._said.clear()
    session.record(make())
    assert "nothing was recorded" in capsys.readouterr().err
    assert session._journal.counts["dropped"] == 0


@pytest.mark.parametrize("odd", [["a"], {"a": 1}, 5, object()])
def test_any_event_type_is_accepted(session: Session, odd: Any) -> None:
    """An event type that is not a string becomes one."""
    session.record(Event(odd))
    assert only(session)["kind"].startswith(str(odd)[:10])


@pytest.mark.parametrize(
    ("make", "kind"), [(ToolEvent, "tool"), (ActionEvent, "action"), (LLMEvent, "llm"), (ErrorEvent, "error")]
)
def test_a_name_in_the_place_of_the_type_is_understood(
    session: Session, make: Any, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ToolEvent("search")` is a tool call of that name, and a line on stderr says how to write it."""
    capsys.readouterr()
    session.record(make("search"))
    event = only(session)
    assert (event["kind"], event["name"]) == (kind, "search")
    assert f"the first argument of {make.__name__} is its type" in capsys.readouterr().err


def test_tags_without_an_end_are_cut(session: Session) -> None:
    """An endless iterator gives a bounded number of tags, and the rest is left out."""
    session.record(ActionEvent(action_type="tagged", tags=itertools.count()))  # type: ignore[arg-type]
    assert len(only(session)["tags"]) == 100_000


def test_a_shared_list_in_a_column_takes_no_time(session: Session) -> None:
    """A shared list as an id or a cost is shown in outline: its whole text would have a thousand million items."""
    doubled: object = [1]
    for _ in range(30):
        doubled = [doubled, doubled]
    session.record(LLMEvent(id=doubled, cost=doubled, agent_id=doubled))  # type: ignore[arg-type]
    assert len(list(session.events)) == 1


def test_a_class_that_hides_its_name_is_an_error_too(session: Session) -> None:
    """Also one whose metaclass raises, and what is no exception at all."""

    class Hidden(type):
        def __getattribute__(cls, name: str) -> Any:
            if name in ("__name__", "__qualname__", "__module__"):
                raise RuntimeError(name)
            return super().__getattribute__(name)

    class Odd(metaclass=Hidden):
        pass

    session.record(ErrorEvent(exception=Odd()))  # type: ignore[arg-type]
    assert only(session)["name"] == "Odd"


def test_strange_times_are_kept(session: Session) -> None:
    """Times before 1970, far ahead or unreadable are kept with the event, and the journal still adds up."""
    for _ in range(20):
        session.record(LLMEvent(init_timestamp=0, end_timestamp="2261-01-01", model="gpt-4o"))
    session.record(ActionEvent(init_timestamp="9999-12-31", end_timestamp="yesterday", action_type="odd"))
    session._journal.fold()
    last = list(session.events)[-1]
    assert (last["init_timestamp"], last["end_timestamp"]) == ("9999-12-31", "yesterday")
    assert session.get_analytics()["LLM calls"] == 20
    assert "h" not in str(session.get_analytics()["Duration"])  # what a program says of its times bounds nothing


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


class Hostile(ActionEvent):
    """An event whose exception cannot be turned into text."""

    def fields(self) -> dict[str, object]:
        """Raise what cannot be shown."""

        class Unspeakable(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        raise Unspeakable


def test_a_hostile_event_does_no_harm(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    """An event whose own code raises, with an unreadable exception, prints a warning and is left out."""
    session.record(Hostile())
    session.record(ActionEvent(action_type="next"))
    assert only(session)["name"] == "next"
    assert "Unspeakable" in capsys.readouterr().err


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
    """`create_agent` gives back the id it was given, or a new one; events that name it belong to it."""
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


class _Mute:
    """Refuses to be turned into text."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_what_refuses_to_be_text_is_recorded_wherever_it_is_given(session: Session) -> None:
    """A value that cannot become text as any argument neither loses an event nor raises into the program."""
    mute: Any = _Mute()
    session.record(LLMEvent(model=mute, prompt_tokens=mute, cost=mute, agent_id=mute, thread_id=mute))
    session.record(ToolEvent(name=mute, id=mute, tags=mute, init_timestamp=mute, cost=mute))
    session.record(ErrorEvent(error_type=mute, exception=ValueError(mute), trigger_event=mute))
    session.create_agent(mute, mute)
    session.set_video(mute)
    session.end_session(mute)
    assert session.is_running
    session.end_session("Success", mute)
    assert localops.start_session(mute, mute, name=mute) is not None
    assert [event["kind"] for event in session.events] == ["llm", "tool", "error", "agent"]


def _refuse(*_: object, **__: object) -> Any:
    raise RuntimeError("no")


class _BadInt(int):
    __eq__ = __bool__ = __int__ = __index__ = __float__ = __str__ = __repr__ = __round__ = _refuse
    __hash__ = int.__hash__


class _BadFloat(float):
    __eq__ = __bool__ = __int__ = __float__ = __str__ = __repr__ = __round__ = __mul__ = _refuse
    __hash__ = float.__hash__


class _BadText(str):
    __slots__ = ()
    __eq__ = __len__ = __str__ = __repr__ = __format__ = __contains__ = __bool__ = encode = _refuse
    __hash__ = str.__hash__


class _NoTruth:
    def __bool__(self) -> bool:
        raise TypeError("ambiguous")

    __eq__ = _refuse
    __hash__ = object.__hash__


@pytest.mark.parametrize(
    "odd",
    [_BadInt(3), _BadFloat(0.5), _BadText("odd"), _NoTruth(), "a\ud800", b"\xff", float("nan"), 10**6000],
    ids=lambda odd: type(odd).__name__,
)
def test_no_detail_costs_an_event(session: Session, odd: Any) -> None:
    """An event with any odd argument is recorded and not counted as lost."""
    common = "event_type params returns init_timestamp end_timestamp agent_id id tags".split()
    kinds: dict[type[Event], str] = {
        ActionEvent: "action_type logs screenshot name",
        LLMEvent: "thread_id prompt prompt_tokens completion completion_tokens cost model cached_tokens provider name",
        ToolEvent: "name logs cost",
        ErrorEvent: "trigger_event exception error_type code details logs",
    }
    made = 0
    for kind, names in kinds.items():
        for name in [*common, *names.split()]:
            if (kind, name) != (ErrorEvent, "name"):
                session.record(kind(**{name: odd}))
                made += 1
    failed = LLMEvent(model=odd)
    session.record(failed)
    session.record(ErrorEvent(trigger_event=failed))
    # An agent's id that is text is the name of an agent, which has a row of its own.
    assert sum(event["kind"] != "agent" for event in session.events) == made + 2


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
def test_a_session_ends_as_told(session: Session, given: Any, state: str) -> None:
    """Success, Failure (or Fail) and Indeterminate are taken in any case; the cost comes back as text."""
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
        (KeyboardInterrupt(), "Failure", "Signal SIGINT detected"),
    ],
)
def test_leaving_the_program_is_not_failing(error: BaseException, state: str, reason: str | None) -> None:
    """sys.exit() out of a block is a success, with a code a failure; Ctrl-C says so."""
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


# Figures


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
    """Asking for the figures changes nothing: what comes later is in them when they are asked again."""
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


def _take_the_home_away(tmp_path: Path, session: Session) -> None:
    session._journal.close()
    (tmp_path / "home").rename(tmp_path / "away")
    (tmp_path / "home").write_text("in the way")


def test_figures_that_cannot_be_read_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Zeros never come without a word; a strict session has an error instead."""
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


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"model": "gpt-4o", "provider": "nosuch", "prompt_tokens": 9, "completion_tokens": 1}, "'nosuch'"),
        ({"model": "made-up", "prompt_tokens": 9, "completion_tokens": 1}, "no price is known for made-up:"),
        ({"prompt_tokens": 9, "completion_tokens": 1}, "the calls name no model"),
        ({}, "neither model nor token counts were given"),
        ({"model": "gpt-4o"}, "calls of gpt-4o came without token counts"),
        ({"model": "gpt-4o", "completion_tokens": 3}, "gave only one of prompt_tokens and completion_tokens"),
        ({"model": "gpt-4o", "prompt_tokens": -1, "completion_tokens": 3}, "a token count that cannot be one"),
        ({"model": "gpt-4o", "prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 0.5}, "cannot be one"),
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


def test_a_cache_that_is_larger_than_its_prompt_is_reported(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cache larger than its prompt is counted separately, with one warning."""
    for _ in range(2):
        session.record(LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=0, cached_tokens=50))
    assert session.recorder.ask("totals", session=session.session_id.bytes)[0][7] == 120
    assert capsys.readouterr().err.count("prompt_tokens=10 is less than the 50 tokens of its cache") == 1
