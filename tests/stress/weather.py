"""A line between senders and a hub on which requests are lost, cut, delayed, repeated and overtaken."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from http.client import HTTPException
from random import Random
from urllib.parse import urlsplit

from tests.sync import chaos

_MOST_LATE = 40  # copies of requests that are still under way


class Weather:
    """The behaviour of a line: `share` of the requests meet a fault, chosen at random."""

    def __init__(self, seed: int, share: float) -> None:
        self.random, self.share = Random(seed), share
        self.met: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()  # by door
        self.faulted: Counter[str] = Counter()
        self._late: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._faults: list[tuple[str, chaos.Behaviour]] = [
            ("lost", chaos.reset),
            ("closed", chaos.close),
            ("answer lost", chaos.reset_after),
            ("answer cut", chaos.truncated()),
            ("503 after", chaos.status_after(503, retry_after="0")),
            ("500", chaos.status(500)),
            ("429", chaos.status(429, retry_after="0")),
            ("body cut", cut),
            ("delayed", self._delayed),
            ("repeated", repeated),
            ("late copy", self._with_a_late_copy),
        ]

    def meet(self, exchange: chaos.Exchange) -> None:
        """Pass a request on, or not."""
        # What was seen is of no use to a test that runs for an hour.
        exchange.server.seen.clear()
        door = door_of(exchange.request.target)
        with self._lock:
            self.requests[door] += 1
            behave: chaos.Behaviour = chaos.passed
            if self.random.random() < self.share:
                name, behave = self.random.choice(self._faults)
                self.faulted[door] += 1
                self.met[name] += 1
        try:
            behave(exchange)
        except HTTPException:
            # The hub was killed in the middle of its answer.
            exchange.close()

    def settle(self) -> None:
        """Wait until no copy of a request is under way, and let all others pass."""
        self.share = 0.0
        while self._late:
            for thread in list(self._late):
                thread.join()

    def _delayed(self, exchange: chaos.Exchange) -> None:
        exchange.pause(self._seconds(1.5))
        chaos.passed(exchange)

    def _with_a_late_copy(self, exchange: chaos.Exchange) -> None:
        """Pass a request on, and pass a copy of it on when its sender is far ahead."""
        with self._lock:
            is_full = len(self._late) >= _MOST_LATE
        if not is_full:
            thread = threading.Thread(target=self._again, args=(exchange, self._seconds(8.0)), daemon=True)
            with self._lock:
                self._late.add(thread)
            thread.start()
        chaos.passed(exchange)

    def _again(self, exchange: chaos.Exchange, after: float) -> None:
        try:
            if exchange.pause(after):
                exchange.passed()
        except (OSError, HTTPException):
            pass
        finally:
            with self._lock:
                self._late.discard(threading.current_thread())

    def _seconds(self, most: float) -> float:
        with self._lock:
            return self.random.uniform(0.0, most)


def cut(exchange: chaos.Exchange) -> None:
    """Pass on a part of the body, and end both connections."""
    request = exchange.request
    assert exchange.server.behind is not None
    parts = urlsplit(exchange.server.behind)
    named = {**request.headers, "host": parts.netloc, "content-length": str(len(request.body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    with socket.create_connection((parts.hostname or "", parts.port or 80), chaos.PATIENCE) as there:
        there.sendall(f"{request.method} {request.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        there.sendall(request.body[: len(request.body) // 2])
    exchange.reset()


def repeated(exchange: chaos.Exchange) -> None:
    """Pass a request on twice."""
    exchange.passed()
    chaos.passed(exchange)


def door_of(target: str) -> str:
    """Return the door that a request goes to."""
    return {"sync": "sync", "v1": "otlp", "v2": "agentops"}.get(target.split("/")[1], "other")
