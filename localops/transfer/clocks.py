"""Wrong clocks: by how much this machine's differed from those of remotes at the last pass, and times in the future."""

from __future__ import annotations

import os
from contextlib import suppress

from localops.encoding import encode

_CLOCK = "sync.clock"
# Nanoseconds by which a stored time may be in the future, since the clock may have been corrected meanwhile.
_AHEAD = 3_600_000_000_000


def load(folder: str) -> dict[str, float]:
    """Return by how many seconds remotes' clocks were ahead of this one at the last pass, where that was too much."""
    try:
        with open(os.path.join(folder, _CLOCK), "rb") as file:
            kept = encode.loads(file.read())
        return {str(name): float(ahead) for name, ahead in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep(folder: str, remote: str, ahead: float | None) -> None:
    """Keep by how many seconds a remote's clock is ahead of this one; None when they agree."""
    known = load(folder)
    before = known.pop(remote, None)
    if ahead is not None:
        known[remote] = round(ahead, 1)
    path = os.path.join(folder, _CLOCK)
    if ahead is None and before is None:
        return
    # Only a hint, for which no pass should fail.
    with suppress(OSError):
        if not known:
            os.unlink(path)
            return
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            file.write(encode.dumps(known))


def text(ahead: float) -> str:
    """Return in words how this machine's clock differs from one that is `ahead` seconds ahead of it."""
    seconds = abs(ahead)
    size = f"{seconds / 86_400:.0f} days" if seconds >= 2 * 86_400 else f"{seconds / 60:.0f} min"
    return f"{size} {'behind' if ahead > 0 else 'ahead of'}"


def is_past(at_ns: int, now_ns: int) -> bool:
    """Return whether a stored time is plausible; one in the future was written while the clock was wrong."""
    return at_ns <= now_ns + _AHEAD
