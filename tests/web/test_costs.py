"""The cost of calls in every view of a session."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.web.conftest import Visit, recorded, serving, visiting

SPENT = "$0.000600"
# Of each event in the order of its start: its name, and its cost.  A branch has the sum of what is inside it.
COSTS = [
    ("spend", ""),
    ("gpt-4o", SPENT),
    ("model-of-my-own", "unpriced"),
    ("guess", ""),
    ("model-of-my-own", "unpriced"),
    ("refused", "unpriced"),
    ("refused", "not billed"),
    ("half-counted", "unpriced"),
    ("turned-away", "not billed"),
    ("gratis", ""),
]
BRANCHES = {"spend": f"{SPENT} + ?", "guess": "unpriced"}


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a home with two sessions that have a call of each cost."""
    home = tmp_path_factory.mktemp("costs") / "home"
    for _ in range(2):
        recorded(home, "costs")
    with serving(home) as link:
        yield link


def shown(visit: Visit, view: str, rows: str, name: str, cost: str) -> list[tuple[str, str]]:
    """Return the name and the cost of each row of a view, without errors."""
    page = visit.session("every cost", view)
    page.locator(rows).first.wait_for()
    script = """([rows, name, cost]) => [...document.querySelectorAll(rows)]
        .filter((row) => !row.querySelector(".kind.error"))
        .map((row) => [name, cost].map((part) => row.querySelector(part).textContent))"""
    return [(title.removesuffix(" failed"), text) for title, text in page.evaluate(script, [rows, name, cost])]


def fits(visit: Visit, cells: str) -> None:
    """Check that no cost is cut off."""
    script = "(cells) => [...document.querySelectorAll(cells)].filter((one) => one.scrollWidth > one.clientWidth)"
    assert visit.page.evaluate(f"(cells) => ({script})(cells).map((one) => one.textContent)", cells) == []


@pytest.mark.parametrize("visit", [(1280, "light"), (390, "light")], indirect=True)
def test_the_tree_shows_missing_prices(visit: Visit) -> None:
    """A branch has the sum of what is inside it, marked if it is incomplete."""
    wanted = [(name, BRANCHES.get(name, cost)) for name, cost in COSTS]
    assert shown(visit, "tree", ".tree .row", ".branch > span[title]", ".num:last-child") == wanted
    fits(visit, ".tree .row .num")


def test_the_table_says_what_has_no_price(visit: Visit) -> None:
    """Also of a call that was refused after it was recorded."""
    assert shown(visit, "events", ".events .row", ".what > span", ".num:last-child") == COSTS
    fits(visit, ".events .row .num")


def test_the_conversation_says_what_has_no_price(visit: Visit) -> None:
    """Beside the other facts of a turn."""
    page = visit.session("every cost", "chat")
    page.locator(".turn").first.wait_for()
    turns = page.locator(".turn.llm > header").all_inner_texts()
    assert [cost for _, cost in COSTS if cost] == [
        next(fact for fact in (SPENT, "unpriced", "not billed") if fact in turn) for turn in turns
    ]


def test_the_details_show_missing_prices(visit: Visit) -> None:
    """The details are the same as the chosen row."""
    page = visit.session("every cost", "events")
    for number, (_, cost) in enumerate(COSTS[1:3]):
        page.locator(".events .row").nth(1 + number).click()
        page.locator("#details dd", has_text=cost).wait_for()


