"""Time in a process never goes back, and ids sort by it."""

from __future__ import annotations

import os
import time

import pytest

from localops import clock


def test_time_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the wall clock is set, times in a process only grow."""
    seen = [clock.now_ns()]
    for wall in (0, 10**18, 2 * 10**18):
        monkeypatch.setattr(time, "time_ns", lambda wall=wall: wall)
        clock.step_ns()
        seen += [clock.now_ns() for _ in range(100)]
    assert seen == sorted(seen)


@pytest.mark.parametrize("step", [-86_400, -2, 2, 86_400])
def test_a_step_is_reported_once(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """A wall clock that is moved by more than a second is noticed, by how much, and once."""
    real = time.time_ns
    clock.step_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real() + step * 1_000_000_000)
    assert round(clock.step_ns() / 1e9) == step
    assert clock.step_ns() == 0
    monkeypatch.undo()
    assert round(clock.step_ns() / 1e9) == -step


def test_slewing_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is off by less than a second is left alone."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 900_000_000)
    assert clock.step_ns() == 0


def test_ids_are_version_7_and_sort_by_time() -> None:
    """Ids carry version and variant of a UUIDv7, and later milliseconds sort later."""
    ids = [clock.new_id(at * 1_000_000) for at in range(1_700_000_000_000, 1_700_000_000_500)]
    assert ids == sorted(ids)
    assert {(id[6] >> 4, id[8] >> 6) for id in ids} == {(7, 2)}
    assert int.from_bytes(ids[0][:6], "big") == 1_700_000_000_000


def test_forked_children_draw_their_own_ids() -> None:
    """Two children of one process, and the process itself, never draw the same id."""
    drawn = []
    for _ in range(2):
        out, into = os.pipe()
        child = os.fork()
        if not child:
            os.write(into, b"".join(clock.new_id(1) for _ in range(50)))
            os._exit(0)
        os.close(into)
        os.waitpid(child, 0)
        data = os.read(out, 10_000)
        os.close(out)
        drawn += [data[at : at + 16] for at in range(0, len(data), 16)]
    drawn += [clock.new_id(1) for _ in range(50)]
    assert len(set(drawn)) == 150
