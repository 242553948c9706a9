"""Operations that a program opens and closes by hand."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import localops
from localops import ActionEvent, BudgetExceeded, Session, decorators
from localops.reading import analytics

from . import programs


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    return localops.start_session()


def by_name(session: Session) -> dict[str | None, dict[str, Any]]:
    """Return the events of a session by their names."""
    return {event["name"]: event for event in session.events}


def test_what_happens_inside_of_an_operation_belongs_to_it(session: Session) -> None:
    """Events and operations in the block are its children; those after it are not."""
    with session.operation("outer", params={"page": 3}) as outer:
        session.record(ActionEvent(action_type="in outer"))
        with session.operation("inner", kind="tool") as inner:
            session.record(ActionEvent(action_type="in inner"))
            inner.returns([1, 2])
    session.record(ActionEvent(action_type="after"))
    events = by_name(session)
    assert {name: event["parent"] for name, event in events.items()} == {
        "in inner": str(inner.id),
        "inner": str(outer.id),
        "in outer": str(outer.id),
        "outer": None,
        "after": None,
    }
    assert (events["outer"]["params"], events["inner"]["returns"]) == ({"page": 3}, [1, 2])
    assert (events["outer"]["kind"], events["inner"]["kind"]) == ("operation", "tool")
    assert all(event["finished"] and not event["failed"] for event in events.values())


@pytest.mark.parametrize("kind", ["tool", "llm"])
def test_a_forked_child_does_not_end_an_operation_of_its_parent(session: Session, kind: str) -> None:
    """What the child says about the end is an event of its own; the operation ends once, and counts once."""
    with session.operation("look up", kind=kind, model="gpt-4o" if kind == "llm" else None) as lookup:
        child = os.fork()
        if not child:
            lookup.returns("in the child")
            if kind == "llm":
                lookup.usage(prompt_tokens=7, completion_tokens=1)
            lookup.close()
            os._exit(0)
        os.waitpid(child, 0)
        lookup.returns("in the parent")
    ends = sorted((each["kind"], each["returns"], each["parent"]) for each in session.events)
    of_child, of_parent = ("end_in_child", "in the child", str(lookup.id)), (kind, "in the parent", None)
    assert ends == [of_child, of_parent]
    assert (programs.figures().tools, programs.figures().llms) == ((1, 0) if kind == "tool" else (0, 1))


def test_a_daemon_ends_the_operation_that_its_first_process_opened() -> None:
    """The first process cannot do that: it has ended."""
    done = programs.run("""
import os, time, localops

ended, end = os.pipe()
if first := os.fork():
    os.close(end)
    os.waitpid(first, 0)
    os.read(ended, 1)
    os._exit(0)
