"""Pages state that rows of a session wait in a spill file, for example because the disk was full."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localops import clock, host
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.spill import Claim, Spill, waiting
from tests import programs, warm

_NOW = clock.now_ns()


def _row(kind: str, number: int, name: str | None = None, *, id: bytes | None = None, **columns: Any) -> rows.Row:
    return rows.make(kind, _SESSION, id=id or clock.new_id(_NOW), at_ns=_NOW + number, name=name, **columns)


_SESSION, _PROCESS, _CALL = (clock.new_id(_NOW) for _ in range(3))


def _card() -> str:
    known = {"participant": _PROCESS.hex(), "pid": 7, "boot": host.boot_id(), "machine": host.machine_id()}
    return encode.dumps(known).decode()


@pytest.fixture
def journal() -> Journal:
    """Return a journal in which a session began, and a call of a tool."""
    journal = Journal(programs.project())
    journal.append(_row("session", 0, "pays", id=_SESSION, parent=_PROCESS, body=_card()))
    journal.append(_row("tool", 1, "pay", id=_CALL, phase=rows.OPEN))
    journal.close()
    return journal


def _shown(command: str) -> str:
    return warm.localops(command, "last").stdout


def test_rows_that_wait_are_not_called_missing(journal: Journal) -> None:
    """The end of the session, of its process and of its call wait: nothing was in progress, and no process died."""
    spill = Spill(journal.folder)
    waits = [
        _row("tool", 2, "pay", id=_CALL, body="{}"),
        _row("llm", 3, model="gpt", cost=5),
        _row("end", 4, "Success"),
        _row("leave", 5, parent=_PROCESS),
    ]
    assert all(map(spill.write, waits))
    claim = Claim(waiting(journal.folder)[0])
    notice = "4 of its rows wait in a spill file and are not counted or shown here: 1 LLM call, 1 tool call, its end"
    why, show, steps = _shown("why"), _shown("show"), _shown("steps")
    assert "Success: the program ended the session." in why
    assert f"{notice}. `localops doctor` says why" in why
    assert "None of its events is in the journal yet." in why
    assert "took at least" in why
    assert "In progress" not in why
    assert "died" not in why
    assert f"! {notice}\n" in show
    assert "no end" not in show
    assert "cannot be resumed: rows of it wait in a spill file" in steps
    [listed] = json.loads(warm.localops("sessions", "--json").stdout)["sessions"]
    assert (listed["at_least"], listed["cost_at_least"], listed["events"]) == (True, True, 0)
    claim.close()
    assert "4 of its rows" not in _shown("why") + _shown("show")


def test_a_dead_run_has_later_rows_that_wait(journal: Journal) -> None:
    """Neither `why` nor `show` says that nothing was recorded after the last row of the journal."""
    spill = Spill(journal.folder)
    assert spill.write(_row("tool", 2, "look", phase=rows.OPEN))
    claim = Claim(waiting(journal.folder)[0])
    why = _shown("why")
    assert "process died; 1 of its rows waits in a spill file" in why
    assert (
        "1 of its rows waits in a spill file and is not counted or shown here: 1 beginning of calls or operations"
        in why
    )
    assert "Its last row in the journal is from" in why
    assert "tool 'pay'" in why
    claim.close()
