"""`localops hub move`: rows move from a hub's data folder to ClickHouse and back, while senders send."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from localops.journal.reader import Reader
from localops.reading import mirrored
from localops.server.clickhouse.engine import Engine, address
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.home_store import HomeStore
from localops.server.keys import Keys
from localops.transfer.bundle import Batch
from tests.clickhouse.answers import answers
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT, Program
from tests.clickhouse.servers import Server
from tests.examples import sized
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until
from tests.warm import localops, ours

# A move that is killed after so many parts were stored, before that is noted here; or, for -1, before the first is.
_KILLED = """
import os, signal, sys
from localops.cli import main
from localops.server.clickhouse import mirror, outbox
from localops.server.clickhouse.archive import Archive
from localops.server.clickhouse.mirror import Mirror
put, put_back, left = Archive.put, Mirror.put_back, int(sys.argv[1])
outbox._PART, mirror._AT_ONCE = outbox._PART.replace("limit 20000", "limit 9"), 2
def one_less():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
def put_and_die(self, added, rev):
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, added, rev)
    one_less()
def put_back_and_die(self, journal, fetched):
    put_back(self, journal, fetched)
    one_less()
Archive.put, Mirror.put_back = put_and_die, put_back_and_die
main(sys.argv[2:])
"""


@pytest.fixture
def both(tmp_path: Path, clickhouse: Server) -> Iterator[Both]:
    """Return a home, and a hub's data folder that is to be moved."""
    made = Both(tmp_path, clickhouse)
    made.store.close()
    os.unlink(made.mirror.parent / "hub.json")
    Keys(str(made.mirror.parent), new=True).create(PROJECT)
    yield made
    made.close()


