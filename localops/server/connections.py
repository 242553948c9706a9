"""HTTP connections of uvicorn, with a timeout for every wait and a size limit for everything except bodies."""

from __future__ import annotations

from typing import cast

from localops.server import troubles
from localops.server.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    # For types: the class of uvicorn that this is mixed into; its other class has the same methods.
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Protocol
else:
    _Protocol = object

# Bytes of a request's line and headers.
HEAD_BYTES = 16 << 10
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Bounded(_Protocol):
    """A connection with timeouts: uvicorn itself waits for ever for the rest of a request's head."""

    limits = Limits()
    refused: Callable[[], object] = staticmethod(lambda: None)
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection; if there are too many, close the one that has been idle longest, or answer 503."""
        if len(self.connections) >= self.limits.connections and not self._make_room():
            troubles.report("the hub is full", f"{len(self.connections)} connections, none of them idle")
            self.refused()
            transport.write(_FULL)
            transport.close()
        super().connection_made(transport)
        self._end_after(self.limits.head)

    def data_received(self, data: bytes) -> None:
        """Start the timeout of a request's head, then that of its body and response."""
        was_busy = self.is_busy
        super().data_received(data)
        if self.is_busy and not was_busy:
            self._end_after(self.limits.request)
        elif not self.is_busy and self._timer is None:
            self._end_after(self.limits.head)

    def on_response_complete(self) -> None:
        """Stop the timeout when the client has read the whole response."""
        super().on_response_complete()
        if self.is_busy:
            self._end_after(self.limits.request)
        elif not self.transport.get_write_buffer_size():
            self._end_never()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeout."""
        self._end_never()
        super().connection_lost(exc)

    @property
    def is_busy(self) -> bool:
        """Return whether a request is being read or answered."""
        # None before the first request, in spite of its type.
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; False if all are busy."""
        idle = [
            connection for connection in self.connections if isinstance(connection, Bounded) and not connection.is_busy
        ]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection._timer.when() if connection._timer else 0.0)
        oldest._end()
        self.connections.discard(oldest)
        return True

    def _end_after(self, seconds: float) -> None:
        self._end_never()
        self._timer = self.loop.call_later(seconds, self._end)

    def _end_never(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        self.transport.abort()


def protocol() -> type[Bounded]:
    """Return the class of connections: with the parser in C if that is installed, which takes a third of the time."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return of_h11()
    return _with_httptools(HttpToolsProtocol)


def of_h11() -> type[Bounded]:
    """Return the class of connections with the parser in Python, which limits heads itself."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return cast("type[Bounded]", type("OfH11", (Bounded, H11Protocol), {}))


def _with_httptools(base: Any) -> type[Bounded]:
    class OfHttptools(Bounded, base):  # type: ignore[misc]  # mypy does not follow a class that may be missing
        """A connection that is cut off when too much comes that is no body: the parser in C keeps a head of any size.

        So it does with what may follow a body in chunks.
        """

        _silent = 0  # bytes since the last part of a body, or end of a head

        def data_received(self, data: bytes) -> None:
            """Read what has come, and end a head that is too long."""
            self._silent += len(data)
            super().data_received(data)
            if self._silent > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too long.")

        def on_headers_complete(self) -> None:
            """Begin to count what follows the head."""
            self._silent = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            """Begin to count what follows this part of a body."""
            self._silent = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            """Begin to count what follows the request."""
            self._silent = 0
            super().on_message_complete()

    return cast("type[Bounded]", OfHttptools)
