"""What the indexes of a project's rows have in common: a derived file that follows the journal in batches."""

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
    """An index of one project; a temporary one in memory where its folder cannot be written."""

    FILE: ClassVar[str]
    # Of the index; a file of another schema is replaced.
    SCHEMA: ClassVar[int]
    # Rows that may be indexed while a user waits for an answer.
    SOON: ClassVar[int]
    # The file of its statements, among them `schema`.
    STATEMENTS: ClassVar[str]

    def __init__(self, folder: str, reader: Reader) -> None:
        self._reader = reader
        self._sql = statements(self.STATEMENTS)
        self._file = DerivedFile(os.path.join(folder, self.FILE), self._sql["schema"], self.SCHEMA)
        self._check()

    def _check(self) -> None:
        """Clear the index if it is of another journal: one that was moved, repaired or restored has other seqs."""
        journal = self._reader.ask("select value from meta where key = 'journal'")
        if self._file.ask("select journal from about") != journal:
            self._file.clear()
            self._file.transact(lambda execute: execute("insert into about values(?, 0)", journal[0]))

    @property
    def upto(self) -> int:
        """The last seq that is indexed."""
        return int(self._file.ask("select upto from about")[0][0])

    def missing(self) -> int:
        """Return how many seqs are not indexed yet, including those of pruned rows."""
        return int(self._reader.ask(statements("lists.sql")["last_seq"])[0][0]) - self.upto

    def catch_up(self) -> int:
        """Index the missing rows if there are few; return how many are missing after that."""
        missing = self.missing()
        if 0 < missing <= self.SOON:
            self.extend()
            return self.missing()
        return missing

    def extend(self, progress: Callable[[int], None] | None = None) -> None:
        """Index all missing rows; call `progress` with the number of new ones after each batch."""
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
        """Index a batch of the rows after a seq; return the last seq that is indexed, and whether there may be more."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
