"""The operations around events: which of them are calls, and which failed.

One statement reads many operations by their ids: first those in which the events happened, then those around these,
and so on.
"""

from __future__ import annotations

from typing import NamedTuple

from localops.encoding import encode
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.journal.reader import Reader

# The most nested operations that are followed outwards.
_DEPTH = 50


class Operation(NamedTuple):
    """An operation, as its rows describe it."""

    id: bytes
    parent: bytes | None
    is_call: int
    failed: int


class Surroundings:
    """A cache of operations from a journal; it does not notice rows that are written later."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._operations: dict[bytes, Operation | None] = {}

    def read(self, ids: Iterable[bytes | None]) -> None:
        """Read operations and those around them, in one statement for all at the same depth."""
        missing = {id for id in ids if id is not None}
        for _ in range(_DEPTH):
            missing -= self._operations.keys()
            if not missing:
                return
            listed = encode.dumps([id.hex() for id in missing]).decode()
            rows = map(Operation._make, self._reader.ask(statements("call_table.sql")["operations"], {"ids": listed}))
            self._operations |= dict.fromkeys(missing) | {operation.id: operation for operation in rows}
            missing = {operation.parent for id in missing if (operation := self._operations[id]) and operation.parent}

    def of(self, id: bytes | None) -> list[Operation]:
        """Return an operation and those around it, from the inside out."""
        self.read([id])
        around: dict[bytes, Operation] = {}
        while id is not None and id not in around and (operation := self._operations.get(id)):
            around[id] = operation
            id = operation.parent
        return list(around.values())
