"""What readers say of a run that was killed or ended, and then resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import cli
from localops.decorators import tool
from localops.reading import session_state, timeline
from localops.reading.home import Home
from tests import programs

# Each program dies in its last line, inside `pay` or beside it.
_PAYING = """
import os, signal, sys, localops
from localops.decorators import tool
def die(): os.kill(os.getpid(), signal.SIGKILL)
@tool(once=True)
def pay(order, deadly=False):
    if deadly: die()
    return order
session = localops.resume("last") if "resume" in sys.argv else localops.init(trace_name="shop", env_data_opt_out=True)
"""
_KILLED = _PAYING + "pay('a', True)"


def _decided() -> localops.Session:
    """Let a program die in a step, and resume its session with a result for the step."""
    programs.run(_KILLED)

    @tool(once=True)
    def pay(order: str, deadly: bool = False) -> str:
        return order

    session = localops.resume("last", on_uncertain=lambda _: "the bank has it")
    assert pay("a", True) == "the bank has it"
    return session


_DIED = "died inside tool 'pay', how long it ran is not known"


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    assert not ended.value.code
    return capsys.readouterr().out


def test_an_operation_ends_with_the_last_row_of_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The pause is no part of it, in a sentence and in a bar; the step was the last row of its run."""
    _decided().end_session("Success")
    shown = _printed(capsys, "show")
    [notice] = [line for line in shown.splitlines() if line.startswith("! process ")]
    assert notice.endswith(f" {_DIED}; when resumed, the program provided its result, and it did not run again")
    assert "\nresumed    once at " in shown
    (line,) = [line for line in _printed(capsys, "show", "--timeline").splitlines() if "tool pay" in line]
    assert "▏" in line
    assert "█" not in line
    trace = json.loads(_printed(capsys, "export", "last", "--format", "perfetto"))
    (call,) = [one for one in trace["traceEvents"] if one.get("cat") == "tool"]
    assert (call["ph"], call["dur"], call["args"]["finished"]) == ("X", 0, False)


def test_the_pages_know_when_a_run_stopped() -> None:
    """The bar of an operation without an end is drawn to there: before the resume."""
    _decided().end_session("Success")
    with Home() as home:
        project, id = home.find("last")
        columns: dict[str, Any] = timeline.page(project.reader, project.snapshot(id), after=0, limit=100)
    began = columns["start_us"][columns["dur_us"].index(-1)]
    [[stopped, resumed]] = columns["pauses"]
    assert began == stopped < resumed


_LEAVING = """
import sys, threading, localops
session = localops.resume("last") if "resume" in sys.argv else localops.init()
def wait():
    with session.operation("wait", kind="tool"):
        inside.set()
        threading.Event().wait()
inside = threading.Event()
if "resume" not in sys.argv:
    threading.Thread(target=localops.carry(wait), daemon=True).start()
    inside.wait()
session.end_session("Success")
"""


def test_a_program_that_ended_during_a_call_of_another_thread_did_not_die(capsys: pytest.CaptureFixture[str]) -> None:
    """It left, before the session was resumed."""
    programs.run(_LEAVING)
    programs.run(_LEAVING, "resume")
    shown = _printed(capsys, "show")
    assert "! no end is recorded of tool 'wait'" in shown
    assert "died" not in shown


def test_a_running_session_is_not_inside_what_an_earlier_process_was_in(capsys: pytest.CaptureFixture[str]) -> None:
    """What is in progress began after the resume; that a process died is still a notice."""
    session = _decided()
    with session.operation("look", kind="tool"):
        shown = _printed(capsys, "show")
    session.end_session("Success")
    (now,) = [line for line in shown.splitlines() if line.startswith("now ")]
    assert "'look'" in now
    assert "'pay'" not in now
    assert f" {_DIED}; " in shown


def test_a_resumed_run_that_dies_between_steps_died_in_none() -> None:
    """An operation of the run before was over by then."""
    programs.run(_KILLED)
    programs.run(_PAYING + "pay('b'); die()", "resume")
    assert programs.standing() == session_state.Standing(
        "Indeterminate", "process died", programs.figures().last_ns, True
    )
    programs.run(_PAYING + "pay('c', True)", "resume")
    assert programs.standing().reason == "process died inside tool 'pay'"


