"""Limits of the server, and how much each key uses of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclass(frozen=True)
class Limits:
    """The limits of a hub."""

    body: int = 8 << 20  # bytes of a request's body, compressed
    inflated: int = 32 << 20  # bytes of it, decompressed
    line: int = 20 << 20  # bytes of a row's line: an event has 16 MiB at most
    columns: int = 4 << 20  # bytes of a batch's columns
    rows: int = 50_000  # of a batch; spans or log records of a request
    trace_wait: float = 30.0  # seconds that a trace of OpenTelemetry waits for its root
    blob: int = 4 << 30  # bytes of a video or another blob
    waiting: int = 64 << 20  # bytes of all bodies in memory; more of them go to files
    question: int = 1 << 20  # bytes of a body without rows or blobs, compressed or not
    unread: int = 64 << 20  # bytes of responses to one key that it has not read yet
    at_once: int = 6  # running requests of one key
    rate: float = 100.0  # requests of one key a second
    queue_wait: float = 10.0  # seconds that requests wait for a turn if their clients do not retry
    queued: int = 100  # of them, of one key
    silence: float = 20.0  # seconds without a byte of a body
    whole: float = 120.0  # seconds for a body
    connections: int = 1_024
    head: float = 10.0  # seconds for the head of a request
    idle: int = 30  # seconds that a connection is kept for another request
    request: float = 180.0  # seconds from the head to the end of the response
    uploads: int = 1_000  # files of a project that are being received
    upload_bytes: int = 16 << 30  # received bytes of these files, from which no other upload may begin
    logins: int = 50  # browsers that are logged in with one key; another one ends the oldest
    streams: int = 128  # open pages that follow changes: of all, and below of one project, and of one key
    streams_of_project: int = 64
    streams_of_key: int = 16
    upkeep: float = 3_600.0  # seconds between two looks for sessions that were kept long enough
    farewell: int = 5  # seconds for running requests when the hub stops


_MOST_BUCKETS = 10_000


class Busy(Exception):
    """Too many requests: try again in `after` seconds."""

    def __init__(self, message: str, after: float, *, own_fault: bool) -> None:
        super().__init__(message)
        self.after = after
        # The client is over its own limit; otherwise the hub is full.
        self.own_fault = own_fault


class Shares:
    """The use that each key makes of the limits now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Key → requests it may make, and the time at which that was computed.
        self._buckets: dict[str, tuple[float, float]] = {}
        self._running: dict[str, int] = {}
        # Requests that wait for the end of another one of their key.
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._waiting = 0
        self._unread: dict[str, int] = {}

    @property
    def unread(self) -> int:
        """Return the bytes of responses that clients have not read yet."""
        return sum(self._unread.values())

    @property
    def waiting(self) -> int:
        """Return the bytes of bodies that are being received into memory."""
        return self._waiting

    @contextmanager
    def request(self, key: str) -> Iterator[None]:
        """Count a running request of a key; Busy if it has too many."""
        self.take_token(key)
        running = self._running.get(key, 0)
        if running >= self._limits.at_once:
            raise Busy(f"this key has {running} running requests, which is the limit", 1, own_fault=True)
        with self._counted(key):
            yield

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Count a running request of a key, and wait for its turn: a refused client would not send it again.

        Busy if the turn does not come in time, or too many wait.
        """
        until = time.monotonic() + self._limits.queue_wait
        while True:
            try:
                if self._running.get(key, 0) < self._limits.at_once:
                    self.take_token(key)
                    break
                wait = 0.0
            except Busy as busy:
                if time.monotonic() + busy.after > until:
                    raise
                wait = busy.after
            await asyncio.sleep(wait) if wait else await self._wait_in_line(key, until)
        with self._counted(key):
            yield

    async def wait_for_token(self, key: str, rate: float, *, of: str) -> None:
        """Take a token as soon as there is one; Busy if that takes too long."""
        until = time.monotonic() + self._limits.queue_wait
        while True:
            try:
                return self.take_token(key, rate, of=of)
            except Busy as busy:
                if time.monotonic() + busy.after > until:
                    raise
                wait = busy.after
            await asyncio.sleep(wait)

    async def _wait_in_line(self, key: str, until: float) -> None:
        """Wait for the end of a request of a key."""
        line = self._lines.setdefault(key, deque())
        if len(line) >= self._limits.queued:
            raise Busy(f"{len(line)} requests of this key wait already, which is the limit", 1, own_fault=True)
        place = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await place
        except TimeoutError as error:
            most = f"this key has {self._limits.at_once} running requests, which is the limit"
            raise Busy(most, 1, own_fault=True) from error
        finally:
            if place in line:
                line.remove(place)
            if not line:
                self._lines.pop(key, None)

    @contextmanager
    def _counted(self, key: str) -> Iterator[None]:
        self._running[key] = self._running.get(key, 0) + 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
            self._call_next(key)

    def _call_next(self, key: str) -> None:
        line = self._lines.get(key, ())
        place = next((each for each in line if not each.done()), None)
        if place is not None:
            place.set_result(None)

    def take_token(self, key: str, rate: float | None = None, *, of: str = "this key") -> None:
        """Take a token from a bucket, which holds two seconds of requests and at least one, or raise Busy."""
        now, rate = time.monotonic(), rate or self._limits.rate
        full = max(1.0, 2 * rate)
        # A bucket that was not used for two seconds is full, like one that does not exist.
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket[1] < 2}
        left, since = self._buckets.get(key, (full, now))
        left = min(full, left + (now - since) * rate)
        if left < 1:
            raise Busy(f"too many requests: {of} may make {rate:g} a second", (1 - left) / rate, own_fault=True)
        self._buckets[key] = (left - 1, now)

    def answer(self, key: str, size: int) -> AbstractContextManager[None]:
        """Count a response until the client has read it; Busy if the key has too many unread bytes.

        Responses without a key ("") are small and not counted.
        """
        unread = self._unread.get(key, 0)
        if unread and unread + size > self._limits.unread:
            raise Busy(f"too many unread responses: read the {unread} bytes that wait first", 1, own_fault=True)
        return self._unread_until(key, size) if key and size else nullcontext()

    @contextmanager
    def _unread_until(self, key: str, size: int) -> Iterator[None]:
        self._unread[key] = self._unread.get(key, 0) + size
        try:
            yield
        finally:
            self._unread[key] -= size
            if not self._unread[key]:
                del self._unread[key]

    @contextmanager
    def body(self, size: int) -> Iterator[bool]:
        """Count a body while it is read; yield whether it fits into memory beside all others."""
        fits = self._waiting + size <= self._limits.waiting
        self._waiting += size * fits
        try:
            yield fits
        finally:
            self._waiting -= size * fits
