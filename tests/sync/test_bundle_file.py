"""Rows travel in a file, each once, with their blobs; receipts travel back, and count only if they are genuine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

import localops
from localops import clock, config
from localops.errors import BundleError, ConfigError, JournalError, NotFound
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading.home import Home
from localops.server.keys import Key, Keys
from localops.transfer import bundle, delivery, remotes
from localops.transfer.remotes import Remote
from localops.upkeep import sweep
from localops_sync import bundle_file, exit_codes, relay, worker
from localops_sync.bundle_file import Share
from tests import warm
from tests.server.hubs import hub

KEY = "6b1f2f0e-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path: Path) -> str:
    """Return a home with one ended session of many rows, one of them with a blob, and a remote called hub."""
    session = localops.start_session(name="far away", tags=["ship"])
    assert session is not None
    for n in range(20):
        session.record(localops.LLMEvent(model="gpt-4o", prompt=f"question {n}", prompt_tokens=n, completion_tokens=1))
    session.record(localops.ToolEvent(name="long", returns="x" * 1_100_000))
    session.end_session("Success")
    home = str(tmp_path / "home")
    remotes.save(config.project_folder(home, "default"), {"hub": Remote("hub", "http://127.0.0.1:1", key=KEY)})
    return home


def _identities(home: str) -> set[tuple[bytes, int, int]]:
    with Reader(os.path.join(config.project_folder(home, "default"), "journal.db")) as reader:
        return {bundle.identity(row) for row in reader.stream() if row.kind != "journal"}


def _unsent(home: str) -> int:
    folder = config.project_folder(home, "default")
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return delivery.Ledger(reader, folder, "hub").waiting().rows


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Return the data folder of a hub without a server; its key does not name it, like those of earlier releases."""
    return _hub_with(KEY, tmp_path / "hub")


def _hub_with(key: str, data: Path) -> str:
    keys = Keys(str(data))
    digest = hashlib.sha256(key.encode()).hexdigest()
    keys._change(lambda known: [*known, Key(digest, "default", "2026-01-01T00:00:00Z")])
    return str(data)


def test_rows_and_blobs_arrive_once(home: str, tmp_path: Path) -> None:
    """A bundle that is imported twice gives the rows and the files of its home, each once."""
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    [packed] = bundle_file.pack(home, [Share("default")], path)
    [first], [second] = bundle_file.unpack(there, path), bundle_file.unpack(there, path)
    assert (packed.blobs, first.blobs, second.blobs) == (1, 1, 0)
    assert (first.new, second.new) == (packed.rows, 0)
    assert _identities(there) == _identities(home)
    [(_, _, names)] = [walk for walk in os.walk(os.path.join(there, "default", "blobs")) if walk[2]]
    assert os.path.exists(blobs.path_of(config.project_folder(home, "default"), names[0]))


def test_files_are_compressed_if_that_helps(home: str, tmp_path: Path) -> None:
    """A long text takes little room in a bundle; compressed data is put in unchanged."""
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    source = tmp_path / "film"
    source.write_bytes(os.urandom(300_000))
    session = localops.start_session(name="filmed")
    assert session is not None
    session.set_video(source)
    session.end_session("Success")
    bundle_file.pack(home, [Share("default")], path)
    assert os.path.getsize(path) < 400_000
    with zipfile.ZipFile(path) as packed:
        how = {each.file_size: each.compress_type for each in packed.infolist() if "/blobs/" in each.filename}
    assert how == {1_100_000: zipfile.ZIP_DEFLATED, 300_000: zipfile.ZIP_STORED}
    bundle_file.unpack(there, path)
    assert blobs.size(config.project_folder(there, "default")) == 1_400_000


