"""The calls of all sessions over HTTP: the same as the command's, in one project of a hub and in all of a home."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from localops import clock, config
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import call_table
from localops.reading.analytics import Chosen
from localops.reading.call_query import CallFilters
from localops.reading.filters import Filters
from localops.reading.home import Home
from localops.server.home_reader import HomeReader
from localops.upkeep import prune
from tests import made
from tests.server.hubs import RealHub, batch_of

_ARGS = encode.dumps({"params": {"number": "EU-1"}}).decode()
_ORDER: dict[str, Any] = {"sort": "cost", "ascending": False, "after": None, "limit": 50}


def _session(name: str, *, ends: bool = True) -> tuple[str, list[rows.Row]]:
    """Return the id and the rows of a session with calls of a tool that fails, and of a model."""
    session = clock.new_id()
    written = [made.event(name, "session", session, id=session, tags=f'["{name}"]', body="{}")]
    for number in range(3):
        failed = clock.new_id()
        link = encode.dumps({"details": "no such order", "trigger": {"kind": "tool", "name": "get_order"}}).decode()
        written += [
            made.event("get_order", "tool", session, id=failed, failed=1, body=_ARGS),
            made.event("LookupError", "error", session, parent=failed, body=link),
            made.event("", "llm", session, model="gpt-4o", cost=number, tokens=(9, 1, None, None), body="{}"),
        ]
    if not ends:
        return rows.id_text(session), [*written, made.event("", "llm", session, phase=rows.OPEN, model="gpt-4o")]
    return rows.id_text(session), [*written, made.event("Success", "end", session)]


def _get(running: RealHub, path: str, **query: Any) -> Any:
    status, facts = running.ask("GET", f"/api/1/{path}?{urlencode(query, doseq=True)}")
    assert status == 200, facts
    return facts


def test_calls_and_groups_of_a_hub(running: RealHub) -> None:
    """Pages, groups and the figures of all, of the sessions that the filters of the list choose."""
    ident, written = _session("first")
    _, others = _session("second")
    assert running.take(batch_of(written + others))[0] == 200
    page = _get(running, "calls", sort="cost", tag="first", limit=2)
    assert [(call["cost_nano"], call["session_id"], call["session_name"]) for call in page["calls"]] == [
        (2, ident, "first"),
        (1, ident, "first"),
    ]
    rest = _get(running, "calls", sort="cost", tag="first", limit=50, after=page["next"])
    assert ([call["kind"] for call in rest["calls"]], rest["next"]) == (["llm", "tool", "tool", "tool"], None)
    event = _get(running, f"sessions/{ident}/events/{rest['calls'][-1]['seq']}")
    assert (event["name"], event["failed"]) == ("get_order", True)
    for text in ("EU*", "such order"):
        matches = _get(running, "calls", text=text, tag="first")
        assert [call["tool"] for call in matches["calls"]] == ["get_order"] * 3
        assert {call["match"]["in"] for call in matches["calls"]} == {"arguments" if text == "EU*" else "error"}
        assert (matches["exact"], matches["searching"]) == (True, False)
    assert _get(running, "calls/groups", text="EU*", **{"in": "error"})["calls"] == 0
    [like] = _get(running, "calls/groups", by="model", like="PT-4")["lines"]
    assert (like["model"], _get(running, "calls/groups", by="tool", like="x")["lines"]) == ("gpt-4o", [])
    for query in ({"tag": "first"}, {"text": ident}, {"session": ident}, {"not_tag": "second"}, {"name": "fir*"}):
        figures = _get(running, "calls/groups", **query)
        assert (figures["calls"], figures["failed"], figures["cost_nano"], figures["exact"]) == (6, 3, 3, True)
    groups = _get(running, "calls/groups", by="tool")
    [line] = groups["lines"]
    assert (line["tool"], line["calls"], line["failed"], groups["unread"]) == ("get_order", 6, 6, 0)
    [example] = line["examples"]
    assert (example["input"], example["calls"], example["error"], example["message"]) == (
        "number=EU-1",
        6,
        "LookupError",
        "no such order",
    )
    assert len(_get(running, "calls", **line["filter"])["calls"]) == 6
    assert _get(running, "calls/groups", tag="nothing")["calls"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "calls?sort=x",
        "calls?order=x",
        "calls?after=x",
        "calls?kind=agent",
        "calls?same=x",
        "calls?prompt=x",
        "calls?limit=0",
        "calls?state=x",
        "calls?text=a&in=x",
        "calls?text=-",
        "calls/groups?by=x",
        "calls/groups?by=prompt&like=x",
        "calls/groups?by=tool&sort=began",
    ],
)
def test_invalid_requests_are_refused(running: RealHub, query: str) -> None:
    """With a sentence."""
    status, facts = running.ask("GET", f"/api/1/{query}")
    assert status == 400
    assert facts["message"]


def test_a_session_that_does_not_exist_is_not_found(running: RealHub) -> None:
    """Of a text that cannot be an id; a session that is unknown has no calls."""
    assert running.ask("GET", "/api/1/calls?session=x")[0] == 404
    assert _get(running, "calls", session=str(uuid.uuid4()))["calls"] == []


def _write(home: Path, project: str, written: list[rows.Row]) -> str:
    journal = Journal(str(home / project))
    journal.add(written)
    journal.close()
    return os.path.join(config.project_folder(str(home), project))


def test_a_reader_follows_projects_and_deletions(tmp_path: Path) -> None:
    """New rows, a new project and a pruned session are in the next answer."""
    _, written = _session("first")
    folder = _write(tmp_path, "one", written)
    reader = HomeReader(str(tmp_path), fresh=0)
    assert len(reader.calls(None, CallFilters(), Filters(), **_ORDER)["calls"]) == 6
    ident, written = _session("second", ends=False)
    _write(tmp_path, "two", written)
    both = reader.calls(None, CallFilters(), Filters(), **_ORDER)
    assert {(call["project"], call["session_name"]) for call in both["calls"]} == {("one", "first"), ("two", "second")}
    assert len(both["calls"]) == 13
    listed = reader.calls(None, CallFilters(session=uuid.UUID(ident).bytes), Filters(), **{**_ORDER, "sort": "began"})
    newest = listed["calls"][0]
    assert (newest["finished"], newest["seconds"], newest["cost_nano"]) == (False, None, None)
    # Its process is not known to be alive, so that what it cost is not known either.
    [line] = reader.call_groups(None, CallFilters(), Filters(), by="model", sort="cost", limit=5)["lines"]
    assert (line["calls"], line["unfinished"], line["unpriced"], line["cost_at_least"]) == (6, 1, 0, True)
    assert reader.analytics(None, "model", Chosen(), limit=5)["lines"][0]["cost_at_least"] is True
    with Home(str(tmp_path), "one") as home:
        choices = [prune.look(home.projects[0].reader, folder, listed.session) for listed in home.sessions()]
    journal = Journal(folder)
    prune.take(journal, choices)
    journal.close()
    assert not os.path.exists(os.path.join(folder, call_table.FILE))
    assert len(reader.calls(None, CallFilters(), Filters(), **_ORDER)["calls"]) == 7
    # What was deleted is not read on from a file without a name.
    assert os.path.exists(os.path.join(folder, call_table.FILE))
    reader.close()


def test_many_rows_are_read_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that lacks some reports how many, and a later one has them all."""
    monkeypatch.setattr(call_table, "SOON", 5)
    _write(tmp_path, "one", _session("first")[1])
    reader = HomeReader(str(tmp_path))
    first = reader.call_groups(None, CallFilters(), Filters(), by=None, sort="calls", limit=5)
    assert (first["unread"], first["exact"]) == (12, False)
    for _ in range(500):
        later = reader.call_groups(None, CallFilters(), Filters(), by=None, sort="calls", limit=5)
        if not later["unread"]:
            break
        time.sleep(0.02)
    assert (later["calls"], later["unread"], later["exact"]) == (6, 0, True)
    reader.close()


