"""Reads of a hub on ClickHouse with a large project: how long lists, pages, figures and searches take.

`python -m scripts.bench_clickhouse_reads load FOLDER [SESSIONS]` makes and stores sessions of a hundred rows, and
`python -m scripts.bench_clickhouse_reads read FOLDER [TIMES]` sends requests to a hub that has them.
If chdb is installed, the ClickHouse is that one, a current release; otherwise it is Debian's server.  FOLDER needs
about 600 bytes a row.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics  # type: ignore[import-untyped,unused-ignore]

from localops import clock
from localops.journal import rows
from localops.journal.stored import Stored
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.keys import Keys
from localops.transfer.bundle import Batch
from localops.transfer.ingest import Arrived
from tests.clickhouse.modern import Modern
from tests.clickhouse.servers import Server
from tests.server.hubs import RealHub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.journal.rows import Row

PROJECT = "default"
_SESSIONS, _ROWS, _DAYS = 100_000, 100, 30
# Sessions of one batch, and batches that are stored together.
_BATCH, _TOGETHER = 10, 8
_MIRROR = 1 << 30  # bytes of rows that stay in the folder
_MODELS = ["gpt-4o", "gpt-4o-mini", "o3-mini", "claude-sonnet-4-5", "claude-haiku-4-5", "gemini-2.5-flash"]
_TOOLS = [
    f"{verb}_{what}"
    for verb in ("search", "read", "write", "run")
    for what in ("web", "file", "query", "tests", "mail")
]
_AGENTS = ["planner", "researcher", "coder", "reviewer", "tester"]
_ERRORS = ["TimeoutError", "ValueError", "RateLimitError", "KeyError"]
_STATES = ["Success"] * 7 + ["Failure"] * 2 + ["Indeterminate"]
_SECOND = 10**9


class Text:
    """Words from Python's own help, in their order."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._words = re.findall(r"[A-Za-z]{2,}", " ".join(topics.values()))

    def words(self, many: int) -> str:
        """Return so many consecutive words from a random place."""
        at = self._draw.randrange(len(self._words) - many)
        return " ".join(self._words[at : at + many])


