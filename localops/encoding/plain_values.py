"""Convert any Python value to plain JSON values; values that JSON does not have become marks, and are counted.

A `Walk` converts one value. It never raises because of it, never changes it and always ends. `encode` writes the text;
it uses a walk for values that orjson cannot write faithfully, or that may contain a secret.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections import deque
from functools import partial

from localops.careful import deeper, quiet, value_of
from localops.encoding import own_fields
from localops.encoding.objects import as_dict, as_list, digits, fields_of, is_large, replace_surrogates, shown, title_of
from localops.encoding.redact import argument, cut, hides, is_collection, is_of_name, is_of_value, is_value_of_pair
from localops.interruption import pass_on, settle

try:
    from _json import encode_basestring as quoted
except ImportError:  # an interpreter without this C function
    from json.encoder import encode_basestring as quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from localops.encoding.redact import Redactor

    Convert = Callable[["Walk", Any], Any]

MAX_DEPTH = 128
"""The most levels of nesting, of four Python calls each; orjson stops at 254, SQLite at 1,000."""
MAX_NODES = 500_000
"""The most steps for one event (a plain value is one step), as a walk might not end by itself."""
MAX_BLOB = 64 << 20
"""A value of more bytes is not kept: only its beginning, length and digest."""
MAX_TEXT = MAX_BLOB
"""The most characters of all texts of one event, without those in blobs."""
MAX_BLOBS = 4 * MAX_BLOB
"""The most bytes of one event in blobs."""
HEAD = 1000
"""How many characters of a large value stay in the row, so that a person can recognise it."""
MAX_REPR = 2000
# The cost of slower values, in steps of about 2 µs each (measured: 3.11, a busy machine), so that MAX_NODES limits the
# time for any event to about a second.
_HOLDER = 2
_STRANGE = 3
_CLASS = 12
_FOREIGN = 12
_FAILURE = 20
_WORDS = 4
_OCTETS = 6
_GUARDED = 3
_KEY = 3
_CLEANED = 8
_DESCRIBED = 4
_CHUNK = 1_000
_SHORT = _CHUNK * 64  # longer texts are limited by MAX_TEXT
_NAMES_KNOWN = 10_000
_SHAPE, _SHAPES_KNOWN = 16, 1_000  # the most names of a dict to remember, and the most of such dicts
_LEAST, _MOST = -(1 << 63), 1 << 64
_LARGEST_ENTRY = 64  # the most items of a mapping that counts as an entry of a list of variables
_LONGEST_COMMAND = 200  # characters of a command before an option that are considered
# Redaction sees this many characters after a cut, so that it recognises a secret across the cut.
_MARGIN = 8192


class Walk:
    """Converts one value; `notes` counts the values that were changed."""

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        max_value: int = 1 << 20,
        max_head: int = 3 << 18,
        keep: Callable[[bytes], str] | None = None,
    ) -> None:
        self.notes: dict[str, int] = {}
        self.overran = False
        """True if a value was cut because of the recursion limit."""
        self._redactor = redactor
        self._max_value = max_value
        self._max_head = max_head
        self._keep = keep
        self._left = MAX_NODES
        self._left_text = MAX_TEXT
        self._left_blobs = MAX_BLOBS
        self._ways: dict[type, Convert] = {}
        self._stored: dict[tuple[int, str], tuple[str, Any]] = {}
        self._inside: set[int] = set()
        self._depth = 0
        self._is_body = False  # the names at depth 1 are fields of a body
        # Numbers are searched only for the user's patterns, and not if they are our own figures.
        self._searches_numbers = redactor is not None and bool(redactor.patterns)
        self._name = ""
        self._clean_names: set[str] = set()
        self._clean_shapes: dict[tuple[str, ...], int] = {(): 0}

    def note(self, what: str, count: int = 1) -> None:
        """Count a value that was changed."""
        self.notes[what] = self.notes.get(what, 0) + count

    def body(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the plain body of a row; our own names and ids are not changed."""
        rest, own = own_fields.taken_out(fields)
        self._is_body = True
        plain: dict[str, Any] = self.plain(rest)
        return own_fields.put_back(plain, own, fields) if own else plain

    def plain(self, value: object) -> Any:
        """Return the value as dicts with string keys, lists, strings, 64-bit ints, finite floats, bools and None."""
        self._left -= 1
        if self._left < 0:
            return self._truncated("too_many", "nodes")
        name = self._name
        try:
            return self._converted(value)
        except RecursionError:
            self.overran = True
            return self._truncated("too_deep", "depth")
        except BaseException as error:  # code of an unknown class ran, and may raise anything
            return self._convert_again(value, name, error)

    def _converted(self, value: object) -> Any:
        kind = type(value)
        convert = _CONVERTERS.get(kind)
        if convert is None:
            return self._foreign_class(value, kind)
        return self._within(value, convert) if convert in _HOLDERS else convert(self, value)

    def _convert_again(self, value: object, name: str, error: BaseException) -> Any:
        """Convert a value again if we were interrupted; if the value's own code failed, return a mark."""
        self._left -= _FAILURE

        def again() -> Any:
            self._name = name
            return self._converted(value)

        try:
            return settle(error, again)
        except RecursionError:
            self.overran = True
            return self._truncated("too_deep", "depth")
        except BaseException as failure:
            return self._failed(value, failure)

    def _foreign_class(self, value: object, kind: type) -> Any:
        """Convert a value of a class that is not built in: its code may run, but its warnings are not shown."""
        self._left -= _STRANGE
        convert = self._ways.get(kind)
        if convert is None:
            self._left -= _CLASS
            convert = self._ways[kind] = _converter_of(kind)
        depth = quiet.depth()
        try:
            with quiet:
                return self._within(value, convert) if convert in _HOLDERS else convert(self, value)
        except BaseException:
            quiet.back_to(depth)  # `__exit__` may have been interrupted before it began
            raise

    def _failed(self, value: object, error: BaseException) -> Any:
        if isinstance(error, MemoryError) and type(value) is str:
            return self.beginning(value)
        self.note("failed")
        return {"$type": title_of(type(value)), "$failed": title_of(type(error))}

    def beginning(self, value: object) -> Any:
        """Return a form that needs hardly any memory: the beginning of a text, or the type of another value."""
        if value is None or type(value) is bool:
            return value
        if type(value) is not str:
            return {"$type": title_of(type(value)), "$truncated": "memory"}
        self.note("long_string")
        return {
            "$truncated": len(value),
            "head": cut(self._redact(replace_surrogates(value[: HEAD + _MARGIN])), HEAD),
        }

    def short(self, value: object, limit: int) -> str:
        """Return any value as one text of at most `limit` characters without secrets, for a column."""
        try:
            return self._short_or_deeper(value, limit)
        except BaseException as error:  # as above
            try:
                return settle(error, lambda: self._short_or_deeper(value, limit))
            except BaseException as failure:
                # A plain text has no code that could fail: we are at the recursion limit, which our caller may raise.
                if type(value) is str and type(failure) is RecursionError:
                    raise
                return f"<{title_of(type(value))}>"[:limit]

    def _short_or_deeper(self, value: object, limit: int) -> str:
        depth = quiet.depth()
        try:
            return self._short(value, limit)
        except RecursionError:
            return deeper(self._short, value, limit)
        except BaseException:
            quiet.back_to(depth)
            raise

    def _short(self, value: object, limit: int) -> str:
        if type(value) is str:
            text = value[: limit + _MARGIN]
        else:
            with quiet:
                # Longer than needed, so that a secret in it is recognised: it is cut after the search.
                text = shown(value, _MARGIN)[: limit + _MARGIN]
        return cut(self._redact(replace_surrogates(text).replace("\0", "\ufffd")), limit)

    def large(self, data: bytes, head: str) -> dict[str, Any]:
        """Return the mark for a value that is too large for the row; `keep` stores the value itself."""
        self._left_blobs -= len(data)
        if len(data) > MAX_BLOB or self._left_blobs < 0:
            from hashlib import sha256

            self.note("too_big")
            return {"$sha256": sha256(data).hexdigest(), "$len": len(data), "head": cut(head, HEAD)}
        if self._keep is None:
            self.note("long_string")
            return {"$truncated": len(data), "head": self._counted(cut(head, self._max_head))}
        try:
            digest = self._keep(data)
        except (OSError, MemoryError, ImportError) as error:
            if isinstance(error, OSError):
                pass_on(error)
            self.note("blob_failed")
            return {"$truncated": len(data), "head": self._counted(cut(head, self._max_head))}
        self.note("blob")
        return {"$blob": digest, "$len": len(data), "head": self._counted(cut(head, HEAD))}

    # Each of the following methods converts one kind of value; the tables at the end assign them.

    def _itself(self, value: Any) -> Any:
        return value

    def _integer(self, value: int) -> Any:
        number = int.__int__(value)
        if -(1 << 63) <= number < 1 << 64:
            return self._number_or_note(number) if self._searches_numbers else number
        self.note("big_int")
        self._left -= number.bit_length() >> 6  # more digits take longer
        return {"$int": self._text(digits(number))}

    def _number(self, value: float) -> Any:
        number = float.__float__(value)
        if number - number == 0.0:
            return self._number_or_note(number) if self._searches_numbers else number
        self._left -= 1
        self.note("nonfinite")
        return {"$float": repr(number)}

    def _number_or_note(self, number: float) -> float | str:
        """Return a number, or a note in its place if one of the user's patterns matches its digits."""
        assert self._redactor is not None
        note = self._redactor.number(number)
        if note is None:
            return number
        self.note("redacted")
        return note

    def _string(self, value: str) -> Any:
        return self._text(str.__str__(value))

    def _octets(self, value: Any) -> Any:
        from binascii import b2a_base64

        data = value if type(value) is bytes else memoryview(value).tobytes()
        self.note("bytes")
        self._left -= _OCTETS + (min(len(data), _SHORT) >> 6)
        if len(data) <= MAX_BLOB:
            data = self._redact_bytes(data)
        if len(data) > self._max_value:
            head = self._redact(data[: HEAD * 4 + _MARGIN].decode("utf-8", "replace"))
            return {"$type": "bytes", **self.large(data, head)}
        return {"$bytes": self._counted(b2a_base64(data, newline=False).decode()), "$len": len(data)}

    def _mapping(self, value: dict[Any, Any]) -> Any:
        return self._pairs(list(dict.items(value)))

    def _set(self, value: Any) -> Any:
        self.note("set")
        return self._sequence(value)

    def _sequence(self, value: Any) -> Any:
        # The iterator of the built-in base: that of a subclass could do anything.
        base = next(base for base in _SEQUENCES if isinstance(value, base))
        return self._items(list(base.__iter__(value)))

    def _tuple(self, value: Any) -> Any:
        fields = getattr(type(value), "_fields", None)
        if type(fields) is tuple and len(fields) == tuple.__len__(value):
            pairs = list(zip(fields, tuple.__iter__(value), strict=True))
            return self._pairs(pairs)
        return self._sequence(value)

    def _choice(self, value: enum.Enum) -> Any:
        return self.plain(value_of(value))

    def _moment(self, value: Any) -> Any:
        self._left -= _WORDS // 2
        return self._text(value.isoformat())

    def _words(self, value: object) -> Any:
        self._left -= _WORDS
        return self._text(str(value))

    def _exception(self, value: BaseException) -> Any:
        self._left -= _WORDS
        return {"$type": title_of(type(value)), "message": self._text(str(value))}

    def _foreign(self, value: object) -> Any:
        """Convert an object of an unknown class by the first method that works for it, else by its repr."""
        self._left -= _FOREIGN
        if not isinstance(value, type):
            for way_in in (fields_of, self._own_dump, as_dict, as_list):
                content = way_in(value)
                if content is not None:
                    return self.plain(content)
        return self._by_repr(value)

    def _own_dump(self, value: object) -> Any:
        """Return the result of an object's own method for dumping, of pydantic or by a common name."""
        for method in ("model_dump", "to_dict", "dict", "_asdict"):
            dump = getattr(type(value), method, None)
            if callable(dump) and not is_large(value):
                call = partial(dump, value, warnings=False) if method == "model_dump" else partial(dump, value)
                try:
                    content = call()
                except BaseException as error:  # the next method may work
                    self._left -= _FAILURE
                    try:
                        content = settle(error, call)
                    except BaseException:
                        continue
                if isinstance(content, (dict, list)):
                    return content
        return None

    # Used by these methods

    def _within(self, value: object, convert: Convert) -> Any:
        """Convert a container, unless it is inside itself or nested too deep."""
        if self._depth >= MAX_DEPTH:
            return self._truncated("too_deep", "depth")
        self._left -= _HOLDER
        key, depth = id(value), self._depth
        if key in self._inside:
            self.note("cycle")
            return {"$cycle": title_of(type(value))}
        try:
            self._inside.add(key)
            self._depth = depth + 1
            return convert(self, value)
        finally:
            self._depth = depth
            self._inside.discard(key)

    def _truncated(self, note: str, what: str) -> dict[str, str]:
        self.note(note)
        return {"$truncated": what}

    def _pairs(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        numbers: dict[str, int] = {}
        beside: set[str] | None = None
        entry = self._entry_label(pairs)
        for start in range(0, len(pairs), _CHUNK):
            if self._left <= 0:
                out["$truncated"] = self._truncated("too_many", "nodes")["$truncated"]
                break
            keys, values = zip(*pairs[start : start + _CHUNK], strict=True)
            names = [key if type(key) is str else self._key(key) for key in keys]
            if not entry and self._are_clean(names, values):
                self._add(names, values, out, numbers)
            else:
                if beside is None:
                    beside = {key for key, _ in pairs if type(key) is str}
                self._add_guarded(names, values, out, numbers, beside, entry)
        return out

    def _add(self, names: Sequence[str], values: Sequence[Any], out: dict[str, Any], numbers: dict[str, int]) -> None:
        """Add pairs to a mapping; their names and texts are known to be clean."""
        for name, value in zip(names, values, strict=True):
            if self._left <= 0:
                out["$truncated"] = self._truncated("too_many", "nodes")["$truncated"]
                break
            if name in out:
                name = self._free(name, out, numbers)
            kind = type(value)
            if kind is str or kind in _ITSELF or (kind in _NUMBERS and _LEAST <= value < _MOST):
                self._left -= 1
                out[name] = value
            else:
                self._name = name
                out[name] = self.plain(value)

    def _add_guarded(
        self,
        names: Sequence[str],
        values: Sequence[Any],
        out: dict[str, Any],
        numbers: dict[str, int],
        beside: set[str],
        entry: str,
    ) -> None:
        """Add pairs to a mapping, and check each: it may be a secret, or too long a text."""
        for name, value in zip(names, values, strict=True):
            if self._left <= 0:
                out["$truncated"] = self._truncated("too_many", "nodes")["$truncated"]
                break
            self._left -= _GUARDED
            self._name = name
            label = self._secret_name(name, beside) or (entry if entry and is_of_value(name) else "")
            hidden: Any = self._hidden(value, label) if label else None
            if hidden is None and label and label == entry:
                hidden = self._hidden_inside(value, label)
            is_known = name in self._clean_names or (self._is_body and self._depth == 1 and name in own_fields.FIELDS)
            clean = self._counted(name if is_known else self._text_key(name))
            if clean in out:
                clean = self._free(clean, out, numbers)
            out[clean] = self._field_value(name, value) if hidden is None else hidden

    def _field_value(self, name: str, value: Any) -> Any:
        """Return the plain value of a field; numbers that are our own figures are not searched."""
        if not (self._searches_numbers and self._is_body and self._depth == 1 and name in own_fields.FIGURES):
            return self.plain(value)
        self._searches_numbers = False
        try:
            return self.plain(value)
        finally:
            self._searches_numbers = True

    def _items(self, items: list[Any]) -> list[Any]:
        out: list[Any] = []
        name = self._name
        label = self._secret_name(name, ())
        pair = self._pair_label(items)
        for start in range(0, len(items), _CHUNK):
            if self._left <= 0:
                out.append(self._truncated("too_many", "nodes"))
                break
            chunk = items[start : start + _CHUNK]
            if label or pair or not self._are_clean((), chunk):
                self._extend_guarded(out, chunk, name, label, pair)
            else:
                self._extend(out, chunk, name)
        return out

    def _extend(self, out: list[Any], items: list[Any], name: str) -> None:
        """Add items to a list; their texts are known to be clean."""
        for item in items:
            if self._left <= 0:
                out.append(self._truncated("too_many", "nodes"))
                break
            kind = type(item)
            if kind is str or kind in _ITSELF or (kind in _NUMBERS and _LEAST <= item < _MOST):
                self._left -= 1
                out.append(item)
            else:
                self._name = name
                out.append(self.plain(item))

    def _extend_guarded(self, out: list[Any], items: list[Any], name: str, label: str, pair: str) -> None:
        """Add items to a list, and check each: it may be a secret by the list's name, in a command or in a pair."""
        option = before = ""
        for number, item in enumerate(items):
            if self._left <= 0:
                out.append(self._truncated("too_many", "nodes"))
                break
            self._left -= _GUARDED
            # In `--token --verbose`, the second option is not the value of the first.
            is_value = not (type(item) is str and item.startswith("--"))
            secret = label or (option if is_value else "") or (pair if number else "")
            hidden = self._hidden(item, secret) if secret else None
            if type(item) is str:
                hidden = hidden or self._hidden_argument(before, item)
                before = f"{before} {item}"[-_LONGEST_COMMAND:]
            option = self._redactor.option(item) if self._redactor is not None and type(item) is str else ""
            self._name = name
            out.append(hidden if hidden is not None else self.plain(item))

    def _are_clean(self, names: Sequence[str], values: Sequence[Any]) -> bool:
        """Return whether names and texts are clean, by one fast check of all of them."""
        if self._searches_numbers:
            return False
        texts = [value for value in values if type(value) is str]
        if not texts:
            # Most lists of lists have no texts, and dicts often have the same names: remember those.
            shape = tuple(names)
            known = self._clean_shapes.get(shape)
            if known is not None:
                self._left_text -= known
                return self._left_text >= 0
        size = sum(map(len, names)) + sum(map(len, texts))
        if size > self._max_value // 4:
            return False
        try:
            seen = f'{{{":0,".join(map(quoted, names))}:0,"":[{",".join(map(quoted, texts))}]}}'.encode()
        except UnicodeEncodeError:
            return False
        if self._redactor is not None and self._redactor.suspects(seen):
            return False
        self._left_text -= size
        if not texts and len(shape) <= _SHAPE and len(self._clean_shapes) < _SHAPES_KNOWN:
            self._clean_shapes[shape] = size
        return self._left_text >= 0

    def _secret_name(self, name: str, beside: Iterable[str]) -> str:
        if self._redactor is None or not name:
            return ""
        # A "token" with a log probability beside it is a token of a language model, not a secret.
        return "" if "logprob" in beside else self._redactor.names(name)

    def _entry_label(self, pairs: list[tuple[Any, Any]]) -> str:
        """Return the label of the value in an entry of a list of variables: {"name": "DB_PASSWORD", "value": "…"}."""
        if self._redactor is None or len(pairs) > _LARGEST_ENTRY:
            return ""
        names: list[str] = []
        for key, value in pairs:
            if type(key) is not str:
                continue
            if is_of_value(key):
                return next(filter(None, map(self._redactor.variable, names)), "")
            if is_of_name(key) and issubclass(type(value), str):
                names.append(str.__str__(value))
        return ""

    def _hidden(self, value: Any, label: str) -> str | None:
        """Return the replacement of a value with a secret's name; None if it is harmless, or a container."""
        kind = type(value)
        if value is None or value is True or value is False or issubclass(kind, (list, tuple)):
            return None
        if issubclass(kind, dict) and not (dict.__len__(value) and is_collection(label)):
            return None
        if not hides(label, str.__str__(value) if issubclass(kind, str) else None):
            return None
        self.note("redacted")
        return f"[redacted:{label}]"

    def _hidden_inside(self, value: Any, label: str) -> dict[str, Any] | None:
        """Return the replacement of a secret in a value of OpenTelemetry, such as {"stringValue": "…"}, or None."""
        if type(value) is not dict or len(value) != 1:
            return None
        [(name, inner)] = value.items()
        hidden = self._hidden(inner, label) if type(name) is str and is_of_value(name) else None
        return None if hidden is None else {name: hidden}

    def _hidden_argument(self, before: str, text: str) -> str | None:
        """Return the replacement of an argument after an option such as `-u`; None if it has no secret."""
        at = argument(before, text) if self._redactor is not None else None
        if at is None:
            return None
        self.note("redacted")
        return f"{self._redact(text[:at])}[redacted:password]"

    def _pair_label(self, items: list[Any]) -> str:
        """Return the label of the second of two items if they are a name and its value, as in a list of headers."""
        if len(items) != 2 or self._redactor is None:
            return ""
        name, value = (item.decode("latin-1") if type(item) is bytes else item for item in items)
        if type(name) is not str or type(value) is not str or not is_value_of_pair(value):
            return ""
        return self._redactor.variable(name)

    def _key(self, key: Any) -> str:
        """Return a key that is not a string as a string, even if its own code fails."""
        kind = type(key)
        if issubclass(kind, str):
            return str.__str__(key)
        self.note("key")
        self._left -= _KEY
        try:
            if kind is int or kind is float:
                return digits(key) if kind is int else repr(key)
            if key is None or kind is bool:
                return {None: "null", True: "true", False: "false"}[key]
            return self._shown_key(key)
        except BaseException as error:  # as above
            self._left -= _FAILURE
            try:
                return settle(error, lambda: self._shown_key(key))
            except BaseException:
                self.note("failed")
                return f"<{title_of(kind)}>"

    def _shown_key(self, key: Any) -> str:
        depth = quiet.depth()
        try:
            with quiet:
                text = shown(key, _MARGIN)
            if len(text) <= MAX_REPR:
                return text
            return cut(self._redact(self._without_surrogates(text[: MAX_REPR + _MARGIN]), is_name=True), MAX_REPR)
        except BaseException:
            quiet.back_to(depth)
            raise

    def _text_key(self, name: str) -> str:
        whole = self._whole_key(name)
        clean = self._redact(whole, is_name=True)
        if len(name) > self._max_value:
            clean = cut(clean, HEAD)
        # Rows of a table have the same names, so remember clean ones, but not millions.
        if clean is name and len(self._clean_names) < _NAMES_KNOWN:
            self._clean_names.add(name)
        return clean

    def _whole_key(self, name: str) -> str:
        if len(name) > self._max_value:
            self.note("long_string")
            name = name[: HEAD if self._redactor is None else HEAD + _MARGIN]
        return self._without_surrogates(name)

    def _free(self, key: str, taken: dict[str, Any], numbers: dict[str, int]) -> str:
        self.note("key_clash")
        number = numbers.get(key, 1) + 1
        while f"{key}#{number}" in taken:
            number += 1
        numbers[key] = number
        return f"{key}#{number}"

    def _counted(self, text: str) -> str:
        """Count the text as part of the event, and return it; if the event is full, end the walk."""
        self._left_text -= len(text)
        if self._left_text < 0 and self._left > 0:
            self.note("too_big")
            self._left = 0
        return text

    def _text(self, text: str) -> Any:
        if len(text) > self._max_value // 4:
            return self._long(text)
        if own_fields.is_file(text):
            return self._counted(text)
        return self._counted(self._redact(self._without_surrogates(text)))

    def _long(self, text: str) -> Any:
        """Return a text, or the mark for it if it is too long; an object that occurs again is stored once."""
        same = id(text), self._name
        if same in self._stored:
            return self._stored[same][1]
        whole = self._without_surrogates(text)
        if len(whole) > MAX_BLOB:
            head = self._redact(whole[: HEAD + _MARGIN])
            mark: Any = self.large(whole.encode(), head)
        else:
            clean = self._redact(whole)
            data = clean.encode()
            if len(data) <= self._max_value:
                return self._counted(clean)
            mark = self.large(data, clean)
        self._stored[same] = text, mark
        return mark

    def _without_surrogates(self, text: str) -> str:
        whole = replace_surrogates(text)
        if whole is not text:
            self._left -= _WORDS
            self.note("surrogate")
        return whole

    def _redact(self, text: str, *, is_name: bool = False) -> str:
        if self._redactor is None or not self._may_hide(text):
            return text
        text, hits = self._redactor.clean(text, None if is_name else self._name)
        self._left -= _CLEANED * (hits + 1) + (min(len(text), _SHORT) >> 6)
        if hits:
            self.note("redacted", hits)
            text = replace_surrogates(text)
        return text

    def _may_hide(self, text: str) -> bool:
        """Return whether a text has to be searched for secrets; a fast check rules out most texts."""
        assert self._redactor is not None
        return len(text) > _SHORT or bool(self._redactor.suspects(quoted(text).encode()))

    def _redact_bytes(self, data: bytes) -> bytes:
        if self._redactor is None:
            return data
        # Latin-1 gives every byte a character, so that secrets are also detected in bytes that are not text.
        for charset in ("utf-8", "latin-1"):
            try:
                text = data.decode(charset)
            except UnicodeDecodeError:
                continue
            clean = self._redact(text)
            return data if clean == text else clean.encode(charset, "replace")
        return data

    def _by_repr(self, value: object) -> dict[str, Any]:
        self.note("not_json")
        self._left -= _DESCRIBED
        try:
            text = str.__str__(repr(value))[: MAX_REPR + _MARGIN]
        except BaseException as error:  # as above
            text = self._repr_again(value, error)
        self._left -= len(text) >> 8
        return {
            "$type": title_of(type(value)),
            "$repr": cut(self._redact(self._without_surrogates(text)), MAX_REPR),
        }

    def _repr_again(self, value: object, error: BaseException) -> str:
        self._left -= _FAILURE
        try:
            return settle(error, lambda: str.__str__(repr(value))[: MAX_REPR + _MARGIN])
        except BaseException as failure:
            self.note("repr_failed")
            return f"<repr failed: {title_of(type(failure))}>"


_DICT_VIEWS: tuple[Any, ...] = type({}.keys()), type({}.values()), type({}.items())
_SEQUENCES: tuple[Any, ...] = (list, tuple, deque, set, frozenset, *_DICT_VIEWS)

# By the exact class; a subclass is converted like its nearest base in this table.
_CONVERTERS: dict[type, Convert] = {
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
# Types that JSON has.
_ITSELF = frozenset({type(None), bool})
# Types that JSON has for finite and not too large numbers.
_NUMBERS = frozenset({int, float})
# The methods for containers, which may contain themselves.
_HOLDERS = {Walk._mapping, Walk._sequence, Walk._tuple, Walk._set, Walk._choice, Walk._foreign}
# Classes by name, so that their modules need not be imported.
_CONVERTERS_BY_NAME: dict[str, Convert] = {
    "decimal.Decimal": Walk._words,
    "fractions.Fraction": Walk._words,
    "pathlib.PurePath": Walk._words,
    "pathlib._local.PurePath": Walk._words,
    "ipaddress._BaseAddress": Walk._words,
    "ipaddress._BaseNetwork": Walk._words,
    "zoneinfo.ZoneInfo": Walk._words,
}


def _converter_of(kind: type) -> Convert:
    for base in type.__dict__["__mro__"].__get__(kind):
        convert = _CONVERTERS.get(base) or _CONVERTERS_BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if convert is not None:
            return convert
    return Walk._foreign
