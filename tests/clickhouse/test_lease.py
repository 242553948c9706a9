"""One hub at a time writes to a database, and another takes its place when it has ended."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from localops.errors import InUse
from localops.reading import mirrored
from localops.server.clickhouse import lease
from localops.server.clickhouse.engine import Engine
from localops.server.clickhouse.lease import Lease
from localops.server.clickhouse.migrations import migrate
from localops.server.clickhouse.store import ClickHouseStore
from localops.server.keys import Keys
from localops.server.request import Unavailable
from tests.clickhouse.both import Both
from tests.clickhouse.programs import PROJECT, Program
from tests.clickhouse.servers import Server
from tests.server.hubs import batch_of, hub, session_rows
from tests.warm import localops


def _leased(store: ClickHouseStore) -> Lease:
    store.lease = Lease(store.engine, store.folder, store.make_tables)
    return store.lease


def _end(engine: Engine) -> None:
    """Let the time pass after which the leases of all hubs have ended."""
    engine.do(
        "insert into lo_lease (holder, place, folder, host, pid, started, renewed, ended, rev) "
        "select holder, place, folder, host, pid, started, renewed - 100, ended, rev + 1 from lo_lease final"
    )


def test_one_of_many_takes_it(tmp_path: Path, clickhouse: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are refused by its name, until it gives it back or does not renew it."""
    monkeypatch.setattr(lease, "_RENEW", 0.2)
    engine = clickhouse.engine("leases")
    migrate(engine)
    folders = [tmp_path / str(number) for number in range(6)]
    for folder in folders:
        folder.mkdir()
    hubs = [Lease(engine, str(folder), lambda: None) for folder in folders]
    threads = [threading.Thread(target=each.take) for each in hubs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.is_held for each in hubs) <= 1
    for each in hubs:
        each.give_back()

    first, second = (Lease(engine, str(folder), lambda: None) for folder in folders[:2])
    assert first.take() is None
    messages: list[str] = []
    with pytest.raises(InUse, match=f"belongs to the hub with the folder {folders[0]} on .*: stop that hub"):
        lease.take_soon(second, messages.append)
    assert "waiting up to" in messages[0]
    first.give_back()
    assert not first.is_held
    assert second.take() is None
    # The one after it with the same folder needs not wait: the folder is locked.
    again = Lease(engine, str(folders[1]), lambda: None)
    assert again.take() is None
    again.give_back()
    second.give_back()
    monkeypatch.setattr(lease, "_RENEW", 60.0)
    killed = Lease(engine, str(folders[0]), lambda: None)
    assert killed.take() is None
    assert Lease(engine, str(folders[1]), lambda: None).other() is not None
    _end(engine)
    last = Lease(engine, str(folders[1]), lambda: None)
    lease.take_soon(last, messages.append)
    assert (last.is_held, last.turns_of_others) == (True, 1)
    for each in (killed, last):
        each.give_back()


def test_a_hub_without_the_lease_stores_nothing(both: Both, clickhouse: Server, tmp_path: Path) -> None:
    """Its senders keep their rows; when the other hub has ended, it continues, and takes over what that one stored."""
    program = Program(71, sessions=3)
    steps = list(program.steps(deletions=False))
    third, two_thirds = len(steps) // 3, 2 * len(steps) // 3
    own = _leased(both.store)
    for step in steps[:third]:
        assert step(both.store) == step(both.home)
    both.store.write_behind(PROJECT)
    (tmp_path / "other").mkdir()
    other = ClickHouseStore(str(tmp_path / "other"), clickhouse.engine(both.database))
    # It was cut off for long, and another one has taken its place; its own threads wait here.
    with own._lock:
        own._until = 0.0
        _end(both.store.engine)
        assert _leased(other).take() is None
    with pytest.raises(Unavailable) as refusal:
        steps[third](both.store)
    assert f"the hub with the folder {other.folder}" in str(refusal.value.why)
    for step in steps[third:two_thirds]:
        assert step(other) == step(both.home)
    other.close()
    for step in steps[two_thirds:]:
        assert step(both.store) == step(both.home)
    both.compare(program, brief=True)


def test_commands_and_hubs_of_other_folders_are_refused(tmp_path: Path, clickhouse: Server) -> None:
    """The folder of a killed hub can be served again at once; a hub gives its lease back when it ends."""
    url = clickhouse.url("leased")
    other = tmp_path / "other"
    Keys(str(other), new=True).create(PROJECT)
    mirrored.note(str(other), url)
    with hub(tmp_path, PROJECT, "--store", url) as running:
        running.kill()
        running.start()
        assert running.take(batch_of(session_rows(2)))[0] == 200
        refused = localops("hub", "check", "--data", str(other))
        assert refused.returncode == 1
        assert f"belongs to the hub with the folder {running.data}" in refused.stderr
        assert localops("hub", "check", "--data", str(running.data)).returncode == 0
        running.stop()
        assert localops("hub", "check", "--data", str(other)).returncode == 0
