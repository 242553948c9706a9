"""Time and ids, the only place they come from.

The wall clock is read once per process; from then on CLOCK_BOOTTIME counts, so times never go back and
sleep is included.  Ids are UUIDv7: they sort by time and need no one's permission.
"""

from __future__ import annotations

import datetime
import os
import time
from _random import Random  # the C generator alone: `random` would import hashlib, bisect and more
from functools import partial

_STEP_NS = 1_000_000_000
_boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; elsewhere the monotonic clock, which may not count sleep
_ticks = time.monotonic_ns if _boot is None else partial(time.clock_gettime_ns, _boot)

# Seconds for waits and intervals.  A library that freezes clocks replaces functions it finds in modules, not a partial;
# where it came first, the system is asked directly.
_builtin = isinstance(time.monotonic, type(len))
monotonic = partial(time.monotonic) if _builtin else partial(time.clock_gettime, time.CLOCK_MONOTONIC)

_base = max(time.time_ns(), 0) - _ticks()  # a clock that was never set may stand before 1970, where no id can be
_drift = 0
_bits = Random(int.from_bytes(os.urandom(32), "big")).getrandbits


def now_ns() -> int:
    """Nanoseconds since 1970 in UTC; never less than an earlier answer in this process."""
    return _base + _ticks()


def step_ns() -> int:
    """How far the wall clock has moved against ours since this was last asked; 0 below one second."""
    global _drift
    drift = time.time_ns() - now_ns()
    moved = drift - _drift
    if -_STEP_NS < moved < _STEP_NS:
        return 0
    _drift = drift
    return moved


def iso(at_ns: int) -> str:
    """Return a time as ISO 8601 in UTC with microseconds, as AgentOps writes it."""
    seconds, rest = divmod(at_ns, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds")


def new_id(at_ns: int = 0) -> bytes:
    """A UUIDv7 as 16 bytes: 48 bits of milliseconds, then 74 random bits."""
    ms = (at_ns or now_ns()) // 1_000_000
    return (ms << 80 | _bits(80) & 0x0FFF3FFFFFFFFFFFFFFF | 0x70008000000000000000).to_bytes(16)


def _reseed() -> None:
    """A forked child must not draw its parent's ids."""
    global _bits
    _bits = Random(int.from_bytes(os.urandom(32), "big")).getrandbits


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reseed)
