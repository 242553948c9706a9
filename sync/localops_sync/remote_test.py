"""A test of the way to a remote, step by step: name, connection, certificate, key (`localops remote test`)."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from localops.errors import ConfigError
from localops.transfer import clocks, delivery
from localops_sync import sinks
from localops_sync.sink import Offline, Trouble, WrongKey
from localops_sync.sinks.hub import Hub
from localops_sync.transport import CONNECT, Transport, of_tls
from localops_sync.worker import recognise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from localops.journal.reader import Reader
    from localops.transfer.remotes import Remote


# Bytes: enough to split a request into several packets, and few enough for any server to accept in a header.
_PADDING = 3_000
# Bytes: the largest request that can be made without sending rows.  A batch or a piece of a file may have more.
_BODY = 128_000
_LIMIT = "a proxy before the hub takes no larger requests: let it take 8 MB (nginx: client_max_body_size 8m)"
_TUNNEL = "something on the way loses large ones; a smaller MTU helps, say `ip link set dev eth0 mtu 1280`"


@dataclass(frozen=True)
class Finding:
    """The result of one step, and a message about it."""

    step: str
    ok: bool
    message: str
    act: bool = False  # it failed, and a person must act; otherwise it may pass by itself


def run(remote: Remote, source: Reader, folder: str, *, patience: float = 10.0) -> Iterator[Finding]:
    """Yield the result of each step, up to the first that fails: the steps after it depend on it.

    `patience`: seconds that the answer to a large request may take, once a small one was answered.
    """
    parts = urlsplit(remote.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    proxy = None if proxy_bypass(host) else getproxies().get(parts.scheme)
    if proxy is not None:
        behind = urlsplit(proxy)
        yield Finding(
            "proxy", True, f"requests go through {behind.hostname}:{behind.port or 80} ({parts.scheme}_proxy)"
        )
        host, port = behind.hostname or "", behind.port or 80
    steps: list[tuple[str, Callable[[], str]]] = [
        ("name", lambda: _name(host, port)),
        ("connection", lambda: _connection(host, port)),
    ]
    if parts.scheme == "https" and proxy is None:
        steps.append(("certificate", lambda: _certificate(host, port, remote.ca)))
    # Stop at the first failure: without a connection, every later step would fail for the same reason.
    for step, ask in steps:
        try:
            yield Finding(step, True, ask())
        except (OSError, ValueError) as error:
            yield Finding(step, False, _words(error, f"{host}:{port}"), step == "certificate")
            return
    plain = parts.scheme == "http" and proxy is None
    welcome = yield from _greeting(remote, source, folder, lambda: plain and _speaks_tls(host, port))
    if welcome and (yield from _taking(remote, source, folder)):
        yield _large(remote, source, folder, patience)


def _name(host: str, port: int) -> str:
    if _is_address(host):
        return f"{host} is an address: no name to look up"
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return f"{host} is {', '.join(sorted({str(address[4][0]) for address in addresses}))}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _connection(host: str, port: int) -> str:
    socket.create_connection((host, port), timeout=CONNECT).close()
    return f"port {port} answers"


def _certificate(host: str, port: int, ca: str | None) -> str:
    context = ssl.create_default_context(cafile=ca)
    with (
        socket.create_connection((host, port), timeout=CONNECT) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert() or {}
        return f"{secure.version()}, valid until {certificate.get('notAfter', 'an unknown date')}"


def _speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake succeeds, with any certificate; nothing is sent over the connection."""
    context = ssl.create_default_context()
    # Safe, as nothing is sent.  The answer only decides whether a hint to use https is shown.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=CONNECT) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except (OSError, ValueError):
        return False


