"""The bookkeeping of a session: read once, and the same as in SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import session_state
from localops.reading.story import Story, milestone
from tests.examples import examples

_SESSION = clock.new_id()


def _story(*books: rows.Row) -> Story:
    return Story(map(milestone, books))


def _row(kind: str, at_ns: int = 5, body: dict[str, Any] | None = None, **columns: Any) -> rows.Row:
    text = None if body is None else json.dumps(body)
    return rows.make(kind, _SESSION, id=clock.new_id(), at_ns=at_ns, body=text, **columns)


def test_a_session_without_a_word_has_an_empty_story() -> None:
    """Nothing is known, and nothing is invented."""
    story = _story()
    assert (story.name, story.tags, story.host, story.video, story.budget, story.last_end) == (None, [], *[None] * 4)
    assert (story.host_env, story.metadata, story.losses, story.present()) == ({}, {}, (0, 0, 0), {})
    assert list(story.participants()) == []


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
    """A process that left and joined again is one participant, and present."""
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


_STARTS = st.sampled_from([("session", None, "{}"), ("join", None, "{}"), ("join", None, '{"forked":1}')])
_ENDS = st.tuples(st.just("end"), st.sampled_from(["Success", "Failure"]), st.sampled_from(["{}", '{"derived":1}']))
_Book = tuple[tuple[str, str | None, str | None], int]
_WORK = st.just(("action", None, None))
_BOOKS = st.lists(st.tuples(_STARTS | _ENDS | _WORK, st.integers(1, 6)), min_size=1, max_size=6)


def _end(books: list[_Book]) -> str | None:
    """Return which end counts: the newest that a program wrote, unless a process joined later; else a derived one."""
    last_ns = max((at for _, at in books), default=0)
    came = max((at for (kind, _, body), at in books if kind in rows.STARTS and "forked" not in str(body)), default=0)
    ends = [(at, name, "derived" in str(body)) for (kind, name, body), at in books if kind == "end"]
    own = [(at, name) for at, name, derived in ends if not derived and at >= came]
    counting = own or [(at, name) for at, name, derived in ends if derived and at >= last_ns]
    newest = max((at for at, _ in counting), default=None)
    names = {name for at, name in counting if at == newest}
    return names.pop() if len(names) == 1 else "either" if names else None


@settings(max_examples=examples(60))
@given(_BOOKS, st.sampled_from(["tail", "folded", "waiting"]))
def test_which_end_counts(tmp_path_factory: pytest.TempPathFactory, books: list[_Book], where: str) -> None:
    """One rule for views, for the table of totals, for a session that is read, and for rows in a spill file."""
    journal = Journal(str(tmp_path_factory.mktemp("ends")))
    made = [
        rows.make(kind, _SESSION, id=clock.new_id(), at_ns=at, name=name, body=body) for (kind, name, body), at in books
    ]
    states: list[str] = []
    if where != "waiting":
        for row in made:
            journal.append(row)
        if where == "folded":
            journal.rebuild()
        with Reader(journal.path) as reader:
            states += [state for (state,) in reader.ask("select state from session union all select state from total")]
        assert len(states) == (2 if where == "folded" else 1)
        end = Story.read(journal, _SESSION).end
        states.append(end.name or "" if end else "open")
        expected = _end(books)
    else:  # none is derived in a spill file
        declared = session_state.declared(journal, _SESSION, [row for row in made if row[3] != "action"])
        states.append(declared.state if declared else "open")
        expected = _end([((kind, name, body), at) for (kind, name, body), at in books if "derived" not in str(body)])
    if expected == "either":  # two at the same moment: the one with the later id, everywhere
        assert len(set(states)) == 1
    else:
        assert set(states) == {expected or "open"}
    journal.close()


def test_an_end_that_waits_in_a_spill_file_has_its_reason(tmp_path: Path) -> None:
    """It counts like one in the journal."""
    journal = Journal(str(tmp_path))
    journal.add([_row("session", 1, name="run"), _row("join", 4)])
    assert session_state.declared(journal, _SESSION) is None
    end = session_state.declared(journal, _SESSION, [_row("end", 9, {"reason": "so"}, name="Failure"), _row("tags", 2)])
    assert end == ("Failure", "so", 9, False)
    assert session_state.declared(journal, _SESSION, [_row("end", 3, name="Failure")]) is None
    journal.close()


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
