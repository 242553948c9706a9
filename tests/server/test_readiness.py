"""`/health` and `/ready` are true in every state that a hub can be brought into."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from localops import clock
from tests.server.hubs import RealHub, batch_of, hub, packed, session_rows, wait_until
from tests.server.test_logs import Logged
from tests.server.test_metrics import figure, figures, get, watched


@contextmanager
def _mounted(folder: Path, size: str = "3m") -> Iterator[Path]:
    """Mount a small file system of its own, or skip the test."""
    folder.mkdir()
    if not shutil.which("mount") or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _bound(disk: Path, folder: Path) -> Iterator[None]:
    """Mount a file system a second time, at that folder."""
    folder.mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _states(running: RealHub) -> tuple[int, int]:
    """Return the status of `/health` and of `/ready`."""
    return running.ask("GET", "/health", key="")[0], running.ask("GET", "/ready", key="")[0]


def _become(running: RealHub, states: tuple[int, int]) -> None:
    wait_until(lambda: _states(running) == states, 60)


def _take(running: RealHub, many: int = 3, body: str = "{}") -> int:
    return running.take(batch_of(session_rows(many, body=body), journal=clock.new_id().hex()))[0]


def test_a_hub_that_is_well_is_ready(running: RealHub) -> None:
    """Soon after the start both answer 200, without a key."""
    _become(running, (200, 200))
    assert running.ask("GET", "/ready", key="")[1]["status"] == "ready"
    assert _take(running) == 200


def test_a_full_disk(tmp_path: Path) -> None:
    """While the disk is full both answer 503, as a batch does; with room again, all three answer 200."""
    with _mounted(tmp_path / "disk") as disk, hub(disk, fresh=0.2) as running:
        _become(running, (200, 200))
        filler = disk / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(bytes(65_536))
                    file.flush()
            except OSError:
                pass
        _become(running, (503, 503))
        problems = running.ask("GET", "/ready", key="")[1]["problems"]
        assert any("disk is full" in problem for problem in problems), problems
        assert _take(running, 300, '{"params":"' + os.urandom(3_000).hex() + '"}') == 503
        filler.unlink()
        assert _take(running) == 200
        _become(running, (200, 200))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file system that the system has made read-only after an error."""
    with _mounted(tmp_path / "disk", "8m") as disk, hub(disk, fresh=0.2) as running:
        _become(running, (200, 200))
        # On top of it: one with open files cannot be made read-only by a command.
        subprocess.run(["mount", "--bind", "-o", "ro", str(disk), str(disk)], check=True)
        try:
            _become(running, (503, 503))
            assert _take(running) == 503
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        assert _take(running) == 200
        _become(running, (200, 200))


@pytest.mark.parametrize("content", [None, b"{"], ids=["gone", "garbled"])
def test_keys_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """At once, not after some seconds, as without its keys the hub refuses everyone."""
    with hub(tmp_path) as running:
        _become(running, (200, 200))
        path = running.data / "hub.json"
        good = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert _states(running) == (503, 503)
        assert running.ask("GET", "/ready", key="")[1]["problems"] == ["the keys cannot be read"]
        path.write_bytes(good)
        assert _states(running) == (200, 200)


@pytest.mark.foreign_open
def test_a_damaged_journal(tmp_path: Path) -> None:
    """One of several is a problem, but the hub accepts rows of the others; if it is the only one, it is not ready."""
    with hub(tmp_path, fresh=0.2) as running:
        other = running.new_key("other")
        assert _take(running) == 200
        _become(running, (200, 200))
        running.stop()
        (running.folder / "journal.db").write_bytes(b"\xa5" * 100_000)
        for name in ("journal.db-wal", "journal.db-shm"):
            (running.folder / name).unlink(missing_ok=True)
        running.start()
        _become(running, (503, 200))
        rows = batch_of(session_rows(), journal=clock.new_id().hex())
        assert running.take(rows, key=other)[0] == 200
        assert _take(running) == 503
        shutil.rmtree(running.data / "other")
        _become(running, (503, 503))


def _overwrite(journal: Path) -> None:
    """Damage a journal where it is, which an open reader may not notice."""
    with journal.open("r+b") as file:
        file.write(b"\xa5" * journal.stat().st_size)


def _replace(journal: Path) -> None:
    other = journal.with_name("another")
    other.write_bytes(b"\xa5" * 100_000)
    other.replace(journal)