def test_the_figures_add_up_as_the_commands_do(visit: Visit) -> None:
    """A model with a call that was not billed and one without a price has no known cost, and more."""
    page = visit.session("every cost", "figures")
    table = page.locator(".chart", has_text="Models")
    table.locator("tbody tr").first.wait_for()
    costs: Any = table.locator("tbody tr").all_inner_texts()
    by_model = {line.split("\t")[0].strip(): line.split("\t")[-1].strip() for line in costs}
    assert by_model == {
        "gpt-4o": SPENT,
        "model-of-my-own": "unpriced",
        "refused": "$0.00 + ?",
        "half-counted": "unpriced",
        "turned-away": "$0.00",
    }
    made = page.locator(".chart", has_text="Cost by model")
    expect(made.locator("tbody tr").first).to_have_text(re.compile(r"gpt-4o.*\$0\.000600 \(100%\)"))
    expect(made.locator("tbody tr", has_text="model-of-my-own")).to_contain_text("not known")
    made.get_by_role("button", name=SPENT).click()
    expect(page.locator("#details h2")).to_have_text("LLM gpt-4o")


def test_a_comparison_shows_missing_prices(visit: Visit) -> None:
    """Both sessions show it, call by call."""
    one, other = (each["session_id"] for each in visit.facts("sessions")["sessions"])
    page = visit.open(f"/compare?a={one}&b={other}")
    page.locator(".pairs tbody tr").first.wait_for()
    rows = page.locator(".pairs tbody tr:not(:has(.kind.error)):not([hidden])")
    for number in (5, 6):
        cells = rows.locator(f"td:nth-child({number})").all_inner_texts()
        assert sorted(cells) == sorted(cost for _, cost in COSTS)


@pytest.mark.parametrize("visit", [(390, "light"), (400, "light"), (1280, "light")], indirect=True)
def test_costs_fit_their_places(visit: Visit) -> None:
    """In the figures at the top, in tables of the analysis, and beside the charts."""
    page = visit.session("every cost", "tree")
    fits(visit, "#totals dd")
    page = visit.open("/analytics")
    page.locator("section", has_text="Tags").locator("tbody tr").first.wait_for()
    visit.until("document.querySelectorAll('.u-axis').length > 1")
    fits(visit, ".table-wrap")
    fits(visit, ".figures dd")
    chart = page.locator(".chart", has_text="Cost per day by model")
    widths = chart.locator(".u-axis").evaluate_all("all => all.map(axis => axis.offsetWidth)")
    # "$0.0005" in 12 pixels, and its tick.
    assert min(widths) >= 70


def test_a_difference_of_costs_is_known_only_if_both_are(visit: Visit) -> None:
    """An amount would leave out what the calls without a price cost."""
    one, other = (each["session_id"] for each in visit.facts("sessions")["sessions"])
    page = visit.open(f"/compare?a={one}&b={other}")
    row = page.locator(".sums tr", has_text="Cost")
    row.wait_for()
    assert row.locator("td").all_inner_texts() == [f"{SPENT} + ?", f"{SPENT} + ?", "?"]


def test_a_session_without_a_price_is_no_session_of_nothing(chromium: Browser, tmp_path: Path) -> None:
    """The bars of costs leave it out and name it; a bar is named by its range; tools have no costs here."""
    for kind in ("costs", "reworded", "unpriced"):
        recorded(tmp_path / "home", kind)
    with serving(tmp_path / "home") as link, visiting(chromium, link) as visit:
        cost = visit.facts("analytics/distributions")["cost"]
        assert (cost["unpriced"], sum(bar["sessions"] for bar in cost["bars"])) == (1, 4)
        page = visit.open("/analytics")
        chart = page.locator(".chart", has_text="Cost of sessions")
        expect(chart).to_contain_text("1 session unpriced")
        chart.locator(".u-over").hover()
        expect(chart.locator(".tip > div").first).to_have_text(re.compile(r"^\$0\.\d*[1-9]–\$0\.\d*[1-9]$"))
        tools = page.locator(".chart[data-id=Tools]")
        tools.locator("tr", has_text="route").wait_for()
        expect(tools.locator("thead")).not_to_contain_text("Cost")
        edges = "async ([from, to]) => (await import('/web/formats.js')).range(from, to, String)"
        assert page.evaluate(edges, [0, 10]) == "under 10"
        assert page.evaluate(edges, [10, 20]) == "10–20"
