"""Metrics: valid for Prometheus' own parsers, equal to what happened, and for those alone who may read them."""

from __future__ import annotations

import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser as older
from prometheus_client.openmetrics import parser as openmetrics

from localops import clock
from localops.reading.home import Home
from localops.server.keys import Keys
from localops.server.metrics import OUTCOMES, Histogram, Metrics
from localops.transfer.bundle import Batch
from tests.server.hubs import RealHub, batch_of, hub, session_rows, wait_until

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# They have no types of their own.
parse_openmetrics: Any = openmetrics.text_string_to_metric_families
parse_older: Any = older.text_string_to_metric_families


def watched(capfd: pytest.CaptureFixture[str]) -> str:
    """Return the address for monitoring of the hub that was just started, which it has printed."""
    printed: list[str] = re.findall(r"metrics at (http://\S+)/metrics", capfd.readouterr().err)
    return printed[-1]


def get(url: str, **headers: str) -> tuple[int, str, str]:
    """Return status, media type and text of an answer."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=sent), timeout=60) as reply:
            return reply.status, reply.headers["Content-Type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def figures(url: str, **headers: str) -> Figures:
    """Return all samples of an exposition, read by the parser of OpenMetrics."""
    status, kind, text = get(url, Accept=_OPENMETRICS, **headers)
    assert (status, kind.startswith("application/openmetrics-text; version=1.0.0")) == (200, True)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(text)
        for sample in family.samples
    }


def figure(all_of: Figures, name: str, **labels: str) -> float | None:
    """Return one sample."""
    return all_of.get((name, frozenset(labels.items())))


def test_counts_are_exact_with_threads() -> None:
    """However many threads count at once, nothing is lost."""
    metrics = Metrics()
    seconds = Histogram("s", "Seconds.", "door")

    def count() -> None:
        for _ in range(2_000):
            metrics.took("p", "sync", stored=2, known=1, size=3)
            seconds.add("sync", 0.01)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (metrics.rows.value("stored"), metrics.rows.value("known")) == (32_000, 16_000)
    assert metrics.stored.value("rows") == 48_000
    samples = {each.suffix: each.value for each in seconds.family().samples if each.labels.get("le", "+Inf") == "+Inf"}
    assert (samples["_bucket"], samples["_count"], round(samples["_sum"])) == (16_000, 16_000, 160)


def test_metrics_equal_what_happened(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """After batches, re-sent ones, refused rows, deleted sessions and reads from many threads, each count is right."""
    with hub(tmp_path, "default", "--metrics", "0", "--rate", "100000") as running:
        about = watched(capfd)
        keys = {"default": running.key, "other": running.new_key("other")}
        statuses: Counter[str] = Counter()
        replies: dict[str, Counter[str]] = {name: Counter() for name in keys}

        def work(number: int) -> None:
            name = sorted(keys)[number % 2]
            batch = _batch(number)
            for _ in range(2):
                status, reply = running.take(batch, key=keys[name])
                statuses[f"sync {status // 100}xx"] += 1
                for outcome in ("stored", "known", "gone"):
                    replies[name][outcome] += reply[outcome]
                replies[name]["refused"] += len(reply["refused"])
            statuses[f"read {running.ask('GET', '/api/1/sessions', key=keys[name])[0] // 100}xx"] += 1
            statuses[f"read {running.ask('GET', '/api/1/sessions', key='unknown')[0] // 100}xx"] += 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(12)))
        before = figures(f"{about}/metrics?projects=1")
        assert sum(replies["other"].values()) > 0
        for outcome in OUTCOMES:
            expected = sum(each[outcome] for each in replies.values())
            assert figure(before, "localops_hub_rows_total", outcome=outcome) == expected, outcome
            for name, each in replies.items():
                here = figure(before, "localops_hub_project_rows_total", project=name, outcome=outcome)
                assert (here or 0) == each[outcome], (name, outcome)
        for what, many in statuses.items():
            door, status = what.split()
            assert figure(before, "localops_hub_requests_total", door=door, status=status) == many, what
        assert figure(before, "localops_hub_request_duration_seconds_count", door="sync") == 24
        assert figure(before, "localops_hub_batches_total", door="sync") == 24
        assert (figure(before, "localops_hub_received_bytes_total", door="sync") or 0) > 0
        bodies = sum(len(body or "") for (body,) in _bodies(running))
        assert figure(before, "localops_hub_stored_bytes_total", what="rows") == bodies
        # What is stored is looked at beside the requests, and is right soon.  The hub adds a row to each session of
        # which it refused a row.
        truth = sum(each["stored"] for each in replies.values()) + 4
        wait_until(lambda: figure(figures(f"{about}/metrics"), "localops_hub_held_rows") == truth, 60)
        now = figures(f"{about}/metrics?projects=1")
        assert figure(now, "localops_hub_sessions") == 12
        assert figure(now, "localops_hub_project_sessions", project="other") == 6
        assert figure(now, "localops_hub_projects") == 2


def _batch(number: int) -> Batch:
    """Return a session; of every third, one row has another checksum than its content, and is refused."""
    sent = batch_of(session_rows(3 + number), journal=clock.new_id().hex())
    if number % 3:
        return sent
    damaged = [*sent.rows[:-1], sent.rows[-1]._replace(sum=1)]
    return replace(sent, rows=damaged)


def _bodies(running: RealHub) -> list[tuple[str | None]]:
    """Return the content of every row that the hub was sent."""
    with Home(str(running.data)) as home:
        everything = "select body from event where session <> zeroblob(16) and kind <> 'loss'"
        return [row for each in home.projects for row in each.reader.ask(everything)]


def test_both_formats_are_valid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Prometheus gets OpenMetrics when it accepts that, else its older format; both parse, with the same values."""
    with hub(tmp_path, "default", "--metrics", "0") as running:
        about = watched(capfd)
        assert running.take(batch_of(session_rows()))[0] == 200
        address = f"{about}/metrics?projects=1&senders=1"
        wait_until(lambda: "localops_hub_sender_rows" in get(address)[2] and "localops_hub_sessions" in get(address)[2])
        new, old = get(address, Accept=_OPENMETRICS), get(address, Accept="text/plain")
        assert (new[1].split(";")[0], old[1]) == (
            "application/openmetrics-text",
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert new[2].endswith("# EOF\n")
        names = {sample.name for family in parse_openmetrics(new[2]) for sample in family.samples}
        assert names == {sample.name for family in parse_older(old[2]) for sample in family.samples}
        assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names
        assert {"localops_hub_build_info", "localops_hub_disk_free_bytes", "localops_hub_up"} <= names


def test_a_key_sees_its_project_only(tmp_path: Path) -> None:
    """At the hub's own address a key is needed, and no figure of the hub or of another project is in the answer."""
    with hub(tmp_path, "mine") as running:
        other = running.new_key("theirs")
        for key in (running.key, other):
            assert running.take(batch_of(session_rows(), journal=clock.new_id().hex()), key=key)[0] == 200
        assert get(f"{running.url}/metrics")[0] == 401
        assert running.ask("GET", "/metrics", key="00000000-0000-0000-0000-000000000000")[0] == 401

        def seen() -> Figures:
            return figures(f"{running.url}/metrics?senders=1", Authorization=f"Bearer {running.key}")

        wait_until(lambda: any(name == "localops_hub_sender_rows" for name, _ in seen()))
        for name, labels in seen():
            assert name.startswith(("localops_hub_project_", "localops_hub_sender")), name
            assert dict(labels).get("project", "mine") == "mine"
        assert figure(seen(), "localops_hub_project_rows_total", project="mine", outcome="stored") == 5


def test_a_key_that_looks_after_the_hub_sees_all_of_it(tmp_path: Path) -> None:
    """With the scope admin alone a key reads no session, and sees the figures of every project."""
    with hub(tmp_path, "mine") as running:
        assert running.take(batch_of(session_rows(), journal=clock.new_id().hex()))[0] == 200
        admin = Keys(str(running.data)).create(None, scopes=["admin"])
        assert running.ask("GET", "/api/1/sessions", key=admin)[0] == 403
        seen = figures(f"{running.url}/metrics?projects=1", Authorization=f"Bearer {admin}")
        assert figure(seen, "localops_hub_rows_total", outcome="stored") == 5
        assert figure(seen, "localops_hub_project_rows_total", project="mine", outcome="stored") == 5
        assert [each["project"] for each in running.ask("GET", "/api/1/senders", key=admin)[1]["senders"]] == ["mine"]


def test_the_listener_for_monitoring_is_for_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It listens on the loopback address, reads no rows, and refuses web pages and what is no HTTP."""
    with hub(tmp_path, "default", "--metrics", "0") as running:
        about = watched(capfd)
        assert about.startswith("http://127.0.0.1:")
        assert [get(f"{about}{path}")[0] for path in ("/health", "/ready", "/", "/api/1/sessions")] == [
            200,
            200,
            404,
            404,
        ]
        assert get(f"{about}/metrics", Host="evil.example")[0] == 421
        assert get(f"{about}/metrics", Origin="http://evil.example")[0] == 421
        assert get(f"{about}/metrics", Host="localhost:1")[0] == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{about}/metrics", b"x", method="POST"), timeout=30)
        with refused.value as error:
            assert error.code == 405
        assert running.ask("GET", "/health", key="")[0] == 200


def test_a_scrape_does_not_wait_for_rows_nor_rows_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While batches are stored, every scrape is answered, and every batch is stored once."""
    with hub(tmp_path, "default", "--metrics", "0", "--rate", "100000") as running:
        about = watched(capfd)
        over = threading.Event()
        scraped: list[float | None] = []

        def scrape() -> None:
            while not over.is_set():
                scraped.append(
                    figure(figures(f"{about}/metrics?projects=1"), "localops_hub_rows_total", outcome="stored")
                )
                time.sleep(0.01)

        scraper = threading.Thread(target=scrape)
        scraper.start()
        try:
            stored = [
                running.take(batch_of(session_rows(200), journal=clock.new_id().hex()))[1]["stored"] for _ in range(8)
            ]
        finally:
            over.set()
            scraper.join()
        assert stored == [202] * 8
        assert scraped == sorted(scraped, key=lambda many: many or 0)
        assert figure(figures(f"{about}/metrics"), "localops_hub_rows_total", outcome="stored") == 8 * 202


def test_connections_beyond_the_limit_are_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that is turned away before it has asked anything shows in the figures, too."""
    with hub(tmp_path, "default", "--metrics", "0", connections=2) as running:
        about = watched(capfd)
        host, port = running.url.removeprefix("http://").split(":")
        head = (
            f"POST /sync/1/rows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\nContent-Length: 9\r\n\r\n"
        )
        opened: list[socket.socket] = []
        try:
            for _ in range(3):
                opened.append(socket.create_connection((host, int(port)), timeout=30))
                opened[-1].sendall(head.encode())
                time.sleep(0.2)
            wait_until(
                lambda: (figure(figures(f"{about}/metrics"), "localops_hub_connections_refused_total") or 0) >= 1
            )
        finally:
            for each in opened:
                each.close()
