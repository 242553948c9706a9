"""What clients send to a store, made of one seed: sessions of several machines, in batches, some of them twice.

Ids and times follow from the seed, so that two stores that take the same program hold the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from localops.journal import rows
from localops.journal.stored import Stored
from localops.otlp import documents
from localops.otlp.receiving import Outcome
from localops.otlp.spans import Span, of_json
from localops.server.home_store import HomeStore
from localops.transfer.bundle import Batch, Previous
from tests.examples import sized
from tests.server.spans import AGENT, CALL, TOOL, request, span

PROJECT = "default"
T0 = 1_793_500_000_000_000_000  # 2026-11-01
_MODELS = ("gpt-4o", "gpt-4o-mini", "own-model", "claude-3-5-haiku")
_TOOLS = ("search", "fetch", "run code")
_WORDS = "harbour tide lantern gull compass anchor ebb fog blob reef".split()
Step = Callable[[HomeStore], object]


class Machine:
    """A journal that sends: its rows have seqs there, and what was sent of them."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.journal = random.randbytes(16).hex()
        self.rows: list[rows.Row] = []
        self.sent = 0

    def id(self, at_ns: int) -> bytes:
        """Return a UUIDv7 of a time."""
        ms, rest = at_ns // 1_000_000, bytearray(self.random.randbytes(10))
        rest[0], rest[2] = 0x70 | rest[0] & 0x0F, 0x80 | rest[2] & 0x3F
        return ms.to_bytes(6) + bytes(rest)

    def batch(self, first: int, last: int, *, journal: str | None = None) -> Batch:
        """Return the rows from one seq up to another."""
        sent = [Stored(seq, *self.rows[seq - 1]) for seq in range(first, last + 1)]
        previous = None
        if first > 1:
            before = Stored(first - 1, *self.rows[first - 2])
            previous = Previous(before.seq, before.id, before.phase, before.sum, before.session)
        return Batch(journal or self.journal, [], sent, [(first, last)], previous)


