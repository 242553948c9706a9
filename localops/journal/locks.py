"""Checks that the files which SQLite has open are still ours, and the protection after their -shm file was removed.

A process cannot query its own POSIX locks, but a lock of an open file description (OFD) would conflict with them.  To
test for that through SQLite's own descriptor costs a microsecond; to read /proc/locks would cost milliseconds.

A descriptor that the program closed may be another file's a moment later.  So each of ours is set to a file position
that no other file has by chance: SQLite uses positional reads and writes and does not change it, and to query it is the
cheapest call that there is for a descriptor.

Writers and readers of a journal share the state of its WAL in the -shm file.  When that is removed, processes that have
it open go on with it while the next process creates another, and both write to the same places of the WAL.  So before
another is created, the write lock of the lost one is taken (`bar`): processes that still use it cannot write any more,
look for the reason, and change over.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from functools import partial
from itertools import repeat

from localops import host
from localops.interruption import hold_if_programs, pass_on

try:
    from fcntl import F_OFD_GETLK, F_OFD_SETLK, F_UNLCK, F_WRLCK, fcntl

    _able = sys.maxsize > 1 << 32
except ImportError:  # not Linux: the lock cannot be seen
    _able = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MARK = 0x4C4F5053  # the position that marks our descriptors
OURS, CLOSED, TAKEN = "ours", "closed", "taken"  # the states of our descriptors

_FLOCK = "hhxxxxqqixxxx"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_SHARED = (0x40000002, 510)  # the bytes SQLite locks in the database file while it is open in WAL mode
_DEAD_MAN = (128, 1)  # and in the -shm file
_WRITE = (120, 1)  # in the -shm file: the write lock
_WRITING = (120, 3)  # in the -shm file: the locks for writing, checkpointing and recovering
_FRAMES = struct.Struct("16xI76xI")  # the sizes of the WAL in the -shm file, in the byte order of the machine
_LOW = 100  # descriptors below are left to the program
_GRACE = 0.02  # seconds for a writer that has not noticed the removal yet to finish
_MOST_BARS = 16

_bars: list[int] = []  # descriptors of lost -shm files whose write locks are held here


def sqlite_name(path: str) -> tuple[str, bool]:
    """Return the name of a path for SQLite, and whether it is a URI, as a name that is not UTF-8 has to be."""
    try:
        path.encode()
    except UnicodeEncodeError:
        from urllib.parse import quote

        return f"file:{quote(os.fsencode(path))}", True
    return path, False


class Watch:
    """The descriptors that SQLite has open on a database, its WAL and its -shm file.

    A connection that only reads, in this process, has descriptors on the same files, and nothing tells whose a
    descriptor is.  Those that were open `before` ours are not ours.  Where several are left, all are watched, and one
    that is closed was a reader's as long as another one is there.
    """

    def __init__(self, path: str, before: frozenset[int] = frozenset()) -> None:
        self._files: dict[int, tuple[int, int]] = {}
        self._sides: dict[tuple[int, int], str] = {}
        self._held: list[tuple[int, tuple[int, int]]] = []
        self._shared = -1
        self.wal = -1  # the descriptor of the WAL, where it can be found
        self.position: Callable[[], int] | None = None  # returns that of one descriptor: MARK while it is ours
        self.attached = True  # whether SQLite has open the files that are at their paths; True if unknown
        names = _names() if _able and path else []
        if not names:
            return
        sides = {inode: side for side in ("", "-wal", "-shm") if (inode := _inode(path + side)) is not None}
        self._files, self._sides = _descriptors(names, set(sides), before), sides
        self.attached = len({*self._files.values()}) == len(sides)
        for handle, inode in self._files.items():
            area = {"": _SHARED, "-shm": _DEAD_MAN}.get(sides[inode])
            if area is not None and _locked(handle, area):
                self._held.append((handle, area))
        self._choose()
        self._mark()

    def _choose(self) -> None:
        """Choose the descriptors that are used themselves."""
        of_side = {self._sides[inode]: handle for handle, inode in self._files.items()}
        self._shared, self.wal = of_side.get("-shm", -1), of_side.get("-wal", -1)
        if self._files:
            self.position = partial(os.lseek, self._shared if self._shared >= 0 else max(self._files), 0, os.SEEK_CUR)

    def _leave_to_readers(self) -> bool:
        """Watch the closed descriptors no more of which another one is open on the same file; return if there are."""
        here = {inode for handle, inode in self._files.items() if _state(handle, inode) == OURS}
        left = {
            handle: inode for handle, inode in self._files.items() if inode not in here or _state(handle, inode) == OURS
        }
        if len(left) == len(self._files):
            return False
        self._files = left
        self._held = [(handle, area) for handle, area in self._held if handle in left]
        self._choose()
        return True

    def _mark(self) -> None:
        for handle in self._files:
            os.lseek(handle, MARK, os.SEEK_SET)

    def ours(self) -> bool:
        """Return whether every descriptor is still open on the file that it was opened on."""
        return self._are_marked() or (self._leave_to_readers() and self._are_marked())

    def _are_marked(self) -> bool:
        try:
            return all(os.lseek(handle, 0, os.SEEK_CUR) == MARK for handle in self._files)
        except OSError as error:
            pass_on(error)
            return False

    def state(self) -> str:
        """Return the state of our descriptors: OURS, CLOSED, or TAKEN when a number is another file's now."""
        self._leave_to_readers()
        states = {_state(handle, inode) for handle, inode in self._files.items()}
        state = TAKEN if TAKEN in states else CLOSED if CLOSED in states else OURS
        # Only a position was lost.
        if state == OURS:
            self._mark()
        return state

    def sound(self) -> bool:
        """Return whether every lock that was held at the beginning still is."""
        return all(_locked(handle, area) for handle, area in self._held)

    def frames(self) -> tuple[int, int]:
        """Return the pages in the WAL, and how many of them are in the database, from the -shm file."""
        try:
            return _FRAMES.unpack(os.pread(self._shared, _FRAMES.size, 0))
        except struct.error:
            return 0, 0
        except OSError as error:
            pass_on(error)
            return 0, 0

    def writes(self) -> bool:
        """Return whether this process holds the write lock."""
        try:
            asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *_WRITE, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl(self._shared, F_OFD_GETLK, asked))
        except OSError as error:
            pass_on(error)
            return False
        return bool(kind != F_UNLCK and pid == os.getpid())

    def pin_shared(self) -> int | None:
        """Open the -shm file of SQLite once more, so that its locks can be taken when SQLite has closed it."""
        try:
            return os.open(f"/proc/self/fd/{self._shared}", os.O_RDWR | os.O_CLOEXEC) if self._shared >= 0 else None
        except OSError as error:
            pass_on(error)
            return None


