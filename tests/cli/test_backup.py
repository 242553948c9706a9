"""`localops backup`: a plain copy that any SQLite tool reads, and that continues as its own journal."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal.journal import Journal
from localops.journal.reader import Reader

AsJson = Callable[..., dict[str, Any]]


@pytest.fixture
def session() -> localops.Session:
    """Return a session that is being recorded."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.ActionEvent(action_type="plan"))
    return session


def test_a_backup_is_a_plain_file_with_everything(session: localops.Session, as_json: AsJson, tmp_path: Path) -> None:
    """While the session runs, the copy has every row, no WAL, is for the owner alone, and sqlite3 can read it."""
    path = tmp_path / "copy.db"
    (written,) = as_json("backup", "-o", str(path))["backups"]
    assert (written["project"], written["bytes"]) == ("default", path.stat().st_size)
    assert path.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    assert connection.execute("select actions, state from session").fetchall() == [(1, "open")]
    assert connection.execute("pragma journal_mode").fetchone() == ("delete",)
    connection.close()


def test_a_restored_backup_takes_a_journal_id_of_its_own(
    session: localops.Session, as_json: AsJson, tmp_path: Path
) -> None:
    """Put in place, also on the same machine, it has a row that it is another journal now."""
    path = tmp_path / "copy.db"
    as_json("backup", "-o", str(path))
    (tmp_path / "other").mkdir()
    shutil.move(path, tmp_path / "other" / "journal.db")
    journal = Journal(str(tmp_path / "other"))
    journal.fold()
    assert journal.id != session._journal.id
    journal.close()
    with Reader(journal.path) as reader:
        assert [row.name for row in reader.stream() if row.kind == "journal"] == ["begun", "moved"]


@pytest.mark.foreign_open
def test_a_backup_put_back_into_the_same_file_is_known_as_one(
    session: localops.Session, as_json: AsJson, tmp_path: Path
) -> None:
    """Written over the journal it was made from (same machine, same inode), it is still another journal."""
    as_json("backup", "-o", str(tmp_path / "copy.db"))
    path, before = Path(session._journal.path), session._journal.id
    session.end_session("Success")
    localops.api.client().close()
    path.write_bytes((tmp_path / "copy.db").read_bytes())
    journal = Journal(str(path.parent))
    journal.fold()
    assert journal.id != before
    journal.close()


def test_a_backup_never_replaces_a_file(session: localops.Session, command: Any, tmp_path: Path) -> None:
    """An existing file stays, and a folder takes one file for each project."""
    path = tmp_path / "copy.db"
    path.write_text("mine")
    assert command("backup", "-o", str(path))[0] == 2
    assert path.read_text() == "mine"
    assert command("backup", "-o", str(tmp_path))[0] == 0
    assert len(list(tmp_path.glob("localops-default-*.db"))) == 1


def test_nothing_to_back_up_is_an_error(command: Any, tmp_path: Path) -> None:
    """An empty home exits with 1 and a message."""
    (tmp_path / "home").mkdir()
    code, _, err = command("backup")
    assert code == 1
    assert "no sessions yet" in err
