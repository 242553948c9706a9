"""A hub or a journal that was set back, copied or pruned is noticed, and gets the rest again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import apsw
import pytest

import localops
from localops.journal import blobs
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer.delivery import Limits
from localops.upkeep import prune
from localops_sync import exit_codes
from tests import warm
from tests.server.hubs import RealHub, hub
from tests.sync.homes import Sender, filmed, identities


@pytest.mark.foreign_open
def test_a_hub_that_was_set_back_gets_the_rest_again(own: RealHub, tmp_path: Path) -> None:
    """A hub restored from a backup reports what it has, and everything after it is delivered again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(30)
    sender.sync(limits=Limits(rows=10))
    own.stop()
    shutil.copytree(own.data, tmp_path / "backup")
    own.start()
    sender.write(30)
    assert sender.sync(limits=Limits(rows=10)).code == exit_codes.DONE
    own.stop()
    shutil.rmtree(own.data)
    shutil.copytree(tmp_path / "backup", own.data)
    own.start()
    sender.write(5)
    outcome = sender.sync(limits=Limits(rows=10))
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    assert "lacks 30 rows that it had" in " ".join(outcome.notes)
    assert sender.identities() <= identities(str(own.folder / "journal.db"))


def test_another_hub_at_the_address_gets_nothing(own: RealHub, tmp_path: Path) -> None:
    """Behind the same URL another hub answers: it is noticed before a row is sent, and a person decides."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3)
    sender.sync()
    with hub(tmp_path / "other") as other:
        moved = Sender(Path(sender.home), other.url, other.key)
        moved.write(1)
        outcome = moved.sync()
        assert outcome.code == exit_codes.ACT
        assert "another hub" in outcome.message
        assert len(identities(str(other.folder / "journal.db"))) <= 1


@pytest.mark.foreign_open
def test_a_journal_that_was_set_back_continues_with_a_new_id(sender: Sender, there: str, tmp_path: Path) -> None:
    """A restored backup records new rows under old numbers: all arrive, and the rows on the hub stay."""
    sender.write(5)
    sender.sync()
    shutil.copyfile(sender.journal, tmp_path / "old.db")
    sender.write(5)
    sender.sync()
    before = sender.identities()
    with open(tmp_path / "old.db", "rb") as old, open(sender.journal, "r+b") as journal:  # the same file, its old bytes
        journal.write(old.read())
        journal.truncate()
    for side in ("-wal", "-shm"):
        if os.path.exists(sender.journal + side):
            os.unlink(sender.journal + side)
    sender.write(5)
    outcome = sender.sync()
    assert outcome.code == exit_codes.DONE
    assert "set back" in " ".join(outcome.notes)
    assert sender.sync().code == exit_codes.DONE
    assert before | sender.identities() <= identities(there)


@pytest.mark.foreign_open
def test_a_copied_home_and_its_original_both_arrive(sender: Sender, there: str, tmp_path: Path) -> None:
    """A home that is copied and records elsewhere sends the new rows of each, and none twice."""
    sender.write(5)
    sender.sync()
    shutil.copytree(sender.home, tmp_path / "copy")
    copy = Sender(tmp_path / "copy", sender.remote.url, sender.remote.key or "")
    sender.write(4)
    copy.write(3)
    assert (sender.sync().code, copy.sync().code) == (exit_codes.DONE, exit_codes.DONE)
    assert sender.identities() | copy.identities() <= identities(there)


@pytest.mark.parametrize("new_rows", [True, False])
def test_a_hub_that_was_set_back_is_noticed_whatever_the_order(own: RealHub, tmp_path: Path, new_rows: bool) -> None:
    """Even if later rows arrived before lost ones are noticed, the next pass sends the lost ones again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    first, later = localops.clock.new_id(), localops.clock.new_id()
    for _ in range(10):
        sender.write(2, session=first)
        sender.write(1, session=later)
    sender.sync(limits=Limits(session=later))
    own.stop()
    subprocess.run(["cp", "-a", str(own.data), str(tmp_path / "copy")], check=True)
    own.start()
    sender.sync()
    own.stop()
    shutil.rmtree(own.data)
    os.rename(tmp_path / "copy", own.data)
    own.start()
    if new_rows:
        sender.write(1, session=later)
    else:
        _last_seen(sender, days=2)
    outcome = sender.sync()
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    assert "lacks" in outcome.notes[0]
    assert sender.identities() <= identities(str(own.folder / "journal.db"))
    assert sender.sync().requests == 0


