"""Fixtures of the tests of sinks: hubs that really run, a home that sends to one, and a back end for traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.hubs import RealHub, hub
from tests.sync.homes import Sender
from tests.sync.otlp_collector import Collector


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start one hub for all tests that do not break it: each has its own project there."""
    with hub(tmp_path_factory.mktemp("shared")) as real:
        yield real


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub that may be broken."""
    with hub(tmp_path / "own") as own:
        yield own


@pytest.fixture
def sender(tmp_path: Path, own: RealHub) -> Sender:
    """Return a home whose remote is the hub that may be broken."""
    return Sender(tmp_path / "home", own.url, own.key)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Start a back end."""
    collector = Collector()
    yield collector
    collector.close()
