"""`localops diff`: two runs on a terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.errors import ConfigError
from localops.journal.journal import Journal
from localops.journal.rows import id_text
from localops.runs import opened
from tests import programs
from tests.planned import Plan, llm, record, step, tool

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal to write runs into."""
    journal = Journal(str(tmp_path / "home" / "default"))
    yield journal
    journal.close()


@pytest.fixture
def runs(journal: Journal) -> tuple[str, str]:
    """Two runs that differ in every way but one."""
    a = [llm("why?"), step("look up", tool("search", q="Lyon"), tool("gone")), tool("same")]
    b = [llm("why?", "gpt-4o", 9_000_000), step("look up", tool("search", q="Nice")), tool("same"), tool("new", True)]
    first = record(journal, a, start_ns=1_795_900_000_000_000_000)
    return id_text(first), id_text(record(journal, b))


def test_what_differs_is_shown_below_the_totals(runs: tuple[str, str], command: Command) -> None:
    """Both runs, their totals beside one another, and a line for each difference with its parents."""
    code, out, err = command("diff", *runs)
    assert (code, err) == (0, "")
    assert re.search(r"^tool calls +3 +3$", out, re.MULTILINE)
    assert re.search(r"^cost +\$0.001000 +\$0.009000 +\+800%$", out, re.MULTILINE)
    assert "6 steps: 1 added (1 failed), 1 removed, 2 changed (1 costlier), 2 the same" in out
    assert "cost +$0.008000: gpt-4o +$0.008000" in out
    lines = out.splitlines()
    assert "~ llm gpt-4o  gpt-4o-mini → gpt-4o; costlier: $0.001000 → $0.009000" in lines
    at = lines.index("  operation look up")
    assert lines[at + 1 : at + 5] == [
        "~   tool search  other arguments",
        '      - {"params":{"q":"Lyon"}}',
        '      + {"params":{"q":"Nice"}}',
        "-   tool gone",
    ]
    assert "+ tool new  failed" in lines
    assert not any("tool same" in line for line in lines)


def test_the_words_say_how_a_step_differs(journal: Journal, command: Command) -> None:
    """Other models and arguments, failures with their errors, durations, cost and tokens, added and removed steps."""
    slow, dear, other = tool("slow"), llm("dear?"), llm("other?")
    a = [slow, dear, other, tool("breaks"), tool("heals", True), step("gone", tool("x"), tool("y")), llm("asked?")]
    b = [plan.copy() for plan in a[:3]]
    b[0].seconds, b[1].cost, b[1].tokens = 2.5, 3_000_000, (4_000, 60)
    b[2].model, b[2].tokens = "gpt-4o", (100, 20)
    b += [tool("breaks", True), tool("heals"), llm("asked?"), llm("new?", "o3")]
    ids = [id_text(record(journal, plans)) for plans in (a, b)]
    code, out, _ = command("diff", *ids)
    assert code == 0
    notes = {line.split("  ")[0].lstrip("~!*$>+- "): line.split("  ", 1)[1:] for line in out.splitlines() if line}
    assert notes["tool slow"] == ["slower: 10ms → 2.5s"]
    assert notes["llm gpt-4o-mini"] == ["costlier: $0.001000 → $0.003000; tokens: 100 + 20 → 4,000 + 60"]
    assert notes["llm gpt-4o"] == ["gpt-4o-mini → gpt-4o"]
    assert notes["tool breaks"] == ["failed now"]
    assert notes["tool heals"] == ["fixed now"]
    assert notes["operation gone"] == ["2 steps inside"]
    assert notes["llm o3"] == ["new?; 100 + 20 tokens; $0.001000"]
    # The mark for a cost is not beside a step that only got slower.
    assert {"> tool slow", "$ llm gpt-4o-mini"} <= {line.split("  ")[0] for line in out.splitlines()}
    back = command("diff", *reversed(ids), "--format", "md")[1]
    assert "| removed | `llm o3` | `new?`<br>`100 + 20 tokens`<br>`$0.001000` |" in back
    assert "| fixed now | `tool breaks` | `fixed now` |" in back


