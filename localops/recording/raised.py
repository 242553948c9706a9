"""Record an exception once, although it may pass through several nested operations.

When an operation records an exception, it notes on it, for each session, the operation around it: that one then knows
that the exception is recorded, and notes the next one.  If a program raises the same object again somewhere else, it is
recorded again.
"""

from __future__ import annotations

from localops.interruption import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_ORIGINS = 10


def note_recorded(exception: BaseException, session: bytes, outer: bytes | None) -> None:
    """Note on an exception that it is recorded in a session, and which operation it reaches next."""
    if not issubclass(type(exception), BaseException):
        # A program may pass anything as exception.
        return
    notes = {**_notes_of(exception), session: outer}
    # If an exception does not accept attributes, an outer operation records it again.
    attempt(lambda: setattr(exception, "_localops_recorded", notes), None)


def was_recorded_inside(
    exception: BaseException, session: bytes, operation: bytes, *, is_one_call: bool = False
) -> bool:
    """Return whether an exception that reaches this operation was already recorded inside it.

    Frameworks often raise a client's exception again as a new one with the same class and message: this counts as the
    same error.  `is_one_call` is for a framework and a client that both recorded one LLM call: then any exception
    raised from the client's counts as the same, and so does one of a derived class raised while it was handled.
    """
    if _notes_of(exception).get(session) == operation:
        return True
    if is_one_call:
        return any(_notes_of(each).get(session) == operation for each in _origins(exception))
    cause = attempt(lambda: exception.__cause__, None)
    return (
        cause is not None
        and _notes_of(cause).get(session) == operation
        and _is_derived(exception, cause)
        and attempt(lambda: str(exception) == str(cause), False)
    )


def _origins(exception: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that this one comes from, nearest first; of implicit contexts, only base classes of it."""
    origin, is_named = _origin(exception)
    for _ in range(_MOST_ORIGINS):
        if origin is None:
            return
        if is_named or _is_derived(exception, origin):
            yield origin
        origin, is_cause = _origin(origin)
        is_named = is_named and is_cause


def _origin(exception: BaseException) -> tuple[BaseException | None, bool]:
    """Return the cause or else the context of an exception, and whether it is the explicit cause."""
    cause = attempt(lambda: exception.__cause__, None)
    return (cause, True) if cause is not None else (attempt(lambda: exception.__context__, None), False)


def _is_derived(exception: BaseException, other: BaseException) -> bool:
    return attempt(lambda: isinstance(exception, type(other)), False)


def is_recorded(exception: BaseException, session: bytes) -> bool:
    """Return whether an exception is recorded in this session, at any place."""
    return session in _notes_of(exception)


def _notes_of(exception: BaseException) -> dict[bytes, bytes | None]:
    notes = attempt(lambda: getattr(exception, "_localops_recorded", None), None)
    return notes if type(notes) is dict else {}
