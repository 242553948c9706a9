"""The commands on the pages do what the page promises, in their order."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import localops
from localops import config
from localops.journal.reader import Reader
from localops.server.keys import Keys
from tests.server.hubs import PATH, TOP, RealHub, batch_of, hub, session_rows

# What needs another machine, root, or does not end: everything else is run.
_NOT_HERE = (
    "pip install",
    "useradd",
    "python3 -m venv",
    "/opt/localops",
    "cd /etc/systemd",
    "for unit in",
    "    /opt/localops",
    "done",
    "systemctl",
    "sudo ",
    "loginctl",
    "journalctl",
    "localops hub serve",
    "localops ui",
    "scripts/",
    "pip ",
    "tar ",
    "pyinstaller",
    "datasette",
    "_LOCALOPS_COMPLETE=fish_source",
)
# Programs that a machine may lack.
_OTHERS = ("jq", "sqlite3")


def _blocks(page: str) -> list[list[str]]:
    """Return the commands of each shell block of a page."""
    path = TOP / "README.md" if page == "README" else TOP / "localops" / "docs" / f"{page}.md"
    text = path.read_text()
    blocks = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        lines = [re.sub(r"^(?:\*/5 \* \* \* \* )?/home/ada/venv/bin/", "", line) for line in block.splitlines()]
        blocks.append([line for line in lines if line and not line.startswith(("#", *_NOT_HERE))])
    return [lines for lines in blocks if lines]


class _Shell:
    """Runs commands as a page has them, with the names of that page meaning things of this test."""

    def __init__(self, tmp_path: Path, real: RealHub) -> None:
        shim = tmp_path / "bin" / "localops"
        shim.parent.mkdir()
        for name, command in (("localops", f"{sys.executable} -m localops"), ("python", sys.executable)):
            (shim.parent / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (shim.parent / name).chmod(0o700)
        self.folder, self.key = tmp_path, real.key
        key = tmp_path / "hub.key"
        key.write_text(real.key)
        key.chmod(0o600)
        self.home = tmp_path / "home"
        self.environment = {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}", "PYTHONPATH": PATH}
        self.environment |= {"KEY": real.key, "LOCALOPS_HOME": str(self.home)}
        self.names = {
            "https://hub.example:8642": real.url,
            "~/hub.key": str(key),
            "/var/lib/localops": str(real.data),
            "/srv/localops": str(real.data),
            "/backup": str(tmp_path / "backup"),
            "/media/stick": str(tmp_path),
            "chown -R localops:": f"chown -R {os.getuid()}",
            "2026-11-28": time.strftime("%Y-%m-%d"),
        }

    def run(self, lines: list[str]) -> str:
        script = "\n".join(lines)
        for name, meaning in self.names.items():
            script = script.replace(name, meaning)
        # A person confirms at the terminal; there is none here.
        script = re.sub(r"^(localops hub delete (?!.*--yes).*)$", r"\1 --yes", script, flags=re.MULTILINE)
        command = ["bash", "-euc", script]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            input=f"{self.key}\n" if "cat >" in script else "y\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub with a key to the project of the pages."""
    with hub(tmp_path, "research") as real:
        yield real


@pytest.fixture
def shell(tmp_path: Path, real: RealHub) -> _Shell:
    """Return a machine on which a session was recorded."""
    _record()
    return _Shell(tmp_path, real)


def _record() -> None:
    session = localops.start_session(name="a run")
    assert session is not None
    session.record(localops.ActionEvent("step", params={"q": "x" * 2_000_000}))
    session.end_session("Success")


def _sent(shell: _Shell) -> bool:
    status = shell.run(["localops status"])
    return " hub " in status and [line.split()[2] for line in status.splitlines() if " hub " in line] == ["0"]


_AGENT = """import sys
import agentops
agentops.init()
agentops.record(agentops.ActionEvent(action_type=sys.argv[1] if sys.argv[1:] else "step"))
agentops.end_session("Success")
"""


