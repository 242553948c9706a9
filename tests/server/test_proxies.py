"""The configurations of proxies in docs/hub-proxy.md, run as they stand there: nginx and Caddy in front of a hub."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest

from localops.journal import blobs
from localops_sync import exit_codes
from tests import ports
from tests.server.hubs import TOP, RealHub, batch_of, hub, packed, session_rows
from tests.sync.homes import Sender, identities

trustme = pytest.importorskip("trustme")

_PAGE = (TOP / "localops" / "docs" / "hub-proxy.md").read_text()
_SOCKET = "/run/localops-hub/hub.sock"
_CERT, _KEY = "/etc/ssl/hub.example.pem", "/etc/ssl/private/hub.example.key"


@dataclass
class Fronted:
    """A hub behind a proxy with TLS."""

    hub: RealHub
    port: int
    authority: str

    @property
    def url(self) -> str:
        """Return the address at which the proxy serves the hub."""
        return f"https://localhost:{self.port}/localops"

    def open(self, path: str, body: bytes | None = None, **headers: str) -> HTTPResponse:
        """Request a path below that of the hub."""
        sent = {"Authorization": f"Bearer {self.hub.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = urllib.request.Request(self.url + path, body, {k: v for k, v in sent.items() if v})
        context = ssl.create_default_context(cafile=self.authority)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        answer: HTTPResponse = opener.open(request, timeout=60)
        return answer


def _block(language: str) -> str:
    match = re.search(rf"^```{language}\n(.*?)^```", _PAGE, re.DOTALL | re.MULTILINE)
    assert match is not None
    return match[1]


def _nginx(folder: Path, port: int, uds: str, cert: Path, key: Path) -> list[str]:
    site = _block("nginx")
    for old, new in (("443 ssl", f"127.0.0.1:{port} ssl"), (_SOCKET, uds), (_CERT, str(cert)), (_KEY, str(key))):
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    # As root, the workers could not open the folders of a test.
    user = "user root;\n" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{site}\n}}\n"
    )
    # The log of the time before it has read its configuration cannot be set otherwise.
    return ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def _caddy(folder: Path, port: int, uds: str, cert: Path, key: Path) -> list[str]:
    site = _block("caddy")
    for old, new in (
        ("hub.example {", f"https://localhost:{port} {{"),
        (f"unix/{_SOCKET}", f"unix/{uds}"),
        (_CERT, str(cert)),
        (_KEY, str(key)),
    ):
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    (folder / "Caddyfile").write_text(
        f"{{\n    admin off\n    auto_https disable_redirects\n    default_bind 127.0.0.1\n}}\n{site}"
    )
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def fronted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    """A hub on a Unix socket, and the proxy before it."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("p")
    uds, cert, key = f"{folder}/hub.sock", folder / "cert.pem", folder / "key.pem"
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    issued = ca.issue_cert("localhost")
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    port = ports.free()
    command = {"nginx": _nginx, "caddy": _caddy}[request.param](folder, port, uds, cert, key)
    options = ("--root-path", "/localops", "--uds", uds, "--proxy", "unix", "--access-log")
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with hub(folder, "default", *options) as running, open(folder / "printed", "wb") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=printed, env=environment)
        try:
            _wait(process, port, folder)
            yield Fronted(running, port, f"{folder}/ca.pem")
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)
    log = folder / "error.log"
    pytest.fail((folder / "printed").read_text() + (log.read_text() if log.exists() else ""))


def test_rows_and_files_of_a_sender_arrive(fronted: Fronted, tmp_path: Path) -> None:
    """Batches near the largest size, compressed by zstd, and a blob in pieces; all of it is verified on the hub."""
    sender = Sender(tmp_path / "home", fronted.url, fronted.hub.key, ca=fronted.authority)
    digest = blobs.keep(sender.folder, os.urandom(9 << 20))
    for _ in range(12):
        sender.write(1, body=json.dumps({"params": os.urandom(1 << 19).hex()}))
    sender.write(500, body=json.dumps({"params": {"$blob": digest}}))
    done = sender.sync()
    assert (done.code, done.sent) == (exit_codes.DONE, 513), done
    assert sender.sync(verify=True).code == exit_codes.DONE
    assert sender.identities() <= identities(str(fronted.hub.folder / "journal.db"))
    with fronted.open(f"/blobs/default/{digest}") as answer:
        assert len(answer.read()) == 9 << 20


def test_pages_are_below_the_path(fronted: Fronted) -> None:
    """A browser logs in over HTTPS, gets a cookie for the path and for HTTPS only, and every file of the page."""
    with fronted.open(
        "/login",
        json.dumps({"token": fronted.hub.key}).encode(),
        Content_Type="application/json",
        X_Localops="1",
        Authorization="",
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Proto="http",
    ) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert ("; secure" in cookie.lower(), "; Path=/localops;" in cookie) == (True, True)
    with fronted.open("/", Cookie=cookie.partition(";")[0], Authorization="", Accept="text/html") as answer:
        page = answer.read().decode()
    links = set(re.findall(r'(?:href|src)="(/localops/web/[^"]+)"', page))
    assert len(links) >= 3
    for link in links:
        with fronted.open(link.removeprefix("/localops"), Authorization="") as answer:
            assert answer.status == 200


def test_changes_are_streamed(fronted: Fronted) -> None:
    """Each change reaches the page when it happens, not when a buffer of the proxy is full."""
    with fronted.open("/api/1/live") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        body = packed(batch_of(session_rows(2), journal=os.urandom(16).hex()))
        with fronted.open("/sync/1/rows", body, Content_Encoding="gzip") as answer:
            assert json.load(answer)["stored"] == 4
        received = b""
        while b"data:" not in received:
            line = stream.readline()
            assert line, received
            received += line


def test_the_log_has_the_client_and_no_invention(fronted: Fronted) -> None:
    """The hub sees no address on its socket: what it logs is what the proxy says."""
    with fronted.open("/health", X_Forwarded_For="6.6.6.6") as answer:
        assert answer.status == 200
    fronted.hub.stop()
    try:
        assert re.search(r"GET (/localops)?/health .*peer=127\.0\.0\.1", fronted.hub.output)
        assert "6.6.6.6" not in fronted.hub.output
        # While no hub listens, a sender gets an error of the proxy, which it takes for a passing one.
        with pytest.raises(urllib.error.HTTPError) as refused:
            fronted.open("/health")
        assert refused.value.code in (502, 503)
        refused.value.close()
    finally:
        fronted.hub.start()
    with fronted.open("/health") as answer:
        assert answer.status == 200
