"""Measure the pages, for bench.py: a server's time to answer and to start, and its cost for a recorder."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import localops
from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from localops.server.home_reader import HomeReader
from localops.server.session_index import SORTS

if TYPE_CHECKING:
    from scripts.bench import Bench

_MODELS = ("gpt-4o", "gpt-4o-mini", "o3-mini", "claude-sonnet-4-5")
_CONNECTIONS = 6  # of a browser to one server
# What /analytics asks for, in its order.
_ACROSS = (
    "analytics?",
    "analytics/daily?tz=Europe/Berlin&",
    "analytics/distributions?",
    *(f"analytics?by={by}&limit=20&" for by in ("model", "tool", "agent", "tag")),
    *(f"sessions?sort={sort}&order=desc&limit=10&" for sort in ("cost", "seconds", "errors")),
)


class Pages:
    """A `localops ui` on a home, asked over one connection."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "localops", "ui", "--port", "0", "--home", str(home)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        url, _, token = self.process.stdout.readline().strip().partition("/#t=")
        self.port = urlsplit(url).port or 0
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = {"Content-Type": "application/json", "X-Localops": "1"}
        self._connection.request("POST", "/login", json.dumps({"token": token}), sent)
        answer = self._connection.getresponse()
        answer.read()
        self.cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]

    def get(self, path: str) -> bytes:
        """Return the content of an address."""
        self._connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status, body[:200])
        return body

    def took(self, path: str) -> float:
        """Milliseconds until an answer is there."""
        began = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - began) * 1000

    def at_once(self, paths: Sequence[str]) -> list[float]:
        """Milliseconds until each answer is there, when all are asked for as a browser does."""
        began = time.perf_counter()

        def ask(path: str) -> float:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            connection.request("GET", path, headers={"Cookie": self.cookie})
            connection.getresponse().read()
            connection.close()
            return (time.perf_counter() - began) * 1000

        with ThreadPoolExecutor(_CONNECTIONS) as browser:
            return list(browser.map(ask, paths))

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *failure: object) -> None:
        self._connection.close()
        self.process.terminate()
        self.process.wait(30)


def made_sessions(many: int) -> Iterator[rows.Row]:
    """Rows of so many short sessions, ten events each, no two days alike."""
    chance = random.Random(1)
    begin = clock.now_ns() - many * 10_000_000_000
    for number in range(many):
        at = begin + number * 10_000_000_000
        session, agent = clock.new_id(at), clock.new_id(at)
        tags = encode.dumps(["nightly" if number % 3 else "weekly", f"batch-{number // 1000}"]).decode()
        yield rows.make("session", session, id=session, at_ns=at, name=f"run-{number % 50}", tags=tags, body="{}")
        yield rows.make("agent", session, id=agent, at_ns=at + 1, name=("planner", "writer", "critic")[number % 3])
        for step in range(8):
            yield rows.make(
                "llm",
                session,
                id=clock.new_id(at),
                at_ns=at + chance.randrange(1, 4_000) * 1_000_000,
                agent=agent,
                model=_MODELS[(number + step % 2) % 4],
                tokens=(chance.randrange(5_000), chance.randrange(500), None, None),
                cost=chance.randrange(9_000_000),
                body='{"prompt":"where is the harbour","completion":"north of the old town"}',
            )
        yield rows.make("tool", session, id=clock.new_id(at), at_ns=at + 5_000, name=("search", "fetch")[number % 2])
        if number % 20 == 0:
            yield rows.make("error", session, id=clock.new_id(at), at_ns=at + 6_000, name="TimeoutError")
        ended = at + chance.randrange(5_000, 90_000) * 1_000_000
        yield rows.make("end", session, id=clock.new_id(at), at_ns=ended, name="Success" if number % 4 else "Failure")


def ui_list(bench: Bench) -> None:
    """Measure the list of many sessions: each filter, each order, and the counts beside it."""
    with bench.home("ui-list") as home:
        journal = Journal(str(home / "default"))
        journal.add(made_sessions(bench.sessions))
        journal.fold()
        journal.close()
        reader = HomeReader(str(home))
        with reader._home(None) as opened:
            opened.projects[0].index().extend()
        reader.close()
        filters = [
            "",
            *(f"sort={sort}&order={order}" for sort in SORTS for order in ("asc", "desc")),
            "state=Failure",
            "tag=weekly",
            "tag=batch-7",
            "model=o3-mini&agent=writer",
            "since=2020-01-01&until=2100-01-01",
            "min_cost=0.02&max_cost=0.03",
            "min_seconds=20&max_seconds=30",
            "errors=1",
            "text=harbour",
            "text=run-7",
            "text=old+town&state=Failure&tag=nightly&model=gpt-4o&agent=writer&min_cost=0.01&sort=cost",
        ]
        with Pages(home) as pages:
            cold = pages.took("/api/1/sessions?sort=cost")
            took = [[pages.took(f"/api/1/sessions?{query}") for query in filters] for _ in range(bench.rounds)]
            counts = [[pages.took(f"/api/1/facets?{query}") for query in filters[-11:]] for _ in range(bench.rounds)]
            across = [
                _across(pages, query, bench.rounds) for query in ("", "tag=weekly", "since=2020-01-01&tag=nightly")
            ]
        everything = sorted(value for one in took for value in one)
        worst = max(range(len(filters)), key=lambda at: statistics.median(one[at] for one in took))
        bench.say(
            f"list of {bench.sessions:,} sessions ({10 * bench.sessions:,} events), any filter, any order: p95",
            "<= 50 ms",
            f"{everything[len(everything) * 95 // 100]:.0f} ms (p50 {statistics.median(everything):.0f} ms, slowest "
            f"{filters[worst] or 'none'} {statistics.median(one[worst] for one in took):.0f} ms, first {cold:.0f} ms)",
        )
        counted = sorted(value for one in counts for value in one)
        bench.say(
            "counts of every filter's values beside it: p95", "<= 50 ms", f"{counted[len(counted) * 95 // 100]:.0f} ms"
        )
        what = f"/analytics of {bench.sessions:,} sessions, all, with a tag, with a time and a tag"
        bench.say(f"{what}: its sums", "<= 300 ms", ", ".join(f"{sums:.0f} ms" for sums, _ in across))
        bench.say(f"{what}: all of it", "<= 1000 ms", ", ".join(f"{whole:.0f} ms" for _, whole in across))


