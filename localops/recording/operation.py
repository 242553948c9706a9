"""An operation: something that begins in a session and ends, in two rows of which neither repeats the other.

When the process dies in between, the row it opened with is the witness of where.
"""

from __future__ import annotations

from localops import clock
from localops.recording.events import ErrorEvent
from localops.recording.recorder import note_recorded, was_recorded_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localops.journal.rows import Row
    from localops.recording.recorder import Recorder

new_id, now_ns = clock.new_id, clock.now_ns


class Operation:
    """Something that has begun in a session and will end: what a decorator opens around a function."""

    __slots__ = ("_cost", "_head", "_recorder", "_tags", "agent", "id", "kind", "parent")

    def __init__(
        self,
        recorder: Recorder,
        kind: str,
        name: str,
        parent: bytes | None,
        agent: bytes | None,
        tags: Iterable[str] | None,
        cost: float | None,
    ) -> None:
        self.kind, self.parent, self.agent = kind, parent, agent
        self._recorder, self._cost = recorder, cost
        writer = recorder.writer
        self._tags = writer.tags_text(tags) if tags is not None else None
        start = now_ns()
        self.id = new_id(start)
        self._head = (self.id, kind, writer.text(name), parent, agent, start)

    def open(self, params: object, more: Mapping[str, object] | None) -> None:
        """Write that it has begun."""
        recorder, kind = self._recorder, self.kind
        fields = {"params": params} if params is not None else {}
        if more:
            fields.update(more)
        row = recorder.writer.opening(self._head, fields)
        # A wait is about to begin: what led to it should be safe from a power cut as well.
        recorder.write(row, sync=(kind == "tool" or kind == "llm") and recorder.journal.sync_due())

    def finish(self, fields: dict[str, object], *, failed: bool = False) -> None:
        """Write that it has ended, and with what."""
        self._recorder.guarded(lambda: self._finish(fields, failed))

    def _finish(self, fields: dict[str, object], failed: bool) -> None:
        recorder = self._recorder
        if recorder.attention:
            recorder.attend()
        row = recorder.writer.closing(self._head, now_ns(), fields, self._cost, self._tags, failed=failed)
        recorder.write(row)

    def error(self, exception: BaseException) -> None:
        """Record the exception that it failed with, linked to it, unless it was recorded further in."""
        recorder = self._recorder
        if not was_recorded_inside(exception, recorder.session, self.id):
            journal = recorder.journal
            recorder.guarded(lambda: journal.append(self._error_row(exception), sync=journal.sync_due()))
        note_recorded(exception, recorder.session, self.parent)

    def _error_row(self, exception: BaseException) -> Row:
        event, at = ErrorEvent(exception=exception), now_ns()
        return self._recorder.writer.operation_error(self._head, event, new_id(at), at)
