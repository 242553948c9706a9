"""Scores and notes that a program gives to its own sessions, while they run or after their end."""

from __future__ import annotations

from localops import clock
from localops.errors import ConfigError
from localops.interruption import attempt
from localops.output import say
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from localops.recording.recorder import Recorder
    from localops.recording.scores import Score

new_id, now_ns = clock.new_id, clock.now_ns


def give(recorder: Recorder, make: Callable[[], Score], *, strict: bool) -> None:
    """Write the score or note that `make` returns; if it raises ConfigError, warn, or raise it in a strict session."""

    def check() -> Score | ConfigError:
        try:
            return make()
        except ConfigError as error:
            return error

    outcome = recorder.guarded(check)
    if outcome is None:  # it failed: `guarded` has counted it and printed a warning
        return
    if isinstance(outcome[0], ConfigError):
        if strict:
            raise outcome[0]
        say(f"{outcome[0]}; nothing was recorded")
        return
    _write(recorder, outcome[0])


def _write(recorder: Recorder, score: Score) -> None:
    at = now_ns()
    id = new_id(at)
    written: list[None] = []

    def write() -> None:
        if written:
            return
        seen = at
        if recorder.has_ended:
            # A later time would make the session longer, as it lasts until its last row; and it is not joined again.
            seen = max((last for (last,) in recorder.ask("last_ns", session=recorder.session) if last), default=at)
        elif recorder.must_attend:
            recorder.attend()
        target = _target(score.event)
        recorder.write(recorder.writer.score(score, id, given_ns=at, seen_ns=seen, target=target))
        written.append(None)

    recorder.guarded(write)


def _target(event: object) -> bytes | None:
    """Return the id of the scored event: the value itself, or the `id` of an event or operation."""
    if event is None:
        return None
    id = attempt(lambda: getattr(event, "id", None), None)
    return events.to_id(event if id is None else id)