def test_receipts_mark_the_rows_as_delivered(home: str, data: str, tmp_path: Path) -> None:
    """Rows with a receipt are not unsent any more; rows that were recorded meanwhile are."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    bundle_file.pack(home, [Share("default", "hub")], path)
    localops.start_session(name="later")
    parts = bundle_file.unpack(data, path, key=KEY)
    bundle_file.write_receipts(parts, back)
    [signed] = bundle_file.take_receipts(home, back)
    assert (signed.refused, signed.rows) == ([], parts[0].rows)
    assert 0 < _unsent(home) < 5


@pytest.mark.parametrize("flaw", ["missing", "damaged"])
def test_a_row_whose_file_was_not_in_the_bundle_stays_unsent(home: str, data: str, tmp_path: Path, flaw: str) -> None:
    """The hub does not sign for it; it is in the next bundle that has the file."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    folder = config.project_folder(home, "default")
    [blob] = [Path(top, name) for top, _, names in os.walk(os.path.join(folder, "blobs")) for name in names]
    whole = blob.read_bytes()
    blob.write_bytes(b"x")
    if flaw == "missing":
        blob.unlink()
    done = warm.run(
        [sys.executable, "-m", "localops", "bundle", "-o", path, "--remote", "hub", "--home", home],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, "1 file that rows of default name" in done.stderr) == (3, True), done.stderr
    [part] = bundle_file.unpack(data, path, key=KEY)
    assert [("is not here" in reason) for reason in part.refused.values()] == [True]
    bundle_file.write_receipts([part], back)
    [signed] = bundle_file.take_receipts(home, back)
    assert (signed.refused, _unsent(home)) == ([], 1)
    blob.write_bytes(whole)
    again = str(tmp_path / "again.lops")
    [packed] = bundle_file.pack(home, [Share("default", "hub")], again)
    assert (packed.rows, packed.blobs, packed.lacking) == (1, 1, 0)
    bundle_file.write_receipts(bundle_file.unpack(data, again, key=KEY), back)
    [signed] = bundle_file.take_receipts(home, back)
    assert (signed.refused, _unsent(home)) == ([], 0)


def test_rows_that_cannot_be_synced_are_not_packed(home: str, tmp_path: Path) -> None:
    """A journal that cannot be written is reported with its path and the reason, and no file is left."""
    holder = Journal(config.project_folder(home, "default"))
    holder.fold()
    holder._file.execute("begin immediate")
    with pytest.raises(JournalError, match=r"journal\.db cannot be written \(another program keeps"):
        bundle_file.pack(home, [Share("default")], str(tmp_path / "run.lops"))
    holder.close()
    assert not list(tmp_path.glob("run.lops*"))


@pytest.mark.parametrize("key", [None, "another"])
def test_a_receipt_without_the_right_signature_counts_only_when_asked(
    key: str | None, home: str, data: str, tmp_path: Path
) -> None:
    """Without the key, rows cannot be marked as delivered, unless the user allows it."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=key and Keys(data).create("default")), back)
    before = _unsent(home)
    [signed] = bundle_file.take_receipts(home, back)
    assert "not signed" in signed.refused[0]
    assert _unsent(home) == before
    [signed] = bundle_file.take_receipts(home, back, unverified=True)
    assert (signed.refused, _unsent(home)) == ([], 0)


def test_a_receipt_for_other_rows_does_not_count(home: str, data: str, tmp_path: Path) -> None:
    """A signature over other rows marks nothing, verified or not."""
    path, back = str(tmp_path / "run.lops"), tmp_path / "run.receipts"
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=KEY), str(back))
    file = json.loads(back.read_text())
    file["receipts"][0]["receipt"]["ranges"] = [[1, 3]]
    back.write_text(json.dumps(file))
    [signed] = bundle_file.take_receipts(home, str(back), unverified=True)
    assert "other rows" in signed.refused[0]
    file["receipts"][0]["receipt"]["journal"] = "ff" * 16
    back.write_text(json.dumps(file))
    [signed] = bundle_file.take_receipts(home, str(back), unverified=True)
    assert "another journal" in signed.refused[0]
    assert _unsent(home) > 0


def test_the_receipt_of_a_relay_delivers_nothing(home: str, tmp_path: Path) -> None:
    """Rows on another machine are not on the hub: its receipt, signed or not, leaves them unsent."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(str(tmp_path / "there"), path, key=KEY), back)
    before = _unsent(home)
    for unverified in (False, True):
        [signed] = bundle_file.take_receipts(home, back, unverified=unverified)
        assert "a machine on the way" in signed.refused[0]
        assert (signed.rows, _unsent(home)) == (0, before)
    file = json.loads(Path(back).read_text())
    file["receipts"][0]["receipt"]["hmac"] = None
    Path(back).write_text(json.dumps(file))
    assert "a machine on the way" in bundle_file.take_receipts(home, back)[0].refused[0]
    file["receipts"][0]["receipt"]["holder"] = None
    Path(back).write_text(json.dumps(file))
    assert "not signed" in bundle_file.take_receipts(home, back)[0].refused[0]
    del file["receipts"][0]["receipt"]["holder"]
    Path(back).write_text(json.dumps(file))
    assert "not signed" in bundle_file.take_receipts(home, back)[0].refused[0]


