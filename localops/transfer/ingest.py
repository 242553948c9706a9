"""Import of rows from another journal: of a request by a hub, of a file by `localops import`.

A batch is written whole or not at all, each row once however often it is sent, and never rows of a session that was
deleted here.  What came from which journal is kept (`received`), to answer a sender that expects rows which are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from localops import clock
from localops.encoding import encode
from localops.journal import blobs, rollups, rows
from localops.journal.journal_file import INSERT, insert_rows
from localops.journal.stored import Stored
from localops.reading import analytics, indexes
from localops.transfer import bundle, machines, scrubbed, unread
from localops.transfer.bundle import Batch
from localops.transfer.missing import MissingRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from typing import Any

    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.transfer.bundle import Ack, Range

    Execute = Callable[..., Any]

_KNOWN = "select 1 from id_of where id = ? and phase = ?"
_KNOWN_BETWEEN = "select id, phase from id_of where id between ? and ? limit ?"
_KNOWN_AMONG = "select i.id, i.phase from json_each(?) j cross join id_of i on i.id = unhex(j.value)"
_HELD_SEQ = "select seq from id_of where id = ? and phase = ?"
_HELD_ROW = f"select {', '.join(Stored._fields)} from event where seq = ({_HELD_SEQ})"  # noqa: S608
_PUT = rows.insertion(Stored._fields, "insert or replace")
_ID = rows.COLUMNS.index("id")
# Not a function in Python, as it is called for each row.
_IDENTITY: Callable[[Stored], tuple[bytes, int]] = attrgetter("id", "phase")
_NEWEST = "select seq, id from event order by seq desc limit 1"
_DELIVERED = "select remote, first, last from delivered where first <= ? and last >= ?"
CONFLICT = "another row is stored there under this id, and with other contents: it stays"
_LAST = "select last_insert_rowid()"
_GONE = "select 1 from gone where session = ?"
_COVERED = "select 1 from received where journal = ? and last >= ? and first <= ? limit 1"
_RECEIVED = "insert or replace into received values(?, ?, ?, ?, ?, ?)"
_FORGET = "delete from received where journal = ? and last >= ?"
_RECEIVED_FROM = "select first, last, id, phase from received where journal = ? order by last desc"
_RECEIVED_AMONG = "select first, last from received where journal = ? and last >= ? and first <= ?"
_COUNTED = "select value from meta where key = ?"
_COUNT = "insert or replace into meta values(?, ?)"
# The most ranges of one batch to remember: our senders put no more rows into one.
_MOST_RANGES = 4_000
# The newest ends of batches in an answer, and as many older ones, at growing distances.
_MARKS = 32
# The totals that must be equal on both sides.  Counts from bodies need not be: a metadata-only remote gets no bodies.
_FIGURES = [name for name in rows.TOTALS if name not in rows.COUNTS_IN_BODY]


class _Received(NamedTuple):
    """Seqs of a sender's journal that were imported together, and the row at the last of them."""

    first: int
    last: int
    id: bytes
    phase: int


def counted_under(journal: str) -> str:
    """Return the key in `meta` of the number of rows that came from a journal.

    The ranges in `received` do not show it: they also cover rows that were pruned there and never sent.
    """
    return f"rows from {journal}"


def take(
    journal: Journal,
    batch: Batch,
    *,
    by: str,
    key: str | None = None,
    refused: dict[int, str] | None = None,
    copy: bool = False,
) -> tuple[Ack, int]:
    """Write the new rows of a batch; return the Ack and how many rows are of sessions that were deleted here.

    The rows are safe from a power cut when this returns.  `refused` are rows of the batch that could not be read; rows
    that contradict a row which is here, or whose files are not here, are added to it.  `copy`: this machine is not a
    hub but on the way to one, and files may be missing.  Raise MissingRows, and write nothing, when the row before the
    batch is not here.
    """
    taking = _Taking(journal, batch, {} if refused is None else refused, needs_files=not copy)
    journal.transact(lambda execute: _work(execute, [taking]), full=True)
    return taking.outcome(by=by, key=key, copy=copy)


