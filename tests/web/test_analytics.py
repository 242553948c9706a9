"""The page of figures across sessions: its speeds, tables that sort, values at the pointer, and days by dragging."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from tests import made
from tests.web.conftest import Visit, serving, visiting

_DAY = 86_400_000_000_000
_TAGS = [f"tag-{number:02}" for number in range(13)]


def _session(number: int) -> list[rows.Row]:
    """Return a session of its own day and tag, with a call of a model and one of a tool."""
    at = clock.now_ns() - (len(_TAGS) - number) * _DAY
    session = clock.new_id(at)
    tags = f'["{_TAGS[number]}", "user=ann", "team=red", "tier={number % 2}"]'
    spent = {"cost": (number + 1) * 10**6, "tokens": (100, 10 * (number + 1), 25, None)}
    took = (number + 1) * 10**8
    return [
        made.event("run", "session", session, id=session, at_ns=at, tags=tags, body="{}"),
        made.event(
            "", "llm", session, at_ns=at + took, start_ns=at, model=f"model-{number % 3}", **spent,
            body='{"prompt":"x","time_to_first_token":0.5}',
        ),
        made.event("dig", "tool", session, at_ns=at + 1, start_ns=at, failed=number % 2, body="{}"),
        made.event("field", "operation", session, at_ns=at + 2, start_ns=at, failed=number == 1, body="{}"),
        made.event("Failure" if number % 4 == 0 else "Success", "end", session, at_ns=at + took, id=clock.new_id(at)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def visit(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Visit a home with thirteen days of sessions."""
    home = tmp_path_factory.mktemp("analytics")
    journal = Journal(str(home / "default"))
    journal.add([row for number in range(len(_TAGS)) for row in _session(number)])
    journal.close()
    with serving(home) as link, visiting(chromium, link) as visit:
        yield visit


def _table(page: Page, title: str) -> Locator:
    return page.locator(f".chart[data-id='{title}']")


def _column(table: Locator, number: int) -> list[str]:
    return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()


def test_figures_tables_and_days(visit: Visit) -> None:
    """The same figures as in the API; one page for all of it, as each takes a while to draw."""
    page = visit.open("/analytics")
    sums, speeds = visit.facts("analytics"), visit.facts("analytics/speeds")
    assert (sums["states"], speeds["llm"]["percentiles"]["p50"]) == ({"Failure": 4, "Success": 9}, 0.7)
    expect(page.locator("#figures")).to_contain_text("69%")
    # An operation around a call that fails is a step; calls are those of the page that the note leads to.
    assert sums["failed"] == 7
    failed = page.locator("#figures > div", has_text="Failed")
    expect(failed).to_have_text("Failed76 calls, 1 operation")
    assert visit.facts("calls/groups?failed=1")["failed"] == 6
    assert (failed.locator("a").get_attribute("href") or "").endswith("/calls?failed=1")
    expect(page.locator("#speeds dd")).to_have_text(["700ms", "500ms", "100", "25%", "<1ms"])
    # A table sorts by a click on a head, and says how much of it is shown.
    tags = _table(page, "Tags")
    expect(tags.locator(".shown")).to_contain_text("10 of 17")
    tags.get_by_role("button", name="Tag", exact=True).click()
    expect(tags.locator("[aria-sort=ascending]")).to_have_text("Tag")
    assert _column(tags, 1)[:2] == ["tag-00", "tag-01"]
    tags.get_by_role("button", name="Show all").click()
    assert _column(tags, 1) == sorted([*_TAGS, "team=red", *(f"tier={tier}" for tier in "01"), "user=ann"])
    tags.get_by_role("button", name="Cost").click()
    assert _column(tags, 1)[-1] == "tag-00"
    models = _table(page, "Models")
    models.get_by_role("button", name="p99").click()
    lines = sorted(visit.facts("analytics?by=model")["lines"], key=lambda line: -line["percentiles"]["p99"])
    assert _column(models, 1) == [line["model"] for line in lines]
    expect(_table(page, "Users").locator("tbody th")).to_have_text("ann")
    # A row leads where its link does; a click beside it, too.
    models.locator("tbody tr").first.locator("td").nth(2).click()
    page.wait_for_url("**/?model=model-*")
    page.go_back()
    page.locator(".leads").first.wait_for()
    # Metadata by a name that is chosen; sorting keeps the choice.
    metadata = _table(page, "Metadata")
    metadata.locator("select").select_option("tier")
    expect(metadata.locator("tbody th")).to_have_text(["0", "1"])
    metadata.get_by_role("button", name="tier").click()
    expect(metadata.locator("select")).to_have_value("tier")
    metadata.locator("tbody a").first.click()
    page.wait_for_url("**/?meta=tier*")
    page.go_back()
    # The values of a day stand at the pointer, and dragging across days chooses them for all of the page.
    over = _table(page, "Sessions per day").locator(".u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    tip = _table(page, "Sessions per day").locator(".tip")
    days = visit.facts("analytics/daily")["days"]
    expect(tip).to_contain_text(days[6]["day"])
    expect(tip.locator("b")).to_have_text("1")
    costs = days[6]["cost_per_session"]
    assert costs == {"sessions": 1, **dict.fromkeys(("mean_nano", "p50_nano", "p90_nano"), 7 * 10**6)}
    median = _table(page, "Median cost")
    median.locator(".u-over").hover()
    expect(median.locator(".tip b").first).to_have_text("$0.007000")
    over.hover()
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=3)
    page.mouse.up()
    page.wait_for_url("**/analytics?since=*")
    expect(page.locator(".chosen-filters .chip")).to_have_count(2)
    assert f"since={days[6]['day']}" in page.url
    expect(page.locator("#figures dd").first).to_have_text("2")


