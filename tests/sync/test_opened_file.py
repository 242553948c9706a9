"""`localops open`: what a file holds is in the pages, the file stays as it is, and nothing is left behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import apsw
import pytest

import localops
from localops import dialects
from localops.config import JOURNAL
from localops.errors import BundleError, ConfigError, NotFound
from localops.journal import stored
from localops.journal.journal import Journal
from localops.reading import export
from localops.upkeep import temporary_folders
from localops_sync import bundle_file, opened_file
from localops_sync.bundle_file import Share
from tests import programs, recorded_runs, warm
from tests.server.hubs import PATH
from tests.server.uis import RealPages
from tests.test_dialects_otlp import figures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.reading.export import Run
    from localops.reading.given_scores import Given

KINDS = {"bundle": "bundle", "jsonl": "rows", "otlp": "otlp", "sqlite": "sqlite", "journal": "journal"}


def _write(kind: str, path: Path, runs: Sequence[Run]) -> None:
    if kind == "bundle":
        bundle_file.pack(os.environ["LOCALOPS_HOME"], [Share("default")], str(path))
    elif kind == "sqlite":
        export.write_sqlite(runs, str(path))
    elif kind == "journal":
        for side in ("", "-wal"):
            source = Path(programs.project()) / f"journal.db{side}"
            if source.exists():
                Path(f"{path}{side}").write_bytes(subprocess.check_output(["cat", source]))
    else:
        with open(path, "wb") as file:
            dialects.write(kind, runs, file)


class Files(NamedTuple):
    """A folder for files, and the sessions that are in each of them: their figures by their ids, and their rows."""

    folder: Path
    known: dict[bytes, dict[str, Any]]
    rows: list[Row]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Write the files; each test has a copy of them."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALOPS_HOME", str(tmp_path_factory.mktemp("recorded") / "home"))
        recorded_runs.record_all()
        with recorded_runs.opened() as runs:
            known = {run.id: figures(run) for run in runs}
            for kind in KINDS:
                _write(kind, folder / kind, runs)
        rows = _rows_of(None)
        localops.api._reset()
    return Files(folder, known, rows)


@pytest.fixture
def files(written: Files, tmp_path: Path) -> Files:
    """Return the files and what is in them."""
    subprocess.run(["cp", "-r", written.folder, tmp_path / "files"], check=True)
    return written._replace(folder=tmp_path / "files")


def _rows_of(home: Path | None) -> list[Row]:
    with recorded_runs.opened(home) as runs:
        return sorted(row.bare for run in runs for row in stored.of_session(run.reader, run.id))


def _state_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_shows_the_same_figures(files: Files, kind: str, tmp_path: Path) -> None:
    """Of sessions of all kinds each figure is that of the home that they were recorded in; the files do not change."""
    folder, known, _ = files
    before = _state_of(folder)
    opened = opened_file.unpack(str(folder / kind), str(tmp_path / "look"))
    assert (opened.kind, opened.problems) == (KINDS[kind], [])
    with recorded_runs.opened(tmp_path / "look") as runs:
        after = {run.id: figures(run) for run in runs}
    assert after.keys() == known.keys()
    for id, before_it in known.items():
        assert after[id] == before_it
    assert _state_of(folder) == before


def test_tables_give_back_the_rows_as_they_were_recorded(files: Files, tmp_path: Path) -> None:
    """So nothing is lost that a killed, a resumed or a polling run is judged by."""
    opened_file.unpack(str(files.folder / "sqlite"), str(tmp_path / "look"))
    assert _rows_of(tmp_path / "look") == files.rows


def test_tables_of_an_earlier_release_show_the_same_figures(files: Files, tmp_path: Path) -> None:
    """They have no table of rows, but sessions and events in microseconds, and no metadata."""
    folder, known, _ = files
    with closing(apsw.Connection(str(folder / "sqlite"))) as file:
        file.execute("drop table rows")
    assert opened_file.unpack(str(folder / "sqlite"), str(tmp_path / "look")).problems == []
    with recorded_runs.opened(tmp_path / "look") as runs:
        after = {run.id: figures(run) for run in runs}
    left = {"percentiles", "took", "metadata", "by_agent", "by_model", "by_tool"}
    for id, before_it in known.items():
        assert {name: value for name, value in after[id].items() if name not in left} == {
            name: value for name, value in before_it.items() if name not in left
        }
        assert after[id]["took"] // 10_000 == pytest.approx(before_it["took"] // 10_000, abs=2)
        for name in ("by_agent", "by_model", "by_tool"):
            assert [_counted(part) for part in after[id][name]] == [_counted(part) for part in before_it[name]]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "otlp"])
def test_a_file_shows_the_same_scores(tmp_path: Path, kind: str) -> None:
    """Of every type, taken back and given again, of an event, and notes."""
    session = localops.start_session()
    event = localops.ActionEvent(name="step")
    session.record(event)
    for value in (1, 0.25, True, False, "good", None):
        session.score(f"as {value}", value, by="human", comment=None if value else "why")
    session.score("twice", 1, by="human")
    session.score("twice", 2, by="human", version="2")
    session.score("step", 0.5, by="judge:m", event=event)
    session.note("look here", by="ana")
    session.end_session("Success")
    with recorded_runs.opened() as runs:
        _write(kind, tmp_path / kind, runs)
        before = [_verdict(one) for run in runs for one in run.scores]
    opened_file.unpack(str(tmp_path / kind), str(tmp_path / "look"))
    with recorded_runs.opened(tmp_path / "look") as runs:
        assert [_verdict(one) for run in runs for one in run.scores] == before
    assert len(before) == 9


def _verdict(one: Given) -> tuple[object, ...]:
    comment = one.body.get("comment")
    return one.name, one.value, type(one.value), one.author, one.version, one.target, one.newest, comment


def _counted(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "seconds"}


def test_a_damaged_journal_shows_what_is_left(files: Files, tmp_path: Path) -> None:
    """Without its first page and with a hole in it: the intact rows are there, and the lost ones are counted."""
    folder, known, _ = files
    path = folder / "journal"
    copy = apsw.Connection(str(path))
    copy.execute("pragma wal_checkpoint(truncate)")
    copy.close()
    data = bytearray(path.read_bytes())
    data[:100] = os.urandom(100)
    middle = len(data) // 2 // 4096 * 4096
    for page in range(middle, min(len(data), middle + 8 * 4096), 4096):
        data[page : page + 4096] = bytes(4096)
    path.write_bytes(data)
    before = _state_of(folder)
    opened = opened_file.unpack(str(path), str(tmp_path / "look"))
    assert opened.kind == "journal"
    assert len(opened.problems) == 1
    assert "lost" in opened.problems[0]
    assert f"localops repair {path}" in opened.problems[0]
    with recorded_runs.opened(tmp_path / "look") as runs:
        assert {run.id for run in runs} <= known.keys()
        assert runs
    assert _state_of(folder) == before


def test_what_cannot_be_read_is_named_and_the_rest_is_there(files: Files, tmp_path: Path) -> None:
    """A broken line of rows has its number; the other lines are shown."""
    path = files.folder / "jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\n", *lines[4:]]))
    opened = opened_file.unpack(str(path), str(tmp_path / "look"))
    assert [problem.partition(": ")[0] for problem in opened.problems] == [f"{path}:4"]
    with recorded_runs.opened(tmp_path / "look") as runs:
        assert {run.id for run in runs} == files.known.keys()


def test_a_bundle_that_is_cut_is_refused(files: Files, tmp_path: Path) -> None:
    """Nothing of it can be read: that is an error, and not an empty page."""
    path = files.folder / "bundle"
    path.write_bytes(path.read_bytes()[:-200])
    (tmp_path / "look").mkdir()
    with pytest.raises(BundleError, match=r"is damaged \(.*\)$"):
        opened_file.unpack(str(path), str(tmp_path / "look"))


def test_a_journal_without_a_row_is_called_one(tmp_path: Path) -> None:
    """Its first page is ours, and nothing else is left: another file is no help."""
    folder, path = tmp_path / "empty", tmp_path / "cut.db"
    with closing(Journal(str(folder))) as journal:
        journal.fold()
    with path.open("xb") as file:
        subprocess.run(["head", "-c", "4096", folder / JOURNAL], check=True, stdout=file)
    with pytest.raises(ConfigError, match="is a damaged journal, and no row is left in it"):
        opened_file.unpack(str(path), str(tmp_path / "look"))


@pytest.mark.parametrize("data", [b"", b"hello\n", b"{}\n", b'{"a": 1}\n', b"\x89PNG\r\n\x1a\n", b"SQLite format 3\0"])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    """The error names what is expected, and the file."""
    path = tmp_path / "other"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="expected a bundle, a journal, or an export"):
        opened_file.unpack(str(path), str(tmp_path / "look"))
    with pytest.raises(NotFound, match="there is no file"):
        opened_file.unpack(str(tmp_path / "missing"), str(tmp_path / "look"))


class _Opened(RealPages):
    """A running `localops open`."""

    def __init__(self, path: Path, temporary: Path) -> None:
        temporary.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "localops", "open", str(path), "--port", "0", "--json"]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        self.process = warm.start(command, env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.facts = json.loads(self.process.stdout.readline())
        self.url, _, self.token = self.facts["url"].partition("/#t=")
        self.port = urlsplit(self.url).port or 0
        self.cookie = self.enter(self.token)


def test_what_a_killed_one_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Not the home of one that still runs, nor what is not ours."""
    path, temporary = tmp_path / "run.jsonl", tmp_path / "temporary"
    session = localops.start_session()
    session.end_session("Success")
    with recorded_runs.opened() as runs, path.open("wb") as file:
        dialects.write("jsonl", runs, file)
    with _Opened(path, temporary) as running:
        killed = _Opened(path, temporary)
        killed.process.kill()
        killed.process.communicate()
        assert len(list(temporary.iterdir())) == 2
        other, kept = tmp_path / "other", {temporary / "localops-open-link", temporary / "localops-open-new"}
        (other / "default").mkdir(parents=True)
        (temporary / "localops-open-link").symlink_to(other)
        (temporary / "localops-open-new").mkdir()
        with _Opened(path, temporary) as last:
            assert len(set(temporary.iterdir()) - kept) == 2
            assert running.get("/api/1/sessions").json["sessions"]
            assert last.stop() == 0
        assert running.stop() == 0
    assert set(temporary.iterdir()) == kept
    assert (other / "default").is_dir()


