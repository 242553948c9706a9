"""Parallel steps have no order, in differences of runs and in `localops check`; all other steps do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

import localops
from localops.journal.journal import Journal
from localops.journal.rows import id_text
from localops.reading.run_diff import RunDiff
from localops.reading.steps import Steps
from tests.examples import examples
from tests.planned import Plan, llm, record, step, together, tool

Command = Callable[..., tuple[int, str, str]]
_DIFFERENCES = ("added", "removed", "moved", "changed", "failed", "fixed", "result")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal to write runs into."""
    journal = Journal(str(tmp_path / "home" / "default"))
    yield journal
    journal.close()


@pytest.fixture
def differences(journal: Journal, command: Command, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """Return the differences of two runs; check agrees, with a run and with a baseline file."""

    def compare(a: list[Plan], b: list[Plan], seed: int = 0) -> dict[str, int]:
        ids = [record(journal, plans, timing=Random(f"{seed} {side}")) for side, plans in enumerate((a, b))]
        counts = RunDiff(*(Steps.read(journal, id) for id in ids)).counts
        path = str(tmp_path / "baseline.json")
        assert command("check", id_text(ids[0]), "--save", path)[0] == 0
        codes = {
            command("check", id_text(ids[1]), "--baseline", base, "--same-arguments")[0]
            for base in (id_text(ids[0]), path)
        }
        differing = {mark: counts[mark] for mark in _DIFFERENCES if counts[mark]}
        assert codes == {3 if differing else 0}
        return differing

    return compare


def _branch(random: Random, number: int) -> list[Plan]:
    """Plan a branch of a question and two to four tool calls, some of which run beside one another."""
    names = random.choices("search fetch rate note book mail read sum".split(), k=4)
    calls = [tool(name, number=number, place=place) for place, name in enumerate(names)]
    return [llm(f"What of {number}?"), calls[0], together(2, [calls[1]], [calls[2]]), *calls[3 : random.randint(3, 4)]]


def _agent(random: Random, is_wrapped: bool) -> list[Plan]:
    """Plan two rounds of branches in a pool; each branch may be an operation, so that its steps are inside of it."""
    plans: list[Plan] = []
    for turn in range(2):
        branches = [_branch(random, 10 * turn + number) for number in range(random.randint(2, 5))]
        plans += [llm(f"Plan {turn}"), tool("list", turn=turn)]
        wrapped = [[step("research", *branch)] for branch in branches]
        plans.append(together(random.randint(2, 4), *(wrapped if is_wrapped else branches)))
        plans.append(tool("merge", turn=turn))
    return plans


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_repeats_of_parallel_branches_have_no_differences(journal: Journal, is_wrapped: bool) -> None:
    """Whatever begins and ends first."""
    for seed in range(examples(18)):
        plans = _agent(Random(seed), is_wrapped)
        first, *others = (
            Steps.read(journal, record(journal, plans, timing=Random(f"{seed} {repeat}"))) for repeat in range(4)
        )
        for other in others:
            counts = RunDiff(first, other).counts
            assert not any(counts[mark] for mark in _DIFFERENCES), (seed, counts)


def test_check_has_no_order_where_diff_has_none(differences: Callable[..., dict[str, int]]) -> None:
    """In runs whose branches are operations, and in those where they are not."""
    for seed in range(6):
        plans = _agent(Random(seed), is_wrapped=seed % 2 == 0)
        assert differences(plans, plans, seed) == {}


def test_quick_branches_have_no_order_where_only_some_overlapped(journal: Journal) -> None:
    """A thread that waits for its turn is behind another one, though no call of both overlapped.

    Without the rule for quick steps each of these runs differs; with it, one in ten may.
    """

    def run(seed: str, workers: int) -> Steps:
        branches = [[tool(name, n=n) for name in ("read", "parse", "store")] for n in range(6)]
        for call in (call for branch in branches for call in branch):
            call.seconds = 0.0001
        return Steps.read(journal, record(journal, [together(workers, *branches)], timing=Random(seed)))

    diffs = [RunDiff(run(f"a{seed}", 1), run(f"b{seed}", 2)) for seed in range(30)]
    differing = [diff.counts for diff in diffs if any(diff.counts[mark] for mark in _DIFFERENCES)]
    assert len(differing) <= 3


def _sequence() -> list[Plan]:
    return [tool("search", n=1), tool("book", n=1), tool("pay", n=1)]


def _others(count: int = 3) -> Plan:
    """Plan calls that run beside one another."""
    return together(count, *([tool("fetch", page=page)] for page in range(count)))


def _long(*beside: Plan) -> Plan:
    """Plan calls one after another beside one that lasts longer than all."""
    lasting = tool("watch")
    lasting.seconds = 10
    return together(2, [lasting], list(beside))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (_sequence(), [tool("search", n=1), tool("pay", n=1), tool("book", n=1)]),
        ([*_sequence(), _others()], [*_sequence()[1:], _sequence()[0], _others()]),
        ([_sequence()[0], _others(), *_sequence()[1:]], [_others(), *_sequence()]),
        ([_others(), *_sequence()], [_others(), *reversed(_sequence())]),
        ([_long(*_sequence())], [_long(*reversed(_sequence()))]),
        (
            [together(2, [step("one", *_sequence())], [step("two", *_sequence())])],
            [together(2, [step("one", *_sequence())], [step("two", *reversed(_sequence()))])],
        ),
        ([_others(4)], [together(4, *([tool("fetch", page=page)] for page in (0, 1, 2, 4)))]),
        ([_others(4)], [_others(5)]),
        ([_others(4)], [_others(3)]),
    ],
    ids=["alone", "before", "across", "behind", "beside a long call", "in a branch", "arguments", "added", "removed"],
)
def test_what_is_not_parallel_has_its_order(
    differences: Callable[..., dict[str, int]], a: list[Plan], b: list[Plan]
) -> None:
    """Also beside, before, behind and inside of what is; and so have what it is given, and how much there is."""
    assert differences(a, b)


