"""An operation: something that begins in a session and ends, in two rows of which neither repeats the other.

When the process dies in between, the row it opened with is the witness of where.
"""

from __future__ import annotations

from localops import clock, rows
from localops.events import ErrorEvent
from localops.interruption import attempt, hold, is_programs
from localops.measures import UNMEASURED, nano

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localops.rows import Row
    from localops.session import Session

new_id, now_ns, plain, seal, FORMAT = clock.new_id, clock.now_ns, rows.plain, rows.seal, rows.FORMAT


class Operation:
    """Something that has begun in a session and will end: what a decorator opens around a function."""

    __slots__ = ("agent", "cost", "id", "kind", "name", "parent", "session", "start", "tags")

    def __init__(
        self,
        session: Session,
        kind: str,
        name: str,
        parent: bytes | None,
        agent: bytes | None,
        tags: Iterable[str] | None,
        cost: float | None,
    ) -> None:
        self.session, self.kind, self.parent, self.agent, self.cost = session, kind, parent, agent, cost
        self.name = session._encoder.text(name)
        self.start = now_ns()
        self.id = new_id(self.start)
        self.tags = session._tags_text(tags) if tags is not None else None

    def open(self, params: object, more: Mapping[str, object] | None) -> None:
        """Write that it has begun."""
        session, kind = self.session, self.kind
        fields = {"params": params} if params is not None else {}
        if more:
            fields.update(more)
        body = session._encode(fields) if fields else None
        # A wait is about to begin: what led to it should be safe from a power cut as well.
        sync = (kind == "tool" or kind == "llm") and session._journal.sync_due()
        if not session._append(self._row(1, self.start, None, None, None, body), sync=sync):
            session._not_written()

    def finish(self, fields: dict[str, object], *, failed: bool = False) -> None:
        """Write that it has ended, and with what."""
        self.session._guarded(lambda: self._finish(fields, failed))

    def _finish(self, fields: dict[str, object], failed: bool) -> None:
        session = self.session
        if session._attention:
            session._attend()
        body = session._encode(fields) if fields else None
        if not session._append(self._row(0, now_ns(), self.start, nano(self.cost), 1 if failed else None, body)):
            session._not_written()

    def error(self, exception: BaseException) -> None:
        """Record the exception that it failed with, linked to it, unless it was recorded further in."""
        session = self.session
        if not was_told(exception, session._id, self.id):
            session._guarded(lambda: session._append(self._error_row(exception), sync=session._journal.sync_due()))
        tell(exception, session._id, self.parent)

    def _error_row(self, exception: BaseException) -> Row:
        session, event, at = self.session, ErrorEvent(exception=exception), now_ns()
        link = {"trigger": {"id": rows.id_text(self.id), "kind": self.kind, "name": self.name}}
        return rows.make(
            "error",
            session._id,
            id=new_id(at),
            at_ns=at,
            name=session._text(event.error_type),
            parent=self.id,
            agent=self.agent,
            body=session._encode({**event.fields(), **link}),
        )

    def _row(
        self, phase: int, at: int, start: int | None, cost: int | None, failed: int | None, body: str | None
    ) -> Row:
        tags = self.tags if phase == rows.DONE else None
        head = (self.id, phase, self.session._id, self.kind, self.name, self.parent, self.agent, at, start)
        if tags is None and cost is None and failed is None:
            return plain(*head, body)
        return seal((*head, None, *UNMEASURED[:5], cost, failed, tags, FORMAT), body)


# An exception says, for each session it is recorded in, which operation it comes to next, so that each one it
# passes through knows whether it is news.  A program that raises the same object again, later and elsewhere, is
# not silenced by that.


def tell(exception: BaseException, session: bytes, outer: bytes | None) -> None:
    """Note on an exception that it is recorded in a session, and which operation it comes to next."""
    if not issubclass(type(exception), BaseException):  # a program may give anything as exception
        return
    told = {**_told(exception), session: outer}
    try:
        exception._localops_recorded = told  # type: ignore[attr-defined]
    except BaseException as error:  # an exception that takes no attributes may be recorded once more further out
        if is_programs(error):
            hold(error)


def was_told(exception: BaseException, session: bytes, operation: bytes) -> bool:
    """Whether an exception that reaches this operation was recorded further in."""
    return _told(exception).get(session) == operation


def is_recorded(exception: BaseException, session: bytes) -> bool:
    """Whether an exception is in this session, wherever it was recorded."""
    return session in _told(exception)


def _told(exception: BaseException) -> dict[bytes, bytes | None]:
    told = attempt(lambda: getattr(exception, "_localops_recorded", None), None)
    return told if type(told) is dict else {}
