"""Tell whether a KeyboardInterrupt came from SIGINT or from a `raise` statement of the program.

Python's own handler of SIGINT is no Python code: its exception appears at any instruction but a `raise`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import opcode

from localops.careful import attribute, is_a

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_RAISE = opcode.opmap["RAISE_VARARGS"]
# It turns the SIGINT that it handled into an exception outside of its handler.
_RUNNERS = "asyncio.runners"


def is_of_signal(error: BaseException) -> bool:
    """Return whether a KeyboardInterrupt, or one that it replaced, came from SIGINT, as far as its traceback shows."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if is_a(one, KeyboardInterrupt) and not _is_raised(one):
            return True
        one = attribute(one, "__cause__") or attribute(one, "__context__")
    return False


def _is_raised(error: BaseException) -> bool:
    """Return whether a `raise` statement outside of the handlers of SIGINT raised an exception."""
    handler = attribute(_signal.getsignal(_signal.SIGINT), "__code__")
    trace = attribute(error, "__traceback__")
    if trace is None:
        return False
    while True:
        if trace.tb_frame.f_code is handler:
            return False
        if trace.tb_next is None:
            break
        trace = trace.tb_next
    return _is_at_raise(trace.tb_frame, trace.tb_lasti) and trace.tb_frame.f_globals.get("__name__") != _RUNNERS


def _is_at_raise(frame: FrameType, instruction: int) -> bool:
    code = frame.f_code.co_code
    return 0 <= instruction < len(code) and code[instruction] == _RAISE
