"""Measures what the docs promise: ratios, side by side in one run, on whatever machine this is.

Blocks of both sides run in turn in one process, in random order; a ratio is the median over rounds of what the two
took next to each other.  `--quick` is for trying: a tenth of the rows and fewer rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import apsw

import localops
from localops import clock
from localops.decorators import operation
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.journal_file import INSERTS
from localops.recording.session import Session

PARAMS: dict[str, Any] = {
    "query": "select the best restaurants near the harbour",
    "limit": 10,
    "filters": {"cuisine": ["thai", "greek"], "open": True, "price": "$$"},
    "user": {"id": 12345, "name": "Ada Lovelace", "lang": "en"},
    "note": "The customer asked for a quiet table by the window, and for a taxi at ten; she is allergic to nuts.",
}
RETURNS: dict[str, Any] = {
    "results": ["one", "two", "three"],
    "score": 0.87,
    "ok": True,
    "text": "Found three places that match: two of them take reservations tonight, the third only serves guests.",
}
Carried = list[tuple[object, object]]  # params and returns of one event after another, again and again
_WORDS = str(PARAMS["note"]).split()


def new_texts(many: int) -> Carried:
    """Return what as many events carry of which each has three texts that no other has, as most events have."""
    chance = random.Random(1)

    def text(words: int) -> str:
        return " ".join(f"{chance.choice(_WORDS)} {chance.randrange(1000)}" for _ in range(words))

    return [
        ({**PARAMS, "query": text(5), "note": text(12)}, {**RETURNS, "text": text(12), "next": None})
        for _ in range(many)
    ]


# The same texts each time, with a None, as most answers have one; values within values; long texts.
CARRIED: dict[str, Carried] = {
    "with a None in it": [(PARAMS, {**RETURNS, "next": None})],
    "nested six deep": [
        (
            {"plan": [{"step": {"call": {"args": [n, None, {"path": f"{n}.py", "lines": [1, 2]}]}}} for n in range(6)]},
            {"ok": True, "seen": (1, 2, 3), "next": None},
        )
    ],
    "of 10,000 characters": [
        (
            {"prompt": "Find a quiet table for four people, near the harbour if there is one. " * 110, "stop": None},
            {"completion": "Three of the places that match take reservations tonight. " * 40, "finish": None},
        )
    ],
}
_USUAL: Carried = [(PARAMS, RETURNS)]
BLOCK = 300
PAGE = Path(__file__).parent.parent / "localops" / "docs" / "benchmarks.md"
_HAND_TABLE = (
    "create table e(id integer primary key, session text, type text, name text, start integer, end integer, "
    "cost integer, tokens_in integer, tokens_out integer, agent text, params text, returns text)"
)
_HAND_INSERT = (
    "insert into e(session, type, name, start, end, cost, tokens_in, tokens_out, agent, params, returns) "
    "values(?,?,?,?,?,?,?,?,?,?,?)"
)

Block = Callable[[], list[int]]


class Bench:
    """The sizes of this run, and what was found."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.rounds = 11 if quick else 41
        self.many = 100_000 if quick else 1_000_000
        self.sessions = 10_000 if quick else 100_000
        self.lines: list[tuple[str, str, str]] = []

    def say(self, what: str, reach: str, figure: str) -> None:
        """Print one line of the table as soon as it is known."""
        self.lines.append((what, reach, figure))
        print(f"{what:<96} {reach:>28}   {figure}", flush=True)

    @contextmanager
    def home(self, name: str) -> Iterator[Path]:
        """Make an empty home for one measurement."""
        path = self.folder / name
        os.environ["LOCALOPS_HOME"] = str(path)
        yield path
        localops.end_all_sessions()
        localops.api._reset()
        shutil.rmtree(path, ignore_errors=True)


def marked(reach: str, figure: str) -> str:
    """Return a figure, in bold if it misses its reach."""
    bounds = re.findall(r"(<=|>=|<|>) ?(\d[\d,]*\.?\d*)", reach)
    parts = re.sub(r"\(.*?\)", "", figure).split(", ")
    if not bounds:
        return figure
    paired = bounds if len(bounds) == len(parts) else bounds[:1] * len(parts)
    for (sign, bound), part in zip(paired, parts, strict=True):
        numbers = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", part)]
        limit = float(bound.replace(",", ""))
        if any(number < limit if sign[0] == ">" else number > limit for number in numbers):
            return f"**{figure}**"
    return figure


