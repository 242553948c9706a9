"""The timeline with wheel, mouse and fingers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from localops import clock
from localops.journal import rows
from localops.journal.journal import Journal
from tests import made
from tests.web.conftest import Visit, serving, used_again, visiting

KINDS = ("llm", "tool", "agent", "action", "error", "other")

# Points of the screen at which the page says that it is this bar, the first there is.
# Most lines have none, so they are looked at in long steps first.
FIND = """name => {
    const canvas = document.querySelector(".timeline .scroll canvas"), tip = document.querySelector(".tip");
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const shown = (x, y) => {
        canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, pointerId: 99 }));
        return tip.hidden ? "" : tip.textContent;
    };
    const line = (y, step) =>
        Array.from({ length: Math.floor(width / step) }, (_, i) => [left + step * i, shown(left + step * i, y)]);
    const isBar = ([, words]) => words.startsWith(name);
    for (const step of [20, 2]) {
        for (let y = top + 4; y < top + height; y += 6) {
            if (!line(y, step).some(isBar)) continue;
            const row = line(y, 2);
            const first = row.find(isBar);
            return row.filter(([, words]) => words === first[1]).map(([x]) => [x, y]);
        }
    }
    return [];
}"""


# Of points every half pixel around a place: the name of the bar there, and the kind whose colour is nearest to its own.
BESIDE = """async ([x, y]) => {
    const canvas = document.querySelector(".timeline .scroll canvas"), tip = document.querySelector(".timeline > .tip");
    const { left, top } = canvas.getBoundingClientRect(), ratio = canvas.width / canvas.clientWidth;
    const { colour } = await import("/web/base.js");
    const colours = ["action", "tool", "card"].map((kind) => [kind, colour(kind).match(/\\d+/g).map(Number)]);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const begin = Math.floor((x - left - 6) * ratio), row = Math.floor((y - top) * ratio);
    const { data } = canvas.getContext("2d").getImageData(begin, row, Math.ceil(14 * ratio), 1);
    const kindAt = (at) => {
        const place = 4 * (Math.floor((at - left) * ratio) - begin);
        const far = ([, parts]) => parts.reduce((sum, part, i) => sum + (part - data[place + i]) ** 2, 0);
        return colours.toSorted((a, b) => far(a) - far(b))[0][0];
    };
    return Array.from({ length: 25 }, (_, i) => x - 6 + i / 2).map((at) => {
        canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: at, clientY: y, pointerId: 99 }));
        return [tip.hidden ? "" : tip.querySelector("strong").textContent, kindAt(at)];
    });
}"""


def _night() -> list[rows.Row]:
    """Return a session of ten seconds, of two agents and with one failure.

    Its times are given, not measured: each bar stands at the same place, however busy the machine is.
    """
    begin = clock.now_ns() - 3_600 * 10**9
    night = clock.new_id(begin)

    def event(name: str, kind: str, start: float, end: float, **columns: Any) -> rows.Row:
        at, began = (begin + round(second * 10**9) for second in (end, start))
        return made.event(name, kind, night, **{"id": clock.new_id(at), "at_ns": at, "start_ns": began, **columns})

    scout, scribe, looking, writing, failed = (clock.new_id(begin) for _ in range(5))
    first, second = {"agent": scout, "parent": looking}, {"agent": scribe, "parent": writing}
    return [
        event("night", "session", 0, 0, id=night, body="{}"),
        event("scout", "agent", 0, 0, id=scout),
        event("", "llm", 0.4, 3, model="gpt-4o", **first),
        event("glance", "action", 3.7999, 3.79999, **first),
        event("look up", "tool", 3.8, 4.8, **first),
        event("look up", "tool", 5, 6, id=failed, failed=1, **first),
        event("LookupError", "error", 6, 6, agent=scout, parent=failed),
        event("shrug", "action", 6.2, 6.8, **first),
        event("scout", "operation", 0.2, 7, id=looking, agent=scout),
        event("scribe", "agent", 7.2, 7.2, id=scribe),
        event("start", "action", 7.4, 7.4, **second),
        event("draft", "llm", 7.4, 9.6, model="gpt-4o", **second),
        event("write", "operation", 7.2, 9.8, id=writing, agent=scribe),
        event("Success", "end", 10, 10),
    ]


def _workers() -> list[rows.Row]:
    """Return a session of two processes: many short events of three kinds in turn, an idle hour, and a last event."""
    begin = clock.now_ns() - 7_200 * 10**9
    workers, task, *others = (clock.new_id(begin) for _ in range(4))

    def event(name: str, kind: str, at_ms: int, **columns: Any) -> rows.Row:
        at = begin + at_ms * 10**6
        return made.event(name, kind, workers, **{"id": clock.new_id(at), "at_ns": at, "start_ns": at, **columns})

    processes = [
        {"parent": id, "body": json.dumps({"participant": id.hex(), "pid": pid, "host": "farm"})}
        for pid, id in zip((17, 18), others, strict=True)
    ]
    kinds = ("tool", "llm", "action")
    return [
        event("workers", "session", 0, id=workers, **processes[0]),
        event("", "join", 1, **processes[1]),
        event("fetch", "operation", 1, id=task, phase=1, body=processes[1]["body"]),
        event("part", "action", 1, parent=task),
        event("fetch", "operation", 2, id=task),
        *(event(kinds[at % 3], kinds[at % 3], at) for at in range(2, 9_000)),
        event("report", "action", 3_609_000, start_ns=begin + 3_608_000 * 10**6),
        event("Success", "end", 3_610_000),
    ]


class Hand:
    """The bars of the timeline, and fingers to move it."""

    def __init__(self, visit: Visit, page: Page | None = None) -> None:
        self.page = page or visit.session("night")
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


@pytest.fixture(scope="module")
def touched(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Return a window that can be touched, for a home with that session."""
    home = tmp_path_factory.mktemp("timeline")
    journal = Journal(str(home / "default"))
    journal.add(_night())
    journal.add(_workers())
    journal.close()
    with serving(home) as link, visiting(chromium, link, has_touch=True) as visit:
        visit.page.goto(link)
        # Then it has its cookie.
        visit.page.wait_for_selector("#sessions", state="attached")
        yield visit


