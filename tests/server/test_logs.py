"""The lines of a hub: one JSON object each if asked, with a request id, and never with a key."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import signal
import socket
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.server import logs
from localops.server.home_store import HomeStore
from localops.server.keys import Keys, handle_of
from localops.transfer import bundle
from tests.server.hubs import batch_of, packed, session_rows, wait_until
from tests.warm import MAIN, ours

_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"


class Logged:
    """A hub whose output goes to files."""

    def __init__(self, folder: Path, *options: str, program: str | None = None) -> None:
        self.data = folder / "hub"
        self.key = Keys(str(self.data)).create("research")
        store = HomeStore(str(self.data))
        store.migrate("research")
        store.close()
        self.handle = handle_of(self.key)
        self.out, self.err = folder / "out", folder / "err"
        arguments = ["hub", "serve", "--data", str(self.data), "--port", "0", *options]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = ours().start(program or MAIN, arguments, stdout=out.fileno(), stderr=err.fileno())
        self.port = 0
        while not self.port:
            assert self.process.poll() is None, self.err.read_text()
            written = self.out.read_text()
            if written.endswith("\n"):
                self.port = int(written.partition("127.0.0.1:")[2].split('"')[0].split()[0])

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, authorized: bool = False, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        if authorized:
            headers["Authorization"] = f"Bearer {self.key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def end(self) -> list[dict[str, Any]]:
        """End the hub, and return its lines as JSON."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0
        return [json.loads(line) for line in self.text().splitlines()]

    def text(self) -> str:
        """Return all that it has written."""
        return self.out.read_text() + self.err.read_text()


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Logged]:
    """Start a hub that logs JSON, requests too."""
    started = Logged(tmp_path, "--log-format", "json", "--access-log")
    yield started
    started.process.kill()
    started.process.wait()


def test_each_line_is_json_with_what_an_operator_needs(logged: Logged) -> None:
    """The start, a request with its key's handle, one that failed, and the stop."""
    assert logged.ask("GET", "/api/1/sessions?limit=3&text=secret+words", authorized=True)[0] == 200
    body = packed(batch_of(session_rows()))
    assert logged.ask("POST", "/sync/1/rows", body, Content_Encoding="gzip", authorized=True)[0] == 200
    assert logged.ask("GET", "/nothing/here")[0] == 404
    assert logged.ask("GET", "/api/1/sessions")[0] == 401
    lines = logged.end()
    assert [line["event"] for line in lines if line["event"] != "request"] == ["start", "stop"]
    assert all(line["time"].endswith("+00:00") and line["level"] in ("info", "error") for line in lines)
    read, sent, missing, stranger = [line for line in lines if line["event"] == "request"]
    assert (read["method"], read["path"], read["status"]) == ("GET", "/api/1/sessions?limit=3&text=…", 200)
    assert (read["project"], read["key"], read["door"]) == ("research", logged.handle, "read")
    assert (sent["door"], sent["ms"] > 0, sent["bytes"] > 0) == ("sync", True, True)
    assert sent["peer"].startswith("127.0.0.1:")
    assert (missing["path"], missing["status"], missing["door"]) == ("/nothing/here", 404, "other")
    assert (stranger["status"], "key" in stranger, "project" in stranger) == (401, False, False)
    assert len({line["request_id"] for line in (read, sent, missing, stranger)}) == 4


def test_a_request_keeps_the_id_that_it_brings(logged: Logged) -> None:
    """If it is short and printable; else it gets another. The answer has it as well."""
    long, control = "x" * 65, "a b"
    for given, kept in (("proxy-17:a/3", True), (str(uuid.uuid4()), True), (long, False), (control, False)):
        _, headers, _ = logged.ask("GET", "/nothing", X_Request_Id=given)
        assert (headers["x-request-id"] == given) == kept, given
    ids = [line["request_id"] for line in logged.end() if line["event"] == "request"]
    assert (ids[0], long in ids, control in ids) == ("proxy-17:a/3", False, False)


def test_a_failure_names_its_request(logged: Logged) -> None:
    """The body of a 5xx and the line in the log have the same id, so that a user's report can be found."""
    # The hub's own first look would report the keys, too.
    wait_until(lambda: logged.ask("GET", "/ready")[0] == 200, 60)
    keys = logged.data / "hub.json"
    good = keys.read_bytes()
    keys.write_bytes(good[:-9])
    status, headers, body = logged.ask("GET", "/api/1/sessions", authorized=True)
    keys.write_bytes(good)
    assert (status, json.loads(body)["request_id"]) == (503, headers["x-request-id"])
    assert "request_id" not in json.loads(logged.ask("GET", "/api/1/sessions")[2])
    lines = logged.end()
    [trouble] = [line for line in lines if line["event"] == "trouble"]
    assert (trouble["request_id"], trouble["status"], trouble["level"]) == (headers["x-request-id"], 503, "error")
    assert "hub.json" in trouble["message"]


