"""Steps that run once, in runs that are killed, ended and resumed."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import math
import multiprocessing
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

import localops
from localops import cli, clock
from localops.decorators import agent, llm, operation, session, tool, workflow
from localops.encoding import faithful
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading.home import Home
from localops.recording import once_calls
from localops.upkeep.scrub import scrub
from tests import programs


@pytest.fixture(autouse=True)
def _no_steps() -> Iterator[None]:
    """Forget the names of steps: each test has its own."""
    once_calls._named.clear()
    yield
    once_calls._named.clear()


class Effects(list[Any]):
    """What has happened, and a step that makes it happen."""

    def step(self, **options: Any) -> Callable[..., Any]:
        """Return a step that notes what it was called with, and returns how many effects there are."""

        @tool(once=True, **options)
        def act(what: object, more: object = None) -> int:
            self.append(what)
            return len(self)

        return act


@pytest.fixture
def effects() -> Effects:
    """Return an empty list of effects."""
    return Effects()


def again(began: localops.Session, **options: Any) -> localops.Session:
    """End a session and resume it."""
    began.end_session("Failure")
    return localops.resume(began.session_id, **options)


PAYING = """
import os, sys, localops
from localops.decorators import tool

@tool(once=True)
def pay(order, amount=5):
    print("paying", order, flush=True)
    if order == "killed":
        os.kill(os.getpid(), 9)
    if order == "refused":
        raise ConnectionError("refused")
    return {"receipt": order}

how = sys.argv[1]
session = localops.init() if how == "first" else localops.resume(how)
for order in sys.argv[2:]:
    try:
        print(order, "is", pay(order))
    except (ConnectionError, localops.Uncertain) as error:
        print(order, "raised", type(error).__name__)
