"""The post-mortem of sessions that real programs recorded, ended and did not end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import localops
from localops import clock, config
from localops.coding.recording import Project
from localops.config import Config
from localops.journal import participants, rows
from localops.journal.journal import Journal
from localops.otlp.importing import take
from localops.reading import post_mortem, post_mortem_page, run_rows, waste
from localops.reading.home import Home
from localops.reading.sentences import plain
from tests import programs
from tests.examples import sized

_INIT = """
import localops, os, signal, sys, threading
from localops.decorators import agent, operation, tool
session = localops.init(env_data_opt_out=True)
def die(): os.kill(os.getpid(), signal.SIGKILL)
"""
_FETCH = """
@tool(name="fetch")
def fetch(url, fails=True):
    if fails: raise TimeoutError(url + " is late")
    return "a page"
"""


def found(session: bytes | None = None) -> dict[str, Any]:
    """Return the post-mortem of a session, by default of the newest."""
    with Home() as home:
        project, id = home.find("last") if session is None else (home.projects[0], session)
        polling = config.polling(home.folder)
        facts = post_mortem.of(project.name, project.snapshot(id), project.reader, polling=polling)
    json.dumps(facts)
    return facts


def page(facts: dict[str, Any]) -> dict[str, list[str]]:
    """Return the sentences of each section."""
    sections = post_mortem_page.sections(facts)
    assert sum(2 + len(sentences) for _, sentences in sections) <= 60
    return {title: [plain(one) for one in sentences] for title, sentences in sections}


def after(code: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Run a program, and return the post-mortem of its session, and its page."""
    programs.run(_INIT + code)
    facts = found()
    return facts, page(facts)


def command(*arguments: str) -> str:
    """Return what a command of ours prints."""
    code = "import runpy; runpy.run_module('localops', run_name='__main__', alter_sys=True)"
    return programs.run(code, *arguments).stdout


def test_a_success_has_no_errors() -> None:
    """It says what was done, what came last, and nothing of errors, waste or losses."""
    facts, sections = after(
        _FETCH + "fetch('a', fails=False)\n"
        "session.record(localops.LLMEvent(model='gpt-4o', prompt='hi', completion='So it is.', prompt_tokens=10, "
        "completion_tokens=2))\nfetch('b', fails=False)\nsession.end_session('Success', 'all pages are read')"
    )
    assert list(sections) == ["How it ended", "What it did", "The last things"]
    assert (facts["how"], facts["first_error"], facts["under_way"]) == ("declared", None, [])
    assert (
        sections["How it ended"][0]
        == "Success: the program ended the session with this state and the reason 'all pages are read'."
    )
    assert "1 LLM call, 2 tool calls, 0 actions, 0 errors" in sections["What it did"][0]
    assert sections["What it did"][1] == "It cost $0.000045, for 10 tokens in and 2 out."
    assert facts["last_operation"]["name"] == "fetch"
    assert sections["The last things"][0].endswith("with the result 'a page'.")
    assert sections["The last things"][1].endswith("'So it is.'")


def test_a_declared_failure_has_its_reason() -> None:
    """A reason that a program gives is no exception, though it sounds like one."""
    facts, sections = after("session.end_session('Failure', 'ValueError: no luck')")
    assert (facts["how"], facts["last_error"]) == ("declared", None)
    assert (
        sections["How it ended"][0]
        == "Failure: the program ended the session with this state and the reason 'ValueError: no luck'."
    )
    assert sections["What it did"] == ["It recorded no event."]


def test_the_cause_comes_before_what_was_done() -> None:
    """After how it ended comes the error that ended it, then the first one, then figures and the last things."""
    _, sections = after(
        _FETCH + "try: fetch('http://a')\nexcept TimeoutError: pass\n"
        "session.record(localops.LLMEvent(model='gpt-4o', prompt='hi', completion='Yes.', prompt_tokens=10, "
        "completion_tokens=2))\nraise ValueError('no luck')"
    )
    titles = list(sections)
    assert titles[:3] == ["How it ended", "The error that ended it", "The first error"]
    assert titles.index("What it did") < titles.index("The last things")
    assert titles.index("The first error") < titles.index("What it did")


def test_an_uncaught_exception_ended_the_run() -> None:
    """The way to it is its operations, from outside in, and nothing caught it."""
    facts, sections = after(
        _FETCH + "@operation(name='inner')\ndef inner(): fetch('http://a')\n"
        "@operation(name='outer')\ndef outer(): inner()\nouter()"
    )
    error = facts["first_error"]
    assert facts["how"] == "exception"
    assert (error["type"], error["message"], error["outcome"]) == ("TimeoutError", "http://a is late", "ended the run")
    assert [level["name"] for level in error["path"]] == ["outer", "inner", "fetch"]
    assert error["again"]["calls"] == 0
    assert facts["last_error"] is None
    assert "url=http://a" in sections["The first error"][1]
    assert sections["The first error"][2:] == ["Nothing caught it: it ended the run.", "The call was not tried again."]


