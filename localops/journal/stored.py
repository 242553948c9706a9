"""Rows as they are read: every column by its name.

What is written is a bare tuple (`rows.py`), which costs nothing; whoever reads names what is read.  Nothing that
records needs this module.
"""

from __future__ import annotations

from collections import namedtuple

from localops.journal import rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NamedTuple, Protocol

    from localops.journal.rows import Row

    class Source(Protocol):
        """Whatever answers the named queries: a journal, or a reader of one."""

        def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
            """Every row of a named query."""

        def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
            """Its first row."""

    class _Columns(NamedTuple):
        seq: int
        id: bytes
        phase: int
        session: bytes
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        start_ns: int | None
        end_ns: int | None
        model: str | None
        tokens_in: int | None
        tokens_out: int | None
        tokens_cached: int | None
        tokens_reasoning: int | None
        cost: int | None
        failed: int | None
        tags: str | None
        format: int
        sum: int
        body: str | None

    class Unfinished(NamedTuple):
        """An operation that began and has not ended."""

        id: bytes
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
else:  # a NamedTuple takes three times as long to make, and every command that reads makes these
    _Columns = namedtuple("_Columns", ("seq", *rows.COLUMNS))
    Unfinished = namedtuple("Unfinished", "id kind name parent agent at_ns")

_PAGE = 500


class Stored(_Columns):
    """A row of a journal behind its place in it: `seq`, and then the columns of rows.COLUMNS."""

    __slots__ = ()

    @property
    def bare(self) -> Row:
        """The columns alone, as a journal takes them."""
        return self[1:]

    @property
    def is_intact(self) -> bool:
        """Whether it still has the checksum it was written with."""
        return rows.intact(self[1:])

    @property
    def began_ns(self) -> int:
        """When it began; what was recorded in one moment began in that moment."""
        return self.at_ns if self.start_ns is None else self.start_ns

    @property
    def ended_ns(self) -> int:
        """When it ended."""
        return self.at_ns if self.end_ns is None else self.end_ns

    def with_body(self, body: str | None) -> Stored:
        """Return the same row with another body, and the checksum that goes with it."""
        return Stored(self.seq, *rows.seal(self[1:_SUM], body))


_SUM = Stored._fields.index("sum")


def unfinished(source: Source, session: bytes) -> list[Unfinished]:
    """Return a session's operations that began and have not ended, oldest first."""
    return list(map(Unfinished._make, source.all("unfinished", session=session)))


def named(found: Iterable[Iterable[Any]]) -> list[Stored]:
    """Return rows of a statement that selects `seq` and all columns."""
    return list(map(Stored._make, found))


def one(source: Source, id: bytes, phase: int) -> Stored | None:
    """Return the row of an identity, if it is there."""
    row = source.one("row", id=id, phase=phase)
    return None if row is None else Stored._make(row)


def of_session(source: Source, session: bytes, *, after: int = 0, many: int = _PAGE) -> Iterator[Stored]:
    """Return a session's rows in the order they were written; each page of so many is a read of its own."""
    while page := named(source.all("events", session=session, after=after, many=many)):
        after = page[-1].seq
        yield from page