@pytest.fixture
def hand(touched: Visit) -> Iterator[Hand]:
    """Return a hand on the timeline of a session."""
    with used_again(touched):
        yield Hand(touched)


def test_the_wheel_zooms_where_the_pointer_is(hand: Hand) -> None:
    """With Ctrl; what is under the pointer stays there, and its bar grows."""
    left, right, y = hand.bar("look up")
    x = (left + right) / 2
    hand.page.mouse.move(x, y)
    hand.page.keyboard.down("Control")
    hand.page.mouse.wheel(0, -60)
    hand.grown("look up", 1.5 * (right - left))  # the key is up only when the wheel was handled
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
    # The page takes four pixels on each side for the bar, which do not grow.
    wide_right = middle + 2.5 * (right - 4 - middle) + 4
    hand.comes_to("look up", wide_right)
    hand.touch("Start", (wide_right - 20, y))
    for step in range(1, 6):
        hand.touch("Move", (wide_right - 20 - 20 * step, y))
    hand.touch("End")
    hand.comes_to("look up", wide_right - 100)


def test_keys_go_from_bar_to_bar(hand: Hand) -> None:
    """Along a line and from line to line; what they stand on is read aloud, and Enter opens it."""
    page = hand.page
    hand.canvas.focus()
    spoken = page.locator(".timeline [role=status]")
    texts = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "ArrowUp", "Home"):
        page.keyboard.press(key)
        texts.append(spoken.text_content() or "")
    assert len(set(texts)) >= 3
    assert all(" at " in each for each in texts)
    page.keyboard.press("Enter")
    page.locator("#details h2", has_text=texts[-1].partition(",")[0]).wait_for()


