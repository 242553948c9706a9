"""Commands that run without a parser print the same as with one, in every case."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from localops.cli.plain import PRINTED_BY
from tests import programs, warm

_PLAIN = "import sys\nfrom localops.cli import main\n"
_PARSED = f"{_PLAIN}from localops.cli import plain\nplain.PRINTED_BY.clear()\n"
# The second runs a moment later.
_AGE = re.compile(r"just now|\d+ \w+ ago")
_RUN = "main(sys.argv[1:])"
_NOTED = "import atexit, os; atexit.register(lambda: 'click' in sys.modules and os.mkdir(os.environ['CLICK']))\n"


def _record(name: str = "näme of a run") -> str:
    """Record a session that has something of everything, and return its id."""
    session = localops.start_session(name=name, tags=["a", "b"])
    assert session is not None
    call = LLMEvent(prompt="hi", completion="日本", model="gpt-4o", prompt_tokens=10, completion_tokens=5)
    session.record(call)
    session.record(ToolEvent(name="search \x1b[31m", params={"q": 1}))
    session.record(ActionEvent(action_type="step", returns=None))
    session.record(ErrorEvent(trigger_event=call, exception=ValueError("no")))
    session.end_session("Success")
    return str(session.session_id)


def _both(*arguments: str, first: str = _PLAIN, **options: Any) -> tuple[int, str, str]:
    """Run a command without and with a parser, and return what both of them do."""
    ran = programs.run(first + _RUN, *arguments, **options)
    # A copy of a program that has the parser: to load it takes longer than the command.
    parsed = programs.run(_PARSED + _RUN, *arguments, holder=warm.ours(), **options)
    outputs = [_AGE.sub("…", done.stdout or "") for done in (ran, parsed)]
    assert (ran.returncode, outputs[0], ran.stderr) == (parsed.returncode, outputs[1], parsed.stderr)
    return ran.returncode, outputs[0], ran.stderr


def _noted(*arguments: str) -> tuple[bool, str]:
    """Do the same as `_both`, and return whether the command without a parser loads click, and what both print."""
    note = Path(f"{os.environ['LOCALOPS_HOME']}-click")
    _, out, _ = _both(*arguments, first=_PLAIN + _NOTED, env={"CLICK": str(note)})
    return note.exists(), out


@pytest.mark.parametrize("name", PRINTED_BY)
def test_the_newest_session_is_shown_without_a_parser(name: str) -> None:
    """By `last`, its id, or the beginning of it in capitals; the output is identical, and click is not loaded."""
    id = _record()
    code, out, _ = _both(name, id)
    assert code == 0
    assert "näme of a run" in out
    assert "\x1b" not in out
    assert _both(name, id[:13].upper()) == (0, out, "")
    assert _noted(name, "last") == (False, out)


def _break(home: str) -> None:
    (Path(home) / "broken").mkdir()
    with (Path(home) / "broken" / "journal.db").open("xb") as file:
        file.write(b"no journal at all" * 100)


def _spoil(home: str) -> None:
    _break(home)
    (Path(home) / "broken" / "journal.db").replace(Path(home) / "default" / "journal.db")


@pytest.mark.parametrize("name", PRINTED_BY)
@pytest.mark.parametrize(
    ("arguments", "change", "code"),
    [
        (["ffffffff"], None, 1),
        (["0"], None, 1),
        (["nothing-like-it"], None, 1),
        (["last"], _break, 1),
        (["last"], _spoil, 1),
    ],
    ids=["unknown", "short", "word", "beside", "unreadable"],
)
def test_errors_have_the_same_words(
    name: str, arguments: list[str], change: Callable[[str], None] | None, code: int
) -> None:
    """An id that is not there, and a project that cannot be read."""
    _record()
    localops.api._reset()
    if change is not None:
        change(os.environ["LOCALOPS_HOME"])
    ended, _, err = _both(name, *arguments)
    assert ended == code
    assert err.startswith("localops: ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["analytics"],
        ["analytics", "--help"],
        ["analytics", ""],
        ["analytics", "-1"],
        ["analytics", "last", "last"],
        ["analytics", "last", "--json"],
        ["analytics", "ü"],
        ["analytic", "last"],
        ["show"],
        ["show", "--", "last"],
    ],
)
def test_everything_else_is_for_the_parser(arguments: list[str]) -> None:
    """Help, options, errors and words that are not ids."""
    _record()
    assert _noted(*arguments)[0]


def test_a_home_without_sessions_is_empty_in_the_same_words(tmp_path: Path) -> None:
    """An empty home, and one that was named and is not there."""
    (tmp_path / "empty").mkdir()
    assert _both("analytics", "last", env={"LOCALOPS_HOME": str(tmp_path / "empty")})[0] == 1
    code, _, err = _both("analytics", "last", env={"LOCALOPS_HOME": str(tmp_path / "nowhere")})
    assert code == 2
    assert "does not exist" in err


@pytest.mark.parametrize("name", PRINTED_BY)
def test_a_locale_without_utf_8_is_treated_alike(name: str) -> None:
    """Each page is written in UTF-8 all the same."""
    _record()
    c_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "näme" in _both(name, "last", env=c_locale, encoding="utf-8", fresh=True)[1]


def test_a_stdout_that_takes_nothing_is_treated_alike() -> None:
    """A pipe that is closed, and no stdout at all."""
    _record()
    assert _both("analytics", "last", preexec_fn=lambda: os.close(1), fresh=True) == (0, "", "")
    results = []
    for code in (_PLAIN, _PARSED):
        read, write = os.pipe()
        os.close(read)
        environment = {**os.environ, "PYTHONPATH": programs._PATH}
        command = [sys.executable, "-c", code + _RUN, "show", "last"]
        done = subprocess.run(command, env=environment, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
        os.close(write)
        results.append((done.returncode, done.stderr))
    assert results == [(0, "")] * 2


def test_completion_is_for_the_parser() -> None:
    """A shell that asks what could follow gets an answer."""
    asks = {"_LOCALOPS_COMPLETE": "bash_complete", "COMP_WORDS": "localops analytics last --p", "COMP_CWORD": "3"}
    _record()
    assert "--percentiles" in _both("analytics", "last", env=asks)[1]


def test_a_command_begins_without_what_an_earlier_one_lacked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one process, as a program may run several: an unreadable project of one home is not missing in another."""
    from localops import cli

    _record()
    home = Path(os.environ["LOCALOPS_HOME"])
    _break(str(home))
    codes = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            cli.main(["analytics", "last"])
        codes.append(ended.value.code)
        (home / "broken" / "journal.db").unlink(missing_ok=True)
    assert codes == [1, 0]
    assert "skipping broken" in capsys.readouterr().err
