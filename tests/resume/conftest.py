"""Fixtures of the tests of steps that run once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localops.recording import once_calls
from tests.resume.steps import Effects


@pytest.fixture(autouse=True)
def _no_steps() -> Iterator[None]:
    """Forget the names of steps: each test has its own."""
    once_calls._named.clear()
    yield
    once_calls._named.clear()


@pytest.fixture
def effects() -> Effects:
    """Return an empty list of effects."""
    return Effects()
