"""Two hubs on one data folder: the second waits for the first to end, and gives up if it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import warm
from tests.server.hubs import PATH, RealHub, batch_of, hub, session_rows

_SECOND = """
import sys
from localops.cli import main
from localops.server import presence
presence._PATIENCE = float(sys.argv[1])
main(sys.argv[2:])
"""


def _second(running: RealHub, patience: float, *options: str) -> subprocess.Popen[str]:
    serve = ["hub", "serve", "--data", str(running.data), "--port", "0", *options]
    return warm.start(
        [sys.executable, "-c", _SECOND, str(patience), *serve],
        env={**os.environ, "PYTHONPATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_second_hub_on_a_folder_is_refused(tmp_path: Path) -> None:
    """It prints the reason, and the first one continues."""
    with hub(tmp_path) as running:
        second = _second(running, 0.2, "--log-format", "json")
        printed, lines = second.communicate(timeout=60)
        assert printed == ""
        # Its unit starts it again, unlike after wrong usage, which is 2.
        assert second.returncode == 1
        last = json.loads(lines.splitlines()[-1])
        assert (last["level"], last["event"]) == ("error", "error")
        assert f"another hub serves {running.data}, or it is being restored: wait" in last["message"]
        assert running.take(batch_of(session_rows(1)))[0] == 200


def test_a_hub_takes_over_from_one_that_stops_or_dies(tmp_path: Path) -> None:
    """A supervisor may start the next one before the last one has ended; a killed one leaves no lock."""
    with hub(tmp_path) as running:
        for end in (running.stop, running.kill):
            process = _second(running, 120)
            assert process.stderr is not None
            assert process.stdout is not None
            assert "waiting up to 120 s" in process.stderr.readline()
            end()
            assert " listens at " in process.stdout.readline()
            process.terminate()
            process.communicate(timeout=60)
            assert process.returncode == 0
            running.start()


def test_commands_work_beside_a_hub(tmp_path: Path) -> None:
    """Only serving needs the lock."""
    with hub(tmp_path) as running:
        command = [sys.executable, "-m", "localops", "hub", "check", "--data", str(running.data), "--json"]
        done = warm.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": PATH})
        assert json.loads(done.stdout)["ok"]
