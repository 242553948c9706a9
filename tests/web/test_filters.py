"""The list of sessions at work: filters with several values, search, the palette, views, columns, figures, stars."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from localops import clock
from localops.encoding import encode
from localops.journal import rows
from localops.journal.journal import Journal
from tests.examples import sized
from tests.web.conftest import HURRY, Visit, serving, visiting
from tests.web.test_pages import names, settled

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5")
DAY_NS = 86_400 * 10**9


def _fill(folder: Path) -> None:
    """Record sessions of two weeks, one every twelve hours: with tags, users, teams, hosts, errors and a phrase."""
    journal = Journal(str(folder))
    begin = clock.now_ns() - 14 * DAY_NS
    for number in range(28):
        at = begin + number * DAY_NS // 2
        session = clock.new_id(at)
        tags = [f"tag-{number}", "odd" if number % 2 else "even", "rare" if number == 7 else "usual"]
        tags += [f"user={('ann', 'bob')[number % 2]}", f"team={('sea', 'air', 'land')[number % 3]}"]
        body = encode.dumps({"host": ("atlas", "vm-7")[number % 2]}).decode()
        failed = number % 4 == 0

        def row(kind: str, session: bytes = session, at: int = at, **columns: Any) -> rows.Row:
            return rows.make(kind, session, id=clock.new_id(at), at_ns=at + 10**9, **columns)

        text = f"the zebra crossing {number}" if number < 3 else "a horse"
        own = encode.dumps(tags).decode()
        written = [
            rows.make("session", session, id=session, at_ns=at, name=f"run {number}", tags=own, body=body),
            row("llm", model=MODELS[number % 3], cost=10**7, tokens=(100, 10, None, None)),
            row("action", name="say", body=encode.dumps({"params": {"text": text}}).decode()),
        ]
        if failed:
            written.append(row("error", name="TimeoutError" if number % 8 else "ValueError", failed=1))
        reason = encode.dumps({"reason": "no answer"} if failed else {}).decode()
        written.append(row("end", name="Failure" if failed else "Success", body=reason))
        journal.add(written)
    journal.fold()
    journal.close()


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the link to a home with these sessions."""
    home = tmp_path_factory.mktemp("list") / "home"
    _fill(home / "default")
    with serving(home) as link:
        yield link


def query(page: Page) -> dict[str, list[str]]:
    """Return what is in the address."""
    return parse_qs(urlsplit(page.url).query)


def menu(page: Page, name: str) -> Any:
    """Open a menu, and return it."""
    page.locator("#filters summary", has_text=name).first.click()
    return page.locator(".menu[open]")


def entry(opened: Any, value: str) -> Any:
    """Return the entry of a value."""
    return opened.locator(f'.entry[data-id="{value}"]')


def test_values_are_added_and_excluded(visit: Visit) -> None:
    """Several values are alternatives; the menu stays open, and its values where they are; a chip takes each away."""
    page = visit.open("/")
    settled(visit, 28)
    opened = menu(page, "Model")
    values = "[...document.querySelectorAll('.menu[open] .entry')].map((one) => one.dataset.id)"
    tops = "[...document.querySelectorAll('.menu[open] .entry')].map((one) => one.getBoundingClientRect().top)"
    before = page.evaluate(values), page.evaluate(tops)
    for value in MODELS[:2]:
        entry(opened, value).locator(".choice").click()
    visit.until("document.querySelectorAll('.chosen-filters .chip').length === 2")
    assert query(page) == {"model": list(MODELS[:2])}
    settled(visit, 19)
    assert opened.count() == 1
    entry(opened, MODELS[0]).locator(".not").click()
    settled(visit, 9)
    assert query(page) == {"model": [MODELS[1]], "not_model": [MODELS[0]]}
    assert page.locator(".chip.excluding").inner_text() == f"Model: not {MODELS[0]} ×"
    assert (page.evaluate(values), page.evaluate(tops)) == before
    page.keyboard.press("Escape")
    menu(page, "Model")
    visit.until(f"new Set({values}.slice(0, 2)).symmetricDifference(new Set({list(MODELS[:2])})).size === 0")
    page.keyboard.press("Escape")
    # A click on the words of a chip opens its menu, and one on its × removes it.
    page.locator(".chosen-filters .chip .of").first.click()
    expect(page.locator("#filters details[open] summary").first).to_have_text("Model")
    assert page.locator(".chosen-filters .chip").count() == 2
    page.keyboard.press("Escape")
    for _ in range(2):
        page.locator(".chosen-filters .drop").first.click()
    settled(visit, 28)


