"""Find a session to resume, check whether this process can resume it, and read its recorded steps.

Only one process may continue a session: in one transaction, it checks that no other process takes part and writes that
it does.
"""

from __future__ import annotations

import os
import time
from functools import partial

from localops.clock import now_ns
from localops.errors import NotFound, NotResumable
from localops.journal import participants, rows, spill
from localops.journal.reader import user_message
from localops.output import counted, say
from localops.reading import recorded_steps, session_state
from localops.reading.home import Home
from localops.reading.story import INCOMPLETE, KNOWN_LEFT, KNOWN_STARTS, PRESUMED_DEAD, Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.journal.stored import Source
    from localops.reading.recorded_steps import Recorded
    from localops.recording.recorder import Recorder

_SESSION = rows.COLUMNS.index("session")
_AHEAD_NS = 1_000_000_000
_MOST_NAMED = 100  # processes that had not left, and that had, to keep in the row of a resume
_TRIES, _PAUSE = 5, 0.1  # attempts, and seconds between them, as another process may be at work for a moment


def find(own: str, ident: str, open_here: Container[bytes]) -> tuple[str, bytes]:
    """Return the project folder and the id of a session by an id, the beginning of one, or `last`.

    `last` is the newest session of the project in the folder `own` that is not open in this process.  Raise NotFound or
    Ambiguous; if rows of the home could not be read, NotResumable instead of NotFound.
    """
    for _ in range(_TRIES):
        with Home(os.path.dirname(own), strict=False) as home:
            try:
                return _find(home, own, ident, open_here)
            except NotFound as error:
                reason = _why_incomplete(home, os.path.basename(own) if ident.lower() == "last" else None)
                if reason is None:
                    raise
                unknown = f"it is not known whether there is a session {ident!r}: {reason}"
                # The error of an empty home says how to record, which does not help here.
                problem = f"{error}; but {reason}" if home.projects else unknown
        time.sleep(_PAUSE)
    # It has the error of the search already.
    raise NotResumable(problem) from None


def _find(home: Home, own: str, ident: str, open_here: Container[bytes]) -> tuple[str, bytes]:
    if ident.lower() != "last":
        project, id = home.find(ident)
        return project.folder, id
    for listed in home.sessions():
        is_other = listed.session not in open_here and not listed.project.is_unattributed(listed)
        if listed.project.folder == own and is_other:
            return own, listed.session
    raise NotFound(f"there is no session to resume in {own}")


def _why_incomplete(home: Home, project: str | None) -> str | None:
    """Return why rows of a project, or of any project of a home, could not be read; None if all of them were."""
    names = [project] if project is not None else sorted({*home.unreadable, *home.waiting})
    for name in names:
        if name in home.unreadable:
            return f"project {name!r} cannot be read: {user_message(home.unreadable[name])}"
        if name in home.waiting:
            where = f"{counted(home.waiting[name], 'row')} of project {name!r}"
            return f"{where} could not be moved from a spill file to the journal: see `localops doctor`"
    return None


def rejoin(recorder: Recorder, extra: Mapping[str, object]) -> None:
    """Write the row that says that this process resumes the session; raise NotResumable if another one has it."""
    # A process that was killed a moment ago may still hold its lock.
    for pause in (*[_PAUSE / 4] * _TRIES, 0.0):
        known = _known(recorder.journal, recorder.session)
        if recorder.rejoin({**extra, **known}, partial(_is_left, recorder.journal.folder, known)):
            return
        time.sleep(pause)
    raise NotResumable(who_has_it(recorder))


def _known(source: Source, session: bytes) -> dict[str, object]:
    """Return what this home knows of the processes of a session, so that rows that it lacked are recognised later."""
    story = Story.read(source, session)
    steps = recorded_steps.steps_by_process(source, session)
    present = story.present()
    dead = [id.hex() for id in present][-_MOST_NAMED:]
    joined = [one.participant for one in story.of_kind(*rows.STARTS) if one.participant]
    left = dict.fromkeys(id.hex() for id in joined if id not in present)
    return {
        KNOWN_STARTS: story.starts,
        PRESUMED_DEAD: {id: steps[id] for id in dead},
        KNOWN_LEFT: list(left)[-_MOST_NAMED:],
    }


def check(recorder: Recorder, *, incomplete: bool = False) -> dict[str, object]:
    """Raise NotResumable if some of the session's recorded steps may be missing from this journal.

    With `incomplete`, only warn if steps may be missing because rows are.  Return what to note about that.
    """
    short = rows.id_text(recorder.session)[:13]
    journal = recorder.journal
    if session_state.is_of_hub(journal.folder):
        raise NotResumable(f"session {short} is on a hub: import a bundle of it into another home, and resume it there")
    journal.collect()
    if journal.is_part:
        raise NotResumable(
            f"session {short} is on a network file system, where it cannot be known whether another process is at it: "
            "carry it as a bundle to a local disk, and resume it there"
        )
    if any(row[_SESSION] == recorder.session for row in spill.rows(journal.folder)):
        raise NotResumable(
            f"rows of session {short} wait in a spill file and cannot be moved into the journal (is the disk full?); "
            "`localops doctor` says what to do"
        )
    story = Story.read(journal, recorder.session)
    if incomplete:
        refusal = recorded_steps.unknown_steps(journal, story, recorder.session)
    else:
        refusal = recorded_steps.refusal(journal, journal.folder, story, recorder.session)
    if refusal is not None:
        raise NotResumable(f"session {short} cannot be resumed: {refusal}")
    missing = recorded_steps.missing_rows(journal, journal.folder, story, recorder.session) if incomplete else None
    if missing is not None:
        say(f"session {short} is resumed without all its rows: {missing}")
    if _may_run_elsewhere(journal, story):
        say(
            f"session {short} was recorded in another home, or on another machine or container, so it is not known "
            "whether its process still runs; if it does, end it: both would run the same steps"
        )
    if (session_state.last_row_ns(journal, recorder.session) or 0) > now_ns() + _AHEAD_NS:
        say(f"the last row of session {short} is later than now: is a clock wrong? Its state may be shown as before")
    return {} if missing is None else {INCOMPLETE: 1}


def _may_run_elsewhere(journal: Journal, story: Story) -> bool:
    """Return whether a process of the session may still run where this machine cannot see it."""
    present = story.present().values()
    joined = {str(card.get("participant")): at_ns for card, at_ns, _ in story.participants()}
    for card in present:
        joined_ns = joined.get(str(card.get("participant")), 0)
        is_dead = session_state.died_before_a_resume(story, joined_ns)
        if not is_dead and participants.is_alive(journal.folder, card) is None:
            return True
    # Spans of earlier releases have no processes.
    return not present and story.is_imported and story.last_end is None


def _is_left(folder: str, known: dict[str, object], source: Source, row: Row) -> bool:
    """Return whether no live process is known to take part in the session of a row, and nothing has changed since."""
    cards = Story.read(source, row[_SESSION]).present().values()
    return not any(participants.is_alive(folder, card) for card in cards) and _known(source, row[_SESSION]) == known


def who_has_it(recorder: Recorder) -> str:
    """Return a message that names the process that takes part in the session."""
    journal = recorder.journal
    for card in Story.read(journal, recorder.session).present().values():
        if participants.is_alive(journal.folder, card):
            return f"session {rows.id_text(recorder.session)[:13]} is still recorded by process {card.get('pid')}"
    return f"another process has just resumed session {rows.id_text(recorder.session)[:13]}"


def recorded(recorder: Recorder) -> list[Recorded]:
    """Return the recorded steps of the session."""
    return recorded_steps.of(recorder.journal, recorder.session)
