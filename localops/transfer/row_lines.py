"""Import rows that were exported as lines of JSON into a journal.

A session that lacks rows because a line is damaged, or the file was cut short, gets a row that says so: its figures are
lower bounds.  When a whole file of the session is imported later, another row cancels that one.

The first line of a session has the number of its lines, except in files of earlier releases.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from localops import output
from localops.journal import rows, stored, wire
from localops.journal.stored import Stored
from localops.reading.story import Story
from localops.transfer import stated_rows, validation
from localops.transfer.returned import Returned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.transfer.stated_rows import Work

_AT_ONCE = 1_000  # rows that are written together
_MOST_SIZE = 8 << 20  # bytes of their lines
_LONGEST = 256 << 20  # bytes of a line; a longer one is no row
_MOST_ROWS = 1 << 40  # a larger number is not a count of rows
_ID, _SESSION, _KIND, _AT = map(rows.COLUMNS.index, ("id", "session", "kind", "at_ns"))
_HEAD = re.compile(rb'\s*\{"id":"([0-9a-f]{32})","phase":([01]),"session":"([0-9a-f]{32})"')
_STATED = f'"{wire.SESSION_ROWS}":'.encode()


@dataclass
class Imported:
    """The result of an import: numbers of lines by outcome."""

    rows: int = 0
    new: int = 0
    gone: int = 0  # rows of sessions that were pruned or deleted here
    problems: list[str] = field(default_factory=list)


def are_in(path: str) -> bool:
    """Return whether the first line of a file is a row."""
    with open(path, "rb") as file:
        try:
            wire.to_row(file.readline(_LONGEST))
        except ValueError:
            return False
    return True


def take(journal: Journal, path: str) -> Imported:
    """Write the rows of a file that are not here yet; report each line that is not an intact row as a problem."""
    result = Imported()
    gone: dict[bytes, bool] = {}
    unread = _Unread()
    returned = Returned(journal)
    for some in _batches(path, result, unread):
        living = []
        for row in some:
            session = row[_SESSION]
            if session not in gone:
                gone[session] = journal.one("gone", session=session) is not None
            if gone[session]:
                result.gone += 1
            else:
                living.append(row)
        result.rows += len(some)
        result.new += journal.add(living)
    journal.fold()
    result.problems += unread.cuts(path)
    for find in (unread.notes, unread.found):
        if notes := list(find(journal)):
            journal.add(notes)
            journal.fold()
    returned.note()
    return result


class _Unread:
    """Finds the sessions that lack rows because lines of a file cannot be read."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}  # session -> the time of its last row in the file
        self._counts: Counter[bytes] = Counter()  # session -> its rows in the file
        self._stated: dict[bytes, int] = {}  # session -> its rows in the file when that was written
        self._work: dict[bytes, Work | None] = {}  # and those that are no bookkeeping
        self._is_followed = False  # whether another session followed the last one when the file was written
        self._begun: set[bytes] = set()
        self._ended: set[bytes] = set()
        self._losses: set[bytes] = set()  # the ids of the rows about missing rows
        # Unreadable lines, each with the row and the session that it names, or with the session of a row beside it.
        self._lines: list[tuple[bytes, tuple[bytes, int] | None, bytes | None]] = []
        self._before: bytes | None = None
        self._waiting: list[bytes] = []
        self._lacking: set[bytes] = set()  # the sessions that got a row about that

    def row(self, row: Row) -> None:
        """Note a row that was read."""
        session = self._before = row[_SESSION]
        self._last[session] = max(row[_AT], self._last.get(session, 0))
        self._counts[session] += 1
        if row[_KIND] == "session":
            self._begun.add(session)
        elif row[_KIND] == "end":
            self._ended.add(session)
        elif row[_KIND] == "loss":
            self._losses.add(row[_ID])
        if self._waiting:
            after = session if session not in self._begun else None
            self._lines += [(line, None, after) for line in self._waiting]
            self._waiting = []

    def states(self, session: bytes, more: dict[str, object]) -> None:
        """Note what the first line of a session states about the file."""
        stated = more.get(wire.SESSION_ROWS)
        if type(stated) is int and stated < _MOST_ROWS:
            self._stated[session] = max(stated, self._stated.get(session, 0))
            self._work[session] = stated_rows.parsed(more.get(stated_rows.KEY))
            self._is_followed = more.get(wire.MORE_SESSIONS) is True

    def cuts(self, path: str) -> Iterator[str]:
        """Yield a problem for each session of which lines are missing, and for missing sessions at the end."""
        damaged = Counter(session for _, _, session in self._lines)
        for session, stated in self._stated.items():
            if self._counts[session] + damaged[session] < stated:
                here = f"{output.count(self._counts[session])} of its {output.counted(stated, 'row')}"
                yield f"{path}: the file was cut short: session {rows.id_text(session)[:13]} has {here}"
        if self._is_followed:
            yield f"{path}: the file was cut short: more sessions followed"

    def line(self, line: bytes) -> None:
        """Note a line that could not be read."""
        if named := _HEAD.match(line):
            id, phase, session = named.groups()
            self._lines.append((line, (bytes.fromhex(id.decode()), int(phase)), bytes.fromhex(session.decode())))
        elif self._before is not None and self._before not in self._ended:
            self._lines.append((line, None, self._before))
        else:
            self._waiting.append(line)

    def notes(self, journal: Journal) -> Iterator[Row]:
        """Yield a row for each session that lacks rows."""
        lacking: dict[bytes, list[bytes]] = {}
        for line, identity, session in self._lines:
            if session in self._last and not self._is_here(journal, session, identity):
                lacking.setdefault(session, []).append(line)
        for session, lines in lacking.items():
            yield self._note(session, b"".join(lines), len(lines), self._work.get(session))
        damaged = Counter(session for _, _, session in self._lines)
        for session, stated in self._stated.items():
            lost = stated - self._counts[session] - damaged[session]
            if lost > 0 and stated_rows.all_of(journal, session) < stated:
                work = self._work[session]
                about = b"cut short" if work is None else b"cut short %d %d" % work
                yield self._note(session, about, lost, work)

    def found(self, journal: Journal) -> Iterator[Row]:
        """Yield a row that cancels each one about missing rows that the file has brought."""
        damaged = {session for _, _, session in self._lines}
        whole = {session for session, stated in self._stated.items() if self._counts[session] >= stated}
        whole |= (self._begun & self._ended) - self._stated.keys()
        for session in (self._last.keys() & stated_rows.noted_in(journal)) - self._lacking:
            is_whole = session in whole - damaged
            work = self._work.get(session)
            yield from stated_rows.found(journal, session, work, is_whole=is_whole, carried=self._losses)

    def _is_here(self, journal: Journal, session: bytes, identity: tuple[bytes, int] | None) -> bool:
        """Return whether the journal has the row of a line; for an unknown row, whether it has its session's end."""
        if identity is not None:
            return stored.one(journal, *identity) is not None
        return session not in self._ended and Story.read(journal, session).last_end is not None

    def _note(self, session: bytes, about: bytes, count: int, work: Work | None) -> Row:
        self._lacking.add(session)
        return stated_rows.missing(session, about, count, at_ns=self._last[session], work=work)


def _batches(path: str, result: Imported, unread: _Unread) -> Iterator[list[Row]]:
    some: list[Row] = []
    size = 0
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
            if not line.strip():
                continue
            try:
                row = wire.to_row(line)
                validation.check_rows([Stored(number, *row)])
            except ValueError as error:
                result.problems.append(f"{path}:{number}: {error}")
                unread.line(line)
                continue
            unread.row(row)
            if _STATED in line:
                unread.states(row[_SESSION], wire.more_of(line))
            some.append(row)
            size += len(line)
            if len(some) >= _AT_ONCE or size >= _MOST_SIZE:
                yield some
                some, size = [], 0
    if some:
        yield some
