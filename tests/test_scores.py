"""Scores and notes: what they may be, which of them counts, and that they change no other figure."""

from __future__ import annotations

import doctest
import json
import math
import os
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import localops
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.stored import Stored
from localops.reading import given_scores
from localops.reading.home import Home
from localops.recording import scores
from localops.transfer import validation
from tests import programs
from tests.made import event

# A key of the shape that every installation redacts; not one of anybody.
_SECRET = "AKIA" + "Q3EGRWPTNLXZVBMK"


def _session(name: str = "run", **options: Any) -> localops.Session:
    session = localops.start_session(name=name, **options)
    session.record(localops.ActionEvent(action_type="plan"))
    return session


def _known(session: localops.Session) -> list[tuple[str, object, str]]:
    return [(each["name"], each["value"], each["by"]) for each in session.scores]


def _all(session: localops.Session) -> list[given_scores.Given]:
    with Home() as home:
        where, id = home.find(str(session.session_id))
        return given_scores.of_session(where.reader, id)


def test_the_examples_hold() -> None:
    """Those of the functions' docstrings."""
    assert doctest.testmod(scores).failed == 0
    assert doctest.testmod(given_scores).failed == 0


def test_the_newest_score_of_an_author_counts() -> None:
    """Each author has an opinion of their own; an earlier one of the same author stays in the journal."""
    session = _session()
    session.score("correct", 0.2, by="ann", comment="too short")
    session.score("correct", True, by="bob")
    session.score("correct", 0.8, by="ann", version="2")
    session.score("kind", "good")
    assert _known(session) == [("correct", True, "bob"), ("correct", 0.8, "ann"), ("kind", "good", "code")]
    session.score("correct", None, by="ann")
    assert _known(session) == [("correct", True, "bob"), ("kind", "good", "code")]
    session.end_session("Success")
    assert [(one.value, one.counts) for one in _all(session)] == [
        (0.2, False),
        (True, True),
        (0.8, False),
        ("good", True),
        (None, False),
    ]
    assert _all(session)[0].body["comment"] == "too short"


def test_an_event_is_judged_apart_from_its_session() -> None:
    """By the event itself, by its id, or on the operation."""
    session = _session()
    plan = localops.ActionEvent(action_type="plan")
    session.record(plan)
    session.score("useful", 1)
    session.score("useful", 0, event=plan)
    session.score("useful", 2, by="ann", event=plan.id)
    session.score("useful", 3, by="bob", event=str(plan.id))
    with session.operation("look", kind="tool") as look:
        look.score("useful", False)
    places = [(each["value"], each["event"]) for each in session.scores]
    id = str(plan.id)
    assert places == [(1, None), (0, id), (2, id), (3, id), (False, str(look.id))]
    session.end_session()


def test_an_operation_is_scored_once_it_is_opened(capsys: pytest.CaptureFixture[str]) -> None:
    """Before that it has no id."""
    session = _session()
    session.operation("look").score("useful", 1)
    assert "before it was opened" in capsys.readouterr().err
    assert session.scores == []
    session.end_session()


def test_no_other_figure_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score after the end counts as no event, makes no session longer, is not late, and ends or opens none."""
    session = _session()
    session.end_session("Failure", "because")
    monkeypatch.setenv("TZ", "UTC")

    def figures() -> tuple[Any, ...]:
        with Home() as home:
            [listed] = home.sessions()
            seen = listed.project.snapshot(listed.session)
            return listed[1:], seen.report(), seen.standing, seen.until_ns, session.get_analytics()

    before = figures()
    session.score("correct", 0.5)
    assert localops.score(session.session_id, "correct", 1, by="human") is not None
    assert localops.note(session.session_id, "seen") is not None
    after = figures()
    plain = [
        [row._replace(rows=0, last_seq=0) if hasattr(row, "last_seq") else row for row in made[1]]
        for made in (before, after)
    ]
    assert plain[0] == plain[1]
    assert (before[0][1:], *before[2:]) == (after[0][1:], *after[2:])


def test_a_score_leaves_a_dead_session_dead() -> None:
    """The derived end of a killed program stays, with its time."""
    programs.run(
        "import os, localops\nlocalops.init(trace_name='killed')\n"
        "localops.record(localops.ActionEvent(action_type='x'))\nos.kill(os.getpid(), 9)"
    )
    with Home() as home:
        [listed] = home.sessions()
        before = listed.project.standing(listed.session), listed.last_ns
        id = str(uuid.UUID(bytes=listed.session))
    assert before[0].state == "Indeterminate"
    assert localops.score(id, "correct", False, by="human") is not None
    with Home() as home:
        [listed] = home.sessions()
        assert (listed.project.standing(listed.session), listed.last_ns) == before
        assert [one.value for one in given_scores.of_session(listed.project.reader, listed.session)] == [False]


def test_another_process_scores_a_session_by_the_beginning_of_its_id() -> None:
    """The id of the score is returned, and the session has it."""
    session = _session()
    done = programs.run(
        "import sys, localops\n"
        "print(localops.score(sys.argv[1], 'correct', 0.8, by='human', comment='fine', event=sys.argv[2]))",
        str(session.session_id)[:18],
        str(next(session.events)["id"])[:18],
    )
    [given_score] = session.scores
    assert done.stdout.strip() == given_score["id"]
    assert (given_score["value"], given_score["comment"]) == (0.8, "fine")
    assert given_score["event"] == next(session.events)["id"]
    session.end_session()


@pytest.mark.parametrize(
    ("value", "about"),
    [
        (math.nan, "finite"),
        (math.inf, "finite"),
        (-math.inf, "finite"),
        (10**400, "number"),
        ("", "text"),
        ("two\nlines", "text"),
        ("x" * 257, "text"),
        ([1], "number"),
        (b"1", "number"),
        (object(), "number"),
    ],
)
def test_an_invalid_value_is_refused(value: Any, about: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A recorded program gets a warning, a strict one the error; nothing is written or counted as lost."""
    session = _session()
    session.score("correct", value)
    assert about in capsys.readouterr().err
    assert session.scores == []
    assert localops.score(session.session_id, "correct", value) is None
    session.end_session("Success")
    assert session._journal.counts["dropped"] == 0
    with pytest.raises(ConfigError, match=about):
        scores.value_of(value)


