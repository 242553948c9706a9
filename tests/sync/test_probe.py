"""Each step on the way to a remote, looked at before rows go there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localops.reader import Reader
from localops_sync import probe
from tests.server.hubs import hub
from tests.sync import chaos
from tests.sync.chaos import Behaviour, Chaos, Exchange
from tests.sync.homes import Sender


@pytest.fixture
def before(tmp_path: Path) -> Iterator[tuple[Chaos, Sender]]:
    """The way to a hub, and a home that would send to it."""
    with hub(tmp_path / "hub") as real, Chaos(behind=real.url) as way:
        sender = Sender(tmp_path / "home", way.url, real.new_key("default"))
        sender.write()
        yield way, sender


def _swallowed(then: Behaviour) -> Behaviour:
    """What becomes of packets that are too large for a tunnel: only small ones get through."""

    def behave(exchange: Exchange) -> None:
        (then if "x-padding" in exchange.request.headers else chaos.passed)(exchange)

    return behave


@pytest.mark.parametrize(
    ("then", "ok"), [(chaos.silence, False), (chaos.reset, False), (chaos.status(431), True), (chaos.passed, True)]
)
def test_a_line_that_loses_large_requests_is_found(before: tuple[Chaos, Sender], then: Behaviour, ok: bool) -> None:
    """A small greeting is answered there and no row would ever arrive; whoever answers, if only with no, got it."""
    way, sender = before
    way.always(_swallowed(then))
    with Reader(sender.journal) as reader:
        *_, key, size = probe.look(sender.remote, reader, sender.folder, patience=0.5)
    assert (key.step, key.ok, size.step, size.ok) == ("key", True, "size", ok)
    assert ("MTU" in size.said) is not ok
