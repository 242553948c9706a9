"""Recorded runs in Python; that their figures are those of commands and hubs, `tests/server/test_doors.py` shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import config, runs
from localops.config import Config
from localops.errors import ConfigError, NotFound
from localops.reading import mirrored
from localops.reading.home import Filters
from localops.runs import Runs
from localops.upkeep import score_runs
from localops.upkeep.views import Views, checked

_KEY = "sk-ant-api03-" + "Ab3" * 30


@pytest.fixture
def past() -> Iterator[Runs]:
    """Record a good run and one that loops and fails, and open the home."""
    for name, calls in (("good", 1), ("bad", 4)):
        session = localops.start_session(name=name, tags=["nightly", name])
        for _ in range(calls):
            session.record(localops.ToolEvent(name="search", params={"q": "tides"}, returns=[]))
        session.end_session("Success" if name == "good" else "Failure", "too late" if name == "bad" else None)
    with runs.opened() as opened:
        yield opened


def _names(past: Runs, **filters: Any) -> list[str | None]:
    return [session.name for session in past.sessions(**filters)]


def test_sessions_are_found_and_filtered(past: Runs) -> None:
    """By the filters of the list, with several values, numbers, or a saved view."""
    assert _names(past) == ["bad", "good"]
    assert _names(past, state="failure") == _names(past, not_tag=["good", "x"]) == ["bad"]
    assert _names(past, tag=["good", "bad"], since="1h", errors=False) == ["bad", "good"]
    assert _names(past, text="tides", max_cost=0.5) == ["bad", "good"]
    assert (_names(past, errors=True), _names(past, until="1h")) == ([], [])
    Views(config.home()).save(checked("bad ones", {"state": "Failure"}))
    assert _names(past, view="bad ones") == ["bad"]
    session = past.session()
    assert (session.name, session.reason, past.session(session.id).id) == ("bad", "too late", session.id)
    assert repr(session) == f"<PastSession 'bad' {str(session.id)[:13]}, Failure in default>"


def test_a_score_that_no_session_has_is_one_warning(past: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """With the scores that there are: the list is empty as well if it is only misspelled."""
    with localops.start_session() as judged:
        judged.score("tidy", 1)
    assert [list(past.sessions(score="tidi>0")), list(past.sessions(score="tidi>0"))] == [[], []]
    assert capsys.readouterr().err == "localops: no session has the score 'tidi'; existing scores: 'tidy'\n"


def test_what_cannot_be_found_is_an_error(past: Runs, tmp_path: Path) -> None:
    """A mistyped filter is not ignored, nor a home that is not there taken for an empty one."""
    with pytest.raises(ConfigError, match="invalid filter 'tags': expected one of state, tag, "):
        past.sessions(tags="nightly")
    with pytest.raises(NotFound, match="no saved view 'x'"):
        past.sessions(view="x")
    with pytest.raises(NotFound):
        past.session("00000000")
    for home, project in ((tmp_path / "nowhere", None), (None, "other")):
        with pytest.raises(NotFound), runs.opened(home, project):
            pass


def test_the_cache_of_a_hub_is_refused(tmp_path: Path) -> None:
    """It has a part of the rows only, so its figures would be too small."""
    mirrored.note(str(tmp_path), "clickhouse://there")
    with pytest.raises(ConfigError, match="is only the cache of a hub"), runs.opened(tmp_path):
        pass


def test_a_run_is_explained_and_held_against_another(past: Runs, tmp_path: Path) -> None:
    """The same as the commands do; a polling tool can be named."""
    bad, good = past.sessions()
    assert "too late" in bad.why_markdown()
    assert (bad.loops()["loops_count"], bad.loops(polling=["search"])["loops_count"]) == (1, 0)
    path = tmp_path / "baseline.json"
    good.save_baseline(path)
    assert bad.check(path, same_tools=True) == bad.check(good, same_tools=True)
    assert (bad.check(good, max_calls="+3")["passed"], bad.check(good, max_calls="+10%")["passed"]) == (True, False)
    with pytest.raises(ConfigError, match="needs a baseline"):
        bad.check(max_cost="+10%")
    differences = good.diff(bad, limit=1)
    assert (differences["counts"]["added"], len(differences["differences"]), differences["more"]) == (3, 1, 2)


def test_sessions_are_exported(past: Runs, tmp_path: Path) -> None:
    """One or several, in the format of the ending; a file is only replaced where that is asked for."""
    path = tmp_path / "runs.md"
    past.export(past.session(), path)
    assert path.read_text().startswith("# `bad`")
    with pytest.raises(ConfigError, match="replace=True"):
        past.export(past.sessions(), path)
    past.export(past.sessions(), path, replace=True)
    assert ("# `good`" in path.read_text(), os.stat(path).st_mode & 0o777) == (True, 0o600)
    past.export(past.sessions(), tmp_path / "runs.db")
    with pytest.raises(ConfigError, match="invalid format None of "):
        past.export(past.session(), tmp_path / "runs.what")


def test_secrets_are_found(past: Runs) -> None:
    """By rule and place, with the rules of today."""
    assert past.secrets()["ok"]
    session = localops.start_session(name="leak", config=Config(redact=False))
    session.record(localops.ToolEvent(name="search", params={"header": _KEY}))
    session.end_session("Success")
    with runs.opened(project="default") as opened:
        assert opened.secrets(since="1h")["rules"] == {"anthropic": 1}
        assert opened.secrets()["places"][0]["session"] == str(session.session_id)


def test_a_function_that_judges_can_ask_for_loops(past: Runs, tmp_path: Path) -> None:
    """It gets such a session, too."""
    path = tmp_path / "my_scores.py"
    path.write_text("def score_steady(session):\n    return session.loops()['loops_count'] == 0\n")
    done = score_runs.judge(str(path), Config(), Filters(), processes=1)
    assert (done.scores, done.failures) == (2, [])
    with runs.opened() as opened:
        assert [one.scores[0]["value"] for one in opened.sessions()] == [False, True]
