"""Access of browsers, as a table of requests to a real `localops ui`."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localops.reading import web_bundle
from localops.server import web_files
from localops.server.browser_guard import Tokens
from tests.server.uis import JSON, RealPages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPages]:
    """Pages of an empty home."""
    with RealPages(tmp_path_factory.mktemp("guard") / "home") as found:
        yield found


# Name, method, headers ({port} is filled in), and the status: Host and Origin decide, also with the cookie.
TABLE: list[tuple[str, str, dict[str, str], int]] = [
    ("by number", "GET", {"host": "127.0.0.1:{port}"}, 200),
    ("by name", "GET", {"host": "localhost:{port}"}, 200),
    ("by name, in capitals", "GET", {"host": "LOCALHOST:{port}"}, 200),
    ("by IPv6", "GET", {"host": "[::1]:{port}"}, 200),
    ("another name", "GET", {"host": "evil.example:{port}"}, 421),
    ("a name that resolves here", "GET", {"host": "127.0.0.1.evil.example:{port}"}, 421),
    ("a name with a dot at its end", "GET", {"host": "localhost.:{port}"}, 421),
    ("the address of all", "GET", {"host": "0.0.0.0:{port}"}, 421),
    ("without a port", "GET", {"host": "127.0.0.1"}, 421),
    ("another port", "GET", {"host": "127.0.0.1:1"}, 421),
    ("own origin", "GET", {"origin": "http://127.0.0.1:{port}"}, 200),
    ("another port is another site", "GET", {"origin": "http://127.0.0.1:1"}, 403),
    ("another name of this machine is another origin", "GET", {"origin": "http://localhost:{port}"}, 403),
    ("an origin that hides", "GET", {"origin": "null"}, 403),
    ("own page", "GET", {"sec_fetch_site": "same-origin"}, 200),
    ("typed", "GET", {"sec_fetch_site": "none"}, 200),
    ("another port of this machine", "GET", {"sec_fetch_site": "same-site"}, 403),
    ("another site", "GET", {"sec_fetch_site": "cross-site"}, 403),
    ("sent without a type", "POST", {"origin": "http://127.0.0.1:{port}"}, 415),
    ("sent as a form", "POST", {"content_type": "application/x-www-form-urlencoded", "x_localops": "1"}, 415),
    ("sent as text", "POST", {"content_type": "text/plain", "x_localops": "1"}, 415),
    ("sent from nowhere", "POST", {"content_type": "application/json"}, 403),
    ("sent from elsewhere", "POST", {"content_type": "application/json", "origin": "http://evil.example"}, 403),
    ("sent from our page", "POST", {"content_type": "application/json", "origin": "http://127.0.0.1:{port}"}, 401),
]


@pytest.mark.parametrize(("method", "headers", "status"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_only_our_own_pages_are_answered(pages: RealPages, method: str, headers: dict[str, str], status: int) -> None:
    """Host, Origin and Sec-Fetch-Site are looked at each time, and what is sent must be JSON from our pages."""
    filled: dict[str, Any] = {name: value.format(port=pages.port) for name, value in headers.items()}
    if method == "GET":
        assert pages.get("/api/1/sessions", **filled).status == status
    else:
        assert pages.ask("POST", "/login", '{"token":"wrong"}', **filled).status == status


@pytest.mark.parametrize("head", ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"])
def test_exactly_one_host_is_named(pages: RealPages, head: str) -> None:
    """A request with no Host, or with two, is refused."""
    with socket.create_connection(("127.0.0.1", pages.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(200).split()[1] in (b"421", b"400")


@pytest.mark.parametrize("path", ["/", "/s/last", "/analytics", "/compare", "/nothing"])
def test_pages_show_strangers_how_to_get_in_and_nothing_else(pages: RealPages, path: str) -> None:
    """Without the cookie, at any address; from another site also with it."""
    for answer, status in (
        (pages.get(path, cookie=""), 401),
        (pages.get(path, cookie="localops-1=x"), 401),
        (pages.get(path, sec_fetch_site="cross-site", sec_fetch_dest="document"), 403),
    ):
        assert answer.status == status
        assert 'data-page="login"' in answer.text


@pytest.mark.parametrize("path", ["/api/1/sessions", "/api/1/live", "/openapi.json", "/health", "/blobs/p/" + "0" * 64])
def test_facts_are_only_for_logged_in_visitors(pages: RealPages, path: str) -> None:
    """Also those that a hub tells everybody."""
    answer = pages.get(path, cookie="")
    assert (answer.status, answer.headers["content-type"]) == (401, "application/json")


def test_the_cookie_is_for_this_server_alone(pages: RealPages) -> None:
    """Its name has the port, no script can read it, and no other site sends it."""
    body = '{"token":"' + pages.token + '"}'
    cookie = pages.ask("POST", "/login", body, cookie="", **JSON, x_localops="1").headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == f"localops-{pages.port}"
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in rest.split(";")}
    assert pages.token not in cookie


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "{}", '{"token":1}', '{"token":"x"}', "{" * 5000, '{"token":"\\ud800"}']
)
def test_a_wrong_token_opens_nothing(pages: RealPages, body: str) -> None:
    """No other text opens the pages."""
    answer = pages.ask("POST", "/login", body, cookie="", **JSON, x_localops="1")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/login", "/web/login.js", "/api/1/sessions", "/nothing", "/web/nothing"])
def test_every_answer_restricts_the_browser(pages: RealPages, path: str) -> None:
    """The headers allow no inline script, nothing from elsewhere, no frame, no guessing of types."""
    headers = pages.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    "name",
    [
        "../pages.py", "..%2fpages.py", "%2e%2e/server/pages.py", "....//pages.py", "/etc/passwd",
        "vendor/../../pages.py", ".hidden.js", "login.js/", "login.js%00.css", "..\\pages.py", "", ".", "login.py",
        "nothing.bundle.js", "style.bundle.js", "~0", "~0/", "~0/../pages.py", "~0/~0/login.js", "login.js/~0",
    ],
)  # fmt: skip
def test_only_files_of_the_pages_are_served(pages: RealPages, name: str) -> None:
    """A name of any other form is not served."""
    assert pages.get(f"/web/{name}", cookie="").status == 404


def test_a_file_is_sent_once_for_each_time_it_changes(pages: RealPages) -> None:
    """It is sent with its type and a tag; a browser that has it gets 304."""
    answer = pages.get("/web/login.js", cookie="")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    assert pages.get("/web/login.js", if_none_match=answer.headers["etag"]).status == 304


def test_files_of_a_page_are_kept_until_one_of_them_changes(
    pages: RealPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page names the folder of one version; below that of another one, a browser asks again for each file."""
    html = pages.get("/login", cookie="").text
    [folder] = {link.rpartition("/")[0] for link in re.findall(r'(?:href|src)="(/web/[^"]+)"', html)}
    assert f"{folder}/" == web_files.folder()
    answers = {where: pages.get(f"{where}/vendor/uplot.js", cookie="") for where in (folder, "/web/~0", "/web")}
    assert [each.headers["cache-control"] for each in answers.values()] == [
        "public, max-age=31536000, immutable",
        "no-cache",
        "no-cache",
    ]
    assert len({each.body for each in answers.values()}) == 1
    script = pages.get(f"{folder}/login.bundle.js", cookie="")
    assert script.body.decode() == web_bundle.together("login.js")
    assert (script.headers["cache-control"], script.headers["content-type"]) == (
        "public, max-age=31536000, immutable",
        "text/javascript; charset=utf-8",
    )
    monkeypatch.setattr(web_files, "_WEB", str(tmp_path))
    (tmp_path / "vendor").mkdir()
    seen: set[str] = set()
    for name, text in (("a.js", "1"), ("vendor/b.css", "2"), ("vendor/b.css", "33"), ("a.js", "4")):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, ns=(len(seen), len(seen)))
        seen.add(web_files.folder())
    assert len(seen) == 4


def test_a_token_that_others_may_have_seen_is_good_once() -> None:
    """The token of the browser that we start is on its command line; the printed one lasts."""
    tokens = Tokens()
    lasting, single = tokens.make(), tokens.make(once=True)
    assert [tokens.visitor(token) is not None for token in (single, single, lasting, lasting)] == [
        True,
        False,
        True,
        True,
    ]


def test_a_token_that_is_good_once_lets_in_one_of_many() -> None:
    """Even if all requests arrive at the same moment."""
    tokens = Tokens()
    entered: list[object] = []

    def enter(token: str) -> None:
        if tokens.visitor(token) is not None:
            entered.append(token)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            token = tokens.make(once=True)
            together = [threading.Thread(target=enter, args=(token,)) for _ in range(8)]
            for each in together:
                each.start()
            for each in together:
                each.join()
    finally:
        sys.setswitchinterval(before)
    assert len(entered) == len(set(entered)) == 100
