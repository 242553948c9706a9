"""A file that is deleted, moved, restored or opened by other code beside an open journal loses no row."""

from __future__ import annotations

import os
import shutil

import pytest

from localops.encoding import encode
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from tests import programs
from tests.journal.looks import after_a_look, names
from tests.made import SESSION, event


@pytest.mark.parametrize("how", ["deleted", "moved", "wal deleted", "all deleted", "folder deleted"])
def test_nothing_is_lost_with_the_file(journal: Journal, folder: str, how: str) -> None:
    """A journal that is deleted or moved under a running process is written again with all later rows."""
    journal.append(event("old"))
    after_a_look(journal)
    journal.append(event("looked"))
    for n in range(100):
        journal.append(event(f"{n}"))
    _take_away(journal.path, how)
    journal.append(event("unaware"))
    after_a_look(journal)
    journal.append(event("aware"))
    kept = names(folder)
    assert [*map(str, range(100)), "unaware", "aware"] == [name for name in kept if name not in ("old", "looked")]
    assert journal.counts["reopened"] == 1
    assert how != "wal deleted" or kept[:2] == ["old", "looked"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("deleted", "20 rows recorded before stayed in the file that is gone"),
        ("moved", "20 rows recorded before stayed in the file that is gone"),
        ("wal deleted", "no event is lost"),
    ],
)
def test_rows_lost_with_the_file_are_reported(
    journal: Journal, how: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warning has the number of rows that are in the new journal, and of those that are not."""
    for n in range(20):
        journal.append(event(f"{n}"))
    after_a_look(journal)
    journal.append(event("looked"))
    _take_away(journal.path, how)
    journal.append(event("unaware"))
    after_a_look(journal)
    journal.append(event("aware"))
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("how", ["deleted", "folder deleted", "moved"])
def test_events_lost_with_each_deleted_file_are_counted_and_announced(
    journal: Journal, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The session has the number of its events that are in no file, or that a moved file still has."""
    journal.sessions.add(SESSION)
    for again in range(2):
        for n in range(20):
            journal.append(event(f"{again} {n}"))
        after_a_look(journal)
        journal.append(event("looked"))
        _take_away(journal.path, how)
        after_a_look(journal)
        journal.append(event("aware"))
        assert "rows recorded before stayed in the file that is gone" in capsys.readouterr().err
    with Reader(journal.path) as reader:
        ((stored,),) = reader.ask("select events from session_total")
        key = "left" if how == "moved" else "deleted"
        losses = reader.ask(f"select json_extract(body, '$.{key}') from event where kind = 'loss'")
    assert sum(lost for (lost,) in losses) == 44 - stored
    assert len(losses) == 2


def _take_away(path: str, how: str) -> None:
    if how == "folder deleted":
        shutil.rmtree(os.path.dirname(path))
    elif how == "moved":
        os.rename(path, path + ".moved")
    else:
        suffixes = {"deleted": ("",), "wal deleted": ("-wal",), "all deleted": ("", "-wal", "-shm")}
        for suffix in suffixes[how]:
            os.unlink(path + suffix)


def test_a_moved_journal_is_whole(journal: Journal, folder: str) -> None:
    """Rows that were only in the WAL are written to the file that was moved away without it."""
    for n in range(20):
        journal.append(event(f"{n}"))
    os.rename(journal.path, journal.path + ".moved")
    after_a_look(journal)
    journal.append(event("new"))
    with Reader(journal.path + ".moved") as moved:
        assert moved.ask("select count(*) from event where kind = 'action'") == [(20,)]


def test_a_backup_put_in_place_is_not_mixed_with_the_old_wal(journal: Journal, folder: str) -> None:
    """A restored backup in place of a journal in use has its own rows, and all since the last check, and is sound."""
    body = encode.dumps({"x": "y" * 3_000}).decode()
    for n in range(50):
        journal.append(event(f"{n}", body=body))
    connection = journal._file.connection
    assert connection is not None
    connection.execute("vacuum into ?", (journal.path + ".backup",)).fetchall()
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    for n in range(50, 150):
        journal.append(event(f"{n}", body=body))
    os.rename(journal.path + ".backup", journal.path)
    journal.append(event("unaware"))
    after_a_look(journal)
    journal.append(event("aware"))
    with Reader(journal.path) as reader:
        assert reader.ask("pragma integrity_check") == [("ok",)]
    assert names(folder) == [*map(str, range(150)), "unaware", "aware"]


_RECORDS = """
import select, sys, time
from localops.errors import DamagedJournal, ForeignJournal
from localops.journal.journal import Journal
from tests.made import event
journal, n, gone, looks = Journal(sys.argv[1]), 0, None, -2
look = journal._after_look
def count():
    global looks
    looks += gone is not None
    look()
journal._after_look = count
while looks < 0:
    journal.append(event(f"{sys.argv[2]} {n}"))
    n += 1
    if n == 20:
        print("up", flush=True)
    if gone is None and select.select([sys.stdin], [], [], 0)[0]:
        gone = n
    time.sleep(0.002)
print(gone, n, flush=True)
journal.close()
"""


@pytest.mark.parametrize("how", ["deleted", "moved", "all deleted"])
def test_several_processes_begin_again_together(folder: str, how: str) -> None:
    """If the file disappears under three processes, they share one sound new journal, with all rows from then on."""
    many = [programs.start(_RECORDS, folder, name) for name in "abc"]
    for one in many:
        programs.first_line(one)
    _take_away(os.path.join(folder, "journal.db"), how)
    for one in many:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    bounds = [map(int, one.communicate(timeout=60)[0].split()) for one in many]
    since = {f"{name} {n}" for name, (gone, end) in zip("abc", bounds, strict=True) for n in range(gone, end)}
    assert since <= set(programs.names())
    with programs.reader() as reader:
        assert reader.ask("pragma integrity_check") == [("ok",)]


def test_close_looks_once_more(journal: Journal, folder: str) -> None:
    """A journal deleted in the last half second before the program ends is written again."""
    journal.append(event("a"))
    os.unlink(journal.path)
    journal.append(event("b"))
    journal.close()
    assert names(folder) == ["a", "b"]


def test_a_session_goes_along_with_its_story(journal: Journal, folder: str) -> None:
    """In a new file, open sessions have the rows about their participants, too."""
    journal.sessions.add(SESSION)
    journal.append(event("a run", "session", id=SESSION))
    after_a_look(journal)
    journal.append(event("a"))
    after_a_look(journal)
    journal.append(event("b"))
    os.unlink(journal.path)
    after_a_look(journal)
    journal.append(event("c"))
    assert [row[2] for row in journal.all("story", session=SESSION)] == ["session", "loss"]


@pytest.mark.foreign_open
@pytest.mark.parametrize("how", ["copied", "moved", "restored"])
def test_a_journal_elsewhere_takes_another_id(journal: Journal, folder: str, how: str) -> None:
    """A journal in another place writes a row about that, and continues with a new id."""
    journal.append(event("a"))
    was = journal.id
    journal.close()
    there = folder if how == "restored" else folder + "-2"
    os.makedirs(there, exist_ok=True)
    shutil.copyfile(os.path.join(folder, "journal.db"), os.path.join(there, "new"))
    os.rename(os.path.join(there, "new"), os.path.join(there, "journal.db"))
    second = Journal(there)
    second.append(event("b"))
    assert second.id != was
    with Reader(second.path) as reader:
        rows_about_it = reader.ask("select name, body from event where kind = 'journal' order by seq")
    assert [name for name, _ in rows_about_it] == ["begun", "moved"]
    assert encode.loads(rows_about_it[1][1])["was"] == was
    second.close()
    third = Journal(there)
    third.append(event("c"))
    assert third.id == second.id
    third.close()


@pytest.mark.foreign_open
def test_an_open_by_other_code_is_noticed(journal: Journal, folder: str) -> None:
    """A file opened and closed by other code in this process drops SQLite's locks; no row is lost to that."""
    journal.append(event("a"))
    with open(journal.path, "rb") as file:
        file.read(16)
    with open(journal.path + "-shm", "rb") as file:
        file.read(16)
    programs.run(
        "import sys; from localops.journal.journal import Journal; j = Journal(sys.argv[1]); j.fold(); j.close()",
        folder,
    )
    for n in range(50):
        journal.append(event(f"{n}"))
    after_a_look(journal)
    journal.append(event("z"))
    assert journal.counts["reopened"] == 1
    assert names(folder) == ["a", *map(str, range(50)), "z"]


@pytest.mark.foreign_open
def test_dropped_locks_are_noticed_by_themselves(journal: Journal, folder: str) -> None:
    """Locks that other code dropped are taken again at the next look, before another process can do harm."""
    journal.append(event("a"))
    for suffix in ("", "-shm"):
        with open(journal.path + suffix, "rb") as file:
            file.read(16)
    after_a_look(journal)
    journal.append(event("b"))
    assert journal.counts["reopened"] == 1
    after_a_look(journal)
    journal.append(event("c"))
    assert journal.counts["reopened"] == 1
    assert names(folder) == ["a", "b", "c"]


def test_rows_that_may_be_lost_with_a_journal_that_was_cut_short_are_noted(journal: Journal) -> None:
    """The session continues in a new file, which has its first row, but not the others of the old file."""
    journal.sessions.add(SESSION)
    for n in range(100):
        journal.append(event(f"{n}"))
    connection = journal._file.connection
    assert connection is not None
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    after_a_look(journal)
    journal.append(event("looked"))
    connection.execute("pragma shrink_memory").fetchall()
    os.truncate(journal.path, 8192)
    after_a_look(journal)
    journal.append(event("aware"))
    with Reader(journal.path) as reader:
        [(lost,)] = reader.ask("select json_extract(body, '$.damaged') from event where kind = 'loss'")
        [(here,)] = reader.ask("select count(*) from event where kind = 'action'")
    assert 0 < 100 - here <= lost <= 102
