"""Restores of a hub: checked before anything is replaced, and without what was deleted or revoked since."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localops.reading.home import Home
from localops.server import audit, backups, restores
from localops.server.audit import Audit
from localops.server.keys import Keys
from tests import warm
from tests.server.hubs import LIMITED, PATH, RealHub, batch_of, hub, session_rows
from tests.warm import localops, ours

# A backup is read as a file, after it was written.
pytestmark = pytest.mark.foreign_open
KILLS = int(os.environ.get("STRESS_KILLS", "0")) or 6
_ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}


def _hub(*arguments: object, code: int = 0) -> str:
    done = localops("hub", *arguments)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def _names(data: Path) -> list[str]:
    with Home(str(data)) as home:
        return sorted(session.name or "" for session in home.sessions())


def _session(running: RealHub, journal: str) -> str:
    """Give the hub a session, and return its id."""
    sent = batch_of(session_rows(2), journal=journal * 32)
    assert running.take(sent)[0] == 200
    return sent.rows[0].session.hex()


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[RealHub]:
    """A stopped hub with two sessions, a blob and a second key, and a backup of it in `backups`."""
    with hub(tmp_path) as running:
        running.new_key("default")
        blob = b"film" * 1_000
        digest = hashlib.sha256(blob).hexdigest()
        headers = {"Upload-Offset": "0", "Upload-Length": str(len(blob))}
        assert running.ask("PATCH", f"/sync/1/blobs/{digest}", blob, headers=headers)[0] == 200
        body = json.dumps({"params": {"$blob": digest}})
        assert running.take(batch_of(session_rows(1, body=body), journal="e" * 32))[0] == 200
        _session(running, "a")
        _hub("backup", "--data", running.data, "--to", tmp_path / "backups")
        running.stop()
        yield running


def test_a_backup_is_restored_elsewhere(saved: RealHub, tmp_path: Path) -> None:
    """On another machine: a new folder, private, whose hub has the same id, keys, rows and blobs."""
    # As when it was copied there.
    shutil.copytree(tmp_path / "backups", tmp_path / "copied")
    shutil.rmtree(tmp_path / "backups")
    target = tmp_path / "there" / "hub"
    printed = _hub("restore", "--from", tmp_path / "copied", "--data", target)
    assert "restored 1 project" in printed
    assert "2 keys work" in printed
    assert "localops sync" in printed
    assert "do not `prune`" in printed
    assert {path.stat().st_mode & 0o077 for path in (target, *target.rglob("*"))} == {0}
    assert not (target / "backup.json").exists()
    assert "2 keys work" in _hub("check", "--data", target)
    assert Keys(str(target)).hub == saved.id
    # Not the files of the backup: the hub changes its own.
    assert {path.stat().st_nlink for path in target.rglob("*") if path.is_file()} == {1}
    assert [path.name for path in target.parent.iterdir()] == ["hub"]


def test_a_folder_that_is_not_empty_is_kept(saved: RealHub, tmp_path: Path) -> None:
    """It is refused, or with --replace moved aside; an empty one is used."""
    printed = _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, code=2)
    assert "--replace" in printed
    before = {path.name: path.read_bytes() for path in saved.data.iterdir() if path.is_file()}
    printed = _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")
    (aside,) = tmp_path.glob("hub.replaced-*")
    assert str(aside) in printed
    assert before.items() <= {path.name: path.read_bytes() for path in aside.iterdir() if path.is_file()}.items()
    (tmp_path / "empty").mkdir()
    _hub("restore", "--from", tmp_path / "backups", "--data", tmp_path / "empty")
    assert _names(tmp_path / "empty") == _names(saved.data) == ["a run"] * 2


def test_the_audit_log_continues_after_a_restore(saved: RealHub, tmp_path: Path) -> None:
    """What was noted since the backup is there, once and in order; a folder of another hub gives nothing."""
    note = Audit(str(saved.data)).note
    note("session.delete", session="later")
    _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")
    _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")
    actions = [line["action"] for line in audit.read(str(saved.data))]
    assert actions == ["hub.backup", "session.delete", "hub.restore", "hub.restore"]
    Keys(str(tmp_path / "other")).create("default")
    Audit(str(tmp_path / "other")).note("session.delete", session="elsewhere")
    _hub("restore", "--from", tmp_path / "backups", "--data", tmp_path / "other", "--replace")
    assert "elsewhere" not in (tmp_path / "other" / audit.NAME).read_text()


def test_a_hub_that_runs_is_not_replaced(saved: RealHub, tmp_path: Path) -> None:
    """The restore is refused, and the hub continues."""
    saved.start()
    printed = _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace", code=1)
    assert "stop it first" in printed
    assert saved.ask("GET", "/health", key="")[0] == 200
    saved.kill()
    _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")


def test_a_hub_waits_for_a_restore(saved: RealHub, tmp_path: Path) -> None:
    """It does not begin on a folder that is being replaced."""
    from localops.server import presence

    with presence.absent(str(saved.data)):
        serve = ["hub", "serve", "--data", str(saved.data), "--port", "0"]
        done = ours().run(LIMITED, arguments=[json.dumps({"takeover": 0.3}), *serve])
        assert (done.returncode, "being restored" in done.stderr) == (1, True)
    saved.start()


@pytest.mark.parametrize("fault", ["blob", "no blob", "journal", "keys", "manifest", "log"])
def test_a_damaged_backup_replaces_nothing(saved: RealHub, tmp_path: Path, fault: str) -> None:
    """Every file is compared with its digest before the old folder is touched."""
    (backup,) = (tmp_path / "backups").iterdir()
    (backup / "audit.jsonl").write_text("{}\n")
    blob = next(path for path in backup.rglob("*") if len(path.name) == 64)
    if fault == "no blob":
        blob.unlink()
    else:
        name = {"keys": "hub.json", "manifest": "backup.json", "log": "audit.jsonl", "journal": "default/journal.db"}
        path = backup / name[fault] if fault in name else blob
        content = bytearray(path.read_bytes())
        if fault == "log":
            manifest = backups.Manifest.read(str(backup))
            assert manifest is not None
            manifest.files["audit.jsonl"] = (hashlib.sha256(b"[]\n").hexdigest(), 3)
            (backup / "backup.json").write_bytes(manifest.pack())
        elif fault == "journal":
            at = content.rindex(b'{"params":{"q":"why"}}')
            content[at : at + 3] = b'{"q'
        else:
            content[len(content) // 2] ^= 4
        path.write_bytes(content)
    before = sorted(saved.data.rglob("*"))
    printed = _hub("restore", "--from", backup, "--data", saved.data, "--replace", code=1)
    assert "damaged" in printed or "should have 1 blobs" in printed
    assert sorted(path for path in saved.data.rglob("*") if path.name != ".serving") == [
        path for path in before if path.name != ".serving"
    ]
    assert list(tmp_path.glob("hub.re*")) == []
    saved.start()
    assert saved.ask("GET", "/health", key="")[0] == 200


@pytest.mark.parametrize("fault", ["journal", "manifest"])
def test_the_newest_good_backup_of_a_folder_is_restored(saved: RealHub, tmp_path: Path, fault: str) -> None:
    """A damaged newer one is named, and an error if it is named by the user, or if each is damaged."""
    folder = tmp_path / "backups"
    (good,) = folder.iterdir()
    newer = folder / "2999-01-01T00-00-00Z"
    shutil.copytree(good, newer)

    def damage(backup: Path) -> None:
        (backup / {"journal": "default/journal.db", "manifest": "backup.json"}[fault]).write_bytes(b"{")

    damage(newer)
    printed = _hub("restore", "--from", newer, "--data", tmp_path / "there", code=1)
    assert "give --from an earlier backup" in printed
    assert not (tmp_path / "there").exists()
    printed = _hub("restore", "--from", folder, "--data", tmp_path / "there")
    assert f"from {good}" in printed
    assert f"{newer} is newer, but is damaged" in printed
    damage(good)
    assert str(newer) in _hub("restore", "--from", folder, "--data", tmp_path / "other", code=1)
    assert not (tmp_path / "other").exists()


def test_deletions_and_keys_are_as_they_were_last(saved: RealHub, tmp_path: Path) -> None:
    """What was deleted, created and revoked after the backup is read from the replaced folder."""
    saved.start()
    later = _session(saved, "b")
    listed = saved.ask("GET", "/api/1/sessions")[1]["sessions"]
    early = next(session["session_id"] for session in listed if session["session_id"].replace("-", "") != later)
    for session in (early, later):
        _hub("delete", session, "--data", saved.data, "--project", "default", "--yes")
    dead, _ = (key["key"] for key in json.loads(_hub("key", "list", "--data", saved.data, "--json"))["keys"])
    _hub("key", "revoke", dead, "--data", saved.data)
    new = saved.new_key("default")
    saved.stop()
    printed = _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")
    assert "deleted again: 2 sessions; 1 of them was in the backup" in printed
    assert "2 keys work" in printed
    assert "as in the replaced folder" in printed
    keys = Keys(str(saved.data))
    assert (keys.find(saved.key), keys.find(new) is not None) == (None, True)
    assert len(_names(saved.data)) == 1
    log = (saved.data / "deletions.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["session"].replace("-", "") for line in log) == sorted(
        [early.replace("-", ""), later]
    )
    saved.start()
    saved.key = new
    assert saved.ask("GET", f"/api/1/sessions/{later}")[0] == 404


def test_deletions_of_another_folder_are_repeated(saved: RealHub, tmp_path: Path) -> None:
    """--as-in takes a log of deletions that was kept elsewhere, and the backup's keys are good."""
    saved.start()
    (session, _) = [each["session_id"] for each in saved.ask("GET", "/api/1/sessions")[1]["sessions"]]
    _hub("delete", session, "--data", saved.data, "--project", "default", "--yes")
    saved.stop()
    shutil.copy(saved.data / "deletions.jsonl", tmp_path / "log.jsonl")
    target = tmp_path / "new"
    printed = _hub("restore", "--from", tmp_path / "backups", "--data", target, "--as-in", tmp_path / "log.jsonl")
    assert "deleted again: 1 session; 1 of them was" in printed
    assert "revoke again" in printed
    assert len(_names(target)) == 1
    printed = _hub("restore", "--from", tmp_path / "backups", "--data", tmp_path / "x", "--as-in", "/nowhere", code=2)
    assert "/nowhere does not exist" in printed
    assert not (tmp_path / "x").exists()