session = localops.init()
with session.operation("serve", kind="task") as serve:
    first = os.getpid()
    if os.fork():
        os._exit(0)
    while True:
        try:
            os.kill(first, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    serve.returns("served")
localops.end_session("Success")
""")
    assert done.returncode == 0, done.stderr
    (session,) = programs.sessions()
    (event,) = analytics.events(programs.reader(), session)
    assert (event["kind"], event["finished"], event["returns"]) == ("task", True, "served")


@pytest.mark.parametrize("still_exits", ["", "1"])
def test_the_first_processes_of_a_daemon_leave_its_operation_by_sys_exit(still_exits: str) -> None:
    """The end is that of the process that goes on, also if it comes while the first process still exits."""
    done = programs.run(
        """
import os, sys, time, localops

ended, end = os.pipe()
if child := os.fork():
    os.close(end)
    os.waitpid(child, 0)
    os.read(ended, 1)
    os._exit(0)
session = localops.init()
first = os.getpid()
left, leave = os.pipe()
over, finish = os.pipe()

def exits():
    try:
        os.kill(first, 0)
    except ProcessLookupError:
        return False
    return True

try:
    with session.operation("serve", kind="task") as serve:
        if os.fork():
            sys.exit(0)
        os.setsid()
        if os.fork():
            sys.exit(0)
        os.close(leave)
        os.read(left, 1)
        while not sys.argv[1] and exits():
            time.sleep(0.01)
        serve.returns("served")
    os.close(finish)
    localops.end_session("Success")
except SystemExit:
    os.close(leave)
    os.close(finish)
    if sys.argv[1] and os.getpid() == first:
        os.read(over, 1)
    raise
""",
        still_exits,
    )
    assert done.returncode == 0, done.stderr
    (session,) = programs.sessions()
    (event,) = analytics.events(programs.reader(), session)
    assert (event["kind"], event["finished"], event["failed"], event["returns"]) == ("task", True, False, "served")
    ends = programs.reader().ask("select count(*) from event where kind = 'task' and phase = 0")
    assert ends == [(1,)]


def test_a_child_that_outlives_its_parent_does_not_end_an_operation_again() -> None:
    """The operation has the end of the parent; what the child says about the end is an event of its own."""
    done = programs.run("""
import os, time, localops

ended, end = os.pipe()
if child := os.fork():
    os.close(end)
    os.waitpid(child, 0)
    os.read(ended, 1)
    os._exit(0)
session = localops.init()
parent = os.getpid()
with session.operation("serve", kind="task") as serve:
    if os.fork():
        serve.returns("in the parent")
    else:
        while True:
            try:
                os.kill(parent, 0)
            except ProcessLookupError:
                break
            time.sleep(0.01)
        serve.returns("in the child")
""")
    assert done.returncode == 0, done.stderr
    ends = programs.reader().ask("select kind from event where name = 'serve' and phase = 0 order by kind")
    assert ends == [("end_in_child",), ("task",)]


@pytest.mark.parametrize(("code", "is_failed"), [(None, False), (0, False), (3, True)])
def test_an_exit_with_code_0_inside_of_an_operation_is_no_failure(
    session: Session, code: int | None, *, is_failed: bool
) -> None:
    """It is noted what ended the operation."""
    with pytest.raises(SystemExit), session.operation("main"):
        raise SystemExit(code)
    event = by_name(session)["main"]
    assert (event["failed"], event["ended_by"]) == (is_failed, "SystemExit")


def test_an_llm_operation_has_request_answer_and_price(session: Session) -> None:
    """The request is in its first row; tokens, cost and answer are in that of its end."""
    with session.operation(
        "answer",
        kind="llm",
        prompt=[{"role": "user", "content": "how high is the tide?"}],
        model="gpt-4o",
        provider="openai",
        params={"temperature": 0.1},
        system_instructions="be brief",
        tool_definitions=[{"name": "tides"}],
        stream=True,
    ) as call:
        call.first_token()
        call.usage(prompt_tokens=1000, completion_tokens=50, cached_tokens=10, reasoning_tokens=7)
        call.answer(
            "4 m", finish_reason="stop", response_id="r-1", tool_calls=[{"id": "c1", "name": "tides", "arguments": {}}]
        )
    event = by_name(session)["answer"]
    assert (event["model"], event["tokens_in"], event["tokens_out"]) == ("gpt-4o", 1000, 50)
    assert (event["tokens_cached"], event["tokens_reasoning"]) == (10, 7)
    assert event["cost"] == 990 * 2500 + 10 * 1250 + 50 * 10_000
    assert event["prompt"] == [{"role": "user", "content": "how high is the tide?"}]
    assert (event["params"], event["system_instructions"], event["tool_definitions"]) == (
        {"temperature": 0.1},
        "be brief",
        [{"name": "tides"}],
    )
    assert (event["completion"], event["finish_reason"], event["response_id"]) == ("4 m", "stop", "r-1")
    assert event["tool_calls"] == [{"id": "c1", "name": "tides", "arguments": {}}]
    assert 0 <= event["time_to_first_token"] < 60
    assert (event["stream"], event["provider"]) == (True, "openai")
    figures = session.get_analytics()
    assert (figures["LLM calls"], figures["Cost"]) == (1, "0.002988")


def test_an_event_has_the_same_fields_as_an_operation(session: Session) -> None:
    """An LLMEvent keeps the fields of a call that an operation keeps; a tool call keeps its id and its definition."""
    session.record(
        localops.LLMEvent(
            model="gpt-4o",
            system_instructions="be brief",
            tool_definitions=[{"name": "tides"}],
            tool_calls=[{"id": "c1"}],
            finish_reason="stop",
            response_id="r-1",
            response_model="gpt-4o-2024-08-06",
            stream=False,
            time_to_first_token=0.25,
            input_audio_tokens=3,
            output_audio_tokens=4,
            name="call",
        )
    )
    session.record(localops.ToolEvent(name="tides", call_id="c1", definition={"name": "tides"}))
    events = by_name(session)
    kept = {name: events["call"][name] for name in ("finish_reason", "response_id", "response_model", "stream")}
    assert kept == {
        "finish_reason": "stop",
        "response_id": "r-1",
        "response_model": "gpt-4o-2024-08-06",
        "stream": False,
    }
    assert events["call"]["time_to_first_token"] == 0.25
    assert (events["call"]["input_audio_tokens"], events["call"]["output_audio_tokens"]) == (3, 4)
    assert (events["tides"]["call_id"], events["tides"]["definition"]) == ("c1", {"name": "tides"})


def test_a_failed_operation_has_its_error(session: Session) -> None:
    """An exception fails the operation that it leaves, is recorded once, and propagates."""
    with pytest.raises(ValueError, match="wrong"), session.operation("outer"), session.operation("inner", "tool"):
        raise ValueError("wrong")
    events = by_name(session)
    assert (events["outer"]["failed"], events["inner"]["failed"]) == (True, True)
    assert events["ValueError"]["trigger"]["name"] == "inner"
    assert session.get_analytics()["Errors"] == 1


def test_a_program_may_mark_an_operation_as_failed(session: Session) -> None:
    """A caught exception, a description, or no reason at all marks it as failed."""
    for name, error in (("caught", KeyError("k")), ("words", "no such page"), ("bare", None)):
        with session.operation(name, "tool") as tool:
            tool.fail(error)
    events = by_name(session)
    assert [events[name]["failed"] for name in ("caught", "words", "bare")] == [True, True, True]
    assert (events["KeyError"]["trigger"]["name"], events["Error"]["trigger"]["name"]) == ("caught", "words")
    assert events["Error"]["details"] == "no such page"
    assert "logs" not in events["Error"]
    assert session.get_analytics()["Errors"] == 2


def test_a_call_that_was_turned_down_costs_nothing(session: Session) -> None:
    """A refused connection is not billed; a call that broke off has no known price."""
    for error in (ConnectionRefusedError("no"), ConnectionResetError("broke off")):
        with pytest.raises(type(error)), session.operation("call", "llm", model="gpt-4o", prompt="hi"):
            raise error
    figures = session.get_analytics()
    assert (figures["Cost"], figures["Unpriced"]) == ("0.00", 1)


def test_an_operation_is_closed_in_another_thread(session: Session) -> None:
    """Opened here, used and closed elsewhere: what is recorded in `inside` belongs to it, and it ends once."""
    operation = session.operation("callback", "tool").open()
    assert operation.is_open

    def finish() -> None:
        with operation.inside():
            session.record(ActionEvent(action_type="in the thread"))
        operation.returns("done")
        operation.close()

    threads = [threading.Thread(target=contextvars.Context().run, args=(finish,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [event for event in session.events if event["name"] == "callback"]
    assert len(events) == 1
    assert events[0]["returns"] == "done"
    inner = [event["parent"] for event in session.events if event["name"] == "in the thread"]
    assert inner == [str(operation.id)] * 8
    assert not operation.is_open


def test_an_operation_has_the_parent_that_it_is_given(session: Session) -> None:
    """Callbacks name their parent, wherever they run."""
    outer = session.operation("chain", "workflow").open()
    inner = session.operation("call", "llm", model="gpt-4o", parent=outer).open()
    inner.close()
    outer.close()
    assert by_name(session)["call"]["parent"] == str(outer.id)


def test_operations_of_tasks_stay_apart(session: Session) -> None:
    """Each asyncio task has its own place, and a cancelled operation is no error."""

    async def step(name: str) -> None:
        async with session.operation(name):
            await asyncio.sleep(0.001)
            session.record(ActionEvent(action_type=f"in {name}"))

    async def cancelled() -> None:
        async with session.operation("cancelled"):
            await asyncio.sleep(60)

    async def main() -> None:
        await asyncio.gather(*(step(f"step {number}") for number in range(5)))
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    events = by_name(session)
    ids = {name: event["id"] for name, event in events.items()}
    assert all(events[f"in step {number}"]["parent"] == ids[f"step {number}"] for number in range(5))
    assert (events["cancelled"]["failed"], events["cancelled"]["ended_by"]) == (True, "CancelledError")
    assert session.get_analytics()["Errors"] == 0


def test_times_may_be_given(session: Session) -> None:
    """For what is learnt later: a start before it was opened, and an end before it was closed."""
    operation = session.operation("earlier", "tool", start="2026-01-01T00:00:00+00:00").open()
    operation.close(end="2026-01-01T00:00:02+00:00")
    event = by_name(session)["earlier"]
    assert event["end_ns"] - event["start_ns"] == 2_000_000_000


def test_wrong_use_is_a_warning(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    """Opening or closing twice, closing too early, and usage of a tool print one warning each, and do no harm."""
    operation = session.operation("late", "tool")
    operation.close()
    operation.open()
    operation.open()
    operation.usage(prompt_tokens=3)
    operation.close()
    operation.close()
    assert by_name(session)["late"]["prompt_tokens"] == 3
    warnings = capfd.readouterr().err
    assert "'late' was closed before it was opened" in warnings
    assert "'late' was opened before" in warnings
    assert "usage() is for operations of kind 'llm', got 'tool'" in warnings


def test_bookkeeping_kinds_are_marked(session: Session) -> None:
    """A kind that the journal uses itself is marked as the program's."""
    for kind in ("session", "end", "error", "made up", "tools"):
        with session.operation(f"of kind {kind}", kind):
            pass
    kinds = {event["name"]: event["kind"] for event in session.events}
    assert list(kinds.values()) == ["user:session", "user:end", "user:error", "made up", "tool"]
    assert session.is_running


def test_a_budget_ends_in_the_call_that_spends_it() -> None:
    """The row is written, then the program is stopped; the next operation does not open."""
    localops.init(auto_start_session=False, budget_usd=0.001)
    session = localops.start_session()
    with pytest.raises(BudgetExceeded), session.operation("dear", "llm", model="gpt-4o") as call:
        call.usage(prompt_tokens=1000, completion_tokens=1000)
    with pytest.raises(BudgetExceeded):
        session.operation("next", "tool").open()
    assert [event["name"] for event in session.events] == ["dear", "budget"]


def test_many_operations_at_once_lose_nothing(session: Session) -> None:
    """Sixteen threads, each with nested operations: every one of them is there, in its place."""

    def work(number: int) -> None:
        with session.operation(f"outer {number}") as outer, session.operation(f"inner {number}", "tool", parent=outer):
            session.record(ActionEvent(action_type=f"leaf {number}"))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(200)))
    events = by_name(session)
    ids = {name: event["id"] for name, event in events.items()}
    assert len(events) == 600
    assert all(events[f"leaf {number}"]["parent"] == ids[f"inner {number}"] for number in range(200))
    assert all(events[f"inner {number}"]["parent"] == ids[f"outer {number}"] for number in range(200))


