"""Figures: exact at every instant, and the same in every query."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import localops
from localops import ActionEvent, ErrorEvent, LLMEvent, ToolEvent, clock, config
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.reading.analytics import Chosen, percentile
from localops.reading.home import Home
from localops.reading.story import Story
from tests.examples import examples

SECOND = 1_000_000_000


def _started(**options: object) -> localops.Session:
    session = localops.start_session(**options)  # type: ignore[arg-type]
    assert session is not None
    return session


def _report(session: localops.Session, *, percentiles: bool = False) -> analytics.Report:
    with Home() as home:
        project, id = home.find(str(session.session_id))
        return project.snapshot(id).report(percentiles=percentiles)


def test_a_report_has_the_parts_of_the_whole() -> None:
    """By model, tool and agent, with the figures of each."""
    session = _started()
    agent = session.create_agent("Writer")
    session.record(LLMEvent(model="a", prompt_tokens=10, completion_tokens=5, cost=0.5, agent_id=agent))
    session.record(LLMEvent(model="b", prompt_tokens=1, completion_tokens=1))
    session.record(ErrorEvent(trigger_event=ToolEvent(name="grep"), exception=ValueError("no")))
    session.end_session("Success")
    report = _report(session)
    assert {part.value: (part.events, part.cost, part.unpriced) for part in report.by["model"]} == {
        "a": (1, 500_000_000, 0),
        "b": (1, 0, 1),
    }
    assert [(part.value, part.events, part.failed) for part in report.by["tool"]] == [("grep", 1, 1)]
    assert [(part.value, part.tokens_in) for part in report.by["agent"]] == [("Writer", 10)]
    assert analytics.error_rate(report.totals) == pytest.approx(1 / 4)


def test_an_event_is_found_by_its_own_tags_and_by_those_of_its_session() -> None:
    """The tags are those that the session has in the end: a later tag counts for earlier events."""
    session = _started(tags=["gone"])
    session.record(ActionEvent(action_type="a", tags=["own", "kept"]))
    session.record(ActionEvent(action_type="b"))
    session.set_tags(["kept", "late"])
    session.end_session("Success")
    ask = "select name, tag from event_tag join event_detail using (id) order by 1, 2"
    with Home() as home:
        tags = home.find(str(session.session_id))[0].reader.ask(ask)
    assert tags == [("a", "kept"), ("a", "late"), ("a", "own"), ("b", "kept"), ("b", "late")]


def test_unfinished_and_late_events_are_counted() -> None:
    """An open operation is a figure of its own, and so is an event after the end."""
    session = _started()
    session.begin("tool", "slow")
    session.end_session("Success")
    session.record(ActionEvent())
    report = _report(session)
    assert (report.unfinished, report.late, report.totals.actions) == (1, 1, 1)


def test_losses_are_rows(tmp_path: Path) -> None:
    """Spilled, dropped and cut values are the sums of the rows about them."""
    journal = Journal(str(tmp_path / "home" / "default"))
    session = clock.new_id()
    for body in ('{"spilled":3,"dropped":1}', '{"spilled":2,"dropped":0}', '{"cut":4}'):
        journal.append(rows.make("loss", session, id=clock.new_id(), at_ns=clock.now_ns(), body=body))
    assert Story.read(journal, session).losses == (5, 1, 4)
    journal.close()


def test_percentiles_of_a_long_session_are_computed_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long session is read at once, and marks that percentiles are left out."""
    session = _started()
    for number in range(3):
        session.record(ToolEvent(name="t", init_timestamp=100.0, end_timestamp=101.0 + number))
    session.end_session("Success")
    monkeypatch.setattr(analytics, "EXACT_UP_TO", 2)
    assert _report(session).took is None
    assert _report(session, percentiles=True).took == {"tool": [2 * SECOND, 3 * SECOND, 3 * SECOND]}


def test_a_day_is_the_day_of_its_zone(tmp_path: Path) -> None:
    """The same sessions, by days of UTC and of a zone half an hour off, have the same sums."""
    journal = Journal(str(tmp_path / "home" / "default"))
    evening = 1_700_000_000 // 86_400 * 86_400 + 18 * 3600 + 45 * 60  # 18:45 UTC, 00:15 in Kolkata
    for at in (evening, evening - 3600):
        id = clock.new_id()
        journal.append(rows.make("llm", id, id=clock.new_id(), at_ns=at * SECOND, cost=7, model="m"))
    journal.close()
    with Home() as home:
        reader = home.projects[0].reader
        assert [(line.sessions, line.cost) for line in analytics.across(reader, "day", Chosen())] == [(2, 14)]
        there = analytics.across(reader, "day", Chosen(), tz="Asia/Kolkata")
    assert [(line.sessions, line.cost) for line in there] == [(1, 7), (1, 7)]


_COST = st.none() | st.integers(0, 10**12)
_CALL = st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), _COST, st.integers(0, 9))


