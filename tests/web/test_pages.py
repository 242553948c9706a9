"""The pages in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from localops import output
from tests.web.conftest import Visit, recorded, serving, used_again, visiting
from tests.web.recorder import ATTACKS

VIEWS = ("timeline", "tree", "events", "chat", "figures")


def names(visit: Visit) -> list[str]:
    """Return the sessions in the list."""
    return visit.page.locator("#rows .name .title").all_inner_texts()


def settled(visit: Visit, count: int) -> None:
    """Wait until the list has so many rows, and nothing is being requested."""
    visit.until(f"document.querySelectorAll('#rows tr').length === {count} && !document.querySelector('.stale')")


# The list


def test_the_list_shows_every_session_with_its_figures(visit: Visit) -> None:
    """The list has the server's data of each session."""
    visit.open("/")
    settled(visit, 4)
    facts = visit.facts("sessions")["sessions"]
    shown = visit.page.locator("#rows tr").first.inner_text()
    assert facts[0]["name"] in shown
    assert facts[0]["state"] in shown
    assert "claude-sonnet-4-5, gpt-4o" in shown


def test_a_filter_is_chosen_with_its_count_and_stands_in_the_address(visit: Visit) -> None:
    """Each menu has the number of sessions of a value, and leaves so many; the back button undoes it."""
    page = visit.open("/")
    settled(visit, 4)
    for menu, choice, query, count in (
        ("State", "Failure", "state=Failure", 1),
        ("Tag", "forest", "tag=forest", 2),
        ("Model", "claude-sonnet-4-5", "model=claude-sonnet-4-5", 2),
        ("Agent", "scribe", "agent=scribe", 2),
    ):
        page.locator("summary", has_text=menu).click()
        entry = page.locator(".menu[open] .choice", has=page.get_by_text(choice, exact=True))
        assert entry.locator(".num").inner_text() == str(count), menu
        entry.click()
        settled(visit, count)
        assert query in page.url
        page.keyboard.press("Escape")
        page.go_back()
        settled(visit, 4)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("text=dusk", 1),
        ("min_cost=1000", 0),
        ("until=2001-01-01T00:00:00Z", 0),
        ("errors=1&max_seconds=100000&since=2001-01-01T00:00:00Z", 3),
        ("tag=forest&state=Success", 2),
    ],
)
def test_an_address_with_filters_can_be_sent_to_someone(visit: Visit, query: str, count: int) -> None:
    """Opened again, it shows the same sessions, and which filters are set."""
    visit.open(f"/?{query}")
    visit.until(f"document.querySelectorAll('#rows tr').length === {count}")
    assert visit.page.locator(".chosen-filters .chip").count() == query.count("=")


def test_text_is_searched_for_as_it_is_typed(visit: Visit) -> None:
    """Names and content are looked through; nothing found says so, and leads back."""
    visit.open("/")
    settled(visit, 4)
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("dusk")
    settled(visit, 1)
    visit.page.fill("#filters input", "no such words anywhere")
    visit.page.get_by_role("button", name="Show all sessions").click()
    settled(visit, 4)


def test_emptying_a_search_ends_it(visit: Visit) -> None:
    """Esc empties the field, and no filter stays behind it."""
    visit.open("/")
    settled(visit, 4)
    visit.page.locator("#filters input").first.fill("dusk")
    settled(visit, 1)
    visit.page.keyboard.press("Escape")
    settled(visit, 4)
    visit.until("!location.search.includes('text')")


def test_a_session_is_found_by_its_id(visit: Visit) -> None:
    """A pasted id finds its session; a text without letters and digits is not searched for."""
    ident = visit.facts("sessions")["sessions"][2]["session_id"]
    for text in (ident, ident[:13], ident.replace("-", "")):
        assert [one["session_id"] for one in visit.facts(f"sessions?text={text}")["sessions"]] == [ident]
    visit.open("/")
    settled(visit, 4)
    visit.page.fill("#filters input", "💸")
    visit.page.get_by_text("Type at least one letter or digit.").wait_for()


