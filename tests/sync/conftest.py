"""Fixtures of the tests of sinks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sync.otlp_collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Start a back end."""
    collector = Collector()
    yield collector
    collector.close()
