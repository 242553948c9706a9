"""Search in ClickHouse gives what the index of a journal gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localops import ActionEvent, LLMEvent
from localops.config import Config
from localops.journal import rows
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.reading.home import Home
from localops.reading.search import Index
from localops.recording.client import Client
from localops.server.clickhouse import event_rows, migrations
from localops.server.clickhouse.archive import Archive
from localops.server.clickhouse.engine import Engine
from localops.server.clickhouse.search import ClickHouseIndex
from tests.clickhouse.servers import Server

TEXTS = [
    "plain words, and more of them",
    "two CATS, one web-search",
    'a line\nanother\ttabbed "quoted" back\\slash c:\\new\\table',
    "café CAFÉ naïve Ünïcödé",
    "猫が好き 検索",
    "emoji 🜁 and 💸",
    "params returns reason",
    "numbers 42 3.14 0x1f",
    "under_score-dash.dot/slash",
    "x",
]
QUERIES = [
    "words", "WORDS", "cats", "web_search", "search", "another", "tabbed", "nanother", "slash", "new", "ew", "table",
    "cafe", "café", "unicode", "naive", "猫", "検索", "params", "returns", "reason", "42", "14", "score", "under_score",
    "wor*", "caf*", "plain more", "plain cats", "x", "nothing", "web search", "gpt", "gpt-4o", "late*", "later",
]  # fmt: skip


@pytest.fixture(scope="module")
def both(clickhouse: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, ClickHouseIndex]]:
    """Return both kinds of index of the same rows."""
    home = tmp_path_factory.mktemp("home")
    _record(str(home))
    with Home(str(home), "p") as opened:
        [project] = opened.projects
        engine = clickhouse.engine("search")
        migrations.migrate(engine)
        kept = [(row, (None,) * len(rows.COUNTS_IN_BODY)) for row in _rows(project.reader)]
        stored = Archive(engine, "p")
        stored.put(kept, 1)
        # The same again, as duplicates.
        stored.put(kept[::3], 2)
        index = project.index()
        index.extend()
        yield index, ClickHouseIndex(engine, "p")


def _record(home: str) -> None:
    client = Client(Config.usable(home=home, project="p", signals=False))
    for number in range(6):
        session = client.start([f"later{number}"])
        for text in TEXTS[number % 3 :: 2]:
            session.record(ActionEvent(params={"text": text, "n": [number, {text: None}]}))
            session.record(LLMEvent(model="gpt-4o", prompt=text, completion="fine"))
        session.end_session("Success", end_state_reason=TEXTS[number])


def _rows(reader: Reader) -> list[Stored]:
    return [Stored._make(row) for row in reader.ask(f"select {', '.join(Stored._fields)} from event order by seq")]


def test_rows_come_back_as_they_were(both: tuple[Index, ClickHouseIndex], clickhouse: Server) -> None:
    """A stored row is read back unchanged."""
    index, _ = both
    lines = clickhouse.engine("search").ask(
        f"select {', '.join(event_rows.READ)} from lo_event final where project = 'p' order by seq"
    )
    assert [event_rows.stored(line) for line in lines] == _rows(index._reader)


@pytest.mark.parametrize("query", QUERIES)
def test_the_same_sessions_match(both: tuple[Index, ClickHouseIndex], query: str) -> None:
    """The same rows and sessions match."""
    index, other = both
    hits = list(index.events(query))
    assert sorted(other.events(query)) == sorted(hits)
    matching = {hit.session for hit in hits}
    sessions = sorted({session for (session,) in index._reader.ask("select distinct session from event")})
    assert {session for session in sessions if other.has(session, query)} == matching
    candidates, exact = other.candidates(query, 1_000)
    assert candidates is not None
    assert set(candidates) == matching if exact else set(candidates) >= matching
    assert exact or not index.candidates(query, 1_000)[1]
    every, exact = other.candidates(query, 1_000_000)
    assert every is not None
    assert set(every) == matching if exact else set(every) >= matching
    assert list(other.each(sessions, query)) == [session in matching for session in sessions]
    rows_of = ([list(rows) for rows in one.rows_of_each(sessions, query)] for one in both)
    here, there = ([[row for row, is_match in rows if is_match] for rows in of_each] for of_each in rows_of)
    assert here == there
    assert matching <= (other.among(sessions, query) or set())
    if matching:
        session = max(matching)
        assert list(other.events(query, session)) == list(index.events(query, session))
        for after in (0, min(hit.seq for hit in hits if hit.session == session)):
            later = ([row for row, is_match in one.rows_after(query, session, after) if is_match] for one in both)
            assert next(later) == next(later)


def test_too_many_sessions_are_not_listed(both: tuple[Index, ClickHouseIndex]) -> None:
    """There is no list where it would be longer than wanted."""
    _, other = both
    assert other.candidates("fine", 2)[0] is None
    assert other.candidates("fine fine", 2)[0] is None


class _Counting(Engine):
    asked = 0

    def _send(self, statement: str, **how: Any) -> Any:
        self.asked += 1
        return super()._send(statement, **how)


def test_sessions_are_not_asked_for_one_by_one(both: tuple[Index, ClickHouseIndex]) -> None:
    """A page of a search needs a few statements, however many sessions it looks at."""
    index, other = both
    engine = _Counting(other._engine.address)
    sessions = [session for (session,) in index._reader.ask("select distinct session from event")] * 8
    counted = ClickHouseIndex(engine, "p")
    assert sum(counted.each(sessions, "fine")) > 40
    assert len([list(rows) for rows in counted.rows_of_each(sessions, "cats")]) == len(sessions)
    assert engine.asked <= 4
    engine.close()