@pytest.mark.parametrize(
    ("number", "is_early"),
    [(signal.SIGHUP, False), (signal.SIGQUIT, False), (signal.SIGTERM, True)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_signal_ends_it_and_nothing_stays(number: signal.Signals, is_early: bool, tmp_path: Path) -> None:
    """A closed terminal, Ctrl-Backslash, and a signal while the file is still being read."""
    path, temporary = tmp_path / "run.jsonl", tmp_path / "temporary"
    localops.start_session().end_session("Success")
    with recorded_runs.opened() as runs, path.open("wb") as file:
        dialects.write("jsonl", runs, file)
    if is_early:
        temporary.mkdir()
        command = [sys.executable, "-m", "localops", "open", str(path), "--port", "0", "--json"]
        environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": str(temporary)}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        # Not any entry: Python tries first whether it can write there.
        while not list(temporary.glob(f"{temporary_folders.OPEN}*")) and process.poll() is None:
            time.sleep(0.005)
    else:
        process = _Opened(path, temporary).process
        assert list(temporary.iterdir())
    process.send_signal(number)
    try:
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode >= 0
    assert list(temporary.iterdir()) == []


def test_a_file_is_in_the_pages_and_nothing_stays(tmp_path: Path) -> None:
    """A real server lists the session; at the end the temporary home is removed, and nothing was imported."""
    session = localops.start_session(name="a run to show")
    assert session is not None
    session.record(localops.ActionEvent("step"))
    session.end_session("Success")
    path = tmp_path / "run.jsonl"
    data = io.BytesIO()
    with recorded_runs.opened() as runs:
        dialects.write("jsonl", runs, data)
    path.write_bytes(data.getvalue())
    os.environ["LOCALOPS_HOME"] = str(tmp_path / "own")
    pages = _Opened(path, tmp_path / "temporary")
    with pages:
        assert (pages.facts["kind"], pages.facts["problems"]) == ("rows", [])
        [listed] = pages.get("/api/1/sessions").json["sessions"]
        assert (listed["name"], listed["state"]) == ("a run to show", "Success")
        assert len(list((tmp_path / "temporary").glob("localops-open-*"))) == 1
        assert pages.stop() == 0
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "own").exists()
    assert path.read_bytes() == data.getvalue()
