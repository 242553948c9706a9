"""Wrong clocks: the difference between this machine's and a remote's at the last pass, and times in the future."""

from __future__ import annotations

import os

from localops.transfer import hints

_FILE = "sync.clock"
# Nanoseconds by which a stored time may be in the future, since the clock may have been corrected since then.
_AHEAD = 3_600_000_000_000


def load(folder: str) -> dict[str, float]:
    """Return by how many seconds remotes' clocks were ahead of this one at the last pass, where that was too much."""
    return hints.load(os.path.join(folder, _FILE), float)


def keep(folder: str, remote: str, ahead: float | None) -> None:
    """Keep by how many seconds a remote's clock is ahead of this one; None when they agree."""
    hints.keep(os.path.join(folder, _FILE), load(folder), remote, None if ahead is None else round(ahead, 1))


def text(ahead: float) -> str:
    """Return in words how this machine's clock differs from one that is `ahead` seconds ahead of it."""
    seconds = abs(ahead)
    size = f"{seconds / 86_400:.0f} days" if seconds >= 2 * 86_400 else f"{seconds / 60:.0f} min"
    return f"{size} {'behind' if ahead > 0 else 'ahead of'}"


def is_past(at_ns: int, now_ns: int) -> bool:
    """Return whether a stored time is plausible; one in the future was written while the clock was wrong."""
    return at_ns <= now_ns + _AHEAD
