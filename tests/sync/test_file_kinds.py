"""`localops import` of a file for another command, or for itself with another option, names that command."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests import recorded_runs, warm
from tests.sync.test_opened_file import KINDS, _write

_OPEN = "which cannot be imported: `localops open {file}` shows it; to import its runs, export them as jsonl"
_OTLP = "has spans as OTLP JSON: run `localops import --otlp {file}`"
_NO_OTLP = "not OTLP JSON: run `localops import {file}`"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file of each kind."""
    folder = tmp_path_factory.mktemp("some files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALOPS_HOME", str(folder / "home"))
        recorded_runs.record_all()
        with recorded_runs.opened() as runs:
            for kind in KINDS:
                _write(kind, folder / kind, runs[:2])
    return folder


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("otlp", [], _OTLP),
        ("sqlite", [], _OPEN),
        ("journal", [], _OPEN),
        ("bundle", ["--otlp"], _NO_OTLP),
        ("jsonl", ["--otlp"], _NO_OTLP),
        ("sqlite", ["--otlp"], _OPEN),
        ("bundle", [], None),
        ("jsonl", [], None),
        ("otlp", ["--otlp"], None),
    ],
)
def test_the_message_names_the_command(
    files: Path, kind: str, options: list[str], expected: str | None, tmp_path: Path
) -> None:
    """Files that are given to the right command are imported."""
    path = files / kind
    done = warm.localops("import", *options, str(path), "--home", str(tmp_path / "other"))
    if expected is None:
        assert (done.returncode, "rows are new" in done.stdout) == (0, True), done.stderr
    else:
        assert done.returncode == 2
        assert expected.format(file=shlex.quote(str(path))) in done.stderr
        assert not (tmp_path / "other").exists()


def test_json_of_others_is_no_export(tmp_path: Path) -> None:
    """The message says what can be imported."""
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')
    done = warm.localops("import", str(path))
    assert done.returncode != 0
    assert "expected a bundle, receipts that `localops import` wrote, or an export as jsonl" in done.stderr
