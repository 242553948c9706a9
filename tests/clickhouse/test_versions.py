"""A row that was replaced, as by a scrub, leaves no earlier version in ClickHouse."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from localops.journal.journal import Journal
from localops.server.clickhouse.engine import Engine, EngineError
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT, Program
from tests.clickhouse.servers import Server
from tests.server.hubs import batch_of, session_rows

_SECONDS = 60.0


def test_no_earlier_version_is_left(both: Both) -> None:
    """Earlier versions of rows and of states are deleted; every other row stays, in all its copies."""
    program, before = _filled(both)
    _replace(both)
    both.store.try_writing(PROJECT)
    both.store.write_behind(PROJECT)
    _wait_until_clean(both.store.engine)
    assert _rows(both.store.engine, "kind <> 'tool'") == before
    both.lose_mirror()
    session = program.sessions[0]
    expected = both.home.events(PROJECT, session, after=0, limit=500)
    assert both.store.events(PROJECT, session, after=0, limit=500) == expected
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)


def test_rows_that_come_once_have_no_earlier_version(both: Both) -> None:
    """ClickHouse has nothing to delete: to rewrite its parts takes a hundred times longer than to store rows."""
    for number in range(2):
        batch = batch_of(session_rows(3), journal=f"{number:032x}")
        both.store.ingest(PROJECT, batch, refused={}, by="hub", key="k" * 32)
        both.store.write_behind(PROJECT)
    assert both.store.engine.ask("select count() as many from system.mutations where database = currentDatabase()") == [
        (0,)
    ]


def test_it_is_tried_again_after_a_failure(both: Both, mortal: Server) -> None:
    """ClickHouse fails after it has the new contents; the next hub deletes the earlier ones."""
    _filled(both)
    _replace(both)
    both.store.try_writing(PROJECT)
    mortal.kill()
    both.store.close()
    mortal.start()
    both.store = both.opened()
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)
    both.store.write_behind(PROJECT)
    _wait_until_clean(both.store.engine)


def test_a_mirror_that_is_lost_meanwhile_is_no_hindrance(both: Both, mortal: Server) -> None:
    """The hub that makes it again looks for rows with earlier versions."""
    _filled(both)
    _replace(both)
    both.store.try_writing(PROJECT)
    mortal.kill()
    both.store.close()
    mortal.start()
    both.lose_mirror()
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)
    both.store.write_behind(PROJECT)
    # A merge may have cleaned rows meanwhile; nothing tells then which sessions have earlier states, until their merge.
    _wait_until_clean(both.store.engine, of_rows_alone=True)


def _filled(both: Both) -> tuple[Program, list[tuple[Any, ...]]]:
    program = Program(31)
    for step in program.steps(doors=False, deletions=False):
        assert step(both.store) == step(both.home)
    both.store.write_behind(PROJECT)
    # The secret: of a tool's rows, which exist as they are at the moment.
    assert _rows(both.store.engine, "kind = 'tool' and sum <> 0")
    return program, _rows(both.store.engine, "kind <> 'tool'")


def _replace(both: Both) -> None:
    for store in (both.store, both.home):
        journal = Journal(str(Path(store.folder) / PROJECT))
        journal.transact(lambda execute: execute("update event set body = null, sum = 0 where kind = 'tool'"))
        journal.close()


def _rows(engine: Engine, condition: str) -> list[tuple[Any, ...]]:
    statement = "select distinct session, id, phase, sum, body from lo_event where {} order by session, id, phase"
    return engine.ask(statement.format(condition))


def _wait_until_clean(engine: Engine, *, of_rows_alone: bool = False) -> None:
    """Wait until ClickHouse has no tool's row with contents, read without FINAL, and one state of each session."""
    until = time.monotonic() + _SECONDS
    states = "select session from lo_session group by session having count() > 1"
    # A session has had one state for each wave; those of which no row was replaced may keep theirs until a merge.
    states += " and session in (select session from lo_event where kind = 'tool')"
    while True:
        left: list[tuple[Any, ...]] | str
        try:
            left = _rows(engine, "kind = 'tool' and (sum <> 0 or body is not null)")
            left = left or ([] if of_rows_alone else engine.ask(states))
        except EngineError as error:
            left = str(error)
        if not left:
            return
        assert time.monotonic() < until, left
        time.sleep(0.1)
