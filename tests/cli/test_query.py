"""`localops query`: which journal is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import localops

Command = Callable[..., tuple[int, str, str]]


def _begun(**options: Any) -> localops.Session:
    session = localops.start_session(**options)
    assert session is not None
    return session


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; select 2",
        "select 1;;delete from event",
        "select ';' /* ; */; select 2",
        "select 1; /* a */ select 2 /* b */",
    ],
)
def test_a_second_statement_is_refused(command: Command, sql: str) -> None:
    """Nothing is run when there is more than one: no rows of one thing below the title of another."""
    _record("default", "one")
    code, out, err = command("query", sql)
    assert (code, out) == (1, "")
    assert "one statement at a time" in err


@pytest.mark.parametrize(
    "sql", ["select 7;", "select 7; -- done; really", "/* a; */ select 7 ; ; /* and so on", "\n;select 7"]
)
def test_comments_and_semicolons_are_no_statement(command: Command, sql: str) -> None:
    """What stands behind the one statement may be comments."""
    _record("default", "one")
    assert command("query", sql)[1].splitlines()[-1] == "7"
    assert command("query", " ")[0] == 2


def test_every_value_can_be_had_as_json(command: Command) -> None:
    """Bytes and infinite numbers, which JSON cannot say, are text."""
    _record("default", "one")
    sql = "select x'00ff' as bytes, 1e999 as high, -1e999 as low, null as absent, 0.5 as half, 1 as half"
    out = command("query", sql, "--json")[1]

    def refuse(word: str) -> None:
        raise AssertionError(word)

    document = json.loads(out, parse_constant=refuse)
    assert document["columns"] == ["bytes", "high", "low", "absent", "half", "half"]
    assert document["rows"] == [
        {"bytes": "00ff", "high": "inf", "low": "-inf", "absent": None, "half": 0.5, "half_2": 1}
    ]


def test_an_id_is_written_one_way(command: Command) -> None:
    """The id of a raw column, of a view and of a session object are the same text."""
    session = _begun()
    session.end_session()
    sql = "select t.session, s.session_id from total t join session s on s.name is not null"
    command("sessions")
    rows = json.loads(command("query", sql, "--json")[1])["rows"]
    assert rows == [{"session": str(session.session_id), "session_id": str(session.session_id)}]


def _record(project: str, name: str) -> None:
    session = localops.start_session(name=name, config=localops.Config(project=project))
    assert session is not None
    session.end_session("Success")


def test_a_query_asks_every_project(command: Command) -> None:
    """Rows of several projects are told apart by a first column; of one project they come as they are."""
    sql = "select name from session"
    _record("default", "one")
    assert command("query", sql, "--csv")[1] == "name\none\n"
    _record("other", "two")
    assert command("query", sql, "--csv")[1] == "project,name\ndefault,one\nother,two\n"
    assert command("query", sql, "--csv", "--project", "other")[1] == "name\ntwo\n"


def test_a_row_that_has_no_room_is_a_block(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow terminal every column of every row can be read; in a pipe it is always a table."""
    _record("default", "a name of some length, longer than a column")
    table = command("query", "select * from session")[1]
    assert len(table.splitlines()) == 3
    names = table.split("\n")[0].split()
    monkeypatch.setenv("COLUMNS", "80")
    lines = command("query", "select * from session")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == names
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


def test_what_is_cut_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with a long text stays a table, but nobody takes the cut text for the whole."""
    _record("default", "one")
    long = "select 1 as n, printf('%.90c', 'x') as text, length(printf('%.90c', 'x')) as m"
    assert "…" not in "".join(command("query", long)[1:])
    monkeypatch.setenv("COLUMNS", "60")
    _, out, err = command("query", long)
    assert (len(out.splitlines()), "…" in out, "complete with --csv" in err) == (3, True, True)
