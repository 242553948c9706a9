"""Losses and doubts: facts that contradict the receipts of a remote, in the journal's `meta`.

A *loss* is rows that it lost after they had been pruned here; a person ends it.  A *doubt* is what a prune saw when it
asked a remote about the rows that it had signed for.  It stands until a pass has reached the remote, so that a later
prune, for which the remote is down, does not trust receipts that are known to be wrong.  Which sessions a person has
*deleted* on a remote is kept as well, as a prune does not remove them here.  Of a remote that was *removed* stays which
rows it lacked, and what spoke against its receipts: the removal does not free those rows for a prune.
"""

from __future__ import annotations

from dataclasses import dataclass

from localops import clock
from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any


@dataclass(frozen=True)
class Doubt:
    """A problem that a prune saw on a remote."""

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


def loss_key(remote: str) -> str:
    """Return the key of the loss of a remote."""
    return f"lost {remote}"


def removed_key(remote: str) -> str:
    """Return the key of what a remote lacked when it was removed."""
    return f"removed {remote}"


def deleted_key(remote: str) -> str:
    """Return the key of the sessions that were deleted on a remote; it outlives the remote."""
    return f"deleted {remote}"


def deleted(text: str | None) -> frozenset[bytes]:
    """Return the sessions in a stored text."""
    return frozenset(map(bytes.fromhex, encode.loads(text))) if text else frozenset()


def deleted_text(sessions: Iterable[bytes]) -> str:
    """Return sessions as a text to store."""
    return encode.dumps(sorted(session.hex() for session in sessions)).decode()


def removed_text(ranges: Collection[tuple[int, int]], why: str | None) -> str:
    """Return the text of what a remote lacked when it was removed, and why its receipts were doubted, if they were."""
    return encode.dumps({"ranges": ranges, "why": why}).decode()


def removed(text: str) -> tuple[list[tuple[int, int]], str | None]:
    """Return the ranges and the doubt in a stored text."""
    known = encode.loads(text)
    # Earlier releases kept the ranges alone.
    ranges, why = (known["ranges"], known["why"]) if isinstance(known, dict) else (known, None)
    return [(first, last) for first, last in ranges], why


def loss(text: str | None) -> Loss | None:
    """Return the loss in a stored text, unless it was acknowledged."""
    known = encode.loads(text) if text else {"rows": 0}
    return Loss(known["rows"], known["at_ns"]) if known["rows"] else None


def acknowledged(text: str) -> str:
    """Return the text of a loss with no row to report."""
    return _text({**encode.loads(text), "rows": 0})


def merged(text: str | None, lost: Mapping[bytes, int]) -> tuple[str | None, int]:
    """Return the text of a loss after a check of the remote, None without any, and the number of newly lost rows.

    `lost` has every session that was pruned here and that the remote lacks, with the number of its lost rows.
    """
    if not lost:
        return None, 0
    known: dict[str, Any] = encode.loads(text) if text else {"rows": 0, "sessions": {}}
    by_session = {session.hex(): rows for session, rows in lost.items()}
    # Earlier releases stored ranges of seqs, which do not identify the sessions.
    before = known.get("sessions", by_session)
    news = sum(rows for session, rows in by_session.items() if session not in before)
    reported = sum(rows for session, rows in by_session.items() if session in before) if known["rows"] else 0
    at_ns = clock.now_ns() if news else known["at_ns"]
    return _text({"rows": reported + news, "at_ns": at_ns, "sessions": by_session}), news


def _text(record: dict[str, object]) -> str:
    return encode.dumps(record).decode()
