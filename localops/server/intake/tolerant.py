"""Read and write JSON of AgentOps clients, which may have NaN, Infinity and lone surrogates, unlike strict JSON."""

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
    """Return such a value as JSON text, with sorted keys."""
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError:
        return repr(type(value))
