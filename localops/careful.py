"""Read a program's objects without printing their warnings, also near the recursion limit or with little memory."""

from __future__ import annotations

import os
import sys
from _thread import RLock, _local, get_ident
from itertools import accumulate, chain, compress, islice, repeat, takewhile
from operator import attrgetter, call, delitem, getitem, is_, itemgetter, not_, or_

from localops.interruption import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeGuard, TypeVar

    R = TypeVar("R")

_MORE = 500  # frames
_CALLS_A_FRAME = 3  # about the most: Python also counts the calls of C functions between two frames
_FRAMES = 1 << 18  # bytes: about a third more than the frames of the deepest walk need
MOST_ENTRIES = 100_000  # the most that are read of a mapping or iterable of the program, which may be endless
_one_at_a_time = RLock()

raised: set[int] = set()
"""The recursion limit of the program, while a higher one is in force."""


COLLECTIONS = (list, tuple, dict, set, frozenset)


def is_a(value: object, kind: type[R]) -> TypeGuard[R]:
    """Return whether a value is of a class, as `isinstance` does; False if the value's own `__class__` raises."""
    return issubclass(type(value), kind) or attempt(lambda: isinstance(value, kind), False)


def attribute(value: object, name: str, otherwise: Any = None) -> Any:
    """Return an attribute of a value, as `getattr` does; `otherwise` also if the value's own code raises."""
    return attempt(lambda: getattr(value, name, otherwise), otherwise)


def first_entries(mapping: Any) -> dict[Any, Any]:
    """Return a mapping as a dict; of a class other than dict, which may be endless, read only the first entries."""
    if issubclass(type(mapping), dict):
        return dict.copy(mapping)
    return {key: mapping[key] for key in islice(mapping.keys(), MOST_ENTRIES)}


def class_name(value: object) -> str:
    """Return the name of a value's class, without running code of its metaclass."""
    return name_of(type(value))


def name_of(cls: type) -> str:
    """Return the name of a class, without running code of its metaclass."""
    return str(type.__getattribute__(cls, "__name__"))


def value_of(member: Any) -> Any:
    """Return the value of an enum's member, even if its class redefines `value`."""
    return member._value_


def outline(value: object, longest: int = 200) -> str:
    """Return a short text of a collection: the full one may be endless if parts are shared or nested.

    A text in it that is longer than `longest` is shortened in the middle.
    """
    from reprlib import Repr

    plain = Repr()
    plain.maxlevel, plain.maxstring, plain.maxother, plain.maxlong = 4, longest, 200, 200
    plain.maxlist = plain.maxtuple = plain.maxdict = plain.maxset = plain.maxfrozenset = 8
    return plain.repr(value)


