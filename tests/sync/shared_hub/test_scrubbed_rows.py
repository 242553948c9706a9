"""Rows that are scrubbed on a machine: hubs replace theirs, whatever the order, and nothing brings the secret back."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import string
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localops import clock
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.server import proof
from localops.server.home_store import HomeStore
from localops.transfer import bundle, remotes, scrubbed
from localops.transfer.delivery import parked
from localops.upkeep import prune
from localops.upkeep.scrub import Scrubbed, scrub
from localops.upkeep.sweep import Sweep
from localops_sync import bundle_file, exit_codes, relay
from localops_sync.bundle_file import Share
from tests.server.hubs import RealHub
from tests.sync import chaos
from tests.sync.homes import Sender, identities

R = random.Random(15)
KEY = "sk-ant-api03-" + "".join(R.choices(string.ascii_letters + string.digits, k=40)) + "7a"
BODY = json.dumps({"params": {"header": f"Bearer {KEY}", "n": 1.5, "big": 12345678901234567890}})


@pytest.fixture
def there(real: RealHub, project: str) -> Path:
    """Return the folder of this test's project on the hub."""
    return real.data / project


def _scrub(sender: Sender) -> Scrubbed:
    done = scrub(sender.home, "default")
    assert done.is_clean, done
    assert done.secrets > 0
    return done


def _holds(folder: Path, secret: str = KEY) -> list[str]:
    """Return the files of a folder that hold a secret, as they are on disk."""
    # In a process of its own, as closing a file of SQLite here would free its locks.
    looked = subprocess.run(["grep", "-rlaF", secret, str(folder)], capture_output=True, text=True, check=False)
    assert looked.returncode < 2, looked.stderr
    return looked.stdout.splitlines()


def _lacks_nothing(sender: Sender) -> None:
    outcome = sender.sync(verify=True)
    assert (outcome.code, outcome.sent, outcome.parked, outcome.notes) == (exit_codes.DONE, 0, 0, []), outcome


def test_rows_that_were_scrubbed_before_they_are_sent(sender: Sender, there: Path) -> None:
    """The hub gets the clean ones alone, and the ones about them."""
    sender.write(3, body=BODY)
    _scrub(sender)
    assert sender.sync().code == exit_codes.DONE
    assert _holds(there) == []
    assert sender.identities() <= identities(str(there / "journal.db"))
    _lacks_nothing(sender)


def test_rows_that_were_sent_are_replaced_there(sender: Sender, there: Path) -> None:
    """In place, with what is derived from them; the hub's other rows, and all figures, do not change."""
    sender.write(5, body='{"params":{}}')
    sender.write(3, body=BODY)
    journal = Journal(sender.folder)
    at = clock.now_ns()
    named = rows.make(
        "session",
        clock.new_id(at),
        id=clock.new_id(at),
        at_ns=at,
        name=f"run {KEY}",
        tags=json.dumps([KEY, "x"]),
        body="{}",
    )
    assert journal.append(named)
    journal.close()
    assert sender.sync().code == exit_codes.DONE
    before = identities(str(there / "journal.db"))
    assert _holds(there) != []
    done = _scrub(sender)
    assert (done.rows, done.hubs, done.sent) == (4, ["hub"], {})
    assert _holds(Path(sender.folder)) == []
    outcome = sender.sync()
    assert (outcome.code, outcome.notes, outcome.left, outcome.replaced) == (exit_codes.DONE, [], 0, 4), outcome
    assert _holds(there) == []
    after = identities(str(there / "journal.db"))
    assert sender.identities() <= after
    assert {each[:2] for each in before} < {each[:2] for each in after}
    assert len(before - after) == 4
    with Reader(str(there / "journal.db")) as reader:
        derived = reader.ask(
            "select name from total where name is not null union select value from facet where dim = 'tag'"
        )
        assert derived
        assert not any(KEY in text for (text,) in derived)
        assert not scrubbed.is_unfinished(reader)
    _lacks_nothing(sender)


