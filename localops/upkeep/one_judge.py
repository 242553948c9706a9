"""Let one process at a time judge the sessions of a home by the same function.

Of two, the second would find the sessions unjudged, pay a model for the same judgements and give each score twice.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from zlib import crc32

from localops import host
from localops.interruption import pass_on
from localops.output import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOCK = ".scores.lock"


@contextmanager
def only_one(home: str, authors: Iterable[str]) -> Iterator[None]:
    """Wait until no other process judges by one of these functions, and hold their locks."""
    handle = _opened(home)
    try:
        if handle is not None:
            # In an order, as two processes may wait for each other otherwise.
            for place in sorted({crc32(author.encode()) for author in authors}):
                _lock(handle, place)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _opened(home: str) -> int | None:
    """Open the file whose bytes are locked; None if the home cannot be written, which the first score reports."""
    try:
        host.make_private(home)
        return os.open(os.path.join(home, _LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        pass_on(error)
        return None


def _lock(handle: int, place: int) -> None:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except (BlockingIOError, PermissionError):
        say("another `localops score --with` judges by the same functions: waiting for its end")
        fcntl.lockf(handle, fcntl.LOCK_EX, 1, place)
    except OSError as error:
        # A file system without locks.
        pass_on(error)