def test_keys_of_another_hub_are_not_copied(saved: RealHub, tmp_path: Path) -> None:
    """A new hub was begun in the meantime: the machines know the old one."""
    with hub(tmp_path / "other") as other:
        other.stop()
        printed = _hub("restore", "--from", tmp_path / "backups", "--data", other.data, "--replace")
        assert "are of another hub" in printed
        assert Keys(str(other.data)).hub == saved.id


def test_a_backup_that_was_looked_at_is_restored(saved: RealHub, tmp_path: Path) -> None:
    """Commands that read it may change its journal: then its rows are checked one by one."""
    import apsw

    (backup,) = (tmp_path / "backups").iterdir()
    _hub("check", "--data", backup)
    connection = apsw.Connection(str(backup / "default" / "journal.db"))
    connection.execute("insert or replace into meta values('seen', '1')")
    connection.close()
    _hub("restore", "--from", backup, "--data", tmp_path / "new")
    assert _names(tmp_path / "new") == ["a run"] * 2
    connection = apsw.Connection(str(backup / "default" / "journal.db"))
    connection.execute("update event set body = replace(body, 'params', 'parans') where seq = 3")
    connection.close()
    printed = _hub("restore", "--from", backup, "--data", tmp_path / "newer", code=1)
    assert "1 rows of default are damaged" in printed