def test_receipts_are_for_the_project_that_the_rows_come_from(home: str, tmp_path: Path) -> None:
    """The name of the project on the hub does not matter; a project without a key is noticed."""
    path, back, data = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts"), str(tmp_path / "hub")
    keys = Keys(data)
    key = keys.create("research")
    remotes.save(config.project_folder(home, "default"), {"hub": Remote("hub", "http://127.0.0.1:1", key=key)})
    bundle_file.pack(home, [Share("default", "hub")], path)
    [part] = bundle_file.unpack(data, path, project="research", key=key)
    bundle_file.write_receipts([part], back)
    [other] = bundle_file.take_receipts(home, back, project="another")
    assert other.refused == ["project 'another' has no remote 'hub'"]
    [signed] = bundle_file.take_receipts(home, back)
    assert (signed.project, signed.refused, _unsent(home)) == ("default", [], 0)
    [astray] = bundle_file.unpack(data, path)
    assert (part.without_key, astray.without_key) == (False, True)


def test_a_relay_needs_the_remote_of_the_hub(home: str, tmp_path: Path) -> None:
    """A relay without the remote, or without its key, imports nothing."""
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    bundle_file.pack(home, [Share("default", "hub")], path)
    done = warm.run(
        [sys.executable, "-m", "localops", "import", path, "--deliver", "hub", "--home", there],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, "nothing was imported" in done.stderr) == (2, True), done.stderr
    assert not os.path.exists(os.path.join(there, "default", "journal.db"))
    remotes.save(config.project_folder(there, "default"), {"hub": Remote("hub", "http://h", key_file="/nowhere")})
    with pytest.raises(ConfigError, match="cannot be read: /nowhere"):
        relay.check(there, path, "hub")


