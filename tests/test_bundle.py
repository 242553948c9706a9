"""A batch becomes bytes and back; tampering is noticed; receipts and ranges are exact."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops.encoding import encode
from localops.errors import BundleError
from localops.journal import rows, wire
from localops.transfer import bundle
from localops.transfer.bundle import Batch, Previous
from tests.made import stored
from tests.test_rows import any_row

_RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda each: (each[0], each[0] + each[1])))


def _batch(found: list[rows.Row]) -> Batch:
    numbered = stored(found, 7)
    previous = Previous(6, b"p" * 16, 1, 5, b"s" * 16)
    return Batch("ab" * 16, ("cd" * 16,), numbered, [(7, 7 + len(found) - 1)], previous, [{"session": "00", "rows": 3}])


def _seqs(ranges: list[tuple[int, int]]) -> set[int]:
    return {seq for first, last in ranges for seq in range(first, last + 1)}


@given(st.lists(any_row(), min_size=1, max_size=5))
def test_a_batch_comes_back_as_it_was(found: list[rows.Row]) -> None:
    """Header, columns and bodies hold everything of a batch, body text to the byte."""
    batch = _batch(found)
    again, refused = bundle.unpack(bundle.pack(batch).splitlines())
    assert (again.rows, refused) == (batch.rows, {})
    assert again == replace(batch, lineage=list(batch.lineage), totals=list(batch.totals))


@given(st.lists(any_row(), min_size=2, max_size=5), st.data())
def test_a_changed_byte_never_passes(found: list[rows.Row], data: st.DataObject) -> None:
    """After a change of any byte, a row is refused, the batch is, or all rows are still the same."""
    batch = _batch(found)
    head, *rest = bundle.pack(batch).splitlines()
    which = data.draw(st.integers(0, len(rest) - 1))
    at = data.draw(st.integers(0, len(rest[which]) - 1))
    rest[which] = rest[which][:at] + bytes([data.draw(st.integers(33, 126))]) + rest[which][at + 1 :]
    try:
        again, refused = bundle.unpack([head, *rest])
    except BundleError:
        return
    assert len(again.rows) + len(refused) <= len(found)
    assert all(row.bare in found for row in again.rows)


@pytest.mark.parametrize(
    "head",
    [b"", b"{}\n", b"[1]\n", b"\xff\n", b'{"localops":1}\n', b'{"localops":2,"journal":"x"}\n', b"<html>\n"],
)
def test_an_invalid_header_is_refused(head: bytes) -> None:
    """An invalid first line is refused with a message, before any row is read."""
    with pytest.raises(BundleError):
        bundle.unpack([head])


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": [5]},
        {"ranges": [[1, 2, 3]]},
        {"previous": [1]},
        {"previous": {"seq": 1}},
        {"previous": {"seq": 1, "id": "no hex", "phase": 0, "sum": 1, "session": ""}},
        {"previous": {"seq": 1, "id": None, "phase": 0, "sum": 1, "session": ""}},
    ],
)
def test_a_header_that_holds_nonsense_is_refused(change: dict[str, object]) -> None:
    """Invalid parts of a header make it invalid, for every reader."""
    head, *rest = bundle.pack(_batch([rows.make("action", b"s" * 16, id=b"i" * 16, at_ns=1)])).splitlines()
    with pytest.raises(BundleError):
        bundle.unpack([encode.dumps({**encode.loads(head), **change}), *rest])


def test_rows_that_are_missing_are_noticed() -> None:
    """Lines that were cut off at the end are not taken for the whole batch."""
    batch = _batch([rows.make("llm", b"s" * 16, id=bytes([n] * 16), at_ns=n) for n in range(3)])
    with pytest.raises(BundleError, match="expected 3 rows, got 2"):
        bundle.unpack(bundle.pack(batch).splitlines()[:-1])


@pytest.mark.parametrize(
    "change",
    [
        {"id": "00"},
        {"phase": "1"},
        {"kind": None},
        {"at_ns": 1.5},
        {"cost": 1 << 64},
        {"session": 5},
        {"body": [1]},
        {"name": {"a": 1}},
        {"tags": True},
    ],
)
def test_a_row_that_the_journal_could_not_hold_is_refused(change: dict[str, object]) -> None:
    """A line with a wrong type, a short id or too large a number is refused, whatever its checksum."""
    import json

    plain = json.loads(wire.from_row(rows.make("llm", b"s" * 16, id=b"i" * 16, at_ns=1, body='{"a":1}')))
    with pytest.raises((ValueError, TypeError)):
        wire.to_row(json.dumps({**plain, **change}).encode())


def test_a_digest_does_not_depend_on_order() -> None:
    """Two journals that hold a session's rows in different order give it one digest."""
    identities = [(bytes(16), 0, 5), (bytes(16), 1, 7), (b"x" * 16, 0, -9)]
    assert bundle.digest(identities) == bundle.digest(reversed(identities))
    assert bundle.digest(identities) != bundle.digest(identities[1:])


