"""Encode any Python value as JSON, and decode JSON; only this module imports orjson and handles its limits.

`Encoder` accepts every value: it never raises because of one, never changes it, and loses nothing silently. `redact`
finds secrets, `plain_values` handles unusual values, and the caller's `keep` stores large ones.
"""

from __future__ import annotations

import datetime
import uuid
from _signal import SIG_BLOCK, SIG_SETMASK, pthread_sigmask, valid_signals  # type: ignore[import-not-found]
from collections import deque
from itertools import islice
from sys import modules

from localops.careful import deeper, steadily
from localops.encoding.plain_values import HEAD, MAX_DEPTH, Walk
from localops.encoding.redact import Known, is_of_value
from localops.interruption import hold, is_programs, settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from localops.encoding.redact import Redactor

_OPTIONS = 1 << 8 | 1 << 11  # OPT_PASSTHROUGH_SUBCLASS | OPT_PASSTHROUGH_DATACLASS
# Loading orjson takes as long as writing this many bodies of this size without it.
_FEW_BODIES = 2_000
_FEW_BYTES = 1_000
_TEXT_CACHE = 2048

_BOXES = frozenset({dict, list, tuple})
_LEAVES = frozenset({int, bool, type(None), uuid.UUID, datetime.datetime, datetime.date, datetime.time})
# Up to these sizes the fastest method is used. The number of boxes is below MAX_DEPTH, as all may be nested.
_SMALL_BOXES = 100
_SMALL_TEXT = 200_000
_LARGE = 1 << 16
# Bytes that orjson reserves (see below): for each item; for one that is not a string; for one in a wide box; and ahead
# of the current position, for a narrow box and a short string.
_ROOM_PER_ITEM = 8.0
_ROOM_PER_NUMBER = 48.0
_ROOM_PER_WIDE_ITEM = 180.0
_NARROW = 8
_SHORT = 128
_ROOM_AHEAD = _NARROW * _ROOM_PER_WIDE_ITEM + 8 * _SHORT + 512
# Most events need less than 4 KiB, the first buffer of orjson 3.13; earlier releases reach it by doubling theirs.
_USUAL_NEED = 4_000
_USUAL_ROOM = 4096 + 2048 + 128
_FEW = 16
# At most this many bodies, and bytes, are searched for secrets together: if there is a secret, each is searched again
# alone; and for more bytes, the time per call does not matter any more.
_SEARCHED = 8
_SEARCHED_BYTES = 4096
_MAX_ITEMS = 1_000_000
_NO_MEMORY = '{"notes":{"unencodable":1},"$failed":"MemoryError"}'


# orjson is loaded late, as it imports `dataclasses`, and with it `inspect`, which takes longer than everything else in
# a short program. The first bodies are written by the C encoder of the standard library, if the result is the same. If
# the program has loaded `dataclasses` itself, as most programs do, orjson is loaded immediately.

_orjson: Any = None  # until it is loaded
_few = iter(range(_FEW_BODIES))


def _load_orjson() -> Any:
    """Load and return orjson; raise ImportError if that fails, as while the interpreter shuts down."""
    global _orjson, _dump
    if _orjson is None:
        # Block signals: the import system would take a TimeoutError of a signal handler for a missing file.
        before = pthread_sigmask(SIG_BLOCK, ())
        try:
            pthread_sigmask(SIG_BLOCK, valid_signals())
            _orjson = _import_orjson()
            _dump = _orjson.dumps
        finally:
            pthread_sigmask(SIG_SETMASK, before)
    return _orjson


def _import_orjson() -> Any:
    # orjson crashes if one of these cannot be imported, or if this thread is in the middle of importing it.
    import dataclasses
    import json

    if any(getattr(module.__spec__, "_initializing", False) for module in (dataclasses, json, json.decoder)):
        raise ImportError("dataclasses or json is being imported")
    import orjson

    return orjson


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not JSON")


