"""The record, for each remote, of the rows it has, the rows it lacks, and its answers.

The rows that a remote has are kept as ranges of seq.  A row is *unsent* when it is in no range and not parked.  So
after a filtered pass, a refused row or a killed pass, no row is skipped, and none is sent twice.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from localops import clock
from localops.encoding import encode
from localops.journal import blobs, stored
from localops.journal.sql import statements
from localops.journal.stored import Stored, named
from localops.reading import analytics
from localops.transfer import bundle, carried, clocks, doubts, scrubbed
from localops.transfer.bundle import Batch, Previous
from localops.transfer.doubts import Doubt, Loss
from localops.transfer.held_back import HeldBack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from localops.journal.journal import Journal
    from localops.journal.reader import Reader
    from localops.transfer.bundle import Ack, Range

    Execute = Callable[..., Any]

_PAGE = 256  # rows read at a time while a batch is filled
_MOST_ROWS, _MOST_SIZE = 4_000, 4 << 20  # of a batch that has grown
_LATE = 86_400_000_000_000  # nanoseconds
# Nanoseconds between two checks of whether a hub still has what it signed for, by passes that run unattended.
_CHECKED_EVERY = 3_600_000_000_000
_TEXTS = ("kind", "name", "model", "tags", "body")
_AS_BYTES = ", ".join(f"cast({name} as blob)" if name in _TEXTS else name for name in Stored._fields)
_KEEP_RECEIPT = "insert into receipt(remote, at_ns, rows, body) values(?, ?, ?, ?)"
_KEEP_CONTACT = "insert or replace into contact values(?, ?, ?, ?, ?)"
_KEEP_META = "insert or replace into meta values(?, ?)"
_FORGET_META = "delete from meta where key = ?"
_FORGET_WAITING = "delete from parked where remote = ? and seq between ? and ? and reason = ?"
MOST_TOTALS = 1_000  # sessions whose totals are sent with the last batch


@dataclass
class Limits:
    """The size of a batch, and which rows go into it; read again for each batch."""

    rows: int = 2_000
    size: int = 2 << 20  # bytes, about
    session: bytes | None = None  # only of this one
    ended_only: bool = False  # not of sessions that may still run
    metadata_only: bool = False  # without content
    scrubs: bool = False  # the receiver can replace rows that were scrubbed: they go first
    grows: bool = False  # on a fast connection: large batches cost less, while small ones lose less when one fails

    def grow(self) -> None:
        """Double the size of the next batch, up to what fits the memory of a small machine."""
        self.rows, self.size = min(2 * self.rows, _MOST_ROWS), min(2 * self.size, _MOST_SIZE)


@dataclass(frozen=True)
class Waiting:
    """The amount that a remote still lacks, and the number of parked rows."""

    rows: int
    bytes: int
    oldest_ns: int | None
    parked: int
    scrubbed: int  # rows that the remote has as they were before a scrub, and gets again


@dataclass(frozen=True)
class Contact:
    """The last result of a remote."""

    peer: str | None = None
    ok_ns: int | None = None
    failed_ns: int | None = None
    error: str | None = None


class Parked(NamedTuple):
    """A row that a remote does not take."""

    remote: str
    seq: int
    final: bool  # refused for good; otherwise tried again with each pass
    reason: str
    at_ns: int
    id: bytes | None
    phase: int | None
    session: bytes | None
    kind: str | None
    name: str | None

    @property
    def is_scrubbed(self) -> bool:
        """Return whether the remote has it as it was before a scrub: the next pass replaces it there."""
        return self.reason == scrubbed.WAITS

    @property
    def why(self) -> str:
        """Return the reason, in words for a person."""
        return scrubbed.REPLACED_NEXT if self.is_scrubbed else self.reason


def statement(name: str) -> str:
    """Return a statement of delivery.sql."""
    return statements("delivery.sql")[name]


class Ledger:
    """The record of what one remote has of one journal."""

    def __init__(self, reader: Reader, folder: str, remote: str) -> None:
        self.reader, self.folder, self.remote = reader, folder, remote
        self._compared = carried.NOTHING

    # What it lacks

    def ask(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement of delivery.sql."""
        return self.reader.ask(statement(name), values)

    def newest(self) -> int:
        """Return the seq of the newest row; 0 of an empty journal."""
        return int(self.ask("newest")[0][0] or 0)

    def delivered(self) -> list[Range]:
        """Return the seqs that the remote has."""
        return bundle.merged((first, last) for first, last in self.ask("delivered", remote=self.remote))

    def gaps(self, *, upto: int | None = None) -> list[Range]:
        """Return the seqs to be sent, in order, up to a seq, by default that of the newest row."""
        taken = ((first, last) for first, last in self.ask("taken", remote=self.remote))
        newest = self.newest() if upto is None else upto
        return bundle.difference([(1, newest)], taken) if newest else []

    def has_work(self) -> bool:
        """Return whether there is anything to send, or to try again."""
        return bool(self.gaps()) or any(not row.final for row in self.parked())

    def waiting(self) -> Waiting:
        """Return how much the remote lacks."""
        measured = [self.ask("waiting", first=first, last=last)[0] for first, last in self.gaps()]
        oldest = [since for _, _, since in measured if since is not None]
        parked = self.parked()
        scrubs = sum(row.is_scrubbed for row in parked)
        return Waiting(
            sum(rows for rows, _, _ in measured),
            sum(size or 0 for _, size, _ in measured),
            min(oldest, default=None),
            len(parked) - scrubs,
            scrubs,
        )

    def waiting_files(self) -> int:
        """Return the bytes of the files that unsent rows name; the remote may have some of them already."""
        if not blobs.size(self.folder):
            return 0
        named: set[str] = set()
        for first, last in self.gaps():
            after = first - 1
            while page := self.ask("with_blobs", after=after, last=last, many=_PAGE):
                after, _ = page[-1]
                named.update(blobs.named(body.decode(errors="replace") for _, body in page))
        return sum(blobs.size_of(self.folder, digest) for digest in named)

    def batches(self, limits: Limits) -> Iterator[Batch]:
        """Yield batches of what the remote lacks, in order; each is read only when it is needed.

        A batch may span many gaps between what the remote has.  A batch without rows is a gap whose rows were pruned.
        Rows that are added meanwhile are in the next call's batches.
        """
        early: list[Range] = []
        for out_of_turn in self._scrubbed(limits) if limits.scrubs else ():
            early += out_of_turn.ranges
            yield out_of_turn
        filling = _Filling(self, limits)
        for first, last in bundle.difference(self.gaps(), early):
            after = first - 1
            while after < last:
                page = self._page(after, last, filling)
                if not page:
                    if limits.session is None and (alone := filling.pass_over((after + 1, last))):
                        yield alone
                    break
                filling.add(page, after)
                after = page[-1].seq
                if filling.is_full and (batch := filling.take()):
                    yield batch
        if batch := filling.take():
            yield batch

    def _scrubbed(self, limits: Limits) -> Iterator[Batch]:
        """Yield batches of rows that were scrubbed, each beside the row about that, which the remote lacks."""
        about = scrubbed.all_of(self.reader)
        lacking = bundle.difference(((each.seq, each.seq) for each in about), self.delivered())
        held_back = {row.seq for row in self.parked() if row.reason != scrubbed.WAITS}
        seqs = {seq for first, last in lacking for seq in range(first, last + 1)} - held_back
        rows: dict[int, Stored] = {}
        size = 0
        for pair in scrubbed.pairs(self.reader, (each for each in about if each.seq in seqs)):
            if rows and (len(rows) + len(pair) > limits.rows or size > limits.size):
                yield self._out_of_turn(rows, limits)
                rows, size = {}, 0
            rows.update((row.seq, row) for row in pair)
            size += sum(250 + 2 * len(row.body or "") for row in pair)
        if rows:
            yield self._out_of_turn(rows, limits)

    def _out_of_turn(self, rows: dict[int, Stored], limits: Limits) -> Batch:
        """Return a batch of single rows."""
        journal, *lineage = self.names()
        sent = [bundle.without_content(row) if limits.metadata_only else row for _, row in sorted(rows.items())]
        ranges = bundle.merged((seq, seq) for seq in rows)
        return Batch(journal, lineage, sent, ranges, self.before(sent[0].seq, limits))

    def flaws(self, seqs: Iterable[int]) -> dict[int, str]:
        """Return the rows that cannot be sent because a file is missing or damaged: seq -> why."""
        flawed = {}
        for row in self.stored(sorted(seqs)):
            reasons = (blobs.flaw(self.folder, digest) for digest in blobs.named([row.body]))
            if reason := next(filter(None, reasons), None):
                flawed[row.seq] = reason
        return flawed

    def stored(self, seqs: Iterable[int]) -> list[Stored]:
        """Return these rows, without those that are not here any more."""
        return [row for seq in seqs for row in self._rows("rows", after=seq - 1, upto=seq, many=1)]

    def names(self) -> list[str]:
        """Return the id of the journal, and those that it had before, the last one first."""
        return [self._meta("journal") or "", *(self._meta("lineage") or "").split()]

    def _meta(self, key: str) -> str | None:
        values = self.ask("meta", key=key)
        return str(values[0][0]) if values else None

    def _page(self, after: int, last: int, filling: _Filling) -> list[Stored]:
        """Return rows after a seq, up to another or until the batch is full."""
        page: list[Stored] = []
        while not filling.is_full:
            some = self._next_rows(after, last, min(_PAGE, filling.rows_left), filling.limits.session)
            for row in some:
                if not filling.count(250 + 2 * (len(row.body or "") + len(row.tags or ""))):
                    break
                page.append(row)
            if not some or filling.is_full:
                break
            after = page[-1].seq
        return page

    def _next_rows(self, after: int, last: int, many: int, session: bytes | None) -> list[Stored]:
        if session is None:
            return self._rows("rows", after=after, upto=last, many=many)
        rows = named(self.reader.all("events", session=session, after=after, many=many))
        return [row for row in rows if row.seq <= last]

    def _rows(self, name: str, **values: object) -> list[Stored]:
        """Return the rows of a statement; replace text that is invalid because of a flipped bit.

        A hub refuses such a row by its checksum, and takes the others.
        """
        try:
            return named(self.ask(name, **values))
        except UnicodeDecodeError:
            rows = self.reader.ask(f"select {_AS_BYTES} from ({statement(name)})", values)  # noqa: S608
        return named(
            (_text(value) if column in _TEXTS else value for column, value in zip(Stored._fields, row, strict=True))
            for row in rows
        )

    def before(self, seq: int, limits: Limits) -> Previous | None:
        """Return the last row before a seq that the remote has."""
        for first, last in reversed(self.delivered()):
            if first < seq and (last_rows := self._rows("last_of", first=first, last=min(last, seq - 1))):
                (row,) = last_rows
                sent = bundle.without_content(row) if limits.metadata_only else row
                return bundle.previous(Batch("", (), [sent], ()))
        return None

    def totals(self, sessions: Iterable[bytes], upto: int) -> list[dict[str, Any]]:
        """Return the totals of those sessions that have no row after a seq, and none that the remote does not take."""
        kept_out = {session for (session,) in self.ask("kept_out", remote=self.remote)}
        figures_of = []
        for session in sessions:
            figures = analytics.totals(self.reader, session)
            if figures.rows and figures.last_seq <= upto and session not in kept_out:
                figures_of.append({"session": session.hex(), **figures._asdict()})
            if len(figures_of) == MOST_TOTALS:
                break
        return figures_of

    # What it answered

    def settle(self, journal: Journal, batch: Batch, ack: Ack) -> int:
        """Keep what a remote has taken, refused and signed, in one synced transaction; return the newest row it covers.

        Rows that were withheld are parked, and tried again with each pass.
        """
        newest = 0

        def work(execute: Execute) -> None:
            nonlocal newest
            self._add(execute, bundle.without(batch.ranges, {**ack.refused, **ack.withheld}))
            self._park(execute, ack.refused, final=True)
            self._park(execute, ack.withheld, final=False)
            if ack.receipt is not None:
                taken = len(batch.rows) - len(ack.refused) - len(ack.withheld)
                execute(_KEEP_RECEIPT, (self.remote, clock.now_ns(), taken, _json(ack.receipt)))
                carried.note_direct(execute, self.remote, ack.receipt, self._compared)
            newest = execute("select max(seq) from event").get or 0

        journal.transact(work, full=True, folded=False)
        return newest

    def adopt(self, journal: Journal, batch: Batch, ack: Ack, *, peer: str | None = None) -> int:
        """Mark rows here as delivered that are also in another journal's batch, which this remote has taken.

        Return how many there are.
        """
        seqs = []
        for row in bundle.leave_out(batch, {**ack.refused, **ack.withheld}).rows:
            with suppress(UnicodeDecodeError):  # a flipped bit in ours
                ours = stored.one(self.reader, row.id, row.phase)
                if ours is not None and bundle.identity(ours) == bundle.identity(row):
                    seqs.append(ours.seq)

        def work(execute: Execute) -> None:
            self._add(execute, [(seq, seq) for seq in seqs])
            if ack.receipt is not None:
                carried.keep(execute, self.remote, [ack.receipt])
                execute(_KEEP_RECEIPT, (self.remote, clock.now_ns(), len(seqs), _json(ack.receipt)))

        journal.transact(work, full=True, folded=False)
        self.meet(journal, peer=peer, ok=True)
        return len(seqs)

    def take_receipts(
        self,
        journal: Journal,
        receipts: Iterable[dict[str, Any]],
        *,
        metadata_only: bool = False,
        key: str | None = None,
    ) -> list[tuple[int, str | None]]:
        """Mark the rows of receipts as delivered, if a receipt is this hub's and for exactly the rows that are here.

        The hub is the one of earlier passes, else the one that made the API key, else (if the key does not name its
        hub) the one of the first receipt, which is remembered.  Return for each receipt how many rows it is for that
        none before it was for, or why it does not count.
        """
        was = self.contact()
        checked = carried.Receipts(
            newest=self.newest(),
            names=self.names(),
            hub=(was.peer or "").partition("/")[0],
            known=self.delivered(),
            identities=partial(self.identities, metadata_only=metadata_only),
            key=key,
        )
        results = [checked.take(receipt) for receipt in receipts]

        def work(execute: Execute) -> None:
            self._add(execute, checked.ranges)
            carried.keep(execute, self.remote, [receipt for _, receipt in checked.good])
            for count, receipt in checked.good:
                execute(_KEEP_RECEIPT, (self.remote, clock.now_ns(), count, _json(receipt)))
            if was.peer is None:
                execute(_KEEP_CONTACT, (self.remote, checked.hub, was.ok_ns, was.failed_ns, was.error))

        if checked.good:
            journal.transact(work, full=True, folded=False)
        return results

    def identities(self, ranges: Iterable[Range], *, metadata_only: bool) -> Iterator[tuple[bytes, int, int]]:
        """Yield the identities and checksums of the rows in some ranges, as the remote gets them."""
        for first, last in ranges:
            after = first - 1
            while page := self._rows("rows", after=after, upto=last, many=_PAGE):
                after = page[-1].seq
                for row in page:
                    yield bundle.identity(bundle.without_content(row) if metadata_only else row)

    def _add(self, execute: Execute, ranges: Iterable[Range]) -> None:
        """Add ranges to the delivered ones; merge those that touch."""
        for first, last in bundle.merged(ranges):
            bounds = {"remote": self.remote, "first": first, "last": last}
            touching = execute(statement("touching"), bounds).fetchall()
            for low, _ in touching:
                execute("delete from delivered where remote = ? and first = ?", (self.remote, low))
            # Merged at once, so that a remote nearly always has a single range.
            [(low, high)] = bundle.merged([(first, last), *touching])
            execute("insert into delivered values(?, ?, ?)", (self.remote, low, high))
            execute(_FORGET_WAITING, (self.remote, first, last, scrubbed.WAITS))

    def _replace(self, execute: Execute, ranges: Sequence[Range]) -> None:
        execute("delete from delivered where remote = ?", (self.remote,))
        for first, last in ranges:
            execute("insert into delivered values(?, ?, ?)", (self.remote, first, last))

    def _park(self, execute: Execute, refused: dict[int, str], *, final: bool) -> None:
        for seq, reason in refused.items():
            state = 2 if scrubbed.is_settled(reason) else int(final)
            values = (self.remote, seq, state, reason, clock.now_ns())
            execute("insert or replace into parked values(?, ?, ?, ?, ?)", values)

    def park(self, journal: Journal, refused: dict[int, str], *, final: bool = True) -> None:
        """Park rows that the remote does not take."""
        journal.transact(lambda execute: self._park(execute, refused, final=final), full=True, folded=False)

    def unpark(
        self, journal: Journal, seqs: Iterable[int] | None = None, *, drop: bool = False, dropped: bool = False
    ) -> int:
        """Mark parked rows to be sent again, or (`drop`) never; return how many there were.

        `dropped`: those that were to be sent never, instead of the parked ones.
        """
        rows = parked(self.reader, self.remote, dropped=dropped)
        # Without its scrubbed row, the remote would keep the secret.
        there = {row.seq for row in rows if not (drop and row.is_scrubbed)}
        chosen = sorted(there if seqs is None else there.intersection(seqs))

        def work(execute: Execute) -> None:
            change = "update parked set final = 2" if drop else "delete from parked"
            for seq in chosen:
                execute(f"{change} where remote = ? and seq = ?", (self.remote, seq))

        journal.transact(work, full=True, folded=False)
        return len(chosen)

    def keep_only(self, journal: Journal, ranges: Iterable[Range]) -> int:
        """Mark all delivered rows but those in `ranges` as unsent; return how many seqs that is."""
        kept = list(ranges)
        before: list[Range] = []
        after: list[Range] = []

        def work(execute: Execute) -> None:
            nonlocal before, after
            before, after = self._narrow(execute, lambda delivered: bundle.common(delivered, kept))

        journal.transact(work, full=True, folded=False)
        return _count(bundle.difference(before, after))

    def _narrow(
        self, execute: Execute, narrowed: Callable[[list[Range]], list[Range]]
    ) -> tuple[list[Range], list[Range]]:
        """Replace the delivered ranges by a part of them, in the open transaction; return both."""
        before = bundle.merged(execute(statement("delivered"), {"remote": self.remote}).fetchall())
        after = narrowed(before)
        self._replace(execute, after)
        return before, after

    def set_back(self, journal: Journal, ranges: Iterable[Range], lost: Mapping[bytes, int]) -> tuple[int, int]:
        """Mark rows that the remote lost as unsent: all that it had except the seqs in `ranges`.

        `lost` has the sessions that were pruned here and that the remote lacks as well, as in `keep_loss`.  Return how
        many seqs were marked, and how many rows are lost for good and were not known to be.
        """
        kept = list(ranges)
        loss, news = doubts.merged(self._meta(doubts.loss_key(self.remote)), lost)
        removed: list[Range] = []

        def work(execute: Execute) -> None:
            nonlocal removed
            removed = bundle.difference(*self._narrow(execute, lambda delivered: bundle.common(delivered, kept)))
            self._set_loss(execute, loss)

        journal.transact(work, full=True, folded=False)
        return _count(removed), news

    def keep_loss(self, journal: Journal, lost: Mapping[bytes, int]) -> int:
        """Store which sessions that were pruned here the remote has lost, each with the number of lost rows.

        `loss` reports them until a person acknowledges it, or until none is lost.  Return how many rows of them were
        not known to be lost.
        """
        loss, news = doubts.merged(self._meta(doubts.loss_key(self.remote)), lost)
        journal.transact(lambda execute: self._set_loss(execute, loss), full=True, folded=False)
        return news

    def _set_loss(self, execute: Execute, loss: str | None) -> None:
        if loss is None:
            execute(_FORGET_META, (doubts.loss_key(self.remote),))
        else:
            execute(_KEEP_META, (doubts.loss_key(self.remote), loss))

    def pruned(self) -> list[tuple[bytes, dict[str, Any]]]:
        """Return the sessions that were pruned here while the remote had them, and what they were."""
        records = [(session, encode.loads(body)) for session, body in self.ask("pruned")]
        return [(session, record) for session, record in records if self.remote in record.get("delivered", ())]

    def doubt(self) -> Doubt | None:
        """Return the doubt about the remote's receipts that a prune noted, until a pass has reached the remote."""
        text = self._meta(doubts.key(self.remote))
        return None if text is None else Doubt(**encode.loads(text))

    def keep_doubt(self, journal: Journal, why: str, seqs: Collection[int] = ()) -> None:
        """Keep a doubt, and mark rows that the remote lacks as unsent."""

        def work(execute: Execute) -> None:
            if seqs:
                self._narrow(execute, lambda delivered: bundle.without(delivered, seqs))
            execute(_KEEP_META, (doubts.key(self.remote), _json({"why": why, "at_ns": clock.now_ns()})))

        journal.transact(work, full=True, folded=False)

    def settle_doubt(self, journal: Journal) -> None:
        """Delete the doubt: the remote was reached, and rows that it lacks are marked as unsent."""
        if self.doubt() is not None:
            forget = (_FORGET_META, (doubts.key(self.remote),))
            journal.transact(lambda execute: execute(*forget), full=True, folded=False)

    def deleted(self) -> frozenset[bytes]:
        """Return the sessions that a person has deleted on the remote, as far as a prune has seen it."""
        return doubts.deleted(self._meta(doubts.deleted_key(self.remote)))

    def keep_deleted(self, journal: Journal, sessions: Collection[bytes]) -> None:
        """Keep which sessions were deleted on the remote."""
        if sessions != self.deleted():
            record = (doubts.deleted_key(self.remote), doubts.deleted_text(sessions))
            journal.transact(lambda execute: execute(_KEEP_META, record), full=True, folded=False)

    def loss(self) -> Loss | None:
        """Return rows that the remote lost and that are not here either, unless a person has acknowledged the loss."""
        return doubts.loss(self._meta(doubts.loss_key(self.remote)))

    def acknowledge(self, journal: Journal) -> None:
        """Stop reporting a loss; its rows are remembered, and not reported again."""
        if (text := self._meta(doubts.loss_key(self.remote))) is not None:
            record = (doubts.loss_key(self.remote), doubts.acknowledged(text))
            journal.transact(lambda execute: execute(_KEEP_META, record), full=True, folded=False)

    def meet(self, journal: Journal, *, peer: str | None = None, error: str | None = None, ok: bool = False) -> int:
        """Keep the last result of the remote; return the newest row, up to which all are safe from a power cut then."""
        was, now, newest = self.contact(), clock.now_ns(), 0
        values = (
            self.remote,
            peer or was.peer,
            now if ok else was.ok_ns,
            now if error else was.failed_ns,
            error if error or ok else was.error,
        )

        def work(execute: Execute) -> None:
            nonlocal newest
            execute(_KEEP_CONTACT, values)
            newest = execute("select max(seq) from event").get or 0

        journal.transact(work, full=True, folded=False)
        return newest

    def contact(self) -> Contact:
        """Return the last result of the remote."""
        records = self.ask("contact", remote=self.remote)
        return Contact(*records[0]) if records else Contact()

    def parked(self) -> list[Parked]:
        """Return the rows that the remote does not take."""
        return parked(self.reader, self.remote)

    def dropped(self) -> int:
        """Return how many parked rows a person gave up: the remote never gets them."""
        return int(self.ask("dropped", remote=self.remote, settled=f"{scrubbed.MORE}%")[0][0])

    def late_since(self) -> int | None:
        """Return since when rows have waited, if that is over a day and the remote took none in that time."""
        oldest, now = self.waiting().oldest_ns, clock.now_ns()
        if oldest is None:
            return None
        newest = self.receipts(1)
        kept = (oldest, self.contact().ok_ns or 0, newest[0][0] if newest else 0)
        since = max((time for time in kept if time and clocks.is_past(time, now)), default=None)
        # Every time is in the future, so it is unknown since when the rows wait.
        if since is None:
            return now
        return since if now - since >= _LATE else None

    def is_due(self, *, at_once: bool = False) -> bool:
        """Return whether to check, with nothing to send, that the remote still has the rows of its receipts.

        at_once: also if it was asked a moment ago.
        """
        if self.doubt() is not None:
            return True
        is_known = self.position() is not None or bool(self._carried())
        if at_once:
            return is_known
        ok_ns = self.contact().ok_ns
        if ok_ns is None or (clocks.is_past(ok_ns, now := clock.now_ns()) and now - ok_ns <= _CHECKED_EVERY):
            return False
        return is_known

    def position(self) -> tuple[int, str] | None:
        """Return seq and id of the newest row that the remote had when it answered this journal's last batch.

        Receipts that were carried here do not move it: the remote may have been set back before it signed them.
        """
        if (text := self._meta(carried.key(self.remote))) is not None:
            return carried.parsed(text).place
        newest = self.receipts(1)
        return carried.position(newest[0][2]) if newest else None

    def to_compare(self) -> dict[str, list[Range]]:
        """Return the seqs of carried receipts, by journal: a pass compares them with the rows of the remote.

        The next batch that this ledger settles makes the comparison final.
        """
        self._compared = self._carried()
        return self._compared

    def _carried(self) -> dict[str, list[Range]]:
        text = self._meta(carried.key(self.remote))
        return {} if text is None else carried.parsed(text).ranges

    def has_rows(self, ranges: Iterable[Range]) -> bool:
        """Return whether there is a row here under any of these seqs."""
        return any(self.ask("waiting", first=first, last=last)[0][0] for first, last in ranges)

    def receipts(self, many: int = -1) -> list[tuple[int, int, dict[str, Any]]]:
        """Return the receipts of the remote, newest first: time, number of rows, and the receipt."""
        records = self.ask("receipts", remote=self.remote, many=many)
        return [(at, count, encode.loads(body)) for _, _, at, count, body in records]


