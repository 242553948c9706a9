"""A TimeoutError of a signal handler is an OSError, and must not be taken for the system's answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from localops import config, host, interruption
from localops.encoding import pricing
from localops.journal import blobs, locks, participants, parts, reader, spill, sql
from localops.journal.journal import Journal
from localops.recording import parent_session
from tests.test_interruption import interrupted_at

_NAMES = (
    "sql prices exists is_file owner mode sync details basics boot parts blob blobs spill state alive sweep cut lost "
    "parent projects real missing link place state_folder journal"
).split()
# These ask `os.path` for a path without links, which looks at each of its parts.
_PATHS = "real missing link place state_folder journal".split()


def _steps(folder: Path) -> dict[str, Callable[[], object]]:
    """Return steps of recording that call the system, by name; each leaves everything unchanged."""
    project = str(folder)
    for name in ("parts/x.finished.db", "participants/gone", "blobs/" + "0" * 2 + "/" + "0" * 64, "journal.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mknod(folder / name)
    (folder / "link").symlink_to("nowhere")
    card = {"participant": "other", "machine": host.machine_id(), "boot": host.boot_id(), "place": 0}

    def read_sql() -> None:
        sql._read.clear()
        sql.statements("fold.sql")

    return {
        "sql": read_sql,
        "prices": lambda: pricing._Table(os.path.join(os.path.dirname(pricing.__file__), "prices.json")),
        "exists": lambda: host.exists(project),
        "is_file": lambda: host.is_file(project),
        "owner": lambda: host.owner("/"),
        "mode": lambda: host.open_to_others(project),
        "sync": lambda: host.sync_folder(project),
        "details": host.details,
        "basics": host.basics,
        "boot": host.boot_id,
        "parts": lambda: parts.ended(project),
        "blob": lambda: blobs.is_here(project, "0" * 64),
        "blobs": lambda: blobs.waiting(project),
        "spill": lambda: spill.waiting(project),
        "state": lambda: spill.elsewhere(project),
        "alive": lambda: participants.is_alive(project, card),
        "sweep": lambda: participants.sweep(project, {"gone"}),
        "cut": lambda: reader.is_cut(os.path.join(project, "journal.db")),
        "lost": lambda: locks.bar_lost(os.path.join(project, "journal.db"), 0.0),
        "parent": lambda: parent_session._state(project),
        "projects": lambda: config.projects(project),
        "real": lambda: host.real_path(os.path.join(project, "journal.db")),
        "missing": lambda: host.real_path(os.path.join(project, "nothing", "journal.db")),
        "link": lambda: host.real_path(os.path.join(project, "link")),
        "place": lambda: participants._place(project),
        "state_folder": lambda: spill.places(project),
        "journal": lambda: Journal(project),
    }


# A file that is interrupted between its opening and its `with` is closed when it is freed, which Python warns of.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", _NAMES)
def test_a_timeout_error_arrives_wherever_the_system_is_asked(name: str, tmp_path: Path) -> None:
    """Wherever it may be raised, it reaches the caller, or is held for the program."""
    step = _steps(tmp_path)[name]
    step()
    arrived: list[BaseException] = []

    def noted() -> None:
        try:
            step()
            interruption.deliver()
        except TimeoutError as error:
            arrived.append(error)
            raise

    place = 0
    # Many places are alike: the shipped prices alone have thousands.
    where = ("localops.", "posixpath") if name in _PATHS else ("localops.",)
    while interrupted_at(place, noted, TimeoutError, where) and place < 300:
        place += 1
        assert len(arrived) == place, f"lost at place {place - 1}"
    assert place >= 2
    assert not interruption.waiting