@pytest.mark.parametrize("is_recorded", [True, False], ids=["in operations", "in none"])
def test_an_exception_that_ended_a_thread_says_so(is_recorded: bool) -> None:
    """The program went on without it, and declared a success; another error of the class ended none."""
    call = "fetch('http://a')" if is_recorded else "raise TimeoutError('http://a is late')"
    facts, sections = after(
        _FETCH + f"def work():\n    {call}\n"
        "thread = threading.Thread(target=work, name='gather')\n"
        "thread.start(); thread.join()\n"
        "try: fetch('http://b')\nexcept TimeoutError: pass\n"
        "session.end_session('Success')"
    )
    error = facts["first_error"]
    assert (error["message"], error["outcome"], error["thread"]) == ("http://a is late", "ended a thread", "gather")
    assert "Nothing caught it: it ended thread 'gather', and the program went on." in sections["The first error"]
    assert facts["done"]["errors"] == 2
    assert facts["done"]["events"] == 2 + (2 if is_recorded else 1)


def test_an_exit_code_is_named() -> None:
    """sys.exit(3) inside of an operation: no error, but the operation that it left, and the code."""
    facts, sections = after("@operation(name='work')\ndef work(): sys.exit(3)\nwork()")
    assert facts["how"] == "exit code"
    assert sections["How it ended"][0].startswith("Failure: the program ended with exit code 3.")
    assert (facts["first_error"]["type"], facts["first_error"]["message"]) == ("SystemExit", None)
    assert facts["first_error"]["outcome"] == "ended the run"
    assert "operation 'work' was ended by SystemExit" in sections["The first error"][0]


def test_a_signal_is_named() -> None:
    """SIGTERM is recorded by the program before it dies."""
    facts, sections = after("os.kill(os.getpid(), signal.SIGTERM); threading.Event().wait(9)")
    assert facts["how"] == "signal"
    assert "Signal SIGTERM detected" in sections["How it ended"][0]


def test_an_open_end_is_named() -> None:
    """A program that exited without an end did so; whether it reached its goal is not known."""
    facts, sections = after("session.record(localops.ActionEvent('a'))")
    assert facts["how"] == "left open"
    assert "did not end the session" in sections["How it ended"][0]


@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize("kind", ["llm", "tool"])
def test_what_a_killed_process_was_in_may_have_happened(kind: str, is_folded: bool) -> None:
    """The call and its input are there; that it did or did not happen is not claimed."""
    open_call = {
        "llm": "session.operation('think', kind='llm', model='gpt-4o', prompt='where is it?')",
        "tool": "session.operation('pay', kind='tool', params={'to': 'Ada'})",
    }
    programs.run(f"{_INIT}with session.operation('plan', kind='workflow'):\n    with {open_call[kind]}:\n        die()")
    if is_folded:
        journal = Journal(programs.project())
        journal.fold()
        journal.close()
    facts = found()
    sections = page(facts)
    assert facts["how"] == "died"
    assert [one["kind"] for one in facts["under_way"]] == ["workflow", kind]
    # What holds others did begin: only of a call is it unknown.
    assert sections["Under way at the end"][0].endswith("before the last row, and was under way when the process died.")
    # Nothing came after its beginning.
    assert (
        "died; its beginning is the last row, so how long it ran is not known; it may"
        in (sections["Under way at the end"][-1])
    )
    assert facts["under_way"][-1]["input"] == {"llm": "where is it?", "tool": "to=Ada"}[kind]
    assert facts["done"]["cost_at_least"] == (kind == "llm")
    last = sections["Under way at the end"][-1]
    assert "was under way when the process died" in last
    assert last.endswith("it may or may not have happened.")
    assert "process died inside" in sections["How it ended"][0]
    assert any("`localops help resume`" in sentence for sentence in sections["How it ended"])


def test_what_ended_inside_of_it_says_how_far_it_came() -> None:
    """Of the innermost operation that was under way; that nothing follows is there where nothing does."""
    sent = "session.record(localops.ActionEvent('http', params={'url': 'a.example'}, returns='sent'))"
    facts, sections = after(
        f"with session.operation('plan', kind='workflow'):\n    with session.operation('pay', kind='tool'):\n"
        f"        with session.operation('post'):\n            {sent}\n        {sent}\n        die()"
    )
    assert facts["under_way"][0]["inside"] is None
    assert [one["name"] for one in facts["under_way"][1]["inside"]["known"]] == ["post", "http"]
    last = sections["Under way at the end"][-1]
    assert re.fullmatch(
        r"Inside it, 2 operations ended: operation 'post' at \+\S+, action 'http' 'url=a.example' at \+\S+; "
        r"the last gave 'sent'; nothing later is recorded\.",
        last,
    ), last


