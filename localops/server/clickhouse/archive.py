"""Stores the rows of one project in ClickHouse, and reads them.

A row that is stored again has a greater `rev`, and the greatest one counts.  The table is sorted by session, so that a
query about one session reads only its part of the table.
"""

from __future__ import annotations

from typing import NamedTuple

from localops.server.clickhouse import event_rows
from localops.server.clickhouse.engine import PART
from localops.server.clickhouse.event_rows import day_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    from localops.journal.stored import Stored
    from localops.server.clickhouse.engine import Engine

    T = TypeVar("T")

# The columns of a row, and the rev, which is greatest in the newest of its versions.
_ANSWERED = f"{', '.join(event_rows.READ)}, rev"
_AT_ONCE = 500  # sessions or ids in one query


class Received(NamedTuple):
    """A batch that was received from a journal; `gone`: the journal here has forgotten it since."""

    journal: str
    first: int
    last: int
    id: bytes
    phase: int
    at_ns: int
    gone: bool


class Version(NamedTuple):
    """The newest version of a row that has older ones."""

    session: bytes
    id: bytes
    phase: int
    rev: int


class StoredSession(NamedTuple):
    """What the archive has of a session."""

    session: bytes
    rows: int
    last_seq: int


class Archive:
    """The rows of one project in ClickHouse."""

    def __init__(self, engine: Engine, project: str, check: Callable[[], object] | None = None) -> None:
        self.engine, self.project = engine, project
        # Raises EngineError if nothing may be stored now.
        self._check = check

    # Storing

    def put(self, added: Iterable[tuple[Stored, event_rows.Counts]], rev: int) -> None:
        """Store rows with their seqs, each with its cache-write tokens; they are stored when this returns."""
        self._put_blocks(event_rows.blocks(self.project, added, rev))

    def put_new(self, added: Sequence[event_rows.New], rev: int) -> None:
        """Store rows as they were received, with the seqs that they got; they are stored when this returns."""
        self._put_blocks(event_rows.new_blocks(self.project, added, rev))

    def _put_blocks(self, blocks: Iterable[bytes]) -> None:
        self._check_lease()
        self.engine.put_blocks("lo_event", event_rows.WRITTEN, blocks)

    def put_received(self, batches: Sequence[Received], rev: int) -> None:
        """Store which batches were received, or forgotten."""
        self._put(
            "lo_received",
            ("project", *Received._fields, "rev"),
            ((self.project, *batch._replace(id=batch.id.hex(), gone=int(batch.gone)), rev) for batch in batches),  # type: ignore[arg-type]
        )

    def put_notes(self, notes: Iterable[tuple[str, str | None]], rev: int) -> None:
        """Store values of the journal's `meta` table by key; None: the key was deleted."""
        self._put(
            "lo_meta", ("project", "key", "value", "rev"), ((self.project, key, value, rev) for key, value in notes)
        )

    def mark_deleted(self, sessions: dict[bytes, int], rev: int) -> None:
        """Store that sessions were deleted, and when; `clean` deletes their rows."""
        self._put(
            "lo_session",
            ("project", "session", "day", "rev", "gone", "gone_ns", "state", "derived"),
            ((self.project, id.hex(), day_of(id), rev, 1, at_ns, "gone", "") for id, at_ns in sessions.items()),
        )

    def clean(self, sessions: Sequence[bytes]) -> None:
        """Have ClickHouse delete the rows of deleted sessions, which takes it a while."""
        for some in _some(sessions):
            self.engine.do(
                f"alter table {self._altered('lo_event')} delete "
                "where project = {project} and session in {sessions}",
                is_later=True,
                project=self.project,
                sessions=some,
            )

    def delete_before(self, newest: Sequence[Version]) -> None:
        """Have ClickHouse delete the earlier versions of rows, and of the states of their sessions, after a while."""
        for some in _some(newest):
            sessions = sorted({version.session for version in some})
            days = sorted(set(map(day_of, sessions)))
            self.engine.do(
                f"alter table {self._altered('lo_event')} delete "
                "where project = {project} and day in {days} and rev <= {most} "
                "and (session, id, phase) in {keys} and (session, id, phase, rev) not in {newest}",
                is_later=True,
                project=self.project,
                days=days,
                most=max(version.rev for version in some),
                keys=[(session, id, phase) for session, id, phase, _ in some],
                newest=list(map(tuple, some)),
            )
            states = self._ask(
                "select session, max(rev) as newest from lo_session where project = {project} and day in {days} "
                "and session in {sessions} group by session having count() > 1",
                days=days,
                sessions=sessions,
            )
            if states:
                self.engine.do(
                    f"alter table {self._altered('lo_session')} delete "
                    "where project = {project} and day in {days} and rev <= {most} "
                    "and session in {sessions} and (session, rev) not in {newest}",
                    is_later=True,
                    project=self.project,
                    days=days,
                    most=max(rev for _, rev in states),
                    sessions=[session for session, _ in states],
                    newest=states,
                )

    def _altered(self, table: str) -> str:
        return self.engine.address.altered(table)

    def put_states(self, columns: Sequence[str], states: Iterable[Sequence[Any]]) -> None:
        """Store the states of sessions."""
        self._put("lo_session", ("project", *columns), ((self.project, *state) for state in states))

    def _put(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self._check_lease()
        self.engine.put(table, columns, rows)

    def _check_lease(self) -> None:
        """Raise where another hub writes to the database now."""
        if self._check is not None:
            self._check()

    # What is here

    def is_empty(self) -> bool:
        """Return whether nothing is stored of the project."""
        return not self._ask("select 1 as one from lo_event where project = {project} limit 1")

    def newest(self) -> tuple[int, int]:
        """Return the greatest seq and the greatest rev."""
        [(seq, rev)] = self._ask("select max(seq) as seq, max(rev) as rev from lo_event where project = {project}")
        return seq, rev

    def rows(self, sessions: Sequence[bytes]) -> Iterator[Stored]:
        """Yield the rows of sessions, each once and in no order."""
        for some in _some(sessions):
            yield from _newest(
                self._rows(
                    f"select {_ANSWERED} from lo_event "  # noqa: S608
                    "where project = {project} and day in {days} and session in {sessions}",
                    days=sorted(set(map(day_of, some))),
                    sessions=some,
                )
            )

    def every(self, sessions: Sequence[bytes] | None = None) -> Iterator[Stored]:
        """Yield every row once, in no order; `sessions`: only theirs."""
        if sessions is not None:
            yield from self.rows(sessions)
            return
        yield from _stored(
            self._rows(f"select {_ANSWERED} from lo_event final where project = {{project}}")  # noqa: S608
        )

    def between(self, after: int, upto: int) -> list[Stored]:
        """Return the rows after a seq up to another, in order."""
        statement = (
            f"select {_ANSWERED} from lo_event where project = {{project}} "  # noqa: S608
            "and seq > {after} and seq <= {upto}"
        )
        return sorted(_newest(self._rows(statement, after=after, upto=upto)), key=lambda row: row.seq)

    def session_at(self, seq: int) -> bytes | None:
        """Return the session of the row that has a seq."""
        statement = (
            "select argMax(session, rev) as owner from lo_event where project = {project} and seq = {seq} group by seq"
        )
        return next((bytes.fromhex(session) for (session,) in self._ask(statement, seq=seq)), None)

    def newest_at(self, seqs: Sequence[int]) -> dict[int, tuple[bytes, int]]:
        """Return id and phase of the row that has each of these seqs: of several, of the one with the greatest rev."""
        return {
            seq: (bytes.fromhex(id), phase)
            for some in _some(seqs)
            for seq, id, phase in self._ask(
                "select seq, argMax(id, rev) as newest, argMax(phase, rev) as newest_phase from lo_event "
                "where project = {project} and seq in {seqs} group by seq",
                seqs=some,
            )
        }

    def since(self, rev: int) -> list[Stored]:
        """Return the rows that were stored after a rev, in the order of their seqs."""
        statement = f"select {_ANSWERED} from lo_event where project = {{project}} and rev > {{rev}}"  # noqa: S608
        lines = self._rows(statement, rev=rev)
        return sorted(_newest(lines), key=lambda row: row.seq)

    def owners(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the session of each row of these ids."""
        return {
            bytes.fromhex(id): bytes.fromhex(session)
            for some in _some(ids)
            for id, session in self._ask(
                "select id, argMax(session, rev) as owner from lo_event "
                "where project = {project} and id in {ids} group by id",
                ids=some,
            )
        }

    def kept(self, kinds: Iterable[str]) -> Iterator[Stored]:
        """Yield the rows of some kinds, and those that may name a file."""
        return _stored(
            self._rows(
                f"select {_ANSWERED} from lo_event final "  # noqa: S608
                "where project = {project} and (kind in {kinds} or position(ifNull(body, ''), 'blob') > 0)",
                kinds=tuple(sorted(kinds)),
            )
        )

    def identities(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """Yield session, id, phase and seq of every row."""
        lines = self._rows("select session, id, phase, seq from lo_event final where project = {project}")
        return ((bytes.fromhex(session), bytes.fromhex(id), phase, seq) for session, id, phase, seq in lines)

    def held(self) -> Iterator[StoredSession]:
        """Yield what is here of each session."""
        lines = self._rows(
            "select session, uniqExact(id, phase) as many, max(seq) as last from lo_event "
            "where project = {project} group by session"
        )
        return (StoredSession(bytes.fromhex(session), many, last) for session, many, last in lines)

    def figures(self) -> Iterator[tuple[bytes, int, int, int, int]]:
        """Yield each session with the number of its rows, the sums of their seqs and checksums, and the last seq."""
        lines = self._rows(
            "select session, count() as many, sum(seq) as seqs, sum(sum) as sums, max(seq) as last "
            "from lo_event final where project = {project} group by session"
        )
        return ((bytes.fromhex(session), *figures) for session, *figures in lines)

    def repeated(self, most: int) -> list[Version]:
        """Return the newest versions of rows whose older versions are still stored, at most `most` of them."""
        lines = self._ask(
            "select session, id, phase, max(rev) as newest from lo_event where project = {project} and session in "
            "(select session from lo_event where project = {project} group by session "
            "having count() > uniqExact(id, phase)) group by session, id, phase having count() > 1 limit {most}",
            most=most,
        )
        return [Version(bytes.fromhex(session), bytes.fromhex(id), phase, rev) for session, id, phase, rev in lines]

    def states(self, sessions: Sequence[bytes] | None = None) -> Iterator[tuple[bytes, str]]:
        """Yield the derived rows of each session that was not deleted, as `states.py` writes them; or of `sessions`."""
        statement = "select session, derived from lo_session final where project = {project} and gone = 0"
        if sessions is None:
            lines = self._rows(statement)
        else:
            some = f"{statement} and session in {{sessions}}"
            lines = (line for ids in _some(sessions) for line in self._rows(some, sessions=ids))
        return ((bytes.fromhex(session), derived) for session, derived in lines)

    def gone(self, rev: int = 0) -> list[tuple[bytes, int]]:
        """Return the sessions that were deleted since a rev, and when."""
        lines = self._ask(
            "select session, gone_ns from lo_session final where project = {project} and gone = 1 and rev > {rev}",
            rev=rev,
        )
        return [(bytes.fromhex(session), at_ns) for session, at_ns in lines]

    def left_over(self) -> list[bytes]:
        """Return the deleted sessions that still have rows."""
        lines = self._ask(
            "select distinct session from lo_event where project = {project} and session in "
            "(select session from lo_session final where project = {project} and gone = 1)"
        )
        return [bytes.fromhex(session) for (session,) in lines]

    def received(self, rev: int = 0) -> list[Received]:
        """Return the batches that were received or forgotten since a rev."""
        lines = self._ask(
            f"select {', '.join(Received._fields)} from lo_received final "  # noqa: S608
            "where project = {project} and rev > {rev}",
            rev=rev,
        )
        return [Received(*batch)._replace(id=bytes.fromhex(batch[3])) for batch in lines]

    def stored(self) -> int:
        """Return about how many bytes the rows take on one host of each shard: their share of the table's."""
        where = self.engine.address
        parts, table = ("system.parts", "lo_event")
        if where.shards:
            parts, table = f"cluster('{where.cluster}', system, parts)", f"lo_event{PART}"
        lines = self._ask(
            f"select sum(bytes_on_disk) as size, sum(rows) as many from {parts} "  # noqa: S608
            "where database = {database} and table = {table} and active",
            database=where.database,
            table=table,
        )
        [(size, many)] = lines
        own = self._ask("select count() as many from lo_event where project = {project}")
        [(mine,)] = own
        return int(size) * int(mine) // max(int(many), int(mine), 1)

    def notes(self, rev: int = 0) -> list[tuple[str, str | None]]:
        """Return the values of `meta` that changed since a rev, by key."""
        statement = "select key, value from lo_meta final where project = {project} and rev > {rev}"
        return [(key, value) for key, value in self._ask(statement, rev=rev)]

    def _ask(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.engine.ask(statement, project=self.project, **values)

    def _rows(self, statement: str, **values: Any) -> Iterator[tuple[Any, ...]]:
        return self.engine.rows(statement, project=self.project, **values)


def projects(engine: Engine) -> list[str]:
    """Return the projects that have rows."""
    return sorted(str(name) for (name,) in engine.ask("select distinct project from lo_event"))


def _some(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(ids), _AT_ONCE):
        yield ids[at : at + _AT_ONCE]


def _newest(answered: Iterable[tuple[Any, ...]]) -> Iterator[Stored]:
    """Yield each row once: of several versions that ClickHouse has not merged yet, the one with the greatest rev."""
    newest: dict[tuple[str, int], tuple[int, Any]] = {}
    for row in answered:
        _, id, phase, *_ = row
        *_, rev = row
        known_rev, _ = newest.get((id, phase), (-1, None))
        if known_rev < rev:
            newest[id, phase] = (rev, row)
    return _stored(row for _, row in newest.values())


def _stored(answered: Iterable[tuple[Any, ...]]) -> Iterator[Stored]:
    for *columns, _ in answered:
        yield event_rows.stored(tuple(columns))
