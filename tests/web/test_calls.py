"""The page of calls, in a real browser: the questions it answers, its filters, the keyboard, and live updates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.web.conftest import PAIRS, Visit, recorded, serving, visiting
from tests.web.test_live import Program, program
from tests.web.test_live import visit as live

__all__ = ["live", "program"]  # fixtures

_GROUPINGS = ("tool", "arguments", "repeat", "error", "model", "prompt")


def _texts(cells: Locator) -> list[str]:
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def _rows(page: Page) -> Locator:
    return page.locator("#rows tr")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a loop, failures, and more calls than a page has."""
    home = tmp_path_factory.mktemp("calls") / "home"
    for kind in ("story", "other", "circling", "costs", "chatty"):
        recorded(home, kind)
    return home


@pytest.fixture(scope="module")
def looking(chromium: Browser, busy: Path) -> Iterator[Visit]:
    """A visit to that home."""
    with serving(busy) as link, visiting(chromium, link) as visit:
        yield visit


def test_the_most_expensive_call_is_one_click_away(looking: Visit) -> None:
    """A click on the head of the column; the row leads to the event in its session."""
    page = looking.open("/")
    page.get_by_role("link", name="Calls").click()
    page.get_by_role("button", name="Cost").click()
    expect(page.locator("thead [aria-sort=descending]")).to_have_text("Cost")
    [dearest, *_] = looking.facts("calls?sort=cost")["calls"]
    first = _rows(page).first
    expect(first).to_have_attribute("data-id", dearest["id"])
    expect(first.locator(".name")).to_have_text(dearest["model"])
    first.locator(".name").click()
    page.wait_for_url(f"**/s/{dearest['session_id']}?event={dearest['seq']}*")
    expect(page.locator("#details")).to_contain_text(dearest["model"])


def test_the_tool_that_fails_most_is_shown_with_its_inputs(looking: Visit) -> None:
    """First of the groups by tool; its inputs lead to calls that failed, its name to all of its calls."""
    page = looking.open("/calls")
    page.locator("#groupings").get_by_role("link", name="Tools").click()
    first = _rows(page).first
    expect(first.locator(".name")).to_have_text("look up")
    assert _texts(first.locator("td"))[1:4] == ["4", "2", "50 %"]
    expect(first.locator(".examples a")).to_have_text(["word=unicorn ×2"])
    # Of several, what differs is shown.
    apart = "async (texts) => (await import('/web/call_rows.js')).apart(texts)"
    orders = ["order_id=EU-74248", "order_id=EU-74186 fast=true", "order_id=EU-7"]
    assert page.evaluate(apart, orders) == ["order_id=", ["EU-74248", "EU-74186 fast=true", "EU-7"]]
    assert page.evaluate(apart, [f"k={'x' * 40}{end}" for end in "ab"]) == ["k=", ["…xxxxxxxxa", "…xxxxxxxxb"]]
    assert page.evaluate(apart, ["a b", "a", "a"]) == ["", ["a b", "a", "a"]]
    assert page.evaluate(apart, ["same", "same"]) == ["", ["same", "same"]]
    first.locator(".name").click()
    expect(page.locator("#chosen .chip")).to_have_text("Tool: look up ×")
    expect(_rows(page)).to_have_count(4)
    expect(page.locator("#sums")).to_contain_text("4 calls · 2 failed (50 %)")
    failed = page.locator("#rows .bad").first
    expect(failed).to_contain_text("LookupError: no such animal")
    page.get_by_role("button", name="Failed only").click()
    expect(_rows(page)).to_have_count(2)
    page.go_back()
    expect(_rows(page)).to_have_count(4)


def test_a_loop_is_found_in_two_steps(looking: Visit) -> None:
    """Repeats name the tool, its arguments and the session."""
    page = looking.open("/calls")
    page.locator("#groupings").get_by_role("link", name="Repeats").click()
    first = _rows(page).first
    expect(first).to_contain_text("fetch")
    expect(first).to_contain_text("in round and round")
    assert _texts(first.locator("td"))[1] == "200"
    first.locator(".name").click()
    expect(page.locator("#sums")).to_contain_text("200 calls")