@dataclass(frozen=True)
class Arrived:
    """A batch that came in a request."""

    batch: Batch
    refused: dict[int, str]  # rows of it that could not be read: seq -> why
    key: str  # that signs its receipt


def groups(arrived: Sequence[Arrived]) -> Iterator[Sequence[Arrived]]:
    """Yield batches in order, in groups that may each be written in one transaction.

    Rows are known by their ids once a transaction has been folded: a batch with rows of one before it, or that follows
    one before it, comes into the next group.
    """
    # The usual case: its rows need not be compared with those of other batches.
    if len(arrived) == 1:
        yield arrived
        return
    group: list[Arrived] = []
    written: set[tuple[bytes, int]] = set()
    for each in arrived:
        identities = set(map(_IDENTITY, each.batch.rows))
        # A scrubbed row and the rows about it must be in one transaction: the hub may add more rows about it.
        events = {row.parent for row in scrubbed.about(each.batch.rows) if row.parent is not None}
        identities |= {(event, phase) for event in events for phase in (rows.DONE, rows.OPEN)}
        needed = set(identities)
        if each.batch.previous is not None:
            needed.add((each.batch.previous.id, each.batch.previous.phase))
        if not written.isdisjoint(needed):
            yield group
            group, written = [], set()
        group.append(each)
        written |= identities
    if group:
        yield group


def take_together(journal: Journal, arrived: Sequence[Arrived], *, by: str) -> list[tuple[Ack, int] | Exception]:
    """Write the new rows of a group of `groups` in one transaction; return for each what `take` would, or would raise.

    If one of them cannot be written, none is.
    """
    takings = [_Taking(journal, each.batch, each.refused, needs_files=True) for each in arrived]

    journal.transact(lambda execute: _work(execute, takings), full=True)
    outcomes: list[tuple[Ack, int] | Exception] = []
    for each, taking in zip(arrived, takings, strict=True):
        try:
            outcomes.append(taking.outcome(by=by, key=each.key))
        except MissingRows as error:
            outcomes.append(error)
    return outcomes


def _work(execute: Execute, takings: Sequence[_Taking]) -> None:
    """Write batches in the open transaction."""
    for taking in takings:
        taking.work(execute)
    # Last: known rows are found through derived tables, which the end of the transaction rebuilds.
    if any(scrubbed.is_folded_otherwise(was, now) for taking in takings for was, now in taking.scrubbed):
        rollups.forget(execute)


class Added(NamedTuple):
    """The result of `add`."""

    stored: int
    gone: int  # rows of sessions that were deleted here
    refused: dict[int, str]  # by place: rows that contradict one that is here, or whose files are not here
    size: int = 0  # characters of the content of the stored rows
    erased: Sequence[str] = ()  # files that came with rows which were scrubbed here


def add(journal: Journal, made: Sequence[Row]) -> Added:
    """Write complete rows that were made here from requests of another product's client, each once.

    They are safe from a power cut when this returns.  A client that sends the same again need not send the same row: a
    time that it does not give is that of the request, and a price may have changed.
    """
    batch = Batch("", [], [Stored._make((place, *row)) for place, row in enumerate(made)], [])
    adding = _Adding(journal, batch, {}, needs_files=True)
    journal.transact(adding.work, full=True)
    return Added(adding.stored, adding.gone, adding.conflicts, adding.size, adding.erased or ())


