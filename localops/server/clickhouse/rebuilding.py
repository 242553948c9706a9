"""Rebuild a mirror that was lost: derived rows from the states of sessions, and the ids of all rows.

A session is derived from its rows, as in any journal, if its state is of another schema or older than its rows (a
killed hub could not write those of the last second).
"""

from __future__ import annotations

from itertools import islice

from localops.encoding import encode
from localops.journal import blobs, rollups, rows
from localops.journal.stored import Stored
from localops.server.clickhouse import kind_sums
from localops.server.clickhouse.mirror import KEPT_KINDS
from localops.server.clickhouse.row_writing import put_rows
from localops.server.clickhouse.states import States, keep_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from localops.journal.journal import Journal
    from localops.server.clickhouse.archive import Archive
    from localops.server.clickhouse.mirror import Mirror

    T = TypeVar("T")
    Execute = Callable[..., Any]

_SESSIONS = 1_000  # in one transaction
_IDS = 50_000
_PUT = "insert or replace"
_RECEIVED = "insert or replace into received values(?, ?, ?, ?, ?, ?)"
_HAS_BEGUN = "select 1 from unfinished where id = ?"
_KEY_OF = "select key from total where session = ?"


def rebuild(journal: Journal, mirror: Mirror, archive: Archive, upto: int) -> list[bytes]:
    """Make an empty mirror equal to the archive, whose last row has the seq `upto`.

    Return the sessions whose states have to be written again.
    """
    return _Rebuilding(journal, mirror, archive, upto).work()


class _Rebuilding:
    def __init__(self, journal: Journal, mirror: Mirror, archive: Archive, upto: int) -> None:
        self.journal, self.mirror, self.archive, self.upto = journal, mirror, archive, upto
        self.gone = dict(archive.gone())
        self.held = {held.session: held for held in archive.held() if held.session not in self.gone}
        # The sessions whose derived rows are as their rows, and the keys of the others that have one.
        self.derived: set[bytes] = set()
        self.keys: dict[bytes, int] = {}

    def work(self) -> list[bytes]:
        self._write(self._empty)
        self._write_derived()
        stale = [session for session in self.held if session not in self.derived]
        self._write_rows(stale)
        self._write_ids()
        self._write_kept()
        self._write_begun()
        self._write(self._finish)
        # The next seq follows from the newest row, so the mirror needs that row.
        self.mirror.load(
            self.journal, self._cold("select key from total where last_seq = (select max(last_seq) from total)")
        )
        return [session for session in stale if any(session)]

    def _write(self, work: Callable[[Execute], None]) -> None:
        # Nothing is folded yet: rows of one session are written in several transactions.
        self.journal.transact(work, folded=False)

    def _empty(self, execute: Execute) -> None:
        for table in (*rollups.DERIVED, "received", "gone", "cold", "kind_sum"):
            execute(f"delete from {table}")  # noqa: S608
        # Also what an interrupted attempt has written, even the newest row, which a trigger keeps.
        guard = execute("select sql from sqlite_schema where name = 'seq_is_never_reused'").get
        execute("drop trigger seq_is_never_reused")
        execute("delete from event")
        execute(guard)
        execute("update mark set seq = 0")
        kind_sums.move_mark(execute, self.upto)
        for session, at_ns in self.gone.items():
            execute("insert into gone values(?, ?)", (session, at_ns))
        for batch in self.archive.received():
            if not batch.gone:
                execute(_RECEIVED, batch[:6])

        for key, value in self.archive.notes():
            if value is not None:
                execute("insert or replace into meta values(?, ?)", (key, value))

    def _write_derived(self) -> None:
        for some in _parts(self.archive.states(), _SESSIONS):

            def work(execute: Execute, some: list[tuple[bytes, str]] = some) -> None:
                states = States(execute)
                for session, text in some:
                    held = self.held.get(session)
                    derived = states.unpacked(text)
                    if held is None or derived is None:
                        continue
                    if derived.total["rows"] == held.rows and derived.total["last_seq"] == held.last_seq:
                        states.write(derived, upto=held.last_seq)
                        self.derived.add(session)
                    else:
                        self.keys[session] = derived.total["key"]

            self._write(work)

    def _write_rows(self, sessions: list[bytes]) -> None:
        """Write the rows of sessions without a usable state, and derive them."""
        for some in _parts(sessions, _SESSIONS):

            def work(execute: Execute, some: list[bytes] = some) -> None:
                rows_of_some = list(self.archive.rows(some))
                owners = self.archive.newest_at([row.seq for row in rows_of_some])
                # If another row was stored later with the same seq, the transaction of this one failed.
                owned = (row for row in rows_of_some if owners[row.seq] == (row.id, row.phase))
                put_rows(execute, owned, _PUT)

            self._write(work)

        def keep(execute: Execute) -> None:
            keep_keys(execute, self.keys.items())

        self._write(keep)
        self.journal.fold()
        for some in _parts(sessions, _SESSIONS):

            def sum_up(execute: Execute, some: list[bytes] = some) -> None:
                for session in filter(any, some):
                    kind_sums.recompute(execute, session)

            self._write(sum_up)

    def _write_ids(self) -> None:
        for some in _parts(self.archive.identities(), _IDS):

            def work(execute: Execute, some: list[tuple[bytes, bytes, int, int]] = some) -> None:
                keys: dict[bytes, int] = {}
                for session, id, phase, seq in some:
                    if session not in self.derived:
                        continue
                    key = keys.get(session)
                    if key is None:
                        key = keys[session] = execute(_KEY_OF, (session,)).get
                    execute("insert or ignore into id_of values(?, ?, ?)", (id, phase, seq))
                    execute("insert or ignore into event_of values(?, ?)", (key, seq))

            self._write(work)

    def _write_kept(self) -> None:
        for some in _parts(self.archive.kept(KEPT_KINDS), _SESSIONS):

            def work(execute: Execute, some: list[Stored] = some) -> None:
                derived = (row for row in some if row.session in self.derived)
                kept = (row for row in derived if row.kind in KEPT_KINDS or blobs.named([row.body]))
                put_rows(execute, kept, _PUT)

            self._write(work)

    def _finish(self, execute: Execute) -> None:
        execute("update mark set seq = ?", (self.upto,))
        # The seqs are the same, so it stays the same journal.
        bodies = execute("select body from event where kind = 'journal' and name <> 'trace' order by seq").fetchall()
        for (body,) in bodies:
            id = encode.loads(body).get("journal")
            if isinstance(id, str):
                execute("update meta set value = ? where key = 'journal'", (id,))
                self.journal.id = id

    def _write_begun(self) -> None:
        """Write the rows of operations that have not ended."""
        for some in _parts(self._cold("select distinct key from unfinished"), _SESSIONS):

            def work(execute: Execute, some: list[bytes] = some) -> None:
                opening = (row for row in self.archive.rows(some) if row.phase == rows.OPEN)
                put_rows(execute, (row for row in opening if execute(_HAS_BEGUN, (row.id,)).get), _PUT)

            self._write(work)

    def _cold(self, keys: str) -> list[bytes]:
        """Return the cold sessions of a statement's keys."""
        sessions: list[bytes] = []

        def look(execute: Execute) -> None:
            statement = f"select c.session from cold c join total t on t.session = c.session where t.key in ({keys})"  # noqa: S608
            sessions.extend(session for (session,) in execute(statement).fetchall())

        self._write(look)
        return sessions


def _parts(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while part := list(islice(rest, size)):
        yield part