def test_a_receipt_holds_for_its_key_and_its_words_alone() -> None:
    """A receipt under another key, or with a changed field, is not signed; one without a key never is."""
    batch = _batch([rows.make("llm", b"s" * 16, id=bytes([n] * 16), at_ns=n) for n in range(3)])
    receipt = bundle.receipt(batch, refused=[8], at_ns=5, by="hub", key="secret")
    assert (receipt["rows"], receipt["ranges"]) == (2, [[7, 7], [9, 9]])
    assert bundle.is_signed(receipt, "secret")
    assert not bundle.is_signed(receipt, "other")
    assert not any(bundle.is_signed({**receipt, name: 99}, "secret") for name in receipt)
    assert not bundle.is_signed({**receipt, "hmac": None}, "secret")


@given(_RANGES, _RANGES)
def test_ranges_are_sets_of_seqs(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    """Merging, subtracting and intersecting ranges gives the same as for sets, in as few ranges as possible."""
    assert _seqs(bundle.merged(some)) == _seqs(some)
    assert _seqs(bundle.difference(some, others)) == _seqs(some) - _seqs(others)
    assert _seqs(bundle.common(some, others)) == _seqs(some) & _seqs(others)
    ranges = bundle.merged(some)
    assert all(first[1] + 1 < second[0] for first, second in itertools.pairwise(ranges))


@given(st.integers(2, 9), st.data())
def test_halves_are_the_whole(count: int, data: st.DataObject) -> None:
    """Two halves hold each row once, and cover the same seqs between them."""
    batch = _batch([rows.make("llm", b"s" * 16, id=bytes([n] * 16), at_ns=n) for n in range(count)])
    batch = replace(batch, ranges=[(1, 6 + count + data.draw(st.integers(0, 5)))])
    low, high = bundle.halves(batch)
    assert [*low.rows, *high.rows] == batch.rows
    assert _seqs([*low.ranges]) | _seqs([*high.ranges]) == _seqs([*batch.ranges])
    assert not _seqs([*low.ranges]) & _seqs([*high.ranges])
    assert (low.totals, high.totals) == ((), ())


def test_a_remote_for_metadata_gets_no_content() -> None:
    """Bodies of work, reasons, videos and metadata stay; figures, names and what sums need go."""

    def sent(kind: str, body: str) -> str | None:
        (row,) = stored([rows.make(kind, b"s" * 16, id=b"i" * 16, at_ns=1, name="n", cost=5, body=body)])
        kept = bundle.without_content(row)
        assert kept.is_intact
        assert kept[:-2] == row[:-2]
        return kept.body

    assert sent("llm", '{"prompt":"secret"}') is None
    assert sent("odd kind", '{"x":1}') is None
    assert sent("end", '{"reason":"secret","returns":"secret","derived":1}') == '{"derived":1}'
    started = '{"pid":7,"metadata_only":true}'
    assert sent("session", '{"params":{"a":"secret"},"pid":7,"host_env":{"OS":{}}}') == started
    assert sent("session", started) == started
    assert sent("host", '{"host_env":{"CPU":{}}}') == "{}"
    assert sent("metadata", '{"metadata":{"a":"secret"}}') == "{}"
    assert sent("end", '{"reason":"a bit of it has fl') == "{}"
    assert sent("price", '{"was":null,"source":"own"}') == '{"was":null,"source":"own"}'
