"""Read-only access to a journal, for commands, reports and exports.

A reader has its own connection, holds no transaction between two calls, and turns errors of SQLite into messages.
Writers use another connection (`journal.py`).
"""

from __future__ import annotations

import errno
import os
import stat
import time
from _thread import allocate_lock
from itertools import islice

import apsw

from localops import host
from localops.errors import (
    DamagedJournal,
    EmptyJournal,
    ForeignJournal,
    JournalError,
    NewerJournal,
    NotFound,
    QueryRefused,
)
from localops.interruption import pass_on
from localops.journal import lost_wal, rows, spill
from localops.journal.locks import bar_lost, sqlite_name
from localops.journal.sql import SCHEMA, statements, temporary_views
from localops.journal.weak_values import WeakValues

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from localops.journal.stored import Stored

    # The columns of a table, and its rows.
    Table = tuple[Sequence[str], Sequence[tuple[Any, ...]]]

APPLICATION_ID = 0x4C4F5053  # "LOPS" in the file's header: only ours
SQLITE = apsw.sqlite_lib_version()
SQLiteError = apsw.Error

_REASONS: dict[type[Exception], str] = {
    apsw.FullError: "the disk is full",
    apsw.BusyError: "another program keeps it locked",
    apsw.ReadOnlyError: "it can only be read",
    apsw.CantOpenError: "its files can be neither opened nor made (look at their permissions and those of the folder)",
    BlockingIOError: "another process is working on it",
}
_SHARED = "32 kB"  # the size of the -shm file, which readers and writers share
_SAFE = "nothing that was recorded is lost"
_PAGE = f"select seq, {', '.join(rows.COLUMNS)} from event where seq > ? order by seq limit ?"  # noqa: S608
_BLANK = r"(?s)(?>[\s;]+|--[^\n]*|/\*(?:.*?\*/|.*))*+"  # spaces, semicolons, comments
_readers = WeakValues()
# Held while a connection is created.  Nothing waits longer for it: a signal handler may have interrupted the holder.
_opening = allocate_lock()
_OPENING_WAIT = 0.1  # seconds