def test_a_value_of_a_row_filters(visit: Visit) -> None:
    """A click on tag, state or model; with Shift the sessions without it."""
    page = visit.open("/")
    settled(visit, 28)
    row = page.locator("#rows tr").first
    row.locator("a.tag", has_text="odd").click()
    settled(visit, 14)
    assert query(page) == {"tag": ["odd"]}
    page.locator("#rows .state-cell a").first.click(modifiers=["Shift"])
    settled(visit, 0)
    assert query(page) == {"tag": ["odd"], "not_state": ["Success"]}
    visit.open("/?state=Failure")
    settled(visit, 7)
    assert set(page.locator("#rows .because").all_inner_texts()) == {"no answer"}
    page.locator("#rows [data-col=models] a", has_text="gpt-4o-mini").first.click()
    visit.until("location.search.includes('model=gpt-4o-mini')")


def test_a_further_tag_of_a_row_narrows(visit: Visit) -> None:
    """Sessions must have both; the menu makes them alternatives, and back; a sign excludes one of them."""
    page = visit.open("/?tag=odd")
    settled(visit, 14)
    page.locator("#rows a.tag", has_text="team=sea").first.evaluate("link => link.click()")
    settled(visit, 5)
    assert query(page) == {"all_tag": ["odd", "team=sea"]}
    chips = page.locator(".chosen-filters .chip")
    expect(chips).to_have_text(["Tag: odd ×", "and team=sea ×"])
    opened = menu(page, "Tag")
    expect(entry(opened, "odd").locator(".choice")).to_have_attribute("aria-pressed", "true")
    # A value's number is for adding it.
    expect(entry(opened, "usual").locator(".num")).to_have_text("5")
    opened.get_by_role("button", name="any", exact=True).click()
    settled(visit, 19)
    assert query(page) == {"tag": ["odd", "team=sea"]}
    opened.get_by_role("button", name="all", exact=True).click()
    settled(visit, 5)
    entry(opened, "usual").locator(".choice").click()
    expect(chips.last).to_have_text("and usual ×")
    assert query(page) == {"all_tag": ["odd", "team=sea", "usual"]}
    assert visit.unusable(".menu[open]") == []
    page.keyboard.press("Escape")
    page.locator(".turn").first.click()
    settled(visit, 5)
    assert query(page) == {"not_tag": ["odd"], "all_tag": ["team=sea", "usual"]}


def test_a_rare_value_is_searched_for(visit: Visit) -> None:
    """The field of a menu finds values beyond the frequent ones; keys alone are enough."""
    page = visit.open("/")
    settled(visit, 28)
    opened = menu(page, "Tag")
    page.get_by_text("There are more: type a part of a value to find it.").wait_for()
    assert entry(opened, "tag-9").count() == 0
    page.keyboard.type("G-9")
    entry(opened, "tag-9").wait_for()
    assert opened.locator(".entry").count() == 1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settled(visit, 1)
    assert query(page) == {"tag": ["tag-9"]}
    # The focus stays where it was.
    assert page.evaluate("document.activeElement.closest('.entry').dataset.id") == "tag-9"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    settled(visit, 27)
    assert query(page) == {"not_tag": ["tag-9"]}
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Tag"


def test_more_facets_are_counted_when_they_are_opened(visit: Visit) -> None:
    """Each has its values with their numbers of sessions."""
    page = visit.open("/?state=Failure")
    settled(visit, 7)
    opened = menu(page, "More")
    for facet, value, name, count in (
        ("Error class", "TimeoutError", "error", 3),
        ("Host", "atlas", "host", 7),
        ("Metadata", "team=air", "meta", 2),
        ("Name", "run 8", "name", 1),
    ):
        opened.locator("summary", has_text=facet).click()
        opened.get_by_placeholder(f"Find {facet.lower()}").fill(value)
        chosen = entry(opened, value)
        expect(chosen.locator(".num")).to_have_text(str(count))
        chosen.locator(".choice").click()
        settled(visit, count)
        assert query(page) == {"state": ["Failure"], name: [value]}
        assert visit.facts(f"facets?state=Failure&{name}={value}")["sessions"] == count
        chosen.locator(".choice").click()
        settled(visit, 7)


def test_a_menu_uses_the_window(visit: Visit) -> None:
    """A long menu shows all that the window has room for, and scrolls only in a low one."""
    page = visit.open("/")
    box = "document.querySelector('#filters details[open] > .box')"
    for height, is_cut in ((800, "false"), (500, "true")):
        page.set_viewport_size({"width": 1280, "height": height})
        page.locator("#filters summary", has_text="More").click()
        visit.until(f"{box} && ({box}.scrollHeight > {box}.clientHeight) === {is_cut}")
        visit.until(f"{box}.classList.contains('cut') === {is_cut}")
        visit.until(f"{box}.getBoundingClientRect().bottom <= innerHeight")
        page.keyboard.press("Escape")


