"""Doubts of prune about a hub hold until a pass has reached the hub: a hub that is down is not trusted again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import localops
from tests.server.hubs import PASSING, RealHub
from tests.sync.homes import Sender, identities
from tests.sync.operating import changed_there, prune, record, run_hub, run_localops, stays

_SEEN = "it lacked 1 row and 1 file that it had signed for"


def _doubt(sender: Sender) -> str | None:
    """Return what status says; doctor must agree."""
    [project] = json.loads(run_localops(sender.home, "status", "--json").stdout)["projects"]
    why: str | None = project["remotes"][0]["doubt"]
    shown = "when `localops prune` asked remote hub at" in run_localops(sender.home, "doctor").stdout
    assert shown == (why is not None)
    assert (why is not None and why in run_localops(sender.home, "status").stderr) == shown
    return why


@pytest.mark.foreign_open
@pytest.mark.parametrize("options", [["--yes"], ["--dry-run"]], ids=["prune", "dry run"])
def test_damage_that_prune_has_seen_is_not_forgotten_while_the_hub_is_down(
    own: RealHub, sender: Sender, options: list[str]
) -> None:
    """The rows are unsent, and no session is removed by receipts of that hub until the next pass."""
    record("lost", prompt="what is lost")
    record("filmed", prompt="x" * 2_000_000)
    record("whole")
    sender.sync()
    changed_there(own, "delete from event where body like '%what is lost%'")
    shutil.rmtree(own.folder / "blobs")
    kept, _ = prune(sender, *options, "--session", _session(sender, "lost"), "--session", _session(sender, "filmed"))
    assert [why and "hub lacks 1" in why for why in stays(kept).values()] == [True, True]
    own.stop()
    assert _doubt(sender) == _SEEN
    before = sender.identities()
    kept, printed = prune(sender)
    assert (kept["taken"], kept["not_asked"]) == ({}, [])
    assert {name: why and why.partition(":")[0] for name, why in stays(kept).items()} == {
        "lost": "hub lacks 1 of its rows",
        "filmed": "hub lacks 1 of its rows",
        "whole": f"hub does not answer, and when a prune asked it last, {_SEEN}",
    }
    assert "not checked" not in printed
    assert sender.identities() == before
    own.start()
    done = run_localops(sender.home, "sync")
    assert (done.returncode, _doubt(sender)) == (0, None), done
    assert before <= identities(str(own.folder / "journal.db"))
    assert run_localops(sender.home, "sync", "--verify").returncode == 0
    assert prune(sender)[0]["taken"]["default"]["sessions"] == 3


@pytest.mark.foreign_open
@pytest.mark.parametrize("way", ["set back", "another folder"])
def test_a_hub_that_prune_has_seen_without_its_rows_is_not_trusted_while_it_is_down(
    own: RealHub, sender: Sender, tmp_path: Path, way: str
) -> None:
    """It may have been restored to an earlier state, or run in an empty folder because its disk is not mounted."""
    shutil.copytree(own.data, tmp_path / "old", ignore=PASSING)
    record("one")
    sender.sync()
    own.stop()
    os.rename(own.data, tmp_path / "whole")
    if way == "set back":
        os.rename(tmp_path / "old", own.data)
    else:
        own.data.mkdir()
    own.start()
    assert prune(sender)[0]["taken"] == {}
    own.stop()
    kept, _ = prune(sender)
    [why] = stays(kept).values()
    assert (kept["taken"], "does not answer, and when a prune asked it last" in (why or "")) == ({}, True)
    assert _doubt(sender)
    assert prune(sender, "--include-unsent", "hub", "--dry-run")[0]["sessions"][0]["stays"] is None
    if way == "another folder":
        shutil.rmtree(own.data)
        os.rename(tmp_path / "whole", own.data)
    own.start()
    done = run_localops(sender.home, "sync")
    assert (done.returncode, _doubt(sender)) == (0, None), done
    assert sender.identities() <= identities(str(own.folder / "journal.db"))
    own.stop()
    assert prune(sender)[0]["taken"]["default"]["sessions"] == 1


def test_what_the_hub_has_kept_long_enough_may_go_here_as_well(own: RealHub, sender: Sender) -> None:
    """What a hub prunes by age, machines can prune, too; sessions that a person deleted there stay."""
    record("retired", "deleted", "kept")
    sender.sync()
    done = run_localops(own.data, "prune", "--session", _session(sender, "retired"), "--state", "Success", "--yes")
    assert "1 session" in done.stdout, done
    done = run_hub(own, "delete", _session(sender, "deleted"), "--project", "default", "--yes")
    assert done.returncode == 0, done
    kept, _ = prune(sender, "--dry-run")
    assert stays(kept) == {
        "retired": None,
        "deleted": "it was deleted on hub: --include-unsent hub removes it here as well",
        "kept": None,
    }
    retired, deleted = (_session(sender, name) for name in ("retired", "deleted"))
    printed = run_localops(sender.home, "sync", "--verify")
    assert f"session {retired} was pruned on the hub, for its age or size" in printed.stderr
    assert f"session {deleted} was deleted on the hub" in printed.stderr
    verified = sender.sync(verify=True)
    assert (verified.code, verified.deleted, verified.pruned) == (0, [deleted], [retired])
    assert prune(sender)[0]["taken"]["default"]["sessions"] == 2
    assert sender.sync(verify=True).code == 0


def test_a_hub_can_retire_what_never_ended(own: RealHub, sender: Sender) -> None:
    """Its machine may not exist any more, nor a process that could write the end."""
    sender.write(3)
    sender.sync()
    before = json.loads(run_localops(own.data, "sessions", "--json").stdout)["sessions"]
    assert [each["state"] for each in before] == ["Unknown"]
    prune_there = ("prune", "--older-than", "0s", "--yes")
    assert "see --include-unknown" in run_localops(own.data, *prune_there).stdout
    assert run_localops(own.data, "prune", "--state", "Success", "--include-unknown").returncode == 2
    assert "1 session" in run_localops(own.data, *prune_there, "--include-unknown").stdout
    assert json.loads(run_localops(own.data, "sessions", "--json").stdout)["sessions"] == []


@pytest.mark.parametrize("how", ["remove", "lost settings"])
def test_rows_that_were_sent_nowhere_outlive_their_remote(own: RealHub, sender: Sender, how: str) -> None:
    """Rows that it had may be removed, and so may rows without a remote; the rest goes to another one, or by name."""
    record("sent")
    sender.sync()
    record("unsent")
    if how == "remove":
        done = run_localops(sender.home, "remote", "remove", "hub", "--yes")
        assert "4 rows have not been sent there: `localops prune` keeps the sessions" in done.stderr, done
        assert "project default has no remote now" in done.stderr, done
    else:
        os.unlink(Path(sender.folder) / "remotes.json")
    record("later")
    why = "4 of its rows were not sent anywhere before remote hub was removed: --include-unsent hub removes it"
    kept, _ = prune(sender, "--dry-run")
    assert stays(kept) == {"sent": None, "unsent": why, "later": None if how == "remove" else why}
    assert "remote hub was removed before all rows had been sent" in run_localops(sender.home, "doctor").stdout
    assert prune(sender, "--dry-run", "--include-unsent", "hub")[0]["sessions"][0]["stays"] is None
    again = ("remote", "add", "new", own.url, "--key", own.key, "--project", "default")
    assert run_localops(sender.home, *again).returncode == 0
    assert "new lacks" in (stays(prune(sender, "--dry-run")[0])["unsent"] or "")
    assert run_localops(sender.home, "sync").returncode == 0
    assert prune(sender)[0]["taken"]["default"]["sessions"] == 3


def test_a_remote_that_has_everything_leaves_nothing_behind(sender: Sender) -> None:
    """Its removal says what prune will do from then on, and no longer protects sessions."""
    record("sent")
    sender.sync()
    done = run_localops(sender.home, "remote", "remove", "hub", "--yes")
    assert ("not been sent" in done.stderr, "sent before, without asking" in done.stderr) == (False, True)
    record("local")
    assert prune(sender)[0]["taken"]["default"]["sessions"] == 2


def _session(sender: Sender, name: str) -> str:
    listed = json.loads(run_localops(sender.home, "sessions", "--json").stdout)
    [session] = [each["session_id"] for each in listed["sessions"] if each["name"] == name]
    return str(session)


@pytest.mark.foreign_open
@pytest.mark.parametrize("how", ["remove", "lost settings"])
def test_removing_a_hub_that_was_set_back_does_not_free_what_it_signed_for(
    own: RealHub, sender: Sender, tmp_path: Path, how: str
) -> None:
    """What a prune has seen outlives the remote: the rows may be nowhere else."""
    shutil.copytree(own.data, tmp_path / "old", ignore=PASSING)
    record("one")
    sender.sync()
    own.stop()
    shutil.rmtree(own.data)
    os.rename(tmp_path / "old", own.data)
    own.start()
    assert prune(sender)[0]["taken"] == {}
    if how == "remove":
        done = run_localops(sender.home, "remote", "remove", "hub", "--yes")
        assert "when `localops prune` asked hub last, it was restored or repaired" in done.stderr, done
        assert "`localops prune` keeps the sessions, unless --include-unsent hub is given" in done.stderr, done
    else:
        os.unlink(Path(sender.folder) / "remotes.json")
    before = sender.identities()
    kept, _ = prune(sender)
    [why] = stays(kept).values()
    assert why is not None
    assert "before remote hub was removed, it was restored or repaired" in why
    assert why.endswith(": --include-unsent hub removes it")
    assert sender.identities() == before
    assert "and when `localops prune` had asked it last" in run_localops(sender.home, "doctor").stdout
    new = ("remote", "add", "new", own.url, "--key", own.key, "--project", "default")
    assert run_localops(sender.home, *new).returncode == 0
    assert run_localops(sender.home, "sync").returncode == 0
    assert prune(sender)[0]["taken"]["default"]["sessions"] == 1


@pytest.mark.foreign_open
def test_a_removed_hub_frees_by_name_what_it_was_doubted_for(own: RealHub, sender: Sender) -> None:
    """A remote that no longer exists must not protect sessions for ever."""
    record("one", prompt="what is lost")
    sender.sync()
    changed_there(own, "delete from event where body like '%what is lost%'")
    assert prune(sender)[0]["taken"] == {}
    assert run_localops(sender.home, "remote", "remove", "hub", "--yes").returncode == 0
    assert prune(sender)[0]["taken"] == {}
    assert prune(sender, "--yes", "--include-unsent", "hub")[0]["taken"]["default"]["sessions"] == 1


@pytest.mark.parametrize("how", ["remove", "lost settings", "down"])
def test_what_was_deleted_on_a_hub_stays_here_without_the_hub(own: RealHub, sender: Sender, how: str) -> None:
    """It is nowhere else, also when the hub cannot be asked again."""
    record("deleted", "kept")
    sender.sync()
    assert run_hub(own, "delete", _session(sender, "deleted"), "--project", "default", "--yes").returncode == 0
    prune(sender, "--dry-run")
    own.stop()
    if how == "remove":
        done = run_localops(sender.home, "remote", "remove", "hub", "--yes")
        assert "1 session was deleted there, and is still here: `localops prune` keeps the sessions" in done.stderr
    elif how == "lost settings":
        os.unlink(Path(sender.folder) / "remotes.json")
    kept, _ = prune(sender)
    why = "it was deleted on hub before that remote was removed: --include-unsent hub removes it"
    if how == "down":
        why = "it was deleted on hub: --include-unsent hub removes it here as well"
    assert stays(kept) == {"deleted": why, "kept": None}
    assert kept["taken"]["default"]["sessions"] == 1
    assert prune(sender, "--yes", "--include-unsent", "hub")[0]["taken"]["default"]["sessions"] == 1


def test_a_session_that_went_on_after_the_hub_had_pruned_it_stays_here(own: RealHub, sender: Sender) -> None:
    """Its later rows are accepted there, and not stored: this machine is the only place that has them."""
    session = localops.start_session(name="goes on")
    assert session is not None
    session.record(localops.ToolEvent(name="before"))
    sender.sync()
    done = run_localops(own.data, "prune", "--older-than", "0s", "--include-unknown", "--yes")
    assert "1 session" in done.stdout, done
    session.record(localops.ToolEvent(name="after"))
    session.end_session("Success")
    localops.api.client().close()
    assert sender.sync().left == 0
    before = sender.identities()
    why = "hub pruned the session before it had all rows: --include-unsent hub removes it here as well"
    assert stays(prune(sender)[0]) == {"goes on": why}
    own.stop()
    assert stays(prune(sender)[0])["goes on"] is not None
    assert sender.identities() == before
    assert prune(sender, "--yes", "--include-unsent", "hub")[0]["taken"]["default"]["sessions"] == 1
