"""Output that is longer than the terminal goes through a pager."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import localops

_TOP = Path(__file__).parent.parent.parent


def _on_terminal(*arguments: str, rows: int, pager: str) -> str:
    """Run `localops` on a terminal with so many rows, and return what the terminal shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 100, 0, 0))
    path = os.pathsep.join([str(_TOP), str(_TOP / "sync")])
    environment = {**os.environ, "PYTHONPATH": path, "LOCALOPS_PAGER": pager, "TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    program = subprocess.Popen(
        [sys.executable, "-m", "localops", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end was closed
        pass
    finally:
        os.close(ours)
        program.wait(timeout=60)
    assert program.returncode == 0
    return shown.decode()


@pytest.mark.parametrize(("rows", "is_paged"), [(8, True), (80, False)])
def test_output_that_does_not_fit_is_paged(rows: int, is_paged: bool) -> None:
    """The pager gets the whole output, with the width and the colours of the terminal."""
    for number in range(12):
        session = localops.start_session(name=f"run {number}")
        assert session is not None
        session.end_session("Success")
    shown = _on_terminal("sessions", rows=rows, pager="sh -c 'echo PAGED; cat'")
    assert ("PAGED" in shown, shown.count("run ")) == (is_paged, 12)
    assert "\x1b[32m" in shown


def test_the_number_of_rows_follows_them() -> None:
    """On a terminal, a line on stderr would appear before the rows, which are shown when the command ends."""
    with localops.start_session(name="a run"):
        pass
    shown = _on_terminal("query", "select name from session", rows=20, pager="less")
    assert shown.index("a run") < shown.index("1 row")


def test_the_pager_can_be_turned_off() -> None:
    """An empty setting turns it off."""
    shown = _on_terminal("help", rows=5, pager="")
    assert "quickstart" in shown
