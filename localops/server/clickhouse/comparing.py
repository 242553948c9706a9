"""Compare what a journal and ClickHouse have of a project: sessions, batches received, deletions and notes."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from dataclasses import dataclass, field

from localops.journal.reader import Reader
from localops.journal.stored import Stored, of_session
from localops.server.clickhouse import kind_sums
from localops.server.clickhouse.states import States

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from localops.server.clickhouse.archive import Archive

    Execute = Callable[..., Any]
    Transact = Callable[[Callable[[Execute], None]], None]

# While a hub serves, sessions that differ are compared again, at most this often.
_TRIES = 5
# Seconds before the second comparison; each later one waits twice as long.
_PAUSE = 0.2
# Sessions whose states are read in one transaction.
_STATES = 1_000
_FIGURES = """
select session, count(*), sum(seq), sum(sum), max(seq)
from event not indexed
group by session"""
_SESSIONS = "select session from total where session > ? order by session limit ?"
_BATCHES = "select journal, first, last, id, phase, at_ns from received"
_GONE = "select session, at_ns from gone"
_NOTES = "select key, value from meta where key not in ('mirror', 'journal', 'place', 'writer', 'about')"


@dataclass
class Compared:
    """The result of comparing a project: how much was compared, and what differs."""

    project: str
    sessions: int = 0
    rows: int = 0
    # Of the contents of all rows, whatever their order; empty if only sums were compared.
    digest: str = ""
    # The ids of sessions in hex, and the names of differing tables: batches, deletions, notes.
    differing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # The number of sessions that changed while they were compared.
    changing: int = 0


class Figures:
    """What is compared of a session: number of rows, sums of seqs and checksums, last seq, contents and state."""

    __slots__ = ("digest", "last", "rows", "seqs", "state", "sums")

    def __init__(self, many: int = 0, seqs: int = 0, sums: int = 0, last: int = 0) -> None:
        self.rows, self.seqs, self.sums, self.last = many, seqs, sums, last
        # The sum of the digests of rows: it does not depend on their order.
        self.digest = 0
        self.state = b""

    def add(self, row: Stored) -> None:
        """Count a row."""
        self.rows += 1
        self.seqs += row.seq
        self.sums += row.sum
        self.last = max(self.last, row.seq)
        self.digest = (self.digest + _digest(repr(tuple(row)))) & _MOST

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Figures) and self.all == other.all

    __hash__ = None  # type: ignore[assignment]

    @property
    def all(self) -> tuple[int, int, int, int, int, bytes]:
        """All figures."""
        return self.rows, self.seqs, self.sums, self.last, self.digest, self.state


_MOST = (1 << 128) - 1


def compare(
    project: str,
    path: str,
    archive: Archive,
    transact: Transact,
    refresh: Callable[[], None],
    *,
    whole: bool,
    is_served: bool,
) -> Compared:
    """Compare a journal with ClickHouse; with `whole`, also the contents of all rows and the states of sessions.

    `transact` runs a transaction on the journal.  `is_served`: a hub receives rows meanwhile; `refresh` sends what
    ClickHouse lacks, and sessions that differ are compared again.
    """
    compared = Compared(project)
    with Reader(path) as reader:
        here, there = _of_journal(reader, whole=whole), _of_archive(archive, whole=whole)
        if whole:
            _add_states(here, there, archive, transact)
        differing = [session for session in here.keys() | there.keys() if here.get(session) != there.get(session)]
        if is_served:
            differing = _again(reader, archive, transact, refresh, here, there, differing, compared)
        else:
            compared.notes = _notes(reader, archive)
    compared.sessions = sum(map(any, here))
    compared.rows = sum(figures.rows for figures in here.values())
    compared.differing = sorted(session.hex() for session in differing)
    if whole:
        digest = sum(figures.digest for figures in here.values()) & _MOST
        compared.digest = f"{digest:032x}"
    return compared


def _of_journal(reader: Reader, *, whole: bool) -> dict[bytes, Figures]:
    if whole:
        return _summed(reader.stream())
    return {session: Figures(*figures) for session, *figures in reader.ask(_FIGURES)}


def _of_archive(archive: Archive, *, whole: bool) -> dict[bytes, Figures]:
    if whole:
        return _summed(archive.every())
    return {session: Figures(*figures) for session, *figures in archive.figures()}


def _summed(some: Iterable[Stored]) -> dict[bytes, Figures]:
    figures: defaultdict[bytes, Figures] = defaultdict(Figures)
    for row in some:
        figures[row.session].add(row)
    return dict(figures)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())


# States of sessions


def _add_states(
    here: Mapping[bytes, Figures], there: Mapping[bytes, Figures], archive: Archive, transact: Transact
) -> None:
    for figures, states in ((here, _states_of_journal(transact)), (there, archive.states())):
        for session, derived in states:
            # Rows about the journal itself belong to no session, and have no state.
            if session in figures and any(session):
                figures[session].state = _short(derived)


def _states_of_journal(transact: Transact, only: Sequence[bytes] | None = None) -> Iterator[tuple[bytes, str]]:
    after = b""
    while True:
        some: list[tuple[bytes, str]] = []
        page: list[bytes] = []

        def work(
            execute: Execute, after: bytes = after, page: list[bytes] = page, some: list[tuple[bytes, str]] = some
        ) -> None:
            sessions = only
            if sessions is None:
                sessions = [session for (session,) in execute(_SESSIONS, (after, _STATES)).fetchall()]
            page.extend(sessions)
            kind_sums.fold(execute)
            states = States(execute)
            for session in page:
                derived = states.derived(session)
                if derived is not None:
                    some.append((session, derived))

        transact(work)
        yield from some
        if only is not None or len(page) < _STATES:
            return
        after = page[-1]


def _short(derived: str) -> bytes:
    return hashlib.blake2b(derived.encode(), digest_size=16).digest()


# While a hub serves


def _again(
    reader: Reader,
    archive: Archive,
    transact: Transact,
    refresh: Callable[[], None],
    here: dict[bytes, Figures],
    there: dict[bytes, Figures],
    differing: list[bytes],
    compared: Compared,
) -> list[bytes]:
    """Compare differing sessions again; return those that still differ although they do not change."""
    still: list[bytes] = differing
    for tried in range(_TRIES):
        if not still:
            break
        # The hub writes states a moment after their rows.
        time.sleep(_PAUSE * 2**tried)
        refresh()
        before = {session: here[session].all if session in here else None for session in still}
        for figures, some in ((here, _rows_here(reader, still)), (there, archive.every(still))):
            summed = _summed(some)
            for session in still:
                figures.pop(session, None)
            figures.update(summed)
        states = (_states_of_journal(transact, still), archive.states(still))
        for figures, some_states in zip((here, there), states, strict=True):
            for session, derived in some_states:
                if session in figures and any(session):
                    figures[session].state = _short(derived)
        still = [session for session in still if here.get(session) != there.get(session)]
        changed = [session for session in still if (here[session].all if session in here else None) != before[session]]
        compared.changing = len(changed)
    still_changing = set(changed) if still else set()
    return [session for session in still if session not in still_changing]


def _rows_here(reader: Reader, sessions: Sequence[bytes]) -> Iterator[Stored]:
    for session in sessions:
        yield from of_session(reader, session)


def _notes(reader: Reader, archive: Archive) -> list[str]:
    """Return the names of the tables beside the rows that differ."""
    batches = {tuple(batch) for batch in reader.ask(_BATCHES)}
    differing = {
        "batches": batches != {tuple(batch)[:6] for batch in archive.received() if not batch.gone},
        "deletions": dict(reader.ask(_GONE)) != dict(archive.gone()),
        "notes": dict(reader.ask(_NOTES)) != {key: value for key, value in archive.notes() if value is not None},
    }
    return [name for name, differs in differing.items() if differs]
