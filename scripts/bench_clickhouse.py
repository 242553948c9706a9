"""CPU of a hub on ClickHouse for rows from a sender's batches, beside that of ClickHouse alone and of a home.

`python -m scripts.bench_clickhouse [ROWS]`; the CPU is that of this process and of Debian's server, also for merges.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from localops import clock
from localops.journal import rows
from localops.journal.stored import Stored
from localops.server import listen
from localops.server.clickhouse import event_rows
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.home_store import HomeStore
from localops.server.limits import Limits
from localops.server.sync_api import _arrived
from localops.transfer import bundle
from localops.transfer.bundle import Batch
from tests.clickhouse.servers import Server

# Rows of a batch, batches that wait for each other, rows of one insert without a hub, rows of a session.
_BATCH, _TOGETHER, _ALONE, _SESSION = 1_000, 8, 20_000, 100
_KEY = "k" * 32


def main() -> None:
    """Measure, and print one line each."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    folder = Path(tempfile.mkdtemp())
    (folder / "server").mkdir()
    server = Server(folder / "server")
    try:
        _compare(server, folder, list(_lean(many)))
    finally:
        server.close()
        shutil.rmtree(folder)


def _compare(server: Server, folder: Path, made: list[Stored]) -> None:
    batches = [made[at : at + _BATCH] for at in range(0, len(made), _BATCH)]
    bodies = [bundle.pack(Batch("ab" * 16, [], each, [(each[0].seq, each[-1].seq)])) for each in batches]
    # As a hub does when it starts: exclude existing objects from garbage collection.
    gc.freeze()
    gc.set_threshold(listen.YOUNG)
    alone, hub = server.engine("alone"), server.engine("hub")
    migrate(alone)
    migrate(hub)
    stores = HomeStore(_hub(folder / "home")), ClickHouseStore(_hub(folder / "cache"), hub)

    def put() -> None:
        for at in range(0, len(made), _ALONE):
            some = [(row, event_rows.NO_COUNTS) for row in made[at : at + _ALONE]]
            alone.put_blocks("lo_event", event_rows.WRITTEN, event_rows.blocks("p", some, 1))

    engine = _measured("into ClickHouse alone", server, put, len(made))
    for store, name in zip(stores, ("into a home", "into a hub on ClickHouse"), strict=True):
        store.migrate("p")
        spent = _measured(name, server, lambda store=store: _send(store, bodies), len(made))  # type: ignore[misc]
        print(f"  {engine / spent:.2f} of ClickHouse alone")
        store.close()


def _send(store: HomeStore, bodies: list[bytes]) -> None:
    for at in range(0, len(bodies), _TOGETHER):
        arrived = [_arrived(io.BytesIO(body), "identity", Limits(), _KEY) for body in bodies[at : at + _TOGETHER]]
        for outcome in store.ingest_together("p", arrived, by="bench"):
            if isinstance(outcome, Exception):
                raise outcome
    if isinstance(store, ClickHouseStore):
        store.write_behind("p")


def _measured(name: str, server: Server, work: Callable[[], None], many: int) -> float:
    before = os.times(), _cpu(server)
    work()
    after = os.times()
    here = after.user + after.system - before[0].user - before[0].system
    there = _cpu(server) - before[1]
    print(
        f"{name}: {many / (here + there):,.0f} rows a CPU second "
        f"({here / many * 1e6:.1f} us a row here, {there / many * 1e6:.1f} in ClickHouse)",
        flush=True,
    )
    return here + there


def _cpu(server: Server) -> float:
    fields = Path(f"/proc/{server._pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _hub(folder: Path) -> str:
    folder.mkdir()
    (folder / "hub.json").write_text("{}")
    return str(folder)


def _lean(many: int) -> Iterator[Stored]:
    draw = random.Random(1)
    session = clock.new_id()
    for seq in range(1, many + 1):
        at = clock.now_ns()
        if seq % _SESSION == 1:
            session = clock.new_id()
            yield Stored(seq, *rows.make("session", session, id=clock.new_id(), at_ns=at, parent=session, body="{}"))
            continue
        kind = draw.choices(["llm", "tool", "action"], [45, 35, 20])[0]
        body = json.dumps(
            {"params": {"q": f"what {draw.randrange(10**6)}"}, "returns": f"{draw.randrange(10**9)} " * 9}
        )
        is_call = kind == "llm"
        made = rows.make(
            kind,
            session,
            id=clock.new_id(),
            at_ns=at,
            start_ns=at - 10**6,
            end_ns=at,
            name="search",
            body=body,
            model="gpt-4o-mini" if is_call else None,
            tokens=(draw.randrange(900), 90, None, None) if is_call else (None,) * 4,
            cost=draw.randrange(10**6) if is_call else None,
        )
        yield Stored(seq, *made)


if __name__ == "__main__":
    main()
