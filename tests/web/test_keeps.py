"""Pages that stay open release what they made, and leave alone what has not changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from tests import made, warm
from tests.examples import sized
from tests.web.conftest import HURRY, Visit, environment, serving, visiting
from tests.web.test_live import Program, program, visit

__all__ = ["program", "visit"]  # fixtures

RECORDER = """
import localops
localops.init(auto_start_session=False)
session = localops.start_session(["a", "b"], name="long talk")
for number in range(220):
    event = localops.LLMEvent(model="gpt-4o", prompt=f"question {number}", prompt_tokens=10, completion_tokens=5)
    event.completion = f"answer {number}"
    session.record(event)
session.end_session("Success")
session = localops.start_session(["c"], name="many steps")
for number in range(501):
    session.record(localops.ToolEvent(name="step", params={"number": number}))
session.end_session("Success")
"""
# Asks for the lines of these events, as the rows of a table do, and returns how many of them the page still has.
LINES = """
async (seqs) => {
  const { preview } = await import("/web/previews.js");
  const rows = seqs.map((seq) => document.body.appendChild(preview(seq, true)));
  while (rows.some((row) => !row.textContent)) await new Promise((done) => setTimeout(done, 20));
  return seqs.filter((seq) => preview(seq, true).textContent).length;
}
"""


@pytest.fixture(scope="module")
def talk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a visit to a home with a long conversation."""
    home = tmp_path_factory.mktemp("talk") / "home"
    warm.run([sys.executable, "-c", RECORDER], env=environment(home), check=True, timeout=120)
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


