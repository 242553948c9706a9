"""Whole passes over a bad network: each fault has its exit code and its message, rows are kept, and when it is over
the next pass delivers everything, each row once."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import localops
from localops import config
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.server.home_store import HomeStore
from localops.transfer import bundle, delivery, remotes
from localops.transfer.delivery import Limits
from localops.transfer.remotes import Remote
from localops_sync import exit_codes, retry, worker
from localops_sync.budget import PassBudget
from localops_sync.exit_codes import Outcome
from tests import ports, programs, warm
from tests.server.hubs import RealHub, session_rows, wait_until
from tests.server.hubs import hub as open_hub
from tests.sync import chaos
from tests.sync.chaos import Answer, Authority, Behaviour, Chaos, Exchange, Request

ROWS = "/sync/1/rows"
HELLO = "/sync/1/hello"
SHORT = 1.0  # seconds that a pass gets which would wait for ever


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start a real hub; each test has its own project there."""
    with open_hub(tmp_path_factory.mktemp("weather")) as running:
        yield running


@pytest.fixture
def chaos_before(hub: RealHub) -> Iterator[Chaos]:
    """Return the proxy before the hub, which makes things go wrong."""
    with Chaos(behind=hub.url) as made:
        yield made


class Trip:
    """A local project with rows to send, and its project on the hub."""

    def __init__(self, hub: RealHub, url: str, name: str) -> None:
        self.home = os.environ["LOCALOPS_HOME"]
        self.folder = config.project_folder(self.home, "default")
        self.there = hub.data / name
        self.waits: list[float] = []
        self.record()
        self.point(url, hub.new_key(name))

    def point(self, url: str, key: str, **options: Any) -> None:
        """Set the remote for the rows."""
        self.remote = Remote("hub", url, key=key, **options)
        remotes.save(self.folder, {"hub": self.remote})

    def record(self, calls: int = 6) -> None:
        """Record a session of a few rows, which has ended."""
        session = localops.start_session(name="a trip", tags=["weather"])
        assert session is not None
        for number in range(calls):
            session.record(localops.LLMEvent(model="gpt-4o", prompt=f"question {number}", prompt_tokens=number))
        session.end_session("Success")

    def add(self, calls: int) -> None:
        """Store the rows of a session of many calls; recording them would take longer."""
        journal = Journal(self.folder)
        journal.add(session_rows(calls))
        journal.close()

    def go(self, *, limits: Limits | None = None, check_all: bool = False, **limited: Any) -> Outcome:
        """Run one pass in this process, in which waiting takes no time."""
        budget = PassBudget(sleep=self.waits.append, **limited)
        return worker.sync(self.home, "default", self.remote, budget=budget, limits=limits, check_all=check_all)

    def start(self, *options: str, **given: Any) -> subprocess.Popen[str]:
        """Start one pass as a process."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return warm.ours().start(warm.MAIN, ["sync", *options], **{**pipes, **given})

    def run(self, *options: str, **given: Any) -> tuple[int, str, str]:
        """Run one pass as a process; return its exit code, stdout and stderr."""
        program = self.start(*options, **given)
        try:
            out, err = program.communicate(timeout=60)
        finally:
            program.kill()
        return program.returncode, out, err

    def here(self) -> Counter[tuple[bytes, int, int]]:
        """Return the rows here."""
        return _rows(Path(self.folder))

    def arrived(self) -> Counter[tuple[bytes, int, int]]:
        """Return the rows on the hub."""
        return _rows(self.there)

    def unsent(self) -> int:
        """Return how many rows do not count as sent."""
        with Reader(os.path.join(self.folder, "journal.db")) as reader:
            return delivery.Ledger(reader, self.folder, "hub").waiting().rows

    def parked(self) -> list[delivery.Parked]:
        """Return the parked rows."""
        with Reader(os.path.join(self.folder, "journal.db")) as reader:
            return delivery.Ledger(reader, self.folder, "hub").parked()

    def check_kept(self) -> None:
        """Check that every row is here, that no row counts as sent that is not there, and that none is parked."""
        here, arrived = self.here(), self.arrived()
        assert not arrived - here, "the hub has rows that were never recorded"
        assert self.unsent() >= (here - arrived).total(), "rows that are not there count as sent"
        assert self.parked() == []

    def check_arrived(self) -> None:
        """Everything is there, each row once."""
        assert self.arrived() == self.here()
        assert max(self.arrived().values()) == 1
        assert self.unsent() == 0


def _rows(folder: Path) -> Counter[tuple[bytes, int, int]]:
    """Return the rows of a journal, without those about the journal itself."""
    with Reader(str(folder / "journal.db")) as reader:
        return Counter(bundle.identity(row) for row in reader.stream() if row.kind != "journal")


@pytest.fixture
def trip(hub: RealHub, chaos_before: Chaos, request: pytest.FixtureRequest) -> Trip:
    """Rows on one side, a hub on the other, and the weather between."""
    name = re.sub(r"\W+", "-", request.node.name).strip("-").lower()[-60:]
    return Trip(hub, chaos_before.url, f"p-{name}".strip("-"))


def _at(target: str, behaviour: Behaviour) -> Behaviour:
    """Return a fault of some requests only; all others get through."""

    def behave(exchange: Exchange) -> None:
        (behaviour if exchange.request.target.startswith(target) else chaos.passed)(exchange)

    return behave


def test_a_good_day(trip: Trip) -> None:
    """All rows arrive in one pass, and the next pass does not send a single packet."""
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


def test_nothing_to_send_makes_no_connection(trip: Trip, chaos_before: Chaos) -> None:
    """A pass that has nothing to send makes no connection."""
    trip.go()
    before = chaos_before.connections
    assert trip.go().code == exit_codes.DONE
    assert chaos_before.connections == before


def test_rows_without_files_pass_a_full_disk(trip: Trip, chaos_before: Chaos) -> None:
    """Where a hub has no room for a file, rows whose files are there and those without any are stored nevertheless."""
    taken: set[str] = set()

    def full(exchange: Exchange) -> None:
        request = exchange.request
        if request.method != "PATCH" or not taken or request.target in taken:
            taken.update({request.target} if request.method == "PATCH" else ())
            chaos.passed(exchange)
        else:
            chaos.status(503, {"message": "cannot store anything now"})(exchange)

    for letter in "abc":
        with_file = localops.start_session(name="filmed")
        assert with_file is not None
        with_file.record(localops.LLMEvent(model="gpt-4o", prompt=letter * 2_000_000))
        with_file.end_session("Success")
    trip.record()
    chaos_before.always(full)
    ended = trip.go()
    assert (ended.code, len(taken)) == (exit_codes.OFFLINE, 1)
    assert "cannot store anything now" in ended.message
    missing = trip.here() - trip.arrived()
    assert missing.total() == trip.unsent() == 2
    trip.check_kept()
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


# A fault that lasts, at every request or only where rows are handed over

_LASTING: dict[str, tuple[Behaviour, int, str]] = {
    "reset": (chaos.reset, exit_codes.OFFLINE, "broke"),
    "close": (chaos.close, exit_codes.OFFLINE, "broke"),
    "broken header": (chaos.truncated_header, exit_codes.OFFLINE, "broke"),
    "broken chunk": (chaos.truncated_chunk, exit_codes.OFFLINE, "broke"),
    "broken body": (chaos.truncated(Answer(200, b'{"localops":1}')), exit_codes.OFFLINE, "broke"),
    "408": (chaos.status(408), exit_codes.OFFLINE, "answered 408"),
    "425": (chaos.status(425), exit_codes.OFFLINE, "answered 425"),
    "429": (chaos.status(429), exit_codes.OFFLINE, "answered 429"),
    "500": (chaos.status(500), exit_codes.OFFLINE, "answered 500"),
    "502 page": (chaos.page(502), exit_codes.OFFLINE, "answered 502: a web page"),
    "503": (chaos.status(503, Retry_After="3"), exit_codes.OFFLINE, "answered 503"),
    "504": (chaos.status(504), exit_codes.OFFLINE, "answered 504"),
    "511": (chaos.page(511), exit_codes.OFFLINE, "log in with a browser"),
    "captive portal": (chaos.page(), exit_codes.OFFLINE, "something between.*log in with a browser"),
    "empty": (chaos.text(b""), exit_codes.OFFLINE, "something between"),
    "broken JSON": (chaos.text(b'{"localops":'), exit_codes.OFFLINE, "something between"),
    "another shape": (chaos.ok({"accepted": ["all"]}), exit_codes.OFFLINE, "not what a hub answers"),
    "a list": (chaos.ok([]), exit_codes.OFFLINE, "not what a hub answers"),
    "no content": (chaos.raw(Answer(204)), exit_codes.OFFLINE, "something between"),
    "huge header": (chaos.huge_header, exit_codes.OFFLINE, "broke"),
    "endless": (chaos.endless, exit_codes.OFFLINE, "more than 8 MB"),
    "gzip bomb": (chaos.bomb, exit_codes.OFFLINE, "something between"),
    "401": (chaos.status(401), exit_codes.ACT, "does not accept the key"),
    "402": (chaos.status(402), exit_codes.ACT, "payment"),
    "403": (chaos.status(403), exit_codes.ACT, "may not"),
    "403 page": (chaos.page(403), exit_codes.ACT, "refused the request"),
    "404": (chaos.status(404), exit_codes.ACT, "check the URL"),
    "426": (chaos.status(426), exit_codes.ACT, "upgrade"),
    "400 page": (chaos.page(400), exit_codes.ACT, "check the URL"),
    "418": (chaos.status(418), exit_codes.ACT, "any rows"),
    "301": (chaos.redirect(301, "https://elsewhere.example/"), exit_codes.ACT, "elsewhere.example"),
    "307": (chaos.redirect(307, "https://elsewhere.example/"), exit_codes.OFFLINE, "elsewhere.example"),
}


@pytest.mark.parametrize(("behaviour", "code", "message"), _LASTING.values(), ids=list(_LASTING))
def test_a_fault_that_lasts(trip: Trip, chaos_before: Chaos, behaviour: Behaviour, code: int, message: str) -> None:
    """The pass ends with the fault's code and message, keeps every row, and the pass after it delivers them."""
    for target in (ROWS, ""):
        chaos_before.always(_at(target, behaviour))
        outcome = trip.go()
        assert (outcome.code, outcome.sent) == (code, 0), target
        assert re.search(message, outcome.message), target
        assert trip.remote.key is not None
        assert trip.remote.key not in str(outcome)
        trip.check_kept()
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