@pytest.mark.foreign_open
@pytest.mark.parametrize("change", [_overwrite, _replace, Path.unlink])
def test_a_journal_that_changes_while_nothing_happens(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """What was done to the file is seen without a request for its project, and so is that it is whole again."""
    with hub(tmp_path, fresh=0.1) as running:
        running.new_key("other")
        journal = running.folder / "journal.db"
        assert _take(running) == 200
        # Its rows are in the file, as they are after some time, and a reader has read them.
        with closing(sqlite3.connect(journal)) as file:
            assert file.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0
        _become(running, (200, 200))
        good = tmp_path / "good"
        shutil.copy2(journal, good)
        change(journal)
        _become(running, (503, 200))
        good.replace(journal)
        _become(running, (200, 200))


def test_a_journal_that_is_gone_is_made_again(tmp_path: Path) -> None:
    """The hub takes rows meanwhile, also if it was the only one."""
    with hub(tmp_path, fresh=0.1) as running:
        _become(running, (200, 200))
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (running.folder / name).unlink(missing_ok=True)
        _become(running, (503, 200))
        assert _take(running) == 200
        _become(running, (200, 200))


@pytest.mark.foreign_open
def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    """That is seen before a machine sends to it; the rows of other projects are taken."""
    with hub(tmp_path, fresh=0.1) as running, _mounted(tmp_path / "disk") as disk:
        running.new_key("other")
        _become(running, (200, 200))
        # Before the hub sees it: a file system cannot become read-only while a file in it is open for writing.
        shutil.copytree(running.data / "other", disk, dirs_exist_ok=True)
        disk.chmod(0o700)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        locked = running.data / "locked"
        with _bound(disk, locked):
            _become(running, (503, 200))
            problems = running.ask("GET", "/health", key="")[1]["problems"]
            assert any("cannot be written" in problem for problem in problems), problems
            assert _take(running) == 200
            subprocess.run(["mount", "-o", "remount,rw", str(locked)], check=True)
            _become(running, (200, 200))


def test_a_hub_that_stops_is_not_ready(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """From SIGTERM on, monitoring sees 503, while the last request is finished."""
    with hub(tmp_path, "default", "--metrics", "0", farewell=30) as running:
        about = watched(capfd)
        _become(running, (200, 200))
        assert figure(figures(f"{about}/metrics"), "localops_hub_ready") == 1
        assert running.process is not None
        body = packed(batch_of(session_rows()))
        host, port = running.url.removeprefix("http://").split(":")
        head = f"POST /sync/1/rows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\nContent-Encoding: gzip"
        with socket.create_connection((host, int(port)), timeout=60) as sock:
            sock.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:10])
            wait_until(lambda: figure(figures(f"{about}/metrics"), "localops_hub_connections") == 1)
            running.process.terminate()
            wait_until(lambda: get(f"{about}/ready")[0] == 503)
            assert "shutting down" in get(f"{about}/ready")[2]
            assert figure(figures(f"{about}/metrics"), "localops_hub_ready") == 0
            sock.sendall(body[10:])
            assert b"200 OK" in sock.recv(65_536)
        assert running.process.wait(60) == 0


_SLOW = """
import sys, time
from localops.server.home_store import HomeStore
projects = HomeStore.projects
def slowly(self):
    time.sleep(1.5)
    return projects(self)
HomeStore.projects = slowly
from localops.cli import main
main(sys.argv[1:])
"""


def test_a_hub_that_has_not_looked_yet_is_not_ready(tmp_path: Path) -> None:
    """It listens before it has looked at its journals, and says that it is starting."""
    started = Logged(tmp_path, program=_SLOW)
    try:
        status, _, body = started.ask("GET", "/ready")
        assert (status, "starting" in body.decode()) == (503, True)
        wait_until(lambda: started.ask("GET", "/ready")[0] == 200, 60)
    finally:
        started.process.kill()
        started.process.wait()


def test_the_figures_agree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`localops_hub_up` names the part that is not well."""
    with hub(tmp_path, "default", "--metrics", "0", fresh=0.1) as running:
        about = watched(capfd)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", about)
        (running.data / "hub.json").rename(running.data / "away")
        assert get(f"{about}/health")[0] == 503
        seen = figures(f"{about}/metrics")
        parts = {part: figure(seen, "localops_hub_up", part=part) for part in ("keys", "journals", "disk")}
        assert parts == {"keys": 0, "journals": 1, "disk": 1}
