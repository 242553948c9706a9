"""Faults of a journal's files in use: a -shm removed, descriptors closed, a file cut, a frozen clock."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from localops.journal import journal as journals
from localops.journal import journal_file, spill, wal
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from tests import programs, warm
from tests.journal.looks import names
from tests.made import event

# What programs need to write rows; importing this module there would take longer than all they do.
EVENT = """
from localops import clock
from localops.journal import rows
def event(name, **columns):
    at = clock.now_ns()
    return rows.make("action", b"s" * 16, **{"id": clock.new_id(at), "at_ns": at, "name": name, **columns})
"""
RECORDS = (
    EVENT
    + """
import random, select, sys, time
from localops.journal.journal import Journal
folder, tag, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
journal, n = Journal(folder), 0
while not select.select([sys.stdin], [], [], 0)[0]:
    name = f"{tag} {n}"
    if journal.append(event(name, body='{"x":"' + 500 * "y" + '"}')):
        print(name, flush=True)
    n += 1
    time.sleep(2 * pause * random.random())
journal.close()
"""
)
COMMANDS = ("sessions", "analytics", "doctor")
WAYS = [(1, ()), (0, COMMANDS), (1, COMMANDS)]  # recorders that come late, commands that are run


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


def is_sound(folder: str) -> bool:
    """Return whether SQLite finds no fault in a journal."""
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return reader.ask("pragma integrity_check") == [("ok",)]


def appends(folder: str, *rows: str) -> None:
    """Another process writes some rows and ends."""
    code = EVENT + (
        "import sys\nfrom localops.journal.journal import Journal\n"
        "journal = Journal(sys.argv[1])\nassert all([journal.append(event(name)) for name in sys.argv[2:]])\n"
        "assert journal.counts['spilled'] == 0\njournal.close()\n"
    )
    done = programs.run(code, folder, *rows)
    assert done.returncode == 0, done.stderr


# A -shm file that is removed


def lose_the_shared_file(
    folder: str, *, recorders: int, late: int, commands: Sequence[str], seconds: float, kill: bool = False
) -> tuple[set[str], set[str]]:
    """Remove -shm under recorders, start others beside them; the names acknowledged, and those found in the end."""
    path = os.path.join(folder, "journal.db")
    pause = random.choice([0, 0.001, 0.01])
    many = [programs.start(RECORDS, folder, f"early{n}", pause) for n in range(recorders)]
    acknowledged = {programs.first_line(one).strip() for one in many}
    time.sleep(0.2)
    os.unlink(path + "-shm")
    lately = [programs.start(RECORDS, folder, f"late{n}", pause) for n in range(late)]
    acknowledged |= {programs.first_line(one).strip() for one in lately}
    for command in commands:
        warm.localops(command, "--home", os.path.dirname(folder))
    time.sleep(seconds / 4)
    if kill:
        for one in [*many, *lately]:
            one.kill()
    for one in [*many, *lately]:
        out, err = one.communicate(None if kill else "\n", timeout=60)  # each goes on until it is its turn
        assert kill or one.returncode == 0, err
        acknowledged |= set(out.splitlines()[: -1 if kill else None])
    last = Journal(folder, gather=True)
    last.append(event("last"))
    last.collect()
    last.close()
    assert is_sound(folder)
    assert not [name for name in os.listdir(folder) if "corrupt" in name]
    return acknowledged, set(names(folder))


def test_a_removed_shm_costs_nothing(folder: str) -> None:
    """With a later recorder and a command, every acknowledged row is there."""
    acknowledged, kept = lose_the_shared_file(folder, recorders=2, late=1, commands=["sessions"], seconds=1.0)
    assert acknowledged <= kept


def test_an_idle_recorder_changes_over_before_it_writes(journal: Journal, folder: str) -> None:
    """While it was idle, its -shm file was removed, and another recorder began, wrote and ended."""
    assert all(journal.append(event(f"{n}")) for n in range(20))
    os.unlink(journal.path + "-shm")
    appends(folder, *(f"other {n}" for n in range(50)))
    assert all(journal.append(event(f"after {n}")) for n in range(20))
    appends(folder, "last")
    assert names(folder) == [
        *map(str, range(20)),
        *(f"other {n}" for n in range(50)),
        *(f"after {n}" for n in range(20)),
        "last",
    ]
    assert is_sound(folder)
    assert journal.counts == {"recorded": 40, "spilled": 0, "dropped": 0, "reopened": 1}


def test_a_reader_makes_no_harm_of_a_removed_shm(journal: Journal, folder: str) -> None:
    """A reader that opens the journal and stays does not mislead writers."""
    code = (
        "import sys\nfrom localops.journal.reader import Reader\nwith Reader(sys.argv[1]) as reader:\n"
        "    for _ in sys.stdin:\n"
        "        print(reader.ask(\"select count(*) from event where kind = 'action'\")[0][0], flush=True)\n"
    )
    journal.append(event("before"))
    os.unlink(journal.path + "-shm")
    reader = programs.start(code, journal.path)

    def seen() -> int:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
        return int(programs.first_line(reader))

    assert seen() == 1
    assert all(journal.append(event(f"{n}")) for n in range(50))
    appends(folder, "other")
    assert seen() == 52
    os.unlink(journal.path + "-shm")
    assert all(journal.append(event(f"again {n}")) for n in range(50))
    appends(folder, "another")
    assert seen() == 103
    reader.communicate(timeout=30)
    assert is_sound(folder)


def test_an_open_transaction_is_waited_for(journal: Journal, folder: str) -> None:
    """A transaction that is open when -shm is removed is finished before another process writes."""
    code = EVENT + (
        "import os, sys, time\n"
        "from localops.journal.journal import Journal\nfrom localops.journal.journal_file import INSERT\n"
        "journal = Journal(sys.argv[1])\njournal.append(event('first'))\n"
        "def work(execute):\n"
        "    execute(INSERT, event('slow'))\n"
        "    os.unlink(journal.path + '-shm')\n"
        "    print('up', flush=True)\n"
        "    time.sleep(1)\n"
        "try:\n    journal.transact(work)\nexcept Exception as error:\n    print(error)\n"
        "journal.append(event('later'))\njournal.close()\n"
    )
    slow = programs.start(code, folder)
    assert programs.first_line(slow) == "up\n"
    appends(folder, *(f"{n}" for n in range(50)))
    out, err = slow.communicate(timeout=30)
    assert slow.returncode == 0, err
    assert "do it again" in out
    assert sorted(names(folder)) == sorted(["first", "slow", "later", *map(str, range(50))])
    assert is_sound(folder)


# Descriptors that the program closes

CLOSES = (
    EVENT
    + """
