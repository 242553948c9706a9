"""The power is cut at random moments: the file is never corrupt, and has every promised row."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import apsw
import pytest

from localops.encoding import encode
from localops.journal.journal import Journal
from tests.made import event
from tests.stress.powercut import Disk

IMAGES = int(os.environ.get("STRESS_IMAGES", "40"))
ROWS = 300


class Run:
    """A journal recorded onto a disk that remembers, and the rows promised at each time."""

    def __init__(self, folder: Path, durability: str, seed: int, *, lying: bool = False, rows: int = ROWS) -> None:
        self.disk = Disk(f"disk-{durability}-{lying}-{seed}")
        self.disk.lying = lying
        self.durability, random = durability, Random(seed)
        self.acknowledged: list[tuple[int, int]] = []  # moment, row
        self.synced: list[tuple[int, int]] = []
        journal = Journal(str(folder / "run"), durability=durability, vfs=self.disk.name)
        for n in range(rows):
            sync = n % 50 == 0
            body = encode.dumps({"x": "y" * random.choice((10, 500, 6_000))}).decode()
            assert journal.append(event(str(n), body=body), sync=sync)
            if n % 40 == 39:
                journal._file.connection.execute("pragma wal_checkpoint").fetchall()  # type: ignore[union-attr]
            self.acknowledged.append((len(self.disk.log), n))
            if sync:
                self.synced.append((len(self.disk.log), n))
        self.disk.logging = False
        journal.close()

    def promised(self, moment: int) -> int:
        """Return the newest row that must be there after a power cut at that moment; -1: none."""
        rows = self.acknowledged if self.durability == "power" else self.synced
        return max((n for at, n in rows if at <= moment), default=-1)


def survivors(folder: Path) -> list[int] | None:
    """Return the rows that a fresh connection reads, or None if the file is corrupt."""
    if not (folder / "journal.db").exists():
        return []
    connection = apsw.Connection(str(folder / "journal.db"))
    try:
        if connection.pragma("integrity_check") != "ok":
            return None
        if not connection.execute("select 1 from sqlite_schema where name = 'event'").get:
            return []
        rows = connection.execute("select name from event where kind = 'action' order by seq").fetchall()
        return [int(name) for (name,) in rows]  # type: ignore[arg-type]
    except (apsw.CorruptError, apsw.NotADBError, apsw.IOError):
        return None
    finally:
        connection.close()


def cut(run: Run, folder: Path, images: int, seed: int) -> dict[str, int]:
    """Cut the power that often, and count the faults."""
    random, seen = Random(seed), {"images": images, "corrupt": 0, "broken promises": 0, "holes": 0, "lost": 0}
    for _ in range(images):
        moment = random.randrange(len(run.disk.log))
        image = folder / "image"
        image.mkdir()
        run.disk.cut(moment, str(image), random)
        rows = survivors(image)
        shutil.rmtree(image)
        if rows is None:
            seen["corrupt"] += 1
            continue
        seen["holes"] += rows != list(range(len(rows)))
        seen["broken promises"] += len(rows) <= run.promised(moment)
        seen["lost"] += len(rows) < sum(at <= moment for at, _ in run.acknowledged)
    return seen


@pytest.mark.foreign_open
@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_power_cut_takes_nothing_that_was_promised(tmp_path: Path, durability: str) -> None:
    """With "power" no acknowledged row is lost, with "process" none from before the last sync; no damage."""
    seen = cut(Run(tmp_path, durability, 1), tmp_path, IMAGES, 2)
    print(durability, seen)
    assert (seen["corrupt"], seen["broken promises"], seen["holes"]) == (0, 0, 0)
    assert durability == "process" or seen["lost"] == 0


@pytest.mark.foreign_open
@pytest.mark.parametrize(("durability", "syncs"), [("power", 2), ("process", 1)])
def test_the_first_moments_of_a_journal_can_be_its_last(tmp_path: Path, durability: str, syncs: int) -> None:
    """A power cut at any step of creating the file leaves no corrupt one; no step is synced more than necessary."""
    disk = Run(tmp_path, durability, 3, rows=1).disk
    assert [(what, name) for what, name, *_ in disk.log].count(("sync", "journal.db-journal")) == syncs
    random = Random(4)
    for moment in range(30):
        for number in range(10):
            image = tmp_path / f"{moment}-{number}"
            image.mkdir()
            disk.cut(moment, str(image), random)
            assert survivors(image) is not None, moment


@pytest.mark.foreign_open
def test_the_power_cut_has_teeth(tmp_path: Path) -> None:
    """On a disk that lies about its syncs the same cuts do break journals: the test above can fail."""
    seen = cut(Run(tmp_path, "power", 1, lying=True), tmp_path, max(IMAGES, 60), 2)
    print("lying", seen)
    assert seen["corrupt"] + seen["broken promises"] > 0
