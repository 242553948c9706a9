"""Files go to the hub in pieces, and a row waits for its own."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

import localops
from localops.journal import blobs
from localops.journal.reader import Reader
from localops.upkeep import prune
from localops_sync import exit_codes
from localops_sync.budget import PassBudget
from tests import warm
from tests.server.hubs import RealHub
from tests.sync import chaos
from tests.sync.homes import Sender, filmed, identities


def test_files_go_in_pieces_and_continue_where_they_broke(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """A large file whose transfer breaks is not sent from the start again, and is whole at the end."""
    broken, sender = weather
    data = os.urandom(9 << 20)
    digest = filmed(sender, data)
    broken.then(chaos.passed, chaos.passed, chaos.passed, chaos.passed, chaos.reset_after, *[chaos.reset] * 9)
    assert sender.sync().code == exit_codes.OFFLINE
    broken.calm()
    so_far = len(broken.seen)
    assert sender.sync().code == exit_codes.DONE
    assert sum(len(request.body) for request in broken.seen[so_far:]) < 6 << 20
    with open(blobs.path_of(os.path.dirname(there), digest), "rb") as file:
        assert file.read() == data


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


def test_a_row_whose_file_is_only_on_the_hub_is_sent(own: RealHub, tmp_path: Path) -> None:
    """A file that the hub has need not be here any more."""
    sender = Sender(tmp_path / "home", own.url, own.key)
    digest = filmed(sender, b"film" * 1_000)
    path = blobs.path_of(str(own.folder), digest)
    os.makedirs(os.path.dirname(path))
    os.rename(blobs.path_of(sender.folder, digest), path)
    outcome = sender.sync()
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.DONE, 0, 0)


def test_a_file_of_which_the_hub_has_too_much_is_sent_again(sender: Sender, there: str) -> None:
    """A hub that holds more bytes of an upload than the file has gets it all the same, and has it whole."""
    digest = filmed(sender, b"film" * 1_000)
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
    """An answer that would make a transfer endless, or seem complete, ends the pass."""
    broken, sender = weather
    filmed(sender, b"film" * 1_000)
    broken.always(lambda exchange: (answer if exchange.request.method == "PATCH" else chaos.passed)(exchange))
    outcome = sender.sync()
    assert (outcome.code, outcome.sent, outcome.parked) == (exit_codes.OFFLINE, 0, 0)


def test_a_budget_of_bytes_ends_a_pass_within_a_file(weather: tuple[chaos.Chaos, Sender]) -> None:
    """A large file does not exceed --max-bytes; the next pass continues where this one ended."""
    broken, sender = weather
    filmed(sender, os.urandom(9 << 20))
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
    digest = filmed(sender, log)
    outcome = sender.sync(budget=PassBudget(max_bytes=len(log) * 2 if early else len(log) // 4))
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    sent = sum(len(each.body) for each in way.seen if each.method == "PATCH")
    assert sent == len(log) if early else sent < len(log) // 4
    with open(blobs.path_of(os.path.dirname(there), digest), "rb") as file:
        assert file.read() == log


def test_a_piece_that_cannot_be_unpacked_says_nothing_of_rows(own: RealHub) -> None:
    """Damage on the way is answered by 422, after which the sender continues; 400 would park the row."""
    data = b"film" * 1_000
    headers = {"Upload-Offset": "0", "Upload-Length": str(len(data)), "Content-Encoding": "gzip"}
    path = f"/sync/1/blobs/{hashlib.sha256(data).hexdigest()}"
    assert own.ask("PATCH", path, b"no gzip", headers=headers)[0] == 422
    assert own.ask("PATCH", path, gzip.compress(data), headers=headers)[0] == 200


def test_waiting_bytes_include_files(sender: Sender) -> None:
    """The bytes to send, in a dry run and in the status, include videos and long values, each once."""
    size = 3_000_000
    filmed(sender, os.urandom(size))
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
