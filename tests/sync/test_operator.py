"""What the operator of a hub and of the machines that send to it relies on, seen from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import localops
from tests.server.hubs import PATH, RealHub, hub
from tests.sync.homes import Sender, identities

Command = subprocess.CompletedProcess[str]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RealHub]:
    """A hub that may be broken."""
    with hub(tmp_path / "own") as own:
        yield own


@pytest.fixture
def sender(tmp_path: Path, own: RealHub) -> Sender:
    """A home whose remote is the hub."""
    return Sender(tmp_path / "home", own.url, own.key)


def _localops(home: object, *arguments: str) -> Command:
    return subprocess.run(
        [sys.executable, "-m", "localops", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": PATH},
    )


def _record(*names: str, prompt: str = "why") -> None:
    """Record an ended session for each name."""
    for name in names:
        session = localops.start_session(name=name)
        assert session is not None
        session.record(localops.LLMEvent(prompt=prompt, completion="because", model="gpt-4o-mini"))
        session.end_session("Success")
    localops.api.client().close()


def _prune(sender: Sender, *arguments: str) -> tuple[dict[str, Any], str]:
    """Prune everything that ended; return the document and what was printed beside it."""
    done = _localops(sender.home, "prune", "--older-than", "0s", "--json", *(arguments or ("--yes",)))
    assert done.returncode == 0, done
    document: dict[str, Any] = json.loads(done.stdout)
    return document, done.stderr


def _stays(document: dict[str, Any]) -> dict[str, str | None]:
    return {session["name"]: session["stays"] for session in document["sessions"]}


def _changed_there(own: RealHub, statement: str) -> None:
    """Something happens to the rows of a hub, which does not run meanwhile."""
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.execute(statement)
    connection.close()
    own.start()


# Repair


@pytest.mark.foreign_open
def test_repair_of_a_hub_keeps_what_its_senders_have_pruned(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A machine's `pruned` rows arrive on the hub, which is then the only place that has those sessions."""
    _record("one", "two")
    sender.sync()
    assert _prune(sender)[0]["taken"]["default"]["sessions"] == 2
    sender.sync()
    own.stop()
    copy = tmp_path / "copy"
    shutil.copytree(own.data, copy)
    before = identities(str(own.folder / "journal.db"))
    done = _localops(copy, "repair", "--project", "default", "--replace")
    assert (done.returncode, "no row is missing" in done.stdout, "pruned" in done.stdout) == (0, True, False), done
    assert before <= identities(str(copy / "default" / "journal.db"))
    done = _localops(tmp_path, "repair", str(own.folder / "journal.db"), "-o", str(tmp_path / "saved"))
    assert before <= identities(str(tmp_path / "saved" / "journal.db"))


@pytest.mark.foreign_open
def test_doctor_of_a_hub_asks_the_senders_for_damaged_rows(own: RealHub, sender: Sender) -> None:
    """They still have what is damaged on the hub, and a repair would leave it behind."""
    _record("one")
    sender.sync()
    _changed_there(own, "update event set body = replace(body, 'why', 'who')")
    done = _localops(own.data, "doctor", "--deep")
    assert (done.returncode, "sync --verify" in done.stdout, "localops repair" in done.stdout) == (1, True, False), done
