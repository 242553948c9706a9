"""The post-mortem of sessions that real programs recorded, ended and did not end."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.coding.recording import Project
from localops.config import Config
from localops.journal import participants, rows
from localops.journal.journal import Journal
from localops.otlp.importing import take
from localops.reading import post_mortem, post_mortem_page, run_rows, session_state
from localops.reading.home import Home
from tests import programs
from tests.examples import sized
from tests.post_mortems import FETCH, INIT, after, command, found, page, row, write


def test_a_success_has_no_errors() -> None:
    """It says what was done, what was last, and nothing of errors, waste or losses."""
    facts, sections = after(
        FETCH + "fetch('a', fails=False)\n"
        "session.record(localops.LLMEvent(model='gpt-4o', prompt='hi', completion='So it is.', prompt_tokens=10, "
        "completion_tokens=2))\nfetch('b', fails=False)\nsession.end_session('Success', 'all pages are read')"
    )
    assert list(sections) == ["How it ended", "Totals", "Last call and answer"]
    assert (facts["how"], facts["first_error"], facts["under_way"]) == ("declared", None, [])
    assert (
        sections["How it ended"][0]
        == "Success: the program ended the session with this state and the reason 'all pages are read'."
    )
    assert sections["Totals"][0] == "1 LLM call, 2 tool calls, 0 actions, 0 errors."
    assert sections["Totals"][1] == "It cost $0.000045, for 10 tokens in and 2 out."
    assert facts["last_operation"]["name"] == "fetch"
    assert sections["Last call and answer"][0].endswith("with the result 'a page'.")
    assert sections["Last call and answer"][1].endswith("'So it is.'")


def test_a_declared_failure_has_its_reason() -> None:
    """A reason that a program gives is no exception, though it sounds like one."""
    facts, sections = after("session.end_session('Failure', 'ValueError: no luck')")
    assert (facts["how"], facts["last_error"]) == ("declared", None)
    assert (
        sections["How it ended"][0]
        == "Failure: the program ended the session with this state and the reason 'ValueError: no luck'."
    )
    assert sections["Totals"] == ["It recorded no event."]


def test_the_cause_comes_before_what_was_done() -> None:
    """After how it ended: the error that ended it, the first error, then figures and the last things."""
    _, sections = after(
        FETCH + "try: fetch('http://a')\nexcept TimeoutError: pass\n"
        "session.record(localops.LLMEvent(model='gpt-4o', prompt='hi', completion='Yes.', prompt_tokens=10, "
        "completion_tokens=2))\nraise ValueError('no luck')"
    )
    titles = list(sections)
    assert titles[:3] == ["How it ended", "Error that ended the run", "First error"]
    assert titles.index("Totals") < titles.index("Last call and answer")
    assert titles.index("First error") < titles.index("Totals")


def test_the_totals_name_what_failed() -> None:
    """Errors are counted apart: one may be in no call, and one of a call also ends the operation around it."""
    code = (
        FETCH
        + """
@operation
def batch():
    fetch("a")
for step in (fetch, fetch):
    try: step("b")
    except TimeoutError: pass
try: batch()
except TimeoutError: pass
session.record(localops.ErrorEvent(error_type="Odd"))
"""
    )
    nameless = """
