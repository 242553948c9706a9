"""Find the steps of a run that have no order between them: parallel steps end, and often begin, in another order in
each run.

Two steps inside the same step have no order if

- they overlapped in time;
- overlapping steps filled the time between them, and none of these lasted the whole time: then both are steps of
  parallel branches, and a branch may be faster in one run and slower in the next;
- in one run, the first overlapped with a step that precedes the second in both runs, and in the other run, the second
  overlapped with a step that precedes the first in both runs;
- of the steps in another order, nearly all are very short, the pauses between them are shorter than a thread may wait
  for its turn, and some overlapped.

A step that lasts the whole time between two others proves nothing about these, as a program may run steps one after
another beside a long call.  Two steps are ordered if they are ordered in both runs.
"""

from __future__ import annotations

from collections import defaultdict, deque
from functools import cached_property
from itertools import accumulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence
    from typing import Protocol, TypeVar

    class Timed(Protocol):
        """A step with a time, and keys from coarse to fine."""

        @property
        def start_ns(self) -> int:
            """Return when it began."""

        @property
        def end_ns(self) -> int | None:
            """Return when it ended, if it has."""

        @property
        def keys(self) -> tuple[Hashable, ...]:
            """Return its keys: its name, its name and input, …, and all of this with the steps inside."""

    T = TypeVar("T", bound=Timed)

# How many steps before a step are searched for overlapping ones.
_EARLIER = 200
# A step is moved past at most this many others to match the order of the other run.
_FARTHEST = 1_000
# The longest duration of a quick step; at most one in this many steps of a burst may be slower; and the longest pause,
# which is how long Python lets a thread wait for its turn.
_QUICK_NS, _OFTEN_QUICK, _PAUSE_NS = 1_000_000, 4, 5_000_000
# Between steps in another order, up to this many may keep their place by chance.
_APART = 3
_NO_END = 1 << 63
_ENDED = 2
_LEVELS = (-1, 1, 0)  # the keys by which steps of two runs are paired, in this order


class Times:
    """The times of a list of steps, which are in the order they began."""

    def __init__(self, steps: Sequence[Timed]) -> None:
        self._starts = [step.start_ns for step in steps]
        self._ends = [_NO_END if step.end_ns is None else step.end_ns for step in steps]

    def unordered(self, one: int, other: int) -> bool:
        """Return whether two steps overlapped, or overlapping steps filled the time between them."""
        starts, ends = self._starts, self._ends
        first, second = min(one, other), max(one, other)
        reach = end = ends[first]
        until = starts[second]
        if until < end:
            return True
        for place in range(max(0, first - _EARLIER), second):
            if starts[place] >= reach:
                return False
            if starts[place] >= end or ends[place] <= until:
                reach = max(reach, ends[place])
            if reach > until:
                return True
        return False

    def is_before(self, one: int, other: int) -> bool:
        """Return whether a step ended before another one began."""
        return self._ends[one] <= self._starts[other]

    def beside(self, one: int) -> Iterator[int]:
        """Yield the steps that overlapped with a step."""
        starts, ends = self._starts, self._ends
        start, end = starts[one], ends[one]
        for place in range(max(0, one - _EARLIER), min(len(starts), one + _EARLIER)):
            if starts[place] >= end:
                return
            if ends[place] > start and place != one:
                yield place

    def is_burst(self, first: int, last: int) -> bool:
        """Return whether nearly all steps in a range are quick, without pauses between, and some overlapped."""
        breaks, overlaps, slow = self._counts
        many = slow[last + 1] - slow[first]
        return (
            breaks[first + 1] == breaks[last + 1]
            and overlaps[first + 1] < overlaps[last + 1]
            and many * _OFTEN_QUICK <= last + 1 - first
        )

    @cached_property
    def _counts(self) -> tuple[list[int], list[int], list[int]]:
        """Return the numbers of pauses, of overlaps and of slow steps before each step."""
        breaks: list[int] = []
        overlaps: list[int] = []
        slow: list[int] = []
        latest = 0
        for start, end in zip(self._starts, self._ends, strict=True):
            breaks.append(start - latest > _PAUSE_NS)
            overlaps.append(start < latest)
            slow.append(end - start > _QUICK_NS)
            # Long steps do not count, as they run beside the others.
            latest = max(latest, end) if end - start <= _PAUSE_NS else latest
        breaks, overlaps, slow = (list(accumulate(each, initial=0)) for each in (breaks, overlaps, slow))
        return breaks, overlaps, slow


def overlap(steps: Sequence[Timed]) -> bool:
    """Return whether any two steps of a list overlapped."""
    latest = 0
    for step in steps:
        if step.start_ns < latest:
            return True
        latest = _NO_END if step.end_ns is None else max(latest, step.end_ns)
    return False


