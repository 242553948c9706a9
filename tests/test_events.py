"""Events keep their arguments, in the order and under the names that AgentOps' users know."""

from __future__ import annotations

import datetime
import enum
import inspect
import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from localops.journal import rows
from localops.recording import events

COMMON = "event_type params returns init_timestamp end_timestamp agent_id id session_id".split()
OWN = {
    ActionEvent: "action_type logs screenshot",
    LLMEvent: "thread_id prompt prompt_tokens completion completion_tokens cost model",
    ToolEvent: "name logs",
    ErrorEvent: "trigger_event exception error_type code details logs",
    Event: "",
}


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_positional_arguments_keep_their_order(kind: type[Event]) -> None:
    """Every event takes the common arguments first and its own after them, as in AgentOps 0.3."""
    taken = inspect.signature(kind).parameters.values()
    by_position = [one.name for one in taken if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert by_position == [*COMMON, *OWN[kind].split()]


@pytest.mark.parametrize("kind", [ActionEvent, ToolEvent], ids=lambda kind: kind.__name__)
def test_events_that_do_not_call_super_are_like_the_others(kind: type[Event]) -> None:
    """Actions and tool calls have every attribute and field of an `Event` with the same arguments."""
    values: dict[str, Any] = {name: f"the {name}" for name in COMMON}
    more: dict[str, Any] = {"name": "n", "tags": ["t"], "user": "u", "conversation": "c", "metadata": {"m": 1}}
    given, base = kind(**values, **more), Event(**values, **more)
    given.began_ns = base.began_ns
    assert vars(base).items() <= vars(given).items()
    assert given.fields() == base.fields()
    call = ToolEvent(params=1, returns=2, metadata={"m": 1}, call_id="c", definition="d", logs="l", polling=True)
    assert list(call.fields()) == ["params", "returns", "metadata", "call_id", "definition", "logs", "polling"]


def test_an_event_has_an_id_and_a_time_from_the_start() -> None:
    """Its id is a UUIDv7 that stays the same, its beginning ISO 8601 in UTC, and it has no end yet."""
    event = ActionEvent()
    assert event.id == event.id
    assert event.id.version == 7
    assert datetime.datetime.fromisoformat(event.init_timestamp).utcoffset() == datetime.timedelta(0)
    assert event.end_timestamp is None


def test_given_times_are_shown_as_given() -> None:
    """An event shows a time that the program gave."""
    event = ActionEvent(init_timestamp="2026-01-02T03:04:05+00:00", end_timestamp=0)
    assert event.init_timestamp == "2026-01-02T03:04:05+00:00"
    assert event.end_timestamp == "1970-01-01T00:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("given_time", "nanoseconds"),
    [
        ("1970-01-01T00:00:01", 1_000_000_000),  # naive: taken as UTC
        ("1970-01-01T01:00:01+01:00", 1_000_000_000),
        ("1969-12-31T23:59:59Z", -1_000_000_000),
        (datetime.datetime(1970, 1, 1, 0, 0, 1), 1_000_000_000),  # noqa: DTZ001  naive on purpose
        (-1.5, -1_500_000_000),
        ("9999-12-31T00:00:00Z", None),  # further than 64 bits of nanoseconds reach
        (float("nan"), None),
        (10**30, None),
        ("yesterday", None),
        (object(), None),
    ],
)
def test_times_are_read_or_declined(given_time: object, nanoseconds: int | None) -> None:
    """ISO text, datetimes and seconds are read, without a zone as UTC; what cannot be stored is declined."""
    assert events.to_ns(given_time) == nanoseconds  # type: ignore[arg-type]


@pytest.mark.parametrize("word", sorted(rows.BOOKS))
def test_no_event_is_taken_for_a_bookkeeping_row(word: str) -> None:
    """An event type that the journal uses for its own rows is marked as the user's."""
    assert Event(word).kind == f"user:{word}"


