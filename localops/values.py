"""Any Python value as plain JSON values: what JSON has no words for is marked in place, and counted.

`Walk` visits a value once. It never raises for what it meets, never changes it and always ends. Writing the
text is left to `encode`, which comes here with what orjson cannot write faithfully, or may hold a secret.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections import deque

from localops.redact import hides, is_collection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from localops.redact import Redactor

    Say = Callable[["Walk", Any], Any]

MAX_DEPTH = 128
"""Levels of nesting that are followed, four Python calls each; orjson stops at 254, SQLite at 1,000."""
MAX_NODES = 1_000_000
"""Values that are visited in one event: it ends a walk that would not end by itself."""
MAX_BLOB = 64 << 20
"""Bytes over which a value is not kept at all: only head, length and digest."""
HEAD = 1000
"""Characters of a large value that stay in the row, for a person to know it by."""
MAX_REPR = 2000
MAX_ARRAY = 100_000
_MARGIN = 8192  # redaction looks this much further than a cut, so that a secret across it is still seen whole


class Walk:
    """One visit to one value; `notes` counts what had to be said differently."""

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        max_value: int = 1 << 20,
        max_head: int = 3 << 18,
        keep: Callable[[bytes], str] | None = None,
    ) -> None:
        self.notes: dict[str, int] = {}
        self._redactor = redactor
        self._max_value = max_value
        self._max_head = max_head
        self._keep = keep
        self._left = MAX_NODES
        self._inside: set[int] = set()
        self._depth = 0
        self._name = ""
        self._clean_names: set[str] = set()

    def note(self, what: str, count: int = 1) -> None:
        """Count something that was changed."""
        self.notes[what] = self.notes.get(what, 0) + count

    def plain(self, value: object) -> Any:
        """The value in dicts with text keys, lists, texts, 64-bit ints, finite floats, bools and None."""
        self._left -= 1
        if self._left < 0:
            return self._truncated("too_many", "nodes")
        try:
            kind = type(value)
            say = _SAY.get(kind) or _say(kind)
            return self._within(value, say) if say in _HOLDERS else say(self, value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except RecursionError:
            return self._truncated("too_deep", "depth")
        except BaseException as error:  # a stranger's code ran and may raise whatever it likes
            self.note("failed")
            return {"$type": self._title(type(value)), "$failed": self._title(type(error))}

    def short(self, value: object, limit: int) -> str:
        """Any value as one clean text of at most `limit` characters, for a column."""
        try:
            text = self._shown(value)[: limit + _MARGIN]
            return self._redacted(_whole(text).replace("\0", "\ufffd"))[:limit]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # as above
            return f"<{self._title(type(value))}>"[:limit]

    def large(self, data: bytes, head: str) -> dict[str, Any]:
        """What stays in the row of a value that is too large for it; the value itself goes to `keep`."""
        if len(data) > MAX_BLOB:
            from hashlib import sha256

            self.note("too_big")
            return {"$sha256": sha256(data).hexdigest(), "$len": len(data), "head": head[:HEAD]}
        if self._keep is None:
            self.note("long_string")
            return {"$truncated": len(data), "head": head[: self._max_head]}
        try:
            digest = self._keep(data)
        except OSError:
            self.note("blob_failed")
            return {"$truncated": len(data), "head": head[: self._max_head]}
        self.note("blob")
        return {"$blob": digest, "$len": len(data), "head": head[:HEAD]}

    # Each of the following says one kind of value; the tables below say which.

    def _itself(self, value: Any) -> Any:
        return value

    def _integer(self, value: int) -> Any:
        number = int.__int__(value)
        if -(1 << 63) <= number < 1 << 64:
            return number
        self.note("big_int")
        # Python refuses to write more than 4,300 decimal digits.
        return {"$int": self._text(str(number) if number.bit_length() < 14_000 else hex(number))}

    def _number(self, value: float) -> Any:
        number = float.__float__(value)
        if number - number == 0.0:
            return number
        self.note("nonfinite")
        return {"$float": repr(number)}

    def _string(self, value: str) -> Any:
        return self._text(str.__str__(value))

    def _octets(self, value: Any) -> Any:
        from binascii import b2a_base64

        data = memoryview(value).tobytes()
        self.note("bytes")
        if len(data) <= MAX_BLOB:
            data = self._redacted_bytes(data)
        if len(data) > self._max_value:
            head = self._redacted(data[: HEAD * 4 + _MARGIN].decode("utf-8", "replace"))
            return {"$type": "bytes", **self.large(data, head[:HEAD])}
        return {"$bytes": b2a_base64(data, newline=False).decode(), "$len": len(data)}

    def _mapping(self, value: dict[Any, Any]) -> Any:
        return self._pairs(list(dict.items(value)))

    def _set(self, value: Any) -> Any:
        self.note("set")
        return self._sequence(value)

    def _sequence(self, value: Any) -> Any:
        # The built-in iterator, not that of a subclass, which could do anything.
        base = next(base for base in _SEQUENCES if isinstance(value, base))
        return self._items(list(base.__iter__(value)))

    def _tuple(self, value: Any) -> Any:
        fields = getattr(type(value), "_fields", None)
        if type(fields) is tuple and len(fields) == tuple.__len__(value):
            pairs = list(zip(fields, tuple.__iter__(value), strict=True))
            return self._pairs(pairs)
        return self._sequence(value)

    def _choice(self, value: enum.Enum) -> Any:
        return self.plain(value._value_)

    def _moment(self, value: Any) -> Any:
        return self._text(value.isoformat())

    def _words(self, value: object) -> Any:
        return self._text(str(value))

    def _exception(self, value: BaseException) -> Any:
        return {"$type": self._title(type(value)), "message": self._text(str(value))}

    def _foreign(self, value: object) -> Any:
        """An object of an unknown class, by the first way in that it offers, or by its repr."""
        if not isinstance(value, type):
            for way_in in (_fields_of, _dumped, _paired, _listed):
                found = way_in(value)
                if found is not None:
                    return self.plain(found)
        return self._described(value)

    # What these share.

    def _within(self, value: object, say: Say) -> Any:
        """Say something that holds other things, unless we are inside it already or too far in."""
        if self._depth >= MAX_DEPTH:
            return self._truncated("too_deep", "depth")
        if id(value) in self._inside:
            self.note("cycle")
            return {"$cycle": self._title(type(value))}
        self._inside.add(id(value))
        self._depth += 1
        try:
            return say(self, value)
        finally:
            self._depth -= 1
            self._inside.discard(id(value))

    def _truncated(self, note: str, what: str) -> dict[str, str]:
        self.note(note)
        return {"$truncated": what}

    def _pairs(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        keys = {key for key, _ in pairs if type(key) is str}
        for key, value in pairs:
            if self._left <= 0:
                out["$truncated"] = "nodes"
                self.note("too_many")
                break
            name = key if type(key) is str else self._key(key)
            label = self._secret_name(name, keys)
            said = self._hidden(value, label) if label else None
            self._name = name
            out[self._free(self._text_key(name), out)] = said if said is not None else self.plain(value)
        return out

    def _items(self, items: list[Any]) -> list[Any]:
        out: list[Any] = []
        name = self._name
        label = self._secret_name(name, ())
        option = ""
        for item in items:
            if self._left <= 0:
                out.append(self._truncated("too_many", "nodes"))
                break
            said = self._hidden(item, label or option) if label or option else None
            option = self._redactor.option(item) if self._redactor is not None and type(item) is str else ""
            self._name = name
            out.append(said if said is not None else self.plain(item))
        return out

    def _secret_name(self, name: str, beside: Iterable[str]) -> str:
        if self._redactor is None or not name:
            return ""
        # A token with a probability beside it is a piece of a word.
        return "" if "logprob" in beside else self._redactor.names(name)

    def _hidden(self, value: Any, label: str) -> str | None:
        """What stands for a value with a secret's name; None for what hides nothing or holds other things."""
        kind = type(value)
        if value is None or value is True or value is False or issubclass(kind, (list, tuple)):
            return None
        if issubclass(kind, dict) and not (dict.__len__(value) and is_collection(label)):
            return None
        if not hides(label, str.__str__(value) if issubclass(kind, str) else None):
            return None
        self.note("redacted")
        return f"[redacted:{label}]"

    def _key(self, key: Any) -> str:
        if issubclass(type(key), str):
            return str.__str__(key)
        self.note("key")
        if key is None or issubclass(type(key), bool):
            return {None: "null", True: "true", False: "false"}[key]
        return self._shown(key)[:MAX_REPR]

    def _text_key(self, name: str) -> str:
        if name in self._clean_names:  # rows of a table have the same names over and over
            return name
        if len(name) > self._max_value:
            self.note("long_string")
            name = name[:HEAD]
        clean = self._redacted(self._unbroken(name), is_name=True)
        if clean is name:
            self._clean_names.add(name)
        return clean

    def _free(self, key: str, taken: dict[str, Any]) -> str:
        if key not in taken:
            return key
        self.note("key_clash")
        number = 2
        while f"{key}#{number}" in taken:
            number += 1
        return f"{key}#{number}"

    def _text(self, text: str) -> Any:
        text = self._unbroken(text)
        if len(text) > MAX_BLOB:
            head = self._redacted(text[: HEAD + _MARGIN])
            return self.large(text.encode(), head)
        text = self._redacted(text)
        if len(text) > self._max_value // 4 and len(data := text.encode()) > self._max_value:
            return self.large(data, text)
        return text

    def _unbroken(self, text: str) -> str:
        whole = _whole(text)
        if whole is not text:
            self.note("surrogate")
        return whole

    def _redacted(self, text: str, *, is_name: bool = False) -> str:
        if self._redactor is None:
            return text
        text, found = self._redactor.clean(text, None if is_name else self._name)
        if found:
            self.note("redacted", found)
            text = _whole(text)
        return text

    def _redacted_bytes(self, data: bytes) -> bytes:
        if self._redactor is None:
            return data
        # Latin-1 gives every byte a character, so that secrets are found in what is no text too.
        for charset in ("utf-8", "latin-1"):
            try:
                text = data.decode(charset)
            except UnicodeDecodeError:
                continue
            clean = self._redacted(text)
            return data if clean == text else clean.encode(charset, "replace")
        return data

    def _shown(self, value: Any) -> str:
        """A value as text, in the words that fit its kind."""
        if issubclass(type(value), str):
            return str.__str__(value)
        if issubclass(type(value), (bytes, bytearray)):
            return memoryview(value).tobytes().decode("utf-8", "replace")
        if issubclass(type(value), enum.Enum):
            return self._shown(value._value_)
        if issubclass(type(value), int) and int.__int__(value).bit_length() >= 14_000:
            return hex(value)
        return str.__str__(str(value))

    def _title(self, kind: type) -> str:
        """The name of a class, with its module unless it is built in."""
        module, title = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
        text = title if module == "builtins" or not isinstance(module, str) else f"{module}.{title}"
        return _whole(text[:200])

    def _described(self, value: object) -> dict[str, Any]:
        self.note("not_json")
        try:
            text = str.__str__(repr(value))[: MAX_REPR + _MARGIN]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # as above
            self.note("repr_failed")
            text = f"<repr failed: {self._title(type(error))}>"
        return {
            "$type": self._title(type(value)),
            "$repr": self._redacted(self._unbroken(text))[:MAX_REPR],
        }


