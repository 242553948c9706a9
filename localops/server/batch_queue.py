"""Queues of batches, one for each project: batches that wait at the same time are stored in one transaction.

A transaction costs a sync of the disk, a fold and the way to a thread and back, whatever is in it.  When many machines
send at the same moment, as after an outage of the hub, each would wait for those of all others.
"""

from __future__ import annotations

import asyncio
from collections import deque

from localops.server.request import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from localops.server.threads import Service
    from localops.transfer.bundle import Ack
    from localops.transfer.ingest import Arrived

    Answer = tuple[Arrived, Ack, int]

# The most batches of one transaction; no more are added once it has this many rows, or characters in their bodies. All
# of them are in memory: the limits are those of our senders' largest batch.
_MOST_BATCHES, _MOST_ROWS, _MOST_SIZE = 64, 4_000, 4 << 20


class _Place:
    """The place of a batch in the queue of its project."""

    __slots__ = ("arrived", "done", "failure", "parse")

    def __init__(self, parse: Callable[[], Arrived]) -> None:
        self.parse = parse
        self.arrived: Arrived | None = None
        self.failure: Exception | None = None
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class BatchQueue:
    """The queues of all projects, and the tasks that empty them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lines: dict[str, deque[_Place]] = {}
        # Kept, as the event loop itself does not keep its tasks.
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def store(self, project: str, parse: Callable[[], Arrived]) -> Answer:
        """Store a batch, which a thread parses; return it with the Ack and the number of rows of deleted sessions."""
        place = _Place(parse)
        line = self._lines.setdefault(project, deque())
        line.append(place)
        if project not in self._tasks:
            self._tasks[project] = asyncio.create_task(self._work_off(project, line))
        self._service.waiting_writes += 1
        try:
            return await place.done
        finally:
            self._service.waiting_writes -= 1

    async def _work_off(self, project: str, line: deque[_Place]) -> None:
        """Store the batches of a project until its queue is empty."""
        group: list[_Place] = []
        try:
            while line:
                group = []
                try:
                    results = await self._service.in_turn(project, self._store, project, line, group)
                except Exception as error:
                    # If no thread was free, nothing was taken from the queue.
                    if line and not group:
                        group.append(line.popleft())
                    results = [error] * len(group)
                self._answer(project, group, results)
        finally:
            # Only this task empties the queue: without an answer, these requests would wait for ever.
            for place in (*group, *line):
                place.done.cancel()
            line.clear()
            del self._tasks[project], self._lines[project]

    def _store(self, project: str, line: deque[_Place], group: list[_Place]) -> list[Answer | Exception]:
        """Move the next batches from the queue to `group`, and store them; runs in a thread."""
        rows = size = 0
        while line and len(group) < _MOST_BATCHES and rows < _MOST_ROWS and size < _MOST_SIZE:
            place = line.popleft()
            if place.done.cancelled():
                continue
            group.append(place)
            try:
                place.arrived = place.parse()
            # Any exception: each kind has its own status, and it concerns one request of many.
            except Exception as error:
                place.failure = error
                # Parsing may have taken long, and the traceback keeps what was read in memory: answer this group first.
                break
            rows += len(place.arrived.batch.rows)
            size += sum(len(row.body or "") for row in place.arrived.batch.rows)
        arrived = [place.arrived for place in group if place.arrived is not None]
        assert self._service.keys is not None
        hub = self._service.keys.hub
        outcomes = iter(self._service.store.ingest_together(project, arrived, by=hub) if arrived else [])
        results: list[Answer | Exception] = []
        for place in group:
            if place.arrived is None:
                assert place.failure is not None
                results.append(place.failure)
                continue
            outcome = next(outcomes)
            results.append(outcome if isinstance(outcome, Exception) else (place.arrived, *outcome))
        return results

    def _answer(self, project: str, group: list[_Place], results: list[Answer | Exception]) -> None:
        """Resume the requests of a group with their results."""
        if any(isinstance(result, Unavailable) for result in results):
            self._service.note_refusal(project)
        elif not all(isinstance(result, Exception) for result in results):
            self._service.note_success(project)
        for place, result in zip(group, results, strict=True):
            if place.done.done():
                continue
            if isinstance(result, Exception):
                place.done.set_exception(result)
            else:
                place.done.set_result(result)
