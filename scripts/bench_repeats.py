"""Measures false alarms, for bench.py: repeats of one agent with threads, changed runs of it, and pairs of ids."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import localops
from localops.reading import run_gate
from localops.reading.home import Home
from localops.reading.run_diff import RunDiff
from localops.reading.steps import Steps

if TYPE_CHECKING:
    from localops.reading.run_gate import Measured
    from scripts.bench import Bench

_REPEATS, _CHANGED, _PAIRS = 100, 300, 2_000
# The tools, each with the generator of its ids.
_TOOLS = {
    "search": "uuid4",
    "fetch": "nanoid",
    "rate": "ulid",
    "note": "cuid2",
    "book": "shortuuid",
    "mail": "base36 16",
    "read": "base62 22",
    "sum": "hex 16",
}
_LONGEST = 0.004  # seconds that a call takes
_DIFFERENCES = ("added", "removed", "moved", "changed", "failed", "fixed")


@dataclass
class _Step:
    """A tool call; an agent with steps one after another; or, without a name, branches that run in parallel."""

    name: str
    number: int = 0
    inside: list[_Step] = field(default_factory=list)
    is_agent: bool = False


def _planned() -> list[_Step]:
    """Plan an agent of two rounds, each with three agents in parallel; each of these runs calls in parallel, too."""
    numbers = iter(range(1_000))
    names = random.Random(3)

    def call() -> _Step:
        return _Step(names.choice([*_TOOLS]), next(numbers))

    def agent(name: str) -> _Step:
        return _Step(name, inside=[call(), _Step("", inside=[call(), call(), call()]), call(), call()], is_agent=True)

    def turn() -> list[_Step]:
        return [call(), call(), _Step("", inside=[agent("scout"), agent("scout"), agent("writer")]), call()]

    return [*turn(), *turn(), _Step("", inside=[call() for _ in range(6)]), call()]


def _change(chance: random.Random, plan: list[_Step]) -> str:
    """Change a plan in one way, where its steps come one after another; return which."""
    places = [plan, *(step.inside for step in _all(plan) if step.is_agent)]
    inside = chance.choice(places)
    at = chance.randrange(len(inside) - 1)
    calls = [step for step in _all(plan) if not step.inside]
    way = chance.choice(("swap", "drop", "insert", "retry", "argument", "tool"))
    if way == "swap":
        inside[at : at + 2] = inside[at + 1], inside[at]
    elif way == "drop":
        del inside[at]
    elif way == "insert":
        inside.insert(at, _Step(chance.choice([*_TOOLS]), 5_000))
    elif way == "retry":
        inside.insert(at, inside[at])
    elif way == "argument":
        chance.choice(calls).number += 7_000
    else:
        one = chance.choice(calls)
        one.name = chance.choice([name for name in _TOOLS if name != one.name])
    return way


def _all(plan: list[_Step]) -> list[_Step]:
    return [each for step in plan for each in (step, *_all(step.inside))]


class _Agent:
    """Runs a plan in threads, with other ids and pauses in each run."""

    def __init__(self, seed: int) -> None:
        from tests.test_made_up import GENERATORS

        self._chance = random.Random(seed)
        self._makers = {tool: GENERATORS[name] for tool, name in _TOOLS.items()}

    def run(self, plan: list[_Step]) -> str:
        with localops.start_session(name="repeated") as session:
            self._steps(session, plan)
        return str(session.session_id)

    def _steps(self, session: localops.Session, steps: list[_Step]) -> None:
        for step in steps:
            if step.is_agent:
                with session.operation(step.name):
                    self._steps(session, step.inside)
            elif step.inside:
                with ThreadPoolExecutor(3) as pool:
                    run = localops.carry(lambda branch: self._steps(session, [branch]))
                    list(pool.map(run, step.inside))
            else:
                self._call(session, step)

    def _call(self, session: localops.Session, step: _Step) -> None:
        made = [self._makers[step.name](self._chance) for _ in range(2)]
        given: dict[str, Any] = {"number": step.number, "job": made[0], "at": time.time(), "of": f"part {made[1]}"}
        with session.operation(step.name, kind="tool", params=given) as call:
            time.sleep(self._chance.uniform(0, _LONGEST))
            call.returns({"job_id": made[1], "took_ms": self._chance.random()})


def repeats(bench: Bench) -> None:
    """`localops check` and `diff` over repeats of one agent, and over runs that were changed in one way."""
    few = bench.rounds < 20
    with bench.home("repeats") as home:
        localops.init(auto_start_session=False, instrument_llm_calls=False)
        first = _Agent(0).run(_planned())
        same = [_Agent(number).run(_planned()) for number in range(1, 1 + _REPEATS // (10 if few else 1))]
        changed = []
        for seed in range(_CHANGED // (10 if few else 1)):
            plan = _planned()
            way = _change(random.Random(seed), plan)
            changed.append((way, _Agent(10_000 + seed).run(plan)))
        localops.end_all_sessions()
        with Home(str(home)) as opened:
            path = str(Path(bench.folder, "baseline.json"))
            run_gate.write_baseline(path, _read(opened, first)[1])
            steps, base = _read(opened, first)[0], run_gate.read_baseline(path)
            alarms = [_differs(opened, id, steps, base) for id in same]
            seen = [(way, _differs(opened, id, steps, base)) for way, id in changed]
    for place, what in enumerate(("localops check", "localops diff")):
        false = sum(each[place] for each in alarms)
        right = sum(each[place] for _, each in seen)
        bench.say(f"`{what}`, false alarms in {len(alarms)} repeats of an agent with threads", "<= 0", f"{false}")
        missed = sorted({way for way, each in seen if not each[place]})
        note = f" (not: {', '.join(missed)})" if missed else ""
        bench.say(f"`{what}`, changed runs found", ">= 99 %", f"{right / len(seen):.1%} of {len(seen)}{note}")


def _read(opened: Home, id: str) -> tuple[Steps, Measured]:
    project, session = opened.find(id)
    steps = Steps.read(project.reader, session)
    return steps, run_gate.measure(project.snapshot(session), steps)


def _differs(opened: Home, id: str, steps: Steps, base: Measured) -> tuple[bool, bool]:
    """Return whether `localops check` and `localops diff` see a difference from the first run."""
    now, measured = _read(opened, id)
    verdicts = run_gate.check(measured, base, {}, same_tools=True, same_arguments=True)
    counts = RunDiff(steps, now).counts
    return not all(verdict.passed for verdict in verdicts), any(counts[mark] for mark in _DIFFERENCES)


def made_up(bench: Bench) -> None:
    """Pairs of ids of each usual generator: how many differ in what is compared."""
    from tests.test_made_up import GENERATORS, KEYED, PLACES, differing

    kinds: list[tuple[str, Callable[[random.Random], str], tuple[str, ...]]] = [
        *((name, make, PLACES) for name, make in GENERATORS.items()),
        *((f"{name} under a key", make, ('{"job_id":"%s"}',)) for name, make in KEYED.items()),
    ]
    shares = {name: differing(make, places, _PAIRS) / _PAIRS for name, make, places in kinds}
    worst = max(shares, key=lambda name: shares[name])
    what = f"of {_PAIRS:,} pairs of ids of each of {len(shares)} generators, those that count as different"
    bench.say(what, "< 1 %", f"{sum(shares.values()) / len(shares):.2%}, most {shares[worst]:.2%} ({worst})")


PARTS = {"repeats": repeats, "made_up": made_up}
