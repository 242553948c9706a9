"""Find arguments that the failed calls of a run have in common: one bad document can make many steps fail.

A value counts only if most calls that have it failed: the name of a project, which every call has, does not explain
why some fail.
"""

from __future__ import annotations

from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    Error = TypeVar("Error")

# A value is reported only if at least this many errors share it.
FEWEST = 3
# The most values of a call to compare.
_MOST_VALUES = 50
# The most arguments to name if the calls share several.
_MOST_NAMED = 3
_SHORTEST, _LONGEST = 3, 1_000
# Smaller numbers are counts and limits, which many calls share by chance.
_SMALL = 1_000


def most_common(
    errors: Sequence[tuple[Error, object]], calls_with: Callable[[str | int], int]
) -> tuple[str, str | int, list[Error]] | None:
    """Return the argument and value that most of these errors share, and the errors that do; None without one.

    If they share several, the argument is empty and the value is a text such as `target=erp batch=1`. Each error comes
    with the input of its call. `calls_with` returns how many calls of the run have a value in their input.
    """
    groups: dict[tuple[type, str | int], tuple[str, list[Error]]] = {}
    for error, given in errors:
        of_call = {(type(value), value): name for name, value in leaves("", given)}
        for key, name in of_call.items():
            groups.setdefault(key, (name, []))[1].append(error)
    ranked = sorted(groups.items(), key=lambda group: -len(group[1][1]))
    for (_, value), (name, sharing) in ranked[:FEWEST]:
        if len(sharing) < FEWEST or 2 * len(sharing) < len(errors):
            return None
        if 2 * len(sharing) >= calls_with(value):
            kept = {id(error) for error in sharing}
            others = _also_shared(name, [given for error, given in errors if id(error) in kept], calls_with)
            named = [*([(name, value)] if name else []), *islice(others, _MOST_NAMED - 1)]
            return (
                ("", " ".join(f"{each}={of}" for each, of in named), sharing) if named[1:] else (name, value, sharing)
            )
    return None


def _also_shared(
    named: str, all_given: Sequence[object], calls_with: Callable[[str | int], int]
) -> Iterator[tuple[str, str | int]]:
    """Yield the other arguments that have the same value in all these calls, in the order of the first call."""
    first, *others = (
        [(name, value) for name, value in leaves("", given, shortest=1, smallest=0) if name and name != named]
        for given in all_given
    )
    shared = set(first).intersection(*others)
    for name, value in dict.fromkeys(first):
        is_telling = len(value) >= _SHORTEST if isinstance(value, str) else abs(value) >= _SMALL
        # For a count or limit, `calls_with` is not used, as many texts contain its digits.
        if (name, value) in shared and (not is_telling or 2 * len(all_given) >= calls_with(value)):
            yield name, value


def leaves(
    name: str, given: object, *, shortest: int = _SHORTEST, longest: int = _LONGEST, smallest: int = _SMALL
) -> Iterator[tuple[str, str | int]]:
    """Yield texts and numbers in a call's input that may distinguish it from others, each with its name."""
    return islice(_leaves(name, given, shortest, longest, smallest), _MOST_VALUES)


def _leaves(name: str, given: object, shortest: int, longest: int, smallest: int) -> Iterator[tuple[str, str | int]]:
    for key, value in values(name, given, most=_MOST_VALUES):
        if isinstance(value, str):
            if shortest <= len(value) <= longest:
                yield key, value
        elif type(value) is int and abs(value) >= smallest:
            yield key, value


def values(name: str, given: object, *, most: int) -> Iterator[tuple[str, object]]:
    """Yield the values in a call's input that are neither objects nor lists, in order, each with its key.

    most: how many members of each object and list to read.
    """
    waiting = [(name, given)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += reversed([(str(key), item) for key, item in islice(value.items(), most)])
        elif isinstance(value, list):
            waiting += reversed([(name, item) for item in value[:most]])
        else:
            yield name, value