def test_a_list_is_read_to_its_end_while_it_grows(chromium: Browser, tmp_path: Path) -> None:
    """News redraw the rows that are shown, however many; a tag that is not among the frequent ones can be typed."""
    home = tmp_path / "long"
    recorded(home, "many")
    with serving(home) as link, visiting(chromium, link) as visit:
        page = visit.open("/")
        count = "document.querySelectorAll('#rows tr').length"
        for _ in range(400):
            page.mouse.wheel(0, 4_000)
            page.wait_for_timeout(25)
            if page.evaluate(count) > 520:
                break
        recorded(home, "one")
        visit.until("document.querySelector('#rows .name .title').textContent === 'one more'")
        assert page.evaluate(count) > 520
        for _ in range(400):
            page.mouse.wheel(0, 4_000)
            page.wait_for_timeout(25)
            if page.evaluate(count) == 561:
                break
        assert page.evaluate(count) == 561
        page.evaluate("scrollTo(0, 0)")
        page.locator("summary", has_text="Tag").click()
        page.get_by_placeholder("Find tag").fill("tag-7")
        page.keyboard.press("Enter")
        settled(visit, 1)


def test_each_column_sorts_both_ways(visit: Visit) -> None:
    """A click on a head sorts, a second one reverses the order."""
    visit.open("/")
    settled(visit, 4)
    page = visit.page
    for label in page.locator("#sessions thead button").all_inner_texts():
        orders = []
        for _ in range(2):
            page.locator("#sessions thead button", has_text=label).click()
            visit.until("!document.querySelector('.stale')")
            orders.append(page.locator("th[aria-sort]").get_attribute("aria-sort"))
        assert sorted(map(str, orders)) == ["ascending", "descending"]


@pytest.mark.parametrize("visit", [(1280, "light"), (390, "light")], indirect=True)
def test_a_menu_sorts_where_there_is_no_head(visit: Visit) -> None:
    """By tags, which have no column, and on a phone by anything; the same choice again turns it round."""
    page = visit.open("/")
    settled(visit, 4)
    for order, first in (("asc", ATTACKS[0][:7]), ("desc", "a night in the forest")):
        page.locator("summary", has_text="Sort").click()
        page.locator(".menu[open] .choice", has_text="Tags").click()
        visit.until("!document.querySelector('.stale')")
        assert page.url.endswith(f"sort=tags&order={order}")
        assert first in page.locator("#rows tr .name").first.inner_text()


def test_the_list_is_walked_with_keys(visit: Visit) -> None:
    """`j` and `k` move, Enter opens, `?` says what there is."""
    visit.open("/")
    settled(visit, 4)
    keyboard = visit.page.keyboard
    for key in "jjk":
        keyboard.press(key)
    current = visit.page.locator("#rows tr.current").get_attribute("data-id")
    assert current == visit.page.locator("#rows tr").first.get_attribute("data-id")
    keyboard.press("?")
    assert "Next session" in visit.page.locator("dialog").inner_text()
    keyboard.press("Escape")
    keyboard.press("Enter")
    visit.page.wait_for_url(f"**/s/{current}")


def test_two_sessions_are_chosen_and_compared_with_keys(visit: Visit) -> None:
    """`x` chooses the current session of the list; `d` leaves only the differences of two."""
    visit.open("/")
    settled(visit, 4)
    keyboard = visit.page.keyboard
    for key in "jxjx":
        keyboard.press(key)
    chosen = visit.page.locator("#rows .pick input:checked")
    assert chosen.count() == 2
    ids = [visit.page.locator("#rows tr").nth(n).get_attribute("data-id") for n in range(2)]
    visit.open(f"/compare?a={ids[0]}&b={ids[1]}")
    only = visit.page.get_by_label("only differences")
    only.wait_for()
    keyboard.press("d")
    assert only.is_checked()


def test_a_search_continues_until_everything_is_searched(chromium: Browser, tmp_path: Path) -> None:
    """It continues by itself, and reports no result only at its end."""
    recorded(tmp_path / "home", "library")
    with serving(tmp_path / "home") as link, visiting(chromium, link) as visit:
        texts = "window.texts = new Set(); new MutationObserver(() => texts.add(document.body?.innerText || ''))"
        watched = ".observe(document, { childList: true, subtree: true })"
        visit.page.add_init_script(texts + watched)
        visit.open("/?text=bookworm")
        settled(visit, 1)
        visit.until("!document.querySelector('#facets').textContent")
        assert "No session matches these filters" not in " ".join(visit.page.evaluate("[...texts]"))
        visit.open("/?text=bookwyrm")
        visit.page.get_by_text("No session matches these filters.").wait_for()