session.record(localops.ErrorEvent(trigger_event=localops.LLMEvent(), exception=ValueError("x")))
"""
    facts, sections = after(code)
    assert sections["Totals"][0].endswith(" 3 tool calls, 1 action, 4 errors; 3 tool calls and 1 operation failed.")
    assert "Tools: 'fetch' ×3, 3 failed." in sections["Totals"]
    assert facts["done"]["failed"] == facts["done"]["failed_tool_calls"] + 1
    _, sections = after(code + nameless)
    assert sections["Totals"][0].endswith(" 5 errors; 3 tool calls and 2 other calls or operations failed.")


def test_an_exit_code_is_named() -> None:
    """sys.exit(3) inside of an operation: no error, but the operation that it left, and the code."""
    facts, sections = after("@operation(name='work')\ndef work(): sys.exit(3)\nwork()")
    assert facts["how"] == "exit code"
    assert sections["How it ended"][0].startswith("Failure: the program ended with exit code 3.")
    assert (facts["first_error"]["type"], facts["first_error"]["message"]) == ("SystemExit", None)
    assert facts["first_error"]["outcome"] == "ended the run"
    assert "operation 'work' was ended by SystemExit" in sections["First error"][0]


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
    programs.run(f"{INIT}with session.operation('plan', kind='workflow'):\n    with {open_call[kind]}:\n        die()")
    if is_folded:
        journal = Journal(programs.project())
        journal.fold()
        journal.close()
    facts = found()
    sections = page(facts)
    assert facts["how"] == "died"
    assert [one["kind"] for one in facts["under_way"]] == ["workflow", kind]
    # What holds others did begin: only of a call is it unknown.
    assert sections["In progress when it ended"][0].endswith(
        "before the last row, and was in progress when the process died."
    )
    # Nothing came after its beginning.
    assert (
        "died; no row of its run follows its beginning, so how long it ran is not known; it may"
        in (sections["In progress when it ended"][-1])
    )
    assert facts["under_way"][-1]["input"] == {"llm": "where is it?", "tool": "to=Ada"}[kind]
    assert facts["done"]["cost_at_least"] == (kind == "llm")
    last = sections["In progress when it ended"][-1]
    assert "was in progress when the process died" in last
    assert last.endswith("it may or may not have happened.")
    assert "process died inside" in sections["How it ended"][0]
    assert "a child that it forked may go on" in sections["How it ended"][0]
    assert any("`localops help resume`" in sentence for sentence in sections["How it ended"])


def test_what_ended_inside_of_it_says_how_far_it_came() -> None:
    """What ended inside the innermost open operation, and that nothing later is recorded, if that is so."""
    sent = "session.record(localops.ActionEvent('http', params={'url': 'a.example'}, returns='sent'))"
    facts, sections = after(
        f"with session.operation('plan', kind='workflow'):\n    with session.operation('pay', kind='tool'):\n"
        f"        with session.operation('post'):\n            {sent}\n        {sent}\n        die()"
    )
    assert facts["under_way"][0]["inside"] is None
    assert [one["name"] for one in facts["under_way"][1]["inside"]["known"]] == ["post", "http"]
    last = sections["In progress when it ended"][-1]
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
    sentence = sections["In progress when it ended"][1]
    assert sentence.startswith("Inside it, 7 calls of tool 'send' ended: 'to=2' at +")
    assert re.search(r", 'to=6' at \+\S+, and 2 before these\.$", sentence), sentence
    assert "Tools: 'send' ×7 and 1 that did not end." in sections["Totals"]


def test_one_that_ended_inside_of_what_was_under_way_has_its_result() -> None:
    """Its time counts from the beginning of what it is in, in words."""
    _, sections = after(
        "with session.operation('pay', kind='tool'):\n    session.record(localops.ActionEvent('a'))\n    die()"
    )
    assert re.fullmatch(
        r"Inside it, action 'a' ended \S+ after it began; nothing later is recorded\.",
        sections["In progress when it ended"][-1],
    )


@pytest.mark.parametrize("value", ["[]", "{}", "''", "None", "0"])
def test_an_empty_result_is_a_result(value: str) -> None:
    """None is what a function without a result returns."""
    _, sections = after(f"@tool\ndef look(): return {value}\nlook()")
    ending = {"None": ", with no recorded result.", "0": ", with the result '0'."}.get(value, ", with an empty result.")
    assert sections["Last call and answer"][0].endswith(ending)


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
    assert "when the session ended" in sections["In progress when it ended"][0]


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
    [died] = [one for one in facts["processes"]["known"] if one["state"] == "died"]
    assert sections["How it ended"][1] == f"Process {died['pid']} died inside tool 'crunch'."
    under_way = sections["In progress when it ended"][0]
    assert f"UTC in process {died['pid']}, " in under_way
    assert "was in progress when that process died" in under_way


def test_what_a_dead_child_was_in_is_not_in_progress_while_the_session_runs() -> None:
    """The page of the session and its post-mortem name it as that of a process that died."""
    program = programs.start(
        INIT + "child = os.fork()\n"
        "if child == 0:\n"
        "    with session.operation('crunch', kind='tool'): die()\n"
        "os.waitpid(child, 0)\n"
        "with session.operation('wait', kind='tool'): pass\n"
        "with session.operation('wait', kind='tool'), session.operation('wait', kind='tool'):\n"
        "    print('ready', flush=True); sys.stdin.read()"
    )
    try:
        programs.first_line(program)
        sections, shown = page(found()), command("show", "last")
    finally:
        programs.kill(program)
    assert "In progress when its process died" in sections
    [died] = sections["In progress when its process died"]
    wait, _ = sections["In progress now"]
    assert (died[:13], wait[:11]) == ("tool 'crunch'", "tool 'wait'")
    assert "was in progress when that process died" in died
    [now] = re.findall(r"^now +(.*)$", shown, re.MULTILINE)
    assert (now.startswith("inside tool 'wait' for"), "crunch" in now) == (True, False)
    assert re.search(r"^! process \d+ died inside tool 'crunch'", shown, re.MULTILINE)
    assert re.search(r"tool crunch +unfinished", shown)
    assert re.search(r"tool wait +running", shown)
    [tools] = [line for line in sections["Totals"] if line.startswith("Tools: ")]
    assert ("'wait' ×1 and 2 that are running" in tools, "'crunch' (did not end)" in tools) == (True, True)


def test_what_a_running_session_is_in_is_no_event_of_its_agents_yet() -> None:
    """Nor did it fail to end: the page beside it counts it as an event."""
    program = programs.start(
        INIT + "@agent(name='on-call')\n"
        "def go():\n"
        "    with session.operation('look', kind='tool'): pass\n"
        "    with session.operation('drain', kind='tool'): print('ready', flush=True); sys.stdin.read()\n"
        "go()"
    )
    try:
        programs.first_line(program)
        totals = page(found())["Totals"]
    finally:
        programs.kill(program)
    [tools] = [line for line in totals if line.startswith("Tools: ")]
    assert sorted(tools.removeprefix("Tools: ").removesuffix(".").split(", ")) == ["'drain' (is running)", "'look' ×1"]
    [agents] = [line for line in totals if line.startswith("Agents: ")]
    assert agents.endswith(" with 1 event that ended.")


def test_a_worker_of_multiprocessing_leaves_when_it_ends() -> None:
    """Of four, one was killed inside a tool: it is the only one that died. One failed: its error ended that process."""
    facts, sections = after(
        "import multiprocessing\n"
        "@tool(name='crunch')\n"
        "def crunch(part):\n"
        "    if part == 1: raise ValueError('bad part')\n"
        "    if part == 2: die()\n"
        "workers = [multiprocessing.get_context('fork').Process(target=crunch, args=(part,), name=f'worker {part}') "
        "for part in range(4)]\n"
        "for worker in workers: worker.start()\n"
        "for worker in workers: worker.join()\n"
        "session.end_session('Success')"
    )
    known = facts["processes"]["known"]
    assert [one["state"] for one in known] == ["died", "left", "left", "left", "left"]
    assert known[0]["inside"] == [{"kind": "tool", "name": "crunch"}]
    assert not any("without recording that it left" in line for line in sections["How it ended"])
    ended = "Nothing caught it: it ended process 'worker 1', and the program continued."
    assert ended in sections["First error"]


def test_an_error_that_ended_a_forked_child_is_not_caught_by_its_parent() -> None:
    """The child raised it inside of an operation of its parent, which then ended well."""
    facts, sections = after(
        "with session.operation('split'):\n"
        "    if not (child := os.fork()): raise ValueError('bad part')\n"
        "    os.waitpid(child, 0)\n"
        "session.end_session('Success')"
    )
    error = facts["first_error"]
    assert (error["type"], error["message"], error["outcome"]) == ("ValueError", "bad part", "ended a process")
    [child] = [one["pid"] for one in facts["processes"]["known"] if str(one["pid"]) == error["thread"]]
    assert f"Nothing caught it: it ended process {child}, and the program continued." in sections["First error"]


def test_an_error_outside_of_operations_of_a_worker_is_recorded() -> None:
    """multiprocessing prints it, and calls no hook. A child that calls os._exit did not die inside of anything."""
    facts, sections = after(
        "import multiprocessing\ndef fail(): raise KeyError('part')\n"
        "worker = multiprocessing.get_context('fork').Process(target=fail, name='solo')\n"
        "worker.start(); worker.join()\n"
        "child = os.fork()\n"
        "if child == 0: session.record(localops.ActionEvent('look')); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "session.end_session('Success')"
    )
    assert (facts["first_error"]["type"], facts["first_error"]["outcome"]) == ("KeyError", "ended a process")
    ended = "One of them recorded no exit before the session ended; none of its operations was in progress."
    assert ended in sections["How it ended"]


def test_an_error_that_the_parent_was_handling_is_not_of_its_worker() -> None:
    """A child that is forked in an `except` block has the parent's exception to its end."""
    facts, _ = after(
        "import multiprocessing\ndef work(): session.record(localops.ActionEvent('look'))\n"
        "try: raise KeyError('part')\n"
        "except KeyError:\n"
        "    worker = multiprocessing.get_context('fork').Process(target=work); worker.start(); worker.join()\n"
        "session.end_session('Success')"
    )
    assert facts["first_error"] is None
    assert [one["state"] for one in facts["processes"]["known"]] == ["left", "left"]


