"""The costs in a post-mortem: what was spent, on what, and for nothing."""

from __future__ import annotations

import re

import pytest

import localops
from localops.reading import waste
from localops.reading.home import Home
from tests import programs
from tests.post_mortems import INIT, after, command, found, page


def test_the_first_call_may_have_been_billed() -> None:
    """A run that was killed in it recorded no event that ended, but is not idle, and may have a cost."""
    programs.run(INIT + "with session.operation('think', kind='llm', model='gpt-4o', prompt='why?'):\n    die()")
    assert page(found())["Totals"] == [
        "No call or operation has ended yet.",
        "The LLM call of 'gpt-4o' that was in progress may have been billed; the cost is not recorded.",
    ]
    shown = command("analytics", "last")
    assert re.search(r"^Unpriced +1 call that never ended$", shown, re.MULTILINE)
    transcript = command("export", "last", "--format", "md")
    assert "tokens unknown" in transcript
    assert "0 + 0 tokens" not in transcript


def test_an_unpriced_run_has_no_amount() -> None:
    """Not in a sentence, and not in a table of sessions."""
    _, sections = after(
        _LOOPS + "for _ in range(3):\n"
        "    session.record(localops.LLMEvent(model='mystery', prompt='more', prompt_tokens=9, completion_tokens=1))\n"
        "    search('tides')\nsession.end_session('Success')"
    )
    sentence = "Its cost is unpriced: 3 calls have no price. It had 27 tokens in and 3 out."
    assert sections["Totals"][1] == sentence
    assert "2 LLM calls, 20 tokens, unpriced: 2 calls have no price." in sections["Wasted"][0]
    assert "$0.00 + ?" not in command("analytics", "--by", "session")


def test_what_made_the_cost_is_the_model_whose_prompts_grew() -> None:
    """The parts of the cost by model and agent, the largest first, with the first, the last and the costliest call."""
    facts, sections = after(
        "def ask(model, tokens, **facts): session.record(localops.LLMEvent(model=model, prompt='a', completion='b',"
        " prompt_tokens=tokens, completion_tokens=10, **facts))\n"
        "ask('small', 900, cost=0.001)\nask('small', 100, cost=0, cached_tokens=90)\n"
        "for number in range(1, 5): ask('large', 1000 * number, cost=0.1 * number, cached_tokens=500)\n"
        "ask('large', 3000, cost=0.2, cached_tokens=500)\n"
        "ask('free', 5000, cost=0)\nsession.record(localops.ToolEvent(name='buy', cost=0.4))\n"
        "session.end_session('Success')"
    )
    spending = facts["spending"]
    largest = spending["parts"][0]
    assert [part["model"] for part in spending["parts"]] == ["large", "small", "free"]
    assert (largest["calls"], largest["cost_usd"], largest["cached_share"]) == (5, 1.2, 2_500 / 13_000)
    assert (largest["first"]["tokens_in"], largest["last"]["tokens_in"]) == (1_000, 3_000)
    assert spending["costliest"]["cost_usd"] == 0.4
    line, small, free, tools, most = sections["Cost by model"]
    assert line.startswith(
        "'large': $1.20 (75%) for 5 calls; the prompt of the first had 1,000 tokens (`localops show "
    )
    assert line.endswith("; 19% of the input came from a cache.")
    assert small.startswith("'small': $0.001000 (0.1%) for 2 calls; the prompt of the first had 900 tokens, that of")
    # Of the calls that report it, as in the list of calls.
    assert small.endswith("the last 100; 90% of 100 tokens in came from a cache.")
    assert tools == "Tools cost $0.4000 (25%)."
    assert free == "'free': $0.00 (0%) for 1 call, with 5,000 tokens in."
    shown = command("show", *most.partition("`localops show ")[2].partition("`")[0].split())
    assert "4,000" in shown or "4000" in shown
    assert after("session.end_session('Success')")[0]["spending"] is None


