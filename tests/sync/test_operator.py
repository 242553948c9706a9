"""Commands that the operator of a hub and of the machines that send to it relies on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

import localops
from localops import host
from localops.journal import blobs
from localops.journal.reader import Reader
from localops.transfer import bundle, remotes
from localops.transfer.remotes import Remote
from tests import warm
from tests.server.hubs import PASSING, PATH, RealHub, hub
from tests.sync import chaos
from tests.sync.homes import Sender, identities
from tests.sync.operating import changed_there as _changed_there
from tests.sync.operating import prune as _prune
from tests.sync.operating import record as _record
from tests.sync.operating import run_hub as _hub
from tests.sync.operating import run_localops as _localops
from tests.sync.operating import stays as _stays

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
    shutil.copytree(own.data, copy, ignore=PASSING)
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


# Prune, with a hub that can be asked


@pytest.mark.foreign_open
def test_prune_keeps_what_the_hub_has_lost_or_damaged(own: RealHub, sender: Sender) -> None:
    """It compares the rows to be removed with the hub, row by row; the rest is removed."""
    _record("damaged", prompt="what is damaged")
    _record("lost", prompt="what is lost")
    _record("whole")
    sender.sync()
    _changed_there(own, "update event set body = replace(body, 'what is damaged', 'what is not here')")
    _changed_there(own, "delete from event where body like '%what is lost%'")
    document, _ = _prune(sender, "--dry-run")
    kept = "hub lacks 1 row of it: the next `localops sync` sends that again"
    assert _stays(document) == {"damaged": kept, "lost": kept, "whole": None}
    document, _ = _prune(sender)
    assert _stays(document) == dict.fromkeys(("damaged", "lost"), "hub lacks 1 of its rows") | {"whole": None}
    assert (document["taken"]["default"]["sessions"], document["not_asked"]) == (1, [])
    assert sender.sync().sent >= 2
    assert sender.sync(verify=True).code == 0
    assert _prune(sender)[0]["taken"]["default"]["sessions"] == 2


def test_prune_keeps_what_was_deleted_on_the_hub(own: RealHub, sender: Sender) -> None:
    """A session that was deleted there may exist only here; naming the remote removes it here as well."""
    _record("deleted", "other")
    sender.sync()
    (session,) = [
        each["session_id"] for each in _prune(sender, "--dry-run")[0]["sessions"] if each["name"] == "deleted"
    ]
    done = _hub(own, "delete", session, "--project", "default", "--yes")
    assert done.returncode == 0, done
    document, _ = _prune(sender, "--dry-run")
    assert _stays(document) == {
        "deleted": "it was deleted on hub: --include-unsent hub removes it here as well",
        "other": None,
    }
    document, _ = _prune(sender, "--include-unsent", "hub", "--yes")
    assert document["taken"]["default"]["sessions"] == 2


def test_prune_keeps_everything_when_the_hub_refuses(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A new hub in an empty folder knows no key, and has no row that the earlier one signed for."""
    _record("one")
    sender.sync()
    own.stop()
    os.rename(own.data, tmp_path / "mount")
    own.data.mkdir()
    own.start()
    document, _ = _prune(sender)
    [stays] = _stays(document).values()
    assert "hub did not answer whether it still has the session" in (stays or "")
    assert "401" in (stays or "")
    assert document["taken"] == {}