def p(values: list[int], share: float) -> float:
    """Return a percentile in microseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000


def interleave(blocks: dict[str, Block], rounds: int, base: str) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Return all timings of each side, and each side's ratio to the base: the median over rounds of block medians."""
    timings: dict[str, list[int]] = {name: [] for name in blocks}
    ratios: dict[str, list[float]] = {name: [] for name in blocks}
    for block in blocks.values():
        block()
    for _ in range(rounds):
        order = list(blocks)
        random.shuffle(order)
        took = {name: blocks[name]() for name in order}
        for name, values in took.items():
            timings[name] += values
            ratios[name].append(statistics.median(values) / statistics.median(took[base]))
    return timings, {name: statistics.median(found) for name, found in ratios.items()}


def timed(call: Callable[[], object], many: int = BLOCK) -> Block:
    """Return a block of calls, each timed by itself."""

    def block() -> list[int]:
        took = []
        for _ in range(many):
            began = time.perf_counter_ns()
            call()
            took.append(time.perf_counter_ns() - began)
        return took

    return block


def timed_record(session: Session, many: int = BLOCK, carried: Carried = _USUAL) -> Block:
    """Return a block of the line that users write, each timed as a whole: the event is made, then recorded."""
    all_carried = cycle(carried)

    def line() -> None:
        params, returns = next(all_carried)
        session.record(localops.ActionEvent(action_type="step", params=params, returns=returns))

    return timed(line, many)


def by_hand(path: Path, synchronous: str, carried: Carried = _USUAL) -> Callable[[], None]:
    """Return the loop a good engineer writes: json.dumps twice, one autocommit INSERT into an unindexed WAL table."""
    all_carried = cycle(carried)
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.execute(_HAND_TABLE)
    session = "01a1fc43-2477-7811-a68d-7d84772b7a3e"

    def call() -> None:
        params, returns = next(all_carried)
        now = time.time_ns()
        given, returned = json.dumps(params), json.dumps(returns)
        connection.execute(_HAND_INSERT, (session, "action", "step", now, now, None, None, None, None, given, returned))

    return call


def record(bench: Bench) -> None:
    """record() beside the hand-written loop and an OpenTelemetry span, and an operation beside record()."""
    with bench.home("record") as home:
        session = localops.init()
        assert session is not None

        @operation
        def empty() -> None:
            pass

        blocks = {
            "hand": timed(by_hand(home / "hand.db", "normal")),
            "record": timed_record(session),
            "operation": timed(empty),
        }
        timings, ratios = interleave(blocks, bench.rounds, "hand")
        tail = {name: p(values, 0.999) for name, values in timings.items()}
        bench.say(
            "record() p99.9 against the loop written by hand",
            "no worse",
            f"{tail['record'] / tail['hand']:.2f} ({tail['record'] / 1000:.1f} against {tail['hand'] / 1000:.1f} ms)",
        )
        bench.say(
            "@operation around an empty function against record()",
            "<= 2.2",
            f"{ratios['operation'] / ratios['record']:.2f}",
        )


def lines(bench: Bench) -> None:
    """Measure the line that users write, with making the event, beside the same by hand and as a span."""
    with bench.home("lines") as home:
        session = localops.init()
        assert session is not None
        carried_by = {**CARRIED, "with three texts that no other event has": new_texts(bench.rounds * 2 * BLOCK)}
        for number, (what, carried) in enumerate(carried_by.items()):
            blocks = {
                "hand": timed(by_hand(home / f"hand-{number}.db", "normal", carried)),
                "record": timed_record(session, carried=carried),
            }
            span = open_telemetry(carried)
            if span is not None:
                blocks["span"] = timed(span)
            timings, ratios = interleave(blocks, bench.rounds, "hand")
            line = f"record(ActionEvent(...)) {what}, p50"
            bench.say(
                f"{line}, against the loop written by hand",
                "<= 0.95",
                f"{ratios['record']:.2f} ({p(timings['record'], 0.5):.1f} against {p(timings['hand'], 0.5):.1f} us)",
            )
            if span is not None:
                bench.say(
                    f"{line}, against an OpenTelemetry span through a BatchSpanProcessor (in memory)",
                    "<= 0.55",
                    f"{ratios['record'] / ratios['span']:.2f}",
                )


