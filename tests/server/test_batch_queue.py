"""Batches that arrive at the same moment are stored together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import pytest

from localops.errors import BundleError
from localops.journal.reader import Reader
from localops.server import batch_queue
from localops.server.batch_queue import BatchQueue
from localops.server.home_store import HomeStore
from localops.server.keys import Keys
from localops.server.limits import Limits
from localops.server.request import Unavailable
from localops.server.threads import Service
from localops.transfer import bundle, ingest
from localops.transfer.bundle import Batch, Previous
from localops.transfer.ingest import Arrived
from localops.transfer.missing import MissingRows
from tests.server.hubs import batch_of, hub, packed, session_rows


def _journal(number: int) -> str:
    return f"{number:032x}"


def _batches(many: int, events: int = 3) -> list[Batch]:
    return [batch_of(session_rows(events), journal=_journal(number)) for number in range(1, many + 1)]


def _ids(path: Path) -> list[bytes]:
    with Reader(str(path)) as reader:
        return [row.id for row in reader.stream() if any(row.session)]


@pytest.fixture
def store(tmp_path: Path) -> HomeStore:
    """Return a store with a project."""
    made = HomeStore(str(tmp_path))
    made.migrate("p")
    return made


def test_batches_of_one_group_are_stored_with_a_receipt_each(store: HomeStore, tmp_path: Path) -> None:
    """Their rows are in one transaction; receipts and positions are as if each had arrived alone."""
    batches = _batches(5)
    outcomes = store.ingest_together("p", [Arrived(batch, {}, f"key {batch.journal}") for batch in batches], by="hub")
    newest = 0
    for batch, outcome in zip(batches, outcomes, strict=True):
        assert not isinstance(outcome, Exception)
        ack, gone = outcome
        assert (ack.stored, gone, ack.refused) == (len(batch.rows), 0, {})
        assert ack.receipt is not None
        assert (ack.receipt["digest"], ack.receipt["journal"]) == (batch.digest, batch.journal)
        assert bundle.is_signed(ack.receipt, f"key {batch.journal}")
        assert ack.receipt["position"][0] > newest
        newest = ack.receipt["position"][0]
    ids = _ids(tmp_path / "p" / "journal.db")
    assert len(ids) == len(set(ids)) == sum(len(batch.rows) for batch in batches)


def test_a_batch_that_comes_twice_in_one_group_is_stored_once(store: HomeStore, tmp_path: Path) -> None:
    """A sender that lost an answer may send again while the first copy still waits."""
    [batch] = _batches(1)
    first, second = store.ingest_together("p", [Arrived(batch, {}, "k"), Arrived(batch, {}, "k")], by="hub")
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert (first[0].stored, second[0].stored) == (len(batch.rows), 0)
    assert len(_ids(tmp_path / "p" / "journal.db")) == len(batch.rows)


def test_a_batch_follows_one_of_the_same_group(store: HomeStore) -> None:
    """The row before it has just been received, in the same group."""
    sent = session_rows(5)
    first, other = batch_of(sent[:3]), _batches(1)[0]
    second = batch_of(sent[3:], 4, previous=bundle.previous(first))
    arrived = [Arrived(batch, {}, "k") for batch in (first, other, second)]
    assert [len(group) for group in ingest.groups(arrived)] == [2, 1]
    outcomes = store.ingest_together("p", arrived, by="hub")
    assert [outcome[0].stored for outcome in outcomes if not isinstance(outcome, Exception)] == [3, 5, 4]


def test_a_gap_in_one_batch_is_no_failure_of_others(store: HomeStore, tmp_path: Path) -> None:
    """Nothing of it is stored; the others are."""
    good, gap, other = _batches(3)
    behind = replace(gap, previous=Previous(9, bytes(16), 0, 0, gap.rows[0].session))
    outcomes = store.ingest_together("p", [Arrived(each, {}, "k") for each in (good, behind, other)], by="hub")
    assert [isinstance(outcome, MissingRows) for outcome in outcomes] == [False, True, False]
    ids = set(_ids(tmp_path / "p" / "journal.db"))
    assert ids == {row.id for batch in (good, other) for row in batch.rows}


def test_a_batch_that_cannot_be_written_keeps_no_other_from_it(store: HomeStore, tmp_path: Path) -> None:
    """The group is rolled back as a whole, then each is tried alone."""
    good, bad, other = _batches(3)
    # Valid on the wire, but not for the journal's table.
    bad = replace(bad, rows=[row._replace(kind=None) for row in bad.rows])
    outcomes = store.ingest_together("p", [Arrived(each, {}, "k") for each in (good, bad, other)], by="hub")
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, True, False], outcomes
    assert set(_ids(tmp_path / "p" / "journal.db")) == {row.id for batch in (good, other) for row in batch.rows}
    stored = [outcome[0].stored for outcome in outcomes if not isinstance(outcome, Exception)]
    assert stored == [len(good.rows), len(other.rows)]


def test_a_journal_that_takes_nothing_is_not_tried_for_each(store: HomeStore, tmp_path: Path) -> None:
    """After a few attempts all batches of the group are refused for now, and no row is stored."""
    store.close()
    connection = apsw.Connection(str(tmp_path / "p" / "journal.db"))
    connection.execute("create trigger full before insert on event begin select raise(abort, 'disk full'); end")
    connection.close()
    outcomes = store.ingest_together("p", [Arrived(each, {}, "k") for each in _batches(5)], by="hub")
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes), outcomes
    assert len({id(outcome) for outcome in outcomes}) == 2
    assert _ids(tmp_path / "p" / "journal.db") == []


def test_rows_of_a_group_are_folded_and_counted(store: HomeStore) -> None:
    """Totals count each, and so does a quota of the day."""
    counted: list[tuple[int, int]] = []
    store.count_with(lambda _, rows, size: counted.append((rows, size)))
    batches = _batches(4)
    store.ingest_together("p", [Arrived(batch, {}, "k") for batch in batches], by="hub")
    assert [rows for rows, _ in counted] == [len(batch.rows) for batch in batches]
    assert store.sums("p") == (4, sum(len(batch.rows) for batch in batches))


class _Counting(HomeStore):
    """A store that counts the batches of each group."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.groups: list[int] = []

    def ingest_together(
        self, project: str, arrived: Sequence[Arrived], *, by: str
    ) -> list[tuple[bundle.Ack, int] | Exception]:
        self.groups.append(len(arrived))
        return super().ingest_together(project, arrived, by=by)


