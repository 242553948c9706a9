"""`localops tail`: the last events of a home, in the order in which they happened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import localops
from localops import LLMEvent
from tests import warm

Command = Callable[..., tuple[int, str, str]]


def test_the_last_events_of_several_projects_are_in_order(command: Command) -> None:
    """Of two runs at once, the last lines are the last of both, however many projects there are."""
    sessions = [localops.start_session(config=localops.Config(project=name)) for name in ("b", "a")]
    for step in range(4):
        for session in sessions:
            assert session is not None
            session.record(localops.ActionEvent(action_type=f"step{step}"))
    lines = command("tail", "-n", "3")[1].splitlines()
    assert [(line.split()[1], line.split()[4]) for line in lines] == [
        ("a", "step2"),
        ("b", "step3"),
        ("a", "step3"),
    ]


def test_json_is_a_document_a_line(command: Command) -> None:
    """A stream has no end, so each row is a document of its own."""
    session = localops.start_session()
    assert session is not None
    session.record(localops.ActionEvent(action_type="plan", params="two\nlines"))
    documents = [json.loads(line) for line in command("tail", "--json")[1].splitlines()]
    assert [(line["schema_version"], line["row"]["kind"]) for line in documents] == [(1, "session"), (1, "action")]


def test_waiting_for_a_first_session_prints_a_notice(tmp_path: Path) -> None:
    """`tail -f` of an empty home prints what it waits for, and where."""
    (tmp_path / "home").mkdir()
    waiting = warm.start(
        [sys.executable, "-m", "localops", "tail", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert waiting.stderr is not None
    line = waiting.stderr.readline()
    waiting.kill()
    waiting.communicate()
    assert "waiting for the first session" in line
    assert str(tmp_path / "home") in line


def test_the_figures_of_a_line_are_never_cut(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow terminal the name of a model is cut, what it cost is not."""
    monkeypatch.setenv("COLUMNS", "60")
    session = localops.start_session()
    assert session is not None
    session.record(LLMEvent(model="a-model-with-a-name-that-is-rather-long", prompt_tokens=9, cost=0.25))
    line = command("tail")[1].splitlines()[-1]
    assert len(line) <= 60
    assert "…  $0.2500  " in line


def test_a_later_price_is_a_line_with_its_model_and_amount(command: Command) -> None:
    """A call without tokens prints none, and one that was not billed is not for free."""
    session = localops.start_session()
    session.record(LLMEvent(model="m", prompt_tokens=1_000_000, completion_tokens=0))
    session.record(LLMEvent(model="uncounted"))
    session.record(localops.ErrorEvent(trigger_event=LLMEvent(model="refused"), code="401"))
    assert command("prices", "set", "m", "--input", "2", "--output", "1")[0] == 0
    lines = {" ".join(line.split()[2:]) for line in command("tail")[1].splitlines()}
    assert "price of m: localops prices set $2.00" in lines
    assert "llm uncounted unpriced <1ms" in lines
    assert any(line.startswith("llm refused not billed") for line in lines)
