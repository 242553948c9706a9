"""The list of sessions in the hands of someone who is new to it: heads, menus, quiet sessions, searches."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Visit


@pytest.mark.parametrize(("path", "table"), [("/", "#sessions"), ("/calls", "#calls")])
def test_the_whole_head_of_a_column_sorts(visit: Visit, path: str, table: str) -> None:
    """A click at the edge of the cell is one on its word."""
    page = visit.open(path)
    page.locator("#rows tr").first.wait_for()
    head = page.locator(f"{table} thead th", has_text="Cost")
    for order in ("descending", "ascending"):
        box: Any = head.bounding_box()
        page.mouse.click(box["x"] + 2, box["y"] + box["height"] - 3)
        expect(head).to_have_attribute("aria-sort", order)
        visit.until("!document.querySelector('.stale')")
