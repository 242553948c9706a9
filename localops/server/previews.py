"""The input of events, each on one line: a list shows it beside the name, so that events need not be opened."""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import rows, stored
from localops.reading.previews import line
from localops.server.timeline import row_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.reading.facts import Facts

# Characters of bodies that are read for one response; the last event may exceed it.
_MOST = 8 << 20


def of(reader: Reader, session: bytes, seqs: Iterable[int]) -> Facts:
    """Return the lines of a session's events, by any of their seqs; the last are missing if bodies are very large."""
    previews: dict[str, str] = {}
    read = 0
    for seq in seqs:
        if read >= _MOST:
            break
        row = row_at(reader, seq)
        if row is None or row.session != session or row.kind in rows.BOOKS:
            continue
        text, size = _line_of(row), len(row.body or "")
        if not text and (other := stored.one(reader, row.id, 1 - row.phase)):
            text, size = _line_of(other), size + len(other.body or "")
        previews[str(seq)] = text
        read += size
    return {"previews": previews}


def _line_of(row: Stored) -> str:
    try:
        return line(row.kind, encode.loads(row.body or "{}"))
    # A damaged body.
    except ValueError:
        return ""
