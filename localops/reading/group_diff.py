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
    sides = [_estimate(len(values), *given_scores.t_interval(values)) if values else None for values in both]
    return {"a": sides[0], "b": sides[1], "difference": _difference_of_means(*both) if all(both) else None}


def _estimate(count: int, mean: float, low: float | None, high: float | None) -> Facts:
    return {"count": count, "mean": mean, "low": low, "high": high}


def _difference_of_means(one: Sequence[float], other: Sequence[float]) -> Facts:
    """Return by how much the second mean is greater, with Welch's interval, if both groups have several sessions."""
    by = math.fsum(other) / len(other) - math.fsum(one) / len(one)
    if min(len(one), len(other)) < 2:
        return {"by": by, "low": None, "high": None}
    parts = [_variance(values) / len(values) for values in (one, other)]
    if not sum(parts):
        return {"by": by, "low": by, "high": by}
    # Scaled, as the squares of small numbers would underflow.
    shares = [part / sum(parts) for part in parts]
    freedom = 1 / sum(share**2 / (len(values) - 1) for share, values in zip(shares, (one, other), strict=True))
    # Rounded down, so that the interval becomes wider, never narrower.
    spread = given_scores.t_quantile(max(1, int(freedom))) * math.sqrt(sum(parts))
    return {"by": by, "low": by - spread, "high": by + spread}


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _shares(one: tuple[int, int], other: tuple[int, int]) -> Facts:
    sides = [_estimate(count, *given_scores.wilson(hits, count)) if count else None for hits, count in (one, other)]
    a, b = sides
    difference = None
    if a is not None and b is not None:
        by = b["mean"] - a["mean"]
        low = by - math.hypot(b["mean"] - b["low"], a["high"] - a["mean"])
        high = by + math.hypot(b["high"] - b["mean"], a["mean"] - a["low"])
        difference = {"by": by, "low": low, "high": high}
    return {"a": a, "b": b, "difference": difference}


def _scores(a: Sequence[Average], b: Sequence[Average]) -> list[Facts]:
    """Return the averages of scores of both groups, one line for each name, author and type."""
    lines: dict[tuple[object, ...], Facts] = {}
    for side, averages in (("a", a), ("b", b)):
        for one in averages:
            key = (one.name, one.of, one.author, one.type, one.label)
            about = {"name": one.name, "of": one.of, "by": one.author, "type": one.type, "label": one.label}
            line = lines.setdefault(key, {**about, "a": None, "b": None})
            line[side] = _estimate(one.many, one.mean, one.low, one.high)
    return [lines[key] for key in sorted(lines, key=str)]
