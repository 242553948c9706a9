"""One request as the hub counts and logs it: its id, door, key and outcome."""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, field


@dataclass(slots=True)
class Exchange:
    """A request and its response."""

    id: str = ""
    began: float = field(default_factory=time.perf_counter)
    door: str = "other"  # one of metrics.DOORS
    project: str | None = None  # that of the key
    handle: str | None = None  # of the key
    lasting: bool = False  # a stream
    status: int = 0  # 0: nothing was sent
    received: int = 0  # bytes of the body
    sent: int = 0
    is_complete: bool = False


_current: ContextVar[Exchange | None] = ContextVar("localops_exchange", default=None)


def current() -> Exchange:
    """Return the exchange of this task; outside of a request, a new one, which is not counted."""
    return _current.get() or Exchange()


def begin(exchange: Exchange) -> Token[Exchange | None]:
    """Make it the exchange of this task; pass the returned token to `end`."""
    return _current.set(exchange)


def end(token: Token[Exchange | None]) -> None:
    """Leave the exchange of this task."""
    _current.reset(token)