def _whole(text: str) -> str:
    """The text itself, or with U+FFFD for each lone surrogate, which UTF-8 cannot say."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _fields_of(value: object) -> dict[str, Any] | None:
    """The fields of a dataclass or attrs class, as far as they are set."""
    declared = getattr(type(value), "__dataclass_fields__", None)
    if type(declared) is dict:
        names = list(declared)
    else:
        attributes = getattr(type(value), "__attrs_attrs__", None)
        if not isinstance(attributes, tuple):
            return None
        names = [attribute.name for attribute in attributes]
    missing = object()
    found = {name: getattr(value, name, missing) for name in names}
    return {name: content for name, content in found.items() if content is not missing}


def _dumped(value: object) -> Any:
    """What the object says about itself through pydantic's methods or the usual ones."""
    for method in ("model_dump", "to_dict", "dict", "_asdict"):
        dump = getattr(type(value), method, None)
        if callable(dump) and _size(value) <= MAX_ARRAY:
            try:
                found = dump(value, warnings=False) if method == "model_dump" else dump(value)
            except Exception:  # then it may offer another way
                continue
            if isinstance(found, (dict, list)):
                return found
    return None


def _paired(value: object) -> dict[Any, Any] | None:
    from collections.abc import Mapping
    from itertools import islice

    if not isinstance(value, Mapping):
        return None
    return {key: value[key] for key in islice(value, MAX_ARRAY)}


