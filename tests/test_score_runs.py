"""`localops score --with`: code judges recorded sessions, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.config import Config
from localops.errors import ConfigError
from localops.reading import given_scores
from localops.reading.home import Filters, Home
from localops.upkeep import score_functions, score_runs
from tests import programs

_FUNCTIONS = """
import localops

def score_steps(session):
    return len(session.events)

def score_good(session):
    return session.state == "Success", f"it is {session.name}"

def score_parts(session):
    return {"cheap": session.cost < 1, "kind": ("fine", "why not")}

def score_tools(session):
    return [localops.Score("useful", True, event=call["id"]) for call in session.tool_calls]

def score_nothing(session):
    return None

def helper(session):
    raise RuntimeError
"""


def _record(many: int, **options: Any) -> list[localops.Session]:
    made = []
    for number in range(many):
        session = localops.start_session(name=f"run {number}", **options)
        session.record(localops.ToolEvent(name="search"))
        session.end_session("Success" if number % 2 == 0 else "Failure")
        made.append(session)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    """Write a file of functions, and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "my_scores.py"
        path.write_text(text)
        return str(path)

    return write


def _judge(path: str, *, processes: int = 2, **filters: Any) -> score_runs.Judged:
    return score_runs.judge(path, Config(), Filters(**filters), processes=processes)


def _given() -> dict[str | None, list[tuple[Any, ...]]]:
    """Return the scores that count, by the name of their session; those of an event with its kind."""
    by_name: dict[str | None, list[tuple[Any, ...]]] = {}
    with Home() as home:
        for one in home.sessions():
            scores = given_scores.of_session(one.project.reader, one.session)
            by_name[one.name] = sorted(
                (each.name, each.value, each.author, bool(each.target)) for each in scores if each.counts
            )
    return by_name


def test_each_function_judges_each_session(file: Callable[[str], str]) -> None:
    """By what it returns: a value, one with a comment, several by name, those of events, or none."""
    _record(3)
    done = _judge(file(_FUNCTIONS))
    assert (done.sessions, done.scores, done.unchanged, done.failures) == (3, 15, 0, [])
    assert [name for name, *_ in done.functions] == ["good", "nothing", "parts", "steps", "tools"]
    given = _given()
    assert set(given) == {"run 0", "run 1", "run 2"}
    assert given["run 1"] == [
        ("cheap", True, "my_scores.parts", False),
        ("good", False, "my_scores.good", False),
        ("kind", "fine", "my_scores.parts", False),
        ("steps", 1, "my_scores.steps", False),
        ("useful", True, "my_scores.tools", True),
    ]
    with Home() as home:
        [comment] = [
            each.body["comment"]
            for one in home.sessions()
            for each in given_scores.of_session(one.project.reader, one.session)
            if one.name == "run 1" and each.name == "good"
        ]
    assert comment == "it is run 1"


@pytest.mark.parametrize(
    ("costs", "given"),
    [
        ([], ("0.0", False)),
        ([0.25], ("0.25", False)),
        ([None], ("None", True)),
        ([0.25, None], ("0.25", True)),
        ([0.0], ("0.0", False)),
    ],
)
def test_a_run_without_prices_is_not_free(
    costs: list[float | None], given: tuple[str, bool], file: Callable[[str], str]
) -> None:
    """A function sees None where nothing has a price, and whether a cost is a lower bound."""
    session = localops.start_session(name="run")
    for cost in costs:
        session.record(localops.LLMEvent(model="mystery", prompt_tokens=10, completion_tokens=1, cost=cost))
    session.end_session("Success")
    text = "def score_all(session):\n    return {'cost': repr(session.cost), 'least': session.cost_at_least}\n"
    assert _judge(file(text)).failures == []
    assert [value for _, value, *_ in _given()["run"]] == [*given]


