"""Rows of another journal are stored completely, once, in one synced step; a sender that is ahead gets an error."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import localops
from localops import clock
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.reading import analytics
from localops.transfer import bundle, ingest
from localops.transfer.bundle import Ack, Batch, Previous
from localops.transfer.delivery import Ledger, Limits
from localops.transfer.missing import MissingRows
from localops.upkeep import prune
from tests.made import stored


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Journal]:
    """Return the journal that takes rows in."""
    journal = Journal(str(tmp_path / "hub" / "default"), gather=True)
    yield journal
    journal.close()


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[tuple[Journal, Ledger, bytes]]:
    """Return a journal with one ended session, what a remote has of it, and the session."""
    session = localops.start_session(name="sent")
    assert session is not None
    for n in range(5):
        session.record(localops.LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=n, completion_tokens=1))
    session.end_session("Success")
    folder = str(tmp_path / "home" / "default")
    journal = Journal(folder)
    journal.fold()
    with Reader(os.path.join(folder, "journal.db")) as reader:
        yield journal, Ledger(reader, folder, "hub"), session.session_id.bytes
    journal.close()


def _batches(ledger: Ledger, rows: int = 3) -> list[Batch]:
    return list(ledger.batches(Limits(rows=rows)))


def _identities(journal: Journal) -> set[tuple[bytes, int, int]]:
    with Reader(journal.path) as reader:
        return {bundle.identity(row) for row in reader.stream() if row.kind != "journal"}


def test_rows_come_in_once_however_often(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """A batch that is sent twice is stored once; figures are the sender's, and both receipts are equal."""
    source, ledger, session = sender
    batches = _batches(ledger)
    first = [ingest.take(hub, batch, by="hub", key="k")[0] for batch in batches]
    again = [ingest.take(hub, batch, by="hub", key="k")[0] for batch in batches]
    assert [ack.stored for ack in first] == [len(batch.rows) for batch in batches]
    assert [ack.stored for ack in again] == [0] * len(batches)
    assert _identities(hub) == _identities(source)
    assert analytics.totals(hub, session)[:13] == analytics.totals(source, session)[:13]
    assert not any(ack.forked or ack.differs for ack in first + again)


def test_a_hub_signs_for_no_row_whose_file_it_has_not(hub: Journal) -> None:
    """It refuses that row until the file is there; a relay accepts it without."""
    data = b"long" * 1_000
    digest = hashlib.sha256(data).hexdigest()
    bodies = [None, f'{{"returns":{{"$blob":"{digest}","$len":4000,"head":""}}}}']
    made = [rows.make("action", clock.new_id(), id=clock.new_id(), at_ns=1, body=body) for body in bodies]
    batch = Batch("a" * 32, [], stored(made), [(1, 2)])
    copy, _ = ingest.take(hub, batch, by="here", copy=True)
    assert (copy.stored, copy.refused) == (2, {})
    ack, _ = ingest.take(hub, batch, by="hub", key="k")
    assert (list(ack.refused), ack.receipt and ack.receipt["ranges"]) == ([2], [[1, 1]])
    assert "is not here" in ack.refused[2]
    blobs.keep(hub.folder, data)
    ack, _ = ingest.take(hub, batch, by="hub", key="k")
    assert (ack.refused, ack.receipt and ack.receipt["ranges"]) == ({}, [[1, 2]])