class _Filling:
    """A batch while it is filled."""

    def __init__(self, ledger: Ledger, limits: Limits) -> None:
        self._ledger, self.limits = ledger, limits
        self._journal, *self._lineage = ledger.names()
        self._held_back = HeldBack(ledger.reader, ledger.folder) if limits.ended_only else None
        self._empty()

    def _empty(self) -> None:
        self._rows: list[Stored] = []
        self._ranges: list[Range] = []
        self._counted = self._size = 0
        self.is_full = False

    @property
    def rows_left(self) -> int:
        """Return how many more rows fit: at least one, as long as the batch is not full."""
        return max(1, self.limits.rows - self._counted)

    def count(self, size: int) -> bool:
        """Count a row of `size` bytes; return False when it does not fit, and belongs into the next batch."""
        # At least one row, or a row larger than the limit would never be sent.
        if self._counted and self._size + size > 2 * self.limits.size:
            self.is_full = True
            return False
        self._counted += 1
        self._size += size
        self.is_full = self._counted >= self.limits.rows or self._size >= self.limits.size
        return True

    def add(self, page: Sequence[Stored], after: int) -> None:
        """Add rows that were counted, and the range from after a seq to the last of them."""
        rows = [row for row in page if self._held_back is None or not self._held_back.holds(row.session)]
        # With a filter, only the rows themselves count as delivered: rows in between were not sent.
        whole = len(rows) == len(page) and self.limits.session is None
        self._ranges += [(after + 1, page[-1].seq)] if whole else [(row.seq, row.seq) for row in rows]
        if self.limits.metadata_only:
            rows = list(map(bundle.without_content, rows))
        self._rows += rows

    def pass_over(self, gap: Range) -> Batch | None:
        """Add a gap without rows to the batch; return it as a batch of its own when the batch has no rows yet."""
        if not self._rows:
            return Batch(self._journal, self._lineage, [], [gap])
        self._ranges.append(gap)
        return None

    def take(self) -> Batch | None:
        """Return the batch, or None if it has no rows, and begin the next."""
        taken, ranges = self._rows, bundle.merged(self._ranges)
        self._empty()
        if not taken:
            return None
        return Batch(self._journal, self._lineage, taken, ranges, self._ledger.before(taken[0].seq, self.limits))


def parked(reader: Reader, remote: str | None, *, dropped: bool = False) -> list[Parked]:
    """Return the parked rows of a remote, or (None) of all remotes; or the rows that a person gave up."""
    rows = map(Parked._make, reader.ask(statement("parked"), {"remote": remote, "dropped": int(dropped)}))
    return [row._replace(final=bool(row.final), kind=_text(row.kind), name=_text(row.name)) for row in rows]


def _text(value: Any) -> str | None:
    """Return text that was read as bytes, as a flipped bit may have made it invalid."""
    return None if value is None else value.decode(errors="replace")


def _count(ranges: Iterable[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _json(value: dict[str, Any]) -> str:
    return encode.dumps(value).decode()
