"""Rows as text: they are read back unchanged, and an invalid one does not affect the others."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops import clock
from localops.encoding import encode
from localops.journal import rows, wire
from localops.journal.stored import Stored
from tests.made import stored
from tests.test_rows import any_row


def _rows(many: int = 3) -> list[Stored]:
    ids = [bytes([n] * 16) for n in range(many)]
    return stored((rows.make("llm", b"s" * 16, id=id, at_ns=5, name="n", body='{"a":1}') for id in ids), 5)


def _changed(name: str, at: int, value: object) -> tuple[list[Stored], dict[int, str]]:
    """Return the result of reading rows after one value was replaced on the way."""
    head, *bodies = wire.from_rows(_rows()).splitlines()
    head_fields = json.loads(head)
    head_fields.setdefault(name, [None] * 3)[at] = value
    return wire.to_rows(json.dumps(head_fields).encode(), bodies)


@given(st.lists(any_row(), max_size=5), st.integers(1, 1 << 60))
def test_rows_come_back_as_they_were(found: list[rows.Row], first: int) -> None:
    """All columns, filled or not, the text of the body, and the place in the journal."""
    numbered = stored(found, first)
    head, *bodies = wire.from_rows(numbered).splitlines()
    assert wire.to_rows(head, bodies if found else []) == (numbered, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "00"),
        ("id", None),
        ("id", "no hex"),
        ("id", ""),
        ("session", 5),
        ("parent", {"a": 1}),
        ("phase", "1"),
        ("phase", True),
        ("kind", None),
        ("at_ns", 1.5),
        ("cost", 1 << 63),
        ("cost", -(1 << 64)),
        ("name", ["a"]),
        ("tags", True),
        ("sum", 1),
    ],
)
def test_a_row_that_the_journal_could_not_hold_is_refused_alone(name: str, value: object) -> None:
    """For a wrong type, a short id, too large a number or another checksum, the other rows are accepted."""
    accepted, refused = _changed(name, 1, value)
    assert [row.seq for row in accepted] == [5, 7]
    assert list(refused) == [6]


@pytest.mark.parametrize("body", [b"{", b"", b'{"a":NaN}', b'{"a":1}}', b'{"a":1} {}', b'"\xed\xa0\x80"', b'{"a": 1}'])
def test_a_body_that_is_no_json_or_another_is_refused_alone(body: bytes) -> None:
    """A stored body must be JSON, and the very text that was sealed."""
    head, *bodies = wire.from_rows(_rows()).splitlines()
    accepted, refused = wire.to_rows(head, [bodies[0], body, bodies[2]])
    assert [row.seq for row in accepted] == [5, 7]
    assert list(refused) == [6]


def test_a_body_of_several_lines_takes_no_other_row_with_it() -> None:
    """A line break in a body is invalid: the row is refused by its checksum, and later rows are read."""
    odd = rows.make("llm", b"s" * 16, id=b"o" * 16, at_ns=5, body='{"a":\n"\n1"}')
    head, *bodies = wire.from_rows([*_rows(), Stored(8, *odd), _rows()[0]._replace(seq=9)]).split(b"\n")[:-1]
    accepted, refused = wire.to_rows(head, bodies)
    assert [row.seq for row in accepted] == [5, 6, 7, 9]
    assert list(refused) == [8]


def test_a_sealed_body_that_is_no_json_is_refused() -> None:
    """A matching checksum is not enough."""
    [row] = _rows(1)
    lines = wire.from_rows([row.with_body("{")]).splitlines()
    assert list(wire.to_rows(lines[0], lines[1:])[1]) == [row.seq]


@pytest.mark.parametrize(
    "change",
    [
        {"seq": None},
        {"seq": [1, 2]},
        {"seq": [1, 2, "3"]},
        {"seq": [1, 2, True]},
        {"name": "abc"},
        {"kind": ["llm"]},
        {"kind": {"a": 1, "b": 2, "c": 3}},
    ],
)
def test_invalid_columns_are_refused_as_a_whole(change: dict[str, Any]) -> None:
    """Nothing is accepted if the positions of the rows are unknown, or the columns differ in length."""
    head, *bodies = wire.from_rows(_rows()).splitlines()
    with pytest.raises(ValueError, match=r".+"):
        wire.to_rows(json.dumps({**json.loads(head), **change}).encode(), bodies)
    for nothing in (b"", b"[]", b"7", b"{"):
        with pytest.raises(ValueError, match=r".+"):
            wire.to_rows(nothing, bodies)


@pytest.mark.parametrize("filling", [b"[],", b"{},", b"1,", b'"a",'], ids=["lists", "objects", "numbers", "texts"])
def test_columns_that_cost_a_hundred_times_their_size_are_not_read(filling: bytes) -> None:
    """A line that would become millions of objects in memory is refused after a look at its text."""
    head = b'{"seq":[' + filling * 500_000 + b"1]}"
    began = time.process_time()
    with pytest.raises(ValueError, match="more than lists"):
        wire.to_rows(head, [])
    assert time.process_time() - began < 2


def test_a_body_of_millions_of_lists_is_refused_by_itself() -> None:
    """Such a row is left out with a reason, and its neighbours are read; brackets within a text are no lists."""
    bodies = ['{"a":[' + "[]," * 600_000 + "1]}", '{"a":"' + "[" * 1_200_000 + '"}', None]
    made = [
        rows.make("action", clock.new_id(), id=clock.new_id(), at_ns=clock.now_ns(), tags='["[[[[","{,,,,"]', body=body)
        for body in bodies
    ]
    head, *lines = wire.from_rows(stored(made)).split(b"\n")
    accepted, refused = wire.to_rows(head, lines[:-1])
    assert [row.seq for row in accepted] == [2, 3]
    assert "500,000 lists" in refused[1]


# One row as one line

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _row(body: str | None = None, **columns: object) -> rows.Row:
    made = {"id": b"\x01" * 16, "at_ns": 5, **columns}
    return rows.make("llm", b"\x02" * 16, body=body, **made)  # type: ignore[arg-type]


def _line(row: rows.Row, body: bytes) -> bytes:
    """Return a row's line with another text as its body, sealed again, as an attacker could make it."""
    sealed = rows.seal(row[:-2], body.decode())
    head = wire.from_row((*sealed[:-1], None))
    return head.rstrip(b"\n")[:-1] + b',"body":' + body + b"}\n"