def test_seven_days_are_the_same_on_all_pages(visit: Visit) -> None:
    """The list and the figures have one filter, and lead to each other with it."""
    page = visit.open("/")
    settled(visit, 28)
    menu(page, "When").get_by_text("Last 7 days").click()
    visit.until("location.search === '?since=7d'")
    listed = visit.facts("summary?since=7d")["now"]["sessions"]
    settled(visit, listed)
    # These are 168 hours, not seven whole days, so the chip has their begin.
    chip = r"Started: last 7 days, since ([-\d]+ [:\d]+) ×"
    shown = re.fullmatch(chip, page.locator(".chosen-filters").inner_text())
    assert shown
    ago = datetime.now(UTC) - datetime.fromisoformat(f"{shown[1]}+00:00")
    assert timedelta(days=7) <= ago < timedelta(days=7, hours=1)
    page.locator(".top nav").get_by_role("link", name="Calls").click()
    page.wait_for_url("**/calls?since=7d")
    visit.open("/analytics?tag=odd&tag=rare&not_model=gpt-4o")
    menu(page, "When").get_by_text("Last 7 days").click()
    visit.until("location.search.includes('since=7d')")
    expected = visit.facts("sessions?limit=100&tag=odd&tag=rare&not_model=gpt-4o&since=7d")["sessions"]
    expect(page.locator("#figures dd").first).to_have_text(str(len(expected)))
    # The tables come after the figures: before that, the link is the one without the days.
    link = page.locator("#tables a[href*='since=7d']", has_text="claude-sonnet-4-5")
    # Those above it may still come, and move it away from a pointer.
    link.dispatch_event("click")
    page.wait_for_url("**/?tag=odd&tag=rare&not_model=gpt-4o&since=7d&model=claude-sonnet-4-5")
    settled(visit, sum("claude-sonnet-4-5" in one["models"] for one in expected))


def test_the_summary_is_that_of_the_sessions(visit: Visit) -> None:
    """Sessions, success, cost and tokens, and by how much they changed."""
    page = visit.open("/?since=5d")
    visit.until("document.querySelectorAll('#summary > div').length === 7")
    both = visit.facts("summary?since=5d")
    sessions = visit.facts("sessions?limit=100&since=5d")["sessions"]
    good = sum(one["state"] == "Success" for one in sessions)
    shown = page.locator("#summary").inner_text().replace("\n", " ")
    assert f"Sessions {len(sessions)}" in shown
    assert f"Success {good / len(sessions) * 100:.0f}%" in shown
    title = page.locator("#summary dd:not(.trend)[title]").first.get_attribute("title")
    assert title == f"{good / len(sessions) * 100:.0f}% of {len(sessions)} that ended as success or failure"
    of_states = "async (states) => { const one = (await import('/web/formats.js')).success({ states });"
    neither = page.evaluate(f"{of_states} return one.note }}", {"Success": 1, "Indeterminate": 2, "Unknown": 1})
    assert neither == "of 1; 3 Indeterminate or Unknown"
    assert page.locator("#summary").inner_text().split("\n")[-1] == "compared with the 5 days before"
    assert both["now"]["cost_nano"] == 10**7 * len(sessions)
    # Errors lead to the sessions that have them.
    assert f"Errors {both['now']['errors']}" in shown
    expect(page.locator("#summary a")).to_have_attribute("href", re.compile(r"/\?since=5d&errors=1$"))
    before = both["before"]["sessions"]
    change = round((len(sessions) / before - 1) * 100)
    trend = page.locator("#summary .trend").first
    assert trend.get_attribute("title") == f"{before} in the 5 days before"
    assert trend.inner_text() == ("=" if not change else f"{'▲' if change > 0 else '▼'} {abs(change)}%")


def test_a_search_finds_the_beginning_of_words_while_they_are_typed(visit: Visit) -> None:
    """At no key the list is empty; it shows where the words are, and takes them to the event, where they are marked."""
    page = visit.open("/")
    settled(visit, 28)
    visit.facts("sessions?text=zebra")  # the index is there
    page.evaluate(
        "window.empty = 0; new MutationObserver(() => window.empty += Boolean(document.querySelector('#empty')))"
        ".observe(document.querySelector('main'), { childList: true, subtree: true })"
    )
    page.locator("#filters input").first.focus()
    for letter in "zebra cross":
        page.keyboard.type(letter)
        page.wait_for_timeout(260)
    settled(visit, 3)
    assert page.evaluate("window.empty") == 0
    places = page.locator("#rows .found")
    expect(places).to_have_count(3)
    assert "the zebra crossing 2" in places.first.inner_text()
    # A long one has two lines.
    heights = """place => {
      const text = place.querySelector(".passage"), short = text.textContent, before = place.clientHeight;
      text.textContent = "zebra crossing ".repeat(50);
      const after = place.clientHeight;
      text.textContent = short;
      return after / before;
    }"""
    assert places.first.evaluate(heights) == pytest.approx(2, abs=0.2)
    visit.until("CSS.highlights.get('match')?.size === 3")
    page.locator("#filters input").first.fill('"crossing zebra')
    page.get_by_text("No session matches these filters.").wait_for()
    page.locator("#filters input").first.fill('"zebra cross')
    settled(visit, 3)
    places.first.click()
    page.wait_for_url("**/s/*?event=*&text=*")
    page.locator("#details", has_text="the zebra crossing 2").wait_for()
    visit.until("CSS.highlights.get('match')?.size > 0")
    marked = "[...CSS.highlights.get('match')].map(one => one.toString())"
    assert set(page.evaluate(marked)) == {"zebra crossing"}


