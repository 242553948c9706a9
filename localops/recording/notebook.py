"""Cells of a notebook, or of IPython: the exception that ends one is an error of the session, which goes on.

IPython catches the exception of a cell itself, so that no hook of Python sees it, and nothing ends with it.
"""

from __future__ import annotations

import sys

from localops.output import say
from localops.recording.process_exit import record_uncaught

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def watch() -> None:
    """Have the shell that runs cells in this process, if there is one, say how each of them ended; once."""
    get_shell = getattr(sys.modules["IPython"], "get_ipython", None)
    shell = get_shell() if get_shell is not None else None
    if shell is not None and _after_cell not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _after_cell)


def _after_cell(result: Any) -> None:
    """Record the exception of a cell; not what ends it from outside, and no error of its syntax: then nothing ran."""
    error = result.error_in_exec
    if isinstance(error, Exception):
        try:
            record_uncaught(error, "an error of a cell")
        except Exception as problem:  # the edge: strict or not, a cell is shown as it ended
            say(f"an error could not be recorded: {problem}")
