"""Rows for AgentOps' service: every event arrives once, whatever happens to requests, answers and workers."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import localops
from localops import decorators
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.transfer import removal
from localops.transfer.delivery import Ledger, Limits
from localops.transfer.remotes import Remote
from localops_sync.budget import PassBudget
from localops_sync.sink import Blocked, Offline, Trouble
from localops_sync.sinks import agentops_api
from localops_sync.sinks.agentops import EVENTS, AgentOps
from localops_sync.transport import Transport
from tests import programs
from tests.examples import examples
from tests.sync.agentops_server import KEY, TABLES, Service, serving
from tests.sync.homes import without_waiting


@pytest.fixture
def service() -> Service:
    """Return the service, empty."""
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    """Its address."""
    with serving(service) as address:
        yield address


class Worker:
    """A process that syncs one project to one remote, without waiting."""

    def __init__(
        self, url: str, folder: str | None = None, *, sleep: Callable[[float], object] = without_waiting, **options: Any
    ) -> None:
        self.folder = folder or programs.project()
        self.remote = Remote(**{"name": "there", "url": url, "kind": "agentops", "key": KEY, **options})
        self.journal = Journal(self.folder)
        self.journal.fold()
        self.reader = Reader(self.journal.path)
        self.ledger = Ledger(self.reader, self.folder, self.remote.name)
        transport = Transport(self.remote, budget=PassBudget(sleep=sleep))
        self.sink = AgentOps(self.remote, self.reader, self.folder, transport)
        self.refused: dict[int, str] = {}

    def run(self, many: int = 2000, *, settle: bool = True) -> int:
        """Send what the remote lacks; how many events were new there."""
        stored = 0
        for batch in self.ledger.batches(Limits(rows=many, metadata_only=self.remote.metadata_only)):
            ack = self.sink.send(batch)
            stored += ack.stored
            self.refused |= ack.refused
            if settle:
                self.ledger.settle(self.journal, batch, ack)
        return stored

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *failure: object) -> None:
        self.sink.close()
        self.reader.close()
        self.journal.close()


def sync(url: str, **options: Any) -> dict[int, str]:
    """Run a pass from its beginning to its end; return the refused rows."""
    with Worker(url, **options) as worker:
        worker.run()
        return worker.refused


def until_done(url: str, *, restart: bool, many: int = 2000, **options: Any) -> int:
    """Repeat passes, through every failure, until nothing is left; return the number of failures."""
    worker = Worker(url, **options)
    for troubles in range(200):
        try:
            worker.run(many)
        except Trouble:
            if restart:
                worker.__exit__()
                worker = Worker(url, **options)
        else:
            worker.__exit__()
            return troubles
    raise AssertionError("it never came to an end")


def record(many: int = 3, *, end: str | None = "Success") -> localops.Session:
    """Record a run with rows for each table, by an agent."""
    session = localops.start_session(tags=["one", "two"])
    assert session is not None
    agent = session.create_agent("researcher")
    for index in range(many):
        llm = localops.LLMEvent(model="gpt-4o", prompt="hi", completion="ho", prompt_tokens=10, completion_tokens=index)
        session.record(llm)
        session.record(localops.ToolEvent(name="search", params={"q": index}, returns=[index], agent_id=agent))
        session.record(localops.ActionEvent(action_type="think"))
        session.record(localops.ErrorEvent(trigger_event=llm, error_type="Oops", details=f"number {index}"))
    if end is not None:
        session.end_session(end)
    return session


def there(service: Service) -> Counter[str]:
    """Return how often each event is there, by what is unique to it."""
    named = [str(row["id"]) for table in TABLES if table != "errors" for row in service.rows[table]]
    return Counter(named + [json.dumps([row["timestamp"], row["details"]]) for row in service.rows["errors"]])


def assert_once(service: Service) -> None:
    """Check that every event of the journal is there once, counted once, and each session in its state."""
    with programs.reader() as reader:
        counts = there(service)
        assert set(counts.values()) <= {1}
        for session in programs.sessions():
            figures = analytics.totals(reader, session)
            id = str(uuid.UUID(bytes=session))
            assert [_many(service, table, id) for table in ("llms", "tools", "errors")] == [
                figures.llms,
                figures.tools,
                figures.errors,
            ]
            assert sum(_many(service, table, id) for table in TABLES) == figures.events
            stats = service.stats[id]
            assert (stats["events"], stats["errors"]) == (figures.events, figures.errors)
            assert (stats["prompt_tokens"], stats["completion_tokens"]) == (figures.tokens_in, figures.tokens_out)
            assert (stats["cost"] or 0) == pytest.approx(figures.cost / 1e9)
            state = {"Failure": "Fail"}.get(state := programs.standing(session).state, state)
            assert service.sessions[id]["end_state"] == (state if state != "Running" else "Indeterminate")
            assert (service.sessions[id]["end_timestamp"] is None) == (state == "Running")


def _many(service: Service, table: str, session: str) -> int:
    return sum(row["session_id"] == session for row in service.rows[table])


def asked(service: Service, what: str) -> list[Any]:
    """Return the bodies of the requests of a kind."""
    return [body for _, path, body in service.asked if path.endswith(what)]


# What arrives


def test_a_run_arrives_with_everything_the_service_has_columns_for(service: Service, url: str) -> None:
    """Session, agent and events stand there as its own clients would have written them."""
    session = record(1)
    assert sync(url) == {}
    assert_once(service)
    [row] = service.sessions.values()
    assert (row["id"], row["tags"], row["end_state"]) == (str(session.session_id), '["one", "two"]', "Success")
    assert row["host_env"]["SDK"]["Name"] == "localops"
    assert row["init_timestamp"] < row["end_timestamp"]
    assert [agent["name"] for agent in service.agents.values() if agent["name"] != "Default Agent"] == ["researcher"]
    [llm], [tool], [action], [error] = (service.rows[table] for table in ("llms", "tools", "actions", "errors"))
    assert (llm["model"], llm["prompt"], llm["prompt_tokens"]) == ("gpt-4o", {"type": "string", "string": "hi"}, 10)
    assert llm["cost"] == pytest.approx(10 * 2.5e-6)
    assert (tool["name"], tool["params"], tool["returns"]) == ("search", '{"q":0}', "[0]")
    assert service.agents[tool["agent_id"]]["name"] == "researcher"
    assert action["action_type"] == "think"
    assert (error["trigger_event_id"], error["trigger_event_type"]) == (llm["id"], "llms")
    assert (error["error_type"], error["details"]) == ("Oops", "number 0")


def test_the_service_fails_as_fail(service: Service, url: str) -> None:
    """A Failure is sent under the service's own word for it, with its reason."""
    session = record(1, end=None)
    session.end_session("Failure", "no money left")
    sync(url)
    [row] = service.sessions.values()
    assert (row["end_state"], row["end_state_reason"]) == ("Fail", "no money left")


