"""What becomes of open sessions when the process ends: by itself, by an exception, or by a signal.

Hooks are chained, never replaced, and the exit code stays what it would have been.  What no hook sees (kill -9,
`os._exit`, a power cut) is derived later, in `ends.py`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading

from localops.session import failure_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from localops.client import Client

LEFT_OPEN = "process exited without end_session"
_installed = False


def install(client: Client) -> None:
    """Hook into the end of this process, once."""
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_at_exit, client)
    _chain_excepthook(client)
    _chain_thread_hook(client)


def _at_exit(client: Client) -> None:
    for session in client.open_sessions():
        if session.owned():
            session.end_session("Indeterminate", LEFT_OPEN)
        else:
            session.leave()
    client.close()


def _chain_excepthook(client: Client) -> None:
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            _fail_all(client, error)
        finally:
            before(kind, error, trace)

    sys.excepthook = excepthook


def _fail_all(client: Client, error: BaseException) -> None:
    """An exception nobody caught: the sessions of this process failed of it, those it joined hear of it."""
    reason = failure_reason(error)
    for session in client.open_sessions():
        if session.owned():
            session.end_session("Failure", reason)
        else:
            _record(session, error)
            session.leave()


def _chain_thread_hook(client: Client) -> None:
    before = threading.excepthook

    def excepthook(args: threading.ExceptHookArgs) -> None:
        try:
            session = client.current()
            if session is not None and args.exc_value is not None:
                _record(session, args.exc_value)
        finally:
            before(args)

    threading.excepthook = excepthook


def _record(session: object, error: BaseException) -> None:
    from localops.events import ErrorEvent
    from localops.session import Session

    if isinstance(session, Session) and not hasattr(error, "_localops_recorded"):
        session.record(ErrorEvent(exception=error))


class Terminated:
    """The SIGTERM handler: set over the default action only, in the main thread, while a session of ours is open."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._set = False

    def watch(self) -> None:
        """Take SIGTERM if nobody else wants it."""
        if self._set or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminate)
            self._set = True

    def release(self) -> None:
        """Give SIGTERM back, if it is still ours to give."""
        if not self._set or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) == self._terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._set = False

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        """Say how it ends, then die of the signal as if we had not been there."""
        try:
            for session in self._client.open_sessions():
                if session.owned():
                    session.end_session("Failure", f"Signal {signal.Signals(number).name} detected")
                else:
                    session.leave()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
