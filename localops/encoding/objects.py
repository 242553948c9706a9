"""The content and the text of objects of any class, whose code may do anything: callers handle what it raises."""

from __future__ import annotations

import enum

from localops.careful import COLLECTIONS, outline, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_ARRAY = 100_000
"""The most items of an array or mapping of an unknown class that are read."""


def fields_of(value: object) -> dict[str, Any] | None:
    """Return the fields of an instance of a dataclass or attrs class that are set."""
    declared = getattr(type(value), "__dataclass_fields__", None)
    if type(declared) is dict:
        names = list(declared)
    else:
        attributes = getattr(type(value), "__attrs_attrs__", None)
        if not isinstance(attributes, tuple):
            return None
        names = [attribute.name for attribute in attributes]
    missing = object()
    values = {name: getattr(value, name, missing) for name in names}
    return {name: content for name, content in values.items() if content is not missing}


def as_dict(value: object) -> dict[Any, Any] | None:
    """Return the first items of a mapping of any class."""
    from collections.abc import Mapping
    from itertools import islice

    if not isinstance(value, Mapping):
        return None
    return {key: value[key] for key in islice(value, MAX_ARRAY)}


def as_list(value: object) -> Any:
    """Return the content of an array or scalar of numpy or similar, unless it is large."""
    listed = getattr(type(value), "tolist", None)
    return listed(value) if callable(listed) and not is_large(value) else None


def is_large(value: object) -> bool:
    """Return whether an array has more items than are read."""
    size = getattr(value, "size", 0)
    return type(size) is int and size > MAX_ARRAY


def shown(value: Any, most: int) -> str:
    """Return a value as text, in a form that suits its type; of a collection, about the first `most` characters."""
    if issubclass(type(value), str):
        return str.__str__(value)
    if issubclass(type(value), (bytes, bytearray)):
        return memoryview(value).tobytes().decode("utf-8", "replace")
    if issubclass(type(value), enum.Enum):
        return shown(value_of(value), most)
    if issubclass(type(value), int) and int.__int__(value).bit_length() >= 1_000:
        return digits(int.__int__(value))
    if issubclass(type(value), COLLECTIONS):
        return outline(value, most)
    return str.__str__(str(value))


def title_of(kind: type) -> str:
    """Return the name of a class, with its module unless it is built in."""
    module, title = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    text = title if module == "builtins" or type(module) is not str else f"{module}.{title}"
    return replace_surrogates(text[:200])


def digits(number: int) -> str:
    """Return an integer in decimal, or in hexadecimal if it has more digits than Python allows."""
    if number.bit_length() < 14_000:
        try:
            return str(number)
        except ValueError:  # a program may set its own limit
            pass
    return hex(number)


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate in a text by U+FFFD, as UTF-8 cannot encode it."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