def test_the_slowest_step_is_one_click_away(looking: Visit) -> None:
    """Across all sessions."""
    page = looking.open("/calls")
    page.get_by_role("button", name="Duration").click()
    [slowest, *_] = looking.facts("calls?sort=seconds")["calls"]
    expect(_rows(page).first).to_have_attribute("data-id", slowest["id"])


def test_filters_are_menus_with_the_values_that_there_are(looking: Visit) -> None:
    """Several values of one are alternatives; the address has them, and a chip removes one."""
    page = looking.open("/calls")
    page.locator("summary", has_text="Model").click()
    page.get_by_role("button", name="gpt-4o").click()
    page.get_by_role("button", name="claude-sonnet-4-5").click()
    expect(page.locator("#chosen .chip")).to_have_text(["Model: gpt-4o ×", "Model: claude-sonnet-4-5 ×"])
    wanted = looking.facts("calls/groups?model=gpt-4o&model=claude-sonnet-4-5")["calls"]
    expect(page.locator("#sums b")).to_have_text(f"{wanted:,} calls")
    page.keyboard.press("Escape")
    page.locator("#chosen .chip").first.click()
    expect(page.locator("#sums b")).to_have_text("2 calls")
    assert "model=claude-sonnet-4-5" in page.url
    assert "gpt-4o" not in page.url
    page.locator("#chosen .chip").first.click()
    page.get_by_label("Text in the arguments of tools").fill("unicorn")
    expect(page.locator("#sums b")).to_have_text("2 calls")
    page.locator("summary", has_text="Sessions").click()
    page.get_by_label("Tag", exact=True).fill("nothing")
    page.keyboard.press("Enter")
    expect(page.locator("#empty")).to_contain_text("No call matches these filters.")
    page.get_by_role("button", name="Show all calls").click()
    expect(_rows(page)).to_have_count(50)
    page.locator("summary", has_text="Tool").click()
    page.get_by_role("button", name="fetch").click(modifiers=["Shift"])
    expect(page.locator("#chosen .chip")).to_have_text("not Tool: fetch ×")
    left = looking.facts("calls/groups?not_tool=fetch")["calls"]
    expect(page.locator("#sums b")).to_have_text(f"{left:,} calls")
    page.goto(f"{looking.base}/calls?not_tag=loop&since=7d&errors=1&kind=llm")
    chips = ["not Tag: loop ×", "Started: last 7 days ×", "With errors ×", "Kind: LLM calls ×"]
    expect(page.locator("#chosen .chip")).to_have_text(chips)


def test_costs_that_are_not_known_are_said_as_elsewhere(looking: Visit) -> None:
    """No price, not billed, and a lower bound of several."""
    page = looking.open("/calls?session=" + looking.facts("sessions?tag=costs")["sessions"][0]["session_id"])
    costs = dict(zip(_texts(page.locator("#rows .what .name")), _texts(page.locator("#rows .cost")), strict=True))
    assert costs["model-of-my-own"] == "unpriced"
    assert costs["turned-away"] == "not billed"
    page.goto(page.url + "&by=model")
    costs = dict(zip(_texts(page.locator("#rows .what .name")), _texts(page.locator("#rows .cost")), strict=True))
    assert (costs["model-of-my-own"], costs["turned-away"], costs["refused"]) == ("unpriced", "$0.00", "$0.00 + ?")


def test_rows_are_one_line_and_have_most_of_the_window(looking: Visit) -> None:
    """36 px each; the table begins in the first fifth of 800 px, and its head stays while the page scrolls."""
    for path in ("/calls", *(f"/calls?by={by}" for by in _GROUPINGS)):
        page = looking.open(path)
        page.locator("#sums b").wait_for()
        heights = page.evaluate("[...document.querySelectorAll('#rows tr')].map(row => row.offsetHeight)")
        assert set(heights) == {36}, path
        assert page.evaluate("document.querySelector('.table-wrap').getBoundingClientRect().top") <= 160
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page = looking.open("/calls")
    page.mouse.wheel(0, 900)
    looking.until("scrollY > 600")
    assert page.evaluate("document.querySelector('#calls th').getBoundingClientRect().top") == 0


