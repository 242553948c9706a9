"""Rows on their way to somewhere else: a batch of them, what was answered, and the receipt that proves it.

One form serves a request to a hub, a file that is carried by hand and what is taken in from either: a header, which
is one line of JSON, and then the rows (`wire.py`).  Nothing here knows how it travels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from localops.encoding import encode
from localops.errors import BundleError
from localops.journal import rows, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any

    from localops.journal.stored import Stored

    Range = tuple[int, int]


@dataclass(frozen=True)
class Previous:
    """The row that the receiver was sent before these, by which it knows that nothing is missing between."""

    seq: int
    id: bytes
    phase: int
    sum: int
    session: bytes


@dataclass(frozen=True)
class Batch:
    """Rows of one journal that somebody lacks; `ranges` are the seqs which are delivered when all are taken."""

    journal: str
    lineage: Sequence[str]  # the ids the journal had before
    rows: Sequence[Stored]
    ranges: Sequence[Range]
    previous: Previous | None = None
    totals: Sequence[dict[str, Any]] = ()  # figures of sessions that are complete with these rows

    @cached_property
    def digest(self) -> str:
        """That of its rows."""
        return digest(map(identity, self.rows))


@dataclass(frozen=True)
class Ack:
    """What became of a batch: everything that is neither refused nor withheld is stored, for good."""

    refused: dict[int, str] = field(default_factory=dict)  # seq -> why
    receipt: dict[str, Any] | None = None  # what the receiver signed
    peer: str | None = None  # who it is
    stored: int = 0  # rows it did not have before
    differs: Sequence[str] = ()  # sessions whose figures are others there
    forked: bool = False  # it has had other rows under these seqs
    withheld: dict[int, str] = field(default_factory=dict)  # rows not sent, since their files are not here -> why


WIRE = 1  # of header, lines, answer and receipt; grows when an older reader would misread one of them
_SIGNED = ("journal", "ranges", "rows", "digest", "at_ns", "by")  # what a receipt's HMAC covers, in this order
MOST_HEADER = 2 << 20  # bytes; those of our senders have some 600 kB at most
_MOST_LISTED = 60_000  # lists, and as many objects
COPY = "copy"  # the holder of a receipt that is not a hub's; a hub's names none
_KEY_RANDOM = 12  # bytes of an API key; the other four name its hub


def digest(identities: Iterable[tuple[bytes, int, int]]) -> str:
    """One word for a set of rows in any order: SHA-256 over their sorted identities and checksums."""
    import hashlib

    return hashlib.sha256(b"".join([b"%b %d %d\n" % each for each in sorted(identities)])).hexdigest()


def identity(row: Stored) -> tuple[bytes, int, int]:
    """Return what a row is known by, and its checksum."""
    return row.id, row.phase, row.sum


_CONTENT = frozenset(("params", "returns", "reason"))  # what was said in rows that keep the books


def without_content(row: Stored) -> Stored:
    """Return the row as a remote for metadata gets it: figures and names stay, what was said is left out."""
    if row.body is None:
        return row
    if row.kind not in rows.BOOKS:
        kept = None
    elif row.kind in ("video", "metadata"):
        kept = "{}"
    elif row.kind in ("session", "join", "end", "leave"):
        told = {key: value for key, value in _object(row.body).items() if key not in _CONTENT}
        kept = encode.dumps(told).decode()
    else:
        return row
    return row.with_body(kept)


def _object(text: str) -> dict[str, Any]:
    try:
        found = encode.loads(text)
    except ValueError:  # a bit of it has flipped
        return {}
    return found if isinstance(found, dict) else {}


# A batch as bytes, and back


def pack(batch: Batch) -> bytes:
    """The header, and then the rows, column by column."""
    return encode.dumps(header(batch)) + b"\n" + wire.from_rows(batch.rows)


def header(batch: Batch) -> dict[str, Any]:
    """What a receiver is told about the rows that follow."""
    previous = batch.previous
    return {
        "localops": WIRE,
        "journal": batch.journal,
        "lineage": list(batch.lineage),
        "ranges": [list(each) for each in batch.ranges],
        "rows": len(batch.rows),
        "digest": batch.digest,
        "previous": previous
        and {
            "seq": previous.seq,
            "id": previous.id.hex(),
            "phase": previous.phase,
            "sum": previous.sum,
            "session": previous.session.hex(),
        },
        "totals": list(batch.totals),
    }


def unpack(lines: Iterable[bytes]) -> tuple[Batch, dict[int, str]]:
    """The next batch that lines hold, and the rows of it that cannot be read: seq -> why.

    BundleError when the header is not one, or the rows are not those it announces.
    """
    each = iter(lines)
    told = _header(next(each, b""))
    head, bodies = next(each, b""), list(islice(each, told["rows"]))
    if len(bodies) != told["rows"]:
        raise BundleError(f"{len(bodies)} rows came, {told['rows']} were announced")
    try:
        taken, refused = wire.to_rows(head, bodies)
    except ValueError as error:
        raise BundleError(f"the rows cannot be read: {error}") from error
    try:
        ranges = [(first, last) for first, last in told["ranges"]]
        previous = told["previous"] and _previous(told["previous"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the header is not as it should be: {error}") from error
    batch = Batch(told["journal"], told["lineage"], taken, ranges, previous, told["totals"])
    if not refused and batch.digest != told["digest"]:
        raise BundleError("the rows are not the ones that were announced")
    return batch, refused


def _previous(told: dict[str, Any]) -> Previous:
    id, session = bytes.fromhex(told["id"]), bytes.fromhex(told["session"])
    return Previous(told["seq"], id, told["phase"], told["sum"], session)


_HEADER = {"journal": str, "lineage": list, "ranges": list, "rows": int, "digest": str, "totals": list}


def check_header(line: bytes) -> None:
    """Raise BundleError for a header with more in it than a sender of ours would put there, before it is read."""
    if len(line) > MOST_HEADER or wire.is_costly(line, _MOST_LISTED, _MOST_LISTED, MOST_HEADER):
        raise BundleError(f"the header has more than {MOST_HEADER} bytes, or {_MOST_LISTED} ranges or totals")


def _header(line: bytes) -> dict[str, Any]:
    check_header(line)
    try:
        told = encode.loads(line)
    except ValueError as error:
        raise BundleError(f"the first line is no header: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get("localops"), int):
        raise BundleError("the first line is no header")
    if told["localops"] != WIRE:
        raise BundleError(f"this is format {told['localops']}; format {WIRE} is known here: one side must be upgraded")
    if any(not isinstance(told.get(key), kind) for key, kind in _HEADER.items()) or told["rows"] < 0:
        raise BundleError("the header lacks something")
    return told


# Receipts


def receipt(
    batch: Batch, *, refused: Iterable[int], at_ns: int, by: str, key: str | None, copy: bool = False
) -> dict[str, Any]:
    """Return what the receiver signs: these rows of this journal are stored here, safe from a power cut.

    `by` is the hub that has them; with `copy` it is a journal on the way to one, and nothing is delivered yet.
    """
    left = set(refused)
    kept = replace(batch, rows=[row for row in batch.rows if row.seq not in left]) if left else batch
    told: dict[str, Any] = {
        "journal": batch.journal,
        "ranges": [list(each) for each in without(batch.ranges, left)],
        "rows": len(kept.rows),
        "digest": kept.digest,
        "at_ns": at_ns,
        "by": by,
        **({"holder": COPY} if copy else {}),
    }
    return {**told, "hmac": _hmac(told, key) if key else None}


def is_signed(found: dict[str, Any], key: str) -> bool:
    """Whether a receipt was signed under this API key, and says what it said then."""
    import hmac

    mac = found.get("hmac")
    return isinstance(mac, str) and hmac.compare_digest(mac, _hmac(found, key))


def _hmac(told: dict[str, Any], api_key: str) -> str:
    import hmac

    key = hmac.digest(api_key.encode(), b"localops receipt", "sha256")
    holder = [told["holder"]] if "holder" in told else []
    text = encode.dumps([told.get(name) for name in _SIGNED] + holder)
    return hmac.new(key, text, "sha256").hexdigest()


# Keys


def new_key(hub: str) -> str:
    """Make an API key that names its hub: a UUID of version 8, the last four bytes of which depend on the hub's id.

    By it a machine that never calls the hub knows whose receipts to accept.
    """
    import os
    from uuid import UUID

    random = bytearray(os.urandom(_KEY_RANDOM))
    random[6] = random[6] & 0x0F | 0x80  # the version
    random[8] = random[8] & 0x3F | 0x80  # the variant
    return str(UUID(bytes=bytes(random) + _hub_tag(bytes(random), hub)))


def is_key_of(key: str, hub: str) -> bool | None:
    """Return whether a hub made this API key; None for one that does not name its hub, as those of earlier releases."""
    from uuid import UUID

    try:
        parsed = UUID(key)
    except ValueError:
        return None
    if parsed.version != 8:
        return None
    return parsed.bytes[_KEY_RANDOM:] == _hub_tag(parsed.bytes[:_KEY_RANDOM], hub)


def _hub_tag(random: bytes, hub: str) -> bytes:
    import hmac

    return hmac.digest(random, f"localops hub {hub}".encode(), "sha256")[: 16 - _KEY_RANDOM]


# Ranges of seq


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same seqs in as few ranges as possible, in order.

    >>> merged([(7, 9), (1, 3), (4, 4)])
    [(1, 4), (7, 9)]
    """
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def without(ranges: Iterable[Range], seqs: Iterable[int]) -> list[Range]:
    """Ranges with single seqs taken out.

    >>> without([(1, 4)], [2])
    [(1, 1), (3, 4)]
    """
    return difference(ranges, [(seq, seq) for seq in seqs])