_UNENDING: dict[str, Behaviour] = {
    "silence": chaos.silence,
    "headers": chaos.drip_headers,
    "body": chaos.drip_body,
    "old": chaos.drip_old,
}


@pytest.mark.parametrize("target", ["", ROWS], ids=["everywhere", "rows"])
@pytest.mark.parametrize("behaviour", _UNENDING.values(), ids=list(_UNENDING))
def test_an_answer_that_never_ends(trip: Trip, chaos_before: Chaos, behaviour: Behaviour, target: str) -> None:
    """A pass with a time limit ends in time, whatever the other side does."""
    chaos_before.always(_at(target, behaviour))
    outcome = trip.go(max_seconds=SHORT)
    assert (outcome.code, outcome.sent) == (exit_codes.BUDGET, 0)
    trip.check_kept()
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


# A fault that happens once, with rows that are there or are not


_ONCE: dict[str, Behaviour] = {
    "reset": chaos.reset,
    "close": chaos.close,
    "reset after": chaos.reset_after,
    "500 after": chaos.status_after(500),
    "503 after": chaos.status_after(503, Retry_After="2"),
    "truncated after": chaos.truncated(),
    "truncated early": chaos.truncated(keep=0.0),
    "truncated late": chaos.truncated(keep=0.99),
}


