"""A home with sessions in it, `localops ui` for that home, and a Chromium that visits it.

After each test in the browser, three checks follow: no script failed, the content security policy reported nothing,
and no request went anywhere but to the server.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from tests import ports, warm
from tests.examples import sized
from tests.warm import MAIN, ours
from tests.web.usability import violations

_ROOT = Path(__file__).parents[2]
RECORDER = Path(__file__).with_name("recorder.py").read_text()
# The one that has no window at all first: it takes less than half the time for the same pages.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# No browser asks anybody anything by itself in a test: no updates, no lists, no reports.
_QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
# One process for all windows of the usual sort: to start another costs as much as a page. And pages of one window are
# drawn in one frame, one after the other: to make a frame for each takes a seventh of the time that a page does.
_SMALL = ["--renderer-process-limit=1", "--enable-features=RenderDocument:level/crashed-frame"]
# A window is drawn in few large pieces, not in many of 256 pixels; and no page is there for so long that it pays to
# optimize its scripts.
_SMALL += ["--default-tile-width=1280", "--default-tile-height=1024", "--js-flags=--no-opt,--no-maglev"]

# Milliseconds: on a busy machine a page may need many times as long, and a test that passes waits for none of it.
_PATIENCE = 60_000
expect.set_options(timeout=_PATIENCE)

# What each view of a session is drawn in.
_DRAWN = {"timeline": ".timeline", "tree": ".tree", "events": ".events", "chat": ":has(> .talk)", "figures": ".charts"}

# What is wider than the window or than its place, and by how much.
_TOO_WIDE = """[
    ["page", document.documentElement.scrollWidth - innerWidth],
    ...[...document.querySelectorAll(".table-wrap")].map((each) => ["table", each.scrollWidth - each.clientWidth]),
].filter(([, by]) => by > 0)"""

# With it, the scripts of a page wait for a tenth of their time; a shared worker does not.
HURRY = "const later = setTimeout; window.setTimeout = (run, wait = 0) => later(run, wait / 10); 0"

Scheme = Literal["light", "dark"]
# Each width and each scheme; all pairs with STRESS_EXAMPLES.
PAIRS: list[tuple[int, Scheme]] = [(1280, "light"), (390, "dark"), (1280, "dark"), (390, "light")]
PAIRS = [*PAIRS, (768, "dark"), (1920, "light")][: sized(2, 6)]


@dataclass
class Visit:
    """A visited page, and what went wrong in it."""

    page: Page
    base: str
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _ids: dict[str, str] = field(default_factory=dict)  # of sessions, by their names and tags
    _is_listening: bool = False

    def open(self, path: str) -> Page:
        """Go to an address of the server."""
        self.page.goto(self.base + path)
        return self.page

    def session(self, name: str, view: str = "timeline", event: str = "") -> Page:
        """Open the page of a session; all its events are there then, and the view of them."""
        if name not in self._ids:
            for one in self.facts("sessions?limit=500")["sessions"]:
                for known in (one["name"], *one["tags"]):
                    self._ids.setdefault(known, one["session_id"])
        self.open(f"/s/{self._ids[name]}{event}#{view}")
        self.until("performance.getEntriesByName('localops-whole').length > 0")
        # Its module may come after the events; without events, a notice stands in its place.
        self.page.wait_for_selector(f"#view > {_DRAWN[view]}, #view > .empty", state="attached")
        return self.page

    def leave(self) -> None:
        """Leave the page, so that an address of which only the fragment differs opens it again.

        From within: a page that is left by an address typed in leaves its process too, and the next one starts another.
        """
        if self.page.url != "about:blank":
            self.page.evaluate("location.replace('about:blank')")
            self.page.wait_for_url("about:blank")

    def facts(self, path: str) -> Any:
        """Return the server's JSON."""
        return self.page.context.request.get(f"{self.base}/api/1/{path}").json()

    def until(self, condition: str, seconds: float = 60) -> None:
        """Wait for something to be so; the policy forbids playwright's own way."""
        look = f"""async () => {{
            for (let times = 0; times < 20; times += 1) {{
                if ({condition}) return true;
                await new Promise((done) => setTimeout(done, 50));
            }}
        }}"""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.page.evaluate(look):
                    return
            except Error as error:
                if "because of a navigation" not in error.message:
                    raise
        raise AssertionError(f"never so: {condition}")

    def unusable(self, part: str | None = None) -> list[tuple[Any, ...]]:
        """Return what axe reports of the page or of a part of it, and what is too wide: the page, or a table in it."""
        return [*violations(self.page, part), *(("too wide", *wide) for wide in self.too_wide())]

    def too_wide(self) -> list[list[Any]]:
        """Return what has to be scrolled sideways, the page or a table in it, and by how many pixels."""
        wide: list[list[Any]] = self.page.evaluate(_TOO_WIDE)
        return wide

    def unusable_anywhere(self, part: str | None = None) -> list[tuple[Any, ...]]:
        """Return what is unusable in a wide or a narrow window, in light or dark colours; the window stays the last.

        It begins with the window as it is: to draw a page in another one takes half as long as to open it.
        """
        problems = []
        size = self.page.viewport_size
        for width, scheme in sorted(PAIRS, key=lambda pair: not size or pair[0] != size["width"]):
            self.looks(width, scheme)
            self.page.wait_for_timeout(100)
            problems += [(width, scheme, *each) for each in self.unusable(part)]
        return problems

    def looks(self, width: int = 1280, scheme: Scheme = "light") -> None:
        """Look through a window of that width, with light or dark colours wanted."""
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(color_scheme=scheme)

    def watch(self) -> None:
        """Keep what goes wrong."""
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("console", self._on_console)

    def listen(self) -> None:
        """Keep the URLs of all requests from now on in `asked`; this makes opening a page a tenth slower."""
        if not self._is_listening:
            self._is_listening = True
            self.page.on("request", lambda request: self.asked.append(request.url))

    def check(self) -> None:
        """Fail if anything went wrong, and forget it."""
        outside = [url for url in self.asked if not url.startswith((self.base + "/", "data:", "blob:"))]
        outside += _elsewhere[0].requests()
        wrong = self.wrong.copy()
        self.wrong.clear()
        self.asked.clear()
        assert (wrong, outside) == ([], [])

    def _on_console(self, message: ConsoleMessage) -> None:
        # The way in begins with a page for strangers, which Chromium calls an error.
        if message.type in ("error", "warning") and "401 (Unauthorized)" not in message.text:
            self.wrong.append(f"{message.type}: {message.text}")


