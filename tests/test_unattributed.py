"""Events without a known session are kept in the unattributed session of their process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import localops
from localops import api
from localops.decorators import operation, tool
from localops.reading.home import Home
from localops.reading.story import Story
from localops.upkeep.doctor import examine
from tests import programs

pytestmark = pytest.mark.usefixtures("bare_threads")


def act(name: str) -> None:
    """Record an action where we are."""
    localops.record(localops.ActionEvent(action_type=name))


def in_thread(work: Callable[[], object]) -> None:
    """Call a function in a thread that has no context."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)


def by_session() -> dict[str, list[str]]:
    """Return the names of the events of each session, by the session's name."""
    api.client().close()
    with programs.reader() as journal:
        rows = journal.ask(
            "select session, name from event where phase = 0 and kind in ('action', 'operation', 'tool') order by seq"
        )
        names = dict(journal.ask("select session, name from event where kind = 'session'"))
    result: dict[str, list[str]] = {}
    for session, name in rows:
        result.setdefault(names[session], []).append(name)
    return result


def test_a_plain_pool_with_two_sessions_open_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Their session cannot be known: the events are stored separately, counted, and named by doctor and status."""
    first, second = localops.start_session(name="first"), localops.start_session(name="second")

    @tool(name="fetch")
    def fetch() -> None:
        act("inside")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(act, [f"part {n}" for n in range(10)]))
        pool.submit(fetch).result(30)
        assert pool.submit(api.client().current).result(30) is None
    assert api.client().current() is second
    assert capsys.readouterr().err.count("2 sessions are open") == 1
    second.end_session()
    in_thread(lambda: act("single"))
    first.end_session()
    everything = by_session()
    assert everything["first"] == ["single"]
    assert sorted(everything["unattributed"]) == sorted([*(f"part {n}" for n in range(10)), "inside", "fetch"])
    assert len(everything) == 2
    findings = [finding.text for finding in examine(programs.project().removesuffix("/default"), ["default"])]
    assert any("12 events were recorded where no session was known: 12 in session" in text for text in findings)


def test_an_operation_without_a_session_holds_what_happens_in_it() -> None:
    """Its rows are linked, and a session that is begun inside becomes current as anywhere."""
    localops.start_session(), localops.start_session()

    @operation
    def outer() -> None:
        act("inner")
        with localops.start_session(name="own"):
            act("in its own")

    in_thread(outer)
    everything = by_session()
    assert (everything["own"], everything["unattributed"]) == (["in its own"], ["inner", "outer"])
    with programs.reader() as journal:
        ask = (
            "select (select id from event where name = 'outer' and phase = 0) = parent from event where name = 'inner'"
        )
        assert journal.ask(ask) == [(1,)]


def test_recording_before_any_session_is_kept_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """AgentOps' warning stays; the event is in the journal, and the session begun later is not affected by it."""
    for _ in range(3):
        act("early")
    warnings = capsys.readouterr().err
    assert warnings.count("no session is open; call localops.init()") == 1
    with localops.start_session(name="mine"):
        act("in time")
        in_thread(lambda: act("in a thread"))
    assert by_session() == {"unattributed": ["early"] * 3, "mine": ["in time", "in a thread"]}


def test_a_strict_client_raises_instead() -> None:
    """With strict=True the program learns of it at once, and nothing is written."""
    localops.init(auto_start_session=False, strict=True)
    with pytest.raises(localops.LocalopsError, match="no session is open"):
        act("early")


def test_the_unattributed_session_is_not_the_last_one() -> None:
    """`last` is a session that the program began, and status counts what is unattributed."""
    with localops.start_session(name="mine") as mine:
        pass
    act("after")
    assert api.client().open_sessions() == []
    api.client().close()
    with Home() as home:
        project, last = home.find("last")
        assert last == mine.session_id.bytes
        stands = [Story.read(project.reader, one.session).is_unattributed for one in home.sessions()]
    assert sorted(stands) == [False, True]


