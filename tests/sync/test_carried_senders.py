"""`hub senders` for machines whose rows arrive late, twice, or never."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import apsw

from localops import clock
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.server import senders
from localops.server.senders import Sender as Machine
from localops.upkeep import prune
from localops_sync import bundle_file
from localops_sync.bundle_file import Share
from tests.server.hubs import RealHub
from tests.sync.homes import Sender

_DAY = 86_400_000_000_000


def _only(own: RealHub) -> Machine:
    with Reader(str(own.folder / "journal.db")) as reader:
        [machine] = senders.of(reader)
    return machine


def _age(own: RealHub, days: int) -> None:
    """Move the arrival of everything that the hub has received some days into the past."""
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.execute("update received set at_ns = at_ns - ?", (days * _DAY,))
    connection.close()


def _carry(own: RealHub, path: Path) -> None:
    """Import a bundle into the hub's data folder, while the hub is stopped."""
    bundle_file.unpack(str(own.data), str(path), key=own.key)


def _pack(sender: Sender, path: Path) -> Path:
    assert bundle_file.pack(sender.home, [Share("default", "hub")], str(path))
    return path


def test_rows_that_were_pruned_before_they_could_be_sent_are_not_counted(own: RealHub, sender: Sender) -> None:
    """The ranges that a sender reports as delivered cover them, but no row of them ever arrived."""
    session = clock.new_id()
    sender.write(40, session=session)
    with Reader(sender.journal) as reader:
        choice = replace(prune.look(reader, sender.folder, session), stays=None)
    journal = Journal(sender.folder)
    assert prune.take(journal, [choice]).sessions == 1
    journal.close()
    sender.write(3)
    assert sender.sync().code == 0
    assert _only(own).rows == len(sender.identities())
    sender.write(2)
    assert sender.sync().code == 0
    assert _only(own).rows == len(sender.identities())


def test_rows_of_an_earlier_release_are_estimated_until_others_come(own: RealHub, sender: Sender) -> None:
    """A hub that did not count knows only what its ranges cover; later rows are added to that."""
    sender.write(5)
    assert sender.sync().code == 0
    many = len(sender.identities())
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.execute("delete from meta where key like 'rows from %'")
    assert connection.changes() == 1
    connection.close()
    assert _only(own).rows == many
    own.start()
    sender.write(4)
    assert sender.sync().code == 0
    assert _only(own).rows == many + 4


def test_a_bundle_that_is_carried_again_is_no_sign_of_life(own: RealHub, sender: Sender, tmp_path: Path) -> None:
    """It has nothing new: when the machine last sent, its newest row and its lag do not change."""
    sender.write(3)
    earlier = _pack(sender, tmp_path / "earlier.lops")
    sender.write(3)
    later = _pack(sender, tmp_path / "later.lops")
    own.stop()
    _carry(own, earlier)
    _carry(own, later)
    _age(own, 3)
    before = _only(own)
    _carry(own, earlier)
    assert _only(own) == before
    _carry(own, later)
    assert _only(own) == before


def test_an_old_bundle_that_comes_after_a_newer_one_is_no_sign_of_life(
    own: RealHub, sender: Sender, tmp_path: Path
) -> None:
    """Its rows are new and counted, but the machine's newest row is still the one that arrived before."""
    sender.write(3)
    earlier = _pack(sender, tmp_path / "earlier.lops")
    shutil.copy(earlier, tmp_path / "delayed.lops")
    ledger = sender.ledger()
    ranges = [(1, ledger.newest())]
    journal = Journal(sender.folder)
    journal.transact(lambda execute: ledger._add(execute, ranges), full=True, folded=False)
    journal.close()
    sender.write(2)
    later = _pack(sender, tmp_path / "later.lops")
    own.stop()
    _carry(own, later)
    _age(own, 3)
    before = _only(own)
    _carry(own, tmp_path / "delayed.lops")
    after = _only(own)
    assert (after.last_ns, after.newest_ns, after.lag_ns) == (before.last_ns, before.newest_ns, before.lag_ns)
    assert after.rows > before.rows == 2


def test_a_batch_that_brings_new_rows_beside_old_ones_is_a_sign_of_life(
    own: RealHub, sender: Sender, tmp_path: Path
) -> None:
    """A bundle of everything that was not signed for yet holds both."""
    sender.write(3)
    earlier = _pack(sender, tmp_path / "earlier.lops")
    own.stop()
    _carry(own, earlier)
    _age(own, 3)
    before = _only(own)
    sender.write(1)
    _carry(own, _pack(sender, tmp_path / "all.lops"))
    after = _only(own)
    assert after.last_ns - before.last_ns > 2 * _DAY
    assert after.rows == before.rows + 1
