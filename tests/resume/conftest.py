"""Fixtures of the tests of steps that run once."""

from __future__ import annotations

import pytest

from tests.resume.steps import Effects


@pytest.fixture
def effects() -> Effects:
    """Return an empty list of effects."""
    return Effects()