@settings(max_examples=examples(20))
@given(st.lists(_CALL, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_breakdowns_add_up_to_the_sessions_in_any_order(
    calls: list[tuple[int, str, int | None, int]], random: object
) -> None:
    """In any order of rows, days, sessions, models and kinds have the sums of the totals."""
    from tempfile import TemporaryDirectory

    ids = [clock.new_id() for _ in range(4)]
    calls_made = [
        rows.make("llm", ids[n], id=clock.new_id(), at_ns=(1 + day) * 86_400 * SECOND, model=model, cost=cost)
        for n, model, cost, day in calls
    ]
    random.shuffle(calls_made)  # type: ignore[attr-defined]
    with TemporaryDirectory() as folder:
        journal = Journal(f"{folder}/p")
        journal.add(calls_made)
        totals = [analytics.totals(journal, id) for id in ids]
        journal.close()
        with Home(folder) as home:
            reader = home.projects[0].reader
            overall = analytics.overall(reader, Chosen())
            lines = {by: analytics.across(reader, by, Chosen()) for by in ("day", "session", "model", "kind")}
    expected = tuple(sum(getattr(one, name) for one in totals) for name in ("events", "cost", "unpriced"))
    assert (overall.events, overall.cost, overall.unpriced) == expected
    for by, parts in lines.items():
        sums = tuple(sum(getattr(part, name) for part in parts) for name in ("events", "cost", "unpriced"))
        assert sums == expected, by


_TAGS = st.sampled_from([None, "[]", '["a"]', '["a","b"]', '["c"]'])
_ROW = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["session", "tags", "agent", "llm", "llm", "tool", "error", "action", "end"]),
        "session": st.integers(0, 2),
        "at": st.integers(0, 3),
        "name": st.sampled_from(["set", "add", "x"]),
        "tags": _TAGS,
        "cost": _COST,
        "agent": st.integers(0, 2),
    }
)


@settings(max_examples=examples(8))
@given(st.lists(_ROW, min_size=1, max_size=25), st.integers(0, 25))
def test_what_is_folded_and_what_is_not_have_the_same_figures(found: list[dict[str, Any]], some: int) -> None:
    """However much of the stream is folded: each breakdown of each choice of sessions is what it is in the end."""
    from tempfile import TemporaryDirectory

    ids, agents = [clock.new_id() for _ in range(3)], [clock.new_id() for _ in range(3)]
    with TemporaryDirectory() as folder:
        journal = Journal(f"{folder}/p")
        named = set()
        for number, row in enumerate(found):
            if number == some:
                journal.fold()
            agent = agents[row["agent"]]
            if row["kind"] != "agent" or agent not in named:  # a row's identity comes once
                journal.append(_row(ids[row["session"]], agent, row))
            if row["kind"] == "agent":
                named.add(agent)
        with Reader(f"{folder}/p/{config.JOURNAL}") as reader:
            before = _every_breakdown(reader)
            journal.fold()
            assert before == _every_breakdown(reader)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(analytics, "_FEW_NAMES", 1)  # as where there are many
                assert before == _every_breakdown(reader)
        journal.close()


def _row(session: bytes, agent: bytes, row: dict[str, Any]) -> rows.Row:
    is_call, is_agent = row["kind"] == "llm", row["kind"] == "agent"
    return rows.make(
        row["kind"],
        session,
        id=agent if is_agent else clock.new_id(),
        at_ns=(1 + row["at"]) * 86_400 * SECOND,
        name=row["name"],
        agent=None if is_agent else agent,
        model=f"m-{row['name']}" if is_call else None,
        cost=row["cost"] if is_call else None,
        tags=None if is_agent or row["kind"] == "end" else row["tags"],
        body="{}",
    )


def _every_breakdown(reader: Reader) -> dict[object, object]:
    day = 86_400 * SECOND
    choices = [Chosen(), Chosen(tag="a"), Chosen(tag="c"), Chosen(since=2 * day), Chosen(2 * day, 3 * day, "b")]
    return {
        (chosen, by): sorted(analytics.across(reader, by, chosen), key=repr)
        for chosen in choices
        for by in analytics.ACROSS
    }


@given(st.lists(st.integers(), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values(values: list[int], share: float) -> None:
    """By nearest rank, at least that share of the values is not above it, and it is one of them."""
    value_there = percentile(values, share)
    assert value_there in values
    assert value_there is not None
    assert sum(value <= value_there for value in values) >= share * len(values) - 1e-6


def test_of_nothing_there_is_no_percentile() -> None:
    """Without values there is none."""
    assert percentile([], 0.5) is None


_WALKS = [["SCAN", table] for table in ("total", "facet", "f")]


def test_figures_of_a_day_do_not_walk_all_sessions() -> None:
    """A query of a few sessions uses an index, however many there are; so does one of a single session."""
    session = _started()
    session.end_session("Success")
    asked = {name: analytics.statement(name) for name in ("quarters", "by_session")}
    asked |= {name: analytics.statement(name, of_parts=True) for name in ("by_facet", "by_agent", "by_tag")}
    asked["one"] = "select * from session_total where session = :session"
    values = {**Chosen()._asdict(), "running": "[]", "now_ns": 0, "many": 5, "session": b"", "dim": "model"}
    with Home() as home:
        for name, statement in asked.items():
            used = {key: value for key, value in values.items() if f":{key}" in statement}
            plan = [row[3] for row in home.projects[0].reader.ask(f"explain query plan {statement}", used)]
            assert not [step for step in plan if step.split()[:2] in _WALKS], (name, plan)


@pytest.mark.parametrize(("name", "dim"), [("by_facet", "model"), ("by_tag", "tag")])
def test_figures_of_a_day_by_a_few_names_read_no_other_day(name: str, dim: str) -> None:
    """The facets of each name are looked up by the time that is asked for."""
    _started().end_session("Success")
    asked = analytics.statement(name, of_parts=True, of_names=True)
    values = {**Chosen()._asdict(), "running": "[]", "now_ns": 0, "dim": dim, "names": '["m"]'}
    used = {key: value for key, value in values.items() if f":{key}" in asked}
    with Home() as home:
        plan = [row[3] for row in home.projects[0].reader.ask(f"explain query plan {asked}", used)]
    looked_up = [step for step in plan if step.startswith("SEARCH f USING PRIMARY KEY")]
    assert looked_up
    assert all("dim=? AND value=? AND start_ns" in step for step in looked_up), looked_up
