"""`localops export`: the right format in the right place, and never over an existing file."""

from __future__ import annotations

import json
import os
import re
import resource
from pathlib import Path

import pytest

import localops
from localops import cli


@pytest.fixture(autouse=True)
def _two_sessions() -> None:
    for name in ("first", "second"):
        session = localops.start_session(name=name)
        assert session is not None
        session.end_session("Success")


def _export(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", *arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_the_newest_session_goes_to_stdout_as_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Without arguments: one document, the newest session."""
    assert _export() == 0
    assert json.loads(capfdbinary.readouterr().out)["session"]["name"] == "second"


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("x.json", b"[\n{"),
        ("x.jsonl", b'{"id"'),
        ("x.csv", b"project,session"),
        ("x.db", b"SQLite format 3"),
        ("x.html", b"<!doctype html>"),
    ],
)
def test_a_file_is_written_in_the_form_of_its_name(name: str, begins: bytes, tmp_path: Path) -> None:
    """The suffix chooses the format; the file is the user's alone and no unfinished file stays beside it."""
    path = tmp_path / name
    assert _export("--all", "-o", str(path)) == 0
    assert path.read_bytes().startswith(begins)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".x*"))


def test_a_file_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only --force replaces a file."""
    path = tmp_path / "notes.json"
    path.write_text("mine")
    assert _export("-o", str(path)) == 2
    assert path.read_text() == "mine"
    assert "--force replaces it" in capsys.readouterr().err
    assert _export("-o", str(path), "--force") == 0
    assert json.loads(path.read_text())["session"]


def test_a_file_in_a_folder_is_named_for_its_session(tmp_path: Path) -> None:
    """The name, date and id of a single session, so that two of a name do not meet, and the ending of the format."""
    place = str(tmp_path / "reports")
    os.mkdir(place)
    assert _export("-o", place, "--format", "html") == _export("--all", "-o", place, "--format", "csv") == 0
    [report] = [name for name in os.listdir(place) if name.endswith(".html")]
    assert re.fullmatch(r"second-20\d\d-\d\d-\d\d-[0-9a-f]{8}-[0-9a-f]{4}\.html", report)
    assert sorted(os.path.splitext(name)[1] for name in os.listdir(place)) == [".csv", ".html"]
    assert os.path.exists(os.path.join(place, "localops-sessions.csv"))
    assert _export("-o", place, "--format", "html") == 2


def test_a_summary_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary has the number of sessions, the format and the path."""
    assert _export("--all", "-o", str(tmp_path / "x.jsonl")) == 0
    out, err = capsys.readouterr()
    assert (out, f"wrote 2 sessions as jsonl to {tmp_path / 'x.jsonl'}" in err) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.csv", "--format", "json"), "the ending of x.csv means csv"),
        (("x.foo",), "unknown ending '.foo'"),
        (("runs",), "has no ending"),
        (("nowhere/x.csv",), "does not exist"),
        ((".",), "is a directory"),
    ],
)
def test_an_unclear_format_or_place_is_wrong_usage(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No format is guessed for a file, and no folder made for it."""
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    assert _export("-o", *arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir()) == before
    assert _export("-o", "x.foo", "--format", "csv") == 0


def test_the_summary_can_be_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json with a file reports its path, format and size."""
    path = tmp_path / "x.csv"
    assert _export("--all", "-o", str(path), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["sessions"], document["bytes"]) == ("csv", 2, path.stat().st_size)


def test_an_empty_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sessions without an answered LLM call have no line of training data: none was written."""
    path = tmp_path / "runs.jsonl"
    assert _export("--all", "--format", "sft", "-o", str(path)) == 0
    assert path.read_bytes() == b""
    assert capsys.readouterr().err == f"localops: {path} is empty: no session of 2 has an answered LLM call for sft\n"


def test_an_unknown_session_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown id exits with 1 and names the command that lists the sessions."""
    assert _export("ffffffffffff") == 1
    assert "localops sessions" in capsys.readouterr().err


def test_filters_choose_the_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Filters of `localops sessions` choose what is exported; no match is an error, and ids do not go with them."""
    failed = localops.start_session(name="third", tags=["odd"])
    assert failed is not None
    failed.end_session("Failure")
    path = tmp_path / "x.atif"
    assert _export("--state", "success", "-o", str(path)) == 0
    names = [json.loads(line)["extra"]["name"] for line in path.read_text().splitlines()]
    assert names == ["second", "first"]
    assert _export("--tag", "odd", "--format", "atif", "-o", str(path), "--force") == 0
    assert json.loads(path.read_text())["extra"]["state"] == "Failure"
    assert _export("-n", "1", "--format", "md") == 0
    assert "# `third`: Failure" in capsys.readouterr().out
    assert _export("--model", "none", "--format", "md") == 1
    assert "no session matches these filters" in capsys.readouterr().err
    assert _export("last", "--state", "success") == 2


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.json", "atif"),
        ("x.jsonl", "sft"),
        ("x.jsonl", "otlp"),
        ("x.trace", "perfetto"),
        ("x.md", "md"),
        ("x.prom", "openmetrics"),
        ("x.parquet", "parquet"),
    ],
)
def test_a_format_may_have_the_ending_of_its_kind(name: str, form: str, tmp_path: Path) -> None:
    """A trajectory may be in a .json file: --format says that it is one."""
    path = tmp_path / name
    assert _export("--all", "--format", form, "-o", str(path)) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "json", "--table", "sessions"), "--table is for csv and parquet"),
        (("--format", "atif", "-o", "x.csv"), "the ending of x.csv means csv"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names what contradicts what."""
    assert _export(*arguments) == 2
    assert message in capsys.readouterr().err


def test_sqlite_that_lacks_room_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback of a library; and no file is left."""
    path = tmp_path / "x.db"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert _export("--all", "-o", str(path)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    err = capsys.readouterr().err
    assert (err.startswith("localops: "), err.count("\n")) == (True, 1), err
    assert list(tmp_path.glob("*x.db*")) == []


def test_an_error_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the temporary one beside it."""
    monkeypatch.chdir(tmp_path)
    assert _export("-o", "n" * 300, "--format", "json") == 1
    assert capsys.readouterr().err == f"localops: {'n' * 300}: File name too long\n"