@pytest.mark.parametrize("behaviour", _ONCE.values(), ids=list(_ONCE))
def test_a_fault_that_passes(trip: Trip, chaos_before: Chaos, behaviour: Behaviour) -> None:
    """Whether the hub had stored the rows or not, one pass sends them again, and they are there once."""
    chaos_before.then(chaos.passed, behaviour)
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()
    assert len(chaos_before.seen) == 3
    assert len(trip.waits) == 1


def test_stored_and_never_answered(trip: Trip, chaos_before: Chaos) -> None:
    """Rows that were stored without an answer are sent again, and recognised."""
    chaos_before.always(_at(ROWS, chaos.silence_after))
    for _ in range(20):  # on a busy machine the time may be over before a request is sent
        assert trip.go(max_seconds=SHORT).code == exit_codes.BUDGET
        if trip.arrived():
            break
    assert trip.arrived() == trip.here()
    assert trip.unsent() == trip.here().total() + 1  # the journal's row about itself as well
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


@pytest.mark.parametrize("seed", range(8))
def test_storms(trip: Trip, chaos_before: Chaos, seed: int) -> None:
    """With two requests in five failing in any way, a few passes deliver everything, each row once."""
    chance = random.Random(seed)
    faults = [*_ONCE.values(), chaos.page(), chaos.text(b"{"), chaos.status(502), chaos.status(429, Retry_After="1")]

    def storm(exchange: Exchange) -> None:
        with exchange.server.turn:
            behaviour = chance.choice(faults) if chance.random() < 0.4 else chaos.passed
        behaviour(exchange)

    chaos_before.always(storm)
    for _ in range(60):
        outcome = trip.go(limits=Limits(rows=3))
        assert outcome.code in (exit_codes.DONE, exit_codes.OFFLINE, exit_codes.PARKED)
        assert not trip.arrived() - trip.here()
        if outcome.code == exit_codes.DONE and not outcome.left:
            break
        trip.record(1) if outcome.sent and trip.here().total() < 60 else None
    trip.check_arrived()


