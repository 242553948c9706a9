"""Measures what is found out about finished runs, for bench.py: differences, scores, steps that are given back."""

from __future__ import annotations

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import localops
from localops.cli import NEW_OBJECTS
from localops.decorators import tool
from localops.journal.journal import Journal
from localops.reading.run_diff import RunDiff
from localops.reading.steps import Steps

if TYPE_CHECKING:
    from scripts.bench import Bench
    from tests.planned import Plan

_EVENTS = 5_000
# How many of its steps a run of the second side has in another way.
_CHANGES = (1, 50, 500)
_SCORES = """def score_steps(session):
    return len(list(session.events))
"""


def diff(bench: Bench) -> None:
    """Two runs of 5,000 events: alike but for a few steps, many, and a tenth of them."""
    from tests.planned import record

    # As in a command: its garbage collector does not look through what earlier parts have left in memory.
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS)
    with bench.home("diff") as home:
        journal = Journal(str(home / "default"))
        chance = random.Random(5)
        took = []
        for changes in _CHANGES:
            a = _run(chance)
            b = [plan.copy() for plan in a]
            for _ in range(changes):
                _change(chance, b)
            sides = [record(journal, plans) for plans in (a, b)]
            took.append(statistics.median(_cpu_of(_differences, journal, sides) for _ in range(5)) / 1e6)
        journal.close()
    gc.set_threshold(*before)
    shown = ", ".join(f"{each:.0f} ms" for each in took)
    what = f"differences of two runs of {_EVENTS:,} events, {', '.join(map(str, _CHANGES))} of them changed"
    bench.say(f"{what}, processor time", "<= 300 ms", shown)


def _run(chance: random.Random) -> list[Plan]:
    from tests.planned import agent

    plans: list[Plan] = []
    while sum(plan.size for plan in plans) < _EVENTS:
        plans += agent(chance, 1)
    return plans


def _change(chance: random.Random, plans: list[Plan]) -> None:
    from tests.planned import tool as call

    inside = chance.choice([plan.inside for plan in plans if len(plan.inside) > 1])
    at = chance.randrange(len(inside) - 1)
    match chance.randrange(4):
        case 0:
            del inside[at]
        case 1:
            inside.insert(at, call("search", query=-1))
        case 2:
            inside[at : at + 2] = reversed(inside[at : at + 2])
        case _:
            inside[at].given = f"another {chance.random()}"


def _differences(journal: Journal, sides: list[bytes]) -> int:
    return sum(RunDiff(*(Steps.read(journal, session) for session in sides)).counts.values())


def _cpu_of(call: Callable[..., object], *args: object) -> int:
    began = time.process_time_ns()
    call(*args)
    return time.process_time_ns() - began


def scores(bench: Bench) -> None:
    """`localops score --with` over every session, and once more when all are judged."""
    many = bench.sessions // 10
    with bench.home("scores") as home:
        localops.init(auto_start_session=False, instrument_llm_calls=False)
        for number in range(many):
            with localops.start_session() as session:
                session.record(localops.ToolEvent(name="search", params={"page": number}))
        localops.api._reset()
        program = Path(bench.folder, "scores.py")
        program.write_text(_SCORES)
        command = [sys.executable, "-m", "localops", "score", "--with", str(program), "--json"]
        took = [_wall_of(command, str(home)) for _ in range(2)]
    what = f"`localops score --with` over {many:,} sessions, and the same again"
    bench.say(what, "<= 10 s each", ", ".join(f"{each:.1f} s" for each in took))


def _wall_of(command: list[str], home: str) -> float:
    began = time.perf_counter()
    subprocess.run([*command, "--home", home], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def steps(bench: Bench) -> None:
    """A step with once=True whose result is given back to a resumed program."""
    many = 10 * bench.rounds

    @tool(once=True)
    def look_up(number: int) -> dict[str, Any]:
        return {"number": number, "text": "where the harbour is"}

    with bench.home("steps"):
        localops.init(auto_start_session=False, instrument_llm_calls=False)
        with localops.start_session() as session:
            for number in range(many):
                look_up(number)
        took = []
        with localops.resume(session.session_id):
            for number in range(many):
                began = time.perf_counter_ns()
                look_up(number)
                took.append(time.perf_counter_ns() - began)
    bench.say("a recorded step that is given back, p50", "<= 1 ms", f"{statistics.median(took) / 1e6:.3f} ms")


PARTS = {"diff": diff, "scores": scores, "steps": steps}
