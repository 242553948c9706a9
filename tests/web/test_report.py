"""The report that `localops export --format html` writes, in a real browser and from a file, without a server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import warm
from tests.web.conftest import Visit, environment, recorded, serving, visiting
from tests.web.recorder import ATTACKS
from tests.web.test_session_page import under_way

KINDS = ("costs", "story", "stopped", "browsed", "dead", "hostile")
VIEWS = ("timeline", "tree", "events", "chat", "figures")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a session of each kind."""
    home = tmp_path_factory.mktemp("reported") / "home"
    for kind in KINDS:
        recorded(home, kind)
    return home


def export(home: Path, name: str, *arguments: str) -> Path:
    """Write a report beside a home."""
    path = home.with_name(name)
    command = [sys.executable, "-m", "localops", "export", *arguments, "--format", "html", "-o", str(path)]
    warm.run(command, env=environment(home), check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def file(home: Path) -> Path:
    """Return the report of all these sessions."""
    return export(home, "runs.html", "--all")


@contextmanager
def opened(
    chromium: Browser, path: Path, width: int = 1280, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """Open a report; afterwards, no script failed, the policy reported nothing, and only the file was asked for."""
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.set_default_timeout(30_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda asked: wrong.append(asked.url) if not _is_own(asked.url, path) else None)
    page.goto(path.as_uri())
    yield page
    assert page.evaluate("window.hurt") is None
    context.close()
    assert wrong == []


def _is_own(url: str, path: Path) -> bool:
    return url.split("?")[0].split("#")[0] == path.as_uri() or url.startswith(("data:", "blob:"))


@pytest.fixture
def page(chromium: Browser, file: Path) -> Iterator[Page]:
    """Return the open report of all sessions."""
    with opened(chromium, file) as page:
        yield page


def show(page: Page, name: str, view: str = "tree") -> None:
    """Go from the list to a session, and to one of its views."""
    page.get_by_role("link", name=name, exact=True).click()
    settle(page)
    page.locator(f"#tab-{view}").click()
    page.locator("#view > *").first.wait_for()


def settle(page: Page) -> None:
    """Wait until the events of a session are there."""
    page.wait_for_selector("#view > *", state="attached")
    assert page.evaluate("performance.getEntriesByName('localops-whole').length") == 1


TEXTS = """() => [...document.querySelectorAll("#totals, #notices, #view, #hidden-events")]
    .map((each) => each.innerText)"""


def texts(page: Page) -> list[str]:
    """Return the texts of a session's page, once it has loaded completely."""
    before: list[str] = []
    for _ in range(100):
        now: list[str] = page.evaluate(TEXTS)
        if now == before and page.locator(".turn .body.faint:visible, .coming").count() == 0:
            return now
        before = now
        page.wait_for_timeout(200)
    raise AssertionError("the page never comes to rest")


PICTURES = "[...document.querySelectorAll('#view canvas')].map((each) => each.toDataURL())"


def wait_for_alike(page: Page, other: Page) -> None:
    """Wait until what two pages have drawn is the same, to the pixel."""
    for _ in range(50):
        if page.evaluate(PICTURES) == other.evaluate(PICTURES):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"other pictures at {page.url}")


def wait_for_same_texts(page: Page, other: Page) -> None:
    """Wait until two pages have the same texts: some load late, without a change in between."""
    for _ in range(20):
        here, elsewhere = texts(page), texts(other)
        if here == elsewhere:
            return
    assert here == elsewhere


def test_it_says_what_the_pages_say(chromium: Browser, home: Path, page: Page) -> None:
    """Figures, rows, conversations and reasons, to the letter; also of a run that was killed."""
    with serving(home) as link, visiting(chromium, link) as visit:
        for name in ("every cost", "a night in the forest", "cut short"):
            show(page, name)
            visit.session(name, "tree")
            for view in VIEWS:
                for each in (page, visit.page):
                    each.locator(f"#tab-{view}").click()
                wait_for_same_texts(page, visit.page)
                wait_for_alike(page, visit.page)
            page.locator(".brand").click()
        # Searches of content, too: by the beginnings of words, and by words side by side.
        show(page, "a night in the forest", "events")
        visit.session("a night in the forest", "events")
        for text, few in (("unicor", True), ('"no such animal"', True), ("dusk", True), ("nicorn", False)):
            for each in (page, visit.page):
                each.locator("#choose input").fill(text)
                expect(each.locator("#hidden-events")).to_contain_text("of " if few else "all ")
            wait_for_same_texts(page, visit.page)


def test_its_list_leads_to_each_session_and_back(page: Page) -> None:
    """Each has its address; a choice in it stays in the address, too."""
    rows = page.locator("#rows tr")
    assert rows.count() == len(KINDS)
    assert page.locator("#rows tr", has_text="every cost").locator("td.num").last.inner_text().endswith("+ ?")
    show(page, "a night in the forest", "events")
    expect(page).to_have_title("a night in the forest · localops")
    page.locator("#view .row", has_text="look up").first.click()
    page.locator("#details h2", has_text="look up").wait_for()
    assert "session=" in page.url
    assert "event=" in page.url
    page.reload()
    settle(page)
    page.locator("#details h2", has_text="look up").wait_for()
    assert page.locator("#details").get_by_role("button", name="Raw").count() == 0
    page.locator(".brand").click()
    expect(rows).to_have_count(len(KINDS))


def test_it_has_the_pictures_and_the_film(page: Page) -> None:
    """They are in the file, each once: in the strip, in the details and in the conversation."""
    show(page, "browsed", "timeline")
    drawn = "(all) => all.every((each) => each.complete && each.naturalWidth === 1)"
    expect(page.locator(".strip img")).to_have_count(6)
    page.locator(".strip .shot").first.click()
    page.locator("#details img").wait_for()
    assert page.locator(".strip img").evaluate_all(drawn)
    assert page.locator("#details img").evaluate_all(drawn)
    page.wait_for_function("document.querySelector('.film video').readyState > 0")
    page.locator("#tab-chat").click()
    page.locator(".turn img").first.wait_for()
    assert page.evaluate("document.querySelectorAll('script[data-blob]').length") == 2


def test_attacks_stay_text(page: Page) -> None:
    """In every view, in the details of every event, and in what is folded."""
    show(page, ATTACKS[0], "tree")
    rows = page.locator("#view .row").count()
    assert rows > len(ATTACKS)
    for number in range(0, rows, 3):
        page.locator("#view .row").nth(number).locator(".num").first.click()
        page.locator("#details h3").first.wait_for()
    for view in VIEWS:
        page.locator(f"#tab-{view}").click()
        page.wait_for_timeout(300)
    page.locator("#about").click()
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.wait_for_timeout(200)
    assert ATTACKS[2] in page.locator("#notices").inner_text()


def test_a_running_session_is_as_it_was(chromium: Browser, home: Path) -> None:
    """The report says when it was written, and its durations do not grow."""
    alone = home.with_name("running") / "home"
    with under_way(alone, "stuck"):
        path = export(alone, "running.html", "last")
    with opened(chromium, path) as page:
        settle(page)
        expect(page.locator("#written")).to_contain_text("Report, as of 20")
        expect(page.locator("#reason")).to_contain_text("inside rollout status")
        before = page.locator("#head").inner_text()
        page.wait_for_timeout(1_200)
        assert page.locator("#head").inner_text() == before
        assert page.locator("#live, #follow, .menu").locator("visible=true").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_used_by_everybody(chromium: Browser, file: Path, scheme: Literal["light", "dark"]) -> None:
    """axe reports no violation in the list and in every view, and nothing is wider than the page."""
    with opened(chromium, file, 1280 if scheme == "light" else 390, scheme) as page:
        visit = Visit(page, "")
        problems = {"list": visit.unusable()}
        show(page, "cut short")
        for view in VIEWS:
            page.locator(f"#tab-{view}").click()
            page.locator("#view > *").first.wait_for()
            problems[view] = visit.unusable()
    assert not any(problems.values()), problems


def test_a_phone_shows_the_whole_name_and_a_short_timeline_is_short(chromium: Browser, file: Path) -> None:
    """The name takes as many lines as it needs; the pane of a few lines ends below them."""
    with opened(chromium, file, 390) as page:
        page.locator("#rows a", has_text="a night in the forest").click()
        page.locator(".timeline canvas").first.wait_for()
        page.evaluate("document.querySelector('#head h1').textContent += ' where a fox and a badger met at dusk'")
        fits = "name => name.scrollWidth <= name.clientWidth && name.scrollHeight <= name.clientHeight + 1"
        assert page.locator("#head h1").evaluate(fits)
        lines = page.locator(".timeline .scroll").bounding_box()
        pane = page.locator(".timeline").bounding_box()
        assert lines
        assert pane
        assert pane["y"] + pane["height"] - lines["y"] - lines["height"] <= 2
        assert pane["height"] < 300
