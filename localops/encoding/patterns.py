"""Compile the regular expressions of the user, and explain which of them are invalid."""

from __future__ import annotations

import re
from typing import NamedTuple

from localops.interruption import hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Broken(NamedTuple):
    """A pattern that does not compile."""

    number: int  # in the list, from 1
    text: str  # as it was written
    why: str


class BrokenPatterns(ValueError):
    """Some patterns do not compile; `usable` has the others."""

    def __init__(self, usable: list[re.Pattern[str]], broken: list[Broken]) -> None:
        others = ", ".join(_as_written(pattern.pattern) for pattern in usable) or "none"
        got = ", ".join(f"{text} as number {number} ({why})" for number, text, why in broken)
        super().__init__(f"expected valid regular expressions, got {got}", f"in use: {others}")
        self.usable, self.broken = usable, broken


def _as_written(pattern: object) -> str:
    """Return a pattern as it is written in a file, without doubling backslashes."""
    return f"'{pattern}'" if isinstance(pattern, str) and "'" not in pattern else repr(pattern)


def compiled(patterns: Iterable[Any]) -> list[re.Pattern[str]]:
    """Compile patterns; raise BrokenPatterns if some are invalid.

    >>> [pattern.pattern for pattern in compiled(["a+"])]
    ['a+']
    """
    usable: list[re.Pattern[str]] = []
    broken: list[Broken] = []
    for number, pattern in enumerate(patterns, 1):
        try:
            pattern_object = re.compile(pattern)
        except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
            broken.append(Broken(number, _as_written(pattern), str(error)))
            continue
        # A bytes pattern would raise when it is used on a text.
        if isinstance(pattern_object.pattern, str):
            usable.append(pattern_object)
        else:
            broken.append(Broken(number, _as_written(pattern_object.pattern), "it is for bytes"))
    if broken:
        raise BrokenPatterns(usable, broken)
    return usable


def may_not_end(pattern: re.Pattern[str]) -> bool:
    """Return whether a pattern can take exponential time on some texts, as `(a+)+` and `(a|aa)+` can."""
    try:
        from localops.encoding.ambiguous_patterns import is_ambiguous

        return is_ambiguous(pattern)
    except Exception as error:
        # The edge: another Python may have another parser, and this is only advice.
        hold_if_programs(error)
        return False