def test_groups_of_sessions_are_compared(running: RealHub) -> None:
    """Each by filters of its own; a group of another project, or by an unknown filter, is refused."""
    for name in ("old prompt", "new prompt", "new prompt"):
        assert running.take(batch_of(_session(name)[1]))[0] == 200
    facts = _get(running, "compare/groups", a="tag=old+prompt", b="tag=new+prompt&state=Success&since=1h")
    assert (facts["a"]["sessions"], facts["b"]) == (1, {"sessions": 2, "states": {"Success": 2}})
    figures = {line["name"]: line for line in facts["figures"]}
    assert figures["tool_calls"]["b"] == {"count": 2, "mean": 3.0, "low": 3.0, "high": 3.0}
    assert figures["cost_usd"]["a"]["mean"] == pytest.approx(3e-9)
    assert (figures["tool_calls"]["difference"]["by"], facts["scores"]) == (0.0, [])
    for query, status in (("a=tag%3Da", 400), ("a=x%3D1&b=tag%3Db", 400), ("a=project%3Dother&b=tag%3Db", 404)):
        assert running.ask("GET", f"/api/1/compare/groups?{query}")[0] == status, query
    assert _get(running, "compare/groups", a="tag=nothing", b="tag=old+prompt")["a"]["sessions"] == 0
