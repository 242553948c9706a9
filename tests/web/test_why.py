"""The post-mortem on the page of a session, in a real browser."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import Visit, recorded, serving, visiting
from tests.web.recorder import ATTACKS
from tests.web.test_report import export, opened


@pytest.mark.parametrize("name", ["night", ATTACKS[0]])
def test_the_post_mortem_is_a_fold_that_shows_text(visit: Visit, name: str) -> None:
    """It is read when it is opened, has the sentences of the server, and recorded text in it is never markup."""
    page = visit.session(name)
    page.locator("#tab-events").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator(".events .row").first.wait_for()
    assert not [address for address in asked if address.endswith("/why")]
    page.locator("#reason").click()
    page.locator("#why h3").first.wait_for()
    ident = page.url.partition("/s/")[2].partition("#")[0]
    wanted = visit.facts(f"sessions/{ident}/why")["page"]
    assert page.locator("#why h3").all_inner_texts() == [section["title"] for section in wanted]
    command = re.compile(r"`localops show \S+ --event \S+`")
    sentences = [
        " ".join(command.sub("event", sentence).split()) + (" event" if event else "")
        for section in wanted
        for sentence, event in zip(section["sentences"], section["events"], strict=True)
    ]
    assert any(sentence.endswith(" event") for sentence in sentences)
    shown = [re.sub(r"\bevent \d+", "event", one) for one in page.locator("#why p").all_inner_texts()]
    assert [" ".join(one.split()) for one in shown] == sentences
    assert page.evaluate("window.hurt") is None


def test_a_short_timeline_leaves_room_for_it(visit: Visit) -> None:
    """It stands below the bars, without a click; the other views and a long timeline need their room."""
    page = visit.session("night")
    story = page.locator("#story")
    expect(story.locator("h3").first).to_have_text("How it ended")
    below: Any = page.locator(".pane.timeline").bounding_box()
    box: Any = story.bounding_box()
    assert box["y"] >= below["y"] + below["height"]
    # A section stands right below the one before it, also where that beside it is longer.
    place = "sections => sections.map((one) => [one.offsetLeft, one.offsetTop, one.offsetHeight])"
    places: Any = story.locator(".inside > *").evaluate_all(place)
    pairs = [(one, other) for one, other in pairwise(places) if one[0] == other[0]]
    assert len({left for left, *_ in places}) > 1
    assert len(pairs) > 0
    assert all(other[1] - one[1] - one[2] < 20 for one, other in pairs)
    page.locator("#tab-events").click()
    expect(story).to_have_count(0)
    page.locator("#tab-timeline").click()
    expect(story).to_have_count(1)
    page.set_viewport_size({"width": 1280, "height": 300})
    page.locator("#tab-events").click()
    page.locator("#tab-timeline").click()
    expect(story).to_have_count(0)


def test_the_call_that_returned_an_argument_is_a_link(chromium: Browser, tmp_path: Path) -> None:
    """It selects the event, whose details then stand beside the page."""
    recorded(tmp_path, "misled")
    with serving(tmp_path) as link, visiting(chromium, link) as visit:
        page = visit.session("misled", "events")
        page.locator("#reason").click()
        cause = page.locator("#why p", has_text="was returned by")
        expect(cause).to_contain_text("The argument 'nest' ('nest-0815-b') was returned by tool 'find owl' ")
        expect(cause).not_to_contain_text("localops show")
        cause.locator("a").click()
        expect(page.locator("#details h2")).to_have_text("tool find owl")
        number = cause.locator("a").inner_text().removeprefix("event ")
        assert f"?event={number}" in page.url


def test_steps_that_run_once_are_listed(chromium: Browser, tmp_path: Path) -> None:
    """With what a resume would do with each, as `localops steps`, in a report too; each leads to its last call."""
    home = tmp_path / "home"
    recorded(home, "paid")
    expected = [
        ["charge", "done", "returns its recorded result", '{"order":"<b>a</b>"}'],
        ["charge", "done", "returns its recorded result", '{"order":"b"}'],
        ["charge (no. 2)", "done", "returns its recorded result", '{"order":"b"}'],
        ["ship", "uncertain", "raises Uncertain", '{"order":"b"}'],
    ]

    def listed(page: Page) -> list[list[str]]:
        page.locator("#tab-events").click()
        page.locator("#reason").click()
        rows = page.locator(":is(#why, #story) tbody tr")
        expect(rows).to_have_count(4)
        return [row.locator("td").all_inner_texts() for row in rows.all()]

    with serving(home) as link, visiting(chromium, link) as visit:
        page = visit.session("half paid")
        assert listed(page) == expected
        page.locator(":is(#why, #story) tbody a").last.click()
        expect(page.locator("#details h2")).to_have_text("tool ship")
    with opened(chromium, export(home, "paid.html", "last")) as page:
        assert listed(page) == expected
