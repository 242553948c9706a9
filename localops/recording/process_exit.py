"""End open sessions when the process ends: normally, by an exception, or by a signal.

Existing hooks are still called, and the exit code does not change.  An end that no hook sees (kill -9,
`os._exit`, a power cut) is derived later, in `reading/session_state.py`.
"""

from __future__ import annotations

# The C module only: `signal` turns all its names into enums, which takes a millisecond.
import _signal  # type: ignore[import-not-found]
import atexit
import os
import sys
import threading

from localops import host
from localops.interruption import arrival, hold, waiting
from localops.journal import forks
from localops.output import say
from localops.reading.session_state import LEFT_OPEN, exit_reason, failure_reason, is_raised_interrupt
from localops.recording import forked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Any, NoReturn, Protocol

    from localops.recording.session import Session

    class _Client(Protocol):
        """The methods of the client that the end of a process needs; its class is in a layer above."""

        def open_sessions(self) -> list[Session]: ...
        def open_unattributed(self) -> list[Session]: ...
        def last_ended(self) -> Session | None: ...
        def expect_late(self, session: Session | None) -> None: ...
        def current(self) -> Session | None: ...
        def is_ambiguous(self) -> bool: ...
        def unattributed(self, why: str) -> Session: ...
        def account(self) -> None: ...
        def close(self) -> None: ...


_clients: list[_Client] = []  # at most one: the client whose sessions end with this process
_installed: list[Terminated] = []  # those whose handler is installed


def install(client: _Client) -> None:
    """End the client's sessions when this process ends, unless another client is installed; set the hooks once."""
    if not _clients:
        _clients.append(client)
    while _hooks_to_set:
        try:
            hook = _hooks_to_set.pop()
        except IndexError:
            # Another thread has taken the last one.
            return
        try:
            hook()
        except BaseException:
            # Interrupted: the hook is still to be set.
            _hooks_to_set.append(hook)
            raise


def uninstall(client: _Client) -> bool:
    """Do not end the client's sessions when this process ends; return whether the client was installed."""
    if client not in _clients:
        return False
    _clients.remove(client)
    return True


def _await_exit() -> None:
    atexit.register(_each_client, _at_exit)


def _each_client(finish: Callable[[_Client], None]) -> None:
    for client in _clients.copy():
        finish(client)


def _at_exit(client: _Client) -> None:
    _end_all(client)
    client.close()


def _end_all(client: _Client) -> None:
    left = client.open_sessions()
    state, reason = _how_it_exited()
    _for_each(left, lambda session: _end(session, state, reason))
    if left:
        state, reason = "Indeterminate", LEFT_OPEN
    _for_each(client.open_unattributed(), lambda session: _end(session, state, reason))
    # Exit functions that run after ours may record: into the session that ended last, if there is just one.
    client.expect_late(left[0] if len(left) == 1 else None if left else client.last_ended())


# The exit code, if the exception that sys.exit() raises was not caught.
_exit_codes: list[object] = []


def _how_it_exited() -> tuple[str, str]:
    """Return end state and reason for a session that was left open: Failure if the exit code is not 0."""
    code = _exit_codes[-1] if _exit_codes else None
    return ("Failure", exit_reason(code)) if code else ("Indeterminate", LEFT_OPEN)


def _note_exit_code() -> None:
    """Replace sys.exit() by a function that raises the same exception and stores its code if it ends the program.

    Python passes the exit code to no hook.  If the exception was not caught, it is freed, with its attributes, when no
    Python code is running any more; if it was caught, it is freed inside the program, and the code is not stored.
    It is a plain SystemExit, as Python and programs ignore or pickle exactly that class.
    """
    original = sys.exit
    main = threading.main_thread().ident

    class Freed:
        def __init__(self, code: object) -> None:
            self.code = code

        def __del__(self) -> None:
            if sys._getframe().f_back is None and threading.get_ident() == main:
                _exit_codes.append(self.code)

        def __reduce__(self) -> tuple[type[str], tuple[()]]:
            # The exception may be sent to a process that has another localops, or none.
            return str, ()

    def exiting(*args: object) -> SystemExit:
        error = SystemExit(*args)
        # Only the main thread ends the program with a code.
        if threading.get_ident() == main:
            error.__dict__["_localops"] = Freed(error.code)
        return error

    def exit(status: object = None, /) -> NoReturn:
        raise exiting() if status is None else exiting(*status) if isinstance(status, tuple) else exiting(status)

    exit.__doc__ = original.__doc__
    sys.exit = exit
    _replace_references(original, exit)
    quitter = sys.modules.get("_sitebuiltins")
    if quitter is not None:
        # The builtins `exit` and `quit` raise this module's `SystemExit`.
        quitter.SystemExit = exiting  # type: ignore[attr-defined]


