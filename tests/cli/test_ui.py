"""`localops ui`: its output, and the cases in which it does not start."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.server.uis import RealPages


@pytest.fixture(autouse=True)
def _home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()


def test_in_a_pipe_it_prints_the_link_and_nothing_else(tmp_path: Path) -> None:
    """One line, which ends in the token; the pages are behind it, and SIGTERM ends them without an error."""
    with RealPages(tmp_path / "home") as pages:
        assert pages.link.startswith(f"http://127.0.0.1:{pages.port}/#t=")
        assert len(pages.token) == 43
        assert pages.get("/").status == 200
        assert pages.stop() == 0


def test_the_link_as_json(tmp_path: Path) -> None:
    """The link is JSON for a program that starts it."""
    command = [sys.executable, "-m", "localops", "ui", "--port", "0", "--json", "--home", str(tmp_path / "home")]
    with warm.start(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        process.terminate()
    assert document["url"].startswith("http://127.0.0.1:")
    assert document["schema_version"] == 1


def test_it_changes_nothing_in_an_empty_home(tmp_path: Path) -> None:
    """It creates no files there, and the page says what to do."""
    with RealPages(tmp_path / "home") as pages:
        assert "localops demo" in pages.get("/").text
        assert pages.get("/api/1/sessions?project=nosuch").status == 404
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--project", "nosuch"], 1, "no project 'nosuch'"),
        (["--project", "../x"], 2, ""),
        (["--port", "{taken}"], 1, "in use"),
    ],
)
def test_an_error_is_printed_at_once(tmp_path: Path, options: list[str], code: int, message: str) -> None:
    """The error is one line, with the exit code of every command."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        filled = [option.format(taken=other.getsockname()[1]) for option in options]
        command = [sys.executable, "-m", "localops", "ui", "--home", str(tmp_path / "home"), *filled]
        done = warm.run(command, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
