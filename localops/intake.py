"""Taking rows in that another journal holds: what a hub does with a request, and `localops import` with a file.

A batch comes in whole or not at all, each row once however often it is sent, and never rows of a session that was
deleted here.  What came from whom is kept (`received`), so that a sender that knows more than we hold is told.
"""

from __future__ import annotations

from localops import analytics, blobs, bundle, clock, rows, search
from localops.journal_file import INSERT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import Any

    from localops.bundle import Ack, Batch, Range
    from localops.journal import Journal
    from localops.rows import Row

    Execute = Callable[..., Any]

_KNOWN = "select 1 from id_of where id = ? and phase = ?"
_KNOWN_BETWEEN = "select id, phase from id_of where id between ? and ? limit ?"
_HELD_SEQ = "select seq from id_of where id = ? and phase = ?"
_HELD_ROW = f"select seq, {', '.join(rows.COLUMNS)} from event where seq = ({_HELD_SEQ})"  # noqa: S608
_REPLACE = f"update event set {', '.join(f'{name} = ?' for name in rows.COLUMNS)} where seq = ?"  # noqa: S608
_NEWEST = "select seq, id from event order by seq desc limit 1"
_DELIVERED = "select remote, first, last from delivered where first <= ? and last >= ?"
_SUM = rows.COLUMNS.index("sum")
_CONFLICT = "another row is stored there under this id, and with other contents: it stays"
_GONE = "select 1 from gone where session = ?"
_COVERED = "select 1 from received where journal = ? and last >= ? and first <= ? limit 1"
_RECEIVED = "insert or replace into received values(?, ?, ?, ?, ?, ?)"
_FORGET = "delete from received where journal = ? and last >= ?"
_RECEIVED_FROM = "select first, last, id, phase from received where journal = ? order by last desc"
_MOST_RANGES = 4_000  # of one batch that are remembered: one for each row that a sender of ours puts in
_MARKS = 32  # the newest ends of batches that a sender is told, and as many older ones, ever further apart
_FIGURES = analytics.Totals._fields[:13]  # what both sides must agree on: all but times and seqs


class Apart(Exception):
    """The row before a batch is not here: this journal was set back, or it is another one."""

    def __init__(self, held: list[Range], marks: list[tuple[int, bytes, int]]) -> None:
        super().__init__("the row before these is not here")
        self.held = held  # the seqs of the sender's journal that came in
        self.marks = marks  # seq, id and phase of rows that batches ended with, the newest first


def take(
    journal: Journal,
    batch: Batch,
    *,
    by: str,
    key: str | None = None,
    refused: dict[int, str] | None = None,
    copy: bool = False,
) -> tuple[Ack, int]:
    """Write what is new of a batch, and how many rows belong to sessions deleted here; safe when this returns.

    `refused` are rows of the batch that could not be read; those that contradict a row which is here, and those whose
    files are not here, are put to them.  `copy`: the receipt is that of a machine on the way, not of a hub, and files
    may be missing.  Raises Apart, and writes nothing, when the row that the sender believes to be here is not.
    """
    left = {} if refused is None else refused
    taking = _Taking(journal, batch, left, needs_files=not copy)
    journal.transact(taking.work, full=True)
    if taking.apart is not None:
        raise taking.apart
    if taking.replaced:
        search.forget(journal.folder)
    left.update(taking.conflicts)
    receipt = bundle.receipt(batch, refused=left, at_ns=clock.now_ns(), by=by, key=key, copy=copy)
    receipt["position"] = taking.position
    differs = [told["session"] for told in batch.totals if _differs(journal, told)]
    return bundle.Ack(left, receipt, by, taking.stored, differs, taking.forked), taking.gone