def test_batches_that_wait_become_one_group(tmp_path: Path) -> None:
    """A group ends with so many batches or rows; a request that was given up is passed over, an invalid one refused."""
    keys = Keys(str(tmp_path))
    store = _Counting(str(tmp_path))
    store.migrate("p")
    service = Service(store, keys, Limits())
    queue = BatchQueue(service)
    many = batch_queue._MOST_BATCHES
    batches = _batches(many + 10)

    def invalid() -> Arrived:
        raise BundleError("invalid")

    async def send() -> list[object]:
        all_of_them = (*batches, batch_of(session_rows()))
        parses: list[Callable[[], Arrived]] = [invalid, *(partial(Arrived, batch, {}, "k") for batch in all_of_them)]
        waiting = [asyncio.create_task(queue.store("p", parse)) for parse in parses]
        await asyncio.sleep(0)
        assert service.waiting_writes == many + 12
        waiting[-1].cancel()
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    results = asyncio.run(send())
    service.close()
    assert isinstance(results[0], BundleError)
    assert isinstance(results[-1], asyncio.CancelledError)
    assert [result[0].batch for result in results if isinstance(result, tuple)] == batches
    # The invalid one, which is answered alone, came first.
    assert store.groups == [many, 10]
    assert service.waiting_writes == 0
    assert len(_ids(tmp_path / "p" / "journal.db")) == 5 * len(batches)


def test_a_group_is_bounded_by_its_content(tmp_path: Path) -> None:
    """All of it is in memory: a body of a few bytes on the wire may be large, and one event may have 16 MB."""
    keys = Keys(str(tmp_path))
    store = _Counting(str(tmp_path))
    store.migrate("p")
    service = Service(store, keys, Limits())
    queue = BatchQueue(service)
    body = f'{{"params":"{"long " * 200_000}"}}'
    large = [batch_of(session_rows(1, body=body), journal=_journal(number)) for number in range(10)]

    async def send() -> None:
        await asyncio.gather(*(queue.store("p", partial(Arrived, batch, {}, "k")) for batch in large))

    asyncio.run(send())
    service.close()
    assert store.groups == [5, 5]


def test_many_senders_at_once_get_their_own_answers(tmp_path: Path) -> None:
    """Each gets the answer to its own batch, an invalid one too."""
    with hub(tmp_path) as running:
        keys = [running.key, *(running.new_key("default") for _ in range(15))]
        batches = _batches(48)
        bodies = [packed(batch) for batch in batches]
        bodies[7], bodies[23] = bodies[7][:-20], b"no batch"
        barrier = threading.Barrier(16)

        def send(place: int) -> tuple[int, object]:
            if place < 16:
                barrier.wait(60)
            answer: tuple[int, object] = running.ask(
                "POST", "/sync/1/rows", bodies[place], key=keys[place % 16], headers={"Content-Encoding": "gzip"}
            )
            return answer

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(send, range(48)))
        bad = (7, 23)
        assert [place for place, (status, _) in enumerate(answers) if status != 200] == [*bad], answers
        assert {answers[place][0] for place in bad} == {400}
        for place, (_, facts) in enumerate(answers):
            if place not in bad:
                assert isinstance(facts, dict)
                assert (facts["stored"], facts["receipt"]["digest"]) == (5, batches[place].digest)
                assert bundle.is_signed(facts["receipt"], keys[place % 16])
        ids = _ids(running.folder / "journal.db")
        assert set(ids) == {row.id for place, batch in enumerate(batches) if place not in bad for row in batch.rows}
        assert len(ids) == 46 * 5
        assert running.ask("GET", "/health", key="")[0] == 200
