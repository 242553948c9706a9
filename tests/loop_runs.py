"""Made-up runs of agents with planted loops, and with calls that only look like loops; each call is known by its id.

This file knows nothing of the detector: a run is written with the functions that programs use, and says itself which
calls it planted.  What is planted is a call, a cycle or a failure that comes three times or more and brings nothing
new.  What is innocent: answers that change, tools that say that they poll, retries that succeed, tests between edits,
pages, a few repeats.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import localops
from localops import ErrorEvent, LLMEvent, Session, ToolEvent

WORDS = "tides harbour ferry lighthouse anchor buoy current chart sonar dock crane pilot cargo manifest".split()


@dataclass
class Planted:
    """A loop that was planted: what kind, its calls, and how many make one round."""

    kind: str
    calls: list[uuid.UUID] = field(default_factory=list)
    period: int = 1


@dataclass
class Run:
    """A recorded run, and what was planted in it."""

    session: uuid.UUID
    planted: list[Planted]
    innocent: list[str]


class Agent:
    """One agent of a run: makes tool calls in the way that its framework records them."""

    def __init__(self, session: Session, dice: random.Random, name: str) -> None:
        self.session, self.dice = session, dice
        self.id = session.create_agent(name)
        self.style = dice.choice(["event", "operation"])

    def think(self) -> None:
        """Ask the model what to do next, as agents do before a tool call."""
        if self.dice.random() < 0.8:
            self.session.record(
                LLMEvent(
                    prompt="What next?",
                    completion="Call a tool.",
                    model="gpt-4o",
                    prompt_tokens=self.dice.randrange(200, 4_000),
                    completion_tokens=self.dice.randrange(5, 90),
                    agent_id=self.id,
                )
            )

    def call(
        self,
        tool: str,
        args: dict[str, Any] | None,
        returns: Any = None,
        error: Exception | None = None,
        polling: bool = False,
        inside: Any = None,
    ) -> uuid.UUID:
        """Make one tool call, and return its id."""
        self.think()
        args = self.shuffled(args)
        if self.style == "event" and inside is None:
            event = ToolEvent(name=tool, params=args, returns=returns, agent_id=self.id, polling=polling)
            if error is None:
                self.session.record(event)
            else:
                self.session.record(ErrorEvent(trigger_event=event, exception=error))
            return event.id
        operation = self.session.operation(
            tool, kind="tool", params=args, agent_id=self.id, parent=inside, polling=polling
        ).open()
        if returns is not None:
            operation.returns(returns)
        operation.close(error)
        assert operation.id is not None
        return operation.id

    def shuffled(self, args: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return arguments in another order, as models write them."""
        if args is None:
            return None
        names = list(args)
        self.dice.shuffle(names)
        return {name: args[name] for name in names}