class _Taking:
    """One batch on its way in."""

    def __init__(self, journal: Journal, batch: Batch, refused: dict[int, str], *, needs_files: bool) -> None:
        self.journal, self.batch, self.refused, self.needs_files = journal, batch, refused, needs_files
        self.stored = self.gone = 0
        self.forked = False
        self.apart: Apart | None = None
        self.conflicts: dict[int, str] = {}  # rows that are here with other contents, or whose files are not here
        self.replaced: list[tuple[int, Row]] = []  # rows that are here with less in them: where, and the fuller one
        self.position: list[Any] = []  # seq and id of the newest row here: by it a sender sees that a hub was set back

    def work(self, execute: Execute) -> None:
        previous = self.batch.previous
        if previous and not (execute(_KNOWN, (previous.id, previous.phase)).get or _is_gone(execute, previous.session)):
            names = [self.batch.journal, *self.batch.lineage]
            self.apart = Apart(*held(row for name in names for row in execute(_RECEIVED_FROM, (name,)).fetchall()))
            return
        new = self._new(execute)
        ranges = bundle.without(self.batch.ranges, {**self.refused, **self.conflicts})
        others_from = self._had_others(execute, ranges, new)
        if others_from is not None:  # what is remembered from there on is of other rows: a sender must not count on it
            self.forked = True
            execute(_FORGET, (self.batch.journal, others_from))
        for _, row in new:
            execute(INSERT, row)
        for seq, row in self.replaced:
            execute(_REPLACE, (*row, seq))
            _send_again(execute, seq)
        self.stored = len(new) + len(self.replaced)
        self._remember(execute, ranges)
        newest = execute(_NEWEST).fetchone()
        self.position = [newest[0], newest[1].hex()] if newest else []

    def _had_others(self, execute: Execute, ranges: Sequence[Range], new: Sequence[tuple[int, Row]]) -> int | None:
        """The first seq, if any, under which a new row stands and that came in before, as another row then."""
        journal = self.batch.journal
        if not (new and any(execute(_COVERED, (journal, *each)).get for each in ranges)):
            return None
        return next((seq for seq, _ in new if execute(_COVERED, (journal, seq, seq)).get), None)

    def _new(self, execute: Execute) -> Sequence[tuple[int, Row]]:
        """The rows that are not here yet, each once, without those of sessions that were deleted."""
        numbered = self.batch.rows
        dead = {session for session in {row[2] for _, row in numbered} if _is_gone(execute, session)}
        if dead:
            numbered = [(seq, row) for seq, row in numbered if row[2] not in dead]
            self.gone = len(self.batch.rows) - len(numbered)
        if self.needs_files and (lacking := self._lacking(numbered)):
            self.conflicts |= lacking
            numbered = [(seq, row) for seq, row in numbered if seq not in lacking]
        identities = {row[:2] for _, row in numbered}
        known = self._known(execute, identities)
        if not known and len(identities) == len(numbered):  # nearly always
            return numbered
        new: dict[tuple[bytes, int], tuple[int, Row]] = {}
        for seq, row in numbered:
            if row[:2] in known:
                self._compare(execute, seq, row)
            elif new.setdefault(row[:2], (seq, row))[1] != row:
                self.conflicts[seq] = _CONFLICT
        return list(new.values())

    def _lacking(self, numbered: Iterable[tuple[int, Row]]) -> dict[int, str]:
        """Return the rows whose files are not here: nothing is signed for them, or the sender would let go of both."""
        absent: dict[int, str] = {}
        for seq, row in numbered:
            for digest in blobs.named([row[-1]]):
                if not blobs.is_here(self.journal.folder, digest):
                    absent[seq] = f"its file {digest[:12]}… is not here: a row is taken after its file"
        return absent

    def _known(self, execute: Execute, asked: Collection[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        """Which of these identities are here.  Ids are in order of time, so there is mostly nothing between them."""
        ids = [id for id, _ in asked]
        most = len(ids)
        between = execute(_KNOWN_BETWEEN, (min(ids), max(ids), most)).fetchall() if ids else []
        if len(between) < most:
            return set(between)
        return {identity for identity in asked if execute(_KNOWN, identity).get}

    def _compare(self, execute: Execute, at: int, row: Row) -> None:
        """Look at the row that is here under the identity of one that came, and note what is to become of the latter.

        It takes the other's place when that is the same row without content, or when that has been damaged.
        """
        try:
            seq, *columns = execute(_HELD_ROW, row[:2]).fetchone()
        except UnicodeDecodeError:  # a bit of it has flipped
            seq, columns = execute(_HELD_SEQ, row[:2]).fetchone()[0], []
        stored = tuple(columns)
        if stored == row:
            return
        if not stored or bundle.without_content(row) == stored or _is_damaged(stored, row):
            self.replaced.append((seq, row))
        elif bundle.without_content(stored) != row:
            self.conflicts[at] = _CONFLICT

    def _remember(self, execute: Execute, ranges: Sequence[Range]) -> None:
        ends = dict(self.batch.rows)
        at = clock.now_ns()
        for first, last in ranges[:_MOST_RANGES]:
            row = ends.get(last)
            if row is not None:
                execute(_RECEIVED, (self.batch.journal, first, last, row[0], row[1], at))


def _is_damaged(stored: Row, row: Row) -> bool:
    """Whether the stored row is what is left of the other one."""
    return not rows.intact(stored) and (stored[_SUM] == row[_SUM] or stored[:_SUM] == row[:_SUM])


def _send_again(execute: Execute, seq: int) -> None:
    """No remote of this journal has a row any more that has just become another."""
    for remote, first, last in execute(_DELIVERED, (seq, seq)).fetchall():
        execute("delete from delivered where remote = ? and first = ?", (remote, first))
        for low, high in bundle.without([(first, last)], [seq]):
            execute("insert into delivered values(?, ?, ?)", (remote, low, high))


def _is_gone(execute: Execute, session: bytes) -> bool:
    return execute(_GONE, (session,)).get is not None


def held(received: Iterable[tuple[Any, ...]]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
    """Return what came in from a journal: ranges of its seqs, and rows that batches ended with, the newest first."""
    found = list(received)
    found.sort(key=lambda row: -row[1])
    older, step = [], 1
    at = _MARKS
    while at < len(found):
        older.append(found[at])
        step *= 2
        at += step
    marks = [(last, id, phase) for _, last, id, phase in found[:_MARKS] + older[:_MARKS]]
    return bundle.merged((first, last) for first, last, *_ in found), marks


def _differs(journal: Journal, told: dict[str, Any]) -> bool:
    """Whether a session that the sender calls complete has other figures here; one with rows of others is not asked."""
    session = bytes.fromhex(told["session"])
    own = analytics.totals(journal, session)
    if own.rows > told["rows"]:
        return False
    if own == analytics.NOTHING and journal.one("gone", session=session):
        return False
    return any(told.get(name, mine) != mine for name, mine in zip(_FIGURES, own, strict=False))
