"""A row has a checksum that notices every change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localops.journal import rows, wire

_INTEGER = st.none() | st.integers(-(2**63), 2**63 - 1)
_TEXT = st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


@st.composite
def any_row(draw: st.DrawFn) -> rows.Row:
    """Draw a row with anything in its columns."""
    return rows.make(
        draw(st.sampled_from(("action", "llm", "odd kind"))),
        draw(st.binary(min_size=16, max_size=16)),
        id=draw(st.binary(min_size=16, max_size=16)),
        at_ns=draw(st.integers(0, 2**62)),
        phase=draw(st.sampled_from((0, 1))),
        name=draw(_TEXT),
        parent=draw(st.none() | st.binary(min_size=16, max_size=16)),
        cost=draw(_INTEGER),
        tokens=[draw(_INTEGER) for _ in range(4)],
        model=draw(_TEXT),
        body=draw(st.none() | st.sampled_from(('{"a":1}', '{"body":"x}"}', '{"ü":[null,{"body":{}}]}'))),
    )


@given(any_row(), st.data())
def test_any_flipped_bit_is_noticed(row: rows.Row, data: st.DataObject) -> None:
    """A row with one bit of one column flipped is not intact."""
    assert rows.intact(row)
    index = data.draw(
        st.sampled_from([n for n, value in enumerate(row) if isinstance(value, int | bytes) and value != b""])
    )
    value = row[index]
    if isinstance(value, bytes):
        at = data.draw(st.integers(0, len(value) - 1))
        value = value[:at] + bytes([value[at] ^ 1 << data.draw(st.integers(0, 7))]) + value[at + 1 :]
    else:
        value ^= 1 << data.draw(st.integers(0, 62))
    assert not rows.intact((*row[:index], value, *row[index + 1 :]))


@given(any_row())
def test_a_plain_row_is_the_same_row(row: rows.Row) -> None:
    """A row in the short form, made whole, is the row of the long form."""
    values = dict(zip(rows.COLUMNS, row, strict=True))
    parts = {name: values[name] for name in rows.PLAIN if name not in ("format", "sum")}
    assert rows.whole(rows.plain(**parts)) == rows.make(**parts)
    assert rows.whole(row) is row


@given(any_row())
def test_a_row_survives_being_a_line(row: rows.Row) -> None:
    """A row becomes a line and back, byte for byte; a line cut anywhere is refused."""
    line = wire.from_row(row)
    assert wire.to_row(line) == row
    assert line.count(b"\n") == 1


@given(any_row(), st.data())
def test_a_torn_line_is_refused(row: rows.Row, data: st.DataObject) -> None:
    """A line that was cut short is a ValueError, never another row."""
    line = wire.from_row(row)
    cut = line[: data.draw(st.integers(0, len(line) - 2))]
    try:
        read_back = wire.to_row(cut)
    except (ValueError, TypeError, IndexError):
        return
    raise AssertionError(read_back)


def test_a_checksum_is_the_same_in_every_python() -> None:
    """Journals outlive the Python that wrote them: this row has had this checksum since the first release."""
    row = rows.make(
        "llm",
        bytes(range(16)),
        id=bytes(range(16, 32)),
        at_ns=1_795_233_621_111_784_373,
        name="naïve ☕",
        parent=bytes(16),
        model="gpt-4o",
        tokens=(1, 2**40, None, -7),
        cost=2**62,
        tags='["a"]',
        body='{"params":{"q":"ü"}}',
    )
    assert row[rows.COLUMNS.index("sum")] == 1_352_202_735
