"""`localops doctor`: thanks when all is well, exit code 1 and advice if not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.journal import rows
from localops.journal.spill import Claim, Spill, waiting


@pytest.fixture(autouse=True)
def _session() -> None:
    session = localops.start_session()
    assert session is not None
    session.end_session("Success")


def test_doctor_says_when_nothing_is_wrong(command: Any) -> None:
    """Exit code 0 and one sentence; --deep as well."""
    code, out, err = command("doctor")
    assert (code, err) == (0, "")
    assert "No problems in 1 project" in out
    assert command("doctor", "--deep")[0] == 0


def test_doctor_finds_and_fixes(command: Any, tmp_path: Path) -> None:
    """Waiting rows and open files exit with 1 and advice; --fix fixes both."""
    folder, at = tmp_path / "home" / "default", clock.now_ns()
    Spill(str(folder)).write(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    (folder / "journal.db").chmod(0o644)
    code, out, _ = command("doctor", "--json")
    document = json.loads(out)
    assert (code, document["ok"]) == (1, False)
    assert {finding["fault"] for finding in document["findings"]} == {True}
    code, out, _ = command("doctor", "--fix")
    assert code == 0
    assert "fixed" in out
    assert command("doctor")[0] == 0


def test_commands_for_another_home_are_given_it(command: Any, tmp_path: Path) -> None:
    """What doctor prints about a home that was named must not be run on the usual one."""
    folder, at = tmp_path / "home" / "default", clock.now_ns()
    Spill(str(folder)).write(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    assert "--home" not in command("doctor")[1]
    assert f"--home {tmp_path / 'home'}" in command("doctor", "--home", str(tmp_path / "home"))[1]


def test_an_unknown_project_is_an_error(command: Any) -> None:
    """--project with an unknown name does not report success."""
    assert command("doctor", "--project", "unknown")[0] == 1


def test_fix_reports_what_it_could_not_mend(command: Any, tmp_path: Path) -> None:
    """Only what was mended is reported as mended; the exit code stays 1."""
    folder, at = str(tmp_path / "home" / "default"), clock.now_ns()
    Spill(folder).write(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    claim = Claim(waiting(folder)[0])
    code, out, _ = command("doctor", "--fix")
    claim.close()
    assert (code, "could not be mended: another process" in out, "mended " in out.split(":")[0]) == (1, True, False)


def test_an_empty_home_gets_a_first_step(command: Any, tmp_path: Path) -> None:
    """A home without a project prints how to begin, and exits with 0."""
    (tmp_path / "empty").mkdir(mode=0o700)
    code, out, _ = command("doctor", "--home", str(tmp_path / "empty"))
    assert (code, "localops demo" in out, "Thank you" in out) == (0, True, False)
