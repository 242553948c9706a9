"""Programs that record, as real processes: tests start them, kill them, and look at their journal afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from localops.journal.reader import Reader
from localops.reading import analytics, session_state

from . import warm

_TOP = Path(__file__).parent.parent
_PATH = os.pathsep.join([str(_TOP), str(_TOP / "sync")])


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a program in the home of the test; its stdout and stderr are pipes.

    It is a copy of one that has loaded localops, of `holder` if there is one. With `fresh`, it loads everything itself,
    and takes it apart at its end: for what imports do, and what is left to that end.
    """
    given = options.pop("env", {})
    holder = options.pop("holder", None)
    environment = {"PYTHONPATH": _PATH, **given}
    if "RLIMIT_FSIZE" in code:  # a byte-code file that is cut at the limit would break every program after this one
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings: dict[str, Any] = {**pipes, **options}
    if not settings.pop("fresh", "PYTHONPATH" in given):  # a copy looks for modules where its parent did
        return (holder or warm.recorder()).start(code, list(map(str, arguments)), environment, **settings)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env={**os.environ, **environment}, text=True, **settings)


def run(code: str, *arguments: object, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; one that hangs fails the test."""
    program = start(code, *arguments, **options)
    try:
        out, err = program.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        _, err = kill(program)
        raise AssertionError(f"it hung, saying {err!r}") from late
    return subprocess.CompletedProcess(program.args, program.returncode, out, err)


def run_file(file: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a file as the main module, which the processes that it spawns load again."""
    return run(f"__file__ = {str(file)!r}\nexec(compile(open(__file__).read(), __file__, 'exec'))", **options)


def first_line(program: subprocess.Popen[str]) -> str:
    """Read a line of a program's stdout byte by byte: what a buffer took beyond it, `communicate` would not see."""
    assert program.stdout is not None
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(program.stdout.fileno(), 1)):
        line += byte
    return line.decode()


def kill(program: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill a program at once, and return what it had written."""
    program.kill()
    out, err = program.communicate(timeout=30)
    return out, err


def project(name: str = "default") -> str:
    """Return the folder of a project in the home of the test."""
    return os.path.join(os.environ["LOCALOPS_HOME"], name)


def reader() -> Reader:
    """Return a reader of the journal."""
    return Reader(os.path.join(project(), "journal.db"))


def sessions() -> list[bytes]:
    """Return the sessions of the journal, in the order they began."""
    with reader() as journal:
        ids = journal.ask("select session from session_total order by first_ns, session")
    return [session for (session,) in ids]


def standing(session: bytes | None = None) -> session_state.Standing:
    """Return the state of a session (the only one, if none is named)."""
    with reader() as journal:
        return session_state.standing(journal, project(), session or sessions()[-1])


def figures(session: bytes | None = None) -> analytics.Totals:
    """Return the figures of a session."""
    with reader() as journal:
        return analytics.totals(journal, session or sessions()[-1])


def names(kind: str = "action") -> list[str]:
    """Return the names of all rows of a kind, in the order they were written."""
    with reader() as journal:
        return [name for (name,) in journal.ask("select name from event where kind = ? order by seq", (kind,))]
