"""Installed packages: one that lost some files reports it, and one packed by PyInstaller has what it needs."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import localops

_TOP = Path(localops.__file__).parent
_PROGRAM = """
import localops
session = localops.init()
session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=100))
print(localops.__file__, session.get_analytics())
session.end_session("Success")
"""


def _installed(tmp_path: Path, *patterns: str) -> Path:
    """Return a copy of the package with its code and only these of its data files."""
    kept = {path for pattern in ("**/*.py", *patterns) for path in _TOP.glob(pattern) if path.is_file()}
    for path in kept:
        target = tmp_path / "lib" / "localops" / path.relative_to(_TOP)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "lib"


def _run(library: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=library.parent,
        env={**os.environ, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_packed_program_has_what_it_needs(tmp_path: Path) -> None:
    """The data files that the hook names are enough to record and to price."""
    packed = importlib.import_module("localops.__pyinstaller")
    done = _run(_installed(tmp_path, *packed.RECORDING))
    assert (done.returncode, done.stderr) == (0, "")
    assert str(tmp_path) in done.stdout
    assert "'LLM calls': 1" in done.stdout
    assert "'Cost': '0.003500'" in done.stdout


def test_the_hooks_are_found_and_take_along_every_file() -> None:
    """The entry point leads to the folder of the hooks; together they name every data file of the package."""
    project = tomllib.loads((_TOP.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["entry-points"]["pyinstaller40"]["hook-dirs"].partition(":")
    packed = importlib.import_module(module)
    (folder,) = getattr(packed, function)()
    assert {"hook-localops.py", "hook-localops.cli.py"} <= set(os.listdir(folder))
    named = {path for pattern in (*packed.RECORDING, *packed.COMMANDS) for path in _TOP.glob(pattern) if path.is_file()}
    data = {path for path in _TOP.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc", ".typed")}
    assert data - named == set()


def test_without_the_price_table_a_call_is_unpriced(tmp_path: Path) -> None:
    """The call is recorded without a price, and one warning reports that the table is missing."""
    done = _run(_installed(tmp_path, "journal/sql/*.sql"))
    assert done.returncode == 0
    assert "'LLM calls': 1" in done.stdout
    assert done.stderr.count("localops is not installed completely") == 1
    assert "prices.json cannot be read (No such file or directory)" in done.stderr
    assert "are unpriced" in done.stderr


def test_a_broken_price_table_counts_as_missing(tmp_path: Path) -> None:
    """Half a file is reported like a missing one."""
    library = _installed(tmp_path, "journal/sql/*.sql")
    (library / "localops" / "encoding" / "prices.json").write_text('{"version": "1", "prov')
    done = _run(library)
    assert "'LLM calls': 1" in done.stdout
    assert done.stderr.count("localops is not installed completely") == 1


def test_without_its_sql_a_program_runs_and_gets_the_reason(tmp_path: Path) -> None:
    """Rows go to the spill file, and the error names the missing file and the cure."""
    library = _installed(tmp_path, "encoding/prices.json")
    done = _run(library)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert f"{library}/localops/journal/sql/schema.sql cannot be read" in done.stderr
    assert "--collect-data localops" in done.stderr
    assert list((tmp_path / "home" / "default" / "spill").glob("*.ndjson"))


def test_windows_gets_a_sentence(tmp_path: Path) -> None:
    """There the package stops at its import, with what to do, before anything asks for POSIX locks."""
    program = (
        "import sys; sys.platform = 'win32'\nfor name in ('localops', 'localops.cli'):\n    try: __import__(name)\n"
    )
    program += "    except ImportError as error: print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", program], cwd=_TOP.parent, capture_output=True, text=True, check=True)
    line = "ImportError localops runs on Linux and macOS; on Windows, install and run it inside WSL"
    assert done.stdout.splitlines() == [line, line]
