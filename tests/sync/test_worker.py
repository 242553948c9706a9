"""A pass brings the hub every row exactly once, whatever the obstacles, and reports its result."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import localops
from localops import config
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.reading.home import Home
from localops.transfer import bundle, removal
from localops.transfer.delivery import Limits
from localops.upkeep import prune
from localops_sync import exit_codes, worker
from localops_sync.budget import PassBudget
from tests import warm
from tests.server.hubs import PATH, RealHub, hub
from tests.sync import chaos
from tests.sync.homes import Identity, Sender, identities, without_waiting


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start one hub for all tests that do not break it: each has its own project there."""
    with hub(tmp_path_factory.mktemp("shared")) as real:
        yield real


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub that may be broken."""
    with hub(tmp_path / "own") as own:
        yield own


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """Return the name of this test's project on the hub."""
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:60].strip("-")


@pytest.fixture
def sender(tmp_path: Path, real: RealHub, project: str) -> Sender:
    """Return a home whose remote is the shared hub."""
    return Sender(tmp_path / "home", real.url, real.new_key(project))


@pytest.fixture
def there(real: RealHub, project: str) -> str:
    """Return the journal of this test's project on the hub."""
    return str(real.data / project / "journal.db")


@pytest.fixture
def weather(real: RealHub, tmp_path: Path, project: str) -> Iterator[tuple[chaos.Chaos, Sender]]:
    """Return a home whose requests to the hub pass through a proxy that breaks on request."""
    with chaos.Chaos(behind=real.url) as broken:
        yield broken, Sender(tmp_path / "home", broken.url, real.new_key(project))


def test_every_row_arrives_once(sender: Sender, there: str) -> None:
    """A pass delivers all rows; the next has nothing to do, and a new row is sent alone."""
    sender.write(500)
    first = sender.sync()
    assert (first.code, first.message, first.left) == (exit_codes.DONE, "", 0)
    assert sender.identities() <= identities(there)
    again = sender.sync()
    assert (again.code, again.requests, again.sent) == (exit_codes.DONE, 0, 0)
    sender.write(1)
    assert sender.sync().sent == 1
    assert sender.identities() <= identities(there)


def test_with_nothing_to_send_no_connection_is_made(sender: Sender) -> None:
    """After everything is delivered a pass opens no connection: it succeeds without a server."""
    sender.write(3)
    sender.sync()
    port = chaos.closed_port()
    gone = Sender(Path(sender.home), f"http://127.0.0.1:{port}", sender.remote.key or "")
    assert gone.sync().code == exit_codes.DONE
    gone.write(1)
    assert gone.sync().code == exit_codes.OFFLINE


def test_a_poison_row_is_parked_and_the_others_arrive(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """One row that the remote refuses costs few requests, is kept with the reason, and holds up no others."""
    broken, sender = weather
    sender.write(700)
    [poison] = sender.write(1, body='{"poison":1}')
    sender.write(299)

    def refuse(exchange: chaos.Exchange) -> None:
        bad = b"poison" in chaos.inflated(exchange.request)
        (chaos.status(422, {"message": "indigestible"}) if bad else chaos.passed)(exchange)

    broken.always(refuse)
    outcome = sender.sync(limits=Limits(rows=1024))
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0)
    assert outcome.requests <= 2 + 2 * math.log2(1024) + 4
    assert {each[0] for each in sender.identities()} - {each[0] for each in identities(there)} == {poison[0]}
    [parked] = sender.ledger().parked()
    assert "indigestible" in parked.reason
    assert sender.sync().requests == 0
    broken.calm()
    journal = Journal(sender.folder)
    sender.ledger().unpark(journal)
    journal.close()
    assert sender.sync().code == exit_codes.DONE
    assert sender.identities() <= identities(there)


def test_a_row_that_breaks_the_server_is_set_aside(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """If a server fails on one row and takes its neighbours, the row waits, and is tried with each pass."""
    broken, sender = weather
    sender.write(20)
    sender.write(1, body='{"poison":1}')
    sender.write(20)

    def fail(exchange: chaos.Exchange) -> None:
        bad = b"poison" in chaos.inflated(exchange.request)
        (chaos.status(500) if bad else chaos.passed)(exchange)

    broken.always(fail)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked) == (exit_codes.PARKED, 1)
    assert [each.final for each in sender.ledger().parked()] == [False]
    assert len(identities(there)) >= 41
    broken.calm()
    assert sender.sync().code == exit_codes.DONE
    assert sender.ledger().parked() == []
    assert sender.identities() <= identities(there)


def test_a_server_that_is_down_parks_nothing(weather: tuple[chaos.Chaos, Sender]) -> None:
    """If every request fails it is the server: rows stay unsent, nothing is parked, and few requests are made."""
    broken, sender = weather
    sender.write(50)
    broken.then(chaos.passed)
    sender.sync(limits=Limits(session=b"x" * 16))  # greets
    broken.always(chaos.status(503))
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.OFFLINE, 0, 51)
    assert sender.ledger().contact().error
    assert len(broken.seen) < 100