def _replace_references(original: object, exit: Callable[[object], NoReturn]) -> None:
    """Replace references to sys.exit in plain modules; reading names of a module's subclass may import more."""
    for module in list(sys.modules.values()):
        if type(module) is type(sys):
            names = vars(module)
            if names.get("exit") is original:
                names["exit"] = exit


def _chain_excepthook() -> None:
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            _each_client(lambda client: _for_each(_sessions_to_fail(client), lambda session: _fail(session, error)))
        finally:
            before(kind, error, trace)
            # Not of a class derived from it: Python then ends the program with the exit code 1.
            if kind is KeyboardInterrupt:
                _mark_interrupted()

    sys.excepthook = excepthook


def _mark_interrupted() -> None:
    """Let the interpreter die of SIGINT after Ctrl-C, as it does without localops.

    It does so if the last source text that it ran raised KeyboardInterrupt.  Our imports at the end of a session may
    have run other source text (creating a namedtuple uses `eval`), so run one that raises it.
    """
    try:
        exec("raise KeyboardInterrupt")  # noqa: S102
    except KeyboardInterrupt:
        pass


def _sessions_to_fail(client: _Client) -> list[Session]:
    """Return the sessions that fail with the process: the open ones, else the unattributed ones."""
    return client.open_sessions() or client.open_unattributed()


def _for_each(sessions: list[Session], finish: Callable[[Session], None]) -> None:
    for session in sessions:
        try:
            finish(session)
        except Exception as problem:
            # The edge: also in a strict session, the program must end as it would without us.
            say(f"the end of a session could not be recorded: {problem}")


def _fail(session: Session, error: BaseException) -> None:
    """Record an uncaught exception as an error of the session, then end or leave the session."""
    try:
        if not isinstance(error, KeyboardInterrupt) or is_raised_interrupt(error):
            session.uncaught(error, process=None if session.owned() else str(os.getpid()))
    finally:
        _end(session, "Failure", failure_reason(error))


def _end(session: Session, state: str, reason: str, *, dying: bool = False) -> None:
    """End a session if this process owns it, else leave it; an explicit end by any process is kept."""
    if not session.owned():
        session.leave(*((state, reason) if state == "Failure" else ()))
    elif reason == LEFT_OPEN and not dying and forked.goes_on_in_child():
        # The first process of a daemon: the session continues in the last one.
        session.leave()
    else:
        session.end_unasked(state, reason, dying=dying)


def _chain_thread_hook() -> None:
    before = threading.excepthook

    def excepthook(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        try:
            if error is not None and not isinstance(error, SystemExit):
                record_uncaught(error, "an error of a thread", thread=args.thread.name if args.thread else "")
        except Exception as problem:  # as above
            say(f"an error could not be recorded: {problem}")
        finally:
            before(args)

    threading.excepthook = excepthook


def record_uncaught(error: BaseException, what: str, *, thread: str | None = None, process: str | None = None) -> None:
    """Record an exception that ended a thread, a child process or a notebook cell, in the session it happened in.

    `thread` is the name of the thread, `process` that of the child.
    """

    def record(client: _Client) -> None:
        session = client.current()
        if session is None and client.is_ambiguous():
            session = client.unattributed(f"{what} is recorded without its session")
        if session is not None:
            session.uncaught(error, thread=thread, process=process)

    _each_client(record)


class Terminated:
    """The SIGTERM handler: installed by the main thread while a session is open, if the program has no handler."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._set = False

    def watch(self) -> None:
        """Install the handler if the program has none and multiprocessing did not start this process.

        Python runs a handler only between two bytecode instructions.  A pool's worker that gets SIGTERM just before it
        waits for a lock would not run the handler and wait forever, and so would its parent, which sent the signal.
        """
        if self._set or threading.current_thread() is not threading.main_thread() or host.maker() is not None:
            return
        if _signal.getsignal(_signal.SIGTERM) == _signal.SIG_DFL:
            _signal.signal(_signal.SIGTERM, self._terminate)
            self._set = True
            _installed.append(self)

    def release(self) -> None:
        """Restore the default action, if the handler is still this one."""
        if not self._set or threading.current_thread() is not threading.main_thread():
            return
        if _signal.getsignal(_signal.SIGTERM) == self._terminate:
            _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        self._set = False
        _installed.remove(self)

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        """End the open sessions, then let the signal kill the process, as without localops."""
        try:
            _for_each(
                _sessions_to_fail(self._client),
                lambda session: _end(session, "Failure", "Signal SIGTERM detected", dying=True),
            )
            _for_each(
                self._client.open_unattributed(), lambda session: _end(session, "Indeterminate", LEFT_OPEN, dying=True)
            )
            self._client.account()
        finally:
            _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)


# Children of multiprocessing

_registered: list[_Children] = []  # keeps the object alive: multiprocessing has only a weak reference to it
_ended_pid: list[int] = []  # the id of this process, once its end is recorded
_failures: list[Exception] = []  # the exception that ended this child's work (Python 3.13 and later)
# A low priority: it runs after the program's own finalizers, which may record.
_LAST = -1_000


class _Children:
    """The object with which we register at multiprocessing for forked children."""


def _watch_children() -> None:
    """Have multiprocessing call us in the children that this process forks; called in a child, where it is loaded."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _registered:
        _registered.append(_Children())
        # Before a child runs, multiprocessing drops the finalizers of its parent and calls these functions.
        util.register_after_fork(_registered[0], lambda _: _watch_forked())


def _watch_forked() -> None:
    """Prepare a forked child that is about to run: its end and its error will be recorded."""
    _failures.clear()
    _watch_worker()


def _watch_worker() -> None:
    """Have multiprocessing call us at the end of this child: a forked child ends by os._exit, without atexit."""
    process, util = map(sys.modules.get, ("multiprocessing.process", "multiprocessing.util"))
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _end_of_worker, exitpriority=_LAST)
        # Since 3.13, the finalizers run after the child has handled its error. A spawned child is inside of its `run`
        # by now; what multiprocessing still asks for, to print the error, is the child's name.
        if sys.version_info >= (3, 13):
            child = process.current_process()
            try:
                child.name = _Name(child.name)
            except Exception:
                # A class of the program has a name of another kind: its error is not recorded.
                return


