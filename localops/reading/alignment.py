"""Align two sequences with the fewest differences; each element is a tuple of keys, from coarse to fine.

Two elements agree down to the finest key that they share, so a key has to stand for the coarser ones too.  The
alignment has the greatest sum of agreeing keys; a key that is given several times counts as often.  With one key, this
is a longest common subsequence; with more, it is that of the two sequences of all keys, one after the other, which is
found with a bit for each key (Hyyrö, 2004).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, namedtuple
from itertools import accumulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from typing import NamedTuple

    Keys = tuple[Hashable, ...]
    Pair = tuple[int, int]

    class Alignment(NamedTuple):
        """Pairs of indexes, ascending in both sequences, and whether no alignment has fewer differences."""

        pairs: list[Pair]
        is_exact: bool
else:
    Alignment = namedtuple("Alignment", "pairs is_exact")

# Keys of one sequence times those of the other up to which an alignment is exact: 7,700 elements of three keys in each
# take 0.4 s, and a third of these bits, 22 MB.
MOST_BITS = 1 << 29
# Elements of each sequence that are aligned at a time where an exact alignment would take more.
WINDOW = 1_000


def align(a: Sequence[Keys], b: Sequence[Keys]) -> Alignment:
    """Return which elements of two sequences belong together."""
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    is_exact = _bits(middle_a, middle_b) <= MOST_BITS
    middle = _exact(middle_a, middle_b) if is_exact else _coarse(middle_a, middle_b)
    pairs = [(place, place) for place in range(start)]
    pairs += [(start + one, start + other) for one, other in middle]
    pairs += [(len(a) - left, len(b) - left) for left in range(end, 0, -1)]
    return Alignment(pairs, is_exact)


def _common(a: Sequence[Keys], b: Sequence[Keys]) -> int:
    """Return how many elements the beginnings have in common; to pair them is never wrong."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(a), len(b)))


def same_start(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common.

    >>> same_start("prompts", "prompted")
    6
    """
    # By bisection, because slices are compared in C, and prompts are long.
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _bits(a: Sequence[Keys], b: Sequence[Keys]) -> int:
    return sum(map(len, a)) * sum(map(len, b))


def _exact(a: Sequence[Keys], b: Sequence[Keys]) -> list[Pair]:
    """Return the pairs of an alignment with the fewest differences."""
    if not a or not b:
        return []
    rows = _rows(a, b)
    until = [0, *accumulate(map(len, a))]  # the number of keys of each beginning

    def agreeing(i: int, j: int) -> int:
        """Return how many keys agree in the best alignment of the first `i` and the first `j` elements."""
        return until[i] - (rows[j] & ((1 << until[i]) - 1)).bit_count()

    pairs = []
    i, j = len(a), len(b)
    best = agreeing(i, j)
    while best:
        if a[i - 1] != b[j - 1]:
            # An element is left alone rather than paired with one that agrees only in part, if that costs nothing:
            # so more of the pairs agree fully.
            if agreeing(i - 1, j) == best:
                i -= 1
                continue
            if agreeing(i, j - 1) == best:
                j -= 1
                continue
        i, j = i - 1, j - 1
        pairs.append((i, j))
        best = agreeing(i, j)
    return pairs[::-1]


def _rows(a: Sequence[Keys], b: Sequence[Keys]) -> list[int]:
    """Return for each beginning of `b` a number with a bit for each key of `a`: 0 where one more key agrees."""
    places: dict[tuple[int, Hashable], int] = defaultdict(int)
    bit = 1
    for keys in a:
        for level_and_key in enumerate(keys):
            places[level_and_key] |= bit
            bit <<= 1
    row = all_ones = bit - 1
    rows = [row]
    for keys in b:
        for level_and_key in enumerate(keys):
            common = row & places.get(level_and_key, 0)
            if common:
                row = (row + common | row - common) & all_ones
        rows.append(row)
    return rows


def _coarse(a: Sequence[Keys], b: Sequence[Keys]) -> list[Pair]:
    """Return the pairs of an alignment that may have more differences than needed, in bounded time and memory.

    Elements that occur once in each sequence are paired first, the longest ascending row of them.
    """
    pairs: list[Pair] = []
    from_a = from_b = 0
    for one, other in [*_anchors(a, b), (len(a), len(b))]:
        pairs += ((from_a + i, from_b + j) for i, j in _in_windows(a[from_a:one], b[from_b:other]))
        if one < len(a):
            pairs.append((one, other))
        from_a, from_b = one + 1, other + 1
    return pairs


def _anchors(a: Sequence[Keys], b: Sequence[Keys]) -> list[Pair]:
    """Return the longest ascending row of pairs of elements that occur exactly once in each sequence."""
    once_a, once_b = ({keys for keys, many in Counter(elements).items() if many == 1} for elements in (a, b))
    place_in_b = {keys: place for place, keys in enumerate(b) if keys in once_b}
    candidates = [(place, place_in_b[keys]) for place, keys in enumerate(a) if keys in once_a and keys in place_in_b]
    # For each length of a row the candidate that ends it with the least place, and each candidate's predecessor.
    ends: list[int] = []
    tails: list[int] = []
    before: list[int] = []
    for index, (_, other) in enumerate(candidates):
        length = bisect_left(ends, other)
        ends[length : length + 1] = [other]
        tails[length : length + 1] = [index]
        before.append(tails[length - 1] if length else -1)
    row = []
    index = tails[-1] if tails else -1
    while index >= 0:
        row.append(candidates[index])
        index = before[index]
    return row[::-1]


def _in_windows(a: Sequence[Keys], b: Sequence[Keys]) -> Iterator[Pair]:
    """Yield pairs from exact alignments of parts; the second half of each part is aligned again with what follows."""
    i = j = 0
    while i < len(a) and j < len(b):
        pairs = _exact(a[i : i + WINDOW], b[j : j + WINDOW])
        is_last = i + WINDOW >= len(a) and j + WINDOW >= len(b)
        kept = pairs if is_last else [pair for pair in pairs if max(pair) < WINDOW // 2]
        yield from ((i + one, j + other) for one, other in kept)
        if is_last:
            return
        if kept:
            i, j = i + kept[-1][0] + 1, j + kept[-1][1] + 1
        else:
            i, j = i + WINDOW // 2, j + WINDOW // 2
