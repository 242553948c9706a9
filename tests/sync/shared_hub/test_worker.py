"""A pass brings the hub every row exactly once, whatever the obstacles, and reports its result."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
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
from tests import ports, warm
from tests.server.hubs import PATH, RealHub
from tests.sync import chaos
from tests.sync.homes import Identity, Sender, filmed, identities, without_waiting


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
    port = ports.free()
    gone = Sender(Path(sender.home), f"http://127.0.0.1:{port}", sender.remote.key or "")
    assert gone.sync().code == exit_codes.DONE
    gone.write(1)
    assert gone.sync().code == exit_codes.OFFLINE


def test_a_poison_row_is_parked_and_the_others_arrive(weather: tuple[chaos.Chaos, Sender], there: str) -> None:
    """A row that the remote refuses costs few requests, is kept with the reason, and does not block others."""
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


def test_a_budget_ends_a_pass_between_batches(sender: Sender) -> None:
    """Rows, bytes or seconds: a used-up budget ends the pass with 6, and the next one continues there."""
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
    """Text that became invalid, as after a disk fault, blocks no other row and ends no pass."""
    session = sender.write(5)[0][2]
    odd = sender.write(1, session=session, body='{"a":"odd"}')[0][0]
    sender.write(5, session=session)
    connection = apsw.Connection(sender.journal)
    connection.execute(f"update event set {column} = cast(x'22ff22' as text) where id = ?", (odd,))
    connection.close()
    outcome = sender.sync(limits=Limits(rows=4))
    assert (outcome.code, outcome.parked, outcome.left) == (exit_codes.PARKED, 1, 0)
    assert "checksum" in sender.ledger().parked()[0].reason
    # Two rows are the hub's own: of its start, and that the session lacks a row.
    assert len(identities(there)) == outcome.sent + 2
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
    digest = filmed(sender, data)
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
        ("/sync/1/missing", lambda reply: reply.update(scrubbed=[["00", 0, -1, 2, []]])),
        ("/sync/1/blobs", lambda reply: reply.update(looked_at=0)),
        ("/sync/1/blobs", lambda reply: reply.update(missing=["0" * 64])),
    ],
)
def test_an_invalid_answer_raises_no_error(
    weather: tuple[chaos.Chaos, Sender], path: str, change: Callable[[Any], object]
) -> None:
    """An invalid answer counts as no answer, at any point of a pass; rows are sent or kept."""
    broken, sender = weather
    filmed(sender, b"film")
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
    """`localops sync` continues with the next project, and exits with the worse code."""
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
STEPS = range(1, 400, 1 if "STRESS_KILLS" in os.environ else 25)


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
