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

_MOST_CAUSES = 10


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
    same. With `is_one_call`, where both have recorded one call of a model, any exception from it is the same error.
    """
    if _notes_of(exception).get(session) == operation:
        return True
    cause = attempt(lambda: exception.__cause__, None)
    if is_one_call:
        return any(_notes_of(each).get(session) == operation for each in _causes(exception))
    return (
        cause is not None
        and _notes_of(cause).get(session) == operation
        and attempt(lambda: isinstance(exception, type(cause)), False)
        and attempt(lambda: str(exception) == str(cause), False)
    )


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Yield what an exception was raised from, what that was raised from, and so on."""
    for _ in range(_MOST_CAUSES):
        cause = attempt(lambda at=exception: at.__cause__, None)  # type: ignore[misc]
        if cause is None:
            return
        yield cause
        exception = cause


def is_recorded(exception: BaseException, session: bytes) -> bool:
    """Return whether an exception is recorded in this session, at any place."""
    return session in _notes_of(exception)


def _notes_of(exception: BaseException) -> dict[bytes, bytes | None]:
    notes = attempt(lambda: getattr(exception, "_localops_recorded", None), None)
    return notes if type(notes) is dict else {}