class Script:
    """The steps of one run, which are mixed with those of other agents."""

    def __init__(self, session: Session, dice: random.Random) -> None:
        self.session, self.dice = session, dice
        self.planted: list[Planted] = []
        self.innocent: list[str] = []
        self.noise = dice.choice([(), ("id",), ("time",), ("id", "time")])

    # Values

    def word(self) -> str:
        """Return a word that has not been there."""
        return f"{self.dice.choice(WORDS)}-{self.dice.randrange(10_000)}"

    def fresh(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as the services of this run send it: some with an id and a time of their own."""
        noise: dict[str, Any] = {}
        if "id" in self.noise:
            noise["request_id"] = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        if "time" in self.noise:
            noise["served_at"] = self.time()
        return {**value, **noise}

    def time(self) -> str:
        """Return a time of the run."""
        moment = datetime.now(UTC) + timedelta(seconds=self.dice.randrange(5_000))
        return moment.isoformat()

    def error(self, message: str) -> Exception:
        """Return an error of some class."""
        kind = self.dice.choice([ValueError, TimeoutError, KeyError, ConnectionError])
        return kind(message)

    # What is planted

    def repeat(self, agent: Agent) -> Iterator[None]:
        """The same call with the same answer."""
        tool, args = self.dice.choice(["search", "read_file", "list_files"]), {"query": self.word(), "limit": 5}
        answer: Any = {"hits": [self.word(), self.word()]}
        plant = self.plant("repeat")
        for _ in range(self.dice.randrange(3, 16)):
            self.made(plant, agent.call(tool, args, self.fresh(answer)))
            yield

    def repeat_without_arguments(self, agent: Agent) -> Iterator[None]:
        """A call that takes nothing, and always gives the same."""
        answer = {"status": self.word()}
        plant = self.plant("repeat")
        for _ in range(self.dice.randrange(3, 10)):
            self.made(plant, agent.call("get_state", None, self.fresh(answer)))
            yield

    def cycle(self, agent: Agent) -> Iterator[None]:
        """Several calls in turn, with the same answers as before."""
        period = self.dice.randrange(2, 6)
        round_ = [(f"step_{place}", {"target": self.word()}, {"state": self.word()}) for place in range(period)]
        if self.dice.random() < 0.3:
            round_ = [("navigate", args, answer) for _, args, answer in round_]
        plant = self.plant("cycle", period)
        for _ in range(self.dice.randrange(3, 7)):
            for tool, args, answer in round_:
                self.made(plant, agent.call(tool, args, self.fresh(answer)))
                yield

    def cycle_of_failures(self, agent: Agent) -> Iterator[None]:
        """A call that fails, and one that looks why, again and again."""
        path, answer = self.word(), {"exists": False}
        plant = self.plant("cycle", 2)
        for _ in range(self.dice.randrange(3, 7)):
            self.made(plant, agent.call("open", {"path": path}, error=FileNotFoundError(f"no file {path}")))
            yield
            self.made(plant, agent.call("stat", {"path": path}, answer))
            yield

    def retry(self, agent: Agent) -> Iterator[None]:
        """The same call, which fails whatever the reason is this time."""
        tool, args = self.dice.choice(["http_get", "query_db", "send_mail"]), {"to": self.word()}
        plant = self.plant("retry")
        for _ in range(self.dice.randrange(3, 12)):
            reason = self.dice.choice(["429 too many requests", "503 unavailable", "read timed out"])
            self.made(plant, agent.call(tool, args, error=self.error(reason)))
            yield

    def same_error(self, agent: Agent) -> Iterator[None]:
        """One error, whatever the tool is given."""
        message = f"missing field {self.word()!r}"
        plant = self.plant("error")
        between = self.dice.random() < 0.5
        for _ in range(self.dice.randrange(3, 9)):
            trace = f" (request {uuid.UUID(int=self.dice.getrandbits(128), version=4)})"
            self.made(plant, agent.call("create_order", {"draft": self.word()}, error=ValueError(message + trace)))
            yield
            if between:
                agent.call("note", {"text": self.word()}, {"ok": True})
                yield

    def inside_of_another(self, agent: Agent) -> Iterator[None]:
        """A tool that calls another one again and again."""
        outer = self.session.operation("research", kind="tool", params={"topic": self.word()}, agent_id=agent.id).open()
        args, plant = {"query": self.word()}, self.plant("repeat")
        answer: dict[str, Any] = {"hits": []}
        for _ in range(self.dice.randrange(3, 10)):
            self.made(plant, agent.call("lookup", args, self.fresh(answer), inside=outer))
            yield
        outer.returns({"summary": self.word()})
        outer.close()

    def with_others_between(self, agent: Agent) -> Iterator[None]:
        """The same call with the same answer, and each time something else in between."""
        args, answer, plant = {"query": self.word()}, {"hits": [self.word()]}, self.plant("again")
        for _ in range(self.dice.randrange(5, 12)):
            self.made(plant, agent.call("search", args, self.fresh(answer)))
            yield
            for _ in range(self.dice.randrange(1, 3)):
                agent.call("note", {"text": self.word()}, {"ok": True})
                yield

    def plant(self, kind: str, period: int = 1) -> Planted:
        """Begin to plant a loop."""
        self.planted.append(Planted(kind, period=period))
        return self.planted[-1]

    def made(self, plant: Planted, id: uuid.UUID) -> None:
        """Note a call of a planted loop."""
        plant.calls.append(id)

    # What only looks like it

    def work(self, agent: Agent) -> Iterator[None]:
        """Different calls."""
        for _ in range(self.dice.randrange(3, 12)):
            tool = self.dice.choice(["search", "read_file", "write_file", "http_get", "note"])
            agent.call(tool, {"query": self.word()}, self.fresh({"text": self.word()}))
            yield

    def polling_with_news(self, agent: Agent) -> Iterator[None]:
        """A job is asked about until it is done; each answer differs."""
        job = self.word()
        for done in range(0, 100, self.dice.randrange(9, 25)):
            agent.call("job_status", {"job": job}, self.fresh({"state": "running", "percent": done}))
            yield
        agent.call("job_status", {"job": job}, self.fresh({"state": "done", "percent": 100}))
        yield

    def marked_polling(self, agent: Agent) -> Iterator[None]:
        """A tool that says that it polls, with the same answer for a long time."""
        job = self.word()
        for _ in range(self.dice.randrange(4, 20)):
            agent.call("wait_for", {"job": job}, self.fresh({"state": "pending"}), polling=True)
            yield

    def marked_polling_with_pauses(self, agent: Agent) -> Iterator[None]:
        """The same, with a pause after each."""
        job = self.word()
        for _ in range(self.dice.randrange(4, 12)):
            agent.call("wait_for", {"job": job}, {"state": "pending"}, polling=True)
            yield
            agent.call("sleep", {"seconds": self.dice.randrange(1, 10_000)}, {"ok": True})
            yield

    def retry_that_succeeds(self, agent: Agent) -> Iterator[None]:
        """At most two failures, then it works."""
        args = {"url": self.word()}
        for _ in range(self.dice.randrange(1, 3)):
            agent.call("http_get", args, error=ConnectionError("connection reset"))
            yield
        agent.call("http_get", args, self.fresh({"body": self.word()}))
        yield

    def different_failures(self, agent: Agent) -> Iterator[None]:
        """A tool that fails several times, each time for another reason, with other arguments."""
        for _ in range(self.dice.randrange(3, 7)):
            name = self.word()
            agent.call("read_file", {"path": name}, error=FileNotFoundError(f"no file {name}"))
            yield

    def tests_between_edits(self, agent: Agent) -> Iterator[None]:
        """The tests run after each edit, some of them with the same result."""
        failing = self.dice.randrange(2, 5)
        for _ in range(self.dice.randrange(3, 6)):
            agent.call("edit", {"file": "app.py", "text": self.word()}, {"ok": True})
            yield
            failing = max(0, failing - self.dice.randrange(0, 2))
            agent.call("run_tests", {"path": "tests"}, self.fresh({"failed": failing}))
            yield

    def twice(self, agent: Agent) -> Iterator[None]:
        """Two calls in turn, twice; then something else."""
        one, other = {"path": self.word()}, {"path": self.word()}
        for _ in range(2):
            agent.call("read_file", one, {"text": "a"})
            yield
            agent.call("read_file", other, {"text": "b"})
            yield
        agent.call("note", {"text": self.word()}, {"ok": True})
        yield

    def pages(self, agent: Agent) -> Iterator[None]:
        """A list, page by page."""
        for page in range(1, self.dice.randrange(4, 10)):
            agent.call("list_items", {"page": page}, {"items": []})
            yield

    def by_id(self, agent: Agent) -> Iterator[None]:
        """Things that differ by their ids alone, and look the same."""
        for _ in range(self.dice.randrange(3, 8)):
            id = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
            agent.call("get_order", {"id": id}, {"id": id, "state": "open"})
            yield

    def clock(self, agent: Agent) -> Iterator[None]:
        """The time, which is another one each time."""
        for _ in range(self.dice.randrange(3, 6)):
            agent.call("now", None, {"time": self.time()})
            yield

    def configured(self, agent: Agent) -> Iterator[None]:
        """A tool that reads the same settings inside of each of its calls."""
        for _ in range(self.dice.randrange(3, 7)):
            outer = self.session.operation("process", kind="tool", params={"item": self.word()}, agent_id=agent.id)
            outer.open()
            agent.call("get_settings", {"name": "all"}, {"depth": 3}, inside=outer)
            outer.returns({"ok": True})
            outer.close()
            yield


LOOPS = (
    Script.repeat,
    Script.repeat_without_arguments,
    Script.cycle,
    Script.cycle_of_failures,
    Script.retry,
    Script.same_error,
    Script.inside_of_another,
    Script.with_others_between,
)
INNOCENT = (
    Script.work,
    Script.polling_with_news,
    Script.marked_polling,
    Script.marked_polling_with_pauses,
    Script.retry_that_succeeds,
    Script.different_failures,
    Script.tests_between_edits,
    Script.twice,
    Script.pages,
    Script.by_id,
    Script.clock,
    Script.configured,
)


def record(many: int, seed: int = 1, begun: Callable[[uuid.UUID, Script], None] | None = None) -> Iterator[Run]:
    """Record so many runs in sessions of their own, every second one with loops, and yield what was planted.

    `begun` is called with the id of each session and what it does before that begins.
    """
    dice = random.Random(seed)
    for number in range(many):
        session = localops.start_session(name=f"run {number}")
        script = Script(session, dice)
        if begun is not None:
            begun(session.session_id, script)
        agents = [Agent(session, dice, f"agent {place}") for place in range(dice.randrange(1, 4))]
        lanes = [_lane(script, agent, dice, with_loops=number % 2 == 0 and agent is agents[0]) for agent in agents]
        while lanes:
            lane = dice.choice(lanes)
            if next(lane, ...) is ...:
                lanes.remove(lane)
        session.end_session("Success")
        yield Run(session.session_id, script.planted, script.innocent)


def _lane(script: Script, agent: Agent, dice: random.Random, *, with_loops: bool) -> Iterator[None]:
    """Yield after each step of one agent: what is innocent, and in between what is planted."""
    parts = dice.sample(INNOCENT, dice.randrange(1, 5))
    if with_loops:
        parts[len(parts) // 2 : len(parts) // 2] = dice.sample(LOOPS, dice.choice([1, 1, 2]))
    for part in parts:
        if part in INNOCENT:
            script.innocent.append(part.__name__)
        yield from part(script, agent)
        # What follows is something else in any case.
        agent.call("note", {"text": script.word()}, {"ok": True})