# Answers that lie


def _receipt(change: Callable[[dict[str, Any]], object]) -> Behaviour:
    """Return the hub's own answer with a changed receipt."""

    def lie(reply: dict[str, Any]) -> dict[str, Any]:
        change(reply["receipt"])
        return reply

    return chaos.changed(lie)


def _all_taken(request: Request) -> object:
    return {
        "localops": 1,
        "hub": "0" * 32,
        "stored": 9,
        "known": 0,
        "gone": 0,
        "refused": [],
        "differs": [],
        "forked": False,
    }


def _unsigned(request: Request) -> object:
    receipt = {"journal": "0", "ranges": [[1, 9]], "rows": 9, "digest": "0", "at_ns": 1, "by": "me", "hmac": None}
    return {**dict(_all_taken(request)), "receipt": receipt}  # type: ignore[call-overload]


_LIES: dict[str, Behaviour] = {
    "all taken": chaos.never_passed(_all_taken),
    "unsigned": chaos.never_passed(_unsigned),
    "fewer rows": _receipt(lambda reply: reply.update(rows=1)),
    "other digest": _receipt(lambda reply: reply.update(digest="0" * 64)),
    "other ranges": _receipt(lambda reply: reply.update(ranges=[[1, 1_000]])),
    "other journal": _receipt(lambda reply: reply.update(journal="0" * 32)),
    "other signature": _receipt(lambda reply: reply.update(hmac="0" * 64)),
    "no signature": _receipt(lambda reply: reply.update(hmac=None)),
    "other time": _receipt(lambda reply: reply.update(at_ns=1)),
    "no receipt": chaos.changed(lambda reply: {**reply, "receipt": None}),
    "all refused": chaos.changed(lambda reply: {**reply, "refused": [[seq, "no"] for seq in range(100)]}),
    "unknown rows refused": chaos.changed(lambda reply: {**reply, "refused": [["a", "no"], [1]]}),
    "invalid numbers": chaos.changed(lambda reply: {**reply, "stored": "many", "differs": 7}),
}


@pytest.mark.parametrize("behaviour", _LIES.values(), ids=list(_LIES))
def test_lies(trip: Trip, chaos_before: Chaos, behaviour: Behaviour) -> None:
    """A 200 without a signature for exactly these rows marks none as sent, and parks none."""
    chaos_before.always(_at(ROWS, behaviour))
    outcome = trip.go()
    assert (outcome.code, outcome.sent) == (exit_codes.OFFLINE, 0)
    assert "not what a hub answers" in outcome.message
    trip.check_kept()
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


def test_an_old_receipt_is_not_taken_again(trip: Trip, chaos_before: Chaos) -> None:
    """A recorded answer that is played again for other rows does not count for those."""
    kept: list[Answer] = []

    def keep(exchange: Exchange) -> None:
        kept.append(exchange.passed())
        exchange.answer(kept[0])

    chaos_before.always(_at(ROWS, keep))
    assert trip.go().code == exit_codes.DONE
    trip.record()
    chaos_before.always(_at(ROWS, lambda exchange: exchange.answer(kept[0])))
    outcome = trip.go()
    assert (outcome.code, outcome.sent) == (exit_codes.OFFLINE, 0)
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


