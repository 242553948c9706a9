"""Loops of tool calls: which calls are one, in runs with planted loops, and case by case."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import threading
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

import localops
from localops import ErrorEvent, Loop, LoopDetected, Session, ToolEvent
from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import loops, waste, waste_page
from localops.reading.home import Home
from localops.reading.loops import Call
from localops.reading.sentences import plain
from localops.reading.waste import Waste
from localops.recording.loop_watch import LoopWatch
from tests import loop_runs, made
from tests.examples import sized
from tests.loop_runs import Planted
from tests.sessions import begun

_ids = count(1)


def call(tool: str = "search", args: object = None, returns: object = "the same", **options: Any) -> Call:
    """Return a call that has ended."""
    opened = {"params": {"q": "tides"} if args is None else args, **options.pop("marked", {})}
    ended = {} if options.get("failed") else {"returns": returns}
    return Call(next(_ids).to_bytes(16, "big"), tool, opened, ended, period=(0, 1 << 62), **options)


def kinds(*calls: Call) -> list[tuple[str, int]]:
    """Return the kind of each loop and how many calls it has."""
    return [(loop.kind, len(loop.calls)) for loop in loops.find(calls)]


def read(session: Session | None = None) -> dict[str, Any]:
    """Return the loops of a session as JSON, of the newest without one."""
    with Home() as home:
        project, id = home.find(str(session.session_id) if session is not None else "last")
        return waste.of(project.name, project.snapshot(id), project.reader)


# Runs that say what was planted


def test_planted_loops_are_found_and_nothing_else() -> None:
    """Precision and recall over many runs, and an alarm for each loop before its fourth round begins."""
    scripts: dict[uuid.UUID, loop_runs.Script] = {}
    alarms: list[tuple[Planted | None, int]] = []

    def on_loop(session: Session, loop: Loop) -> None:
        planted = scripts[session.session_id].planted
        of_it = next((one for one in planted if loop.calls[0] in one.calls), None)
        alarms.append((of_it, len(of_it.calls) if of_it is not None else 0))

    localops.init(on_loop=on_loop, auto_start_session=False, instrument_llm_calls=False)
    runs = list(loop_runs.record(sized(100, 300), begun=scripts.__setitem__))
    listed = right = missed = planted = 0
    with Home() as opened:
        for run in runs:
            seen = Waste(opened.projects[0].reader, run.session.bytes).loops
            sets = [{call.id for call in loop.calls} for loop in seen]
            wanted = [{id.bytes for id in one.calls} for one in run.planted]
            listed += len(sets)
            right += sum(any(2 * len(calls & one) >= len(calls) for one in wanted) for calls in sets)
            planted += len(wanted)
            missed += sum(not any(2 * len(calls & one) >= len(one) for calls in sets) for one in wanted)
    assert planted > len(runs) / 2
    assert right / listed >= 0.95
    assert 1 - missed / planted >= 0.95
    # For a habit there is no alarm; a planted call is in its list only when it has returned, after the alarm.
    expected = [one for run in runs for one in run.planted if one.kind != "again"]
    in_time = [one for one, made in alarms if one is not None and made < loops.ALARM * one.period]
    assert sum(one in in_time for one in expected) / len(expected) >= 0.95
    assert sum(one is not None for one, _ in alarms) / len(alarms) >= 0.95


# What is a loop


def test_the_same_call_with_the_same_result() -> None:
    """Three in a row are a loop, two are not; the order of arguments does not count."""
    assert kinds(call(), call()) == []
    swapped = [call(args={"a": 1, "b": 2}), call(args={"b": 2, "a": 1}), call(args={"a": 1, "b": 2})]
    assert kinds(*swapped) == [("repeat", 3)]
    assert kinds(*[call() for _ in range(9)], call("other")) == [("repeat", 9)]


@pytest.mark.parametrize(
    "calls",
    [
        [call(returns={"percent": done}) for done in range(9)],
        [call(args={"page": page}) for page in range(9)],
        [call(agent=bytes([number]) * 16) for number in range(9)],
        [call(inside=bytes([number]) * 16) for number in range(9)],
        [call(waits=True) for _ in range(9)],
        [call(marked={"polling": True}) for _ in range(9)],
        [Call(bytes([number]) * 16, "f", {}, {}) for number in range(9)],
        [call(failed=True), call(failed=True), call(), call(failed=True)],
        [call(times=(number, 100 + number)) for number in range(9)],
        [call(args={"n": number}, failed=True, error=1, times=(number, 100)) for number in range(9)],
        [each for number in range(9) for each in (call(times=(number, 100)), call(args={"n": number}))],
        [call(returns=f"building, eta {seconds}s") for seconds in (90, 60, 30, 5)],
        [call(returns=f"ready in {left}") for left in ("3 minutes", "1m 30s", "60s", "5 secs")],
        [call(returns={"log": f"still running, {seconds}s"}) for seconds in (10, 20, 30, 40)],
        [each for left in (90, 60, 30, 5) for each in (call(returns=f"eta {left}s"), call("wait"))],
    ],
    ids="news arguments agents outer-calls polling marked unknown retried beside failed-beside often-beside eta words "
    "rising cycle".split(),
)
def test_what_is_no_loop(calls: list[Call]) -> None:
    """Progress, other arguments, agents or outer calls, polling, unknown calls, short retries, parallel calls."""
    assert kinds(*calls) == []


@pytest.mark.parametrize("seconds", [(90, 90, 90), (30, 90, 60), (60, 30, 30)])
def test_a_duration_that_comes_to_nothing_is_no_news(seconds: tuple[int, ...]) -> None:
    """It stays the same, or goes up and down."""
    assert kinds(*[call(returns=f"building, eta {each}s") for each in seconds]) == [("repeat", 3)]


def test_calls_at_the_same_time_are_a_loop_only_in_rounds() -> None:
    """An agent that asks five times at once takes a vote; one that takes the same vote three times goes in circles."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    async def vote(rounds: int) -> None:
        all_ask = asyncio.Barrier(5)

        @localops.tool(name="sample")
        async def sample(_: str) -> str:
            await all_ask.wait()
            return "A"

        for _ in range(rounds):
            await asyncio.gather(*(sample("A or B?") for _ in range(5)))

    asyncio.run(vote(2))
    session.record(ToolEvent(name="other"))
    assert (alarms, read(session)["loops"]) == ([], [])
    asyncio.run(vote(3))
    session.record(ToolEvent(name="other"))
    assert [(alarm.kind, len(alarm.calls)) for alarm in alarms] == [("repeat", 3)]
    assert [(loop["kind"], loop["calls"]) for loop in read(session)["loops"]] == [("repeat", 15)]


