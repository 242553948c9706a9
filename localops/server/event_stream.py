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

# Seconds between two polls.
_POLL = 0.5
# Seconds that a stream lasts; the browser reconnects by itself.
_LONGEST = 600.0
# A stream ends this many seconds before its connection would be cut.
_SPARE = 20.0
# Seconds of silence before a comment is sent, which fails if the client has gone.
_PING = 15.0
# Open streams: of all visitors, of one visitor.
_MOST, _MOST_OF_ONE = 128, 16


class EventStreams:
    """The open streams, counted by visitor."""

    def __init__(self, longest: float) -> None:
        self._seconds = max(1.0, min(_LONGEST, longest - _SPARE))
        self._open: Counter[str] = Counter()

    def stream(
        self, visitor: str, look: Callable[[], Awaitable[object]], is_over: Callable[[], bool]
    ) -> StreamingResponse:
        """Return a stream that sends what `look` returns, and again each time that it changes."""
        if self._open.total() >= _MOST or self._open[visitor] >= _MOST_OF_ONE:
            raise Busy(
                "too many open pages that follow changes: close some", 10, own_fault=self._open[visitor] >= _MOST_OF_ONE
            )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(visitor, look, is_over), headers=headers, media_type="text/event-stream")

    async def _events(
        self, visitor: str, look: Callable[[], Awaitable[object]], is_over: Callable[[], bool]
    ) -> AsyncIterator[str]:
        with self._counted(visitor):
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
    def _counted(self, visitor: str) -> Iterator[None]:
        self._open[visitor] += 1
        try:
            yield
        finally:
            self._open[visitor] -= 1
            if not self._open[visitor]:
                del self._open[visitor]
