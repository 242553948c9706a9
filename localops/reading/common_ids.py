"""Find ids and times that two runs both received from outside: if their calls differ in one, that is a change.

Ids and times that a run creates itself differ in every run, and are no change.  One counts as received if the same
kind of step provided it first in both runs: in a prompt, a result or its arguments.  If the kinds of steps differ, one
run may have created it, and the other may have read it then.
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
        """An id or time in the arguments of a call, as a short digest, and the digest of the step that provided it."""

        short: str
        giver: str = ""

    class Call(NamedTuple):
        """A call to compare: its name, its ids, and a function from an id to the step that provided it before."""

        name: str
        ids: Sequence[Id]
        giver_of: Callable[[str], str]

    Places = list[tuple[int | None, int | None]]
else:
    Id = namedtuple("Id", "short giver", defaults=[""])
    Call = namedtuple("Call", "name ids giver_of")

# The most values of a run to remember, to limit memory.
_MOST = 200_000
_HEX = 8
_DAY = "t"  # the prefix of the digest of a day
_IS_DAY = re.compile(r"\d{4}([-/])\d\d\1\d\d|[^:]*[A-Z][a-z]{2}[^:]*20\d\d")


class Givers:
    """The step that first provided each id and time of a run, and when."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}
        self._by_short: dict[str, tuple[str, int]] = {}

    def add(self, values: Iterable[str], giver: str, at_ns: int) -> None:
        """Add the values that a step provided at a time."""
        given = (giver, at_ns)
        for value in values:
            before = self._known.get(value)
            is_first = at_ns < before[1] if before else len(self._known) < _MOST
            if is_first:
                self._known[value] = given

    def have_one_of(self, values: Iterable[str]) -> bool:
        """Return whether any of these ids and times is known."""
        return not self._known.keys().isdisjoint(values)

    def before(self, short: str, at_ns: int) -> str:
        """Return the digest of the step that provided an id by a time; empty without one."""
        if not self._by_short:
            self._by_short = {_short(value): given for value, given in self._known.items()}
        giver, given_ns = self._by_short.get(short, ("", 0))
        return _hex(giver) if giver and given_ns <= at_ns else ""

    def ids(self, values: Iterable[str], at_ns: int) -> tuple[Id, ...]:
        """Return the ids and times in the arguments of a call, with their providers."""
        shorts = map(_short, values)
        return tuple(Id(short, self.before(short, at_ns)) for short in shorts)


def _short(value: str) -> str:
    return f"{_DAY if _IS_DAY.fullmatch(value) else ''}{_hex(value)}"


def _hex(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:_HEX]


def changed(pairs: Sequence[tuple[Call, Call]]) -> dict[int, Places]:
    """Return which pairs of calls differ in ids that both runs received, and the places of these ids.

    If both runs made the same calls in another order, that is no change, as parallel calls have no order.
    """
    unlike = {number: places for number, (a, b) in enumerate(pairs) if (places := _differing_places(a, b))}
    calls = {number: (_common(*pairs[number]), _common(*pairs[number][::-1])) for number in unlike}
    of_a, of_b = (Counter(both[side] for both in calls.values()) for side in (0, 1))
    return {
        number: places for number, places in unlike.items() if not (of_b[calls[number][0]] and of_a[calls[number][1]])
    }


def _common(one: Call, other: Call) -> tuple[str, ...]:
    """Return the name of a call, and those of its ids that the other run received, too."""
    return (one.name, *[id.short for id in one.ids if _is_common(id, other)])


def _is_common(id: Id, other: Call) -> bool:
    return bool(id.giver) and other.giver_of(id.short) == id.giver


def _differing_places(a: Call, b: Call) -> Places:
    if len(a.ids) == len(b.ids):
        both = [(place, *ids) for place, ids in enumerate(zip(a.ids, b.ids, strict=True))]
        return [(place, place) for place, one, other in both if _is_other(one, other, a, b)]
    # The numbers of ids differ, as when one of two corresponding ids looks like a name.
    shorts_a, shorts_b = ({id.short for id in call.ids} for call in (a, b))
    gone = [place for place, id in enumerate(a.ids) if id.short not in shorts_b and _is_common(id, b)]
    new = [place for place, id in enumerate(b.ids) if id.short not in shorts_a and _is_common(id, a)]
    return [*((place, None) for place in gone), *((None, place) for place in new)]


def _is_other(one: Id, other: Id, a: Call, b: Call) -> bool:
    if one.short == other.short:
        return False
    common = (_is_common(one, b), _is_common(other, a))
    # A later run may find the day of an earlier one in its data: both must have received them.
    is_day = one.short[0] == other.short[0] == _DAY
    return all(common) if is_day else any(common)
