"""Read a user's objects without printing their warnings, and near the recursion limit."""

from __future__ import annotations

import sys
from _thread import RLock, _local

from localops.interruption import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeGuard, TypeVar

    R = TypeVar("R")

_MORE = 500  # frames
_one_at_a_time = RLock()


COLLECTIONS = (list, tuple, dict, set, frozenset)


def is_a(value: object, kind: type[R]) -> TypeGuard[R]:
    """Return whether a value is of a class, as `isinstance` does; False if the value's own `__class__` raises."""
    return issubclass(type(value), kind) or attempt(lambda: isinstance(value, kind), False)


def attribute(value: object, name: str, otherwise: Any = None) -> Any:
    """Return an attribute of a value, as `getattr` does; `otherwise` also if the value's own code raises anything."""
    return attempt(lambda: getattr(value, name, otherwise), otherwise)


def class_name(value: object) -> str:
    """Return the name of a value's class, whatever its metaclass says."""
    return name_of(type(value))


def name_of(cls: type) -> str:
    """Return the name of a class, whatever its metaclass says."""
    return str(type.__getattribute__(cls, "__name__"))


def value_of(member: Any) -> Any:
    """Return the value of an enum's member, as `enum` keeps it: a class may give `value` another meaning."""
    return member._value_


def outline(value: object) -> str:
    """Return the beginning of a collection's text: the whole may be endless if parts are shared or nested."""
    from reprlib import Repr

    plain = Repr()
    plain.maxlevel, plain.maxstring, plain.maxother, plain.maxlong = 4, 200, 200, 200
    plain.maxlist = plain.maxtuple = plain.maxdict = plain.maxset = plain.maxfrozenset = 8
    return plain.repr(value)


def deeper(function: Callable[..., R], *args: object) -> R:
    """Call a function with a higher recursion limit, after a RecursionError.

    Raise RecursionError if there was room enough already (the recursion is endless), and if the limit could not be
    restored.
    """
    if _has_room(_MORE // 2):
        raise RecursionError("there is room enough")
    taken: list[bool] = []
    limit = 0
    try:
        # One call takes the lock and notes it: a signal handler may raise between two.
        taken.extend(map(_one_at_a_time.acquire, (False,)))
        if not taken[0]:  # two threads would restore each other's limit
            raise RecursionError("another thread has raised the recursion limit")
        limit = sys.getrecursionlimit()
        # Python refuses a limit below the current depth: find that out before it is too late.
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
    """A `with` block in which warnings of the calling thread are neither printed nor errors.

    `warnings.catch_warnings` would replace the filters of all threads, and let warnings that were printed once be
    printed again. This adds one filter, whose pattern checks the thread.
    """

    def __init__(self) -> None:
        self._thread = _local()
        self._filter = ("ignore", self, Warning, None, 0)

    def match(self, _message: str) -> bool:
        """Return whether a warning comes from inside of a block; a filter calls this as its pattern."""
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
        """Leave all blocks but `depth`."""
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