# Rows that are refused, or too many at a time


def test_a_row_that_is_refused_holds_up_nothing(trip: Trip, chaos_before: Chaos) -> None:
    """One row that the hub refuses is identified and parked with its reason; all others arrive in the same pass."""

    def refuse(exchange: Exchange) -> None:
        if b"question 3" in chaos.inflated(exchange.request):
            chaos.status(422, {"message": "one row makes no sense"})(exchange)
        else:
            chaos.passed(exchange)

    chaos_before.always(_at(ROWS, refuse))
    outcome = trip.go()
    assert (outcome.code, outcome.parked) == (exit_codes.PARKED, 1)
    assert "does not take" in outcome.message
    [parked] = trip.parked()
    assert parked.final
    assert "one row makes no sense" in parked.reason
    assert (trip.here() - trip.arrived()).total() == 1


@pytest.mark.parametrize(
    ("failure", "code", "aside"),
    [
        (chaos.status(500), exit_codes.PARKED, [False]),
        (chaos.page(502), exit_codes.PARKED, [False]),
        (chaos.reset, exit_codes.OFFLINE, []),
    ],
    ids=["500", "502", "reset"],
)
def test_a_row_on_which_the_hub_fails_holds_up_nothing(
    trip: Trip, chaos_before: Chaos, failure: Behaviour, code: int, aside: list[bool]
) -> None:
    """A row on which the hub fails while its neighbours pass is identified, and tried again with each pass; a broken
    connection may have nothing to do with the row, which is not parked then."""

    def fail(exchange: Exchange) -> None:
        (failure if b"question 3" in chaos.inflated(exchange.request) else chaos.passed)(exchange)

    chaos_before.always(_at(ROWS, fail))
    for _ in range(3):
        outcome = trip.go()
        assert outcome.code == code
        assert "other figures" not in outcome.message
        assert [row.final for row in trip.parked()] == aside
        assert (trip.here() - trip.arrived()).total() == 1
        trip.record(1)
        assert trip.go().code == code
        assert (trip.here() - trip.arrived()).total() == 1
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


def test_too_much_at_a_time(trip: Trip, chaos_before: Chaos) -> None:
    """A hub with a limit of bytes gets smaller batches, and everything in the end."""

    def narrow(exchange: Exchange) -> None:
        many = chaos.inflated(exchange.request).count(b"\n") > 5
        (chaos.status(413) if many else chaos.passed)(exchange)

    chaos_before.always(_at(ROWS, narrow))
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


# Who is asked how often


@pytest.mark.parametrize("code", [401, 403, 404])
def test_no_storm_of_requests_after_a_refusal(trip: Trip, chaos_before: Chaos, code: int) -> None:
    """A fault that needs a person makes one request in a pass."""
    chaos_before.always(chaos.status(code))
    trip.go()
    assert len(chaos_before.seen) == 1


@pytest.mark.parametrize("code", [429, 503])
def test_no_storm_of_requests_at_a_busy_hub(trip: Trip, chaos_before: Chaos, code: int) -> None:
    """A busy hub is asked a few times, with the waits that it wants, and then again in the next pass."""
    chaos_before.always(_at(ROWS, chaos.status(code, Retry_After="7")))
    assert trip.go().code == exit_codes.OFFLINE
    assert chaos_before.paths().count(ROWS) == retry.TRIES
    assert trip.waits == [7.0] * (retry.TRIES - 1)


@pytest.mark.parametrize(("retry_after", "least", "most"), [("999999999", 120, 120), ("soon", 0, 1), ("-1", 0, 1)])
def test_absurd_retry_after(trip: Trip, chaos_before: Chaos, retry_after: str, least: float, most: float) -> None:
    """A hub that asks for a wait of thirty years, or for nonsense, is asked again after a reasonable time."""
    chaos_before.then(chaos.passed, chaos.status(503, Retry_After=retry_after))
    assert trip.go().code == exit_codes.DONE
    [waited] = trip.waits
    assert least <= waited <= most
    trip.check_arrived()


