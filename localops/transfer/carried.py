"""Carried receipts: not the answer to a batch of this journal, but from a file, or for a bundle that was passed on.

They count as those of a pass do, but a hub that was set back signs for what is carried to it as well.  So the position
of the last direct answer stays what passes compare with the hub, and what was carried since then is kept beside it (in
`meta`), until a pass has compared it too and has sent a batch: the answer to that is the next position.
"""

from __future__ import annotations

from dataclasses import dataclass

from localops.encoding import encode
from localops.journal.sql import statements
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from localops.transfer.bundle import Range

    Execute = Callable[..., Any]

_WIDE = 1 << 62
_VALUE = "select value from meta where key = ?"
_KEEP = "insert or replace into meta values(?, ?)"
_FORGET = "delete from meta where key = ?"
NOTHING: Mapping[str, list[Range]] = {}


@dataclass(frozen=True)
class Carried:
    """Receipts that were carried since the last direct answer of a remote."""

    place: tuple[int, str] | None  # seq and id of the newest row that the remote had when it gave that answer
    ranges: dict[str, list[Range]]  # seqs by journal


def key(remote: str) -> str:
    """Return the key of the carried receipts of a remote."""
    return f"carried {remote}"


def parsed(text: str) -> Carried:
    """Parse a stored text."""
    record = encode.loads(text)
    ranges = {journal: [(first, last) for first, last in pairs] for journal, pairs in record["ranges"].items()}
    return Carried(_place(record["position"]), ranges)


def keep(execute: Execute, remote: str, receipts: Iterable[dict[str, Any]]) -> None:
    """Add carried receipts, in the open transaction; call it before they are kept themselves."""
    text = execute(_VALUE, (key(remote),)).get
    if text is None:
        newest = execute(statements("delivery.sql")["receipts"], {"remote": remote, "many": 1}).fetchone()
        before = Carried(None if newest is None else position(encode.loads(newest[-1])), {})
    else:
        before = parsed(text)
    ranges = dict(before.ranges)
    for receipt in receipts:
        journal = receipt["journal"]
        added = [(first, last) for first, last in receipt["ranges"]]
        ranges[journal] = bundle.merged([*ranges.get(journal, ()), *added])
    _write(execute, remote, before.place, ranges)


def note_direct(execute: Execute, remote: str, receipt: dict[str, Any], compared: Mapping[str, list[Range]]) -> None:
    """Note a direct answer, in the open transaction: it covers the carried receipts that the pass has compared."""
    text = execute(_VALUE, (key(remote),)).get
    if text is not None:
        left = {
            journal: bundle.difference(ranges, compared.get(journal, ()))
            for journal, ranges in parsed(text).ranges.items()
        }
        _write(execute, remote, position(receipt), {journal: ranges for journal, ranges in left.items() if ranges})


def _write(execute: Execute, remote: str, place: tuple[int, str] | None, ranges: dict[str, list[Range]]) -> None:
    if ranges:
        execute(_KEEP, (key(remote), encode.dumps({"position": place, "ranges": ranges}).decode()))
    else:
        execute(_FORGET, (key(remote),))


def position(receipt: dict[str, Any]) -> tuple[int, str] | None:
    """Return seq and id of the newest row that a hub had when it signed a receipt, if the receipt has them."""
    return _place(receipt.get("position"))


def _place(position: Any) -> tuple[int, str] | None:
    if not isinstance(position, list) or list(map(type, position)) != [int, str]:
        return None
    seq, id = position
    return (seq, id) if 0 < seq < _WIDE and len(id) == 32 and set(id) <= set("0123456789abcdef") else None


class Receipts:
    """The check of receipts that were carried to a ledger."""

    def __init__(
        self,
        *,
        newest: int,
        names: Sequence[str],
        hub: str,
        known: list[Range],
        identities: Callable[[list[Range]], Iterable[tuple[bytes, int, int]]],
        key: str | None,
    ) -> None:
        self._newest, self._names, self._known = newest, names, known
        self._identities, self._key = identities, key
        self.hub = hub
        self._counted: list[Range] = []
        self.ranges: list[Range] = []
        self.good: list[tuple[int, dict[str, Any]]] = []

    def take(self, receipt: dict[str, Any]) -> tuple[int, str | None]:
        """Return the number of rows that only this receipt covers, or the reason why it does not count."""
        ranges = self._ranges(receipt)
        reason = self._wrong(receipt, ranges)
        if reason is not None:
            return 0, reason
        count = int(receipt["rows"])
        # Only for new rows: computing a digest reads every row of the ranges.
        if bundle.difference(ranges, self._known):
            rows = list(self._identities(ranges))
            if (len(rows), bundle.digest(rows)) != (receipt.get("rows"), receipt.get("digest")):
                return 0, "it is for other rows than those that are here"
            self._known = bundle.merged([*self._known, *ranges])
            self.ranges += ranges
            self.good.append((count, receipt))
            self.hub = receipt["by"]
        return self._uncounted(count, ranges), None

    def _uncounted(self, count: int, ranges: list[Range]) -> int:
        """Return how many of the rows in some ranges, `count` in all, were not counted before."""
        fresh = bundle.difference(ranges, self._counted)
        self._counted = bundle.merged([*self._counted, *ranges])
        if not fresh:
            return 0
        return count if fresh == bundle.merged(ranges) else sum(1 for _ in self._identities(fresh))

    def _ranges(self, receipt: dict[str, Any]) -> list[Range]:
        """Return the ranges of a receipt; an empty list when they are invalid."""
        try:
            pairs = [(first, last) for first, last in receipt["ranges"]]
        except (KeyError, TypeError, ValueError):
            return []
        good = all(type(first) is int and type(last) is int and 0 < first <= last < _WIDE for first, last in pairs)
        return pairs if good and type(receipt.get("rows")) is int else []

    def _wrong(self, receipt: dict[str, Any], ranges: list[Range]) -> str | None:
        """Return what is wrong with a receipt, apart from its digest."""
        if receipt.get("holder") is not None:
            return (
                "it is from a machine on the way to the hub, and the hub may not have these rows: they stay unsent "
                "until its own receipt comes (on that machine: localops import FILE --deliver REMOTE)"
            )
        if receipt.get("journal") not in self._names:
            return "it is for rows of another journal"
        by = receipt.get("by")
        if not isinstance(by, str) or (self.hub and by != self.hub):
            return "it is from another hub than the one that this remote is"
        if not self.hub and self._key and bundle.is_key_of(self._key, by) is False:
            return "it is from another hub than the one that made the key of this remote"
        if not ranges:
            return "it names no rows"
        if max(last for _, last in ranges) > self._newest:
            return "it names rows that are not here yet"
        return None
