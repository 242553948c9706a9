"""A journal that an earlier release made opens, reads the same, and goes on being written."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from localops import analytics, clock, rows
from localops.home import Home
from localops.journal import Journal
from localops.reader import Reader
from tests import programs

_FIXTURES = Path(__file__).parent / "fixtures"

# What the release that made the journal printed of it: name, state, LLM calls, tools, errors, nano-dollars.
_SESSIONS_OF_SCHEMA_1 = [
    ("folded", "Indeterminate", 0, 0, 0, 0),
    ("killed run", "Indeterminate", 0, 0, 0, 0),
    ("failed run", "Failure", 0, 1, 1, 0),
    ("good run", "Success", 2, 1, 0, 222_000),
]


@pytest.fixture
def older() -> str:
    """A project folder with a journal of schema 1: two ended sessions, a killed one, a price that came later."""
    folder = programs.project()
    os.makedirs(folder)
    path = os.path.join(folder, "journal.db")
    with gzip.open(_FIXTURES / "journal_of_schema_1.db.gz") as packed, open(path, "xb") as file:
        shutil.copyfileobj(packed, file)
    os.chmod(path, 0o600)
    return folder


def _schema(folder: str) -> list[tuple[str, str]]:
    """Every table, view, index and trigger of a journal."""
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return reader.ask("select name, sql from sqlite_schema where sql is not null order by name")


def _listed() -> list[tuple[object, ...]]:
    with Home() as home:
        return [(one.name, one.state, one.llms, one.tools, one.errors, one.cost) for one in home.sessions()]


def test_an_older_journal_is_read_without_being_changed(older: str) -> None:
    """A reader sees it through the views of this release, and writes nothing."""
    with Reader(os.path.join(older, "journal.db")) as reader:
        assert reader.is_of_older_schema
        (joined,) = reader.ask("select count(*) from session s join event_detail e on e.session = s.session_id")
        assert joined == (32,)
        assert reader.ask("pragma user_version") == [(1,)]


def test_an_older_journal_is_listed_as_before(older: str) -> None:
    """Commands show the same sessions and figures as the release that made it."""
    assert _listed() == _SESSIONS_OF_SCHEMA_1


def test_an_older_journal_goes_on(older: str, tmp_path: Path) -> None:
    """A recorder brings it to the schema of a new one, appends, folds, and its ids are written as in a new one."""
    session = clock.new_id()
    journal = Journal(older)
    at = clock.now_ns()
    assert journal.append(rows.make("session", session, id=session, at_ns=at, name="later", body="{}"))
    assert journal.append(rows.make("action", session, id=clock.new_id(), at_ns=at, name="step"))
    journal.rebuild()
    assert analytics.totals(journal, session).actions == 1
    journal.close()
    fresh = Journal(str(tmp_path / "fresh"))
    fresh.fold()
    fresh.close()
    assert _schema(older) == _schema(str(tmp_path / "fresh"))
    assert _listed()[1:] == _SESSIONS_OF_SCHEMA_1
    with Reader(os.path.join(older, "journal.db")) as reader:
        ids = reader.ask("select id, parent from event_detail where kind = 'tool' and parent is not null limit 1")
        assert [text.count("-") for text in ids[0]] == [4, 4]
