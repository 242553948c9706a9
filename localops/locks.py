"""Whether SQLite still holds its locks on a file: other code that opens and closes the same file drops them silently.

A process is not told of its own POSIX locks, but a lock of the newer kind (of an open file, not of a process) would
conflict with them; asking for one through SQLite's own descriptor costs a microsecond.  Reading /proc/locks would
cost milliseconds.
"""

from __future__ import annotations

import os
import struct
import sys

try:
    from fcntl import F_OFD_GETLK, F_UNLCK, F_WRLCK, fcntl

    _able = sys.maxsize > 1 << 32
except ImportError:  # not Linux: the lock cannot be seen
    _able = False

_FLOCK = "hhxxxxqqixxxx"  # struct flock of 64-bit Linux: type, whence, start, length, pid
SHARED = (0x40000002, 510)  # the bytes SQLite locks in the database file while it is open in WAL mode
DEAD_MAN = (128, 1)  # and in the -shm file


class Watch:
    """The descriptors SQLite has open on a database and its -shm file, to be asked about their locks."""

    def __init__(self, path: str) -> None:
        found = {}
        if _able:
            try:
                found = _descriptors({_inode(path): SHARED, _inode(path + "-shm"): DEAD_MAN})
            except OSError:
                pass
        self._held = [(handle, area) for handle, area in found.items() if _locked(handle, area)]

    def sound(self) -> bool:
        """Whether every lock that was there at the beginning still is."""
        return all(_locked(handle, area) for handle, area in self._held)


def _inode(path: str) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino


def _descriptors(wanted: dict[tuple[int, int], tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """The newest descriptor of this process for each of the files: SQLite opened them a moment ago."""
    found: dict[int, tuple[int, int]] = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int, reverse=True):
        try:
            facts = os.fstat(int(name))
        except OSError:
            continue
        area = wanted.pop((facts.st_dev, facts.st_ino), None)
        if area is not None:
            found[int(name)] = area
        if not wanted:
            break
    return found


def _locked(handle: int, area: tuple[int, int]) -> bool:
    try:
        asked = struct.pack(_FLOCK, F_WRLCK, os.SEEK_SET, *area, 0)
        return bool(struct.unpack(_FLOCK, fcntl(handle, F_OFD_GETLK, asked))[0] != F_UNLCK)
    except OSError:  # the descriptor is closed: so is the file
        return False