def test_kinds_without_a_table_are_actions(service: Service, url: str) -> None:
    """Operations of every kind arrive with input and output, named as later clients of the service name spans."""
    session = localops.start_session()
    assert session is not None

    @decorators.tool
    def look(what: str) -> str:
        return what.upper()

    @decorators.task(name="step")
    def step() -> str:
        return look("here")

    @decorators.agent(name="helper")
    def helper() -> str:
        return step()

    @decorators.guardrail(name="gate")
    def gate() -> str:
        return helper()

    gate()
    session.record(localops.Event("retrieval", name="docs"))
    session.end_session("Success")
    assert sync(url) == {}
    types = {row["action_type"]: row["returns"] for row in service.rows["actions"]}
    assert types == {"step.task": "HERE", "helper.agent": "HERE", "gate.guardrail": "HERE", "docs.retrieval": None}
    [tool] = service.rows["tools"]
    assert json.loads(tool["params"])["what"] == "here"
    assert service.agents[tool["agent_id"]]["name"] == "helper"


@pytest.mark.parametrize(
    "event",
    [
        localops.ActionEvent(action_type="a", params={"x": "\0"}, returns=7, logs={"l": 1}, screenshot="no/such/file"),
        localops.ActionEvent(action_type="a", screenshot="https://pictures.example/1.png"),
        localops.ActionEvent(params=[1], returns=float("nan")),
        localops.ToolEvent(returns={"a": [1]}, logs=[1, {"b": 2}]),
        localops.LLMEvent(prompt=[{"role": "user", "content": "x\0y"}], completion={"role": "assistant"}),
        localops.LLMEvent(prompt=[{"role": 1, "content": [{"type": "text"}]}], completion=["a", "b"], thread_id="t"),
        localops.LLMEvent(prompt=[{"deep": [1]}], completion=12, model="none-such", returns=True),
        localops.ErrorEvent(error_type="E", code=404, details={"x": 1}, logs=["l"]),
        localops.ErrorEvent(trigger_event=localops.Event("strange", name="\0")),
    ],
)
def test_no_value_makes_the_service_fail(service: Service, url: str, event: localops.Event) -> None:
    """A value of any type is sent as the type of its column."""
    session = localops.start_session()
    assert session is not None
    session.record(event)
    session.end_session("Success")
    assert sync(url) == {}
    assert_once(service)


