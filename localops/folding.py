"""What is derived from the stream of rows: the tables that fold.sql fills, and can fill again.

When to fold, and in which transaction, is up to the journal.
"""

from __future__ import annotations

from localops.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

DERIVED = ("total", "id_of", "event_of", "unfinished", "milestone", "facet")  # what fold.sql fills

_BOOKS, _PARTS, _PRICES, _OPENS, _MOVES = range(5)  # what `survey` answers, and the statements that are only for that
_ONLY_FOR = {
    "milestones": _BOOKS,
    "stories": _BOOKS,
    "old_tags": _BOOKS,
    "new_tags": _BOOKS,
    "no_tags": _BOOKS,
    "facets": _PARTS,
    "first_prices": _PRICES,
    "begun": _OPENS,
    "moved_starts": _MOVES,
    "settled": _MOVES,
}


def fold(execute: Callable[..., Any], after: int, upto: int) -> None:
    """Take the rows past `after` up to `upto` into what is derived, and move the mark."""
    bounds = {"after": after, "upto": upto}
    holds: Sequence[int] = ()
    for name, statement in statements("fold.sql").items():
        if name == "survey":
            holds = execute(statement).fetchone()
        elif name not in _ONLY_FOR or holds[_ONLY_FOR[name]]:
            execute(statement, bounds)


def forget(execute: Callable[..., Any]) -> None:
    """Empty all that is derived, so that the next fold begins with the first row."""
    for table in DERIVED:
        execute(f"delete from {table}")  # noqa: S608
    execute("update mark set seq = 0")
