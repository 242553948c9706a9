"""Many threads at once: sessions, events and ends, and what the threads share."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

import localops
from localops import Session, api
from localops.config import Config
from localops.journal import journal
from localops.journal.journal import Journal, run_chores
from localops.reading import session_state
from localops.recording import client as clients
from localops.recording import session as sessions
from localops.recording.client import Client
from tests import programs

_SESSIONS = int(os.environ.get("THREADS_SESSIONS", "24"))
_EVENTS = 5
_THREADS = 8


def begun(**options: Any) -> Session:
    """Start a session."""
    session = localops.start_session(**options)
    assert session is not None
    return session


def at_once(work: Callable[[int], Any], threads: int = _THREADS) -> list[Any]:
    """Call a function in several threads that set off together, and return what the calls returned."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> Any:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every append look at the journal and run the chores."""
    monkeypatch.setattr(journal, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(clients, "_DETAILS_AFTER_NS", 0)


def test_a_chore_runs_once_and_its_failure_is_not_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While one thread is inside a chore, another that appends passes it by; one that raises is left out."""
    kept = Journal(str(tmp_path))
    inside, go_on, runs = threading.Event(), threading.Event(), []

    def slow() -> bool:
        runs.append("slow")
        inside.set()
        go_on.wait(30)
        return len(runs) < 3

    def failing() -> bool:
        runs.append("failing")
        raise ValueError("list.remove(x): x not in list")

    kept.chores.append(slow)
    thread = threading.Thread(target=run_chores, args=(kept.chores,))
    thread.start()
    inside.wait(30)
    kept.chores.append(failing)
    run_chores(kept.chores)
    go_on.set()
    thread.join(30)
    assert runs == ["slow", "failing"]
    for _ in range(3):
        run_chores(kept.chores)
    assert runs == ["slow", "failing", "slow"]
    assert "list.remove" in capsys.readouterr().err


def test_a_chore_that_has_no_room_is_done_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program may be near its recursion limit, and nothing is wrong with the chore."""
    kept = Journal(str(tmp_path))
    room, runs = [False], []

    def overflow() -> None:
        overflow()

    def chore() -> bool:
        if not room[0]:
            overflow()
        runs.append("done")
        return False

    kept.chores.append(chore)
    run_chores(kept.chores)
    room[0] = True
    for _ in range(2):
        run_chores(kept.chores)
    assert (runs, capsys.readouterr().err) == (["done"], "")


@pytest.mark.usefixtures("busy")
def test_sessions_in_many_threads_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Each thread begins, fills and ends its own sessions: every event is in its session, and each has one end."""
    expected: Counter[bytes] = Counter()

    def run(number: int) -> None:
        session = begun(tags=[f"thread {number % 3}"])
        with session:
            for step in range(_EVENTS):
                session.record(localops.ToolEvent(name=f"{number} {step}"))
        expected[session.session_id.bytes] += _EVENTS

    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(run, number) for number in range(_SESSIONS)]:
            done.result(120)
    api.client().close()
    with programs.reader() as reader:
        counts = dict(reader.ask("select session, count(*) from event where kind = 'tool' group by session"))
        ends = reader.ask("select session, count(*) from event where kind = 'end' group by session")
        starts = reader.ask("select count(*), count(distinct session) from event where kind = 'session'")
        hosts = reader.ask(
            "select max(many) from (select count(*) many from event where kind = 'host' group by session)"
        )
    assert counts == dict(expected)
    assert dict(ends) == dict.fromkeys(expected, 1)
    assert (starts, hosts) == ([(_SESSIONS, _SESSIONS)], [(1,)])
    assert capsys.readouterr().err == ""


def test_a_session_may_end_while_another_thread_describes_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """The description is recorded after the end then; only late rows of the program itself cause a warning."""
    session, describing, ended = begun(), threading.Event(), threading.Event()

    def slowly() -> str:
        describing.set()
        assert ended.wait(30)
        return "{}"

    session.details = slowly
    thread = threading.Thread(target=session.tell_host)
    thread.start()
    assert describing.wait(30)
    session.end_session("Success")
    ended.set()
    thread.join(30)
    assert capsys.readouterr().err == ""
    session.record(localops.ActionEvent(name="late"))
    assert "has ended" in capsys.readouterr().err
    api.client().close()
    with programs.reader() as reader:
        kinds = reader.ask("select kind from event where kind in ('host', 'end', 'action') order by seq")
        state = session_state.standing(reader, programs.project(), session.session_id.bytes)
    # A slow machine has written another description before.
    assert kinds[-3:] == [("end",), ("host",), ("action",)]
    assert state.state == "Success"


def test_one_of_several_threads_ends_a_session() -> None:
    """Threads that end one session at once write one end; the others get None."""
    for _ in range(5):
        session = begun()
        costs = at_once(lambda number, session=session: session.end_session("Success", f"by {number}"))  # type: ignore[misc]
        assert sorted(map(str, costs)) == ["0.00", *["None"] * (_THREADS - 1)]
    api.client().close()
    with programs.reader() as reader:
        ends = reader.ask("select count(*) from event where kind = 'end' group by session")
    assert ends == [(1,)] * 5


def test_threads_that_join_one_session_get_the_same_object() -> None:
    """The id of a session of another process, given to several threads at once, is joined once."""
    for _ in range(5):
        given = uuid.uuid4()
        sessions = at_once(lambda _, given=given: localops.start_session(inherited_session_id=given))  # type: ignore[misc]
        assert len({id(session) for session in sessions}) == 1


def test_threads_share_one_client_and_one_journal() -> None:
    """The first thread makes them; threads that call init() at once get the one session."""
    assert len({id(client) for client in at_once(lambda _: api.client())}) == 1
    client = Client(Config(signals=False))
    for name in ("a", "b", "c"):
        config = Config(project=name, home=os.environ["LOCALOPS_HOME"])
        made = at_once(lambda _, config=config: client._journal(config.folder(), config))  # type: ignore[misc]
        assert len({id(each) for each in made}) == 1
        assert len({each.participate().id for each in made}) == 1
        assert len({id(each) for each in at_once(lambda _: client._encoder("a", config))}) == 1  # noqa: B023
    client.close()
    assert len({id(session) for session in at_once(lambda _: localops.init())}) == 1


def test_an_agent_that_came_before_any_session_is_in_one() -> None:
    """Of several threads that begin sessions, one creates the waiting agents in its session."""
    names = [f"agent {n}" for n in range(20)]
    for name in names:
        localops.create_agent(name)
    at_once(lambda _: localops.start_session(), 4)
    api.client().close()
    assert sorted(programs.names("agent")) == sorted(names)


def test_an_id_that_several_threads_choose_is_used_once() -> None:
    """One of the events has it, the others have new ids."""
    session = begun()
    for _ in range(5):
        given = uuid.uuid4()
        at_once(lambda _, given=given: session.record(localops.ActionEvent(id=given)))  # type: ignore[misc]
    api.client().close()
    with programs.reader() as reader:
        counts = reader.ask("select count(*), count(distinct id) from event where kind = 'action'")
    assert counts == [(5 * _THREADS, 5 * _THREADS)]


def test_an_id_whose_event_waits_in_a_spill_file_is_taken() -> None:
    """Two events get the same id while the journal cannot be written: both are stored in the end."""
    session = begun(config=Config(wait=0.1))
    other = apsw.Connection(session._journal.path)
    other.execute("begin immediate")
    given = uuid.uuid4()
    for name in ("one", "two"):
        session.record(localops.ActionEvent(id=given, action_type=name))
    other.execute("rollback")
    other.close()
    api.client().close()
    assert sorted(programs.names()) == ["one", "two"]


def test_an_end_of_the_process_waits_for_a_thread_that_is_writing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end at exit is not written beside the end that another thread has begun to write."""
    monkeypatch.setattr(sessions, "_PATIENCE", 60.0)
    session = begun()
    assert session._take_turn_to_end()
    thread = threading.Thread(target=session.end_unasked, args=("Indeterminate", "unasked"))
    thread.start()
    time.sleep(0.05)
    session._turn_to_end.append(None)
    session.end_session("Success")
    thread.join(30)
    assert session.end_state in ("Success", "Indeterminate")
    api.client().close()
    assert len(programs.names("end")) == 1
