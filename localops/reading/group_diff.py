"""Compare two groups of sessions: the means of all figures and their differences, with 95% confidence intervals.

The intervals are Student's for means, Wilson's for shares, Welch's for differences of means, and Newcombe's for
differences of shares. All assume that sessions are independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from localops.reading import given_scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from localops.reading.facts import Facts
    from localops.reading.given_scores import Average

# The figures of a session, by their names in totals, with their units: durations and costs are in billionths.
FIGURES = {
    "seconds": 10**9,
    "cost_usd": 10**9,
    "llm_calls": 1,
    "tool_calls": 1,
    "actions": 1,
    "errors": 1,
    "tokens_in": 1,
    "tokens_out": 1,
}


@dataclass
class Group:
    """A group of sessions: for each figure the values of the sessions that have it, and the numbers of states."""

    values: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    states: dict[str, int] = field(default_factory=dict)
    scores: list[Average] = field(default_factory=list)

    def add(self, columns: Mapping[str, Sequence[int]], states: Sequence[str], unpriced: Sequence[int]) -> None:
        """Add sessions; skip the duration of running ones, and the cost of those with unpriced calls."""
        for state in states:
            self.states[state] = self.states.get(state, 0) + 1
        left_out = {
            "seconds": [state == "Running" for state in states],
            "cost_usd": [many > 0 for many in unpriced],
        }
        for name, column in columns.items():
            skipped = left_out.get(name, [False] * len(column))
            self.values[name] += [value for value, is_out in zip(column, skipped, strict=True) if not is_out]

    @property
    def sessions(self) -> int:
        """Return the number of sessions."""
        return sum(self.states.values())

    @property
    def success(self) -> tuple[int, int]:
        """Return how many succeeded, and how many succeeded or failed."""
        good = self.states.get("Success", 0)
        return good, good + self.states.get("Failure", 0)


def facts(a: Group, b: Group) -> Facts:
    """Return the figures of two groups side by side."""
    lines = [{"name": "success_rate", **_shares(a.success, b.success)}]
    lines += [
        {"name": name, **_means([[value / unit for value in each.values[name]] for each in (a, b)])}
        for name, unit in FIGURES.items()
    ]
    return {
        **{side: {"sessions": each.sessions, "states": each.states} for side, each in (("a", a), ("b", b))},
        "figures": lines,
        "states": _states(a, b),
        "scores": _scores(a.scores, b.scores),
    }


def _states(a: Group, b: Group) -> list[Facts]:
    """Return for each state its share of the sessions of both groups, the most frequent state first."""
    counts = {state: a.states.get(state, 0) + b.states.get(state, 0) for state in [*a.states, *b.states]}
    return [
        {"name": state, **_shares(*((group.states.get(state, 0), group.sessions) for group in (a, b)))}
        for state in sorted(counts, key=lambda state: -counts[state])
    ]


def _means(both: Sequence[Sequence[float]]) -> Facts:
    return _compared(*(_estimate(len(values), *given_scores.t_interval(values)) if values else None for values in both))


def _estimate(count: int, mean: float, low: float | None, high: float | None) -> Facts:
    return {"count": count, "mean": mean, "low": low, "high": high}


def _compared(a: Facts | None, b: Facts | None, *, are_shares: bool = False) -> Facts:
    """Return two estimates with their difference, if both groups have one."""
    if a is None or b is None:
        return {"a": a, "b": b, "difference": None}
    return {"a": a, "b": b, "difference": (_difference_of_shares if are_shares else _difference_of_means)(a, b)}


def _difference_of_means(a: Facts, b: Facts) -> Facts:
    """Return by how much the second mean is greater, with Welch's interval, if both groups have several values."""
    by = b["mean"] - a["mean"]
    if min(a["count"], b["count"]) < 2:
        return {"by": by, "low": None, "high": None}
    errors = [(one["high"] - one["mean"]) / given_scores.t_quantile(one["count"] - 1) for one in (a, b)]
    error = math.hypot(*errors)
    if not error:
        return {"by": by, "low": by, "high": by}
    # Scaled, as the squares of small numbers would underflow.
    parts = [(each / error) ** 4 / (one["count"] - 1) for each, one in zip(errors, (a, b), strict=True)]
    # Rounded down, so that the interval becomes wider, never narrower.
    spread = given_scores.t_quantile(max(1, int(1 / sum(parts)))) * error
    return {"by": by, "low": by - spread, "high": by + spread}


def _difference_of_shares(a: Facts, b: Facts) -> Facts:
    by = b["mean"] - a["mean"]
    low = by - math.hypot(b["mean"] - b["low"], a["high"] - a["mean"])
    high = by + math.hypot(b["high"] - b["mean"], a["mean"] - a["low"])
    return {"by": by, "low": low, "high": high}


def _shares(*both: tuple[int, int]) -> Facts:
    sides = [_estimate(count, *given_scores.wilson(hits, count)) if count else None for hits, count in both]
    return _compared(*sides, are_shares=True)


def _scores(a: Sequence[Average], b: Sequence[Average]) -> list[Facts]:
    """Return the averages of scores of both groups, one line for each name, author and type, or category."""
    sides = [{(one.name, one.of, one.author, one.type, one.label): one for one in averages} for averages in (a, b)]
    lines = []
    for name, of, author, kind, label in sorted({*sides[0], *sides[1]}, key=str):
        about = {"name": name, "of": of, "by": author, "type": kind, "label": label}
        key = (name, of, author, kind)
        estimates = [_score(averages.get((*key, label)), averages, key) for averages in sides]
        lines.append({**about, **_compared(*estimates, are_shares=kind != "number")})
    return lines


def _score(one: Average | None, averages: Mapping[tuple[Any, ...], Average], key: tuple[str, ...]) -> Facts | None:
    """Return the estimate of a score; of a category that a group has not, its share is 0 of the other categories."""
    if one is not None:
        return _estimate(one.many, one.mean, one.low, one.high)
    others = sum(each.many for about, each in averages.items() if about[:-1] == key)
    return _estimate(0, *given_scores.wilson(0, others)) if others else None
