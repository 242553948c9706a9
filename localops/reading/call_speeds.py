"""The speed of calls, by model, tool or kind: exact percentiles of durations, tokens per second, time to the first
token, and the share of the input that came from a cache.

Each figure is computed from the finished calls that have the data for it, including failed ones; None without any.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain

from localops.encoding import encode
from localops.reading import analytics, call_query
from localops.reading.calls import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from localops.reading.call_query import Source
    from localops.reading.facts import Facts

# The possible groupings, and which of them the calls of a kind are named by.
BY = ("model", "tool", "kind")
_NAMED_BY = {"llm": "model", "tool": "tool"}
_NAMES = tuple(f"p{share:.0%}".rstrip("%") for share in analytics.SHARES)
_SECOND = 1_000_000_000


@dataclass
class Speed:
    """The figures of some calls; durations in nanoseconds."""

    took: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)  # until the first token, for calls that have it
    tokens_out: int = 0  # of calls that have both tokens and a writing time, which is the next field
    writing_ns: int = 0
    tokens_cached: int = 0  # of calls that report them; the next field is the input of the same calls
    tokens_in: int = 0

    def add(self, took: str, first: str | None, *sums: int) -> None:
        """Add the calls of a row of the statement `speeds`."""
        self.took += _numbers(took)
        self.first += _numbers(first)
        for name, value in zip(_SUMS, sums, strict=True):
            setattr(self, name, getattr(self, name) + value)

    def join(self, others: Iterable[Speed]) -> Speed:
        """Set the figures to those of all calls of others, whose values are sorted; the result is sorted, too."""
        listed = list(others)
        self.took = sorted(chain.from_iterable(other.took for other in listed))
        self.first = sorted(chain.from_iterable(other.first for other in listed))
        for name in _SUMS:
            setattr(self, name, sum(getattr(other, name) for other in listed))
        return self

    def facts(self) -> Facts:
        """Return the figures as JSON; the values must be sorted."""
        return {
            "percentiles": _percentiles(self.took),
            "first_token": _percentiles(self.first),
            "tokens_per_second": self.tokens_out / (self.writing_ns / _SECOND) if self.writing_ns else None,
            "cache_hit_rate": self.tokens_cached / self.tokens_in if self.tokens_in else None,
        }


_SUMS = ("tokens_out", "writing_ns", "tokens_cached", "tokens_in")


class Speeds:
    """The figures of the calls of some projects by model, tool and kind, from one pass over the calls."""

    def __init__(self, sources: Iterable[Source]) -> None:
        named: dict[str, dict[int | None, Speed]] = defaultdict(lambda: defaultdict(Speed))
        for kind, key, *figures in chain.from_iterable(map(call_query.speeds, sources)):
            named[kind][key].add(*figures)
        self._facts: dict[tuple[str, int], Facts] = {}
        for kind, by in _NAMED_BY.items():
            for key, speed in named[kind].items():
                speed.took.sort()
                speed.first.sort()
                # Calls of an unknown model count only for their kind.
                if key is not None:
                    self._facts[by, key] = speed.facts()
            self._facts["kind", digest(kind)] = Speed().join(named[kind].values()).facts()

    def facts(self, by: str, name: str | None) -> Facts:
        """Return the figures of a model, a tool or a kind as JSON."""
        return self._facts.get((by, digest(name or ""))) or Speed().facts()


def _numbers(text: str | None) -> list[int]:
    numbers: list[int] = encode.loads(f"[{text}]") if text else []
    return numbers


def _percentiles(values: list[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {name: analytics.rank(values, share) / 1e9 for name, share in zip(_NAMES, analytics.SHARES, strict=True)}