def test_batches_shrink_until_they_fit(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """A remote that takes only small requests gets small ones, and every row."""
    broken, sender = weather
    sender.write(300, body=json.dumps("x" * 200))

    def narrow(exchange: chaos.Exchange) -> None:
        large = len(chaos.inflated(exchange.request)) > 20_000
        (chaos.status(413) if large else chaos.passed)(exchange)

    broken.always(narrow)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.DONE, 0, 0)
    assert sender.identities() <= identities(there)


@pytest.mark.parametrize(
    "fault",
    [
        chaos.reset_after,
        chaos.status_after(500),
        chaos.reset,
        chaos.page(),
        chaos.truncated(),
        chaos.changed(lambda reply: {**reply, "receipt": {**reply["receipt"], "digest": "0" * 64}}),
        chaos.changed(lambda reply: {**reply, "receipt": {**reply["receipt"], "hmac": "0" * 64}}),
        chaos.changed(lambda _: {}),
        chaos.never_passed(lambda _: {"localops": 1, "stored": 99, "refused": []}),
    ],
)
def test_what_was_not_signed_for_is_sent_again(
    fault: chaos.Behaviour, weather: tuple[chaos.Chaos, Sender], there: str
) -> None:
    """A connection may break before or after the hub stored the batch: one more sending is enough."""
    broken, sender = weather
    sender.write(30)
    broken.always(lambda exchange: (fault if exchange.request.method == "POST" else chaos.passed)(exchange))
    outcome = sender.sync()
    assert (outcome.code, outcome.sent, outcome.parked) == (exit_codes.OFFLINE, 0, 0)
    broken.calm()
    assert sender.sync().code == exit_codes.DONE
    assert sender.identities() <= identities(there)


@pytest.mark.foreign_open
def test_a_hub_that_was_set_back_gets_the_rest_again(own: RealHub, tmp_path: Path) -> None:
    """A hub restored from a backup reports what it has, and everything after it is delivered again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(30)
    sender.sync(limits=Limits(rows=10))
    own.stop()
    shutil.copytree(own.data, tmp_path / "backup")
    own.start()
    sender.write(30)
    assert sender.sync(limits=Limits(rows=10)).code == exit_codes.DONE
    own.stop()
    shutil.rmtree(own.data)
    shutil.copytree(tmp_path / "backup", own.data)
    own.start()
    sender.write(5)
    outcome = sender.sync(limits=Limits(rows=10))
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    assert "lacks 30 rows that it had" in " ".join(outcome.notes)
    assert sender.identities() <= identities(str(own.folder / "journal.db"))


def test_another_hub_at_the_address_gets_nothing(own: RealHub, tmp_path: Path) -> None:
    """Behind the same URL another hub answers: it is noticed before a row is sent, and a person decides."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3)
    sender.sync()
    with hub(tmp_path / "other") as other:
        moved = Sender(Path(sender.home), other.url, other.key)
        moved.write(1)
        outcome = moved.sync()
        assert outcome.code == exit_codes.ACT
        assert "another hub" in outcome.message
        assert len(identities(str(other.folder / "journal.db"))) <= 1


@pytest.mark.foreign_open
def test_a_journal_that_was_set_back_continues_with_a_new_id(sender: Sender, there: str, tmp_path: Path) -> None:
    """A restored backup records new rows under old numbers: all arrive, and the rows on the hub stay."""
    sender.write(5)
    sender.sync()
    shutil.copyfile(sender.journal, tmp_path / "old.db")
    sender.write(5)
    sender.sync()
    before = sender.identities()
    with open(tmp_path / "old.db", "rb") as old, open(sender.journal, "r+b") as journal:  # the same file, its old bytes
        journal.write(old.read())
        journal.truncate()
    for side in ("-wal", "-shm"):
        if os.path.exists(sender.journal + side):
            os.unlink(sender.journal + side)
    sender.write(5)
    outcome = sender.sync()
    assert outcome.code == exit_codes.DONE
    assert "set back" in " ".join(outcome.notes)
    assert sender.sync().code == exit_codes.DONE
    assert before | sender.identities() <= identities(there)


@pytest.mark.foreign_open
def test_a_copied_home_and_its_original_both_arrive(sender: Sender, there: str, tmp_path: Path) -> None:
    """A home that is copied and records elsewhere sends the new rows of each, and none twice."""
    sender.write(5)
    sender.sync()
    shutil.copytree(sender.home, tmp_path / "copy")
    copy = Sender(tmp_path / "copy", sender.remote.url, sender.remote.key or "")
    sender.write(4)
    copy.write(3)
    assert (sender.sync().code, copy.sync().code) == (exit_codes.DONE, exit_codes.DONE)
    assert sender.identities() | copy.identities() <= identities(there)


