"""Find out whether recorded steps of a session may be missing from its journal: a resumed run would repeat them."""

from __future__ import annotations

import os
import shlex

from localops.encoding import encode
from localops.journal import participants, spill, stored
from localops.output import counted
from localops.reading import session_state
from localops.reading.story import INCOMPLETE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.journal.stored import Source
    from localops.reading.story import Story

GO_ON = "localops.resume(..., incomplete=True) resumes it anyway, and runs the steps again that are missing here"

ONCE_ROWS = "once_rows"  # the field of an imported row about the session: how many rows of steps it had
UNKNOWN_STEPS = (
    "it was imported from OTLP spans or a transcript, which do not say which of its steps are done; resume it where it "
    "was recorded, or import a bundle of it into another home, and resume it there"
)
FIELD = '"once":{'
_OPENING_FIELD = '"once":{"args":'
_ONCE = 6  # the column of that field in the query `once_steps`
_PAGE = 500


def reason(source: Source, folder: str, story: Story, session: bytes, *, whole: bool = True) -> str | None:
    """Return why steps of a session may be missing here; None if nothing indicates it.

    Without `whole`, its events are not read, as a session may be long.
    """
    return _deleted(story) or uncounted(source, folder, story, session, whole=whole)


def uncounted(source: Source, folder: str, story: Story, session: bytes, *, whole: bool = True) -> str | None:
    """Return the same apart from events in deleted journals, which are counted as lost."""
    return (
        _left(story)
        or _damage(folder, story)
        or _waits_elsewhere(folder, session)
        or _went_on_elsewhere(folder, story)
        or _is_older(source, folder, session)
        or _lacks_imported(source, story, session)
        or _partial(source, story, session, whole=whole)
        or _was_incomplete(story)
    )


def _deleted(story: Story) -> str | None:
    deleted, _ = story.deleted
    if not deleted:
        return None
    return f"at least {counted(deleted, 'event was', 'events were')} lost when the journal was deleted"


def _left(story: Story) -> str | None:
    if not story.left:
        return None
    stayed = counted(story.left, "event", "events")
    return f"{stayed} stayed in a journal file that was moved away during the recording"


def _damage(folder: str, story: Story) -> str | None:
    """Return why rows of a session may be lost with a damaged journal or an imported file, and what helps, or None."""
    # A bundle or an export may have been written before the last rows, so it does not show that nothing is missing.
    if story.wal_pages:
        pages = counted(story.wal_pages, "page is", "pages are")
        return (
            f"some of its rows are probably lost: {pages} missing from the journal's write-ahead log (journal.db-wal), "
            "which was cut, damaged or deleted after a process was killed"
        )
    if story.damaged > story.unread_lines:
        cure = "and importing a whole file does not change that"
        if story.may_be_brought_back:
            cure = "and only importing a bundle of all its sessions from before that brings them back"
        return f"some of its rows may be lost: a journal was damaged, {cure}"
    if story.unread_lines > story.in_bundles and session_state.is_of_hub(folder):
        return (
            "some of its rows are not here: the hub got them changed or unreadable, and refused them; "
            "`localops parked` lists them where the run was recorded"
        )
    if story.unread_lines > story.in_bundles:
        return (
            "some of its rows may be lost: what was imported was cut short or had unreadable rows; import the rest of "
            "it, or a whole file"
        )
    if story.in_bundles > 0:
        return "some of its rows are not here: import the other bundles of it, or one of the whole session"
    return None


def _waits_elsewhere(folder: str, session: bytes) -> str | None:
    files = spill.elsewhere_of(folder, session)
    if not files:
        return None
    rows = counted(sum(files.values()), "of its rows waits", "of its rows wait")
    home = shlex.quote(os.path.dirname(os.path.abspath(folder)))
    return f"{rows} in {next(iter(files))}: `localops doctor --home {home}` says how to move them here"


def _went_on_elsewhere(folder: str, story: Story) -> str | None:
    for card in story.present().values():
        if participants.went_on_elsewhere(folder, card):
            return f"this home was moved while process {card.get('pid')} recorded: later rows of it are elsewhere"
    return None


def _is_older(source: Source, folder: str, session: bytes) -> str | None:
    """Return a reason if a process resumed the session here, and no row tells of it."""
    if any(resumed == session for _, resumed in session_state.unknown_resumes(source, folder)):
        return "a process resumed it here, and the journal has no row of that: is it an older copy of the journal?"
    return None


def _lacks_imported(source: Source, story: Story, session: bytes) -> str | None:
    """Return a reason if spans that a session was imported from state more rows of steps than are here."""
    stated = stated_rows(story) if story.is_imported else []
    if not stated or sum(1 for _ in rows_of_steps(source, session)) >= max(stated):
        return None
    return UNKNOWN_STEPS


def stated_rows(story: Story) -> list[int]:
    """Return how many rows of steps an imported session should have; empty if its spans do not state it."""
    stated = (milestone.body.get(ONCE_ROWS) for milestone in story.of_kind("end", "metadata"))
    return [count for count in stated if type(count) is int]


def rows_of_steps(source: Source, session: bytes) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the rows of the query `once_steps`, each with the field that identifies its step."""
    for record in source.all("once_steps", session=session, field=_OPENING_FIELD):
        mark = encode.loads(record[_ONCE]) if record[_ONCE] else None
        if isinstance(mark, dict) and isinstance(mark.get("args"), str) and isinstance(mark.get("n"), int):
            yield record, mark


def _was_incomplete(story: Story) -> str | None:
    """Return a reason if a program resumed the session without all its rows: it ran steps that others may have run."""
    if any(resume.body.get(INCOMPLETE) for resume in story.resumes):
        return "it was resumed with incomplete=True, without all its rows: steps may have run twice, or be missing here"
    return None


def _partial(source: Source, story: Story, session: bytes, *, whole: bool) -> str | None:
    """Return a reason if rows of the session are not here, as with a partial import."""
    if story.lacks_beginning:
        return "its first row is not here, so others may be missing, too"
    if not whole:
        return None
    [(many,)] = source.all("steps_without_opening_row", session=session, field=FIELD)
    if many:
        lacking = "1 finished step lacks its first row" if many == 1 else f"{many} finished steps lack their first row"
        return f"{lacking} here, so other rows may be missing, too"
    if _has_changed_opening(source, session):
        return "the first row of a step was changed, as its checksum shows: its call would not be recognised"
    return None


def _has_changed_opening(source: Source, session: bytes) -> bool:
    """Return whether the first row of a step fails its checksum: its call would not be recognised."""
    after = 0
    try:
        while page := stored.named(source.all("step_openings", session=session, field=FIELD, after=after, many=_PAGE)):
            if not all(row.is_intact for row in page):
                return True
            after = page[-1].seq
    except UnicodeDecodeError:
        return True
    return False
