"""A remote lacks exactly the rows that it was not sent: none is skipped, none is sent twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import localops
from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer import bundle, delivery, removal
from localops.transfer.bundle import Ack, Batch
from localops.transfer.delivery import Ledger, Limits
from localops.upkeep import prune
from tests.examples import examples


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Return a journal with ten rows of one session, after the first about itself."""
    journal = Journal(str(tmp_path / "home" / "default"))
    _add(journal, b"a" * 16, 10)
    yield journal
    journal.close()


@pytest.fixture
def ledger(journal: Journal) -> Iterator[Ledger]:
    """Return what a remote called hub has of it."""
    with Reader(journal.path) as reader:
        yield Ledger(reader, journal.folder, "hub")


def _add(journal: Journal, session: bytes, many: int, body: str | None = None) -> None:
    for _ in range(many):
        journal.append(rows.make("action", session, id=clock.new_id(), at_ns=clock.now_ns(), body=body))


def _seqs(batches: list[Batch]) -> list[int]:
    return [row.seq for batch in batches for row in batch.rows]


def test_what_was_settled_is_not_sent_again(journal: Journal, ledger: Ledger) -> None:
    """Batches are in order and within their limit; after they are settled nothing is left until the next row."""
    batches = list(ledger.batches(Limits(rows=4)))
    assert [len(batch.rows) for batch in batches] == [4, 4, 3]
    for batch in batches:
        ledger.settle(journal, batch, Ack())
    assert ledger.delivered() == [(1, 11)]
    assert not ledger.has_work()
    _add(journal, b"b" * 16, 1)
    assert _seqs(list(ledger.batches(Limits()))) == [12]


def test_a_refused_row_is_parked_and_holds_up_nothing(journal: Journal, ledger: Ledger) -> None:
    """A refused row is kept with its reason, can be sent again, or counted as settled."""
    [batch] = ledger.batches(Limits())
    ledger.settle(journal, batch, Ack(refused={5: "too odd"}))
    assert ledger.delivered() == [(1, 4), (6, 11)]
    assert [(row.seq, row.final, row.reason) for row in ledger.parked()] == [(5, True, "too odd")]
    assert not ledger.has_work()
    ledger.unpark(journal)
    assert _seqs(list(ledger.batches(Limits()))) == [5]
    ledger.park(journal, {5: "still odd"})
    ledger.unpark(journal, [5], drop=True)
    assert (ledger.gaps(), ledger.parked()) == ([], [])


def test_one_session_alone(journal: Journal, ledger: Ledger) -> None:
    """A pass for one session sends its rows and leaves the others unsent, also between them."""
    _add(journal, b"b" * 16, 2)
    _add(journal, b"a" * 16, 1)
    [batch] = ledger.batches(Limits(session=b"b" * 16))
    assert _seqs([batch]) == [12, 13]
    ledger.settle(journal, batch, Ack())
    assert ledger.gaps() == [(1, 11), (14, 14)]


def test_what_lies_between_the_rows_of_a_session_is_still_to_be_sent(journal: Journal, ledger: Ledger) -> None:
    """A session whose rows are among those of others is sent alone: the other rows stay unsent."""
    for _ in range(3):
        _add(journal, b"b" * 16, 1)
        _add(journal, b"c" * 16, 1)
    journal.fold()
    [batch] = ledger.batches(Limits(session=b"b" * 16))
    ledger.settle(journal, batch, Ack())
    assert ledger.delivered() == [(seq, seq) for seq in _seqs([batch])]
    assert ledger.waiting().rows == 14


def test_a_batch_is_filled_over_gaps(journal: Journal, ledger: Ledger) -> None:
    """Single missing rows between delivered ones share a batch, as do gaps that prune left."""
    for _ in range(50):
        _add(journal, b"b" * 16, 1)
        _add(journal, b"c" * 16, 1)
    for batch in ledger.batches(Limits(session=b"b" * 16, rows=7)):
        ledger.settle(journal, batch, Ack())
    journal.transact(lambda execute: execute("delete from event where seq between 30 and 39"))
    batches = list(ledger.batches(Limits(rows=30)))
    assert [len(batch.rows) for batch in batches] == [30, 26]
    for batch in batches:
        ledger.settle(journal, batch, Ack())
    assert ledger.delivered() == [(1, 111)]


def test_sessions_that_run_can_wait(tmp_path: Path) -> None:
    """With ended_only, rows of a running session stay unsent; those of an ended one are sent."""
    done = localops.start_session(name="done")
    running = localops.start_session(name="running")
    assert done is not None
    assert running is not None
    done.record(localops.ActionEvent("a"))
    running.record(localops.ActionEvent("b"))
    done.end_session("Success")
    folder = str(tmp_path / "home" / "default")
    with Reader(os.path.join(folder, "journal.db")) as reader:
        ledger = Ledger(reader, folder, "hub")
        sent = [row for batch in ledger.batches(Limits(ended_only=True)) for row in batch.rows]
        assert {row.session for row in sent} == {done.session_id.bytes, rows.NO_SESSION}
        everything = [row for batch in ledger.batches(Limits()) for row in batch.rows]
        assert running.session_id.bytes in {row.session for row in everything}


