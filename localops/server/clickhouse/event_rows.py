"""Convert rows to the columns of ClickHouse and back: ids in hex, the day of the session, words that are not ASCII."""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from localops.journal import rows
from localops.journal.stored import Stored
from localops.reading.search import Searched, words
from localops.server.clickhouse import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from localops.journal.rows import Row

    # The counts of a row's body that have columns, in the order of COPIED.
    Counts = tuple[int | None, ...]

_IDS = ("id", "session", "parent", "agent")
_AT = {name: place for place, name in enumerate(Stored._fields)}
_PLACES = tuple(_AT[name] for name in _IDS)
# The columns of lo_event, in the order in which `blocks` has them, and those that `stored` reads.
READ = Stored._fields
COPIED = tuple(rows.COUNTS_IN_BODY)
WRITTEN = (*READ, *COPIED, "project", "day", "words", "rev")
NO_COUNTS = (None,) * len(COPIED)
_TYPES = {
    "id": "String",
    "session": "String",
    "project": "String",
    "kind": "String",
    "seq": "UInt64",
    "rev": "UInt64",
    "phase": "UInt8",
    "at_ns": "Int64",
    "format": "Int64",
    "sum": "Int64",
    "day": "Date",
    **dict.fromkeys(("name", "parent", "agent", "model", "tags", "body", "words"), "Nullable(String)"),
}
_OTHER_TYPE = "Nullable(Int64)"
_SEARCHED = ("name", "model", "tags", "body")
_EPOCH = "1970-01-01"
_DAY_MS = 86_400_000
# Days that ClickHouse's Date holds: to 2105 in old servers.
_MOST_DAYS = 49_000
# Rows of one block.
_ROWS = 5_000


class New(NamedTuple):
    """Rows that were received together; their seqs follow each other from `first` on."""

    rows: Sequence[Row]
    first: int
    counts: dict[int, Counts]  # by seq, of those that have some


def blocks(project: str, some: Iterable[tuple[Stored, Counts]], rev: int) -> Iterator[bytes]:
    """Yield rows with the counts of their bodies as blocks of WRITTEN; of equal ids the greatest rev counts."""
    each = iter(some)
    while part := list(islice(each, _ROWS)):
        columns: dict[str, Sequence[Any]] = dict(zip(READ, zip(*(row for row, _ in part), strict=True), strict=True))
        yield _block(project, columns, [counts for _, counts in part], rev)


def new_blocks(project: str, added: Iterable[New], rev: int) -> Iterator[bytes]:
    """Yield rows that were received together as blocks of WRITTEN."""
    for new in added:
        for at in range(0, len(new.rows), _ROWS):
            part = new.rows[at : at + _ROWS]
            seqs = range(new.first + at, new.first + at + len(part))
            columns = {"seq": seqs, **dict(zip(READ[1:], zip(*part, strict=True), strict=True))}
            yield _block(project, columns, [new.counts.get(seq, NO_COUNTS) for seq in seqs], rev)


def _block(project: str, columns: dict[str, Sequence[Any]], counts: Sequence[Counts], rev: int) -> bytes:
    many = len(counts)
    days = {session: _days_of(session) for session in set(columns["session"])}
    columns |= {
        **dict(zip(COPIED, zip(*counts, strict=True), strict=True)),
        "project": [project] * many,
        "day": [days[session] for session in columns["session"]],
        "words": _words(columns, many),
        "rev": [rev] * many,
    }
    return native.block([(name, _TYPES.get(name, _OTHER_TYPE), columns[name]) for name in WRITTEN], many)


def _words(columns: dict[str, Sequence[Any]], many: int) -> Sequence[str | None]:
    """Return the words of rows that are not plain ASCII, without case and accents; None for others."""
    if all("".join(filter(None, columns[name])).isascii() for name in _SEARCHED):
        return [None] * many
    searched = zip(*(columns[name] for name in Searched._fields), strict=True)
    return [_words_of(Searched._make(values)) for values in searched]


def stored(line: tuple[Any, ...]) -> Stored:
    """Return the row of a line with the columns of READ."""
    columns = list(line)
    for place in _PLACES:
        if columns[place] is not None:
            columns[place] = bytes.fromhex(columns[place])
    return Stored._make(columns)


def day_of(session: bytes) -> str:
    """Return the UTC day of a session by its id, a UUIDv7, or 1970-01-01 for another id: it never changes."""
    days = _days_of(session)
    if not days:
        return _EPOCH
    # Imported here: a hub that stores elsewhere does not need it.
    from datetime import date, timedelta

    return (date(1970, 1, 1) + timedelta(days)).isoformat()


def _days_of(session: bytes) -> int:
    """Return how many days that is after 1970-01-01."""
    days = int.from_bytes(session[:6]) // _DAY_MS if session[6] >> 4 == 7 else 0
    return days if days < _MOST_DAYS else 0


def _words_of(row: Searched) -> str | None:
    if all(text is None or text.isascii() for text in (row.name, row.model, row.tags, row.body)):
        return None
    return " ".join(words(row.text))
