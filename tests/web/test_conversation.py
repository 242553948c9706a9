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
    page.get_by_role("button", name="Details").nth(4).click()
    page.wait_for_url("**/s/*?event=*#chat")
    expect(page.locator("#details")).to_contain_text("Answer 3.2")
    # And from any of its sessions back to all.
    page.get_by_role("link", name="Conversation").click()
    expect(page.locator(".part a")).to_have_text(["lesson 1", "lesson 3"])
