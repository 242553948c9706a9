"""Rows that were exported as lines are imported again: each once, none that was deleted here, none that is broken."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from localops import cli, dialects
from localops.journal import rows
from localops.reading import analytics
from localops.reading.home import Home
from tests import recorded_runs
from tests.test_dialects_otlp import figures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _import(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["import", *map(str, arguments), "--json"])
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(capsys.readouterr().out)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of the rows of sessions of all kinds."""
    recorded_runs.record_all()
    path = tmp_path / "runs.jsonl"
    with recorded_runs.opened() as runs, open(path, "wb") as out:
        dialects.write("jsonl", runs, out)
    return path


def test_no_figure_changes(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures in the home that imports the file are those that were recorded; a second import adds nothing."""
    with recorded_runs.opened() as runs:
        before = {run.id: figures(run) for run in runs}
    other = tmp_path / "other"
    code, first = _import(capsys, file, "--home", other)
    assert (code, first["new"], first["problems"]) == (0, first["rows"], [])
    assert _import(capsys, file, "--home", other)[1]["new"] == 0
    with recorded_runs.opened(other) as runs:
        assert {run.id: figures(run) for run in runs} == before


def test_a_broken_line_is_named(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that was changed fails its checksum: it is left out, and the exit code says that something was."""
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"kind":"', b'"kind":"x')
    file.write_bytes(b"".join(lines))
    code, report = _import(capsys, file, "--home", tmp_path / "other")
    assert (code, report["new"]) == (3, len(lines) - 1)
    assert report["problems"] == [f"{file}:3: the row fails its checksum"]


def _bounds(home: Path) -> dict[bytes, bool]:
    with recorded_runs.opened(home) as runs:
        return {run.id: run.cost_at_least for run in runs}


def test_costs_of_a_cut_file_are_lower_bounds(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the session that lacks rows, until a whole file of it is imported; a home that has its rows lacks none."""
    with recorded_runs.opened() as runs:
        known = {run.id: run.cost_at_least for run in runs}
    lines = file.read_bytes().splitlines(keepends=True)
    # In the middle of a session that has no other reason for a lower bound.
    session = next(id for id, at_least in known.items() if not at_least).hex().encode()
    of_it = [number for number, line in enumerate(lines) if session in line]
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(lines[: of_it[-2]]) + lines[of_it[-2]][:150])

    other = tmp_path / "other"
    assert _import(capsys, cut, "--home", other)[0] == 3
    lacking = bytes.fromhex(session.decode())
    assert {id for id, at_least in _bounds(other).items() if at_least != known[id]} == {lacking}
    with Home(str(other)) as home:
        assert lacking in analytics.chosen_by(home.projects[0].reader, "lacking", analytics.Chosen())
    with pytest.raises(SystemExit):
        cli.main(["why", lacking.hex(), "--home", str(other)])
    assert "Some of its rows may be lost" in capsys.readouterr().out
    _import(capsys, cut, "--home", other)
    assert _import(capsys, file, "--home", other)[0] == 0
    assert _bounds(other) == known
    with Home(str(other)) as home:
        assert lacking not in analytics.chosen_by(home.projects[0].reader, "lacking", analytics.Chosen())

    assert _import(capsys, cut)[1]["new"] == 0
    with recorded_runs.opened() as runs:
        assert {run.id: run.cost_at_least for run in runs} == known


def test_a_file_that_was_cut_between_two_lines_is_not_whole(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line of a session states the number of its lines; importing the whole file later removes the doubt."""
    with recorded_runs.opened() as runs:
        known = {run.id: run.cost_at_least for run in runs}
    lines = file.read_bytes().splitlines(keepends=True)
    session = next(id for id, at_least in known.items() if not at_least)
    of_it = [number for number, line in enumerate(lines) if session.hex().encode() in line]
    cut, other = tmp_path / "cut.jsonl", tmp_path / "other"
    for rest in (1, len(of_it) - 1):
        cut.write_bytes(b"".join(lines[: of_it[rest]]))
        code, report = _import(capsys, cut, "--home", other)
        has = f"session {rows.id_text(session)[:13]} has {rest} of its {len(of_it)} rows"
        assert (code, report["problems"][0]) == (3, f"{cut}: the file was cut short: {has}")
        assert {id for id, at_least in _bounds(other).items() if at_least != known[id]} == {session}
    assert _import(capsys, file, "--home", other)[1]["problems"] == []
    assert _bounds(other) == known
    # Cut between two sessions: those before the cut are complete.
    first_end = next(number for number, line in enumerate(lines[1:], 1) if b'"session_rows":' in line)
    cut.write_bytes(b"".join(lines[:first_end]))
    code, report = _import(capsys, cut, "--home", tmp_path / "third")
    assert (code, report["problems"]) == (3, [f"{cut}: the file was cut short: more sessions followed"])


def test_a_file_of_an_earlier_release_is_taken_as_it_is(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not state the number of its lines, so nothing shows whether it was cut."""
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    counts = [(line.pop("session_rows"), line.pop("more_sessions")) for line in lines if "session_rows" in line]
    assert sum(count for count, _ in counts) == len(lines)
    assert [more for _, more in counts] == [True] * (len(counts) - 1) + [False]
    kept = [re.sub(rb',"session_rows":\d+,"more_sessions":\w+', b"", line) for line in file.read_bytes().splitlines()]
    file.write_bytes(b"\n".join(kept[:-1]) + b"\n")
    assert _import(capsys, file, "--home", tmp_path / "other")[1]["problems"] == []


def test_costs_around_an_unreadable_line_are_lower_bounds(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that does not even name its session belongs to the one around it."""
    lines = file.read_bytes().splitlines(keepends=True)
    session = json.loads(lines[0])["session"]
    lines[1] = b"x" * len(lines[1]) + b"\n"
    file.write_bytes(b"".join(lines))
    _import(capsys, file, "--home", tmp_path / "other")
    assert _bounds(tmp_path / "other")[bytes.fromhex(session)]


def test_a_deleted_session_stays_deleted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of a session that was pruned in this home are not stored again."""
    with recorded_runs.opened() as runs:
        many, session = len(runs), runs[0].id.hex()
    with pytest.raises(SystemExit):
        cli.main(["prune", "--session", session, "--yes"])
    capsys.readouterr()
    code, report = _import(capsys, file)
    assert (code, report["new"]) == (0, 0)
    assert report["gone"] > 0
    with recorded_runs.opened() as runs:
        assert len(runs) == many - 1
