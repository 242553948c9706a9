"""Forks, threads and code that records from inside of a write: no row is lost, no process hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import programs
from tests.examples import sized

_INIT = "import localops, os, signal, sys, threading, time\nfrom localops import ActionEvent, record\n"
_INIT += "session = localops.init(env_data_opt_out=True)\n"
_INIT += "def do(name): record(ActionEvent(action_type=name))\n"


def ran(code: str, *arguments: object, **env: str) -> str:
    """Return the output of a program that must end by itself, without an error; what it forks loads nothing else."""
    done = programs.run(_INIT + code, *arguments, env=env, timeout=100, fresh=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_children_lose_nothing() -> None:
    """Forty forked children record and are killed while their parent records on: every acknowledged row is found."""
    code = """
out, into = os.pipe()
for n in range(40):
    child = os.fork()
    if not child:
        m = 0
        while True:
            do(f"{n} {m}")
            os.write(into, f"{n} {m}\\n".encode())
            m += 1
    for m in range(5):
        do(f"parent {n} {m}")
    time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
os.close(into)
localops.end_session("Success")
sys.stdout.write(open(out).read())
"""
    # The pipe holds 64 KiB; a child that finds it full waits to be killed.
    acknowledged = set(ran(code).splitlines())
    names = set(programs.names())
    assert len(acknowledged) > 40
    assert not acknowledged - names
    assert {f"parent {n} {m}" for n in range(40) for m in range(5)} <= names
    assert programs.standing().state == "Success"


def test_forks_under_recording_threads() -> None:
    """Forks while three threads record: no process hangs, and each row is there, without a spill file."""
    code = """
many = int(sys.argv[1])
stop, counts, ends = threading.Event(), [0, 0, 0], set()
def work(n):
    while not stop.is_set():
        session.record(ActionEvent(action_type=f"thread {n} {counts[n]}"))
        counts[n] += 1
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for n in range(many):
    child = os.fork()
    if not child:
        signal.alarm(20)
        do(f"child {n}")
        os._exit(session._journal.counts["spilled"])
    ends.add(os.waitpid(child, 0)[1])
stop.set()
for thread in threads: thread.join()
localops.end_session("Success")
assert ends == {0}, ends
print(*counts, session._journal.counts["spilled"])
"""
    many = sized(25, 60)
    *counts, spilled = ran(code, many).split()
    assert spilled == "0"
    expected = {f"thread {n} {m}" for n in range(3) for m in range(int(counts[n]))}
    expected |= {f"child {n}" for n in range(many)}
    assert sorted(programs.names()) == sorted(expected)


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_multiprocessing(how: str, tmp_path: Path) -> None:
    """Workers of a pool belong to the session: forked ones by themselves, spawned ones by its environment."""
    code = """
import localops, multiprocessing, os, sys
def work(n):
    localops.init(env_data_opt_out=True)
    localops.record(localops.ActionEvent(action_type=str(n)))
if __name__ == "__main__":
    session = localops.init(env_data_opt_out=True)
    os.environ.update(session.env())
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        pool.map(work, range(10))
        pool.close()
        pool.join()
    localops.end_session("Success")
"""
    path = tmp_path / "program.py"  # spawn finds its main module by its file
    path.write_text(code)
    done = programs.run("import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])", path, how)
    assert done.returncode == 0, done.stderr
    assert sorted(programs.names()) == [str(n) for n in range(10)]
    assert len(programs.sessions()) == 1
    assert programs.standing().state == "Success"


def test_a_child_joins_and_its_parent_ends() -> None:
    """A forked child that records writes a join marked forked; ending stays with the parent."""
    code = """
child = os.fork()
if not child:
    do("child")
    sys.exit(0)
os.waitpid(child, 0)
do("parent")
localops.end_session("Success")
"""
    ran(code)
    with programs.reader() as reader:
        story = reader.all("story", session=programs.sessions()[0])
    assert [(row[2], row[5]) for row in story] == [("session", 0), ("join", 1), ("leave", 0), ("end", 0)]
    assert programs.standing().state == "Success"


def test_the_parent_dies_and_the_child_continues() -> None:
    """While a forked child lives, the session runs; when it has ended, too, the end is derived."""
    code = """
up, tell = os.pipe()
if not os.fork():
    do("child")
    os.write(tell, b".")
    sys.stdin.readline()
    os._exit(0)