def portions(bench: Bench) -> None:
    """Measure what the line that users write consists of, each part alone."""
    with bench.home("portions"):
        session = localops.init()
        assert session is not None
        params, returns = CARRIED["with a None in it"][0]
        fields: dict[str, object] = {"params": params, "returns": returns}
        body = session.recorder.writer.encode(fields)
        execute, at = session._journal._file.execute, clock.now_ns()

        def row() -> rows.Row:
            return rows.plain(clock.new_id(at), 0, session._id, "action", "step", None, None, at, at, body)

        one = row()
        blocks = {
            "all": timed_record(session, carried=[(params, returns)]),
            "insert": timed(lambda: execute(INSERTS[len(one)], one)),
            "event": timed(lambda: localops.ActionEvent(action_type="step", params=params, returns=returns)),
            "row": timed(row),
            "JSON": timed(lambda: encode.dumps(fields).decode()),
            "encode": timed(lambda: session.recorder.writer.encode(fields)),
            "by hand": timed(lambda: (json.dumps(params), json.dumps(returns))),
            "nothing": timed(lambda: None),
        }
        timings, _ = interleave(blocks, bench.rounds, "all")
        took = {name: p(values, 0.5) for name, values in timings.items()}
        alone = {name: took[name] - took["nothing"] for name in took}
        alone["look"] = alone["encode"] - alone["JSON"]
        alone["rest"] = alone["all"] - sum(alone[name] for name in ("insert", "event", "row", "JSON", "look"))
        shown = ", ".join(
            f"{alone[name]:.1f}" for name in ("insert", "event", "row", "JSON", "look", "rest", "by hand")
        )
        bench.say(
            "of record(ActionEvent(...)) with a None in it, us: SQLite's insert, making the event, its id and "
            "checksum, its JSON, a look at each value before that, all else; for comparison json.dumps by hand",
            "",
            shown,
        )


def second(bench: Bench) -> None:
    """Starting and ending a session in a process that has had one."""
    with bench.home("second"):
        localops.init()
        localops.end_session("Success")
        took = []
        for _ in range(20 * bench.rounds):
            began = time.thread_time_ns()
            localops.start_session()
            localops.end_session("Success")
            took.append(time.thread_time_ns() - began)
        bench.say(
            "start and end of a further session of a process, processor time (two syncs of the disk come on top)",
            "<= 1 ms",
            f"{p(took, 0.5) / 1000:.2f} ms",
        )


def open_telemetry(carried: Carried = _USUAL) -> Callable[[], None] | None:
    """Return a span with the same content, exported to memory in batches; None if the SDK is not installed."""
    all_carried = cycle(carried)
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ImportError:
        return None
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")

    def call() -> None:
        params, returns = next(all_carried)
        with tracer.start_as_current_span("step") as span:
            span.set_attribute("params", json.dumps(params))
            span.set_attribute("returns", json.dumps(returns))
            span.set_attribute("session", "01a1fc43-2477-7811-a68d-7d84772b7a3e")
        exporter.clear()

    return call


