"""`localops doctor`: thanks when all is well, exit code 1 and advice if not."""

from __future__ import annotations

import json
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

import localops
from localops import clock
from localops.journal import participants, rows
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
    Spill(str(folder)).write(rows.make("session", clock.new_id(at), id=clock.new_id(at), at_ns=at))
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
    """Commands that doctor prints about a named home must not run on the default one."""
    folder, at = tmp_path / "home" / "default", clock.now_ns()
    Spill(str(folder)).write(rows.make("session", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    assert "--home" not in command("doctor")[1]
    assert f"--home {tmp_path / 'home'}" in command("doctor", "--home", str(tmp_path / "home"))[1]


def test_what_a_killed_open_left_is_mentioned_and_removed(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what one that runs shows: its home is locked."""
    killed, running = tmp_path / "localops-open-killed", tmp_path / "localops-open-running"
    for home in (killed, running):
        (home / "file").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with participants.alone(str(running)):
        code, out, _ = command("doctor", "--json")
        [finding] = json.loads(out)["findings"]
        assert (code, finding["where"], finding["fault"]) == (0, str(killed), False)
        assert str(killed) in command("doctor", "--fix")[1]
        assert (killed.exists(), running.exists()) == (False, True)


def test_a_broken_pattern_is_explained(command: Any, tmp_path: Path) -> None:
    """Each pattern as it was written: which one, where, what is wrong, what happens meanwhile, and what to do."""
    (tmp_path / "home").mkdir(mode=0o700, exist_ok=True)
    path = tmp_path / "home" / "config.toml"
    path.write_text("redact = ['PINE-\\d+', '(OAK-\\d+', '[']\n")
    code, out, _ = command("doctor", "--json")
    findings = [each for each in json.loads(out)["findings"] if each["where"] == str(path)]
    assert code == 1
    first, second = (f"{each['text']}; {each['cure']}" for each in findings)
    assert "pattern 2 of `redact` is not a valid regular expression and is ignored: '(OAK-\\d+' (missing )" in first
    assert "recorded in clear, 1 other pattern and the built-in rules are in use" in first
    assert "`doctor --secrets` and `scrub` refuse to start" in first
    assert "pattern 3 of" in second
    code, _, err = command("doctor", "--secrets")
    assert (code, "until then, nothing is searched or replaced" in err) == (2, True)


def test_an_unknown_project_is_an_error(command: Any) -> None:
    """--project with an unknown name does not report success."""
    assert command("doctor", "--project", "unknown")[0] == 1


def test_fix_reports_what_it_could_not_mend(command: Any, tmp_path: Path) -> None:
    """Only what was mended is reported as mended; the exit code stays 1."""
    folder, at = str(tmp_path / "home" / "default"), clock.now_ns()
    Spill(folder).write(rows.make("session", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    claim = Claim(waiting(folder)[0])
    code, out, _ = command("doctor", "--fix")
    claim.close()
    assert (code, "could not be fixed: another process" in out, "mended " in out.split(":")[0]) == (1, True, False)


def test_an_empty_home_gets_a_first_step(command: Any, tmp_path: Path) -> None:
    """A home without a project prints how to begin, and exits with 0."""
    (tmp_path / "empty").mkdir(mode=0o700)
    code, out, _ = command("doctor", "--home", str(tmp_path / "empty"))
    assert (code, "localops demo" in out, "Thank you" in out) == (0, True, False)


@pytest.mark.parametrize("options", [(), ("--fix",)])
def test_a_folder_of_something_else_is_left_as_it_is(command: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    """A folder that holds nothing of localops gets no advice to close it to others, and --fix does not do so."""
    shared = tmp_path / "shared"
    (shared / "app" / "blobs").mkdir(parents=True)
    (shared / "other.txt").write_text("of someone else")
    for folder in (shared, shared / "app"):
        folder.chmod(0o755)
    code, out, _ = command("doctor", "--home", str(shared), *options)
    assert (code, "chmod" in out) == (0, False)
    code, out, _ = command("doctor", "--home", str(shared), "--project", "app", *options)
    assert (code, "chmod" in out) == (0, False)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (shared, shared / "app")] == [0o755, 0o755]


def test_a_home_with_a_database_of_another_program_is_left_as_it_is(command: Any, tmp_path: Path) -> None:
    """A file with the name of a journal does not make a folder a home."""
    shared = tmp_path / "shared"
    (shared / "app").mkdir(parents=True)
    with closing(apsw.Connection(str(shared / "app" / "journal.db"))) as connection:
        connection.execute("create table notes (text)")
    shared.chmod(0o755)
    code, out, _ = command("doctor", "--fix", "--home", str(shared))
    assert (code, "another program" in out, "chmod" in out) == (1, True, False)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_a_hub_without_a_project_is_a_home(command: Any, tmp_path: Path) -> None:
    """The keys of a hub are closed to others before anything was sent there."""
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "hub.json").write_text("{}")
    hub.chmod(0o755)
    assert "chmod 700" in command("doctor", "--home", str(hub))[1]
    assert command("doctor", "--fix", "--home", str(hub))[0] == 0
    assert stat.S_IMODE(hub.stat().st_mode) == 0o700
