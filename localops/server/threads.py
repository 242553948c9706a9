"""Threads that call the store, so that no request waits for another, and responses as JSON."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from starlette.responses import Response

from localops import __version__
from localops.encoding import encode
from localops.errors import DamagedJournal, LocalopsError
from localops.server import exchange
from localops.server.audit import Audit
from localops.server.fair_share import FairShare
from localops.server.metrics import Metrics
from localops.server.policy import Policy
from localops.server.quotas import OverQuota, Quotas
from localops.server.refusals import QUOTA, Refusals
from localops.server.request import Unavailable
from localops.server.troubles import Health
from localops.server.usage import Usage
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Any, TypeVar

    from localops.server.keys import Key, Keys
    from localops.server.limits import Limits
    from localops.server.store import Store

    T = TypeVar("T")

_READ_THREADS, _WRITE_THREADS = 8, 4
# Seconds for which `/health` reports a failed write, unless a later one succeeds, and a read of a damaged page.
_REFUSED = 900.0
# Seconds for which an attempt of the hub itself to write is believed.
_TRIED = 5.0
# What is stored: one may fail while the other works.
ROWS, FILES = "rows", "files"
_NOT_STORED = "rows or files could not be stored in the last minutes: the disk is full, or the journal is not writable"
_JOURNAL_DAMAGED = "a journal is damaged: the log of the hub says which"
# Responses that are built in memory at a time: in all, of one project.
_LARGE_AT_ONCE, _LARGE_OF_PROJECT = 2, 1
# Reads of one project that run or wait for a thread: a project's slow reads leave threads for others.
_READS_OF_PROJECT = 6


class Service:
    """The parts that all endpoints share: the store in threads, the keys and the limits."""

    def __init__(
        self,
        store: Store,
        keys: Keys | None,
        limits: Limits,
        root: str = "",
        *,
        audit_reads: bool = False,
        offers_prices: bool = False,
    ) -> None:
        self.store, self.keys, self.limits = store, keys, limits
        self.offers_prices = offers_prices
        # The path below which a proxy serves us; every link in a response begins with it.
        self.root = root
        self._large = FairShare(_LARGE_OF_PROJECT, _LARGE_AT_ONCE)
        self._reads = FairShare(_READS_OF_PROJECT)
        self._readers = ThreadPoolExecutor(_READ_THREADS, "read")
        self._writers = ThreadPoolExecutor(_WRITE_THREADS, "write")
        self._turns: dict[str, asyncio.Lock] = {}
        # When a write failed last, by project and what was written; the project is "" for bodies of requests.
        self._refused: dict[tuple[str, str], float] = {}
        # By project: when the hub tried to write last, and whether it could.
        self._tried: dict[str, tuple[float, bool]] = {}
        # When a damaged page was read last, by project; "" if a read was not of one.
        self._damaged: dict[str, float] = {}
        self.metrics = Metrics()
        self.refusals = Refusals(self.metrics)
        # Now: reads and writes in threads, and writes that wait for another one of their project.
        self.reads = self.writes = self.waiting_writes = 0
        self.usage = None if keys is None else Usage(keys.folder)
        self.policy = None if keys is None else Policy(keys.folder)
        # Of a hub: whether it can read its keys and journals, and write.
        self.health = Health(keys, store, self.policy) if keys is not None else None
        self.quotas = None
        if self.policy is not None and self.usage is not None:
            self.quotas = Quotas(self.policy, self.usage, store.stored)
            store.count_with(self.quotas.count)
        self.audit = None if keys is None else Audit(keys.folder, reads=audit_reads)
        # A thread of its own: no request waits for this file.
        self._notes = ThreadPoolExecutor(1, "audit")

    def used(self, key: Key) -> None:
        """Note that a key was used."""
        if self.usage is not None and self.usage.mark(key.sha256):
            self.soon(self.usage.save)

    def note(self, action: str, peer: str, by: Key | None = None, **facts: object) -> None:
        """Append a line to the audit log, without waiting."""
        if self.audit is not None:
            self._notes.submit(self.audit.note, action, by=by, peer=peer, **facts)

    def note_read(self, what: str, peer: str, by: Key | None = None, **facts: object) -> None:
        """Append a line about a read, if all are noted; a minute of reading the same thing is one line."""
        is_new = self.audit is not None and self.audit.reads and self.audit.is_new(what, by, peer, *facts.values())
        if is_new:
            self.note(what, peer, by, **facts)

    def large(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which a large response is built: it waits for its turn."""
        return self._large.use()

    async def read(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Run `work` in a thread for reads."""
        loop = asyncio.get_running_loop()
        self.reads += 1
        try:
            async with self._reads.use():
                return await loop.run_in_executor(self._readers, lambda: work(*arguments, **options))
        except DamagedJournal:
            self._damaged[exchange.current().project or ""] = time.monotonic()
            raise
        finally:
            self.reads -= 1

    def rate(self, project: str | None) -> float | None:
        """Return how many requests a second a project may make with all its keys; None for no limit."""
        return None if self.quotas is None or not project else self.quotas.rules(project).rate

    async def write(self, project: str, work: Callable[..., T], *arguments: Any, what: str = ROWS) -> T:
        """Run `work`, which stores rows or files, in a thread; OverQuota if the project may not store anything now."""
        await self.check_quota(project)
        result = await self.in_turn(project, work, *arguments, what=what)
        self.note_success(project, what)
        return result

    async def check_quota(self, project: str) -> None:
        """Raise OverQuota if a project may not store anything now."""
        if self.quotas is None:
            return
        rules = self.quotas.rules(project)
        if self.quotas.is_stale(project, rules):
            await self.read(self.quotas.measure, project)
        try:
            self.quotas.check(project, rules)
        except OverQuota as error:
            self.refusals.note(project, exchange.current().door, QUOTA, 1, [str(error)])
            raise

    async def in_turn(self, project: str, work: Callable[..., T], *arguments: Any, what: str = ROWS) -> T:
        """Run `work` in a thread; one at a time for a project, so that no thread blocks waiting for a journal.

        It need not store anything, so its success does not tell that something can be stored: see `note_success`.
        """
        loop = asyncio.get_running_loop()
        async with self._turn(project):
            self.writes += 1
            try:
                result = await loop.run_in_executor(self._writers, lambda: work(*arguments))
            except Unavailable:
                self.note_refusal(project, what)
                raise
            finally:
                self.writes -= 1
        return result

    @asynccontextmanager
    async def _turn(self, project: str) -> AsyncIterator[None]:
        """Wait until no other write of the project runs."""
        turn = self._turns.setdefault(project, asyncio.Lock())
        self.waiting_writes += 1
        try:
            await turn.acquire()
        finally:
            self.waiting_writes -= 1
        try:
            yield
        finally:
            turn.release()

    async def problems(self) -> list[str]:
        """Return what is wrong with a hub, without paths."""
        if self.health is None:
            return []
        problems = list(await self.read(self.health.problems))
        if not problems and self.damaged_lately():
            return [_JOURNAL_DAMAGED]
        if not problems and await self.read(self.refused_lately):
            return [_NOT_STORED]
        return problems

    def look(self) -> None:
        """Find out what a scrape reports, which itself looks at nothing."""
        if self.health is not None:
            self.health.problems()
        self.refuses(0.0)

    def condition(self, problems: Sequence[str]) -> tuple[int, dict[str, object]]:
        """Return the status and the facts of `/health`."""
        facts: dict[str, object] = {
            "status": "trouble" if problems else "ok",
            "version": __version__,
            "problems": problems,
        }
        return 503 if problems else 200, facts

    def note_refusal(self, project: str = "", what: str = ROWS) -> None:
        """Remember that a write failed: `/health` writes a small file, which may still fit on the disk."""
        self._refused[project, what] = time.monotonic()

    def note_success(self, project: str, what: str = ROWS) -> None:
        """Forget what failed: the same was stored now."""
        for healed in ((project, what), ("", ROWS)):
            self._refused.pop(healed, None)
        self._tried.pop(project, None)

    async def problems_of(self, project: str) -> list[str]:
        """Return what keeps a project from storing rows, or is wrong with what it has stored, without paths."""
        if self.health is None:
            return []
        problems = list(await self.read(self.health.of_project, project))
        if not problems and self.damaged_lately(project):
            return [_JOURNAL_DAMAGED]
        if not problems and await self.read(self.refused_lately, project):
            return [_NOT_STORED]
        return problems

    def damaged_lately(self, project: str | None = None) -> bool:
        """Return whether a damaged page was read in the last minutes: another request may not read it.

        With a project, whether it was one of its pages.
        """
        damaged = self._damaged.items()
        return any(time.monotonic() - when < _REFUSED for name, when in damaged if project in (None, name))

    def refused_lately(self, project: str | None = None) -> bool:
        """Return whether a write failed, and none succeeded since; after some minutes, whether it would fail again.

        With a project, whether one of its writes did, or one of a body, which is of none yet.
        """
        for (name, what), when in list(self._refused.items()):
            if project is not None and name not in (project, ""):
                continue
            if time.monotonic() - when < _REFUSED or not self.can_write(name):
                return True
            self._refused.pop((name, what), None)
        return False

    def refuses(self, within: float, *, look: bool = True) -> bool:
        """Return whether a write failed in so many seconds, or one failed before and no project takes anything now."""
        failed = dict(self._refused)
        if any(time.monotonic() - when < within for when in failed.values()):
            return True
        projects = {project for project, _ in failed}
        if all(self.can_write(project, look=look) for project in projects):
            return False
        return not any(self.can_write(project, look=look) for project in self.store.projects())

    def can_write(self, project: str, *, look: bool = True) -> bool:
        """Return whether the hub itself can write to a project; without `look`, the result of the last try."""
        at, can = self._tried.get(project, (None, True))
        if project and look and (at is None or time.monotonic() - at > _TRIED):
            try:
                self.store.try_writing(project)
                can = True
            except LocalopsError:
                can = False
            self._tried[project] = (time.monotonic(), can)
        return can

    def soon(self, work: Callable[..., object], *arguments: Any) -> None:
        """Run `work` in a thread without waiting; the request that needs its result reports a failure."""
        self._readers.submit(work, *arguments)

    def answer(
        self, facts: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Return a JSON response that names the hub."""
        signed = {"localops": bundle.WIRE, **({"hub": self.keys.hub} if self.keys else {})}
        return json({**signed, **facts, **of_failure(status)}, status, headers)

    def close(self) -> None:
        """Let running work finish, cancel the rest, and close the store."""
        self._readers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)
        self._notes.shutdown()
        self.refusals.write(all_of_them=True)
        if self.usage is not None:
            self.usage.save()
        self.store.close()


def of_failure(status: int) -> dict[str, object]:
    """Return what the body of a failure has beside its message: the id that the log has, too."""
    id = exchange.current().id
    return {"request_id": id} if status >= 500 and id else {}


def json(facts: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response that is not cached."""
    return Response(encode.dumps(facts), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")