@pytest.mark.parametrize("page", ["README", "quickstart", "recipes", "journal"])
def test_the_commands_of_a_page_run(page: str, shell: _Shell, tmp_path: Path) -> None:
    """Each shell block of the main pages runs, over a home with a run in it."""
    for name in ("agent.py", "fetch.py", "think.py", "report.py", "package/module.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(_AGENT if name in ("agent.py", "package/module.py") else "")
    shell.names |= {"/elsewhere": str(tmp_path / "elsewhere"), "exec python agent.py": "localops run agent.py"}
    shell.names |= {"python agent.py": "localops run agent.py", "&& sqlite3 copy.db": "&& sqlite3 copy.db .tables"}
    shell.names["localops demo"] = "localops sessions"  # the demo has an error, which the gate for CI would find
    shell.environment["SLURM_JOB_ID"], shell.environment["SCRATCH"] = "7", str(tmp_path / "scratch")
    missing = [name for name in _OTHERS if shutil.which(name) is None]
    blocks = [[line for line in lines if not re.search(rf"\b({'|'.join(missing)})\b", line)] for lines in _blocks(page)]
    for lines in blocks if missing else _blocks(page):
        if lines:
            shell.run(lines)


def test_the_page_about_the_hub(shell: _Shell, real: RealHub) -> None:
    """From the first key to a restored backup, which holds every row, every file and every key."""
    real.take(batch_of(session_rows(3), journal="c" * 32))
    last = batch_of(session_rows(3), journal="d" * 32)
    real.take(last)
    shell.names["01a1fcf0"] = last.rows[0].session.hex()
    shell.names["3f9a1c02"] = Keys(str(real.data)).find(real.new_key("spare")).handle  # type: ignore[union-attr]
    keys = None
    for lines in _blocks("hub"):
        if lines[0].startswith("localops hub restore"):
            assert _sent(shell)
            keys = [key.sha256 for key in Keys(str(real.data)).all()]
            real.stop()
        shell.run(lines)
    assert keys == [key.sha256 for key in Keys(str(real.data)).all()]
    real.start()
    shell.run(["localops sync --verify"])
    assert len([name for _, _, names in os.walk(real.folder / "blobs") for name in names]) == 1
    assert os.stat(real.folder / "journal.db").st_mode & 0o077 == 0


def test_the_page_about_sync(shell: _Shell, real: RealHub) -> None:
    """The commands to copy send everything; the address and the key can be changed."""
    for lines in _blocks("sync"):
        shell.run([line.replace("https://new.example:8642", real.url) for line in lines])
    assert _sent(shell)


def test_the_page_about_carrying(shell: _Shell, tmp_path: Path) -> None:
    """On three machines: what was carried is on the hub, and known to be, where it came from."""
    text = (TOP / "localops" / "docs" / "carry.md").read_text()
    block, again = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    _, first, relay, back = re.split(r"^# .*\n", block, flags=re.MULTILINE)
    shell.run(first.splitlines())
    shell.environment["LOCALOPS_HOME"] = str(tmp_path / "relay")
    shell.run(relay.splitlines())
    shell.environment["LOCALOPS_HOME"] = str(shell.home)
    shell.run(back.splitlines())
    assert _sent(shell)
    with Reader(os.path.join(config.project_folder(str(tmp_path / "hub"), "research"), "journal.db")) as reader:
        assert {"session", "end"} <= {row.kind for row in reader.stream()}
    make, deliver = again.splitlines()  # a hub that was restored gets every row once more
    shell.run([make])
    shell.environment["LOCALOPS_HOME"] = str(tmp_path / "relay")
    shell.run([deliver])


@pytest.fixture
def recipe(shell: _Shell) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run commands of the page of recipes as CI does, in the home of this test, which has a good run in it."""
    shell.environment["LOCALOPS_HOME"] = os.environ["LOCALOPS_HOME"]

    def run(script: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-ec", script]
        return subprocess.run(
            command, cwd=shell.folder, env=shell.environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def _fail() -> None:
    with contextlib.suppress(TimeoutError), localops.start_session(name="a bad run"):
        raise TimeoutError("no answer")


def _fail_without_an_error() -> None:
    with localops.start_session(name="a bad run") as session, session.operation("look", kind="tool") as look:
        look.fail()


def _die_inside_a_tool() -> None:
    with localops.start_session(name="a bad run") as session:
        code = "import localops, os, signal; localops.init().operation('look', kind='tool').__enter__()"
        child = [sys.executable, "-c", f"{code}; os.kill(os.getpid(), signal.SIGKILL)"]
        environment = os.environ | {"LOCALOPS_SESSION_ID": str(session.session_id)}
        done = subprocess.run(child, env=environment, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL


def _damage() -> None:
    folder = config.project_folder(os.environ["LOCALOPS_HOME"], "damaged")
    script = f"mkdir -p '{folder}' && yes 'no journal' | head -c 8000 > '{folder}/journal.db'"
    subprocess.run(["sh", "-c", script], check=True)


def _reach_a_budget() -> None:
    session = localops.start_session(config=localops.Config(budget_usd=1))
    with contextlib.suppress(localops.BudgetExceeded):
        session.record(localops.LLMEvent(cost=2))
    session.end_session("Success")


@pytest.mark.parametrize(
    ("happens", "is_green"),
    [
        (None, True),
        (_fail, False),
        (_fail_without_an_error, False),
        (_die_inside_a_tool, False),
        (_damage, False),
        (_reach_a_budget, True),
    ],
)
def test_the_gate_is_green_where_every_session_is_known_to_be_good(
    recipe: Callable[[str], subprocess.CompletedProcess[str]], happens: Callable[[], None] | None, is_green: bool
) -> None:
    """A project that cannot be read could hold a failure: it is as bad as one."""
    [gate] = [block for block in _blocks("recipes") if block[0] == "set -e"]
    if happens:
        happens()
    done = recipe("\n".join(gate))
    assert (done.returncode == 0) == is_green, done.stdout + done.stderr
    assert ("a bad run" in done.stdout) == (happens in {_fail, _fail_without_an_error, _die_inside_a_tool})


def test_the_gate_can_ask_for_budgets(recipe: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """With the condition that the page adds, a budget that was reached fails the build."""
    [gate] = [block for block in _blocks("recipes") if block[0] == "set -e"]
    text = (TOP / "localops" / "docs" / "recipes.md").read_text()
    [more] = re.findall(r"`(or exists \(.*?\))`", text, re.DOTALL)
    script = "\n".join(gate).replace("failed > 0", "failed > 0 " + " ".join(more.split()))
    assert recipe(script).returncode == 0
    _reach_a_budget()
    assert recipe(script).returncode == 1


@pytest.mark.skipif(shutil.which("jq") is None, reason="the recipe needs jq")
@pytest.mark.parametrize("fails", [True, False])
def test_the_record_that_ci_keeps_is_that_of_the_failed_run(
    recipe: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path, fails: bool
) -> None:
    """Also where a good run came after it; without a failed one, it has every run."""
    if fails:
        _fail()
        localops.start_session(name="a later run").end_session("Success")
    text = (TOP / "localops" / "docs" / "recipes.md").read_text()
    [script] = re.findall(r"    run: \|\n((?:      .*\n)+)", text)
    done = recipe(re.sub(r"^ {6}", "", script, flags=re.MULTILINE))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run.html").read_text()
    assert [name in page for name in ("a bad run", "a later run", "a run")] == [fails, False, not fails]
