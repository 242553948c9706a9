"""Two copies of a session were continued, and their rows are in one journal: its steps may have run twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import programs, warm

_PAYING = """
import os, sys, localops
from localops.decorators import tool

@tool(once=True)
def pay(order):
    return order

def die(): os.kill(os.getpid(), 9)

session = localops.resume("last") if sys.argv[1] == "resume" else localops.init()
pay("a")
"""
_BEGUN = _PAYING + "die()"
_RESUMED = _PAYING + "pay('b'); session.end_session('Success')"
# It goes on when it is asked to.
_LIVING = _PAYING + "print('paid', flush=True); sys.stdin.readline(); pay('b'); "


def _in(home: Path, **more: Any) -> dict[str, Any]:
    return {"env": {"LOCALOPS_HOME": str(home)}, **more}


def _carry(source: Path, target: Path) -> None:
    file = source.parent / "carried.lops"
    for command in (("bundle", "-o", file, "--force", "--home", source), ("import", file, "--home", target)):
        carried = warm.localops(*map(str, command))
        assert carried.returncode == 0, carried.stderr


def _refusals(home: Path) -> list[bool]:
    """Return whether `steps`, `show`, `doctor` and a resume speak of two histories."""
    commands = [("steps", "last"), ("show", "last"), ("doctor",)]
    printed = [warm.localops(*command, "--home", str(home)).stdout for command in commands]
    printed.append(programs.run(_RESUMED, "resume", **_in(home)).stderr)
    return ["it has two histories (process " in text for text in printed]


@pytest.mark.foreign_open  # it copies a home
def test_two_resumed_copies_are_two_histories(tmp_path: Path) -> None:
    """Each of them can be resumed; a journal with the rows of both cannot."""
    one, two = tmp_path / "home", tmp_path / "two"
    programs.run(_BEGUN, "first", **_in(one))
    shutil.copytree(one, two)
    for home in (one, two):
        programs.run(_RESUMED, "resume", **_in(home))
        assert _refusals(home) == [False] * 4
    _carry(two, one)
    assert _refusals(one) == [True] * 4
    Path(one, "hub.json").write_text("{}")
    assert "it has two histories (process " in warm.localops("doctor", "--home", str(one)).stdout


@pytest.mark.parametrize("end", ["session.end_session('Success')", "die()"])
def test_a_run_that_goes_on_beside_its_resumed_copy_is_a_second_history(tmp_path: Path, end: str) -> None:
    """It was presumed dead, as the copy has neither its later steps nor the row with which it left."""
    one, two = tmp_path / "home", tmp_path / "two"
    living = programs.start(_LIVING + end, "first", **_in(one))
    programs.first_line(living)
    _carry(one, two)
    assert programs.run(_RESUMED, "resume", **_in(two)).returncode == 0
    living.communicate("\n", timeout=60)
    assert _refusals(two) == [False] * 4
    _carry(one, two)
    assert _refusals(two) == [True] * 4


@pytest.mark.foreign_open  # it copies a home
@pytest.mark.parametrize("order", [("two", "home"), ("home", "two")])
def test_a_resume_without_a_step_of_its_own_is_no_history(tmp_path: Path, order: tuple[str, str]) -> None:
    """Only one of the resumed copies ran a step, so nothing ran twice."""
    programs.run(_BEGUN, "first", **_in(tmp_path / "home"))
    programs.run(_PAYING + "pay('c'); session.end_session('Failure')", "resume", **_in(tmp_path / "home"))
    shutil.copytree(tmp_path / "home", tmp_path / "two")
    for name in order:
        programs.run(_RESUMED if name == "home" else _BEGUN, "resume", **_in(tmp_path / name))
    _carry(tmp_path / "two", tmp_path / "home")
    assert _refusals(tmp_path / "home") == [False] * 4
