"""What charts are drawn from: one session's figures over time and by size, and those of many by day and by size.

Every bar of many sessions comes with the filter of the list that leads to the sessions behind it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import add

from localops import analytics, output
from localops.analytics import Totals
from localops.server import facts
from localops.server.timeline import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo
    from typing import Any

    from localops.analytics import Chosen
    from localops.home import Project
    from localops.reader import Reader
    from localops.server.catalogue import Catalogue
    from localops.server.facts import Facts

_BUCKETS = 120  # over a session's time
_TOP = 10
_SECOND = 1_000_000_000
# A day's figures behind its number of sessions, as columns of a catalogue have them and in the order of analytics.Line.
_SUMS = "events failed tokens_in tokens_out tokens_cached tokens_reasoning cost unpriced seconds".split()
# Where bars begin: 1, 2, 5, 10 … of a thousandth of a second, and of a ten-thousandth of a dollar.
_TIMES = [0, *(factor * 10**power for power in range(6, 15) for factor in (1, 2, 5))]
_COSTS = [0, *(factor * 10**power for power in range(5, 13) for factor in (1, 2, 5))]


# One session


def of_session(reader: Reader, session: bytes) -> Facts:
    """Kinds over time, how long calls took, the slowest and the dearest of them."""
    found = ask(reader, "work", session=session)
    more = dict(reader.all("later_prices", session=session)) if found else {}
    priced = [row if row[7] not in more else (*row[:4], (row[4] or 0) + more[row[7]], *row[5:]) for row in found]
    calls = [row for row in priced if row[1] in ("llm", "tool")]
    return {
        **_over_time(reader, session, priced),
        "latency": {kind: _latency([row[3] for row in calls if row[1] == kind]) for kind in ("llm", "tool")},
        "slowest": [_call(reader, row) for row in sorted(calls, key=lambda row: -row[3])[:_TOP]],
        "dearest": [
            _call(reader, row) for row in sorted((row for row in calls if row[4]), key=lambda row: -row[4])[:_TOP]
        ],
        **{
            f"by_{dim}": [facts.part(dim, part) for part in parts]
            for dim, parts in (
                ("model", analytics.parts(reader, session, "model")),
                ("tool", analytics.parts(reader, session, "tool")),
                ("agent", analytics.agents(reader, session)),
            )
        },
    }


def _over_time(reader: Reader, session: bytes, found: Sequence[tuple[Any, ...]]) -> Facts:
    figures = analytics.totals(reader, session)
    first = figures.first_ns
    step = max(1_000, -(-(figures.last_ns - first + 1) // _BUCKETS))
    many = max(1, -(-(figures.last_ns - first + 1) // step))
    kinds: dict[str, list[int]] = {}
    costs = [0] * many
    for row in found:
        at = min(many - 1, max(0, (row[2] - first) // step))
        kinds.setdefault(row[1], [0] * many)[at] += 1
        if row[1] in ("llm", "tool"):
            costs[at] += row[4] or 0
    return {"t0_ns": first, "step_us": step / 1000, "buckets": many, "kinds": kinds, "cost_nano": costs}


def _latency(took: list[int]) -> Facts:
    took = sorted(took)
    counted = _counted(took, _TIMES)
    bars = [[low / _SECOND, high / _SECOND, counted[low]] for low, high in _bars(counted, _TIMES)]
    return {"calls": len(took), "bars": bars, "percentiles": _percentiles(took, _SECOND)}


def _call(reader: Reader, row: tuple[Any, ...]) -> Facts:
    seq, kind, _, took, cost, model, name, id = row
    opened = reader.one("row", id=id, phase=1)
    return {
        "entry": opened[0] if opened else seq,
        "kind": kind,
        "name": model if kind == "llm" and model else name,
        "seconds": took / _SECOND,
        **facts.money(cost),
    }


# Many sessions


def overall(catalogue: Catalogue, chosen: Chosen) -> Totals:
    """The sums of the sessions' own figures; `rows` is how many sessions they are."""
    rows = catalogue.chosen(chosen)
    return Totals(len(rows), *(sum(catalogue.values(name, rows)) for name in Totals._fields[1:13]), *[0] * 3)