# What stands below a chart of these values, and where a click on its first button leads.
ABOVE = """async (values) => {
    const { Charts } = await import("/web/charts.js");
    let at = null;
    const plot = new Charts().plot({ title: "t", clips: true, x: values.map((_, day) => day * 86400), yText: String,
        chosen: (index) => (at = index), series: [{ label: "cost", colour: "accent", values }] });
    plot.querySelector(".above button")?.click();
    return [plot.querySelector(".above:not([hidden])")?.textContent ?? "", at];
}"""


def test_a_chart_is_one_stop_of_the_keyboard(visit: Visit) -> None:
    """Arrow keys show and speak each value, Enter leads where a click does; the next tab leaves the chart."""
    page = visit.open("/analytics")
    chart = page.locator("[data-id='Failed calls and operations per day']")
    plot = chart.get_by_role("group")
    chart.locator("canvas").wait_for()
    plot.focus()
    spoken, tip = chart.locator("[aria-live]"), chart.locator(".tip")
    page.keyboard.press("End")
    expect(spoken).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d: failed \d+$"))
    expect(tip).to_be_visible()
    last = spoken.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(spoken).not_to_have_text(last)
    page.keyboard.press("ArrowRight")
    expect(spoken).to_have_text(last)
    assert visit.unusable("#charts") == []
    page.keyboard.press("Tab")
    expect(tip).to_be_hidden()
    assert not chart.evaluate("chart => chart.contains(document.activeElement)")
    page.keyboard.press("Shift+Tab")
    expect(plot).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/analytics" not in url and last[:10] in url)
    # The way back leads to that value, once.
    page.go_back()
    expect(plot).to_be_focused()
    expect(spoken).to_have_text(last)
    expect(tip).to_be_visible()
    page.reload()
    chart.locator("canvas").wait_for()
    assert page.evaluate("document.activeElement === document.body")


def test_outliers_are_named_and_leave_the_scale_to_the_others(visit: Visit) -> None:
    """One expensive day would make all others look alike; a rise that lasts is on the scale."""
    page = visit.open("/analytics")
    usual = [3, 5, None, 4, 4, 6, 3]
    assert page.evaluate(ABOVE, [*usual, 900]) == ["Above the scale: 8 Jan 900", 7]
    assert page.evaluate(ABOVE, [*usual, 17]) == ["", None]
    assert page.evaluate(ABOVE, [*usual, 70, 80]) == ["", None]
    assert page.evaluate(ABOVE, [None, 0]) == ["", None]


# What is written below charts: of one day, and of bars with a short text for the axis.
AXES = """async () => {
    const { Charts } = await import("/web/charts.js"), { fillText } = CanvasRenderingContext2D.prototype;
    const place = document.querySelector("main"), written = [];
    CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
        written.push(text);
        fillText.call(this, text, ...at);
    };
    const drawn = async (facts) => {
        written.length = 0;
        const plot = new Charts().plot({ title: "t", yText: () => "", ...facts });
        place.replaceChildren(plot);
        await plot.querySelector("canvas") ?? await new Promise((done) => {
            new MutationObserver(() => plot.querySelector("canvas") && setTimeout(done, 100))
                .observe(plot, { childList: true, subtree: true });
        });
        return written.filter(Boolean);
    };
    const series = (values) => [{ label: "cost", colour: "series", values }];
    const texts = [await drawn({ bars: false, x: [86400 * 9], series: series([4]) }),
        await drawn({ time: false, x: [0, 1, 2], axisText: (at) => `from ${at}`, xText: () => "long",
            series: series([1, 2, 3]) })];
    CanvasRenderingContext2D.prototype.fillText = fillText;
    return texts;
}"""


