"""The page of calls, in a real browser: the questions it answers, its filters, the keyboard, and live updates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from localops import clock
from localops.journal.journal import Journal
from tests import made
from tests.web.conftest import HURRY, Visit, recorded, serving, visiting
from tests.web.test_live import Program, program
from tests.web.test_live import visit as live

__all__ = ["live", "program"]  # fixtures

_GROUPINGS = ("tool", "arguments", "repeat", "error", "message", "model", "prompt")


def _texts(cells: Locator) -> list[str]:
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def _rows(page: Page) -> Locator:
    return page.locator("#rows tr")


def _group(visit: Visit, by: str) -> None:
    """Group the calls that are shown by something else."""
    visit.page.locator(f"#groupings a[href*='by={by}'], #calls th a[href*='by={by}']").first.click()
    visit.page.wait_for_url(f"**by={by}*")
    visit.until("!document.querySelector('#calls.stale')")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a loop, failures, more calls than a page has, and an old one with a first token."""
    home = tmp_path_factory.mktemp("calls") / "home"
    for kind in ("story", "other", "circling", "costs", "chatty", "refused"):
        recorded(home, kind)
    at = clock.now_ns() - 3_600 * 10**9
    session = clock.new_id(at)
    spent = {"cost": 1, "tokens": (1, 1, None, None), "body": '{"time_to_first_token":0.5}'}
    journal = Journal(str(home / "default"))
    journal.add(
        [
            made.event("streamed", "session", session, id=session, at_ns=at, body="{}"),
            made.event("", "llm", session, at_ns=at + 10**9, start_ns=at, model="streaming", **spent),
            made.event("Success", "end", session, at_ns=at + 10**9, id=clock.new_id(at), body="{}"),
        ]
    )
    journal.close()
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


def test_a_figure_of_one_call_that_is_not_loaded_yet_can_be_sorted_by(looking: Visit) -> None:
    """The column of first tokens is there; the details of the call name the figure."""
    page = looking.open("/calls")
    assert "streaming" not in page.locator("#rows").inner_text()
    page.get_by_role("button", name="First token").click()
    expect(_rows(page).first.locator(".name")).to_have_text("streaming")
    expect(_rows(page).first.locator(".first")).to_have_text("500ms")
    _rows(page).first.locator(".name").click()
    expect(page.locator("#details dl.facts")).to_contain_text("First tokenafter 500ms")
    expect(page.locator("#details [data-title=Other]")).to_have_count(0)


def test_a_phone_has_a_menu_to_sort_by_and_says_when_calls_began(looking: Visit) -> None:
    """There are no column heads: the menu has the same orders, and other ones for groups."""
    looking.looks(390)
    page = looking.open("/calls")
    expect(_rows(page).first.locator("time")).to_be_visible()
    page.locator("summary", has_text="Sort").click()
    choices = page.locator(".sorting .choice")
    choices.filter(has_text="Cost").click()
    [dearest, *_] = looking.facts("calls?sort=cost")["calls"]
    expect(_rows(page).first).to_have_attribute("data-id", dearest["id"])
    page.locator("summary", has_text="Sort").click()
    choices.filter(has_text="Cost ↓").click()
    page.wait_for_url("**/calls?sort=cost&order=asc")
    page.get_by_role("link", name="Tools", exact=True).click()
    page.locator("summary", has_text="Sort").click()
    expect(choices.filter(has_text="Failed ↓")).to_be_visible()
    assert looking.unusable() == []
    for by in ("error", "prompt"):
        looking.open(f"/calls?by={by}")
        [line, *_] = looking.facts(f"calls/groups?by={by}")["lines"]
        for name in ("first", "last"):
            seen = _rows(page).first.locator(f".{name}-seen")
            expect(seen).to_be_visible()
            expect(seen).to_have_text(line[name][:10])
            expect(seen).to_have_attribute("data-label", f"{name.capitalize()} seen")
    looking.looks()