def test_an_unknown_agent_is_created_before_its_events(service: Service, url: str) -> None:
    """An event under a made-up agent id is not refused for it."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.ActionEvent(action_type="x", agent_id="0b0e8f5e-8d6c-4a0e-9a52-3f7f1d2f7a11"))
    session.end_session("Success")
    assert sync(url) == {}
    assert service.rows["actions"][0]["agent_id"] in service.agents


def test_requests_are_small_and_of_one_table(service: Service, url: str) -> None:
    """The service then handles a request as one INSERT, which is done or not done."""
    record(60)
    sync(url)
    requests = [Counter(event["event_type"] for event in body["events"]) for body in asked(service, "create_events")]
    assert all(len(kinds) == 1 and kinds.total() <= EVENTS for kinds in requests)
    assert len(requests) == 4 * 3
    assert_once(service)


def test_a_remote_for_metadata_gets_no_content(service: Service, url: str) -> None:
    """Figures and names go there; prompts, inputs, outputs, messages and reasons stay."""
    session = localops.start_session()
    assert session is not None
    session.set_video("https://videos.example/secret")

    @decorators.tool
    def search(query: str) -> str:
        raise ValueError(f"secret {query}")

    with pytest.raises(ValueError, match="secret"):
        search("secret")
    session.record(localops.LLMEvent(model="gpt-4o", prompt="secret", completion="secret", prompt_tokens=3))
    session.end_session("Failure", "secret")
    assert sync(url, metadata_only=True) == {}
    assert "secret" not in json.dumps([body for _, _, body in service.asked])
    assert service.rows["llms"][0]["prompt_tokens"] == 3
    assert service.rows["errors"][0]["error_type"] == "ValueError"


# Exactly once


_TROUBLES = ("before", "after", "garbled", "503", "500", "failed")


@pytest.mark.parametrize("restart", [False, True], ids=["same process", "killed"])
@pytest.mark.parametrize("weather", _TROUBLES)
def test_trouble_at_any_step_leaves_each_event_once(service: Service, url: str, weather: str, restart: bool) -> None:
    """Whichever request is not answered, committed or not, in this process or the next: rows and figures are right."""
    record(3)
    record(1, end="Failure")
    # Only one of eight steps is tried in the same process, and one in the next; scripts/stress tries each in both.
    both = examples(1) > 1
    for step in range(0 if both else (_TROUBLES.index(weather) + 4 * restart) % 8, 100, 1 if both else 8):
        fresh = Service()
        service.__dict__.update(fresh.__dict__)
        service.weather = lambda nth, path, step=step: weather if nth == step else None  # type: ignore[misc]
        troubles = until_done(url, restart=restart, many=12, name=f"step{step}")
        assert_once(service)
        if len(service.asked) <= step:
            break
    assert step > 15
    assert troubles == 0


def test_an_answer_that_was_not_noted_is_read_back(service: Service, url: str) -> None:
    """A worker that dies between the service's answer and its own note sends nothing twice."""
    record(40)
    for _ in range(3):
        with Worker(url) as worker:
            worker.run(settle=False)
    assert sync(url) == {}
    assert_once(service)


