"""Batches of rows for another place, the answer to one, and the receipt that proves its delivery.

Requests to a hub and bundle files have the same format: a header, which is one line of JSON, and then the rows
(`wire.py`).  Nothing here depends on how a batch is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from operator import attrgetter

from localops.encoding import encode
from localops.errors import BundleError
from localops.journal import rows, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any

    from localops.journal.stored import Stored, Unread

    Range = tuple[int, int]


@dataclass(frozen=True)
class Previous:
    """The last row that the receiver was sent before a batch; if it has that, no row is missing between."""

    seq: int
    id: bytes
    phase: int
    sum: int
    session: bytes


@dataclass(frozen=True)
class Batch:
    """Rows of one journal for a receiver; `ranges` are the seqs that count as delivered when it takes all of them."""

    journal: str
    lineage: Sequence[str]  # the ids that the journal had before
    rows: Sequence[Stored]
    ranges: Sequence[Range]
    previous: Previous | None = None
    totals: Sequence[dict[str, Any]] = ()  # of sessions that are complete with these rows
    unread: Mapping[int, Unread] = field(default_factory=dict)  # by seq: rows that came with it and could not be read

    @cached_property
    def digest(self) -> str:
        """The digest of the rows."""
        return digest(map(identity, self.rows))


@dataclass(frozen=True)
class Ack:
    """The answer to a batch: every row that is neither refused nor withheld is stored there for good."""

    refused: dict[int, str] = field(default_factory=dict)  # seq -> why
    receipt: dict[str, Any] | None = None  # signed by the receiver
    peer: str | None = None  # the receiver's id
    stored: int = 0  # rows it did not have before
    differs: Sequence[str] = ()  # sessions whose totals are different there
    forked: bool = False  # the receiver had other rows with these seqs before
    withheld: dict[int, str] = field(default_factory=dict)  # rows not sent, since their files are not here -> why
    later: Collection[int] = ()  # rows not sent, since the receiver has no room for their files: they stay unsent
    size: int = 0  # characters of the content of the rows that it did not have before
    erased: Sequence[str] | None = None  # files of rows that were scrubbed; None: there is nothing to erase


# The version of header, lines, answer and receipt; it grows when an older reader would misread one of them.
WIRE = 1
_SIGNED = (
    "journal",
    "ranges",
    "rows",
    "digest",
    "at_ns",
    "by",
)  # the fields that a receipt's HMAC covers, in this order
# Bytes; the headers of our senders have at most about 600 kB.
MOST_HEADER = 2 << 20
_MOST_LISTED = 60_000  # the most lists, and the most objects
COPY = "copy"  # the holder in a receipt of any machine but a hub, whose receipts have no holder
_KEY_RANDOM = 12  # bytes of an API key; the other four name its hub


def digest(identities: Iterable[tuple[bytes, int, int]]) -> str:
    """Return the SHA-256 of a set of rows, in any order: over their sorted identities and checksums."""
    import hashlib

    return hashlib.sha256(b"".join([b"%b %d %d\n" % item for item in sorted(identities)])).hexdigest()


# The id, phase and checksum of a row; not a function in Python, as it is called for each row of a batch.
identity: Callable[[Stored], tuple[bytes, int, int]] = attrgetter("id", "phase", "sum")


_CONTENT = frozenset(("params", "returns", "reason"))  # keys with a program's content in bookkeeping rows
_COMMENT = "comment"  # keys with content in the body of a score; a note is all content
_MACHINE = "host_env"  # the key of facts about a machine: packages, folders, hardware
_LEFT_OUT = {"metadata_only": True}  # in the body of a row that begins a session, for readers of the remote


def without_content(row: Stored, *, machine: bool = False) -> Stored:
    """Return the row as a metadata-only remote gets it: with figures and names, without content.

    With `machine`, as earlier releases sent it: with the folders, packages and hardware of its machine.
    """
    if row.body is None:
        return row
    if row.kind not in rows.BOOKS:
        kept = None
    elif row.kind in ("video", "metadata") or (row.kind == "host" and not machine):
        # Their bodies are all content, but readers expect an object.
        kept = "{}"
    elif row.kind in ("session", "join", "end", "leave"):
        left_out = _CONTENT if machine else _CONTENT | {_MACHINE}
        fields = {key: value for key, value in _object(row.body).items() if key not in left_out}
        fields |= _LEFT_OUT if row.kind == "session" and not machine else {}
        kept = encode.dumps(fields).decode()
    elif row.kind == "scored" and _COMMENT in (fields := _object(row.body)):
        kept = encode.dumps({key: value for key, value in fields.items() if key != _COMMENT}).decode()
    else:
        return row
    return row.with_body(kept)


def without_content_as_sent(row: Stored) -> tuple[Stored, Stored]:
    """Return the forms in which this release and earlier ones send the row to a metadata-only remote."""
    return without_content(row), without_content(row, machine=True)


def has_content(row: Stored) -> bool:
    """Return whether a metadata-only remote lacks something that a program recorded in this row."""
    if row.body is None or row.kind == "host":
        return False
    if row.kind in ("session", "join", "end", "leave"):
        return not _CONTENT.isdisjoint(_object(row.body))
    return without_content(row).body != row.body


def _object(text: str) -> dict[str, Any]:
    try:
        value = encode.loads(text)
    except ValueError:  # a flipped bit
        return {}
    return value if isinstance(value, dict) else {}


# A batch as bytes, and back


def pack(batch: Batch) -> bytes:
    """Return a batch as bytes: the header, and then the rows, column by column."""
    return encode.dumps(header(batch)) + b"\n" + wire.from_rows(batch.rows)


def header(batch: Batch) -> dict[str, Any]:
    """Return the header of a batch, which describes the rows after it."""
    previous = batch.previous
    return {
        "localops": WIRE,
        "journal": batch.journal,
        "lineage": list(batch.lineage),
        "ranges": [list(pair) for pair in batch.ranges],
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
    """Return the next batch of `lines`, and the rows of it that cannot be read: seq -> why.

    Raise BundleError when the header is invalid, or the rows are not those that it announces.
    """
    iterator = iter(lines)
    fields = _header(next(iterator, b""))
    head, bodies = next(iterator, b""), list(islice(iterator, fields["rows"]))
    if len(bodies) != fields["rows"]:
        raise BundleError(f"expected {fields['rows']} rows, got {len(bodies)}")
    try:
        taken, refused = wire.to_rows(head, bodies)
    except ValueError as error:
        raise BundleError(f"the rows cannot be read: {error}") from error
    try:
        ranges = [(first, last) for first, last in fields["ranges"]]
        previous = fields["previous"] and _previous(fields["previous"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"invalid header: {error}") from error
    unread = wire.identities(head, refused) if refused else {}
    batch = Batch(fields["journal"], fields["lineage"], taken, ranges, previous, fields["totals"], unread)
    if not refused and batch.digest != fields["digest"]:
        raise BundleError("the rows are not those of the header's digest")
    return batch, refused


def _previous(fields: dict[str, Any]) -> Previous:
    id, session = bytes.fromhex(fields["id"]), bytes.fromhex(fields["session"])
    return Previous(fields["seq"], id, fields["phase"], fields["sum"], session)


_HEADER = {"journal": str, "lineage": list, "ranges": list, "rows": int, "digest": str, "totals": list}


def check_header(line: bytes) -> None:
    """Raise BundleError for a header that is larger than our senders write, without parsing it."""
    if len(line) > MOST_HEADER or wire.is_costly(line, _MOST_LISTED, _MOST_LISTED, MOST_HEADER):
        raise BundleError(f"the header has more than {MOST_HEADER} bytes, or {_MOST_LISTED} ranges or totals")


def _header(line: bytes) -> dict[str, Any]:
    check_header(line)
    try:
        fields = encode.loads(line)
    except ValueError as error:
        raise BundleError(f"the first line is not a header: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("localops"), int):
        raise BundleError("the first line is not a header")
    if fields["localops"] != WIRE:
        raise BundleError(f"unknown format: expected {WIRE}, got {fields['localops']}; upgrade the older side")
    wrong = next((key for key, kind in _HEADER.items() if not isinstance(fields.get(key), kind)), None)
    if wrong is not None:
        raise BundleError(f"invalid header: {wrong}: expected {_HEADER[wrong].__name__}")
    if fields["rows"] < 0:
        raise BundleError("invalid header: rows: expected a number ≥ 0")
    return fields


# Receipts


def receipt(
    batch: Batch, *, refused: Iterable[int], at_ns: int, by: str, key: str | None, copy: bool = False
) -> dict[str, Any]:
    """Return the receipt for a batch: its rows are stored here, safe from a power cut.

    `by` is the hub that has them; with `copy` it is a journal on the way to one, and the rows are not delivered yet.
    """
    left = set(refused)
    kept = replace(batch, rows=[row for row in batch.rows if row.seq not in left]) if left else batch
    signed: dict[str, Any] = {
        "journal": batch.journal,
        "ranges": [list(pair) for pair in without(batch.ranges, left)],
        "rows": len(kept.rows),
        "digest": kept.digest,
        "at_ns": at_ns,
        "by": by,
        **({"holder": COPY} if copy else {}),
    }
    return {**signed, "hmac": _hmac(signed, key) if key else None}


def is_signed(receipt: dict[str, Any], key: str) -> bool:
    """Return whether a receipt was signed with this API key, and is unchanged."""
    import hmac

    mac = receipt.get("hmac")
    return isinstance(mac, str) and hmac.compare_digest(mac, _hmac(receipt, key))


def _hmac(receipt: dict[str, Any], api_key: str) -> str:
    import hmac

    # A derived key, so that a receipt reveals nothing that the API key itself is used for.
    key = hmac.digest(api_key.encode(), b"localops receipt", "sha256")
    holder = [receipt["holder"]] if "holder" in receipt else []
    text = encode.dumps([receipt.get(name) for name in _SIGNED] + holder)
    return hmac.new(key, text, "sha256").hexdigest()


# Keys


def new_key(hub: str) -> str:
    """Make an API key that names its hub: a UUID of version 8, the last four bytes of which depend on the hub's id.

    It tells a machine that never connects to the hub whose receipts to accept.
    """
    import os
    from uuid import UUID

    random = bytearray(os.urandom(_KEY_RANDOM))
    random[6] = random[6] & 0x0F | 0x80  # the version
    random[8] = random[8] & 0x3F | 0x80  # the variant
    return str(UUID(bytes=bytes(random) + _hub_tag(bytes(random), hub)))


def is_key_of(key: str, hub: str) -> bool | None:
    """Return whether a hub made this API key; None if the key does not name its hub, as in earlier releases."""
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
    """Return the same seqs in as few ranges as possible, in order.

    >>> merged([(7, 9), (1, 3), (4, 4)])
    [(1, 4), (7, 9)]
    """
    result: list[Range] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def without(ranges: Iterable[Range], seqs: Iterable[int]) -> list[Range]:
    """Return ranges without single seqs.

    >>> without([(1, 4)], [2])
    [(1, 1), (3, 4)]
    """
    return difference(ranges, [(seq, seq) for seq in seqs])


def difference(ranges: Iterable[Range], taken: Iterable[Range]) -> list[Range]:
    """Return ranges without other ranges.

    >>> difference([(1, 10)], [(3, 4), (9, 12)])
    [(1, 2), (5, 8)]
    """
    result: list[Range] = []
    holes = merged(taken)
    # The first hole that may touch the range: both lists are sorted, so each hole is visited once.
    at = 0
    for first, last in merged(ranges):
        while at < len(holes) and holes[at][1] < first:
            at += 1
        nearest = at
        while nearest < len(holes) and holes[nearest][0] <= last:
            low, high = holes[nearest]
            if low > first:
                result.append((first, low - 1))
            first = high + 1
            nearest += 1
        if first <= last:
            result.append((first, last))
        at = max(at, nearest - 1)
    return result


def common(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """Return the seqs that are in both.

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
    """Return the two halves of a batch, to find a refused row by bisection; without totals."""
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
    """Return the batch without some of its rows, and without the totals of sessions that are incomplete then."""
    sessions = {row.session.hex() for row in batch.rows if row.seq in seqs}
    return replace(
        batch,
        rows=[row for row in batch.rows if row.seq not in seqs],
        ranges=without(batch.ranges, seqs),
        totals=[figures for figures in batch.totals if figures["session"] not in sessions],
    )


def previous(batch: Batch) -> Previous:
    """Return the last row of a batch, as the next batch refers to it."""
    row = batch.rows[-1]
    return Previous(row.seq, row.id, row.phase, row.sum, row.session)


def first(batch: Batch, many: int) -> Batch:
    """Return the first `many` rows of a batch, without totals, which may count rows after them."""
    kept = batch.rows[:many]
    return replace(batch, rows=kept, ranges=common(batch.ranges, [(1, kept[-1].seq)]), totals=())
