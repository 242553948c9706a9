"""Every row that a mirror's journal gets goes to ClickHouse before its transaction commits.

An error of ClickHouse rolls the transaction back, so that senders keep their rows.  What was stored there although the
transaction failed is taken over when the mirror is next used: it counts once, however often it comes again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from localops import clock
from localops.encoding import encode
from localops.errors import JournalError
from localops.journal import rows
from localops.journal.sql import statements
from localops.journal.stored import Stored
from localops.server.clickhouse import rebuilding
from localops.server.clickhouse.archive import Received
from localops.server.clickhouse.engine import EngineError
from localops.server.clickhouse.states import COLUMNS, States

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from localops.journal.journal import Journal
    from localops.journal.keeper import Transacting
    from localops.server.clickhouse.archive import Archive
    from localops.server.clickhouse.mirror import Mirror

    Execute = Callable[..., Any]

_ROWS = f"select {', '.join(('seq', *rows.COLUMNS, *rows.COUNTS_IN_BODY))} from event"  # noqa: S608
_ADDED = f"{_ROWS} where seq > ? order by seq limit ?"
_AT = f"{_ROWS} where seq in (select value from json_each(?)) order by seq"  # noqa: S608
# Rows of one insert: a journal that was filled before it became a mirror is sent in parts.
_MOST = 20_000
# Sessions whose states are written in one transaction.
_STATES = 1_000
_READ = "select value from meta where key = 'mirror'"
_WRITE = "insert or replace into meta values('mirror', ?)"
_MAX = "select coalesce(max(seq), 0) from event"
_SEQ_OF = "select seq from id_of where id = ? and phase = ?"
_HERE = f"select {', '.join(Stored._fields)} from event where seq = ?"  # noqa: S608
_INSERT = rows.insertion(Stored._fields)
_PUT = rows.insertion(Stored._fields, "insert or replace")
_IS_GONE = "select 1 from gone where session = ?"
_RECEIVED = "insert or replace into received values(?, ?, ?, ?, ?, ?)"
_FORGET = "delete from received where journal = ? and last = ? and first = ?"
_NOTES = "select n.key, m.value from noted_meta n left join main.meta m on m.key = n.key"
_NOTE = "insert or replace into meta values(?, ?)"
_NOTE_NO_MORE = "delete from meta where key = ?"
_OF_FILE = "'mirror', 'journal', 'place', 'writer', 'about'"
# What other statements change is noted by triggers of this connection alone.
_NOTED = (
    "create temp table if not exists noted_received(journal, first, last, id, phase, at_ns, gone)",
    "create temp table if not exists noted_gone(session, at_ns)",
    """create temp trigger if not exists note_received after insert on main.received begin
      insert into noted_received values(new.journal, new.first, new.last, new.id, new.phase, new.at_ns, 0);
    end""",
    """create temp trigger if not exists note_forgotten after delete on main.received begin
      insert into noted_received values(old.journal, old.first, old.last, old.id, old.phase, old.at_ns, 1);
    end""",
    # A key of `meta` and its value, unless it is about the file alone.
    "create temp table if not exists noted_meta(key primary key)",
    *(
        f"""create temp trigger if not exists note_{event} after {event} on main.meta
        when {row}.key not in ({_OF_FILE}) begin insert or ignore into noted_meta values({row}.key); end"""
        for event, row in (("insert", "new"), ("update", "new"), ("delete", "old"))
    ),
    """create temp trigger if not exists note_gone after insert on main.gone begin
      insert into noted_gone values(new.session, new.at_ns);
    end""",
)


class Kept(NamedTuple):
    """What ClickHouse has of a journal: the rows up to `seq`, with revs up to `rev`, and states up to `stated`."""

    seq: int = 0
    rev: int = 0
    stated: int = 0
    building: bool = False


class Outbox:
    """Keeps the rows of one project's journal in ClickHouse; used by one thread at a time."""

    def __init__(self, mirror: Mirror, archive: Archive) -> None:
        self.mirror, self.archive = mirror, archive
        # Sessions whose states are not written yet, and those that are gone and have rows in ClickHouse.
        self.dirty: dict[bytes, None] = {}
        self.buried: list[bytes] = []
        self._replaced: list[int] = []
        self._touched: set[bytes] = set()
        self._is_off = False
        # After an error: what was sent may be stored.
        self._is_unsure = True
        self._prepared: object = None
        # The file that was made equal to what is stored.
        self.inode = 0
        # Up to this seq the states of sessions are stored.
        self._stated = self._stating = 0

    # As the keeper of a journal

    def begun(self, execute: Execute) -> None:
        """Prepare a transaction that has just begun."""
        # By the connection, which is another one when the file was opened again.
        if self._prepared is not execute:
            for statement in _NOTED:
                execute(statement)
            self._prepared = execute
        self._replaced.clear()
        self._touched.clear()

    def replaced(self, seq: int) -> None:
        """Note that a row was replaced under its seq."""
        self._replaced.append(seq)

    def before_commit(self, execute: Execute) -> None:
        """Store what the transaction has written."""
        if self._is_off:
            _forget_notes(execute)
            return
        kept = read(execute)
        batches = [Received(*batch) for batch in execute("select * from noted_received").fetchall()]
        buried = dict(execute("select * from noted_gone").fetchall())
        notes = execute(_NOTES).fetchall()
        replaced = execute(_AT, (encode.dumps(self._replaced).decode(),)).fetchall() if self._replaced else []
        rev = max(clock.now_ns(), kept.rev + 1)
        try:
            seq = self._store_rows(execute, kept.seq, replaced, rev)
            if batches:
                self.archive.put_received(_last_of_each(batches), rev)
            if notes:
                self.archive.put_notes(notes, rev)
            if buried:
                self.archive.bury(buried, rev)
        except EngineError as error:
            raise JournalError(str(error)) from error
        if not (seq > kept.seq or replaced or batches or notes or buried):
            return
        _forget_notes(execute)
        for session in buried:
            execute("delete from cold where session = ?", (session,))
            execute("delete from cold_kind where session = ?", (session,))
        write(execute, kept._replace(seq=seq, rev=rev, stated=max(kept.stated, self._stated)))
        # A transaction that fails after this leaves sessions in them that need nothing, which does no harm.
        self.dirty.update(dict.fromkeys(self._touched.difference(buried)))
        self.buried += buried

    def _store_rows(self, execute: Execute, after: int, replaced: list[tuple[Any, ...]], rev: int) -> int:
        """Store the rows after a seq, and those that were replaced; return the seq of the last one."""
        seq, page = after, replaced
        while True:
            added = execute(_ADDED, (seq, _MOST)).fetchall()
            page += added
            if page:
                some = [(Stored._make(columns), cache_write) for *columns, cache_write in page]
                self.archive.put(some, rev)
                self._touched.update(row.session for row, _ in some)
                self.mirror.grow(row for row, _ in some)
            if added:
                seq, *_ = added[-1]
            if len(added) < _MOST:
                return seq
            page = []

    def rolled_back(self) -> None:
        """Note that a transaction was rolled back: what it has sent may be stored."""
        self._is_unsure = True

    def before_read(self, journal: Transacting, name: str, values: Mapping[str, object]) -> None:
        """Bring back the rows that a named query of a door reads."""
        self.mirror.before_read(journal, name, values)

    def bring(self, execute: Execute, id: bytes, phase: int) -> bool:
        """Bring back a row and its session in a transaction; return whether there is such a row."""
        return self.mirror.bring(execute, id, phase)

    # Beginning, and after errors

    def attach(self, journal: Journal) -> None:
        """Keep the rows of a journal, which becomes equal to what is stored; JournalError if that cannot be."""
        if journal.keeper is self and not self._is_unsure:
            return
        inode = os.stat(journal.path).st_ino
        journal.keeper = self
        try:
            if inode != self.inode:
                self._begin(journal)
                self._is_unsure = True
            if self._is_unsure:
                self._catch_up(journal)
        except EngineError as error:
            journal.keeper = None
            raise JournalError(str(error)) from error
        except BaseException:
            journal.keeper = None
            raise
        self.inode, self._is_unsure = inode, False

    def _begin(self, journal: Journal) -> None:
        """Prepare a journal that was opened; one that was lost is made again."""
        kept = Kept()
        only_begun = False

        def look(execute: Execute) -> None:
            nonlocal kept, only_begun
            self.mirror.prepare(execute)
            kept = read(execute)
            only_begun = execute("select count(*) = 0 from event where kind <> 'journal'").get == 1

        with self._off():
            journal.transact(look)
            if not kept.rev and not self.archive.is_empty():
                if not (only_begun or kept.building):
                    raise JournalError(f"{journal.path} has rows of its own: a hub's store on ClickHouse begins empty")
                self._rebuild(journal)
        self._measure(journal)
        self.buried = self.archive.left_over()

    def _rebuild(self, journal: Journal) -> None:
        seq, rev = self.archive.newest()

        def begin(execute: Execute) -> None:
            write(execute, Kept(building=True))

        def finish(execute: Execute) -> None:
            write(execute, Kept(seq, rev, 0))

        journal.transact(begin)
        self.dirty.update(dict.fromkeys(rebuilding.rebuild(journal, self.mirror, self.archive, seq)))
        journal.transact(finish)

    def _measure(self, journal: Journal) -> None:
        def look(execute: Execute) -> None:
            self.mirror.measure(execute)
            kept = read(execute)
            states = execute("select session from total where last_seq > ?", (kept.stated,)).fetchall()
            self.dirty.update(dict.fromkeys(session for (session,) in states))

        journal.transact(look)

    def _catch_up(self, journal: Journal) -> None:
        """Take over what is stored and not here: of transactions that were rolled back or lost."""
        kept = Kept()

        def look(execute: Execute) -> None:
            nonlocal kept
            kept = read(execute)

        with self._off():
            journal.transact(look)
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
        # Rows that were only here: they are sent with this transaction.
        unsent = [seq for (seq,) in execute("select seq from event where seq > ?", (kept.seq,)).fetchall()]
        self._replaced += unsent
        for session, at_ns in gone:
            execute("insert or ignore into gone values(?, ?)", (session, at_ns))
        seq = execute(_MAX).get
        again: list[Stored] = []
        for row in stored:
            if execute(_IS_GONE, (row.session,)).get:
                continue
            here = execute(_SEQ_OF, (row.id, row.phase)).get
            if here is not None:
                self._take_contents(execute, row, here)
            elif row.seq > seq:
                execute(_INSERT, row)
                seq = row.seq
                self._touched.add(row.session)
            else:
                again.append(row)
        write(execute, kept._replace(seq=max(seq, kept.seq), rev=rev))
        # Their seqs are of other rows here: they get new ones, and are stored with these.
        for row in again:
            seq += 1
            execute(_INSERT, row._replace(seq=seq))
        # After the row that says so, since the newest row of a journal stays.
        for session, _ in gone:
            _delete(execute, session)
        for batch in batches:
            if batch.gone:
                execute(_FORGET, (batch.journal, batch.last, batch.first))
            else:
                execute(_RECEIVED, batch[:6])
        take_notes(execute, notes)

    def _take_contents(self, execute: Execute, row: Stored, seq: int) -> None:
        """Take over the contents of a row that is here under a seq, unless it is cold."""
        with suppress(UnicodeDecodeError):
            here = execute(_HERE, (seq,)).fetchone()
            if here is not None and Stored._make(here).bare != row.bare:
                execute(_PUT, row._replace(seq=seq))

    def _off(self) -> _Off:
        return _Off(self)

    # States

    def states(self, journal: Journal) -> list[tuple[Any, ...]]:
        """Return the states of a few sessions that have changed; `put_states` stores them."""
        some = [session for session, _ in zip(self.dirty, range(_STATES), strict=False)]
        states: list[tuple[Any, ...]] = []

        def look(execute: Execute) -> None:
            kept = read(execute)
            rev = max(clock.now_ns(), kept.rev + 1)
            derived = States(execute)
            read_states = (derived.of(session, rev) for session in some)
            states.extend(state for state in read_states if state is not None)
            if len(some) == len(self.dirty):
                self._stating = execute(_MAX).get
            if self._stated > kept.stated:
                write(execute, kept._replace(stated=self._stated))

        with self._off():
            journal.transact(look)
        for session in some:
            del self.dirty[session]
        return states

    def put_states(self, states: Sequence[tuple[Any, ...]]) -> None:
        """Store states; after an error they are written another time."""
        try:
            self.archive.put_states(COLUMNS, states)
        except EngineError as error:
            self.dirty.update(dict.fromkeys(bytes.fromhex(session) for session, *_ in states))
            self._stating = 0
            raise JournalError(str(error)) from error
        self._stated = max(self._stated, self._stating)

    def clean(self) -> None:
        """Delete the rows of sessions that are gone."""
        buried, self.buried = self.buried, []
        if buried:
            try:
                self.archive.clean(buried)
            except EngineError as error:
                self.buried += buried
                raise JournalError(str(error)) from error


