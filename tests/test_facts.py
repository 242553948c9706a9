"""The JSON of a session and its parts: the same figures under the same names in every place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal.reader import Reader
from localops.reading import analytics, facts, session_details
from localops.reading.analytics import Later
from localops.reading.home import Filters, Home, Project
from tests import made, programs


@pytest.fixture
def project() -> Iterator[Project]:
    """Return a project with one session: a call with a price, one without, a tool, and an error."""
    session = localops.init(tags=["nightly"], trace_name="run")
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt_tokens=1_000, completion_tokens=10))
    session.record(localops.LLMEvent(model="unknown-model", prompt_tokens=1, completion_tokens=1))
    session.record(localops.ToolEvent(name="search"))
    session.record(localops.ErrorEvent(error_type="E", details="no"))
    session.end_session("Failure", "so it is")
    with Home() as home:
        yield home.projects[0]


def test_a_session_is_the_same_in_a_list_and_by_itself(project: Project) -> None:
    """All fields that both have are equal."""
    (listed,) = project.sessions(Filters())
    seen = project.snapshot(listed.session)
    alone = facts.session(project.name, seen, seen.report())
    in_list = facts.listed(listed)
    assert {name: alone[name] for name in in_list} == in_list
    assert (alone["name"], alone["reason"], alone["tags"]) == ("run", "so it is", ["nightly"])
    assert (alone["llm_calls"], alone["tool_calls"], alone["errors"], alone["unpriced"]) == (2, 1, 1, 1)
    assert sum(part["cost_nano"] for part in alone["by_model"]) == alone["cost_nano"]


def test_an_unknown_cost_is_no_number() -> None:
    """An unknown cost cannot be added up; a known one has a form to read and one to count with."""
    assert facts.money(None) == {"cost_usd": None, "cost_nano": None}
    assert facts.money(1_500_000_000) == {"cost_usd": 1.5, "cost_nano": 1_500_000_000}


def test_an_event_has_its_later_prices_and_its_times() -> None:
    """In nanoseconds as pages draw it, as a date and a length as commands print it."""
    (row,) = made.stored([made.event("m", "llm", at_ns=3_000_000_000, start_ns=1_000_000_000, cost=5)])
    event = facts.event(row, None, Later(cost=7, failed=0, unbilled=0))
    assert (event["start_ns"], event["end_ns"], event["cost_nano"]) == (1_000_000_000, 3_000_000_000, 12)
    dated = facts.dated(analytics.plain(row, None))
    assert (dated["began"], dated["seconds"], dated["cost_nano"]) == ("1970-01-01T00:00:01.000000+00:00", 2.0, 5)
    assert not {"start_ns", "end_ns", "cost"} & dated.keys()


class _Counting(Reader):
    """A reader that keeps the statements it ran."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.statements: list[str] = []

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        self.statements.append(statement)
        return super().ask(statement, *values)


# A process that dies in a call of each of three agents.
_DIES = """
import os, localops
session = localops.start_session()
for name in "abc":
    agent = session.create_agent(name)
    session.operation("ask", kind="llm", model="gpt-4o", agent_id=agent).open()
session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=10, completion_tokens=1))
os._exit(9)
"""


def test_a_session_page_reads_the_journal_eleven_times_at_most() -> None:
    """Also with calls of agents that never ended and a remote that lacks rows; no statement runs twice."""
    assert programs.run(_DIES).returncode == 9
    remotes = {"hub": {"kind": "hub", "url": "http://127.0.0.1:1"}}
    (Path(programs.project()) / "remotes.json").write_text(json.dumps(remotes))
    with Home(read=_Counting) as home:
        where, id = home.find("last")
        reader: Any = where.reader
        reader.statements.clear()
        snapshot = where.snapshot(id)
        page = {**facts.session(where.name, snapshot, snapshot.report()), **session_details.more(where, snapshot)}
        assert page["sync"][0]["waiting"] == snapshot.totals.rows
    assert len(reader.statements) <= 11
    assert len(set(reader.statements)) == len(reader.statements)
    agents = sorted((part["agent"], part["cost_at_least"]) for part in page["by_agent"])
    assert agents == [(name, True) for name in "abc"]
