"""JSON as AgentOps clients send it: with bare NaN and Infinity, and with lone surrogates, which strict JSON lacks."""

from __future__ import annotations

import json

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def loads(body: bytes) -> tuple[Any, bool]:
    """Return the value of a JSON text, and whether it is strict JSON; ValueError if it is neither."""
    try:
        return encode.loads(body), True
    except ValueError:
        pass
    try:
        return json.loads(body), False
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def dumps(value: object) -> str:
    """Return such a value as the JSON text that it was, with its keys in order."""
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return repr(type(value))
