"""Rows of journals as ClickHouse has them: ids in hex, a day that never changes, words of what is not ASCII."""

from __future__ import annotations

from localops.journal.stored import Stored
from localops.reading.search import Searched, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_IDS = ("id", "session", "parent", "agent")
_AT = {name: place for place, name in enumerate(Stored._fields)}
_PLACES = tuple(_AT[name] for name in _IDS)
# The columns of lo_event, in the order in which `lines` gives them, and those that `stored` reads.
READ = Stored._fields
WRITTEN = (*READ, "tokens_cache_write", "project", "day", "words", "rev")
_EPOCH = "1970-01-01"
_DAY_MS = 86_400_000
# Days that ClickHouse's Date holds: to 2105 in old servers.
_MOST_DAYS = 49_000


def lines(project: str, some: Iterable[tuple[Stored, int | None]], rev: int) -> Iterator[tuple[Any, ...]]:
    """Yield rows with their cache-write tokens as lines of lo_event; of an identity the greatest rev counts."""
    for row, cache_write in some:
        columns = list(row)
        for place in _PLACES:
            if columns[place] is not None:
                columns[place] = columns[place].hex()
        yield (*columns, cache_write, project, day_of(row.session), _words_of(row), rev)


def stored(line: tuple[Any, ...]) -> Stored:
    """Return the row of a line with the columns of READ."""
    columns = list(line)
    for place in _PLACES:
        if columns[place] is not None:
            columns[place] = bytes.fromhex(columns[place])
    return Stored._make(columns)


def day_of(session: bytes) -> str:
    """Return the UTC day of a session by its id, a UUIDv7, or 1970-01-01 for another id: it never changes."""
    days = int.from_bytes(session[:6]) // _DAY_MS if session[6] >> 4 == 7 else 0
    if not 0 < days < _MOST_DAYS:
        return _EPOCH
    # Late: a hub that stores elsewhere does not need it.
    from datetime import date, timedelta

    return (date(1970, 1, 1) + timedelta(days)).isoformat()


def _words_of(row: Stored) -> str | None:
    """Return the words of a row that is not plain ASCII, without case and accents; None for another."""
    if all(text is None or text.isascii() for text in (row.name, row.model, row.tags, row.body)):
        return None
    searched = Searched(row.seq, row.session, row.kind, row.name, row.at_ns, row.model, row.tags, row.body, row.id)
    return " ".join(words(searched.text))
