"""The journal keeps every row, whatever happens to its file, its locks and its process."""

from __future__ import annotations

import glob
import itertools
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localops import clock, interruption
from localops.encoding import encode
from localops.errors import DamagedJournal, ForeignJournal
from localops.journal import journal as journals
from localops.journal import journal_file, rollups, rows, spill, sql
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.spill import Claim, Spill
from localops.journal.sql import statements
from localops.reading import analytics, session_state
from localops.upkeep import salvage
from tests import programs
from tests.examples import examples
from tests.made import SESSION, event


def names(folder: str) -> list[str]:
    """Return the names of the actions in a journal, in order."""
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return [name for (name,) in reader.ask("select name from event where kind = 'action' order by seq")]


@pytest.fixture
def folder() -> str:
    """Return the folder of the test's journal."""
    return programs.project()


@pytest.fixture
def journal(folder: str) -> Iterator[Journal]:
    """Return a journal that does not wait long."""
    one = Journal(folder, wait=0.2)
    yield one
    one.close()


def after_a_look(journal: Journal) -> None:
    """Pretend that half a second has passed."""
    journal._file.look_at = 0.0


# What it promises


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


# A locked journal


def test_a_locked_journal_costs_one_wait(journal: Journal, folder: str) -> None:
    """Rows that cannot be written go to the spill file after one bounded wait, the next at once, and come in later."""
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


def test_reading_goes_on_beside_a_lock(journal: Journal, folder: str) -> None:
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


# A file that is not where it was


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
    assert [row[2] for row in journal.all("story", session=SESSION)] == ["session"]


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


# A file that is not ours, or not sound


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


# Folders that cannot be written


