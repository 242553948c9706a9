"""A session of which rows may be missing is not resumed unless the program asks for it, as steps could run twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import traceback
import uuid
from contextlib import closing
from itertools import permutations
from pathlib import Path

import pytest

import localops
from localops import cli, clock, runs
from localops.journal import rows, spill, wire
from localops.journal.reader import Reader
from localops.journal.spill import Claim, Spill
from localops.transfer import delivery
from localops.transfer.bundle import Ack
from localops_sync import bundle_file
from tests import programs
from tests.programs import project
from tests.resume.steps import Effects

RUN = """
import os, sys, localops
from localops.decorators import tool

@tool(once=True)
def act(what, more=None):
    return what

session = localops.init(trace_name="run")
for what in "xyz":
    act(what)
file = session.recorder.journal._file
file.look_at = 0  # as after the time between two looks at the files
act("looked")
print("ready", flush=True)
sys.stdin.readline()
file.look_at = 0
act("last")
os._exit(1)
"""


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """Return the rows of a run that died after its steps, as lines that do not state their number; its home is gone."""
    _died()
    path = tmp_path / "run.jsonl"
    _command("export", "last", "--format", "jsonl", "-o", str(path))
    shutil.rmtree(project())
    return [wire.from_row(wire.to_row(line)).decode() for line in path.read_bytes().splitlines(keepends=True)]


def test_a_copy_of_a_home_warns(capsys: pytest.CaptureFixture[str], tmp_path: Path, effects: Effects) -> None:
    """Whether the run goes on in the original cannot be seen in the copy."""
    with programs.start(RUN) as run:
        assert programs.first_line(run) == "ready\n"
        subprocess.run(["cp", "-a", tmp_path / "home", tmp_path / "copy"], check=True)
        _command("why", "last", "--home", str(tmp_path / "copy"), "--json")
        why = json.loads(capsys.readouterr().out)
        assert (why["state"], why["processes"]["found_dead_here"]) == ("Unknown", False)
        programs.kill(run)
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "copy").rename(tmp_path / "home")
    localops.resume("last")
    assert "it is not known whether its process still runs" in capsys.readouterr().err
    assert (effects.step(name="act")("x"), effects) == ("x", [])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("deleted", "events were lost when the journal was deleted"),
        ("moved", "events stayed in a journal file that was moved away"),
    ],
)
def test_events_lost_while_it_was_recorded(how: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A journal that was deleted or moved during the run."""
    with programs.start(RUN) as run:
        assert programs.first_line(run) == "ready\n"
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            path = os.path.join(project(), name)
            os.unlink(path) if how == "deleted" else os.rename(path, f"{path}.away")
        run.communicate("\n", timeout=60)
    _refused(reason, capsys)


@pytest.mark.parametrize("kind", ["bundle", "lines"])
def test_events_of_a_moved_journal_that_are_imported(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], effects: Effects
) -> None:
    """All that stayed in the file have to come back, in one import or in several."""
    away = tmp_path / "away" / "default"
    away.mkdir(parents=True)
    with programs.start(RUN) as run:
        assert programs.first_line(run) == "ready\n"
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            os.rename(os.path.join(project(), name), away / name)
        run.communicate("\n", timeout=60)
    exported = tmp_path / "run.jsonl"
    _command("export", "last", "--format", "jsonl", "-o", str(exported), "--home", str(away.parent))
    rows = exported.read_bytes().splitlines(keepends=True)
    some = next(row for row in rows if b'"phase":1' in row and b'"z"' in row)
    _take("".join(wire.from_row(wire.to_row(row)).decode() for row in rows if row is some))
    _refused("2 events stayed in a journal file", capsys)
    if kind == "bundle":
        exported = tmp_path / "run.lops"
        _command("bundle", "-o", str(exported), "--home", str(away.parent))
    for _ in range(2):
        _command("import", str(exported))
    localops.resume("last")
    act = effects.step(name="act")
    done = ["x", "y", "z", "looked", "last"]
    assert ([act(what) for what in done], effects) == (done, [])


@pytest.mark.foreign_open  # it copies the journal
def test_an_older_journal_that_was_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock file of the run that resumed the session shows that the journal lacks rows."""
    _died()
    shutil.copytree(project(), tmp_path / "older")
    programs.run(RUN.replace('localops.init(trace_name="run")', 'localops.resume("last")'))
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        Path(project(), name).unlink(missing_ok=True)
        if (tmp_path / "older" / name).exists():
            shutil.copy(tmp_path / "older" / name, project())
    _command("steps", "last")  # which writes that the first run died
    _refused("a process resumed it here, and the journal has no row of that", capsys)


def test_a_home_that_was_moved_during_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its process continued at the old place, with rows that are not in the moved home."""
    with programs.start(RUN) as run:
        assert programs.first_line(run) == "ready\n"
        (tmp_path / "home").rename(tmp_path / "moved")
        run.communicate("\n", timeout=60)
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "moved").rename(tmp_path / "home")
    _refused("this home was moved while process [0-9]+ recorded: later rows of it are elsewhere", capsys)


