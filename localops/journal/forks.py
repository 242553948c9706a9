"""Close all journals before a fork, while no thread is inside SQLite.

In a child, SQLite would assume that it holds file locks which only the parent has; and locks that other threads of the
parent hold would never be released, as the child does not have these threads.  So the forking thread first takes the
locks of all journals.
"""

from __future__ import annotations

import os
import threading
from itertools import compress
from operator import call

from localops import careful, interruption
from localops.journal import fork_imports
from localops.journal.reader import close_readers
from localops.journal.weak_values import WeakValues

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from localops.journal.journal_file import JournalFile

    class Journal(Protocol):
        """The attributes of a journal that a fork needs; its class is in a layer above."""

        _lock: Any
        _inside: bool
        _file: JournalFile

        def _become_child(self) -> None: ...


_TRY = 0.05  # seconds to wait for a lock while others are held

_journals = WeakValues()
_creation_lock = threading.RLock()  # held during a fork, so that no journal is created meanwhile
_locks_to_release = careful.ToUndo()  # releases the locks that this thread has taken for a fork
_release = careful.undoing(_locks_to_release)

before: list[Callable[[], object]] = []
"""What else is done before a fork, again if a signal handler interrupts it; what undoes it is given to `note`."""
in_child: list[Callable[[], object]] = []
"""What is done in the child before that is undone."""


def include(journal: Journal) -> None:
    """Register a new journal, so that forks of this process wait for it."""
    with _creation_lock:
        _journals[id(journal)] = journal


def _all() -> list[Journal]:
    return _journals.values()


def _take(lock: Any, seconds: float) -> bool:
    """Take a lock and store how to release it, in one call of C, which no signal handler can interrupt."""
    held = _locks_to_release.forks[-1]
    before = len(held)
    held.extend(compress((lock.release,), map(lock.acquire, (True,), (seconds,))))
    return len(held) > before


def _release_all() -> None:
    """Release all locks of this thread in one call of C: an interruption would leave other threads blocked."""
    held = _locks_to_release.forks[-1]
    any(map(call, map(held.pop, [-1] * len(held))))


def _take_all() -> None:
    """Take the locks of all journals; wait for one without a timeout only while holding no other.

    Otherwise, if the thread with that lock wants to fork as well (from a `__del__` during a write), both wait forever.
    """
    blocked: Any = _creation_lock
    while blocked is not None:
        _release_all()
        _take(blocked, -1)
        blocked = _first_blocked()


def _first_blocked() -> Any:
    """Try to take all locks; return the first one that another thread holds, or None."""
    if not _take(_creation_lock, _TRY):
        return _creation_lock
    return next((journal._lock for journal in _all() if not _take(journal._lock, _TRY)), None)


def _close_all() -> None:
    _take_all()
    for journal in _all():
        if not journal._inside:
            journal._file.drop()
    close_readers()
    fork_imports.wait()
    for step in before:
        step()


def prepare(undo: list[Callable[[], object]]) -> None:
    """Prepare a fork; called by the package's hook, as this module may be imported during a fork."""
    if not any(undo is known for known in _locks_to_release.forks[-1:]):
        _locks_to_release.forks.append(undo)
    try:
        _close_all()
    except BaseException as error:
        # Python ignores exceptions in a fork hook: hold those of the program's signal handlers.
        interruption.settle(error, _close_all)
    note_arrival()


def note(*undo: Callable[[], object]) -> None:
    """Have these called after the fork that this thread prepares, in parent and child; they raise nothing."""
    _locks_to_release.forks[-1].extend(undo)


def note_arrival() -> None:
    """Have what was held for this thread raised soon after the fork that it has prepared."""
    if interruption.waiting:
        note(*interruption.arrival())


def _after_fork_in_child() -> None:
    try:
        for lock in (_creation_lock, *(journal._lock for journal in _all())):
            # A fork by C code may run only the hooks after the fork, so these locks may be held.
            careful.renew(lock)
        for journal in _all():
            journal._become_child()
        for step in in_child:
            step()
    finally:
        _release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_release, after_in_child=_after_fork_in_child)
