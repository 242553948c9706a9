"""`localops lint`: sentences, exit codes, JSON and Markdown; one session or several."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ErrorEvent, ToolEvent
from tests.test_growing_prompts import converse

Command = Callable[..., tuple[int, str, str]]


def record(name: str, *, times: int, tool: str = "search", tags: list[str] | None = None) -> str:
    """Record a session in which a tool is called so often, and return its id."""
    session = localops.start_session(name=name, tags=tags)
    for _ in range(times):
        session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=90, completion_tokens=10, cost=0.5))
        session.record(ToolEvent(name=tool, params={"q": "tides"}, returns=[]))
    session.end_session("Success")
    return str(session.session_id)


def test_a_loop_in_a_sentence(command: Command) -> None:
    """The newest session, what repeats in it, and what that has cost; the exit code is for CI."""
    id = record("nightly", times=5)
    code, out, err = command("lint")
    assert (code, err) == (3, "")
    wasted = "4 tool calls, 4 LLM calls, 400 tokens, $2.00"
    sentence = "[repeat] Tool 'search' was called 5 times in a row with the same arguments and result: 'q=tides'. "
    assert out.startswith(f"nightly  Success  {id}\n\nLoops\n  {sentence}Wasted: {wasted}.\n")
    assert out.endswith(f"\n1 loop; wasted {wasted}\n")
    # One that is named twice is one session.
    assert command("lint", id[:13]) == command("lint", "last", id) == (code, out, err)


def test_nothing_was_found(command: Command) -> None:
    """The exit code is 0."""
    id = record("calm", times=2)
    assert command("lint") == (0, f"calm  Success  {id}\n\nno loops\n", "")


def test_a_tool_that_failed_with_an_operation_inside(command: Command) -> None:
    """The exception is recorded once, in the operation: it is the class of the tools that it left, in a list too."""
    session = localops.start_session(name="nested")

    def charge() -> None:
        with session.operation("charge"):
            raise LookupError("no customer")

    with suppress(LookupError), session.operation("order", kind="tool"), session.operation("settle", kind="tool"):
        charge()
    with session.operation("retry", kind="tool"), suppress(LookupError):
        charge()
    session.end_session("Success")
    out = command("lint")[1]
    for name in ("order", "settle"):
        assert f"Tool '{name}' failed in 1 of 1 call with LookupError, the last: 'no customer'." in out
    assert "'retry'" not in out
    line = command("calls", "--by", "error", "--failed")[1].splitlines()[2]
    assert line.split()[:8] == ["LookupError:", "no", "customer", "(order,", "settle)", "2", "2", "(100%)"]


def test_several_sessions(command: Command) -> None:
    """Those with loops are shown, and the sums of all."""
    calm, loud = record("calm", times=2), record("loud", times=3, tags=["night"])
    for chosen in ([calm, loud], ["--since", "1d"]):
        code, out, _ = command("lint", *chosen)
        assert code == 3
        assert (calm in out, loud in out) == (False, True)
        assert out.endswith("\n2 sessions checked: 1 with loops, wasted 2 tool calls, 2 LLM calls, 200 tokens, $1.00\n")
    assert command("lint", "--until", "2020-01-01") == (0, "no sessions to check\n", "")
    assert loud in command("lint", "--tag", "night")[1]
    assert command("lint", calm, "--since", "1d")[0] == 2


def test_the_newest_session_alone_is_not_the_home(command: Command) -> None:
    """Without an ID or a period, the last line says how many sessions were not checked."""
    line = "1 of 2 sessions checked: --since 7d for more"
    record("first", times=2)
    assert "checked" not in command("lint")[1]
    second = record("second", times=2)
    assert command("lint")[1].endswith(f"\nno loops\n{line}\n")
    assert command("lint", "--format", "md")[1].endswith(f"\n\n{line}\n")
    for chosen in (["last"], [second], ["--since", "1d"]):
        assert line not in command("lint", *chosen)[1]


def test_sessions_without_tool_calls(command: Command) -> None:
    """One session says so, and among several they are counted."""
    silent = record("silent", times=0)
    assert command("lint") == (0, f"silent  Success  {silent}\n\nno tool calls, and so no loops\n", "")
    assert command("lint", "--since", "1d")[1] == "1 session checked, none with tool calls: no loops\n"
    calm = record("calm", times=2)
    for chosen in ([silent, calm], ["--since", "1d"]):
        assert command("lint", *chosen)[1] == "2 sessions checked, 1 without tool calls: no loops\n"
        document = json.loads(command("lint", *chosen, "--json")[1])
        assert (document["looked_at"], document["without_tools"]) == (2, 1)
    assert command("lint", "--since", "1d", "--format", "md")[1].startswith("## 2 sessions checked, 1 without")


def test_findings_that_are_alike_share_a_line(command: Command) -> None:
    """Two are shown as they are; of more, the first, with how many there are and the option that shows all."""
    session = localops.start_session(name="down")
    for n in range(2):
        for _ in range(3):
            fail(session, "copy", {"path": n}, OSError(f"no file {n}"))
    for n in range(120):
        for _ in range(3):
            fail(session, "fetch", {"url": n}, TimeoutError(f"no answer from {n}"))
    for n in range(40):
        for m in range(3):
            fail(session, f"tool{n}", {"id": m, f"option{n}": 1}, ValueError("no room"))
    _, out, _ = command("lint")
    loops, failing = out.split("\nLoops\n")[1].split("\nFailing tools\n")
    copies, *grouped = [line.strip() for line in loops.splitlines() if "'copy'" not in line or "'path=0'" in line]
    assert "'OSError: no file 0'. Wasted: 2 tool calls." in copies
    assert grouped[0].startswith(
        "[retry] 120 loops are similar; the first: Tool 'fetch' failed 3 times with the same arguments"
    )
    assert grouped[0].endswith("'TimeoutError: no answer from 0'. Together they wasted 240 tool calls.")
    assert grouped[1].startswith(
        "[error] 40 loops of tools 'tool0', 'tool1', 'tool2', 'tool3', 'tool4', 'tool5' and 34 more are"
    )
    assert "40 tools failed in 120 of 120 calls with ValueError, the last: 'no room': 'tool0', 'tool1'" in failing
    assert f"`localops lint {session.session_id} --all` has a line for each loop and failure." in failing
    every = command("lint", "--all")[1]
    assert (every.count("'fetch' failed 3 times"), every.count("' failed in ")) == (120, 42)
    assert "alike" not in every + command("lint", "--all", "--format", "md")[1]
    [document] = json.loads(command("lint", "--json")[1])["sessions"]
    assert (len(document["loops"]), len(document["failures"])) == (162, 42)
    assert "120 loops are similar" in command("why")[1]


def fail(session: localops.Session, tool: str, params: dict[str, Any], error: Exception) -> None:
    """Record a tool call that fails with this error."""
    session.record(ErrorEvent(trigger_event=ToolEvent(name=tool, params=params), exception=error))


def test_a_tool_that_never_worked(command: Command) -> None:
    """Whatever its errors, it sets the exit code; of several sessions, the failing tools are listed."""
    session = localops.start_session(name="stubborn")
    for number, word in enumerate("one two three four five".split()):
        fail(session, "put", {"version": number}, ValueError(f"no {word}"))
    session.end_session("Failure")
    code, out, _ = command("lint")
    assert (code, out.endswith("\nno loops; 1 tool failed in each call\n")) == (3, True)
    calm = localops.start_session(name="calm")
    for number, word in enumerate("one two three four".split()):
        fail(calm, "put", {"version": number}, ValueError(f"no {word}"))
    assert command("lint", str(calm.session_id))[0] == 0
    code, out, _ = command("lint", "--since", "1d")
    assert (code, out.count("\nFailing tools\n")) == (3, 2)
    assert "Tool 'put' failed in 5 of 5 calls with ValueError" in out
    assert out.endswith("2 sessions checked: no loops; 2 with failing tools\n")


def test_errors_that_differ_in_values_are_a_loop(command: Command) -> None:
    """The sentence says so."""
    session = localops.start_session(name="conflict")
    for number in range(3):
        fail(session, "put", {"version": number}, RuntimeError(f"stored version is {90 + number}, you sent {number}"))
    code, out, _ = command("lint")
    sentence = "the same error except for values in it, the first 'RuntimeError: stored version is 90, you sent 0'"
    assert (code, sentence in out) == (3, True)


def test_what_polls_in_one_of_several_sessions_is_named_last(command: Command) -> None:
    """If nothing else of the session is shown; otherwise its section has it."""
    record("waiting", times=4, tool="wait_for")
    record("other", times=1)
    code, out, _ = command("lint", "--since", "1d", "--polling", "wait_for")
    assert code == 0
    assert out.splitlines()[-2:] == ["2 sessions checked: no loops", "skipped: waiting, 'wait_for' ×4 (polling)"]
    assert "skipped: `waiting`" in command("lint", "--since", "1d", "--polling", "wait_for", "--format", "md")[1]
    assert "skipped" not in command("lint", "--since", "1d")[1]


def test_tools_that_poll(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option, the home's settings and a variable name them."""
    record("waiting", times=4, tool="wait_for")
    assert command("lint")[0] == 3
    code, out, _ = command("lint", "--polling", "other", "--polling", "wait_for")
    assert (code, out.splitlines()[-1]) == (0, "no loops")
    assert "\nSkipped\n  'wait_for' ×4 with the same result: marked as polling.\n" in out
    settings = tmp_path / "home" / "config.toml"
    settings.write_text('polling = ["wait_for"]\n')
    assert command("lint")[0] == 0
    monkeypatch.setenv("LOCALOPS_POLLING", "another")
    assert command("lint")[0] == 3
    monkeypatch.delenv("LOCALOPS_POLLING")
    settings.write_text("polling = 5\n")
    code, _, err = command("lint")
    assert code == 2
    assert "invalid polling: expected a list of strings, got 5" in err


