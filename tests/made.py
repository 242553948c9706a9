"""Rows that tests write into journals; started programs load this alone, without pytest and hypothesis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from localops import clock
from localops.journal import rows
from localops.journal.stored import Stored

SESSION = clock.new_id()


def event(name: str, kind: str = "action", session: bytes = SESSION, **columns: Any) -> rows.Row:
    """A row of a session."""
    at = clock.now_ns()
    return rows.make(kind, session, **{"id": clock.new_id(at), "at_ns": at, "name": name, **columns})


def stored(written: Iterable[rows.Row], first: int = 1) -> list[Stored]:
    """Return rows as a journal gives them back, from a seq on."""
    return [Stored(seq, *row) for seq, row in enumerate(written, first)]


def with_closings_first(written: Iterable[rows.Row]) -> list[rows.Row]:
    """Return rows with the closing row of each operation before its opening row, as imports may store them."""
    return sorted(written, key=lambda row: row[rows.COLUMNS.index("phase")])
