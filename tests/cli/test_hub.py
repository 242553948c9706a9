"""`localops hub`: keys, and sessions deleted for good."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import apsw
import pytest

from localops.server import audit, deletions
from localops.server.home_store import HomeStore
from localops.server.keys import Keys
from tests import warm
from tests.server.hubs import PATH, batch_of, hub, session_rows


def _localops(*arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, "-m", "localops", *arguments], capture_output=True, timeout=60)


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    """A key is printed alone on stdout, once; lists show its handle."""
    data = ("--data", str(tmp_path / "data"))
    made = _localops("hub", "key", "create", *data, "--project", "mine", "--note", "laptop")
    secret = made.stdout.strip()
    assert (made.returncode, Keys(str(tmp_path / "data")).find(secret) is not None) == (0, True)
    listed = json.loads(_localops("hub", "key", "list", *data, "--json").stdout)["keys"]
    assert [(key["project"], key["note"], key["revoked"]) for key in listed] == [("mine", "laptop", None)]
    shown = _localops("hub", "key", "list", *data).stdout
    assert listed[0]["key"] in shown
    assert secret not in shown
    assert _localops("hub", "key", "revoke", listed[0]["key"], *data).returncode == 0
    assert Keys(str(tmp_path / "data")).find(secret) is None


def test_a_folder_that_is_no_hub_is_not_made_one(tmp_path: Path) -> None:
    """Listing and revoking begin nothing."""
    done = _localops("hub", "key", "list", "--data", str(tmp_path / "typo"))
    assert (done.returncode, (tmp_path / "typo").exists()) == (1, False)
    assert "hub key create" in done.stderr
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hub.json").write_text("{}")
    assert "the folder of a hub" in _localops("sessions", "--home", str(tmp_path / "hub")).stderr


def test_a_session_is_deleted_while_the_hub_runs(tmp_path: Path) -> None:
    """The hub does not show the session any more, and does not accept it again."""
    with hub(tmp_path) as found:
        batch = batch_of(session_rows(3))
        found.take(batch)
        id = batch.rows[0].session.hex()
        where = ("--data", str(found.data), "--project", "default")
        done = _localops("hub", "delete", id, *where, "--yes")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert found.ask("GET", f"/api/1/sessions/{id}")[0] == 404
        assert found.take(batch)[1]["gone"] == 5
        assert _localops("hub", "delete", id, *where, "--yes").returncode == 1


def test_a_project_is_emptied_while_the_hub_runs(tmp_path: Path) -> None:
    """Its sessions stay away when they are sent again, new ones are stored, and the other project keeps its own."""
    with hub(tmp_path) as found:
        batches = [batch_of(session_rows(3, end=end), journal=of * 32) for end, of in (("Success", "a"), (None, "b"))]
        for batch in batches:
            found.take(batch)
        where = ("--data", str(found.data), "--project", "default")
        assert _localops("hub", "delete", *where, "--yes").returncode == 2
        done = _localops("hub", "delete", "--all", *where, "--yes")
        assert "2 sessions with 9 rows and 0 files deleted" in done.stderr
        assert "hub key revoke" in done.stderr
        assert found.ask("GET", "/api/1/analytics")[1]["sessions"] == 0
        assert [found.take(batch)[1]["gone"] for batch in batches] == [5, 4]
        assert found.take(batch_of(session_rows(1), journal="c" * 32))[1]["stored"] == 3
        [line] = [line for line in audit.read(str(found.data)) if line["action"] == "project.delete"]
        assert (line["project"], line["sessions"], line["rows"]) == ("default", 2, 9)
        # For a restore of an earlier backup.
        deleted = {batch.rows[0].session for batch in batches}
        assert {*deletions.of(str(found.data))[0]["default"]} == deleted
        missing = _localops("hub", "delete", "--all", *where[:2], "--project", "nosuch", "--yes")
        assert (missing.returncode, "no project 'nosuch'" in missing.stderr) == (1, True)


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="a mount needs root and unshare")
def test_a_session_is_deleted_on_a_full_disk(tmp_path: Path) -> None:
    """The indexes make room, as they go in any case; without them, the command names the reason."""
    keys = Keys(str(tmp_path / "hub"))
    keys.create("default")
    batches = [batch_of(session_rows(9, body=json.dumps({"q": "x" * 9_000})), journal=of * 32) for of in "abc"]
    with contextlib.closing(HomeStore(str(tmp_path / "hub"))) as store:
        for batch in batches:
            store.ingest("default", batch, refused={}, by=keys.hub, key="k")
    script = """
