"""Listening: hostile and slow clients cost the others nothing; a stop lets running requests finish."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from localops import clock
from localops.journal import rows
from localops.reading.home import Home
from localops.server import sockets
from localops.transfer import bundle
from tests import warm
from tests.server.hubs import PATH, RealHub, batch_of, hub, packed, session_rows, wait_until


@pytest.fixture
def connect(running: RealHub) -> Iterator[list[socket.socket]]:
    """Sockets that are closed when the test is over."""
    opened: list[socket.socket] = []
    yield opened
    for each in opened:
        each.close()


def _open(running: RealHub, opened: list[socket.socket]) -> socket.socket:
    host, port = running.url.removeprefix("http://").split(":")
    opened.append(socket.create_connection((host, int(port)), timeout=30))
    return opened[-1]


def _until_closed(sock: socket.socket) -> bytes:
    received = b""
    try:
        while piece := sock.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received


def _head(running: RealHub, length: int, *, key: str | None = None, path: str = "/sync/1/rows") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key or running.key}\r\n"
        f"Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _is_well(running: RealHub) -> bool:
    return running.take(batch_of(session_rows(), journal=clock.new_id().hex()))[0] == 200


def _has_read_all(running: RealHub) -> None:
    """Wait until a hub has read what it was sent: one loop reads everything in order of arrival."""
    assert running.ask("GET", "/health", key="")[0] == 200


def test_answers_go_out_at_once() -> None:
    """asyncio turns Nagle's algorithm off only for sockets that were named as TCP."""
    with sockets.listening("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_incomplete_requests_do_not_affect_other_clients(running: RealHub, connect: list[socket.socket]) -> None:
    """Heads that do not end, bodies that do not arrive, or nothing at all: others are served meanwhile."""
    for number in range(60):
        begun = [b"", b"GET /hea", b"POST /sync/1/rows HTTP/1.1\r\nHost: x\r\n", _head(running, 1_000, key="x")]
        _open(running, connect).sendall(begun[number % len(begun)])
    assert _is_well(running)


def test_more_bodies_of_one_key_than_it_may_send_are_put_off(running: RealHub, connect: list[socket.socket]) -> None:
    """A key with too many unfinished requests gets 429 with Retry-After; another key is served."""
    slow = running.new_key("slow")
    for _ in range(6):
        _open(running, connect).sendall(_head(running, 1_000, key=slow) + b"\x1f")
    wait_until(lambda: running.ask("GET", "/sync/1/hello", key=slow)[0] == 429)
    assert _is_well(running)
    for each in connect:
        each.close()
    wait_until(lambda: running.ask("GET", "/sync/1/hello", key=slow)[0] == 200)


def test_slow_lines_do_not_fill_the_hub(running: RealHub, connect: list[socket.socket]) -> None:
    """However many large bodies are on their way, the next one is taken: they wait in files, not in memory."""
    assert running.process is not None
    before = _memory(running.process.pid)
    half = os.urandom(4 << 20)
    for number in range(20):
        key = running.new_key(f"ship{number // 5}")
        _open(running, connect).sendall(_head(running, 8 << 20, key=key) + half)
    assert _is_well(running)
    assert _memory(running.process.pid) - before < 100 << 10


def test_a_query_body_is_short(running: RealHub) -> None:
    """The body of a query is read by the thread that serves all, so it has at most a megabyte, also compressed."""
    body = zlib.compress(b'{"rows":[' + b"1," * (1 << 20) + b"1]}", wbits=31)
    assert running.ask("POST", "/sync/1/missing", body, headers={"Content-Encoding": "gzip"})[0] == 413


def test_a_key_may_not_ask_too_often(tmp_path: Path) -> None:
    """A key over its rate gets 429 with Retry-After."""
    with hub(tmp_path, "default", "--rate", "1") as running:
        statuses = [running.ask("GET", "/sync/1/hello")[0] for _ in range(5)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


def test_a_flood_of_headers_is_cut_off(running: RealHub, connect: list[socket.socket]) -> None:
    """More than 16 KiB of them are not read."""
    sock = _open(running, connect)
    try:
        for number in range(10_000):
            sock.sendall(b"X-%d: %s\r\n" % (number, b"y" * 1_000) if number else b"GET /health HTTP/1.1\r\n")
    except ConnectionError:
        pass
    assert _until_closed(sock)[:12] in (b"HTTP/1.1 400", b"")
    assert _is_well(running)


def test_a_flood_behind_a_body_is_cut_off(running: RealHub, connect: list[socket.socket]) -> None:
    """What may follow a body in chunks is a head as well, and as short."""
    sock = _open(running, connect)
    sent = 0
    try:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        while sent < 64 << 20:
            sent += sock.send(b"y" * 65_536)
    except ConnectionError:
        pass
    # All that the buffers on the way hold was sent before the end of the connection could show.
    assert sent < 32 << 20
    assert _is_well(running)


@pytest.mark.parametrize("head", [b"garbage\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_cut_off(running: RealHub, connect: list[socket.socket], head: bytes) -> None:
    """TLS to a hub without it, for instance."""
    sock = _open(running, connect)
    sock.sendall(head + b"\r\n\r\n")
    assert b"200" not in _until_closed(sock)[:16]
    assert _is_well(running)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"])
def test_a_body_needs_a_length(running: RealHub, connect: list[socket.socket], length: bytes) -> None:
    """A body without an end is refused, and so is one with two of them, by the parser already if it is that in C."""
    sock = _open(running, connect)
    head = _head(running, 0).replace(b"Content-Length: 0\r\n", length + b"Transfer-Encoding: chunked\r\n")
    sock.sendall(head + b"5\r\nhello\r\n")
    assert _until_closed(sock)[:12] in ((b"HTTP/1.1 400", b"HTTP/1.1 411") if length else (b"HTTP/1.1 411",))


def test_a_client_that_sends_too_much_gets_the_reason(running: RealHub) -> None:
    """The rest of the body is discarded, so that the reply is not lost in a reset."""
    status, reply = running.ask("POST", "/sync/1/rows", b"x" * (30 << 20))
    assert (status, "too large" in reply["message"]) == (413, True)


def test_a_bomb_costs_no_memory(running: RealHub) -> None:
    """Eight megabytes that would be eight gigabytes are refused after 32 MiB of them."""
    engine = zlib.compressobj(9, wbits=31)
    piece = engine.compress(b"\0" * (1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    begin, more = piece, zlib.compressobj(9, wbits=-15)
    again = more.compress(b"\0" * (1 << 20)) + more.flush(zlib.Z_FULL_FLUSH)
    bomb = begin + again * (7_000_000 // len(again))
    assert running.process is not None
    before = _memory(running.process.pid)
    assert running.ask("POST", "/sync/1/rows", bomb, headers={"Content-Encoding": "gzip"})[0] == 413
    assert _memory(running.process.pid) - before < 100 << 10


def _memory(pid: int) -> int:
    """Return the peak memory of a process, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_unread_replies_cost_no_memory(tmp_path: Path, connect: list[socket.socket]) -> None:
    """A key has so many bytes of replies under way and then must read; they are not copied for the connection."""
    with hub(tmp_path) as found:
        session = session_rows(40, body='{"params":"' + "x" * 200_000 + '"}')
        assert found.take(batch_of(session))[0] == 200
        ask = (
            f"GET /api/1/sessions/{session[0][2].hex()}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {found.key}"
        )
        for _ in range(60):  # of 8 MB each
            _open(found, connect).sendall(f"{ask}\r\n\r\n".encode())
            assert connect[-1].recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 429")
        assert found.process is not None
        assert _memory(found.process.pid) < 400 << 10
        other = found.new_key("other")
        assert found.ask("GET", "/api/1/sessions", key=other)[0] == 200


def test_clients_without_a_key_do_not_keep_others_out(tmp_path: Path, connect: list[socket.socket]) -> None:
    """Unfinished logins have little time, and an address has a share of them."""
    half = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
    with hub(tmp_path, login=2.0) as running:
        for _ in range(8):
            _open(running, connect).sendall(half)
        statuses = [_until_closed(each)[:12] for each in connect]
        assert sorted(statuses) == [b"HTTP/1.1 408"] * 6 + [b"HTTP/1.1 429"] * 2
        _open(running, connect).sendall(half.replace(b"90", b"2") + b"}")
        assert connect[-1].recv(12) == b"HTTP/1.1 401"


def test_many_connections_make_room_for_more(tmp_path: Path) -> None:
    """With too many connections, the oldest idle one is closed, so that an active client is served."""
    with hub(tmp_path) as running:
        opened: list[socket.socket] = []
        for _ in range(1_100):
            _open(running, opened)
        assert _is_well(running)
        opened[0].settimeout(5)
        assert _until_closed(opened[0]) == b""
        for each in opened:
            each.close()


def test_a_thousand_machines_are_connected_at_once(tmp_path: Path) -> None:
    """The first of a thousand connections is still served when the last one is there."""
    with hub(tmp_path) as running:
        opened: list[socket.socket] = []
        for _ in range(1_000):
            _open(running, opened)
        for each in (opened[-1], opened[0]):
            each.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            each.settimeout(20)
            assert each.recv(65_536).startswith(b"HTTP/1.1 200")
        for each in opened:
            each.close()


def test_a_connection_is_kept_for_more_requests(running: RealHub, connect: list[socket.socket]) -> None:
    """Requests may follow each other, or be two in one packet."""
    sock = _open(running, connect)
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(3):
        sock.sendall(ask)
        reply = b""
        while not reply.endswith(b"}"):
            reply += sock.recv(65_536)
        assert reply.startswith(b"HTTP/1.1 200")
    sock.sendall(ask + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert _until_closed(sock).count(b"HTTP/1.1 200") == 2


def test_sigterm_lets_finish_what_runs(tmp_path: Path) -> None:
    """A request that has begun is answered; then the hub ends with 0, and the rows are stored."""
    with hub(tmp_path) as found:
        body = packed(batch_of(session_rows()))
        opened: list[socket.socket] = []
        sock = _open(found, opened)
        sock.sendall(_head(found, len(body)) + body[:-1])
        _has_read_all(found)
        ended: list[int] = []
        stopping = threading.Thread(target=lambda: ended.append(found.stop()))
        stopping.start()
        wait_until(lambda: found.ask("GET", "/health", key="")[0] == 503, 30)
        sock.sendall(body[-1:])
        assert b'"stored":5' in _until_closed(sock)
        sock.close()
        stopping.join()
        assert ended == [0]
        with Home(str(found.data), "default") as home:
            assert len(list(home.sessions())) == 1


def test_sigterm_does_not_wait_forever(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An unfinished request is waited for until the farewell time; the hub still exits with 0."""
    with hub(tmp_path, farewell=1) as found:
        opened: list[socket.socket] = []
        _open(found, opened).sendall(_head(found, 1_000) + b"\x1f")
        _has_read_all(found)
        assert found.stop() == 0
        opened[0].close()
    assert "Traceback" not in capfd.readouterr().err


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Killed between batches, the hub has each row that it signed for; a resend stores the others, once."""
    with hub(tmp_path) as found:
        batches = [batch_of(session_rows(50), journal=f"{number:032x}") for number in range(40)]
        signed: list[int] = []

        def send() -> None:
            for number, batch in enumerate(batches):
                try:
                    if found.take(batch)[0] == 200:
                        signed.append(number)
                except (OSError, HTTPException, ValueError):  # cut off before the answer, or in it
                    return

        sending = threading.Thread(target=send)
        sending.start()
        wait_until(lambda: len(signed) > 5)
        found.kill()
        sending.join()
        found.start()
        for number in signed:
            assert found.take(batches[number])[1]["known"] == 52
        for batch in batches:
            assert found.take(batch)[0] == 200
        assert found.ask("GET", "/api/1/analytics")[1]["llm_calls"] == 2_000


def test_a_full_disk_stores_no_part_of_a_batch(tmp_path: Path) -> None:
    """The reply is 503 with Retry-After; after that the batch is stored as a whole."""
    resource = pytest.importorskip("resource")
    with hub(tmp_path) as running:
        assert _is_well(running)
        assert running.process is not None
        sizes = [path.stat().st_size for path in running.folder.iterdir() if path.is_file()]
        _, most = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (max(sizes), most))
        batch = batch_of(session_rows(500, body='{"params":"' + os.urandom(2_000).hex() + '"}'), journal="f" * 32)
        status, reply = running.take(batch)
        assert (status, bool(reply["message"])) == (503, True)
        assert running.ask("GET", "/api/1/analytics")[1]["sessions"] == 1
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (most, most))
        status, reply = running.take(batch)
        assert (status, reply["stored"]) == (200, 502)


def test_readers_are_answered_while_rows_come_in(tmp_path: Path) -> None:
    """Several clients send and read at once; every batch is stored once, and every figure is of whole batches."""
    with hub(tmp_path, "default", "--rate", "100000") as running:
        sent = session_rows(0, end=None)
        running.take(batch_of(sent))
        path = f"/v2/sessions/{sent[0][2].hex()}/stats"
        done = threading.Event()
        seen: list[int] = []
        stored: list[int] = []

        def read() -> None:
            while not done.is_set():
                seen.append(running.ask("GET", path)[1]["events"])

        def send(name: str) -> None:
            for number in range(10):
                more = [
                    rows.make("action", sent[0][2], id=clock.new_id(), at_ns=clock.now_ns(), name=name)
                    for _ in range(20)
                ]
                stored.append(running.take(batch_of(more, 1 + 20 * number, journal=name * 32))[1]["stored"])

        readers = [threading.Thread(target=read) for _ in range(2)]
        senders = [threading.Thread(target=send, args=(name,)) for name in "bcd"]
        for each in readers + senders:
            each.start()
        for each in senders:
            each.join()
        done.set()
        for each in readers:
            each.join()
        assert stored == [20] * 30
        assert seen
        assert all(events % 20 == 0 for events in seen)
        assert running.ask("GET", path)[1]["events"] == 600


def _put_back(found: RealHub, copy: Path) -> None:
    for suffix in ("-wal", "-shm"):
        (found.folder / f"journal.db{suffix}").unlink(missing_ok=True)
    copy.rename(found.folder / "journal.db")


@pytest.mark.parametrize("stopped", [True, False])
def test_a_journal_that_was_put_back_is_noticed(tmp_path: Path, stopped: bool) -> None:
    """A hub restored from a backup replies with the rows it has; one that runs meanwhile has the newer rows, too."""
    with hub(tmp_path) as running:
        first, later = batch_of(session_rows(2), journal="1" * 32), batch_of(session_rows(4), 5, journal="1" * 32)
        running.take(first)
        with Home(str(running.data), "default") as home:
            home.projects[0].reader.backup(str(tmp_path / "copy.db"))
        running.take(later)
        if stopped:
            running.stop()
        _put_back(running, tmp_path / "copy.db")
        if stopped:
            running.start()
        there = bundle.previous(later)
        status, reply = running.take(batch_of(session_rows(1), 11, journal="1" * 32, previous=there))
        assert (status, reply.get("held")) == ((409, [[1, 4]]) if stopped else (200, None))
        assert running.ask("GET", "/api/1/analytics")[1]["llm_calls"] == (2 if stopped else 7)


def test_keys_that_cannot_be_read_stop_nothing_for_good(tmp_path: Path) -> None:
    """If the file of keys is broken or another user's, the hub replies 503, and senders blame neither rows nor key."""
    with hub(tmp_path) as running:
        keys = running.data / "hub.json"
        good = keys.read_bytes()
        keys.write_bytes(good[:-5])
        for _ in range(2):
            status, reply = running.take(batch_of(session_rows()))
            assert (status, "keys of the hub" in reply["message"]) == (503, True)
        keys.write_bytes(good)
        assert running.take(batch_of(session_rows()))[0] == 200


def test_a_hub_reports_its_problems(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The operator gets one line with the reason, and 503 of `/health`; clients get no path."""
    with hub(tmp_path, fresh=0.5) as running:
        assert running.ask("GET", "/health", key="")[0] == 200
        keys = running.data / "hub.json"
        good = keys.read_bytes()
        keys.write_bytes(good[:-5])
        capfd.readouterr()
        for _ in range(3):
            status, reply = running.take(batch_of(session_rows()))
            assert (status, str(tmp_path) in json.dumps(reply), "keys" in reply["message"]) == (503, False, True)
        err = capfd.readouterr().err
        assert (err.count("\n"), "hub.json" in err, " 503: the keys of the hub" in err) == (1, True, True)
        wait_until(lambda: running.ask("GET", "/health", key="")[0] == 503, 30)
        assert running.ask("GET", "/health", key="")[1]["problems"] == ["the keys cannot be read"]
        keys.write_bytes(good)
        shutil.rmtree(running.folder)
        running.folder.write_text("in the way")
        assert running.process is not None
        (running.data / f".health-{running.process.pid}").mkdir()
        for _ in range(2):
            status, reply = running.take(batch_of(session_rows()))
            assert (status, str(tmp_path) in json.dumps(reply)) == (503, False)
        assert capfd.readouterr().err.count(" 503: cannot store anything now: ") == 1
        wait_until(lambda: "cannot store anything" in str(running.ask("GET", "/health", key="")[1]["problems"]), 30)


def test_sighup_does_not_end_the_hub(tmp_path: Path) -> None:
    """Log rotation sends SIGHUP: the hub continues, even if there is no certificate to read again."""
    with hub(tmp_path) as found:
        assert found.process is not None
        found.process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        assert found.take(batch_of(session_rows()))[0] == 200


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can work for somebody else")
def test_files_that_root_writes_belong_to_their_owner(tmp_path: Path) -> None:
    """A key that root makes for the user of the service can be read by that user, and so can the project's files."""
    data = tmp_path / "hub"
    command = [sys.executable, "-m", "localops", "hub", "key", "create", "--data", str(data), "--project"]
    warm.run([*command, "one"], check=True, capture_output=True, timeout=60)
    for path in (data, *data.rglob("*")):
        os.chown(path, 65_534, 65_534)
    warm.run([*command, "two"], check=True, capture_output=True, timeout=60)
    assert {path.stat().st_uid for path in (data, *data.rglob("*"))} == {65_534}
    assert (data / "two" / "journal.db").exists()


def test_tls_is_served(tmp_path: Path) -> None:
    """With a certificate the hub speaks HTTPS, and only that."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*make.split(), *more], check=True, capture_output=True)
    with hub(tmp_path, "default", "--tls-cert", str(cert), "--tls-key", str(key), head=3.0) as found:
        assert found.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        silent = socket.create_connection(("127.0.0.1", int(found.url.rpartition(":")[2])), timeout=30)
        with urllib.request.urlopen(found.url + "/health", context=context, timeout=30) as answer:
            assert answer.status == 200
        was = cert.read_text()
        subprocess.run([*make.split(), *more], check=True, capture_output=True)
        assert found.process is not None
        found.process.send_signal(signal.SIGHUP)
        renewed = ssl.create_default_context(cafile=str(cert))
        assert cert.read_text() != was

        def is_renewed() -> bool:
            try:
                with urllib.request.urlopen(found.url + "/health", context=renewed, timeout=30) as answer:
                    return bool(answer.status == 200)
            except urllib.error.URLError:
                return False

        wait_until(is_renewed, 30)
        with silent:  # who never greets has the time of a head, and not a minute
            assert _until_closed(silent) == b""


_POOLS = """
import ctypes, re, sys, tempfile, threading
from localops.server import listen

if sys.argv[1] == "shared":
    listen._share_memory()
libc = ctypes.CDLL(None)
everyone = threading.Barrier(4)

def take():
    libc.malloc(1000)
    everyone.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as report:
    stream = ctypes.c_void_p(libc.fopen(report.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall("<heap nr", report.read().decode())))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another library than glibc")
def test_threads_share_one_pool_of_memory() -> None:
    """Each thread would keep what it has once used: with many projects, that doubles the memory of an idle hub."""
    environment = {**os.environ, "PYTHONPATH": PATH, "MALLOC_ARENA_MAX": "8"}
    environment.pop("GLIBC_TUNABLES", None)
    pools = [
        subprocess.run(
            [sys.executable, "-c", _POOLS, how], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for how in ("shared", "own")
    ]
    assert int(pools[0]) == 1 < int(pools[1]), pools
