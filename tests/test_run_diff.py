"""The differences of two runs, in real journals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

import localops
from localops import clock
from localops.decorators import operation
from localops.decorators import tool as tool_of
from localops.journal.journal import Journal
from localops.reading import analytics, steps
from localops.reading.home import Home
from localops.reading.made_up import without_ids
from localops.reading.run_diff import MARKS, RunDiff
from localops.reading.steps import Steps
from tests.examples import examples
from tests.planned import Plan, agent, llm, record, step, tool

_DAY_NS = 86_400 * 1_000_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal to write runs into."""
    journal = Journal(str(tmp_path / "home" / "default"))
    yield journal
    journal.close()


def _diff(journal: Journal, a: list[Plan], b: list[Plan]) -> RunDiff:
    return RunDiff(*(Steps.read(journal, record(journal, plans)) for plans in (a, b)))


def _counts(diff: RunDiff) -> dict[str, int]:
    return {mark: many for mark, many in diff.counts.items() if many}


def _differences(diff: RunDiff) -> list[tuple[str, str]]:
    return [(" ".join(line.marks), line.step.label) for line in diff.lines if line.marks]


def test_each_difference_has_its_mark(journal: Journal) -> None:
    """What was added, removed or changed, what failed, was fixed, got slower or costlier."""
    a = [tool("same"), tool("gone"), tool("other", n=1), tool("breaks"), tool("heals", True), llm("a"), tool("slow")]
    b = [tool("same"), tool("other", n=2), tool("breaks", True), tool("heals"), llm("a"), tool("slow"), tool("new")]
    b[4].cost = 5_000_000
    b[5].seconds = 0.5
    assert _differences(_diff(journal, a, b)) == [
        ("removed", "gone"),
        ("changed", "other"),
        ("failed", "breaks"),
        ("fixed", "heals"),
        ("costlier", "gpt-4o-mini"),
        ("slower", "slow"),
        ("added", "new"),
    ]


def test_the_order_of_keys_does_not_matter(journal: Journal) -> None:
    """The same arguments in another order are the same arguments; other ones are not."""
    a = [Plan("tool", "t", {"a": 1, "b": {"c": 2, "d": 3}})]
    assert _counts(_diff(journal, a, [Plan("tool", "t", {"b": {"d": 3, "c": 2}, "a": 1})])) == {}
    assert _counts(_diff(journal, a, [Plan("tool", "t", {"b": {"d": 2, "c": 3}, "a": 1})])) == {"changed": 1}


def test_a_call_on_another_model_is_the_same_call_changed(journal: Journal) -> None:
    """The model of a call is a part of what it was given, and not its name."""
    diff = _diff(journal, [llm("why?"), tool("t")], [llm("why?", model="gpt-4o"), tool("t")])
    assert _differences(diff) == [("changed", "gpt-4o")]


def test_calls_with_the_same_result_belong_together(journal: Journal) -> None:
    """Of three equal calls, one with the same result was removed; another result is a separate difference."""

    def run(*results: str) -> list[Plan]:
        return [Plan("tool", "run_tests", {}, gives=result) for result in results]

    diff = _diff(journal, run("1 failed", "1 failed", "passed"), run("1 failed", "passed"))
    assert (_counts(diff), diff.same) == ({"removed": 1}, 2)
    diff = _diff(journal, run("1 failed", "passed"), run("1 failed", "2 failed"))
    assert (_counts(diff), diff.same) == ({"result": 1}, 1)


def test_steps_inside_are_aligned_with_those_of_the_same_parent(journal: Journal) -> None:
    """The first of three operations is removed, and not each of their calls changed."""
    parts = [step("part", *(tool("search", q=f"{part} {number}") for number in range(3))) for part in range(3)]
    diff = _diff(journal, parts, [part.copy() for part in parts[1:]])
    assert _counts(diff) == {"removed": 4}
    assert diff.lines[0].marks == ("removed",)


def test_a_slow_call_does_not_make_its_parents_slow(journal: Journal) -> None:
    """Only the step that took longer by itself is slower."""
    a, b = [step("outer", step("inner", tool("fetch")))], [step("outer", step("inner", tool("fetch")))]
    b[0].inside[0].inside[0].seconds = 2.0
    assert _differences(_diff(journal, a, b)) == [("slower", "fetch")]


