"""Alignments: as good as the best that a plain search finds, and bounded where that would take too long."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from itertools import pairwise
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops.reading import alignment
from localops.reading.alignment import align

Keys = tuple[Hashable, ...]
Pair = tuple[int, int]

_KEYS = st.builds(
    lambda a, b, c: (a, (a, b), *[(a, b, c)] * (c + 1)), st.sampled_from("xy"), st.integers(0, 2), st.integers(0, 2)
)


def _agreeing(a: list[Keys], b: list[Keys], pairs: list[Pair]) -> int:
    return sum(one == other for i, j in pairs for one, other in zip(a[i], b[j], strict=False))


def _most(a: list[Keys], b: list[Keys]) -> int:
    """Return how many keys agree in the best alignment, by a table of all beginnings."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, _ in enumerate(a):
        for j, _ in enumerate(b):
            best[i + 1][j + 1] = max(best[i][j + 1], best[i + 1][j], best[i][j] + _agreeing(a, b, [(i, j)]))
    return best[-1][-1]


def _is_ascending(pairs: list[Pair]) -> bool:
    return all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))


@given(st.lists(_KEYS, max_size=8), st.lists(_KEYS, max_size=8))
def test_no_alignment_is_better(a: list[Keys], b: list[Keys]) -> None:
    """The pairs ascend, agree in the coarsest key at least, and have as many agreeing keys as can be."""
    pairs, is_exact = align(a, b)
    assert is_exact
    assert _is_ascending(pairs)
    assert all(a[i][0] == b[j][0] for i, j in pairs)
    assert _agreeing(a, b, pairs) == _most(a, b)


@given(st.lists(_KEYS, max_size=30), st.lists(_KEYS, max_size=30))
def test_a_coarse_alignment_is_one(a: list[Keys], b: list[Keys]) -> None:
    """Beyond the limit the pairs still ascend, agree, and are within the sequences."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "MOST_BITS", 0)
        patch.setattr(alignment, "WINDOW", 4)
        pairs, is_exact = align(a, b)
    rest = min(len(a), len(b)) - len(pairs)
    assert not (is_exact and rest and _most(a, b) > _agreeing(a, b, pairs))
    assert _is_ascending(pairs)
    assert all(a[i][0] == b[j][0] for i, j in pairs)


def test_a_coarse_alignment_finds_what_stayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long insertion at the beginning and a few elsewhere do not lose what follows them."""
    monkeypatch.setattr(alignment, "MOST_BITS", 0)
    monkeypatch.setattr(alignment, "WINDOW", 10)
    a = [(name, name) for name in range(500)]
    b = [(-name, -name) for name in range(1, 101)] + [keys for keys in a if keys[0] % 50]
    pairs, is_exact = align(a, b)
    assert not is_exact
    assert len(pairs) == 490
    assert all(a[i] == b[j] for i, j in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_a_part_ends_where_its_pairs_are_certain(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Where no element occurs only once, what was inserted at the edge of a part does not lose what follows."""
    monkeypatch.setattr(alignment, "MOST_BITS", 0)
    monkeypatch.setattr(alignment, "WINDOW", 10)
    random = Random(seed)
    a = [(random.randrange(20),) for _ in range(400)]
    b = [keys for place, keys in enumerate(a) for keys in [*[(random.randrange(20),)] * (place % 30 == 0) * 4, keys]]
    assert len(align(a, b).pairs) == 400


def test_equal_elements_are_preferred_to_similar_ones() -> None:
    """Where two alignments have as few differences, the one with more equal elements is taken."""
    s1, s2, s3 = (("s", ("s", number)) for number in (1, 2, 3))
    assert align([s1, s2], [s2, s3]).pairs == [(1, 0)]
    assert align([s1, s2], [s2, s1]).pairs in ([(0, 1)], [(1, 0)])
    assert align([s1], [s2]).pairs == [(0, 0)]


def test_empty_sequences_have_no_pairs() -> None:
    """Nothing belongs together where there is nothing."""
    assert align([], []) == ([], True)
    assert align([], [("a",)]) == ([], True)
    assert align([("a",)], []) == ([], True)


def _lines_run(a: list[Keys], b: list[Keys]) -> int:
    """Return how many lines of the module an alignment runs."""
    lines = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != alignment.__file__:
            return None
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        align(a, b)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(("names", "arguments"), [(1, 10), (20, 1000), (5000, 1)])
def test_two_long_runs_take_a_few_operations_for_each_element(names: int, arguments: int) -> None:
    """5,000 by 5,000 elements that differ everywhere take no more than some lines of code for each of them."""

    def elements(first: int) -> list[Keys]:
        numbers = [(first + number * 7919) % 99_991 for number in range(5000)]
        return [(n % names, (n % names, n % arguments), (n % names, n % arguments, 0)) for n in numbers]

    assert _lines_run(elements(0), elements(12_345)) < 60 * 10_000


def test_what_is_kept_is_bounded() -> None:
    """Two runs of 20,000 elements are aligned in parts, and the alignment says so."""
    a: list[Keys] = [(number % 7, number % 1009) for number in range(20_000)]
    b: list[Keys] = [(number * 3 % 7, number * 3 % 1009) for number in range(20_000)]
    pairs, is_exact = align(a, b)
    assert not is_exact
    assert _is_ascending(pairs)
