"""Figures are the same in any order of rows, before and after the fold."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localops import clock
from localops.encoding import encode
from localops.journal import rollups, rows
from localops.journal.journal import Journal
from localops.journal.sql import statements
from localops.reading import analytics
from tests.examples import examples
from tests.journal.looks import derived
from tests.made import SESSION, event

_KINDS = ("session", "join", "leave", "tags", "end", "price", "agent", "action", "llm", "tool", "error", "custom")


@st.composite
def histories(draw: st.DrawFn) -> list[rows.Row]:
    """Draw rows of two sessions, with every kind of row that something is derived from."""
    drawn, ids = [], [bytes([n]) * 16 for n in range(1, 40)]
    for n in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from(_KINDS))
        phase = draw(st.sampled_from((0, 0, 1))) if kind in ("action", "llm", "tool") else 0
        work = kind in ("llm", "tool", "price")
        body = {"was": None, "derived": draw(st.sampled_from((0, 1)))} if kind in ("price", "end") else {}
        drawn.append(
            rows.make(
                kind,
                draw(st.sampled_from((b"s" * 16, b"t" * 16))),
                id=draw(st.sampled_from(ids)),
                phase=phase,
                at_ns=1_000 + draw(st.integers(0, 50)),
                name="set" if kind == "tags" and n % 2 else "Success" if kind == "end" else f"{kind} {n % 3}",
                agent=ids[n % 3] if n % 4 == 0 else None,
                model="m" if kind == "llm" else None,
                cost=draw(st.sampled_from((None, 5, 7))) if work and phase == 0 else None,
                failed=1 if n % 5 == 0 else None,
                tags='["a"]' if n % 3 == 0 else '["b","c"]' if n % 7 == 0 else None,
                body=encode.dumps(body).decode(),
            )
        )
    return list({(row[0], row[1]): row for row in drawn}.values())


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), data=st.data())
def test_the_order_of_rows_changes_no_figure(tmp_path: Any, history: list[rows.Row], data: st.DataObject) -> None:
    """Shuffled history, cut into any batches, gives the same totals, facets, states, tags and unfinished operations."""
    results = []
    for order in (history, data.draw(st.permutations(history))):
        folder = str(tmp_path / clock.new_id().hex())
        journal = Journal(folder)
        left = list(order)
        while left:
            size = data.draw(st.integers(1, len(left)))
            journal.add(left[:size])
            left = left[size:]
            if data.draw(st.booleans()):
                journal.fold()
        journal.fold()
        results.append(derived(journal))
        journal.close()
        shutil.rmtree(folder)
    assert results[0] == results[1]


def test_a_late_row_takes_a_derived_end_back_in_what_is_folded(journal: Journal) -> None:
    """The folded state of a session that was taken for dead is open again after any later row."""
    for kind in ("leave", "action"):
        session = clock.new_id()
        journal.add([event("run", "session", session)])
        journal.add([event("Indeterminate", "end", session, body='{"derived":1}')])
        journal.fold()
        assert (session,) not in journal.all("open_sessions", many=99)
        journal.add([event("late", kind, session)])
        journal.fold()
        assert (session,) in journal.all("open_sessions", many=99)


def test_figures_are_exact_before_and_after_the_fold(journal: Journal) -> None:
    """The rows past the mark and those before it always add up to all rows."""
    for n in range(3 * rollups.BATCH):
        journal.append(event(f"{n}", "llm", cost=n))
        if n % 100 == 0:
            figures = analytics.totals(journal, SESSION)
            assert (figures.rows, figures.llms, figures.cost) == (n + 1, n + 1, n * (n + 1) // 2)


def test_one_of_many_writers_folds(folder: str) -> None:
    """A writer that finds the rows folded by another process continues without the write lock."""
    folds, finds = Journal(folder), Journal(folder)
    for writer in (finds, folds):
        writer.append(event("first"))
    mark = "select seq from mark"
    while not folds._file.execute(mark).get:
        folds.append(event("more"))
    finds._file.look_at, finds._rollups.due = time.monotonic() + 60, 0
    execute, statements = finds._file.execute, []

    def noted(statement: str, *values: object) -> object:
        statements.append(statement)
        return execute(statement, *values)

    finds._file.execute = noted
    finds.append(event("last"))
    assert statements[1:] == [mark]
    assert finds._rollups.due > folds._file.execute(mark).get + rollups.BATCH - 1
    for writer in (finds, folds):
        writer.close()


def test_joining_costs_little_however_many_have_joined(journal: Journal) -> None:
    """Folding a row of the books takes steps in proportion to those of its session, not to their square."""
    steps = []
    for many in (200, 400):
        journal.add(event(f"{n}", "join", parent=clock.new_id()) for n in range(many))
        connection = journal._file.connection
        assert connection is not None
        counted = itertools.count()
        connection.set_progress_handler(lambda counted=counted: next(counted) < 0, 10)  # type: ignore[misc]
        journal.add([event("one more", "join")])
        connection.set_progress_handler(None)
        steps.append(next(counted))
    assert steps[1] < 4 * steps[0]  # 3 times as many have joined


def test_no_query_scans_the_stream(journal: Journal) -> None:
    """Every named query finds its rows by an index; only the tail past the mark is walked."""
    journal.append(event("a"))
    connection = journal._file.connection
    assert connection is not None
    for file in ("queries.sql", "lists.sql", "hub.sql", "waste.sql"):
        for name, statement in statements(file).items():
            values = dict.fromkeys(re.findall(r":(\w+)", statement))
            plan = [row[3] for row in connection.execute(f"explain query plan {statement}", values)]
            if "order by seq desc\nlimit" in statement:  # the newest rows, walked backwards
                continue
            if (file, name) == ("hub.sql", "journals"):  # for one command of a hub's operator
                continue
            # An automatic index is made of all rows, each time the statement runs.
            scans = [
                step for step in plan if re.match(r"SCAN (event|e|o|d)\b(?!.*INDEX)|.*AUTOMATIC.*\bid=\?", str(step))
            ]
            assert not scans, (file, name, plan)