def test_a_retry_is_added_and_the_call_still_works(journal: Journal) -> None:
    """The call that succeeded is the same as before; the one that failed before it is new."""
    diff = _diff(journal, [tool("fetch", u=1), tool("t")], [tool("fetch", True, u=1), tool("fetch", u=1), tool("t")])
    assert [(line.marks, line.step.failed) for line in diff.lines] == [(("added",), True), ((), False), ((), False)]


def test_the_lines_are_all_steps_of_both_runs_in_their_order(journal: Journal) -> None:
    """Without what was added, the lines are the first run; without what was removed, the second."""
    random = Random(3)
    runs = [agent(random), agent(random)]
    a, b = (Steps.read(journal, record(journal, plans)) for plans in runs)
    lines = RunDiff(a, b).lines
    assert [line.a for line in lines if line.a] == a.all
    assert [line.b for line in lines if line.b] == b.all


def test_a_step_in_another_place_has_moved(journal: Journal) -> None:
    """It is one difference, listed at its place in the second run; its result and inner steps are compared."""
    a = [tool("first"), tool("prices", market="west"), tool("recipes"), step("check", tool("rate"), tool("say"))]
    b = [step("check", tool("rate", True)), tool("first"), tool("recipes"), tool("prices", market="west")]
    a[1].gives, b[3].gives = {"leek": 1}, {"leek": 2}
    diff = _diff(journal, a, b)
    assert _differences(diff) == [
        ("moved", "check"),
        ("failed", "rate"),
        ("removed", "say"),
        ("moved result", "prices"),
    ]
    assert [line.moved for line in diff.lines if line.moved] == ["earlier", "later"]
    assert diff.same == 2


def test_other_arguments_in_another_place_have_not_moved(journal: Journal) -> None:
    """They are another call; of two removed calls, the one with the same result has moved."""
    diff = _diff(journal, [tool("find", n=1), tool("end")], [tool("end"), tool("find", n=2)])
    assert _counts(diff) == {"added": 1, "removed": 1}
    calls = [tool("find"), tool("find"), tool("end")]
    calls[0].gives, calls[1].gives = "one", "two"
    last = tool("find")
    last.gives = "two"
    diff = _diff(journal, calls, [tool("end"), last])
    assert _differences(diff) == [("removed", "find"), ("moved", "find")]


@pytest.mark.parametrize("at", [0, 1])
def test_of_two_that_may_belong_to_a_step_the_one_more_alike_does(journal: Journal, at: int) -> None:
    """By its arguments; of a model by its prompt and its answer."""
    again = [tool("classify", lines=13, rules="v4"), tool("classify", lines=84, rules="v4")]
    diff = _diff(journal, [tool("classify", lines=84, rules="v5")], again if at else again[::-1])
    assert [each[0] for each in _differences(diff)] == (["added", "changed"] if at else ["changed", "added"])
    calls = [llm("sort October", "so"), llm("sort October and then sum it", "so"), llm("who?", "so")]
    calls[2].gives = calls[0].gives = "post 84 entries"
    first, *others = calls
    diff = _diff(journal, [first], others if at else others[::-1])
    assert [each[0] for each in _differences(diff)] == (["added", "changed"] if at else ["changed", "added"])


# Runs that were changed in a known way


def _places(plans: list[Plan]) -> Iterator[list[Plan]]:
    """Yield each list of steps, inside of any other."""
    yield plans
    for plan in plans:
        yield from _places(plan.inside)


def _mutate(random: Random, plans: list[Plan]) -> tuple[int, int]:
    """Change a run in one way; return how many differences the shortest script has, without and with moved steps."""
    place = random.choice([inside for inside in _places(plans) if len(inside) > 1])
    at = random.randrange(len(place) - 1)
    one, other = place[at], place[at + 1]
    way = random.choice(("insert", "drop", "swap", "model", "retry"))
    if way == "insert":
        place.insert(at, random.choice((tool("search", query=-1), llm("new"), step("more", tool("note")))))
        return (place[at].size,) * 2
    if way == "drop":
        del place[at]
        return (one.size,) * 2
    if way == "swap":
        place[at : at + 2] = [other, one]
        return 2 * min(one.size, other.size), 1
    if way == "model" and (calls := [plan for plan in place if plan.kind == "llm"]):
        random.choice(calls).model = "another-model"
        return 1, 1
    again = one.copy()
    again.failed = True
    place.insert(at, again)
    return (again.size,) * 2


