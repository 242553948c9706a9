"""Temporary folders of killed processes are removed by the next process that creates some."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localops import cli
from tests.server.hubs import PATH


@pytest.mark.parametrize("next_one", [("doctor", "--secrets"), ("scrub", "--yes")], ids=["doctor", "scrub"])
def test_what_a_killed_search_left_is_removed(
    next_one: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of an archive was in clear there; the pattern makes sure that the search is under way."""
    home, temporary, archive = tmp_path / "searched", tmp_path / "temporary", tmp_path / "log.gz"
    for folder in (home, temporary):
        folder.mkdir()
    (home / "config.toml").write_text("redact = ['(a+)+$']\n")
    archive.write_bytes(gzip.compress(b"a" * 60 + b"b\n"))
    command = [sys.executable, "-m", "localops", "doctor", "--secrets", "--home", str(home), "--bundle", str(archive)]
    environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while not list(temporary.glob("*/unpacked")) and process.poll() is None:
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    assert len(list(temporary.glob("*/unpacked"))) == 1
    (home / "config.toml").unlink()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(SystemExit) as ended:
        cli.main([*next_one, "--home", str(home)])
    assert (ended.value.code, list(temporary.iterdir())) == (0, [])
