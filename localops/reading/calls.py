"""An index of the tool calls of a project by tool and arguments: have these arguments failed before?

It is a derived file, which may be deleted at any time, and holds digests only: what it finds is read from the journal.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple

from localops.encoding import encode
from localops.journal import rows
from localops.journal.derived_file import DerivedFile
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.journal.reader import Reader

FILE = "calls.db"
SCHEMA = 1  # of the index; a file of another schema is replaced
COUNTED = 10_000  # calls up to which they are counted
_BATCH = 5_000  # rows that are indexed at a time: some 30 ms
_SOON = 10_000  # rows that may be indexed while someone waits for an answer


class Past(NamedTuple):
    """What is known of a tool: of its calls with some arguments, and of those of its calls that failed."""

    is_known: bool
    same: int
    same_failed: int
    newest_same: list[tuple[int, int]]
    """The seq of each, newest first, and whether it failed."""
    failed: int
    newest_failed: list[int]
    """The seq of each, newest first."""


class CallIndex:
    """The index of one project; a temporary one in memory where its folder cannot be written."""

    def __init__(self, folder: str, reader: Reader) -> None:
        self._reader = reader
        self._sql = statements("calls.sql")
        self._file = DerivedFile(os.path.join(folder, FILE), self._sql["schema"], SCHEMA)
        journal = reader.ask("select value from meta where key = 'journal'")
        # A journal that was moved or restored gets a new id, and its seqs may be other rows.
        if self._file.ask("select journal from about") != journal:
            self._file.clear()
            self._file.transact(lambda execute: execute("insert into about values(?, 0)", journal[0]))

    def missing(self) -> int:
        """Return how many seqs are not indexed yet, including those of pruned rows."""
        upto = self._file.ask("select upto from about")[0][0]
        return int(self._reader.ask(statements("lists.sql")["last_seq"])[0][0]) - int(upto)

    def catch_up(self) -> int:
        """Index the missing rows if there are few; return how many are missing after that."""
        missing = self.missing()
        if 0 < missing <= _SOON:
            while self.extend():
                pass
            return self.missing()
        return missing

    def extend(self) -> bool:
        """Index the next batch of rows; return whether there may be more."""
        more = False

        def work(execute: Callable[..., Any]) -> None:
            nonlocal more
            more = self._index_batch(execute)

        self._file.transact(work)
        return more

    def _index_batch(self, execute: Callable[..., Any]) -> bool:
        after = execute("select upto from about").fetchone()[0]
        upto = self._reader.ask(self._sql["last_of_batch"], {"after": after, "many": _BATCH})[0][0]
        if upto is None:
            return False
        for row in map(_Indexed._make, self._reader.ask(self._sql["batch"], {"after": after, "upto": upto})):
            if row.kind == "error":
                execute("update call set failed = 1 where id = ?", (row.parent,))
            elif row.phase == rows.OPEN:
                execute("insert or replace into opened values(?, ?)", (row.id, _args_of(row.body)))
            else:
                self._add(execute, row)
        execute("update about set upto = ?", (upto,))
        return True

    def _add(self, execute: Callable[..., Any], row: _Indexed) -> None:
        begun = execute("delete from opened where id = ? returning args", (row.id,)).fetchall()
        args = begun[0][0] if begun else _args_of(row.body)
        values = (row.seq, row.id, digest(row.name or ""), args, 1 if row.failed else 0)
        execute("insert or ignore into call values(?, ?, ?, ?, ?)", values)

    def past(self, tool: str, args: object, *, many: int, before: int | None = None) -> Past:
        """Return what is known of a tool, and of its calls with these arguments; None means any.

        `many` calls are named, of the failed ones those before a seq.
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

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def forget(folder: str) -> None:
    """Delete the index of a project, which is built again when it is next asked."""
    for side in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, FILE + side))


def digest(value: object) -> int:
    """Return a number for a text or for plain data, the same whatever the order of keys; none and {} are the same.

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
