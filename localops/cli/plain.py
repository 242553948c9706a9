"""Run commands with at most a session's id, the most frequent form, without a parser.

Loading click takes longer than running such a command. Everything else, such as an option, a wrong word or a missing
home, is left to click, whose commands print a session with the same functions.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from localops.cli import looking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from localops.reading.home import Project

    Show = Callable[[Project, bytes], None]

# The modules whose function `show` prints one session; their commands call the same one.
PRINTED_BY = {"analytics": "session_figures", "show": "session_page", "why": "post_mortem"}


def command(arguments: list[str]) -> Callable[[AbstractContextManager[None]], int] | None:
    """Return a function that prints a session in a pager and returns the exit code; None if a parser is needed."""
    if len(arguments) != 2 or arguments[0] not in PRINTED_BY or os.environ.get("_LOCALOPS_COMPLETE"):
        return None
    name, ident = arguments
    if not (ident.isascii() and ident.replace("-", "").isalnum()) or ident[0] == "-" or looking.fault(None):
        return None
    show: Show = import_module(f"localops.cli.{PRINTED_BY[name]}").show
    return lambda paged: _run(show, ident, paged)


def _run(show: Show, ident: str, paged: AbstractContextManager[None]) -> int:
    with paged, looking.look() as opened:
        show(*opened.find(ident))
    # So that a closed pipe raises here, where it is handled, and not at exit.
    sys.stdout.flush()
    return looking.exit_code()
