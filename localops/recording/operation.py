"""An operation that a program opens and closes by hand; `operation_rows.py` writes its rows, also for decorators."""

from __future__ import annotations

import uuid

from localops import clock
from localops.careful import is_a
from localops.errors import JournalError
from localops.interruption import deliver, waiting
from localops.output import say_once
from localops.recording import events
from localops.recording.context import Stay
from localops.recording.recorder import COPY
from localops.recording.scores import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol, Self

    from localops.recording.context import Scope
    from localops.recording.events import LLMEvent, Timestamp
    from localops.recording.operation_rows import OperationRows

    class Session(Protocol):
        """The methods that an operation needs of its session, whose class is in a layer above."""

        def here(self) -> Scope:
            """Return the place in the session where the calling code is."""

        def score(
            self,
            name: str,
            value: float | bool | str | None,
            *,
            by: str = ...,
            comment: object = None,
            version: str | None = None,
            event: uuid.UUID | None = None,
        ) -> None:
            """Score the session, or one of its events."""

        def check_budget(self) -> None:
            """Raise BudgetExceeded when the budget is spent."""


now_ns = clock.now_ns


class Operation:
    """Something that a program opens and closes by hand: a step, a tool call, an LLM call.

    `Session.operation` returns one.  In a `with` statement, what happens in the block belongs to it; otherwise call
    `open` and `close`, from any thread or task.  Its opening row is written before `open` returns, so if the process
    dies in the middle, the journal shows where.

    >>> import localops
    >>> session = localops.init()
    >>> with session.operation("look up", kind="tool", params={"query": "tides"}) as lookup:
    ...     lookup.returns({"hits": 3})
    >>> session.get_analytics()["Tool calls"]
    1
    """

    __slots__ = (
        "_begin",
        "_call",
        "_closer",
        "_error",
        "_extra",
        "_failed",
        "_is_opened",
        "_rows",
        "_session",
        "_stay",
        "kind",
        "name",
    )

    def __init__(
        self,
        session: Session,
        kind: str,
        name: str,
        call: LLMEvent | None,
        begin: Callable[[], OperationRows | None],
    ) -> None:
        self.kind = kind
        self.name = name
        self._session = session
        self._call = call
        self._begin = begin
        self._rows: OperationRows | None = None
        self._stay: Stay | None = None
        self._extra: dict[str, object] = {}
        self._failed = False
        self._error: BaseException | str | None = None
        self._is_opened = False
        self._closer: dict[None, list[None]] = {}  # the first call that closes it, in any thread

    @property
    def id(self) -> uuid.UUID | None:
        """Return the id of its rows; None before it is opened."""
        return uuid.UUID(bytes=self._rows.id) if self._rows is not None else None

    @property
    def is_open(self) -> bool:
        """Return whether it has been opened and not closed."""
        return self._is_opened and not self._closer

    def open(self) -> Self:
        """Write its opening row; only what is recorded in `inside` belongs to it."""
        self._open()
        if waiting:
            deliver()
        return self

    def _open(self) -> None:
        if self._rows is not None:
            say_once("operation opened twice", f"the operation {self.name!r} was opened before; open it once")
            return
        self._rows = self._begin()
        self._is_opened = True

    def close(self, error: BaseException | None = None, *, end: Timestamp | None = None) -> None:
        """Write its closing row, once; with an exception, it is marked as failed and the exception is recorded.

        `end` is when it ended, if not now.
        """
        if not self.is_open:
            if self._rows is None:
                say_once("operation not open", f"the operation {self.name!r} was closed before it was opened")
            return
        if self._close([], error, events.to_ns(end) if end is not None else None, None):
            self._check_budget()

    def returns(self, value: object) -> None:
        """Keep what it returned; from the response of a model library, also model, tokens and finish reason."""
        if self._call is not None:
            self._call.returns = value
        else:
            self._extra["returns"] = value

    def usage(
        self,
        *,
        model: str | None = None,
        provider: str | None = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        cached_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        input_audio_tokens: int | None = None,
        output_audio_tokens: int | None = None,
        cost: float | None = None,
    ) -> None:
        """Keep the usage of an LLM call; arguments that are left out stay as they were."""
        figures = {name: value for name, value in locals().items() if name != "self" and value is not None}
        self._set("usage", figures)

    def answer(
        self,
        completion: object = None,
        *,
        tool_calls: object = None,
        finish_reason: object = None,
        response_id: str | None = None,
        response_model: str | None = None,
        time_to_first_token: float | None = None,
    ) -> None:
        """Keep the answer of a language model; arguments that are left out stay as they were."""
        figures = {name: value for name, value in locals().items() if name != "self" and value is not None}
        self._set("answer", figures)

    def _set(self, what: str, figures: Mapping[str, object]) -> None:
        if self._call is None:
            say_once(
                f"{what} of {self.kind}",
                f"{what}() is for operations of kind 'llm', got {self.kind!r}: the figures are kept but do not count",
            )
            self._extra.update(figures)
            return
        for name, value in figures.items():
            setattr(self._call, name, value)

    def first_token(self) -> None:
        """Note that the first part of a streamed answer has arrived; only the first such note counts."""
        if self._call is not None and self._rows is not None and self._call.time_to_first_token is None:
            self._call.time_to_first_token = (now_ns() - self._rows.began) / 1e9

    def from_cache(self) -> None:
        """Note that the program's cache answered an LLM call: no request was made, so it does not count."""
        if self._rows is not None and self._call is not None:
            self._rows.become(COPY, self.name, cost=0)
            self._call = None
            self._extra["from_cache"] = True

    def note(self, **fields: object) -> None:
        """Keep more facts about it, in its closing row."""
        self._extra.update(fields)

    def fail(self, error: BaseException | str | None = None) -> None:
        """Mark it as failed, and record the exception or the description as its error."""
        self._failed = True
        if error is not None:
            self._error = error if is_a(error, BaseException) else events.describe(error)

    def score(
        self,
        name: str,
        value: float | bool | str | None,
        *,
        by: str = CODE,
        comment: object = None,
        version: str | None = None,
    ) -> None:
        """Score the operation, which must have been opened, as `Session.score` does a session."""
        if self._rows is None:
            say_once("operation not opened", f"the operation {self.name!r} was scored before it was opened")
            return
        self._session.score(name, value, by=by, comment=comment, version=version, event=self.id)

    def inside(self) -> Stay:
        """Return a context manager; what is recorded in its block, in any thread, belongs to this operation."""
        return Stay(self.place)

    @property
    def place(self) -> Scope:
        """Return the place of events inside it: the session, this operation and its agent."""
        rows = self._rows
        if rows is None:
            # Not opened, or not recorded: events inside belong to the place around it.
            return self._session.here()
        return (self._session, rows.id, rows.id if rows.kind == "agent" else rows.agent)

    def _check_budget(self) -> None:
        if self._call is not None or self.kind == "tool":
            self._session.check_budget()

    def _close(self, turn: list[None], error: BaseException | None, end: int | None, stay: Stay | None) -> bool:
        """Close it, unless another call has closed it; return whether this call did.

        `turn` is a new list that identifies this call.  With `stay`, leave the place inside it first.
        """
        try:
            self._close_in(turn, error, end, stay)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException:  # the program's signal handler raised: write the end, then raise again
            self._close_in(turn, error, end, stay)
            raise
        if waiting:
            deliver()
        return self._closer.get(None) is turn

    def _close_in(
        self, turn: list[None], error: BaseException | str | None, end: int | None, stay: Stay | None
    ) -> None:
        if stay is not None:
            stay.leave()
        rows = self._rows
        if not self._is_opened or self._closer.setdefault(None, turn) is not turn or rows is None:
            return
        fields = self._extra
        if is_a(error, BaseException) and not is_a(error, Exception):  # cancelled or interrupted: not an error
            rows.interrupted(fields, error, end=end)
            return
        error = error if error is not None else self._error
        rows.finish(fields, failed=self._failed or error is not None, error=error, end=end)
        if error is not None:
            rows.error(error)

    def __enter__(self) -> Self:
        try:
            self._open()
            self._stay = self.inside()
            self._stay.__enter__()
        except BaseException as error:  # interrupted: Python will neither run the block nor call `__exit__`
            self._close([], error, None, self._stay)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        turn: list[None] = []  # a literal: creating it cannot be interrupted
        try:
            is_ours = self._close(turn, error, None, self._stay)
        except JournalError:
            raise
        except BaseException:  # interrupted before `_close` could do anything
            self._close(turn, error, None, self._stay)
            raise
        if is_ours and error is None:
            self._check_budget()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed" if self._rows is not None else "not opened"
        return f"<Operation {self.kind} {self.name!r}, {state}>"