def test_a_request_that_broke_off_has_its_time_before_a_look(service: Service, url: str) -> None:
    """The service may still be working on it: its rows are read back once that is over."""
    record(3)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        with service.lock:
            service.catch_up()

    service.weather = lambda nth, path: "late" if path.endswith("create_events") else None
    with Worker(url, sleep=wait) as worker:
        with pytest.raises(Offline):
            worker.run()
        service.weather = lambda nth, path: None
        worker.run()
    assert_once(service)
    assert len(waited) == 1


def test_notes_that_could_not_be_kept_cost_a_look(service: Service, url: str) -> None:
    """If the same process sends rows that it has delivered before, none of them is stored twice."""
    record(40)
    with Worker(url) as worker:
        assert worker.run(many=50, settle=False) == 160
        assert worker.run(many=50, settle=False) == 0
    assert sync(url) == {}
    assert_once(service)


def test_rows_that_cannot_be_looked_up_are_not_sent_again(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If too much is there to be read back, rows that may be among it are set aside; others are sent."""
    monkeypatch.setattr(agentops_api, "LONGEST", 1000)
    record(10, end=None)
    with Worker(url) as worker:
        worker.run(settle=False)
    record(1)
    refused = sync(url)
    assert {why.partition(":")[0] for why in refused.values()} == {
        "it may be there already, and that cannot be looked up"
    }
    assert set(there(service).values()) == {1}
    assert sorted(stats["events"] for stats in service.stats.values()) == [4, 40]


@pytest.mark.parametrize("loss", ["file", "garbage", "books", "journal"])
def test_without_its_notes_everything_is_read_back(service: Service, url: str, loss: str) -> None:
    """A lost note, notes that were set back and a copied journal cost a look, and no event is sent twice."""
    record(40, end=None)
    with Worker(url) as worker:
        worker.run(many=50)
        note = Path(worker.folder, "agentops-there.json")
        if loss == "file":
            note.unlink()
        elif loss == "garbage":
            note.write_bytes(b"[1")
        elif loss == "journal":
            worker.journal.renew()
        worker.ledger.keep_only(worker.journal, [(1, 7)])
    record(1)
    assert sync(url) == {}
    assert_once(service)


@pytest.mark.parametrize("metadata_only", [False, True])
def test_equal_errors_are_distinguished_by_their_number(service: Service, url: str, metadata_only: bool) -> None:
    """The service has no id of an error; five equal ones arrive as five, through any trouble."""
    session = localops.start_session()
    assert session is not None
    at = "2026-01-01T00:00:00+00:00"
    for index in range(5):
        details = f"number {index}" if metadata_only else "alike"  # which stays here
        session.record(localops.ErrorEvent(error_type="Timeout", details=details, init_timestamp=at))
    with Worker(url, metadata_only=metadata_only) as worker:
        batch = next(worker.ledger.batches(Limits(rows=4, metadata_only=metadata_only)))
        worker.ledger.settle(worker.journal, batch, worker.sink.send(batch))
    session.end_session("Success")
    service.weather = lambda nth, path: "after" if path.endswith("create_events") and nth < 8 else None
    until_done(url, restart=True, metadata_only=metadata_only)
    assert len(service.rows["errors"]) == 5
    assert service.stats[str(session.session_id)]["events"] == 5


def test_a_failure_in_the_search_for_one_is_handled_as_well(service: Service, url: str) -> None:
    """The service fails on a request, and fails again on its half, which it has stored by then."""
    record(4)
    tries = iter(["500", "failed", None, None, None])

    def weather(nth: int, path: str) -> str | None:
        body = service.asked[nth][2] or {}
        return next(tries) if any(event["event_type"] == "tools" for event in body.get("events", ())) else None

    service.weather = weather
    assert sync(url) == {}
    assert_once(service)


def test_what_is_in_doubt_stays_in_doubt_when_another_session_breaks_off(service: Service, url: str) -> None:
    """Events of one session went in under a failure, then the next one has no network: the first is looked up."""
    record(2)
    record(2)

    def weather(nth: int, path: str) -> str | None:
        body = service.asked[nth][2] or {}
        if any(event["event_type"] == "tools" for event in body.get("events", ())):
            return "failed"
        return "before" if path.endswith("create_session") and service.sessions else None

    service.weather = weather
    with Worker(url) as worker:
        with pytest.raises(Offline):
            worker.run()
        service.weather = lambda nth, path: None
        worker.run()
    assert_once(service)


_WEATHER = st.sampled_from([None, None, None, "before", "after", "garbled", "failed", "500", "503", "429"])


@settings(max_examples=examples(10), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    weather=st.lists(_WEATHER, max_size=40),
    restarts=st.lists(st.booleans(), min_size=1, max_size=8),
    many=st.integers(3, 60),
)
def test_after_any_history_each_event_is_there_once(
    service: Service, url: str, weather: list[str | None], restarts: list[bool], many: int
) -> None:
    """Any faults in any order, with workers that die at any of them."""
    if not os.path.exists(programs.project()):
        record(6)
        record(2, end="Failure")
    service.__dict__.update(Service().__dict__)
    service.weather = lambda nth, path: weather[nth] if nth < len(weather) else None
    name = f"r{len(list(Path(programs.project()).glob('agentops-*')))}"
    worker = Worker(url, name=name)
    for turn in range(100):
        try:
            worker.run(many)
            break
        except Trouble:
            if restarts[turn % len(restarts)]:
                worker.__exit__()
                worker = Worker(url, name=name)
    worker.__exit__()
    assert_once(service)


_PASS = """
import sys
from localops_sync import worker
from localops.transfer.remotes import Remote
from localops.transfer import delivery
remote = Remote("there", sys.argv[1], kind="agentops", key=sys.argv[2])
outcome = worker.sync(sys.argv[3], "default", remote, limits=delivery.Limits(rows=9))
print(outcome.code, outcome.left, *outcome.notes)
"""


def _killing(pid: int, at: int) -> Callable[[int, str], str | None]:
    """Kills a worker at a request, which goes through or not."""

    def weather(nth: int, path: str) -> str | None:
        if nth != at:
            return None
        os.kill(pid, signal.SIGKILL)
        return "after" if at % 2 else "before"

    return weather


def test_workers_killed_at_any_step_leave_each_event_once(service: Service, url: str) -> None:
    """Real processes are killed before and after the service has committed."""
    record(4)
    home = os.environ["LOCALOPS_HOME"]
    kills = 0
    for step in cycle((2, 4, 5, 7)):
        program = programs.start(_PASS, url, KEY, home)
        service.weather = _killing(program.pid, len(service.asked) + step)
        output, _ = program.communicate(timeout=60)
        if program.returncode == 0:
            break
        assert program.returncode == -signal.SIGKILL
        kills += 1
    assert output.split()[:2] == ["0", "0"]
    assert kills > 3
    assert_once(service)


# Over time


def test_a_running_session_is_updated_without_reading_it_back(service: Service, url: str) -> None:
    """Each pass makes only small requests, sends what is new, and the end after it was recorded."""
    session = record(3, end=None)
    sync(url)
    assert_once(service)
    session.record(localops.ActionEvent(action_type="later"))
    session.add_tags("three")
    already = len(service.asked)
    sync(url)
    assert_once(service)
    assert json.loads(service.sessions[str(session.session_id)]["tags"]) == ["one", "two", "three"]
    session.end_session("Success")
    sync(url)
    assert_once(service)
    assert not [path for _, path, _ in service.asked[already:] if path.endswith("export")]
    assert len(asked(service, "create_session")) == 1


def test_a_session_that_is_continued_is_open_again(service: Service, url: str) -> None:
    """A later job joins the session: its end is removed there, and written again when it ends again."""
    session = record(1)
    sync(url)
    again = localops.start_session(inherited_session_id=session.session_id)
    assert again is not None
    again.record(localops.ActionEvent(action_type="more"))
    sync(url)
    assert service.sessions[str(session.session_id)]["end_timestamp"] is None
    again.end_session("Failure", "after all")
    sync(url)
    assert service.sessions[str(session.session_id)]["end_state"] == "Fail"
    assert_once(service)


def test_a_session_of_several_machines_is_one(service: Service, url: str, tmp_path: Path) -> None:
    """Each machine syncs its own journal; the session is created once, and no event is sent twice."""
    session = record(2)
    code = """
import sys, localops
session = localops.init(inherited_session_id=sys.argv[1])
session.record(localops.ToolEvent(name="elsewhere"))
session.record(localops.ErrorEvent(error_type="Elsewhere"))
"""
    elsewhere = str(tmp_path / "elsewhere")
    assert programs.run(code, session.session_id, env={"LOCALOPS_HOME": elsewhere}).returncode == 0
    folder = os.path.join(elsewhere, "default")
    for _ in range(2):
        sync(url, folder=folder)
        sync(url)
    with Worker(url, folder=folder) as worker:
        removal.forget(worker.ledger, worker.journal)
        assert worker.run() == 0
    assert len(service.sessions) == 1
    assert [row["name"] for row in service.rows["tools"]].count("elsewhere") == 1
    assert len(service.rows["errors"]) == 3
    assert set(there(service).values()) == {1}


def test_a_late_event_moves_the_end(service: Service, url: str) -> None:
    """An event after the end is sent, and the session lasts until then, as it does here."""
    session = record(1)
    sync(url)
    before = service.sessions[str(session.session_id)]["end_timestamp"]
    session.record(localops.ActionEvent(action_type="late"))
    sync(url)
    assert service.sessions[str(session.session_id)]["end_timestamp"] > before
    assert_once(service)


def test_a_token_that_expires_in_the_middle_is_renewed(service: Service, url: str) -> None:
    """A day passes between two requests of a backlog: nothing is lost, and nothing is sent twice."""
    record(60)

    def night(nth: int, path: str) -> None:
        if nth % 5 == 4:
            service.expire()

    service.weather = night
    assert sync(url) == {}
    assert len(asked(service, "reauthorize_jwt")) > 2
    assert_once(service)


def test_a_price_that_comes_later_changes_nothing_there(service: Service, url: str) -> None:
    """The service has no update for it: its row counts as sent, and no request is made for it."""
    session = record(1)
    sync(url)
    with Worker(url) as worker:
        price = rows.make("price", session.session_id.bytes, id=os.urandom(16), at_ns=session.began_ns, cost=5)
        worker.journal.add([price])
        already = len(service.asked)
        worker.run()
        assert worker.ledger.gaps() == []
    assert len(service.asked) == already


# What is refused, and by whom


def test_a_row_that_is_refused_is_named_and_holds_up_nothing(service: Service, url: str) -> None:
    """One poison row among many is found by halves; all others are there, once."""
    session = record(60)
    service.refuses = lambda event: event["params"] == '{"q":31}'
    refused = sync(url)
    assert [why.partition(": ")[2][:40] for why in refused.values()] == ["{'code': '22023', 'message': 'this row c"]
    assert set(there(service).values()) == {1}
    assert len(service.rows["tools"]) == 59
    assert len(asked(service, "create_events")) <= 12 + 2 * 5 + 4
    assert service.sessions[str(session.session_id)]["end_state"] == "Success"


def test_a_session_that_is_refused_does_not_hold_up_others(service: Service, url: str) -> None:
    """Its rows are refused with the service's message; those of other sessions arrive."""
    session = record(1)
    service.weather = lambda nth, path: (
        "422" if path.endswith("create_session") and not service.sessions and nth < 3 else None
    )
    record(1)
    refused = sync(url)
    assert refused
    assert str(session.session_id) not in service.sessions
    assert len(service.sessions) == 1
    assert len(service.rows["llms"]) == 1


def test_what_is_too_large_together_goes_in_parts(service: Service, url: str) -> None:
    """After a 413 less is sent at a time."""
    record(20)
    service.weather = lambda nth, path: "413" if nth in (3, 4, 6) else None
    assert sync(url) == {}
    assert_once(service)


def test_a_service_that_fails_on_actions_gets_everything_else(service: Service, url: str) -> None:
    """The newest source of the service cannot take actions: they are set aside after a few tries, and can go later."""
    record(30)
    service.actions_fail = True
    with Worker(url) as worker:
        worker.run()
        assert len(worker.refused) == 30
        assert [len(service.rows[table]) for table in ("llms", "tools", "errors", "actions")] == [30, 30, 30, 0]
        assert len(asked(service, "create_events")) < 6 + 20
        service.actions_fail = False
        assert worker.ledger.unpark(worker.journal) == 30
    assert sync(url) == {}
    assert_once(service)


def test_a_service_that_fails_on_everything_is_down(service: Service, url: str) -> None:
    """No event is blamed for it: all rows wait."""
    record(30)
    service.weather = lambda nth, path: "500" if path.endswith("create_events") else None
    with Worker(url) as worker, pytest.raises(Offline) as caught:
        worker.run()
    assert caught.value.answered
    service.weather = lambda nth, path: None
    assert sync(url) == {}
    assert_once(service)


def test_an_event_on_which_the_service_fails_is_found(service: Service, url: str) -> None:
    """One among many that get through is set aside with the service's message."""
    record(30)
    poisoned = '{"q":17}'

    def weather(nth: int, path: str) -> str | None:
        body = service.asked[nth][2] or {}
        return "500" if any(event["params"] == poisoned for event in body.get("events", ())) else None

    service.weather = weather
    assert len(sync(url)) == 1
    assert len(service.rows["tools"]) == 29
    assert set(there(service).values()) == {1}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "needs the key"),
        ("lo_not_a_uuid", "UUID"),
        ("22222222-2222-4222-8222-222222222222", "does not accept the key"),
    ],
)
def test_a_key_that_cannot_be_right_needs_a_person(url: str, key: str | None, message: str) -> None:
    """Nothing is sent, and the message names the problem, without the key."""
    record(1)
    with Worker(url, key=key) as worker:
        for ask in (worker.sink.check, worker.run):
            with pytest.raises(Blocked, match=message) as caught:
                ask()
            assert key is None or key not in str(caught.value)


def test_a_valid_key_is_reported(url: str) -> None:
    """`localops remote test` names the server that accepted the key."""
    record(1)
    with Worker(url) as worker:
        assert worker.sink.check().endswith("takes this key")


def test_an_address_of_something_else_needs_a_person(url: str) -> None:
    """A wrong path is found before anything is sent."""
    record(1)
    with Worker(f"{url}/elsewhere") as worker, pytest.raises(Blocked, match="check the URL"):
        worker.sink.check()


def test_nothing_is_sent_that_could_not_be_noted_before(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the note cannot be written, a later worker could not know of the request: so nothing is sent."""
    record(1)
    with Worker(url) as worker:
        os.mkdir(os.path.join(worker.folder, "agentops-there.json"))
        with pytest.raises(Blocked, match="nothing was sent"):
            worker.run()
    assert service.asked == []


def test_the_rows_of_the_journal_itself_need_no_request(service: Service, url: str) -> None:
    """A row that belongs to no session counts as sent at once."""
    with Worker(url) as worker:
        assert worker.ledger.has_work()
        worker.run()
        assert not worker.ledger.has_work()
    assert service.asked == []