def test_a_wait_beyond_the_pass_ends_it(trip: Trip, chaos_before: Chaos) -> None:
    """A pass that would be over before the wait ends makes no more requests."""
    chaos_before.always(_at(ROWS, chaos.status(503, Retry_After="60")))
    assert trip.go(max_seconds=30).code == exit_codes.OFFLINE
    assert chaos_before.paths().count(ROWS) == 1
    assert trip.waits == []


# No server, or another one


def test_no_server(trip: Trip, chaos_before: Chaos) -> None:
    """A hub that is not there is a temporary error: rows are kept for it."""
    assert trip.remote.key is not None
    trip.point(f"http://127.0.0.1:{ports.free()}", trip.remote.key)
    outcome = trip.go()
    assert (outcome.code, outcome.requests, trip.waits) == (exit_codes.OFFLINE, 1, [])
    trip.point(chaos_before.url, trip.remote.key or "")
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


def test_a_certificate_of_an_unknown_authority(hub: RealHub, trip: Trip, tmp_path: Path) -> None:
    """An unknown certificate needs a person; with its authority named, rows are sent."""
    authority = Authority(tmp_path)
    key = trip.remote.key or ""
    with Chaos(behind=hub.url, tls=authority.context()) as server:
        trip.point(server.url, key)
        outcome = trip.go()
        assert outcome.code == exit_codes.ACT
        assert "cannot be trusted" in outcome.message
        assert not server.seen
        trip.point(server.url, key, ca=authority.path)
        assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


def test_a_wrong_clock(trip: Trip, chaos_before: Chaos) -> None:
    """A wrong clock prints a warning, and keeps no row back."""

    def late(exchange: Exchange) -> None:
        answer = exchange.passed()
        exchange.answer(Answer(answer.status, answer.body, {**answer.headers, "date": "Sat, 01 Jan 2000 00:00:00 GMT"}))

    chaos_before.always(late)
    outcome = trip.go()
    assert outcome.code == exit_codes.DONE
    assert any("clock" in note for note in outcome.notes)
    trip.check_arrived()


def test_a_hub_that_restarts(tmp_path: Path) -> None:
    """A hub that is killed in the middle of a pass, and restarted, has every row once."""
    with open_hub(tmp_path / "own") as hub, Chaos(behind=hub.url) as way:  # the shared one has to last
        trip = Trip(hub, way.url, "restarted")

        def kill_after(exchange: Exchange) -> None:
            exchange.passed()
            hub.kill()
            hub.start()
            exchange.reset()

        way.then(chaos.passed, kill_after)
        assert trip.go(limits=Limits(rows=3)).code == exit_codes.DONE
        trip.check_arrived()


def test_a_session_that_is_deleted_while_it_is_compared(trip: Trip, chaos_before: Chaos, hub: RealHub) -> None:
    """Its rows are not sent again and count as no difference, and the report names the session."""
    assert trip.go().code == exit_codes.DONE
    with Reader(os.path.join(trip.folder, "journal.db")) as reader:
        [(session,)] = reader.ask("select session from session_total")
    store = HomeStore(str(hub.data))

    def delete(exchange: Exchange) -> None:
        assert store.delete(trip.there.name, session)
        chaos.passed(exchange)

    def differ(reply: Any) -> Any:
        reply["sessions"][session.hex()]["digest"] = "another"
        return reply

    chaos_before.then(chaos.passed, chaos.changed(differ), delete)  # hello, figures, rows
    outcome = trip.go(check_all=True)
    store.close()
    assert (outcome.code, outcome.deleted, outcome.left) == (exit_codes.DONE, [str(UUID(bytes=session))], 0)


# As a process: exit codes, and what cron gets to read


