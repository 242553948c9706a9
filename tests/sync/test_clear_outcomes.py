"""What commands print and return if they have done less than requested: nothing looks like success."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localops.journal.journal import Journal
from localops_sync import bundle_file
from localops_sync.bundle_file import Share
from tests.server.hubs import PASSING, PATH, RealHub
from tests.sync.homes import Sender
from tests.sync.operating import record, run_hub, run_localops


def _sessions(home: object) -> list[str]:
    return [each["session_id"] for each in json.loads(run_localops(home, "sessions", "--json").stdout)["sessions"]]


def _garble(own: RealHub, *, keep: int = 4096) -> None:
    """Overwrite the journal of a hub that does not run, after some bytes."""
    path = own.folder / "journal.db"
    data = path.read_bytes()
    path.write_bytes(data[:keep] + b"\xa5" * (len(data) - keep))


def test_rows_that_a_good_pass_leaves_are_for_the_next(sender: Sender) -> None:
    """What it was not asked for, or was recorded meanwhile: the exit code says that nothing went wrong."""
    record("one", "two")
    _, one = _sessions(sender.home)
    done = run_localops(sender.home, "sync", "--session", one)
    assert done.returncode == 0, done
    assert re.search(r"\d rows delivered, \d+ rows for the next pass\n", done.stdout), done
    done = run_localops(sender.home, "sync")
    assert re.search(r"\d rows delivered, 0 left\n", done.stdout), done


def test_an_import_on_a_full_disk_blames_no_bundle(sender: Sender, tmp_path: Path) -> None:
    """With room again, the same bundle is imported whole."""
    record("large", prompt=os.urandom(1_000_000).hex())
    path = str(tmp_path / "run.lops")
    [packed] = bundle_file.pack(sender.home, [Share("default")], path)
    assert packed.blobs == 1

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

    command = [sys.executable, "-B", "-m", "localops", "import", path, "--home", str(tmp_path / "there"), "--json"]
    environment = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, preexec_fn=narrow, env=environment
    )
    assert (done.returncode, "damaged" in done.stderr) == (1, False), done
    assert "was not imported (File too large" in done.stderr
    assert "nothing new was imported: make room; import it again" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert (done.returncode, json.loads(done.stdout)["parts"][0]["new"]) == (0, packed.rows), done


def test_verify_reports_rows_that_were_given_up(sender: Sender) -> None:
    """The hub lacks them, and that is not "no difference"."""
    record("one")
    with sender.ledger().reader as reader:
        seq = reader.ask("select max(seq) from event")[0][0]
    journal = Journal(sender.folder)
    sender.ledger().park(journal, {seq: "refused by the remote"})
    journal.close()
    assert run_localops(sender.home, "parked", "drop", str(seq)).returncode == 0
    assert run_localops(sender.home, "sync").returncode == 0
    done = run_localops(sender.home, "sync", "--verify")
    but = "1 session compared, no difference but for 1 row that was given up here by `localops parked drop`"
    assert (done.returncode, but in done.stderr) == (0, True), done
    [facts] = json.loads(run_localops(sender.home, "sync", "--verify", "--json").stdout)["remotes"]
    assert facts["rows_given_up"] == 1


def test_a_row_that_was_given_up_can_be_sent_after_all(sender: Sender) -> None:
    """The command that drops it names the way back; then it is listed no more, and arrives."""
    record("one")
    with sender.ledger().reader as reader:
        seq = reader.ask("select max(seq) from event")[0][0]
    journal = Journal(sender.folder)
    sender.ledger().park(journal, {seq: "refused by the remote"})
    journal.close()
    back = f"parked retry --dropped {seq}"
    assert back in run_localops(sender.home, "parked", "drop", str(seq)).stderr
    listed = json.loads(run_localops(sender.home, "parked", "list", "--dropped", "--json").stdout)["parked"]
    assert [row["seq"] for row in listed] == [seq]
    assert json.loads(run_localops(sender.home, "parked", "list", "--json").stdout)["parked"] == []
    assert run_localops(sender.home, "parked", "retry", str(seq)).returncode == 1
    assert "1 row is sent again" in run_localops(sender.home, *back.split()).stderr
    assert json.loads(run_localops(sender.home, "parked", "list", "--dropped", "--json").stdout)["parked"] == []
    assert run_localops(sender.home, *back.split()).returncode == 1
    assert run_localops(sender.home, "sync").returncode == 0
    [facts] = json.loads(run_localops(sender.home, "sync", "--verify", "--json").stdout)["remotes"]
    assert (facts["rows_given_up"], facts["code"]) == (0, 0)


@pytest.mark.foreign_open
@pytest.mark.parametrize("way", ["one", "as in"])
def test_a_script_has_to_confirm_a_deletion(own: RealHub, sender: Sender, tmp_path: Path, way: str) -> None:
    """Without a terminal nothing is asked: the command says what to add, and deletes nothing."""
    record("one")
    sender.sync()
    [session] = _sessions(sender.home)
    arguments = ["delete", session, "--project", "default"]
    if way == "as in":
        shutil.copytree(own.data, tmp_path / "old", ignore=PASSING)
        assert run_hub(own, *arguments, "--yes").returncode == 0
        shutil.copytree(own.data, tmp_path / "replaced", ignore=PASSING)
        own.stop()
        shutil.rmtree(own.data)
        os.rename(tmp_path / "old", own.data)
        arguments = ["delete", "--as-in", str(tmp_path / "replaced")]
    done = run_hub(own, *arguments)
    assert (done.returncode, "nothing was deleted: use --yes" in done.stderr) == (2, True), done
    assert _sessions(own.data) == [session]
    assert run_hub(own, *arguments, "--yes").returncode == 0
    assert _sessions(own.data) == []


@pytest.mark.foreign_open
def test_deletions_are_looked_for_in_a_data_folder_only(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A wrong folder, or one that cannot be read, does not pass for one in which nothing was deleted."""
    record("one")
    sender.sync()
    (tmp_path / "wrong").mkdir()
    done = run_hub(own, "delete", "--as-in", str(tmp_path / "wrong"), "--yes")
    assert (done.returncode, "is not the data folder of a hub" in done.stderr) == (1, True), done
    own.stop()
    shutil.copytree(own.data, tmp_path / "old", ignore=PASSING)
    _garble(own)
    done = _delete_as_in(tmp_path / "old", own.data)
    assert done.returncode == 1, done
    assert "its journal cannot be read" in done.stderr
    assert "no session is known to have been deleted" in done.stderr