def _chunk_encoder() -> Callable[[Any, int], Iterable[str]]:
    """Return the C encoder that `json` uses, without loading that package, which is slow.

    It is not public: an interpreter may lack it, or have a different one.
    """
    try:
        from _json import encode_basestring, make_encoder

        encoder = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, True)
        if "".join(encoder({"a": ["\u00e9", 1.5, None]}, 0)) == '{"a":["\u00e9",1.5,null]}':
            return encoder
    except (ImportError, TypeError, ValueError):
        pass
    from json import JSONEncoder

    usual = JSONEncoder(check_circular=False, ensure_ascii=False, separators=(",", ":"), default=_refuse)
    return lambda value, _: usual.iterencode(value)


_chunks = _chunk_encoder()


def _json_writer() -> Callable[[str], str]:
    """Return the function that writes a text as a JSON string in ASCII, the fast one in C if there is one."""
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii


_as_json = _json_writer()


def _standard_dumps(value: Any) -> bytes:
    """Encode plain values with the standard library: without memory, it raises MemoryError, but orjson crashes."""
    return "".join(_chunks(value, 0)).encode()


def _early_dump(value: Any, default: None, options: int) -> bytes:
    """Encode like `orjson.dumps`, before orjson is loaded."""
    if next(_few, None) is not None and _is_written_alike(value):
        try:
            body = _standard_dumps(value)
            deque(islice(_few, len(body) // _FEW_BYTES), 0)  # a long body counts as several
            return body
        except (UnicodeEncodeError, RecursionError):
            pass
    return _load_orjson().dumps(value, default, options)  # type: ignore[no-any-return]


_dump: Callable[[Any, None, int], bytes] = _early_dump
if "dataclasses" in modules:
    _load_orjson()


def _is_written_alike(value: Any) -> bool:
    """Return whether the standard library and orjson both write a value, and in the same way."""
    boxes: list[Any] = [(value,)]
    for box in boxes:
        if type(box) is dict:
            if not all(type(name) is str for name in box):
                return False
            box = box.values()
        for item in box:
            if type(item) in _BOXES:
                boxes.append(item)
            elif type(item) is not str and not _is_leaf_written_alike(item):
                return False
        if len(boxes) > _SMALL_BOXES:
            return False
    return True


def _is_leaf_written_alike(item: Any) -> bool:
    kind = type(item)
    if kind is int:
        return bool(-1 << 63 <= item < 1 << 64)
    if kind is float:
        # Not if it is not finite, or has an exponent: 1e-05 and 0.00001.
        return item - item == 0.0 and "e" not in repr(item)
    return kind is bool or item is None


def dumps(value: object) -> bytes:
    """Return our own plain data as JSON, on one line."""
    try:
        return _dump(value, None, _OPTIONS)
    except (TypeError, ImportError):  # nested deeper than orjson writes, although it reads such a text
        return _standard_dumps(value)


def sorted_dumps(value: object) -> bytes:
    """Return plain data as JSON with sorted keys, so that equal data gives equal text."""
    orjson = _load_orjson()
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)  # type: ignore[no-any-return]
    except TypeError:  # as above
        return _standard_dumps(value)


def indented(value: object) -> str:
    """Return plain data as indented JSON, for people."""
    orjson = _load_orjson()
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 | _OPTIONS).decode()  # type: ignore[no-any-return]
    except TypeError:  # as above
        return _standard_dumps(value).decode()


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raise ValueError for anything that is not strict JSON."""
    return _load_orjson().loads(text)


def check(texts: Iterable[str | bytes]) -> None:
    """Raise ValueError unless each text is strict JSON."""
    deque(map(_load_orjson().loads, texts), 0)


class Encoder:
    """Encode the body of an event as one JSON object, whatever values it has.

    Values with an obvious form in JSON (a tuple, a date, an enum, a dataclass) are written in that form. A value that
    has none is replaced by a mark, such as `{"$float": "nan"}` or `{"$cycle": "list"}`, and counted under `notes`. A
    field `notes` of the user is kept as `notes#2`.

    A string or bytes value over `max_value` bytes is passed to `keep`, which stores it and returns its SHA-256; the
    body keeps its beginning and length. Without `keep` it is cut. In an event over `max_event` bytes, the largest
    fields are treated in the same way.

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
        self.short_texts: dict[str, str] = {}
        """A cache of `text` for short texts, as the same names are used many times."""
        self.encode: Callable[[dict[str, object]], str] = self._fast_encode()
        """Return the fields as one JSON object. Never raise because of a value, and never change it."""

    def _fast_encode(self) -> Callable[[dict[str, object]], str]:
        """Return `encode`, with all it needs in local variables: it runs for each event and delays the program."""
        walk, max_event, redactor = self._walk, self._max_event, self._redactor or _NoRedactor()
        environ = redactor.environ_data
        limit = min(self._max_value, max_event)
        small = 8.0 * min(_SMALL_TEXT, limit // 4)

        def encode(fields: dict[str, object]) -> str:
            try:
                try:
                    if len(environ) != redactor.environ_size:
                        redactor.look_again()
                    known = redactor.known
                    names: dict[str, float] = {}
                    texts: dict[str, float] = {}
                    # orjson crashes if an allocation fails: first make sure that there is enough memory.
                    if room := _small_room(fields, small, known, names, texts):
                        bytes(room) if room < _LARGE else _reserve(room)
                        body = _dump(fields, None, _OPTIONS)
                        if (texts or names) and _may_hide(redactor, known, names, texts, body):
                            return walk(fields)
                    elif room := _room(fields, limit, max_event):
                        _reserve(room)
                        body = _dump(fields, None, _OPTIONS)
                        if redactor.suspects(body):
                            return walk(fields)
                    else:
                        return walk(fields)
                    return walk(fields) if "notes" in fields or len(body) > max_event else body.decode()
                except TypeError:  # of orjson: a value is not JSON
                    return walk(fields)
                except BaseException as error:  # code of an unknown class ran, and may raise anything
                    return settle(error, lambda: walk(fields)) if is_programs(error) is not False else walk(fields)
            except MemoryError:  # not even enough memory to call a function or handle an exception
                return _NO_MEMORY

        return encode

    def encode_beside(self, name: str, public: Mapping[str, object], fields: Mapping[str, object]) -> str:
        """Return `{name: {**public, **fields}}` as JSON; `public` is searched only for secrets that the user defines.

        Names of packages may look like secrets (`tiktoken`) but are not, and a full search would take longer than a
        short program.
        """
        try:
            text = dumps(public).decode()
        except ValueError:  # a lone surrogate, as in the name of a folder
            text = ""
        begin, body = f'{{"{name}":{{', self.encode({name: fields})
        is_public = self._redactor is None or self._redactor.has_only_shapes_for(text)
        if len(text) < 3 or not fields or not is_public or not body.startswith(begin):
            return self.encode({name: {**public, **fields}})
        return f"{begin}{text[1:-1]},{body[len(begin) :]}"

    def redacts(self, plain: dict[str, Any]) -> bool:
        """Return whether redaction would change plain data of any size."""
        if self._redactor is None or not self._redactor.suspects(dumps(plain)):
            return False
        walk = Walk(self._redactor, max_value=1 << 62)
        return walk.body(plain) != plain or bool(walk.notes)

    def redacts_bytes(self, data: bytes) -> bool:
        """Return whether redaction would change bytes."""
        if self._redactor is None:
            return False
        # Latin-1 gives every byte a character, so that secrets are also detected in bytes that are not text.
        for charset in ("utf-8", "latin-1"):
            try:
                return self._redactor.clean(data.decode(charset), None)[1] > 0
            except UnicodeDecodeError:
                continue
        return False

    def text(self, value: object, limit: int = 512) -> str:
        """Return any object as a text of at most `limit` characters, without NUL, lone surrogates and secrets."""
        if type(value) is str:
            known = self.short_texts.get(value)
            if known is not None and len(known) <= limit:
                return known
        clean = Walk(self._redactor).short(value, limit)
        if type(value) is str and len(value) <= min(limit, 256):
            if len(self.short_texts) >= _TEXT_CACHE:
                self.short_texts.clear()
            self.short_texts[value] = clean
        return clean

    def _walk(self, fields: dict[str, object]) -> str:
        """Encode any fields by a walk; if even that fails, encode only their names and types."""
        try:
            return self._walk_once(fields)
        except BaseException as error:
            try:
                return settle(error, lambda: self._walk_once(fields))
            except BaseException as failure:  # no memory left, for example: a smaller event is better than none
                return self._names_only(fields, failure)

    def _walk_once(self, fields: dict[str, object]) -> str:
        try:
            text, ended = steadily(self._walk_result, fields)
            return text if ended else self._walk_deeper(fields) or text
        except RecursionError as error:
            return self._walk_deeper(fields) or self._names_only(fields, error)

    def _walk_deeper(self, fields: dict[str, object]) -> str | None:
        """Encode the fields with a higher recursion limit; None if the limit was not the problem."""
        try:
            text: str = deeper(steadily, self._walk_result, fields)[0]
            return text
        except RecursionError:
            return None

    def _walk_result(self, fields: dict[str, object]) -> tuple[str, bool]:
        """Return the encoded fields, and whether no value was cut because of the recursion limit."""
        walk = Walk(
            self._redactor,
            max_value=self._max_value,
            max_head=min(self._max_value * 3, self._max_event) // 4,
            keep=self._keep,
        )
        body = _with_renamed_notes(walk.body(fields))
        data = _with_notes(body, walk)
        if len(data) > self._max_event:
            data = _with_notes(self._shrink(body, walk), walk)
        return data.decode(), not walk.overran

    def _names_only(self, fields: dict[str, object], error: BaseException) -> str:
        """Encode only the beginning of each text, and the types of other values."""
        failed = f'{{"notes":{{"unencodable":1}},"$failed":"{type(error).__name__}"}}'
        try:
            walk = Walk(self._redactor)
            body: dict[str, Any] = {name: walk.beginning(value) for name, value in fields.items()}
            walk.note("unencodable")
            return _standard_dumps(
                {**_with_renamed_notes(body), "notes": walk.notes, "$failed": type(error).__name__}
            ).decode()
        except BaseException as problem:  # no memory is left at all, or no stack
            if is_programs(problem):
                hold(problem)
            return failed

    def _shrink(self, body: dict[str, Any], walk: Walk) -> dict[str, Any]:
        """Return the body with its largest fields replaced as large values are, until it fits."""
        parts = sorted(((_to_json(value), name) for name, value in body.items()), key=lambda part: -len(part[0]))
        excess = sum(len(data) + len(name) for data, name in parts) - self._max_event
        small = dict(body)
        for data, name in parts:
            if excess <= 0 or len(data) <= 2 * HEAD:
                break
            small[name] = walk.large(data, data.decode())
            excess -= len(data) - len(_to_json(small[name]))
        if excess <= 0:
            return small
        data = _to_json(body)
        return {"event": walk.large(data, data.decode())}


class Together:
    """Encode bodies that consist of JSON's own types, and search many of them for secrets together.

    This takes half the time of encoding and searching each body alone.  The results of `encode` may contain secrets:
    before they are written, those that `searched` returns must be replaced.

    >>> together = Together(Encoder(redactor=None))
    >>> together.encode({"params": "as it is"}), together.searched()
    ('{"params":"as it is"}', {})
    """

    def __init__(self, encoder: Encoder) -> None:
        self._carefully, self._walk = encoder.encode, encoder._walk
        self._redactor = encoder._redactor or _NoRedactor()
        self._most = min(_SMALL_TEXT, encoder._max_value, encoder._max_event)
        self._bodies: list[bytes] = []
        self._fields: list[dict[str, object]] = []

    def encode(self, fields: dict[str, object]) -> str:
        """Return fields as one JSON object, which may still contain secrets."""
        try:
            body = _dump(fields, None, _OPTIONS)
        except (TypeError, ImportError):  # nested too deep, or a value is not JSON
            return self._carefully(fields)
        if len(body) > self._most or "notes" in fields or body.count(b"{") + body.count(b"[") > _SMALL_BOXES:
            return self._carefully(fields)
        # A null may have been a number that is not finite.
        if b"null" in body and not _room(fields, self._most, self._most):
            return self._carefully(fields)
        self._bodies.append(body)
        self._fields.append(fields)
        return body.decode()

    def searched(self) -> dict[str, str]:
        """Return the replacements for bodies encoded since the last call that may contain secrets."""
        suspects, walk, bodies, fields = self._redactor.suspects, self._walk, self._bodies, self._fields
        self.forget()
        clean: dict[str, str] = {}
        for part in _parts(bodies):
            together = bodies[part]
            if suspects(b"\n".join(together)):
                clean.update(
                    (body.decode(), walk(each))
                    for body, each in zip(together, fields[part], strict=True)
                    if len(together) == 1 or suspects(body)
                )
        return clean

    def forget(self) -> None:
        """Forget the bodies encoded since the last search, as they will not be written."""
        self._bodies, self._fields = [], []


def _parts(bodies: list[bytes]) -> Iterator[slice]:
    """Yield slices of bodies to search together."""
    first = size = 0
    for number, body in enumerate(bodies):
        if size and (size + len(body) > _SEARCHED_BYTES or number - first == _SEARCHED):
            yield slice(first, number)
            first, size = number, 0
        size += len(body)
    if size:
        yield slice(first, len(bodies))


class _NoRedactor:
    """Stands in for a redactor when redaction is off."""

    def __init__(self) -> None:
        self.environ_data: dict[Any, Any] = {}
        self.environ_size = 0
        self.known = Known()

    def suspects(self, _body: bytes) -> object:
        """Return False."""
        return False

    def look_again(self) -> bool:
        """Return True, as `Redactor.look_again` does."""
        return True


def _may_hide(
    redactor: Redactor | _NoRedactor, known: Known, names: dict[str, float], texts: dict[str, float], body: bytes
) -> object:
    """Return whether new names and texts may contain a secret; if not, remember them as clean.

    If there are few of them, only these are encoded again and searched, which is faster than searching the whole body.
    """
    # A field called "value" may be a secret because of a known text beside it: then search the whole body.
    values = [name for name in names if is_of_value(name)] if names else []
    if len(names) + len(texts) <= _FEW and not values:
        # As keys of a dict: a name is suspect only with a colon after it, as in the body.
        body = _dump([*texts, dict.fromkeys(names, 0)] if names else [*texts], None, _OPTIONS)
    if suspicion := redactor.suspects(body):
        return suspicion
    for name in values:
        del names[name]
    known.add(names, texts)
    return False


def _with_renamed_notes(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with the user's field `notes` renamed, as localops uses that name."""
    if "notes" not in body:
        return body
    number = 2
    while f"notes#{number}" in body:
        number += 1
    return {f"notes#{number}" if name == "notes" else name: value for name, value in body.items()}


def _with_notes(body: dict[str, Any], walk: Walk) -> bytes:
    return _to_json({**body, "notes": walk.notes} if walk.notes else body)


def _to_json(value: Any) -> bytes:
    """Encode plain values as JSON, with orjson if there is certainly enough memory for it."""
    try:
        room = _room({"": value}, 1 << 62, 1 << 62)
        if room:
            _reserve(room)
            return _dump(value, None, _OPTIONS)
    except (MemoryError, ImportError):
        pass
    return _standard_dumps(value)


# The functions below decide what may be passed to orjson. orjson follows tuples to any depth, and shared values each
# time they occur, so it may overflow the stack or never end; and it crashes if memory runs out (3.10 to 3.13 do).
# Before it writes a text, it reserves eight times the text's bytes (a character has at most four), and for a list or
# dict up to 162 bytes per item (measured with 3.13). It grows its buffer by doubling, and keeps the old one while it
# copies: so it needs up to three times as much. To check that this memory is available, we allocate it, which takes
# time and space in the processor's cache, as it is filled with zeros. So `_small_room`, which runs for each event, asks
# for little; `_room`, for large events, is less exact.


# One long function, as each step costs time with every value: types are compared, not looked up, and numbers are
# floats, as adding floats allocates nothing.
def _small_room(
    fields: dict[str, Any], most: float, known: Known, fresh_names: dict[str, float], fresh: dict[str, float]
) -> int:
    """Return how many bytes orjson needs at most for a small plain event; 0 for any other event.

    Names and texts that are not known to be clean are added to the last two arguments, with the bytes that they need.
    """
    shapes, text_number = known.shapes, known.texts.get
    boxes: list[Any] = [fields]
    need = _ROOM_AHEAD
    for box in islice(boxes, _SMALL_BOXES):
        if type(box) is dict:
            try:
                need += shapes[tuple(box)]
            except KeyError:
                need += _shape(box, most, known, fresh_names)
            box = box.values()
        else:
            count = len(box)
            need += count * (_ROOM_PER_ITEM if count <= _NARROW else _ROOM_PER_WIDE_ITEM)
        if need > most:
            return 0
        for value in box:
            kind = type(value)
            if kind is str:
                number = text_number(value)
                if number is None:
                    fresh[value] = number = _need(value)
                need += number
            elif kind is dict or kind is list or kind is tuple:
                boxes.append(value)
            elif value is None or kind is int or kind in _LEAVES or (kind is float and value - value == 0.0):
                need += _ROOM_PER_NUMBER
            else:
                return 0
    room = _USUAL_ROOM if need < _USUAL_NEED else 3 * int(need)
    return 0 if need > most or len(boxes) > _SMALL_BOXES else room


def _shape(box: dict[Any, Any], most: float, known: Known, fresh: dict[str, float]) -> float:
    """Return how many bytes the names of a dict need; once all are known to be clean, remember the dict's names."""
    before, count = len(fresh), len(box)
    need = count * (_ROOM_PER_ITEM if count <= _NARROW else _ROOM_PER_WIDE_ITEM)
    if need > most:
        return need
    for name in box:
        number = known.names.get(name)
        if number is None:
            if type(name) is not str:
                raise TypeError
            fresh[name] = number = _need(name)
        need += number
    if len(fresh) == before:
        known.add_shape(tuple(box), need)
    return need


def _need(text: str) -> float:
    """Return how many bytes a text needs: its length if it is short and written unchanged, else eight times that.

    What orjson reserves for a short text is included in `_ROOM_AHEAD`.
    """
    size = len(text)
    # With the quotes alone, nothing was escaped.  This is faster than a search for characters that need it.
    if size <= _SHORT and len(_as_json(text)) == size + 2:
        return float(size)
    return 8.0 * size if text.isascii() else 32.0 * size


def _room(fields: dict[str, Any], limit: int, most: int) -> int:
    """Return how many bytes orjson needs at most for any plain event; 0 if `Walk` has to encode the event.

    That is so if a text is longer than `limit` bytes, if all texts together are longer than `most`, if the event is
    nested too deep or has too many items, or if a value is not of JSON's types.
    """
    level: list[Any] = [fields]
    size = items = 0
    for depth in range(MAX_DEPTH):
        inner: list[Any] = []
        texts: list[str] = []
        for box in level:
            items += len(box)
            if items > _MAX_ITEMS:
                return 0
            if type(box) is dict:
                texts += box
                box = box.values()
            if not _sort(box, texts, inner):
                return 0
        sizes = list(map(len, texts))
        size += sum(sizes)
        if size > most or (max(sizes, default=0) > limit // 4 and _has_long(texts, limit)):
            return 0
        if not inner:
            return 96 * size + 1_620 * items + 2048
        if depth > 12 and _is_endless(inner):
            return 0
        level = inner
    return 0


def _is_endless(boxes: list[Any]) -> bool:
    """Return whether a few boxes occur many times, as in a list that contains itself twice: encoding would not end."""
    return len(boxes) > 4_000 and len(set(map(id, boxes))) < len(boxes) // 8


def _sort(values: Iterable[Any], texts: list[str], boxes: list[Any]) -> bool:
    """Collect the texts and boxes among values; return False if a value is not of JSON's types or not finite."""
    for value in values:
        kind = type(value)
        if kind is str:
            texts.append(value)
        elif kind in _BOXES:
            boxes.append(value)
        elif kind is float:
            if value - value != 0.0:
                return False
        elif kind not in _LEAVES:
            return False
    return True


def _has_long(texts: list[str], limit: int) -> bool:
    return any(len(text) > limit // 4 and len(text.encode()) > limit for text in texts)


def _reserve(size: int) -> None:
    """Raise MemoryError unless this many bytes can be allocated now; they are freed immediately."""
    if size <= 1 << 17:
        bytes(size)
        return
    import mmap

    try:
        # Not by malloc, which would from then on keep larger blocks in its heap.
        if hasattr(mmap, "MAP_PRIVATE"):
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE).close()
        else:
            mmap.mmap(-1, size).close()
    except (OSError, OverflowError, ValueError) as error:
        if is_programs(error):  # a TimeoutError is an OSError, too
            raise
        raise MemoryError from error
