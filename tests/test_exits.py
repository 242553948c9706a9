"""The recorder does not change how a program ends."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

import localops
from localops.journal.journal import Journal
from tests import programs

_INIT = "import localops, os, sys, signal, threading, time\nsession = localops.init(env_data_opt_out=True)\n"
_PLAIN = "import os, sys, signal, threading, time\n\n"


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('broken')",
        "sys.exit('a message')",
        "sys.exit(7)",
        "os._exit(9)",
        "raise KeyboardInterrupt",
        "signal.raise_signal(signal.SIGTERM)",
        "signal.raise_signal(signal.SIGINT)",
        "threading.Thread(target=lambda: 1 / 0, name='T').start()",
        "import atexit; atexit.register(lambda: os._exit(4))",
    ],
)
def test_status_and_output_are_those_of_the_program(code: str) -> None:
    """Exit status, stdout and stderr (tracebacks included) are what they would be without us."""
    recorded, plain = programs.run(_INIT + code), programs.run(_PLAIN + code)
    assert (recorded.returncode, recorded.stdout, recorded.stderr) == (plain.returncode, plain.stdout, plain.stderr)


def test_hooks_of_the_program_are_called_too() -> None:
    """An earlier excepthook is called with the exception; a later one is simply left in place."""
    own = "import sys\nsys.excepthook = lambda *a: print('own', a[0].__name__)\n"
    assert programs.run(own + _INIT + "raise KeyError").stdout == "own KeyError\n"
    assert programs.standing().state == "Failure"
    assert programs.run(_INIT + own + "raise KeyError").stdout == "own KeyError\n"


@pytest.mark.parametrize(
    ("prepare", "options"),
    [
        ("signal.signal(signal.SIGTERM, lambda *_: print('own') or sys.exit(3))", ""),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", ""),
        ("", "signals=False"),
    ],
)
def test_a_sigterm_handler_is_set_only_over_the_default(prepare: str, options: str) -> None:
    """A handler of the program's own stays, ignoring stays, and signals=False sets none at all."""
    code = (
        f"import localops, signal, sys\n{prepare}\nbefore = signal.getsignal(signal.SIGTERM)\n"
        f"localops.init({options})\nprint(signal.getsignal(signal.SIGTERM) is before)"
    )
    assert programs.run(code).stdout == "True\n"


def test_sigterm_has_its_default_action_after_the_session() -> None:
    """Outside of sessions the default action is set, and a handler that was set meanwhile stays."""
    code = _INIT + (
        "mine = signal.getsignal(signal.SIGTERM)\nlocalops.end_session('Success')\n"
        "print(mine is not signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "localops.init(); signal.signal(signal.SIGTERM, signal.SIG_IGN); localops.end_session('Success')\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)"
    )
    assert programs.run(code).stdout == "True True\nTrue\n"


def test_a_forked_child_has_a_handler_only_for_sessions_of_its_own() -> None:
    """A pool ends its workers with SIGTERM: one that waits for a lock must die of it, whatever its parent records."""
    code = _INIT + (
        "def default(): return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "if not os.fork():\n"
        "    localops.record(localops.ActionEvent(action_type='a'))\n"
        "    inherited = default()\n"
        "    with localops.start_session(): own = default()\n"
        "    print(inherited, own, default(), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\nprint(default())"
    )
    assert programs.run(code).stdout == "True False True\nFalse\n"


def test_a_worker_of_multiprocessing_has_the_default_action() -> None:
    """With a handler, one that gets the signal just before it waits for a lock would wait forever, and its pool too."""
    code = _PLAIN + (
        "import multiprocessing, localops\n"
        "def work():\n"
        "    localops.init(env_data_opt_out=True)\n"
        "    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "worker = multiprocessing.get_context('fork').Process(target=work)\n"
        "worker.start(); worker.join(); print(worker.exitcode)"
    )
    assert programs.run(code).stdout == "True\n-15\n"
    assert programs.standing().state == "Indeterminate"


def test_a_signal_in_the_middle_of_a_fork() -> None:
    """One that a child gets before Python has made it a child, which forgets signals of the parent, ends it too."""
    code = _INIT + (
        "import ctypes\n"
        "in_child = ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "getattr(ctypes.CDLL(None), '__register_atfork')(None, None, in_child, None)\n"
        "def fork():\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(7)\n"
        "    print(os.waitpid(child, 0)[1], signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
        "fork()"  # not in a thread: with another one, the child might wait in the middle of it for that to run
    )
    assert programs.run(code).stdout == "15 False\n"


