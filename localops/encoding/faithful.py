"""Convert values to plain data from which equal values can be restored, or refuse: for arguments and results of steps.

`encode` writes any value for people to read; values that are packed here are used again by a program.  Plain data is
packed unchanged, other values in a form such as `{"$tuple": [1, 2]}`.  When a value is restored, its class is looked up
only among loaded modules, and none of its code runs: the data may come from another machine.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import sys
import uuid
from binascii import a2b_base64, b2a_base64
from functools import cached_property

from localops.careful import class_name
from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MAX_DEPTH = 100
_LEAST, _MOST = -(1 << 63), 1 << 64
_BLOB = {"$blob", "$len", "head"}  # what the encoder puts in the place of a large text
_PATHS = {one.__name__: one for one in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath)}


class Unfaithful(Exception):
    """A value that could not be restored as equal; the message continues a sentence about it: "is of the class X"."""


class HoldsSecret(Unfaithful):
    """A value that could be restored, but contains a secret."""


def pack(value: object, is_secret: Callable[[bytes], bool] = lambda _: False) -> Any:
    """Return plain data for a value; `is_secret` returns whether bytes contain a secret.

    >>> pack({"at": (1, 2)})
    {'at': {'$tuple': [1, 2]}}
    >>> unpack(pack({"at": (1, 2)}))
    {'at': (1, 2)}
    """
    return _Packer(is_secret).plain(value, 0)


def unpack(plain: Any) -> Any:
    """Restore the value of packed data. Raise Unfaithful if its class is not loaded, or has changed."""
    if type(plain) is list:
        return [unpack(item) for item in plain]
    if type(plain) is not dict:
        return plain
    tag = next(iter(plain), "")
    if not tag.startswith("$"):
        return {name: unpack(value) for name, value in plain.items()}
    restore = _RESTORE.get(tag)
    if restore is None or len(plain) != 1:
        raise Unfaithful(f"has the form {tag[:40]!r}, which this release does not know")
    try:
        return restore(plain[tag])
    except (ArithmeticError, AttributeError, KeyError, LookupError, TypeError, ValueError) as error:
        raise Unfaithful(f"cannot be restored ({type(error).__name__}: {error})") from error


def whole(plain: Any, read: Callable[[str], bytes]) -> Any:
    """Return stored data with blobs replaced by their texts; `read` returns the bytes of a digest."""
    if type(plain) is list:
        return [whole(item, read) for item in plain]
    if type(plain) is not dict:
        return plain
    if plain.keys() == _BLOB:
        return read(plain["$blob"]).decode()
    return {name: whole(value, read) for name, value in plain.items()}


def blobs(plain: Any) -> list[str]:
    """Return the digests of the blobs that stored data refers to."""
    digests: list[str] = []

    def note(digest: str) -> bytes:
        digests.append(digest)
        return b""

    whole(plain, note)
    return digests


def is_plain(value: Any) -> bool:
    """Return whether packing a value leaves it unchanged."""
    kind = type(value)
    if kind is list:
        return all(map(is_plain, value))
    if kind is dict:
        return all(type(name) is str and not name.startswith("$") and is_plain(item) for name, item in value.items())
    if kind is int:
        return bool(_LEAST <= value < _MOST)
    return value is None or kind in (str, bool) or (kind is float and value - value == 0.0)


class _Packer:
    def __init__(self, is_secret: Callable[[bytes], bool]) -> None:
        self._is_secret = is_secret

    def plain(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return _text(value)
        if kind is int:
            return value if _LEAST <= value < _MOST else {"$int": str(value)}
        if kind is float:
            return value if value - value == 0.0 else {"$float": repr(value)}
        if depth > _MAX_DEPTH:
            raise Unfaithful("is nested too deep, or holds itself")
        if kind is list:
            return [self.plain(item, depth + 1) for item in value]
        if kind is dict:
            return self._dict(value, depth)
        way = _WAYS.get(kind)
        if way is not None:
            return way(self, value, depth)
        return self._instance(value, kind, depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if all(type(name) is str and not name.startswith("$") for name in value):
            return {_text(name): self.plain(item, depth + 1) for name, item in value.items()}
        # Keys that are texts remain keys, so that redaction still recognises a secret by its name.
        pairs = [
            {_text(name): self.plain(item, depth + 1)}
            if type(name) is str
            else [self.plain(name, depth + 1), self.plain(item, depth + 1)]
            for name, item in value.items()
        ]
        return {"$dict": pairs}

    def listed(self, value: Any, depth: int) -> Any:
        return {f"${type(value).__name__}": [self.plain(item, depth + 1) for item in value]}

    def unordered(self, value: Any, depth: int) -> Any:
        items = [self.plain(item, depth + 1) for item in value]
        return {f"${type(value).__name__}": sorted(items, key=encode.sorted_dumps)}

    def octets(self, value: Any, _depth: int) -> Any:
        if self._is_secret(bytes(value)):
            raise HoldsSecret("holds a secret, which is not kept")
        return {f"${type(value).__name__}": b2a_base64(value, newline=False).decode()}

    def _instance(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, enum.Enum):
            name = value._name_
            if kind.__members__.get(name) is not value:
                raise Unfaithful(f"is of the class {kind.__name__}, and none of its named members")
            return {"$enum": [*_place(kind), name]}
        if issubclass(kind, tuple) and type(getattr(kind, "_fields", None)) is tuple:
            return {"$named": [*_place(kind), self.plain(dict(zip(kind._fields, value, strict=True)), depth + 1)]}  # type: ignore[attr-defined]
        if "__dataclass_fields__" in vars(kind):
            return {"$dataclass": [*_place(kind), self._fields(value, kind, depth)]}
        if _is_model(kind):
            inside = ("__dict__", "__pydantic_extra__", "__pydantic_fields_set__", "__pydantic_private__")
            return {"$model": [*_place(kind), [self.plain(getattr(value, name), depth + 1) for name in inside]]}
        raise Unfaithful(f"is of the class {class_name(value)}")

    def _fields(self, value: Any, kind: type, depth: int) -> Any:
        from dataclasses import fields

        if not _is_created_plainly(kind):
            raise Unfaithful(f"is of the class {kind.__name__}, which is not created from its fields alone")
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        more = getattr(value, "__dict__", {}).keys() - named.keys()
        beside = [name for name in more if not isinstance(getattr(kind, name, None), cached_property)]
        if beside:
            raise Unfaithful(f"is of the class {kind.__name__}, and its attribute {beside[0]!r} is not a field")
        return self.plain(named, depth + 1)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfaithful("is no valid text") from None
    return value


def _place(kind: type) -> tuple[str, str]:
    """Return module and name of a class; raise Unfaithful if looking these up does not return the class."""
    place = kind.__module__, kind.__qualname__
    try:
        known = _class(*place)
    except LookupError:
        known = None
    if known is not kind:
        raise Unfaithful(
            f"is of the class {kind.__name__}, which is not found by its name (is it defined in a function?)"
        )
    return place


def _class(module: str, name: str) -> Any:
    if module not in sys.modules:
        raise LookupError(f"{module}.{name} is not loaded: import {module} before")
    kind: Any = sys.modules[module]
    for part in name.split("."):
        kind = vars(kind).get(part)
        if kind is None:
            raise LookupError(f"there is no class {module}.{name} any more")
    if not isinstance(kind, type):
        raise LookupError(f"{module}.{name} is no class any more")
    return kind


def _is_model(kind: type) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel) and _is_created_plainly(kind)


def _is_created_plainly(kind: type) -> bool:
    """Return whether an instance can be created without running code of its class."""
    make: object = kind.__new__
    return make is object.__new__


def _moment(value: Any, _depth: int) -> Any:
    zone = value.tzinfo
    if zone is not None and type(zone) is not datetime.timezone:
        key = getattr(zone, "key", None)
        if type(zone).__module__ != "zoneinfo" or key is None:
            raise Unfaithful(f"has a time zone of the class {class_name(zone)}")
        return {f"${type(value).__name__}": [value.replace(tzinfo=None).isoformat(), key, value.fold]}
    if zone is not None and zone != datetime.timezone(zone.utcoffset(None)):
        raise Unfaithful("has a time zone with a name")
    return {f"${type(value).__name__}": [value.isoformat(), None, value.fold]}


def _as_text(name: str, text: Callable[[Any], str]) -> Callable[[_Packer, Any, int], Any]:
    return lambda _packer, value, _depth: {name: text(value)}


_WAYS: dict[type, Callable[[_Packer, Any, int], Any]] = {
    tuple: _Packer.listed,
    set: _Packer.unordered,
    frozenset: _Packer.unordered,
    bytes: _Packer.octets,
    bytearray: _Packer.octets,
    datetime.datetime: lambda _, value, depth: _moment(value, depth),
    datetime.time: lambda _, value, depth: _moment(value, depth),
    datetime.date: _as_text("$date", datetime.date.isoformat),
    datetime.timedelta: lambda _packer, value, _depth: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    decimal.Decimal: _as_text("$decimal", str),
    uuid.UUID: _as_text("$uuid", str),
    complex: lambda packer, value, depth: {
        "$complex": [packer.plain(value.real, depth), packer.plain(value.imag, depth)]
    },
    **{
        path: lambda _packer, value, _depth: {"$path": [type(value).__name__, _text(str(value))]}
        for path in _PATHS.values()
    },
}


def _restore_dict(pairs: list[Any]) -> dict[Any, Any]:
    restored: dict[Any, Any] = {}
    for pair in pairs:
        if type(pair) is dict:
            [(name, value)] = pair.items()
        else:
            name, value = unpack(pair[0]), pair[1]
        restored[name] = unpack(value)
    return restored


def _restore_moment(of: Any, given: list[Any]) -> Any:
    text, zone, fold = given
    value = of.fromisoformat(text).replace(fold=fold)
    if zone is None:
        return value
    from zoneinfo import ZoneInfo

    return value.replace(tzinfo=ZoneInfo(zone))


def _restore_named(given: list[Any]) -> Any:
    module, name, fields = given
    kind, values = _class(module, name), unpack(fields)
    if not issubclass(kind, tuple) or getattr(kind, "_fields", None) != tuple(values):
        raise LookupError(f"{module}.{name} has other fields now")
    return tuple.__new__(kind, values.values())


def _restore_enum(given: list[Any]) -> Any:
    module, name, member = given
    kind = _class(module, name)
    if not issubclass(kind, enum.Enum):
        raise LookupError(f"{module}.{name} is no enum any more")
    return kind.__members__[member]


def _restore_dataclass(given: list[Any]) -> Any:
    module, name, fields = given
    kind, values = _class(module, name), unpack(fields)
    if getattr(kind, "__dataclass_fields__", {}).keys() != values.keys() or not _is_created_plainly(kind):
        raise LookupError(f"{module}.{name} has other fields now")
    restored = object.__new__(kind)
    for field, value in values.items():
        object.__setattr__(restored, field, value)
    return restored


def _restore_model(given: list[Any]) -> Any:
    module, name, inside = given
    kind = _class(module, name)
    fields, extra, given_fields, private = map(unpack, inside)
    if not _is_model(kind) or not fields.keys() >= kind.model_fields.keys():
        raise LookupError(f"{module}.{name} has other fields now")
    restored = object.__new__(kind)
    object.__setattr__(restored, "__dict__", fields)
    object.__setattr__(restored, "__pydantic_fields_set__", given_fields)
    object.__setattr__(restored, "__pydantic_extra__", extra)
    object.__setattr__(restored, "__pydantic_private__", private)
    return restored


_RESTORE: dict[str, Callable[[Any], Any]] = {
    "$dict": _restore_dict,
    "$tuple": lambda items: tuple(map(unpack, items)),
    "$set": lambda items: set(map(unpack, items)),
    "$frozenset": lambda items: frozenset(map(unpack, items)),
    "$bytes": a2b_base64,
    "$bytearray": lambda text: bytearray(a2b_base64(text)),
    "$int": int,
    "$float": float,
    "$complex": lambda parts: complex(*map(unpack, parts)),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
    "$path": lambda given: _PATHS[given[0]](given[1]),
    "$date": datetime.date.fromisoformat,
    "$datetime": lambda given: _restore_moment(datetime.datetime, given),
    "$time": lambda given: _restore_moment(datetime.time, given),
    "$timedelta": lambda given: datetime.timedelta(*given),
    "$enum": _restore_enum,
    "$named": _restore_named,
    "$dataclass": _restore_dataclass,
    "$model": _restore_model,
}
