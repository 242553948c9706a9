"""How long a pass may last, how much it may send and how fast; the only place that waits."""

from __future__ import annotations

import math
import random
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class OutOfBudget(Exception):
    """The pass has used what it was given; rows remain."""


class PassBudget:
    """The budget of a pass: seconds, rows, bytes, and bytes a second."""

    def __init__(
        self,
        *,
        max_seconds: float | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        bytes_per_second: float | None = None,
        sleep: Callable[[float], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stopped = threading.Event()
        self._sleep, self._monotonic = sleep or self._stopped.wait, monotonic
        self._ends = None if max_seconds is None else monotonic() + max_seconds
        self.rows_left = math.inf if max_rows is None else max_rows
        self.bytes_left = math.inf if max_bytes is None else max_bytes
        self._rate = bytes_per_second
        self._free_at = -math.inf  # when all that was sent would have gone through at the rate

    def seconds_left(self) -> float:
        """Until the pass has to end; infinite without a limit."""
        if self._stopped.is_set():
            return 0.0
        return math.inf if self._ends is None else self._ends - self._monotonic()

    def stop(self) -> None:
        """End the pass here and now: whoever waits is OutOfBudget, and so is whoever wants to send."""
        self._stopped.set()

    def check(self) -> None:
        """OutOfBudget when nothing may be sent any more."""
        if self.seconds_left() <= 0 or self.rows_left <= 0 or self.bytes_left <= 0:
            raise OutOfBudget

    def portion(self, most: int) -> int:
        """How much of something may go in one request: at a given rate no more than takes ten seconds."""
        return most if self._rate is None else max(1_000, min(most, int(10 * self._rate)))

    def seconds_for(self, size: int) -> float:
        """How long so many bytes take at the given rate."""
        return size / self._rate if self._rate else 0.0

    def wait_for_line(self) -> None:
        """Wait until what was sent before has had its time; OutOfBudget when the pass is over before.

        This comes before what is sent, never after it: an answer that is there must be kept, whatever the budget.
        """
        self.wait(self._free_at - self._monotonic())
        self._free_at = max(self._free_at, self._monotonic())

    def spend(self, rows: int, size: int) -> None:
        """Count what was sent."""
        self.rows_left -= rows
        self.bytes_left -= size
        self._free_at += self.seconds_for(size)

    def wait(self, seconds: float) -> None:
        """Wait, if there is anything to wait for; OutOfBudget when the pass would be over before."""
        left = self.seconds_left()
        if left <= 0 or seconds > left:
            raise OutOfBudget
        if seconds > 0:
            self._sleep(seconds)
        if self._stopped.is_set():
            raise OutOfBudget

    def jitter(self) -> float:
        """A random number in [0, 1)."""
        return random.random()  # noqa: S311
