"""Rows of a journal are in ClickHouse as they are, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.server.clickhouse import event_rows
from localops.server.clickhouse.archive import Archive
from localops.server.clickhouse.engine import Engine, address
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.mirror import Mirror
from localops.transfer import ingest
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT
from tests.clickhouse.servers import Server
from tests.server.hubs import batch_of, session_rows

if TYPE_CHECKING:
    from localops.server.clickhouse.mirror import Execute

_ID = bytes.fromhex("01934f0c5f0a7c3b8d1e2f3a4b5c6d7e")
_TEXTS = [
    None, "", "a", "x" * 127, "x" * 128, "é" * 9_000, "z" * 70_000, "a\0b", "tab\tnew\nline", "back\\slash'\"", "猫",
    "\\N", "null",
]  # fmt: skip
_NUMBERS = [None, 0, 1, -1, 2**63 - 1, -(2**63)]


def odd_rows() -> list[tuple[Stored, tuple[int | None, ...]]]:
    """Return rows with texts, numbers and ids of every kind."""
    made = []
    for number, text in enumerate(_TEXTS * 2):
        figure = _NUMBERS[number % len(_NUMBERS)]
        # Ids of other products have other lengths.
        id = _ID[:12] + number.to_bytes(4) if number % 5 else bytes([number]) * (number + 1)
        session = _ID if number % 3 else bytes(_ID[::-1])
        parent = None if number % 2 else _ID
        agent = None if number % 4 else b"agent"
        body = None if text is None else json.dumps(text, ensure_ascii=False)
        columns = rows.make("tool", session, id=id, at_ns=number, parent=parent, agent=agent, name=text, body=body)
        row = Stored(2**63 + number, *columns)._replace(tokens_in=figure, cost=figure, model=text, failed=figure)
        made.append((row, (figure,) * len(rows.COUNTS_IN_BODY)))
    return made


@pytest.mark.parametrize("packs", [False, True])
def test_rows_come_back_as_they_were(clickhouse: Server, packs: bool) -> None:
    """Texts of any length and kind, nulls, the greatest and least numbers, and ids of any length, also packed."""
    engine = clickhouse.engine(f"as_they_were_{packs}")
    migrate(engine)
    assert not engine.packs_blocks
    engine.packs_blocks = packs
    archive, sent = Archive(engine, "p"), odd_rows()
    archive.put(sent, 7)
    assert archive.between(0, 2**64 - 1) == [row for row, _ in sent]
    kept = engine.ask("select tokens_cache_write, toUInt32(day) as days, words, rev from lo_event order by seq")
    assert [(cache_write, days, rev) for cache_write, days, _, rev in kept] == [
        (counts[0], 20_048 if row.session == _ID else 0, 7) for row, counts in sent
    ]
    assert [words is None for *_, words, _ in kept] == [text is None or text.isascii() for text in _TEXTS * 2]


def test_rows_that_came_together_are_the_same_blocks() -> None:
    """As rows that are read back from a journal, with their seqs and tokens."""
    sent = [(row._replace(seq=5 + place), counts) for place, (row, counts) in enumerate(odd_rows())]
    known = {row.seq: counts for row, counts in sent if any(count is not None for count in counts)}
    new = event_rows.New([row.bare for row, _ in sent], 5, known)
    assert list(event_rows.new_blocks("p", [new], 7)) == list(event_rows.blocks("p", sent, 7))


def test_what_a_batch_brings_is_stored_as_it_is_read_back(both: Both) -> None:
    """Also tokens that only the body has, and texts beyond ASCII."""
    bodies = ['{"cache_write_tokens":7}', '{"cache_write_tokens":"7"}', '{"params":{"q":"Öl"}}']
    made = [row for body in bodies for row in session_rows(1, body=body)]
    some = batch_of(made[:3]), batch_of(made[3:], journal="b" * 32)
    arrived = [ingest.Arrived(each, {}, "k" * 32) for each in some]
    outcomes = both.store.ingest_together(PROJECT, arrived, by="hub")
    assert [outcome[0].stored for outcome in outcomes if not isinstance(outcome, Exception)] == [3, 6]
    with Reader(str(both.mirror / "journal.db")) as reader:
        columns = ", ".join(("seq", "tokens_cache_write", *rows.COLUMNS))
        here = reader.ask(f"select {columns} from event where kind <> 'journal' order by seq")
    seqs, cache_write = zip(*((seq, tokens) for seq, tokens, *_ in here), strict=True)
    stored = both.store.engine.ask(
        "select seq, tokens_cache_write, words from lo_event where kind <> 'journal' order by seq"
    )
    assert [(seq, tokens) for seq, tokens, _ in stored] == list(zip(seqs, cache_write, strict=True))
    assert [tokens for tokens in cache_write if tokens] == [7]
    assert [words for *_, words in stored if words]
    archived = Archive(both.store.engine, PROJECT).between(0, 10**9)
    assert archived[-9:] == [Stored(seq, *bare) for seq, _, *bare in here]


def test_a_mirror_of_an_earlier_release_gets_the_sums_that_it_lacks(tmp_path: Path) -> None:
    """It has sums by kind of cold rows only, and of fewer kinds of tokens."""
    journal = Journal(str(tmp_path))
    mirror = Mirror(Archive(Engine(address("clickhouse://none@127.0.0.1:1/none")), "p"))
    here, partly_cold = session_rows(1), session_rows(3)
    journal.add([*here, *partly_cold])
    session = rows.COLUMNS.index("session")

    def prepare(execute: Execute) -> None:
        mirror.prepare(execute)
        for table in ("kind_sum", "kind_mark"):
            execute(f"drop table {table}")
        figures = "n failed tokens_in tokens_out tokens_cached tokens_reasoning cost unpriced took_ns".split()
        columns = ", ".join(f"{name} integer not null" for name in figures)
        execute(f"create table cold_kind(session blob, kind text, {columns}, primary key(session, kind)) without rowid")
        # Of its three calls the last one came after the others were evicted.
        for cold in (_ID, partly_cold[0][session]):
            execute("insert into cold_kind values(?, 'llm', 2, 0, 20, 0, 0, 0, 14, 0, 0)", (cold,))
        upto = execute("select max(seq) - 1 from event where kind = 'llm'").get
        execute("insert into cold values(?, ?)", (partly_cold[0][session], upto))
        mirror.prepare(execute)

    journal.transact(prepare)
    with Reader(journal.path) as reader:
        sums = reader.ask("select session, n, tokens_in, tokens_cache_write, cost from kind_sum where kind = 'llm'")
        assert sorted(sums) == sorted(
            [
                (_ID, 2, 20, 0, 14),
                (here[0][session], 1, 10, 0, 7),
                (partly_cold[0][session], 3, 30, 0, 21),
            ]
        )
        assert reader.ask("select seq from kind_mark") == reader.ask("select max(seq) from event")
    journal.close()