mkdir "$2/disk" && mount -t tmpfs -o size=4M tmpfs "$2/disk" || exit 77
cp -r "$2/hub" "$2/disk/hub"
head -c 500000 /dev/zero >"$2/disk/hub/default/call_table.db"
for session in "$3" "$4"; do
  dd if=/dev/zero of="$2/disk/full-$session" bs=4k 2>/dev/null
  # Even reading takes 32 kB, which a hub that serves has taken.
  truncate -s -36864 "$2/disk/full-$session"
  "$1" -m localops hub delete "$session" --data "$2/disk/hub" --project default --yes
  echo "exit $?" >&2
done
"$1" -m localops prune --home "$2/disk/hub" --older-than 0s --yes
"""
    ids = [batch.rows[0].session.hex() for batch in batches[:2]]
    arguments = ["unshare", "-m", "bash", "-c", script, "t", sys.executable, str(tmp_path), *ids]
    environment = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120, env=environment)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("mounting is not allowed here")
    *_, first, end, second, failed, pruned = done.stderr.splitlines()
    assert (first[-10:], end, failed) == ("is deleted", "exit 0", "exit 1"), done.stderr
    assert "cannot delete anything now: " in second
    assert "the disk is full: make room" in second
    assert "the disk is full: make room" in pruned
    assert done.stdout.count("to be removed") == 2


def test_a_session_is_pruned_while_the_hub_runs(tmp_path: Path) -> None:
    """The ordinary prune works on the data folder; removed sessions are not accepted again."""
    with hub(tmp_path) as found:
        old, running = batch_of(session_rows(3)), batch_of(session_rows(2, end=None), journal="b" * 32)
        found.take(old)
        found.take(running)
        done = _localops("prune", "--home", str(found.data), "--older-than", "0s", "--yes", "--json")
        assert json.loads(done.stdout)["taken"]["default"]["sessions"] == 1, done.stderr
        assert found.ask("GET", "/api/1/analytics")[1]["sessions"] == 1
        assert found.take(old)[1]["gone"] == 5
        assert found.take(batch_of(session_rows(1), journal="c" * 32))[1]["stored"] == 3


def test_a_hub_says_when_it_listens_in_the_open(tmp_path: Path) -> None:
    """Without TLS at another address than loopback, keys could be read on the way."""
    from localops.cli.hub.serve import check_tls

    done = warm.run(
        [sys.executable, "-c", "from localops.cli.hub.serve import check_tls; check_tls('0.0.0.0', None, None)"],
        capture_output=True,
        check=True,
    )
    assert "without TLS" in done.stderr
    check_tls("127.0.0.1", None, None)


def test_an_address_in_use_is_an_error(tmp_path: Path) -> None:
    """It prints one line, and exits with a code that is not 0."""
    with hub(tmp_path) as found:
        port = found.url.rpartition(":")[2]
        done = _localops("hub", "serve", "--data", str(tmp_path / "other"), "--port", port)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Address already in use" in done.stderr


def test_the_access_log_has_no_keys(tmp_path: Path) -> None:
    """The log is off unless it is requested; then it has a line for each request."""
    for options, lines in (((), 0), (("--access-log",), 2)):
        with hub(tmp_path / str(lines), "default", *options) as running:
            running.ask("GET", "/sync/1/hello")
            running.ask("GET", "/sync/1/hello", key="", headers={"X-Agentops-Api-Key": running.key})
            running.stop()
        assert running.output.count("GET /sync/1/hello") == lines
        assert running.key not in running.output


def test_check_reports_what_a_restored_hub_lacks(tmp_path: Path) -> None:
    """`hub check` reads rows and files: damaged and missing ones are counted, and make it end with 1."""
    with hub(tmp_path) as running:
        data = b"film" * 100
        digest = hashlib.sha256(data).hexdigest()
        headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
        assert running.ask("PATCH", f"/sync/1/blobs/{digest}", data, headers=headers)[0] == 200
        sent = session_rows(6, body=json.dumps({"params": {"$blob": digest}}))
        session = str(uuid.UUID(bytes=sent[0][2]))
        events = [str(uuid.UUID(bytes=row[0])) for row in sent[3:7]]  # whose rows stay whole below
        running.take(batch_of(sent))
        where = ("--data", str(running.data))
        whole = json.loads(_localops("hub", "check", *where, "--json").stdout)
        [project] = whole["projects"]
        assert (whole["ok"], project["damaged"], project["blobs"], project["missing"]) == (True, [], 1, [])
        copy = tmp_path / "copy"
        assert _localops("hub", "backup", *where, "-o", str(copy)).returncode == 0
        assert _localops("hub", "check", "--data", str(copy)).returncode == 0
        assert _localops("hub", "backup", *where, "-o", str(copy)).returncode == 2
        assert {path.stat().st_mode & 0o077 for path in copy.rglob("*")} == {0}
    blob = next(path for path in copy.rglob(digest))
    blob.write_bytes(b"filn" * 100)
    connection = apsw.Connection(str(copy / "default" / "journal.db"))
    connection.execute("update event set body = replace(body, 'params', 'parans') where seq = 3")
    connection.execute("update event set name = cast(x'ff' as text) where seq = 4")
    connection.close()
    done = _localops("hub", "check", "--data", str(copy))
    assert (done.returncode, "2 rows are damaged (3, 4)" in done.stderr) == (1, True)
    assert "1 file is missing or damaged" in done.stderr
    # Which runs have lost something, and where in them.
    [project] = json.loads(_localops("hub", "check", "--data", str(copy), "--json").stdout)["projects"]
    uses = project["uses"][digest]
    assert {use["session"] for use in uses} == {session}
    assert [(use["event"], use["kind"]) for use in uses] == [(event, "llm") for event in events]
    assert f"file {digest[:12]}… belongs to llm {events[0]}, llm {events[1]}, " in done.stderr
    assert f"and 1 more of session {session}" in done.stderr
    connection = apsw.Connection(str(copy / "default" / "journal.db"))
    connection.execute("update event set sum = sum + 1")
    connection.close()
    message = _localops("hub", "check", "--data", str(copy)).stderr
    assert "9 rows are damaged (1, 2, 3, 4, 5, and 4 more)" in message, message


def test_a_backup_creates_its_folder(tmp_path: Path) -> None:
    """A name that ends like a folder's is one, also for a single project: nothing is written over it afterwards."""
    with hub(tmp_path) as found:
        found.take(batch_of(session_rows(1)))
        place = f"{tmp_path / 'backup'}{os.sep}"
        assert _localops("backup", "--home", str(found.data), "-o", place).returncode == 0
    assert len(list((tmp_path / "backup").glob("localops-default-*.db"))) == 1


