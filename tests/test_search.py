"""Full text: the words, the hits, and that the index can be removed at any time."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from json import dumps
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops import ActionEvent, clock
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading.home import Home
from localops.reading.search import Index, Query, strings, words
from tests import warm


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("cat", "to concatenate a CAT", "CAT"),
        ("web_search", "the web: search; web-search", "web: search"),
        ("arger", "viel \u00c4rger, A\u0308rger", "\u00c4rger"),
        ("a\u0308rger", "viel A\u0308rger", "A\u0308rger"),
        ("京欢", "北京欢迎你", "京欢"),
        ("nowhere", "to be seen", ""),
    ],
)
def test_what_was_found_is_pointed_at(query: str, text: str, found: str) -> None:
    """The place of a term is that of whole words, as they are written there."""
    first, last = Query(query).place(text)
    assert text[first:last] == found


def _record(*texts: str) -> localops.Session:
    session = localops.start_session()
    assert session is not None
    for text in texts:
        session.record(ActionEvent(params={"text": text}))
    session.end_session("Success")
    return session


def _found(text: str) -> list[str]:
    with Home() as home:
        index = home.projects[0].index()
        index.extend()
        return [hit.snippet for hit in index.events(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD_2!", ["hello", "world", "2"]),
        ("Ärger à la carte", ["arger", "a", "la", "carte"]),
        ("Straße", ["strasse"]),
        ("北京ab", ["北", "京", "ab"]),
        ("한국", ["한", "국"]),
        ("…!?", []),
    ],
)
def test_words_are_letters_and_digits(text: str, expected: list[str]) -> None:
    """Case, accents and punctuation do not count; scripts without spaces go character by character."""
    assert words(text) == expected


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5), st.data())
def test_every_word_of_a_text_is_found_in_it(parts: list[str], data: st.DataObject) -> None:
    """A query made of a text's own words always matches it."""
    text = " ".join(parts)
    chosen = [part for part in text.split() if words(part)]
    if chosen:
        assert Query(data.draw(st.sampled_from(chosen))).is_in(text)
        assert Query(" ".join(chosen)).is_in(text)


def test_the_newest_comes_first() -> None:
    """Within a session, and between sessions."""
    _record("cat one", "cat two")
    _record("cat three", "dog", "cat four")
    assert [snippet.split()[-1] for snippet in _found("cat")] == ["four", "three", "two", "one"]


def test_occurrences_are_in_order_in_each_session() -> None:
    """The newest session is first, and in it the first row of all its passages."""
    first = _record("cat one", "cat two")
    _record("cat three", *["dog"] * 200, "cat four", *["bird"] * 9, "cat five")
    with Home() as home:
        index = home.projects[0].index()
        index.extend()
        order = [hit.snippet.split()[-1] for hit in index.occurrences("cat")]
        assert order == ["three", "four", "five", "one", "two"]
        assert [hit.snippet for hit in index.occurrences("cat", first.session_id.bytes)] == [
            "cat one",
            "cat two",
        ]
        assert list(index.occurrences("cow")) == []


def test_bytes_of_pictures_are_no_words() -> None:
    """In a data URI, by themselves and in JSON inside of a text: the words around them are found, and they are not."""
    base64 = b64encode(Random(1).randbytes(60_000)).decode()
    word = words(base64)[3]
    _record(f"cat data:image/png;base64,{base64} dog", base64, dumps({"data": base64, "media_type": "audio/wav"}))
    for text, many in (("cat dog", 1), ("audio wav", 1), (word, 0)):
        assert len(_found(text)) == many
    assert strings(["a" * 300, "A1" * 300, "aA1" * 200 + " it", "aA1" * 10]) == [
        "a" * 300,
        "A1" * 300,
        " it",
        "aA1" * 10,
    ]


def test_rows_after_a_row_come_in_order() -> None:
    """From where an earlier search stopped, in all passages, each row once."""
    _record("cat other")
    session = _record("cat one", *["dog"] * 200, "cat two", "cat three").session_id.bytes
    with Home() as home:
        index = home.projects[0].index()
        index.extend()
        read = [row for row, is_match in index.rows_after("cat", session, 0) if is_match]
        assert [row.text.split()[-1] for row in read] == ["one", "two", "three"]
        for at, row in enumerate(read):
            later = [each.seq for each, is_match in index.rows_after("cat", session, row.seq) if is_match]
            assert later == [each.seq for each in read[at + 1 :]]


def test_words_of_two_events_are_no_match() -> None:
    """A passage holds many events; all words must be in one of them."""
    _record("cat", "dog")
    assert _found("cat dog") == []
    with Home() as home:
        assert home.projects[0].index().sessions("cat dog", most=10) == []


def test_a_page_of_sessions_is_searched_in_one_look() -> None:
    """The candidates of a page are all that have the words, also in two events; a spread of sessions is refused."""
    recorded = [_record("cat", "dog"), _record("cat and dog"), _record("cat"), _record("bird")]
    ids = [session.session_id.bytes for session in recorded]
    assert len(_found("cat dog")) == 1
    with Home() as home:
        index = home.projects[0].index()
        assert index.among(ids, "cat dog") == set(ids[:2])
        assert index.among(ids[1:], "cat") == set(ids[1:3])
        assert index.among(ids[3:], "cat") == set()
        assert index.among([ids[0], ids[2]], "cat") == {ids[0], ids[2]}
        assert index.among([bytes(16)], "cat") == set()
        for _ in range(40):
            _record("filler")
        last = _record("cat").session_id.bytes
        index.extend()
        assert index.among([ids[0], last], "cat") is None
        assert [index.has(id, "cat dog") for id in ids] == [False, True, False, False]