def test_a_home_that_was_moved_between_two_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The process that resumed it died here, so it has ended, whatever can be seen of the one before the move."""
    _died()
    (tmp_path / "home").rename(tmp_path / "moved")
    resumed = RUN.replace('localops.init(trace_name="run")', 'localops.resume("last")')
    with programs.start(resumed, env={"LOCALOPS_HOME": str(tmp_path / "moved")}) as run:
        assert programs.first_line(run) == "ready\n"
        programs.kill(run)
    capsys.readouterr()
    for _ in range(2):
        _command("why", "last", "--home", str(tmp_path / "moved"), "--json")
        why = json.loads(capsys.readouterr().out)
        assert (why["state"], why["how"], why["processes"]["found_dead_here"]) == ("Indeterminate", "died", True)
        _command("sessions", "--home", str(tmp_path / "moved"), "--json")
        assert [one["state"] for one in json.loads(capsys.readouterr().out)["sessions"]] == ["Indeterminate"]


def test_lines_that_an_import_could_not_read(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was cut short."""
    _take("".join(lines)[: -len(lines[-1]) - 20], exit_code=3)
    _refused("some of its rows may be lost", capsys)


def test_the_reason_is_the_same_everywhere(lines: list[str]) -> None:
    """The page of a session, its post-mortem and the gate give the reason that a resume gives."""
    session = uuid.UUID(_id(lines)).bytes
    lines.append(
        wire.from_row(rows.make("end", session, id=clock.new_id(), at_ns=clock.now_ns(), name="Success")).decode()
    )
    _take("".join(lines).replace('"looked"', "cut", 1), exit_code=3)
    with runs.opened() as home:
        run = home.session()
        reason = run.figures["missing_rows"]
        assert reason.startswith("some of its rows may be lost: what was imported was cut short or had")
        assert run.measured().incomplete == reason
        assert f"S{reason[1:]}." in str(run.why())


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_file_in_two_parts(
    is_whole: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], effects: Effects
) -> None:
    """The first part states which rows there are, so both are enough, and so is the whole file."""
    _died()
    exported = tmp_path / "run.jsonl"
    _command("export", "last", "--format", "jsonl", "-o", str(exported))
    shutil.rmtree(project())
    text = exported.read_text()
    lines = text.splitlines(keepends=True)
    _take("".join(lines[:4]), exit_code=3)
    _take("".join(lines[5:]))
    _refused("was cut short or had unreadable rows; import the rest of it, or a whole file", capsys)
    if is_whole:
        _take(text)
    else:
        _take(lines[4])
    localops.resume("last")
    act = effects.step(name="act")
    assert ([act(what) for what in "xyz"], effects) == (["x", "y", "z"], [])


@pytest.mark.parametrize("whole", [False, True])
def test_a_bundle_between_two_others_that_is_missing(whole: bool, tmp_path: Path, effects: Effects) -> None:
    """Bundles state how many rows a session has; the missing one, or one of the whole session, lifts the refusal."""
    _command("remote", "add", "hub", "https://hub.example", "--key", "k", "--project", "default")
    session = localops.init()
    act = effects.step(name="act")
    for what in "xyz":
        act(what)
        _command("bundle", "-o", str(tmp_path / what), "--remote", "hub")
        with Reader(session.recorder.journal.path) as reader:
            ledger = delivery.Ledger(reader, project(), "hub")
            for batch in ledger.batches(delivery.Limits()):
                ledger.adopt(session.recorder.journal, batch, Ack())
    session.end_session("Failure")
    _command("bundle", "-o", str(tmp_path / "whole"), "--session", str(session.session_id))
    home = str(tmp_path / "other")
    for file in ("z", "x", "z"):
        _command("import", str(tmp_path / file), "--home", home)
        _command("check", "last", "--max-errors", "0", "--home", home, exit_code=3)
        assert _missing(home) == _REST
    _command("import", str(tmp_path / ("whole" if whole else "y")), "--home", home)
    assert _missing(home) is None