def test_any_damage_is_called_so(home: str, tmp_path: Path) -> None:
    """Wherever a byte is flipped, zipfile or zlib may raise whatever they like."""
    path, there = tmp_path / "run.lops", str(tmp_path / "there")
    bundle_file.pack(home, [Share("default")], str(path))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        begins = packed.getinfo("default/rows.ndjson").header_offset
        size = packed.getinfo("default/rows.ndjson").compress_size
    places = [*range(begins + 4, begins + size, max(1, size // 8)), *range(len(whole) - 150, len(whole), 30)]
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(BundleError):
            bundle_file.unpack(there, str(path))
    assert _identities(there) <= _identities(home)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(BundleError, match="nothing new was imported"):
        bundle_file.unpack(there, str(path))
    for text in ("[" * 100_000, "import localops\n"):
        path.write_text(text)
        with pytest.raises(BundleError, match="cannot be imported: expected a bundle, receipts that"):
            bundle_file.take_receipts(home, str(path))


def test_the_receipts_of_a_hub_that_was_handed_the_rows_deliver_them(home: str, tmp_path: Path) -> None:
    """The machine on the way sends rows and files to the hub, whose receipts count where the rows were recorded."""
    path, back, there = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts"), str(tmp_path / "there")
    with hub(tmp_path / "real") as real:
        for place in (home, there):
            folder = config.project_folder(place, "default")
            remotes.save(folder, {"hub": Remote("hub", real.url, key=real.key)})
        bundle_file.pack(home, [Share("default", "hub")], path)
        bundle_file.unpack(there, path, key=real.key)
        parts = relay.deliver(there, path, "hub")
        bundle_file.write_receipts(parts, back)
        [signed] = bundle_file.take_receipts(home, back)
        assert (signed.refused, _unsent(home)) == ([], 0)
        assert _identities(home) <= _identities(str(real.data))
        assert len([name for _, _, names in os.walk(real.folder / "blobs") for name in names]) == 1
        assert relay.deliver(there, path, "hub")[0].new == 0
        assert _unsent(there) == 1  # what that machine wrote of itself
        with Reader(os.path.join(config.project_folder(there, "default"), "journal.db")) as reader:
            contact = delivery.Ledger(reader, "", "hub").contact()
        assert (contact.peer, contact.ok_ns is None) == (f"{real.id}/default", False)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_relay_counts_only_its_own_rows_as_delivered(home: str, tmp_path: Path, damage: str) -> None:
    """A row of the bundle that is another one on the relay, or was pruned there, is not marked there."""
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    with hub(tmp_path / "real") as real:
        folder = config.project_folder(there, "default")
        remotes.save(folder, {"hub": Remote("hub", real.url, key=real.key)})
        bundle_file.pack(home, [Share("default")], path)
        bundle_file.unpack(there, path)
        connection = apsw.Connection(os.path.join(folder, "journal.db"))
        change = "update event set sum = sum + 1" if damage == "changed" else "delete from event"
        connection.execute(f"{change} where kind = 'tool'")
        connection.close()
        relay.deliver(there, path, "hub")
        assert _unsent(there) == (2 if damage == "changed" else 1)


def test_delivered_rows_can_be_packed_again(home: str, data: str, tmp_path: Path) -> None:
    """For a hub that was restored, a machine that never calls it packs everything; the error explains how."""
    path, back, everything = (str(tmp_path / name) for name in ("run.lops", "run.receipts", "all.lops"))
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=KEY), back)
    bundle_file.take_receipts(home, back)
    with pytest.raises(NotFound, match="`localops bundle -o FILE` without --remote packs every row"):
        bundle_file.pack(home, [Share("default", "hub")], everything)
    bundle_file.pack(home, [Share("default")], everything)
    with hub(tmp_path / "restored") as real:
        there = str(tmp_path / "there")
        remotes.save(config.project_folder(there, "default"), {"hub": Remote("hub", real.url, key=real.key)})
        bundle_file.unpack(there, everything)
        relay.deliver(there, everything, "hub")
        assert _identities(home) <= _identities(str(real.data))


def test_receipts_for_a_copy_are_not_sent_back(home: str, tmp_path: Path) -> None:
    """A relay prints that they mark nothing as delivered, and how to get the hub's own."""
    path = str(tmp_path / "run.lops")
    bundle_file.pack(home, [Share("default", "hub")], path)
    done = warm.run(
        [sys.executable, "-m", "localops", "import", path, "--home", str(tmp_path / "there")],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, "bring it back" in done.stderr, "--deliver REMOTE" in done.stderr) == (0, False, True)


def test_rows_of_pruned_sessions_are_counted_separately(home: str, tmp_path: Path) -> None:
    """A bundle brings back nothing that was pruned here, and the import says how many rows that are."""
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    bundle_file.pack(home, [Share("default", "hub")], path)
    [part] = bundle_file.unpack(there, path)
    with Reader(os.path.join(config.project_folder(there, "default"), "journal.db")) as reader:
        [(session,)] = reader.ask("select hex(session) from total")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "localops", *arguments, "--home", there]
        return warm.run(command, capture_output=True, check=True, timeout=60)

    run("prune", "--session", session, "--yes")
    done = run("import", path)
    in_session = part.rows - 1  # the other one is about the journal
    assert f"{in_session} rows of default stayed out: their sessions were pruned or deleted here" in done.stderr
    assert "0 rows are new, 1 was here" in done.stdout
    [facts] = json.loads(run("import", path, "--json").stdout)["parts"]
    assert (facts["rows"], facts["new"], facts["gone"]) == (part.rows, 0, in_session)


