"""Measures the page of a large session in a browser, for bench.py: when it can be read and used, and how it moves."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import localops
from localops.decorators import agent, operation, tool

if TYPE_CHECKING:
    from scripts.bench import Bench

EVENTS = 100_000
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
_TIMES = """[performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
  ...['interactive', 'whole'].map(name => performance.getEntriesByName('localops-' + name)[0]?.startTime)]"""

# Wheel events as fast as frames come, for three seconds: the times between two frames, in order.
_FRAMES = """async zoom => {
  const canvas = document.querySelector('.timeline .scroll canvas'), box = canvas.getBoundingClientRect(), times = [];
  let last = performance.now(), step = 0;
  for (const end = last + 3000; last < end; step += 1) {
    const by = step % 120 < 60 ? -12 : 12;
    canvas.dispatchEvent(new WheelEvent('wheel', {
      ctrlKey: zoom, deltaX: zoom ? 0 : 2 * by, deltaY: zoom ? by : 0, clientX: box.left + 500, clientY: box.top + 50,
      bubbles: true, cancelable: true,
    }));
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times.slice(1).sort((a, b) => a - b);
}"""


@tool(name="search")
def _search(number: int) -> int:
    if number % 50 == 0:
        raise LookupError(str(number))
    return number


@agent(name="worker")
class _Worker:
    @operation
    def work(self, number: int) -> None:
        """Record a call, a tool that fails at times, a note: about eight rows and six events."""
        localops.record(
            localops.LLMEvent(model=("gpt-4o", "o3-mini")[number % 2], prompt_tokens=200, completion_tokens=9)
        )
        for each in (number, number + 1):
            try:
                _search(each)
            except LookupError:
                localops.record(localops.ActionEvent(action_type="note"))
        localops.record(localops.ActionEvent(action_type="step"))


def web_session(bench: Bench) -> None:
    """Measure the page of a session of 100,000 events in headless Chromium."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        print("no Chromium here: the page of a large session is not measured", file=sys.stderr)
        return
    with bench.home("web-session") as home:
        session = localops.init()
        assert session is not None
        worker = _Worker()
        while sum(session.event_counts.values()) < EVENTS:
            for number in range(1_000):
                worker.work(number)
        session.end_session("Success")
        times, zoom, pan, size = _looked_at(home, str(session.session_id), path)
    paint, interactive, whole = times
    what = "session of 100,000 events in headless Chromium"
    bench.say(f"{what}: first contentful paint", "<= 500 ms", f"{paint:.0f} ms")
    bench.say(f"{what}: can be used", "<= 1000 ms", f"{interactive:.0f} ms (all events there after {whole:.0f} ms)")
    bench.say(f"{what}: zooming, dragging its timeline", ">= 50 frames/s", f"{_rate(zoom)}, {_rate(pan)}")
    bench.say(f"{what}: memory of the page", "<= 150 MB", f"{size / 1e6:.0f} MB")


def _rate(times: list[float]) -> str:
    return f"{1000 / statistics.mean(times):.0f} (slowest in a hundred {times[len(times) * 99 // 100]:.0f} ms)"


def _looked_at(home: Path, ident: str, path: str) -> tuple[list[float], list[float], list[float], float]:
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "localops", "ui", "--port", "0", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        try:
            link = server.stdout.readline().strip()
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(link)
            page.wait_for_selector("#sessions")
            loads = [_load(page, f"{link.partition('/#')[0]}/s/{ident}") for _ in range(5)]
            zoom, pan = (page.evaluate(_FRAMES, zooming) for zooming in (True, False))
            heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")
            browser.close()
        finally:
            server.terminate()
    size = sum(heap.get(part, 0) for part in ("usedSize", "embedderHeapUsedSize", "backingStorageSize"))
    return [statistics.median(each) for each in zip(*loads, strict=True)], zoom, pan, size


def _load(page: Any, address: str) -> list[float]:
    page.goto(address)
    while None in (times := page.evaluate(_TIMES)):
        page.wait_for_timeout(50)
    return list(times)


PARTS = {"web_session": web_session}
