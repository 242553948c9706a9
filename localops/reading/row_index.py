"""The base of the indexes of a project's rows: a derived file that follows the journal in batches."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from localops.journal.derived_file import DerivedFile
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

    from localops.journal.reader import Reader

    Execute = Callable[..., Any]


class RowIndex(ABC):
    """An index of one project; in memory and temporary if the project's folder cannot be written."""

    FILE: ClassVar[str]
    # The version of the index's schema; a file with another version is replaced.
    SCHEMA: ClassVar[int]
    # How many rows may be indexed while a user waits for a response.
    SOON: ClassVar[int]
    # The file with its statements, including `schema`.
    STATEMENTS: ClassVar[str]

    def __init__(self, folder: str, reader: Reader) -> None:
        self._reader = reader
        self._sql = statements(self.STATEMENTS)
        self._file = DerivedFile(os.path.join(folder, self.FILE), self._sql["schema"], self.SCHEMA)
        self._check()

    def _check(self) -> None:
        """Clear the index if it belongs to another journal; a moved, repaired or restored journal has other seqs."""
        journal = self._reader.ask("select value from meta where key = 'journal'")
        if self._file.ask("select journal from about") != journal:
            self._file.clear()
            self._file.transact(lambda execute: execute("insert into about values(?, 0)", journal[0]))

    @property
    def upto(self) -> int:
        """The last indexed seq."""
        return int(self._file.ask("select upto from about")[0][0])

    def missing(self) -> int:
        """Return the number of seqs that are not indexed yet, including those of pruned rows."""
        return int(self._reader.ask(statements("lists.sql")["last_seq"])[0][0]) - self.upto

    def catch_up(self) -> int:
        """Index the missing rows if there are few; return how many are still missing."""
        missing = self.missing()
        if 0 < missing <= self.SOON:
            self.extend()
            return self.missing()
        return missing

    def extend(self, progress: Callable[[int], None] | None = None) -> None:
        """Index all missing rows; call `progress` with the number of newly indexed rows after each batch."""
        more = True
        while more:
            before = self.upto
            more = self.extend_once()
            if progress is not None:
                progress(self.upto - before)

    def extend_once(self) -> bool:
        """Index the next batch of rows; return whether there may be more."""
        more = False

        def work(execute: Execute) -> None:
            nonlocal more
            after = execute("select upto from about").fetchone()[0]
            upto, more = self._index_after(execute, after)
            execute("update about set upto = ?", (upto,))

        self._file.transact(work)
        return more

    @abstractmethod
    def _index_after(self, execute: Execute, after: int) -> tuple[int, bool]:
        """Index a batch of rows after a seq; return the last indexed seq, and whether there may be more rows."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