def test_a_session_that_a_worker_begins_has_the_end_of_its_process() -> None:
    """A child of multiprocessing ends by os._exit, and did not die."""
    programs.run(
        "import localops, multiprocessing\n"
        "def work(): localops.init(); localops.record(localops.ActionEvent('look'))\n"
        "worker = multiprocessing.get_context('fork').Process(target=work); worker.start(); worker.join()"
    )
    assert found()["how"] == "left open"


def test_a_running_session_is_not_dead() -> None:
    """The operation that it is in is in progress; nothing "may or may not have happened"."""
    program = programs.start(
        INIT + "with session.operation('wait', kind='tool'):\n    print('in', flush=True); sys.stdin.read()"
    )
    programs.first_line(program)
    facts = found()
    program.communicate(timeout=60)
    sections = page(facts)
    assert facts["how"] == "running"
    assert "has run for" in sections["In progress now"][0]
    assert "may" not in sections["In progress now"][0]


def test_an_end_that_cannot_be_known_is_not_guessed() -> None:
    """A process of another machine may live."""
    session, who = clock.new_id(), clock.new_id()
    card = json.dumps({"participant": who.hex(), "pid": 7, "host": "elsewhere", "machine": "x", "boot": "y"})
    write(row("session", session, parent=who, body=card), row("action", session, name="a"))
    facts = found(session)
    assert facts["how"] == "unknown"
    assert [one["state"] for one in facts["processes"]["known"]] == ["unknown"]
    assert "is not known" in page(facts)["How it ended"][0]