@pytest.mark.parametrize("sizes", [(2, 3, 4, 2, 5), (3, 1, 3, 1, 3, 1), (5, 4, 3)])
def test_rounds_of_parallel_calls_may_differ_in_size(sizes: tuple[int, ...]) -> None:
    """They are one loop, for the alarm in the process and for reports; all calls after the first round are wasted."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    @localops.tool(name="sample")
    async def sample() -> str:
        await asyncio.sleep(0.001)
        return "A"

    async def vote() -> None:
        for size in sizes:
            await asyncio.gather(*(sample() for _ in range(size)))

    asyncio.run(vote())
    session.record(ToolEvent(name="other"))
    assert [(alarm.kind, alarm.rounds) for alarm in alarms] == [("repeat", 3)]
    [loop] = read(session)["loops"]
    assert (loop["kind"], loop["calls"], loop["rounds"]) == ("repeat", sum(sizes), len(sizes))
    assert loop["wasted"]["calls"] == sum(sizes[1:])
    assert f"was called {sum(sizes)} times in {len(sizes)} rounds of parallel calls" in plain(
        waste_page.sentence_of(loop)
    )


@pytest.mark.parametrize("rounds", ["ab ba ab", "ba ab ba ab", "abc cab bca", "abcd dcba badc"])
def test_parallel_calls_have_no_order(rounds: str) -> None:
    """They are a cycle in whatever order each round began, for the alarm in the process and for reports."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))
    names = rounds.split()

    async def work() -> None:
        all_look = asyncio.Barrier(len(names[0]))

        @localops.tool(name="look")
        async def look(what: str) -> str:
            await all_look.wait()
            return what

        for order in names:
            await asyncio.gather(*(look(what) for what in order))

    asyncio.run(work())
    session.record(ToolEvent(name="other"))
    assert [(alarm.kind, alarm.rounds) for alarm in alarms] == [("cycle", 3)]
    [loop] = read(session)["loops"]
    assert (loop["kind"], loop["calls"], loop["rounds"]) == ("cycle", len(names[0]) * len(names), len(names))
    assert not loop["only_alike"]


@pytest.mark.parametrize(
    "rounds",
    [
        *["a b a b ba", "ab a b ba", "ab b a ab", "abc a b c bca", "a b c bca a b c", "abc c b a abc", "ab a b ab"],
        *["ab ab b a", "a bc a cb a bc", "abcdefgh hgfedcba a b c d e f g h"],
    ],
)
def test_rounds_may_be_parallel_or_awaited(rounds: str) -> None:
    """Awaited calls match parallel ones, for the alarm in the process and for reports."""
    alarms, reported = of_rounds(rounds)
    names = [f"what={name}" for name in sorted(set(rounds) - {" "})]
    assert [(alarm.kind, alarm.rounds, sorted(alarm.inputs)) for alarm in alarms] == [("cycle", 3, names)]
    assert [(each["kind"], each["rounds"]) for each in reported] == [("cycle", 3)]


@pytest.mark.parametrize("rounds", ["a b ab b a", "b a ab a b", "a b b a ab", "a b c bca c b a", "a bc bc a a bc"])
def test_awaited_calls_in_another_order_are_no_loop(rounds: str) -> None:
    """A parallel round between two awaited ones does not make their order equal."""
    assert of_rounds(rounds) == ([], [])