"""


def test_a_killed_run_goes_on_where_it_was() -> None:
    """What is done is given back, what failed runs again, what was under way raises, and the rest runs."""
    first = programs.run(PAYING, "first", "a", "refused", "killed")
    assert first.returncode == -9
    assert first.stdout.splitlines()[-1] == "paying killed"
    second = programs.run(PAYING, "last", "a", "refused", "killed", "killed", "b")
    assert second.stderr == ""
    assert second.stdout.splitlines() == [
        "a is {'receipt': 'a'}",
        "paying refused",
        "refused raised ConnectionError",
        "killed raised Uncertain",
        "killed raised Uncertain",
        "paying b",
        "b is {'receipt': 'b'}",
    ]
    assert len(programs.sessions()) == 1
    third = programs.run(PAYING, programs.sessions()[0].hex()[:9], "b", "a")
    assert third.stdout.splitlines() == ["b is {'receipt': 'b'}", "a is {'receipt': 'a'}"]


def test_an_uncertain_step_says_what_is_known_of_it() -> None:
    """Name, kind, arguments, when, and the process that it ran in."""
    killed = programs.start(PAYING, "first", "killed")
    killed.communicate(timeout=60)
    localops.resume("last")

    @tool(once=True)
    def pay(order: str, amount: int = 5) -> None:
        raise AssertionError("it must not run")

    with pytest.raises(localops.Uncertain, match="may or may not have happened") as caught:
        pay("killed")
    known = caught.value
    assert (known.name, known.kind, known.params) == ("pay", "tool", {"order": "killed", "amount": 5})
    assert (known.number, known.happened, known.ended_by) == (1, None, None)
    assert known.process is not None
    assert known.process["pid"] == killed.pid
    assert known.began is not None
    assert f"process {killed.pid}" in str(known)
    assert known.began in str(known)


def test_a_hook_decides_once_for_all(effects: Effects) -> None:
    """The result that it returns is recorded: a run that is resumed again is not asked again."""
    programs.run(PAYING, "first", "killed")
    asked = []

    def look(uncertain: localops.Uncertain) -> object:
        asked.append(uncertain.params["order"])
        return ("found", b"at the bank")

    @tool(once=True)
    def pay(order: str, amount: int = 5) -> object:
        effects.append(order)
        return None

    resumed = localops.resume("last", on_uncertain=look)
    assert pay("killed") == ("found", b"at the bank")
    again(resumed)
    assert pay("killed") == ("found", b"at the bank")
    assert (asked, effects) == (["killed"], [])


def test_a_hook_may_run_the_step_again(effects: Effects) -> None:
    """So does a step that is idempotent, unasked; that try is then the one that counts."""
    for options in ({"on_uncertain": lambda _: localops.run_again}, {"idempotent": True}):
        programs.run(PAYING, "first", "killed")
        once_calls._named.clear()

        @tool(once=True, name="pay", **options)
        def pay(order: str, amount: int = 5) -> str:
            effects.append(order)
            return "paid"

        resumed = localops.resume("last")
        assert pay("killed") == "paid"
        again(resumed)
        assert pay("killed") == "paid"
        localops.end_session("Success")
    assert effects == ["killed", "killed"]


def test_a_hook_that_raises_leaves_the_step_as_it_was() -> None:
    """The exception goes to the program, and the next call asks again."""
    programs.run(PAYING, "first", "killed")

    def fail(uncertain: localops.Uncertain) -> object:
        raise uncertain

    @tool(once=True, on_uncertain=fail)
    def pay(order: str, amount: int = 5) -> None: ...

    localops.resume("last")
    for _ in range(2):
        with pytest.raises(localops.Uncertain):
            pay("killed")


def test_the_nth_call_gets_the_nth_result(effects: Effects) -> None:
    """Calls with the same arguments are numbered; how they are passed is the same, and defaults may be left out."""
    act = effects.step(name="act")
    began = localops.init()
    assert [act("a"), act("b"), act(what="a", more=None), act("a", 1)] == [1, 2, 3, 4]
    again(began)
    assert [act(what="a"), act("a"), act("a"), act("b"), act(more=1, what="a")] == [1, 3, 5, 2, 4]
    assert effects == ["a", "b", "a", "a", "a"]


def test_a_call_that_failed_gives_its_number_back(effects: Effects) -> None:
    """A program that tries again has made one call, not two: so it is when the run is resumed."""
    fails = [True]

    @tool(once=True)
    def flaky() -> int:
        if fails.pop():
            raise ConnectionError
        effects.append("flaky")
        return len(effects)

    began = localops.init()
    with pytest.raises(ConnectionError):
        flaky()
    fails += [False]
    assert flaky() == 1
    again(began)
    assert flaky() == 1
    fails += [False]
    assert flaky() == 2


def test_self_is_no_part_of_the_key_and_a_key_is_all_of_it(effects: Effects) -> None:
    """`key=` replaces the arguments; it is called with all of them."""

    class Bank:
        def __init__(self, name: str) -> None:
            self.name = name

        @tool(once=True)
        def balance(self, account: int) -> int:
            effects.append(account)
            return len(effects)

        @tool(once=True, key=lambda self, account, **_: [self.name, account])
        def pay(self, account: int, client: object = None) -> int:
            effects.append(account)
            return len(effects)

        @staticmethod
        @tool(once=True, key="the one")
        def close(reason: object) -> int:
            effects.append(reason)
            return len(effects)

    began = localops.init()
    assert [Bank("a").balance(1), Bank("a").pay(1, client=object()), Bank.close(object())] == [1, 2, 3]
    again(began)
    assert [Bank("b").balance(1), Bank("a").pay(1, client=object()), Bank.close(7)] == [1, 2, 3]
    assert Bank("b").pay(1) == 4


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


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("kind", [tool, llm])
def test_a_result_comes_back_equal_and_of_its_class(value: object, kind: Any) -> None:
    """Whatever JSON would make of it; it is not the same object."""
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


def test_a_model_of_pydantic_comes_back() -> None:
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


class Socket:
    """A class whose instances cannot come back."""


@pytest.mark.parametrize("value", [Socket(), [1, Socket()], threading.Lock(), type("Here", (dict,), {})()])
def test_a_class_that_cannot_come_back_is_an_error_at_the_first_run(value: object, effects: Effects) -> None:
    """It says what to do; the step has run, so it is done, and never given back as something else."""

    @tool(once=True)
    def connect() -> object:
        effects.append("connected")
        return value

    began = localops.init()
    with pytest.raises(localops.StepError, match=r"connect\(\) ran, but what it returned is a .* Return plain data"):
        connect()
    again(began)
    with pytest.raises(localops.Uncertain, match="is done, but its result cannot be given back") as caught:
        connect()
    assert caught.value.happened
    assert effects == ["connected"]


_SECRET = "sk-proj-" + "Ab3" * 16


@pytest.mark.parametrize("value", [_SECRET, {"password": "hunter2!x"}, {1: _SECRET}, (_SECRET,), _SECRET.encode()])
def test_a_secret_in_a_result_is_neither_kept_nor_replaced(
    value: object, effects: Effects, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run goes on with a warning; resumed, the step says that its result is not here, and the hook may know it."""

    @tool(once=True)
    def login() -> object:
        effects.append("login")
        return value

    began = localops.init()
    assert login() == value
    assert "cannot be given back when its run is resumed: it holds a secret" in capfd.readouterr().err
    resumed = again(began)
    with pytest.raises(localops.Uncertain, match="it holds a secret, which is not kept") as caught:
        login()
    assert caught.value.happened
    again(resumed, on_uncertain=lambda _: "asked again")
    assert login() == "asked again"
    assert effects == ["login"]
    with programs.reader() as reader:
        bodies = " ".join(body for (body,) in reader.ask("select body from event where body is not null"))
    assert not [form for form in (_SECRET, "hunter2", "c2stcHJvai") if form in bodies]


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        (_SECRET, "hold a secret"),
        ({"api_key": "abcdef123456"}, "hold a secret"),
        ([_SECRET.encode()], "holds a secret"),
        (Socket(), "is a Socket"),
        (lambda: 0, "is a function"),
    ],
)
def test_arguments_that_would_not_be_recognised_are_an_error_before_the_step_runs(
    argument: object, why: str, effects: Effects
) -> None:
    """It says to give a key; with one, the step runs."""
    act = effects.step(name="act")
    with_key = effects.step(name="other", key=lambda what, more=None: more)
    localops.init()
    with pytest.raises(localops.StepError, match=rf"act\(\) did not run: .*{why}.* key="):
        act(argument)
    assert effects == []
    assert with_key(argument, more=5) == 1


