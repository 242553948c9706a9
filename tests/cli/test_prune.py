"""`localops prune`: shows, asks, removes, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import localops
from localops.cli.prune import _report as report
from localops.upkeep import prune


@pytest.fixture(autouse=True)
def _sessions() -> None:
    for state in ("Success", "Failure", "Success"):
        session = localops.start_session(name=state.lower())
        assert session is not None
        for _ in range(50):
            session.record(localops.ActionEvent(params="x" * 200))
        session.end_session(state)
    localops.start_session(name="open")


def test_a_dry_run_only_shows(command: Any, as_json: Any) -> None:
    """Every session and its fate is listed, and all are still there."""
    code, out, _ = command("prune", "--older-than", "0s", "--dry-run")
    assert code == 0
    assert out.count("success") == 2
    assert out.count("would be removed") == 3
    assert "kept: it is running" in out
    assert len(as_json("prune", "--older-than", "0s", "--dry-run")["sessions"]) == 4


def test_sessions_of_a_state_are_removed(as_json: Any) -> None:
    """--state removes these and no others, and the report has the amount."""
    report = as_json("prune", "--state", "Failure", "--yes")
    taken = report["taken"]["default"]
    assert (taken["sessions"], taken["rows"] > 50, report["sessions"][0]["name"]) == (1, True, "failure")
    left = as_json("prune", "--older-than", "0s", "--dry-run")["sessions"]
    assert sorted(session["name"] for session in left) == ["open", "success", "success"]


def test_one_session_is_removed_by_its_id(as_json: Any) -> None:
    """--session removes exactly that one."""
    (first, *_) = [s for s in as_json("prune", "--older-than", "0s", "--dry-run")["sessions"] if s["name"] == "success"]
    assert as_json("prune", "--session", first["session_id"], "--yes")["taken"]["default"]["sessions"] == 1


def test_a_size_removes_the_oldest_first(as_json: Any) -> None:
    """With a limit of 0 all that may be removed is chosen; with a large limit nothing is."""
    assert as_json("prune", "--keep-size", "1GB", "--dry-run")["sessions"] == []
    names = [s["name"] for s in as_json("prune", "--keep-size", "0", "--dry-run")["sessions"]]
    assert names == ["success", "failure", "success", "open"]


def test_confirmation_without_a_terminal_is_refused(command: Any) -> None:
    """Without a terminal it takes nothing unless --yes was given."""
    code, _, err = command("prune", "--older-than", "0s")
    assert code == 2
    assert "--yes" in err


@pytest.mark.parametrize("arguments", [(), ("--keep-size", "much"), ("--older-than", "long ago")])
def test_a_condition_is_required(command: Any, arguments: tuple[str, ...]) -> None:
    """No condition, or an invalid one, is wrong usage."""
    assert command("prune", *arguments)[0] == 2


def test_a_file_that_is_not_compacted_is_reported(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file that is being recorded into does not shrink."""
    assert "cannot shrink" not in command("prune", "--state", "Failure", "--yes")[1]
    monkeypatch.setattr(prune, "_PACKED_ANYWAY", 0)
    assert "cannot shrink" in command("prune", "--state", "Success", "--yes")[1]


def test_a_small_removal_is_not_reported_as_uncompacted(capsys: pytest.CaptureFixture[str]) -> None:
    """A small session may leave no page free: the file was compacted all the same."""
    report("research", prune.Pruned(sessions=1, rows=3))
    assert "cannot shrink" not in capsys.readouterr().out


def test_young_blobs_are_left_for_the_next_prune(capsys: pytest.CaptureFixture[str]) -> None:
    """An unreferenced blob may be too young to be removed."""
    report("research", prune.Pruned(sessions=1, rows=3, young=2))
    assert "2 blobs that no row refers to are less than an hour old" in capsys.readouterr().out


def test_copies_of_a_killed_doctor_are_removed(command: Any, tmp_path: Path) -> None:
    """They would still contain the removed rows."""
    left = tmp_path / "home" / "default" / ".doctor-abc"
    left.mkdir(mode=0o700)
    assert command("prune", "--state", "Success", "--yes")[0] == 0
    assert not left.exists()
