"""Releases of earlier schemas and this one: old senders with a new hub, new senders with an old one, the way back.

The code of the earlier schemas is taken from the history of the repository; where that is missing, as in a shallow
clone, these tests are skipped, and `tests/server/test_old_senders.py` has what old senders sent.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from localops.journal.sql import SCHEMA
from tests import warm
from tests.server.hubs import TOP
from tests.sync.homes import identities

_RECORD = """
import sys, localops
localops.init(auto_start_session=False)
for number in range(int(sys.argv[1])):
    session = localops.start_session(tags=["upgrade"])
    session.record(localops.ActionEvent("step", params={"number": number}))
    call = localops.LLMEvent(prompt="why", completion="so", model="gpt-4o-mini", prompt_tokens=10, completion_tokens=2)
    session.record(call)
    session.record(localops.ToolEvent("search", params={"q": "x"}, returns="y" * 2_000))
    session.end_session("Success")
"""


@dataclass
class Code:
    """A checkout of one release, and the program that has loaded it."""

    top: Path
    loaded: warm.Warm | None = None  # that of the tests

    def run(self, *arguments: object) -> str:
        """Run its command; return what it printed on stdout."""
        done = self._done(["-m", "localops", *map(str, arguments)])
        assert done.returncode == 0, (self.top, arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def _done(self, arguments: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        command, environment = [sys.executable, *arguments], {**self.environment, **variables}
        return warm.run(command, capture_output=True, env=environment, holder=self.loaded)

    @property
    def environment(self) -> dict[str, str]:
        """Return an environment that runs it."""
        return {**os.environ, "PYTHONPATH": f"{self.top}{os.pathsep}{self.top / 'sync'}", "PYTHONSAFEPATH": "1"}

    @contextmanager
    def hub(self, data: Path, port: int = 0) -> Iterator[str]:
        """Serve a data folder; yield the address."""
        command = [sys.executable, "-m", "localops", "hub", "serve", "--data", str(data), "--port", str(port)]
        process = warm.start(command, stdout=subprocess.PIPE, env=self.environment, holder=self.loaded)
        assert process.stdout is not None
        with process.stdout:
            try:
                line = process.stdout.readline()
                assert " listens at " in line, line
                yield line.split()[-1]
            finally:
                process.terminate()
                assert process.wait(60) == 0

    def key(self, data: Path, folder: Path) -> Path:
        """Create a key to the project, in a file."""
        file = folder / f"key-{len(list(folder.glob('key-*')))}"
        file.write_text(self.run("hub", "key", "create", "--data", data, "--project", "default"))
        file.chmod(0o600)
        return file

    def record(self, home: Path, sessions: int) -> None:
        """Record sessions into a home."""
        done = self._done(["-c", _RECORD, str(sessions)], LOCALOPS_HOME=str(home))
        assert done.returncode == 0, done.stderr


NEW = Code(TOP)


# The last schemas before ours that are tried.
SCHEMAS = int(os.environ.get("STRESS_SCHEMAS", "1"))


@pytest.fixture(scope="module", params=range(SCHEMA - SCHEMAS, SCHEMA), ids=lambda schema: f"schema{schema}")
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    """Return the last code of an earlier schema."""
    if shutil.which("git") is None or not (TOP / ".git").exists():
        pytest.skip("this is no clone of the repository")
    added = ["log", "--diff-filter=A", "--format=%H", "-1", "--", f"*migration_{request.param + 1}.sql"]
    commit = _git(*added).decode().strip()
    if not commit or _git("rev-parse", "--verify", "--quiet", f"{commit}^").strip() == b"":
        pytest.skip("the history of the repository is not here: this is a shallow clone")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(_git("archive", f"{commit}^", "localops", "sync"))) as archive:
        archive.extractall(folder, filter="data")
    with warm.of(folder) as loaded:
        code = Code(folder, loaded)
        assert code._done(["-c", "import localops; print(localops.__file__)"]).stdout.startswith(str(folder))
        yield code


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(TOP), *arguments], capture_output=True, check=False).stdout


def _add_remote(code: Code, home: Path, url: str, key: Path) -> None:
    code.run("remote", "add", "hub", url, "--key-file", key, "--project", "default", "--home", home)


def _sync(code: Code, home: Path, *options: str) -> None:
    code.run("sync", "--home", home, *options)


def _stored(data: Path) -> set[tuple[bytes, int, int]]:
    return identities(str(data / "default" / "journal.db"))


def _sessions(data: Path) -> list[tuple[str, int]]:
    listed = json.loads(NEW.run("sessions", "--home", data, "--json", "--limit", "1000"))["sessions"]
    return [(each["state"], each["llm_calls"]) for each in listed]


def test_an_old_sender_and_a_new_hub(old: Code, tmp_path: Path) -> None:
    """Nothing is lost or twice while the sender is old, and after it was upgraded in place."""
    data, home = tmp_path / "hub", tmp_path / "home"
    key = NEW.key(data, tmp_path)
    with NEW.hub(data) as url:
        old.record(home, 3)
        _add_remote(old, home, url, key)
        _sync(old, home)
        _sync(old, home, "--verify")
        old.record(home, 2)
        _sync(old, home)
        NEW.record(home, 2)
        _sync(NEW, home)
        _sync(NEW, home, "--verify")
    assert _sessions(data) == [("Success", 1)] * 7
    assert identities(str(home / "default" / "journal.db")) <= _stored(data)


def test_a_new_sender_and_an_old_hub(old: Code, tmp_path: Path) -> None:
    """A machine that was upgraded first waits for nothing; then the hub is upgraded in place and has the same rows."""
    data, home = tmp_path / "hub", tmp_path / "home"
    key = old.key(data, tmp_path)
    with old.hub(data) as url:
        NEW.record(home, 3)
        _add_remote(NEW, home, url, key)
        _sync(NEW, home)
        _sync(NEW, home, "--verify")
        port = int(url.rpartition(":")[2])
    with NEW.hub(data, port):
        NEW.record(home, 2)
        _sync(NEW, home)
        _sync(NEW, home, "--verify")
    assert _sessions(data) == [("Success", 1)] * 5
    assert identities(str(home / "default" / "journal.db")) <= _stored(data)


@pytest.mark.foreign_open
@pytest.mark.parametrize("way", ["migrated", "backup"])
def test_the_way_back(old: Code, tmp_path: Path, way: str) -> None:
    """In a copy from before the upgrade, machines send later rows again; a migrated folder is not damaged.

    Then the hub is upgraded once more, and shows every session.
    """
    data, home = tmp_path / "hub", tmp_path / "home"
    key = old.key(data, tmp_path)
    with old.hub(data) as url:
        old.record(home, 2)
        _add_remote(old, home, url, key)
        _sync(old, home)
        port = int(url.rpartition(":")[2])
    shutil.copytree(data, tmp_path / "before")
    with NEW.hub(data, port):
        old.record(home, 2)
        _sync(old, home)
    if way == "backup":
        data = tmp_path / "before"
    with old.hub(data, port):
        old.record(home, 1)
        _sync(old, home)
        if way == "backup":
            _sync(old, home, "--verify")
            assert identities(str(home / "default" / "journal.db")) <= _stored(data)
    with NEW.hub(data, port):
        NEW.record(home, 1)
        _sync(NEW, home)
        _sync(NEW, home, "--verify")
    assert _sessions(data) == [("Success", 1)] * 6
    assert json.loads(NEW.run("hub", "check", "--data", data, "--json"))["ok"]