def test_a_copy_of_a_killed_run_does_not_speak_of_its_locks() -> None:
    """Its end says that its processes were found dead; what they held on their machine cannot be seen from here."""
    session, first, second = clock.new_id(), clock.new_id(), clock.new_id()
    elsewhere = {"pid": 7, "host": "elsewhere", "machine": "x", "boot": "y"}
    cards = [json.dumps({"participant": who.hex(), **elsewhere}) for who in (first, second)]
    write(
        row("session", session, parent=first, body=cards[0]),
        row("join", session, parent=second, body=cards[1]),
        row("tool", session, name="pay", phase=rows.OPEN, body=json.dumps({"participant": second.hex()})),
        row("end", session, name="Indeterminate", body='{"reason":"process died inside tool \'pay\'","derived":1}'),
    )
    facts = found(session)
    assert (facts["how"], [one["state"] for one in facts["processes"]["known"]]) == ("died", ["died", "died"])
    ended = "\n".join(page(facts)["How it ended"])
    assert "found its process dead; whether it was resumed since is not known" in ended
    assert ("the lock" in ended, "is alive" in ended) == (False, False)


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


def _without_numbers(value: Any) -> Any:
    """Return facts without the numbers of rows, which are its own in each journal."""
    if isinstance(value, dict):
        return {key: _without_numbers(one) for key, one in value.items() if key != "seq"}
    return [_without_numbers(one) for one in value] if isinstance(value, list) else value


def test_a_run_is_read_in_the_order_of_its_times_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    """Its rows come in four imports, shuffled: the post-mortem and what failed are those of the run as recorded."""
    programs.run(
        INIT + FETCH + "from localops import LLMEvent\n"
        "fetch('b', fails=False)\n"
        "for name in 'ab':\n"
        "    try: fetch(name)\n"
        "    except TimeoutError: pass\n"
        "    session.record(LLMEvent(model='gpt-4o', prompt='hi', completion='answer ' + name, prompt_tokens=9))\n"
        "fetch('c', fails=False)\n"
        "with session.operation('sum', kind='task') as task: task.returns(6)\n"
        "session.end_session('Success')"
    )
    recorded, lint = found(), command("lint", "last")
    lines = command("export", "last", "--format", "jsonl").splitlines()
    assert "2 of 4 calls with TimeoutError" in lint
    keys = ("first_error", "last_operation", "last_answer", "common", "under_way")
    for seed in range(2):
        random.Random(seed).shuffle(lines)
        home = {"LOCALOPS_HOME": str(tmp_path / f"home{seed}")}
        for number in range(4):
            part = tmp_path / f"{seed}.{number}.jsonl"
            part.write_text("".join(f"{line}\n" for line in lines[number::4]), encoding="utf-8")
            command("import", str(part), env=home)
        again = json.loads(command("why", "last", "--json", env=home))
        assert [_without_numbers(again[key]) for key in keys] == [_without_numbers(recorded[key]) for key in keys]
        assert command("lint", "last", env=home) == lint


