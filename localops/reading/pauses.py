"""The pauses of a resumed session: each lasts from the last row of a run until a process resumes the session.

A session is resumed only if all its processes are gone.  So an operation that began before and has no end did not last
longer than the rows of its own run.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

    from localops.journal.stored import Source
    from localops.reading.story import Milestone, Story

    class Pause(NamedTuple):
        """When the last row of a run was recorded, and when a process resumed the session."""

        stopped_ns: int
        resumed_ns: int
else:
    Pause = namedtuple("Pause", "stopped_ns resumed_ns")

_FAR = (1 << 63) - 1
_LOOKED_AT = 256  # rows before a resume
_ALL = 1 << 62


def of(source: Source, session: bytes, story: Story) -> list[Pause]:
    """Return the pauses of a session, oldest first."""
    pauses = []
    for one in story.resumes:
        before = _FAR if one.seq is None else one.seq
        bounds = {"upto": before - 1, "many": _LOOKED_AT, "at_ns": one.at_ns}
        if story.is_imported:
            # Its rows are in the order of its spans.
            bounds = {"upto": _FAR, "many": _ALL, "at_ns": one.at_ns - 1}
        (stopped_ns,) = source.one("last_before", session=session, **bounds) or (None,)
        pauses.append(Pause(one.at_ns if stopped_ns is None else stopped_ns, one.at_ns))
    return pauses


def end_before(ends: Iterable[Milestone], pause: Pause) -> Milestone | None:
    """Return the end of the run before a pause, or None."""
    # A derived end has the time of the last row of its run.  If that row is the resume, the end is that of the resumed
    # run, which recorded nothing else.
    own = [
        end
        for end in ends
        if pause.stopped_ns <= end.at_ns <= pause.resumed_ns and not (end.implied and end.at_ns == pause.resumed_ns)
    ]
    # As for a session, an end that the program declared takes precedence over a derived one.
    return max(own, key=lambda end: (not end.implied, end.at_ns), default=None)


def after(pauses: Iterable[Pause], began_ns: int) -> Pause | None:
    """Return the first pause after a moment: an operation that began then and has no end was over by this pause."""
    return next((pause for pause in pauses if began_ns < pause.resumed_ns), None)