def test_a_click_anywhere_in_a_row_opens_it(looking: Visit) -> None:
    """With Ctrl or the middle button in a new tab; not when text is selected, and a red count opens what failed."""
    page = looking.open("/calls?sort=cost")
    row = _rows(page).first
    address = row.locator(".name").evaluate("link => link.href")
    for how in ({"modifiers": ["Control"]}, {"button": "middle"}):
        with page.context.expect_page() as opened:
            row.locator(".began").click(**how)
        opened.value.wait_for_url(address)
        opened.value.close()
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#rows .preview'))")
    row.locator(".took").dispatch_event("click")
    assert page.url.endswith("/calls?sort=cost")
    row.locator(".took").click()
    page.wait_for_url(address)
    looking.open("/calls?by=tool")
    _rows(page).first.locator(".share-of").click()
    page.wait_for_url(re.compile(r"calls\?tool=look"))
    expect(_rows(page)).to_have_count(4)
    page.go_back()
    _rows(page).first.locator("td.num a.failed").click()
    page.wait_for_url("**failed=1*")
    expect(_rows(page)).to_have_count(2)
    looking.open("/")
    sessions = page.locator("#sessions #rows tr")
    sessions.first.locator("td.pick").click(position={"x": 2, "y": 2})
    assert page.url.rstrip("/") == looking.base
    address = sessions.first.locator(".title").evaluate("link => link.href")
    sessions.first.locator("[data-col=cost]").click()
    page.wait_for_url(address)


def test_the_tool_that_fails_most_is_shown_with_its_inputs(looking: Visit) -> None:
    """First of the groups by tool; its inputs lead to calls that failed, its name to all of its calls."""
    page = looking.open("/calls")
    page.locator("#groupings").get_by_role("link", name="Tools").click()
    first = _rows(page).first
    expect(first.locator(".name")).to_have_text("look up")
    assert _texts(first.locator("td"))[1:4] == ["4", "2", "50%"]
    expect(first.locator(".examples a")).to_have_text(["word=unicorn ×2"])
    # Of several, what differs is shown.
    split = "async (texts) => (await import('/web/call_rows.js')).splitCommon(texts)"
    orders = ["order_id=EU-74248", "order_id=EU-74186 fast=true", "order_id=EU-7"]
    assert page.evaluate(split, orders) == ["order_id=", ["EU-74248", "EU-74186 fast=true", "EU-7"]]
    assert page.evaluate(split, [f"k={'x' * 40}{end}" for end in "ab"]) == ["k=", ["…xxxxxxxxa", "…xxxxxxxxb"]]
    assert page.evaluate(split, ["a b", "a", "a"]) == ["", ["a b", "a", "a"]]
    assert page.evaluate(split, ["same", "same"]) == ["", ["same", "same"]]
    first.locator(".name").click()
    expect(page.locator(".chosen-filters .chip")).to_have_text("Tool: look up ×")
    expect(_rows(page)).to_have_count(4)
    expect(page.locator("#sums")).to_contain_text("4 calls · 2 failed (50%)")
    failed = page.locator("#rows .bad").first
    expect(failed).to_contain_text("LookupError: no such animal")
    page.get_by_role("button", name="Failed only").click()
    expect(_rows(page)).to_have_count(2)
    page.go_back()
    expect(_rows(page)).to_have_count(4)