def test_what_cannot_be_a_step_is_refused_where_it_is_written() -> None:
    """Generators, classes, sessions and agents, blocks, and two steps of one name."""
    with pytest.raises(TypeError, match="is a generator, which cannot run once"):

        @tool(once=True)
        def numbers() -> Iterator[int]:
            yield 1

    with pytest.raises(TypeError, match="is a generator"):

        @tool(once=True)
        async def more() -> Any:
            yield 1

    for kind in (session, agent):
        with pytest.raises(TypeError, match="cannot be: a step that runs once is a function"):
            kind(once=True)(len)
    with pytest.raises(TypeError, match="cannot be"):
        tool(once=True)(Socket)
    with pytest.raises(localops.errors.ConfigError, match="cannot be left out"):
        localops.init().operation("pay", once=True)

    def first() -> None: ...
    def second() -> None: ...

    tool(once=True, name="same")(first)
    tool(once=True, name="same")(first)
    with pytest.raises(localops.errors.ConfigError, match="two steps that run once are called 'same'"):
        tool(once=True, name="same")(second)


def test_a_cell_of_a_notebook_may_define_a_step_again() -> None:
    """Each run of it is another file; the same name in another module is another step."""
    names: dict[str, Any] = {"__name__": "__main__", "tool": tool}
    source = "@tool(once=True)\ndef act(): ...\n"
    for place in ("/tmp/cell/1.py", "/tmp/cell/2.py"):
        exec(compile(source, place, "exec"), names)
    # A module that runs as the program, and is imported by its name as well.
    exec(compile(source, "/tmp/cell/1.py", "exec"), {"__name__": "module", "tool": tool})
    with pytest.raises(localops.errors.ConfigError, match="two steps that run once are called 'act'"):
        exec(compile(source, "/tmp/other.py", "exec"), {"__name__": "other", "tool": tool})


def test_without_a_session_a_step_simply_runs(effects: Effects) -> None:
    """As any decorated function does."""
    act = effects.step()
    assert [act(1), act(1)] == [1, 2]


def test_coroutines_run_once_and_a_cancelled_one_is_uncertain(effects: Effects) -> None:
    """A task that was cancelled in the middle may have done its work."""
    begun = asyncio.Event()

    @tool(once=True)
    async def fetch(number: int) -> Any:
        effects.append(number)
        begun.set()
        await asyncio.sleep(60 if number == 3 else 0)
        return (number,)

    async def gather() -> list[Any]:
        return [*await asyncio.gather(fetch(1), fetch(1), fetch(2))]

    async def cancel() -> None:
        begun.clear()
        running = asyncio.create_task(fetch(3))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    async def decide(uncertain: localops.Uncertain) -> object:
        await asyncio.sleep(0)
        return uncertain.ended_by

    began = localops.init()
    assert asyncio.run(gather()) == [(1,), (1,), (2,)]
    asyncio.run(cancel())
    resumed = again(began)
    assert asyncio.run(gather()) == [(1,), (1,), (2,)]
    with pytest.raises(localops.Uncertain, match="was interrupted by CancelledError"):
        asyncio.run(fetch(3))
    again(resumed, on_uncertain=decide)
    assert asyncio.run(fetch(3)) == "CancelledError"
    assert effects == [1, 1, 2, 3]


