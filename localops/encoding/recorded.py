"""Redact JSON that is already recorded, by today's rules, without damaging the marks that recording put in it.

Marks such as `{"$blob": …}` stay; the parts of a value that they hold, its beginning or its bytes, are searched.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64

from localops.encoding import own_fields
from localops.encoding.plain_values import Walk
from localops.encoding.redact import NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.encoding.redact import Redactor

_WHOLE = 1 << 62  # a limit that no value reaches
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENDS_WITH_NOTE = re.compile(rf"{NOTE.pattern}\Z")
_BYTES = (b'"$bytes"', b'"$bytearray"')
# Everything in the text of a body that localops itself writes.
_OURS = re.compile(
    r'"(?:participant|machine|journal|boot|copy_of|args|by|in)": ?"[0-9a-f-]{16,36}"'
    r'|"\$(?:blob|sha256)": ?"[0-9a-f]{64}"|"blob:[0-9a-f]{64}"|"\$?[a-z0-9_]{1,32}":'
)


class Again(Walk):
    """A walk over a recorded value, without limits of size, as recording has already applied them."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(redactor, max_value=_WHOLE)

    def row(self, fields: Any) -> Any:
        """Return the body of a row without the secrets that today's rules find."""
        if type(fields) is not dict:
            return self.plain(fields)
        # These fields are our own counts.
        notes = {name: fields[name] for name in ("notes", "$failed") if name in fields}
        plain = self.body({name: value for name, value in fields.items() if name not in notes})
        return own_fields.put_back(plain, notes, fields)

    def _pairs(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        way = _WAYS.get(frozenset(name for name, _ in pairs)) if len(pairs) <= _MOST and pairs else None
        marked = way(self, dict(pairs)) if way is not None else None
        return super()._pairs(pairs) if marked is None else marked

    def _text_key(self, name: str) -> str:
        # Keys that became equal by redaction were numbered: keep the number.
        base, sign, number = name.rpartition("#")
        if sign and number.isdigit() and _ENDS_WITH_NOTE.search(base):
            return f"{super()._text_key(base)}#{number}"
        return super()._text_key(name)

    def _hidden(self, value: Any, label: str) -> str | None:
        """Return the replacement of a value with a secret's name, or None; a mark counts as the value it stands for."""
        if type(value) is dict and (way := _WAYS.get(frozenset(value))) in (Again._file, Again._octets_of):
            value = value["head"] if way is Again._file else b""
        return super()._hidden(value, label)

    def _pair_label(self, items: list[Any]) -> str:
        return super()._pair_label([octets(item) or item for item in items[:3]])

    def _file(self, value: dict[str, Any]) -> dict[str, Any] | None:
        digest = value.get("$blob", value.get("$sha256"))
        if type(digest) is not str or not _DIGEST.fullmatch(digest) or type(value["$len"]) is not int:
            return None
        return {**value, "head": self.plain(value["head"])}

    def _cut(self, value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "head": self.plain(value["head"])}

    def _octets_of(self, value: dict[str, Any]) -> dict[str, Any] | None:
        if "$len" not in value and super()._pairs(list(value.items())) != value:
            # In a step's kept result, this dict may have been the program's, and its text was searched.
            return None
        data = octets(value)
        if data is None or (clean := self._redact_bytes(data)) == data:
            return None if data is None else value
        [name] = (name for name in value if name != "$len")
        made: dict[str, Any] = {**value, name: b2a_base64(clean, newline=False).decode()}
        return {**made, "$len": len(clean)} if "$len" in value else made

    def _word(self, value: dict[str, Any]) -> dict[str, Any] | None:
        [word] = value.values()
        return value if type(word) is int or word in _WORDS else None


_WAYS: dict[frozenset[str], Callable[[Again, dict[str, Any]], dict[str, Any] | None]] = {
    frozenset(("$blob", "$len", "head")): Again._file,
    frozenset(("$type", "$blob", "$len", "head")): Again._file,
    frozenset(("$sha256", "$len", "head")): Again._file,
    frozenset(("$type", "$sha256", "$len", "head")): Again._file,
    frozenset(("$truncated", "head")): Again._cut,
    frozenset(("$bytes", "$len")): Again._octets_of,
    # The form in which results of steps are kept.
    frozenset(("$bytes",)): Again._octets_of,
    frozenset(("$bytearray",)): Again._octets_of,
    frozenset(("$truncated",)): Again._word,
    frozenset(("$float",)): Again._word,
}
_WORDS = ("nodes", "depth", "memory", "nan", "inf", "-inf")
_MOST = max(map(len, _WAYS))


def has_bytes(body: bytes) -> bool:
    """Return whether a body may hold bytes (in base64), which a search of its text does not see."""
    return b'"$byte' in body and any(name in body for name in _BYTES)


def octets(value: Any) -> bytes | None:
    """Return the bytes of a recorded bytes value, or None."""
    if type(value) is not dict or _WAYS.get(frozenset(value)) is not Again._octets_of:
        return None
    [name] = (name for name in value if name != "$len")
    try:
        data = a2b_base64(value[name], strict_mode=True)
    except (Error, TypeError, ValueError):
        return None
    return data if value.get("$len", len(data)) == len(data) else None


def parts(text: str) -> list[tuple[str, bool]]:
    """Split the text of a body into parts; return each with whether localops itself wrote it."""
    parts, done = [], 0
    for match in _OURS.finditer(text):
        parts += [(text[done : match.start()], False), (match[0], True)]
        done = match.end()
    return [*parts, (text[done:], False)]
