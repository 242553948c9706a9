"""Forks: whatever other threads are doing at that moment blocks neither them nor the child."""

from __future__ import annotations

import pytest

from tests import programs

# Hooks before a fork run in the order opposite to that of their registration: this one after ours.
_BEFORE = (
    "import os, signal, sys, threading, warnings\n"
    # Python 3.12 begins to warn of what these tests are about.
    "warnings.filterwarnings('ignore', 'This process .* is multi-threaded', DeprecationWarning)\n"
    "hooks = []\nos.register_at_fork(before=lambda: [hook() for hook in hooks])\n"
)
_FORK = (
    "def fork(work):\n"
    "    child = os.fork()\n"
    "    if not child:\n"
    "        signal.alarm(20)\n"
    "        work()\n"
    "        os._exit(0)\n"
    "    return os.waitpid(child, 0)[1]\n"
)
_INIT = (_BEFORE + _FORK) + (
    "import localops\n"
    "from localops.config import Config\n"
    "from localops.recording.client import Client\n"
    "session = localops.init(env_data_opt_out=True, instrument_llm_calls=False)\n"
    "def do(name): session.record(localops.ActionEvent(action_type=name))\n"
    "def other(): return Client(Config(project='other', env_data_opt_out=True)).start()\n"
)


def ran(code: str, init: str = _INIT) -> str:
    """Return the output of a program that must end by itself and print no error."""
    done = programs.run(init + code, fresh=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_journal_that_another_thread_begins() -> None:
    """One that a thread begins in the middle of a fork disturbs neither the fork nor the threads after it."""
    code = """
made = []
beginning = threading.Thread(target=lambda: made.append(other()))
hooks += [beginning.start, lambda: beginning.join(0.2)]
do("before")
status = fork(lambda: do("child"))
hooks.clear()
beginning.join()
after = threading.Thread(target=do, args=("after",))
after.start()
after.join(10)
made[0].end_session("Success")
print(status, after.is_alive())
"""
    assert ran(code) == "0 False\n"
    assert programs.names() == ["before", "child", "after"]


def test_threads_that_fork_at_once_in_a_write() -> None:
    """One in the middle of a write of one journal, as a `__del__` may be, does not wait forever for one that has
    locked the other journals."""
    code = """
journals = [session.recorder.journal, other().recorder.journal]
statuses = []
def fork_in_a_write(journal, writing, forking):
    with journal._lock:
        writing.set()
        forking.wait()
        threading.Event().wait(0.05)
        statuses.append(fork(lambda: None))
for journal in journals:
    writing, forking = threading.Event(), threading.Event()
    thread = threading.Thread(target=fork_in_a_write, args=(journal, writing, forking))
    thread.start()
    writing.wait()
    forking.set()
    statuses.append(fork(lambda: do("child")))
    thread.join()
print(statuses)
"""
    assert ran(code) == "[0, 0, 0, 0]\n"


_CALL = 'session.record(localops.ErrorEvent(exception=ValueError("a")))'


@pytest.mark.parametrize(("init", "call"), [(_INIT, _CALL), (_BEFORE + "import localops\n" + _FORK, "localops.init()")])
def test_a_thread_that_imports_for_us(init: str, call: str) -> None:
    """A fork waits for what another thread imports in the middle of a call, as the child could not import it."""
    code = f"""
class Slow:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is recording and not importing.is_set():
            importing.set()
            threading.Event().wait(0.05)
importing = threading.Event()
def work(): {call}
recording = threading.Thread(target=work)
sys.meta_path.insert(0, Slow())
recording.start()
importing.wait()
print(fork(work))
recording.join()
"""
    assert ran(code, init) == "0\n"


def test_no_property_of_a_recorder_has_a_lock() -> None:
    """A child cannot wait for a thread of its parent that is calculating one, as `cached_property` does in 3.11."""
    code = """
session.record(localops.LLMEvent(prompt={"a": object()}, completion=ValueError("a"), model="gpt-4o", cost=0.1))
session.record(localops.ErrorEvent(exception=ValueError("a")))
session.get_analytics(), session.tags
session.end_session("Success")
from functools import cached_property
ours = [module for name, module in sys.modules.items() if name.startswith("localops")]
classes = [thing for module in ours for thing in vars(module).values() if isinstance(thing, type)]
print([kind for kind in classes for value in vars(kind).values() if isinstance(value, cached_property)])
"""
    assert ran(code) == "[]\n"


_RECURSION = """
from localops.careful import deeper
def at(depth, function): return at(depth - 1, function) if depth else function()
def use(slow=bool): return at(sys.getrecursionlimit() - 100, lambda: deeper(slow))
"""
_SPANS = """
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from localops.otel import providers
def use(slow=bool): return providers._kept("other", lambda: slow() or ALWAYS_ON)
"""


@pytest.mark.parametrize("use", [_RECURSION, _SPANS], ids=["recursion", "spans"])
def test_what_one_thread_does_at_a_time(use: str) -> None:
    """A child does not wait for a thread of its parent that was doing it."""
    code = """
begun, over = threading.Event(), threading.Event()
def slow():
    begun.set()
    over.wait()
thread = threading.Thread(target=use, args=(slow,))
thread.start()
begun.wait()
print(fork(use))
over.set()
thread.join()
"""
    assert ran(use + code) == "0\n"


def test_a_fork_in_the_middle_of_a_fork() -> None:
    """A signal handler may do one: both have their locks, and neither leaves a signal blocked."""
    code = """
def other_fork():
    hooks.clear()
    do("between")
    fork(lambda: do("first"))
hooks.append(other_fork)
status = fork(lambda: do("second"))
thread = threading.Thread(target=do, args=("after",))
thread.start()
thread.join(10)
print(status, thread.is_alive(), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    assert ran(code) == "0 False set()\n"
    assert programs.names() == ["between", "first", "second", "after"]


@pytest.mark.parametrize("is_first", [False, True])
def test_an_alarm_during_a_fork(*, is_first: bool) -> None:
    """What its handler raises arrives in the parent, and only there; no lock stays taken and no signal blocked."""
    trip = (
        "import _thread, functools, os, signal\n"
        "class Late(Exception): pass\n"
        "def late(*_): raise Late\n"
        "signal.signal(signal.SIGALRM, late)\n"
    )
    # No function of Python, in which the handler would run.  Of two hooks, the second one is called first.
    hook = "os.register_at_fork(before=functools.partial(_thread.interrupt_main, signal.SIGALRM))\n"
    init = trip + _INIT + hook if is_first else trip + hook + _INIT
    code = """
def forked():
    child = os.fork()
    if not child:
        do("child")
        os._exit(0)
    return child
arrived = []
try: list(range(forked()))
except Late: arrived.append("late")
os.wait()
thread = threading.Thread(target=do, args=("after",), daemon=True)
thread.start()
thread.join(10)
print(arrived, thread.is_alive(), signal.pthread_sigmask(signal.SIG_BLOCK, ()), sys.getprofile())
"""
    assert ran(code, init) == "['late'] False set() None\n"
    assert programs.names() == ["child", "after"]
