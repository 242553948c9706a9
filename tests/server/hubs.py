"""A hub for tests: a real process on a loopback port, its data in the test's own folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localops import clock
from localops.journal import rows
from localops.server.home_store import HomeStore
from localops.server.keys import Keys
from localops.transfer import bundle
from localops.transfer.bundle import Batch, Previous
from tests import ports
from tests.made import stored
from tests.warm import MAIN, Copy, ours

TOP = Path(__file__).parent.parent.parent
PATH = os.pathsep.join((str(TOP), str(TOP / "sync")))
# Files that a running hub writes and removes: who copies its folder may not see them end.
PASSING = shutil.ignore_patterns(".health-*")
# The commands, with other limits than a hub has by itself: a test that waits for the end of a wait need not wait long.
LIMITED = """
import functools, json, sys
from localops.cli import main
from localops.server import auth, limits, operator_api, presence, threads, troubles
given = json.loads(sys.argv[1])
auth._LOGIN = given.pop("login", auth._LOGIN)
troubles._FRESH = given.pop("fresh", troubles._FRESH)
troubles._LOOK = given.pop("look", troubles._LOOK)
presence._PATIENCE = given.pop("takeover", presence._PATIENCE)
operator_api._REFUSED = given.pop("unready", operator_api._REFUSED)
threads._REFUSED = given.pop("unwell", threads._REFUSED)
threads._TRIED = given.pop("tried", threads._TRIED)
limits.Limits = functools.partial(limits.Limits, **given)
main(sys.argv[2:])
"""


class RealHub:
    """A hub process; it keeps its port and its data when it is started again.

    It is a copy of a program that has loaded all that a hub does, or, `whole`, a command as any user starts it.
    """

    def __init__(
        self,
        folder: Path,
        project: str = "default",
        options: tuple[str, ...] = (),
        limits: Mapping[str, float] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self.data = folder / "hub"
        self.options = options
        self.limits = limits
        self.whole = whole
        self.project = project
        self.key = self.new_key(project)
        self.id = Keys(str(self.data)).hub
        self.url = ""
        self.output = ""  # on stdout after its address; known once it has ended
        self._port = ports.free()
        self.process: subprocess.Popen[str] | Copy | None = None
        self.start()

    @property
    def folder(self) -> Path:
        """Return the folder of the project's journal."""
        return self.data / self.project

    def new_key(self, project: str, **options: Any) -> str:
        """Return a new key; the project exists when this returns.  Options are those of Keys.create."""
        made = Keys(str(self.data)).create(project, **options)
        store = HomeStore(str(self.data))
        store.migrate(project)
        store.close()
        return made

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        port = [] if "--uds" in self.options else ["--port", str(self._port)]
        arguments = ["hub", "serve", "--data", str(self.data), *port, *self.options]
        program, given = (MAIN, []) if self.limits is None else (LIMITED, [json.dumps(self.limits)])
        if self.whole:
            start = ["-m", "localops"] if self.limits is None else ["-c", program, *given]
            self.process = subprocess.Popen(
                [sys.executable, *start, *arguments],
                env={**os.environ, "PYTHONPATH": PATH},
                stdout=subprocess.PIPE,
                text=True,
            )
        else:
            self.process = ours().start(program, [*given, *arguments], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " listens at " in line, f"the hub printed {line!r} and ended with {self.process.wait()}"
        self.url = line.split()[-1]

    def stop(self) -> int:
        """Ask it to end (SIGTERM), and give back its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it in the middle of whatever it does (SIGKILL)."""
        return self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(30)
        finally:
            process.kill()
            assert process.stdout is not None
            with process.stdout:
                self.output = process.stdout.read()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return the status and the JSON (or the headers, of a HEAD; or the text) of the reply to a request."""
        sent = {"Authorization": f"Bearer {self.key if key is None else key}", **(headers or {})}
        request = urllib.request.Request(self.url + path, body, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                text = found.read()
                if method == "HEAD":
                    return found.status, dict(found.headers)
                is_text = found.headers.get_content_type() in ("text/plain", "application/openmetrics-text")
                return found.status, text.decode() if is_text else json.loads(text or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            return error.code, json.loads(text) if text else None

    def take(self, batch: Batch, **options: Any) -> tuple[int, Any]:
        """Return the reply to a batch."""
        return self.ask("POST", "/sync/1/rows", packed(batch), headers={"Content-Encoding": "gzip"}, **options)

    def __enter__(self) -> RealHub:
        return self

    def __exit__(self, *failure: object) -> None:
        self.kill()


def hub(folder: Path, project: str = "default", *options: str, **limits: float) -> RealHub:
    """Return a hub with a data folder in `folder` and a key to a project, listening: `.url`, `.key`, `.data`.

    Keywords are fields of its Limits, and `login`, `fresh`, `takeover`, `unready`, `unwell` and `tried`, in seconds:
    `hub(tmp_path, farewell=1)`.
    `.stop()`, `.kill()` and `.start()` end it and start it again at the same address; use it in a `with`, or stop it.
    """
    return RealHub(folder, project, options, limits or None)


def session_rows(
    events: int = 3, *, end: str | None = "Success", body: str = '{"params":{"q":"why"}}', age_ns: int = 0
) -> list[rows.Row]:
    """Return the rows of a session that never ran: its start, LLM calls, and its end if it has one."""
    session = clock.new_id()

    def row(kind: str, **columns: Any) -> rows.Row:
        at = clock.now_ns() - age_ns
        return rows.make(kind, session, **{"id": clock.new_id(at), "at_ns": at, **columns})

    sent = [row("session", name="a run", parent=clock.new_id(), tags='["nightly"]', body="{}")]
    sent += [row("llm", model="gpt-4o-mini", tokens=(10, 2, None, None), cost=7, body=body) for _ in range(events)]
    return sent + ([row("end", name=end, body="{}")] if end else [])


def batch_of(
    sent: Sequence[rows.Row], first: int = 1, *, journal: str = "a" * 32, previous: Previous | None = None
) -> Batch:
    """Return rows as a sender's batch, from a seq on."""
    return Batch(journal, [], stored(sent, first), [(first, first + len(sent) - 1)], previous)


def packed(batch: Batch) -> bytes:
    """Return a batch as the body of a request."""
    return zlib.compress(bundle.pack(batch), wbits=31)


def wait_until(true: Any, seconds: float = 60.0) -> None:
    """Wait for what another process is about to do."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
