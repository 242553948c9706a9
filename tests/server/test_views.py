"""The door for saved views: guarded like that for scores, and per project on a hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.upkeep.views import Views, checked
from tests.server.hubs import RealHub, hub
from tests.server.uis import JSON, RealPages

_PATH = "/api/1/views"
_FAILURES = {"name": "failures", "filters": {"state": "Failure", "score": ["x<1", "y"], "since": "7d"}}
_KEPT = {"state": ["Failure"], "score": ["x<1", "y"], "since": ["7d"]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start a hub."""
    with hub(tmp_path_factory.mktemp("views"), "mine") as started:
        yield started


def _names(running: RealHub, key: str) -> list[str]:
    return [view["name"] for view in running.ask("GET", _PATH, key=key)[1]["views"]]


def _save(running: RealHub, document: object, key: str) -> tuple[int, Any]:
    return running.ask("POST", _PATH, json.dumps(document).encode(), key=key)


def _delete(running: RealHub, name: str, key: str) -> int:
    return running.ask("DELETE", f"{_PATH}?name={name}", key=key)[0]


def test_a_project_of_a_hub_has_views(running: RealHub) -> None:
    """A key of the scope saves and deletes them; one that reads lists them; another project's sees and changes none."""
    key = running.new_key("mine", scopes=("score",), note="ann")
    status, answer = _save(running, _FAILURES, key)
    assert status == 200, answer
    [view] = running.ask("GET", _PATH)[1]["views"]
    assert (view["name"], view["filters"], view["by"]) == ("failures", _KEPT, "ann")
    secret = f"sk-ant-api03-{'k7' * 20}"
    status, answer = _save(running, {"name": "secret", "filters": {"tag": secret}}, key)
    assert (status, answer["redacted"], answer["filters"]) == (200, 1, {"tag": ["[redacted:anthropic]"]})
    assert secret not in json.dumps(running.ask("GET", _PATH))
    assert _delete(running, "secret", key) == 200
    other, theirs = running.new_key("other"), running.new_key("other", scopes=("score",))
    assert _names(running, other) == []
    assert _delete(running, "failures", theirs) == 404
    for needs_score in (_save(running, _FAILURES, running.key)[0], _delete(running, "failures", running.key)):
        assert needs_score == 403
    assert _names(running, running.key) == ["failures"]
    assert _save(running, _FAILURES, key)[0] == 200
    status, answer = _save(
        running, {**_FAILURES, "filters": {}}, running.new_key("mine", scopes=("score",), note="bob")
    )
    assert (status, "saved by ann" in json.dumps(answer)) == (409, True)
    assert _save(running, {**_FAILURES, "filters": {}, "replace": True}, key)[0] == 200
    assert running.ask("GET", _PATH)[1]["views"][0]["filters"] == {}
    assert _delete(running, "failures", key) == 200
    assert _names(running, running.key) == []
    assert running.ask("DELETE", _PATH, key=key)[0] == 400


def test_its_filters_are_those_of_the_list(running: RealHub) -> None:
    """The list takes every text of a view as it is."""
    view = _save(running, _FAILURES, running.new_key("mine", scopes=("score",)))[1]
    query = "&".join(f"{name}={text}" for name, texts in view["filters"].items() for text in texts)
    assert running.ask("GET", f"/api/1/sessions?{query}")[0] == 200
    assert running.ask("GET", "/api/1/sessions?since=soon")[0] == 400


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"name": "a"},
        {"name": "a", "filters": []},
        {"name": "", "filters": {}},
        {"name": "a\n", "filters": {"state": 7}},
        {"name": "a", "filters": {"limit": "3"}},
        {"name": "a", "filters": {"State": "Failure"}},
        {"name": "a", "filters": {"text": "x" * 1_001}},
        {"name": "a", "filters": {"score": ["x"] * 101}},
        {"name": "a", "filters": {"state": "Nope"}},
        {"name": "a", "filters": {"not_state": ["Failure", "Nope"]}},
        {"name": "a", "filters": {"since": "soon"}},
        {"name": "a", "filters": {"sort": "Nope"}},
        {"name": "a", "filters": {"order": "up"}},
        {"name": "a", "filters": {"by": "Nope"}},
        {"name": "a", "filters": {}, "replace": "yes"},
        {"name": "a", "filters": {}, "replace": 1},
    ],
    ids=lambda document: json.dumps(document)[:40],
)
def test_what_is_no_view_is_refused(running: RealHub, document: object) -> None:
    """With the reason, and nothing is kept."""
    key = running.new_key("refused", scopes=("read", "score"))
    assert _save(running, document, key)[0] == 400
    assert _names(running, key) == []


