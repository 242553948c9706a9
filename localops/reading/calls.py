"""An index of a project's tool calls by tool and arguments, to find out whether the same call has failed before.

It is a derived file, which may be deleted at any time, and holds only digests; texts are read from the journal.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from localops.encoding import encode
from localops.journal import rows
from localops.reading.row_index import RowIndex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.row_index import Execute

COUNTED = 10_000  # calls are counted up to this number
_BATCH = 5_000  # rows to index at a time: about 30 ms


class Past(NamedTuple):
    """Past calls of a tool: those with the same arguments, and those that failed."""

    is_known: bool
    same: int
    same_failed: int
    newest_same: list[tuple[int, int]]
    """The seq of each, newest first, and whether it failed."""
    failed: int
    newest_failed: list[int]
    """The seq of each, newest first."""


class CallIndex(RowIndex):
    """The index of one project's tool calls."""

    FILE = "calls.db"
    # In version 1, a call whose closing row was stored before its opening row had no arguments.
    SCHEMA = 2
    SOON = 10_000
    STATEMENTS = "calls.sql"

    def _index_after(self, execute: Execute, after: int) -> tuple[int, bool]:
        upto = self._reader.ask(self._sql["last_of_batch"], {"after": after, "many": _BATCH})[0][0]
        if upto is None:
            return after, False
        for row in map(_Indexed._make, self._reader.ask(self._sql["batch"], {"after": after, "upto": upto})):
            if row.kind == "error":
                self._fail(execute, row)
            elif row.phase == rows.OPEN:
                self._open(execute, row)
            else:
                self._add(execute, row)
        return upto, True

    def _open(self, execute: Execute, row: _Indexed) -> None:
        args = _args_of(row.body)
        # If the closing row was stored first, the call is in the index already, without its arguments.
        if not execute("update call set args = ? where id = ? returning 1", (args, row.id)).fetchall():
            execute("insert or replace into opened values(?, ?)", (row.id, args))

    def _fail(self, execute: Execute, error: _Indexed) -> None:
        if error.parent is None:
            return
        if not execute("update call set failed = 1 where id = ? returning 1", (error.parent,)).fetchall():
            execute("insert or ignore into failed_early values(?)", (error.parent,))

    def _add(self, execute: Execute, row: _Indexed) -> None:
        begun = execute("delete from opened where id = ? returning args", (row.id,)).fetchall()
        args = begun[0][0] if begun else _args_of(row.body)
        has_error = execute("delete from failed_early where id = ? returning 1", (row.id,)).fetchall()
        values = (row.seq, row.id, digest(row.name or ""), args, 1 if row.failed or has_error else 0)
        execute("insert or ignore into call values(?, ?, ?, ?, ?)", values)

    def past(self, tool: str, args: object, *, many: int, before: int | None = None) -> Past:
        """Return the past calls of a tool, and those with these arguments (None: do not look for any).

        List `many` calls of each; of the failed ones, those before a seq.
        """
        of_tool = {"tool": digest(tool)}
        same, same_failed, newest_same = 0, 0, list[tuple[int, int]]()
        if args is not None:
            of_args = {**of_tool, "args": digest(args)}
            [(same, same_failed)] = self._file.ask(self._sql["count_same"], {**of_args, "many": COUNTED})
            newest_same = self._file.ask(self._sql["same"], {**of_args, "many": many})
        [(failed,)] = self._file.ask(self._sql["count_failures"], {**of_tool, "many": COUNTED})
        values = {**of_tool, "before": 1 << 62 if before is None else before, "many": many}
        newest_failed = [seq for (seq,) in self._file.ask(self._sql["failures"], values)]
        is_known = bool(self._file.ask(self._sql["any_call"], of_tool))
        return Past(is_known, same, same_failed, newest_same, failed, newest_failed)


def digest(value: object) -> int:
    """Return a hash of a text or of plain data, independent of the order of keys; None and {} are the same.

    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
    True
    """
    text = value.encode("utf-8", "replace") if isinstance(value, str) else encode.sorted_dumps(value or {})
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def _args_of(body: str | None) -> int:
    plain = encode.loads(body) if body else {}
    return digest(plain.get("params") if isinstance(plain, dict) else None)


class _Indexed(NamedTuple):
    """The columns of the statement `batch`."""

    seq: int
    id: bytes
    phase: int
    kind: str
    name: str | None
    parent: bytes | None
    failed: int | None
    body: str | None