def test_a_plain_copy_is_restored(saved: RealHub, tmp_path: Path) -> None:
    """A copy of the folder of a stopped hub has no digests: rows and blobs are checked by their own."""
    shutil.copytree(saved.data, tmp_path / "copy")
    printed = _hub("restore", "--from", tmp_path / "copy", "--data", tmp_path / "new")
    assert "has no backup.json" in printed
    assert _names(tmp_path / "new") == ["a run"] * 2
    assert "there is no backup in" in _hub("restore", "--from", tmp_path, "--data", tmp_path / "newer", code=1)


def test_a_restore_that_was_killed_is_done_again(saved: RealHub, tmp_path: Path) -> None:
    """What it left beside the folder is removed; the folder was not touched."""
    left = tmp_path / "new.restoring"
    (left / "default").mkdir(parents=True)
    _hub("restore", "--from", tmp_path / "backups", "--data", tmp_path / "new")
    assert not left.exists()
    from localops.server import presence

    left.mkdir()
    with presence.absent(str(left)):
        printed = _hub("restore", "--from", tmp_path / "backups", "--data", tmp_path / "newer.restoring", code=0)
        printed = _hub("restore", "--from", tmp_path / "backups", "--data", tmp_path / "new", "--replace", code=1)
    assert "another restore" in printed