def test_an_error_has_its_messages_its_tools_and_its_days(looking: Visit) -> None:
    """How many there are, the most frequent message, and where each leads; when it was seen first and last."""
    page = looking.open("/calls?by=error")
    expect(page.locator("#groupings a").last).to_have_text("Prompts")
    expect(page.locator("#groupings [aria-current]")).to_have_text("Errors")
    for link, head in (("by message", "Error messageby class"), ("by class", "Errorby message")):
        page.get_by_role("link", name=link).click()
        expect(page.locator("thead th").first).to_have_text(head)
        expect(page.locator("#groupings [aria-current]")).to_have_text("Errors")
    [known, *_] = looking.facts("calls/groups?by=error")["lines"]
    first = _rows(page).first
    assert (known["error"], known["messages_count"], known["called_count"]) == ("LookupError", 3, 4)
    expect(first.locator(".among")).to_have_text(["3 messages", "in 4 tools"])
    expect(first.locator(".faint")).to_have_count(0)
    messages = first.locator(".preview:visible")
    expect(messages).to_have_text(["no such animal ×2"])
    looking.looks(1920)
    expect(messages).to_have_text(["no such animal ×2", "such as no seat in row 7 ×2", "desk is closed"])
    looking.looks()
    expect(first.locator(".last-seen")).to_have_text(known["last"][:10])
    assert page.locator("#rows .seen").evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
    page.get_by_role("button", name="First seen").click()
    expect(page.locator("thead [aria-sort=descending]")).to_have_text("First seen")
    looking.until("!document.querySelector('.stale')")
    begun = page.locator("#rows .first-seen time").evaluate_all("all => all.map(one => one.dateTime)")
    lines = looking.facts("calls/groups?by=error&sort=first")["lines"]
    assert begun == sorted(begun, reverse=True) == [one["first"] for one in lines]
    _is_uncut(page)
    # That of a single tool is named.
    looking.open("/calls?by=message")
    lines = looking.facts("calls/groups?by=message")["lines"]
    [at, *_] = [number for number, one in enumerate(lines) if one["called_count"] == 1]
    expect(_rows(page).nth(at).locator(".failure > .faint")).to_have_text(f"in {lines[at]['called'][0]['name']}")


def _is_uncut(page: Page) -> None:
    """Fail if an end of an error, of arguments or of an example is not shown."""
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"
    assert page.locator("#rows :is(a.failed, .preview):visible").evaluate_all(cut) == []


def test_repeats_show_their_arguments_in_a_narrow_window(looking: Visit) -> None:
    """All of them, on lines of their own."""
    looking.looks(390)
    page = looking.open("/calls?by=repeat")
    expect(_rows(page).first).to_be_visible()
    _is_uncut(page)
    looking.looks()


def test_a_tool_that_failed_names_its_error(looking: Visit) -> None:
    """Beside its name, and leads to the errors of this tool; other tools have none."""
    page = looking.open("/calls?by=tool")
    row = _rows(page).filter(has_text="upgrade")
    error = row.locator(".what a.failed")
    expect(error).to_have_text("LookupError: desk is closed")
    known = {line["tool"]: line for line in looking.facts("calls/groups?by=tool")["lines"]}
    at = known["upgrade"]["first_failed"]
    expect(row.locator(".examples time")).to_have_text(f"since {at[:10]}")
    expect(row.locator(".examples time")).to_have_attribute("datetime", at)
    assert row.locator(".examples time").evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    # Where it had worked before, and again after that.
    days = {name: f"2026-11-{day:02}T12:00:00+00:00" for name, day in (("first", 3), ("first_failed", 5), ("last", 9))}
    script = """async (one) => {
      const { row } = await import("/web/call_rows.js");
      return row("tool", one).querySelector(".examples time").textContent;
    }"""
    assert page.evaluate(script, {**known["upgrade"], **days}) == "since 2026-11-05"
    expect(_rows(page).filter(has_text="fetch").locator(".what a")).to_have_count(1)
    _is_uncut(page)
    error.click()
    expect(_rows(page).locator(".name")).to_have_text("LookupError")
    expect(page.locator(".chosen-filters .chip")).to_have_text("Tool: upgrade ×")


def test_examples_are_readable_or_left_out(looking: Visit) -> None:
    """Of several that share a line, none is cut to a few letters."""
    page = looking.open("/calls?by=tool")
    [line] = [line for line in looking.facts("calls/groups?by=tool")["lines"] if line["tool"] == "look up"]
    inputs = [f"word={word} {'and more words ' * 3}" for word in ("unicorn", "griffin", "phoenix")]
    line["examples"] = [{**line["examples"][0], "input": text} for text in inputs]
    script = """async (line) => {
      const { row } = await import("/web/call_rows.js");
      const made = row("tool", line);
      document.getElementById("rows").prepend(made);
      const { bottom } = made.getBoundingClientRect();
      const links = [...made.querySelectorAll(".examples a")].map((one) => one.getBoundingClientRect());
      return links.filter((one) => one.top < bottom).map((one) => one.width);
    }"""
    for width, shown in ((1280, 1), (1920, 3)):
        looking.looks(width)
        widths = page.evaluate(script, line)
        assert (len(widths) >= shown, min(widths) >= 78) == (True, True), width
    looking.looks()