def test_the_reason_names_the_expected_and_the_received_value(running: RealHub) -> None:
    """Of states, orders and `replace`."""
    key = running.new_key("refused", scopes=("read", "score"))
    states = "Success, Failure, Indeterminate, Running, Unknown"
    for document, reason in (
        ({"name": "a", "filters": {"state": "Nope"}}, f"invalid state: expected one of {states}, got 'Nope'"),
        ({"name": "a", "filters": {"order": "up"}}, "invalid order: expected one of asc, desc, got 'up'"),
        ({"name": "a", "filters": {}, "replace": "yes"}, 'invalid replace: expected true or false, got "yes"'),
        ({"name": "a", "filters": {"tag": 7}}, "invalid tag: expected texts of 1 to 1000 characters, got 7"),
    ):
        status, answer = _save(running, document, key)
        assert (status, reason in json.dumps(answer, ensure_ascii=False).replace('\\"', '"')) == (400, True), answer
    calls = {"by": "tool", "sort": "p95", "order": "desc", "failed": "1", "state": "fail"}
    for given in (calls, {"sort": "score:correct"}, {"sort": "took"}):
        assert _save(running, {"name": "calls", "filters": given, "replace": True}, key)[0] == 200
    assert _delete(running, "calls", key) == 200


def test_the_home_of_a_user_keeps_views_behind_the_guard(tmp_path: Path) -> None:
    """The same site, its header, a login; a page that deletes names a type, as for any write."""
    localops.start_session(name="own").end_session()
    pages = RealPages(tmp_path / "home")
    body = json.dumps(_FAILURES)
    try:
        assert pages.ask("POST", _PATH, body, **JSON, origin=pages.url).status == 200
        assert pages.ask("POST", _PATH, body, **JSON, origin="http://evil.example").status == 403
        assert pages.ask("POST", _PATH, body, **JSON, origin=pages.url, cookie="").status == 401
        assert pages.ask("DELETE", f"{_PATH}?name=failures", origin=pages.url).status == 415
        assert [view.filters for view in Views(str(tmp_path / "home")).all()] == [_KEPT]
        assert pages.ask("DELETE", f"{_PATH}?name=failures", **JSON, origin="http://evil.example").status == 403
        assert pages.ask("DELETE", f"{_PATH}?name=failures", **JSON, origin=pages.url).status == 200
        # Those of projects are in the same menu.
        Views(str(tmp_path / "home"), "default").save(checked("ours", {"tag": "x"}))
        [view] = json.loads(pages.ask("GET", _PATH).body)["views"]
        assert (view["project"], view["filters"]) == ("default", {"tag": ["x"], "project": ["default"]})
        assert pages.ask("DELETE", f"{_PATH}?name=ours&project=default", **JSON, origin=pages.url).status == 200
        assert Views(str(tmp_path / "home"), "default").all() == []
    finally:
        pages.stop()
    assert Views(str(tmp_path / "home")).all() == []


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    """Each is made with the lock held; two hundred views fit, and no more."""
    at_once = [
        threading.Thread(
            target=lambda first=first: [Views(str(tmp_path)).save(checked(f"{first} {n}", {})) for n in range(25)]
        )
        for first in range(4)
    ]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert len(Views(str(tmp_path)).all()) == 100
    for number in range(100):
        Views(str(tmp_path)).save(checked(f"more {number}", {}))
    with pytest.raises(localops.LocalopsError, match="200 saved views"):
        Views(str(tmp_path)).save(checked("one more", {}))
    assert Views(str(tmp_path)).save(checked("more 1", {"tag": "x"})).replaced
