"""What speaks against the receipts of a remote, kept in the journal's `meta`.

A *loss* is rows that it lost after they had been pruned here; a person ends it.  A *doubt* is what a prune saw when it
asked a remote about the rows that it had signed for.  It stands until a pass has reached the remote, so that a later
prune, for which the remote is down, does not trust receipts that are known to be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doubt:
    """What a prune saw of a remote."""

    why: str
    at_ns: int


@dataclass(frozen=True)
class Loss:
    """Rows that a remote lost after they had been pruned here."""

    rows: int
    at_ns: int  # when it was noticed last


def key(remote: str) -> str:
    """Return the key of the doubt about a remote."""
    return f"doubt {remote}"
