"""`localops query`: the journals that it queries, and its output."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import localops
from localops import clock
from localops.errors import QueryRefused
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import made_tables
from localops.reading.home import Home
from tests import programs

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
    """With more than one statement nothing runs, so that no rows appear under the title of another one."""
    _record("default", "one")
    code, out, err = command("query", sql)
    assert (code, out) == (1, "")
    assert "one statement at a time" in err


@pytest.mark.parametrize(
    "sql", ["select 7;", "select 7; -- done; really", "/* a; */ select 7 ; ; /* and so on", "\n;select 7"]
)
def test_comments_and_semicolons_are_no_statement(command: Command, sql: str) -> None:
    """Comments may follow the one statement."""
    _record("default", "one")
    assert command("query", sql)[1].splitlines()[-1] == "7"
    assert command("query", " ")[0] == 2


def test_every_value_can_be_had_as_json(command: Command) -> None:
    """Bytes and infinite numbers, which JSON lacks, are text."""
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
    """Rows of several projects have the project as first column; those of one project have not."""
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


def test_cut_text_is_reported(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table with a long text stays a table, but a notice tells how to get the whole text."""
    _record("default", "one")
    long = "select 1 as n, printf('%.90c', 'x') as text, length(printf('%.90c', 'x')) as m"
    assert "…" not in "".join(command("query", long)[1:])
    monkeypatch.setenv("COLUMNS", "60")
    _, out, err = command("query", long)
    assert (len(out.splitlines()), "…" in out, "complete with --csv" in err) == (3, True, True)


def test_an_empty_result_keeps_its_columns(command: Command) -> None:
    """An empty result has its columns in a table, as JSON and as CSV."""
    _record("default", "one")
    sql = "select name, state from session where name = 'unknown'"
    code, out, err = command("query", sql)
    assert (code, out.splitlines()[0].split()) == (0, ["name", "state"])
    assert "0 rows" in err
    document = json.loads(command("query", sql, "--json")[1])
    assert (document["columns"], document["rows"]) == (["name", "state"], [])
    assert command("query", sql, "--csv")[1] == "name,state\n"


def test_a_join_of_bytes_and_text_is_explained(command: Command) -> None:
    """It has no rows, and stderr explains how to get some; a join that has rows prints nothing."""
    session = _begun(name="one")
    session.record(localops.ToolEvent(name="t"))
    session.end_session("Success")
    join = "select s.name from session s join event e on {} where e.kind = 'tool'"
    code, _, err = command("query", join.format("e.session = s.session_id"), "--csv")
    assert code == 0
    assert "unhex(replace(session_id" in err
    code, out, err = command("query", join.format("e.session = unhex(replace(s.session_id, '-', ''))"), "--csv")
    assert (code, out, err) == (0, "name\none\n", "")


def test_a_sum_over_a_join_of_bytes_and_text_is_explained(command: Command) -> None:
    """It has a row, of 0, whatever was recorded; beside another project as well."""
    _record("default", "one")
    sums = "select count(*), sum(e.cost) from session s join event e on e.session = {}"
    text, right = sums.format("s.session_id"), sums.format("unhex(replace(s.session_id, '-', ''))")
    assert "unhex(replace(session_id" in command("query", text, "--csv")[2]
    assert command("query", right, "--csv")[2] == ""
    _record("other", "two")
    assert "unhex(replace(session_id" in command("query", text, "--csv")[2]
    assert "unhex(replace(session_id" not in command("query", right, "--csv")[2]


# That of `localops help recipes`.
_GATE = (
    "select name, state, errors, failed, session_id from session where state <> 'Success' or errors > 0 or failed > 0 "
    "or replace(session_id, '-', '') in (select lower(hex(session)) from unfinished_operation)"
)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 from session where session_id in (select session from unfinished_operation)",
        "select 1 from session s, event where session_id = event.session",
        "select 1 from event_detail d join event as e using (id)",
        "select 1 from total t join session on t.session == session_id",
        "select 1 from event_tag where id not in (select distinct id from event) and session = 'x'",
    ],
)
def test_each_comparison_of_bytes_and_text_is_explained(command: Command, sql: str) -> None:
    """By the tables' names or their aliases, as a join or as a subquery."""
    _record("default", "one")
    assert "unhex(replace(session_id" in command("query", f"{sql} limit 0", "--csv")[2]


@pytest.mark.parametrize(
    "sql",
    [
        _GATE,
        "select 1 from session s join event e on e.session = unhex(replace(s.session_id, '-', '')) where e.name = 'x'",
        "select 1 from session s join event_detail e on e.session = s.session_id where e.kind = 'x'",
        "select 1 from event e join total t on t.session = e.session where e.kind = 'session_id = session'",
        "select session_id from session where state = 'x' and (select count(*) from event where session is null) = 0",
    ],
)
def test_a_right_comparison_without_rows_is_no_surprise(command: Command, sql: str) -> None:
    """A statement that compares ids of the same kind, or no ids, prints no hint when nothing matches."""
    _record("default", "one")
    code, out, err = command("query", sql, "--csv")
    assert (code, len(out.splitlines()), err) == (0, 1, "")