os.read(up, 1)
os.kill(os.getpid(), 9)
"""
    with programs.start(_INIT + code) as program:
        program.wait(30)
        assert programs.standing().state == "Running"
        program.communicate(timeout=30)  # lets the child go, and waits until it has closed its output
    assert programs.standing().state == "Indeterminate"


_LOCKED = """
import apsw
do("first")
other = apsw.Connection(session._journal.path)
other.execute("begin immediate")
signal.alarm(30)
"""


@pytest.mark.parametrize(
    "inside", ["do('handler')", "[do(f'handler {n}') for n in range(50)]", "session.get_analytics()"]
)
def test_a_signal_handler_records_in_the_middle_of_a_write(inside: str) -> None:
    """A handler that runs while its own thread waits inside of a write neither hangs nor loses a row."""
    code = (
        _LOCKED
        + f"""
def handler(*_): {inside}
signal.signal(signal.SIGUSR1, handler)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
do("waiting")
other.execute("rollback")
time.sleep(0.6)
do("after")
localops.end_session("Success")
"""
    )
    ran(code, LOCALOPS_WAIT="0.4")
    handler = [name for name in programs.names() if name.startswith("handler")]
    assert len(handler) == (0 if "analytics" in inside else 50 if "for" in inside else 1)
    assert sorted(set(programs.names()) - set(handler)) == ["after", "first", "waiting"]


def test_a_timer_signal_at_every_moment() -> None:
    """A handler that records a thousand times a second, at any moment of a write, causes no loss."""
    code = """
seen, deep, wanted = [0, 0], 0, int(sys.argv[1])
def again():
    if seen[0] < wanted:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
def handler(*_):
    global deep
    seen[0] += 1
    name = f"handler {seen[0]}"
    deep += 1
    if deep < 8:  # handlers inside of handlers, but no pile of them up to where Python's recursion ends
        again()
    do(name)
    deep -= 1
    again()
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
while seen[0] < wanted:
    seen[1] += 1
    do(f"main {seen[1]}")
signal.signal(signal.SIGALRM, signal.SIG_IGN)
time.sleep(0.6)
do("last")
localops.end_session("Success")
print(*seen)
"""
    handled, written = map(int, ran(code, sized(250, 4000)).split())
    expected = [f"handler {n + 1}" for n in range(handled)] + [f"main {n + 1}" for n in range(written)] + ["last"]
    assert handled >= 250
    assert sorted(programs.names()) == sorted(expected)


def test_garbage_that_records() -> None:
    """A __del__ that the collector runs at any moment, and a __repr__ that is called while encoding, may record."""
    code = """
import gc
class Garbage:
    def __del__(self): do("del")
class Odd:
    def __repr__(self):
        do("repr")
        return "odd"
gc.set_threshold(5)
for n in range(100):
    garbage = Garbage()
    garbage.me = garbage
    record(ActionEvent(action_type="main", params={"odd": Odd()}))
del garbage
gc.collect()
localops.end_session("Success")
"""
    ran(code)
    names = programs.names()
    assert [names.count(name) for name in ("del", "repr", "main")] == [100, 100, 100]


@pytest.mark.parametrize("child", ["os._exit(0)", "do('child')\n        os._exit(0)"])
def test_a_fork_in_the_middle_of_a_write(child: str) -> None:
    """A handler that forks while its thread is inside of a write: no row of parent or child is lost."""
    code = (
        _LOCKED
        + f"""
children = []
def handler(*_):
    pid = os.fork()
    if not pid:
        children.clear()
        {child}
    children.append(pid)
signal.signal(signal.SIGUSR1, handler)
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
do("waiting")
while not children: time.sleep(0.01)  # where the timer is late
os.waitpid(children[0], 0)
other.execute("rollback")
time.sleep(0.6)
for n in range(20): do(f"after {{n}}")
localops.end_session("Success")
"""
    )
    ran(code, LOCALOPS_WAIT="0.4")
    programs.run(_INIT)
    with programs.reader() as reader:
        assert reader.ask("pragma integrity_check") == [("ok",)]
    expected = {"first", "waiting", *(f"after {n}" for n in range(20))}
    names = programs.names()
    assert expected <= set(names)
    assert len(names) == len(set(names))
    assert set(names) - expected == ({"child"} if "do" in child else set())


def test_a_signal_that_forks_at_every_moment() -> None:
    """Forks from a timer, wherever the main thread is, hang no process, tear nothing and lose no row."""
    code = """
