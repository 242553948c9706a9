"""Full-text search of a project whose rows are in ClickHouse; there is no index to extend.

ClickHouse finds rows that contain every word as text, and `Query` decides which of them match.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from time import monotonic

from localops.reading.search import NEWEST, Hit, Query, Searched
from localops.server.clickhouse.engine import Engine, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_COLUMNS = "seq, session, kind, name, at_ns, model, tags, id, parent, body"
# Rows without their older versions, the newest row first.
_ROWS = (
    f"select {_COLUMNS} from (select {_COLUMNS} from lo_event where project = {{project}} and WHERE "  # noqa: S608
    "order by rev desc limit 1 by session, id, phase) order by seq desc"
)
_AFTER = " and session = {session} and seq > {after}"
# The text of a row that is searched: servers that support it have an index of this expression.
_TEXT = "lower(concat({}))".format(
    ", ' ', ".join(f"ifNull({column}, '')" for column in ("body", "name", "model", "tags", "words"))
)
# The newest row of each session that may match.
_FIRST = (
    f"select {_COLUMNS} from lo_event where project = {{project}} and WHERE "  # noqa: S608
    "order by session desc, seq desc limit 1 by session limit {most}"
)
# Rows that may match, in no order: a server stops when it has enough.
_ANY = f"select {_COLUMNS} from lo_event where project = {{project}} and WHERE limit {{most}}"  # noqa: S608
# The first rows of each of some sessions that may match.
_OF_EACH = (
    f"select {_COLUMNS} from (select {_COLUMNS} from lo_event where project = {{project}} and session in {{sessions}} "  # noqa: S608
    "and WHERE order by rev desc limit 1 by session, id, phase) order by session, seq limit {most} by session"
)
_SESSIONS = (
    "select distinct session from lo_event where project = {project} and WHERE order by session desc limit {most}"
)
# The most sessions whose rows are checked, so that their count is exact.
_CHECKED = 2_000
# A request for a list of up to so many sessions is answered only if at most so many rows may match: otherwise the
# caller asks about some of its own sessions at a time.
_LISTED, _FEW_ROWS = 10_000, 300
# The number of sessions whose rows are requested first (then four times as many), and the rows of each.
_SOME, _ROWS_OF_EACH = 16, 12
# Seconds that ClickHouse may search a whole project; after that, sessions are searched one by one.
_SECONDS = 2
_OUT_OF_TIME = 159


class ClickHouseIndex:
    """Search in one project, with the methods of localops.reading.search.Index that a server needs."""

    def __init__(self, engine: Engine, project: str) -> None:
        self._engine = engine
        self._project = project

    @property
    def upto(self) -> int:
        """The seq up to which rows are searched: there is no limit."""
        return NEWEST

    def missing(self) -> int:
        """Return the number of rows that are not searched yet: 0."""
        return 0

    def catch_up(self) -> int:
        """Return the number of rows that are not searched yet: 0."""
        return 0

    def extend(self) -> None:
        """Do nothing: there is no index."""

    def candidates(self, text: str, most: int) -> tuple[list[bytes] | None, bool]:
        """Return the sessions that may have every term in one row, and whether they match for certain.

        None if there are more than `most`, or if ClickHouse cannot search the project in time.
        """
        query = Query(text)
        try:
            if most <= _LISTED:
                return self._few(query, most)
            if len(query.terms) > 1 or len(query.terms[0]) > 1:
                return self._sessions(query, most), False
            lines = self._engine.ask(_filled(_FIRST, query), within=_SECONDS, project=self._project, most=_CHECKED + 1)
            if len(lines) > _CHECKED:
                return self._sessions(query, most), False
        except EngineError as error:
            if error.code == _OUT_OF_TIME:
                return None, False
            raise
        rows = list(map(_searched, lines))
        matching = {row.session for row in rows if query.is_in(row.text)}
        others = [row.session for row in rows if row.session not in matching]
        matching.update(session for session, is_match in zip(others, self.each(others, text), strict=True) if is_match)
        return [row.session for row in rows if row.session in matching], True

    def _few(self, query: Query, most: int) -> tuple[list[bytes] | None, bool]:
        """Return the sessions with a matching row, after a check of the rows that may match, if these are few."""
        statement = _filled(_ANY, query)
        lines = self._engine.ask(statement, within=_SECONDS, project=self._project, most=_FEW_ROWS + 1)
        if len(lines) > _FEW_ROWS:
            return None, False
        sessions = sorted({row.session for row in map(_searched, lines) if query.is_in(row.text)}, reverse=True)
        return (sessions if len(sessions) <= most else None), True

    def _sessions(self, query: Query, most: int) -> list[bytes] | None:
        lines = self._engine.ask(_filled(_SESSIONS, query), within=_SECONDS, project=self._project, most=most + 1)
        return None if len(lines) > most else [bytes.fromhex(session) for (session,) in lines]

    def among(self, sessions: Sequence[bytes], text: str) -> set[bytes] | None:
        """Return those of `sessions` that may have every term in one row."""
        if not sessions:
            return set()
        where = " and session in {sessions}"
        lines = self._engine.ask(
            _filled(_SESSIONS, Query(text), where), project=self._project, sessions=list(sessions), most=len(sessions)
        )
        return {bytes.fromhex(session) for (session,) in lines}

    def has(self, session: bytes, text: str) -> bool:
        """Return whether one row of the session has every term."""
        return next(self.events(text, session), None) is not None

    def each(self, sessions: Iterable[bytes], text: str) -> Iterator[bool]:
        """Yield for each session whether a row of it has every term."""
        query = Query(text)
        for some in _growing(sessions):
            first = self._first_of_each(query, some)
            for session in some:
                known = first.get(session, ())
                is_match = any(query.is_in(row.text) for row in known)
                yield is_match or (len(known) == _ROWS_OF_EACH and self.has(session, text))

    def rows_of_each(self, sessions: Iterable[bytes], text: str) -> Iterator[Iterator[tuple[Searched, bool]]]:
        """Yield for each session its rows that may have every term, the oldest first; and if they do."""
        query = Query(text)
        for some in _growing(sessions):
            first = self._first_of_each(query, some)
            for session in some:
                yield self._first_and_later(query, text, session, first.get(session, []))

    def _first_and_later(
        self, query: Query, text: str, session: bytes, read: Sequence[Searched]
    ) -> Iterator[tuple[Searched, bool]]:
        for row in read:
            yield row, query.is_in(row.text)
        if len(read) == _ROWS_OF_EACH:
            yield from self.rows_after(text, session, read[-1].seq)

    def _first_of_each(self, query: Query, sessions: Sequence[bytes]) -> dict[bytes, list[Searched]]:
        """Return the first rows of sessions that may match."""
        first: dict[bytes, list[Searched]] = {}
        statement = _filled(_OF_EACH, query)
        for line in self._engine.rows(statement, project=self._project, sessions=sessions, most=_ROWS_OF_EACH):
            row = _searched(line)
            first.setdefault(row.session, []).append(row)
        return first

    def events(self, text: str, session: bytes | None = None, *, until: float = inf) -> Iterator[Hit]:
        """Yield the rows with every term, the newest first.

        It stops when time.monotonic() reaches `until`, however few it has found.
        """
        query = Query(text)
        where = "" if session is None else " and session = {session}"
        statement = _filled(_ROWS, query, where)
        for line in self._engine.rows(statement, project=self._project, session=session):
            if monotonic() > until:
                return
            row = _searched(line)
            if query.is_in(row.text):
                yield row.hit(row.passage(query))

    def rows_of(
        self, text: str, session: bytes, *, after: int = 0, before: int = NEWEST
    ) -> Iterator[tuple[Searched, bool]]:
        """Yield the rows of a session between two seqs, newest first, that may have every term, and whether they do."""
        query = Query(text)
        statement = _filled(_ROWS, query, " and session = {session} and seq > {after} and seq < {before}")
        for line in self._engine.rows(statement, project=self._project, session=session, after=after, before=before):
            row = _searched(line)
            yield row, query.is_in(row.text)

    def rows_after(self, text: str, session: bytes, after: int) -> Iterator[tuple[Searched, bool]]:
        """Yield the rows of a session after a seq, oldest first, that may have every term, and whether they do."""
        query = Query(text)
        statement = _filled(_ROWS.replace("order by seq desc", "order by seq"), query, _AFTER)
        for line in self._engine.rows(statement, project=self._project, session=session, after=after):
            row = _searched(line)
            yield row, query.is_in(row.text)

    def between(self, text: str, after: int, upto: int, before: int = NEWEST) -> Iterator[tuple[list[Searched], int]]:
        """Yield matching rows with a seq in a range, in parts, each with the `before` to continue with."""
        query = Query(text)
        statement = _filled(_ROWS, query, " and seq > {after} and seq <= {upto} and seq < {before}")
        for line in self._engine.rows(statement, project=self._project, after=after, upto=upto, before=before):
            row = _searched(line)
            yield [row] if query.is_in(row.text) else [], row.seq

    def close(self) -> None:
        """Do nothing: the engine is shared."""


def _growing(sessions: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield sessions a few at a time, and then more."""
    rest, many = iter(sessions), _SOME
    while some := list(islice(rest, many)):
        yield some
        many *= 4


def _searched(line: tuple[object, ...]) -> Searched:
    row = Searched._make(line)
    session, id = bytes.fromhex(str(row.session)), bytes.fromhex(str(row.id))
    return row._replace(session=session, id=id, parent=row.parent and bytes.fromhex(str(row.parent)))


def _filled(statement: str, query: Query, more: str = "") -> str:
    """Return a statement with the condition of a query, whose words are letters and digits only."""
    words = dict.fromkeys(word for term in query.terms for word in term)
    return statement.replace("WHERE", " and ".join(map(_has, words)) + more)


def _has(word: str) -> str:
    """Return the condition that a row may have a word."""
    return f"{_TEXT} like '%{word}%'"