def test_how_many_ended_inside_of_what_was_under_way_is_counted() -> None:
    """Those directly in it, with what the last of them were given; one of the tool that has no end is named too."""
    facts, sections = after(
        "@tool(name='send')\ndef send(to):\n    if to == 7: die()\n    with session.operation('sign'): pass\n"
        "with session.operation('batch', kind='workflow'):\n    for to in range(8): send(to)"
    )
    batch, call = facts["under_way"]
    assert (batch["inside"]["count"], batch["inside"]["at_least"], call["inside"]) == (7, False, None)
    sentence = sections["Under way at the end"][1]
    assert sentence.startswith("Inside it, 7 calls of tool 'send' ended: 'to=2' at +")
    assert re.search(r", 'to=6' at \+\S+, and 2 before these\.$", sentence), sentence
    assert "Tools: 'send' ×7 and 1 that did not end." in sections["What it did"]


def test_one_that_ended_inside_of_what_was_under_way_has_its_result() -> None:
    """Its time counts from the beginning of what it is in, in words."""
    _, sections = after(
        "with session.operation('pay', kind='tool'):\n    session.record(localops.ActionEvent('a'))\n    die()"
    )
    assert re.fullmatch(
        r"Inside it, action 'a' ended \S+ after it began; nothing later is recorded\.",
        sections["Under way at the end"][-1],
    )


def test_the_first_call_may_have_been_billed() -> None:
    """A run that was killed in it recorded no event that ended, but is not idle, and may have a cost."""
    programs.run(_INIT + "with session.operation('think', kind='llm', model='gpt-4o', prompt='why?'):\n    die()")
    assert page(found())["What it did"] == [
        "Nothing that it began has ended.",
        "The LLM call of 'gpt-4o' that was under way may have been billed; the cost is not recorded.",
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
    assert sections["What it did"][1] == sentence
    assert "2 LLM calls, 20 tokens, unpriced: 2 calls have no price." in sections["What it spent for nothing"][0]
    assert "$0.00 + ?" not in command("analytics", "--by", "session")


def test_what_made_the_cost_is_the_model_whose_prompts_grew() -> None:
    """The parts of the cost by model and agent, the largest first, with the first, the last and the costliest call."""
    facts, sections = after(
        "def ask(model, tokens, **facts): session.record(localops.LLMEvent(model=model, prompt='a', completion='b',"
        " prompt_tokens=tokens, completion_tokens=10, **facts))\n"
        "ask('small', 900, cost=0.001)\n"
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
    line, small, free, tools, most = sections["What made the cost"]
    assert line.startswith(
        "'large': $1.20 (75%) for 5 calls; the prompt of the first had 1,000 tokens (`localops show "
    )
    assert line.endswith("; 19% of the input came from a cache.")
    assert small == "'small': $0.001000 (<1%) for 1 call, with 900 tokens in."
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
    assert page(found())["What it did"][1] == f"Its cost is not known: {why}"
    session.record(localops.LLMEvent(model="mystery", prompt_tokens=9, completion_tokens=1))
    lines = page(found())["What it did"]
    assert lines[1] == "Its cost is unpriced: 1 call has no price. It had 9 tokens in and 1 out."
    why = "The cost of 1 LLM call ('gpt-4o') is not known: it failed without token counts."
    assert lines[2] == why
    session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=2))
    session.end_session("Fail")
    lines = page(found())["What it did"]
    assert lines[1:3] == ["It cost at least $0.000045, for 19 tokens in and 3 out.", why]


@pytest.mark.parametrize("value", ["[]", "{}", "''", "None", "0"])
def test_an_empty_result_is_a_result(value: str) -> None:
    """None is what a function without a result returns."""
    _, sections = after(f"@tool\ndef look(): return {value}\nlook()")
    ending = {"None": ", with no recorded result.", "0": ", with the result '0'."}.get(value, ", with an empty result.")
    assert sections["The last things"][0].endswith(ending)


def test_the_prompt_is_what_a_call_of_a_model_is_given() -> None:
    """Calls with the same one are called alike."""
    facts, _ = after(
        "for prompt in ('why?', 'why?', 'how?'):\n"
        "    try:\n"
        "        with session.operation('think', kind='llm', model='gpt-4o', prompt=prompt): raise TimeoutError\n"
        "    except TimeoutError: pass\n"
        "session.end_session('Success')"
    )
    assert facts["first_error"]["again"]["next_same"] is True


def test_a_call_that_its_session_ended_may_have_happened_too() -> None:
    """An LLM call of another thread was open when the session was ended: it did not end last."""
    facts, sections = after(
        "began, done = threading.Event(), threading.Event()\n"
        "def ask():\n"
        "    with session.operation('think', kind='llm', model='gpt-4o', prompt='why?'):\n"
        "        began.set(); done.wait(30)\n"
        "thread = threading.Thread(target=ask); thread.start(); began.wait(30)\n"
        "session.end_session('Success'); done.set(); thread.join()"
    )
    assert [one["ended_with_session"] for one in facts["under_way"]] == [True]
    assert (facts["last_operation"], facts["last_answer"]) == (None, None)
    assert "when the session was ended around it" in sections["Under way at the end"][0]


