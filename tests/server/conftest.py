"""One hub for the tests that only talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.hubs import RealHub, hub


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """A hub that takes rows; each test brings sessions of its own."""
    with hub(tmp_path_factory.mktemp("server")) as found:
        yield found
