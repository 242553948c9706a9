"""HTTP over a bad network: each request ends with an answer or a one-sentence error, and never takes forever."""

from __future__ import annotations

import gc
import os
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from localops.errors import ConfigError
from localops.transfer.remotes import Remote
from localops_sync.budget import OutOfBudget, PassBudget
from localops_sync.sink import Blocked, Offline, Trouble
from localops_sync.transport import ANSWER, Reply, Transport
from tests import ports, programs
from tests.sync import chaos
from tests.sync.chaos import Answer, Authority, Chaos

KEY = "sk-correct-horse-battery"
BODY = b'{"rows":[1,2,3]}'
LATE = 0.3  # the deadline of tests that wait for one
LONG = 15.0  # far more than any request takes that ends by itself, and less than a test server's patience


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith(("_proxy", "ca_bundle"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Chaos]:
    """Start a server that misbehaves on request."""
    with Chaos() as made:
        yield made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Somebody who signs certificates."""
    return Authority(tmp_path)


@pytest.fixture
def call() -> Iterator[Callable[..., Transport]]:
    """Makes transports that end with the test."""
    made: list[Transport] = []

    def make(url: str, *, ca: str | None = None, headers: dict[str, str] | None = None, **options: Any) -> Transport:
        remote = Remote("r", url, key=KEY, ca=ca, headers=headers or {})
        made.append(Transport(remote, **{"whole": LONG, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


Call = Callable[..., Transport]


def post(transport: Transport, path: str = "/rows", body: bytes = BODY, **options: Any) -> Reply:
    """Send a request like those of a sink."""
    headers = {"Authorization": f"Bearer {KEY}", "X-Agentops-Api-Key": KEY}
    return transport.ask("POST", path, body=body, headers=headers, **options)


def trouble(transport: Transport, **options: Any) -> Trouble:
    """Return the error of a request that cannot succeed; it is one sentence, without the key."""
    began = time.monotonic()
    with pytest.raises(Trouble) as raised:
        post(transport, **options)
    assert time.monotonic() - began < chaos.PATIENCE, "the server ended it, not the transport"
    message = str(raised.value)
    assert KEY not in message
    assert message.isprintable()
    return raised.value


# A good day


def test_request_and_answer(server: Chaos, call: Call) -> None:
    """Method, path, body and headers arrive; status, headers and JSON are returned."""
    server.then(chaos.status(200, {"stored": 3}, X_Sort="good"))
    reply = post(call(f"{server.url}/below/"))
    assert (reply.status, reply.headers["x-sort"], reply.json()) == (200, "good", {"stored": 3})
    [seen] = server.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/below/rows", BODY)
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["content-length"] == str(len(BODY))
    assert seen.headers["user-agent"].startswith("localops/")


def test_one_connection_is_kept(server: Chaos, call: Call) -> None:
    """Requests of a pass go over one connection, whatever is answered."""
    transport = call(server.url)
    server.then(chaos.ok(), chaos.status(429), chaos.page(404))
    for expected in (200, 429, 404, 200):
        assert post(transport, expected=(expected,)).status == expected
    assert server.connections == 1


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_bodies_come_whole(server: Chaos, call: Call, size: int) -> None:
    """A body of any size arrives with its length, never in chunks, which some servers do not read."""
    post(call(server.url), body=b"x" * size)
    [seen] = server.seen
    assert (len(seen.body), seen.headers["content-length"]) == (size, str(size))


def test_bytes_are_counted(server: Chaos, call: Call) -> None:
    """The bytes of all bodies are counted, and against the budget of the pass, also without an answer."""
    budget = PassBudget(max_bytes=1_000)
    transport = call(server.url, budget=budget)
    server.then(chaos.ok(), chaos.reset)
    post(transport, body=b"x" * 100)
    trouble(transport, body=b"x" * 50)
    assert (transport.sent, budget.bytes_left) == (150, 850)


def test_nothing_is_sent_after_the_pass(server: Chaos, call: Call) -> None:
    """A pass that is over makes no request."""
    with pytest.raises(OutOfBudget):
        post(call(server.url, budget=PassBudget(max_seconds=0)))
    assert not server.seen


def test_a_request_ends_with_the_pass(server: Chaos, call: Call) -> None:
    """A request gets no more time than the pass has left; after that the budget is used up."""
    server.always(chaos.drip_headers)
    with pytest.raises(OutOfBudget):
        post(call(server.url, budget=PassBudget(max_seconds=LATE)))


def test_head_has_no_body(server: Chaos, call: Call) -> None:
    """A reply to HEAD states the length of a body that is not sent, and not waited for."""
    transport = call(server.url)
    server.then(chaos.raw(Answer(200, b"abc", {"Upload-Offset": "7"})))
    assert transport.ask("HEAD", "/blob").headers["upload-offset"] == "7"
    assert post(transport).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"ok":true}',
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"ok":true}',
        b"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n%s"
        % b'b\r\n{"ok":true}\r\n0\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\n\r\n%s" % Answer(200, b'{"ok":true}', {"Content-Type": "a/b+json"}).packed(),
    ],
    ids=["1.0", "close", "chunked", "continue"],
)
def test_ways_to_end_an_answer(server: Chaos, call: Call, answer: bytes) -> None:
    """An answer may end with its connection, in chunks or at its length; the next request is not affected."""

    closed = threading.Event()

    def behave(exchange: chaos.Exchange) -> None:
        exchange.write(answer)
        exchange.close()
        closed.set()

    transport = call(server.url)
    server.then(behave)
    assert post(transport).json() == {"ok": True}
    assert closed.wait(chaos.PATIENCE)  # a request that was faster would meet a connection that breaks
    assert post(transport).json() == {"ok": True}


def test_an_early_hint_is_not_the_answer(server: Chaos, call: Call) -> None:
    """A response that follows a 103, even late, is not taken for the answer to the next request."""

    def early(exchange: chaos.Exchange) -> None:
        exchange.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        exchange.pause(0.1)
        exchange.answer(Answer(200, b'{"of":"first"}', {"Content-Type": "application/json"}))

    server.then(early, chaos.ok({"of": "second"}))
    transport = call(server.url)
    assert isinstance(trouble(transport), Offline)
    assert post(transport).json() == {"of": "second"}


def test_ipv6(call: Call) -> None:
    """An IPv6 address in brackets is called as it is."""
    try:
        server = Chaos(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert post(call(server.url)).status == 200
        assert server.seen[0].headers["host"] == f"[::1]:{server.port}"


# No server


def test_closed_port(call: Call) -> None:
    """A refused connection is a temporary error, and names the address."""
    port = ports.free()
    failure = trouble(call(f"http://127.0.0.1:{port}"))
    assert isinstance(failure, Offline)
    assert not failure.answered
    assert str(failure) == f"nothing listens at 127.0.0.1:{port}"


def test_black_hole(call: Call) -> None:
    """A connection is not waited for longer than its limit."""
    with chaos.black_hole() as port:
        failure = trouble(call(f"http://127.0.0.1:{port}", connect=LATE))
    assert isinstance(failure, Offline)
    assert not failure.answered
    assert str(failure) == f"127.0.0.1:{port} does not answer"


def test_name_that_is_not_known(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, names cannot be looked up, which the error says."""

    def fail(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    failure = trouble(call("https://hub.invalid"))
    assert isinstance(failure, Offline)
    assert not failure.answered
    assert str(failure) == "the name of hub.invalid cannot be looked up: no network, or a wrong name"


def test_name_that_is_looked_up_for_ever(server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup of a name ends with the request, and its late result is not called any more."""
    known, real = threading.Event(), socket.getaddrinfo

    def wait(*arguments: Any, **options: Any) -> Any:
        known.wait(chaos.PATIENCE)
        return real("127.0.0.1", *arguments[1:], **options)

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    before = set(threading.enumerate())
    failure = trouble(call(f"http://hub.invalid:{server.port}", whole=LATE))
    known.set()
    for thread in set(threading.enumerate()) - before - {threading.current_thread()}:
        thread.join(LONG)
    assert isinstance(failure, Offline)
    assert not server.seen


# Proxies


def test_proxy_is_used(server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """$HTTP_PROXY is honoured: many machines have no other way out."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert post(call("http://hub.example/below")).status == 200
    assert server.paths() == ["http://hub.example/below/rows"]


@pytest.mark.parametrize("none", ["127.0.0.1", "*", "localhost,127.0.0.0/8"])
def test_no_proxy(server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch, none: str) -> None:
    """$NO_PROXY is honoured too."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{ports.free()}")
    monkeypatch.setenv("NO_PROXY", none)
    assert post(call(server.url)).status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_dead_proxy(call: Call, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A missing proxy is named, without the password in its address."""
    port = ports.free()
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:pass-of-mine@127.0.0.1:{port}")
    failure = trouble(call(f"{scheme}://hub.example"))
    assert isinstance(failure, Offline)
    assert f"127.0.0.1:{port}" in str(failure)
    assert "hub.example" in str(failure)
    assert "pass-of-mine" not in str(failure)


@pytest.mark.parametrize(("code", "kind"), [(407, Blocked), (403, Blocked), (502, Offline), (504, Offline)])
def test_proxy_that_says_no(
    server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Trouble]
) -> None:
    """A proxy that wants a password needs a person; one that has no network is a temporary error."""
    server.always(chaos.status(code))
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    failure = trouble(call("https://hub.example"))
    assert type(failure) is kind
    assert f"127.0.0.1:{server.port}" in str(failure)
    assert str(code) in str(failure)


def test_proxy_that_drips(server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline holds while a tunnel is made as well."""
    server.always(chaos.drip_headers)
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    assert isinstance(trouble(call("https://hub.example", whole=LATE)), Offline)


# Trust


def test_tls(authority: Authority, call: Call) -> None:
    """A certificate of a trusted authority is accepted."""
    with Chaos(tls=authority.context()) as server:
        assert post(call(server.url, ca=authority.path)).json() == {"ok": True}


def test_given_authority_counts_for_more_than_the_environment(
    authority: Authority, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """$REQUESTS_CA_BUNDLE is for remotes without an authority of their own."""
    other = Path(authority.path).with_name("other")
    other.mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", Authority(other).path)
    with Chaos(tls=authority.context()) as server:
        assert post(call(server.url, ca=authority.path)).status == 200
        assert isinstance(trouble(call(server.url)), Blocked)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.path)
        assert post(call(server.url)).status == 200


@pytest.mark.parametrize(
    ("trusted", "options"),
    [
        (False, {}),
        (True, {"name": "other.example"}),
        (True, {"until": -2.0}),
        (True, {"since": 2.0}),
    ],
    ids=["signer", "name", "expired", "not yet"],
)
def test_wrong_certificates(authority: Authority, call: Call, trusted: bool, options: dict[str, Any]) -> None:
    """A certificate that proves nothing needs a person, and no request is made."""
    with Chaos(tls=authority.context(**options)) as server:
        failure = trouble(call(server.url, ca=authority.path if trusted else None))
        assert not server.seen
    assert isinstance(failure, Blocked)
    assert ("is for another name" if "name" in options else "cannot be trusted") in str(failure)
    assert ("--ca" in str(failure)) is ("name" not in options)


def test_no_tls(call: Call) -> None:
    """https to a server of plain HTTP is a wrong address."""
    with Chaos(greet=chaos.speak_first(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        failure = trouble(call(server.url.replace("http:", "https:")))
    assert isinstance(failure, Blocked)
    assert "TLS" in str(failure)


def test_no_http(call: Call) -> None:
    """A server of another protocol, which speaks first, is not a remote; nothing counts as sent."""
    with Chaos(greet=chaos.speak_first(b"220 mail.example ESMTP ready\r\n")) as server:
        assert isinstance(trouble(call(server.url)), Offline)


def test_tls_greeting_that_breaks_off(call: Call) -> None:
    """A TLS handshake that is cut off is a temporary error, not a certificate to check."""

    def hang_up(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    with Chaos(greet=hang_up) as server:
        failure = trouble(call(server.url.replace("http:", "https:")))
    assert isinstance(failure, Offline)


def test_reset_before_the_tls_greeting(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is reset before the handshake begins leaves no socket to the garbage collector."""
    is_connected, is_reset = threading.Event(), threading.Event()

    def reset(connection: socket.socket) -> None:
        assert is_connected.wait(chaos.PATIENCE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        is_reset.set()

    class Late(ssl.SSLContext):
        def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
            is_connected.set()
            assert is_reset.wait(chaos.PATIENCE)
            return super().wrap_socket(*arguments, **options)

    monkeypatch.setattr("urllib3.util.ssl_.SSLContext", Late)
    before = _open_tls_sockets()
    with Chaos(greet=reset) as server:
        actual = trouble(call(server.url.replace("http:", "https:")))
        assert _open_tls_sockets() == before
    assert is_reset.is_set()
    assert isinstance(actual, Offline)


def _open_tls_sockets() -> int:
    gc.collect()
    return sum(type(each) is ssl.SSLSocket and each.fileno() != -1 for each in gc.get_objects())


def test_tls_greeting_that_drips(call: Call) -> None:
    """The deadline holds during the TLS handshake as well."""
    with Chaos(greet=chaos.drip_greeting) as server:
        failure = trouble(call(server.url.replace("http:", "https:"), whole=LATE))
    assert isinstance(failure, Offline)
    assert "did not finish" in str(failure)


@pytest.mark.parametrize("content", [None, b"no certificate\n"], ids=["missing", "garbage"])
def test_authority_that_cannot_be_read(call: Call, tmp_path: Path, content: bytes | None) -> None:
    """A file without certificates is named, before any connection."""
    path = tmp_path / "mine.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.pem"):
        call("https://127.0.0.1:1", ca=str(path))


def test_authority_of_the_environment_that_is_not_there(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file of an environment variable is named, with the variable."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/mine.pem")
    failure = trouble(call("https://127.0.0.1:1"))
    assert isinstance(failure, Blocked)
    assert "/nowhere/mine.pem" in str(failure)
    assert "REQUESTS_CA_BUNDLE" in str(failure)


# Connections that break


@pytest.mark.parametrize(
    "behaviour",
    [chaos.reset, chaos.close, chaos.truncated(Answer(200, b'{"ok":true}')), chaos.truncated_chunk],
    ids=["reset", "close", "truncated", "chunk"],
)
@pytest.mark.parametrize("reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_connections_that_break(
    authority: Authority, call: Call, behaviour: chaos.Behaviour, reused: bool, secure: bool
) -> None:
    """A broken connection is an error at once, whatever it had carried, and the next request has a new one."""
    with Chaos(tls=authority.context() if secure else None) as server:
        transport = call(server.url, ca=authority.path)
        if reused:
            post(transport)
        server.then(behaviour)
        failure = trouble(transport)
        assert isinstance(failure, Offline)
        assert failure.broke
        assert post(transport).json() == {"ok": True}


def test_broken_header_is_no_answer(server: Chaos, call: Call) -> None:
    """An answer that breaks off in its header is no answer, even with status 200."""
    server.then(chaos.truncated_header)
    assert isinstance(trouble(call(server.url)), Offline)


def test_closed_while_idle(server: Chaos, call: Call) -> None:
    """A connection that the server closed between two requests is not used again."""
    transport = call(server.url)

    closed = threading.Event()

    def answer_and_close(exchange: chaos.Exchange) -> None:
        chaos.ok()(exchange)
        exchange.close()
        closed.set()

    server.then(answer_and_close)
    post(transport)
    assert closed.wait(chaos.PATIENCE)
    assert post(transport).status == 200
    assert server.connections == 2


def test_silence(server: Chaos, call: Call) -> None:
    """A server that sends nothing is not waited for longer than `silence`."""
    server.always(chaos.silence)
    failure = trouble(call(server.url, silence=LATE))
    assert isinstance(failure, Offline)
    assert not failure.answered
    assert "sent no answer" in str(failure)


_DRIPS = [
    chaos.drip_status,
    chaos.drip_header,
    chaos.drip_headers,
    chaos.drip_continue,
    chaos.drip_body,
    chaos.drip_old,
    chaos.drip_chunks,
]


@pytest.mark.parametrize("behaviour", _DRIPS, ids="status header headers continue body old chunks".split())
@pytest.mark.parametrize("reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_drips(authority: Authority, call: Call, behaviour: chaos.Behaviour, reused: bool, secure: bool) -> None:
    """An answer that arrives byte by byte ends at its deadline with an error, and leaves no thread or connection."""
    with Chaos(tls=authority.context() if secure else None) as server:
        transport = call(server.url, ca=authority.path)
        if reused:
            post(transport)
        before = threading.active_count()
        server.then(behaviour)
        transport._whole = LATE  # only now: a busy machine may take as long for a request that is in order
        failure = trouble(transport)
        transport._whole = LONG
        assert isinstance(failure, Offline)
        assert not failure.answered
        assert "did not finish its answer" in str(failure) or "more than" in str(failure)
        assert post(transport).json() == {"ok": True}
        _eventually(lambda: threading.active_count() <= before + 1)  # the server has one for the new connection
        assert len(server.seen) == 2 + reused


def test_slow_line(call: Call) -> None:
    """A body may take as long as it makes progress: no limit for connection, silence or answer bounds it."""

    def narrow(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)

    body = os.urandom(12 << 20)  # more than the buffers between hold
    with Chaos(greet=narrow, reading=(2 << 20, 0.4)) as server:
        assert post(call(server.url, connect=0.2, silence=2.0, whole=1.0), body=body).status == 200
        assert server.seen[0].body == body


# Answers that are too much, or not ours


@pytest.mark.parametrize("behaviour", [chaos.endless, chaos.bomb], ids=["endless", "bomb"])
def test_no_answer_fills_the_memory(server: Chaos, behaviour: chaos.Behaviour) -> None:
    """An answer is read up to a limit, and never unpacked; a separate process measures the memory."""
    code = """
import resource, sys
from localops.transfer.remotes import Remote
from localops_sync.sink import Offline
from localops_sync.transport import Transport
transport = Transport(Remote("r", sys.argv[1]))
transport.ask("POST", "/")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    transport.ask("POST", "/").json()
except Offline:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    server.then(chaos.ok(), behaviour)
    kilobytes = int(programs.run(code, server.url).stdout)
    assert kilobytes << 10 < 4 * ANSWER


@pytest.mark.parametrize("behaviour", [chaos.huge_header, chaos.many_headers], ids=["huge", "many"])
def test_headers_without_end(server: Chaos, call: Call, behaviour: chaos.Behaviour) -> None:
    """Headers are read up to a limit."""
    server.always(behaviour)
    assert isinstance(trouble(call(server.url)), Offline)


@pytest.mark.parametrize(
    "behaviour",
    [
        chaos.page(),
        chaos.text(b""),
        chaos.text(b'{"ok": tr'),
        chaos.text(b'{"ok": true}', kind="text/plain"),
        chaos.text(b'{"a": NaN}'),
        chaos.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        chaos.text(b'"\xff"'),
    ],
    ids="page empty broken plain nan untyped bytes".split(),
)
def test_captive_portal(server: Chaos, call: Call, behaviour: chaos.Behaviour) -> None:
    """A 200 that is not JSON is from something in between."""
    server.always(behaviour)
    with pytest.raises(Offline, match="nothing counts as sent") as raised:
        post(call(server.url)).json()
    assert not raised.value.answered


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 300, 304])
def test_redirects_are_not_followed(server: Chaos, call: Call, code: int) -> None:
    """Nothing arrives where a redirect points to: no key, no row, no connection."""
    with Chaos() as other:
        server.always(chaos.redirect(code, f"{other.url}/steal?key={KEY}"))
        failure = trouble(call(server.url))
        assert (other.connections, other.seen) == (0, [])
        assert isinstance(failure, Blocked)
        assert other.url in str(failure)


def test_no_cookies(server: Chaos, call: Call) -> None:
    """A remote's cookies are not sent back."""
    server.then(chaos.status(200, {}, Set_Cookie="a=b; Path=/"))
    transport = call(server.url)
    post(transport)
    post(transport)
    assert "cookie" not in server.seen[1].headers


def test_netrc_is_not_the_key(server: Chaos, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for the same host in .netrc does not replace the key."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    post(call(server.url))
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


# Messages


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, f'{{"message":"no key {KEY} here"}}'.encode(), {"Content-Type": "application/json"}),
        Answer(400, f"{'x' * 190}{KEY}".encode(), {"Content-Type": "text/plain"}),
        Answer(307, b"", {"Location": f"http://elsewhere/?key={KEY}"}),
        Answer(200, b"", {"Content-Type": f"text/{KEY}"}),
    ],
    ids=["message", "cut", "location", "type"],
)
def test_the_key_is_not_repeated(server: Chaos, call: Call, answer: Answer) -> None:
    """A remote may repeat the key in its message; no part of it is in ours."""
    server.always(chaos.raw(answer))
    with pytest.raises(Trouble) as found:
        post(call(server.url)).json()
    assert KEY[:8] not in str(found.value)


def test_headers_of_the_user_are_sent_and_not_repeated(server: Chaos, call: Call) -> None:
    """A header of the user is sent, and one that looks like a key is kept secret like one."""
    server.then(chaos.status(401, {"message": "bad team-secret-77, team ops"}))
    failure = trouble(call(server.url, headers={"X-Team-Key": "team-secret-77", "X-Team": "team ops"}))
    assert server.seen[0].headers["x-team-key"] == "team-secret-77"
    assert "team-secret-77" not in str(failure)
    assert "team ops" in str(failure)


@pytest.mark.parametrize("key", ["line\nbreak-in-it", "caractère-…-spécial"])
def test_keys_that_http_cannot_carry(server: Chaos, call: Call, key: str) -> None:
    """A key with characters that no header may have is an error, and neither sent nor shown."""
    transport = call(server.url)
    with pytest.raises(Blocked) as raised:
        transport.ask("GET", "/", headers={"Authorization": f"Bearer {key}"})
    assert key not in str(raised.value)
    assert not server.seen


@pytest.mark.parametrize("header", ["Location", "Content-Type", "Retry-After"])
def test_hostile_words(server: Chaos, call: Call, header: str) -> None:
    """A remote's message cannot move the cursor of a terminal, and is short."""
    for code in (200, 302, 400, 429, 503):
        server.then(chaos.raw(Answer(code, b"\x1b[2J\x9b31m" * 9_000, {header: "\x1b]0;x\x07" + "w" * 3_000})))
        with pytest.raises(Trouble) as raised:
            post(call(server.url)).json()
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 1_000


def test_no_address(call: Call) -> None:
    """An address that cannot be called needs a person."""
    for url in ("ftp://hub.example", "http://hub.example:port", f"http://{'a' * 70}.example"):
        assert isinstance(trouble(call(url)), Blocked)


@pytest.mark.parametrize(("hours", "noticed"), [(0, False), (2, True), (-2, True)])
def test_clocks_are_compared(server: Chaos, call: Call, hours: int, noticed: bool) -> None:
    """A clock that is wrong by more than minutes is noticed, and nothing is refused for it."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + hours * 3600))
    server.then(chaos.status(200, {}, Date=date))
    transport = call(server.url)
    post(transport)
    assert (transport.skew is not None) is noticed
    assert transport.skew is None or abs(transport.skew - hours * 3600) < 60


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 9999999 00:00:00 GMT", "\xff"])
def test_invalid_dates(server: Chaos, call: Call, date: str) -> None:
    """An invalid date is not compared."""
    server.then(chaos.status(200, {}, Date=date))
    transport = call(server.url)
    post(transport)
    assert transport.skew is None


def test_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is missing where it should be is an error before any connection."""
    monkeypatch.delenv("HUB_KEY", raising=False)
    with pytest.raises(ConfigError, match="HUB_KEY"):
        Transport(Remote("r", "http://127.0.0.1", key_env="HUB_KEY"))


# Ctrl-C


def test_close_ends_what_another_thread_waits_for(call: Call) -> None:
    """Closing a transport does not wait for a connection that is not made yet."""
    with chaos.black_hole() as port, ThreadPoolExecutor(1) as beside:
        transport = Transport(Remote("r", f"http://127.0.0.1:{port}"), connect=LONG)
        asking = beside.submit(transport.ask, "GET", "/")
        transport.close()
        with pytest.raises((OutOfBudget, Offline)):
            asking.result(LONG / 2)


def test_ctrl_c() -> None:
    """Ctrl-C ends a request that waits, at once, wherever it waits."""
    code = """
import sys
from localops.transfer.remotes import Remote
from localops_sync.transport import Transport
try:
    print("begins", flush=True)
    Transport(Remote("r", sys.argv[1])).ask("POST", "/", body=b"x")
except KeyboardInterrupt:
    print("ended")
"""
    with Chaos() as server:
        server.always(chaos.drip_headers)
        program = programs.start(code, server.url)
        try:
            _eventually(lambda: bool(server.seen), 60)  # the start of Python takes its time
            program.send_signal(signal.SIGINT)
            assert "ended" in program.communicate(timeout=LONG)[0]
        finally:
            programs.kill(program)


def _eventually(holds: Callable[[], bool], seconds: float = LONG) -> None:
    """Wait until it holds; it never does if something hangs."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_headers_of_an_answer_that_contradict_each_other_are_not_the_keys_fault(server: Chaos, call: Call) -> None:
    """Two lengths in an answer do not blame the key, and a later pass may succeed."""
    server.always(chaos.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"))
    failure = trouble(call(server.url))
    assert (type(failure), "headers that contradict each other" in str(failure)) == (Offline, True)
