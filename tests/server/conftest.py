"""One hub for the tests that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.hubs import RealHub, hub


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start a hub that takes rows; each test has its own sessions."""
    with hub(tmp_path_factory.mktemp("server")) as found:
        yield found
