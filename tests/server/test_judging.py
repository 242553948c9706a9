"""The door for scores: on a user's own pages after a login from the same site, on a hub with a key of that scope."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.journal import rows
from localops.reading import given_scores
from localops.reading.home import Home
from tests.server.hubs import RealHub, batch_of, hub, session_rows
from tests.server.uis import JSON, RealPages

_ROWS = session_rows()
_SESSION = uuid.UUID(bytes=_ROWS[0][rows.COLUMNS.index("session")])
_PATH = f"/api/1/sessions/{_SESSION}/scores"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHub]:
    """Start a hub with one session."""
    with hub(tmp_path_factory.mktemp("judged"), "mine") as started:
        assert started.take(batch_of(_ROWS))[0] == 200
        yield started


def _given(running: RealHub) -> list[dict[str, Any]]:
    with Home(str(running.folder.parent)) as home:
        project, id = home.find(str(_SESSION))
        return given_scores.together(given_scores.of_session(project.reader, id))["scores"]  # type: ignore[no-any-return]


def _post(running: RealHub, key: str, document: object, path: str = _PATH) -> tuple[int, Any]:
    return running.ask("POST", path, json.dumps(document).encode(), key=key)


def test_a_key_of_that_scope_judges(running: RealHub) -> None:
    """The score is in the hub's journal, with the name of the key; one without the scope is refused."""
    key = running.new_key("mine", scopes=("score",), note="ann")
    status, answer = _post(running, key, {"name": "correct", "value": 0.5, "comment": "fine"})
    assert status == 200, answer
    [given] = [each for each in _given(running) if each["id"] == answer["id"]]
    assert (given["name"], given["value"], given["by"], given["comment"]) == ("correct", 0.5, "human:ann", "fine")
    assert _post(running, running.key, {"name": "correct", "value": 1})[0] == 403
    other = running.new_key("other", scopes=("score",))
    assert _post(running, other, {"name": "correct", "value": 1})[0] == 404
    assert len(_given(running)) == 1
    assert _post(running, key, {"name": "correct", "value": None})[0] == 200
    assert not any(each["counts"] for each in _given(running))
    assert _post(running, key, {"note": "look again"})[0] == 200
    assert running.ask("GET", f"/api/1/sessions/{_SESSION}")[1]["notes"][0]["text"] == "look again"


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"name": "a<b", "value": 1}, 400),
        ({"name": "correct", "value": [1]}, 400),
        ({"name": "correct", "value": 10**400}, 400),
        ({"name": "correct", "value": 1, "by": 7}, 400),
        ({"name": "correct", "value": 1, "event": 7}, 400),
        ({"name": "correct", "value": 1, "event": "0000"}, 404),
        ({"note": " "}, 400),
        ({"name": "correct", "value": 1, "comment": "x" * (1 << 18)}, 413),
    ],
)
def test_what_cannot_be_stored_is_refused(running: RealHub, document: Any, status: int) -> None:
    """With the reason, and nothing is written."""
    key = running.new_key("mine", scopes=("score",))
    before = _given(running)
    assert _post(running, key, document)[0] == status
    assert _given(running) == before
    assert _post(running, key, {"name": "x", "value": 1}, f"/api/1/sessions/{uuid.uuid4()}/scores")[0] == 404


@pytest.mark.parametrize("scopes", [("read",), ("read", "score")], ids="+".join)
def test_a_page_judges_with_a_login_that_may(running: RealHub, scopes: tuple[str, ...]) -> None:
    """From the same site alone; a login without the scope reads, and no more."""
    key = running.new_key("mine", scopes=scopes)
    login = json.dumps({"token": key}).encode()
    cookie = _cookie(running, login)
    document = json.dumps({"name": "page", "value": True}).encode()
    own = {"Cookie": cookie, "Content-Type": "application/json"}
    assert _ask(running, document, **own, Origin="http://evil.example") == 403
    assert _ask(running, document, **own) == 403
    assert _ask(running, document, **own, Origin=running.url) == (200 if "score" in scopes else 403)
    assert _ask(running, document, Origin=running.url, **{"Content-Type": "application/json"}) == 401


def _cookie(running: RealHub, login: bytes) -> str:
    import urllib.request

    sent = {"Content-Type": "application/json", "Origin": running.url}
    with urllib.request.urlopen(urllib.request.Request(f"{running.url}/login", login, sent), timeout=30) as answer:
        return str(answer.headers["set-cookie"]).partition(";")[0]


def _ask(running: RealHub, body: bytes, **headers: str) -> int:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(running.url + _PATH, body, headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_home_of_a_user_is_judged_after_a_login(tmp_path: Path) -> None:
    """The address is under the same guard as the pages: host, origin, type of the body, and the token of the link."""
    session = localops.start_session(name="own")
    session.end_session()
    path = f"/api/1/sessions/{session.session_id}/scores"
    body = json.dumps({"name": "correct", "value": True})
    pages = RealPages(tmp_path / "home")
    try:
        assert pages.ask("POST", path, body, **JSON, origin=pages.url).status == 200
        assert pages.ask("POST", path, body, **JSON, origin="http://evil.example").status == 403
        assert pages.ask("POST", path, body, **JSON).status == 403
        assert pages.ask("POST", path, body, origin=pages.url).status == 415
        assert pages.ask("POST", path, body, **JSON, origin=pages.url, cookie="").status == 401
        assert pages.ask("POST", path, body, **JSON, origin=pages.url, host="evil.example").status == 421
    finally:
        pages.stop()
    assert [(each["name"], each["value"], each["by"]) for each in session.scores] == [("correct", True, "human")]
