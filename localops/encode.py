"""From any Python value to JSON and back: the only importer of orjson, and the place that knows its limits.

`Encoder` is total: it never raises for a value, never changes it, and loses nothing silently. `redact`
finds the secrets, `values` says what is strange, and whoever passes `keep` stores what is large.
"""

from __future__ import annotations

from collections import deque

import orjson

from localops.values import HEAD, Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from localops.redact import Redactor

Fragment = orjson.Fragment
"""JSON that is already text, to be put into a larger document as it is."""

_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
_TEXT_CACHE = 2048


def dumps(value: object) -> bytes:
    """JSON of our own plain structures, on one line."""
    return orjson.dumps(value, None, _OPTIONS)


def loads(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for anything that is not strict JSON."""
    return orjson.loads(text)


def check(texts: Iterable[str | bytes]) -> None:
    """Raise ValueError unless each is strict JSON."""
    deque(map(orjson.loads, texts), 0)


class Encoder:
    """Writes the body of an event as one JSON object, whatever the event carries.

    What JSON says in other words (a tuple, a date, an enum, a dataclass) is simply said. What had to be
    changed is marked in place, as in `{"$float": "nan"}` or `{"$cycle": "list"}`, and counted under `notes`.
    A field of that name given by the user is kept as `notes#2`.

    A text or bytes value over `max_value` bytes goes to `keep`, which stores it and returns its SHA-256;
    head and length stay. Without `keep` it is cut. In an event over `max_event` bytes the largest fields go
    the same way.

    >>> Encoder(redactor=None).encode({"params": {"temperature": float("nan"), "stop": ("a", "b")}})
    '{"params":{"temperature":{"$float":"nan"},"stop":["a","b"]},"notes":{"nonfinite":1}}'
    """

    def __init__(
        self,
        *,
        redactor: Redactor | None,
        max_value: int = 1 << 20,
        max_event: int = 16 << 20,
        keep: Callable[[bytes], str] | None = None,
    ) -> None:
        self._redactor = redactor
        self._max_value = max_value
        self._max_event = max_event
        self._keep = keep
        self._texts: dict[str, str] = {}
        self.encode: Callable[[dict[str, object]], str] = self._fast_encode()
        """One JSON object as text. Never raises for what the fields hold, and never changes it."""

    def _fast_encode(self) -> Callable[[dict[str, object]], str]:
        """`encode` with all it needs at hand: it runs once per event, on the caller's time."""
        dump, walk, max_event = orjson.dumps, self._walk, self._max_event
        suspects = self._redactor.suspects if self._redactor else _unsuspecting
        limit = min(self._max_value, max_event)

        def encode(fields: dict[str, object]) -> str:
            try:
                body = dump(fields, None, _OPTIONS)
                if suspects(body) or "notes" in fields:
                    return walk(fields)
                has_null = body.rfind(b"null") >= 0  # from behind: the fastest way there is to look for a text
                if (has_null or len(body) > limit) and (len(body) > max_event or not _is_faithful(fields, limit)):
                    return walk(fields)
                return body.decode()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # a stranger's code ran, and may raise whatever it likes
                return walk(fields)

        return encode

    def text(self, value: object, limit: int = 512) -> str:
        """Any object as a clean text of at most `limit` characters: no NUL, no lone surrogate, no secret."""
        if type(value) is str:
            known = self._texts.get(value)
            if known is not None and len(known) <= limit:
                return known
        clean = Walk(self._redactor).short(value, limit)
        if type(value) is str and len(value) <= min(limit, 256):
            if len(self._texts) >= _TEXT_CACHE:
                self._texts.clear()
            self._texts[value] = clean
        return clean

    def _walk(self, fields: dict[str, object]) -> str:
        walk = Walk(
            self._redactor,
            max_value=self._max_value,
            max_head=min(self._max_value * 3, self._max_event) // 4,
            keep=self._keep,
        )
        body = _renamed(walk.plain(fields))
        try:
            text = _with_notes(body, walk)
            if len(text) > self._max_event:
                text = _with_notes(self._smaller(body, walk), walk)
            return text.decode()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # out of memory, say: an event that says so beats none
            return f'{{"notes":{{"unencodable":1}},"$failed":"{type(error).__name__}"}}'

    def _smaller(self, body: dict[str, Any], walk: Walk) -> dict[str, Any]:
        """The body with its largest fields treated as large values, until it fits."""
        parts = sorted(((dumps(value), name) for name, value in body.items()), key=lambda part: -len(part[0]))
        excess = sum(len(data) + len(name) for data, name in parts) - self._max_event
        small = dict(body)
        for data, name in parts:
            if excess <= 0 or len(data) <= 2 * HEAD:
                break
            small[name] = walk.large(data, data.decode())
            excess -= len(data) - len(dumps(small[name]))
        if excess <= 0:
            return small
        data = dumps(body)
        return {"event": walk.large(data, data.decode())}


def _unsuspecting(_body: bytes) -> bool:
    return False


def _renamed(body: dict[str, Any]) -> dict[str, Any]:
    """The body with a field called `notes` moved out of the way of our own."""
    if "notes" not in body:
        return body
    number = 2
    while f"notes#{number}" in body:
        number += 1
    return {f"notes#{number}" if name == "notes" else name: value for name, value in body.items()}


def _with_notes(body: dict[str, Any], walk: Walk) -> bytes:
    return dumps({**body, "notes": walk.notes} if walk.notes else body)


def _is_faithful(value: object, limit: int) -> bool:
    """Whether what orjson wrote may stay: no text is too long, and no NaN became null without a word."""
    rest: list[Any] = [value]
    take, add = rest.pop, rest.extend
    while rest:
        item = take()
        kind = type(item)
        if kind is str:
            if len(item) > limit // 4 and len(item.encode()) > limit:
                return False
        elif kind is dict:
            add(item.values())
        elif kind is list or kind is tuple:
            add(item)
        elif kind is float:
            if item - item != 0.0:
                return False
        elif kind is not int and kind is not bool and item is not None:
            return False
    return True
