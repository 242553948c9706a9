"""A row is there for others when it was appended, beside locks, long readers and clocks that are set."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.encoding import encode
from localops.errors import DamagedJournal, ForeignJournal
from localops.journal import journal as journals
from localops.journal import journal_file, rows, spill
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.upkeep import salvage
from tests import programs
from tests.journal.looks import after_a_look, names
from tests.made import SESSION, event


def test_a_row_is_there_for_others_when_append_returns(journal: Journal, folder: str) -> None:
    """Another connection sees each row as soon as append has returned."""
    for n in range(3):
        assert journal.append(event(f"{n}"))
        assert names(folder) == [f"{i}" for i in range(n + 1)]


def test_files_are_private(journal: Journal, folder: str) -> None:
    """Files are 0600 and folders 0700, whatever the umask."""
    before = os.umask(0)
    try:
        journal.append(event("a"))
        journal.participate()
    finally:
        os.umask(before)
    for top, _, files in os.walk(os.path.dirname(folder)):
        assert os.stat(top).st_mode & 0o777 == 0o700
        assert all(os.stat(os.path.join(top, name)).st_mode & 0o777 == 0o600 for name in files)


def test_seq_is_never_used_twice(journal: Journal, folder: str) -> None:
    """The newest row cannot be deleted, so no later row can get its seq."""
    journal.append(event("a"))

    def delete_all(execute: Any) -> None:
        execute("delete from event where seq = (select max(seq) from event)")

    with pytest.raises(Exception, match="must not be used again"):
        journal.transact(delete_all)
    assert names(folder) == ["a"]


def test_rows_that_are_added_twice_are_there_once(journal: Journal, folder: str) -> None:
    """Rows that the journal has are ignored, in the same batch or in another."""
    batch = [event("a"), event("b")]
    assert journal.add([*batch, *batch]) == 2
    assert journal.add(reversed(batch)) == 0
    assert names(folder) == ["a", "b"]


def _mixed(many: int) -> Iterator[rows.Row]:
    """Yield rows of all forms: short ones, and calls with counts in their body, beside it, without any, or opened."""
    tokens = (7, 8, None, None)
    for number in range(many):
        at = clock.now_ns()
        call: dict[str, Any] = {"id": clock.new_id(at), "at_ns": at, "model": "gpt-4o", "tokens": tokens}
        forms = (
            rows.plain(clock.new_id(at), rows.DONE, SESSION, "action", "step", None, None, at, None, '{"n":1}'),
            rows.make("llm", SESSION, body='{"cache_write_tokens":5}', **call),
            rows.with_counts(
                rows.make("llm", SESSION, body='{"cache_write_tokens":6}', **call),
                dict.fromkeys(rows.COUNTS_IN_BODY.values(), 6),
            ),
            rows.make("llm", SESSION, body='{"prompt":"hi"}', **call),
            rows.make("llm", SESSION, phase=rows.OPEN, body='{"cache_write_tokens":9}', **call),
            rows.make("tool", SESSION, id=call["id"], at_ns=at, name="search", failed=1, tags='["a"]'),
        )
        yield forms[number % 97 % len(forms)]


def test_rows_that_are_added_together_are_those_of_single_ones(tmp_path: Path) -> None:
    """In their order, with every column, whatever forms they have and however many there are."""
    made = list(_mixed(230))
    one, other = Journal(str(tmp_path / "one")), Journal(str(tmp_path / "other"))
    for row in made:
        assert one.append(row)
    assert other.add(made) == len(made)
    added = "select * from event where kind <> 'journal' order by seq"
    each = [list(map(tuple, journal._file.execute(added))) for journal in (one, other)]
    assert each[0] == each[1]
    assert [row[rows.COLUMNS.index("id") + 1] for row in each[1]] == [row[0] for row in made]
    one.close()
    other.close()


def test_statements_stay_prepared_however_many_rows_are_added(journal: Journal) -> None:
    """Preparing the statements that fold rows takes longer than folding a hundred rows."""
    journal.add(list(_mixed(400)))
    connection = journal._file.connection
    assert connection is not None
    before = connection.cache_stats()["misses"]
    journal.add(list(_mixed(400)))
    assert connection.cache_stats()["misses"] == before


def test_a_locked_journal_costs_one_wait(journal: Journal, folder: str) -> None:
    """Rows go to the spill file after one bounded wait, later ones at once; all are moved into the journal later."""
    journal.append(event("before"))
    other = Journal(folder)

    def meanwhile(execute: Any) -> None:
        assert all(journal.append(event(f"{n}")) for n in range(50))

    other.transact(meanwhile)
    assert journal.counts["spilled"] == 50 == spill.count(folder)
    after_a_look(journal)
    journal.append(event("after"))
    assert sorted(names(folder)) == sorted(["before", "after", *map(str, range(50))])
    assert spill.count(folder) == 0
    connection = journal._file.connection
    assert connection is not None
    losses = connection.execute("select body from event where kind = 'loss'").get
    assert encode.loads(losses) == {"spilled": 50, "dropped": 0}
    other.close()


def test_the_wait_is_not_paid_for_each_row(journal: Journal, folder: str) -> None:
    """While the journal stays locked, a look at it waits a moment; the rows between two looks do not wait."""
    journal.append(event("before"))
    other, waits = Journal(folder), []

    def meanwhile(execute: Any) -> None:
        for _ in range(20):
            journal._file._busy_since = 0.0
            journal.append(event("x"))
            waits.append(journal._file._busy_since > 0)

    other.transact(meanwhile)
    other.close()
    assert waits[0]
    assert sum(waits) <= 3


def test_one_long_wait_is_enough(journal: Journal, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others hold the lock only the first row waits long for it; a row that got in makes waits long again."""
    journal.append(event("before"))
    other, now, waits = Journal(folder), [time.monotonic()], []
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for module in (journals, journal_file):
        monkeypatch.setattr(module, "monotonic", time.monotonic)

    def meanwhile(execute: Any) -> None:
        for _ in range(4):
            begun = now[0]
            journal.append(event("x"))
            waits.append(now[0] - begun)
            now[0] += journals.LOOK_EVERY

    for _ in range(2):
        other.transact(meanwhile)
        now[0] += journals.LOOK_EVERY
        journal.append(event("after"))
    other.close()
    assert [wait > journal._file.wait for wait in waits] == [True, False, False, False] * 2
    assert max(waits[1:4] + waits[5:]) < 0.1
    assert journal.counts["spilled"] == 8