def test_the_process_ends_it() -> None:
    """At exit, and on SIGTERM, it is ended like the others; an exception of the program is no error of it."""
    begin = "import localops, os, signal, time\nfrom threading import Thread\n"
    begin += "a = localops.init(); localops.start_session()\n"
    record = "thread = Thread(target=lambda: localops.record(localops.ActionEvent())); thread.start(); thread.join()\n"
    for end, reason in (
        ("raise ValueError", "process exited without end_session"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", "process exited without end_session"),
        ("os._exit(1)", "process died"),
    ):
        programs.run(begin + record + end)
        unattributed = programs.sessions()[-1]
        assert programs.standing(unattributed)[:2] == ("Indeterminate", reason)
        assert programs.figures(unattributed).errors == 0


def test_a_forked_child_has_one_of_its_own() -> None:
    """Events of a child without a session are not in the session of its parent's process."""
    code = (
        "import localops, os\nrecord = lambda name: localops.record(localops.ActionEvent(action_type=name))\n"
        "record('parent')\nif not os.fork(): record('child'); os._exit(0)\nos.wait()\nrecord('parent again')"
    )
    programs.run(code)
    with programs.reader() as journal:
        rows = journal.ask("select session, name from event where kind = 'action' order by seq")
    by_name = {name: session for session, name in rows}
    assert by_name["parent"] == by_name["parent again"] != by_name["child"]


_ATEXIT = (
    "import atexit, localops\nrecord = lambda name: localops.record(localops.ActionEvent(action_type=name))\n"
    "atexit.register(lambda: record('late'))\n"
)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("localops.init(trace_name='only')", "only"),
        (
            "localops.start_session(name='a').end_session(); localops.start_session(name='b').end_session('Success')",
            "b",
        ),
        ("localops.start_session(name='a'); localops.start_session(name='b')", "unattributed"),
    ],
)
def test_events_of_atexit_after_the_end_are_late_rows(code: str, name: str) -> None:
    """It belongs to the session that ended last; of several that the exit ended, none is chosen."""
    done = programs.run(_ATEXIT + code)
    assert "Traceback" not in done.stderr
    with programs.reader() as journal:
        ask = "select s.name from event e join event s using (session) where e.name = 'late' and s.kind = 'session'"
        assert journal.ask(ask) == [(name,)]
    assert programs.standing(programs.sessions()[-1]).state in ("Indeterminate", "Success")


def test_the_unattributed_session_is_the_last_if_there_is_no_other() -> None:
    """It is listed and can be shown: `last` is that session rather than none."""
    programs.run("import localops; localops.record(localops.ToolEvent(name='x'))")
    with Home() as home:
        [only] = home.sessions()
        assert home.find("last")[1] == only.session


@pytest.mark.parametrize(
    ("end", "state", "reason", "errors"),
    [
        ("raise ValueError('boom')", "Failure", "ValueError: boom", 1),
        ("import sys; sys.exit(3)", "Failure", "exit code 3", 0),
        (
            "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
            "Failure",
            "Signal SIGTERM",
            0,
        ),
        ("", "Indeterminate", "process exited without end_session", 0),
    ],
)
def test_without_another_session_it_ends_as_the_process_does(end: str, state: str, reason: str, errors: int) -> None:
    """A crash is an error of it, and an exit code its reason: there is no other session that could have them."""
    programs.run(f"import localops; localops.record(localops.ToolEvent(name='x')); {end}")
    [only] = programs.sessions()
    standing = programs.standing(only)
    assert standing.state == state
    assert (standing.reason or "").startswith(reason)
    assert programs.figures(only).errors == errors


def test_the_first_event_does_not_last_as_long_as_the_opening_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended when it was recorded, not when there was a place for it."""
    event = localops.ToolEvent(name="x")
    asked: list[int] = []
    begin = api.client()._begin_unattributed

    def late(*args: Any) -> Any:
        asked.append(time.time_ns())
        time.sleep(0.05)
        return begin(*args)

    monkeypatch.setattr(api.client(), "_begin_unattributed", late)
    localops.record(event)
    assert event.ended_ns is not None
    assert event.ended_ns <= asked[0]
