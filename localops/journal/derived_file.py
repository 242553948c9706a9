"""An SQLite file beside a journal with derived data, which may be deleted: indexes of words and calls."""

from __future__ import annotations

import os
from contextlib import suppress

import apsw

from localops import host
from localops.journal.locks import sqlite_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    Execute = Callable[..., Any]


class DerivedFile:
    """An SQLite file beside a journal with derived data; a damaged file, or one of another schema, is replaced.

    If it cannot be written, the data is kept in memory while the process runs.
    """

    def __init__(self, path: str, script: str, version: int) -> None:
        self._path = path
        self._script = script
        self._version = version
        try:
            self._connection = self._open(path)
        except (apsw.NotADBError, apsw.CorruptError):
            self._connection = self._replace()
        except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError):
            self._path = ":memory:"
            self._connection = self._open(self._path)

    def _open(self, path: str) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOFOLLOW
        if path != ":memory:":
            _create(path)
        name, is_uri = sqlite_name(path)
        connection = apsw.Connection(name, flags=flags | (apsw.SQLITE_OPEN_URI if is_uri else 0))
        try:
            connection.set_busy_timeout(30_000)
            if connection.readonly("main"):
                raise apsw.ReadOnlyError(f"{path} can only be read")
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "normal")
            if connection.pragma("user_version") != self._version:
                _empty(connection, self._script, self._version)
            if path != ":memory:":
                os.chmod(path, 0o600)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace(self) -> apsw.Connection:
        forget(self._path)
        return self._open(self._path)

    def clear(self) -> None:
        """Drop all data, and create the tables again."""
        _empty(self._connection, self._script, self._version)

    def ask(self, statement: str, values: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        return self._connection.execute(statement, values).fetchall()

    def stream(self, statement: str, values: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement as they are read."""
        cursor = self._connection.execute(statement, values)
        try:
            yield from cursor
        finally:
            cursor.close()

    def transact(self, work: Callable[[Execute], None]) -> None:
        """Run `work` in a write transaction."""
        self._connection.execute("begin immediate")
        try:
            work(self._connection.cursor().execute)
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def forget(path: str) -> None:
    """Delete a derived file and SQLite's files beside it; the next reader creates it again."""
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + ending)


def _create(path: str) -> None:
    """Create a file owned by its folder's owner, even if root runs this; SQLite gives -wal and -shm the same owner."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    # Errors are ignored: SQLite will report them when it opens the file.
    with suppress(OSError):
        with suppress(FileExistsError):
            # Only a new file is opened and closed: closing one that SQLite has open would free its locks.
            os.close(os.open(path, flags, 0o600))
        host.keep_owner(path, os.path.dirname(path) or ".")


def _empty(connection: apsw.Connection, script: str, version: int) -> None:
    """Drop every table and create those of the script, in one transaction."""
    connection.execute("begin immediate")
    for (name,) in connection.execute(
        "select name from sqlite_schema where type = 'table' and name not like 'fts\\_%' escape '\\'"
    ).fetchall():
        connection.execute(f'drop table "{name}"')
    connection.execute(script).fetchall()
    connection.pragma("user_version", version)
    connection.execute("commit")