def test_a_secret_in_a_file_goes_there_too(sender: Sender, there: Path) -> None:
    """The rows name another file, which is sent; the hub deletes the one that no row names any more."""
    text = ("word " * 300 + f"key {KEY}\n").encode() * 1_000
    digest = blobs.keep(sender.folder, text)
    body = json.dumps({"returns": {"$blob": digest, "$len": len(text), "head": text[:1_000].decode()}})
    sender.write(2, body=body)
    assert sender.sync().code == exit_codes.DONE
    assert _holds(there) != []
    done = _scrub(sender)
    assert (done.rows, done.files) == (2, 1)
    assert _holds(Path(sender.folder)) == []
    assert not blobs.is_here(sender.folder, digest)
    assert sender.sync().code == exit_codes.DONE
    assert _holds(there) == []
    [path] = blobs.stored(str(there))
    with open(path, "rb") as file:
        assert file.read() == text.replace(KEY.encode(), b"[redacted:anthropic]")
    _lacks_nothing(sender)


def test_a_row_that_comes_again_as_it_was_stays_out(
    sender: Sender, there: Path, real: RealHub, project: str, tmp_path: Path
) -> None:
    """From an old copy of the home, and in a bundle: the hub refuses it, and the sender prints what to do."""
    digest = blobs.keep(sender.folder, f"some text and {KEY}".encode())
    sender.write(2, body=BODY)
    sender.write(1, body=json.dumps({"returns": {"$blob": digest, "$len": 3}}))
    bundle_file.pack(sender.home, [Share("default", "hub")], str(tmp_path / "old.lops"))
    sender.sync()
    copy = Sender(tmp_path / "copy", real.url, real.new_key(project))
    bundle_file.unpack(copy.home, str(tmp_path / "old.lops"))
    _scrub(sender)
    assert sender.sync().code == exit_codes.DONE
    outcome = copy.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.PARKED, 3), outcome
    assert {each.reason for each in copy.ledger().parked()} == {scrubbed.REFUSED}
    [part] = bundle_file.unpack(sender.home, str(tmp_path / "old.lops"))
    assert (part.new, set(part.refused.values())) == (0, {scrubbed.REFUSED})
    assert _holds(there) == _holds(Path(sender.folder)) == []
    _scrub(copy)
    again = copy.sync()
    assert (again.code, again.parked) == (exit_codes.DONE, 0), again
    assert copy.ledger().parked() == []
    _lacks_nothing(copy)


def test_a_lost_answer_leaves_nothing_there(sender: Sender, there: Path, real: RealHub, tmp_path: Path) -> None:
    """The hub stored rows whose receipt did not arrive: to this machine they are unsent when they are scrubbed."""
    sender.write(3, body=BODY)
    with chaos.Chaos(behind=real.url) as broken:
        sender.remote = remotes.Remote("hub", broken.url, key=sender.remote.key)

        def lose(exchange: chaos.Exchange) -> None:
            is_batch = exchange.request.target.startswith("/sync/1/rows")
            (chaos.reset_after if is_batch else chaos.passed)(exchange)

        broken.always(lose)
        assert sender.sync().code != exit_codes.DONE
        assert _holds(there) != []
        _scrub(sender)
        broken.calm()
        outcome = sender.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0), outcome
    assert _holds(there) == []
    assert sender.identities() <= identities(str(there / "journal.db"))


