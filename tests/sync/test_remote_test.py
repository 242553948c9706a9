"""Each step on the way to a remote is checked before rows are sent there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localops.journal.reader import Reader
from localops_sync import remote_test
from tests.server.hubs import hub
from tests.sync import chaos
from tests.sync.chaos import Behaviour, Chaos, Exchange
from tests.sync.homes import Sender


@pytest.fixture
def before(tmp_path: Path) -> Iterator[tuple[Chaos, Sender]]:
    """Return the proxy before a hub, and a home that would send to it."""
    with hub(tmp_path / "hub") as real, Chaos(behind=real.url) as way:
        sender = Sender(tmp_path / "home", way.url, real.new_key("default"))
        sender.write()
        yield way, sender


def _steps(sender: Sender, **changes: Any) -> list[remote_test.Finding]:
    with Reader(sender.journal) as reader:
        return list(remote_test.run(replace(sender.remote, **changes), reader, sender.folder))


def test_each_failure_is_of_the_step_that_it_is_about(before: tuple[Chaos, Sender]) -> None:
    """A wrong key, a wrong path, an answer that breaks off, and a port at which nothing listens."""
    way, sender = before
    url = sender.remote.url
    name, *_, last = _steps(sender, key="lo_wrong")
    assert (name.message, last.step) == ("127.0.0.1 is an address: no name to look up", "key")
    assert last.message.endswith("it does not accept the key: set another with `localops remote key`")
    last = _steps(sender, key="lo_wrong", kind="otlp")[-1]
    assert (last.step, "answered 401: Invalid API Key; it does not" in last.message) == ("key", True)
    last = _steps(sender, url=f"{url}/other")[-1]
    assert (last.step, last.act, "check the URL" in last.message) == ("answer", True, True)
    way.always(chaos.reset)
    *steps, last = _steps(sender)
    # Without an answer, nothing is known of its clock.
    assert [each.step for each in steps] == ["name", "connection"]
    assert (last.step, last.message.endswith(" broke: Connection reset by peer")) == ("answer", True)
    last = _steps(sender, url="http://127.0.0.1:9")[-1]
    assert (last.step, "nothing listens there: check that it runs" in last.message) == ("connection", True)


def _swallowed(then: Behaviour) -> Behaviour:
    """Return the fate of packets that are too large for a tunnel: only small ones get through."""

    def behave(exchange: Exchange) -> None:
        (then if "x-padding" in exchange.request.headers else chaos.passed)(exchange)

    return behave


@pytest.mark.parametrize(
    ("then", "ok"), [(chaos.silence, False), (chaos.reset, False), (chaos.status(431), True), (chaos.passed, True)]
)
def test_a_line_that_loses_large_requests_is_found(before: tuple[Chaos, Sender], then: Behaviour, ok: bool) -> None:
    """Small requests are answered there, but rows would never arrive; any answer shows that a request arrived."""
    way, sender = before
    way.always(_swallowed(then))
    with Reader(sender.journal) as reader:
        *_, key, _, _, size = remote_test.run(sender.remote, reader, sender.folder, patience=0.5)
    assert (key.step, key.ok, size.step, size.ok) == ("key", True, "size", ok)
    assert ("MTU" in size.message) is not ok


def _on_post(then: Behaviour) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        (then if exchange.request.method == "POST" else chaos.passed)(exchange)

    return behave


@pytest.mark.parametrize(
    ("then", "act", "message"),
    [
        (chaos.page(413), True, "answered 413"),
        (chaos.page(), False, "text/html instead of JSON"),
    ],
)
def test_a_fault_of_each_post_is_found(before: tuple[Chaos, Sender], then: Behaviour, act: bool, message: str) -> None:
    """Hello gets through, and no rows would: a POST without rows shows it."""
    way, sender = before
    way.always(_on_post(then))
    with Reader(sender.journal) as reader:
        *_, last = remote_test.run(sender.remote, reader, sender.folder)
    assert (last.step, last.ok, last.act, message in last.message) == ("sending", False, act, True), last


def test_a_proxy_that_takes_small_bodies_only_is_found(before: tuple[Chaos, Sender]) -> None:
    """A POST without rows passes a limit of 20 kB, and no large value would; the tried size is reported."""
    way, sender = before

    def behave(exchange: Exchange) -> None:
        (chaos.page(413) if len(exchange.request.body) > 20_000 else chaos.passed)(exchange)

    way.always(behave)
    with Reader(sender.journal) as reader:
        *_, sending, size = remote_test.run(sender.remote, reader, sender.folder)
        assert (sending.step, sending.ok, size.step, size.ok, size.act) == ("sending", True, "size", False, True)
        assert "client_max_body_size" in size.message
        way.always(chaos.passed)
        *_, size = remote_test.run(sender.remote, reader, sender.folder)
    assert (size.ok, "128 kB gets through" in size.message) == (True, True)


def test_a_problem_of_the_hub_itself_is_shown(before: tuple[Chaos, Sender]) -> None:
    """A hub with a full disk answers hello as usual, and names the problem when it is asked for any."""
    way, sender = before

    def full(greeting: dict[str, object]) -> dict[str, object]:
        return {**greeting, "problems": ["nothing can be stored: the disk is full"]}

    def behave(exchange: Exchange) -> None:
        (chaos.changed(full) if exchange.request.target.endswith("?health=1") else chaos.passed)(exchange)

    way.always(behave)
    with Reader(sender.journal) as reader:
        *_, last = remote_test.run(sender.remote, reader, sender.folder)
    assert (last.step, last.ok, last.act) == ("health", False, False)
    assert "the disk is full" in last.message


def test_a_problem_of_an_earlier_hub_is_shown(before: tuple[Chaos, Sender]) -> None:
    """It does not know the question about one project, and its `/health` is about all of them."""
    way, sender = before
    problem = {"status": "trouble", "problems": ["nothing can be stored: the disk is full"]}

    def earlier(greeting: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in greeting.items() if key != "problems"}

    def behave(exchange: Exchange) -> None:
        if exchange.request.target == "/health":
            chaos.status(503, problem)(exchange)
        else:
            (chaos.changed(earlier) if "hello" in exchange.request.target else chaos.passed)(exchange)

    way.always(behave)
    with Reader(sender.journal) as reader:
        *_, last = remote_test.run(sender.remote, reader, sender.folder)
    assert (last.step, last.ok, last.act) == ("health", False, False)
    assert "the disk is full" in last.message