def test_the_words_name_the_error_of_a_failure(command: Command) -> None:
    """With its class and message, before and now."""
    for fails in (False, True):
        session = localops.start_session(name="run")
        with suppress(ValueError), session.operation("load"):
            if fails:
                raise ValueError("no such table")
        session.end_session()
    ids = [each["session_id"] for each in json.loads(command("sessions", "--json")[1])["sessions"]]
    assert "! operation load  failed now: ValueError: no such table" in command("diff", ids[1], ids[0])[1].splitlines()
    fixed = "* operation load  fixed now, failed before: ValueError: no such table"
    assert fixed in command("diff", ids[0], ids[1])[1].splitlines()


def test_a_call_without_an_end_is_not_one_that_returned_nothing(command: Command, as_json: AsJson) -> None:
    """Only the innermost is a difference: what it is inside of has not ended either."""

    def run(*, ends: bool) -> None:
        order = session.operation("order")
        pay = session.operation("pay", kind="tool", params={"euros": 5})
        order.__enter__()
        pay.__enter__()
        if ends:
            pay.close()
            order.close()

    for ends in (True, False):
        session = localops.start_session(name="pays")
        copy_context().run(run, ends=ends)
        session.end_session("Success")
    lines = [" ".join(line.split()) for line in command("diff", "last")[1].splitlines()]
    at = lines.index("2 steps: 1 with another result, 1 the same")
    shown = ["operation order", "~ tool pay no end is recorded in B", "- → (nothing)", "+ → (no end is recorded)"]
    assert lines[at + 2 : at + 6] == shown
    line = as_json("diff", "last")["differences"][-1]
    assert (line["a"]["finished"], line["b"]["finished"]) == (True, False)
    assert "no end is recorded in B" in command("diff", "last", "--format", "md")[1]


def test_json_has_all_of_it(runs: tuple[str, str], as_json: AsJson) -> None:
    """Both runs with their totals, counts, and each difference with both sides."""
    document = as_json("diff", *runs)
    assert [document[side]["session_id"] for side in "ab"] == list(runs)
    assert document["b"]["cost_nano"] == 9_000_000
    assert document["counts"]["added"] == 1
    assert (document["shortest"], document["cut"], document["more"]) == (True, False, 0)
    changed = document["differences"][1]
    assert (changed["marks"], changed["depth"], changed["name"]) == (["changed"], 1, "search")
    assert (changed["a"]["given"], changed["b"]["given"]) == ('{"params":{"q":"Lyon"}}', '{"params":{"q":"Nice"}}')
    removed = document["differences"][2]
    assert (removed["marks"], removed["b"]) == (["removed"], None)


def test_markdown_is_for_a_pull_request(runs: tuple[str, str], command: Command) -> None:
    """Totals and differences are tables, whose rows all have as many cells as their heading."""
    code, out, _ = command("diff", *runs, "--format", "md")
    assert code == 0
    assert "| tool calls | 3 | 3 |  |" in out
    assert '| changed | `tool search` | `other arguments`<br>− `{"params":{"q":"Lyon"}}`<br>' in out


def test_a_long_text_is_shown_where_it_differs(journal: Journal, as_json: AsJson) -> None:
    """The part of two long prompts that differs, apart from ids and times, with a little around it."""
    prompts = [f"{uuid.uuid4()} {'why? ' * 2000}{word} {'so! ' * 2000}" for word in "AB"]
    a, b = (id_text(record(journal, [llm(prompt)])) for prompt in prompts)
    [difference] = as_json("diff", a, b)["differences"]
    for side, word in zip("ab", "AB", strict=True):
        given = difference[side]["given"]
        assert re.fullmatch(r"….{40}" + word + r".{40}…", given)


def test_the_newest_run_is_the_second(runs: tuple[str, str], as_json: AsJson) -> None:
    """With one id, that run is compared with the newest."""
    assert as_json("diff", runs[0])["b"]["session_id"] == runs[1]


def test_the_newest_run_is_compared_with_the_one_before_it(journal: Journal, command: Command, as_json: AsJson) -> None:
    """With that of the same name; if there is none, another run has to be named."""
    start_ns = 1_795_900_000_000_000_000
    ids = [id_text(record(journal, [tool("t")], start_ns=start_ns + number)) for number in range(3)]
    session = localops.start_session(name="other")
    assert session is not None
    assert command("diff", "last")[::2] == (
        1,
        f"localops: no run named 'other' began before {session.session_id}: give the ids of two runs\n",
    )
    session.end_session("Success")
    ids.append(id_text(record(journal, [tool("t")], start_ns=clock.now_ns())))
    for newest in ("last", ids[-1]):
        document = as_json("diff", newest)
        assert [document[side]["session_id"] for side in "ab"] == ids[-2:]


