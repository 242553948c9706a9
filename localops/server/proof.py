"""Proof of what a store holds: the stored bytes are read and their sums computed anew, never only looked up.

A row whose bytes are not those of its checksum counts as missing, and so does a blob whose bytes are not those of its
name: whoever still has them sends them again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field

from localops.journal import blobs, stored
from localops.journal.sql import statements
from localops.transfer import bundle, ingest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.transfer.bundle import Range

    Identity = tuple[bytes, int]
    Summed = tuple[bytes, int, int]

HERE, MISSING, OTHER = "here", "missing", "other"
MOST_DIGESTED = 100_000  # rows of a session that one digest is made of; more of them are asked for one by one
_MOST_HASHED = 256 << 20  # bytes of blobs that are read for one question, and at least one blob
_PAGE = 1_000
DAMAGED = ".damaged"  # behind the name of a blob that is set aside until a whole one comes


def summed(reader: Reader, session: bytes) -> Iterator[Summed]:
    """Return what the rows of a session are known by, and their checksums: those whose bytes agree with them."""
    after = 0
    while seqs := [seq for (seq,) in reader.ask(_sql("seqs"), {"session": session, "after": after, "many": _PAGE})]:
        for row in _stored(reader, session, after, seqs):
            if row.is_intact:
                yield bundle.identity(row)
        after = seqs[-1]


def _stored(reader: Reader, session: bytes, after: int, seqs: Sequence[int]) -> Iterator[Stored]:
    """Return a page of a session's rows, without those whose text is none any more."""
    try:
        yield from stored.named(reader.all("events", session=session, after=after, many=len(seqs)))
    except UnicodeDecodeError:
        for seq in seqs:
            with suppress(UnicodeDecodeError):
                yield from stored.named(reader.all("events", session=session, after=seq - 1, many=1))


def state(reader: Reader, id: bytes, phase: int, total: int) -> str:
    """Return whether a row is HERE, MISSING (or damaged), or here as an OTHER one; with more in it is HERE, too."""
    try:
        row = stored.one(reader, id, phase)
    except UnicodeDecodeError:
        return MISSING
    if row is None or not row.is_intact:
        return MISSING
    return HERE if total in (row.sum, bundle.without_content(row).sum) else OTHER


def missing_blobs(folder: str, digests: Iterable[str]) -> tuple[list[str], int]:
    """Return which blobs are not here whole, and how many of those asked for were looked at.

    A damaged one is set aside, so that a whole one can take its place.
    """
    missing, looked_at, size = [], 0, 0
    for digest in digests:
        if size >= _MOST_HASHED:
            break
        looked_at += 1
        path = blobs.path_of(folder, digest)
        try:
            size += os.path.getsize(path)
            if blobs.is_whole(path, digest):
                continue
            os.replace(path, path + DAMAGED)
        except FileNotFoundError:
            pass
        missing.append(digest)
    return missing, looked_at


@dataclass
class Checked:
    """What was found of a project when all of it was read."""

    project: str
    rows: int = 0
    damaged: list[int] = field(default_factory=list)  # seqs of rows whose bytes are not those of their checksums
    blobs: int = 0  # that rows name
    missing: list[str] = field(default_factory=list)  # of these, those that are not here, or not whole
    machines: int = 0  # journals that rows came in from

    @property
    def figures(self) -> tuple[int, int, int, int, int]:
        """Rows, damaged ones, blobs, missing ones, machines."""
        return self.rows, len(self.damaged), self.blobs, len(self.missing), self.machines

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not (self.damaged or self.missing)


def check(project: str, folder: str, reader: Reader) -> Checked:
    """Read every row of a project and every blob that one names."""
    checked = Checked(project, machines=len(reader.ask(_sql("senders"), {})))
    named: dict[str, None] = {}
    for seq, row in _everything(reader):
        checked.rows += 1
        if row is None or not row.is_intact:
            checked.damaged.append(seq)
        else:
            named.update(dict.fromkeys(blobs.named([row.body])))
    checked.blobs = len(named)
    checked.missing = [digest for digest in named if blobs.flaw(folder, digest)]
    return checked


def _everything(reader: Reader) -> Iterator[tuple[int, Stored | None]]:
    """Return every row behind its seq; None for one whose text is none any more."""
    after = 0
    while seq := reader.ask(_sql("next_seq"), {"after": after})[0][0]:
        try:
            page = stored.named(reader.ask(_sql("all_rows"), {"after": after, "many": _PAGE}))
        except UnicodeDecodeError:
            page = []
        if not page:
            yield from _alone(reader, seq)
            after = seq
            continue
        yield from ((row.seq, row) for row in page)
        after = page[-1].seq


def _alone(reader: Reader, seq: int) -> Iterator[tuple[int, Stored | None]]:
    """Return one row, of a page in which one cannot be read."""
    try:
        page = stored.named(reader.ask(_sql("all_rows"), {"after": seq - 1, "many": 1}))
        yield from ((row.seq, row) for row in page)
    except UnicodeDecodeError:
        yield seq, None


def keeps(reader: Reader, seq: int, id: bytes) -> bool | None:
    """Whether the row that once was the newest is still here; None when it was pruned, and nothing can be told."""
    [(newest,)] = reader.ask(_sql("newest"), {})
    if seq > (newest or 0):
        return False
    found = reader.ask(_sql("id_at"), {"seq": seq})
    return found[0][0] == id if found else None


def held(reader: Reader, journals: Iterable[str]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
    """Return what came in from a journal under all its names, as in an answer to a batch behind a gap."""
    return ingest.held(row for journal in journals for row in reader.ask(_sql("received_from"), {"journal": journal}))


def _sql(name: str) -> str:
    return statements("hub.sql")[name]
