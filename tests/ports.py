"""Ports for tests that use one more than once: a server that starts again, or an address without a server."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_WIDTH = 10_000


def free() -> int:
    """Return a port that nothing listens at, and that no connection of another program gets by itself.

    Those that the system chooses from are left out: between two starts of a server, any client may have its port.
    """
    lowest = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    first = max(1_024, lowest - _WIDTH)
    while lowest > first:
        port = random.randrange(first, lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