def _state(handle: int, inode: tuple[int, int]) -> str:
    facts = _facts(handle)
    if facts is None:
        return CLOSED
    return OURS if (facts.st_dev, facts.st_ino) == inode else TAKEN


def _inode(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError as error:
        pass_on(error)
        return None
    return facts.st_dev, facts.st_ino


def opened() -> frozenset[int]:
    """Return the descriptors that are open in this process; none where they cannot be seen."""
    # Without that of the folder which was just listed.
    return frozenset(handle for handle in map(int, _names()) if _facts(handle) is not None) if _able else frozenset()


def _facts(handle: int) -> os.stat_result | None:
    try:
        return os.fstat(handle)
    except OSError as error:
        pass_on(error)
        return None


def _names() -> list[str]:
    try:
        return sorted(os.listdir("/proc/self/fd"), key=int, reverse=True)
    except OSError as error:
        pass_on(error)
        return []


def _descriptors(names: list[str], wanted: set[tuple[int, int]], before: frozenset[int]) -> dict[int, tuple[int, int]]:
    """Return the descriptors of this process on each of the files: those opened since, else those that were open.

    The -shm file is opened once for all connections of a process, and SQLite may use a descriptor of a connection that
    was closed.
    """
    handles = [handle for handle in map(int, names) if handle not in _bars]
    new = _on(wanted, (handle for handle in handles if handle not in before))
    others = wanted.difference(new.values())
    return new | _on(others, (handle for handle in handles if handle in before)) if others else new


def _on(wanted: set[tuple[int, int]], handles: Iterable[int]) -> dict[int, tuple[int, int]]:
    on: dict[int, tuple[int, int]] = {}
    for handle in handles:
        facts = _facts(handle)
        if facts is not None and (facts.st_dev, facts.st_ino) in wanted:
            on[handle] = facts.st_dev, facts.st_ino
    return on


def _locked(handle: int, area: tuple[int, int]) -> bool:
    try:
        asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *area, 0)
        return bool(struct.unpack(_FLOCK, fcntl(handle, F_OFD_GETLK, asked))[0] != F_UNLCK)
    except OSError as error:
        # The descriptor is closed: so is the file.
        pass_on(error)
        return False


