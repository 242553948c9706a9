"""Rollups: fold rows into the derived tables (fold.sql), which can be rebuilt at any time, and decide when."""

from __future__ import annotations

from _random import Random

from localops.journal import rows
from localops.journal.reader import SQLiteError
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from localops.journal.journal_file import JournalFile

BATCH = 1_024  # rows folded at a time: about 2 ms for the process that folds, 2 µs per row
DERIVED = ("total", "id_of", "event_of", "unfinished", "milestone", "facet", "scored")  # the tables that fold.sql fills

# The columns of the statement `survey`, and the statements that run only if their column is set.
_BOOKS, _CALLS, _OTHERS, _PRICES, _OPENS, _MOVES, _SCORES = range(7)
_ONLY_FOR = {
    "milestones": _BOOKS,
    "stories": _BOOKS,
    "old_tags": _BOOKS,
    "new_tags": _BOOKS,
    "no_tags": _BOOKS,
    "facets": _CALLS,
    "other_facets": _OTHERS,
    "first_prices": _PRICES,
    "begun": _OPENS,
    "moved_starts": _MOVES,
    "settled": _MOVES,
    "scores": _SCORES,
}


def fold(execute: Callable[..., Any], after: int, upto: int) -> None:
    """Fold the rows after `after` up to `upto` into the derived tables, and move the mark."""
    bounds = {"after": after, "upto": upto}
    holds: Sequence[int] = ()
    for name, statement in statements("fold.sql").items():
        if name == "survey":
            holds = execute(statement).fetchone()
        elif name not in _ONLY_FOR or holds[_ONLY_FOR[name]]:
            execute(statement, bounds)


def forget(execute: Callable[..., Any]) -> None:
    """Empty the derived tables, so that the next fold begins with the first row.

    Also fill the columns with counts from bodies where an earlier release left them empty.
    """
    for name, key in rows.COUNTS_IN_BODY.items():
        count = rows.count_from_body(name)
        execute(f"update event set {name} = {count} where {name} is null and instr(body, '{key}') > 0")  # noqa: S608
    for table in DERIVED:
        execute(f"delete from {table}")  # noqa: S608
    execute("update mark set seq = 0")


class Rollups:
    """Keeps the rollups of a journal up to date: folds every BATCH rows, unless another process does."""

    def __init__(self, file: JournalFile) -> None:
        self.due = 0  # the seq at which this process folds next
        self._file = file
        self._random = Random()

    def begin(self) -> None:
        """Compute when the next fold is due; called when the file was just opened."""
        connection = self._file.connection
        assert connection is not None
        seq = connection.execute("select max(seq) from event").get or 0
        self.due = max(seq, self._next(connection.execute("select seq from mark").get))

    def some(self, seq: int) -> None:
        """Fold a batch, unless another process has done so; if the journal is busy, do it later."""
        patience, self._file.patience = self._file.patience, 0.02
        try:
            mark = self._file.execute("select seq from mark").get
            # Another process has folded; this can be read without the write lock.
            if seq < mark + BATCH:
                self.due = self._next(mark)
            else:
                self._all(BATCH)
        except SQLiteError:
            self._file.roll_back()
            self.due += BATCH // 8
        finally:
            self._file.patience = patience

    def everything(self) -> None:
        """Fold all rows."""
        self._all(1)

    def inside(self, least: int, most: int) -> bool:
        """Fold up to `most` rows in the open transaction, if there are at least `least`; return whether more remain."""
        after, last = self._file.execute("select mark.seq, (select max(seq) from event) from mark").fetchone()
        upto = min(last or 0, after + most)
        self.due = self._next(upto)
        if upto - after < least or not self._file.may_fold:
            return False
        fold(self._file.execute, after, upto)
        return upto < last  # type: ignore[no-any-return]

    def _all(self, least: int) -> None:
        while self._batch(least):
            pass

    def _batch(self, least: int) -> bool:
        """Fold up to eight batches in one transaction; return whether there may be more."""
        try:
            self._file.execute("begin immediate")
            more = self.inside(least, 8 * BATCH)
            self._file.execute("commit")
        except BaseException:
            self._file.roll_back()
            raise
        return more

    def _next(self, mark: int) -> int:
        """Return the seq of the next fold; random, so that processes do not fold together and block each other."""
        return mark + BATCH + self._random.getrandbits(8)