def test_what_a_resumed_run_records_is_not_late(capsys: pytest.CaptureFixture[str]) -> None:
    """The end before it was that of another run; rows between that end and the resume are late."""
    programs.run(_PAYING + "pay('a'); session.end_session('Failure', 'power')")
    programs.run(_PAYING + "pay('b'); pay('c'); die()", "resume")
    assert "after its end" not in _printed(capsys, "show")
    assert "after its end" not in _printed(capsys, "why")
    programs.run(
        _PAYING + "session.end_session('Failure', 'again'); session.record(localops.ActionEvent())",
        "resume",
    )
    assert "1 event was recorded after its end" in _printed(capsys, "show")
    programs.run(_PAYING + "pay('d'); die()", "resume")
    assert "1 event was recorded after its end" in _printed(capsys, "why")


def _why(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    page = json.loads(_printed(capsys, "why", "--json"))["page"]
    return {section["title"]: section["sentences"] for section in page}


_STOPPED = "In progress when an earlier run ended"


def test_a_step_that_was_decided_is_not_under_way_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Its first attempt has no end, but its outcome is known."""
    _decided().end_session("Success")
    sections = _why(capsys)
    assert "In progress when it ended" not in sections
    (sentence,) = sections[_STOPPED]
    assert sentence.startswith("tool 'pay' with 'order=a deadly=true', began at ")
    (step,) = json.loads(_printed(capsys, "steps", "--json"))["steps"]
    began, given = (f"{at[:19].replace('T', ' ')} UTC" for at in (step["began"], step["given"]["at"]))
    assert f" began at {began} in process {step['process']['pid']}, and has no end" in sentence
    assert sentence.endswith(
        " and has no end; no row of its run follows its beginning, so how long it ran is not known. "
        f"At {given} process {os.getpid()} provided 'the bank has it' as its result, without calling it."
    )
    assert "1 step is done" in sections["If it is resumed"][0]


_RETRYING = (
    _PAYING.replace("@tool(once=True)", "@tool(once=True, on_uncertain=lambda _: localops.run_again)")
    + "pay('a', True)"
)


def test_a_step_that_was_tried_again_and_then_decided_ran_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """No sentence claims that the first attempt did not run again; the list has how many there were."""
    programs.run(_KILLED)
    programs.run(_RETRYING, "resume")

    @tool(once=True)
    def pay(order: str, deadly: bool = False) -> str:
        return order

    session = localops.resume("last", on_uncertain=lambda _: "the bank has it")
    assert pay("a", True) == "the bank has it"
    session.end_session("Success")
    first, second = _why(capsys)[_STOPPED]
    assert first.endswith("; it ran again when resumed; later the program provided its result.")
    assert second.endswith(" provided 'the bank has it' as its result, without calling it.")
    notices = [line for line in _printed(capsys, "show").splitlines() if line.startswith("! ")]
    assert ["did not run again" in notice for notice in notices] == [False, True]
    listed = _printed(capsys, "steps")
    assert "done, 2 tries, result given" in listed
    assert ": It was tried 2 times; the last began at " in listed


def test_the_list_of_steps_says_where_one_began_whose_result_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    """When and where its program was killed in it, and not when its result was given."""
    _decided().end_session("Success")
    (step,) = json.loads(_printed(capsys, "steps", "--json"))["steps"]
    assert step["state"] == "done"
    assert step["ended"] is None
    assert step["process"]["pid"] != os.getpid()
    assert step["given"]["process"]["pid"] == os.getpid()
    assert step["given"]["result"] == "the bank has it"
    assert step["began"] < step["given"]["at"]
    out = _printed(capsys, "steps")
    (line,) = [line for line in out.splitlines() if line.startswith("pay  ")]
    assert "done, result given" in line
    assert line.endswith(f"{step['began'][:19].replace('T', ' ')}  {step['process']['pid']}")
    assert f"process {os.getpid()} provided 'the bank has it' as its result, without calling it." in out


def test_a_process_whose_run_was_resumed_died(capsys: pytest.CaptureFixture[str]) -> None:
    """Also on a machine that cannot see it: its end was recorded, and another process continued."""
    _decided().end_session("Success")
    (Path(programs.project()).parent / "hub.json").write_text("{}")
    ended = "\n".join(_why(capsys)["How it ended"])
    assert "died without recording its end" in ended
    assert "cannot be seen" not in ended


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("return order", "it ran again when resumed, and is done."),
        ("raise ValueError(order)", "it ran again when resumed, and failed."),
        ("die()", "it began again when resumed, and did not end; it may or may not have happened."),
    ],
)
def test_a_step_that_ran_again_says_how_that_ended(
    capsys: pytest.CaptureFixture[str], answer: str, outcome: str
) -> None:
    """The last try of a step is what counts."""
    again = _PAYING.replace("if deadly: die()", answer).replace("once=True", "once=True, idempotent=True")
    programs.run(_KILLED)
    programs.run(again + "pay('a', True)", "resume")
    sections = _why(capsys)
    (sentence,) = sections[_STOPPED]
    assert sentence.endswith(f"; {outcome}")
    assert ("In progress when it ended" in sections) == (answer == "die()")


def test_what_is_no_step_may_or_may_not_have_happened(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is known of an operation of the killed run that is not marked as a step."""
    programs.run(_PAYING + "session.begin('tool', 'slow'); die()")
    programs.run(_PAYING + "session.end_session('Success')", "resume")
    (sentence,) = _why(capsys)[_STOPPED]
    assert sentence.endswith("so how long it ran is not known; it may or may not have happened.")


_LOADING = """
import os, signal, sys, localops
from localops.decorators import tool
@tool
def load(): return 1
@tool
def save(): return 2
session = localops.resume("last") if "resume" in sys.argv else localops.init(trace_name="shop", env_data_opt_out=True)
load()
save()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_each_run_calls_once_is_no_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """A loop ends where a process does: neither the same call, nor a cycle, nor a habit goes on in the next one."""
    for again in ([], *[["resume"]] * 4):
        programs.run(_LOADING, *again)
    findings = json.loads(_printed(capsys, "lint", "--json"))
    assert [(one["loops"], one["wasted"]["calls"]) for one in findings["sessions"]] == [([], 0)]


def test_it_says_that_a_run_was_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each resume has its process, and how the run before had ended."""
    programs.run(_PAYING + "pay('a'); session.end_session('Failure', 'power')")
    second = programs.start(_PAYING + "pay('b', True)", "resume")
    second.communicate(timeout=60)
    third = programs.start(_PAYING + "session.end_session('Success')", "resume")
    third.communicate(timeout=60)
    one, two = [line for line in _why(capsys)["How it ended"] if line.startswith("It was resumed")]
    assert f" by process {second.pid} on " in one
    assert one.endswith("; before that it had ended as Failure with the reason 'power'.")
    assert f" by process {third.pid} on " in two
    assert '; before that it had ended as Indeterminate with the reason "process died inside tool ' in two


def test_runs_that_die_before_they_record_anything_hide_no_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Each run keeps its own reason: a derived end at the time of a resume belongs to the run that began then."""
    programs.run(_KILLED)
    for _ in range(2):
        programs.run(_PAYING + "die()", "resume")
    sections = _why(capsys)
    one, two = [line for line in sections["How it ended"] if line.startswith("It was resumed")]
    assert one.endswith("""ended as Indeterminate with the reason "process died inside tool 'pay'".""")
    assert two.endswith("ended as Indeterminate with the reason 'process died'.")
    resumed = next(line for line in _printed(capsys, "show").splitlines() if line.startswith("resumed "))
    assert resumed.endswith("UTC; before that Indeterminate: process died")


@pytest.mark.parametrize("state", ["Success", "Failure"])
def test_the_question_about_a_step_is_no_error_of_a_run_that_succeeded(
    capsys: pytest.CaptureFixture[str], state: str
) -> None:
    """A program that caught it has asked what became of the step; where the run failed, it may be why."""
    programs.run(_KILLED)
    asked = "try:\n  with session.operation('bill', kind='workflow'): pay('a', True)\nexcept localops.Uncertain: pass\n"
    programs.run(f"{_PAYING}{asked}session.end_session('{state}')", "resume")
    sections = _why(capsys)
    assert ("Uncertain" in " ".join(sections.get("First error", []))) == (state == "Failure")
