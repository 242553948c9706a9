"""Several runs in one table: which steps belong together, and which run differs from the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from localops.journal.journal import Journal
from localops.reading import runs_table
from localops.reading.runs_table import Row, Run, RunsTable
from tests.examples import examples
from tests.planned import Plan, agent, llm, record, step, together, tool


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal to write runs into."""
    journal = Journal(str(tmp_path / "home" / "default"))
    yield journal
    journal.close()


def _table(journal: Journal, *plans: list[Plan], states: str = "") -> RunsTable:
    """Write runs, and align them; S and F are the states in which they end."""
    ends = [{"S": "Success", "F": "Failure"}[letter] for letter in states or "S" * len(plans)]
    sessions = [record(journal, plan, end=end) for plan, end in zip(plans, ends, strict=True)]
    return RunsTable([Run.read(journal, session, end) for session, end in zip(sessions, ends, strict=True)])


def _shape(table: RunsTable) -> list[tuple[str, tuple[int, ...]]]:
    return [(_label(row), row.groups) for row in table.rows]


def _label(row: Row) -> str:
    return row.step.label


def _attempt(read: list[str], edited: str, result: str) -> list[Plan]:
    """Plan an attempt to mend a test."""
    reads = [tool("read", path=path) for path in read]
    test = tool("test")
    test.gives = result
    return [llm("mend it"), *reads, tool("edit", path=edited), test]


def test_the_run_that_alone_succeeded_is_named_with_what_it_did(journal: Journal) -> None:
    """First what the others did not do, then where all differ, then the results."""
    table = _table(
        journal,
        _attempt(["old.py"], "old.py", "1 failed"),
        _attempt(["clock.py"], "test.py", "1 failed"),
        _attempt(["clock.py", "conftest.py"], "conftest.py", "20 passed"),
        states="FFS",
    )
    assert _shape(table) == [
        ("gpt-4o-mini", (0, 0, 0)),
        ("read", (0, 1, 1)),
        ("read", (0, 0, 1)),
        ("edit", (0, 1, 2)),
        ("test", (0, 0, 1)),
    ]
    assert table.head() == (
        "C differs from the others: it ended in Success, while A and B ended in Failure; "
        "4 of 5 events differ: in 2 only C is different, in 1 the others differ from one another too, "
        "in 1 only A is different"
    )
    texts = [table.texts(row) for row in table.key_rows()]
    assert texts == [
        [([0, 1], ""), ([2], "path=conftest.py")],
        [([0], "path=old.py"), ([1], "path=test.py"), ([2], "path=conftest.py")],
        [([0, 1], "→ 1 failed"), ([2], "→ 20 passed")],
    ]


def test_an_id_that_all_runs_were_given_is_no_made_up_one(journal: Journal) -> None:
    """A call for another user is a difference, with its id; other ids of requests are not."""
    users = ("6f1c2a34-0d1b-4c55-9a57-2f7c1e0b9d11", "b41d7f02-77aa-4e0e-8a3f-0c5d9e6f1a22")

    def run(user: str, request: str) -> list[Plan]:
        listed = tool("users", request_id=request)
        listed.gives = list(users)
        return [listed, tool("pay", request_id=request, user=user)]

    table = _table(journal, run(users[0], "a1"), run(users[1], "b2"), run(users[0], "c3"))
    assert _shape(table) == [("users", (0, 0, 0)), ("pay", (0, 1, 0))]
    assert table.odd == 1
    [(others, one), (odd, other)] = table.texts(table.rows[1])
    assert (others, users[0] in one, odd, users[1] in other) == ([0, 2], True, [1], True)


def test_what_only_the_named_run_did_comes_before_what_others_did(journal: Journal) -> None:
    """Few of many differences are shown, and none in which the named run did the same as another one."""
    others = [tool("look", page=number) for number in range(runs_table.KEY_ROWS + 2)]
    table = _table(journal, [*others, tool("pay")], [tool("pay")], [tool("pay", to="mara")], states="FFS")
    [last] = table.key_rows()
    assert table.texts(last) == [([0, 1], "without arguments"), ([2], "to=mara")]


def test_what_changed_the_cost_of_two_runs_most_is_among_the_few(journal: Journal) -> None:
    """However many tools differ; a tenth of the cost or less is no news."""

    def run(letter: str, cost: int) -> list[Plan]:
        return [
            *(tool("look", q=f"{letter}{number}") for number in range(9)),
            llm(f"write {letter}", cost=cost),
            llm(""),
        ]

    table = _table(journal, run("a", 9_000_000), run("b", 1_000_000))
    key_rows = table.key_rows()
    assert (len(key_rows), [row.step.kind for row in key_rows].count("llm")) == (runs_table.KEY_ROWS, 1)
    alike = _table(journal, run("a", 9_000_000), run("b", 8_200_000))
    assert {row.step.kind for row in alike.key_rows()} == {"tool"}


