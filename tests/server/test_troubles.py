"""How a hub knows that a journal has to be checked again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.server.troubles import sight
from tests.server.hubs import session_rows


def _look(path: str) -> object:
    with Reader(path) as reader:
        reader.ask("select max(seq) from event")
    return sight(path)[1]


def test_a_look_is_no_change(tmp_path: Path) -> None:
    """An idle hub would read each journal again and again; new rows are a change, and so is who may read them."""
    path = str(tmp_path / "journal.db")
    with closing(Journal(str(tmp_path))) as journal:
        journal.add(session_rows(1))
    before = sight(path)[1]
    assert [_look(path), _look(path)] == [before, before]
    with closing(Journal(str(tmp_path))) as journal:
        journal.add(session_rows(1))
        written = sight(path)[1]
        assert written != before
        assert [_look(path), _look(path)] == [written, written]
        Path(f"{path}-wal").chmod(0o640)
        assert sight(path)[1] != written
