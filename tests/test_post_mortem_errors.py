"""The errors in a post-mortem: the first, the one that ended the run, where each was raised and what followed."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

import localops
from localops import clock
from tests import programs
from tests.post_mortems import FETCH, INIT, after, found, page, row, write


def test_an_uncaught_exception_ended_the_run() -> None:
    """The way to it is its operations, from outside in, and nothing caught it."""
    facts, sections = after(
        FETCH + "@operation(name='inner')\ndef inner(): fetch('http://a')\n"
        "@operation(name='outer')\ndef outer(): inner()\nouter()"
    )
    error = facts["first_error"]
    assert facts["how"] == "exception"
    assert (error["type"], error["message"], error["outcome"]) == ("TimeoutError", "http://a is late", "ended the run")
    assert [level["name"] for level in error["path"]] == ["outer", "inner", "fetch"]
    assert error["again"]["calls"] == 0
    assert facts["last_error"] is None
    assert "url=http://a" in sections["First error"][1]
    assert sections["First error"][2:] == ["Nothing caught it: it ended the run.", "The call was not retried."]


@pytest.mark.parametrize("is_recorded", [True, False], ids=["in operations", "in none"])
def test_an_exception_that_ended_a_thread_says_so(is_recorded: bool) -> None:
    """The program continued, and declared a success; another error of the same class ended no thread."""
    call = "fetch('http://a')" if is_recorded else "raise TimeoutError('http://a is late')"
    facts, sections = after(
        FETCH + f"def work():\n    {call}\n"
        "thread = threading.Thread(target=work, name='gather')\n"
        "thread.start(); thread.join()\n"
        "try: fetch('http://b')\nexcept TimeoutError: pass\n"
        "session.end_session('Success')"
    )
    error = facts["first_error"]
    assert (error["message"], error["outcome"], error["thread"]) == ("http://a is late", "ended a thread", "gather")
    assert "Nothing caught it: it ended thread 'gather', and the program continued." in sections["First error"]
    assert facts["done"]["errors"] == 2
    assert facts["done"]["events"] == 2 + (2 if is_recorded else 1)


def test_a_caught_error_and_what_came_after() -> None:
    """The next calls of the same tool, those with the same arguments, and later errors of the same text."""
    facts, sections = after(
        FETCH + "@operation(name='patient')\ndef patient():\n"
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
    assert "It was caught: operation 'patient', in which it happened, did not fail." in sections["First error"]
    again = "'fetch' was called 3 more times; 2 of these calls failed. The next, with the same arguments, failed."
    assert again in sections["First error"]


def test_calls_around_the_one_that_failed_are_no_later_ones() -> None:
    """If a tool calls itself, the outer calls began before; of later ones, the next is the one that began first."""
    walk = (
        "@tool(name='walk')\ndef walk(depth, fails=True):\n"
        "    if depth: return walk(depth - 1, fails)\n"
        "    if fails: raise KeyError('no leaf')\n"
        "try: walk(2)\nexcept KeyError: pass\n"
    )
    facts, sections = after(walk + "session.end_session('Success')")
    assert facts["first_error"]["again"]["calls"] == 0
    assert "The call was not retried." in sections["First error"]
    again = "try: walk(1)\nexcept KeyError: pass\nwalk(0, fails=False); session.end_session('Success')"
    facts, sections = after(walk.replace("walk(2)", "walk(0)") + again)
    assert {key: facts["first_error"]["again"][key] for key in ("calls", "failed", "next_failed", "next_same")} == {
        "calls": 3,
        "failed": 2,
        "next_failed": True,
        "next_same": False,
    }


def test_a_run_that_continued_says_with_what() -> None:
    """With what began after the error, of the same agent if that continued; a parallel step began before it."""
    facts, sections = after(
        FETCH + "@agent(name='Reader')\nclass R:\n    def run(self): fetch('a')\n"
        "    def go_on(self): fetch('b', False)\n"
        "reader = R()\nwith session.operation('beside'):\n    pass\n"
        "try: reader.run()\nexcept TimeoutError: pass\n"
        "with session.operation('log'): pass\nreader.go_on(); session.end_session('Success')"
    )
    assert facts["first_error"]["outcome"] == "left"
    assert "No recorded operation caught it." in sections["First error"]
    continued = next(line for line in sections["First error"] if line.startswith("The run continued"))
    assert continued.startswith("The run continued: the next step was tool 'fetch', ")
    assert sections["First error"][-1] == "'fetch' was called once more, with other arguments, and did not fail."


def test_an_exception_that_ended_a_process_before_the_resume() -> None:
    """It ended that process; the next step is one of the process that resumed the session."""
    step = "@tool(once=True)\ndef step(n):\n    if n == FAILS: raise OSError(f'disk {n}')\n"
    run = "[step(n) for n in range(3)]; session.end_session('Success')"
    programs.run(f"{INIT}FAILS = 1\n{step}{run}")
    resume = "import localops\nfrom localops.decorators import tool\nsession = localops.resume('last')\n"
    programs.run(f"{resume}FAILS = 9\n{step}{run}")
    error = found()["first_error"]
    assert (error["outcome"], error["next"]["after_a_resume"]) == ("ended an earlier run", True)
    lines = page(found())["First error"]
    assert "Nothing caught it: it ended that process." in lines
    assert any(line.startswith("The session was resumed after it: the next step was tool 'step', ") for line in lines)
    assert not any("The run continued" in line for line in lines)


def test_an_error_that_nothing_follows_may_have_been_caught() -> None:
    """The rows cannot show whether it was."""
    session = localops.start_session()
    session.record(localops.ErrorEvent(trigger_event=localops.ToolEvent("pay"), exception=ValueError("refused")))
    session.end_session("Fail")
    unknown = "No recorded operation caught it; whether the program caught it is not recorded."
    assert unknown in page(found())["First error"]


def test_an_error_of_the_same_type_that_says_something_else_is_another() -> None:
    """The one that ended the run is shown beside the first."""
    facts, sections = after(FETCH + "try: fetch('a')\nexcept TimeoutError: pass\nfetch('b')")
    assert (facts["first_error"]["message"], facts["last_error"]["message"]) == ("a is late", "b is late")
    assert (facts["first_error"]["outcome"], facts["last_error"]["outcome"]) == ("left", "ended the run")
    assert facts["first_error"]["same"]["later"] == 0
    assert sections["First error"][3].startswith("The run continued: the next step was tool 'fetch', ")


def test_an_error_that_another_followed() -> None:
    """An exception that became another on its way out is followed by it."""
    facts, _ = after(
        FETCH + "@operation(name='outer')\ndef outer():\n    try: fetch('a')\n"
        "    except TimeoutError: raise KeyError('gone')\nouter()"
    )
    error = facts["first_error"]
    assert (error["outcome"], error["replaced_by"], error["where"]["name"]) == ("replaced", "KeyError", "outer")
    assert facts["last_error"]["type"] == "KeyError"


def test_an_error_of_a_nested_agent_names_it() -> None:
    """The way to an error has the agents on it."""
    facts, sections = after(
        FETCH + "@agent(name='Researcher')\nclass R:\n    @operation(name='research')\n    def run(self): fetch('a')\n"
        "@agent(name='Boss')\nclass B:\n    @operation(name='lead')\n    def run(self): R().run()\nB().run()"
    )
    path = facts["first_error"]["path"]
    assert [(level["name"], level["agent"]) for level in path if level["kind"] != "agent"] == [
        ("lead", "Boss"),
        ("research", "Researcher"),
        ("fetch", "Researcher"),
    ]
    assert "operation 'lead' by agent 'Boss' > " in sections["First error"][1]


def test_calls_around_the_one_that_failed_may_begin_with_it() -> None:
    """In an import with milliseconds, all of them and the error have one time."""
    session, at = clock.new_id(), clock.now_ns()
    outer, inner = clock.new_id(), clock.new_id()
    times = {"at_ns": at, "start_ns": at, "end_ns": at, "name": "walk", "failed": 1}
    write(
        row("session", session),
        row("error", session, at_ns=at, parent=inner, name="KeyError", body='{"details":"no leaf"}'),
        row("tool", session, id=inner, parent=outer, **times),
        row("tool", session, id=outer, **times),
        row("tool", session, **times),
    )
    assert found(session)["first_error"]["again"]["calls"] == 1


def test_one_bad_input_that_many_steps_fail_on() -> None:
    """The input that most failed calls share is named, with the first of their errors, unless all calls have it."""
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
    assert first.startswith("They begin with the first error above; the last was at ")
    assert sections["First error"][0].startswith("UnicodeError: 'parse 0 failed'")
    assert "1 more error of the same type came later with other messages." in sections["First error"]


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
        FETCH
        + dedent("""
        for url, fails in [("slow", True), *[("good", False)] * 9, *[("bad", True)] * 3]:
            try: fetch(url, fails)
            except TimeoutError: pass
        """)
    )
    assert facts["common"]["value"] == "bad"
    _, first, _ = sections["What the errors have in common"]
    assert re.fullmatch(r"The first was at .* UTC: TimeoutError: 'bad is late'\.", first)


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
            "Last failure before the end",
            "It probably ended the run: only LLM calls began after it.",
        ),
        (
            "call('put', 'no decimal number'); call('mail'); session.end_session('Failure')",
            "last failure",
            "Last failure before the end",
            "It probably ended the run: only 1 more operation began after it.",
        ),
        (
            "call('put', 'no decimal number'); call('m', 'no mail'); call('m'); session.end_session('Failure')",
            "last failure",
            "Last failure before the end",
            "It probably ended the run: only 2 more operations began after it.",
        ),
        (
            "call('put', 'no decimal number'); call('m', 'no'); session.end_session('Failure', 'No decimal number')",
            "reason",
            "Error that ended the run",
            "It ended the run: the reason of the end names it.",
        ),
        (
            "call('put', 'no decimal number'); think(); sys.exit(3)",
            "last failure",
            "Last failure before the end",
            "It probably ended the run: only LLM calls began after it.",
        ),
    ],
    ids=["an answer after it", "a step after it", "a later one retried", "named by the reason", "an exit code"],
)
def test_the_failure_that_ended_a_run_which_caught_it(rest: str, by: str, title: str, sentence: str) -> None:
    """It is found although the program continued to end its session, and the page says how certain it is."""
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
        (
            "call('a', 'gone')",
            False,
            "It probably ended the run: nothing began after it.",
        ),
        (
            "call('a', 'gone 1'); call('b'); call('a', 'gone 2', n=2)",
            True,
            "The last error like it probably ended the run: nothing began after that.",
        ),
    ],
)
def test_the_only_error_says_that_it_is_likely_the_end(calls: str, is_repeat: bool, likely: str) -> None:
    """The same error again is not shown twice."""
    facts, sections = after(_HANDLED + f"{calls}; session.end_session('Failure')")
    assert facts["last_error"] is None
    assert facts["first_error"]["began_after"] == {"operations": 0, "llm_calls": 0, "of_a_repeat": is_repeat}
    assert likely in sections["First error"]


_CHAINED = """
def parse(text): return int(text)
@tool(name="read")
def read(path):
    try: return parse("x")
    except ValueError as error: raise LookupError("cannot read " + path) from error