def test_a_budget_ends_a_pass_between_batches(sender: Sender) -> None:
    """Rows, bytes or seconds: what is used up ends the pass with 6, and the next goes on where it stopped."""
    sender.write(30)
    outcome = sender.sync(budget=PassBudget(max_rows=10), limits=Limits(rows=4))
    assert (outcome.code, outcome.sent, outcome.left) == (exit_codes.BUDGET, 10, 21)
    assert sender.sync(budget=PassBudget(max_bytes=1), limits=Limits(rows=4)).code == exit_codes.BUDGET
    now = iter(range(0, 10_000, 20))
    hurried = PassBudget(max_seconds=150, sleep=without_waiting, monotonic=lambda: float(next(now)))
    assert sender.sync(budget=hurried, limits=Limits(rows=4)).code == exit_codes.BUDGET
    assert sender.sync().code == exit_codes.DONE


def test_a_second_pass_at_once_gets_an_error(sender: Sender) -> None:
    """While one pass holds the lock another ends with 11 and leaves everything to it."""
    sender.write(1)
    with worker.only_one(sender.folder, 0.0) as ours:
        assert ours
        assert sender.sync().code == exit_codes.BUSY
    assert sender.sync().code == exit_codes.DONE


def test_the_lock_is_not_what_makes_it_right(sender: Sender, there: str) -> None:
    """With the lock file deleted under them, passes at once still deliver every row once."""
    sender.write(400)
    program = (
        "import os, sys\nfrom localops_sync import exit_codes\nfrom localops.cli import main\n"
        "from localops_sync import worker\nworker.LOCK = f'lock-{os.getpid()}'\n"
        "main(['sync', '--home', sys.argv[1], '--max-rows', '300'])"
    )
    both = [
        warm.start([sys.executable, "-c", program, sender.home], env={**os.environ, "PYTHONPATH": PATH})
        for _ in range(3)
    ]
    assert {process.wait(60) for process in both} <= {exit_codes.DONE, exit_codes.BUDGET}
    assert sender.sync().code == exit_codes.DONE
    assert sender.identities() <= identities(there)


def test_content_stays_here_for_a_metadata_only_remote(real: RealHub, tmp_path: Path, there: str) -> None:
    """No prompt, result, reason or file reaches such a remote; the figures there are the same."""
    key = real.new_key(os.path.basename(os.path.dirname(there)))
    sender = Sender(tmp_path / "home", real.url, key, metadata_only=True)
    session = localops.start_session(name="run")
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o", prompt="SECRET", completion="SECRET", prompt_tokens=7))
    session.record(localops.ToolEvent(name="tool", params={"a": "SECRET"}, returns="SECRET" * 300_000))
    session.end_session("Failure", "SECRET")
    assert sender.sync().code == exit_codes.DONE
    assert sender.sync(verify=True).code == exit_codes.DONE
    with Reader(there) as reader:
        assert not any("SECRET" in str(row) for row in reader.stream())
        hubs = analytics.totals(reader, session.session_id.bytes)
    assert not list((real.data / os.path.basename(os.path.dirname(there))).glob("blobs/*/*"))
    with Reader(sender.journal) as reader:
        assert hubs[:13] == analytics.totals(reader, session.session_id.bytes)[:13]


def test_files_go_in_pieces_and_continue_where_they_broke(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """A large file whose transfer breaks is not sent from the start again, and is whole at the end."""
    broken, sender = weather
    data = os.urandom(9 << 20)
    digest = _filmed(sender, data)
    broken.then(chaos.passed, chaos.passed, chaos.passed, chaos.passed, chaos.reset_after, *[chaos.reset] * 9)
    assert sender.sync().code == exit_codes.OFFLINE
    broken.calm()
    so_far = len(broken.seen)
    assert sender.sync().code == exit_codes.DONE
    assert sum(len(request.body) for request in broken.seen[so_far:]) < 6 << 20
    with open(blobs.path_of(os.path.dirname(there), digest), "rb") as file:
        assert file.read() == data


def test_a_hub_that_diverges_on_what_was_set_aside_ends_the_pass(
    weather: tuple[chaos.Chaos, Sender], there: str
) -> None:
    """A hub that reports missing rows without sense, when only a row set aside is left, gets it in the next pass."""
    broken, sender = weather
    poison = json.dumps("poison")

    def stumble(exchange: chaos.Exchange) -> None:
        bad = poison.encode() in chaos.inflated(exchange.request)
        (chaos.status(500) if bad else chaos.passed)(exchange)

    broken.always(stumble)
    sender.write(3)
    sender.write(1, body=poison)
    sender.write(3)
    assert sender.sync().code == exit_codes.PARKED
    lacks = {"held": [[1, 1 << 70]], "marks": [[1 << 70, "00" * 16, 0], [-(1 << 70), "00" * 16, 0]]}
    broken.then(chaos.passed, chaos.status(409, lacks))
    assert sender.sync().code == exit_codes.OFFLINE
    broken.calm()
    assert (sender.sync().code, sender.ledger().parked()) == (exit_codes.DONE, [])
    sender.write(1)
    broken.then(chaos.passed, chaos.status(409, lacks))
    assert sender.sync().code == exit_codes.DONE
    assert sender.identities() <= identities(there)


@pytest.mark.foreign_open
@pytest.mark.parametrize("column", ["name", "body"])
def test_a_row_with_a_flipped_bit_is_parked_alone(sender: Sender, there: str, column: str) -> None:
    """Text that became invalid, as after a disk fault, holds up no other row and ends no pass."""
    session = sender.write(5)[0][2]
    odd = sender.write(1, session=session, body='{"a":"odd"}')[0][0]
    sender.write(5, session=session)
    connection = apsw.Connection(sender.journal)
    connection.execute(f"update event set {column} = cast(x'22ff22' as text) where id = ?", (odd,))
    connection.close()
    outcome = sender.sync(limits=Limits(rows=4))
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0)
    assert "checksum" in sender.ledger().parked()[0].reason
    assert len(identities(there)) == outcome.sent + 1
    sender.write(1, session=session)
    assert sender.sync().sent == 1