def _listed(value: object) -> Any:
    """The content of an array or a scalar in the manner of numpy, unless it is large."""
    listed = getattr(type(value), "tolist", None)
    return listed(value) if callable(listed) and _size(value) <= MAX_ARRAY else None


def _size(value: object) -> int:
    size = getattr(value, "size", 0)
    return size if type(size) is int else 0


_DICT_VIEWS: tuple[Any, ...] = type({}.keys()), type({}.values()), type({}.items())
_SEQUENCES: tuple[Any, ...] = (list, tuple, deque, set, frozenset, *_DICT_VIEWS)

# By the class itself; a subclass is said as its nearest base here.
_SAY: dict[type, Say] = {
    type(None): Walk._itself,
    bool: Walk._itself,
    int: Walk._integer,
    float: Walk._number,
    str: Walk._string,
    bytes: Walk._octets,
    bytearray: Walk._octets,
    memoryview: Walk._octets,
    dict: Walk._mapping,
    list: Walk._sequence,
    tuple: Walk._tuple,
    deque: Walk._sequence,
    **dict.fromkeys(_DICT_VIEWS, Walk._sequence),
    set: Walk._set,
    frozenset: Walk._set,
    enum.Enum: Walk._choice,
    datetime.date: Walk._moment,
    datetime.time: Walk._moment,
    datetime.timedelta: Walk._words,
    uuid.UUID: Walk._words,
    BaseException: Walk._exception,
}
# Ways to say what holds other things, and may hold itself.
_HOLDERS = {Walk._mapping, Walk._sequence, Walk._tuple, Walk._set, Walk._choice, Walk._foreign}
# Classes that nobody should have to import for our sake, by name.
_SAY_BY_NAME: dict[str, Say] = {
    "decimal.Decimal": Walk._words,
    "fractions.Fraction": Walk._words,
    "pathlib.PurePath": Walk._words,
    "pathlib._local.PurePath": Walk._words,
    "ipaddress._BaseAddress": Walk._words,
    "ipaddress._BaseNetwork": Walk._words,
    "zoneinfo.ZoneInfo": Walk._words,
}


def _say(kind: type) -> Say:
    for base in type.__dict__["__mro__"].__get__(kind):
        say = _SAY.get(base) or _SAY_BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if say is not None:
            return say
    return Walk._foreign