class _Closed:
    """The class of `Descriptors` after they were closed: it has no `__del__`."""


class Descriptors:
    """Descriptors that are closed at the end of a `with` block; a moment later if that is interrupted."""

    def __init__(self) -> None:
        self.handles: list[int] = []

    def open(self, path: str) -> None:
        """Open a file for reading."""
        # In one call of C: a signal handler may raise between two, and the file would stay open.
        self.handles.extend(map(os.open, (path,), (os.O_RDONLY | os.O_CLOEXEC,)))

    def __exit__(self, *_: object) -> None:
        # All in one call, as above.
        any(map(os.close, map(self.handles.pop, [-1] * len(self.handles))))
        # No `__del__` unless this is interrupted: an exception of a signal handler at its beginning would be lost.
        self.__class__ = _Closed  # type: ignore[assignment]

    def __del__(self) -> None:
        try:
            self.__exit__()
        except BaseException as error:
            # Interrupted again, or the program has closed them.
            hold_if_programs(error)
            if getattr(self, "handles", None):
                self.__exit__()


class high_descriptors(Descriptors):  # noqa: N801 (used like a function, and cheaper than a generator)
    """Give high descriptors to files that are opened inside: a program that closes all reuses the low ones first."""

    def __enter__(self) -> None:
        try:
            if _able and _may_open(4 * _LOW):
                self.open(os.devnull)
                another = map(self.handles.append, map(os.dup, repeat(self.handles[0])))
                while self.handles[-1] < _LOW:
                    # Opened and kept in one call, as above.
                    next(another)
        except OSError as error:
            # Out of descriptors: use a low one.
            pass_on(error)
        except BaseException:  # of a signal handler
            self.__exit__()
            raise


def _may_open(many: int) -> bool:
    return os.sysconf("SC_OPEN_MAX") >= many


def bar(handle: int, wait: float) -> None:
    """Prevent all writes through a lost -shm file, after those that are in progress."""
    for _ in range(max(1, int(wait / 0.002))):
        barred = _bar(handle)
        if barred is None:
            time.sleep(0.002)
            continue
        if barred:
            _bars.append(handle)
            if len(_bars) > _MOST_BARS:
                os.close(_bars.pop(0))
            return
        break
    os.close(handle)


def _bar(handle: int) -> bool | None:
    """Take the locks; None while a process writes, False when another process holds them for the same reason."""
    asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *_WRITING, 0)
    try:
        fcntl(handle, F_OFD_SETLK, asked)
    except BlockingIOError:
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl(handle, F_OFD_GETLK, asked))
        return False if kind != F_UNLCK and pid == -1 else None
    except OSError as error:
        # A file system without such locks.
        pass_on(error)
        return False
    return True


def bar_lost(path: str, wait: float) -> None:
    """Bar all processes that still use a missing -shm file; call it before the database is opened."""
    if not _able or host.exists(path + "-shm") or not host.exists(path + "-wal"):
        return
    for handle in _lost(host.real_path(path) + "-shm (deleted)"):
        bar(handle, wait)
    # For processes that cannot be seen from here: each checks that the file is there before it writes.
    time.sleep(_GRACE)


def _lost(name: str) -> Iterator[int]:
    """Yield a descriptor of a removed file for each process that has it open."""
    others = [pid for pid in os.listdir("/proc") if pid.isdecimal() and int(pid) != os.getpid()]
    for process in others:
        folder = f"/proc/{process}/fd"
        try:
            names = os.listdir(folder)
        except OSError as error:
            # It has ended, or is another user's.
            pass_on(error)
            continue
        for handle in names:
            try:
                if os.readlink(f"{folder}/{handle}") == name:
                    yield os.open(f"{folder}/{handle}", os.O_RDWR | os.O_CLOEXEC)
                    break
            except OSError as error:
                pass_on(error)
                continue
