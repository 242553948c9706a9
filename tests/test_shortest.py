"""The shortest list of the differences of two trees of steps: compared with a table of all alignments."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest

from localops.reading import shortest
from localops.reading.run_diff import MARKS, RunDiff
from localops.reading.steps import Step, Steps

_DIFFERENCES = MARKS[: MARKS.index("slower")]


def _events(random: Random, size: int, words: int) -> list[dict[str, Any]]:
    """Return the events of a run with few names and arguments, so that much looks alike."""
    events: list[dict[str, Any]] = []
    for number in range(size):
        parent = random.choice(["", *(event["id"] for event in events if event["kind"] == "operation")])
        events.append(
            {
                "id": str(number),
                "seq": number,
                "kind": random.choice(["tool", "tool", "operation"]),
                "name": random.choice("xyz"[:words]),
                "params": {"n": random.randrange(words)},
                "returns": random.randrange(words),
                "failed": random.random() < 0.2,
                "finished": True,
                "parent": parent,
                "start_ns": number,
                "end_ns": number,
                "model": None,
                "cost": None,
                "tokens_in": None,
                "tokens_out": None,
            }
        )
    return events


def _changed(random: Random, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events of a run, some of them removed, changed, or moved."""
    kept = [event for event in events if random.random() < 0.9]
    changed = [{**event, "params": {"n": 9}} if random.random() < 0.1 else event for event in kept]
    return [{**event, "start_ns": event["start_ns"] + random.choice([0, 0, 0, 3])} for event in changed]


def _fewest(a: list[Step], b: list[Step]) -> int:
    """Return the length of the shortest list, by a table of all beginnings."""
    row = [0]
    for one in b:
        row.append(row[-1] + one.size)
    for one in a:
        last, row = row, [row[0] + one.size]
        for place, other in enumerate(b):
            ways = [last[place + 1] + one.size, row[place] + other.size]
            if (one.kind, one.name) == (other.kind, other.name):
                ended = [(step.failed, step.result) for step in (one, other)]
                own = (one.given != other.given) + (ended[0] != ended[1])
                ways.append(last[place] + own + _fewest(one.inside, other.inside))
            row.append(min(ways))
    return row[-1]


def _length(diff: RunDiff) -> int:
    """Return the number of differences if what has moved counts as removed and added, as in the search."""
    length = within = 0
    for line in diff.lines:
        if within and line.depth >= within:
            continue
        within = 0
        if line.a is not None and line.b is not None and line.moved:
            length += line.a.size + line.b.size
            within = line.depth + 1
        else:
            length += sum(mark in _DIFFERENCES for mark in line.marks)
    return length


@pytest.mark.parametrize("words", [1, 2, 3])
def test_no_list_is_shorter(words: int) -> None:
    """Of runs that have something in common and of runs that have not."""
    for seed in range(40):
        random = Random(seed * 10 + words)
        first = _events(random, random.randrange(25), words)
        second = _changed(random, first) if seed % 2 else _events(random, random.randrange(25), words)
        a, b = Steps(first), Steps(second)
        diff = RunDiff(a, b)
        assert diff.is_exact
        assert _length(diff) == _fewest(a.roots, b.roots), seed
        assert sum(diff.counts[mark] for mark in _DIFFERENCES) <= _length(diff)
        assert {line.a for line in diff.lines if line.a} == set(a.all)
        assert {line.b for line in diff.lines if line.b} == set(b.all)


def test_too_many_differences_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is then one of all differences still, and does not claim to be the shortest."""
    for seed, most in zip(range(40), count(1), strict=False):
        monkeypatch.setattr(shortest, "MOST", most)
        random = Random(seed)
        a, b = Steps(_events(random, 20, 2)), Steps(_events(random, 20, 2))
        diff = RunDiff(a, b)
        fewest = _fewest(a.roots, b.roots)
        assert _length(diff) >= fewest
        assert _length(diff) == fewest or not diff.is_exact
        assert {line.a for line in diff.lines if line.a} == set(a.all)
        assert {line.b for line in diff.lines if line.b} == set(b.all)


def test_of_lists_of_one_length_that_with_more_equal_steps_is_taken() -> None:
    """One removed and one added step leave another unchanged; two changed ones would be as many differences."""
    base = _events(Random(1), 1, 1)[0]

    def run(*arguments: int) -> Steps:
        return Steps([{**base, "id": str(n), "start_ns": n, "params": {"n": n}} for n in arguments])

    diff = RunDiff(run(1, 2), run(2, 3))
    assert (diff.counts["removed"], diff.counts["added"], diff.same) == (1, 1, 1)
