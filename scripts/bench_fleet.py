"""Measures a hub to which a thousand machines send at once, for bench.py: how long each of them waits."""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import time
import uuid
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localops import clock
from localops.journal import rows
from localops.journal.reader import Reader
from localops.server.keys import Keys
from localops.transfer import bundle, zstd
from scripts.bench_agentops import row
from scripts.bench_sync import cpu, hub

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench import Bench

_MACHINES, _ROWS = 1_000, 60
_LONGEST = 120.0  # seconds for which a machine tries again


@dataclass
class Machine:
    """A machine with a key and a journal of its own, and rows to send."""

    key: str
    encoding: str
    data: bytes
    seconds: float = 0.0
    again: int = 0
    refused: list[str] = field(default_factory=list)


def _keys(data: Path) -> list[str]:
    """Return the secrets of as many keys as there are machines, written at once."""
    keys = Keys(str(data))
    keys.create("default")
    (pattern,) = keys.all()
    secrets = [bundle.new_key(keys.hub) for _ in range(_MACHINES)]
    digests = [hashlib.sha256(secret.encode()).hexdigest() for secret in secrets]
    keys._change(lambda _: [replace(pattern, sha256=digest) for digest in digests])
    return secrets


def _machine(key: str) -> Machine:
    from tests.made import stored

    session = clock.new_id()
    at = clock.now_ns()
    begin = rows.make("session", session, id=clock.new_id(at), at_ns=at, name="a run", body="{}")
    made = stored([begin, *(row(session, number) for number in range(1, _ROWS))], 1)
    batch = bundle.Batch(uuid.uuid4().hex, [], made, [(1, _ROWS)], None)
    return Machine(key, *_packed(bundle.pack(batch)))


def _packed(data: bytes) -> tuple[str, bytes]:
    """Return the encoding that our sender chooses, and a body in it."""
    library = zstd.library()
    if library is None:
        return "gzip", zlib.compress(data, 5, wbits=31)
    return "zstd", library.compress(data, options={library.CompressionParameter.checksum_flag: 1})


async def _send(machine: Machine, host: str, port: int) -> None:
    """Send the rows as our sender does: try again when the hub says so, or when the line breaks."""
    began = time.perf_counter()
    while time.perf_counter() - began < _LONGEST:
        try:
            status, after, body = await _post(machine, host, port)
        except OSError as error:
            status, after, body = 503, 1.0, str(error).encode()
        if status == 200 and json.loads(body)["stored"] == _ROWS:
            machine.seconds = time.perf_counter() - began
            return
        machine.again += 1
        if status not in (429, 503):
            break
        await asyncio.sleep(after)
    machine.refused.append(f"{status}: {body[:200]!r}")


async def _post(machine: Machine, host: str, port: int) -> tuple[int, float, bytes]:
    """Return status, Retry-After and body of one request over a new connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        head = (
            f"POST /sync/1/rows HTTP/1.1\r\nHost: {host}\r\nX-Agentops-Api-Key: {machine.key}\r\n"
            f"Content-Encoding: {machine.encoding}\r\nContent-Length: {len(machine.data)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode() + machine.data)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    head_of, _, body = answer.partition(b"\r\n\r\n")
    if not head_of:
        raise ConnectionResetError("closed without an answer")
    lines = head_of.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), float(headers.get("retry-after", 1)), body


async def _all(machines: list[Machine], url: str) -> None:
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    await asyncio.gather(*(_send(machine, where.hostname, where.port) for machine in machines))


def fleet(bench: Bench) -> None:
    """Measure a thousand machines that send at the same moment."""
    waits, again, used, sent = [], 0, [], []
    for number in range(1 if bench.many < 1_000_000 else 3):
        data = bench.folder / f"fleet {number}"
        machines, cpu_s, senders_s = _round(data)
        waits += machines
        used.append(cpu_s)
        sent.append(senders_s)
        again += sum(machine.again for machine in machines)
    seconds = sorted(machine.seconds for machine in waits)
    p95 = seconds[int(len(seconds) * 0.95)]
    what = f"{_MACHINES:,} machines that send {_ROWS} rows each at the same moment: p95 until they are stored"
    # What both take of processors tells how long the wait is where nothing else runs.
    cpu_of = f"CPU of the hub {statistics.median(used):.2f} s, of the senders {statistics.median(sent):.2f} s"
    about = f"p50 {statistics.median(seconds):.2f} s, {cpu_of}"
    bench.say(what, "<= 1 s", f"{p95:.2f} s ({about}, {again} asked to come again)")


def _round(data: Path) -> tuple[list[Machine], float, float]:
    """Return the machines of a round, which all have sent, and the seconds of CPU that the hub and they took for it."""
    machines = [_machine(key) for key in _keys(data)]
    with hub(data) as there:
        before, before_here = cpu(there.process.pid), time.process_time()
        asyncio.run(_all(machines, there.url))
        used, senders = cpu(there.process.pid) - before, time.process_time() - before_here
        refused = [reason for machine in machines for reason in machine.refused]
        assert not refused, (len(refused), refused[:3])
        with Reader(str(data / "default" / "journal.db")) as reader:
            count = reader.ask("select count(*), count(distinct id) from event where session <> zeroblob(16)")[0]
    assert tuple(count) == (_MACHINES * _ROWS, _MACHINES * _ROWS), count
    return machines, used, senders


PARTS: dict[str, Callable[[Bench], None]] = {"fleet": fleet}