def test_a_read_only_folder_can_be_read(journal: Journal, folder: str) -> None:
    """In a folder that cannot be written the journal is read as it is, and rows go to the user's state folder."""
    journal.append(event("a"))
    journal.close()
    os.chmod(folder, 0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("the superuser may write anywhere")
    try:
        assert names(folder) == ["a"]
        assert journal.append(event("b"))
        assert spill.waiting(folder)[0].startswith(os.environ["XDG_STATE_HOME"])
    finally:
        os.chmod(folder, 0o700)
    journal.close()
    again = Journal(folder)
    again.append(event("c"))
    again.close()
    assert names(folder) == ["a", "b", "c"]


def test_a_row_that_no_place_takes_is_counted_once_and_says_why(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the middle of our own write, too deep to write a spill file, the row is counted once, with the reason."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    journal = Journal(str(tmp_path / "home" / "default"))
    journal.append(event("a"))
    session = event("b")[2]
    fates: list[bool] = []
    most = sys.getrecursionlimit()

    def deeper() -> None:  # each in the middle of the one before, as handlers that interrupt each other are
        row = event("b")
        with journal._lock:
            inside, journal._inside = journal._inside, True
            try:
                fates.append(journal.append(row))
                if fates[-1]:
                    deeper()
            finally:
                journal._inside = inside

    sys.setrecursionlimit(300)
    try:
        with suppress(RecursionError):
            deeper()
    finally:
        sys.setrecursionlimit(most)
    lost = fates.count(False)
    assert journal.counts["dropped"] == lost == journal.losses.figures[session][1] > 0
    warning = capfd.readouterr().err
    assert "RecursionError" in warning
    assert "(None)" not in warning
    journal.close()


def test_a_home_that_is_a_file(tmp_path: Any) -> None:
    """If the home cannot be created, rows go to the user's state folder; once it can, they come in."""
    home = tmp_path / "file"
    home.write_text("not a folder")
    journal = Journal(str(home / "default"))
    assert journal.append(event("a"))
    assert journal.counts == {"recorded": 0, "spilled": 1, "dropped": 0, "reopened": 0}
    journal.close()
    home.unlink()
    again = Journal(str(home / "default"))
    again.append(event("b"))
    again.close()
    assert names(str(home / "default")) == ["a", "b"]


# Network file systems

_NFS = "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {} rw - nfs4 server:/home rw\n"


def _nfs(folder: str) -> str:
    """Return the mounts of a machine whose home is on a network file system; blanks in them are octal."""
    return _NFS.format(os.path.dirname(folder).replace(" ", r"\040"))


_WRITER = (
    "import sys, os\nfrom localops import clock\nfrom localops.journal import rows\n"
    "from localops.journal.journal import Journal\n"
    "journal = Journal(sys.argv[1], mountinfo=sys.argv[2])\nat = clock.now_ns()\n"
    "for n in range(20):\n"
    "    journal.append(rows.make('action', bytes(15) + b'x', id=clock.new_id(at), at_ns=at, name=str(n)))\n"
)


@pytest.mark.parametrize("end", ["journal.close()", "os._exit(1)"])
def test_on_a_network_file_system_each_process_has_its_own_file(folder: str, end: str) -> None:
    """There a process writes a part of its own, which comes in when it has ended, in peace or not, and not before."""
    mounts = _nfs(folder)
    writer = programs.start(_WRITER + "print(1, flush=True); sys.stdin.readline()\n" + end, folder, mounts)
    programs.first_line(writer)
    gather = Journal(folder, gather=True, mountinfo=mounts)
    assert gather.collect() == 0
    assert not os.path.exists(gather.path)
    writer.communicate("\n", timeout=30)
    gather.collect()
    gather.close()
    assert names(folder) == [str(n) for n in range(20)]
    assert os.listdir(os.path.join(folder, "parts")) == []


def test_what_lies_beside_a_part_goes_with_it(folder: str) -> None:
    """SQLite's own file beside a part goes when the part has come in, and when a killed process left it alone."""
    mounts = _nfs(folder)
    assert programs.run(_WRITER + "os._exit(1)", folder, mounts).returncode == 1
    place = Path(folder, "parts")
    (part,) = place.iterdir()
    for name in (part.name, part.name.replace(".db", "0.db")):
        os.close(os.open(place / f"{name}-journal", os.O_CREAT | os.O_EXCL, 0o600))
    gather = Journal(folder, gather=True, mountinfo=mounts)
    gather.collect()
    gather.close()
    assert names(folder) == [str(n) for n in range(20)]
    assert list(place.iterdir()) == []


def test_a_home_with_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    """Any name that the file system takes will do: rows are written, spilled, taken in and read there."""
    folder = os.path.join(os.fsdecode(os.fsencode(tmp_path) + b"/h\xff\xe9"), "default")
    journal = Journal(folder)
    assert journal.append(event("a"))
    assert journal.losses.keep(event("b"))
    assert journal.collect() == 1
    journal.close()
    with Reader(os.path.join(folder, "journal.db")) as reader:
        reader.backup(os.path.join(folder, "copy"))
    assert names(folder) == ["a", "b"]
    assert journal.counts == {"recorded": 1, "spilled": 0, "dropped": 0, "reopened": 0}


def test_a_part_that_was_closed_is_not_written_again(folder: str) -> None:
    """Rows after a close go to another part, so none is removed under its writer."""
    mounts = _nfs(folder)
    journal = Journal(folder, mountinfo=mounts)
    for name in ("a", "b"):
        journal.append(event(name))
        journal.close()
    assert len(os.listdir(os.path.join(folder, "parts"))) == 2
    gather = Journal(folder, gather=True, mountinfo=mounts)
    gather.collect()
    gather.close()
    assert names(folder) == ["a", "b"]


# Deriving

_KINDS = ("session", "join", "leave", "tags", "end", "price", "agent", "action", "llm", "tool", "error", "custom")


@st.composite
def histories(draw: st.DrawFn) -> list[rows.Row]:
    """Draw rows of two sessions, with every kind of row that something is derived from."""
    drawn, ids = [], [bytes([n]) * 16 for n in range(1, 40)]
    for n in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from(_KINDS))
        phase = draw(st.sampled_from((0, 0, 1))) if kind in ("action", "llm", "tool") else 0
        work = kind in ("llm", "tool", "price")
        body = {"was": None, "derived": draw(st.sampled_from((0, 1)))} if kind in ("price", "end") else {}
        drawn.append(
            rows.make(
                kind,
                draw(st.sampled_from((b"s" * 16, b"t" * 16))),
                id=draw(st.sampled_from(ids)),
                phase=phase,
                at_ns=1_000 + draw(st.integers(0, 50)),
                name="set" if kind == "tags" and n % 2 else "Success" if kind == "end" else f"{kind} {n % 3}",
                agent=ids[n % 3] if n % 4 == 0 else None,
                model="m" if kind == "llm" else None,
                cost=draw(st.sampled_from((None, 5, 7))) if work and phase == 0 else None,
                failed=1 if n % 5 == 0 else None,
                tags='["a"]' if n % 3 == 0 else '["b","c"]' if n % 7 == 0 else None,
                body=encode.dumps(body).decode(),
            )
        )
    return list({(row[0], row[1]): row for row in drawn}.values())


DERIVED = {
    "total": "session, rows, events, actions, llms, tools, errors, failed, tokens_in, tokens_out, cost, unpriced, "
    "first_ns, last_ns, name, state, implied, ended_ns",
    "unfinished": "id",
    "milestone": "session, at_ns, id, kind, name, implied",
    "facet": "dim, value, start_ns, whole, events, failed, cost, unpriced",
    "session_tag": "session, tag",
    "id_of": "id, phase",
}


def derived(journal: Journal) -> dict[str, list[Any]]:
    """Return all that is derived from the stream, without the numbers that depend on its order."""
    tables: dict[str, list[Any]] = {}
    connection = journal._file.connection
    assert connection is not None
    for table, columns in DERIVED.items():
        tables[table] = sorted(connection.execute(f"select {columns} from {table}").fetchall(), key=repr)
    for session in (b"s" * 16, b"t" * 16):
        tables["stands"] = [*tables.get("stands", []), session_state.standing(journal, journal.folder, session)]
    tables["id_of"] = [each for each in tables["id_of"] if each[0][0] < 40 and len(set(each[0])) == 1]
    return tables


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), data=st.data())
def test_the_order_of_rows_changes_no_figure(tmp_path: Any, history: list[rows.Row], data: st.DataObject) -> None:
    """Shuffled history, cut into any batches, gives the same totals, facets, states, tags and unfinished operations."""
    results = []
    for order in (history, data.draw(st.permutations(history))):
        folder = str(tmp_path / clock.new_id().hex())
        journal = Journal(folder)
        left = list(order)
        while left:
            size = data.draw(st.integers(1, len(left)))
            journal.add(left[:size])
            left = left[size:]
            if data.draw(st.booleans()):
                journal.fold()
        journal.fold()
        results.append(derived(journal))
        journal.close()
        shutil.rmtree(folder)
    assert results[0] == results[1]


