"""What failed calls of a run were given alike, an argument or a few: one bad document can make step after step fail.

A value counts as what they have in common only if most calls that were given it failed: the name of a project, which
every call is given, says nothing about those that fail.
"""

from __future__ import annotations

from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    Error = TypeVar("Error")

# Errors with one value in common from which on it is named.
FEWEST = 3
# Values of a call that are compared, and their characters.
_MOST_VALUES = 50
# Arguments that are named where the calls share more than one.
_MOST_NAMED = 3
_SHORTEST, _LONGEST = 3, 1_000
# Numbers below it are counts and limits, which many calls share by chance.
_SMALL = 1_000


def most_common(
    errors: Sequence[tuple[Error, object]], calls_with: Callable[[str | int], int]
) -> tuple[str, str | int, list[Error]] | None:
    """Return the argument and the value that most of these errors share, and those that do; None if there is none.

    Where they share more than one, the argument is empty and the value is a text of a few: `target=erp batch=1`. Each
    error comes with what its call was given. calls_with: return how many calls of the run were given a value.
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
    """Yield the other arguments that each of these calls was given with one value, in the order of the first call."""
    first, *others = (
        [(name, value) for name, value in leaves("", given, shortest=1, smallest=0) if name and name != named]
        for given in all_given
    )
    shared = set(first).intersection(*others)
    for name, value in dict.fromkeys(first):
        is_telling = len(value) >= _SHORTEST if isinstance(value, str) else abs(value) >= _SMALL
        # How many calls have a count or a limit is not looked up: its digits are in many texts.
        if (name, value) in shared and (not is_telling or 2 * len(all_given) >= calls_with(value)):
            yield name, value


def leaves(
    name: str, given: object, *, shortest: int = _SHORTEST, longest: int = _LONGEST, smallest: int = _SMALL
) -> Iterator[tuple[str, str | int]]:
    """Yield some of the texts and numbers in what a call was given that may tell it from others, each with its name."""
    return islice(_leaves(name, given, shortest, longest, smallest), _MOST_VALUES)


def _leaves(name: str, given: object, shortest: int, longest: int, smallest: int) -> Iterator[tuple[str, str | int]]:
    for key, value in values(name, given, most=_MOST_VALUES):
        if isinstance(value, str):
            if shortest <= len(value) <= longest:
                yield key, value
        elif type(value) is int and abs(value) >= smallest:
            yield key, value


def values(name: str, given: object, *, most: int) -> Iterator[tuple[str, object]]:
    """Yield what is neither an object nor a list in what a call was given, in order, each with the key it is under.

    most: the first members of each object and list that are looked at.
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
