"""Children that multiprocessing starts as new processes record into their parent's session, or print a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localops.recording import parent_session
from tests import programs

# What a program of these tests begins with; `spawn` and `forkserver` import it again in each child.
_TOP = """
import multiprocessing, os, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
import localops

@localops.record_tool("fetch")
def fetch(name):
    return name

def work(name):
    localops.record(localops.ActionEvent(action_type=name))
    fetch(name)

def hand_on(name):
    with context().Pool(1) as pool:
        pool.map(work, [name])

def context():
    return multiprocessing.get_context(METHOD)

def child(target, *arguments):
    made = context().Process(target=target, args=arguments)
    made.start()
    made.join(60)
    assert made.exitcode == 0, made.exitcode

"""


def program(folder: Path, method: str, main: str, top: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that makes its children by this method; it has to end well."""
    file = folder / "program.py"
    body = "".join(f"    {line}\n" for line in main.strip().splitlines())
    file.write_text(f"METHOD = {method!r}\n{_TOP}{top}\nif __name__ == '__main__':\n{body}")
    done = programs.run_file(file, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def actions() -> list[list[str]]:
    """Return the names of the actions of each session, in the order the sessions began."""
    with programs.reader() as journal:
        ask = "select name from event where session = ? and kind = 'action' order by name"
        return [[name for (name,) in journal.ask(ask, (session,))] for session in programs.sessions()]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_record_into_the_session_of_their_parent(method: str, tmp_path: Path) -> None:
    """Processes, pools, executors, and what a child that records nothing itself makes in its turn."""
    done = program(
        tmp_path,
        method,
        """
session = localops.init(tags=["x"])
child(work, "process")
with context().Pool(2) as pool: pool.map(work, ["pool"])
with ProcessPoolExecutor(1, mp_context=context()) as pool: pool.submit(work, "executor").result()
child(hand_on, "nested")
assert session.get_analytics()["Tool calls"] == 4
session.end_session("Success")
        """,
    )
    assert (done.stderr, actions()) == ("", [["executor", "nested", "pool", "process"]])
    assert programs.standing().state == "Success"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_an_exception_that_ends_a_child_is_an_error_of_the_session(method: str, tmp_path: Path) -> None:
    """multiprocessing prints it and calls no hook. The children leave the session as they end."""
    program(
        tmp_path,
        method,
        """
session = localops.init()
child(work, "well")
made = context().Process(target=failing, name="the second")
made.start()
made.join(60)
session.end_session("Success")
        """,
        top="def failing(): localops.record(localops.ActionEvent(action_type='begun')); raise KeyError('part')",
    )
    with programs.reader() as journal:
        errors = journal.ask("select name, count(*) from event where kind = 'error'", ())
        ends = journal.ask("select body from event where kind = 'journal' and name = 'thread ended'", ())
        left = journal.ask("select count(*) from event where kind = 'leave'", ())
    assert errors == [("KeyError", 1)]
    [[body]] = ends
    assert '"process":"the second"' in body
    assert left == [(2,)]


def test_a_pool_that_outlives_a_session_records_into_the_next(tmp_path: Path) -> None:
    """An event of a worker belongs to the session that is open then, also to one begun after the worker."""
    done = program(
        tmp_path,
        "spawn",
        """
with ProcessPoolExecutor(1, mp_context=context()) as pool:
    pool.submit(work, "before").result()
    for name in ("first", "second"):
        session = localops.start_session(name=name)
        pool.submit(work, f"in {name}").result()
        pool.submit(work, f"{name} again").result()
        session.end_session("Success")
    pool.submit(work, "late").result()
        """,
    )
    assert actions() == [["before"], ["first again", "in first"], ["in second", "late", "second again"]]
    assert "ActionEvent was not recorded in a session of yours: no session is open" in done.stderr
    assert {programs.standing(session).state for session in programs.sessions()[1:]} == {"Success"}


def test_a_worker_that_leaves_does_not_lengthen_the_session(tmp_path: Path) -> None:
    """A session that was ended lasted until then, however long its pool runs."""
    program(
        tmp_path,
        "spawn",
        """
session = localops.init()
with ProcessPoolExecutor(1, mp_context=context()) as pool:
    pool.submit(work, "a").result()
    session.end_session("Success")
        """,
    )
    with programs.reader() as journal:
        assert journal.ask("select kind from event order by seq desc limit 1") == [("end",)]


def test_with_several_sessions_open_none_is_chosen(tmp_path: Path) -> None:
    """A child cannot know its session: one warning, and the events go to a session of their own; an id helps."""
    top = """
def joining(id, name):
    for _ in range(3): work("unattributed")
    with localops.start_session(inherited_session_id=id): work(name)
    work("unattributed")
"""
    done = program(
        tmp_path,
        "spawn",
        """
one, two = localops.start_session(), localops.start_session()
child(joining, two.session_id, "joined")
one.end_session("Success")
child(work, "the one that is left")
two.end_session("Success")
        """,
        top,
    )
    assert actions() == [[], ["joined", "the one that is left"], ["unattributed"] * 4]
    (warning,) = done.stderr.splitlines()
    assert (
        "ActionEvent was not recorded in a session of yours: the process that started this one has 2 sessions"
        in warning
    )


def test_a_session_that_was_ended_by_another_is_not_opened_again(tmp_path: Path) -> None:
    """Anyone may end a session: a later child has none, even if the parent does not know of the end."""
    top = "def end(): work('last'); localops.end_session('Failure')\n"
    done = program(tmp_path, "spawn", "localops.init()\nchild(end)\nchild(work, 'after')\nos._exit(0)", top)
    assert actions() == [["last"], ["after"]]
    assert programs.standing(programs.sessions()[0]).state == "Failure"
    assert "no session is open" in done.stderr


def test_the_budget_of_the_parent_holds(tmp_path: Path) -> None:
    """Money that a child spends counts against the budget of the parent's session."""
    top = """
def spend():
    try:
        localops.record(localops.LLMEvent(cost=2))
    except localops.BudgetExceeded:
        return "stopped"
"""
    main = """
localops.init(budget_usd=1)
with ProcessPoolExecutor(1, mp_context=context()) as pool: print(pool.submit(spend).result())
    """
    assert program(tmp_path, "spawn", main, top).stdout == "stopped\n"


def test_a_child_that_inits_has_a_session_of_its_own(tmp_path: Path) -> None:
    """init() begins one, as anywhere; without auto_start_session it gives options for the inherited one."""
    top = """
def own():
    localops.init(); work("own"); localops.end_session("Success")
def options():
    assert localops.init(auto_start_session=False, redact=["hunter"]) is None
    work("hunter")
"""
    program(tmp_path, "spawn", "localops.init()\nchild(own)\nchild(options)\nlocalops.end_session('Success')", top)
    assert actions() == [["[redacted:pattern]"], ["own"]]


def test_other_children_inherit_no_session(tmp_path: Path) -> None:
    """A program that a child of multiprocessing starts is another program, and so are its own children."""
    top = """
def start():
    code = "import localops; localops.record(localops.ActionEvent(action_type='other'))"
    subprocess.run([sys.executable, "-c", code], check=True)
"""
    done = program(tmp_path, "spawn", "localops.init()\nchild(start)\nlocalops.end_session('Success')", top)
    assert actions() == [[], ["other"]]
    assert "ActionEvent was not recorded in a session of yours: no session is open" in done.stderr


def test_a_parent_that_is_gone_leaves_nothing_to_join(tmp_path: Path) -> None:
    """Its orphans do not join a session whose process has died; one that had joined continues."""
    top = """
def orphan(early):
    if early: work("early")
    print("ready", flush=True)
    while os.getppid() == PARENT: time.sleep(0.01)
    work("late")
    print("done", flush=True)
PARENT = int(os.environ.get("PARENT", "0"))
"""
    main = """
os.environ["PARENT"] = str(os.getpid())
localops.init()
made = context().Process(target=orphan, args=(len(sys.argv) > 1,))
made.start()
input()
os._exit(0)
    """
    file = tmp_path / "program.py"
    body = "".join(f"    {line}\n" for line in main.strip().splitlines())
    file.write_text(f"METHOD = 'spawn'\n{_TOP}{top}\nif __name__ == '__main__':\n{body}")
    for early, kept in (([], ["late"]), (["early"], ["early", "late"])):
        started = subprocess.Popen(
            [sys.executable, str(file), *early],
            env={**os.environ, "PYTHONPATH": programs._PATH},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert programs.first_line(started) == "ready\n"
        out, err = started.communicate("\n", timeout=60)
        assert out == "done\n"
        assert actions()[-1] == kept
        assert ("no session is open" in err) == (not early)


def test_a_process_of_its_own_has_no_parents() -> None:
    """Nothing is looked up in a process that multiprocessing did not start."""
    assert list(parent_session.parents()) == []
    assert parent_session.sessions(os.environ["LOCALOPS_HOME"]) == []