def difference(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """Ranges with other ranges taken out.

    >>> difference([(1, 10)], [(3, 4), (9, 12)])
    [(1, 2), (5, 8)]
    """
    found: list[Range] = []
    holes = merged(taken)
    at = 0  # of the holes, the first that may touch the range: both are in order, so each is looked at once
    for first, last in merged(ranges):
        while at < len(holes) and holes[at][1] < first:
            at += 1
        nearest = at
        while nearest < len(holes) and holes[nearest][0] <= last:
            low, high = holes[nearest]
            if low > first:
                found.append((first, low - 1))
            first = high + 1
            nearest += 1
        if first <= last:
            found.append((first, last))
        at = max(at, nearest - 1)
    return found


def common(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """What is in both.

    >>> common([(1, 10)], [(3, 4), (9, 12)])
    [(3, 4), (9, 10)]
    """
    held = merged(others)
    return [
        (max(first, low), min(last, high))
        for first, last in merged(ranges)
        for low, high in held
        if low <= last and high >= first
    ]


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The batch as two: what is refused is found by asking about ever less.  Figures of sessions stay behind."""
    low = first(batch, len(batch.rows) // 2)
    seq = low.rows[-1].seq
    high = replace(
        batch,
        rows=batch.rows[len(low.rows) :],
        ranges=common(batch.ranges, [(seq + 1, batch.ranges[-1][1])]),
        previous=None,
        totals=(),
    )
    return low, high


def leave_out(batch: Batch, seqs: Collection[int]) -> Batch:
    """Return the batch without some of its rows, and without the figures of sessions that are not complete then."""
    sessions = {row.session.hex() for row in batch.rows if row.seq in seqs}
    return replace(
        batch,
        rows=[row for row in batch.rows if row.seq not in seqs],
        ranges=without(batch.ranges, seqs),
        totals=[figures for figures in batch.totals if figures["session"] not in sessions],
    )


def previous(batch: Batch) -> Previous:
    """Return the last row of a batch, as the next one names it."""
    row = batch.rows[-1]
    return Previous(row.seq, row.id, row.phase, row.sum, row.session)


def first(batch: Batch, many: int) -> Batch:
    """No more than the first rows of a batch, without the totals: they are not complete with these."""
    kept = batch.rows[:many]
    return replace(batch, rows=kept, ranges=common(batch.ranges, [(1, kept[-1].seq)]), totals=())
