"""Forks: across one, no journal is open, and no thread is inside SQLite.

A child would assume SQLite's locks, which it does not have, and it would wait forever for what other threads of its
parent had taken: those threads are not in it.  So the thread that forks takes the locks of all journals before.
"""

from __future__ import annotations

import os
import threading
import weakref
from itertools import compress
from operator import call

from localops import careful, interruption
from localops.journal import fork_imports
from localops.journal.reader import close_readers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from localops.journal.journal_file import JournalFile

    class Journal(Protocol):
        """What a fork has to do with a journal; its class is in a layer above."""

        _lock: Any
        _inside: bool
        _file: JournalFile

        def _become_child(self) -> None: ...


_TRY = 0.05  # seconds to wait for a lock while others are held

_journals: weakref.WeakValueDictionary[int, Journal] = weakref.WeakValueDictionary()
_beginning = threading.RLock()  # held across a fork, so that no journal begins meanwhile
_taken = careful.ToUndo()  # what releases the locks that this thread has taken for a fork
_release = careful.undoing(_taken)


def include(journal: Journal) -> None:
    """Have the forks of this process wait for a journal, which was not used yet."""
    with _beginning:
        _journals[id(journal)] = journal


def _all() -> list[Journal]:
    # Not by iterating, as other threads add to it meanwhile.
    return [journal for reference in _journals.valuerefs() if (journal := reference()) is not None]


def _take(lock: Any, seconds: float) -> bool:
    """Take a lock and note it, in one call, between whose steps no signal handler can raise."""
    held = _taken.forks[-1]
    before = len(held)
    held.extend(compress((lock.release,), map(lock.acquire, (True,), (seconds,))))
    return len(held) > before


def _give_back() -> None:
    """Release what this thread has taken, in one call as well: what stayed taken would stop the other threads."""
    held = _taken.forks[-1]
    any(map(call, map(held.pop, [-1] * len(held))))


def _take_all() -> None:
    """Take the locks of all journals, and wait for one without end only while no other is held.

    Another thread may hold the one that is waited for and want to fork itself, as from a `__del__` during a write.
    """
    blocked: Any = _beginning
    while blocked is not None:
        _give_back()
        _take(blocked, -1)
        blocked = _first_kept()


def _first_kept() -> Any:
    """Take all locks, and return the first one that another thread keeps."""
    if not _take(_beginning, _TRY):
        return _beginning
    return next((journal._lock for journal in _all() if not _take(journal._lock, _TRY)), None)


def _close_all() -> None:
    _take_all()
    for journal in _all():
        if not journal._inside:
            journal._file.drop()
    close_readers()
    fork_imports.wait()


def prepare() -> None:
    """Prepare a fork; the package calls it before each, as a thread may load this module in the middle of one."""
    _taken.forks.append([])
    try:
        _close_all()
    except BaseException as error:
        # A hook raises nothing into the program, and an exception of a signal handler would be lost.
        interruption.settle(error, _close_all)


def _after_fork_in_child() -> None:
    try:
        for lock in (_beginning, *(journal._lock for journal in _all())):
            # A fork in C may have run only the hooks after it.
            careful.renew(lock)
        for journal in _all():
            journal._become_child()
    finally:
        _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_release, after_in_child=_after_fork_in_child)
