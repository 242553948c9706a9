"""Ask the objects of a user what they are without showing their warnings, and close to the recursion limit."""

from __future__ import annotations

import sys
from _thread import RLock, _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    R = TypeVar("R")

_MORE = 500  # frames
_one_at_a_time = RLock()


COLLECTIONS = (list, tuple, dict, set, frozenset)


def outline(value: object) -> str:
    """Return the beginning of a collection's text: all of it may have no end, where parts are shared or nested."""
    from reprlib import Repr

    plain = Repr()
    plain.maxlevel, plain.maxstring, plain.maxother, plain.maxlong = 4, 200, 200, 200
    plain.maxlist = plain.maxtuple = plain.maxdict = plain.maxset = plain.maxfrozenset = 8
    return plain.repr(value)


def deeper(function: Callable[..., R], *args: object) -> R:
    """Call a function with a higher recursion limit, after a RecursionError.

    Raise RecursionError where there is room enough already (it was a recursion without end), and where the limit
    could not be set back.
    """
    if _has_room(_MORE // 2):
        raise RecursionError("there is room enough")
    taken: list[bool] = []
    limit = 0
    try:
        # One call takes the lock and keeps that it did: a signal handler may raise between two.
        taken.extend(map(_one_at_a_time.acquire, (False,)))
        if not taken[0]:  # two threads would restore each other's limit
            raise RecursionError("another thread has raised the recursion limit")
        limit = sys.getrecursionlimit()
        # Python refuses a limit that is below the current depth: find out before it is too late.
        sys.setrecursionlimit(limit)
        sys.setrecursionlimit(limit + _MORE)
        return function(*args)
    finally:
        try:
            if limit:
                sys.setrecursionlimit(limit)
        finally:
            if taken and taken[0]:
                _one_at_a_time.release()


def _has_room(frames: int) -> bool:
    try:
        return frames == 0 or _has_room(frames - 1)
    except RecursionError:
        return False


class _Quiet:
    """No warning of the calling thread is shown, or becomes an error, inside of a `with` block.

    `warnings.catch_warnings` would put another list of filters in place for all threads, and let what was shown
    once be shown again. This is one more filter, whose pattern looks at the thread.
    """

    def __init__(self) -> None:
        self._thread = _local()
        self._filter = ("ignore", self, Warning, None, 0)

    def match(self, _message: str) -> bool:
        """Return whether a warning comes from inside of a block: the way a filter asks its pattern."""
        return getattr(self._thread, "depth", 0) > 0

    def __enter__(self) -> None:
        filters = _filters()
        self._thread.depth = getattr(self._thread, "depth", 0) + 1
        if not filters or filters[0] is not self._filter:
            filters.insert(0, self._filter)

    def __exit__(self, *_: object) -> None:
        self.back_to(self._thread.depth - 1)

    def depth(self) -> int:
        """Return how many blocks the calling thread is in."""
        depth: int = getattr(self._thread, "depth", 0)
        return depth

    def back_to(self, depth: int) -> None:
        """Leave all blocks but that many."""
        self._thread.depth = depth
        if depth == 0:
            filters = _filters()
            for index, each in enumerate(filters):
                if each is self._filter:
                    del filters[index]
                    break


def _filters() -> list[Any]:
    import warnings

    return warnings.filters  # type: ignore[return-value]


quiet = _Quiet()
