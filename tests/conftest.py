"""What every test stands on: a home of its own, no settings from outside, a watch over journal files."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from localops import output

# How long an example takes, or making one up, says nothing on a busy machine.
settings.register_profile("localops", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("localops")

# The journal's files: journal.db, the parts of a network file system, and what SQLite puts beside them.
_JOURNAL = re.compile(r"(^|/)(journal|parts/[^/]+)\.db(-wal|-shm|-journal)?(\?.*)?$")

# Where the running test opened a journal without apsw. Closing such a file frees the locks of apsw, without a
# word: acknowledged rows would be lost. apsw itself raises no audit event.
_foreign: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "sqlite3.connect") or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    new = event == "open" and arguments[2] & os.O_EXCL  # a file that was not there has no locks to lose
    if _JOURNAL.search(os.fsdecode(arguments[0])) and not new:
        _foreign.append(f"{event} {arguments[0]!r}\n{''.join(traceback.format_stack()[:-1])}")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test records below its own tmp_path, whatever is set outside; nothing was said, and no client is left."""
    output._said.clear()
    for name in [name for name in os.environ if name.startswith(("LOCALOPS_", "AGENTOPS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    if reset := getattr(sys.modules.get("localops.api"), "_reset", None):
        reset()


@pytest.fixture(autouse=True)
def _only_apsw_opens_journals(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which anything but apsw opened a journal in this process, unless it is marked for it."""
    _foreign.clear()
    yield
    opened, allowed = _foreign.copy(), request.node.get_closest_marker("foreign_open")
    _foreign.clear()
    if opened and not allowed:
        pytest.fail("a journal was opened without apsw: " + "\n".join(opened))
