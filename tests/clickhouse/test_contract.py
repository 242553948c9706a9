"""A home and a store on ClickHouse that take the same give the same answers, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import analytics
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.home_store import HomeStore
from localops.transfer import bundle
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT, Program
from tests.examples import examples
from tests.made import stored
from tests.server.hubs import batch_of, session_rows


@pytest.mark.parametrize("seed", range(1, examples(1) * 10 + 1, 10))
def test_the_same_rows_give_the_same_answers(both: Both, seed: int) -> None:
    """Batches, repeats in other batches, late and reordered rows, scores, spans, rows of doors, deletions."""
    program = Program(seed)
    both.take(program)
    both.compare(program)


@pytest.mark.parametrize("seed", range(4, examples(1) * 10 + 4, 10))
def test_a_mirror_that_was_lost_is_made_again(both: Both, seed: int) -> None:
    """It is deleted in the middle and at the end; later rows and all answers are as if it had stayed."""
    program = Program(seed)
    for number, step in enumerate(program.steps()):
        if number % 20 == 19:
            both.lose_mirror()
        assert step(both.store) == step(both.home), f"step {number}"
    both.lose_mirror()
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)
    # Made of the states of sessions, and not of every row.
    assert both.rows_here() < both.home.stored(PROJECT)[0] * 0.8
    both.compare(program)


@pytest.mark.parametrize("seed", range(6, examples(1) * 10 + 6, 10))
def test_cold_sessions_answer_as_others(both: Both, seed: int) -> None:
    """Everything is evicted again and again, while rows are stored and before each question."""
    program = Program(seed)
    both.begin_again(bound=0)
    for number, step in enumerate(program.steps()):
        if number % 5 == 4:
            both.store.make_room(PROJECT)
        assert step(both.store) == step(both.home), f"step {number}"
    both.store.make_room(PROJECT)
    # Bookkeeping, agents, scores, and what has not ended.
    assert both.rows_here() < both.home.stored(PROJECT)[0] * 0.7
    both.compare(program)


def test_a_home_becomes_a_mirror(both: Both) -> None:
    """A hub that kept its rows in a folder first sends them to an empty ClickHouse, and then continues."""
    program = Program(8)
    steps = list(program.steps())
    before = HomeStore(str(both.mirror.parent))
    for step in steps[: len(steps) // 2]:
        assert step(before) == step(both.home)
    before.close()
    for step in steps[len(steps) // 2 :]:
        assert step(both.store) == step(both.home)
    both.lose_mirror()
    both.compare(program, brief=True)


def test_rows_that_are_replaced_are_replaced_in_clickhouse(both: Both) -> None:
    """Whichever command replaces them: a mirror that was lost is made of the new contents."""
    program = Program(9)
    for step in program.steps(doors=False, deletions=False):
        assert step(both.store) == step(both.home)
    for store in (both.store, both.home):
        journal = Journal(str(Path(store.folder) / PROJECT))
        journal.transact(lambda execute: execute("update event set body = null, sum = 0 where kind = 'tool'"))
        journal.close()
    # The next transaction of the hub sends them.
    both.store.try_writing(PROJECT)
    both.lose_mirror()
    session = program.sessions[0]
    assert both.store.events(PROJECT, session, after=0, limit=500) == both.home.events(
        PROJECT, session, after=0, limit=500
    )


@pytest.mark.parametrize("is_cold", [False, True])
def test_sums_by_kind_are_of_the_contents_that_came_last(both: Both, is_cold: bool) -> None:
    """A failure counts for its tool as soon as the content of its row arrives, even if the session was evicted."""
    begun, *_, end = session_rows(1)
    text = '{"trigger":{"kind":"tool","name":"search"}}'
    failed = rows.make("error", begun[2], id=clock.new_id(), at_ns=clock.now_ns(), name="KeyError", failed=1, body=text)
    sent = [begun, failed, end]
    bare = [bundle.without_content(row)[1:] for row in stored(sent, 1)]
    both.begin_again(bound=0)
    for store in (both.home, both.store):
        for each in (bare, sent):
            store.ingest(PROJECT, batch_of(each), refused={}, by="hub", key="k" * 32)
            if isinstance(store, ClickHouseStore):
                store.write_behind(PROJECT)
                if is_cold:
                    store.make_room(PROJECT)
    answers = [store.analytics(PROJECT, "kind", analytics.Chosen(), limit=9) for store in (both.home, both.store)]
    assert answers[0] == answers[1]
    assert [line["failed"] for line in answers[1]["lines"] if line["kind"] == "tool"] == [1]


def test_room_is_made_a_part_at_a_time(both: Both) -> None:
    """While many calls are not in their table yet, the thread that writes states is not kept by it."""
    both.begin_again(bound=0)
    sent = session_rows(5_000)
    both.store.ingest(PROJECT, batch_of(sent), refused={}, by="hub", key="k" * 32)
    before = both.rows_here()
    both.store.make_room(PROJECT, 0)
    assert both.rows_here() == before
    for _ in range(3):
        both.store.make_room(PROJECT, 0)
    assert both.rows_here() < before / 100
