"""Proof of what a store holds: stored bytes are read and their checksums computed again, never only looked up.

A row that does not match its checksum counts as missing, and so does a blob that does not match its name: a machine
that still has it sends it again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from localops.encoding import encode
from localops.journal import blobs, rows, stored
from localops.journal.sql import statements
from localops.transfer import bundle, ingest, scrubbed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.reading.facts import Facts
    from localops.transfer.bundle import Range
    from localops.transfer.scrubbed import Since

    Identity = tuple[bytes, int]
    Summed = tuple[bytes, int, int]

# A session of more rows has no digest: senders ask about its rows one by one.
MOST_DIGESTED = 100_000
# Bytes of blobs that are read in one request; the first blob is always read.
_MOST_HASHED = 256 << 20
_PAGE = 1_000
# Events that a check names for a file that is missing or damaged.
MOST_USES = 5
# In a journal that is a mirror of ClickHouse, the rows of a cold session are not lost.
_IS_MIRROR = "select 1 from sqlite_master where type = 'table' and name = 'cold'"
_COLD = """
select o.seq
from cold c
join total t on t.session = c.session
join event_of o on o.key = t.key and o.seq <= c.upto"""
# Suffix of a damaged blob, which is renamed so that a good one can take its place.
DAMAGED = ".damaged"


def summed(reader: Reader, session: bytes) -> Iterator[Summed]:
    """Return the identities and checksums of a session's undamaged rows."""
    after = 0
    while seqs := [seq for (seq,) in reader.ask(_sql("seqs"), {"session": session, "after": after, "many": _PAGE})]:
        for row in _stored(reader, session, after, seqs):
            if row.is_intact:
                yield bundle.identity(row)
        after = seqs[-1]


def _stored(reader: Reader, session: bytes, after: int, seqs: Sequence[int]) -> Iterator[Stored]:
    """Return a page of a session's rows, without those whose text is damaged."""
    try:
        yield from stored.named(reader.all("events", session=session, after=after, many=len(seqs)))
    except UnicodeDecodeError:
        for seq in seqs:
            with suppress(UnicodeDecodeError):
                yield from stored.named(reader.all("events", session=session, after=seq - 1, many=1))


class Replaced(NamedTuple):
    """A row that was scrubbed here, while the sender asked about its content before the scrub."""

    id: bytes
    phase: int
    since: Since
    files: list[str]  # that it names now


@dataclass
class Compared:
    """The result of comparing rows with a sender's checksums."""

    missing: list[Identity] = field(default_factory=list)  # or damaged
    other: list[Identity] = field(default_factory=list)  # with other contents
    scrubbed: list[Replaced] = field(default_factory=list)


def compare(reader: Reader, identities: Iterable[Summed]) -> Compared:
    """Return which rows are missing or damaged here, have other contents, or were scrubbed since.

    A row counts as here, too, if the sender's checksum is that of the row without its content.
    """
    compared = Compared()
    for id, phase, total in identities:
        row = _intact(reader, id, phase)
        if row is None:
            compared.missing.append((id, phase))
        # Rows of other machines about the same scrub may differ in time and rules.
        elif total not in (row.sum, *(sent.sum for sent in bundle.without_content_as_sent(row))) and not (
            scrubbed.is_about(row)
        ):
            since = scrubbed.since(reader, row, total)
            if since is None:
                compared.other.append((id, phase))
            else:
                # As it was before: it does not come back.
                compared.scrubbed.append(Replaced(id, phase, since, blobs.named([row.body])))
    return compared


def _intact(reader: Reader, id: bytes, phase: int) -> Stored | None:
    try:
        row = stored.one(reader, id, phase)
    except UnicodeDecodeError:
        return None
    return row if row is not None and row.is_intact else None


def missing_blobs(folder: str, digests: Iterable[str]) -> tuple[list[str], int]:
    """Return the blobs that are missing or damaged, and how many of `digests` were checked.

    A damaged one is renamed, so that a good one can take its place.
    """
    missing, looked_at, size = [], 0, 0
    for digest in digests:
        if size >= _MOST_HASHED:
            break
        looked_at += 1
        size += blobs.size_of(folder, digest)
        if not (_is_elsewhere(folder, digest) or _is_in_place(folder, digest)):
            missing.append(digest)
    return missing, looked_at


def _is_in_place(folder: str, digest: str) -> bool:
    path = blobs.path_of(folder, digest)
    try:
        if blobs.is_whole(path, digest):
            return True
        os.replace(path, path + DAMAGED)
    except FileNotFoundError:
        pass
    return False


def _is_elsewhere(folder: str, digest: str) -> bool:
    """Return whether a blob is undamaged in the hub's bucket; if not, remove its note, so that it is sent again."""
    if not blobs.is_elsewhere(folder, digest):
        return False
    is_whole = blobs.flaw(folder, digest) is None
    if not is_whole:
        path = blobs.path_of(folder, digest)
        with suppress(FileNotFoundError):
            os.replace(path + blobs.NOTE, path + DAMAGED)
    return is_whole


def was_damaged(folder: str, digest: str) -> bool:
    """Return whether a blob that is missing was here, and damaged."""
    return os.path.exists(blobs.path_of(folder, digest) + DAMAGED)


