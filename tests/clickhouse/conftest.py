"""One ClickHouse server for all tests of a process, and a database for each; without the program they are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clickhouse.both import Both
from tests.clickhouse.servers import Server


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server for all tests; each takes a database of its own."""
    if shutil.which("clickhouse-server") is None:
        pytest.skip("clickhouse-server is not installed")
    server = Server(tmp_path_factory.mktemp("clickhouse"))
    yield server
    server.close()


@pytest.fixture
def mortal(clickhouse: Server) -> Iterator[Server]:
    """Return the same server for a test that kills it."""
    yield clickhouse
    if not clickhouse.is_running:
        clickhouse.start()


@pytest.fixture
def both(tmp_path: Path, clickhouse: Server) -> Iterator[Both]:
    """Return two empty stores."""
    made = Both(tmp_path, clickhouse)
    yield made
    made.close()
    # A server that is killed starts the sooner the fewer tables it has.
    if clickhouse.is_running:
        clickhouse.engine().do(f"drop database if exists {made.database}")
