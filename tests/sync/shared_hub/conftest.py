"""Homes that send to one hub, which no test of a module breaks: each has its own project there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.hubs import RealHub
from tests.sync import chaos
from tests.sync.homes import Sender


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """Return the name of this test's project on the hub."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:60].strip("-")


@pytest.fixture
def sender(tmp_path: Path, real: RealHub, project: str) -> Sender:
    """Return a home whose remote is the shared hub."""
    return Sender(tmp_path / "home", real.url, real.new_key(project))


@pytest.fixture
def there(real: RealHub, project: str) -> str:
    """Return the journal of this test's project on the hub."""
    return str(real.data / project / "journal.db")


@pytest.fixture
def weather(real: RealHub, tmp_path: Path, project: str) -> Iterator[tuple[chaos.Chaos, Sender]]:
    """Return a home whose requests to the hub pass through a proxy that breaks on request."""
    with chaos.Chaos(behind=real.url) as broken:
        yield broken, Sender(tmp_path / "home", broken.url, real.new_key(project))
