"""`localops check`: a run held against limits and baselines, and its exit codes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import localops
from localops import ErrorEvent, LLMEvent
from localops.errors import ConfigError
from localops.journal.journal import Journal
from localops.journal.rows import id_text
from localops.runs import opened
from tests import programs
from tests.examples import sized
from tests.made import event
from tests.planned import Plan, agent, llm, record, tool

Command = Callable[..., tuple[int, str, str]]
Check = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal to write runs into."""
    journal = Journal(str(tmp_path / "home" / "default"))
    yield journal
    journal.close()


@pytest.fixture
def check(command: Command) -> Check:
    """Run `localops check … --json`: the exit code, and the verdicts by their rules."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, err = command("check", *arguments, "--json")
        assert err == ""
        document = json.loads(out)
        assert document["passed"] == (code == 0)
        return code, {verdict["rule"]: verdict for verdict in document["rules"]}

    return run


def _run(journal: Journal, *plans: Plan, **options: Any) -> str:
    return id_text(record(journal, list(plans), **options))


@pytest.fixture
def baseline(journal: Journal, command: Command, tmp_path: Path) -> str:
    """A baseline file of a run of two tool calls and an LLM call for a tenth of a cent."""
    path = str(tmp_path / "baseline.json")
    id = _run(journal, llm("why?"), tool("search", q=1), tool("book", n=2))
    assert command("check", id, "--save", path)[0] == 0
    return path


_LIMITS = [
    ("--max-cost", "0.001", 0),
    ("--max-cost", "$0.001", 0),
    ("--max-cost", "0.000999", 3),
    ("--max-cost", "+0%", 0),
    ("--max-cost", "+0.01", 0),
    ("--max-duration", "1m", 0),
    ("--max-duration", "30ms", 3),
    ("--max-duration", "+0%", 0),
    ("--max-tokens", "120", 0),
    ("--max-tokens", "119", 3),
    ("--max-tokens", "+0", 0),
    ("--max-calls", "3", 0),
    ("--max-calls", "2", 3),
    ("--max-errors", "0", 0),
]


@pytest.mark.parametrize(("option", "limit", "code"), _LIMITS)
def test_a_limit_is_kept_up_to_its_figure(
    journal: Journal, check: Check, baseline: str, option: str, limit: str, code: int
) -> None:
    """A figure equal to the limit is within; one above is not, and the exit code is 3."""
    _run(journal, llm("why?"), tool("search", q=1), tool("book", n=2))
    status, rules = check("--baseline", baseline, option, limit)
    assert status == code
    assert rules[option[2:].replace("-", "_")]["passed"] == (code == 0)


@pytest.mark.parametrize(("cost", "code"), [(1_100_000, 0), (1_100_001, 3)])
def test_a_share_is_of_the_baseline(journal: Journal, check: Check, baseline: str, cost: int, code: int) -> None:
    """+10% lets a tenth more pass, to the nano-dollar."""
    _run(journal, llm("why?", cost=cost))
    status, rules = check("--baseline", baseline, "--max-cost", "+10%")
    assert status == code
    assert rules["max_cost"]["limit"] == "$0.001100 (+10%)"


def test_long_numbers_are_grouped_as_in_other_texts(journal: Journal, command: Command) -> None:
    """Also if the output is no terminal; programs get the plain figures."""
    id = _run(journal, tool("search", q=1))
    assert " 1,000,000" in command("check", id, "--max-tokens", "1000000")[1]
    assert '"1000000"' in command("check", id, "--max-tokens", "1000000", "--json")[1]


def test_a_baseline_can_be_a_session(journal: Journal, check: Check) -> None:
    """Without a file, an id names the run to compare with."""
    id = _run(journal, tool("search", q=1))
    _run(journal, tool("search", q=1))
    assert check("--baseline", id, "--same-arguments", "--max-calls", "+0")[0] == 0
    _run(journal, tool("search", q=2))
    assert check("--baseline", id, "--same-arguments")[0] == 3
    assert check("--baseline", id, "--same-tools")[0] == 0
    reason = check("--baseline", id, "--same-arguments")[1]["same_arguments"]["reason"]
    assert reason == "search with other arguments (q: 1 -> 2)"
    ids = ("6f1c2a34-0d1b-4c55-9a57-2f7c1e0b9d11", "b41d7f02-77aa-4e0e-8a3f-0c5d9e6f1a22")
    before, _ = (_run(journal, tool("search", id=each, q=q)) for each, q in zip(ids, (1, 2), strict=True))
    reason = check("--baseline", before, "--same-arguments")[1]["same_arguments"]["reason"]
    assert reason == "search with other arguments (q: 1 -> 2)"


@pytest.mark.parametrize(
    ("plans", "reason"),
    [
        ([tool("search", q=1)], "book missing"),
        ([tool("book", n=2), tool("search", q=1)], "moved"),
        ([tool("search", q=1), tool("book", n=2), tool("pay", n=1)], "pay added"),
        ([tool("search", q=1), tool("", n=2)], "book missing; (nameless) added"),
    ],
)
def test_the_same_tools_are_those_of_the_baseline(
    journal: Journal, check: Check, baseline: str, plans: list[Plan], reason: str
) -> None:
    """A call that is missing, added or elsewhere is named."""
    _run(journal, *plans)
    code, rules = check("--baseline", baseline, "--same-tools")
    assert code == 3
    assert reason in rules["same_tools"]["reason"]


def test_a_call_at_another_place_has_moved(journal: Journal, check: Check, baseline: str) -> None:
    """It is neither missing nor added, unless arguments count and it has other ones."""
    _run(journal, tool("book", n=2), tool("search", q=1), tool("pay"))
    reasons = {rule: check("--baseline", baseline, f"--{rule}")[1] for rule in ("same-tools", "same-arguments")}
    assert re.fullmatch("pay added; (book|search) moved", reasons["same-tools"]["same_tools"]["reason"])
    assert re.fullmatch("pay added; (book|search) moved", reasons["same-arguments"]["same_arguments"]["reason"])
    _run(journal, tool("book", n=3), tool("search", q=7))
    reason = check("--baseline", baseline, "--same-arguments")[1]["same_arguments"]["reason"]
    assert re.match("(book missing; book|search missing; search) added", reason)


def test_several_runs_have_a_line_each(journal: Journal, command: Command) -> None:
    """One that breaks a rule is enough for the exit code, and is named with it; a baseline is of one run."""
    good, bad = (_run(journal, *(tool("read") for _ in range(many))) for many in (1, 4))
    code, out, _ = command("check", good, bad, "--max-calls", "2")
    assert code == 3
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["kept", good[:13]], ["BROKEN", bad[:13]]]
    assert lines[3].endswith("max-calls: 2 over the limit")
    assert lines[-1] == "1 of 2 runs broken"
    assert command("check", good, good, "--max-calls", "2")[0] == 0
    document = json.loads(command("check", good, bad, "--max-calls", "2", "--json")[1])
    assert [(one["session_id"], one["passed"]) for one in document["runs"]] == [(good, True), (bad, False)]
    assert document["passed"] is False
    assert command("check", good, bad, "--save", "base.json")[0] == 2
    assert command("check", bad, bad[:13], "--max-calls", "2")[1] == command("check", bad, "--max-calls", "2")[1]


def test_markdown_of_several_runs_begins_with_a_line_each(journal: Journal, command: Command) -> None:
    """Their rules follow for those that break one: of twelve runs, a pull request shows what it is about."""
    good, bad = (_run(journal, *(tool("read") for _ in range(many))) for many in (1, 4))
    code, out, _ = command("check", good, bad, "--max-calls", "2", "--format", "md")
    head, table, rules, _ = out.split("\n\n")
    assert (code, head) == (3, "## ❌ 1 of 2 runs broken")
    assert [row.split(" | ")[:2] for row in table.splitlines()[2:]] == [["| ✅", good[:13]], ["| ❌", bad[:13]]]
    assert table.endswith("| `max-calls: 2 over the limit` |")
    assert rules == f"### ❌ 1 rule of 2 broken: `planned` {bad[:13]}"


def test_the_same_arguments_are_named_where_they_differ(journal: Journal, check: Check, baseline: str) -> None:
    """The tools are the same, but not what one of them was given."""
    _run(journal, tool("search", q=1), tool("book", n=3))
    code, rules = check("--baseline", baseline, "--same-arguments")
    assert (code, rules["same_arguments"]["reason"]) == (3, "book with other arguments")


def test_both_rules_of_tools_are_reported(journal: Journal, check: Check, baseline: str) -> None:
    """Each has its verdict where both are asked for."""
    _run(journal, tool("search", q=1), tool("book", n=3))
    code, rules = check("--baseline", baseline, "--same-tools", "--same-arguments")
    assert code == 3
    assert (rules["same_tools"]["passed"], rules["same_arguments"]["passed"]) == (True, False)


def _refund(request: str, **arguments: Any) -> list[Plan]:
    customers = tool("list_customers", request_id=f"req-{request}")
    customers.gives = {"customers": ["cus_9s6XKzkNRiz8i3", "cus_9s7Lq0bTzWv2Yc"], "slots": _SLOTS}
    asked = [{"role": "user", "content": "Refund cus_9s6XKzkNRiz8i3 at 18:00"}]
    return [llm(asked), customers, tool("refund", request_id=f"req-{request}", **arguments)]


_SLOTS = ["2026-11-30T18:00:00Z", "2026-11-30T19:00:00Z"]
_NOON_NS = 1_796_040_000 * 10**9  # of that day
_RIGHT = {"customer": "cus_9s6XKzkNRiz8i3", "at": _SLOTS[0]}


@pytest.mark.parametrize("is_file", [False, True])
def test_an_id_that_both_runs_were_given_is_no_made_up_one(
    journal: Journal, command: Command, check: Check, tmp_path: Path, is_file: bool
) -> None:
    """A refund to another customer or at another time is a change; new ids of requests do not count."""
    baseline = _run(journal, *_refund("3f9a1c2b", **_RIGHT), start_ns=_NOON_NS)
    if is_file:
        path = str(tmp_path / "b.json")
        assert command("check", baseline, "--save", path)[0] == 0
        assert "cus_" not in Path(path).read_text()
        baseline = path
    _run(journal, *_refund("8c0d7e4f", **_RIGHT), start_ns=_NOON_NS)
    assert check("--baseline", baseline, "--same-arguments")[0] == 0
    for key, value in {"customer": "cus_9s7Lq0bTzWv2Yc", "at": _SLOTS[1]}.items():
        _run(journal, *_refund("5a6b7c8d", **{**_RIGHT, key: value}), start_ns=_NOON_NS)
        code, rules = check("--baseline", baseline, "--same-arguments", "--same-tools")
        assert (code, rules["same_tools"]["passed"]) == (3, True)
        before = "another id" if is_file else f'"{_RIGHT[key]}"'
        reason = f'refund with other arguments ({key}: {before} -> "{value}")'
        assert rules["same_arguments"]["reason"] == reason


def test_an_id_that_was_taken_for_a_secret_is_one(journal: Journal, check: Check) -> None:
    """A random value under a key such as `cache_key` is redacted in most runs, and not in others."""
    before = _run(journal, tool("get", cache_key="[redacted:key]", q=1))
    _run(journal, tool("get", cache_key="6f1c2a340d1b4c559a572f7c1e0b9d11", q=1))
    assert check("--baseline", before, "--same-arguments")[0] == 0
    _run(journal, tool("get", cache_key="6f1c2a340d1b4c559a572f7c1e0b9d11", q=2))
    assert check("--baseline", before, "--same-arguments")[0] == 3


def test_repeats_of_an_agent_raise_no_alarm(journal: Journal, command: Command, check: Check, tmp_path: Path) -> None:
    """Runs with other ids and times keep all rules that their baseline gives."""
    path = str(tmp_path / "b.json")
    for number in range(sized(41, 101)):
        plans = agent(Random(1), questions=2)
        for plan in plans:
            plan.given["request"] = f"{Random(number).getrandbits(128):032x}"
        plans.append(tool("at", time=1_795_900_000 + number * 86_400, id=f"call_{Random(number).getrandbits(96):024x}"))
        _run(journal, *plans, start_ns=(1_795_900_000 + number * 86_400) * 10**9)
        if number == 0:
            command("check", "--save", path)
            continue
        rules = ("--same-arguments", "--max-cost", "+0%", "--max-tokens", "+0", "--max-calls", "+0")
        code, verdicts = check("--baseline", path, *rules, "--max-errors", "+0")
        assert code == 0, verdicts


def test_a_cost_without_a_price_does_not_pass(journal: Journal, check: Check, baseline: str) -> None:
    """A lower bound breaks the rule, unless it is allowed; other rules are not affected."""
    _run(journal, llm("why?", "own-model", cost=None))
    code, rules = check("--baseline", baseline, "--max-cost", "+10%", "--max-tokens", "+0")
    assert code == 3
    assert rules["max_tokens"]["passed"]
    assert "only a lower bound: no price for 1 call" in rules["max_cost"]["reason"]
    assert rules["max_cost"]["value"] == "at least $0.00"
    assert "localops prices set" in rules["max_cost"]["reason"]
    assert check("--max-cost", "0.05", "--allow-unpriced")[0] == 0


def test_a_price_is_no_advice_for_a_call_without_token_counts(check: Check) -> None:
    """A failed call has none; successful ones, and those of models without a price, are named separately."""
    session = localops.start_session()
    failed = LLMEvent(model="gpt-4.1", prompt="Write.")
    session.record(ErrorEvent(trigger_event=failed, exception=TimeoutError("no answer")))
    reason = check("--max-cost", "1")[1]["max_cost"]["reason"]
    assert reason == (
        "only a lower bound: the cost of 1 LLM call ('gpt-4.1') is not known: it failed without token counts; "
        "give --allow-unpriced"
    )
    session.record(LLMEvent(model="own-model", prompt_tokens=5, completion_tokens=1))
    session.record(LLMEvent(model="gpt-4o"))
    session.end_session("Success")
    reason = check("--max-cost", "1")[1]["max_cost"]["reason"]
    assert reason == (
        "only a lower bound: no price for 1 call, the cost of 2 LLM calls ('gpt-4.1', 'gpt-4o') is not known: "
        "they came without token counts; run `localops prices set`, or give --allow-unpriced"
    )


@pytest.mark.parametrize("error", [tool("search", failed=True), Plan("error", "ValueError", failed=True)])
def test_an_error_or_a_failed_call_is_an_error(journal: Journal, check: Check, error: Plan) -> None:
    """Any recorded failure breaks `--max-errors 0`."""
    _run(journal, error)
    code, rules = check("--max-errors", "0")
    assert (code, rules["max_errors"]["value"]) == (3, "1")


def test_a_failure_without_an_error_is_one(journal: Journal, check: Check) -> None:
    """A program that exited with a code has no error of its own, and did not succeed."""
    _run(journal, tool("search"), end="Failure")
    assert check("--max-errors", "0")[0] == 3
    assert check("--max-errors", "1")[0] == 0


def test_a_running_run_does_not_pass(check: Check, command: Command, tmp_path: Path) -> None:
    """Its figures can still grow; it cannot be a baseline either."""
    session = localops.start_session()
    assert session is not None
    code, rules = check("--max-cost", "1")
    assert (code, rules["complete"]["reason"]) == (3, "it is still running")
    status, _, err = command("check", "--save", str(tmp_path / "b.json"))
    assert status == 2
    assert "cannot be a baseline: it is still running" in err
    session.end_session("Success")
    assert check("--max-cost", "1")[0] == 0


def test_a_program_that_left_without_an_end_passes(journal: Journal, check: Check) -> None:
    """Its figures are whole, though no one knows whether it succeeded."""
    _run(journal, tool("search"), end=None)
    code, rules = check("--max-cost", "1")
    assert (code, rules["complete"]["value"]) == (0, "Indeterminate")


def test_a_run_of_unknown_success_is_called_so(command: Command, tmp_path: Path) -> None:
    """The code of `raise SystemExit(1)` cannot be known: the output says so, and saving such a baseline warns."""
    code = "import localops\nlocalops.init()\nlocalops.record(localops.ActionEvent('a'))\nraise SystemExit(1)"
    assert programs.run(code).returncode == 1
    for form in ("text", "md"):
        status, out, _ = command("check", "--max-cost", "1", "--format", form)
        assert (status, "whether the run succeeded is not recorded" in out) == (0, True)
    path = str(tmp_path / "b.json")
    status, _, err = command("check", "--save", path)
    assert (status, "is Indeterminate, not Success" in err) == (0, True)


def test_a_good_run_has_no_warning(journal: Journal, command: Command, tmp_path: Path) -> None:
    """The state is mentioned only where it tells something."""
    _run(journal, tool("search"))
    assert "whether the run succeeded" not in command("check", "--max-cost", "1")[1]
    assert "not Success" not in command("check", "--save", str(tmp_path / "b.json"))[2]


def test_a_run_that_lost_events_does_not_pass(journal: Journal, check: Check) -> None:
    """Events that could not be written anywhere are in no figure."""
    _run(journal, tool("search"))
    assert check("--max-cost", "1")[0] == 0
    journal.add([event("loss", "loss", uuid.UUID(_run(journal)).bytes, body='{"dropped": 2}')])
    code, rules = check("--max-cost", "1")
    assert (code, rules["complete"]["reason"]) == (3, "2 events were lost")


def test_a_killed_run_does_not_pass(check: Check, command: Command) -> None:
    """Its figures end where it died; advice on how to end a session would not help."""
    code = "import localops, os, signal\nlocalops.init()\nlocalops.record(localops.ActionEvent('a'))\n"
    programs.run(f"{code}os.kill(os.getpid(), signal.SIGKILL)")
    status, rules = check("--max-cost", "1", "--max-duration", "1h")
    assert status == 3
    assert rules["complete"]["reason"] == "it has no end: process died"
    assert not rules["max_duration"]["passed"]
    assert rules["max_duration"]["value"].startswith("at least ")
    assert rules["max_duration"]["reason"] == "only a lower bound: it has no end"
    for form in ("text", "md"):
        assert "end_session()" not in command("check", "--max-cost", "1", "--format", form)[1]


def test_a_run_whose_child_was_killed_in_a_tool_does_not_pass(check: Check) -> None:
    """Although the program continued and ended as a success; a child that is killed between its calls loses none."""
    program = """