def test_a_limit_over_several_projects_is_reported_as_per_project(command: Command) -> None:
    """An order or a limit applies to each project, which prints a notice; a plain list prints none."""
    _record("default", "one")
    _record("other", "two")
    assert "each of the 2 projects" in command("query", "select name from session limit 1", "--json")[2]
    assert command("query", "select name from session", "--csv")[2] == ""
    assert command("query", "select name from session limit 1", "--csv", "--project", "other")[2] == ""


def test_what_began_is_no_call_of_no_length(command: Command) -> None:
    """Only what ended took time and failed or not; agents and errors did neither."""

    @localops.decorators.tool(name="t")
    def tool(*, fail: bool) -> None:
        if fail:
            raise ValueError("no rows")

    session = _begun()
    session.create_agent("planner")
    tool(fail=False)
    with pytest.raises(ValueError, match="no rows"):
        tool(fail=True)
    session.record(localops.ToolEvent(name="back", init_timestamp=2, end_timestamp=1))
    session.end_session("Success")
    sql = "select kind, phase, name, milliseconds is null as timeless, failed from event_detail order by seq"
    rows = [tuple(row.values()) for row in json.loads(command("query", sql, "--json")[1])["rows"]]
    assert rows == [
        ("agent", "ended", "planner", 0, None),
        ("tool", "began", "t", 1, None),
        ("tool", "ended", "t", 0, 0),
        ("tool", "began", "t", 1, None),
        ("tool", "ended", "t", 0, 1),
        ("error", "ended", "ValueError", 0, None),
        ("tool", "ended", "back", 0, 0),
    ]
    assert command("query", "select milliseconds from event_detail where name = 'back'", "--csv")[1].endswith("\n0.0\n")


def test_an_event_does_not_begin_before_its_session(command: Command) -> None:
    """Both views have a beginning to the microsecond."""
    session = _begun()
    session.record(localops.ToolEvent(name="t"))
    session.end_session("Success")
    join = "session s join event_detail e on e.session = s.session_id"
    sql = f"select count(*) as early from {join} where e.began < s.began"
    assert command("query", sql, "--csv")[1] == "early\n0\n"
    assert len(command("query", "select began from session", "--csv")[1].splitlines()[1]) == len(
        "2026-11-29T06:10:17.000000Z"
    )


def test_loops_and_failing_tools_are_tables(command: Command) -> None:
    """They are made for a statement that names them, with ids that join the view `session`."""
    session = localops.start_session(name="stuck")
    for _ in range(4):
        session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=9, completion_tokens=1, cost=0.5))
        session.record(localops.ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    failing = localops.ToolEvent(name="fetch", params={"url": "a"})
    session.record(localops.ErrorEvent(trigger_event=failing, exception=TimeoutError("late")))
    statement = (
        "select s.name, kind, tools, calls, rounds, wasted_calls, wasted_tokens, wasted_usd, input "
        "from tool_loop join session s using (session_id)"
    )
    expected = "stuck,repeat,search,4,4,3,30,1.5,q=tides"
    assert command("query", statement, "--csv")[1].splitlines()[1:] == [expected]
    statement = "select tool, error, arguments, failures, calls, message from TOOL_FAILURE"
    assert command("query", statement, "--csv")[1].splitlines()[1:] == ["fetch,TimeoutError,url: text,1,1,late"]
    statement = "select name, state, first_error, ending_id, loops, wasted_calls, uncertain_steps from post_mortem"
    assert command("query", statement, "--csv")[1].splitlines()[1:] == ["stuck,Running,TimeoutError,,1,3,0"]
    code, _, err = command("query", "insert into tool_loop values(1)")
    assert code == 1
    assert "can only be read" in err
    assert "no such table" in command("query", "select 1 from temp.tool_failures")[2]


def test_post_mortems_have_the_cause_of_what_ended_a_run(command: Command) -> None:
    """Failures can be grouped by the exception from which they were raised."""
    with suppress(RuntimeError), localops.start_session(name="chained"):
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError("setup failed") from error
    localops.start_session(name="calm").end_session("Success")
    statement = "select name, ending_error, ending_cause from post_mortem order by name desc"
    assert command("query", statement, "--csv")[1].splitlines()[1:] == [
        "chained,RuntimeError,ValueError: invalid literal for int() with base 10: 'x'",
        "calm,,",
    ]


def test_a_copy_without_content_has_no_loops(command: Command) -> None:
    """No two calls can be compared there, and `localops lint` compares none; what failed is known."""
    session = _begun(name="bare")
    for _ in range(4):
        session.record(localops.ErrorEvent(trigger_event=localops.ToolEvent(name="t"), exception=TimeoutError()))
    session.end_session("Success")
    localops.api.client().close()
    journal = Journal(programs.project())
    body = '{"metadata_only":true}'
    journal.add([rows.make("session", session.session_id.bytes, id=clock.new_id(), at_ns=clock.now_ns(), body=body)])
    journal.close()
    assert json.loads(command("lint", "last", "--json")[1])["loops"] == 0
    assert json.loads(command("query", "select * from tool_loop", "--json")[1])["rows"] == []
    assert json.loads(command("query", "select failures from tool_failure", "--json")[1])["rows"] == [{"failures": 4}]


def test_a_table_of_every_session_is_made_within_the_time(command: Command) -> None:
    """Or the statement is refused, with what to do."""
    _record("default", "one")
    with Home() as opened, pytest.raises(QueryRefused, match="--seconds"):
        made_tables.tables(opened.projects[0], "select * from post_mortem", seconds=-1)
