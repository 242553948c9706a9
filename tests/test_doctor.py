"""Doctor reports what is wrong, and reports nothing if nothing is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

import localops
from localops import clock
from localops.journal import blobs, participants, rows, spill
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.spill import Claim, Spill
from localops.transfer import delivery
from localops.upkeep import doctor, salvage
from localops.upkeep.findings import Finding
from tests import programs
from tests.journal.looks import after_a_look


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with one ended session in its default project."""
    session = localops.start_session(tags=["x"])
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1, completion_tokens=1))
    session.end_session("Success")
    localops.api.client().close()
    return tmp_path / "home"


def _faults(home: Path, *, deep: bool = False) -> list[Finding]:
    return [finding for finding in doctor.examine(str(home), ["default"], deep=deep) if finding.fault]


def test_nothing_is_wrong_with_a_sound_home(home: Path) -> None:
    """Light or deep: a home that was just recorded into has no fault, and looking leaves nothing behind."""
    before = sorted(home.rglob("*"))
    assert _faults(home) == _faults(home, deep=True) == []
    assert [path for path in sorted(home.rglob("*")) if "-wal" not in path.name and "-shm" not in path.name] == [
        path for path in before if "-wal" not in path.name and "-shm" not in path.name
    ]


def test_a_home_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    """A missing home is a fact, with a first step."""
    (found,) = doctor.examine(str(tmp_path / "nowhere"), [])
    assert (found.fault, "demo" in str(found.cure)) == (False, True)


def test_files_that_others_can_read_are_found_and_closed(home: Path) -> None:
    """The cure for a file open to others sets its mode."""
    (home / "default").chmod(0o755)
    (found,) = _faults(home)
    assert "0755" in found.text
    assert found.mend is not None
    found.mend()
    assert _faults(home) == []


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """It is named, but its mode is not changed, and no repair is offered."""
    folder = tmp_path / "home" / "default"
    folder.mkdir(parents=True)
    (tmp_path / "home").chmod(0o700)
    with closing(apsw.Connection(str(folder / "journal.db"))) as connection:
        connection.execute("create table notes (text)")
    (found,) = _faults(tmp_path / "home")
    assert "another program" in found.text
    assert found.mend is None
    assert "repair" not in str(found.cure)


