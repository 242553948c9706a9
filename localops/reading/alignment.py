"""Align two sequences with the fewest differences; each element is a tuple of keys, from coarse to fine.

Two elements agree down to the finest key that they share, so each key must include the coarser ones.  The alignment
maximizes the number of agreeing keys; a repeated key counts each time.  With one key per element, this is a longest
common subsequence (LCS); with several, it is the LCS of the two concatenated sequences of keys, computed with a bit
for each key (Hyyrö, 2004).
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

# An alignment is exact up to this product of the numbers of keys in both sequences: 7,700 elements of three keys in
# each take 0.4 s, and a third of these bits, 22 MB.
MOST_BITS = 1 << 29
# Elements of each sequence to align at a time, if an exact alignment would exceed the limit.
WINDOW = 1_000


def align(a: Sequence[Keys], b: Sequence[Keys]) -> Alignment:
    """Return which elements of two sequences correspond."""
    start = _common_prefix(a, b)
    end = _common_prefix(a[start:][::-1], b[start:][::-1])
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    is_exact = _bits(middle_a, middle_b) <= MOST_BITS
    middle = _exact(middle_a, middle_b) if is_exact else _approximate(middle_a, middle_b)
    pairs = [(place, place) for place in range(start)]
    pairs += [(start + one, start + other) for one, other in middle]
    pairs += [(len(a) - left, len(b) - left) for left in range(end, 0, -1)]
    return Alignment(pairs, is_exact)


def _common_prefix(a: Sequence[Keys], b: Sequence[Keys]) -> int:
    """Return the length of the common prefix, whose elements can always be paired."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(a), len(b)))


def same_start(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts.

    >>> same_start("prompts", "prompted")
    6
    """
    # Bisection, because slices are compared in C, and prompts are long.
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
    until = [0, *accumulate(map(len, a))]  # the number of keys in each prefix of `a`

    def agreeing(i: int, j: int) -> int:
        """Return how many keys agree in the best alignment of the first `i` and the first `j` elements."""
        return until[i] - (rows[j] & ((1 << until[i]) - 1)).bit_count()

    pairs = []
    i, j = len(a), len(b)
    best = agreeing(i, j)
    while best:
        if a[i - 1] != b[j - 1]:
            # Leave an element unpaired rather than pair it with one that agrees only in part, if that costs nothing:
            # more of the other pairs then agree fully.
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
    """Return for each prefix of `b` a number with a bit for each key of `a`: 0 if that key adds an agreement."""
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


def _approximate(a: Sequence[Keys], b: Sequence[Keys]) -> list[Pair]:
    """Return the pairs of an approximate alignment, in bounded time and memory.

    First pair elements that occur once in each sequence, in the longest sequence that is ascending in both.
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
    """Return the longest ascending sequence of pairs of elements that occur exactly once in each sequence."""
    once_a, once_b = ({keys for keys, many in Counter(elements).items() if many == 1} for elements in (a, b))
    place_in_b = {keys: place for place, keys in enumerate(b) if keys in once_b}
    candidates = [(place, place_in_b[keys]) for place, keys in enumerate(a) if keys in once_a and keys in place_in_b]
    # For each length, the candidate with the least place that ends such a sequence; and each candidate's predecessor.
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
