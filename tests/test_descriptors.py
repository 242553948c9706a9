"""A journal knows its own descriptors from those of readers beside it in the same process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.locks import Watch, opened
from localops.journal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

_SESSION = clock.new_id()


def _row() -> rows.Row:
    at = clock.now_ns()
    return rows.make("action", _SESSION, id=clock.new_id(at), at_ns=at, name="step", body="{}")


@pytest.fixture
def many_open() -> Iterator[list[int]]:
    """Return descriptors, more than those that are left to a program."""
    handles = [os.open(os.devnull, os.O_RDONLY) for _ in range(150)]
    yield handles
    for handle in handles:
        os.close(handle)


def test_a_reader_that_closes_is_not_us(
    tmp_path: Path, many_open: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    """A reader has higher descriptors than the journal that is opened after it, and closes them."""
    path = tmp_path / "journal.db"
    Journal(str(tmp_path)).append(_row())
    reader = Reader(str(path))
    assert reader.ask("select count(*) from event") == [(2,)]
    for handle in many_open[100:]:
        os.close(handle)
    del many_open[100:]
    journal = Journal(str(tmp_path))
    journal.append(_row())
    reader.close()
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    for _ in range(3):
        journal.secure()
        journal.append(_row())
    for handle in others:
        os.close(handle)
    assert journal.counts["reopened"] == 0
    assert journal.losses.waiting is False
    journal.close()
    assert "closed files" not in capfd.readouterr().err
    with Reader(str(path)) as reader:
        assert reader.ask("select count(*) from event where kind = 'action'") == [(5,)]


def test_one_of_several_is_a_readers(tmp_path: Path) -> None:
    """Where a reader opened the file at the same time, its descriptor is left to it when it is closed."""
    path = tmp_path / "a file"
    path.touch()
    before = opened()
    ours, readers = (os.open(path, os.O_RDWR) for _ in range(2))
    watch = Watch(str(path), before)
    os.close(readers)
    assert watch.ours()
    assert watch.state() == "ours"
    os.close(ours)
    assert not watch.ours()
    assert watch.state() == "closed"


def test_what_was_open_before_is_not_ours(tmp_path: Path) -> None:
    """A descriptor that the program had on the file may be closed, whatever its number."""
    path = tmp_path / "a file"
    path.touch()
    low, programs = (os.open(path, os.O_RDWR) for _ in range(2))
    os.close(low)
    before = opened()
    ours = os.open(path, os.O_RDWR)
    assert ours < programs
    watch = Watch(str(path), before)
    os.close(programs)
    assert watch.ours()
    os.close(ours)
    assert watch.state() == "closed"
