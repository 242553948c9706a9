"""The hub's own state: metrics, readiness, and the machines that send to it.

`/metrics` at the hub's own address needs a key and shows that key's project; all figures are on a listener of their
own (`hub serve --metrics`), which is on the loopback interface unless the option names another host.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress

from starlette.responses import Response

from localops import __version__, clock
from localops.encoding import openmetrics
from localops.encoding.openmetrics import Family, Sample, gauge
from localops.journal.sql import SCHEMA
from localops.server import senders as all_senders
from localops.server.keys import ADMIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localops.reading.facts import Facts
    from localops.server.event_stream import EventStreams
    from localops.server.limits import Shares
    from localops.server.request import Call
    from localops.server.survey import Held, Survey
    from localops.server.threads import Service
    from localops.server.troubles import Health

# The most projects and senders in one answer: projects by name, senders with the longest silence first.
_MOST_PROJECTS, _MOST_SENDERS = 1_000, 2_000
# Seconds after a failed write until the hub itself tries: a proxy that believes it is not ready would send nothing
# that could succeed.
_REFUSED = 30.0
_PARTS = ("keys", "journals", "rows", "disk")


class OperatorApi:
    """Handlers for monitoring."""

    def __init__(
        self, service: Service, shares: Shares, streams: EventStreams, health: Health, survey: Survey, folder: str
    ) -> None:
        self._service, self._shares, self._streams = service, shares, streams
        self._health, self._survey, self._folder = health, survey, folder
        # Set by the server that runs the application.
        self.connections: Callable[[], int] = lambda: 0
        self.is_leaving: Callable[[], bool] = lambda: False

    async def ready(self, _: Call) -> Response:
        """Report whether the hub takes rows now."""
        status, facts = await self._service.read(self.readiness)
        return self._service.answer(facts, status)

    async def metrics(self, call: Call) -> Response:
        """Return the figures of the key's project; for a key with the scope `admin`, those of the whole hub."""
        older = not openmetrics.wants_openmetrics(call.request.headers.get("accept", ""))
        senders = call.param("senders") == "1"
        if call.by is not None and call.by.may(ADMIN):
            families = self.everything(projects=call.param("projects") == "1", senders=senders)
        else:
            families = self.of_projects({call.owner}, senders=senders)
        body = openmetrics.text(families, older=older)
        kind = openmetrics.PROMETHEUS if older else openmetrics.OPENMETRICS
        return Response(body, 200, {"Cache-Control": "no-store", "Content-Type": kind})

    async def senders(self, call: Call) -> Response:
        """Return the machines that send to the project of the key."""
        return self._service.answer(await self.senders_of(call))

    async def senders_of(self, call: Call) -> Facts:
        """Return the machines that send to a project, the longest silence first."""
        # A key for the hub as a whole has no project of its own.
        names = [call.owner] if call.owner else await self._service.read(self._service.store.projects)
        read, store = self._service.read, self._service.store
        senders = [(name, sender) for name in names for sender in await read(store.senders, name)]
        senders.sort(key=lambda pair: pair[1].last_ns)
        now = clock.now_ns()
        return {"senders": [all_senders.facts(name, sender, now) for name, sender in senders[:_MOST_SENDERS]]}

    async def health(self) -> tuple[int, Facts]:
        """Return the status and the facts of `/health`."""
        status, facts = self._service.condition(await self._service.problems())
        if warnings := await self._service.read(self._health.warnings):
            facts["warnings"] = warnings
        return status, facts

    def readiness(self, *, look: bool = True) -> tuple[int, Facts]:
        """Return the status and the facts of `/ready`; without `look`, from what is known."""
        problems: list[str] = []
        if self.is_leaving():
            problems.append("shutting down")
        elif not self._health.has_looked:
            problems.append("starting: keys and journals are being opened")
        else:
            problems += self._health.obstacles(look=look)
            if not problems and self._service.refuses(_REFUSED, look=look):
                problems.append("rows or files could not be stored")
        facts: Facts = {"status": "not ready" if problems else "ready", "problems": problems}
        if warnings := self._service.store.warnings():
            facts["warnings"] = warnings
        return 503 if problems else 200, facts

    def close(self) -> None:
        """End the background work."""
        self._survey.close()

    # Figures

    def everything(self, *, projects: bool, senders: bool) -> list[Family]:
        """Return the figures of the hub; of its projects and their senders only if asked."""
        held = self._survey.held()
        families = [*self._service.metrics.totals(), *self._now(), *self._of_storage(held), *_of_process()]
        if projects or senders:
            known = sorted({*held, *self._service.metrics.known_projects()})
            names = known[:_MOST_PROJECTS]
            left_out = len(known) - len(names)
            families.append(gauge("localops_hub_projects_left_out", "Projects that are not listed.", left_out))
            families += self.of_projects(set(names), senders=senders, only_senders=not projects)
        return families

    def _now(self) -> Iterator[Family]:
        """Yield the figures of the moment: requests, threads, queues."""
        service = self._service
        about = "What runs or waits now: reads, writes, writes that wait for another of their project, streams."
        at_work = {
            "reads": service.reads,
            "writes": service.writes,
            "waiting_writes": service.waiting_writes,
            "streams": self._streams.many,
        }
        samples = [Sample(many, {"what": what}) for what, many in at_work.items()]
        yield Family("localops_hub_at_work", "gauge", about, samples)
        yield gauge("localops_hub_connections", "Open connections.", self.connections())
        yield gauge(
            "localops_hub_unread_bytes", "Bytes of responses that clients have not read yet.", self._shares.unread
        )
        yield gauge("localops_hub_waiting_bytes", "Bytes of bodies that are being received.", self._shares.waiting)
        status, _ = self.readiness(look=False)
        yield gauge("localops_hub_ready", "1 if the hub takes rows now.", status == 200)
        parts = self._health.parts
        up = [Sample(not parts[part], {"part": part}) for part in _PARTS if part in parts]
        yield Family("localops_hub_up", "gauge", "1 if a part was well when it was looked at last.", up)
        yield gauge(
            "localops_hub_build_info",
            "The release of the hub, and the schema of its journals.",
            1,
            version=__version__,
            schema=str(SCHEMA),
            python=platform.python_version(),
        )

    def _of_storage(self, held: dict[str, Held]) -> Iterator[Family]:
        """Yield how much is stored; no totals before every project was read once."""
        with suppress(OSError):
            disk = os.statvfs(self._folder)
            yield gauge(
                "localops_hub_disk_size_bytes", "Bytes of the data folder's file system.", disk.f_frsize * disk.f_blocks
            )
            yield gauge("localops_hub_disk_free_bytes", "Bytes of it that are free.", disk.f_frsize * disk.f_bavail)
        yield from self._survey.beneath
        if not self._survey.is_whole:
            return
        whole = list(held.values())
        yield gauge("localops_hub_projects", "Projects that can be read.", len(whole))
        yield gauge("localops_hub_sessions", "Sessions that are stored.", sum(each.sessions for each in whole))
        yield gauge("localops_hub_held_rows", "Rows that are stored.", sum(each.rows for each in whole))
        yield gauge("localops_hub_journal_bytes", "Bytes of all journals.", sum(each.size for each in whole))

    def of_projects(self, names: set[str], *, senders: bool, only_senders: bool = False) -> list[Family]:
        """Return the figures of some projects, and of the machines that send to them."""
        if senders:
            self._survey.want_senders()
        held = {name: each for name, each in self._survey.held().items() if name in names}
        families = [] if only_senders else [*self._service.metrics.projects(names), *_of_held(held)]
        return [*families, *_of_senders(held)] if senders else families


