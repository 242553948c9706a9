"""A search that leads from the list into a session, and the filter of a session."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Visit
from tests.web.test_pages import settled


def test_a_run_that_was_searched_by_its_name_opens_whole(visit: Visit) -> None:
    """Only a search that is in an event becomes the filter of its session; Enter opens the only session of a search."""
    page = visit.open("/")
    settled(visit, 4)
    search = page.locator("#filters input").first
    search.focus()
    page.keyboard.type("cut sho")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*")
    visit.until("performance.getEntriesByName('localops-whole').length > 0")
    assert "text=" not in page.url
    assert page.locator("#hidden-events").is_hidden()
    page = visit.open("/")
    settled(visit, 4)
    search.focus()
    page.keyboard.type("met at dusk")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*?text=*")
    assert page.get_by_label("Filter events").input_value() == "met at dusk"
    expect(page.locator("#hidden-events")).to_contain_text("The filter hides")


@pytest.mark.parametrize("view", ["timeline", "tree", "events", "chat"])
def test_a_view_says_that_the_filter_hides_events(visit: Visit, view: str) -> None:
    """All views do, in words; their button shows everything again."""
    page = visit.session("night", view)
    assert page.locator("#hidden-events").is_hidden()
    page.get_by_label("Filter events").fill("gpt-4o")
    words = page.locator("#hidden-events span")
    expect(words).to_have_text(re.compile(r"^The filter hides \d+ of \d+ events\.$"))
    page.get_by_label("Filter events").fill("no such word")
    expect(words).to_have_text(re.compile(r"^The filter hides all \d+ events\.$"))
    if view == "chat":
        page.get_by_text("No call matches the filter").wait_for()
    page.get_by_role("button", name="Clear the filter").click()
    expect(page.locator("#hidden-events")).to_be_hidden()
    assert page.get_by_label("Filter events").input_value() == ""
    assert "text=" not in page.url


@pytest.mark.parametrize("view", ["tree", "events", "chat"])
def test_an_event_of_a_link_is_shown_whatever_the_filter_is(visit: Visit, view: str) -> None:
    """Its row is there, as the current one, until the filter changes."""
    page = visit.session("night", view)
    current = page.locator(".turn.current, .row.current")
    field = page.get_by_label("Filter events")
    field.fill("claude")
    expect(page.locator("#hidden-events")).to_contain_text("The filter hides")
    expect(page.locator(".turn, .row", has_text="unicorn")).to_have_count(0)
    field.blur()
    page.keyboard.press("e")
    expect(current).to_contain_text("look up")
    # As a link, which is followed from elsewhere.
    address = page.url
    assert "event=" in address
    assert "text=claude" in address
    visit.open("/login")
    page.goto(address)
    expect(current).to_contain_text("look up")
    field.fill("claud")
    expect(page.locator(".turn, .row", has_text="look up")).to_have_count(0)
