"""Rows read from a journal, with named columns.

Recorders do not load this module: they write plain tuples (`rows.py`), which is faster.
"""

from __future__ import annotations

from collections import namedtuple
from itertools import repeat

from localops.journal import rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NamedTuple, Protocol

    from localops.journal.rows import Row

    class Source(Protocol):
        """An object that runs the named queries: a journal, or a reader of one."""

        def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
            """Return the rows of a named query."""

        def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
            """Return the first row of a named query, or None."""

    class _Columns(rows.Record, rows.Columns):
        tags: str | None
        format: int
        sum: int
        body: str | None

    class Unfinished(NamedTuple):
        """An open operation."""

        id: bytes
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        model: str | None

    class Unread(NamedTuple):
        """What is known of a row that arrived and could not be read."""

        session: bytes | None
        id: bytes | None
        phase: int
else:  # defining a NamedTuple takes three times as long, and every command that reads would do it
    _Columns = namedtuple("_Columns", ("seq", *rows.COLUMNS))
    Unfinished = namedtuple("Unfinished", "id kind name parent agent at_ns model")
    Unread = namedtuple("Unread", "session id phase")

_PAGE = 500


class Stored(_Columns):
    """A row of a journal: its `seq`, and then the columns of rows.COLUMNS."""

    __slots__ = ()

    @property
    def bare(self) -> Row:
        """Return the columns without `seq`, as a journal writes them."""
        return self[1:]

    @property
    def is_intact(self) -> bool:
        """Return whether it still has the checksum that it was written with."""
        return rows.intact(self[1:])

    @property
    def began_ns(self) -> int:
        """Return when it began; for a row without a start, when it was recorded."""
        return self.at_ns if self.start_ns is None else self.start_ns

    @property
    def ended_ns(self) -> int:
        """Return when it ended; for a row without an end, when it was recorded."""
        return self.at_ns if self.end_ns is None else self.end_ns

    def with_body(self, body: str | None) -> Stored:
        """Return the same row with another body and its checksum."""
        return Stored(self.seq, *rows.seal(self[1:_SUM], body))


_SUM = Stored._fields.index("sum")


def unfinished(source: Source, session: bytes) -> list[Unfinished]:
    """Return a session's open operations, oldest first."""
    return list(map(Unfinished._make, source.all("unfinished", session=session)))


def named(records: Iterable[Iterable[Any]]) -> list[Stored]:
    """Return rows of a statement that selects `seq` and all columns."""
    return list(map(Stored._make, records))


def of_columns(*columns: Iterable[Any]) -> list[Stored]:
    """Return rows from lists of the same length, one for each column: `seq`, then all COLUMNS."""
    if len(columns) != len(Stored._fields):
        raise ValueError(f"expected {len(Stored._fields)} columns, got {len(columns)}")
    # Not by `_make`: it would be a Python call for each row.
    return list(map(tuple.__new__, repeat(Stored), zip(*columns, strict=True)))


def one(source: Source, id: bytes, phase: int) -> Stored | None:
    """Return the row with an id and a phase, or None."""
    row = source.one("row", id=id, phase=phase)
    return None if row is None else Stored._make(row)


def of_session(source: Source, session: bytes, *, after: int = 0, many: int = _PAGE) -> Iterator[Stored]:
    """Yield a session's rows in the order they were written; each page of `many` rows is read separately."""
    while page := named(source.all("events", session=session, after=after, many=many)):
        after = page[-1].seq
        yield from page


def openings_first(source: Source, session: bytes, *, many: int = _PAGE) -> Iterator[Stored]:
    """Yield the same rows, but the opening row of an operation always before its closing row.

    They are stored in the other order if the closing row arrived first: by an import, or through the spill file.
    """
    begun: set[bytes] = set()
    moved: set[bytes] = set()
    after = 0
    while page := named(source.all("events", session=session, after=after, many=many)):
        after = page[-1].seq
        late = _stored_later(source, page, begun)
        for row in page:
            if row.phase == rows.OPEN and row.id in moved:
                continue
            # An id that a program gave twice may have an opening row before.
            if row.phase == rows.DONE and (opening := late.get(row.id)) is not None and opening.seq > row.seq:
                moved.add(row.id)
                yield opening
            yield row


def _stored_later(source: Source, page: list[Stored], begun: set[bytes]) -> dict[bytes, Stored]:
    """Return the opening rows stored after closing rows of a page; `begun`: the operations open before the page."""
    alone = []
    for row in page:
        if row.phase == rows.OPEN:
            begun.add(row.id)
        elif row.id in begun:
            begun.discard(row.id)
        # The closing row of an operation has a start.
        elif row.start_ns is not None and row.kind not in rows.BOOKS:
            alone.append(row.id.hex())
    if not alone:
        return {}
    ids = "[" + ", ".join(f'"{id}"' for id in alone) + "]"
    return {row.id: row for row in named(source.all("opening_rows", ids=ids))}