def test_a_run_is_not_compared_with_itself(runs: tuple[str, str], command: Command) -> None:
    """Neither alone nor among others, and not by a program."""
    for given in (("last", "last"), ("last", runs[0], "last"), (runs[1][:13], "last")):
        code, out, err = command("diff", *given)
        assert (code, out) == (2, "")
        assert err.startswith(f"localops: invalid runs: expected different ones, got {runs[1]} twice; ")
    with opened() as recorded, pytest.raises(ConfigError, match="expected different ones"):
        recorded.session(runs[0]).diff(recorded.session(runs[0]))


def test_a_limit_counts_differences(runs: tuple[str, str], command: Command, as_json: AsJson) -> None:
    """With --limit, the rest is counted."""
    document = as_json("diff", *runs, "-n", "1")
    assert (len(document["differences"]), document["more"]) == (1, 3)
    assert "… and 3 more differences: --limit 0 shows all" in command("diff", *runs, "-n", "1")[1]
    assert "more difference" not in command("diff", *runs, "-n", "4")[1]


def _outputs(journal: Journal, command: Command, *runs: list[Plan]) -> list[str]:
    """Return the lines of the differences between two runs."""
    out = command("diff", *(id_text(record(journal, plans)) for plans in runs))[1]
    lines = out.splitlines()
    summary = next(place for place, line in enumerate(lines) if re.match(r"(\d+ steps?|no difference): ", line))
    differences = lines[lines.index("", summary) + 1 :]
    return differences[: differences.index("")] if "" in differences else differences


def _gives(plan: Plan, result: Any) -> Plan:
    plan.gives = result
    return plan


def test_another_result_is_a_difference(journal: Journal, command: Command, as_json: AsJson) -> None:
    """Its mark has the part that differs, of a model the tool that it calls; one that failed has another error."""

    def run(result: str, key: int, error: str) -> str:
        session = localops.start_session()
        assert session is not None
        call = {"id": f"call_{key}", "type": "function", "function": {"name": "t", "arguments": {"key": key}}}
        session.record(localops.LLMEvent(model="o3", prompt="why?", completion={"tool_calls": [call]}))
        session.record(localops.ToolEvent(name="run_tests", returns=f"{'.' * 99} {result} in 0.{key}s"))
        with suppress(ValueError), session.operation("load"):
            raise ValueError(error)
        session.end_session("Success")
        return str(session.session_id)

    a, b = run("1 failed, 19 passed", 12, "no table"), run("20 passed", 34, "no file")
    lines = command("diff", a, b)[1].splitlines()
    assert lines[-11:] == [
        "~ llm o3  other result",
        "    - → t key=12",
        "    + → t key=34",
        "~ tool run_tests  other result",
        f"    - → …{'.' * 39} 1 failed, 19 passed in <time>",
        f"    + → …{'.' * 39} 20 passed in <time>",
        "~ operation load  other error",
        "    - → ValueError: no table",
        "    + → ValueError: no file",
        "",
        "~ another model, other arguments or another result",
    ]
    document = as_json("diff", a, b)
    assert (document["counts"]["result"], document["counts"]["same"]) == (3, 0)
    assert document["differences"][1]["marks"] == ["result"]
    assert document["differences"][1]["b"]["result"] == f"…{'.' * 39} 20 passed in <time>"
    assert " the same" in command("diff", a, run("1 failed, 19 passed", 12, "no table"))[1]


def test_a_step_of_one_run_has_what_it_was_given(journal: Journal, command: Command, as_json: AsJson) -> None:
    """It also has its result, on a separate line unless it is short; JSON has both."""
    files = [_gives(tool("read", path=f"{name}.py"), result) for name, result in (("a", "x = 1"), ("b", "x" * 100))]
    assert _outputs(journal, command, [], [*files, _gives(llm("why?"), "because")]) == [
        "+ tool read  path=a.py → x = 1",
        "+ tool read  path=b.py",
        f"    → {'x' * 100}",
        "+ llm gpt-4o-mini  why? → because; 100 + 20 tokens; $0.001000",
    ]
    ids = [id_text(record(journal, plans)) for plans in (files, [])]
    first, second = as_json("diff", *ids)["differences"]
    assert (first["a"]["input"], first["a"]["output"]) == ("path=a.py", "x = 1")
    assert second["a"]["output"] == "x" * 100
    markdown = command("diff", *ids, "--format", "md")[1]
    assert "| removed | `tool read` | `path=a.py → x = 1` |" in markdown
    assert f"| removed | `tool read` | `path=b.py`<br>→ `{'x' * 100}` |" in markdown


