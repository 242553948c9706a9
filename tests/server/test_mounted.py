"""A hub below a path of a proxy: every link leads back to it, whether the proxy removes the path or not."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from localops import clock
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import blobs, rows
from localops.server.app import app
from localops.server.home_store import HomeStore
from localops.server.mounted import check_root
from tests.server.hubs import RealHub, batch_of, hub, session_rows
from tests.server.proxies import Proxy
from tests.sync.homes import Sender, identities

ROOT = "/tools/localops"
_FILM = b"\x1aE\xdf\xa3" + b"film" * 100
_DIGEST = hashlib.sha256(_FILM).hexdigest()


@dataclass
class Below:
    """A hub as a browser sees it: behind a proxy, with a session that has files."""

    hub: RealHub
    proxy: Proxy
    session: str
    cookie: str = ""

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any, str]:
        """Status, headers and text of what is below the path of the proxy; an address is taken as it is."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Cookie": self.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(urljoin(f"{self.proxy.url}/", path), data, sent)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def enter(self) -> Any:
        """Log in as the page does, and return the headers of the answer."""
        origin = self.proxy.url.removesuffix(ROOT)
        status, headers, _ = self.ask("login", {"token": self.hub.key}, Content_Type="application/json", Origin=origin)
        assert status == 200
        self.cookie = headers["Set-Cookie"].partition(";")[0]
        return headers


@pytest.fixture(scope="module", params=[True, False], ids=["stripped", "whole"])
def below(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Below]:
    """Return a visitor that has logged in."""
    with hub(tmp_path_factory.mktemp("mounted"), "default", "--root-path", f"{ROOT}/") as running:
        sent = session_rows(body=encode.dumps({"returns": {"$blob": _DIGEST}}).decode())
        film = encode.dumps({"video": f"blob:{_DIGEST}"}).decode()
        sent.append(rows.make("video", sent[0][2], id=clock.new_id(), at_ns=clock.now_ns(), body=film))
        blobs.keep(str(running.folder), _FILM)  # first: a row whose file is not there is refused
        assert running.take(batch_of(sent, journal=clock.new_id().hex()))[0] == 200
        with Proxy(running.url, ROOT, strips=request.param) as proxy:
            visitor = Below(running, proxy, str(uuid.UUID(bytes=sent[0][2])))
            visitor.enter()
            yield visitor


@pytest.mark.parametrize("path", ["", "s/{id}", "s/{id:.8}", "analytics", "compare?a={id}&b={id}", "login", "nothing"])
def test_every_link_of_a_page_leads_below_the_path(below: Below, path: str) -> None:
    """Files, pages and forms: each is there, through the proxy, which has nothing beside the path."""
    page = below.ask(path.replace("{id:.8}", below.session[:8]).format(id=below.session), Accept="text/html")[2]
    links = re.findall(r'(?:href|src|action)="([^"#]*)"', page)
    assert len(links) >= 5
    assert {link: below.ask(link)[0] for link in links if not link.startswith(f"{ROOT}/")} == {}
    assert {link: status for link in links if (status := below.ask(link)[0]) != 200} == {}


def test_a_stranger_is_shown_the_way_in(below: Below) -> None:
    """At the address that was meant, with or without a slash at its end, with a form that leads below the path."""
    for path in (ROOT, f"{ROOT}/", f"{ROOT}/s/{below.session}"):
        status, _, page = below.ask(path, Cookie="")
        assert (status, f'action="{ROOT}/login"' in page) == (401, True)


def test_the_cookie_is_for_the_hub_alone(below: Below) -> None:
    """Other servers of the host are not sent it, and leaving takes away the same one."""
    cookie = below.enter()["Set-Cookie"]
    assert f"; Path={ROOT};" in cookie
    assert below.ask("api/1/sessions")[0] == 200
    origin = below.proxy.url.removesuffix(ROOT)
    gone = below.ask("logout", {}, Content_Type="application/json", Origin=origin)[1]["Set-Cookie"]
    assert (f"; Path={ROOT};" in gone, "Max-Age=0" in gone) == (True, True)
    assert below.ask("api/1/sessions")[0] == 401
    below.enter()