"""


def test_the_cause_of_an_error_is_named_with_its_line() -> None:
    """For the error that was raised from it, the page says that the cause became that error."""
    facts, sections = after(
        _CHAINED + "try: read('a.txt')\nexcept LookupError as error: raise RuntimeError('setup failed') from error"
    )
    cause = facts["last_error"]["causes"][0]
    assert (cause["type"], cause["place"]["function"], cause["led_by"]) == ("ValueError", "parse", "cause")
    where = f"{cause['place']['file']}:{cause['place']['line']}"
    message = "invalid literal for int() with base 10: 'x'"
    root = f"ValueError: \"{message}\", raised in 'parse' ({where})."
    last, first = sections["Error that ended the run"], sections["First error"]
    assert last[0] == first[0] == root
    path = "It led to LookupError: 'cannot read a.txt', "
    assert last[1].startswith(f"{path}which led to RuntimeError: 'setup failed', ")
    assert first[1].startswith(path)
    assert "The program caught it and raised RuntimeError: 'setup failed'." in sections["First error"]
    assert not [line for line in sections["First error"] if line.startswith("No recorded operation")]


def test_an_error_that_came_while_another_was_handled_names_that() -> None:
    """Cleaning up often fails after the error that matters."""
    _, sections = after(
        "@tool\ndef save():\n    try: raise KeyError('customer')\n    except KeyError: open('/nowhere/log')\nsave()"
    )
    root, then, *_ = sections["First error"]
    assert root.startswith("KeyError: \"'customer'\", raised in 'save' (")
    assert then.startswith("While it was handled, came FileNotFoundError: ")


def test_a_place_without_a_name_is_a_line() -> None:
    """A lambda has no name that says where it is."""
    facts, sections = after("work = tool(name='work')(lambda: int('x'))\nwork()")
    place = facts["first_error"]["place"]
    assert place["function"] == "<lambda>"
    assert sections["First error"][1] == f"Where: tool 'work'; raised at {place['file']}:{place['line']}."


def test_of_errors_that_are_alike_the_last_became_another() -> None:
    """A program that tries three times raises its own error from the last one."""
    _, sections = after(
        FETCH + "last = None\nfor _ in range(3):\n    try: fetch('http://a')\n"
        "    except TimeoutError as error: last = error\n"
        "raise RuntimeError('no answer') from last"
    )
    assert "No recorded operation caught it." in sections["First error"]
    assert list(sections)[1:3] == ["First error", "Error that ended the run"]
    last = sections["Error that ended the run"][0]
    assert last.startswith("The first error led to RuntimeError: 'no answer', ")


def test_a_group_of_errors_ended_the_run() -> None:
    """It is an exception like others, and says which errors are in it."""
    facts, sections = after(
        "import asyncio\n@tool(name='load')\nasync def load(n):\n    await asyncio.sleep(0)\n"
        "    raise ValueError(f'bad page {n}')\n"
        "async def main():\n    async with asyncio.TaskGroup() as group:\n"
        "        for n in range(8): group.create_task(load(n))\n"
        "asyncio.run(main())"
    )
    assert facts["how"] == "exception"
    last = sections["Error that ended the run"]
    assert last[0].startswith("ExceptionGroup: 'unhandled errors in a TaskGroup (8 sub-exceptions)', ")
    assert last[1].startswith("In ExceptionGroup: ValueError: 'bad page 0', raised in 'load' (")
    assert last[7] == "And 2 more exceptions in it."
    assert "Nothing caught it: it ended the run." in last
    part = "It is part of ExceptionGroup: 'unhandled errors in a TaskGroup (8 sub-exceptions)'."
    assert part in sections["First error"]


def test_the_causes_of_errors_in_a_group_follow_them() -> None:
    """Those in inner groups too: each is named, and then what led to it."""
    _, sections = after(
        "def load(path):\n    try: open(path)\n    except OSError as error: raise KeyError('config') from error\n"
        "try: load('/no/such')\nexcept KeyError as error:\n"
        "    raise ExceptionGroup('startup', [ExceptionGroup('inner', [error]), TypeError('bad type')])"
    )
    [member, other] = [line for line in sections["First error"] if line.startswith("In ExceptionGroup: ")]
    assert member.startswith("In ExceptionGroup: KeyError: \"'config'\", raised in 'load' (")
    assert "); caused by FileNotFoundError: \"[Errno 2] No such file or directory: '/no/such'\", raised in " in member
    assert other == "In ExceptionGroup: TypeError: 'bad type'."


def test_what_took_too_long_is_named() -> None:
    """Where a time limit cancelled it, not the line that waited for it."""
    _, sections = after(
        "import asyncio\nasync def query(): await asyncio.Event().wait()\n@tool(name='ask')\nasync def ask():\n"
        "    async with asyncio.timeout(0.01): await query()\nasyncio.run(ask())"
    )
    waited = re.compile(r"When the time limit was reached, it was waiting in 'query' \(.+:\d+\)\.")
    assert waited.fullmatch(sections["First error"][1])