class _Taking:
    """The import of one batch."""

    def __init__(self, journal: Journal, batch: Batch, refused: dict[int, str], *, needs_files: bool) -> None:
        self.journal, self.batch, self.refused, self.needs_files = journal, batch, refused, needs_files
        self.stored = self.gone = self.size = 0
        self.forked = False
        self.missing: MissingRows | None = None
        self.conflicts: dict[int, str] = {}  # rows that are here with other contents, or whose files are not here
        self.replaced: list[Stored] = []  # rows to write over those here that have no content, are damaged or lost
        self.scrubbed: list[tuple[Stored, Stored]] = []  # of these, the rows that were scrubbed, each as it was and is
        self._about: frozenset[bytes] = frozenset()  # rows of the batch about others that were scrubbed
        self._otherwise: frozenset[bytes] = frozenset()  # events of those that another machine has scrubbed
        self._held_forms: list[
            tuple[Stored, Stored]
        ] = []  # rows that other machines have, and what stands for them here
        self._old_bodies: list[str | None] = []  # of rows that stay out, as what came is in part what was scrubbed
        self._looks_up = False  # whether rows were scrubbed here, or come scrubbed
        self._lacking_before: list[
            bytes
        ] = []  # sessions that lack rows which an earlier batch had, and were unreadable
        self.position: list[Any] = []  # seq and id of the newest row here, from which a sender sees a set-back hub

    def work(self, execute: Execute) -> None:
        previous = self.batch.previous
        if previous and not (execute(_KNOWN, (previous.id, previous.phase)).get or _is_gone(execute, previous.session)):
            names = [self.batch.journal, *self.batch.lineage]
            received = [row for name in names for row in execute(_RECEIVED_FROM, (name,)).fetchall()]
            self.missing = MissingRows(*held(received))
            return
        new = self._new(execute)
        ranges = bundle.without(self.batch.ranges, {**self.refused, **self.conflicts})
        others_from = self._had_others(execute, ranges, new)
        if others_from is not None:
            # From there on, `received` is about other rows under these seqs, which a sender must not rely on.
            self.forked = True
            execute(_FORGET, (self.batch.journal, others_from))
        self._write(execute, new)
        self.stored = len(new) + len(self.replaced)
        self.size = sum(len(row.body or "") for row in (*new, *self.replaced))
        if new:
            self._count(execute, len(new))
        for row in new:
            if row.kind == "session":
                machines.note(execute, self.batch.journal, row)
        # Rows that are carried here again do not show that their machine is alive.
        if self.stored or not self._is_received(execute, ranges):
            self._remember(execute, ranges)
        self._lacking_before = unread.lacking(execute, self.batch)
        # Read in the transaction that writes the rows, so that the position covers them.
        newest = execute(_NEWEST).fetchone()
        self.position = [newest[0], newest[1].hex()] if newest else []

    def outcome(self, *, by: str, key: str | None, copy: bool = False) -> tuple[Ack, int]:
        """Return the result after the commit, or raise MissingRows."""
        if self.missing is not None:
            raise self.missing
        # The indexes do not notice a row that was replaced under its seq.
        if self.replaced:
            indexes.forget(self.journal.folder)
        if self.batch.unread or self._lacking_before:
            unread.write(self.journal, self.batch, self._lacking_before)
        self.refused.update(self.conflicts)
        receipt = bundle.receipt(self.batch, refused=self.refused, at_ns=clock.now_ns(), by=by, key=key, copy=copy)
        receipt["position"] = self.position
        differs = [figures["session"] for figures in self.batch.totals if _differs(self.journal, figures)]
        ack = bundle.Ack(
            self.refused, receipt, by, self.stored, differs, self.forked, size=self.size, erased=self.erased
        )
        return ack, self.gone

    def _write(self, execute: Execute, new: Sequence[Stored]) -> None:
        """Write the new rows, and those that replace others."""
        about = []
        held = self._held_rows(execute, {row.id for row in new})
        ids = self._about.union(row[_ID] for row in held)
        bare = [*(row[1:] for row in new), *held]
        for columns in bare if ids else ():
            execute(INSERT, columns)
            if columns[_ID] in ids:
                about.append(execute(_LAST).get)
        if not ids:
            insert_rows(execute, bare)
        if bare and self.journal.keeper is not None:
            self.journal.keeper.added(bare, execute(_LAST).get)
        if about:
            scrubbed.add(execute, about)
        if self.scrubbed:
            scrubbed.begin(execute)
        for row in self.replaced:
            execute(_PUT, row)
            if self.journal.keeper is not None:
                self.journal.keeper.replaced(row.seq)
            _send_again(execute, row.seq)

    def _held_rows(self, execute: Execute, beside: Collection[bytes]) -> list[Row]:
        """Return the rows that say of rows of other machines that they are here, with more removed.

        One of these ids may come with the batch, as its sender scrubbed a form of the row that is like the one here.
        """
        at_ns = clock.now_ns()
        made = [
            row
            for was, now in self._held_forms
            for row in scrubbed.made(was, now, at_ns=at_ns, rules={}, files={}, held=True)
        ]
        held = {row[_ID]: row for row in made if row[_ID] not in beside and not scrubbed.is_known(execute, row)}
        return list(held.values())

    @property
    def erased(self) -> list[str] | None:
        """The files of rows that were scrubbed, here or before they came; None if there is nothing to erase."""
        files = blobs.named([*(was.body for was, _ in self.scrubbed), *self._old_bodies])
        if self.needs_files and self._about:
            # Files come before rows: of a row that was scrubbed on the way, the old one may have come, and it never.
            about = [row for row in self.batch.rows if row.id in self._about and row.seq not in self.conflicts]
            files = list(dict.fromkeys([*files, *(digest for row in about for digest in scrubbed.old_files(row))]))
        return files if files or self.scrubbed else None

    def _had_others(self, execute: Execute, ranges: Sequence[Range], new: Sequence[Stored]) -> int | None:
        """Return the first seq of a new row under which another row was imported before, if any."""
        journal = self.batch.journal
        if not (new and any(execute(_COVERED, (journal, *each)).get for each in ranges)):
            return None
        return next((row.seq for row in new if execute(_COVERED, (journal, row.seq, row.seq)).get), None)

    def _new(self, execute: Execute) -> Sequence[Stored]:
        """Return the rows that are not here yet, each once, without those of sessions that were deleted."""
        living = self.batch.rows
        dead = {session for session in {row.session for row in living} if _is_gone(execute, session)}
        if dead:
            living = [row for row in living if row.session not in dead]
            self.gone = len(self.batch.rows) - len(living)
        living = self._unscrubbed(execute, living)
        if self.needs_files and (lacking := self._lacking(living)):
            self.conflicts |= lacking
            living = [row for row in living if row.seq not in lacking]
        identities = set(map(_IDENTITY, living))
        known = self._known_identities(execute, identities)
        if not known and len(identities) == len(living):  # the usual case
            return living
        new: dict[tuple[bytes, int], Stored] = {}
        for row in living:
            if (row.id, row.phase) in known:
                self._compare(execute, row)
            elif new.setdefault((row.id, row.phase), row).bare != row.bare:
                self.conflicts[row.seq] = CONFLICT
        return list(new.values())

    def _unscrubbed(self, execute: Execute, living: Sequence[Stored]) -> Sequence[Stored]:
        """Return the rows without those that were scrubbed since: these stay out, as they hold a secret."""
        about = [row.id for row in scrubbed.about(living)]
        self._about = frozenset(about)
        self._otherwise = frozenset(
            row.parent
            for row in living
            if row.parent is not None and row.id in self._about and scrubbed.has_been(execute, row.parent)
        )
        self._looks_up = bool(about) or scrubbed.has_some(execute)
        if not self._looks_up:
            return living
        kept: list[Stored] = []
        for row in living:
            if not scrubbed.was_scrubbed(execute, row, self._about):
                kept.append(row)
                continue
            if not scrubbed.is_held(execute, row):
                self.conflicts[row.seq] = scrubbed.REFUSED
            # Their files came before them.
            self._old_bodies.append(row.body)
        return kept

    def _lacking(self, living: Iterable[Stored]) -> dict[int, str]:
        """Return the rows whose files are not here: with a receipt, the sender could delete both."""
        absent: dict[int, str] = {}
        # Few rows have files: searching each row's text would take longer than all other checks.
        for row in [row for row in living if row.body is not None and "blob" in row.body]:
            for digest in blobs.named([row.body]):
                if not blobs.is_here(self.journal.folder, digest):
                    absent[row.seq] = f"its file {digest[:12]}… is not here: a row is taken after its file"
        return absent

    def _known_identities(self, execute: Execute, identities: Collection[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        """Return which of these identities are here."""
        # Ids are in order of time, so one query for the range between them mostly returns none, or few.
        ids = [id for id, _ in identities]
        most = len(ids)
        between = execute(_KNOWN_BETWEEN, (min(ids), max(ids), most)).fetchall() if ids else []
        if len(between) < most:
            return set(between)
        return {identity for identity in identities if execute(_KNOWN, identity).get}

    def _compare(self, execute: Execute, row: Stored) -> None:
        """Compare an imported row with the one that is here under its identity; note a replacement or a conflict.

        It replaces the one here if that is the same row without content, is damaged, or is lost: then only the derived
        tables still name it.
        """
        identity = (row.id, row.phase)
        held_row = self._stored_row(execute, identity)
        if held_row is None:
            self.replaced.append(row._replace(seq=execute(_HELD_SEQ, identity).get))
            return
        here = Stored._make(held_row)
        came = row._replace(seq=here.seq)
        if here == came:
            return
        # Damaged here: what came has its checksum, so it is the same row, also if a scrub has changed it.
        if here.sum == came.sum and not here.is_intact:
            self.replaced.append(came)
            return
        if self._looks_up and scrubbed.was_scrubbed(execute, here, self._about):
            self._scrub(row.seq, here, came)
            return
        # Another machine has scrubbed it, with other rules.
        if self._looks_up and scrubbed.is_about(here) and scrubbed.is_about(came):
            return
        if self._looks_up and (row.id in self._otherwise or scrubbed.has_been(execute, row.id)):
            self._scrub_further(row.seq, here, came)
            return
        if here in bundle.without_content_as_sent(came) or _is_damaged(here, came):
            self.replaced.append(came)
        elif came not in bundle.without_content_as_sent(here):
            self.conflicts[row.seq] = CONFLICT
            if self._looks_up and scrubbed.has_been(execute, row.id):
                self._old_bodies.append(row.body)

    def _count(self, execute: Execute, many: int) -> None:
        key = counted_under(self.batch.journal)
        before = execute(_COUNTED, (key,)).get
        if before is None:
            # An earlier release did not count rows: use the size of its ranges.
            received = execute(_RECEIVED_FROM, (self.batch.journal,)).fetchall()
            before = covered((first, last) for first, last, _, _ in received)
        execute(_COUNT, (key, str(int(before) + many)))

    def _is_received(self, execute: Execute, ranges: Sequence[Range]) -> bool:
        """Return whether all of these seqs came before."""
        if not ranges:
            return False
        among = (self.batch.journal, ranges[0][0], ranges[-1][1])
        return not bundle.difference(ranges, execute(_RECEIVED_AMONG, among).fetchall())

    def _stored_row(self, execute: Execute, identity: tuple[bytes, int]) -> tuple[Any, ...] | None:
        """Return the row that is here under an identity; None if it is lost, or its text damaged."""
        try:
            held_row: tuple[Any, ...] | None = execute(_HELD_ROW, identity).fetchone()
            keeper = self.journal.keeper
            if held_row is None and keeper is not None and keeper.bring(execute, *identity):
                held_row = execute(_HELD_ROW, identity).fetchone()
        except UnicodeDecodeError:  # a flipped bit
            return None
        return held_row

    def _scrub(self, seq: int, here: Stored, came: Stored) -> None:
        """Note that a row is replaced by the one without a secret, if it differs in nothing else."""
        if scrubbed.is_cut(here, came) or not here.is_intact:
            self.replaced.append(came)
            self.scrubbed.append((here, came))
        else:
            self.conflicts[seq] = CONFLICT

    def _scrub_further(self, seq: int, here: Stored, came: Stored) -> None:
        """Compare two forms of a row that two machines have scrubbed, and keep the one with more removed.

        A row shows the beginning of a file at most, so that the files are compared, too.
        """
        is_file_cut = partial(scrubbed.is_cut_file, self.journal.folder)
        # Without a row about it, it is one that was refused before.
        if came.id in self._otherwise and scrubbed.is_cut(here, came, is_file_cut):
            self.replaced.append(came)
            self.scrubbed.append((here, came))
            if scrubbed.is_cut(here, came, scrubbed.same_file):
                self._held_forms.append((here, came))
            return
        # A row with another file is not held: its sender would miss the file here, and send it again.
        if scrubbed.is_cut(came, here, scrubbed.same_file):
            self._held_forms.append((came, here))
        else:
            is_less = scrubbed.is_cut(came, here, is_file_cut)
            self.conflicts[seq] = scrubbed.MORE if is_less else scrubbed.OTHERWISE
        self._old_bodies.append(came.body)

    def _remember(self, execute: Execute, ranges: Sequence[Range]) -> None:
        ends = {row.seq: row for row in self.batch.rows}
        at = clock.now_ns()
        for first, last in ranges[:_MOST_RANGES]:
            row = ends.get(last)
            if row is not None:
                execute(_RECEIVED, (self.batch.journal, first, last, row.id, row.phase, at))


class _Adding(_Taking):
    """The addition of rows that were made here."""

    def _known_identities(self, execute: Execute, identities: Collection[tuple[bytes, int]]) -> set[tuple[bytes, int]]:
        # Ids of other products are random, so a query for a range of them would return many others.
        ids = encode.dumps([id.hex() for id, _ in identities]).decode()
        return set(execute(_KNOWN_AMONG, (ids,)).fetchall()).intersection(identities)

    def _compare(self, execute: Execute, row: Stored) -> None:
        here = self._stored_row(execute, (row.id, row.phase))
        if here is None or not _says_the_same(Stored._make(here), row):
            super()._compare(execute, row)


def _says_the_same(here: Stored, came: Stored) -> bool:
    """Return whether two rows are intact and differ in nothing but times and cost."""
    undated = came._replace(
        seq=here.seq, at_ns=here.at_ns, start_ns=here.start_ns, end_ns=here.end_ns, cost=here.cost, sum=here.sum
    )
    return undated == here and here.is_intact


def _is_damaged(here: Stored, came: Stored) -> bool:
    """Return whether the row here is a damaged copy of the one that came."""
    alike = came._replace(sum=here.sum, body=here.body)
    return not here.is_intact and (here.sum == came.sum or here == alike)


def _send_again(execute: Execute, seq: int) -> None:
    """Mark a replaced row as unsent to every remote of this journal: they have the old one."""
    for remote, first, last in execute(_DELIVERED, (seq, seq)).fetchall():
        execute("delete from delivered where remote = ? and first = ?", (remote, first))
        for low, high in bundle.without([(first, last)], [seq]):
            execute("insert into delivered values(?, ?, ?)", (remote, low, high))


def _is_gone(execute: Execute, session: bytes) -> bool:
    return execute(_GONE, (session,)).get is not None


def held(received: Iterable[tuple[Any, ...]]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
    """Return what was imported from a journal: ranges of its seqs, and the last rows of batches, the newest first."""
    newest_first = sorted(map(_Received._make, received), key=lambda entry: -entry.last)
    older, step = [], 1
    at = _MARKS
    while at < len(newest_first):
        older.append(newest_first[at])
        step *= 2
        at += step
    marks = [(entry.last, entry.id, entry.phase) for entry in newest_first[:_MARKS] + older[:_MARKS]]
    return bundle.merged((entry.first, entry.last) for entry in newest_first), marks


def covered(ranges: Iterable[Range]) -> int:
    """Return how many seqs are in ranges that may overlap."""
    return sum(last - first + 1 for first, last in bundle.merged(ranges))


def _differs(journal: Journal, figures: dict[str, Any]) -> bool:
    """Return whether a session that is complete at the sender has other totals here."""
    session = bytes.fromhex(figures["session"])
    own = analytics.totals(journal, session)
    # Other senders have added rows to the session.
    if own.rows > figures["rows"]:
        return False
    if own == analytics.NOTHING and journal.one("gone", session=session):
        return False
    return any(figures.get(name, getattr(own, name)) != getattr(own, name) for name in _FIGURES)
