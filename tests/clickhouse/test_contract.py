"""A home and a store on ClickHouse that take the same give the same answers, byte for byte."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localops import config
from localops.journal.reader import Reader
from localops.reading import session_state
from localops.server.clickhouse import mirror
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.home_store import HomeStore
from tests.clickhouse.answers import answers
from tests.clickhouse.conftest import Server
from tests.clickhouse.programs import PROJECT, Program

_numbers = itertools.count()


class Both:
    """A home, and a store on ClickHouse, that take the same."""

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder, self._server = folder, server
        self.database = f"contract_{os.getpid()}_{next(_numbers)}"
        self.home = HomeStore(_hub(folder / "home"))
        self.store = self.opened()

    def opened(self, bound: int = mirror.BOUND) -> ClickHouseStore:
        """Return the store on ClickHouse as a process opens it."""
        engine = self._server.engine(self.database)
        migrate(engine)
        return ClickHouseStore(_hub(self._folder / "mirror"), engine, bound=bound)

    def begin_again(self, bound: int) -> None:
        """Close the store on ClickHouse, and open it as another process does."""
        self.store.close()
        self.store = self.opened(bound)

    def take(self, program: Program) -> None:
        """Give both stores a program, and compare what they say to each step."""
        for number, step in enumerate(program.steps()):
            assert step(self.store) == step(self.home), f"step {number}"

    def compare(self, program: Program) -> None:
        """Compare every answer."""
        expected, given = answers(self.home, program), answers(self.store, program)
        differing = [name for name in expected if expected[name] != given[name]]
        assert not differing, f"{differing}: {expected[differing[0]]}\n{given[differing[0]]}"

    def lose_mirror(self) -> None:
        """Delete the mirror, as a lost disk does, and begin with another process's store."""
        self.store.close()
        for name in os.listdir(self._mirror):
            if name.startswith(("journal.db", "search.db")):
                os.unlink(self._mirror / name)
        self.store = self.opened()

    def rows_here(self) -> int:
        """Return how many rows the mirror has at the moment."""
        with Reader(str(self._mirror / config.JOURNAL)) as reader:
            [(many,)] = reader.ask("select count(*) from event")
        return int(many)

    @property
    def _mirror(self) -> Path:
        return self._folder / "mirror" / PROJECT

    def close(self) -> None:
        """Close both."""
        self.home.close()
        self.store.close()


def _hub(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / session_state.HUB).write_text("{}")
    return str(folder)


@pytest.fixture
def both(tmp_path: Path, clickhouse: Server) -> Iterator[Both]:
    """Return two empty stores."""
    made = Both(tmp_path, clickhouse)
    yield made
    made.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_rows_give_the_same_answers(both: Both, seed: int) -> None:
    """Batches, repeats in other batches, late and reordered rows, scores, spans, rows of doors, deletions."""
    program = Program(seed)
    both.take(program)
    both.compare(program)


@pytest.mark.parametrize("seed", [4, 5])
def test_a_mirror_that_was_lost_is_made_again(both: Both, seed: int) -> None:
    """It is deleted in the middle and at the end; what comes after it, and every answer, is as if it had stayed."""
    program = Program(seed)
    for number, step in enumerate(program.steps()):
        if number % 20 == 19:
            both.lose_mirror()
        assert step(both.store) == step(both.home), f"step {number}"
    both.lose_mirror()
    both.compare(program)


@pytest.mark.parametrize("seed", [6, 7])
def test_cold_sessions_answer_as_others(both: Both, seed: int) -> None:
    """Everything is evicted again and again, while rows come and before each question."""
    program = Program(seed)
    both.begin_again(bound=0)
    for number, step in enumerate(program.steps()):
        if number % 5 == 4:
            both.store.make_room(PROJECT)
        assert step(both.store) == step(both.home), f"step {number}"
    both.store.make_room(PROJECT)
    # Bookkeeping, agents, scores, and what has not ended.
    assert both.rows_here() < both.home.stored(PROJECT)[0] * 0.7
    both.compare(program)
