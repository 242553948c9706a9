"""Check that the files that SQLite has open are still ours, and protect the WAL after its -shm file was removed.

A process cannot query its own POSIX locks, but it can test whether a lock of an open file description (OFD) would
conflict with them.  Through SQLite's own descriptor this takes a microsecond; reading /proc/locks takes milliseconds.

If the program closes one of our descriptors, its number may soon belong to another file.  So each of ours gets a file
position that no other file has by chance: SQLite does not change it, as it reads and writes at explicit positions, and
querying it is the cheapest system call on a descriptor.

Writers and readers of a journal share the state of its WAL in the -shm file.  If it is removed, processes that have it
open continue to use it while the next process creates another, and both write to the same places of the WAL.  So before
another is created, we take the write lock of the lost one (`bar`): processes that still use it cannot write any more,
check why, and open the new one.
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
except ImportError:  # not Linux: locks cannot be tested
    _able = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MARK = 0x4C4F5053  # the file position that marks our descriptors
OURS, CLOSED, TAKEN = "ours", "closed", "taken"  # the states of our descriptors

_FLOCK = "hhxxxxqqixxxx"  # struct flock of 64-bit Linux: type, whence, start, length, pid
_SHARED = (0x40000002, 510)  # the bytes SQLite locks in the database file while it is open in WAL mode
_DEAD_MAN = (128, 1)  # the byte that SQLite locks in the -shm file while it is open
_WRITE = (120, 1)  # in the -shm file: the write lock
_WRITING = (120, 3)  # in the -shm file: the locks for writing, checkpointing and recovering
_FRAMES = struct.Struct("16xI76xI")  # the sizes of the WAL in the -shm file, in the byte order of the machine
_LOW = 100  # descriptors below this are left to the program
_GRACE = 0.02  # seconds in which a writer that has not noticed the removal finishes
_MOST_BARS = 16

_kept: list[int] = []  # descriptors that would free SQLite's locks if they were closed
_bars: list[int] = []  # descriptors of lost -shm files whose write locks are held here


def sqlite_name(path: str) -> tuple[str, bool]:
    """Return a path as SQLite takes it, and whether it is a URI: one that is not UTF-8 has to be."""
    try:
        path.encode()
    except UnicodeEncodeError:
        from urllib.parse import quote

        return f"file:{quote(os.fsencode(path))}", True
    return path, False


def read_own(path: str, size: int, inode: tuple[int, int]) -> bytes | None:
    """Read the beginning of a file through a descriptor that SQLite has open on it; None if there is none.

    `inode` is the expected file: another process may have replaced it.
    """
    handles = _descriptors(_names(), {inode}, frozenset()) if _able and _inode(path) == inode else {}
    for handle in handles:
        try:
            return os.pread(handle, size, 0)
        except OSError as error:
            pass_on(error)
    return None


def read_left(path: str, size: int) -> tuple[bytes, tuple[int, int]] | None:
    """Read the beginning of a -shm file that a crash has left, and return it with the file's identity.

    Return None if a process has the file open, this one or another.  Closing a descriptor frees all POSIX locks of this
    process on the file, also those of SQLite's own descriptor.
    """
    inode = _inode(path)
    if not _able or inode is None or _descriptors(_names(), {inode}, frozenset()):
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        pass_on(error)
        return None
    try:
        data = os.pread(handle, size, 0)
        # The last process that closes the journal removes the file before it releases its lock.
        is_used = _locked(handle, _DEAD_MAN)
        facts = os.fstat(handle)
        is_left = not is_used and facts.st_nlink > 0 and (facts.st_dev, facts.st_ino) == inode
        return (data, inode) if is_left else None
    except OSError as error:
        pass_on(error)
        return None
    finally:
        # A thread or a signal handler may have opened it meanwhile: then this one must stay open.
        if len(_descriptors_on(inode)) > 1:
            _kept.append(handle)
        else:
            os.close(handle)


def _descriptors_on(inode: tuple[int, int]) -> list[int]:
    """Return all descriptors of this process on a file."""
    return [handle for handle in map(int, _names()) if (f := _facts(handle)) and (f.st_dev, f.st_ino) == inode]


class Watch:
    """The descriptors that SQLite has open on a database, its WAL and its -shm file.

    Readers in this process may have descriptors on the same files, and it cannot be seen which connection a descriptor
    belongs to.  Those that were open `before` ours are not ours.  If there are several others, all are watched; if one
    of them is closed while another on the same file is open, it is taken for a reader's.
    """

    def __init__(self, path: str, before: frozenset[int] = frozenset()) -> None:
        self._files: dict[int, tuple[int, int]] = {}
        self._sides: dict[tuple[int, int], str] = {}
        self._held: list[tuple[int, tuple[int, int]]] = []
        self._shared = -1
        self.wal = -1  # the descriptor of the WAL, if it is known
        self.position: Callable[[], int] | None = None  # returns the position of a descriptor: MARK while it is ours
        self.attached = True  # whether SQLite has the files open that are at the paths; True if unknown
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
        """Choose one descriptor of each file to use."""
        of_side = {self._sides[inode]: handle for handle, inode in self._files.items()}
        self._shared, self.wal = of_side.get("-shm", -1), of_side.get("-wal", -1)
        if self._files:
            self.position = partial(os.lseek, self._shared if self._shared >= 0 else max(self._files), 0, os.SEEK_CUR)

    def _leave_to_readers(self) -> bool:
        """Stop watching closed descriptors if another one is open on the same file; return whether there were any."""
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
        """Return the state of our descriptors: OURS, CLOSED, or TAKEN if a number belongs to another file now."""
        self._leave_to_readers()
        states = {_state(handle, inode) for handle, inode in self._files.items()}
        state = TAKEN if TAKEN in states else CLOSED if CLOSED in states else OURS
        # Only the file position was changed.
        if state == OURS:
            self._mark()
        return state

    def sound(self) -> bool:
        """Return whether all locks are still held."""
        return all(_locked(handle, area) for handle, area in self._held)

    def frames(self) -> tuple[int, int]:
        """Return the pages in the WAL, and how many of them were copied into the database, from the -shm file."""
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
            request = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *_WRITE, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl(self._shared, F_OFD_GETLK, request))
        except OSError as error:
            pass_on(error)
            return False
        return bool(kind != F_UNLCK and pid == os.getpid())

    def pin_shared(self) -> int | None:
        """Return a second descriptor of SQLite's -shm file, to take its locks after SQLite has closed it."""
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
    """Return the open descriptors of this process; empty if they cannot be listed."""
    # The one that listed the folder is closed by now.
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
    """Return the descriptors of this process on the wanted files: the new ones of each file, else the earlier ones.

    There may be no new one: all connections of a process share one descriptor of the -shm file, and SQLite may reuse a
    descriptor of a closed connection.
    """
    handles = [handle for handle in map(int, names) if handle not in _bars]
    new = _handles_of(wanted, (handle for handle in handles if handle not in before))
    others = wanted.difference(new.values())
    return new | _handles_of(others, (handle for handle in handles if handle in before)) if others else new


