"""`localops run`: the program runs unchanged, except that `import agentops` is localops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localops.journal.reader import Reader

_TOP = Path(__file__).parent.parent.parent


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(_TOP)}
    command = [sys.executable, "-m", "localops", "run", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60)


def _program(folder: Path, code: str) -> str:
    path = folder / "app.py"
    path.write_text(code, encoding="utf-8")
    return str(path)


def _kinds(home: Path) -> list[str]:
    kinds = []
    for path in home.glob("*/journal.db"):
        with Reader(str(path)) as reader:
            kinds += [row.kind for row in reader.stream()]
    return kinds


def test_a_program_finds_localops_as_agentops(tmp_path: Path) -> None:
    """Events that a program records through agentops are in the home, and it gets its own arguments."""
    code = """
import agentops, sys
agentops.init(api_key="00000000-0000-0000-0000-000000000000")
agentops.record(agentops.ActionEvent(action_type=sys.argv[1]))
agentops.end_session("Success")
print(sys.argv[1:], sys.path[0], __name__)
"""
    script = _program(tmp_path, code)
    done = _run(script, "--home", "is the program's", "-m", cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == f"['--home', \"is the program's\", '-m'] {tmp_path} __main__\n"
    assert _kinds(tmp_path / "home").count("action") == 1


def test_a_module_runs_as_python_runs_it(tmp_path: Path) -> None:
    """`-m` finds modules where Python looks for them, and gives them their arguments."""
    _program(tmp_path, "import sys; print(__name__, sys.argv[1:])")
    assert _run("-m", "app", "-v", cwd=tmp_path).stdout == "__main__ ['-v']\n"


@pytest.mark.parametrize("command", [("python", "app.py"), ("python3", "app.py"), ("pytest", "-q", "app.py")])
def test_a_command_is_found_where_there_is_no_such_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """It is a command of this Python, with its own arguments; a file of that name takes precedence."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer than all the rest
    code = (
        "import agentops, os, sys\ndef test(): pass\n"
        "open('seen', 'w').write(agentops.__name__ + os.path.realpath(sys.executable))\n"
    )
    _program(tmp_path, code)
    done = _run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen").read_text() == f"localops.agentops{os.path.realpath(sys.executable)}"
    (tmp_path / command[0]).write_text("print('the file')")
    assert _run(*command, cwd=tmp_path).stdout == "the file\n"


def test_a_traceback_and_exit_code_are_unchanged(tmp_path: Path) -> None:
    """An error looks exactly as without localops, to the last line."""
    script = _program(tmp_path, "import agentops\nagentops.init()\n1 / 0\n")
    done = _run(script, cwd=tmp_path)
    bare = subprocess.run([sys.executable, _program(tmp_path, "\n\n1 / 0\n")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, bare.stderr)


def test_exit_codes_and_signals_pass_through(tmp_path: Path) -> None:
    """sys.exit and death by a signal reach the parent process."""
    assert _run(_program(tmp_path, "raise SystemExit(7)"), cwd=tmp_path).returncode == 7
    killed = _run(_program(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"), cwd=tmp_path)
    assert killed.returncode == -signal.SIGTERM


def test_subprocesses_of_the_program_find_it_too(tmp_path: Path) -> None:
    """A Python process that the program starts imports the same agentops."""
    code = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import agentops; print(agentops.__name__)"], check=True)
"""
    assert _run(_program(tmp_path, code), cwd=tmp_path).stdout == "localops.agentops\n"


def test_home_and_project_can_be_chosen(tmp_path: Path) -> None:
    """--home and --project before the program choose where it records."""
    script = _program(tmp_path, "import agentops; agentops.init()")
    assert _run("--home", str(tmp_path / "here"), "--project", "nightly", script, cwd=tmp_path).returncode == 0
    assert (tmp_path / "here" / "nightly" / "journal.db").exists()


@pytest.mark.parametrize(
    "wrong", [("--json",), ("--nosuch", "app.py"), ("-X", "dev", "app.py"), ("-m", "--json", "app")]
)
def test_an_option_that_is_not_ours_is_our_usage_error(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    """Before the program stand options of `localops run`; Python is not asked about others."""
    _program(tmp_path, "print('ran')")
    done = _run(*wrong, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: localops run")


def test_what_follows_a_module_is_its_own(tmp_path: Path) -> None:
    """Also options that `localops run` has itself."""
    _program(tmp_path, "import sys; print(sys.argv[1:])")
    assert _run("-m", "app", "--home", "x", "-m", cwd=tmp_path).stdout == "['--home', 'x', '-m']\n"


def test_nothing_to_run_is_reported(tmp_path: Path) -> None:
    """Without a program the usage is shown."""
    done = _run(cwd=tmp_path)
    assert done.returncode == 2
    assert "give a program to run" in done.stderr
