"""`sync --verify` finds what the hub lacks, and sends it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from localops.journal import blobs
from localops.journal.journal import Journal
from localops_sync import exit_codes
from tests.server.hubs import RealHub
from tests.sync import chaos
from tests.sync.homes import Sender, filmed, identities


def test_verify_reports_parked_rows(weather: tuple[chaos.Chaos, Sender]) -> None:
    """A row that the hub refused does not differ from its receipts, and yet it is not there."""
    broken, sender = weather
    sender.write(1, body='{"poison":1}')

    def refuse(exchange: chaos.Exchange) -> None:
        bad = b"poison" in chaos.inflated(exchange.request)
        (chaos.status(422, {"message": "indigestible"}) if bad else chaos.passed)(exchange)

    broken.always(refuse)
    assert sender.sync().code == exit_codes.PARKED
    broken.calm()
    outcome = sender.sync(verify=True)
    assert outcome.code == exit_codes.PARKED, outcome
    assert "1 row parked here and not on the hub" in outcome.message


def test_verify_finds_files_that_are_nowhere(own: RealHub, tmp_path: Path) -> None:
    """A file is whole neither here nor on the hub: every row that names it counts as missing, and waits for it."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    for _ in range(2):
        digest = filmed(sender, b"film" * 1_000)
    assert sender.sync().code == exit_codes.DONE
    own_path, path = (Path(blobs.path_of(folder, digest)) for folder in (str(own.folder), sender.folder))
    own_path.unlink()
    whole = path.read_bytes()
    path.unlink()
    outcome = sender.sync(verify=True)
    assert (outcome.code, "1 file is whole neither here nor on the hub" in " ".join(outcome.notes)) == (3, True)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 2, 0)
    outcome = sender.sync(verify=True)
    assert (outcome.notes, "2 rows parked here and on the hub without a file of it" in outcome.message) == ([], True)
    path.write_bytes(whole)
    assert sender.sync().code == exit_codes.DONE
    assert own_path.read_bytes() == whole


def test_verify_finds_what_the_hub_lost(own: RealHub, tmp_path: Path) -> None:
    """Rows that vanish from a hub are reported with code 3, and delivered by the next pass."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(50)
    sender.sync()
    assert sender.sync(verify=True).code == exit_codes.DONE
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.execute("delete from event where seq between 20 and 24")
    connection.close()
    journal = Journal(str(own.folder), gather=True)
    journal.rebuild()
    journal.close()
    own.start()
    outcome = sender.sync(verify=True)
    assert outcome.code == exit_codes.PARKED
    assert "5 rows are missing or damaged on the hub" in " ".join(outcome.notes)
    assert sender.sync().sent == 5
    assert sender.sync(verify=True).code == exit_codes.DONE


def _changed_there(real: RealHub, statement: str) -> None:
    """Something happens to the rows of a hub that does not run."""
    connection = apsw.Connection(str(real.folder / "journal.db"))
    connection.execute(statement)
    connection.close()


def test_verify_reads_what_is_stored(own: RealHub, tmp_path: Path) -> None:
    """Contents that changed on the hub's disk, with their checksum kept, are found and mended, in text and in bytes."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(20, body='{"params":{"x":1}}')
    sender.sync()
    own.stop()
    _changed_there(own, "update event set body = replace(body, '1', '2') where seq between 5 and 7")
    _changed_there(own, "update event set body = cast(x'7bff' as text) where seq between 10 and 11")
    own.start()
    outcome = sender.sync(verify=True)
    assert (outcome.code, outcome.left) == (exit_codes.PARKED, 5)
    assert "5 rows are missing or damaged on the hub; the next sync sends them again" in " ".join(outcome.notes)
    assert sender.sync().sent == 5
    assert sender.sync(verify=True).code == exit_codes.DONE
    assert sender.identities() <= identities(str(own.folder / "journal.db"))


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_verify_brings_files_back(own: RealHub, tmp_path: Path, damage: str) -> None:
    """A file that the hub lost, or that does not match its digest, is sent again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    digest = filmed(sender, b"film" * 1_000)
    sender.sync()
    path = Path(blobs.path_of(str(own.folder), digest))
    if damage == "lost":
        shutil.rmtree(own.folder / "blobs")
    else:
        path.write_bytes(b"filn" * 1_000)
    outcome = sender.sync(verify=True)
    assert outcome.code == exit_codes.PARKED
    assert "1 file is missing or damaged on the hub" in " ".join(outcome.notes)
    assert sender.sync().code == exit_codes.DONE
    assert path.read_bytes() == b"film" * 1_000
    assert sender.sync(verify=True).code == exit_codes.DONE
    assert [each.name for each in path.parent.iterdir()] == [digest]


def test_a_refusal_of_verify_needs_a_person(weather: tuple[chaos.Chaos, Sender]) -> None:
    """A 409 or 413 to a request of `--verify` is not about rows: the pass ends with 4."""
    broken, sender = weather
    sender.write(1)
    sender.sync()
    for code in (409, 413):

        def answer(exchange: chaos.Exchange, code: int = code) -> None:
            (chaos.status(code) if exchange.request.target == "/sync/1/sessions" else chaos.passed)(exchange)

        broken.always(answer)
        assert sender.sync(verify=True).code == exit_codes.ACT