def test_a_problem_names_its_project_and_key(logged: Logged) -> None:
    """With the file that it is about, so that an operator knows where to look."""
    assert logged.ask("GET", "/api/1/sessions", authorized=True)[0] == 200
    journal = logged.data / "research" / "journal.db"
    shutil.rmtree(journal.parent)
    journal.mkdir(parents=True)
    assert logged.ask("GET", "/api/1/sessions", authorized=True)[0] == 503
    lines = [line for line in logged.end() if line["event"] == "trouble" and "request_id" in line]
    assert [(line["project"], line["key"], line["door"]) for line in lines] == [("research", logged.handle, "read")]
    assert str(journal) in lines[0]["message"]
    journal.rmdir()


_BROKEN = """
import sys
from localops.server.read_api import ReadApi
async def facets(self, call):
    raise RuntimeError(f"broken by {call.key}")
ReadApi.facets = facets
from localops.cli import main
main(sys.argv[1:])
"""


def test_an_unexpected_error_is_one_line(tmp_path: Path) -> None:
    """With its traceback and the request, and without the key that was in its message; the client gets the id only."""
    logged = Logged(tmp_path, "--log-format", "json", program=_BROKEN)
    try:
        status, headers, body = logged.ask("GET", "/api/1/facets", authorized=True)
        assert (status, json.loads(body)["request_id"]) == (500, headers["x-request-id"])
        assert "broken" not in body.decode()
        lines = logged.end()
    finally:
        logged.process.kill()
    [error] = [line for line in lines if line["level"] == "error"]
    assert (error["event"], error["path"], error["request_id"]) == ("error", "/api/1/facets", headers["x-request-id"])
    assert error["message"] == f"RuntimeError: broken by key:{logged.handle}"
    assert error["traceback"].rstrip().endswith(error["message"])
    assert "Traceback" in error["traceback"]


@pytest.mark.parametrize("form", logs.FORMATS)
def test_no_line_has_a_key(tmp_path: Path, form: str) -> None:
    """Whatever place of a request it is in, and in whatever form: a key, one of another hub, or a token."""
    logged = Logged(tmp_path, "--log-format", form, "--access-log")
    foreign = bundle.new_key("another hub")
    own = (logged.key, logged.key.upper(), logged.key.replace("-", ""))
    secrets = [*own, foreign, _JWT, "sk-proj-" + "a1B2c3D4" * 6]
    try:
        for secret in secrets:
            quoted, basic = urllib.parse.quote(secret), base64.b64encode(f"ada:{secret}".encode()).decode()
            for path in (
                f"/{quoted}",
                f"/s/{quoted}",
                f"/api/1/sessions/{quoted}/events",
                f"/blobs/{quoted}/{quoted}",
                f"/api/1/sessions?key={quoted}",
                f"/api/1/sessions?{quoted}",
                f"/api/1/sessions?before={quoted}&since={quoted}&project={quoted}&{quoted}=1",
                f"/v2/sessions/{quoted}/stats",
                f"/{quoted.replace('-', '%2D')}?limit={quoted.replace('-', '%2d')}",
                f"/x{quoted}y/login?t={quoted}#{quoted}",
            ):
                logged.ask("GET", path)
                logged.ask("GET", path, Authorization=f"Bearer {secret}", X_Request_Id=secret)
                logged.ask("GET", path, Authorization=f"Basic {basic}", User_Agent=secret, Referer=f"http://x/{secret}")
                logged.ask(
                    "GET", path, X_Agentops_Api_Key=secret, Cookie=f"localops-{logged.port}={secret}; s={secret}"
                )
            sent = json.dumps({"token": secret}).encode()
            logged.ask("POST", "/login", sent, Content_Type="application/json", X_Localops="1")
            logged.ask("POST", "/sync/1/rows", secret.encode(), authorized=True)
            logged.ask("POST", "/sync/1/missing", secret.encode(), authorized=True)
            logged.ask(secret.replace("-", ""), "/")
        logged.process.send_signal(signal.SIGTERM)
        logged.process.wait(60)
    finally:
        logged.process.kill()
    written = logged.text()
    assert written.count("request_id") > 100
    plain = written.lower().replace("-", "").replace("%2d", "")
    for secret in secrets:
        assert secret.lower().replace("-", "") not in plain, secret
    assert logged.handle in written


def test_an_address_is_logged_without_content() -> None:
    """Words and ids are kept, all else becomes a mark."""
    session = uuid.UUID(bytes=clock.new_id())
    assert logs.address(f"/s/{session}", b"") == f"/s/{session}"
    assert (
        logs.address("/api/1/sessions", b"limit=5&state=Failure&tag=hush")
        == "/api/1/sessions?limit=5&state=Failure&tag=…"
    )
    key = bundle.new_key("a hub")
    assert logs.address(f"/s/{key}", f"before={key}".encode()) == f"/s/key:{handle_of(key)}?before=…"
    assert logs.address(f"/{'x' * 33}/né/{_JWT}", b"\xff=\xff&&&") == "/…/…/…?…"


def test_lines_of_uvicorn_go_the_same_way(logged: Logged) -> None:
    """What is no HTTP at all leads to no line that is not JSON."""
    with socket.create_connection(("127.0.0.1", logged.port), timeout=30) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        sock.recv(1_000)
    assert logged.end()
