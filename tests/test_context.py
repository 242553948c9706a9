"""The places that events belong to, across tasks, threads and generators."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import localops
from localops import Session
from localops.decorators import operation
from localops.recording.context import NOWHERE, Stay, around, carry, scope

pytestmark = pytest.mark.usefixtures("bare_threads")


def begun(**options: Any) -> Session:
    """Return a session that was started."""
    session = localops.start_session(**options)
    assert session is not None
    return session


def names(session: Session) -> list[str]:
    """Return the names of a session's events, in order."""
    return [event["name"] for event in session.events]


def act(name: str) -> None:
    """Record an action wherever we are."""
    localops.record(localops.ActionEvent(action_type=name))


def test_a_thread_of_the_only_session_needs_nothing() -> None:
    """While one session is open, a thread records into it by itself."""
    session = begun()
    thread = threading.Thread(target=act, args=("from a thread",))
    thread.start()
    thread.join()
    assert names(session) == ["from a thread"]


def test_with_two_sessions_a_thread_gets_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A bare thread cannot know which of two sessions to use, and prints a warning; one with `carry` can."""
    first, second = begun(), begun()
    for target in (act, carry(act)):
        thread = threading.Thread(target=target, args=(target.__name__,))
        thread.start()
        thread.join()
    assert (names(first), names(second)) == ([], ["act"])
    assert "2 sessions are open" in capsys.readouterr().err


def test_carry_keeps_the_operation_in_a_pool() -> None:
    """Work of a pool for an operation has that operation as its parent, ten at a time."""

    @operation
    def spread() -> None:
        with ThreadPoolExecutor(4) as pool:
            carried = carry(act)
            for _ in pool.map(carried, [f"part {n}" for n in range(10)]):
                pass

    session = begun()
    spread()
    recorded = list(session.events)
    assert {event["parent"] for event in recorded if event["name"] != "spread"} == {recorded[-1]["id"]}
    assert len(recorded) == 11


def test_tasks_of_two_sessions_never_mix() -> None:
    """Two sessions in one `asyncio.gather` each get their own events, however the tasks take turns."""

    async def run(name: str) -> Session:
        session = begun(name=name)
        for step in range(20):
            await asyncio.sleep(0)
            act(f"{name} {step}")
        return session

    async def both() -> list[Session]:
        return list(await asyncio.gather(run("a"), run("b")))

    for session in asyncio.run(both()):
        assert names(session) == [f"{session.name} {step}" for step in range(20)]


def test_a_session_ended_elsewhere_yields_to_the_open_one() -> None:
    """A session that a task ended is no longer the current one where it was begun, once another is open."""
    first = begun(name="first")

    async def restart() -> Session:
        first.end_session("Success")
        return begun(name="second")

    second = asyncio.run(restart())
    act("after")
    assert (names(first), names(second)) == ([], ["after"])


PLACE = (None, b"operation", None)


def test_a_generator_is_in_its_place_only_while_it_runs() -> None:
    """Between two items the caller is in its own place, and the generator then continues in its place."""

    def items() -> Iterator[object]:
        yield scope.get()
        yield scope.get()

    wrapped = around(items, lambda args, kwargs: Stay(PLACE))
    assert [(item, scope.get()) for item in wrapped()] == [(PLACE, NOWHERE), (PLACE, NOWHERE)]


def test_send_and_throw_reach_the_generator() -> None:
    """A wrapped generator answers send, throw and close like the one inside."""

    def echo() -> Iterator[object]:
        got: object = "begun"
        while True:
            try:
                got = yield got
            except KeyError:
                got = "caught"

    wrapped = around(echo, lambda args, kwargs: Stay(PLACE))()
    assert [next(wrapped), wrapped.send(1), wrapped.throw(KeyError())] == ["begun", 1, "caught"]
    wrapped.close()
    assert list(wrapped) == []


def test_an_async_generator_is_in_its_place_only_while_it_runs() -> None:
    """An async generator is in its place only while it runs, with `async for`, too."""

    async def items() -> AsyncIterator[object]:
        yield scope.get()
        await asyncio.sleep(0)
        yield scope.get()

    async def collect() -> list[object]:
        wrapped = around(items, lambda args, kwargs: Stay(PLACE))
        return [(item, scope.get()) async for item in wrapped()]

    assert asyncio.run(collect()) == [(PLACE, NOWHERE), (PLACE, NOWHERE)]


def test_a_coroutine_may_be_abandoned() -> None:
    """A coroutine that is never finished, and closed from another context, raises nothing."""

    class Never:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def wait() -> None:
        await Never()

    abandoned = around(wait, lambda args, kwargs: Stay(PLACE))()
    contextvars.copy_context().run(abandoned.send, None)
    abandoned.close()
    assert scope.get() == NOWHERE
