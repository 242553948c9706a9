"""The shell scripts of the repository: what they install, and when they install nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.mark.parametrize(
    ("extra", "there", "installs"),
    [
        ("bench", "dev", True),  # what the tests need is not all that is measured against
        ("bench", "bench", False),
        ("dev", "dev", False),
        ("dev", "bench", False),
        ("dev", "ui", True),
        ("ui", "dev", False),
        ("ui", "bench", False),
        ("run", "ui", True),
        ("run", "nothing", True),
    ],
)
def test_setup_installs_what_is_not_there(tmp_path: Path, extra: str, there: str, installs: bool) -> None:
    """An extra is installed for itself, and for no other."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "setup").write_text((_SCRIPTS / "setup").read_text())
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "scripts" / "go").write_text(f'extra={extra}\n. "$(dirname "$0")/setup"\n')
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$*" >>"$(dirname "$0")/log"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / "made").write_text(f"{tmp_path} python3\n")
    wanted = subprocess.run(
        "sed '/^\\[tool\\.mypy\\]/,$d' pyproject.toml | cksum", shell=True, cwd=tmp_path, capture_output=True
    )
    (tmp_path / ".venv" / f"installed-{there}").write_bytes(wanted.stdout)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    done = subprocess.run(
        ["sh", "scripts/go"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (" install " in (python.parent / "log").read_text()) == installs


def _check_words(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPTS / "measures.py"), "--check", str(tree)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_idioms_are_refused_with_their_place(tmp_path: Path) -> None:
    """The line, the idiom and better words are printed; files outside of the list are not checked."""
    (tmp_path / "localops" / "cli").mkdir(parents=True)
    (tmp_path / "localops" / "cli" / "a.py").write_text('"""Return rows."""\n\nfound = read()\n')
    (tmp_path / "NOTES.md").write_text("A row that is none.\n")
    (tmp_path / "README.md").write_text("A row is None, or it is none.\n")
    done = _check_words(tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    places = [line.split(": ")[:2] for line in done.stdout.splitlines()]
    assert places == [["README.md:1", "'is none'"], ["localops/cli/a.py:3", "'found (as a name)'"]]
    assert "write the name of the thing" in done.stdout


def test_code_without_idioms_passes(tmp_path: Path) -> None:
    """None, comparisons and parts of longer names are not idioms."""
    (tmp_path / "localops" / "cli").mkdir(parents=True)
    (tmp_path / "localops" / "cli" / "a.py").write_text("if row is None and not_found == 1:\n    rows = find()\n")
    done = _check_words(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
