"""Pair the steps of two runs so that the list of their differences is the shortest one, where they differ little.

A step without a partner costs what it is, with all steps inside: each of them is a difference.  A pair of one kind and
name costs one for other arguments, one for another end or result, and what the shortest list inside of both has; of
pairs that cost as much, those that were given the same or nearly the same.  The
cheapest beginnings are followed first (A*), equal steps at once, so that the work grows with the square of the
differences and not with the product of the lengths.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from itertools import accumulate

from localops.reading.parallel import in_order_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.reading.alignment import Pair
    from localops.reading.steps import Step

# Beginnings that are followed for two runs: some 0.1 s.
MOST = 20_000
# Levels of steps inside of steps, of two that may or may not belong together.
_DEEPEST = 50
# A difference. Of lists of one length, that with more equal pairs is taken, then that with more pairs, and then that
# whose pairs were given what is more alike.
_ONE = 1 << 48
_ALONE, _UNEQUAL = 2 << 24, 3 << 24
# Of a pair that was given nothing alike; of all of a run together less than one of the above.
_UNLIKE = 1 << 8


class _TooFar(Exception):
    """There are too many differences."""


class Shortest:
    """The search for two runs, which remembers what it has compared."""

    def __init__(self) -> None:
        self._left = MOST
        self._costs: dict[tuple[int, int], int] = {}

    def pairs(self, a: Sequence[Step], b: Sequence[Step]) -> list[Pair] | None:
        """Return the indexes of steps that belong together, ascending; None where there are too many differences."""
        if len(a) == len(b) == 1 and _may_pair(a[0], b[0]):
            return [(0, 0)]
        # What one search leaves is for the steps inside.
        kept = self._left // 3
        self._left -= kept
        try:
            return self._search(a, b, 0)[1]
        except _TooFar:
            return None
        finally:
            self._left += kept

    def _search(self, a: Sequence[Step], b: Sequence[Step], depth: int) -> tuple[int, list[Pair]]:
        """Return the cost of the cheapest alignment, and its pairs."""
        start = _common(a, b, 1)
        end = _common(a[start:], b[start:], -1)
        middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
        if not middle_a or not middle_b:
            middle: list[Pair] = []
            cost = sum(step.size * _ONE + _ALONE for step in (*middle_a, *middle_b))
        elif _least(middle_a, middle_b) ** 2 > self._left:
            raise _TooFar
        else:
            cost, middle = self._cheapest(middle_a, middle_b, depth)
        pairs = [(place, place) for place in range(start)]
        pairs += [(start + one, start + other) for one, other in middle]
        pairs += [(len(a) - left, len(b) - left) for left in range(end, 0, -1)]
        return cost, pairs

    def _cheapest(self, a: Sequence[Step], b: Sequence[Step], depth: int) -> tuple[int, list[Pair]]:
        # The steps that are left from each place on: at least their difference in number has no partner.
        left_a, left_b = ([*accumulate((step.size for step in reversed(steps)), initial=0)][::-1] for steps in (a, b))
        # A place in both is one number: the steps of `b` before it times `wide`, and those of `a`.
        wide = len(a) + 1
        goal = wide * len(b) + len(a)
        before: dict[int, int] = {}
        # Of each: a lower bound of the whole, the place, the cost so far, the place before it, and whether it is a pair
        # whose own cost is not known yet.  Of two with one bound, the one that is farther on is followed.
        heap = [(abs(left_a[0] - left_b[0]) * _ONE, 0, 0, 0, False)]

        def add(cost: int, i: int, j: int, origin: int) -> None:
            heappush(heap, (cost + abs(left_a[i] - left_b[j]) * _ONE, -(wide * j + i), cost, origin, False))

        while True:
            bound, place, cost, origin, is_open = heappop(heap)
            place = -place
            j, i = divmod(place, wide)
            if is_open:
                add(cost + self._cost(a[i], b[j], depth + 1), i + 1, j + 1, place)
            elif place not in before:
                before[place] = origin
                place, is_met = _along_equal(a, b, place, before)
                if place == goal:
                    return cost, _way_to(goal, before, wide)
                if is_met:
                    continue
                self._spend()
                j, i = divmod(place, wide)
                if i < len(a):
                    add(cost + a[i].size * _ONE + _ALONE, i + 1, j, place)
                if j < len(b):
                    add(cost + b[j].size * _ONE + _ALONE, i, j + 1, place)
                if i < len(a) and j < len(b) and _may_pair(a[i], b[j]):
                    heappush(heap, (max(bound, cost + _ONE + _UNEQUAL), -place, cost, place, True))

    def _cost(self, a: Step, b: Step, depth: int) -> int:
        """Return what a pair costs that is not equal."""
        both = (a.ordered, b.ordered)
        cost = self._costs.get(both)
        if cost is None:
            if depth > _DEEPEST:
                raise _TooFar
            self._spend()
            own = (a.given != b.given) + (a.failed != b.failed or a.result != b.result)
            cost = own * _ONE + _UNEQUAL + unlikeness(a, b) + self._inside(a, b, depth)
            self._costs[both] = cost
        return cost

    def _inside(self, a: Step, b: Step, depth: int) -> int:
        return self._search(a.inside, in_order_of(a.inside, b.inside), depth)[0]

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooFar


def unlikeness(a: Step, b: Step) -> int:
    """Return how much of what two steps were given is not in both, in parts of _UNLIKE."""
    if a.given == b.given:
        return 0
    one, other = a.words, b.words
    every = len(one | other)
    return _UNLIKE - _UNLIKE * len(one & other) // every if every else _UNLIKE


def _may_pair(a: Step, b: Step) -> bool:
    return a.keys[0] == b.keys[0]


def _common(a: Sequence[Step], b: Sequence[Step], direction: int) -> int:
    """Return how many equal steps two lists begin or end with; to pair them never costs more."""
    pairs = enumerate(zip(a[::direction], b[::direction], strict=False))
    differing = (place for place, (one, other) in pairs if one.ordered != other.ordered)
    return next(differing, min(len(a), len(b)))


def _least(a: Sequence[Step], b: Sequence[Step]) -> int:
    """Return a lower bound of the number of differences: steps that have no equal one."""
    counts = Counter(step.keys[-1] for step in a)
    counts.subtract(step.keys[-1] for step in b)
    return max(sum(many for many in counts.values() if many > 0), -sum(many for many in counts.values() if many < 0))


def _along_equal(a: Sequence[Step], b: Sequence[Step], place: int, before: dict[int, int]) -> tuple[int, bool]:
    """Return the place behind the equal steps at a place, and whether another way has been there: to pair them is best.

    Each place on the way is noted in `before`.
    """
    wide = len(a) + 1
    j, i = divmod(place, wide)
    while i < len(a) and j < len(b) and a[i].ordered == b[j].ordered:
        i, j = i + 1, j + 1
        if (after := wide * j + i) in before:
            return after, True
        before[after] = place
        place = after
    return place, False


def _way_to(goal: int, before: dict[int, int], wide: int) -> list[Pair]:
    """Return the pairs on the way to the end."""
    pairs = []
    place = goal
    while place:
        origin = before[place]
        if place - origin == wide + 1:
            j, i = divmod(origin, wide)
            pairs.append((i, j))
        place = origin
    return pairs[::-1]