def _handles_of(wanted: set[tuple[int, int]], handles: Iterable[int]) -> dict[int, tuple[int, int]]:
    on: dict[int, tuple[int, int]] = {}
    for handle in handles:
        facts = _facts(handle)
        if facts is not None and (facts.st_dev, facts.st_ino) in wanted:
            on[handle] = facts.st_dev, facts.st_ino
    return on


def _locked(handle: int, area: tuple[int, int]) -> bool:
    try:
        request = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *area, 0)
        return bool(struct.unpack(_FLOCK, fcntl(handle, F_OFD_GETLK, request))[0] != F_UNLCK)
    except OSError as error:
        # The descriptor is closed.
        pass_on(error)
        return False


class _Closed:
    """The class that a closed `Descriptors` gets, as it has no `__del__`."""


class Descriptors:
    """Descriptors that are closed at the end of a `with` block, or by `__del__` if that is interrupted."""

    def __init__(self) -> None:
        self.handles: list[int] = []

    def open(self, path: str) -> None:
        """Open a file for reading."""
        # One call of C: between two calls, a signal handler could raise, and the file would stay open.
        self.handles.extend(map(os.open, (path,), (os.O_RDONLY | os.O_CLOEXEC,)))

    def __exit__(self, *_: object) -> None:
        # One call of C, as above.
        any(map(os.close, map(self.handles.pop, [-1] * len(self.handles))))
        # Removes `__del__`: it would swallow an exception that a signal handler raises on entering it.
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
    """Give files opened in the block high descriptors: a program that closes all descriptors reuses low ones first."""

    def __enter__(self) -> None:
        try:
            if _able and _may_open(4 * _LOW):
                self.open(os.devnull)
                another = map(self.handles.append, map(os.dup, repeat(self.handles[0])))
                while self.handles[-1] < _LOW:
                    # Duplicated and stored in one call of C, as above.
                    next(another)
        except OSError as error:
            # No descriptors left: use a low one.
            pass_on(error)
        except BaseException:  # of a signal handler
            self.__exit__()
            raise


def _may_open(many: int) -> bool:
    return os.sysconf("SC_OPEN_MAX") >= many


def bar(handle: int, wait: float) -> None:
    """Prevent all writes through a lost -shm file, once those in progress have finished."""
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
    """Take the locks; return None while a process writes, False if another process has barred the file already."""
    request = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *_WRITING, 0)
    try:
        fcntl(handle, F_OFD_SETLK, request)
    except BlockingIOError:
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl(handle, F_OFD_GETLK, request))
        return False if kind != F_UNLCK and pid == -1 else None
    except OSError as error:
        # A file system that does not support OFD locks.
        pass_on(error)
        return False
    return True


def bar_lost(path: str, wait: float) -> None:
    """Bar writes of all processes that still use a removed -shm file; to be called before the database is opened."""
    if not _able or host.exists(path + "-shm") or not host.exists(path + "-wal"):
        return
    for handle in _open_elsewhere(host.real_path(path) + "-shm (deleted)"):
        bar(handle, wait)
    # Wait for processes that we cannot see: each checks before it writes that the file is still there.
    time.sleep(_GRACE)


def _open_elsewhere(name: str) -> Iterator[int]:
    """Yield a descriptor of the removed file for each other process that has it open."""
    others = [pid for pid in os.listdir("/proc") if pid.isdecimal() and int(pid) != os.getpid()]
    for process in others:
        folder = f"/proc/{process}/fd"
        try:
            names = os.listdir(folder)
        except OSError as error:
            # The process has ended, or belongs to another user.
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
