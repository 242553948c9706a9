"""The timeline with wheel, mouse and fingers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.web.conftest import Visit, visiting

# Points of the screen at which the page says that it is this bar, the first there is.
FIND = """name => {
    const canvas = document.querySelector(".timeline .scroll canvas"), tip = document.querySelector(".tip");
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const shown = (x, y) => {
        canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, pointerId: 99 }));
        return tip.hidden ? "" : tip.textContent;
    };
    for (let y = top + 4; y < top + height; y += 6) {
        const row = Array.from({ length: Math.floor(width / 2) }, (_, i) => [left + 2 * i, shown(left + 2 * i, y)]);
        const first = row.find(([, words]) => words.startsWith(name));
        if (first) return row.filter(([, words]) => words === first[1]).map(([x]) => [x, y]);
    }
    return [];
}"""


class Hand:
    """The bars of the timeline, and fingers to move it."""

    def __init__(self, visit: Visit) -> None:
        self.page = visit.session("night")
        self.canvas = self.page.locator(".timeline .scroll canvas")
        self.box: Any = self.canvas.bounding_box()
        self._screen: Any = self.page.context.new_cdp_session(self.page)

    def bar(self, name: str) -> tuple[float, float, float]:
        """Return the place of the bar of that name on the screen: (left, right, y)."""
        self.settle()
        points = self.page.evaluate(FIND, name)
        assert points, f"there is no bar {name}"
        xs = [x for x, _ in points]
        return min(xs), max(xs), points[0][1]

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        """Fingers on the screen."""
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._screen.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": touches})

    def comes_to(self, name: str, right: float) -> None:
        """Wait until a bar ends there: a browser under load handles the wheel later."""
        for _ in range(100):
            if abs(self.bar(name)[1] - right) <= 8:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"the bar {name} ends at {self.bar(name)[1]}, and not at {right}")

    def grown(self, name: str, width: float) -> tuple[float, float]:
        """Wait until a bar is wider than that, and return where it ends, and at which height."""
        for _ in range(100):
            left, right, y = self.bar(name)
            if right - left > width:
                return right, y
            self.page.wait_for_timeout(50)
        raise AssertionError(f"the bar {name} did not grow beyond {width}")

    def settle(self) -> None:
        """Let a frame be drawn."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def hand(chromium: Browser, link: str, known: Any) -> Iterator[Hand]:
    """Return a hand on the timeline of a session."""
    with visiting(chromium, link, has_touch=True, storage_state=known) as visit:
        yield Hand(visit)


def test_the_wheel_zooms_where_the_pointer_is(hand: Hand) -> None:
    """With Ctrl; what is under the pointer stays there, and its bar grows."""
    left, right, y = hand.bar("look up")
    x = (left + right) / 2
    hand.page.mouse.move(x, y)
    hand.page.keyboard.down("Control")
    hand.page.mouse.wheel(0, -60)
    hand.page.wait_for_timeout(500)  # the key is up only when the wheel was handled
    hand.page.keyboard.up("Control")
    wide_left, wide_right, _ = hand.bar("look up")
    assert wide_left < x < wide_right
    assert wide_right - x > 1.5 * (right - x)


def test_a_drag_and_a_sideways_wheel_move_it(hand: Hand) -> None:
    """The bars under the hand move with it."""
    left, right, _ = hand.bar("look up")
    hand.page.keyboard.press("+")
    right, y = hand.grown("look up", right - left)
    edge = min(right, hand.box["x"] + hand.box["width"] - 200)
    hand.page.mouse.move(edge - 20, y)
    hand.page.mouse.down()
    hand.page.mouse.move(edge - 140, y, steps=4)
    hand.page.mouse.up()
    hand.comes_to("look up", right - 120)
    hand.page.mouse.wheel(-120, 0)
    hand.comes_to("look up", right)


def test_one_finger_moves_it_and_two_zoom(hand: Hand) -> None:
    """Fingers that part make it larger, around the middle between them."""
    left, right, y = hand.bar("look up")
    middle = (left + right) / 2
    hand.touch("Start", (middle - 20, y), (middle + 20, y))
    for step in range(1, 11):
        hand.touch("Move", (middle - 20 - 3 * step, y), (middle + 20 + 3 * step, y))
    hand.touch("End")
    _, wide_right, _ = hand.bar("look up")
    assert wide_right - middle > 1.5 * (right - middle)
    hand.touch("Start", (wide_right - 20, y))
    for step in range(1, 6):
        hand.touch("Move", (wide_right - 20 - 20 * step, y))
    hand.touch("End")
    hand.comes_to("look up", wide_right - 100)