def test_one_message_of_many_is_an_example(looking: Visit) -> None:
    """Where the others may have other numbers and ids; a message without any is that of all of them."""
    one = {"error": "OSError", "message": "no answer to request 7c3a5d71", "message_varies": True, "calls": 23}
    script = """async ([by, one]) => {
      const { row } = await import("/web/call_rows.js");
      return row(by, { called: [], examples: [], filter: {}, failed: 23, ...one }).querySelector(".what").innerText;
    }"""
    page = looking.open("/calls")
    of_error = {**one, "messages": [{**one, "filter": {}}], "messages_count": 1}
    assert page.evaluate(script, ["error", of_error]).endswith("such as no answer to request 7c3a5d71 ×23")
    assert page.evaluate(script, ["message", one]).endswith("such as no answer to request 7c3a5d71")
    assert "such as" not in page.evaluate(script, ["message", {**one, "message_varies": False}])
    [known, *_] = looking.facts("calls/groups?by=error")["lines"]
    varies = {one["message"]: one["message_varies"] for one in known["messages"]}
    assert (varies["no such animal"], varies["no seat in row 7"]) == (False, True)


def test_the_messages_of_an_error_are_opened(looking: Visit) -> None:
    """All of them as groups, the tools that failed with it, and the calls of one message."""
    page = looking.open("/calls?by=error")
    page.get_by_role("link", name="3 messages").click()
    previews = page.locator("#rows .what .preview")
    expect(previews).to_have_text(["no such animal", "such as no seat in row 7", "desk is closed"])
    expect(_rows(page).nth(1).locator(".among")).to_have_text("in 2 tools")
    _rows(page).nth(1).locator("a.name").click()
    expect(page.locator("#rows .what .name")).to_have_text(["rebook", "book"])
    expect(page.locator(".chosen-filters .chip")).to_have_text(
        ["Error class: LookupError ×", "The same error message ×"]
    )
    looking.open("/calls?by=error").get_by_role("link", name="in 4 tools").click()
    expect(page.locator("#rows .what .name")).to_have_text(["look up", "book", "rebook", "upgrade"])
    looking.open("/calls?by=error").get_by_role("link", name="no such animal ×2").click()
    expect(page.locator("#rows .what .name")).to_have_text(["look up", "look up"])


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


def _menu(page: Page, name: str) -> Locator:
    """Open a menu of the filters."""
    page.locator("#filters > .menu > summary", has_text=name).click()
    return page.locator("#filters > .menu[open]")