def test_a_stream_beside_the_calls_it_asks_for_hides_no_order(journal: Journal) -> None:
    """A model's answer is still streamed while the tool that it has asked for runs."""

    def run(*names: str) -> Steps:
        return Steps.read(journal, record(journal, [_answer(name, turn) for turn, name in enumerate(names)]))

    def _answer(name: str, turn: int) -> Plan:
        question, call = llm(f"Turn {turn}"), tool(name)
        question.seconds = 0.02
        return together(2, [question], [call])

    assert RunDiff(run("a", "b", "c"), run("a", "b", "c")).same == 6
    assert RunDiff(run("a", "b", "c"), run("c", "b", "a")).counts["moved"] == 2


def test_one_argument_that_differs_is_one_difference(differences: Callable[..., dict[str, int]]) -> None:
    """The calls beside it are paired by what they were given, whatever their order."""
    others = [[tool("fetch", page=page)] for page in (3, 0, 2, 9, 4)]
    for seed in range(5):
        a = [together(5, *([tool("fetch", page=page)] for page in range(5)))]
        assert differences(a, [together(5, *others)], seed) == {"changed": 1}


def test_results_of_parallel_calls_may_come_in_any_order(journal: Journal) -> None:
    """In the next prompt, as messages or as parts of one; other messages in another order are another prompt."""
    asked = [{"role": "user", "content": "Go"}, {"role": "assistant", "tool_calls": [{"id": "call_1"}]}]
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": f"page {n}"} for n in range(3)]
    parts = [{"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": f"page {n}"} for n in range(3)]

    def same(one: list[Any], other: list[Any]) -> int:
        return RunDiff(*(Steps.read(journal, record(journal, [llm(prompt)])) for prompt in (one, other))).same

    assert same(asked + results, asked + results[::-1]) == 1
    user = {"role": "user"}
    assert same([*asked, {**user, "content": parts}], [*asked, {**user, "content": parts[::-1]}]) == 1
    assert same(asked + results, [*asked, *results[1:], results[2]]) == 0
    questions = [{**user, "content": text} for text in ("one", "two", "three")]
    assert same(questions, questions[::-1]) == 0


def test_calls_of_real_threads_have_no_order(command: Command) -> None:
    """Each run of a pool ends them in another order."""

    def run(pauses: list[float]) -> str:
        @localops.tool(name="fetch")
        def fetch(page: int) -> int:
            time.sleep(pauses[page])
            return page

        with localops.start_session() as session, ThreadPoolExecutor(4) as pool:
            list(pool.map(localops.carry(fetch), range(4)))
        return str(session.session_id)

    first, second = run([0, 0.01, 0.02, 0.03]), run([0.03, 0.02, 0.01, 0])
    assert command("check", second, "--baseline", first, "--same-arguments")[0] == 0
    assert "no difference" in command("diff", first, second)[1]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("9f86d081884c7d65", "5244229130831098", True),
        ("qh2v9x0c4m7k1z8w3b5n6d2f", "dinsimgmdeipaxhuoyofelru", True),
        ("5244229130831098", "5244229130831099", False),
        ("customerordersarchive", "customerpaymentsarchive", False),
        ("9f86d081884c7d65", "none", False),
    ],
)
def test_an_id_that_looks_like_a_number_or_a_name_is_one_beside_another(
    differences: Callable[..., dict[str, int]], one: str, other: str, is_same: bool
) -> None:
    """If the argument is an id in the other run; two numbers or two names differ."""
    given = [[tool("start", job=value, of={"text": f"part {value} of 3"})] for value in (one, other)]
    assert differences(*given) == ({} if is_same else {"changed": 1})


@pytest.mark.parametrize(
    "lines", [["0 0 9 0"], ["0 0 9 0", "0 1 9 0"], ["0 0 9 0", "2 1 9 1"], ["0 0"], ["0 x 9 0"], ["0 0 9 7"], [0], 3]
)
def test_a_baseline_with_other_steps_is_refused(
    journal: Journal, command: Command, tmp_path: Path, lines: object
) -> None:
    """The steps have to be those of its tool calls; the command says how to write the file again."""
    path = tmp_path / "baseline.json"
    id = id_text(record(journal, [_others(2)]))
    command("check", id, "--save", str(path))
    document = json.loads(path.read_text())
    assert len(document["steps"]) == 2
    path.write_text(json.dumps({**document, "steps": lines}))
    code, _, err = command("check", id, "--baseline", str(path), "--same-tools")
    assert code == 2
    assert "invalid baseline" in err
    assert "check --save" in err
