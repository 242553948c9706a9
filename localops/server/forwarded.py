"""The client behind a named proxy: its address and scheme, from the headers that the proxy sets.

Any client can send these headers, so they count only from proxies that the operator names.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from starlette.types import ASGIApp, Receive, Scope, Send

    Address = IPv4Address | IPv6Address

# Names every program that can connect to our Unix socket: the mode of the socket decides which can.
UNIX = "unix"


class Proxies:
    """The proxies whose headers count."""

    def __init__(self, named: Iterable[str] = ()) -> None:
        """Read addresses, networks and `unix`; ConfigError if one is something else."""
        names = list(named)
        self._unix = UNIX in names
        self._networks = [_network(name) for name in names if name != UNIX]

    def has(self, host: str | None) -> bool:
        """Return whether a peer is a named proxy; None is a peer on our Unix socket.

        >>> Proxies(["10.0.0.0/8"]).has("10.1.2.3")
        True
        """
        if host is None:
            return self._unix
        if not self._networks:
            return False
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str | None, hops: Sequence[str]) -> str | None:
        """Return the address of the client: the last hop that is no named proxy.

        What stands before it in the header was written by that client, and may be anything.

        >>> Proxies(["10.0.0.1"]).client("10.0.0.1", ["1.1.1.1", "192.0.2.7"])
        '192.0.2.7'
        """
        client = peer
        for hop in reversed(hops):
            address = _address(_without_port(hop))
            # Such as "unknown": the proxy before it is the nearest that is known.
            if address is None:
                return client
            client = str(address)
            if not self.has(client):
                return client
        return client


class Forwarded:
    """Middleware that gives requests of named proxies the address and scheme of their clients."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self.app, self.proxies = app, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        if scope["type"] == "http":
            peer = scope["client"][0] if scope.get("client") else None
            if self.proxies.has(peer):
                # In the scope itself: the access log reads the address from it.
                self._take(scope, peer)
        await self.app(scope, receive, send)

    def _take(self, scope: Scope, peer: str | None) -> None:
        hops = _values(scope, b"x-forwarded-for")
        if hops and (client := self.proxies.client(peer, hops)) is not None:
            scope["client"] = (client, 0)
        schemes = _values(scope, b"x-forwarded-proto")
        # The last one is of the proxy that is connected to us.
        if schemes and schemes[-1].lower() in ("http", "https"):
            scope["scheme"] = schemes[-1].lower()


def _values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, separated by commas or in lines of their own."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [part.strip() for line in lines for part in line.split(",") if part.strip()]


def _network(name: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(name)
    except ValueError as error:
        raise ConfigError(
            f"invalid proxy: expected an IP address, a network such as 10.0.0.0/8, or {UNIX}, got {name!r} ({error})"
        ) from error


def _address(text: str) -> Address | None:
    """Return an IP address; one of IPv4 that a socket of IPv6 shows as ::ffff:192.0.2.7 in its usual form."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _without_port(hop: str) -> str:
    """Return the address of a hop: some proxies add a port, with brackets around an address of IPv6."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, _ = hop.partition(":")
    return host if colon and hop.count(":") == 1 else hop
