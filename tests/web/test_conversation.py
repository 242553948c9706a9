"""A conversation over several sessions: all of them in their order, and their chat, on one page."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests import warm
from tests.web.conftest import Visit, environment, serving, visiting

RECORDER = """
import localops
for number in (1, 2, 3):
    talk = None if number == 2 else "sea & sky"
    with localops.start_session(name=f"lesson {number}", tags=["a", "b"], conversation=talk) as session:
        for step in (1, 2):
            messages = [{"role": "user", "content": f"Question {number}.{step}"}]
            session.record(localops.LLMEvent(model="gpt-4o", prompt=messages, completion=f"Answer {number}.{step}"))
        session.record(localops.ToolEvent(name="save", returns=f"notes {number}"))
for part in (1, 2):
    with localops.start_session(name=f"long {part}", conversation="long") as session:
        for step in range(60):
            text = "a line\\n\\n" * (step % 7 * 4) + f"Answer {part}.{step}"
            session.record(localops.LLMEvent(model="gpt-4o", prompt=f"Question {part}.{step}", completion=text))
"""


@pytest.fixture
def visit(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a visit to two sessions of a conversation, and one of none between them."""
    home = tmp_path_factory.mktemp("conversation") / "home"
    warm.run([sys.executable, "-c", RECORDER], env=environment(home), check=True, timeout=60)
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


def test_a_tag_leads_to_all_of_a_conversation(visit: Visit) -> None:
    """Its sessions with the first one first, and their turns in one list; from each to its place in its session."""
    page = visit.open("/")
    page.locator("#rows tr", has_text="lesson 3").locator(".tags a").first.click()
    page.wait_for_url("**/conversation?conversation=sea%20%26%20sky")
    expect(page.locator("h1")).to_have_text("Conversation sea & sky")
    expect(page.locator("#sessions .title")).to_have_text(["lesson 1", "lesson 3"])
    expect(page.locator(".turn .number")).to_have_text([f"turn {number}" for number in range(1, 7)])
    expect(page.locator(".part a")).to_have_text(["lesson 1", "lesson 3"])
    texts = ["Answer 1.1", "Answer 1.2", "notes 1", "Answer 3.1", "Answer 3.2", "notes 3"]
    for turn, text in zip(page.locator(".turn").all(), texts, strict=True):
        expect(turn).to_contain_text(text)
    assert visit.unusable_anywhere() == []
    visit.looks()
    page.get_by_role("button", name="Details").nth(4).click()
    page.wait_for_url("**/s/*?event=*#chat")
    expect(page.locator("#details")).to_contain_text("Answer 3.2")
    # And from any of its sessions back to all.
    page.get_by_role("link", name="Conversation").click()
    expect(page.locator(".part a")).to_have_text(["lesson 1", "lesson 3"])


_AT_END = """(() => {
    const turn = [...document.querySelectorAll(".turn")].at(-1), box = turn.getBoundingClientRect();
    const { scrollTop, scrollHeight, clientHeight } = document.querySelector(".talk");
    const isDrawn = !turn.querySelector(".body.faint");
    return isDrawn && box.bottom <= innerHeight && scrollTop + clientHeight >= scrollHeight - 1;
})()"""


def test_the_end_is_one_key_away(visit: Visit) -> None:
    """Although turns grow while they come; in the chat of a session, and in the one area of a conversation."""
    for path in ("/conversation?conversation=long", None):
        page = visit.session("long 2", "chat") if path is None else visit.open(path)
        last = "turn 60" if path is None else "turn 120"
        expect(page.locator(".hint")).to_have_text(
            "The browser's search finds only what was scrolled to: search all of it with the filter ( / )"
        )
        page.locator(".hint button").click()
        expect(page.get_by_label("Filter events")).to_be_focused()
        page.evaluate("document.activeElement.blur()")
        expect(page.locator(".pane .bar .faint")).to_contain_text("60" if path is None else "120")
        page.keyboard.press("End")
        expect(page.locator(".turn .number").last).to_have_text(last)
        visit.until(_AT_END)
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    page.evaluate("document.querySelector('.talk').scrollTop -= 900")
    page.wait_for_timeout(300)
    assert not page.evaluate(_AT_END)


def test_a_conversation_is_filtered_as_a_chat_is(visit: Visit) -> None:
    """By content of all its sessions and by names; a turn is where it was."""
    page = visit.open("/conversation?conversation=long")
    expect(page.locator(".pane .bar .faint")).to_contain_text("120 turns")
    page.keyboard.press("/")
    for text, turns in (
        ("Answer 2.57", ["turn 118"]),
        ('"Question 1.5"', ["turn 6"]),
        ("gpt-4o", None),
        ("nothing like it", []),
    ):
        page.get_by_label("Filter events").fill(text)
        expect(page.locator(".pane .bar .faint")).to_contain_text(f"{120 if turns is None else len(turns)} turn")
        if turns is not None:
            expect(page.locator(".turn .number")).to_have_text(turns)
        if turns == ["turn 118"]:
            # Without the filter, the reader is where it has led.
            page.get_by_label("Filter events").fill("")
            expect(page.locator(".pane .bar .faint")).to_contain_text("120 turn")
            expect(page.get_by_text("turn 118", exact=True)).to_be_in_viewport()
