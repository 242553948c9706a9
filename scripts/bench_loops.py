"""Measures what a hook for loops, `on_loop`, adds to recording a tool call, for bench.py."""

from __future__ import annotations

import random
import statistics
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import localops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localops.journal.rows import Row
    from localops.recording.recorder import Recorder
    from localops.recording.session import Session
    from scripts.bench import Bench

# So few that most blocks end before another process gets the core: of many blocks, one in twenty is taken.
_CALLS = 40
_BLOCKS = 8  # for each round of the bench, on each side
_WORDS = "a quiet table by the window near the harbour for four people tonight if there is one".split()
_chance = random.Random(1)


def _made(kind: str, number: int) -> dict[str, Any]:
    """Return the arguments of a call, which differ from those of the calls before."""
    id, text = 1000 + number % 9000, " ".join(_chance.choice(_WORDS) for _ in range(12))
    by_kind: dict[str, dict[str, Any]] = {
        "an id": {"id": id},
        "two keys": {"order": id, "limit": 5},
        "texts": {"query": text, "limit": 10, "note": text[::-1]},
        "nested, with a None": {"filters": {"kind": ["a", id], "open": None}, "user": {"id": id, "lang": "en"}},
        "keys in two orders": {"a": id, "b": 1} if number % 2 else {"b": 1, "a": id},
        "3 kB": {"text": ", ".join(_chance.choice(_WORDS) for _ in range(500))},
    }
    return by_kind[kind]


KINDS = ("an id", "two keys", "texts", "nested, with a None", "keys in two orders", "3 kB")


def loops(bench: Bench) -> None:
    """Measure tool calls with `on_loop` beside the same without it, each way they are recorded."""
    with bench.home("loops"):
        session = localops.init(on_loop=lambda *_: None)
        assert session is not None
        whole = {way: _ratio(session, way, "texts", bench.rounds) for way in _ways(session)}
        session.recorder._append = _not_written
        added = {way: {kind: _added(session, way, kind, bench.rounds) for kind in KINDS} for way in _ways(session)}
    for way, ratio in whole.items():
        bench.say(f"{way} with `on_loop` against the same without it, p50", "<= 1.02", f"{ratio:.3f}")
    for way, by_kind in added.items():
        figures = ", ".join(f"{nanoseconds / 1000:.2f}" for nanoseconds in by_kind.values())
        bench.say(f"what `on_loop` adds to {way} with {', '.join(by_kind)}, us", "<= 0.3", figures)


def _not_written(row: Row, sync: bool = False) -> bool:  # noqa: ARG001  as Journal.append
    """Stand in for SQLite, whose time differs by more than what is measured."""
    return True


def _ways(session: Session) -> dict[str, Callable[[dict[str, Any]], object]]:
    @localops.tool
    def look(**given: object) -> dict[str, int]:
        return {"hits": len(given)}

    def operation(params: dict[str, Any]) -> None:
        with session.operation("look", kind="tool", params=params) as call:
            call.returns({"hits": 3})

    return {
        "record(ToolEvent(...))": lambda params: session.record(
            localops.ToolEvent(name="look", params=params, returns={"hits": 3})
        ),
        "a @tool function": lambda params: look(**params),
        "session.operation(kind='tool')": operation,
    }


def _blocks(session: Session, way: str, kind: str, rounds: int) -> Iterator[tuple[float, float]]:
    """Yield what a call took in a block with the hook, and in one without it, in nanoseconds."""
    recorder: Recorder = session.recorder
    call, watch = _ways(session)[way], recorder.loops
    all_params = cycle([_made(kind, number) for number in range(2_000)])

    def took(is_on: bool) -> float:
        recorder.loops = watch if is_on else None
        block = list(islice(all_params, _CALLS))
        began = time.perf_counter_ns()
        for params in block:
            call(params)
        return (time.perf_counter_ns() - began) / _CALLS

    for number in range(rounds * _BLOCKS):
        first = took(number % 2 == 0)
        second = took(number % 2 == 1)
        yield (first, second) if number % 2 == 0 else (second, first)
    recorder.loops = watch


def _ratio(session: Session, way: str, kind: str, rounds: int) -> float:
    """Return the median of what blocks took with the hook against those next to them without it."""
    return statistics.median(with_hook / without for with_hook, without in _blocks(session, way, kind, rounds))


def _added(session: Session, way: str, kind: str, rounds: int) -> float:
    """Return what the hook adds to a call, of blocks that were not disturbed."""
    sides = zip(*_blocks(session, way, kind, rounds), strict=True)
    with_hook, without = (statistics.quantiles(side, n=20)[0] for side in sides)
    added: float = with_hook - without
    return added


PARTS: dict[str, Callable[[Bench], None]] = {"loops": loops}
