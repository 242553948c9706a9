"""Listen with uvicorn: a timeout for every wait, and a stop that lets running requests finish."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from asyncio import constants
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from localops import output
from localops.server import troubles
from localops.server.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from starlette.applications import Starlette

# Bytes of a request's line and headers.
_HEAD_BYTES = 16 << 10
# Seconds after which Python switches threads: reads must not wait for a batch that is being stored.
_SWITCH = 0.0005
# New objects between two garbage collections: a batch makes thousands of rows, and none is part of a cycle.
_YOUNG = 20_000
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Bounded(H11Protocol):
    """A connection with timeouts: uvicorn itself waits for ever for the rest of a request's head."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection; if there are too many, close the one that has been idle longest, or answer 503."""
        if len(self.connections) >= self.limits.connections and not self._make_room():
            troubles.report("the hub is full", f"{len(self.connections)} connections, none of them idle")
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
            connection for connection in self.connections if isinstance(connection, _Bounded) and not connection.is_busy
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


class _Server(uvicorn.Server):
    """A uvicorn server that exits with 0 on a signal, and calls `ready` when it listens."""

    def __init__(self, app: Starlette, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `ready`."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; a second one stops at once."""
        known = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        known[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for number, handler in known.items():
                signal.signal(number, handler)

    def _reload(self, _: int, __: FrameType | None) -> None:
        """Reload the certificate for new connections."""
        if self.config.ssl is None or self.config.ssl_certfile is None:
            return
        try:
            self.config.ssl.load_cert_chain(self.config.ssl_certfile, self.config.ssl_keyfile)
        # SSLError is a subclass.
        except OSError as error:
            output.say(f"cannot reload the certificate, keeping the old one: {error}")

    def _stop(self, _: int, __: FrameType | None) -> None:
        # Event streams look at this, and end.
        self._app.state.leaving = True
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(
    app: Starlette,
    *,
    host: str,
    port: int,
    else_any: bool = False,
    limits: Limits,
    ready: Callable[[str], None],
    cert: str | None = None,
    key: str | None = None,
    access_log: bool = False,
) -> None:
    """Serve until a signal; `ready` gets the address.  OSError if the address cannot be used.

    `else_any`: use any free port if this one is taken.
    """
    _raise_files()
    sys.setswitchinterval(_SWITCH)
    gc.freeze()
    gc.set_threshold(_YOUNG)
    protocol = type("Bounded", (_Bounded,), {"limits": limits})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_level="info" if access_log else "error",
        access_log=access_log,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        timeout_keep_alive=limits.idle,
        timeout_graceful_shutdown=limits.farewell,
        backlog=512,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    # Our timeouts begin after the TLS handshake, for which asyncio allows a minute; uvicorn has no option for it.
    setattr(constants, "SSL_HANDSHAKE_TIMEOUT", limits.head)  # noqa: B010  a constant, for mypy
    with _listening(host, port, else_any=else_any) as listener:
        shown = f"[{host}]" if ":" in host else host
        address = f"{'https' if cert else 'http'}://{shown}:{listener.getsockname()[1]}"
        _Server(app, config, lambda: ready(address)).run(sockets=[listener])


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Drop tracebacks of requests that a stop cancelled: uvicorn also logs their number in one line."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


@contextmanager
def _listening(host: str, port: int, *, else_any: bool = False) -> Iterator[socket.socket]:
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        # So that the message names the host.
        error.filename = host
        raise
    # With the protocol named, asyncio turns Nagle's algorithm off; else each response waits 40 ms for the client.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
        except OSError as error:
            if not else_any:
                error.filename = f"{host}:{port}"
                raise
            listener.bind((place[0], 0, *place[2:]))
        listener.set_inheritable(False)
        yield listener


def _raise_files() -> None:
    """Raise the limit of open files: each connection and journal needs some."""
    try:
        import resource
    # Not a Unix system.
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 65_536, most))
    # The old limit has to do.
    except (OSError, ValueError):
        return
