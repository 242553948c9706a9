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
    """A buffer that looks like the terminal, so that text in it is laid out and coloured for it."""

    def __init__(self, terminal: int) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Return True, as the text will be shown on a terminal."""
        return True

    def fileno(self) -> int:
        """Return the terminal's descriptor, from which its size is read."""
        return self._terminal


@contextmanager
def paged() -> Iterator[None]:
    """Collect what is printed inside, and show it in a pager if it is longer than the screen."""
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
    """Return the pager's command; None if it is not installed, or the user turned it off."""
    wanted = os.environ.get("LOCALOPS_PAGER", os.environ.get("PAGER", "less"))
    try:
        command = shlex.split(wanted)
    except ValueError:
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


def _show(text: str, command: list[str]) -> None:
    # Not every pager exits by itself if the text fits one screen.
    if text.count("\n") < shutil.get_terminal_size().lines:
        print(text, end="", flush=True)
        return
    # F: quit if all fits one screen; R: keep colours; X: leave the text on the screen.
    environment = {"LESS": "FRX", **os.environ}
    try:
        subprocess.run(command, input=text, text=True, errors="replace", env=environment, check=False)  # noqa: S603
    # The pager was removed in the meantime, or is not executable.
    except OSError:
        print(text, end="", flush=True)
