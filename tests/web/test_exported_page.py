"""The page that `localops export --format html` writes, in a real browser and without a server."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests import warm
from tests.web.conftest import environment, recorded
from tests.web.test_costs import BRANCHES, COSTS, SPENT


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three sessions: every cost, two agents with an error, and one that ended at its budget."""
    home = tmp_path_factory.mktemp("exported") / "home"
    for kind in ("costs", "story", "stopped"):
        recorded(home, kind)
    path = home.with_name("runs.html")
    command = [sys.executable, "-m", "localops", "export", "--all", "-o", str(path)]
    warm.run(command, env=environment(home), check=True, capture_output=True)
    return path


@pytest.fixture(params=[1280, 390])
def page(chromium: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """That page, at a width."""
    context = chromium.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(file.as_uri())
    yield page
    context.close()
    assert wrong == []


def rows(page: Page, session: str) -> list[list[str]]:
    """The name, the duration and the cost of each event of a session that can be seen."""
    section = page.locator("section", has=page.locator("h1", has_text=session))
    script = "all => all.map(row => [...row.children].slice(0, 3).map(cell => cell.textContent))"
    rows: list[list[str]] = section.locator("summary").evaluate_all(script)
    return rows


def test_costs_read_as_everywhere(page: Page) -> None:
    """Of each call and of the session, and none is cut off."""
    calls = [(name, cost) for name, _, cost in rows(page, "every cost") if not name.startswith("error")]
    named = [(name.split(" ")[0].removeprefix("llm").removeprefix("tool"), cost) for name, cost in calls]
    assert [(name.removeprefix("operation"), cost) for name, cost in named] == COSTS
    assert BRANCHES["spend"] == f"{SPENT} + ?" == page.locator(".figures b", has_text="+ ?").inner_text()
    cut = "all => all.filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.textContent)"
    assert page.locator("summary > .took").evaluate_all(cut) == []


def test_an_error_is_read_without_opening_anything(page: Page) -> None:
    """On the row of what failed, on its own, and whole below that; what a tool was given does not hide its result."""
    section = page.locator("section", has_text="a night in the forest")
    failed = section.locator("summary", has_text="look up failed: LookupError: no such animal")
    assert failed.count() == 1
    assert section.locator("summary", has_text="LookupError no such animal").count() == 1
    trace = section.locator(".fact", has_text="logs").locator("+ pre")
    assert trace.is_visible()
    assert "Traceback" in trace.inner_text()
    row = section.locator("summary", has_text=re.compile(r"look up(?! failed)"))
    row.click()
    fox = row.locator("..")
    facts = dict(zip(fox.locator(".fact").all_inner_texts(), fox.locator(".fact + pre").all_inner_texts(), strict=True))
    assert "fox" in facts["params"]
    assert "FOX" in facts["returns"]


def test_the_agents_are_named_where_they_begin(page: Page) -> None:
    """On the first row that is theirs; an agent has no row of its own."""
    names = [name for name, _, _ in rows(page, "a night in the forest")]
    assert [name for name in names if "@" in name] == ["operationscout @scout", "operationwrite @scribe"]
    assert not any(name.startswith("agent") for name in names)


def test_a_budget_and_metadata_are_shown(page: Page) -> None:
    """The page has the session's budget, that it was reached, and the program's metadata."""
    section = page.locator("section", has_text="too dear")
    assert section.locator(".figures div", has_text="Budget").inner_text().startswith("$0.0100, reached at $0.0200")
    assert "dataset: v3" in section.inner_text()
