"""Days as filters: typed digit by digit, applied when they are whole, and refused in the words of the page."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Visit


@pytest.mark.parametrize("path", ["/", "/calls"])
def test_a_day_is_typed(visit: Visit, path: str) -> None:
    """No digit of the year takes the focus or the text away; a year before 1970 is refused when the field is left."""
    page = visit.open(path)
    page.get_by_text("When", exact=True).click()
    field = page.get_by_role("textbox", name="From")
    field.focus()
    for typed in ("11232026", "\t"):
        page.keyboard.type(typed, delay=30)
        expect(field).to_have_value("2026-11-23")
    visit.until("location.search.includes('since')")
    assert parse_qs(urlsplit(page.url).query)["since"] == ["2026-11-23T00:00:00Z"]
    field.blur()
    field.focus()
    page.keyboard.type("11230002")
    page.keyboard.press("Enter")
    expect(page.locator("#toast")).to_contain_text("From: enter day, month and year, from 1970")
    expect(field).to_be_focused()
    expect(field).to_have_value("0002-11-23")
    assert "since=2026-11-23" in page.url
    field.fill("")
    visit.until("!location.search.includes('since')")


@pytest.mark.parametrize(("path", "menu"), [("/", "More"), ("/calls", "Sessions"), ("/analytics", "More")])
def test_a_refused_filter_is_named_as_on_the_page(visit: Visit, path: str, menu: str) -> None:
    """The banner names the field and what to enter there."""
    page = visit.open(path)
    page.locator("#filters summary", has_text=menu).click()
    field = page.locator(".menu[open]").get_by_label("Score")
    field.fill("<<")
    field.press("Enter")
    expect(page.locator(".problem").first).to_contain_text("Score: << is not valid; enter a name, or a comparison")
    visit.leave()
    visit.wrong.clear()  # Chromium reports the refused requests


@pytest.mark.parametrize("path", ["/", "/calls", "/analytics"])
def test_a_period_that_ends_before_it_begins_is_named(visit: Visit, path: str) -> None:
    """The page names the order of the two days, and not the other filters; amounts are written with their units."""
    page = visit.open(f"{path}?since=2026-11-23T00:00:00Z&until=2026-11-20T00:00:00Z&min_cost=0.20")
    message = "From (2026-11-23) must be earlier than Before (2026-11-20): change one of them in When."
    page.locator(".empty", has_text=message).wait_for()
    expect(page.locator(".chip", has_text="Cost")).to_have_text("Cost ≥ $0.20 ×")