def test_a_backup_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    """A disk that was full for one backup does not make the next one fail."""
    with hub(tmp_path) as found:
        data = b"film" * 100_000
        headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
        path = f"/sync/1/blobs/{hashlib.sha256(data).hexdigest()}"
        assert found.ask("PATCH", path, data, headers=headers)[0] == 200
        place = tmp_path / "backups"
        place.mkdir()
        command = [sys.executable, "-B", "-m", "localops", "hub", "backup"]
        command += ["--data", str(found.data), "-o", str(place / "b")]

        def narrow() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))

        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, preexec_fn=narrow)
        assert (done.returncode, "cannot write" in done.stderr) == (1, True), done.stderr
        assert list(place.iterdir()) == []
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
        assert [each.name for each in place.iterdir()] == ["b"]
    assert _localops("hub", "check", "--data", str(place / "b")).returncode == 0


def test_a_session_that_was_deleted_before_is_named_as_such(tmp_path: Path) -> None:
    """Its second deletion reports that, by its id and the beginning of it; the log has one line, and none is empty."""
    with hub(tmp_path) as found:
        batch = batch_of(session_rows(3))
        found.take(batch)
        id = batch.rows[0].session.hex()
        where = ("--data", str(found.data), "--project", "default")
        assert _localops("hub", "delete", id, *where, "--yes").returncode == 0
        for named in (id, id[:12]):
            done = _localops("hub", "delete", named, *where, "--yes")
            assert (done.returncode, "is already deleted" in done.stderr) == (1, True), done.stderr
        assert "already" not in _localops("hub", "delete", "0" * 32, *where, "--yes").stderr
        log = (found.data / "deletions.jsonl").read_bytes()
        assert (log.count(b"\n"), log.endswith(b"}\n")) == (1, True)