def test_an_interrupted_step_is_uncertain() -> None:
    """Ctrl-C in the middle of a step says nothing of what it has done."""
    effects = []

    @operation(once=True)
    def act() -> None:
        effects.append(1)
        raise KeyboardInterrupt

    began = localops.init()
    with pytest.raises(KeyboardInterrupt):
        act()
    again(began)
    with pytest.raises(localops.Uncertain, match="KeyboardInterrupt"):
        act()
    assert effects == [1]


def test_threads_share_the_numbers(effects: Effects) -> None:
    """Of many calls at once with the same arguments each gets a result of its own, and none runs again."""
    lock = threading.Lock()

    @tool(once=True)
    def act(what: str) -> int:
        with lock:
            effects.append(what)
            return len(effects)

    def together(many: int) -> list[int]:
        with ThreadPoolExecutor(8) as pool:
            return sorted(pool.map(localops.carry(act), ["a"] * many))

    began = localops.init()
    assert together(40) == [*range(1, 41)]
    again(began)
    assert together(45) == [*range(1, 46)]


def test_steps_inside_a_step_belong_to_it(effects: Effects) -> None:
    """One that is given back does not run its inner steps, and they are not given to calls outside of it."""
    act = effects.step(name="act")
    broken = [True]

    @workflow(once=True)
    def whole(name: str) -> list[int]:
        answers = [act(name), act("shared")]
        if name == "late" and broken:
            raise ConnectionError
        return answers

    began = localops.init()
    assert whole("a") == [1, 2]
    with pytest.raises(ConnectionError):
        whole("late")
    again(began)
    broken.clear()
    assert [whole("a"), act("shared"), whole("late")] == [[1, 2], 5, [3, 4]]
    assert effects == ["a", "shared", "late", "shared", "shared"]


def test_a_step_belongs_to_the_process_that_began_or_resumed_the_session(effects: Effects) -> None:
    """In a child, calls could not be counted with those of its parent: it gets an error that says so."""
    act = effects.step(name="act")
    localops.init()
    reader, writer = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=_call_in_child, args=(act, writer))
    child.start()
    child.join()
    assert b"did not run: steps that run once belong to the process" in os.read(reader, 10_000)
    os.close(reader)
    os.close(writer)


def _call_in_child(act: Callable[..., Any], writer: int) -> None:
    try:
        act("in a child")
    except localops.StepError as error:
        os.write(writer, str(error).encode())


def test_a_step_needs_to_know_its_session(effects: Effects, bare_threads: None) -> None:
    """With two sessions open and none current, it does not run in the wrong one; `session=` names one."""
    act = effects.step(name="act")
    first, _ = localops.start_session(name="a"), localops.start_session(name="b")
    outcome: list[object] = []

    def call(**named: Any) -> None:
        try:
            outcome.append(act("x", **named))
        except localops.StepError as error:
            outcome.append(str(error))

    for named in ({}, {"session": first}):
        thread = threading.Thread(target=call, kwargs=named)
        thread.start()
        thread.join()
    assert "it is not clear of which session" in str(outcome[0])
    assert (outcome[1], effects) == (1, ["x"])


def test_a_session_that_was_joined_has_no_steps() -> None:
    """To continue a session by its id alone is not to resume it: its steps would run again."""
    began = localops.init()
    began.end_session("Success")
    localops.start_session(inherited_session_id=began.session_id)
    with pytest.raises(localops.StepError, match=r"localops\.resume\(\)"):
        Effects().step()("x")


HOLDING = """
import localops, sys, time
try:
    session = localops.resume("last") if len(sys.argv) > 1 else localops.init()
    print("has it", flush=True)
except localops.NotResumable as error:
    print("refused:", error, flush=True)
sys.stdin.read()
"""


