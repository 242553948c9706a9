"""Pictures of the pages: sessions are recorded on a clock of our own, then looked at in a browser.

Those that the README shows go to .screenshots; with a folder as argument, all of them go there: each page, wide and
narrow, light and dark.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import localops
from localops import clock
from localops.decorators import agent, operation, tool

TOP = Path(__file__).parent.parent
SHOTS = TOP / ".screenshots"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
KEPT = [
    "sessions-light",
    "timeline-light",
    "tree-light",
    "chat-light",
    "figures-light",
    "analytics-dark",
    "timeline-phone",
]
SECOND = 1_000_000_000
DAYS = 16
MODELS = ("claude-sonnet-4-5", "gpt-4o", "gpt-4o-mini")
chance = random.Random(7)  # the same pictures each time


def pass_time(seconds: float) -> None:
    """Move the recorder's clock forward, instead of waiting."""
    clock._base += int(seconds * SECOND)


class Timeout(Exception):
    """A search engine that is not always there."""


@tool(name="web_search", cost=0.005)
def web_search(query: str) -> list[str]:
    """Look something up."""
    pass_time(chance.uniform(0.4, 2.5))
    if chance.random() < 0.12:
        raise Timeout(f"no answer for {query!r} within 2 s")
    return [f"https://docs.example/{query.replace(' ', '-')}", "https://forum.example/t/4711"]


@tool(name="read_file")
def read_file(path: str) -> str:
    """Read a file of the project."""
    pass_time(chance.uniform(0.01, 0.2))
    return f"# {path}\n..."


@tool(name="run_tests")
def run_tests(target: str) -> dict[str, object]:
    """Run the tests."""
    pass_time(chance.uniform(3, 14))
    return {"target": target, "passed": chance.randint(120, 140), "failed": chance.choice((0, 0, 1, 2))}


def think(question: str, answer: str, size: int = 1) -> None:
    """Record a call of a language model."""
    model = chance.choice(MODELS)
    given, made = chance.randint(400, 3_000) * size, chance.randint(60, 700)
    event = localops.LLMEvent(
        model=model,
        prompt=[
            {"role": "system", "content": "You are a careful engineer. Say what you do before you do it."},
            {"role": "user", "content": question},
        ],
        prompt_tokens=given,
        completion_tokens=made,
    )
    pass_time(0.5 + made / chance.uniform(60, 120))
    event.completion = {"role": "assistant", "content": answer}
    localops.record(event)


@agent(name="planner")
class Planner:
    """Decides what to do."""

    @operation
    def plan(self, task: str) -> list[str]:
        """Turn a task into steps."""
        think(f"How would you go about this: {task}?", "1. reproduce it  2. find the cause  3. change it  4. test it")
        return ["reproduce", "find the cause", "change it", "test it"]


@agent(name="researcher")
class Researcher:
    """Finds things out."""

    @operation
    def research(self, task: str) -> None:
        """Search until something is found."""
        for query in (task, f"{task} known issues", f"{task} changelog")[: chance.randint(1, 3)]:
            try:
                web_search(query)
            except Timeout:
                localops.record(localops.ActionEvent(action_type="try again later"))
        think(f"What do we know about: {task}?", "It was seen before; the cause was a shared clock.", size=2)


@agent(name="coder")
class Coder:
    """Changes things."""

    @operation
    def change(self, task: str) -> int:
        """Read, change, test, until it holds."""
        for path in ("src/clock.py", "tests/test_clock.py", "src/session.py")[: chance.randint(1, 3)]:
            read_file(path)
        failed = 1
        for attempt in range(3):
            think(f"Attempt {attempt + 1}: {task}", "I replace the shared clock by one that is passed in.", size=2)
            failed = int(str(run_tests("tests/test_clock.py")["failed"]))
            if not failed:
                break
        return failed


TASKS = {
    "fix the flaky clock test": ("fix", "nightly"),
    "answer ticket 4711": ("support",),
    "weekly dependency report": ("report", "nightly"),
    "write release notes": ("docs",),
    "explain a slow query": ("support", "database"),
}


def run(task: str, tags: tuple[str, ...]) -> None:
    """Record one session from beginning to end."""
    session = localops.start_session(list(tags), name=task)
    assert session is not None
    Planner().plan(task)
    if chance.random() < 0.7:
        Researcher().research(task)
    failed = Coder().change(task)
    pass_time(chance.choice((0.2, 0.4, 8)))
    think("Say in a sentence what you did.", "The clock is passed in now; the test is steady over 500 runs.")
    if failed and chance.random() < 0.7:
        session.end_session("Failure", "the tests still fail after three attempts")
    else:
        session.end_session("Success", "all tests pass")