def environment(home: Path) -> dict[str, str]:
    """For programs of a test: our code, and a home."""
    return {**os.environ, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'sync'}", "LOCALOPS_HOME": str(home)}


def recorded(home: Path, kind: str) -> None:
    """Run a program that records."""
    done = warm.run([sys.executable, "-c", RECORDER, kind], env=environment(home), capture_output=True)
    assert done.returncode in (0, 9), done.stderr


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a session of each sort."""
    home = tmp_path_factory.mktemp("web") / "home"
    for kind in ("hostile", "dead", "other", "story"):
        recorded(home, kind)
    return home


_ports: list[int] = []  # of servers that have ended


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve a home with `localops ui`, and yield its link.

    It has the port of an earlier server, if there was one: the browser still has the scripts of its pages.
    """
    port = _ports.pop() if _ports else ports.free()
    arguments = ["ui", "--port", str(port), "--json", "--home", str(home)]
    with open(os.devnull, "w") as null:
        server = ours().start(MAIN, arguments, environment(home), stdout=subprocess.PIPE, stderr=null.fileno())
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline())["url"]
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
        _ports.append(port)


@contextmanager
def visiting(
    chromium: Browser, link: str, width: int = 1280, scheme: Scheme = "light", **options: Any
) -> Iterator[Visit]:
    """Look at the pages behind a link, logged in; with options of a context, in one of its own, and not logged in."""
    context = _context(chromium, **options) if options else _contexts[0]
    visit = Visit(context.new_page(), link.partition("/#")[0])
    visit.watch()
    visit.looks(width, scheme)
    if not options:
        _enter(visit, link)
    _lasting.append(visit.page)
    try:
        yield visit
    finally:
        _lasting.remove(visit.page)
        _forget(visit)
        if options:
            context.close()
        else:
            visit.page.close()
    visit.check()


def _context(chromium: Browser, **options: Any) -> BrowserContext:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce", **options)
    context.set_default_timeout(_PATIENCE)
    return context


def _enter(visit: Visit, link: str) -> None:
    """Log in as the login page does."""
    token = {"token": link.partition("#t=")[2]}
    answer = visit.page.context.request.post(f"{visit.base}/login", data=token, headers={"X-Localops": "1"})
    assert answer.ok, answer.text()


