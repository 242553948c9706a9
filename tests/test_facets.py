"""Users, conversations and metadata: what sessions and events are about, kept as tags."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest

import localops
from localops.decorators import tool
from localops.encoding import facets
from localops.journal import rows
from localops.reading import analytics
from localops.reading.home import Filters, Home
from tests import programs, warm


def tags() -> dict[str, list[str]]:
    """Return the tags of each finished event, by its name or kind."""
    with programs.reader() as reader:
        events = reader.ask("select coalesce(name, kind), tags, kind from event where phase = 0")
    return {name: json.loads(text or "[]") for name, text, kind in events if kind not in rows.BOOKS}


def listed(**filters: Any) -> list[str | None]:
    """Return the names of the sessions that pass filters, the oldest first."""
    with Home() as home:
        return [each.name for each in home.sessions(Filters(**filters))][::-1]


def test_the_examples_hold() -> None:
    """Those of the functions' docstrings."""
    assert doctest.testmod(facets).failed == 0


def test_a_session_is_found_by_what_it_is_about() -> None:
    """User, conversation and metadata that it was started with; all that are asked for must match."""
    for name, user in (("one", "ann"), ("two", "bob")):
        localops.start_session(
            name=name, user=user, conversation="c-1", metadata={"team": "sea", "tries": 3, "crew": ["a"]}
        ).end_session("Success")
    assert listed(user="ann") == ["one"]
    assert listed(conversation="c-1") == ["one", "two"]
    assert listed(conversation="c-1", meta=("team=sea", "tries=3"), user="bob") == ["two"]
    assert listed(meta=("team=land",)) == listed(user="eve") == listed(meta=("crew=a",)) == []
    with Home() as home:
        [session, _] = home.sessions()
        assert session.project.snapshot(session.session).story.metadata["crew"] == ["a"]


def test_init_takes_them_too() -> None:
    """The first session of a program can have a user, too."""
    session = localops.init(user="ann", conversation="c-1", metadata={"team": "sea"}, tags=["x"])
    assert set(session.tags) == {"x", "user=ann", "conversation=c-1", "team=sea"}
    session.set_tags(["y"])
    assert session.tags == ["y", "user=ann", "conversation=c-1", "team=sea"]
    session.update_metadata({"team": "land"}, facets=True)
    assert session.tags == ["y", "user=ann", "conversation=c-1", "team=land"]
    session.update_metadata({"secret": "of the sea"})
    assert len(session.tags) == 4


def test_what_happens_in_an_operation_is_about_the_same() -> None:
    """Events, tools and inner operations inherit them, unless they have their own; nothing later does."""

    @tool
    def inner() -> None:
        localops.record(localops.ActionEvent(action_type="deep"))

    session = localops.init()
    with session.operation("turn", user="ann", conversation="c-1", metadata={"step": 1}):
        localops.record(localops.LLMEvent(model="gpt-4o", name="call"))
        localops.record(localops.ActionEvent(action_type="other", user="bob", tags="x"))
        inner()
    localops.record(localops.ActionEvent(action_type="after"))
    about = ["user=ann", "conversation=c-1", "step=1"]
    assert tags() == {
        "turn": about,
        "call": about,
        "inner": about,
        "deep": about,
        "other": ["x", "user=bob", "conversation=c-1", "step=1"],
        "after": [],
    }
    assert session.recorder.operation_facets == {}


@pytest.mark.parametrize("make", [localops.ActionEvent, localops.LLMEvent, localops.ToolEvent, localops.ErrorEvent])
def test_every_event_takes_them(make: Any) -> None:
    """Metadata is kept whole beside the facets that its plain values become."""
    localops.init()
    localops.record(make(user="ann", conversation="c", metadata={"a": True, "b": {"c": 1}}, tags=("x",)))
    assert list(tags().values()) == [["x", "user=ann", "conversation=c", "a=true"]]
    with programs.reader() as reader:
        [(body,)] = reader.ask("select body from event where tags is not null and kind not in ('tags', 'session')")
    assert json.loads(body)["metadata"] == {"a": True, "b": {"c": 1}}


def test_strange_values_harm_nothing() -> None:
    """Whatever a program gives, the event is recorded."""

    class Strange:
        def __str__(self) -> str:
            raise ValueError("no text")

        def __iter__(self) -> Any:
            raise ValueError("no items")

    localops.init()
    for event in (
        localops.ActionEvent(action_type="a", user=Strange(), metadata=Strange()),  # type: ignore[arg-type]
        localops.ActionEvent(action_type="b", user="u" * 1_000, tags=Strange()),
        localops.ActionEvent(action_type="c", metadata={7: 1, "x=y": 2, "user": "eve", "n": float("nan")}),  # type: ignore[dict-item]
    ):
        localops.record(event)
    by_name = tags()
    assert by_name.keys() == {"a", "b", "c"}
    assert by_name["c"] == ["n=nan"]
    assert all(len(tag) <= 256 for each in by_name.values() for tag in each)


def test_figures_count_by_user() -> None:
    """All of a session for its own user, those of single events for theirs; folded or not, of one or of many."""
    for user in ("ann", "ann", None):
        session = localops.start_session(user=user)
        for own in (None, "bob"):
            session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=1000, completion_tokens=0, user=own))
        session.end_session("Success")
    expected = [("ann", 2, 4, 10_000_000), ("bob", 3, 3, 7_500_000)]
    with Home() as home:
        [project] = home.projects
        for _ in range(2):
            lines = analytics.across(project.reader, "user", analytics.Chosen())
            assert [(line.value, line.sessions, line.events, line.cost) for line in lines] == expected
            _fold(project.folder)
        assert analytics.across(project.reader, "meta:team", analytics.Chosen()) == []
    with programs.reader() as reader:
        parts = analytics.of_facet("user", analytics.tags(reader, programs.sessions()[0], until=0))
    assert [(part.value, part.events) for part in parts] == [("ann", 2), ("bob", 1)]


def _fold(folder: str) -> None:
    from localops.journal.journal import Journal

    journal = Journal(folder)
    journal.fold()
    journal.close()


def test_the_commands_know_them() -> None:
    """Filters and tables, and what is no filter."""
    localops.start_session(name="day", user="ann", metadata={"team": "sea"}).end_session("Success")
    localops.start_session(name="night").end_session("Success")

    def run(*arguments: str) -> Any:
        return json.loads(warm.localops(*arguments, "--json").stdout)

    assert [each["name"] for each in run("sessions", "--user", "ann", "--meta", "team=sea")["sessions"]] == ["day"]
    assert [line["meta:team"] for line in run("analytics", "--by", "meta:team")["lines"]] == ["sea"]
    for wrong in (["sessions", "--meta", "team"], ["analytics", "--by", "meta:"], ["analytics", "--by", "x"]):
        assert warm.localops(*wrong).returncode == 2


def test_a_span_brings_its_user_and_conversation() -> None:
    """Also where it names them only at its end; what happens inside is about the same."""
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from localops import otel

    localops.init()
    tracer = otel.install(trace.TracerProvider()).get_tracer("x")
    with tracer.start_as_current_span("turn", attributes={"user.id": "ann", "session.id": "s-1"}) as span:
        localops.record(localops.ActionEvent(action_type="inside"))
    with tracer.start_as_current_span("late") as span:
        span.set_attribute("user.id", "bob")
        span.set_attribute("gen_ai.conversation.id", "c-1")
    about = ["user=ann", "conversation=s-1"]
    assert tags() == {"turn": about, "inside": about, "late": ["user=bob", "conversation=c-1"]}