def test_a_call_that_never_ended_makes_the_cost_a_lower_bound(file: Callable[[str], str]) -> None:
    """It may have cost something."""
    programs.run(
        "import localops, os\n"
        "session = localops.start_session(name='killed')\n"
        "with session.operation('chat', kind='llm', model='gpt-4o', prompt='why?'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    text = "def score_all(session):\n    return {'cost': repr(session.cost), 'least': session.cost_at_least}\n"
    _judge(file(text))
    assert [value for _, value, *_ in _given()["killed"]] == ["0.0", True]


def test_a_second_run_does_nothing(file: Callable[[str], str]) -> None:
    """Until the file changes, or a session has more rows; then what is new counts, and the same is there."""
    sessions = _record(3)
    path = file(_FUNCTIONS)
    _judge(path)
    before = _given()
    with programs.reader() as reader:
        rows = reader.ask("select count(*) from event")
    again = _judge(path)
    assert (again.sessions, again.scores, again.unchanged) == (0, 0, 3)
    with programs.reader() as reader:
        assert reader.ask("select count(*) from event") == rows
    assert _given() == before
    sessions[1].record(localops.ToolEvent(name="late"))
    assert _judge(path).sessions == 1
    assert ("steps", 2, "my_scores.steps", False) in _given()["run 1"]
    changed = _judge(file(_FUNCTIONS + "\n"))
    assert (changed.sessions, changed.unchanged) == (3, 0)
    assert _given()["run 0"] == before["run 0"]


def test_a_version_that_is_named_outlives_changes_of_the_file(file: Callable[[str], str]) -> None:
    """And a score that a new version does not give is taken back."""
    _record(1)
    _judge(file("VERSION = '1'\ndef score_a(session):\n    return {'x': 1, 'y': 2}\n"))
    assert _judge(file("VERSION = '1'\ndef score_a(session):\n    return {'x': 5}\n")).sessions == 0
    assert _judge(file("VERSION = '2'\ndef score_a(session):\n    return {'x': 5}\n")).sessions == 1
    assert [each[:2] for each in _given()["run 0"]] == [("x", 5)]
    done = _judge(file("VERSION = '3'\ndef score_a(session):\n    return None\n"))
    assert (done.sessions, done.scores, done.withdrawn) == (1, 0, 1)
    assert _given()["run 0"] == []
    assert _judge(file("VERSION = '3'\ndef score_a(session):\n    return None\n")).sessions == 0


def test_what_one_function_or_session_breaks_is_its_own(file: Callable[[str], str]) -> None:
    """An exception, a result that is no score, output, input, and the end of the process; the next run tries again."""
    _record(7)
    text = (
        "import os, sys\n"
        "def score_steps(session):\n    print('noise', flush=True)\n    sys.stdin.read()\n"
        "    if session.name == 'run 1':\n        raise ValueError('no')\n"
        "    if session.name == 'run 2':\n        os._exit(3)\n"
        "    if session.name == 'run 3':\n        return float('nan')\n"
        "    if session.name == 'run 4':\n        return object()\n"
        "    if session.name == 'run 5':\n        return [1]\n"
        "    return 1\n"
        "def score_other(session):\n    return 2\n"
    )
    done = _judge(file(text))
    reasons = {one.author: 0 for one in done.failures}
    for one in done.failures:
        reasons[one.author] += 1
    assert reasons == {"my_scores.steps": 5, "my_scores.other": 1}
    assert any("exit code 3" in one.reason for one in done.failures)
    assert any("ValueError: no" in one.reason for one in done.failures)
    assert {name: [each[0] for each in given] for name, given in _given().items()} == {
        "run 0": ["other", "steps"],
        "run 1": ["other"],
        "run 2": [],
        "run 3": ["other"],
        "run 4": ["other"],
        "run 5": ["other"],
        "run 6": ["other", "steps"],
    }
    again = _judge(file(text.replace("raise ValueError('no')", "return 9")))
    assert len(again.failures) == 5


def test_a_running_session_waits(file: Callable[[str], str]) -> None:
    """It is judged once it has ended."""
    session = localops.start_session(name="goes on")
    path = file("def score_a(session):\n    return 1\n")
    assert (_judge(path).sessions, _judge(path).running) == (0, 1)
    session.end_session()
    assert _judge(path).sessions == 1


def test_filters_choose_the_sessions(file: Callable[[str], str]) -> None:
    """By tag, state and time."""
    _record(2, tags=["old"])
    _record(2, tags=["new"])
    path = file("def score_a(session):\n    return 1\n")
    assert _judge(path, tag="new", state="Success").sessions == 1
    assert _judge(path, tag="new").unchanged == 1
    assert _judge(path).unchanged == 2


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("x = 1\n", "score_"),
        ("def score_(session):\n    return 1\n", "score_"),
        ("raise ValueError('broken')\n", "broken"),
        ("def score_a(:\n", "SyntaxError"),
        ("import sys\nsys.exit(4)\n", "exit code 4"),
        ("VERSION = 'x' * 500\ndef score_a(session):\n    return 1\n", "version"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text: str, about: str, file: Callable[[str], str]) -> None:
    """With what is wrong, and nothing is written."""
    _record(1)
    with pytest.raises(ConfigError, match=about):
        _judge(file(text))
    assert _given() == {"run 0": []}
    with pytest.raises(ConfigError, match="cannot read"):
        score_functions.load("/nowhere/at/all.py")


def test_a_run_that_is_killed_continues(tmp_path: Path) -> None:
    """Each session is judged in the end, and none twice in the same version."""
    _record(120)
    path = tmp_path / "slow.py"
    path.write_text("import time\ndef score_a(session):\n    time.sleep(0.01)\n    return 1\n")
    code = "from localops.cli import main\nimport sys\nmain(['score', '--with', sys.argv[1], '--processes', '2'])"
    program = programs.start(code, path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(_given().values()):
        time.sleep(0.02)
        if program.poll() is not None:
            break
    if program.poll() is None:
        program.send_signal(signal.SIGINT)
    program.communicate(timeout=60)
    done = _judge(str(path))
    assert done.sessions + done.unchanged == 120
    with programs.reader() as reader:
        assert reader.ask("select count(*), count(distinct session) from event where kind = 'scored'") == [(120, 120)]


def test_of_two_runs_at_once_the_second_finds_the_scores_of_the_first(file: Callable[[str], str]) -> None:
    """It says that it waits; a run with other functions does not wait."""
    _record(3)
    path = file(
        "import os, sys, time\ndef score_a(session):\n"
        "    print('judging', file=sys.stderr, flush=True)\n"
        "    while not os.path.exists(__file__ + '.go'): time.sleep(0.01)\n    return 1\n"
    )
    other = path.replace("my_scores", "other")
    Path(other).write_text("def score_b(session):\n    return 1\n")
    code = "from localops.cli import main\nimport sys\nmain(['score', '--with', sys.argv[1], '--processes', '1'])"
    first = programs.start(code, path)
    assert first.stderr is not None
    assert first.stderr.readline() == "judging\n"
    second = programs.start(code, path)
    assert second.stderr is not None
    assert "waiting for its end" in second.stderr.readline()
    assert _judge(other, processes=1).scores == 3
    Path(path + ".go").touch()
    printed = [program.communicate(timeout=60)[1] for program in (first, second)]
    assert ["3 scores given" in printed[0], "3 judged before" in printed[1]] == [True, True]


def test_the_command_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As words, and as JSON; it fails where a function did."""
    from localops import cli

    _record(2)
    path = tmp_path / "my_scores.py"
    path.write_text("def score_a(session):\n    return 1 / (session.name == 'run 0')\n")

    def run(*options: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["score", "--with", str(path), *options])
        return ended.value.code, *capsys.readouterr()

    code, out, err = run("--json")
    facts = json.loads(out)
    assert (code, facts["sessions"], facts["scores"]) == (1, 1, 1)
    assert "ZeroDivisionError" in facts["failures"][0]["reason"]
    assert "1 judgement failed" in err
    code, _, err = run("--state", "Success")
    assert code == 0
    assert "1 judged before" in err
    assert run("last")[0] == run("--by", "ann")[0] == 2
    assert os.path.exists(path)
