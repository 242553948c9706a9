"""The pages of a hub: behind its keys, each visitor in the project of the key they showed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid

from localops import clock
from localops.server.keys import Keys
from tests.server.hubs import RealHub, batch_of, session_rows


def _ask(hub: RealHub, path: str, body: object = None, **headers: str) -> tuple[int, str, str]:
    """Status, cookie and text of what a browser gets."""
    data = None if body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(hub.url + path, data, sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return found.status, found.headers.get("Set-Cookie", "").partition(";")[0], found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, "", error.read().decode()


def _enter(hub: RealHub, key: str) -> tuple[int, str]:
    answer = _ask(hub, "/login", {"token": key}, Content_Type="application/json", Origin=hub.url)
    return answer[:2]


def test_a_key_opens_the_pages_of_its_project(running: RealHub) -> None:
    """It opens no other project; a visitor without a key sees the login."""
    sent = session_rows()
    running.take(batch_of(sent, journal=clock.new_id().hex()))
    id = str(uuid.UUID(bytes=sent[0][2]))
    assert 'data-page="login"' in _ask(running, "/")[2]
    status, cookie = _enter(running, running.key)
    assert (status, cookie.startswith("localops-")) == (200, True)
    assert f'href="/s/{id}"' in _ask(running, "/", Cookie=cookie)[2]
    assert _ask(running, f"/api/1/sessions/{id}/timeline", Cookie=cookie)[0] == 200
    stranger = _enter(running, running.new_key("other"))[1]
    assert _ask(running, f"/s/{id}", Cookie=stranger)[0] == 404
    assert _ask(running, "/api/1/sessions?project=default", Cookie=stranger)[0] == 404
    assert _ask(running, "/blobs/default/" + "0" * 64, Cookie=stranger)[0] == 404


def test_what_is_no_key_opens_nothing(running: RealHub) -> None:
    """Nor does an invented cookie."""
    assert _enter(running, str(uuid.uuid4())) == (401, "")
    assert _enter(running, "") == (401, "")
    assert _ask(running, "/api/1/sessions", Cookie="localops-1=x")[0] == 401


def test_a_cookie_is_worth_nothing_to_another_site(running: RealHub) -> None:
    """It cannot send rows either: that needs the key itself, which may be used from anywhere."""
    cookie = _enter(running, running.key)[1]
    assert _ask(running, "/api/1/sessions", Cookie=cookie, Origin="http://evil.example")[0] == 403
    assert _ask(running, "/api/1/sessions", Cookie=cookie, Sec_Fetch_Site="cross-site")[0] == 403
    json_of = {"Content_Type": "application/json", "Origin": running.url}
    assert _ask(running, "/sync/1/missing", {"rows": []}, Cookie=cookie, **json_of)[0] == 401
    assert _ask(running, "/api/1/sessions", X_Agentops_Api_Key=running.key, Origin="http://evil.example")[0] == 200


def test_a_revoked_key_ends_the_visit(running: RealHub) -> None:
    """The visit ends at once."""
    key = running.new_key("default")
    cookie = _enter(running, key)[1]
    assert _ask(running, "/", Cookie=cookie)[0] == 200
    keys = Keys(str(running.data))
    known = keys.find(key)
    assert known is not None
    keys.revoke(known.handle)
    assert _ask(running, "/", Cookie=cookie)[0] == 401


def test_a_stream_ends_when_its_key_is_revoked(running: RealHub) -> None:
    """Whether the key was sent with the request or at the login."""
    for shown in (True, False):
        key = running.new_key("default")
        header = {"Cookie": _enter(running, key)[1]} if shown else {"Authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{running.url}/api/1/live", headers=header)
        with urllib.request.urlopen(request, timeout=20) as stream:
            assert stream.readline() == b"retry: 2000\n"
            assert any(b"change" in line for line in iter(stream.readline, b""))  # the first state comes at once
            keys = Keys(str(running.data))
            known = keys.find(key)
            assert known is not None
            keys.revoke(known.handle)
            stream.read()  # to its end


def test_behind_a_proxy_that_speaks_tls_the_cookie_is_for_tls_alone(running: RealHub) -> None:
    """The hub sees no TLS there; the browser's header shows it."""
    body = json.dumps({"token": running.key}).encode()
    for origin in ("http", "https"):
        headers = {"Content-Type": "application/json", "Origin": running.url.replace("http", origin)}
        with urllib.request.urlopen(urllib.request.Request(f"{running.url}/login", body, headers), timeout=30) as got:
            assert ("Secure" in got.headers["Set-Cookie"]) == (origin == "https")
