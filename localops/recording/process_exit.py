"""End open sessions when the process ends: by itself, by an exception, or by a signal.

Hooks are chained, never replaced, and the exit code stays as it would be.  An end that no hook sees (kill -9,
`os._exit`, a power cut) is derived later, in `reading/session_state.py`.
"""

from __future__ import annotations

# The C module alone: `signal` makes enums of all its names, which takes a millisecond.
import _signal  # type: ignore[import-not-found]
import atexit
import os
import sys
import threading
from functools import partial

from localops import careful, host
from localops.output import say
from localops.reading.session_state import LEFT_OPEN, exit_reason, failure_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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


_clients: list[_Client] = []  # one at most: the first whose sessions the end of this process ends
_watching: list[Terminated] = []  # whose handler is set
_masks = careful.ToUndo()  # what restores the signal mask that this thread had before a fork
_unmask = careful.undoing(_masks)


def install(client: _Client) -> None:
    """Have the end of this process end the sessions of the first client; the hooks are set once."""
    if not _clients:
        _clients.append(client)
    while _to_install:
        try:
            hook = _to_install.pop()
        except IndexError:
            # Another thread has taken the last one.
            return
        try:
            hook()
        except BaseException:
            # Interrupted: it is still to be set.
            _to_install.append(hook)
            raise


def uninstall(client: _Client) -> bool:
    """Leave a client alone at the end of this process, and return whether its end was awaited."""
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
    _each(left, lambda session: _end(session, state, reason))
    if left:
        state, reason = "Indeterminate", LEFT_OPEN
    _each(client.open_unattributed(), lambda session: _end(session, state, reason))
    # What earlier exit functions record from now on belongs to the session that ended last, if it is known which.
    client.expect_late(left[0] if len(left) == 1 else None if left else client.last_ended())


# The exit code: it is known once nothing has caught the exception that sys.exit() raises.
_exit_codes: list[object] = []


def _how_it_exited() -> tuple[str, str]:
    """Return the end of a session that was left open: a Failure if the process exits with a code other than 0."""
    code = _exit_codes[-1] if _exit_codes else None
    return ("Failure", exit_reason(code)) if code else ("Indeterminate", LEFT_OPEN)


def _note_exit_code() -> None:
    """Have sys.exit() raise an exception that notes its code when the interpreter itself ends with it.

    Python passes the exit code to no hook. An exception that nothing caught is freed where no Python code is running
    any more; one that was caught is freed inside the program, and notes nothing.
    """
    original = sys.exit
    main = threading.main_thread().ident

    class Exit(SystemExit):
        def __del__(self) -> None:
            if sys._getframe().f_back is None and threading.get_ident() == main:
                _exit_codes.append(self.code)

    Exit.__name__ = Exit.__qualname__ = "SystemExit"
    Exit.__module__ = "builtins"

    def exit(status: object = None, /) -> NoReturn:
        raise Exit() if status is None else Exit(*status) if isinstance(status, tuple) else Exit(status)

    exit.__doc__ = original.__doc__
    sys.exit = exit
    _replace_taken(original, exit)
    quitter = sys.modules.get("_sitebuiltins")
    if quitter is not None:
        # `exit` and `quit` of the builtins raise the class that this name stands for there.
        quitter.SystemExit = Exit  # type: ignore[attr-defined]


def _replace_taken(original: object, exit: Callable[[object], NoReturn]) -> None:
    """Replace references to sys.exit that modules hold; module classes may load more when their names are read."""
    for module in list(sys.modules.values()):
        if type(module) is type(sys):
            names = vars(module)
            if names.get("exit") is original:
                names["exit"] = exit


def _chain_excepthook() -> None:
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            _each_client(lambda client: _each(_concerned(client), lambda session: _fail(session, error)))
        finally:
            before(kind, error, trace)
            if issubclass(kind, KeyboardInterrupt):
                _mark_interrupted()

    sys.excepthook = excepthook


def _mark_interrupted() -> None:
    """Let the interpreter die of SIGINT after Ctrl-C, as it does without localops.

    It does so if the last source text that it ran ended in KeyboardInterrupt. Imports at the end of a session run
    others: a namedtuple is made by `eval`.
    """
    try:
        exec("raise KeyboardInterrupt")  # noqa: S102
    except KeyboardInterrupt:
        pass


def _concerned(client: _Client) -> list[Session]:
    """Return the sessions that the death of the process concerns: the open ones, else what took their place."""
    return client.open_sessions() or client.open_unattributed()


def _each(sessions: list[Session], finish: Callable[[Session], None]) -> None:
    for session in sessions:
        try:
            finish(session)
        except Exception as problem:
            # The edge: strict or not, the program must end as it would have.
            say(f"the end of a session could not be recorded: {problem}")


def _fail(session: Session, error: BaseException) -> None:
    """Record an uncaught exception as an error of the session, and end the session if this process began it."""
    try:
        if not isinstance(error, KeyboardInterrupt):
            session.uncaught(error)
    finally:
        _end(session, "Failure", failure_reason(error))


