"""Distinguish exceptions of the program, which interrupt our code, from exceptions of a recorded value.

A signal handler that raises (an alarm, Ctrl-C, a soft time limit) or PyThreadState_SetAsyncExc can raise anywhere,
also inside localops.  Such an exception belongs to the program: we keep it (`hold`), finish the interrupted work, and
then raise it (`deliver`).  An exception that a recorded value raises (in its `__str__`, for example) never reaches the
program.

CPython 3.11 and later run signal handlers and raise exceptions of other threads in three places only: where a function
begins, where a loop jumps back, and after a call of a C function.  So when a function of ours returns, its work is
done, and nothing can interrupt the assignment of its result.
"""

from __future__ import annotations

import os
import sys

# All imports are here: while the interpreter shuts down, values are still read, but nothing can be imported.
from _signal import NSIG, getsignal  # type: ignore[import-not-found]
from _thread import get_ident
from functools import partial
from itertools import pairwise
from opcode import opname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Any, TypeVar

    T = TypeVar("T")

MOST = 50
"""The most times a step is repeated, in case interruptions do not stop."""

_OURS = ("localops", "localops_sync")
_CALLS = ("CALL", "PRECALL", "IMPORT_NAME")  # frames of an import are left out of tracebacks
_RAISES = ("RAISE_VARARGS", "RERAISE")
_STAND_IN = 8  # the most bytes of code in the frame of a C extension's function

waiting: dict[int, list[BaseException]] = {}
"""By thread: the exceptions to raise when our work is done."""


def hold(error: BaseException) -> None:
    """Keep an exception of the program until the interrupted work is done."""
    try:
        _add_waiting((error,))
    except BaseException as interruption:  # raised before the assignment in that function
        _add_waiting((error, interruption))


def _add_waiting(errors: tuple[BaseException, ...]) -> None:
    # One assignment: between two steps, an interruption could leave a list without its error.
    thread = get_ident()
    waiting[thread] = [*waiting.get(thread, ()), *errors]


def deliver() -> None:
    """Raise the held exceptions of this thread: the newest, with the others chained to it as its context."""
    thread = get_ident()
    errors = waiting.get(thread)
    if errors is None:
        return
    newest = errors[-1]
    chain = list(_contexts(newest))
    for error in reversed(errors[:-1]):
        if not any(error is known for known in chain):
            chain[-1].__context__ = error
            chain = list(_contexts(newest))
    # Deleted last: if this is interrupted before, the next call raises them.
    del waiting[thread]
    try:
        raise newest
    finally:  # breaks the reference cycle between the exception, its traceback and this frame
        del errors, newest, chain


def arrival() -> list[Callable[[], object]]:
    """Return functions to call after a fork, which have Python raise this thread's held exceptions soon afterwards.

    A fork hook cannot raise them itself.  The list is empty if nothing is held, or if the program is profiled: then the
    next call of ours raises it.
    """
    if get_ident() not in waiting or sys.getprofile() is not None:
        return []
    caller: FrameType | None = sys._getframe()
    while caller is not None and _is_ours(caller):
        caller = caller.f_back
    return [partial(sys.setprofile, partial(_arrive, caller, caller.f_lasti if caller is not None else 0))]


def _arrive(caller: FrameType | None, at: int, frame: FrameType, _event: str, _argument: object) -> None:
    """Raise the held exceptions; as a profile function, Python calls it whenever a function begins or ends.

    Do nothing while hooks of others run: then the caller of the fork is still at the same instruction.
    """
    if _is_ours(frame) or (caller is not None and frame is not caller and caller.f_lasti == at):
        return
    sys.setprofile(None)
    deliver()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=waiting.clear)  # the signals were sent to the parent


def is_programs(error: BaseException) -> bool | None:
    """Return whether an exception is the program's, which interrupted us; None if only a repetition can show that."""
    frames = list(_frames(error))
    handlers = set(_handlers())
    if any(_is_handler(trace.tb_frame, handlers) for trace in frames):
        return True
    if not frames:
        return None
    operation = _operation(frames[-1])
    if operation.startswith("RESUME") or "JUMP_BACKWARD" in operation:  # these instructions never raise themselves
        return True
    if type(error).__module__ == "apsw" or (isinstance(error, OSError) and error.errno is not None):
        return False
    if isinstance(error, KeyboardInterrupt):  # its usual handler is written in C and leaves no frame
        return None if operation.startswith(_CALLS) else operation not in _RAISES
    if isinstance(error, RecursionError | MemoryError) or not operation.startswith(_CALLS):
        return False
    return None if _is_ours(frames[-1].tb_frame) or _could_be_asynchronous(error) else False


def seems_programs(error: BaseException) -> bool:
    """Return the same as `is_programs`, but never None, for a step that cannot be repeated.

    If only a repetition could show it, builtin exceptions count as our own, except TimeoutError.
    """
    known = is_programs(error)
    if known is None:
        return not isinstance(error, Exception) or isinstance(error, TimeoutError) or _is_own_class(type(error))
    return known


