"""Tell exceptions of the program, which only interrupted us, from those of a value that was looked at.

A signal handler that raises (an alarm, Ctrl-C, a soft time limit) and PyThreadState_SetAsyncExc raise wherever the
program is at that moment, which may be inside localops.  Such an exception belongs to the program: the interrupted work
is done first (`hold`), then it is raised (`deliver`).  An exception of a recorded value belongs to the value, and never
reaches the program.

CPython 3.11 and later run signal handlers and raise the exceptions of other threads in three places only: where a
function begins, where a loop jumps back, and after a call of a C function.  So a function of ours that has returned has
done its work, and an assignment of its result is done, too.
"""

from __future__ import annotations

# All of it is loaded here: a value may be read when the interpreter shuts down and can import nothing more.
from _signal import NSIG, getsignal  # type: ignore[import-not-found]
from _thread import get_ident
from itertools import pairwise
from opcode import opname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Any, TypeVar

    T = TypeVar("T")

MOST = 50
"""How often a step is repeated at most, which ends a storm of interruptions."""

_OURS = ("localops", "localops_sync")
_CALLS = ("CALL", "PRECALL", "IMPORT_NAME")  # frames of an import are left out of tracebacks
_RAISES = ("RAISE_VARARGS", "RERAISE")
_STAND_IN = 8  # bytes of code

waiting: dict[int, list[BaseException]] = {}
"""The exceptions to raise when our work is done, by thread."""


def hold(error: BaseException) -> None:
    """Keep an exception of the program until the interrupted work is done."""
    try:
        _add_waiting((error,))
    except BaseException as interruption:  # it came before the assignment in there
        _add_waiting((error, interruption))


def _add_waiting(errors: tuple[BaseException, ...]) -> None:
    # One assignment, as an interruption between two steps would leave a list that lacks its error.
    thread = get_ident()
    waiting[thread] = [*waiting.get(thread, ()), *errors]


def deliver() -> None:
    """Raise what was held in this thread: the newest, with the others as its context, as Python chains them itself."""
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
    # Last, so that an interruption before it leaves the others to the next call.
    del waiting[thread]
    try:
        raise newest
    finally:  # the traceback holds this frame: with these names left, only the garbage collector would free them
        del errors, newest, chain


def is_programs(error: BaseException) -> bool | None:
    """Return whether the program raised it from outside; None if only a second try of the same step can tell."""
    frames = list(_frames(error))
    handlers = set(_handlers())
    if any(_is_handler(trace.tb_frame, handlers) for trace in frames):
        return True
    if not frames:
        return None
    operation = _operation(frames[-1])
    if operation.startswith("RESUME") or "JUMP_BACKWARD" in operation:  # no code raises here by itself
        return True
    if type(error).__module__ == "apsw" or (isinstance(error, OSError) and error.errno is not None):
        return False
    if isinstance(error, KeyboardInterrupt):  # its usual handler is written in C and leaves no frame
        return None if operation.startswith(_CALLS) else operation not in _RAISES
    if isinstance(error, RecursionError | MemoryError) or not operation.startswith(_CALLS):
        return False
    return None if _is_ours(frames[-1].tb_frame) or _could_be_asynchronous(error) else False


def seems_programs(error: BaseException) -> bool:
    """Return the same, but never None, for a step that cannot be repeated.

    Where only a second try could tell, builtin exceptions count as our own, except for TimeoutError.
    """
    known = is_programs(error)
    if known is None:
        return not isinstance(error, Exception) or isinstance(error, TimeoutError) or _is_own_class(type(error))
    return known


def hold_if_programs(error: BaseException) -> bool:
    """Hold an exception if it seems to be the program's, and return whether it does."""
    if seems_programs(error):
        hold(error)
        return True
    return False


def _is_own_class(kind: type) -> bool:
    """Return whether a class was defined by the program, or by a package that it uses."""
    return kind.__module__.partition(".")[0] not in ("builtins", *_OURS)


def pass_on(error: OSError) -> None:
    """Raise an OSError that comes from no system call: a TimeoutError that the program raises is one, too."""
    if error.errno is None and is_programs(error) is not False:
        try:
            raise error
        finally:  # as in `deliver`
            del error


def settle(error: BaseException, step: Callable[[], T]) -> T:
    """Repeat a step that an exception ended.

    If it succeeds, the exception was the program's, and is held.  Raise the exception of the step's own code.
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
    """Return the result of a step that runs a value's own code; `otherwise` if it fails."""
    try:
        return step()
    except BaseException as error:
        try:
            return settle(error, step)
        except BaseException:
            return otherwise


def _contexts(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, the one that was handled when it was raised, and so on; each once."""
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
    """Return whether a frame stands for a function of a C extension, as Cython makes them, without code of its own.

    Python gives such a frame the code of `raise AssertionError`, new each time, and leaves it at the first instruction.
    """
    code = frame.f_code.co_code
    operations = [opname[operation] for operation in code[::2]] if len(code) <= _STAND_IN else []
    return "LOAD_ASSERTION_ERROR" in operations and operations[-1] == "RAISE_VARARGS"


def _is_handler(frame: FrameType, handlers: set[object]) -> bool:
    """Return whether a frame is that of a signal handler: its arguments are the number and the interrupted frame."""
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
    """Return the arguments of a function by position, if it still holds them."""
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
    """Return the name of the instruction at which a frame was left."""
    code = trace.tb_frame.f_code.co_code
    return opname[code[trace.tb_lasti]] if 0 <= trace.tb_lasti < len(code) else ""


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS


def _could_be_asynchronous(error: BaseException) -> bool:
    """Return whether another thread may have raised it: it can only give a class, which is called without arguments."""
    return not error.args or hasattr(type(error).__init__, "__code__")


def _place(error: BaseException) -> tuple[object, ...]:
    """Return what two exceptions of the same code have in common."""
    frames = list(_frames(error))
    return (type(error), *((frames[-1].tb_frame.f_code, frames[-1].tb_lasti) if frames else ()))