def test_the_timeline_is_described_in_words(hand: Hand) -> None:
    """How many events there are, how long the session is, what failed."""
    words = hand.page.locator("#timeline-words").text_content() or ""
    assert int(words.partition(" ")[0]) > 5
    assert "1 failure: look up at " in words
    # It is as long as the session, which goes on after its last event.
    assert f"{hand.page.locator('#totals dd').first.inner_text()} long." in words
    assert hand.canvas.get_attribute("aria-describedby") == "timeline-words"


def test_a_run_that_was_killed_is_as_long_as_its_record(visit: Visit) -> None:
    """In words as at the head; the room for what it was in is drawn, but not counted."""
    page = visit.session("cut short")
    took = page.locator("#totals dd").first.inner_text()
    assert took.startswith("at least ")
    assert f"{took} long." in (page.locator("#timeline-words").text_content() or "")


def test_a_process_that_died_ends_with_the_last_row_of_its_run(visit: Visit) -> None:
    """Of a resumed run, not where another process ended it; a running one has no end yet."""
    script = """async (until) => (await import("/web/lanes.js")).processes(
        [{ began: "2026-11-24T10:24:00Z", last: null }, { began: "2026-11-24T11:06:00Z", last: null }],
        { t0: Date.parse("2026-11-24T10:24:00Z"), pauses: [[8e6, 2520e6]] }, until,
    ).map((each) => [each.start, each.end, each.isOpen])"""
    visit.open("/")
    assert visit.page.evaluate(script, 2527e6) == [[0, 8e6, True], [2520e6, 2527e6, True]]
    assert visit.page.evaluate(script, None)[1] == [2520e6, None, True]


def test_bars_have_their_names_beside_them(hand: Hand) -> None:
    """The gutter changes with the order; nothing under the pointer there is a bar."""
    page = hand.page
    for by in ("agent", "name", "nesting"):
        page.select_option(".timeline select", by)
        hand.settle()
        page.mouse.move(hand.box["x"] + 40, hand.box["y"] + 12)
        assert page.locator(".tip").is_hidden(), by
        x, _, y = hand.bar("look up")
        assert x > hand.box["x"] + 140, by
        page.mouse.click(x + 1, y)
        page.locator("#details h2", has_text="look up").wait_for()
        expect(page.locator(".tip")).to_be_hidden()  # it would cover the details
        page.keyboard.press("Escape")
        page.locator("#details").wait_for(state="hidden")


def test_a_short_bar_beside_a_long_one_can_be_seen_and_opened(hand: Hand) -> None:
    """One that starts together with it has a row of its own; one just before it is drawn above it."""
    page = hand.page
    rows_at = [hand.bar(name)[2] for name in ("start", "draft")]
    assert abs(rows_at[0] - rows_at[1]) > 12, "both are in one row"
    x, _, y = hand.bar("look up")
    seen = page.evaluate(BESIDE, [x, y])
    assert [name for name, _ in seen] == sorted(name for name, _ in seen)  # glance, then look up
    assert ["glance", "action"] in seen
    assert ["look up", "action"] not in seen
    page.mouse.click(x - 6 + seen.index(["glance", "action"]) / 2, y)
    page.locator("#details h2", has_text="glance").wait_for()


# The texts that are drawn until the next frame but one, and the colours in a line of the bars, but for grounds.
DRAWN = """async (y) => {
    const texts = new Set(), { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        texts.add(text);
        fillText.call(this, text, ...place);
    };
    dispatchEvent(new Event("resize"));
    const canvas = document.querySelector(".timeline .scroll canvas"), ratio = canvas.width / canvas.clientWidth;
    canvas.dispatchEvent(new FocusEvent("focus"));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    CanvasRenderingContext2D.prototype.fillText = fillText;
    if (y === null) return [[...texts], []];
    const { data } = canvas.getContext("2d").getImageData(180 * ratio, y * ratio, 600 * ratio, 1);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 3).join());
    return [[...texts], [...colours]];
}"""