_DAEMON = """
def leave(how):
    if how == 'error': raise LookupError('no page')
    (os._exit if how == 'os' else sys.exit)(3 if how == 'code' else 0)
def daemonize(how):
    if os.fork(): leave(how)
    os.setsid()
    if os.fork(): leave(how)
first, last = sys.argv[1:]
@tool
def work(): pass
daemonize(first)
work()
print('ready', flush=True)
sys.stdin.read(1)
leave(last)
"""
_GONE = "the program exited and did not end the session. Whether it reached its goal is not recorded."
_BY_CODE = "Failure: the program ended with exit code 3. It recorded the code as it exited."


@pytest.mark.parametrize(
    ("first", "last", "how", "sentences"),
    [
        ("sys", "sys", "left open", [f"Indeterminate: {_GONE}"]),
        ("sys", "code", "exit code", [_BY_CODE]),
        ("sys", "error", "exception", ["Nothing caught it: it ended the run."]),
        ("os", "code", "died", ["process {first} was killed by a signal", "Process {last} left with exit code 3."]),
        ("os", "error", "died", ["Nothing caught it: it ended process {last}.\n"]),
    ],
)
def test_a_daemon_ends_as_its_last_process_does(first: str, last: str, how: str, sentences: list[str]) -> None:
    """Its first processes leave the session, which runs until the last one leaves."""
    program = programs.start(INIT + _DAEMON, first, last)
    try:
        program.wait()
        programs.first_line(program)
        facts = found()
    finally:
        program.communicate()
    joined = sorted(facts["processes"]["known"], key=lambda one: str(one["joined"]))
    assert facts["how"] == "running"
    pids = {name: one["pid"] for name, one in zip(("first", "last"), joined, strict=True)}
    facts = found()
    text = "".join(f"{one}\n" for section in page(facts).values() for one in section)
    assert facts["how"] == how
    assert [one for each in sentences if (one := each.format(**pids)) not in text] == []
    assert ("and the program continued" in text, "without recording its end" in text) == (False, first == "os")


def test_what_a_daemon_goes_on_with_did_not_end_with_its_first_process() -> None:
    """Its first process has exited, and the one that goes on has not recorded yet."""
    program = programs.start(
        INIT + "with session.operation('serve'):\n"
        "    if os.fork():\n"
        "        sys.exit(0)\n"
        "    sys.stdin.read(); os._exit(0)"
    )
    try:
        program.wait()
        [serve] = page(found())["In progress when it ended"]
        shown = command("show", "last")
    finally:
        program.communicate()
    assert "its process exited and left its end to a child, which may go on" in serve
    assert "! its process exited, and a child of it may go on, inside operation 'serve'" in shown


def test_losses_are_counted() -> None:
    """Rows that were lost or spilled are at the end of the page."""
    session, who = clock.new_id(), clock.new_id()
    write(
        row("session", session, parent=who, body=json.dumps({"participant": who.hex()})),
        row("loss", session, body='{"spilled":3,"dropped":1,"cut":2}'),
        row("end", session, name="Success", parent=who),
    )
    lines = page(found(session))["Recording"]
    assert lines[0] == "1 event was lost: the disk refused to store it."
    assert lines[1] == "3 rows came through a spill file."
    assert lines[2].startswith("2 values were cut")


def test_losses_with_a_deleted_journal_are_lower_bounds() -> None:
    """As in `show` and `steps`, they are not events that could not be stored."""
    session = clock.new_id()
    write(row("session", session), row("loss", session, body='{"dropped":5,"deleted":4}'))
    assert page(found(session))["Recording"][:2] == [
        "1 event was lost: the disk refused to store it.",
        "At least 4 events were lost when the journal was deleted.",
    ]


