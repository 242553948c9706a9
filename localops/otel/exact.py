"""Keep the exact row of a span that is sent: what its attributes cannot express goes into one more attribute.

`localops sync` sends a row in the terms of a convention, and `mapping.py` reads such a span into a row again.  If the
two rows differ (a prompt in the format of its vendor, a number that became a text), the attribute holds the difference.
No text is sent twice: the difference refers to texts in the other attributes by number.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.journal import token_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Protocol

    Row = dict[str, Any]

    class Reading(Protocol):
        """The result of `mapping.read`."""

        kind: str
        name: str
        tags: list[Any] | None
        failed: bool
        fields: dict[str, Any]
        figures: dict[str, Any]

        @property
        def errors(self) -> Sequence[Any]:
            """The errors that the span failed with: type, message and stack."""


COLUMNS = ["kind", "name", "model", *token_kinds.columns(token_kinds.OF_ROW), "cost", "failed", "tags"]
_FIGURES = {"model": "model", **{kind.figure: kind.field for kind in token_kinds.OF_ROW}}
# Session, user, conversation and agent are on every span; attributes that no table has are not from the row.
_BESIDE = frozenset("attributes session_id agent_id agent_name user_id thread_id parameters".split())
_SHORTEST = 24  # characters; a shorter text is repeated, as its number would be as long
_POINTER, _AS_IS = "$", "$="
_TEXT_OF_DATA = ";base64,"


def as_read(reading: Reading) -> Row:
    """Return the row that results from reading a span of ours: its columns, and the keys of its body."""
    figures = reading.figures
    # The span of an LLM call has the model's name.
    row: Row = {"kind": reading.kind, "name": None if reading.kind == "llm" else reading.name, "tags": reading.tags}
    body = {key: value for key, value in reading.fields.items() if key not in _BESIDE}
    if reading.kind == "error":
        error = reading.errors[-1] if reading.errors else None
        row["name"] = error.type if error is not None else None
        body |= {"details": error.message, "logs": error.stack} if error is not None else {}
    elif reading.failed:
        row["failed"] = 1
    row |= {column: figures.get(figure) for column, figure in _FIGURES.items()}
    cost = figures.get("cost")
    row["cost"] = round(cost * 1e9) if isinstance(cost, int | float) and abs(cost) < 1e9 else None
    beside = figures.keys() - {*_FIGURES.values(), "cost"}
    body |= {name: figures[name] for name in beside}
    row |= {f"body.{key}": value for key, value in body.items()}
    return _given(row)


def row_of(columns: Mapping[str, Any], body: Mapping[str, Any]) -> Row:
    """Return a stored row in the same form."""
    return _given({**columns, **{f"body.{key}": value for key, value in body.items()}}, body)


def _given(row: Row, body: Mapping[str, Any] | None = None) -> Row:
    """Leave out null values, except those of keys in a body."""
    return {
        key: value for key, value in row.items() if value is not None or (body is not None and key.startswith("body."))
    }


def difference(read: Row, row: Row) -> str | None:
    """Return what turns the row that was read into the original row, as text; None if they are equal."""
    texts = {text: number for number, text in reversed(list(enumerate(_texts(read))))}
    other = {key: _pointed(value, texts) for key, value in row.items() if not _is_same(read, key, value)}
    gone = sorted(read.keys() - row.keys())
    if not other and not gone:
        return None
    return encode.dumps({**({"set": other} if other else {}), **({"drop": gone} if gone else {})}).decode()


def applied(read: Row, text: str) -> Row:
    """Return the original row from the row that was read and the difference; ValueError if they do not match."""
    change = encode.loads(text)
    texts = list(_texts(read))
    try:
        gone = set(change.get("drop", ()))
        row = {key: value for key, value in read.items() if key not in gone}
        return {**row, **{key: _filled(value, texts) for key, value in change.get("set", {}).items()}}
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"invalid localops.exact: {error}") from error


def _is_same(read: Row, key: str, value: Any) -> bool:
    # As JSON: 1, 1.0 and true are equal in Python.
    return key in read and encode.dumps(read[key]) == encode.dumps(value)


def _texts(row: Row) -> Iterator[str]:
    """Yield the longer texts of the row that was read, always in the same order."""
    for key in sorted(row):
        yield from _texts_in(row[key])


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) >= _SHORTEST:
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_in(each)


def _pointed(value: Any, texts: dict[str, int]) -> Any:
    """Return a value with numbers in place of known texts."""
    if isinstance(value, str):
        number = texts.get(value)
        if number is not None:
            return {_POINTER: number}
        head, mark, data = value.partition(_TEXT_OF_DATA)
        if mark and data in texts:
            return {_POINTER: [head + mark, texts[data]]}
        return value
    if isinstance(value, list):
        return [_pointed(each, texts) for each in value]
    if isinstance(value, dict):
        if any(key in (_POINTER, _AS_IS) for key in value):
            return {_AS_IS: value}
        return {key: _pointed(each, texts) for key, each in value.items()}
    return value


def _filled(value: Any, texts: list[str]) -> Any:
    if isinstance(value, list):
        return [_filled(each, texts) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_AS_IS}:
        return value[_AS_IS]
    if value.keys() == {_POINTER}:
        pointer = value[_POINTER]
        return pointer[0] + texts[pointer[1]] if isinstance(pointer, list) else texts[pointer]
    return {key: _filled(each, texts) for key, each in value.items()}
