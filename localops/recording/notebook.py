"""Record the exception that ends a cell of a notebook or of IPython as an error of the session, which continues.

IPython catches such an exception itself, so Python's own hooks do not see it.
"""

from __future__ import annotations

import sys

from localops.output import say
from localops.recording.process_exit import record_uncaught

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def watch() -> None:
    """Register a hook with the IPython shell of this process, if there is one; repeated calls do nothing."""
    get_shell = getattr(sys.modules["IPython"], "get_ipython", None)
    shell = get_shell() if get_shell is not None else None
    if shell is not None and _after_cell not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _after_cell)


def _after_cell(result: Any) -> None:
    """Record the exception of a cell, except an interruption; a cell with a syntax error has not run."""
    error = result.error_in_exec
    if isinstance(error, Exception):
        try:
            record_uncaught(error, "an error of a cell")
        except Exception as problem:  # the edge: also in a strict session, IPython must show the cell's own error
            say(f"an error could not be recorded: {problem}")
