"""A run that went through a file of OTLP spans repeats no step that is done, or is not resumed."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

import localops
from localops.journal import rows
from localops.otlp.process_rows import Processes
from localops.otlp.step_rows import split
from tests import programs, recorded_runs, warm
from tests.resume.steps import Effects
from tests.resume.test_resume import PAYING
from tests.test_dialects_otlp import exported, import_into

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_STEPS = """
import os, sys, localops
from localops.decorators import tool

@tool(once=True)
def inner(n):
    print("inner", n)
    return (n, {"é": 1.0})

@tool(once=True, key=lambda order, client: order)
def outer(order, client):
    print("outer", order)
    return inner(order)

@tool(once=True)
def odd(order):
    print("odd", order, flush=True)
    if sys.argv[1] == "first":
        os.kill(os.getpid(), 9)

session = localops.init() if sys.argv[1] == "first" else localops.resume("last", on_uncertain=lambda one: "asked")
print(outer("a", 7), inner(3), inner(3), odd("x"), odd("y") if sys.argv[1] == "third" else "")
session.end_session("Success")
"""


def _carry(path: Path) -> None:
    """Export the sessions of the test's home, and continue in another home that imports them."""
    file = path / "runs.otlp"
    with recorded_runs.opened() as runs:
        file.write_bytes(exported(runs))
    _arrive(path, file)


def _arrive(path: Path, file: Path) -> None:
    assert import_into(path / "other", file) == []


def test_an_imported_run_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are done, inside others or decided by a hook return their results; the rest runs."""
    programs.run(_STEPS, "first")
    second = programs.run(_STEPS, "second")
    assert second.stdout == "('a', {'é': 1.0}) (3, {'é': 1.0}) (3, {'é': 1.0}) asked \n"
    _carry(tmp_path)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "other"))
    third = programs.run(_STEPS, "third")
    assert third.stdout.splitlines() == ["odd y", second.stdout.rstrip(" \n") + " None"]
    assert third.stderr == ""


def test_steps_come_back_as_the_rows_that_were_recorded(tmp_path: Path) -> None:
    """Both rows of each attempt, of a killed run too, equal those that were exported."""
    programs.run(PAYING, "first", "a", "a", "refused", "killed")
    before = _rows_of_steps(None)
    _carry(tmp_path)
    assert len(before) == 7
    assert _rows_of_steps(tmp_path / "other") == before


def _rows_of_steps(home: Path | None) -> dict[tuple[bytes, int], dict[str, Any]]:
    columns = [name for name in rows.COLUMNS if name != "sum"]
    with recorded_runs.opened(home) as runs:
        [run] = runs
        every = run.reader.ask(f"select {', '.join(columns)} from event where kind = 'tool'")
    named = [dict(zip(columns, row, strict=True)) for row in every]
    return {(one["id"], one["phase"]): {**one, "body": json.loads(one["body"] or "{}")} for one in named}


@pytest.mark.parametrize("name", ["localops.event.step", "localops.session.once_rows", "a span", "a text"])
def test_a_run_without_its_steps_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An older export, a lost span and a text that a collector cut: `resume`, `steps` and `why` say why."""
    programs.run(PAYING + "\nos.kill(os.getpid(), 9)", "first", "a")
    file = tmp_path / "runs.otlp"
    with recorded_runs.opened() as runs:
        request = json.loads(exported(runs))
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    if name == "a span":
        del spans[0]
    for span in spans:
        span["attributes"] = [one for one in span["attributes"] if one["key"] != name]
        for one in span["attributes"]:
            if name == "a text" and one["key"] == "gen_ai.tool.call.result":
                one["value"] = {"stringValue": '{"receipt":""}'}
    file.write_text(json.dumps(request))
    _arrive(tmp_path, file)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "other"))
    with pytest.raises(localops.NotResumable, match=r"imported from OTLP spans .* which do not say which of its steps"):
        localops.resume("last")
    assert "the session cannot be resumed: it was imported" in warm.localops("steps", "last").stdout
    printed = warm.localops("why", "last").stdout
    assert "Indeterminate: process died" in printed
    assert "A program can resume it" not in printed
    assert "  It cannot be resumed: it was imported" in printed
    if name in ("localops.event.step", "a text"):
        assert "incomplete=True" in printed
        for command in (["show", "last"], ["doctor"]):
            assert "it was imported from OTLP spans" in warm.localops(*command).stdout
        resumed = localops.resume("last", incomplete=True)
        act = Effects().step()
        for number in range(9):
            act(number)
        resumed.end_session("Success")
        # As many rows of steps as the spans state, but others.
        with pytest.raises(
            localops.NotResumable, match=r"with incomplete=True, without all its rows|1 finished step lacks"
        ):
            localops.resume("last")
    elif name == "localops.session.once_rows":
        with pytest.raises(localops.NotResumable, match="imported from OTLP spans"):
            localops.resume("last", incomplete=True)