def _move(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = localops("hub", "move", *map(str, arguments), "--verify", "--json")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    moved: dict[str, Any] = json.loads(done.stdout)
    return moved


def _killed(parts: int, *arguments: object) -> None:
    done = ours().run(_KILLED, arguments=[str(parts), "hub", "move", *map(str, arguments)])
    assert done.returncode == -signal.SIGKILL


def test_a_home_is_moved_and_back(both: Both, clickhouse: Server) -> None:
    """Killed in the middle and run again, while the folder takes rows; each side answers as if it had stayed."""
    program = Program(64, sessions=sized(3, 5))
    steps = list(program.steps())
    third, two_thirds = len(steps) // 3, 2 * len(steps) // 3
    data, url = both.mirror.parent, clickhouse.url(both.database)
    there, back = ("--from", data, "--to", url), ("--from", url, "--to", data)
    plain = HomeStore(str(data))
    for number, step in enumerate(steps[:third]):
        # Others write between the parts.
        if number in (third // 3, 2 * third // 3):
            _killed(1 if number == third // 3 else -1, *there)
        assert step(plain) == step(both.home), f"step {number}"
    plain.close()
    _killed(1, *there)
    moved = _move(*there)
    assert (moved["is_done"], [each["differing"] for each in moved["projects"]]) == (True, [[]])
    assert mirrored.store_of(str(data)) == url

    both.store = both.opened(bound=0)
    both.compare(program)
    for number, step in enumerate(steps[third:two_thirds]):
        assert step(both.store) == step(both.home), f"step {number}"
    both.store.make_room(PROJECT)
    both.store.close()
    rows = both.rows_here()
    _killed(1, *back)
    assert rows < both.rows_here() < both.home.stored(PROJECT)[0]
    moved = _move(*back)
    assert moved["is_done"]
    assert mirrored.store_of(str(data)) is None
    with Reader(str(both.mirror / "journal.db")) as reader:
        assert reader.ask("select name from sqlite_schema where name glob 'note_*' or name glob 'unsent_*'") == []
    plain = HomeStore(str(data))
    for number, step in enumerate(steps[two_thirds:]):
        assert step(plain) == step(both.home), f"step {number}"
    again = HomeStore(both.home.folder)
    assert answers(plain, program) == answers(again, program)
    again.close()
    plain.close()
    # That database has other rows now, and is not that of another hub.
    refused = localops("hub", "move", *map(str, there))
    assert "which has others of this project" in refused.stderr
    other = HomeStore(str(data.parent / "other"))
    Keys(other.folder, new=True).create("another")
    other.migrate("another")
    other.close()
    refused = localops("hub", "move", "--from", other.folder, "--to", url)
    assert f"has rows of projects that {other.folder} has not ({PROJECT})" in refused.stderr


class _Sender(threading.Thread):
    """A machine that sends one batch after the other, each until it is taken."""

    def __init__(self, running: RealHub) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.taken = 0
        self._running = running

    def run(self) -> None:
        """Send until it ends."""
        first = 1
        while not self.ended.is_set():
            sent = session_rows(6)
            batch = batch_of(sent, first, journal="c" * 32)
            while not self._is_taken(batch):
                time.sleep(0.05)
            first += len(sent)
            self.taken += len(sent)
            time.sleep(0.02)

    def _is_taken(self, batch: Batch) -> bool:
        # While the hub is stopped nothing listens.
        with suppress(OSError):
            return self._running.take(batch)[0] == 200
        return False

    def more(self) -> None:
        """Wait until another batch was taken."""
        before = self.taken
        wait_until(lambda: self.taken > before)


def _seen(running: RealHub) -> dict[str, bytes]:
    """Return what the API of a hub answers, as bytes."""

    def get(path: str) -> bytes:
        request = urllib.request.Request(running.url + path, headers={"Authorization": f"Bearer {running.key}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    paths = ["/api/1/sessions?limit=200", "/api/1/facets", "/api/1/summary", "/api/1/analytics"]
    paths += [
        "/api/1/analytics?by=model",
        "/api/1/analytics/daily",
        "/api/1/calls?limit=50",
        "/api/1/sessions?text=why",
    ]
    paths += ["/api/1/export?format=jsonl"]
    listed = json.loads(get(paths[0]))["sessions"]
    for each in (listed[0], listed[-1]):
        one = f"/api/1/sessions/{each['session_id']}"
        paths += [one, f"{one}/events", f"{one}/timeline", f"{one}/why", f"{one}/export?format=jsonl"]
    return {path: get(path) for path in paths}


def test_senders_go_on(tmp_path: Path, clickhouse: Server) -> None:
    """A hub serves while it is moved, but for the last step: all rows are there once, and answers are equal."""
    url = clickhouse.url("served_and_moved")
    with hub(tmp_path, PROJECT) as running:
        there, back = ("--from", running.data, "--to", url), ("--from", url, "--to", running.data)
        sender = _Sender(running)
        sender.start()
        try:
            sender.more()
            for move, options in ((there, ("--store", url)), (back, ())):
                moved = _move(*move)
                assert (moved["is_done"], moved["is_good"]) == (False, True)
                sender.more()
                if not options:
                    sender.ended.set()
                    sender.join()
                    seen = _seen(running)
                running.stop()
                assert _move(*move)["is_done"]
                running.options = options
                running.start()
                if options:
                    sender.more()
        finally:
            sender.ended.set()
        assert _seen(running) == seen
        done = localops("hub", "check", "--data", running.data, "--json")
        [checked] = json.loads(done.stdout)["projects"]
        # And the row about the journal itself.
        assert (done.returncode, checked["rows"]) == (0, sender.taken + 1)
    refused = localops("hub", "move", "--from", url, "--to", str(running.data))
    assert f"{running.data} has rows of its own" in refused.stderr


def test_rows_come_back_to_a_new_folder(both: Both, clickhouse: Server, tmp_path: Path) -> None:
    """A hub's disk was lost: its rows are in ClickHouse."""
    program = Program(62, sessions=sized(2, 4))
    both.store = ClickHouseStore(str(both.mirror.parent), Engine(address(clickhouse.url(both.database))), bound=0)
    for step in program.steps():
        assert step(both.store) == step(both.home)
    both.store.close()
    new = tmp_path / "new"
    _killed(1, "--from", clickhouse.url(both.database), "--to", new)
    assert _move("--from", clickhouse.url(both.database), "--to", new)["is_done"]
    again = HomeStore(str(new))
    assert answers(again, program) == answers(both.home, program)
    again.close()