def _forget(visit: Visit) -> None:
    """Keep nothing of a visit: neither the pages that were opened beside it, nor what its pages have stored."""
    for page in visit.page.context.pages:
        if page not in (*_lasting, visit.page):
            page.close()
    if visit.page.url.startswith(visit.base):
        # What the page has asked for, wherever a request of its own would have gone to.
        loaded = "performance.getEntriesByType('resource').map((each) => each.name)"
        visit.asked += visit.page.evaluate(f"localStorage.clear(), {loaded}")
    else:
        protocol = visit.page.context.new_cdp_session(visit.page)
        protocol.send("Storage.clearDataForOrigin", {"origin": visit.base, "storageTypes": "local_storage"})
        protocol.detach()


@pytest.fixture(scope="session")
def link(home: Path) -> Iterator[str]:
    """Return the link to that home."""
    with serving(home) as link:
        yield link


class Elsewhere:
    """The destination of all requests that are not for this machine: it does not answer, but records them."""

    def __init__(self) -> None:
        self._requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        # But for what browsers of some distributions ask for by themselves.
        own = ("127.0.0.1", "*.google.com", "*.googleapis.com", "*.gvt1.com", "*.gstatic.com")
        rules = [f"MAP * 127.0.0.1:{self._socket.getsockname()[1]}", *(f"EXCLUDE {each}" for each in own)]
        self.option = f"--host-resolver-rules={','.join(rules)}"
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    connection.settimeout(1)
                    self._requests.append(connection.recv(200))

    def requests(self) -> list[str]:
        """Return the beginnings of the requests since the last call."""
        requests, self._requests = self._requests, []
        return [repr(request) for request in requests if request]

    def close(self) -> None:
        """Listen no longer."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


_open = ExitStack()
_elsewhere: list[Elsewhere] = []
_browsers: list[Browser] = []
_contexts: list[BrowserContext] = []  # that of the usual windows
_lasting: list[Page] = []  # that stay open when one of them is left
_windows: dict[str, Visit] = {}  # by the link that they followed


@pytest.fixture(scope="module")
def chromium() -> Browser:
    """Debian's Chromium, without a window; while it is there, no test of this process can use asyncio.run."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium-headless-shell")
    if not _browsers or not _browsers[0].is_connected():
        with suppress(Error):  # of a window whose browser has died
            _close()
        playwright = _open.enter_context(sync_playwright())
        _elsewhere.append(Elsewhere())
        _open.callback(_elsewhere[0].close)
        options = [*_QUIET, *_SMALL, _elsewhere[0].option]
        _browsers.append(playwright.chromium.launch(executable_path=path, args=options))
        _open.callback(_browsers[0].close)
        _contexts.append(_context(_browsers[0]))
        _lasting.append(_contexts[0].new_page())  # the process of the windows goes on when one is closed
    return _browsers[0]


def _close() -> None:
    _browsers.clear()
    _windows.clear()
    _open.close()
    _elsewhere.clear()
    _contexts.clear()
    _lasting.clear()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the browser before a test of another folder: to start it for each module takes longer than many tests."""
    if nextitem is None or nextitem.path.parent != Path(__file__).parent:
        _close()


@pytest.fixture(scope="module")
def known(window: Visit) -> Any:
    """Return the cookie of a visitor who followed the link, for a window of one's own."""
    return window.page.context.storage_state()


@pytest.fixture(scope="module")
def window(chromium: Browser, link: str) -> Visit:
    """Return the page in which all tests look at `link` one after the other, each through `visit`."""
    if link not in _windows:
        _windows[link] = _open.enter_context(visiting(chromium, link))
    return _windows[link]


@pytest.fixture
def visit(window: Visit, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Return a visit of someone who has logged in; `indirect` parameters are (width, colour scheme)."""
    with used_again(window, *getattr(request, "param", (1280, "light"))):
        yield window


@contextmanager
def used_again(visit: Visit, width: int = 1280, scheme: Scheme = "light") -> Iterator[Visit]:
    """Look at the pages in a window that is open: it has loaded their scripts, and keeps nothing of this look."""
    context = visit.page.context
    cookies: Any = context.cookies()
    visit.looks(width, scheme)
    yield visit
    _forget(visit)
    visit.leave()
    visit.page.mouse.move(0, 0)
    if context.cookies() != cookies:
        context.clear_cookies()
        context.add_cookies(cookies)
    visit.check()