class Program:
    """The steps of a program, and the sessions that it names."""

    def __init__(self, seed: int, *, sessions: int = sized(4, 8), machines: int = 3) -> None:
        self.random = Random(seed)
        self.machines = [Machine(self.random) for _ in range(machines)]
        self.sessions: list[bytes] = []
        self.events: list[tuple[bytes, bytes]] = []  # session and id
        self.at = T0
        self._make(sessions)

    def _now(self, most: int = 3_000_000_000) -> int:
        self.at += self.random.randint(1, most)
        return self.at

    def _row(self, to: Machine, kind: str, session: bytes, **columns: Any) -> bytes:
        at = columns.pop("at_ns", None) or self._now()
        id = columns.pop("id", None) or to.id(at)
        body = columns.pop("body", {})
        to.rows.append(rows.make(kind, session, id=id, at_ns=at, body=json.dumps(body), **columns))
        return bytes(id)

    def _make(self, sessions: int) -> None:
        for machine in self.machines:
            self._row(machine, "journal", rows.NO_SESSION, name="begun", body={"journal": machine.journal})
        for number in range(sessions):
            self._session(self.random.choice(self.machines), number)

    def _session(self, machine: Machine, number: int) -> None:
        random = self.random
        session = machine.id(self._now(50_000_000_000))
        self.sessions.append(session)
        tags = json.dumps(random.sample(["nightly", "user=ann", "conversation=7", "ü"], random.randint(0, 3)))
        card = {"host": f"host-{machine.journal[:2]}", "pid": 7, "params": {"n": number}}
        participant = machine.id(self.at)
        self._row(machine, "session", session, name=f"run {number % 5}", parent=participant, tags=tags, body=card)
        self._row(machine, "host", session, body={"OS": {"Hostname": f"host-{machine.journal[:2]}"}})
        agent = self._row(machine, "agent", session, name=random.choice(["planner", "critic", None]))
        others = [each for each in self.machines if each is not machine]
        calls = []
        for _ in range(random.randint(2, 25)):
            # Another machine joins in, and both go on.
            to = random.choice(others) if others and random.random() < 0.1 else machine
            calls += self._work(to, session, agent)
        for call in calls:
            if random.random() < 0.2:
                self._row(machine, "price", session, parent=call, model="own-model", cost=random.randint(1, 10**7))
        if random.random() < 0.5:
            self._score(machine, session, random.choice([None, *calls]))
        if random.random() < 0.3:
            self._row(machine, "tags", session, name=random.choice(["set", "add"]), tags='["later"]')
        if random.random() < 0.8:
            state = random.choice(["Success", "Failure", "Indeterminate"])
            self._row(machine, "end", session, name=state, parent=participant, body={"reason": f"it was {state}"})

    def _work(self, to: Machine, session: bytes, agent: bytes) -> list[bytes]:
        random = self.random
        kind = random.choice(["llm", "llm", "tool", "action", "error", "operation", "decision"])
        text = " ".join(random.choices(_WORDS, k=random.randint(1, 30)))
        body: dict[str, Any] = {
            "params": {"q": text},
            "returns": text[::-1],
            'naïve "key"': [1, None, 2.5, "\u0000\ud7ff"],
        }
        more: dict[str, Any] = {"agent": random.choice([agent, None]), "body": body}
        if kind == "llm":
            tokens = (random.randint(0, 5_000), random.randint(0, 500), random.choice([None, 5]), None)
            body["cache_write_tokens"] = random.randint(0, 50)
            more |= {
                "model": random.choice(_MODELS),
                "tokens": tokens,
                "cost": random.choice([None, 0, 12_345, 7 * 10**9]),
            }
        elif kind == "tool":
            more |= {"name": random.choice(_TOOLS), "failed": random.choice([None, 1])}
        elif kind == "error":
            more |= {"name": "ValueError", "body": {"details": text, "trigger": {"kind": "tool", "name": "search"}}}
        else:
            more |= {"name": random.choice(_WORDS)}
        if random.random() < 0.2:
            more["tags"] = '["of an event"]'
        at = self._now()
        id = to.id(at)
        is_operation = kind in ("llm", "tool", "operation") and random.random() < 0.6
        if is_operation:
            opened = {name: more[name] for name in ("name", "model", "agent") if name in more}
            self._row(to, kind, session, id=id, at_ns=at, phase=rows.OPEN, **opened, body={"params": {"q": text}})
        # Some never end.
        if not is_operation or random.random() < 0.85:
            self._row(to, kind, session, id=id, at_ns=self._now(), start_ns=at, end_ns=self.at, **more)
        self.events.append((session, id))
        return [id] if kind == "llm" else []

    def _score(self, machine: Machine, session: bytes, event: bytes | None) -> None:
        for author in ("judge:gpt-4o", "human"):
            value = self.random.choice([True, False, 0.75, 3, "good"])
            body = {"by": author, "value": value, "comment": "as it is", "version": "2"}
            self._row(machine, "scored", session, name="correct", parent=event, end_ns=self.at, body=body)

    # What is sent

    def steps(self, *, doors: bool = True, deletions: bool = True) -> Iterator[Step]:
        """Yield the steps of a program: it stores every row, sends 30 % of the batches twice, deletes some sessions."""
        random = self.random
        more = [machine for machine in self.machines if machine.sent < len(machine.rows)]
        number = 0
        while more:
            machine = random.choice(more)
            first, machine.sent = machine.sent + 1, min(len(machine.rows), machine.sent + random.randint(1, 40))
            yield _ingest(machine.batch(first, machine.sent))
            if random.random() < 0.3:
                # The same rows in other batches.
                again = random.randint(1, machine.sent)
                yield _ingest(machine.batch(again, min(machine.sent, again + random.randint(0, 60))))
            if random.random() < 0.1:
                yield _ingest(self._reordered(machine))
            if deletions and random.random() < 0.1:
                yield _delete(random.choice(self.sessions))
            if doors and random.random() < 0.2:
                number += 1
                yield from self._doors(number)
            more = [each for each in self.machines if each.sent < len(each.rows)]

    def _reordered(self, machine: Machine) -> Batch:
        """Return rows in another order and from another journal, as if from a copy of it."""
        batch = machine.batch(1, machine.sent)
        sent = [row.bare for row in batch.rows if any(row.session)]
        self.random.shuffle(sent)
        copy = self.random.randbytes(16).hex()
        chosen = [Stored(seq, *row) for seq, row in enumerate(sent[:30], 1)]
        return Batch(copy, [], chosen, [(1, len(chosen))] if chosen else [])

    def _doors(self, number: int) -> Iterator[Step]:
        """Yield what other products' clients send: spans of OpenTelemetry, and rows as AgentOps' doors make them."""
        trace = f"{number:032x}"
        late = [span(trace, 3, "chat gpt-4o", 2, start=200, about={**CALL, "gen_ai.response.id": f"r-{trace}"})]
        whole = [
            span(trace, 4, "execute_tool tides", 2, start=1_500, took=10, about=TOOL),
            span(trace, 2, "invoke_agent Pilot", 1, start=100, took=2_000, about=AGENT),
            span(trace, 1, "a day at sea", took=5_000, status={"code": 1}),
        ]
        self.sessions.append(bytes.fromhex(trace))
        yield _take_spans(spans_of(whole))
        yield _take_spans(spans_of(late))
        yield _take_spans(spans_of(whole))
        session = self.random.choice(self.sessions)
        at = self._now()
        id = self.machines[0].id(at)
        made = [rows.make("action", session, id=id, at_ns=at, name="from a door", body='{"params":{"a":1}}')]
        yield _add(made)
        yield _add(made)


def spans_of(spans: list[dict[str, Any]]) -> list[Span]:
    """Return spans as the door for OpenTelemetry reads them."""
    problems: list[str] = []
    taken = [of_json(each) for each in documents.of_request(request(*spans), "", problems.append)]
    assert not problems
    return taken


def _ingest(batch: Batch) -> Step:
    def step(store: HomeStore) -> object:
        refused: dict[int, str] = {}
        ack, gone = store.ingest(PROJECT, batch, refused=refused, by="hub", key="key")
        assert ack.receipt is not None
        return ack.stored, gone, ack.forked, ack.differs, dict(ack.refused), ack.receipt["position"][0]

    return step


def _delete(session: bytes) -> Step:
    return lambda store: store.delete(PROJECT, session)


def _take_spans(spans: list[Span]) -> Step:
    def step(store: HomeStore) -> object:
        taken = Outcome()
        store.take_spans(PROJECT, spans, [], taken)
        return taken.rows, taken.waiting, taken.again, taken.gone, taken.refused, list(taken.reasons)

    return step


def _add(made: list[rows.Row]) -> Step:
    def step(store: HomeStore) -> object:
        with store.desk(PROJECT) as desk:
            return tuple(desk.add(made))

    return step
