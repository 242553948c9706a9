"""Backups of a hub that serves: each is whole or not there, whatever happens, and costs only what is new."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from localops.server import backups
from localops.server.keys import Keys
from tests import warm
from tests.server.hubs import PATH, RealHub, batch_of, hub, session_rows, wait_until
from tests.server.spans import new_trace, run_of, stored, taken
from tests.sync.homes import Sender, identities
from tests.warm import localops

# A backup is read as a file, after it was written.
pytestmark = pytest.mark.foreign_open
KILLS = int(os.environ.get("STRESS_KILLS", "0")) or 8
_ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "localops", "hub", *map(str, arguments)]


def _hub(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = localops("hub", *arguments)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done


def _backup(running: RealHub, into: Path, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(_hub("backup", "--data", running.data, "--to", into, "--json", *options).stdout)
    return made


def _put_blob(running: RealHub, data: bytes) -> str:
    """Give the hub a blob, and a row that refers to it."""
    digest = hashlib.sha256(data).hexdigest()
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
    assert running.ask("PATCH", f"/sync/1/blobs/{digest}", data, headers=headers)[0] == 200
    sent = batch_of(session_rows(1, body=json.dumps({"params": {"$blob": digest}})), journal=digest[:32])
    assert running.take(sent)[1]["stored"] == 3
    return digest


def _problems(folder: Path | str) -> list[str]:
    manifest = backups.Manifest.read(str(folder))
    assert manifest is not None
    return backups.problems(str(folder), manifest)


def test_the_second_backup_copies_only_new_blobs(tmp_path: Path) -> None:
    """A blob that the last backup has is the same file; journals, keys and deletions are copied each time."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        first = _put_blob(running, b"film" * 5_000)
        one = _backup(running, into)
        assert (one["blobs"], one["new_blobs"], one["new_bytes"], one["projects"]) == (1, 1, 20_000, ["default"])
        second = _put_blob(running, b"more" * 100)
        session = next(iter(running.ask("GET", "/api/1/sessions")[1]["sessions"]))["session_id"]
        _hub("delete", session, "--data", running.data, "--project", "default", "--yes")
        third = _put_blob(running, b"last" * 100)
        two = _backup(running, into, "--verify")
        assert (two["blobs"], two["new_blobs"], two["new_bytes"], two["verified"]) == (2, 1, 400, True)
        assert [path.parts[len(into.parts)] for path in into.rglob(third)] == [Path(two["folder"]).name]
    # The newest session was deleted, and its blob with it.
    files = [next(Path(made["folder"]).rglob(first)) for made in (one, two)]
    assert [file.stat().st_nlink for file in files] == [2, 2]
    assert list(into.rglob(second)) == []
    assert "deletions.jsonl" in {path.name for path in Path(two["folder"]).iterdir()}
    assert backups.names(str(into)) == sorted(path.name for path in into.iterdir())
    assert {path.stat().st_mode & 0o077 for path in into.rglob("*")} == {0}
    for made in (one, two):
        assert _problems(made["folder"]) == []
        assert Keys(made["folder"]).find(running.key) is not None


def test_older_backups_go_when_a_new_one_is_there(tmp_path: Path) -> None:
    """--keep counts finished backups; other files in the folder are never touched."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        for _ in range(3):
            _backup(running, into)
        (into / "2001-01-01T00-00-00Z").mkdir()
        (into / "notes.part").write_text("mine")
        made = _backup(running, into, "--keep", "2", "--verify")
        assert len(made["removed"]) == 2
        assert backups.names(str(into))[-1] == Path(made["folder"]).name
        assert len(backups.names(str(into))) == 2
    assert {path.name for path in into.iterdir()} > {"2001-01-01T00-00-00Z", "notes.part"}


def test_a_damaged_backup_is_set_aside(tmp_path: Path) -> None:
    """What --verify found damaged does not count for --keep, and is restored only by its name."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        assert running.take(batch_of(session_rows(3)))[0] == 200
        running.stop()
        good = Path(_backup(running, into, "--verify")["folder"])
        journal = running.folder / "journal.db"
        content = journal.read_bytes()
        assert content.count(b'"q":"why"') >= 3
        journal.write_bytes(content.replace(b'"q":"why"', b'"q":"who"', 1))
        for _ in range(2):
            done = _hub("backup", "--data", running.data, "--to", into, "--verify", "--keep", "1", code=1)
            assert ".bad is not good: 1 rows of default" in done.stderr
        bad = sorted(into.glob("*.bad"))
        assert (len(bad), backups.names(str(into))) == (2, [good.name])
        done = _hub("restore", "--from", into, "--data", tmp_path / "restored")
        assert f"from {good}" in done.stderr
        assert f"{bad[1]} is newer, but was found damaged" in done.stderr
        _hub("restore", "--from", bad[0], "--data", tmp_path / "named")
        journal.write_bytes(content)
        newest = _backup(running, into, "--verify", "--keep", "2")
        assert newest["removed"] == []
        assert backups.names(str(into)) == [good.name, Path(newest["folder"]).name]
        last = _backup(running, into, "--verify", "--keep", "1")
        assert sorted(last["removed"]) == sorted([good.name, *(each.name for each in bad), Path(newest["folder"]).name])
        assert [path.name for path in into.iterdir() if not path.name.startswith(".")] == [Path(last["folder"]).name]


