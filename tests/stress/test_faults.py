"""A disk that is full or fails at any call: recording continues, and every row is there in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from localops.encoding import encode
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from tests import programs
from tests.examples import sized
from tests.made import SESSION, event
from tests.stress.powercut import Disk, Fault

ROWS = sized(40, 120)


def _raise(kind: type[apsw.Error], code: int) -> None:
    error = kind("made up")
    error.extendedresult = code  # type: ignore[attr-defined]
    raise error


def full_after(nth: int) -> Fault:
    """Return a disk that takes so many writes, and no more."""
    left = [nth]

    def fault(what: str, name: str) -> None:
        if what == "write":
            left[0] -= 1
            if left[0] < 0:
                _raise(apsw.FullError, apsw.SQLITE_FULL)

    return fault


def breaks_at(operation: str, nth: int, code: int) -> Fault:
    """Return a disk on which every nth operation of a kind fails."""
    seen = [0]

    def fault(what: str, name: str) -> None:
        if what == operation:
            seen[0] += 1
            if seen[0] % nth == 0:
                _raise(apsw.IOError, code)

    return fault


FAULTS: dict[str, Callable[[int], Fault]] = {
    "full": lambda n: full_after(3 * n),
    "write": lambda n: breaks_at("write", n, apsw.SQLITE_IOERR_WRITE),
    "read": lambda n: breaks_at("read", n, apsw.SQLITE_IOERR_READ),
    "sync": lambda n: breaks_at("sync", n, apsw.SQLITE_IOERR_FSYNC),
    "truncate": lambda n: breaks_at("truncate", n, apsw.SQLITE_IOERR_TRUNCATE),
    "open": lambda n: breaks_at("open", n, apsw.SQLITE_CANTOPEN),
}


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 8, 13, 40])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_failing_disk_costs_nothing(tmp_path: Path, kind: str, nth: int) -> None:
    """No exception, recorded + spilled + dropped = calls, and after a repair every row is in the journal, once."""
    disk = Disk(f"faults-{kind}-{nth}")
    disk.logging = False
    journal = Journal(str(tmp_path / "project"), vfs=disk.name, wait=0.1)
    if nth % 2:  # broken from the very first, or only once it has begun well
        journal.append(event("begun"))
        journal.counts["recorded"] = 0
    disk.fault = FAULTS[kind](nth)
    for n in range(ROWS):
        if n % 7 == 0:
            journal._file.look_at = 0.0
        assert journal.append(event(str(n)), sync=n % 10 == 0)
    counts = journal.counts
    assert counts["recorded"] + counts["spilled"] + counts["dropped"] == ROWS
    assert counts["dropped"] == 0
    disk.fault = None
    journal.close()
    _everything_is_there(str(tmp_path / "project"), counts["spilled"], {"begun"} if nth % 2 else set())


def _everything_is_there(folder: str, spilled: int, more: set[str]) -> None:
    again = Journal(folder)
    again.append(event("again"))
    again.collect()
    again.close()
    with Reader(again.path) as reader:
        assert reader.ask("pragma integrity_check") == [("ok",)]
        names = [name for (name,) in reader.ask("select name from event where kind = 'action'")]
        losses = reader.ask("select body from event where kind = 'loss' and session = ?", (SESSION,))
    assert sorted(names) == sorted({*map(str, range(ROWS)), "again", *more})
    assert sum(encode.loads(body)["spilled"] for (body,) in losses) == spilled


def test_nowhere_to_write_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If neither journal nor spill file takes a row, it is dropped, counted, and reported once that is over."""
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    journal = Journal(str(blocked / "project"))
    assert [journal.append(event(str(n))) for n in range(3)] == [False] * 3
    assert journal.counts["dropped"] == 3
    blocked.unlink()
    journal._file.look_at = 0.0
    assert journal.append(event("after"))
    losses = [encode.loads(row[7]) for row in journal.all("story", session=SESSION) if row[2] == "loss"]
    assert losses == [{"spilled": 0, "dropped": 3}]
    journal.close()


def test_a_file_that_may_not_grow() -> None:
    """With a limit on the size of files, rows that no longer fit are spilled, and moved into the journal later."""
    code = (
        "import resource, signal, sys\nfrom localops.journal.journal import Journal\nfrom tests.made import event\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "journal = Journal(sys.argv[1])\n"
        "kept = [journal.append(event(str(n), body='{}' + ' ' * 2_000)) for n in range(250)]\n"
        "print(sum(kept), journal.counts['spilled'])"
    )
    done = programs.run(code, programs.project())
    kept, spilled = map(int, done.stdout.split())
    assert spilled > 0
    again = Journal(programs.project())
    again.append(event("again"))
    again.close()
    assert len(programs.names()) == kept + 1