def test_how_a_session_ended_that_may_lack_rows_is_not_known() -> None:
    """The row of its process may be among those that a repair lost."""
    session = clock.new_id()
    write(row("session", session), row("loss", session, body='{"damaged":3}'))
    [how] = [line for line in page(found(session))["How it ended"] if line.startswith("Indeterminate")]
    assert (
        how == "Indeterminate: no end is recorded, but rows of it may be lost, so how the program ended is not known."
    )
    assert found(session)["reason"] == session_state.MAYBE_LOST


_EVIL = "`</details><script>`` [x](http://evil) @all \x1b[2J\u202e\n# not a heading"


def test_recorded_text_is_data_on_every_page() -> None:
    """No name, input or message can add markup, control characters or lines."""
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
    assert ("The session is long" in str(sections.get("Recording"))) is is_long
    assert "only its last tool calls were searched for loops" in sections["Wasted"][-1]


def test_the_lock_of_a_participant_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a hub, whose sessions ran elsewhere, no process is called dead."""
    child = "if os.fork() == 0:\n    session.record(localops.ActionEvent('a'))\n    die()\n"
    programs.run(f"{INIT}{child}os.wait(); session.end_session('Success')")
    (Path(programs.project()).parent / "hub.json").write_text("{}")
    monkeypatch.setattr(participants, "is_alive", lambda *_: pytest.fail("the locks of another machine"))
    facts = found()
    assert sorted(one["state"] for one in facts["processes"]["known"]) == ["left", "unknown"]


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
    """An empty or cut answer is explained, as a later step often fails because of it."""
    session = localops.start_session()
    session.record(localops.LLMEvent(model="m", prompt="first", completion="earlier"))
    with session.operation("chat", kind="llm", model="o4", prompt="plan") as call:
        call.usage(prompt_tokens=10, completion_tokens=90, reasoning_tokens=90)
        call.answer(answer, finish_reason=reason)
    session.record(localops.ToolEvent(name="parse"))
    session.end_session("Success")
    last = page(found())["Last call and answer"]
    assert last[1].startswith("Last model answer (LLM call 'chat' to 'o4', at ")
    assert last[1].endswith(sentence)
    cut = {"content_filter": "a filter or a refusal stopped it", "MAX_TOKENS": "it stopped at its length limit"}
    because = f"That answer is not complete: {cut.get(reason)} ('{reason}'); 90 of 90 tokens were reasoning."
    assert last[2:] == ([because] if reason in cut else [])


def test_a_last_answer_that_nothing_follows_says_why_it_was_cut() -> None:
    """Even if it is the last operation, which has a separate sentence."""
    session = localops.start_session()
    event = localops.LLMEvent(model="m", prompt="plan", completion="First,", finish_reason="max_tokens")
    session.record(event)
    session.end_session("Success")
    last = page(found())["Last call and answer"]
    assert last[1].endswith(" is not complete: it stopped at its length limit ('max_tokens').")


_ASK = """
def ask(*calls):
    calls = [{'type': 'function', 'function': {'name': name, 'arguments': text}} for name, text in calls]
    session.record(localops.LLMEvent(model='gpt-4o', prompt='Pay and tell Ann', tool_calls=calls))
@tool
def charge(amount): return 'paid'
@tool
def mail(to): die()
"""
_LEFT = "asked for 'mail to=ann', and its result is not recorded."


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "ask(('charge', '{\"amount\": 5}'), ('mail', '{\"to\": \"ann\"}'))\ncharge(5)\nmail('ann')",
            f"The model {_LEFT}",
        ),
        (
            "ask(('charge', '{\"amount\": 5}'), ('charge', '{\"amount\": 6}'))\ncharge(5)\ndie()",
            "Of 2 calls of 'charge' that the model asked for, 1 has no recorded result.",
        ),
        ("ask(('charge', '{\"amount\": 5}'))\ncharge(5)\ndie()", None),
        # The next call was made with the results.
        ("ask(('look', ''))\nask()\ndie()", None),
        ("ask(('answer', ''))\nsession.end_session('Success')", None),
    ],
)
def test_what_the_model_asked_for_last_is_named_if_it_has_no_result(code: str, sentence: str | None) -> None:
    """In a run without steps that run once, it is what shows where to go on."""
    _, sections = after(_ASK + code)
    asked = [one for one in sections.get("Last call and answer", []) if "model asked for" in one]
    assert asked == ([] if sentence is None else [sentence])