def test_a_caught_error_and_what_came_after() -> None:
    """The next calls of the same tool, those with the same arguments, and later errors of the same text."""
    facts, sections = after(
        _FETCH + "@operation(name='patient')\ndef patient():\n"
        "    for url in ('a', 'a', 'b'):\n"
        "        try: fetch(url)\n"
        "        except TimeoutError: pass\n"
        "patient(); fetch('a', fails=False); session.end_session('Success')"
    )
    error = facts["first_error"]
    assert (error["outcome"], error["where"]["name"]) == ("caught", "patient")
    assert error["same"]["later"] == 1
    assert {**error["again"], "within_rows": None} == {
        "kind": "tool",
        "name": "fetch",
        "model": None,
        "calls": 3,
        "failed": 2,
        "next_failed": True,
        "next_same": True,
        "within_rows": None,
    }
    assert "Caught: operation 'patient' around it ended without failing." in sections["The first error"]
    again = "'fetch' was called 3 times more; 2 of these calls failed. The next, with the same arguments, failed."
    assert again in sections["The first error"]


def test_calls_around_the_one_that_failed_are_no_later_ones() -> None:
    """Of a tool that calls itself: those began before. Of later ones, the next is the one that began first."""
    walk = (
        "@tool(name='walk')\ndef walk(depth, fails=True):\n"
        "    if depth: return walk(depth - 1, fails)\n"
        "    if fails: raise KeyError('no leaf')\n"
        "try: walk(2)\nexcept KeyError: pass\n"
    )
    facts, sections = after(walk + "session.end_session('Success')")
    assert facts["first_error"]["again"]["calls"] == 0
    assert "The call was not tried again." in sections["The first error"]
    again = "try: walk(1)\nexcept KeyError: pass\nwalk(0, fails=False); session.end_session('Success')"
    facts, sections = after(walk.replace("walk(2)", "walk(0)") + again)
    assert {key: facts["first_error"]["again"][key] for key in ("calls", "failed", "next_failed", "next_same")} == {
        "calls": 3,
        "failed": 2,
        "next_failed": True,
        "next_same": False,
    }


def test_a_run_that_went_on_says_with_what() -> None:
    """With what began after the error, of its agent if that went on; a parallel step began before it."""
    facts, sections = after(
        _FETCH + "@agent(name='Reader')\nclass R:\n    def run(self): fetch('a')\n"
        "    def go_on(self): fetch('b', False)\n"
        "reader = R()\nwith session.operation('beside'):\n    pass\n"
        "try: reader.run()\nexcept TimeoutError: pass\n"
        "with session.operation('log'): pass\nreader.go_on(); session.end_session('Success')"
    )
    assert facts["first_error"]["outcome"] == "left"
    assert "No recorded operation caught it." in sections["The first error"]
    went_on = next(line for line in sections["The first error"] if line.startswith("The run went on"))
    assert went_on.startswith("The run went on after it: the next step was tool 'fetch', ")
    assert sections["The first error"][-1] == "'fetch' was called once more, with other arguments, and did not fail."


def test_an_error_that_nothing_follows_may_have_been_caught() -> None:
    """The record cannot say it."""
    session = localops.start_session()
    session.record(localops.ErrorEvent(trigger_event=localops.ToolEvent("pay"), exception=ValueError("refused")))
    session.end_session("Fail")
    unknown = "No recorded operation caught it; whether the program caught it is not recorded."
    assert unknown in page(found())["The first error"]


def test_an_error_of_the_same_type_that_says_something_else_is_another() -> None:
    """The one that ended the run is shown beside the first."""
    facts, sections = after(_FETCH + "try: fetch('a')\nexcept TimeoutError: pass\nfetch('b')")
    assert (facts["first_error"]["message"], facts["last_error"]["message"]) == ("a is late", "b is late")
    assert (facts["first_error"]["outcome"], facts["last_error"]["outcome"]) == ("left", "ended the run")
    assert facts["first_error"]["same"]["later"] == 0
    assert sections["The first error"][3].startswith("The run went on after it: the next step was tool 'fetch', ")


def test_an_error_that_another_followed() -> None:
    """An exception that became another on its way out is followed by it."""
    facts, _ = after(
        _FETCH + "@operation(name='outer')\ndef outer():\n    try: fetch('a')\n"
        "    except TimeoutError: raise KeyError('gone')\nouter()"
    )
    error = facts["first_error"]
    assert (error["outcome"], error["replaced_by"], error["where"]["name"]) == ("replaced", "KeyError", "outer")
    assert facts["last_error"]["type"] == "KeyError"