def could_be_programs(error: BaseException) -> bool:
    """Return whether an exception may be the program's if the step succeeded when it was repeated.

    A builtin exception with a message is more likely from a C function that we call: an import that had no descriptor
    left, for example.
    """
    return seems_programs(error) or _could_be_asynchronous(error)


def hold_if_programs(error: BaseException) -> bool:
    """Hold an exception if it seems to be the program's; return whether it does."""
    if seems_programs(error):
        hold(error)
        return True
    return False


def _is_own_class(kind: type) -> bool:
    """Return whether a class was defined by the program, or by a package that it uses."""
    return kind.__module__.partition(".")[0] not in ("builtins", *_OURS)


def pass_on(error: OSError) -> None:
    """Raise an OSError again if it is not from a system call: it may be a TimeoutError of the program."""
    if error.errno is None and is_programs(error) is not False:
        try:
            raise error
        finally:  # as in `deliver`
            del error


def settle(error: BaseException, step: Callable[[], T]) -> T:
    """Repeat a step that raised, and return its result.

    If it succeeds, the exception was the program's, and is held, if it could be.  If the step itself raises, raise its
    exception.
    """
    errors = [error]
    while len(errors) <= MOST and is_programs(errors[-1]) is not False:
        try:
            result = step()
        except BaseException as again:
            errors.append(again)
            if is_programs(again) is None and _place(again) in map(_place, errors[:-1]):
                break
        else:
            for held in errors:
                if could_be_programs(held):
                    hold(held)
            return result
    _hold_programs_own(errors[:-1])
    try:
        raise errors[-1]
    finally:  # as in `deliver`
        del error, errors


def _hold_programs_own(errors: list[BaseException]) -> None:
    for error in errors:
        if is_programs(error):
            hold(error)


def attempt(step: Callable[[], T], otherwise: T) -> T:
    """Return the result of a step that runs code of a recorded value; `otherwise` if it fails."""
    try:
        return step()
    except BaseException as error:
        try:
            return settle(error, step)
        except BaseException:
            return otherwise


def _contexts(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, its context, the context of that, and so on; each once."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__context__


def _frames(error: BaseException) -> Iterator[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        if not _is_stand_in(trace.tb_frame):
            yield trace
        trace = trace.tb_next


def _is_stand_in(frame: FrameType) -> bool:
    """Return whether a frame represents a function of a C extension (as Cython adds them), without Python code.

    Its code is a new copy of `raise AssertionError`, and the frame is at the first instruction.
    """
    code = frame.f_code.co_code
    operations = [opname[operation] for operation in code[::2]] if len(code) <= _STAND_IN else []
    return "LOAD_ASSERTION_ERROR" in operations and operations[-1] == "RAISE_VARARGS"


def _is_handler(frame: FrameType, handlers: set[object]) -> bool:
    """Return whether a frame belongs to a signal handler: its arguments are a number and the interrupted frame."""
    back, code = frame.f_back, frame.f_code
    if back is None:
        return False
    if code in handlers:
        return True
    if code.co_argcount + code.co_kwonlyargcount < 2 and not code.co_flags & 4:
        return False
    if _is_ours(frame):  # `f_locals` would keep objects alive that `deliver`, `pass_on` and `settle` have released
        return False
    return any(where is back and isinstance(number, int) for number, where in pairwise(_arguments(frame)))


def _arguments(frame: FrameType) -> list[Any]:
    """Return the arguments of a function in order; None for one that was deleted."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)]
    values = [frame.f_locals.get(name) for name in names]
    if code.co_flags & 4 and isinstance(values[-1], tuple):  # *args
        values[-1:] = values[-1]
    return values


def _handlers() -> Iterator[object]:
    """Yield the code of the installed signal handlers that are written in Python."""
    for number in range(1, NSIG):
        handler = getsignal(number)
        if callable(handler):
            while hasattr(handler, "func"):  # a partial
                handler = handler.func
            for way in (handler, getattr(handler, "__func__", None), type(handler).__call__):
                if (code := getattr(way, "__code__", None)) is not None:
                    yield code


def _operation(trace: TracebackType) -> str:
    """Return the name of the instruction at which an exception left a frame."""
    code = trace.tb_frame.f_code.co_code
    return opname[code[trace.tb_lasti]] if 0 <= trace.tb_lasti < len(code) else ""


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS


def _could_be_asynchronous(error: BaseException) -> bool:
    """Return whether another thread may have raised it: Python then creates it from a class, without arguments."""
    return not error.args or hasattr(type(error).__init__, "__code__")


def _place(error: BaseException) -> tuple[object, ...]:
    """Return the class and code position of an exception, which are equal if the same code raised it again."""
    frames = list(_frames(error))
    return (type(error), *((frames[-1].tb_frame.f_code, frames[-1].tb_lasti) if frames else ()))
