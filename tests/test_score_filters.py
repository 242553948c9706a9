"""Lists and averages by score: the same from SQL, from rows that are not folded yet, and from the pages' index."""

from __future__ import annotations

import itertools
import json
import operator
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import localops
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import analytics, given_scores
from localops.reading.home import Filters, Home
from localops.recording import scores
from localops.server.home_store import HomeStore
from tests import programs
from tests.examples import examples
from tests.made import event

_VALUE = st.none() | st.booleans() | st.sampled_from([0, 1, 0.25, -3.5, "good", "bad"])
_GIVEN = st.tuples(st.sampled_from(["correct", "kind"]), _VALUE, st.sampled_from(["ann", "bob"]), st.booleans())
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPS = ["", "<0.5", "<=0.25", ">0", ">=1", "=1", "!=1", "=true", "=good", "!=good"]
_ASKED = [f"{name}{by}{op}" for name, by, op in itertools.product(["correct", "kind"], ["", "@ann"], _OPS)]


def _expected(given_to: list[tuple[str, Any, str, bool]], asked: str) -> bool:
    """Return, by the words of the documentation, whether a session passes; of equal ones the last is the newest."""
    wanted = scores.condition(asked)
    newest = {(name, by, of_event): value for name, value, by, of_event in given_to}
    for (name, by, _), value in newest.items():
        if name != wanted.name or wanted.author not in (None, by) or value is None:
            continue
        if wanted.op is None:
            passes = value is not False
        elif isinstance(value, str) != isinstance(wanted.value, str):
            passes = wanted.op == "!="
        else:
            passes = _COMPARED[wanted.op](value, wanted.value)
        if passes:
            return True
    return False


def _written(journal: Journal, number: int, given_to: list[tuple[str, Any, str, bool]]) -> bytes:
    session = bytes([number + 1]) * 16
    journal.append(event(f"run {number}", "session", session))
    plan = event("plan", session=session)
    journal.append(plan)
    for at, (name, value, by, of_event) in enumerate(given_to):
        id = bytes([number + 1, at + 1]) * 8
        body = json.dumps({"value": value, "by": by})
        target = plan[rows.COLUMNS.index("id")] if of_event else None
        journal.append(rows.make("scored", session, id=id, at_ns=10, end_ns=at, name=name, parent=target, body=body))
    return session


@settings(max_examples=examples(12))
@given(
    runs=st.lists(st.lists(_GIVEN, max_size=5), min_size=1, max_size=4),
    folded=st.booleans(),
)
def test_a_list_has_the_sessions_with_such_a_score(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[str, Any, str, bool]]], folded: bool
) -> None:
    """For every operator, author and type, from each of the three places that can answer."""
    home = str(tmp_path_factory.mktemp("home"))
    journal = Journal(f"{home}/default")
    journal.append(event("first"))
    journal.fold()
    with Home(home) as opened:
        # What comes after it was opened is not folded by it.
        sessions = [_written(journal, number, given_to) for number, given_to in enumerate(runs)]
        if folded:
            journal.fold()
        assert bool(opened.projects[0].ask("fresh")) is not folded
        store = HomeStore(home)
        try:
            for asked in _ASKED:
                passing = {one for one, given_to in zip(sessions, runs, strict=True) if _expected(given_to, asked)}
                filters = Filters(score=(asked,))
                assert {one.session for one in opened.sessions(filters)} == passing, asked
                listed, _ = store.sessions("default", filters, before=None, limit=50, sort="events")
                assert {uuid.UUID(one["session_id"]).bytes for one in listed} == passing, asked
                assert store.facets("default", None, filters)["sessions"] == len(passing), asked
        finally:
            store.close()
    journal.close()


def _judged(name: str, *values: Any, by: str = "human", tag: str | None = None) -> localops.Session:
    session = localops.start_session(name=name, tags=tag)
    for value in values:
        session.score("correct", value, by=by)
    session.end_session("Success")
    return session


