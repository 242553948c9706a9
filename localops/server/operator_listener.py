"""The listener for monitoring: `/metrics` of the whole hub, `/health` and `/ready`, without a key.

It has an address of its own because it names projects and machines, and it keeps answering while the hub
finishes its last requests.  It speaks as much HTTP as a scrape needs: one GET a connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import parse_qs

from localops.encoding import encode, openmetrics
from localops.server import logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from localops.server.operator_api import OperatorApi

# Bytes of a request, seconds for it and for its response, connections at a time.
_HEAD, _PATIENCE, _MOST = 16 << 10, 10.0, 32
_JSON = "application/json"

Answer = tuple[int, str, bytes]


class OperatorListener:
    """Answers on a socket of its own, in the loop of the hub."""

    def __init__(self, operator: OperatorApi, host: str) -> None:
        self._operator, self._host = operator, host
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, listener: socket.socket) -> None:
        """Begin to answer."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_HEAD)

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST:
                async with asyncio.timeout(_PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(_response(*await self._answered(head)))
                    await writer.drain()
        # The client sent something else, or nothing, or does not read.
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass
        finally:
            self._open -= 1
            with suppress(OSError):
                writer.close()

    async def _answered(self, head: bytes) -> Answer:
        try:
            return await self._answer(*_parsed(head))
        except ValueError:
            return 400, "text/plain", b"invalid request\n"
        except Exception as error:
            logs.failed(error)
            return 500, "text/plain", b"internal error: see the log of the hub\n"

    async def _answer(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Answer:
        if not _is_own(headers.get("host", ""), self._host) or "origin" in headers:
            return 421, "text/plain", b"this address is for monitoring, not for browsers\n"
        if method != "GET":
            return 405, "text/plain", b"use GET\n"
        if path == "/metrics":
            return self._metrics(query, headers.get("accept", ""))
        if path == "/health":
            status, facts = await self._operator.health()
        elif path == "/ready":
            status, facts = await asyncio.to_thread(self._operator.readiness)
        else:
            return 404, "text/plain", b"unknown address: there are /metrics, /health and /ready\n"
        return status, _JSON, encode.dumps(facts) + b"\n"

    def _metrics(self, query: str, accept: str) -> Answer:
        asked = parse_qs(query)
        wanted = {name: asked.get(name, ["0"])[-1] == "1" for name in ("projects", "senders")}
        older = not openmetrics.wants_openmetrics(accept)
        body = openmetrics.text(self._operator.everything(**wanted), older=older)
        return 200, openmetrics.PROMETHEUS if older else openmetrics.OPENMETRICS, body


def _parsed(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Return method, path, query and headers; ValueError if they are not those of HTTP/1."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    pairs = [line.partition(":") for line in lines]
    path, _, query = target.partition("?")
    return method, path, query, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _is_own(host: str, bound: str) -> bool:
    """Return whether a Host header is our address or name: with DNS rebinding, a web page has another name."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name in ("", "localhost", bound.lower()) or not is_loopback(bound):
        return True
    return _is_address(name)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _response(status: int, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