def power(bench: Bench) -> None:
    """durability="power" beside raw apsw under synchronous=FULL."""
    with bench.home("power") as home:
        session = localops.init(durability="power")
        assert session is not None
        blocks = {
            "hand": timed(by_hand(home / "hand.db", "full"), 100),
            "record": timed_record(session, 100),
        }
        timings, ratios = interleave(blocks, bench.rounds // 2, "hand")
        bench.say(
            'record() with durability="power" against raw apsw with synchronous FULL',
            "<= 1.15",
            f"{ratios['record']:.2f} ({p(timings['record'], 0.5):.0f} against {p(timings['hand'], 0.5):.0f} us)",
        )


def million(bench: Bench) -> None:
    """Measure a session that grows to a million events: speed, memory, bytes and analytics on the way."""
    with bench.home("million"):
        session = localops.init()
        assert session is not None
        block = timed_record(session, 1_000)
        block()
        fresh = [statistics.median(block()) for _ in range(5)]
        small = warm_analytics(session)
        before = resident()
        for _ in range(bench.many):
            session.record(localops.ActionEvent(params=PARAMS, returns=RETURNS, action_type="step"))
        after = resident()
        grown = [statistics.median(block()) for _ in range(5)]
        size = f"{bench.many:,}"
        bench.say(f"record() p50 at {size} rows against an empty journal", "<= 1.1", f"{min(grown) / min(fresh):.2f}")
        bench.say(f"memory of a process that records {size} events", "+ < 10 MB", f"+ {after - before:.1f} MB")
        large = warm_analytics(session)
        bench.say(
            f"get_analytics() of one session of {size} events, warm",
            "<= 1 ms, <= 3 x at 1,000",
            f"{large:.2f} ms, {large / small:.1f} x",
        )
        body = len(session.recorder.writer.encode({"params": PARAMS, "returns": RETURNS}))
        figures = session.get_analytics()
        session.end_session("Success")
        path = session._journal.path
        localops.api._client.close()  # type: ignore[union-attr]
        per_event = os.path.getsize(path) / int(figures["Actions"]) - body
        bench.say(f"bytes on disk per event above its JSON of {body} bytes", "<= 150", f"{per_event:.0f}")
        cold = [cold_analytics(path, session._id) for _ in range(5)]
        bench.say(
            "get_analytics() of that session, first query of a new process",
            "<= 10 ms",
            f"{statistics.median(cold):.1f} ms",
        )
        command(bench)


def warm_analytics(session: Session) -> float:
    """Milliseconds of the best of twenty, with 500 rows that are not folded yet, as there are half the time."""
    session._journal.fold()
    for _ in range(500):
        session.record(localops.ActionEvent(params=PARAMS, returns=RETURNS, action_type="step"))
    return min(timed(session.get_analytics, 20)()) / 1e6


def cold_analytics(path: str, session: bytes) -> float:
    """Milliseconds from opening the journal to the figures, in a process that has just started."""
    code = (
        "import time\nfrom localops.journal.reader import Reader\nfrom localops.reading import analytics\n"
        "began = time.perf_counter()\n"
        f"figures = analytics.totals(Reader({path!r}), bytes.fromhex({session.hex()!r}))\n"
        "analytics.contract(figures, running=False)\n"
        "print((time.perf_counter() - began) * 1000)"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def resident() -> float:
    """Megabytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def command(bench: Bench) -> None:
    """`localops analytics last` as a whole process, beside `python -c pass`."""
    ratio = whole_processes({"pass": ["-c", "pass"], "analytics": ["-m", "localops", "analytics", "last"]}, 9)
    bench.say(
        f"`localops analytics last`, whole process, {bench.many:,} events in the home",
        "<= 5.0 x python -c pass",
        f"{ratio['analytics']:.1f} x",
    )


def whole_processes(commands: dict[str, list[str]], rounds: int, homes: Path | None = None) -> dict[str, float]:
    """Return each command's ratio to the one called `pass`, the median over rounds; each in a new home in `homes`."""
    ratios: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        took = {}
        for name, arguments in commands.items():
            home = {"LOCALOPS_HOME": tempfile.mkdtemp(dir=homes)} if homes is not None else {}
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env={**os.environ, **home})
            took[name] = time.perf_counter() - began
        for name, seconds in took.items():
            ratios[name].append(seconds / took["pass"])
    return {name: statistics.median(found) for name, found in ratios.items()}


def start(bench: Bench) -> None:
    """Importing, and a whole small program on an empty home."""
    program = (
        "import localops\nsession = localops.init()\n"
        "session.record(localops.ActionEvent(action_type='step'))\nsession.end_session('Success')"
    )
    commands = {
        "pass": ["-c", "pass"],
        "import": ["-c", "import localops"],
        "names": ["-c", "from localops import ActionEvent, init, record, end_session"],
        "program": ["-c", program],
    }
    ratio = whole_processes(commands, 9 if bench.rounds < 20 else 31, bench.folder)
    bench.say("import localops, which loads nothing yet", "<= 1.2 x python -c pass", f"{ratio['import']:.1f} x")
    bench.say(
        "from localops import init, record, ...: all that a program records with",
        "<= 4.0 x python -c pass",
        f"{ratio['names']:.1f} x",
    )
    bench.say(
        "import, init, one record and end, each time on an empty home",
        "<= 5.0 x python -c pass",
        f"{ratio['program']:.1f} x",
    )


_WRITER = """
import sys, time
sys.path.insert(0, {scripts!r})
import bench
bench.write({kind!r}, {folder!r}, int(sys.argv[1]), float(sys.argv[2]))
"""


def write(kind: str, folder: str, many: int, at: float) -> None:
    """Write rows as one of several processes, beginning at an agreed moment."""
    make = {"localops": write_recorded, "bare": write_bare}[kind]
    call = make(folder)
    time.sleep(max(0.0, at - time.time()))
    began = time.time()
    for _ in range(many):
        call()
    print(json.dumps([began, time.time()]))


def write_recorded(folder: str) -> Callable[[], None]:
    """Through the library: default settings."""
    os.environ["LOCALOPS_HOME"] = folder
    session = localops.start_session()
    assert session is not None

    def call() -> None:
        session.record(localops.ActionEvent(params=PARAMS, returns=RETURNS, action_type="step"))

    return call


def write_bare(folder: str) -> Callable[[], None]:
    """Bare apsw with the same table and the same way of waiting, JSON by json.dumps."""
    # Only for its tables and its busy handler. On a busy machine a writer can wait longer than the usual five seconds,
    # after which localops spills a row; a program written by hand would have a long timeout instead.
    journal = Journal(folder, wait=60.0)
    journal.one("known_session", session=rows.NO_SESSION)
    connection = journal._file.connection
    assert connection is not None
    connection.pragma("wal_autocheckpoint", 1_000)  # as SQLite does it by itself
    names = ", ".join(rows.COLUMNS)
    insert = f"insert into event({names}) values({', '.join('?' * len(rows.COLUMNS))})"
    session = clock.new_id()
    nothing = (None,) * 6

    def call() -> None:
        body = '{"params":' + json.dumps(PARAMS) + ',"returns":' + json.dumps(RETURNS) + "}"
        now = time.time_ns()
        id = os.urandom(16)
        row = (id, 0, session, "action", "step", None, None, now, now, None, *nothing, None, None, 1, 0, body)
        connection.execute(insert, row)

    return call


def writers(bench: Bench) -> None:
    """Several processes on one journal: all rows there, and how many a second."""
    each = {1: 30_000, 4: 8_000, 16: 3_000}
    for processes, many in each.items():
        ratios = []
        for _ in range(3 if bench.rounds < 20 else 7):
            rate = {kind: throughput(bench, kind, processes, many) for kind in ("bare", "localops")}
            ratios.append(rate["localops"] / rate["bare"])
        bench.say(
            f"{processes} process{'es' if processes > 1 else ''} on one journal: events a second against bare apsw",
            ">= 0.9, none lost",
            f"{statistics.median(ratios):.2f}",
        )


def throughput(bench: Bench, kind: str, processes: int, many: int) -> float:
    """Events a second of so many processes, from the first to begin to the last to end."""
    folder = tempfile.mkdtemp(dir=bench.folder)
    code = _WRITER.format(scripts=str(Path(__file__).parent), kind=kind, folder=folder)
    at = time.time() + 0.6 + 0.1 * processes
    command = [sys.executable, "-c", code, str(many), str(at)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    spans = [json.loads(process.communicate()[0]) for process in running]
    path = os.path.join(folder, "default", "journal.db") if kind == "localops" else os.path.join(folder, "journal.db")
    connection = apsw.Connection(path)
    rows = connection.execute("select count(*) from event where kind = 'action'").get
    connection.close()
    assert rows == processes * many, f"{rows} of {processes * many} rows"
    shutil.rmtree(folder)
    return float(processes * many / (max(end for _, end in spans) - min(begin for begin, _ in spans)))


def sessions(bench: Bench) -> None:
    """Measure a page of fifty out of many sessions, with each filter and all of them."""
    from localops.reading.home import Filters, Home

    with bench.home("sessions") as home:
        folder = home / "default"
        journal = Journal(str(folder))
        journal.add(made_sessions(bench.sessions))
        journal.fold()
        journal.close()
        filters = {
            "none": Filters(),
            "state": Filters(state="Failure"),
            "tag": Filters(tag="nightly"),
            "a rare tag": Filters(tag="rare"),
            "model": Filters(model="gpt-4o"),
            "agent": Filters(agent="planner"),
            "time": Filters(since=0, until=clock.now_ns()),
            "text": Filters(text="harbour"),
            "all at once": Filters("Failure", "nightly", "gpt-4o", "planner", 0, clock.now_ns(), "harbour"),
        }
        worst = {}
        with Home(str(home)) as opened:
            for project in opened.projects:
                project.index().extend()
            for name, chosen in filters.items():
                took = []
                for _ in range(9):
                    began = time.perf_counter()
                    list(islice(opened.sessions(chosen), 50))
                    took.append((time.perf_counter() - began) * 1000)
                worst[name] = statistics.median(took)
        shown = ", ".join(f"{name} {ms:.1f}" for name, ms in worst.items())
        bench.say(f"first page of 50 out of {bench.sessions:,} sessions, ms", "<= 50 ms each", shown)


def made_sessions(many: int) -> Iterator[rows.Row]:
    """Rows of so many short sessions of the past."""
    begin = clock.now_ns() - many * 10_000_000_000
    for number in range(many):
        at = begin + number * 10_000_000_000
        session = clock.new_id(at)
        tags = ["nightly"] if number % 3 else ["weekly"]
        if number % 9_973 == 0:
            tags.append("rare")
        yield rows.make(
            "session", session, id=session, at_ns=at, name=f"run-{number % 50}", tags=encode.dumps(tags).decode()
        )
        agent = clock.new_id(at)
        yield rows.make("agent", session, id=agent, at_ns=at + 1, name=("planner", "writer")[number % 2])
        for step in range(3):
            yield rows.make(
                "llm",
                session,
                id=clock.new_id(at),
                at_ns=at + 1_000_000 * (step + 1),
                agent=agent,
                model=("gpt-4o", "claude-3-5-sonnet-latest")[number % 2],
                tokens=(100, 20, None, None),
                cost=1_000,
                body='{"prompt":"where is the harbour","completion":"north of the old town"}',
            )
        state = "Success" if number % 4 else "Failure"
        yield rows.make("end", session, id=clock.new_id(at), at_ns=at + 5_000_000, name=state)


sys.path.insert(0, str(Path(__file__).parent.parent))
from scripts import (  # noqa: E402  the parts of it that need a hub, pages, a browser
    bench_agentops,
    bench_fleet,
    bench_hooks,
    bench_hub,
    bench_loops,
    bench_mcp,
    bench_repeats,
    bench_rivals,
    bench_runs,
    bench_spans,
    bench_sync,
    bench_transcripts,
    bench_ui,
    bench_web,
)

PARTS = {part.__name__: part for part in (lines, portions, record, second, power, start, writers, million, sessions)}
PARTS |= bench_sync.PARTS | bench_agentops.PARTS | bench_ui.PARTS | bench_web.PARTS | bench_mcp.PARTS | bench_hub.PARTS
PARTS |= bench_transcripts.PARTS | bench_spans.PARTS | bench_fleet.PARTS | bench_runs.PARTS | bench_hooks.PARTS
PARTS |= bench_rivals.PARTS | bench_loops.PARTS | bench_repeats.PARTS


def page(bench: Bench) -> str:
    """Return the docs page: the machine in a sentence, then the table."""
    when = time.strftime("%Y-%m-%d", time.gmtime())
    versions = f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"
    machine = f"{versions}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    given, returned = len(json.dumps(PARAMS)), len(json.dumps(RETURNS))
    lines_of = [
        "# Benchmarks",
        "",
        "Ratios, measured side by side in one run by `scripts/bench`; absolute figures hold for that machine only.",
        "A figure in bold misses its goal.",
        "",
        f"Measured {when}: {machine}.",
        f"An event carries {given} bytes of params and {returned} of returns; default settings, redaction on.",
        "Making the event is timed with recording it; by hand the same values are passed on as they are.",
        "A process is timed from its start to its end, with the byte code of all modules there.",
        "SQLite's insert is the same on both sides, and more than half of the loop written by hand.",
        "The rest of that loop is json.dumps: our encoder is faster, but each value is looked at before, in Python,",
        "so that none can end the process and no new text passes without a search for secrets.",
        "With short values, 0.95 would take compiled code of our own.",
        "",
        "| what | goal | measured |",
        "|---|---|---|",
        *(f"| {what} | {reach} | {marked(reach, figure)} |" for what, reach, figure in bench.lines),
        "",
    ]
    return "\n".join(lines_of)


def main() -> None:
    """Run the parts that are asked for, and keep the table if all were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, fewer rounds; docs left alone")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some parts of it; the docs are left alone")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localops-bench-"))
    bench = Bench(folder, quick=asked.quick)
    failed = []
    try:
        for name, part in PARTS.items():
            if not asked.only or name in asked.only:
                began = time.monotonic()
                try:
                    part(bench)
                except Exception:
                    # The others are measured all the same: together they take long.
                    traceback.print_exc()
                    failed.append(name)
                print(f"({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the docs are left alone")
    if not asked.quick and not asked.only:
        PAGE.write_text(page(bench), encoding="utf-8")


if __name__ == "__main__":
    main()
