"""`localops demo`: an example run, recorded in an instant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localops import cli
from localops.cli.group import COMMANDS
from localops.journal.reader import Reader
from localops.reading import analytics


def _demo(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", *arguments])
    assert ended.value.code == 0


def test_the_demo_shows_figures_and_what_to_type_next(capsys: pytest.CaptureFixture[str]) -> None:
    """Its output has the six figures, a price for every call, and commands that exist."""
    _demo()
    out, err = capsys.readouterr()
    assert err == ""
    assert "LLM calls   3" in out
    assert "unpriced" not in out
    commands = {line.split()[1] for line in out.splitlines() if line.startswith("  localops ")}
    assert commands <= {name for names in COMMANDS.values() for name in names.split()}


def test_the_demo_records_agents_operations_and_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the journal it is a whole run: nested, tagged, priced, ended."""
    _demo("--json")
    document = json.loads(capsys.readouterr().out)
    with Reader(str(tmp_path / "home" / "demo" / "journal.db")) as reader:
        session = bytes.fromhex(document["session_id"].replace("-", ""))
        events = list(analytics.events(reader, session))
        figures = analytics.totals(reader, session)
    assert {"agent", "workflow", "operation", "llm", "tool", "guardrail", "error"} <= {e["kind"] for e in events}
    assert all(event["finished"] for event in events)
    assert sum(1 for event in events if event["parent"]) > 8
    assert figures.unpriced == 0
    assert document["analytics"]["LLM calls"] == figures.llms == 3