@given(body=_JSON, name=st.none() | st.text(st.characters(codec="utf-8")))
def test_a_row_comes_back_as_it_was(body: object, name: str | None) -> None:
    """Body and name survive, byte by byte, also when they look like a part of a line."""
    row = _row(encode.dumps({"body": body}).decode(), name=name)
    assert wire.to_row(wire.from_row(row)) == row


@pytest.mark.parametrize("text", ['"body":1', '},"body":{', '\\"body\\":', "\n"])
def test_a_text_that_looks_like_the_end_of_a_line_is_only_a_text(text: str) -> None:
    """Nothing in a name or a body is taken for the line's own body."""
    row = _row(encode.dumps({"params": text}).decode(), name=text, model=text)
    assert wire.to_row(wire.from_row(row)) == row


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1},"model":"x"',  # more columns behind it
        b'{"a":1}}',
        b"{",
        b'{"a":NaN}',
        b"",
        b'1,"body":2',
        b'"\xed\xa0\x80"'.decode("utf-8", "replace").encode() + b"x",
    ],
)
def test_a_line_whose_body_is_no_json_is_refused(body: bytes) -> None:
    """A matching checksum is not enough: a stored body must be JSON."""
    with pytest.raises(ValueError, match=r".+"):
        wire.to_row(_line(_row(), body))


def test_a_body_inside_something_else_is_refused() -> None:
    """The body is the last key of the line, and there is one."""
    line = wire.from_row(_row('{"a":1}'))
    with pytest.raises(ValueError, match=r".+"):
        wire.to_row(b'{"x":{"body":1},' + line[1:])


def test_a_row_without_a_body_has_none() -> None:
    """No body, and a body of null, are the same."""
    row = _row()
    assert wire.to_row(wire.from_row(row)) == row
    assert wire.to_row(wire.from_row(row).rstrip(b"\n")[:-1] + b',"body":null}\n') == row
