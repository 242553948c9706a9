"""What was recorded, and sent to a hub as OpenTelemetry, is the same there: rows and figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal import rows
from localops.journal.reader import Reader
from localops.reading import analytics
from localops.reading.story import Story
from localops.transfer.remotes import Remote
from localops_sync import exit_codes, worker
from tests import programs
from tests.server.hubs import RealHub, hub
from tests.server.spans import stored

_NOT_COMPARED = ("format", "sum")


def _record() -> str:
    """Record a session with all kinds of events; return its id in hex."""
    session = localops.init(tags=["tide"], trace_name="day")
    session.update_metadata({"team": "sea"})
    session.create_agent("Pilot")
    with session.operation("plan", kind="agent", params={"port": "Brest"}):
        localops.record(
            localops.LLMEvent(
                prompt=[{"role": "user", "content": "how high is the tide at Brest?"}],
                completion={"role": "assistant", "content": "4 m"},
                model="gpt-4o",
                prompt_tokens=9,
                completion_tokens=3,
                cached_tokens=2,
            )
        )
        localops.record(
            localops.ToolEvent(name="tides", params={"place": "Brest"}, returns=4.5, call_id="c1", tags=["x"])
        )
        localops.record(localops.ErrorEvent(exception=ValueError("no tide")))
    localops.record(
        localops.ActionEvent(name="moor", params={"odd": [1, 2.5, None, "é", {"$": 1}]}, returns="done " * 30)
    )
    localops.end_session("Success", "all done")
    return session.session_id.hex


def _sent(there: RealHub, protocol: str) -> None:
    remote = Remote("spans", there.url, kind="otlp", key=there.key, options={"protocol": protocol})
    outcome = worker.sync(os.environ["LOCALOPS_HOME"], "default", remote)
    assert outcome.code == exit_codes.DONE, outcome


@pytest.mark.parametrize("protocol", ["protobuf", "json"])
def test_rows_come_back_as_they_were(tmp_path: Path, protocol: str) -> None:
    """All rows of work by id and column, and the figures of the session; once, also when they are sent again."""
    session = _record()
    with programs.reader() as reader:
        own_tags = Story.read(reader, bytes.fromhex(session)).tags
        every = reader.ask(f"select {', '.join(rows.COLUMNS)} from event")
    named = [dict(zip(rows.COLUMNS, row, strict=True)) for row in every]
    ended = {row["id"]: row for row in named if row["kind"] not in rows.BOOKS and row["phase"] == rows.DONE}
    opened = {row["id"]: row for row in named if row["phase"] == rows.OPEN}
    with hub(tmp_path) as there:
        _sent(there, protocol)
        here = {row["id"]: row for row in stored(there, session)}
        assert here.keys() == ended.keys()
        for id, row in ended.items():
            _compare(here[id], row, opened.get(id))
        status, facts = there.ask("GET", f"/api/1/sessions/{session}")
        assert (status, facts["name"], facts["state"], facts["reason"]) == (200, "day", "Success", "all done")
        assert (facts["tags"], facts["metadata"]) == (own_tags, {"team": "sea"})
        with Reader(str(there.folder / "journal.db")) as reader:
            figures = analytics.totals(reader, bytes.fromhex(session))
        # An operation that had a row when it began is one row there.
        assert figures._replace(rows=0, last_seq=0) == programs.figures(bytes.fromhex(session))._replace(
            rows=0, last_seq=0
        )
        _sent_again(there, protocol)
        assert len(stored(there, session)) == len(here)


def _sent_again(there: RealHub, protocol: str) -> None:
    """Send everything again, as to a remote that knows nothing of the first time."""
    remote = Remote("again", there.url, kind="otlp", key=there.key, options={"protocol": protocol})
    assert worker.sync(os.environ["LOCALOPS_HOME"], "default", remote).code == exit_codes.DONE


def _compare(here: dict[str, Any], row: dict[str, Any], opened: dict[str, Any] | None) -> None:
    for name in rows.COLUMNS:
        if name not in (*_NOT_COMPARED, "body"):
            assert here[name] == row[name], (name, row)
    bodies = [json.loads(each["body"]) for each in (opened, row) if each is not None and each["body"]]
    assert json.loads(here["body"] or "{}") == {key: value for body in bodies for key, value in body.items()}