# A session


def test_the_head_says_how_the_session_stands_and_what_it_cost(visit: Visit) -> None:
    """State, reason, figures, the source of the cost, and the machine.

    However deep its facts are, no value is squeezed into a column of letters.
    """
    page = visit.session("night")
    head = page.locator("#head").inner_text()
    for words in ("a night in the forest", "Success", "the animals met", "LLM\n2", "$0."):
        assert words in head
    page.locator("#about").click()
    page.get_by_text("Where it ran").click()
    panel = page.locator("#extras").inner_text()
    for words in ("forest", "priced from table 20", "process"):
        assert words in panel
    widths = page.locator("#ran .facts dd:not(:has(dl))").evaluate_all("all => all.map(each => each.clientWidth)")
    assert len(widths) > 10
    assert min(width for width in widths if width) > 40
    id = page.locator("#ran .id")
    assert id.locator("button").bounding_box()["x"] < id.bounding_box()["x"] + id.bounding_box()["width"]  # type: ignore[index]


def test_each_view_opens_by_click_and_by_key(visit: Visit) -> None:
    """Five views, numbered; the open one is in the address."""
    page = visit.session("night")
    for number, view in enumerate(VIEWS, 1):
        page.keyboard.press(str(number))
        visit.until(f"location.hash === '#{view}'")
        assert page.locator(f"#tab-{view}").get_attribute("aria-selected") == "true"
    page.click("#tab-tree")
    page.locator(".tree").wait_for()


def test_the_tree_shows_what_is_inside_what(visit: Visit) -> None:
    """Branches close and open; a branch has the sums of what is in it."""
    page = visit.session("night", "tree")
    rows = page.locator(".tree .row")
    before = rows.count()
    page.get_by_role("button", name="Close all").click()
    assert 0 < rows.count() < before
    assert "$" in rows.first.inner_text()
    page.get_by_role("button", name="Open all").click()
    assert rows.count() == before


def test_an_event_shows_everything_of_it(visit: Visit) -> None:
    """Prompt, answer, tokens and cost of a call; the stored row on request; the event is in the address.

    A picture comes from the blobs of the home, under its digest.
    """
    page = visit.session("night", "events")
    details = page.locator("#details")
    page.locator(".row", has_text="shrug").click()
    details.locator("img").wait_for(state="attached")
    visit.until("document.querySelector('#details img').naturalWidth === 1")
    page.locator(".row", has_text="claude-sonnet-4-5").click()
    details.get_by_text("Write it down.").wait_for()
    for words in ("Be brief.", "120 in, 30 out", "scribe", "$"):
        assert words in details.inner_text()
    assert "event=" in page.url
    details.get_by_role("button", name="Raw").click()
    assert '"prompt_tokens"' in details.inner_text() or '"tokens_in"' in details.inner_text()
    page.keyboard.press("Escape")
    assert details.is_hidden()


def test_an_error_leads_to_what_failed(visit: Visit) -> None:
    """`e` goes to the next error; the error has its traceback and a link to its trigger."""
    page = visit.session("night", "tree")
    page.keyboard.press("e")
    page.locator("#details").get_by_role("link", name="LookupError").click()
    page.locator("#details").get_by_text("Traceback").first.wait_for()
    page.locator("#details").get_by_role("link", name="Go to the failed event").click()
    page.locator("#details h2", has_text="look up").wait_for()


def test_a_video_that_was_recorded_plays(chromium: Browser, tmp_path: Path) -> None:
    """From the blobs of the home, under the policy of the pages; the player knows how long it is, and seeks."""
    recorded(tmp_path / "home", "filmed")
    with serving(tmp_path / "home") as link, visiting(chromium, link) as visit:
        page = visit.session("filmed")
        visit.until("document.querySelector('video').readyState >= 1")
        video = page.locator("video")
        assert video.evaluate("video => [video.duration, video.videoWidth]") == [2, 16]
        video.evaluate("video => { video.currentTime = 1.5; return video.play(); }")
        visit.until("document.querySelector('video').ended")