def test_a_batch_keeps_its_limit_of_bytes(journal: Journal, ledger: Ledger) -> None:
    """Large rows make small batches; a single row that is larger than the limit still goes."""
    _add(journal, b"b" * 16, 6, body='"' + "x" * 100_000 + '"')
    sizes = [sum(len(row.body or "") for row in batch.rows) for batch in ledger.batches(Limits(size=150_000))]
    assert len(sizes) >= 3
    assert max(sizes) <= 400_000
    for least in (Limits(size=1), Limits(size=0), Limits(rows=0)):  # an empty batch would say that nothing is there
        assert all(batch.rows for batch in ledger.batches(least))


def test_tags_count_as_bytes(journal: Journal, ledger: Ledger) -> None:
    """Rows that are large by their tags fill a batch as those with large bodies do."""
    for _ in range(8):
        at = clock.now_ns()
        tags = '["' + 10_000 * "x" + '"]'
        journal.append(rows.make("llm", b"t" * 16, id=clock.new_id(), at_ns=at, tags=tags))
    sizes = [len(batch.rows) for batch in ledger.batches(Limits(size=50_000))]
    assert max(sizes[1:]) <= 5


def test_the_row_before_is_one_the_remote_has(journal: Journal, ledger: Ledger) -> None:
    """A batch names the last delivered row before it; the first batch of all names none."""
    first, second, *_ = ledger.batches(Limits(rows=4))
    assert first.previous is None
    ledger.settle(journal, first, Ack(refused={4: "odd"}))
    before = ledger.before(second.rows[0].seq, Limits())
    assert before is not None
    assert (before.seq, before.id) == (3, first.rows[2].id)


def test_a_remote_that_lost_rows_gets_them_again(journal: Journal, ledger: Ledger) -> None:
    """keep_only makes everything else unsent."""
    [batch] = ledger.batches(Limits())
    ledger.settle(journal, batch, Ack())
    assert ledger.keep_only(journal, [(1, 3), (9, 50)]) == 5
    assert _seqs(list(ledger.batches(Limits()))) == [4, 5, 6, 7, 8]


def test_what_prune_took_is_no_work(tmp_path: Path) -> None:
    """Rows that were removed from the journal leave no gap that is requested again and again."""
    session = localops.start_session(name="old")
    assert session is not None
    session.record(localops.ActionEvent("a"))
    session.end_session("Success")
    folder = str(tmp_path / "home" / "default")
    journal = Journal(folder)
    with Reader(journal.path) as reader:
        prune.take(journal, [prune.look(reader, folder, session.session_id.bytes)])
        ledger = Ledger(reader, folder, "hub")
        kinds = [row.kind for batch in ledger.batches(Limits()) for row in batch.rows]
        assert kinds == ["journal", "pruned"]
        for batch in ledger.batches(Limits(rows=1)):
            ledger.settle(journal, batch, Ack())
        assert not ledger.has_work()
    journal.close()


def test_receipts_and_contact_are_kept(journal: Journal, ledger: Ledger) -> None:
    """A remote's receipts and last contact are kept; a removed remote leaves nothing."""
    [batch] = ledger.batches(Limits())
    ledger.settle(journal, batch, Ack(receipt={"by": "hub"}))
    ledger.meet(journal, peer="x", ok=True)
    ledger.meet(journal, error="it rains")
    contact = ledger.contact()
    assert (contact.peer, contact.error) == ("x", "it rains")
    assert contact.ok_ns
    assert contact.failed_ns
    assert [(count, receipt) for _, count, receipt in ledger.receipts()] == [(11, {"by": "hub"})]
    removal.forget(ledger, journal)
    assert (ledger.delivered(), ledger.receipts(), ledger.contact()) == ([], [], delivery.Contact())


def test_totals_are_of_sessions_that_are_complete(journal: Journal, ledger: Ledger) -> None:
    """Figures are sent only for a session whose last row is delivered, and none of whose rows is parked."""
    _add(journal, b"b" * 16, 2)
    sessions = [b"a" * 16, b"b" * 16]
    assert [totals["session"] for totals in ledger.totals(sessions, 11)] == [(b"a" * 16).hex()]
    assert [totals["rows"] for totals in ledger.totals(sessions, 13)] == [10, 2]
    ledger.park(journal, {12: "odd"})
    assert [totals["rows"] for totals in ledger.totals(sessions, 13)] == [10]


@settings(max_examples=examples(12))
@given(st.lists(st.tuples(st.integers(1, 5), st.sets(st.integers(1, 11)), st.booleans()), max_size=6))
def test_any_history_of_passes_ends_with_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, passes: list[tuple[int, set[int], bool]]
) -> None:
    """Passes of any size, each cut off anywhere and with any rows refused, deliver each row once and lose none."""
    journal = Journal(str(tmp_path_factory.mktemp("home") / "p"))
    _add(journal, b"a" * 16, 10)
    got: list[int] = []
    with Reader(journal.path) as reader:
        ledger = Ledger(reader, journal.folder, "hub")
        for size, refuses, ends_early in [*passes, (3, set(), False)]:
            for batch in ledger.batches(Limits(rows=size)):
                seqs = {row.seq for row in batch.rows}
                refused = dict.fromkeys(refuses & seqs, "no")
                ledger.settle(journal, batch, Ack(refused=refused))
                got += sorted(seqs - set(refused))
                if ends_early:
                    break
            ledger.unpark(journal)
        for batch in ledger.batches(Limits()):
            ledger.settle(journal, batch, Ack())
            got += [row.seq for row in batch.rows]
        assert sorted(got) == list(range(1, 12))
        assert bundle.merged(ledger.delivered()) == [(1, 11)]
    journal.close()