def _across(pages: Pages, query: str, rounds: int) -> tuple[float, float]:
    """Until the sums across sessions are there, and until the last chart can be drawn."""
    times = [pages.at_once([f"/api/1/{part}{query}" for part in _ACROSS]) for _ in range(min(rounds, 5))]
    return statistics.median(each[0] for each in times), statistics.median(max(each) for each in times)


def ui_session(bench: Bench) -> None:
    """Measure the page of a session of 100,000 events, and all of these in columns."""
    with bench.home("ui-session") as home:
        session = localops.init()
        assert session is not None
        for number in range(100_000):
            kind = localops.ToolEvent(name="search") if number % 2 else localops.ActionEvent(action_type="step")
            session.record(kind)
        session.end_session("Success")
        path = f"/api/1/sessions/{session.session_id}/timeline"
        with Pages(home) as pages:
            page = statistics.median(pages.took(f"/s/{session.session_id}") for _ in range(9))
            first = statistics.median(pages.took(f"{path}?limit=2000") for _ in range(9))
            whole = statistics.median(_all_of(pages, path) for _ in range(5))
        bench.say(
            "page of a session of 100,000 events: its HTML, the first 2,000 events, all of them",
            "",
            f"{page:.0f} ms, {first:.0f} ms, {whole:.0f} ms",
        )


def _all_of(pages: Pages, path: str) -> float:
    began = time.perf_counter()
    after: int | None = 0
    while after is not None:
        after = json.loads(pages.get(f"{path}?limit=20000&after={after}"))["next"]
    return (time.perf_counter() - began) * 1000


def ui_start(bench: Bench) -> None:
    """`localops ui` from the command to the first byte of a page, beside `python -c pass`."""
    with bench.home("ui-start") as home:
        localops.init()
        localops.end_all_sessions()

        def ui() -> float:
            began = time.perf_counter()
            with Pages(home) as pages:
                pages.get("/")
                return time.perf_counter() - began

        def nothing() -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            return time.perf_counter() - began

        ratios = [ui() / nothing() for _ in range(5 if bench.rounds < 20 else 15)]
        bench.say("localops ui from the command to its first page", "<= 15 x python -c pass", _ratio(ratios))


def ui_live(bench: Bench) -> None:
    """record() while a page watches the session, beside record() while server and page are stopped."""
    with bench.home("ui-live") as home:
        session = localops.init()
        assert session is not None
        timed = _recording(session)
        timed()
        with Pages(home) as pages, _watching(pages, str(session.session_id)) as watcher:
            ratios, wal = [], 0
            for _ in range(bench.rounds):
                watched = timed()
                wal = max(wal, os.path.getsize(home / "default" / "journal.db-wal"))
                for process in (watcher, pages.process):
                    process.send_signal(signal.SIGSTOP)
                alone = timed()
                for process in (watcher, pages.process):
                    process.send_signal(signal.SIGCONT)
                ratios.append(watched / alone)
        bench.say("record() p50 while a page watches the session", "<= 1.2 x without", _ratio(ratios))
        bench.say("the WAL meanwhile, at most", "bounded", f"{wal / 1e6:.0f} MB")


def _recording(session: Any) -> Callable[[], float]:
    """Return a block that records for a second as fast as possible, and its median."""
    from scripts.bench import PARAMS, RETURNS

    def block() -> float:
        took, until = [], time.perf_counter() + 1.0
        while time.perf_counter() < until:
            event = localops.ActionEvent(params=PARAMS, returns=RETURNS, action_type="step")
            began = time.perf_counter_ns()
            session.record(event)
            took.append(time.perf_counter_ns() - began)
        return statistics.median(took)

    return block


@contextmanager
def _watching(pages: Pages, session: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does what an open page does: it gets notices of new rows, and fetches them."""
    command = [sys.executable, __file__, "watch", str(pages.port), pages.cookie, session]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def watch(port: int, cookie: str, session: str) -> None:
    """Do what an open page does."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/api/1/live?session={session}", headers={"Cookie": cookie})
    stream = connection.getresponse()
    seen = 0
    while line := stream.readline():
        if line.startswith(b"data:"):
            asked = http.client.HTTPConnection("127.0.0.1", port)
            path = f"/api/1/sessions/{session}/timeline?after={seen}&limit=20000"
            asked.request("GET", path, headers={"Cookie": cookie})
            seen = json.loads(asked.getresponse().read())["seen"]
            asked.request("GET", f"/api/1/sessions/{session}", headers={"Cookie": cookie})
            asked.getresponse().read()
            asked.close()


def _ratio(found: list[float]) -> str:
    return f"{statistics.median(found):.2f} x"


PARTS = {part.__name__: part for part in (ui_list, ui_session, ui_start, ui_live)}

if __name__ == "__main__" and sys.argv[1:2] == ["watch"]:
    watch(int(sys.argv[2]), sys.argv[3], sys.argv[4])