def test_a_sender_that_is_ahead_gets_an_error(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """If the row before a batch is missing nothing is stored, and the error has what is here."""
    _, ledger, _ = sender
    first, second, third, *_ = _batches(ledger, 2)
    ingest.take(hub, first, by="hub")
    row = second.rows[-1]
    ahead = replace(third, previous=Previous(row.seq, row.id, row.phase, 0, row.session))
    with pytest.raises(MissingRows) as error:
        ingest.take(hub, ahead, by="hub")
    assert error.value.held == [(first.ranges[0][0], first.ranges[-1][1])]
    last = first.rows[-1]
    assert error.value.marks == [(last.seq, last.id, last.phase)]
    assert len(_identities(hub)) == len([row for row in first.rows if row.kind != "journal"])


def test_a_journal_knows_its_earlier_names(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """Rows of a journal from before it was moved count as held after it has a new id."""
    _, ledger, _ = sender
    first, second, *_ = _batches(ledger, 2)
    ingest.take(hub, first, by="hub")
    stranger = Previous(99, b"?" * 16, 0, 0, b"s" * 16)
    moved = replace(second, journal="new", lineage=[first.journal], previous=stranger)
    with pytest.raises(MissingRows) as error:
        ingest.take(hub, moved, by="hub")
    assert error.value.held


def test_deleted_sessions_do_not_come_back(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """After a session was pruned here, its rows are acknowledged and not stored."""
    _, ledger, session = sender
    for batch in _batches(ledger):
        ingest.take(hub, batch, by="hub")
    with Reader(hub.path) as reader:
        prune.take(hub, [prune.look(reader, hub.folder, session)])
    results = [ingest.take(hub, batch, by="hub") for batch in _batches(ledger)]
    of_session = [row for batch in _batches(ledger) for row in batch.rows if row.session == session]
    assert sum(gone for _, gone in results) == len(of_session)
    assert analytics.totals(hub, session) == analytics.NOTHING


def test_other_rows_under_the_same_seqs_are_noticed(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """A journal that was set back sends new rows under old seqs: they are stored, and it is reported."""
    _, ledger, _ = sender
    [batch] = _batches(ledger, 100)
    ingest.take(hub, batch, by="hub")
    new = rows.make("action", b"n" * 16, id=clock.new_id(), at_ns=clock.now_ns())
    last = batch.rows[-1].seq
    set_back = replace(batch, rows=[Stored(last, *new)], ranges=[(last, last)])
    ack, _ = ingest.take(hub, set_back, by="hub")
    assert (ack.stored, ack.forked) == (1, True)


def test_other_rows_under_the_same_seqs_do_not_count_as_held(
    hub: Journal, sender: tuple[Journal, Ledger, bytes]
) -> None:
    """Once other rows arrived under the same seqs, a row in order does not prove that earlier ones arrived."""
    _, ledger, _ = sender
    [batch] = _batches(ledger, 100)
    ingest.take(hub, batch, by="hub")
    made = (rows.make("action", b"o" * 16, id=clock.new_id(), at_ns=clock.now_ns()) for _ in batch.rows)
    other = stored(made, batch.rows[0].seq)
    some = replace(batch, rows=[other[1], other[3]], ranges=[(other[1].seq,) * 2, (other[3].seq,) * 2])
    assert ingest.take(hub, some, by="hub")[0].forked
    with pytest.raises(MissingRows) as apart:
        ingest.take(hub, replace(batch, previous=Previous(99, b"n" * 16, 0, 5, b"n" * 16)), by="hub")
    assert apart.value.held == some.ranges


def test_figures_that_differ_are_reported(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """Totals that go along are compared: a session with fewer rows here is named, one with more is not.

    A figure that a sender of another version does not know is not compared.
    """
    _, ledger, session = sender
    [batch] = _batches(ledger, 100)
    totals = ledger.totals([session], batch.rows[-1].seq)
    whole, _ = ingest.take(hub, replace(batch, totals=totals), by="hub")
    assert whole.differs == []
    more = [{**totals[0], "rows": totals[0]["rows"] + 1}]
    wrong = [{**totals[0], "cost": 1}]
    fewer = [{**totals[0], "rows": 1}]
    other = [{name: value for name, value in totals[0].items() if name != "cost"}]
    assert ingest.take(hub, replace(batch, totals=more), by="hub")[0].differs == [session.hex()]
    assert ingest.take(hub, replace(batch, totals=wrong), by="hub")[0].differs == [session.hex()]
    assert ingest.take(hub, replace(batch, totals=fewer), by="hub")[0].differs == []
    assert ingest.take(hub, replace(batch, totals=other), by="hub")[0].differs == []


def test_marks_grow_sparse(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """After many batches a sender gets the newest marks, and older ones further and further apart; at most 64."""
    source, ledger, _ = sender
    for _ in range(150):
        source.append(rows.make("action", b"m" * 16, id=clock.new_id(), at_ns=clock.now_ns()))
    batches = _batches(ledger, 1)
    for batch in batches:
        ingest.take(hub, replace(batch, previous=None), by="hub")
    stranger = replace(batches[0], previous=Previous(99, b"?" * 16, 0, 0, b"s" * 16))
    with pytest.raises(MissingRows) as error:
        ingest.take(hub, stranger, by="hub")
    seqs = [seq for seq, _, _ in error.value.marks]
    assert 32 < len(seqs) <= 64
    assert seqs == sorted(seqs, reverse=True)
    assert error.value.held == [(1, batches[-1].rows[-1].seq)]


def test_refused_rows_are_left_out(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """A row that could not be read is in neither the journal nor the receipt; the others are."""
    _, ledger, _ = sender
    [batch] = _batches(ledger, 100)
    seq = batch.rows[2].seq
    readable = replace(batch, rows=[row for row in batch.rows if row.seq != seq])
    ack, _ = ingest.take(hub, readable, by="hub", key="k", refused={seq: "torn"})
    size = sum(len(row.body or "") for row in readable.rows)
    assert ack == Ack({seq: "torn"}, ack.receipt, "hub", len(readable.rows), [], False, size=size)
    assert ack.receipt is not None
    assert bundle.is_signed(ack.receipt, "k")
    assert ack.receipt["rows"] == len(readable.rows)


def test_a_batch_that_is_sent_again_with_more_behind_it_is_the_same_batch(
    hub: Journal, sender: tuple[Journal, Ledger, bytes]
) -> None:
    """After a lost answer, a larger batch from the same place does not count as a journal that was set back."""
    _, ledger, _ = sender
    first, *_ = _batches(ledger, 3)
    [whole] = _batches(ledger, 100)
    ingest.take(hub, first, by="hub")
    ack, _ = ingest.take(hub, whole, by="hub")
    assert (ack.stored, ack.forked) == (len(whole.rows) - 3, False)


def _stripped(batch: Batch) -> Batch:
    return replace(batch, rows=list(map(bundle.without_content, batch.rows)))


def test_contents_take_the_place_of_rows_that_came_without(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """A remote that was metadata-only first gets the contents later: rows are filled in, and counted once."""
    source, ledger, session = sender
    [batch] = _batches(ledger, 100)
    ingest.take(hub, _stripped(batch), by="hub")
    before = analytics.totals(hub, session)
    other = Ledger(ledger.reader, ledger.folder, "further on")
    hub.transact(lambda execute: other._add(execute, [(1, 100)]))
    ack, _ = ingest.take(hub, batch, by="hub", key="k")
    filled = sum(bundle.without_content(row) != row for row in batch.rows)
    assert (ack.refused, ack.stored) == ({}, filled)
    assert filled > 4
    assert _identities(hub) == _identities(source)
    assert analytics.totals(hub, session) == before
    with Reader(hub.path) as reader:
        hubs = Ledger(reader, hub.folder, "further on")
        assert hubs.waiting().rows == filled
    hub.rebuild()
    assert analytics.totals(hub, session) == before


def test_rows_without_contents_take_the_place_of_none(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """A sender with less than is here gets its receipt, and the rows here stay."""
    source, ledger, _ = sender
    [batch] = _batches(ledger, 100)
    ingest.take(hub, batch, by="hub")
    ack, _ = ingest.take(hub, _stripped(batch), by="hub", key="k")
    assert (ack.refused, ack.stored) == ({}, 0)
    assert _identities(hub) == _identities(source)


def test_rows_with_other_contents_are_not_signed(hub: Journal, sender: tuple[Journal, Ledger, bytes]) -> None:
    """A row that contradicts one which is here is refused by itself, also within a batch, and is in no receipt."""
    source, ledger, _ = sender
    [batch] = _batches(ledger, 100)
    ingest.take(hub, batch, by="hub")
    row = batch.rows[3]
    seq = row.seq
    forged = replace(batch, rows=[row._replace(name="forged").with_body(row.body)], ranges=[(seq, seq)])
    ack, _ = ingest.take(hub, forged, by="hub", key="k")
    assert (list(ack.refused), ack.stored) == ([seq], 0)
    assert ack.receipt is not None
    assert (ack.receipt["rows"], ack.receipt["ranges"]) == (0, [])
    assert _identities(hub) == _identities(source)
    new = rows.make("action", b"n" * 16, id=clock.new_id(), at_ns=clock.now_ns())
    twin = Stored(91, *new)._replace(name="b").with_body(None)
    twice = replace(batch, rows=[Stored(90, *new), twin], ranges=[(90, 91)])
    assert list(ingest.take(hub, twice, by="hub")[0].refused) == [91]


@pytest.mark.parametrize("damage", ["body = replace(body, 'x', 'y')", "body = cast(x'ff' as text)", "name = 'z'"])
def test_a_damaged_row_is_mended_by_the_same_row(
    hub: Journal, sender: tuple[Journal, Ledger, bytes], damage: str
) -> None:
    """A row with flipped bits is replaced when the original is sent again."""
    source, ledger, _ = sender
    [batch] = _batches(ledger, 100)
    ingest.take(hub, batch, by="hub")
    hub.transact(lambda execute: execute(f"update event set {damage} where kind = 'llm'"))
    ack, _ = ingest.take(hub, batch, by="hub")
    assert (ack.refused, ack.stored) == ({}, 5)
    with Reader(hub.path) as reader:
        assert all(row.is_intact for row in reader.stream())
    assert _identities(hub) == _identities(source)
