"""The figures of a failed call: whether it was billed, and that every reader agrees."""

from __future__ import annotations

import json
import sqlite3
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal import rows, sql, stored
from localops.journal.reader import Reader
from localops.reading import analytics, export, facts, session_details, timeline
from localops.reading.snapshot import Snapshot
from localops.recording.billing import is_unbilled
from localops.recording.events import ActionEvent, ErrorEvent, LLMEvent, ToolEvent
from localops.recording.session import Session
from tests import warm


@pytest.fixture
def session() -> Session:
    """Return a session to record into."""
    session = localops.start_session()
    assert session is not None
    return session


class Status(Exception):
    """An error as the SDKs of providers raise it for a server's answer."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


class APIConnectionError(Exception):
    """An error as the SDKs raise it for their HTTP client."""


class ConnectError(Exception):
    """An error as httpx raises it before a connection."""


class ReadTimeout(Exception):
    """An error as httpx raises it after the call was sent."""


def _raised_for(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def _raised_while(error: Exception, earlier: BaseException) -> Exception:
    error.__context__ = earlier
    return error


@pytest.mark.parametrize("recorded_before", [False, True])
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, {"exception": ConnectionRefusedError(111, "refused")}),
        ({}, {"exception": ssl.SSLCertVerificationError("no such issuer")}),
        ({}, {"exception": _raised_for(APIConnectionError("Connection error."), ConnectError("no such host"))}),
        ({}, {"exception": Exception(_raised_for(APIConnectionError(), ConnectError()))}),
        *(({}, {"exception": Status(code)}) for code in (400, 401, 403, 404, 422, 429)),
        ({}, {"error_type": "RateLimitError"}),
        ({}, {"error_type": "Refused", "code": 429}),
        ({"model": "home-grown"}, {"code": "401"}),
        ({"completion": ""}, {"exception": Status(429)}),
    ],
)
def test_what_failed_before_it_was_billed_cost_nothing(
    session: Session, given: dict[str, Any], error: dict[str, Any], recorded_before: bool
) -> None:
    """Without a connection, or refused, the cost is 0, whether the call was recorded before its error or with it."""
    call = LLMEvent(**{"model": "gpt-4o", **given})
    if recorded_before:
        session.record(call)
    session.record(ErrorEvent(trigger_event=call, **error))
    (event,) = (each for each in session.events if each["kind"] == "llm")
    assert (event["cost"], event["billed"], event["failed"]) == (0, False, True)
    assert "Unpriced" not in session.get_analytics()
    assert [part.unpriced for part in analytics.parts(session._journal, session._id, "model")] == [0]


@pytest.mark.parametrize("recorded_before", [False, True])
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, {"exception": TimeoutError("no answer")}),
        ({}, {"exception": _raised_for(APIConnectionError("Connection error."), ReadTimeout())}),
        ({}, {"exception": _raised_while(ReadTimeout(), ConnectionRefusedError())}),
        ({}, {"exception": ConnectionResetError(104, "reset")}),
        ({}, {"exception": ssl.SSLEOFError("broke off")}),
        *(({}, {"exception": Status(code)}) for code in (408, 499, 500, 503)),
        ({}, {"exception": ValueError("the answer is no JSON")}),
        ({}, {"error_type": "Timeout"}),
        ({"model": None}, {"exception": TimeoutError()}),
        ({"completion": "partial answer"}, {"exception": Status(429)}),
        ({"prompt_tokens": 10, "model": "home-grown"}, {"exception": Status(429)}),
    ],
)
def test_what_may_have_been_billed_is_unpriced(
    session: Session, given: dict[str, Any], error: dict[str, Any], recorded_before: bool
) -> None:
    """A call of unknown cost is counted as that, never as free."""
    call = LLMEvent(**{"model": "gpt-4o", **given})
    if recorded_before:
        session.record(call)
    session.record(ErrorEvent(trigger_event=call, **error))
    (event,) = (each for each in session.events if each["kind"] == "llm")
    assert (event["cost"], "billed" in event, event["failed"]) == (None, False, True)
    assert session.get_analytics()["Unpriced"] == 1


def test_an_exception_that_refuses_to_be_looked_at_leaves_the_call_unpriced(session: Session) -> None:
    """An exception that cannot be inspected leaves it unknown."""

    class Strange(Exception):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    session.record(ErrorEvent(trigger_event=LLMEvent(model="gpt-4o"), exception=Strange(), details="strange"))
    assert session.get_analytics()["Unpriced"] == 1


def test_a_tool_is_no_call_to_be_billed() -> None:
    """Only LLM calls are."""
    assert not is_unbilled(ToolEvent(name="search"), ErrorEvent(exception=Status(429)))


def test_an_event_of_another_class_that_counts_as_an_llm_call_is_not_billed(session: Session) -> None:
    """It has no usage that could be priced, so no cost is missing."""
    session.record(ActionEvent("llms"))
    figures = session.get_analytics()
    assert (figures["LLM calls"], "Unpriced" in figures) == (1, False)
    (event,) = session.events
    assert (event["cost"], event["billed"]) == (0, False)


# Every reader


@pytest.fixture
def failed(session: Session) -> Session:
    """Return a session in which calls were recorded before and with their errors; three events of six failed."""
    session.record(before := LLMEvent(model="gpt-4o"))
    session.record(ErrorEvent(trigger_event=before, exception=Status(429)))
    session.record(ErrorEvent(trigger_event=LLMEvent(model="gpt-4o"), exception=Status(429)))
    session.record(tool := ToolEvent(name="search"))
    session.record(ErrorEvent(trigger_event=tool, exception=KeyError("id")))
    return session


@pytest.mark.parametrize("folded", [False, True])
def test_every_reader_says_the_same_of_a_call_that_failed_later(failed: Session, tmp_path: Path, folded: bool) -> None:
    """A call recorded before its error is failed and not billed like one recorded with it."""
    if folded:
        failed._journal.fold()
    id, folder = failed._id, failed._journal.folder
    with Reader(f"{folder}/journal.db") as reader:
        events = list(analytics.events(reader, id))
        wanted = [("llm", True, 0), ("llm", True, 0), ("tool", True, None)]
        assert [(one["kind"], one["failed"], one["cost"]) for one in events if one["kind"] != "error"] == wanted
        totals = analytics.totals(reader, id)
        assert (totals.events, totals.failed, totals.unpriced) == (6, 3, 0)
        assert sum(one["failed"] for one in events) == totals.failed
        for dim, many in (("model", 2), ("tool", 1)):
            assert [part.failed for part in analytics.parts(reader, id, dim)] == [many]
        by_kind = {line.value: (line.events, line.failed, line.unpriced) for line in analytics.by_kind(reader, id)}
        assert by_kind == {"llm": (2, 2, 0), "tool": (1, 1, 0), "error": (3, 0, 0)}
        over_all = analytics.across(reader, "kind", analytics.Chosen())
        assert {line.value: (line.events, line.failed, line.unpriced) for line in over_all} == by_kind
        page = timeline.page(reader, Snapshot(reader, folder, id), after=0, limit=100)
        kinds: Any = page["kinds"]
        marked = dict(zip(page["seq"], page["failed"], strict=True))
        marked.update(dict.fromkeys(page["later_failed"], 1))
        assert (sum(marked.values()), set(kinds)) == (3, {"llm", "tool", "error"})
        later = analytics.afterwards(reader, id)
        work = [row for row in stored.of_session(reader, id) if row.kind not in rows.BOOKS]
        pages = [facts.event(row, None, later.get(row.id)) for row in work]
        assert [(one["failed"], one["cost_nano"]) for one in pages if one["kind"] == "llm"] == [(True, 0)] * 2
        view = reader.ask("select kind, failed, cost_usd from event_detail order by seq", {})
        assert [row for row in view if row[0] != "error"] == [("llm", 1, 0.0), ("llm", 1, 0.0), ("tool", 1, None)]
        assert sum(row[1] or 0 for row in view) == totals.failed
        run = export.Run("default", folder, reader, id)
        document = export.document(run)
        assert [(one["failed"], one["cost"], one["billed"]) for one in document["llms"]] == [(True, 0.0, False)] * 2
        assert [one["failed"] for one in document["tools"]] == [True]
        with open(tmp_path / "sheet.csv", "wb") as file:
            export.write_csv([run], file)
    lines = (tmp_path / "sheet.csv").read_text().splitlines()
    column = lines[0].split(",").index("failed")
    assert sum("Traceback" not in line and line.split(",")[column] == "1" for line in lines[1:] if ",llm," in line) == 2


def test_commands_mark_a_call_that_failed_later(failed: Session) -> None:
    """`show` crosses out three events, and says of the two calls that they were not billed."""
    failed.end_session("Failure")
    command = [sys.executable, "-m", "localops", "show"]
    tree = warm.run([*command, "--tree"], capture_output=True, check=True).stdout
    assert (tree.count("✗ llm gpt-4o"), tree.count("✗ tool search"), tree.count("not billed")) == (2, 1, 2)
    first = next(one for one in failed.events if one["kind"] == "llm")
    one = warm.run([*command, "--event", first["id"]], capture_output=True, check=True).stdout
    assert "✗ llm gpt-4o" in one
    assert "not billed" in one
    as_json = json.loads(warm.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert [one["failed"] for one in as_json["events"] if one["kind"] == "llm"] == [True, True]


def test_the_page_says_that_calls_were_not_billed(failed: Session) -> None:
    """No cost was given for them, and no price table is involved."""
    from localops.reading.home import Home

    with Home(str(Path(failed._journal.folder).parent)) as home:
        project, id = home.find("last")
        provenance = session_details.more(project, project.snapshot(id))["provenance"]
    assert isinstance(provenance, dict)
    assert [provenance[name] for name in ("given", "priced", "later", "unbilled", "unpriced")] == [0, 0, 0, 2, 0]


def test_the_share_that_failed_is_that_of_all_events(failed: Session) -> None:
    """The denominator is the same everywhere: the events that are counted, with errors."""
    totals = analytics.totals(failed._journal, failed._id)
    assert analytics.error_rate(totals) == 3 / 6
    command = [sys.executable, "-m", "localops", "analytics", "last"]
    assert "3 calls and operations (50% of 6 events)" in warm.run(command, capture_output=True, check=True).stdout


def test_an_exported_file_of_tables_says_the_same(failed: Session, tmp_path: Path) -> None:
    """The SQLite file marks them, too."""
    path = tmp_path / "out.sqlite"
    failed.end_session("Failure")
    command = [sys.executable, "-m", "localops", "export", "last", "--format", "sqlite", "-o", str(path)]
    warm.run(command, capture_output=True, check=True)
    with sqlite3.connect(path) as file:
        assert file.execute("select failed from events where kind in ('llm', 'tool')").fetchall() == [(1,)] * 3
    file.close()


def test_sql_uses_the_name_of_the_price_row() -> None:
    """The name is repeated in the SQL."""
    assert f"'{rows.UNBILLED}'" in sql.script("queries.sql")