class Reader:
    """A journal that is open for reading only.

    It holds no transaction between two calls, so that a recorder's WAL never grows because of it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _check(path)
        try:
            self._begin()
        except apsw.NotADBError as error:
            raise ForeignJournal(f"{path} is not a localops journal, or its first page is damaged") from error
        except apsw.CorruptError as error:
            raise DamagedJournal(f"{path} is damaged: {error}; `localops repair` saves what it still holds") from error
        except apsw.Error as error:
            raise JournalError(f"{path} cannot be read: {reason(error)}") from error
        _readers[id(self)] = self

    def _begin(self) -> None:
        self._connection = self._open()
        if self._connection.pragma("application_id") != APPLICATION_ID:
            raise ForeignJournal(f"{self.path} is not a localops journal")
        self._schema: int = self._connection.pragma("user_version")
        self.is_of_older_schema = self._schema < SCHEMA  # it was not opened by a writer of this release yet
        if self.is_of_older_schema:
            self._connection.execute(temporary_views(self._schema)).fetchall()
        if self._lost is not None:
            self._mark_lost(*self._lost)

    def _mark_lost(self, before: lost_wal.Index, pages: int) -> None:
        """Write that sessions may have lost rows to a spill file, as a reader does not write to the journal."""
        file = spill.Spill(os.path.dirname(self.path))
        for row in lost_wal.marks(self._connection.execute, self.path, before, pages):
            file.write(row)

    def _open(self) -> apsw.Connection:
        bar_lost(self.path, 1.0)
        self._shared: int | None = None
        self._lost: tuple[lost_wal.Index, int] | None = None
        before = left_by_crash(self.path)
        try:
            connection = connect(self.path, apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(5_000)
            connection.execute("select 1 from sqlite_schema").fetchall()
            self._shared = self._shared_now()
            if before is not None and (pages := lost_wal.pages_lost(self.path, before)):
                self._lost = before, pages
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            # If the folder cannot be written and the WAL is empty, the file does not change while we read it.
            wal = self.path + "-wal"
            if host.exists(wal) and os.path.getsize(wal):
                raise
            connection = open_unchanging(self.path)
        return connection

    def _shared_now(self) -> int | None:
        try:
            return os.stat(self.path + "-shm").st_ino
        except OSError as error:
            pass_on(error)
            # No process has the journal open, and the disk is read-only.
            return None

    def _follow(self) -> None:
        """Open the file again if its -shm was removed: the writers use a new one, and ours is out of date."""
        if self._shared is None or self._shared_now() == self._shared or self._connection.in_transaction:
            return
        if host.exists(self.path):
            # Close it first, as two connections of a process to one file share its -shm.
            self._connection.close()
            self._begin()

    def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a named query."""
        return self.ask(statements("queries.sql")[name], values)

    def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
        """Return the first row of a named query, or None."""
        records = self.all(name, **values)
        return records[0] if records else None

    def ask(self, statement: str, values: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one of our own statements as a list, so that the read ends before they are used."""
        self._follow()
        try:
            return self._connection.execute(statement, values).fetchall()
        except apsw.CorruptError as error:
            raise DamagedJournal(f"{self.path} is damaged: {error}; see `localops repair`") from error
        except apsw.SQLError as error:
            # The journal may have other tables or columns.
            if self._schema > SCHEMA:
                raise NewerJournal(
                    f"a newer localops wrote {self.path} (schema {self._schema}, this one knows {SCHEMA}): "
                    f"upgrade localops to read it ({error})"
                ) from error
            raise

    def some(self, statement: str, values: Mapping[str, object], most: int) -> tuple[list[tuple[Any, ...]], bool]:
        """Return rows of a statement until their last columns add up to `most` bytes, and whether these are all."""
        rows_read: list[tuple[Any, ...]] = []
        size = 0
        self._follow()
        cursor = self._connection.execute(statement, values)
        try:
            for row in cursor:
                if size >= most:
                    return rows_read, False
                rows_read.append(row)
                size += len(row[-1] or "")
        except apsw.CorruptError as error:
            raise DamagedJournal(f"{self.path} is damaged: {error}; see `localops repair`") from error
        finally:
            cursor.close()
        return rows_read, True

    def stream(self, after: int = 0, many: int = 500) -> Iterator[Stored]:
        """Yield every row after a seq; each page of `many` rows is read separately."""
        # Imported here, as no recorder streams a journal.
        from localops.journal.stored import named

        while page := named(self.ask(_PAGE, (after, many))):
            after = page[-1].seq
            yield from page

    def console(
        self,
        statement: str,
        *,
        seconds: float = 10.0,
        most: int = 1_000_000,
        tables: Mapping[str, Table] | None = None,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run untrusted SQL, which can only read this journal; return its column names and rows.

        SQLite enforces that: by a read-only connection, an authorizer that allows SELECT only, limits, and a deadline.
        The statement can also read `tables`, which are temporary.
        """
        for name, (columns, records) in (tables or {}).items():
            self._connection.execute(f"create temp table {name}({', '.join(columns)})")
            places = ", ".join("?" * len(columns))
            self._connection.executemany(f"insert into temp.{name} values({places})", records)
        try:
            return self._console(statement, seconds, most)
        finally:
            for name in tables or ():
                self._connection.execute(f"drop table temp.{name}")

    def _console(self, statement: str, seconds: float, most: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        _confine(self._connection, time.monotonic() + seconds)
        cursor = self._connection.cursor()
        names: list[str] = []

        def alone(_: object, first: str, __: object) -> bool:
            """Refuse a second statement; SQLite calls this with the first one before it runs."""
            import re  # here, as no statement of ours runs this

            if re.compile(_BLANK).fullmatch(statement, len(first)) is None:
                raise QueryRefused("run one statement at a time: there is another one after the first")
            cursor.exec_trace = None
            names.extend(column[0] for column in cursor.get_description())  # not available later if there are no rows
            return True

        cursor.exec_trace = alone
        try:
            cursor.execute(statement)
            return names, list(islice(cursor, most))
        except apsw.InterruptError as error:
            raise QueryRefused(f"the query was stopped after {seconds:g} s: narrow it, or give it more time") from error
        except apsw.AuthError as error:
            raise QueryRefused(f"the journal can only be read here ({error})") from error
        except apsw.Error as error:
            where = "; `localops help journal` lists tables, views and columns" if "no such " in str(error) else ""
            raise QueryRefused(f"{error}{where}") from error
        finally:
            cursor.close(True)
            self._connection.authorizer = None
            self._connection.set_progress_handler(None)

    def faults(self) -> list[str]:
        """Return what SQLite reports about the structure of the file; an empty list if it is intact."""
        try:
            problems = [str(line) for (line,) in self.ask("pragma quick_check(20)")]
        except DamagedJournal as error:
            return [str(error)]
        return [] if problems == ["ok"] else problems

    def backup(self, path: str) -> None:
        """Write the current state of the journal to a new file that only the user can read.

        The copy is one compact file without a WAL; a recorder that opens it gives it a new journal id.
        """
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        try:
            self._connection.execute("vacuum into ?", (sqlite_name(path)[0],))
            copy = connect(path, apsw.SQLITE_OPEN_READWRITE)
            try:
                copy.execute("insert or replace into meta values('place', 'copy')")
            finally:
                copy.close()
            host.sync_folder(os.path.dirname(path) or ".")
        except apsw.CorruptError as error:
            os.unlink(path)
            raise DamagedJournal(f"{self.path} is damaged: {error}; see `localops repair`") from error
        except BaseException:
            os.unlink(path)
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def numbered(names: Sequence[str]) -> list[str]:
    """Return column names as unique keys: a repeated name, as in a join, gets a number.

    >>> numbered(["id", "id", "name", "id"])
    ['id', 'id_2', 'name', 'id_3']
    """
    keys: list[str] = []
    for name in names:
        key, number = name, 2
        while key in keys:
            key, number = f"{name}_{number}", number + 1
        keys.append(key)
    return keys


def _check(path: str) -> None:
    """Refuse files that SQLite must not open: it would wait for a pipe, and delete the WAL of an empty file."""
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no journal at {path}") from None
    except OSError as error:
        pass_on(error)
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        what = "a folder" if stat.S_ISDIR(facts.st_mode) else "not a plain file"
        raise ForeignJournal(f"{path} is {what}, so it is not a journal")
    if not facts.st_size and is_cut(path):
        raise DamagedJournal(f"{path} is empty, but rows are in its WAL: `localops repair` saves them")
    if not facts.st_size:
        raise EmptyJournal(f"{path} is empty: nothing has been recorded there")


def is_cut(path: str) -> bool:
    """Return whether the file is empty although its WAL has rows."""
    try:
        return os.path.getsize(path) == 0 and os.path.getsize(path + "-wal") > 0
    except OSError as error:
        pass_on(error)
        return False


def connect(path: str, flags: int, vfs: str | None = None) -> apsw.Connection:
    """Return a connection to a file; its name may be any bytes."""
    name, is_uri = sqlite_name(path)
    has_lock = _opening.acquire(timeout=_OPENING_WAIT)
    try:
        return apsw.Connection(name, flags=flags | (apsw.SQLITE_OPEN_URI if is_uri else 0), vfs=vfs)
    finally:
        if has_lock:
            _opening.release()


def left_by_crash(path: str) -> lost_wal.Index | None:
    """Return what a crash has left in the -shm file of a journal that is not open yet; see `lost_wal.py`."""
    # No thread may open the journal meanwhile: closing our descriptor would free its locks.
    if not host.exists(path + "-shm") or not _opening.acquire(timeout=_OPENING_WAIT):
        return None
    try:
        return None if any(is_open_on(one, path) for one in apsw.connections()) else lost_wal.before_open(path)
    finally:
        _opening.release()


def is_open_on(connection: apsw.Connection, path: str) -> bool:
    """Return whether a connection of this process is on a file."""
    try:
        return connection.filename == path
    except UnicodeDecodeError:
        # Its name is not UTF-8: it may be our file, if our name is not UTF-8 either.
        return sqlite_name(path)[1]
    except apsw.ThreadingViolationError:
        # A thread of the parent was using it.
        return True
    except apsw.ConnectionClosedError:
        return False


def has_our_header(path: str) -> bool:
    """Return whether a file has a journal's header."""
    header = _header(path)
    return header[:15] == b"SQLite format 3" and int.from_bytes(header[68:72], "big") == APPLICATION_ID


def length_in_header(path: str) -> int:
    """Return the size of a file according to its header, without the WAL; 0 if it cannot be read."""
    header = _header(path)
    # The header counts pages; a page size of 1 means 65,536 bytes.
    page = int.from_bytes(header[16:18], "big")
    return int.from_bytes(header[28:32], "big") * (1 << 16 if page == 1 else page)


def _header(path: str) -> bytes:
    """Return the first bytes of a file, read through SQLite's VFS: closing a descriptor of our own would free locks."""
    try:
        file = apsw.VFSFile("", path, [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0])
        try:
            return file.xRead(100, 0)
        finally:
            file.xClose()
    except (apsw.Error, UnicodeEncodeError):
        return b""


def user_message(error: Exception) -> str:
    """Return the message for an error that ends a command: what happened, and what to do."""
    full = f"the disk is full: make room, then do it again; {_SAFE}"
    if isinstance(error, OSError):
        what = full if error.errno == errno.ENOSPC else error.strerror or str(error)
        return f"{os.fsdecode(error.filename)}: {what}" if error.filename else what
    if isinstance(error, apsw.FullError):
        return full
    if isinstance(error, apsw.ReadOnlyError):
        return "the journal can only be read: make its folder writable, then do it again"
    if isinstance(error, apsw.Error):
        return f"SQLite says: {reason(error)}; `localops doctor` looks for the reason"
    return str(error)


def lacks_room(error: BaseException) -> bool:
    """Return whether a write failed because the disk is full, or a quota or a limit of file sizes was reached."""
    return isinstance(error, apsw.FullError | apsw.IOError)


def is_damage(error: BaseException) -> bool:
    """Return whether SQLite reported a damaged page, or a file that is not a database."""
    return isinstance(error, apsw.CorruptError | apsw.NotADBError)


def reason(error: BaseException) -> str:
    """Return the reason of an error in plain words."""
    if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
        return f"the disk is full, and even reading takes {_SHARED}: make room; {_SAFE}"
    words = next((words for kind, words in _REASONS.items() if isinstance(error, kind)), None)
    if words is None and isinstance(error, OSError) and error.strerror:
        words = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return words or str(error)


def open_unchanging(path: str) -> apsw.Connection:
    """Return a connection to a file that does not change, without WAL and locks."""
    from urllib.parse import quote

    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"file:{quote(os.fsencode(path))}?immutable=1", flags=flags)


def close_readers() -> None:
    """Close every reader of this process before a fork."""
    for reader in _readers.values():
        try:
            reader.close()
        except apsw.ThreadingViolationError:
            # Another thread is using it: it stays open in the child.
            pass


_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: 64 << 20,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 100,
    apsw.SQLITE_LIMIT_VDBE_OP: 25_000,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
}
_HARMFUL = frozenset(("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"))


def _confine(connection: apsw.Connection, deadline: float) -> None:
    """Restrict a connection to reading this journal until the deadline."""
    for limit, value in _LIMITS.items():
        connection.limit(limit, value)

    def allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        reads = action in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE, apsw.SQLITE_READ)
        calls = action == apsw.SQLITE_FUNCTION and second not in _HARMFUL
        looks = action == apsw.SQLITE_PRAGMA and first in ("table_info", "table_xinfo", "table_list") and not second
        return apsw.SQLITE_OK if reads or calls or looks else apsw.SQLITE_DENY

    connection.authorizer = allowed
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)


def _renew_lock() -> None:
    """Replace the lock in a forked child: another thread of the parent may have held it."""
    global _opening
    _opening = allocate_lock()


os.register_at_fork(after_in_child=_renew_lock)
