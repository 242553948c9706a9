"""Rows as they are read: every column under its name, and back to what is written."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops import clock
from localops.journal import rows, stored
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.stored import Stored
from localops.reading import analytics
from tests import made
from tests.test_rows import any_row


def test_it_has_the_columns_of_a_row_behind_its_seq() -> None:
    """The order is that of every statement that selects whole rows."""
    assert Stored._fields == ("seq", *rows.COLUMNS)


@given(any_row(), st.integers(1, 1 << 60))
def test_a_row_comes_back_as_it_was_written(row: rows.Row, seq: int) -> None:
    """A stored row without its place is the row that was written."""
    read = Stored(seq, *row)
    assert (read.seq, read.bare, read.is_intact) == (seq, row, True)


@given(any_row())
def test_another_body_comes_with_its_checksum(row: rows.Row) -> None:
    """The row stays intact, and no other column changes."""
    changed = Stored(7, *row).with_body('{"another":1}')
    assert changed.is_intact
    assert changed._replace(sum=0, body=None) == Stored(7, *row)._replace(sum=0, body=None)
    assert not changed._replace(body=None).is_intact


def test_rows_are_read_by_identity_session_and_in_order(tmp_path: Path) -> None:
    """One by its identity, a session's in pages, all of them; nothing for an identity that is not there."""
    written = [made.event(f"e{n}") for n in range(5)]
    journal = Journal(str(tmp_path))
    journal.add(written)
    with Reader(journal.path) as reader:
        of_session = list(stored.of_session(reader, made.SESSION, many=2))
        assert [row.bare for row in of_session] == written
        assert [row.name for row in of_session] == ["e0", "e1", "e2", "e3", "e4"]
        assert stored.one(reader, of_session[3].id, rows.DONE) == of_session[3]
        assert stored.one(reader, of_session[3].id, rows.OPEN) is None
        assert [row for row in reader.stream(many=2) if row.session == made.SESSION] == of_session
    journal.close()


def test_times_that_were_not_given_are_those_of_the_record() -> None:
    """An event of one moment began and ended when it was recorded."""
    (moment, span) = made.stored([made.event("a", at_ns=5), made.event("b", at_ns=9, start_ns=2, end_ns=0)])
    assert (moment.began_ns, moment.ended_ns) == (5, 5)
    assert (span.began_ns, span.ended_ns) == (2, 0)


_TOP = Path(__file__).parent.parent
# What makes up the journal: there a row is a tuple on its way to the disk, because that is quickest.
_BARE = ("journal.py", "journal_file.py", "losses.py", "reader.py", "recovery.py", "wal.py")
_FILES = [path for folder in ("localops", "sync/localops_sync") for path in sorted((_TOP / folder).rglob("*.py"))]
_ROWS = ("row", "stored", "milestone", "line", "totals", "call")
_PAGES = ("rows", "page", "story", "passages")


# To parse a file costs a hundred times what it costs to see that nothing of that name has an index in it.
_INDEX = re.compile(rf"\b(?:{'|'.join((*_ROWS, *_PAGES))})[\s)]*\[")


def test_nothing_reads_a_row_by_a_number() -> None:
    """`row[7]` says nothing, and is wrong as soon as a statement selects something else: columns have names."""
    assert [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for path in _FILES
        if path.name not in _BARE and _INDEX.search(text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Subscript) and _is_of_row(node.value) and _is_number(node.slice)
    ] == []


def _is_of_row(value: ast.expr) -> bool:
    """Return whether an index is of a row, or one of a page."""
    if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name):
        return value.value.id in _PAGES
    return isinstance(value, ast.Name) and value.id in _ROWS


def _is_number(index: ast.expr) -> bool:
    try:
        return isinstance(ast.literal_eval(index), int)
    except ValueError:
        return False


def _operation(number: int) -> list[rows.Row]:
    """The opening and the closing row of a tool call."""
    id, at = clock.new_id(), clock.now_ns()
    opening = made.event("f", "tool", id=id, at_ns=at, phase=rows.OPEN, body=f'{{"params":{{"i":{number}}}}}')
    return [opening, made.event("f", "tool", id=id, at_ns=at + 1, start_ns=at, end_ns=at + 1, body='{"returns":1}')]


@pytest.mark.parametrize("many", [1, 4, 100])
def test_openings_come_first_whatever_the_order_they_were_stored_in(tmp_path: Path, many: int) -> None:
    """Each row comes once: also if an operation has both rows in their order, or only one of them."""
    one, two, three = (_operation(number) for number in range(3))
    single, alone = made.event("a", start_ns=1, end_ns=2), _operation(3)[0]
    journal = Journal(str(tmp_path))
    journal.add([one[1], *three, single])
    journal.fold()
    journal.add([two[1], alone, two[0], one[0]])
    with Reader(journal.path) as reader:
        read = [row.bare for row in stored.openings_first(reader, made.SESSION, many=many)]
        events = list(analytics.events(reader, made.SESSION))
    journal.close()
    assert read == [*one, *three, single, *two, alone]
    assert [event.get("params") for event in events] == [{"i": 0}, {"i": 2}, None, {"i": 1}, {"i": 3}]
    assert [event["finished"] for event in events] == [True, True, True, True, False]
