"""What keeps the rows of a journal elsewhere as well, as a hub's store on another engine does."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from localops.journal.rows import Row

    Execute = Callable[..., Any]

    class Transacting(Protocol):
        """A journal, for who only runs transactions."""

        def transact(self, work: Callable[[Execute], None], *, full: bool = False, folded: bool = True) -> None:
            """Run `work` in a transaction."""

    class Keeper(Protocol):
        """Keeps rows for good before a transaction commits, and brings back rows that only it has."""

        def begun(self, execute: Execute) -> None:
            """Prepare a transaction that has just begun."""

        def added(self, rows: Sequence[Row], last: int) -> None:
            """Note in a transaction that rows were inserted one after another, and the seq of the last one.

            It need not be called for every row: a keeper checks whether it knows all that were added.
            """

        def replaced(self, seq: int) -> None:
            """Note in a transaction that the row of a seq was replaced."""

        def before_commit(self, execute: Execute) -> None:
            """Keep what the transaction has written; an error rolls it back."""

        def rolled_back(self) -> None:
            """Note that a transaction was rolled back; what it has written may be kept."""

        def before_read(self, journal: Transacting, name: str, values: Mapping[str, object]) -> None:
            """Bring back the rows that a named query reads."""

        def bring(self, execute: Execute, id: bytes, phase: int) -> bool:
            """Bring back a row and its session in a transaction; return whether there is such a row."""
