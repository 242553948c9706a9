"""A loopback server that misbehaves on request: faults of a network, a proxy or a broken server.

    with Chaos() as chaos:
        chaos.then(status(503), reset)            # the behaviour of the next requests, in order
        chaos.always(drip(b"HTTP/1.1 200 OK"))    # the behaviour of all others
        chaos.seen                                # the requests that were received

A behaviour is a function of the Exchange. With `behind` the server stands in front of a real one: `passed` forwards a
request, and the behaviours named `*_after` break the answer once the real server has done its work.
The bytes are written by hand, as no server library would send what is sent here.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import os
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

import trustme

from localops.transfer import zstd

# After so many seconds a client that still waits is released, so that no test hangs.
PATIENCE = 20.0
DROP = 0.02  # seconds between two drops of a drip


@dataclass(frozen=True)
class Request:
    """A request that was received."""

    method: str
    target: str  # a path, or to a proxy a whole address
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """Its body as JSON, uncompressed."""
        return json.loads(inflated(self))


@dataclass
class Answer:
    """The answer if nothing is wrong with it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def packed(self) -> bytes:
        """Return the answer as bytes; a Content-Length is added if it has none."""
        headers = {"Content-Length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Status", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


class Exchange:
    """One request and its answer: a behaviour writes anything, and may end the connection."""

    def __init__(self, server: Chaos, connection: socket.socket, request: Request) -> None:
        self.server, self.connection, self.request = server, connection, request
        self.is_over = False  # whether the connection can carry no other request

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def answer(self, answer: Answer) -> None:
        """Send an answer that is in order."""
        self.write(answer.packed()[: -len(answer.body) or None] if self.request.method == "HEAD" else answer.packed())

    def close(self) -> None:
        """End the connection as one should."""
        self.is_over = True
        if isinstance(self.connection, ssl.SSLSocket):  # the alert alone; the other side need not answer it
            self.connection.settimeout(0.0)
            with contextlib.suppress(OSError):
                self.connection.unwrap()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection as a crash or a router does: what was on its way is lost."""
        self.is_over = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def pause(self, seconds: float = PATIENCE) -> bool:
        """Do nothing for a while; gives False when the test is over."""
        return not self.server.is_over.wait(seconds)

    def passed(self) -> Answer:
        """Return the answer of the real server, which has done its work then."""
        assert self.server.behind is not None, "there is no server behind this one"
        parts = urlsplit(self.server.behind)
        there = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        own = ("host", "connection", "content-length")
        headers = {name: value for name, value in self.request.headers.items() if name not in own}
        try:
            there.request(self.request.method, parts.path + self.request.target, self.request.body or None, headers)
            response = there.getresponse()
            kept = {name: value for name, value in response.getheaders() if name.lower() not in _PER_HOP}
            if self.request.method == "HEAD":
                kept["Content-Length"] = response.headers.get("Content-Length", "0")
            return Answer(response.status, response.read(), kept)
        finally:
            there.close()


_PER_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")

Behaviour = Callable[[Exchange], None]


class Chaos:
    """The server: a thread for each connection, and a list of behaviours for the next requests."""

    def __init__(
        self,
        *,
        behind: str | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        greet: Callable[[socket.socket], None] | None = None,
        reading: tuple[int, float] = (65_536, 0.0),
    ) -> None:
        self.behind = behind
        self.seen: list[Request] = []
        self.connections = 0
        self.is_over = threading.Event()
        self.turn = threading.Lock()  # for behaviours that share something
        self._tls, self._greet = tls, greet
        self._piece, self._rest = reading  # how many bytes of a body at a time, and how long it rests after them
        self._next: list[Behaviour] = []
        self._otherwise: Behaviour = ok() if behind is None else passed
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._listener.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if tls is None else 'https'}://{name}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def then(self, *behaviours: Behaviour) -> None:
        """Set the behaviour of the next requests, in order."""
        with self._lock:
            self._next.extend(behaviours)

    def always(self, behaviour: Behaviour) -> None:
        """Set the behaviour of all other requests, and drop what was set for the next ones."""
        with self._lock:
            self._next.clear()
            self._otherwise = behaviour

    def calm(self) -> None:
        """Behave correctly from now on."""
        self.always(ok() if self.behind is None else passed)

    def paths(self) -> list[str]:
        """Return the targets of the requests that were received."""
        return [request.target for request in self.seen]

    def stop(self) -> None:
        """End it, and every connection."""
        self.is_over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.is_over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        if self._greet is not None:
            self._greet(connection)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
        except OSError:  # the client did not like the certificate
            connection.close()
            return
        with self._lock:
            self._open.add(connection)
        try:
            with connection.makefile("rb") as incoming:
                while (request := self._read(incoming)) is not None and self._meet(connection, request):
                    pass
        except (OSError, ValueError):  # the client ended it
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _read(self, incoming: BinaryIO) -> Request | None:
        """Return the next request of a connection; None at its end."""
        first = incoming.readline().decode("latin-1").split()
        if len(first) < 2:
            return None
        headers: dict[str, str] = {}
        while (line := incoming.readline().decode("latin-1")).strip():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        left = int(headers.get("content-length", "0"))
        pieces = []
        while left and (piece := incoming.read(min(left, self._piece))):
            pieces.append(piece)
            left -= len(piece)
            self.is_over.wait(self._rest)
        return None if left else Request(first[0], first[1], headers, b"".join(pieces))

    def _meet(self, connection: socket.socket, request: Request) -> bool:
        """Behave as requested; return whether the connection can be used again."""
        with self._lock:
            self.seen.append(request)
            behaviour = self._next.pop(0) if self._next else self._otherwise
        exchange = Exchange(self, connection, request)
        behaviour(exchange)
        return not exchange.is_over


# Answers in order


def passed(exchange: Exchange) -> None:
    """Answer as the real server does."""
    exchange.answer(exchange.passed())


def ok(body: object = None) -> Behaviour:
    """Answer 200 with JSON."""
    return status(200, body if body is not None else {"ok": True})


def status(code: int, reply: object = None, **headers: str) -> Behaviour:
    """Answer a status with JSON; headers are written with underscores."""
    body = json.dumps(reply if reply is not None else {"message": f"that was {code}"}).encode()
    return raw(Answer(code, body, {"Content-Type": "application/json", **_named(headers)}))


def page(code: int = 200, text: str = "<html><body>Welcome to the airport. Please log in.</body></html>") -> Behaviour:
    """Answer a web page in the wrong place: a captive portal, a proxy's error."""
    return raw(Answer(code, text.encode(), {"Content-Type": "text/html; charset=utf-8"}))


def text(body: bytes, kind: str = "application/json", **headers: str) -> Behaviour:
    """200 with any body."""
    return raw(Answer(200, body, {"Content-Type": kind, **_named(headers)}))


def raw(answer: Answer | bytes) -> Behaviour:
    """These bytes and nothing else."""

    def behave(exchange: Exchange) -> None:
        if isinstance(answer, Answer):
            exchange.answer(answer)
        else:
            exchange.write(answer)

    return behave


def redirect(code: int, place: str) -> Behaviour:
    """Redirect to another address."""
    return status(code, {}, Location=place)


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# Connections that break


def reset(exchange: Exchange) -> None:
    """Reset before anything was done."""
    exchange.reset()


def close(exchange: Exchange) -> None:
    """Closed without an answer, before anything was done."""
    exchange.close()


def silence(exchange: Exchange) -> None:
    """Read the request, and never answer."""
    exchange.pause()
    exchange.close()


def reset_after(exchange: Exchange) -> None:
    """Reset after the real server has done its work; its answer is lost."""
    exchange.passed()
    exchange.reset()


def silence_after(exchange: Exchange) -> None:
    """Let the real server do its work, but never send its answer."""
    exchange.passed()
    silence(exchange)


def status_after(code: int, **headers: str) -> Behaviour:
    """Answer an error from something in between after the real server has done its work."""

    def behave(exchange: Exchange) -> None:
        exchange.passed()
        status(code, **headers)(exchange)

    return behave


def truncated(answer: Answer | None = None, keep: float = 0.5) -> Behaviour:
    """Break off within the body; without an answer it is the real server's, which has done its work."""

    def behave(exchange: Exchange) -> None:
        whole = answer or exchange.passed()
        exchange.write(whole.packed()[: len(whole.packed()) - len(whole.body) + int(len(whole.body) * keep)])
        exchange.close()

    return behave


def truncated_header(exchange: Exchange) -> None:
    """Break off within the header."""
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Hea")
    exchange.close()


def truncated_chunk(exchange: Exchange) -> None:
    """Break off within a chunk."""
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.write(b'10\r\n{"accep')
    exchange.close()


def slowly(seconds: float, behaviour: Behaviour) -> Behaviour:
    """Something else, a little later."""

    def behave(exchange: Exchange) -> None:
        if exchange.pause(seconds):
            behaviour(exchange)

    return behave


# Answers that do not end


def drip(start: bytes, drop: bytes) -> Behaviour:
    """Send a beginning, and then a drop at a time forever: no timeout of a single read ends that."""

    def behave(exchange: Exchange) -> None:
        exchange.write(start)
        while exchange.pause(DROP):
            exchange.write(drop)

    return behave


drip_headers = drip(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", b"X-A: b\r\n")
drip_header = drip(b"HTTP/1.1 200 OK\r\nX-A: ", b"a")
drip_status = drip(b"HTTP/1.1 ", b" ")
drip_continue = drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
drip_body = drip(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", b" ")
drip_old = drip(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ")
drip_chunks = drip(
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"
)


def endless(exchange: Exchange) -> None:
    """Send a body without an end, as fast as it is read, until the client gives up."""
    exchange.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n")
    with contextlib.suppress(OSError):
        while not exchange.server.is_over.is_set():
            exchange.write(b" " * 65_536)
    exchange.is_over = True


def bomb(exchange: Exchange) -> None:
    """Send a megabyte as gzip that would become 256."""
    exchange.answer(Answer(200, _bomb(), {"Content-Type": "application/json", "Content-Encoding": "gzip"}))


@cache
def _bomb() -> bytes:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([squeeze.compress(bytes(1 << 20)) for _ in range(256)] + [squeeze.flush()])


def huge_header(exchange: Exchange) -> None:
    """Send a header longer than any client reads."""
    exchange.answer(Answer(200, b"{}", {"X-Big": "a" * 70_000}))


def many_headers(exchange: Exchange) -> None:
    """Send more headers than any client reads."""
    exchange.answer(Answer(200, b"{}", {f"X-{number}": "a" for number in range(500)}))


# Answers that lie


def changed(change: Callable[[Any], object]) -> Behaviour:
    """Change the answer of the real server, which has done its work: `change` gets the JSON."""

    def behave(exchange: Exchange) -> None:
        real = exchange.passed()
        exchange.answer(Answer(real.status, json.dumps(change(json.loads(real.body))).encode(), real.headers))

    return behave


def never_passed(invent: Callable[[Request], object]) -> Behaviour:
    """Answer something invented on the way; the real server gets no request."""

    def behave(exchange: Exchange) -> None:
        ok(invent(exchange.request))(exchange)

    return behave


# Addresses without a server


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Return a port that does not answer, as behind a firewall: its queue of connections is full."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port


# Certificates


class Authority:
    """Somebody who signs certificates, whom only those trust who name `path`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._authority = trustme.CA()
        self.path = os.path.join(folder, "authority.pem")
        self._authority.cert_pem.write_to_path(self.path)

    def context(self, name: str = "127.0.0.1", *, since: float = -9.0, until: float = 9.0) -> ssl.SSLContext:
        """Return the TLS context of a server of that name; its certificate is valid between so many days from now."""
        now = datetime.datetime.now(datetime.UTC)
        first, last = (now + datetime.timedelta(days=days) for days in (since, until))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name, not_before=first, not_after=last).configure_cert(context)
        return context


def speak_first(data: bytes) -> Callable[[socket.socket], None]:
    """Speak first, as a server of a protocol without TLS does as soon as a client connects."""

    def greet(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(data)

    return greet


def drip_greeting(connection: socket.socket) -> None:
    """Send an endless TLS handshake: the frame of a long record, and then a byte at a time."""
    with contextlib.suppress(OSError):
        connection.sendall(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb")
        for _ in range(int(PATIENCE / DROP)):
            threading.Event().wait(DROP)
            connection.sendall(b"\x00")


def inflated(request: Request) -> bytes:
    """Return the body of a request before it was compressed."""
    encoding = request.headers.get("content-encoding")
    if encoding == "zstd":
        return bytes(zstd.library().decompress(request.body))
    return gzip.decompress(request.body) if encoding == "gzip" else request.body
