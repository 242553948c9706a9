"""Token counts that bodies have are columns of the table and of all totals; rows stay as every release knows them."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops import LLMEvent, output
from localops.encoding.pricing import PARTS
from localops.journal import rows, sql, token_kinds, wire
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.token_kinds import TokenKind
from localops.reading import analytics, facts
from localops.reading.home import Home
from localops.recording.operation import Operation
from localops.recording.responses import Reply
from localops.transfer import bundle, ingest
from localops.transfer.bundle import Batch
from tests import programs
from tests.made import SESSION, event

_COUNT = {"cache_write_tokens": 30}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal without rows."""
    journal = Journal(str(tmp_path / "default"))
    yield journal
    journal.close()


def _call(fields: dict[str, Any], **columns: Any) -> rows.Row:
    return event("call", "llm", model="m", body=json.dumps(fields), **columns)


def _columns(journal: Journal) -> list[int | None]:
    with Reader(journal.path) as reader:
        return [
            count for (count,) in reader.ask("select tokens_cache_write from event where kind = 'llm' order by seq")
        ]


def test_a_recorded_count_is_in_every_figure() -> None:
    """Of the call, its session, its parts and lists; before the rows are folded and afterwards."""
    session = localops.start_session(tags=["own"])
    assert session is not None
    call = {"model": "claude-3-5-sonnet-20241022", "prompt_tokens": 100, "completion_tokens": 1}
    session.record(LLMEvent(**call, cached_tokens=5, cache_write_tokens=30, tags=["one"]))  # type: ignore[arg-type]
    session.record(LLMEvent(**call, returns="none"))  # type: ignore[arg-type]
    with session.operation("chat", "llm", model="gpt-4o") as operation:
        operation.usage(prompt_tokens=90, completion_tokens=1, cache_write_tokens=7)
    session.end_session("Success")
    for fold in (False, True):
        if fold:
            journal = Journal(programs.project())
            journal.rebuild()
            journal.close()
        with Home() as home:
            [listed] = home.sessions()
            assert listed.tokens_cache_write == facts.listed(listed)["tokens_cache_write"] == 37
            reader = home.projects[0].reader
            assert analytics.totals(reader, listed.session).tokens_cache_write == 37
            parts = {part.value: part.tokens_cache_write for part in analytics.parts(reader, listed.session, "model")}
            assert parts == {"claude-3-5-sonnet-20241022": 30, "gpt-4o": 7}
            tags = analytics.tags(reader, listed.session, until=listed.last_ns)
            assert {part.value: part.tokens_cache_write for part in tags} == {"own": 37, "one": 30}
            events = [each["tokens_cache_write"] for each in analytics.events(reader, listed.session)]
            assert events == [30, None, 7]
            for by in ("model", "tag", "day", "kind", "session"):
                lines = analytics.across(reader, by, analytics.Chosen(tag="own"))
                assert sum(line.tokens_cache_write for line in lines) == (67 if by == "tag" else 37), by


def test_a_row_from_elsewhere_gets_its_column_from_the_body(journal: Journal) -> None:
    """Spilled, imported and collected rows have the columns that every release knows, and no more."""
    added = [
        _call(_COUNT),
        _call({}),
        _call({"prompt": "cache_write_tokens"}),
        event("a step", body=json.dumps(_COUNT)),
    ]
    assert {len(row) for row in added} == {len(rows.COLUMNS)}
    journal.add(added)
    journal.add([wire.to_row(wire.from_row(_call(_COUNT)))])
    assert _columns(journal) == [30, None, None, 30]
    assert analytics.totals(journal, SESSION).tokens_cache_write == 60


def test_an_opened_call_counts_nothing(journal: Journal) -> None:
    """The row that an operation opens with has its input; what it used is in the row that it ends with."""
    journal.add([_call(_COUNT, phase=rows.OPEN)])
    assert _columns(journal) == [None]


