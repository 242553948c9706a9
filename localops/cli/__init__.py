"""The `localops` command: parses, makes one library call, prints.

`group.py` parses with click; `plain.py` runs commands without options, for which click is not loaded.  Only this file
turns errors into a line on stderr and an exit code: 0 done, 1 not found, ambiguous or unexpected, 2 wrong usage, 3 a
rule of `check` is broken or `lint` sees a loop, 130 interrupted.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import nullcontext
from io import TextIOWrapper

from localops.cli import looking
from localops.errors import ConfigError, LocalopsError
from localops.output import say, write_plain_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import NoReturn

# Commands whose output can be longer than a screen.
_PAGED = frozenset("sessions show why lint steps diff analytics search query help".split())

# New objects between two searches for garbage: a command reads thousands of rows, and few are part of a cycle.
NEW_OBJECTS = 20_000


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    _make_stdout_ready()
    code = _run(sys.argv[1:] if arguments is None else list(arguments))
    # Without a search for garbage at exit, a short command is a tenth faster. A program started by `run` may have
    # finalizers that need it.
    if "localops.cli.run" not in sys.modules:
        atexit.register(gc.freeze)
    sys.exit(code)


def _make_stdout_ready() -> None:
    """Make files and pipes UTF-8, and terminals show `?` for a character that they lack."""
    # Closed by the caller (`>&-`): without this, output could end up in a file that is opened later.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  open until the process ends
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="replace")
        if not sys.stdout.isatty():
            write_plain_numbers()


def _run(arguments: list[str]) -> int:
    looking.begin()
    try:
        run = _loaded(arguments)
        return run(_pager(arguments))
    except KeyboardInterrupt:
        # The exit code that shells give a program which SIGINT has ended.
        return 130
    except BrokenPipeError:
        return _end_quietly()
    except LocalopsError as error:
        # The cause is not part of the message, as clients of a hub must not see paths.
        why = getattr(error, "why", "")
        say(f"{error}: {why}" if why else str(error), level="error")
        return 2 if isinstance(error, ConfigError) else 1
    except Exception as error:
        from localops.journal.reader import SQLiteError, user_message

        # Messages of SQLite and the system are for users; anything else is a bug, and needs its traceback.
        if not isinstance(error, SQLiteError | OSError):
            raise
        say(user_message(error), level="error")
        return 1


def _loaded(arguments: list[str]) -> Callable[[AbstractContextManager[None]], int]:
    """Return what runs the command in a pager and returns its exit code; its modules are loaded."""
    collected = gc.isenabled()
    # Loading modules makes no garbage, and a search for it would slow every start.
    gc.disable()
    try:
        from localops.cli import plain

        command = plain.command(arguments)
        if command is None:
            from localops.cli import group

            command = group.command(arguments)
        return command
    finally:
        if collected:
            # Loaded modules stay until the end: exclude them from searches for garbage.
            gc.freeze()
            gc.enable()
            if "localops.cli.run" not in sys.modules:
                gc.set_threshold(NEW_OBJECTS)


def _pager(arguments: list[str]) -> AbstractContextManager[None]:
    """Return a context that shows long output in a pager."""
    if not arguments or arguments[0] not in _PAGED or not sys.stdout.isatty():
        return nullcontext()
    from localops.cli.pager import paged

    return paged()


def _end_quietly() -> int:
    """Discard buffered output, so that `localops tail | head` does not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
