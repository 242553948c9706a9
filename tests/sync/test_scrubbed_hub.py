"""A hub that was scrubbed with more rules than its machines: they tell what was replaced on purpose from damage."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from localops import cli
from localops.journal import blobs
from localops.journal.reader import Reader
from localops.upkeep.scrub import scrub
from localops_sync import exit_codes, standing
from tests.server.hubs import RealHub
from tests.sync.homes import Sender

OAK, PINE = r"OAK-\d+", r"PINE-\d+"
# What is in no pattern's way: a file that stays as it is beside a text that does not.
PLAIN = b"only words " * 2_000


@pytest.fixture
def machine(own: RealHub, tmp_path: Path) -> Sender:
    """Return a machine whose rows and files the hub has."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3, body=json.dumps({"params": {"text": "PINE-1 and OAK-2"}}))
    sender.write(2, body=json.dumps({"params": {"text": "nothing secret"}}))
    for text in (b"a long one with OAK-3 and PINE-4" + PLAIN, PLAIN):
        value = {"$blob": blobs.keep(sender.folder, text), "$len": len(text), "head": "OAK-5"}
        sender.write(1, body=json.dumps({"params": {"prompt": value}}))
    assert sender.sync().code == exit_codes.DONE
    return sender


def _patterns(home: str | Path, *patterns: str) -> None:
    Path(home, "config.toml").write_text(f"redact = {json.dumps(patterns)}\n")


def _content(folder: str, digest: str) -> bytes:
    return Path(blobs.path_of(folder, digest)).read_bytes()


def _scrub(home: str | Path, project: str, *patterns: str) -> None:
    _patterns(home, *patterns)
    assert scrub(str(home), project).is_clean


def _change(own: RealHub, statement: str) -> None:
    own.stop()
    connection = apsw.Connection(str(own.folder / "journal.db"))
    connection.execute(statement)
    connection.close()
    own.start()


def test_what_a_hub_has_replaced_is_no_damage(
    own: RealHub, machine: Sender, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows and files, by several scrubs: one line reports it with what to do here, and nothing is sent again."""
    _scrub(own.data, own.project, OAK)
    _scrub(own.data, own.project, OAK, PINE)
    for _ in range(2):
        outcome = machine.sync(verify=True)
        assert (outcome.code, outcome.sent, outcome.left, outcome.scrubbed_there) == (exit_codes.DONE, 0, 0, 5), outcome
        [note] = outcome.notes
        assert note.startswith("8 values in 5 rows were replaced on the hub by ")
        assert note.endswith("run `localops scrub`")
    with Reader(machine.journal) as reader:
        sessions = reader.ask("select session, rows from total")
        assert standing.ask(machine.folder, reader, "hub", sessions).differs == {}
    with pytest.raises(SystemExit) as ended:
        cli.main(["sync", "--verify", "--home", machine.home])
    printed = capsys.readouterr().err
    assert (ended.value.code, printed.count("8 values"), "no other difference" in printed) == (0, 1, True)
    _scrub(machine.home, "default", OAK, PINE)
    outcome = machine.sync(verify=True)
    assert (outcome.code, outcome.notes) == (exit_codes.DONE, [])


def test_a_machine_with_fewer_rules(own: RealHub, machine: Sender) -> None:
    """Both were scrubbed: of what the hub has removed beside that, the number is unknown."""
    _scrub(own.data, own.project, OAK, PINE)
    _scrub(machine.home, "default", OAK)
    machine.sync()
    outcome = machine.sync(verify=True)
    assert (outcome.code, outcome.scrubbed_there) == (exit_codes.DONE, 3)
    assert outcome.notes[0].startswith("values in 3 rows were replaced on the hub by a scrub on ")


def test_a_scrub_of_the_hub_hides_no_damage(own: RealHub, machine: Sender) -> None:
    """A damaged file with a secret stays damaged there, and the machine sends its good copy; then it is scrubbed."""
    [digest] = [each for each in blobs.digests(machine.folder) if b"OAK-3" in _content(machine.folder, each)]
    good = _content(machine.folder, digest)
    path = Path(blobs.path_of(str(own.folder), digest))
    path.write_bytes(good.replace(b"a long one", b"a l0ng one"))
    _patterns(own.data, OAK, PINE)
    done = scrub(str(own.data), own.project)
    assert (done.is_clean, done.files, done.damaged_files) == (False, 0, {str(path): True})
    assert blobs.digests(str(own.folder)) == blobs.digests(machine.folder)
    outcome = machine.sync(verify=True)
    assert (outcome.code, outcome.notes[0]) == (
        exit_codes.PARKED,
        "1 file was missing or damaged on the hub, and sent again",
    )
    assert path.read_bytes() == good
    done = scrub(str(own.data), own.project)
    assert (done.is_clean, done.files, path.exists()) == (True, 1, False)


def test_damage_is_found_beside_it(own: RealHub, machine: Sender) -> None:
    """Of rows and files that the scrub has not changed, and of those that it has."""
    _scrub(own.data, own.project, OAK, PINE)
    # One row as it was, and the scrubbed ones.
    first = "where seq = (select min(seq) from event where body like '%nothing secret%')"
    _change(own, f"update event set body = replace(body, 'nothing', 'noth1ng') {first}")
    _change(
        own, "update event set body = replace(body, ' and ', ' amd ') where body like '%[redacted:%and [redacted:%'"
    )
    plain = Path(blobs.path_of(str(own.folder), blobs.keep(machine.folder, PLAIN)))
    [made] = [path for path in blobs.stored(str(own.folder)) if Path(path) != plain]
    kept = Path(made).read_bytes()
    for path in (plain, Path(made)):
        path.unlink()
    outcome = machine.sync(verify=True)
    assert outcome.code == exit_codes.PARKED
    rows, file, lost, replaced = outcome.notes
    assert rows == "4 rows are missing or damaged on the hub; the next sync sends them again"
    assert file == "1 file was missing or damaged on the hub, and sent again"
    assert lost.startswith("1 file that a scrub has made on the hub is missing or damaged there, and not here")
    assert replaced.startswith("2 values in 2 rows were replaced")
    assert plain.read_bytes() == PLAIN
    Path(made).write_bytes(kept)
    # What is as it was is mended at once, and what was scrubbed once the machine has it like that.
    assert machine.sync().parked == 3
    _scrub(machine.home, "default", OAK, PINE)
    for _ in range(2):
        outcome = machine.sync(verify=True)
        assert (outcome.code, outcome.notes) == (exit_codes.DONE, []), outcome


def test_a_lost_file_of_a_scrub_comes_back_by_the_same_scrub_here(own: RealHub, machine: Sender) -> None:
    """It needs no backup: the same patterns make the same file, which is sent then."""
    _scrub(own.data, own.project, OAK, PINE)
    [made] = [path for path in blobs.stored(str(own.folder)) if b"redacted" in Path(path).read_bytes()]
    kept = Path(made).read_bytes()
    Path(made).unlink()
    lost, _ = machine.sync(verify=True).notes
    assert "put the hub's patterns into config.toml (`redact`) and run `localops scrub`" in lost
    _scrub(machine.home, "default", OAK, PINE)
    machine.sync(verify=True)
    assert Path(made).read_bytes() == kept
    assert machine.sync().parked == 0
    outcome = machine.sync(verify=True)
    assert (outcome.code, outcome.notes) == (exit_codes.DONE, [])
