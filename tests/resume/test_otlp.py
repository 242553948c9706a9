"""A run that went through a file of OTLP spans repeats no step that is done, or is not resumed."""

from __future__ import annotations

import json
from typing import Any

import pytest

import localops
from localops.journal import rows
from localops.otlp.step_rows import split
from tests import programs, recorded_runs, warm
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
    """An older export, a lost span and a text that a collector cut: `resume` and `steps` say why."""
    programs.run(PAYING, "first", "a", "b")
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


def test_a_step_that_says_nonsense_is_no_step() -> None:
    """An invalid attribute, which another program wrote, is no reason to fail."""
    body = {"once": {"kept": "none"}, "params": 1}
    for text in ("{", "7", "{}", '{"opened":7,"sum":""}', '{"opened":{"keys":["x"],"body":{}},"sum":""}'):
        assert split(body, text) == ({"params": 1}, None)
    assert split(body, None) == (body, None)


def test_what_was_decided_is_explained_after_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that a hook has answered, and the call that completed last, of the last run."""
    programs.run(_STEPS, "first")
    programs.run(_STEPS, "second")
    programs.run(_STEPS, "third")
    _carry(tmp_path)
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "other"))
    printed = warm.localops("why", "last").stdout
    assert "may or may not have happened" not in printed
    assert "the last row of its run" not in printed
    assert "the program provided 'asked' as its result, without calling it" in printed
    assert "Last completed call: tool 'odd'" in printed
