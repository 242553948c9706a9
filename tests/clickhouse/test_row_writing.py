"""Rows that are written into a mirror many at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.server.clickhouse.row_writing import put_rows


def _row(seq: int, name: str) -> Stored:
    at = clock.now_ns()
    body = '{"cache_write_tokens":7}'
    made = rows.make("llm", bytes(range(16)), id=seq.to_bytes(16, "big"), at_ns=at, name=name, body=body)
    return Stored(seq, *made)


def test_rows_are_written_under_their_seqs_however_many(tmp_path: Path) -> None:
    """Two statements of many and one for each of the rest; what is there is ignored or replaced, as the verb says."""
    journal = Journal(str(tmp_path))
    journal.fold()
    seqs = range(1_000, 1_120, 2)
    journal.transact(lambda execute: put_rows(execute, (_row(seq, "first") for seq in seqs)))

    def change(execute: Callable[..., Any]) -> None:
        for verb, which in (("insert or ignore", range(1_050, 1_120)), ("insert or replace", (1_000, 1_118))):
            put_rows(execute, [_row(seq, verb) for seq in which], verb)

    journal.transact(change, folded=False)
    journal.close()
    with Reader(journal.path) as reader:
        written = reader.ask("select seq, name, tokens_cache_write from event where seq >= 1000 order by seq")
    ignored = dict.fromkeys(range(1051, 1120, 2), "insert or ignore")
    names = {**dict.fromkeys(seqs, "first"), **ignored, **dict.fromkeys((1_000, 1_118), "insert or replace")}
    assert [tuple(row) for row in written] == [(seq, names[seq], 7) for seq in sorted(names)]
