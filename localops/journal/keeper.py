"""The interface of a second store for the rows of a journal, such as a hub's database on another engine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from localops.journal.rows import Row

    Execute = Callable[..., Any]

    class Transacting(Protocol):
        """A journal, as far as it runs transactions."""

        def transact(self, work: Callable[[Execute], None], *, full: bool = False, folded: bool = True) -> None:
            """Run `work` in a transaction."""

    class Keeper(Protocol):
        """Stores rows permanently before a transaction commits, and loads them again if the journal lacks them."""

        def begun(self, execute: Execute) -> None:
            """Prepare a transaction that has just begun."""

        def added(self, rows: Sequence[Row], last: int) -> None:
            """Note in a transaction that rows were inserted with consecutive seqs up to `last`.

            Not every inserted row is reported: a keeper looks for others before the commit.
            """

        def replaced(self, seq: int) -> None:
            """Note in a transaction that the row of a seq was replaced."""

        def before_commit(self, execute: Execute) -> None:
            """Store what the transaction has written; an error rolls it back."""

        def rolled_back(self) -> None:
            """Note that a transaction was rolled back, although its rows may be stored already."""

        def before_read(self, journal: Transacting, name: str, values: Mapping[str, object]) -> None:
            """Load the rows that a named query reads."""

        def bring(self, execute: Execute, id: bytes, phase: int) -> bool:
            """Load a row and its session in a transaction; return whether the row exists."""
