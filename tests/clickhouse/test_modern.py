"""The tables as current servers have them, and the answers from them; skipped where chdb cannot be imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localops.reading.search import Query
from localops.server.clickhouse import migrations, search
from localops.server.clickhouse.archive import Archive
from localops.server.clickhouse.engine import Engine
from tests.clickhouse.both import Both
from tests.clickhouse.modern import Modern
from tests.clickhouse.programs import Program
from tests.clickhouse.test_event_rows import odd_rows


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modern]:
    """Return a current ClickHouse."""
    if not Modern.is_there():
        pytest.skip("chdb is not installed: the tables of current servers are not tried")
    server = Modern(tmp_path_factory.mktemp("modern"))
    yield server
    server.close()


def test_the_same_rows_give_the_same_answers(tmp_path: Path, modern: Modern) -> None:
    """The same as on old servers, also after the mirror was lost."""
    both = Both(tmp_path, modern)
    try:
        program = Program(3)
        both.take(program)
        both.lose_mirror()
        both.compare(program)
    finally:
        both.close()


def test_rows_come_back_as_they_were(modern: Modern) -> None:
    """Plain texts become those of few values where the table has such columns."""
    engine = modern.engine("as_they_were")
    assert migrations.migrate(engine) == migrations.numbers()
    archive, sent = Archive(engine, "p"), odd_rows()
    archive.put(sent, 7)
    assert archive.between(0, 2**64 - 1) == [row for row, _ in sent]
    kinds = dict(
        engine.ask("select name, type from system.columns where table = 'lo_event' and database = 'as_they_were'")
    )
    assert (kinds["kind"], kinds["model"]) == ("LowCardinality(String)", "LowCardinality(Nullable(String))")


def test_indexes_are_used(modern: Modern) -> None:
    """A search and a look-up by seq or rev read no part of the table that cannot have what is asked for."""
    engine = modern.engine("indexed")
    migrations.migrate(engine)
    Archive(engine, "p").put(odd_rows(), 7)
    absent = search._filled("select seq from lo_event where WHERE", Query("lighthouse"))
    questions = {"by_text": absent, "by_seq": "select id from lo_event where seq = 5"}
    questions["by_rev"] = "select id from lo_event where rev > 7"
    for index, question in questions.items():
        plan = "".join(line for (line,) in engine.ask(f"explain indexes = 1 {question}"))
        assert "Granules: 0/" in plan[plan.index(f"Name: {index}") :], plan


def test_logs_of_the_server_are_kept_for_so_long(modern: Modern) -> None:
    """If the URL says so; a log that the server has created again gets its limit at the next start of the hub."""
    engine = modern.engine("limited")
    migrations.migrate(engine)
    engine.do("create table if not exists system.some_log (event_date Date, n Int64) engine = MergeTree order by n")
    limited = Engine(replace(engine.address, log_days=14))
    for days in (14, 14, 7):
        migrations.migrate(Engine(replace(engine.address, log_days=days)))
        [(made,)] = limited.ask("select create_table_query from system.tables where name = 'some_log'")
        assert f"TTL event_date + toIntervalDay({days})" in made
    limited.do("drop table system.some_log")
