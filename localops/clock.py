"""Time and ids: the only module that creates them.

The wall clock is read once per process; from then on CLOCK_BOOTTIME counts, so times never go back and include sleep.
Ids are UUIDv7: they sort by time and need no coordination.
"""

from __future__ import annotations

import datetime
import os
import time
from _random import Random  # the C generator alone: `random` would import hashlib, bisect and more
from functools import partial

_STEP_NS = 1_000_000_000
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; elsewhere the monotonic clock, which may not count sleep
_ticks = time.monotonic_ns if _boot is None else partial(time.clock_gettime_ns, _boot)

# Seconds for waits and intervals.  A library that freezes clocks replaces functions that it finds in modules, but no
# partial; if it was imported first, the system's clock is used directly.
_builtin = isinstance(time.monotonic, type(len))
monotonic = partial(time.monotonic) if _builtin else partial(time.clock_gettime, time.CLOCK_MONOTONIC)

_base = max(time.time_ns(), 0) - _ticks()  # a clock that was never set may be before 1970, for which there are no ids
_drift = 0
_bits = Random(int.from_bytes(os.urandom(32), "big")).getrandbits


def now_ns() -> int:
    """Return nanoseconds since 1970 in UTC; never less than an earlier result in this process."""
    return _base + _ticks()


def step_ns() -> int:
    """Return how far the wall clock has moved against this one since the last call; 0 below one second."""
    global _drift
    drift = time.time_ns() - now_ns()
    moved = drift - _drift
    if -_STEP_NS < moved < _STEP_NS:
        return 0
    _drift = drift
    return moved


def iso(at_ns: int) -> str:
    """Return a time as ISO 8601 in UTC with microseconds, as AgentOps writes it."""
    return moment(at_ns).isoformat(timespec="microseconds")


def moment(at_ns: int) -> datetime.datetime:
    """Return a time in UTC with microseconds."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest // 1000)


def ago(text: str) -> int | None:
    """Return the time that `2h` or `3d` means, which is that long ago; None for any other text."""
    import re  # late, as no recorder reads such a text

    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?) *([smhdw])", text)
    return match and now_ns() - round(float(match[1]) * _SECONDS[match[2]] * 1e9)


def new_id(at_ns: int = 0) -> bytes:
    """Return a UUIDv7 as 16 bytes: 48 bits of milliseconds, then 74 random bits."""
    ms = (at_ns or now_ns()) // 1_000_000
    return (ms << 80 | _bits(80) & 0x0FFF3FFFFFFFFFFFFFFF | 0x70008000000000000000).to_bytes(16)


def _reseed() -> None:
    """Seed again after a fork: a child must not draw its parent's ids."""
    global _bits
    _bits = Random(int.from_bytes(os.urandom(32), "big")).getrandbits


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)
