"""The JSON of a session and its parts: the same figures under the same names in every place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import localops
from localops.reading import analytics, facts
from localops.reading.analytics import Later
from localops.reading.home import Filters, Home, Project
from tests import made


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