def test_the_script_is_the_shortest(journal: Journal) -> None:
    """Runs that were changed in up to three ways have no more differences than that.

    A swap is one; rarely a script without it is as short as that with the moved step, and then longer by one.
    """
    longer = 0
    for seed in range(examples(60)):
        random = Random(seed)
        a = agent(random)
        b = [plan.copy() for plan in a]
        most, with_moved = map(sum, zip(*(_mutate(random, b) for _ in range(random.randint(1, 3))), strict=True))
        diff = _diff(journal, a, b)
        counts = _counts(diff)
        assert sum(counts.values()) <= most, (seed, counts)
        longer += sum(counts.values()) > with_moved
        assert diff.is_exact
    assert longer <= examples(60) / 100


def test_a_repeated_run_has_no_difference(journal: Journal) -> None:
    """100 runs of one agent, with other ids, times, addresses and temporary files in what its calls were given."""

    def run(number: int, start_ns: int) -> list[Plan]:
        random = Random(number)
        plans = agent(Random(1))
        for plan in (plan for inside in _places(plans) for plan in inside):
            plan.seconds = random.uniform(0.01, 0.08)
            if plan.kind == "tool":
                now = start_ns // 1_000_000_000 + random.randrange(60)
                plan.given |= {
                    "request_id": str(uuid4()),
                    "call": f"call_{uuid4().hex[:24]}1",
                    "at": now,
                    "started": now + 0.25,
                    "date": clock.iso(start_ns),
                    "file": f"/tmp/tmp{uuid4().hex[:8]}/x",
                    "object": f"<object at 0x7f{uuid4().hex[:10]}>",
                    "text": f"first\nid {uuid4()}\n{uuid4().hex}",
                }
                plan.gives = {"id": str(uuid4()), "text": f"20 passed in {plan.seconds:.2f}s"}
        return plans

    def read(number: int) -> Steps:
        start_ns = clock.now_ns() - number * 7 * _DAY_NS
        return Steps.read(journal, record(journal, run(number, start_ns), start_ns=start_ns))

    first = read(0)
    for number in range(1, 100):
        diff = RunDiff(first, read(number))
        assert _counts(diff) == {}
        assert diff.same_but_ids > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"01a2276f-5838-79e8-bfff-ce32c169d5b9"', '"<id>"'),
        ('"01A2276F583879E8BFFFCE32C169D5B9"', '"<id>"'),
        ('"a\\n01a2276f-5838-79e8-bfff-ce32c169d5b9"', '"a\\n<id>"'),
        ('"toolu_01A09q90qw90lq917835lq9"', '"<id>"'),
        ('"trace 00f067aa0ba902b7 of it"', '"trace <id> of it"'),
        ('"req-3f9a1c2b4d5e, req_3f9a1c2b."', '"<id>, <id>."'),
        ('"container 3f9a1c2b4d5e"', '"container <id>"'),
        ('"01J9ZQ4W8N3T5V7XKM2B6D0RFG"', '"<id>"'),
        ('"V1StGXR8_Z5jdHi6B-myT"', '"<id>"'),
        ('"call_RBrHWajcyAkhGUfpggblWogn thread_QzRBwHKjcyAkhGUfpggblWog call_77828591"', '"<id> <id> <id>"'),
        ('"order_RBjfktWqTzKSXhNn job-3f9a1c2b"', '"<id> <id>"'),
        ('"gen-1732925461-Rq3vTzKwXb9LmPdYhNsJ"', '"<id>"'),
        ('"session_01a2276f-5838-79e8-bfff-ce32c169d5b9 order_1p75qwks0etzfy1g6noxv"', '"<id> <id>"'),
        ('{"request_id":"a b"}', '{"request_id":"<id>"}'),
        (r'"{\"traceId\": \"7\", \"n\": 7}"', r'"{\"traceId\": \"<id>\", \"n\": 7}"'),
        ("{'x-request-id': 'PZ7'}", "{'x-request-id': '<id>'}"),
        ('"/tmp/pytest-of-ada/pytest-12/test_a0"', '"/tmp/<id>/test_a0"'),
        ('"2026-11-29T13:12:18Z"', '"<time>"'),
        ('"today is 2026-11-29."', '"today is <time>."'),
        ("1795957938", "<time>"),
        ("1795957938232", "<time>"),
        ("1795957938.5", "<time>"),
        # What a program may well mean:
        ('"2027-03-01"', '"2027-03-01"'),
        ('"2026-99-99"', '"2026-99-99"'),
        ("1234567890", "1234567890"),
        ('"4111111111111111"', '"4111111111111111"'),
        ('"internationalization-of-things"', '"internationalization-of-things"'),
        ('"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"', None),
        ('"gpt-4o-mini-2024-07-18"', '"gpt-4o-mini-2024-07-18"'),
        ('{"order_id":"EU-1","id":7}', None),
        ('"commit-20261130, sku-12345678, a1b2c3d4"', None),
        ('"Claude-Sonnet-4-5-20250929-Thinking"', None),
        ('"getOrdersOfCustomerV2AndTheirParcels"', None),
        ('"TESTRESULTS2026NOVEMBERALLOK"', None),
        ('"table_customerordersarchive2024"', None),
        ('"user_johnathandoe1985, customer_orders2024archive"', None),
        ('"eu-west-productioncluster01 file_finalreportversion2.pdf"', None),
        ('"acct-1234567890123456"', None),
        ('"sg-903004f8 shop-3f9a1c2b"', None),
    ],
)
def test_ids_and_times_of_a_run_are_left_out(text: str, expected: str | None) -> None:
    """What is made up in each run is; dates elsewhere, numbers and digests of content are not."""
    at_ns = 1_795_957_938_000_000_000
    assert without_ids(text, at_ns - _DAY_NS, at_ns + _DAY_NS) == (text if expected is None else expected)


