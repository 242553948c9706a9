"""Find the sessions that cannot be resumed as they are: rows are missing, or two copies of one were continued.

`resume`, `steps`, `why` and `show` say so for one session; doctor names all of them.
"""

from __future__ import annotations

from localops.journal import participants, rows
from localops.journal.sql import statements
from localops.reading import analytics, missing_steps, recorded_steps, session_state
from localops.reading.story import Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.journal.reader import Reader

_SHOWN = 5
_OUT_OF_LIST = "`localops prune --session ID` removes such a session from this list"
_INCOMPLETE = (
    "a program resumes it only with `localops.resume(..., incomplete=True)`, which runs missing steps again; "
    f"{_OUT_OF_LIST}"
)
_TWO_HISTORIES = f"resume it in a home that has only one of them, or begin a new session; {_OUT_OF_LIST}"


def incomplete(reader: Reader, folder: str, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with sessions, and what to do; sessions with the same reason are named together.

    Only `deep` looks into the rows of all steps.  A session that lost rows with a deleted journal is left out, as
    doctor reports it with the number of rows.
    """
    sessions: dict[tuple[str, str], list[str]] = {}
    queries, is_hub = statements("doctor.sql"), session_state.is_of_hub(folder)
    chosen = {session for (session,) in reader.ask(queries["resumed"])}
    # A hub has what its clients have sent until now, so missing rows are no problem.
    if not is_hub:
        moved = analytics.array(participants.elsewhere_now(folder))
        chosen |= {session for (session,) in reader.ask(queries["maybe_incomplete"], {"moved": moved})}
        # Of these the journal has no row, as it is an older copy.
        chosen |= {session for _, session in session_state.unknown_resumes(reader, folder)}
        if deep:
            steps = reader.ask(queries["with_steps"], {"field": missing_steps.FIELD})
            chosen |= {session for (session,) in steps}
    for session in sorted(chosen):
        story = Story.read(reader, session)
        problem = _two_histories(reader, story, session)
        if problem is None and not is_hub:
            problem = _missing_rows(reader, folder, story, session, deep=deep)
        if problem is not None:
            sessions.setdefault(problem, []).append(rows.id_text(session)[:13])
    for (reason, cure), names in sessions.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"session {', '.join(names[:_SHOWN])}{more}: {reason}", cure


def _two_histories(reader: Reader, story: Story, session: bytes) -> tuple[str, str] | None:
    split = recorded_steps.split_at(reader, story, session)
    return None if split is None else (recorded_steps.two_histories(split), _TWO_HISTORIES)


def _missing_rows(reader: Reader, folder: str, story: Story, session: bytes, *, deep: bool) -> tuple[str, str] | None:
    if story.deleted[0]:
        return None
    reason = missing_steps.reason(reader, folder, story, session, whole=deep)
    return None if reason is None else (reason, _INCOMPLETE)