def of_rounds(rounds: str) -> tuple[list[Loop], Any]:
    """Make rounds of calls, parallel within each; return the alarms of the process and the loops of the report."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    async def work() -> None:
        for names in rounds.split():
            all_look = asyncio.Barrier(len(names))

            async def look(what: str, barrier: asyncio.Barrier = all_look) -> str:
                with session.operation("look", kind="tool", params={"what": what}) as operation:
                    await barrier.wait()
                    operation.returns(what)
                return what

            await asyncio.gather(*(look(what) for what in names))

    asyncio.run(work())
    session.record(ToolEvent(name="other"))
    return alarms, read(session)["loops"]


@pytest.mark.parametrize("order", ["ab ac ab", "ab ba", "abab"])
def test_other_parallel_calls_are_no_loop(order: str) -> None:
    """Rounds with other calls, two rounds, and calls that were all in progress at the same time."""
    made = []
    for number, round in enumerate(order.split()):
        made += [call(args={"q": name}, returns=name, times=(10 * number, 10 * number + 9)) for name in round]
    assert loops.find(made) == []


# Two workers that take the same call as soon as they are free, and one that takes three times as long as the other.
_POOLS = [[(at, at + 9) for at in range(0, 50, 5)], [*((at, at + 9) for at in range(0, 60, 10)), (1, 29), (31, 58)]]


@pytest.mark.parametrize("times", _POOLS, ids=["in turn", "one is slow"])
def test_a_round_of_parallel_calls_begins_when_a_result_is_known(times: list[tuple[int, int]]) -> None:
    """In whatever order the calls come: reports have them as they began, the process as they ended."""
    made = [call(times=each) for each in sorted(times)]
    for order in (made, sorted(made, key=lambda each: each.ended_ns)):
        [loop] = loops.find(order)
        assert (loop.kind, len(loop.all_calls)) == ("repeat", len(times))
        assert loop.rounds == (5 if times is _POOLS[0] else 6)


def test_a_wait_that_succeeded_is_named() -> None:
    """It is a loop by rule; its sentence adds that the next call brought something new."""
    waited = [call("state", returns="warming up") for _ in range(7)]
    for calls, changed in (
        ([*waited, call("state", returns="ready")], True),
        ([*waited, call("other")], False),
        ([call("state", failed=True), call("state", failed=True), call("state", failed=True), call("state")], True),
        ([*waited[:3], call("state", failed=True)], False),
    ):
        assert [loop.then_changed for loop in loops.find(calls)] == [changed]
    session = localops.start_session()
    for state in ("warming up",) * 3 + ("ready",):
        session.record(ToolEvent(name="state", returns=state))
    [loop] = read(session)["loops"]
    assert plain(waste_page.sentence_of(loop)) == (
        "[repeat] Tool 'state' was called 3 times in a row with the same arguments and result; the next call returned "
        "another result. Wasted: 2 tool calls."
    )


def test_an_id_or_a_time_in_a_result_is_no_news() -> None:
    """Ids and times that every answer has do not count, unless the answer has nothing else."""
    fresh = [{"hits": [], "request": str(uuid.uuid4()), "at": f"2026-11-29T10:00:0{n}Z"} for n in range(3)]
    assert kinds(*[call(returns=one) for one in fresh]) == [("repeat", 3)]
    assert kinds(*[call(returns={"now": one["at"]}) for one in fresh]) == []
    assert kinds(*[call(returns=one["at"]) for one in fresh]) == []
    for news in ('{"job":"ID","at":"2026-11-29T10:00:00Z"}', '["ID"]', '"ID"', '{"url":"https://jobs.example/ID"}'):
        results = [json.loads(news.replace("ID", str(uuid.uuid4()))) for _ in range(3)]
        assert kinds(*[call(returns=one) for one in results]) == [], news
    assert kinds(*[call(returns={"request_id": str(uuid.uuid4())}) for _ in range(3)]) == [("repeat", 3)]
    names = [
        {"customer": f"customer_{name}1985"} for name in ("johnathandoewilliams", "elizabethsmithson", "margaretparker")
    ]
    assert kinds(*[call(returns={**one, "state": "new"}) for one in names]) == []
    # In arguments they tell calls apart.
    assert kinds(*[call(args={"order": str(uuid.uuid4())}) for _ in range(5)]) == []


_UUIDS = [f"01a2276f-5838-79e8-bfff-ce32c169d5{number:02x}" for number in range(4)]


@pytest.mark.parametrize(
    ("tool", "args", "answer", "is_new"),
    [
        ("enqueue", {"type": "resize"}, {"job_id": "ID", "type": "resize"}, True),
        ("resize_image", {"image": "cat.png"}, {"job_id": "ID", "type": "resize", "state": "Queued"}, True),
        ("book", {"seat": 12, "name": "Ada"}, {"id": "ID", "seat": 12, "for": {"name": "Ada"}, "ok": True}, True),
        ("book", {"seat": 12}, {"id": "ID", "seat": 13}, False),
        ("search", {"q": "tides"}, {"search": "ID", "hits": ["high", "low"]}, False),
        ("search", {"q": "tides"}, {"search": "ID", "q": "tides", "hits": []}, False),
        ("search", {"q": "tides"}, {"request_id": "ID", "q": "tides"}, False),
        ("search", {"q": "tides"}, {"q": "tides", "state": "ok"}, False),
    ],
)
def test_a_new_id_with_what_was_asked_for_is_new(
    tool: str, args: dict[str, Any], answer: dict[str, Any], is_new: bool
) -> None:
    """The answer of a queue repeats the request, with a state; another answer differs only in its id."""
    answers = [json.loads(json.dumps(answer).replace("ID", id)) for id in _UUIDS]
    calls = [call(tool, args, returns) for returns in answers]
    assert kinds(*calls) == ([] if is_new else [("repeat", 4)])


def test_a_loop_knows_whether_its_results_differ_in_ids() -> None:
    """Its sentence must not call them the same; failures have no results."""
    answers = [{"request_id": id, "hits": 3} for id in _UUIDS]
    differing = loops.find([call(returns=answer) for answer in answers])
    same = loops.find([call(returns=answers[0]) for _ in answers])
    cycle = loops.find([call(tool, returns=answer) for answer in answers for tool in ("look", "walk")])
    failing = loops.find([call(failed=True) for _ in answers])
    assert [loop.only_alike for each in (differing, same, cycle, failing) for loop in each] == [
        True, False, True, False,
    ]  # fmt: skip
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(str(loop)))
    for answer in answers[:3]:
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=answer))
    assert heard == ["search: returned the same result except for ids and times, 3 times"]
    sentence = (
        "was called 3 times in a row with the same arguments, and the same result except for ids and times: 'q=tides'"
    )
    assert sentence in plain(waste_page.sentence_of(read()["loops"][0]))


@pytest.mark.parametrize(
    "answer",
    [
        '{{"hits": [1, 2], "took_ms": {0}.2}}',
        '{{"hits": [], "tookMs": {0}}}',
        '{{"hits": [], "meta": {{"query_time": "0.0{0}", "n": 1}}}}',
        '{{"hits": [], "elapsed": {0}.5e-3}}',
        '{{"hits": [], "request_latency_seconds": {0}}}',
        '"1 failed, 12 passed in 0.{0}s"',
        '"1 failed\\n0.{0}s"',
        '"1 failed in 6{0}.12s (0:01:0{0})"',
        '"done in 1m{0}s; compiled 5 files in {0} ms, linked in 1,{0} sec"',
        '"took 1.{0} seconds\\nno hits"',
        '"{{\\"hits\\": [], \\"duration\\": {0}.7}}"',
    ],
)
def test_how_long_an_answer_took_is_no_news(answer: str) -> None:
    """A number with a unit of time, or under a key that says so."""
    assert kinds(*[call(returns=json.loads(answer.format(n))) for n in range(1, 5)]) == [("repeat", 4)]


@pytest.mark.parametrize(
    "answer",
    [
        '{{"took_ms": {0}}}',
        '"0.{0}s"',
        '"{0} ms"',
        '{{"duration": {0}}}',
        '{{"count": {0}, "took_ms": 5}}',
        '"{0}0s of 300s"',
        '"{0} minutes left"',
        '"{0} files in 0.12s"',
        '"in the 19{0}0s"',
        '"v{0}s"',
        '"{0} m of cable"',
        '{{"mistook": "{0} hits"}}',
        '{{"timeout": {0}}}',
    ],
)
def test_what_changes_besides_is_news(answer: str) -> None:
    """A result that is only a duration, progress such as `30s of 300s`, and other numbers."""
    assert kinds(*[call(returns=json.loads(answer.format(n))) for n in range(1, 5)]) == []


def test_an_error_with_a_duration_is_the_same_error() -> None:
    """How long a tool waited does not matter."""
    errors = [loops.error_digest("TimeoutError", f"no answer after 5.0{n}s", (0, 0)) for n in range(3)]
    assert kinds(*[call(args={"n": n}, failed=True, error=error) for n, error in enumerate(errors)]) == [("error", 3)]


@pytest.mark.parametrize(
    "message",
    [
        "409 conflict: stored version is {0}8, you sent {0}",
        "no row {0} in 'table_{0}'",
        'no such file: "/data/{0}/part-{0}.csv"',
        "unknown id 9f{0}c41d2 (0x{0}f)",
    ],
)
def test_an_error_with_other_values_is_the_same_error(message: str) -> None:
    """Numbers, ids and quoted texts in it do not count."""
    errors = [loops.error_digest("RuntimeError", message.format(n), (0, 0)) for n in range(3)]
    assert len({*errors}) == 1


@pytest.mark.parametrize(
    "messages",
    [
        ("'a'", "'b'"),
        ("17", "18"),
        ("can't read, it isn't there", "can't write, it isn't there"),
        ("Error code: 400 - {'message': 'too long'}", "Error code: 400 - {'message': 'no such model'}"),
        ("403 licence has ended", "403 no licence"),
    ],
)
def test_an_error_that_says_something_else_is_another(messages: tuple[str, str]) -> None:
    """So is one whose message is a value and nothing else, as that of a KeyError."""
    one, other = (loops.error_digest("KeyError", message, (0, 0)) for message in messages)
    assert one != other


def test_a_call_without_arguments() -> None:
    """It can be compared by its result."""
    assert kinds(*[call(args={}) for _ in range(3)]) == [("repeat", 3)]


def test_a_cycle() -> None:
    """Several calls in turn, three times; the shortest cycle counts, and a round that breaks off belongs to it."""
    two = [call("a"), call("b")]
    assert kinds(*two * 2) == []
    [loop] = loops.find([call(name) for name in "abcabcabca"])
    assert (loop.kind, loop.period, loop.tools, len(loop.calls), loop.rounds) == ("cycle", 3, ["a", "b", "c"], 10, 3)
    assert len(loop.wasted) == 7
    assert kinds(*[call(name) for name in "aabaabaab"]) == [("cycle", 9)]
    assert kinds(*[call(name) for name in "xyaaaaaaz"]) == [("repeat", 6)]


def test_a_cycle_of_failures_is_one_loop() -> None:
    """The failures in it are not listed again."""
    calls = [one for _ in range(4) for one in (call("open", failed=True, error=1), call("stat"))]
    assert kinds(*calls) == [("cycle", 8)]


def test_a_retry_storm() -> None:
    """The same call that fails three times, whatever the error."""
    assert kinds(*[call(failed=True, error=error) for error in (1, 2, 3, 1)]) == [("retry", 4)]


def test_the_same_error_again() -> None:
    """It counts with other arguments, and with calls of other tools between."""
    failing = [call(args={"n": n}, failed=True, error=7) for n in range(4)]
    assert kinds(*failing) == [("error", 4)]
    assert kinds(failing[0], call("other"), failing[1], call("third"), failing[2]) == [("error", 3)]
    assert kinds(failing[0], failing[1], call(args={"n": 9}), failing[2]) == []
    assert kinds(*[call(args={"n": n}, failed=True, error=n) for n in range(4)]) == []


def test_a_habit() -> None:
    """The same call five times with others between is worth a note."""
    between = [one for n in range(5) for one in (call("ls"), call("edit", args={"n": n}))]
    assert kinds(*between) == [("again", 5)]
    assert kinds(*between[:-2]) == []


def test_without_keeping_it_needs_little_memory() -> None:
    """A program that runs without end has a few calls in memory, and one alarm for each loop."""
    detector = loops.Detector(keep=False)
    alarms = [loop for _ in range(500) if (loop := detector.add(call())) is not None]
    failing = [call("b", {"n": n}, failed=True, error=1) for n in range(500)]
    alarms += [loop for one in failing if (loop := detector.add(one)) is not None]
    assert [(loop.kind, len(loop.calls)) for loop in alarms] == [("repeat", 3), ("error", 3)]


# What it cost


def test_what_repeats_cost() -> None:
    """The first round is not wasted, and an LLM call belongs to the tool call that follows it."""
    session = localops.start_session(name="spender")
    for _ in range(4):
        session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=100, completion_tokens=10, cost=0.25))
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[], cost=0.5))
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=7, completion_tokens=7, cost=1))
    document = read(session)
    [loop] = document["loops"]
    assert (loop["kind"], loop["tools"], loop["calls"], loop["input"]) == ("repeat", ["search"], 4, "q=tides")
    assert loop["wasted"] == document["wasted"]
    wasted = {"calls": 3, "llm_calls": 3, "tokens_in": 300, "tokens_out": 30, "cost_usd": 2.25}
    assert {name: document["wasted"][name] for name in wasted} == wasted
    assert not document["wasted"]["cost_at_least"]


def test_an_llm_call_inside_of_a_repeated_call_was_wasted_too() -> None:
    """A tool that asks a model itself."""
    session = localops.start_session()
    for cost in (1, 2, 4):
        with session.operation("summarise", kind="tool", params={"text": "long"}) as tool:
            session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=50, completion_tokens=5, cost=cost))
            tool.returns("short")
    wasted = read()["wasted"]
    assert (wasted["llm_calls"], wasted["cost_usd"]) == (2, 6)


def test_a_call_without_a_price_makes_a_lower_bound() -> None:
    """What it cost is not known."""
    session = localops.start_session()
    for _ in range(3):
        session.record(localops.LLMEvent(model="of our own", prompt_tokens=1_000_000, completion_tokens=0))
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    document = read()
    wasted = {"cost_nano": 0, "cost_at_least": True, "unpriced": 2}
    assert {name: document["wasted"][name] for name in wasted} == wasted


def test_failures_by_tool_error_and_arguments() -> None:
    """An error that was recorded later counts, and calls of other shapes are lines of their own."""
    session = localops.start_session()
    for path in ("a", "b"):
        event = ToolEvent(name="read", params={"path": path, "limit": 3})
        session.record(ErrorEvent(trigger_event=event, exception=FileNotFoundError(f"no {path}")))
    late = ToolEvent(name="read", params={"all": True})
    session.record(late)
    session.record(ErrorEvent(trigger_event=late, exception=PermissionError("not yours")))
    session.record(ToolEvent(name="read", params={"path": "c", "limit": 3}, returns="x"))
    first, second = read()["failures"]
    assert (first["tool"], first["error"]) == ("read", "FileNotFoundError")
    assert first["arguments"] == "limit: number, path: text"
    assert (first["failures"], first["calls"], first["message"]) == (2, 4, "no b")
    assert (second["error"], second["arguments"], second["failures"]) == ("PermissionError", "all: truth", 1)


def test_marks_of_polling() -> None:
    """The decorator, the event, the operation and the setting say that a tool polls."""

    @localops.tool(polling=True)
    def wait(job: str) -> str:
        return "pending"

    session = localops.init(polling=["watch", "look"])
    for _ in range(loops.OFTEN):
        wait("j1")
        session.record(ToolEvent(name="poll", params={"job": 1}, returns="pending", polling=True))
        with session.operation("ask", kind="tool", params={"job": 1}, polling=True) as operation:
            operation.returns("pending")
        session.record(ToolEvent(name="watch", params={"job": 1}, returns="pending"))
        with session.operation("look", kind="tool", params={"job": 1}) as operation:
            operation.returns("pending")
    assert read()["loops"] == []


def test_a_name_may_be_anything() -> None:
    """It is compared only if it is a text."""

    class Hostile:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("not with me")

    name: Any = Hostile()
    session = localops.init(polling=["watch"], on_loop=lambda *given: None)
    session.record(ToolEvent(name=name, params={"n": 1}))
    with session.operation(name, kind="tool"):
        pass
    assert session.get_analytics()["Tool calls"] == 2


def test_names_from_outside_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is given names of tools, by `--polling` and the settings of the home."""
    session = localops.start_session()
    for _ in range(3):
        session.record(ToolEvent(name="watch", params={"job": 1}, returns="pending"))
    with Home() as home:
        [project] = home.projects
        seen = project.snapshot(home.find("last")[1])
        assert waste.of("default", seen, project.reader)["alarming"] == 1
        assert waste.of("default", seen, project.reader, polling=["watch"])["loops"] == []


