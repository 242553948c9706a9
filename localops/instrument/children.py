"""Children that multiprocessing spawns record model libraries as their parent does, whatever their main module imports.

What goes to a child is pickled.  A process that is started takes along an object whose unpickling imports localops
there, which then waits for the libraries.  Nothing happens in a child that has no localops.
"""

from __future__ import annotations

from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

_IMPORT = """
try:
    import localops
except Exception:
    pass
"""
_is_on = False
_is_installed = False


class _Import:
    """Imports localops in the process that unpickles it; there it is None."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, (_IMPORT, {})


def carry_on(module: ModuleType) -> None:
    """Have the children that are started from now on record as this process does; `module` has multiprocessing's."""
    global _is_on, _is_installed
    _is_on = True
    if not _is_installed:
        _is_installed = True
        module.BaseProcess.start = _start(module.BaseProcess.start)


def stop() -> None:
    """Let children that are started from now on record nothing unasked."""
    global _is_on
    _is_on = False


def _start(start: Callable[..., None]) -> Callable[..., None]:
    @wraps(start)
    def started(process: Any) -> None:
        if not _is_on:
            return start(process)
        # Unpickled after the child has the search path of this process, and has run its main module.
        kept = process.__dict__
        kept["_localops"] = _Import()
        try:
            return start(process)
        finally:
            kept.pop("_localops", None)

    return started