@pytest.mark.parametrize("quiet", [True, False])
def test_a_restored_hub_is_noticed_with_nothing_to_send(own: RealHub, tmp_path: Path, quiet: bool) -> None:
    """A person who runs sync sees it at once; cron, with --quiet, asks once an hour."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(2)
    sender.sync()
    _backed_up(own, tmp_path / "copy")
    sender.write(3)
    sender.sync()
    _restored(own, tmp_path / "copy")
    command = ["sync", "--quiet"] if quiet else ["sync"]
    done = _localops(sender, *command)
    if quiet:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        _last_seen(sender, days=1 / 23)
        done = _localops(sender, *command)
    assert (done.returncode, "lacks 3 rows that it had" in done.stderr) == (0, not quiet), done
    assert sender.identities() <= identities(str(own.folder / "journal.db"))


def test_rows_that_a_hub_lost_after_they_were_pruned_are_reported(own: RealHub, tmp_path: Path) -> None:
    """The pass ends with 3 and counts as prune did; status and doctor report it until it is acknowledged."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    _ended_session()
    sender.sync()
    _backed_up(own, tmp_path / "copy")
    _ended_session()
    sender.sync()
    _restored(own, tmp_path / "copy")
    own.stop()
    done = _localops(sender, "prune", "--older-than", "0s", "--yes", "--json")
    assert "not checked whether it still has these rows" in done.stderr
    [first, second] = json.loads(done.stdout)["sessions"]
    assert first["stays"] is second["stays"] is None
    own.start()
    done = _localops(sender, "sync", "--quiet")
    assert (done.returncode, f" {first['rows']} rows that it had were pruned here" in done.stderr) == (3, True), done
    assert sender.sync().code == exit_codes.DONE
    assert f"hub lost {first['rows']} rows" in _localops(sender, "status").stderr
    assert _localops(sender, "doctor").returncode == 1
    assert _localops(sender, "remote", "acknowledge", "hub").returncode == 0
    assert "pruned" not in _localops(sender, "status").stderr
    assert _localops(sender, "doctor").returncode == 0
    sender.write(1)
    sender.sync()
    _restored(own, tmp_path / "copy")
    sender.write(1)
    outcome = sender.sync()
    assert (outcome.code, "lacks" in outcome.notes[0]) == (exit_codes.DONE, True), outcome


def test_prune_leaves_what_a_hub_has_without_its_file(own: RealHub, tmp_path: Path) -> None:
    """The session stays until the file is there, or the remote is named, whatever the hub signed for."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    digest = filmed(sender, b"film" * 1_000)
    sender.sync()
    os.unlink(blobs.path_of(str(own.folder), digest))
    done = _localops(sender, "prune", "--older-than", "0s", "--yes", "--json")
    [choice] = json.loads(done.stdout)["sessions"]
    assert choice["stays"] == "hub lacks 1 file of it: the next `localops sync` sends that again"
    assert sender.sync().code == exit_codes.DONE
    assert sender.sync(verify=True).code == exit_codes.DONE
    os.unlink(blobs.path_of(str(own.folder), digest))
    done = _localops(sender, "prune", "--older-than", "0s", "--include-unsent", "hub", "--dry-run")
    assert "removed" in done.stdout
    assert "1 session" in _localops(sender, "prune", "--older-than", "0s", "--include-unsent", "hub", "--yes").stdout


def _ended_session() -> None:
    session = localops.start_session(name="ended")
    assert session is not None
    session.record(localops.ActionEvent(name="step"))
    session.end_session("Success")


def _backed_up(real: RealHub, copy: Path) -> None:
    real.stop()
    subprocess.run(["cp", "-a", str(real.data), str(copy)], check=True)
    real.start()


def _restored(real: RealHub, copy: Path) -> None:
    real.stop()
    shutil.rmtree(real.data)
    subprocess.run(["cp", "-a", str(copy), str(real.data)], check=True)
    real.start()


def _localops(sender: Sender, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.localops(*arguments, "--home", sender.home)


def _last_seen(sender: Sender, *, days: float) -> None:
    """Set the last pass to so many days ago."""
    connection = apsw.Connection(sender.journal)
    connection.execute("update contact set ok_ns = ok_ns - ?", (int(days * 86_400e9),))
    connection.close()


def test_a_hub_that_pruned_what_was_newest_is_not_sent_everything(own: RealHub, tmp_path: Path) -> None:
    """Where it cannot be known whether the hub was set back, it is asked what it has, and that is not sent again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    session = localops.start_session(name="gone soon")
    assert session is not None
    session.end_session("Success")
    sender.sync()
    journal = Journal(str(own.folder), gather=True)
    with Reader(journal.path) as reader:
        prune.take(journal, [prune.look(reader, journal.folder, session.session_id.bytes)])
    journal.close()
    sender.write(1)
    outcome = sender.sync()
    assert (outcome.code, outcome.sent, outcome.notes) == (exit_codes.DONE, 1, [])


def test_a_look_at_an_idle_hub_fails_in_silence(tmp_path: Path, own: RealHub) -> None:
    """With nothing to send, a hub that does not answer is no failure."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3)
    sender.sync()
    _last_seen(sender, days=2)
    own.kill()
    outcome = sender.sync()
    assert (outcome.code, outcome.requests, outcome.notes) == (exit_codes.DONE, 1, [])
