"""The operations around events: which of them are calls, and which failed.

An operation is found by its id alone, which costs the same for one as for many: they are read together, first those
that the events are in, then those around these, and so on.
"""

from __future__ import annotations

from typing import NamedTuple

from localops.encoding import encode
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.journal.reader import Reader

# Operations inside of each other that are followed outwards.
_DEPTH = 50


class Operation(NamedTuple):
    """What the rows of an operation say."""

    id: bytes
    parent: bytes | None
    is_call: int
    failed: int


class Surroundings:
    """The operations that were read from a journal so far; later rows about them are not seen."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._operations: dict[bytes, Operation | None] = {}

    def read(self, ids: Iterable[bytes | None]) -> None:
        """Read operations and those around them, in one statement for all at the same depth."""
        wanted = {id for id in ids if id is not None}
        for _ in range(_DEPTH):
            wanted -= self._operations.keys()
            if not wanted:
                return
            listed = encode.dumps([id.hex() for id in wanted]).decode()
            rows = map(Operation._make, self._reader.ask(statements("call_table.sql")["operations"], {"ids": listed}))
            self._operations |= dict.fromkeys(wanted) | {operation.id: operation for operation in rows}
            wanted = {operation.parent for id in wanted if (operation := self._operations[id]) and operation.parent}

    def of(self, id: bytes | None) -> list[Operation]:
        """Return an operation and those around it, from the inside out."""
        self.read([id])
        around: dict[bytes, Operation] = {}
        while id is not None and id not in around and (operation := self._operations.get(id)):
            around[id] = operation
            id = operation.parent
        return list(around.values())
