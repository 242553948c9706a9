"""A hub that was restored before, between or after bundles that were carried to it: every row gets there again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from localops.journal.journal import Journal
from localops.transfer import removal
from localops_sync import bundle_file, exit_codes, relay
from localops_sync.bundle_file import Share
from tests.server.hubs import RealHub
from tests.sync.homes import Sender, identities


@pytest.fixture
def other(tmp_path: Path, own: RealHub) -> Sender:
    """The home of another machine, which passes bundles on."""
    return Sender(tmp_path / "other", own.url, own.key)


def _save(own: RealHub, to: Path) -> None:
    own.stop()
    subprocess.run(["cp", "-a", str(own.data), str(to)], check=True)
    own.start()


def _restore(own: RealHub, saved: Path) -> None:
    own.stop()
    shutil.rmtree(own.data)
    subprocess.run(["cp", "-a", str(saved), str(own.data)], check=True)
    own.start()


def _carry(sender: Sender, other: Sender, path: Path) -> Path:
    """Pass the unsent rows on to the hub; return the file of its receipts."""
    bundle_file.pack(sender.home, [Share("default", "hub")], str(path))
    bundle_file.unpack(other.home, str(path))
    parts = relay.deliver(other.home, str(path), "hub")
    receipts = path.with_suffix(".receipts")
    assert bundle_file.write_receipts(parts, str(receipts)) == 1
    return receipts


def _take(sender: Sender, receipts: Path) -> None:
    [signed] = bundle_file.take_receipts(sender.home, str(receipts))
    assert (signed.refused, sender.ledger().waiting().rows) == ([], 0)


def _there(own: RealHub) -> set[tuple[bytes, int, int]]:
    return identities(os.path.join(own.folder, "journal.db"))


def _bring_back(sender: Sender, own: RealHub) -> None:
    """Make the pass that a person asks for: it must send the lost rows, and the one after it must find nothing."""
    outcome = sender.sync(ask=True)
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0), outcome
    # The first words depend on whether the hub still has any row of this journal.
    assert ["what is here is sent again" in note for note in outcome.notes] == [True], outcome
    assert sender.identities() <= _there(own)
    again = sender.sync(ask=True)
    assert (again.code, again.sent, again.notes) == (exit_codes.DONE, 0, []), again


@pytest.mark.parametrize("new_rows", [0, 3])
def test_receipts_of_a_restored_hub_do_not_hide_what_it_lost(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path, new_rows: int
) -> None:
    """The rows of later receipts are newer than the lost ones, with and without rows to send after them."""
    sender.write(6)
    sender.sync()
    _save(own, tmp_path / "saved")
    sender.write(4)
    sender.sync()
    _restore(own, tmp_path / "saved")
    sender.write(5)
    _take(sender, _carry(sender, other, tmp_path / "z.lops"))
    assert not sender.identities() <= _there(own)
    if new_rows:
        sender.write(new_rows)
    _bring_back(sender, own)


def test_a_bundle_that_is_passed_on_does_not_hide_what_the_hub_lost(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path
) -> None:
    """The machine that passes it on has rows of its own, which the hub had before it was restored."""
    other.write(2)
    other.sync()
    _save(own, tmp_path / "saved")
    other.write(3)
    other.sync()
    _restore(own, tmp_path / "saved")
    sender.write(5)
    _carry(sender, other, tmp_path / "z.lops")
    assert not other.identities() <= _there(own)
    # It also sends its copies of the other machine's rows, as the hub does not have them from its own journal.
    _bring_back(other, own)


@pytest.mark.parametrize("is_carried_again", [False, True])
@pytest.mark.parametrize("was_met", [False, True])
def test_carried_rows_that_a_restored_hub_lost_are_sent(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path, was_met: bool, is_carried_again: bool
) -> None:
    """The hub still has earlier rows, and may have later ones; the machine may not know the hub yet."""
    if was_met:
        sender.write(2)
        sender.sync()
    _save(own, tmp_path / "saved")
    sender.write(4)
    _take(sender, _carry(sender, other, tmp_path / "first.lops"))
    _restore(own, tmp_path / "saved")
    if is_carried_again:
        sender.write(5)
        _take(sender, _carry(sender, other, tmp_path / "second.lops"))
    _bring_back(sender, own)


def test_rows_that_were_passed_on_and_lost_are_sent_by_the_machine_that_did_it(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path
) -> None:
    """Its copies count as delivered, and only the hub's receipt for the other journal tells that they were."""
    other.write(2)
    other.sync()
    _save(own, tmp_path / "saved")
    sender.write(5)
    _carry(sender, other, tmp_path / "z.lops")
    _restore(own, tmp_path / "saved")
    _bring_back(other, own)


def test_carried_rows_that_are_there_are_not_sent_again(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path
) -> None:
    """Both machines compare, find everything, and stop to compare once the hub has answered a batch."""
    for home in (sender, other):
        home.write(2)
        home.sync()
    sender.write(4)
    _take(sender, _carry(sender, other, tmp_path / "z.lops"))
    for home in (sender, other):
        asked = home.sync(ask=True)
        assert (asked.code, asked.sent, asked.notes, asked.requests) == (exit_codes.DONE, 0, [], 2), asked
        home.write(1)
        assert home.sync().sent == 1
        assert home.sync(ask=True).requests == 1
    assert sender.identities() | other.identities() <= _there(own)


def test_receipts_from_before_a_restore_that_come_after_it_are_compared(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path
) -> None:
    """A pass in between has moved the position, and says nothing of rows that were not delivered for it."""
    sender.write(2)
    sender.sync()
    _save(own, tmp_path / "saved")
    sender.write(4)
    early = _carry(sender, other, tmp_path / "z.lops")
    _restore(own, tmp_path / "saved")
    assert sender.sync(ask=True).left == 0  # it sends the four rows, too
    _take(sender, early)
    sender.write(1)
    assert sender.sync().sent == 1
    assert sender.identities() <= _there(own)


def test_a_remote_that_is_removed_takes_what_was_carried_along(
    own: RealHub, sender: Sender, other: Sender, tmp_path: Path
) -> None:
    """One that is added under its name later starts with nothing to compare."""
    sender.write(4)
    _take(sender, _carry(sender, other, tmp_path / "z.lops"))
    ledger = sender.ledger()
    assert ledger.to_compare()
    journal = Journal(sender.folder)
    removal.forget(ledger, journal)
    journal.close()
    assert sender.ledger().to_compare() == {}
    assert sender.ledger().waiting().rows > 0
