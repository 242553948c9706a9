"""Events with odd arguments, and what is no event: each is recorded or reported, and none raises."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import localops.recording.client
from localops import ActionEvent, ErrorEvent, Event, LLMEvent, Session, ToolEvent
from tests.sessions import begun, only


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    return begun()


class Evil:
    """An object whose attributes all raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


@pytest.mark.parametrize("make", [str, dict, object, lambda: None, lambda: ActionEvent, Evil])
def test_what_is_not_an_event_is_reported(
    session: Session, make: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Recording something else is a warning; no event is lost, and the program continues."""
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
    """`ToolEvent("search")` is a tool call of that name, and a warning shows how to write it."""
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
