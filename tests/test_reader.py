"""Messages of errors of SQLite and the operating system."""

from __future__ import annotations

import errno

import apsw
import pytest

from localops.errors import NotFound
from localops.journal.reader import user_message


def _full() -> Exception:
    """Return SQLite's error for a full disk, from a file that may have a page and no more."""
    connection = apsw.Connection(":memory:")
    connection.execute("create table t(x)")
    connection.pragma("max_page_count", 2)
    with pytest.raises(apsw.FullError) as raised:
        connection.execute("insert into t values(zeroblob(100000))")
    return raised.value


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotFound("no such session"), "no such session"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: make room, then do it again"),
        (OSError(errno.ENOSPC, "No space left on device", b"/a/b"), "/a/b: the disk is full: make room"),
        (_full(), "the disk is full: make room, then do it again"),
        (apsw.BusyError("x"), "SQLite says: another program keeps it locked"),
        (OSError("it is no file"), "it is no file"),
    ],
)
def test_an_error_has_advice(error: Exception, message: str) -> None:
    """No person has to read an errno, or SQLite's own message for a full disk."""
    assert user_message(error).startswith(message)
    assert "Errno" not in user_message(error)
