"""A home and a store on ClickHouse that take the same, to be compared."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from localops import config
from localops.journal.reader import Reader
from localops.reading import session_state
from localops.server.clickhouse import mirror
from localops.server.clickhouse.engine import Engine
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.home_store import HomeStore
from tests.clickhouse.answers import answers
from tests.clickhouse.cluster import Hosts
from tests.clickhouse.modern import Modern
from tests.clickhouse.programs import PROJECT, Program
from tests.clickhouse.servers import Server

_numbers = itertools.count()


class Both:
    """A home, and a store on ClickHouse, that take the same."""

    def __init__(self, folder: Path, server: Server | Modern | Hosts) -> None:
        self._server = server
        # The folder of the project's mirror.
        self.mirror = Path(_hub(folder / "mirror")) / PROJECT
        self.database = f"contract_{os.getpid()}_{next(_numbers)}"
        self.home = HomeStore(_hub(folder / "home"))
        self.store = self.opened()

    def opened(self, bound: int = mirror.BOUND, engine: Engine | None = None) -> ClickHouseStore:
        """Return the store on ClickHouse as a process opens it."""
        if engine is None:
            engine = self._server.engine(self.database)
            migrate(engine)
        return ClickHouseStore(str(self.mirror.parent), engine, bound=bound)

    def begin_again(self, bound: int = mirror.BOUND, engine: Engine | None = None) -> None:
        """Close the store on ClickHouse, and open it as another process does."""
        self.store.close()
        self.store = self.opened(bound, engine)

    def take(self, program: Program) -> None:
        """Run a program on both stores, and compare their answers to each step."""
        for number, step in enumerate(program.steps()):
            assert step(self.store) == step(self.home), f"step {number}"

    def compare(self, program: Program, but: Sequence[str] = (), *, brief: bool = False) -> None:
        """Compare every answer, but for some; `brief`: those that show each row and each figure."""
        expected, given = (answers(store, program, brief=brief) for store in (self.home, self.store))
        differing = [name for name in expected if expected[name] != given[name] and name not in but]
        assert not differing, f"{differing}: {expected[differing[0]]}\n{given[differing[0]]}"

    def lose_mirror(self) -> None:
        """Delete the mirror, as a lost disk does, and begin with another process's store."""
        self.store.close()
        for name in os.listdir(self.mirror):
            if name.startswith(("journal.db", "search.db")):
                os.unlink(self.mirror / name)
        self.store = self.opened()

    def rows_here(self) -> int:
        """Return how many rows the mirror has at the moment."""
        with Reader(str(self.mirror / config.JOURNAL)) as reader:
            [(many,)] = reader.ask("select count(*) from event")
        return int(many)

    def close(self) -> None:
        """Close both."""
        self.home.close()
        self.store.close()


def _hub(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / session_state.HUB).write_text("{}")
    return str(folder)
