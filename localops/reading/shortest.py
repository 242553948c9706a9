"""Pair the steps of two runs so that the list of differences is shortest, if the runs differ little.

An unpaired step costs one for itself and for each step inside it.  A pair must have the same kind and name; it costs
one for other arguments, one for another outcome or result, and the cost of the shortest list for the steps inside.
Pairs of the same cost are ordered by how similar their inputs are.  The search (A*) extends the cheapest beginning
first and pairs equal steps at once, so its work grows with the square of the differences, not with the product of the
lengths.
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

# Beginnings to extend for two runs, which takes about 0.1 s.
MOST = 20_000
# The most levels of nested steps to compare within a possible pair.
_DEEPEST = 50
# The cost of a difference. Of lists of one length, the one with more equal pairs is better, then the one with more
# pairs, then the one with more similar inputs.
_ONE = 1 << 48
_UNPAIRED, _UNEQUAL = 2 << 24, 3 << 24
# The cost of a pair with completely different inputs; summed up over a run, it is less than one of the above.
_UNLIKE = 1 << 8


class _TooFar(Exception):
    """The runs have too many differences."""


class Shortest:
    """The search for two runs, which caches the costs of compared pairs."""

    def __init__(self) -> None:
        self._left = MOST
        self._costs: dict[tuple[int, int], int] = {}

    def pairs(self, a: Sequence[Step], b: Sequence[Step]) -> list[Pair] | None:
        """Return the indexes of paired steps, ascending; None if there are too many differences."""
        if len(a) == len(b) == 1 and _may_pair(a[0], b[0]):
            return [(0, 0)]
        # Keep a third for the searches in nested steps.
        kept = self._left // 3
        self._left -= kept
        try:
            return self._search(a, b, 0)[1]
        except _TooFar:
            return None
        finally:
            self._left += kept

    def _search(self, a: Sequence[Step], b: Sequence[Step], depth: int) -> tuple[int, list[Pair]]:
        """Return the cost and the pairs of the cheapest alignment."""
        start = _common(a, b, 1)
        end = _common(a[start:], b[start:], -1)
        middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
        if not middle_a or not middle_b:
            middle: list[Pair] = []
            cost = sum(step.size * _ONE + _UNPAIRED for step in (*middle_a, *middle_b))
        elif _least(middle_a, middle_b) ** 2 > self._left:
            raise _TooFar
        else:
            cost, middle = self._cheapest(middle_a, middle_b, depth)
        pairs = [(place, place) for place in range(start)]
        pairs += [(start + one, start + other) for one, other in middle]
        pairs += [(len(a) - left, len(b) - left) for left in range(end, 0, -1)]
        return cost, pairs

    def _cheapest(self, a: Sequence[Step], b: Sequence[Step], depth: int) -> tuple[int, list[Pair]]:
        # The number of remaining steps from each place; at least the difference of both numbers stays unpaired.
        left_a, left_b = ([*accumulate((step.size for step in reversed(steps)), initial=0)][::-1] for steps in (a, b))
        # A place in both lists is one number: `wide` times the index in `b`, plus the index in `a`.
        wide = len(a) + 1
        goal = wide * len(b) + len(a)
        before: dict[int, int] = {}
        # Entries: a lower bound of the total cost, the negative place, the cost so far, the previous place, and whether
        # it is a pair of unknown cost.  Of entries with the same bound, the one that is farthest comes first.
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
                place, is_met = _skip_equal(a, b, place, before)
                if place == goal:
                    return cost, _pairs_on_path(goal, before, wide)
                if is_met:
                    continue
                self._count_step()
                j, i = divmod(place, wide)
                if i < len(a):
                    add(cost + a[i].size * _ONE + _UNPAIRED, i + 1, j, place)
                if j < len(b):
                    add(cost + b[j].size * _ONE + _UNPAIRED, i, j + 1, place)
                if i < len(a) and j < len(b) and _may_pair(a[i], b[j]):
                    heappush(heap, (max(bound, cost + _ONE + _UNEQUAL), -place, cost, place, True))

    def _cost(self, a: Step, b: Step, depth: int) -> int:
        """Return the cost of a pair of unequal steps."""
        both = (a.ordered, b.ordered)
        cost = self._costs.get(both)
        if cost is None:
            if depth > _DEEPEST:
                raise _TooFar
            self._count_step()
            own = (a.given != b.given) + (a.failed != b.failed or a.result != b.result)
            cost = own * _ONE + _UNEQUAL + unlikeness(a, b) + self._inside(a, b, depth)
            self._costs[both] = cost
        return cost

    def _inside(self, a: Step, b: Step, depth: int) -> int:
        return self._search(a.inside, in_order_of(a.inside, b.inside), depth)[0]

    def _count_step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _TooFar


def unlikeness(a: Step, b: Step) -> int:
    """Return how different the inputs of two steps are, from 0 to _UNLIKE."""
    if a.given == b.given:
        return 0
    one, other = a.words, b.words
    every = len(one | other)
    return _UNLIKE - _UNLIKE * len(one & other) // every if every else _UNLIKE


def _may_pair(a: Step, b: Step) -> bool:
    return a.keys[0] == b.keys[0]


def _common(a: Sequence[Step], b: Sequence[Step], direction: int) -> int:
    """Return the number of equal steps at the beginning or end of two lists; pairing them never costs more."""
    pairs = enumerate(zip(a[::direction], b[::direction], strict=False))
    differing = (place for place, (one, other) in pairs if one.ordered != other.ordered)
    return next(differing, min(len(a), len(b)))


def _least(a: Sequence[Step], b: Sequence[Step]) -> int:
    """Return a lower bound of the number of differences: the steps without an equal one."""
    counts = Counter(step.keys[-1] for step in a)
    counts.subtract(step.keys[-1] for step in b)
    return max(sum(many for many in counts.values() if many > 0), -sum(many for many in counts.values() if many < 0))


def _skip_equal(a: Sequence[Step], b: Sequence[Step], place: int, before: dict[int, int]) -> tuple[int, bool]:
    """Return the place after the equal steps at a place, and whether another path reached it; pairing them is optimal.

    Each place on the path is added to `before`.
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


def _pairs_on_path(goal: int, before: dict[int, int], wide: int) -> list[Pair]:
    """Return the pairs on the path to the end."""
    pairs = []
    place = goal
    while place:
        origin = before[place]
        if place - origin == wide + 1:
            j, i = divmod(origin, wide)
            pairs.append((i, j))
        place = origin
    return pairs[::-1]