def test_a_late_row_takes_a_derived_end_back_in_what_is_folded(journal: Journal) -> None:
    """The folded state of a session that was taken for dead is open again after any later row."""
    for kind in ("leave", "action"):
        session = clock.new_id()
        journal.add([event("run", "session", session)])
        journal.add([event("Indeterminate", "end", session, body='{"derived":1}')])
        journal.fold()
        assert (session,) not in journal.all("open_sessions", many=99)
        journal.add([event("late", kind, session)])
        journal.fold()
        assert (session,) in journal.all("open_sessions", many=99)


def test_figures_are_exact_before_and_after_the_fold(journal: Journal) -> None:
    """The rows past the mark and those before it always add up to all rows."""
    for n in range(3 * rollups.BATCH):
        journal.append(event(f"{n}", "llm", cost=n))
        if n % 100 == 0:
            figures = analytics.totals(journal, SESSION)
            assert (figures.rows, figures.llms, figures.cost) == (n + 1, n + 1, n * (n + 1) // 2)


def test_one_of_many_writers_folds(folder: str) -> None:
    """A writer that finds the rows folded by another process continues without the write lock."""
    folds, finds = Journal(folder), Journal(folder)
    for writer in (finds, folds):
        writer.append(event("first"))
    mark = "select seq from mark"
    while not folds._file.execute(mark).get:
        folds.append(event("more"))
    finds._file.look_at, finds._rollups.due = time.monotonic() + 60, 0
    execute, statements = finds._file.execute, []

    def noted(statement: str, *values: object) -> object:
        statements.append(statement)
        return execute(statement, *values)

    finds._file.execute = noted
    finds.append(event("last"))
    assert statements[1:] == [mark]
    assert finds._rollups.due > folds._file.execute(mark).get + rollups.BATCH - 1
    for writer in (finds, folds):
        writer.close()


def test_joining_costs_little_however_many_have_joined(journal: Journal) -> None:
    """Folding a row of the books takes steps in proportion to those of its session, not to their square."""
    steps = []
    for many in (200, 400):
        journal.add(event(f"{n}", "join", parent=clock.new_id()) for n in range(many))
        connection = journal._file.connection
        assert connection is not None
        counted = itertools.count()
        connection.set_progress_handler(lambda counted=counted: next(counted) < 0, 10)  # type: ignore[misc]
        journal.add([event("one more", "join")])
        connection.set_progress_handler(None)
        steps.append(next(counted))
    assert steps[1] < 4 * steps[0]  # 3 times as many have joined


def test_no_query_scans_the_stream(journal: Journal) -> None:
    """Every named query finds its rows by an index; only the tail past the mark is walked."""
    journal.append(event("a"))
    connection = journal._file.connection
    assert connection is not None
    for file in ("queries.sql", "lists.sql", "hub.sql"):
        for name, statement in statements(file).items():
            values = dict.fromkeys(re.findall(r":(\w+)", statement))
            plan = [row[3] for row in connection.execute(f"explain query plan {statement}", values)]
            if "order by seq desc\nlimit" in statement:  # the newest rows, walked backwards
                continue
            if (file, name) == ("hub.sql", "journals"):  # for one command of a hub's operator
                continue
            scans = [step for step in plan if re.match(r"SCAN (event|e|o|d)\b(?!.*INDEX)", str(step))]
            assert not scans, (file, name, plan)


# The WAL


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


# One row, once, whatever other processes write at the same time


class Alarm(Exception):
    """An exception of a program's signal handler."""


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """Raise a signal whose handler raises."""

    def ring(number: int, frame: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGUSR1, ring)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    interruption.waiting.clear()


def interrupt_after_insert(journal: Journal, what: Callable[[], object]) -> None:
    """Have something happen once, as soon as the next row of a journal is committed."""
    execute, due = journal._file.execute, [what]

    def insert(statement: str, *values: Any) -> Any:
        result = execute(statement, *values)
        if statement.startswith("insert into event") and due:
            due.pop()()
        return result

    journal._file.execute = insert


def identities(folder: str) -> list[tuple[Any, ...]]:
    """Return the identities of all rows, in order."""
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return reader.ask("select id, phase from event order by seq")


@pytest.mark.parametrize("fold", [False, True])
def test_an_interrupted_row_is_found_behind_rows_of_others(
    journal: Journal, folder: str, alarm: Callable[[], None], fold: bool
) -> None:
    """However many rows another process writes before we look whether ours is there, it is written once."""
    other = Journal(folder)
    journal.append(event("first"))

    def happen() -> None:
        for n in range(150):
            other.append(event(f"{n}"))
        if fold:
            other.fold()
        alarm()

    interrupt_after_insert(journal, happen)
    assert journal.append(event("ours"))
    other.close()
    assert names(folder).count("ours") == 1
    assert len(set(identities(folder))) == len(identities(folder))
    assert (journal.counts["recorded"], journal.counts["spilled"]) == (2, 0)


def test_an_interrupted_row_is_spilled_while_the_journal_cannot_tell(
    journal: Journal, folder: str, alarm: Callable[[], None]
) -> None:
    """A row that cannot be looked up is not written a second time: the spill file brings it in once."""
    journal.append(event("first"))
    connection = journal._file.connection
    assert connection is not None

    def happen() -> None:
        answers = iter([True])  # SQLite gives the next statement up, and none after it
        connection.set_progress_handler(lambda: next(answers, False), 1)
        alarm()

    interrupt_after_insert(journal, happen)
    assert journal.append(event("ours"))
    assert journal.append(event("last"))
    journal.collect()
    assert names(folder) == ["first", "ours", "last"]
    assert spill.count(folder) == 0


def test_rows_past_the_mark_are_known_where_only_a_newer_release_folds(journal: Journal, folder: str) -> None:
    """Rows that come from elsewhere are looked for among those that are not folded, too."""
    row = event("a")
    journal.append(row)
    journal._file.may_fold = False
    assert journal.add([row, event("b")]) == 1
    assert names(folder) == ["a", "b"]


def test_a_spill_file_that_another_process_takes_is_no_error(
    journal: Journal, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was listed, and is gone or locked when its turn comes, keeps no row from the journal."""
    journal.append(event("a"))
    for name in ("b", "c"):
        Spill(folder).write(event(name))
    gone, held = spill.waiting(folder)
    claim = Claim(held)
    other = Journal(folder)
    other.append(event("e"))  # to open it takes in what can be
    assert not os.path.exists(gone)
    assert [journals._collect_spill(journal, path) for path in (gone, held, claim.path)] == [0, 0, 0]
    journal.losses.waiting = True
    after_a_look(journal)
    assert journal.append(event("d"))
    claim.close()
    other.close()
    assert (journal.counts["spilled"], capsys.readouterr().err) == (0, "")
    assert "d" in names(folder)


def test_a_spill_file_that_another_left_comes_in_later(journal: Journal, folder: str) -> None:
    """A process may have to leave a spill file that it has claimed: another one takes it later."""
    journal.append(event("a"))
    journal._inside = True  # a signal handler that records in the middle of our own write
    journal.append(event("b"))
    journal._inside = False
    claim = Claim(spill.waiting(folder)[0])
    after_a_look(journal)
    journal.append(event("c"))
    claim.close()
    after_a_look(journal)
    journal.append(event("d"))
    assert names(folder) == ["a", "c", "b", "d"]
    assert spill.waiting(folder) == []


def test_closing_takes_in_what_another_left(journal: Journal, folder: str) -> None:
    """A process that has spilled nothing takes in waiting rows when it closes the journal."""
    journal.append(event("a"))
    Spill(folder).write(event("b"))
    Claim(spill.waiting(folder)[0]).close()
    journal.close()
    assert names(folder) == ["a", "b"]
    assert spill.waiting(folder) == []