def _names(**filters: Any) -> list[str | None]:
    with Home() as home:
        return [one.name for one in home.sessions(Filters(**filters))]


def test_filters_by_score_go_with_others() -> None:
    """Several scores, a tag, a state, and pages of the list."""
    for number in range(5):
        session = _judged(f"run {number}", number, tag="even" if number % 2 == 0 else "odd")
        session.score("kind", "good" if number < 3 else "bad")
    assert _names(score=("correct>=1",)) == ["run 4", "run 3", "run 2", "run 1"]
    assert _names(score=("correct>=1", "kind=good")) == ["run 2", "run 1"]
    assert _names(score=("correct>=1",), tag="even") == ["run 4", "run 2"]
    assert _names(score=("correct>=1",), state="Failure") == []
    with Home() as home:
        first, second, *_ = home.sessions(Filters(score=("correct>=1",)))
        later = home.sessions(Filters(score=("correct>=1",)), before=str(uuid.UUID(bytes=second.session)))
        assert [one.name for one in later] == ["run 2", "run 1"]
        assert first.name == "run 4"


def test_a_list_in_pages_has_each_session_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, and whichever way it is read: by the score, or in the order of time."""
    from localops.reading import home as reading

    for number in range(7):
        _judged(f"run {number}", number)
    expected = [f"run {number}" for number in range(6, 1, -1)]
    monkeypatch.setattr(reading, "_PAGE", 2)
    assert _names(score=("correct>=2",)) == expected
    monkeypatch.setattr(reading, "_COUNTED", 3)
    assert _names(score=("correct>=2",)) == expected


@pytest.mark.parametrize("asked", ["", "<5", "a<<3", "a=", "a<nan", "a<good", "a!", "a@", "a@ <1"])
def test_a_filter_that_means_nothing_is_refused(asked: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match="invalid score"):
        scores.condition(asked)


def test_averages_have_their_intervals() -> None:
    """By name, author and type; what no longer counts is not in them."""
    for number in range(10):
        session = _judged(f"run {number}", 99, number / 10)
        session.score("passed", number < 8, by="ci")
        session.score("kind", "good" if number < 5 else "bad", by="ci")
    session.score("kind", None, by="ci")
    with Home() as home:
        lines = given_scores.averages(given_scores.counted(home.projects[0].reader, analytics.Chosen()))
    shown = [(one.name, one.author, one.label, one.many, round(one.mean, 3), one.interval) for one in lines]
    assert shown == [
        ("correct", "human", None, 10, 0.45, "t"),
        ("kind", "ci", "good", 5, 0.556, "wilson"),
        ("kind", "ci", "bad", 4, 0.444, "wilson"),
        ("passed", "ci", None, 10, 0.8, "wilson"),
    ]
    by_name = {one.name: one for one in lines}
    # By hand: 0.45 ± 2.262157 · 0.3027650 / √10, and Wilson's for 8 of 10.
    assert [by_name["correct"].low, by_name["correct"].high] == pytest.approx([0.233415, 0.666585], abs=1e-5)
    assert [by_name["passed"].low, by_name["passed"].high] == pytest.approx([0.490162, 0.943318], abs=1e-5)


def test_averages_are_of_the_chosen_sessions() -> None:
    """By tag and by time, with those of events apart."""
    first = _judged("one", 1, tag="red")
    second = _judged("two", 3)
    second.record(plan := localops.ActionEvent(action_type="late"))
    second.score("correct", 7, by="human", event=plan)
    with Home() as home:
        reader = home.projects[0].reader
        began = home.projects[0].position(second.session_id.bytes)[0]
        for chosen, means in (
            (analytics.Chosen(), {"session": 2, "event": 7}),
            (analytics.Chosen(tag="red"), {"session": 1}),
            (analytics.Chosen(since=began), {"session": 3, "event": 7}),
            (analytics.Chosen(until=began), {"session": 1}),
        ):
            lines = given_scores.averages(given_scores.counted(reader, chosen))
            assert {one.of: one.mean for one in lines} == means
    assert first.scores
    assert programs.sessions()
