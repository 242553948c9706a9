"""Pages of the WAL that are missing after a crash are noticed when the journal is opened next, and never by mistake."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import localops
from localops import cli
from localops.journal import lost_wal, rows, spill
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading.story import Story
from tests import programs
from tests.programs import project

RUN = """
import os, signal, sys, localops
from localops.decorators import tool

@tool(once=True)
def act(n):
    return n

session = localops.init(trace_name="run")
for n in range(20):
    act(n)
journal = session.recorder.journal
if "copied" in sys.argv:
    journal.empty_wal()
    act(20)
    journal._file.execute("pragma wal_checkpoint(passive)").fetchall()
    print("copied", flush=True)
elif "first" in sys.argv:
    journal.empty_wal()
    for n in range(20, 40):
        act(n)
if "wait" in sys.argv:
    print("ready", flush=True)
    sys.stdin.readline()
    act("later")
os.kill(os.getpid(), signal.SIGKILL)
"""


def _path(side: str = "") -> Path:
    return Path(project(), f"journal.db{side}")


def _killed(*arguments: str) -> None:
    with programs.start(RUN, *arguments) as run:
        run.communicate("\n", timeout=60)
    assert _path("-shm").exists()


def _damage(how: str) -> None:
    wal = _path("-wal")
    if how == "deleted":
        wal.unlink()
    elif how == "cut":
        os.truncate(wal, wal.stat().st_size * 6 // 10)
    else:
        with wal.open("r+b") as file:
            file.seek(wal.stat().st_size // 2)
            file.write(b"\xff" * 8)


def _losses() -> list[int]:
    """Return the pages that rows of the session state as missing, after a command that looks."""
    _command("sessions")
    # Those of a copy would wait.
    assert spill.count(project()) == 0
    with programs.reader() as reader:
        [session] = programs.sessions()
        return [one.body["wal_pages"] for one in Story.read(reader, session).of_kind("loss")]


@pytest.mark.foreign_open
@pytest.mark.parametrize(("how", "first"), [("cut", "steps"), ("deleted", "resume"), ("overwritten", "record")])
def test_missing_pages_are_noticed(how: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By a command, a resume or another program, whichever is the first; then everything says so."""
    _killed("first")
    _damage(how)
    if first == "steps":
        _command("steps", "last")
    elif first == "record":
        programs.run("import localops; localops.start_session(name='other').end_session('Success')")
        session = json.loads(_printed("sessions", "--name", "run", "--json", capsys=capsys))["sessions"][0][
            "session_id"
        ]
    ident = session if first == "record" else "last"
    with pytest.raises(localops.NotResumable, match=r"missing from the journal's write-ahead log .*incomplete=True"):
        localops.resume(ident)
    for command in ("steps", "why", "show"):
        assert "missing from the journal's write-ahead log" in _printed(command, ident, capsys=capsys)
    assert "missing from the journal's write-ahead log" in _printed("doctor", capsys=capsys, exit_code=1)
    localops.resume(ident, incomplete=True)


def test_a_kill_alone_loses_nothing() -> None:
    """All pages are there."""
    _killed()
    assert _losses() == []


def test_pages_that_the_database_has_are_not_missing() -> None:
    """The WAL had been copied into the file before it was deleted."""
    _killed("copied")
    _damage("deleted")
    assert _losses() == []


def test_a_process_that_opens_and_closes_it_meanwhile_loses_nothing() -> None:
    """The one that looked before it then finds a journal without a WAL, whose pages are in the database."""
    _killed()
    before = lost_wal.before_open(str(_path()))
    assert before is not None
    programs.run("import localops; localops.init(); localops.end_session('Success')")
    assert not _path("-wal").exists()
    with Reader(str(_path())) as reader:
        assert reader.one("newest") is not None
        assert lost_wal.pages_lost(str(_path()), before) == 0


def test_a_journal_that_a_process_has_open_was_not_left_by_a_crash() -> None:
    """It looks like one that was, as its -shm file states pages."""
    _killed()
    with programs.start(RUN, "wait") as run:
        assert programs.first_line(run) == "ready\n"
        assert lost_wal.before_open(str(_path())) is None
        run.communicate("\n", timeout=60)
    assert lost_wal.before_open(str(_path())) is not None


@pytest.mark.foreign_open
def test_a_copy_of_a_running_home_lacks_what_was_recorded_later(tmp_path: Path) -> None:
    """Its files are of different moments: that is no damage."""
    with programs.start(RUN, "first", "wait") as run:
        assert programs.first_line(run) == "ready\n"
        shutil.copytree(project(), tmp_path / "copy")
        run.communicate("\n", timeout=60)
    shutil.copyfile(_path("-shm"), tmp_path / "copy" / "journal.db-shm")
    shutil.rmtree(project())
    (tmp_path / "copy").rename(project())
    assert _losses() == []


@pytest.mark.foreign_open
def test_after_a_power_cut_pages_may_be_missing(tmp_path: Path) -> None:
    """The -shm file is from before the machine was started; or it is from then, and all lock files are older."""
    _killed("first")
    shutil.copytree(project(), tmp_path / "kept")
    _damage("cut")
    os.utime(_path("-shm"), (1, 1))
    assert _losses() == []


@pytest.mark.foreign_open
def test_lock_files_of_an_earlier_boot() -> None:
    """A clock that was set back makes an old -shm file look new."""
    _killed("first")
    _damage("cut")
    [lock] = Path(project(), "alive").iterdir()
    lock.write_text(lock.read_text().replace("boot ", "boot 0"))
    assert _losses() == []


@pytest.mark.foreign_open
def test_a_restarted_wal_has_another_salt() -> None:
    """As after a restart by another process; nothing is known of the pages then."""
    _killed("first")
    kept = _path("-shm").read_bytes()
    journal = Journal(project())
    journal.fold()
    journal.empty_wal()
    assert journal.append(rows.make("action", programs.sessions()[0], id=bytes(16), at_ns=1))
    journal._file.drop()
    _path("-shm").write_bytes(kept)
    assert _losses() == []


def _printed(*arguments: str, capsys: pytest.CaptureFixture[str], exit_code: int = 0) -> str:
    capsys.readouterr()
    _command(*arguments, exit_code=exit_code)
    return capsys.readouterr().out


def _command(*arguments: str, exit_code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == exit_code
