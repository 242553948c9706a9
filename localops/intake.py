"""Taking rows in that another journal holds: what a hub does with a request, and `localops import` with a file.

A batch comes in whole or not at all, each row once however often it is sent, and never rows of a session that was
deleted here.  What came from whom is kept (`received`), so that a sender that knows more than we hold is told.
"""

from __future__ import annotations

from localops import analytics, bundle, clock
from localops.journal import INSERT

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
_GONE = "select 1 from gone where session = ?"
_COVERED = "select 1 from received where journal = ? and last >= ? and first <= ? limit 1"
_RECEIVED = "insert or replace into received values(?, ?, ?, ?, ?, ?)"
_FORGET = "delete from received where journal = ? and last >= ?"
_HELD = "select first, last, id, phase from received where journal = ? order by last desc"
_MOST_RANGES = 64  # of one batch that are remembered; what is not is sent again, and known
_MARKS = 32  # the newest ends of batches that a sender is told, and as many older ones, ever further apart
_FIGURES = analytics.Totals._fields[:13]  # what both sides must agree on: all but times and seqs


class Apart(Exception):
    """The row before a batch is not here: this journal was set back, or it is another one."""

    def __init__(self, held: list[Range], marks: list[tuple[int, bytes, int]]) -> None:
        super().__init__("the row before these is not here")
        self.held = held  # the seqs of the sender's journal that came in
        self.marks = marks  # seq, id and phase of rows that batches ended with, the newest first


def take(
    journal: Journal, batch: Batch, *, by: str, key: str | None = None, refused: dict[int, str] | None = None
) -> tuple[Ack, int]:
    """Write what is new of a batch, and how many rows belong to sessions deleted here; safe when this returns.

    `refused` are rows of the batch that could not be read.  Raises Apart, and writes nothing, when the row
    that the sender believes to be here is not.
    """
    left = refused or {}
    taking = _Taking(journal, batch, left)
    journal.transact(taking.work, full=True)
    if taking.apart is not None:
        raise taking.apart
    told = bundle.receipt(batch, refused=left, at_ns=clock.now_ns(), by=by, key=key)
    differs = [told["session"] for told in batch.totals if _differs(journal, told)]
    return bundle.Ack(left, told, by, taking.stored, differs, taking.forked), taking.gone


class _Taking:
    """One batch on its way in."""

    def __init__(self, journal: Journal, batch: Batch, refused: dict[int, str]) -> None:
        self.journal, self.batch, self.refused = journal, batch, refused
        self.stored = self.gone = 0
        self.forked = False
        self.apart: Apart | None = None

    def work(self, execute: Execute) -> None:
        previous = self.batch.previous
        if previous and not (execute(_KNOWN, (previous.id, previous.phase)).get or _is_gone(execute, previous.session)):
            self.apart = Apart(*_held(execute, [self.batch.journal, *self.batch.lineage]))
            return
        new = self._new(execute)
        ranges = bundle.without(self.batch.ranges, self.refused)
        others_from = self._had_others(execute, ranges, new)
        if others_from is not None:  # what is remembered from there on is of other rows: a sender must not count on it
            self.forked = True
            execute(_FORGET, (self.batch.journal, others_from))
        for _, row in new:
            execute(INSERT, row)
        self.stored = len(new)
        self._remember(execute, ranges)

    def _had_others(self, execute: Execute, ranges: Sequence[Range], new: Sequence[tuple[int, Row]]) -> int | None:
        """The first seq, if any, under which a new row stands and that came in before, as another row then."""
        journal = self.batch.journal
        if not (new and any(execute(_COVERED, (journal, *each)).get for each in ranges)):
            return None
        return next((seq for seq, _ in new if execute(_COVERED, (journal, seq, seq)).get), None)

    def _new(self, execute: Execute) -> Sequence[tuple[int, Row]]:
        """The rows that are not here yet, each once, without those of sessions that were deleted."""
        found = self.batch.rows
        dead = {session for session in {row[2] for _, row in found} if _is_gone(execute, session)}
        if dead:
            found = [(seq, row) for seq, row in found if row[2] not in dead]
            self.gone = len(self.batch.rows) - len(found)
        once = {row[:2]: (seq, row) for seq, row in reversed(found)}
        known = self._known(execute, once)
        return [each for identity, each in reversed(once.items()) if identity not in known]

    def _known(self, execute: Execute, asked: Collection[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        """Which of these identities are here.  Ids are in order of time, so there is mostly nothing between them."""
        ids = [id for id, _ in asked]
        most = len(ids)
        between = execute(_KNOWN_BETWEEN, (min(ids), max(ids), most)).fetchall() if ids else []
        if len(between) < most:
            return set(between)
        return {identity for identity in asked if execute(_KNOWN, identity).get}

    def _remember(self, execute: Execute, ranges: Sequence[Range]) -> None:
        ends = dict(self.batch.rows)
        at = clock.now_ns()
        for first, last in ranges[:_MOST_RANGES]:
            row = ends.get(last)
            if row is not None:
                execute(_RECEIVED, (self.batch.journal, first, last, row[0], row[1], at))


def _is_gone(execute: Execute, session: bytes) -> bool:
    return execute(_GONE, (session,)).get is not None


def _held(execute: Execute, journals: Iterable[str]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
    """What came in from a journal under all its names."""
    found = [row for journal in journals for row in execute(_HELD, (journal,)).fetchall()]
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
