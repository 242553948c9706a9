"""HTTP in every kind of weather: what becomes of a request is an answer or one sentence, and never takes for ever."""

from __future__ import annotations

import os
import signal
import socket
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
from tests import programs
from tests.sync import chaos
from tests.sync.chaos import Answer, Authority, Chaos

KEY = "sk-correct-horse-battery"
BODY = b'{"rows":[1,2,3]}'
LATE = 0.5  # the deadline of tests that wait for one
LONG = 15.0  # far more than any request takes that ends by itself, and less than a test server's patience


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith(("_proxy", "ca_bundle"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Chaos]:
    """A server that misbehaves on order."""
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
    """A request like those of a sink."""
    headers = {"Authorization": f"Bearer {KEY}", "X-Agentops-Api-Key": KEY}
    return transport.ask("POST", path, body=body, headers=headers, **options)


def trouble(transport: Transport, **options: Any) -> Trouble:
    """What a request ends with that cannot succeed; one sentence, without the key."""
    began = time.monotonic()
    with pytest.raises(Trouble) as found:
        post(transport, **options)
    assert time.monotonic() - began < chaos.PATIENCE, "the server ended it, not we"
    said = str(found.value)
    assert KEY not in said
    assert said.isprintable()
    return found.value


# A good day


def test_request_and_answer(server: Chaos, call: Call) -> None:
    """Method, path, body and headers arrive; status, headers and JSON come back."""
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
    """A body of any size arrives with its length said, never in chunks, which some servers do not read."""
    post(call(server.url), body=b"x" * size)
    [seen] = server.seen
    assert (len(seen.body), seen.headers["content-length"]) == (size, str(size))


def test_bytes_are_counted(server: Chaos, call: Call) -> None:
    """The bytes of all bodies are counted, and against the budget of the pass, also when nobody answered."""
    budget = PassBudget(max_bytes=1_000)
    transport = call(server.url, budget=budget)
    server.then(chaos.ok(), chaos.reset)
    post(transport, body=b"x" * 100)
    trouble(transport, body=b"x" * 50)
    assert (transport.sent, budget.bytes_left) == (150, 850)


def test_nothing_is_sent_after_the_pass(server: Chaos, call: Call) -> None:
    """A pass that is over asks nobody."""
    with pytest.raises(OutOfBudget):
        post(call(server.url, budget=PassBudget(max_seconds=0)))
    assert not server.seen


def test_a_request_ends_with_the_pass(server: Chaos, call: Call) -> None:
    """A request is given no more time than the pass has left, and then it is the budget that is used up."""
    server.always(chaos.drip_headers)
    with pytest.raises(OutOfBudget):
        post(call(server.url, budget=PassBudget(max_seconds=LATE)))


def test_head_has_no_body(server: Chaos, call: Call) -> None:
    """The length a HEAD tells is that of a body which does not come, and is not waited for."""
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
    """An answer may end with its connection, in chunks or at its length, and the next request is not touched by it."""

    def behave(exchange: chaos.Exchange) -> None:
        exchange.write(answer)
        exchange.close()

    transport = call(server.url)
    server.then(behave)
    assert post(transport).json() == {"ok": True}
    assert post(transport).json() == {"ok": True}


def test_an_early_word_is_not_the_answer(server: Chaos, call: Call) -> None:
    """What follows a 103, even late, is not taken for the answer to the next request."""

    def early(exchange: chaos.Exchange) -> None:
        exchange.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        exchange.pause(0.1)
        exchange.answer(Answer(200, b'{"of":"first"}', {"Content-Type": "application/json"}))

    server.then(early, chaos.ok({"of": "second"}))
    transport = call(server.url)
    assert isinstance(trouble(transport), Offline)
    assert post(transport).json() == {"of": "second"}


def test_ipv6(call: Call) -> None:
    """An address in brackets is called as it is."""
    try:
        server = Chaos(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert post(call(server.url)).status == 200
        assert server.seen[0].headers["host"] == f"[::1]:{server.port}"


# Nobody there


def test_closed_port(call: Call) -> None:
    """A refused connection is weather, and says where nobody was."""
    port = chaos.closed_port()
    found = trouble(call(f"http://127.0.0.1:{port}"))
    assert isinstance(found, Offline)
    assert not found.answered
    assert str(found) == f"nothing listens at 127.0.0.1:{port}"


def test_black_hole(call: Call) -> None:
    """Nobody is waited for longer than a connection may take."""
    with chaos.black_hole() as port:
        found = trouble(call(f"http://127.0.0.1:{port}", connect=LATE))
    assert isinstance(found, Offline)
    assert not found.answered
    assert str(found) == f"127.0.0.1:{port} does not answer"


def test_name_that_is_not_known(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network names cannot be looked up, and that is what is said."""

    def fail(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    found = trouble(call("https://hub.invalid"))
    assert isinstance(found, Offline)
    assert not found.answered
    assert str(found) == "the name of hub.invalid cannot be looked up: no network, or a wrong name"


def test_name_that_is_looked_up_for_ever(server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up of a name ends with the request, and what it finds later is not called any more."""
    known, real = threading.Event(), socket.getaddrinfo

    def wait(*arguments: Any, **options: Any) -> Any:
        known.wait(chaos.PATIENCE)
        return real("127.0.0.1", *arguments[1:], **options)

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    before = set(threading.enumerate())
    found = trouble(call(f"http://hub.invalid:{server.port}", whole=LATE))
    known.set()
    for thread in set(threading.enumerate()) - before - {threading.current_thread()}:
        thread.join(LONG)
    assert isinstance(found, Offline)
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
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{chaos.closed_port()}")
    monkeypatch.setenv("NO_PROXY", none)
    assert post(call(server.url)).status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_dead_proxy(call: Call, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A proxy that is not there is named, without the password that is in its address."""
    port = chaos.closed_port()
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:pass-of-mine@127.0.0.1:{port}")
    found = trouble(call(f"{scheme}://hub.example"))
    assert isinstance(found, Offline)
    assert f"127.0.0.1:{port}" in str(found)
    assert "hub.example" in str(found)
    assert "pass-of-mine" not in str(found)


@pytest.mark.parametrize(("code", "kind"), [(407, Blocked), (403, Blocked), (502, Offline), (504, Offline)])
def test_proxy_that_says_no(
    server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Trouble]
) -> None:
    """A proxy that wants a password waits for a person; one that has no network, for the weather."""
    server.always(chaos.status(code))
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    found = trouble(call("https://hub.example"))
    assert type(found) is kind
    assert f"127.0.0.1:{server.port}" in str(found)
    assert str(code) in str(found)


def test_proxy_that_drips(server: Chaos, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline holds while a tunnel is made as well."""
    server.always(chaos.drip_headers)
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    assert isinstance(trouble(call("https://hub.example", whole=LATE)), Offline)


# Trust


def test_tls(authority: Authority, call: Call) -> None:
    """A certificate that somebody signed whom we were told to trust is good."""
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
    ("trusted", "told"),
    [
        (False, {}),
        (True, {"name": "other.example"}),
        (True, {"until": -2.0}),
        (True, {"since": 2.0}),
    ],
    ids=["signer", "name", "expired", "not yet"],
)
def test_wrong_certificates(authority: Authority, call: Call, trusted: bool, told: dict[str, Any]) -> None:
    """A certificate that proves nothing is for a person to look at, and not one request is made."""
    with Chaos(tls=authority.context(**told)) as server:
        found = trouble(call(server.url, ca=authority.path if trusted else None))
        assert not server.seen
    assert isinstance(found, Blocked)
    assert "cannot be trusted" in str(found)
    assert "--ca" in str(found)


def test_no_tls(call: Call) -> None:
    """https to a server of plain HTTP is a wrong address."""
    with Chaos(greet=chaos.speak_first(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        found = trouble(call(server.url.replace("http:", "https:")))
    assert isinstance(found, Blocked)
    assert "TLS" in str(found)


def test_no_http(call: Call) -> None:
    """A server of something else, which speaks first, is no remote; nothing counts as sent."""
    with Chaos(greet=chaos.speak_first(b"220 mail.example ESMTP ready\r\n")) as server:
        assert isinstance(trouble(call(server.url)), Offline)


def test_tls_greeting_that_breaks_off(call: Call) -> None:
    """A greeting that is cut off is weather, not a certificate to look at."""

    def hang_up(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    with Chaos(greet=hang_up) as server:
        found = trouble(call(server.url.replace("http:", "https:")))
    assert isinstance(found, Offline)


def test_tls_greeting_that_drips(call: Call) -> None:
    """The deadline holds before there is a certificate as well."""
    with Chaos(greet=chaos.drip_greeting) as server:
        found = trouble(call(server.url.replace("http:", "https:"), whole=LATE))
    assert isinstance(found, Offline)
    assert "did not finish" in str(found)


@pytest.mark.parametrize("content", [None, b"no certificate\n"], ids=["missing", "garbage"])
def test_authority_that_cannot_be_read(call: Call, tmp_path: Path, content: bytes | None) -> None:
    """A file of certificates that holds none is named, before anybody is called."""
    path = tmp_path / "mine.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.pem"):
        call("https://127.0.0.1:1", ca=str(path))


def test_authority_of_the_environment_that_is_not_there(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the one that an environment variable names, and the variable with it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/mine.pem")
    found = trouble(call("https://127.0.0.1:1"))
    assert isinstance(found, Blocked)
    assert "/nowhere/mine.pem" in str(found)
    assert "REQUESTS_CA_BUNDLE" in str(found)


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
    """A connection that breaks is trouble at once, whatever it had carried, and the next request has a new one."""
    with Chaos(tls=authority.context() if secure else None) as server:
        transport = call(server.url, ca=authority.path)
        if reused:
            post(transport)
        server.then(behaviour)
        found = trouble(transport)
        assert isinstance(found, Offline)
        assert found.broke
        assert post(transport).json() == {"ok": True}


def test_broken_header_is_no_answer(server: Chaos, call: Call) -> None:
    """An answer that breaks off in its header may have status 200, and still says nothing."""
    server.then(chaos.truncated_header)
    assert isinstance(trouble(call(server.url)), Offline)


def test_closed_while_idle(server: Chaos, call: Call) -> None:
    """A connection that the server let go of between two requests is not used again."""
    transport = call(server.url)

    def answer_and_close(exchange: chaos.Exchange) -> None:
        chaos.ok()(exchange)
        exchange.close()

    server.then(answer_and_close)
    post(transport)
    time.sleep(0.05)
    assert post(transport).status == 200
    assert server.connections == 2


def test_silence(server: Chaos, call: Call) -> None:
    """Who says nothing is not waited for longer than `silence`."""
    server.always(chaos.silence)
    found = trouble(call(server.url, silence=LATE))
    assert isinstance(found, Offline)
    assert not found.answered
    assert "sent no answer" in str(found)


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
    """An answer that comes in drops ends with its deadline, as trouble, and leaves neither thread nor connection."""
    with Chaos(tls=authority.context() if secure else None) as server:
        transport = call(server.url, ca=authority.path, whole=LATE)
        if reused:
            post(transport)
        before = threading.active_count()
        server.then(behaviour)
        found = trouble(transport)
        assert isinstance(found, Offline)
        assert not found.answered
        assert "did not finish its answer" in str(found) or "more than" in str(found)
        assert post(transport).json() == {"ok": True}
        _eventually(lambda: threading.active_count() <= before + 1)  # the server has one for the new connection
        assert len(server.seen) == 2 + reused


def test_slow_line(call: Call) -> None:
    """A body goes as long as it goes on: neither the time for a connection, for silence nor for an
    answer bounds it."""

    def narrow(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)

    body = os.urandom(12 << 20)  # more than the buffers between hold
    with Chaos(greet=narrow, reading=(2 << 20, 0.4)) as server:
        assert post(call(server.url, connect=0.2, silence=1.0, whole=1.0), body=body).status == 200
        assert server.seen[0].body == body


# Answers that are too much, or not ours


@pytest.mark.parametrize("behaviour", [chaos.endless, chaos.bomb], ids=["endless", "bomb"])
def test_no_answer_fills_the_memory(server: Chaos, behaviour: chaos.Behaviour) -> None:
    """An answer is read up to a limit, and never unpacked: a process of its own says how much that took."""
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
    """A 200 that is not JSON was said by somebody between."""
    server.always(behaviour)
    with pytest.raises(Offline, match="nothing counts as sent") as found:
        post(call(server.url)).json()
    assert not found.value.answered


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 300, 304])
def test_redirects_are_not_followed(server: Chaos, call: Call, code: int) -> None:
    """Nothing at all arrives where a redirect points to: no key, no row, no connection."""
    with Chaos() as other:
        server.always(chaos.redirect(code, f"{other.url}/steal?key={KEY}"))
        found = trouble(call(server.url))
        assert (other.connections, other.seen) == (0, [])
        assert isinstance(found, Blocked)
        assert other.url in str(found)


def test_no_cookies(server: Chaos, call: Call) -> None:
    """What a remote wants us to remember is not sent back."""
    server.then(chaos.status(200, {}, Set_Cookie="a=b; Path=/"))
    transport = call(server.url)
    post(transport)
    post(transport)
    assert "cookie" not in server.seen[1].headers


def test_netrc_is_not_the_key(server: Chaos, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for the same host in .netrc does not take the key's place."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    post(call(server.url))
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


# What is said


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
    """A remote may repeat the key in its complaint; not even a part of it is in ours."""
    server.always(chaos.raw(answer))
    with pytest.raises(Trouble) as found:
        post(call(server.url)).json()
    assert KEY[:8] not in str(found.value)


def test_headers_of_the_user_are_sent_and_not_repeated(server: Chaos, call: Call) -> None:
    """A header that the user gave goes along, and if it looks like a key it is kept as one."""
    server.then(chaos.status(401, {"message": "bad team-secret-77, team ops"}))
    found = trouble(call(server.url, headers={"X-Team-Key": "team-secret-77", "X-Team": "team ops"}))
    assert server.seen[0].headers["x-team-key"] == "team-secret-77"
    assert "team-secret-77" not in str(found)
    assert "team ops" in str(found)


@pytest.mark.parametrize("key", ["line\nbreak-in-it", "caractère-…-spécial"])
def test_keys_that_http_cannot_carry(server: Chaos, call: Call, key: str) -> None:
    """A key with characters that no header may have is said, not sent, and not shown."""
    transport = call(server.url)
    with pytest.raises(Blocked) as found:
        transport.ask("GET", "/", headers={"Authorization": f"Bearer {key}"})
    assert key not in str(found.value)
    assert not server.seen


@pytest.mark.parametrize("header", ["Location", "Content-Type", "Retry-After"])
def test_hostile_words(server: Chaos, call: Call, header: str) -> None:
    """What a remote says cannot move the cursor of whoever reads it, and is short."""
    for code in (200, 302, 400, 429, 503):
        server.then(chaos.raw(Answer(code, b"\x1b[2J\x9b31m" * 9_000, {header: "\x1b]0;x\x07" + "w" * 3_000})))
        with pytest.raises(Trouble) as found:
            post(call(server.url)).json()
        assert str(found.value).isprintable()
        assert len(str(found.value)) < 1_000


def test_no_address(call: Call) -> None:
    """An address that cannot be called is for a person to look at."""
    for url in ("ftp://hub.example", "http://hub.example:port", f"http://{'a' * 70}.example"):
        assert isinstance(trouble(call(url)), Blocked)


@pytest.mark.parametrize(("hours", "told"), [(0, False), (2, True), (-2, True)])
def test_clocks_are_compared(server: Chaos, call: Call, hours: int, told: bool) -> None:
    """A clock that is wrong by more than minutes is noticed, and nothing is refused for it."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + hours * 3600))
    server.then(chaos.status(200, {}, Date=date))
    transport = call(server.url)
    post(transport)
    assert (transport.skew is not None) is told
    assert transport.skew is None or abs(transport.skew - hours * 3600) < 60


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 9999999 00:00:00 GMT", "\xff"])
def test_dates_that_are_none(server: Chaos, call: Call, date: str) -> None:
    """A date that cannot be read says nothing about clocks."""
    server.then(chaos.status(200, {}, Date=date))
    transport = call(server.url)
    post(transport)
    assert transport.skew is None


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is kept where there is none is an error before anybody is called."""
    monkeypatch.delenv("HUB_KEY", raising=False)
    with pytest.raises(ConfigError, match="HUB_KEY"):
        Transport(Remote("r", "http://127.0.0.1", key_env="HUB_KEY"))


# Ctrl-C


def test_close_ends_what_another_thread_waits_for(call: Call) -> None:
    """Whoever closes a transport does not wait for a connection that is not there yet."""
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
            _eventually(lambda: bool(server.seen))
            program.send_signal(signal.SIGINT)
            assert "ended" in program.communicate(timeout=LONG)[0]
        finally:
            programs.kill(program)


def _eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds; it never does if something hangs."""
    ends = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_headers_of_an_answer_that_contradict_each_other_are_not_the_keys_fault(server: Chaos, call: Call) -> None:
    """Two lengths in an answer: nobody is told to look at the key, and a later pass may fare better."""
    server.always(chaos.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"))
    found = trouble(call(server.url))
    assert (type(found), "headers that contradict each other" in str(found)) == (Offline, True)
