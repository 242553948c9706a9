"""The pages of a hub below a path of a proxy, in a browser: no request goes anywhere beside the path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from localops import clock
from tests.server.hubs import RealHub, batch_of, hub, session_rows
from tests.server.proxies import Proxy
from tests.web.conftest import Visit, visiting

_ROOT = "/tools/localops"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub that is below a path, with a session that runs."""
    with hub(tmp_path, "default", "--root-path", _ROOT) as running:
        running.take(batch_of(session_rows(end=None), journal=clock.new_id().hex()))
        yield running


@contextmanager
def _visiting(chromium: Browser, served: RealHub, *, strips: bool) -> Iterator[Visit]:
    """Log in through a proxy; a request outside its path fails the test."""
    with (
        Proxy(served.url, _ROOT, strips=strips) as proxy,
        visiting(chromium, proxy.url, locale="en-GB") as visit,
    ):
        page = visit.open("/?tag=nightly")
        page.get_by_label("Key", exact=True).fill(served.key)
        page.get_by_role("button").filter(has_text="Log in").click()
        page.locator("#rows tr").wait_for()
        assert page.url == f"{visit.base}/?tag=nightly"
        yield visit
        assert [path for path in proxy.seen if not path.startswith(_ROOT)] == []


@pytest.fixture
def visit(chromium: Browser, served: RealHub) -> Iterator[Visit]:
    """Return a visit through a proxy that passes requests on without its path."""
    with _visiting(chromium, served, strips=True) as visit:
        yield visit


def test_a_visit_below_a_path(served: RealHub, visit: Visit) -> None:
    """Log in, list, filter, session, an event, reload, news, figures, comparison, and out again."""
    page = visit.page
    page.get_by_role("button", name="Name", exact=True).click()
    visit.until("location.search.includes('sort=name')")
    page.get_by_role("link", name="a run").click()
    page.locator("#views").wait_for()
    assert page.url.startswith(f"{visit.base}/s/")
    page.get_by_role("tab", name="Events").click()
    page.locator(".row").first.click()
    page.locator("#details").get_by_text("gpt-4o-mini").first.wait_for()
    page.reload()
    page.locator("#details").get_by_text("gpt-4o-mini").first.wait_for()
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "gpt-4o-mini" in Path(download.value.path()).read_text()

    page.get_by_role("link", name="localops", exact=True).click()
    page.locator("#live:not(.off)").wait_for()
    served.take(batch_of(session_rows(), journal=clock.new_id().hex()))
    visit.until("document.querySelectorAll('#rows tr').length === 2")

    page.get_by_role("link", name="Analytics").click()
    page.locator("#charts canvas").first.wait_for()
    first, second = (one["session_id"] for one in visit.facts("sessions")["sessions"])
    visit.open(f"/compare?a={first}&b={second}")
    page.get_by_role("link", name="a run").first.wait_for()

    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Key", exact=True).wait_for()
    assert (page.url, page.context.cookies()) == (f"{visit.base}/login", [])


def test_a_proxy_may_keep_the_path(chromium: Browser, served: RealHub) -> None:
    """The hub then gets it with each request, for pages, scripts, news and facts."""
    with _visiting(chromium, served, strips=False) as visit:
        page = visit.page
        page.locator("#live:not(.off)").wait_for()
        page.get_by_role("link", name="a run").click()
        page.get_by_role("tab", name="Events").click()
        page.locator(".row").first.click()
        page.locator("#details").get_by_text("gpt-4o-mini").first.wait_for()


def test_an_address_without_the_path_leads_to_the_one_with_it(served: RealHub, chromium: Browser) -> None:
    """The hub shows its pages to direct requests; from the login on they are where the cookie is valid."""
    with visiting(chromium, served.url, locale="en-GB") as visit:
        page = visit.open("/analytics")
        page.get_by_label("Key", exact=True).fill(served.key)
        page.get_by_role("button").filter(has_text="Log in").click()
        page.locator("#figures").wait_for()
        assert page.url == f"{served.url}{_ROOT}/analytics"
