"""A reverse proxy for tests, on a loopback port: it publishes one server below a path, and nothing beside it."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_OF_THE_HOP = ("connection", "keep-alive", "transfer-encoding")
_PIECE = 65_536


class Proxy:
    """A proxy for `behind`: `/path/x` is requested there unchanged, or with `strips` as `/x`; all else is 404.

    `.url` is the address of the server, without a slash at the end; `.seen` are the targets of its requests.
    """

    def __init__(self, behind: str, path: str, *, strips: bool) -> None:
        self.behind = urlsplit(behind)
        self.path, self.strips = path, strips
        self.seen: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def _hand_on(self) -> None:
        """Ask the server behind, and pass on each piece of its answer as it arrives."""
        path = self.proxy.path
        self.proxy.seen.append(self.path)
        self.close_connection = True
        if self.path != path and not self.path.startswith((f"{path}/", f"{path}?")):
            self.send_error(404)
            return
        target = self.path[len(path) :] or "/" if self.proxy.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection(str(self.proxy.behind.hostname), self.proxy.behind.port, timeout=60)
        try:
            connection.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_THE_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_THE_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while piece := answer.read1(_PIECE):
                self.wfile.write(piece)
        except (ConnectionError, http.client.HTTPException):
            pass  # either side has gone
        finally:
            connection.close()

    do_GET = do_HEAD = do_POST = do_PATCH = _hand_on  # noqa: N815  names of the standard library

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""
