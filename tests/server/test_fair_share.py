"""No project pushes out another: reads, log-ins, open pages and unfinished files of one have limits of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import pytest

from localops.server import fair_share
from localops.server.fair_share import FairShare
from tests.server.hubs import RealHub, hub, wait_until


def test_a_project_that_uses_its_share_leaves_the_rest_to_others() -> None:
    """What is over its share waits for its own, in turn; work without a project has no share to use up."""

    async def run() -> None:
        share, release, entered = FairShare(2, 3), asyncio.Event(), []

        async def work(project: str | None, name: str) -> None:
            fair_share.work_for(project)
            async with share.use():
                entered.append(name)
                await release.wait()

        greedy = [asyncio.create_task(work("greedy", f"g{number}")) for number in range(5)]
        await asyncio.sleep(0)
        modest = asyncio.create_task(work("modest", "m"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert entered == ["g0", "g1", "m"]
        local = [asyncio.create_task(work(None, f"l{number}")) for number in range(3)]
        release.set()
        await asyncio.gather(*greedy, modest, *local)
        assert entered[3:8].count("l0") == 1
        assert [name for name in entered if name[0] == "g"] == [f"g{number}" for number in range(5)]
        assert share._shares == {}

    asyncio.run(run())


def test_a_cancelled_request_gives_its_share_back() -> None:
    """Whether it waited or had begun."""

    async def run() -> None:
        share, never = FairShare(1, 1), asyncio.Event()

        async def work() -> None:
            fair_share.work_for("p")
            async with share.use():
                await never.wait()

        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert share._shares == {}
        fair_share.work_for("p")
        async with asyncio.timeout(10), share.use():
            pass

    asyncio.run(run())


def _log_in(running: RealHub, key: str) -> dict[str, str]:
    body = json.dumps({"token": key}).encode()
    headers = {"Content-Type": "application/json", "Origin": running.url}
    with urllib.request.urlopen(urllib.request.Request(running.url + "/login", body, headers), timeout=30) as reply:
        return {"Cookie": str(reply.headers["Set-Cookie"]).partition(";")[0], "Authorization": ""}


def test_logins_with_one_key_end_no_login_with_another(tmp_path: Path) -> None:
    """With too many of one key, its own oldest ends."""
    with hub(tmp_path, logins=3) as running:
        stranger = _log_in(running, running.new_key("default"))
        visitors = [_log_in(running, running.key) for _ in range(5)]
        statuses = [running.ask("GET", "/api/1/facets", headers=each)[0] for each in (stranger, *visitors)]
        assert statuses == [200, 401, 401, 200, 200, 200]


def _follow(running: RealHub, key: str, open_until: ExitStack) -> int:
    request = urllib.request.Request(f"{running.url}/api/1/live", headers={"Authorization": f"Bearer {key}"})
    try:
        reply: HTTPResponse = open_until.enter_context(urllib.request.urlopen(request, timeout=30))
        # Its first line: from then on it counts.
        reply.readline()
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    return reply.status


def test_open_pages_have_limits_for_key_and_project(tmp_path: Path) -> None:
    """The key or project that is over its own gets 429; only a full hub answers 503 to all."""
    with hub(tmp_path, streams_of_key=2, streams_of_project=3, streams=5) as running, ExitStack() as open_until:
        second, third = running.new_key("default"), running.new_key("default")
        others = [running.new_key(f"other-{number}") for number in range(2)]
        statuses = [_follow(running, running.key, open_until) for _ in range(3)]
        statuses += [_follow(running, key, open_until) for key in (second, third)]
        assert statuses == [200, 200, 429, 200, 429]
        assert [_follow(running, others[0], open_until) for _ in range(3)] == [200, 200, 429]
        assert _follow(running, others[1], open_until) == 503


def _piece(running: RealHub, content: bytes, at: int, size: int, key: str | None = None) -> int:
    digest = hashlib.sha256(content).hexdigest()
    headers = {"Upload-Offset": str(at), "Upload-Length": str(len(content))}
    return running.ask("PATCH", f"/sync/1/blobs/{digest}", content[at : at + size], headers=headers, key=key)[0]


@pytest.mark.parametrize("limits", [{"uploads": 2}, {"upload_bytes": 20}])
def test_unfinished_files_of_a_project_are_bounded(tmp_path: Path, limits: dict[str, float]) -> None:
    """No other one begins, those that have begun are finished, and abandoned ones make room; others are free."""
    films = [f"film {number} ".encode() * 4 for number in range(4)]
    with RealHub(tmp_path, limits=limits) as running:
        other = running.new_key("other")
        assert [_piece(running, film, 0, 10) for film in films[:3]] == [200, 200, 429]
        assert _piece(running, films[2], 0, 10, key=other) == 200
        assert _piece(running, films[0], 10, 99) == 200
        assert _piece(running, films[2], 0, 10) == 200
        assert _piece(running, films[3], 0, 10) == 429
        for path in (running.folder / "uploads").iterdir():
            os.utime(path, (time.time() - 8 * 86_400,) * 2)
        assert _piece(running, films[3], 0, 10) == 200


def test_abandoned_files_are_cleared(tmp_path: Path) -> None:
    """By the hub itself, a week after their last piece."""
    with hub(tmp_path, upkeep=0.2) as running:
        film = b"film" * 10
        assert _piece(running, film, 0, 10) == 200
        [path] = (running.folder / "uploads").iterdir()
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
        wait_until(lambda: not path.exists(), 60)
