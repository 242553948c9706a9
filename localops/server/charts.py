"""What charts are drawn from: one session's figures over time and by size, and those of many by day and by size.

Every bar of many sessions comes with the filter of the list that leads to the sessions behind it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

from localops import analytics, output
from localops.server import facts
from localops.server.timeline import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo
    from typing import Any

    from localops.analytics import Chosen
    from localops.home import Project
    from localops.reader import Reader
    from localops.server.facts import Facts

_BUCKETS = 120  # over a session's time
_TOP = 10
_OPEN = 2_000  # sessions that nobody has ended, looked at one by one
_SECOND = 1_000_000_000
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


def daily(projects: Iterable[Project], chosen: Chosen, tz: str | None) -> Facts:
    """Each day's figures, how its sessions ended and what its models cost."""
    lines: dict[str, list[analytics.Line]] = defaultdict(list)
    states: dict[str, Counter[str]] = defaultdict(Counter)
    models: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for project in projects:
        for line in analytics.across(project.reader, "day", chosen, tz=tz):
            lines[line.value].append(line)
        for quarter, state, many in analytics.asked(project.reader, "quarters_by_state", chosen):
            states[_day(quarter * analytics.QUARTER_NS, tz)][state] += many
        for session, first_ns in analytics.asked(project.reader, "undecided", chosen)[:_OPEN]:
            states[_day(first_ns, tz)][project.standing(session).state] += 1
        for quarter, model, *sums in analytics.asked(project.reader, "quarters_by_model", chosen, dim="model"):
            known = models[_day(quarter * analytics.QUARTER_NS, tz)].setdefault(model, [0] * len(sums))
            known[:] = map(sum, zip(known, sums, strict=True))
    return {"tz": tz or "UTC", "days": [_told(day, lines[day], states[day], models[day], tz) for day in sorted(lines)]}


def _told(
    day: str, lines: list[analytics.Line], states: Counter[str], models: dict[str, list[int]], tz: str | None
) -> Facts:
    line = analytics.Line(day, *map(sum, zip(*(each[1:] for each in lines), strict=True)))
    names = ("events", "tokens_in", "tokens_out", "cost", "unpriced")
    by_model = [
        {"model": model, **dict(zip(names, sums, strict=True)), **facts.money(sums[3])}
        for model, sums in sorted(models.items(), key=lambda item: -item[1][3])
    ]
    for each in by_model:
        del each["cost"]
    return {**facts.part("day", line), "states": dict(states), "by_model": by_model, "filter": _whole_day(day, tz)}


def _day(ns: int, tz: str | None) -> str:
    return output.when(ns, tz)[:10]


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


def distributions(readers: Iterable[Reader], chosen: Chosen) -> Facts:
    """How long sessions took and what they cost, in bars, and exact percentiles."""
    found = [row for reader in readers for row in analytics.asked(reader, "extents", chosen)]
    took, cost = [row[0] for row in found], [row[1] for row in found]
    return {
        "sessions": len(found),
        "seconds": _distribution(took, _TIMES, "seconds"),
        "cost": _distribution(cost, _COSTS, "cost"),
    }


def _distribution(values: list[int], edges: list[int], name: str) -> Facts:
    counted = _counted(values, edges)
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
    return {"bars": bars, "percentiles": _percentiles(values, _SECOND)}


def _counted(values: Iterable[int], edges: list[int]) -> Counter[int]:
    """How many values lie at each edge and before the next."""
    from bisect import bisect_right

    return Counter(edges[bisect_right(edges, max(0, value)) - 1] for value in values)


def _bars(counted: Counter[int], edges: list[int]) -> list[tuple[int, int]]:
    """The bars from the first that has something in it to the last."""
    if not counted:
        return []
    first, last = edges.index(min(counted)), edges.index(max(counted))
    ends = [*edges[1:], 10 * edges[-1]]
    return list(zip(edges[first : last + 1], ends[first : last + 1], strict=True))


def _percentiles(values: list[int], unit: int) -> dict[str, float]:
    found = ((share, analytics.percentile(values, share)) for share in analytics.SHARES)
    return {f"p{share:.0%}".rstrip("%"): value / unit for share, value in found if value is not None}


def _exact(billionths: int) -> str:
    return f"{billionths // _SECOND}.{billionths % _SECOND:09}"
