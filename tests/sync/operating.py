"""Commands of an operator, for tests: on a hub, and on the machines that send to it."""

from __future__ import annotations

import gc
import io
import json
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import apsw
import pytest

import localops
from localops import cli, output
from tests.server.hubs import RealHub
from tests.sync.homes import Sender

Command = subprocess.CompletedProcess[str]


def run_localops(home: object, *arguments: str) -> Command:
    """Run a command with a home, in this process: what tests of commands start as a process, they start themselves."""
    return _run([*arguments, "--home", str(home)])


def run_hub(own: RealHub, *arguments: str) -> Command:
    """Run a command of the hub's operator."""
    return _run(["hub", *arguments, "--data", str(own.data)])


def _run(arguments: list[str]) -> Command:
    output._said.clear()  # each command is a process of its own, which repeats what another one has printed
    out, err = _Captured(), _Captured()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    code = ended.value.code
    assert isinstance(code, int)
    if code:  # what the error holds open, the end of a process would close
        del ended
        gc.collect()
    return Command(arguments, code, out.text(), err.text())


class _Captured(io.TextIOWrapper):
    """A pipe's end, as a command finds it: encoded as UTF-8, and no terminal."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def text(self) -> str:
        """Return what was written."""
        self.flush()
        written = self.buffer
        assert isinstance(written, io.BytesIO)
        return written.getvalue().decode()


def record(*names: str, prompt: str = "why") -> None:
    """Record an ended session for each name."""
    for name in names:
        session = localops.start_session(name=name)
        assert session is not None
        session.record(localops.LLMEvent(prompt=prompt, completion="because", model="gpt-4o-mini"))
        session.end_session("Success")
    localops.api.client().close()


def prune(sender: Sender, *arguments: str) -> tuple[dict[str, Any], str]:
    """Prune everything that ended; return the document and what was printed beside it."""
    done = run_localops(sender.home, "prune", "--older-than", "0s", "--json", *(arguments or ("--yes",)))
    assert done.returncode == 0, done
    document: dict[str, Any] = json.loads(done.stdout)
    return document, done.stderr


def stays(document: dict[str, Any]) -> dict[str, str | None]:
    """Return why each session stays, by its name."""
    return {session["name"]: session["stays"] for session in document["sessions"]}


def changed_there(own: RealHub, statement: str) -> None:
    """Change the rows of a hub while it does not run."""
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.execute(statement)
    connection.close()
    own.start()