import os, sys, time
from localops.journal.journal import Journal
journal, opened = Journal(sys.argv[1]), []
journal.participate()
assert all(journal.append(event(f"before {n}")) for n in range(5))
os.closerange(3, int(sys.argv[2]))
for n in range(int(sys.argv[3])):
    opened.append(open(f"{sys.argv[1]}/own {n}", "wb+", buffering=0))
    opened[-1].write(b"own " * 1000)
worst, naps, sleep = 0.0, [], time.sleep
def nap(seconds):
    naps.append(seconds)
    sleep(seconds)
time.sleep = nap
for n in range(50):
    naps.clear()
    assert journal.append(event(f"{n}"))
    worst = max(worst, sum(naps))
    journal._file.look_at = 0.0 if n % 10 == 0 else journal._file.look_at
journal.participate().check()
journal.close()
for file in opened:
    file.seek(0)
    assert file.read() == b"own " * 1000
print(worst, journal.counts["spilled"], flush=True)
"""
)


@pytest.mark.parametrize(("reused", "spilled"), [(0, 0), (80, 0), (200, 50)])
def test_closed_descriptors_are_noticed(folder: str, reused: int, spilled: int) -> None:
    """A program that closes all descriptors and opens files of its own: rows are kept, its files left alone."""
    done = programs.run(CLOSES, folder, 250, reused)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    worst, kept = done.stdout.split()
    assert float(worst) < 5
    assert int(kept) == spilled
    appends(folder, "after")
    assert len(names(folder)) == 56
    assert is_sound(folder)


# A second name


def _link_all(folder: str) -> str:
    """Link all files like `cp -al` and rsnapshot."""
    there = folder + "-linked"
    os.makedirs(there, mode=0o700)
    for name in os.listdir(folder):
        if name.startswith("journal.db"):
            os.link(os.path.join(folder, name), os.path.join(there, name))
    return there


@pytest.mark.parametrize("first", ["the recorder", "the other name"])
def test_a_journal_with_two_names_becomes_two(journal: Journal, folder: str, first: str) -> None:
    """Both continue, each with all rows from before and its own from after; no row is lost or mixed up."""
    assert all(journal.append(event(f"{n}")) for n in range(50))
    there = _link_all(folder)
    other = Journal(there, wait=0.2)
    for _ in range(2):
        for one in [journal, other] if first == "the recorder" else [other, journal]:
            one._file.look_at = 0.0
            assert all(one.append(event(f"{os.path.basename(one.folder)} {n}")) for n in range(20))
            assert os.stat(journal.path).st_ino != os.stat(other.path).st_ino or one.counts["spilled"]
    for one in (journal, other):
        one._file.look_at = 0.0
        one.append(event("last"))
        one.close()
        mine = names(one.folder)
        assert sorted(mine) == sorted(
            [*map(str, range(50)), *2 * [f"{os.path.basename(one.folder)} {n}" for n in range(20)], "last"]
        )
        assert is_sound(one.folder)
        assert not [name for name in os.listdir(one.folder) if "own" in name]
    assert journal.id != other.id


def test_a_copy_that_was_cut_off_is_finished(journal: Journal, folder: str) -> None:
    """A process that died between taking the WAL away and putting its copy in place has lost nothing."""
    journal.append(event("a"))
    connection = journal._file.connection
    assert connection is not None
    connection.execute("vacuum into ?", (journal.path + ".own",)).fetchall()
    there = _link_all(folder)
    journal._file.drop()
    os.unlink(os.path.join(there, "journal.db.own"))
    for side in ("-wal", "-shm"):
        os.unlink(journal.path + side)
    journal.append(event("b"))
    assert names(folder) == ["a", "b"]
    assert os.stat(journal.path).st_nlink == 1


# A WAL under many writers


def test_a_wal_stays_short_under_many_writers(folder: str) -> None:
    """While several processes write in tight loops the WAL is emptied now and then, as it is under one."""
    code = EVENT + (
        "import sys\nfrom localops.journal.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "journal.append(event('first'))\nprint('up', flush=True)\n"
        "while journal.counts['recorded'] < 700:\n"
        "    journal.append(event('x', body='{\"x\":\"' + 20_000 * 'y' + '\"}'))\n"
        "print(journal.counts['recorded'])\njournal.close()\n"
    )
    many = [programs.start(code, folder) for _ in range(5)]
    for one in many:
        assert programs.first_line(one) == "up\n"
    largest = 0
    while all(one.poll() is None for one in many):
        with contextlib.suppress(FileNotFoundError):  # the last of them has just let go of it
            largest = max(largest, os.path.getsize(os.path.join(folder, "journal.db-wal")))
        time.sleep(0.01)
    written = sum(int(one.communicate(timeout=60)[0]) for one in many)
    # Without emptying it grows to hundreds; while one that empties it waits for a core, the others write on.
    assert largest <= 24 << 20
    assert written * 20_000 > 24 << 20
    assert is_sound(folder)


def test_a_writer_continues_while_another_process_copies_the_wal(
    journal: Journal, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there is room it writes without a nap; without room it waits, but not forever."""
    code = (
        "import fcntl, sys\nfile = open(sys.argv[1] + '-shm', 'r+b')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX, 1, 121)\nprint('up', flush=True)\nsys.stdin.readline()\n"
    )
    body = '{"x":"' + 100_000 * "y" + '"}'
    naps: list[int] = []
    sleep = time.sleep

    def nap(seconds: float) -> None:
        naps.append(journal._file.watch.frames()[0])
        sleep(seconds)

    def write() -> None:
        journal._file.check_at = journal._wal._shorten_at = 0.0
        assert journal.append(event("x", body=body))

    journal.append(event("first"))
    copies = programs.start(code, journal.path)  # it holds the lock for copying
    assert programs.first_line(copies) == "up\n"
    monkeypatch.setattr(time, "sleep", nap)
    while journal._file.watch.frames()[0] <= wal.FULL_FRAMES:
        write()
    assert naps == []
    write()
    assert min(naps) > wal.FULL_FRAMES
    copies.communicate("\n", timeout=60)
    write()
    write()
    assert journal._file.watch.frames()[0] < wal.COPY_FRAMES
    assert journal.counts["spilled"] == 0


