"""Regular expressions of the user: those that can be used, and what is wrong with the others."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class BrokenPatterns(ValueError):
    """Some patterns do not compile; `usable` are the others."""

    def __init__(self, usable: list[re.Pattern[str]], broken: list[str]) -> None:
        others = ", ".join(repr(pattern.pattern) for pattern in usable) or "none"
        super().__init__(f"expected valid regular expressions, got {', '.join(broken)}", f"in use: {others}")
        self.usable = usable


def compiled(patterns: Iterable[Any]) -> list[re.Pattern[str]]:
    """Return patterns as they are used; raise BrokenPatterns when some cannot be.

    >>> [pattern.pattern for pattern in compiled(["a+"])]
    ['a+']
    """
    usable: list[re.Pattern[str]] = []
    broken: list[str] = []
    for number, pattern in enumerate(patterns, 1):
        try:
            made = re.compile(pattern)
        except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
            broken.append(f"{pattern!r} as number {number} ({error})")
            continue
        # One of bytes finds nothing in a text, and raises.
        if isinstance(made.pattern, str):
            usable.append(made)
        else:
            broken.append(f"{made.pattern!r} as number {number} (it is for bytes)")
    if broken:
        raise BrokenPatterns(usable, broken)
    return usable
