"""Signals: a stop finishes running requests, a second one ends at once, SIGHUP renews a certificate."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.server.hubs import RealHub, batch_of, hub, packed, session_rows, wait_until

trustme = pytest.importorskip("trustme")


def _socket(running: RealHub) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=30)


def _begun(running: RealHub) -> tuple[socket.socket, bytes]:
    """Begin to send a batch; return the connection, and the last byte of the body."""
    body = packed(batch_of(session_rows()))
    sock = _socket(running)
    head = f"POST /sync/1/rows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\nContent-Encoding: gzip\r\n"
    sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
    # One loop reads everything, in the order in which it came.
    assert running.ask("GET", "/health", key="")[0] == 200
    return sock, body[-1:]


def _read(sock: socket.socket) -> bytes:
    answer = b""
    while piece := sock.recv(65_536):
        answer += piece
    return answer


def test_a_stopping_hub_refuses_new_requests(tmp_path: Path) -> None:
    """On a new connection and on one that was kept: 503 with Retry-After; the request that runs is finished."""
    with hub(tmp_path, farewell=60) as running:
        assert running.process is not None
        sock, rest = _begun(running)
        kept = _socket(running)
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        first = kept.recv(65_536)
        while not first.endswith(b"}"):
            first += kept.recv(65_536)
        assert first.startswith(b"HTTP/1.1 200")
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ask("GET", "/health", key="")[0] == 503, 30)
        kept.sendall(b"POST /sync/1/rows HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        answer = _read(kept).lower()
        assert answer.startswith(b"http/1.1 503")
        assert b"\r\nretry-after: 5\r\n" in answer
        assert b"\r\nconnection: close\r\n" in answer
        assert b"stopping" in answer
        sock.sendall(rest)
        assert b'"stored":5' in _read(sock)
        assert running.process.wait(30) == 0
        for each in (sock, kept):
            each.close()


def test_a_request_that_a_stop_cuts_off_can_be_sent_again(tmp_path: Path) -> None:
    """It is answered with 503: exporters of OpenTelemetry give up what is answered with 500."""
    with hub(tmp_path, farewell=1) as running:
        assert running.process is not None
        sock, _ = _begun(running)
        with sock:
            running.process.send_signal(signal.SIGTERM)
            answer = _read(sock).lower()
        assert answer.startswith(b"http/1.1 503"), answer
        assert b"\r\nretry-after: 5\r\n" in answer
        assert b"stopping" in answer
        assert running.process.wait(30) == 0


def test_a_second_signal_ends_the_hub_at_once(tmp_path: Path) -> None:
    """It does not wait for requests that run, and a journal that was written stays whole."""
    with hub(tmp_path, farewell=600) as running:
        assert running.process is not None
        assert running.take(batch_of(session_rows(), journal="c" * 32))[1]["stored"] == 5
        sock, _ = _begun(running)
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: running.ask("GET", "/health", key="")[0] == 503, 30)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == -signal.SIGTERM
        sock.close()
        running.kill()
        running.start()
        assert running.take(batch_of(session_rows(), journal="d" * 32))[1]["stored"] == 5


class _Pair:
    """The certificate and key of a hub, renewed by one authority."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.renew()

    def renew(self, *, cert: bool = True, key: bool = True) -> None:
        """Replace the files, or only one of them."""
        issued = self.ca.issue_cert("127.0.0.1")
        if cert:
            self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        if key:
            self.key.write_bytes(issued.private_key_pem.bytes())

    def context(self) -> ssl.SSLContext:
        """Return a context of a client that trusts the authority."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


def _serial(running: RealHub, pair: _Pair, name: str | None = "127.0.0.1") -> str:
    """Return the serial number of the certificate that a new connection gets."""
    context = pair.context()
    if name is None:
        context.check_hostname = False
    with _socket(running) as sock, context.wrap_socket(sock, server_hostname=name) as secured:
        secured.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert secured.recv(65_536).startswith(b"HTTP/1.1 200")
        facts = secured.getpeercert()
    assert facts is not None
    return str(facts["serialNumber"])


def _hang_up(running: RealHub, capfd: pytest.CaptureFixture[str], word: str) -> str:
    """Send SIGHUP, and return what the hub prints about it."""
    assert running.process is not None
    printed = capfd.readouterr().err
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while word not in printed:
        assert time.monotonic() < deadline, printed
        time.sleep(0.02)
        printed += capfd.readouterr().err
    return printed


def test_a_renewed_certificate_is_served(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Open connections keep the old one, new ones get the new one, with and without a server name."""
    pair = _Pair(tmp_path)
    with hub(tmp_path, "default", "--tls-cert", str(pair.cert), "--tls-key", str(pair.key)) as running:
        first = _serial(running, pair)
        with _socket(running) as sock, pair.context().wrap_socket(sock, server_hostname="127.0.0.1") as kept:
            for _ in range(2):
                pair.renew()
                _hang_up(running, capfd, "new connections get it")
                renewed = _serial(running, pair)
                assert renewed == _serial(running, pair, name=None) != first
                first = renewed
            kept.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(65_536).startswith(b"HTTP/1.1 200")
        with urllib.request.urlopen(running.url + "/health", context=pair.context(), timeout=30) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("fault", ["garbage", "another key", "another certificate", "missing", "missing key", "empty"])
def test_a_broken_certificate_leaves_the_old_one(tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str) -> None:
    """Also a pair of which one half was replaced; the hub names the file, and takes the next good pair."""
    pair = _Pair(tmp_path)
    with hub(tmp_path, "default", "--tls-cert", str(pair.cert), "--tls-key", str(pair.key)) as running:
        first = _serial(running, pair)
        if fault == "garbage":
            pair.cert.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
        elif fault == "missing":
            pair.cert.unlink()
        elif fault == "missing key":
            pair.key.unlink()
        elif fault == "empty":
            pair.key.write_text("")
        else:
            pair.renew(cert=fault == "another certificate", key=fault == "another key")
        printed = _hang_up(running, capfd, "keeping the old one")
        assert str(pair.cert) in printed
        assert (f"{pair.key} is missing" in printed) == (fault == "missing key")
        assert _serial(running, pair) == first
        pair.renew()
        _hang_up(running, capfd, "new connections get it")
        assert _serial(running, pair) != first


def test_a_hangup_without_a_certificate_changes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As of a terminal that is closed, or of log rotation."""
    with hub(tmp_path) as running:
        assert running.process is not None
        for number in range(3):
            running.process.send_signal(signal.SIGHUP)
            assert running.take(batch_of(session_rows(), journal=f"{number:032x}"))[0] == 200
        assert running.process.poll() is None
    assert capfd.readouterr().err == ""


_STOPPED_AS_IT_LISTENS = """
import os, signal, sys
from localops.cli import ui
from localops.server import listen

serve = listen.serve

def stopped_at_once(app, **options):
    def ready(address):
        options["ready"](address)
        os.kill(os.getpid(), signal.SIGTERM)
    serve(app, **{**options, "ready": ready})

listen.serve = stopped_at_once
ui.serve(sys.argv[1], None, 0, True, {})
"""


def test_a_signal_in_the_moment_it_listens_stops_it(tmp_path: Path) -> None:
    """Before its main loop has begun, uvicorn would leave without a shutdown, and threads would run on."""
    command = [sys.executable, "-c", _STOPPED_AS_IT_LISTENS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "url" in done.stdout