def test_filters_are_those_of_the_list(looking: Visit) -> None:
    """Several values of one are alternatives, others are excluded; menus are searched; views keep all of it."""
    page = looking.open("/calls")
    chips = page.locator(".chosen-filters .chip")
    opened = _menu(page, "Model")
    opened.locator(".choice", has_text="gpt-4o").click()
    opened.get_by_label("Find model").fill("SONNET")
    # The chosen one does not have what is typed.
    expect(opened.locator(".choice")).to_have_text([re.compile("claude-sonnet-4-5")])
    opened.locator(".choice", has_text="claude").click()
    expect(chips).to_have_text(["Model: gpt-4o ×", "or claude-sonnet-4-5 ×"])
    wanted = looking.facts("calls/groups?model=gpt-4o&model=claude-sonnet-4-5")["calls"]
    expect(page.locator("#sums b")).to_have_text(f"{wanted:,} calls")
    page.keyboard.press("Escape")
    chips.first.locator(".drop").click()
    expect(page.locator("#sums b")).to_have_text("2 calls")
    chips.first.locator(".drop").click()
    _menu(page, "Sessions").locator("summary", has_text="Tag").click()
    page.get_by_label("Find tag").fill("nothing")
    expect(page.locator(".sub[open] p:visible")).to_have_text("No matching value.")
    page.get_by_label("Find tag").fill("loop")
    page.get_by_role("button", name="Without loop").click()
    expect(chips).to_have_text("Tag: not loop ×")
    left = looking.facts("calls/groups?not_tag=loop")["calls"]
    expect(page.locator("#sums b")).to_have_text(f"{left:,} calls")
    page.goto(f"{looking.base}/calls?not_tag=loop&since=7d&errors=1&kind=llm&by=model")
    week = re.compile(r"Started: last 7 days, since [-\d]+ [:\d]+ ×")
    texts: list[str | re.Pattern[str]] = ["Tag: not loop ×", week, "With errors ×", "Kind: LLM calls ×"]
    expect(chips).to_have_text(texts)
    # Another page gets the filters that it knows.
    across = page.locator(".top nav").get_by_role("link", name="Analytics")
    expect(across).to_have_attribute("href", "/analytics?not_tag=loop&since=7d&errors=1")
    expect(across).to_have_attribute("title", "Without filters of calls: Kind: LLM calls")
    opened = _menu(page, "Views")
    opened.get_by_label("Name of a view").fill("models of others")
    page.get_by_role("button", name="Save").click()
    expect(opened.locator(".choice")).to_have_text("models of others")
    # What the arguments of a tool have is written in the search, or typed in a menu.
    page.goto(f"{looking.base}/calls")
    [call] = [one for one in looking.facts("calls?kind=tool&limit=500")["calls"] if one["input"]][:1]
    word = re.findall(r"\w+", call["input"])[-1]
    page.get_by_role("searchbox", name="Search what").fill(f"argument:{word}")
    page.keyboard.press("Enter")
    expect(chips).to_have_text(f"Arguments: {word} ×")
    matching = looking.facts(f"calls/groups?argument={word}")["calls"]
    expect(page.locator("#sums b")).to_have_text(f"{matching:,} call{'s' * (matching != 1)}")
    assert matching < looking.facts("calls/groups")["calls"]
    _menu(page, "Arguments").get_by_label("Text in arguments").fill("no such text")
    page.keyboard.press("Enter")
    expect(chips).to_have_text("Arguments: no such text ×")
    page.goto(f"{looking.base}/calls?model=nothing")
    page.get_by_role("button", name="Show all calls").click()
    expect(_rows(page)).to_have_count(50)
    _menu(page, "Views").locator(".choice").click()
    expect(chips).to_have_text(texts)
    assert looking.facts("views")["views"][0]["filters"]["by"] == ["model"]


def test_a_search_finds_what_came_back(looking: Visit) -> None:
    """Anywhere in a call, where it was found and marked, and only in one part of it; the word is marked in the run."""
    page = looking.open("/calls")
    page.get_by_label("Search what calls were given").fill("anim such")
    expect(page.locator("#sums b")).to_have_text("2 calls")
    expect(page.locator("#rows .preview").first).to_have_text("error: no such animal")
    looking.until("[...(CSS.highlights.get('match') || [])].map(String).sort().join() === 'animal,animal,such,such'")
    # A long passage has two lines.
    grown = """place => {
      const before = place.clientHeight;
      place.lastChild.data = "no such animal ".repeat(50);
      return place.clientHeight / before;
    }"""
    assert page.locator("#rows .preview").first.evaluate(grown) == pytest.approx(2, abs=0.2)
    _menu(page, "Found in").locator(".choice", has_text="Arguments").click()
    expect(page.locator("#empty")).to_contain_text("No call matches these filters.")
    expect(page.locator(".chosen-filters .chip")).to_have_text(["Text: anim such ×", "Found in: arguments ×"])
    page.locator(".chosen-filters .drop").last.click()
    page.locator("#rows a.failed", has_text="LookupError").or_(page.locator("#rows a.name")).first.click()
    page.wait_for_url("**/s/*?event=*&text=anim*such*")
    expect(page.locator("#details")).to_contain_text("no such animal")


