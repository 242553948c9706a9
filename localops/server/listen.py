"""Listen with uvicorn: a timeout for every wait, and a stop that lets running requests finish."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import ssl
import sys
from asyncio import constants
from contextlib import ExitStack, contextmanager, suppress

import uvicorn

from localops.encoding import encode
from localops.server import connections, logs, request_body, sockets
from localops.server.forwarded import Forwarded, Proxies
from localops.server.observed import Observed
from localops.server.operator_listener import OperatorListener

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import FrameType

    from starlette.applications import Starlette
    from starlette.types import Message, Receive, Scope, Send

    from localops.server.limits import Limits
    from localops.server.operator_api import OperatorApi

# Seconds after which Python switches threads: reads must not wait for a batch that is being stored.
_SWITCH = 0.0005
# Seconds between two looks at the clock, for the date of responses.
_TICK = 1.0
# New objects between two garbage collections: a batch makes thousands of rows, and none is part of a cycle.
YOUNG = 20_000
# M_ARENA_MAX of malloc.h.
_ARENA_MAX = -8
_STOPS = encode.dumps({"message": "the server is stopping: try again soon"})
_LEAVING = [
    (b"retry-after", b"5"),
    (b"connection", b"close"),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_STOPS)),
]


class _Gate:
    """The application, closed to new requests once the server stops."""

    def __init__(self, app: Starlette, limits: Limits) -> None:
        self._app, self._limits = app, limits
        # Requests that are being answered.
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif getattr(self._app.state, "leaving", False):
            await request_body.discard(_body(receive), self._limits.body)
            await _refuse(send)
        else:
            self.running += 1
            try:
                await self._run(scope, receive, send)
            finally:
                self.running -= 1

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; if the server stops before there is an answer, with 503, as exporters do not send again after 500."""
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            if has_begun or not getattr(self._app.state, "leaving", False):
                raise
            await _refuse(send)


async def _refuse(send: Send) -> None:
    """Answer that the server is stopping."""
    await send({"type": "http.response.start", "status": 503, "headers": _LEAVING})
    await send({"type": "http.response.body", "body": _STOPS})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    message = await receive()
    while message["type"] == "http.request":
        yield message["body"]
        if not message["more_body"]:
            return
        message = await receive()


