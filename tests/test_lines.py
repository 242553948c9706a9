"""A row as a line of JSON: what went out comes back, and what is no row is no row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops.encoding import encode
from localops.journal import lines, rows

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _row(body: str | None = None, **columns: object) -> rows.Row:
    made = {"id": b"\x01" * 16, "at_ns": 5, **columns}
    return rows.make("llm", b"\x02" * 16, body=body, **made)  # type: ignore[arg-type]


def _line(row: rows.Row, body: bytes) -> bytes:
    """A row's line with another text where its body stands, sealed again: what somebody could make by hand."""
    sealed = rows.seal(row[:-2], body.decode())
    head = lines.from_row((*sealed[:-1], None))
    return head.rstrip(b"\n")[:-1] + b',"body":' + body + b"}\n"


@given(body=_JSON, name=st.none() | st.text(st.characters(codec="utf-8")))
def test_a_row_comes_back_as_it_was(body: object, name: str | None) -> None:
    """Body and name survive, byte by byte, also when they look like a part of a line."""
    row = _row(encode.dumps({"body": body}).decode(), name=name)
    assert lines.to_row(lines.from_row(row)) == row


@pytest.mark.parametrize("text", ['"body":1', '},"body":{', '\\"body\\":', "\n"])
def test_a_text_that_looks_like_the_end_of_a_line_is_only_a_text(text: str) -> None:
    """Nothing in a name or a body is taken for the line's own body."""
    row = _row(encode.dumps({"params": text}).decode(), name=text, model=text)
    assert lines.to_row(lines.from_row(row)) == row


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
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    """A checksum that fits is not enough: what is stored as JSON is JSON."""
    with pytest.raises(ValueError, match=r".+"):
        lines.to_row(_line(_row(), body))


def test_a_body_inside_something_else_is_refused() -> None:
    """The body is the last key of the line, and there is one."""
    line = lines.from_row(_row('{"a":1}'))
    with pytest.raises(ValueError, match=r".+"):
        lines.to_row(b'{"x":{"body":1},' + line[1:])


def test_a_row_without_a_body_has_none() -> None:
    """No body, and a body of null, are the same."""
    row = _row()
    assert lines.to_row(lines.from_row(row)) == row
    assert lines.to_row(lines.from_row(row).rstrip(b"\n")[:-1] + b',"body":null}\n') == row