@pytest.mark.parametrize(("many", "is_cut"), [(3, False), (9, True)])
def test_a_list_as_a_result_is_shown_from_its_beginning(
    journal: Journal, command: Command, many: int, is_cut: bool
) -> None:
    """As much as there is room for; a list of calls has less room."""
    rows = [{"recipe": f"a stew of number {number}", "minutes": number} for number in range(many)]
    step, result = _outputs(journal, command, [], [_gives(tool("find"), {"recipes": rows})])
    assert step == "+ tool find"
    assert "a stew of number 0" in result
    assert "a stew of number 2" in result
    assert result.endswith("…") == is_cut


@pytest.mark.parametrize(
    "call",
    [
        {"type": "function", "function": {"name": "t", "arguments": "{}"}},
        {"function": {"name": "t", "arguments": "{}"}},
        {"type": "tool_use", "name": "t", "input": {"city": "Lyon"}},
        {"type": "tool_call", "name": "t", "args": {"city": "Lyon"}},
    ],
)
def test_ids_of_tool_calls_do_not_count(command: Command, call: dict[str, Any]) -> None:
    """Whatever they look like: in the answer that makes them, and in prompts that repeat it."""

    def run(id: str, record: str) -> str:
        session = localops.start_session()
        answer = {"role": "assistant", "content": [{"type": "text", "text": "so"}], "tool_calls": [{"id": id, **call}]}
        result = {"role": "tool", "tool_call_id": id, "content": "sunny"}
        session.record(localops.LLMEvent(model="o3", prompt="why?", completion=answer))
        session.record(localops.LLMEvent(model="o3", prompt=[answer, result], completion="ok"))
        session.record(localops.ToolEvent(name="find", returns={"id": record}))
        session.end_session("Success")
        return str(session.session_id)

    assert "no difference: 3 steps the same" in command("diff", run("tc_5", "r1"), run("tc_6", "r1"))[1]
    assert "3 steps: 1 with another result, 2 the same" in command("diff", run("tc_5", "r1"), run("tc_6", "r2"))[1]


def test_a_step_that_moved_is_one_line(journal: Journal, command: Command, as_json: AsJson) -> None:
    """With what it was given, where it went, and what it gave there."""

    def run(*names: str) -> list[Plan]:
        return [_gives(tool(name, market="west"), f"{name} {names}") for name in names]

    sides = run("a", "b", "c"), run("b", "c", "a")
    lines = _outputs(journal, command, *sides)
    assert "↕ tool a  market=west  moved later; other result" in lines
    assert "    - → a ('a', 'b', 'c')" in lines
    ids = [id_text(record(journal, plans)) for plans in sides]
    document = as_json("diff", *ids)
    assert (document["counts"]["moved"], document["counts"]["removed"]) == (1, 0)
    [moved] = [each for each in document["differences"] if "moved" in each["marks"]]
    assert (moved["marks"], moved["moved"], moved["name"]) == (["moved", "result"], "later", "a")
    assert "3 steps: 1 moved (1 with another result), 2 with another result" in command("diff", *ids)[1]
    assert "| moved, other result | `tool a` | `market=west  moved later`" in command("diff", *ids, "--format", "md")[1]


def _chat(city: str, calls: int, question: str = "Where to?", model: str = "gpt-4o-mini") -> list[Plan]:
    """Plan an agent that looks up a city, and some more; each call of the model repeats all before it."""
    prompt: list[dict[str, Any]] = [{"role": "user", "content": question}]
    run = [llm([*prompt])]
    for number in range(calls):
        run.append(tool("look_up", city=city if number == 0 else "Metz"))
        prompt += [{"role": "assistant", "content": f"look_up {city}"}, {"role": "tool", "content": city * 200}]
        run.append(llm([*prompt]))
    run[-1].model = model
    return run