def test_of_a_long_session_the_end_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document says that it is not complete."""
    monkeypatch.setattr(waste, "MOST_ROWS", 10)
    session = localops.start_session()
    for _ in range(20):
        session.record(ToolEvent(name="watch", params={"job": 1}, returns="pending"))
    document = read()
    assert (document["complete"], document["loops"][0]["calls"]) == (False, 10)


@pytest.mark.parametrize("where", ["arguments", "result", "generator", "step"])
def test_a_call_of_which_something_is_not_recorded_is_like_no_other(where: str) -> None:
    """Neither in a report nor for the alarm, as calls may differ in what was left out."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    @localops.tool(capture_request=False)
    def send(n: int) -> str:
        return "sent"

    @localops.tool(capture_response=False)
    def next_page(of: str) -> int:
        return len(list(session.events))

    @localops.tool
    def lines(path: str) -> Iterator[int]:
        yield len(list(session.events))

    @localops.tool(once=True, capture_response=False, name="pay for a call")
    def pay(to: str) -> int:
        return len(list(session.events))

    for n in range(4):
        if where == "generator":
            list(lines("a"))
        elif where == "step":
            pay("a")
        elif where == "result":
            next_page("a")
        else:
            send(n)
    session.record(ToolEvent(name="other", params={"n": 1}))
    assert alarms == []
    assert read(session)["loops"] == []