def test_a_row_that_was_dropped_is_not_missed(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """A dropped row is neither reported to the hub as delivered, nor missed in its figures, nor sent again."""
    broken, sender = weather
    poison = json.dumps("poison")

    def refuse(exchange: chaos.Exchange) -> None:
        bad = poison.encode() in chaos.inflated(exchange.request)
        (chaos.status(422) if bad else chaos.passed)(exchange)

    broken.always(refuse)
    session = sender.write(3)[0][2]
    sender.write(1, session=session, body=poison)
    assert sender.sync().parked == 1
    broken.calm()
    journal = Journal(sender.folder)
    sender.ledger().unpark(journal, drop=True)
    journal.close()
    sender.write(2, session=session)
    for verify in (False, True):
        outcome = sender.sync(verify=verify)
        assert (outcome.code, outcome.notes, outcome.left) == (exit_codes.DONE, [], 0)
    assert len(sender.identities() - identities(there)) == 1
    with Reader(sender.journal) as reader:
        assert prune.look(reader, sender.folder, session).delivered == []


def _filmed(sender: Sender, data: bytes) -> str:
    """Record a session with a video of these bytes; return its digest."""
    session = localops.start_session(name="filmed")
    assert session is not None
    film = os.path.join(sender.home, "film.mp4")
    with open(film, "wb") as file:
        file.write(data)
    session.set_video(film)
    session.end_session("Success")
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("flaw", ["missing", "damaged"])
def test_a_row_whose_file_cannot_go_waits_for_it(sender: Sender, there: str, flaw: str) -> None:
    """Every pass ends with 3 until then, other rows are not held up, and no receipt covers the row."""
    session = localops.start_session(name="large")
    assert session is not None
    session.record(localops.ToolEvent(name="long", returns="x" * 3_000_000))
    session.end_session("Success")
    sender.write(5)
    [path] = [Path(top, name) for top, _, names in os.walk(os.path.join(sender.folder, "blobs")) for name in names]
    whole = path.read_bytes()
    if flaw == "missing":
        path.rename(sender.home + "/away")
    else:
        path.write_bytes(whole[:-1] + b"?")
    for extra in (0, 1):
        sender.write(extra)
        outcome = sender.sync()
        assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0), outcome
        assert "missing or damaged here" in outcome.message
        [parked] = sender.ledger().parked()
        assert ("digest differs" if flaw == "damaged" else "is not here") in parked.reason
        assert not parked.final
        with Reader(sender.journal) as reader:
            choice = prune.look(reader, sender.folder, session.session_id.bytes)
        assert choice.stays == "hub lacks 1 of its rows"
    assert len(sender.identities() - identities(there)) == 1
    outcome = sender.sync(verify=True)
    assert outcome.code == exit_codes.PARKED
    sender.write(1)
    path.write_bytes(whole)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.DONE, 0, 0), outcome
    assert sender.identities() <= identities(there)
    assert Path(blobs.path_of(os.path.dirname(there), path.name)).read_bytes() == whole
    assert sender.sync(verify=True).code == exit_codes.DONE


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
        digest = _filmed(sender, b"film" * 1_000)
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


