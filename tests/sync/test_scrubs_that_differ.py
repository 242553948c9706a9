"""Machines and a hub that scrub the same rows with different rules: what settles it, and what people read meanwhile."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from localops import cli
from localops.journal import blobs
from localops.journal.journal import Journal
from localops.transfer import scrubbed
from localops.upkeep import doctor
from localops.upkeep.scrub import scrub
from localops_sync import bundle_file, exit_codes
from localops_sync.bundle_file import Share
from tests.server.hubs import RealHub
from tests.sync.homes import Sender, identities


@pytest.fixture
def machines(request: pytest.FixtureRequest, real: RealHub, tmp_path: Path) -> tuple[Sender, Sender, Path]:
    """Return two machines with the same rows, which the hub has of the first, and the folder of the hub."""
    project = request.node.name[:60].replace("_", "-")
    first = Sender(tmp_path / "home", real.url, real.new_key(project))
    first.write(3, body=json.dumps({"params": {"text": "PINE-1 and OAK-2"}}))
    bundle_file.pack(first.home, [Share("default", "hub")], str(tmp_path / "a.lops"))
    second = Sender(tmp_path / "copy", real.url, real.new_key(project))
    bundle_file.unpack(second.home, str(tmp_path / "a.lops"))
    assert first.sync().code == exit_codes.DONE
    return first, second, real.data / project


def _scrub(home: str | Path, project: str, *patterns: str) -> int:
    Path(home, "config.toml").write_text(f"redact = {json.dumps(patterns)}\n")
    done = scrub(str(home), project)
    assert done.is_clean, done
    return done.rows


def _holds(folder: Path, *words: str) -> bool:
    sought = [word for each in words for word in ("-e", each)]
    return subprocess.run(["grep", "-rqaF", *sought, str(folder)], check=False).returncode == 0


def test_a_hub_that_removes_more_has_the_rows_of_all_machines(machines: tuple[Sender, Sender, Path]) -> None:
    """What only one had removed is still there at first; a scrub there with the rules of both settles it for both."""
    first, second, there = machines
    assert _scrub(first.home, "default", r"PINE-\d+") == 3
    assert first.sync().code == exit_codes.DONE
    assert _scrub(second.home, "default", r"OAK-\d+") == 3
    assert second.sync().parked == 3
    assert {each.reason for each in second.ledger().parked()} == {scrubbed.OTHERWISE}
    assert _holds(there, "OAK-2")
    assert _scrub(there.parent, there.name, r"PINE-\d+", r"OAK-\d+") == 3
    assert not _holds(there, "OAK-2", "PINE-1")
    kept = identities(str(there / "journal.db"))
    _unpark(second)
    for machine in (second, first, second):
        outcome = machine.sync(verify=True)
        assert (outcome.code, outcome.parked, outcome.scrubbed_there) == (exit_codes.DONE, 0, 3), outcome
        assert machine.ledger().parked() == []
    # Rows of a machine that is set back come again, and count as held.
    _forget(first)
    outcome = first.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0), outcome
    assert kept <= identities(str(there / "journal.db"))
    assert not _holds(there, "OAK-2", "PINE-1")


def test_pieces_that_no_pattern_fits_any_more_are_no_dead_end(machines: tuple[Sender, Sender, Path]) -> None:
    """A digest that a shorter pattern has cut: a scrub of the hub with the patterns of both ends it, for files too."""
    first, second, there = machines
    digest = "aabbccddee123456789012ffeeddccbbaa99887766554433221100aabbccddee"
    text = f"{digest} and 77777777" + " word" * 250_000
    for body in (text[:80], {"$blob": blobs.keep(first.folder, text.encode()), "$len": len(text), "head": text[:1000]}):
        first.write(1, body=json.dumps({"params": {"prompt": body}}))
    bundle_file.pack(first.home, [Share("default", "hub")], f"{first.home}/b.lops")
    bundle_file.unpack(second.home, f"{first.home}/b.lops")
    assert first.sync().code == exit_codes.DONE
    assert _scrub(first.home, "default", "[0-9a-f]{64}") == 2
    assert first.sync().code == exit_codes.DONE
    assert _scrub(second.home, "default", r"\d{6,}") == 2
    assert second.sync().parked == 2
    # What is advised first finds nothing here: pieces are left.
    both = ("[0-9a-f]{64}", r"\d{6,}")
    assert _scrub(second.home, "default", *both) == 0
    assert {each.reason for each in second.ledger().parked()} == {scrubbed.OTHERWISE}
    assert _scrub(there.parent, there.name, *both) == 2
    _unpark(second)
    for verify in (False, True, False):
        outcome = second.sync(verify=verify)
        assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0), outcome
    assert second.ledger().parked() == []
    assert not _holds(there, digest[:20], "77777777")
    # What is removed here later goes there all the same.
    assert _scrub(second.home, "default", *both, r"\band\b") == 5
    assert second.sync().parked == 2


def test_no_row_about_a_scrub_is_stored_twice(machines: tuple[Sender, Sender, Path]) -> None:
    """One machine removes something of the body alone, so that its row without content is as that of the other was."""
    first, second, there = machines
    first.write(1, name="step OAK-2", body=json.dumps({"params": {"text": "PINE-1"}}))
    bundle_file.pack(first.home, [Share("default", "hub")], f"{first.home}/b.lops")
    bundle_file.unpack(second.home, f"{first.home}/b.lops")
    assert first.sync().code == exit_codes.DONE
    assert _scrub(first.home, "default", r"PINE-\d+") == 4
    assert first.sync().code == exit_codes.DONE
    assert _scrub(second.home, "default", r"PINE-\d+", r"OAK-\d+") == 4
    assert second.sync().code == exit_codes.DONE
    assert not any("copy of" in finding.text for finding in doctor.examine(str(there.parent), [there.name], deep=True))


def test_the_row_of_before_is_refused_all_the_same(
    machines: tuple[Sender, Sender, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the hub's row is that one with more removed: its machine must learn that it still has the secret."""
    _, second, there = machines
    _scrub(there.parent, there.name, r"PINE-\d+", r"OAK-\d+")
    assert second.sync().parked == 3
    assert {each.reason for each in second.ledger().parked()} == {scrubbed.REFUSED}
    with pytest.raises(SystemExit):
        cli.main(["parked", "list", "--home", second.home])
    assert capsys.readouterr().out.count("it was scrubbed there") == 1
    # With fewer rules than the hub has: nothing that is removed here is there, so that its rows are held.
    assert _scrub(second.home, "default", r"PINE-\d+") == 3
    outcome = second.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0), outcome
    assert second.sync(verify=True).scrubbed_there == 3
    assert not _holds(there, "OAK-2", "PINE-1")


