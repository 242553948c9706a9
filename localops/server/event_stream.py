"""Server-sent events that tell an open page what changed.

Each poll is a read transaction of its own: one that stays open would keep a recorder's WAL growing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager

from starlette.responses import StreamingResponse

from localops.server.limits import Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from localops.server.limits import Limits

# Seconds between two polls.
_POLL = 0.5
# Seconds that a stream lasts; the browser reconnects by itself.
_LONGEST = 600.0
# A stream ends this many seconds before its connection would be cut.
_SPARE = 20.0
# Seconds of silence before a comment is sent, which fails if the client has gone.
_PING = 15.0


class EventStreams:
    """The open streams, counted by visitor and by project."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seconds = max(1.0, min(_LONGEST, limits.request - _SPARE))
        self._open: Counter[str] = Counter()
        self._of_projects: Counter[str] = Counter()

    @property
    def many(self) -> int:
        """Return how many streams are open."""
        return self._open.total()

    def stream(
        self,
        visitor: str,
        project: str | None,
        look: Callable[[], Awaitable[object]],
        is_over: Callable[[], bool],
    ) -> StreamingResponse:
        """Return a stream that sends what `look` returns, and again each time that it changes.

        `project` is that of the visitor; None for a user's own home.
        """
        limits = self._limits
        own_fault = self._open[visitor] >= limits.streams_of_key
        if project is not None:
            own_fault |= self._of_projects[project] >= limits.streams_of_project
        if own_fault or self._open.total() >= limits.streams:
            raise Busy("too many open pages that follow changes: close some", 10, own_fault=own_fault)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            self._events(visitor, project or "", look, is_over), headers=headers, media_type="text/event-stream"
        )

    async def _events(
        self, visitor: str, project: str, look: Callable[[], Awaitable[object]], is_over: Callable[[], bool]
    ) -> AsyncIterator[str]:
        with self._counted(self._open, visitor), self._counted(self._of_projects, project):
            until = time.monotonic() + self._seconds
            last, sent_at = None, time.monotonic()
            yield "retry: 2000\n\n"
            while time.monotonic() < until and not is_over():
                state = await look()
                if state != last:
                    last, sent_at = state, time.monotonic()
                    yield f"event: change\ndata: {state}\n\n"
                elif time.monotonic() - sent_at > _PING:
                    sent_at = time.monotonic()
                    yield ": still here\n\n"
                await asyncio.sleep(_POLL)

    @contextmanager
    def _counted(self, counter: Counter[str], name: str) -> Iterator[None]:
        counter[name] += 1
        try:
            yield
        finally:
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