import os, sys, localops
from localops.decorators import tool
session = localops.init(auto_start_session=False) or localops.start_session()
@tool
def work(): os._exit(9) if sys.argv[1] == "inside" else None
if os.fork() == 0:
    work()
    os._exit(9)
os.wait()
localops.end_session("Success")
"""
    for where, code in (("inside", 3), ("between", 0)):
        programs.run(program, where)
        ended, rules = check("last", "--max-errors", "9")
        assert (ended, rules["complete"]["passed"]) == (code, code == 0)
    programs.run(program, "inside")
    assert check("last", "--max-errors", "9")[1]["complete"]["reason"] == "a process died inside tool 'work'"


def test_a_person_sees_each_rule(journal: Journal, command: Command, baseline: str) -> None:
    """Each rule has its figure, its limit and that of the baseline, and what is wrong is printed below."""
    _run(journal, llm("why?", cost=2_000_000), tool("search", q=1), tool("book", n=2))
    code, out, err = command("check", "--baseline", baseline, "--max-cost", "+10%", "--same-tools")
    assert (code, err) == (3, "")
    assert re.search(r"^BROKEN +max-cost +\$0\.002000 +\$0\.001100 \(\+10%\) +\$0\.001000$", out, re.MULTILINE)
    assert re.search(r"^kept +same-tools +2 tool calls +the same +2 tool calls$", out, re.MULTILINE)
    assert out.endswith("! max-cost: $0.000900 over the limit\n1 rule of 3 broken\n")


def test_markdown_is_a_table(journal: Journal, command: Command, baseline: str) -> None:
    """Recorded names are code in it; the exit code is the same."""
    _run(journal, tool("a|b `@all` <img>"))
    code, out, _ = command("check", "--baseline", baseline, "--same-tools", "--format", "md")
    assert code == 3
    row = out.splitlines()[-1]
    assert row == (
        "| ❌ | same-tools | 1 tool call | the same | 2 tool calls | `search, book missing; a\\|b '@all' <img> added` |"
    )
    assert out.startswith("### ❌ 1 rule of 2 broken: `planned` ")


def test_a_baseline_is_a_small_file_that_can_be_replaced(journal: Journal, command: Command, tmp_path: Path) -> None:
    """It has figures, tools with digests and no recorded text but names; saving again replaces it."""
    path = tmp_path / "b.json"
    _run(journal, llm("a secret question"), tool("search", q="secret"))
    assert command("check", "--save", str(path))[0] == 0
    document = json.loads(path.read_text())
    assert document["localops_baseline"] == 4
    assert document["totals"]["cost_nano"] == 1_000_000
    assert [tool["name"] for tool in document["tools"]] == ["search"]
    assert "secret" not in path.read_text()
    _run(journal)
    assert command("check", "--save", str(path))[0] == 0
    assert json.loads(path.read_text())["tools"] == []
    assert [entry.name for entry in tmp_path.iterdir() if "b.json" in entry.name] == ["b.json"]


def test_an_empty_run_keeps_what_it_can(journal: Journal, check: Check, baseline: str) -> None:
    """A run without events costs nothing, and did not call the same tools."""
    _run(journal)
    assert check("--baseline", baseline, "--max-cost", "+0%", "--max-errors", "0")[0] == 0
    assert check("--baseline", baseline, "--same-tools")[0] == 3


_WRONG = [
    ("", "no rule is given"),
    ("--max-cost +10%", "--max-cost needs a baseline"),
    ("--same-tools", "--same-tools needs a baseline"),
    ("--max-cost 10%", "invalid limit '10%': expected US dollars such as 0.05, +0.01 or +10%"),
    ("--max-cost x", "invalid limit 'x'"),
    ("--max-cost 3m", "invalid limit '3m'"),
    ("--max-tokens 1e9", "invalid limit '1e9'"),
    ("--max-calls 5.5", "invalid limit '5.5': expected a whole number such as 12, +2 or +10%"),
    ("--max-errors 0 --baseline last", "invalid baseline: expected another run, got "),
    ("--max-duration 5x", "expected a duration such as 90s"),
    ("--save b.json --max-cost 1", "give only one of --save and --max-cost"),
    ("--save b.json --baseline b.json", "give only one of --save and --baseline"),
    ("--save nowhere/b.json", "does not exist; create it first"),
    ("--max-errors 0 --json --format md", "give only one of --json and --format"),
    ("--baseline nothing.json --same-tools", "cannot read the baseline nothing.json: No such file or directory"),
]


@pytest.mark.parametrize(("words", "message"), _WRONG)
def test_wrong_use_is_refused(
    journal: Journal, command: Command, words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 2, and the message says what to do."""
    monkeypatch.chdir(tmp_path)
    _run(journal, tool("t"))
    code, out, err = command("check", *words.split())
    assert (code, out) == (2, "")
    assert message in err


