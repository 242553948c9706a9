"""A result is returned equal and of the same class, or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import apsw
import pytest

import localops
from localops.decorators import llm, tool
from localops.encoding import faithful
from localops.journal import stored
from localops.journal.journal import Journal
from localops.journal.stored import Stored
from localops.reading import given_results
from localops.upkeep.scrub import scrub
from tests import programs
from tests.resume.steps import SECRET, Effects, Socket, again


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A frozen dataclass."""

    id: str
    parts: tuple[int, ...]


@dataclasses.dataclass(slots=True)
class Slotted:
    """One with slots."""

    inner: Receipt


@dataclasses.dataclass
class Strict:
    """One whose constructor runs code."""

    id: int

    def __post_init__(self) -> None:
        raise AssertionError("no code of a class runs when it is given back")


class Place(NamedTuple):
    """A named tuple."""

    port: str
    metres: float


_STRICT = object.__new__(Strict)
_STRICT.id = 3
_VALUES = [
    None,
    True,
    0,
    -0.0,
    math.inf,
    1 << 70,
    "é\x00\n",
    "",
    b"\xff\x00",
    bytearray(b"ab"),
    (1, (2, [3])),
    {"a": [1, {"b": None}]},
    {1: "one", (2, 3): "pair", "$tuple": [1], "plain": 5},
    {"$blob": "x", "$len": 1, "head": "y"},
    {3, 1, 2},
    frozenset({(1, 2)}),
    datetime.datetime(2026, 11, 29, 12, 30, 1, 5),  # noqa: DTZ001
    datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC),
    datetime.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
    datetime.date(2026, 11, 29),
    datetime.time(1, 2, 3),
    datetime.timedelta(days=-1, microseconds=3),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    Path("/a/b"),
    complex(1, -2),
    Colour.RED,
    Receipt("r", (1, 2)),
    Slotted(Receipt("é", ())),
    _STRICT,
    Place("Brest", 4.5),
    [Receipt("r", (1,)), Place("Brest", 1.0), {"x": Colour.RED}],
    "x" * 3_000_000,
    {"large": ["é" * 1_000_000, b"z" * 2_000_000]},
]


@pytest.mark.parametrize("number", range(len(_VALUES)), ids=lambda number: type(_VALUES[number]).__name__)
def test_a_restored_result_is_equal_and_of_its_class(number: int) -> None:
    """Whatever JSON would make of it; it is not the same object."""
    value, kind = _VALUES[number], (tool, llm)[number % 2]
    returned = [value]

    def take(number: int) -> object:
        return returned.pop()

    produce = kind(once=True, name="produce")(take)
    began = localops.init()
    assert produce(1) is value
    again(began)
    back = produce(1)
    assert (repr(back), type(back)) == (repr(value), type(value))
    assert back == value


