"""Folders that cannot be written, network file systems, and homes with strange names."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from localops.journal import spill
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from tests import programs
from tests.journal.looks import names
from tests.made import event


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
    """If the home cannot be created, rows go to the user's state folder; once it can, they are moved into it."""
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
    """Each process writes its own part, which is added to the journal after it has ended, even by a kill."""
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
    """SQLite's files beside a part are removed after the part was added, also if a killed process left them."""
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
