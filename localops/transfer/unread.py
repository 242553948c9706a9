"""Notes about rows that an import could not read: their session may lack them, which makes its figures lower bounds.

Another note cancels one when the rows arrive after all.  Ids follow from what a note is about, so a second import of
the same rows adds none.
"""

from __future__ import annotations

from bisect import bisect

from localops.encoding import encode
from localops.reading.story import Story
from localops.transfer import stated_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.journal.stored import Unread
    from localops.transfer.bundle import Batch

    Execute = Callable[..., Any]

_LACKING = "sessions that lack rows"  # the key in `meta` of the sessions with such notes, as a JSON array
_MOST_ROWS, _MOST_SESSIONS = 1_000, 1_000
_VALUE = "select value from meta where key = ?"
_KEEP = "insert or replace into meta values(?, ?)"


def lacking(execute: Execute, batch: Batch) -> list[bytes]:
    """Return the sessions of a batch that had notes about rows before it; to be called in its transaction."""
    known = execute(_VALUE, (_LACKING,)).get
    if known is None:
        return []
    here = {row.session.hex() for row in batch.rows}
    return [bytes.fromhex(session) for session in encode.loads(known) if session in here]


def write(journal: Journal, batch: Batch, lacking_before: Iterable[bytes]) -> None:
    """Note which sessions lack unreadable rows of a batch that was imported, and cancel the notes about its rows."""
    lost = _lost(journal, batch)
    if lost:
        journal.transact(lambda execute: _remember(execute, lost))
        journal.add(_note_of(journal, batch, session, some) for session, some in lost.items())
    for session in lacking_before:
        _cancel(journal, session)


def _lost(journal: Journal, batch: Batch) -> dict[bytes, list[tuple[int, Unread]]]:
    """Return the unreadable rows of a batch that are not here, by session."""
    lost: dict[bytes, list[tuple[int, Unread]]] = {}
    sessions = {row.session for row in batch.rows}
    for seq, row in sorted(batch.unread.items()):
        is_known = row.session in sessions or (row.session is not None and _last_ns(journal, row.session))
        session = row.session if is_known else _session_before(batch, seq)
        is_here = row.id is not None and journal.one("row", id=row.id, phase=row.phase) is not None
        if session is not None and not is_here and journal.one("gone", session=session) is None:
            lost.setdefault(session, []).append((seq, row))
    return lost


def _session_before(batch: Batch, seq: int) -> bytes | None:
    """Return the session of the row before a seq in a batch; of the first one, if there is none before."""
    if not batch.rows:
        return None
    at = bisect(batch.rows, seq, key=lambda row: row.seq)
    return batch.rows[max(at - 1, 0)].session


def _last_ns(journal: Journal, session: bytes) -> int:
    [last_ns] = journal.one("last_ns", session=session) or (None,)
    return last_ns or 0


def _note_of(journal: Journal, batch: Batch, session: bytes, lost: list[tuple[int, Unread]]) -> Row:
    about = f"{batch.journal} {lost[0][0]}".encode()
    named = [f"{row.id.hex()}{row.phase}" for _, row in lost if row.id is not None]
    is_named = len(named) == len(lost) <= _MOST_ROWS
    at_ns = _last_ns(journal, session) or max((row.at_ns for row in batch.rows), default=0)
    return stated_rows.missing(session, about, len(lost), at_ns=at_ns, lacks=named if is_named else ())


def _remember(execute: Execute, lost: Mapping[bytes, object]) -> None:
    known = encode.loads(execute(_VALUE, (_LACKING,)).get or "[]")
    sessions = dict.fromkeys([*known, *(session.hex() for session in lost)])
    execute(_KEEP, (_LACKING, encode.dumps(list(sessions)[-_MOST_SESSIONS:]).decode()))


def _cancel(journal: Journal, session: bytes) -> None:
    """Cancel the notes of a session whose rows are all here now."""
    for one in Story.read(journal, session).of_kind("loss"):
        names = one.body.get(stated_rows.LACKS)
        if names and stated_rows.are_here(journal, names):
            journal.add([stated_rows.missing(session, one.id, -one.body["damaged"], at_ns=one.at_ns)])
