"""Pages for tests: a process of `localops ui` on a loopback port, requested by hand, header by header."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.warm import MAIN, Copy, ours


class Answer:
    """The answer to a request."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class RealPages:
    """A running `localops ui`; requests have the cookie by default."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        arguments = ["ui", "--port", "0", "--home", str(home), *options]
        self.process: Copy | subprocess.Popen[str] = ours().start(MAIN, arguments, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()
        self.url, _, self.token = self.link.partition("/#t=")
        self.port = urlsplit(self.url).port or 0
        self.cookie = self.enter(self.token)

    def enter(self, token: str) -> str:
        """Return the cookie that a token is exchanged for."""
        answer = self.ask("POST", "/login", json.dumps({"token": token}), cookie="", **JSON, x_localops="1")
        return answer.headers.get("set-cookie", "").partition(";")[0]

    def get(self, path: str, **headers: str) -> Answer:
        """Return the answer of an address."""
        return self.ask("GET", path, **headers)

    def ask(
        self, method: str, path: str, body: str | None = None, *, host: str | None = None, **headers: str
    ) -> Answer:
        """Send a request with exactly these headers; `_` stands for `-` in their names, an empty host for none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host != "":
                connection.putheader("Host", f"127.0.0.1:{self.port}" if host is None else host)
            cookie = headers.pop("cookie", self.cookie if hasattr(self, "cookie") else "")
            for name, value in {**headers, **({"cookie": cookie} if cookie else {})}.items():
                connection.putheader(name.replace("_", "-"), value)
            data = None if body is None else body.encode()
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def stop(self) -> int:
        """Ask it to end, and give back its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def __enter__(self) -> RealPages:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()


JSON = {"content_type": "application/json"}