def test_a_hub_of_an_earlier_release_gets_nothing_of_it(sender: Sender, there: Path, real: RealHub) -> None:
    """It would refuse these rows permanently: they wait, other rows are sent, and the pass gives the reason."""
    sender.write(3, body=BODY)
    sender.sync()
    _scrub(sender)
    sender.write(2)
    with chaos.Chaos(behind=real.url) as before:
        current = sender.remote
        sender.remote = remotes.Remote("hub", before.url, key=current.key)

        def answer(exchange: chaos.Exchange) -> None:
            is_hello = exchange.request.target.startswith("/sync/1/hello")
            (chaos.changed(_of_before) if is_hello else chaos.passed)(exchange)

        before.always(answer)
        for sent in (2, 0):
            outcome = sender.sync(verify=True)
            assert (outcome.code, outcome.sent, outcome.left) == (exit_codes.PARKED, sent, 0), outcome
            assert "upgrade it" in outcome.message
            assert {each.reason for each in sender.ledger().parked()} == {scrubbed.WAITS}
    assert _holds(there) != []
    sender.remote = current
    outcome = sender.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0), outcome
    assert _holds(there) == []
    assert sender.ledger().parked() == []
    _lacks_nothing(sender)


def _of_before(reply: Any) -> Any:
    reply["proves"].remove("scrubs")
    return reply


def test_a_metadata_only_remote_loses_names_and_tags(real: RealHub, there: Path, project: str, tmp_path: Path) -> None:
    """It never had the content; what it has of these rows is replaced without it."""
    sender = Sender(tmp_path / "home", real.url, real.new_key(project), metadata_only=True)
    journal = Journal(sender.folder)
    for name, body in ((f"ask {KEY}", BODY), ("plain", BODY), (f"tag {KEY}", None)):
        at = clock.now_ns()
        assert journal.append(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at, name=name, body=body))
    journal.close()
    sender.sync()
    assert _holds(there) != []
    _scrub(sender)
    assert sender.sync().code == exit_codes.DONE
    assert _holds(there) == []
    assert sender.identities(stripped=True) <= identities(str(there / "journal.db"))
    _lacks_nothing(sender)


def test_a_second_scrub_follows_the_first(sender: Sender, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer rule replaces what an earlier scrub has left, whether the hub knows of that scrub or not."""
    word = "correct-horse-battery"
    monkeypatch.delenv("SOME_PASSWORD", raising=False)
    for between in (True, False):
        monkeypatch.delenv("SOME_PASSWORD", raising=False)
        sender.write(2, body=json.dumps({"params": {"note": f"{KEY} and {word}"}}))
        sender.sync()
        _scrub(sender)
        if between:
            assert sender.sync().code == exit_codes.DONE
        monkeypatch.setenv("SOME_PASSWORD", word)
        _scrub(sender)
        assert sender.sync().code == exit_codes.DONE
        assert _holds(there) == _holds(there, word) == []
        _lacks_nothing(sender)


def test_two_machines_that_scrub_one_row_with_different_rules(
    sender: Sender, there: Path, real: RealHub, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more is removed, that form stays; where each removed something else, a scrub with both rules settles it."""

    def know(one: str | None = None, other: str | None = None) -> None:
        for name, value in (("ONE_PASSWORD", one), ("OTHER_PASSWORD", other)):
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)

    know()
    copy = Sender(tmp_path / "copy", real.url, real.new_key(project))
    for step, words in enumerate(
        (("first-horse-staple", "second-horse-staple"), ("third-cow-clip", "fourth-cow-clip"))
    ):
        sender.write(2, body=json.dumps({"params": {"note": f"{words[0]} and {words[1]}"}}))
        bundle_file.pack(sender.home, [Share("default", "hub")], str(tmp_path / f"{step}.lops"))
        bundle_file.unpack(copy.home, str(tmp_path / f"{step}.lops"))
        assert sender.sync().code == exit_codes.DONE
        know(*words) if step else know(words[0])
        _scrub(sender)
        assert sender.sync().code == exit_codes.DONE
        know(words[0]) if step else know(None, words[1])
        _scrub(copy)
        outcome = copy.sync()
        assert _holds(there, words[0]) == []
        if step:
            # The hub has removed what this machine has, and more.
            assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0)
        else:
            assert (outcome.code, outcome.parked) == (exit_codes.PARKED, 2)
            assert {each.reason for each in copy.ledger().parked()} == {scrubbed.OTHERWISE}
            know(*words)
            _scrub(copy)
            again = copy.sync()
            assert (again.code, again.parked) == (exit_codes.DONE, 0), again
        assert _holds(there, words[1]) == []