def test_a_redirect_stays_below_the_path(below: Below) -> None:
    """The beginning of an id leads to the whole id."""
    opener = urllib.request.build_opener(type("Stay", (urllib.request.HTTPRedirectHandler,), {"redirect_request": _no}))
    request = urllib.request.Request(f"{below.proxy.url}/s/{below.session[:8]}", headers={"Cookie": below.cookie})
    with pytest.raises(urllib.error.HTTPError) as refused, opener.open(request, timeout=30):
        pass
    with refused.value as answer:
        assert (answer.code, answer.headers["Location"]) == (303, f"{ROOT}/s/{below.session}")


def _no(*_: object) -> None:
    """Follow no redirect."""


def test_files_of_a_session_are_there(below: Below) -> None:
    """The addresses of a video and an attachment work unchanged for programs and pages."""
    video = json.loads(below.ask(f"api/1/sessions/{below.session}")[2])["video"]
    listed = json.loads(below.ask(f"api/1/sessions/{below.session}/events")[2])["events"]
    [attached] = json.loads(below.ask(f"api/1/sessions/{below.session}/events/{listed[0]['seq']}")[2])["attachments"]
    for file in (video, attached):
        assert file["url"] == f"{ROOT}/blobs/default/{_DIGEST}"
        assert below.ask(file["url"])[2].endswith("filmfilm")


def test_the_openapi_document_has_the_path(below: Below) -> None:
    """Its paths are below the one of its server."""
    document = json.loads(below.ask("openapi.json")[2])
    assert document["servers"] == [{"url": ROOT}]
    assert "/api/1/sessions" in document["paths"]


def test_news_come_through(below: Below) -> None:
    """The stream is open, and new events arrive through it when they happen."""
    request = urllib.request.Request(f"{below.proxy.url}/api/1/live", headers={"Cookie": below.cookie})
    with urllib.request.urlopen(request, timeout=30) as stream:
        assert stream.readline() == b"retry: 2000\n"
        _next_change(stream)
        below.hub.take(batch_of(session_rows(), journal=clock.new_id().hex()))
        _next_change(stream)


def _next_change(stream: Any) -> None:
    while stream.readline() != b"event: change\n":
        pass


def test_a_sender_delivers_through_the_path(below: Below, tmp_path: Path) -> None:
    """Rows go to the address of the proxy, and a second pass finds them there."""
    sender = Sender(tmp_path / "home", below.proxy.url, below.hub.key)
    sender.write(3)
    assert (sender.sync().code, sender.sync(verify=True).sent) == (0, 0)
    assert sender.identities() <= identities(str(below.hub.folder / "journal.db"))


def test_a_header_does_not_choose_the_path(below: Below) -> None:
    """Anybody can send one, and would choose where the links of a page lead."""
    page = below.ask("", X_Forwarded_Prefix="//evil.example", X_Script_Name="/evil")[2]
    assert "evil" not in page


def test_the_hub_answers_without_its_proxy(below: Below) -> None:
    """With the path or without it, so that `/health` can be asked on the machine itself."""
    for root in ("", ROOT):
        assert below.ask(f"{below.hub.url}{root}/health")[0] == 200
    assert below.ask(f"{below.hub.url}{ROOT}x/health")[0] == 404


@pytest.mark.parametrize("root", ["localops", "/a b", "/a/../b", "//evil.example", "/a?b", '/"><script>', "/ü", "/%41"])
def test_an_invalid_root_path_is_refused(root: str) -> None:
    """With what was expected; nothing of it could be misread in a page, a header or a cookie."""
    with pytest.raises(ConfigError, match="expected a path such as /localops"):
        check_root(root, [])


@pytest.mark.parametrize("root", ["/api", "/s", "/web/x", "/v2", "/sync", "/health", "/login", "/analytics/"])
def test_a_path_of_the_hubs_own_is_refused(root: str, tmp_path: Path) -> None:
    """The requests of a proxy that removes the path would be ambiguous there."""
    with pytest.raises(ConfigError, match="not one of the server's own"):
        app(HomeStore(str(tmp_path)), root_path=root)


def test_the_top_of_a_host_is_a_path_too(tmp_path: Path) -> None:
    """Some people fill in every option."""
    assert (check_root("/", []), check_root("", []), check_root("/a/b/", ["/c"])) == ("", "", "/a/b")