def test_an_axis_of_one_day_and_of_bars_has_short_labels(visit: Visit) -> None:
    """One day is not stretched over years, and a bar says where it begins."""
    page = visit.open("/login")
    assert page.evaluate(AXES) == [["10 Jan"], ["from 0", "from 1", "from 2"]]


COLOURS = """() => Object.fromEntries(
    [...document.querySelectorAll(".chart[data-id='Cost per day by model'] .u-series")]
        .map((each) => [each.textContent.trim(), each.querySelector(".u-marker")?.style.background])
)"""
# How wide each row of charts is, how much of their boxes is empty below them, where tables begin, and how far each is
# below what stands above it; in pixels.
ROOM = """() => {
    const boxes = (which) => [...document.querySelectorAll(which)].map((each) => each.getBoundingClientRect());
    const rows = Object.values(Object.groupBy(boxes("#charts .chart:not(.inner)"), ({ top }) => Math.round(top)));
    const tables = boxes("#tables .slot:not(:empty)");
    const bottoms = (each) => [...each.querySelectorAll("canvas, .u-legend, .above")].map(
        (part) => part.getBoundingClientRect().bottom);
    const first = Math.min(...tables.map(({ top }) => top)) - 14;
    const isAbove = (box, other) => other.bottom <= box.top && other.left < box.right && other.right > box.left;
    return {
        widths: rows.map((row) => Math.round(Math.max(...row.map(({ right }) => right)) - row[0].left)),
        empty: [...document.querySelectorAll("#charts .chart:not(.inner)")].map(
            (each) => Math.round(each.getBoundingClientRect().bottom - Math.max(...bottoms(each)))),
        lefts: [...new Set(tables.map(({ left }) => Math.round(left)))],
        gaps: tables.map((box) => {
            const above = tables.filter((other) => isAbove(box, other)).map(({ bottom }) => bottom);
            return Math.round(box.top - Math.max(first, ...above));
        }),
    };
}"""


def test_a_model_keeps_its_colour(visit: Visit) -> None:
    """Where a filter hides the models before it, too."""
    seen = []
    for query in ("", "?not_model=model-0"):
        page = visit.open(f"/analytics{query}")
        _table(page, "Cost per day by model").locator(".u-label", has_text="model-1").wait_for()
        seen.append(page.evaluate(COLOURS))
    assert len(set(seen[0].values())) == 3
    assert seen[1] == {model: seen[0][model] for model in ("model-1", "model-2")}


def test_the_boxes_leave_no_holes(visit: Visit) -> None:
    """Rows of charts are as wide as the window, each chart as high as its row; tables stand close to each other."""
    page = visit.open("/analytics")
    visit.until(f"({ROOM})().gaps.length === 9")
    for width, columns in ((1280, 2), (1920, 3)):
        visit.looks(width)
        page.wait_for_timeout(300)
        room = page.evaluate(ROOM)
        assert (set(room["widths"]), len(room["lefts"])) == ({width - 28}, columns)
        assert max(room["gaps"]) <= 18
        assert max(room["empty"]) <= 18
    _table(page, "Tags").get_by_role("button", name="Show all").click()
    page.wait_for_timeout(300)
    assert max(page.evaluate(ROOM)["gaps"]) <= 18


def test_what_is_shown_is_not_moved(visit: Visit) -> None:
    """Boxes wait for those above them, whichever reply arrives first."""
    held: list[Route] = []
    visit.page.route("**/analytics/daily*", lambda route: held.append(route))
    with visit.page.expect_response("**/sessions?sort=errors*"):
        page = visit.open("/analytics")
    page.wait_for_timeout(300)
    assert (len(held), page.locator(".charts .chart").count()) == (1, 0)
    held[0].continue_()
    page.unroute("**/analytics/daily*")
    _table(page, "Sessions with most errors").wait_for()
    assert page.locator(".charts .chart:not(.inner)").count() == 16


def test_an_empty_home_has_no_figures(chromium: Browser, tmp_path: Path) -> None:
    """There are no filters to remove either; the page shows how to begin."""
    with serving(tmp_path) as link, visiting(chromium, link) as visit:
        page = visit.open("/analytics")
        expect(page.locator("#charts .empty")).to_have_text("No sessions yet: record one with localops demo.")
        for part in ("#filters", "#figures", "#speeds"):
            expect(page.locator(part)).to_be_hidden()
        page = visit.open("/analytics?tag=red")
        page.get_by_text("No session matches these filters.").wait_for()
        expect(page.locator("#filters")).to_be_visible()
