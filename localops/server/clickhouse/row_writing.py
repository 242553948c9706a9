"""Write rows into a mirror's journal under the seqs that they have, many with one statement."""

from __future__ import annotations

from functools import cache
from itertools import chain, islice

from localops.journal import rows
from localops.journal.stored import Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Execute = Callable[..., Any]

# Rows of one statement: a call for each row takes longer than to insert it.
_TOGETHER = 25


def put_rows(execute: Execute, stored: Iterable[Stored], verb: str = "insert") -> None:
    """Write rows in the open transaction, with a verb such as `insert or replace`."""
    iterator = iter(stored)
    while some := list(islice(iterator, _TOGETHER)):
        if len(some) == _TOGETHER:
            execute(_statement(verb, _TOGETHER), list(chain.from_iterable(some)))
        else:
            for row in some:
                execute(_statement(verb, 1), row)


@cache
def _statement(verb: str, many: int) -> str:
    return rows.insertion(Stored._fields, verb, many)