def test_only_damaged_backups_are_not_restored_by_themselves(tmp_path: Path) -> None:
    """The refusal names the newest of them."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        running.stop()
        bad = backups.set_aside(_backup(running, into)["folder"])
        done = _hub("restore", "--from", into, "--data", tmp_path / "restored", code=1)
        assert f"name it: --from {bad}" in done.stderr


def test_a_backup_that_is_killed_leaves_the_others(tmp_path: Path) -> None:
    """Killed at any moment, it leaves nothing with the name of a backup, and the next one removes what it left."""
    into, dice = tmp_path / "backups", random.Random(7)
    with hub(tmp_path) as running:
        for number in range(30):
            _put_blob(running, bytes([number]) * 40_000)
        _backup(running, into)
        command = _command("backup", "--data", running.data, "--to", into)
        began = time.monotonic()
        warm.run(command, check=True, capture_output=True)
        lasts = time.monotonic() - began
        left = 0
        for number in range(KILLS):
            # Another blob each time, so that something is copied.
            _put_blob(running, b"%d" % number * 10_000)
            process = warm.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(lasts * dice.uniform(0.1, 1.1))
            process.kill()
            process.wait()
            left += len(list(into.glob("*.part")))
            for name in backups.names(str(into)):
                assert _problems(into / name) == []
        print(f"{KILLS} backups killed, {left} of them in the middle")
        last = _backup(running, into, "--verify", "--keep", "1")
        assert last["blobs"] == 30 + KILLS
    assert [path.name for path in into.iterdir()] == [Path(last["folder"]).name]


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="a full disk needs root and unshare")
@pytest.mark.parametrize("room", [0, 60_000])
def test_a_full_disk_leaves_the_others(tmp_path: Path, room: int) -> None:
    """The reason is printed, the unfinished backup is removed, and the one before it does not change."""
    into = tmp_path / "disk"
    into.mkdir()
    with hub(tmp_path) as running:
        _put_blob(running, os.urandom(600_000))
        script = """
mount -t tmpfs -o size=2m none "$2" || exit 77
set -e
"$1" -m localops hub backup --data "$3" --to "$2"
before=$(find "$2" -type f | sort | xargs sha256sum)
head -c 9M /dev/zero >"$2/other" 2>/dev/null || true
truncate -s -"$4" "$2/other"
code=0
"$1" -m localops hub backup --data "$3" --to "$2" || code=$?
rm "$2/other"
test "$before" = "$(find "$2" -type f | sort | xargs sha256sum)"
test "$(ls -A "$2" | wc -l)" = 1
test $code = 1
"$1" -m localops hub backup --data "$3" --to "$2" --verify
"""
        # Another one, which has to be copied; and journals are copied every time.
        _put_blob(running, os.urandom(100_000))
        arguments = [
            "unshare",
            "-m",
            "bash",
            "-c",
            script,
            "test",
            sys.executable,
            str(into),
            str(running.data),
            str(room),
        ]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120, env=_ENVIRONMENT)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done.stderr
    assert "cannot write" in done.stderr
    assert "earlier backups are as they were" in done.stderr


def test_two_backups_at_a_time_do_not_meet(tmp_path: Path) -> None:
    """The second one to the same folder is refused, and removes nothing of the first."""
    from localops.journal import participants

    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        _backup(running, into)
        (into / "2026-01-01T00-00-00Z.part").mkdir()
        with participants.alone(str(into)):
            done = _hub("backup", "--data", running.data, "--to", into, code=1)
        assert "another backup is being written" in done.stderr
        assert (into / "2026-01-01T00-00-00Z.part").exists()


def test_a_damaged_blob_is_left_out_and_named(tmp_path: Path) -> None:
    """The exit code shows that something is missing; the rest is there."""
    with hub(tmp_path) as running:
        digest = _put_blob(running, b"film" * 100)
        _put_blob(running, b"good" * 100)
        next(running.folder.rglob(digest)).write_bytes(b"filn" * 100)
        done = _hub("backup", "--data", running.data, "--to", tmp_path / "backups", code=3)
        assert digest in done.stderr
        assert "sync --verify" in done.stderr
    (folder,) = (tmp_path / "backups").iterdir()
    assert (list(folder.rglob(digest)), _problems(folder)) == ([], [])


@pytest.mark.parametrize("harm", ["removed", "damaged", "longer"])
def test_what_the_hub_has_lost_stays_in_its_backups(tmp_path: Path, harm: str) -> None:
    """A file that rows refer to is carried on from backup to backup, and reported; what was deleted is not."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        lost, deleted = _put_blob(running, b"film" * 100), _put_blob(running, b"more" * 100)
        session = running.ask("GET", "/api/1/sessions")[1]["sessions"][0]["session_id"]
        _backup(running, into)
        _hub("delete", session, "--data", running.data, "--project", "default", "--yes")
        (path,) = running.folder.rglob(lost)
        if harm == "removed":
            path.unlink()
        else:
            path.write_bytes(b"filn" * (100 if harm == "damaged" else 200))
        for _ in range(2):
            done = _hub(
                "backup", "--data", running.data, "--to", into, "--keep", "1", "--verify", code=3 * (harm != "damaged")
            )
            assert (lost in done.stderr, deleted in done.stderr) == (harm != "damaged", False)
    (folder,) = into.iterdir()
    (kept,) = folder.rglob(lost)
    assert (kept.read_bytes(), list(folder.rglob(deleted)), _problems(folder)) == (b"film" * 100, [], [])