def test_waiting_rows_are_found_and_taken_in(home: Path) -> None:
    """Rows in a spill file are counted, and the fix moves them into the journal."""
    folder, at = str(home / "default"), clock.now_ns()
    Spill(folder).write(rows.make("session", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    (found,) = _faults(home)
    assert found.text == "1 row waits in the spill file"
    assert found.mend is not None
    found.mend()
    assert _faults(home) == []


def test_a_changed_row_is_found(home: Path) -> None:
    """A row that SQLite accepts is found by its checksum, in a deep look only."""
    journal = Journal(str(home / "default"))
    journal.transact(lambda execute: execute("update event set model = 'gpt-5' where model is not null"))
    journal.close()
    assert _faults(home) == []
    faults = _faults(home, deep=True)
    assert "1 row is damaged (wrong checksum)" in faults[0].text


def test_derived_tables_that_differ_are_found_and_built_again(home: Path) -> None:
    """A figure that does not follow from the rows is found, and the cure derives it again."""
    journal = Journal(str(home / "default"))
    journal.transact(lambda execute: execute("update total set cost = cost + 1"))
    journal.close()
    (fault,) = _faults(home, deep=True)
    assert fault.text.endswith(": total")
    assert fault.mend is not None
    fault.mend()
    assert _faults(home, deep=True) == []


def test_a_damaged_blob_is_found(home: Path) -> None:
    """A blob with a changed byte is found only by a deep look."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.ToolEvent(name="long", returns="x" * 2_000_000))
    session.end_session("Success")
    [path] = [path for path in (home / "default" / "blobs").rglob("*") if path.is_file()]
    assert _faults(home, deep=True) == []
    path.write_bytes(b"y" + path.read_bytes()[1:])
    assert _faults(home) == []
    (found,) = _faults(home, deep=True)
    assert f"1 blob is damaged: {path.name}" in found.text


def test_rows_that_a_remote_does_not_take_are_a_fault(home: Path) -> None:
    """Parked rows are on no remote: not all is well."""
    folder = home / "default"
    (folder / "remotes.json").write_text('{"hub": {"url": "http://127.0.0.1:1"}}')
    journal = Journal(str(folder), gather=True)
    with Reader(journal.path) as reader:
        ledger = delivery.Ledger(reader, str(folder), "hub")
        ledger.park(journal, {2: "indigestible"})
        (found,) = _faults(home)
        assert "1 row is parked, and not on remote hub" in found.text
        ledger.unpark(journal, [2], drop=True)
        assert _faults(home) == []
    journal.close()


def test_a_missing_blob_is_found(home: Path) -> None:
    """A row refers to a blob that is not there."""
    folder = str(home / "default")
    digest = blobs.keep(folder, b"a picture")
    session = localops.start_session()
    assert session is not None
    session.record(localops.ActionEvent(screenshot=f"blob:{digest}"))
    session.end_session("Success")
    assert _faults(home, deep=True) == []
    os.unlink(blobs.path_of(folder, digest))
    (found,) = _faults(home, deep=True)
    assert digest in found.text


def test_a_home_that_cannot_be_looked_into_is_a_fault(tmp_path: Path) -> None:
    """A home that is a file is reported, and so are the rows that were recorded in spite of it."""
    (tmp_path / "file").write_text("")
    session = localops.init(home=str(tmp_path / "file"))
    assert session is not None
    session.end_session("Success")
    assert spill.strays(str(tmp_path / "file")) == ["default"]
    findings = list(doctor.examine(str(tmp_path / "file"), ["default"], deep=True))
    assert ["not a directory" in findings[0].text, "wait in the spill file" in findings[1].text] == [True, True]
    assert all(each.fault and each.mend is None for each in findings)


def test_a_setting_that_cannot_be_used_is_a_fault(home: Path) -> None:
    """The warnings of recording are reported here, too."""
    (home / "config.toml").write_text("durability = 'eternal'\n")
    (fault,) = _faults(home)
    assert "invalid durability: expected" in fault.text


def test_dropped_events_are_a_fault_with_figures(home: Path) -> None:
    """The report has how many were lost, and of which session."""
    session = localops.start_session()
    assert session is not None
    for _ in range(3):
        session._journal.losses.drop(session.session_id.bytes)
    session.end_session("Success")
    localops.api.client().close()
    (found,) = _faults(home)
    assert found.text == f"3 events could not be written anywhere: 3 of session {str(session.session_id)[:13]}"


def test_events_lost_with_a_deleted_journal_are_a_fault(home: Path) -> None:
    """The report has their number, and not that the disk refused them."""
    session = localops.start_session()
    for name in ("lost", "kept", "later"):
        session.record(localops.ActionEvent(name))
        after_a_look(session._journal)
        if name == "kept":
            os.unlink(session._journal.path)
    session.end_session("Success")
    localops.api.client().close()
    (found,) = _faults(home)
    assert found.text.startswith("1 event was lost when the journal was deleted, the last time at ")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _cut(path: Path) -> None:
    path.with_name("journal.db-wal").write_bytes(b"rows")
    path.write_bytes(b"")


@pytest.mark.foreign_open  # it makes what is no journal
@pytest.mark.parametrize(
    ("spoil", "text", "cure"),
    [
        (lambda path: path.write_text("hello"), "holds no row of one", "move it away"),
        (_folder, "is a folder", "move it away"),
        (lambda path: path.write_bytes(b""), "is empty", "restore a backup"),
        (_cut, "rows are in its WAL", "localops repair"),
    ],
    ids=["text", "folder", "empty", "cut"],
)
def test_what_is_wrong_with_a_journal_has_the_right_cure(
    home: Path, spoil: Callable[[Path], object], text: str, cure: str
) -> None:
    """Only files with rows are for `localops repair`; the look itself changes nothing."""
    path = home / "default" / "journal.db"
    spoil(path)
    path.chmod(0o700)
    before = sorted(path.parent.iterdir())
    faults = [each for each in _faults(home, deep=True) if "mode" not in each.text]
    assert [(text in each.text, cure in str(each.cure)) for each in faults] == [(True, True)]
    assert sorted(path.parent.iterdir()) == before


@pytest.mark.foreign_open  # it copies the file
def test_a_journal_that_is_there_twice_is_found(home: Path) -> None:
    """The second project is named with the first, and how many sessions count twice."""
    shutil.copytree(home / "default", home / "other")
    (found,) = [each for each in doctor.examine(str(home), ["default", "other"]) if each.fault]
    assert (found.where, "copy of the journal of 'default': 1 session is" in found.text) == ("other", True)


def test_a_file_kept_by_repair_is_a_fact(home: Path) -> None:
    """The damaged file that was replaced is named, and is no fault."""
    (home / "default" / "journal.db.damaged-20260101-000000").write_bytes(b"")
    (found,) = doctor.examine(str(home), ["default"])
    assert (found.fault, "damaged-20260101" in found.text) == (False, True)


def test_a_spill_file_of_another_user_is_named(home: Path, tmp_path: Path) -> None:
    """It is neither taken in nor counted; its owner can do that."""
    (home / "default" / "spill").mkdir(exist_ok=True, mode=0o700)
    (home / "default" / "spill" / "x.ndjson").symlink_to(tmp_path)
    (found,) = _faults(home)
    assert "x.ndjson" in found.text
    assert found.mend is None


def test_rows_of_a_home_that_was_moved_are_known(home: Path, tmp_path: Path) -> None:
    """Rows and blobs that wait in the state folder for a home that does not exist any more, each with its place."""
    (tmp_path / "file").write_text("")
    session = localops.init(home=str(tmp_path / "file"))
    assert session is not None
    session.record(localops.LLMEvent(prompt="x" * 2_000_000))
    session.end_session("Success")
    of_rows, of_blobs = doctor.examine(str(home), ["default"])
    assert (of_rows.fault, of_blobs.fault) == (False, False)
    assert "rows of another home" in of_rows.text
    assert "blobs of another home" in of_blobs.text


def test_a_failed_cure_is_not_reported_as_mended(home: Path) -> None:
    """It stays a fault, with the reason."""
    folder, at = str(home / "default"), clock.now_ns()
    Spill(folder).write(rows.make("session", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    claim = Claim(spill.waiting(folder)[0])
    left, mended = doctor.mend(str(home), ["default"])
    claim.close()
    assert mended == []
    assert [each.text for each in left] == [
        "1 row waits in the spill file; this could not be fixed: another process is working on it"
    ]
    left, mended = doctor.mend(str(home), ["default"])
    assert (left, [each.text for each in mended]) == ([], ["1 row waits in the spill file"])


def test_a_cure_that_changes_nothing_is_not_reported_as_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without modes, setting one raises no error and fixes nothing."""
    (home / "default").chmod(0o755)
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    left, mended = doctor.mend(str(home), ["default"])
    assert (len(left), mended) == (1, [])
    assert "could not be fixed" in left[0].text


@pytest.mark.foreign_open
def test_damage_and_what_was_set_aside_have_a_cure(home: Path) -> None:
    """A journal without a first page, and one set aside before, lead to `localops repair`."""
    path = home / "default" / "journal.db"
    data = path.read_bytes()
    (home / "default" / "journal.db.corrupt-20260101-000000").write_bytes(data)
    path.write_bytes(bytes(4096) + data[4096:])
    cures = [finding.cure for finding in _faults(home)]
    assert len(cures) == 2
    assert all("localops repair" in str(cure) for cure in cures)


def test_who_holds_a_file_is_known(home: Path) -> None:
    """This very process is among those that have the journal open."""
    journal = Journal(str(home / "default"))
    journal.fold()
    assert any(f"({os.getpid()})" in line for line in doctor.holders(journal.path))
    journal.close()


def test_a_copy_that_a_killed_look_left_is_found_and_removed(home: Path) -> None:
    """A deep look makes a copy of the journal; one that is killed leaves it, one that is at it is let be."""
    left = home / "default" / ".doctor-abc"
    left.mkdir(mode=0o700)
    (left / "copy").write_bytes(b"x")
    with participants.alone(str(left)):
        assert _faults(home) == []
    (found,) = _faults(home, deep=True)
    assert str(left) in found.text
    assert found.mend is not None
    found.mend()
    assert not left.exists()
    assert _faults(home) == []


def test_a_large_wal_that_no_process_holds_is_emptied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not this look that holds it."""
    monkeypatch.setattr(doctor, "LARGE_WAL", 1)
    code = (
        "import os, sys\nfrom localops.journal.journal import Journal\nfrom localops.journal import rows\n"
        "journal = Journal(sys.argv[1])\njournal.append(rows.make('clock', bytes(16), id=bytes(16), at_ns=1))\n"
        "os._exit(0)\n"
    )
    assert programs.run(code, home / "default").returncode == 0
    (found,) = _faults(home)
    assert "no process uses it" in found.text
    assert found.mend is not None
    found.mend()
    assert _faults(home) == []


@pytest.mark.foreign_open  # it carves a file that no connection is open on
def test_rows_that_stand_twice_are_found_and_repaired(home: Path, tmp_path: Path) -> None:
    """A deep look finds copies of rows, which figures count; a repair leaves each row once and none lost."""
    with programs.reader() as reader:
        (row,) = (row for row in reader.stream() if row.kind == "llm")
    about = rows.make("journal", rows.NO_SESSION, id=clock.new_id(), at_ns=1, name="scrubbed", body="{}")
    with closing(Journal(programs.project())) as journal:
        for _ in range(2):
            journal.append(row.bare)
            journal.append(about)
        journal.fold()
    assert _faults(home) == []
    # One about the journal itself is in no figure.
    texts = [finding.text for finding in doctor.examine(str(home), ["default"], deep=True)]
    assert f"1 row is a copy of another, and not counted: {rows.id_text(about[0])}" in texts
    (found,) = _faults(home, deep=True)
    assert found.text == f"2 rows are copies of others, and counted twice: {rows.id_text(row.id)}"
    assert "localops repair --project default --replace" in str(found.cure)
    os.mkdir(tmp_path / "new", 0o700)
    saved = salvage.save(str(home / "default" / "journal.db"), str(tmp_path / "new" / "default"))
    assert (saved.lost, saved.broken) == (0, 0)
    assert _faults(tmp_path / "new", deep=True) == []