seen, forks, ends = 0, 0, set()
def handler(*_):
    global forks
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its alarm ends it, and does not fork again
        signal.alarm(60)
        do(f"child {forks}")
        os._exit(0)
    forks += 1
    ends.add(os.waitpid(pid, 0)[1])  # looked at later: what is raised here, record() would take for its own
    signal.setitimer(signal.ITIMER_REAL, 0.01)  # only now: a handler inside of another would give a name twice
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.01)
until = time.monotonic() + 2
while time.monotonic() < until or forks < 20:
    seen += 1
    do(f"main {seen}")
signal.signal(signal.SIGALRM, signal.SIG_IGN)
localops.end_session("Success")
assert ends == {0}, ends
print(seen, forks)
"""
    seen, forks = map(int, ran(code).split())
    programs.run(_INIT)
    expected = [f"main {n + 1}" for n in range(seen)] + [f"child {n}" for n in range(forks)]
    assert sorted(programs.names()) == sorted(expected)
    with programs.reader() as reader:
        assert reader.ask("pragma integrity_check") == [("ok",)]


@pytest.mark.parametrize("closing", ["session._journal.close()", "os.fork() or os._exit(0)"])
def test_a_fork_in_the_middle_of_closing(closing: str) -> None:
    """A child forked while a connection is about to be closed keeps its rows, whatever its parent does to the WAL."""
    code = f"""
import apsw
do("first")
ready, tell = os.pipe()
wait, go = os.pipe()
children = []
def at_close(frame, event, what):
    if event != "c_call" or what.__name__ != "close" or not isinstance(what.__self__, apsw.Connection):
        return
    sys.setprofile(None)
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        do("child 1")
        os.write(tell, b".")
        os.read(wait, 1)
        do("child 2")
        os._exit(0)
    children.append(pid)
    os.read(ready, 1)
sys.setprofile(at_close)
{closing}
sys.setprofile(None)
do("second")
session._journal.close()  # the last to close takes its WAL away
os.write(go, b".")
assert os.waitpid(children[0], 0)[1] == 0
localops.end_session("Success")
"""
    ran(code)
    programs.run(_INIT)
    assert sorted(programs.names()) == ["child 1", "child 2", "first", "second"]


def test_a_fork_by_c_code_that_tells_python_afterwards() -> None:
    """A child of a server that embeds Python records into the journal itself, without a warning."""
    code = """
import ctypes, sys
do("first")
has_to_ask = sys.version_info >= (3, 13)  # which ends a child whose parent did not
if has_to_ask:
    ctypes.pythonapi.PyOS_BeforeFork()
child = ctypes.PyDLL(None).fork()
if not child:
    ctypes.pythonapi.PyOS_AfterFork_Child()
    do("child 1")
    do("child 2")
    print(session._journal.counts["spilled"], flush=True)
    os._exit(0)
if has_to_ask:
    ctypes.pythonapi.PyOS_AfterFork_Parent()
os.waitpid(child, 0)
do("second")
localops.end_session("Success")
"""
    done = programs.run(_INIT + code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    assert programs.names() == ["first", "child 1", "child 2", "second"]


def test_a_fork_while_a_thread_reads() -> None:
    """A child forked while a reader's query runs in a thread keeps its rows, with no warning but that."""
    code = """
import apsw
from localops.journal.reader import Reader
do("first")
wait, go = os.pipe()
running, over = threading.Event(), False
def watch():
    running.set()
    return over
def read():
    with Reader(session._journal.path) as reader:
        reader._connection.set_progress_handler(watch, 1_000)
        try: reader.ask("with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n")
        except apsw.InterruptError: pass
reading = threading.Thread(target=read)
reading.start()
running.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    do("child 1")
    os.read(wait, 1)
    do("child 2")
    os._exit(0)
over = True
reading.join()
do("second")
session._journal.close()
os.write(go, b".")
assert os.waitpid(child, 0)[1] == 0
localops.end_session("Success")
"""
    done = programs.run(_INIT + code)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    programs.run(_INIT)
    assert sorted(programs.names()) == ["child 1", "child 2", "first", "second"]
