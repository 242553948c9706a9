"""Which operation an exception has been recorded in, so that it is one error, however many it passes through.

An exception keeps, for each session it is recorded in, the operation that it reaches next: each operation on its way
then knows whether it was recorded further in.  A program that raises the same object again, later and elsewhere, gets
it recorded again.
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
    # An exception that takes no attributes may be recorded once more further out.
    attempt(lambda: setattr(exception, "_localops_recorded", notes), None)


def was_recorded_inside(
    exception: BaseException, session: bytes, operation: bytes, *, is_one_call: bool = False
) -> bool:
    """Return whether an exception that reaches this operation was recorded further in.

    Frameworks raise an exception of their client again as one of their own, which is of the same class and says the
    same. With `is_one_call`, where both have recorded one call of a model, any exception from it is the same error, and
    so is one of a class derived from its class that was raised while it was handled.
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
    """Yield what an exception was raised from, and what a derived one was raised beside, nearest first."""
    origin, is_named = _origin(exception)
    for _ in range(_MOST_ORIGINS):
        if origin is None:
            return
        if is_named or _is_derived(exception, origin):
            yield origin
        origin, is_cause = _origin(origin)
        is_named = is_named and is_cause


def _origin(exception: BaseException) -> tuple[BaseException | None, bool]:
    """Return what an exception comes from, and whether it says so itself."""
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
