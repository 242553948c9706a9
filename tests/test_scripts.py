"""The shell scripts of the repository: what they install, and when they do not."""

from __future__ import annotations

import os
import subprocess
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
    """An extra counts for those that it holds, and for no other."""
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