class _Name(str):
    """The name of a child, which notes the error that multiprocessing handles while it prints the name."""

    __slots__ = ()

    def __str__(self) -> str:
        if sys._getframe(1).f_code is sys.modules["multiprocessing.process"].BaseProcess._bootstrap.__code__:
            error = sys.exc_info()[1]
            if isinstance(error, Exception):
                _failures.append(error)
        return str.__str__(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # The child's own children get it in a pickle, and need not import this.
        return str, (str.__str__(self),)


def _end_of_worker() -> None:
    """Record the end of a child: its error, if it failed; it leaves its parent's session and ends its own."""
    if os.getpid() in _ended_pid:
        return
    _ended_pid[:] = [os.getpid()]
    try:
        module = sys.modules["multiprocessing.process"]
        if (error := _error_of_worker(module.BaseProcess._bootstrap)) is not None:
            record_uncaught(error, "an error of a process", process=module.current_process().name)
    except Exception as problem:  # the edge, as at the end of any process
        say(f"an error could not be recorded: {problem}")
    _each_client(_end_all)
    # The journal is not closed: that takes milliseconds for a checkpoint, which this process need not wait for.
    _each_client(lambda client: client.account())


def _error_of_worker(bootstrap: Any) -> Exception | None:
    """Return the exception that ended this child's work, which the function `bootstrap` ran."""
    if _failures:
        return _failures[-1]
    error = sys.exc_info()[1]
    trace = error.__traceback__ if isinstance(error, Exception) else None
    # The parent may have been handling an error when it forked: that one did not pass through `bootstrap`.
    passed = trace is not None and trace.tb_frame.f_code is bootstrap.__code__
    return error if passed and isinstance(error, Exception) else None


# Hooks that are still to be set, the last one first; each is taken by one thread.
_hooks_to_set = [_chain_thread_hook, _chain_excepthook, _note_exit_code, _watch_worker, _await_exit]


# Forks


def _block() -> None:
    """Block SIGTERM until the child has restored the default action; Python would drop one that arrives before."""
    if _installed:
        restore = _restoring(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))
        next(restore)
        # Noted before the mask changes: a signal handler may raise then.
        forks.note(restore.__next__)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM,))


def _restoring(mask: set[int]) -> Iterator[None]:
    """Restore a signal mask at the second step, and lose nothing that a signal handler raises at that moment.

    Not a function: Python runs signal handlers where one begins, before any `try` of it.
    """
    try:
        try:
            yield
        finally:
            # It runs the handlers of what came during the fork.
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    except GeneratorExit:  # it was not noted: another one was
        return
    except BaseException as error:
        hold(error)
    if waiting:
        for arrive in arrival():
            arrive()
    yield


def _become_child() -> None:
    """In a child: restore the default action, as it owns none of the open sessions, and prepare to record its end."""
    for terminated in _installed.copy():
        terminated.release()
    try:
        _watch_children()
    except Exception as problem:
        say(f"the end of this process will not be recorded: {problem}")


forks.before.append(_block)
forks.in_child.append(_become_child)