def test_a_hub_has_the_count_and_the_row_is_as_it_was(journal: Journal) -> None:
    """The column does not travel, and the checksum does not cover it: an older release takes the row as any other."""
    session = localops.start_session()
    assert session is not None
    session.record(LLMEvent(model="gpt-4o", prompt_tokens=100, cache_write_tokens=30))
    session.end_session("Success")
    with Reader(os.path.join(programs.project(), "journal.db")) as reader:
        sent = [row for row in reader.stream() if row.kind != "journal"]
    assert all(row.is_intact and len(row.bare) == len(rows.COLUMNS) for row in sent)
    packed = bundle.pack(Batch("a" * 32, [], sent, [(sent[0].seq, sent[-1].seq)]))
    assert b"tokens_cache_write" not in packed
    batch, refused = bundle.unpack(packed.splitlines())
    assert not refused
    ingest.take(journal, batch, by="hub")
    assert analytics.totals(journal, session.session_id.bytes).tokens_cache_write == 30
    assert _columns(journal) == [30]


_COUNTS = (
    st.none() | st.integers() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3) | st.lists(st.none())
)


@given(
    st.sampled_from(sorted(rows.COUNTS_IN_BODY)),
    _COUNTS,
    st.sampled_from(["llm", "llm_copy", "tool"]),
    st.sampled_from([rows.DONE, rows.OPEN]),
)
def test_sql_and_python_read_the_same_count(column: str, value: object, kind: str, phase: int) -> None:
    """The column of a row from elsewhere, that of our own call, and the figure of an event agree on what is a count."""
    fields = {rows.COUNTS_IN_BODY[column]: value}
    with apsw.Connection(":memory:") as connection:
        statement = f"select {rows.count_from_body(column)} from (select ? as phase, ? as kind, ? as body)"
        [(in_sql,)] = connection.execute(statement, (phase, kind, json.dumps(fields))).fetchall()
    counted = kind == "llm" and phase == rows.DONE
    assert in_sql == (rows.counts(fields)[column] if counted else None)
    own = rows.with_counts(tuple(rows.COLUMNS), fields)
    if len(own) > len(rows.COLUMNS):
        in_python = dict(zip(rows.COUNTS_IN_BODY, own[len(rows.COLUMNS) :], strict=True))
        assert in_python == rows.counts(fields)


def test_a_body_that_is_no_json_counts_nothing(journal: Journal) -> None:
    """A flipped bit in one body does not keep the others from being folded."""
    damaged = (*_call(_COUNT)[:-1], '{"cache_write_tokens": 30')
    journal.add([_call(_COUNT), damaged])
    journal.fold()
    assert _columns(journal) == [30, None]
    assert analytics.totals(journal, SESSION).tokens_cache_write == 30


@pytest.mark.parametrize("kind", token_kinds.KINDS, ids=lambda kind: kind.field)
def test_a_kind_is_complete(kind: TokenKind, journal: Journal) -> None:
    """What the table of kinds names exists: arguments, parts of prices, words, columns of the journal and of a hub."""
    for function in (LLMEvent.__init__, Operation.usage):
        assert (kind.field in inspect.signature(function).parameters) is kind.is_argument
    assert kind.field in Reply._fields
    assert {kind.price or "input", *kind.within} <= PARTS.keys()
    if kind.column is None:
        return
    assert output.TOKENS[kind.column] == (kind.label, kind.meaning)
    assert all((kind.label, kind.meaning))
    # Pages know by the name that a count of a body and a column are the same.
    assert not kind.since or kind.column == f"tokens_{kind.field.removesuffix('_tokens')}"
    assert kind.since <= sql.SCHEMA
    journal.add([event("first")])
    with Reader(journal.path) as reader:
        for table in ("event", "total", "facet"):
            assert set(reader.ask(f"select {kind.column} from {table}")) <= {(None,), (0,)}
    steps = (resources.files("localops.server.clickhouse") / "tables").iterdir()
    on_hubs = "".join(step.read_text(encoding="utf-8") for step in steps if step.name.endswith("_core.sql"))
    assert len(re.findall(rf"\b{kind.column}\b", on_hubs)) == 2