def _delete_as_in(data: Path, replaced: Path) -> subprocess.CompletedProcess[str]:
    """Delete in a data folder what was deleted in another."""
    command = [
        sys.executable,
        "-m",
        "localops",
        "hub",
        "delete",
        "--as-in",
        str(replaced),
        "--data",
        str(data),
        "--yes",
    ]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": PATH}
    )


@pytest.mark.foreign_open
@pytest.mark.parametrize("keep", [0, 4096], ids=["all", "all but the first page"])
def test_senders_of_an_empty_or_damaged_hub(own: RealHub, sender: Sender, keep: int) -> None:
    """That no machine has sent rows, that none is silent, and that none is known are three things."""
    done = run_hub(own, "senders", "--silent-for", "2d")
    assert (done.returncode, "no machine has sent rows yet" in done.stderr) == (3, True), done
    assert run_hub(own, "senders").returncode == 0
    record("one")
    sender.sync()
    done = run_hub(own, "senders", "--silent-for", "2d")
    assert (done.returncode, "every machine has sent rows since" in done.stderr) == (0, True), done
    own.stop()
    _garble(own, keep=keep)
    for silent in ([], ["--silent-for", "2d"]):
        done = run_hub(own, "senders", *silent)
        assert (done.returncode, "its machines are not in the list" in done.stderr) == (4, True), done
        assert "has sent rows" not in done.stderr
    done = run_hub(own, "senders", "--json")
    assert (done.returncode, json.loads(done.stdout)["unreadable"]) == (4, ["default"])


@pytest.mark.foreign_open
def test_a_repair_that_lost_rows_does_not_end_like_a_whole_one(own: RealHub, sender: Sender) -> None:
    """The new journal is in place, and a script can see that it is not complete."""
    sender.write(500, body='{"params":{"q":"' + "x" * 500 + '"}}')
    sender.sync()
    own.stop()
    path = own.folder / "journal.db"
    data = path.read_bytes()
    # Rows after the last one that can be read are not known to have been there.
    quarter = len(data) // 4 // 4096 * 4096
    path.write_bytes(data[:quarter] + b"\xa5" * (2 * quarter) + data[3 * quarter :])
    done = run_localops(own.data, "repair", "--project", "default", "--replace")
    assert done.returncode == 3, done
    assert "rows are lost (" in done.stdout
    done = run_localops(own.data, "repair", "--project", "default", "--replace")
    assert (done.returncode, "rows are saved in" in done.stdout) == (0, True), done