class Type(enum.Enum):
    """Event types as AgentOps 0.3 has them."""

    LLM = "llms"


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("llms", "llm"),
        ("tools", "tool"),
        ("apis", "api"),
        ("plan", "plan"),
        (Type.LLM, "llm"),
        (7, "7"),
        ("", "action"),
    ],
)
def test_an_event_counts_as_what_its_type_says(event_type: object, kind: str) -> None:
    """AgentOps' plurals are understood, enums too; another word stays as it is, but for a class that has its kind."""
    assert Event(event_type).kind == kind  # type: ignore[arg-type]
    assert ActionEvent(event_type).kind == (kind if kind in ("llm", "tool", "api") else "action")  # type: ignore[arg-type]


@given(st.one_of(st.text(), st.integers(), st.uuids(), st.binary(), st.none()))
def test_any_id_becomes_sixteen_bytes_the_same_each_time(value: object) -> None:
    """An id of any kind has 16 bytes, and the same id has the same bytes."""
    assert events.to_id(value) == events.to_id(value)
    assert len(events.to_id(value)) == 16


def test_a_uuid_is_the_same_id_in_every_form() -> None:
    """Object, text, hex and bytes of one UUID are one id."""
    known = uuid.uuid4()
    assert {events.to_id(form) for form in (known, str(known), known.hex, known.bytes)} == {known.bytes}


def test_an_error_describes_its_exception() -> None:
    """Type, details and traceback are those of the exception; arguments take precedence."""
    try:
        raise KeyError("lost")
    except KeyError as error:
        event = ErrorEvent(exception=error)
        named = ErrorEvent(exception=error, error_type="Lost", details="gone", logs="none")
    assert (event.error_type, event.details) == ("KeyError", "'lost'")
    assert "test_an_error_describes" in str(event.logs)
    assert (named.error_type, named.details, named.logs) == ("Lost", "gone", "none")
    assert event.timestamp == event.init_timestamp


class Unspeakable(Exception):
    """An exception that cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_exception_that_cannot_be_shown_is_an_error_all_the_same() -> None:
    """Even an exception whose text raises makes an ErrorEvent."""
    event = ErrorEvent(exception=Unspeakable())
    assert event.error_type == "Unspeakable"
    assert "RuntimeError" in str(event.details)


class Undecided:
    """Something that is neither true nor false, such as pandas.NA or a tensor."""

    def __bool__(self) -> bool:
        raise TypeError("ambiguous")


class Undecided2(Undecided, Exception):
    """The same as an exception."""


def test_what_is_neither_true_nor_false_makes_an_error() -> None:
    """Type and exception of an ErrorEvent are never asked whether they are true."""
    odd: Any = Undecided()
    no_exception: Any = odd
    assert ErrorEvent(error_type=odd).error_type is odd
    event = ErrorEvent(exception=Undecided2("x"))
    assert event.error_type == "Undecided2"
    assert "Undecided2" in str(event.logs)
    assert ErrorEvent(exception=no_exception).error_type == "Undecided"
    assert ErrorEvent(error_type="").error_type is None


def test_a_lone_surrogate_is_part_of_an_id() -> None:
    """A text that UTF-8 does not have still makes an id, and another one for another text."""
    assert len({events.to_id("a\ud800"), events.to_id("a\ud801"), events.to_id("a")}) == 3


@pytest.mark.parametrize(
    ("event", "advice"),
    [
        (lambda: LLMEvent("gpt-x"), "the model with model='gpt-x'"),
        (lambda: ErrorEvent("gpt-x"), "what went wrong with details='gpt-x'"),
        (lambda: ToolEvent("gpt-x"), "a name with name='gpt-x'"),
    ],
)
def test_the_advice_for_a_misplaced_word_can_be_followed(
    event: Any, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each class has advice with its own argument for such a word."""
    made = event()
    localops.record(made)
    warning = capsys.readouterr().err
    assert advice in warning
    keyword = re.search(r"(\w+)='gpt-x'", warning)
    assert keyword is not None
    type(made)(**{keyword[1]: "gpt-x"})