def test_an_error_of_a_nested_agent_names_it() -> None:
    """The way to an error has the agents on it."""
    facts, sections = after(
        _FETCH + "@agent(name='Researcher')\nclass R:\n    @operation(name='research')\n    def run(self): fetch('a')\n"
        "@agent(name='Boss')\nclass B:\n    @operation(name='lead')\n    def run(self): R().run()\nB().run()"
    )
    path = facts["first_error"]["path"]
    assert [(level["name"], level["agent"]) for level in path if level["kind"] != "agent"] == [
        ("lead", "Boss"),
        ("research", "Researcher"),
        ("fetch", "Researcher"),
    ]
    assert "operation 'lead' by agent 'Boss' > " in sections["The first error"][1]


def test_a_child_that_was_killed_is_named_though_the_session_went_on() -> None:
    """The process that never recorded that it left, and what it was in; the session ended well."""
    facts, sections = after(
        "child = os.fork()\n"
        "if child == 0:\n"
        "    with session.operation('crunch', kind='tool'): die()\n"
        "os.waitpid(child, 0); session.end_session('Success')"
    )
    assert (facts["processes"]["count"], facts["processes"]["never_left"]) == (2, 1)
    assert sorted(one["state"] for one in facts["processes"]["known"]) == ["died", "left"]
    assert [one["name"] for one in facts["under_way"]] == ["crunch"]
    assert any("died without recording that it left" in line for line in sections["How it ended"])
    assert "has no end in the record" in sections["Under way at the end"][0]


def test_a_running_session_is_not_dead() -> None:
    """What it is in is under way now, and nothing may or may not have happened."""
    program = programs.start(
        _INIT + "with session.operation('wait', kind='tool'):\n    print('in', flush=True); sys.stdin.read()"
    )
    programs.first_line(program)
    facts = found()
    program.communicate(timeout=60)
    sections = page(facts)
    assert facts["how"] == "running"
    assert "has run for" in sections["Under way now"][0]
    assert "may" not in sections["Under way now"][0]


def _write(*written: rows.Row) -> None:
    journal = Journal(programs.project())
    journal.add(list(written))
    journal.close()


def _row(kind: str, session: bytes, **columns: Any) -> rows.Row:
    at = clock.now_ns()
    return rows.make(kind, session, **{"id": clock.new_id(at), "at_ns": at, **columns})


def test_an_end_that_cannot_be_known_is_not_guessed() -> None:
    """A process of another machine may live."""
    session, who = clock.new_id(), clock.new_id()
    card = json.dumps({"participant": who.hex(), "pid": 7, "host": "elsewhere", "machine": "x", "boot": "y"})
    _write(_row("session", session, parent=who, body=card), _row("action", session, name="a"))
    facts = found(session)
    assert facts["how"] == "unknown"
    assert [one["state"] for one in facts["processes"]["known"]] == ["unknown"]
    assert "is not known" in page(facts)["How it ended"][0]


def test_calls_around_the_one_that_failed_may_begin_with_it() -> None:
    """In an import with milliseconds, all of them and the error have one time."""
    session, at = clock.new_id(), clock.now_ns()
    outer, inner = clock.new_id(), clock.new_id()
    times = {"at_ns": at, "start_ns": at, "end_ns": at, "name": "walk", "failed": 1}
    _write(
        _row("session", session),
        _row("error", session, at_ns=at, parent=inner, name="KeyError", body='{"details":"no leaf"}'),
        _row("tool", session, id=inner, parent=outer, **times),
        _row("tool", session, id=outer, **times),
        _row("tool", session, **times),
    )
    assert found(session)["first_error"]["again"]["calls"] == 1


def test_a_budget_that_was_reached_is_named() -> None:
    """The budget, when it was reached and what had been spent, and that this ended the run."""
    code = _INIT.replace("True)", "True, budget_usd=1.0)")
    programs.run(code + "@tool(name='buy', cost=0.75)\ndef buy(): return 1\nbuy(); buy(); buy()")
    facts = found()
    sections = page(facts)
    assert facts["budget"]["reached_usd"] == 1.5
    assert any("It reached its budget of $1.00" in line and "spent $1.50" in line for line in sections["How it ended"])
    assert "BudgetExceeded" in sections["How it ended"][0]
    assert facts["last_operation"]["name"] == "buy"


def test_a_budget_that_was_spent_by_the_last_call_is_not_called_unreached() -> None:
    """It is checked before each call: the one that spent the rest was made."""
    sentence = "Its budget was $1.00; that it was reached is not recorded."
    code = _INIT.replace("True)", "True, budget_usd=1.0)")
    programs.run(code + "@tool(name='buy', cost=1.5)\ndef buy(): return 1\nbuy()")
    assert sentence in page(found())["How it ended"]
    programs.run(code + "@tool(name='buy', cost=0.5)\ndef buy(): return 1\nbuy()")
    assert "Its budget of $1.00 was not reached." in page(found())["How it ended"]


