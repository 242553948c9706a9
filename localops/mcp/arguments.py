"""The arguments of tools: their JSON schema, and the check of received arguments."""

from __future__ import annotations

import re
from typing import NamedTuple

from localops import clock
from localops.errors import ConfigError
from localops.mcp.answers import DEFAULT, LEAST, MOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class Argument(NamedTuple):
    """One argument of a tool."""

    kind: str
    """Of JSON: string, integer, boolean, object."""
    about: str
    required: bool = False
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        facts = {"enum": list(self.choices), "minimum": self.least, "maximum": self.most}
        given = {key: value for key, value in facts.items() if value not in (None, [])}
        return {"type": self.kind, "description": self.about, **given}

    def check(self, name: str, value: Any) -> Any:
        """Return the value; raise ConfigError if it cannot be used."""
        if isinstance(value, bool) != (self.kind == "boolean") or not isinstance(value, _PYTHON[self.kind]):
            raise ConfigError(f"invalid {name}: expected {_article(self.kind)}, got {_shown(value)}")
        if self.choices and value not in self.choices:
            raise ConfigError(f"invalid {name}: expected one of {', '.join(self.choices)}, got {_shown(value)}")
        least, most = self.least or 0, self.most or 1 << 53
        if isinstance(value, int) and self.kind == "integer" and not least <= value <= most:
            raise ConfigError(f"invalid {name}: expected {least} to {most}, got {value}")
        return value


COMMON = {
    "max_tokens": Argument("integer", f"How long the answer may be [{DEFAULT}].", least=LEAST, most=MOST),
}
CURSOR = Argument("string", "From the answer before, to continue it.")


def schema(arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments."""
    return {
        "type": "object",
        "properties": {name: argument.schema() for name, argument in arguments.items()},
        "required": [name for name, argument in arguments.items() if argument.required],
        "additionalProperties": False,
    }


def checked(arguments: Mapping[str, Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the received arguments; raise ConfigError for missing, unknown or invalid ones."""
    for name in given:
        if name not in arguments:
            raise ConfigError(f"unknown argument {_shown(name)}: there is {', '.join(arguments)}")
    missing = [name for name, argument in arguments.items() if argument.required and given.get(name) is None]
    if missing:
        raise ConfigError(f"missing argument {missing[0]}: {arguments[missing[0]].about}")
    return {name: arguments[name].check(name, value) for name, value in given.items() if value is not None}


def moment(name: str, value: str) -> int:
    """Return a time as nanoseconds since 1970: so long ago, or a date; raise ConfigError if it is neither."""
    from localops.recording import events

    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?) *([smhdw])\s*", value):
        return clock.now_ns() - round(float(match[1]) * _SECONDS[match[2]] * 1e9)
    at = events.to_ns(value.strip())
    if at is None:
        raise ConfigError(f"invalid {name}: expected 2h, 3d, 2026-11-21 or 2026-11-21T08:30, got {_shown(value)}")
    return at


def number(cursor: str | None) -> int | None:
    """Return the number that a cursor is; raise ConfigError for one that this tool did not give."""
    if cursor is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", cursor):
        raise ConfigError(f"invalid cursor: expected one from an answer of this tool, got {_shown(cursor)}")
    return int(cursor)


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
