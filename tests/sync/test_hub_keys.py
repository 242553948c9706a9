"""What a sender does with a hub's keys: one that only sends is enough, and one that ends soon is reported."""

from __future__ import annotations

from pathlib import Path

from localops import clock
from localops.transfer import key_ends
from localops_sync import exit_codes
from tests.server.hubs import RealHub
from tests.sync.homes import Sender, identities
from tests.sync.operating import run_localops

_DAY = 86_400_000_000_000


def test_a_key_that_only_sends_is_enough_for_a_machine(real: RealHub, tmp_path: Path) -> None:
    """It sends and verifies, and reads nothing."""
    key = real.new_key("sending", scopes=("send",))
    sender = Sender(tmp_path / "home", real.url, key)
    sender.write(20)
    assert sender.sync().code == exit_codes.DONE
    outcome = sender.sync(verify=True)
    assert (outcome.code, outcome.compared) == (exit_codes.DONE, 1)
    assert sender.identities() <= identities(str(real.data / "sending" / "journal.db"))
    assert real.ask("GET", "/api/1/sessions", key=key)[0] == 403


def test_a_key_that_only_reads_sends_nothing(real: RealHub, tmp_path: Path) -> None:
    """A person must act; the rows are kept, and none is parked."""
    sender = Sender(tmp_path / "home", real.url, real.new_key("reading", scopes=("read",)))
    sender.write(3)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left >= 3) == (exit_codes.ACT, 0, True)
    assert "may not send" in outcome.message


def test_a_key_that_ends_soon_is_reported(real: RealHub, tmp_path: Path) -> None:
    """Sync and status report it in its last two weeks, and no other one; an expired key is named as such."""
    now = clock.now_ns()
    sender = Sender(tmp_path / "home", real.url, real.new_key("ending", expires_ns=now + 30 * _DAY))
    sender.write(3)
    assert sender.sync().notes == []
    assert "the key to hub" not in run_localops(sender.home, "status").stderr
    ending = Sender(tmp_path / "home", real.url, real.new_key("ending", expires_ns=now + 5 * _DAY))
    ending.write(3)
    [note] = ending.sync().notes
    assert note.startswith("the key to hub ends on 20")
    assert note in run_localops(sender.home, "status").stderr
    expired = Sender(tmp_path / "home", real.url, real.new_key("ending", expires_ns=now - 1))
    expired.write(3)
    outcome = expired.sync()
    assert (outcome.code, outcome.left >= 3) == (exit_codes.ACT, True)
    assert "expired" in outcome.message
    lasting = Sender(tmp_path / "home", real.url, real.new_key("ending"))
    assert lasting.sync().code == exit_codes.DONE
    assert key_ends.load(sender.folder) == {}
