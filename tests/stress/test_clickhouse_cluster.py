"""Nodes of a ClickHouse cluster are killed while a hub takes rows: none is lost, and none counts twice."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from localops.errors import ConfigError
from localops.server.clickhouse.engine import Engine, EngineError, address
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.request import Unavailable
from tests.clickhouse import cluster
from tests.clickhouse.both import Both
from tests.clickhouse.cluster import Cluster, Hosts, Node
from tests.clickhouse.programs import Program
from tests.server.hubs import batch_of, session_rows

_KILLS = int(os.environ.get("STRESS_NODE_KILLS", "0"))
_SECONDS = 120.0
pytestmark = pytest.mark.skipif(
    not (_KILLS and cluster.is_there()), reason="takes minutes: set STRESS_NODE_KILLS, with Debian's ZooKeeper and Java"
)


class _Sender:
    """Sends sessions one after another until `end`, each again until it is taken."""

    def __init__(self, store: ClickHouseStore) -> None:
        self._store = store
        self.sessions: list[bytes] = []
        self.longest = 0.0
        self.failures: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            made = session_rows(3)
            batch = batch_of(made, journal=f"{number:032x}")
            began = time.monotonic()
            while True:
                try:
                    outcome, _ = self._store.ingest("p", batch, refused={}, by="hub", key="k" * 32)
                    break
                except Unavailable as error:
                    why = str(error.__cause__)[:200]
                    self.failures[why] = self.failures.get(why, 0) + 1
                    if self._stop.is_set() and time.monotonic() - began > _SECONDS:
                        return
                    time.sleep(0.2)
            assert not outcome.refused
            self.longest = max(self.longest, time.monotonic() - began)
            self.sessions.append(made[0][2])

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def _until_equal(nodes: list[Node], many: int) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        counts = []
        for node in nodes:
            try:
                counts += node.engine("hub").ask(
                    "select uniqExact(session, id, phase) as n from lo_event where kind = 'llm'"
                )
            except EngineError as error:
                counts.append((str(error),))
        if counts == [(many,)] * len(nodes):
            return
        assert time.monotonic() < until, (counts, many)
        time.sleep(0.2)


def test_shards_answer_as_a_home_does(tmp_path: Path) -> None:
    """Two shards of two replicas each, also if one replica of each is down, and the mirror was lost."""
    servers = Cluster(tmp_path, shards=2, replicas=2)
    try:
        (tmp_path / "both").mkdir()
        both = Both(tmp_path / "both", Hosts(servers, shards=2))
        program = Program(3)
        both.take(program)
        for shard in range(2):
            asked = "select count() > 0 as some from lo_event_part"
            assert servers.nodes[shard, 0].engine(both.database).ask(asked) == [(1,)]
        both.lose_mirror()
        both.compare(program)
        servers.nodes[0, 0].kill()
        servers.nodes[1, 1].kill()
        both.lose_mirror()
        both.compare(program, brief=True)
        both.close()
    finally:
        servers.close()


def test_a_shard_is_added(tmp_path: Path) -> None:
    """To tables of one shard: stored sessions stay, and are sent to the same shard again; later sessions are spread."""
    servers = Cluster(tmp_path, shards=2, replicas=1)
    try:
        first = Engine(address(Hosts(servers).url("hub").replace(f",{servers.nodes[1, 0].host}", ""), {}))
        migrate(first)
        row = "'p', '{session}', '1', 0, 1, 'llm', '{day}', 0, 0, {rev}"
        put = f"insert into lo_event (project, session, id, phase, seq, kind, day, format, sum, rev) values ({row})"
        early = [f"{number:032x}" for number in range(20)]
        late = [f"{number:032x}" for number in range(100, 120)]
        for session in early:
            first.do(put.format(session=session, day="2026-11-01", rev=1))
        engine = Engine(address(servers.url("hub", shards="1,2@2099-01-01"), {}))
        migrate(engine)
        for session in early:
            engine.do(put.format(session=session, day="2026-11-01", rev=2))
        for session in late:
            engine.do(put.format(session=session, day="2099-02-01", rev=1))
        assert engine.ask("select count() as n, sum(rev) as revs from lo_event final") == [(40, 60)]
        counts = [
            node.engine("hub").ask("select count() as n from lo_event_part final") for node in servers.nodes.values()
        ]
        [[(one,)], [(other,)]] = counts
        assert one + other == 40
        assert 0 < other < 20
        for shards in ("2", "1", "1,2@2098-01-01", "1,2@2099-01-01,3@2000-01-01"):
            with pytest.raises(ConfigError, match="shards"):
                migrate(Engine(address(servers.url("hub", shards=shards), {})))
        migrate(Engine(address(servers.url("hub", shards="1,2@2099-01-01,3@2100-01-01"), {})))
    finally:
        servers.close()


@pytest.mark.parametrize(("shards", "replicas"), [(1, 3), (2, 2)])
def test_replicas_are_killed(tmp_path: Path, shards: int, replicas: int) -> None:
    """Three with a quorum of two, of which one disk is wiped as well; and two shards of two without one."""
    draw = random.Random(int(os.environ.get("STRESS_SEED", "1")))
    servers = Cluster(tmp_path, shards=shards, replicas=replicas)
    sender: _Sender | None = None
    try:
        options = {"shards": shards} if shards > 1 else {"insert_quorum": 2, "select_sequential_consistency": 1}
        engine = Engine(address(servers.url("hub", **options), {}))
        migrate(engine)
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "hub.json").write_text("{}")
        store = ClickHouseStore(str(tmp_path / "cache"), engine)
        store.migrate("p")
        sender = _Sender(store)
        nodes = list(servers.nodes.values())
        for kill in range(_KILLS):
            node = draw.choice(nodes)
            time.sleep(draw.uniform(0.2, 2.0))
            node.kill()
            time.sleep(draw.uniform(0.2, 12.0))
            # Without a quorum, a row that only that disk had would be gone.
            if kill == _KILLS // 2 and shards == 1:
                node.wipe(next(each for each in nodes if each is not node))
            node.start()
            node.wait()
        sender.end()
        behind = time.monotonic()
        while store._outboxes["p"].is_behind:
            assert time.monotonic() - behind < _SECONDS
            time.sleep(0.1)
        _until_equal(nodes, 3 * len(sender.sessions))
        print(f"\n{len(sender.sessions)} sessions, the longest took {sender.longest:.1f} s; {sender.failures}")
        rows = engine.ask("select count() as n from lo_event final where kind = 'llm'")
        states = engine.ask("select count() as n, sum(llm_calls) as calls from lo_session final")
        assert (rows, states) == ([(3 * len(sender.sessions),)], [(len(sender.sessions), 3 * len(sender.sessions))])
        assert store.sums("p")[0] == len(sender.sessions)
        store.close()
    finally:
        if sender is not None:
            sender.end()
        servers.close()
