"""ClickHouse that fails, and hubs that die: senders keep what was not stored, and nothing counts twice."""

from __future__ import annotations

import signal
import threading
import time
from random import Random

import pytest

from localops.reading import analytics
from localops.reading.analytics import Chosen
from localops.reading.home import Filters
from localops.server.request import Unavailable
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT, Program, Step
from tests.clickhouse.servers import Server
from tests.server.hubs import wait_until
from tests.warm import ours

# A hub that takes the first steps of a program, and is killed after rows were stored and before its own commit.
_KILLED = """
import os, signal, sys
from localops.server.clickhouse.archive import Archive
from localops.server.clickhouse.engine import Engine, address
from localops.server.clickhouse.store import ClickHouseStore
from tests.clickhouse.programs import Program
url, folder, seed, taken = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store, put = ClickHouseStore(folder, Engine(address(url))), Archive.put
def put_and_die(self, added, rev):
    put(self, added, rev)
    os.kill(os.getpid(), signal.SIGKILL)
for number, step in enumerate(Program(seed).steps(deletions=False)):
    if number == taken:
        Archive.put = put_and_die
    step(store)
"""


@pytest.mark.parametrize("lost", [False, True])
def test_a_hub_that_is_killed_after_an_insert_counts_it_once(both: Both, clickhouse: Server, lost: bool) -> None:
    """The rows are sent again to the next hub, whether its mirror is there or lost."""
    program = Program(20)
    steps = list(program.steps(deletions=False))
    both.store.close()
    arguments = [clickhouse.url(both.database), str(both.mirror.parent), "20", "9"]
    assert ours().run(_KILLED, arguments=arguments).returncode == -signal.SIGKILL
    both.store = both.opened()
    if lost:
        both.lose_mirror()
    for number, step in enumerate(steps):
        step(both.home)
        # The killed hub had taken the first ones; senders send the one again that was not answered.
        if number >= 9:
            step(both.store)
    # Rows that were stored already when a mirror was made again are not counted as coming from a machine; and which
    # batches came is noted in ClickHouse a moment later, so that a sender may be asked for some of them again.
    unknown = ["senders", *(f"held {machine.journal}" for machine in program.machines)] if lost else []
    both.compare(program, but=unknown, brief=True)


def test_without_clickhouse_nothing_is_taken_and_nothing_is_lost(both: Both, mortal: Server) -> None:
    """Doors raise Unavailable, also in a hub that starts; what is in the mirror can be read meanwhile."""
    program = Program(21)
    steps = list(program.steps(deletions=False))
    half = len(steps) // 2
    for step in steps[:half]:
        assert step(both.store) == step(both.home)
    listed = both.home.sessions(PROJECT, Filters(), before=None, limit=50)
    mortal.kill()
    for _ in range(2):
        with pytest.raises(Unavailable):
            steps[half](both.store)
        with pytest.raises(Unavailable):
            both.store.try_writing(PROJECT)
        assert both.store.sessions(PROJECT, Filters(), before=None, limit=50) == listed
        # The same in a hub that starts meanwhile.
        both.begin_again(engine=mortal.engine(both.database))
    mortal.start()
    for step in steps[half:]:
        assert step(both.store) == step(both.home)
    both.compare(program, brief=True)


def test_reports_need_no_clickhouse(both: Both, mortal: Server) -> None:
    """Also those by kind, model and tool, of sessions whose rows are only there."""
    program = Program(24)
    both.begin_again(bound=0)
    for step in program.steps(deletions=False, doors=False):
        assert step(both.store) == step(both.home)
    both.store.make_room(PROJECT)
    mortal.kill()
    for by in (None, *analytics.ACROSS):
        expected = both.home.analytics(PROJECT, by, Chosen(), limit=50)
        assert both.store.analytics(PROJECT, by, Chosen(), limit=50) == expected
    assert both.store.speeds(PROJECT, Chosen()) == both.home.speeds(PROJECT, Chosen())


def test_figures_that_cannot_be_written_are_reported(both: Both, mortal: Server) -> None:
    """For how long, and why; until they are written."""
    program = Program(23)
    for step in program.steps(deletions=False, doors=False):
        step(both.store)
    assert both.store.warnings() == []
    mortal.kill()
    both.store._outboxes[PROJECT].dirty[program.sessions[0]] = None
    wait_until(both.store.warnings)
    [warning] = both.store.warnings()
    assert "figures of sessions wait for ClickHouse" in warning
    assert f"ClickHouse at 127.0.0.1:{mortal.port}" in warning
    [waiting] = [family for family in both.store.beneath() if family.name == "localops_hub_waiting_seconds"]
    assert float(waiting.samples[0].value or 0) > 0
    mortal.start()
    wait_until(lambda: not both.store.warnings())


def test_a_cold_session_waits_for_clickhouse(both: Both, mortal: Server) -> None:
    """Lists and sums do not need ClickHouse; the page of an evicted session is Unavailable until it answers."""
    program = Program(22)
    both.begin_again(bound=0)
    for step in program.steps(deletions=False, doors=False):
        assert step(both.store) == step(both.home)
    both.store.make_room(PROJECT)
    listed, _ = both.home.sessions(PROJECT, Filters(), before=None, limit=50)
    oldest = bytes.fromhex(str(listed[-1]["session_id"]).replace("-", ""))
    expected = both.home.events(PROJECT, oldest, after=0, limit=500)
    mortal.kill()
    assert both.store.sessions(PROJECT, Filters(), before=None, limit=50) == (listed, None)
    for by in (None, "tag"):
        assert both.store.analytics(PROJECT, by, Chosen(), limit=50) == both.home.analytics(
            PROJECT, by, Chosen(), limit=50
        )
    with pytest.raises(Unavailable):
        both.store.events(PROJECT, oldest, after=0, limit=500)
    mortal.start()
    assert both.store.events(PROJECT, oldest, after=0, limit=500) == expected


def test_a_clickhouse_that_only_reads_takes_nothing(both: Both, clickhouse: Server) -> None:
    """A batch is Unavailable; reads continue."""
    program = Program(23)
    steps = list(program.steps(deletions=False, doors=False))
    for step in steps[:5]:
        assert step(both.store) == step(both.home)
    both.begin_again(engine=clickhouse.engine(both.database, "reader"))
    with pytest.raises(Unavailable):
        steps[5](both.store)
    assert both.store.sums(PROJECT) == both.home.sums(PROJECT)
    both.begin_again()
    for step in steps[5:]:
        assert step(both.store) == step(both.home)
    both.compare(program, brief=True)


def test_a_clickhouse_that_is_killed_again_and_again_loses_nothing(both: Both, mortal: Server) -> None:
    """Each batch is sent until it is taken; in the end all is there once, in the order in which it was taken."""
    program = Program(24)
    ended = threading.Event()
    killer = threading.Thread(target=_kill_again_and_again, args=(mortal, ended))
    killer.start()
    try:
        for step in program.steps(deletions=False, doors=False):
            _until_taken(step, both)
            step(both.home)
    finally:
        ended.set()
        killer.join()
    both.compare(program, brief=True)
    both.lose_mirror()
    both.compare(program, brief=True)


def _kill_again_and_again(server: Server, ended: threading.Event) -> None:
    random = Random(1)
    while not ended.wait(random.random()):
        server.kill()
        server.start()


def _until_taken(step: Step, both: Both) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            step(both.store)
            return
        except Unavailable:
            assert time.monotonic() < until, "a batch was never taken"
            time.sleep(0.05)