def test_others_write_while_the_wal_is_synced(journal: Journal, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync of the disk needs no write lock, and a disk that fails costs no row."""
    synced: list[str] = []
    fdatasync = os.fdatasync

    def slow(handle: int) -> None:
        appends(folder, f"meanwhile {len(synced)}")
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fdatasync(handle)

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal.append(event("first"))
    monkeypatch.setattr(os, "fdatasync", slow)
    assert journal.append(event("one"), sync=True)
    monkeypatch.setattr(os, "fdatasync", broken)
    assert journal.append(event("two"), sync=True)
    assert synced == [journal.path + "-wal"]
    assert names(folder) == ["first", "one", "meanwhile 0", "two"]
    assert journal.counts == {"recorded": 3, "spilled": 0, "dropped": 0, "reopened": 0}


def test_the_sync_of_another_process_will_do(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL was just copied into the file, which begins with a sync: it is not synced again for a second."""
    synced: list[int] = []
    fdatasync = os.fdatasync

    def counted(handle: int) -> None:
        synced.append(handle)
        fdatasync(handle)

    monkeypatch.setattr(os, "fdatasync", counted)
    journal.append(event("first"))
    for age, syncs in ((0.1, 0), (60.0, 1), (-60.0, 1)):
        synced.clear()
        os.utime(journal.path, (time.time() - age,) * 2)
        journal._wal.sync_at = 0.0
        assert journal.append(event(f"{age}"))
        assert len(synced) == syncs
    os.utime(journal.path)
    assert journal.append(event("at once"), sync=True)
    assert len(synced) == 2


def test_a_long_reader_does_not_stop_writers(journal: Journal, folder: str) -> None:
    """While another program reads for long, the WAL grows, and attempts to empty it become rarer."""
    journal.append(event("first"))
    with Reader(journal.path) as reader:
        reader.ask("begin")
        reader.ask("select count(*) from event")
        for n in range(600):
            journal._file.check_at = 0.0
            assert journal.append(event(f"{n}", body='{"x":"' + 20_000 * "y" + '"}'))
        assert journal._wal._shorten_pause > wal.SHORTEN_PAUSE
        assert os.path.getsize(journal.path + "-wal") > 10 << 20
    journal._file.check_at = journal._wal._shorten_at = 0.0
    journal.append(event("last"))
    journal.append(event("begins it again"))
    assert journal._file.watch.frames()[0] < wal.MOST_FRAMES
    assert journal.counts["spilled"] == 0


# A file that is cut short, a clock that stands still


def _filled(journal: Journal) -> None:
    """Rows enough for a few hundred pages, all in the file itself."""
    body = '{"x":"' + 3_000 * "y" + '"}'
    assert all(journal.append(event(f"old {n}", body=body)) for n in range(300))
    journal._file.execute("pragma wal_checkpoint(truncate)").fetchall()
    journal._file.look_at = 0.0
    journal.append(event("looked"))


def test_a_journal_cut_in_use_is_set_aside(journal: Journal, folder: str) -> None:
    """It is kept aside, and a new one is begun with the rows since the last check."""
    _filled(journal)
    os.truncate(journal.path, os.path.getsize(journal.path) // 2)
    journal.append(event("unaware"))
    journal._file.look_at = 0.0
    journal.append(event("aware"))
    journal.close()
    assert [name for name in os.listdir(folder) if "corrupt" in name]
    assert names(folder)[-2:] == ["unaware", "aware"]
    assert journal.counts["spilled"] == 0
    assert is_sound(folder)


def test_compacting_is_not_taken_for_a_cut(journal: Journal, folder: str) -> None:
    """A journal that another process compacts becomes shorter, and stays the same journal."""
    _filled(journal)
    remove = "def work(execute): execute(\"delete from event where name like 'old%' and seq > 5\")"
    code = f"import sys; from localops.journal.journal import Journal\n{remove}\n"
    code += "j = Journal(sys.argv[1]); j.transact(work)\n"
    done = programs.run(code + "j.compact(); j.close()\n", folder)
    assert done.returncode == 0, done.stderr
    size = os.path.getsize(journal.path)
    journal._file.look_at = 0.0
    journal.append(event("after"))
    assert size < 200_000
    assert not [name for name in os.listdir(folder) if "corrupt" in name]
    assert names(folder)[-1] == "after"


def test_rows_after_compacting_are_not_taken_for_a_cut(journal: Journal, folder: str) -> None:
    """The shorter file has fewer pages than the journal, whose newest ones are in the WAL until it is copied."""
    _filled(journal)
    journal.transact(lambda execute: execute("delete from event where name like 'old%' and seq > 5"))
    journal.compact()
    size = os.path.getsize(journal.path)
    body = '{"x":"' + 3_000 * "y" + '"}'
    for number in range(30):
        journal.append(event(f"new {number}", body=body))
    assert os.path.getsize(journal.path) == size
    journal._file.look_at = 0.0
    journal.append(event("after"))
    assert not [name for name in os.listdir(folder) if "corrupt" in name]
    assert names(folder)[-1] == "after"


def test_a_cut_journal_is_set_aside_by_the_first_recorder(journal: Journal, folder: str) -> None:
    """It was cut while no process had it open, and not even its tables can be read."""
    _filled(journal)
    journal.close()
    os.truncate(journal.path, 5_000)
    appends(folder, "new")
    assert [name for name in os.listdir(folder) if "corrupt" in name]
    assert names(folder) == ["new"]


@pytest.mark.parametrize("where", ["time", "journal"])
def test_a_clock_that_stands_still_ends_a_wait(
    journal: Journal, folder: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A locked journal and a frozen clock: the row goes to the spill file after a bounded wait."""
    journal.append(event("before"))
    other = Journal(folder)

    def meanwhile(execute: Any) -> None:
        with monkeypatch.context() as frozen:
            now = time.monotonic()
            frozen.setattr(time, "monotonic", lambda: now)
            if where == "journal":
                for module in (journals, journal_file, wal):
                    frozen.setattr(module, "monotonic", lambda: now)
            assert journal.append(event("spilled"))

    other.transact(meanwhile)
    # Before it is closed: who lets go of a journal takes in what waits.
    assert spill.count(folder) == 1
    other.close()