def test_an_error_belongs_to_the_call_that_failed_with_it() -> None:
    """It is the reason of that call and no step of its own; an error of no call is one."""

    @tool_of(name="fetch")
    def fetch(url: str) -> None:
        raise TimeoutError("too late")

    @operation(name="work")
    def work() -> None:
        with pytest.raises(TimeoutError):
            fetch("u")

    session = localops.start_session()
    assert session is not None
    work()
    session.record(localops.ErrorEvent(exception=ValueError("alone")))
    session.end_session("Success")
    with Home() as opened:
        project, id = opened.find("last")
        run = Steps.read(project.reader, id)
    assert [(one.kind, one.label, one.error) for one in run.all] == [
        ("operation", "work", None),
        ("tool", "fetch", "TimeoutError: too late"),
        ("error", "ValueError", None),
    ]


_UUIDS = ("6f1c2a34-0d1b-4c55-9a57-2f7c1e0b9d11", "b41d7f02-77aa-4e0e-8a3f-0c5d9e6f1a22")


def _pay(*users: str, given: Sequence[str] = _UUIDS) -> list[Plan]:
    listed = tool("users", trace_id=uuid4().hex)
    listed.gives = list(given)
    return [listed, *[tool("pay", idempotency_key=uuid4().hex, user=user) for user in users]]


def test_an_id_that_both_runs_were_given_is_no_made_up_one(journal: Journal) -> None:
    """A call for another user is a change, with both ids in its texts; ids of its request do not count."""
    one, other = _UUIDS
    assert not _differences(_diff(journal, _pay(one), _pay(one)))
    runs = [record(journal, _pay(user)) for user in _UUIDS]
    diff = RunDiff(*(Steps.read(journal, run) for run in runs))
    assert _differences(diff) == [("changed", "pay")]
    texts = diff.texts(diff.lines[1], journal, journal)
    assert texts.given is not None
    assert [user in text for text in texts.given for user in _UUIDS] == [True, False, False, True]
    assert "<id>" in texts.given[0]
    # One of the two may be given to no run.
    new = str(uuid4())
    assert _differences(_diff(journal, _pay(one), _pay(new))) == [("changed", "pay")]
    assert not _differences(_diff(journal, _pay(str(uuid4())), _pay(new)))
    assert not _differences(_diff(journal, _pay(one, given=[one]), _pay(other, given=[other])))


def test_calls_in_another_order_are_no_calls_for_others(journal: Journal) -> None:
    """Both runs paid the same users, as calls in parallel may be made; a third user is a change."""
    one, other = _UUIDS
    assert not _differences(_diff(journal, _pay(one, other), _pay(other, one)))
    assert _differences(_diff(journal, _pay(one, other), _pay(other, other))) == [("changed", "pay")]