def test_bundles_that_are_imported_in_any_order(tmp_path: Path, effects: Effects) -> None:
    """The refusal ends with the last of them, whichever that is."""
    _command("remote", "add", "hub", "https://hub.example", "--key", "k", "--project", "default")
    session = localops.init()
    act = effects.step(name="act")
    for what in "wxyz":
        act(what)
        _command("bundle", "-o", str(tmp_path / what), "--remote", "hub")
        with Reader(session.recorder.journal.path) as reader:
            ledger = delivery.Ledger(reader, project(), "hub")
            for batch in ledger.batches(delivery.Limits()):
                ledger.adopt(session.recorder.journal, batch, Ack())
    for order in permutations("wxyz"):
        home = str(tmp_path / "".join(order))
        for file in order[:3]:
            bundle_file.unpack(home, str(tmp_path / file))
        assert (_missing(home) is None) == (order[3] == "z"), order
        bundle_file.unpack(home, str(tmp_path / order[3]))
        assert _missing(home) is None, order


def test_a_bundle_that_cannot_be_read_to_its_end(tmp_path: Path) -> None:
    """Its intact rows are imported, and of the sessions in them others may be missing."""
    session = localops.init()
    for number in range(2_100):  # more than are in a batch, or are read at once
        session.record(localops.ActionEvent(action_type="look", params={"at": f"{number} " * 250}))
    session.end_session("Success")
    path, home = tmp_path / "run.lops", str(tmp_path / "other")
    _command("bundle", "-o", str(path))
    whole = path.read_bytes()
    at = len(whole) * 95 // 100
    path.write_bytes(whole[:at] + bytes(50) + whole[at + 50 :])
    _command("import", str(path), "--home", home, exit_code=1)
    assert _missing(home) == _REST
    path.write_bytes(whole)
    _command("import", str(path), "--home", home)
    assert _missing(home) is None


@pytest.mark.foreign_open  # it cuts the file of the journal
def test_a_repaired_journal_and_a_whole_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file may be older than the last rows of the journal, so the refusal stays, and says so."""
    _died()
    bundle = str(tmp_path / "run.lops")
    _command("bundle", "-o", bundle)  # which writes how the run ended: that row does not show that no other follows
    journal = os.path.join(project(), "journal.db")
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    os.truncate(journal, os.path.getsize(journal) * 6 // 10)
    _command("repair", "--project", "default", "--replace", exit_code=3)
    _command("import", bundle)
    _refused("a journal was damaged, and importing a whole file does not change that", capsys)


@pytest.mark.foreign_open  # it overwrites a page of the journal
@pytest.mark.parametrize("later", [False, True], ids=["all", "not the last"])
def test_a_repaired_journal_and_a_bundle_with_all_that_was_lost(later: bool, tmp_path: Path) -> None:
    """A page in the middle: the rows before and after it show which are lost, and a bundle of all sessions has them."""
    session = localops.init()
    for number in range(100):
        session.record(localops.ActionEvent(action_type="look", params={"at": f"{number} " * 200}))
        if later and number == 49:
            _command("bundle", "-o", str(tmp_path / "early"))
    session.end_session("Failure")
    _command("bundle", "-o", str(tmp_path / "whole"))
    session.recorder.journal.close()
    journal = os.path.join(project(), "journal.db")
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    with Reader(journal) as reader:
        leaves = "select pageno from dbstat where name = 'event' and ncell > 1 and pagetype = 'leaf' order by pageno"
        pages = [page for (page,) in reader.ask(leaves, ())]
    with open(journal, "r+b") as file:
        file.seek((pages[len(pages) * 4 // 5] - 1) * 4096)
        file.write(bytes(4096))
    _command("repair", "--project", "default", "--replace", exit_code=3)
    home = str(Path(project()).parent)
    reason = _missing(home)
    assert reason is not None
    assert reason.startswith("some of its rows may be lost: a journal was damaged, and only importing a bundle of all")
    if later:
        _command("import", str(tmp_path / "early"))
        assert _missing(home) == reason
    _command("import", str(tmp_path / "whole"))
    assert _missing(home) is None
    with runs.opened(home) as opened:
        assert len(opened.session().events) == 100


def test_a_session_without_its_first_row(lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It is a part of a session; how long it took is a lower bound."""
    _take("".join(lines[1:]))
    _refused("its first row is not here", capsys)
    _command("sessions", "--json")
    assert [one["at_least"] for one in json.loads(capsys.readouterr().out)["sessions"]] == [True]