def test_a_session_that_is_recorded_cannot_be_resumed() -> None:
    """A process that lives is at it; when it has died, one of many has it."""
    holder = programs.start(HOLDING)
    assert programs.first_line(holder) == "has it\n"
    with pytest.raises(localops.NotResumable, match=f"is still recorded by process {holder.pid}"):
        localops.resume("last")
    programs.kill(holder)
    many = [programs.start(HOLDING, "resume") for _ in range(5)]
    lines = [programs.first_line(one) for one in many]
    for one in many:
        programs.kill(one)
    assert sum(line == "has it\n" for line in lines) == 1
    assert all("is still recorded by process" in line or "just now" in line for line in lines if line != "has it\n")
    localops.resume("last").end_session("Success")


def test_a_session_of_this_process_is_ended_before_it_is_resumed() -> None:
    """An id without a session, and "last" without any, are errors."""
    with pytest.raises(localops.errors.NotFound):
        localops.resume("last")
    began = localops.init()
    with pytest.raises(localops.NotResumable, match="is open in this process"):
        localops.resume(began.session_id)
    with pytest.raises(localops.errors.NotFound):
        localops.resume("0123456789")
    with pytest.raises(localops.errors.NotFound, match="no session to resume"):
        localops.resume("last")


def test_rows_that_wait_in_a_spill_file_are_known(effects: Effects) -> None:
    """A step that SQLite did not take has run all the same."""
    program = """
import localops, os
from localops.decorators import tool

@tool(once=True)
def act(what, more=None):
    return what

session = localops.init()
session.recorder.journal._inside = True  # as in the middle of a write: rows go to the spill file
act("x")
os._exit(0)
"""
    assert programs.run(program).returncode == 0
    localops.resume("last")
    assert (effects.step(name="act")("x"), effects) == ("x", [])


def test_a_session_lists_its_steps(effects: Effects) -> None:
    """Those of this process and those before, with what a resume would do."""
    act = effects.step(name="act")
    began = localops.init()
    act("x")
    resumed = again(began)
    act("y")
    assert [(one["name"], one["input"], one["on_resume"]) for one in resumed.steps] == [
        ("act", '{"what":"x","more":null}', "give back"),
        ("act", '{"what":"y","more":null}', "give back"),
    ]


def test_a_resumed_session_is_the_same_session(effects: Effects) -> None:
    """Its id, name, budget and figures are; its end is the new one, and both processes are in it."""
    code = "import localops; s = localops.start_session(name='long run', tags=['x']); s.end_session('Failure')"
    programs.run(code)
    [id] = programs.sessions()
    resumed = localops.resume("last", tags=["again"])
    assert resumed.session_id == uuid.UUID(bytes=id)
    assert (resumed.name, resumed.tags) == ("long run", ["x", "again"])
    assert programs.standing(id).state == "Running"
    effects.step()("x")
    resumed.end_session("Success")
    assert programs.sessions() == [id]
    assert (programs.standing(id).state, programs.figures(id).tools) == ("Success", 1)
    with Home() as home:
        assert len(list(home.projects[0].snapshot(id).story.participants())) == 2


