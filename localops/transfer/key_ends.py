"""When the keys to remotes expire, as of the last pass, so that a person can act before sync stops."""

from __future__ import annotations

import os

from localops import clock
from localops.recording import events
from localops.transfer import hints

_FILE = "sync.keys"
_DAY_NS = 86_400_000_000_000
# Days before the end of a key from which warnings mention it.
SOON = 14


def load(folder: str) -> dict[str, str]:
    """Return when the keys to remotes end, by the name of the remote; those without an end are left out."""
    return hints.load(os.path.join(folder, _FILE), str)


def keep(folder: str, remote: str, end: str | None) -> None:
    """Keep when the key to a remote ends; None if it does not."""
    hints.keep(os.path.join(folder, _FILE), load(folder), remote, end)


def warning(remote: str, end: str | None) -> str | None:
    """Return a sentence about a key that ends soon, or has ended; None for any other."""
    end_ns = None if end is None else events.to_ns(end)
    if end_ns is None:
        return None
    left = end_ns - clock.now_ns()
    if left > SOON * _DAY_NS:
        return None
    when = f"{end[:16].replace('T', ' ')} (UTC)" if end is not None else ""
    cure = f"ask its operator for another, and set it with `localops remote key {remote}`"
    return f"the key to {remote} {'ends' if left > 0 else 'ended'} on {when}: {cure}"