def test_habits_count_only_if_asked(command: Command) -> None:
    """Calls with others between."""
    session = localops.start_session(name="tidy")
    for n in range(5):
        session.record(ToolEvent(name="ls", params={"path": "."}, returns=["a"]))
        session.record(ToolEvent(name="edit", params={"n": n}, returns=True))
    code, out, _ = command("lint")
    assert code == 0
    assert "Tool 'ls' was called 5 times, with other calls between, with the same arguments and result" in out
    assert out.endswith("\n1 habit; wasted 4 tool calls\n")
    assert command("lint", "--strict")[0] == 3


def test_habits_are_apart_from_loops(command: Command) -> None:
    """They have a heading and a sum of their own."""
    session = localops.start_session(name="both")
    for n in range(5):
        session.record(ToolEvent(name="ls", params={"path": "."}, returns=["a"]))
        session.record(ToolEvent(name="edit", params={"n": n}, returns=True))
    for _ in range(3):
        session.record(ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    code, out, _ = command("lint")
    loops, habits = out.split("\nLoops\n")[1].split("\nHabits\n")
    assert code == 3
    assert ("'search'" in loops, "'ls'" in loops) == (True, False)
    assert ("'search'" in habits, "'ls'" in habits) == (False, True)
    assert out.endswith("\n1 loop; wasted 2 tool calls; and 1 habit: 4 tool calls\n")
    calm = record("calm", times=2)
    out = command("lint", str(session.session_id), calm)[1]
    assert out.endswith("\n2 sessions checked: 1 with loops, wasted 2 tool calls; 1 with habits, wasted 4 tool calls\n")
    [document, _] = json.loads(command("lint", str(session.session_id), calm, "--json")[1])["sessions"]
    parts = ("wasted", "wasted_in_loops", "wasted_in_habits")
    assert [document[part]["calls"] for part in parts] == [6, 2, 4]


def test_habits_alone_are_no_loops(command: Command) -> None:
    """The sum over several sessions says that, too."""
    for _ in range(2):
        session = localops.start_session(name="tidy")
        for n in range(5):
            session.record(ToolEvent(name="ls", params={"path": "."}, returns=["a"]))
            session.record(ToolEvent(name="edit", params={"n": n}, returns=True))
    code, out, _ = command("lint", "--since", "1d")
    assert code == 0
    assert "\nLoops\n" not in out
    assert out.endswith("\n2 sessions checked: no loops; 2 with habits, wasted 8 tool calls\n")


def test_a_cycle_of_one_tool(command: Command) -> None:
    """Its calls in turn, each with what it was given."""
    session = localops.start_session(name="flip")
    for _ in range(4):
        session.record(ToolEvent(name="flip", params={"side": "left"}, returns=1))
        session.record(ToolEvent(name="flip", params={"side": "right"}, returns=1))
    sentence = "Tool 'flip' was called 8 times, 4 rounds of 2 calls with the same results: 'side=left', 'side=right'. "
    assert sentence in command("lint")[1]


def test_cycles_retries_and_errors(command: Command) -> None:
    """Each kind has a sentence, and so has each kind of failure."""
    session = localops.start_session(name="stuck")
    agent = session.create_agent("Ann")
    for _ in range(3):
        session.record(ToolEvent(name="look", params={"a": 1}, returns=1, agent_id=agent))
        session.record(ToolEvent(name="walk", params={"b": 2}, returns=1, agent_id=agent))
    for name, args in (("fetch", [1, 1, 1]), ("save", [1, 2, 3])):
        for n in args:
            event = ToolEvent(name=name, params={"n": n})
            session.record(ErrorEvent(trigger_event=event, exception=ValueError("no\x1b[31m room")))
    _, out, _ = command("lint")
    assert (
        "Tools 'look' ('a=1'), 'walk' ('b=2') were called in turn, 3 rounds with the same results by agent 'Ann'."
        in out
    )
    assert "[retry] Tool 'fetch' failed 3 times with the same arguments: 'n=1', failed with 'ValueError: no" in out
    assert "[error] Tool 'save' failed 3 times with the same error 'ValueError: no" in out
    assert ", given 3 different arguments, the first 'n=1'. Wasted" in out
    assert "Tool 'save' failed in 3 of 3 calls with ValueError given 'n: number', the last: 'no" in out
    assert "\x1b" not in out


def test_the_markdown(command: Command) -> None:
    """For a ticket: recorded text is code, whatever it says."""
    record("**bold** <b>", times=3, tool="`rm`")
    code, out, _ = command("lint", "--format", "md")
    assert code == 3
    assert out.startswith("### ❌ `**bold** <b>`: 1 loop; wasted 2 tool calls")
    assert "\n- [repeat] Tool `` `rm` `` was called 3 times in a row" in out
    assert command("lint", "--format", "md", "--json")[0] == 2


def test_the_document(command: Command) -> None:
    """Facts for programs; a session has its loops, its failures and its sentences."""
    id = record("nightly", times=3)
    code, out, _ = command("lint", "--json")
    document: dict[str, Any] = json.loads(out)
    assert (code, document["schema_version"]) == (3, 1)
    assert (document["loops"], document["alarming"]) == (1, 1)
    [session] = document["sessions"]
    assert (session["session_id"], session["complete"], session["failures"]) == (id, True, [])
    [loop] = session["loops"]
    assert (loop["kind"], loop["tools"], loop["calls"], loop["rounds"]) == ("repeat", ["search"], 3, 3)
    assert loop["wasted"]["cost_nano"] == 1_000_000_000
    assert session["page"][0]["title"] == "Loops"


def test_a_prompt_that_grows(command: Command) -> None:
    """In one sentence, also of a run without tool calls; it is no loop, and sets no exit code."""
    converse(12)
    sentence = (
        "The prompt to 'gpt-4.1' by agent 'reader' grew from 50 to 55,050 tokens in 12 calls: "
        "275,550 of 330,600 tokens (83%) had been in the call before, up to $0.2756 of its cost; "
        "half of the money was spent by call 9."
    )
    assert sentence in command("why")[1]
    code, out, _ = command("lint")
    assert (code, sentence in out) == (0, True)
    assert out.endswith("\nno tool calls, and so no loops; 1 growing prompt\n")
    code, out, _ = command("lint", "--since", "1d")
    assert (code, sentence in out) == (0, True)
    record("silent", times=0)
    out = command("lint", "--since", "1d")[1]
    assert out.endswith("\n2 sessions checked, none with tool calls: no loops; 1 with growing prompts\n")


def test_a_loop_that_the_program_stopped_says_so(command: Command) -> None:
    """Which exception its `on_loop` raised is as interesting as the loop: the calls after it have no rows."""

    def stop(session: object, loop: object) -> None:
        raise localops.LoopDetected(str(loop))

    localops.init(auto_start_session=False, on_loop=stop)
    session = localops.start_session(name="stopped")

    def search() -> None:
        with session.operation("search", kind="tool", params={"q": "tides"}) as call:
            call.returns([])

    search()
    search()
    with pytest.raises(localops.LoopDetected):
        search()
    session.end_session("Success")
    code, out, _ = command("lint")
    assert code == 3
    assert "\n  The program's on_loop stopped a loop with LoopDetected at " in out
    assert out.endswith("; on_loop stopped 1\n")
    [facts] = json.loads(command("lint", "--json")[1])["sessions"]
    assert [one["error"] for one in facts["stopped"]] == ["LoopDetected"]


def test_calls_that_were_cancelled_say_nothing_of_their_tool(command: Command) -> None:
    """They were cancelled as another failed: such a tool is not one that never worked."""
    session = localops.start_session(name="group")

    async def load(page: int) -> None:
        with session.operation("load", kind="tool", params={"page": page}):
            await asyncio.sleep(0 if page == 0 else 60)
            raise LookupError("no page 0")

    async def all_pages() -> None:
        async with asyncio.TaskGroup() as group:
            for page in range(7):
                group.create_task(load(page))

    with pytest.raises(ExceptionGroup):
        asyncio.run(all_pages())
    session.end_session("Success")
    code, out, _ = command("lint")
    assert code == 0
    assert "Tool 'load' was cancelled in 6 of 7 calls given 'page: number'." in out
    assert "Tool 'load' failed in 1 of 7 calls with LookupError given " in out
