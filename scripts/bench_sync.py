"""Measures sync and hub, for bench.py: rates beside what a bare pipeline does, and what others notice of a sync."""

from __future__ import annotations

import http.client
import http.server
import json
import math
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import requests

import localops
from localops import clock, config
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer import delivery, remotes
from localops.transfer.delivery import Limits
from localops.transfer.remotes import Remote
from localops_sync import exit_codes, worker
from localops_sync.budget import PassBudget

if TYPE_CHECKING:
    from scripts.bench import Bench

WORDS = (
    "the customer asked for a quiet table by the window and taxi at ten she is allergic to nuts found three places "
    "that match two of them take reservations tonight only serves guests".split()
)
BATCH = 2_000
_BODIES = 20_000  # that are not the same: no batch holds one twice, which would pack far too well


def body() -> str:
    """Return the content of an event, about 500 bytes."""
    pick = random.choices
    params = {"query": " ".join(pick(WORDS, k=25)), "limit": random.randint(1, 99), "filters": {"open": True}}
    returns = {"results": pick(WORDS, k=8), "score": random.random(), "text": " ".join(pick(WORDS, k=20))}
    return json.dumps({"params": params, "returns": returns})


def backlog(folder: str, many: int) -> None:
    """Make a journal with so many events, none of them sent."""
    sessions = [clock.new_id() for _ in range(100)]
    bodies = [body() for _ in range(min(many, _BODIES))]

    def found() -> Iterator[rows.Row]:
        for number in range(many):
            at = clock.now_ns()
            session = sessions[number * len(sessions) // many]
            text = bodies[number % _BODIES]
            yield rows.make("action", session, id=clock.new_id(at), at_ns=at, name="step", body=text)

    journal = Journal(folder)
    journal.add(found())
    journal.fold()
    journal.close()


class _Discard(http.server.BaseHTTPRequestHandler):
    """Reads a request to its end, and says yes."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _serve(port: Any) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Discard)
    port.put(server.server_port)
    server.serve_forever()


@contextmanager
def discarding() -> Iterator[str]:
    """Run a server in its own process that drops what it gets."""
    fresh = multiprocessing.get_context("spawn")
    port: Any = fresh.Queue()
    process = fresh.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get()}/v1/traces"
    finally:
        process.kill()
        process.join()


class Hub:
    """A hub as a process of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        command = [sys.executable, "-m", "localops", "hub"]
        created = [*command, "key", "create", "--data", str(data), "--project", "default"]
        self.key = subprocess.run(created, check=True, capture_output=True, text=True).stdout.strip()
        self.process = subprocess.Popen(
            [*command, "serve", "--data", str(data), "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """Run a hub for a while."""
    made = Hub(folder)
    try:
        yield made
    finally:
        made.stop()


def bare(path: str, url: str) -> int:
    """Run the pipeline without promises: read by position, splice stored JSON, gzip, POST to a server that drops it."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    session = requests.Session()
    after: Any = 0
    count = 0
    query = "select seq, id, phase, session, kind, name, at_ns, sum, body from event where seq > ? order by seq limit ?"
    while page := list[Any](connection.execute(query, (after, BATCH))):
        after = page[-1][0]
        lines = [
            f'{{"seq":{seq},"id":"{id.hex()}","phase":{phase},"session":"{session_id.hex()}","kind":"{kind}",'
            f'"name":{json.dumps(name)},"at_ns":{at},"sum":{total},"body":{text}}}\n'
            for seq, id, phase, session_id, kind, name, at, total, text in page
        ]
        squeeze = zlib.compressobj(5, zlib.DEFLATED, 31)
        data = squeeze.compress("".join(lines).encode()) + squeeze.flush()
        session.post(url, data=data).raise_for_status()
        count += len(page)
    connection.close()
    return count


def open_telemetry(url: str, many: int) -> float:
    """Spans a second through the exporter of the OpenTelemetry SDK, in batches of its processor's size."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

    tracer = TracerProvider().get_tracer("bench")
    spans = []
    for _ in range(many):
        with tracer.start_as_current_span("step") as span:
            span.set_attribute("body", body())
        spans.append(span)
    exporter = OTLPSpanExporter(endpoint=url, compression=Compression.Gzip)
    began = time.perf_counter()
    for at in range(0, many, 512):
        batch = [span for span in spans[at : at + 512] if isinstance(span, ReadableSpan)]
        exporter.export(batch)
    took = time.perf_counter() - began
    exporter.shutdown()  # type: ignore[no-untyped-call, unused-ignore]
    return many / took


def sync(bench: Bench) -> None:
    """Measure how fast rows reach a hub, beside a bare pipeline and beside OpenTelemetry's exporter."""
    many = bench.many // 10
    ratios, faster = [], []
    with bench.home("sync") as home, discarding() as url:
        folder = config.project_folder(str(home), "default")
        backlog(folder, many)
        for number in range(3):
            with hub(home.parent / f"hub {number}") as there:
                remote = Remote(f"hub{number}", there.url, key=there.key)
                began = time.perf_counter()
                count = bare(os.path.join(folder, "journal.db"), url)
                least = time.perf_counter() - began
                began = time.perf_counter()
                outcome = worker.sync(str(home), "default", remote)
                took = time.perf_counter() - began
                assert outcome.code == exit_codes.DONE, outcome
                rate = outcome.sent / took
                ratios.append(rate / (count / least))
                faster.append(rate / open_telemetry(url, 10_000))
    figure = f"{statistics.median(ratios):.2f}"
    bench.say(f"sync of {many:,} rows to a hub on loopback / the bare pipeline", ">= 0.40", figure)
    figure = f"{statistics.median(faster):.1f} x"
    bench.say("the same / the OTLP exporter of the OpenTelemetry SDK, spans of that size", ">= 3 x", figure)


def _spans(many: int, attributes: Callable[[], dict[str, Any]]) -> Iterator[bytes]:
    """Return requests of OTLP with 512 spans each: traces of 16, of which the root ends last, as in any program."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    for _ in range(many // 512):
        request = trace_service_pb2.ExportTraceServiceRequest()
        group = request.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = "bench"
        scoped = group.scope_spans.add()
        scoped.scope.name = "bench"
        for number in range(512):
            place = number % 16
            if not place:
                trace, ids = random.randbytes(16), [random.randbytes(8) for _ in range(16)]
            at = clock.now_ns()
            span = scoped.spans.add(
                trace_id=trace,
                span_id=ids[place],
                parent_span_id=b"" if place == 15 else ids[15],
                name="step",
                start_time_unix_nano=at - 1_000_000,
                end_time_unix_nano=at,
            )
            for key, value in attributes().items():
                setattr(
                    span.attributes.add(key=key).value, "int_value" if isinstance(value, int) else "string_value", value
                )
        yield zlib.compress(request.SerializeToString(), 5, wbits=31)


def _step() -> dict[str, Any]:
    return {"body": body()}


def _call() -> dict[str, Any]:
    asked, answered = (" ".join(random.choices(WORDS, k=30)) for _ in range(2))
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 900,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": asked}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": answered}]}]),
    }


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spans(bench: Bench) -> None:
    """Measure what spans over OTLP cost a hub, beside its own batches of rows."""
    many = bench.many // 10 // 512 * 512
    ratios: dict[str, list[float]] = {"step": [], "call": []}
    with bench.home("spans") as home:
        folder = config.project_folder(str(home), "default")
        backlog(folder, many)
        backlog(config.project_folder(str(home), "first"), 10)
        requests_of = {name: list(_spans(many, make)) for name, make in (("step", _step), ("call", _call))}
        for number in range(3):
            with hub(home.parent / f"rows {number}") as there:
                # What is loaded once does not count.
                worker.sync(str(home), "first", Remote(f"hub{number}", there.url, key=there.key))
                before = cpu(there.process.pid)
                outcome = worker.sync(str(home), "default", Remote(f"hub{number}", there.url, key=there.key))
                assert outcome.code == exit_codes.DONE, outcome
                own = outcome.sent / (cpu(there.process.pid) - before)
            for name, bodies in requests_of.items():
                ratios[name].append(_span_rate(home.parent / f"{name} {number}", bodies) / own)
    figure = ", ".join(f"{statistics.median(each):.2f}" for each in ratios.values())
    what = f"{many:,} spans over OTLP in protobuf, 512 a request, plain, LLM calls: rows a second of hub CPU"
    bench.say(f"{what} / the hub's own batches", ">= 0.50 x", figure)


def _span_rate(data: Path, bodies: list[bytes]) -> float:
    """Return the rows that a hub makes of requests in a second of its CPU."""
    with hub(data) as there, requests.Session() as session:
        sent = {
            "Authorization": f"Bearer {there.key}",
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
        }

        def post(request: bytes) -> None:
            reply = session.post(f"{there.url}/v1/traces", data=request, headers=sent)
            assert (reply.status_code, reply.content) == (200, b""), reply

        post(next(_spans(512, _call)))
        before = cpu(there.process.pid)
        for request in bodies:
            post(request)
        took = cpu(there.process.pid) - before
        with Reader(str(data / "default" / "journal.db")) as reader:
            return int(reader.ask("select count(*) - 576 from event")[0][0]) / took


def backlogged(bench: Bench) -> None:
    """Measure a sync of a great backlog: its memory, the recorder beside it, and what is quick afterwards."""
    with bench.home("backlog") as home, hub(home.parent / "hub") as there:
        folder = config.project_folder(str(home), "default")
        backlog(folder, bench.many)
        remotes.save(folder, {"hub": Remote("hub", there.url, key=there.key)})
        session = localops.start_session(name="beside")
        assert session is not None
        alone = [_record(session) for _ in range(10)]
        command = [sys.executable, "-m", "localops", "sync", "--quiet"]
        process = subprocess.Popen(command)
        beside, peak = [], 0.0
        while process.poll() is None:
            beside.append(_record(session))
            peak = max(peak, _resident(process.pid))
        assert process.returncode == exit_codes.DONE
        alone += [_record(session) for _ in range(10)]
        figure = f"{statistics.median(beside) / statistics.median(alone):.2f} x"
        bench.say(f"record() p50 while a backlog of {bench.many:,} rows is sent", "<= 1.3 x without", figure)
        bench.say(f"memory of a sync of {bench.many:,} rows, resident", "<= 80 MB", f"{peak:.0f} MB")
        session.end_session("Success")
        subprocess.run(command, check=True)
        _idle(bench, command)
        _first_unsent(bench, folder)
        _stats(bench, there, folder, home)


def _record(session: localops.Session) -> float:
    """Return the p50 of a few hundred calls."""
    took = []
    for _ in range(200):
        event = localops.ActionEvent(action_type="step", params={"a": "b" * 300}, returns="c" * 200)
        began = time.perf_counter()
        session.record(event)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _resident(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) / 1000 for line in file if line.startswith("VmHWM")), 0.0)
    except OSError:
        return 0.0


def _idle(bench: Bench, command: list[str]) -> None:
    from scripts.bench import whole_processes

    commands = {"pass": ["-c", "pass"], "sync": command[1:]}
    ratio = whole_processes(commands, 9)["sync"]
    bench.say("a sync with nothing to send, whole process", "<= 12 x python -c pass", f"{ratio:.1f} x")


def _first_unsent(bench: Bench, folder: str) -> None:
    journal = Journal(folder)
    row = rows.make("action", clock.new_id(), id=clock.new_id(), at_ns=clock.now_ns())
    journal.append(row)
    with Reader(os.path.join(folder, "journal.db")) as reader:
        took = []
        for _ in range(21):
            ledger = delivery.Ledger(reader, folder, "hub")
            began = time.perf_counter()
            batch = next(ledger.batches(Limits()))
            took.append((time.perf_counter() - began) * 1000)
            assert batch.rows[0].id == row[0]
    journal.close()
    figure = f"{statistics.median(took):.2f} ms"
    bench.say(f"finding the first unsent row among {bench.many:,} sent ones", "<= 1 ms", figure)


def _stats(bench: Bench, there: Hub, folder: str, home: Path) -> None:
    """Measure a session's figures from the hub, requested while it takes rows in."""
    with Reader(os.path.join(folder, "journal.db")) as reader:
        session = max(delivery.Ledger(reader, folder, "hub").ask("sessions", after=b"", many=1_000), key=_rows)[0].hex()
    backlog(config.project_folder(str(home), "more"), bench.many // 10)
    remote = Remote("hub", there.url, key=there.key)
    going = threading.Thread(target=lambda: worker.sync(str(home), "more", remote))
    going.start()
    connection = http.client.HTTPConnection(there.url.partition("//")[2])
    took: list[float] = []
    while going.is_alive() or len(took) < 200:
        began = time.perf_counter()
        connection.request("GET", f"/v2/sessions/{session}/stats", headers={"X-Agentops-Api-Key": there.key})
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200
        time.sleep(0.005)
    going.join()
    p99 = sorted(took)[math.ceil(len(took) * 0.99) - 1]
    figure = f"{p99:.1f} ms (median {statistics.median(took):.1f})"
    bench.say(
        f"/v2/sessions/<id>/stats, {bench.many:,} events on the hub, while it takes rows in, p99", "<= 20 ms", figure
    )


def _rows(totals: tuple[Any, ...]) -> int:
    return int(totals[1])


def poison(bench: Bench) -> None:
    """Count the requests that one refused row costs."""
    from tests.sync import chaos

    with bench.home("poison") as home, hub(home.parent / "hub") as there, chaos.Chaos(behind=there.url) as front:
        folder = config.project_folder(str(home), "default")
        backlog(folder, 10_000)
        with Reader(os.path.join(folder, "journal.db")) as reader:
            bad = list(reader.stream())[4_321].id.hex().encode()

        def refuse(exchange: chaos.Exchange) -> None:
            is_bad = exchange.request.method == "POST" and bad in chaos.inflated(exchange.request)
            (chaos.status(422) if is_bad else chaos.passed)(exchange)

        clean = math.ceil(10_001 / BATCH) + 1  # with the greeting
        front.always(refuse)
        outcome = worker.sync(str(home), "default", Remote("hub", front.url, key=there.key), budget=PassBudget())
        assert (outcome.sent, outcome.parked) == (10_000, 1), outcome
        most = 2 * math.ceil(math.log2(BATCH)) + 4
        extra = len(front.seen) - clean
        bench.say("one row of 10,000 that the remote refuses: further requests", f"<= {most}", str(extra))


PARTS: dict[str, Callable[[Bench], None]] = {part.__name__: part for part in (sync, spans, backlogged, poison)}
