"""`localops score --with`: what the command prints about functions that give no score, and about failing ones."""

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


def test_a_function_that_returns_nothing_gives_no_score(path: Path, command: Command) -> None:
    """It neither gives nor withdraws a score, and the next run does not call it again for its sessions."""
    results = ("None", "[]", "{}", "{'x': None}", "[localops.Score('x', None)]", "(None, 'why')")
    functions = (f"def score_{number}(session):\n    return {result}\n" for number, result in enumerate(results))
    path.write_text("import localops\n" + "".join(functions))
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
    assert command("score", "--with", str(path))[2] == "localops: 2 sessions judged, 0 scores given; 2 withdrawn\n"
    assert command("score", "last")[1].count("no longer counts") == 2


def test_a_failure_names_its_line(path: Path, command: Command) -> None:
    """With the session: the last line of the user's file in the traceback, not a line of a library."""
    path.write_text(
        "import json\n\ndef helper():\n    raise RuntimeError('judge broke')\n\n"
        "def score_a(session):\n    return helper()\n\n"
        "def score_b(session):\n    return json.loads('{')\n\n"
        "def score_c(session):\n    return [1]\n"
    )
    id = command("sessions", "-n", "1", "--json")[1].split('"session_id": "')[1][:13]
    code, _, err = command("score", "--with", str(path))
    assert code == 1
    assert f"my_scores.a failed on session {id}: RuntimeError: judge broke ({path}, line 4)\n" in err
    assert ", line 10)\n" in err
    assert f"my_scores.c failed on session {id}: ConfigError: invalid result: " in err
    assert "and 1 more: --json lists all" in err
    path.write_text("\n\n1 / 0\n")
    assert f"ZeroDivisionError: division by zero ({path}, line 3)" in command("score", "--with", str(path))[2]


def test_a_long_category_is_cut_in_tables(command: Command) -> None:
    """Its beginning is enough for a list; JSON has it whole."""
    session = localops.start_session(name="run")
    long = "because " * 30
    session.score("why", long.strip())
    session.end_session("Success")
    for arguments in (["sessions"], ["analytics", "--by", "score"]):
        out = command(*arguments)[1]
        assert "because because because because because…" in out.replace("because …", "because…")
        assert max(map(len, out.splitlines())) < 200
        assert long.strip() in command(*arguments, "--json")[1]


def test_a_failure_has_no_secret(path: Path, command: Command) -> None:
    """A provider's answer may have the key in it, and the output is often that of a CI job."""
    path.write_text("def score_a(session):\n    raise ValueError('rejected: password=hunter2!x')\n")
    for form in ((), ("--json",)):
        _, out, err = command("score", "--with", str(path), *form)
        assert ("hunter2" in out + err, "rejected: password=[redacted:password]" in out + err) == (False, True)
