"""Counters of a hub: requests, rows and bytes; exact with any number of threads.

A door calls `took` for each batch; requests are counted by `observed.py`, and `operator_api.py` makes the answer.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Tally

from localops.encoding.openmetrics import Family, Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from localops.server.exchange import Exchange

DOORS = ("sync", "read", "pages", "otlp", "agentops", "operator", "other")
"""Where requests come in: senders, programs that read, people, OpenTelemetry, AgentOps, monitoring, unknown places."""
OUTCOMES = ("stored", "known", "refused", "gone")
"""Outcomes of rows: new, already stored, invalid, or of a deleted session."""
REASONS = ("invalid", "conflict", "quota")
"""Why rows are refused; the last one counts requests, whose rows were not read."""

# Seconds: a read takes milliseconds, a large batch on a slow disk seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# The most labels of one counter; only the operator creates projects, so there are seldom more.
_MOST = 20_000


class Counter:
    """A number for each combination of labels."""

    def __init__(self, name: str, about: str, *labels: str) -> None:
        self.name, self.about, self.labels = name, about, labels
        self._lock = threading.Lock()
        self._counts: Tally[tuple[str, ...]] = Tally()

    def add(self, *values: str, by: int = 1) -> None:
        """Add to the number of some labels; beyond the most combinations, to that of `other`."""
        with self._lock:
            if values not in self._counts and len(self._counts) >= _MOST:
                values = ("other",) * len(values)
            self._counts[values] += by

    def value(self, *values: str) -> int:
        """Return the number of some labels."""
        with self._lock:
            return self._counts[values]

    def known(self) -> list[tuple[str, ...]]:
        """Return the labels with a count."""
        with self._lock:
            return list(self._counts)

    def family(self, keep: Callable[[dict[str, str]], bool] = lambda _: True) -> Family:
        """Return the samples whose labels pass a filter."""
        with self._lock:
            counts = sorted(self._counts.items())
        samples = [Sample(count, dict(zip(self.labels, values, strict=True)), "_total") for values, count in counts]
        return Family(self.name, "counter", self.about, [each for each in samples if keep(dict(each.labels))])


class _Durations:
    """The durations of one label: how many fell into each bucket, the last one for longer ones, and their sum."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0


class Histogram:
    """Durations in buckets, for each value of one label."""

    def __init__(self, name: str, about: str, label: str) -> None:
        self.name, self.about, self.label = name, about, label
        self._lock = threading.Lock()
        self._durations: dict[str, _Durations] = {}  # by label

    def add(self, value: str, seconds: float) -> None:
        """Count a duration."""
        bucket = bisect_left(_BUCKETS, seconds)
        with self._lock:
            durations = self._durations.setdefault(value, _Durations())
            durations.counts[bucket] += 1
            durations.seconds += seconds

    def family(self) -> Family:
        """Return buckets, count and sum of each label."""
        with self._lock:
            held = [(value, list(each.counts), each.seconds) for value, each in sorted(self._durations.items())]
        samples = []
        for value, counts, total in held:
            here = 0
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                here += count
                samples.append(Sample(here, {self.label: value, "le": bound}, "_bucket"))
            samples += [Sample(here, {self.label: value}, "_count"), Sample(total, {self.label: value}, "_sum")]
        return Family(self.name, "histogram", self.about, samples)


class Metrics:
    """All counters of one hub."""

    def __init__(self) -> None:
        self.requests = Counter("localops_hub_requests", "Requests, by door and class of status.", "door", "status")
        self.seconds = Histogram(
            "localops_hub_request_duration_seconds", "From the head of a request to the end of its response.", "door"
        )
        self.rows = Counter("localops_hub_rows", "Rows that arrived, by what became of them.", "outcome")
        self.refusals = Counter(
            "localops_hub_refusals", "Rows that were not taken, by reason; for a quota, requests.", "door", "reason"
        )
        self.batches = Counter("localops_hub_batches", "Batches whose rows were stored, known or refused.", "door")
        self.received = Counter("localops_hub_received_bytes", "Bytes of bodies, as they arrived.", "door")
        self.sent = Counter("localops_hub_sent_bytes", "Bytes of bodies of responses.", "door")
        self.stored = Counter(
            "localops_hub_stored_bytes", "Content of new rows in characters, and bytes of files.", "what"
        )
        self.connections = Counter("localops_hub_connections_refused", "Connections beyond the limit.")
        self.of_projects = (
            Counter("localops_hub_project_rows", "Rows by project and outcome.", "project", "outcome"),
            Counter("localops_hub_project_requests", "Requests by project.", "project", "door", "status"),
            Counter("localops_hub_project_received_bytes", "Bytes of bodies by project.", "project"),
            Counter("localops_hub_project_stored_bytes", "The same by project.", "project"),
            Counter("localops_hub_project_refusals", "Refusals by project and reason.", "project", "reason"),
        )
        # From the start, so that the first of a kind is an increase.
        for outcome in OUTCOMES:
            self.rows.add(outcome, by=0)
        for what in ("rows", "files"):
            self.stored.add(what, by=0)
        for reason in REASONS:
            for door in ("sync", "otlp", "agentops"):
                self.refusals.add(door, reason, by=0)
        self.connections.add(by=0)

    def took(
        self, project: str, door: str, *, stored: int, known: int = 0, refused: int = 0, gone: int = 0, size: int = 0
    ) -> None:
        """Count the rows of a batch; `size` is that of the content of the stored ones."""
        self.batches.add(door)
        for outcome, many in zip(OUTCOMES, (stored, known, refused, gone), strict=True):
            if many:
                self.rows.add(outcome, by=many)
                self.of_projects[0].add(project, outcome, by=many)
        self.kept(project, "rows", size)

    def refused(self, project: str, door: str, reason: str, many: int) -> None:
        """Count rows that were refused for one of REASONS, or requests beyond a quota."""
        self.refusals.add(door, reason, by=many)
        self.of_projects[4].add(project, reason, by=many)

    def kept(self, project: str, what: str, size: int) -> None:
        """Count bytes that were stored, of `rows` or of `files`."""
        if size:
            self.stored.add(what, by=size)
            self.of_projects[3].add(project, by=size)

    def over(self, exchange: Exchange, seconds: float) -> None:
        """Count a finished request."""
        status = f"{exchange.status // 100}xx" if exchange.status else "none"
        self.requests.add(exchange.door, status)
        # The duration of a stream depends on the client, not on the hub.
        if not exchange.lasting and exchange.status:
            self.seconds.add(exchange.door, seconds)
        self.received.add(exchange.door, by=exchange.received)
        self.sent.add(exchange.door, by=exchange.sent)
        if exchange.project is not None:
            self.of_projects[1].add(exchange.project, exchange.door, status)
            if exchange.received:
                self.of_projects[2].add(exchange.project, by=exchange.received)

    def totals(self) -> list[Family]:
        """Return the metrics of the whole hub."""
        counters = (
            self.requests,
            self.rows,
            self.refusals,
            self.batches,
            self.received,
            self.sent,
            self.stored,
            self.connections,
        )
        return [*(each.family() for each in counters), self.seconds.family()]

    def known_projects(self) -> set[str]:
        """Return the projects with a count."""
        return {values[0] for each in self.of_projects for values in each.known()}

    def projects(self, names: set[str]) -> list[Family]:
        """Return the metrics of some projects."""
        return [each.family(lambda labels: labels["project"] in names) for each in self.of_projects]