def test_verify_settles_rows_that_the_hub_has_without_a_secret(machines: tuple[Sender, Sender, Path]) -> None:
    """Nothing is lost; what is removed here later goes there all the same."""
    _, second, there = machines
    _scrub(there.parent, there.name, r"PINE-\d+")
    assert second.sync().parked == 3
    for _ in range(2):
        outcome = second.sync(verify=True)
        assert (outcome.code, outcome.scrubbed_there) == (exit_codes.DONE, 3), outcome
    assert second.ledger().parked() == []
    assert _holds(there, "OAK-2")
    assert _scrub(second.home, "default", r"PINE-\d+", r"OAK-\d+") == 3
    outcome = second.sync(verify=True)
    assert (outcome.code, outcome.notes) == (exit_codes.DONE, []), outcome
    assert not _holds(there, "OAK-2")


def test_rows_that_wait_for_the_next_sync_are_no_fault(
    machines: tuple[Sender, Sender, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """They are not refused, there is nothing to retry, and to drop them would leave the secret on the hub."""
    sender, _, there = machines
    _scrub(sender.home, "default", r"PINE-\d+")
    findings = list(doctor.examine(sender.home, ["default"]))
    [waits] = [finding for finding in findings if "scrubbed" in finding.text]
    assert (waits.fault, waits.text.startswith("3 scrubbed rows wait")) == (False, True)
    assert not any("parked" in finding.text for finding in findings)
    with pytest.raises(SystemExit):
        cli.main(["parked", "list", "--home", sender.home])
    out = capsys.readouterr().out
    assert ("upgrade" in out, "waits for sync" in out) == (False, True)
    with pytest.raises(SystemExit):
        cli.main(["status", "--home", sender.home, "--json"])
    [remote] = json.loads(capsys.readouterr().out)["projects"][0]["remotes"]
    assert (remote["rows_waiting"], remote["parked"]) == (6, 0)
    _unpark(sender, drop=True)
    assert sender.sync().code == exit_codes.DONE
    assert not _holds(there, "PINE-1")
    assert not any("scrubbed" in finding.text for finding in doctor.examine(sender.home, ["default"]))


def _unpark(sender: Sender, *, drop: bool = False) -> None:
    with closing(Journal(sender.folder)) as journal:
        sender.ledger().unpark(journal, drop=drop)


def _forget(sender: Sender) -> None:
    """Mark all rows as unsent."""
    with closing(Journal(sender.folder)) as journal:
        sender.ledger().keep_only(journal, [])
