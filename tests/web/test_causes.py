"""Where a failure began: the pages tell it from what only holds it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests import warm
from tests.web.conftest import Visit, environment, serving, visiting

RECORDER = """
import os
from contextlib import suppress
import localops
from localops import clock
from localops.decorators import operation, tool
from localops.journal import rows

localops.init(auto_start_session=False)
session = localops.start_session([], name="crash")

@tool
def fetch(url):
    raise ConnectionError("no route to host")

@operation
def inner():
    fetch("a")

@operation
def outer():
    inner()

for _ in range(2):
    try:
        outer()
    except ConnectionError:
        pass
session.end_session("Failure")

dies = True

@tool(once=True, idempotent=True)
def pay(order):
    if dies:
        os._exit(9)

child = os.fork()
if child == 0:
    localops.start_session([], name="resumed")
    pay("a")
os.waitpid(child, 0)
dies = False
with localops.resume("last"):
    pay("a")

with localops.start_session([], name="repaired") as session:
    body = '{"damaged":3}'
    loss = rows.make("loss", session.recorder.session, id=clock.new_id(), at_ns=clock.now_ns(), body=body)
    session.recorder.journal.add([loss])

with suppress(RuntimeError), localops.start_session([], name="chained"):
    try:
        int("x")
    except ValueError as error:
        raise RuntimeError("setup failed") from error
"""


@pytest.fixture
def visit(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a visit to a run whose tool failed inside two operations, twice."""
    home = tmp_path_factory.mktemp("causes") / "home"
    warm.run([sys.executable, "-c", RECORDER], env=environment(home), check=True, timeout=60)
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


def test_the_key_for_failures_goes_to_the_causes(visit: Visit) -> None:
    """Operations around a failed call are passed over."""
    page = visit.session("crash", "tree")
    seqs = []
    for _ in range(3):
        page.keyboard.press("e")
        page.locator("#details h2", has_text="fetch").wait_for()
        seqs.append(page.url.partition("event=")[2].partition("#")[0])
    assert seqs[0] == seqs[2] != seqs[1]
    assert page.locator(".row", has_text="outer").first.inner_text().count("failed inside") == 1
    assert page.locator(".lane i.bad").count() == 2


def test_the_head_leads_to_the_post_mortem_and_to_errors(visit: Visit) -> None:
    """To the card that is there, and not to a second one above it; in another view to that of the panel."""
    page = visit.session("crash", "timeline")
    page.locator("#story h3").first.wait_for()
    page.locator("#reason").click()
    expect(page.locator("#story")).to_be_focused()
    expect(page.locator("#extras")).to_be_hidden()
    page.locator("#totals button", has_text=re.compile("^[0-9]+$")).click()
    expect(page.locator("#details h2")).to_contain_text("fetch")
    page.locator("#tab-tree").click()
    page.locator("#reason").click()
    expect(page.locator("#why")).to_have_attribute("open", "")


def test_all_pages_have_the_same_margins(visit: Visit) -> None:
    """Nothing in the head moves from one page to another, at any width."""
    edges: dict[int, set[str]] = {390: set(), 1280: set(), 1920: set()}
    for path in ("/", "/calls", "/analytics", "/compare", "session"):
        page = visit.session("crash") if path == "session" else visit.open(path)
        for width, seen in edges.items():
            visit.looks(width)
            seen.add(
                page.evaluate("""() => { const { height } = document.querySelector(".top").getBoundingClientRect();
                    const main = document.getElementById("main"), { paddingLeft } = getComputedStyle(main);
                    const { x } = document.querySelector(".brand").getBoundingClientRect();
                    return [height, x, main.getBoundingClientRect().x, paddingLeft].join(); }""")
            )
    assert [len(seen) for seen in edges.values()] == [1, 1, 1], edges


def test_names_in_a_narrow_tree_have_the_room_of_missing_costs(visit: Visit) -> None:
    """Two thirds of a phone, and none of these is cut."""
    visit.looks(390)
    page = visit.session("crash", "tree")
    rooms = page.locator(".tree .row .branch").evaluate_all("all => all.map(each => each.clientWidth)")
    assert min(rooms) > 240
    cut = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
    assert page.locator(".tree .row .branch > span").evaluate_all(cut) == []


def test_an_operation_names_the_failure_inside_it(visit: Visit) -> None:
    """However deep that is, with its message, and a link to it."""
    page = visit.session("crash", "tree")
    page.locator(".row", has_text="outer").first.click()
    page.locator("#details").get_by_text("no route to host").first.wait_for()
    page.locator("#details").get_by_role("link").first.click()
    page.locator("#details h2", has_text="fetch").wait_for()


def test_the_reason_of_an_end_begins_with_its_cause(visit: Visit) -> None:
    """The exception from which the others were raised is shown first, even before the page's script has run."""
    page = visit.session("chained", "tree")
    cause, led_to = "ValueError: invalid literal for int() with base 10: ", " — led to RuntimeError: setup failed"
    expect(page.locator("#reason")).to_have_text(f"First error: {cause}'x'{led_to}")
    sent = page.request.get(page.url).text()
    assert f'{cause}&#x27;x&#x27;<span class="label">{led_to}' in sent


def test_the_list_has_the_line_of_a_traceback_that_says_most(visit: Visit) -> None:
    """The same line as on the page of the session, on the way to the first script too; all of it when pointed at."""
    page = visit.open("/")
    reason = "ValueError: invalid literal for int() with base 10: "
    because = page.locator("#rows tr", has_text="chained").locator(".because")
    expect(because).to_have_text(f"{reason}'x' — led to RuntimeError: setup failed")
    assert "Traceback" in str(because.get_attribute("title"))
    assert f'<div class="because">{reason}' in page.request.get(page.url).text()


def test_the_outcome_of_a_step_is_shown_where_it_did_not_finish(visit: Visit) -> None:
    """That a process died in it is no alarm once it ran again; its name links to that run."""
    page = visit.session("resumed", "tree")
    notice = r"1 operation did not finish\. Process \d+ died inside tool pay; it ran again when resumed, and is done\."
    expect(page.locator("#notices")).to_have_text(re.compile(rf"^\s*{notice}\s*$"))
    page.locator("#notices").get_by_role("button", name="tool pay").click()
    page.locator("#details h2", has_text="pay").wait_for()


def test_the_reason_why_rows_are_missing_is_in_the_head(visit: Visit) -> None:
    """It is the one that a resume gives."""
    page = visit.session("repaired", "tree")
    expect(page.locator("#notices")).to_have_text(re.compile(r"Some of its rows may be lost: a journal was damaged.*"))