def test_a_kill_in_the_middle_names_the_call() -> None:
    """The request is in the journal before the call leaves the machine."""
    died = programs.run(
        "import os, signal, localops\n"
        "session = localops.init()\n"
        "with session.operation('answer', kind='llm', model='gpt-4o', prompt='what is the tide?'):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert died.returncode == -signal.SIGKILL
    assert "answer" in str(programs.standing().reason)
    reader = programs.reader()
    (session,) = programs.sessions()
    (event,) = analytics.events(reader, session)
    assert (event["finished"], event["model"], event["prompt"]) == (False, "gpt-4o", "what is the tide?")


def test_a_decorated_function_is_a_call_of_a_model(session: Session) -> None:
    """`@llm` reads messages and model from the arguments, and usage from the result."""

    @decorators.llm
    def ask(messages: list[dict[str, str]], model: str, temperature: float = 0.2) -> str:
        return f"{model} at {temperature} has {len(messages)}"

    assert ask([{"role": "user", "content": "hi"}], model="gpt-4o") == "gpt-4o at 0.2 has 1"
    event = by_name(session)["ask"]
    assert (event["kind"], event["model"], event["params"]) == ("llm", "gpt-4o", {"temperature": 0.2})
    assert event["prompt"] == [{"role": "user", "content": "hi"}]
    assert event["returns"] == "gpt-4o at 0.2 has 1"


# One call, recorded twice


def test_a_call_in_an_open_call_is_the_same_one(session: Session) -> None:
    """A call of a framework and that of the client it uses are one, with the figures of the inner one."""
    with session.operation("framework", "llm", model="gpt-4o") as outer:
        with session.operation("client", "llm", model="gpt-4o") as inner:
            inner.usage(prompt_tokens=1000, completion_tokens=10)
        with session.operation("client again", "llm", model="gpt-4o") as inner:
            inner.usage(prompt_tokens=1000, completion_tokens=10)
    events = by_name(session)
    assert (events["framework"]["tokens_in"], events["framework"]["tokens_out"]) == (2000, 20)
    assert events["framework"]["cost"] == 2 * (1000 * 2500 + 10 * 10_000)
    assert (events["client"]["kind"], events["client"]["parent"]) == ("llm_copy", str(outer.id))
    assert events["client"]["prompt_tokens"] == 1000
    figures = session.get_analytics()
    assert (figures["LLM calls"], figures["Cost"]) == (1, "0.005200")


def test_an_outer_call_with_figures_of_its_own_keeps_them(session: Session) -> None:
    """Nothing is added to the framework's own figures."""
    with session.operation("framework", "llm", model="gpt-4o") as outer:
        with session.operation("client", "llm", model="gpt-4o") as inner:
            inner.usage(prompt_tokens=1000, completion_tokens=10)
        session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=10, name="by hand"))
        outer.usage(prompt_tokens=7, completion_tokens=1)
    assert by_name(session)["framework"]["tokens_in"] == 7
    figures = session.get_analytics()
    assert (figures["LLM calls"], figures["Cost"]) == (1, "0.000028")