def test_a_call_that_failed_without_token_counts_lacks_no_price() -> None:
    """Its model has one; it is named, beside what other calls cost, and beside those of a model without a price."""
    session = localops.start_session()
    failed = localops.LLMEvent(model="gpt-4o", prompt="hi")
    session.record(localops.ErrorEvent(trigger_event=failed, exception=TimeoutError("late")))
    why = "1 LLM call ('gpt-4o') failed without token counts."
    assert page(found())["Totals"][1] == f"Its cost is not known: {why}"
    session.record(localops.LLMEvent(model="mystery", prompt_tokens=9, completion_tokens=1))
    lines = page(found())["Totals"]
    assert lines[1] == "Its cost is unpriced: 1 call has no price. It had 9 tokens in and 1 out."
    why = "The cost of 1 LLM call ('gpt-4o') is not known: it failed without token counts."
    assert lines[2] == why
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=2))
    session.end_session("Fail")
    lines = page(found())["Totals"]
    assert lines[1:3] == ["It cost at least $0.000045, for 19 tokens in and 3 out.", why]


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    """A model without a price is named, and so is a failed call; neither has a share."""
    ask = (
        "def ask(model, **given): session.record(localops.LLMEvent(model=model, prompt='a', completion='b', **given))\n"
    )
    facts, sections = after(
        f"{ask}ask('gpt-4o-mini', prompt_tokens=1000, completion_tokens=100)\n"
        "for _ in range(3): ask('mystery', prompt_tokens=90_000, completion_tokens=1000)\n"
        "ask('gpt-4o', cost=0)\nlate = localops.LLMEvent(model='gpt-4o', prompt='hi')\n"
        "session.record(localops.ErrorEvent(trigger_event=late, exception=TimeoutError('late')))\n"
        "session.end_session('Success')"
    )
    parts = {part["model"]: (part["cost_nano"], part["share"], part["unpriced"]) for part in facts["spending"]["parts"]}
    assert parts == {"gpt-4o-mini": (210_000, 1.0, 0), "gpt-4o": (0, 0.0, 1), "mystery": (None, None, 3)}
    lines = sections["Cost by model"]
    assert "'gpt-4o': $0.00 (0%) for 1 call." in lines
    assert "The cost of 1 call to 'gpt-4o' and of 3 calls to 'mystery' (270,000 tokens in) is not known." in lines
    assert not any(line.startswith("'mystery'") for line in lines)


def test_a_budget_that_was_reached_is_named() -> None:
    """The budget, when it was reached and what had been spent, and that this ended the run."""
    code = INIT.replace("True)", "True, budget_usd=1.0)")
    programs.run(code + "@tool(name='buy', cost=0.75)\ndef buy(): return 1\nbuy(); buy(); buy()")
    facts = found()
    sections = page(facts)
    assert facts["budget"]["reached_usd"] == 1.5
    assert any("It reached its budget of $1.00" in line and "spent $1.50" in line for line in sections["How it ended"])
    assert "BudgetExceeded" in sections["How it ended"][0]
    assert facts["last_operation"]["name"] == "buy"


def test_a_budget_that_was_spent_by_the_last_call_is_not_called_unreached() -> None:
    """It is checked before each call: the one that spent the rest was made."""
    sentence = "Its budget was $1.00; whether it was reached is not recorded."
    code = INIT.replace("True)", "True, budget_usd=1.0)")
    programs.run(code + "@tool(name='buy', cost=1.5)\ndef buy(): return 1\nbuy()")
    assert sentence in page(found())["How it ended"]
    programs.run(code + "@tool(name='buy', cost=0.5)\ndef buy(): return 1\nbuy()")
    assert "Its budget of $1.00 was not reached." in page(found())["How it ended"]


_LOOPS = """
from itertools import count
calls = count()
@tool(polling=True)
def wait_for(job): return "pending"
@tool
def look(job): return "pending"
@tool
def progress(job): return {"percent": next(calls) * 10}
@tool
def search(query): return []
@tool
def edit(): return "ok"
@tool
def check(): return "1 failed"
@tool
def click(): return "ok"
"""