class _Server(uvicorn.Server):
    """A uvicorn server that exits with 0 on a signal, and calls `ready` when it listens."""

    def __init__(
        self,
        app: Starlette,
        gate: _Gate,
        config: uvicorn.Config,
        ready: Callable[[], None],
        monitoring: socket.socket | None,
        *,
        is_of_terminal: bool,
    ) -> None:
        super().__init__(config)
        self._is_of_terminal = is_of_terminal
        self._app, self._gate, self._ready = app, gate, ready
        self._renewed: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopping = asyncio.Event()
        self._is_to_stop = False  # a signal came before the main loop began
        self._monitoring = monitoring
        self._operator: OperatorApi | None = getattr(app, "operator", None)
        self._answers: OperatorListener | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `ready`."""
        await super().startup(sockets)
        if not self.started:
            return
        if self._operator is not None:
            self._operator.connections = lambda: len(self.server_state.connections)
            if self._monitoring is not None:
                self._answers = OperatorListener(self._operator, self._monitoring.getsockname()[0])
                await self._answers.start(self._monitoring)
        self._ready()

    async def main_loop(self) -> None:
        """Serve until a signal; uvicorn looks ten times a second for one, which is most of what an idle hub does."""
        self._loop = asyncio.get_running_loop()
        self.should_exit = self.should_exit or self._is_to_stop
        # A tick with this number renews the date of responses.
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._is_stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish running requests, answering others with 503; then stop listening, and last for monitoring."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        while self._gate.running and loop.time() < ends:
            await asyncio.sleep(0.05)
        # The remaining connections are sending their last bytes.
        self.config.timeout_graceful_shutdown = 0 if self._gate.running else 1
        await super().shutdown(sockets)
        if self._answers is not None:
            await self._answers.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and on those of a terminal if it belongs to one; a second one stops at once."""
        handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]]
        handlers = dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._stop)
        if not self._is_of_terminal:
            handlers[signal.SIGHUP] = self._reload
        else:
            # A signal that is ignored, as under nohup, stays ignored.
            of_terminal = (signal.SIGHUP, signal.SIGQUIT)
            handlers |= {one: self._stop for one in of_terminal if signal.getsignal(one) != signal.SIG_IGN}
        known = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in known.items():
                signal.signal(number, handler)

    def _reload(self, _: int, __: FrameType | None) -> None:
        """Read the certificate again for new connections; keep the old one if that fails."""
        serving, cert = self.config.ssl, self.config.ssl_certfile
        if serving is None or cert is None:
            return
        # Another context, because one in which half of a pair was replaced could serve no client.
        renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            renewed.load_cert_chain(cert, self.config.ssl_keyfile)
        # SSLError is a subclass.
        except OSError as error:
            lacks = next((each for each in (cert, self.config.ssl_keyfile) if each and not os.path.exists(each)), None)
            why = error if lacks is None else f"{os.fspath(lacks)} is missing"
            message = f"cannot read the certificate {cert} again, keeping the old one: {why}"
            logs.notice("reload", message, level="error")
            return
        self._renewed = renewed
        serving.sni_callback = self._with_renewed
        logs.notice("reload", f"read the certificate {cert} again: new connections get it")

    def _with_renewed(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """Give a new connection the newest certificate; called for each, also without a name in its greeting."""
        if self._renewed is not None:
            connection.context = self._renewed

    def _stop(self, number: int, _: FrameType | None) -> None:
        is_second = self.should_exit or self._is_to_stop
        if number == signal.SIGHUP and is_second:
            # A terminal that closes sends two signals: one from the shell, one from the kernel.
            return
        if is_second:
            # The threads that work for requests may take long. Nothing that was acknowledged depends on them.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if self._operator is not None:
            logs.notice("stop", "stopping: running requests are finished first")
        # Event streams check this, and end.
        self._app.state.leaving = True
        if self._loop is None:
            # uvicorn would return from its start without a shutdown, and threads of the app would run for ever.
            self._is_to_stop = True
            return
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._is_stopping.set)


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
    uds: str | None = None,
    proxies: Proxies | None = None,
    monitoring: tuple[str, int] | None = None,
    watched: Callable[[str], None] = lambda _: None,
    is_of_terminal: bool = False,
) -> None:
    """Serve until a signal; `ready` gets the address.  OSError if the address cannot be used.

    `else_any`: use any free port if this one is taken.  `uds`: listen on this Unix socket instead.
    `monitoring`: where to answer about the hub itself, and `watched` gets that address.
    `is_of_terminal`: SIGHUP and SIGQUIT stop it, too; else SIGHUP reads the certificate again.
    """
    _raise_files()
    _share_memory()
    sys.setswitchinterval(_SWITCH)
    gc.freeze()
    gc.set_threshold(YOUNG)
    logs.take_over()
    protocol = type("Limited", (connections.protocol(),), {"limits": limits})
    if isinstance(app, Observed):
        protocol = type("Counted", (protocol,), {"refused": staticmethod(app.metrics.connections.add)})
    gate = _Gate(app, limits)
    config = uvicorn.Config(
        Forwarded(gate, proxies or Proxies()),
        http=protocol,
        # Not uvloop, which uvicorn would take if it is installed: our limit for TLS handshakes is one of asyncio.
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=connections.HEAD_BYTES,
        timeout_keep_alive=limits.idle,
        timeout_graceful_shutdown=limits.farewell,
        backlog=limits.connections,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    # Our timeouts begin after the TLS handshake, for which asyncio allows a minute; uvicorn has no option for it.
    setattr(constants, "SSL_HANDSHAKE_TIMEOUT", limits.head)  # noqa: B010  a constant, for mypy
    with ExitStack() as opened:
        place = sockets.listening(host, port, else_any=else_any) if uds is None else sockets.unix_listening(uds)
        listener = opened.enter_context(place)
        address = f"unix:{uds}" if uds is not None else _url(host, listener.getsockname()[1], is_https=bool(cert))
        about = None if monitoring is None else opened.enter_context(sockets.listening(*monitoring))

        def listening() -> None:
            if about is not None and monitoring is not None:
                watched(_url(monitoring[0], about.getsockname()[1], is_https=False))
            ready(address)

        _Server(app, gate, config, listening, about, is_of_terminal=is_of_terminal).run(sockets=[listener])


def _url(host: str, port: int, *, is_https: bool) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_https else 'http'}://{shown}:{port}"


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Drop tracebacks of requests that a stop cancelled: uvicorn also logs their number in one line."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _share_memory() -> None:
    """Let all threads take memory from one pool: what glibc keeps for each of ours is half of an idle hub's memory."""
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
    # Another system, or a C library other than glibc: the setting is not needed.
    except (ImportError, OSError, AttributeError, TypeError):
        return


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
    # Keep the old limit.
    except (OSError, ValueError):
        return
