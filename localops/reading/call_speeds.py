"""The speed of calls, by model, tool or kind: exact percentiles of durations, tokens per second, time to the first
token, and the share of the input that came from a cache.

Each figure is computed from the finished calls that have the data for it, including failed ones; None without any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from localops.encoding import encode
from localops.reading import analytics, call_query
from localops.reading.calls import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localops.reading.call_query import Source
    from localops.reading.facts import Facts

# The possible groupings.
BY = ("model", "tool", "kind")
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


_SUMS = ("tokens_out", "writing_ns", "tokens_cached", "tokens_in")


class Speeds:
    """The figures of the calls of some projects, by the names of models, tools or kinds."""

    def __init__(self, sources: Iterable[Source], by: str) -> None:
        self._by_key: dict[int, Speed] = {}
        lines = chain.from_iterable(call_query.speeds(source, by) for source in sources)
        for key, name, *figures in lines:
            # A model's or tool's name may be cut, but has a key; a kind has none.
            self._by_key.setdefault(digest(name) if key is None else key, Speed()).add(*figures)

    def facts(self, name: str | None) -> Facts:
        """Return the figures of a model, a tool or a kind as JSON."""
        speed = self._by_key.get(digest(name or ""), Speed())
        return {
            "percentiles": _percentiles(speed.took),
            "first_token": _percentiles(speed.first),
            "tokens_per_second": speed.tokens_out / (speed.writing_ns / _SECOND) if speed.writing_ns else None,
            "cache_hit_rate": speed.tokens_cached / speed.tokens_in if speed.tokens_in else None,
        }


def _numbers(text: str | None) -> list[int]:
    numbers: list[int] = encode.loads(f"[{text}]") if text else []
    return numbers


def _percentiles(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {name: analytics.rank(ordered, share) / 1e9 for name, share in zip(_NAMES, analytics.SHARES, strict=True)}
