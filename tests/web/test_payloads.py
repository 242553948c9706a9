"""Payloads as programs really record them, on the pages and in a report: their digits, pictures, sounds and output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests import warm
from tests.web.conftest import Visit, environment, serving, visiting
from tests.web.test_report import export, opened

RECORDER = """
import localops

localops.init(auto_start_session=False)
with localops.start_session([], name="payloads") as session:
    tool = lambda name, params, returns: session.record(localops.ToolEvent(name=name, params=params, returns=returns))
    tool("digits", {"user_id": 1234567890123456789, "share": 1.0}, {"id": 9007199254740993})
    tool("order", {}, '{"a": 1, "a": 2, "b": 1.10, "c": 1e2, "10": "x", "2": "y"}')
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a session of such payloads."""
    home = tmp_path_factory.mktemp("payloads") / "home"
    warm.run([sys.executable, "-c", RECORDER], env=environment(home), check=True, timeout=60)
    return home


@pytest.fixture(scope="module")
def payloads(chromium: Browser, home: Path) -> Iterator[Visit]:
    """Return a visit to the session."""
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield visit


@pytest.fixture(scope="module")
def report(home: Path) -> Path:
    """Return a report of the session."""
    return export(home, "payloads.html", "--all")


def details(page: Page, name: str) -> Page:
    """Choose an event of a session's table; return the page when its details are there."""
    page.locator(".events .row", has_text=name).first.click()
    page.locator("#details h2", has_text=name).wait_for()
    page.wait_for_selector("#details section")
    return page


def event(visit: Visit, name: str) -> Page:
    """Open the details of an event."""
    return details(visit.session("payloads", "events"), name)


def copied(visit: Visit, form: str) -> str:
    """Return what the menu of the details copies in a form."""
    visit.page.evaluate("navigator.clipboard.writeText('')")
    visit.page.get_by_text("Copy as").click()
    visit.page.locator("#details .menu").get_by_role("button", name=form, exact=True).click()
    visit.until("(await navigator.clipboard.readText()) !== ''")
    return str(visit.page.evaluate("navigator.clipboard.readText()"))


NUMBERS = ["1234567890123456789", "1.0", "9007199254740993"]


def test_numbers_have_their_recorded_digits(payloads: Visit) -> None:
    """In the details, in what is copied, and in the stored row."""
    page = event(payloads, "digits")
    assert page.locator("#details pre .number").all_inner_texts() == NUMBERS
    form = copied(payloads, "JSON")
    assert [number for number in NUMBERS if f": {number}" in form] == NUMBERS
    start = json.loads(form)["start_ns"]
    page.get_by_role("button", name="Raw", exact=True).click()
    assert f'"start_ns": {start}' in page.locator("#details").inner_text()


def test_keys_have_their_recorded_order(payloads: Visit) -> None:
    """Each is there as often as it was recorded, in a text of JSON too."""
    page = event(payloads, "order")
    result = page.locator("#details section[data-title=Result] pre").inner_text()
    keys, numbers = zip(*(line.strip(" ,").split(": ") for line in result.splitlines()[1:-1]), strict=True)
    assert keys == ('"a"', '"a"', '"b"', '"c"', '"10"', '"2"')
    assert numbers[:4] == ("1", "2", "1.10", "1e2")


def test_a_report_has_the_same_digits(chromium: Browser, report: Path) -> None:
    """They are read from the same text."""
    with opened(chromium, report) as page:
        page.locator("#tab-events").click()
        details(page, "digits")
        assert page.locator("#details pre .number").all_inner_texts() == NUMBERS
