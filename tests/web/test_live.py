"""Pages that stay open: they show new events, the end and the death of a running session without a reload."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests import warm
from tests.web.conftest import HURRY, RECORDER, Visit, environment, serving, visiting

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""

# Keep all texts of the sign after the present one.
SIGNS = """() => {
    const sign = document.getElementById("live");
    const first = sign.textContent;
    window.signs = [];
    new MutationObserver(() => sign.textContent !== first && window.signs.push(sign.textContent))
        .observe(sign, { childList: true });
}"""


class Program:
    """A program that records: `step` adds one event, `end` ends its session, `die` does not."""

    def __init__(self, home: Path) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", RECORDER, "running"]
        self.process = warm.start(command, environment(home), stdin=pipe, stdout=pipe)
        self._hear()

    def step(self) -> None:
        """Record one tool call."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        self._hear()

    def end(self) -> None:
        """Success."""
        self.process.communicate(timeout=20)

    def die(self) -> None:
        """Kill it, as for lack of memory."""
        self.process.kill()
        self.process.communicate(timeout=20)

    def _hear(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """Start a session that runs until the test is over."""
    started = Program(tmp_path / "live")
    yield started
    started.die()


@pytest.fixture
def visit(chromium: Browser, program: Program, tmp_path: Path) -> Iterator[Visit]:
    """Return a visit to the pages of its home."""
    with serving(tmp_path / "live") as link, visiting(chromium, link) as visit:
        yield visit


def test_what_is_typed_survives_news(program: Program, visit: Visit) -> None:
    """Figures across sessions are drawn again while something records; a field that is typed in is left alone."""
    visit.listen()
    visit.page.add_init_script(HURRY)
    page = visit.open("/analytics")
    page.locator("#figures dd").first.wait_for()
    page.locator("#filters summary", has_text="More").click()
    page.locator("#filters summary", has_text="Name").click()
    page.get_by_placeholder("Find name").press_sequentially("suppo")
    before = len([url for url in visit.asked if "/api/1/analytics?" in url or url.endswith("/api/1/analytics")])
    for turn in range(600):
        if turn % 60 == 0:
            program.step()
        asked = len([url for url in visit.asked if "/api/1/analytics?" in url or url.endswith("/api/1/analytics")])
        if asked > before:
            break
        page.wait_for_timeout(50)
    assert asked > before
    page.wait_for_timeout(300)
    assert page.get_by_placeholder("Find name").input_value() == "suppo"


def test_news_of_analytics_is_drawn_where_one_looks(program: Program, visit: Visit) -> None:
    """The figures at the top at once; a table below the window is asked for when it is scrolled to."""
    visit.listen()
    program.step()
    page = visit.page
    page.set_viewport_size({"width": 1280, "height": 400})
    figure = page.locator("#figures div", has_text="Tool calls").locator("dd")
    tool = page.locator("[data-id=Tools] tbody tr")
    # The second time, all calls are in the tables beside the journal.
    for _ in range(2):
        visit.open("/analytics")
        expect(tool).to_contain_text("look up")
    expect(figure).to_have_text("1")
    program.step()
    expect(figure).to_have_text("2")
    looks = [url.partition("/api/1/")[2] for url in visit.asked]
    last = len(looks) - looks[::-1].index("analytics/speeds")
    assert [look for look in looks[last:] if "by=tool" in look] == []
    tool.scroll_into_view_if_needed()
    expect(tool.locator("td").nth(1)).to_have_text("2")


def another(visit: Visit, path: str = "/") -> Page:
    """Return one more page of the same browser."""
    page = visit.page.context.new_page()
    page.goto(visit.base + path)
    return page


def test_a_running_session_updates_by_itself(program: Program, visit: Visit) -> None:
    """A new event appears within seconds, and so does the end with its reason, in the list as on the session's page."""
    page = visit.session("still going", "events")
    assert page.locator("#state").inner_text() == "Running"
    page.get_by_text("No events yet").wait_for()
    page.locator("#about").click()
    title = page.locator("#why > summary")
    expect(title).to_have_text("How it is going")
    for _ in range(2):
        program.step()
    visit.until("document.querySelectorAll('.row').length === 2")
    listed = another(visit)
    listed.locator(".state.Running").wait_for()
    program.end()
    visit.until("document.getElementById('state').textContent === 'Success'")
    assert page.locator("#reason").inner_text() == "End reason: enough owls"
    expect(title).to_have_text("How it ended, and why")
    listed.locator(".state.Success").wait_for()


def test_a_filter_finds_what_comes(program: Program, visit: Visit) -> None:
    """New events whose content matches are shown, without a search from the beginning."""
    program.step()
    visit.listen()
    page = visit.session("still going", "chat")
    page.locator(".turn").first.wait_for()
    note = page.locator(".pane > .bar .faint")
    for word, turns in (("no such word", "0 turns"), ("OWL", "1 turn")):
        page.get_by_label("Filter events").fill(word)
        expect(note).to_have_text(turns)
    program.step()
    expect(note).to_have_text("2 turns")
    afters = [parse_qs(urlsplit(url).query)["after"] for url in visit.asked if "/matches?" in url and "OWL" in url]
    assert [after == ["0"] for after in afters] == [True, *[False] * (len(afters) - 1)]


def test_a_session_that_died_is_noticed(program: Program, visit: Visit) -> None:
    """No row tells it: the pages look again."""
    page = visit.session("still going")
    listed = another(visit)
    listed.locator(".state.Running").wait_for()
    program.die()
    page.locator("#state", has_text="Indeterminate").wait_for()
    listed.locator(".state.Indeterminate").wait_for()


def test_time_goes_by_in_a_running_session(program: Program, visit: Visit) -> None:
    """Its duration grows and the line for now moves while nothing is recorded; in the list as well."""
    program.step()
    page = visit.session("still going")
    listed = another(visit)
    listed.locator(".state.Running").wait_for()
    took = page.locator("#totals dd").first.inner_text()
    listed_took = listed.locator("td[data-col=seconds]").inner_text()
    drawn = "document.querySelector('.timeline .axis').toDataURL()"
    axis = page.evaluate(drawn)
    # Below the timeline is what is known so far.
    story = page.locator("#story")
    expect(story).to_contain_text("1 tool call, 0 actions, 0 errors.")
    expect(page.locator("#totals dd").first).not_to_have_text(took)
    expect(listed.locator("td[data-col=seconds]")).not_to_have_text(listed_took)
    visit.until(f"{drawn} !== {axis!r}")
    program.step()
    expect(story).to_contain_text("2 tool calls, 0 actions, 0 errors.")
    program.end()
    expect(story.locator("h3").first).to_have_text("How it ended")


def test_more_pages_are_open_than_a_browser_has_connections(program: Program, visit: Visit) -> None:
    """Seven live pages of one browser, each of which can still ask, and hears what is new."""
    ident = visit.facts("sessions")["sessions"][0]["session_id"]
    pages = [another(visit, path) for path in ["/"] * 4 + [f"/s/{ident}#events"] * 3]
    for page in pages:
        page.locator("#live", has_text="live").wait_for()
        assert page.evaluate("fetch('/api/1/sessions?limit=1').then(answer => answer.status)") == 200
    program.step()
    for page in pages[:4]:
        page.locator("#rows [data-col=tool_calls]", has_text="1").wait_for()
    for page in pages[4:]:
        page.locator(".row", has_text="look up").wait_for()


def test_a_page_out_of_sight_rests_and_catches_up(program: Program, visit: Visit) -> None:
    """A hidden page gets no events, and shows all of them when it is visible again."""
    page = visit.session("still going", "events")
    page.locator("#live", has_text="live").wait_for()
    # It has looked at what it heard first: that answer has no event.
    looked = "performance.getEntriesByType('resource').filter((each) => each.name.includes('/timeline?')).length"
    visit.until(f"{looked} > 1")
    page.evaluate(HIDE, True)
    program.step()
    page.wait_for_timeout(2_500)
    assert page.locator(".row").count() == 0
    page.evaluate(HIDE, False)
    page.locator(".row", has_text="look up").wait_for()


def test_a_server_that_has_gone_is_shown(chromium: Browser, program: Program, tmp_path: Path) -> None:
    """The pages stay, and show what stopped their updates."""
    with visiting(chromium, "", locale="en-GB") as visit:
        visit.page.add_init_script(HURRY)
        visit.page.add_init_script("delete window.SharedWorker")  # its streams would wait for seconds
        with serving(tmp_path / "live") as link:
            visit.base = link.partition("/#")[0]
            visit.page.goto(link)
            visit.page.locator("#live", has_text="live").wait_for()
            beside = [visit.page.context.new_page() for _ in range(2)]
            for page, path in zip(beside, ("/analytics", "/calls"), strict=True):
                page.add_init_script(HURRY)
                page.goto(visit.base + path)
                page.locator("#live", has_text="live").wait_for()
        for page in (visit.page, *beside):
            page.locator("#live", has_text="not updating: the server does not answer").wait_for()
        assert visit.page.locator("#rows tr").count() == 1
        visit.page.evaluate(SIGNS)
        with serving(tmp_path / "live"):
            visit.page.locator("#live", has_text="not updating: your login has expired").wait_for()
            # The stream is refused again and again, and each time the page looks for the cause.
            for _ in range(2):
                with visit.page.expect_response("**/api/1/live"):
                    pass
                with visit.page.expect_response("**/api/1/sessions*"):
                    pass
            assert visit.page.evaluate("[...new Set(window.signs)]") == ["not updating: your login has expired"]
            visit.leave()
        visit.wrong.clear()  # Chromium has words for a server that has gone


def test_a_server_that_hangs_is_shown(chromium: Browser, program: Program, tmp_path: Path) -> None:
    """A look without an answer, also one without news, leaves no page "live"; with the answer it is so again."""
    with serving(tmp_path / "live") as link, visiting(chromium, link, locale="en-GB") as visit:
        held: list[Route] = []  # requests that get no answer
        visit.page.clock.install()  # for all windows of its own context
        visit.page.goto(link)
        visit.page.locator("#rows tr").wait_for()
        for path, requests in (("/", "**/api/1/sessions*"), ("/analytics", "**/api/1/analytics*")):
            page = visit.open(path)
            page.locator("#live", has_text="live").wait_for()
            if path == "/analytics":
                page.locator("#tables table").first.wait_for()
            with page.expect_response(requests):  # the first look, which the stream begins with
                page.clock.fast_forward(10_000)
            held.clear()
            page.route(requests, lambda route: held.append(route))
            for _ in range(200):
                if not held:
                    page.clock.fast_forward(60_000)
                    page.wait_for_timeout(50)
            page.clock.fast_forward(10_000)
            page.locator("#live", has_text="not updating: the server does not answer").wait_for()
            page.unroute(requests)  # this lets the held requests go
            expect(page.locator("#live")).to_have_text("live")
