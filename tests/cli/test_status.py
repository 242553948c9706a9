"""`localops status`: the figures of each project, waiting rows, and what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.journal import rows
from localops.journal.spill import Claim, Spill, waiting
from tests import programs


@pytest.fixture(autouse=True)
def _session() -> None:
    session = localops.start_session()
    assert session is not None
    session.end_session("Success")


@pytest.fixture
def three_wait() -> Iterator[None]:
    """Three rows in a spill file that another process keeps to itself."""
    mine, at = Spill(programs.project()), clock.now_ns()
    for _ in range(3):
        assert mine.write(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    claim = Claim(waiting(programs.project())[0])
    yield
    claim.close()


def test_a_project_is_a_line(command: Any) -> None:
    """A project is a line, with exit code 0 and no message."""
    code, out, err = command("status")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].split()[:4] == ["default", "1", "0", "0"]


def test_a_home_without_anything_says_how_to_begin(command: Any, tmp_path: Path) -> None:
    """An empty home is no error."""
    (tmp_path / "empty").mkdir()
    code, out, err = command("status", "--home", str(tmp_path / "empty"))
    assert (code, out) == (0, "")
    assert "localops demo" in err


@pytest.mark.foreign_open  # it makes what is no journal
def test_a_project_that_cannot_be_read_hides_no_other(command: Any, tmp_path: Path) -> None:
    """The others are shown, this one is reported, and the exit code is 1."""
    other = tmp_path / "home" / "other"
    (other / "journal.db").mkdir(parents=True)
    code, out, err = command("status")
    assert code == 1
    assert "default" in out
    assert "cannot be read" in out
    assert "is a folder" in err


@pytest.mark.foreign_open  # it makes what is no journal
@pytest.mark.parametrize("name", ["sessions", "analytics", "show", "query 'select 1'", "tail"])
def test_an_unreadable_project_does_not_hide_the_others(name: str, command: Any, tmp_path: Path) -> None:
    """It is left out with a message on stderr and in --json; the exit code is 1."""
    import json
    import shlex

    (tmp_path / "home" / "other" / "journal.db").mkdir(parents=True)
    code, out, err = command(*shlex.split(name))
    assert (code, bool(out)) == (1, True)
    assert "skipping other: " in err
    code, out, _ = command("sessions", "--json")
    assert (code, json.loads(out)["unreadable"], len(json.loads(out)["sessions"])) == (1, ["other"], 1)


@pytest.mark.parametrize("name", ["status", "sessions", "analytics", "show", "search tool", "query 'select 1'"])
def test_commands_with_figures_report_waiting_rows(name: str, command: Any, three_wait: None) -> None:
    """In a sentence on stderr, and as a number in --json."""
    import json
    import shlex

    code, _, err = command(*shlex.split(name))
    assert (code, "3 rows wait in the spill file" in err) == (0, True)
    code, out, _ = command(*shlex.split(name), "--json")
    assert (code, json.loads(out)["spilled_waiting"]) == (0, 3)


def test_rows_of_a_home_that_was_never_made_are_seen(command: Any, as_json: Any, tmp_path: Path) -> None:
    """Rows that are only in the user's state folder are shown as a waiting project."""
    (tmp_path / "later").write_text("")
    localops.api._reset()
    session = localops.init(home=str(tmp_path / "later"))
    assert session is not None
    session.end_session("Success")
    assert command("status", "--home", str(tmp_path / "later"))[0] == 2
    (tmp_path / "later").unlink()
    (tmp_path / "later").mkdir()
    (project,) = as_json("status", "--home", str(tmp_path / "later"))["projects"]
    assert (project["sessions"], project["spilled_waiting"]) == (1, 0)


def test_an_invalid_setting_is_reported(command: Any, as_json: Any, tmp_path: Path) -> None:
    """A typo in config.toml is a line on stderr, and in --json."""
    (tmp_path / "home" / "config.toml").write_text("durabilty = 'power'\n")
    assert "did you mean 'durability'?" in command("status")[2]
    assert len(as_json("status")["problems"]) == 1


def test_a_remote_is_a_line(command: Any) -> None:
    """The line has the rows that a remote lacks, since when, and its last message."""
    code, out, _ = command("remote", "add", "hub", "http://127.0.0.1:1", "--key", "k")
    assert (code, out) == (0, "")
    assert command("sync")[0] == 5
    code, out, _ = command("status")
    assert code == 0
    assert out.splitlines()[-1].split()[:3] == ["default", "hub", "4"]
    assert "nothing listens at 127.0.0.1:1" in out


def test_a_monitor_can_require_a_remote(command: Any, as_json: Any) -> None:
    """Also of a home without any, where nothing is reported otherwise."""
    code, _, err = command("status")
    assert (code, "has no remote" in err) == (0, False)
    code, _, err = command("status", "--require-remote")
    assert (code, "default has no remote: its rows are not sent anywhere" in err) == (1, True)
    code, out, _ = command("status", "--require-remote", "--json")
    assert (code, json.loads(out)["without_remote"]) == (1, ["default"])
    command("remote", "add", "hub", "http://127.0.0.1:1", "--key", "k", "--project", "research")
    assert command("status", "--require-remote")[0] == 1
    command("remote", "add", "hub", "http://127.0.0.1:1", "--key", "k", "--project", "default")
    assert command("status", "--require-remote")[0] == 0
    assert command("status", "--require-remote", "--project", "default")[0] == 0


def test_a_project_without_a_remote_is_reported_by_each_command(command: Any, as_json: Any) -> None:
    """If the remote is of another project than the recording, each command that shows remotes reports it."""
    _, _, err = command("remote", "add", "hub", "http://127.0.0.1:1", "--key", "k", "--project", "research")
    assert "nothing has been recorded into project research yet" in err
    assert "project default has no remote" in err
    code, _, err = command("status")
    assert (code, "default has no remote" in err, "research has a remote, but nothing" in err) == (0, True, True)
    code, _, err = command("sync")
    assert (code, "project default has no remote" in err) == (0, True)
    assert command("sync", "--quiet")[1:] == ("", "")
    code, out, _ = command("doctor")
    assert (code, "default: it has no remote" in out, "research: it has a remote" in out) == (0, True, True)
    command("remote", "add", "hub", "http://127.0.0.1:1", "--key", "k", "--project", "default")
    assert "has no remote" not in command("status")[2]
