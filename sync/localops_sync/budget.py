"""The budget of a pass: how long it may last, how much it may send and how fast.  Only this module waits."""

from __future__ import annotations

import math
import random
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class OutOfBudget(Exception):
    """The pass has used up its budget; rows remain."""


class PassBudget:
    """The seconds, rows and bytes of a pass, and its bytes per second."""

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
        self._free_at = -math.inf  # when all bytes so far would have been sent at the limited rate

    def seconds_left(self) -> float:
        """Return the seconds until the pass has to end; infinity without a limit."""
        if self._stopped.is_set():
            return 0.0
        return math.inf if self._ends is None else self._ends - self._monotonic()

    def stop(self) -> None:
        """End the pass now: every wait and every later request raises OutOfBudget."""
        self._stopped.set()

    def check(self) -> None:
        """Raise OutOfBudget when nothing more may be sent."""
        if self.seconds_left() <= 0 or self.rows_left <= 0 or self.bytes_left <= 0:
            raise OutOfBudget

    def portion(self, most: int) -> int:
        """Return how many of `most` bytes may go in one request: at a limited rate, those of ten seconds."""
        # At least 1 kB, or a very low rate would cost more in headers than it sends.
        return most if self._rate is None else max(1_000, min(most, int(10 * self._rate)))

    def seconds_for(self, size: int) -> float:
        """Return how many seconds `size` bytes take at the limited rate."""
        return size / self._rate if self._rate else 0.0

    def wait_for_line(self) -> None:
        """Wait until the rate allows the next bytes; raise OutOfBudget when the pass would end before.

        Call it before sending, never after: a reply that has arrived must be kept, whatever the budget.
        """
        self.wait(self._free_at - self._monotonic())
        self._free_at = max(self._free_at, self._monotonic())

    def spend(self, rows: int, size: int) -> None:
        """Count rows and bytes that were sent."""
        self.rows_left -= rows
        self.bytes_left -= size
        self._free_at += self.seconds_for(size)

    def wait(self, seconds: float) -> None:
        """Wait `seconds`; raise OutOfBudget when the pass would end before."""
        left = self.seconds_left()
        if left <= 0 or seconds > left:
            raise OutOfBudget
        if seconds > 0:
            self._sleep(seconds)
        if self._stopped.is_set():
            raise OutOfBudget

    def jitter(self) -> float:
        """Return a random number in [0, 1)."""
        return random.random()  # noqa: S311