def test_the_newest_sessions_with_some_words_come_first() -> None:
    """Each once, as many as wanted; and how often a word is there, up to a limit."""
    ids = [_record(f"cat {number}", "dog").session_id.bytes for number in range(4)]
    _record("bird")
    with Home() as home:
        index = home.projects[0].index()
        index.extend()
        assert index.newest_sessions(["cat", "dog"], 3) == ids[:0:-1]
        assert index.newest_sessions(["cat", "bird"], 3) == []
        assert (index.how_often("cat", 3), index.how_often("cat", 9), index.how_often("cow", 9)) == (3, 4, 0)
        assert list(index.events("cat", until=0)) == []


def test_a_session_is_found_by_its_machine() -> None:
    """Once, by the row that it begins with."""
    session = _record("cat").session_id.bytes
    with Home() as home:
        [(machine,)] = home.projects[0].reader.ask(
            "select json_extract(body, '$.host') from event where kind = 'session'"
        )
        index = home.projects[0].index()
        index.extend()
        assert [hit.kind for hit in index.events(machine, session)] == ["session"]


def test_more_events_than_a_passage_holds_are_all_found() -> None:
    """Every row is in exactly one passage."""
    _record(*(f"cat number{number}" for number in range(200)))
    assert len(_found("cat")) == 200
    assert len(_found("number137")) == 1


@pytest.mark.parametrize("harm", ["removed", "garbage", "of another journal"])
def test_the_index_may_go_at_any_time(harm: str, tmp_path: Path) -> None:
    """If it is removed, damaged, or of another journal, it is built again, and everything is found."""
    _record("cat")
    assert len(_found("cat")) == 1
    path = tmp_path / "home" / "default" / Index.FILE
    if harm == "removed":
        os.unlink(path)
    elif harm == "garbage":
        path.write_bytes(b"not a database " * 400)
    else:
        with Home() as home:
            index = home.projects[0].index()
            index._file.transact(lambda execute: execute("update about set journal = 'other', upto = 999"))
    assert len(_found("cat")) == 1


def test_the_index_is_the_users_alone(tmp_path: Path) -> None:
    """It contains words of recorded text: 0600, like the journal."""
    _record("cat")
    _found("cat")
    assert (tmp_path / "home" / "default" / Index.FILE).stat().st_mode & 0o777 == 0o600


def test_a_long_text_is_shown_around_what_was_found() -> None:
    """A snippet is short, and has the word in it."""
    _record("x " * 500 + "needle" + " y" * 500)
    (snippet,) = _found("needle")
    assert "needle" in snippet
    assert len(snippet) < 200


def test_a_passage_is_of_one_value_without_the_names_around_it() -> None:
    """Names are found, too; a note is found by its text."""
    session = localops.start_session()
    session.record(
        localops.LLMEvent(model="m", prompt=[{"role": "user", "content": "the lift is stuck", "weight": 0.1}])
    )
    session.note("ask the janitor")
    session.end_session("Success")
    assert _found("stuck") == ["the lift is stuck"]
    assert _found("janitor") == ["ask the janitor"]
    assert ["content" in passage for passage in _found("content")] == [True]


@pytest.mark.parametrize(
    ("query", "text", "shown"),
    [
        ("2", "so ½ of it", "½"),
        ('"2 of"', "so ½ of it", "½ of"),
        ("fi*", "a ﬁne day", "ﬁne"),
        ("ハ", "a ﾊﾟ b", "ﾊﾟ"),
        ("2nd", "the ²nd one", "²nd"),
        ('"' + " ".join(map(str, range(60))) + '"', "0 " * 80 + " ".join(map(str, range(60))), "57 58 59"),
    ],
)
def test_a_passage_has_the_word_however_it_is_written(query: str, text: str, shown: str) -> None:
    """Ligatures, fractions and forms of a letter are words as the index has them; a long phrase is shown whole."""
    far = f"{'lorem ' * 100}{text}{' ipsum' * 100}"
    assert Query(query).is_in(far)
    first, last = Query(query).place(far)
    assert far[first:last].endswith(shown)
    assert shown in Query(query).snippet(far)


def test_a_passage_has_as_many_of_the_words_as_are_near_each_other() -> None:
    """A place that has all words is shown rather than the first place of one of them."""
    text = f"reviewed last week{' lorem' * 100} in the last 7 days{' ipsum' * 100} 7 pages"
    assert "the last 7 days" in Query("day* last 7").snippet(text)
    assert Query("last missing").snippet(text).startswith("reviewed last week")


@pytest.mark.parametrize("nothing", ["", "  ", "!?", "…"])
def test_a_query_without_a_word_is_refused(nothing: str) -> None:
    """There is nothing it could find."""
    with pytest.raises(ConfigError, match="at least one word"):
        Query(nothing)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can work for somebody else")
def test_files_that_root_writes_belong_to_the_owner_of_their_folder(tmp_path: Path) -> None:
    """A search by root in the home of a service leaves no file that the service cannot write."""
    journal = Journal(str(tmp_path / "default"))
    session, at = clock.new_id(), clock.now_ns()
    journal.append(rows.make("session", session, id=clock.new_id(), at_ns=at, name="a run", body="{}"))
    journal.append(rows.make("action", session, id=clock.new_id(), at_ns=at, name="step", body='{"params":"needle"}'))
    journal.close()
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 65_534, 65_534)
    command = [sys.executable, "-m", "localops", "sessions", "--text", "needle", "--home", str(tmp_path)]
    done = warm.run(command, check=True, capture_output=True, timeout=60)
    assert "a run" in done.stdout
    assert (tmp_path / "default" / "search.db").exists()
    assert {path.name: path.stat().st_uid for path in tmp_path.rglob("*") if path.stat().st_uid != 65_534} == {}
