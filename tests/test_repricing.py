"""Later prices: the same totals everywhere, counted once, even if a price is set twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import localops
from localops import clock
from localops.encoding.pricing import Prices
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.upkeep.repricing import Repriced, reprice


@pytest.fixture
def session() -> localops.Session:
    """Record calls of a model without a price: two, one with its own cost, one without tokens."""
    session = localops.start_session()
    assert session is not None
    for cost in (None, None, 0.5):
        event = localops.LLMEvent(model="own-llm", prompt_tokens=1_000, completion_tokens=100, cost=cost)
        session.record(event)
    session.record(localops.LLMEvent(model="own-llm"))
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=10))
    return session


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return the journal that is repriced."""
    journal = Journal(str(tmp_path / "home" / "default"))
    yield journal
    journal.close()


def _reprice(journal: Journal, dollars: int, *, all_calls: bool = False) -> Repriced:
    prices = Prices({"own-llm": {"input": dollars, "output": 10}})
    return reprice(journal, "own-llm", prices, source="test", all_calls=all_calls)


def test_unpriced_calls_get_their_price(session: localops.Session, journal: Journal) -> None:
    """Two calls at $1 and $10 a million: $0.002 each, no longer unpriced; what has no tokens stays so."""
    before = analytics.totals(journal, session.session_id.bytes)
    assert _reprice(journal, 1) == Repriced(calls=2, nano=4_000_000, same=0, unknown=1, kept=1)
    after = analytics.totals(journal, session.session_id.bytes)
    assert (before.unpriced, after.unpriced) == (3, 1)
    assert after.cost - before.cost == 4_000_000


def test_a_second_time_nothing_is_added(session: localops.Session, journal: Journal) -> None:
    """The same price again adds no row."""
    _reprice(journal, 1)
    assert _reprice(journal, 1) == Repriced(calls=0, nano=0, same=2, unknown=1, kept=1)


def test_prices_may_go_up_and_down_again(session: localops.Session, journal: Journal) -> None:
    """Each change is a row of its own, and the total is always that of the last one."""
    base = analytics.totals(journal, session.session_id.bytes).cost
    for dollars in (1, 3, 1, 3):
        _reprice(journal, dollars)
        cost = analytics.totals(journal, session.session_id.bytes).cost
        assert cost - base == 2 * (dollars * 1_000_000 + 1_000_000)


def test_a_cost_that_was_given_is_changed_only_on_request(session: localops.Session, journal: Journal) -> None:
    """With `all_calls` the call with its own cost is priced again, too."""
    assert _reprice(journal, 1, all_calls=True).calls == 3
    known = analytics.totals(journal, session.session_id.bytes)
    (part,) = [part for part in analytics.parts(journal, session.session_id.bytes, "model") if part.value == "own-llm"]
    assert part.cost == 6_000_000
    assert known.unpriced == part.unpriced == 1


def _detailed(journal: Journal) -> list[int | None]:
    """Return the nano-dollars of each call in the view event_detail, in order."""
    with Reader(journal.path) as reader:
        costs = reader.ask("select cost_usd from event_detail where kind = 'llm' order by seq")
    return [None if cost is None else round(cost * 1e9) for (cost,) in costs]


def test_each_event_costs_what_totals_count(session: localops.Session, journal: Journal) -> None:
    """The view event_detail has later prices in it, of calls with and without a cost before; unknown stays unknown."""
    session.record(localops.ToolEvent(name="search"))
    own = 125_000
    assert _detailed(journal) == [None, None, 500_000_000, None, own]
    for dollars in (1, 3):
        _reprice(journal, dollars)
    assert _detailed(journal) == [4_000_000, 4_000_000, 500_000_000, None, own]
    _reprice(journal, 2, all_calls=True)
    assert _detailed(journal) == [3_000_000] * 3 + [None, own]
    for _ in range(2):  # as they were folded one by one, and all again
        assert sum(filter(None, _detailed(journal))) == analytics.totals(journal, session.session_id.bytes).cost
        journal.rebuild()


def test_a_price_is_of_no_other_call(session: localops.Session, journal: Journal) -> None:
    """A call of an operation that began has two rows; its price counts once, with the one that ended."""
    id, at = clock.new_id(), clock.now_ns()
    for phase in (1, 0):
        call = rows.make("llm", session.session_id.bytes, id=id, at_ns=at, model="own-llm", tokens=(10, 0, None, None))
        journal.append((call[0], phase, *call[2:]))
    _reprice(journal, 1)
    with Reader(journal.path) as reader:
        costs = reader.ask("select phase, cost_usd from event_detail where tokens_in = 10 and model = 'own-llm'")
    assert costs == [("began", None), ("ended", pytest.approx(1e-5))]


def test_looking_at_an_event_reads_the_stream_for_its_cost_alone(session: localops.Session, journal: Journal) -> None:
    """Once for a statement, whatever it asks for; not at all where no cost is asked for."""
    with Reader(journal.path) as reader:
        ask = "explain query plan select {} from event_detail{}"
        plans = [
            [row[3] for row in reader.ask(ask.format(column, where))]
            for column, where in [
                ("name, tokens_in", " where seq = 5"),
                ("cost_usd", " where seq = 5"),
                ("cost_usd", ""),
            ]
        ]
    assert [sum(step.startswith("SCAN event") for step in plan) for plan in plans] == [0, 1, 1]
    assert [step for step in plans[2] if step.startswith("SEARCH l USING AUTOMATIC")]


def test_a_rebuild_gives_the_same_figures(session: localops.Session, journal: Journal) -> None:
    """Later prices are rows: totals that are folded again are the same."""
    _reprice(journal, 2)
    before = analytics.totals(journal, session.session_id.bytes)
    journal.rebuild()
    assert analytics.totals(journal, session.session_id.bytes) == before


def test_a_price_that_comes_later_does_not_prolong_a_session(session: localops.Session, journal: Journal) -> None:
    """A session lasted from its first event to its end, whenever its calls are priced."""
    session.end_session("Success")
    before = analytics.totals(journal, session.session_id.bytes)
    _reprice(journal, 1)
    after = analytics.totals(journal, session.session_id.bytes)
    assert (after.first_ns, after.last_ns) == (before.first_ns, before.last_ns)