@pytest.mark.parametrize("is_copy_first", [False, True], ids=["A", "B"])
def test_a_file_scrubbed_with_different_rules(
    sender: Sender,
    there: Path,
    real: RealHub,
    project: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_copy_first: bool,
) -> None:
    """The rows show only the beginnings of both; what the first scrub removed at the end is not stored again."""
    words = "first-horse-staple", "second-horse-staple"
    for name in ("ONE_PASSWORD", "OTHER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    text = (f"{words[0]} " + "word " * 2_000).encode() * 120 + f"and {words[1]}\n".encode()
    assert len(text) > 1 << 20
    value = {"$blob": blobs.keep(sender.folder, text), "$len": len(text), "head": text[:1_000].decode()}
    sender.write(2, body=json.dumps({"params": {"prompt": value}}))
    sender.write(1, body=json.dumps({"params": {"prompts": [value, f"blob:{value['$blob']}"]}}))
    bundle_file.pack(sender.home, [Share("default", "hub")], str(tmp_path / "a.lops"))
    copy = Sender(tmp_path / "copy", real.url, real.new_key(project))
    bundle_file.unpack(copy.home, str(tmp_path / "a.lops"))
    machines = [(sender, words[0]), (copy, words[1])]
    (first, removed), (second, other) = reversed(machines) if is_copy_first else machines
    assert first.sync().code == exit_codes.DONE
    monkeypatch.setenv("ONE_PASSWORD", removed)
    _scrub(first)
    assert first.sync().code == exit_codes.DONE
    [stays] = blobs.stored(str(there))
    monkeypatch.setenv("ONE_PASSWORD", other)
    _scrub(second)
    outcome = second.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.PARKED, 3), outcome
    assert {each.reason for each in second.ledger().parked()} == {scrubbed.OTHERWISE}
    # Nor does the second one's file stay there, which no row names.
    assert _holds(there, removed) == []
    assert list(blobs.stored(str(there))) == [stays]
    monkeypatch.setenv("OTHER_PASSWORD", removed)
    _scrub(second)
    again = second.sync()
    assert (again.code, again.parked) == (exit_codes.DONE, 0), again
    assert _holds(there, removed) == _holds(there, other) == []
    [path] = blobs.stored(str(there))
    assert Path(path).read_bytes() == Path(blobs.path_of(second.folder, os.path.basename(path))).read_bytes()
    _lacks_nothing(second)
    # The first one still has what it did not remove: it does not come back with a check of all rows either.
    outcome = first.sync(verify=True)
    assert outcome.notes == [
        "3 rows are on the hub with other contents; the next sync offers them again, and parks what the hub refuses"
    ]
    # Nothing that it removed is there: it names another file.
    outcome = first.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.DONE, 0)
    assert outcome.notes == ["3 rows are on the hub with more removed than here: nothing has to be done"]
    assert {each.reason for each in parked(first.ledger().reader, "hub", dropped=True)} == {scrubbed.MORE}
    again = first.sync(verify=True)
    assert (again.code, again.notes, again.given_up) == (exit_codes.DONE, [], 0)
    assert _holds(there, removed) == _holds(there, other) == []


@pytest.mark.parametrize(
    ("now", "is_taken"),
    [
        (b"[redacted:a] some b end", True),
        (b"[redacted:a] some [redacted:b] end", True),
        (b"a some b [redacted:end]", True),
        (b"a some b end", True),
        (b"[redacted:a] same b end", False),
        (b"[redacted:a] some b end, and more", False),
        (b"more [redacted:a] some b end", False),
        (b"a some end", False),
        (b"a some b [redacted:x] b end", False),
        (b"[redacted:a some b end", False),
    ],
)
def test_a_file_may_have_notes_and_nothing_else(tmp_path: Path, now: bytes, is_taken: bool) -> None:
    """Parts of the other one, in order, and nothing that it does not have."""
    old, new = (blobs.keep(str(tmp_path), data) for data in (b"a some b end", now))
    assert scrubbed.is_cut_file(str(tmp_path), old, new) == is_taken
    assert not scrubbed.is_cut_file(str(tmp_path), old, "0" * 64)


