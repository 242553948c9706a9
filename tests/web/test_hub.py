"""The pages of a hub: a key opens one project, for as long as it is valid."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from localops import clock
from localops.server.keys import Keys
from tests.server.hubs import RealHub, batch_of, hub, session_rows
from tests.web.conftest import Visit, visiting


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RealHub]:
    """Start a hub with a session in each of two projects; `.key` is one to the first."""
    with hub(tmp_path) as found:
        found.take(batch_of(session_rows(), journal=clock.new_id().hex()))
        yield found


@pytest.fixture
def stranger(chromium: Browser, served: RealHub) -> Iterator[Visit]:
    """Somebody who has shown no key yet."""
    with visiting(chromium, served.url, locale="en-GB") as visit:
        yield visit


def show(visit: Visit, key: str, path: str = "/") -> None:
    """Open a page, and log in on it."""
    page = visit.open(path)
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button").filter(has_text="Log in").click()


def test_a_wrong_key_prints_an_error(stranger: Visit) -> None:
    """The form stays, for another try."""
    show(stranger, str(uuid.uuid4()))
    stranger.page.get_by_text("the key is unknown or revoked").wait_for()
    assert stranger.page.get_by_label("Key", exact=True).is_visible()


def test_a_key_shows_its_project_and_no_other(served: RealHub, stranger: Visit) -> None:
    """Its sessions, their pages and figures, at the address that was meant; what is elsewhere is not there."""
    other = served.new_key("other")
    theirs = session_rows()
    served.take(batch_of(theirs, journal=clock.new_id().hex()), key=other)
    show(stranger, served.key, "/?tag=nightly")
    stranger.page.locator("#rows tr").wait_for()
    assert stranger.page.url.endswith("/?tag=nightly")
    page = stranger.session("a run", "events")
    expect(page.locator(".row", has_text="gpt-4o-mini")).to_have_count(3)
    stranger.open(f"/s/{uuid.UUID(bytes=theirs[0][2])}")
    page.get_by_role("heading", name="Not found").wait_for()
    stranger.wrong.clear()  # Chromium calls that page an error
    show(stranger, other, "/login")
    stranger.page.locator("#rows tr").wait_for()
    assert stranger.facts("sessions")["sessions"][0]["session_id"] == str(uuid.UUID(bytes=theirs[0][2]))


def test_the_machines_that_send_are_a_page_of_the_hub(served: RealHub, stranger: Visit) -> None:
    """It is in the navigation, is a table that fits narrow windows, and says when the last rows arrived."""
    show(stranger, served.key)
    page = stranger.page
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Senders").click()
    page.get_by_role("heading", name="Senders").wait_for()
    assert page.locator("#senders tbody tr").count() == 1
    assert page.locator("#senders time").first.inner_text().endswith(("ago", "now"))
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_key_that_is_revoked_shows_nothing_more(served: RealHub, stranger: Visit) -> None:
    """Requests of the open page are refused with a message; opened again, it is the login."""
    show(stranger, served.key)
    stranger.page.locator("#rows tr").wait_for()
    keys = Keys(str(served.data))
    keys.revoke(keys.all()[0].handle)
    stranger.page.get_by_role("button", name="Name", exact=True).click()
    stranger.page.get_by_text("login has expired").wait_for()
    stranger.open("/")
    assert stranger.page.get_by_label("Key", exact=True).is_visible()


def test_logging_out_ends_the_visit(served: RealHub, stranger: Visit) -> None:
    """The login is there again, and the old cookie opens nothing."""
    show(stranger, served.key)
    stranger.page.locator("#rows tr").wait_for()
    cookies = stranger.page.context.cookies()
    stranger.page.get_by_role("button", name="Log out").click()
    stranger.page.get_by_label("Key", exact=True).wait_for()
    assert stranger.page.context.cookies() == []
    stranger.page.context.add_cookies(cookies)  # type: ignore[arg-type]
    stranger.open("/")
    assert stranger.page.get_by_label("Key", exact=True).is_visible()
