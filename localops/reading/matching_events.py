"""Which events of a session have the words of a text, without the events: a part of the session at a time.

Prompts of long conversations have megabytes each, so that a search of all may take a minute.  It goes from the newest
row to the oldest, and each call goes on where the one before stopped: no row is read twice.
"""

from __future__ import annotations

import time

from localops.journal import rows
from localops.journal.sql import statements
from localops.reading.search import NEWEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts
    from localops.reading.home import Project

# Seconds that a call searches, so that what it found can be shown.
_SECONDS = 0.5
_FIRST_ROWS = statements("pages.sql")["first_rows"]


def matching(
    where: Project, session: bytes, text: str, *, after: int = 0, before: int = NEWEST, limit: int = 1_000
) -> Facts:
    """Return the events with all words, by the seq of their first row, and `next_before` to go on with; else null.

    `upto` is the seq up to which rows were searched: an index may lack the newest.
    """
    index = where.index()
    unread = index.catch_up()
    upto = index.upto
    until = time.monotonic() + _SECONDS
    matches: list[int] = []
    next_before = None
    for row, is_match in index.rows_of(text, session, after=after, before=before):
        if is_match and row.kind not in rows.BOOKS:
            matches.append(row.seq)
        if len(matches) >= limit or time.monotonic() > until:
            next_before = row.seq
            break
    entries = _entries(where, session, matches)
    return {"entries": entries, "next_before": next_before, "upto": upto, "unread": unread}


def _entries(where: Project, session: bytes, seqs: list[int]) -> list[int]:
    """Return the first rows of the events that these rows are of."""
    if not seqs:
        return []
    values = {"session": session, "seqs": f"[{','.join(map(str, seqs))}]"}
    return sorted({int(seq) for (seq,) in where.reader.ask(_FIRST_ROWS, values)})
