"""Ids and times that both of two runs were given: where their calls differ in one, that is a change.

A run makes up an id or a time only if the other one was not given the same.  It was given one by the first step that
had it in a prompt, a result or its arguments.  Given by another kind of step in each run, it may be what one of them
made and the other one then read.
"""

from __future__ import annotations

import re
from collections import Counter, namedtuple
from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NamedTuple

    class Id(NamedTuple):
        """An id or a time in the arguments of a call, as a short digest, and that of the step that gave it before."""

        short: str
        giver: str = ""

    class Call(NamedTuple):
        """A call that is compared: its name, its ids, and what gave an id to the run before it, by its short digest."""

        name: str
        ids: Sequence[Id]
        giver_of: Callable[[str], str]

    Places = list[tuple[int | None, int | None]]
else:
    Id = namedtuple("Id", "short giver", defaults=[""])
    Call = namedtuple("Call", "name ids giver_of")

# Values of a run that are known; more of them would take too much memory.
_MOST = 200_000
_HEX = 8
_DAY = "t"  # before the digest of a day
_IS_DAY = re.compile(r"\d{4}([-/])\d\d\1\d\d|[^:]*[A-Z][a-z]{2}[^:]*20\d\d")


class Givers:
    """What gave each id and time of a run to it, and when."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}
        self._by_short: dict[str, tuple[str, int]] = {}

    def add(self, values: Iterable[str], giver: str, at_ns: int) -> None:
        """Take in what a step gave at a time."""
        given = (giver, at_ns)
        for value in values:
            before = self._known.get(value)
            is_first = at_ns < before[1] if before else len(self._known) < _MOST
            if is_first:
                self._known[value] = given

    def have_one_of(self, values: Iterable[str]) -> bool:
        """Return whether one of some ids and times is known."""
        return not self._known.keys().isdisjoint(values)

    def before(self, short: str, at_ns: int) -> str:
        """Return the short digest of the step that had given an id by a time; nothing if none had."""
        if not self._by_short:
            self._by_short = {_short(value): given for value, given in self._known.items()}
        giver, given_ns = self._by_short.get(short, ("", 0))
        return _hex(giver) if giver and given_ns <= at_ns else ""

    def ids(self, values: Iterable[str], at_ns: int) -> tuple[Id, ...]:
        """Return the ids and times in the arguments of a call."""
        shorts = map(_short, values)
        return tuple(Id(short, self.before(short, at_ns)) for short in shorts)


def _short(value: str) -> str:
    return f"{_DAY if _IS_DAY.fullmatch(value) else ''}{_hex(value)}"


def _hex(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:_HEX]


def changed(pairs: Sequence[tuple[Call, Call]]) -> dict[int, Places]:
    """Return which pairs of calls differ in ids that both runs were given, and the places of these.

    Calls that both runs made, in another order, are no change: those that ran in parallel have none.
    """
    unlike = {number: places for number, (a, b) in enumerate(pairs) if (places := _differing(a, b))}
    calls = {number: (_common(*pairs[number]), _common(*pairs[number][::-1])) for number in unlike}
    of_a, of_b = (Counter(both[side] for both in calls.values()) for side in (0, 1))
    return {
        number: places for number, places in unlike.items() if not (of_b[calls[number][0]] and of_a[calls[number][1]])
    }


def _common(one: Call, other: Call) -> tuple[str, ...]:
    """Return the name of a call and its ids that the other run was given, too."""
    return (one.name, *[id.short for id in one.ids if _is_common(id, other)])


def _is_common(id: Id, other: Call) -> bool:
    return bool(id.giver) and other.giver_of(id.short) == id.giver


def _differing(a: Call, b: Call) -> Places:
    if len(a.ids) == len(b.ids):
        both = [(place, *ids) for place, ids in enumerate(zip(a.ids, b.ids, strict=True))]
        return [(place, place) for place, one, other in both if _is_other(one, other, a, b)]
    # One of two ids looks like a name.
    shorts_a, shorts_b = ({id.short for id in call.ids} for call in (a, b))
    gone = [place for place, id in enumerate(a.ids) if id.short not in shorts_b and _is_common(id, b)]
    new = [place for place, id in enumerate(b.ids) if id.short not in shorts_a and _is_common(id, a)]
    return [*((place, None) for place in gone), *((None, place) for place in new)]


def _is_other(one: Id, other: Id, a: Call, b: Call) -> bool:
    if one.short == other.short:
        return False
    common = (_is_common(one, b), _is_common(other, a))
    # The day of a run stands in the data of a later one.
    is_day = one.short[0] == other.short[0] == _DAY
    return all(common) if is_day else any(common)
