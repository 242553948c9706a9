"""Terminals that are too narrow for a table: nothing that names, counts or costs something is cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import localops
from localops import LLMEvent, ToolEvent
from localops.reading.home import Home

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ids() -> dict[str, str]:
    """Two sessions, each with an unpriced call and one that costs; their ids by their names."""
    for name in ("a long name of a session that is cut", "another"):
        with localops.start_session(name=name) as session:
            session.record(LLMEvent(model="an-unknown-model", prompt_tokens=1, completion_tokens=1))
            session.record(ToolEvent(name="buy", cost=0.000012))
            session.create_agent("planner")
    with Home() as home:
        return {str(one.name): one.session.hex() for one in home.sessions()}


@pytest.mark.parametrize("columns", [20, 30, 40, 50, 60, 80, 120])
@pytest.mark.parametrize(
    ("words", "costs"),
    [("sessions", 2), ("show --events", 1), ("analytics --by session", 2), ("analytics --by tool", 1)],
)
def test_whatever_the_width_ids_and_figures_are_whole(
    command: Command, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch, columns: int, words: str, costs: int
) -> None:
    """A table, or where it does not fit, a block for each row; the table is no wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = command(*words.split())
    assert code == 0
    assert out.count("$0.0000") == costs
    if words in ("sessions", "analytics --by session"):
        assert all(f"{id[:8]}-{id[8:12]}" in out for id in ids.values())
        assert out.count("$0.000012 + ?") == 2
    rule = next((line for line in out.splitlines() if line.startswith("──")), "")
    assert len(rule) <= columns


@pytest.mark.parametrize("columns", [30, 40])
def test_a_block_has_every_column(
    command: Command, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """It has what a table would have dropped, but nothing empty."""
    monkeypatch.setenv("COLUMNS", str(columns))
    blocks = command("sessions")[1].split("\n\n")
    assert len(blocks) == len(ids)
    for block in blocks:
        names = [line.split()[0] for line in block.splitlines() if not line.startswith(" ")]
        assert names == ["id", "name", "state", "began", "took", "llm", "tools", "errors", "tokens", "cost"]


def test_a_file_has_no_bars(command: Command, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn on a terminal only, where they have no name."""
    assert "█" not in command("analytics", "--by", "session")[1]
    monkeypatch.setenv("COLUMNS", "120")
    assert "█" in command("analytics", "--by", "session")[1]
