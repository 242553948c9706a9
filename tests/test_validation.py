"""Rows from other machines: harmful ones are refused, rows of a recorder are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops.encoding import encode
from localops.errors import BundleError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.stored import Stored
from localops.reading.home import Home
from localops.transfer import validation
from localops.transfer.bundle import Batch, Previous
from tests.made import stored

_DEEP = "[" * 900 + "]" * 900


def _row(kind: str = "llm", **columns: Any) -> rows.Row:
    return rows.make(kind, b"\x02" * 16, **{"id": b"\x01" * 16, "at_ns": 5, **columns})


_HARMFUL = [
    _row("end", body=f'{{"x":{_DEEP}}}'),
    _row("end", body='{"derived":{"a":1}}'),
    _row("end", body='{"derived":1.5}'),
    _row("join", body='{"forked":"yes"}'),
    _row("join", body='{"participant":"../journal.db"}'),
    _row("loss", body='{"dropped":"many"}'),
    _row("error", failed=1, body='{"trigger":"tool"}'),
    _row("error", failed=1, body='{"trigger":{"kind":[]}}'),
    _row("error", failed=1, body='{"trigger":{"id":"no id"}}'),
    _row("error", failed=1, body='{"trigger":{"kind":"tool"}}'),
    _row("end", body="{}"),
    _row("end", name="", body="{}"),
    _row("loss"),
    _row(body=f'{{"x":{"[" * 220 + "]" * 220}}}'),
    _row(start_ns=-(1 << 63)),
    _row(end_ns=(1 << 63) - 1),
    _row(tokens=(10**13, None, None, None)),
    _row(cost=10**15),
    _row("session", body="[1]"),
    _row(tags="not json"),
    _row(tags='{"a":1}'),
    _row(tags="[null]"),
    _row(tokens=(1 << 62, None, None, None)),
    _row(cost=-(1 << 62)),
    _row(at_ns=1 << 62),
    _row(at_ns=-1),
    _row(phase=2),
    _row(failed=7),
    _row(""),
    _row("x" * 10_000),
]


@pytest.mark.parametrize("row", _HARMFUL, ids=lambda row: f"{row[3][:8]} {str(row[-1] or row[-4])[:24]}")
def test_a_row_that_could_do_harm_is_refused(row: rows.Row) -> None:
    """A row that folding or a figure could not handle is refused with a message, and no other row is."""
    good = _row(body='{"a":1}')
    refused: dict[int, str] = {}
    batch = Batch("a" * 32, (), stored([good, row, good]), [(1, 3)])
    assert validation.admit(batch, refused).rows == [Stored(1, *good), Stored(3, *good)]
    assert refused[2]
    assert list(refused) == [2]


def test_all_rows_of_a_recorder_are_admitted() -> None:
    """Rows of every kind that a program can record pass, whatever it recorded."""
    deep: Any = "deep"
    for _ in range(500):
        deep = [deep]
    session = localops.init(tags=["a"], trace_name="all of it")
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt_tokens=10**30, cost=float("inf"), prompt=deep))
    session.record(localops.ActionEvent(action_type="x" * 5_000, params={"deep": deep}, tags=["\0", "\ud800"]))
    failed = localops.ToolEvent(name="t", init_timestamp="1970-01-01")
    session.record(localops.ErrorEvent(trigger_event=failed, exception=ValueError("no")))
    session.add_tags(["b"])
    session.end_session("Failure", end_state_reason="so", video="https://example.com/v")
    with Home() as home:
        stream = list(home.projects[0].reader.stream())
    assert {row.kind for row in stream} >= {"session", "llm", "action", "tool", "error", "tags", "end"}
    validation.check_rows(stream)


@given(
    kind=st.sampled_from(sorted(rows.BOOKS | {"llm", "tool", "error", "action", "anything"})),
    body=st.none() | st.dictionaries(st.sampled_from([*validation._TYPES, "x"]), st.integers() | st.text() | st.none()),
    tags=st.none() | st.text() | st.lists(st.text()).map(lambda found: encode.dumps(found).decode()),
    tokens=st.tuples(*[st.none() | st.integers(-(1 << 63), (1 << 63) - 1)] * 4),
    at_ns=st.integers(-(1 << 63), (1 << 63) - 1),
    start_ns=st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    end_ns=st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    failed=st.none() | st.integers(0, 1),
    name=st.none() | st.text(),
)
def test_admitted_rows_can_be_folded(
    tmp_path_factory: pytest.TempPathFactory, kind: str, body: Any, **columns: Any
) -> None:
    """No admitted row keeps a journal from deriving its figures, alone or in pairs."""
    text = None if body is None else encode.dumps({k: v for k, v in body.items() if _fits(v)}).decode()
    row = _row(kind, body=text, model="m", **columns)
    try:
        validation.check_rows(stored([row]))
    except ValueError:
        return
    journal = Journal(str(tmp_path_factory.mktemp("folded")))
    journal.add([row, rows.seal((b"\x03" * 16, *row[1:-2]), row[-1])])
    journal.fold()
    assert journal.one("totals", session=b"\x02" * 16) is not None
    journal.close()


def _fits(value: object) -> bool:
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


def test_a_row_that_cannot_be_folded_takes_its_transaction_along(tmp_path: Path) -> None:
    """If such a row passes validation, it is not stored: the journal works as if it had never arrived."""
    journal = Journal(str(tmp_path))
    with pytest.raises(apsw.Error):
        journal.add([_row("end", body=f'{{"x":{"[" * 2_000 + "]" * 2_000}}}')])
    assert journal.add([_row("llm", id=b"\x09" * 16)]) == 1
    journal.close()


_GOOD = Batch("a" * 32, ["b" * 32], stored([_row()]), [(1, 1)], Previous(1, b"\0" * 16, 0, 5, b"\0" * 16))


def test_a_header_as_senders_make_it_is_taken() -> None:
    """The header is valid."""
    validation.check(_GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"journal": "../x"},
        {"lineage": ["a" * 32] * 10_000},
        {"lineage": [5]},
        {"ranges": [(2, 1)]},
        {"ranges": [(0, 1)]},
        {"ranges": [(1, 1 << 70)]},
        {"ranges": [("1", 2)]},
        {"previous": Previous(1, b"\0", 0, 5, b"\0" * 16)},
        {"previous": Previous(1, b"\0" * 16, 9, 5, b"\0" * 16)},
        {"totals": [{"session": "x", "rows": 1}]},
        {"totals": [None]},
    ],
    ids=str,
)
def test_a_header_that_no_sender_makes_is_refused(change: dict[str, Any]) -> None:
    """A header that would take long or break a statement is refused before any query."""
    with pytest.raises(BundleError):
        validation.check(replace(_GOOD, **change))


def test_the_harmful_rows_of_a_batch_are_refused_alone() -> None:
    """The others are admitted."""
    refused: dict[int, str] = {}
    batch = replace(_GOOD, rows=stored([_row(), _row(phase=5), _row()]), ranges=[(1, 3)])
    kept = validation.admit(batch, refused)
    assert [row.seq for row in kept.rows] == [1, 3]
    assert list(refused) == [2]