def test_an_import_does_not_know_the_end(tmp_path: Path) -> None:
    """Spans in a file whose root is missing: imported, and how the program ended is not claimed."""
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "parentSpanId": "eee19b7ec3c1b173",
        "name": "chat",
        "startTimeUnixNano": "1760000000000000000",
        "endTimeUnixNano": "1760000001000000000",
        "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}],
    }
    file = tmp_path / "spans.json"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    project = Project(Config())
    take(project, str(file))
    project.journal.close()
    facts = found()
    assert facts["imported"]
    assert facts["how"] in ("imported", "unknown")
    assert any("imported" in line for line in page(facts)["How it ended"])


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
    """Nor are two calls alike: `localops lint` has the same rules, and finds no loop either."""
    monkeypatch.setenv("LOCALOPS_POLLING", "look")
    facts, sections = after(
        _LOOPS + "for _ in range(4): wait_for('j')\nfor _ in range(4): look('j')\nfor _ in range(4): progress('j')\n"
        "search('tides'); search('tides'); session.end_session('Success')"
    )
    assert (facts["waste"]["loops_count"], facts["waste"]["looped"]["calls"]) == (0, 0)
    assert "What it spent for nothing" not in sections


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
    assert sections["What it spent for nothing"] == [sentence]


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
    assert sections["What it spent for nothing"] == [
        "[cycle] Tools 'edit', 'check' were called in turn, 3 rounds with the same results. Wasted: 4 tool calls.",
        (
            "[repeat] Tool 'search' was called 4 times in a row with the same arguments and result: 'query=tide'. "
            f"Wasted: {spent}."
        ),
        "[repeat] Tool 'click' was called 3 times in a row with the same arguments and result. Wasted: 2 tool calls.",
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
    assert sections["What it spent for nothing"][-3:] == [
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


def test_losses_are_counted() -> None:
    """Rows that were lost or came through a spill file stand at the end of the page."""
    session, who = clock.new_id(), clock.new_id()
    _write(
        _row("session", session, parent=who, body=json.dumps({"participant": who.hex()})),
        _row("loss", session, body='{"spilled":3,"dropped":1,"cut":2}'),
        _row("end", session, name="Success", parent=who),
    )
    lines = page(found(session))["The record"]
    assert lines[0].startswith("1 event was lost")
    assert lines[1].startswith("3 rows came through a spill file")
    assert lines[2].startswith("2 values were cut")


_EVIL = "`</details><script>`` [x](http://evil) @all \x1b[2J\u202e\n# not a heading"


def test_recorded_text_is_data_on_every_page() -> None:
    """No markup, control character or line of its own comes from a name, an input or a message."""
    session = localops.start_session(name=_EVIL)
    assert session is not None
    with pytest.raises(ValueError, match="script"), session.operation(_EVIL, kind="tool", params={_EVIL: _EVIL}):
        raise ValueError(_EVIL)
    session.end_session("Failure", _EVIL)
    facts = found()
    written = post_mortem_page.markdown(facts)
    text = [line for lines in page(facts).values() for line in lines]
    for line in [*written, *text]:
        assert "\x1b" not in line
        assert "\u202e" not in line
        assert "\n" not in line
    outside = [_without_code(line) for line in written]
    assert any("script" in line for line in written)
    assert not [line for line in outside if "script" in line or "evil" in line or "@all" in line]


def _without_code(line: str) -> str:
    """Return a line of Markdown without its code, by the rule of CommonMark: a run of backticks up to one as long."""
    kept, rest = "", line
    while "`" in rest:
        before, _, rest = rest.partition("`")
        rest = f"`{rest}"
        many = len(rest) - len(rest.lstrip("`"))
        kept += before
        parts = rest[many:]
        at = 0
        while at < len(parts):
            if parts[at] != "`":
                at += 1
                continue
            run = len(parts[at:]) - len(parts[at:].lstrip("`"))
            if run == many:
                break
            at += run
        else:
            kept += rest
            return kept
        rest = parts[at + many :]
    return kept + rest


class _Counting:
    """A reader that counts what it is asked."""

    def __init__(self, reader: Any) -> None:
        self._reader, self.asked, self.rows = reader, 0, 0

    def ask(self, *arguments: Any) -> Any:
        """Ask the reader."""
        self.asked += 1
        answer = self._reader.ask(*arguments)
        self.rows += len(answer)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many events take a bounded number of queries and rows; the middle of a longer session is not looked at."""
    many = sized(60_000, 100_000)
    session, who, at = clock.new_id(), clock.new_id(), clock.now_ns()
    card = json.dumps({"participant": who.hex()})
    written = [rows.make("session", session, id=clock.new_id(at), at_ns=at, parent=who, body=card)]
    for number in range(many - 2):
        body = f'{{"params":{{"n":{number}}}}}'
        failed = 1 if number in (many // 2, many - 10) else None
        row: dict[str, Any] = {
            "id": clock.new_id(at),
            "at_ns": at + number,
            "name": "count",
            "failed": failed,
            "body": body,
        }
        written.append(rows.make("tool", session, **row))
    written.append(rows.make("end", session, id=clock.new_id(at), at_ns=at + many, name="Failure", parent=who))
    journal = Journal(programs.project())
    journal.add(written)
    journal.fold()
    journal.close()
    for is_long in (False, True):
        if is_long:
            monkeypatch.setattr(run_rows, "END", 1_000)
        with Home() as home:
            project, id = home.find("last")
            counting = _Counting(project.reader)
            facts = post_mortem.of(project.name, project.snapshot(id), counting)  # type: ignore[arg-type]
        assert facts["complete"] is not is_long
        assert facts["waste"]["failed_tool_calls"] == (1 if is_long else 2)
        assert facts["done"]["failed"] == 2
        assert counting.asked < 50
        assert counting.rows < 50_000
        assert not facts["waste"]["all_compared"]
    sections = page(facts)
    assert ("It is long" in str(sections.get("The record"))) is is_long
    assert "loops were looked for among its last tool calls only" in sections["What it spent for nothing"][-1]


def test_the_lock_of_a_participant_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hub, whose sessions ran elsewhere, no process is called dead."""
    child = "if os.fork() == 0:\n    session.record(localops.ActionEvent('a'))\n    die()\n"
    programs.run(f"{_INIT}{child}os.wait(); session.end_session('Success')")
    (Path(programs.project()).parent / "hub.json").write_text("{}")
    monkeypatch.setattr(participants, "is_alive", lambda *_: pytest.fail("the locks of another machine"))
    facts = found()
    assert sorted(one["state"] for one in facts["processes"]["known"]) == ["left", "unknown"]


def test_one_bad_input_that_many_steps_fail_on() -> None:
    """What most failed calls were given is named, with the first of their errors, and not what every call is given."""
    facts, sections = after(
        dedent("""
        def step(name, fails):
            @tool(name=name)
            def run(doc, project, number):
                if doc == "bad.pdf": raise fails(f"{name} {number} failed")
            return run
        steps = step("parse", UnicodeError), step("embed", ValueError), step("index", ValueError)
        for doc in ("good.pdf", "bad.pdf", "last.pdf", "rest.pdf"):
            for number, run in enumerate(steps * 2):
                try: run(doc, "harbour", number)
                except ValueError: pass
        session.end_session("Fail", "1 of 4 documents failed")
        """)
    )
    common = facts["common"]
    assert (common["argument"], common["value"], common["errors"], common["of"]) == ("doc", "bad.pdf", 6, 6)
    assert [(one["name"], one["errors"]) for one in common["calls"]] == [("parse", 2), ("embed", 2), ("index", 2)]
    counts, first = sections["What the errors have in common"]
    assert counts == (
        "6 of 6 errors are of calls that were given 'bad.pdf' as 'doc': "
        "tool 'parse' ×2, tool 'embed' ×2, tool 'index' ×2."
    )
    assert first.startswith("The first error is the first of them; 5 others followed, the last at ")
    assert sections["The first error"][0].startswith("UnicodeError: 'parse 0 failed'")
    assert "1 more error of the same type came later with other messages." in sections["The first error"]


def test_all_that_the_failed_calls_share_is_named() -> None:
    """Also small numbers, beside a value that tells these calls from others; at most three, and not what all share."""
    facts, sections = after(
        dedent("""
        @tool(name="post")
        def post(project, target, batch, page, region):
            if target == "erp": raise ConnectionError("busy")
        for page in range(4):
            for target, batch, region in (("erp", 1, "north"), ("crm", 2, "south"), ("web", 1, "east")):
                try: post("harbour", target, batch, page, region)
                except ConnectionError: pass
        """)
    )
    common = facts["common"]
    assert (common["argument"], common["value"], common["errors"]) == ("", "target=erp batch=1 region=north", 4)
    [first, *_] = sections["What the errors have in common"]
    assert first == "4 of 4 errors are of calls that were given 'target=erp batch=1 region=north': tool 'post' ×4."


def test_an_error_that_came_before_the_bad_input() -> None:
    """It is still the first; the first of those that share an input is named beside it."""
    facts, sections = after(
        _FETCH
        + dedent("""
        for url, fails in [("slow", True), *[("good", False)] * 9, *[("bad", True)] * 3]:
            try: fetch(url, fails)
            except TimeoutError: pass
        """)
    )
    assert facts["common"]["value"] == "bad"
    _, first, _ = sections["What the errors have in common"]
    assert re.fullmatch(r"The first of them, at .* UTC: TimeoutError: 'bad is late'\.", first)


_HANDLED = """
from contextlib import suppress
def call(name, fails=None, **params):
    with suppress(ValueError), session.operation(name, kind="tool", params=params):
        if fails: raise ValueError(fails)
def think():
    with session.operation("chat", kind="llm", model="m", prompt="why?") as one: one.answer("so it is")
"""
_RETRIED = "call('resize', 'too slow', width=4096); call('resize', width=2048); call('price')\n"


@pytest.mark.parametrize(
    ("rest", "by", "title", "sentence"),
    [
        (
            "call('put', 'no decimal number'); think(); session.end_session('Failure', 'no listing')",
            "last failure",
            "The last thing that failed before it ended",
            "It is likely what ended the run, but no record says so: only LLM calls began after it.",
        ),
        (
            "call('put', 'no decimal number'); call('mail'); session.end_session('Failure')",
            "last failure",
            "The last thing that failed before it ended",
            "It is likely what ended the run, but no record says so: 1 more operation began after it.",
        ),
        (
            "call('put', 'no decimal number'); call('m', 'no mail'); call('m'); session.end_session('Failure')",
            "last failure",
            "The last thing that failed before it ended",
            "It is likely what ended the run, but no record says so: 2 more operations began after it.",
        ),
        (
            "call('put', 'no decimal number'); call('m', 'no'); session.end_session('Failure', 'No decimal number')",
            "reason",
            "The error that ended it",
            "It ended the run: the reason of the end names it.",
        ),
        (
            "call('put', 'no decimal number'); think(); sys.exit(3)",
            "last failure",
            "The last thing that failed before it ended",
            "It is likely what ended the run, but no record says so: only LLM calls began after it.",
        ),
    ],
    ids=["an answer after it", "a step after it", "a later one retried", "named by the reason", "an exit code"],
)
def test_the_failure_that_ended_a_run_which_caught_it(rest: str, by: str, title: str, sentence: str) -> None:
    """It is found though the program went on to end its session, and the page says how sure that is."""
    facts, sections = after(_HANDLED + _RETRIED + rest)
    assert facts["first_error"]["message"] == "too slow"
    assert (facts["last_error"]["message"], facts["last_error"]["ended_run"]) == ("no decimal number", by)
    assert sentence in sections[title]


@pytest.mark.parametrize("end", ["'Success'", "'Failure', 'bored'"])
def test_failures_that_were_made_good_ended_nothing(end: str) -> None:
    """A call that worked later, or a run that succeeded, has no error that ended it."""
    facts, _ = after(_HANDLED + _RETRIED + f"session.end_session({end})")
    assert (facts["first_error"]["ended_run"], facts["last_error"]) == (None, None)


@pytest.mark.parametrize(
    ("calls", "is_repeat", "likely"),
    [
        ("call('a', 'gone')", False, "It is likely what ended the run, but no record says so: nothing began after it."),
        (
            "call('a', 'gone 1'); call('b'); call('a', 'gone 2', n=2)",
            True,
            "The last error like it is likely what ended the run, but no record says so: nothing began after that.",
        ),
    ],
)
def test_the_only_error_says_that_it_is_likely_the_end(calls: str, is_repeat: bool, likely: str) -> None:
    """The same error again is not shown twice."""
    facts, sections = after(_HANDLED + f"{calls}; session.end_session('Failure')")
    assert facts["last_error"] is None
    assert facts["first_error"]["began_after"] == {"operations": 0, "llm_calls": 0, "of_a_repeat": is_repeat}
    assert likely in sections["The first error"]


@pytest.mark.parametrize(
    ("answer", "reason", "sentence"),
    [
        (
            {"role": "assistant", "content": ""},
            "length",
            " was empty: it stopped at its length limit ('length'); 90 of 90 tokens were reasoning.",
        ),
        ("", "stop", " was empty: 90 of 90 tokens were reasoning."),
        ({"role": "assistant", "content": None, "refusal": "I will not"}, "content_filter", ": 'refusal=I will not'"),
        ("So it", "MAX_TOKENS", ": 'So it'"),
        ("So it is.", "end_turn", ": 'So it is.'"),
    ],
)
def test_why_the_last_answer_ended(answer: object, reason: str, sentence: str) -> None:
    """One that is empty or was cut says so: it is often what a later step fails on."""
    session = localops.start_session()
    session.record(localops.LLMEvent(model="m", prompt="first", completion="earlier"))
    with session.operation("chat", kind="llm", model="o4", prompt="plan") as call:
        call.usage(prompt_tokens=10, completion_tokens=90, reasoning_tokens=90)
        call.answer(answer, finish_reason=reason)
    session.record(localops.ToolEvent(name="parse"))
    session.end_session("Success")
    last = page(found())["The last things"]
    assert last[1].startswith("The last answer of a model (LLM call 'chat' to 'o4', at ")
    assert last[1].endswith(sentence)
    cut = {"content_filter": "a filter or a refusal stopped it", "MAX_TOKENS": "it stopped at its length limit"}
    because = f"That answer is not complete: {cut.get(reason)} ('{reason}'); 90 of 90 tokens were reasoning."
    assert last[2:] == ([because] if reason in cut else [])


def test_a_last_answer_that_nothing_follows_says_why_it_was_cut() -> None:
    """Though it is the last operation, which has a sentence of its own."""
    session = localops.start_session()
    event = localops.LLMEvent(model="m", prompt="plan", completion="First,", finish_reason="max_tokens")
    session.record(event)
    session.end_session("Success")
    last = page(found())["The last things"]
    assert last[1].endswith(" is not complete: it stopped at its length limit ('max_tokens').")