def test_what_a_search_found_so_far_is_marked(looking: Visit) -> None:
    """While older calls are still searched, the totals and the list say that there may be more."""
    page = looking.open("/calls")

    def unfinished(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json={**reply.json(), "searching": True})

    page.route("**/api/1/calls**", unfinished)
    search = page.get_by_label("Search what calls were given")
    search.fill("anim such")
    expect(page.locator("#sums b")).to_have_text("2 calls so far")
    expect(page.locator("#more")).to_have_text("2 calls so far")
    expect(page.locator("#notes")).to_have_text("Not complete yet: still searching older calls …")
    search.fill("nosuchword")
    expect(page.locator("#empty")).to_have_text("No call found so far.")
    page.unroute("**/api/1/calls**")
    expect(page.locator("#empty")).to_contain_text("No call matches these filters.")
    expect(page.locator("#notes")).to_be_empty()


def test_unknown_costs_are_shown_as_elsewhere(looking: Visit) -> None:
    """No price, not billed, and a lower bound of several."""
    page = looking.open("/calls?session=" + looking.facts("sessions?tag=costs")["sessions"][0]["session_id"])
    costs = dict(zip(_texts(page.locator("#rows .what .name")), _texts(page.locator("#rows .cost")), strict=True))
    assert costs["model-of-my-own"] == "unpriced"
    assert costs["turned-away"] == "not billed"
    page.goto(page.url + "&by=model")
    costs = dict(zip(_texts(page.locator("#rows .what .name")), _texts(page.locator("#rows .cost")), strict=True))
    assert (costs["model-of-my-own"], costs["turned-away"], costs["refused"]) == ("unpriced", "$0.00", "$0.00 + ?")


def test_rows_are_one_line_and_have_most_of_the_window(looking: Visit) -> None:
    """36 px each, or more for values that need it; the table begins in the first fifth, and its head stays."""
    begins = set()
    page = looking.open("/calls")
    page.locator("#sums b").wait_for()
    for by in (None, *_GROUPINGS):
        if by:
            _group(looking, by)
        heights = page.evaluate("[...document.querySelectorAll('#rows tr')].map(row => row.offsetHeight)")
        if by in (None, "model", "prompt"):
            assert set(heights) == {36}, by
        else:
            assert min(heights) == 36, by
        begins.add(page.evaluate("document.querySelector('.table-wrap').getBoundingClientRect().top"))
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate("document.getElementById('calls-head').offsetHeight") < 36
    # The same for each grouping: none moves the page.
    [begin] = begins
    assert begin <= 160
    # Figures that are too many for the line beside the groupings are left out from the last.
    many = {"calls": 123456789, "unfinished": 1234567, "failed": 12345678, "failed_share": 0.01, "llm_calls": 0}
    many |= {"cost_nano": 10**18, "tokens_in": 10**14, "tokens_out": 0, "seconds": 10**7}
    draw = """async (many) => {
      const { sums } = await import("/web/call_rows.js");
      document.getElementById("sums").replaceChildren(...sums(many));
    }"""
    page.evaluate(draw, many)
    assert page.evaluate("document.getElementById('calls-head').offsetHeight") < 36
    shown = page.evaluate("""() => { const { bottom } = document.getElementById("sums").getBoundingClientRect();
        const parts = [...document.querySelectorAll("#sums .part")];
        return parts.map((one) => one.getBoundingClientRect().top < bottom); }""")
    assert shown[:2] == [True, True]
    assert shown[-2:] == [False, False]
    page = looking.open("/calls?not_model=streaming")
    room = [page.locator(f"#calls th.{name}").evaluate("head => head.offsetWidth") for name in ("what", "session")]
    assert room[0] > 2.3 * room[1]
    page.mouse.wheel(0, 900)
    looking.until("scrollY > 600")
    assert page.evaluate("document.querySelector('#calls th').getBoundingClientRect().top") == 0