def test_keys_go_from_event_to_event(visit: Visit) -> None:
    """`j` and `k` step through the events in the order they began."""
    page = visit.session("night", "events")
    page.keyboard.press("j")
    page.keyboard.press("j")
    visit.until("document.querySelector('.row.current')?.dataset.index === '1'")
    page.keyboard.press("k")
    visit.until("document.querySelector('.row.current')?.dataset.index === '0'")


def test_a_filter_holds_in_every_view(visit: Visit) -> None:
    """By kind, by name and by content."""
    for view in ("tree", "events"):
        page = visit.session("night", view)
        page.locator("#choose .chip", has_text="tool").click()
        expect(page.locator(".row:not(.dim)")).to_have_count(2)
        page.locator("#choose .chip", has_text="tool").click()
        page.fill("#choose input", "dusk")
        visit.until("[1, 2, 3].includes(document.querySelectorAll('.row:not(.dim)').length)")
        assert "text=dusk" in page.url


@pytest.fixture(scope="module")
def owls(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a visit to the pages of a session of 1,100 calls, each of which sees an owl."""
    home = tmp_path_factory.mktemp("owls") / "home"
    recorded(home, "chatty")
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


@pytest.fixture(scope="module")
def circling(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a window on the pages of a session that goes round between two addresses."""
    home = tmp_path_factory.mktemp("loop") / "home"
    recorded(home, "circling")
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


@pytest.fixture
def loop(circling: Visit) -> Iterator[Visit]:
    """Return a visit to that session."""
    with used_again(circling):
        yield circling


PREVIEWS = "[...document.querySelectorAll('.row .preview')].filter(one => one.textContent).length"


@pytest.mark.parametrize(("view", "width"), [("events", 1280), ("tree", 1280), ("events", 390)])
def test_rows_say_what_an_event_was_about(loop: Visit, view: str, width: int) -> None:
    """Answers, arguments, what went wrong; for the rows in sight, and nothing moves for it."""
    loop.looks(width)
    loop.listen()
    page = loop.session("round and round", view)
    page.locator(".row").first.wait_for()
    places = "JSON.stringify([...document.querySelectorAll('.row > *')].map(one => one.getBoundingClientRect()))"
    before = page.evaluate(places)
    loop.until(f"{PREVIEWS} > 10")
    assert page.evaluate(places) == before
    rows = page.locator(".row")
    assert "I shall look." in rows.nth(0).inner_text()
    for number, seen in ((1, 6), (2, 7)):
        line = rows.nth(number).locator(".preview")
        assert line.inner_text() == f"url=https://shop.example/?page={seen} timeout_s=20"
        assert line.get_attribute("title") == line.inner_text()
    page.locator(".rows").evaluate("rows => rows.parentElement.scrollTo(0, 1e6)")
    rows.get_by_text("the owl was nowhere").wait_for()
    asked = [url for url in loop.asked if "/previews?" in url]
    assert 10 < sum(url.count("%2C") + 1 for url in asked) < 200


def test_known_previews_are_not_requested_again(loop: Visit) -> None:
    """After going back, or to another view, the lines are there at once."""
    loop.listen()
    page = loop.session("round and round", "events")
    loop.until(f"{PREVIEWS} > 10")
    asked = [url for url in loop.asked if "/previews?" in url]
    page.click("#tab-tree")
    page.locator(".tree .row").first.wait_for()
    page.wait_for_timeout(300)
    assert [url for url in loop.asked if "/previews?" in url] == asked


def test_keys_go_through_a_list_from_end_to_end(loop: Visit) -> None:
    """Also when nothing has the focus; the row that is chosen is always in sight."""
    page = loop.session("round and round", "events")
    for key, view in (("3", "events"), ("2", "tree")):
        page.keyboard.press(key)
        page.locator(f".{view} .row").first.wait_for()
        page.evaluate("document.activeElement.blur()")
        _go_from_end_to_end(page)
        page.keyboard.press("Escape")
        page.locator("#view .scroll").focus()
        _go_from_end_to_end(page)
        page.keyboard.press("Escape")


def _go_from_end_to_end(page: Page) -> None:
    chosen = []
    for key in ("End", "PageUp", "Home", "PageDown"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
        chosen.append(int(page.locator(".row.current").get_attribute("data-index") or ""))
        row: Any = page.locator(".row.current").bounding_box()
        assert -1 <= row["y"] <= 801 - row["height"]
    last, before, first, after = chosen
    assert (last, first, after) == (401, 0, last - before)
    assert after > 5


def test_the_wheel_leaves_a_list_at_its_end(loop: Visit) -> None:
    """In a low window the pane is taller than the window: the rest can be scrolled to with the pointer over it."""
    page = loop.session("round and round", "events")
    page.set_viewport_size({"width": 1280, "height": 400})
    assert page.evaluate("document.documentElement.scrollHeight > innerHeight")
    place: Any = page.locator("#view .scroll").bounding_box()
    page.mouse.move(place["x"] + 99, place["y"] + 30)
    for _ in range(100):
        page.mouse.wheel(0, 2_000)
        page.wait_for_timeout(20)
        if page.evaluate("scrollY > 0"):
            break
    assert page.evaluate("scrollY > 0")


def test_all_views_count_from_the_beginning_of_the_session(visit: Visit) -> None:
    """An event begins at the same time in the list, in its details and in the session's duration."""
    page = visit.session("a night in the forest", "events")
    begins = page.locator(".events .row .num").first.inner_text()
    page.locator(".events .row").first.click()
    page.locator("#details", has_text=f", {begins} in").wait_for()


def test_money_rounds_as_in_the_commands(visit: Visit) -> None:
    """Halves go up, in the last digit that is shown."""
    visit.page.goto(visit.base + "/")
    amounts = [7_112_500, 0, 499, 500, 1_234_567_890, 999_999_999, 12_345_000, 995_000_000]
    code = "async amounts => { const { money } = await import('/web/formats.js'); return amounts.map(money); }"
    plain = visit.page.evaluate(code, amounts)
    assert plain == [output.money(amount) for amount in amounts]


def test_shares_round_as_in_the_commands(visit: Visit) -> None:
    """Also shares halfway between two figures, near 0% and 100%, and without a value."""
    visit.page.goto(visit.base + "/")
    shares = [0, 0.0004, 0.0005, 0.034, 0.0996, 0.125, 0.251, 0.625, 0.985, 0.997, 0.9996, 1, 1.5]
    code = "async shares => { const { percent } = await import('/web/formats.js'); return shares.map(percent); }"
    assert visit.page.evaluate(code, shares) == [output.percent(share) for share in shares]
    assert visit.page.evaluate(code, [0, 0.0004, 0.034, 0.125, 1]) == ["0%", "<0.1%", "3.4%", "13%", "100%"]


def test_keys_scroll_a_conversation(loop: Visit) -> None:
    """To its last turn, a page back, and to its first, with the focus nowhere; in a field they are left alone."""
    page = loop.session("round and round", "chat")
    page.locator(".turn").first.wait_for()
    top = "document.querySelector('#view .scroll').scrollTop"
    page.keyboard.press("End")
    page.get_by_text("the owl was nowhere").wait_for()
    end = page.evaluate(top)
    page.keyboard.press("PageUp")
    assert 0 < page.evaluate(top) < end
    page.focus("#choose input")
    page.keyboard.press("Home")
    assert page.evaluate(top) > 0
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Home")
    page.get_by_text("Where is the owl?").wait_for()
    assert page.evaluate(top) == 0


def test_content_is_searched_to_the_end(owls: Visit) -> None:
    """Also where more events have the words than the server tells of at once."""
    page = owls.session("so many owls", "events", event="?text=owl")
    for view, words in (("events", "^1.100 of 1.100"), ("chat", "^1.100 turns")):
        page.locator(f"#tab-{view}").click()
        page.locator("#view .bar .faint", has_text=re.compile(words)).wait_for()


def test_a_conversation_opens_at_the_event_that_is_selected(owls: Visit) -> None:
    """Earlier turns load when they are near, without moving it; after another view it is at the same place."""
    page = owls.session("so many owls", "chat")
    first = page.locator(".turn").first.get_attribute("data-id") or ""
    page = owls.session("so many owls", "chat", event=f"?event={int(first) + 700}")
    # The row about the machine comes when it is found out, which may be before that event or after it.
    turn = page.locator(".turn.current", has_text=re.compile("owl number (699|700)"))
    turn.wait_for()
    owls.until("document.querySelectorAll('.turn').length === 80")
    page.wait_for_timeout(500)  # until their bodies are there as well
    edge: Any = page.locator("#view .scroll").bounding_box()
    place: Any = turn.bounding_box()
    assert abs(place["y"] - edge["y"]) < place["height"]
    page.get_by_role("tab", name="Tree").click()
    page.get_by_role("tab", name="Chat").click()
    page.wait_for_timeout(200)
    moved: Any = turn.bounding_box()
    assert abs(moved["y"] - place["y"]) < place["height"]


def test_the_chat_reads_as_a_conversation(visit: Visit) -> None:
    """Questions, answers and tool results in order, of one agent if wanted."""
    page = visit.session("night", "chat")
    page.get_by_text("A fox and a badger.").wait_for()
    page.get_by_text('"unicorn"').first.wait_for()
    page.select_option("#view select", label="scribe")
    page.get_by_text("They met at dusk.").wait_for()
    assert page.get_by_text("A fox and a badger.").count() == 0


def test_the_timeline_zooms_and_knows_what_lies_under_the_pointer(visit: Visit) -> None:
    """A click on a bar selects its event; keys zoom, by nesting or by agent."""
    page = visit.session("night")
    canvas = page.locator(".timeline .scroll canvas")
    page.select_option(".timeline select", "nesting")
    canvas.focus()
    # What comes late to the head makes the page taller, and with a scroll bar narrower.
    visit.until("performance.getEntriesByType('resource').some((each) => each.name.endsWith('/loops'))")
    page.wait_for_timeout(500)
    drawn = "document.querySelector('.timeline .axis').toDataURL()"
    whole = page.evaluate(drawn)
    seen = [whole]
    for key in ("+", "+", "Shift+ArrowRight", "-", "0"):
        page.keyboard.press(key)
        visit.until(f"{drawn} !== {json.dumps(seen[-1])}")
        page.wait_for_timeout(100)  # the next picture may still be on its way
        seen.append(page.evaluate(drawn))
    assert len(set(seen[:-1])) == 5
    visit.until(f"{drawn} === {json.dumps(whole)}")
    box: Any = canvas.bounding_box()
    for part in range(1, 50):  # where the first bar begins depends on how quick the program was
        page.mouse.click(box["x"] + box["width"] * part / 50, box["y"] + 12)
        page.wait_for_timeout(20)
        if page.locator("#details h2").count():
            break
    page.locator("#details h2", has_text="scout").wait_for()


def test_the_figures_add_up_to_those_of_the_session(visit: Visit) -> None:
    """They are counted from the events that the page has; the head of the page has them from the server."""
    page = visit.session("night", "figures")
    facts = visit.facts(f"sessions/{page.locator('#session').get_attribute('data-id')}")

    def column(title: str, number: int) -> list[str]:
        return page.locator(".chart", has_text=title).locator(f"tbody td:nth-child({number})").all_inner_texts()

    models = page.locator(".chart", has_text="Models").locator("tbody th")
    models.first.wait_for()
    assert sum(map(int, column("Models", 2))) == facts["llm_calls"]
    assert sum(map(int, column("Models", 4))) == facts["tokens_in"] + facts["tokens_out"]
    costs = [float(text.removeprefix("$")) for text in column("Models", 5)]
    assert round(sum(costs) * 1e9) == facts["cost_nano"]
    assert sum(map(int, column("Tools", 2))) == facts["tool_calls"]
    assert sum(map(int, column("Other events", 2))) == facts["actions"]


def test_the_place_where_a_process_died_is_shown(visit: Visit) -> None:
    """The unfinished operation of a dead process is where it ended, and its call is in no figure.

    The reason and the warning beside it have their words at the same height.
    """
    page = visit.session("dead", "tree")
    assert "ended here" in page.locator(".row", has_text="fatal step").inner_text()
    expect(page.locator("#notices")).to_contain_text("did not finish. Its process died inside")
    lines = """(all) => all.map((each) => {
        const range = document.createRange();
        range.selectNodeContents(each.querySelector("button") ?? each);
        return range.getClientRects()[0].bottom;
    })"""
    page.locator("#notices .link").wait_for()
    reason, warning = page.locator("#notices > *").evaluate_all(lines)
    assert abs(reason - warning) < 1
    page.locator("#notices .link", has_text="fatal step").click()
    expect(page.locator("aside")).to_contain_text("did not finish")
    # Nor is it among those that calls are ranked by.
    page.locator("#tab-figures").click()
    page.locator(".chart", has_text="Slowest calls").wait_for()
    assert page.locator(".chart", has_text="fatal step").count() == 0


def test_what_did_not_finish_is_read_on_a_phone(visit: Visit) -> None:
    """The words that take the place of a duration are not cut."""
    visit.looks(390)
    page = visit.session("dead", "events")
    for view, words in (("events", "unfinished"), ("tree", "ended here")):
        page.locator(f"#tab-{view}").click()
        cell = page.locator(f".{view} .row .num", has_text=words)
        assert cell.evaluate("each => [each.scrollWidth - each.clientWidth, each.innerText]") == [0, words]


def test_a_session_is_exported_from_its_page(visit: Visit, chromium: Browser, tmp_path: Path) -> None:
    """As JSON, as one HTML file that opens on the view it was exported from, and as CSV."""
    page = visit.session("night", "chat")
    for form in ("json", "html", "csv"):
        if page.locator(f"a[href$='format={form}']").is_hidden():
            page.get_by_text("Export", exact=True).click()
        with page.expect_download() as waiting:
            page.locator(f"a[href$='format={form}']").click()
        expect(page.locator(f"a[href$='format={form}']")).to_be_hidden()
        expect(page.locator("#toast")).to_contain_text(f"{waiting.value.suggested_filename} goes to your downloads")
        assert re.fullmatch(rf"a-night-in-the-forest-[\d-]+\.{form}", waiting.value.suggested_filename)
        file = tmp_path / form
        waiting.value.save_as(file)
        assert "They met at dusk." in file.read_text(), form
    json.loads((tmp_path / "json").read_text())
    (tmp_path / "html").rename(tmp_path / "report.html")
    page = chromium.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    expect(page.locator("#tab-chat")).to_have_attribute("aria-selected", "true")
    page.context.close()


# Across sessions


def test_figures_across_sessions_lead_to_the_sessions(visit: Visit) -> None:
    """Totals equal the server's; a model leads to its sessions, a piece of a bar to its own, the rest to its day's."""
    page = visit.open("/analytics")
    page.locator("#tables a", has_text="claude-sonnet-4-5").wait_for()
    assert str(visit.facts("analytics")["sessions"]) in page.locator("#figures").inner_text()
    # As it is first shown, without scripts.
    served = page.context.request.get(f"{visit.base}/analytics").text()
    success = page.locator("#figures > div").nth(1).inner_html()
    assert "; 1 Indeterminate" in success
    assert success in served
    for title, height, query, sessions in (
        ("Sessions per day", 0.98, "&state=Success", 2),
        ("Sessions per day", 0.02, "", 4),
        ("Cost per day by model", 0.98, "&model=gpt-4o", 3),
    ):
        over = page.locator(".chart", has_text=title).locator(".u-over")
        over.wait_for()
        box: Any = over.bounding_box()
        over.hover(position={"x": box["width"] / 2, "y": box["height"] * height})
        page.mouse.down()
        page.mouse.up()
        page.wait_for_url(f"**/?*until=*00{query}")
        settled(visit, sessions)
        visit.open("/analytics")
    page.locator("#tables a", has_text="claude-sonnet-4-5").click()
    settled(visit, 2)


def test_two_sessions_are_compared(visit: Visit) -> None:
    """Chosen in the list; what differs is marked, word by word."""
    page = visit.open("/?tag=forest")
    settled(visit, 2)
    for box in page.locator(".pick input").all():
        box.check()
    page.locator("#compare-bar a").click()
    state: Any = page.locator(".meta .state").first.bounding_box()
    began: Any = page.locator(".meta > *").nth(1).bounding_box()
    assert began["x"] > state["x"] + state["width"]
    page.get_by_label("only differences").check()
    page.locator(".pairs button.link", has_text="claude-sonnet-4-5").click()
    texts = (page.locator("del").first.inner_text(), page.locator("ins").first.inner_text())
    assert {word for text in texts for word in text.split()} & {"never", "dusk.", "met.", "at"}


# What holds for all


def test_recorded_text_is_never_more_than_text(visit: Visit) -> None:
    """In no view does a recorded script run, or anything get fetched that a text names; each is shown as it is."""
    page = visit.session(ATTACKS[0], VIEWS[0])
    for view in VIEWS:
        page.locator(f"#tab-{view}").click()
        page.wait_for_timeout(300)
        if view in ("tree", "events"):
            for row in range(min(12, page.locator(".row").count())):
                page.locator(f"#row-{row}").click()
                page.locator("#details .facts").wait_for()
            page.get_by_role("button", name="Raw").click()
            page.get_by_role("button", name="Readable").click()
        assert page.evaluate("window.hurt") is None, view
        assert ATTACKS[0] in page.locator("body").inner_text(), view


def test_no_page_runs_what_stands_in_its_address(visit: Visit) -> None:
    """Nor does the list, whose filters have it as a text."""
    page = visit.open("/?tag=%3Cimg%20src=x%20onerror=window.hurt=1%3E")
    page.locator(".chosen-filters .chip").wait_for()
    page.wait_for_timeout(600)
    assert page.evaluate("window.hurt") is None


def test_everyone_can_use_every_page(visit: Visit) -> None:
    """axe reports no violation, wide or narrow, light or dark; nothing is wider than the page.

    Nor does any page run what was recorded.
    """
    page = visit.page
    problems: list[tuple[Any, ...]] = []
    ident = visit.facts("sessions?tag=night")["sessions"][0]["session_id"]
    other = visit.facts("sessions?tag=night")["sessions"][1]["session_id"]
    event = visit.facts(f"sessions/{ident}/timeline")["seq"][3]

    def look(where: str, part: str | None = None) -> None:
        page.wait_for_timeout(400)
        problems.extend((where, *each) for each in visit.unusable_anywhere(part))
        assert page.evaluate("window.hurt") is None, where

    for path, last in (
        ("/", "#rows tr:nth-child(4)"),
        ("/analytics", "#tables table:nth-of-type(1) tbody tr"),
        ("/compare", "main"),
        (f"/compare?a={ident}&b={other}", ".pairs"),
        ("/compare?group_a=tag%3Dnight&group_b=state%3DFailure", "main table"),
    ):
        visit.open(path)
        page.locator(last).first.wait_for()
        look(path)
    page = visit.session("night", VIEWS[0], f"?event={event}")
    look(VIEWS[0])
    for view in VIEWS[1:]:
        page.locator(f"#tab-{view}").click()
        page.locator("#view > *").first.wait_for()
        look(view, "#view")
    assert problems == []


def test_the_theme_can_be_chosen_and_is_kept(visit: Visit) -> None:
    """`t` turns light to dark; the next page is dark as well."""
    visit.open("/")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    before = visit.page.evaluate(ground)
    visit.page.keyboard.press("t")
    chosen = visit.page.evaluate(ground)
    visit.open("/analytics")
    assert before != chosen == visit.page.evaluate(ground)


def test_a_page_is_a_few_files_and_requests_none_again(visit: Visit) -> None:
    """Its modules are one script; what is loaded late is kept by the browser too."""
    loaded = "performance.getEntriesByType('resource').filter(one => one.name.includes('/web/'))"
    visit.open("/analytics")
    visit.until(f"{loaded}.some(one => one.name.endsWith('uplot.js'))")
    visit.open("/login")
    visit.open("/analytics")
    visit.until(f"{loaded}.some(one => one.name.endsWith('uplot.js'))")
    names = {name.rpartition("/")[2] for name in visit.page.evaluate(f"{loaded}.map(one => one.name)")}
    assert names >= {"analytics.bundle.js", "style.css", "uplot.css"}
    assert len(names) < 10
    assert visit.page.evaluate(f"{loaded}.filter(one => one.transferSize > 0).map(one => one.name)") == []


def test_files_of_the_pages_are_small() -> None:
    """All of them, compressed, stay below 300 kB."""
    import zlib

    web = Path(__file__).parents[2] / "localops" / "web"
    files = [path for path in web.rglob("*") if path.is_file()]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 300_000
