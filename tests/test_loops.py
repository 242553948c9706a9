"""Loops of tool calls: which calls are one, in runs with planted loops, and case by case."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

import localops
from localops import Loop, Session, ToolEvent
from localops.reading import loops, waste_page
from localops.reading.home import Home
from localops.reading.loops import Call
from localops.reading.sentences import plain
from localops.reading.waste import Waste
from tests import loop_runs
from tests.examples import sized
from tests.loop_calls import call, kinds, read
from tests.loop_runs import Planted

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