def test_no_handler_outside_the_main_thread() -> None:
    """A session started in a thread records as any other, without a signal handler."""
    code = (
        "import localops, signal, threading\nthread = threading.Thread(target=localops.init)\nthread.start()\n"
        "thread.join()\nprint(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    assert programs.run(code).stdout == "True\n"
    assert programs.standing().state == "Indeterminate"


def test_an_exception_in_a_thread_is_an_error_and_the_session_continues() -> None:
    """A thread that dies leaves an error row; the session ends like the program."""
    code = _INIT + (
        "thread = threading.Thread(target=lambda: [][1])\nthread.start(); thread.join()\n"
        "localops.record(localops.ActionEvent(action_type='after')); localops.end_session('Success')"
    )
    programs.run(code)
    assert programs.names("error") == ["IndexError"]
    assert programs.names() == ["after"]
    assert programs.standing().state == "Success"


_NESTED = """
@localops.record_tool("fetch")
def fetch(): raise TimeoutError("no answer")
with localops.start_session(name="inner"):
    fetch()
"""


@pytest.mark.parametrize(
    ("code", "errors"),
    [
        ("raise ValueError('broken')", [["ValueError"]]),
        ("class Odd(BaseException): pass\nraise Odd", [["Odd"]]),
        ("raise KeyboardInterrupt", [["KeyboardInterrupt"]]),
        ("signal.raise_signal(signal.SIGINT)", [[]]),
        ("sys.exit(3)", [[]]),
        ("session.record(localops.ErrorEvent(exception=(e := KeyError('k')))); raise e", [["KeyError"]]),
        ("localops.start_session(); raise ValueError", [["ValueError"], ["ValueError"]]),
        (_NESTED, [["TimeoutError"], ["TimeoutError"]]),
        ("os.fork() or os._exit(0); os.wait(); raise ValueError", [["ValueError"]]),
        ("session.config.strict = True; os.fork() and (os.wait(), os._exit(0)); raise ValueError", [["ValueError"]]),
    ],
)
def test_a_crash_is_an_error_of_every_session_it_ends(code: str, errors: list[list[str]]) -> None:
    """An uncaught exception counts in Errors, once; an interrupt, and leaving the program, do not."""
    programs.run(_INIT + code)
    with programs.reader() as journal:
        ask = "select name from event where session = ? and kind = 'error'"
        names_of_errors = [[name for (name,) in journal.ask(ask, (session,))] for session in programs.sessions()]
    assert names_of_errors == errors


def test_the_error_of_a_crash_has_its_place() -> None:
    """It has the type, the message and the traceback, is linked to its operation, and is before the end."""
    code = _INIT + "@localops.record_tool('fetch')\ndef fetch(): raise TimeoutError('no answer')\nfetch()"
    programs.run(code)
    with programs.reader() as journal:
        newest = journal.ask("select kind, name, id, parent, body from event where phase = 0 order by seq desc limit 3")
    (end, *_), (error, name, _, parent, body), (kind, _, tool, *_) = newest
    assert (kind, error, end) == ("tool", "error", "end")
    assert (name, parent == tool, "no answer" in body, "in fetch" in body) == ("TimeoutError", True, True, True)
    assert programs.standing().state == "Failure"


@pytest.mark.parametrize(
    "code", ["raise ValueError", "localops.end_session('Failure')", "sys.exit(1)", "raise SystemExit(1)"]
)
def test_the_recipe_for_ci_catches_a_crash(code: str) -> None:
    """The query of the recipes finds sessions that did not succeed, by their state and by their errors."""
    text = (Path(localops.__file__).parent / "docs" / "recipes.md").read_text()
    (condition,) = {*re.findall(r'localops query "select .*? from session where (.*?)"', text)}
    programs.run(_INIT + code)
    with programs.reader() as journal:
        state, errors, *others = (
            journal.ask(f"select count(*) from session where {one}")[0][0] for one in condition.split(" or ")
        )
        count = journal.ask(f"select count(*) from session where {condition}")[0][0]
    assert (state, errors, others) == (1, int(code == "raise ValueError"), [0, 0])
    assert count == 1


@pytest.mark.parametrize(
    ("code", "returns", "state", "reason"),
    [
        ("sys.exit(3)", 3, "Failure", "exit code 3"),
        ("sys.exit('cannot go on')", 1, "Failure", "exit code 1: cannot go on"),
        ("try: int('x')\nexcept ValueError: sys.exit(1)", 1, "Failure", "exit code 1"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--no'])", 2, "Failure", "exit code 2"),
        ("exit(3)", 3, "Failure", "exit code 3"),
        ("quit('no')", 1, "Failure", "exit code 1: no"),
        ("exit()", 0, "Indeterminate", "process exited without end_session"),
        ("leave = exit\ntry: leave(3)\nexcept SystemExit: pass", 0, "Indeterminate", "process exited without"),
        # An exception of the interpreter's own class leaves no trace of its fate: the documents explain it.
        ("raise SystemExit(5)", 5, "Indeterminate", "process exited without end_session"),
        ("sys.exit(0)", 0, "Indeterminate", "process exited without end_session"),
        ("sys.exit()", 0, "Indeterminate", "process exited without end_session"),
        # Caught, or that of a thread: not what the process exits with.
        ("try: sys.exit(4)\nexcept SystemExit: pass", 0, "Indeterminate", "process exited without end_session"),
        ("t = threading.Thread(target=sys.exit, args=(5,)); t.start(); t.join()", 0, "Indeterminate", "process"),
        ("try: sys.exit(4)\nexcept SystemExit as e: kept = e\nsys.exit(6)", 6, "Failure", "exit code 6"),
        ("try: sys.exit(4)\nexcept SystemExit: raise", 4, "Failure", "exit code 4"),
    ],
)
def test_a_program_that_exits_with_a_code_has_failed(code: str, returns: int, state: str, reason: str) -> None:
    """The argument of sys.exit() is the reason, and the exit code stays the same."""
    done = programs.run(_INIT + code)
    assert done.returncode == returns
    standing = programs.standing()
    assert standing.state == state
    assert str(standing.reason).startswith(reason)


def test_an_exit_that_was_taken_before_is_seen() -> None:
    """`from sys import exit` above `import localops` is no other exit."""
    done = programs.run(f"from sys import exit\n{_INIT}exit(3)")
    assert (done.returncode, programs.standing()[:2]) == (3, ("Failure", "exit code 3"))


@pytest.mark.parametrize("leave", ["sys.exit", "exit"])
def test_an_exit_raises_what_it_raises_without_us(leave: str) -> None:
    """Its class is SystemExit itself, which thread hooks, pickles and programs compare; a thread prints nothing."""
    code = (
        "import pickle\n"
        f"def end():\n try: {leave}(3)\n except SystemExit as error:\n"
        "  copy = pickle.loads(pickle.dumps(error)); print(type(error) is SystemExit, copy.code); raise\n"
        "thread = threading.Thread(target=end); thread.start(); thread.join(); end()"
    )
    done = programs.run(_INIT + code)
    assert (done.returncode, done.stdout, done.stderr) == (3, "True 3\nTrue 3\n", "")
    assert programs.standing()[:2] == ("Failure", "exit code 3")


_STOP = "def stop(*_): raise KeyboardInterrupt\nsignal.signal(signal.SIGINT, stop)\n"
_ASYNC = """import asyncio
async def main():
    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
    await asyncio.sleep(60)
"""


@pytest.mark.parametrize(
    ("code", "is_signal"),
    [
        ("raise KeyboardInterrupt", False),
        ("try: raise KeyboardInterrupt('key q')\nexcept KeyboardInterrupt: raise", False),
        ("signal.raise_signal(signal.SIGINT)", True),
        ("threading.Timer(0, os.kill, [os.getpid(), signal.SIGINT]).start()\nwhile True: pass", True),
        ("try: signal.raise_signal(signal.SIGINT)\nexcept KeyboardInterrupt: raise KeyboardInterrupt('stop')", True),
        (_STOP + "signal.raise_signal(signal.SIGINT)", True),
        (_ASYNC + "asyncio.run(main())", True),
    ],
)
def test_an_interrupt_is_a_signal_only_if_it_came_from_one(code: str, is_signal: bool) -> None:
    """A KeyboardInterrupt of the program's own `raise` is an error like others, and kills the program as before."""
    done = programs.run(_INIT + code)
    assert done.returncode == -signal.SIGINT
    reason = str(programs.standing().reason)
    assert reason.startswith("Signal SIGINT detected" if is_signal else "KeyboardInterrupt")
    assert programs.names("error") == ([] if is_signal else ["KeyboardInterrupt"])


def test_an_interrupt_of_a_class_of_the_program_ends_it_with_a_code() -> None:
    """Python dies of SIGINT for KeyboardInterrupt itself only."""
    code = "class Stop(KeyboardInterrupt): pass\nraise Stop('enough')"
    assert programs.run(code).returncode == programs.run(_INIT + code).returncode == 1
    assert programs.names("error") == ["Stop"]


def test_a_spent_budget_ends_the_run_and_is_its_error() -> None:
    """BudgetExceeded out of record() ends the session as any exception does, though the budget stays spent."""
    code = "import localops\nlocalops.init(budget_usd=1)\nlocalops.record(localops.LLMEvent(cost=2))"
    assert "sys.excepthook" not in programs.run(code).stderr
    assert (programs.names("error"), programs.standing().state) == (["BudgetExceeded"], "Failure")


def test_what_cannot_be_recorded_at_the_end_does_not_hide_the_crash() -> None:
    """With strict, and a journal that cannot be written, the program's own traceback is last, after a warning."""
    code = _INIT.replace("True)", "True, strict=True)") + (
        "session.recorder._append = lambda *_, **__: False\nlocalops.start_session()\nraise ValueError('broken')"
    )
    done = programs.run(code)
    assert (done.returncode, "sys.excepthook" in done.stderr) == (1, False)
    assert done.stderr.rstrip().endswith("ValueError: broken")
    assert "localops: the end of a session could not be recorded" in done.stderr
    assert [programs.standing(one).state for one in programs.sessions()] == ["Indeterminate", "Failure"]


def test_a_thread_that_leaves_is_no_error() -> None:
    """SystemExit ends a thread without an error."""
    programs.run(_INIT + "thread = threading.Thread(target=sys.exit)\nthread.start(); thread.join()")
    assert programs.names("error") == []


def test_atexit_and_del_can_record() -> None:
    """Events recorded while the interpreter shuts down (atexit, __del__) reach the journal or the spill file."""
    code = _INIT + (
        "import atexit; atexit.register(lambda: localops.record(localops.ActionEvent(action_type='atexit')))\n"
        "class Late:\n    def __del__(self): session.record(localops.ActionEvent(action_type='del'))\n"
        "late = Late(); late.me = late\n"
    )
    done = programs.run(code, fresh=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    programs.run(_INIT)
    assert programs.names() == ["atexit", "del"]


def test_the_deepest_calls_are_recorded() -> None:
    """Where the program leaves ours no room in its recursion limit: what returned is in the journal."""
    program = """
import localops
session = localops.init()
session.record(localops.ActionEvent(action_type="first"))
def deep(left, number):
    if left:
        return deep(left - 1, number)
    session.record(localops.ActionEvent(action_type="deep", params={"number": number}))
    returned.append(number)
returned = []
for number in range(900, 1000):
    try:
        deep(number, number)
    except RecursionError:
        pass
recorded = [event["params"]["number"] for event in session.events if event["name"] == "deep"]
print(len(returned) > 50, recorded == returned)
"""
    done = programs.run(program, fresh=True)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_names_that_are_first_used_at_exit_are_there() -> None:
    """A name that is first used while the interpreter shuts down was loaded with the session's start."""
    code = _INIT + (
        "class Late:\n    def __del__(self): localops.get_session('').record(localops.ActionEvent(action_type='del'))\n"
        "localops.get_session = lambda _, session=session: session\nlate = Late(); late.me = late\n"
    )
    done = programs.run(code, fresh=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    programs.run(_INIT)
    assert programs.names() == ["del"]


def test_a_generator_that_is_alive_at_the_end_ends_in_the_journal() -> None:
    """Its end, and what it raises, are written while the interpreter shuts down; nothing is printed or spilled."""
    code = _INIT + (
        "@localops.tool\ndef stream():\n    yield 1\n    yield 2\n"
        "@localops.tool\ndef broken():\n    try: yield 1\n    finally: raise ValueError('closed')\n"
        "left = stream(); next(left)\n"
    )
    done = programs.run(code, fresh=True)
    assert (done.returncode, done.stderr, programs.names("tool")) == (0, "", ["stream"] * 2)
    programs.run(code + "worse = broken(); next(worse)", fresh=True)
    assert sorted(programs.names("tool")) == ["broken"] * 2 + ["stream"] * 4
    assert programs.names("error") == ["ValueError"]
    assert not Path(programs.project(), "spill").exists()


def test_what_cannot_be_loaded_during_the_shutdown_costs_no_event() -> None:
    """Prices, tracebacks and large values need modules that cannot be imported any more: the rest is kept."""
    code = _INIT + (
        "class Late:\n"
        "    def __del__(self):\n"
        "        session.record(localops.LLMEvent(model='gpt-4o', prompt_tokens=1, completion_tokens=1))\n"
        "        session.record(localops.ErrorEvent(exception=ValueError('late')))\n"
        "        session.record(localops.ToolEvent(name='large', returns='begins here' + 'x' * 3_000_000))\n"
        "late = Late(); late.me = late; late.kept = [late]\n"
    )
    done = programs.run(code, fresh=True)
    assert "Traceback" not in done.stderr
    assert (len(programs.names("llm")), programs.names("error")) == (1, ["ValueError"])
    with programs.reader() as journal:
        [(body,)] = journal.ask("select body from event where name = 'large'")
    assert '"head":"begins here' in body


def test_sigterm_in_the_middle_of_a_write_is_still_the_end() -> None:
    """If another process has locked the journal at a SIGTERM, the end goes to the spill file, and is moved later."""
    code = _INIT + (
        "import apsw\nother = apsw.Connection(session._journal.path)\nother.execute('begin immediate')\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "localops.record(localops.ActionEvent(action_type='waiting'))"
    )
    done = programs.run(code, env={"LOCALOPS_WAIT": "2"})
    assert done.returncode == -signal.SIGTERM
    programs.run("import localops; localops.init(); localops.end_session()")
    assert programs.standing(programs.sessions()[0])[:2] == ("Failure", "Signal SIGTERM detected")


def test_ctrl_c_in_the_middle_of_a_write_is_kept_and_passed_on() -> None:
    """KeyboardInterrupt out of the wait for a lock reaches the program, and the row reaches the journal."""
    code = _INIT + (
        "import apsw\nother = apsw.Connection(session._journal.path)\nother.execute('begin immediate')\n"
        "def interrupt():\n"
        "    while not session._journal._inside: time.sleep(0.01)\n"
        "    time.sleep(0.3)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=interrupt).start()\n"
        "try: localops.record(localops.ActionEvent(action_type='waiting'))\n"
        "except KeyboardInterrupt: print('interrupted')\n"
        "other.execute('rollback'); time.sleep(0.6)\n"
        "localops.record(localops.ActionEvent(action_type='after')); localops.end_session('Success')"
    )
    assert programs.run(code).stdout == "interrupted\n"
    assert sorted(programs.names()) == ["after", "waiting"]
    assert programs.standing().state == "Success"


def test_a_daemon_thread_that_stops_in_a_write() -> None:
    """It keeps the lock of the journal for good: what is recorded after that waits for nothing, and is kept."""
    code = (
        "import atexit, sys, threading\n"
        "go, writing = threading.Event(), threading.Event()\n"
        "atexit.register(lambda: (go.set(), writing.wait()))\n"
        "import localops\n"
        "session = localops.init(env_data_opt_out=True)\n"
        "journal = session.recorder.journal\n"
        "def write():\n"
        "    go.wait()\n"
        "    with journal._lock:\n"
        "        journal._inside = True\n"
        "        writing.set()\n"
        "        threading.Event().wait()\n"
        "threading.Thread(target=write, daemon=True).start()\n"
        "class Last:\n"
        "    def __del__(self, record=session.record, event=localops.ActionEvent(action_type='last')): record(event)\n"
        "sys.modules['last'] = Last()\n"
        "session.end_session('Success')"
    )
    done = programs.run(code, fresh=True)
    assert (done.returncode, done.stderr) == (0, "")
    Journal(programs.project()).collect()
    assert programs.names() == ["last"]