def test_more_rows_come_while_one_scrolls(looking: Visit) -> None:
    """Each call once, in the order of the server; after a thousand rows, another page goes on."""
    page = looking.open("/calls?sort=tokens&order=asc")
    for _ in range(200):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(50)
        if page.locator("#more a").count():
            break
    shown = page.evaluate("[...document.querySelectorAll('#rows tr')].map(row => row.dataset.id)")
    first = looking.facts("calls?sort=tokens&order=asc&limit=500")
    second = looking.facts(f"calls?sort=tokens&order=asc&limit=500&after={first['next']}")
    assert shown == [call["id"] for call in first["calls"] + second["calls"]]
    page.get_by_role("link", name="Next calls").click()
    rest = looking.facts(f"calls?sort=tokens&order=asc&after={second['next']}")["calls"]
    expect(_rows(page).first).to_have_attribute("data-id", rest[0]["id"])


def test_the_keyboard_suffices(looking: Visit) -> None:
    """Sorting keeps the focus, `j` and `k` move, Enter opens, `/` searches, Esc closes a menu."""
    page = looking.open("/calls")
    page.locator("#sums b").wait_for()
    page.get_by_role("button", name="Cost").focus()
    page.keyboard.press("Enter")
    expect(page.locator("thead [aria-sort=descending]")).to_have_text("Cost")
    looking.until("!document.querySelector('#calls.stale')")
    assert page.evaluate("document.activeElement.textContent") == "Cost"
    page.keyboard.press("Enter")
    expect(page.locator("thead [aria-sort=ascending]")).to_have_text("Cost")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "argument"
    page.keyboard.press("Escape")
    for key in "jjk":
        page.keyboard.press(key)
    assert page.evaluate("[...document.querySelectorAll('#rows tr')].findIndex(row => row.matches('.current'))") == 0
    page.locator("summary", has_text="Kind").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen .chip")).to_have_text("Kind: LLM calls ×")
    assert page.evaluate("document.activeElement.textContent") == "LLM calls"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Kind"
    expect(page.locator("#calls.stale")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*?event=*")


@pytest.mark.parametrize("visit", PAIRS, indirect=True)
def test_everyone_can_use_it_and_recorded_text_is_text(visit: Visit) -> None:
    """axe reports no violation, and nothing is wider than the page; names and arguments are attacks here."""
    problems = []
    for path in ("/calls", "/calls?argument=%3Cscript%3E&failed=1", *(f"/calls?by={by}" for by in _GROUPINGS)):
        page = visit.open(path)
        page.locator("#sums b").wait_for()
        for menu in ("Sessions", "Tool"):
            page.locator("summary", has_text=menu).click()
        visit.until("document.querySelector('.menu[open] > div').children.length > 0")
        problems += [(path, *each) for each in visit.unusable()]
        assert page.evaluate("window.hurt") is None
    assert problems == []


def test_new_calls_come_in_and_leave_the_focus_alone(program: Program, live: Visit) -> None:
    """Neither a focused link nor a selection goes while a program records; a row that is there stays the same."""
    program.step()
    page = live.open("/calls")
    name = page.locator("#rows .name").last
    name.focus()
    page.evaluate("document.activeElement.closest('tr').mine = true")
    for _ in range(3):
        program.step()
    expect(_rows(page)).to_have_count(4, timeout=30_000)
    assert page.evaluate("document.activeElement.matches('#rows .name') && document.activeElement.closest('tr').mine")
    expect(page.locator("#sums b")).to_have_text("4 calls")
    page.locator("#groupings").get_by_role("link", name="Tools").click()
    program.step()
    expect(page.locator("#rows td.num").first).to_have_text("5", timeout=30_000)


def test_a_column_without_values_leaves_its_room_to_arguments(visit: Visit) -> None:
    """No tool has a first token or tokens; sorted by it, or among calls of models, a column is there."""
    page = visit.open("/calls?kind=tool")
    head = page.locator("#calls thead")
    expect(page.locator("#rows tr").first).to_be_visible()
    for name in ("tokens", "first"):
        expect(head.locator(f".{name}")).to_be_hidden()
    visit.open("/calls?kind=tool&sort=tokens")
    expect(head.locator(".tokens")).to_be_visible()
    visit.open("/calls?kind=llm")
    expect(head.locator(".tokens")).to_be_visible()
    visit.open("/calls?by=tool")
    expect(head.locator(".cost")).to_be_visible()