def test_what_later_prompts_repeat_is_counted(journal: Journal, command: Command, as_json: AsJson) -> None:
    """One changed argument is one difference, though each later prompt contains it; so is another model."""
    change = ["~ tool look_up  other arguments", '    - {"params":{"city":"Lyon"}}', '    + {"params":{"city":"Nice"}}']
    assert _outputs(journal, command, _chat("Lyon", 6), _chat("Nice", 6)) == [
        *change,
        "  the prompts of 6 later LLM calls repeat the differences above",
    ]
    assert _outputs(journal, command, _chat("Lyon", 1), _chat("Nice", 1, model="o3")) == [
        *change,
        "~ llm o3  gpt-4o-mini → o3; prompt repeats the differences above",
    ]
    assert _outputs(journal, command, _chat("Lyon", 1), _chat("Lyon", 1, model="o3")) == ["~ llm o3  gpt-4o-mini → o3"]
    document = as_json("diff", *(id_text(record(journal, _chat(city, 2))) for city in ("Lyon", "Nice")))
    assert [each["marks"] for each in document["differences"]] == [["changed"], ["follows"], ["follows"]]


def test_each_step_is_counted_once_and_the_costs_add_up(journal: Journal, command: Command, as_json: AsJson) -> None:
    """Under the first difference that applies; others are in brackets. Unexplained costs are a separate part."""
    a, b = _chat("Lyon", 2), _chat("Nice", 2)
    b[-1].tokens, b[-1].cost, b[0].seconds = (300, 20), 3_000_000, 2.0
    a.append(llm("gone?"))
    a[-1].name = "sum up"
    ids = [id_text(record(journal, plans)) for plans in (a, [*b, tool("new", True)])]
    out = command("diff", *ids)[1]
    summary = (
        "7 steps: 1 added (1 failed), 1 removed, 1 changed, 2 whose prompts repeat these changes (1 costlier), "
        "2 the same (1 of them slower)"
    )
    assert summary in out
    assert "\ncost +$0.001000: longer prompts +$0.002000, removed steps -$0.001000\n" in out
    parts = as_json("diff", *ids)["cost_parts"]
    assert [(part["cause"], part["cost_nano"]) for part in parts] == [
        ("longer prompts", 2_000_000), ("removed steps", -1_000_000)
    ]  # fmt: skip


def test_what_a_program_says_in_a_later_prompt_is_a_difference(journal: Journal, command: Command) -> None:
    """Another question is one, once, and so is an answer that no earlier step explains."""
    runs = [_chat("Lyon", 2), _chat("Nice", 2, question="Where from?")]
    lines = _outputs(journal, command, *runs)
    assert lines[:3] == [
        "~ llm gpt-4o-mini  other arguments",
        '    - {"prompt":[{"content":"Where to?","role":"user"}]}',
        '    + {"prompt":[{"content":"Where from?","role":"user"}]}',
    ]
    assert lines[3] == "~ tool look_up  other arguments"
    assert lines[6:] == ["  the prompts of 2 later LLM calls repeat the differences above"]
    for plans, text in zip(runs, ("Go on.", "Stop."), strict=True):
        plans[-1].given = [*plans[-1].given, {"role": "user", "content": text}]
    assert _outputs(journal, command, *runs)[6] == "~ llm gpt-4o-mini  other arguments"
    lines = _outputs(journal, command, _chat("Lyon", 1)[2:], _chat("Nice", 1)[2:])
    assert lines[0] == "~ llm gpt-4o-mini  other arguments"


@pytest.mark.parametrize("form", ["text", "md"])
def test_runs_that_did_the_same_have_no_difference(journal: Journal, command: Command, form: str) -> None:
    """They are the same, and no table of differences is shown."""
    plans = [llm("why?"), step("look up", tool("search", q="Lyon"), tool("gone"))]
    same = [id_text(record(journal, plans)) for _ in range(2)]
    out = command("diff", *same, "--format", form)[1]
    assert "no difference: 4 steps the same" in out
    assert "| difference |" not in out


@pytest.mark.parametrize(
    "name", ["\x1b[2J", "a|b", "`x`", "[a](http://b)", "@all", "<img src=x>", "![](x)", "a\nb", "\u202ex", "\\|", "\\"]
)
def test_recorded_text_is_only_code(journal: Journal, command: Command, name: str) -> None:
    """In Markdown a name cannot be a link, a mention, HTML or a cell; on a terminal it cannot control it."""
    a, b = (id_text(record(journal, [Plan("tool", name, {name: number}), tool("t")])) for number in (1, 2))
    for arguments in (("diff", a, b), ("diff", a, b, "--format", "md")):
        out = command(*arguments)[1]
        assert "\x1b" not in out
        assert "\u202e" not in out
    [row] = [line for line in out.splitlines() if line.startswith("| changed")]
    outside = re.sub(r"`[^`]*`", "", row)
    assert re.sub(r"\\\\|\\\|", "", outside) == "| changed |  | <br>− <br>+  |"
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 4