def test_a_step_that_says_nonsense_is_no_step() -> None:
    """An invalid attribute, which another program wrote, is no reason to fail."""
    body = {"once": {"kept": "none"}, "params": 1}
    for text in ("{", "7", "{}", '{"opened":7,"sum":""}', '{"opened":{"keys":["x"],"body":{}},"sum":""}'):
        assert split(body, text) == ({"params": 1}, None)
    assert split(body, None) == (body, None)


def test_processes_that_another_program_wrote_are_none() -> None:
    """An attribute of any form is no reason to fail, and no row with a value that readers do not expect."""
    known = {"kind": "end", "id": "0" * 32, "at": 1, "name": "Success", "by": "1" * 32, "body": {"reason": "x"}}
    assert Processes(json.dumps([known])).left_at(1) == b"\x11" * 16
    wrong: tuple[dict[str, Any], ...] = (
        {"kind": []},
        {"id": "7"},
        {"at": "1"},
        {"at": -1},
        {"name": "Over"},
        {"name": None},
        {"by": "é" * 32},
        {"body": 1},
    )
    for text in ("{", "7", "[7]", "{}", *(json.dumps([known | each]) for each in wrong)):
        assert not Processes(text)


def test_what_was_decided_is_explained_after_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that a hook has answered, and the call that completed last, of the last run."""
    programs.run(_STEPS, "first")
    programs.run(_STEPS, "second")
    programs.run(_STEPS, "third")
    _carry(tmp_path)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "other"))
    printed = warm.localops("why", "last").stdout
    assert "may or may not have happened" not in printed
    assert "Last completed call: tool 'odd'" in printed
    assert " provided 'asked' as its result, without calling it" in printed


_GOING = """
import sys, time, localops
from localops.decorators import tool, workflow

@tool(once=True, on_uncertain=lambda one: 1)
def step(n):
    if n == 2 and sys.argv[1] == "acting":
        localops.record(localops.ActionEvent("act"))
    if n == 2 and sys.argv[1] != "second":
        print("in step", flush=True)
        sys.stdin.read()
    return n

@workflow
def go():
    return [step(1), time.sleep(0.02), step(2)]

