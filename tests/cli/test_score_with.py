"""`localops score --with`: what the command says of functions that give no score, and of those that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import localops

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file for functions, and two sessions that they can judge."""
    for _ in range(2):
        localops.start_session(name="run").end_session("Success")
    return tmp_path / "my_scores.py"


@pytest.mark.parametrize("result", ["None", "[]", "{}", "{'x': None}", "[localops.Score('x', None)]", "(None, 'why')"])
def test_nothing_is_no_score(result: str, path: Path, command: Command) -> None:
    """A function that gives nothing gave no score and took none back, and the next run leaves its sessions alone."""
    path.write_text(f"import localops\ndef score_nothing(session):\n    return {result}\n")
    code, _, err = command("score", "--with", str(path))
    assert (code, err) == (0, "localops: 2 sessions judged, 0 scores given\n")
    _, out, err = command("score", "last")
    assert (out, "has no scores and no notes" in err) == ("", True)
    assert "2 judged before" in command("score", "--with", str(path))[2]


def test_a_score_that_is_not_given_again_is_taken_back(path: Path, command: Command) -> None:
    """The command counts it apart from those that were given."""
    path.write_text("def score_good(session):\n    return True\n")
    assert command("score", "--with", str(path))[2] == "localops: 2 sessions judged, 2 scores given\n"
    path.write_text("def score_good(session):\n    return None\n")
    assert command("score", "--with", str(path))[2] == "localops: 2 sessions judged, 0 scores given; 2 taken back\n"
    assert command("score", "last")[1].count("no longer counts") == 2
