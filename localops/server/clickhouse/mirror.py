"""The mirror of a project: a journal that has all derived rows, and the rows of sessions in use.

Other sessions are cold: their rows are in the archive only, and are brought back with their seqs when a read or a batch
needs them.  Rows that lists, figures and deletions read across sessions always stay: bookkeeping rows, agents, scores,
rows that name files, and the rows of operations that have not ended.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from contextlib import contextmanager
from typing import NamedTuple

from localops import clock
from localops.encoding import encode
from localops.errors import JournalError
from localops.journal import blobs, rows
from localops.journal.stored import Stored
from localops.server.clickhouse import kind_sums
from localops.server.clickhouse.row_writing import put_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Protocol

    from localops.journal.keeper import Transacting

    Execute = Callable[..., Any]
    # Where the search for sessions to evict begins: whether it spares recently read ones, and a seq.
    Place = tuple[bool, int]

    class Archive(Protocol):
        """The permanent store of a project's rows."""

        def rows(self, sessions: Sequence[bytes]) -> Iterable[Stored]:
            """Return the rows of sessions, each once."""

        def owners(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
            """Return the sessions of rows by their ids."""

        def between(self, after: int, upto: int) -> Sequence[Stored]:
            """Return the rows after a seq up to another, in order."""

        def session_at(self, seq: int) -> bytes | None:
            """Return the session of the row that has a seq."""


# The named queries about one session that need only rows which always stay.
LIGHT = frozenset(
    "totals last_ns story declared_end session_tags spent unfinished known_session parts all_parts scores "
    "lacks_rows gone".split()
)
BOUND = 4 << 30  # bytes of rows in a mirror
_TO = 0.8  # rows are evicted down to this part of the bound
_AT_ONCE = 50  # sessions that are evicted in one transaction
_LOOKED_AT = 500  # sessions that are searched for these
_ROW = 200  # bytes of a row without its body, about
_USED = 10_000  # sessions whose last use is remembered

BEGIN: Place = (True, 0)

_TOKENS = ", ".join(rows.TOKENS)
_PREPARED = (
    # The sessions whose rows up to a seq are only in the archive.
    "create table if not exists cold(session blob primary key, upto integer not null) strict, without rowid",
    "create index if not exists total_by_last_seq on total(last_seq)",
    # Changes of `received`, `meta` and `gone` that ClickHouse does not have yet, by any process.  No number is used
    # twice: a process deletes up to the last one that it has sent.
    """create table if not exists unsent_received(
      number integer primary key autoincrement, journal, first, last, id, phase, at_ns, gone)""",
    "create table if not exists unsent_meta(number integer primary key autoincrement, key)",
    "create table if not exists unsent_gone(session, at_ns)",
    "create table if not exists unsent_event(seq integer primary key)",
    # The replaced rows whose earlier versions ClickHouse still has.
    """create table if not exists replaced(
      session blob not null, id blob not null, phase integer not null, rev integer not null,
      primary key(session, id, phase)) strict, without rowid""",
    # While a move brings back all rows: no process evicts any until this time.
    "create table if not exists staying(one integer primary key check(one = 1), until_ns integer not null)",
    """create trigger if not exists note_replaced after update on event begin
      insert or ignore into unsent_event values(new.seq);
    end""",
    """create trigger if not exists note_received after insert on received begin
      insert into unsent_received values(null, new.journal, new.first, new.last, new.id, new.phase, new.at_ns, 0);
    end""",
    """create trigger if not exists note_forgotten after delete on received begin
      insert into unsent_received values(null, old.journal, old.first, old.last, old.id, old.phase, old.at_ns, 1);
    end""",
    """create trigger if not exists note_gone after insert on gone begin
      insert into unsent_gone values(new.session, new.at_ns);
    end""",
    # Except what is about the file alone.
    *(
        f"""create trigger if not exists note_{event} after {event} on meta
        when {row}.key not in ('mirror', 'journal', 'place', 'writer', 'about')
        begin insert into unsent_meta values(null, {row}.key); end"""
        for event, row in (("insert", "new"), ("update", "new"), ("delete", "old"))
    ),
)
# What is dropped when the journal stops being a mirror.
_DROPPED = (
    *(f"note_{event}" for event in ("replaced", "received", "forgotten", "gone", "insert", "update", "delete")),
    "total_by_last_seq",
    *(
        "cold",
        *kind_sums.TABLES,
        "unsent_received",
        "unsent_meta",
        "unsent_gone",
        "unsent_event",
        "replaced",
        "staying",
    ),
)
_WHAT_IS = "select type from sqlite_schema where name = ?"
_STAY = "insert or replace into staying values(1, ?)"
_STAYS = "select exists (select 1 from staying where until_ns > ?)"
_STAY_NS = 86_400_000_000_000
_SOME_COLD = """
select c.session, t.rows
from cold c
join total t on t.session = c.session
limit ?"""
KEPT_KINDS = frozenset({*rows.MILESTONES, "journal", "pruned", "scored", "agent"})
_KEPT = ", ".join(f"'{kind}'" for kind in sorted(KEPT_KINDS))
IS_COLD = "select upto from cold where session = ?"
_SEQ_OF = "select seq from id_of where id = ? and phase = ?"
_HAS_ROW = """
select exists (select 1 from event where seq = i.seq)
from id_of i
where i.id = :id and i.phase = :phase"""
_LACKS = """
select count(*)
from total t
join event_of o on o.key = t.key
where t.session = ?
  and not exists (select 1 from event e where e.seq = o.seq)"""
_VICTIMS = """
select t.session, t.key, t.last_seq, coalesce(c.upto, 0)
from total t indexed by total_by_last_seq
left join cold c on c.session = t.session
where t.last_seq > :after
  and (c.upto is null or c.upto < t.last_seq)
order by t.last_seq
limit :many"""
# Rows that may be evicted: seq, size, and the body if it may name a file.
_SPARE = f"""
select e.seq, {_ROW} + coalesce(octet_length(e.body), 0), iif(instr(e.body, 'blob') > 0, e.body, null)
from event_of o
join event e on e.seq = o.seq
where o.key = :key
  and e.kind not in ({_KEPT})
  and e.seq not in (select seq from unfinished where key = :key)
  and e.seq < (select max(seq) from event)"""  # noqa: S608
_SIZE = f"select coalesce(sum({_ROW} + coalesce(octet_length(body), 0)), 0) from event"  # noqa: S608


class Mirror:
    """The rows of one project that are here: at most about `bound` bytes."""

    def __init__(self, archive: Archive, *, bound: int = BOUND) -> None:
        self.archive, self.bound = archive, bound
        self.size = 0  # about how many bytes the rows take that are here
        self._lock = threading.Lock()
        # The sessions that are being read, and by how many reads.
        self._pinned: Counter[bytes] = Counter()
        # The sessions that were read recently, the latest last.
        self._used: OrderedDict[bytes, None] = OrderedDict()

    def prepare(self, execute: Execute) -> None:
        """Create the tables and triggers that only a mirror has, in a transaction."""
        for statement in _PREPARED:
            execute(statement)
        kind_sums.prepare(execute)

    def measure(self, execute: Execute) -> None:
        """Determine how many bytes of rows are here."""
        self.size = execute(_SIZE).get

    # Bringing back

    def pin(self, session: bytes) -> None:
        """Keep the rows of a session from being evicted until it is released."""
        with self._lock:
            self._pinned[session] += 1
            self._used[session] = None
            self._used.move_to_end(session)
            if len(self._used) > _USED:
                self._used.popitem(last=False)

    def release(self, sessions: Iterable[bytes]) -> None:
        """Release sessions that were pinned, once each."""
        with self._lock:
            self._pinned.subtract(sessions)
            self._pinned = +self._pinned

    @contextmanager
    def pinned(self, sessions: Sequence[bytes]) -> Iterator[None]:
        """Keep sessions pinned inside a `with` block."""
        for session in sessions:
            self.pin(session)
        try:
            yield
        finally:
            self.release(sessions)

    def load(self, journal: Transacting, sessions: Sequence[bytes]) -> None:
        """Bring back all rows of some sessions."""
        self.put_back(journal, self.fetched(sessions))

    def fetched(self, sessions: Sequence[bytes]) -> dict[bytes, list[Stored]]:
        """Return the rows of sessions from the archive."""
        fetched: dict[bytes, list[Stored]] = {session: [] for session in sessions}
        if sessions:
            for row in self.archive.rows(sessions):
                fetched[row.session].append(row)
        return fetched

    def put_back(self, journal: Transacting, fetched: dict[bytes, list[Stored]]) -> None:
        """Write rows that were fetched from the archive into the journal."""

        def work(execute: Execute) -> None:
            for session, rows_of_it in fetched.items():
                self._put_back_one(execute, session, rows_of_it)

        if fetched:
            journal.transact(work)

    def _put_back_one(self, execute: Execute, session: bytes, fetched: Iterable[Stored]) -> None:
        # None: another thread has brought it back meanwhile, or it was deleted.
        if execute(IS_COLD, (session,)).get is None:
            return
        put_rows(execute, self._known(execute, fetched), "insert or ignore")
        if lacking := execute(_LACKS, (session,)).get:
            name = rows.id_text(session)
            raise JournalError(f"{lacking} rows of session {name} cannot be read from ClickHouse at the moment")
        execute("delete from cold where session = ?", (session,))

    def _known(self, execute: Execute, fetched: Iterable[Stored]) -> Iterator[Stored]:
        """Yield the rows that are known here, with the seqs that they have here, and count their sizes."""
        for row in fetched:
            # An unknown row is from a transaction that failed; its sender sends it again.
            seq = execute(_SEQ_OF, (row.id, row.phase)).get
            if seq is not None:
                self.size += _ROW + len(row.body or "")
                yield row._replace(seq=seq)

    def bring(self, execute: Execute, id: bytes, phase: int) -> bool:
        """Bring back a known row with its session, in a transaction; return whether the row is known."""
        if execute(_SEQ_OF, (id, phase)).get is None:
            return False
        session = self.archive.owners([id]).get(id)
        if session is None or execute(IS_COLD, (session,)).get is None:
            return False
        self._put_back_one(execute, session, self.archive.rows([session]))
        return True

    def before_read(self, journal: Transacting, name: str, values: Mapping[str, object]) -> None:
        """Bring back the rows that a named query of the journal's writer reads."""
        session = values.get("session")
        if name in LIGHT or not (name == "row" or isinstance(session, bytes)):
            return
        cold: list[bytes] = []

        def look(execute: Execute) -> None:
            if name == "row":
                if execute(_HAS_ROW, values).get == 0:
                    self.bring(execute, values["id"], values["phase"])  # type: ignore[arg-type]
            elif execute(IS_COLD, (session,)).get is not None:
                cold.append(session)  # type: ignore[arg-type]

        journal.transact(look)
        self.load(journal, cold)

    # Bringing back everything, for a move

    def cold(self, journal: Transacting, most: int) -> list[bytes]:
        """Return cold sessions with at most `most` rows together, or a larger one; evict nothing for a day."""
        some: list[bytes] = []

        def work(execute: Execute) -> None:
            execute(_STAY, (clock.now_ns() + _STAY_NS,))
            left = most
            for session, many in execute(_SOME_COLD, (_AT_ONCE,)).fetchall():
                if some and many > left:
                    break
                some.append(session)
                left -= many

        journal.transact(work)
        return some

    # Evicting

    def grow(self, bodies: Iterable[str | None]) -> None:
        """Count rows that were added, by their bodies."""
        self.size += sum(_ROW + len(body or "") for body in bodies)

    @property
    def is_full(self) -> bool:
        """Return whether the rows exceed the bound."""
        return self.size > self.bound

    def evict(self, journal: Transacting) -> int:
        """Evict the rows of the least recently used sessions, down to a part of the bound; return how many rows."""
        place: Place | None = BEGIN
        evicted = 0
        while place is not None:
            many, place = self.evict_some(journal, place)
            evicted += many
        return evicted

    def evict_some(self, journal: Transacting, place: Place) -> tuple[int, Place | None]:
        """Evict a few sessions, beginning at a place; return their number of rows, and the next place, if any."""
        evicted, freed, reached = 0, 0, 0
        # Recently read sessions come last.
        spares, after = place

        def work(execute: Execute) -> None:
            nonlocal evicted, freed, reached
            if execute(_STAYS, (clock.now_ns(),)).get:
                return
            # What is evicted is in the sums.
            kind_sums.fold(execute)
            page = execute(_VICTIMS, {"after": after, "many": _LOOKED_AT}).fetchall()
            spared = self._pinned.keys() | (self._used.keys() if spares else set())
            victims = [victim for victim in map(_Victim._make, page) if victim.session not in spared]
            if len(page) == _LOOKED_AT:
                reached = _Victim._make(page[-1]).last_seq
            if len(victims) > _AT_ONCE:
                victims = victims[:_AT_ONCE]
                reached = victims[-1].last_seq
            for victim in victims:
                many, size = _evict_one(execute, victim)
                evicted += many
                freed += size

        # A read that begins meanwhile waits, and then finds its session cold.
        with self._lock:
            journal.transact(work)
            self.size -= freed
        if self.size <= self.bound * _TO:
            return evicted, None
        if reached:
            return evicted, (spares, reached)
        return evicted, (False, 0) if spares else None


def leave(execute: Execute) -> None:
    """Drop the tables and triggers that only a mirror has, in a transaction of a journal that has every row."""
    for name in _DROPPED:
        kind = execute(_WHAT_IS, (name,)).get
        if kind is not None:
            execute(f"drop {kind} {name}")


class _Victim(NamedTuple):
    """A session to evict: some of its rows are here."""

    session: bytes
    key: int
    last_seq: int
    after: int  # rows up to this seq are cold already


def _evict_one(execute: Execute, victim: _Victim) -> tuple[int, int]:
    """Evict the rows of a session; return how many, and how many bytes they had."""
    spare = execute(_SPARE, {"key": victim.key}).fetchall()
    going = [(seq, size) for seq, size, body in spare if body is None or not blobs.named([body])]
    seqs = encode.dumps([seq for seq, _ in going]).decode()
    execute("delete from event where seq in (select value from json_each(?))", (seqs,))
    execute("insert or replace into cold values(?, ?)", (victim.session, victim.last_seq))
    return len(going), sum(size for _, size in going)