def test_calls_that_poll_or_make_progress_are_no_waste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are two equal calls: `localops lint` has the same rules, and reports no loop either."""
    monkeypatch.setenv("LOCALOPS_POLLING", "look")
    facts, sections = after(
        _LOOPS + "for _ in range(4): wait_for('j')\nfor _ in range(4): look('j')\nfor _ in range(4): progress('j')\n"
        "search('tides'); search('tides'); session.end_session('Success')"
    )
    assert (facts["waste"]["loops_count"], facts["waste"]["looped"]["calls"]) == (0, 0)
    assert "Wasted" not in sections


@pytest.mark.parametrize(
    ("calls", "sentence"),
    [
        ("refused()", "1 LLM call failed; the LLM call was not billed."),
        ("unknown()\nunknown()", "2 LLM calls failed; the cost of the LLM calls is not known."),
        ("refused()\nunknown()", "2 LLM calls failed; of the LLM calls, 1 not billed and 1 unpriced."),
    ],
)
def test_a_failed_call_costs_what_its_event_says(calls: str, sentence: str) -> None:
    """An event is shown as not billed or as unpriced, and the sum of the failed ones says the same."""
    _, sections = after(
        "import localops\nsession = localops.init()\n"
        "def refused():\n"
        "    call = localops.LLMEvent(model='gpt-4o', prompt='hi')\n"
        "    session.record(localops.ErrorEvent(trigger_event=call, exception=ConnectionRefusedError()))\n"
        "def unknown():\n"
        "    call = localops.LLMEvent(prompt='hi')\n"
        "    session.record(localops.ErrorEvent(trigger_event=call, exception=ConnectionError()))\n"
        f"{calls}\nsession.end_session('Fail')"
    )
    assert sections["Wasted"] == [sentence]


def test_loops_are_those_that_lint_finds() -> None:
    """With what they cost; of the calls, the first did not go for nothing; a tool needs no arguments to be in one."""
    _, sections = after(
        _LOOPS + "for number in range(4):\n"
        "    session.record(localops.LLMEvent(model='gpt-4o', prompt='more', prompt_tokens=100_000, "
        "completion_tokens=1))\n"
        "    search('tide')\n"
        "for _ in range(3): edit(); check()\n"
        "for _ in range(3): click()\n"
        "session.end_session('Success')"
    )
    spent = "3 tool calls, 3 LLM calls, 300,003 tokens, $0.7500"
    assert sections["Wasted"] == [
        "Tools 'edit', 'check' were called in turn, 3 rounds with the same results. Wasted: 4 tool calls.",
        (
            "Tool 'search' was called 4 times in a row with the same arguments and result: 'query=tide'. "
            f"Wasted: {spent}."
        ),
        "Tool 'click' was called 3 times in a row with the same arguments and result. Wasted: 2 tool calls.",
        f"All 3 loops wasted {spent.replace('3 tool', '9 tool')}.",
    ]
    with Home() as home:
        project, id = home.find("last")
        linted = waste.of(project.name, project.snapshot(id), project.reader)
    assert linted["wasted"] == found()["waste"]["looped"]


def test_more_loops_and_habits_are_left_to_lint() -> None:
    """The page stays short, and names the command that has all of them."""
    facts, sections = after(
        _LOOPS + "for number in range(8):\n    for _ in range(3): search(number)\n    check()\n"
        "session.end_session('Success')"
    )
    lint = f"`localops lint {facts['session_id']}`"
    assert sections["Wasted"][-3:] == [
        "All 8 loops wasted 16 tool calls.",
        f"{lint[:-1]} --all` lists each of them.",
        f"1 call was repeated with other calls between, which may be intended: see {lint}.",
    ]


def test_failed_calls_have_their_tokens_and_cost() -> None:
    """Of an LLM call that failed after it was billed, and of a tool that failed."""
    session = localops.start_session()
    assert session is not None
    call = localops.LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=1000, completion_tokens=0)
    session.record(call)
    session.record(localops.LLMEvent(model="gpt-4o", prompt="x", prompt_tokens=5, completion_tokens=5))
    session.record(localops.ErrorEvent(trigger_event=call, exception=ValueError("no JSON")))
    with pytest.raises(KeyError), session.operation("save", kind="tool", cost=0.25):
        raise KeyError("full")
    session.end_session("Success")
    waste = found()["waste"]
    assert (waste["failed_llm_calls"], waste["failed_tool_calls"], waste["tokens_in"]) == (1, 1, 1000)
    assert waste["cost_nano"] == 252_500_000
    assert not waste["cost_at_least"]