def in_order_of(a: Sequence[T], b: Sequence[T]) -> Sequence[T]:
    """Return the steps of `b` in the order of `a`, as far as the steps that change places have no order."""
    if len(b) < 2:
        return b
    if not overlap(a) and not overlap(b):
        return b
    pairs = _Pairs(partners(a, b), Times(a), Times(b))
    order: list[int] = []
    for place, wanted in enumerate(pairs.wanted):
        to = at = len(order)
        while at and len(order) - at < _FARTHEST:
            other = order[at - 1]
            before = pairs.partners[other]
            if (before is not None and before < wanted) or not pairs.unordered(other, place):
                break
            at -= 1
            if before is not None:
                to = at
        order.insert(to, place)
    return [b[place] for place in order]


def partners(a: Sequence[Timed], b: Sequence[Timed]) -> list[int | None]:
    """Return for each step of `b` the place of the step of `a` that shares the finest key, or None."""
    of_b: list[int | None] = [None] * len(b)
    taken: set[int] = set()
    for level in _LEVELS:
        free: dict[Hashable, deque[int]] = defaultdict(deque)
        for place, step in enumerate(a):
            if place not in taken:
                free[step.keys[level]].append(place)
        for place, step in enumerate(b):
            if of_b[place] is None and (places := free.get(step.keys[level])):
                partner = of_b[place] = places.popleft()
                taken.add(partner)
    return of_b


class _Pairs:
    """The paired steps of two runs."""

    def __init__(self, partners: list[int | None], a: Times, b: Times) -> None:
        self._a, self._b = a, b
        self.partners = partners
        self._of_a = {partner: place for place, partner in enumerate(partners) if partner is not None}
        self._bursts = _bursts(partners, a, b)

    @property
    def wanted(self) -> list[float]:
        """Return the wanted place of each step: its partner's, or just before that of the next step with a partner."""
        wanted: list[float] = []
        following: float = len(self.partners) + max(self._of_a, default=0)
        for partner in reversed(self.partners):
            following = following if partner is None else partner
            wanted.append(following if partner is not None else following - 0.5)
        return wanted[::-1]

    def unordered(self, first: int, second: int) -> bool:
        """Return whether two steps of the second run have no order, in that run or in the first."""
        burst = self._bursts[first]
        if (burst is not None and burst == self._bursts[second]) or self._b.unordered(first, second):
            return True
        one, other = self.partners[first], self.partners[second]
        if one is None or other is None:
            return False
        return self._a.unordered(one, other) or self._are_in_branches(first, second)

    def _are_in_branches(self, first: int, second: int) -> bool:
        """Return whether the steps are in parallel branches, as each overlapped with a predecessor of the other.

        One of these predecessors must have ended before the other step began, in both runs: otherwise it may be a long
        call beside both, such as a stream.
        """
        one, other = self.partners[first], self.partners[second]
        assert one is not None
        assert other is not None
        of_b = ((self.partners[place], place) for place in self._b.beside(first))
        of_a = ((place, self._of_a.get(place)) for place in self._a.beside(other))
        earlier = (self._earlier(of_b, other, second), self._earlier(of_a, one, first))
        return min(earlier) > 0 and max(earlier) == _ENDED

    def _earlier(self, pairs: Iterable[tuple[int | None, int | None]], one: int, other: int) -> int:
        """Return 2 if a pair of steps ended before two steps in both runs, 1 if it only began before them, else 0."""
        known = [(in_a, in_b) for in_a, in_b in pairs if in_a is not None and in_b is not None]
        if any(self._a.is_before(in_a, one) and self._b.is_before(in_b, other) for in_a, in_b in known):
            return _ENDED
        return int(any(in_a < one and in_b < other for in_a, in_b in known))


def _bursts(partners: Sequence[int | None], a: Times, b: Times) -> list[int | None]:
    """Return for each step the burst that it belongs to, or None."""
    bursts: list[int | None] = [None] * len(partners)
    for first, last in _reordered_ranges(partners):
        of_a = [partner for partner in partners[first : last + 1] if partner is not None]
        if a.is_burst(min(of_a), max(of_a)) or b.is_burst(first, last):
            bursts[first : last + 1] = [first] * (last + 1 - first)
    return bursts


def _reordered_ranges(partners: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield ranges (first, last) of steps that are in another order in the first run, with a few steps between them.

    The steps before and after each range are the same in both runs.
    """
    places = [place for place, partner in enumerate(partners) if partner is not None]
    known = [partner for partner in partners if partner is not None]
    begin, end = 0, -_APART
    start = 0
    for last, (reach, ranked) in enumerate(zip(accumulate(known, max), sorted(known), strict=True)):
        if reach != ranked:
            continue
        if start < last:
            if start - end > _APART:
                if end > 0:
                    yield places[begin], places[end]
                begin = start
            end = last
        start = last + 1
    if end > 0:
        yield places[begin], places[end]
