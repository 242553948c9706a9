"""The recorder changes nothing about how a program ends."""

from __future__ import annotations

import signal

import pytest

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
    """An excepthook that was there before is called with the exception; one set later is simply left in place."""
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


def test_sigterm_is_given_back_when_the_session_ends() -> None:
    """Outside of sessions the default action stands, and a handler set meanwhile is not touched."""
    code = _INIT + (
        "mine = signal.getsignal(signal.SIGTERM)\nlocalops.end_session('Success')\n"
        "print(mine is not signal.SIG_DFL, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "localops.init(); signal.signal(signal.SIGTERM, signal.SIG_IGN); localops.end_session('Success')\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)"
    )
    assert programs.run(code).stdout == "True True\nTrue\n"


def test_no_handler_outside_the_main_thread() -> None:
    """A session started in a thread records as any other, without a signal handler."""
    code = (
        "import localops, signal, threading\nthread = threading.Thread(target=localops.init)\nthread.start()\n"
        "thread.join()\nprint(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    assert programs.run(code).stdout == "True\n"
    assert programs.standing().state == "Indeterminate"


def test_an_exception_in_a_thread_is_an_error_and_the_session_goes_on() -> None:
    """A thread that dies leaves an error row; the session ends as the program says."""
    code = _INIT + (
        "thread = threading.Thread(target=lambda: [][1])\nthread.start(); thread.join()\n"
        "localops.record(localops.ActionEvent(action_type='after')); localops.end_session('Success')"
    )
    programs.run(code)
    assert programs.names("error") == ["IndexError"]
    assert programs.names() == ["after"]
    assert programs.standing().state == "Success"


def test_atexit_and_del_can_record() -> None:
    """What records while the interpreter goes down (atexit, __del__) reaches the journal or the spill."""
    code = _INIT + (
        "import atexit; atexit.register(lambda: localops.record(localops.ActionEvent(action_type='atexit')))\n"
        "class Late:\n    def __del__(self): session.record(localops.ActionEvent(action_type='del'))\n"
        "late = Late(); late.me = late\n"
    )
    done = programs.run(code)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    programs.run(_INIT)
    assert programs.names() == ["atexit", "del"]


def test_sigterm_in_the_middle_of_a_write_is_still_the_end() -> None:
    """A SIGTERM while the journal is locked by another: the end goes to the spill file and comes in later."""
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
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try: localops.record(localops.ActionEvent(action_type='waiting'))\n"
        "except KeyboardInterrupt: print('interrupted')\n"
        "other.execute('rollback'); time.sleep(0.6)\n"
        "localops.record(localops.ActionEvent(action_type='after')); localops.end_session('Success')"
    )
    assert programs.run(code).stdout == "interrupted\n"
    assert sorted(programs.names()) == ["after", "waiting"]
    assert programs.standing().state == "Success"