def test_what_is_recorded_of_such_calls_is_compared() -> None:
    """A call without arguments leaves none out, nor does one without a result; failures have both."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))

    @localops.tool(capture_request=False)
    def look() -> str:
        return "nothing"

    @localops.tool(capture_response=False)
    def save(n: int) -> None:
        if n == 2:
            raise ValueError(f"not now, at {session.session_id}")

    for call in (look, lambda: save(1), lambda: save(2)):
        for _ in range(3):
            with contextlib.suppress(ValueError):
                call()
    session.record(ToolEvent(name="other", params={"n": 1}))
    wanted = [("repeat", "look"), ("repeat", "save"), ("retry", "save")]
    assert [(loop.kind, loop.tools[0]) for loop in alarms] == wanted
    assert [(loop["kind"], loop["tools"][0]) for loop in read(session)["loops"]] == wanted


# The alarm


def repeat(session: Session, times: int) -> None:
    """Make the same call."""
    for _ in range(times):
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))


def test_the_alarm_comes_once_with_the_third_call() -> None:
    """`on_loop` gets session and loop; what it returns does not matter."""
    heard: list[tuple[Session, Loop]] = []
    session = localops.init(on_loop=lambda *given: heard.append(given))
    repeat(session, 2)
    assert heard == []
    repeat(session, 5)
    [(where, loop)] = heard
    assert where is session
    assert (loop.kind, loop.tools, len(loop.calls), loop.agent_id) == ("repeat", ("search",), 3, None)
    assert str(loop) == "search: returned the same result again, 3 times"


def test_the_text_of_a_cycle_of_one_tool_names_what_it_was_given() -> None:
    """Names alone would not tell its calls apart; where they do, they are enough."""
    alarms: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: alarms.append(loop))
    path = "/srv/data/of/the/harbour/office/tides-of-"
    for _ in range(3):
        for params in ({"path": path + "monday"}, {"path": path + "tuesday"}, {}):
            session.record(ToolEvent(name="read", params=params, returns="nothing"))
    for _ in range(3):
        for tool in ("look", "walk"):
            session.record(ToolEvent(name=tool, params={"at": 1}, returns=0))
    assert [str(loop) for loop in alarms] == [
        (
            "read (…our/office/tides-of-monday), read (…our/office/tides-of-tuesday), read: "
            "returned the same result again, 3 times"
        ),
        "look, walk: returned the same result again, 3 times",
    ]
    assert [loop.inputs[-1] for loop in alarms] == ["", "at=1"]


def test_it_comes_before_the_fourth_call_begins() -> None:
    """A decorated call returns its result; the next operation of whatever kind does not begin."""
    made: list[str] = []

    def stop(_: Session, loop: Loop) -> None:
        raise LoopDetected(str(loop))

    @localops.tool
    def search(query: str) -> str:
        made.append(query)
        return "nothing"

    localops.init(on_loop=stop)
    for _ in range(3):
        search("tides")
    with pytest.raises(LoopDetected, match="search: returned the same result again, 3 times"):
        search("tides")
    assert made == ["tides"] * 3
    # The program may go on.
    assert search("ferries") == "nothing"


def test_a_loop_that_was_stopped_stays_stopped() -> None:
    """Whatever catches the exception, in whatever thread: until another tool is called, the call does not begin."""
    made: list[str] = []
    heard: list[int] = []

    def stop(_: Session, loop: Loop) -> None:
        heard.append(loop.rounds)
        raise LoopDetected(str(loop))

    @localops.tool
    def search(query: str) -> str:
        made.append(query)
        return "nothing"

    def stubborn(times: int, query: str = "tides") -> None:
        for _ in range(times):
            with contextlib.suppress(Exception):
                search(query)

    session = localops.init(on_loop=stop)
    stubborn(6)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(stubborn, 2))
    thread.start()
    thread.join()
    assert (made, heard) == (["tides"] * 3, [3] * 5)
    with session.operation("think"):
        pass
    stubborn(1)
    assert (len(made), len(heard)) == (3, 6)
    search("ferries")
    search("tides")
    assert len(made) == 5


def test_a_loop_that_is_recorded_afterwards_is_stopped_each_time() -> None:
    """Its calls were already made, and count; if the hook lets a loop continue, it is not called for it again."""
    heard: list[int] = []

    def stop(_: Session, loop: Loop) -> None:
        heard.append(loop.rounds)
        if len(heard) < 5:
            raise LoopDetected(str(loop))

    session = localops.init(on_loop=stop)
    for _ in range(5):
        with contextlib.suppress(LoopDetected):
            session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    for n in range(7):
        with contextlib.suppress(LoopDetected):
            event = ToolEvent(name="save", params={"n": n})
            session.record(ErrorEvent(trigger_event=event, exception=ValueError("full")))
    assert heard == [3, 4, 5, 3, 4]
    assert session.get_analytics()["Tool calls"] == 12


def test_a_call_that_is_recorded_afterwards_ends_what_was_stopped() -> None:
    """So does a call that begins here: the agent has done something else, and may try the first call again."""

    def stop(_: Session, loop: Loop) -> None:
        raise LoopDetected(str(loop))

    @localops.tool
    def search(query: str) -> str:
        return "nothing"

    session = localops.init(on_loop=stop)
    for _ in range(3):
        search("tides")
    for _ in range(2):
        with pytest.raises(LoopDetected):
            search("tides")
    session.record(ToolEvent(name="read", params={"page": 1}, returns="something"))
    assert search("tides") == "nothing"


@pytest.mark.parametrize("in_two", [False, True], ids=["one row", "two rows"])
def test_calls_whose_keys_have_another_order_are_the_same(in_two: bool) -> None:
    """Also among calls of the same length, and where a key is called as the result is."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop.inputs[0]))

    def call(params: dict[str, Any]) -> None:
        if not in_two:
            session.record(ToolEvent(name="find", params=params, returns=[]))
            return
        with session.operation("find", kind="tool", params=params) as operation:
            operation.returns([])

    for n in range(30):
        call({"query": f"tides {10 + n}", "limit": 5})
        call({"limit": 5, "query": f"tides {10 + n}"})
    assert heard == []
    for names in (("query", "limit", "page"), ("limit", "query", "page"), ("page", "limit", "query")):
        call({name: len(name) for name in names})
    for names in (("a", "returns", "b"), ("returns", "a", "b"), ("b", "a", "returns")):
        call({name: len(name) for name in names})
    assert heard == ["query=5 limit=5 page=4", "a=1 returns=7 b=1"]