def test_a_killed_restore_leaves_one_whole_folder(saved: RealHub, tmp_path: Path) -> None:
    """The old one or the new one, at any moment; the next restore goes through."""
    saved.start()
    _session(saved, "b")
    saved.stop()
    command = [sys.executable, "-m", "localops", "hub", "restore", "--from", str(tmp_path / "backups")]
    command += ["--data", str(saved.data), "--replace"]
    shutil.copytree(saved.data, tmp_path / "other")
    began = time.monotonic()
    warm.run([*command[:-2], str(tmp_path / "other"), "--replace"], check=True, capture_output=True, timeout=120)
    lasts = time.monotonic() - began
    dice, seen = random.Random(3), set()
    for _ in range(KILLS):
        process = warm.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_ENVIRONMENT)
        time.sleep(lasts * dice.uniform(0.6, 1.1))
        process.kill()
        process.wait()
        assert Keys(str(saved.data)).hub == saved.id
        seen.add(len(_names(saved.data)))
        assert seen <= {2, 3}
    print(f"{KILLS} restores killed; sessions seen {seen}")
    _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")
    assert len(_names(saved.data)) == 2


def test_two_restores_in_one_second_go_through(saved: RealHub, tmp_path: Path) -> None:
    """What each replaced is kept under a name of its own."""
    for _ in range(2):
        restores.restore(str(tmp_path / "backups"), str(saved.data), replace=True)
    names = [name for name in os.listdir(saved.data.parent) if ".replaced-" in name]
    assert len(names) == 2


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="a mount needs root and unshare")
def test_a_mount_point_is_filled(saved: RealHub, tmp_path: Path) -> None:
    """The volume of a container cannot be renamed: its contents are exchanged, and the old ones kept in it."""
    script = """
mount --bind "$2" "$2" || exit 77
"$1" -m localops hub restore --from "$3" --data "$2" --replace
"""
    arguments = ["unshare", "-m", "bash", "-c", script, "t", sys.executable, str(saved.data), str(tmp_path / "backups")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120, env=_ENVIRONMENT)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done
    (aside,) = saved.data.glob(".replaced-*")
    assert (aside / "hub.json").exists()
    assert not (saved.data / ".restoring").exists()
    saved.start()
    assert len(saved.ask("GET", "/api/1/sessions")[1]["sessions"]) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can work for another user")
def test_a_restored_folder_belongs_to_the_user_of_the_service(saved: RealHub, tmp_path: Path) -> None:
    """As the folder that it replaces."""
    for path in (saved.data, *saved.data.rglob("*")):
        os.chown(path, 65_534, 65_534)
    _hub("restore", "--from", tmp_path / "backups", "--data", saved.data, "--replace")
    assert {path.stat().st_uid for path in (saved.data, *saved.data.rglob("*"))} == {65_534}
