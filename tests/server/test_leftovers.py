"""Unfinished files of killed processes do not stay in a data folder, and an empty folder is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localops.server.keys import Keys
from localops.server.policy import Policy
from tests.server.hubs import hub
from tests.server.test_metrics import get, watched


def test_a_start_removes_old_ones(tmp_path: Path) -> None:
    """A younger one may be written at this moment, and other files are of no concern."""
    with hub(tmp_path) as running:
        running.stop()
        old = [running.data / f"{name}.json.4194305" for name in ("hub", "projects", "usage")]
        kept = [running.data / name for name in ("hub.json.bak", "other.json.12")]
        for path in (*old, *kept):
            path.write_text("")
            os.utime(path, (time.time() - 3_600,) * 2)
        young = running.data / "hub.json.4194306"
        young.write_text("")
        running.start()
        assert [path.exists() for path in (*old, *kept, young)] == [False] * 3 + [True] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the size of files")
def test_a_failed_write_leaves_none(tmp_path: Path) -> None:
    """Neither keys nor rules: the error is reported, and the folder is as before."""
    Keys(str(tmp_path)).create("p")
    Policy(str(tmp_path)).change("p", rows=5)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.json*")}
    program = """
import resource, signal, sys
from localops.server.keys import Keys
from localops.server.policy import Policy
keys, rules = Keys(sys.argv[1]), Policy(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
failed = 0
for work in (lambda: keys.create("q"), lambda: rules.change("p", rows=6)):
    try:
        work()
    except Exception as error:
        failed += 1
sys.exit(failed)
"""
    done = subprocess.run([sys.executable, "-B", "-c", program, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == 2
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.json*")} == before


def test_a_hub_without_keys_has_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An empty data folder is that of a disk which is not mounted; both addresses say so."""
    with hub(tmp_path, "default", "--metrics", "0", fresh=0) as running:
        about = watched(capfd)
        assert "warnings" not in running.ask("GET", "/health", key="")[1]
        (running.data / "hub.json").write_text(json.dumps({"hub": running.id, "keys": []}))
        expected = "the hub has no keys: is the disk of its data folder mounted?"
        assert running.ask("GET", "/health", key="")[1]["warnings"] == [expected]
        assert expected in get(f"{about}/health")[2]
