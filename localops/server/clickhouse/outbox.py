"""Stores every row of a mirror's journal in ClickHouse before its transaction commits.

An error of ClickHouse rolls the transaction back, so that senders keep their rows.  If a crash undoes a transaction
whose rows are stored there, the hub takes them over when it starts again.  A row that is sent again counts once.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import NamedTuple

from localops import clock, host
from localops.encoding import encode
from localops.errors import JournalError
from localops.journal import rows
from localops.journal.reader import Reader
from localops.journal.sql import statements
from localops.journal.stored import Stored
from localops.server.clickhouse import event_rows, kind_sums, mirror, rebuilding
from localops.server.clickhouse.archive import Received, Version
from localops.server.clickhouse.engine import EngineError
from localops.server.clickhouse.row_writing import put_rows
from localops.server.clickhouse.states import COLUMNS, States

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from localops.journal.journal import Journal
    from localops.journal.keeper import Transacting
    from localops.journal.rows import Row
    from localops.server.clickhouse.archive import Archive
    from localops.server.clickhouse.mirror import Mirror

    Execute = Callable[..., Any]

_COPIED = ", ".join(event_rows.COPIED)
_ROWS = f"select {', '.join(Stored._fields)}, {_COPIED} from event"  # noqa: S608
_ADDED = f"{_ROWS} where seq > ? order by seq limit ?"
_AT = f"{_ROWS} where seq in (select value from json_each(?)) order by seq"  # noqa: S608
# The most rows of one insert: a journal that was filled before it became a mirror is sent in parts.
_MOST = 20_000
# Such a part: rows after a seq, up to so many bytes.
_PART = f"""
select {_COPIED}, {", ".join(Stored._fields)}
from event
where seq > :after
order by seq
limit {_MOST}"""  # noqa: S608
_PART_BYTES = 16 << 20
# Number and sum of seqs of the rows after a seq, to see whether they are those that were announced.
_SUMS_AFTER = "select count(*), coalesce(sum(seq), 0) from event where seq > ?"
_COUNTS = f"""
select seq, {_COPIED}
from event
where seq in (select value from json_each(?)) and coalesce({_COPIED}, null) is not null"""  # noqa: S608
_SESSION, _BODY = rows.COLUMNS.index("session"), rows.COLUMNS.index("body")
_WIDTH = len(Stored._fields)
_SESSION_AT = Stored._fields.index("session")
_COUNT_KEYS = tuple(rows.COUNTS_IN_BODY.values())
# Sessions whose states are written in one transaction.
_STATES = 1_000
_READ = "select value from meta where key = 'mirror'"
_WRITE = "insert or replace into meta values('mirror', ?)"
_MAX = "select coalesce(max(seq), 0) from event"
_SEQ_OF = "select seq from id_of where id = ? and phase = ?"
_HERE = f"select {', '.join(Stored._fields)} from event where seq = ?"  # noqa: S608
_PUT = rows.insertion(Stored._fields, "insert or replace")
# Whether a row shows that the file was restored or copied since rows were sent.
_MOVED = "select exists (select 1 from event where seq > ? and kind = 'journal' and name = 'moved')"
_IS_GONE = "select 1 from gone where session = ?"
_RECEIVED = "insert or replace into received values(?, ?, ?, ?, ?, ?)"
_FORGET = "delete from received where journal = ? and last = ? and first = ?"
_NOTE = "insert or replace into meta values(?, ?)"
_NOTE_NO_MORE = "delete from meta where key = ?"
_UNSENT_BATCHES = f"select journal, first, last, id, phase, at_ns, gone, number from unsent_received limit {_MOST}"  # noqa: S608
_UNSENT_NOTES = f"""
select n.key, m.value, n.number
from unsent_meta n
left join meta m on m.key = n.key
limit {_MOST}"""  # noqa: S608
_SENT = {
    "unsent_received": "delete from unsent_received where number <= ?",
    "unsent_meta": "delete from unsent_meta where number <= ?",
}


# Rows whose earlier versions are deleted at a time, and the most that are looked for after the mirror was lost.
_VERSIONS = 500
_REPEATED = 100_000
_NOTE_VERSION = "insert or replace into replaced values(?, ?, ?, ?)"
_FORGET_VERSION = "delete from replaced where session = ? and id = ? and phase = ? and rev = ?"


class Kept(NamedTuple):
    """What ClickHouse has of a journal: rows up to `seq`, with revs up to `rev`, and states up to `stated`."""

    seq: int = 0
    rev: int = 0
    stated: int = 0
    building: bool = False
    # The boot of the machine that wrote this: until the machine restarts, no commit can be undone.
    boot: str | None = None
    # Whether the journal is still the permanent place of all rows: a move sends them in parts, and more may follow.
    moving: bool = False


class Wave(NamedTuple):
    """What is written to ClickHouse some time after the rows: states, received batches, and values of `meta`."""

    states: list[tuple[Any, ...]]
    batches: list[Received]
    notes: dict[str, str | None]
    # By table: the last number of its unsent lines that is included.
    upto: dict[str, int]
    rev: int = 0


class Outbox:
    """Keeps the rows of one project's journal in ClickHouse; used by one thread at a time."""

    def __init__(self, mirror: Mirror, archive: Archive, *, moving: Callable[[int, int], object] | None = None) -> None:
        self.mirror, self.archive = mirror, archive
        # For a move, while the journal is still the rows' permanent place: called with the newest seq and the seq up to
        # which rows were sent.
        self._moving = moving
        # Sessions whose states are not written yet, and deleted sessions that have rows in ClickHouse.
        self.dirty: dict[bytes, None] = {}
        self.to_clean: list[bytes] = []
        # Whether something beside rows may be unsent; true at first, as an earlier process may have left something.
        self._has_notes = True
        self._added: list[event_rows.New] = []
        self._replaced: list[int] = []
        # Whether ClickHouse may still have earlier versions of replaced rows.
        self.has_versions = True
        self._touched: set[bytes] = set()
        self._is_off = False
        # Held by the thread that writes a wave.
        self.behind = threading.Lock()
        # The file of the journal that was last made equal to what is stored.
        self.inode = 0
        # How often a hub with another folder has stored rows, which this one took over or has to take over.
        self.turns_of_others = 0
        # The seqs up to which states are stored, and will be stored by the current wave.
        self._stated = self._stating = 0

    # As the keeper of a journal

    def begun(self, _: Execute) -> None:
        """Prepare a transaction that has just begun."""
        self._added.clear()
        self._replaced.clear()
        self._touched.clear()

    def added(self, some: Sequence[Row], last: int) -> None:
        """Note that rows were inserted with consecutive seqs up to `last`."""
        self._added.append(event_rows.New(some, last - len(some) + 1, {}))

    def replaced(self, seq: int) -> None:
        """Note that a row was replaced under its seq."""
        self._replaced.append(seq)

    def before_commit(self, execute: Execute) -> None:
        """Store what the transaction has written."""
        if self._is_off:
            return
        kept = read(execute)
        deleted = dict(execute("select session, at_ns from unsent_gone").fetchall())
        seqs = [*self._replaced, *(seq for (seq,) in execute("select seq from unsent_event").fetchall())]
        replaced = execute(_AT, (encode.dumps(seqs).decode(),)).fetchall() if seqs else []
        rev = _rev_after(kept)
        try:
            self._touched.update(deleted)
            seq = self._store_rows(execute, kept.seq, replaced, rev)
            if deleted:
                self.archive.mark_deleted(deleted, rev)
        except EngineError as error:
            raise JournalError(str(error)) from error
        if not (seq > kept.seq or replaced or deleted):
            return
        execute("delete from unsent_gone")
        execute("delete from unsent_event")
        for session in deleted:
            execute("delete from cold where session = ?", (session,))
            kind_sums.forget(execute, session)
        for line in replaced:
            row = Stored._make(line[:_WIDTH])
            execute(_NOTE_VERSION, (row.session, row.id, row.phase, rev))
        self._recompute_sums(execute, {line[_SESSION_AT] for line in replaced}.difference(deleted))
        self.has_versions |= bool(replaced)
        write(execute, kept._replace(seq=seq, rev=rev, stated=max(kept.stated, self._stated), boot=_boot()))
        # If the transaction fails after this, the states of some sessions are written needlessly, which is harmless.
        self.dirty.update(dict.fromkeys(self._touched.difference(deleted)))
        self.to_clean += deleted
        self._has_notes = True

    def _recompute_sums(self, execute: Execute, sessions: Iterable[bytes]) -> None:
        """Sum up sessions with replaced rows again, except sessions that are not here as a whole."""
        for session in sessions:
            if execute(mirror.IS_COLD, (session,)).get is None:
                kind_sums.recompute(execute, session)

    def _store_rows(self, execute: Execute, after: int, replaced: list[tuple[Any, ...]], rev: int) -> int:
        """Store the rows after a seq, and those that were replaced; return the seq of the last one."""
        if not replaced and (last := self._store_added(execute, after, rev)) is not None:
            return last
        seq, page = after, replaced
        while True:
            added = execute(_ADDED, (seq, _MOST)).fetchall()
            page = [*page, *added]
            if page:
                some = [(Stored._make(line[:_WIDTH]), line[_WIDTH:]) for line in page]
                self.archive.put(some, rev)
                self._touched.update(row.session for row, _ in some)
                self.mirror.grow(row.body for row, _ in some)
            if added:
                seq, *_ = added[-1]
            if len(added) < _MOST:
                return seq
            page = []

    def _store_added(self, execute: Execute, after: int, rev: int) -> int | None:
        """Store the rows after a seq as they were announced; return the last seq, or None if some were not."""
        many = sum(len(new.rows) for new in self._added)
        sums = sum(len(new.rows) * (2 * new.first + len(new.rows) - 1) // 2 for new in self._added)
        if not many or execute(_SUMS_AFTER, (after,)).fetchone() != (many, sums):
            return None
        for new in self._added:
            bodies = [row[_BODY] or "" for row in new.rows]
            self._touched.update([row[_SESSION] for row in new.rows])
            if named := [new.first + at for key in _COUNT_KEYS for at, body in enumerate(bodies) if key in body]:
                lines = execute(_COUNTS, (encode.dumps(named).decode(),)).fetchall()
                new.counts.update((seq, tuple(counts)) for seq, *counts in lines)
        self.archive.put_new(self._added, rev)
        self.mirror.grow(row[_BODY] for new in self._added for row in new.rows)
        return self._added[-1].first + len(self._added[-1].rows) - 1

    def rolled_back(self) -> None:
        """Have the states of a rolled-back transaction's sessions written: some may be stored as deleted.

        Its rows may be stored, too.  Their senders send them again, and the greater rev of each row counts.
        """
        self.dirty.update(dict.fromkeys(self._touched))

    def before_read(self, journal: Transacting, name: str, values: Mapping[str, object]) -> None:
        """Bring back the rows that a named query of the journal's writer reads."""
        self.mirror.before_read(journal, name, values)

    def bring(self, execute: Execute, id: bytes, phase: int) -> bool:
        """Bring back a row and its session in a transaction; return whether there is such a row."""
        return self.mirror.bring(execute, id, phase)

    # Beginning, and after errors

    def attach(self, journal: Journal) -> None:
        """Make a journal equal to what is stored, and keep its rows from now on; JournalError if that is impossible."""
        if journal.keeper is self:
            return
        inode = os.stat(journal.path).st_ino
        journal.keeper = self
        try:
            if inode != self.inode:
                self._begin(journal)
                self._catch_up(journal)
        except EngineError as error:
            journal.keeper = None
            raise JournalError(str(error)) from error
        except BaseException:
            journal.keeper = None
            raise
        self.inode = inode

    def begin_again(self, journal: Journal) -> None:
        """Make a journal equal to what is stored when it is attached the next time."""
        journal.keeper, self.inode = None, 0

    def _begin(self, journal: Journal) -> None:
        """Prepare a journal that was opened; if the mirror was lost, rebuild it."""
        kept = Kept()
        only_begun = False

        def look(execute: Execute) -> None:
            nonlocal kept, only_begun
            self.mirror.prepare(execute)
            kept = read(execute)
            only_begun = execute("select count(*) = 0 from event where kind <> 'journal'").get == 1

        with self._without_sending():
            journal.transact(look)
            if not kept.rev and not self.archive.is_empty():
                if not (only_begun or kept.building):
                    raise JournalError(
                        f"{journal.path} has rows that were not moved to ClickHouse, which has others of this project: "
                        "move it to a database without them"
                    )
                self._rebuild(journal)
            elif not kept.rev:
                # With what a hub had noted before it kept its rows in ClickHouse.
                journal.transact(_begin_moving)
            self._send_all(journal)
        self._measure(journal)
        self.to_clean = self.archive.left_over()

    def _rebuild(self, journal: Journal) -> None:
        seq, rev = self.archive.newest()

        def begin(execute: Execute) -> None:
            write(execute, Kept(building=True))

        repeated = self.archive.repeated(_REPEATED)

        def finish(execute: Execute) -> None:
            _forget_notes(execute)
            for version in repeated:
                execute(_NOTE_VERSION, version)
            write(execute, Kept(seq, rev, boot=_boot()))

        journal.transact(begin)
        self.dirty.update(dict.fromkeys(rebuilding.rebuild(journal, self.mirror, self.archive, seq)))
        journal.transact(finish)

    def _send_all(self, journal: Journal) -> None:
        """Send the rows of a journal that is moved to ClickHouse in parts, so that others can write to it meanwhile."""
        kept = Kept()

        def look(execute: Execute) -> None:
            nonlocal kept
            kept = read(execute)

        journal.transact(look, folded=False)
        with Reader(journal.path) as reader:
            while kept.moving:
                kept = self._send_some(journal, reader, kept)

    def _send_some(self, journal: Journal, reader: Reader, kept: Kept) -> Kept:
        """Send a part of the rows, and note that; return what ClickHouse has then."""
        try:
            page, _ = reader.some(_PART, {"after": kept.seq}, _PART_BYTES)
        except UnicodeDecodeError as error:
            raise JournalError(
                f"a row of {journal.path} after seq {kept.seq} is damaged: `localops hub check` names such rows, and "
                "`localops sync --verify` on the machines sends them again"
            ) from error
        kept = kept._replace(rev=_rev_after(kept))
        if page:
            some = [(Stored._make(line[-_WIDTH:]), line[:-_WIDTH]) for line in page]
            self.archive.put(some, kept.rev)
            row, _ = some[-1]
            kept = kept._replace(seq=row.seq)
            if self._moving is not None:
                [(newest,)] = reader.ask(_MAX)
                self._moving(newest, kept.seq)
        elif self._moving is None:
            kept = kept._replace(moving=False, boot=_boot())
        journal.transact(lambda execute: write(execute, kept), folded=False)
        # Rows that others add later are sent by transactions of this process.
        return kept if page else kept._replace(moving=False)

    def _measure(self, journal: Journal) -> None:
        def look(execute: Execute) -> None:
            self.mirror.measure(execute)
            kept = read(execute)
            states = execute("select session from total where last_seq > ?", (kept.stated,)).fetchall()
            # Before earlier states of a session with a replaced row are deleted, its new state has to be written.
            states += execute("select distinct session from replaced").fetchall()
            self.dirty.update(dict.fromkeys(session for (session,) in states))

        # Send nothing yet: `_catch_up` sees by an unsent row that the file was restored.
        with self._without_sending():
            journal.transact(look)

    def _catch_up(self, journal: Journal) -> None:
        """Take over what is stored but not here, from transactions that a crash of the process or machine undid."""
        kept = Kept()
        was_moved = False

        def look(execute: Execute) -> None:
            nonlocal kept, was_moved
            kept = read(execute)
            was_moved = execute(_MOVED, (kept.seq,)).get == 1

        with self._without_sending():
            journal.transact(look)
        # During a move nothing is stored that is not here.
        if kept.moving:
            return
        # After a kill the file still has every commit, and what was sent for an uncommitted transaction is sent again.
        if kept.boot is not None and kept.boot == _boot() and not was_moved and not self.turns_of_others:
            return
        stored = self.archive.since(kept.rev)
        gone = self.archive.gone(kept.rev)
        batches, notes = self.archive.received(kept.rev), self.archive.notes(kept.rev)
        _, rev = self.archive.newest()
        if stored or gone or batches or notes:
            rev = max(rev, kept.rev)
            journal.transact(lambda execute: self._take_over(execute, stored, gone, batches, notes, rev))

    def _take_over(
        self,
        execute: Execute,
        stored: Sequence[Stored],
        gone: Sequence[tuple[bytes, int]],
        batches: Sequence[Received],
        notes: Sequence[tuple[str, str | None]],
        rev: int,
    ) -> None:
        kept = read(execute)
        # Rows that are only here are sent with this transaction.
        unsent = [seq for (seq,) in execute("select seq from event where seq > ?", (kept.seq,)).fetchall()]
        self._replaced += unsent
        for session, at_ns in gone:
            execute("insert or ignore into gone values(?, ?)", (session, at_ns))
        seq = execute(_MAX).get
        new: list[Stored] = []
        again: list[Stored] = []
        for row in stored:
            if execute(_IS_GONE, (row.session,)).get:
                continue
            here = execute(_SEQ_OF, (row.id, row.phase)).get
            if here is not None:
                self._take_contents(execute, row, here)
            elif row.seq > seq:
                new.append(row)
                seq = row.seq
                self._touched.add(row.session)
            else:
                again.append(row)
        write(execute, kept._replace(seq=max(seq, kept.seq), rev=rev))
        # Here, other rows have their seqs: they get new ones, and are stored with these.
        new += [row._replace(seq=seq + place) for place, row in enumerate(again, 1)]
        put_rows(execute, new)
        # After the row that records it, as the newest row of a journal stays.
        for session, _ in gone:
            _delete(execute, session)
        for batch in batches:
            if batch.gone:
                execute(_FORGET, (batch.journal, batch.last, batch.first))
            else:
                execute(_RECEIVED, batch[:6])
        take_notes(execute, notes)
        _forget_notes(execute)

    def _take_contents(self, execute: Execute, row: Stored, seq: int) -> None:
        """Take over the contents of a row that has a seq here, unless it is cold."""
        with suppress(UnicodeDecodeError):
            here = execute(_HERE, (seq,)).fetchone()
            if here is not None and Stored._make(here).bare != row.bare:
                execute(_PUT, row._replace(seq=seq))
                self._recompute_sums(execute, [row.session])

    def _without_sending(self) -> _WithoutSending:
        return _WithoutSending(self)

    # States

    @property
    def is_behind(self) -> bool:
        """Return whether there may be something for a wave."""
        return bool(self.dirty) or self._has_notes

    def wave(self, journal: Journal) -> Wave:
        """Return the states of a few changed sessions, and what is unsent beside rows; `send` stores them."""
        some = [session for session, _ in zip(self.dirty, range(_STATES), strict=False)]
        wave = Wave([], [], {}, {})
        rev = 0

        def look(execute: Execute) -> None:
            nonlocal rev
            kept = read(execute)
            rev = _rev_after(kept)
            kind_sums.fold(execute)
            derived = States(execute)
            for session in some:
                state = derived.of(session, rev)
                if state is not None:
                    wave.states.append(state)
            if len(some) == len(self.dirty):
                self._stating = execute(_MAX).get
            if self._stated > kept.stated:
                write(execute, kept._replace(stated=self._stated))
            for *batch, number in execute(_UNSENT_BATCHES).fetchall():
                wave.batches.append(Received(*batch))
                wave.upto["unsent_received"] = number
            for key, value, number in execute(_UNSENT_NOTES).fetchall():
                wave.notes[key] = value
                wave.upto["unsent_meta"] = number

        with self._without_sending():
            journal.transact(look)
        for session in some:
            del self.dirty[session]
        self._has_notes = False
        return wave._replace(rev=rev)

    def send(self, wave: Wave) -> None:
        """Store a wave; after an error, a later wave includes the same."""
        try:
            self.archive.put_states(COLUMNS, wave.states)
            self.archive.put_received(_last_of_each(wave.batches), wave.rev)
            self.archive.put_notes(wave.notes.items(), wave.rev)
        except EngineError as error:
            self.dirty.update(dict.fromkeys(bytes.fromhex(session) for session, *_ in wave.states))
            self._stating, self._has_notes = 0, True
            raise JournalError(str(error)) from error
        self._stated = max(self._stated, self._stating)

    def sent(self, journal: Journal, wave: Wave) -> None:
        """Delete the notes of what a wave has stored."""

        def forget(execute: Execute) -> None:
            for table, number in wave.upto.items():
                execute(_SENT[table], (number,))

        if wave.upto:
            with self._without_sending():
                journal.transact(forget)

    def versions(self, journal: Journal) -> list[Version]:
        """Return a few replaced rows whose earlier versions ClickHouse still has."""
        versions: list[Version] = []

        def look(execute: Execute) -> None:
            lines = execute("select session, id, phase, rev from replaced limit ?", (_VERSIONS,)).fetchall()
            versions.extend(map(Version._make, lines))
            self.has_versions = bool(lines)

        with self._without_sending():
            journal.transact(look)
        return versions

    def forget(self, journal: Journal, versions: Sequence[Version]) -> None:
        """Delete the notes about replaced rows without earlier versions in ClickHouse."""

        def work(execute: Execute) -> None:
            for version in versions:
                execute(_FORGET_VERSION, version)

        with self._without_sending():
            journal.transact(work)

    def clean(self) -> None:
        """Delete the rows of deleted sessions from ClickHouse."""
        deleted, self.to_clean = self.to_clean, []
        if deleted:
            try:
                self.archive.clean(deleted)
            except EngineError as error:
                self.to_clean += deleted
                raise JournalError(str(error)) from error


def take_notes(execute: Execute, notes: Iterable[tuple[str, str | None]]) -> None:
    """Write values of the `meta` table by key; None deletes the key."""
    for key, value in notes:
        if value is None:
            execute(_NOTE_NO_MORE, (key,))
        else:
            execute(_NOTE, (key, value))


def _begin_moving(execute: Execute) -> None:
    """Note that a journal is being moved to ClickHouse, and that all of its notes are unsent."""
    write(execute, Kept(rev=clock.now_ns(), moving=True))
    _forget_notes(execute)
    execute("insert into unsent_received select null, journal, first, last, id, phase, at_ns, 0 from received")
    execute("insert into unsent_gone select session, at_ns from gone")
    execute(
        "insert into unsent_meta select null, key from meta "
        "where key not in ('mirror', 'journal', 'place', 'writer', 'about')"
    )


def _forget_notes(execute: Execute) -> None:
    for table in ("unsent_received", "unsent_meta", "unsent_gone", "unsent_event"):
        execute(f"delete from {table}")  # noqa: S608


def _boot() -> str | None:
    return host.boot_id()


def _delete(execute: Execute, session: bytes) -> None:
    """Delete what is here of a deleted session."""
    key = execute("select key from total where session = ?", (session,)).get
    for name, statement in statements("prune.sql").items():
        if name.startswith("delete_") and key is not None:
            execute(statement, {"key": key, "session": session})
    execute("delete from cold where session = ?", (session,))
    kind_sums.forget(execute, session)


class _WithoutSending:
    """A context in which nothing is sent, for what concerns the mirror alone."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def __enter__(self) -> None:
        self._outbox._is_off = True

    def __exit__(self, *failure: object) -> None:
        self._outbox._is_off = False


def read(execute: Execute) -> Kept:
    """Return what ClickHouse has, as noted in the journal."""
    return parsed(execute(_READ).get)


def _rev_after(kept: Kept) -> int:
    """Return a rev greater than all before: the time, unless the clock was set back."""
    return max(clock.now_ns(), kept.rev + 1)


def parsed(text: str | None) -> Kept:
    """Return what ClickHouse has from its text in the journal."""
    return Kept(**encode.loads(text)) if text else Kept()


def write(execute: Execute, kept: Kept) -> None:
    """Note what ClickHouse has."""
    execute(_WRITE, (encode.dumps(kept._asdict()).decode(),))


def _last_of_each(batches: Sequence[Received]) -> list[Received]:
    """Return the last state of each batch: of two with the same rev, ClickHouse could keep either."""
    return list({(batch.journal, batch.last, batch.first): batch for batch in batches}.values())