def test_a_backup_does_not_go_into_the_data_folder(tmp_path: Path) -> None:
    """It would be a part of the next one, and on the same disk."""
    with hub(tmp_path) as running:
        for option in ("--to", "-o"):
            done = _hub("backup", "--data", running.data, option, running.data / "backups", code=2)
            assert "inside of the data folder" in done.stderr
        done = _hub("backup", "--data", running.data, code=2)
        assert "give either" in done.stderr


def test_what_is_stored_is_restored_while_machines_send(tmp_path: Path) -> None:
    """Backups of a hub under load; after a restore and a pass of each machine, every row is there once."""
    into = tmp_path / "backups"
    with hub(tmp_path, "default", "--rate", "100000") as running:
        senders = [Sender(tmp_path / f"home{number}", running.url, running.key) for number in range(3)]
        stop = threading.Event()
        rounds: list[int] = []

        def send(sender: Sender) -> None:
            while not stop.is_set():
                sender.write(20, body=json.dumps({"params": os.urandom(200).hex()}))
                assert sender.sync().code == 0
                rounds.append(1)

        threads = [threading.Thread(target=send, args=(sender,)) for sender in senders]
        for each in threads:
            each.start()
        made: list[dict[str, Any]] = []
        for number in range(3):
            _put_blob(running, bytes([number]) * 50_000)
            wait_until(lambda: len(rounds) >= 3 * (len(made) + 1), 60)
            made.append(_backup(running, into, "--verify"))
        stop.set()
        for each in threads:
            each.join()
        running.stop()
        for one in made:
            _hub("check", "--data", one["folder"])
        aside = _restored(running, into)
        there = identities(str(running.folder / "journal.db"))
        complete = identities(str(aside / "default" / "journal.db"))
        assert there < complete
        running.start()
        for sender in senders:
            sender.write(1)
            assert sender.sync().code == 0
            assert sender.sync(verify=True).code == 0
            assert sender.identities() <= identities(str(running.folder / "journal.db"))
        running.stop()
        assert complete <= identities(str(running.folder / "journal.db"))


def test_spans_that_wait_for_their_root_are_restored(tmp_path: Path) -> None:
    """They were acknowledged, so no exporter sends them again; a damaged file of them replaces nothing."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        trace, whole = new_trace(), new_trace()
        taken(running, *run_of(trace)[:2])
        taken(running, *run_of(whole)[:1])
        made = _backup(running, into, "--verify")
        taken(running, *run_of(whole)[1:])
        running.kill()
        shutil.copytree(into, tmp_path / "copied")
        (file, *_) = sorted((tmp_path / "copied").rglob("waiting/*.jsonl"))
        file.write_bytes(file.read_bytes()[:-20])
        assert (
            f"{file.name} is damaged"
            in _hub("restore", "--from", tmp_path / "copied", "--data", running.data, "--replace", code=1).stderr
        )
        assert _restored(running, into).exists()
        assert len(os.listdir(Path(made["folder"]) / "default" / "waiting")) == 2
        running.start()
        for each, rest in ((trace, run_of(trace)[2:]), (whole, run_of(whole)[1:])):
            taken(running, *rest)
            assert sorted(row["kind"] for row in stored(running, each)) == [
                "agent",
                "error",
                "llm",
                "operation",
                "tool",
            ]


def _restored(running: RealHub, into: Path) -> Path:
    done = _hub("restore", "--from", into, "--data", running.data, "--replace", "--json")
    return Path(json.loads(done.stdout)["replaced"])


def test_a_hub_is_killed_while_it_is_backed_up(tmp_path: Path) -> None:
    """The backup needs only the files: it is whole, and so is the hub."""
    into = tmp_path / "backups"
    with hub(tmp_path) as running:
        for number in range(10):
            _put_blob(running, bytes([number]) * 20_000)
        process = subprocess.Popen(_command("backup", "--data", running.data, "--to", into), env=_ENVIRONMENT)
        assert running.process is not None
        running.process.send_signal(signal.SIGKILL)
        assert process.wait(60) == 0
        running.kill()
        running.start()
        assert running.ask("GET", "/health", key="")[0] == 200
    (name,) = backups.names(str(into))
    assert _problems(into / name) == []
