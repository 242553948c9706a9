"""The figures of a home as metrics, for a monitoring system that reads them from a file."""

from __future__ import annotations

from collections import Counter

from localops import clock
from localops.encoding.openmetrics import Family, Sample, gauge
from localops.journal import rows
from localops.reading import analytics, session_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localops.reading.analytics import Chosen, Line, Totals
    from localops.reading.export import Run
    from localops.reading.home import Home, Project

# How many models of a project have their own samples: the most expensive ones; the others are summed up.
_MODELS = 100
_OTHERS = "(others)"
_UNKNOWN = "unknown"
_LOST = "Calls of language models that began and never ended, so that the cost is a lower bound"
_SECOND, _DOLLAR = 1_000_000_000, 1_000_000_000
# The label of each kind of tokens, by its column.
_TOKENS = {name: name.removeprefix("tokens_") for name in rows.TOKENS}


def families(home: Home) -> Iterator[Family]:
    """Yield the figures of all sessions by project, and of LLM calls by model.

    They are gauges, not counters, as pruning and deleting sessions decreases them.
    """
    projects = home.projects
    states = [(each.name, states_of(each)) for each in projects]
    samples = [
        Sample(many, {"project": name, "state": state})
        for name, counts in states
        for state, many in sorted(counts.items())
    ]
    yield Family("localops_sessions", "gauge", "Sessions, by project and state.", samples)
    yield from _total_families([(each.name, analytics.overall(each.reader, analytics.Chosen())) for each in projects])
    lost = [(each.name, each.never_ended(analytics.Chosen())) for each in projects]
    calls = [(name, [one.model or _UNKNOWN for one in begun if one.kind == "llm"]) for name, begun in lost]
    samples = [Sample(len(models), {"project": name}) for name, models in calls]
    yield Family("localops_unfinished_llm_calls", "gauge", f"{_LOST}.", samples)
    lines = [(each.name, _models(each)) for each in projects]
    yield from _model_families(lines)
    samples = [
        Sample(many, {"project": name, "model": model})
        for (name, those), (_, models) in zip(lines, calls, strict=True)
        for model, many in sorted(_in_lines(those, models).items())
    ]
    yield Family("localops_model_unfinished_calls", "gauge", f"{_LOST}, by model.", samples)
    newest = [Sample(at_ns / _SECOND, {"project": each.name}) for each in projects if (at_ns := _newest(each))]
    yield Family("localops_newest_row_timestamp_seconds", "gauge", "When the newest row was recorded.", newest)
    yield gauge("localops_written_timestamp_seconds", "When these figures were made.", clock.now_ns() // _SECOND)


def families_of(runs: Iterable[Run]) -> Iterator[Family]:
    """Yield the same figures for some sessions only, without the time when they were computed."""
    sums: dict[str, _Sums] = {}
    for run in runs:
        sums.setdefault(run.project, _Sums()).add(run)
    samples = [
        Sample(many, {"project": name, "state": state})
        for name, one in sums.items()
        for state, many in sorted(one.states.items())
    ]
    yield Family("localops_sessions", "gauge", "Sessions, by project and state.", samples)
    yield from _total_families([(name, one.totals) for name, one in sums.items()])
    samples = [Sample(one.lost.total(), {"project": name}) for name, one in sums.items()]
    yield Family("localops_unfinished_llm_calls", "gauge", f"{_LOST}.", samples)
    lines = [(name, _most_expensive(one.lines)) for name, one in sums.items()]
    yield from _model_families(lines)
    samples = [
        Sample(many, {"project": name, "model": model})
        for name, those in lines
        for model, many in sorted(_in_lines(those, list(sums[name].lost.elements())).items())
    ]
    yield Family("localops_model_unfinished_calls", "gauge", f"{_LOST}, by model.", samples)
    newest = [Sample(one.newest_ns / _SECOND, {"project": name}) for name, one in sums.items()]
    yield Family("localops_newest_row_timestamp_seconds", "gauge", "When the newest row was recorded.", newest)


class _Sums:
    """The sums over sessions of a project."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.totals = analytics.NOTHING
        self.lines: list[Line] = []
        self.lost: Counter[str] = Counter()
        self.newest_ns = 0

    def add(self, run: Run) -> None:
        """Add a session."""
        self.states[run.standing.state] += 1
        self.totals = analytics.Totals(*map(sum, zip(self.totals, run.totals, strict=True)))
        own = [
            analytics.Line(**{**part._asdict(), "value": part.value or _UNKNOWN, "sessions": 1})
            for part in run.parts["model"]
        ]
        self.lines = analytics.together("model", [*self.lines, *own])
        self.lost.update(call.model or _UNKNOWN for call in run.lost_calls)
        self.newest_ns = max(self.newest_ns, run.totals.last_ns)


def states_of(project: Project, chosen: Chosen | None = None) -> Counter[str]:
    """Return how many sessions of a project, all or the chosen ones, are in each state."""
    if chosen is None or chosen == analytics.Chosen():
        ended, left = project.ask("ended"), project.ask("not_ended")
    else:
        ended = analytics.query_report(project.reader, "decided", chosen)
        left = list(analytics.chosen_by(project.reader, "undecided", chosen).items())
    counts = Counter({state: many for state, many in ended if many})
    open_sessions = [session for session, *_ in left]
    # On a hub, open sessions are of other machines: whether they still run cannot be seen.
    if session_state.is_of_hub(project.folder) and not project.ask("behind")[0][0]:
        return counts + Counter({"Unknown": len(open_sessions)})
    return counts + Counter(project.standing(session).state for session in open_sessions)


def _total_families(totals: list[tuple[str, Totals]]) -> Iterator[Family]:
    figures = (
        ("events", "Events that have ended.", "events"),
        ("llm_calls", "Calls of language models.", "llms"),
        ("tool_calls", "Calls of tools.", "tools"),
        ("actions", "Actions and operations.", "actions"),
        ("errors", "Errors.", "errors"),
        ("failed_events", "Events that raised, or were recorded with an error.", "failed"),
        ("unpriced_calls", "Calls of language models without a known price.", "unpriced"),
    )
    for name, about, column in figures:
        samples = [Sample(getattr(sums, column), {"project": project}) for project, sums in totals]
        yield Family(f"localops_{name}", "gauge", about, samples)
    tokens = [
        Sample(getattr(sums, column), {"project": project, "kind": kind})
        for project, sums in totals
        for column, kind in _TOKENS.items()
    ]
    yield Family("localops_tokens", "gauge", "Tokens; cached ones are part of those in.", tokens)
    cost = [Sample(sums.cost / _DOLLAR, {"project": project}) for project, sums in totals]
    yield Family("localops_cost_dollars", "gauge", "Cost of all calls with a known price, in US dollars.", cost)


def _model_families(models: list[tuple[str, list[Line]]]) -> Iterator[Family]:
    lines = [({"project": project, "model": line.value}, line) for project, those in models for line in those]
    figures = (
        ("calls", "Calls by model.", "events"),
        ("failed_calls", "Calls that failed, by model.", "failed"),
        ("unpriced_calls", "Calls without a known price, by model.", "unpriced"),
    )
    for name, about, column in figures:
        samples = [Sample(getattr(line, column), labels) for labels, line in lines]
        yield Family(f"localops_model_{name}", "gauge", about, samples)
    tokens = [
        Sample(getattr(line, column), {**labels, "kind": kind})
        for labels, line in lines
        for column, kind in _TOKENS.items()
    ]
    yield Family("localops_model_tokens", "gauge", "Tokens by model.", tokens)
    cost = [Sample(line.cost / _DOLLAR, labels) for labels, line in lines]
    yield Family("localops_model_cost_dollars", "gauge", "Cost by model, in US dollars.", cost)


def _in_lines(lines: list[Line], models: list[str]) -> Counter[str]:
    """Count calls by the models of the lines, including zeros; models without a line count as `(others)`."""
    values = {line.value for line in lines}
    counts = Counter(dict.fromkeys(values, 0))
    counts.update(model if model in values else _OTHERS if _OTHERS in values else _UNKNOWN for model in models)
    return counts


def _models(project: Project) -> list[Line]:
    """Return the figures of the most expensive models, and the sums of all others."""
    lines = analytics.across(project.reader, "model", analytics.Chosen())
    return _most_expensive([line._replace(value=line.value or _UNKNOWN) for line in lines])


def _most_expensive(lines: list[Line]) -> list[Line]:
    others = analytics.together("model", [line._replace(value=_OTHERS) for line in lines[_MODELS:]])
    return [*lines[:_MODELS], *others]


def _newest(project: Project) -> int:
    return int(project.ask("newest_at")[0][0] or 0)
