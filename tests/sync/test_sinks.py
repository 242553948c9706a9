"""The promises of every sink, tested with each of them and real servers: nothing lost, nothing twice, no false ack."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.transfer import delivery
from localops.transfer.remotes import KINDS, Remote
from localops_sync import exit_codes, worker
from localops_sync.budget import PassBudget
from localops_sync.exit_codes import Outcome
from tests.server.hubs import hub
from tests.sync import agentops_server, chaos
from tests.sync.homes import without_waiting
from tests.sync.otlp_collector import Collector

KEY = "11111111-1111-4111-8111-111111111111"
NAMES = [f"step {n}" for n in range(12)]


class Place:
    """A remote of one kind: a server that works, a proxy in front that breaks on request, and what arrived."""

    def __init__(self, kind: str, url: str, key: str, arrived: Callable[[], list[str]]) -> None:
        self.kind, self.arrived = kind, arrived
        self.weather = chaos.Chaos(behind=url)
        self.remote = Remote("there", self.weather.url, kind=kind, key=key)

    def sync(self, **remote: Any) -> Outcome:
        """Run a pass of the home in the environment."""
        target = Remote(**{**vars(self.remote), **remote})
        return worker.sync(os.environ["LOCALOPS_HOME"], "default", target, budget=PassBudget(sleep=without_waiting))


def _hub(stack: ExitStack, folder: Path) -> Place:
    real = stack.enter_context(hub(folder))

    def arrived() -> list[str]:
        with Reader(str(real.folder / "journal.db")) as reader:
            return [row.name or "" for row in reader.stream() if row.kind == "tool"]

    return Place("hub", real.url, real.key, arrived)


def _otlp(stack: ExitStack, _: Path) -> Place:
    collector = Collector()
    stack.callback(collector.close)

    def arrived() -> list[str]:
        """Return the names of the spans; a back end shows spans of one id as one."""
        spans = {span.span_id: span.name.removeprefix("execute_tool ") for span in collector.spans()}
        return [name for name in spans.values() if name.startswith("step ")]

    return Place("otlp", collector.url, KEY, arrived)


def _agentops(stack: ExitStack, _: Path) -> Place:
    service = agentops_server.Service()
    url = stack.enter_context(agentops_server.serving(service))
    return Place("agentops", url, agentops_server.KEY, lambda: [row["name"] for row in service.rows["tools"]])


_MADE = {"hub": _hub, "otlp": _otlp, "agentops": _agentops}


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Return each kind of remote in turn."""
    with ExitStack() as stack:
        made = _MADE[request.param](stack, tmp_path)
        stack.callback(made.weather.stop)
        yield made


@pytest.fixture(autouse=True)
def _recorded() -> None:
    """Record a session with a dozen tool calls, each with its own name."""
    session = localops.start_session(name="work", tags=["tag"])
    assert session is not None
    for name in NAMES:
        session.record(localops.ToolEvent(name=name, params={"text": f"SECRET of {name}"}, returns="SECRET"))
    session.end_session("Success", "SECRET")


def _ledger(name: str = "there") -> delivery.Ledger:
    folder = os.path.join(os.environ["LOCALOPS_HOME"], "default")
    return delivery.Ledger(Reader(os.path.join(folder, "journal.db")), folder, name)


def test_everything_arrives_and_then_no_request_is_made(place: Place) -> None:
    """A pass delivers each event once; the next makes no request."""
    outcome = place.sync()
    assert (outcome.code, outcome.left) == (exit_codes.DONE, 0)
    assert sorted(place.arrived()) == sorted(NAMES)
    before = len(place.weather.seen)
    assert place.sync().code == exit_codes.DONE
    assert len(place.weather.seen) == before


@pytest.mark.parametrize("fault", [chaos.reset_after, chaos.status_after(500), chaos.truncated(), chaos.reset])
def test_lost_answers_lose_and_double_nothing(place: Place, fault: chaos.Behaviour) -> None:
    """Whichever answer is lost, the passes after it end with each event there once."""
    for step in range(1, 6):
        place.weather.then(*[chaos.passed] * step, fault)
        place.sync()
        place.weather.calm()
    assert place.sync().code in (exit_codes.DONE, exit_codes.PARKED)
    assert place.sync().code == exit_codes.DONE
    assert Counter(place.arrived()) == Counter(NAMES)


def test_a_refused_row_holds_up_nothing(place: Place) -> None:
    """A refused row is parked with its reason; everything else arrives, and so does the row when it is retried."""

    def refuse(exchange: chaos.Exchange) -> None:
        bad = exchange.request.method == "POST" and b"step 7" in chaos.inflated(exchange.request)
        (chaos.status(422, {"message": "indigestible"}) if bad else chaos.passed)(exchange)

    place.weather.always(refuse)
    assert place.sync().code == exit_codes.PARKED
    assert sorted(place.arrived()) == sorted(set(NAMES) - {"step 7"})
    ledger = _ledger()
    assert any("indigestible" in row.reason for row in ledger.parked())
    place.weather.calm()
    journal = Journal(ledger.folder)
    ledger.unpark(journal)
    journal.close()
    assert place.sync().code == exit_codes.DONE
    assert sorted(place.arrived()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (chaos.status(503), exit_codes.OFFLINE),
        (chaos.status(429, retry_after="1"), exit_codes.OFFLINE),
        (chaos.page(), exit_codes.OFFLINE),
        (chaos.reset, exit_codes.OFFLINE),
        (chaos.status(401), exit_codes.ACT),
        (chaos.status(402), exit_codes.ACT),
        (chaos.status(403), exit_codes.ACT),
        (chaos.status(404), exit_codes.ACT),
        (chaos.redirect(302, "http://127.0.0.1:1/elsewhere"), exit_codes.ACT),
    ],
)
def test_a_fault_keeps_every_row(place: Place, fault: chaos.Behaviour, code: int) -> None:
    """While a fault lasts nothing counts as sent and nothing is parked; afterwards everything arrives once."""
    place.weather.always(fault)
    outcome = place.sync()
    assert (outcome.code, outcome.sent, outcome.parked) == (code, 0, 0)
    assert outcome.message
    assert KEY not in outcome.message
    place.weather.calm()
    assert place.sync().code == exit_codes.DONE
    assert Counter(place.arrived()) == Counter(NAMES)


def test_content_stays_here_for_a_metadata_only_remote(place: Place) -> None:
    """No request to such a remote holds recorded content, and the events are there all the same."""
    assert place.sync(metadata_only=True).code == exit_codes.DONE
    assert not [request for request in place.weather.seen if b"SECRET" in chaos.inflated(request)]
    assert sorted(place.arrived()) == sorted(NAMES)


def test_later_rows_are_sent_later(place: Place) -> None:
    """A session that is sent while it runs, and one that continues after its end, arrive whole."""
    session = localops.start_session(name="running")
    assert session is not None
    session.record(localops.ToolEvent(name="step early"))
    assert place.sync().code == exit_codes.DONE
    session.record(localops.ToolEvent(name="step late"))
    session.end_session("Success")
    assert place.sync().code == exit_codes.DONE
    assert Counter(place.arrived()) == Counter([*NAMES, "step early", "step late"])


def test_the_check_says_who_is_there(place: Place) -> None:
    """`remote test` asks each kind whether it would take rows, and sends none."""
    from localops_sync import remote_test

    ledger = _ledger()
    findings = list(remote_test.run(place.remote, ledger.reader, ledger.folder))
    assert [finding.step for finding in findings][:2] == ["name", "connection"]
    assert all(finding.ok for finding in findings)
    assert place.arrived() == []