def test_a_run_goes_on_on_another_machine(tmp_path: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of a killed run is imported and resumed; results in blobs come along."""
    large = "x" * 2_000_000
    program = """
import os, localops
from localops.decorators import tool

@tool(once=True)
def act(what, more=None):
    if what == "killed":
        os.kill(os.getpid(), 9)
    return what * 2_000_000

localops.init()
act("x")
act("killed")
"""
    programs.run(program)
    file = str(tmp_path / "run.lops")
    _command("bundle", "-o", file)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "other"))
    _command("import", file)
    act = effects.step(name="act")
    localops.resume("last")
    assert act("x") == large
    with pytest.raises(localops.Uncertain):
        act("killed")
    assert effects == []


def _command(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0


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
    localops.resume(began.session_id)
    with pytest.raises(localops.Uncertain, match="cannot be read") as caught:
        load()
    assert caught.value.happened


def test_a_class_that_has_changed_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that is not loaded: nothing is imported for the sake of recorded data."""

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


def test_without_its_opening_row_a_step_does_not_run() -> None:
    """Where neither the journal nor a spill file takes a row, an effect could not be remembered."""
    program = """
import localops, resource
from localops.decorators import tool

@tool(once=True)
def act():
    print("it ran")

session = localops.init()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    act()
except localops.StepError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
act()
"""
    done = programs.run(program)
    assert done.stdout.splitlines() == [
        "act() did not run: that it begins could not be written; see `localops doctor`",
        "it ran",
    ]


def test_without_captured_arguments_a_key_is_needed(effects: Effects) -> None:
    """And a result that is not recorded cannot be given back."""
    act, with_key = effects.step(name="act"), effects.step(name="other", key="only")
    began = localops.init(capture=False)
    with pytest.raises(localops.StepError, match="capture is off"):
        act("x")
    assert with_key("x") == 1
    again(began)
    with pytest.raises(localops.Uncertain, match="results are not recorded"):
        with_key("x")


def test_what_identifies_a_step_is_not_redacted(effects: Effects) -> None:
    """Whatever a function of the program replaces: else no call would ever be recognised."""
    act = effects.step()
    began = localops.init(redact=lambda text: "gone" if len(text) == 32 else text)
    assert act("x") == 1
    again(began)
    assert act("x") == 1
    assert effects == ["x"]


def test_an_exception_of_a_signal_handler_after_the_effect_is_no_failure(effects: Effects) -> None:
    """Whatever interrupts the recording of a result, the step has happened and does not run again."""
    program = """
import localops, signal, sys
from localops.decorators import tool

class Late(Exception): ...
def handler(_, frame):
    while frame is not None:
        if frame.f_code is act.__wrapped__.__code__: return
        frame = frame.f_back
    raise Late
signal.signal(signal.SIGALRM, handler)
sizes = iter(range(1, 200))

@tool(once=True)
def act(number):
    print("effect", number)
    signal.setitimer(signal.ITIMER_REAL, next(sizes) / 100_000)
    return ["x" * 40] * 4_000

def run(number):
    try:
        act(number)
    except Late: pass
    except localops.Uncertain: pass
    finally:
        try: signal.setitimer(signal.ITIMER_REAL, 0)
        except Late: pass

session = localops.init()
for number in range(60): run(number)
session.end_session("Failure")
localops.resume(session.session_id)
for number in range(60): run(number)
"""
    done = programs.run(program)
    lines = done.stdout.splitlines()
    assert (done.stderr, sorted(set(lines)), len(lines)) == ("", sorted(lines), 60)


def test_a_copy_without_content_is_refused() -> None:
    """Where content stayed elsewhere, every step would seem not to have begun."""
    began = localops.init()
    id = began.session_id.bytes
    began.end_session("Success")
    journal = Journal(programs.project())
    journal.add([rows.make("session", id, id=clock.new_id(), at_ns=clock.now_ns(), body='{"metadata_only":true}')])
    journal.close()
    with pytest.raises(localops.NotResumable, match="came without its content"):
        localops.resume(began.session_id)


def test_a_session_of_a_hub_is_refused() -> None:
    """Its processes are on other machines, and its rows come from them."""
    began = localops.init()
    began.end_session("Success")
    Path(programs.project()).parent.joinpath("hub.json").write_text("{}")
    with pytest.raises(localops.NotResumable, match="is on a hub"):
        localops.resume(began.session_id)


def test_a_step_over_another_decorator_knows_its_own_exceptions(effects: Effects) -> None:
    """An exception that comes out of the function is a failure, whatever else is around it: it runs again."""

    @tool(once=True)
    @operation
    def outer() -> int:
        effects.append("outer")
        if len(effects) < 2:
            raise ConnectionError
        return len(effects)

    began = localops.init()
    with pytest.raises(ConnectionError):
        outer()
    again(began)
    assert [outer(), effects] == [2, ["outer", "outer"]]


@pytest.mark.parametrize("size", [1, 1 << 21], ids=["in its row", "in a file"])
def test_a_result_that_was_scrubbed_is_not_given_back(effects: Effects, size: int, tmp_path: Path) -> None:
    """As one with a secret in it is not: what is there is not what was returned. Arguments identify the call still."""

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


def test_a_note_in_a_result_that_an_earlier_scrub_left_is_not_given_back(effects: Effects) -> None:
    """Its row says that it is kept, and counts what was removed; a result that always had a note is given back."""

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
            execute('update event set body = ? where body like \'%"returns":"clean"%\'', (body,))

        journal.transact(work)
    localops.resume(began.session_id)
    with pytest.raises(localops.Uncertain, match="a scrub removed"):
        read("clean")
    assert effects == ["a [redacted:x] b", "clean"]


def test_a_step_whose_name_was_scrubbed_is_found_again(effects: Effects, tmp_path: Path) -> None:
    """With the steps inside of it: none of them runs twice."""
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
