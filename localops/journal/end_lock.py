"""The lock of a journal while the process ends, when daemon threads are stopped anywhere and keep their locks."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class EndLock:
    """A re-entrant lock that can be taken over: a finalizing interpreter runs one thread, so any holder is gone."""

    def __init__(self, lock: Any) -> None:
        self.release = lock.release
        self._acquire = lock.acquire
        self._is_owned = lock._is_owned
        self._at_fork_reinit = lock._at_fork_reinit
        # Kept here, as the interpreter also clears the names of modules.
        self._is_last_step = sys.is_finalizing

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire it as `threading.RLock.acquire` does; while the interpreter finalizes, never wait."""
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
