"""What doctor finds, and that it finds nothing where nothing is wrong."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw
import pytest

import localops
from localops import blobs, clock, doctor, rows
from localops.journal import Journal
from localops.spill import Spill


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one ended session in its default project."""
    session = localops.start_session(tags=["x"])
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1, completion_tokens=1))
    session.end_session("Success")
    localops.api.client().close()
    return tmp_path / "home"


def _faults(home: Path, *, deep: bool = False) -> list[doctor.Finding]:
    return [found for found in doctor.examine(str(home), ["default"], deep=deep) if found.fault]


def test_nothing_is_wrong_with_a_sound_home(home: Path) -> None:
    """Light or deep: a home that was just recorded into has no fault, and looking leaves nothing behind."""
    before = sorted(home.rglob("*"))
    assert _faults(home) == _faults(home, deep=True) == []
    assert [path for path in sorted(home.rglob("*")) if "-wal" not in path.name and "-shm" not in path.name] == [
        path for path in before if "-wal" not in path.name and "-shm" not in path.name
    ]


def test_a_home_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    """Nothing yet is a fact, with a word on how to begin."""
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
    """It is named, but neither closed to others nor offered for repair: it is not ours."""
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
    """Rows in a spill file are counted, and the cure brings them into the journal."""
    folder, at = str(home / "default"), clock.now_ns()
    Spill(folder).write(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at))
    (found,) = _faults(home)
    assert found.text == "1 row waits in spill files"
    assert found.mend is not None
    found.mend()
    assert _faults(home) == []


def test_a_changed_row_is_found(home: Path) -> None:
    """A row that SQLite is content with is found by its checksum, in a deep look only."""
    journal = Journal(str(home / "default"))
    journal.transact(lambda execute: execute("update event set model = 'gpt-5' where model is not null"))
    journal.close()
    assert _faults(home) == []
    found = _faults(home, deep=True)
    assert "1 rows are not as they were written" in found[0].text


def test_derived_tables_that_differ_are_found_and_built_again(home: Path) -> None:
    """A figure that does not follow from the rows is found, and the cure derives it anew."""
    journal = Journal(str(home / "default"))
    journal.transact(lambda execute: execute("update total set cost = cost + 1"))
    journal.close()
    (found,) = _faults(home, deep=True)
    assert found.text.endswith(": total")
    assert found.mend is not None
    found.mend()
    assert _faults(home, deep=True) == []


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


@pytest.mark.foreign_open
def test_damage_and_what_was_set_aside_have_a_cure(home: Path) -> None:
    """A journal without a first page, and one set aside before, lead to `localops repair`."""
    path = home / "default" / "journal.db"
    data = path.read_bytes()
    (home / "default" / "journal.db.corrupt-20260101-000000").write_bytes(data)
    path.write_bytes(bytes(4096) + data[4096:])
    cures = [found.cure for found in _faults(home)]
    assert len(cures) == 2
    assert all("localops repair" in str(cure) for cure in cures)


def test_who_holds_a_file_is_known(home: Path) -> None:
    """This very process is among those that have the journal open."""
    journal = Journal(str(home / "default"))
    journal.fold()
    assert any(f"({os.getpid()})" in line for line in doctor.holders(journal.path))
    journal.close()