class Maker:
    """Makes sessions, the same in each run; `words` is the number of words of a prompt."""

    def __init__(self, *, words: int, days: int = _DAYS, seed: int = 1) -> None:
        self._draw = random.Random(seed)
        self._text = Text(self._draw)
        self._words, self._days = words, days
        self._end_ns = clock.now_ns() - 3_600 * _SECOND

    def session(self, at: float) -> list[Row]:
        """Return the rows of a session; `at` is when it begins, between 0 (the first day) and 1 (now)."""
        draw = self._draw
        now = self._end_ns - int((1 - at) * self._days * 86_400 * _SECOND)
        session, participant = clock.new_id(now), clock.new_id(now)
        tags = json.dumps(
            [f"team={draw.randrange(20)}", f"user=u{draw.randrange(2_000)}", draw.choice(("nightly", "ci", "prod"))]
        )
        host = json.dumps(
            {"host": f"host-{draw.randrange(1_000)}", "pid": draw.randrange(1 << 20), "participant": participant.hex()}
        )
        name = f"{draw.choice(('triage', 'report', 'refactor', 'answer', 'crawl'))} {draw.randrange(200)}"
        made = [
            rows.make(
                "session", session, id=clock.new_id(now), at_ns=now, name=name, parent=participant, tags=tags, body=host
            )
        ]
        agents = [clock.new_id(now) for _ in range(2)]
        made += [rows.make("agent", session, id=id, at_ns=now, name=draw.choice(_AGENTS)) for id in agents]
        while len(made) < _ROWS - 1:
            now += draw.randrange(20 * _SECOND)
            made.append(self._event(session, draw.choice(agents), now))
        made.append(
            rows.make("end", session, id=clock.new_id(now), at_ns=now, name=draw.choice(_STATES), parent=participant)
        )
        return made

    def _event(self, session: bytes, agent: bytes, now: int) -> Row:
        draw = self._draw
        [kind] = draw.choices(["llm", "tool", "action", "error"], [45, 35, 18, 2])
        common: dict[str, Any] = {"id": clock.new_id(now), "at_ns": now, "agent": agent}
        if kind == "llm":
            body = {"prompt": self._text.words(self._words), "completion": self._text.words(self._words // 4)}
            tokens = (draw.randrange(4_000), draw.randrange(500), draw.randrange(2_000), None)
            return rows.make(
                kind,
                session,
                **common,
                start_ns=now - draw.randrange(9 * _SECOND),
                end_ns=now,
                model=draw.choice(_MODELS),
                tokens=tokens,
                cost=draw.randrange(10**7),
                body=json.dumps(body),
            )
        if kind == "error":
            text = json.dumps(
                {"message": self._text.words(6), "trigger": {"kind": "tool", "name": draw.choice(_TOOLS)}}
            )
            return rows.make(kind, session, **common, name=draw.choice(_ERRORS), failed=1, body=text)
        text = json.dumps(
            {"params": {"q": self._text.words(3), "n": draw.randrange(1_000)}, "returns": self._text.words(8)}
        )
        start = now - draw.randrange(2 * _SECOND)
        return rows.make(
            kind,
            session,
            **common,
            start_ns=start,
            end_ns=now,
            name=draw.choice(_TOOLS),
            failed=int(draw.random() < 0.03),
            body=text,
        )


def batches(maker: Maker, sessions: int) -> Iterator[Batch]:
    """Yield sessions as the batches of a thousand machines."""
    seqs = dict.fromkeys(range(1_000), 1)
    for first in range(0, sessions, _BATCH):
        made = [row for at in range(first, first + _BATCH) for row in maker.session(at / sessions)]
        machine = first // _BATCH % 1_000
        seq = seqs[machine]
        seqs[machine] += len(made)
        stored = [Stored(seq + place, *row) for place, row in enumerate(made)]
        yield Batch(f"{machine:032x}", [], stored, [(seq, seqs[machine] - 1)])


def load(store: ClickHouseStore, each: Iterator[Batch], sessions: int) -> None:
    """Store batches, several at a time."""
    some: list[Arrived] = []
    for number, batch in enumerate(each, 1):
        some.append(Arrived(batch, {}, "k" * 32))
        if len(some) == _TOGETHER or number * _BATCH >= sessions:
            for outcome in store.ingest_together(PROJECT, some, by="bench"):
                if isinstance(outcome, Exception):
                    raise outcome
            some = []
        if number % 1_000 == 0:
            print(f"{number * _BATCH:,} sessions", flush=True)
    store.write_behind(PROJECT)


def clickhouse(folder: Path) -> Modern | Server:
    """Start ClickHouse over a folder."""
    at = folder / "clickhouse"
    at.mkdir(parents=True, exist_ok=True)
    return Modern(at) if Modern.is_there() else Server(at)


def _lists(number: int) -> dict[str, str]:
    """Return queries of the list, each with one filter or order; they differ from one number to the next."""
    one = {
        "none": "",
        "state": f"state={('Failure', 'Indeterminate')[number % 2]}",
        "tag": f"tag={('nightly', 'ci', 'prod')[number % 3]}",
        "not tag": f"not_tag={('nightly', 'ci', 'prod')[number % 3]}",
        "model": f"model={_MODELS[number % 6]}",
        "agent": f"agent={_AGENTS[number % 5]}",
        "tool": f"tool={_TOOLS[number % 20]}",
        "user": f"user=u{number}",
        "metadata": f"meta=team%3D{number}",
        "name": f"name=report+{number}",
        "name, a pattern": f"name=*{number}*",
        "host": f"host=host-{number}",
        "error": f"error={_ERRORS[number % 4]}",
        "cost": f"min_cost={0.25 + number / 1_000}",
        "duration": f"min_seconds={900 + number}",
        "errors": f"errors=1&until={number + 1}d",
        "days": f"since={number + 3}d&until={number + 1}d",
        "by cost": f"sort=cost&until={number}d",
        "by duration": f"sort=seconds&order=asc&until={number}d",
        "three": f"tag=ci&model={_MODELS[number % 6]}&min_cost=0.2&since={number + 9}d",
    }
    return {f"list: {name}": f"/api/1/sessions?limit=50&{query}" for name, query in one.items()}


def _figures(number: int) -> dict[str, str]:
    """Return queries for figures across sessions, up to so many days ago."""
    chosen = f"until={number}d"
    groups = (
        "",
        *(f"by={by}&" for by in ("day", "model", "tool", "kind", "agent", "tag", "user", "session", "meta:team")),
    )
    named = {f"figures: {each.strip('&') or 'sums'}": f"/api/1/analytics?{each}{chosen}" for each in groups}
    for name in ("speeds", "daily", "scores", "distributions"):
        named[f"figures: {name}"] = f"/api/1/analytics/{name}?{chosen}"
    named["figures: facets"] = f"/api/1/facets?{chosen}"
    named["figures: summary"] = f"/api/1/summary?{chosen}"
    return named


def _session(session: str, name: str) -> dict[str, str]:
    """Return the requests of a session's page."""
    at = f"/api/1/sessions/{session}"
    return {
        f"page: {name}": at,
        f"page: {name}, its events": f"{at}/events?limit=500",
        f"page: {name}, its timeline": f"{at}/timeline?limit=500",
        f"page: {name}, why": f"{at}/why",
    }


def _searches(text: Text, number: int) -> dict[str, str]:
    """Return queries that search for words."""
    query = {
        "a common word": ("object", "value", "class", "method", "name")[number % 5],
        "a rare word": ("asynchronous", "backslash", "interpolation", "weakref", "walrus")[number % 5],
        "a word that no row has": f"zyx{number}q",
        "two words": text.words(2).replace(" ", "+"),
        "five words": text.words(5).replace(" ", "+"),
    }
    return {f"search: {name}": f"/api/1/sessions?limit=50&text={words}" for name, words in query.items()}


class Watch:
    """Sends requests to a hub, and notes how long each kind takes: wall time, and CPU time of both processes."""

    def __init__(self, hub: RealHub, clickhouse: int) -> None:
        assert hub.process is not None
        self._hub, self._pids = hub, (hub.process.pid, clickhouse)
        self._timings: dict[str, list[tuple[float, ...]]] = {}

    def ask(self, named: dict[str, str]) -> list[Any]:
        """Send each request once; return the answers."""
        answers = []
        for name, path in named.items():
            before, began = [_cpu(pid) for pid in self._pids], time.perf_counter()
            answer = self._answer(path)
            seconds = time.perf_counter() - began
            spent = [_cpu(pid) - was for pid, was in zip(self._pids, before, strict=True)]
            self._timings.setdefault(name, []).append((seconds, *spent))
            answers.append(answer)
        return answers

    def _answer(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._hub.key}"}
        with urllib.request.urlopen(
            urllib.request.Request(self._hub.url + path, headers=headers), timeout=600
        ) as reply:
            return json.load(reply)

    def print(self) -> None:
        """Print a line for each kind of request."""
        print("ms: minimum, median, p95 of wall time; CPU time of the hub, of ClickHouse")
        for name, timings in self._timings.items():
            walls = sorted(seconds for seconds, *_ in timings)
            p95 = walls[min(len(walls) - 1, int(0.95 * len(walls)))]
            hub, clickhouse_cpu = (sum(each[place] for each in timings) / len(timings) for place in (1, 2))
            figures = [walls[0], statistics.median(walls), p95, hub, clickhouse_cpu]
            print(f"{name:36}" + "".join(f"{1_000 * figure:9.1f}" for figure in figures), flush=True)


def _cpu(pid: int) -> float:
    # From schedstat, which has nanoseconds for each thread; stat has only hundredths of a second.
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def read(place: Path, server: Modern | Server, times: int) -> None:
    """Measure the reads of a hub."""
    server_pid = server._process.pid if isinstance(server, Modern) else server._pid
    assert server_pid is not None
    text = Text(random.Random(2))
    draw = random.Random(3)
    with RealHub(place, PROJECT, ("--store", server.url("large"), "--mirror", str(_MIRROR >> 20)), whole=True) as hub:
        watch = Watch(hub, server_pid)
        # The first request waits until the hub is ready.
        hub.ask("GET", "/api/1/sessions?limit=50")
        for number in range(1, times + 1):
            watch.ask(_searches(text, number))
            listed = watch.ask(_lists(number))
            newest = listed[0]["sessions"][draw.randrange(40)]["session_id"]
            _, old = hub.ask("GET", f"/api/1/sessions?limit=20&until={draw.randrange(10, 29)}d")
            watch.ask(_session(newest, "a new one"))
            cold = old["sessions"][draw.randrange(20)]["session_id"]
            watch.ask(_session(cold, "an old one"))
            watch.ask(_session(cold, "the same again"))
        watch.print()
        figures = Watch(hub, server_pid)
        for number in range(1, times + 1):
            figures.ask(_figures(number))
        figures.print()


def main() -> None:
    """Run the command `load` or `read`."""
    what, folder, *more = sys.argv[1:]
    place = Path(folder)
    server = clickhouse(place)
    try:
        if what == "read":
            read(place, server, int(more[0]) if more else 20)
            return
        sessions = int(more[0]) if more else _SESSIONS
        Keys(str(place / "hub"), new=True).create(PROJECT)
        engine = server.engine("large")
        migrate(engine)
        store = ClickHouseStore(str(place / "hub"), engine, bound=_MIRROR)
        store.migrate(PROJECT)
        began, cpu = time.time(), time.process_time()
        load(store, batches(Maker(words=16), sessions), sessions)
        print(f"{time.time() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU here")
        store.close()
    finally:
        server.close()


if __name__ == "__main__":
    main()