def test_calls_inside_of_others_do_not_push_out_those_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the many tool calls that had calls inside of them, those that have ended are forgotten first."""
    monkeypatch.setattr(loops, "MOST_STREAMS", 4)
    heard: list[tuple[str, ...]] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop.tools))
    for n in range(20):
        # The last nine are three rounds of three.
        with session.operation("outer", kind="tool", params={"n": n if n < 11 else n % 3}) as outer:
            session.record(ToolEvent(name="inner", params={"n": n}, returns=n))
            outer.returns("the same")
    assert heard == [("outer",) * 3]


def test_long_arguments_that_are_equally_long() -> None:
    """They are not the same for that, and those that are the same are found among them."""
    heard: list[Loop] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop))
    for n in (1, 2, 3, 4, 5, 5):
        session.record(ToolEvent(name="read", params={"text": f"{n:0500}"}, returns="nothing"))
    assert heard == []
    session.record(ToolEvent(name="read", params={"text": f"{5:0500}"}, returns="nothing"))
    assert len(heard) == 1
    for n in (6, 7, 7):
        session.record(ToolEvent(name="read", params={"text": f"{n:0500}"}, returns="nothing"))
    assert len(heard) == 1


@pytest.mark.parametrize("has_succeeded", [False, True])
def test_what_was_called_between_the_same_errors(has_succeeded: bool) -> None:
    """However many calls of other tools: they count together until the tool has succeeded."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(loop.kind))
    for n in range(3):
        event = ToolEvent(name="save", params={"n": n})
        session.record(ErrorEvent(trigger_event=event, exception=ValueError("full")))
        for other in range(n * 20, n * 20 + 15):
            session.record(ToolEvent(name="read", params={"n": other}, returns=other))
            if has_succeeded and other == 22:
                session.record(ToolEvent(name="save", params={"n": "small"}, returns="saved"))
    assert heard == ([] if has_succeeded else ["error"])


