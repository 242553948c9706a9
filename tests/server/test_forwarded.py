"""Headers of proxies: they count from proxies that the operator names, and from no other client."""

from __future__ import annotations

import http.client
import os
import socket
import stat
from pathlib import Path

import pytest

from localops.errors import ConfigError
from localops.server import sockets
from localops.server.forwarded import Proxies
from tests.server.hubs import RealHub, hub

_LOGIN = b"{}"


class _Unix(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


def _connection(running: RealHub) -> http.client.HTTPConnection:
    if running.url.startswith("unix:"):
        return _Unix(running.url.removeprefix("unix:"))
    return http.client.HTTPConnection("127.0.0.1", int(running.url.rpartition(":")[2]), timeout=30)


def _cookie(running: RealHub, *headers: tuple[str, str]) -> str:
    """Return the cookie of a login with these headers."""
    body = b'{"token":"%s"}' % running.key.encode()
    connection = _connection(running)
    connection.putrequest("POST", "/login")
    for name, value in [
        ("Content-Type", "application/json"),
        ("X-Localops", "1"),
        ("Content-Length", str(len(body))),
        *headers,
    ]:
        connection.putheader(name, value)
    connection.endheaders(body)
    with connection.getresponse() as answer:
        assert answer.status == 200, answer.read()
        cookie = answer.headers["Set-Cookie"]
    connection.close()
    return cookie


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7", "10.1.1.1"], "192.0.2.7"),
        (["192.0.2.7", "10.1.1.1", "2001:db8::1"], "192.0.2.7"),
        (["192.0.2.7:5555", "[2001:db8::1]:80"], "192.0.2.7"),
        (["10.1.1.1", "10.1.1.2"], "10.1.1.1"),
        (["unknown", "10.1.1.1"], "10.1.1.1"),
        (["192.0.2.7", "_secret"], "127.0.0.1"),
        (["[2001:db8:9::5]:80"], "2001:db8:9::5"),
        (["::ffff:192.0.2.7", "::ffff:10.1.1.1"], "192.0.2.7"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy(hops: list[str], client: str) -> None:
    """What a client itself writes into the header precedes its address, and is not read."""
    assert Proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/64"]).client("127.0.0.1", hops) == client


@pytest.mark.parametrize("name", ["", "proxy.example", "10.0.0.5/8", "10.0.0.0/33", "*", "Unix"])
def test_a_proxy_is_an_address_a_network_or_unix(name: str) -> None:
    """A name could be another machine tomorrow; anything else is refused before the hub listens."""
    with pytest.raises(ConfigError, match="invalid proxy: expected an IP address"):
        Proxies([name])


def test_a_peer_is_a_proxy_only_if_it_is_named() -> None:
    """Also as the mapped address that a socket for both families shows; the Unix socket has a name of its own."""
    named = Proxies(["10.0.0.0/8"])
    assert [named.has(peer) for peer in ("10.9.9.9", "::ffff:10.9.9.9", "11.0.0.1", "", None)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (Proxies(["unix"]).has(None), Proxies(["unix"]).has("127.0.0.1"), Proxies().has("127.0.0.1")) == (
        True,
        False,
        False,
    )


def test_headers_of_a_named_proxy_count(tmp_path: Path) -> None:
    """The log has the client's address; the cookie is for HTTPS only if the client used HTTPS."""
    with hub(tmp_path, "default", "--access-log", "--proxy", "10.0.0.0/8", "--proxy", "127.0.0.1") as running:
        assert "; secure" in _cookie(running, ("X-Forwarded-Proto", "https")).lower()
        assert "; secure" not in _cookie(running, ("X-Forwarded-Proto", "https, http")).lower()
        assert "; secure" not in _cookie(running, ("X-Forwarded-Proto", "gopher")).lower()
        _cookie(running, ("X-Forwarded-For", "6.6.6.6, 192.0.2.7"), ("X-Forwarded-For", "10.3.3.3"))
        running.stop()
    assert "192.0.2.7" in running.output
    assert "6.6.6.6" not in running.output
    assert "10.3.3.3" not in running.output


def test_headers_of_others_are_ignored(tmp_path: Path) -> None:
    """Without --proxy, and from an address that it does not name, a client cannot choose its address."""
    for options in ((), ("--proxy", "10.0.0.0/8", "--proxy", "unix")):
        with hub(tmp_path / str(len(options)), "default", "--access-log", *options) as running:
            cookie = _cookie(running, ("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https"))
            assert "; secure" not in cookie.lower()
            running.stop()
        assert "192.0.2.7" not in running.output
        assert "127.0.0.1" in running.output


def test_clients_behind_a_proxy_have_their_own_share_of_logins(tmp_path: Path) -> None:
    """One that tries many keys does not lock out another, although both are behind the same proxy."""
    with hub(tmp_path, "default", "--proxy", "127.0.0.1", login=20.0) as running:
        begun = []
        for _ in range(6):
            connection = _connection(running)
            connection.connect()
            connection.sock.sendall(
                b"POST /login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nX-Localops: 1\r\n"
                b"Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
            )
            begun.append(connection)
        assert running.ask("GET", "/health", key="")[0] == 200
        greedy = _connection(running)
        headers = {"Content-Type": "application/json", "X-Localops": "1", "X-Forwarded-For": "1.1.1.1, 192.0.2.7"}
        greedy.request("POST", "/login", _LOGIN, headers)
        with greedy.getresponse() as answer:
            assert answer.status == 429
        assert _cookie(running, ("X-Forwarded-For", "192.0.2.8"))
        for each in (*begun, greedy):
            each.close()


def test_a_unix_socket_is_for_the_group(tmp_path: Path) -> None:
    """The hub answers there and nowhere else, and removes it; its clients are proxies only if that option was given."""
    path = tmp_path / "hub.sock"
    for number, options in enumerate([("--proxy", "unix"), ()]):
        with hub(tmp_path / str(number), "default", "--access-log", "--uds", str(path), *options) as running:
            assert running.url == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            cookie = _cookie(running, ("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https"))
            assert ("; secure" in cookie.lower()) == bool(options)
            assert running.stop() == 0
        assert ("192.0.2.7" in running.output) == bool(options)
        assert not path.exists()


def test_a_socket_that_a_killed_hub_left_is_replaced(tmp_path: Path) -> None:
    """A socket with a listener is not replaced, and no other file is removed."""
    path = tmp_path / "hub.sock"
    with hub(tmp_path, "default", "--uds", str(path)) as running:
        with pytest.raises(OSError, match="in use"), sockets.unix_listening(str(path)):
            pass
        running.kill()
        assert path.exists()
        running.start()
        assert _cookie(running)
    path.unlink()
    path.write_text("a file")
    with pytest.raises(OSError, match="in use") as refused, sockets.unix_listening(str(path)):
        pass
    assert (refused.value.filename, path.read_text()) == (str(path), "a file")


def test_a_mask_of_the_process_stays(tmp_path: Path) -> None:
    """Files that are made later have the mode that they would have had."""
    before = os.umask(0o027)
    try:
        with sockets.unix_listening(str(tmp_path / "hub.sock")):
            now = os.umask(0o027)
    finally:
        os.umask(before)
    assert now == 0o027