def test_what_a_run_made_and_the_next_one_found_is_made_up(journal: Journal) -> None:
    """Each run makes an order and pays it; the second run finds that of the first in a list."""

    def run(old: Sequence[str], new: str) -> list[Plan]:
        orders, made = tool("orders"), tool("order")
        orders.gives, made.gives = [*old], {"order": new}
        return [orders, made, tool("pay", order=new)]

    assert _differences(_diff(journal, run([], _UUIDS[0]), run(_UUIDS[:1], _UUIDS[1]))) == [("result", "orders")]


def test_the_day_of_a_run_is_its_own(journal: Journal) -> None:
    """A later run has the day before in its data; of two days that both were given, another one is a change."""
    noon_ns, days = 1_796_040_000 * 10**9, ("2026-11-29", "2026-11-30")

    def run(day: int, given: Sequence[str]) -> Steps:
        logs = tool("logs")
        logs.gives = [{"day": each} for each in given]
        plans = [logs, tool("report", day=days[day])]
        return Steps.read(journal, record(journal, plans, start_ns=noon_ns - _DAY_NS))

    assert "changed" not in _counts(RunDiff(run(0, days[:1]), run(1, days)))
    assert _counts(RunDiff(run(0, days), run(1, days))) == {"changed": 1}


def test_a_step_that_failed_with_one_inside_has_its_error(journal: Journal) -> None:
    """An exception that leaves several is recorded once; a step that did not fail has none."""

    def run(fails: bool) -> Plan:
        failing = tool("fetch", True)
        failing.inside = [Plan("error", "TimeoutError")]
        return Plan("operation", "work", failed=fails, inside=[failing])

    steps_of_run = Steps.read(journal, record(journal, [run(True), run(False)]))
    assert [(one.name, one.error) for one in steps_of_run.all] == [
        ("work", "TimeoutError"),
        ("fetch", "TimeoutError"),
        ("work", None),
        ("fetch", "TimeoutError"),
    ]


def test_empty_runs_have_no_difference(journal: Journal) -> None:
    """Two runs without events are the same; beside an empty run, every step is new."""
    assert _diff(journal, [], []).lines == []
    assert _counts(_diff(journal, [], [tool("a"), step("b", tool("c"))])) == {"added": 3}


@pytest.mark.parametrize("name", ["", "\x1b[2J", "a|b`c`", "\ud800", "x" * 5000, "../..", "<script>", "nul\0"])
def test_names_may_be_anything(journal: Journal, name: str) -> None:
    """A name is compared as it was recorded, and never interpreted."""
    safe = name.encode("utf-8", "replace").decode()
    diff = _diff(journal, [tool(safe, q=1), tool("t")], [tool(safe, q=2), tool("t")])
    assert [line.step.name for line in diff.lines if line.marks] == [safe]


def _events(journal: Journal, *parents: int | None) -> list[dict[str, Any]]:
    """Return events of one call each, which name one another as parents."""
    [event] = analytics.events(journal, record(journal, [tool("t", q=1)]))
    ids = [str(uuid4()) for _ in parents]
    return [
        {**event, "id": id, "parent": None if parent is None else ids[parent], "start_ns": number}
        for number, (id, parent) in enumerate(zip(ids, parents, strict=True))
    ]


def test_parents_that_cannot_be_do_not_matter(journal: Journal) -> None:
    """A step inside of itself, or of one that began later, is read as one inside of none."""
    run = Steps(_events(journal, 0, 2, 1))
    assert [len(step.inside) for step in run.roots] == [0, 1]
    assert len(run.all) == 3


def test_deep_nesting_is_compared_to_the_end(journal: Journal) -> None:
    """A difference 2,000 steps deep is found, without recursion."""
    a = _events(journal, None, *range(2000))
    b = [*a[:-1], {**a[-1], "params": {"q": 2}}]
    diff = RunDiff(Steps(a), Steps(b))
    assert [(line.depth, line.marks) for line in diff.lines if line.marks] == [(2000, ("changed",))]


def test_only_the_first_events_of_a_long_run_are_compared(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result says how many were left out."""
    monkeypatch.setattr(steps, "MOST", 3)
    assert _diff(journal, [tool("t")] * 3, [tool("t")] * 4).is_cut
    assert not _diff(journal, [tool("t")] * 3, [tool("t")] * 3).is_cut


def test_every_mark_is_counted(journal: Journal) -> None:
    """The counts name all marks, with 0 for those that did not occur."""
    assert _diff(journal, [], []).counts == dict.fromkeys(MARKS, 0)
