"""The figures of charts across sessions: by day, and as histograms.

Every bar has the filter that lists its sessions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import add

from localops import output
from localops.journal.rows import FIGURES, TOTALS
from localops.reading import analytics, facts
from localops.reading.analytics import Totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    from localops.journal.reader import Reader
    from localops.reading.analytics import Chosen
    from localops.reading.facts import Facts
    from localops.reading.home import Project
    from localops.server.session_index import SessionIndex

_SECOND = 1_000_000_000
# A day's sums after its number of sessions: columns of the index, in the order of analytics.Line.
_SUMS = (*FIGURES[:-1], "seconds")
# Columns that show whether the cost of a session is known, and the cost.
OF_COST = ("cost", "unpriced", "llms")
# Of the costs of the sessions of a day.
_SHARES = (0.5, 0.9)
# Lower edges of bars: 1, 2, 5, 10 … thousandths of a second, and ten-thousandths of a dollar.
_TIMES = [0, *(factor * 10**power for power in range(6, 15) for factor in (1, 2, 5))]
_COSTS = [0, *(factor * 10**power for power in range(5, 13) for factor in (1, 2, 5))]


def sums(index: SessionIndex, rows: Sequence[int]) -> Totals:
    """Return the sums of the figures of the sessions in some rows."""
    return Totals(len(rows), *index.sums(TOTALS[1:], rows), *[0] * 3)


class Days:
    """Figures by the day on which sessions started, in a time zone."""

    def __init__(self, tz: str | None) -> None:
        self.tz = tz
        self._lines: dict[str, list[int]] = {}
        self._states: dict[str, Counter[str]] = defaultdict(Counter)
        self._models: dict[str, dict[str, list[int]]] = defaultdict(dict)
        self._costs: dict[str, list[int]] = defaultdict(list)

    def add(self, index: SessionIndex, project: Project, rows: Sequence[int]) -> None:
        """Add the sessions in some rows of a project's index."""
        states = index.states(project, rows)
        columns = [index.values(name, rows) for name in _SUMS]
        of_cost = [index.values(name, rows) for name in OF_COST]
        for day, begin, end in self._runs(index.values("began", rows)):
            sums = [end - begin, *(sum(column[begin:end]) for column in columns)]
            self._lines[day] = list(map(add, self._lines.get(day, [0] * len(sums)), sums))
            self._states[day].update(states[begin:end])
            self._costs[day] += priced(*(column[begin:end] for column in of_cost))

    def _runs(self, began: Iterable[int]) -> Iterator[tuple[str, int, int]]:
        """Return runs of consecutive sessions that started on the same day."""
        # Sessions are mostly in the order of their start, so there are few and long runs.
        quarters = [ns // analytics.QUARTER_NS for ns in began]
        named = {quarter: self._day(quarter) for quarter in set(quarters)}
        begin = 0
        for day, run in groupby(map(named.__getitem__, quarters)):
            end = begin + sum(1 for _ in run)
            yield day, begin, end
            begin = end

    def add_models(self, reader: Reader, chosen: Chosen) -> None:
        """Add the tokens and costs of the models in the chosen sessions."""
        for quarter, model, *sums in analytics.query_report(reader, "quarters_by_model", chosen, dim="model"):
            known = self._models[self._day(quarter)].setdefault(model, [0] * len(sums))
            known[:] = map(sum, zip(known, sums, strict=True))

    def facts(self) -> Facts:
        """Return the figures, states and models of each day."""
        return {"tz": self.tz or "UTC", "days": [self._day_facts(day) for day in sorted(self._lines)]}

    def _day_facts(self, day: str) -> Facts:
        names = ("events", "tokens_in", "tokens_out", "cost", "unpriced")
        by_model = [
            {"model": model, **dict(zip(names, sums, strict=True)), **facts.money(sums[3])}
            for model, sums in sorted(self._models[day].items(), key=lambda item: -item[1][3])
        ]
        for figures in by_model:
            del figures["cost"]
        line = analytics.Line(day, *self._lines[day])
        states = dict(sorted(self._states[day].items()))
        return {
            **facts.part("day", line),
            "states": states,
            "by_model": by_model,
            "cost_per_session": _per_session(self._costs[day]),
            "filter": _whole_day(day, self.tz),
        }

    def _day(self, quarter: int) -> str:
        return output.when(quarter * analytics.QUARTER_NS, self.tz)[:10]


def _whole_day(day: str, tz: str | None) -> Facts:
    zone: tzinfo = UTC
    if tz is not None:
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(tz)
    begin = datetime.fromisoformat(day)
    return {
        "since": begin.replace(tzinfo=zone).isoformat(),
        "until": (begin + timedelta(days=1)).replace(tzinfo=zone).isoformat(),
    }


def _per_session(costs: list[int]) -> Facts | None:
    """Return what the sessions of a day cost each, of those with a known price; None without any."""
    if not costs:
        return None
    ordered = sorted(costs)
    shares = {f"p{share * 100:.0f}_nano": analytics.percentile(ordered, share) for share in _SHARES}
    return {"sessions": len(costs), "mean_nano": round(sum(costs) / len(costs)), **shares}


def priced(costs: Iterable[int], unpriced: Iterable[int], calls: Iterable[int]) -> list[int]:
    """Return the costs of sessions without those of which no call has a known price."""
    columns = zip(costs, unpriced, calls, strict=True)
    return [cost for cost, without, of in columns if cost or not without or without < of]


def distributions(took: list[int], cost: list[int], unpriced: int) -> Facts:
    """Return histograms of sessions' duration and cost, with exact percentiles."""
    return {
        "sessions": len(took),
        "seconds": _distribution(sorted(took), _TIMES, "seconds"),
        "cost": {**_distribution(sorted(cost), _COSTS, "cost"), "unpriced": unpriced},
    }


def _distribution(ordered: list[int], edges: list[int], name: str) -> Facts:
    counted = _counted(ordered, edges)
    bars = [
        {
            "from": low / _SECOND,
            "to": high / _SECOND,
            "sessions": counted[low],
            # Bounds of the list are inclusive, but a bar ends before the next one begins.
            "filter": {f"min_{name}": _exact(low), f"max_{name}": _exact(high - 1)},
        }
        for low, high in _bars(counted, edges)
    ]
    return {"bars": bars, "percentiles": _percentiles(ordered, _SECOND)}


def _counted(ordered: list[int], edges: list[int]) -> Counter[int]:
    """Count the values from each edge to before the next; smaller values count for the first."""
    from bisect import bisect_left

    places = [0, *(bisect_left(ordered, edge) for edge in edges[1:]), len(ordered)]
    return +Counter({edge: end - begin for edge, (begin, end) in zip(edges, pairwise(places), strict=True)})


def _bars(counted: Counter[int], edges: list[int]) -> list[tuple[int, int]]:
    """Return the edges of bars, from the first that is not empty to the last."""
    if not counted:
        return []
    first, last = edges.index(min(counted)), edges.index(max(counted))
    ends = [*edges[1:], 10 * edges[-1]]
    return list(zip(edges[first : last + 1], ends[first : last + 1], strict=True))


def _percentiles(ordered: list[int], unit: int) -> dict[str, float]:
    percentiles = ((share, analytics.percentile(ordered, share)) for share in analytics.SHARES)
    return {f"p{share:.0%}".rstrip("%"): value / unit for share, value in percentiles if value is not None}


def _exact(billionths: int) -> str:
    return f"{billionths // _SECOND}.{billionths % _SECOND:09}"
