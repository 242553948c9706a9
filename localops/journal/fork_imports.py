"""Before a fork, wait until no other thread is importing a module of ours, or the child would deadlock.

Python does not release the import locks of other threads in a child, and some of our modules are imported in the middle
of a call.  Imports of the program itself are not waited for: the imported code may run forever.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from functools import partial
from time import sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_PATIENCE = 1.0  # seconds
_NAP = 0.001
_IMPORTERS = ("importlib", "_frozen_importlib")  # the packages of the import system


def wait() -> None:
    """Wait for imports of other threads, at most a second."""
    try:
        _await_imports()
    except BaseException as error:
        # A fork hook would swallow an exception of a signal handler.
        interruption = sys.modules.get("localops.interruption")
        if interruption is None or not interruption.hold_if_programs(error):
            raise


def _await_imports() -> None:
    patience = _PATIENCE
    while patience > 0 and any(map(_imports_for_us, _other_threads())):
        sleep(_NAP)
        patience -= _NAP


def _other_threads() -> list[FrameType]:
    frames = sys._current_frames()
    frames.pop(get_ident(), None)
    return list(frames.values())


def _imports_for_us(frame: FrameType | None) -> bool:
    """Return whether a thread is importing a module of ours, or a module that ours imports."""
    importing = False
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package == "localops" and (importing or frame.f_code.co_name == "<module>"):
            return True
        importing = package.startswith(_IMPORTERS)
        frame = frame.f_back
    return False


def before_fork(undo: list[Callable[[], object]]) -> None:
    """Prepare a fork, again if a signal handler has interrupted it; what undoes it goes into a list of this fork."""
    # First, as another thread may be importing `forks` right now.
    wait()
    prepare = getattr(sys.modules.get("localops.journal.forks"), "prepare", None)
    if prepare is not None:
        prepare(undo)


def before_fork_again(error: BaseException, undo: list[Callable[[], object]]) -> None:
    """Do the same after an exception of a signal handler, which would be lost in a hook: it is raised later."""
    interruption, forks = map(sys.modules.get, ("localops.interruption", "localops.journal.forks"))
    if interruption is None or forks is None:
        raise error
    interruption.settle(error, partial(before_fork, undo))
    forks.note_arrival()