def test_a_run_is_not_its_own_baseline(journal: Journal, command: Command, tmp_path: Path) -> None:
    """A session is refused, by a program too; a file of the run is not, as a script saves the first one that it has."""
    id = _run(journal, tool("t"))
    other = _run(journal, tool("t"))
    code, out, err = command("check", id, other, "--baseline", id, "--same-tools")
    assert (code, out) == (2, "")
    assert f"got {id} itself; record a new run" in err
    path = str(tmp_path / "b.json")
    assert command("check", id, "--save", path)[0] == 0
    code, _, err = command("check", id, "--baseline", path, "--same-tools")
    assert (code, err) == (0, f"localops: session {id} is checked against itself: {path} was saved from it\n")
    with opened() as recorded:
        run = recorded.session(id)
        with pytest.raises(ConfigError, match="expected another run"):
            run.check(run, same_tools=True)
        assert run.check(path, same_tools=True)["passed"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("{}", "expected localops_baseline 4, got None; write it with `localops check --save`"),
        ("[]", "expected localops_baseline 4"),
        ('{"localops_baseline": 5}', "got 5; upgrade localops"),
        ('{"localops_baseline": 4}', "KeyError('totals')"),
        ('{"localops_baseline": 4, "totals": {}, "tools": []}', "duration_ns"),
        ('{"localops_baseline": 4, "totals": [], "tools": 3}', "invalid baseline"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(
    journal: Journal, command: Command, tmp_path: Path, text: str, message: str
) -> None:
    """Whatever is in it, the exit code is 2, with a reason."""
    path = tmp_path / "b.json"
    path.write_text(text)
    _run(journal, tool("t"))
    code, _, err = command("check", "--baseline", str(path), "--same-tools")
    assert code == 2
    assert message in err
