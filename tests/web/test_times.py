"""The time zone: UTC, or that of the computer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, expect

from tests.web.conftest import Visit, visiting

ZONE = "Asia/Tehran"  # 3:30 ahead of UTC, all year


@pytest.fixture(scope="module")
def window(chromium: Browser, link: str) -> Iterator[Visit]:
    """Return a window in Tehran."""
    with visiting(chromium, "", timezone_id=ZONE) as visit:
        visit.base = link.partition("/#")[0]
        visit.page.goto(link)
        # Then it has its cookie.
        visit.page.wait_for_selector("#sessions", state="attached")
        yield visit


def here(moment: str) -> str:
    """Return a moment as people in Tehran write it."""
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M:%S}"


def test_times_are_of_utc_by_default(visit: Visit) -> None:
    """The button changes it, and every page keeps it."""
    page = visit.open("/")
    first = visit.facts("sessions")["sessions"][0]
    shown = page.locator("#rows time").first
    assert shown.inner_text() == first["began"][:19].replace("T", " ")
    page.get_by_role("button", name="Time zone UTC").click()
    page.locator("#zone", has_text="UTC+3:30").wait_for()
    assert shown.inner_text() == here(first["began"])
    visit.open(f"/s/{first['session_id']}")
    page.locator(".meta time", has_text=f"{here(first['began'])} UTC+3:30").wait_for(state="attached")
    page.keyboard.press("z")
    page.locator(".meta time", has_text=first["began"][:19].replace("T", " ") + " UTC").wait_for(state="attached")


def test_days_are_those_of_the_zone(visit: Visit) -> None:
    """A day that is chosen begins at its midnight there, and the days across sessions are the days there."""
    page = visit.open("/")
    page.keyboard.press("z")
    page.locator("#zone", has_text="UTC+3:30").wait_for()
    today = here(visit.facts("sessions")["sessions"][0]["began"])[:10]
    page.get_by_text("When", exact=True).click()
    page.get_by_role("textbox", name="From").fill(today)
    visit.until("location.search.includes('since')")
    [since] = parse_qs(urlsplit(page.url).query)["since"]
    assert datetime.fromisoformat(since) == datetime.fromisoformat(today).replace(tzinfo=ZoneInfo(ZONE))
    page.get_by_role("textbox", name="Before").fill("2030-01-02")
    # As in the menu; the sessions of the second day are not there.
    expect(page.locator(".chip")).to_have_text([f"From {today} ×", "Before 2030-01-02 ×"])
    with page.expect_response("**/analytics/daily?*") as waiting:
        visit.open("/analytics")
    days = waiting.value.json()
    assert days["tz"] == ZONE
    assert days["days"][-1]["day"] == today
    until = datetime.fromisoformat(days["days"][-1]["filter"]["until"])
    assert until - datetime.fromisoformat(since) == timedelta(days=1)