def _end(session: Session, state: str, reason: str, *, dying: bool = False) -> None:
    """End a session at exit if this process began it, else leave it; an explicit end by any process stays."""
    if session.owned():
        session.end_unasked(state, reason, dying=dying)
    else:
        session.leave()


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
    """Record an exception that ended a thread, a child or a cell of a notebook, in the session that it was in.

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
    """The SIGTERM handler: it replaces only the default action, in the main thread, while a session is open."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._set = False

    def watch(self) -> None:
        """Install the handler if the program has none, and the process was not made by multiprocessing.

        Python calls a handler only between two of its own steps.  A worker of a pool that gets the signal just before
        it waits for a lock would wait forever, and its parent, which ends it so, for it.
        """
        if self._set or threading.current_thread() is not threading.main_thread() or host.maker() is not None:
            return
        if _signal.getsignal(_signal.SIGTERM) == _signal.SIG_DFL:
            _signal.signal(_signal.SIGTERM, self._terminate)
            self._set = True
            _watching.append(self)

    def release(self) -> None:
        """Restore the default action, if the handler is still this one."""
        if not self._set or threading.current_thread() is not threading.main_thread():
            return
        if _signal.getsignal(_signal.SIGTERM) == self._terminate:
            _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        self._set = False
        _watching.remove(self)

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        """End the open sessions, then die of the signal as without localops."""
        try:
            _each(
                _concerned(self._client),
                lambda session: _end(session, "Failure", "Signal SIGTERM detected", dying=True),
            )
            _each(
                self._client.open_unattributed(), lambda session: _end(session, "Indeterminate", LEFT_OPEN, dying=True)
            )
            self._client.account()
        finally:
            _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)


# Children of multiprocessing

_kept: list[_Children] = []  # as multiprocessing has weak references to what it calls in a child
_ended: list[int] = []  # the process whose end was recorded
_failures: list[Exception] = []  # what ended the work of this child, where it is not known any more at its end
# After what a program has multiprocessing call at the end of a child, which may record.
_LAST = -1_000


class _Children:
    """What multiprocessing calls in each child that it forks."""


def _watch_children() -> None:
    """Have multiprocessing call us in the children that it forks. Called in a child: its modules are loaded there."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _kept:
        _kept.append(_Children())
        # Before a child runs, multiprocessing forgets what its parent wanted to be called, and calls these.
        util.register_after_fork(_kept[0], lambda _: _watch_forked())


def _watch_forked() -> None:
    """Have the end of a child recorded that is about to run, and its error."""
    _watch_worker()
    _failures.clear()
    # Since 3.13, a child has handled its error before it calls what it is to call at its end.
    if sys.version_info >= (3, 13):
        process = sys.modules["multiprocessing.process"].current_process()
        process.run = partial(_run, process.run)


def _run(run: Callable[[], object]) -> None:
    try:
        run()
    except Exception as error:
        _failures.append(error)
        raise


def _watch_worker() -> None:
    """Have multiprocessing call us at the end of a child: one that was forked calls os._exit, without atexit."""
    process, util = map(sys.modules.get, ("multiprocessing.process", "multiprocessing.util"))
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _end_of_worker, exitpriority=_LAST)


def _end_of_worker() -> None:
    """Record the end of a child: it leaves its parent's session, ends those that it began, and may have failed."""
    if os.getpid() in _ended:
        return
    _ended[:] = [os.getpid()]
    try:
        module = sys.modules["multiprocessing.process"]
        if (error := _error_of_worker(module.BaseProcess._bootstrap)) is not None:
            record_uncaught(error, "an error of a process", process=module.current_process().name)
    except Exception as problem:  # the edge, as at the end of any process
        say(f"an error could not be recorded: {problem}")
    _each_client(_end_all)
    # Closing a journal takes milliseconds, as it writes to the main file what this process need not wait for.
    _each_client(lambda client: client.account())


def _error_of_worker(bootstrap: Any) -> Exception | None:
    """Return what ended the work of this child, which `bootstrap` called."""
    if _failures:
        return _failures[-1]
    error = sys.exc_info()[1]
    trace = error.__traceback__ if isinstance(error, Exception) else None
    # Not an error that the parent was handling when it forked: that did not pass through here.
    passed = trace is not None and trace.tb_frame.f_code is bootstrap.__code__
    return error if passed and isinstance(error, Exception) else None


# Hooks that are still to be set: each is taken by one thread, the last one first.
_to_install = [_chain_thread_hook, _chain_excepthook, _note_exit_code, _watch_worker, _await_exit]


# Forks


def _before_fork() -> None:
    """Have SIGTERM wait until the child has its own action for it; Python would drop it as one of the parent's."""
    _masks.forks.append([])
    if _watching:
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        # Noted before it changes: a signal handler may raise then.
        _masks.forks[-1].append(partial(_signal.pthread_sigmask, _signal.SIG_SETMASK, mask))
        _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM,))


def _after_fork_in_child() -> None:
    """Restore the default action in a child, which began none of the open sessions, and have its end recorded."""
    for terminated in _watching.copy():
        terminated.release()
    _unmask()
    try:
        _watch_children()
    except Exception as problem:
        say(f"the end of this process will not be recorded: {problem}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_unmask, after_in_child=_after_fork_in_child)
