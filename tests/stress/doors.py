"""Senders of every door of a hub, which send until each request is acknowledged, and know what the hub must have."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from random import Random
from typing import Any

from localops.journal.journal import Journal
from localops.otlp import assembly, records
from localops.otlp.spans import row_id
from tests.server.agentops_clients import Client, moment
from tests.server.hubs import RealHub, session_rows
from tests.server.spans import (
    AGENT,
    BOTH,
    CALL,
    T0,
    TOOL,
    encoded,
    log_request,
    new_trace,
    pairs,
    request,
    send,
    span,
)
from tests.sync.homes import Sender

CALL_COST = 3_000_000  # of CALL, in nano-dollars
EVENT_COST = 12_500_000  # of a call of Client
_LARGE = 0.02  # of the calls have a long text
_ALONE = 0.1  # of the traces have no root: their program was killed
_TOGETHER = 0.2  # of the traces share a session
_STATES = [("Success", "Success"), ("Fail", "Failure"), ("Indeterminate", "Indeterminate")]
_LONGEST = 300.0  # seconds until a request is taken
_AGAIN = (429, 500, 502, 503, 504)


@dataclass
class Truth:
    """What a session must have when all was sent."""

    state: str | None = None
    name: str | None = None
    tags: tuple[str, ...] | None = None
    figures: Counter[str] = field(default_factory=Counter)
    rows: set[bytes] = field(default_factory=set)  # ids
    # Of rows: the row that it is in.
    parents: dict[bytes, bytes] = field(default_factory=dict)
    # By the id of a log record: the row of its span, which it may have become a part of.
    records: dict[bytes, bytes] = field(default_factory=dict)


class Line(RealHub):
    """A hub as a sender sees it: through a proxy."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key, self.process = url, key, None