def test_a_row_whose_file_is_only_on_the_hub_is_sent(own: RealHub, tmp_path: Path) -> None:
    """A file that the hub has need not be here any more."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    digest = _filmed(sender, b"film" * 1_000)
    path = blobs.path_of(str(own.folder), digest)
    os.makedirs(os.path.dirname(path))
    os.rename(blobs.path_of(sender.folder, digest), path)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.DONE, 0, 0)


def test_a_file_of_which_the_hub_has_too_much_is_sent_again(sender: Sender, there: str) -> None:
    """A hub that holds more bytes of an upload than the file has gets it all the same, and has it whole."""
    digest = _filmed(sender, b"film" * 1_000)
    folder = os.path.dirname(there)
    begun = os.path.join(folder, "uploads", os.path.basename(blobs.path_of(folder, digest)))
    os.makedirs(os.path.dirname(begun))
    with open(begun, "wb") as file:
        file.write(b"x" * 5_000)
    assert sender.sync().code == exit_codes.DONE
    with open(blobs.path_of(folder, digest), "rb") as file:
        assert file.read() == b"film" * 1_000


@pytest.mark.parametrize(
    "answer",
    [
        chaos.status(409, {"offset": 7}),
        chaos.status(200, {"offset": 0}),
        chaos.status(200, {"offset": -1}),
        chaos.status(200, {"offset": 1 << 40}),
    ],
)
def test_an_impossible_offset_of_a_file_ends_the_pass(
    answer: chaos.Behaviour, weather: tuple[chaos.Chaos, Sender]
) -> None:
    """An answer by which a transfer would go on forever, or would seem complete, ends the pass."""
    broken, sender = weather
    _filmed(sender, b"film" * 1_000)
    broken.always(lambda exchange: (answer if exchange.request.method == "PATCH" else chaos.passed)(exchange))
    outcome = sender.sync()
    assert (outcome.code, outcome.sent, outcome.parked) == (exit_codes.OFFLINE, 0, 0)


def test_a_budget_of_bytes_ends_a_pass_within_a_file(weather: tuple[chaos.Chaos, Sender]) -> None:
    """A large file does not exceed --max-bytes; the next pass continues where this one ended."""
    broken, sender = weather
    _filmed(sender, os.urandom(9 << 20))
    assert sender.sync(budget=PassBudget(max_bytes=1_000_000)).code == exit_codes.BUDGET
    pieces = [len(each.body) for each in broken.seen if each.method == "PATCH"]
    assert pieces == [1_000_000]
    assert sender.sync().code == exit_codes.DONE
    pieces = [len(each.body) for each in broken.seen if each.method == "PATCH"]
    assert pieces == [1_000_000, 4 << 20, 4 << 20, (1 << 20) - 1_000_000]


@pytest.mark.parametrize("early", [False, True])
def test_files_are_compressed_if_that_helps(
    weather: tuple[chaos.Chaos, Sender], there: str, tmp_path: Path, early: bool
) -> None:
    """A log is sent compressed, also within a budget; a hub of an earlier version gets it unchanged."""
    way, sender = weather

    def behave(exchange: chaos.Exchange) -> None:
        answer = exchange.passed()
        if early and "/sync/1/hello" in exchange.request.target:
            facts = json.loads(answer.body)
            del facts["blob_encodings"]
            answer.body = json.dumps(facts).encode()
            answer.headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        exchange.answer(answer)

    way.always(behave)
    log = b"".join(b"step %d of 100000: nothing went wrong\n" % step for step in range(100_000))
    digest = _filmed(sender, log)
    outcome = sender.sync(budget=PassBudget(max_bytes=len(log) * 2 if early else len(log) // 4))
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    sent = sum(len(each.body) for each in way.seen if each.method == "PATCH")
    assert sent == len(log) if early else sent < len(log) // 4
    with open(blobs.path_of(os.path.dirname(there), digest), "rb") as file:
        assert file.read() == log


def test_a_piece_that_cannot_be_unpacked_says_nothing_of_rows(own: RealHub) -> None:
    """Damage on the way is answered with 422: the sender asks what is here and goes on; 400 would park the row."""
    data = b"film" * 1_000
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(data)), "Content-Encoding": "gzip"}
    path = f"/sync/1/blobs/{hashlib.sha256(data).hexdigest()}"
    assert own.ask("PATCH", path, b"no gzip", headers=headers)[0] == 422
    assert own.ask("PATCH", path, gzip.compress(data), headers=headers)[0] == 200


def test_waiting_bytes_include_files(sender: Sender) -> None:
    """The bytes to send, in a dry run and in the status, include videos and long values, each once."""
    size = 3_000_000
    _filmed(sender, os.urandom(size))
    command = [sys.executable, "-m", "localops"]
    for arguments in ["sync", "--dry-run", "--json"], ["status", "--json"]:
        done = warm.run([*command, *arguments, "--home", sender.home], capture_output=True, check=True, timeout=60)
        report = json.loads(done.stdout)
        project = report["projects"][0] if "projects" in report else {}
        remote = (project or report)["remotes"][0]
        waits = remote["bytes_waiting"] if project else remote["bytes"]
        assert size < waits < size + 20_000
        assert project.get("blob_bytes", size) == size
    assert sender.sync().code == exit_codes.DONE
    assert sender.ledger().waiting_files() == 0


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
    digest = _filmed(sender, b"film" * 1_000)
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


def test_a_remote_that_was_for_metadata_first_gets_everything(own: RealHub, tmp_path: Path) -> None:
    """Removed and added again without --metadata-only, it is filled in: the receipt and `--verify` are true."""
    sender = Sender(tmp_path / "home", own.url, own.key, metadata_only=True)
    sender.write(9, body='{"params":{"secret":1}}')
    sender.sync()
    assert sender.sync(verify=True).code == exit_codes.DONE
    journal = Journal(sender.folder)
    removal.forget(sender.ledger(), journal)
    journal.close()
    whole = Sender(tmp_path / "home", own.url, own.key)
    assert whole.sync().code == exit_codes.DONE
    assert whole.identities() <= identities(str(own.folder / "journal.db"))
    assert whole.sync(verify=True).code == exit_codes.DONE


@pytest.mark.parametrize("new_rows", [True, False])
def test_a_hub_that_was_set_back_is_noticed_whatever_the_order(own: RealHub, tmp_path: Path, new_rows: bool) -> None:
    """Rows that went ahead of those below them do not hide that these are gone: the next pass brings them again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    first, later = localops.clock.new_id(), localops.clock.new_id()
    for _ in range(10):
        sender.write(2, session=first)
        sender.write(1, session=later)
    sender.sync(limits=Limits(session=later))
    own.stop()
    subprocess.run(["cp", "-a", str(own.data), str(tmp_path / "copy")], check=True)
    own.start()
    sender.sync()
    own.stop()
    shutil.rmtree(own.data)
    os.rename(tmp_path / "copy", own.data)
    own.start()
    if new_rows:
        sender.write(1, session=later)
    else:
        _last_seen(sender, days=2)
    outcome = sender.sync()
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    assert "lacks" in outcome.notes[0]
    assert sender.identities() <= identities(str(own.folder / "journal.db"))
    assert sender.sync().requests == 0