def test_a_hub_that_was_set_back_forgets_it_again(own: RealHub, tmp_path: Path) -> None:
    """Its backup of before has the secret, and not the row that says it was scrubbed: that one is sent again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3, body=BODY)
    sender.sync()
    own.stop()
    subprocess.run(["cp", "-a", str(own.data), str(tmp_path / "saved")], check=True)
    own.start()
    _scrub(sender)
    assert sender.sync().code == exit_codes.DONE
    own.stop()
    shutil.rmtree(own.data)
    subprocess.run(["cp", "-a", str(tmp_path / "saved"), str(own.data)], check=True)
    own.start()
    assert _holds(own.data) != []
    sender.write(1)
    assert sender.sync(ask=True).code == exit_codes.DONE
    assert _holds(own.data) == []
    _lacks_nothing(sender)


def test_it_is_carried_in_a_bundle(sender: Sender, there: Path, real: RealHub, project: str, tmp_path: Path) -> None:
    """A machine without a network carries it to the hub; the receipts settle the waiting rows."""
    sender.write(3, body=BODY)
    sender.sync()
    _scrub(sender)
    other = Sender(tmp_path / "other", real.url, str(sender.remote.key))
    bundle_file.pack(sender.home, [Share("default", "hub")], str(tmp_path / "a.lops"))
    bundle_file.unpack(other.home, str(tmp_path / "a.lops"))
    parts = relay.deliver(other.home, str(tmp_path / "a.lops"), "hub")
    assert _holds(there) == []
    assert bundle_file.write_receipts(parts, str(tmp_path / "receipts")) == 1
    [signed] = bundle_file.take_receipts(sender.home, str(tmp_path / "receipts"))
    assert signed.refused == []
    assert sender.ledger().parked() == []
    _lacks_nothing(sender)


def test_what_was_pruned_here_is_not_lost_by_a_scrub_there(sender: Sender, there: Path, real: RealHub) -> None:
    """Its digest is another one there now, and no row is missing."""
    [*_, last] = sender.write(3, body=BODY)
    session = last[rows.COLUMNS.index("session")]
    sender.sync()
    with Reader(sender.journal) as reader:
        choice = replace(prune.look(reader, sender.folder, session), stays=None)
    journal = Journal(sender.folder)
    assert prune.take(journal, [choice]).sessions == 1
    journal.close()
    assert scrub(str(real.data), there.name).is_clean
    assert _holds(there) == []
    assert sender.sync(verify=True).code == exit_codes.DONE
    assert sender.ledger().loss() is None


def _stored(row: rows.Row, seq: int) -> Any:
    from localops.journal.stored import Stored

    return Stored(seq, *row)


@pytest.mark.parametrize(
    ("change", "is_taken"),
    [
        (lambda body: body.replace(KEY, "[redacted:anthropic]"), True),
        (lambda body: body.replace(KEY, "[redacted:anthropic]").replace("1.5", "2.5"), False),
        (lambda body: body.replace(KEY, "something else"), False),
        (lambda body: '{"params":{}}', False),
        (lambda body: None, True),
    ],
    ids=["a note", "another number", "another text", "less than it was", "no content"],
)
def test_a_key_that_sends_changes_nothing_else(
    real: RealHub, there: Path, project: str, change: Callable[[str], str | None], is_taken: bool
) -> None:
    """A row about a scrub lets the hub put notes in the place of texts; a row that differs otherwise is refused."""
    key = real.new_key(project)
    at = clock.now_ns()
    was = _stored(rows.make("tool", clock.new_id(at), id=clock.new_id(at), at_ns=at, name="t", body=BODY), 1)
    assert real.take(bundle.Batch("a" * 32, [], [was], [(1, 1)]), key=key)[1]["refused"] == []
    now = was.with_body(change(BODY))
    [about, *_] = scrubbed.made(was, now, at_ns=at, rules={"anthropic": 1}, files={})
    status, answer = real.take(bundle.Batch("a" * 32, [], [now, _stored(about, 2)], [(1, 2)]), key=key)
    assert status == 200
    assert bool(answer["refused"]) != is_taken
    assert (bundle.identity(now) in identities(str(there / "journal.db"))) == is_taken


def test_the_home_of_a_hub_is_scrubbed(sender: Sender, there: Path, real: RealHub) -> None:
    """By its operator: machines that send these rows again are refused, and their own scrub settles it."""
    sender.write(3, body=BODY)
    sender.sync()
    done = scrub(str(real.data), there.name)
    assert done.is_clean
    assert _holds(there) == []
    outcome = sender.sync(verify=True)
    assert outcome.code == exit_codes.DONE, outcome
    assert _holds(there) == []
    assert os.path.exists(sender.journal)
    search = Sweep(sender.home)
    search.project("default")
    assert search.result.secrets == 3
    _scrub(sender)
    again = sender.sync()
    assert again.code == exit_codes.DONE, again
    assert _holds(there) == []


def test_files_that_came_before_their_rows_are_deleted(sender: Sender, there: Path, real: RealHub) -> None:
    """A pass that was interrupted left files there, whole and begun: the rows about the scrub tell the hub of them."""
    whole, begun, kept = (f"{word} {KEY}\n".encode() * 5_000 for word in ("whole", "begun", "kept"))
    for text in (whole, begun):
        body = json.dumps({"returns": {"$blob": blobs.keep(sender.folder, text), "$len": len(text)}})
        sender.write(1, body=body)
    other = there / "blobs" / "00" / ("0" * 64)
    with chaos.Chaos(behind=real.url) as broken:
        current = sender.remote
        sender.remote = remotes.Remote("hub", broken.url, key=current.key)

        def lose(exchange: chaos.Exchange) -> None:
            is_batch = exchange.request.target.startswith("/sync/1/rows")
            (chaos.status(403) if is_batch else chaos.passed)(exchange)

        broken.always(lose)
        assert sender.sync().code != exit_codes.DONE
        sender.remote = current
    digest = hashlib.sha256(begun).hexdigest()
    (there / "uploads").mkdir(exist_ok=True)
    os.replace(blobs.path_of(str(there), digest), there / "uploads" / digest)
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(kept)
    assert len(_holds(there)) == 3
    done = _scrub(sender)
    assert (done.files, done.hubs, done.perhaps) == (2, [], ["hub"])
    assert sender.sync().code == exit_codes.DONE
    # What no row names as replaced may belong to a row that is on its way.
    assert _holds(there) == [str(other)]
    _lacks_nothing(sender)


def test_files_that_no_row_names_go_after_a_week(sender: Sender, there: Path, real: RealHub) -> None:
    """A hub looks for their names once, and leaves younger ones, which a row may name yet."""
    text = b"some text " * 2_000
    named = blobs.keep(sender.folder, text)
    sender.write(1, body=json.dumps({"returns": {"$blob": named, "$len": len(text)}}))
    assert sender.sync().code == exit_codes.DONE
    old, young = (blobs.keep(str(there), word) for word in (b"old", b"young"))
    for digest in (named, old):
        os.utime(blobs.path_of(str(there), digest), (1e9, 1e9))
    with contextlib.closing(HomeStore(str(real.data))) as store:
        with Reader(str(there / "journal.db")) as reader:
            assert proof.check(there.name, str(there), reader).unused == 2
        unused = store.unused_files(there.name)
        assert (unused, store.unused_files(there.name)) == ({old}, set())
        store.sweep(there.name, unused)
        left = {os.path.basename(path) for path in blobs.stored(str(there))}
        assert (named in left, old in left, young in left) == (True, False, True)