def _by_itself(session: Session, **figures: Any) -> None:
    """Record a call as an instrumentor does, without a line of the program."""
    call = localops.LLMEvent(model="gpt-4o", prompt="hi")
    rows = session.begin("llm", "by itself", call=call, by_itself="openinference")
    assert rows is not None
    for name, value in figures.items():
        setattr(call, name, value)
    rows.finish({})


def test_a_call_that_records_itself_is_not_counted_by_hand_as_well(
    session: Session, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before, around or after it: what a program writes about the call is kept, and the call counts once."""
    around = localops.LLMEvent(prompt="hi", model="gpt-4o", name="around")
    _by_itself(session, prompt_tokens=10, completion_tokens=2, response_id="r-1")
    around.completion = "ho"
    session.record(around)
    _by_itself(session, prompt_tokens=10, completion_tokens=2, response_id="r-2")
    session.record(localops.LLMEvent(name="with tokens", model="openai/gpt-4o", prompt_tokens=10, completion_tokens=2))
    _by_itself(session, prompt_tokens=10, completion_tokens=2, response_id="r-3")
    session.record(localops.LLMEvent(name="with its id", response_id="r-3"))
    session.record(localops.LLMEvent(name="another model", model="claude-3-opus", prompt_tokens=10))
    _by_itself(
        session, prompt_tokens=10, completion_tokens=2, completion={"role": "assistant", "content": "four metres"}
    )
    session.record(localops.LLMEvent(name="other words", prompt_tokens=10, completion_tokens=2, completion="no idea"))
    session.record(localops.LLMEvent(name="its words", model="gpt-4o", completion="four metres"))
    session.record(localops.LLMEvent(name="with nothing"))
    kinds = {event["name"]: event["kind"] for event in session.events if event["name"] != "by itself"}
    assert kinds == {
        "around": "llm_copy",
        "with tokens": "llm_copy",
        "with its id": "llm_copy",
        "another model": "llm",
        "other words": "llm",
        "its words": "llm_copy",
        "with nothing": "llm",
    }
    assert session.get_analytics()["LLM calls"] == 7
    assert capfd.readouterr().err.count("was also recorded by hand") == 1


def test_a_kind_is_any_text_of_the_program(session: Session) -> None:
    """It is written like a name: without what no text can hold, and without secrets."""
    for kind in ("\ud800 odd", "sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4xY7z", "k" * 5_000):
        with session.operation("step", kind=kind):
            pass
    kinds = [event["kind"] for event in session.events if event["name"] == "step"]
    assert kinds == ["\ufffd odd", "[redacted:openai]", "k" * 64]
    assert all(event["finished"] for event in session.events)
