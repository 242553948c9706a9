"""A file that is not ours is left alone, and one that is damaged is set aside whole."""

from __future__ import annotations

import os
from typing import Any

import pytest

from localops.journal import rollups, spill, sql
from localops.journal.journal import Journal
from tests import programs
from tests.journal.looks import after_a_look, names
from tests.made import SESSION, event


def _foreign_database(path: str) -> None:
    import apsw

    connection = apsw.Connection(path)
    connection.execute("create table theirs(x); insert into theirs values(1)").fetchall()
    connection.close()


def _not_a_database(path: str) -> None:
    with open(path, "xb") as file:
        file.write(b"Dear diary, " * 100)


def _newer(path: str) -> None:
    journal = Journal(os.path.dirname(path))
    journal.append(event("theirs"))

    def grow(execute: Any) -> None:
        execute(f"pragma user_version = {sql.SCHEMA + 1}")
        execute("update meta set value = ? where key = 'writer'", (str(sql.SCHEMA + 1),))

    journal.transact(grow)
    journal.close()


@pytest.mark.parametrize("make", [_foreign_database, _not_a_database, _newer])
def test_a_foreign_file_is_left_alone(folder: str, make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A foreign or newer file keeps its bytes; rows go to the spill file, with one warning."""
    os.makedirs(folder)
    path = os.path.join(folder, "journal.db")
    make(path)
    before = programs.run("import sys; print(open(sys.argv[1], 'rb').read().hex())", path).stdout
    journal = Journal(folder)
    assert all(journal.append(event(f"{n}")) for n in range(3))
    journal.close()
    assert programs.run("import sys; print(open(sys.argv[1], 'rb').read().hex())", path).stdout == before
    assert spill.count(folder) >= 3
    assert capsys.readouterr().err.count("spill file") <= 1


def test_a_newer_release_may_let_us_write(folder: str) -> None:
    """A newer schema that still accepts our rows is written to, and folded by newer releases."""
    _newer(_made(folder))
    journal = Journal(folder)
    journal.append(event("a"))
    journal.close()
    assert spill.count(folder) >= 1
    newer = Journal(folder + "-2")
    newer.append(event("b"))
    newer.transact(lambda execute: execute(f"pragma user_version = {sql.SCHEMA + 1}") and None)
    newer.close()
    again = Journal(folder + "-2")
    for n in range(rollups.BATCH + 10):
        again.append(event(f"{n}"))
    assert again.counts["spilled"] == 0
    assert again.one("totals", session=SESSION)[0] == rollups.BATCH + 11  # type: ignore[index]
    again.close()


def _made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, "journal.db")


_RUIN = """
import sys
with open(sys.argv[1], "r+b") as file:
    size = file.seek(0, 2)
    file.seek(int(sys.argv[2]))
    file.write(b"ruin" * ((size - int(sys.argv[2])) // 4))
"""


@pytest.mark.parametrize("start", [0, 4096])
def test_a_damaged_journal_is_set_aside_whole(folder: str, start: int) -> None:
    """A journal found damaged during a write is kept under another name, once, and a new one is begun."""
    first = Journal(folder)
    for n in range(300):
        first.append(event(f"{n}"))
    first.close()
    both = [Journal(folder), Journal(folder)]
    for journal in both:
        journal.append(event("sound"))
    for journal in both:
        journal._file.connection.execute("pragma wal_checkpoint(truncate)").fetchall()  # type: ignore[union-attr]
        journal._file.connection.execute("pragma shrink_memory").fetchall()  # type: ignore[union-attr]
    programs.run(_RUIN, both[0].path, start)
    for n in range(20):
        assert all(journal.append(event(f"new {n}")) for journal in both)
        after_a_look(both[n % 2])
    for journal in both:
        journal.close()
    kept = [name for name in os.listdir(folder) if ".corrupt-" in name and name[-3:] not in ("wal", "shm")]
    assert len(kept) == 1
    assert len([name for name in names(folder) if name.startswith("new")]) + spill.count(folder) == 40