def test_a_cycle_that_was_stopped_and_comes_again_after_other_calls() -> None:
    """It is another one, and nothing is heard of it before its third round has ended."""
    heard: list[int] = []

    def stop(_: Session, loop: Loop) -> None:
        heard.append(loop.rounds)
        raise LoopDetected(str(loop))

    session = localops.init(on_loop=stop)

    def call(numbers: range) -> None:
        for n in numbers:
            with contextlib.suppress(LoopDetected):
                session.record(ToolEvent(name="read", params={"page": n}, returns="nothing"))

    for _ in range(3):
        call(range(loops.LONGEST))
    call(range(100, 120))
    call(range(loops.LONGEST))
    call(range(loops.LONGEST))
    assert heard == [3]
    call(range(loops.LONGEST))
    assert heard == [3, 3]


def test_the_alarm_of_a_failing_call() -> None:
    """The error is recorded first."""
    heard: list[str] = []
    session = localops.init(on_loop=lambda _, loop: heard.append(f"{loop.kind} {len(loop.calls)}"))
    for n in range(4):
        with pytest.raises(ValueError, match="bad draft"), session.operation("save", kind="tool", params={"n": n}):
            raise ValueError("bad draft")
    assert heard == ["error 3"]
    for _ in range(4):
        with pytest.raises(TimeoutError), session.operation("fetch", kind="tool", params={"url": "a"}):
            raise TimeoutError(f"after {len(heard)} s")
    assert heard == ["error 3", "retry 3"]
    assert session.get_analytics()["Errors"] == 8


