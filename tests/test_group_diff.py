"""Groups of sessions side by side: their means and intervals, against plain formulas and simulated groups."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest

from localops.reading import given_scores, group_diff
from localops.reading.group_diff import Group


def _group(costs: list[int], states: list[str], unpriced: list[int] | None = None) -> Group:
    group = Group()
    columns = {name: costs if name == "cost_usd" else [number * 10 for number in costs] for name in group_diff.FIGURES}
    group.add(columns, states, unpriced or [0] * len(costs))
    return group


def _line(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return next(line for line in facts["figures"] if line["name"] == name)


def test_means_and_shares_have_their_intervals() -> None:
    """A session without a known cost, or that runs, is in no mean that it would spoil; states give the success rate."""
    a = _group([1, 2, 3, 4], ["Success", "Success", "Failure", "Indeterminate"])
    b = _group([5, 7, 9, 100], ["Failure", "Failure", "Running", "Success"], [0, 0, 0, 2])
    facts = group_diff.facts(a, b)
    assert (facts["a"]["sessions"], facts["b"]["states"]["Running"]) == (4, 1)
    success = _line(facts, "success_rate")
    assert (success["a"]["count"], success["a"]["mean"], success["b"]["mean"]) == (3, 2 / 3, 1 / 3)
    assert (success["a"]["low"], success["a"]["high"]) == given_scores.wilson(2, 3)[1:]
    assert [line["name"] for line in facts["states"]] == ["Success", "Failure", "Indeterminate", "Running"]
    handed_over = facts["states"][2]
    assert [handed_over[side]["mean"] for side in "ab"] == [0.25, 0]
    assert (handed_over["a"]["count"], handed_over["difference"]["by"]) == (4, -0.25)
    cost = _line(facts, "cost_usd")
    assert (cost["a"]["count"], cost["b"]["count"]) == (4, 3)
    assert [cost["a"][name] * 1e9 for name in ("mean", "low", "high")] == pytest.approx([2.5, 0.4457, 4.5543], abs=1e-4)
    # By R: t.test(c(5, 7, 9), c(1, 2, 3, 4)), with 3.53 degrees of freedom taken as 3.
    assert cost["difference"]["by"] * 1e9 == pytest.approx(4.5)
    spread = 3.182446 * (4 / 3 + statistics.variance([1, 2, 3, 4]) / 4) ** 0.5
    assert cost["difference"]["high"] * 1e9 == pytest.approx(4.5 + spread, abs=1e-4)
    assert [_line(facts, "seconds")[side]["count"] for side in "ab"] == [4, 3]
    assert _line(facts, "llm_calls")["b"]["count"] == 4


def test_groups_of_one_or_none_have_no_interval() -> None:
    """A single value has a mean alone, an empty group nothing; without any spread there is no doubt."""
    empty, one, same = _group([], []), _group([3], ["Success"]), _group([2, 2], ["Failure", "Failure"])
    cost = _line(group_diff.facts(one, same), "cost_usd")
    assert (cost["a"]["low"], cost["difference"]["low"]) == (None, None)
    assert cost["difference"]["by"] == pytest.approx(-1e-9)
    certain = _line(group_diff.facts(same, _group([3, 3], ["Success"] * 2)), "cost_usd")["difference"]
    assert (certain["low"], certain["high"]) == (pytest.approx(1e-9), pytest.approx(1e-9))
    none = _line(group_diff.facts(empty, one), "errors")
    assert (none["a"], none["difference"]) == (None, None)
    assert _line(group_diff.facts(empty, one), "success_rate")["difference"] is None


def test_an_interval_has_the_true_difference_in_95_of_100_cases() -> None:
    """Of means and of shares, for groups of other sizes and spreads."""
    chance = random.Random(4)
    inside = {"cost_usd": 0, "success_rate": 0}
    rounds = 400
    for _ in range(rounds):
        sides = []
        for many, middle, spread, good in ((12, 1000, 300, 0.5), (25, 1200, 80, 0.8)):
            costs = [round(chance.gauss(middle, spread) * 1e6) for _ in range(many)]
            sides.append(_group(costs, ["Success" if chance.random() < good else "Failure" for _ in range(many)]))
        facts = group_diff.facts(*sides)
        for name, true in (("cost_usd", 0.2), ("success_rate", 0.3)):
            difference = _line(facts, name)["difference"]
            inside[name] += difference["low"] <= true <= difference["high"]
    assert all(0.92 * rounds <= many <= 0.99 * rounds for many in inside.values()), inside


def _scored(*given: tuple[str, str, Any]) -> Group:
    """Return a group with scores: the name, the type and the value of each."""
    group = _group([], [])
    group.scores = given_scores.averages(
        given_scores.Counted(
            name,
            "judge",
            0,
            kind,
            None if kind == "category" else value,
            value if kind == "category" else None,
            b"",
        )
        for name, kind, value in given
    )
    return group


def test_scores_differ_with_intervals() -> None:
    """Numbers as means do, bools and categories as shares do; a category that a group has not is 0 of its others."""
    a = _scored(*(("speed", "number", one) for one in (1, 2, 3, 4)), *[("ok", "bool", one) for one in (1, 0, 0)])
    b = _scored(*(("speed", "number", one) for one in (5, 7, 9)), ("ok", "bool", 1), ("late", "bool", 1))
    late, ok, speed = group_diff.facts(a, b)["scores"]
    spread = 3.182446 * (4 / 3 + statistics.variance([1, 2, 3, 4]) / 4) ** 0.5
    assert speed["difference"] == pytest.approx({"by": 4.5, "low": 4.5 - spread, "high": 4.5 + spread}, abs=1e-4)
    success = group_diff.facts(_group([1] * 3, ["Success", "Failure", "Failure"]), _group([1], ["Success"]))
    assert ok["difference"] == _line(success, "success_rate")["difference"]
    assert (late["a"], late["difference"]) == (None, None)
    tones = [_scored(*(("tone", "category", one) for one in given)) for given in (["rude", "kind"], ["kind"] * 8)]
    kind, rude = group_diff.facts(*tones)["scores"]
    assert (kind["difference"]["by"], rude["difference"]["by"], rude["b"]["count"]) == (0.5, -0.5, 0)
    assert rude["b"]["high"] == given_scores.wilson(0, 8)[2]
