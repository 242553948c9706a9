"""A pager for output that is longer than the terminal: $LOCALOPS_PAGER, else $PAGER, else `less`."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class _Page(io.StringIO):
    """Text that is on its way to a terminal, and is laid out and coloured as if it were there."""

    def __init__(self, terminal: int) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Return True: a terminal is where it goes."""
        return True

    def fileno(self) -> int:
        """Return the terminal's descriptor, which knows its size."""
        return self._terminal


@contextmanager
def paged() -> Iterator[None]:
    """Keep what is printed inside until the end, then print it, through a pager where it is too long."""
    screen = sys.stdout
    command = _command()
    if command is None:
        yield
        return
    sys.stdout = page = _Page(screen.fileno())
    try:
        yield
    finally:
        sys.stdout = screen
        _show(page.getvalue(), command)


def _command() -> list[str] | None:
    """Return the pager to run; None where there is none, or where the user wants none."""
    wanted = os.environ.get("LOCALOPS_PAGER", os.environ.get("PAGER", "less"))
    try:
        command = shlex.split(wanted)
    except ValueError:
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


def _show(text: str, command: list[str]) -> None:
    if text.count("\n") < shutil.get_terminal_size().lines:
        print(text, end="", flush=True)
        return
    # F: end where all fits one screen; R: keep colours; X: leave the text on the screen.
    environment = {"LESS": "FRX", **os.environ}
    try:
        subprocess.run(command, input=text, text=True, errors="replace", env=environment, check=False)  # noqa: S603
    except OSError:  # it went away, or cannot be run after all
        print(text, end="", flush=True)