def test_a_search_that_stopped_without_a_match_goes_on(visit: Visit) -> None:
    """A long search answers before its end: the list then continues it, and has the sessions that it finds later."""
    page = visit.open("/")
    settled(visit, 28)
    first = visit.facts("sessions?limit=1")["sessions"][0]["session_id"]

    def stopped(route: Route) -> None:
        if "before=" in route.request.url:
            return route.continue_()
        reply = route.fetch()
        return route.fulfill(response=reply, json={**reply.json(), "sessions": [], "next_before": first})

    page.route("**/api/1/sessions?**", stopped)
    page.locator("#filters input").first.fill("zebra")
    settled(visit, 3)
    expect(page.locator("#empty")).to_have_count(0)
    expect(page.locator("#more")).to_contain_text("3 sessions")
    page.unroute("**/api/1/sessions?**")


def test_a_part_of_each_word_is_enough(visit: Visit) -> None:
    """A word in quotes is whole; where nothing is found, the page says what a search looks for."""
    page = visit.open("/")
    settled(visit, 28)
    search = page.locator("#filters input").first
    search.fill("cros zeb")
    settled(visit, 3)
    assert query(page) == {"text": ["cros* zeb*"]}
    search.blur()
    expect(search).to_have_value("cros zeb")
    for text, hint in (
        ('"cros" zeb', "Words in quotes must match exactly"),
        ("ross zeb", "All words must be in one event"),
        ("ebra", "try fewer letters"),
    ):
        search.fill(text)
        page.locator("#empty", has_text=hint).wait_for()


def test_the_palette_goes_anywhere(visit: Visit) -> None:
    """By keys alone, from any page: to a page, a session by its id, a value, a search; Esc gives the focus back."""
    page = visit.open("/")
    settled(visit, 28)
    page.locator("#filters input").first.focus()
    page.keyboard.press("Control+k")
    page.locator("#palette").wait_for()
    for _ in range(8):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || document.activeElement.closest('#palette') !== null"
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    page.locator("#palette").wait_for(state="detached")
    assert page.evaluate("document.activeElement.name") == "text"
    # It opens again at once, as long as the one that was closed is still part of the page.
    page.keyboard.press("Control+k")
    page.locator("#palette").wait_for()
    page.evaluate("""() => {
        document.querySelector("#palette").close();
        document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "k", ctrlKey: true, bubbles: true}));
    }""")
    visit.until("document.querySelector('#palette[open]')")
    page.keyboard.press("Escape")
    page.locator("#palette").wait_for(state="detached")
    ident = visit.facts("sessions?name=run+5")["sessions"][0]["session_id"]
    for text, label, url in (
        ("compar", "Compare", "**/compare"),
        ("analy", "Analytics", "**/analytics"),
        (ident[:11], "run 5", f"**/s/{ident}"),
        ("rare", "rare", "**/?tag=rare"),
        ("zebra cross", "Sessions with “zebra cross”", "**/?text=zebra*+cross*"),
        ("run 5", "run 5", f"**/s/{ident}"),
    ):
        page.keyboard.press("Control+k")
        page.locator("#palette input").wait_for()
        page.keyboard.type(text)
        option = page.get_by_role("option").filter(has=page.get_by_text(label, exact=True)).first
        option.wait_for()
        for _ in range(30):
            if option.get_attribute("aria-selected") == "true":
                break
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url(url)


