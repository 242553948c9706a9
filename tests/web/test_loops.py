"""Loops on the pages, in a real browser: a chip in the list, and a fold on the page of a session."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.web.conftest import Visit, recorded, serving, visiting
from tests.web.recorder import ATTACKS


def test_a_session_with_a_loop_is_marked(chromium: Browser, tmp_path: Path) -> None:
    """The chip of the list leads to the fold, which is open then; the others have no chip."""
    home = tmp_path / "home"
    for kind in ("story", "circling"):
        recorded(home, kind)
    with serving(home) as link, visiting(chromium, link) as visit:
        chip = visit.open("/").locator("#rows .loops")
        expect(chip).to_have_count(1)
        expect(chip).to_have_text("loop")
        headline = chip.get_attribute("title")
        assert headline is not None
        assert headline.startswith("1 loop; wasted 398 tool calls")
        chip.click()
        fold = visit.page.locator("#loops")
        expect(fold.locator("summary")).to_have_text(f"Loops: {headline}")
        expect(fold).to_have_attribute("open", "")
        ident = visit.page.url.partition("/s/")[2].partition("#")[0]
        [sentence] = visit.facts(f"sessions/{ident}/loops")["page"][0]["sentences"]
        assert fold.locator("p").all_inner_texts() == [sentence]
        # What the post-mortem below the timeline has of it stands there while the fold is closed.
        wasted = visit.page.locator("#story .inside > div", has=visit.page.get_by_text("Wasted", exact=True))
        again = wasted.get_by_text(sentence.removeprefix("[cycle] "))
        again.wait_for(state="attached")
        expect(wasted).to_be_hidden()
        fold.locator("summary").click()
        expect(again).to_be_visible()
        mark = visit.page.locator("#head .loops")
        expect(mark).to_have_text("loop")
        expect(mark).to_have_attribute("title", headline)
        # The list of a call that repeats has the sums of this call, and those of the loop in words.
        visit.open("/calls?by=repeat").locator("#rows tr").first.locator(".name").click()
        expect(visit.page.locator("#sums b")).to_have_text("200 calls")
        wasted = visit.page.locator("#wasted")
        expect(wasted).to_have_text(f"The sums are of this call alone. In its session: {headline}")
        visit.page.locator("#groupings", has_text="Repeats").get_by_text("Repeats").click()
        expect(wasted).to_have_count(0)
        # It leads to the fold, and so does the session of calls that repeat.
        visit.page.go_back()
        wasted.locator("a").click()
        expect(fold).to_have_attribute("open", "")
        visit.open("/calls?by=repeat").locator("#rows tr").first.locator(".in a").click()
        expect(fold).to_have_attribute("open", "")
        assert fold.locator("p").all_inner_texts() == [sentence]


def test_recorded_text_in_it_is_text(visit: Visit) -> None:
    """Names and errors of failing tools are attacks here, and do nothing; a session without loops has no chip."""
    page = visit.session(ATTACKS[0])
    fold = page.locator("#loops")
    expect(fold.locator("summary")).to_have_text("Loops and failing tools")
    page.locator("#about").click()
    fold.locator("summary").click()
    ident = page.url.partition("/s/")[2].partition("#")[0]
    wanted = visit.facts(f"sessions/{ident}/loops")["page"]
    sentences = [" ".join(one.split()) for section in wanted for one in section["sentences"]]
    assert [" ".join(one.split()) for one in fold.locator("p").all_inner_texts()] == sentences
    expect(page.locator("#head .loops")).to_have_count(0)
    assert page.evaluate("window.hurt") is None
