"""One hub at a time on a data folder.

Journals are safe with several, but limits, last uses and log-ins are counted in the memory of one process.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from filelock import FileLock, Timeout

from localops import output
from localops.errors import LocalopsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "serve.lock"
# Seconds to wait for the end of a hub that is being stopped, as in a restart by a supervisor.
_PATIENCE = 10.0


@contextmanager
def only_hub(folder: str) -> Iterator[None]:
    """Hold the lock of a data folder while a hub serves it; LocalopsError if another one does."""
    lock = FileLock(os.path.join(folder, NAME), mode=0o600)
    try:
        _acquire(lock, folder)
    except OSError as error:
        # No locks on this file system: its operator has to see to it.
        output.say(f"{folder} cannot be locked ({error.strerror}): make sure that no other hub serves it")
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, folder: str) -> None:
    try:
        lock.acquire(timeout=0)
        return
    except Timeout:
        output.say(f"another hub serves {folder}: waiting up to {_PATIENCE:g} s for it to stop")
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=0.1)
    except Timeout as error:
        raise LocalopsError(f"another hub serves {folder}: stop it first, or give this one another folder") from error
