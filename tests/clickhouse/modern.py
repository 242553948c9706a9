"""A current ClickHouse (chdb, which runs it inside a process) behind the HTTP interface of a server.

`python -m tests.clickhouse.modern PORT FOLDER` serves it, one statement at a time.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from localops.server.clickhouse.engine import Address, Engine
from tests import ports
from tests.clickhouse.starting import wait_until_it_answers

_INSERT = re.compile(r"(insert into .*?)\s+format\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(r"\s+format\s+(\w+)\s*$", re.IGNORECASE)


class Modern:
    """A current ClickHouse in a process of its own, with the methods of Server that do not kill it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = ports.free()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clickhouse.modern", str(self.port), str(folder)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL,
            env=os.environ.copy(),
        )
        wait_until_it_answers(self.engine(), lambda: self._process.poll() is None)

    @staticmethod
    def is_there() -> bool:
        """Return whether chdb can be imported."""
        return find_spec("chdb") is not None

    def engine(self, database: str = "default") -> Engine:
        """Return an engine for a database."""
        return Engine(Address((f"http://127.0.0.1:{self.port}",), database))

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"clickhouse://default@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        """Kill the process; its folder is the caller's to delete."""
        self._process.kill()
        self._process.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session: Any
    folder: Path
    lock = Lock()

    def do_POST(self) -> None:
        fields = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        statement, rows = fields.pop("query", ""), body
        if not statement:
            statement, rows = body.decode(), b""
        try:
            with self.lock:
                status, answer = 200, self._run(fields.pop("database"), fields, statement, rows)
        except (RuntimeError, zlib.error) as error:
            status, answer = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _run(self, database: str, settings: dict[str, str], statement: str, rows: bytes) -> bytes:
        ask = self.session.query
        ask(f"use {database}")
        for name, value in settings.items():
            ask(f"set {name} = '{value}'")
        try:
            if match := _INSERT.match(statement):
                file = self.folder / "rows"
                file.write_bytes(rows)
                ask(f"{match[1]} from infile '{file}' format {match[2]}")
                return b""
            form = _FORMAT.search(statement)
            return bytes(ask(_FORMAT.sub("", statement), form[1] if form else "TSV").bytes() or b"")
        finally:
            if "max_execution_time" in settings:
                ask("set max_execution_time = 0")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(port: int, folder: Path) -> None:
    from chdb.session import Session  # type: ignore[import-not-found,unused-ignore]

    _Handler.session = Session(str(folder / "data"))
    _Handler.folder = folder
    ThreadingHTTPServer(("127.0.0.1", port), _Handler).serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