def _greeting(
    remote: Remote, source: Reader, folder: str, wants_tls: Callable[[], bool]
) -> Generator[Finding, None, bool]:
    """Yield what answers and whether it accepts the key; return whether all went well."""
    try:
        transport = Transport(remote)
        sink = sinks.open_sink(remote, source, folder, transport)
    except ConfigError as error:
        # Its key or certificate is not where it should be.
        yield Finding("key", False, str(error), True)
        return False
    try:
        peer = sink.check()
        prove: Callable[[], str | None] | None = getattr(sink, "prove", None)
        proof = prove() if prove is not None else None
        recognise(remote, delivery.Ledger(source, folder, remote.name), sink)
    except Offline as error:
        # The key was not looked at.
        yield from _clock(transport)
        hint = f"; it speaks https there: localops remote move {remote.name} https://…" if wants_tls() else ""
        yield Finding("answer", False, f"{error}{hint}")
        return False
    except Trouble as error:
        yield from _clock(transport)
        yield Finding("key" if isinstance(error, WrongKey) else "answer", False, str(error), True)
        return False
    finally:
        sink.close()
    yield from _clock(transport)
    yield Finding("key", True, f"{peer}: {proof}" if proof else peer)
    return True


def _taking(remote: Remote, source: Reader, folder: str) -> Generator[Finding, None, bool]:
    """Yield whether a hub could accept rows: its own health report, and a POST without rows.

    The greeting is a GET, which a full disk, a proxy or a login page may let through while no row would arrive.
    """
    sink = sinks.open_sink(remote, source, folder, Transport(remote))
    try:
        # The `check` of other sinks is a POST already.
        if not isinstance(sink, Hub):
            return True
        health = _health(sink)
        yield health
        if not health.ok:
            return False
        sink.compare([])
    except Trouble as error:
        yield Finding("sending", False, str(error), not isinstance(error, Offline))
        return False
    finally:
        sink.close()
    yield Finding("sending", True, "a request to store (no rows) is answered")
    return True


def _health(hub: Hub) -> Finding:
    try:
        trouble = hub.trouble()
    except Trouble:
        # A proxy may serve that address itself.
        return Finding("health", True, "the hub does not report its health")
    return Finding(
        "health", trouble is None, f"the hub reports: {trouble}" if trouble else "the hub reports no problem"
    )


def _large(remote: Remote, source: Reader, folder: str, patience: float) -> Finding:
    """Test a request that fills several packets, as rows do: some tunnels and proxies lose them."""
    padded = replace(remote, headers={**remote.headers, "X-Padding": "." * _PADDING})
    sink = sinks.open_sink(padded, source, folder, Transport(padded, silence=patience))
    try:
        sink.check()
    except Offline as error:
        if not error.answered:
            return Finding("size", False, f"{error}, when it was larger than a packet: {_TUNNEL}")
    except Trouble:  # it did get through
        pass
    finally:
        sink.close()
    return _body(remote, source, folder, patience)


def _body(remote: Remote, source: Reader, folder: str, patience: float) -> Finding:
    """Test a request with a body: a hub is sent more than the smallest piece of a file."""
    sink = sinks.open_sink(remote, source, folder, Transport(remote, silence=patience))
    try:
        if not isinstance(sink, Hub):
            return Finding("size", True, "a request of several packets gets through")
        sink.try_size(_BODY)
    except Offline as error:
        hint = "" if error.answered else f", when it was larger than a packet: {_TUNNEL}"
        return Finding("size", False, f"{error}{hint}")
    except Trouble as error:
        return Finding("size", False, f"{error}, when it had {_BODY // 1000} kB: {_LIMIT}", True)
    finally:
        sink.close()
    return Finding("size", True, f"a request of {_BODY // 1000} kB gets through; larger ones were not tried")


def _clock(transport: Transport) -> Iterator[Finding]:
    if transport.skew is not None:
        differs = clocks.text(transport.skew)
        yield Finding("clock", False, f"this machine's clock is {differs} the remote's: set it", True)
    elif transport.met:
        yield Finding("clock", True, "this machine's clock agrees with the remote's")


def _words(error: Exception, where: str) -> str:
    if isinstance(error, ssl.SSLError):
        return str(of_tls(error, where))
    if isinstance(error, socket.gaierror):
        return f"{where}: the name cannot be looked up: no network, or a wrong name"
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: nothing listens there: check that it runs, and the port"
    if isinstance(error, TimeoutError):
        return f"{where}: no answer within {CONNECT:.0f} s"
    return f"{where}: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