class Machine(threading.Thread):
    """A machine that sends, round by round, until it is stopped."""

    door = ""

    def __init__(self, line: Line, project: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.line, self.project, self.random = line, project, Random(seed)
        self.stopped = threading.Event()
        self.failed: BaseException | None = None
        self.truth: dict[bytes, Truth] = {}
        self.sent = self.tries = 0

    def run(self) -> None:
        """Send in turn."""
        try:
            while not self.stopped.is_set():
                self.round()
                self.stopped.wait(self.random.uniform(0.0, 0.2))
        except BaseException as error:
            self.failed = error

    def round(self) -> None:
        """Record something, and send it."""
        raise NotImplementedError

    def of(self, session: bytes) -> Truth:
        """Return what is known of a session."""
        return self.truth.setdefault(session, Truth())

    def until_taken(self, post: Callable[[], tuple[int, Any]]) -> Any:
        """Send a request until it is acknowledged; return the answer."""
        self.sent += 1
        wait, deadline = 0.05, time.monotonic() + _LONGEST
        while True:
            self.tries += 1
            try:
                status, reply = post()
            except (OSError, HTTPException, ValueError):
                status, reply = 503, None
            if status == 200:
                return reply
            assert status in _AGAIN, (status, reply)
            assert time.monotonic() < deadline, ("a request is never taken", status, reply)
            time.sleep(wait)
            wait = min(1.0, wait * 2)


class Recorder(Machine):
    """A machine with our own library and its sync."""

    door = "sync"

    def __init__(self, line: Line, project: str, seed: int, sender: Sender) -> None:
        super().__init__(line, project, seed)
        self.sender = sender

    def round(self) -> None:
        """Record a session or two, and send them in one pass."""
        journal = Journal(self.sender.folder)
        for _ in range(self.random.randint(1, 2)):
            calls = self.random.randint(1, 20)
            made = session_rows(calls)
            for row in made:
                assert journal.append(row)
            truth = self.of(made[0][2])
            truth.state, truth.name, truth.tags = "Success", "a run", ("nightly",)
            truth.figures.update(llm_calls=calls, tokens_in=10 * calls, tokens_out=2 * calls, cost_nano=7 * calls)
            truth.rows |= {row[0] for row in made}
        journal.close()
        self.sent += 1
        self.sender.sync()


class Exporter(Machine):
    """A machine with OpenTelemetry, whose batches overtake one another."""

    door = "otlp"
    _together = ""

    def round(self) -> None:
        """Make traces, and send their spans and records in any order."""
        spans: list[dict[str, Any]] = []
        log: list[dict[str, Any]] = []
        for _ in range(self.random.randint(1, 4)):
            of_trace, of_log = self._trace()
            spans += of_trace
            log += of_log
        self.random.shuffle(spans)
        batches: list[dict[str, Any]] = []
        while spans:
            many = self.random.randint(1, 40)
            batches.append(request(*spans[:many]))
            spans = spans[many:]
        if log:
            batches.append(log_request(*log))
        self.random.shuffle(batches)
        with ThreadPoolExecutor(3) as pool:
            for _ in pool.map(self._deliver, batches, [self.random.choice(BOTH) for _ in batches]):
                pass

    def _trace(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the spans of a new trace, and log records about them."""
        trace, has_root = new_trace(), self.random.random() >= _ALONE
        about = self._session_of_a_few() if self.random.random() < _TOGETHER else {}
        truth = self.of(assembly.session_of(bytes.fromhex(trace), assembly.named_together(about)))
        made = [span(trace, 2, "invoke_agent Pilot", 1, start=100, took=4_000_000, about={**AGENT, **about})]
        if has_root:
            code = 1 if about else self.random.choice((0, 1, 2))
            name = f"run {trace}"
            made.append(span(trace, 1, name, took=5_000_000, status={"code": code}, about=about))
            truth.figures.update(actions=1)
            truth.state = {0: "Indeterminate", 1: "Success", 2: "Failure"}[code]
            truth.name = None if about else name
        calls, log = self._calls(trace, about, truth)
        made += [*calls, *self._tools(trace, about, truth)]
        for one in made:
            id, around = one["spanId"], one.get("parentSpanId")
            row = _row(trace, id)
            truth.rows.add(row)
            if around and (has_root or around != f"{1:016x}"):
                truth.parents[row] = _row(trace, around)
        return made, log

    def _session_of_a_few(self) -> dict[str, Any]:
        if not self._together or self.random.random() < 0.3:
            self._together = f"s-{uuid.uuid4()}"
        return {"session.id": self._together}

    def _calls(
        self, trace: str, about: dict[str, Any], truth: Truth
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        many = self.random.randint(1, 6)
        made, log = [], []
        for number in range(many):
            id, at = 10 + number, 1_000 * (1 + number)
            more = {"gen_ai.response.id": f"r-{trace}-{number}"}
            if self.random.random() < _LARGE:
                more["soak.text"] = self.random.randbytes(150_000).hex()
            made.append(span(trace, id, "chat gpt-4o", 2, start=at, about={**CALL, **about, **more}))
            if self.random.random() < 0.2:
                log += self._records(trace, id, at + 500)
        figures = {"tokens_in": 1000 * many, "tokens_out": 50 * many, "cost_nano": CALL_COST * many}
        truth.figures.update(llm_calls=many, **figures)
        for record in records.of_json(log_request(*log), _fail) if log else ():
            assert record.span is not None
            truth.records[record.row] = record.span
        return made, log

    def _tools(self, trace: str, about: dict[str, Any], truth: Truth) -> list[dict[str, Any]]:
        made = []
        for number in range(self.random.randint(0, 4)):
            id, at = 100 + number, 1_000_000 + 1_000 * number
            status: dict[str, Any] = (
                {"status": {"code": 2, "message": f"ebb {id}"}} if self.random.random() < 0.3 else {}
            )
            truth.figures.update(tool_calls=1, errors=len(status))
            made.append(span(trace, id, "execute_tool tides", 2, start=at, about={**TOOL, **about}, **status))
        return made

    def _records(self, trace: str, id: int, at: int) -> list[dict[str, Any]]:
        """Return what a call was answered, and a remark on it, as log records."""
        head = {"traceId": trace, "spanId": f"{id:016x}", "timeUnixNano": str(T0 + at)}
        answer = {
            "gen_ai.output.messages": json.dumps(
                [{"role": "assistant", "parts": [{"type": "text", "content": f"four {id}"}], "finish_reason": "stop"}]
            )
        }
        remark = {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": id}
        content = {**head, "eventName": "gen_ai.client.inference.operation.details", "attributes": pairs(answer)}
        return [content, {**head, "eventName": "gen_ai.evaluation.result", "attributes": pairs(remark)}]

    def _deliver(self, document: dict[str, Any], kind: str) -> None:
        body = encoded(document, kind)
        path = "/v1/logs" if "resourceLogs" in document else "/v1/traces"
        headers = {}
        if len(body) % 2:
            body, headers = gzip.compress(body, 1), {"Content-Encoding": "gzip"}

        def post() -> tuple[int, Any]:
            reply = send(self.line, body, kind, path=path, headers=headers)
            return reply.status, reply

        reply = self.until_taken(post)
        assert (reply.refused, reply.message) == (0, ""), reply


class AgentOpsClient(Machine):
    """A program with AgentOps' client of 0.3: a thread that sends events, beside the session's own requests."""

    door = "agentops"

    def round(self) -> None:
        """Run a session from its beginning to its end; some have a second process."""
        client = Client(self.line, tags=("nightly",))
        truth = self.of(uuid.UUID(client.session).bytes)
        self._begin(client)
        processes = [client]
        if self.random.random() < 0.3:
            processes.append(Client(self.line, client.session, tags=("joined",), at=0.5))
            self._begin(processes[1])
        is_late = self.random.random() < 0.2
        with ThreadPoolExecutor(4) as pool:
            running = [each for process in processes for each in self._run(pool, process, truth)]
            tags = self._tag(client)
            if len(processes) > 1:
                self.until_taken(lambda: processes[1].end("Fail", "left", at=30.0))
            if not is_late:
                for each in running:
                    each.result()
            state, truth.state = self.random.choice(_STATES)
            reply = self.until_taken(lambda: client.end(state, "it is over", tags=tags))
            for each in running:
                each.result()
        truth.tags = (*tags, *(["joined"] if len(processes) > 1 else ()))
        if not is_late:
            cost = round(float(reply["token_cost"]) * 10**9)
            assert cost == truth.figures["cost_nano"], (client.session, cost, truth.figures)

    def _run(self, pool: ThreadPoolExecutor, client: Client, truth: Truth) -> list[Future[None]]:
        """Begin to send the agent and the events of a process."""
        agent = {"id": str(uuid.uuid4()), "name": "planner"}
        batches = [self._batch(client, truth, agent["id"]) for _ in range(self.random.randint(1, 3))]
        return [
            pool.submit(self._post, client, "/v2/create_agent", agent),
            *(pool.submit(self._events, client, batch) for batch in batches),
        ]

    def _tag(self, client: Client) -> list[str]:
        """Change the tags of a session, and return the last ones."""
        tags = ["nightly"]
        for changed in (["nightly", "slow"], ["slow"]):
            if self.random.random() < 0.4:
                tags = changed
                self.until_taken(partial(client.update, tags=tags))
        return tags

    def _begin(self, client: Client) -> None:
        reply = self.until_taken(lambda: client.post("/v2/create_session", {"session": client.sent}, jwt=False))
        client.jwt = reply["jwt"]

    def _batch(self, client: Client, truth: Truth, agent: str) -> list[dict[str, Any]]:
        calls, actions, tools = (self.random.randint(0, most) for most in (8, 8, 4))
        made = [client.call(agent_id=agent) for _ in range(calls)]
        made += [client.action(params={"n": self.random.random()}) for _ in range(actions)]
        made += [client.tool(returns=["x" * self.random.choice((1, 1, 1, 60_000))]) for _ in range(tools)]
        truth.figures.update(
            llm_calls=calls, tokens_in=1000 * calls, tokens_out=1000 * calls, cost_nano=EVENT_COST * calls,
            actions=actions, tool_calls=tools,
        )  # fmt: skip
        truth.rows |= {uuid.UUID(each["id"]).bytes for each in made}
        if tools:
            # As 0.3.18 sends it: its contents are its identity.
            error = client.error(details=str(uuid.uuid4()), trigger_event_id=made[-1]["id"], timestamp=moment(2.0))
            del error["id"]
            made.append(error)
            truth.figures["errors"] += 1
        self.random.shuffle(made)
        return made

    def _events(self, client: Client, batch: list[dict[str, Any]]) -> None:
        for place in range(0, len(batch), 10):
            part = batch[place : place + 10]
            reply = self.until_taken(partial(client.events, *part))
            assert reply == "Success", reply

    def _post(self, client: Client, path: str, body: dict[str, Any]) -> None:
        self.until_taken(lambda: client.post(path, body))


def _fail(problem: str) -> None:
    """Fail for a record that is not one."""
    raise AssertionError(problem)


def _row(trace: str, id: Any) -> bytes:
    return row_id(bytes.fromhex(trace), bytes.fromhex(id))