def deeper(function: Callable[..., R], *args: object) -> R:
    """Call a function with a higher recursion limit, after a RecursionError.

    Raise RecursionError if the limit was not the problem (the recursion is endless), if another thread is raising it at
    the moment, or if it could not be restored.
    """
    has_room = _has_room(_MORE // 2)
    if raised and has_room:  # another thread has raised it since the error
        return function(*args)
    if raised or has_room:
        raise RecursionError("there is room enough, or as much as there can be")
    acquired: list[bool] = []
    restore: Iterator[object] = iter(())
    try:
        # One call of C takes the lock and stores that: between two calls, a signal handler could raise.
        acquired.extend(map(_one_at_a_time.acquire, (False,)))
        if not acquired[0]:  # two threads would restore wrong limits
            raise RecursionError("another thread has raised the recursion limit")
        limit = sys.getrecursionlimit()
        # Python refuses a limit below the current depth: check now that the limit can be restored.
        sys.setrecursionlimit(limit)
        restore = _restoring(limit, (True,))
        raised.add(limit)
        sys.setrecursionlimit(limit + _MORE)
        restore = _restoring(limit, _all_are_short(limit, but=get_ident()))
        return function(*args)
    finally:
        try:
            for _ in restore:  # not `any`, a call: that would be one step deeper
                pass
        finally:
            if acquired and acquired[0]:
                _one_at_a_time.release()


def _restoring(limit: int, condition: Iterable[bool]) -> Iterator[object]:
    """Return an iterator that restores the recursion limit when it is advanced, if the condition yields True."""
    restored = map(sys.setrecursionlimit, compress((limit,), condition))
    return map(raised.discard, compress((limit,), map(is_, restored, repeat(None))))


def _all_are_short(limit: int, *, but: int = 0) -> Iterator[bool]:
    """Yield whether no thread has so many frames that it may be past a recursion limit; leave out the thread `but`.

    The limit applies to all threads.  Python 3.11 ends the process if a thread that is 50 calls past it handles an
    exception; a thread that is past it by less cannot release a lock, as that is a call.

    It is written with C functions only, and calculated by the `next` of the caller's iterator, so that no other thread
    runs between the look at its frames and the change of the limit.
    """
    snapshot = map(call, (sys._current_frames,))  # yields one dict, of thread ids with their innermost frames
    frames = chain.from_iterable(map(dict.values, map(or_, snapshot, ({but: None},))))
    # accumulate((frame, "f_back", "f_back", …), getattr) yields the frame, its caller, the next caller, …, None.
    callers = map(accumulate, map(chain, zip(frames, strict=False), repeat(repeat("f_back"))), repeat(getattr))
    stacks = map(takewhile, repeat(bool), callers)
    # A stack is long if it has more than this many frames.
    are_long = map(any, map(islice, stacks, repeat(limit // _CALLS_A_FRAME), repeat(None)))
    return map(not_, map(any, (are_long,)))


def restore_limit() -> None:
    """Restore the recursion limit if `deeper` could not, and this thread is not deep in its calls either."""
    acquired: list[bool] = []
    if _one_at_a_time._is_owned():  # type: ignore[attr-defined]  # in the middle of `deeper`
        return
    try:
        acquired.extend(map(_one_at_a_time.acquire, (False,)))
        if not acquired[0] or not raised:
            return
        limit = min(raised)
        if sys.getrecursionlimit() != limit + _MORE:  # the program has set another one meanwhile
            raised.clear()
        else:
            any(_restoring(limit, _all_are_short(limit)))
    finally:
        if acquired and acquired[0]:
            _one_at_a_time.release()


def renew(lock: Any) -> None:
    """In a forked child, release a lock that another thread of the parent held: the child lacks that thread."""
    if not lock._is_owned():
        lock._at_fork_reinit()


def _after_fork_in_child() -> None:
    renew(_one_at_a_time)
    if raised:
        restore_limit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class ToUndo(_local):
    """By thread: the functions to call after each fork in progress; a signal handler may fork during a fork."""

    def __init__(self) -> None:
        self.forks: list[list[Callable[[], object]]] = []


def undoing(to_undo: ToUndo) -> Callable[[], object]:
    """Return a callable that runs the functions which the forking thread has stored for after the fork.

    It does `for function in to_undo.forks.pop(): function()`, and nothing if `forks` is empty; the functions return
    None.  It is built from C functions: a signal handler could raise on entering a Python function, and locks would
    stay held.
    """
    forks = map(attrgetter("forks"), repeat(to_undo))
    last = repeat(slice(-1, None))  # a slice, as it may be empty
    noted = map(itemgetter(0), zip(map(getitem, forks, last), map(delitem, forks, last), strict=False))
    return map(any, map(map, repeat(call), map(chain.from_iterable, noted))).__next__


def roomy(function: Callable[..., R], *args: object) -> R:
    """Call a function that must not fail at the recursion limit: if the limit is near, raise it.

    If that is impossible, because another thread has raised it, for example, call the function anyway.
    """
    if not _has_room(_MORE // 2):
        try:
            return deeper(function, *args)
        except RecursionError:
            pass
    return function(*args)


def _has_room(frames: int) -> bool:
    try:
        return frames == 0 or _has_room(frames - 1)
    except RecursionError:
        return False


def _call(function: Callable[..., R], *args: object) -> R:
    return function(*args)


def _with_frames(function: Any) -> Any:
    """Return a function with such a large frame that the same allocation has space for the frames of its calls.

    Python allocates frames in blocks of 16 KiB or, for a larger frame, of the next power of two.
    """
    words = (_FRAMES + 4096) // 8  # a little over one power of two, so that the rest up to the next one is free
    return type(function)(function.__code__.replace(co_stacksize=words), globals())


_framed = _with_frames(_call)


def _steadily(function: Callable[..., R], *args: object) -> R:
    # Only if memory is limited: allocating the block takes as long as a small walk, and otherwise allocations succeed.
    try:
        import resource

        space = getattr(resource, "RLIMIT_AS", resource.RLIMIT_DATA)  # not every system has it
        unlimited = resource.RLIM_INFINITY, resource.RLIM_INFINITY
        limited = (resource.getrlimit(space)[0], resource.getrlimit(resource.RLIMIT_DATA)[0]) != unlimited
    except (ImportError, MemoryError):
        limited = True
    made: R = _framed(function, *args) if limited else function(*args)
    return made


# CPython 3.11 (seen in 3.11.2 and 3.11.7, not in 3.12 and 3.13) has a bug: if there is no memory for the frame of a
# call, it releases the function once too often, and crashes later.  Calls with `*args` are not affected.
steadily: Callable[..., Any] = _call if sys.version_info >= (3, 12) or sys.platform == "win32" else _steadily
"""Call a function; in a process with limited memory, first allocate 256 KiB for the frames of its calls, and raise
MemoryError if that fails."""


class _Quiet:
    """A `with` block in which warnings of the calling thread are ignored: neither printed nor raised.

    `warnings.catch_warnings` would replace the filters of all threads, and warnings that were already printed would be
    printed again. This adds one filter, whose pattern checks the thread.
    """

    def __init__(self) -> None:
        self._thread = _local()
        self._filter = ("ignore", self, Warning, None, 0)

    def match(self, _message: str) -> bool:
        """Return whether the calling thread is inside a block; the filter calls this as its pattern."""
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
        """Leave all blocks except the outer `depth` ones."""
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