def test_prune_keeps_everything_when_it_is_another_hub(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A key that the other hub accepts does not make it the same hub."""
    _record("one")
    sender.sync()
    with hub(tmp_path / "other") as other:
        moved = Sender(tmp_path / "home", other.url, other.key)
        document, _ = _prune(moved)
    [stays] = _stays(document).values()
    assert "is another hub now" in (stays or "")
    assert document["taken"] == {}


def test_prune_says_which_hub_could_not_be_reached(own: RealHub, sender: Sender) -> None:
    """It works without a network, and reports, also in JSON, that the hub was not asked."""
    _record("one")
    sender.sync()
    own.stop()
    document, printed = _prune(sender)
    [not_asked] = document["not_asked"]
    assert (not_asked["project"], not_asked["remote"]) == ("default", "hub")
    assert "nothing listens" in not_asked["reason"]
    assert "not checked whether it still has these rows" in printed
    assert document["taken"]["default"]["sessions"] == 1


@pytest.mark.parametrize("failure", [chaos.close, chaos.status(500)], ids=["broken", "failing"])
def test_prune_keeps_everything_when_the_hub_cannot_compare(
    own: RealHub, sender: Sender, failure: chaos.Behaviour
) -> None:
    """A hub that answers hello and then fails was reached, but it is not known what it has."""
    _record("one")
    sender.sync()

    def answer(exchange: chaos.Exchange) -> None:
        (failure if exchange.request.target == "/sync/1/sessions" else chaos.passed)(exchange)

    with chaos.Chaos(behind=own.url) as broken:
        broken.always(answer)
        document, _ = _prune(Sender(Path(sender.home), broken.url, own.key))
    [stays] = _stays(document).values()
    assert "hub did not answer whether it still has the session" in (stays or "")
    assert (document["taken"], document["not_asked"]) == ({}, [])


@pytest.mark.foreign_open
def test_prune_and_sync_agree_about_a_hub_that_was_set_back(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """The command that prune advises brings the rows to the hub, without any new row; then they may be removed."""
    _record("one")
    sender.sync()
    own.stop()
    shutil.copytree(own.data, tmp_path / "backup", ignore=PASSING)
    own.start()
    _record("two")
    sender.sync()
    own.stop()
    os.rename(own.data, tmp_path / "newer")
    os.rename(tmp_path / "backup", own.data)
    own.start()
    document, _ = _prune(sender)
    assert set(_stays(document).values()) == {"hub was restored or repaired: run `localops sync --verify` first"}
    _localops(sender.home, "sync", "--verify")
    assert _prune(sender)[0]["taken"]["default"]["sessions"] == 2


# The hub


@pytest.mark.foreign_open
def test_a_row_that_is_missing_on_the_hub_is_found_and_comes_back(own: RealHub, sender: Sender) -> None:
    """`hub check` names it, and a pass that sends it again puts it back where it was."""
    _record("one")
    sender.sync()
    _changed_there(own, "delete from event where kind = 'llm'")
    done = _hub(own, "check")
    assert (done.returncode, "1 row is lost" in done.stderr, "sync --verify" in done.stderr) == (1, True, True), done
    assert _localops(sender.home, "sync", "--verify").returncode == 3
    assert sender.sync().sent == 1
    done = _hub(own, "check")
    assert done.returncode == 0, done
    assert _localops(sender.home, "sync", "--verify").returncode == 0
    assert sender.identities() <= identities(str(own.folder / "journal.db"))


@pytest.mark.foreign_open
@pytest.mark.parametrize("table", ["facet", "milestone", "total_by_state", "receipt"])
def test_a_malformed_page_that_holds_no_row_is_found(own: RealHub, sender: Sender, table: str) -> None:
    """`hub check` reads pages of derived tables, too; a repair mends it, and the machines' rows are all there."""
    _record("one")
    sender.sync()
    own.stop()
    journal = own.folder / "journal.db"
    connection = apsw.Connection(str(journal))
    connection.execute("pragma wal_checkpoint(truncate)")
    page = connection.execute("select rootpage from sqlite_schema where name = ?", (table,)).get
    size = connection.execute("pragma page_size").get
    connection.close()
    with open(journal, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    done = _hub(own, "check")
    assert (done.returncode, "localops repair" in done.stderr, "1 key works" in done.stderr) == (1, True, True), done
    assert ("structure broken" in done.stderr) == (table != "total_by_state"), done
    assert _localops(own.data, "repair", "--project", "default", "--replace").returncode == 0
    own.start()
    assert sender.sync(verify=True).code == 0
    assert _hub(own, "check").returncode == 0


@pytest.mark.foreign_open
def test_doctor_does_not_hide_that_a_row_is_missing_on_the_hub(own: RealHub, sender: Sender) -> None:
    """Only derived tables show it, so `--fix` leaves them, until the row is sent again or its session is deleted."""
    _record("back", "deleted")
    sender.sync()
    _changed_there(own, "delete from event where kind = 'llm'")
    for options in (["--deep"], ["--fix"], ["--fix"]):
        done = _localops(own.data, "doctor", *options)
        assert (done.returncode, "2 rows are lost" in done.stdout, "sync --verify" in done.stdout) == (1, True, True)
    done = _hub(own, "check")
    assert (done.returncode, "2 rows are lost" in done.stderr) == (1, True), done
    listed = json.loads(_localops(own.data, "sessions", "--json").stdout)["sessions"]
    [session] = [each["session_id"] for each in listed if each["name"] == "deleted"]
    assert _hub(own, "delete", session, "--project", "default", "--yes").returncode == 0
    assert "1 row is lost" in _hub(own, "check").stderr
    assert _localops(sender.home, "sync", "--verify").returncode == 3
    assert sender.sync().sent == 1
    assert _hub(own, "check").returncode == 0
    assert _localops(own.data, "doctor", "--fix").returncode == 0


def test_a_hub_deletes_a_session_with_its_files(own: RealHub, sender: Sender) -> None:
    """A file that only its rows refer to cannot be read any more, however young; one with other references stays."""
    alone, shared = "a" * 2_000_000, "b" * 2_000_000
    for prompt in (alone, shared, shared):
        _record("filmed", prompt=prompt)
    sender.sync()
    before = {path.name for path in (own.folder / "blobs").rglob("*") if path.is_file()}
    assert len(before) == 2
    sessions = [each["session_id"] for each in _prune(sender, "--dry-run")[0]["sessions"]]
    for session in sessions[:2]:
        assert _hub(own, "delete", session, "--project", "default", "--yes").returncode == 0
    after = {path.name for path in (own.folder / "blobs").rglob("*") if path.is_file()}
    assert len(after) == 1
    (digest,) = before - after
    assert own.ask("GET", f"/api/1/blobs/{digest}")[0] == 404


def test_a_file_without_rows_is_named_and_removed_without_any_session(own: RealHub, sender: Sender) -> None:
    """`doctor --deep` names it, and a prune that has no session to remove takes it."""
    _record("one")
    sender.sync()
    digest = blobs.keep(str(own.folder), b"film" * 10_000)
    path = Path(blobs.path_of(str(own.folder), digest))
    os.utime(path, (0, 0))
    assert "1 blob is in its folder that no row refers to" in _localops(own.data, "doctor", "--deep").stdout
    assert _localops(own.data, "prune", "--older-than", "99d", "--dry-run").returncode == 0
    assert path.exists()
    done = _localops(own.data, "prune", "--older-than", "99d", "--yes")
    assert (done.returncode, "1 blob removed" in done.stdout, path.exists()) == (0, True, False), done


@pytest.mark.foreign_open
def test_the_operator_sees_which_machines_have_fallen_silent(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A line for each journal, with its machine; exit code 1 if one was silent for too long."""
    assert "no machine has sent rows yet" in _hub(own, "senders").stderr
    _record("one", "two")
    sender.sync()
    other = Sender(tmp_path / "other", own.url, own.key, metadata_only=True)
    other.write(3)
    other.sync()
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    id = connection.execute("select journal from received order by at_ns limit 1").get
    connection.execute("update received set at_ns = at_ns - ? where journal = ?", (2 * 86_400_000_000_000, id))
    connection.close()
    own.start()
    silent, heard = json.loads(_hub(own, "senders", "--json").stdout)["senders"]
    assert (silent["journal"], silent["host"], silent["project"]) == (id, host.hostname(), "default")
    assert (silent["rows"], heard["rows"], heard["host"]) == (len(sender.identities()), len(other.identities()), None)
    assert heard["lag_seconds"] >= 0
    shown = _hub(own, "senders").stdout
    assert ("2 days ago" in shown, host.hostname() in shown, id[:8] in shown) == (True, True, True), shown
    late = _hub(own, "senders", "--silent-for", "1d", "--json")
    assert (late.returncode, [each["journal"] for each in json.loads(late.stdout)["senders"]]) == (1, [id])
    assert _hub(own, "senders", "--silent-for", "9d").returncode == 0


@pytest.mark.foreign_open
def test_a_journal_that_was_moved_is_one_machine(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """It has another id since, and the earlier one is not a machine that has fallen silent."""
    _record("one")
    sender.sync()
    shutil.copytree(sender.home, tmp_path / "moved")
    shutil.rmtree(sender.home)
    moved = Sender(tmp_path / "moved", own.url, own.key)
    moved.write(1)
    assert moved.sync().code == 0
    (one,) = json.loads(_hub(own, "senders", "--json").stdout)["senders"]
    with Reader(moved.journal) as reader:
        assert reader.ask("select value from meta where key = 'journal'") == [(one["journal"],)]


def test_a_hub_in_an_empty_folder_warns_that_it_is_new(tmp_path: Path) -> None:
    """Most likely a disk is not mounted: the machines would get the error that their keys are wrong."""
    data = tmp_path / "empty"
    data.mkdir()
    for warns in (True, False):
        process = warm.start(
            [sys.executable, "-m", "localops", "hub", "serve", "--data", str(data), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": PATH},
        )
        assert process.stdout is not None
        assert " listens at " in process.stdout.readline()
        process.terminate()
        _, printed = process.communicate(timeout=60)
        assert ("this is a new one" in printed) == warns


@pytest.mark.foreign_open  # the backup is read to its digest
def test_check_names_the_keys_that_a_restore_has_revived(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A backup has the keys of its time; the command prints which of them work."""
    assert _hub(own, "backup", "-o", str(tmp_path / "backup")).returncode == 0
    (key,) = json.loads(_hub(own, "key", "list", "--json").stdout)["keys"]
    assert _hub(own, "key", "revoke", key["key"]).returncode == 0
    assert "no key works" in _hub(own, "check").stderr
    own.stop()
    shutil.rmtree(own.data)
    os.rename(tmp_path / "backup", own.data)
    printed = _hub(own, "check").stderr
    assert (f"1 key works: {key['key']}" in printed, "revoke again" in printed) == (True, True), printed


@pytest.mark.foreign_open
@pytest.mark.parametrize("left", ["all", "the log", "the journals"])
def test_what_was_deleted_since_a_backup_does_not_come_back(
    own: RealHub, sender: Sender, tmp_path: Path, left: str
) -> None:
    """It stays deleted if the backup has it or a machine sends it again; the replaced folder has the list."""
    _record("early", "kept")
    sender.sync()
    assert _hub(own, "backup", "-o", str(tmp_path / "backup")).returncode == 0
    _record("late")
    sender.sync()
    listed = json.loads(_localops(own.data, "sessions", "--json").stdout)["sessions"]
    for session in [each["session_id"] for each in listed if each["name"] != "kept"]:
        assert _hub(own, "delete", session, "--project", "default", "--yes").returncode == 0
    own.stop()
    old = tmp_path / "broken"
    os.rename(own.data, old)
    os.rename(tmp_path / "backup", own.data)
    if left == "the log":
        (old / "default" / "journal.db").write_bytes(b"broken" * 1_000)
    elif left == "the journals":
        os.unlink(old / "deletions.jsonl")
    else:
        (old / "deletions.jsonl").write_bytes((old / "deletions.jsonl").read_bytes()[:-40])
    done = _hub(own, "check")
    assert (done.returncode, "localops hub delete --as-in OLD --data" in done.stderr) == (0, True), done
    done = _hub(own, "delete", "--as-in", str(old), "--yes")
    assert (done.returncode, "2 sessions were deleted" in done.stderr, "1 of them was here" in done.stderr) == (
        (0, True, True)
    ), done
    assert ("journal cannot be read" in done.stderr) == (left == "the log")
    assert ("line 2 of" in done.stderr) == (left == "all")
    own.start()
    _record("new")
    assert sender.sync().code == 0
    assert sender.sync(verify=True).code == 0
    listed = json.loads(_localops(own.data, "sessions", "--json").stdout)["sessions"]
    assert sorted(each["name"] for each in listed) == ["kept", "new"]
    assert _hub(own, "backup", "-o", str(tmp_path / "next")).returncode == 0
    log = (tmp_path / "next" / "deletions.jsonl").read_bytes().split()
    assert sorted(json.loads(line)["project"] for line in log) == ["default"] * 2


@pytest.mark.foreign_open
def test_a_full_disk_does_not_hide_what_prune_has_removed(sender: Sender) -> None:
    """The file cannot be compacted without room for a copy; the removal is reported, and its pages are free."""
    for _ in range(20):
        _record("large", *["small"] * 4, prompt="x" * 90_000)

    def narrow() -> None:
        size = os.path.getsize(sender.journal)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, resource.RLIM_INFINITY))

    command = [sys.executable, "-B", "-m", "localops", "prune", "--older-than", "0s", "--keep-size", "2MB", "--yes"]
    done = subprocess.run(
        [*command, "--include-unsent", "hub", "--json", "--home", sender.home],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=narrow,
        env={**os.environ, "PYTHONPATH": PATH},
    )
    assert done.returncode == 1, done
    taken = json.loads(done.stdout)["taken"]["default"]
    assert (taken["sessions"] > 0, bool(taken["failed"])) == (True, True), done


# A remote that gets figures and names only


def _metadata_only(own: RealHub, tmp_path: Path) -> Sender:
    return Sender(tmp_path / "home", own.url, own.key, metadata_only=True)


def test_content_that_no_remote_has_stays(own: RealHub, tmp_path: Path) -> None:
    """A metadata-only remote has no content; prune needs consent, unless another remote has everything."""
    sender = _metadata_only(own, tmp_path)
    _record("prompts")
    session = localops.start_session(name="figures")
    assert session is not None
    session.end_session("Success")
    localops.api.client().close()
    assert sender.sync().left == 0
    document, _ = _prune(sender, "--dry-run")
    assert _stays(document) == {"prompts": "its content is only here: hub is metadata only", "figures": None}
    document, _ = _prune(sender, "--dry-run", "--include-unsent", "hub")
    assert set(_stays(document).values()) == {None}
    key = own.new_key("whole")
    both = {"hub": sender.remote, "whole": Remote("whole", own.url, key=key)}
    remotes.save(sender.folder, both)
    document, _ = _prune(sender, "--dry-run")
    assert "whole lacks" in (_stays(document)["prompts"] or "")
    assert _localops(sender.home, "sync").returncode == 0
    assert set(_stays(_prune(sender, "--dry-run")[0]).values()) == {None}


def test_a_metadata_only_remote_is_called_one(own: RealHub, tmp_path: Path) -> None:
    """Status, doctor and --verify say that content is not sent; the hub's reads say that it was left out."""
    sender = _metadata_only(own, tmp_path)
    _record("prompts")
    sender.sync()
    assert "hub (metadata only)" in _localops(sender.home, "status").stdout
    assert "remote hub is metadata only" in _localops(sender.home, "doctor").stdout
    assert "metadata only, without content" in _localops(sender.home, "sync", "--verify").stderr
    (session,) = own.ask("GET", "/api/1/sessions")[1]["sessions"]
    path = f"/api/1/sessions/{session['session_id']}"
    assert own.ask("GET", path)[1]["metadata_only"] is True
    assert "metadata-only remote" in _localops(own.data, "show", session["session_id"]).stdout
    whole = Sender(tmp_path / "home", own.url, own.key)
    _localops(sender.home, "remote", "remove", "hub", "--yes")
    remotes.save(whole.folder, {"hub": whole.remote})
    assert whole.sync().code == 0
    assert own.ask("GET", path)[1]["metadata_only"] is False
    assert whole.identities() <= identities(str(own.folder / "journal.db"))


def test_a_metadata_only_remote_gets_nothing_of_the_machine(own: RealHub, tmp_path: Path) -> None:
    """Neither folders nor packages nor hardware: only what tells processes apart."""
    sender = _metadata_only(own, tmp_path)
    _record("prompts")
    with Reader(sender.journal) as reader:
        assert any("host_env" in (row.body or "") for row in reader.stream())
    sender.sync()
    with Reader(str(own.folder / "journal.db")) as reader:
        there = [row.body or "" for row in reader.stream()]
    assert [body for body in there if "host_env" in body or os.getcwd() in body] == []


def test_rows_that_an_earlier_release_sent_without_content_are_known(own: RealHub, tmp_path: Path) -> None:
    """It sent what is known of the machine: `--verify` misses nothing, and the rest is filled in later."""
    sender = _metadata_only(own, tmp_path)
    _record("prompts")
    with Reader(sender.journal) as reader:
        rows = [bundle.without_content(row, machine=True) for row in reader.stream()]
    assert own.take(bundle.Batch("a" * 32, [], rows, [(1, len(rows))]))[0] == 200
    outcome = sender.sync(verify=True)
    assert (outcome.code, outcome.parked) == (0, 0), outcome
    whole = Sender(tmp_path / "home", own.url, own.key)
    _localops(sender.home, "remote", "remove", "hub", "--yes")
    remotes.save(whole.folder, {"hub": whole.remote})
    assert whole.sync().code == 0
    assert whole.identities() <= identities(str(own.folder / "journal.db"))


# Cron


def _days_ago(journal: str) -> None:
    """Move the times of everything that was recorded two days back."""
    connection = apsw.Connection(journal)
    connection.execute("update event set at_ns = at_ns - ?", (2 * 86_400_000_000_000,))
    connection.close()


def _record_into_other() -> None:
    """Record an ended session into a project that has no remote."""
    program = "import localops; localops.start_session(name='two').end_session('Success')"
    environment = {**os.environ, "PYTHONPATH": PATH, "LOCALOPS_PROJECT": "other"}
    warm.run([sys.executable, "-c", program], check=True, timeout=60, env=environment)


@pytest.mark.foreign_open
def test_a_project_without_a_remote_beside_one_that_has_one_is_printed_once_a_day(sender: Sender) -> None:
    """Also where the other has rows; naming the remote in the command ends the mails."""
    _record("one")
    _record_into_other()
    done = _localops(sender.home, "sync", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    _days_ago(os.path.join(sender.home, "other", "journal.db"))
    first, again = (_localops(sender.home, "sync", "--quiet") for _ in range(2))
    assert (first.returncode, again.returncode, again.stderr) == (0, 0, "")
    assert first.stderr.count("project other has no remote: its rows are not sent anywhere") == 1
    os.utime(os.path.join(sender.home, "other", "sync.warned"), (0, 0))
    assert _localops(sender.home, "sync", "--quiet", "--remote", "hub").stderr == ""


def test_prune_keeps_a_project_without_a_remote_unless_it_is_named(sender: Sender) -> None:
    """Beside a project with a remote it was most likely forgotten; alone it is meant to stay on this machine."""
    _record("one")
    _record_into_other()
    sender.sync()
    document, _ = _prune(sender, "--dry-run")
    assert _stays(document) == {
        "one": None,
        "two": "its project has no remote, but others have one: choose it with --project",
    }
    assert _stays(_prune(sender, "--dry-run", "--project", "other")[0]) == {"two": None}


def test_cron_without_any_remote_says_so(tmp_path: Path) -> None:
    """With --quiet as without."""
    _record("one")
    plain, quiet = (_localops(tmp_path / "home", "sync", *options) for options in ([], ["--quiet"]))
    assert (quiet.returncode, quiet.stderr) == (plain.returncode, plain.stderr)
    assert (plain.returncode, "there is no remote" in plain.stderr) == (2, True), plain


@pytest.mark.foreign_open
def test_parked_rows_are_in_the_exit_code_until_a_person_acts(sender: Sender) -> None:
    """Cron prints them at once and then once a day; dropped rows are named by doctor."""
    _record("one")
    connection = apsw.Connection(sender.journal)
    connection.execute("update event set body = replace(body, 'why', 'who') where kind = 'llm'")
    connection.close()
    first, second, third = (_localops(sender.home, "sync", "--quiet") for _ in range(3))
    assert [done.returncode for done in (first, second, third)] == [3, 3, 3]
    assert ("1 row is parked" in first.stderr + second.stderr, third.stderr) == (True, ""), (first, second, third)
    printed = Path(sender.folder) / "sync.said"
    record = json.loads(printed.read_bytes())
    printed.write_text(json.dumps({remote: [at - 90_000, message] for remote, (at, message) in record.items()}))
    assert "1 row is parked" in _localops(sender.home, "sync", "--quiet").stderr
    (row,) = json.loads(_localops(sender.home, "parked", "list", "--json").stdout)["parked"]
    assert _localops(sender.home, "parked", "drop", str(row["seq"])).returncode == 0
    assert _localops(sender.home, "sync", "--quiet").returncode == 0
    assert "1 row was given up by `localops parked drop`" in _localops(sender.home, "doctor").stdout
    assert _stays(_prune(sender, "--dry-run")[0]) == {"one": "hub lacks 1 of its rows"}


@pytest.mark.foreign_open
def test_lost_rows_are_in_the_exit_code_until_they_are_back(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A newer backup of the hub that has them ends it, after `sync --verify`; no acknowledgement is needed."""
    _record("one")
    sender.sync()
    own.stop()
    shutil.copytree(own.data, tmp_path / "old", ignore=PASSING)
    own.start()
    _record("two")
    sender.sync()
    own.stop()
    assert _prune(sender)[0]["taken"]["default"]["sessions"] == 2
    shutil.copytree(own.data, tmp_path / "new", ignore=PASSING)
    shutil.rmtree(own.data)
    os.rename(tmp_path / "old", own.data)
    own.start()
    for arguments in ([], ["--verify"], ["--quiet"]):
        if not arguments:
            _record("three")
        done = _localops(sender.home, "sync", *arguments)
        assert done.returncode == 3, done
    assert _localops(sender.home, "doctor").returncode == 1
    own.stop()
    shutil.rmtree(own.data)
    os.rename(tmp_path / "new", own.data)
    own.start()
    printed = [_localops(sender.home, "sync", *arguments).stderr for arguments in ([], ["--verify"])]
    assert "has the rows again that it had lost" in "".join(printed), printed
    _localops(sender.home, "sync")
    assert _localops(sender.home, "sync", "--verify").returncode == 0
    assert _localops(sender.home, "doctor").returncode == 0


# Bundles


def test_a_bundle_names_rows_that_wait_for_a_file(sender: Sender, tmp_path: Path) -> None:
    """They are not in it, and the exit code is 3, whether anything else is to be carried or not."""
    _record("large", prompt="x" * 2_000_000)
    shutil.rmtree(os.path.join(sender.folder, "blobs"))
    assert sender.sync().code == 3
    done = _localops(sender.home, "bundle", "--remote", "hub", "-o", str(tmp_path / "a.lops"))
    assert (done.returncode, "but 1 row waits: `localops parked list`" in done.stderr) == (3, True), done
    _record("small")
    done = _localops(sender.home, "bundle", "--remote", "hub", "-o", str(tmp_path / "b.lops"))
    assert (done.returncode, "1 row is set aside and not in the bundle" in done.stderr) == (3, True), done
