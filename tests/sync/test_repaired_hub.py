"""A hub that was repaired in place: machines bring back what is missing, and report what is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.server.hubs import RealHub
from tests.sync.homes import Sender, identities
from tests.sync.operating import changed_there, prune, record, run_hub, run_localops


@pytest.fixture(params=[False, True], ids=["whole", "metadata only"])
def sender(request: pytest.FixtureRequest, tmp_path: Path, own: RealHub) -> Sender:
    """A home whose remote is the hub."""
    return Sender(tmp_path / "home", own.url, own.key, metadata_only=request.param)


def _record_and_prune(sender: Sender) -> None:
    """Record sessions that are then only on the hub, and one that is here as well."""
    record("first", "second")
    assert sender.sync().left == 0
    unsent = ("--include-unsent", "hub") if sender.remote.metadata_only else ()
    assert prune(sender, "--yes", *unsent)[0]["taken"]["default"]["sessions"] == 2
    record("here")
    assert sender.sync().left == 0


def _repair(own: RealHub, lost: int) -> None:
    own.stop()
    done = run_localops(own.data, "repair", "--project", "default", "--replace", "--json")
    assert (done.returncode, json.loads(done.stdout)["lost"]) == (3 if lost else 0, lost), done
    own.start()


def _rows_lost(sender: Sender) -> int:
    """Return what status says; doctor must agree."""
    [project] = json.loads(run_localops(sender.home, "status", "--json").stdout)["projects"]
    rows: int = project["remotes"][0]["rows_lost"]
    assert ("that had been pruned here" in run_localops(sender.home, "doctor").stdout) == bool(rows)
    return rows


@pytest.mark.foreign_open
def test_a_repair_that_lost_nothing_reports_nothing(own: RealHub, sender: Sender) -> None:
    """The hub still has all rows that the machine has pruned: the pass only sends the remaining rows again."""
    _record_and_prune(sender)
    before = identities(str(own.folder / "journal.db"))
    _repair(own, 0)
    record("new")
    outcome = sender.sync()
    assert (outcome.code, outcome.left, _rows_lost(sender)) == (0, 0, 0), outcome
    assert "does not know what it has" in outcome.notes[0]
    assert before <= identities(str(own.folder / "journal.db"))
    again = sender.sync(verify=True)
    assert (again.code, again.sent, again.notes) == (0, 0, []), again


@pytest.mark.foreign_open
@pytest.mark.parametrize("name", ["first", "second"])
def test_a_repair_that_lost_a_single_row_is_not_silent(own: RealHub, sender: Sender, name: str) -> None:
    """Seqs shift by one row: the newest may have its old one by chance, and nothing is missing at the first look."""
    _record_and_prune(sender)
    there = f"session = (select session from event where kind = 'session' and name = '{name}')"
    changed_there(own, f"update event set name = 'flipped' where kind = 'llm' and {there}")
    _repair(own, 1)
    record("new")
    outcome = sender.sync()
    assert (outcome.code, outcome.left, _rows_lost(sender)) == (3, 0, 1), outcome
    assert "1 row that it had was pruned here" in outcome.message
    assert run_localops(sender.home, "sync").returncode == 3
    assert run_localops(sender.home, "remote", "acknowledge", "hub").returncode == 0
    assert (sender.sync(verify=True).code, _rows_lost(sender)) == (0, 0)


@pytest.mark.foreign_open
def test_verify_finds_what_is_damaged_of_a_pruned_session(own: RealHub, sender: Sender) -> None:
    """Nothing was restored or repaired: the hub alone had that row, and its file has a flipped bit."""
    _record_and_prune(sender)
    assert sender.sync(verify=True).code == 0
    changed_there(own, "update event set at_ns = at_ns + 1 where seq = (select min(seq) from event where kind = 'llm')")
    assert (sender.sync(verify=True).code, _rows_lost(sender)) == (3, 1)
    changed_there(own, "update event set at_ns = at_ns - 1 where seq = (select min(seq) from event where kind = 'llm')")
    outcome = sender.sync(verify=True)
    assert (outcome.code, _rows_lost(sender)) == (0, 0), outcome
    assert "has the rows again" in outcome.notes[0]


@pytest.mark.foreign_open
def test_a_repair_remembers_what_was_deleted(own: RealHub, sender: Sender) -> None:
    """Everything is sent again after a repair, but a deleted session must not be stored again."""
    record("deleted", "other")
    sender.sync()
    listed = json.loads(run_localops(own.data, "sessions", "--json").stdout)["sessions"]
    [session] = [each["session_id"] for each in listed if each["name"] == "deleted"]
    assert run_hub(own, "delete", session, "--project", "default", "--yes").returncode == 0
    _repair(own, 0)
    record("new")
    assert sender.sync().code == 0
    listed = json.loads(run_localops(own.data, "sessions", "--json").stdout)["sessions"]
    assert sorted(each["name"] for each in listed) == ["new", "other"]