def record() -> None:
    """Record two weeks of sessions; the last one goes on."""
    pass_time(-DAYS * 86_400)
    for day in range(DAYS):
        many = chance.randint(1, 3) if day % 7 in (5, 6) else chance.randint(4, 9)
        for _ in range(many):
            before = clock.now_ns()
            run(*chance.choice(list(TASKS.items())))
            pass_time(max(0, 86_400 / many - 600 - (clock.now_ns() - before) / SECOND))
        pass_time(600 * many - 60)
    session = localops.start_session(["fix", "nightly"], name="fix the flaky clock test")
    assert session is not None
    Planner().plan("fix the flaky clock test")
    Researcher().research("fix the flaky clock test")
    print("ready", flush=True)
    Coder().change("fix the flaky clock test")
    sys.stdin.read()


@contextmanager
def serving(home: str) -> Iterator[str]:
    """Yield the link to the pages of a home that is being recorded into."""
    settings = {**os.environ, "LOCALOPS_HOME": home, "PYTHONPATH": str(TOP)}
    # Recorded tracebacks name the script as it is compiled; a picture shows no folder of the machine that took it.
    named = Path(__file__).relative_to(TOP)
    names = {"__name__": "__main__", "__file__": __file__}
    code = f"exec(compile(open({__file__!r}).read(), {str(named)!r}, 'exec'), {names})"
    command = [sys.executable, "-c", code, "--record"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=settings, stdin=pipe, stdout=pipe, text=True) as recorder:
        assert recorder.stdout is not None
        assert recorder.stdin is not None
        recorder.stdout.readline()
        command = [sys.executable, "-m", "localops", "ui", "--port", "0", "--json", "--home", home]
        with subprocess.Popen(command, env=settings, stdout=pipe, text=True) as server:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["url"]
            server.terminate()
        recorder.stdin.close()


def take(link: str, folder: Path, kept: list[str]) -> None:
    """Every picture, or those that are kept."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, _NAMES)), None)
    base = link.partition("/#")[0]
    wide, narrow = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
    sizes: tuple[tuple[str, dict[str, int], Literal["light", "dark"]], ...] = (
        ("light", wide, "light"),
        ("dark", wide, "dark"),
        ("phone", narrow, "light"),
        ("phone-dark", narrow, "dark"),
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, size, scheme in sizes:
            page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            page.goto(link)
            # The rows are there before the figures above them.
            page.locator("#summary > div:not(.soon)").first.wait_for()

            def shoot(what: str, name: str = name, page: object = page) -> None:
                if kept and f"{what}-{name}" not in kept:
                    return
                page.wait_for_timeout(900)  # type: ignore[attr-defined]
                page.screenshot(path=folder / f"{what}-{name}.png")  # type: ignore[attr-defined]

            _walk(page, base, shoot)
        browser.close()


def _walk(page, base: str, shoot: Callable[[str], None]) -> None:  # type: ignore[no-untyped-def]  # playwright is only in the extra
    shoot("sessions")
    ask = "query => fetch('/api/1/sessions?' + query).then(answer => answer.json())"
    failed = page.evaluate(ask, "state=Failure&sort=errors&limit=1")["sessions"][0]["session_id"]
    two = [one["session_id"] for one in page.evaluate(ask, "text=flaky&state=Success&limit=2")["sessions"]]
    for view in ("timeline", "tree", "events", "chat", "figures"):
        page.goto(f"{base}/login")  # another fragment alone would not load the page again
        page.goto(f"{base}/s/{failed}#{view}")
        page.wait_for_timeout(500)
        if view != "figures" and page.viewport_size["width"] >= 600:
            page.keyboard.press("e")
        shoot(view)
    page.goto(f"{base}/analytics")
    page.locator("#charts canvas").nth(6).wait_for()
    shoot("analytics")
    page.goto(f"{base}/compare?a={two[1]}&b={two[0]}")
    shoot("compare")


def main() -> None:
    """Record, or take pictures of what was recorded."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description="Take pictures of the pages.")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        help="where to save all pictures; without it, only those of the README are taken",
    )
    parser.add_argument("--record", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.record:
        record()
        return
    folder = arguments.folder or SHOTS
    folder.mkdir(exist_ok=True, parents=True)
    with tempfile.TemporaryDirectory() as place, serving(os.path.join(place, "home")) as link:
        take(link, folder, [] if arguments.folder else KEPT)
    for shot in sorted(folder.glob("*.png")):
        print(f"{shot.stat().st_size // 1000:5} kB  {shot}")


if __name__ == "__main__":
    main()
