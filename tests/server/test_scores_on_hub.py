"""Scores and notes reach a hub and another machine, with their history, and count there as here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal import stored
from localops.reading import given_scores
from localops.reading.home import Home
from localops.server.home_store import HomeStore
from localops.transfer import bundle, validation
from localops.transfer.delivery import Ledger, Limits
from localops_sync import bundle_file
from localops_sync.bundle_file import Share
from tests.server.uis import RealPages


def _scored() -> localops.Session:
    """Record a session with scores and a note; return it."""
    session = localops.start_session(name="run")
    plan = localops.ActionEvent(action_type="plan")
    session.record(plan)
    session.score("correct", 0.25, by="ann", comment="the first look")
    session.score("useful", True, event=plan, version="2")
    session.end_session("Success")
    session.score("correct", 0.5, by="ann")
    session.score("kind", "good", by="judge")
    session.note("see the ticket", by="ann")
    return session


def _given(folder: str, session: localops.Session) -> dict[str, Any]:
    with Home(folder) as home:
        project, id = home.find(str(session.session_id))
        return given_scores.together(given_scores.of_session(project.reader, id))


def _carry(folder: Path, hub: HomeStore) -> None:
    with Home(str(folder)) as home:
        ledger = Ledger(home.projects[0].reader, home.projects[0].folder, "hub")
        for batch in ledger.batches(Limits(rows=3)):
            arrived, refused = bundle.unpack(bundle.pack(batch).splitlines())
            arrived = validation.admit(arrived, refused)
            assert not refused
            hub.ingest("default", arrived, refused=refused, by="hub", key="key")


_READS = [
    "sessions?text=x&",
    "facets?",
    "facets?of=tag&",
    "summary?",
    "analytics?",
    "analytics?by=model&",
    "analytics/speeds?",
    "analytics/daily?",
    "analytics/scores?",
    "analytics/distributions?",
    "calls?",
    "calls/groups?by=tool&",
]


def test_a_score_that_no_session_has_is_named() -> None:
    """With those that there are: by a filter as a hint, by an order as the refusal of the command."""
    _scored()
    reason = "existing scores: 'correct', 'kind', 'useful'"
    with Home() as home, RealPages(Path(home.folder)) as pages:
        page = json.loads(pages.get("/api/1/sessions?score=nope").text)
        assert (page["sessions"], page["hint"]) == ([], f"no session has the score 'nope'; {reason}")
        for read in _READS:
            facts = json.loads(pages.get(f"/api/1/{read}score=nope").text)
            assert facts["hint"] == f"no session has the score 'nope'; {reason}", read
            assert "hint" not in json.loads(pages.get(f"/api/1/{read}score=correct").text), read
        for asked, reason in {
            "correct@bob": "no score 'correct' is by 'bob'; there are some by 'ann'",
            "correct>0.9": "no score 'correct' is > 0.9; existing values: 0.5",
        }.items():
            escaped = asked.replace(">", "%3E")
            for read in ("sessions?", "analytics?", "analytics?by=model&", "calls?", "calls/groups?by=tool&"):
                assert json.loads(pages.get(f"/api/1/{read}score={escaped}").text).get("hint") == reason, read
            one_empty = json.loads(
                pages.get(f"/api/1/compare/groups?a=score%3Dcorrect&b=score%3D{escaped.replace('%', '%25')}").text
            )
            assert one_empty["hint"] == reason
        reason = "existing scores: 'correct', 'kind', 'useful'"
        groups = json.loads(pages.get("/api/1/compare/groups?a=score%3Dcorrect&b=score%3Dnope").text)
        assert groups["hint"] == f"no session has the score 'nope'; {reason}"
        exported = pages.get("/api/1/export?score=nope")
        assert (exported.status, reason in exported.text) == (404, True)
        refused = pages.get("/api/1/sessions?sort=score:nope")
        assert (refused.status, reason in refused.text) == (400, True)
        assert len(json.loads(pages.get("/api/1/sessions?sort=score:correct").text)["sessions"]) == 1


def test_a_hub_has_the_scores_of_the_machine(tmp_path: Path) -> None:
    """With authors, versions, comments and what counted earlier; no figure of a session differs by them."""
    session = _scored()
    home, there = str(tmp_path / "home"), str(tmp_path / "hub")
    store = HomeStore(there)
    try:
        _carry(tmp_path / "home", store)
    finally:
        store.close()
    here = _given(home, session)
    assert [each["value"] for each in here["scores"]] == [0.25, True, 0.5, "good"]
    assert [each["text"] for each in here["notes"]] == ["see the ticket"]
    assert _given(there, session) == here


def test_a_bundle_carries_scores(tmp_path: Path) -> None:
    """Imported once or twice, each is there once."""
    session = _scored()
    home, there, path = str(tmp_path / "home"), str(tmp_path / "there"), str(tmp_path / "run.lops")
    bundle_file.pack(home, [Share("default")], path)
    for _ in range(2):
        bundle_file.unpack(there, path)
    assert _given(there, session) == _given(home, session)


@pytest.mark.parametrize("part", ["first look", "ticket"])
def test_a_remote_without_content_gets_no_comments(part: str) -> None:
    """The words of comments and notes stay here; names and values go."""
    session = _scored()
    with Home() as home:
        project, id = home.find(str(session.session_id))
        rows = [row for row in stored.of_session(project.reader, id) if row.kind == "scored"]
    sent = [bundle.without_content(row) for row in rows]
    assert sum(part in (row.body or "") for row in rows) == 1
    assert not any(part in (row.body or "") for row in sent)
    assert [row.name for row in sent] == ["correct", "useful", "correct", "kind", None]
    assert sum("0.25" in (row.body or "") for row in sent) == 1
    assert [bundle.has_content(row) for row in rows] == [True, False, False, False, True]
    assert all(row.is_intact for row in sent)
