"""The budget of a pass, with a clock that only moves when something waits."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops_sync.budget import OutOfBudget, PassBudget


class Clock:
    """Time that passes by waiting."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self.now += seconds

    def budget(
        self,
        *,
        max_seconds: float | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        bytes_per_second: float | None = None,
    ) -> PassBudget:
        """Return a budget with this clock."""
        return PassBudget(
            max_seconds=max_seconds,
            max_rows=max_rows,
            max_bytes=max_bytes,
            bytes_per_second=bytes_per_second,
            sleep=self.wait,
            monotonic=lambda: self.now,
        )


@pytest.fixture
def clock() -> Clock:
    """Time that passes by waiting."""
    return Clock()


def test_without_limits_there_is_no_end(clock: Clock) -> None:
    """A pass without a budget has no end of its own, and waits for nothing."""
    budget = clock.budget()
    budget.spend(10**9, 10**15)
    budget.check()
    budget.wait_for_line()
    assert (budget.seconds_left(), budget.rows_left, budget.bytes_left) == (math.inf, math.inf, math.inf)
    assert clock.waits == []


@pytest.mark.parametrize(("rows", "size", "seconds"), [(10, 0, 0.0), (0, 100, 0.0), (0, 0, 5.0), (11, 0, 0.0)])
def test_what_is_used_up_is_over(clock: Clock, rows: int, size: int, seconds: float) -> None:
    """Rows, bytes and seconds each end a pass, and not before they are used up."""
    budget = clock.budget(max_rows=10, max_bytes=100, max_seconds=5.0)
    budget.spend(9, 99)
    budget.check()
    budget = clock.budget(max_rows=10, max_bytes=100, max_seconds=5.0)
    budget.spend(rows, size)
    clock.now += seconds
    with pytest.raises(OutOfBudget):
        budget.check()


def test_the_line_is_waited_for_before_the_next_request(clock: Clock) -> None:
    """Sent bytes take their time at the given rate, which is waited for when there is more to send."""
    budget = clock.budget(bytes_per_second=100)
    budget.wait_for_line()
    budget.spend(1, 250)
    assert clock.waits == []
    budget.wait_for_line()
    assert clock.waits == [2.5]


def test_the_time_of_sending_counts(clock: Clock) -> None:
    """A line that is slower than the limit is not slowed down further."""
    budget = clock.budget(bytes_per_second=100)
    budget.wait_for_line()
    clock.now += 2.0
    budget.spend(1, 250)
    budget.wait_for_line()
    assert clock.waits == [0.5]


def test_at_a_given_rate_little_goes_at_once(clock: Clock) -> None:
    """No request takes much longer than ten seconds of a limited line; an unlimited one gets all of it."""
    assert clock.budget().portion(4_000_000) == 4_000_000
    assert clock.budget(bytes_per_second=3_000).portion(4_000_000) == 30_000
    assert clock.budget(bytes_per_second=1_000_000).portion(4_000_000) == 4_000_000
    assert clock.budget(bytes_per_second=1).portion(4_000_000) == 1_000


def test_idle_time_is_not_saved_up(clock: Clock) -> None:
    """A line that was not used for an hour may not be flooded for it."""
    budget = clock.budget(bytes_per_second=100)
    for _ in range(2):
        clock.now += 3600
        budget.wait_for_line()
        budget.spend(0, 200)
    budget.wait_for_line()
    assert clock.waits == [2.0]


@given(st.lists(st.tuples(st.integers(0, 5_000), st.floats(0, 20)), max_size=20), st.integers(1, 2_000))
def test_the_rate_is_kept(requests: list[tuple[int, float]], rate: int) -> None:
    """However requests are made, never more is sent than the rate allows for the elapsed time."""
    clock = Clock()
    budget = clock.budget(bytes_per_second=rate)
    sent = 0
    for size, took in requests:
        budget.wait_for_line()
        assert sent <= rate * (clock.now - 1_000.0) * 1.000001 + 0.001
        clock.now += took
        budget.spend(0, size)
        sent += size


def test_a_wait_that_does_not_fit_is_not_begun(clock: Clock) -> None:
    """A pass that would be over before the end of the wait ends at once, and one that just fits continues."""
    budget = clock.budget(max_seconds=5.0)
    budget.wait(2.0)
    with pytest.raises(OutOfBudget):
        budget.wait(3.1)
    budget.wait(2.9)
    assert clock.waits == [2.0, 2.9]
    clock.now += 1.0
    with pytest.raises(OutOfBudget):
        budget.wait(0.0)


def test_a_wait_ends_when_the_pass_is_stopped() -> None:
    """A wait in another thread is ended at once, and nothing is sent after that."""
    budget = PassBudget(bytes_per_second=1.0)
    budget.wait_for_line()
    budget.spend(0, 1_000_000)
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(budget.wait_for_line)
        budget.stop()
        with pytest.raises(OutOfBudget):
            waiting.result()
    with pytest.raises(OutOfBudget):
        budget.check()


def test_jitter_is_a_part() -> None:
    """The random part is at least 0 and below 1, and not always the same."""
    parts = {PassBudget().jitter() for _ in range(50)}
    assert all(0 <= each < 1 for each in parts)
    assert len(parts) > 1