def test_no_figure_is_cut(looking: Visit, visit: Visit) -> None:
    """Durations of calls that have not ended, and costs that are lower bounds, have room at 1280 px and on a phone."""
    cut = """[...document.querySelectorAll('#calls .num')].filter(cell => cell.scrollWidth > cell.clientWidth)
        .map(cell => cell.textContent)"""
    page = visit.open("/calls?kind=tool")
    expect(page.locator("#rows .pending").first).to_have_text("not ended")
    assert page.evaluate(cut) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(cut.replace("#calls", "#rows")) == []
    page.set_viewport_size({"width": 1280, "height": 800})
    # A tool of which no call has ended has no number of calls.
    page = visit.open("/calls?by=tool")
    lines = visit.facts("calls/groups?by=tool")["lines"]
    [at, *_] = [number for number, one in enumerate(lines) if one["unfinished"] and not one["calls"]]
    expect(_rows(page).nth(at).locator(".num").first).to_have_text(f"{lines[at]['unfinished']} not ended")
    assert page.evaluate(cut) == []
    page = looking.open("/calls?by=prompt")
    expect(page.locator("#rows .cost", has_text="+ ?").first).to_be_visible()
    assert page.evaluate(cut) == []


def test_a_prompt_that_begins_like_others_shows_what_differs(looking: Visit) -> None:
    """The words that differ are bold, in their sentence, behind a few of those that are alike."""
    line = {
        "prompt": "Rule 0. Keep the words of a ticket as they are. Rule 1. Keep",
        "differs": {"after": 900, "lead": "Answer in one", "text": "<b>short</b>", "tail": "sentence."},
        "filter": {"prompt": "0123456789abcdef"},
        "examples": [],
    }
    draw = """async (line) => {
      const link = (await import("/web/call_rows.js")).row("prompt", line).querySelector("a");
      return [link.textContent, link.querySelector("b").textContent];
    }"""
    shown = looking.open("/calls").evaluate(draw, line)
    assert shown == ["“Rule 0. Keep the words o…” differs in: Answer in one <b>short</b> sentence.", "<b>short</b>"]


def test_the_words_of_a_prompt_are_not_cut(looking: Visit) -> None:
    """The differing sentence is shown completely, with when it was first seen; its group shows the whole prompt."""
    page = looking.open("/calls?by=prompt")
    expect(page.get_by_role("button", name="First seen")).to_be_visible()
    words = " ".join(f"passage {number}" for number in range(20))
    differs = {"after": 900, "lead": "Read", "text": words, "tail": "before you answer."}
    line = {"prompt": "Rule 0.", "differs": differs, "filter": {"prompt": "0123456789abcdef"}, "examples": []}
    script = """async (line) => {
      const { row } = await import("/web/call_rows.js");
      const drawn = row("prompt", line), link = drawn.querySelector("a");
      document.querySelector("#rows").append(drawn);
      const isCut = link.scrollWidth > link.clientWidth || link.scrollHeight > link.clientHeight;
      drawn.remove();
      return isCut;
    }"""
    assert page.evaluate(script, line) is False
    [first, *_] = looking.facts("calls/groups?by=prompt")["lines"]
    expect(_rows(page).first.locator(".what a")).to_have_text(f"“{first['prompt']}”")
    _rows(page).first.locator(".what a").click()
    expect(page.locator("#prompt pre")).to_have_text(first["prompt"])


def test_a_version_of_a_prompt_shows_what_changed(chromium: Browser, tmp_path: Path) -> None:
    """The words that changed since the version before are marked and in sight; the first version has no marks."""
    recorded(tmp_path, "revised")
    with serving(tmp_path) as link, visiting(chromium, link) as visit:
        page = visit.open("/calls?by=prompt")
        _rows(page).filter(has_text="kindly").locator(".what a").click()
        expect(page.locator("#prompt del")).to_have_text("tersely")
        expect(page.locator("#prompt ins")).to_have_text("kindly")
        expect(page.locator("#prompt ins")).to_be_in_viewport()
        page.go_back()
        _rows(page).filter(has_text="tersely").locator(".what a").click()
        expect(page.locator("#prompt pre")).to_contain_text("Answer tersely.")
        expect(page.locator("#prompt :is(ins, del)")).to_have_count(0)