def test_better_receipts_are_not_replaced(home: str, data: str, tmp_path: Path) -> None:
    """Those of a hub stay when a copy, or the hub without its key, writes its own; those of a copy are replaced."""
    path = str(tmp_path / "run.lops")
    back = tmp_path / "run.lops.receipts"
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=KEY), str(back))
    of_hub = back.read_text()

    def run(folder: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "localops", "import", path, "--home", str(folder), *options]
        environ = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
        return warm.run(command, capture_output=True, check=True, timeout=60, env=environ)

    assert (
        f"{back} has receipts that count for more (a hub's, or signed ones), and was not replaced"
        in run(tmp_path / "there").stderr
    )
    facts = json.loads(run(data, "--json").stdout)
    assert (facts["receipts"], facts["kept"]) == (f"{back}.unsigned", str(back))
    assert back.read_text() == of_hub
    [signed] = bundle_file.take_receipts(home, str(back))
    assert (signed.refused, _unsent(home)) == ([], 0)
    assert json.loads((tmp_path / "run.lops.receipts.copy").read_text())["receipts"][0]["receipt"]["holder"]
    back.write_text((tmp_path / "run.lops.receipts.copy").read_text())
    facts = json.loads(run(data, "--json").stdout)
    assert (facts["receipts"], facts["kept"]) == (str(back), None)


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        ([[1, 100_000]], "not here yet"),
        ([[1, 2**63]], "names no rows"),
        ([[0, 3]], "names no rows"),
        ([[3, 1]], "names no rows"),
        ([["1", 3]], "names no rows"),
        (7, "names no rows"),
    ],
)
def test_a_receipt_covers_no_missing_row(ranges: object, reason: str, home: str, data: str, tmp_path: Path) -> None:
    """Numbers beyond the journal, or invalid ones, deliver no row that is recorded later."""
    path, back = str(tmp_path / "run.lops"), tmp_path / "run.receipts"
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path), str(back))
    file = json.loads(back.read_text())
    file["receipts"][0]["receipt"]["ranges"] = ranges
    back.write_text(json.dumps(file))
    before = _unsent(home)
    [signed] = bundle_file.take_receipts(home, str(back), unverified=True)
    assert reason in signed.refused[0]
    assert _unsent(home) == before


def test_a_receipt_of_another_hub_does_not_count(home: str, data: str, tmp_path: Path) -> None:
    """Once a hub is known by its id, no other signs in its place."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=KEY), back)
    folder = config.project_folder(home, "default")
    with Reader(os.path.join(folder, "journal.db")) as reader:
        journal = Journal(folder)
        delivery.Ledger(reader, folder, "hub").meet(journal, peer=f"{'e' * 32}/default")
        journal.close()
    [signed] = bundle_file.take_receipts(home, back)
    assert "another hub" in signed.refused[0]


def test_a_hub_signs_only_under_keys_that_it_knows(home: str, data: str, tmp_path: Path) -> None:
    """The key of a machine that sends to another hub, or one that was revoked, signs nothing here."""
    path, keys = str(tmp_path / "run.lops"), Keys(data)
    bundle_file.pack(home, [Share("default", "hub")], path)
    with pytest.raises(ConfigError, match="invalid key: expected a key of the hub in"):
        bundle_file.unpack(data, path, key=Keys(str(tmp_path / "another")).create("default"))
    for key in KEY.upper(), keys.create("default"):
        assert bundle_file.unpack(data, path, key=key)[0].receipts[0]["hmac"]
    keys.revoke(keys.all()[-1].handle)
    with pytest.raises(ConfigError, match="or has revoked"):
        bundle_file.unpack(data, path, key=key)


def test_only_the_hub_that_made_the_key_signs_for_a_machine_that_never_called_it(home: str, tmp_path: Path) -> None:
    """If an earlier release, or a copied list of keys, lets another hub sign with the key, that does not count."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    right = Keys(str(tmp_path / "right"))
    key = right.create("default")
    remotes.save(config.project_folder(home, "default"), {"hub": Remote("hub", "http://127.0.0.1:1", key=key)})
    bundle_file.pack(home, [Share("default", "hub")], path)
    before = _unsent(home)
    bundle_file.write_receipts(bundle_file.unpack(_hub_with(key, tmp_path / "wrong"), path, key=key), back)
    for unverified in (False, True):
        [signed] = bundle_file.take_receipts(home, back, unverified=unverified)
        assert "another hub than the one that made the key" in signed.refused[0]
        assert (signed.rows, _unsent(home)) == (0, before)
    bundle_file.write_receipts(bundle_file.unpack(right.folder, path, key=key), back)
    [signed] = bundle_file.take_receipts(home, back)
    assert (signed.refused, _unsent(home)) == ([], 0)