def test_the_run_that_did_least_of_what_the_others_did_is_named(journal: Journal) -> None:
    """Where all ended the same; no run is named where each differs as much from each other one."""
    usual = [tool("look", q="a"), tool("take", n=1), tool("pay")]
    odd = [tool("look", q="b"), tool("pay", failed=True)]
    table = _table(journal, usual, odd, usual, usual)
    head = "B differs from the others: the others did the same; 3 of 3 events differ: in 3 only B is different"
    assert table.head() == head
    assert [table.texts(row)[-1] for row in table.key_rows()] == [([1], "q=b"), ([1], ""), ([1], "failed")]
    table = _table(journal, [*usual, tool("wait")], odd, usual)
    assert table.head() == (
        "B differs from the others: at least twice as much as they do from one another; "
        "4 of 4 events differ: in 3 only B is different, in 1 only A is different"
    )
    table = _table(journal, [*usual, tool("wait")], odd, usual, usual)
    assert table.head().endswith("in 3 only B is different, in 1 B did the same as another run")
    table = _table(journal, *([tool("look", q=letter)] for letter in "abc"))
    assert (table.odd, table.head()) == (None, "No run stands out: 1 of 1 event differs")
    table = _table(journal, usual, odd, states="SF")
    assert table.head() == "B differs from A in 3 of 3 events; they ended differently (A: Success, B: Failure)"
    table = _table(journal, usual, usual, states="SF")
    assert table.head() == "The 2 runs did the same: 3 events; they ended differently (A: Success, B: Failure)"


def test_what_some_runs_have_beyond_the_first_is_in_one_row(journal: Journal) -> None:
    """Also inside of another step; and what one run did earlier is in the row of the others."""
    table = _table(
        journal,
        [step("plan", tool("a")), tool("x"), tool("y"), tool("z")],
        [step("plan", tool("a"), tool("b")), tool("x"), tool("y"), tool("z")],
        [step("plan", tool("a"), tool("b")), tool("z"), tool("x"), tool("y")],
    )
    assert [(row.depth, _label(row), row.groups) for row in table.rows] == [
        (0, "plan", (0, 0, 0)),
        (1, "a", (0, 0, 0)),
        (1, "b", (0, 1, 1)),
        (0, "x", (0, 0, 0)),
        (0, "y", (0, 0, 0)),
        (0, "z", (0, 0, 1)),
    ]
    moved = table.rows[-1]
    assert moved.moved == {2}
    assert table.texts(moved) == [([0, 1], "without arguments"), ([2], "moved: without arguments")]


def test_a_prompt_that_differs_counts_once(journal: Journal) -> None:
    """Later calls send it again; the words that differ are shown, however far on they are."""

    def run(rule: str) -> list[Plan]:
        system = {"role": "system", "content": f"{'Keep the words of a ticket. ' * 20}{rule}"}
        asked = {"role": "user", "content": "Ticket 4"}
        answer = {"role": "assistant", "content": "Which one?"}
        return [llm([system, asked]), llm([system, asked, answer, {"role": "user", "content": "The last"}])]

    table = _table(journal, run("Be kind."), run("Be short."), run("Be kind."))
    assert _shape(table) == [("gpt-4o-mini", (0, 1, 0)), ("gpt-4o-mini", (0, 0, 0))]
    [row] = table.key_rows()
    (first, kind), (second, short) = table.texts(row)
    assert (first, second) == ([0, 2], [1])
    assert ("Be kind." in kind, "Be short." in short, len(kind) < 300) == (True, True, True)


@pytest.mark.parametrize("seed", range(examples(5)))
def test_each_step_is_in_one_row(journal: Journal, seed: int) -> None:
    """In the order in which its run did it, but for what has moved."""
    random = Random(seed)
    runs = [agent(random, 3)]
    for _ in range(3):
        plans = [plan.copy() for plan in runs[0]]
        turns = random.choice(plans).inside
        turns.insert(random.randrange(len(turns) + 1), turns.pop(random.randrange(len(turns))))
        turns.pop(random.randrange(len(turns)))
        runs.append(plans)
    table = _table(journal, *runs)
    for place, run in enumerate(table.runs):
        mine = [row.steps[place] for row in table.rows if row.steps[place] is not None]
        assert sorted(map(id, mine)) == sorted(map(id, run.steps.all))
        stayed = [step for row in table.rows if place not in row.moved and (step := row.steps[place])]
        assert stayed == sorted(stayed, key=run.steps.all.index)


def test_what_ran_in_parallel_has_no_order(journal: Journal) -> None:
    """Each run has its branches in another order, and did the same."""
    names = "abcd"
    runs = [together(4, *([tool(name)] for name in names[n:] + names[:n])) for n in range(3)]
    table = _table(journal, *([llm("all of them"), run, tool("sum")] for run in runs))
    assert (len(table.rows), table.differing) == (6, [])


def test_the_table_as_json(journal: Journal) -> None:
    """Cells have what is shown of a step, beside the runs of each group."""
    table = _table(journal, [tool("a", n=1)], [tool("a", n=2)], [tool("a", n=1), llm("b")])
    facts = runs_table.table_facts(table)
    first, second = facts["rows"]
    assert first["texts"] == [{"runs": [0, 2], "text": "n=1"}, {"runs": [1], "text": "n=2"}]
    assert (first["cells"][1]["input"], first["cells"][1]["failed"]) == ("n=2", False)
    assert (second["cells"][:2], second["cells"][2]["cost_nano"]) == ([None, None], 1_000_000)
    assert (facts["counts"], first["key"]) == ({"same": 0, "differing": 2}, True)
