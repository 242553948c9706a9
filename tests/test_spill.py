"""Spill files keep rows as lines until a journal has taken them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from localops.journal import journal as journals
from localops.journal import spill, wire
from localops.journal.journal import Journal
from localops.journal.spill import Claim, Spill
from tests import programs
from tests.journal.looks import names
from tests.made import event


def folder() -> str:
    """Return the project of the test."""
    return programs.project()


def taken(path: str) -> list[object]:
    """Return the rows of a spill file."""
    claim = Claim(path)
    try:
        return list(claim.rows())
    finally:
        claim.close()


def test_rows_come_back_as_they_were() -> None:
    """Rows are read from a spill file in order, whatever is in them."""
    given = [event(name) for name in ("a", "b\n", "ü\u2028\x00")]
    mine = Spill(folder())
    assert all(mine.write(row) for row in given)
    assert taken(spill.waiting(folder())[0]) == given


def test_a_torn_line_is_kept_and_costs_no_other() -> None:
    """A line that cannot be read stays in a file of its own; the rows around it reach the journal."""
    mine = Spill(folder())
    for name in ("a", "b"):
        mine.write(event(name))
    path = Path(spill.waiting(folder())[0])
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0] + wire.from_row(event("torn"))[:40] + b"\n" + whole[1])
    journal = Journal(folder())
    assert journal.append(event("c"))
    journal.close()
    assert sorted(names(folder())) == ["a", "b", "c"]
    left = os.listdir(os.path.join(folder(), "spill"))
    assert [name.rpartition(".")[2] for name in left] == ["unreadable"]


def test_a_writer_continues_in_another_file_while_one_is_read() -> None:
    """A file that a reader has taken is not written to any more."""
    mine = Spill(folder())
    mine.write(event("a"))
    claim = Claim(spill.waiting(folder())[0])
    assert mine.write(event("b"))
    assert len(list(claim.rows())) == 1
    claim.done([])
    claim.close()
    assert spill.count(folder()) == 1


@pytest.mark.parametrize("again", ["", "another writer's"])
def test_a_file_that_is_collected_before_it_is_locked_is_not_written(
    monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """A writer that finds another file or none in its place when it has the lock, starts again."""
    mine, lock = Spill(folder()), fcntl.flock
    removed: list[str] = []

    def remove_and_lock(handle: int, how: int) -> None:
        if not removed:
            removed.extend(spill.waiting(folder()))
            os.rename(removed[0], removed[0] + ".gone")
            if again:
                Path(removed[0]).touch()
        lock(handle, how)
        if os.path.exists(gone := removed[0] + ".gone"):
            os.unlink(gone)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    assert mine.write(event("a"))
    assert len(removed) == 1
    assert spill.count(folder()) == 1


def test_a_reader_that_died_leaves_the_file_to_the_next() -> None:
    """Rows of a file that was claimed and not finished are taken by the next reader; none is there twice."""
    mine = Spill(folder())
    mine.write(event("a"))
    Claim(spill.waiting(folder())[0]).close()
    journal = Journal(folder())
    journal.append(event("b"))
    assert journal.collect() == 0
    journal.close()
    assert sorted(names(folder())) == ["a", "b"]


def test_a_file_that_is_collected_again_does_not_replace_the_first() -> None:
    """If a reader fails and its writer continues under the same name, the next reader finds both files."""
    mine = Spill(folder())
    for name in ("a", "b"):
        mine.write(event(name))
        Claim(next(path for path in spill.waiting(folder()) if path.endswith(".ndjson"))).close()
    assert spill.count(folder()) == 2


def test_two_readers_cannot_take_one_file() -> None:
    """The second gets an error, and leaves no descriptor behind."""
    Spill(folder()).write(event("a"))
    first = Claim(spill.waiting(folder())[0])
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="another process is collecting"):
        Claim(spill.waiting(folder())[0])
    assert len(os.listdir("/proc/self/fd")) == before
    first.close()


def test_a_file_that_was_collected_before_it_is_locked_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has opened a file which another then removes does not take its rows in a second time."""
    Spill(folder()).write(event("a"))
    path, lock = spill.waiting(folder())[0] + ".taken", fcntl.flock
    os.rename(path.removesuffix(".taken"), path)

    def remove_and_lock(handle: int, how: int) -> None:
        os.unlink(path)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with pytest.raises(FileNotFoundError):
        Claim(path)


