"""Measures what a hub costs its operator, for bench.py: scrapes, hours without work, a start with much data."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from localops import clock, config
from localops.journal import rows
from localops.journal.journal import Journal
from localops.server.keys import Keys

if TYPE_CHECKING:
    from scripts.bench import Bench

_PROJECTS = 200
_SCRAPES = 100
_IDLE = 30.0  # seconds
_MONITORED = 5.0  # seconds between two questions of monitoring
# Bytes of one body in the large hub, and bodies of one transaction.
_BODY, _AT_ONCE = 200_000, 50


class Watched:
    """A hub process with a listener for monitoring."""

    def __init__(self, data: Path) -> None:
        self._began = time.perf_counter()
        command = [sys.executable, "-m", "localops", "hub", "serve", "--data", str(data), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--metrics", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.url = re.findall(r"http://\S+(?=/metrics)", self.process.stderr.readline())[0]
        self.process.stdout.readline()

    def seconds_to_ready(self) -> float:
        """Wait until it takes rows; return the seconds since its start."""
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/ready", timeout=60):
                    return time.perf_counter() - self._began
            except urllib.error.HTTPError as error:
                error.close()
                time.sleep(0.005)

    def scrape(self, query: str = "") -> tuple[float, bytes]:
        """Return the milliseconds that a scrape took, and its text."""
        began = time.perf_counter()
        with urllib.request.urlopen(f"{self.url}/metrics{query}", timeout=60) as reply:
            text = reply.read()
        return (time.perf_counter() - began) * 1_000, text

    def look(self) -> None:
        """Ask as monitoring does; trouble is an answer as well."""
        for path in ("/health", "/ready", "/metrics"):
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as reply:
                    reply.read()
            except urllib.error.HTTPError as error:
                error.close()

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self) -> float:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextmanager
def _hub(data: Path) -> Iterator[Watched]:
    running = Watched(data)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(60)
        for stream in (running.process.stdout, running.process.stderr):
            assert stream is not None
            stream.close()


def _session(at_ns: int, bodies: int, body: str) -> Iterator[rows.Row]:
    session = clock.new_id(at_ns)
    yield rows.make("session", session, id=clock.new_id(at_ns), at_ns=at_ns, name="a run", body="{}")
    for _ in range(bodies):
        at = clock.now_ns()
        yield rows.make("action", session, id=clock.new_id(at), at_ns=at, name="step", body=body)


def _fill(data: Path, project: str, sessions: int, bodies: int, size: int) -> None:
    journal = Journal(config.project_folder(str(data), project))
    for _ in range(sessions):
        journal.add(_session(clock.now_ns(), bodies, f'{{"params":"{os.urandom(size // 2).hex()}"}}'))
    journal.fold()
    journal.close()


def watch(bench: Bench) -> None:
    """Measure a scrape and an idle hub with many projects, and a start with many gigabytes."""
    data = bench.folder / "hub"
    Keys(str(data))
    for number in range(_PROJECTS):
        _fill(data, f"p{number:03}", 1, 5, 500)
    with _hub(data) as running:
        running.seconds_to_ready()
        while b"localops_hub_sessions" not in running.scrape("?projects=1")[1]:
            time.sleep(0.1)
        figures = []
        for query in ("", "?projects=1"):
            took = [running.scrape(query)[0] for _ in range(_SCRAPES)]
            figures.append(f"{statistics.median(took):.1f} ms")
        bench.say(f"/metrics of a hub of {_PROJECTS} projects, and with each of them", "<= 20 ms", ", ".join(figures))
        time.sleep(20)  # until what the scrapes have started is over
        before = running.cpu()
        time.sleep(_IDLE)
        share = (running.cpu() - before) / _IDLE
        bench.say("that hub while nothing happens, share of a processor", "<= 0.1 %", f"{share:.2%}")
        began, before = time.monotonic(), running.cpu()
        while time.monotonic() - began < _IDLE:
            running.look()
            time.sleep(_MONITORED)
        share = (running.cpu() - before) / (time.monotonic() - began)
        bench.say("the same, asked for its health and metrics every five seconds", "<= 1 %", f"{share:.2%}")
        bench.say("its memory", "<= 120 MB", f"{running.megabytes():.0f} MB")
    large = bench.folder / "large"
    Keys(str(large))
    gigabytes = 1 if bench.many < 1_000_000 else 10
    _fill(large, "default", (gigabytes << 30) // (_BODY * _AT_ONCE), _AT_ONCE, _BODY)
    # A hub writes a small file before it is ready, which would wait for all that was written just now.
    os.sync()
    with _hub(large) as running:
        took_s = running.seconds_to_ready()
        used_s = running.cpu()
    figure = f"{took_s:.2f} s (CPU {used_s:.2f} s)"
    bench.say(f"start of a hub with {gigabytes} GB of rows, until /ready", "<= 2 s", figure)


PARTS = {"watch": watch}
