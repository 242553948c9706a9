"""Notice that pages of the write-ahead log (WAL) are missing after a crash: it was cut, damaged or deleted.

SQLite then recovers what is there, silently, and rows that a killed process had written are gone.  But its -shm file
has the number of pages that were committed to the WAL, and stays after a kill.  So the first process that opens the
journal reads it before SQLite resets it, and compares it with what SQLite has recovered.

After a power cut the newest rows may be missing from the WAL without any damage, and in a copy of a folder the files
may be of different moments.  So the -shm file counts only if it was used since the machine was started, by a process
that recorded in this place.
"""

from __future__ import annotations

import os
import struct
import time
from collections import namedtuple

from localops import host
from localops.interruption import pass_on
from localops.journal import locks, participants, rows
from localops.journal.sql import statements
from localops.output import counted, say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple

    from localops.journal.rows import Row

    class Index(NamedTuple):
        """The beginning of a -shm file: the pages in the WAL, how many of them the database has, and the WAL's salt.

        `file` is its device and inode; `database` is when the database was changed before, and its size.
        """

        frames: int
        copied: int
        salt: bytes
        file: tuple[int, int]
        database: tuple[int, int]
else:
    Index = namedtuple("Index", "frames copied salt file database")

_HEADER, _SIZE = 48, 100  # bytes of one copy of the header, and up to and with the number of copied pages
_COMMITTED = struct.Struct("=12xB3xI12x8s")  # whether it is initialised, pages, salt
_SUMS = struct.Struct("=10I2I")
_COPIED = struct.Struct("=96xI")
_NO_SALT = bytes(8)
_MOST_SESSIONS = 1_000
_WORD = 0xFFFFFFFF


def before_open(path: str) -> Index | None:
    """Return what the -shm file of a journal states, if no process has it open and a crash has left it."""
    shared = path + "-shm"
    try:
        facts = os.stat(shared)
    except OSError as error:
        # The usual case: the last process has closed the journal.
        pass_on(error)
        return None
    is_of_this_boot = _booted_ns() <= facts.st_mtime_ns <= time.time_ns()
    if not is_of_this_boot or not participants.was_here_since_boot(os.path.dirname(path)):
        return None
    database = _changed(path)
    left = locks.read_left(shared, _SIZE)
    index = None if left is None else _parsed(*left, database)
    return index if index is not None and index.frames else None


def _changed(path: str) -> tuple[int, int]:
    """Return when a file was changed, and its size."""
    try:
        facts = os.stat(path)
    except OSError as error:
        pass_on(error)
        return 0, 0
    return facts.st_mtime_ns, facts.st_size


def _booted_ns() -> int:
    try:
        return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError):
            pass_on(error)
        return time.time_ns()  # unknown: nothing counts


def _parsed(data: bytes, file: tuple[int, int], database: tuple[int, int]) -> Index | None:
    """Return the fields of a header; None if it is incomplete or being written."""
    if len(data) < _SIZE or data[:_HEADER] != data[_HEADER : 2 * _HEADER]:
        return None
    *words, first, second = _SUMS.unpack_from(data)
    one = two = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & _WORD
        two = (two + odd + one) & _WORD
    is_initialised, frames, salt = _COMMITTED.unpack_from(data)
    if not is_initialised or (one, two) != (first, second):
        return None
    return Index(frames, _COPIED.unpack_from(data)[0], salt, file, database)


def pages_lost(path: str, before: Index) -> int:
    """Return how many committed pages SQLite has not recovered, now that the journal is open; 0 if unknown.

    Another process may have opened and closed it since, with a comparison of its own: then the -shm file is a new one,
    perhaps with the same inode, and the pages of the WAL are in the database.
    """
    data = locks.read_own(path + "-shm", _SIZE, before.file)
    now = None if data is None else _parsed(data, before.file, before.database)
    if now is None or _changed(path) != before.database:
        return 0
    if now.salt == before.salt:
        recovered = now.frames
    elif now.salt == _NO_SALT:
        recovered = 0
    else:
        # Another process has restarted the WAL since.
        return 0
    # Without any page of the WAL, the database has those that were copied; else older ones hide them.
    return max(0, before.frames - (recovered or before.copied))


def marks(execute: Callable[..., Any], path: str, before: Index, pages: int) -> list[Row]:
    """Return a row about the loss for each session that may have lost rows: those without an end.

    Empty for a copy of a journal: its files may be of different moments.
    """
    place = execute("select value from meta where key = 'place'").get
    if place != host.place_of(path):
        return []
    say_once(
        f"lost pages: {path}",
        f"{counted(pages, 'page is', 'pages are')} missing from {path}-wal: it was cut, damaged or deleted after a "
        "process was killed, and rows are lost; sessions that may lack some are marked",
    )
    queries = statements("queries.sql")
    lost = []
    for (session,) in execute(queries["open_sessions"], {"many": _MOST_SESSIONS}).fetchall():
        [last_ns] = execute(queries["last_ns"], {"session": session}).fetchone() or (0,)
        lost.append(_mark(session, before, pages, last_ns or 0))
    return lost


def _mark(session: bytes, before: Index, pages: int, at_ns: int) -> Row:
    # Both are imported here, as losses are rare.
    import uuid

    from localops.encoding import encode

    # The same in every process that notices it.
    id = uuid.uuid5(uuid.UUID(bytes=session), f"pages {before.salt.hex()} {before.frames}").bytes
    body = encode.dumps({"spilled": 0, "dropped": 0, "damaged": pages, rows.WAL_PAGES: pages}).decode()
    return rows.make("loss", session, id=id, at_ns=at_ns, body=body)