def test_an_interrupted_claim_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception right after the lock leaves the file to the next."""
    Spill(folder()).write(event("a"))
    lock = fcntl.flock

    def lock_and_raise(handle: int, how: int) -> None:
        lock(handle, how)
        raise KeyboardInterrupt

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", lock_and_raise)
        with pytest.raises(KeyboardInterrupt):
            Claim(spill.waiting(folder())[0])
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(taken(spill.waiting(folder())[0])) == 1


def test_rows_that_are_still_held_do_not_keep_a_file_locked() -> None:
    """A closed claim leaves the file to the next, also while a traceback holds its half-read rows."""
    given = [event(name) for name in ("a", "b")]
    mine = Spill(folder())
    assert all(mine.write(row) for row in given)
    claim = Claim(spill.waiting(folder())[0])
    half_read = claim.rows()
    assert next(half_read) == given[0]
    claim.file.close()
    assert taken(spill.waiting(folder())[0]) == given
    del half_read


def test_a_missing_file_is_reported_as_missing(tmp_path: Path) -> None:
    """A missing file is not reported as another user's."""
    with pytest.raises(FileNotFoundError):
        Claim(str(tmp_path / "gone.ndjson"))
    os.symlink(tmp_path, link := str(tmp_path / "link.ndjson"))
    with pytest.raises(PermissionError, match="not a spill file of this user"):
        Claim(link)


def test_a_file_that_another_process_collected_is_skipped() -> None:
    """Between the list of files and the look at one, another process may take it in: no error for who collects."""
    mine = Journal(folder())
    for name in ("a", "b"):
        Spill(folder()).write(event(name))
    gone, _ = paths = spill.waiting(folder())
    os.unlink(gone)
    with pytest.raises(FileNotFoundError):
        Claim(gone)
    assert [journals._collect_spill(mine, path) for path in paths] == [0, 1]
    mine.close()
    os.mkfifo(gone)
    with pytest.raises(PermissionError, match="not a spill file of this user"):
        Claim(gone)


def test_waiting_rows_can_be_looked_at_where_they_are() -> None:
    """Looking takes nothing away, and passes over a line that cannot be read."""
    mine = Spill(folder())
    given = [event(name) for name in ("a", "b")]
    assert all(mine.write(row) for row in given)
    with open(spill.waiting(folder())[0], "ab") as file:
        file.write(b"{torn\n")
    assert list(spill.rows(folder())) == given
    assert spill.count(folder()) == 3


def test_a_link_is_not_read(tmp_path: Path) -> None:
    """A link planted in the spill folder is neither followed nor removed, and nothing in it waits."""
    secret = tmp_path / "secret"
    secret.write_text("theirs")
    os.makedirs(os.path.join(folder(), "spill"))
    link = os.path.join(folder(), "spill", "x.ndjson")
    os.symlink(secret, link)
    journal = Journal(folder())
    journal.append(event("a"))
    journal.close()
    assert (spill.foreign(folder()), spill.count(folder())) == ([link], 0)
    assert os.readlink(link) == str(secret)
    assert secret.read_text() == "theirs"


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """Without room for a line nothing of it stays, and the writer returns False; with room again it continues."""
    code = (
        "import resource, signal, sys\nfrom localops.journal.spill import Spill\nfrom tests.made import event\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nmine = Spill(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "print(sum(mine.write(event('x' * 100)) for _ in range(30)))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "print(mine.write(event('y')))\n"
    )
    done = programs.run(code, folder())
    written, after = done.stdout.split()
    assert 0 < int(written) < 30
    assert after == "True"
    assert spill.count(folder()) == int(written) + 1