def test_a_hook_that_fails_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Its error never reaches the program."""

    def hook(_: Session, loop: Loop) -> None:
        raise KeyError("nothing to see")

    session = localops.init(on_loop=hook)
    repeat(session, 3)
    session.record(ToolEvent(name="other", params={"n": 1}, returns=[]))
    repeat(session, 3)
    assert capsys.readouterr().err.count("on_loop failed: KeyError: 'nothing to see'") == 1
    assert session.get_analytics()["Tool calls"] == 7


def test_a_hook_may_end_the_program() -> None:
    """An exit is the program's own."""

    def hook(_: Session, loop: Loop) -> None:
        raise SystemExit(3)

    session = localops.init(on_loop=hook)
    with pytest.raises(SystemExit):
        repeat(session, 3)


def test_without_a_hook_nothing_is_compared() -> None:
    """The recording path then does nothing for it."""
    session = localops.init()
    assert session.recorder.loops is None


def test_the_alarm_is_that_of_the_detector() -> None:
    """Calls that are put aside at first give the same alarms as calls that are all compared at once."""
    many = 0
    for seed in range(60):
        random = Random(seed)
        watch, detector = LoopWatch(["poll"], lambda *_: None), loops.Detector(keep=False)
        numbers = [1, 1, *range(2, 40)] if seed % 4 == 0 else [1, 1, 1, 12, 21]
        texts = ["ab" * 200 + str(number) for number in (12, 21, 13, 22, 31)]
        long: list[str | None] = [None, *(texts if seed % 3 == 0 else [])]
        alarms: list[tuple[str, list[bytes]]] = []
        for number in range(120):
            id, agent = number.to_bytes(16, "big"), random.choice([None, b"a" * 16])
            tool, failed = random.choice(["look", "look", "poll"]), random.random() < 0.2
            items = [
                ("n", random.choice(numbers)),
                ("more", random.choice([None, None, None, {"returns": 1}])),
                ("long", random.choice(long)),
            ]
            params = {name: value for name, value in random.sample(items, 3) if value is not None}
            result = {"returns": random.choice([7, 7, 7, "other"])} if random.random() < 0.9 and not failed else {}
            beside = random.choice([{}, {"logs": f"line {number * 7919}"}])
            error = ("ValueError", random.choice(["bad", "worse"])) if failed else None
            in_two = random.random() < 0.5
            opened = {"params": params, **(beside if in_two else {})}
            ended = {**result} if in_two else {**opened, **result, **beside}
            text = encode.dumps(ended).decode() if ended else None
            row = rows.plain(id, rows.DONE, bytes(16), "tool", tool, None, agent, number, None, text)
            if in_two:
                begun = encode.dumps(opened).decode()
                first = rows.plain(id, rows.OPEN, bytes(16), "tool", tool, None, agent, number, None, begun)
                watch.open[id] = None
                if beside or failed:
                    watch.look(first, row, error=error, failed=failed)
                else:
                    watch.ended(first, row)
            elif result:
                watch.recorded(row)
            else:
                watch.look(row, row, error=error, failed=failed)
            digest = loops.error_digest(*error, (0, 0)) if error else None
            plain = Call(
                id, tool, opened, ended, agent=agent, failed=failed, error=digest, waits=tool == "poll", period=(0, 0)
            )
            loop = detector.add(plain)
            if loop is not None:
                alarms.append((loop.kind, [call.id for call in loop.calls]))
        assert [(loop.kind, [id.bytes for id in loop.calls]) for loop, _ in watch.waiting] == alarms, seed
        many += len(alarms)
    assert many > 20


def test_calls_have_their_arguments_whatever_order_their_rows_were_stored_in(tmp_path: Path) -> None:
    """An import may store closing rows first; calls with different arguments are no loop."""
    session = begun()
    for number in range(6):
        for name in ("look", "turn"):
            with session.operation(name, kind="tool", params={"number": number}) as step:
                step.returns("ok")
    session.end_session("Success")
    with contextlib.closing(Journal(str(tmp_path))) as copy:
        with Reader(session._journal.path) as reader:
            copy.add(made.with_closings_first(row.bare for row in stored.of_session(reader, session._id)))
        copy.fold()
    with Reader(copy.path) as reader:
        seen = Waste(reader, session._id)
        assert (len(seen._calls), seen.loops) == (12, [])
        assert [seen._input(tool) for tool in seen.tools_of(seen._calls[:2])] == ["number=0", "number=0"]
