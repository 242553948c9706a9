"""Regular expressions of the user: those that can be used, and what is wrong with the others."""

from __future__ import annotations

import re

from localops.interruption import hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_FEW = 20  # repetitions that end soon in any case


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


def may_not_end(pattern: re.Pattern[str]) -> bool:
    """Return whether a pattern repeats a repetition, as `(a+)+` does: with some texts it takes for ever.

    >>> [may_not_end(re.compile(each)) for each in (r"(a+)+$", r"(\\w+-)+", r"(?:\\s*|b)*c", r"\\d{13,16}")]
    [True, False, True, False]
    """
    try:
        from re import _parser  # type: ignore[attr-defined]  # no public module has the parts of a pattern

        return _repeats_a_repetition(_parser.parse(pattern.pattern, pattern.flags))
    except Exception as error:
        # The edge: another Python may have another parser, and this is only advice.
        hold_if_programs(error)
        return False


def _repeats_a_repetition(parts: Any) -> bool:
    for kind, what in parts:
        if _is_repetition(kind, what) and any(map(_is_divisible, _branches(what[2]))):
            return True
        if any(map(_repeats_a_repetition, _inner(kind, what))):
            return True
    return False


def _is_repetition(kind: Any, what: Any) -> bool:
    return str(kind) in ("MAX_REPEAT", "MIN_REPEAT") and int(what[1]) > _FEW


def _is_divisible(parts: Any) -> bool:
    """Return whether a repetition is all that these parts need, so that repeated they match a text in many ways."""
    filled = [(kind, what) for kind, what in parts if not _may_be_empty(kind, what)]
    if not filled:
        return any(_is_repetition(kind, what) for kind, what in parts)
    [(kind, what), *others] = filled
    if others:
        return False
    return _is_repetition(kind, what) or (str(kind) == "SUBPATTERN" and any(map(_is_divisible, _branches(what[3]))))


def _may_be_empty(kind: Any, what: Any) -> bool:
    return str(kind) == "AT" or (str(kind).endswith("_REPEAT") and what[0] == 0)


def _branches(parts: Any) -> list[Any]:
    """Return the alternatives of which a group consists, or the group."""
    if len(parts) == 1 and str(parts[0][0]) == "SUBPATTERN":
        return _branches(parts[0][1][3])
    return list(parts[0][1][1]) if len(parts) == 1 and str(parts[0][0]) == "BRANCH" else [parts]


def _inner(kind: Any, what: Any) -> list[Any]:
    name = str(kind)
    if name.endswith("_REPEAT"):
        return [what[2]]
    if name == "SUBPATTERN":
        return [what[3]]
    if name == "BRANCH":
        return list(what[1])
    return [what[1]] if name in ("ASSERT", "ASSERT_NOT") else []