def _of_held(held: dict[str, Held]) -> Iterator[Family]:
    figures = (
        ("sessions", "Sessions by project.", "sessions"),
        ("held_rows", "Rows by project.", "rows"),
        ("journal_bytes", "Bytes of the journal by project.", "size"),
    )
    for name, about, column in figures:
        samples = [Sample(getattr(each, column), {"project": project}) for project, each in sorted(held.items())]
        yield Family(f"localops_hub_project_{name}", "gauge", about, samples)


def _of_senders(held: dict[str, Held]) -> Iterator[Family]:
    now = clock.now_ns()
    silent_first = sorted(
        ((project, sender) for project, each in held.items() for sender in each.senders),
        key=lambda pair: pair[1].last_ns,
    )
    silence, lag, rows = [], [], []
    for project, sender in silent_first[:_MOST_SENDERS]:
        labels = {"project": project, "machine": sender.host or "unknown", "journal": sender.journal}
        silence.append(Sample(max(0.0, round((now - sender.last_ns) / 1e9, 3)), labels))
        rows.append(Sample(sender.rows, labels))
        if sender.lag_ns is not None:
            lag.append(Sample(round(sender.lag_ns / 1e9, 3), labels))
    yield Family("localops_hub_sender_silence_seconds", "gauge", "Seconds since the last rows of a machine.", silence)
    yield Family("localops_hub_sender_lag_seconds", "gauge", "How old its newest row was when it came.", lag)
    yield Family("localops_hub_sender_rows", "gauge", "Rows that have come from it.", rows)
    left_out = len(silent_first) - len(silence)
    yield gauge("localops_hub_senders_left_out", "Machines that are not listed.", left_out)


def _of_process() -> Iterator[Family]:
    """Yield figures of this process, under the names that Prometheus' own clients give them."""
    used = os.times()
    yield Family(
        "process_cpu_seconds",
        "counter",
        "Processor time of the hub.",
        [Sample(round(used.user + used.system, 2), {}, "_total")],
    )
    yield gauge("process_start_time_seconds", "When the hub was started, in seconds since 1970.", _STARTED)
    # Other systems than Linux have no such files.
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
        yield gauge("process_resident_memory_bytes", "Memory of the hub.", pages * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError):
        yield gauge("process_open_fds", "Open files and connections.", len(os.listdir("/proc/self/fd")))
    with suppress(ImportError, OSError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most != resource.RLIM_INFINITY:
            yield gauge("process_max_fds", "Most files and connections that may be open.", most)


def _start_time() -> float:
    """Return when this process began, in seconds since 1970."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as file:
            up = float(file.read().split()[0])
        return round(time.time() - up + ticks / os.sysconf("SC_CLK_TCK"), 2)
    except (OSError, ValueError, IndexError):
        return round(time.time(), 2)


_STARTED = _start_time()
