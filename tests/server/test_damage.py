"""What a check has found damaged or missing counts against the hub's health until it is whole again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from localops.journal import blobs
from localops.journal.reader import Reader
from localops.server import damage
from localops_sync import remote_test
from tests.server.hubs import RealHub, hub, wait_until
from tests.sync.homes import Sender
from tests.sync.operating import run_hub

_LINE = "rows or files of 1 project are damaged or missing: `localops hub check` tells which"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RealHub]:
    """Yield a hub that looks often."""
    with hub(tmp_path / "own", fresh=0.1, look=0.1) as running:
        yield running


@pytest.fixture
def sender(own: RealHub, tmp_path: Path) -> Sender:
    """Return a machine that has sent rows."""
    machine = Sender(tmp_path / "home", own.url, own.key)
    machine.write(20, body='{"params":"as it was"}')
    assert machine.sync().code == 0
    return machine


def _change(own: RealHub, statement: str) -> None:
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.set_busy_timeout(10_000)
    connection.execute(statement)
    connection.close()


def _health(own: RealHub) -> tuple[int, list[str]]:
    status, facts = own.ask("GET", "/health", key="")
    return status, facts["problems"]


def _check(own: RealHub) -> int:
    return run_hub(own, "check").returncode


@pytest.mark.parametrize(
    "statement",
    [
        'update event set body = \'{"params":"flipped"}\' where seq = 7',
        "delete from event where seq = 7",
    ],
)
def test_a_check_counts_against_health(own: RealHub, sender: Sender, statement: str) -> None:
    """A damaged or a lost row does, also after a restart, until the machine that has it has sent it again."""
    assert _health(own) == (200, [])
    _change(own, statement)
    assert _check(own) == 1
    wait_until(lambda: _health(own) == (503, [_LINE]))
    assert own.ask("GET", "/ready", key="")[0] == 200
    own.stop()
    own.start()
    wait_until(lambda: _health(own) == (503, [_LINE]))
    sender.sync(verify=True)
    assert sender.sync().code == 0
    wait_until(lambda: _health(own) == (200, []))
    assert _check(own) == 0
    assert not os.path.exists(own.folder / damage.FILE)


def test_a_machines_verify_counts_against_health(own: RealHub, sender: Sender) -> None:
    """A row that a machine finds damaged does, until the next pass has sent it again; and a clean check ends it."""
    _change(own, 'update event set body = \'{"params":"flipped"}\' where seq = 7')
    assert _health(own) == (200, [])
    asked = {"rows": [[id.hex(), phase, total] for id, phase, total in sender.identities()]}
    status, reply = own.ask("POST", "/sync/1/missing", json.dumps(asked).encode())
    assert (status, len(reply["missing"])) == (200, 1)
    wait_until(lambda: _health(own) == (503, [_LINE]))
    sender.sync(verify=True)
    assert sender.sync().code == 0
    wait_until(lambda: _health(own) == (200, []))


def _tested(sender: Sender) -> remote_test.Finding:
    """Return what the test of a machine's remote reports of the hub's health."""
    with Reader(sender.journal) as reader:
        findings = list(remote_test.run(sender.remote, reader, sender.folder))
    return next(each for each in findings if each.step == "health")


def test_the_damage_of_one_project_fails_no_test_of_another(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """A machine learns about its own project; what is wrong with others is for the operator."""
    other = Sender(tmp_path / "other", own.url, own.new_key("other"))
    other.write(1)
    assert other.sync().code == 0
    _change(own, "update event set sum = sum + 1 where seq = 7")
    assert _check(own) == 1
    wait_until(lambda: _health(own) == (503, [_LINE]))
    assert (_tested(other).ok, _tested(sender).ok) == (True, False)
    assert "rows or files of this project are damaged" in _tested(sender).message
    sender.sync(verify=True)
    assert sender.sync().code == 0
    wait_until(lambda: _tested(sender).ok)


@pytest.mark.foreign_open
def test_a_journal_that_cannot_be_read_is_shown_to_its_own_machines(
    own: RealHub, sender: Sender, tmp_path: Path
) -> None:
    """Machines of other projects are not affected."""
    other = Sender(tmp_path / "other", own.url, own.new_key("other"))
    other.write(1)
    assert other.sync().code == 0
    own.stop()
    (own.data / "other" / "journal.db").write_bytes(b"no journal" * 1_000)
    own.start()
    wait_until(lambda: _health(own)[0] == 503)
    assert _tested(sender).ok
    finding = _tested(other)
    assert (finding.ok, "the journal of this project cannot be read" in finding.message) == (False, True)


def test_what_was_never_here_is_no_damage(own: RealHub, sender: Sender) -> None:
    """A question about rows and files that the hub does not know leaves its health alone."""
    rows = json.dumps({"rows": [["ab" * 16, 0, 1]]}).encode()
    assert own.ask("POST", "/sync/1/missing", rows)[1]["missing"] == [["ab" * 16, 0]]
    files = json.dumps({"blobs": ["cd" * 32]}).encode()
    status, reply = own.ask("POST", "/sync/1/blobs", files)
    assert (status, reply["missing"]) == (200, ["cd" * 32])
    assert damage.sight(str(own.folder)) is None
    assert _health(own) == (200, [])


def test_what_is_whole_again_is_forgotten(sender: Sender, own: RealHub) -> None:
    """Rows by id and by seq, files, and a file that is damaged itself."""
    folder = str(own.folder)
    with Reader(str(own.folder / "journal.db")) as reader:
        row = next(each for each in reader.stream() if each.kind == "action")
        damage.add_rows(folder, [(row.id, row.phase), (bytes(16), 0)])
        digest = "a" * 64
        damage.add_blobs(folder, [digest])
        assert damage.look_again(folder, reader)
        facts = json.loads((own.folder / damage.FILE).read_text())
        assert (facts["rows"], facts["blobs"]) == ([["0" * 32, 0]], [digest])
        assert blobs.flaw(folder, digest)
        (own.folder / damage.FILE).write_text("no JSON")
        assert not damage.look_again(folder, reader)