@pytest.mark.parametrize("quiet", [True, False])
def test_a_restored_hub_is_noticed_with_nothing_to_send(own: RealHub, tmp_path: Path, quiet: bool) -> None:
    """A person who runs sync sees it at once; cron, with --quiet, asks once an hour."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(2)
    sender.sync()
    _backed_up(own, tmp_path / "copy")
    sender.write(3)
    sender.sync()
    _restored(own, tmp_path / "copy")
    command = ["sync", "--quiet"] if quiet else ["sync"]
    done = _localops(sender, *command)
    if quiet:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        _last_seen(sender, days=1 / 23)
        done = _localops(sender, *command)
    assert (done.returncode, "lacks 3 rows that it had" in done.stderr) == (0, not quiet), done
    assert sender.identities() <= identities(str(own.folder / "journal.db"))


def test_rows_that_a_hub_lost_after_they_were_pruned_are_reported(own: RealHub, tmp_path: Path) -> None:
    """The pass ends with 3 and counts as prune did; status and doctor report it until it is acknowledged."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    _ended_session()
    sender.sync()
    _backed_up(own, tmp_path / "copy")
    _ended_session()
    sender.sync()
    _restored(own, tmp_path / "copy")
    own.stop()
    done = _localops(sender, "prune", "--older-than", "0s", "--yes", "--json")
    assert "not checked whether it still has these rows" in done.stderr
    [first, second] = json.loads(done.stdout)["sessions"]
    assert first["stays"] is second["stays"] is None
    own.start()
    done = _localops(sender, "sync", "--quiet")
    assert (done.returncode, f" {first['rows']} rows that it had were pruned here" in done.stderr) == (3, True), done
    assert sender.sync().code == exit_codes.DONE
    assert f"hub lost {first['rows']} rows" in _localops(sender, "status").stderr
    assert _localops(sender, "doctor").returncode == 1
    assert _localops(sender, "remote", "acknowledge", "hub").returncode == 0
    assert "pruned" not in _localops(sender, "status").stderr
    assert _localops(sender, "doctor").returncode == 0
    sender.write(1)
    sender.sync()
    _restored(own, tmp_path / "copy")
    sender.write(1)
    outcome = sender.sync()
    assert (outcome.code, "lacks" in outcome.notes[0]) == (exit_codes.DONE, True), outcome


def test_prune_leaves_what_a_hub_has_without_its_file(own: RealHub, tmp_path: Path) -> None:
    """The session stays until the file is there, or the remote is named, whatever the hub signed for."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    digest = _filmed(sender, b"film" * 1_000)
    sender.sync()
    os.unlink(blobs.path_of(str(own.folder), digest))
    done = _localops(sender, "prune", "--older-than", "0s", "--yes", "--json")
    [choice] = json.loads(done.stdout)["sessions"]
    assert choice["stays"] == "hub lacks 1 file of it: the next `localops sync` sends that again"
    assert sender.sync().code == exit_codes.DONE
    assert sender.sync(verify=True).code == exit_codes.DONE
    os.unlink(blobs.path_of(str(own.folder), digest))
    done = _localops(sender, "prune", "--older-than", "0s", "--include-unsent", "hub", "--dry-run")
    assert "removed" in done.stdout
    assert "1 session" in _localops(sender, "prune", "--older-than", "0s", "--include-unsent", "hub", "--yes").stdout


def _ended_session() -> None:
    session = localops.start_session(name="ended")
    assert session is not None
    session.record(localops.ActionEvent(name="step"))
    session.end_session("Success")


def _backed_up(real: RealHub, copy: Path) -> None:
    real.stop()
    subprocess.run(["cp", "-a", str(real.data), str(copy)], check=True)
    real.start()


def _restored(real: RealHub, copy: Path) -> None:
    real.stop()
    shutil.rmtree(real.data)
    subprocess.run(["cp", "-a", str(copy), str(real.data)], check=True)
    real.start()


def _localops(sender: Sender, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.localops(*arguments, "--home", sender.home)


def _last_seen(sender: Sender, *, days: float) -> None:
    """Set the last pass to so many days ago."""
    connection = apsw.Connection(sender.journal)
    connection.execute("update contact set ok_ns = ok_ns - ?", (int(days * 86_400e9),))
    connection.close()


def test_a_hub_that_pruned_what_was_newest_is_not_sent_everything(own: RealHub, tmp_path: Path) -> None:
    """Where it cannot be known whether the hub was set back, it is asked what it has, and that is not sent again."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    session = localops.start_session(name="gone soon")
    assert session is not None
    session.end_session("Success")
    sender.sync()
    journal = Journal(str(own.folder), gather=True)
    with Reader(journal.path) as reader:
        prune.take(journal, [prune.look(reader, journal.folder, session.session_id.bytes)])
    journal.close()
    sender.write(1)
    outcome = sender.sync()
    assert (outcome.code, outcome.sent, outcome.notes) == (exit_codes.DONE, 1, [])


