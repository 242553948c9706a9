"""Runs of an agent that tests plan and write into a journal, each time with other ids and times."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal

_SECOND = 1_000_000_000


@dataclass
class Plan:
    """A step of a run, and those inside of it."""

    kind: str
    name: str | None
    given: Any = None
    model: str | None = None
    failed: bool = False
    cost: int | None = None
    seconds: float = 0.01
    tokens: tuple[int, int] = (100, 20)
    inside: list[Plan] = field(default_factory=list)
    gives: Any = None
    workers: int = 0  # that the steps inside are given to; of one that is no step itself

    @property
    def size(self) -> int:
        """How many steps it is, with those inside."""
        return (not self.workers) + sum(plan.size for plan in self.inside)

    def copy(self) -> Plan:
        """Return a step like this one."""
        return deepcopy(self)


def tool(name: str, failed: bool = False, **given: Any) -> Plan:
    """Plan a call of a tool."""
    return Plan("tool", name, given, failed=failed)


def llm(prompt: Any, model: str = "gpt-4o-mini", cost: int | None = 1_000_000) -> Plan:
    """Plan a call of a model."""
    return Plan("llm", None, prompt, model=model, cost=cost)


def step(name: str, *inside: Plan, **given: Any) -> Plan:
    """Plan an operation with steps inside."""
    return Plan("operation", name, given, inside=list(inside))


def together(workers: int, *branches: list[Plan]) -> Plan:
    """Plan branches for some workers, each of which takes the next one when it is done with one."""
    return Plan("together", None, inside=[Plan("branch", None, inside=branch) for branch in branches], workers=workers)


def record(
    journal: Journal,
    plans: list[Plan],
    *,
    end: str | None = "Success",
    start_ns: int | None = None,
    timing: Random | None = None,
) -> bytes:
    """Write a run and return its session; `end` is its state, `timing` makes steps and the time between them vary."""
    session = clock.new_id()
    moment = [clock.now_ns() - 600 * _SECOND if start_ns is None else start_ns]
    written = [_row("session", session, "planned", moment, {})]
    written += [row for plan in plans for row in _rows(plan, session, None, moment, timing)]
    if end is not None:
        written.append(_row("end", session, end, moment, {}))
    journal.add(written)
    return session


def _row(kind: str, session: bytes, name: str | None, moment: list[int], body: Any, **columns: Any) -> rows.Row:
    moment[0] += 1_000
    columns = {"id": clock.new_id(moment[0]), "at_ns": moment[0], **columns}
    return rows.make(kind, session, name=name, body=json.dumps(body) if body else None, **columns)


def _rows(plan: Plan, session: bytes, parent: bytes | None, moment: list[int], timing: Random | None) -> list[rows.Row]:
    if plan.workers:
        workers = [moment.copy() for _ in range(plan.workers)]
        written = []
        for branch in plan.inside:
            free = min(workers)
            written += [row for child in branch.inside for row in _rows(child, session, parent, free, timing)]
        moment[:] = max(workers)
        return written
    id, start = clock.new_id(moment[0]), moment[0] + (timing.randrange(20_000, 200_000) if timing else 1_000)
    moment[0] = start
    inside = [row for child in plan.inside for row in _rows(child, session, id, moment, timing)]
    moment[0] += round(plan.seconds * _SECOND * (timing.uniform(0.1, 1.9) if timing else 1))
    body = {"prompt" if plan.kind == "llm" else "params": plan.given} if plan.given is not None else {}
    if plan.gives is not None:
        body |= {"completion" if plan.kind == "llm" else "returns": plan.gives}
    columns: dict[str, Any] = {"parent": parent, "start_ns": start, "end_ns": moment[0], "failed": int(plan.failed)}
    if plan.kind == "llm":
        columns |= {"model": plan.model, "tokens": (*plan.tokens, None, None), "cost": plan.cost}
    if plan.kind == "error":
        columns["failed"] = 0
    return [_row(plan.kind, session, plan.name, moment, body, id=id, **columns), *inside]


# An agent that a test can repeat


def agent(random: Random, questions: int = 6) -> list[Plan]:
    """Plan a run of an agent: questions to a model, and the tools that it then calls."""
    return [step("answer", *_turns(random), question=number) for number in range(questions)]


def _turns(random: Random) -> list[Plan]:
    turns: list[Plan] = []
    for _ in range(random.randint(2, 5)):
        turns.append(llm([{"role": "user", "content": f"What of {random.randrange(1000)}?"}]))
        names = random.choices(("search", "fetch", "note"), k=random.randint(0, 3))
        turns.extend(tool(name, query=random.randrange(1000)) for name in names)
    return turns
