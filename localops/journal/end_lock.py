"""The lock of a journal while the process ends, when daemon threads stop wherever they are and keep what they hold."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class EndLock:
    """A re-entrant lock that is taken from a thread that is gone: in its last steps, the interpreter runs only one."""

    def __init__(self, lock: Any) -> None:
        self.release = lock.release
        self._acquire = lock.acquire
        self._is_owned = lock._is_owned
        self._at_fork_reinit = lock._at_fork_reinit
        # Kept, as the names of modules go as well.
        self._is_last_step = sys.is_finalizing

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it, as `threading.RLock.acquire` does."""
        if self._is_last_step():
            if not self._acquire(False):
                self._at_fork_reinit()
                self._acquire(False)
            return True
        taken: bool = self._acquire(blocking, timeout)
        return taken

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
