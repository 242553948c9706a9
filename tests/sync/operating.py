"""Commands of an operator, for tests: on a hub, and on the machines that send to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import apsw

import localops
from tests.server.hubs import PATH, RealHub
from tests.sync.homes import Sender

Command = subprocess.CompletedProcess[str]


def run_localops(home: object, *arguments: str) -> Command:
    """Run a command with a home."""
    return subprocess.run(
        [sys.executable, "-m", "localops", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": PATH},
    )


def run_hub(own: RealHub, *arguments: str) -> Command:
    """Run a command of the hub's operator."""
    command = [sys.executable, "-m", "localops", "hub", *arguments, "--data", str(own.data)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": PATH}
    )


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
