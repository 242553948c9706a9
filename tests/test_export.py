"""Runs are exported in every format, with the same figures in each and nothing dangerous in any."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import localops
from localops.decorators import operation, tool
from localops.encoding.pricing import Prices
from localops.journal import wire
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import export, made_tables, report
from localops.reading.home import Home
from localops.upkeep.repricing import reprice
from tests import programs

_HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[2J"

# The keys of AgentOps' own export.
_TIMES = "init_timestamp end_timestamp"
_EVENT = f"id session_id agent_id params returns {_TIMES}"
_KEYS = {
    "session": f"id project_id project_id_secondary {_TIMES} tags end_state end_state_reason video host_env",
    "actions": f"{_EVENT} action_type logs screenshot",
    "llms": f"{_EVENT} thread_id prompt completion model prompt_tokens completion_tokens cost",
    "tools": f"{_EVENT} name logs",
    "errors": "id session_id trigger_event_id trigger_event_type error_type code details logs timestamp",
}


@tool(cost=0.25)
def _search(query: str) -> str:
    if query == "nothing":
        raise LookupError("no such thing")
    return f"found {query}"


@operation
def _work() -> str:
    return _search("=1+1")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[export.Run]:
    """Return a session with an event of each kind, recorded through the public API."""
    session = localops.init(project="p", tags=["a", "b"])
    assert session is not None
    localops.create_agent("scout")
    localops.record(
        localops.LLMEvent(prompt="hi", completion=_HOSTILE, model="gpt-4o", prompt_tokens=9, completion_tokens=1)
    )
    localops.record(
        localops.LLMEvent(prompt=[{"role": "user"}], model="of-my-own", prompt_tokens=9, completion_tokens=1)
    )
    _work()
    with pytest.raises(LookupError):
        _search("nothing")
    localops.record(localops.Event("guess", params={"n": 1}))
    localops.record(localops.ActionEvent(action_type="=HYPERLINK(1)", params="@SUM(1)", returns="+1"))
    session.end_session("Failure", "it was a test")
    folder = tmp_path / "home" / "p"
    with Reader(str(folder / "journal.db")) as reader:
        yield export.Run("p", str(folder), reader, session.session_id.bytes)


def test_json_has_every_key_of_agentops(run: export.Run) -> None:
    """A program that reads AgentOps' export finds all of its keys, and the missing parts beside them."""
    document = export.document(run)
    for group, keys in _KEYS.items():
        rows = document[group] if isinstance(document[group], list) else [document[group]]
        assert rows, group
        assert all(set(keys.split()) <= row.keys() for row in rows), group
    assert (document["end_state"], document["session"]["end_state_reason"]) == ("Failure", "it was a test")
    assert (document["tags"], document["session"]["tags"]) == (["a", "b"], '["a","b"]')
    assert [agent["name"] for agent in document["agents"]] == ["scout"]
    assert [event["kind"] for event in document["events"]] == ["guess"]
    assert document["stats"]["LLM calls"] == len(document["llms"]) == 2


def test_json_links_an_error_to_what_failed(run: export.Run) -> None:
    """The trigger is one of the exported tools, under its id and AgentOps' word for its kind."""
    document = export.document(run)
    (error,) = document["errors"]
    failed = [tool["id"] for tool in document["tools"] if tool["failed"]]
    assert ([error["trigger_event_id"]], error["trigger_event_type"]) == (failed, "tools")


def test_an_unknown_price_is_null_and_counted(run: export.Run) -> None:
    """A call without a known price is not shown as free."""
    document = export.document(run)
    costs = {call["model"]: call["cost_nano"] for call in document["llms"]}
    assert costs["of-my-own"] is None
    assert document["stats"]["unpriced"] == 1
    assert document["stats"]["cost_nano"] == costs["gpt-4o"] + 2 * 250_000_000


def test_a_price_that_came_later_is_in_every_form(run: export.Run) -> None:
    """A call that was priced afterwards is exported with its price, and the sums agree."""
    journal = Journal(run.folder)
    reprice(journal, "of-my-own", Prices({"of-my-own": {"input": 1, "output": 1}}), source="test")
    journal.close()
    document = export.document(run)
    assert {call["model"]: call["cost_nano"] for call in document["llms"]}["of-my-own"] == 10_000
    paid = [call["cost_nano"] or 0 for call in [*document["llms"], *document["tools"]]]
    assert (document["stats"]["cost_nano"], document["stats"]["unpriced"]) == (sum(paid), 0)


@pytest.mark.parametrize("many", [0, 1, 3])
def test_json_of_many_is_an_array(run: export.Run, many: int) -> None:
    """One session is one document; none or several are an array."""
    file = io.BytesIO()
    export.write_json([run] * many, file)
    document = json.loads(file.getvalue())
    assert len(document) == many if many != 1 else document["session"]


def test_jsonl_lines_are_the_rows_themselves(run: export.Run) -> None:
    """Exported rows can be read back, each with its checksum."""
    file = io.BytesIO()
    export.write_jsonl([run], file)
    exported = [wire.to_row(line) for line in file.getvalue().splitlines(keepends=True)]
    assert exported == [row.bare for row in run.reader.stream() if row.session == run.id]