def test_a_model_is_shown_by_its_answer_everywhere(looking: Visit) -> None:
    """In the list, in a group and in the session; without an answer its input is shown, marked as such."""
    [answered, *_] = [one for one in looking.facts("calls?kind=llm&limit=500")["calls"] if one["answer"]]
    page = looking.open(f"/calls?kind=llm&session={answered['session_id']}")
    line = page.locator(f"#rows tr[data-id='{answered['id']}'] .preview")
    expect(line).to_have_text(answered["answer"])
    expect(line.locator("..")).to_have_attribute("title", re.compile("\ngiven: "))
    seq = answered["seq"]
    previews = looking.facts(f"sessions/{answered['session_id']}/previews?seqs={seq}")["previews"]
    assert previews[str(seq)].endswith(answered["answer"])
    script = "async (one) => (await import('/web/call_rows.js')).textOf(one)"
    assert page.evaluate(script, {"answer": "", "input": "Why?"}) == "given: Why?"
    assert page.evaluate(script, {"answer": None, "input": "page=7"}) == "page=7"
    looking.open(f"/calls?by=model&session={answered['session_id']}")
    [group, *_] = looking.facts(f"calls/groups?by=model&session={answered['session_id']}")["lines"]
    expect(_rows(page).first.locator(".examples a").first).to_contain_text(group["examples"][0]["answer"][:20])


def test_more_rows_come_while_one_scrolls(looking: Visit) -> None:
    """Each call once, in the order of the server; after a thousand rows there is another page."""
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
    looking.until("!document.querySelector('#calls.stale')")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "text"
    page.keyboard.press("Escape")
    for key in "jjk":
        page.keyboard.press(key)
    assert page.evaluate("[...document.querySelectorAll('#rows tr')].findIndex(row => row.matches('.current'))") == 0
    page.locator("summary", has_text="Kind").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".chosen-filters .chip")).to_have_text("Kind: LLM calls ×")
    assert page.evaluate("document.activeElement.textContent") == "Kind"
    expect(page.locator("#calls.stale")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/s/*?event=*")


def test_everyone_can_use_it_and_recorded_text_is_text(visit: Visit) -> None:
    """axe reports no violation, and nothing is wider than the page; names and arguments are attacks here."""
    problems = []
    for path in ("/calls", "/calls?text=script*&failed=1", f"/calls?by={_GROUPINGS[0]}"):
        page = visit.open(path)
        page.locator("#sums b").wait_for()
        for menu in ("Sessions", "Tool"):
            page.locator("summary", has_text=menu).click()
        visit.until("document.querySelector('.menu[open] > div').children.length > 0")
        problems += [(path, *each) for each in visit.unusable_anywhere()]
        visit.looks()
        assert page.evaluate("window.hurt") is None
    # Of another grouping only the table is different.
    page.keyboard.press("Escape")
    for by in _GROUPINGS[1:]:
        _group(visit, by)
        problems += [(by, *each) for each in visit.unusable_anywhere("#calls")]
        visit.looks()
        assert page.evaluate("window.hurt") is None
    assert problems == []


def test_new_calls_come_in_and_leave_the_focus_alone(program: Program, live: Visit) -> None:
    """Neither a focused link nor a selection goes while a program records; a row that is there stays the same."""
    program.step()
    page = live.open("/calls")
    page.evaluate(HURRY)
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
    """No tool has a first token, tokens or a cost; sorted by it, or among calls of models, a column is there."""
    page = visit.open("/calls?kind=tool")
    head = page.locator("#calls thead")
    expect(page.locator("#rows tr").first).to_be_visible()
    for name in ("tokens", "first"):
        expect(head.locator(f".{name}")).to_be_hidden()
    expect(page.locator("#sums")).to_contain_text("failed (")
    # Few rows leave the line below them in sight.
    assert page.evaluate("document.documentElement.scrollHeight") == 800
    assert not re.search(r"\$|tokens", page.locator("#sums").inner_text())
    visit.open("/calls?kind=tool&sort=tokens")
    expect(head.locator(".tokens")).to_be_visible()
    visit.open("/calls?kind=llm")
    expect(head.locator(".tokens")).to_be_visible()
    visit.open("/calls?by=tool")
    expect(head.locator(".cost")).to_be_hidden()
    # A name among values that have spaces is no part of the one before it.
    expect(page.locator("#rows .examples .argument", has_text="word=").first).to_be_visible()
    visit.open("/calls?by=tool&sort=cost")
    expect(head.locator(".cost")).to_be_visible()