def test_a_look_at_an_idle_hub_fails_in_silence(tmp_path: Path, own: RealHub) -> None:
    """With nothing to send, a hub that does not answer is no failure."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3)
    sender.sync()
    _last_seen(sender, days=2)
    own.kill()
    outcome = sender.sync()
    assert (outcome.code, outcome.requests, outcome.notes) == (exit_codes.DONE, 1, [])


def _proxy_that_takes(most: int) -> chaos.Behaviour:
    """Behave like nginx with bodies that are larger than its limit."""

    def answer(exchange: chaos.Exchange) -> None:
        large = len(exchange.request.body) > most
        (chaos.page(413, "<html>413 Request Entity Too Large</html>") if large else chaos.passed)(exchange)

    return answer


def test_a_proxy_that_takes_small_bodies_gets_small_ones(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """Rows go in halves and files in smaller pieces; nothing is put aside."""
    broken, sender = weather
    broken.always(_proxy_that_takes(300_000))
    data = os.urandom(1 << 20)
    digest = _filmed(sender, data)
    sender.write(40, body=json.dumps(os.urandom(10_000).hex()))
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.DONE, 0, 0)
    assert Path(blobs.path_of(os.path.dirname(there), digest)).read_bytes() == data


def test_a_row_that_a_proxy_does_not_let_through_needs_a_person(weather: tuple[chaos.Chaos, Sender]) -> None:
    """The row is not to blame: it is not set aside, the pass ends with 4 and names the setting."""
    broken, sender = weather
    broken.always(_proxy_that_takes(20_000))
    sender.write(1, body=json.dumps(os.urandom(50_000).hex()))
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, "client_max_body_size" in outcome.message) == (exit_codes.ACT, 0, True)
    broken.calm()
    assert sender.sync().code == exit_codes.DONE


def test_rows_between_those_that_went_ahead_are_few_requests(sender: Sender, there: str) -> None:
    """After one of two sessions whose rows alternate was sent, the other is one batch, not one for each row."""
    first, other = localops.clock.new_id(), localops.clock.new_id()
    journal = Journal(sender.folder)
    at = localops.clock.now_ns()
    for n in range(600):
        id = localops.clock.new_id(at + n)
        journal.append(rows.make("action", (first, other)[n % 2], id=id, at_ns=at + n, name="step"))
    journal.close()
    sender.sync(limits=Limits(session=first))
    outcome = sender.sync()
    assert (outcome.code, outcome.requests, outcome.sent) == (exit_codes.DONE, 2, 301)
    assert sender.identities() <= identities(there)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/sync/1/hello", lambda reply: reply.pop("project")),
        ("/sync/1/hello", lambda reply: reply.update(encodings=5)),
        ("/sync/1/hello", lambda reply: reply.update(kept=False)),
        ("/sync/1/hello", lambda reply: reply.update(proves=5)),
        ("/sync/1/sessions", lambda reply: reply.update(sessions=dict.fromkeys(reply["sessions"], 5))),
        ("/sync/1/sessions", lambda reply: reply.update(sessions={"x": {}})),
        ("/sync/1/missing", lambda reply: reply.update(missing=5)),
        ("/sync/1/missing", lambda reply: reply.update(other=[5])),
        ("/sync/1/blobs", lambda reply: reply.update(looked_at=0)),
        ("/sync/1/blobs", lambda reply: reply.update(missing=["0" * 64])),
    ],
)
def test_an_invalid_answer_raises_no_error(
    weather: tuple[chaos.Chaos, Sender], path: str, change: Callable[[Any], object]
) -> None:
    """An invalid answer counts as no answer, wherever in a pass it comes; rows are sent or kept."""
    broken, sender = weather
    _filmed(sender, b"film")
    sender.sync()
    sender.write(1)

    def mutated(reply: Any) -> Any:
        change(reply)
        return reply

    def answer(exchange: chaos.Exchange) -> None:
        (chaos.changed(mutated) if exchange.request.target.partition("?")[0] == path else chaos.passed)(exchange)

    broken.always(answer)
    assert sender.sync(verify=True).code in (exit_codes.DONE, exit_codes.OFFLINE)
    broken.calm()
    assert sender.sync(verify=True).code == exit_codes.DONE


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


def test_killed_at_any_moment_and_run_again(own: RealHub, tmp_path: Path) -> None:
    """Passes that are killed here, and a hub that is killed there, lose nothing and double nothing."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    sender.write(3_000, body=json.dumps("x" * 300))
    command = [sys.executable, "-m", "localops", "sync", "--home", sender.home, "--quiet"]
    for n in range(8):
        process = warm.start(command, env={**os.environ, "PYTHONPATH": PATH})
        time.sleep(0.3 + 0.05 * n)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        if n % 3 == 2:
            own.kill()
            own.start()
    assert sender.sync().code == exit_codes.DONE
    assert sender.identities() <= identities(str(own.folder / "journal.db"))
    assert sender.sync(verify=True).code == exit_codes.DONE


