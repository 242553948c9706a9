"""Write columns in ClickHouse's own format "Native", which costs both sides a fraction of the work of JSON.

Every server reads it, and converts plain texts to LowCardinality where its table has such columns.
"""

from __future__ import annotations

import sys
from array import array
from itertools import chain, repeat
from operator import is_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_CODES = {"UInt8": "B", "UInt16": "H", "Date": "H", "Int64": "q", "UInt64": "Q"}
_ID = 16  # bytes of most ids
_NULL_BYTES = {"String": 1, "Int64": 8}  # of the placeholder that is written for a null
_KEPT = 1 << 14  # the encoded forms of lengths up to this one are kept
_LOOKED_AT = 64  # the first values of a column, to see whether most of its values differ


class _Lengths(dict[int, bytes]):
    """Numbers as ClickHouse writes lengths: seven bits in each byte, the lowest first."""

    def __missing__(self, value: int) -> bytes:
        packed, rest = bytearray(), value
        while rest > 127:
            packed.append(rest & 127 | 128)
            rest >>= 7
        packed.append(rest)
        number = bytes(packed)
        if value < _KEPT:
            self[value] = number
        return number


class _Texts(dict[str, bytes]):
    """Texts with their lengths before them; a text of many rows is encoded once."""

    def __missing__(self, text: str) -> bytes:
        # TypeError for None.
        plain = str.encode(text)
        packed = self[text] = _LENGTHS[len(plain)] + plain
        return packed


_LENGTHS = _Lengths()


def block(columns: Sequence[tuple[str, str, Sequence[Any]]], rows: int) -> bytes:
    """Return rows as one block: name, type and values of each column; ids may be bytes, and are written in hex."""
    pieces = [_LENGTHS[len(columns)], _LENGTHS[rows]]
    texts = _Texts()
    for name, kind, values in columns:
        pieces += (texts[name], texts[kind])
        if kind.startswith("Nullable("):
            pieces += _optional(kind[9:-1], values, texts)
        else:
            pieces.append(_values(kind, values, texts))
    return b"".join(pieces)


def _optional(kind: str, values: Sequence[Any], texts: _Texts) -> tuple[bytes, bytes]:
    """Return which values are null, and the values."""
    if values[0] is None and values.count(None) == len(values):
        return b"\1" * len(values), bytes(len(values) * _NULL_BYTES[kind])
    # Most columns have no null: trying to pack the values is faster than a search for one.
    try:
        return bytes(len(values)), _values(kind, values, texts)
    except TypeError:
        pass
    nulls = bytes(map(is_, values, repeat(None)))
    if kind == "Int64":
        return nulls, _values(kind, [value or 0 for value in values], texts)
    if any(type(value) is bytes for value in values):
        return nulls, b"".join([texts["" if value is None else value.hex()] for value in values])
    return nulls, _values(kind, [value or "" for value in values], texts)


def _values(kind: str, values: Sequence[Any], texts: _Texts) -> bytes:
    if kind != "String":
        numbers = array(_CODES[kind], values)
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tobytes()
    if type(values[0]) is not bytes:
        return _strings(values, texts)
    joined = b"".join(values)
    if set(map(len, values)) == {_ID}:
        # All have 32 digits, and a length of 32 is written as a space: so join them with spaces.
        return b" " + joined.hex(" ", _ID).encode()
    return b"".join([texts[value.hex()] for value in values])


def _strings(values: Sequence[str], texts: _Texts) -> bytes:
    # Texts that differ from row to row are not kept in the cache.
    if len({*values[:_LOOKED_AT]}) * 2 <= _LOOKED_AT:
        return b"".join(map(texts.__getitem__, values))
    plain = list(map(str.encode, values))
    return b"".join(chain.from_iterable(zip(map(_LENGTHS.__getitem__, map(len, plain)), plain, strict=True)))