def test_reading_works_beside_a_lock(journal: Journal, folder: str) -> None:
    """Figures can be read while another process holds the write lock."""
    journal.append(event("before"))
    other = Journal(folder)
    totals = []

    def meanwhile(execute: Any) -> None:
        journal.append(event("spilled"))
        totals.append(journal.one("totals", session=SESSION))

    other.transact(meanwhile)
    assert totals[0] is not None
    other.close()


def test_a_reader_does_not_pin_the_wal(journal: Journal, folder: str) -> None:
    """Beside a reader that pages through the stream the WAL stays small."""
    journal.append(event("a"))
    with Reader(journal.path) as reader:
        stream = reader.stream(many=5)
        for n in range(10_000):
            journal.append(event(f"{n}", body=encode.dumps({"x": "y" * 500}).decode()))
            if n % 500 == 0:
                next(stream)
    assert os.path.getsize(journal.path + "-wal") < 8 << 20


def test_the_wal_shrinks_when_a_long_reader_goes(journal: Journal) -> None:
    """A foreign reader's open transaction makes the WAL grow; the next checkpoint after it shrinks the WAL."""
    import apsw

    journal.append(event("a"))
    other = apsw.Connection(journal.path)
    other.execute("begin; select * from event").fetchall()
    body = encode.dumps({"x": "y" * 4_000}).decode()
    for n in range(9_000):
        journal.append(event(f"{n}", body=body))
    grown = os.path.getsize(journal.path + "-wal")
    other.close()
    for n in range(1_500):
        journal.append(event(f"{n}", body=body))
    assert grown > 20 << 20
    assert os.path.getsize(journal.path + "-wal") <= 17 << 20


def test_time_steps_become_rows(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the wall clock while recording is a row of each open session."""
    journal.sessions.add(SESSION)
    journal.append(event("a"))
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
    after_a_look(journal)
    journal.append(event("b"))
    steps = [encode.loads(row[7])["step_ns"] for row in journal.all("story", session=SESSION) if row[2] == "clock"]
    assert [round(step / 1e9) for step in steps] == [-3600]


@pytest.mark.foreign_open  # it empties the file
def test_the_wal_of_an_emptied_journal_is_kept() -> None:
    """SQLite throws such a WAL away: neither a look nor a recorder lets it, and repair finds the rows."""
    code = "import os, localops; localops.init().record(localops.ToolEvent(name='t')); os._exit(0)"
    programs.run(code)
    path = os.path.join(programs.project(), "journal.db")
    open(path, "wb").close()
    with pytest.raises(DamagedJournal, match="localops repair"):
        Reader(path)
    journal = Journal(programs.project())
    assert journal.append(event("after"))
    journal.close()
    (aside,) = glob.glob(f"{path}.corrupt-*[0-9]")
    assert "tool" in [row.kind for row in salvage.carve(aside)]


@pytest.mark.foreign_open  # it makes what is no journal
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_pipe_is_not_opened(make: Callable[[str], None], tmp_path: Path) -> None:
    """A folder or a pipe in the journal's place is an error, without waiting for anything."""
    path = str(tmp_path / "journal.db")
    make(path)
    with pytest.raises(ForeignJournal, match="so it is not a journal"):
        Reader(path)