def test_the_hub_has_the_same_figures(sender: Sender, there: str, tmp_path: Path) -> None:
    """Every figure of every session is the same on the hub as here, to the last digit."""
    for n in range(5):
        session = localops.start_session(name=f"run {n}", tags=[f"tag {n % 2}"])
        assert session is not None
        agent = session.create_agent(name="researcher")
        for m in range(n + 3):
            session.record(
                localops.LLMEvent(
                    model=["gpt-4o", "unknown"][m % 2], prompt_tokens=m * 7, completion_tokens=m, agent_id=agent
                )
            )
            session.record(localops.ToolEvent(name=f"tool {m % 3}", returns="x"))
        session.record(localops.ErrorEvent(exception=ValueError("odd")))
        if n != 4:
            session.end_session(["Success", "Failure", "Indeterminate"][n % 3])
    assert sender.sync().code == exit_codes.DONE
    hub_home = os.path.dirname(os.path.dirname(there))
    with Home(sender.home) as here, Home(hub_home, os.path.basename(os.path.dirname(there))) as hubs:
        mine = list(here.sessions())
        assert len(mine) == 5
        for listed in mine:
            place, session_id = hubs.find(listed.session.hex())
            running = listed.state == "Running"
            ours = listed.project.snapshot(listed.session).report()
            ours = ours._replace(contract=analytics.contract(ours.totals, running=False))
            theirs = place.snapshot(session_id).report()
            assert ours.totals[:13] == theirs.totals[:13]
            assert ours._replace(totals=theirs.totals) == theirs
            assert place.standing(session_id)[:2] == (
                ("Unknown", place.standing(session_id).reason)
                if running
                else listed.project.standing(listed.session)[:2]
            )
            assert place.tags(session_id) == listed.project.tags(listed.session)


@pytest.mark.foreign_open
def test_a_project_that_cannot_be_read_stops_no_other(sender: Sender, there: str) -> None:
    """`localops sync` goes on to the next project if one of them is broken, and exits with the worse code."""
    sender.write(2)
    bad = Path(config.project_folder(sender.home, "another"))
    bad.mkdir()
    (bad / "remotes.json").write_text("{broken")
    (bad / "journal.db").write_bytes(b"no journal at all")
    done = warm.run(
        [sys.executable, "-m", "localops", "sync", "--home", sender.home, "--json"],
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
    )
    report = json.loads(done.stdout)
    assert done.returncode == exit_codes.ACT
    assert [each["code"] for each in report["remotes"]] == [exit_codes.ACT, exit_codes.DONE]
    assert sender.identities() <= identities(there)


# Killed when it is about to do the n-th thing that anybody else can notice.
_KILLED_AT = """
import os, signal, sys, threading
left, seen = int(sys.argv[1]), {"execute", "send", "sendall", "recv_into", "connect", "shutdown", "close", "flock"}
def look(frame, event, what):
    global left
    if event == "c_call" and what.__name__ in seen:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from localops.cli import main
threading.setprofile(look)
sys.setprofile(look)
main(["sync", "--home", sys.argv[2], "--quiet"])
"""
STEPS = range(1, 400, 1 if "STRESS_KILLS" in os.environ else 16)


def test_killed_between_any_two_calls(own: RealHub, tmp_path: Path) -> None:
    """A pass that dies before any statement or system call leaves nothing that the next does not repair."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    there = str(own.folder / "journal.db")
    ends = []
    for step in STEPS:
        sender.write(4)
        ends.append(warm.ours().run(_KILLED_AT, arguments=[str(step), sender.home]).returncode)
        assert identities(there) - sender.identities() <= _hubs_own(there)
    assert set(ends[:5]) == {-signal.SIGKILL}
    assert sender.sync().code == exit_codes.DONE
    assert sender.identities() <= identities(there)
    assert sender.sync(verify=True).code == exit_codes.DONE


def _hubs_own(path: str) -> set[Identity]:
    """Return the rows about the hub's journal itself."""
    with Reader(path) as reader:
        return {bundle.identity(row) for row in reader.stream() if row.kind == "journal"}