@pytest.mark.parametrize(
    "name", ["", " ", "a<b", "a=b", "a>b", "a!b", "a@b", "two\nlines", "x" * 65, "\u202ea", "\x00", None, 7]
)
def test_a_name_that_no_filter_could_ask_for_is_refused(name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """So is one that would show as something else; any other text is a name."""
    session = _session()
    session.score(name, 1)
    assert "invalid score name" in capsys.readouterr().err
    session.score(" größe der Antwort/2: 'x' ", 1, by="ann@example.org")
    assert _known(session) == [("größe der Antwort/2: 'x'", 1, "ann@example.org")]
    session.end_session()


def test_a_strict_session_raises(capsys: pytest.CaptureFixture[str]) -> None:
    """As for all that cannot be recorded."""
    session = localops.init(strict=True)
    with pytest.raises(ConfigError, match="finite"):
        session.score("correct", math.nan)
    with pytest.raises(ConfigError, match="note"):
        session.note(" ")
    session.end_session()
    assert capsys.readouterr().err == ""


def test_numbers_of_other_libraries_are_numbers() -> None:
    """Whatever has a float; integers stay integers as far as they are exact."""
    from decimal import Decimal
    from fractions import Fraction

    assert scores.value_of(Decimal("0.25")) == 0.25
    assert scores.value_of(Fraction(1, 4)) == 0.25
    assert repr(scores.value_of(3)) == "3"
    assert repr(scores.value_of(2**60)) == repr(float(2**60))


@pytest.mark.parametrize("ident", ["0000", "nonsense", "", "*"])
def test_an_unknown_session_is_named(ident: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is created for it."""
    _session().end_session()
    assert localops.score(ident, "correct", 1) is None
    assert "localops" in capsys.readouterr().err


def test_an_ambiguous_prefix_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Two sessions that begin alike, in one journal."""
    session = _session()
    session.end_session()
    twin = bytes([*session.session_id.bytes[:-1], session.session_id.bytes[-1] ^ 1])
    journal = Journal(programs.project())
    journal.append(event("twin", "session", twin))
    journal.close()
    assert localops.score(str(session.session_id)[:13], "correct", 1) is None
    assert "more than one session" in capsys.readouterr().err
    assert session.scores == []


def test_an_event_of_another_session_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """The score would be lost there."""
    one, other = _session("one"), _session("other")
    assert localops.score(one.session_id, "x", 1, event=next(other.events)["id"]) is None
    assert "no event of session" in capsys.readouterr().err
    assert one.scores == other.scores == []
    one.end_session()
    other.end_session()


def test_secrets_are_removed_from_all_texts() -> None:
    """Of comments, notes, values and authors, through every way of scoring."""
    session = _session()
    session.score("correct", f"word {_SECRET}", by=f"by {_SECRET}", comment={"deep": [f"key {_SECRET}"]})
    session.note(f"look at {_SECRET}")
    session.end_session()
    localops.score(session.session_id, "correct", 1, comment=f"see {_SECRET}")
    localops.note(session.session_id, f"{_SECRET} again")
    with programs.reader() as reader:
        written = json.dumps([repr(row) for row in reader.ask("select name, body from event where kind = 'scored'")])
    assert written.count("word") == written.count("look at") == written.count("again") == 1
    assert _SECRET not in written


def test_the_order_of_rows_does_not_matter() -> None:
    """Folded in any order, the same scores count: by when they were given."""
    session = b"s" * 16
    given = [
        rows.make(
            "scored",
            session,
            id=bytes([n]) * 16,
            at_ns=5,
            end_ns=at,
            name="x",
            body=json.dumps({"value": n, "by": "a"}),
        )
        for n, at in ((1, 10), (2, 30), (3, 20), (4, 30))
    ]
    start = event("run", "session", session)
    seen: list[list[tuple[object, bool]]] = []
    for order in (given, given[::-1], given[2:] + given[:2]):
        for folded in (0, 2, 5):
            folder = programs.project(f"p{len(seen)}")
            journal = Journal(folder)
            for number, row in enumerate([start, *order]):
                if number == folded:
                    journal.fold()
                journal.append(row)
            answers = given_scores.named(journal.all("scores", session=session))
            seen.append([(one.value, one.counts) for one in answers])
            journal.fold()
            seen.append([(one.value, one.counts) for one in given_scores.named(journal.all("scores", session=session))])
            journal.close()
    assert set(map(tuple, seen)) == {((1, False), (3, False), (2, False), (4, True))}


def test_views_show_scores_and_notes() -> None:
    """With dates, ids and comments in readable form, and which of them is current."""
    session = _session()
    session.score("correct", 0.25, by="ann", comment="short")
    session.score("correct", 0.5, by="ann")
    session.note("look again")
    session.score("star", True, by="ann")
    session.score("star", None, by="ann")
    session.end_session()
    with programs.reader() as reader:
        assert reader.ask("select name, value from score where current") == [("correct", 0.5)]
        assert reader.ask(
            "select name, value, type, author, comment, event, current, session from score order by seq"
        ) == [
            ("correct", 0.25, "number", "ann", "short", None, 0, str(session.session_id)),
            ("correct", 0.5, "number", "ann", None, None, 1, str(session.session_id)),
            ("star", 1, "bool", "ann", None, None, 0, str(session.session_id)),
            ("star", None, None, "ann", None, None, 0, str(session.session_id)),
        ]
        assert reader.ask("select text, author, session from note") == [("look again", "code", str(session.session_id))]


def test_a_forked_child_scores_as_it_records() -> None:
    """It takes part in the session then."""
    done = programs.run(
        "import os, localops\nsession = localops.init()\nif os.fork() == 0:\n"
        "    session.score('child', 1)\n    os._exit(0)\n"
        "os.wait()\nsession.score('parent', 1)\nprint(sorted(each['name'] for each in session.scores))\n"
        "session.end_session()"
    )
    assert done.stdout.strip() == "['child', 'parent']"


def test_a_score_is_kept_where_the_journal_cannot_be_written() -> None:
    """It spills like any row, and counts when it is collected."""
    session = _session(config=localops.Config(wait=0.05))
    journal = Journal(programs.project())
    journal.transact(lambda _: session.score("correct", 1), folded=False)
    journal.close()
    assert session._journal.counts["spilled"] == 1
    session.end_session()
    assert [one.value for one in _all(session)] == [1]


def test_rows_of_user_kinds_stay_events() -> None:
    """A program's own event type of the same name is marked as the user's."""
    session = localops.init()
    localops.record(localops.Event("scored", returns=1))
    assert session.get_analytics()["Actions"] == 0
    assert session.scores == []
    assert session.figures().events == 1
    session.end_session()


@given(
    st.none()
    | st.dictionaries(
        st.sampled_from(["value", "by", "version", "comment"]),
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2),
    )
)
def test_what_passes_validation_can_be_folded(body: dict[str, Any] | None) -> None:
    """A row of another machine is refused, or read like any other."""
    row = rows.make(
        "scored", b"s" * 16, id=b"i" * 16, at_ns=1, name="x", body=None if body is None else json.dumps(body)
    )
    folder = programs.project("v" + uuid.uuid4().hex[:8])
    journal = Journal(folder)
    try:
        validation.check_rows([Stored(1, *row)])
    except ValueError:
        return
    finally:
        journal.close()
    journal = Journal(folder)
    journal.add([row])
    answers = given_scores.named(journal.all("scores", session=b"s" * 16))
    journal.close()
    assert body is not None
    assert [one.value for one in answers] == [body.get("value")]
    assert os.path.exists(os.path.join(folder, "journal.db"))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        # The mean ± t · s / √n, with t from a table: 2.364624 for 7 degrees of freedom, 12.706205 for 1.
        ([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 3.212512, 6.787488),
        ([0.1, 0.9], -4.582482, 5.582482),
        ([1e300, 3e300], -1.070620e301, 1.470620e301),
    ],
)
def test_the_interval_of_numbers_is_that_of_students_t(values: list[float], low: float, high: float) -> None:
    """For few numbers, and for very large ones."""
    mean, below, above = given_scores.t_interval(values)
    assert below is not None
    assert above is not None
    assert mean == pytest.approx(sum(value / len(values) for value in values))
    assert [below, above] == pytest.approx([low, high], rel=1e-5)


def test_a_single_number_has_no_interval() -> None:
    """One value says nothing about how they spread."""
    assert given_scores.t_interval([0.5]) == (0.5, None, None)
    assert given_scores.t_interval([0.0, 0.0]) == (0.0, 0.0, 0.0)


@given(st.integers(1, 400), st.data())
def test_wilsons_interval_holds_the_share(count: int, data: st.DataObject) -> None:
    """And stays between 0 and 1, even where all or none hit."""
    hits = data.draw(st.integers(0, count))
    share, low, high = given_scores.wilson(hits, count)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    assert low < high
