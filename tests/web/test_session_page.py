"""The page of a session: its room, its head, its details, and what it shows of a running session."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests import warm
from tests.web.conftest import RECORDER, Visit, environment, recorded, serving, used_again, visiting
from tests.web.recorder import ATTACKS

VIEWS = ("timeline", "tree", "events", "chat", "figures")
# What moved on a page by itself, after it was first drawn.
SHIFTS = """
    window.shifts = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((each) => (window.shifts += each.value)))
        .observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def browsed(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a visit to the pages of a run of a browser."""
    home = tmp_path_factory.mktemp("browsed") / "home"
    recorded(home, "browsed")
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


@contextmanager
def under_way(home: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that records until its input ends."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", RECORDER, kind]
    program = warm.start(command, environment(home), stdin=pipe, stdout=pipe)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield program
    finally:
        program.kill()
        program.communicate(timeout=20)


# The room


@pytest.fixture(scope="module")
def steady(chromium: Browser, link: str) -> Iterator[Visit]:
    """Return a window that measures what moves."""
    with visiting(chromium, link) as visit:
        visit.page.add_init_script(SHIFTS)
        yield visit


def _nothing_has_moved(visit: Visit) -> None:
    visit.page.wait_for_timeout(1_000)
    assert visit.page.evaluate("window.shifts") < 0.05


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["night", "dead"])
def test_the_events_have_the_window(steady: Visit, name: str, view: str) -> None:
    """The head is one line, warnings another; four fifths of the window are for the view, and nothing else scrolls.

    What scripts add has its room before.
    """
    with used_again(steady):
        page = steady.session(name, view)
        page.locator(f"#tab-{view}[aria-selected=true]").wait_for()
        page.locator("#view > *").first.wait_for()
        head: Any = page.locator("#head").bounding_box()
        assert 40 <= head["height"] <= 48
        room: Any = page.locator("#view").bounding_box()
        assert min(800, room["y"] + room["height"]) - room["y"] >= 0.8 * 800
        if view != "figures":
            assert page.evaluate("document.documentElement.scrollHeight") == 800
        _nothing_has_moved(steady)


# Whether a list leaves room for a scroll bar, which is hidden in tests; and where cells end.
BAR = "(box => box.offsetWidth > box.clientWidth)(document.querySelector('#view .scroll'))"
ENDS = """(of) => [...document.querySelectorAll(`#view ${of} > *`)].map(
    (cell) => Math.round(cell.getBoundingClientRect().right))"""


@pytest.mark.parametrize("view", ["tree", "events"])
def test_headings_stand_over_their_figures(steady: Visit, view: str) -> None:
    """Where all rows are in sight, no room is left for a scroll bar."""
    with used_again(steady):
        page = steady.session("night", view)
        page.locator(f".{view} .row").first.wait_for()
        assert not page.evaluate(BAR)
        assert page.evaluate(ENDS, ".columns") == page.evaluate(ENDS, ".row:first-child")


def test_times_and_costs_are_whole(chromium: Browser, tmp_path: Path) -> None:
    """Columns are as wide as the longest of their texts; the name has the rest, and no column repeats it."""
    recorded(tmp_path / "home", "lasting")
    cut = "cells => cells.filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)"
    with serving(tmp_path / "home") as link, visiting(chromium, link) as visit:
        for view in ("events", "tree"):
            page = visit.session("two hours", view)
            page.locator(f".{view} .scroll").focus()
            page.keyboard.press("End")
            page.locator(".row", has_text="owl number 119").wait_for()
            assert page.evaluate(BAR)
            assert page.evaluate(ENDS, ".columns") == page.evaluate(ENDS, ".row:last-child")
            for width in (1280, 768, 390):
                visit.looks(width)
                # A row of a phone has a second line for what the event is about.
                height = 46 if width == 390 else 28
                visit.until(f"document.querySelector('.row').offsetHeight === {height}")
                row = page.locator(".row").last
                row.scroll_into_view_if_needed()
                expect(row.locator(".preview")).to_be_visible()
                assert page.locator(".row .num:visible").evaluate_all(cut) == []
                if view == "events":
                    assert row.locator(".model-of").inner_text() == ""
                    name: Any = row.locator(".what").bounding_box()
                    assert name["width"] > (100 if width == 390 else 250)
            visit.looks()
            visit.leave()


@pytest.mark.parametrize(("view", "query"), [*((view, "") for view in VIEWS), ("events", "?text=fox")])
def test_nothing_moves_on_a_phone_when_the_rest_comes(steady: Visit, view: str, query: str) -> None:
    """Space is reserved for what scripts add."""
    with used_again(steady, 390):
        steady.session("dead" if view == "tree" else "night", view, query)
        _nothing_has_moved(steady)


@pytest.mark.parametrize("width", [390, 768])
@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("/", "#summary > div:not(.soon)"),
        ("/?text=fox&since=7d", "#sessions:not(.searched) .found"),
        ("/analytics", "#tables table"),
        ("/calls", "#sums b"),
        ("/calls?kind=tool", "#sums b"),
    ],
)
def test_nothing_moves_on_the_other_pages(steady: Visit, path: str, last: str, width: int) -> None:
    """Filters and figures have their room before, also where they need several rows."""
    with used_again(steady, width):
        page = steady.open(path)
        page.locator(last).first.wait_for()
        _nothing_has_moved(steady)


def test_the_head_stays_in_sight(visit: Visit) -> None:
    """Also below an open panel, and where the figures are longer than the window."""
    page = visit.session("night", "figures")
    page.locator("#about").click()
    page.mouse.move(600, 600)
    page.mouse.wheel(0, 5_000)
    visit.until("scrollY > 100")
    head: Any = page.locator("#head").bounding_box()
    assert head["y"] == 0
    # A tablet keeps the line with the name above the tabs, a phone the line with the state.
    for width, part in ((768, "h1"), (390, "#state")):
        visit.looks(width)
        page.mouse.move(300, 600)
        page.mouse.wheel(0, 5_000)
        visit.until("scrollY > 300")
        line: Any = page.locator(part).bounding_box()
        tabs: Any = page.locator("#views").bounding_box()
        assert -1 < line["y"] < line["y"] + line["height"] <= tabs["y"] <= 36
    # Kinds are filters, and a legend, in a window of any width.
    page.locator("#tab-events").click()
    for width in (1024, 768, 390):
        visit.looks(width)
        expect(page.locator(".chip[data-kind=llm]")).to_be_visible()


# The head


def test_figures_that_are_0_are_left_out(visit: Visit) -> None:
    """Those that are there have a value; the tooltip of the cost says where it is from."""
    page = visit.session("dead")
    figures = page.locator("#totals > div")
    assert figures.locator("dt").all_inner_texts() == ["Duration", "Cost", "LLM", "tokens"]
    assert "0" not in figures.locator("dd").all_inner_texts()
    assert "priced from table" in (page.locator("[data-id=Cost]").get_attribute("title") or "")


def test_long_names_fit_the_head(visit: Visit) -> None:
    """Names and reasons are cut where there is no room; the page is never wider than the window."""
    page = visit.session(ATTACKS[0], "tree")
    for width in (1280, 768, 390):
        visit.looks(width)
        page.locator("#notices .link").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth") == width
        assert page.locator("#notices .bad").evaluate("(row) => row.scrollWidth <= row.clientWidth"), width
    # A phone has a line for the link, which has all of it.
    assert page.locator("#notices .link").first.evaluate("(link) => link.clientWidth / innerWidth") > 0.8


def test_a_title_has_room_for_what_failed(visit: Visit) -> None:
    """Beside the buttons, which leave a short name two lines more."""
    page = visit.session("night", "tree")
    page.keyboard.press("e")
    title = page.locator("#details h2:has(.failed)")
    title.evaluate("(title) => title.childNodes[2].replaceWith('web_search')")
    assert title.evaluate("(title) => title.scrollHeight <= title.clientHeight")


def test_a_link_to_a_turn_shows_it(visit: Visit) -> None:
    """Also when the turns above it grow, as what they hold is loaded."""
    page = visit.session("night", "chat")
    seq = page.locator(".turn").last.get_attribute("data-id")
    page.goto("about:blank")
    visit.session("night", "chat", event=f"?event={seq}")
    visit.until("!document.querySelector('.talk .coming, .turn.current > .body.faint')")
    bottom = "(turn) => turn.getBoundingClientRect().bottom - turn.closest('.scroll').getBoundingClientRect().bottom"
    assert page.locator(".turn.current").evaluate(bottom) < 1


def test_a_failed_turn_has_the_text_of_its_error(visit: Visit) -> None:
    """It is beside the arguments, also in a conversation of several sessions, which numbers events otherwise."""
    page = visit.session("a night in the forest", "chat")
    failed = page.locator(".turn.tool", has=page.locator(".failed"))
    expect(failed.locator(".side").last).to_have_text(re.compile("error.*LookupError: no such animal", re.DOTALL))
    visit.page.goto(visit.base + "/")
    script = """async () => {
      const { Joined } = await import("/web/joined.js");
      const none = { agents: [], agent: [-1, -1, -1], took: [], failed: [], tokens: [], order: [] };
      const run = (n, errorIn) => ({ ...none, n, errorIn });
      const both = new Joined([run(3, () => -1), run(2, (at) => at + 1)]);
      return [both.errorIn(1), both.errorIn(3)];
    }"""
    assert visit.page.evaluate(script) == [-1, 4]


def test_figures_begin_below_their_tab_on_a_phone(visit: Visit) -> None:
    """No room is kept there for a filter that figures do not have."""
    visit.looks(390)
    page = visit.session("night", "figures")
    tabs: Any = page.locator("#views").bounding_box()
    first: Any = page.locator("#view .chart").first.bounding_box()
    assert first["y"] - tabs["y"] - tabs["height"] < 30


@pytest.mark.parametrize("is_session", [True, False])
def test_values_of_a_chart_are_beside_it(visit: Visit, is_session: bool) -> None:
    """By the pointer and by keys, on both pages that have charts."""
    visit.looks()
    page = visit.session("night", "figures") if is_session else visit.open("/analytics")
    chart = page.locator(".chart:has(canvas)").first
    plot, tip = chart.locator(".plot"), chart.locator(".tip")
    chart.locator(".u-over").hover()
    for key in ("", "End"):
        if key:
            page.mouse.move(0, 0)
            plot.press(key)
        expect(tip).to_be_visible()
        inner: Any = tip.bounding_box()
        outer: Any = plot.bounding_box()
        assert outer["y"] <= inner["y"] <= inner["y"] + inner["height"] <= outer["y"] + outer["height"]
        assert outer["x"] <= inner["x"] <= inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    assert visit.unusable(".chart:has(canvas)") == []


def test_the_reason_of_a_failure_leads_to_the_whole_of_it(visit: Visit) -> None:
    """It has a line of its own; a click opens the post-mortem, where none is below a timeline."""
    page = visit.session("dead", "events")
    reason = page.locator("#notices #reason")
    expect(reason).to_have_text("End reason: process died inside tool 'fatal step'")
    # Amber, as the word Indeterminate beside it; red is for failures.
    expect(page.locator("#notices .bad")).to_have_css("background-color", "rgb(251, 241, 220)")
    reason.click()
    page.locator("#why[open] h3").first.wait_for()
    page.locator("#about").click()
    expect(page.locator("#extras")).to_be_hidden()


# Times and repeats


def test_times_are_as_exact_as_their_neighbours_need(visit: Visit) -> None:
    """After an hour as in the first second."""
    cases = [
        (0.012, 0.5, "12ms"),
        (3.21, 5, "3.2s"),
        (3.21, 0.02, "3.21s"),
        (75, 10, "1m 15s"),
        (75.25, 0.5, "1m 15.3s"),
        (4863.2, 100, "1h 21m"),
        (4863.2, 2, "1h 21m 03s"),
        (4863.2, 0.3, "1h 21m 03.2s"),
        (4863.2, 0.004, "1h 21m 03.200s"),
        (100_000, 1, "1d 03h 46m 40s"),
        (-75.25, 1, "-1m 15s"),
    ]
    code = (
        "async (all) => { const { since } = await import('/web/formats.js'); return all.map((one) => since(...one)); }"
    )
    shown = visit.open("/login").evaluate(code, [[seconds, gap] for seconds, gap, _ in cases])
    assert shown == [text for _, _, text in cases]


def test_repeats_are_marked(chromium: Browser, tmp_path: Path) -> None:
    """The first call of a loop says how many rounds there are, the others that they repeat it."""
    recorded(tmp_path / "home", "circling")
    with serving(tmp_path / "home") as link, visiting(chromium, link) as visit:
        for view in ("tree", "events"):
            page = visit.session("round and round", view)
            marks = page.locator(f".{view} .row .again")
            expect(marks.first).to_have_text("×200")
            assert set(marks.all_inner_texts()[1:]) == {"again"}, view
            assert page.locator(".pane > .bar .faint").inner_text() == "402 events", view


def test_figures_wait_for_the_events(visit: Visit) -> None:
    """The cost of a session may be shown before its events, from which the figures are calculated."""
    held: list[Route] = []
    night = next(each for each in visit.facts("sessions")["sessions"] if "night" in each["tags"])
    visit.page.route("**/timeline?*", lambda route: held.append(route))
    with visit.page.expect_response("**/why"):
        page = visit.open(f"/s/{night['session_id']}#figures")
    page.wait_for_timeout(200)
    assert page.locator("#view .chart").count() == 0
    held[0].continue_()
    page.unroute("**/timeline?*")
    expect(page.locator("#view .chart h2").first).to_have_text("Events over time")


# A run that goes on


def test_a_run_that_is_stuck_looks_stuck(chromium: Browser, tmp_path: Path) -> None:
    """The head names the open operation and its start; the row of the tool shows its duration until it ends."""
    with (
        under_way(tmp_path / "home", "stuck") as program,
        serving(tmp_path / "home") as link,
        visiting(chromium, link) as visit,
    ):
        page = visit.session("deploy", "tree")
        expect(page.locator("#reason")).to_have_text(re.compile(r"^last event \d+s ago, inside rollout status$"))
        assert page.locator("#state.quiet").count() == 0
        visit.leave()
        visit.page.add_init_script("const now = Date.now; Date.now = () => now() + 150_000;")
        page = visit.session("deploy", "events")
        # The line below the head names the operation; the name of the session has its room.
        expect(page.locator("#reason")).to_have_text(re.compile(r"^last event [23]m \d\ds ago$"))
        page.locator("h1").evaluate("name => name.textContent = 'incident 4493: checkout fails'")
        is_whole = "part => part.scrollWidth <= part.clientWidth"
        assert page.locator("h1").evaluate(is_whole)
        # A long name gives way to the pause.
        page.locator("h1").evaluate("name => name.textContent = 'checkout fails '.repeat(9)")
        # As wide as the figures of a run with calls, tokens and costs.
        page.locator("#totals").evaluate("figures => figures.style.minWidth = '420px'")
        assert page.locator("#reason").evaluate(is_whole)
        assert visit.unusable(".run") == []
        expect(page.locator("#state")).to_have_class(re.compile("quiet"))
        line = page.locator("#notices .stuck")
        expect(line).to_contain_text(
            re.compile(r"^Inside tool rollout status for [23]m \d\ds \(since [\d:]{8}\): options=.*host-0")
        )
        expect(line).to_contain_text("last event: tool check pod=api-2 → not ready")
        assert visit.unusable("#notices") == []
        # Of long arguments the beginning: on a phone, all of them would leave no room for the events.
        assert len(line.inner_text()) < 250
        # In one line, however much the last event brought: the events have four fifths of the window, here too.
        long = "line => line.querySelector('span:last-child > .preview').textContent = 'evicted '.repeat(18)"
        line.evaluate(long)
        room: Any = page.locator("#view").bounding_box()
        assert 800 - room["y"] >= 0.8 * 800
        # What it is inside is whole; both are in a narrower window, which gives each a line.
        parts = line.locator("> span")
        assert parts.first.evaluate(is_whole)
        visit.looks(1100)
        assert parts.first.evaluate(is_whole)
        assert parts.last.evaluate(is_whole)
        visit.looks()
        # The list counts what ended, too.
        assert visit.facts("sessions")["sessions"][0]["tool_calls"] == 1
        expect(page.locator("#totals [data-id=tool]")).to_have_text("tool + 1 running1")
        assert "<dt>tool + 1 running</dt><dd>1</dd>" in page.request.get(page.url).text()
        page.get_by_role("tab", name="Figures").click()
        slowest = page.locator("[data-id='Slowest calls'] tbody tr").first
        expect(slowest).to_have_text(re.compile(r"^rollout statusrunning, [23]m \d\ds$"))
        expect(page.locator("[data-id=Tools] tr", has_text="rollout")).to_contain_text("1 running0")
        [call, *_] = visit.facts("calls")["calls"]
        assert (call["tool"], call["finished"], call["running"]) == ("rollout status", False, True)
        page.get_by_role("tab", name="Events").click()
        line.get_by_role("button", name="tool check").click()
        expect(page.locator("#details")).to_contain_text("not ready")
        page.keyboard.press("Escape")
        expect(page.locator(".row .num [data-since]")).to_have_text(re.compile(r"^[23]m \d\ds$"))
        page.get_by_role("tab", name="Chat").click()
        head = page.locator(".turn > header").last
        expect(head).to_contain_text("running for")
        page.get_by_role("button", name="Details").last.click()
        details = page.locator("#details")
        expect(details).to_contain_text("running for")
        fold = details.locator("summary", has_text="host-7")
        fold.click()
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#details .key'))")
        program.communicate(timeout=20)
        expect(page.locator("#state")).to_have_text("Success")
        expect(page.locator("#totals [data-id=tools]")).to_have_text("tools2")
        expect(head).not_to_contain_text("running for")
        expect(details.locator("section", has_text="Result")).to_contain_text("rolled out")
        expect(details).not_to_contain_text("running for")
        assert fold.evaluate("fold => fold.parentElement.open")
        assert page.evaluate("getSelection().toString()") == '"options":'


def test_a_view_follows_a_run(chromium: Browser, tmp_path: Path) -> None:
    """The newest event is in sight until one scrolls back."""
    with (
        under_way(tmp_path / "home", "running") as program,
        serving(tmp_path / "home") as link,
        visiting(chromium, link) as visit,
    ):
        assert program.stdin is not None

        def step(times: int) -> None:
            for _ in range(times):
                print(file=program.stdin, flush=True)
                assert program.stdout is not None
                program.stdout.readline()

        step(40)
        box = "document.querySelector('#view .scroll')"
        at_end = "(box => box.scrollTop + box.clientHeight >= box.scrollHeight - 40)"
        for number, view in enumerate(("tree", "events", "chat"), 3):
            page = visit.session("still going", view)
            page.get_by_role("button", name="Follow").click()
            step(20)
            visit.until(f"document.querySelector('[data-id=tools] dd').textContent === '{number * 20}'")
            visit.until(f"{box}.scrollTop > 100 && {at_end}({box})")
            page.locator("#view .scroll").hover()
            page.mouse.wheel(0, -400)
            follow = page.locator("#follow")
            expect(follow).to_have_attribute("aria-pressed", "false")
            # By keys, in the view and outside of it, and by a choice of an event.
            page.locator("#view .scroll").focus()
            for key in ("PageUp", "ArrowUp", "k", "ArrowDown"):
                if view == "chat" and key == "ArrowDown":
                    continue
                page.keyboard.press("f")
                expect(follow).to_have_attribute("aria-pressed", "true")
                page.keyboard.press(key)
                expect(follow).to_have_attribute("aria-pressed", "false")
            visit.leave()


# The details


def test_the_panel_is_all_that_scrolls_in_the_details(browsed: Visit) -> None:
    """The answer is first, then what is new in the prompt; earlier messages are in a fold."""
    page = browsed.session("browsed", "tree")
    page.locator(".row", has_text="Click button 5").click()
    details = page.locator("#details")
    details.locator(".earlier").wait_for()
    assert details.locator("section > h3").all_inner_texts()[:2] == ["Completion\nCopy", "Prompt\nCopy"]
    assert "after 5 clicks" in details.inner_text()
    assert "after 4 clicks" not in details.inner_text()
    details.get_by_text("11 earlier messages: system, user, assistant").click()
    details.get_by_text("after 4 clicks").first.wait_for()
    nested = """[...document.querySelectorAll("#details *")].filter((each) =>
        /auto|scroll/.test(getComputedStyle(each).overflowY) && each.scrollHeight > each.clientHeight + 1).length"""
    assert page.evaluate(nested) == 0
    assert page.evaluate("(box => box.scrollHeight > box.clientHeight)(document.getElementById('details'))")


def test_the_details_are_as_wide_as_one_wants(browsed: Visit) -> None:
    """By the pointer and by keys; the width is that of the next visit."""
    page = browsed.session("browsed", "tree")
    page.keyboard.press("j")
    details, handle = page.locator("#details"), page.get_by_role("separator", name="Width of the details")
    widths = [page.evaluate("document.getElementById('details').clientWidth")]
    handle.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
        widths.append(page.evaluate("document.getElementById('details').clientWidth"))
    assert widths[0] < widths[1] < widths[2] > widths[3]
    box: Any = handle.bounding_box()
    page.mouse.move(box["x"] + 4, 400)
    page.mouse.down()
    page.mouse.move(500, 400, steps=4)
    page.mouse.up()
    wide: Any = details.bounding_box()
    assert abs(wide["x"] - 500) < 10
    page = browsed.session("browsed", "events", event=page.url[page.url.index("?") : page.url.index("#")])
    details.wait_for()
    kept: Any = details.bounding_box()
    assert abs(kept["width"] - wide["width"]) < 2
    expect(handle).to_have_attribute("aria-valuenow", str(round(kept["width"])))
    handle.dblclick()
    usual: Any = details.bounding_box()
    expect(handle).to_have_attribute("aria-valuenow", str(round(usual["width"])))


def test_the_details_lead_to_the_next_event_and_back(visit: Visit) -> None:
    """Its buttons keep the focus; the back button returns from a link to where it was followed."""
    page = visit.session("night", "tree")
    title = page.locator("#details h2")
    page.keyboard.press("j")
    title.wait_for()
    first = title.inner_text()
    page.get_by_role("button", name="Next event").click()
    expect(title).not_to_have_text(first)
    expect(page.get_by_role("button", name="Next event")).to_be_focused()
    page.keyboard.press("e")
    expect(title).to_contain_text("look up")
    chosen = page.url
    page.locator("#details").get_by_role("link", name="LookupError").click()
    expect(title).to_contain_text("LookupError")
    assert page.url != chosen
    page.go_back()
    expect(title).to_contain_text("look up")
    assert page.url == chosen


FOCUSED = "document.activeElement.closest('#view, #details')?.id"


def test_the_focus_is_never_lost(visit: Visit) -> None:
    """It goes to the view where the element that had it is gone: another view, another event, or none."""
    page = visit.session("night")
    page.locator("#view canvas[tabindex]").focus()
    for key, view in (("2", "tree"), ("3", "events"), ("4", "talk"), ("1", "timeline")):
        page.keyboard.press(key)
        page.locator(f"#view .{view}").first.wait_for()
        visit.until(f"{FOCUSED} === 'view'")
    visit.leave()
    page = visit.session("night", "tree")
    page.locator(".row", has_text="unicorn").click()
    details = page.locator("#details")
    details.get_by_role("button", name="Raw").press("Enter")
    expect(details.get_by_role("button", name="Readable")).to_be_focused()
    details.get_by_role("button", name="Readable").press("Enter")
    details.locator("section[data-title=Error] a").press("Enter")
    page.wait_for_url("**event=*")
    visit.until(f"{FOCUSED} === 'details'")
    # Esc closes a menu, and nothing around it; arrow keys go through it.
    menu = details.locator("summary", has_text="Copy as")
    menu.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(details.get_by_role("button", name="Text")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(details).to_be_visible()
    details.get_by_role("button", name="Close the event").press("Enter")
    expect(details).to_be_hidden()
    visit.until(f"{FOCUSED} === 'view'")


def test_an_event_is_opened_by_its_id(visit: Visit) -> None:
    """As its details show it; the page says that an unknown one is not in the session."""
    page = visit.session("night", "tree")
    page.locator(".row", has_text="unicorn").click()
    ident = page.locator("#details .id code").inner_text()
    visit.leave()
    page = visit.session("night", "tree", f"?event={ident}")
    expect(page.locator("#details h2")).to_contain_text("look up")
    expect(page.locator(".row.current")).to_contain_text("unicorn")
    assert re.search(r"event=\d+#tree$", page.url)
    visit.leave()
    page = visit.session("night", "tree", f"?event={visit.facts('sessions')['sessions'][0]['session_id']}")
    expect(page.locator("#details .problem")).to_have_text("the session does not have this event")
    # Chromium counts the answer as an error.
    visit.wrong.clear()


def test_each_step_back_undoes_one_step(visit: Visit) -> None:
    """A view, an event that was opened, another that was clicked, the filter: one at a time, from last to first."""
    page = visit.session("night")
    title = page.locator("#details h2")
    page.get_by_role("tab", name="Timeline").click()
    page.get_by_role("tab", name="Events").click()
    rows = page.locator("#view .events .row")
    rows.first.click()
    title.wait_for()
    first = title.inner_text()
    rows.nth(1).click()
    expect(title).not_to_have_text(first)
    page.go_back()
    expect(title).to_have_text(first)
    page.go_back()
    expect(title).to_be_hidden()
    tab = page.locator("[role=tab][aria-selected=true]")
    expect(tab).to_have_text("Events")
    chip = page.locator("#choose .chip[data-kind=llm]")
    chip.click()
    page.get_by_role("tab", name="Tree").click()
    chip.click()
    page.go_back()
    expect(tab).to_have_text("Events")
    expect(chip).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(tab).to_have_text("Timeline")
    expect(chip).to_have_attribute("aria-pressed", "false")
    assert "/s/" in page.url


# Pictures


def test_pictures_are_in_a_strip_and_in_the_conversation(browsed: Visit) -> None:
    """Each leads to its action; the video goes to the time of what is selected, and its time is in the timeline."""
    page = browsed.session("browsed")
    shots = page.locator(".shot")
    expect(shots).to_have_count(6)
    browsed.until("document.querySelector('.shot img').naturalWidth === 1")
    shots.nth(3).click()
    expect(page.locator("#details h2")).to_contain_text("click 3")
    expect(shots.nth(3)).to_have_class(re.compile("current"))
    browsed.until("document.querySelector('.film video').readyState >= 1")
    before = page.evaluate("document.querySelector('.timeline .scroll canvas').toDataURL()")
    page.evaluate("document.querySelector('.film video').currentTime = 0.001")
    browsed.until(f"document.querySelector('.timeline .scroll canvas').toDataURL() !== {before!r}")
    # While the video plays, too.
    film = page.locator(".film video")
    assert film.evaluate("film => film.offsetWidth") > 200
    film.evaluate("film => { film.playbackRate = 0.1; film.currentTime = 1.5; return film.play(); }")
    shots.nth(0).click()
    browsed.until("document.querySelector('.film video').currentTime < 1")
    film.evaluate("film => film.pause()")
    page = browsed.session("browsed", "chat")
    page.locator(".turn.action img").first.wait_for()
