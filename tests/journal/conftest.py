"""Fixtures of the tests of the journal's file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localops.journal.journal import Journal
from tests import programs


@pytest.fixture
def folder() -> str:
    """Return the folder of the test's journal."""
    return programs.project()


@pytest.fixture
def journal(folder: str) -> Iterator[Journal]:
    """Return a journal that does not wait long."""
    one = Journal(folder, wait=0.2)
    yield one
    one.close()