@pytest.mark.parametrize(
    ("behaviour", "code", "text"),
    [(chaos.status(401), 4, "key"), (chaos.page(), 5, "something between"), (chaos.passed, 0, "")],
    ids=["act", "offline", "done"],
)
@pytest.mark.parametrize("quiet", [False, True], ids=["", "quiet"])
def test_exit_codes(trip: Trip, chaos_before: Chaos, behaviour: Behaviour, code: int, text: str, quiet: bool) -> None:
    """The process ends with the code of the pass; --quiet prints nothing that does not need a person."""
    chaos_before.always(behaviour)
    ended, out, err = trip.run(*(["--quiet"] if quiet else []))
    assert ended == code
    if quiet and code in exit_codes.QUIET:
        assert (out, err) == ("", "")
    else:
        assert text in err
        assert "Traceback" not in err


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_sending(trip: Trip, chaos_before: Chaos, when: str) -> None:
    """A pass that is killed before or after the hub has stored its rows has neither lost nor doubled a row."""
    programs_running: list[subprocess.Popen[str]] = []

    def kill(exchange: Exchange) -> None:
        if when == "after":
            exchange.passed()
        wait_until(lambda: programs_running)
        programs.kill(programs_running[0])

    chaos_before.then(chaos.passed, kill)
    programs_running.append(trip.start())
    wait_until(lambda: programs_running[0].poll() is not None, 30)
    assert programs_running[0].returncode == -signal.SIGKILL
    trip.check_kept()
    assert trip.run()[0] == 0
    trip.check_arrived()


@pytest.mark.parametrize("calls", [6, 3_000], ids=["one batch", "several"])
def test_interrupted(trip: Trip, chaos_before: Chaos, calls: int) -> None:
    """Ctrl-C ends a pass that waits, at once, in words, and keeps what is not sent."""
    trip.add(calls)
    chaos_before.always(_at(ROWS, chaos.silence))
    program = trip.start()
    try:
        wait_until(lambda: ROWS in chaos_before.paths(), 30)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=chaos.PATIENCE - 2)  # before the server ends its silence
    finally:
        program.kill()
    assert program.returncode == exit_codes.INTERRUPTED
    assert "Traceback" not in err
    trip.check_kept()
    chaos_before.calm()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


def test_a_line_is_spared_within_a_request(trip: Trip, chaos_before: Chaos) -> None:
    """At a given rate a batch is sent in pieces, each in its time; none is larger than ten seconds of the line."""
    session = localops.start_session()
    assert session is not None
    for _ in range(200):
        session.record(localops.LLMEvent(prompt=os.urandom(200).hex()))
    session.end_session("Success")
    rate, piece = 40_000, 16_384
    began = time.monotonic()
    outcome = worker.sync(trip.home, "default", trip.remote, budget=PassBudget(bytes_per_second=rate))
    took = time.monotonic() - began
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    assert outcome.bytes > 2 * piece
    assert took > (outcome.bytes - 2 * piece) / rate
    assert max(len(each.body) for each in chaos_before.seen) <= 10 * rate
    trip.check_arrived()


def test_interrupted_while_the_line_is_spared(trip: Trip) -> None:
    """Ctrl-C ends a pass that waits for its share of a slow line, which it would for minutes."""
    trip.add(7_000)  # three batches: while the second is sent, the third is packed
    everything = trip.unsent()
    program = trip.start("--bwlimit", "1000")
    try:
        wait_until(lambda: trip.unsent() < everything, 30)
        time.sleep(0.3)  # by now it waits
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == exit_codes.INTERRUPTED
    trip.check_kept()
    assert trip.go().code == exit_codes.DONE
    trip.check_arrived()


@pytest.mark.parametrize("locked", [True, False], ids=["lock", "no lock"])
def test_two_at_once(trip: Trip, chaos_before: Chaos, locked: bool) -> None:
    """The second of two passes leaves the rows to the first; even without the lock each row would be there once."""

    def hold(exchange: Exchange) -> None:
        wait_until(lambda: released, 30)
        chaos.passed(exchange)

    released: list[bool] = []
    chaos_before.then(chaos.passed, hold)
    first = trip.start()
    try:
        wait_until(lambda: ROWS in chaos_before.paths(), 30)
        if locked:
            outcome = trip.go()
            assert (outcome.code, outcome.requests) == (exit_codes.BUSY, 0)
        else:
            os.unlink(os.path.join(trip.folder, worker.LOCK))
            assert trip.go().code == exit_codes.DONE
        released.append(True)
        first.communicate(timeout=30)
    finally:
        released.append(True)
        first.kill()
    assert first.returncode == 0
    trip.check_arrived()
