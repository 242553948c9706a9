"""The list of sessions in the hands of someone who is new to it: heads, menus, quiet sessions, searches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from tests.web.conftest import HURRY, Visit, recorded, serving, visiting
from tests.web.test_pages import settled
from tests.web.test_session_page import under_way


@pytest.mark.parametrize(("path", "table"), [("/", "#sessions"), ("/calls", "#calls")])
def test_the_whole_head_of_a_column_sorts(visit: Visit, path: str, table: str) -> None:
    """A click at the edge of the cell is one on its word."""
    page = visit.open(path)
    page.locator("#rows tr").first.wait_for()
    head = page.locator(f"{table} thead th", has_text="Cost")
    for order in ("descending", "ascending"):
        box: Any = head.bounding_box()
        page.mouse.click(box["x"] + 2, box["y"] + box["height"] - 3)
        expect(head).to_have_attribute("aria-sort", order)
        visit.until("!document.querySelector('.stale')")


def test_the_list_is_as_wide_as_its_window(visit: Visit) -> None:
    """Narrow windows leave out agents and models, unless someone chose to see them."""
    page = visit.open("/")
    settled(visit, 4)
    for width in (320, 390, 768, 900, 961, 1024, 1085, 1152, 1153, 1280, 1920):
        visit.looks(width)
        assert visit.too_wide() == [], width
    agents = page.locator("#sessions th[data-col=agents]")
    expect(agents).to_be_visible()
    visit.looks(961)
    expect(agents).to_be_hidden()
    page.locator("#filters summary", has_text="Display").click()
    box = page.locator(".menu[open]").get_by_label("Agents")
    box.uncheck()
    box.check()
    expect(agents).to_be_visible()


def test_the_head_of_the_list_stays_while_the_page_scrolls(visit: Visit) -> None:
    """The filters scroll away, and a row that a key leads to is below the head."""
    page = visit.open("/")
    settled(visit, 4)
    page.set_viewport_size({"width": 1280, "height": 260})
    page.locator(".table-wrap.fits").wait_for()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    head = page.locator("#sessions thead th", has_text="Name")
    names: Any = head.bounding_box()
    assert page.evaluate("scrollY") > 100
    assert abs(names["y"]) <= 1
    for key in "jjkk":
        page.keyboard.press(key)
    row: Any = page.locator("#rows tr.current").bounding_box()
    names = head.bounding_box()
    assert row["y"] >= names["y"] + names["height"] - 1


def test_a_value_is_excluded_without_a_key_held_down(chromium: Browser, link: str, known: Any) -> None:
    """By a finger in the menu, by the sign of its chip, and by the keyboard, whose focus stays on that sign."""
    touching: list[dict[str, Any]] = [{"has_touch": True, "is_mobile": True}, {}]
    for touch in touching:
        with visiting(chromium, link, storage_state=known, **touch) as visit:
            page = visit.open("/")
            settled(visit, 4)
            page.locator("#filters summary", has_text="Tag").click()
            signs = page.locator(".menu[open] .not")
            signs.first.wait_for()
            look = "signs => signs.map(one => getComputedStyle(one).opacity + getComputedStyle(one).visibility)"
            assert set(signs.evaluate_all(look)) == {"1visible"}
            signs.first.click()
            chip = page.locator(".chosen-filters .filter")
            expect(chip).to_have_text(re.compile("^≠Tag: not "))
            assert "not_tag=" in page.url
            page.keyboard.press("Escape")
            page.locator(".turn").focus()
            page.keyboard.press("Enter")
            expect(chip).to_have_text(re.compile("^=Tag: "))
            assert "?tag=" in page.url
            expect(page.locator(".turn")).to_be_focused()
            visit.until("!document.querySelector('.stale')")
            page.keyboard.press("Enter")
            expect(chip).to_have_text(re.compile("^≠Tag: not "))
            visit.until("!document.querySelector('.stale')")  # pale while the next rows are on their way
            assert visit.unusable() == []


def test_a_menu_shows_that_it_continues_below(visit: Visit) -> None:
    """An arrow is at its edge until the end is in sight, also after a part of it was opened."""
    page = visit.open("/")
    page.set_viewport_size({"width": 1280, "height": 500})
    settled(visit, 4)
    page.locator("#filters summary", has_text="More").first.click()
    box = page.locator(".menu[open] > .box")
    expect(box).to_have_class(re.compile("cut"))
    assert "↓" in page.evaluate("getComputedStyle(document.querySelector('.menu[open] > .box'), '::after').content")
    to_end = "document.querySelector('.menu[open] > .box').scrollTop = 1e6"
    page.evaluate(to_end)
    expect(box).not_to_have_class(re.compile("cut"))
    page.locator(".menu[open] .sub summary", has_text="Metadata").focus()
    page.keyboard.press("Enter")
    page.evaluate("document.querySelector('.menu[open] > .box').scrollTop = 0")
    expect(box).to_have_class(re.compile("cut"))


def test_the_focus_of_the_tabs_of_a_session_is_whole(visit: Visit) -> None:
    """Its ring is inside of the line of tabs, which nothing lies over."""
    page = visit.session("night", "tree")
    page.locator("#tab-tree").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-events")).to_be_focused()
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineOffset)") < 0


def test_a_session_without_events_for_a_while_looks_quiet(chromium: Browser, tmp_path: Path) -> None:
    """Its state loses the colour of running sessions, and its row says how long ago the last event was."""
    with (
        under_way(tmp_path / "home", "running"),
        serving(tmp_path / "home") as link,
        visiting(chromium, link) as visit,
    ):
        visit.page.add_init_script("window.later = 0; const now = Date.now; Date.now = () => now() + window.later;")
        page = visit.open("/")
        settled(visit, 1)
        assert page.locator("#rows .quiet").count() == 0
        page.evaluate("window.later = 12.5 * 60_000")
        expect(page.locator("#rows .because.quiet")).to_have_text("last event 12m ago")
        expect(page.locator("#rows .state.Running")).to_have_class(re.compile("quiet"))
        page.evaluate("window.later = 13.5 * 60_000")
        expect(page.locator("#rows .because.quiet")).to_have_text("last event 13m ago")


def test_the_list_says_what_a_quiet_session_is_in(chromium: Browser, tmp_path: Path) -> None:
    """A session that is stuck can be recognised without opening it."""
    with (
        under_way(tmp_path / "home", "stuck"),
        serving(tmp_path / "home") as link,
        visiting(chromium, link) as visit,
    ):
        visit.page.add_init_script("const now = Date.now; Date.now = () => now() + 150_000;")
        page = visit.open("/")
        expect(page.locator("#rows .because.quiet")).to_have_text("last event 2m ago, inside rollout status")


# How many tags of a row are in its line, the room that is left there, whether the others are out of sight, whether the
# first is whole, and what the button beside them shows.
TAGS = """(box) => {
    const [first, ...others] = [...box.children].map((tag) => tag.getBoundingClientRect());
    const seen = [first, ...others.filter((one) => one.top === first.top)];
    const below = others.slice(seen.length - 1);
    const { right } = box.getBoundingClientRect(), { bottom } = box.parentElement.getBoundingClientRect();
    const end = right - parseFloat(getComputedStyle(box).paddingRight);
    return {
        seen: seen.length,
        free: end - Math.max(...seen.map((one) => one.right)),
        isOut: below.every((one) => one.top > bottom + 4),
        isWhole: box.firstChild.scrollWidth <= box.firstChild.clientWidth,
        mark: box.nextElementSibling.hidden ? "" : box.nextElementSibling.textContent,
    };
}"""


def _box(part: Locator) -> Any:
    return part.bounding_box()


def test_as_many_tags_are_shown_as_fit(chromium: Browser, tmp_path: Path) -> None:
    """They use the whole line; a button after the last one counts the rest, and shows them in place."""
    tags = ["support", "prompt-v2", "customer-facing", "region-eu-central-1", "an-experiment"]
    tags += [f"shard-{number}" for number in range(12)]
    recorded(tmp_path / "home", "one")
    journal = Journal(str(tmp_path / "home" / "default"))
    for name, own in (("short", tags), ("a name that takes all of the room " * 3, tags), ("few", tags[:2])):
        id = clock.new_id()
        text = encode.dumps(own).decode()
        journal.add([rows.make("session", id, id=id, at_ns=clock.now_ns(), name=name, tags=text, body="{}")])
    journal.fold()
    journal.close()
    with serving(tmp_path / "home") as link, visiting(chromium, link) as visit:
        page = visit.open("/")
        settled(visit, 4)
        box = page.locator("#rows tr", has_text="short").locator(".tags")
        page.mouse.move(0, 0)
        expect(box).to_have_attribute("title", ", ".join(tags))
        many = box.evaluate(TAGS)
        assert (many["seen"] in range(4, 16), many["isOut"], many["isWhole"]) == (True, True, True)
        assert many["mark"] == f"+{17 - many['seen']}"
        assert many["free"] < 66  # a tag needs as much
        one = page.locator("#rows tr", has_text="a name that").locator(".tags").evaluate(TAGS)
        assert (one["seen"], one["isOut"], one["mark"]) == (1, True, "+16")
        few = page.locator("#rows tr", has_text="few").locator(".tags").evaluate(TAGS)
        assert (few["seen"], few["mark"]) == (2, "")
        row = page.locator("#rows tr", has_text="short")
        more = row.locator(".more-tags")
        expect(more).to_have_attribute("title", re.compile(r"^(\S+, )*shard-11$"))
        place: Any = more.bounding_box()
        page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        expect(more).to_have_text("−")
        assert row.locator(".titled").evaluate("line => line.scrollHeight <= line.clientHeight")
        # The star, which appears under the pointer, covers no tag.
        assert row.locator(".star").get_attribute("aria-pressed") == "false"
        star: Any = row.locator(".star").bounding_box()
        assert star["x"] >= max(each["x"] + each["width"] for each in map(_box, row.locator(".tag").all()))
        # Beside a long name, too, they have the width of the cell: each is whole, and several are in a line.
        long = page.locator("#rows tr", has_text="a name that")
        long.locator(".more-tags").click()
        assert long.locator(".tag").evaluate_all("tags => tags.every((tag) => tag.scrollWidth <= tag.clientWidth)")
        name, *places = map(_box, (long.locator(".title"), *long.locator(".tag").all()))
        assert len({each["y"] for each in places}) < len(places) / 2
        assert min(each["y"] for each in places) >= name["y"] + name["height"]
        assert visit.unusable("#sessions") == []
        long.locator(".more-tags").click()
        expect(long.locator(".more-tags")).to_have_text("+16")
        assert long.locator(".tags").evaluate(TAGS)["seen"] == 1


def test_the_figures_of_all_sessions_stand_below_each_other_on_a_phone(visit: Visit) -> None:
    """However long the word for a state is."""
    page = visit.open("/")
    visit.looks(390)
    page.locator("#rows .state.Indeterminate").first.wait_for()
    page.locator("#rows .state.Success").first.wait_for()
    lefts = "cells => cells.map((cell) => Math.round(cell.getBoundingClientRect().left))"
    assert len(set(page.locator("#rows [data-col=llm_calls]").evaluate_all(lefts))) == 1
    # In compact rows, no part covers another.
    page.locator("#filters summary", has_text="Display").click()
    page.get_by_label("Compact rows").check()
    page.locator("#sessions.compact").wait_for()
    lines = "cells => cells.every((cell) => cell.scrollHeight <= cell.clientHeight)"
    assert page.locator("#rows td.name").evaluate_all(lines)
    page.get_by_label("Compact rows").uncheck()


def test_the_name_of_a_model_is_whole_beside_many_columns(visit: Visit) -> None:
    """On two lines, if it has to be."""
    page = visit.open("/")
    settled(visit, len(visit.facts("sessions?limit=500")["sessions"]))
    names = page.locator("#rows td[data-col=models] .values").first
    names.evaluate("(box) => { box.textContent = 'claude-sonnet-4-5'; }")
    assert names.evaluate("(box) => [box.scrollWidth - box.clientWidth, box.scrollHeight - box.clientHeight]") == [0, 0]
    assert names.evaluate("(box) => box.closest('tr').offsetHeight") <= 51


def test_a_wide_window_shows_the_names_of_several_models(visit: Visit) -> None:
    """The room beside the names of sessions is for them."""
    page = visit.open("/")
    visit.looks(1920)
    cell = page.locator("#rows [data-col=models]").first
    several = "claude-haiku-4-5, claude-sonnet-4-5, gpt-4o, gpt-4o-mini"
    cut = "(cell, text) => { cell.textContent = text; return cell.scrollWidth - cell.clientWidth; }"
    assert cell.evaluate(cut, several) == 0
    # Nor are errors cut beside short arguments.
    page = visit.open("/calls?by=arguments")
    page.locator("#rows tr").first.wait_for()
    width = "(cell) => cell.getBoundingClientRect().width"
    assert page.locator("#calls th.examples").evaluate(width) > 0.25 * page.locator("#calls").evaluate(width)


@pytest.mark.parametrize(
    ("path", "requests", "table", "figures"),
    [
        ("/", "**/api/1/sessions?*", "#sessions", "#summary"),
        ("/calls", "**/api/1/calls*", "#calls", "#sums"),
    ],
)
def test_rows_stay_if_new_ones_cannot_be_loaded(
    visit: Visit, path: str, requests: str, table: str, figures: str
) -> None:
    """Until a read succeeds, the previous rows and figures are pale, with a notice, under the head of the new order."""
    page = visit.open(path)
    page.locator("#rows tr").first.wait_for()
    page.locator("#live", has_text="live").wait_for()
    page.evaluate(HURRY)
    page.route(requests, lambda route: route.fulfill(status=503, json={"message": "the disk is full"}))
    page.locator(f"{table} thead button", has_text="Cost").click()
    expect(page.locator(".loading")).to_have_text("Not loaded: these are the previous rows")
    for part in (f"{table}.stale", figures):
        expect(page.locator(part)).to_have_css("opacity", "0.55")
    # The next request also fails, and the one after it succeeds.
    page.locator("#live", has_text="not updating: the disk is full").wait_for()
    page.unroute(requests)
    expect(page.locator(".loading")).to_be_hidden()
    expect(page.locator(figures)).to_have_css("opacity", "1")
    expect(page.locator(f"{table} thead th", has_text="Cost")).to_have_attribute("aria-sort", "descending")
    expect(page.locator("#live")).to_have_text("live")
    visit.leave()
    visit.wrong.clear()  # Chromium reports the failed requests


def test_a_refused_filter_stops_no_updates(visit: Visit) -> None:
    """The page says what is wrong with the filter, and continues to update with the next one."""
    page = visit.open("/")
    page.locator("#live", has_text="live").wait_for()
    page.locator("#filters summary", has_text="More").click()
    field = page.locator(".menu[open]").get_by_label("Score")
    field.fill("<<")
    field.press("Enter")
    page.locator(".problem").wait_for()
    # The look after it.
    with page.expect_response(lambda each: "/api/1/sessions?" in each.url, timeout=30_000):
        pass
    expect(page.locator("#live")).to_have_text("live")
    page.locator(".chosen-filters .drop").click()
    expect(page.locator(".loading")).to_be_hidden()
    visit.leave()
    visit.wrong.clear()  # Chromium reports the refused requests