def test_processes_and_skipped_times_have_names(touched: Visit) -> None:
    """In tips that a click goes to, and on the axis; lines have names, and no stripes where kinds take turns."""
    with used_again(touched) as visit:
        page = visit.session("workers", "timeline", "?idle=skip&lanes=nesting")
        expect(page.get_by_label("Order of the bars")).to_have_value("nesting")
        expect(page.get_by_role("button", name="Skip idle")).to_have_attribute("aria-pressed", "true")
        hand = Hand(visit, page)
        texts, colours = page.evaluate(DRAWN, 6 + 2 * 20 + 6 + 8)
        assert {"⋯ 59m 59s", "farm · 17", "farm · 18", "part + 1"} <= set(texts)
        assert any(text.startswith("1h 00m") for text in texts), texts
        assert len(colours) == 1
        page.mouse.move(hand.box["x"] + 300, hand.box["y"] + 12)
        tip = page.locator(".timeline > .tip")
        expect(tip).to_have_text(re.compile(r"^process farm · 17took part for 1h 00m · from <1ms to "))
        x, _, y = hand.bar("no events for 59m 59s")
        page.mouse.click(x + 4, y)
        hand.bar("no events for 59m 59s")
        page.select_option(".timeline select", "process")
        texts, _ = page.evaluate(DRAWN, None)
        assert "not known" in texts
        assert "lanes=process" in page.url
        session = page.url.partition("/s/")[2].partition("?")[0]
        run = visit.facts(f"sessions/{session}/timeline")
        named = [run["names"][number] if number >= 0 else "" for number in run["name"]]
        assert [run["process"][named.index(name)] for name in ("fetch", "part")] == [1, -1]
        page.get_by_role("button", name="Skip idle").click()
        assert "idle=" not in page.url


def test_the_overview_marks_where_a_step_failed(hand: Hand) -> None:
    """At its end, not at its start."""
    left, right, _ = hand.bar("shrug")  # from 6.2 to 6.8 s; what failed lasted from 5 to 6 s
    script = """() => {
        const map = document.querySelector("canvas.overview"), { left } = map.getBoundingClientRect();
        const scale = map.width / map.clientWidth, { data } = map.getContext("2d").getImageData(0, 2, map.width, 1);
        const isRed = (x) => data[4 * x] > 150 && data[4 * x + 1] < 100;
        return Array.from({ length: map.width }, (_, x) => x).filter(isRed).map((x) => left + x / scale);
    }"""
    marks = hand.page.evaluate(script)
    assert marks
    assert left - (right - left) < min(marks)
    assert max(marks) < left


def test_gaps_can_be_skipped(visit: Visit) -> None:
    """Times and places on the axis are each other's inverse, and a gap takes little room."""
    visit.open("/login")
    code = """async () => {
        const { Axis } = await import("/web/axis.js");
        const axis = new Axis([[100, 1e6], [1e6 + 50, 2e6]], 2e6 + 100);
        const times = [-5, 0, 99, 100, 5e5, 1e6, 1e6 + 20, 1.5e6, 2e6, 2e6 + 100];
        const plain = new Axis();
        return [times.map((time) => axis.time(axis.place(time)) - time), times.map((time) => axis.place(time)),
            [axis.gapAt(5e5), axis.gapAt(50), axis.gapAt(1e6)], times.every((time) => plain.place(time) === time)];
    }"""
    errors, places, gaps, is_plain = visit.page.evaluate(code)
    assert max(map(abs, errors)) < 1e-3
    assert places == sorted(places)
    assert places[-1] < 300
    assert gaps == [[100, 1e6], None, None]
    assert is_plain


@pytest.mark.parametrize("visit", [(1280, "light"), (1280, "dark")], indirect=True)
def test_words_on_bars_can_be_read(visit: Visit) -> None:
    """Their contrast is at least 4.5 to 1 on the colour of every kind."""
    visit.open("/login")
    code = """async (kinds) => {
        const { colour } = await import("/web/base.js");
        const light = (name) => {
            const parts = colour(name).match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
            const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
        };
        return kinds.map((kind) => {
            const [dark, bright] = [light(kind), light("paper")].sort((a, b) => a - b);
            return bright / dark;
        });
    }"""
    assert min(visit.page.evaluate(code, list(KINDS))) >= 4.5
