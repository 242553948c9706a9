"""Rows that tests write into journals; started programs load this alone, without pytest and hypothesis."""

from __future__ import annotations

from typing import Any

from localops import clock, rows

SESSION = clock.new_id()


def event(name: str, kind: str = "action", session: bytes = SESSION, **columns: Any) -> rows.Row:
    """A row of a session."""
    at = clock.now_ns()
    return rows.make(kind, session, **{"id": clock.new_id(at), "at_ns": at, "name": name, **columns})