session = localops.resume("last") if sys.argv[1] == "second" else localops.init()
go()
session.end_session("Success")
"""


_RESUMING = "import localops; localops.resume('last')"


def _copies(path: Path, name: str) -> list[Path]:
    """Return new homes with what this one has: one from spans, and one from a bundle."""
    spans, bundle = path / f"{name} of spans", path / f"{name} of a bundle"
    _carry_to(spans)
    file = str(path / f"{name}.lops")
    assert warm.localops("bundle", "-o", file).returncode == 0
    assert warm.localops("import", file, "--home", bundle).returncode == 0
    return [spans, bundle]


def _carry_to(home: Path) -> None:
    file = home.parent / f"{home.name}.otlp"
    with recorded_runs.opened() as runs:
        file.write_bytes(exported(runs))
    assert import_into(home, file) == []


def _printed(home: object) -> list[str]:
    """Return what is printed about a run in a home, except that it was imported, and its machine."""
    lines: list[str] = []
    for command in ("why", "show", "steps"):
        lines += warm.localops(command, "last", "--home", home).stdout.splitlines()
    return [line for line in lines if not line.strip().startswith(("It was imported", "host ", "began "))]


def test_spans_say_of_a_run_what_a_bundle_says(tmp_path: Path) -> None:
    """While it still goes on, both copies print the same; then it is killed, and both warn when they are resumed."""
    program = programs.start(_GOING, "acting")
    programs.first_line(program)
    of_spans, of_bundle = _copies(tmp_path, "running")
    printed = _printed(of_spans)
    assert printed == _printed(of_bundle)
    assert "  Whether it has ended is not known: no end is recorded" in "\n".join(printed)
    assert "! no end is recorded of tool 'step'" in "\n".join(printed)
    programs.kill(program)
    _carry_to(of_spans)
    assert "Indeterminate: process died inside tool 'step'" in warm.localops("why", "last", "--home", of_spans).stdout
    for home in (of_spans, of_bundle):
        resumed = programs.run(_RESUMING, env={"LOCALOPS_HOME": str(home)})
        assert resumed.stderr.endswith("run the same steps\n")
    # This copy is from before it was killed.
    assert "! no end is recorded of tool 'step'" in warm.localops("show", "last", "--home", of_bundle).stdout


def test_spans_of_a_resumed_run_say_what_its_journal_says(tmp_path: Path) -> None:
    """When and by which process it was resumed, what was in progress before, and who gave the result."""
    program = programs.start(_GOING, "first")
    programs.first_line(program)
    programs.kill(program)
    old = tmp_path / "killed"
    _carry_to(old)
    assert programs.run(_GOING, "second").stderr == ""
    _carry_to(tmp_path / "resumed")
    _carry_to(old)
    here = _printed(os.environ["LOCALOPS_HOME"])
    assert _printed(tmp_path / "resumed") == here
    assert _printed(old) == here
    assert f"! process {program.pid} died inside tool 'step'" in "\n".join(here)


def _without_processes(path: Path, home: str) -> str:
    """Return a new home with what an earlier release has exported of this one: no spans had the processes."""
    file = path / f"{home}.otlp"
    with recorded_runs.opened() as runs:
        lines = [json.loads(line) for line in exported(runs).splitlines()]
    for span in [span for line in lines for each in line["resourceSpans"] for span in each["scopeSpans"][0]["spans"]]:
        span["attributes"] = [one for one in span["attributes"] if one["key"] != "localops.session.processes"]
    file.write_text("\n".join(map(json.dumps, lines)))
    _arrive(path / home, file)
    return str(path / home / "other")


def test_an_export_of_an_earlier_release_accuses_no_process(tmp_path: Path) -> None:
    """A killed run may go on elsewhere; of a step that was resumed, it is not known in which process it had begun."""
    (tmp_path / "killed").mkdir()
    (tmp_path / "resumed").mkdir()
    program = programs.start(_GOING, "first")
    programs.first_line(program)
    programs.kill(program)
    killed = _without_processes(tmp_path, "killed")
    assert programs.run(_GOING, "second", env={"LOCALOPS_HOME": killed}).stderr.endswith(
        "both would run the same steps\n"
    )
    assert programs.run(_GOING, "second").stderr == ""
    answered = "! no end is recorded of tool 'step'; when resumed, the program provided its result"
    assert answered in warm.localops("show", "last", "--home", _without_processes(tmp_path, "resumed")).stdout
    assert "! no end is recorded of tool 'step'," in warm.localops("show", "last", "--home", killed).stdout