def test_the_hub_of_the_first_receipt_is_remembered(home: str, data: str, tmp_path: Path) -> None:
    """A key of an earlier release does not name its hub: the first hub that signs with it is remembered."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=KEY), back)
    bundle_file.take_receipts(home, back)
    localops.start_session(name="later")
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(_hub_with(KEY, tmp_path / "another"), path, key=KEY), back)
    before = _unsent(home)
    [signed] = bundle_file.take_receipts(home, back)
    assert "another hub than the one that this remote is" in signed.refused[0]
    assert (signed.rows, _unsent(home)) == (0, before)


def test_a_hub_that_is_known_by_its_receipt_can_be_called(home: str, tmp_path: Path) -> None:
    """A receipt names no project of the hub: the first pass learns it, and continues."""
    path, back = str(tmp_path / "run.lops"), str(tmp_path / "run.receipts")
    with hub(tmp_path / "real") as real:
        folder = config.project_folder(home, "default")
        remote = Remote("hub", real.url, key=real.key)
        remotes.save(folder, {"hub": remote})
        bundle_file.pack(home, [Share("default", "hub")], path)
        bundle_file.write_receipts(bundle_file.unpack(str(real.data), path, key=real.key), back)
        [signed] = bundle_file.take_receipts(home, back)
        assert (signed.refused, _unsent(home)) == ([], 0)
        localops.start_session(name="later")
        outcome = worker.sync(home, "default", remote)
        assert (outcome.code, outcome.message, _unsent(home)) == (exit_codes.DONE, "", 0)
    with Reader(os.path.join(folder, "journal.db")) as reader:
        assert delivery.Ledger(reader, folder, "hub").contact().peer == f"{real.id}/default"


def test_many_receipts_are_taken_in_one_go(home: str, data: str, tmp_path: Path) -> None:
    """A file of thousands of receipts costs thousands of checks, and one transaction."""
    path, back = str(tmp_path / "run.lops"), tmp_path / "run.receipts"
    bundle_file.pack(home, [Share("default", "hub")], path)
    bundle_file.write_receipts(bundle_file.unpack(data, path, key=KEY), str(back))
    file = json.loads(back.read_text())
    file["receipts"] *= 3_000
    back.write_text(json.dumps(file))
    many = file["receipts"][0]["receipt"]["rows"]
    for _ in range(2):  # also when all of them are known
        [signed] = bundle_file.take_receipts(home, str(back))
        assert (signed.refused, signed.rows, _unsent(home)) == ([], many, 0)
    with Reader(os.path.join(config.project_folder(home, "default"), "journal.db")) as reader:
        assert len(delivery.Ledger(reader, "", "hub").receipts()) == 1


def test_the_key_of_another_project_of_the_hub_signs_nothing(home: str, data: str, tmp_path: Path) -> None:
    """Rows that are put into another project of a hub than their key is for get no receipt under that key."""
    path, key = str(tmp_path / "run.lops"), Keys(data).create("another")
    bundle_file.pack(home, [Share("default", "hub")], path)
    with pytest.raises(localops.errors.ConfigError, match="the key is for project 'another'"):
        bundle_file.unpack(data, path, key=key)


def test_a_bundle_that_lost_a_file_gives_no_receipt(home: str, data: str, tmp_path: Path) -> None:
    """Fewer files than it announces: it is damaged, and nothing of it is signed for."""
    path, cut = str(tmp_path / "run.lops"), str(tmp_path / "cut.lops")
    bundle_file.pack(home, [Share("default", "hub")], path)
    with zipfile.ZipFile(path) as packed, zipfile.ZipFile(cut, "w") as copy:
        for name in packed.namelist():
            if "/blobs/" not in name:
                copy.writestr(name, packed.read(name))
    with pytest.raises(BundleError, match="announces 1 file of project default and holds 0"):
        bundle_file.unpack(data, cut, key=KEY)


def test_whole_sessions_can_be_carried(home: str, tmp_path: Path) -> None:
    """With sessions named, only their rows are packed."""
    other = localops.start_session(name="other")
    assert other is not None
    other.record(localops.ActionEvent("only this"))
    other.end_session("Success")
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    bundle_file.pack(home, [Share("default", sessions=(other.session_id.bytes,))], path)
    bundle_file.unpack(there, path)
    with Reader(os.path.join(there, "default", "journal.db")) as reader:
        assert {row.session for row in reader.stream() if row.kind != "journal"} == {other.session_id.bytes}


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_a_damaged_bundle_is_reported(at: float, home: str, tmp_path: Path) -> None:
    """Flipped bytes or a cut never import a wrong row: it is an error, and an intact file still works afterwards."""
    path, there = tmp_path / "run.lops", str(tmp_path / "there")
    bundle_file.pack(home, [Share("default")], str(path))
    whole = path.read_bytes()
    cut = int(len(whole) * at)
    for broken in (whole[:cut], whole[:cut] + bytes([whole[cut] ^ 0xFF]) + whole[cut + 1 :]):
        path.write_bytes(broken)
        with pytest.raises(BundleError):
            bundle_file.unpack(there, str(path))
    path.write_bytes(whole)
    bundle_file.unpack(there, str(path))
    assert _identities(there) == _identities(home)


def test_a_bundle_writes_nowhere_else(tmp_path: Path) -> None:
    """Names in a hostile bundle lead to no file outside the project."""
    path = str(tmp_path / "evil.lops")
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("about.json", json.dumps({"localops": 1, "parts": [{"project": "../../evil"}]}))
    with pytest.raises((BundleError, localops.errors.ConfigError)):
        bundle_file.unpack(str(tmp_path / "there"), path)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("about.json", json.dumps({"localops": 1, "parts": [{"project": "p"}]}))
        packed.writestr("p/rows.ndjson", b"")
        packed.writestr("p/blobs/../../../../evil", b"x")
        packed.writestr(f"p/blobs/{'0' * 64}", b"not what the name says")
    with pytest.raises(BundleError):
        bundle_file.unpack(str(tmp_path / "there"), path)
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if "evil" in name and name != "evil.lops"]


def test_an_empty_bundle_is_not_written(home: str, tmp_path: Path) -> None:
    """A bundle without rows is an error, and an existing file stays as it is."""
    folder, path = config.project_folder(home, "default"), tmp_path / "nothing.lops"
    path.write_bytes(b"of last week")
    with Reader(os.path.join(folder, "journal.db")) as reader:
        ledger, journal = delivery.Ledger(reader, folder, "hub"), Journal(folder)
        ledger.settle(journal, bundle.Batch("", (), (), [(1, ledger.newest())]), bundle.Ack())
        journal.close()
    with pytest.raises(NotFound, match=r"no row of default is unsent to hub; .*nothing\.lops was not written"):
        bundle_file.pack(home, [Share("default", "hub")], str(path))
    assert path.read_bytes() == b"of last week"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("place", ["missing/run.lops", "home"], ids=["no folder", "a folder"])
def test_an_error_of_writing_has_the_name_of_the_file(home: str, tmp_path: Path, place: str) -> None:
    """An error names the file of the command, not the temporary file."""
    path = str(tmp_path / place)
    with pytest.raises(OSError) as raised:  # noqa: PT011  which one depends on the place
        bundle_file.pack(home, [Share("default")], path)
    assert raised.value.filename == path
    assert not list(tmp_path.rglob("*.part"))


def test_a_remote_for_metadata_gets_a_bundle_without_content(home: str, data: str, tmp_path: Path) -> None:
    """A bundle for a metadata-only remote has no prompt and no file, and its receipts are for these rows."""
    folder = config.project_folder(home, "default")
    remotes.save(folder, {"hub": Remote("hub", "http://127.0.0.1:1", key=KEY, metadata_only=True)})
    path, back = tmp_path / "run.lops", str(tmp_path / "run.receipts")
    bundle_file.pack(home, [Share("default", "hub")], str(path))
    with zipfile.ZipFile(path) as packed:
        assert b"question" not in packed.read("default/rows.ndjson")
        assert not [name for name in packed.namelist() if "blobs" in name]
    bundle_file.write_receipts(bundle_file.unpack(data, str(path), key=KEY), back)
    [signed] = bundle_file.take_receipts(home, back)
    assert (signed.refused, _unsent(home)) == ([], 0)


def test_imported_rows_are_sent_on(home: str, tmp_path: Path) -> None:
    """A home that imported a bundle sends its rows like its own."""
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    [packed] = bundle_file.pack(home, [Share("default")], path)
    bundle_file.unpack(there, path)
    assert _unsent(there) >= packed.rows
    journal = Journal(config.project_folder(there, "default"))
    journal.close()


def test_an_imported_running_session_is_not_reported_dead(home: str, tmp_path: Path) -> None:
    """Another machine cannot see whether the process lives: the session is Unknown, never ended."""
    running = localops.start_session(name="running")
    assert running is not None
    path, there = str(tmp_path / "run.lops"), str(tmp_path / "there")
    bundle_file.pack(home, [Share("default", sessions=(running.session_id.bytes,))], path)
    bundle_file.unpack(there, path)
    with Home(there) as opened:
        assert [listed.state for listed in opened.sessions()] == ["Unknown"]
    with Home(home) as opened:
        assert next(opened.sessions()).state == "Running"


def test_secrets_in_a_bundle_have_the_places_of_its_rows(home: str, tmp_path: Path) -> None:
    """Before it is imported or given away, a bundle is searched as a journal is: rows by field, files by byte."""
    key = f"sk-ant-api03-{'aB3dE5fG7h' * 5}"
    digest = blobs.keep(config.project_folder(home, "default"), f"the key is {key}".encode())
    at = clock.now_ns()
    session, event = clock.new_id(at), clock.new_id(at)
    body = json.dumps({"params": {"file": {"$blob": digest}}, "returns": f"it was {key}"}, separators=(",", ":"))
    journal = Journal(config.project_folder(home, "default"))
    assert journal.append(rows.make("tool", session, id=event, at_ns=at, body=body))
    journal.close()
    path = str(tmp_path / "run.lops")
    bundle_file.pack(home, [Share("default")], path)
    search = sweep.Sweep(home)
    search.file(path)
    swept = search.result
    by_row, in_file = sorted(swept.places, key=lambda place: place.at or 0)
    assert (by_row.field, by_row.event, by_row.session) == ("returns", rows.id_text(event), rows.id_text(session))
    assert (in_file.at, in_file.file) == (11, f"{path}:default/blobs/{digest}")
    assert {place.source for place in swept.places} == {"bundle"}
    assert (swept.rows > 1, swept.unread, by_row.digest) == (True, [], in_file.digest)
