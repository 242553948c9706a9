"""Write scores and notes of sessions from any process, while they run or long after.

A score is a row of its session, so it is sent, exported and pruned with it.  Its time is that of the session's last
row, as it must not make the session longer; when it was given is kept beside it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from localops import clock
from localops.encoding import encode
from localops.encoding.todays_rules import redactor
from localops.errors import Ambiguous, JournalError, NotFound
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.reading import given_scores, session_state
from localops.reading.home import Home, few, id_range
from localops.recording import events
from localops.recording.scores import CODE
from localops.recording.writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops.config import Config
    from localops.encoding.pricing import Prices
    from localops.journal.rows import Row
    from localops.reading.given_scores import Given
    from localops.reading.home import Project
    from localops.recording.scores import Score, Value

_NAME, _BODY = rows.COLUMNS.index("name"), rows.COLUMNS.index("body")

_LENGTHS = (13, 18, 23, 28)  # of the beginnings of an id, up to each hyphen and within its last part


class Written(NamedTuple):
    """A score or a note as it is stored: without secrets."""

    id: str
    name: str
    value: Value
    by: str


class Scorer:
    """Writes scores and notes into the journal of one project, in one transaction if it is already open."""

    def __init__(self, config: Config, folder: str, journal: Journal | None = None) -> None:
        self._is_lent = journal is not None
        self.journal = journal or Journal(folder, durability=config.durability, wait=config.wait)
        keeper = blobs.Keeper(folder)
        self._folder = folder
        self._encoder = encode.Encoder(redactor=redactor(config), max_value=config.max_value, keep=keeper)

    def row(self, session: bytes, score: Score, target: bytes | None, seen_ns: int) -> tuple[bytes, Row]:
        """Return the id and the row of a valid score or note.

        `seen_ns` is the time of the session's last row.
        """
        at = clock.now_ns()
        id = clock.new_id(at)
        return id, self._writer(session).score(score, id, given_ns=at, seen_ns=seen_ns, target=target)

    def _writer(self, session: bytes) -> Writer:
        return Writer(session, self._folder, self._encoder, _prices)

    def check_withdrawal(self, session: bytes, score: Score, target: bytes | None, given: Iterable[Given]) -> None:
        """Raise NotFound if none of the given scores is the one that a score without a value takes back."""
        writer, author = self._writer(session), score.by or CODE
        # As they are stored, without secrets.
        name, by = writer.text(score.name), writer.text(author, 256)
        wanted = (name, by, target or b"")
        if not any((one.name, one.author, one.target or b"") == wanted for one in given if one.counts):
            ident = rows.id_text(session)[:13]
            raise NotFound(
                f"no score {name!r} by {by!r} to withdraw in session {ident}: `localops score {ident}` lists "
                "those that count"
            )

    def write(self, session: bytes, score: Score, target: bytes | None) -> Written:
        """Write a score or note that was checked; return it as it is stored. Raise NotFound without the session."""
        seen_ns = session_state.last_row_ns(self.journal, session)
        if seen_ns is None:
            raise NotFound(f"no session {rows.id_text(session)} in {self._folder}")
        id, row = self.row(session, score, target, seen_ns)
        if self._is_lent:
            self.journal.add([rows.whole(row)])
        elif not self.journal.append(row, sync=True):
            raise JournalError(f"the score could not be written to {self.journal.path}")
        body = encode.loads(row[_BODY] or "{}")
        return Written(rows.id_text(id), row[_NAME] or "", body.get("value"), body.get("by") or "")

    def close(self) -> None:
        """Close the journal, unless it was open before."""
        if not self._is_lent:
            self.journal.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def _prices() -> Prices:
    from localops.encoding.pricing import Prices  # rows of scores need none

    return Prices()


def give(
    config: Config, ident: str, score: Score, *, home: str | os.PathLike[str] | None, project: str | None
) -> dict[str, Any]:
    """Write a score or note that was checked; return where it went, and what was stored.

    `ident` names the session: `last`, an id, or the beginning of one; NotFound or Ambiguous if none or several have it.
    A score without a value takes one back; NotFound if there is none that counts.
    """
    with Home(None if home is None else os.fspath(home), project) as opened:
        where, session = opened.find(ident)
        target = None if score.event is None else event_of(where, session, events.describe(score.event))
        is_withdrawal = bool(score.name) and score.value is None
        given = given_scores.of_session(where.reader, session) if is_withdrawal else []
    with Scorer(config, where.folder) as scorer:
        if is_withdrawal:
            scorer.check_withdrawal(session, score, target, given)
        written = scorer.write(session, score, target)
    return {
        **written._asdict(),
        "session_id": rows.id_text(session),
        "project": where.name,
        "event": None if target is None else rows.id_text(target),
    }


def event_of(project: Project, session: bytes, ident: str) -> bytes:
    """Return the event of a session whose id begins like this; NotFound or Ambiguous if none or several do."""
    low, high = id_range(ident, "event")
    matches = [id for id, owner in project.events_like(low, high) if owner == session]
    if not matches:
        raise NotFound(
            f"no event of session {rows.id_text(session)[:13]} begins with {ident!r}: `localops show "
            f"{rows.id_text(session)[:13]} --events` lists them"
        )
    if len(matches) > 1:
        raise Ambiguous(f"more than one event begins with {ident!r}: {few(list(map(rows.id_text, matches)))}")
    return matches[0]


def short_event(project: Project, session: bytes, event: bytes) -> str:
    """Return as much of the id of an event as `event_of` needs to find it in its session."""
    text = rows.id_text(event)
    for length in _LENGTHS:
        try:
            if event_of(project, session, text[:length]) == event:
                return text[:length]
        except (Ambiguous, NotFound):
            pass
    return text
