"""A row is there once, whatever interrupts its call and whatever other processes write."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localops import interruption
from localops.journal import journal as journals
from localops.journal import spill
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.spill import Claim, Spill
from tests.journal.looks import after_a_look, names
from tests.made import event


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
    """A row that cannot be looked up is not written twice: it is moved from the spill file once."""
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
    """Imported rows are also looked up among rows that are not folded."""
    row = event("a")
    journal.append(row)
    journal._file.may_fold = False
    assert journal.add([row, event("b")]) == 1
    assert names(folder) == ["a", "b"]


def test_a_spill_file_that_another_process_takes_is_no_error(
    journal: Journal, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A listed file that is then missing or locked does not keep other rows from the journal."""
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
    """A process may have to leave a spill file that it has claimed: another one collects it later."""
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
    """A process that has spilled nothing collects waiting rows when it closes the journal."""
    journal.append(event("a"))
    Spill(folder).write(event("b"))
    Claim(spill.waiting(folder)[0]).close()
    journal.close()
    assert names(folder) == ["a", "b"]
    assert spill.waiting(folder) == []
