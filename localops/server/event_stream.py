"""Saying that something is new: a stream of small events for a page that is open, and nothing held in between.

Each look is a read of its own, so that a recorder's WAL never waits for a page.
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

_NAP = 0.5  # seconds between two looks
_LONGEST = 600.0  # seconds that a stream lasts: the browser comes back by itself
_SPARE = 20.0  # seconds it ends before its connection would be cut
_PING = 15.0  # seconds after which silence is broken, to notice who has gone
_MOST, _MOST_OF_ONE = 128, 16  # streams at a time: of all visitors, of one


class EventStreams:
    """The streams that are open."""

    def __init__(self, longest: float) -> None:
        self._seconds = max(1.0, min(_LONGEST, longest - _SPARE))
        self._open: Counter[str] = Counter()

    def stream(
        self, visitor: str, look: Callable[[], Awaitable[object]], is_over: Callable[[], bool]
    ) -> StreamingResponse:
        """Tell what `look` finds now, and each time that it finds something else."""
        if self._open.total() >= _MOST or self._open[visitor] >= _MOST_OF_ONE:
            raise Busy("too many pages watch at once: close some", 10, own_fault=self._open[visitor] >= _MOST_OF_ONE)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._told(visitor, look, is_over), headers=headers, media_type="text/event-stream")

    async def _told(
        self, visitor: str, look: Callable[[], Awaitable[object]], is_over: Callable[[], bool]
    ) -> AsyncIterator[str]:
        with self._counted(visitor):
            until = time.monotonic() + self._seconds
            said, spoke = None, time.monotonic()
            yield "retry: 2000\n\n"
            while time.monotonic() < until and not is_over():
                found = await look()
                if found != said:
                    said, spoke = found, time.monotonic()
                    yield f"event: change\ndata: {found}\n\n"
                elif time.monotonic() - spoke > _PING:
                    spoke = time.monotonic()
                    yield ": still here\n\n"
                await asyncio.sleep(_NAP)

    @contextmanager
    def _counted(self, visitor: str) -> Iterator[None]:
        self._open[visitor] += 1
        try:
            yield
        finally:
            self._open[visitor] -= 1
            if not self._open[visitor]:
                del self._open[visitor]