class Days:
    """Sessions by the day they began, in the zone that is asked for."""

    def __init__(self, tz: str | None) -> None:
        self.tz = tz
        self._lines: dict[str, list[int]] = {}
        self._states: dict[str, Counter[str]] = defaultdict(Counter)
        self._models: dict[str, dict[str, list[int]]] = defaultdict(dict)

    def add(self, catalogue: Catalogue, project: Project, chosen: Chosen) -> None:
        """The chosen sessions of a project, and how they stand."""
        rows = catalogue.chosen(chosen)
        states = catalogue.states(project, rows)
        columns = [catalogue.values(name, rows) for name in _SUMS]
        for day, begin, end in self._runs(catalogue.values("began", rows)):
            sums = [end - begin, *(sum(column[begin:end]) for column in columns)]
            self._lines[day] = list(map(add, self._lines.get(day, [0] * len(sums)), sums))
            self._states[day].update(states[begin:end])

    def _runs(self, began: Iterable[int]) -> Iterator[tuple[str, int, int]]:
        """Which sessions one after the other began on the same day: few and long runs, as they came in order."""
        quarters = [ns // analytics.QUARTER_NS for ns in began]
        named = {quarter: self._day(quarter) for quarter in set(quarters)}
        begin = 0
        for day, run in groupby(map(named.__getitem__, quarters)):
            end = begin + sum(1 for _ in run)
            yield day, begin, end
            begin = end

    def add_models(self, reader: Reader, chosen: Chosen) -> None:
        """What the models of the chosen sessions read and cost."""
        for quarter, model, *sums in analytics.asked(reader, "quarters_by_model", chosen, dim="model"):
            known = self._models[self._day(quarter)].setdefault(model, [0] * len(sums))
            known[:] = map(sum, zip(known, sums, strict=True))

    def told(self) -> Facts:
        """Each day's figures, how its sessions ended and what its models cost."""
        return {"tz": self.tz or "UTC", "days": [self._told(day) for day in sorted(self._lines)]}

    def _told(self, day: str) -> Facts:
        names = ("events", "tokens_in", "tokens_out", "cost", "unpriced")
        by_model = [
            {"model": model, **dict(zip(names, sums, strict=True)), **facts.money(sums[3])}
            for model, sums in sorted(self._models[day].items(), key=lambda item: -item[1][3])
        ]
        for each in by_model:
            del each["cost"]
        line = analytics.Line(day, *self._lines[day])
        states = dict(self._states[day])
        return {**facts.part("day", line), "states": states, "by_model": by_model, "filter": _whole_day(day, self.tz)}

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


def distributions(took: list[int], cost: list[int]) -> Facts:
    """How long sessions took and what they cost, in bars, and exact percentiles."""
    return {
        "sessions": len(took),
        "seconds": _distribution(sorted(took), _TIMES, "seconds"),
        "cost": _distribution(sorted(cost), _COSTS, "cost"),
    }


def _distribution(ordered: list[int], edges: list[int], name: str) -> Facts:
    counted = _counted(ordered, edges)
    bars = [
        {
            "from": low / _SECOND,
            "to": high / _SECOND,
            "sessions": counted[low],
            # The list's bounds hold for what is equal to them, a bar ends before the next one begins.
            "filter": {f"min_{name}": _exact(low), f"max_{name}": _exact(high - 1)},
        }
        for low, high in _bars(counted, edges)
    ]
    return {"bars": bars, "percentiles": _percentiles(ordered, _SECOND)}


def _counted(ordered: list[int], edges: list[int]) -> Counter[int]:
    """How many values lie at each edge and before the next; what is below the first counts as that."""
    from bisect import bisect_left

    places = [0, *(bisect_left(ordered, edge) for edge in edges[1:]), len(ordered)]
    return +Counter({edge: end - begin for edge, (begin, end) in zip(edges, pairwise(places), strict=True)})


def _bars(counted: Counter[int], edges: list[int]) -> list[tuple[int, int]]:
    """The bars from the first that has something in it to the last."""
    if not counted:
        return []
    first, last = edges.index(min(counted)), edges.index(max(counted))
    ends = [*edges[1:], 10 * edges[-1]]
    return list(zip(edges[first : last + 1], ends[first : last + 1], strict=True))


def _percentiles(ordered: list[int], unit: int) -> dict[str, float]:
    found = ((share, analytics.percentile(ordered, share)) for share in analytics.SHARES)
    return {f"p{share:.0%}".rstrip("%"): value / unit for share, value in found if value is not None}


def _exact(billionths: int) -> str:
    return f"{billionths // _SECOND}.{billionths % _SECOND:09}"
