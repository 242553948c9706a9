"""What the books say of a session: read once, and the same as SQL says it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading.story import Story, milestone
from tests.examples import examples

_SESSION = clock.new_id()


def _story(*books: rows.Row) -> Story:
    return Story(map(milestone, books))


def _row(kind: str, at_ns: int = 5, body: dict[str, Any] | None = None, **columns: Any) -> rows.Row:
    text = None if body is None else json.dumps(body)
    return rows.make(kind, _SESSION, id=clock.new_id(), at_ns=at_ns, body=text, **columns)


def test_a_session_without_a_word_has_an_empty_story() -> None:
    """Nothing is known, and nothing is made up."""
    story = _story()
    assert (story.name, story.tags, story.host, story.video, story.budget, story.end_seq) == (None, [], *[None] * 4)
    assert (story.host_env, story.metadata, story.losses, story.present()) == ({}, {}, (0, 0, 0), {})
    assert (story.declared_end(), story.derived_end(0), list(story.participants())) == (None, None, [])


def test_the_first_name_holds_and_the_last_word_on_everything_else() -> None:
    """Names do not change; a machine is described in two rows, and metadata, video and budget may be given again."""
    story = _story(
        _row("session", body={"host": "a", "host_env": {"OS": {"Hostname": "a"}}, "budget_usd": 1.0}),
        _row("join", name="first", body={"host": "b", "budget_usd": 2.5}),
        _row("join", name="second"),
        _row("host", body={"host_env": {"CPU": 4}}),
        _row("video", body={"video": "https://example.com/1"}),
        _row("video", body={"video": "https://example.com/2"}),
        _row("metadata", body={"metadata": {"a": 1, "b": 1}}),
        _row("metadata", body={"metadata": {"b": 2}}),
        _row("loss", body={"dropped": 2, "cut": 1}),
        _row("loss", body={"spilled": 5, "cut": 1}),
    )
    assert (story.name, story.host, story.budget, story.video) == ("first", "a", 2.5, "https://example.com/2")
    assert story.host_env == {"OS": {"Hostname": "a"}, "CPU": 4}
    assert story.metadata == {"a": 1, "b": 2}
    assert story.losses == (5, 2, 2)


def test_who_took_part_and_who_still_does() -> None:
    """A process that left and came back is one participant, and present."""
    one, two = b"1" * 16, b"2" * 16
    story = _story(
        _row("session", 1, {"pid": 1}, parent=one),
        _row("join", 2, {"pid": 2}, parent=two),
        _row("leave", 3, parent=one),
        _row("leave", 4, parent=two),
        _row("join", 5, {"pid": 1}, parent=one),
        _row("join", 6, {"pid": 9}),
    )
    assert list(story.participants()) == [({"pid": 1}, 1, 3), ({"pid": 2}, 2, 4)]
    assert story.present() == {one: {"pid": 1}}
    assert [card["pid"] for card in story.cards()] == [1, 2, 1, 9]


@pytest.mark.parametrize(
    ("books", "last_ns", "declared", "derived"),
    [
        ([_row("end", 5, name="Success")], 5, "Success", None),
        ([_row("end", 5, name="Success"), _row("end", 7, name="Failure")], 7, "Failure", None),
        ([_row("end", 5, name="Success"), _row("join", 6)], 6, None, None),
        ([_row("end", 5, name="Success"), _row("join", 6, {"forked": 1})], 6, "Success", None),
        ([_row("end", 5, {"derived": 1}, name="Indeterminate")], 5, None, "Indeterminate"),
        ([_row("end", 5, {"derived": 1}, name="Indeterminate")], 6, None, None),
    ],
)
def test_which_end_counts(books: list[rows.Row], last_ns: int, declared: str | None, derived: str | None) -> None:
    """The newest that a program wrote, unless somebody came after it; a derived one until something is heard again."""
    story = _story(*books)
    ends = (story.declared_end(), story.derived_end(last_ns))
    assert tuple(end and end.name for end in ends) == (declared, derived)


def test_rows_that_wait_in_a_spill_file_belong_to_the_story() -> None:
    """They stand where their time puts them."""
    story = _story(_row("session", 1, name="run"), _row("join", 4))
    assert story.declared_end() is None
    end = story.with_waiting([_row("end", 9, {"reason": "so"}, name="Failure"), _row("tags", 2)]).declared_end()
    assert end is not None
    assert (end.name, end.body["reason"], end.seq) == ("Failure", "so", None)


_TAGS = st.lists(st.sampled_from(["a", "b", "é", "z", "\U0001f600"]), max_size=4).map(json.dumps)
_RETAGS = st.lists(st.tuples(st.sampled_from(["session", "join", "add", "set"]), st.integers(1, 6), _TAGS), max_size=6)


@settings(max_examples=examples(30))
@given(_RETAGS, st.booleans())
def test_tags_are_those_of_the_query(
    tmp_path_factory: pytest.TempPathFactory, retags: list[tuple[str, int, str]], folds: bool
) -> None:
    """One rule, in SQL for lists and here for a session that has been read: both give the same, in the same order."""
    journal = Journal(str(tmp_path_factory.mktemp("tags")))
    for how, at_ns, tags in retags:
        kind, name = ("tags", how) if how in ("add", "set") else (how, None)
        journal.append(_row(kind, at_ns, name=name, tags=tags))
    if folds:
        journal.fold()
    by_sql = [tag for (tag,) in journal.all("session_tags", session=_SESSION)]
    assert Story.read(journal, _SESSION).tags == by_sql
    journal.close()
