"""Threads and pools that begin in the place where they were started."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import localops
from localops import ActionEvent, Session, api
from localops.instrument import threads

pytestmark = pytest.mark.usefixtures("carrying")

own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="default")


@pytest.fixture
def carrying() -> Iterator[None]:
    """Switch it on as a program does, and off again."""
    localops.init(auto_start_session=False, threads=True)
    yield
    threads.stop()


def _by_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def _by_timer(function: Callable[[], None]) -> None:
    timer = threading.Timer(0, function)
    timer.start()
    timer.join()


def _by_pool(function: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result()


def _by_map(function: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(lambda _: function(), [1]))


def _by_loop(function: Callable[[], None]) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(None, function)
        await asyncio.to_thread(lambda: None)

    asyncio.run(main())


WAYS = (_by_thread, _by_timer, _by_pool, _by_map, _by_loop)


def _names(session: Session) -> dict[str, str | None]:
    return {event["name"]: event["parent"] for event in session.events}


@pytest.mark.parametrize("way", WAYS)
def test_a_thread_begins_where_it_was_started(way: Callable[[Callable[[], None]], None]) -> None:
    """With two sessions open, what a thread records goes to the one that started it, into the same operation."""
    with localops.start_session(name="first") as first, localops.start_session(name="second") as second:
        with second.operation("outer") as outer:
            way(lambda: localops.record(ActionEvent(action_type="in the thread")))
        assert _names(second)["in the thread"] == str(outer.id)
        assert _names(first) == {}


def test_a_pool_serves_each_caller_in_its_own_place() -> None:
    """A pool's threads live longer than the call that started them, and belong to none of their callers."""
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            with localops.start_session(name=f"session {number}") as session, session.operation("outer") as outer:
                step = ActionEvent(action_type=f"step {number}")
                pool.submit(localops.record, step).result()
            assert _names(session)[f"step {number}"] == str(outer.id)
        seen = pool.submit(api.client().current).result()
        assert seen is None or not seen.is_running


def test_other_context_variables_stay_as_they_are() -> None:
    """Only localops' own place goes along: a new thread has an empty context otherwise, as Python has it."""
    seen = []
    own.set("changed")
    with localops.start_session():
        _by_thread(lambda: seen.append(own.get()))
    assert seen == ["default"]


def test_a_thread_is_as_it_was() -> None:
    """Its `run` is its own again while it runs, whatever the class; a class that takes no attribute still runs."""
    ran: list[object] = []

    class Own(threading.Thread):
        def run(self) -> None:
            ran.append("run" in vars(self))

    class Sealed(threading.Thread):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "run":
                raise TypeError("sealed")
            super().__setattr__(name, value)

        def run(self) -> None:
            ran.append("sealed")

    with localops.start_session():
        for thread in (Own(), Sealed()):
            thread.start()
            thread.join()
    assert ran == [False, "sealed"]


def test_it_can_be_switched_off() -> None:
    """Without it, a thread has no place: with two sessions open, its session is unknown."""
    threads.stop()
    with localops.start_session() as first, localops.start_session() as second:
        _by_thread(lambda: localops.record(ActionEvent(action_type="lost?")))
        assert (_names(first), _names(second)) == ({}, {})
    unattributed = api.client().open_unattributed()
    assert [event["name"] for session in unattributed for event in session.events] == ["lost?"]
