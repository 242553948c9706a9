"""Which call is which step: numbers, keys, arguments, coroutines, threads and steps inside steps."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import localops
from localops.decorators import agent, operation, session, tool, workflow
from tests import programs
from tests.resume.steps import SECRET, Effects, Socket, again


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


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        (SECRET, "hold a secret"),
        ({"api_key": "abcdef123456"}, "hold a secret"),
        ([SECRET.encode()], "holds a secret"),
        (Socket(), "is of the class Socket"),
        (lambda: 0, "is of the class function"),
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
    """Ctrl-C in the middle of a step does not show what it has done."""
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
    """If an outer step's result is returned, inner steps do not run, and calls elsewhere do not get their results."""
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
    assert "it is not clear which one" in str(outcome[0])
    assert (outcome[1], effects) == (1, ["x"])


def test_without_captured_arguments_a_key_is_needed(effects: Effects) -> None:
    """A result that is not recorded cannot be returned either."""
    act, with_key = effects.step(name="act"), effects.step(name="other", key="only")
    began = localops.init(capture=False)
    with pytest.raises(localops.StepError, match="capture is off"):
        act("x")
    assert with_key("x") == 1
    again(began)
    with pytest.raises(localops.Uncertain, match="results are not recorded"):
        with_key("x")


def test_what_identifies_a_step_is_not_redacted(effects: Effects) -> None:
    """Whatever the program's function replaces, as otherwise no call would be recognised."""
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


def test_a_step_over_another_decorator_knows_its_own_exceptions(effects: Effects) -> None:
    """An exception that leaves the function is a failure, whatever other decorators are around it: it runs again."""

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


def test_a_step_that_a_forked_child_returns_from_has_the_result_of_its_parent() -> None:
    """The child's result is an event of its own: whichever process returns last, the run gets the parent's."""

    @tool(once=True)
    def split() -> str:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return "parent" if child else "child"

    began = localops.init()
    if split() == "child":
        os._exit(0)
    again(began)
    assert split() == "parent"