def sizes(page: Page) -> tuple[int, int]:
    """Return how many nodes and listeners the page holds, those that nothing shows any more included."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return int(metrics["Nodes"]), int(metrics["JSEventListeners"])


def refresh(visit: Visit, times: int) -> None:
    """Have Analytics draw everything again."""
    page = visit.page
    answered: list[Request] = []

    def hear(request: Request) -> None:
        answered.append(request)

    page.on("requestfinished", hear)
    for _ in range(times):
        answered.clear()
        page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
        for _ in range(1_200):
            page.wait_for_timeout(50)
            if len(answered) >= 10:  # those of one refresh
                break
        assert len(answered) >= 10
        page.wait_for_timeout(300)
    page.remove_listener("requestfinished", hear)


def test_figures_across_sessions_keep_their_size(talk: Visit) -> None:
    """Drawn again and again, the page holds what it held, and its charts are the same canvases."""
    page = talk.open("/analytics")
    talk.until("document.querySelectorAll('canvas').length >= 4")
    refresh(talk, 2)
    page.evaluate("document.querySelectorAll('canvas').forEach((each) => (each.kept = true))")
    nodes, listeners = sizes(page)
    refresh(talk, sized(4, 10))
    more_nodes, more_listeners = sizes(page)
    assert more_nodes <= nodes * 1.1
    assert more_listeners <= listeners * 1.1
    assert page.evaluate("[...document.querySelectorAll('canvas')].every((each) => each.kept)")


def test_the_focus_stays_in_a_table_that_is_drawn_again(talk: Visit) -> None:
    """A place in a table is not lost because numbers were looked up again."""
    page = talk.open("/analytics")
    link = page.get_by_role("link", name="gpt-4o")
    link.wait_for()
    link.focus()
    refresh(talk, 1)
    assert page.evaluate("document.activeElement.textContent") == "gpt-4o"


def test_turns_are_drawn_when_they_come_near(talk: Visit) -> None:
    """A conversation that is not scrolled has its first turns, however often its tab is opened."""
    page = talk.session("long talk", "chat")
    talk.until("document.querySelectorAll('.turn').length > 0")
    page.wait_for_timeout(500)
    count = page.locator(".turn").count()
    for _ in range(5):
        page.get_by_role("tab", name="Tree").click()
        page.get_by_role("tab", name="Chat").click()
        page.wait_for_timeout(200)
    assert page.locator(".turn").count() == count < 200


def test_a_conversation_is_read_to_its_end_and_back(talk: Visit) -> None:
    """Turns load while scrolling, and distant ones are removed; one that has the focus or was opened stays."""
    page = talk.session("long talk", "chat")
    first = page.locator(".turn", has_text="answer 0")
    first.wait_for()
    first.locator(".message").first.evaluate("(message) => message.append('kept')")
    first.locator(".clip + button").first.evaluate("(button) => button.click()")
    page.locator(".turn", has_text="answer 3").get_by_role("button", name="Details").focus()
    page.locator(".turn", has_text="answer 5").evaluate("(turn) => getSelection().selectAllChildren(turn)")
    selected = page.evaluate("getSelection().toString()")
    assert "answer 5" in selected
    to = "top => { const box = document.querySelector('#view .scroll'); box.scrollTop = top ?? box.scrollHeight; }"
    for place, words in ((None, "answer 219"), (0, "answer 0")):
        for _ in range(300):
            page.evaluate(to, place)
            page.wait_for_timeout(100)
            if page.get_by_text(words, exact=True).count():
                break
        assert page.locator(".turn").count() <= 122
        assert page.evaluate("getSelection().toString()") == selected
        assert page.evaluate("document.activeElement.closest('.turn').textContent.includes('answer 3')")
        page.get_by_text(words, exact=True).wait_for()
        assert page.get_by_text("kept").count() == (place == 0)
    numbers = page.locator(".turn .number").all_text_contents()
    assert numbers == [f"turn {number + 1}" for number in range(len(numbers))]


# Whether the last turns are in the window, each with its messages.
IN_SIGHT = """(() => {
    const edge = document.querySelector("#view .scroll").getBoundingClientRect();
    const near = [...document.querySelectorAll(".turn")].filter((turn) => {
        const box = turn.getBoundingClientRect();
        return box.bottom > edge.top && box.top < edge.bottom;
    });
    return near.length > 0 && near.every((turn) => !turn.querySelector(".body.faint"));
})()"""


def test_a_followed_conversation_keeps_its_size(program: Program, visit: Visit) -> None:
    """However many turns are added: those above are removed, and load again for a reader who scrolls up."""
    program.step()
    page = visit.session("running", "chat")
    page.evaluate(HURRY)
    page.locator("#follow").click()
    held = []
    for batch in range(1, 6):
        for _ in range(36):
            program.step()
        newest = f"turn {1 + 36 * batch}"
        visit.until(f"[...document.querySelectorAll('.turn .number')].at(-1)?.textContent === '{newest}'")
        visit.until(IN_SIGHT)
        held.append(sizes(page)[0])
    assert held[4] <= held[3] * 1.1
    assert page.locator(".turn").count() == 120
    expect(page.locator("#view .bar .faint")).to_have_text("181 turns, 62 to 181 loaded")
    page.mouse.move(600, 500)
    page.mouse.wheel(0, -1_000)
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.evaluate("document.querySelector('#view .scroll').scrollTop = 300")
    expect(page.locator("#view .bar .faint")).to_have_text("181 turns, 22 to 141 loaded")


def test_charts_of_a_running_session_stay(program: Program, visit: Visit) -> None:
    """New events change the bars of a chart, not the chart."""
    program.step()
    page = visit.session("running", "figures")
    page.evaluate(HURRY)
    visit.until("document.querySelectorAll('canvas').length >= 2")
    page.evaluate(
        """() => {
            window.least = 1000;
            document.querySelector("canvas").kept = true;
            const look = () => {
                window.least = Math.min(window.least, document.querySelectorAll("canvas").length);
                requestAnimationFrame(look);
            };
            look();
        }"""
    )
    for _ in range(3):
        program.step()
        page.wait_for_timeout(400)
    visit.until("document.querySelector('#totals [data-id=tools] dd').textContent === '4'")
    assert page.evaluate("window.least") >= 2
    assert page.evaluate("document.querySelector('canvas').kept")


def test_news_leave_the_rows_that_did_not_change(chromium: Browser, tmp_path: Path) -> None:
    """A row keeps its element, its focus and a selection while other sessions appear and change."""
    home = tmp_path / "live"
    warm.run([sys.executable, "-c", RECORDER], env=environment(home), check=True, timeout=120)
    with serving(home) as link, visiting(chromium, link) as visit:
        page = visit.open("/")
        row = page.locator("#rows tr", has_text="long talk")
        row.wait_for()
        page.evaluate(HURRY)
        row.locator(".title").focus()
        row.evaluate("(element) => { element.kept = true; }")
        row.get_by_role("checkbox").check()
        program = Program(home)
        try:
            page.locator("#rows tr", has_text="running").wait_for(timeout=30_000)
            program.step()
            visit.until("document.querySelector('#rows tr [data-col=tool_calls]').textContent === '1'")
        finally:
            program.die()
        assert row.evaluate("(element) => element.kept")
        assert row.get_by_role("checkbox").is_checked()
        row.locator(".title").focus()
        assert page.locator("#rows tr").count() == 3


def _sessions(numbers: range) -> list[rows.Row]:
    """Return the rows of short sessions."""
    made_rows = []
    for number in numbers:
        ident, at = clock.new_id(clock.now_ns()), clock.now_ns()
        made_rows += [
            made.event(f"run {number}", "session", ident, id=ident, at_ns=at, tags='["a", "b"]', body="{}"),
            made.event("dig", "tool", ident, at_ns=at, start_ns=at, body="{}"),
            made.event("Success", "end", ident, at_ns=at, id=clock.new_id(at)),
        ]
    return made_rows


def test_a_list_keeps_its_size_beside_a_recorder(chromium: Browser, tmp_path: Path) -> None:
    """At its top it has the rows of one page, however many sessions are added: the oldest are removed."""
    home = tmp_path / "home"
    journal = Journal(str(home / "default"))
    journal.add(_sessions(range(60)))
    with serving(home) as link, visiting(chromium, link) as visit:
        visit.page.add_init_script(HURRY)
        page = visit.open("/")
        held = []
        for newest in (65, 70, 75):
            journal.add(_sessions(range(newest - 5, newest)))
            page.locator("#rows tr").first.get_by_text(f"run {newest - 1}", exact=True).wait_for()
            page.wait_for_timeout(500)  # until figures, facets and marks are there
            held.append(sizes(page)[0])
            assert page.locator("#rows tr").count() == 50
        assert held[-1] <= held[0] * 1.05
    journal.close()


def test_lines_of_events_long_gone_by_are_given_up(talk: Visit) -> None:
    """A page that follows a run has seen all its events, and keeps the lines of the newest."""
    page = talk.session("many steps", "events")
    ident = page.url.rpartition("/")[2].partition("#")[0]
    seqs = talk.facts(f"sessions/{ident}/timeline?limit=600")["seq"]
    assert (len(seqs), page.evaluate(LINES, seqs)) == (501, 500)
