"""Regular expressions of the user: those that can be used, and what is wrong with the others."""

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
    """Some patterns do not compile; `usable` are the others."""

    def __init__(self, usable: list[re.Pattern[str]], broken: list[Broken]) -> None:
        others = ", ".join(_as_written(pattern.pattern) for pattern in usable) or "none"
        got = ", ".join(f"{text} as number {number} ({why})" for number, text, why in broken)
        super().__init__(f"expected valid regular expressions, got {got}", f"in use: {others}")
        self.usable, self.broken = usable, broken


def _as_written(pattern: object) -> str:
    """Return a pattern as it stands in a file: with each backslash once."""
    return f"'{pattern}'" if isinstance(pattern, str) and "'" not in pattern else repr(pattern)


def compiled(patterns: Iterable[Any]) -> list[re.Pattern[str]]:
    """Return patterns as they are used; raise BrokenPatterns when some cannot be.

    >>> [pattern.pattern for pattern in compiled(["a+"])]
    ['a+']
    """
    usable: list[re.Pattern[str]] = []
    broken: list[Broken] = []
    for number, pattern in enumerate(patterns, 1):
        try:
            made = re.compile(pattern)
        except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
            broken.append(Broken(number, _as_written(pattern), str(error)))
            continue
        # One of bytes finds nothing in a text, and raises.
        if isinstance(made.pattern, str):
            usable.append(made)
        else:
            broken.append(Broken(number, _as_written(made.pattern), "it is for bytes"))
    if broken:
        raise BrokenPatterns(usable, broken)
    return usable


def may_not_end(pattern: re.Pattern[str]) -> bool:
    """Return whether a pattern fits some texts in so many ways that it seems not to end, as `(a+)+` and `(a|aa)+`."""
    try:
        from localops.encoding.ambiguous_patterns import is_ambiguous

        return is_ambiguous(pattern)
    except Exception as error:
        # The edge: another Python may have another parser, and this is only advice.
        hold_if_programs(error)
        return False