def take_notes(execute: Execute, notes: Iterable[tuple[str, str | None]]) -> None:
    """Note in a journal what is stored under keys."""
    for key, value in notes:
        if value is None:
            execute(_NOTE_NO_MORE, (key,))
        else:
            execute(_NOTE, (key, value))


def _forget_notes(execute: Execute) -> None:
    execute("delete from noted_received")
    execute("delete from noted_gone")
    execute("delete from noted_meta")


def _delete(execute: Execute, session: bytes) -> None:
    """Delete what is here of a session that is gone."""
    key = execute("select key from total where session = ?", (session,)).get
    for name, statement in statements("prune.sql").items():
        if name.startswith("delete_") and key is not None:
            execute(statement, {"key": key, "session": session})
    execute("delete from cold where session = ?", (session,))
    execute("delete from cold_kind where session = ?", (session,))


class _Off:
    """A context in which nothing is sent: what is written is of the mirror alone."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def __enter__(self) -> None:
        self._outbox._is_off = True

    def __exit__(self, *failure: object) -> None:
        self._outbox._is_off = False


def read(execute: Execute) -> Kept:
    """Return what is noted of what ClickHouse has."""
    text = execute(_READ).get
    return Kept(**encode.loads(text)) if text else Kept()


def write(execute: Execute, kept: Kept) -> None:
    """Note what ClickHouse has."""
    execute(_WRITE, (encode.dumps(kept._asdict()).decode(),))


def _last_of_each(batches: Sequence[Received]) -> list[Received]:
    """Return the last note of each batch: of two with the same rev, either could count."""
    return list({(batch.journal, batch.last, batch.first): batch for batch in batches}.values())