def test_the_palette_offers_what_is_meant(visit: Visit) -> None:
    """A day, a period, a value of a facet, failures, a theme or the event with the words; else it says "nothing"."""
    page = visit.open("/compare")
    options = page.get_by_role("option")

    def find(text: str) -> None:
        page.keyboard.press("Control+k")
        page.locator("#palette input").fill(text)

    for text, label in (
        ("failed", "Calls that failed"),
        ("today", "Sessions: 2"),
        ("loop", "Tool calls that were repeated"),
        ("light", "Light"),
        ("prompts", "Calls by prompt"),
        ("argument:EU-2", "Calls: Argument: EU-2"),
    ):
        find(text)
        options.filter(has_text=label).wait_for()
        page.keyboard.press("Escape")
        page.locator("#palette").wait_for(state="detached")
    find("help")
    expect(options.first).to_have_text("HelpKeys")
    page.keyboard.press("Enter")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    # With a pointer, also in a narrow window.
    visit.looks(390)
    page.get_by_role("button", name="Go to").click()
    page.locator("#palette input").fill("qqxx")
    visit.looks()
    expect(options).to_have_text(["Nothing matches “qqxx”"])
    expect(options).to_have_attribute("aria-selected", "false")
    page.locator("#palette input").fill('"zebra crossing"')
    expect(options.filter(has_text="Search").first).to_have_text('SearchSessions with "zebra crossing"')
    page.locator("#palette input").fill("dark")
    expect(options.first).to_have_text("ThemeDark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("#palette").wait_for(state="detached")
    state, cost = {"state": ["Failure"], "not_tag": ["odd"]}, {"min_cost": ["0.001"]}
    for text, label, wanted in (
        ("cost>0.001", "FilterSessions: Cost ≥ $0.001", cost),
        ("state:failure -tag:odd", "FilterSessions: State: Failure, Tag: not odd", state),
        ("user=ann", "Userann14", {"user": ["ann"]}),
        ("last 7 days", "WhenSessions: last 7 days", {"since": ["7d"]}),
        (
            "2026-11-20",
            "WhenSessions: 2026-11-20",
            {"since": ["2026-11-20T00:00:00Z"], "until": ["2026-11-21T00:00:00Z"]},
        ),
    ):
        find(text)
        expect(options.first).to_have_text(label)
        page.keyboard.press("Enter")
        page.wait_for_url("**/?*")
        assert query(page) == wanted
        visit.open("/compare")
    find("zebra cross")
    expect(options.first).to_contain_text("run 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*?event=*&text=zebra*cross*")
    page.locator("#details", has_text="the zebra crossing 2").wait_for()


def test_the_palette_names_sessions_first(visit: Visit) -> None:
    """The name that is equal, then those that begin with it, the newest first; each tells itself from the others."""
    page = visit.open("/compare")
    page.keyboard.press("Control+k")
    page.locator("#palette input").fill("run 2")
    options = page.locator("#palette-list").get_by_role("option").filter(has_text=re.compile("^Session"))
    expect(options.locator(".label")).to_have_text([f"run {number}" for number in (2, 27, 26, 25, 24, 23, 22)])
    began = visit.facts("sessions?name=run+2")["sessions"][0]["began"]
    expect(options.first.locator(".num")).to_have_text(began[:19].replace("T", " "))
    expect(options.first.locator(".apart")).to_contain_text("Success · tag-2 · ")
    page.locator("#palette input").fill("zebra")
    expect(options.locator(".apart")).to_have_text(
        [f"{state} · action: the zebra crossing {n}" for n, state in ((2, "Success"), (1, "Success"), (0, "Failure"))]
    )
    visit.until("CSS.highlights.get('match')?.size === 5")
    # Short and common words beside others are not marked.
    page.locator("#palette input").fill("the zebra 2")
    visit.until("[...new Set([...(CSS.highlights.get('match') || [])].map(String))].join() === 'zebra,the zebra 2'")
    page.locator("#palette input").fill("run 2")
    expect(options).to_have_count(7)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/s/{visit.facts('sessions?name=run+2')['sessions'][0]['session_id']}")
    page.locator("#view").wait_for()
    page.keyboard.press("Control+k")
    recent = page.get_by_role("option").filter(has_text=re.compile("^Recent"))
    expect(recent.locator(".num")).to_have_text(began[:19].replace("T", " "))


def test_filters_are_written_in_the_search(visit: Visit) -> None:
    """Enter makes chips of them, and the other words stay the search; until then, they are no words of it."""
    page = visit.open("/")
    settled(visit, 28)
    page.keyboard.press("/")
    page.keyboard.type("-tag:even horse tag:usual")
    page.locator("#facets", has_text="Press Enter to filter").wait_for()
    page.wait_for_url("**/?text=horse*")
    page.keyboard.press("Enter")
    expect(page.locator(".chosen-filters .chip")).to_have_text(
        ["Text: horse ×", "Tag: not even ×", "Tag: usual ×"], timeout=30_000
    )
    assert query(page) == {"text": ["horse*"], "not_tag": ["even"], "tag": ["usual"]}
    assert page.evaluate("document.activeElement.value") == "horse"
    page.locator("#filters input").first.fill("bogus:1")
    expect(page.locator("#facets p").first).to_contain_text("bogus is not a filter. Filters are written like tag:vip")


def test_columns_and_density_are_kept(visit: Visit) -> None:
    """What is chosen is there at the next visit, and a column sorts."""
    page = visit.open("/")
    settled(visit, 28)
    height = "document.querySelectorAll('#rows tr')[1].getBoundingClientRect().height"
    assert page.evaluate(height) == 36
    opened = menu(page, "Display")
    opened.get_by_label("Compact rows").check()
    opened.get_by_label("Host").check()
    opened.get_by_label("Tokens").uncheck()
    for _ in range(2):
        assert page.evaluate(height) <= 30
        assert page.locator("#sessions [data-col=tokens]").count() == 0
        assert page.locator("#rows tr").first.locator("[data-col=host]").inner_text() == "vm-7"
        visit.open("/")
        settled(visit, 28)
    page.locator("th[data-col=host] button").click()
    visit.until("location.search.includes('sort=host')")


def test_a_star_is_a_score_that_filters(visit: Visit) -> None:
    """A click or a key gives it; the list of the starred has that session; the second click takes it away."""
    page = visit.open("/")
    settled(visit, 28)
    page.keyboard.press("j")
    page.keyboard.press("s")
    visit.until("document.querySelectorAll('.star[aria-pressed=true]').length === 1")
    first = names(visit)[0]
    menu(page, "More").get_by_label("Only starred").check()
    settled(visit, 1)
    assert (names(visit)[0], query(page)) == (first, {"score": ["star"]})
    page.keyboard.press("Escape")
    page.locator(".star").first.click()
    visit.until("document.querySelectorAll('.star[aria-pressed=true]').length === 0")
    assert visit.facts("sessions?score=star")["sessions"] == []
    # Nor does Analytics count it as a score of value false.
    assert "star" not in json.dumps(visit.facts("analytics/scores"))


def test_views_are_saved_used_and_deleted(visit: Visit) -> None:
    """Filters and order under a name, which the server keeps; times in it count back from when it is used."""
    page = visit.open("/?state=Failure&since=7d&sort=cost&order=desc")
    page.locator("#rows tr").first.wait_for()
    opened = menu(page, "Views")
    opened.get_by_label("Name of a view").fill("failures")
    opened.get_by_role("button", name="Save").click()
    entry(opened, "failures").wait_for()
    [view] = visit.facts("views")["views"]
    assert view["filters"] == {"state": ["Failure"], "since": ["7d"], "sort": ["cost"], "order": ["desc"]}
    visit.open("/")
    settled(visit, 28)
    menu(page, "Views").get_by_text("failures").click()
    visit.until("location.search.includes('state=Failure')")
    assert query(page) == view["filters"]
    opened = menu(page, "Views")
    in_use = opened.locator(".choice[aria-pressed=true]")
    expect(in_use).to_have_text("failures")
    # With another order it is another list; and its name is taken.
    visit.open("/?state=Failure&since=7d")
    opened = menu(page, "Views")
    entry(opened, "failures").wait_for()
    expect(in_use).to_have_count(0)
    opened.get_by_label("Name of a view").fill("failures")
    opened.get_by_role("button", name="Save").click()
    opened.get_by_role("button", name="Replace").click()
    # The browser notes each answer that is no success.
    assert all("409" in each for each in visit.wrong)
    visit.wrong.clear()
    expect(in_use).to_have_text("failures")
    assert visit.facts("views")["views"][0]["filters"] == {"state": ["Failure"], "since": ["7d"]}
    # Without one of its filters, the list is not that of the view any more.
    page.locator(".chip", has_text="Failure").locator(".drop").click()
    expect(in_use).to_have_count(0)
    opened.get_by_label("Delete failures").dblclick()
    assert len(visit.facts("views")["views"]) == 1
    opened.get_by_label("Confirm: delete failures").click()
    visit.until("!document.querySelector('.entry[data-id=failures]')")
    assert visit.facts("views")["views"] == []


def test_what_is_filtered_is_exported(visit: Visit) -> None:
    """The file has the sessions of the list."""
    page = visit.open("/?error=ValueError")
    settled(visit, 4)
    opened = menu(page, "Display")
    with page.expect_download() as download:
        opened.get_by_text("JSONL", exact=True).click()
    lines = Path(str(download.value.path())).read_text(encoding="utf-8").splitlines()
    written = {str(json.loads(line).get("session") or "").replace("-", "") for line in lines} - {""}
    expected = visit.facts("sessions?error=ValueError")["sessions"]
    assert written == {one["session_id"].replace("-", "") for one in expected}
    with page.expect_download() as download:
        opened.get_by_text("CSV of sessions").click()
    with open(str(download.value.path()), encoding="utf-8", newline="") as file:
        sheet = {line["session"]: line for line in csv.DictReader(file)}
    assert sheet.keys() == {one["session_id"] for one in expected}
    for one in expected:
        line = sheet[one["session_id"]]
        assert (line["name"], line["state"], line["tags"].split(", ")) == (one["name"], one["state"], one["tags"])
        assert (line["tokens_in"], float(line["cost_usd"])) == (str(one["tokens_in"]), one["cost_usd"])


def test_any_number_of_sessions_is_compared_the_oldest_first(visit: Visit) -> None:
    """However they were ticked."""
    page = visit.open("/")
    settled(visit, 28)
    boxes = page.locator("#rows .pick input")
    for at in (0, 5, 2):
        boxes.nth(at).check()
    names_ = [names(visit)[at] for at in (5, 2, 0)]
    page.locator("#compare-bar a").click()
    heads = page.locator("section.chart th a")
    expect(heads).to_have_count(3)
    assert heads.all_inner_texts() == names_
    page.get_by_role("link", name="A and C").click()
    expect(page.locator(".pairs th").nth(2)).to_have_text("C duration")
    cards = [f"A: {names_[0]}", f"C: {names_[2]}"]
    assert page.locator(".two h2").all_inner_texts() == cards


def test_everyone_can_use_menus_and_palette(visit: Visit) -> None:
    """axe finds nothing in what opens, and nothing is wider than the page."""
    page = visit.open("/?tag=tag-11&not_model=gpt-4o&since=14d")
    page.locator("#rows tr").first.wait_for()
    problems: list[tuple[Any, ...]] = []

    def look(what: str, part: str | None = ".menu[open]") -> None:
        page.wait_for_timeout(300)
        problems.extend((what, *each) for each in visit.unusable_anywhere(part))
        visit.looks()

    look("page", None)
    for name in ("Tag", "When", "Views", "Display"):
        menu(page, name)
        look(name)
        page.keyboard.press("Escape")
    menu(page, "More").locator("summary", has_text="Metadata").click()
    look("More")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("tag")
    page.get_by_role("option").first.wait_for()
    look("palette", "#palette")
    assert problems == []


def test_the_address_is_read_and_written_in_one_way(visit: Visit) -> None:
    """The pure parts: a value is never wanted and excluded at once, and words are marked as the server finds them."""
    page = visit.open("/")

    def read(code: str) -> Any:
        return page.evaluate(f"import('/web/query.js').then(it => {code})")

    def marks(text: str, words: str) -> Any:
        places = "it.places(text, it.terms(words)).map(([a, b]) => text.slice(a, b))"
        return page.evaluate(f"([text, words]) => import('/web/marks.js').then(it => {places})", [text, words])

    for start, step, end in (
        ("?tag=a", "'tag','b'", "?tag=a&tag=b"),
        ("?tag=a&tag=b", "'tag','a'", "?tag=b"),
        ("?tag=a", "'tag','a',true", "?not_tag=a"),
        ("?all_tag=a", "'tag','b'", "?all_tag=a&all_tag=b"),
        ("?all_tag=a&all_tag=b", "'tag','a',true", "?all_tag=b&not_tag=a"),
        ("?not_tag=a", "'tag','a'", "?tag=a"),
        ("?project=a", "'project','b'", "?project=b"),
        ("?tag=%26%3D&sort=cost", "'state','Success'", "?tag=%26%3D&sort=cost&state=Success"),
    ):
        assert read(f"it.search(it.toggled(it.parsed({json.dumps(start)}),{step}))") == end
    assert read("Object.keys(it.filtersOf(it.parsed('?tag=a&sort=x&not_host=b&not_text=c&before=d&min_cost=1')))") == [
        "tag",
        "not_host",
        "min_cost",
    ]
    assert read("['7d','1h','2026-11-21T00:00:00Z'].map(it.period)") == ["last 7 days", "last hour", "2026-11-21"]
    assert read("['min_cost','max_seconds'].map(name => it.words(name,'5'))") == ["Cost ≥ $5", "Duration ≤ 5 s"]
    # What the page writes itself is not searched: heads of columns, figures, times.
    marked = """import('/web/marks.js').then(({ mark }) => {
        const made = (kind) => Object.assign(document.createElement("div"), { className: kind });
        const [box, ...others] = ["", "columns", "num", "began", "id", "own"].map(made);
        others.forEach((each) => each.append("Cost"));
        box.append(...others, document.createElement("time"), "what it costs");
        box.querySelector("time").append("Cost");
        mark(box, "cost*");
        return [...CSS.highlights.get("match")].map(String);
    })"""
    assert page.evaluate(marked) == ["costs"]
    typed = [
        "hyster expan valv",
        'of the "small fox" den',
        '"small fo',
        "tutor-noor",
        "01a21fce-36b4-79f5-9d12 of",
        "a* b",
    ]
    meant = [
        "hyster* expan* valv*",
        'of the* "small fox" den*',
        '"small fo*',
        "tutor-noor*",
        "01a21fce-36b4-79f5-9d12 of*",
    ]
    assert read(f"{json.dumps(typed)}.map(it.asPrefix)") == [*meant, "a* b*"]
    assert read(f"{json.dumps([*meant, 'a* b*', 'fo* ox'])}.map(it.plain)") == [*typed[:-1], "a* b*", "fo* ox"]
    terms = ['tag:vip -tool:"look up" red cost>0.10  house', "at 10:30 http://tag:x https://a.example text:x tag: a:b"]
    written = [["tag", "vip"], ["not_tool", "look up"], ["min_cost", "0.10"]]
    examples = "tag:vip, -tool:search, cost>0.1 or seconds<60"
    reader = "async ([terms, of]) => { const { written } = await import('/web/written.js'); return terms.map(of ? "
    reader += "(term) => written(term, { ofCalls: true }) : (term) => written(term)) }"
    assert page.evaluate(reader, [terms, False]) == [
        {"filters": written, "problems": [], "rest": "red house"},
        {
            "filters": [],
            "problems": [f"{name} is not a filter. Filters are written like {examples}." for name in ("text", "a")],
            "rest": terms[1],
        },
    ]
    terms = ["state:fail -state:running", "cost>abc", "argument:EU-2", "-kind:llm", "meta:x", "state:odd", "size>1"]
    [states, *others] = page.evaluate(reader, [terms, False])
    assert states["filters"] == [["state", "Failure"], ["not_state", "Running"]]
    assert [one["problems"] for one in others] == [
        ["Invalid cost: expected a number, such as cost>0.1."],
        ["argument is a filter of Calls."],
        ["kind is a filter of Calls."],
        ["Invalid meta: expected NAME=VALUE, got x."],
        ["Invalid state: expected one of Success, Failure, Indeterminate, Running, Unknown, got odd."],
        ["Only cost and seconds can be compared, not size."],
    ]
    [given, excluded] = page.evaluate(reader, [["argument:EU-2 kind:llm", "-kind:llm"], True])
    assert given["filters"] == [["argument", "EU-2"], ["kind", "llm"]]
    assert excluded["problems"] == ["kind cannot exclude: leave out the minus."]
    assert marks("The Zebra crossing, zebras", "zebra") == ["Zebra"]
    assert marks("The Zebra crossing, zebras", "zebra*") == ["Zebra", "zebras"]
    assert marks("a web_search and a search of the web", "web_search") == ["web_search"]
    assert marks("crossing the zebra; the zebra crossing", '"zebra cross*') == ["zebra crossing"]
    assert marks("Élan vital, e\u0301lan", "elan") == ["Élan", "e\u0301lan"]
    assert marks("東京都", "京") == ["京"]
    # Signs that stand alone are no words, and what was typed with them is marked before all else.
    exact = "it.typed(text, query).map(([a, b]) => text.slice(a, b))"
    for text, query, wanted in (
        ("v = g·t with g = 9.81, log = 2", "g =", ["g ="]),
        ("a g- (b[0]*) | c", "( b[0]*) |", ["(b[0]*) |"]),
        ("a g·t, and G - t", "g - t", ["G - t"]),
        ("g = 1", "g 1", []),
    ):
        assert page.evaluate(f"([text, query]) => import('/web/marks.js').then(it => {exact})", [text, query]) == wanted


def test_a_click_is_never_lost_beside_a_recorder(chromium: Browser, tmp_path: Path) -> None:
    """Rows that are drawn again while a button is held down take the click; what is typed and selected stays."""
    home = tmp_path / "home"
    _fill(home / "default")
    with serving(home) as link, visiting(chromium, link) as visit:
        page = visit.open("/")
        settled(visit, 28)
        page.evaluate(HURRY)  # so that rows are drawn during each click
        journal = Journal(str(home / "default"))
        clicks = sized(8, 24)
        boxes = page.locator("#rows .pick input")
        lost = aimed = 0
        ident = boxes.nth(3).locator("xpath=ancestor::tr").get_attribute("data-id")
        box = page.locator(f'tr[data-id="{ident}"] .pick input')
        redrawn = "window.redrawn = 0; new MutationObserver(() => window.redrawn += 1)"
        page.evaluate(redrawn + ".observe(document.getElementById('rows'), { childList: true, subtree: true })")
        pressed = "addEventListener('pointerdown', event => window.pressed = event.target.closest('tr')?.dataset.id)"
        page.evaluate(pressed)
        for number in range(clicks):
            session, now = clock.new_id(), clock.now_ns()
            begun = rows.make("session", session, id=session, at_ns=now, name=f"new {number}")
            journal.add([begun, rows.make("action", session, id=clock.new_id(), at_ns=now, name="say")])
            before = box.is_checked()
            box.scroll_into_view_if_needed()
            place = box.bounding_box()
            assert place is not None
            page.mouse.move(place["x"] + 5, place["y"] + 5)
            page.mouse.down()
            page.wait_for_timeout(130)
            page.mouse.up()
            page.wait_for_timeout(120)
            # A row that moved before the button was down is another one, which is no lost click.
            hit = page.evaluate("window.pressed") == ident
            aimed += hit
            lost += hit and box.is_checked() == before
        journal.close()
        assert page.evaluate("window.redrawn") > 0
    assert aimed > clicks / 2
    assert lost == 0