def test_csv_never_holds_a_formula(run: export.Run) -> None:
    """A spreadsheet program shows recorded text and does not run it."""
    file = io.BytesIO()
    export.write_csv([run], file)
    cells = [cell for line in csv.reader(io.StringIO(file.getvalue().decode())) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    sheet = list(csv.DictReader(io.StringIO(file.getvalue().decode())))
    assert {row["kind"] for row in sheet} >= {"llm", "tool", "operation", "error", "guess", "agent"}


@pytest.fixture
def database(run: export.Run, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Return the session as a SQLite file, opened by the standard library."""
    path = tmp_path / "out.db"
    export.write_sqlite([run], str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


def test_sqlite_links_hold_and_figures_agree(run: export.Run, database: sqlite3.Connection) -> None:
    """Foreign keys lead somewhere, and sums over the calls are the session's own figures."""
    assert database.execute("pragma foreign_key_check").fetchall() == []
    calls, cost, failed = database.execute("select llm_calls, cost_usd, state from sessions").fetchone()
    assert calls == database.execute("select count(*) from llm_calls").fetchone()[0] == 2
    assert database.execute("select failed from sessions").fetchone()[0] == 1
    assert database.execute("select failed from llm_calls").fetchall() == [(0,), (0,)]
    paid = "select (select sum(cost_usd) from llm_calls) + (select sum(cost_usd) from tool_calls)"
    assert (database.execute(paid).fetchone()[0], failed) == (pytest.approx(cost), "Failure")


def test_a_call_that_never_ended_is_marked(tmp_path: Path) -> None:
    """In SQLite beside its figures, which sessions do not count, and in the spreadsheet.

    The duration of the session is a lower bound.
    """
    programs.run(
        "import os, localops\n"
        "session = localops.start_session()\n"
        "session.record(localops.ToolEvent(name='done'))\n"
        "session.record(localops.LLMEvent(model='gpt-4o', prompt_tokens=1, completion_tokens=1))\n"
        "with session.operation('look', kind='tool'), session.operation('ask', kind='llm', model='gpt-4o'):\n"
        "    os._exit(1)"
    )
    with Home() as home:
        project, id = home.find("last")
        run = export.Run(project.name, project.folder, project.reader, id)
        export.write_sqlite([run], str(tmp_path / "out.db"))
        with (tmp_path / "out.csv").open("wb") as file:
            export.write_csv([run], file)
        assert export.document(run)["duration_at_least"]
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        assert database.execute("select at_least, cost_at_least from sessions").fetchone() == (1, 1)
        for table in ("llm_calls", "tool_calls"):
            calls = database.execute(f"select finished, seconds is null from {table} order by finished").fetchall()
            assert calls == [(0, 1), (1, 0)]
            ended = f"select sum(finished) = (select {table} from sessions) from {table}"
            assert database.execute(ended).fetchone() == (1,)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert sorted((line["kind"], line["finished"]) for line in csv.DictReader(file)) == [
            ("llm", "0"),
            ("llm", "1"),
            ("tool", "0"),
            ("tool", "1"),
        ]


def test_sqlite_says_why_a_run_ended_and_what_repeats(tmp_path: Path) -> None:
    """The tables that `localops query` makes are in the file, with the same rows."""
    session = localops.start_session(name="stuck")
    for _ in range(3):
        session.record(localops.ErrorEvent(trigger_event=localops.ToolEvent(name="fetch"), exception=TimeoutError("x")))

    @tool(once=True)
    def pay_from_export() -> int:
        return 1

    pay_from_export()
    session.end_session("Failure")
    with Home() as home:
        project, id = home.find("last")
        made = {name: rows for name, (_, rows) in made_tables.tables(project, " ".join(made_tables.COLUMNS)).items()}
        export.write_sqlite([export.Run(project.name, project.folder, project.reader, id)], str(tmp_path / "out.db"))
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        assert {name: database.execute(f"select * from {name}").fetchall() for name in made} == made
    assert [len(made[name]) for name in made_tables.COLUMNS] == [1, 1, 1, 1]


def test_sqlite_is_searchable_and_described(database: sqlite3.Connection) -> None:
    """A full-text search finds a word in a result, and every column has a description."""
    hits = database.execute("select count(*) from events_fts where events_fts match 'found'").fetchone()
    assert hits[0] >= 1
    columns = database.execute(
        "select count(*) from descriptions d where not exists "
        "(select 1 from pragma_table_info(d.table_name) c where c.name = d.column_name)"
    ).fetchone()
    assert columns[0] == 0


def test_a_report_holds_recorded_text_only_as_data(run: export.Run) -> None:
    """No recorded character can end an element, and the policy lets nothing run or load but what is in the file."""
    file = io.BytesIO()
    report.write([run], file)
    page = file.getvalue().decode()
    part = r'<script type="(?:application/json|text/plain)" data-part="(\w+)"[^>]*>(.*?)</script>'
    parts = re.findall(part, page, re.DOTALL)
    assert [name for name, _ in parts] == ["facts", "timeline", "events", "answers"]
    assert not set("<>&") & set("".join(inside for _, inside in parts))
    events = [json.loads(line) for line in dict(parts)["events"].strip().splitlines()]
    assert _HOSTILE in [event.get("completion") for event in events]
    assert json.loads(dict(parts)["answers"])["entries"] == [event["entry"] for event in events]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search(r"unsafe|https?:|self", policy[1])
    assert not re.search(
        r"innerHTML|insertAdjacentHTML|document\.write|<(?:script|link|img) [^>]*(?:src|href)=.(?!data:)", page
    )


def test_a_report_has_the_same_bytes_each_time(run: export.Run) -> None:
    """Of sessions that have ended."""
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        report.write([run, run], file)
    assert files[0].getvalue() == files[1].getvalue()