def test_a_model_of_pydantic_is_restored() -> None:
    """Also one with fields that were not given, and models inside."""
    pydantic = pytest.importorskip("pydantic")
    from openai.types.chat import ChatCompletion

    answer = ChatCompletion.model_validate(
        {
            "id": "1",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4 m"}}],
            "created": 1,
            "model": "gpt-4o-mini",
            "object": "chat.completion",
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
    )

    @llm(once=True)
    def ask(prompt: str) -> object:
        return answer

    began = localops.init()
    assert ask("how high?") is answer
    again(began)
    back = ask("how high?")
    assert isinstance(back, pydantic.BaseModel)
    assert (back, type(back), back.model_fields_set) == (answer, type(answer), answer.model_fields_set)
    assert began.event_counts["llms"] == 1


@pytest.mark.parametrize("value", [Socket(), [1, Socket()], threading.Lock(), type("Here", (dict,), {})()])
def test_a_class_that_cannot_come_back_is_an_error_at_the_first_run(value: object, effects: Effects) -> None:
    """The error says what to do; the step has run, so it is done, and never returns something else as its result."""

    @tool(once=True)
    def connect() -> object:
        effects.append("connected")
        return value

    began = localops.init()
    with pytest.raises(
        localops.StepError, match=r"connect\(\) ran, but what it returned is of the class .* Return plain data"
    ):
        connect()
    again(began)
    with pytest.raises(localops.Uncertain, match="is done, but its result cannot be restored") as caught:
        connect()
    assert caught.value.happened
    assert effects == ["connected"]


@pytest.mark.parametrize("value", [SECRET, {"password": "hunter2!x"}, {1: SECRET}, (SECRET,), SECRET.encode()])
def test_a_secret_in_a_result_is_neither_kept_nor_replaced(
    value: object, effects: Effects, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run continues with a warning; when resumed, the step has no result here, and the hook may know it."""

    @tool(once=True)
    def login() -> object:
        effects.append("login")
        return value

    began = localops.init()
    assert login() == value
    assert "cannot be restored when its run is resumed: it holds a secret" in capfd.readouterr().err
    resumed = again(began)
    with pytest.raises(localops.Uncertain, match="it holds a secret, which is not kept") as caught:
        login()
    assert caught.value.happened
    resumed = again(resumed, on_uncertain=lambda _: "asked again")
    assert login() == "asked again"
    resumed = again(resumed)
    assert login() == "asked again"  # the hook's answer was recorded
    assert effects == ["login"]
    [listed] = resumed.steps
    assert (listed["state"], listed["on_resume"]) == ("done", "give back")
    assert "is done, but its result could not be restored." in given_results.sentences(listed)[0][0]
    with programs.reader() as reader:
        bodies = " ".join(body for (body,) in reader.ask("select body from event where body is not null"))
    assert not [form for form in (SECRET, "hunter2", "c2stcHJvai") if form in bodies]


async def _ask(_: object) -> str:
    return "asked"


def _interrupted(effects: Effects) -> tuple[localops.Session, Callable[[], object]]:
    """Return a session with an uncertain step, and the step."""

    @tool(once=True)
    def pay() -> object:
        effects.append("paid")
        raise KeyboardInterrupt

    began = localops.init()
    with pytest.raises(KeyboardInterrupt):
        pay()
    return began, pay


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        (lambda _: object(), r", and what on_uncertain= returned for pay\(\) is of the class object: it cannot"),
        (lambda _: (each for each in "a"), r", and what on_uncertain= returned for pay\(\) is of the class generator"),
        (_ask, ": its on_uncertain= is async, and it is not; give it a function"),
    ],
)
def test_an_answer_that_cannot_come_back_is_an_error_of_the_hook(
    hook: Callable[[object], object], error: str, effects: Effects
) -> None:
    """The step did not run, and the next answer counts."""
    began, pay = _interrupted(effects)
    resumed = again(began, on_uncertain=hook)
    with pytest.raises(localops.StepError, match=rf"^pay\(\) did not run again{error}"):
        pay()
    again(resumed, on_uncertain=lambda _: 7)
    assert pay() == 7
    assert effects == ["paid"]


def test_a_secret_in_an_answer_is_one_of_the_hook(effects: Effects, capfd: pytest.CaptureFixture[str]) -> None:
    """The warning does not say that the step returned it."""
    began, pay = _interrupted(effects)
    again(began, on_uncertain=lambda _: SECRET)
    assert pay() == SECRET
    warning = "what on_uncertain= returned for pay() cannot be restored when its run is resumed: it holds a secret"
    assert warning in capfd.readouterr().err


def test_a_blob_that_is_gone_or_damaged_is_no_result(tmp_path: Path) -> None:
    """The step is done, so it does not run again."""
    returned = ["y" * 2_000_000]

    @tool(once=True)
    def load() -> str:
        return returned.pop()

    began = localops.init()
    load()
    began.end_session("Success")
    [blob] = [path for path in Path(programs.project(), "blobs").rglob("*") if path.is_file()]
    blob.write_bytes(b"another")
    resumed = localops.resume(began.session_id)
    with pytest.raises(localops.Uncertain, match="cannot be read") as caught:
        load()
    assert caught.value.happened
    resumed = again(resumed, on_uncertain=lambda _: "short")
    assert load() == "short"
    again(resumed)
    assert load() == "short"


@pytest.mark.parametrize("change", ["result", "none", "failed"])
def test_a_row_that_was_changed_gives_no_result(change: str, effects: Effects) -> None:
    """Its checksum shows it; what it states of the step is not relied on, also that it failed."""

    @tool(once=True)
    def act() -> object:
        effects.append(1)
        return None if change == "none" else {"n": 7}

    began = localops.init()
    act()
    began.end_session("Failure")
    setting = "failed = 1" if change == "failed" else """body = replace(body, '"n":7', '"n":9'), at_ns = at_ns + 1"""
    with closing(apsw.Connection(os.path.join(programs.project(), "journal.db"))) as connection:
        connection.execute(f"update event set {setting} where name = 'act' and phase = 0")
    resumed = localops.resume(began.session_id)
    with pytest.raises(localops.Uncertain, match="was changed") as caught:
        act()
    assert (caught.value.happened, effects) == (None if change == "failed" else True, [1])
    [step] = resumed.steps
    assert (step["on_resume"], step["kept"], step["state"]) == (
        "ask",
        False,
        "uncertain" if change == "failed" else "done",
    )


def test_a_class_that_has_changed_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a class that is not loaded, as recorded data must not cause an import."""

    @tool(once=True)
    def produce() -> object:
        return Receipt("r", (1,))

    began = localops.init()
    produce()
    resumed = again(began)
    fields = [("id", str), ("other", int)]
    monkeypatch.setitem(globals(), "Receipt", dataclasses.make_dataclass("Receipt", fields))
    with pytest.raises(localops.Uncertain, match="has other fields now"):
        produce()
    monkeypatch.delitem(globals(), "Receipt")
    again(resumed)
    with pytest.raises(localops.Uncertain, match="there is no class"):
        produce()
    with pytest.raises(faithful.Unfaithful, match="is not loaded"):
        faithful.unpack({"$dataclass": ["antigravity", "Anything", {}]})


@pytest.mark.parametrize("size", [1, 1 << 21], ids=["in its row", "in a file"])
def test_a_scrubbed_result_is_not_restored(effects: Effects, size: int, tmp_path: Path) -> None:
    """Like a result with a secret: it is not what was returned. Its arguments still identify the call."""

    @tool(once=True)
    def pay(card: str) -> dict[str, str]:
        effects.append(card)
        return {"pad": "x" * size, "ticket": f"{card} paid"}

    began = localops.init()
    assert pay("PINE-1234")["ticket"] == "PINE-1234 paid"
    began.end_session("Failure")
    localops.api.client().close()
    (tmp_path / "home" / "config.toml").write_text("redact = ['PINE-\\d+']\n")
    done = scrub(str(tmp_path / "home"), "default")
    assert (done.is_clean, done.rows) == (True, 2)
    (tmp_path / "home" / "config.toml").unlink()
    resumed = localops.resume(began.session_id)
    with pytest.raises(localops.Uncertain, match="a scrub removed a secret from it") as caught:
        pay("PINE-1234")
    assert (caught.value.happened, effects) == (True, ["PINE-1234"])
    [step] = resumed.steps
    assert (step["on_resume"], step["why"]) == ("ask", "a scrub removed a secret from it")


def test_a_result_with_a_note_of_an_earlier_scrub_is_not_restored(effects: Effects) -> None:
    """Its row counts what was removed; a result that always contained such a note is returned."""

    @tool(once=True)
    def read(text: str) -> str:
        effects.append(text)
        return text

    began = localops.init()
    assert read("a [redacted:x] b") == "a [redacted:x] b"
    read("clean")
    resumed = again(began)
    assert read("a [redacted:x] b") == "a [redacted:x] b"
    resumed.end_session("Failure")
    folder = localops.api.client().config.folder()
    localops.api.client().close()
    with closing(Journal(folder)) as journal:

        def work(execute: Any) -> None:
            body = '{"once":{"kept":"returns"},"returns":"[redacted:x]","notes":{"redacted":1}}'
            [row] = stored.named(execute(f"select {', '.join(Stored._fields)} from event where {wanted}").fetchall())
            execute(f"update event set body = ?, sum = ? where {wanted}", (body, row.with_body(body).sum))

        wanted = """body like '%"returns":"clean"%'"""
        journal.transact(work)
    localops.resume(began.session_id)
    with pytest.raises(localops.Uncertain, match="a scrub removed"):
        read("clean")
    assert effects == ["a [redacted:x] b", "clean"]


def test_a_step_whose_name_was_scrubbed_is_found_again(effects: Effects, tmp_path: Path) -> None:
    """So are the steps inside it: none of them runs twice."""
    inner = effects.step(name="inner")

    @tool(once=True, name="pay PINE-1234")
    def pay(amount: int) -> int:
        effects.append("paid")
        return amount + int(inner(amount))

    began = localops.init()
    assert pay(5) == 7
    began.end_session("Failure")
    localops.api.client().close()
    (tmp_path / "home" / "config.toml").write_text("redact = ['PINE-\\d+']\n")
    assert scrub(str(tmp_path / "home"), "default").rows == 2
    (tmp_path / "home" / "config.toml").unlink()
    localops.resume(began.session_id)
    assert (pay(5), effects) == (7, ["paid", 5])
    assert (pay(6), effects) == (10, ["paid", 5, "paid", 6])
