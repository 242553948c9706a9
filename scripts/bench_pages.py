#!/usr/bin/env python3
"""Measures the pages in a headless Chromium: until they can be used, what they hold after a while, lost clicks.

    python scripts/bench_pages.py            50,000 sessions, 30,113 events, ten minutes beside a recorder, 200 clicks
    python scripts/bench_pages.py --quick    small sizes, to see that it works

Prints a table.  Times are those of this machine: measure on one that does nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP), str(TOP / "sync")]

import localops  # noqa: E402  # of this tree
from localops.journal.journal import Journal  # noqa: E402
from scripts.bench_ui import made_sessions  # noqa: E402
from scripts.bench_web import _NAMES  # noqa: E402

# Milliseconds without a change after which a page counts as complete.
_QUIET = 1_500
# Milliseconds for which a hand holds a button down, and between two clicks.
_HELD, _PAUSE = 130, 400
# When the pages are looked at: each after so much of the time since the one before.
_SHARES = (0.1, 0.225, 0.225, 0.225, 0.225)
# How often a page is looked at each time, and milliseconds between two looks: see `_held`.
_LOOKS, _APART = 5, 300
# Analytics, which draws most, in a browser that makes no machine code: see `_held`.
_INTERPRETED = "Analytics (machine code off)"
# Calls that are recorded before a page is opened; one in eight has a session of its own.
_AT_ONCE = 600
# Notes in each page when it can be used, and when it changed last.
_WATCH = """
window.bench = { usable: null, changed: 0 };
const look = () => {
  const head = document.querySelector("#sessions thead button, #calls thead button");
  if (head && document.querySelector("#rows tr") && bench.usable === null) bench.usable = performance.now();
  // A page without rows is looked at for a while only: to look is work as well.
  if (bench.usable === null && performance.now() < 20_000) requestAnimationFrame(look);
};
addEventListener("DOMContentLoaded", () => {
  look();
  const watch = new MutationObserver(() => (bench.changed = performance.now()));
  watch.observe(document.querySelector("main"), { childList: true, subtree: true, characterData: true });
});
"""
# Notes when the rows of a report are drawn and can be scrolled.
_SCROLLS = """
window.scrolls = null;
const look = () => {
  const rows = document.querySelector("#view .row")?.closest(".scroll");
  if (rows && rows.scrollHeight > rows.clientHeight) window.scrolls = performance.now();
  else requestAnimationFrame(look);
};
addEventListener("DOMContentLoaded", look);
"""
# Notes which row a button was pressed on, and which row a click met.
_CLICKS = """
window.pressed = null;
window.met = null;
const rowOf = (event) => event.target.closest?.("#rows tr")?.dataset.id ?? null;
addEventListener("pointerdown", (event) => { window.pressed = rowOf(event); window.met = null; }, { capture: true });
addEventListener("click", (event) => { window.met = rowOf(event); }, { capture: true });
"""


class Sizes:
    """How much is measured."""

    def __init__(self, *, quick: bool) -> None:
        self.sessions = 500 if quick else 50_000
        self.events = 1_000 if quick else 30_113
        self.seconds = 12 if quick else 600
        self.clicks = 10 if quick else 200
        self.loads = 2 if quick else 7


class Table:
    """The figures of this run."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def say(self, what: str, reach: str, figure: str) -> None:
        """Keep a figure, and show it as soon as it is known."""
        self.lines.append((what, reach, figure))
        print(f"{what}: {figure}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        rows = [("what", "reach", "figure"), ("---", "---", "---"), *self.lines]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve a home with `localops ui`, and yield its link."""
    command = [sys.executable, "-m", "localops", "ui", "--port", "0", "--no-browser", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(home)) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@contextmanager
def recording(home: Path) -> Iterator[None]:
    """Run a program that records sessions, one after the other, and calls into one that goes on."""
    command = [sys.executable, __file__, "--record"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(home)) as program:
        assert program.stdout is not None
        try:
            program.stdout.readline()
            yield
        finally:
            program.kill()


def record() -> None:
    """Record until the process is killed: four calls a second, and a session every two seconds.

    As many as pages keep at most come at once: until then, a page grows as it should.
    """
    talk = localops.start_session(["talk"], name="a long talk")
    assert talk is not None
    for number in itertools.count(1):
        event = localops.LLMEvent(model="gpt-4o", prompt=f"question {number}", prompt_tokens=10, completion_tokens=5)
        event.completion = f"answer {number}"
        talk.record(event)
        if number % 8 == 0:
            short = localops.start_session(["short"], name=f"run {number // 8}")
            assert short is not None
            short.record(localops.ToolEvent(name="search"))
            short.end_session("Success")
        if number == _AT_ONCE:
            print("ready", flush=True)
        if number >= _AT_ONCE:
            time.sleep(0.25)


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{TOP}{os.pathsep}{TOP / 'sync'}", "LOCALOPS_HOME": str(home)}


def usable(table: Table, browser: Any, home: Path, sizes: Sizes) -> None:
    """Measure the list of many sessions, Analytics of them, and a session of many events."""
    journal = Journal(str(home / "default"))
    journal.add(made_sessions(sizes.sessions))
    journal.fold()
    journal.close()
    os.environ["LOCALOPS_HOME"] = str(home)
    session = localops.init()
    assert session is not None
    for number in range(sizes.events):
        session.record(localops.ToolEvent(name=("search", "fetch")[number % 2]))
    session.end_session("Success")
    with serving(home) as link:
        page = _visited(browser, link)
        base = link.partition("/#")[0]
        # The first look of a server makes the tables beside the journal.
        for path in ("/", "/analytics"):
            _complete(page, base + path)
        lists = [_complete(page, f"{base}/") for _ in range(sizes.loads)]
        table.say(
            f"list of {sizes.sessions:,} sessions: usable, all there",
            "<= 400 ms",
            f"{_median(lists, 'usable')}, {_median(lists, 'changed')}",
        )
        across = [_complete(page, f"{base}/analytics") for _ in range(sizes.loads)]
        table.say(f"Analytics of {sizes.sessions:,} sessions: all there", "<= 1000 ms", _median(across, "changed"))
        marks = [_marks(page, f"{base}/s/{session.session_id}") for _ in range(sizes.loads)]
        table.say(
            f"session of {sizes.events:,} events: usable, whole",
            "<= 400 ms",
            ", ".join(f"{statistics.median(each):.0f} ms" for each in zip(*marks, strict=True)),
        )
        page.context.close()
    report(table, browser, home, sizes)


def report(table: Table, browser: Any, home: Path, sizes: Sizes) -> None:
    """Measure the HTML report of a session of many events with prompts and answers, opened as a file."""
    session = localops.start_session()
    assert session is not None
    for number in range(sizes.events):
        if number % 2:
            session.record(localops.ToolEvent(name="look", params={"box": number}, returns={"screws": number % 7}))
            continue
        question = {"role": "user", "content": f"What is in box {number}? Look into it before you answer."}
        call = localops.LLMEvent(model="gpt-4o", prompt=[question], prompt_tokens=20, completion_tokens=9)
        call.completion = f"Box {number} has **{number % 7} screws** and a note."
        session.record(call)
    session.end_session("Success")
    path = home.with_name("report.html")
    command = [sys.executable, "-m", "localops", "export", str(session.session_id), "--format", "html", "-o", str(path)]
    subprocess.run(command, env=_environment(home), check=True, capture_output=True)
    loads = [_opened(browser, f"{path.as_uri()}#events") for _ in range(sizes.loads)]
    table.say(
        f"HTML report of {sizes.events:,} events ({path.stat().st_size / 1e6:.0f} MB): usable, all there",
        "<= 2000 ms",
        ", ".join(f"{statistics.median(each):.0f} ms" for each in zip(*loads, strict=True)),
    )


def _opened(browser: Any, address: str) -> tuple[float, float]:
    """Open a report, and return when its rows could be scrolled, and when all its events were there."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(_SCROLLS)
    page.goto(address)
    while page.evaluate("window.scrolls === null || !performance.getEntriesByName('localops-whole').length"):
        page.wait_for_timeout(50)
    times = page.evaluate("[window.scrolls, performance.getEntriesByName('localops-whole')[0].startTime]")
    page.context.close()
    return times[0], times[1]


def _median(loads: list[dict[str, float]], name: str) -> str:
    return f"{statistics.median(each[name] for each in loads):.0f} ms"


def _visited(browser: Any, link: str) -> Any:
    """Return a page of someone who has logged in."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(_WATCH)
    page.goto(link)
    page.wait_for_selector("#sessions", state="attached")
    return page


def _complete(page: Any, address: str) -> dict[str, float]:
    """Load a page, and return when it could be used, and when it changed last before a while without changes."""
    page.goto("about:blank")
    page.goto(address)
    until = time.monotonic() + 120
    while page.evaluate("performance.now() - bench.changed") < _QUIET and time.monotonic() < until:
        page.wait_for_timeout(100)
    return dict(page.evaluate("bench"))


def _marks(page: Any, address: str) -> tuple[float, float]:
    page.goto("about:blank")
    page.goto(address)
    script = (
        "['interactive', 'whole'].map(one => performance.getEntriesByName('localops-' + one)[0]?.startTime ?? null)"
    )
    while (times := page.evaluate(script))[1] is None:
        page.wait_for_timeout(50)
    # All events of a small session are on the first page.
    return times[0] or times[1], times[1]


def lasting(table: Table, browser: Any, home: Path, sizes: Sizes) -> None:
    """Measure what live pages hold after a tenth of the time and four times more: a leak is a slope in each of them."""
    interpreting = _launched(browser.browser_type, "--js-flags=--max-opt=0")
    with recording(home), serving(home) as link:
        # Each in a window of its own: a hidden page does nothing.
        pages = {name: _visited(browser, link) for name in ("list", "Analytics", "Calls", "Events", "Chat")}
        pages[_INTERPRETED] = _visited(interpreting, link)
        base = link.partition("/#")[0]
        talk = _talk(pages["list"])
        for name, path in (
            ("Analytics", "analytics"),
            (_INTERPRETED, "analytics"),
            ("Calls", "calls"),
            ("Events", f"s/{talk}#events"),
        ):
            pages[name].goto(f"{base}/{path}")
        pages["Chat"].goto(f"{base}/s/{talk}#chat")
        for name in ("Events", "Chat"):
            pages[name].locator("#follow").click()
        samples: dict[str, list[Held]] = {name: [] for name in pages}
        recorded, begun = _recorded(pages["list"]), time.monotonic()
        for share in _SHARES:
            _wait(pages["list"], sizes.seconds * share)
            for name, page in pages.items():
                samples[name].append(_held(page))
        # A machine that is busy with other things records less, and pages are drawn less often.
        calls, sessions = (now - before for now, before in zip(_recorded(pages["list"]), recorded, strict=True))
        table.say(
            "beside the live pages",
            "4 calls a second",
            f"{calls} calls and {sessions} sessions recorded in {time.monotonic() - begun:.0f} s, "
            f"load average {os.getloadavg()[1]:.1f}",
        )
        for name, page in pages.items():
            held = samples[name]
            figures = [f"{held[-1].nodes / held[0].nodes:.2f} x ({' '.join(str(each.nodes) for each in held)})"]
            for part in ("heap", "code", "whole"):
                bytes_of = [getattr(each, part) for each in held]
                megabytes = " ".join(f"{each / 1e6:.2f}" for each in bytes_of)
                figures.append(f"{bytes_of[-1] / bytes_of[0]:.2f} x ({megabytes} MB)")
            table.say(
                f"live {name} after {sizes.seconds} s beside after a tenth of it: DOM nodes, heap; compiled code; both",
                f"<= 1.1 x, <= 1.1 x; {'<= 1.1 x' if name == _INTERPRETED else '-'}; <= 1.1 x",
                f"{figures[0]}, {'; '.join(figures[1:])}",
            )
            page.context.close()
    interpreting.close()


def _launched(chromium: Any, *more: str) -> Any:
    """Start a browser with further arguments."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        raise SystemExit("there is no Chromium on this machine: install chromium-headless-shell")
    return chromium.launch(executable_path=path, args=["--no-sandbox", *more])


def _talk(page: Any) -> str:
    """Return the session that goes on."""
    for _ in range(200):
        reply = page.evaluate("fetch('/api/1/sessions?tag=talk&state=Running').then(answer => answer.json())")
        if reply["sessions"]:
            return str(reply["sessions"][0]["session_id"])
        page.wait_for_timeout(100)
    raise SystemExit("the recorder has not begun")


def _recorded(page: Any) -> tuple[int, int]:
    """Return how many LLM calls and how many sessions are recorded."""
    sums = page.evaluate("fetch('/api/1/analytics').then(answer => answer.json())")
    return sums["llm_calls"], sums["sessions"]


def _wait(page: Any, seconds: float) -> None:
    page.wait_for_timeout(seconds * 1_000)


class Held(NamedTuple):
    """What a page holds: DOM nodes, bytes of its heap, and beside these the bytes of compiled code."""

    nodes: int
    heap: int
    code: int

    @property
    def whole(self) -> int:
        """Return the bytes of the whole heap."""
        return self.heap + self.code


def _held(page: Any) -> Held:
    """Return the least that a page holds in a few looks, each once garbage is collected.

    A page that draws its rows between the collection and the look has them twice for a moment; a leak is in each look.

    The heap is counted without what V8 compiles from the page's functions: bytecode, machine code, and what it
    remembers of the types it met. The page has as many functions after ten minutes as after one, but those that run
    every few seconds are compiled better as they become hot, for as long as the page is open, though ever more rarely.
    The page makes no code by itself: its policy forbids it. In a browser that interprets functions, with
    `--js-flags=--max-opt=0`, code too stays as it is, however often Analytics is drawn again: 0.430 MB after 20 times
    and after 642, and objects 0.796 MB. With machine code, code grew from 1.26 to 1.67 MB in 2,560 times, by only
    0.05 MB of that in the second half; V8 compiles a function again after 400 and 3,000 calls.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    nodes = []
    for _ in range(_LOOKS):
        for _ in range(2):  # what a finalizer releases goes with the second
            session.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        nodes.append(int(metrics["Nodes"]))
        _wait(page, _APART / 1_000)
    held = Held(min(nodes), *_heap(session))
    session.detach()
    return held


def _heap(session: Any) -> tuple[int, int]:
    """Return the bytes of the objects in a page's heap, and of the code in it."""
    chunks: list[str] = []
    session.on("HeapProfiler.addHeapSnapshotChunk", lambda event: chunks.append(event["chunk"]))
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    head, _, rest = "".join(chunks).partition(',\n"nodes":[')
    meta = json.loads(head + "}")["snapshot"]["meta"]
    # The rest is long, and says who holds whom.
    numbers = json.loads(f"[{rest[: rest.index(']')]}]")
    fields, kinds = meta["node_fields"], meta["node_types"][0]
    types, sizes = (numbers[fields.index(name) :: len(fields)] for name in ("type", "self_size"))
    sums = dict.fromkeys(kinds, 0)
    for kind, size in zip(types, sizes, strict=True):
        sums[kinds[kind]] += size
    # Native are the browser's own objects, which are no part of the heap; DOM nodes are counted by themselves.
    return sum(sums.values()) - sums["code"] - sums["native"], sums["code"]


def clicks(table: Table, browser: Any, home: Path, sizes: Sizes) -> None:
    """Count the clicks on rows of a live list that meet no row, or another one than the button was pressed on."""
    chance = random.Random(1)
    with recording(home), serving(home) as link:
        page = _visited(browser, link)
        page.evaluate(_CLICKS)
        lost = 0
        for _ in range(sizes.clicks):
            boxes = page.locator("#rows .pick input")
            box = boxes.nth(chance.randrange(min(10, boxes.count()))).bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.mouse.down()
            page.wait_for_timeout(_HELD)
            page.mouse.up()
            page.wait_for_timeout(chance.randrange(_PAUSE))
            pressed, met = page.evaluate("[window.pressed, window.met]")
            lost += pressed is not None and pressed != met
        table.say(f"clicks lost beside a recorder, of {sizes.clicks}", "0", str(lost))
        page.context.close()


PARTS = {part.__name__: part for part in (usable, lasting, clicks)}


def main() -> None:
    """Measure the parts that are asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some parts of it")
    parser.add_argument("--minutes", type=float, help="how long pages stay open, instead of ten minutes")
    parser.add_argument("--record", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.record:
        record()
    from playwright.sync_api import sync_playwright

    table, sizes = Table(), Sizes(quick=asked.quick)
    if asked.minutes:
        sizes.seconds = round(asked.minutes * 60)
    with sync_playwright() as playwright:
        browser = _launched(playwright.chromium)
        for name, part in PARTS.items():
            if asked.only and name not in asked.only:
                continue
            with tempfile.TemporaryDirectory(prefix="localops-bench-") as folder:
                part(table, browser, Path(folder) / "home", sizes)
        browser.close()
    print(table)


if __name__ == "__main__":
    main()