def test_by_how_much_a_lower_bound_changed_is_not_stated(command: Command) -> None:
    """Both processes died in the run: how long each lasted is not known."""
    for _ in range(2):
        programs.run("import localops, os\nwith localops.init().operation('work'): os._exit(0)")
    _, out, _ = command("diff", *map(id_text, programs.sessions()))
    assert re.search(r"^took +at least [^ ]+ +at least [^ ]+$", out, re.MULTILINE)


def test_an_empty_run_lacks_every_step(journal: Journal, command: Command) -> None:
    """A run without events is compared like any other."""
    a, b = id_text(record(journal, [tool("t")])), id_text(record(journal, []))
    out = command("diff", a, b)[1]
    assert "- tool t" in out
    assert "1 step: 1 removed\n" in out


def test_what_cannot_be_compared_is_noted(journal: Journal, command: Command) -> None:
    """A running run is marked, as steps may still be added to it."""
    a = id_text(record(journal, [tool("t")]))
    session = localops.start_session()
    out = command("diff", a, "last")[1]
    assert "! B is still running" in out
    assert session is not None
    session.end_session("Success")
    assert "still running" not in command("diff", a, "last")[1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["diff"], 2, "Missing argument 'A [B]...'"),
        (["diff", "abcd", "--format", "md", "--json"], 2, "give only one of --json and --format"),
        (["diff", "ffffffff"], 1, "ffffffff"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    runs: tuple[str, str], command: Command, words: list[str], code: int, message: str
) -> None:
    """An id that is missing or unknown, and options that exclude each other."""
    status, _, err = command(*words)
    assert status == code
    assert message in err


def test_what_comes_again_and_again_is_shown_once(journal: Journal, command: Command) -> None:
    """A loop of two calls, which one of the runs was in, is two lines and a number."""
    first = record(journal, [tool("same")], start_ns=1_795_900_000_000_000_000)
    looping = [each for _ in range(20) for each in (tool("ask"), tool("wait"))]
    second = record(journal, [tool("same"), *looping, tool("last")])
    code, out, _ = command("diff", id_text(first), id_text(second))
    assert code == 0
    end = ["+ tool ask", "+ tool wait", "  … these 2 differences 20 times", "+ tool last"]
    assert [line.rstrip() for line in out.splitlines()][-4:] == end
    pages = [tool("fetch", page=number) for number in range(5)]
    assert _outputs(journal, command, [], pages) == [
        "+ tool fetch  page=0",
        "  … this difference 5 times, with other arguments",
    ]


def test_of_three_runs_the_odd_one_is_named(journal: Journal, command: Command, as_json: AsJson) -> None:
    """In a sentence above the events that are not the same in all; also as Markdown and as JSON."""
    plans = [[tool("read", path="a"), tool("edit", path=letter)] for letter in "xyy"]
    plans[2].insert(1, tool("read", path="b"))
    ids = [id_text(record(journal, plan, end="Failure" if plan is plans[0] else "Success")) for plan in plans]
    code, out, _ = command("diff", *ids)
    assert code == 0
    assert re.search(r"^tool calls +2 +2 +3$", out, re.MULTILINE)
    head = "A differs from the others: it ended in Failure, while B and C ended in Success; "
    head += "2 of 3 events differ: in 1 only A is different, in 1 only C is different"
    assert out.splitlines()[-6:] == [
        head,
        "",
        "+ tool read  only in C: path=b",
        "~ tool edit",
        "    A  path=x",
        "    B and C  path=y",
    ]
    assert command("diff", *ids, "--limit", "1")[1].endswith("… and 1 more difference: --limit 0 shows all\n")
    assert "| `tool read` | – | – | `path=b` |" in command("diff", *ids, "--format", "md")[1].splitlines()
    facts = as_json("diff", *ids)
    assert [run["state"] for run in facts["runs"]] == ["Failure", "Success", "Success"]
    assert (facts["odd"], facts["counts"]) == (0, {"same": 1, "differing": 2})
    code, _, err = command("diff", *ids * 9)
    assert (code, "expected at most 26, got 27" in err) == (2, True)