@dataclass
class Checked:
    """The result of reading all of a project."""

    project: str
    rows: int = 0
    damaged: list[int] = field(default_factory=list)  # seqs of rows that do not match their checksums
    lost: list[int] = field(default_factory=list)  # seqs of rows that only derived tables still name
    blobs: int = 0  # that rows refer to
    unused: int = 0  # blobs that no row refers to
    missing: list[str] = field(default_factory=list)  # of these, the missing and damaged ones
    uses: dict[str, list[Facts]] = field(default_factory=dict)  # by missing blob: events whose content it is, a few
    machines: int = 0  # journals that rows arrived from
    faults: list[str] = field(default_factory=list)  # what SQLite reports about the structure of the file

    @property
    def figures(self) -> tuple[int, ...]:
        """Return the numbers of rows, damaged and lost rows, blobs, missing blobs and machines."""
        return self.rows, len(self.damaged), len(self.lost), self.blobs, len(self.missing), self.machines

    @property
    def is_whole(self) -> bool:
        """Return whether nothing is missing or damaged."""
        return not (self.lacks or self.faults)

    @property
    def lacks(self) -> bool:
        """Return whether a row or a blob is missing or damaged."""
        return bool(self.damaged or self.lost or self.missing)


def check(project: str, folder: str, reader: Reader) -> Checked:
    """Read every page and every row of a project, and every blob that a row refers to."""
    checked = Checked(project, machines=len(reader.ask(_sql("senders"), {})), faults=reader.faults())
    named: dict[str, None] = {}
    for seq, row in _everything(reader):
        checked.rows += 1
        if row is None or not row.is_intact:
            checked.damaged.append(seq)
        else:
            named.update(dict.fromkeys(blobs.named([row.body])))
    cold = {seq for (seq,) in reader.ask(_COLD)} if reader.ask(_IS_MIRROR) else set()
    checked.lost = [seq for (seq,) in reader.ask(_sql("lost"), {}) if seq not in cold]
    checked.blobs = len(named)
    checked.missing = [digest for digest in named if blobs.flaw(folder, digest)]
    checked.unused = len(blobs.digests(folder).difference(named))
    if checked.missing:
        # A second read: to remember which rows name each file takes much memory, and missing files are rare.
        checked.uses = _uses(reader, checked.missing)
    return checked


def _uses(reader: Reader, digests: Iterable[str]) -> dict[str, list[Facts]]:
    """Return the first events that name each of some blobs, with their sessions."""
    uses: dict[str, list[Facts]] = {digest: [] for digest in digests}
    for _, row in _everything(reader):
        if row is None or not row.is_intact:
            continue
        for digest in dict.fromkeys(blobs.named([row.body])):
            known = uses.get(digest)
            # An operation may name it in both of its rows.
            if known is None or len(known) == MOST_USES or any(use["event"] == rows.id_text(row.id) for use in known):
                continue
            session = rows.id_text(row.session)
            known.append({"session": session, "event": rows.id_text(row.id), "kind": row.kind, "name": row.name})
    return uses


def still_named(reader: Reader, digests: set[str]) -> set[str]:
    """Return those of some blobs that a row refers to."""
    named: set[str] = set()
    for _, row in _everything(reader):
        if row is not None:
            named.update(digests.intersection(blobs.named([row.body])))
            if len(named) == len(digests):
                break
    return named


def _everything(reader: Reader) -> Iterator[tuple[int, Stored | None]]:
    """Return every seq and its row; None for a row whose text is damaged."""
    after = 0
    while seq := reader.ask(_sql("next_seq"), {"after": after})[0][0]:
        try:
            page = stored.named(reader.ask(_sql("all_rows"), {"after": after, "many": _PAGE}))
        except UnicodeDecodeError:
            page = []
        if not page:
            yield from _row_alone(reader, seq)
            after = seq
            continue
        yield from ((row.seq, row) for row in page)
        after = page[-1].seq


def _row_alone(reader: Reader, seq: int) -> Iterator[tuple[int, Stored | None]]:
    """Return one row of a page that contains a damaged one."""
    try:
        page = stored.named(reader.ask(_sql("all_rows"), {"after": seq - 1, "many": 1}))
        yield from ((row.seq, row) for row in page)
    except UnicodeDecodeError:
        yield seq, None


def keeps(reader: Reader, seq: int, id: bytes) -> bool | None:
    """Return whether a row that once was the newest is still here; None if it was pruned.

    A row from before a repair is not: its seq may be the same by chance, while rows below it are lost.
    """
    [(newest,)] = reader.ask(_sql("newest"), {})
    repaired = reader.ask(_sql("repaired"), {})
    if seq > (newest or 0) or (repaired and seq < repaired[0][0]):
        return False
    rows = reader.ask(_sql("id_at"), {"seq": seq})
    return (id,) in rows if rows else None


def retired(reader: Reader, session: bytes, gone_ns: int) -> Facts | None:
    """Return rows, digest and last time of a session that a prune removed; None if it was deleted."""
    # The id of the row about it begins with the time of the removal.
    first = gone_ns // 1_000_000
    low, high = (ms.to_bytes(6) + bytes(10) for ms in (first, first + 1))
    values = {"session": session, "low": low, "high": high, "at_ns": gone_ns}
    for (body,) in reader.ask(_sql("gone_by"), values):
        record = encode.loads(body)
        if record.get("by") == "prune":
            last_ns = record.get("totals", {}).get("last_ns")
            return {"rows": record.get("rows"), "digest": record.get("digest"), "last_ns": last_ns}
    return None


def held(reader: Reader, journals: Iterable[str]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
    """Return what arrived from a journal under all its names, as in the error for a batch after a gap."""
    return ingest.held(row for journal in journals for row in reader.ask(_sql("received_from"), {"journal": journal}))


def _sql(name: str) -> str:
    return statements("hub.sql")[name]