def test_steps_without_their_first_row(lines: list[str], capsys: pytest.CaptureFixture[str], effects: Effects) -> None:
    """A step of which only the closing row is here counts as missing; `incomplete` resumes, and runs it again."""
    opening = next(line for line in lines if '"phase":1' in line)
    _take("".join(line for line in lines if line is not opening))
    _refused("1 finished step lacks its first row", capsys, doctor=("--deep",))
    localops.resume("last", incomplete=True).end_session("Success")
    assert "is resumed without all its rows: 1 finished step lacks" in capsys.readouterr().err
    localops.resume("last", incomplete=True)
    act = effects.step(name="act")
    assert [act(what) for what in "xyz"] == [1, "y", "z"]


@pytest.mark.foreign_open  # it changes a row of the journal
def test_the_first_row_of_a_step_was_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """The call would not be recognised, and run again."""
    _died()
    with closing(sqlite3.connect(Path(project(), "journal.db"))) as connection, connection:
        connection.execute("""update event set body = replace(body, '"n":1', '"n":2') where seq = 2""")
        connection.execute("update event set name = 'bct' where name = 'act' and phase = 1 and seq < 4")
    _refused("the first row of a step was changed", capsys, doctor=("--deep",))


def test_rows_in_the_spill_file_of_another_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], effects: Effects
) -> None:
    """A home that was moved from a full disk left rows under its old path; doctor says how to take them in."""
    _take("".join(lines[:3]))
    (tmp_path / "old").write_text("in the way")
    spill = Spill(str(tmp_path / "old" / "default"))
    assert all(spill.write(wire.to_row(line.encode())) for line in lines[3:])
    reason = rf"{len(lines) - 3} of its rows wait in {re.escape(str(tmp_path / 'state'))}"
    _refused(reason, capsys, doctor=None)
    _command("doctor", exit_code=1)
    findings = capsys.readouterr().out
    assert "No problems" not in findings
    subprocess.run(["sh", "-c", findings[findings.index("mkdir -p") :]], check=True)
    localops.resume("last")
    act = effects.step(name="act")
    assert ([act(what) for what in "xyz"], effects) == (["x", "y", "z"], [])


def test_rows_that_cannot_be_moved_into_the_journal(lines: list[str]) -> None:
    """They can be read, but `resume` reads the journal."""
    _take("".join(lines[:-2]))
    waiting = Spill(project())
    waiting.write(wire.to_row(lines[-1].encode()))
    claim = Claim(spill.waiting(project())[0])  # as if the disk was full
    with pytest.raises(localops.NotResumable, match="spill file and cannot be moved into the journal"):
        localops.resume("last")
    claim.close()


@pytest.mark.foreign_open  # it writes the file of the journal
def test_a_project_that_cannot_be_read_is_not_without_sessions(lines: list[str]) -> None:
    """It is not `NotFound`, after which a program may start over and repeat all steps."""
    os.makedirs(project())
    for content in (b"SQLite format 3\0" + b"damaged" * 1000, b"not a journal"):
        Path(project(), "journal.db").write_bytes(content)
        for ident in (_id(lines), "last"):
            with pytest.raises(
                localops.NotResumable, match=r"project 'default' cannot be read: .*journal\.db is"
            ) as refused:
                localops.resume(ident)
            # Python prints it with the exception: that of an empty home says to record a run.
            printed = "".join(traceback.format_exception(refused.value))
            assert ("no sessions yet" in printed, printed.count("Traceback")) == (False, 1)


_REST = "some of its rows are not here: import the other bundles of it, or one of the whole session"


def _missing(home: str) -> str | None:
    with runs.opened(home) as opened:
        run = opened.session()
        reason: str | None = run.figures["missing_rows"]
        assert run.cost_at_least == (reason is not None)
        return reason


def _id(lines: list[str]) -> str:
    return str(json.loads(lines[0])["session"])


def _died() -> None:
    with programs.start(RUN) as run:
        run.communicate("\n", timeout=60)


def _take(text: str, *, exit_code: int = 0) -> None:
    path = Path(project()).parent / "taken.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    _command("import", str(path), exit_code=exit_code)


def _refused(reason: str, capsys: pytest.CaptureFixture[str], *, doctor: tuple[str, ...] | None = ()) -> None:
    """Check that resume refuses for a reason, names the way on, and that the commands say the same.

    `doctor` has another text for rows that wait elsewhere, and reads all rows of a session only with `--deep`.
    """
    with pytest.raises(localops.NotResumable, match=rf"{reason}.*; localops\.resume\(\.\.\., incomplete=True\)"):
        localops.resume("last")
    capsys.readouterr()
    for command in ("steps", "why", "show"):
        _command(command, "last")
        assert re.search(reason, capsys.readouterr().out)
    if doctor is not None:
        _command("doctor", *doctor, exit_code=1)
        assert re.search(reason, capsys.readouterr().out)


def _command(*arguments: str, exit_code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == exit_code
