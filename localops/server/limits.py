"""How much of a client the hub bears, and who is over it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Limits:
    """The bounds of a hub; each holds for whoever comes."""

    body: int = 8 << 20  # bytes of a request's body, as it comes
    inflated: int = 32 << 20  # bytes of it, unpacked
    line: int = 20 << 20  # bytes of a row's line: an event has 16 MiB at most
    told: int = 4 << 20  # bytes of a batch's columns
    rows: int = 50_000  # in a batch
    blob: int = 4 << 30  # bytes of a video or another large thing
    waiting: int = 64 << 20  # bytes of the bodies of all clients that wait in memory; more of them wait in files
    question: int = 1 << 20  # bytes of a body that asks for something, packed or not
    unread: int = 64 << 20  # bytes of answers that one key has asked for and not read yet
    at_once: int = 6  # requests of one key
    rate: float = 100.0  # requests of one key in a second
    silence: float = 20.0  # seconds without a byte of a body
    whole: float = 120.0  # seconds for a body
    connections: int = 512
    head: float = 10.0  # seconds for the head of a request
    idle: int = 30  # seconds that a connection is kept for another request
    request: float = 180.0  # seconds from its head to the end of its answer
    farewell: int = 5  # seconds that a stopping hub gives to what runs


_MOST_BUCKETS = 10_000


class Busy(Exception):
    """Not now: try again in `after` seconds."""

    def __init__(self, message: str, after: float, *, own_fault: bool) -> None:
        super().__init__(message)
        self.after = after
        self.own_fault = own_fault  # the client is over its own share; else the hub is full


class Shares:
    """What each key takes of the hub right now."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buckets: dict[str, tuple[float, float]] = {}  # key -> requests it may make, as of when
        self._running: dict[str, int] = {}
        self._waiting = 0
        self._unread: dict[str, int] = {}

    @contextmanager
    def request(self, key: str) -> Iterator[None]:
        """A request of a key, from its beginning to its end; Busy when it makes too many."""
        self.ask(key)
        running = self._running.get(key, 0)
        if running >= self._limits.at_once:
            raise Busy(f"this key has {running} requests running: more at once are not taken", 1, own_fault=True)
        self._running[key] = running + 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]

    def ask(self, key: str) -> None:
        """A request, which need not end: a bucket fills at the allowed rate, and holds two seconds of it."""
        now, rate = time.monotonic(), self._limits.rate
        if len(self._buckets) > _MOST_BUCKETS:  # whoever has not asked for two seconds has a full one
            self._buckets = {each: told for each, told in self._buckets.items() if now - told[1] < 2}
        left, since = self._buckets.get(key, (2 * rate, now))
        left = min(2 * rate, left + (now - since) * rate)
        if left < 1:
            raise Busy(f"this key may make {rate:g} requests a second", (1 - left) / rate, own_fault=True)
        self._buckets[key] = (left - 1, now)

    def answer(self, key: str, size: int) -> AbstractContextManager[None]:
        """Room for an answer until it has been read; Busy, at once, when others that the key asked for fill it.

        Nobody's answers (key "") are small and not counted.
        """
        unread = self._unread.get(key, 0)
        if unread and unread + size > self._limits.unread:
            raise Busy(f"read the answers that you asked for first: {unread} bytes of them wait", 1, own_fault=True)
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
        """A body on its way; whether there is room in memory for it, beside those of all the others."""
        fits = self._waiting + size <= self._limits.waiting
        self._waiting += size * fits
        try:
            yield fits
        finally:
            self._waiting -= size * fits
